//! Facts and a posture in, checks and proposed actions out.
//!
//! One file judges one thing. An action is proposed only where everything that it rests on has been read back as good,
//! so that a failed prerequisite stops what depends on it without any further bookkeeping.

mod dns;
mod endpoints;
mod gateway;
pub mod group;
mod offer;
mod subnets;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    calls::AgeClass,
    facts::{
        Endpoint, EndpointType, IngressRule, Instance, InstanceState, ManagedNode, RouteTable, SecurityGroup, Service,
        Subnet, Vpc, VpcAttribute,
    },
    ids::{EndpointId, RouteTableId, SecurityGroupId, SubnetId, VpcId},
    instance_profiles::SeenProfile,
    overlay::Overlay,
    posture::{ServiceName, VpcPosture},
    reason::Reason,
    snapshot::{FactKey, Reading, Snapshot},
    write::Write,
};

pub use endpoints::declared_and_kept;

/// A thing that is checked, and the condition that says how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Facet {
    /// The account, the access to it, and the target itself.
    Account,
    /// The VPC's DNS attributes.
    Dns,
    /// The endpoints' security group.
    SecurityGroup,
    /// The endpoints.
    Endpoints,
    /// The route tables of the S3 gateway endpoint.
    Routes,
    /// The endpoints' policies.
    Policy,
    /// Default Host Management of a region.
    HostManagement,
    /// The Session Manager preferences of a region.
    SessionPreferences,
    /// Other service settings of a region.
    ServiceSettings,
    /// The metadata defaults of a region.
    MetadataDefaults,
    /// How sessions of a region are told of.
    SessionAudit,
    /// The roles of an account.
    Roles,
    /// The instance profiles of an account.
    Profiles,
    /// The instance profiles that the instances of a VPC have, and whether these can be managed with them.
    InstanceProfiles,
}

impl Facet {
    /// All of them, in the order in which conditions are listed.
    pub const ALL: [Self; 14] = [
        Self::Account,
        Self::Dns,
        Self::SecurityGroup,
        Self::Endpoints,
        Self::Routes,
        Self::Policy,
        Self::HostManagement,
        Self::SessionPreferences,
        Self::ServiceSettings,
        Self::MetadataDefaults,
        Self::SessionAudit,
        Self::Roles,
        Self::Profiles,
        Self::InstanceProfiles,
    ];

    /// The type of its condition.
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Self::Account => "AccountReady",
            Self::Dns => "DnsReady",
            Self::SecurityGroup => "SecurityGroupReady",
            Self::Endpoints => "EndpointsReady",
            Self::Routes => "RoutesReady",
            Self::Policy => "PolicyReady",
            Self::HostManagement => "HostManagementReady",
            Self::SessionPreferences => "SessionPreferencesReady",
            Self::ServiceSettings => "ServiceSettingsReady",
            Self::MetadataDefaults => "MetadataDefaultsReady",
            Self::SessionAudit => "AuditReady",
            Self::Roles => "RolesReady",
            Self::Profiles => "ProfilesReady",
            Self::InstanceProfiles => "InstanceProfilesReady",
        }
    }

    /// Whether its condition only advises: whatever it says, it holds neither `Ready` nor `Compliant`.
    #[must_use]
    pub fn is_advisory(self) -> bool {
        self == Self::InstanceProfiles
    }
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It holds, and something should be known.
    Warn,
    /// It does not hold.
    Fail,
    /// It cannot be said.
    Unknown,
}

/// A managed field that is not as it was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub field: String,
    /// What it should be.
    pub wanted: String,
    /// What it is.
    pub seen: String,
}

/// What one rule says of the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub facet: Facet,
    /// Whether it holds `Ready`; otherwise it only advises.
    pub gate: bool,
    /// What was found.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// For people: what is, and what to do.
    pub message: String,
    /// The managed field that differs, where one does.
    pub difference: Option<Difference>,
}

