//! How instances are, as far as lists tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    facts::{Instance, InstanceState, ManagedNode},
    ids::VpcId,
};

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It runs, and its agent pings.
    Managed,
    /// It runs, and Systems Manager knows it, but its agent does not ping.
    Offline,
    /// It runs, and Systems Manager does not know it.
    Unregistered,
    /// It runs; what Systems Manager knows could not be read.
    Unknown,
    /// It does not run.
    Stopped,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Managed, Self::Offline, Self::Unregistered, Self::Unknown, Self::Stopped];

    /// A short fixed word for metric labels.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Offline => "offline",
            Self::Unregistered => "unregistered",
            Self::Unknown => "unknown",
            Self::Stopped => "stopped",
        }
    }
}

/// How many instances are how.
pub type Counts = BTreeMap<Verdict, usize>;

/// Counts the instances of some VPCs; `nodes` is what Systems Manager knows, where that could be read.
#[must_use]
pub fn count(instances: &[Instance], nodes: Option<&[ManagedNode]>, vpcs: &BTreeSet<VpcId>) -> Counts {
    let pings: Option<BTreeMap<_, bool>> = nodes.map(|nodes| nodes.iter().map(|n| (&n.id, n.online)).collect());
    let mut counts = Counts::new();
    for instance in instances.iter().filter(|i| vpcs.contains(&i.vpc)) {
        let verdict = match (instance.state, &pings) {
            (InstanceState::Stopped, _) => Verdict::Stopped,
            (InstanceState::Running, None) => Verdict::Unknown,
            (InstanceState::Running, Some(pings)) => match pings.get(&instance.id) {
                Some(true) => Verdict::Managed,
                Some(false) => Verdict::Offline,
                None => Verdict::Unregistered,
            },
        };
        *counts.entry(verdict).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, vpc: &str, state: InstanceState) -> Instance {
        Instance {
            id: id.into(),
            vpc: vpc.into(),
            subnet: "subnet-1".into(),
            state,
            profile: None,
            imds_v1: None,
            imds: None,
            tags: Default::default(),
        }
    }

    fn node(id: &str, online: bool) -> ManagedNode {
        ManagedNode { id: id.into(), online, agent_version: None }
    }

    #[test]
    fn each_verdict_has_its_own_word() {
        assert_eq!(Verdict::ALL.map(Verdict::label), ["managed", "offline", "unregistered", "unknown", "stopped"]);
    }

    #[test]
    fn each_instance_of_the_vpcs_counts_once() {
        use InstanceState::{Running, Stopped};
        let instances = [
            instance("i-1", "vpc-1", Running),
            instance("i-2", "vpc-1", Running),
            instance("i-3", "vpc-1", Running),
            // Systems Manager lists it for a while after it stopped.
            instance("i-4", "vpc-1", Stopped),
            instance("i-5", "vpc-2", Running),
            instance("i-6", "vpc-other", Running),
        ];
        let nodes = [node("i-1", true), node("i-2", false), node("i-4", true), node("i-5", true), node("i-9", true)];
        let vpcs = BTreeSet::from(["vpc-1".into(), "vpc-2".into(), "vpc-3".into()]);
        let expected =
            [(Verdict::Managed, 2), (Verdict::Offline, 1), (Verdict::Unregistered, 1), (Verdict::Stopped, 1)];
        assert_eq!(count(&instances, Some(&nodes), &vpcs), Counts::from(expected));
        let unread = [(Verdict::Unknown, 4), (Verdict::Stopped, 1)];
        assert_eq!(count(&instances, None, &vpcs), Counts::from(unread));
        assert_eq!(count(&instances, Some(&nodes), &BTreeSet::new()), Counts::new());
    }
}
