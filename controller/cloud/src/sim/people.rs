//! The world as it is set up, and what other actors do in it.

mod accounts;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use ssm_ready_core::{
    calls::Bucket,
    facts::{
        EndpointState, EndpointType, Instance, InstanceState, RouteTable, SecurityGroup, Service, Subnet, Tags, Vpc,
        VpcAttribute,
    },
    ids::{
        AccountId, EndpointId, InstanceId, PrefixListId, ProfileName, Region, RouteTableId, SecurityGroupId, SubnetId,
        VpcId,
    },
};

pub use accounts::NewSimRole;

use super::{
    journal::{Entry, Outcome},
    record::{Actor, Record},
    state::{Account, Agent, HostedZone, RegionState, Role, SimInstance, SimService, SimVpc},
    world::{Ctx, Own, Refusal, World},
};

/// How long an instance takes until its agent runs.
const BOOT: Duration = Duration::from_secs(60);
/// The letters of a region's zones.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// What a region offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Whether the region is old enough to have ec2messages.
    pub ec2messages: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Self { ec2messages: true }
    }
}

/// A VPC to be made.
#[derive(Debug, Clone, Default)]
pub struct NewVpc {
    /// Its id; none: any.
    pub id: Option<VpcId>,
    /// Its CIDRs.
    pub cidrs: Vec<IpNet>,
    /// `enableDnsSupport`.
    pub dns_support: bool,
    /// `enableDnsHostnames`.
    pub dns_hostnames: bool,
    /// The account that owns it; none: the one that it is made in.
    pub owner: Option<AccountId>,
    /// Its tags.
    pub tags: Tags,
}

impl NewVpc {
    /// A VPC of one CIDR, with both DNS attributes on.
    #[must_use]
    pub fn of(cidr: IpNet) -> Self {
        Self { cidrs: vec![cidr], dns_support: true, dns_hostnames: true, ..Self::default() }
    }
}

/// A subnet to be made.
#[derive(Debug, Clone)]
pub struct NewSubnet {
    /// The letter of its zone.
    pub zone: String,
    /// Its free addresses.
    pub free_addresses: i64,
    /// Whether it has an IPv4 CIDR.
    pub has_ipv4: bool,
    /// Whether it has an IPv6 CIDR.
    pub has_ipv6: bool,
    /// Its tags.
    pub tags: Tags,
}

impl NewSubnet {
    /// An IPv4 subnet with plenty of addresses in a zone.
    #[must_use]
    pub fn of(zone: &str) -> Self {
        Self { zone: zone.to_owned(), free_addresses: 250, has_ipv4: true, has_ipv6: false, tags: Tags::new() }
    }
}

/// An instance to be made.
#[derive(Debug, Clone, Default)]
pub struct NewInstance {
    /// The version of its agent, if it has one.
    pub agent: Option<String>,
    /// Whether it can reach public addresses.
    pub internet: bool,
    /// Its security groups; none: the VPC's default one.
    pub groups: BTreeSet<SecurityGroupId>,
    /// Whether its agent needs the credentials that its metadata gives, of its profile or of Default Host Management; it has
    /// some of its own otherwise.
    pub needs_credentials: bool,
    /// Its tags.
    pub tags: Tags,
    /// Its instance profile. Whether it is there is for the instance to find out.
    pub profile: Option<ProfileName>,
    /// Whether its metadata can be read without a token; none: as the region's metadata defaults have it.
    pub imds_v1: Option<bool>,
    /// Whether its metadata can be read at all; none: as the region's metadata defaults have it.
    pub imds: Option<bool>,
}

/// The short form of a region's name that zone ids begin with, such as `euw1`.
fn short(region: &Region) -> String {
    let mut parts = region.as_str().split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |short, part| {
        short + if part.starts_with(|c: char| c.is_ascii_digit()) { part } else { part.get(..1).unwrap_or(part) }
    })
}

/// The reversed domain that a service's name begins with: it differs by region, and not for all services alike.
fn prefix(region: &Region, service: &str, kind: EndpointType) -> &'static str {
    const BY_REGION: [(&str, &str); 6] = [
        ("cn-", "cn.com.amazonaws"),
        ("eusc-", "eu.amazonaws"),
        ("us-isob-", "gov.sgov.sc2s"),
        ("us-isof-", "gov.ic.hci.csp"),
        ("us-iso-", "gov.ic.c2s"),
        ("eu-isoe-", "uk.adc-e.cloud"),
    ];
    let special = matches!(service, "ec2" | "sts" | "monitoring" | "s3") && kind == EndpointType::Interface;
    let found = BY_REGION.iter().find(|(start, _)| region.as_str().starts_with(start));
    found.filter(|_| special).map_or("com.amazonaws", |(_, prefix)| prefix)
}

