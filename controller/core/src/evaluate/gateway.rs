//! The S3 gateway endpoint and the route tables that lead to it.

use std::collections::BTreeSet;

use super::{
    Case, Facet, MISSING, Outcome, Ownership, SeenEndpoint, Verdict, absent, join, judge_lost,
    offer::{endpoints_for, find},
    was,
};
use crate::{
    facts::{Endpoint, EndpointState, EndpointType, RouteTable},
    ids::{EndpointId, RouteTableId, SubnetId},
    posture::{Adoption, RouteTableWish, S3Wish, ServiceName, client_token, selects},
    reason::Reason,
    snapshot::FactKey,
    write::{EndpointChange, NewEndpoint, Write},
};

const DISRUPTS: &str = "open connections to S3 from the subnets of the route tables";

pub(super) fn judge(case: Case<'_>, verdict: &mut Verdict) {
    let S3Wish::Gateway(wish) = &case.posture.s3 else { return };
    if !case.posture.declared_services().contains(&ServiceName::S3) {
        return;
    }
    let Some(endpoints) = case.view.endpoints.known() else {
        verdict.unknown(Facet::Routes, &FactKey::Endpoints, &case.view.endpoints);
        return;
    };
    let all = endpoints_for(endpoints, &case.vpc.id, &case.posture.region, ServiceName::S3, EndpointType::Gateway);
    let all: Vec<&Endpoint> = all.into_iter().filter(|e| e.state != EndpointState::Deleted).collect();
    let (ours, foreign): (Vec<&Endpoint>, Vec<&Endpoint>) =
        all.into_iter().partition(|e| case.posture.owner.owns(&e.tags) && !e.requester_managed);
    let kept = ours.iter().copied().min_by_key(|e| (e.state != EndpointState::Available, e.id.clone()));
    let others: Vec<&Endpoint> = ours.into_iter().filter(|e| Some(&e.id) != kept.map(|k| &k.id)).collect();
    let ours = kept;
    let Some(tables) = case.view.route_tables.known() else {
        see(case, ours, BTreeSet::new(), verdict);
        verdict.unknown(Facet::Routes, &FactKey::RouteTables, &case.view.route_tables);
        return;
    };
    let Some(chosen) = chosen(case, wish, tables, ours, verdict) else {
        see(case, ours, BTreeSet::new(), verdict);
        return;
    };
    judge_lost(case, Facet::Routes, ServiceName::S3, &foreign, verdict);
    let Need { need, taken } = need(&chosen, &foreign, &others);
    if let Some(other) =
        foreign.iter().find(|e| !e.requester_managed && !e.state.is_leaving() && e.state == EndpointState::Available)
        && ours.is_none()
        && case.posture.adoption == Adoption::TakeOver
    {
        see(case, Some(other), chosen, verdict);
        verdict.fail(Facet::Routes, Reason::EndpointDrifted, format!("{} of s3 is to be taken over", other.id));
        let tags = case.posture.tags_for(ServiceName::S3.as_str());
        verdict.propose(Facet::Routes, Write::Tag { resources: [other.id.to_string()].into(), tags });
        return;
    }
    if !taken.is_empty() && case.posture.adoption == Adoption::Never {
        see(case, ours, chosen, verdict);
        verdict.fail(
            Facet::Routes,
            Reason::RouteConflict,
            format!(
                "{} lead S3 to gateway endpoints that ssm-ready did not make, and endpoints.adoption is Never: remove these routes, or set UseExisting or TakeOver",
                join(&taken)
            ),
        );
        return;
    }
    let unready = unready(&foreign, &taken);
    if let Some(other) = unready {
        let reason = match other.state {
            EndpointState::Deleting => Reason::EndpointDeleting,
            EndpointState::Pending | EndpointState::PendingAcceptance => Reason::EndpointPending,
            _ => Reason::EndpointDegraded,
        };
        verdict.fail(
            Facet::Routes,
            reason,
            format!(
                "{} lead S3 to {}, which ssm-ready did not make and which is {}",
                join(&other.route_tables & &taken),
                other.id,
                other.state.as_str()
            ),
        );
    }
    match ours {
        Some(endpoint) => existing(case, wish, endpoint, need, chosen, verdict),
        None if need.is_empty() => {
            let by: BTreeSet<&EndpointId> = foreign.iter().map(|e| &e.id).collect();
            verdict.seen.endpoints.push(seen(case, foreign.first().copied(), Ownership::Existing, chosen));
            if taken.is_empty() {
                verdict.pass(Facet::Routes, "no route table has to lead to S3");
            } else if unready.is_none() {
                let message =
                    format!("{} lead S3 to {}, which ssm-ready did not make and which is used", join(&taken), join(by));
                verdict.check(Facet::Routes, Outcome::Pass, Reason::UsingExisting, message);
            }
        }
        None => create(case, need, chosen, verdict),
    }
}

