//! The interface endpoints: there, ours or good, in service, and as declared.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Case, EndpointMemory, Facet, Outcome, Ownership, SeenEndpoint, Verdict, absent,
    dns::DnsState,
    group::{Admission, GroupState, admission},
    join, judge_lost,
    offer::{endpoints_for, find, is_named},
    subnets::{Choice, choose},
    was,
};
use crate::{
    facts::{Endpoint, EndpointState, EndpointType, IpAddressType, ManagedNode, Service, Subnet},
    ids::SubnetId,
    posture::{
        Adoption, CLUSTER_TAG, DeletionPolicy, DnsWish, Ec2Messages, OWNER_TAG, S3Wish, ServiceName, SubnetWish,
        VpcPosture, client_token,
    },
    reason::Reason,
    snapshot::FactKey,
    write::{EndpointChange, FULL_ACCESS_POLICY, NewEndpoint, Write},
};

/// The first agent that needs no ec2messages once ssmmessages is connected (amazon-ssm-agent release notes).
const NO_EC2MESSAGES_SINCE: [u32; 3] = [3, 3, 40];

const OWNERSHIP_TAGS: [&str; 2] = [CLUSTER_TAG, OWNER_TAG];

pub(super) fn judge(case: Case<'_>, dns: DnsState, group: &GroupState, verdict: &mut Verdict) {
    let Some(endpoints) = case.view.endpoints.known() else {
        verdict.unknown(Facet::Endpoints, &FactKey::Endpoints, &case.view.endpoints);
        return;
    };
    for service in wanted(case, endpoints, verdict) {
        One { case, service, dns, group, endpoints }.judge(verdict);
    }
    undeclared(case, endpoints, verdict);
    policies_and_tags(case, endpoints, verdict);
    if !verdict.checks.iter().any(|c| c.facet == Facet::Endpoints && c.outcome != Outcome::Pass) {
        verdict.checks.retain(|c| c.facet != Facet::Endpoints || c.reason == Reason::UsingExisting);
        let all = join(verdict.seen.endpoints.iter().map(|e| e.service));
        verdict.pass(Facet::Endpoints, format!("available with private DNS: {all}"));
    }
}

/// The services that have an interface endpoint, in the order in which they are made.
fn wanted(case: Case<'_>, endpoints: &[Endpoint], verdict: &mut Verdict) -> Vec<ServiceName> {
    let mut services = case.posture.declared_services();
    if case.posture.s3 != S3Wish::Interface {
        services.remove(&ServiceName::S3);
    }
    if case.posture.ec2messages == Ec2Messages::Auto && !services.contains(&ServiceName::Ec2messages) {
        let mut listed = endpoints_for(
            endpoints,
            &case.vpc.id,
            &case.posture.region,
            ServiceName::Ec2messages,
            EndpointType::Interface,
        );
        listed.retain(|e| !e.state.is_leaving());
        let there = listed.iter().any(|e| case.posture.owner.owns(&e.tags) && !e.requester_managed);
        let offered = case.view.services.known().is_some_and(|offer| {
            find(offer, &case.posture.region, ServiceName::Ec2messages, EndpointType::Interface).is_some()
        });
        if there || (offered && old_agent(case).is_some()) {
            services.insert(ServiceName::Ec2messages);
        }
        if let (true, true, Some(agent)) = (listed.is_empty(), offered, old_agent(case)) {
            verdict.warn(
                Facet::Endpoints,
                Reason::EndpointMissing,
                format!(
                    "{} runs agent {}, older than 3.3.40.0, and so needs ec2messages",
                    agent.id,
                    agent.agent_version.as_deref().unwrap_or("?")
                ),
            );
        }
    }
    services.into_iter().collect()
}

/// A managed node of the VPC whose agent still needs ec2messages.
fn old_agent(case: Case<'_>) -> Option<&ManagedNode> {
    let instances: BTreeSet<_> = case.view.instances_of(&case.vpc.id)?.into_iter().map(|i| &i.id).collect();
    case.view
        .managed_nodes
        .known()?
        .iter()
        .find(|node| instances.contains(&node.id) && node.agent_version.as_deref().is_some_and(needs_ec2messages))
}

/// Whether a version is older for sure: numbers that are missing count as 0, and from a part that is no number on
/// nothing is known.
fn needs_ec2messages(version: &str) -> bool {
    if version.is_empty() {
        return false;
    }
    let mut parts = version.split('.');
    for since in NO_EC2MESSAGES_SINCE {
        let Ok(number) = parts.next().map_or(Ok(0), str::parse::<u32>) else { return false };
        match number.cmp(&since) {
            Ordering::Equal => {}
            order => return order == Ordering::Less,
        }
    }
    false
}

/// One service of one VPC.
#[derive(Debug, Clone, Copy)]
struct One<'a> {
    case: Case<'a>,
    service: ServiceName,
    dns: DnsState,
    group: &'a GroupState,
    endpoints: &'a [Endpoint],
}

