//! The hands of everybody but the controller: people, other tools, and AWS's moods.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use ssm_ready_cloud::sim::{
    Actor, HostedZone, NewInstance, NewSubnet, NewVpc, Offer, RegionState, SimEndpoint, Span, Weather, World as Aws,
};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        EndpointState, EndpointType, IngressRule, RuleSource, SecurityGroup, Tags, VpcAttribute, settings::Setting,
    },
    ids::{AccountId, EndpointId, Region, SecurityGroupId, SubnetId, VpcId},
    posture::{CLUSTER_TAG, OWNER_TAG, ServiceName},
    write::{EndpointChange, NewEndpoint, Write, Written},
};

use super::{
    judge::Aspect,
    others::{self, Spot},
    stage::Stage,
    world::{Deed, EXTERNAL_ID, Foreign, Instance, Manners, REGIONS, WEB, World, account_id, role},
};

/// The zones that worlds have subnets in.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// Where a VPC of a world is.
#[derive(Debug, Clone)]
pub struct Place {
    /// The account's number.
    pub account: usize,
    /// Its id.
    pub id: AccountId,
    /// The region.
    pub region: Region,
    /// The VPC.
    pub vpc: VpcId,
}

impl Place {
    fn state<'a>(&self, aws: &'a Aws) -> Result<&'a RegionState> {
        aws.region(&self.id, &self.region).context("no such region")
    }

    fn act(&self, aws: &mut Aws, actor: &Actor, write: &Write) -> Result<Written> {
        aws.act(actor, &self.id, &self.region, write).map_err(|fault| anyhow!("{fault}"))
    }

    fn subnets(&self, aws: &Aws) -> Result<Vec<SubnetId>> {
        let all = self.state(aws)?.subnets.values();
        Ok(all.filter(|s| s.vpc == self.vpc).map(|s| s.id.clone()).collect())
    }

    /// The endpoints of the VPC that are not leaving.
    fn endpoints(&self, aws: &Aws) -> Result<Vec<SimEndpoint>> {
        Ok(self.state(aws)?.live_endpoints(&self.vpc).map(|record| record.value.clone()).collect())
    }

    /// Our security group, or what was ours.
    fn group(&self, aws: &Aws) -> Result<Option<SecurityGroup>> {
        let mut all =
            self.state(aws)?.groups.values().filter(|g| g.vpc == self.vpc && g.name.starts_with("ssm-ready-"));
        Ok(all.next().map(|record| record.value.clone()))
    }
}

/// The number of an account of a world.
#[must_use]
pub fn account_number(id: &AccountId) -> Option<usize> {
    (0..2).find(|number| account_id(*number) == id.as_str())
}

fn ours(tags: &Tags) -> bool {
    tags.contains_key(CLUSTER_TAG) && tags.contains_key(OWNER_TAG)
}

/// Makes what a world begins with.
pub fn set_up(stage: &Stage, world: &World, spots: &[Spot]) -> Result<Vec<Place>> {
    stage.aws.with(|aws| {
        let mut places = Vec::new();
        for (number, vpc) in world.vpcs.iter().enumerate() {
            let id: AccountId = account_id(vpc.account).parse()?;
            let region: Region = REGIONS[vpc.region].parse()?;
            if aws.region(&id, &region).is_none() {
                aws.add_region(&id, &region, Offer::default());
            }
            let cidr = format!("10.{number}.0.0/16").parse()?;
            let new = NewVpc { dns_support: vpc.dns.0, dns_hostnames: vpc.dns.1, ..NewVpc::of(cidr) };
            let place = Place { account: vpc.account, vpc: aws.add_vpc(&id, &region, new), id, region };
            for zone in &ZONES[..vpc.zones.clamp(1, ZONES.len())] {
                for _ in 0..=usize::from(vpc.twice) {
                    aws.add_subnet(&place.id, &place.region, &place.vpc, NewSubnet::of(zone));
                }
            }
            for instance in &vpc.instances {
                launch(aws, &place, *instance)?;
            }
            for foreign in &vpc.foreign {
                make(aws, &place, *foreign)?;
            }
            places.push(place);
        }
        for number in 0..2 {
            let id: AccountId = account_id(number).parse()?;
            aws.add_account(&id);
            aws.add_role(&id, &role(number), Some(EXTERNAL_ID));
        }
        others::set_up(aws, spots)?;
        for (spot, act) in &world.before {
            if !spots.is_empty() {
                others::does(aws, &spots[spot % spots.len()], act);
            }
        }
        // What was there before has been listed for long.
        aws.weather = weather(world.aws);
        Ok(places)
    })
}

