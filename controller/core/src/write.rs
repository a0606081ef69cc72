//! The writes that we can make to AWS, and what each of them was answered.

use std::{collections::BTreeSet, fmt};

use crate::{
    calls::Operation,
    facts::{EndpointType, IngressRule, IpAddressType, Tags, VpcAttribute},
    fault::Fault,
    ids::{EndpointId, RouteTableId, SecurityGroupId, SubnetId, VpcId},
};

/// The policy that lets everything through, as AWS sets it by default.
pub const FULL_ACCESS_POLICY: &str =
    r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

/// An endpoint to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// The VPC.
    pub vpc: VpcId,
    /// The full service name.
    pub service_name: String,
    /// The type: AWS takes Gateway when it is not said.
    pub kind: EndpointType,
    /// The subnets of an interface endpoint, one a zone.
    pub subnets: BTreeSet<SubnetId>,
    /// The security groups of an interface endpoint.
    pub groups: BTreeSet<SecurityGroupId>,
    /// The route tables of a gateway endpoint.
    pub route_tables: BTreeSet<RouteTableId>,
    /// Whether private DNS is on from the start (interface endpoints).
    pub private_dns: bool,
    /// The address family of an interface endpoint.
    pub ip_address_type: Option<IpAddressType>,
    /// `DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint`: said (false) for S3 interface endpoints, whose private DNS
    /// otherwise may ask for a gateway endpoint first.
    pub inbound_resolver_only: Option<bool>,
    /// All its tags, ownership included.
    pub tags: Tags,
    /// Makes a second call with the same token return the first one's endpoint: at most 64 ASCII characters.
    pub client_token: String,
}

/// A change of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointChange {
    /// Subnets to add.
    pub add_subnets: BTreeSet<SubnetId>,
    /// Subnets to take away.
    pub remove_subnets: BTreeSet<SubnetId>,
    /// Security groups to add.
    pub add_groups: BTreeSet<SecurityGroupId>,
    /// Security groups to take away.
    pub remove_groups: BTreeSet<SecurityGroupId>,
    /// Route tables to add.
    pub add_route_tables: BTreeSet<RouteTableId>,
    /// Route tables to take away.
    pub remove_route_tables: BTreeSet<RouteTableId>,
    /// Private DNS, if it changes.
    pub private_dns: Option<bool>,
    /// The address family, if it changes.
    pub ip_address_type: Option<IpAddressType>,
    /// Whether the policy goes back to full access.
    pub full_access_policy: bool,
}

impl EndpointChange {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One call that changes AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// CreateSecurityGroup, tagged in the same call.
    CreateSecurityGroup {
        /// The VPC.
        vpc: VpcId,
        /// The name, unique in the VPC: a second call is refused.
        name: String,
        /// What it is for.
        description: String,
        /// All its tags, ownership included.
        tags: Tags,
    },
    /// AuthorizeSecurityGroupIngress.
    AuthorizeIngress {
        /// The group.
        group: SecurityGroupId,
        /// The rules to add.
        rules: Vec<IngressRule>,
    },
    /// RevokeSecurityGroupIngress.
    RevokeIngress {
        /// The group.
        group: SecurityGroupId,
        /// The rules to take away.
        rules: Vec<IngressRule>,
    },
    /// DeleteSecurityGroup.
    DeleteSecurityGroup {
        /// The group.
        group: SecurityGroupId,
    },
    /// CreateVpcEndpoint, tagged in the same call.
    CreateEndpoint(Box<NewEndpoint>),
    /// ModifyVpcEndpoint.
    ModifyEndpoint {
        /// The endpoint.
        endpoint: EndpointId,
        /// What changes.
        change: Box<EndpointChange>,
    },
    /// DeleteVpcEndpoints: one call for all of them.
    DeleteEndpoints {
        /// The endpoints.
        endpoints: BTreeSet<EndpointId>,
    },
    /// CreateTags.
    Tag {
        /// The resources' ids.
        resources: BTreeSet<String>,
        /// The tags to set.
        tags: Tags,
    },
    /// DeleteTags.
    Untag {
        /// The resources' ids.
        resources: BTreeSet<String>,
        /// The keys to take away.
        keys: BTreeSet<String>,
    },
    /// ModifyVpcAttribute, to true.
    EnableVpcAttribute {
        /// The VPC.
        vpc: VpcId,
        /// The attribute.
        attribute: VpcAttribute,
    },
}

impl Write {
    /// The AWS call that it makes.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::CreateSecurityGroup { .. } => Operation::CreateSecurityGroup,
            Self::AuthorizeIngress { .. } => Operation::AuthorizeSecurityGroupIngress,
            Self::RevokeIngress { .. } => Operation::RevokeSecurityGroupIngress,
            Self::DeleteSecurityGroup { .. } => Operation::DeleteSecurityGroup,
            Self::CreateEndpoint(_) => Operation::CreateVpcEndpoint,
            Self::ModifyEndpoint { .. } => Operation::ModifyVpcEndpoint,
            Self::DeleteEndpoints { .. } => Operation::DeleteVpcEndpoints,
            Self::Tag { .. } => Operation::CreateTags,
            Self::Untag { .. } => Operation::DeleteTags,
            Self::EnableVpcAttribute { .. } => Operation::ModifyVpcAttribute,
        }
    }

    /// What the write acts on, for logs, events and the plan in status.
    #[must_use]
    pub fn target(&self) -> String {
        let list = |ids: &BTreeSet<String>| ids.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Self::CreateSecurityGroup { name, .. } => name.clone(),
            Self::AuthorizeIngress { group, .. }
            | Self::RevokeIngress { group, .. }
            | Self::DeleteSecurityGroup { group } => group.to_string(),
            Self::CreateEndpoint(new) => new.service_name.clone(),
            Self::ModifyEndpoint { endpoint, .. } => endpoint.to_string(),
            Self::DeleteEndpoints { endpoints } => list(&endpoints.iter().map(ToString::to_string).collect()),
            Self::Tag { resources, .. } | Self::Untag { resources, .. } => list(resources),
            Self::EnableVpcAttribute { vpc, .. } => vpc.to_string(),
        }
    }
}

