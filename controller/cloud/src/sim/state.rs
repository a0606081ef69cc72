//! What AWS holds in an account and a region.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Deref,
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use ssm_ready_core::{
    calls::{Bucket, Operation},
    facts::{
        Endpoint, EndpointState, EndpointType, IngressRule, Instance, NetworkInterface, RouteTable, RuleSource,
        SecurityGroup, Service, Subnet, Tags, Vpc,
        audit::{AUDIT_RULE, Topic},
        settings::{MetadataDefaults, SESSION_DOCUMENT, Setting},
        targets::LogGroup,
    },
    ids::{
        AccountId, BucketName, EndpointId, InstanceId, LogGroupName, NetworkInterfaceId, PrefixListId, Region,
        RouteTableId, SecurityGroupId, SubnetId, VpcId,
    },
    write::NewEndpoint,
};

use super::{
    audit::{SimRule, SimTrail},
    documents::SimDocument,
    iam::Iam,
    journal::{ThingKind, Touched},
    record::{Record, Table},
    settings::{METADATA_DEFAULTS, SimSetting},
    targets::{SimBucket, SimKey},
};

/// The port that agents and endpoints speak on.
const HTTPS: i32 = 443;

/// AWS's token buckets, exact and unscaled: for each the time, in nanoseconds, at which it is full again.
#[derive(Debug, Clone, Default)]
pub struct Meters(BTreeMap<Bucket, i128>);

impl Meters {
    /// Takes tokens if there are as many.
    pub(super) fn take(&mut self, bucket: Bucket, tokens: u32, now: Timestamp) -> bool {
        let (size, per_second) = bucket.rates();
        // Whole numbers far inside what the types hold.
        #[allow(clippy::cast_possible_truncation)]
        let (interval, size) = ((1e9 / per_second).floor() as i128, size as i128);
        let now = now.as_nanosecond();
        let full_at = (*self.0.get(&bucket).unwrap_or(&now)).max(now);
        let after = full_at + interval * i128::from(tokens);
        if after - now > interval * size {
            return false;
        }
        self.0.insert(bucket, after);
        true
    }

    /// Empties a bucket, as somebody else's calls would.
    pub(super) fn drain(&mut self, bucket: Bucket, now: Timestamp) {
        let (size, per_second) = bucket.rates();
        #[allow(clippy::cast_possible_truncation)]
        let full_in = (size * 1e9 / per_second) as i128;
        self.0.insert(bucket, now.as_nanosecond() + full_in);
    }
}

/// An AWS account.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The roles that controllers take on, by ARN. Each is in IAM as well.
    pub roles: BTreeMap<String, Role>,
    /// What IAM holds.
    pub iam: Iam,
    /// Its regions.
    pub regions: BTreeMap<Region, RegionState>,
    /// Regions that are not enabled.
    pub disabled_regions: BTreeSet<Region>,
}

/// A role as far as those are concerned who take it on.
#[derive(Debug, Clone, Default)]
pub struct Role {
    /// The external id that its trust policy demands, if it does.
    pub external_id: Option<String>,
    /// The ARNs of those whom it trusts; none: everybody.
    pub trusts: Option<BTreeSet<String>>,
    /// What its policies refuse, as far as it has come into effect. Set at once only by setting this;
    /// `World::set_denied` takes its time, as IAM does.
    pub denied: BTreeSet<Operation>,
    /// Whether its policies refuse to pass roles on (`iam:PassRole`).
    pub pass_role_denied: bool,
    /// The number of the last change of permissions that was asked for.
    pub(super) asked: u64,
    /// The number of the change that is in effect.
    pub(super) effective: u64,
}

/// What a region allows of each thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Interface endpoints of a VPC.
    pub interface_endpoints_per_vpc: usize,
    /// Gateway endpoints of the region.
    pub gateway_endpoints: usize,
    /// Security groups of the region.
    pub groups: usize,
    /// Ingress rules of a group.
    pub rules_per_group: usize,
    /// Groups of a network interface.
    pub groups_per_interface: usize,
    /// Tags of a thing.
    pub tags: usize,
    /// Documents of the region.
    pub documents: usize,
    /// Versions of a document.
    pub document_versions: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            interface_endpoints_per_vpc: 50,
            gateway_endpoints: 20,
            groups: 2500,
            rules_per_group: 60,
            groups_per_interface: 5,
            tags: 50,
            documents: 500,
            document_versions: 1000,
        }
    }
}

