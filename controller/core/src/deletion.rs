//! Letting go of an object: what is deleted, what is kept, what it waits for.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    evaluate::{Action, Facet, Memory, View},
    facts::{Endpoint, EndpointState, Instance, InstanceState, NetworkInterface, SecurityGroup},
    ids::SecurityGroupId,
    posture::{DeletionPolicy, OWNER_TAG, ServiceName, VpcPosture},
    reason::Reason,
    snapshot::{FactKey, Reading},
    write::Write,
};

/// How long after the deletion began a creation of the last moment may still come to light: AWS lists new things late.
const SETTLE: SignedDuration = SignedDuration::from_secs(60);

/// How many instances a message names.
const SAMPLE: usize = 5;

/// Where a deletion stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of ours is left: the finalizer may go.
    Gone,
    /// It goes on by itself.
    Waiting,
    /// It needs a person.
    Held,
}

/// What to do for a deleted object, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// Where it stands.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// What to do now.
    pub actions: Vec<Action>,
    /// What is kept, to be named in an event once it is let go.
    pub kept: BTreeSet<String>,
    /// Since when nothing has depended on the endpoints.
    pub unused_since: Option<Timestamp>,
    /// Facts that are needed or expected to change.
    pub watch: BTreeSet<FactKey>,
    /// When to look again, where that is known.
    pub retry_after: Option<Duration>,
}

/// What a deletion rests on besides facts.
#[derive(Debug, Clone, Copy)]
pub struct Departure {
    /// When the deletion began.
    pub began: Timestamp,
    /// Whether the object was Ready just before, so that everything it made is known to AWS's lists.
    pub settled: bool,
    /// Now.
    pub now: Timestamp,
}

impl Farewell {
    fn new(stage: Stage, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            stage,
            reason,
            message: message.into(),
            actions: Vec::new(),
            kept: BTreeSet::new(),
            unused_since: None,
            watch: BTreeSet::new(),
            retry_after: None,
        }
    }

    fn act(&mut self, facet: Facet, write: Write) {
        self.actions.push(Action {
            facet,
            service: None,
            write,
            then_admit: Vec::new(),
            disrupts: Some("whatever used it"),
        });
    }
}

/// Whether the endpoints may go, and since when nothing has depended on them.
enum Use {
    Unused { since: Timestamp },
    NotYet { since: Timestamp, left: SignedDuration },
    By(String),
    Unknown(String),
}

/// Decides what becomes of what the object made. `interfaces` are those of its security group.
#[must_use]
pub fn farewell(
    posture: &VpcPosture,
    view: &View<'_>,
    memory: &Memory,
    interfaces: &Reading<'_, Vec<NetworkInterface>>,
    departure: Departure,
) -> Farewell {
    let (Some(endpoints), Some(groups)) = (view.endpoints.current(), view.security_groups.current()) else {
        let why = "the endpoints and security groups of the region cannot be read, so what is left cannot be said";
        let mut wait = Farewell::new(Stage::Waiting, Reason::FactUnreadable, why);
        wait.watch = [FactKey::Endpoints, FactKey::SecurityGroups].into();
        return wait;
    };
    let owner = &posture.owner;
    let ours: Vec<&Endpoint> = endpoints
        .iter()
        .filter(|e| e.vpc == posture.vpc && owner.owns(&e.tags) && !e.requester_managed)
        .filter(|e| e.state != EndpointState::Deleted)
        .collect();
    let mut our_groups: Vec<&SecurityGroup> =
        groups.iter().filter(|g| g.vpc == posture.vpc && owner.owns(&g.tags)).collect();
    // The remembered one first: it is the one whose interfaces are looked at.
    our_groups.sort_by_key(|g| (Some(&g.id) != memory.group.as_ref(), &g.id));
    let (leaving, present): (Vec<&Endpoint>, Vec<&Endpoint>) = ours.iter().partition(|e| e.state.is_leaving());
    let (delete, keep): (Vec<&Endpoint>, Vec<&Endpoint>) = present.into_iter().partition(|e| goes(posture, e));

    // What failed for good serves nobody.
    let may_serve = delete.iter().any(|e| !e.state.is_terminal());
    let mut unused_since = memory.unused_since;
    if may_serve && posture.deletion_policy == DeletionPolicy::DeleteWhenUnused {
        match usage(posture, view, memory, departure.now) {
            Use::By(whom) => {
                return Farewell::new(
                    Stage::Held,
                    Reason::DeletionHeld,
                    format!(
                        "the endpoints are in use by {whom}: they are deleted once nothing has used them for {}; endpoints.deletionPolicy: Delete or Retain lets go now",
                        hours(posture.unused_for)
                    ),
                );
            }
            Use::Unknown(why) => {
                let message = format!("whether the endpoints are in use cannot be said: {why}");
                return Farewell::new(Stage::Held, Reason::DeletionHeld, message);
            }
            Use::NotYet { since, left } => {
                let message = format!(
                    "nothing has used the endpoints since {since}; they are deleted after {}",
                    hours(posture.unused_for)
                );
                let mut wait = Farewell::new(Stage::Waiting, Reason::Deleting, message);
                wait.unused_since = Some(since);
                wait.retry_after = Duration::try_from(left).ok();
                return wait;
            }
            Use::Unused { since } => unused_since = Some(since),
        }
    }
    let left = Remains { endpoints, delete, keep, leaving, groups: our_groups };
    let mut next = left.remove(posture, view, memory, interfaces, departure);
    next.unused_since = unused_since;
    next
}

