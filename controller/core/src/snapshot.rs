//! The facts of one account and region, how old they are, and which have to be read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    calls::{AgeClass, Operation, Purpose},
    facts::{
        Endpoint, Instance, ManagedNode, NetworkInterface, Observed, Permission, Question, RouteTable, SecurityGroup,
        Service, Subnet, Vpc, VpcAttribute,
        audit::{AuditRule, Topic, Trail},
        iam::{AgentPermissions, Profile, Role},
        settings::{DocumentVersion, MetadataDefaults, SessionDocument, SessionDocumentInfo, Setting, SettingValue},
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    fault::Fault,
    ids::{BucketName, KeyId, LogGroupName, ProfileName, Region, RoleName, SecurityGroupId, VpcId},
    write::Write,
};

/// A fact counts for nothing once it is this many times older than its age class allows.
const UNKNOWN_AFTER: u32 = 3;

/// How long a failed read is left alone, so that a broken account costs little.
const RETRY_AFTER_FAULT: Duration = Duration::from_secs(60);

/// One thing to read: a paged list of the whole region, or one detail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKey {
    /// All VPCs.
    Vpcs,
    /// All endpoints.
    Endpoints,
    /// All security groups.
    SecurityGroups,
    /// All instances.
    Instances,
    /// All managed nodes.
    ManagedNodes,
    /// All subnets.
    Subnets,
    /// All route tables.
    RouteTables,
    /// All endpoint services.
    Services,
    /// One DNS attribute of one VPC.
    Attribute(VpcId, VpcAttribute),
    /// The network interfaces of one security group.
    Interfaces(SecurityGroupId),
    /// One service setting.
    Setting(Setting),
    /// A version of the session document.
    SessionDocument(DocumentVersion),
    /// The versions and tags of the session document.
    SessionDocumentInfo,
    /// The metadata defaults.
    MetadataDefaults,
    /// All instances, for their metadata options alone.
    InstanceMetadata,
    /// The rule that reports sessions.
    AuditRule,
    /// The trails that the region shows.
    Trails,
    /// One topic, by its ARN.
    Topic(String),
    /// The regions that are enabled for the account.
    Regions,
    /// One role.
    Role(RoleName),
    /// One instance profile.
    Profile(ProfileName),
    /// What one role allows the agents of instances that have it.
    RoleVerdict(RoleName),
    /// What IAM answers to a question about one role.
    RoleAnswer(RoleName, Question),
    /// Where one bucket is.
    Bucket(BucketName),
    /// How one bucket is encrypted.
    BucketEncryption(BucketName),
    /// One log group.
    LogGroup(LogGroupName),
    /// One KMS key.
    Key(KeyId),
}

impl FactKey {
    /// The lists that every VPC of the region is judged by.
    pub const LISTS: [Self; 8] = [
        Self::Vpcs,
        Self::Endpoints,
        Self::SecurityGroups,
        Self::Instances,
        Self::ManagedNodes,
        Self::Subnets,
        Self::RouteTables,
        Self::Services,
    ];

    /// The call that reads it.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Vpcs => Operation::DescribeVpcs,
            Self::Endpoints => Operation::DescribeVpcEndpoints,
            Self::SecurityGroups => Operation::DescribeSecurityGroups,
            Self::Instances => Operation::DescribeInstances,
            Self::ManagedNodes => Operation::DescribeInstanceInformation,
            Self::Subnets => Operation::DescribeSubnets,
            Self::RouteTables => Operation::DescribeRouteTables,
            Self::Services => Operation::DescribeVpcEndpointServices,
            Self::Attribute(..) => Operation::DescribeVpcAttribute,
            Self::Interfaces(_) => Operation::DescribeNetworkInterfaces,
            Self::Setting(_) => Operation::GetServiceSetting,
            Self::SessionDocument(_) => Operation::GetDocument,
            Self::SessionDocumentInfo => Operation::DescribeDocument,
            Self::MetadataDefaults => Operation::GetInstanceMetadataDefaults,
            Self::InstanceMetadata => Operation::DescribeInstances,
            Self::AuditRule => Operation::DescribeRule,
            Self::Trails => Operation::DescribeTrails,
            Self::Topic(_) => Operation::GetTopicAttributes,
            Self::Regions => Operation::DescribeRegions,
            Self::Role(_) => Operation::GetRole,
            Self::Profile(_) => Operation::GetInstanceProfile,
            Self::RoleVerdict(_) | Self::RoleAnswer(..) => Operation::SimulatePrincipalPolicy,
            Self::Bucket(_) => Operation::GetBucketLocation,
            Self::BucketEncryption(_) => Operation::GetBucketEncryption,
            Self::LogGroup(_) => Operation::DescribeLogGroups,
            Self::Key(_) => Operation::DescribeKey,
        }
    }

    /// How old it may grow.
    #[must_use]
    pub fn class(&self) -> AgeClass {
        match (self, self.operation().purpose()) {
            // Counted, and nothing rests on it.
            (Self::InstanceMetadata, _) => AgeClass::Slow,
            // Rests on what IAM holds, as the role itself.
            (Self::RoleVerdict(_) | Self::RoleAnswer(..), _) => AgeClass::Iam,
            (_, Purpose::Read(class)) => class,
            (_, Purpose::Identity | Purpose::Write { .. }) => AgeClass::Fast,
        }
    }

    /// The facts that a write changes.
    #[must_use]
    pub fn touched_by(write: &Write) -> Vec<Self> {
        match write {
            Write::CreateSecurityGroup { .. }
            | Write::AuthorizeIngress { .. }
            | Write::RevokeIngress { .. }
            | Write::DeleteSecurityGroup { .. } => vec![Self::SecurityGroups],
            Write::CreateEndpoint(_) | Write::ModifyEndpoint { .. } | Write::DeleteEndpoints { .. } => {
                vec![Self::Endpoints]
            }
            Write::Tag { resources, .. } | Write::Untag { resources, .. } => {
                let mut keys = Vec::new();
                if resources.iter().any(|r| r.starts_with("vpce-")) {
                    keys.push(Self::Endpoints);
                }
                if resources.iter().any(|r| r.starts_with("sg-")) {
                    keys.push(Self::SecurityGroups);
                }
                keys
            }
            Write::EnableVpcAttribute { vpc, attribute } => vec![Self::Attribute(vpc.clone(), *attribute)],
            Write::UpdateSetting { setting, .. } | Write::ResetSetting { setting } => vec![Self::Setting(*setting)],
            Write::ModifyMetadataDefaults { .. } => vec![Self::MetadataDefaults],
            Write::Document(_) => vec![
                Self::SessionDocument(DocumentVersion::Default),
                Self::SessionDocument(DocumentVersion::Latest),
                Self::SessionDocumentInfo,
            ],
            Write::Rule(_) => vec![Self::AuditRule],
            Write::AssociateProfile { .. } => vec![Self::Instances],
            Write::Role { role, .. } => vec![Self::Role(role.clone()), Self::RoleVerdict(role.clone())],
            Write::Profile { profile, .. } => vec![Self::Profile(profile.clone())],
        }
    }
}