impl<'a> One<'a> {
    fn posture(&self) -> &'a VpcPosture {
        self.case.posture
    }

    fn memory(&self) -> EndpointMemory {
        self.case.memory.endpoints.get(&self.service).cloned().unwrap_or_default()
    }

    fn judge(&self, verdict: &mut Verdict) {
        let all = endpoints_for(
            self.endpoints,
            &self.case.vpc.id,
            &self.posture().region,
            self.service,
            EndpointType::Interface,
        );
        let all: Vec<&Endpoint> = all.into_iter().filter(|e| e.state != EndpointState::Deleted).collect();
        let (mut ours, foreign): (Vec<&Endpoint>, Vec<&Endpoint>) =
            all.into_iter().partition(|e| !e.requester_managed && self.posture().owner.owns(&e.tags));
        let last = self.memory().id;
        // In service first, then the one that holds the private name, which no other can have beside it, then the one that
        // status remembers: the same facts give the same choice.
        ours.sort_by_key(|e| {
            (
                e.state.is_leaving(),
                e.state.is_terminal(),
                e.state != EndpointState::Available,
                !e.private_dns,
                Some(&e.id) != last.as_ref(),
                e.id.clone(),
            )
        });
        match ours.split_first() {
            Some((first, _)) if !first.state.is_leaving() => {
                self.managed(first, verdict);
                self.surplus(first, &ours[1..], verdict);
            }
            Some((leaving, _)) => {
                self.see(verdict, Some(leaving), Ownership::Managed, self.memory().subnets);
                self.missing_drift(verdict.fail(
                    Facet::Endpoints,
                    Reason::EndpointDeleting,
                    format!(
                        "{} of {} is being deleted; its successor is made when it is gone",
                        leaving.id, self.service
                    ),
                ));
            }
            None => self.not_ours(&foreign, verdict),
        }
    }

    fn missing_drift(&self, check: &mut super::Check) {
        let memory = self.memory();
        if let (Some(id), true) = (memory.id, memory.managed) {
            check.differs(format!("endpoints.{}", self.service), id.as_str(), "missing");
        }
    }

    /// Two of ours for one service: only one can hold the private name; the rest cost money and serve nobody.
    fn surplus(&self, kept: &Endpoint, others: &[&Endpoint], verdict: &mut Verdict) {
        let surplus: BTreeSet<_> = others.iter().filter(|e| !e.state.is_leaving()).map(|e| e.id.clone()).collect();
        if kept.state == EndpointState::Available && kept.private_dns && !surplus.is_empty() {
            verdict.warn(
                Facet::Endpoints,
                Reason::EndpointDrifted,
                format!(
                    "{} of {} are superfluous beside {} and are to be deleted",
                    join(&surplus),
                    self.service,
                    kept.id
                ),
            );
            verdict.propose(Facet::Endpoints, Write::DeleteEndpoints { endpoints: surplus });
        }
    }

    fn see(
        &self,
        verdict: &mut Verdict,
        endpoint: Option<&Endpoint>,
        ownership: Ownership,
        chosen: BTreeSet<SubnetId>,
    ) {
        let memory = self.memory();
        let ownership = match endpoint {
            None => was(&memory),
            Some(endpoint) if memory.made(endpoint) => Ownership::Managed,
            Some(_) => ownership,
        };
        let zones = endpoint.map(|e| self.zones_of(e)).unwrap_or_default();
        verdict.seen.endpoints.push(SeenEndpoint {
            service: self.service,
            service_name: endpoint.map(|e| e.service_name.clone()).or_else(|| self.offer().map(|o| o.name.clone())),
            kind: EndpointType::Interface,
            id: endpoint.map(|e| e.id.clone()).or(memory.id),
            state: endpoint.map_or_else(|| absent(self.case, self.offer()), |e| e.state.as_str()).to_owned(),
            ownership,
            subnets: chosen,
            zones,
            route_tables: BTreeSet::new(),
            private_dns: endpoint.is_some_and(|e| e.private_dns),
            attempts: memory.attempts,
        });
    }

    fn zones_of(&self, endpoint: &Endpoint) -> BTreeSet<String> {
        let subnets = self.case.view.subnets.known().map_or(&[][..], Vec::as_slice);
        let id = |s: &Subnet| if s.zone_id.is_empty() { s.zone.clone() } else { s.zone_id.clone() };
        subnets.iter().filter(|s| endpoint.subnets.contains(&s.id)).map(id).collect()
    }

    fn offer(&self) -> Option<&'a Service> {
        find(self.case.view.services.known()?, &self.posture().region, self.service, EndpointType::Interface)
    }

    fn subnets(&self, attached: Option<&Endpoint>) -> Option<Result<BTreeSet<SubnetId>, super::subnets::NoSubnets>> {
        let all = self.case.view.subnets.known()?;
        let none = BTreeSet::new();
        let attached = attached.map_or(&none, |e| &e.subnets);
        let memory = self.memory();
        // Where status was lost, what the endpoint has was our choice.
        let chosen = if memory.subnets.is_empty() { attached } else { &memory.subnets };
        let choice = Choice {
            wish: self.posture().subnets_of(self.service),
            ip: self.posture().ip_address_type_of(self.service),
            vpc: &self.case.vpc.id,
            zones: self.offer().map(|o| &o.zones).filter(|z| !z.is_empty()),
            chosen,
            attached,
        };
        Some(choose(choice, all))
    }

    /// An endpoint of ours, not leaving.
    fn managed(&self, endpoint: &Endpoint, verdict: &mut Verdict) {
        let service = self.service;
        let id = &endpoint.id;
        let failure = endpoint.failure.as_deref().map(|f| format!(": {f}")).unwrap_or_default();
        let ip = self.posture().ip_address_type_of(service);
        let changes_family = endpoint.ip_address_type.is_some_and(|seen| seen != ip);
        let chosen = match self.subnets(Some(endpoint)) {
            _ if changes_family && self.offer().is_some_and(|offer| !supports(offer, ip)) => {
                self.family_not_offered(ip, verdict);
                None
            }
            // Where the service's zones are not known, only what was chosen before is known to be right.
            Some(Ok(chosen))
                if self.offer().is_none() && !chosen.is_subset(&(&self.memory().subnets | &endpoint.subnets)) =>
            {
                if self.case.view.services.known().is_none() {
                    verdict.unknown(Facet::Endpoints, &FactKey::Services, &self.case.view.services);
                }
                None
            }
            Some(Ok(chosen)) => Some(chosen),
            Some(Err(none))
                if matches!(self.posture().subnets_of(service), SubnetWish::Ids(_))
                    || endpoint.subnets.is_empty()
                    || changes_family =>
            {
                verdict.fail(Facet::Endpoints, none.reason, format!("{service}: {}", none.message));
                None
            }
            Some(Err(none)) => {
                verdict.warn(
                    Facet::Endpoints,
                    none.reason,
                    format!("{service} stays in {}: {}", join(&endpoint.subnets), none.message),
                );
                None
            }
            None => {
                verdict.unknown(Facet::Endpoints, &FactKey::Subnets, &self.case.view.subnets);
                None
            }
        };
        self.see(verdict, Some(endpoint), Ownership::Managed, chosen.clone().unwrap_or_else(|| self.memory().subnets));
        match &endpoint.state {
            EndpointState::Available => {}
            state if state.is_terminal() => {
                verdict
                    .fail(
                        Facet::Endpoints,
                        Reason::EndpointFailed,
                        format!("{id} of {service} is {}{failure}; it is to be deleted and made anew", state.as_str()),
                    )
                    .differs(format!("endpoints.{service}.state"), "Available", state.as_str());
                verdict.propose(Facet::Endpoints, Write::DeleteEndpoints { endpoints: [id.clone()].into() });
                return;
            }
            EndpointState::Pending => {
                verdict.fail(Facet::Endpoints, Reason::EndpointPending, format!("{id} of {service} is being made"));
                return;
            }
            EndpointState::PendingAcceptance => {
                verdict.fail(
                    Facet::Endpoints,
                    Reason::EndpointPending,
                    format!("{id} of {service} waits for the owner of the service to accept it"),
                );
                return;
            }
            state => {
                let outcome = if matches!(state, EndpointState::Unknown(_)) { Outcome::Unknown } else { Outcome::Fail };
                verdict.check(
                    Facet::Endpoints,
                    outcome,
                    Reason::EndpointDegraded,
                    format!("{id} of {service} is {:?}, which is not known to be in service{failure}", state.as_str()),
                );
                return;
            }
        }
        self.fields(endpoint, chosen, verdict);
    }

    /// The managed fields of an endpoint in service.
    fn fields(&self, endpoint: &Endpoint, chosen: Option<BTreeSet<SubnetId>>, verdict: &mut Verdict) {
        let (service, id) = (self.service, &endpoint.id);
        let mut change = EndpointChange::default();
        let mut disrupts = None;
        let subnets_fit = chosen.is_some();
        if let Some(chosen) = chosen {
            change.add_subnets = &chosen - &endpoint.subnets;
            change.remove_subnets = &endpoint.subnets - &chosen;
            if !change.add_subnets.is_empty() || !change.remove_subnets.is_empty() {
                verdict
                    .fail(
                        Facet::Endpoints,
                        Reason::EndpointDrifted,
                        format!(
                            "{id} of {service} is in {} and should be in {}",
                            join(&endpoint.subnets),
                            join(&chosen)
                        ),
                    )
                    .differs(format!("endpoints.{service}.subnets"), join(&chosen), join(&endpoint.subnets));
            }
            if !change.remove_subnets.is_empty() {
                disrupts = Some("connections through the subnets that are taken away");
            }
        }
        if self.group.admits && endpoint.groups != self.group.ids {
            change.add_groups = &self.group.ids - &endpoint.groups;
            change.remove_groups = &endpoint.groups - &self.group.ids;
            verdict
                .fail(
                    Facet::Endpoints,
                    Reason::EndpointDrifted,
                    format!(
                        "{id} of {service} has the security groups {} and should have {}",
                        join(&endpoint.groups),
                        join(&self.group.ids)
                    ),
                )
                .differs(format!("endpoints.{service}.securityGroups"), join(&self.group.ids), join(&endpoint.groups));
        }
        let ip = self.posture().ip_address_type_of(service);
        if let Some(seen) = endpoint.ip_address_type
            && seen != ip
            && subnets_fit
            && self.case.view.services.known().is_none()
        {
            verdict.unknown(Facet::Endpoints, &FactKey::Services, &self.case.view.services);
        } else if let Some(seen) = endpoint.ip_address_type
            && seen != ip
            && subnets_fit
        {
            change.ip_address_type = Some(ip);
            verdict
                .fail(
                    Facet::Endpoints,
                    Reason::EndpointDrifted,
                    format!("{id} of {service} has the address type {} and should have {}", seen.as_str(), ip.as_str()),
                )
                .differs(format!("endpoints.{service}.ipAddressType"), ip.as_str(), seen.as_str());
        }
        if !endpoint.private_dns {
            self.private_dns_off(endpoint, &mut change, &mut disrupts, verdict);
        }
        if !change.is_empty() {
            let write = Write::ModifyEndpoint { endpoint: id.clone(), change: Box::new(change) };
            verdict.propose(Facet::Endpoints, write).disrupts = disrupts;
        } else if endpoint.private_dns {
            verdict.pass(Facet::Endpoints, format!("{id} of {service} is available with private DNS"));
        }
    }

    /// The reason of what waits for something else: that condition says whom it waits for, unless nobody will change it.
    fn blocked_reason(&self, blocked: bool, otherwise: Reason) -> Reason {
        match (blocked, self.dns == DnsState::Off && self.posture().dns == DnsWish::Report) {
            (false, _) => otherwise,
            (true, true) => Reason::DnsAttributesOff,
            (true, false) => Reason::PrerequisiteMissing,
        }
    }

    /// Private DNS captures the whole VPC, so it is enabled only where the groups that the endpoint has now, as read back,
    /// admit everybody.
    fn private_dns_off(
        &self,
        endpoint: &Endpoint,
        change: &mut EndpointChange,
        disrupts: &mut Option<&'static str>,
        verdict: &mut Verdict,
    ) {
        let waits_for = if self.dns == DnsState::Off {
            Some("the VPC's DNS attributes are off")
        } else if !self.group.admits || endpoint.groups != self.group.ids {
            Some("its security groups do not yet admit all of the VPC")
        } else {
            None
        };
        if let (None, Some(holder)) = (waits_for, self.holder_beside(endpoint)) {
            let (reason, what) = match &holder.state {
                state if state.is_leaving() => (Reason::EndpointDeleting, "wait until it is gone"),
                _ if self.posture().owner.owns(&holder.tags) => (Reason::EndpointPending, "wait"),
                _ => (Reason::EndpointConflict, "delete it, or switch its private DNS off"),
            };
            let message = format!(
                "private DNS of {} ({}) is off and stays off while {} holds the name: {what}",
                endpoint.id, self.service, holder.id
            );
            verdict.fail(Facet::Endpoints, reason, message).differs(
                format!("endpoints.{}.privateDns", self.service),
                "on",
                "off",
            );
            return;
        }
        let reason = self.blocked_reason(waits_for.is_some(), Reason::PrivateDnsOff);
        let message = match waits_for {
            Some(why) => format!("private DNS of {} ({}) is off and stays off while {why}", endpoint.id, self.service),
            None => format!("private DNS of {} ({}) is off and is to be switched on", endpoint.id, self.service),
        };
        verdict.fail(Facet::Endpoints, reason, message).differs(
            format!("endpoints.{}.privateDns", self.service),
            "on",
            "off",
        );
        if waits_for.is_none() {
            change.private_dns = Some(true);
            if self.case.view.any_online(&self.case.vpc.id) != Some(false) {
                *disrupts = Some("all instances of the VPC go over to the endpoint");
            }
        }
    }

    /// Another endpoint of the VPC that holds the service's private name: two cannot.
    fn holder_beside(&self, endpoint: &Endpoint) -> Option<&'a Endpoint> {
        endpoints_for(self.endpoints, &self.case.vpc.id, &self.posture().region, self.service, EndpointType::Interface)
            .into_iter()
            .find(|e| {
                e.id != endpoint.id && e.private_dns && e.state != EndpointState::Deleted && !e.state.is_terminal()
            })
    }

    fn family_not_offered(&self, ip: IpAddressType, verdict: &mut Verdict) {
        verdict.fail(
            Facet::Endpoints,
            Reason::ServiceNotOffered,
            format!("{} does not support ipAddressType {}: choose ipv4", self.service, ip.as_str()),
        );
    }

    /// No endpoint of ours is listed.
    fn not_ours(&self, foreign: &[&Endpoint], verdict: &mut Verdict) {
        judge_lost(self.case, Facet::Endpoints, self.service, foreign, verdict);
        // Only an endpoint with private DNS answers for the service's name; others of theirs do not matter to us.
        let holder = foreign
            .iter()
            .filter(|e| e.private_dns && !e.state.is_terminal())
            .min_by_key(|e| (e.state != EndpointState::Available, e.id.clone()));
        match (holder, self.posture().adoption) {
            (None, Adoption::TakeOver) if self.take_over_other(foreign, verdict) => {}
            (None, _) => self.create(verdict),
            (Some(holder), Adoption::TakeOver) if !holder.requester_managed && !holder.state.is_leaving() => {
                self.take_over(holder, verdict);
            }
            (Some(holder), Adoption::Never) if !holder.state.is_leaving() => self.conflict(
                holder,
                "and endpoints.adoption is Never: delete it, or set endpoints.adoption: UseExisting or TakeOver",
                verdict,
            ),
            (Some(holder), _) => self.existing(holder, verdict),
        }
    }

    /// With TakeOver, an endpoint of ours that lost its tags before its private DNS was on is taken back.
    fn take_over_other(&self, foreign: &[&Endpoint], verdict: &mut Verdict) -> bool {
        let memory = self.memory();
        let lost = foreign
            .iter()
            .find(|e| memory.made(e) && !e.requester_managed && !e.state.is_leaving() && !e.state.is_terminal());
        if let Some(endpoint) = lost {
            self.take_over(endpoint, verdict);
        }
        lost.is_some()
    }

    fn take_over(&self, endpoint: &Endpoint, verdict: &mut Verdict) {
        self.see(verdict, Some(endpoint), Ownership::Existing, BTreeSet::new());
        verdict.fail(
            Facet::Endpoints,
            Reason::EndpointDrifted,
            format!("{} of {} is to be taken over", endpoint.id, self.service),
        );
        let tags = self.posture().tags_for(self.service.as_str());
        verdict.propose(Facet::Endpoints, Write::Tag { resources: [endpoint.id.to_string()].into(), tags });
    }

    fn conflict(&self, holder: &Endpoint, why: &str, verdict: &mut Verdict) {
        self.see(verdict, Some(holder), Ownership::Existing, BTreeSet::new());
        verdict.fail(
            Facet::Endpoints,
            Reason::EndpointConflict,
            format!(
                "{}, which ssm-ready did not make, holds the private DNS name of {} in {} {why}",
                holder.id, self.service, holder.vpc
            ),
        );
    }

    /// Somebody else's endpoint with private DNS: used where it is good, a conflict where not, never changed.
    fn existing(&self, holder: &Endpoint, verdict: &mut Verdict) {
        let (id, service) = (&holder.id, self.service);
        match &holder.state {
            EndpointState::Available => {}
            EndpointState::Pending | EndpointState::PendingAcceptance => {
                self.see(verdict, Some(holder), Ownership::Existing, BTreeSet::new());
                verdict.fail(
                    Facet::Endpoints,
                    Reason::EndpointPending,
                    format!("{id} of {service}, made by somebody else, is pending"),
                );
                return;
            }
            EndpointState::Deleting => {
                self.see(verdict, Some(holder), Ownership::Existing, BTreeSet::new());
                verdict.fail(
                    Facet::Endpoints,
                    Reason::EndpointDeleting,
                    format!("{id} of {service}, made by somebody else, is being deleted; ours is made when it is gone"),
                );
                return;
            }
            state => {
                let why =
                    format!("and is {:?}: repair or delete it, or set endpoints.adoption: TakeOver", state.as_str());
                return self.conflict(holder, &why, verdict);
            }
        }
        let Some(groups) = self.case.view.security_groups.known() else {
            self.see(verdict, Some(holder), Ownership::Existing, BTreeSet::new());
            verdict.unknown(Facet::Endpoints, &FactKey::SecurityGroups, &self.case.view.security_groups);
            return;
        };
        match admission(self.case, &holder.groups, groups) {
            Admission::All if !holder.subnets.is_empty() => {
                self.see(verdict, Some(holder), Ownership::Existing, BTreeSet::new());
                verdict.check(
                    Facet::Endpoints,
                    Outcome::Pass,
                    Reason::UsingExisting,
                    format!("{id} of {service}, which ssm-ready did not make, is good and is used"),
                );
            }
            Admission::All => self.conflict(
                holder,
                "and is in no subnet: repair or delete it, or set endpoints.adoption: TakeOver",
                verdict,
            ),
            Admission::Lacks(missing) => {
                let why = format!(
                    "but its security groups ({}) do not admit TCP 443 from {missing}: add the rules or delete it, or set endpoints.adoption: TakeOver",
                    join(&holder.groups)
                );
                self.conflict(holder, &why, verdict);
            }
            Admission::Unknown(missing) => {
                self.see(verdict, Some(holder), Ownership::Existing, BTreeSet::new());
                verdict.check(
                    Facet::Endpoints,
                    Outcome::Unknown,
                    Reason::FactUnreadable,
                    format!("the security groups of {id} ({service}) admit prefix lists, which may or may not cover {missing}"),
                );
            }
        }
    }

    /// There is none, and one is to be made once everything that it rests on holds.
    fn create(&self, verdict: &mut Verdict) {
        let (service, memory) = (self.service, self.memory());
        let Some(services) = self.case.view.services.known() else {
            self.see(verdict, None, Ownership::Managed, memory.subnets);
            verdict.unknown(Facet::Endpoints, &FactKey::Services, &self.case.view.services);
            return;
        };
        let Some(offer) = find(services, &self.posture().region, service, EndpointType::Interface) else {
            self.see(verdict, None, Ownership::Managed, memory.subnets);
            verdict.fail(
                Facet::Endpoints,
                Reason::ServiceNotOffered,
                format!(
                    "{} does not offer {service} as an interface endpoint: {}",
                    self.posture().region,
                    if service == ServiceName::Ec2messages {
                        "set endpoints.ec2messages: Auto"
                    } else {
                        "remove what asks for it"
                    }
                ),
            );
            return;
        };
        let ip = self.posture().ip_address_type_of(service);
        if !supports(offer, ip) {
            self.see(verdict, None, Ownership::Managed, memory.subnets);
            self.family_not_offered(ip, verdict);
            return;
        }
        let subnets = match self.subnets(None) {
            Some(Ok(subnets)) => subnets,
            Some(Err(none)) => {
                self.see(verdict, None, Ownership::Managed, memory.subnets);
                verdict.fail(Facet::Endpoints, none.reason, format!("{service}: {}", none.message));
                return;
            }
            None => {
                self.see(verdict, None, Ownership::Managed, memory.subnets);
                verdict.unknown(Facet::Endpoints, &FactKey::Subnets, &self.case.view.subnets);
                return;
            }
        };
        self.see(verdict, None, Ownership::Managed, subnets.clone());
        if self.case.view.overlay.has_endpoint(&self.case.vpc.id, &offer.name, &self.posture().owner.tag()) {
            verdict.fail(
                Facet::Endpoints,
                Reason::EndpointPending,
                format!("the endpoint for {service} has been made and is not listed yet"),
            );
            return;
        }
        // Where the attributes cannot be read AWS itself refuses what they do not allow: that holds nothing up.
        let waits_for = if self.dns == DnsState::Off {
            Some("the VPC's DNS attributes")
        } else if !self.group.admits {
            Some("a security group that admits all of the VPC")
        } else {
            None
        };
        if let Some(what) = waits_for {
            let reason = self.blocked_reason(true, Reason::EndpointMissing);
            self.missing_drift(verdict.fail(
                Facet::Endpoints,
                reason,
                format!("there is no endpoint for {service}; it waits for {what}"),
            ));
            return;
        }
        let first = format!("there is no endpoint for {service}; to be made in {}", join(&subnets));
        self.missing_drift(verdict.fail(Facet::Endpoints, Reason::EndpointMissing, first));
        let last = memory.id.as_ref().map(crate::ids::EndpointId::as_str);
        let new = NewEndpoint {
            vpc: self.case.vpc.id.clone(),
            service_name: offer.name.clone(),
            kind: EndpointType::Interface,
            subnets,
            groups: self.group.ids.clone(),
            route_tables: BTreeSet::new(),
            private_dns: self.case.view.any_online(&self.case.vpc.id) == Some(false),
            ip_address_type: Some(ip),
            inbound_resolver_only: (service == ServiceName::S3).then_some(false),
            tags: self.posture().tags_for(service.as_str()),
            client_token: client_token(&self.posture().owner, &self.case.vpc.id, service, last, memory.attempts),
        };
        verdict.propose(Facet::Endpoints, Write::CreateEndpoint(Box::new(new))).service = Some(service);
    }
}