/// One service of a region.
fn service(region: &Region, short_name: &str, kind: EndpointType) -> SimService {
    let host = format!("{short_name}.{region}.{}", region.agent_domain());
    let gateway = kind == EndpointType::Gateway;
    let private_dns_names = match short_name {
        _ if gateway => Vec::new(),
        "s3" => vec![host.clone(), format!("*.{host}")],
        _ => vec![host],
    };
    SimService {
        fact: Service {
            name: format!("{}.{region}.{short_name}", prefix(region, short_name, kind)),
            kind,
            zones: ZONES.iter().map(|zone| format!("{region}{zone}")).collect(),
            private_dns_names,
            ipv4: true,
            ipv6: !gateway,
        },
        prefix_list: gateway.then(|| PrefixListId::from(format!("pl-{short_name}"))),
    }
}

impl World {
    /// Who the controller is before it takes on any role; none: it has no credentials.
    pub fn set_own(&mut self, own: Option<Own>) {
        self.own = own;
    }

    /// An account, made if it is not there.
    pub fn add_account(&mut self, account: &AccountId) -> &mut Account {
        self.accounts.entry(account.clone()).or_default()
    }

    /// A role that trusts everybody who knows its external id, and may everything.
    pub fn add_role(&mut self, account: &AccountId, arn: &str, external_id: Option<&str>) -> &mut Role {
        self.stand_in_iam(account, arn);
        let role = self.add_account(account).roles.entry(arn.to_owned()).or_default();
        role.external_id = external_id.map(ToOwned::to_owned);
        role
    }

    /// Deletes a role. Sessions of it may nothing from then on.
    pub fn remove_role(&mut self, account: &AccountId, arn: &str) {
        if let Some(account) = self.accounts.get_mut(account) {
            account.roles.remove(arn);
            account.iam.forget_role(arn);
        }
    }

    /// A region with what AWS offers in it.
    pub fn add_region(&mut self, account: &AccountId, region: &Region, offer: Offer) -> &mut RegionState {
        let state = self.region_mut(account, region);
        let interfaces = ["ssm", "ssmmessages", "kms", "logs", "ec2", "monitoring", "sts", "s3"];
        let mut services: Vec<SimService> =
            interfaces.iter().map(|name| service(region, name, EndpointType::Interface)).collect();
        services.extend(["s3", "dynamodb"].iter().map(|name| service(region, name, EndpointType::Gateway)));
        if offer.ec2messages {
            services.push(service(region, "ec2messages", EndpointType::Interface));
        }
        state.services = services.into_iter().map(|s| ((s.fact.name.clone(), s.fact.kind), s)).collect();
        state
    }

    /// A VPC with its main route table and default group.
    pub fn add_vpc(&mut self, account: &AccountId, region: &Region, new: NewVpc) -> VpcId {
        self.region_mut(account, region);
        let actor = Actor::Person;
        let id = new.id.clone().unwrap_or_else(|| VpcId::from(self.ids.next("vpc")));
        let Some((state, mut ctx)) = self.split(&actor, account, region) else { return id };
        let group = SecurityGroupId::from(ctx.ids.next("sg"));
        let table = RouteTableId::from(ctx.ids.next("rtb"));
        let made = ctx.record(SecurityGroup {
            id: group.clone(),
            vpc: id.clone(),
            name: "default".to_owned(),
            ingress: Vec::new(),
            tags: Tags::new(),
        });
        state.groups.insert(group.clone(), made);
        let made = ctx.record(route_table(&table, &id, true, BTreeSet::new()));
        state.route_tables.insert(table, made);
        let owner = new.owner.as_ref().unwrap_or(account).to_string();
        let made = ctx.record(SimVpc {
            fact: Vpc { id: id.clone(), owner, cidrs: new.cidrs },
            dns_support: new.dns_support,
            dns_hostnames: new.dns_hostnames,
            tags: new.tags,
            default_group: group,
        });
        state.vpcs.insert(id.clone(), made);
        id
    }