/// A proposed write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What it mends.
    pub facet: Facet,
    /// The service of an endpoint that is made.
    pub service: Option<ServiceName>,
    /// The call.
    pub write: Write,
    /// Rules to admit to a group, right after this call has made it.
    pub then_admit: Vec<IngressRule>,
    /// What it disturbs, where it does.
    pub disrupts: Option<&'static str>,
}

/// Whose an endpoint or group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Ours.
    Managed,
    /// Somebody else's, used as it is.
    Existing,
}

/// An endpoint as it was seen, with what was chosen for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEndpoint {
    /// The service.
    pub service: ServiceName,
    /// Its full name, where the region's offer or the endpoint tells it.
    pub service_name: Option<String>,
    /// Its type.
    pub kind: EndpointType,
    /// The endpoint; the last one known where there is none now.
    pub id: Option<EndpointId>,
    /// Its state in AWS's words; [`MISSING`] where there is none, [`CREATING`] where it is not listed yet.
    pub state: String,
    /// Whose it is.
    pub ownership: Ownership,
    /// The subnets chosen for it: they stay chosen.
    pub subnets: BTreeSet<SubnetId>,
    /// The zones in which it is: by their ids, which are the same for every account.
    pub zones: BTreeSet<String>,
    /// The route tables chosen for it: they stay chosen.
    pub route_tables: BTreeSet<RouteTableId>,
    /// Whether its private DNS is on.
    pub private_dns: bool,
    /// How often a new client token was needed.
    pub attempts: u32,
}

/// What was seen, for status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The VPC's owner.
    pub vpc_owner: Option<String>,
    /// The VPC's CIDRs.
    pub cidrs: Vec<String>,
    /// The DNS attributes that could be read.
    pub dns: BTreeMap<VpcAttribute, bool>,
    /// The endpoints.
    pub endpoints: Vec<SeenEndpoint>,
    /// The managed security group.
    pub group: Option<SecurityGroupId>,
    /// The instance profiles of running instances; none where they were not looked at, or could not be.
    pub profiles: Option<Vec<SeenProfile>>,
}

/// All checks, what to do, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict<S = Seen> {
    /// All checks.
    pub checks: Vec<Check>,
    /// Proposed writes, in no particular order.
    pub actions: Vec<Action>,
    /// What was seen.
    pub seen: S,
    /// Facts that something is expected to change in: to be read again at the next look.
    pub watch: BTreeSet<FactKey>,
}

/// What the object's status remembers of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointMemory {
    /// The last endpoint known for the service.
    pub id: Option<EndpointId>,
    /// Whether it was ours.
    pub managed: bool,
    /// The subnets chosen for it.
    pub subnets: BTreeSet<SubnetId>,
    /// The route tables chosen for it.
    pub route_tables: BTreeSet<RouteTableId>,
    /// How often a new client token was needed.
    pub attempts: u32,
}

/// What the object's status remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// By service.
    pub endpoints: BTreeMap<ServiceName, EndpointMemory>,
    /// The managed security group.
    pub group: Option<SecurityGroupId>,
    /// Since when nothing has depended on the endpoints of a deleted object.
    pub unused_since: Option<Timestamp>,
}

/// The facts that one VPC is judged by.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// All VPCs.
    pub vpcs: Reading<'a, Vec<Vpc>>,
    /// All endpoints.
    pub endpoints: Reading<'a, Vec<Endpoint>>,
    /// All security groups.
    pub security_groups: Reading<'a, Vec<SecurityGroup>>,
    /// All instances.
    pub instances: Reading<'a, Vec<Instance>>,
    /// All managed nodes.
    pub managed_nodes: Reading<'a, Vec<ManagedNode>>,
    /// All subnets.
    pub subnets: Reading<'a, Vec<Subnet>>,
    /// All route tables.
    pub route_tables: Reading<'a, Vec<RouteTable>>,
    /// All endpoint services.
    pub services: Reading<'a, Vec<Service>>,
    /// The VPC's attributes.
    pub attributes: BTreeMap<VpcAttribute, Reading<'a, bool>>,
    /// Our own recent creations.
    pub overlay: &'a Overlay,
}

