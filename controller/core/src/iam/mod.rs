//! The IAM policies that the controller needs: made from the table of calls, and no broader than what it does.
//!
//! Nothing here talks to AWS; `ssm-ready iam-policy` prints what is made here.

mod cloudformation;
mod document;
mod policies;
mod questions;
mod render;
mod terraform;

use std::collections::BTreeSet;

use crate::calls::Operation;

pub use document::{Comparison, Effect, Node, Parameter, Piece, Policy, Statement, Text};
pub use policies::{enforce, hub, hub_trust, observe, trust};
pub use questions::{Preflight, questions};
pub use render::{Format, Part, Refusal, render};

/// The longest managed policy, in characters without white space (IAM quotas).
pub const MANAGED_POLICY_LIMIT: usize = 6144;
/// The longest that all inline policies of a role may be together, in characters without white space (IAM quotas).
pub const INLINE_POLICIES_LIMIT: usize = 10_240;
/// The longest trust policy that an account allows unless its quota is raised, in characters.
pub const TRUST_POLICY_LIMIT: usize = 2048;

/// A group of regions that shares accounts, and nothing with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Partition {
    /// The commercial regions.
    #[default]
    Aws,
    /// China.
    AwsCn,
    /// GovCloud (US).
    AwsUsGov,
    /// The European Sovereign Cloud.
    AwsEusc,
    /// Isolated: US.
    AwsIso,
    /// Isolated: US, B.
    AwsIsoB,
    /// Isolated: Europe.
    AwsIsoE,
    /// Isolated: US, F.
    AwsIsoF,
}

impl Partition {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Aws,
        Self::AwsCn,
        Self::AwsUsGov,
        Self::AwsEusc,
        Self::AwsIso,
        Self::AwsIsoB,
        Self::AwsIsoE,
        Self::AwsIsoF,
    ];

    /// Its name in ARNs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
            Self::AwsEusc => "aws-eusc",
            Self::AwsIso => "aws-iso",
            Self::AwsIsoB => "aws-iso-b",
            Self::AwsIsoE => "aws-iso-e",
            Self::AwsIsoF => "aws-iso-f",
        }
    }

    /// The prefix that the names of some endpoint services have there; the others begin with `com.amazonaws` in every
    /// partition (AWS PrivateLink service lists). Which do is not said for every region, so both are allowed for all.
    #[must_use]
    pub fn endpoint_prefix(self) -> &'static str {
        match self {
            Self::Aws | Self::AwsUsGov => COMMON_PREFIX,
            Self::AwsCn => "cn.com.amazonaws",
            Self::AwsEusc => "eu.amazonaws",
            Self::AwsIso => "gov.ic.c2s",
            Self::AwsIsoB => "gov.sgov.sc2s",
            Self::AwsIsoE => "uk.adc-e.cloud",
            Self::AwsIsoF => "gov.ic.hci.csp",
        }
    }
}

/// What the names of most endpoint services begin with, in every partition.
pub const COMMON_PREFIX: &str = "com.amazonaws";

/// A kind of object, each of which takes a policy of its own: one for all would be longer than AWS lets it be, and
/// nobody has to allow what no object of theirs does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Networks of VPCs.
    VpcPosture,
    /// Settings of an account and region.
    RegionPosture,
    /// Roles and instance profiles.
    AccountPosture,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::VpcPosture, Self::RegionPosture, Self::AccountPosture];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VpcPosture => "vpc-posture",
            Self::RegionPosture => "region-posture",
            Self::AccountPosture => "account-posture",
        }
    }

    /// The name of its policy, as a part and in file names.
    #[must_use]
    pub fn policy(self) -> &'static str {
        match self {
            Self::VpcPosture => "enforce",
            Self::RegionPosture => "enforce-region",
            Self::AccountPosture => "enforce-account",
        }
    }

    /// Whether objects of the kind lead to a call.
    #[must_use]
    pub fn makes(self, operation: Operation) -> bool {
        kinds_of(operation).contains(&self)
    }
}