fn seen(
    case: Case<'_>,
    endpoint: Option<&Endpoint>,
    ownership: Ownership,
    chosen: BTreeSet<RouteTableId>,
) -> SeenEndpoint {
    let memory = case.memory.endpoints.get(&ServiceName::S3).cloned().unwrap_or_default();
    let ownership = if endpoint.is_some_and(|e| memory.made(e)) { Ownership::Managed } else { ownership };
    SeenEndpoint {
        service: ServiceName::S3,
        service_name: endpoint.map(|e| e.service_name.clone()),
        kind: EndpointType::Gateway,
        id: endpoint.map(|e| e.id.clone()).or(memory.id),
        state: endpoint.map_or(MISSING, |e| e.state.as_str()).to_owned(),
        ownership,
        subnets: BTreeSet::new(),
        zones: BTreeSet::new(),
        route_tables: if chosen.is_empty() { memory.route_tables } else { chosen },
        private_dns: false,
        attempts: memory.attempts,
    }
}

fn see(case: Case<'_>, endpoint: Option<&Endpoint>, chosen: BTreeSet<RouteTableId>, verdict: &mut Verdict) {
    let ownership = match endpoint {
        Some(e) if case.posture.owner.owns(&e.tags) => Ownership::Managed,
        Some(_) => Ownership::Existing,
        None => case.memory.endpoints.get(&ServiceName::S3).map_or(Ownership::Managed, was),
    };
    verdict.seen.endpoints.push(seen(case, endpoint, ownership, chosen));
}

/// The route table of a subnet: its own, else the VPC's main one.
fn table_of<'a>(tables: &[&'a RouteTable], subnet: &SubnetId) -> Option<&'a RouteTable> {
    tables.iter().find(|t| t.subnets.contains(subnet)).or_else(|| tables.iter().find(|t| t.main)).copied()
}

/// The route tables that should lead to S3, those chosen before included; none (and a check) where that cannot be said.
fn chosen(
    case: Case<'_>,
    wish: &RouteTableWish,
    tables: &[RouteTable],
    ours: Option<&Endpoint>,
    verdict: &mut Verdict,
) -> Option<BTreeSet<RouteTableId>> {
    let tables: Vec<&RouteTable> = tables.iter().filter(|t| t.vpc == case.vpc.id).collect();
    let exists = |id: &&RouteTableId| tables.iter().any(|t| t.id == **id);
    let memory = case.memory.endpoints.get(&ServiceName::S3);
    let kept: BTreeSet<RouteTableId> = match (memory.map(|m| &m.route_tables), ours) {
        (Some(before), _) if !before.is_empty() => before.iter().filter(exists).cloned().collect(),
        (_, Some(endpoint)) => endpoint.route_tables.iter().filter(exists).cloned().collect(),
        _ => BTreeSet::new(),
    };
    let ids = |pick: &dyn Fn(&RouteTable) -> bool| -> BTreeSet<RouteTableId> {
        tables.iter().filter(|t| pick(t)).map(|t| t.id.clone()).collect()
    };
    let wanted = match wish {
        RouteTableWish::Ids(named) => {
            let absent: Vec<&RouteTableId> = named.iter().filter(|id| !exists(id)).collect();
            if !absent.is_empty() {
                verdict.fail(
                    Facet::Routes,
                    Reason::RouteTableNotFound,
                    format!("{} has no {}: correct endpoints.s3.routeTables.ids", case.vpc.id, join(absent)),
                );
                return None;
            }
            return Some(named.clone());
        }
        RouteTableWish::All => ids(&|_| true),
        RouteTableWish::Selector(selector) => ids(&|t| selects(selector, &t.tags)),
        RouteTableWish::OfInstances => {
            let of_subnets = |subnets: &mut dyn Iterator<Item = &SubnetId>| -> BTreeSet<RouteTableId> {
                subnets.filter_map(|s| table_of(&tables, s)).map(|t| t.id.clone()).collect()
            };
            match case.view.instances_of(&case.vpc.id) {
                Some(instances) if !instances.is_empty() => of_subnets(&mut instances.iter().map(|i| &i.subnet)),
                Some(_) => {
                    let subnets = endpoint_subnets(case, verdict);
                    if subnets.is_empty() && kept.is_empty() {
                        no_subnets(case, verdict);
                        return None;
                    }
                    of_subnets(&mut subnets.iter())
                }
                // What was chosen before stays right, but whether it is enough cannot be said.
                None => {
                    verdict.unknown(Facet::Routes, &FactKey::Instances, &case.view.instances);
                    if kept.is_empty() {
                        return None;
                    }
                    kept.clone()
                }
            }
        }
    };
    Some(&wanted | &kept)
}