fn supports(offer: &Service, ip: IpAddressType) -> bool {
    match ip {
        IpAddressType::Ipv4 => true,
        IpAddressType::Dualstack => offer.ipv4 && offer.ipv6,
        IpAddressType::Ipv6 => offer.ipv6,
    }
}

/// Whether an endpoint of ours that is no longer declared is kept: only `Delete` deletes what applications may use.
#[must_use]
pub fn declared_and_kept(policy: DeletionPolicy) -> bool {
    policy != DeletionPolicy::Delete
}

/// Endpoints of ours for services that are no longer asked for.
fn undeclared(case: Case<'_>, endpoints: &[Endpoint], verdict: &mut Verdict) {
    let mut declared: BTreeMap<ServiceName, EndpointType> =
        verdict.seen.endpoints.iter().map(|e| (e.service, e.kind)).collect();
    if let S3Wish::Gateway(_) = case.posture.s3
        && case.posture.declared_services().contains(&ServiceName::S3)
    {
        declared.insert(ServiceName::S3, EndpointType::Gateway);
    }
    let is_declared = |e: &Endpoint| {
        declared.iter().any(|(s, kind)| *kind == e.kind && is_named(&e.service_name, &case.posture.region, *s))
    };
    let left: Vec<&Endpoint> = endpoints
        .iter()
        .filter(|e| e.vpc == case.vpc.id && case.posture.owner.owns(&e.tags) && !e.requester_managed)
        .filter(|e| !e.state.is_leaving() && !is_declared(e))
        .collect();
    if left.is_empty() {
        return;
    }
    // S3 by another type: the old way stays until the new one is in service.
    let in_service = |service: ServiceName, kind: EndpointType| {
        endpoints_for(endpoints, &case.vpc.id, &case.posture.region, service, kind)
            .iter()
            .any(|e| e.state == EndpointState::Available && (kind == EndpointType::Gateway || e.private_dns))
    };
    let (waiting, left): (Vec<&Endpoint>, Vec<&Endpoint>) = left.into_iter().partition(|e| {
        !declared_and_kept(case.posture.deletion_policy)
            && declared
                .iter()
                .any(|(s, kind)| is_named(&e.service_name, &case.posture.region, *s) && !in_service(*s, *kind))
    });
    if !waiting.is_empty() {
        verdict.fail(
            Facet::Endpoints,
            Reason::EndpointDrifted,
            format!("{} goes once its successor is in service", join(waiting.iter().map(|e| &e.id))),
        );
    }
    let left: BTreeSet<_> = left.into_iter().map(|e| e.id.clone()).collect();
    if left.is_empty() {
        return;
    }
    if declared_and_kept(case.posture.deletion_policy) {
        verdict.warn(
            Facet::Endpoints,
            Reason::UndeclaredEndpoint,
            format!(
                "{} is no longer declared and is kept; endpoints.deletionPolicy: Delete would delete it",
                join(&left)
            ),
        );
    } else {
        verdict.fail(
            Facet::Endpoints,
            Reason::EndpointDrifted,
            format!("{} is no longer declared and is to be deleted", join(&left)),
        );
        verdict.propose(Facet::Endpoints, Write::DeleteEndpoints { endpoints: left }).disrupts =
            Some("whatever in the VPC still uses the endpoint");
    }
}

