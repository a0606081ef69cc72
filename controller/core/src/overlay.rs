//! Our own recent creations: they stop a second one until AWS lists the first, and prove nothing else.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::{
    facts::{Endpoint, SecurityGroup},
    ids::{EndpointId, SecurityGroupId, VpcId},
    posture::{CLUSTER_TAG, OWNER_TAG},
};

/// How long a creation is remembered that AWS never lists.
pub const FORGET_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// How long one is remembered after AWS has listed it first: until then another list may still lack it
/// (EC2 API, "Eventual consistency").
pub const SURE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// A thing made a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recent {
    /// An endpoint.
    Endpoint {
        /// Its id; none where AWS only let it show that there is one (IdempotentParameterMismatch).
        id: Option<EndpointId>,
        /// Its VPC.
        vpc: VpcId,
        /// Its service.
        service_name: String,
        /// The owner tag's value.
        owner: String,
        /// When it was made.
        at: Timestamp,
    },
    /// A security group.
    Group {
        /// Its id, where AWS told it.
        id: Option<SecurityGroupId>,
        /// Its VPC.
        vpc: VpcId,
        /// Its name.
        name: String,
        /// When it was made.
        at: Timestamp,
    },
}

impl Recent {
    fn at(&self) -> Timestamp {
        match self {
            Self::Endpoint { at, .. } | Self::Group { at, .. } => *at,
        }
    }
}

/// The recent creations of one account and region.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    cluster: String,
    recent: Vec<Remembered>,
    /// The cluster's endpoints that lists have shown.
    shown: BTreeSet<EndpointId>,
}

#[derive(Debug, Clone)]
struct Remembered {
    what: Recent,
    /// When AWS listed it first.
    listed_since: Option<Timestamp>,
    /// Whether the last list had it.
    listed: bool,
}