    /// Shares a VPC and its subnets with another account, as they are now: the participant sees both, but neither the
    /// route tables nor the endpoints.
    pub fn share_vpc(&mut self, owner: &AccountId, region: &Region, vpc: &VpcId, with: &AccountId) {
        let Some(state) = self.region(owner, region) else { return };
        let Some(shared) = state.vpcs.get(vpc).cloned() else { return };
        let subnets: Vec<Record<Subnet>> = state.subnets.values().filter(|s| s.vpc == *vpc).cloned().collect();
        let other = self.region_mut(with, region);
        other.vpcs.insert(vpc.clone(), shared);
        for subnet in subnets {
            other.subnets.insert(subnet.value.id.clone(), subnet);
        }
    }

    /// A subnet.
    pub fn add_subnet(&mut self, account: &AccountId, region: &Region, vpc: &VpcId, new: NewSubnet) -> SubnetId {
        let id = SubnetId::from(self.ids.next("subnet"));
        let number = ZONES.iter().position(|zone| *zone == new.zone).map_or(9, |at| at + 1);
        let made = Subnet {
            id: id.clone(),
            vpc: vpc.clone(),
            zone: format!("{region}{}", new.zone),
            zone_id: format!("{}-az{number}", short(region)),
            free_addresses: new.free_addresses,
            has_ipv4: new.has_ipv4,
            has_ipv6: new.has_ipv6,
            tags: new.tags,
        };
        if let Some((state, mut ctx)) = self.split(&Actor::Person, account, region) {
            let made = ctx.record(made);
            state.subnets.insert(id.clone(), made);
        }
        id
    }

    /// A route table that some subnets use.
    pub fn add_route_table(
        &mut self,
        account: &AccountId,
        region: &Region,
        vpc: &VpcId,
        subnets: impl IntoIterator<Item = SubnetId>,
    ) -> RouteTableId {
        let id = RouteTableId::from(self.ids.next("rtb"));
        let made = route_table(&id, vpc, false, subnets.into_iter().collect());
        if let Some((state, mut ctx)) = self.split(&Actor::Person, account, region) {
            let made = ctx.record(made);
            state.route_tables.insert(id.clone(), made);
        }
        id
    }

    /// A running instance whose agent, if it has one, tries to reach Systems Manager at once.
    pub fn add_instance(
        &mut self,
        account: &AccountId,
        region: &Region,
        subnet: &SubnetId,
        new: NewInstance,
    ) -> InstanceId {
        let id = InstanceId::from(self.ids.next("i"));
        let profile = new.profile.as_ref().map(|profile| self.profile_arn(account, region, profile));
        let Some((state, mut ctx)) = self.split(&Actor::Person, account, region) else { return id };
        let vpc = state.subnets.get(subnet).map(|subnet| subnet.vpc.clone());
        let Some(vpc) = vpc.and_then(|vpc| state.vpcs.get(&vpc)) else { return id };
        let imds = state.metadata_options(&new);
        let mut groups = new.groups;
        if groups.is_empty() {
            groups.insert(vpc.default_group.clone());
        }
        let made = SimInstance {
            fact: Instance {
                id: id.clone(),
                vpc: vpc.value.fact.id.clone(),
                subnet: subnet.clone(),
                state: InstanceState::Running,
                profile,
                imds_v1: Some(imds.0),
                imds: Some(imds.1),
                tags: new.tags,
            },
            address: address(vpc.cidrs.first(), state.instances.len()),
            groups,
            internet: new.internet,
            agent: new.agent.map(Agent::new),
            own_credentials: !new.needs_credentials,
            associated_from: ctx.now,
        };
        let made = ctx.record(made);
        state.instances.insert(id.clone(), made);
        self.start_agent(account, region, &id, Duration::ZERO);
        id
    }

    /// Stops an instance.
    pub fn stop_instance(&mut self, actor: &Actor, account: &AccountId, region: &Region, id: &InstanceId) {
        self.does(actor, account, region, "StopInstances", id.as_str(), |state, ctx| {
            if let Some(record) = state.instances.get_mut(id) {
                record.change(ctx.actor, ctx.now, ctx.weather, |instance| {
                    instance.fact.state = InstanceState::Stopped;
                    if let Some(agent) = &mut instance.agent {
                        agent.run += 1;
                        agent.last_ping = None;
                    }
                });
            }
        });
    }