/// The last good reading of a fact, and the failure of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    good: Option<Observed<Arc<T>>>,
    fault: Option<Observed<Fault>>,
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self { good: None, fault: None }
    }
}

/// What can be said of a fact now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<'a, T> {
    /// It is known; not `current` if a later read failed, so that nothing may be written on its strength.
    Known {
        /// The value.
        value: &'a T,
        /// Whether no later read failed.
        current: bool,
    },
    /// It could not be read, or too long ago.
    Unknown(Option<&'a Fault>),
}

impl<'a, T> Reading<'a, T> {
    /// The value, if it is known.
    #[must_use]
    pub fn known(&self) -> Option<&'a T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// The value, if it is known and no later read failed: what a write may rest on.
    #[must_use]
    pub fn current(&self) -> Option<&'a T> {
        match self {
            Self::Known { value, current: true } => Some(value),
            Self::Known { .. } | Self::Unknown(_) => None,
        }
    }

    /// Why the fact is not known, or why what is known is not enough.
    #[must_use]
    pub fn why(&self, key: &FactKey) -> String {
        match self {
            Self::Unknown(Some(fault)) => fault.to_string(),
            Self::Unknown(None) => format!("{} has not answered yet", key.operation()),
            Self::Known { .. } => format!("{} failed when it was called last", key.operation()),
        }
    }
}

impl<T> Entry<T> {
    /// What can be said of the fact now, when its age class allows `limit`.
    #[must_use]
    pub fn reading(&self, limit: Duration, now: Timestamp) -> Reading<'_, T> {
        let too_old = limit.saturating_mul(UNKNOWN_AFTER);
        match &self.good {
            Some(good) if age(good.at, now) <= too_old || limit.is_zero() => {
                Reading::Known { value: &good.value, current: self.fault.is_none() }
            }
            _ => Reading::Unknown(self.fault.as_ref().map(|f| &f.value)),
        }
    }

    /// Notes the outcome of a read that began at `at`. Whether it tells something else than the read before it: another
    /// value, or another failure.
    pub fn note(&mut self, outcome: Result<T, Fault>, at: Timestamp) -> bool
    where
        T: PartialEq,
    {
        let same = match (&outcome, &self.fault, &self.good) {
            (Ok(now), None, Some(before)) => *now == *before.value,
            (Err(now), Some(before), _) => now.code == before.value.code,
            _ => false,
        };
        match outcome {
            Ok(value) => *self = Self { good: Some(Observed { value: Arc::new(value), at }), fault: None },
            Err(fault) => self.fault = Some(Observed { value: fault, at }),
        }
        !same
    }

    /// Changes the value that was read, in a copy that is imagined.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        if let Some(good) = &mut self.good {
            edit(Arc::make_mut(&mut good.value));
        }
    }

    /// When the last read began, successful or not.
    #[must_use]
    pub fn last_tried(&self) -> Option<Timestamp> {
        [self.good.as_ref().map(|g| g.at), self.fault.as_ref().map(|f| f.at)].into_iter().flatten().max()
    }

    /// When the last successful read began.
    #[must_use]
    pub fn read_at(&self) -> Option<Timestamp> {
        self.good.as_ref().map(|g| g.at)
    }

    /// The failure of the last read, if it failed.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref().map(|f| &f.value)
    }
}

impl<T> Entry<Option<T>> {
    /// Whether the last good reading found something.
    pub(crate) fn shows_something(&self) -> bool {
        self.good.as_ref().is_some_and(|good| good.value.is_some())
    }
}

/// An entry, whatever it holds.
trait AnyEntry {
    fn read_at(&self) -> Option<Timestamp>;
    fn last_tried(&self) -> Option<Timestamp>;
    fn fault(&self) -> Option<&Fault>;
}

impl<T> AnyEntry for Entry<T> {
    fn read_at(&self) -> Option<Timestamp> {
        Self::read_at(self)
    }

    fn last_tried(&self) -> Option<Timestamp> {
        Self::last_tried(self)
    }

    fn fault(&self) -> Option<&Fault> {
        Self::fault(self)
    }
}

fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or(Duration::ZERO)
}