/// The kinds whose objects lead to a call.
fn kinds_of(operation: Operation) -> &'static [Kind] {
    use Kind::{AccountPosture, RegionPosture, VpcPosture};
    use Operation as O;
    match operation {
        O::AssumeRole
        | O::GetCallerIdentity
        | O::SimulatePrincipalPolicy
        // Instances tell a VPC's readiness, which of them lack metadata, and whether a profile is in use.
        | O::DescribeInstances => &Kind::ALL,
        O::DescribeVpcs
        | O::DescribeVpcEndpoints
        | O::DescribeSecurityGroups
        | O::DescribeInstanceInformation
        | O::DescribeSubnets
        | O::DescribeRouteTables
        | O::DescribeVpcAttribute
        | O::DescribeVpcEndpointServices
        | O::DescribeNetworkInterfaces
        | O::CreateVpcEndpoint
        | O::ModifyVpcEndpoint
        | O::DeleteVpcEndpoints
        | O::CreateSecurityGroup
        | O::AuthorizeSecurityGroupIngress
        | O::RevokeSecurityGroupIngress
        | O::DeleteSecurityGroup
        | O::CreateTags
        | O::DeleteTags
        | O::ModifyVpcAttribute
        | O::AssociateIamInstanceProfile => &[VpcPosture],
        O::GetDocument
        | O::DescribeDocument
        | O::GetBucketLocation
        | O::GetBucketEncryption
        | O::DescribeLogGroups
        | O::DescribeKey
        | O::GetInstanceMetadataDefaults
        | O::UpdateServiceSetting
        | O::ResetServiceSetting
        | O::ModifyInstanceMetadataDefaults
        | O::CreateDocument
        | O::UpdateDocument
        | O::UpdateDocumentDefaultVersion
        | O::DeleteDocument
        | O::AddTagsToResource
        | O::RemoveTagsFromResource
        | O::DescribeRule
        | O::ListTargetsByRule
        | O::ListTagsForResource
        | O::DescribeTrails
        | O::GetTrailStatus
        | O::GetEventSelectors
        | O::GetTopicAttributes
        | O::PutRule
        | O::PutTargets
        | O::RemoveTargets
        | O::DeleteRule
        | O::TagResource
        | O::UntagResource => &[RegionPosture],
        // The role of Default Host Management is looked at before it is set, and a role that is set is not deleted. A
        // VpcPosture with `instances` reads these and profiles too, which only advises.
        O::GetServiceSetting
        | O::GetRole
        | O::ListAttachedRolePolicies
        | O::ListRolePolicies
        | O::GetRolePolicy => &[RegionPosture, AccountPosture],
        O::DescribeRegions
        | O::GetInstanceProfile
        | O::CreateRole
        | O::UpdateAssumeRolePolicy
        | O::AttachRolePolicy
        | O::DetachRolePolicy
        | O::PutRolePolicy
        | O::DeleteRolePolicy
        | O::PutRolePermissionsBoundary
        | O::TagRole
        | O::UntagRole
        | O::DeleteRole
        | O::CreateInstanceProfile
        | O::TagInstanceProfile
        | O::UntagInstanceProfile
        | O::AddRoleToInstanceProfile
        | O::RemoveRoleFromInstanceProfile
        | O::DeleteInstanceProfile => &[AccountPosture],
    }
}

