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

locals {
  partition = data.aws_partition.current.partition

  hub = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "AssumeTheRolesOfAccounts"
        Effect = "Allow"
        Action = [
          "sts:AssumeRole",
          "sts:TagSession",
        ]
        Resource = [
          "arn:${local.partition}:iam::*:role${var.role_path}${var.role_prefix}",
          "arn:${local.partition}:iam::*:role${var.role_path}${var.role_prefix}-*",
        ]
      },
    ]
  }

  trust = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "PodOfTheController"
        Effect = "Allow"
        Principal = {
          Service = "pods.eks.amazonaws.com"
        }
        Action = [
          "sts:AssumeRole",
          "sts:TagSession",
        ]
        Condition = {
          StringEquals = {
            "aws:RequestTag/kubernetes-namespace"       = "ssm-ready"
            "aws:RequestTag/kubernetes-service-account" = "ssm-ready"
          }
        }
      },
    ]
  }
}

resource "aws_iam_role" "hub" {
  name               = "${var.role_prefix}-hub"
  path               = var.role_path
  assume_role_policy = jsonencode(local.trust)
}

resource "aws_iam_role_policy" "hub" {
  name   = "ssm-ready-hub"
  role   = aws_iam_role.hub.id
  policy = jsonencode(local.hub)
}

output "hub_role_arn" {
  description = "The controller's own role"
  value       = aws_iam_role.hub.arn
}