fn weather(manners: Manners) -> Weather {
    Weather {
        visible_after: Span::seconds(manners.late.into()),
        flicker_for: Span::seconds(manners.flicker.into()),
        flicker: 0.4,
        listed_after: Span::seconds((manners.late / 2).into()),
        pending_for: Span::seconds(manners.pending.into()),
        deleting_for: Span::seconds(manners.deleting.into()),
        shuffle: true,
        ..Weather::default()
    }
}

/// Ends all faults: AWS is as it was in the beginning.
pub fn calm(stage: &Stage, world: &World) {
    stage.aws.with(|aws| aws.weather = weather(world.aws));
}

/// Lets calls go wrong, each with its share in percent.
pub fn storm(stage: &Stage, throttle: u32, error: u32, lost: u32, latency: u32) {
    let share = |percent: u32| f64::from(percent) / 100.0;
    stage.aws.with(|aws| {
        aws.weather.throttle = share(throttle);
        aws.weather.internal_error = share(error);
        aws.weather.lost_request = share(lost);
        aws.weather.lost_answer = share(lost);
        aws.weather.unsuccessful = share(error);
        aws.weather.contended = share(error);
        aws.weather.document_fails = share(error);
        aws.weather.expired = share(lost) / 4.0;
        aws.weather.latency = Span { least: Duration::ZERO, most: Duration::from_secs(latency.into()) };
    });
}

/// Denies the role of an account a call, or allows it again.
pub fn deny(stage: &Stage, account: usize, operation: Operation, on: bool) {
    let (Ok(id), role) = (account_id(account).parse::<AccountId>(), role(account)) else { return };
    stage.aws.with(|aws| {
        let now = aws.accounts.get(&id).and_then(|a| a.roles.get(&role)).map(|r| r.denied.clone()).unwrap_or_default();
        let denied: BTreeSet<Operation> =
            now.into_iter().filter(|o| *o != operation).chain(on.then_some(operation)).collect();
        aws.set_denied(&id, &role, denied);
    });
}

/// Allows the role of an account everything.
pub fn allow_all(stage: &Stage, account: usize) {
    let Ok(id) = account_id(account).parse::<AccountId>() else { return };
    stage.aws.with(|aws| aws.set_denied(&id, &role(account), []));
}

fn launch(aws: &mut Aws, place: &Place, instance: Instance) -> Result<()> {
    let subnets = place.subnets(aws)?;
    let Some(subnet) = subnets.get(instance.subnet % subnets.len().max(1)) else { return Ok(()) };
    let agent = if instance.old_agent { "3.2.2303.0" } else { "3.3.987.0" };
    let tags: Tags = instance.web.then(|| (WEB.0.to_owned(), WEB.1.to_owned())).into_iter().collect();
    let agent = Some(agent.to_owned());
    let new = NewInstance { agent, internet: instance.internet, tags, ..NewInstance::default() };
    aws.add_instance(&place.id, &place.region, subnet, new);
    Ok(())
}

fn https(from: &str) -> Result<IngressRule> {
    Ok(IngressRule {
        protocol: "tcp".to_owned(),
        ports: Some((443, 443)),
        source: RuleSource::Cidr(from.parse()?),
        description: None,
    })
}

