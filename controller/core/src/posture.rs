//! What an object declares, validated: no field left to interpret.

use std::{collections::BTreeSet, fmt, time::Duration};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::{
    facts::{IpAddressType, Tags},
    ids::{AccountId, PrefixListId, Region, RouteTableId, SecurityGroupId, SubnetId, VpcId},
    instance_profiles::InstancesWish,
};

/// The tag that names the controller installation.
pub const CLUSTER_TAG: &str = "ssmready.dev/cluster";
/// The tag that names the object.
pub const OWNER_TAG: &str = "ssmready.dev/owner";

/// How far an object goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Reads and reports.
    Observe,
    /// Makes it so.
    Enforce,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "Observe",
            Self::Enforce => "Enforce",
        })
    }
}

/// What people want from Systems Manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Shells and tunnels.
    SessionManager,
    /// Patches, which come from S3.
    Patching,
    /// Sessions encrypted with a key.
    SessionEncryption,
    /// Output to CloudWatch Logs.
    CloudWatchLogging,
    /// Output to S3.
    S3Logging,
    /// VSS snapshots.
    VssSnapshots,
    /// Secure parameters.
    ParameterStore,
    /// The CloudWatch agent.
    CloudWatchAgent,
    /// Joining a directory: a matter of roles alone.
    DirectoryJoin,
}

/// A service that is reached by endpoint, by its short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceName {
    /// Registration, heartbeat, associations.
    Ssm,
    /// The agent's channel: Run Command and Session Manager.
    Ssmmessages,
    /// The old channel, for agents before 3.3.40.0.
    Ec2messages,
    /// Encryption of sessions and parameters.
    Kms,
    /// CloudWatch Logs.
    Logs,
    /// VSS snapshots.
    Ec2,
    /// CloudWatch metrics.
    Monitoring,
    /// S3, as a gateway or an interface.
    S3,
}

impl ServiceName {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 8] =
        [Self::Ssm, Self::Ssmmessages, Self::Ec2messages, Self::Kms, Self::Logs, Self::Ec2, Self::Monitoring, Self::S3];

    /// The last part of the full service name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::Ssmmessages => "ssmmessages",
            Self::Ec2messages => "ec2messages",
            Self::Kms => "kms",
            Self::Logs => "logs",
            Self::Ec2 => "ec2",
            Self::Monitoring => "monitoring",
            Self::S3 => "s3",
        }
    }

    /// Reads a short name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether the endpoint serves Systems Manager alone, so that its use can be judged by instances.
    #[must_use]
    pub fn is_systems_manager(self) -> bool {
        matches!(self, Self::Ssm | Self::Ssmmessages | Self::Ec2messages)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SessionManager,
        Self::Patching,
        Self::SessionEncryption,
        Self::CloudWatchLogging,
        Self::S3Logging,
        Self::VssSnapshots,
        Self::ParameterStore,
        Self::CloudWatchAgent,
        Self::DirectoryJoin,
    ];

    /// The services that it needs beyond ssm and ssmmessages.
    #[must_use]
    pub fn services(self) -> &'static [ServiceName] {
        match self {
            Self::SessionManager | Self::DirectoryJoin => &[],
            Self::Patching | Self::S3Logging => &[ServiceName::S3],
            Self::SessionEncryption | Self::ParameterStore => &[ServiceName::Kms],
            Self::CloudWatchLogging => &[ServiceName::Logs],
            Self::VssSnapshots => &[ServiceName::Ec2],
            Self::CloudWatchAgent => &[ServiceName::Monitoring, ServiceName::Logs],
        }
    }
}

/// A tag and the values that select.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSelector {
    /// The tag's key.
    pub key: String,
    /// The values: any of them.
    pub values: Vec<String>,
}

/// Whether tags match every selector.
#[must_use]
pub fn selects(selectors: &[TagSelector], tags: &Tags) -> bool {
    selectors.iter().all(|s| tags.get(&s.key).is_some_and(|value| s.values.contains(value)))
}

/// Which subnets the endpoints go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubnetWish {
    /// These, and no others.
    Ids(BTreeSet<SubnetId>),
    /// In each zone that the service supports, the one with most free addresses.
    Choose {
        /// Fewer zones than this are not enough.
        min_zones: usize,
        /// No more zones than this.
        max_zones: Option<usize>,
        /// Only subnets with these tags.
        selector: Vec<TagSelector>,
    },
}

/// The security groups of the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupWish {
    /// One that we make and keep.
    Create {
        /// Admit every CIDR of the VPC.
        all_vpc_cidrs: bool,
        /// Admit these addresses.
        cidrs: Vec<IpNet>,
        /// Admit what carries these groups.
        groups: Vec<SecurityGroupId>,
        /// Admit the entries of these prefix lists.
        prefix_lists: Vec<PrefixListId>,
    },
    /// Given ones, which are never changed.
    Existing(BTreeSet<SecurityGroupId>),
}