impl<'a> View<'a> {
    /// The view of one VPC.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot, overlay: &'a Overlay, vpc: &VpcId, interval: Duration, now: Timestamp) -> Self {
        let limit = |class: AgeClass| class.limit(interval);
        let (fast, slow, rare) = (limit(AgeClass::Fast), limit(AgeClass::Slow), limit(AgeClass::Rare));
        let attributes = VpcAttribute::BOTH
            .into_iter()
            .map(|a| {
                let entry = snapshot.attributes.get(&(vpc.clone(), a));
                (a, entry.map_or(Reading::Unknown(None), |e| e.reading(slow, now)))
            })
            .collect();
        Self {
            vpcs: snapshot.vpcs.reading(fast, now),
            endpoints: snapshot.endpoints.reading(fast, now),
            security_groups: snapshot.security_groups.reading(fast, now),
            instances: snapshot.instances.reading(fast, now),
            managed_nodes: snapshot.managed_nodes.reading(fast, now),
            subnets: snapshot.subnets.reading(slow, now),
            route_tables: snapshot.route_tables.reading(slow, now),
            services: snapshot.services.reading(rare, now),
            attributes,
            overlay,
        }
    }

    /// Whether what a write rests on was read without a later failure.
    #[must_use]
    pub fn fit_to_write(&self) -> bool {
        self.vpcs.current().is_some() && self.endpoints.current().is_some() && self.security_groups.current().is_some()
    }

    /// The instances of the VPC, if they are known.
    #[must_use]
    pub fn instances_of(&self, vpc: &VpcId) -> Option<Vec<&'a Instance>> {
        Some(self.instances.known()?.iter().filter(|i| i.vpc == *vpc).collect())
    }

    /// Whether some running instance of the VPC is Online; none where that cannot be said as of the last read.
    #[must_use]
    pub fn any_online(&self, vpc: &VpcId) -> Option<bool> {
        let instances = self.instances.current()?.iter();
        let running: BTreeSet<_> =
            instances.filter(|i| i.vpc == *vpc && i.state == InstanceState::Running).map(|i| &i.id).collect();
        if running.is_empty() {
            return Some(false);
        }
        Some(self.managed_nodes.current()?.iter().any(|n| n.online && running.contains(&n.id)))
    }
}

/// Everything that a judgement rests on.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    posture: &'a VpcPosture,
    view: &'a View<'a>,
    memory: &'a Memory,
    vpc: &'a Vpc,
}

impl<S> Verdict<S> {
    pub(crate) fn check(
        &mut self,
        facet: Facet,
        outcome: Outcome,
        reason: Reason,
        message: impl Into<String>,
    ) -> &mut Check {
        self.checks.push(Check {
            facet,
            gate: outcome != Outcome::Warn && !facet.is_advisory(),
            outcome,
            reason,
            message: message.into(),
            difference: None,
        });
        let last = self.checks.len() - 1;
        &mut self.checks[last]
    }

    pub(crate) fn pass(&mut self, facet: Facet, message: impl Into<String>) {
        self.check(facet, Outcome::Pass, Reason::Succeeded, message);
    }

    pub(crate) fn fail(&mut self, facet: Facet, reason: Reason, message: impl Into<String>) -> &mut Check {
        self.check(facet, Outcome::Fail, reason, message)
    }

    pub(crate) fn warn(&mut self, facet: Facet, reason: Reason, message: impl Into<String>) -> &mut Check {
        self.check(facet, Outcome::Warn, reason, message)
    }

    pub(crate) fn unknown<T>(&mut self, facet: Facet, key: &FactKey, reading: &Reading<'_, T>) {
        self.check(facet, Outcome::Unknown, Reason::FactUnreadable, reading.why(key));
    }

