//! Our own recent creations: they stop a second one until AWS lists the first, and prove nothing else.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    facts::{Endpoint, SecurityGroup},
    ids::{EndpointId, SecurityGroupId, VpcId},
    posture::OWNER_TAG,
};

/// How long a creation is remembered that AWS never lists.
const FORGET_AFTER: Duration = Duration::from_secs(300);

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

/// The recent creations of one account and region.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    recent: Vec<Recent>,
}

impl Overlay {
    /// Remembers a creation.
    pub fn add(&mut self, recent: Recent) {
        self.recent.push(recent);
    }

    /// Forgets what AWS now lists, and what it has not listed for five minutes.
    pub fn settle(&mut self, endpoints: &[Endpoint], groups: &[SecurityGroup], now: Timestamp) {
        self.recent.retain(|recent| {
            let (listed, at) = match recent {
                Recent::Endpoint { id: Some(id), at, .. } => (endpoints.iter().any(|e| e.id == *id), at),
                Recent::Endpoint { id: None, vpc, service_name, owner, at } => {
                    let is_it = |e: &Endpoint| {
                        e.vpc == *vpc && e.service_name == *service_name && e.tags.get(OWNER_TAG) == Some(owner)
                    };
                    (endpoints.iter().any(is_it), at)
                }
                Recent::Group { id, vpc, name, at } => {
                    (groups.iter().any(|g| Some(&g.id) == id.as_ref() || (g.vpc == *vpc && g.name == *name)), at)
                }
            };
            !listed && Duration::try_from(now.duration_since(*at)).unwrap_or_default() < FORGET_AFTER
        });
    }

    /// Whether the owner made an endpoint for the service that AWS does not list yet.
    #[must_use]
    pub fn has_endpoint(&self, vpc: &VpcId, service_name: &str, owner: &str) -> bool {
        self.recent.iter().any(|recent| {
            matches!(recent, Recent::Endpoint { vpc: v, service_name: s, owner: o, .. }
                if v == vpc && s == service_name && o == owner)
        })
    }

    /// Whether a security group of this name was made and is not listed yet.
    #[must_use]
    pub fn has_group(&self, vpc: &VpcId, name: &str) -> bool {
        self.recent
            .iter()
            .any(|recent| matches!(recent, Recent::Group { vpc: v, name: n, .. } if v == vpc && n == name))
    }

    /// Whether the owner made anything that AWS does not list yet.
    #[must_use]
    pub fn waits_for(&self, vpc: &VpcId, owner: &str, group_name: &str) -> bool {
        self.has_group(vpc, group_name)
            || self
                .recent
                .iter()
                .any(|r| matches!(r, Recent::Endpoint { vpc: v, owner: o, .. } if v == vpc && o == owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, endpoint};

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
    fn a_clock_that_goes_back_forgets_nothing() {
        let mut overlay = made();
        overlay.settle(&[], &[], at(-3600));
        assert!(overlay.has_group(&"vpc-1".into(), "ssm-ready-x"));
    }
}