/// When there is an ec2messages endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ec2Messages {
    /// Added where an old agent needs it, never removed.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which route tables lead to the S3 gateway endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTableWish {
    /// Those of the subnets in which instances are; where there are none, those of the endpoints' subnets.
    OfInstances,
    /// All of the VPC.
    All,
    /// These.
    Ids(BTreeSet<RouteTableId>),
    /// Those with these tags.
    Selector(Vec<TagSelector>),
}

/// How S3 is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Wish {
    /// By a gateway endpoint, which is free.
    Gateway(RouteTableWish),
    /// By an interface endpoint.
    Interface,
    /// Not by us.
    None,
}

/// What to do with endpoints that we did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// Use them where they are good.
    UseExisting,
    /// Make them ours.
    TakeOver,
    /// Do not rely on them.
    Never,
}

/// What becomes of our endpoints when the object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Deleted once no instance depends on them.
    DeleteWhenUnused,
    /// Deleted.
    Delete,
    /// Kept.
    Retain,
}

/// What to do about the VPC's DNS attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsWish {
    /// Switch them on.
    Enforce,
    /// Report them.
    Report,
}

/// Who owns what is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The controller installation.
    pub cluster: String,
    /// The object's kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Owner {
    /// The value of the owner tag.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}/{}/{}", self.kind, self.namespace, self.name)
    }

    /// The two tags that make a thing ours.
    #[must_use]
    pub fn tags(&self) -> Tags {
        [(CLUSTER_TAG.to_owned(), self.cluster.clone()), (OWNER_TAG.to_owned(), self.tag())].into()
    }

    /// Whether tags say that a thing is this object's.
    #[must_use]
    pub fn owns(&self, tags: &Tags) -> bool {
        tags.get(CLUSTER_TAG) == Some(&self.cluster) && tags.get(OWNER_TAG) == Some(&self.tag())
    }

    /// The name of the object's security group in a VPC: the same at every try, so that a second creation is refused.
    #[must_use]
    pub fn group_name(&self) -> String {
        let base: String = format!("ssm-ready-{}", self.name).chars().take(80).collect();
        format!("{base}-{}", &digest(&[&self.cluster, &self.uid])[..12])
    }
}

/// A hexadecimal digest of parts, each set apart from the next.
#[must_use]
pub fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One interface endpoint that is asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceWish {
    /// The service.
    pub service: ServiceName,
    /// Its own subnets.
    pub subnets: Option<SubnetWish>,
    /// Its own address family.
    pub ip_address_type: Option<IpAddressType>,
}

/// A validated `VpcPosture`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpcPosture {
    /// Who owns what is made.
    pub owner: Owner,
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// The VPC.
    pub vpc: VpcId,
    /// The effective mode.
    pub mode: Mode,
    /// How often AWS is looked at.
    pub interval: Duration,
    /// What is wanted.
    pub capabilities: BTreeSet<Capability>,
    /// Services by name, in place of those that follow from the capabilities.
    pub services: Option<Vec<ServiceWish>>,
    /// The ec2messages endpoint.
    pub ec2messages: Ec2Messages,
    /// The endpoints' subnets.
    pub subnets: SubnetWish,
    /// The endpoints' security groups.
    pub group: GroupWish,
    /// The endpoints' address family.
    pub ip_address_type: IpAddressType,
    /// S3.
    pub s3: S3Wish,
    /// Further tags of what is made.
    pub tags: Tags,
    /// Endpoints that we did not make.
    pub adoption: Adoption,
    /// What becomes of the endpoints.
    pub deletion_policy: DeletionPolicy,
    /// How long endpoints must have been unused before `DeleteWhenUnused` deletes them.
    pub unused_for: Duration,
    /// The VPC's DNS attributes.
    pub dns: DnsWish,
    /// The VPC's instances; none: they are not looked at for their own sake.
    pub instances: Option<InstancesWish>,
}

impl VpcPosture {
    /// The services that are asked for whatever the region offers, less ec2messages under `Auto`.
    #[must_use]
    pub fn declared_services(&self) -> BTreeSet<ServiceName> {
        let mut services: BTreeSet<ServiceName> = [ServiceName::Ssm, ServiceName::Ssmmessages].into();
        match &self.services {
            Some(list) => services.extend(list.iter().map(|w| w.service)),
            None => services.extend(self.capabilities.iter().flat_map(|c| c.services())),
        }
        // S3 follows from the capabilities and `s3.type` even where the others are listed.
        if self.capabilities.iter().any(|c| c.services().contains(&ServiceName::S3)) && self.s3 != S3Wish::None {
            services.insert(ServiceName::S3);
        } else {
            services.remove(&ServiceName::S3);
        }
        match self.ec2messages {
            Ec2Messages::Always => {
                services.insert(ServiceName::Ec2messages);
            }
            Ec2Messages::Never => {
                services.remove(&ServiceName::Ec2messages);
            }
            Ec2Messages::Auto => {}
        }
        services
    }

    /// The subnets asked for of one service.
    #[must_use]
    pub fn subnets_of(&self, service: ServiceName) -> &SubnetWish {
        self.wish(service).and_then(|w| w.subnets.as_ref()).unwrap_or(&self.subnets)
    }