impl fmt::Display for Write {
    /// What changes, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
            items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
        }
        match self {
            Self::CreateSecurityGroup { vpc, name, .. } => write!(f, "create security group {name} in {vpc}"),
            Self::AuthorizeIngress { group, rules } => {
                write!(f, "admit HTTPS to {group} from {}", join(rules.iter().map(|r| &r.source)))
            }
            Self::RevokeIngress { group, rules } => {
                write!(f, "no longer admit to {group} from {}", join(rules.iter().map(|r| &r.source)))
            }
            Self::DeleteSecurityGroup { group } => write!(f, "delete security group {group}"),
            Self::CreateEndpoint(new) if new.kind == EndpointType::Gateway => {
                write!(f, "create gateway endpoint {} for {}", new.service_name, join(&new.route_tables))
            }
            Self::CreateEndpoint(new) => write!(
                f,
                "create interface endpoint {} in {}, private DNS {}",
                new.service_name,
                join(&new.subnets),
                if new.private_dns { "on" } else { "off" }
            ),
            Self::ModifyEndpoint { endpoint, change } => {
                let mut parts = Vec::new();
                let mut say = |what: &str, ids: String| {
                    if !ids.is_empty() {
                        parts.push(format!("{what} {ids}"));
                    }
                };
                say("add", join(&change.add_subnets));
                say("remove", join(&change.remove_subnets));
                say("add", join(&change.add_groups));
                say("remove", join(&change.remove_groups));
                say("add", join(&change.add_route_tables));
                say("remove", join(&change.remove_route_tables));
                say("private DNS", change.private_dns.map_or(String::new(), |on| if on { "on" } else { "off" }.into()));
                say("address type", change.ip_address_type.map_or(String::new(), |t| t.as_str().into()));
                say("policy", if change.full_access_policy { "full access".into() } else { String::new() });
                write!(f, "change {endpoint}: {}", parts.join("; "))
            }
            Self::DeleteEndpoints { endpoints } => write!(f, "delete {}", join(endpoints)),
            Self::Tag { resources, tags } => write!(f, "tag {} with {}", join(resources), join(tags.keys())),
            Self::Untag { resources, keys } => write!(f, "untag {}: {}", join(resources), join(keys)),
            Self::EnableVpcAttribute { vpc, attribute } => write!(f, "switch on {} of {vpc}", attribute.name()),
        }
    }
}

/// What a write brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is done, or already was.
    Done,
    /// The security group that was made.
    Group(SecurityGroupId),
    /// The endpoint that was made, or that an earlier call with the same client token had made.
    Endpoint(EndpointId),
    /// The endpoints whose deletion was refused: AWS answers 200 all the same (`Unsuccessful[]`).
    NotDeleted(Vec<(EndpointId, Fault)>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::our_rule;

    /// Both are shown in status: the target beside the operation, the change in words.
    #[test]
    fn each_write_says_what_it_acts_on_and_what_changes() {
        let group: SecurityGroupId = "sg-1".into();
        let new = NewEndpoint {
            vpc: "vpc-1".into(),
            service_name: "com.amazonaws.eu-west-1.ssm".into(),
            kind: EndpointType::Interface,
            subnets: ["subnet-a".into()].into(),
            groups: [group.clone()].into(),
            route_tables: BTreeSet::new(),
            private_dns: true,
            ip_address_type: None,
            inbound_resolver_only: None,
            tags: Tags::new(),
            client_token: "token".to_owned(),
        };
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<String>>();
        let change = EndpointChange { private_dns: Some(true), ..EndpointChange::default() };
        for (write, target, said) in [
            (
                Write::CreateSecurityGroup {
                    vpc: "vpc-1".into(),
                    name: "ssm-ready-main".to_owned(),
                    description: String::new(),
                    tags: Tags::new(),
                },
                "ssm-ready-main",
                "create security group ssm-ready-main in vpc-1",
            ),
            (
                Write::AuthorizeIngress { group: group.clone(), rules: vec![our_rule("10.0.0.0/16")] },
                "sg-1",
                "admit HTTPS to sg-1 from 10.0.0.0/16",
            ),
            (Write::DeleteSecurityGroup { group }, "sg-1", "delete security group sg-1"),
            (
                Write::CreateEndpoint(Box::new(new)),
                "com.amazonaws.eu-west-1.ssm",
                "create interface endpoint com.amazonaws.eu-west-1.ssm in subnet-a, private DNS on",
            ),
            (
                Write::ModifyEndpoint { endpoint: "vpce-1".into(), change: Box::new(change) },
                "vpce-1",
                "change vpce-1: private DNS on",
            ),
            (
                Write::DeleteEndpoints { endpoints: ["vpce-1".into(), "vpce-2".into()].into() },
                "vpce-1, vpce-2",
                "delete vpce-1, vpce-2",
            ),
            (Write::Untag { resources: ids(&["vpce-1"]), keys: ids(&["a", "b"]) }, "vpce-1", "untag vpce-1: a, b"),
            (
                Write::EnableVpcAttribute { vpc: "vpc-1".into(), attribute: VpcAttribute::DnsSupport },
                "vpc-1",
                "switch on enableDnsSupport of vpc-1",
            ),
        ] {
            assert_eq!((write.target().as_str(), write.to_string().as_str()), (target, said));
        }
    }
}