/// A part of what the controller can do, which takes permissions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Interface endpoints: making and changing them.
    VpcEndpoints,
    /// The security group that the controller makes for them.
    SecurityGroup,
    /// Groups of yours (`endpoints.securityGroup.existing`).
    ExistingSecurityGroups,
    /// The S3 gateway endpoint and its routes.
    S3Gateway,
    /// `dns.attributes: Enforce`.
    DnsAttributes,
    /// Declared tags, when they are edited later.
    Tags,
    /// Deleting what the controller made, and letting go of what stays.
    Deletion,
    /// `TakeOver` of what somebody else tagged.
    TakeOver,
    /// An action that AWS lists as one that CreateVpcEndpoint depends on.
    HostedZones,
    /// Default Host Management.
    HostManagement,
    /// The other service settings of Systems Manager.
    ServiceSettings,
    /// The metadata defaults of new instances.
    MetadataDefaults,
    /// The preferences of Session Manager.
    SessionPreferences,
    /// The rule that reports sessions.
    SessionAudit,
    /// Roles: making and changing them.
    Roles,
    /// Instance profiles, and putting roles into them.
    InstanceProfiles,
    /// Roles of yours (`ownership: AttachOnly`).
    AttachOnlyRoles,
    /// Giving an instance profile to instances that have none.
    ProfileAttachment,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::VpcEndpoints,
        Self::SecurityGroup,
        Self::ExistingSecurityGroups,
        Self::S3Gateway,
        Self::DnsAttributes,
        Self::Tags,
        Self::Deletion,
        Self::TakeOver,
        Self::HostedZones,
        Self::HostManagement,
        Self::ServiceSettings,
        Self::MetadataDefaults,
        Self::SessionPreferences,
        Self::SessionAudit,
        Self::Roles,
        Self::InstanceProfiles,
        Self::AttachOnlyRoles,
        Self::ProfileAttachment,
    ];

    /// What objects need whose `adoption`, `ownership`, `existing` and `profileAttachment` are at their defaults.
    #[must_use]
    pub fn defaults() -> BTreeSet<Self> {
        Self::ALL.into_iter().filter(|feature| feature.is_default()).collect()
    }

    /// Whether objects need it whose `adoption`, `ownership`, `existing` and `profileAttachment` are at their defaults.
    #[must_use]
    pub fn is_default(self) -> bool {
        !matches!(
            self,
            Self::ExistingSecurityGroups
                | Self::TakeOver
                | Self::HostedZones
                | Self::AttachOnlyRoles
                | Self::ProfileAttachment
        )
    }

    /// The kinds in whose policies it makes a difference.
    #[must_use]
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::VpcEndpoints
            | Self::SecurityGroup
            | Self::ExistingSecurityGroups
            | Self::S3Gateway
            | Self::DnsAttributes
            | Self::HostedZones
            | Self::ProfileAttachment => &[Kind::VpcPosture],
            Self::Tags | Self::Deletion | Self::TakeOver => &Kind::ALL,
            Self::HostManagement
            | Self::ServiceSettings
            | Self::MetadataDefaults
            | Self::SessionPreferences
            | Self::SessionAudit => &[Kind::RegionPosture],
            Self::Roles | Self::InstanceProfiles | Self::AttachOnlyRoles => &[Kind::AccountPosture],
        }
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VpcEndpoints => "vpc-endpoints",
            Self::SecurityGroup => "security-group",
            Self::ExistingSecurityGroups => "existing-security-groups",
            Self::S3Gateway => "s3-gateway",
            Self::DnsAttributes => "dns-attributes",
            Self::Tags => "tags",
            Self::Deletion => "deletion",
            Self::TakeOver => "take-over",
            Self::HostedZones => "hosted-zones",
            Self::HostManagement => "host-management",
            Self::ServiceSettings => "service-settings",
            Self::MetadataDefaults => "metadata-defaults",
            Self::SessionPreferences => "session-preferences",
            Self::SessionAudit => "session-audit",
            Self::Roles => "roles",
            Self::InstanceProfiles => "instance-profiles",
            Self::AttachOnlyRoles => "attach-only-roles",
            Self::ProfileAttachment => "profile-attachment",
        }
    }

    /// When it is needed.
    #[must_use]
    pub fn needed_for(self) -> &'static str {
        match self {
            Self::VpcEndpoints => {
                "interface endpoints: making them and keeping their subnets, groups, private DNS, address type and policy"
            }
            Self::SecurityGroup => "`endpoints.securityGroup.create` (the default)",
            Self::ExistingSecurityGroups => {
                "`endpoints.securityGroup.existing`: endpoints with groups that ssm-ready did not make"
            }
            Self::S3Gateway => "`endpoints.s3.type: Gateway` (the default): the gateway endpoint in route tables",
            Self::DnsAttributes => {
                "`dns.attributes: Enforce` (the default): switching on enableDnsSupport and enableDnsHostnames"
            }
            Self::Tags => "edits of declared tags (`endpoints.tags`, `tags`); the tags of a creation need nothing more",
            Self::Deletion => {
                "deleted objects, services that are no longer declared, endpoints that failed for good. Settings go back with what sets them"
            }
            Self::TakeOver => {
                "`adoption: TakeOver` and `ownership: TakeOver` of what another cluster has tagged, and of any endpoint and security group. It lets the role mark them as its own"
            }
            Self::HostedZones => {
                "only if AWS refuses private DNS for want of `route53:AssociateVPCWithHostedZone`, which the service authorization reference names as a dependent action; the controller itself never calls it"
            }
            Self::HostManagement => {
                "`hostManagement` of a RegionPosture: its setting, and passing the role that it names to Systems Manager"
            }
            Self::ServiceSettings => "`serviceSettings` of a RegionPosture",
            Self::MetadataDefaults => "`instanceMetadataDefaults` of a RegionPosture",
            Self::SessionPreferences => {
                "`sessionPreferences` of a RegionPosture: the document SSM-SessionManagerRunShell, and no other"
            }
            Self::SessionAudit => {
                "`sessionAudit` of a RegionPosture: the EventBridge rule ssm-ready-session-audit, and no other"
            }
            Self::Roles => {
                "`ownership: Create` (the default) and `TakeOver` of roles of an AccountPosture. Bound it: see [Roles](#roles-and-how-far-they-go)"
            }
            Self::InstanceProfiles => {
                "`instanceRoles` of an AccountPosture: their profiles, and passing the roles to EC2"
            }
            Self::AttachOnlyRoles => {
                "`ownership: AttachOnly`: attaches the allowed policies to roles that ssm-ready did not make, and detaches them"
            }
            Self::ProfileAttachment => {
                "`instances.profileAttachment.policy: WhenMissing` of a VpcPosture: gives instances that have no profile one, and passes its role to EC2"
            }
        }
    }
}

