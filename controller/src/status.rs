//! The report step: from what the core says to what is written to `status`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sha2::{Digest, Sha256};
use ssm_ready_core::{
    evaluate::{Difference, EndpointMemory, Facet, Memory, Ownership, Seen, SeenEndpoint},
    facts::{EndpointType, VpcAttribute},
    fault::truncate,
    plan::Plan,
    posture::ServiceName,
    report,
};
use ssm_ready_crds as crds;

/// How many drifts are kept.
const MAX_DRIFTS: usize = 10;
/// How many planned actions are shown.
const MAX_ACTIONS: usize = 50;

/// A digest of a spec without `suspend`, by which it is seen that nothing else changed.
pub fn spec_hash<S: serde::Serialize>(spec: &S) -> String {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.remove("suspend");
    }
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// New conditions in place of old ones: `lastTransitionTime` moves only where `status` does. `keep` names types that stay
/// as they are when they are not among the new ones.
#[must_use]
pub fn merge_conditions(
    old: &[Condition],
    new: &[report::Condition],
    keep: &[&str],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = new
        .iter()
        .map(|c| {
            let before = old.iter().find(|o| o.type_ == c.kind && o.status == c.status.as_str());
            Condition {
                type_: c.kind.to_owned(),
                status: c.status.as_str().to_owned(),
                reason: c.reason.as_str().to_owned(),
                message: c.message.clone(),
                observed_generation: Some(generation),
                last_transition_time: before.map_or_else(|| Time(now), |b| b.last_transition_time.clone()),
            }
        })
        .collect();
    let kept: Vec<Condition> = old
        .iter()
        .filter(|o| keep.contains(&o.type_.as_str()) && !conditions.iter().any(|c| c.type_ == o.type_))
        .cloned()
        .collect();
    conditions.extend(kept);
    conditions
}

/// Whether a condition of this type is True.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}

/// What status remembers, for the core.
#[must_use]
pub fn memory(status: &crds::VpcPostureStatus) -> Memory {
    let ids = |list: &[String]| -> BTreeSet<String> { list.iter().cloned().collect() };
    let endpoints = status
        .endpoints
        .iter()
        .filter_map(|e| {
            let memory = EndpointMemory {
                id: e.endpoint_id.as_deref().map(Into::into),
                managed: e.ownership != crds::Ownership::Existing,
                subnets: ids(&e.subnet_ids).into_iter().map(Into::into).collect(),
                route_tables: ids(&e.route_table_ids).into_iter().map(Into::into).collect(),
                attempts: u32::try_from(e.attempts).unwrap_or(0),
            };
            Some((ServiceName::parse(&e.service)?, memory))
        })
        .collect();
    Memory {
        endpoints,
        group: status.security_group.as_ref().and_then(|g| g.id.as_deref()).map(Into::into),
        unused_since: status.deletion.as_ref().and_then(|d| d.unused_since.as_ref()).map(|t| t.0),
    }
}

/// Whose an endpoint is: one that is ours now and was somebody else's before has been taken over.
fn ownership(seen: &SeenEndpoint, before: &[crds::EndpointStatus]) -> crds::Ownership {
    let was = before.iter().find(|b| b.endpoint_id.as_deref() == seen.id.as_ref().map(|id| id.as_str()));
    match (seen.ownership, was.map(|b| b.ownership)) {
        (Ownership::Existing, _) => crds::Ownership::Existing,
        (Ownership::Managed, Some(crds::Ownership::Existing | crds::Ownership::Adopted)) if seen.id.is_some() => {
            crds::Ownership::Adopted
        }
        (Ownership::Managed, _) => crds::Ownership::Managed,
    }
}

