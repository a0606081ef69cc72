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
        Endpoint, Instance, ManagedNode, NetworkInterface, Observed, RouteTable, SecurityGroup, Service, Subnet, Vpc,
        VpcAttribute,
    },
    fault::Fault,
    ids::{SecurityGroupId, VpcId},
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
        }
    }

    /// How old it may grow.
    #[must_use]
    pub fn class(&self) -> AgeClass {
        match self.operation().purpose() {
            Purpose::Read(class) => class,
            Purpose::Identity | Purpose::Write { .. } => AgeClass::Fast,
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

    /// Notes the outcome of a read that began at `at`.
    pub fn note(&mut self, outcome: Result<T, Fault>, at: Timestamp) {
        match outcome {
            Ok(value) => *self = Self { good: Some(Observed { value: Arc::new(value), at }), fault: None },
            Err(fault) => self.fault = Some(Observed { value: fault, at }),
        }
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
            Self::Instances(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::ManagedNodes(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::Subnets(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::RouteTables(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::Services(all) => all.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind))),
            Self::Interfaces(all) => all.sort_by(|a, b| a.id.cmp(&b.id)),
            Self::Attribute(_) => {}
        }
        self
    }
}

impl Snapshot {
    /// Notes the outcome of a read that began at `at`. A value of another kind than its key is ignored.
    pub fn note(&mut self, key: &FactKey, outcome: Result<FactValue, Fault>, at: Timestamp) {
        macro_rules! put {
            ($entry:expr, $variant:ident) => {
                match outcome {
                    Ok(FactValue::$variant(value)) => $entry.note(Ok(value), at),
                    Ok(_) => return,
                    Err(fault) => $entry.note(Err(fault), at),
                }
            };
        }
        match key {
            FactKey::Vpcs => put!(self.vpcs, Vpcs),
            FactKey::Endpoints => put!(self.endpoints, Endpoints),
            FactKey::SecurityGroups => put!(self.security_groups, SecurityGroups),
            FactKey::Instances => put!(self.instances, Instances),
            FactKey::ManagedNodes => put!(self.managed_nodes, ManagedNodes),
            FactKey::Subnets => put!(self.subnets, Subnets),
            FactKey::RouteTables => put!(self.route_tables, RouteTables),
            FactKey::Services => put!(self.services, Services),
            FactKey::Attribute(vpc, attribute) => {
                put!(self.attributes.entry((vpc.clone(), *attribute)).or_default(), Attribute);
            }
            FactKey::Interfaces(group) => put!(self.interfaces.entry(group.clone()).or_default(), Interfaces),
        }
        if self.stale.get(key).is_some_and(|marked| *marked < at) {
            self.stale.remove(key);
        }
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
        fn of<T>(entry: &Entry<T>) -> (Option<Timestamp>, Option<Timestamp>) {
            (entry.read_at(), entry.last_tried())
        }
        match key {
            FactKey::Vpcs => of(&self.vpcs),
            FactKey::Endpoints => of(&self.endpoints),
            FactKey::SecurityGroups => of(&self.security_groups),
            FactKey::Instances => of(&self.instances),
            FactKey::ManagedNodes => of(&self.managed_nodes),
            FactKey::Subnets => of(&self.subnets),
            FactKey::RouteTables => of(&self.route_tables),
            FactKey::Services => of(&self.services),
            FactKey::Attribute(vpc, attribute) => {
                self.attributes.get(&(vpc.clone(), *attribute)).map_or((None, None), of)
            }
            FactKey::Interfaces(group) => self.interfaces.get(group).map_or((None, None), of),
        }
    }

    /// The failure of the last read of a fact, if it failed.
    #[must_use]
    pub fn fault(&self, key: &FactKey) -> Option<&Fault> {
        match key {
            FactKey::Vpcs => self.vpcs.fault(),
            FactKey::Endpoints => self.endpoints.fault(),
            FactKey::SecurityGroups => self.security_groups.fault(),
            FactKey::Instances => self.instances.fault(),
            FactKey::ManagedNodes => self.managed_nodes.fault(),
            FactKey::Subnets => self.subnets.fault(),
            FactKey::RouteTables => self.route_tables.fault(),
            FactKey::Services => self.services.fault(),
            FactKey::Attribute(vpc, attribute) => {
                self.attributes.get(&(vpc.clone(), *attribute)).and_then(Entry::fault)
            }
            FactKey::Interfaces(group) => self.interfaces.get(group).and_then(Entry::fault),
        }
    }

    /// Says that a fact has changed, or may have.
    pub fn mark_stale(&mut self, key: FactKey, now: Timestamp) {
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

    /// Forgets details of VPCs and groups that nobody asks for any more.
    pub fn retain(&mut self, wanted: &BTreeSet<FactKey>) {
        self.attributes.retain(|(vpc, attribute), _| wanted.contains(&FactKey::Attribute(vpc.clone(), *attribute)));
        self.interfaces.retain(|group, _| wanted.contains(&FactKey::Interfaces(group.clone())));
        self.stale.retain(|key, _| wanted.contains(key));
    }
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
    }
}