/// How the controller gets its own role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubIdentity {
    /// IAM roles for service accounts.
    Irsa {
        /// The cluster's OIDC issuer, without `https://`.
        provider: String,
    },
    /// EKS Pod Identity. Its sessions carry tags, which go along into each role that is assumed from them.
    PodIdentity {
        /// The ARN of the cluster, to admit only that one.
        cluster: Option<String>,
    },
}

/// What the policies are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The partition.
    pub partition: Partition,
    /// The controller's `--cluster-id`.
    pub cluster_id: String,
    /// The path of the roles: begins and ends with a slash.
    pub role_path: String,
    /// What the names of the roles begin with.
    pub role_prefix: String,
    /// The ARN of the controller's own role.
    pub hub_role: Option<String>,
    /// The external id that the roles ask for.
    pub external_id: Option<String>,
    /// The organisation in which the accounts have to be.
    pub organization: Option<String>,
    /// Where the roles may act; everywhere if empty.
    pub regions: BTreeSet<String>,
    /// The kinds of objects that are used in the accounts: a policy each.
    pub kinds: BTreeSet<Kind>,
    /// What the controller is to do.
    pub features: BTreeSet<Feature>,
    /// What the paths of roles and profiles begin with that the controller makes, changes or passes: each begins and ends
    /// with a slash.
    pub managed_role_paths: BTreeSet<String>,
    /// The ARN of the policy that every role has to be bounded by; that of the same name, in each account.
    pub managed_role_boundary: Option<String>,
    /// ARNs of managed policies that roles may get beyond AWS's own for Systems Manager; those of the same name, in each
    /// account.
    pub managed_policies: BTreeSet<String>,
    /// How the controller gets its own role.
    pub identity: Option<HubIdentity>,
    /// The controller's namespace.
    pub namespace: String,
    /// The controller's service account.
    pub service_account: String,
}

