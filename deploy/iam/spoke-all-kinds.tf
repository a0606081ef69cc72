# Made by ssm-ready iam-policy.

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 4.0"
    }
  }
}

variable "hub_role_arn" {
  description = "The ARN of the controller's own role, which has to exist."
  type        = string
}

variable "external_id" {
  description = "The external id that the AwsAccount gives."
  type        = string
  sensitive   = true
}

variable "cluster_id" {
  description = "The controller's --cluster-id: only what carries it in the tag ssmready.dev/cluster is changed."
  type        = string
  default     = "my-cluster"
}

variable "permissions_boundary" {
  description = "The ARN of a policy that bounds the roles, if any."
  type        = string
  default     = null
}

variable "role_path" {
  description = "The path of the roles."
  type        = string
  default     = "/"
}

variable "role_prefix" {
  description = "What the names of the roles begin with."
  type        = string
  default     = "ssm-ready"
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

locals {
  partition  = data.aws_partition.current.partition
  account_id = data.aws_caller_identity.current.account_id

  # The names of some endpoint services begin with this instead of com.amazonaws.
  endpoint_prefixes = {
    aws        = "com.amazonaws"
    aws-cn     = "cn.com.amazonaws"
    aws-us-gov = "com.amazonaws"
    aws-eusc   = "eu.amazonaws"
    aws-iso    = "gov.ic.c2s"
    aws-iso-b  = "gov.sgov.sc2s"
    aws-iso-e  = "uk.adc-e.cloud"
    aws-iso-f  = "gov.ic.hci.csp"
  }

  endpoint_prefix = lookup(local.endpoint_prefixes, local.partition, "com.amazonaws")

  trust = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "TheControllerAlone"
        Effect = "Allow"
        Principal = {
          AWS = var.hub_role_arn
        }
        Action = "sts:AssumeRole"
        Condition = {
          StringEquals = {
            "sts:ExternalId" = var.external_id
          }
        }
      },
    ]
  }

  observe = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Read"
        Effect = "Allow"
        Action = [
          "ec2:DescribeVpcs",
          "ec2:DescribeVpcEndpoints",
          "ec2:DescribeSecurityGroups",
          "ec2:DescribeInstances",
          "ssm:DescribeInstanceInformation",
          "ec2:DescribeSubnets",
          "ec2:DescribeRouteTables",
          "ec2:DescribeVpcEndpointServices",
          "ec2:DescribeNetworkInterfaces",
          "logs:DescribeLogGroups",
          "ec2:GetInstanceMetadataDefaults",
          "ec2:DescribeRegions",
          "cloudtrail:DescribeTrails",
        ]
        Resource = "*"
      },
      {
        Sid      = "ReadVpcAttributes"
        Effect   = "Allow"
        Action   = "ec2:DescribeVpcAttribute"
        Resource = "arn:${local.partition}:ec2:*:${local.account_id}:vpc/*"
      },
      {
        Sid    = "ReadServiceSettings"
        Effect = "Allow"
        Action = "ssm:GetServiceSetting"
        Resource = [
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/managed-instance/default-ec2-instance-management-role",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/managed-instance/activation-tier",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/parameter-store/default-parameter-tier",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/parameter-store/high-throughput-enabled",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/documents/console/public-sharing-permission",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/appmanager/appmanager-enabled",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/opsinsights/opscenter",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/automation/customer-script-log-destination",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/automation/customer-script-log-group-name",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/automation/enable-adaptive-concurrency",
        ]
      },
      {
        Sid    = "ReadSessionPreferences"
        Effect = "Allow"
        Action = [
          "ssm:GetDocument",
          "ssm:DescribeDocument",
        ]
        Resource = "arn:${local.partition}:ssm:*:${local.account_id}:document/SSM-SessionManagerRunShell"
      },
      {
        Sid    = "ReadBucketsOfSessions"
        Effect = "Allow"
        Action = [
          "s3:GetBucketLocation",
          "s3:GetEncryptionConfiguration",
        ]
        Resource = "arn:${local.partition}:s3:::*"
      },
      {
        Sid      = "ReadKeysOfSessions"
        Effect   = "Allow"
        Action   = "kms:DescribeKey"
        Resource = "arn:${local.partition}:kms:*:*:key/*"
      },
      {
        Sid    = "ReadSessionAudit"
        Effect = "Allow"
        Action = [
          "events:DescribeRule",
          "events:ListTargetsByRule",
          "events:ListTagsForResource",
        ]
        Resource = "arn:${local.partition}:events:*:${local.account_id}:rule/ssm-ready-session-audit"
      },
      {
        Sid    = "ReadTrails"
        Effect = "Allow"
        Action = [
          "cloudtrail:GetTrailStatus",
          "cloudtrail:GetEventSelectors",
        ]
        Resource = "arn:${local.partition}:cloudtrail:*:*:trail/*"
      },
      {
        Sid      = "ReadTopics"
        Effect   = "Allow"
        Action   = "sns:GetTopicAttributes"
        Resource = "arn:${local.partition}:sns:*:*:*"
      },
      {
        Sid    = "ReadRoles"
        Effect = "Allow"
        Action = [
          "iam:GetRole",
          "iam:ListAttachedRolePolicies",
          "iam:ListRolePolicies",
          "iam:GetRolePolicy",
        ]
        Resource = "arn:${local.partition}:iam::${local.account_id}:role/*"
      },
      {
        Sid      = "ReadInstanceProfiles"
        Effect   = "Allow"
        Action   = "iam:GetInstanceProfile"
        Resource = "arn:${local.partition}:iam::${local.account_id}:instance-profile/*"
      },
      {
        Sid      = "AskWhatIsAllowed"
        Effect   = "Allow"
        Action   = "iam:SimulatePrincipalPolicy"
        Resource = "arn:${local.partition}:iam::${local.account_id}:role/*"
      },
    ]
  }

  enforce = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "CreateEndpoint"
        Effect   = "Allow"
        Action   = "ec2:CreateVpcEndpoint"
        Resource = "arn:${local.partition}:ec2:*:${local.account_id}:vpc-endpoint/*"
        Condition = {
          StringEquals = {
            "aws:RequestTag/ssmready.dev/cluster" = var.cluster_id
          }
          StringLike = {
            "ec2:VpceServiceName" = [
              "com.amazonaws.*.ssm",
              "com.amazonaws.*.ssmmessages",
              "com.amazonaws.*.ec2messages",
              "com.amazonaws.*.kms",
              "com.amazonaws.*.logs",
              "com.amazonaws.*.ec2",
              "com.amazonaws.*.monitoring",
              "com.amazonaws.*.s3",
              "${local.endpoint_prefix}.*.ssm",
              "${local.endpoint_prefix}.*.ssmmessages",
              "${local.endpoint_prefix}.*.ec2messages",
              "${local.endpoint_prefix}.*.kms",
              "${local.endpoint_prefix}.*.logs",
              "${local.endpoint_prefix}.*.ec2",
              "${local.endpoint_prefix}.*.monitoring",
              "${local.endpoint_prefix}.*.s3",
            ]
          }
        }
      },
      {
        Sid    = "CreateEndpointIn"
        Effect = "Allow"
        Action = "ec2:CreateVpcEndpoint"
        Resource = [
          "arn:${local.partition}:ec2:*:${local.account_id}:vpc/*",
          "arn:${local.partition}:ec2:*:${local.account_id}:subnet/*",
          "arn:${local.partition}:ec2:*:${local.account_id}:route-table/*",
        ]
      },
      {
        Sid      = "CreateEndpointWithGroup"
        Effect   = "Allow"
        Action   = "ec2:CreateVpcEndpoint"
        Resource = "arn:${local.partition}:ec2:*:${local.account_id}:security-group/*"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid      = "ChangeOurEndpoints"
        Effect   = "Allow"
        Action   = "ec2:ModifyVpcEndpoint"
        Resource = "arn:${local.partition}:ec2:*:${local.account_id}:vpc-endpoint/*"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "ChangeEndpointsIn"
        Effect = "Allow"
        Action = "ec2:ModifyVpcEndpoint"
        Resource = [
          "arn:${local.partition}:ec2:*:${local.account_id}:subnet/*",
          "arn:${local.partition}:ec2:*:${local.account_id}:security-group/*",
          "arn:${local.partition}:ec2:*:${local.account_id}:route-table/*",
        ]
      },
      {
        Sid      = "CreateGroup"
        Effect   = "Allow"
        Action   = "ec2:CreateSecurityGroup"
        Resource = "arn:${local.partition}:ec2:*:${local.account_id}:security-group/*"
        Condition = {
          StringEquals = {
            "aws:RequestTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid      = "CreateGroupIn"
        Effect   = "Allow"
        Action   = "ec2:CreateSecurityGroup"
        Resource = "arn:${local.partition}:ec2:*:${local.account_id}:vpc/*"
      },
      {
        Sid    = "ChangeOurGroups"
        Effect = "Allow"
        Action = [
          "ec2:AuthorizeSecurityGroupIngress",
          "ec2:RevokeSecurityGroupIngress",
        ]
        Resource = "arn:${local.partition}:ec2:*:${local.account_id}:security-group/*"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "TagWhatIsMade"
        Effect = "Allow"
        Action = "ec2:CreateTags"
        Resource = [
          "arn:${local.partition}:ec2:*:${local.account_id}:vpc-endpoint/*",
          "arn:${local.partition}:ec2:*:${local.account_id}:security-group/*",
        ]
        Condition = {
          StringEquals = {
            "ec2:CreateAction" = [
              "CreateVpcEndpoint",
              "CreateSecurityGroup",
            ]
            "aws:RequestTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "TagOurs"
        Effect = "Allow"
        Action = "ec2:CreateTags"
        Resource = [
          "arn:${local.partition}:ec2:*:${local.account_id}:vpc-endpoint/*",
          "arn:${local.partition}:ec2:*:${local.account_id}:security-group/*",
        ]
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
          "ForAllValues:StringNotEquals" = {
            "aws:TagKeys" = [
              "ssmready.dev/cluster",
              "ssmready.dev/owner",
            ]
          }
        }
      },
      {
        Sid    = "DeleteOurs"
        Effect = "Allow"
        Action = [
          "ec2:DeleteVpcEndpoints",
          "ec2:DeleteSecurityGroup",
        ]
        Resource = [
          "arn:${local.partition}:ec2:*:${local.account_id}:vpc-endpoint/*",
          "arn:${local.partition}:ec2:*:${local.account_id}:security-group/*",
        ]
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "LetGo"
        Effect = "Allow"
        Action = "ec2:DeleteTags"
        Resource = [
          "arn:${local.partition}:ec2:*:${local.account_id}:vpc-endpoint/*",
          "arn:${local.partition}:ec2:*:${local.account_id}:security-group/*",
        ]
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
          "ForAllValues:StringEquals" = {
            "aws:TagKeys" = "ssmready.dev/owner"
          }
        }
      },
      {
        Sid      = "SwitchOnDns"
        Effect   = "Allow"
        Action   = "ec2:ModifyVpcAttribute"
        Resource = "arn:${local.partition}:ec2:*:${local.account_id}:vpc/*"
        Condition = {
          StringEquals = {
            "ec2:Attribute" = [
              "EnableDnsSupport",
              "EnableDnsHostnames",
            ]
          }
        }
      },
    ]
  }

  enforce_region = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "SetHostManagement"
        Effect = "Allow"
        Action = [
          "ssm:UpdateServiceSetting",
          "ssm:ResetServiceSetting",
        ]
        Resource = "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/managed-instance/default-ec2-instance-management-role"
      },
      {
        Sid      = "PassHostManagementRole"
        Effect   = "Allow"
        Action   = "iam:PassRole"
        Resource = "arn:${local.partition}:iam::${local.account_id}:role/*"
        Condition = {
          StringEquals = {
            "iam:PassedToService" = "ssm.amazonaws.com"
          }
        }
      },
      {
        Sid    = "SetServiceSettings"
        Effect = "Allow"
        Action = [
          "ssm:UpdateServiceSetting",
          "ssm:ResetServiceSetting",
        ]
        Resource = [
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/managed-instance/activation-tier",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/parameter-store/default-parameter-tier",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/parameter-store/high-throughput-enabled",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/documents/console/public-sharing-permission",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/appmanager/appmanager-enabled",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/opsinsights/opscenter",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/automation/customer-script-log-destination",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/automation/customer-script-log-group-name",
          "arn:${local.partition}:ssm:*:${local.account_id}:servicesetting/ssm/automation/enable-adaptive-concurrency",
        ]
      },
      {
        Sid      = "SetMetadataDefaults"
        Effect   = "Allow"
        Action   = "ec2:ModifyInstanceMetadataDefaults"
        Resource = "*"
      },
      {
        Sid    = "CreateSessionPreferences"
        Effect = "Allow"
        Action = [
          "ssm:CreateDocument",
          "ssm:AddTagsToResource",
        ]
        Resource = "arn:${local.partition}:ssm:*:${local.account_id}:document/SSM-SessionManagerRunShell"
        Condition = {
          StringEquals = {
            "aws:RequestTag/ssmready.dev/cluster" = var.cluster_id
          }
          StringEqualsIfExists = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "ChangeSessionPreferences"
        Effect = "Allow"
        Action = [
          "ssm:UpdateDocument",
          "ssm:UpdateDocumentDefaultVersion",
        ]
        Resource = "arn:${local.partition}:ssm:*:${local.account_id}:document/SSM-SessionManagerRunShell"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid      = "TagSessionPreferences"
        Effect   = "Allow"
        Action   = "ssm:AddTagsToResource"
        Resource = "arn:${local.partition}:ssm:*:${local.account_id}:document/SSM-SessionManagerRunShell"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
          "ForAllValues:StringNotEquals" = {
            "aws:TagKeys" = [
              "ssmready.dev/cluster",
              "ssmready.dev/owner",
            ]
          }
        }
      },
      {
        Sid      = "DeleteSessionPreferences"
        Effect   = "Allow"
        Action   = "ssm:DeleteDocument"
        Resource = "arn:${local.partition}:ssm:*:${local.account_id}:document/SSM-SessionManagerRunShell"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid      = "LetGoOfSessionPreferences"
        Effect   = "Allow"
        Action   = "ssm:RemoveTagsFromResource"
        Resource = "arn:${local.partition}:ssm:*:${local.account_id}:document/SSM-SessionManagerRunShell"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
          "ForAllValues:StringEquals" = {
            "aws:TagKeys" = "ssmready.dev/owner"
          }
        }
      },
      {
        Sid    = "CreateSessionAudit"
        Effect = "Allow"
        Action = [
          "events:PutRule",
          "events:TagResource",
        ]
        Resource = "arn:${local.partition}:events:*:${local.account_id}:rule/ssm-ready-session-audit"
        Condition = {
          StringEquals = {
            "aws:RequestTag/ssmready.dev/cluster" = var.cluster_id
          }
          StringEqualsIfExists = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "ChangeSessionAudit"
        Effect = "Allow"
        Action = [
          "events:PutRule",
          "events:PutTargets",
        ]
        Resource = "arn:${local.partition}:events:*:${local.account_id}:rule/ssm-ready-session-audit"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "DeleteSessionAudit"
        Effect = "Allow"
        Action = [
          "events:RemoveTargets",
          "events:DeleteRule",
        ]
        Resource = "arn:${local.partition}:events:*:${local.account_id}:rule/ssm-ready-session-audit"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid      = "LetGoOfSessionAudit"
        Effect   = "Allow"
        Action   = "events:UntagResource"
        Resource = "arn:${local.partition}:events:*:${local.account_id}:rule/ssm-ready-session-audit"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
          "ForAllValues:StringEquals" = {
            "aws:TagKeys" = "ssmready.dev/owner"
          }
        }
      },
    ]
  }

  enforce_account = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "CreateRoles"
        Effect   = "Allow"
        Action   = "iam:CreateRole"
        Resource = "arn:${local.partition}:iam::${local.account_id}:role/*"
        Condition = {
          StringEquals = {
            "aws:RequestTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "WriteOurRoles"
        Effect = "Allow"
        Action = [
          "iam:PutRolePolicy",
          "iam:PutRolePermissionsBoundary",
        ]
        Resource = "arn:${local.partition}:iam::${local.account_id}:role/*"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid      = "AttachPolicies"
        Effect   = "Allow"
        Action   = "iam:AttachRolePolicy"
        Resource = "arn:${local.partition}:iam::${local.account_id}:role/*"
        Condition = {
          ArnLike = {
            "iam:PolicyARN" = [
              "arn:${local.partition}:iam::aws:policy/AWSEC2VssSnapshotPolicy",
              "arn:${local.partition}:iam::aws:policy/AmazonSSMDirectoryServiceAccess",
              "arn:${local.partition}:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy",
              "arn:${local.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore",
              "arn:${local.partition}:iam::aws:policy/AmazonSSMPatchAssociation",
              "arn:${local.partition}:iam::aws:policy/CloudWatchAgentServerPolicy",
            ]
          }
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "TagNewRoles"
        Effect = "Allow"
        Action = [
          "iam:TagRole",
          "iam:CreateInstanceProfile",
          "iam:TagInstanceProfile",
        ]
        Resource = [
          "arn:${local.partition}:iam::${local.account_id}:role/*",
          "arn:${local.partition}:iam::${local.account_id}:instance-profile/*",
        ]
        Condition = {
          StringEquals = {
            "aws:RequestTag/ssmready.dev/cluster" = var.cluster_id
          }
          StringEqualsIfExists = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "ChangeOurRoles"
        Effect = "Allow"
        Action = [
          "iam:UpdateAssumeRolePolicy",
          "iam:DetachRolePolicy",
          "iam:DeleteRolePolicy",
          "iam:AddRoleToInstanceProfile",
          "iam:RemoveRoleFromInstanceProfile",
        ]
        Resource = [
          "arn:${local.partition}:iam::${local.account_id}:role/*",
          "arn:${local.partition}:iam::${local.account_id}:instance-profile/*",
        ]
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "TagOurRoles"
        Effect = "Allow"
        Action = [
          "iam:TagRole",
          "iam:TagInstanceProfile",
        ]
        Resource = [
          "arn:${local.partition}:iam::${local.account_id}:role/*",
          "arn:${local.partition}:iam::${local.account_id}:instance-profile/*",
        ]
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
          "ForAllValues:StringNotEquals" = {
            "aws:TagKeys" = [
              "ssmready.dev/cluster",
              "ssmready.dev/owner",
            ]
          }
        }
      },
      {
        Sid    = "DeleteOurRoles"
        Effect = "Allow"
        Action = [
          "iam:DeleteRole",
          "iam:DeleteInstanceProfile",
        ]
        Resource = [
          "arn:${local.partition}:iam::${local.account_id}:role/*",
          "arn:${local.partition}:iam::${local.account_id}:instance-profile/*",
        ]
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
        }
      },
      {
        Sid    = "LetGoOfRoles"
        Effect = "Allow"
        Action = [
          "iam:UntagRole",
          "iam:UntagInstanceProfile",
        ]
        Resource = [
          "arn:${local.partition}:iam::${local.account_id}:role/*",
          "arn:${local.partition}:iam::${local.account_id}:instance-profile/*",
        ]
        Condition = {
          StringEquals = {
            "aws:ResourceTag/ssmready.dev/cluster" = var.cluster_id
          }
          "ForAllValues:StringEquals" = {
            "aws:TagKeys" = "ssmready.dev/owner"
          }
        }
      },
      {
        Sid      = "PassInstanceRoles"
        Effect   = "Allow"
        Action   = "iam:PassRole"
        Resource = "arn:${local.partition}:iam::${local.account_id}:role/*"
        Condition = {
          StringEquals = {
            "iam:PassedToService" = [
              "ec2.amazonaws.com",
              "ec2.amazonaws.com.cn",
            ]
          }
        }
      },
      {
        Sid    = "NeverTheControllersOwn"
        Effect = "Deny"
        Action = [
          "iam:Attach*",
          "iam:Create*",
          "iam:Delete*",
          "iam:Detach*",
          "iam:Pass*",
          "iam:Put*",
          "iam:Tag*",
          "iam:Untag*",
          "iam:Update*",
        ]
        Resource = [
          "arn:${local.partition}:iam::${local.account_id}:role${var.role_path}${var.role_prefix}",
          "arn:${local.partition}:iam::${local.account_id}:role${var.role_path}${var.role_prefix}-*",
        ]
      },
    ]
  }
}