impl Overlay {
    /// The creations of a controller installation, by its cluster id.
    #[must_use]
    pub fn of(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), ..Self::default() }
    }

    /// Remembers a creation.
    pub fn add(&mut self, recent: Recent) {
        self.recent.push(Remembered { what: recent, listed_since: None, listed: false });
    }

    /// Forgets what AWS has listed for a while, what it lists as leaving, and what it has not listed for five minutes.
    /// Endpoints that are listed for the first time are remembered too, whoever made them: an answer may have been lost.
    pub fn settle(&mut self, endpoints: &[Endpoint], groups: &[SecurityGroup], now: Timestamp) {
        for endpoint in endpoints {
            if self.shown.contains(&endpoint.id) {
                continue;
            }
            let (true, Some(owner)) = (self.has(endpoint), endpoint.tags.get(OWNER_TAG)) else { continue };
            let remembered =
                |r: &Remembered| matches!(&r.what, Recent::Endpoint { id: Some(id), .. } if *id == endpoint.id);
            if !self.recent.iter().any(remembered) {
                self.add(Recent::Endpoint {
                    id: Some(endpoint.id.clone()),
                    vpc: endpoint.vpc.clone(),
                    service_name: endpoint.service_name.clone(),
                    owner: owner.clone(),
                    at: now,
                });
            }
        }
        self.shown = endpoints.iter().filter(|e| self.has(e)).map(|e| e.id.clone()).collect();
        self.recent.retain_mut(|remembered| {
            let (listed, leaving) = match &remembered.what {
                Recent::Endpoint { id, vpc, service_name, owner, .. } => {
                    let is_it = |e: &&Endpoint| match id {
                        Some(id) => e.id == *id,
                        // Not one that was before it and is on its way.
                        None => {
                            e.vpc == *vpc
                                && e.service_name == *service_name
                                && e.tags.get(OWNER_TAG) == Some(owner)
                                && !(e.state.is_leaving() || e.state.is_terminal())
                        }
                    };
                    let found = endpoints.iter().find(is_it);
                    (found.is_some(), found.is_some_and(|e| e.state.is_leaving() || e.state.is_terminal()))
                }
                Recent::Group { id, vpc, name, .. } => {
                    let is_it = |g: &SecurityGroup| Some(&g.id) == id.as_ref() || (g.vpc == *vpc && g.name == *name);
                    (groups.iter().any(is_it), false)
                }
            };
            remembered.listed = listed;
            if listed {
                remembered.listed_since.get_or_insert(now);
            }
            let for_how_long = |since: Timestamp| now.duration_since(since);
            match remembered.listed_since {
                _ if leaving => false,
                Some(since) => for_how_long(since) < SURE_AFTER,
                None => for_how_long(remembered.what.at()) < FORGET_AFTER,
            }
        });
    }

    /// Forgets endpoints that we delete.
    pub fn forget(&mut self, endpoints: &BTreeSet<EndpointId>) {
        self.recent.retain(
            |remembered| !matches!(&remembered.what, Recent::Endpoint { id: Some(id), .. } if endpoints.contains(id)),
        );
    }

    fn has(&self, endpoint: &Endpoint) -> bool {
        endpoint.tags.get(CLUSTER_TAG) == Some(&self.cluster)
    }

    fn absent(&self) -> impl Iterator<Item = &Recent> {
        self.recent.iter().filter(|remembered| !remembered.listed).map(|remembered| &remembered.what)
    }

    /// Whether the owner made an endpoint for the service that AWS does not list, or did not the last time.
    #[must_use]
    pub fn has_endpoint(&self, vpc: &VpcId, service_name: &str, owner: &str) -> bool {
        self.absent().any(|recent| {
            matches!(recent, Recent::Endpoint { vpc: v, service_name: s, owner: o, .. }
                if v == vpc && s == service_name && o == owner)
        })
    }

    /// Whether a security group of this name was made and is not listed.
    #[must_use]
    pub fn has_group(&self, vpc: &VpcId, name: &str) -> bool {
        self.absent().any(|recent| matches!(recent, Recent::Group { vpc: v, name: n, .. } if v == vpc && n == name))
    }

    /// Whether the owner made anything that AWS does not list.
    #[must_use]
    pub fn waits_for(&self, vpc: &VpcId, owner: &str, group_name: &str) -> bool {
        self.has_group(vpc, group_name)
            || self.absent().any(|r| matches!(r, Recent::Endpoint { vpc: v, owner: o, .. } if v == vpc && o == owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::EndpointState,
        testing::{at, endpoint},
    };

    fn made() -> Overlay {
        let mut overlay = Overlay::default();
        overlay.add(Recent::Endpoint {
            id: Some("vpce-1".into()),
            vpc: "vpc-1".into(),
            service_name: "com.amazonaws.eu-west-1.ssm".into(),
            owner: "VpcPosture/team/main".into(),
            at: at(0),
        });
        overlay.add(Recent::Group { id: None, vpc: "vpc-1".into(), name: "ssm-ready-x".into(), at: at(0) });
        overlay
    }

    #[test]
    fn a_creation_is_remembered_until_listed() {
        let mut overlay = made();
        overlay.settle(&[], &[], at(60));
        assert!(overlay.has_endpoint(&"vpc-1".into(), "com.amazonaws.eu-west-1.ssm", "VpcPosture/team/main"));
        assert!(!overlay.has_endpoint(&"vpc-2".into(), "com.amazonaws.eu-west-1.ssm", "VpcPosture/team/main"));
        assert!(overlay.has_group(&"vpc-1".into(), "ssm-ready-x"));
        overlay.settle(&[endpoint("vpce-1", "ssm")], &[], at(61));
        assert!(!overlay.has_endpoint(&"vpc-1".into(), "com.amazonaws.eu-west-1.ssm", "VpcPosture/team/main"));
        assert!(overlay.waits_for(&"vpc-1".into(), "VpcPosture/team/main", "ssm-ready-x"));
    }

    #[test]
    fn a_creation_that_is_never_listed_is_forgotten() {
        let mut overlay = made();
        overlay.settle(&[], &[], at(299));
        assert!(overlay.waits_for(&"vpc-1".into(), "VpcPosture/team/main", "other"));
        overlay.settle(&[], &[], at(300));
        assert!(!overlay.waits_for(&"vpc-1".into(), "VpcPosture/team/main", "ssm-ready-x"));
    }

    #[test]
    fn what_is_only_known_to_exist_is_found_by_its_natural_key() {
        let exists = || {
            let mut overlay = Overlay::default();
            overlay.add(Recent::Endpoint {
                id: None,
                vpc: "vpc-1".into(),
                service_name: "com.amazonaws.eu-west-1.ssm".into(),
                owner: "VpcPosture/team/main".into(),
                at: at(0),
            });
            overlay
        };
        let untagged = Endpoint { tags: Default::default(), ..endpoint("vpce-1", "ssm") };
        let elsewhere = Endpoint { vpc: "vpc-2".into(), ..endpoint("vpce-1", "ssm") };
        for (listed, waits) in [
            (endpoint("vpce-1", "ssm"), false),
            (endpoint("vpce-1", "ssmmessages"), true),
            (untagged, true),
            (elsewhere, true),
            // The one before it, on its way: not what was made.
            (Endpoint { state: EndpointState::Deleting, ..endpoint("vpce-0", "ssm") }, true),
            (Endpoint { state: EndpointState::Failed, ..endpoint("vpce-0", "ssm") }, true),
            (Endpoint { state: EndpointState::Pending, ..endpoint("vpce-1", "ssm") }, false),
        ] {
            let mut overlay = exists();
            overlay.settle(std::slice::from_ref(&listed), &[], at(1));
            let found = overlay.has_endpoint(&"vpc-1".into(), "com.amazonaws.eu-west-1.ssm", "VpcPosture/team/main");
            assert_eq!(found, waits, "{listed:?}");
        }
    }

    #[test]
    fn a_group_is_listed_by_id_or_by_name() {
        let name = crate::testing::posture().owner.group_name();
        for (id, called, listed) in
            [(Some("sg-1"), "x", true), (None, name.as_str(), true), (Some("sg-2"), "x", false), (None, "x", false)]
        {
            let mut overlay = Overlay::default();
            overlay.add(Recent::Group { id: id.map(Into::into), vpc: "vpc-1".into(), name: called.into(), at: at(0) });
            overlay.settle(&[], &[crate::testing::group()], at(1));
            assert_eq!(overlay.has_group(&"vpc-1".into(), called), !listed, "{id:?} {called}");
        }
    }

    #[test]
    fn what_was_listed_once_may_be_missing_from_the_next_list() {
        let has = |overlay: &Overlay| {
            overlay.has_endpoint(&"vpc-1".into(), "com.amazonaws.eu-west-1.ssm", "VpcPosture/team/main")
        };
        let listed = [endpoint("vpce-1", "ssm")];
        let mut overlay = made();
        overlay.settle(&listed, &[], at(10));
        assert!(!has(&overlay), "it is listed");
        overlay.settle(&[], &[], at(20));
        assert!(has(&overlay), "it was listed a moment ago");
        overlay.settle(&[], &[], at(10 + 30));
        assert!(!has(&overlay), "it is gone");
        // Listed for long enough: what is missing then is gone.
        let mut overlay = made();
        overlay.settle(&listed, &[], at(10));
        overlay.settle(&listed, &[], at(10 + 120));
        overlay.settle(&[], &[], at(140));
        assert!(!has(&overlay));
    }

    #[test]
    fn what_is_listed_for_the_first_time_is_remembered_whoever_made_it() {
        let ours = [endpoint("vpce-1", "ssm")];
        let owner = crate::testing::posture().owner.tag();
        let has = |overlay: &Overlay| overlay.has_endpoint(&"vpc-1".into(), &ours[0].service_name, &owner);
        let mut overlay = Overlay::of("another");
        overlay.settle(&ours, &[], at(0));
        overlay.settle(&[], &[], at(10));
        assert!(!has(&overlay), "of another cluster");
        let mut overlay = Overlay::of("test");
        overlay.settle(&ours, &[], at(0));
        overlay.settle(&[], &[], at(10));
        assert!(has(&overlay));
        overlay.settle(&ours, &[], at(20));
        overlay.settle(&ours, &[], at(200));
        overlay.settle(&[], &[], at(210));
        assert!(!has(&overlay), "listed for long enough: it is gone");
    }

    #[test]
    fn what_leaves_is_forgotten_at_once() {
        for state in [EndpointState::Deleting, EndpointState::Failed] {
            let mut overlay = made();
            overlay.settle(&[Endpoint { state, ..endpoint("vpce-1", "ssm") }], &[], at(10));
            overlay.settle(&[], &[], at(20));
            assert!(!overlay.has_endpoint(&"vpc-1".into(), "com.amazonaws.eu-west-1.ssm", "VpcPosture/team/main"));
        }
        let mut overlay = made();
        overlay.forget(&["vpce-1".into()].into());
        assert!(!overlay.has_endpoint(&"vpc-1".into(), "com.amazonaws.eu-west-1.ssm", "VpcPosture/team/main"));
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let mut overlay = made();
        overlay.settle(&[], &[], at(-3600));
        assert!(overlay.has_group(&"vpc-1".into(), "ssm-ready-x"));
    }
}