impl Settings {
    /// The defaults, for a cluster.
    #[must_use]
    pub fn new(cluster_id: &str) -> Self {
        Self {
            partition: Partition::default(),
            cluster_id: cluster_id.to_owned(),
            role_path: "/".to_owned(),
            role_prefix: "ssm-ready".to_owned(),
            hub_role: None,
            external_id: None,
            organization: None,
            regions: BTreeSet::new(),
            kinds: [Kind::VpcPosture].into(),
            features: Feature::defaults(),
            managed_role_paths: ["/".to_owned()].into(),
            managed_role_boundary: None,
            managed_policies: BTreeSet::new(),
            identity: None,
            namespace: "ssm-ready".to_owned(),
            service_account: "ssm-ready".to_owned(),
        }
    }

    /// The account of the controller's own role, where that is known.
    #[must_use]
    pub fn hub_account(&self) -> Option<&str> {
        self.hub_role.as_deref().and_then(|arn| arn.split(':').nth(4))
    }

    /// The value of a parameter for an account; `*` where there is none.
    #[must_use]
    pub fn value(&self, account: Option<&str>, parameter: Parameter) -> String {
        let or_any = |value: Option<&str>| value.unwrap_or("*").to_owned();
        match parameter {
            Parameter::Partition => self.partition.name().to_owned(),
            Parameter::Account => or_any(account),
            Parameter::ClusterId => self.cluster_id.clone(),
            Parameter::HubRole => or_any(self.hub_role.as_deref()),
            Parameter::ExternalId => or_any(self.external_id.as_deref()),
            Parameter::Organization => or_any(self.organization.as_deref()),
            Parameter::RolePath => self.role_path.clone(),
            Parameter::RolePrefix => self.role_prefix.clone(),
            Parameter::EndpointPrefix => self.partition.endpoint_prefix().to_owned(),
        }
    }

    /// The policies of the kinds in use, beyond [`observe`], that the role needs which changes AWS. One without a
    /// statement is left out: IAM takes none.
    #[must_use]
    pub fn enforce(&self) -> Vec<(Kind, Policy)> {
        let all = self.kinds.iter().map(|kind| (*kind, enforce(self, *kind)));
        all.filter(|(_, policy)| !policy.statements.is_empty()).collect()
    }

    /// The length of a policy for an account, in characters without white space.
    #[must_use]
    pub fn length(&self, policy: &Policy, account: Option<&str>) -> usize {
        serde_json::to_string(&self.document(policy, account)).map_or(usize::MAX, |text| text.chars().count())
    }

    /// A policy as a document for an account.
    #[must_use]
    pub fn document(&self, policy: &Policy, account: Option<&str>) -> Node {
        without_repeats(policy.node().resolve(&|parameter| self.value(account, parameter)))
    }
}

/// Which roles a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// The one that only looks.
    Observe,
    /// The one that changes AWS.
    Enforce,
    /// Both.
    Both,
}

impl Roles {
    /// Whether the role that only looks is among them.
    #[must_use]
    pub fn observe(self) -> bool {
        self != Self::Enforce
    }

    /// Whether the role that changes AWS is among them.
    #[must_use]
    pub fn enforce(self) -> bool {
        self != Self::Observe
    }
}

/// A list in which two texts became the same has it once.
fn without_repeats(node: Node) -> Node {
    match node {
        Node::List(items) => {
            let mut kept: Vec<Node> = Vec::new();
            for item in items.into_iter().map(without_repeats) {
                if !kept.contains(&item) {
                    kept.push(item);
                }
            }
            Node::List(kept)
        }
        Node::Map(entries) => {
            Node::Map(entries.into_iter().map(|(key, value)| (key, without_repeats(value))).collect())
        }
        other => other,
    }
}