fn hours(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    if minutes.is_multiple_of(60) { format!("{}h", minutes / 60) } else { format!("{minutes}m") }
}

/// Whether the policy ever deletes an endpoint: `DeleteWhenUnused` judges only those that serve Systems Manager alone.
fn goes(posture: &VpcPosture, endpoint: &Endpoint) -> bool {
    match posture.deletion_policy {
        DeletionPolicy::Delete => true,
        DeletionPolicy::Retain => false,
        DeletionPolicy::DeleteWhenUnused => {
            let short = endpoint.service_name.rsplit('.').next().unwrap_or_default();
            ServiceName::parse(short).is_some_and(ServiceName::is_systems_manager)
        }
    }
}

fn usage(posture: &VpcPosture, view: &View<'_>, memory: &Memory, now: Timestamp) -> Use {
    let Some(instances) = view.instances.current() else {
        return Use::Unknown(view.instances.why(&FactKey::Instances));
    };
    let instances: Vec<&Instance> = instances.iter().filter(|i| i.vpc == posture.vpc).collect();
    if instances.is_empty() {
        let since = memory.unused_since.unwrap_or(now);
        let needed = SignedDuration::try_from(posture.unused_for).unwrap_or(SignedDuration::MAX);
        let left = needed - now.duration_since(since);
        return if left.is_positive() { Use::NotYet { since, left } } else { Use::Unused { since } };
    }
    let running = instances.iter().filter(|i| i.state == InstanceState::Running).count();
    let sample: Vec<&str> = instances.iter().take(SAMPLE).map(|i| i.id.as_str()).collect();
    Use::By(format!(
        "{running} running and {} stopped instances ({}{})",
        instances.len() - running,
        sample.join(", "),
        if instances.len() > SAMPLE { ", …" } else { "" }
    ))
}

/// What the object made and is still there, by what becomes of it.
struct Remains<'a> {
    /// All endpoints of the region, those of others included.
    endpoints: &'a [Endpoint],
    /// To be deleted.
    delete: Vec<&'a Endpoint>,
    /// To be kept.
    keep: Vec<&'a Endpoint>,
    /// On their way.
    leaving: Vec<&'a Endpoint>,
    /// Our security groups, the remembered one first.
    groups: Vec<&'a SecurityGroup>,
}

