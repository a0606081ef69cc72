//! The report step: from what the core says to what is written to `status`.

pub mod account;
pub mod region;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sha2::{Digest, Sha256};
use ssm_ready_core::{
    evaluate::{CREATING, Difference, EndpointMemory, Facet, MISSING, Memory, Ownership, Seen, SeenEndpoint},
    facts::{EndpointType, VpcAttribute},
    fault::truncate,
    ids::VpcId,
    instance_profiles::{Credentials, SeenProfile},
    overlay::{FORGET_AFTER, Recent, SURE_AFTER},
    plan::Plan,
    posture::ServiceName,
    report,
};
use ssm_ready_crds as crds;

use crate::posture::PostureStatus;

/// How many drifts are kept.
const MAX_DRIFTS: usize = 10;
/// How many planned actions are shown.
const MAX_ACTIONS: usize = 50;
/// The longest id that status holds, in characters; AWS's own are shorter, and a cut one would be another's.
const MAX_ID: usize = 32;
/// The longest name of a field that differs, in characters.
const MAX_FIELD: usize = 256;

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
                attempts: u32::try_from(e.attempts.max(0)).unwrap_or(u32::MAX),
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

/// What a process before this one made, or may have made a moment ago, as far as status tells: its own memory of that
/// died with it, and AWS may not list it yet, or not in every list.
#[must_use]
pub fn recent(status: &crds::VpcPostureStatus, vpc: &VpcId, owner: &str, now: Timestamp) -> Vec<Recent> {
    let made = status.endpoints.iter().filter(|e| e.ownership != crds::Ownership::Existing);
    made.filter_map(|endpoint| {
        let seen = match endpoint.state.as_deref()? {
            MISSING => return None,
            CREATING => now,
            // Seen by the one before: sure to be listed sooner.
            _ => now - (FORGET_AFTER - SURE_AFTER),
        };
        Some(Recent::Endpoint {
            id: Some(endpoint.endpoint_id.as_deref()?.into()),
            vpc: vpc.clone(),
            service_name: endpoint.service_name.clone(),
            owner: owner.to_owned(),
            at: seen,
        })
    })
    .collect()
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

/// An id, if it fits into status: the API server would refuse the whole status because of one that does not.
#[must_use]
pub fn id(id: &impl ToString) -> Option<String> {
    Some(id.to_string()).filter(|id| id.chars().count() <= MAX_ID)
}

/// Puts what was seen into status.
pub fn put_seen(status: &mut crds::VpcPostureStatus, seen: &Seen, group_name: Option<&str>) {
    if let Some(owner) = &seen.vpc_owner {
        let mut cidrs: Vec<String> = seen.cidrs.iter().take(64).cloned().collect();
        cidrs.sort_unstable();
        cidrs.dedup();
        let enabled_by_us = status.vpc.as_ref().map(|v| v.enabled_by_us.clone()).unwrap_or_default();
        status.vpc = Some(crds::VpcStatus {
            owner_id: Some(truncate(owner, 12)),
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
                service_name: truncate(e.service_name.as_deref().unwrap_or_default(), 256),
                type_: if e.kind == EndpointType::Gateway {
                    crds::EndpointType::Gateway
                } else {
                    crds::EndpointType::Interface
                },
                endpoint_id: e.id.as_ref().and_then(id),
                state: Some(truncate(&e.state, 32)),
                ownership: ownership(e, &status.endpoints),
                subnet_ids: e.subnets.iter().filter_map(id).take(32).collect(),
                zones: e.zones.iter().filter_map(id).take(32).collect(),
                route_table_ids: e.route_tables.iter().filter_map(id).take(256).collect(),
                private_dns: (e.kind == EndpointType::Interface).then_some(e.private_dns),
                attempts: i64::from(e.attempts),
            })
            .collect();
        endpoints.sort_by(|a, b| a.service.cmp(&b.service));
        status.endpoints = endpoints;
    }
    match (&seen.group, group_name) {
        (Some(group), name) => {
            status.security_group = Some(crds::SecurityGroupStatus {
                id: id(group),
                name: name.map(str::to_owned),
                ownership: Some(crds::Ownership::Managed),
            });
        }
        // One that is missing is remembered, so that its absence is seen as drift and not as a beginning.
        (None, Some(_)) => {}
        (None, None) => status.security_group = None,
    }
}

/// The name by which status calls the instances that have no profile.
const NO_PROFILE: &str = "none";
/// The longest ARN of a profile that status holds, in characters; IAM's own are no longer.
const MAX_PROFILE_ARN: usize = 768;

fn profile(seen: &SeenProfile) -> Option<crds::InstanceProfileStatus> {
    let profile = seen.profile.as_deref().unwrap_or(NO_PROFILE);
    // A cut one would be another's.
    (1..=MAX_PROFILE_ARN).contains(&profile.chars().count()).then(|| crds::InstanceProfileStatus {
        profile: profile.to_owned(),
        instances: i64::try_from(seen.instances).unwrap_or(i64::MAX),
        sample: seen.sample.iter().filter_map(id).collect(),
        verdict: match seen.credentials {
            Credentials::Managed => crds::InstanceProfileVerdict::Managed,
            Credentials::ProfileInsufficient => crds::InstanceProfileVerdict::ProfileInsufficient,
            Credentials::HostManagement => crds::InstanceProfileVerdict::HostManagement,
            Credentials::NoCredentials => crds::InstanceProfileVerdict::NoCredentials,
            Credentials::Unknown => crds::InstanceProfileVerdict::Unknown,
        },
    })
}

/// Puts the profiles of instances into status. Where the instances could not be looked at, what was known stays; `wanted`
/// says whether anybody asks.
pub fn put_profiles(status: &mut crds::VpcPostureStatus, seen: Option<&[SeenProfile]>, wanted: bool) {
    if !wanted {
        status.profiles.clear();
    } else if let Some(seen) = seen {
        status.profiles = seen.iter().filter_map(profile).collect();
        status.profiles.sort_by(|a, b| a.profile.cmp(&b.profile));
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
pub fn update_drift<S: PostureStatus>(
    drifts: &mut Vec<crds::Drift>,
    before: &S,
    differences: &[(Facet, Difference)],
    generation: i64,
    now: Timestamp,
) -> DriftNews {
    let mut news = DriftNews::default();
    for drift in drifts.iter_mut().filter(|d| !d.repaired) {
        if !differences.iter().any(|(_, d)| truncate(&d.field, MAX_FIELD) == drift.field) {
            drift.repaired = true;
            news.repaired.push(drift.clone());
        }
    }
    for (facet, difference) in differences {
        let was_good = before.observed_generation() == generation && is_true(before.conditions(), facet.condition());
        let known = drifts.iter().any(|d| !d.repaired && d.field == truncate(&difference.field, MAX_FIELD));
        if was_good && !known {
            news.seen.push((*facet, difference.clone()));
            drifts.push(crds::Drift {
                field: truncate(&difference.field, MAX_FIELD),
                wanted: truncate(&difference.wanted, 512),
                seen: truncate(&difference.seen, 512),
                since: Time(now),
                repaired: false,
            });
        }
    }
    let surplus = drifts.len().saturating_sub(MAX_DRIFTS);
    drifts.drain(..surplus);
    news
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use ssm_ready_core::{
        evaluate::Action,
        reason::Reason,
        report::{Condition as New, Status},
        write::Write,
    };

    use super::*;
    use crate::{
        documents::{near_document, violations, vpc_status},
        near::near,
    };

    const IDS: &[&str] = &["vpce-0a1b2c3d4e5f60718", "subnet-0a1b2c3d", "111122223333", "euw1-az1", "sg-0a1b2c3d"];
    const NAMES: &[&str] = &["com.amazonaws.eu-west-1.ssm", "endpoints.ssm.policy", "Available", "full access"];

    fn texts(most: usize) -> impl Strategy<Value = Vec<String>> {
        prop_oneof![
            4 => proptest::collection::vec(near(IDS), 0..4),
            1 => Just((0..most).map(|n| format!("id-{n}")).collect()),
        ]
    }

    fn seen_endpoint() -> impl Strategy<Value = SeenEndpoint> {
        let kind = proptest::sample::select(vec![EndpointType::Interface, EndpointType::Gateway, EndpointType::Other]);
        let ownership = proptest::sample::select(vec![Ownership::Managed, Ownership::Existing]);
        let texts = (texts(40), texts(40), texts(300));
        (
            proptest::option::of(near(NAMES)),
            kind,
            proptest::option::of(near(IDS)),
            near(NAMES),
            ownership,
            texts,
            any::<(bool, u32)>(),
        )
            .prop_map(
                |(service_name, kind, id, state, ownership, (subnets, zones, tables), (private_dns, attempts))| {
                    SeenEndpoint {
                        service: ServiceName::Ssm,
                        service_name,
                        kind,
                        id: id.map(Into::into),
                        state,
                        ownership,
                        subnets: subnets.into_iter().map(Into::into).collect(),
                        zones: zones.into_iter().collect(),
                        route_tables: tables.into_iter().map(Into::into).collect(),
                        private_dns,
                        attempts,
                    }
                },
            )
    }

    /// What AWS may have said, one endpoint for each service at most.
    fn seen() -> impl Strategy<Value = Seen> {
        let cidrs = proptest::collection::vec(any::<(std::net::Ipv6Addr, u8)>(), 0..=70)
            .prop_map(|nets| nets.into_iter().map(|(ip, bits)| format!("{ip}/{}", bits % 129)).collect());
        let endpoints = proptest::collection::vec(seen_endpoint(), 0..=ServiceName::ALL.len());
        (proptest::option::of(near(IDS)), cidrs, endpoints, proptest::option::of(near(IDS))).prop_map(
            |(vpc_owner, cidrs, mut endpoints, group)| {
                for (endpoint, service) in endpoints.iter_mut().zip(ServiceName::ALL) {
                    endpoint.service = service;
                }
                Seen {
                    vpc_owner,
                    cidrs,
                    dns: Default::default(),
                    endpoints,
                    group: group.map(Into::into),
                    profiles: None,
                }
            },
        )
    }

    fn schema() -> Value {
        let crd = crds::all().into_iter().find(|crd| crd.spec.names.kind == "VpcPosture").unwrap();
        let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        serde_json::to_value(schema).unwrap()["properties"]["status"].clone()
    }

    thread_local! {
        static SCHEMA: Value = schema();
    }

    fn misfits(status: &crds::VpcPostureStatus) -> Vec<String> {
        SCHEMA.with(|schema| violations(schema, &serde_json::to_value(status).unwrap()))
    }

    /// A status that the API server may have stored.
    fn stored() -> impl Strategy<Value = crds::VpcPostureStatus> {
        near_document(vec![vpc_status()], "", 4).prop_filter_map("an API server would not have it", |(status, _)| {
            let fits = SCHEMA.with(|schema| violations(schema, &status)).is_empty();
            fits.then(|| serde_json::from_value(status).unwrap())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_status_is_remembered_as_far_as_it_goes((status, _) in near_document(vec![vpc_status()], "", 4)) {
            let Ok(status) = serde_json::from_value::<crds::VpcPostureStatus>(status) else { return Ok(()) };
            let memory = memory(&status);
            let known: BTreeSet<_> = status.endpoints.iter().filter_map(|e| ServiceName::parse(&e.service)).collect();
            prop_assert_eq!(memory.endpoints.keys().copied().collect::<BTreeSet<_>>(), known);
            for endpoint in &status.endpoints {
                let Some(remembered) = ServiceName::parse(&endpoint.service).map(|s| &memory.endpoints[&s]) else {
                    continue;
                };
                let twice = status.endpoints.iter().filter(|e| e.service == endpoint.service).count() > 1;
                prop_assert!(twice || remembered.managed == (endpoint.ownership != crds::Ownership::Existing));
                prop_assert!(twice || endpoint.attempts < 1 || remembered.attempts > 0);
            }
            prop_assert_eq!(memory.group.is_some(), status.security_group.is_some_and(|g| g.id.is_some()));
        }

        #[test]
        fn whatever_is_seen_the_api_server_takes_the_status(
            mut status in stored(),
            seen in seen(),
            fields in proptest::collection::vec((near(NAMES), near(NAMES), near(NAMES)), 0..5),
            name in proptest::option::of(Just("ssm-ready-0011223344556677")),
        ) {
            let before = crds::VpcPostureStatus {
                observed_generation: 1,
                conditions: merge_conditions(&[], &[ready(Status::True, ""), New { kind: "EndpointsReady", ..ready(Status::True, "") }], &[], 1, at(1)),
                ..status.clone()
            };
            put_seen(&mut status, &seen, name);
            let differences: Vec<_> = fields
                .iter()
                .map(|(field, wanted, seen)| {
                    let (field, wanted, seen) = (field.clone(), wanted.clone(), seen.clone());
                    (Facet::Endpoints, Difference { field, wanted, seen })
                })
                .collect();
            let _ = update_drift(&mut status.drift, &before, &differences, 1, at(2));
            let group = fields.first().map(|f| f.0.as_str()).unwrap_or_default().into();
            let action = Action {
                facet: Facet::SecurityGroup,
                service: None,
                write: Write::DeleteSecurityGroup { group },
                then_admit: Vec::new(),
                disrupts: None,
            };
            status.plan = plan(&Plan { actions: vec![action; fields.len() * 20] });
            prop_assert_eq!(misfits(&status), [""; 0]);
            // What is the same is not told again.
            let told = update_drift(&mut status.drift.clone(), &before, &differences, 1, at(3));
            prop_assert_eq!(told.seen.len(), 0);
            let _ = memory(&status);
        }
    }

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

    fn difference(field: &str) -> (Facet, Difference) {
        (Facet::Endpoints, Difference { field: field.into(), wanted: "on".into(), seen: "off".into() })
    }

    #[test]
    fn a_difference_is_drift_only_after_it_was_good_and_is_told_once() {
        let mut before = crds::VpcPostureStatus { observed_generation: 1, ..Default::default() };
        let mut status = before.clone();
        assert_eq!(
            update_drift(&mut status.drift, &before, &[difference("x")], 1, at(1)),
            DriftNews::default(),
            "never was good"
        );
        before.conditions =
            merge_conditions(&[], &[New { kind: "EndpointsReady", ..ready(Status::True, "") }], &[], 1, at(1));
        assert_eq!(
            update_drift(&mut status.drift, &before, &[difference("x")], 2, at(1)),
            DriftNews::default(),
            "the spec changed"
        );
        assert_eq!(update_drift(&mut status.drift, &before, &[difference("x")], 1, at(1)).seen.len(), 1);
        assert_eq!(
            update_drift(&mut status.drift, &before, &[difference("x")], 1, at(2)),
            DriftNews::default(),
            "told already"
        );
        assert_eq!(update_drift(&mut status.drift, &before, &[], 1, at(3)).repaired.len(), 1);
        assert!(status.drift[0].repaired);
        for n in 0..20 {
            let _ = update_drift(&mut status.drift, &before, &[difference(&format!("f{n}"))], 1, at(4));
        }
        assert_eq!(status.drift.len(), MAX_DRIFTS);
        assert_eq!(status.drift[9].field, "f19");
    }

    #[test]
    fn profiles_are_shown_while_somebody_asks_for_them() {
        let seen = |profile: Option<String>, credentials| SeenProfile {
            profile,
            instances: 2,
            sample: vec!["i-1".into(), "i-2".into()],
            credentials,
        };
        let arn = "arn:aws:iam::111122223333:instance-profile/web".to_owned();
        let all = [
            seen(None, Credentials::NoCredentials),
            seen(Some(arn.clone()), Credentials::Managed),
            seen(Some(String::new()), Credentials::Managed),
            seen(Some("x".repeat(MAX_PROFILE_ARN + 1)), Credentials::Managed),
        ];
        let mut status = crds::VpcPostureStatus::default();
        put_profiles(&mut status, Some(&all), true);
        let shown: Vec<_> = status.profiles.iter().map(|p| (p.profile.as_str(), p.instances, p.verdict)).collect();
        let expected = [
            (arn.as_str(), 2, crds::InstanceProfileVerdict::Managed),
            ("none", 2, crds::InstanceProfileVerdict::NoCredentials),
        ];
        assert_eq!(shown, expected);
        assert_eq!(misfits(&status), [""; 0]);
        let before = status.clone();
        put_profiles(&mut status, None, true);
        assert_eq!(status, before, "what could not be read stays");
        put_profiles(&mut status, None, false);
        assert!(status.profiles.is_empty());
    }
}