/// A VPC, with what is not in its description.
#[derive(Debug, Clone)]
pub struct SimVpc {
    /// Its description.
    pub fact: Vpc,
    /// `enableDnsSupport`.
    pub dns_support: bool,
    /// `enableDnsHostnames`.
    pub dns_hostnames: bool,
    /// Its tags.
    pub tags: Tags,
    /// Its default security group.
    pub default_group: SecurityGroupId,
}

impl Deref for SimVpc {
    type Target = Vpc;

    fn deref(&self) -> &Vpc {
        &self.fact
    }
}

/// An endpoint, with what is not in its description.
#[derive(Debug, Clone)]
pub struct SimEndpoint {
    /// Its description.
    pub fact: Endpoint,
    /// The names that its private DNS answers for when it is on.
    pub dns_names: Vec<String>,
    /// The prefix list that a gateway routes.
    pub prefix_list: Option<PrefixListId>,
    /// Its network interface in each subnet.
    pub interfaces: BTreeMap<SubnetId, NetworkInterfaceId>,
    /// Whether it has ever been in service.
    pub served: bool,
    /// Whether its private DNS is for inbound resolvers only.
    pub inbound_resolver_only: bool,
    /// What becomes of it when it is no longer pending.
    pub(super) becomes: EndpointState,
    /// Goes up with each step of its life, so that a step that was planned before does not happen.
    pub(super) life: u64,
}

impl Deref for SimEndpoint {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.fact
    }
}

impl SimEndpoint {
    /// Whether it keeps others from its private DNS names. A deleting one does until it is gone.
    pub(super) fn holds_names(&self, failed_hold: bool) -> bool {
        self.private_dns
            && self.state != EndpointState::Deleted
            && (failed_hold || !self.state.is_terminal() || self.served)
    }

    /// Whether its private DNS answers in the VPC.
    pub(super) fn captures(&self) -> bool {
        let answering = match self.state {
            EndpointState::Available | EndpointState::Partial => true,
            EndpointState::Deleted => false,
            _ => self.served,
        };
        self.private_dns && answering
    }

    /// Whether it carries what is sent to it.
    pub(super) fn carries(&self) -> bool {
        match self.state {
            EndpointState::Available | EndpointState::Partial => true,
            EndpointState::Pending | EndpointState::Unknown(_) => self.served,
            _ => false,
        }
    }
}

/// The agent of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its version.
    pub version: String,
    /// Whether Systems Manager has ever heard of it.
    pub registered: bool,
    /// When it last reached Systems Manager.
    pub last_ping: Option<Timestamp>,
    /// How long it waits after the next failure.
    pub(super) wait: Duration,
    /// Goes up when the agent starts anew, so that a try that was planned before does not happen.
    pub(super) run: u64,
}

/// An instance, with what is not in its description.
#[derive(Debug, Clone)]
pub struct SimInstance {
    /// Its description.
    pub fact: Instance,
    /// Its address.
    pub address: IpAddr,
    /// Its security groups.
    pub groups: BTreeSet<SecurityGroupId>,
    /// Whether it can reach public addresses.
    pub internet: bool,
    /// Its agent, if it has one.
    pub agent: Option<Agent>,
    /// Whether its agent has credentials of its own, in its environment or a file: these come before all others.
    pub own_credentials: bool,
    /// From when on its profile is `associated`, and its metadata has the credentials; until then it is `associating`.
    pub associated_from: Timestamp,
}

impl Deref for SimInstance {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.fact
    }
}

/// A network interface, with what is not in its description.
#[derive(Debug, Clone)]
pub struct SimInterface {
    /// Its description.
    pub fact: NetworkInterface,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its security groups.
    pub groups: BTreeSet<SecurityGroupId>,
    /// The endpoint that it belongs to.
    pub endpoint: Option<EndpointId>,
}

/// A service, with what is not in its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimService {
    /// Its description.
    pub fact: Service,
    /// The prefix list of a gateway service.
    pub prefix_list: Option<PrefixListId>,
}