/// The facts of one account and region.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// All VPCs.
    pub vpcs: Entry<Vec<Vpc>>,
    /// All endpoints.
    pub endpoints: Entry<Vec<Endpoint>>,
    /// All security groups.
    pub security_groups: Entry<Vec<SecurityGroup>>,
    /// All instances.
    pub instances: Entry<Vec<Instance>>,
    /// All managed nodes.
    pub managed_nodes: Entry<Vec<ManagedNode>>,
    /// All subnets.
    pub subnets: Entry<Vec<Subnet>>,
    /// All route tables.
    pub route_tables: Entry<Vec<RouteTable>>,
    /// All endpoint services.
    pub services: Entry<Vec<Service>>,
    /// DNS attributes by VPC.
    pub attributes: BTreeMap<(VpcId, VpcAttribute), Entry<bool>>,
    /// Network interfaces by security group.
    pub interfaces: BTreeMap<SecurityGroupId, Entry<Vec<NetworkInterface>>>,
    /// Service settings; none where the region does not have it.
    pub settings: BTreeMap<Setting, Entry<Option<SettingValue>>>,
    /// Versions of the session document; none where there is no document.
    pub session_documents: BTreeMap<DocumentVersion, Entry<Option<SessionDocument>>>,
    /// Versions and tags of the session document; none where there is no document.
    pub session_document_info: Entry<Option<SessionDocumentInfo>>,
    /// The metadata defaults.
    pub metadata_defaults: Entry<MetadataDefaults>,
    /// All instances, for their metadata options.
    pub instance_metadata: Entry<Vec<Instance>>,
    /// The rule that reports sessions; none where there is none.
    pub audit_rule: Entry<Option<AuditRule>>,
    /// The trails that the region shows.
    pub trails: Entry<Vec<Trail>>,
    /// Topics by ARN; none where there is none.
    pub topics: BTreeMap<String, Entry<Option<Topic>>>,
    /// The regions that are enabled for the account.
    pub regions: Entry<Vec<Region>>,
    /// Roles by name; none where there is none.
    pub roles: BTreeMap<RoleName, Entry<Option<Role>>>,
    /// Instance profiles by name; none where there is none.
    pub profiles: BTreeMap<ProfileName, Entry<Option<Profile>>>,
    /// What roles allow agents, by the role's name; none where there is no role.
    pub role_verdicts: BTreeMap<RoleName, Entry<Option<AgentPermissions>>>,
    /// What IAM answers to questions about roles, by the role's name and the question; none where there is no role. An
    /// action that is not in the answer cannot be told.
    pub role_answers: BTreeMap<(RoleName, Question), Entry<Option<Vec<Permission>>>>,
    /// Where buckets are; none where there is none of the name.
    pub buckets: BTreeMap<BucketName, Entry<Option<Bucket>>>,
    /// How buckets are encrypted; none where there is none of the name.
    pub bucket_encryption: BTreeMap<BucketName, Entry<Option<BucketEncryption>>>,
    /// Log groups; none where there is none of the name.
    pub log_groups: BTreeMap<LogGroupName, Entry<Option<LogGroup>>>,
    /// KMS keys; none where there is no such key.
    pub keys: BTreeMap<KeyId, Entry<Option<Key>>>,
    /// Facts that something has changed since they were read, and when.
    stale: BTreeMap<FactKey, Timestamp>,
}

/// The outcome of reading one fact.
#[derive(Debug, Clone)]
pub enum FactValue {
    /// All VPCs.
    Vpcs(Vec<Vpc>),
    /// All endpoints.
    Endpoints(Vec<Endpoint>),
    /// All security groups.
    SecurityGroups(Vec<SecurityGroup>),
    /// All instances.
    Instances(Vec<Instance>),
    /// All managed nodes.
    ManagedNodes(Vec<ManagedNode>),
    /// All subnets.
    Subnets(Vec<Subnet>),
    /// All route tables.
    RouteTables(Vec<RouteTable>),
    /// All endpoint services.
    Services(Vec<Service>),
    /// An attribute.
    Attribute(bool),
    /// Network interfaces.
    Interfaces(Vec<NetworkInterface>),
    /// A service setting.
    Setting(Option<SettingValue>),
    /// A version of the session document.
    SessionDocument(Option<SessionDocument>),
    /// The versions and tags of the session document.
    SessionDocumentInfo(Option<SessionDocumentInfo>),
    /// The metadata defaults.
    MetadataDefaults(MetadataDefaults),
    /// All instances, for their metadata options.
    InstanceMetadata(Vec<Instance>),
    /// The rule that reports sessions.
    AuditRule(Option<AuditRule>),
    /// The trails that the region shows.
    Trails(Vec<Trail>),
    /// A topic.
    Topic(Option<Topic>),
    /// The regions that are enabled for the account.
    Regions(Vec<Region>),
    /// A role.
    Role(Option<Role>),
    /// An instance profile.
    Profile(Option<Profile>),
    /// What a role allows agents.
    RoleVerdict(Option<AgentPermissions>),
    /// What IAM answers about a role.
    RoleAnswer(Option<Vec<Permission>>),
    /// Where a bucket is.
    Bucket(Option<Bucket>),
    /// How a bucket is encrypted.
    BucketEncryption(Option<BucketEncryption>),
    /// A log group.
    LogGroup(Option<LogGroup>),
    /// A KMS key.
    Key(Option<Key>),
}