impl Remains<'_> {
    fn remove(
        &self,
        posture: &VpcPosture,
        view: &View<'_>,
        memory: &Memory,
        interfaces: &Reading<'_, Vec<NetworkInterface>>,
        departure: Departure,
    ) -> Farewell {
        let Self { endpoints, delete, keep, leaving, groups } = self;
        let owner_tag: BTreeSet<String> = [OWNER_TAG.to_owned()].into();
        let mut next = Farewell::new(Stage::Waiting, Reason::Deleting, "");
        // A group stays while an endpoint that stays uses it: one that we keep, or one that is not ours.
        let going: BTreeSet<_> = delete.iter().chain(leaving).map(|e| &e.id).collect();
        let used = |group: &SecurityGroupId| {
            endpoints.iter().find(|e| e.groups.contains(group) && !going.contains(&e.id) && !e.state.is_leaving())
        };
        let (held, free): (Vec<&SecurityGroup>, Vec<&SecurityGroup>) =
            groups.iter().partition(|g| used(&g.id).is_some());
        next.kept = keep.iter().map(|e| e.id.to_string()).chain(held.iter().map(|g| g.id.to_string())).collect();
        if posture.deletion_policy == DeletionPolicy::Retain {
            next.kept.extend(groups.iter().map(|g| g.id.to_string()));
        }
        if !next.kept.is_empty() {
            let resources = next.kept.clone();
            next.act(Facet::Endpoints, Write::Untag { resources, keys: owner_tag });
            next.watch.extend([FactKey::Endpoints, FactKey::SecurityGroups]);
        }
        if !delete.is_empty() {
            next.act(
                Facet::Endpoints,
                Write::DeleteEndpoints { endpoints: delete.iter().map(|e| e.id.clone()).collect() },
            );
        }
        if !delete.is_empty() || !leaving.is_empty() {
            let ids: Vec<&str> = delete.iter().chain(leaving).map(|e| e.id.as_str()).collect();
            next.message = format!("waiting for {} to go", ids.join(", "));
            next.watch.insert(FactKey::Endpoints);
            return next;
        }
        if !next.kept.is_empty() {
            next.message = format!("letting go of {}", next.kept.iter().cloned().collect::<Vec<_>>().join(", "));
            return next;
        }
        // Before the group: what is not listed yet may use it.
        if view.overlay.waits_for(&posture.vpc, &posture.owner.tag(), &posture.owner.group_name()) {
            next.message = "waiting for AWS to list what was made a moment ago".to_owned();
            next.watch.extend([FactKey::Endpoints, FactKey::SecurityGroups]);
            return next;
        }
        if let Some(group) = free.first() {
            let key = FactKey::Interfaces(group.id.clone());
            let interfaces = match interfaces.current() {
                // Those of another group than the remembered one were not looked at: AWS refuses while there are any.
                _ if Some(&group.id) != memory.group.as_ref() => Some(&[][..]),
                known => known.map(Vec::as_slice),
            };
            match interfaces {
                Some([]) => {
                    next.act(Facet::SecurityGroup, Write::DeleteSecurityGroup { group: group.id.clone() });
                    next.message = format!("deleting security group {}", group.id);
                    next.watch.insert(FactKey::SecurityGroups);
                }
                Some(list) => {
                    next.message =
                        format!("security group {} waits for {} network interfaces to go", group.id, list.len());
                }
                None => next.message = format!("looking for network interfaces of security group {}", group.id),
            }
            next.watch.insert(key);
            return next;
        }
        let waited = departure.now.duration_since(departure.began);
        if !departure.settled && waited < SETTLE {
            next.message = "making sure that nothing made at the last moment is left".to_owned();
            next.watch.extend([FactKey::Endpoints, FactKey::SecurityGroups]);
            next.retry_after = Duration::try_from(SETTLE - waited).ok();
            return next;
        }
        Farewell::new(Stage::Gone, Reason::Deleting, "nothing is left")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        calls::Operation,
        facts::{EndpointType, Tags},
        overlay::Recent,
        plan::plan,
        posture::CLUSTER_TAG,
        testing::{World, at, endpoint, fault, gateway, group, https},
    };

    const DAY: i64 = 24 * 3600;
    const SETTLED: Departure = Departure { began: Timestamp::UNIX_EPOCH, settled: true, now: Timestamp::UNIX_EPOCH };

    /// What is left of a deleted object, and what is known of its group's interfaces.
    struct Left {
        world: World,
        interfaces: Option<Result<Vec<NetworkInterface>, ()>>,
        departure: Departure,
    }

    impl Left {
        fn new(world: World) -> Self {
            let departure = Departure { now: world.now, began: world.now, ..SETTLED };
            Self { world, interfaces: Some(Ok(vec![])), departure }
        }

        /// Nothing has used the endpoints for a day.
        fn unused() -> Self {
            let mut left = Self::new(World::converged());
            left.world.memory.unused_since = at(-DAY).into();
            left
        }

        fn policy(policy: DeletionPolicy) -> Self {
            let mut left = Self::new(World::converged());
            left.world.posture.deletion_policy = policy;
            left
        }

        fn with(mut self, edit: impl FnOnce(&mut World)) -> Self {
            edit(&mut self.world);
            self
        }

        fn judge(&self) -> Farewell {
            let fault = fault(Operation::DescribeNetworkInterfaces, "InternalError");
            let interfaces = match &self.interfaces {
                Some(Ok(value)) => Reading::Known { value, current: true },
                Some(Err(())) => Reading::Unknown(Some(&fault)),
                None => Reading::Unknown(None),
            };
            let departure = Departure { now: self.world.now, ..self.departure };
            let world = &self.world;
            let next = farewell(&world.posture, &world.view(), &world.memory, &interfaces, departure);
            assert_allowed(world, &next);
            next
        }
    }

    fn ours<'a>(world: &'a World, id: &str) -> Option<&'a Tags> {
        let endpoints = world.facts.endpoints.reading(Duration::ZERO, world.now).known();
        let groups = world.facts.security_groups.reading(Duration::ZERO, world.now).known();
        let vpc = &world.posture.vpc;
        let of_endpoint =
            endpoints?.iter().filter(|e| e.vpc == *vpc && !e.requester_managed).map(|e| (e.id.as_str(), &e.tags));
        let of_group = groups?.iter().filter(|g| g.vpc == *vpc).map(|g| (g.id.as_str(), &g.tags));
        let mut all = of_endpoint.chain(of_group).filter(|(_, tags)| world.posture.owner.owns(tags));
        all.find(|(found, _)| *found == id).map(|(_, tags)| tags)
    }

    /// What no farewell may do, and what `Gone` means.
    #[track_caller]
    fn assert_allowed(world: &World, next: &Farewell) {
        for action in &next.actions {
            let ids: Vec<String> = match &action.write {
                Write::DeleteEndpoints { endpoints } => {
                    assert_ne!(world.posture.deletion_policy, DeletionPolicy::Retain);
                    if world.posture.deletion_policy == DeletionPolicy::DeleteWhenUnused {
                        assert!(next.unused_since.is_some() || endpoints.iter().all(|id| is_failed(world, id)));
                    }
                    endpoints.iter().map(ToString::to_string).collect()
                }
                Write::DeleteSecurityGroup { group } => vec![group.to_string()],
                Write::Untag { resources, keys } => {
                    assert_eq!(*keys, [OWNER_TAG.to_owned()].into());
                    assert_eq!(*resources, next.kept);
                    resources.iter().cloned().collect()
                }
                other => panic!("a farewell makes nothing: {other}"),
            };
            for id in ids {
                assert!(ours(world, &id).is_some(), "{id} is not ours");
            }
        }
        if next.stage == Stage::Gone {
            assert!(next.actions.is_empty() && next.kept.is_empty());
            let left = world
                .view()
                .endpoints
                .known()
                .unwrap()
                .iter()
                .any(|e| e.state != EndpointState::Deleted && ours(world, e.id.as_str()).is_some())
                || world.view().security_groups.known().unwrap().iter().any(|g| ours(world, g.id.as_str()).is_some());
            assert!(!left, "something is left");
        }
        assert!(next.stage == Stage::Gone || !next.message.is_empty(), "{next:?}");
    }

    fn is_failed(world: &World, id: &crate::ids::EndpointId) -> bool {
        world.view().endpoints.known().unwrap().iter().any(|e| e.id == *id && e.state.is_terminal())
    }

    #[track_caller]
    fn check(what: &str, left: &Left, stage: Stage, reason: Reason, planned: &[&str]) -> Farewell {
        let next = left.judge();
        let found: Vec<String> = plan(next.actions.clone()).actions.iter().map(|a| a.write.to_string()).collect();
        assert_eq!(
            (&next.stage, next.reason, found),
            (&stage, reason, planned.iter().map(|s| (*s).to_owned()).collect()),
            "{what}: {}",
            next.message
        );
        next
    }

    const UNTAG_ALL: &str = "untag sg-1, vpce-msg, vpce-s3, vpce-ssm: ssmready.dev/owner";
    const UNTAG_S3: &str = "untag vpce-s3: ssmready.dev/owner";
    const DELETE_BOTH: &str = "delete vpce-msg, vpce-ssm";
    const DELETE_ALL: &str = "delete vpce-msg, vpce-s3, vpce-ssm";
    const DELETE_GROUP: &str = "delete security group sg-1";

    #[test]
    fn what_made_nothing_goes_at_once() {
        for policy in [DeletionPolicy::DeleteWhenUnused, DeletionPolicy::Delete, DeletionPolicy::Retain] {
            let mut left = Left::new(World::empty());
            left.world.posture.deletion_policy = policy;
            left.world.online("i-1");
            left.world.lose(&FactKey::Instances);
            check("nothing", &left, Stage::Gone, Reason::Deleting, &[]);
            left.world.endpoints(|all| {
                all.push(Endpoint { tags: Tags::new(), ..endpoint("vpce-theirs", "ssm") });
                all.push(Endpoint { vpc: "vpc-2".into(), ..endpoint("vpce-other-vpc", "ssm") });
                all.push(Endpoint { requester_managed: true, ..endpoint("vpce-service", "ssm") });
                all.push(Endpoint { state: EndpointState::Deleted, ..endpoint("vpce-gone", "ssm") });
                let mut half = endpoint("vpce-half", "kms");
                half.tags.remove(CLUSTER_TAG);
                all.push(half);
            });
            left.world.groups(|all| all.push(SecurityGroup { tags: Tags::new(), ..group() }));
            check("only others' things", &left, Stage::Gone, Reason::Deleting, &[]);
        }
    }

    #[test]
    fn how_long_is_said_in_hours_or_else_in_minutes() {
        for (unused_for, said) in [(24 * 3600, "after 24h"), (5400, "after 90m"), (3660, "after 61m")] {
            let mut left = Left::unused();
            left.world.memory.unused_since = None;
            left.world.posture.unused_for = Duration::from_secs(unused_for);
            let next = left.judge();
            assert!(next.message.ends_with(said), "{unused_for}: {}", next.message);
        }
    }

    #[test]
    fn each_policy() {
        use DeletionPolicy::{Delete, Retain};
        let waiting = Stage::Waiting;
        check("Delete", &Left::policy(Delete), waiting.clone(), Reason::Deleting, &[DELETE_ALL]);
        let used = Left::policy(Delete).with(|w| w.online("i-1"));
        check("Delete, in use", &used, waiting.clone(), Reason::Deleting, &[DELETE_ALL]);
        let unread = Left::policy(Delete).with(|w| w.lose(&FactKey::Instances));
        check("Delete, instances unread", &unread, waiting.clone(), Reason::Deleting, &[DELETE_ALL]);
        let kept = check("Retain", &Left::policy(Retain), waiting.clone(), Reason::Deleting, &[UNTAG_ALL]);
        assert_eq!(kept.kept.len(), 4);
        let used = Left::policy(Retain).with(|w| w.online("i-1"));
        check("Retain, in use", &used, waiting, Reason::Deleting, &[UNTAG_ALL]);
    }

    #[test]
    fn deleted_when_unused() {
        let (held, waiting) = (Stage::Held, Stage::Waiting);
        let running = Left::unused().with(|w| w.online("i-1"));
        let next = check("in use", &running, held.clone(), Reason::DeletionHeld, &[]);
        assert!(next.message.contains("1 running and 0 stopped instances (i-1)"), "{}", next.message);
        assert_eq!(next.unused_since, None, "the time without use starts anew");
        let stopped = Left::unused().with(|w| w.instance("i-1", "subnet-a", InstanceState::Stopped, None));
        let next = check("a stopped one may start", &stopped, held.clone(), Reason::DeletionHeld, &[]);
        assert!(next.message.contains("0 running and 1 stopped"), "{}", next.message);
        let many = Left::unused().with(|w| (0..9).for_each(|i| w.online(&format!("i-{i}"))));
        assert!(many.judge().message.contains("i-4, …"), "{}", many.judge().message);
        let elsewhere = Left::unused().with(|w| {
            w.online("i-1");
            w.instances(|all| all[0].vpc = "vpc-2".into());
        });
        check("another VPC's instance", &elsewhere, waiting.clone(), Reason::Deleting, &[DELETE_BOTH, UNTAG_S3]);
        let unread = Left::unused().with(|w| w.lose(&FactKey::Instances));
        check("instances unknown", &unread, held.clone(), Reason::DeletionHeld, &[]);
        let failed = Left::unused().with(|w| w.fail_read(&FactKey::Instances));
        check("DescribeInstances failed when it was called last", &failed, held, Reason::DeletionHeld, &[]);
        for (since, left) in [(None, DAY), (Some(0), DAY), (Some(-60), DAY - 60), (Some(-DAY + 1), 1)] {
            let unused = Left::unused().with(|w| w.memory.unused_since = since.map(at));
            let next = check("not for long enough", &unused, waiting.clone(), Reason::Deleting, &[]);
            assert_eq!(next.retry_after, Some(Duration::from_secs(left.unsigned_abs())), "{since:?}");
            assert_eq!(next.unused_since, Some(at(since.unwrap_or(0))), "{since:?}");
        }
        for since in [-DAY, -2 * DAY] {
            let unused = Left::unused().with(|w| w.memory.unused_since = Some(at(since)));
            let next = check("for long enough", &unused, waiting.clone(), Reason::Deleting, &[DELETE_BOTH, UNTAG_S3]);
            assert_eq!(next.unused_since, Some(at(since)));
            assert_eq!(next.kept, ["vpce-s3".to_owned()].into());
        }
        let at_once = Left::new(World::converged()).with(|w| w.posture.unused_for = Duration::ZERO);
        check("no time asked for", &at_once, waiting, Reason::Deleting, &[DELETE_BOTH, UNTAG_S3]);
    }

    #[test]
    fn what_applications_may_use_stays_unless_delete() {
        let others = |w: &mut World| {
            w.endpoints(|all| {
                all.clear();
                all.push(endpoint("vpce-kms", "kms"));
                all.push(endpoint("vpce-logs", "logs"));
                all.push(gateway("vpce-s3"));
            });
            w.online("i-1");
        };
        let next = check(
            "kept though in use: nothing is judged, nothing is held",
            &Left::unused().with(others),
            Stage::Waiting,
            Reason::Deleting,
            &["untag sg-1, vpce-kms, vpce-logs, vpce-s3: ssmready.dev/owner"],
        );
        assert!(next.kept.contains("sg-1"), "its group stays with it");
        check(
            "Delete",
            &Left::policy(DeletionPolicy::Delete).with(others),
            Stage::Waiting,
            Reason::Deleting,
            &["delete vpce-kms, vpce-logs, vpce-s3"],
        );
    }

    #[test]
    fn endpoints_in_every_state() {
        let all = |state: &str| {
            let state = EndpointState::parse(state);
            move |w: &mut World| w.endpoints(|all| all.iter_mut().for_each(|e| e.state = state.clone()))
        };
        let waiting = Stage::Waiting;
        for state in ["pending", "pendingAcceptance", "available", "partial", "mending"] {
            let used = Left::unused().with(all(state)).with(|w| w.online("i-1"));
            check(state, &used, Stage::Held, Reason::DeletionHeld, &[]);
            let unused = Left::unused().with(all(state));
            check(state, &unused, waiting.clone(), Reason::Deleting, &[DELETE_BOTH, UNTAG_S3]);
        }
        for state in ["failed", "rejected", "expired"] {
            let used = Left::unused().with(all(state)).with(|w| w.online("i-1"));
            check(state, &used, waiting.clone(), Reason::Deleting, &[DELETE_BOTH, UNTAG_S3]);
        }
        for policy in [DeletionPolicy::Delete, DeletionPolicy::DeleteWhenUnused] {
            let leaving = Left::policy(policy).with(all("deleting")).with(|w| w.online("i-1"));
            let next = check("on their way", &leaving, waiting.clone(), Reason::Deleting, &[]);
            assert_eq!(next.watch, [FactKey::Endpoints].into());
            let gone = Left::policy(policy).with(all("deleted")).with(|w| w.online("i-1"));
            check("gone and still listed", &gone, waiting.clone(), Reason::Deleting, &[DELETE_GROUP]);
        }
    }

    #[test]
    fn the_group_goes_last() {
        let start = || Left::policy(DeletionPolicy::Delete).with(|w| w.endpoints(Vec::clear));
        let waiting = Stage::Waiting;
        let key = FactKey::Interfaces("sg-1".into());
        let next = check("no interfaces", &start(), waiting.clone(), Reason::Deleting, &[DELETE_GROUP]);
        assert!(next.watch.contains(&key) && next.watch.contains(&FactKey::SecurityGroups));
        let interface = NetworkInterface { id: "eni-1".into(), description: "VPC Endpoint Interface".into() };
        let used = Left { interfaces: Some(Ok(vec![interface])), ..start() };
        let next = check("interfaces are left", &used, waiting.clone(), Reason::Deleting, &[]);
        assert!(next.watch.contains(&key));
        for interfaces in [None, Some(Err(()))] {
            let unread = Left { interfaces, ..start() };
            let next = check("interfaces unknown", &unread, waiting.clone(), Reason::Deleting, &[]);
            assert!(next.watch.contains(&key), "they are asked for");
        }
        let theirs = |e: Endpoint| Endpoint { tags: Tags::new(), ..e };
        let shared = start().with(|w| w.endpoints(|all| all.push(theirs(endpoint("vpce-theirs", "kms")))));
        check(
            "somebody else's endpoint uses it",
            &shared,
            waiting.clone(),
            Reason::Deleting,
            &["untag sg-1: ssmready.dev/owner"],
        );
        let left = start().with(|w| {
            w.endpoints(|all| {
                all.push(Endpoint { state: EndpointState::Deleting, ..theirs(endpoint("vpce-theirs", "kms")) });
            });
        });
        check("which goes too", &left, waiting.clone(), Reason::Deleting, &[DELETE_GROUP]);
        let two = start().with(|w| {
            w.groups(|all| all.insert(0, SecurityGroup { id: "sg-0".into(), name: "another".into(), ..group() }));
        });
        let what = "two of ours: the remembered one first";
        let next = check(what, &two, waiting.clone(), Reason::Deleting, &[DELETE_GROUP]);
        assert!(next.watch.contains(&key));
        let forgotten = Left { interfaces: None, ..start() }.with(|w| w.memory.group = None);
        check("made, and never remembered", &forgotten, waiting, Reason::Deleting, &[DELETE_GROUP]);
    }

    #[test]
    fn what_was_made_a_moment_ago_is_waited_for() {
        let waiting = Stage::Waiting;
        let recent = Recent::Endpoint {
            id: Some("vpce-new".into()),
            vpc: "vpc-1".into(),
            service_name: "com.amazonaws.eu-west-1.ssm".into(),
            owner: "VpcPosture/team/main".into(),
            at: at(0),
        };
        let left = Left::new(World::empty()).with(|w| w.overlay.add(recent.clone()));
        let next = check("an endpoint", &left, waiting.clone(), Reason::Deleting, &[]);
        assert_eq!(next.watch, [FactKey::Endpoints, FactKey::SecurityGroups].into());
        let left = Left::new(World::with_group()).with(|w| w.overlay.add(recent));
        check("an endpoint, whose group waits with it", &left, waiting.clone(), Reason::Deleting, &[]);
        let left = Left::new(World::empty()).with(|w| {
            let name = w.posture.owner.group_name();
            w.overlay.add(Recent::Group { id: None, vpc: "vpc-1".into(), name, at: at(0) });
        });
        check("a group", &left, waiting.clone(), Reason::Deleting, &[]);
        for (seconds, stage, retry) in [
            (0, waiting.clone(), Some(60)),
            (59, waiting.clone(), Some(1)),
            (60, Stage::Gone, None),
            (9999, Stage::Gone, None),
        ] {
            let mut left = Left::new(World::empty());
            left.departure.settled = false;
            left.departure.began = at(-seconds);
            let next = check("not Ready before", &left, stage, Reason::Deleting, &[]);
            assert_eq!(next.retry_after, retry.map(Duration::from_secs), "{seconds}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_gone() {
        for key in [FactKey::Endpoints, FactKey::SecurityGroups] {
            for policy in [DeletionPolicy::DeleteWhenUnused, DeletionPolicy::Delete, DeletionPolicy::Retain] {
                for world in [World::empty(), World::converged()] {
                    let mut left = Left::new(world).with(|w| w.lose(&key));
                    left.world.posture.deletion_policy = policy;
                    let next = left.judge();
                    assert_eq!((&next.stage, next.reason), (&Stage::Waiting, Reason::FactUnreadable));
                    assert!(next.watch.contains(&key) && next.actions.is_empty());
                }
                let mut left = Left::new(World::empty()).with(|w| w.fail_read(&key));
                left.world.posture.deletion_policy = policy;
                check("the last read failed", &left, Stage::Waiting, Reason::FactUnreadable, &[]);
            }
        }
    }

    /// Does what is proposed until the object is gone; says how many calls that took.
    fn let_go(left: &mut Left) -> usize {
        let mut calls = 0;
        for _ in 0..20 {
            let next = left.judge();
            if next.stage == Stage::Gone {
                return calls;
            }
            left.world.memory.unused_since = next.unused_since;
            for action in plan(next.actions).actions {
                calls += left.world.apply(&action.write, &[]);
            }
        }
        panic!("not gone: {:?}", left.judge());
    }

    #[test]
    fn from_everything_to_nothing() {
        let mut left = Left::policy(DeletionPolicy::Delete);
        assert_eq!(let_go(&mut left), 2, "all endpoints in one call, then the group");
        let mut left = Left::unused();
        assert_eq!(let_go(&mut left), 3, "two endpoints, the owner tag of the one that stays, the group");
        left.world.endpoints(|all| assert_eq!(all.len(), 1));
        let mut left = Left::policy(DeletionPolicy::Retain);
        assert_eq!(let_go(&mut left), 1);
        left.world.endpoints(|all| assert!(all.len() == 3 && all.iter().all(|e| e.tags.contains_key(CLUSTER_TAG))));
    }

    type Edit = (&'static str, fn(&mut Left));

    const EVENTS: &[Edit] = &[
        ("Delete", |l| l.world.posture.deletion_policy = DeletionPolicy::Delete),
        ("Retain", |l| l.world.posture.deletion_policy = DeletionPolicy::Retain),
        ("unused", |l| l.world.memory.unused_since = Some(at(-DAY))),
        ("Online", |l| l.world.online("i-1")),
        ("stopped", |l| l.world.instance("i-2", "subnet-a", InstanceState::Stopped, None)),
        ("instances unread", |l| l.world.lose(&FactKey::Instances)),
        ("instances failed", |l| l.world.fail_read(&FactKey::Instances)),
        ("endpoints unread", |l| l.world.lose(&FactKey::Endpoints)),
        ("groups unread", |l| l.world.lose(&FactKey::SecurityGroups)),
        ("interfaces unread", |l| l.interfaces = None),
        ("no endpoints", |l| l.world.endpoints(Vec::clear)),
        ("no groups", |l| l.world.groups(Vec::clear)),
        ("kms", |l| l.world.endpoints(|all| all.push(endpoint("vpce-kms", "kms")))),
        ("theirs", |l| {
            l.world.endpoints(|all| all.push(Endpoint { tags: Tags::new(), ..endpoint("vpce-theirs", "logs") }))
        }),
        ("a service's", |l| {
            l.world.endpoints(|all| all.push(Endpoint { requester_managed: true, ..endpoint("vpce-svc", "ssm") }))
        }),
        ("another VPC's", |l| {
            l.world.endpoints(|all| all.push(Endpoint { vpc: "vpc-2".into(), ..endpoint("vpce-x", "ssm") }))
        }),
        ("failed", |l| l.world.endpoints(|all| all.iter_mut().take(1).for_each(|e| e.state = EndpointState::Failed))),
        ("leaving", |l| {
            l.world.endpoints(|all| all.iter_mut().take(2).for_each(|e| e.state = EndpointState::Deleting))
        }),
        ("gone", |l| l.world.endpoints(|all| all.iter_mut().for_each(|e| e.state = EndpointState::Deleted))),
        ("half the tags", |l| {
            l.world.endpoints(|all| all.iter_mut().take(1).for_each(|e| drop(e.tags.remove(CLUSTER_TAG))))
        }),
        ("no group tags", |l| l.world.groups(|all| all.iter_mut().for_each(|g| g.tags.clear()))),
        ("foreign group", |l| {
            l.world.groups(|all| {
                all.push(SecurityGroup {
                    id: "sg-x".into(),
                    tags: Tags::new(),
                    ingress: vec![https("0.0.0.0/0")],
                    ..group()
                });
            });
        }),
        ("unsettled", |l| l.departure.settled = false),
        ("just made", |l| {
            let (owner, service_name) = (l.world.posture.owner.tag(), "com.amazonaws.eu-west-1.kms".to_owned());
            l.world.overlay.add(Recent::Endpoint { id: None, vpc: "vpc-1".into(), service_name, owner, at: at(0) });
        }),
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_that_is_not_ours_is_touched_whatever_is_left(
            empty in any::<bool>(),
            events in proptest::sample::subsequence(EVENTS.to_vec(), 0..=7).prop_shuffle(),
        ) {
            let mut left = Left::new(if empty { World::empty() } else { World::converged() });
            for (_, edit) in events {
                edit(&mut left);
            }
            let next = left.judge();
            prop_assert_eq!(&left.judge(), &next);
            prop_assert!(next.stage != Stage::Held || next.actions.is_empty());
            prop_assert_eq!(next.stage == Stage::Held, next.reason == Reason::DeletionHeld);
            let endpoints = left.world.view().endpoints.known().cloned().unwrap_or_default();
            let deletes = |e: &&Endpoint| {
                let is_it = |w: &Write| matches!(w, Write::DeleteEndpoints { endpoints } if endpoints.contains(&e.id));
                next.actions.iter().any(|a| is_it(&a.write))
            };
            let gateways = endpoints.iter().filter(deletes).any(|e| e.kind == EndpointType::Gateway);
            prop_assert!(!gateways || left.world.posture.deletion_policy == DeletionPolicy::Delete);
        }
    }
}