    /// The address family asked for of one service.
    #[must_use]
    pub fn ip_address_type_of(&self, service: ServiceName) -> IpAddressType {
        self.wish(service).and_then(|w| w.ip_address_type).unwrap_or(self.ip_address_type)
    }

    fn wish(&self, service: ServiceName) -> Option<&ServiceWish> {
        self.services.as_deref().unwrap_or_default().iter().find(|w| w.service == service)
    }

    /// All tags of a thing that is made: ownership, a name for people, and the declared ones, which win over the name.
    #[must_use]
    pub fn tags_for(&self, what: &str) -> Tags {
        let mut tags: Tags =
            [("Name".to_owned(), format!("ssm-ready {}/{} {what}", self.owner.namespace, self.owner.name))].into();
        tags.extend(self.tags.clone());
        tags.extend(self.owner.tags());
        tags
    }
}

/// The client token of a creation: the same for every try of it, another once the last endpoint is known to have gone.
#[must_use]
pub fn client_token(owner: &Owner, vpc: &VpcId, service: ServiceName, last: Option<&str>, attempts: u32) -> String {
    let attempts = attempts.to_string();
    digest(&[&owner.cluster, &owner.uid, vpc.as_str(), service.as_str(), last.unwrap_or_default(), &attempts])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::posture;

    #[test]
    fn modes_are_called_as_in_the_spec() {
        assert_eq!([Mode::Observe, Mode::Enforce].map(|mode| mode.to_string()), ["Observe", "Enforce"]);
    }

    #[test]
    fn services_follow_from_capabilities() {
        use Capability as C;
        use ServiceName as S;
        for (capability, more) in [
            (C::SessionManager, vec![]),
            (C::DirectoryJoin, vec![]),
            (C::Patching, vec![S::S3]),
            (C::S3Logging, vec![S::S3]),
            (C::SessionEncryption, vec![S::Kms]),
            (C::ParameterStore, vec![S::Kms]),
            (C::CloudWatchLogging, vec![S::Logs]),
            (C::VssSnapshots, vec![S::Ec2]),
            (C::CloudWatchAgent, vec![S::Logs, S::Monitoring]),
        ] {
            let mut posture = posture();
            posture.capabilities = [capability].into();
            let mut expected: BTreeSet<S> = [S::Ssm, S::Ssmmessages].into();
            expected.extend(more);
            assert_eq!(posture.declared_services(), expected, "{capability:?}");
        }
    }

    #[test]
    fn a_list_of_services_replaces_what_follows_from_capabilities() {
        let mut posture = posture();
        posture.capabilities = [Capability::SessionEncryption].into();
        posture.services = Some(vec![ServiceWish { service: ServiceName::Logs, subnets: None, ip_address_type: None }]);
        let expected: BTreeSet<_> = [ServiceName::Ssm, ServiceName::Ssmmessages, ServiceName::Logs].into();
        assert_eq!(posture.declared_services(), expected);
    }

    #[test]
    fn ec2messages_and_s3_can_be_switched_off() {
        let mut posture = posture();
        posture.ec2messages = Ec2Messages::Always;
        assert!(posture.declared_services().contains(&ServiceName::Ec2messages));
        posture.ec2messages = Ec2Messages::Never;
        posture.s3 = S3Wish::None;
        assert_eq!(posture.declared_services(), [ServiceName::Ssm, ServiceName::Ssmmessages].into());
    }

    #[test]
    fn tokens_are_stable_short_and_change_with_what_they_must() {
        let owner = posture().owner;
        let token = |service, last, attempts| client_token(&owner, &"vpc-1".into(), service, last, attempts);
        let first = token(ServiceName::Ssm, None, 0);
        assert_eq!(first, token(ServiceName::Ssm, None, 0));
        assert!(first.len() <= 64 && first.is_ascii());
        for other in [
            token(ServiceName::Kms, None, 0),
            token(ServiceName::Ssm, Some("vpce-1"), 0),
            token(ServiceName::Ssm, None, 1),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn both_ownership_tags_are_needed() {
        let owner = posture().owner;
        let mut tags = owner.tags();
        assert!(owner.owns(&tags));
        tags.remove(CLUSTER_TAG);
        assert!(!owner.owns(&tags));
        tags = owner.tags();
        tags.insert(OWNER_TAG.into(), "VpcPosture/other/main".into());
        assert!(!owner.owns(&tags));
    }

    #[test]
    fn group_names_fit_and_differ_between_objects() {
        let mut owner = posture().owner;
        owner.name = "x".repeat(63);
        let name = owner.group_name();
        assert!(name.len() <= 255 && name.starts_with("ssm-ready-"));
        owner.uid = "another".into();
        assert_ne!(owner.group_name(), name);
    }

    #[test]
    fn declared_tags_win_over_the_name_and_never_over_ownership() {
        let mut posture = posture();
        posture.tags = [("Name".to_owned(), "mine".to_owned()), (OWNER_TAG.to_owned(), "stolen".to_owned())].into();
        let tags = posture.tags_for("ssm");
        assert_eq!(tags["Name"], "mine");
        assert!(posture.owner.owns(&tags));
    }
}