/// Policies and tags of all endpoints of ours.
fn policies_and_tags(case: Case<'_>, endpoints: &[Endpoint], verdict: &mut Verdict) {
    let in_vpc = endpoints.iter().filter(|e| e.vpc == case.vpc.id);
    let (mut ours, foreign): (Vec<&Endpoint>, Vec<&Endpoint>) =
        in_vpc.partition(|e| case.posture.owner.owns(&e.tags) && !e.requester_managed);
    let goes = |e: &Endpoint| {
        verdict
            .actions
            .iter()
            .any(|a| matches!(&a.write, Write::DeleteEndpoints { endpoints } if endpoints.contains(&e.id)))
    };
    ours.retain(|e| e.state == EndpointState::Available && !goes(e));
    let mut restricted = false;
    for endpoint in &ours {
        if endpoint.policy.as_deref().is_some_and(|p| !is_full_access(p)) {
            restricted = true;
            verdict
                .fail(
                    Facet::Policy,
                    Reason::PolicyRestricted,
                    format!("the policy of {} is not full access; it is to be put back", endpoint.id),
                )
                .differs(format!("endpoints.{}.policy", endpoint.service_name), "full access", "restricted");
            let change = EndpointChange { full_access_policy: true, ..EndpointChange::default() };
            verdict.propose(
                Facet::Policy,
                Write::ModifyEndpoint { endpoint: endpoint.id.clone(), change: Box::new(change) },
            );
        }
    }
    let used: BTreeSet<_> = verdict.seen.endpoints.iter().filter_map(|s| s.id.clone()).collect();
    for endpoint in foreign.iter().filter(|e| used.contains(&e.id)) {
        if endpoint.policy.as_deref().is_some_and(|p| !is_full_access(p)) {
            restricted = true;
            let message = format!(
                "{} has a policy of its own, which ssm-ready does not judge: see that it admits the agent",
                endpoint.id
            );
            verdict.warn(Facet::Policy, Reason::PolicyRestricted, message);
        }
    }
    if !restricted {
        verdict.pass(Facet::Policy, "full access");
    }
    let mut groups = Vec::new();
    if let Some(all) = case.view.security_groups.known() {
        groups = super::group::ours(case, all);
    }
    let tagged =
        ours.iter().map(|e| (e.id.to_string(), &e.tags)).chain(groups.iter().map(|g| (g.id.to_string(), &g.tags)));
    // Ownership is never declared: see VpcPosture::tags_for.
    let mut declared = case.posture.tags.clone();
    declared.retain(|key, _| !OWNERSHIP_TAGS.contains(&key.as_str()));
    let lacking: BTreeSet<String> =
        tagged.filter(|(_, tags)| declared.iter().any(|(k, v)| tags.get(k) != Some(v))).map(|(id, _)| id).collect();
    if !lacking.is_empty() {
        verdict
            .fail(
                Facet::Endpoints,
                Reason::EndpointDrifted,
                format!("the declared tags of {} are not all there and are to be set", join(&lacking)),
            )
            .differs("tags", join(declared.keys()), format!("not all on {}", join(&lacking)));
        verdict.propose(Facet::Endpoints, Write::Tag { resources: lacking, tags: declared });
    }
}