resource "aws_iam_role" "observe" {
  name                 = "${var.role_prefix}-observe"
  path                 = var.role_path
  max_session_duration = 3600
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = jsonencode(local.trust)
}

resource "aws_iam_role_policy" "observe" {
  name   = "ssm-ready-observe"
  role   = aws_iam_role.observe.id
  policy = jsonencode(local.observe)
}

output "observe_role_arn" {
  description = "spec.assumeRole.observeRoleArn of the AwsAccount"
  value       = aws_iam_role.observe.arn
}

resource "aws_iam_role" "enforce" {
  name                 = var.role_prefix
  path                 = var.role_path
  max_session_duration = 3600
  permissions_boundary = var.permissions_boundary
  assume_role_policy   = jsonencode(local.trust)
}

resource "aws_iam_role_policy" "enforce_observe" {
  name   = "ssm-ready-observe"
  role   = aws_iam_role.enforce.id
  policy = jsonencode(local.observe)
}

resource "aws_iam_role_policy" "enforce" {
  name   = "ssm-ready-enforce"
  role   = aws_iam_role.enforce.id
  policy = jsonencode(local.enforce)
}

resource "aws_iam_policy" "enforce_region" {
  name        = "${var.role_prefix}-region"
  path        = var.role_path
  description = "Lets ssm-ready keep what RegionPostures declare of this account"
  policy      = jsonencode(local.enforce_region)
}

resource "aws_iam_role_policy_attachment" "enforce_region" {
  role       = aws_iam_role.enforce.name
  policy_arn = aws_iam_policy.enforce_region.arn
}

resource "aws_iam_policy" "enforce_account" {
  name        = "${var.role_prefix}-account"
  path        = var.role_path
  description = "Lets ssm-ready keep the roles that AccountPostures declare"
  policy      = jsonencode(local.enforce_account)
}

resource "aws_iam_role_policy_attachment" "enforce_account" {
  role       = aws_iam_role.enforce.name
  policy_arn = aws_iam_policy.enforce_account.arn
}

output "enforce_role_arn" {
  description = "spec.assumeRole.roleArn of the AwsAccount"
  value       = aws_iam_role.enforce.arn
}