/// The subnets of the interface endpoints: chosen for ours, as they are for others.
fn endpoint_subnets(case: Case<'_>, verdict: &Verdict) -> BTreeSet<SubnetId> {
    let listed = case.view.endpoints.known().map_or(&[][..], Vec::as_slice);
    let of = |seen: &SeenEndpoint| {
        let there = || listed.iter().find(|e| Some(&e.id) == seen.id.as_ref()).map(|e| e.subnets.clone());
        if seen.subnets.is_empty() { there().unwrap_or_default() } else { seen.subnets.clone() }
    };
    verdict.seen.endpoints.iter().flat_map(of).collect()
}

/// No subnet is chosen for any endpoint, so which tables matter cannot be said yet.
fn no_subnets(case: Case<'_>, verdict: &mut Verdict) {
    if case.view.subnets.known().is_none() {
        verdict.unknown(Facet::Routes, &FactKey::Subnets, &case.view.subnets);
    } else if case.view.services.known().is_none() {
        verdict.unknown(Facet::Routes, &FactKey::Services, &case.view.services);
    } else {
        let message = "the route tables are those of the endpoints' subnets, and none are chosen yet";
        verdict.fail(Facet::Routes, Reason::PrerequisiteMissing, message);
    }
}

struct Need {
    /// Tables that ours has to serve.
    need: BTreeSet<RouteTableId>,
    /// Tables that lead to somebody else's endpoint.
    taken: BTreeSet<RouteTableId>,
}

/// A route table leads S3 to one endpoint only: what another one serves cannot be asked of ours.
fn need(chosen: &BTreeSet<RouteTableId>, foreign: &[&Endpoint], others_of_ours: &[&Endpoint]) -> Need {
    let served = |endpoints: &[&Endpoint]| -> BTreeSet<RouteTableId> {
        endpoints.iter().filter(|e| !e.state.is_terminal()).flat_map(|e| e.route_tables.iter().cloned()).collect()
    };
    let (theirs, others) = (served(foreign), served(others_of_ours));
    Need { need: &(chosen - &theirs) - &others, taken: chosen & &theirs }
}

/// The first endpoint of somebody else's that some of the tables lead to and that is not in service.
fn unready<'a>(foreign: &[&'a Endpoint], taken: &BTreeSet<RouteTableId>) -> Option<&'a Endpoint> {
    foreign
        .iter()
        .find(|e| e.state != EndpointState::Available && !e.state.is_terminal() && !e.route_tables.is_disjoint(taken))
        .copied()
}