impl FactValue {
    /// AWS lists in any order; so the same facts have the same one, and what is said of them does not change either.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        match &mut self {
            Self::Vpcs(all) => {
                all.sort_by(|a, b| a.id.cmp(&b.id));
                all.iter_mut().for_each(|vpc| vpc.cidrs.sort_unstable());
            }
            Self::Endpoints(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::SecurityGroups(all) => {
                all.sort_by(|a, b| a.id.cmp(&b.id));
                all.iter_mut().for_each(|group| group.ingress.sort_unstable());
            }
            Self::Instances(all) | Self::InstanceMetadata(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::Regions(all) => all.sort_unstable(),
            Self::AuditRule(Some(rule)) => rule.targets.sort_unstable(),
            Self::Trails(all) => all.sort_by(|a, b| a.arn.cmp(&b.arn)),
            Self::ManagedNodes(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::Subnets(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::RouteTables(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::Services(all) => all.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind))),
            Self::Interfaces(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::RoleAnswer(Some(all)) => all.sort_by(|a, b| a.action.cmp(&b.action)),
            Self::Attribute(_)
            | Self::Setting(_)
            | Self::SessionDocument(_)
            | Self::SessionDocumentInfo(_)
            | Self::MetadataDefaults(_)
            | Self::AuditRule(None)
            | Self::Topic(_)
            | Self::Role(_)
            | Self::Profile(_)
            | Self::RoleVerdict(_)
            | Self::RoleAnswer(None)
            | Self::Bucket(_)
            | Self::BucketEncryption(_)
            | Self::LogGroup(_)
            | Self::Key(_) => {}
        }
        self
    }
}

impl Snapshot {
    /// Notes the outcome of a read that began at `at`. A value of another kind than its key is ignored. Whether it tells
    /// something else than the read before it: another value, or another failure.
    pub fn note(&mut self, key: &FactKey, outcome: Result<FactValue, Fault>, at: Timestamp) -> bool {
        macro_rules! put {
            ($entry:expr, $variant:ident) => {
                match outcome {
                    Ok(FactValue::$variant(value)) => $entry.note(Ok(value), at),
                    Ok(_) => return false,
                    Err(fault) => $entry.note(Err(fault), at),
                }
            };
        }
        let tells = match key {
            FactKey::Vpcs => put!(self.vpcs, Vpcs),
            FactKey::Endpoints => put!(self.endpoints, Endpoints),
            FactKey::SecurityGroups => put!(self.security_groups, SecurityGroups),
            FactKey::Instances => put!(self.instances, Instances),
            FactKey::ManagedNodes => put!(self.managed_nodes, ManagedNodes),
            FactKey::Subnets => put!(self.subnets, Subnets),
            FactKey::RouteTables => put!(self.route_tables, RouteTables),
            FactKey::Services => put!(self.services, Services),
            FactKey::Attribute(vpc, attribute) => {
                put!(self.attributes.entry((vpc.clone(), *attribute)).or_default(), Attribute)
            }
            FactKey::Interfaces(group) => put!(self.interfaces.entry(group.clone()).or_default(), Interfaces),
            FactKey::Setting(setting) => put!(self.settings.entry(*setting).or_default(), Setting),
            FactKey::SessionDocument(version) => {
                put!(self.session_documents.entry(*version).or_default(), SessionDocument)
            }
            FactKey::SessionDocumentInfo => put!(self.session_document_info, SessionDocumentInfo),
            FactKey::MetadataDefaults => put!(self.metadata_defaults, MetadataDefaults),
            FactKey::InstanceMetadata => put!(self.instance_metadata, InstanceMetadata),
            FactKey::AuditRule => put!(self.audit_rule, AuditRule),
            FactKey::Trails => put!(self.trails, Trails),
            FactKey::Topic(topic) => put!(self.topics.entry(topic.clone()).or_default(), Topic),
            FactKey::Regions => put!(self.regions, Regions),
            FactKey::Role(role) => put!(self.roles.entry(role.clone()).or_default(), Role),
            FactKey::Profile(profile) => put!(self.profiles.entry(profile.clone()).or_default(), Profile),
            FactKey::RoleVerdict(role) => put!(self.role_verdicts.entry(role.clone()).or_default(), RoleVerdict),
            FactKey::RoleAnswer(role, question) => {
                put!(self.role_answers.entry((role.clone(), question.clone())).or_default(), RoleAnswer)
            }
            FactKey::Bucket(bucket) => put!(self.buckets.entry(bucket.clone()).or_default(), Bucket),
            FactKey::BucketEncryption(bucket) => {
                put!(self.bucket_encryption.entry(bucket.clone()).or_default(), BucketEncryption)
            }
            FactKey::LogGroup(group) => put!(self.log_groups.entry(group.clone()).or_default(), LogGroup),
            FactKey::Key(key) => put!(self.keys.entry(key.clone()).or_default(), Key),
        };
        if self.stale.get(key).is_some_and(|marked| *marked < at) {
            self.stale.remove(key);
        }
        tells
    }

    /// When the last successful read of a fact began.
    #[must_use]
    pub fn read_at(&self, key: &FactKey) -> Option<Timestamp> {
        self.times(key).0
    }

    /// When the last read of a fact began, successful or not.
    #[must_use]
    pub fn last_tried(&self, key: &FactKey) -> Option<Timestamp> {
        self.times(key).1
    }

    fn times(&self, key: &FactKey) -> (Option<Timestamp>, Option<Timestamp>) {
        self.entry(key).map_or((None, None), |entry| (entry.read_at(), entry.last_tried()))
    }

    /// The failure of the last read of a fact, if it failed.
    #[must_use]
    pub fn fault(&self, key: &FactKey) -> Option<&Fault> {
        self.entry(key).and_then(AnyEntry::fault)
    }

    fn entry(&self, key: &FactKey) -> Option<&dyn AnyEntry> {
        fn any<T>(entry: Option<&Entry<T>>) -> Option<&dyn AnyEntry> {
            entry.map(|entry| entry as &dyn AnyEntry)
        }
        match key {
            FactKey::Vpcs => any(Some(&self.vpcs)),
            FactKey::Endpoints => any(Some(&self.endpoints)),
            FactKey::SecurityGroups => any(Some(&self.security_groups)),
            FactKey::Instances => any(Some(&self.instances)),
            FactKey::ManagedNodes => any(Some(&self.managed_nodes)),
            FactKey::Subnets => any(Some(&self.subnets)),
            FactKey::RouteTables => any(Some(&self.route_tables)),
            FactKey::Services => any(Some(&self.services)),
            FactKey::Attribute(vpc, attribute) => any(self.attributes.get(&(vpc.clone(), *attribute))),
            FactKey::Interfaces(group) => any(self.interfaces.get(group)),
            FactKey::Setting(setting) => any(self.settings.get(setting)),
            FactKey::SessionDocument(version) => any(self.session_documents.get(version)),
            FactKey::SessionDocumentInfo => any(Some(&self.session_document_info)),
            FactKey::MetadataDefaults => any(Some(&self.metadata_defaults)),
            FactKey::InstanceMetadata => any(Some(&self.instance_metadata)),
            FactKey::AuditRule => any(Some(&self.audit_rule)),
            FactKey::Trails => any(Some(&self.trails)),
            FactKey::Topic(topic) => any(self.topics.get(topic)),
            FactKey::Regions => any(Some(&self.regions)),
            FactKey::Role(role) => any(self.roles.get(role)),
            FactKey::Profile(profile) => any(self.profiles.get(profile)),
            FactKey::RoleVerdict(role) => any(self.role_verdicts.get(role)),
            FactKey::RoleAnswer(role, question) => any(self.role_answers.get(&(role.clone(), question.clone()))),
            FactKey::Bucket(bucket) => any(self.buckets.get(bucket)),
            FactKey::BucketEncryption(bucket) => any(self.bucket_encryption.get(bucket)),
            FactKey::LogGroup(group) => any(self.log_groups.get(group)),
            FactKey::Key(key) => any(self.keys.get(key)),
        }
    }