/// Somebody makes an endpoint, as far as AWS lets them.
fn make(aws: &mut Aws, place: &Place, foreign: Foreign) -> Result<()> {
    let actor = Actor::Terraform;
    let gateway = foreign.service == ServiceName::S3;
    let subnets = place.subnets(aws)?;
    let state = place.state(aws)?;
    let tables = state.route_tables.values().filter(|t| t.vpc == place.vpc && t.main).map(|t| t.id.clone()).collect();
    let cidrs = state.vpcs.get(&place.vpc).map(|v| v.cidrs.clone()).unwrap_or_default();
    let number = aws.journal.len();
    let tags: Tags = [("Name".to_owned(), "of the network team".to_owned())].into();
    let mut groups: BTreeSet<SecurityGroupId> = BTreeSet::new();
    if !gateway {
        let new = Write::CreateSecurityGroup {
            vpc: place.vpc.clone(),
            name: format!("endpoints-{number}"),
            description: "endpoints".to_owned(),
            tags: tags.clone(),
        };
        let Written::Group(group) = place.act(aws, &actor, &new)? else { return Ok(()) };
        if foreign.admits {
            let rules = cidrs.iter().map(|cidr| https(&cidr.to_string())).collect::<Result<Vec<_>>>()?;
            place.act(aws, &actor, &Write::AuthorizeIngress { group: group.clone(), rules })?;
        }
        groups.insert(group);
    }
    let new = NewEndpoint {
        vpc: place.vpc.clone(),
        service_name: format!("com.amazonaws.{}.{}", place.region, foreign.service),
        kind: if gateway { EndpointType::Gateway } else { EndpointType::Interface },
        subnets: if gateway { BTreeSet::new() } else { subnets.into_iter().take(1).collect() },
        groups,
        route_tables: if gateway { tables } else { BTreeSet::new() },
        private_dns: foreign.private_dns,
        ip_address_type: None,
        inbound_resolver_only: None,
        tags,
        client_token: format!("terraform-{}-{number}", place.vpc),
    };
    // AWS refuses some: a second private name, DNS attributes that are off, a route that is there.
    let _ = place.act(aws, &actor, &Write::CreateEndpoint(Box::new(new)));
    Ok(())
}