fn existing(
    case: Case<'_>,
    wish: &RouteTableWish,
    endpoint: &Endpoint,
    need: BTreeSet<RouteTableId>,
    chosen: BTreeSet<RouteTableId>,
    verdict: &mut Verdict,
) {
    let id = &endpoint.id;
    see(case, Some(endpoint), chosen, verdict);
    match &endpoint.state {
        EndpointState::Available => {}
        EndpointState::Pending | EndpointState::PendingAcceptance => {
            verdict.fail(Facet::Routes, Reason::EndpointPending, format!("{id} of s3 is being made"));
            return;
        }
        EndpointState::Deleting | EndpointState::Deleted => {
            verdict
                .fail(
                    Facet::Routes,
                    Reason::EndpointDeleting,
                    format!("{id} of s3 is being deleted; its successor is made when it is gone"),
                )
                .differs("endpoints.s3", id.as_str(), "missing");
            return;
        }
        state if state.is_terminal() => {
            verdict
                .fail(
                    Facet::Routes,
                    Reason::EndpointFailed,
                    format!("{id} of s3 is {}; it is to be deleted and made anew", state.as_str()),
                )
                .differs("endpoints.s3.state", "Available", state.as_str());
            verdict.propose(Facet::Routes, Write::DeleteEndpoints { endpoints: [id.clone()].into() });
            return;
        }
        state => {
            let outcome = if matches!(state, EndpointState::Unknown(_)) { Outcome::Unknown } else { Outcome::Fail };
            verdict.check(
                Facet::Routes,
                outcome,
                Reason::EndpointDegraded,
                format!("{id} of s3 is {:?}, which is not known to be in service", state.as_str()),
            );
            return;
        }
    }
    let missing = &need - &endpoint.route_tables;
    // A table once added stays, but for those named one by one: the list is then the whole of it.
    let surplus = match wish {
        RouteTableWish::Ids(_) => &endpoint.route_tables - &need,
        _ => BTreeSet::new(),
    };
    if missing.is_empty() && surplus.is_empty() {
        verdict.pass(Facet::Routes, format!("{} lead S3 to {id}", join(&endpoint.route_tables)));
        return;
    }
    verdict
        .fail(
            Facet::Routes,
            Reason::RoutesMissing,
            if missing.is_empty() {
                format!("{} should not lead S3 to {id}; the route is to be removed", join(&surplus))
            } else {
                format!("{} do not lead S3 to {id}; the routes are to be added", join(&missing))
            },
        )
        .differs("endpoints.s3.routeTables", join(&need), join(&endpoint.route_tables));
    let change =
        EndpointChange { add_route_tables: missing, remove_route_tables: surplus, ..EndpointChange::default() };
    verdict.propose(Facet::Routes, Write::ModifyEndpoint { endpoint: id.clone(), change: Box::new(change) }).disrupts =
        Some(DISRUPTS);
}

fn create(case: Case<'_>, need: BTreeSet<RouteTableId>, chosen: BTreeSet<RouteTableId>, verdict: &mut Verdict) {
    see(case, None, chosen, verdict);
    let memory = case.memory.endpoints.get(&ServiceName::S3).cloned().unwrap_or_default();
    let Some(services) = case.view.services.known() else {
        verdict.unknown(Facet::Routes, &FactKey::Services, &case.view.services);
        return;
    };
    let Some(offer) = find(services, &case.posture.region, ServiceName::S3, EndpointType::Gateway) else {
        verdict.fail(
            Facet::Routes,
            Reason::ServiceNotOffered,
            format!("{} does not offer s3 as a gateway endpoint: set endpoints.s3.type", case.posture.region),
        );
        return;
    };
    if let Some(seen) = verdict.seen.endpoints.last_mut() {
        seen.service_name = Some(offer.name.clone());
        seen.state = absent(case, Some(offer)).to_owned();
    }
    if case.view.overlay.has_endpoint(&case.vpc.id, &offer.name, &case.posture.owner.tag()) {
        verdict.fail(Facet::Routes, Reason::EndpointPending, "the endpoint for s3 has been made and is not listed yet");
        return;
    }
    let check = verdict.fail(
        Facet::Routes,
        Reason::EndpointMissing,
        format!("there is no gateway endpoint for s3; to be made for {}", join(&need)),
    );
    if let (Some(id), true) = (&memory.id, memory.managed) {
        check.differs("endpoints.s3", id.as_str(), "missing");
    }
    let last = memory.id.as_ref().map(EndpointId::as_str);
    let new = NewEndpoint {
        vpc: case.vpc.id.clone(),
        service_name: offer.name.clone(),
        kind: EndpointType::Gateway,
        subnets: BTreeSet::new(),
        groups: BTreeSet::new(),
        route_tables: need,
        private_dns: false,
        ip_address_type: None,
        inbound_resolver_only: None,
        tags: case.posture.tags_for(ServiceName::S3.as_str()),
        client_token: client_token(&case.posture.owner, &case.vpc.id, ServiceName::S3, last, memory.attempts),
    };
    let action = verdict.propose(Facet::Routes, Write::CreateEndpoint(Box::new(new)));
    action.service = Some(ServiceName::S3);
    action.disrupts = Some(DISRUPTS);
}
