//! What was observed in AWS. No field is ever filled from what is wanted.

pub mod audit;
pub mod iam;
pub mod settings;
pub mod targets;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{
    AccountId, EndpointId, InstanceId, NetworkInterfaceId, PrefixListId, Region, RoleArn, RouteTableId, Secret,
    SecurityGroupId, SubnetId, VpcId,
};

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// One role to take on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleStep {
    /// The role.
    pub arn: RoleArn,
    /// The external id that its trust policy demands.
    pub external_id: Option<Secret>,
}

/// Who acts: the roles to take on, in order, and the account in which that has to end.
/// Two objects with equal principals share one session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// The account in which the session must turn out to be.
    pub account: AccountId,
    /// The roles, the first taken on with the controller's own identity; none: that identity itself.
    pub roles: Vec<RoleStep>,
    /// The name of the session, as CloudTrail shows it.
    pub session_name: String,
    /// How long the credentials last: 900 to 3600 seconds (role chaining allows no more).
    pub duration_seconds: i32,
    /// Whether a session policy narrows the session to reads.
    pub read_only: bool,
}

/// Who a session turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// The ARN, as GetCallerIdentity gives it.
    pub arn: String,
}

/// Where and as whom a call is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// As whom.
    pub principal: Principal,
    /// Where.
    pub region: Region,
    /// The share of AWS's published rates that we allow ourselves: 1 to 100 percent.
    pub api_share_percent: u8,
}

/// A VPC (DescribeVpcs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// The account that owns it; another one's if it was shared with us.
    pub owner: String,
    /// Its associated CIDRs: IPv4 and IPv6, secondary ones included.
    pub cidrs: Vec<IpNet>,
}

/// An attribute of a VPC that private DNS needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VpcAttribute {
    /// `enableDnsSupport`: the VPC has a resolver. Comes first.
    DnsSupport,
    /// `enableDnsHostnames`: private names resolve.
    DnsHostnames,
}

impl VpcAttribute {
    /// Both, in the order in which they have to be switched on.
    pub const BOTH: [Self; 2] = [Self::DnsSupport, Self::DnsHostnames];

    /// The attribute as AWS spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DnsSupport => "enableDnsSupport",
            Self::DnsHostnames => "enableDnsHostnames",
        }
    }
}

/// A subnet (DescribeSubnets).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its zone's name, which differs between accounts.
    pub zone: String,
    /// Its zone's id, which does not.
    pub zone_id: String,
    /// Free IPv4 addresses.
    pub free_addresses: i64,
    /// Whether it has an IPv4 CIDR.
    pub has_ipv4: bool,
    /// Whether it has an IPv6 CIDR.
    pub has_ipv6: bool,
    /// Its tags.
    pub tags: Tags,
}

/// The type of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndpointType {
    /// Network interfaces in subnets.
    Interface,
    /// Routes in route tables.
    Gateway,
    /// Any other, which is none of our business.
    Other,
}

/// The life of an endpoint (DescribeVpcEndpoints, `State`; compared without regard to case).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointState {
    /// Waits for the service's owner.
    PendingAcceptance,
    /// Being made or changed.
    Pending,
    /// In service.
    Available,
    /// Going.
    Deleting,
    /// Gone.
    Deleted,
    /// Refused by the service's owner: for good.
    Rejected,
    /// Could not be made: for good.
    Failed,
    /// Not accepted in time: for good.
    Expired,
    /// Some of it works; AWS does not say what.
    Partial,
    /// A state that we do not know: not ready.
    Unknown(String),
}

impl EndpointState {
    /// Reads a state in any casing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "pendingacceptance" => Self::PendingAcceptance,
            "pending" => Self::Pending,
            "available" => Self::Available,
            "deleting" => Self::Deleting,
            "deleted" => Self::Deleted,
            "rejected" => Self::Rejected,
            "failed" => Self::Failed,
            "expired" => Self::Expired,
            "partial" => Self::Partial,
            _ => Self::Unknown(text.to_owned()),
        }
    }

    /// The state as AWS's documentation spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::PendingAcceptance => "PendingAcceptance",
            Self::Pending => "Pending",
            Self::Available => "Available",
            Self::Deleting => "Deleting",
            Self::Deleted => "Deleted",
            Self::Rejected => "Rejected",
            Self::Failed => "Failed",
            Self::Expired => "Expired",
            Self::Partial => "Partial",
            Self::Unknown(text) => text,
        }
    }

    /// Whether only deleting it and making another can help.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Rejected | Self::Failed | Self::Expired)
    }

    /// Whether it is gone or going.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        matches!(self, Self::Deleting | Self::Deleted)
    }
}