/// Puts what was seen into status.
pub fn put_seen(status: &mut crds::VpcPostureStatus, seen: &Seen, group_name: Option<&str>) {
    if let Some(owner) = &seen.vpc_owner {
        let mut cidrs: Vec<String> = seen.cidrs.iter().take(64).cloned().collect();
        cidrs.sort_unstable();
        cidrs.dedup();
        let enabled_by_us = status.vpc.as_ref().map(|v| v.enabled_by_us.clone()).unwrap_or_default();
        status.vpc = Some(crds::VpcStatus {
            owner_id: Some(owner.clone()),
            cidrs,
            dns_support: seen.dns.get(&VpcAttribute::DnsSupport).copied(),
            dns_hostnames: seen.dns.get(&VpcAttribute::DnsHostnames).copied(),
            enabled_by_us,
        });
    }
    // Where the endpoints could not be looked at, what was known of them stays: later tries rest on it.
    if !seen.endpoints.is_empty() {
        let mut endpoints: Vec<crds::EndpointStatus> = seen
            .endpoints
            .iter()
            .map(|e| crds::EndpointStatus {
                service: e.service.as_str().to_owned(),
                service_name: e.service_name.clone().unwrap_or_default(),
                type_: if e.kind == EndpointType::Gateway {
                    crds::EndpointType::Gateway
                } else {
                    crds::EndpointType::Interface
                },
                endpoint_id: e.id.as_ref().map(ToString::to_string),
                state: Some(truncate(&e.state, 32)),
                ownership: ownership(e, &status.endpoints),
                subnet_ids: e.subnets.iter().take(32).map(ToString::to_string).collect(),
                zones: e.zones.iter().take(32).cloned().collect(),
                route_table_ids: e.route_tables.iter().take(256).map(ToString::to_string).collect(),
                private_dns: (e.kind == EndpointType::Interface).then_some(e.private_dns),
                attempts: i64::from(e.attempts),
            })
            .collect();
        endpoints.sort_by(|a, b| a.service.cmp(&b.service));
        status.endpoints = endpoints;
    }
    match (&seen.group, group_name) {
        (Some(id), name) => {
            status.security_group = Some(crds::SecurityGroupStatus {
                id: Some(id.to_string()),
                name: name.map(str::to_owned),
                ownership: Some(crds::Ownership::Managed),
            });
        }
        // One that is missing is remembered, so that its absence is seen as drift and not as a beginning.
        (None, Some(_)) => {}
        (None, None) => status.security_group = None,
    }
}

/// The plan as status shows it.
#[must_use]
pub fn plan(plan: &Plan) -> Option<crds::PlanStatus> {
    Some(crds::PlanStatus {
        hash: plan.hash()?,
        actions: plan
            .actions
            .iter()
            .take(MAX_ACTIONS)
            .map(|a| crds::PlannedAction {
                action: a.write.operation().name().to_owned(),
                target: truncate(&a.write.target(), 256),
                change: truncate(&a.write.to_string(), 1024),
                reason: a.facet.condition().to_owned(),
                disrupts: a.disrupts.map(str::to_owned),
            })
            .collect(),
    })
}

/// The facet that a field of a stored drift belongs to; the names are those that the core gives its differences.
#[must_use]
pub fn facet_of(field: &str) -> Facet {
    match field.split('.').collect::<Vec<_>>().as_slice() {
        ["vpc", ..] => Facet::Dns,
        ["securityGroup", ..] => Facet::SecurityGroup,
        ["endpoints", "s3", "routeTables" | "state"] => Facet::Routes,
        [.., "policy"] => Facet::Policy,
        _ => Facet::Endpoints,
    }
}

/// What became of drifts in a pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DriftNews {
    /// Seen for the first time.
    pub seen: Vec<(Facet, Difference)>,
    /// No longer there.
    pub repaired: Vec<crds::Drift>,
}