    /// Says that a fact has changed, or may have. With what a role allows agents, all else that it allows may have.
    pub fn mark_stale(&mut self, key: FactKey, now: Timestamp) {
        if let FactKey::RoleVerdict(role) = &key {
            let of_role = self.role_answers.keys().filter(|(of, _)| of == role);
            self.stale.extend(of_role.map(|(of, asked)| (FactKey::RoleAnswer(of.clone(), asked.clone()), now)));
        }
        self.stale.insert(key, now);
    }

    /// Whether some fact was changed since it was read.
    #[must_use]
    pub fn is_stale(&self, key: &FactKey) -> bool {
        self.stale.contains_key(key)
    }

    /// The facts that something has changed since they were read.
    #[must_use]
    pub fn stale(&self) -> Vec<FactKey> {
        self.stale.keys().cloned().collect()
    }

    /// Of the facts `wanted`, those to read now: never read, marked stale, or within `slack` of outgrowing their age class.
    /// A read that failed is tried again after a minute, not at once.
    #[must_use]
    pub fn due(
        &self,
        wanted: &BTreeSet<FactKey>,
        interval: Duration,
        slack: Duration,
        now: Timestamp,
    ) -> BTreeSet<FactKey> {
        wanted.iter().filter(|key| self.is_due(key, interval, slack, now)).cloned().collect()
    }

    fn is_due(&self, key: &FactKey, interval: Duration, slack: Duration, now: Timestamp) -> bool {
        let (good, tried) = self.times(key);
        let Some(tried) = tried else { return true };
        if good != Some(tried) {
            return age(tried, now) >= RETRY_AFTER_FAULT.min(interval);
        }
        let class = key.class();
        self.stale.contains_key(key)
            || (class != AgeClass::OnDemand && age(tried, now) + slack >= class.limit(interval))
    }