/// Does a deed that is about AWS. Says of which VPC something changed that the controller may know too late.
pub fn does(stage: &Stage, places: &[Place], deed: &Deed) -> Result<Option<(usize, Aspect)>> {
    let count = places.len();
    if count == 0 {
        return Ok(None);
    }
    let person = Actor::Person;
    stage.aws.with(|aws| -> Result<Option<(usize, Aspect)>> {
        // What AWS refuses a person changes nothing, and is no fault of the world.
        let vpc = match deed {
            Deed::DeleteEndpoint(vpc, _)
            | Deed::Fail(vpc, _)
            | Deed::Strip(vpc, _)
            | Deed::StripGroup(vpc)
            | Deed::Revoke(vpc)
            | Deed::Admit(vpc)
            | Deed::DnsOff(vpc, _)
            | Deed::Detach(vpc, _)
            | Deed::AttributeOff(vpc, _)
            | Deed::Subnet(vpc)
            | Deed::Launch(vpc, _)
            | Deed::Stop(vpc, _)
            | Deed::Cidr(vpc)
            | Deed::Make(vpc, _)
            | Deed::Zone(vpc, ..) => vpc % count,
            _ => return Ok(None),
        };
        let place = &places[vpc];
        let endpoint = |aws: &Aws, number: usize| -> Result<Option<SimEndpoint>> {
            let all = place.endpoints(aws)?;
            Ok(if all.is_empty() { None } else { Some(all[number % all.len()].clone()) })
        };
        let mut aspect = None;
        match deed {
            Deed::DeleteEndpoint(_, number) => {
                if let Some(found) = endpoint(aws, *number)? {
                    let endpoints: BTreeSet<EndpointId> = [found.id.clone()].into();
                    let _ = place.act(aws, &person, &Write::DeleteEndpoints { endpoints });
                }
            }
            Deed::Fail(_, number) => {
                if let Some(found) = endpoint(aws, *number)? {
                    aws.set_endpoint_state(&place.id, &place.region, &found.id, EndpointState::Failed);
                }
            }
            Deed::Strip(_, number) => {
                aspect = Some(Aspect::Tags);
                if let Some(found) = endpoint(aws, *number)? {
                    strip(aws, place, found.id.as_str(), &found.tags);
                }
            }
            Deed::StripGroup(_) => {
                aspect = Some(Aspect::Tags);
                if let Some(group) = place.group(aws)? {
                    strip(aws, place, group.id.as_str(), &group.tags);
                }
            }
            Deed::Revoke(_) => {
                aspect = Some(Aspect::Admission);
                if let Some(group) = place.group(aws)?
                    && let Some(rule) = group.ingress.first()
                {
                    let write = Write::RevokeIngress { group: group.id.clone(), rules: vec![rule.clone()] };
                    let _ = place.act(aws, &person, &write);
                }
            }
            Deed::Admit(_) => {
                if let Some(group) = place.group(aws)? {
                    let write =
                        Write::AuthorizeIngress { group: group.id.clone(), rules: vec![https("192.0.2.0/24")?] };
                    let _ = place.act(aws, &person, &write);
                }
            }
            Deed::DnsOff(_, number) => {
                if let Some(found) = endpoint(aws, *number)?.filter(|e| e.kind == EndpointType::Interface) {
                    let change = EndpointChange { private_dns: Some(false), ..EndpointChange::default() };
                    let write = Write::ModifyEndpoint { endpoint: found.id.clone(), change: Box::new(change) };
                    let _ = place.act(aws, &person, &write);
                }
            }
            Deed::Detach(_, number) => {
                if let Some(found) = endpoint(aws, *number)?.filter(|e| e.subnets.len() > 1) {
                    let remove_subnets = found.subnets.iter().take(1).cloned().collect();
                    let change = EndpointChange { remove_subnets, ..EndpointChange::default() };
                    let write = Write::ModifyEndpoint { endpoint: found.id.clone(), change: Box::new(change) };
                    let _ = place.act(aws, &person, &write);
                }
            }
            Deed::AttributeOff(_, support) => {
                let attribute = if *support { VpcAttribute::DnsSupport } else { VpcAttribute::DnsHostnames };
                let _ = aws.set_dns_attribute(&person, &place.id, &place.region, &place.vpc, attribute, false);
            }
            Deed::Subnet(_) => {
                aws.add_subnet(&place.id, &place.region, &place.vpc, NewSubnet::of("b"));
            }
            Deed::Launch(_, instance) => launch(aws, place, *instance)?,
            Deed::Stop(_, gone) => {
                let all: Vec<_> =
                    place.state(aws)?.instances.values().filter(|i| i.vpc == place.vpc).map(|i| i.id.clone()).collect();
                for id in all {
                    if *gone {
                        aws.terminate_instance(&person, &place.id, &place.region, &id);
                    } else {
                        aws.stop_instance(&person, &place.id, &place.region, &id);
                    }
                }
            }
            Deed::Cidr(_) => {
                aspect = Some(Aspect::Admission);
                aws.add_cidr(&person, &place.id, &place.region, &place.vpc, "10.99.0.0/16".parse()?);
            }
            Deed::Make(_, foreign) => make(aws, place, *foreign)?,
            Deed::Zone(_, service, on) => {
                let name = format!("{service}.{}.amazonaws.com", place.region);
                if *on {
                    let zone = HostedZone { reachable: true };
                    let _ = aws.associate_zone(&person, &place.id, &place.region, &place.vpc, &name, zone);
                } else {
                    aws.disassociate_zone(&person, &place.id, &place.region, &place.vpc, &name);
                }
            }
            _ => {}
        }
        Ok(aspect.map(|aspect| (vpc, aspect)))
    })
}

fn strip(aws: &mut Aws, place: &Place, id: &str, tags: &Tags) {
    let keys = tags.keys().cloned().collect();
    let _ = place.act(aws, &Actor::Person, &Write::Untag { resources: [id.to_owned()].into(), keys });
}

