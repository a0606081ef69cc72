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

pub use document::{Comparison, Effect, Node, Parameter, Piece, Policy, Statement, Text};
pub use policies::{enforce, hub, hub_trust, observe, trust};
pub use questions::questions;
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
    /// `endpoints.tags`, when they are edited later.
    Tags,
    /// Deleting what the controller made, and letting go of what stays.
    Deletion,
    /// `endpoints.adoption: TakeOver`.
    TakeOver,
    /// An action that AWS lists as one that CreateVpcEndpoint depends on.
    HostedZones,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::VpcEndpoints,
        Self::SecurityGroup,
        Self::ExistingSecurityGroups,
        Self::S3Gateway,
        Self::DnsAttributes,
        Self::Tags,
        Self::Deletion,
        Self::TakeOver,
        Self::HostedZones,
    ];

    /// What a VpcPosture with the defaults of its fields needs.
    #[must_use]
    pub fn defaults() -> BTreeSet<Self> {
        Self::ALL.into_iter().filter(|feature| feature.is_default()).collect()
    }

    /// Whether a VpcPosture with the defaults of its fields needs it.
    #[must_use]
    pub fn is_default(self) -> bool {
        !matches!(self, Self::ExistingSecurityGroups | Self::TakeOver | Self::HostedZones)
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
            Self::Tags => "edits of `endpoints.tags`; the tags of a creation need nothing more",
            Self::Deletion => "deleted objects, services that are no longer declared, endpoints that failed for good",
            Self::TakeOver => {
                "`endpoints.adoption: TakeOver`. It lets the role mark any endpoint or security group of the account as its own"
            }
            Self::HostedZones => {
                "only if AWS refuses private DNS for want of `route53:AssociateVPCWithHostedZone`, which the service authorization reference names as a dependent action; the controller itself never calls it"
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
    /// What the controller is to do.
    pub features: BTreeSet<Feature>,
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
            features: Feature::defaults(),
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