    /// Forgets details that nobody asks for any more.
    pub fn retain(&mut self, wanted: &BTreeSet<FactKey>) {
        self.attributes.retain(|(vpc, attribute), _| wanted.contains(&FactKey::Attribute(vpc.clone(), *attribute)));
        self.interfaces.retain(|group, _| wanted.contains(&FactKey::Interfaces(group.clone())));
        self.settings.retain(|setting, _| wanted.contains(&FactKey::Setting(*setting)));
        self.topics.retain(|topic, _| wanted.contains(&FactKey::Topic(topic.clone())));
        self.session_documents.retain(|version, _| wanted.contains(&FactKey::SessionDocument(*version)));
        self.roles.retain(|role, _| wanted.contains(&FactKey::Role(role.clone())));
        self.profiles.retain(|profile, _| wanted.contains(&FactKey::Profile(profile.clone())));
        self.role_verdicts.retain(|role, _| wanted.contains(&FactKey::RoleVerdict(role.clone())));
        self.role_answers
            .retain(|(role, question), _| wanted.contains(&FactKey::RoleAnswer(role.clone(), question.clone())));
        self.buckets.retain(|bucket, _| wanted.contains(&FactKey::Bucket(bucket.clone())));
        self.bucket_encryption.retain(|bucket, _| wanted.contains(&FactKey::BucketEncryption(bucket.clone())));
        self.log_groups.retain(|group, _| wanted.contains(&FactKey::LogGroup(group.clone())));
        self.keys.retain(|key, _| wanted.contains(&FactKey::Key(key.clone())));
        self.stale.retain(|key, _| wanted.contains(key));
    }
}

/// Whether what a fact does not show may be there all the same: it was read before AWS must show everything.
#[must_use]
pub fn is_doubtful(read_at: Option<Timestamp>, shown_from: Option<Timestamp>) -> bool {
    shown_from.is_some_and(|from| read_at.is_none_or(|at| at < from))
}

/// When a marked fact may be read: the first time at once, then at most once in `every`.
#[must_use]
pub fn next_reread(last: Option<Timestamp>, every: Duration, now: Timestamp) -> Timestamp {
    let every = SignedDuration::try_from(every).unwrap_or(SignedDuration::ZERO);
    last.and_then(|last| last.checked_add(every).ok()).map_or(now, |next| next.max(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn fault() -> Fault {
        Fault::from_answer(Operation::DescribeVpcs, "UnauthorizedOperation", 403, "no")
    }

    #[test]
    fn what_says_the_same_as_before_is_no_news() {
        let denied = |code: &str| Err(Fault::from_answer(Operation::DescribeVpcs, code, 403, ""));
        let mut entry = Entry::default();
        for (outcome, tells) in [
            (Ok(7), true),
            (Ok(7), false),
            (Ok(8), true),
            (denied("AccessDenied"), true),
            (denied("AccessDenied"), false),
            (denied("Throttling"), true),
            // The failure is over, whatever the value.
            (Ok(8), true),
            (Ok(8), false),
        ] {
            assert_eq!(entry.note(outcome.clone(), at(0)), tells, "{outcome:?}");
        }
        let mut snapshot = Snapshot::default();
        let mut note = |value| snapshot.note(&FactKey::Vpcs, Ok(value), at(0));
        assert!(note(FactValue::Vpcs(vec![])));
        assert!(!note(FactValue::Vpcs(vec![])));
        assert!(!note(FactValue::Subnets(vec![])), "of another kind");
    }

    #[test]
    fn a_fact_is_unknown_until_read_and_after_three_times_its_age() {
        let mut entry = Entry::<u8>::default();
        assert_eq!(entry.reading(INTERVAL, at(0)), Reading::Unknown(None));
        entry.note(Ok(7), at(0));
        for (seconds, known) in [(0, true), (600, true), (1800, true), (1801, false)] {
            assert_eq!(entry.reading(INTERVAL, at(seconds)).known().is_some(), known, "{seconds}");
        }
    }

    #[test]
    fn a_failed_read_keeps_the_old_value_for_reading_but_not_for_writing() {
        let mut entry = Entry::<u8>::default();
        entry.note(Ok(7), at(0));
        entry.note(Err(fault()), at(600));
        assert_eq!(entry.reading(INTERVAL, at(600)), Reading::Known { value: &7, current: false });
        assert_eq!(entry.reading(INTERVAL, at(5000)), Reading::Unknown(Some(&fault())));
        entry.note(Ok(8), at(5000));
        assert_eq!(entry.reading(INTERVAL, at(5000)), Reading::Known { value: &8, current: true });
    }

    #[test]
    fn facts_are_due_by_class_mark_and_after_a_pause_when_failed() {
        let wanted: BTreeSet<FactKey> = [FactKey::Vpcs, FactKey::Subnets, FactKey::Services].into();
        let mut snapshot = Snapshot::default();
        let due =
            |s: &Snapshot, t: i64| s.due(&wanted, INTERVAL, Duration::ZERO, at(t)).into_iter().collect::<Vec<_>>();
        assert_eq!(due(&snapshot, 0), [FactKey::Vpcs, FactKey::Subnets, FactKey::Services]);
        snapshot.note(&FactKey::Vpcs, Ok(FactValue::Vpcs(vec![])), at(0));
        snapshot.note(&FactKey::Subnets, Ok(FactValue::Subnets(vec![])), at(0));
        snapshot.note(&FactKey::Services, Ok(FactValue::Services(vec![])), at(0));
        assert_eq!(due(&snapshot, 599), []);
        assert_eq!(due(&snapshot, 600), [FactKey::Vpcs]);
        assert_eq!(due(&snapshot, 3600), [FactKey::Vpcs, FactKey::Subnets]);
        assert_eq!(due(&snapshot, 86_400), [FactKey::Vpcs, FactKey::Subnets, FactKey::Services]);
        snapshot.mark_stale(FactKey::Services, at(10));
        assert_eq!(due(&snapshot, 11), [FactKey::Services]);
        snapshot.note(&FactKey::Services, Ok(FactValue::Services(vec![])), at(9));
        assert_eq!(due(&snapshot, 11), [FactKey::Services], "a read that began before the change does not show it");
        snapshot.note(&FactKey::Services, Ok(FactValue::Services(vec![])), at(12));
        assert_eq!(due(&snapshot, 13), []);
        snapshot.note(&FactKey::Vpcs, Err(fault()), at(600));
        assert_eq!(due(&snapshot, 610), []);
        assert_eq!(due(&snapshot, 660), [FactKey::Vpcs]);
    }

    #[test]
    fn marked_facts_are_read_at_once_and_then_at_most_once_in_a_while() {
        let every = Duration::from_secs(15);
        assert_eq!(next_reread(None, every, at(0)), at(0));
        assert_eq!(next_reread(Some(at(0)), every, at(5)), at(15));
        assert_eq!(next_reread(Some(at(0)), every, at(50)), at(50));
    }

    #[test]
    fn details_that_nobody_wants_are_forgotten() {
        let mut snapshot = Snapshot::default();
        let key = FactKey::Attribute("vpc-1".into(), VpcAttribute::DnsSupport);
        snapshot.note(&key, Ok(FactValue::Attribute(true)), at(0));
        snapshot.retain(&[key.clone()].into());
        assert_eq!(snapshot.read_at(&key), Some(at(0)));
        snapshot.retain(&BTreeSet::new());
        assert_eq!(snapshot.read_at(&key), None);
    }

    #[test]
    fn only_what_was_read_last_may_be_written_on() {
        let mut entry = Entry::<u8>::default();
        assert_eq!(entry.reading(INTERVAL, at(0)).current(), None);
        entry.note(Ok(7), at(0));
        assert_eq!(entry.reading(INTERVAL, at(0)).current(), Some(&7));
        entry.note(Err(fault()), at(60));
        let reading = entry.reading(INTERVAL, at(60));
        assert_eq!((reading.known(), reading.current()), (Some(&7), None));
        assert_eq!((entry.read_at(), entry.last_tried(), entry.fault()), (Some(at(0)), Some(at(60)), Some(&fault())));
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_old() {
        let mut entry = Entry::<u8>::default();
        entry.note(Ok(7), at(0));
        assert_eq!(entry.reading(INTERVAL, at(-99_999)).known(), Some(&7));
        let mut snapshot = Snapshot::default();
        snapshot.note(&FactKey::Vpcs, Ok(FactValue::Vpcs(vec![])), at(0));
        let wanted: BTreeSet<FactKey> = [FactKey::Vpcs].into();
        assert_eq!(snapshot.due(&wanted, INTERVAL, Duration::ZERO, at(-99_999)), BTreeSet::new());
    }

    #[test]
    fn interfaces_are_read_when_asked_for_and_never_too_old() {
        let key = FactKey::Interfaces("sg-1".into());
        let wanted: BTreeSet<FactKey> = [key.clone()].into();
        let mut snapshot = Snapshot::default();
        assert_eq!(snapshot.due(&wanted, INTERVAL, Duration::ZERO, at(0)), wanted, "never read");
        snapshot.note(&key, Ok(FactValue::Interfaces(vec![])), at(0));
        assert_eq!(snapshot.due(&wanted, INTERVAL, Duration::ZERO, at(99_999)), BTreeSet::new());
        snapshot.mark_stale(key.clone(), at(1));
        assert_eq!(snapshot.due(&wanted, INTERVAL, Duration::ZERO, at(1)), wanted, "asked for");
        let entry = &snapshot.interfaces[&SecurityGroupId::from("sg-1")];
        assert!(entry.reading(AgeClass::OnDemand.limit(INTERVAL), at(99_999)).known().is_some());
    }

    #[test]
    fn the_order_of_a_list_makes_no_difference() {
        let note = |ids: [&str; 3]| {
            let mut snapshot = Snapshot::default();
            let all = ids.map(|id| crate::testing::endpoint(id, "ssm")).to_vec();
            snapshot.note(&FactKey::Endpoints, Ok(FactValue::Endpoints(all).in_order()), at(0));
            snapshot.endpoints
        };
        assert_eq!(note(["vpce-1", "vpce-2", "vpce-3"]), note(["vpce-3", "vpce-1", "vpce-2"]));
    }

    #[test]
    fn a_value_of_another_kind_is_no_reading() {
        let mut snapshot = Snapshot::default();
        snapshot.mark_stale(FactKey::Vpcs, at(0));
        snapshot.note(&FactKey::Vpcs, Ok(FactValue::Attribute(true)), at(1));
        assert_eq!(snapshot.read_at(&FactKey::Vpcs), None);
        assert!(snapshot.is_stale(&FactKey::Vpcs));
    }

    #[test]
    fn what_was_tried_when_and_what_is_stale_is_told() {
        let mut snapshot = Snapshot::default();
        let times =
            |s: &Snapshot| (s.read_at(&FactKey::Vpcs), s.last_tried(&FactKey::Vpcs), s.is_stale(&FactKey::Vpcs));
        assert_eq!(times(&snapshot), (None, None, false));
        snapshot.note(&FactKey::Vpcs, Ok(FactValue::Vpcs(vec![])), at(1));
        assert_eq!(times(&snapshot), (Some(at(1)), Some(at(1)), false));
        snapshot.note(&FactKey::Vpcs, Err(fault()), at(2));
        assert_eq!(times(&snapshot), (Some(at(1)), Some(at(2)), false));
        snapshot.mark_stale(FactKey::Vpcs, at(3));
        assert!(snapshot.is_stale(&FactKey::Vpcs) && !snapshot.is_stale(&FactKey::Subnets));
        // A read that began in the same instant may have been before the change.
        snapshot.note(&FactKey::Vpcs, Ok(FactValue::Vpcs(vec![])), at(3));
        assert_eq!(times(&snapshot), (Some(at(3)), Some(at(3)), true));
        snapshot.note(&FactKey::Vpcs, Ok(FactValue::Vpcs(vec![])), at(4));
        assert_eq!(times(&snapshot), (Some(at(4)), Some(at(4)), false));
    }

    #[test]
    fn a_mark_outlives_a_failed_read_that_began_before_it() {
        let mut snapshot = Snapshot::default();
        let wanted: BTreeSet<FactKey> = [FactKey::Vpcs].into();
        snapshot.note(&FactKey::Vpcs, Ok(FactValue::Vpcs(vec![])), at(0));
        snapshot.mark_stale(FactKey::Vpcs, at(20));
        snapshot.note(&FactKey::Vpcs, Err(fault()), at(10));
        assert_eq!(snapshot.stale(), [FactKey::Vpcs]);
        assert_eq!(snapshot.due(&wanted, INTERVAL, Duration::ZERO, at(30)), BTreeSet::new(), "a minute's pause");
        assert_eq!(snapshot.due(&wanted, INTERVAL, Duration::ZERO, at(70)), wanted);
        assert_eq!(snapshot.fault(&FactKey::Vpcs), Some(&fault()));
    }

    #[test]
    fn slack_reads_together_what_is_nearly_due() {
        let wanted: BTreeSet<FactKey> = [FactKey::Vpcs].into();
        let mut snapshot = Snapshot::default();
        snapshot.note(&FactKey::Vpcs, Ok(FactValue::Vpcs(vec![])), at(0));
        for (seconds, slack, due) in [(590, 0, false), (590, 10, true), (589, 10, false)] {
            let found = snapshot.due(&wanted, INTERVAL, Duration::from_secs(slack), at(seconds));
            assert_eq!(!found.is_empty(), due, "{seconds} {slack}");
        }
    }

    #[test]
    fn each_write_marks_what_it_touches() {
        let ids = |ids: &[&str]| ids.iter().map(|i| (*i).to_owned()).collect();
        let keys = |write: &Write| FactKey::touched_by(write);
        let tag = |of: &[&str]| Write::Tag { resources: ids(of), tags: BTreeMap::new() };
        assert_eq!(keys(&tag(&["vpce-1", "sg-1"])), [FactKey::Endpoints, FactKey::SecurityGroups]);
        assert_eq!(keys(&tag(&["sg-1"])), [FactKey::SecurityGroups]);
        assert_eq!(keys(&Write::Untag { resources: ids(&["vpce-1"]), keys: BTreeSet::new() }), [FactKey::Endpoints]);
        assert_eq!(keys(&Write::DeleteSecurityGroup { group: "sg-1".into() }), [FactKey::SecurityGroups]);
        assert_eq!(keys(&Write::DeleteEndpoints { endpoints: BTreeSet::new() }), [FactKey::Endpoints]);
        let attribute = VpcAttribute::DnsSupport;
        assert_eq!(
            keys(&Write::EnableVpcAttribute { vpc: "vpc-1".into(), attribute }),
            [FactKey::Attribute("vpc-1".into(), attribute)]
        );
        let setting = Setting::OpsCenter;
        for write in [Write::UpdateSetting { setting, value: String::new() }, Write::ResetSetting { setting }] {
            assert_eq!(keys(&write), [FactKey::Setting(setting)]);
        }
        assert_eq!(keys(&Write::ModifyMetadataDefaults { values: BTreeMap::new() }), [FactKey::MetadataDefaults]);
        assert_eq!(
            keys(&Write::Document(crate::write::DocumentChange::Delete)),
            [
                FactKey::SessionDocument(DocumentVersion::Default),
                FactKey::SessionDocument(DocumentVersion::Latest),
                FactKey::SessionDocumentInfo
            ]
        );
        let role = Write::Role { role: "r".into(), change: crate::write::RoleChange::Delete };
        assert_eq!(keys(&role), [FactKey::Role("r".into()), FactKey::RoleVerdict("r".into())]);
        assert_eq!(keys(&Write::Rule(crate::write::RuleChange::Delete)), [FactKey::AuditRule]);
        let associate = Write::AssociateProfile { instance: "i-1".into(), profile: "arn:p".to_owned() };
        assert_eq!(keys(&associate), [FactKey::Instances]);
        let profile = Write::Profile { profile: "p".into(), change: crate::write::ProfileChange::AddRole("r".into()) };
        assert_eq!(keys(&profile), [FactKey::Profile("p".into())]);
    }

    #[test]
    fn what_changes_a_role_changes_every_answer_about_it() {
        let answer = |role: &str| FactKey::RoleAnswer(role.into(), Question::default());
        let mut snapshot = Snapshot::default();
        for role in ["r", "s"] {
            snapshot.note(&answer(role), Ok(FactValue::RoleAnswer(None)), at(0));
        }
        let write = Write::Role { role: "r".into(), change: crate::write::RoleChange::Delete };
        FactKey::touched_by(&write).into_iter().for_each(|key| snapshot.mark_stale(key, at(1)));
        assert!(snapshot.is_stale(&answer("r")) && !snapshot.is_stale(&answer("s")));
    }

    /// One of each kind that a region or account keeps, by key: read, told apart, aged by its class, and forgotten.
    #[test]
    fn facts_of_regions_and_accounts_are_kept_by_their_keys() {
        let setting = || FactValue::Setting(Some(SettingValue::default()));
        let document = || FactValue::SessionDocument(None);
        let asked = Question::of(&["kms:Decrypt".to_owned()]);
        let all = [
            (FactKey::Setting(Setting::OpsCenter), setting(), 600, true),
            (FactKey::Setting(Setting::ActivationTier), setting(), 600, true),
            (FactKey::SessionDocument(DocumentVersion::Default), document(), 600, true),
            (FactKey::SessionDocument(DocumentVersion::Latest), document(), 600, true),
            (FactKey::SessionDocumentInfo, FactValue::SessionDocumentInfo(None), 3_600, false),
            (FactKey::MetadataDefaults, FactValue::MetadataDefaults(MetadataDefaults::default()), 600, false),
            (FactKey::InstanceMetadata, FactValue::InstanceMetadata(vec![]), 3_600, false),
            (FactKey::AuditRule, FactValue::AuditRule(None), 3_600, false),
            (FactKey::Trails, FactValue::Trails(vec![]), 3_600, false),
            (FactKey::Topic("arn:t".to_owned()), FactValue::Topic(None), 3_600, true),
            (FactKey::Topic("arn:u".to_owned()), FactValue::Topic(None), 3_600, true),
            (FactKey::Role("r".into()), FactValue::Role(None), 1_800, true),
            (FactKey::Role("s".into()), FactValue::Role(None), 1_800, true),
            (FactKey::Profile("r".into()), FactValue::Profile(None), 1_800, true),
            (FactKey::RoleVerdict("r".into()), FactValue::RoleVerdict(None), 1_800, true),
            (FactKey::RoleAnswer("r".into(), Question::default()), FactValue::RoleAnswer(None), 1_800, true),
            (FactKey::RoleAnswer("r".into(), asked), FactValue::RoleAnswer(Some(vec![])), 1_800, true),
            (FactKey::Bucket("b".into()), FactValue::Bucket(None), 3_600, true),
            (FactKey::BucketEncryption("b".into()), FactValue::BucketEncryption(None), 3_600, true),
            (FactKey::LogGroup("b".into()), FactValue::LogGroup(None), 3_600, true),
            (FactKey::Key("b".into()), FactValue::Key(None), 3_600, true),
        ];
        for (at_key, (key, value, limit, detail)) in all.iter().enumerate() {
            let mut snapshot = Snapshot::default();
            assert_eq!(snapshot.last_tried(key), None);
            snapshot.note(key, Ok(value.clone()), at(0));
            let read: Vec<usize> = (0..all.len()).filter(|other| snapshot.read_at(&all[*other].0).is_some()).collect();
            assert_eq!(read, [at_key], "{key:?} alone");
            let wanted: BTreeSet<FactKey> = [key.clone()].into();
            let due = |seconds| !snapshot.due(&wanted, INTERVAL, Duration::ZERO, at(seconds)).is_empty();
            assert_eq!((due(limit - 1), due(*limit)), (false, true), "{key:?}");
            snapshot.note(key, Err(fault()), at(5));
            assert_eq!((snapshot.read_at(key), snapshot.fault(key)), (Some(at(0)), Some(&fault())), "{key:?}");
            snapshot.note(key, Ok(FactValue::Attribute(true)), at(6));
            assert_eq!(snapshot.read_at(key), Some(at(0)), "{key:?}: a value of another kind");
            snapshot.retain(&wanted);
            assert_eq!(snapshot.read_at(key), Some(at(0)), "{key:?}");
            snapshot.retain(&BTreeSet::new());
            assert_eq!(snapshot.read_at(key).is_none(), *detail, "{key:?}");
        }
    }
}