/// People put right what they did: hosted zones, endpoints and groups of others, DNS attributes.
pub fn put_right(stage: &Stage, places: &[Place]) -> Result<()> {
    stage.aws.with(|aws| {
        for place in places {
            aws.region_mut(&place.id, &place.region).hosted_zones.clear();
            let foreign: BTreeSet<EndpointId> =
                place.endpoints(aws)?.iter().filter(|e| !ours(&e.tags)).map(|e| e.id.clone()).collect();
            if !foreign.is_empty() {
                place.act(aws, &Actor::Person, &Write::DeleteEndpoints { endpoints: foreign })?;
            }
            for attribute in VpcAttribute::BOTH {
                // Not while an endpoint forbids it; on is never forbidden.
                let _ = aws.set_dns_attribute(&Actor::Person, &place.id, &place.region, &place.vpc, attribute, true);
            }
            // A group of ours that has lost its tags keeps its name, which only one group of a VPC can have.
            if let Some(group) = place.group(aws)?.filter(|g| !ours(&g.tags)) {
                let write = match owner(stage, place) {
                    Some(owner) => Write::Tag {
                        resources: [group.id.to_string()].into(),
                        tags: [(CLUSTER_TAG.to_owned(), stage.cluster.clone()), (OWNER_TAG.to_owned(), owner)].into(),
                    },
                    None => Write::DeleteSecurityGroup { group: group.id.clone() },
                };
                // Not while an endpoint that leaves uses it.
                let _ = place.act(aws, &Actor::Person, &write);
            }
        }
        Ok(())
    })
}

/// The owner tag of what the VPC's posture makes, if it has one.
fn owner(stage: &Stage, place: &Place) -> Option<String> {
    let all = stage.kubernetes.all(super::kubernetes::Kind::Vpc);
    let found = all.into_iter().find(|(_, object)| object["spec"]["target"]["vpcId"] == place.vpc.as_str());
    found.map(|(id, _)| format!("VpcPosture/{}/{}", id.1, id.2))
}

/// Everything of AWS that an object makes or changes, in one line each, without ids.
#[must_use]
pub fn picture(stage: &Stage) -> Vec<String> {
    let mut lines = stage.aws.with(|aws| {
        let mut lines = Vec::new();
        for (account, state) in aws.accounts.iter().flat_map(|(id, a)| a.regions.iter().map(move |(r, s)| ((id, r), s)))
        {
            let name = |id: &SecurityGroupId| state.groups.get(id).map(|g| g.name.clone()).unwrap_or_default();
            for vpc in state.vpcs.values() {
                lines.push(format!("{account:?} {} dns {} {}", vpc.id, vpc.dns_support, vpc.dns_hostnames));
            }
            for e in state.endpoints.values().filter(|e| !e.state.is_leaving()) {
                let groups: BTreeSet<String> = e.groups.iter().map(name).collect();
                lines.push(format!(
                    "{account:?} {} {} {:?} {:?} {:?} {groups:?} {:?} dns {} {:?} {:?}",
                    e.vpc, e.service_name, e.kind, e.state, e.subnets, e.route_tables, e.private_dns, e.policy, e.tags
                ));
            }
            for g in state.groups.values().filter(|g| g.name != "default") {
                let rules: BTreeSet<String> = g.ingress.iter().map(|r| format!("{r:?}")).collect();
                lines.push(format!("{account:?} {} {} {rules:?} {:?}", g.vpc, g.name, g.tags));
            }
            for setting in Setting::ALL {
                lines.push(format!("{account:?} {setting} {:?}", state.setting_value(setting)));
            }
            lines.push(format!("{account:?} {:?}", state.metadata()));
            if let Some(rule) = state.audit_rule() {
                lines.push(format!("{account:?} {rule:?}"));
            }
            if let Some(document) = state.session_document() {
                lines.push(format!("{account:?} {} {:?}", document.content_in_use(), document.tags));
            }
        }
        for (account, held) in &aws.accounts {
            let roles = held.iam.roles.values().map(|r| &r.value).filter(|r| r.arn != role_of(account));
            lines.extend(roles.map(|role| format!("{account} {role:?}")));
            lines.extend(held.iam.profiles.values().map(|profile| format!("{account} {:?}", profile.value)));
        }
        lines
    });
    lines.sort_unstable();
    lines
}

/// The role that the controller takes on in an account.
fn role_of(account: &AccountId) -> String {
    account_number(account).map(role).unwrap_or_default()
}

/// What a call was about, in words.
#[must_use]
pub fn words(entry: &ssm_ready_cloud::sim::Entry) -> String {
    entry.write.as_ref().map_or_else(|| entry.detail.clone(), ToString::to_string)
}