/// The address family of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpAddressType {
    /// IPv4 only.
    Ipv4,
    /// Both.
    Dualstack,
    /// IPv6 only.
    Ipv6,
}

impl IpAddressType {
    /// Reads AWS's spelling; none for one that we do not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "ipv4" => Some(Self::Ipv4),
            "dualstack" => Some(Self::Dualstack),
            "ipv6" => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// AWS's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// A VPC endpoint (DescribeVpcEndpoints).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its VPC.
    pub vpc: VpcId,
    /// The full service name.
    pub service_name: String,
    /// Its type.
    pub kind: EndpointType,
    /// Its state.
    pub state: EndpointState,
    /// Why it failed, in AWS's words.
    pub failure: Option<String>,
    /// Its subnets.
    pub subnets: BTreeSet<SubnetId>,
    /// The security groups of its network interfaces.
    pub groups: BTreeSet<SecurityGroupId>,
    /// The route tables of a gateway.
    pub route_tables: BTreeSet<RouteTableId>,
    /// Its network interfaces.
    pub network_interfaces: BTreeSet<NetworkInterfaceId>,
    /// Whether the service's public name resolves to it in the whole VPC.
    pub private_dns: bool,
    /// Its address family, where AWS says it.
    pub ip_address_type: Option<IpAddressType>,
    /// Its policy document, where AWS says it.
    pub policy: Option<String>,
    /// Whether an AWS service manages it: never to be touched.
    pub requester_managed: bool,
    /// Its tags.
    pub tags: Tags,
}

/// Where an ingress rule admits from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleSource {
    /// Addresses.
    Cidr(IpNet),
    /// Whatever carries this security group.
    Group(SecurityGroupId),
    /// The entries of a prefix list.
    PrefixList(PrefixListId),
}

impl std::fmt::Display for RuleSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cidr(net) => write!(f, "{net}"),
            Self::Group(id) => write!(f, "{id}"),
            Self::PrefixList(id) => write!(f, "{id}"),
        }
    }
}

/// One source of an ingress permission of a security group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IngressRule {
    /// `tcp`, `udp`, `-1` (all), or a protocol number.
    pub protocol: String,
    /// The port range; none: all ports.
    pub ports: Option<(i32, i32)>,
    /// Where from.
    pub source: RuleSource,
    /// Its description.
    pub description: Option<String>,
}

/// A security group (DescribeSecurityGroups).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Its id.
    pub id: SecurityGroupId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its name, unique in the VPC.
    pub name: String,
    /// What it admits.
    pub ingress: Vec<IngressRule>,
    /// Its tags.
    pub tags: Tags,
}

/// The state of an instance, as far as we care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceState {
    /// Pending or running.
    Running,
    /// Stopping or stopped: it may start again.
    Stopped,
}

/// An EC2 instance that still exists (DescribeInstances, less those terminated or shutting down).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its state.
    pub state: InstanceState,
    /// The ARN of its instance profile, if it has one.
    pub profile: Option<String>,
    /// Whether its metadata can be read without a token (`HttpTokens: optional`), where AWS says it.
    pub imds_v1: Option<bool>,
    /// Whether its metadata can be read at all (`HttpEndpoint`), where AWS says it.
    pub imds: Option<bool>,
    /// Its tags.
    pub tags: Tags,
}

/// A node that Systems Manager knows (DescribeInstanceInformation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedNode {
    /// The instance.
    pub id: InstanceId,
    /// Whether its agent pings.
    pub online: bool,
    /// Its agent's version.
    pub agent_version: Option<String>,
}

/// A route table (DescribeRouteTables).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// Its id.
    pub id: RouteTableId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Whether subnets without a table of their own use it.
    pub main: bool,
    /// Subnets associated with it by name.
    pub subnets: BTreeSet<SubnetId>,
    /// The endpoint each prefix list is routed to.
    pub endpoint_routes: BTreeMap<PrefixListId, String>,
    /// Its tags.
    pub tags: Tags,
}

