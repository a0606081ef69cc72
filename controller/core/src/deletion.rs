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
    let (Some(endpoints), Some(groups)) = (view.endpoints.known(), view.security_groups.known()) else {
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
            Use::Unused { since } => {
                let mut next = remove(&delete, &keep, &leaving, &our_groups, view, posture, interfaces, departure);
                next.unused_since = Some(since);
                return next;
            }
        }
    }
    let mut next = remove(&delete, &keep, &leaving, &our_groups, view, posture, interfaces, departure);
    next.unused_since = memory.unused_since;
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
        return Use::Unknown(match &view.instances {
            Reading::Unknown(Some(fault)) => fault.to_string(),
            Reading::Known { .. } => "the last read of the instances failed".to_owned(),
            Reading::Unknown(None) => "the instances have not been read".to_owned(),
        });
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

#[expect(clippy::too_many_arguments, reason = "one step of farewell, split for its length alone")]
fn remove(
    delete: &[&Endpoint],
    keep: &[&Endpoint],
    leaving: &[&Endpoint],
    our_groups: &[&SecurityGroup],
    view: &View<'_>,
    posture: &VpcPosture,
    interfaces: &Reading<'_, Vec<NetworkInterface>>,
    departure: Departure,
) -> Farewell {
    let owner_tag: BTreeSet<String> = [OWNER_TAG.to_owned()].into();
    let mut next = Farewell::new(Stage::Waiting, Reason::Deleting, "");
    let all = view.endpoints.known().map_or(&[][..], Vec::as_slice);
    // A group stays while an endpoint that stays uses it: one that we keep, or one that is not ours.
    let going: BTreeSet<_> = delete.iter().chain(leaving).map(|e| &e.id).collect();
    let used = |group: &SecurityGroupId| {
        all.iter().find(|e| e.groups.contains(group) && !going.contains(&e.id) && !e.state.is_leaving())
    };
    let (held, free): (Vec<&SecurityGroup>, Vec<&SecurityGroup>) =
        our_groups.iter().partition(|g| used(&g.id).is_some());
    next.kept = keep.iter().map(|e| e.id.to_string()).chain(held.iter().map(|g| g.id.to_string())).collect();
    if posture.deletion_policy == DeletionPolicy::Retain {
        next.kept.extend(our_groups.iter().map(|g| g.id.to_string()));
    }
    if !next.kept.is_empty() {
        let resources = next.kept.clone();
        next.act(Facet::Endpoints, Write::Untag { resources, keys: owner_tag });
        next.watch.extend([FactKey::Endpoints, FactKey::SecurityGroups]);
    }
    if !delete.is_empty() {
        next.act(Facet::Endpoints, Write::DeleteEndpoints { endpoints: delete.iter().map(|e| e.id.clone()).collect() });
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
        match interfaces.current() {
            Some(list) if list.is_empty() => {
                next.act(Facet::SecurityGroup, Write::DeleteSecurityGroup { group: group.id.clone() });
                next.message = format!("deleting security group {}", group.id);
                next.watch.insert(FactKey::SecurityGroups);
            }
            Some(list) => {
                next.message = format!("security group {} waits for {} network interfaces to go", group.id, list.len());
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