    /// Starts a stopped instance; its agent tries when it has booted.
    pub fn start_instance(&mut self, actor: &Actor, account: &AccountId, region: &Region, id: &InstanceId) {
        self.does(actor, account, region, "StartInstances", id.as_str(), |state, ctx| {
            if let Some(record) = state.instances.get_mut(id) {
                record.change(ctx.actor, ctx.now, ctx.weather, |i| i.fact.state = InstanceState::Running);
            }
        });
        self.start_agent(account, region, id, BOOT);
    }

    /// Restarts an instance's agent: it tries in a moment.
    pub fn restart_agent(&mut self, account: &AccountId, region: &Region, id: &InstanceId) {
        self.start_agent(account, region, id, Duration::from_secs(1));
    }

    /// Terminates an instance.
    pub fn terminate_instance(&mut self, actor: &Actor, account: &AccountId, region: &Region, id: &InstanceId) {
        self.does(actor, account, region, "TerminateInstances", id.as_str(), |state, ctx| {
            let until = ctx.listed_until();
            state.instances.bury(id, ctx.now, until);
        });
    }

    /// Gives an instance a way to public addresses, or takes it away.
    pub fn set_internet(&mut self, account: &AccountId, region: &Region, id: &InstanceId, internet: bool) {
        if let Some(record) = self.region_mut(account, region).instances.get_mut(id) {
            record.value.internet = internet;
        }
    }