/// A private hosted zone of Route 53 that is associated with a VPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostedZone {
    /// Whether what its records point to can be reached from the VPC and serves agents.
    pub reachable: bool,
}

/// A client token that AWS remembers.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub request: NewEndpoint,
    pub endpoint: EndpointId,
    pub until: Timestamp,
}

/// A region of an account.
#[derive(Debug, Clone, Default)]
pub struct RegionState {
    /// VPCs, those shared with the account included.
    pub vpcs: Table<VpcId, SimVpc>,
    /// Subnets.
    pub subnets: Table<SubnetId, Subnet>,
    /// Route tables.
    pub route_tables: Table<RouteTableId, RouteTable>,
    /// Endpoints, those that are going included.
    pub endpoints: Table<EndpointId, SimEndpoint>,
    /// Security groups.
    pub groups: Table<SecurityGroupId, SimGroup>,
    /// Instances, but for terminated ones.
    pub instances: Table<InstanceId, SimInstance>,
    /// Network interfaces.
    pub network_interfaces: Table<NetworkInterfaceId, SimInterface>,
    /// What is offered, by name and type.
    pub services: BTreeMap<(String, EndpointType), SimService>,
    /// Private hosted zones by VPC and name.
    pub hosted_zones: BTreeMap<VpcId, BTreeMap<String, HostedZone>>,
    /// The entries of prefix lists that rules may name.
    pub prefix_lists: BTreeMap<PrefixListId, Vec<IpNet>>,
    /// Service settings that somebody has set; all others are as AWS has them.
    pub settings: Table<Setting, SimSetting>,
    /// What AWS itself has for settings, where that is not what it documents: as on the wire, so `$None` may be there.
    pub setting_defaults: BTreeMap<Setting, String>,
    /// The settings that the region does not have.
    pub missing_settings: BTreeSet<Setting>,
    /// The metadata defaults, once somebody has set them.
    pub metadata_defaults: Option<Record<MetadataDefaults>>,
    /// Documents by name. There is none but the session document.
    pub documents: Table<String, SimDocument>,
    /// Rules of the default event bus by name. There is none but the one that reports sessions.
    pub rules: Table<String, SimRule>,
    /// Trails that the region shows, by ARN.
    pub trails: Table<String, SimTrail>,
    /// Topics by ARN.
    pub topics: Table<String, Topic>,
    /// The account's buckets that are in the region.
    pub buckets: Table<BucketName, SimBucket>,
    /// Log groups.
    pub log_groups: Table<LogGroupName, LogGroup>,
    /// KMS keys by id.
    pub keys: Table<String, SimKey>,
    /// How many other documents the account has in the region.
    pub other_documents: usize,
    /// What may be had of each thing.
    pub quotas: Quotas,
    pub(super) tokens: BTreeMap<String, Token>,
    pub(super) meters: Meters,
}

/// A security group needs nothing but its description.
pub type SimGroup = SecurityGroup;

impl RegionState {
    /// The endpoints of a VPC that are not going.
    pub fn live_endpoints<'a>(&'a self, vpc: &'a VpcId) -> impl Iterator<Item = &'a Record<SimEndpoint>> {
        self.endpoints.values().filter(move |endpoint| endpoint.vpc == *vpc && !endpoint.state.is_leaving())
    }

    /// Whether these groups admit HTTPS from all of these addresses.
    #[must_use]
    pub fn admits(&self, groups: &BTreeSet<SecurityGroupId>, cidrs: &[IpNet]) -> bool {
        let mut open: Vec<IpNet> = Vec::new();
        for rule in self.https_rules(groups) {
            match &rule.source {
                RuleSource::Cidr(net) => open.push(*net),
                RuleSource::PrefixList(id) => open.extend(self.prefix_lists.get(id).into_iter().flatten()),
                RuleSource::Group(_) => {}
            }
        }
        cidrs.iter().all(|cidr| covers(&open, *cidr))
    }

    /// Whether these groups admit HTTPS from an instance.
    pub(super) fn admits_instance(&self, groups: &BTreeSet<SecurityGroupId>, instance: &SimInstance) -> bool {
        self.https_rules(groups).any(|rule| match &rule.source {
            RuleSource::Cidr(net) => net.contains(&instance.address),
            RuleSource::Group(id) => instance.groups.contains(id),
            RuleSource::PrefixList(id) => {
                self.prefix_lists.get(id).is_some_and(|nets| nets.iter().any(|net| net.contains(&instance.address)))
            }
        })
    }