    pub(crate) fn propose(&mut self, facet: Facet, write: Write) -> &mut Action {
        self.actions.push(Action { facet, service: None, write, then_admit: Vec::new(), disrupts: None });
        let last = self.actions.len() - 1;
        &mut self.actions[last]
    }
}

impl Check {
    pub(crate) fn differs(&mut self, field: impl Into<String>, wanted: impl Into<String>, seen: impl Into<String>) {
        self.difference = Some(Difference { field: field.into(), wanted: wanted.into(), seen: seen.into() });
    }
}

impl EndpointMemory {
    /// Whether we made this endpoint, as far as status remembers: also where it has lost its tags since.
    fn made(&self, endpoint: &Endpoint) -> bool {
        self.managed && self.id.as_ref() == Some(&endpoint.id)
    }
}

/// What we made and may no longer touch, because it does not carry our tags any more: told, until somebody mends it.
fn judge_lost(case: Case<'_>, facet: Facet, service: ServiceName, foreign: &[&Endpoint], verdict: &mut Verdict) {
    let Some(memory) = case.memory.endpoints.get(&service) else { return };
    if let Some(lost) = foreign.iter().find(|e| memory.made(e) && !e.state.is_leaving()) {
        verdict
            .warn(
                facet,
                Reason::OwnershipTagsLost,
                format!(
                    "{} of {service} has lost the tags {} and is no longer touched: restore them (aws ec2 create-tags), or set endpoints.adoption: TakeOver",
                    lost.id,
                    join(case.posture.owner.tags().iter().map(|(k, v)| format!("{k}={v}")))
                ),
            )
            .differs(format!("endpoints.{service}.tags"), "our ownership tags", "removed");
    }
}

/// The state of an endpoint that has been made and is not listed.
pub const CREATING: &str = "Creating";
/// The state of an endpoint that is not there.
pub const MISSING: &str = "Missing";

/// The state of an endpoint that is not listed.
fn absent(case: Case<'_>, offer: Option<&Service>) -> &'static str {
    let made =
        offer.is_some_and(|offer| case.view.overlay.has_endpoint(&case.vpc.id, &offer.name, &case.posture.owner.tag()));
    if made { CREATING } else { MISSING }
}

/// Whose the last endpoint known for a service was; ours where there was none, since the next one will be.
fn was(memory: &EndpointMemory) -> Ownership {
    if memory.id.is_some() && !memory.managed { Ownership::Existing } else { Ownership::Managed }
}

pub(crate) fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Judges a VPC.
#[must_use]
pub fn evaluate(posture: &VpcPosture, view: &View<'_>, memory: &Memory) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(vpcs) = view.vpcs.known() else {
        verdict.unknown(Facet::Account, &FactKey::Vpcs, &view.vpcs);
        return verdict;
    };
    let Some(vpc) = vpcs.iter().find(|v| v.id == posture.vpc) else {
        verdict.fail(
            Facet::Account,
            Reason::VpcNotFound,
            format!(
                "account {} has no {} in {}: correct spec.target, or the AwsAccount that it names",
                posture.account, posture.vpc, posture.region
            ),
        );
        return verdict;
    };
    verdict.seen.vpc_owner = Some(vpc.owner.clone());
    verdict.seen.cidrs = vpc.cidrs.iter().map(ToString::to_string).collect();
    if vpc.owner != posture.account.as_str() {
        verdict.fail(
            Facet::Account,
            Reason::VpcOwnedElsewhere,
            format!(
                "{} is shared from account {}, and only its owner can make or see endpoints in it: declare it with an AwsAccount of {}",
                vpc.id, vpc.owner, vpc.owner
            ),
        );
        return verdict;
    }
    verdict.pass(Facet::Account, format!("{} is in account {}", vpc.id, posture.account));
    let case = Case { posture, view, memory, vpc };
    let dns = dns::judge(case, &mut verdict);
    let group = group::judge(case, &mut verdict);
    endpoints::judge(case, dns, &group, &mut verdict);
    gateway::judge(case, &mut verdict);
    group::judge_leftover(case, &group, &mut verdict);
    verdict
}