/// Whether a policy document lets everything through, however it is spelled.
#[must_use]
fn is_full_access(policy: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let Some(document) = parse(policy) else { return false };
    let full = parse(FULL_ACCESS_POLICY).unwrap_or_default();
    let one = |value: &serde_json::Value| match value {
        serde_json::Value::Array(items) if items.len() == 1 => items[0].clone(),
        serde_json::Value::Object(map) if map.len() == 1 && map.get("AWS") == Some(&"*".into()) => "*".into(),
        other => other.clone(),
    };
    let statements = match &document["Statement"] {
        serde_json::Value::Array(items) => items.clone(),
        single => vec![single.clone()],
    };
    statements.iter().any(|statement| {
        ["Action", "Effect", "Principal", "Resource"]
            .iter()
            .all(|key| one(&statement[*key]) == full["Statement"][0][*key])
            && statement.get("Condition").is_none()
    }) && !statements.iter().any(|s| s["Effect"] == "Deny")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::near::near;

    const VERSIONS: &[&str] = &["3.3.39.0", "3.3.40.0", "2.3.68.0", "3.3.131.0", "4.0.0.0"];
    const POLICIES: &[&str] = &[
        FULL_ACCESS_POLICY,
        r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["*"],"Resource":"*"}]}"#,
        r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"ssm:*","Resource":"*"}}"#,
    ];

    /// Any JSON, of the words that policies are made of.
    fn policies() -> impl Strategy<Value = Value> {
        let word = proptest::sample::select(vec!["*", "Allow", "Deny", "AWS", "ssm:*", "Statement", ""]);
        let leaf = prop_oneof![
            4 => word.prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<bool>().prop_map(Value::from),
            1 => Just(Value::Null),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            let key = proptest::sample::select(vec![
                "Statement",
                "Effect",
                "Action",
                "Principal",
                "Resource",
                "Condition",
                "AWS",
                "NotAction",
            ]);
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec((key, inner), 0..6)
                    .prop_map(|pairs| pairs
                        .into_iter()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect::<serde_json::Map<_, _>>())
                    .prop_map(Value::from),
            ]
        })
    }

    /// What full access comes to: an Allow of everything to everybody with no condition, and no Deny.
    fn admits_everything(document: &Value) -> bool {
        let statements =
            document["Statement"].as_array().cloned().unwrap_or_else(|| vec![document["Statement"].clone()]);
        let is_star = |v: &Value| v == "*" || v == &serde_json::json!(["*"]) || v == &serde_json::json!({"AWS": "*"});
        statements.iter().all(|s| s["Effect"] != "Deny")
            && statements.iter().any(|s| {
                (s["Effect"] == "Allow" || s["Effect"] == serde_json::json!(["Allow"]))
                    && ["Action", "Principal", "Resource"].iter().all(|key| is_star(&s[*key]))
                    && s.get("Condition").is_none()
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_version_is_judged_and_only_an_older_one_is_old(text in near(VERSIONS)) {
            let parts: Vec<Option<u128>> = text.split('.').map(|part| part.parse().ok()).collect();
            let numbers: Vec<u128> = parts.iter().copied().map_while(|part| part).chain([0; 3]).take(3).collect();
            if needs_ec2messages(&text) {
                prop_assert!(numbers < NO_EC2MESSAGES_SINCE.map(u128::from).to_vec(), "{text}");
            } else if parts.iter().all(Option::is_some) {
                prop_assert!(numbers >= NO_EC2MESSAGES_SINCE.map(u128::from).to_vec(), "{text}");
            }
        }

        #[test]
        fn any_text_is_judged_as_a_policy_and_only_full_access_is_full(text in near(POLICIES)) {
            if is_full_access(&text) {
                prop_assert!(admits_everything(&serde_json::from_str(&text).unwrap()), "{text}");
            }
        }

        #[test]
        fn any_document_is_judged_as_a_policy_and_only_full_access_is_full(document in policies()) {
            prop_assert!(!is_full_access(&document.to_string()) || admits_everything(&document), "{document}");
            let wrapped = serde_json::json!({ "Statement": [document, { "Effect": "Deny" }] });
            prop_assert!(!is_full_access(&wrapped.to_string()));
        }
    }

    #[test]
    fn old_agents_are_told_by_number() {
        for (version, old) in [
            ("3.3.39.0", true),
            ("3.3.40.0", false),
            ("3.3.131.0", false),
            ("3.10.0.0", false),
            ("2.3.68.0", true),
            ("4.0.0.0", false),
            ("3.3", true),
            ("3.3.40", false),
            ("4", false),
            ("", false),
            ("unknown", false),
            ("3.3.x", false),
            ("3.2.x", true),
            ("3.3.4294967296.0", false),
        ] {
            assert_eq!(needs_ec2messages(version), old, "{version:?}");
        }
    }

    #[test]
    fn full_access_is_known_in_every_spelling() {
        for (policy, full) in [
            (FULL_ACCESS_POLICY, true),
            (
                r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["*"],"Resource":"*"}]}"#,
                true,
            ),
            (r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"*","Resource":["*"]}}"#, true),
            (r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"ssm:*","Resource":"*"}]}"#, false),
            (
                r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"x":"true"}}}]}"#,
                false,
            ),
            (
                r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"ssm:*","Resource":"*"}]}"#,
                false,
            ),
            (r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":"*"},"Action":"*","Resource":"*"}]}"#, false),
            (r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":[],"Resource":"*"}]}"#, false),
            (r#"{"Statement":[]}"#, false),
            ("garbage", false),
            ("{}", false),
        ] {
            assert_eq!(is_full_access(policy), full, "{policy}");
        }
    }
}