    fn https_rules<'a>(&'a self, groups: &'a BTreeSet<SecurityGroupId>) -> impl Iterator<Item = &'a IngressRule> {
        groups
            .iter()
            .filter_map(|id| self.groups.get(id))
            .flat_map(|group| &group.value.ingress)
            .filter(|rule| admits_https(rule))
    }

    /// A thing as the journal shows it.
    pub(super) fn touched(&self, id: &str) -> Option<Touched> {
        fn thing<T>(id: &str, kind: ThingKind, vpc: &VpcId, tags: &Tags, record: &Record<T>) -> Touched {
            Touched { vpc: Some(vpc.clone()), ..touched(id, kind, tags, record) }
        }
        if id == SESSION_DOCUMENT {
            return self.touched_document();
        }
        if id == AUDIT_RULE {
            return self.touched_rule();
        }
        if id == METADATA_DEFAULTS {
            return Some(self.touched_metadata());
        }
        match id.split_once('-')?.0 {
            "vpce" => self.endpoints.get(&EndpointId::from(id)).map(|record| Touched {
                service: Some(record.service_name.clone()),
                endpoint_type: Some(record.kind),
                state: Some(record.state.clone()),
                private_dns: Some(record.private_dns),
                ..thing(id, ThingKind::Endpoint, &record.vpc, &record.tags, record)
            }),
            "sg" => {
                let record = self.groups.get(&SecurityGroupId::from(id))?;
                Some(thing(id, ThingKind::Group, &record.vpc, &record.tags, record))
            }
            "vpc" => {
                let record = self.vpcs.get(&VpcId::from(id))?;
                Some(thing(id, ThingKind::Vpc, &record.id, &record.tags, record))
            }
            "subnet" => {
                let record = self.subnets.get(&SubnetId::from(id))?;
                Some(thing(id, ThingKind::Subnet, &record.vpc, &record.tags, record))
            }
            "rtb" => {
                let record = self.route_tables.get(&RouteTableId::from(id))?;
                Some(thing(id, ThingKind::RouteTable, &record.vpc, &record.tags, record))
            }
            "i" => {
                let record = self.instances.get(&InstanceId::from(id))?;
                Some(thing(id, ThingKind::Instance, &record.vpc, &record.tags, record))
            }
            _ => None,
        }
    }

    /// Whether a VPC is shared with this account, rather than its own.
    pub(super) fn is_shared(vpc: &SimVpc, account: &AccountId) -> bool {
        vpc.owner != account.as_str()
    }
}

/// A thing that is in no VPC as the journal shows it.
pub(super) fn touched<T>(id: &str, kind: ThingKind, tags: &Tags, record: &Record<T>) -> Touched {
    Touched {
        id: id.to_owned(),
        kind,
        vpc: None,
        made_by: record.made_by.clone(),
        last_changed_by: record.last_changed_by.clone(),
        version: record.version,
        tags: tags.clone(),
        service: None,
        endpoint_type: None,
        state: None,
        private_dns: None,
        value: None,
    }
}

/// A protocol as AWS keeps it.
pub(super) fn protocol(rule: &IngressRule) -> &str {
    match rule.protocol.as_str() {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        "all" => "-1",
        other => other,
    }
}

fn admits_https(rule: &IngressRule) -> bool {
    match protocol(rule) {
        "-1" => true,
        "tcp" => rule.ports.is_none_or(|(from, to)| (from..=to).contains(&HTTPS)),
        _ => false,
    }
}

/// Whether every address of a net is in one of the others.
fn covers(open: &[IpNet], net: IpNet) -> bool {
    if open.iter().any(|other| other.contains(&net)) {
        return true;
    }
    // Two halves may be open one by one; no need to look where nothing inside is.
    open.iter().any(|other| net.contains(other))
        && net.prefix_len() < net.max_prefix_len()
        && net.subnets(net.prefix_len() + 1).is_ok_and(|mut halves| halves.all(|half| covers(open, half)))
}