/// A service that can be reached by endpoint (DescribeVpcEndpointServices).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The full name.
    pub name: String,
    /// The type of endpoint it takes.
    pub kind: EndpointType,
    /// The names of the zones that it has in common with us.
    pub zones: BTreeSet<String>,
    /// The names that private DNS answers for.
    pub private_dns_names: Vec<String>,
    /// Whether it supports IPv4.
    pub ipv4: bool,
    /// Whether it supports IPv6.
    pub ipv6: bool,
}

/// A network interface (DescribeNetworkInterfaces).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInterface {
    /// Its id.
    pub id: NetworkInterfaceId,
    /// What it says of itself.
    pub description: String,
}

/// What IAM is asked of a role: whether it may do these actions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Question {
    /// The IAM actions.
    pub actions: Vec<String>,
    /// The ARN of what they act on; anything, where it is not said. It need not exist.
    pub resource: Option<String>,
    /// What the request would say: condition keys, each with its one value.
    pub context: Vec<(String, String)>,
}

impl Question {
    /// Whether the actions are allowed on anything.
    #[must_use]
    pub fn of(actions: &[String]) -> Self {
        Self { actions: actions.to_vec(), ..Self::default() }
    }
}

/// What IAM says of one action for the role in use (SimulatePrincipalPolicy).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The IAM action.
    pub action: String,
    /// Whether the role's policies allow it.
    pub allowed: bool,
}

/// A fact as it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<T> {
    /// The value.
    pub value: T,
    /// When the read that gave it began.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::near::near;

    const STATES: &[&str] = &[
        "PendingAcceptance",
        "Pending",
        "Available",
        "Deleting",
        "Deleted",
        "Rejected",
        "Failed",
        "Expired",
        "Partial",
    ];
    const TYPES: &[&str] = &["ipv4", "dualstack", "ipv6"];

    #[test]
    fn a_question_asks_what_it_is_given() {
        let actions = ["ec2:CreateVpcEndpoint", "ec2:CreateTags"].map(str::to_owned);
        let question = Question::of(&actions);
        assert_eq!((question.actions.as_slice(), question.resource, question.context), (&actions[..], None, vec![]));
    }

    #[test]
    fn address_types_are_read_in_any_case() {
        use IpAddressType::*;
        for (text, expected) in [
            ("ipv4", Some(Ipv4)),
            ("IPv4", Some(Ipv4)),
            ("dualstack", Some(Dualstack)),
            ("ipv6", Some(Ipv6)),
            ("dualstack ", None),
            ("", None),
        ] {
            assert_eq!(IpAddressType::parse(text), expected, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_state_is_one_of_ours_or_unknown(text in near(STATES)) {
            let state = EndpointState::parse(&text);
            prop_assert_eq!(&EndpointState::parse(state.as_str()), &state);
            match &state {
                EndpointState::Unknown(word) => {
                    prop_assert_eq!(word, &text);
                    prop_assert!(!state.is_terminal() && !state.is_leaving());
                }
                known => prop_assert!(known.as_str().eq_ignore_ascii_case(&text), "{text}"),
            }
        }

        #[test]
        fn any_address_type_is_one_of_ours_or_none(text in near(TYPES)) {
            let known = TYPES.iter().find(|known| known.eq_ignore_ascii_case(&text)).copied();
            prop_assert_eq!(IpAddressType::parse(&text).map(IpAddressType::as_str), known);
        }
    }

    #[test]
    fn states_are_read_in_any_casing() {
        for (text, state) in [
            ("available", EndpointState::Available),
            ("Available", EndpointState::Available),
            ("pendingAcceptance", EndpointState::PendingAcceptance),
            ("PendingAcceptance", EndpointState::PendingAcceptance),
            ("DELETING", EndpointState::Deleting),
            ("partial", EndpointState::Partial),
            ("mending", EndpointState::Unknown("mending".into())),
        ] {
            assert_eq!(EndpointState::parse(text), state);
        }
    }

    #[test]
    fn terminal_states_are_those_that_never_recover() {
        let terminal: Vec<&str> = [
            "PendingAcceptance",
            "Pending",
            "Available",
            "Deleting",
            "Deleted",
            "Rejected",
            "Failed",
            "Expired",
            "Partial",
            "New",
        ]
        .into_iter()
        .filter(|s| EndpointState::parse(s).is_terminal())
        .collect();
        assert_eq!(terminal, ["Rejected", "Failed", "Expired"]);
    }
}