/// Brings the list of drifts up to date. A difference is drift where its facet was good at this generation before; one
/// that an edit or a beginning brings about is none.
pub fn update_drift(
    status: &mut crds::VpcPostureStatus,
    before: &crds::VpcPostureStatus,
    differences: &[(Facet, Difference)],
    generation: i64,
    now: Timestamp,
) -> DriftNews {
    let mut news = DriftNews::default();
    for drift in status.drift.iter_mut().filter(|d| !d.repaired) {
        if !differences.iter().any(|(_, d)| d.field == drift.field) {
            drift.repaired = true;
            news.repaired.push(drift.clone());
        }
    }
    for (facet, difference) in differences {
        let was_good = before.observed_generation == generation && is_true(&before.conditions, facet.condition());
        let known = status.drift.iter().any(|d| !d.repaired && d.field == difference.field);
        if was_good && !known {
            news.seen.push((*facet, difference.clone()));
            status.drift.push(crds::Drift {
                field: truncate(&difference.field, 256),
                wanted: truncate(&difference.wanted, 512),
                seen: truncate(&difference.seen, 512),
                since: Time(now),
                repaired: false,
            });
        }
    }
    let surplus = status.drift.len().saturating_sub(MAX_DRIFTS);
    status.drift.drain(..surplus);
    news
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssm_ready_core::{
        reason::Reason,
        report::{Condition as New, Status},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(status: Status, message: &str) -> New {
        New { kind: "Ready", status, reason: Reason::Succeeded, message: message.into() }
    }

    #[test]
    fn transition_times_move_only_with_status() {
        let first = merge_conditions(&[], &[ready(Status::True, "a")], &[], 1, at(1));
        let second = merge_conditions(&first, &[ready(Status::True, "b")], &[], 2, at(2));
        assert_eq!((second[0].last_transition_time.0, second[0].message.as_str()), (at(1), "b"));
        assert_eq!(second[0].observed_generation, Some(2));
        let third = merge_conditions(&second, &[ready(Status::False, "c")], &[], 2, at(3));
        assert_eq!(third[0].last_transition_time.0, at(3));
    }

    #[test]
    fn abnormal_conditions_go_when_they_end() {
        let stalled = New { kind: "Stalled", ..ready(Status::True, "") };
        let first = merge_conditions(&[], &[ready(Status::False, ""), stalled], &[], 1, at(1));
        let second = merge_conditions(&first, &[ready(Status::True, "")], &[], 1, at(2));
        assert_eq!(second.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(), ["Ready"]);
        let kept = merge_conditions(&first, &[], &["Ready"], 1, at(2));
        assert_eq!(kept.len(), 1);
    }

    #[test]
    fn suspending_does_not_change_the_hash() {
        let target = crds::Target {
            account_ref: crds::NameRef { name: "a".into() },
            region: "eu-west-1".into(),
            vpc_id: "vpc-1".into(),
        };
        let mut spec = crds::VpcPostureSpec::new(target);
        let hash = spec_hash(&spec);
        spec.suspend = true;
        assert_eq!(spec_hash(&spec), hash);
        spec.mode = crds::Mode::Observe;
        assert_ne!(spec_hash(&spec), hash);
    }

    #[test]
    fn fields_belong_to_facets() {
        for (field, facet) in [
            ("vpc.enableDnsSupport", Facet::Dns),
            ("securityGroup.ingress", Facet::SecurityGroup),
            ("endpoints.s3.routeTables", Facet::Routes),
            ("endpoints.com.amazonaws.eu-west-1.ssm.policy", Facet::Policy),
            ("endpoints.ssm.subnets", Facet::Endpoints),
            ("tags", Facet::Endpoints),
        ] {
            assert_eq!(facet_of(field), facet, "{field}");
        }
    }

    fn difference(field: &str) -> (Facet, Difference) {
        (Facet::Endpoints, Difference { field: field.into(), wanted: "on".into(), seen: "off".into() })
    }

    #[test]
    fn a_difference_is_drift_only_after_it_was_good_and_is_told_once() {
        let mut before = crds::VpcPostureStatus { observed_generation: 1, ..Default::default() };
        let mut status = before.clone();
        assert_eq!(
            update_drift(&mut status, &before, &[difference("x")], 1, at(1)),
            DriftNews::default(),
            "never was good"
        );
        before.conditions =
            merge_conditions(&[], &[New { kind: "EndpointsReady", ..ready(Status::True, "") }], &[], 1, at(1));
        assert_eq!(
            update_drift(&mut status, &before, &[difference("x")], 2, at(1)),
            DriftNews::default(),
            "the spec changed"
        );
        assert_eq!(update_drift(&mut status, &before, &[difference("x")], 1, at(1)).seen.len(), 1);
        assert_eq!(
            update_drift(&mut status, &before, &[difference("x")], 1, at(2)),
            DriftNews::default(),
            "told already"
        );
        assert_eq!(update_drift(&mut status, &before, &[], 1, at(3)).repaired.len(), 1);
        assert!(status.drift[0].repaired);
        for n in 0..20 {
            let _ = update_drift(&mut status, &before, &[difference(&format!("f{n}"))], 1, at(4));
        }
        assert_eq!(status.drift.len(), MAX_DRIFTS);
        assert_eq!(status.drift[9].field, "f19");
    }
}