    /// Sets a DNS attribute of a VPC, also to false.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn set_dns_attribute(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        vpc: &VpcId,
        attribute: VpcAttribute,
        on: bool,
    ) -> Result<(), Refusal> {
        self.person(actor, account, region, "ModifyVpcAttribute", vpc.as_str(), |state, ctx| {
            state.set_attribute(ctx, vpc, attribute, on).map(|_| ())
        })
    }

    /// Associates another CIDR with a VPC.
    pub fn add_cidr(&mut self, actor: &Actor, account: &AccountId, region: &Region, vpc: &VpcId, cidr: IpNet) {
        self.does(actor, account, region, "AssociateVpcCidrBlock", vpc.as_str(), |state, ctx| {
            if let Some(record) = state.vpcs.get_mut(vpc) {
                record.change(ctx.actor, ctx.now, ctx.weather, |vpc| {
                    if !vpc.fact.cidrs.contains(&cidr) {
                        vpc.fact.cidrs.push(cidr);
                    }
                });
            }
        });
    }

    /// Takes a CIDR away from a VPC.
    pub fn remove_cidr(&mut self, actor: &Actor, account: &AccountId, region: &Region, vpc: &VpcId, cidr: IpNet) {
        self.does(actor, account, region, "DisassociateVpcCidrBlock", vpc.as_str(), |state, ctx| {
            if let Some(record) = state.vpcs.get_mut(vpc) {
                record.change(ctx.actor, ctx.now, ctx.weather, |vpc| vpc.fact.cidrs.retain(|other| *other != cidr));
            }
        });
    }

    /// Deletes a subnet in which nothing is.
    ///
    /// # Errors
    /// `DependencyViolation`, `InvalidSubnetID.NotFound`.
    pub fn delete_subnet(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        subnet: &SubnetId,
    ) -> Result<(), Refusal> {
        self.person(actor, account, region, "DeleteSubnet", subnet.as_str(), |state, ctx| {
            if !state.subnets.contains_key(subnet) {
                return Err(Refusal::new("InvalidSubnetID.NotFound", format!("'{subnet}' does not exist")));
            }
            let used = state.network_interfaces.values().any(|interface| interface.subnet == *subnet)
                || state.instances.values().any(|instance| instance.subnet == *subnet);
            if used {
                return Err(Refusal::new("DependencyViolation", format!("{subnet} has dependencies")));
            }
            state.forget_subnet(ctx, subnet);
            Ok(())
        })
    }

    /// Deletes a route table that serves no gateway.
    ///
    /// # Errors
    /// `DependencyViolation`, `InvalidRouteTableID.NotFound`.
    pub fn delete_route_table(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        table: &RouteTableId,
    ) -> Result<(), Refusal> {
        self.person(actor, account, region, "DeleteRouteTable", table.as_str(), |state, ctx| {
            let Some(found) = state.route_tables.get(table) else {
                return Err(Refusal::new("InvalidRouteTableID.NotFound", format!("'{table}' does not exist")));
            };
            if found.main || !found.endpoint_routes.is_empty() || !found.subnets.is_empty() {
                return Err(Refusal::new("DependencyViolation", format!("{table} has dependencies")));
            }
            let until = ctx.listed_until();
            state.route_tables.bury(table, ctx.now, until);
            Ok(())
        })
    }

    /// Deletes a VPC in which nothing is left but its main route table and default group.
    ///
    /// # Errors
    /// `DependencyViolation`, `InvalidVpcID.NotFound`.
    pub fn delete_vpc(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        vpc: &VpcId,
    ) -> Result<(), Refusal> {
        self.person(actor, account, region, "DeleteVpc", vpc.as_str(), |state, ctx| {
            let Some(found) = state.vpcs.get(vpc) else {
                return Err(Refusal::new("InvalidVpcID.NotFound", format!("'{vpc}' does not exist")));
            };
            let used = state.subnets.values().any(|subnet| subnet.vpc == *vpc)
                || state.endpoints.values().any(|e| e.vpc == *vpc && e.state != EndpointState::Deleted)
                || state.network_interfaces.values().any(|interface| interface.vpc == *vpc)
                || state.groups.values().any(|g| g.vpc == *vpc && g.value.id != found.default_group)
                || state.route_tables.values().any(|table| table.vpc == *vpc && !table.main);
            if used {
                return Err(Refusal::new("DependencyViolation", format!("{vpc} has dependencies")));
            }
            state.forget_vpc(ctx, vpc);
            Ok(())
        })
    }

    /// Everything in a VPC and the VPC itself goes, at once: what a person does in a long afternoon.
    pub fn destroy_vpc(&mut self, actor: &Actor, account: &AccountId, region: &Region, vpc: &VpcId) {
        self.does(actor, account, region, "DestroyVpc", vpc.as_str(), |state, ctx| {
            state.forget_vpc(ctx, vpc);
        });
    }

    /// Associates a private hosted zone with a VPC.
    ///
    /// # Errors
    /// `ConflictingDomainExists` while an endpoint's private DNS has the name.
    pub fn associate_zone(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        vpc: &VpcId,
        name: &str,
        zone: HostedZone,
    ) -> Result<(), Refusal> {
        self.person(actor, account, region, "AssociateVPCWithHostedZone", vpc.as_str(), |state, ctx| {
            let names = [name.to_owned()];
            if state.taken_name(vpc, &names, ctx.weather.failed_hold_names).is_some() {
                return Err(Refusal::new("ConflictingDomainExists", format!("{vpc} has the domain {name} already")));
            }
            state.hosted_zones.entry(vpc.clone()).or_default().insert(name.to_owned(), zone);
            Ok(())
        })
    }

    /// Takes a private hosted zone away from a VPC.
    pub fn disassociate_zone(&mut self, actor: &Actor, account: &AccountId, region: &Region, vpc: &VpcId, name: &str) {
        self.does(actor, account, region, "DisassociateVPCFromHostedZone", vpc.as_str(), |state, _| {
            if let Some(zones) = state.hosted_zones.get_mut(vpc) {
                zones.remove(name);
            }
        });
    }

    /// AWS puts an endpoint into a state; what was planned for it before does not happen.
    pub fn set_endpoint_state(
        &mut self,
        account: &AccountId,
        region: &Region,
        id: &EndpointId,
        endpoint_state: EndpointState,
    ) {
        let actor = Actor::Aws;
        self.does(&actor, account, region, "EndpointLife", id.as_str(), |state, ctx| {
            state.enter_state(ctx, id, endpoint_state, None);
        });
    }

    /// Says whether an AWS service manages an endpoint.
    pub fn set_requester_managed(&mut self, account: &AccountId, region: &Region, id: &EndpointId, managed: bool) {
        if let Some(record) = self.region_mut(account, region).endpoints.get_mut(id) {
            record.value.fact.requester_managed = managed;
        }
    }

    /// Sets an endpoint's policy document.
    pub fn set_policy(&mut self, actor: &Actor, account: &AccountId, region: &Region, id: &EndpointId, policy: &str) {
        self.does(actor, account, region, "ModifyVpcEndpoint", id.as_str(), |state, ctx| {
            if let Some(record) = state.endpoints.get_mut(id) {
                record.change(ctx.actor, ctx.now, ctx.weather, |e| e.fact.policy = Some(policy.to_owned()));
            }
        });
    }

    /// Somebody else's calls in the account empty one of AWS's token buckets.
    pub fn drain_bucket(&mut self, account: &AccountId, region: &Region, bucket: Bucket) {
        let now = self.now;
        if bucket == Bucket::Iam {
            self.add_account(account).iam.meters.drain(bucket, now);
        } else {
            self.region_mut(account, region).meters.drain(bucket, now);
        }
    }

    /// As [`Self::person`], for what AWS never refuses.
    pub(super) fn does(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        call: &'static str,
        id: &str,
        act: impl FnOnce(&mut RegionState, &mut Ctx<'_>),
    ) {
        // Nothing to refuse but a region that is not there, which the journal tells.
        let _ = self.person(actor, account, region, call, id, |state, ctx| {
            act(state, ctx);
            Ok(())
        });
    }

    /// Something that an actor does and the controller cannot, with its entry in the journal.
    fn person(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        call: &'static str,
        id: &str,
        act: impl FnOnce(&mut RegionState, &mut Ctx<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut entry = Entry::new(actor, account, region, call);
        id.clone_into(&mut entry.detail);
        let result = match self.split(actor, account, region) {
            Some((state, mut ctx)) => {
                entry.touched.extend(state.touched(id));
                act(state, &mut ctx)
            }
            None => Err(Refusal::new("OptInRequired", "the region is not enabled").status(401)),
        };
        entry.took_effect = result.is_ok();
        if let Err(refusal) = &result {
            let kind = ssm_ready_core::fault::classify(refusal.code, refusal.status);
            entry.outcome = Outcome::Refused { kind, code: refusal.code.to_owned() };
        }
        self.enter(entry);
        result
    }
}

impl RegionState {
    fn forget_subnet(&mut self, ctx: &mut Ctx<'_>, subnet: &SubnetId) {
        let until = ctx.listed_until();
        self.subnets.bury(subnet, ctx.now, until);
        for table in self.route_tables.values_mut().filter(|table| table.value.subnets.contains(subnet)) {
            table.change(ctx.actor, ctx.now, ctx.weather, |table| {
                table.subnets.remove(subnet);
            });
        }
    }

    fn forget_vpc(&mut self, ctx: &mut Ctx<'_>, vpc: &VpcId) {
        let until = ctx.listed_until();
        macro_rules! clear {
            ($($table:ident),*) => {
                $(
                    let ids: Vec<_> =
                        self.$table.iter().filter(|(_, r)| r.value.vpc == *vpc).map(|(id, _)| id.clone()).collect();
                    for id in ids {
                        self.$table.bury(&id, ctx.now, until);
                    }
                )*
            };
        }
        let endpoints: Vec<EndpointId> =
            self.endpoints.iter().filter(|(_, r)| r.value.fact.vpc == *vpc).map(|(id, _)| id.clone()).collect();
        for id in endpoints {
            self.endpoints.bury(&id, ctx.now, until);
        }
        let instances: Vec<InstanceId> =
            self.instances.iter().filter(|(_, r)| r.value.fact.vpc == *vpc).map(|(id, _)| id.clone()).collect();
        for id in instances {
            self.instances.bury(&id, ctx.now, until);
        }
        clear!(network_interfaces, groups, route_tables, subnets);
        self.hosted_zones.remove(vpc);
        self.vpcs.bury(vpc, ctx.now, until);
    }
}

fn route_table(id: &RouteTableId, vpc: &VpcId, main: bool, subnets: BTreeSet<SubnetId>) -> RouteTable {
    RouteTable { id: id.clone(), vpc: vpc.clone(), main, subnets, endpoint_routes: BTreeMap::new(), tags: Tags::new() }
}

/// The address of the VPC's so-manieth instance.
fn address(cidr: Option<&IpNet>, number: usize) -> IpAddr {
    let nth = u8::try_from(number % 200).unwrap_or(0) + 10;
    match cidr.map(IpNet::network) {
        Some(IpAddr::V4(network)) => {
            let [a, b, c, d] = network.octets();
            IpAddr::from([a, b, c, d.wrapping_add(nth)])
        }
        Some(IpAddr::V6(network)) => {
            let mut bytes = network.octets();
            bytes[15] = bytes[15].wrapping_add(nth);
            IpAddr::from(bytes)
        }
        None => IpAddr::from([0, 0, 0, 0]),
    }
}
