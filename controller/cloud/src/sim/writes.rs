//! The writes, as AWS carries them out: each whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use ssm_ready_core::{
    calls::Operation,
    facts::{
        Endpoint, EndpointState, EndpointType, IngressRule, IpAddressType, RuleSource, SecurityGroup, Tags,
        VpcAttribute,
    },
    fault::{Fault, FaultKind},
    ids::{AccountId, EndpointId, InstanceId, Region, RouteTableId, SecurityGroupId, SubnetId, VpcId},
    write::{
        DocumentChange, EndpointChange, FULL_ACCESS_POLICY, NewEndpoint, ProfileChange, RoleChange, RuleChange, Write,
        Written,
    },
};

use super::{
    journal::Entry,
    record::{Actor, later},
    state::{RegionState, SimEndpoint, SimService, SimVpc, Token, protocol},
    world::{Ctx, Refusal, World},
};

/// The longest client token.
const MAX_TOKEN: usize = 64;
/// The longest name or description of a security group.
const MAX_NAME: usize = 255;

type Result<T = (), E = Refusal> = std::result::Result<T, E>;

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameter", message)
}

/// What an interface endpoint is to look like.
struct Shape<'a> {
    vpc: &'a SimVpc,
    service: &'a SimService,
    subnets: &'a BTreeSet<SubnetId>,
    /// Those that are new to it.
    added_subnets: &'a BTreeSet<SubnetId>,
    groups: &'a BTreeSet<SecurityGroupId>,
    /// Those that are new to it.
    added_groups: &'a BTreeSet<SecurityGroupId>,
    family: IpAddressType,
    /// Whether private DNS is switched on.
    switch_on: bool,
    inbound_resolver_only: bool,
}

impl World {
    /// Carries out a write. Who may do it has been decided; `user` is the ARN of whoever does, where that is not the
    /// actor's usual one.
    pub(super) fn perform(
        &mut self,
        actor: &Actor,
        user: Option<&str>,
        account: &AccountId,
        region: &Region,
        write: &Write,
    ) -> Result<Written> {
        let not_enabled = || Refusal::new("OptInRequired", "the region is not enabled").status(401);
        let (holder, mut ctx) = self.split_account(actor, account, region).ok_or_else(not_enabled)?;
        ctx.user = user;
        if matches!(write, Write::Role { .. } | Write::Profile { .. }) {
            return holder.write_iam(&mut ctx, write);
        }
        if let Write::AssociateProfile { profile, .. } = write {
            holder.iam.check_profile_arn(&mut ctx, profile)?;
        }
        let state = holder.regions.get_mut(region).ok_or_else(not_enabled)?;
        let result = state.perform(&mut ctx, write);
        self.replayed = ctx.replayed;
        result
    }

    /// A write of anybody but a controller: the same rules, but no rate, no IAM and no weather stand in its way.
    /// As at the port, what is already so counts as done.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn act(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        write: &Write,
    ) -> Result<Written, Fault> {
        let result = self.act_once(actor, account, region, write);
        let Some(result) = settle(write, result) else {
            for single in singly(write) {
                match self.act_once(actor, account, region, &single) {
                    Err(fault) if !already(&single, &fault) => return Err(fault),
                    _ => {}
                }
            }
            return Ok(Written::Done);
        };
        result
    }

    fn act_once(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        write: &Write,
    ) -> Result<Written, Fault> {
        let operation = write.operation();
        let mut entry = Entry::new(actor, account, region, operation.name());
        entry.operation = Some(operation);
        entry.write = Some(write.clone());
        self.witness(&mut entry, write);
        self.replayed = false;
        let result = self.perform(actor, None, account, region, write);
        let result = self.conclude(&mut entry, operation, result, Self::describe);
        self.enter(entry);
        result
    }
}

/// Whether a fault says that a rule is already as it should be.
pub(super) fn already(write: &Write, fault: &Fault) -> bool {
    match write {
        Write::AuthorizeIngress { .. } => fault.code == "InvalidPermission.Duplicate",
        Write::RevokeIngress { .. } => fault.code == "InvalidPermission.NotFound",
        _ => false,
    }
}

/// A write of several rules as writes of one each.
pub(super) fn singly(write: &Write) -> Vec<Write> {
    match write {
        Write::AuthorizeIngress { group, rules } if rules.len() > 1 => rules
            .iter()
            .map(|rule| Write::AuthorizeIngress { group: group.clone(), rules: vec![rule.clone()] })
            .collect(),
        Write::RevokeIngress { group, rules } if rules.len() > 1 => {
            rules.iter().map(|rule| Write::RevokeIngress { group: group.clone(), rules: vec![rule.clone()] }).collect()
        }
        _ => Vec::new(),
    }
}

/// What the port makes of AWS's answer: what is already so is done. None: to be tried rule by rule.
pub(super) fn settle(write: &Write, result: Result<Written, Fault>) -> Option<Result<Written, Fault>> {
    match result {
        Err(fault) if already(write, &fault) => None,
        Err(fault) if takes_away(write) && fault.kind == FaultKind::NotFound => Some(Ok(Written::Done)),
        Err(fault)
            if matches!(write, Write::Document(DocumentChange::Update(_)))
                && fault.code == "DuplicateDocumentContent" =>
        {
            Some(Ok(Written::Done))
        }
        Ok(Written::NotDeleted(left)) => {
            let left: Vec<_> = left.into_iter().filter(|(_, fault)| fault.kind != FaultKind::NotFound).collect();
            Some(Ok(if left.is_empty() { Written::Done } else { Written::NotDeleted(left) }))
        }
        other => Some(other),
    }
}

/// Whether a write takes something away, so that it is done where there is nothing.
fn takes_away(write: &Write) -> bool {
    matches!(
        write,
        Write::DeleteSecurityGroup { .. }
            | Write::Document(DocumentChange::Delete)
            | Write::Rule(RuleChange::RemoveTargets(_) | RuleChange::Delete)
            | Write::Role { change: RoleChange::Delete | RoleChange::Detach(_) | RoleChange::DeleteInline(_), .. }
            | Write::Profile { change: ProfileChange::Delete | ProfileChange::RemoveRole(_), .. }
    )
}

impl RegionState {
    fn perform(&mut self, ctx: &mut Ctx<'_>, write: &Write) -> Result<Written> {
        match write {
            Write::CreateSecurityGroup { vpc, name, description, tags } => {
                self.create_group(ctx, vpc, name, description, tags)
            }
            Write::AuthorizeIngress { group, rules } => self.authorize(ctx, group, rules),
            Write::RevokeIngress { group, rules } => self.revoke(ctx, group, rules),
            Write::DeleteSecurityGroup { group } => self.delete_group(ctx, group),
            Write::CreateEndpoint(new) => self.create_endpoint(ctx, new),
            Write::ModifyEndpoint { endpoint, change } => self.modify_endpoint(ctx, endpoint, change),
            Write::DeleteEndpoints { endpoints } => Ok(self.delete_endpoints(ctx, endpoints)),
            Write::Tag { resources, tags } => {
                reserved(tags.keys())?;
                self.retag(ctx, resources, |old| {
                    let mut new = old.clone();
                    new.extend(tags.iter().map(|(key, value)| (key.clone(), value.clone())));
                    new
                })
            }
            Write::Untag { resources, keys } => {
                reserved(keys.iter())?;
                self.retag(ctx, resources, |old| {
                    old.iter().filter(|(key, _)| !keys.contains(*key)).map(|(k, v)| (k.clone(), v.clone())).collect()
                })
            }
            Write::EnableVpcAttribute { vpc, attribute } => self.set_attribute(ctx, vpc, *attribute, true),
            Write::AssociateProfile { instance, profile } => self.associate(ctx, instance, profile),
            Write::UpdateSetting { setting, value } => self.update_setting(ctx, *setting, value),
            Write::ResetSetting { setting } => self.reset_setting(ctx, *setting),
            Write::ModifyMetadataDefaults { values } => self.modify_metadata(ctx, values),
            Write::Document(change) => self.write_document(ctx, change),
            Write::Rule(change) => self.write_rule(ctx, change),
            Write::Role { .. } | Write::Profile { .. } => {
                Err(Refusal::new("InvalidAction", "IAM is not asked in a region"))
            }
        }
    }

    fn vpc(&self, vpc: &VpcId) -> Result<&SimVpc> {
        self.vpcs
            .get(vpc)
            .map(|record| &record.value)
            .ok_or_else(|| Refusal::new("InvalidVpcID.NotFound", format!("The vpc ID '{vpc}' does not exist")))
    }

    /// A VPC that is the account's own: a participant of a shared one may not touch it.
    fn own_vpc(&self, ctx: &Ctx<'_>, vpc: &VpcId) -> Result<&SimVpc> {
        let found = self.vpc(vpc)?;
        if Self::is_shared(found, ctx.account) {
            return Err(Refusal::new("UnauthorizedOperation", "The VPC is shared with you.").status(403));
        }
        Ok(found)
    }

    fn check_tags(&self, tags: &Tags) -> Result {
        reserved(tags.keys())?;
        if tags.len() > self.quotas.tags {
            return Err(Refusal::new("TagLimitExceeded", "The maximum number of tags for the resource is exceeded"));
        }
        Ok(())
    }

    // Instances.

    /// AssociateIamInstanceProfile, of a profile that is there.
    fn associate(&mut self, ctx: &mut Ctx<'_>, instance: &InstanceId, profile: &str) -> Result<Written> {
        let Some(record) = self.instances.get_mut(instance) else {
            let message = format!("The instance ID '{instance}' does not exist");
            return Err(Refusal::new("InvalidInstanceID.NotFound", message));
        };
        if record.profile.is_some() {
            let message = format!("There is an existing association for instance {instance}");
            return Err(Refusal::new("IncorrectState", message));
        }
        let from = later(ctx.now, ctx.rng.within(ctx.weather.associating_for));
        record.change(ctx.actor, ctx.now, ctx.weather, |instance| {
            instance.fact.profile = Some(profile.to_owned());
            instance.associated_from = from;
        });
        Ok(Written::Done)
    }

    // Security groups.

    fn create_group(
        &mut self,
        ctx: &mut Ctx<'_>,
        vpc: &VpcId,
        name: &str,
        description: &str,
        tags: &Tags,
    ) -> Result<Written> {
        self.vpc(vpc)?;
        for text in [name, description] {
            if text.is_empty() || text.chars().count() > MAX_NAME {
                return Err(Refusal::new("InvalidParameterValue", format!("{text:?} is not 1 to 255 characters long")));
            }
        }
        self.check_tags(tags)?;
        if self.groups.values().any(|group| group.vpc == *vpc && group.name == name) {
            return Err(Refusal::new(
                "InvalidGroup.Duplicate",
                format!("The security group '{name}' already exists for VPC '{vpc}'"),
            ));
        }
        if self.groups.len() >= self.quotas.groups {
            return Err(Refusal::new("SecurityGroupLimitExceeded", "The maximum number of groups is reached"));
        }
        let id = SecurityGroupId::from(ctx.ids.next("sg"));
        let made = SecurityGroup {
            id: id.clone(),
            vpc: vpc.clone(),
            name: name.to_owned(),
            ingress: Vec::new(),
            tags: tags.clone(),
        };
        let made = ctx.record(made);
        self.groups.insert(id.clone(), made);
        Ok(Written::Group(id))
    }

    /// A group that a write names.
    fn group(&self, ctx: &mut Ctx<'_>, group: &SecurityGroupId) -> Result<&SecurityGroup> {
        match self.groups.get(group) {
            Some(record) if !ctx.overlooks(record) => Ok(&record.value),
            _ => Err(Refusal::new("InvalidGroup.NotFound", format!("The security group '{group}' does not exist"))),
        }
    }

    fn authorize(&mut self, ctx: &mut Ctx<'_>, group: &SecurityGroupId, rules: &[IngressRule]) -> Result<Written> {
        let found = self.group(ctx, group)?;
        let mut seen: BTreeSet<_> = found.ingress.iter().map(identity).collect();
        let there = seen.len();
        for rule in rules {
            if let RuleSource::Group(source) = &rule.source {
                self.group(ctx, source)?;
            }
            if let RuleSource::PrefixList(list) = &rule.source
                && !self.prefix_lists.contains_key(list)
            {
                return Err(Refusal::new("InvalidPrefixListID.NotFound", format!("'{list}' does not exist")));
            }
            if !seen.insert(identity(rule)) {
                let old = found.ingress.iter().any(|other| identity(other) == identity(rule));
                return Err(if old {
                    Refusal::new("InvalidPermission.Duplicate", "the specified rule already exists")
                } else {
                    Refusal::new("InvalidParameterValue", "The same permission must not appear multiple times")
                });
            }
        }
        if there + rules.len() > self.quotas.rules_per_group {
            return Err(Refusal::new("RulesPerSecurityGroupLimitExceeded", "The maximum number of rules is reached"));
        }
        self.change_group(ctx, group, |group| group.ingress.extend(rules.iter().cloned()));
        Ok(Written::Done)
    }

    fn revoke(&mut self, ctx: &mut Ctx<'_>, group: &SecurityGroupId, rules: &[IngressRule]) -> Result<Written> {
        let found = self.group(ctx, group)?;
        let gone: BTreeSet<_> = rules.iter().map(identity).collect();
        let there: BTreeSet<_> = found.ingress.iter().map(identity).collect();
        if !gone.is_subset(&there) {
            return Err(Refusal::new(
                "InvalidPermission.NotFound",
                "The specified rule does not exist in this security group.",
            ));
        }
        self.change_group(ctx, group, |group| group.ingress.retain(|rule| !gone.contains(&identity(rule))));
        Ok(Written::Done)
    }

    fn change_group(&mut self, ctx: &mut Ctx<'_>, group: &SecurityGroupId, change: impl FnOnce(&mut SecurityGroup)) {
        if let Some(record) = self.groups.get_mut(group) {
            record.change(ctx.actor, ctx.now, ctx.weather, change);
        }
    }

    fn delete_group(&mut self, ctx: &mut Ctx<'_>, group: &SecurityGroupId) -> Result<Written> {
        let found = self.group(ctx, group)?;
        if found.name == "default" {
            return Err(Refusal::new("CannotDelete", "the specified group: \"default\" name is reserved"));
        }
        let in_use = self.network_interfaces.values().any(|interface| interface.groups.contains(group))
            || self.endpoints.values().any(|e| e.groups.contains(group) && e.state != EndpointState::Deleted)
            || self.instances.values().any(|instance| instance.groups.contains(group));
        let named = self.groups.values().any(|other| {
            other.value.id != *group
                && other.ingress.iter().any(|rule| matches!(&rule.source, RuleSource::Group(id) if id == group))
        });
        if in_use || named {
            return Err(Refusal::new("DependencyViolation", format!("resource {group} has a dependent object")));
        }
        let until = ctx.listed_until();
        self.groups.bury(group, ctx.now, until);
        Ok(Written::Done)
    }

    // Endpoints.

    fn create_endpoint(&mut self, ctx: &mut Ctx<'_>, new: &NewEndpoint) -> Result<Written> {
        let now = ctx.now;
        self.tokens.retain(|_, token| token.until > now);
        if let Some(token) = self.tokens.get(&new.client_token) {
            if token.request != *new {
                return Err(Refusal::new(
                    "IdempotentParameterMismatch",
                    "The client token was used before with other parameters",
                ));
            }
            ctx.replayed = true;
            return Ok(Written::Endpoint(token.endpoint.clone()));
        }
        if new.client_token.len() > MAX_TOKEN || !new.client_token.is_ascii() {
            return Err(Refusal::new("InvalidParameterValue", "The client token is not at most 64 ASCII characters"));
        }
        let vpc = self.own_vpc(ctx, &new.vpc)?;
        let default_group = vpc.default_group.clone();
        let service = self.service(&new.service_name, new.kind)?.clone();
        self.check_tags(&new.tags)?;
        let mut groups = new.groups.clone();
        let mut inbound_resolver_only = false;
        match new.kind {
            EndpointType::Interface => {
                if !new.route_tables.is_empty() {
                    return Err(invalid("Route table IDs are only supported for Gateway type VPC Endpoint."));
                }
                if groups.is_empty() {
                    groups.insert(default_group);
                }
                let s3 = new.service_name.rsplit('.').next() == Some("s3");
                inbound_resolver_only =
                    new.inbound_resolver_only.unwrap_or(s3 && ctx.weather.s3_inbound_only_by_default)
                        && new.private_dns;
                let shape = Shape {
                    vpc: self.vpc(&new.vpc)?,
                    service: &service,
                    subnets: &new.subnets,
                    added_subnets: &new.subnets,
                    groups: &groups,
                    added_groups: &groups,
                    family: new.ip_address_type.unwrap_or(IpAddressType::Ipv4),
                    switch_on: new.private_dns,
                    inbound_resolver_only,
                };
                self.check_interface(ctx, &shape)?;
                let others = self.endpoints.values().filter(|other| {
                    other.vpc == new.vpc
                        && other.kind == EndpointType::Interface
                        && other.state != EndpointState::Deleted
                });
                if others.count() >= self.quotas.interface_endpoints_per_vpc {
                    return Err(Refusal::new("VpcEndpointLimitExceeded", "The maximum number of endpoints is reached"));
                }
            }
            EndpointType::Gateway => {
                if !new.subnets.is_empty() || !new.groups.is_empty() || new.private_dns {
                    return Err(invalid(
                        "Subnet IDs, security groups and private DNS are not supported for Gateway type VPC Endpoint.",
                    ));
                }
                self.check_routes(ctx, &new.vpc, &service, &new.route_tables)?;
                let others = self
                    .endpoints
                    .values()
                    .filter(|other| other.kind == EndpointType::Gateway && other.state != EndpointState::Deleted);
                if others.count() >= self.quotas.gateway_endpoints {
                    return Err(Refusal::new("VpcEndpointLimitExceeded", "The maximum number of endpoints is reached"));
                }
            }
            EndpointType::Other => return Err(invalid("The endpoint type is not supported")),
        }

        let id = EndpointId::from(ctx.ids.next("vpce"));
        let interface = new.kind == EndpointType::Interface;
        let becomes = ctx.fate(&new.service_name);
        let waits = becomes == EndpointState::PendingAcceptance;
        let made = SimEndpoint {
            fact: Endpoint {
                id: id.clone(),
                vpc: new.vpc.clone(),
                service_name: new.service_name.clone(),
                kind: new.kind,
                state: if waits { EndpointState::PendingAcceptance } else { EndpointState::Pending },
                failure: None,
                subnets: BTreeSet::new(),
                groups: if interface { groups } else { BTreeSet::new() },
                route_tables: new.route_tables.clone(),
                network_interfaces: BTreeSet::new(),
                private_dns: new.private_dns,
                ip_address_type: interface.then(|| new.ip_address_type.unwrap_or(IpAddressType::Ipv4)),
                policy: Some(FULL_ACCESS_POLICY.to_owned()),
                requester_managed: false,
                tags: new.tags.clone(),
            },
            dns_names: service.fact.private_dns_names.clone(),
            prefix_list: service.prefix_list.clone(),
            interfaces: BTreeMap::new(),
            served: false,
            inbound_resolver_only,
            becomes,
            life: 0,
        };
        let made = ctx.record(made);
        self.endpoints.insert(id.clone(), made);
        for subnet in &new.subnets {
            self.attach(ctx, &id, subnet);
        }
        self.add_routes(ctx, &id, &service, &new.route_tables);
        self.plan_step(ctx, &id);
        let until = later(now, ctx.weather.token_retention);
        self.tokens.insert(new.client_token.clone(), Token { request: new.clone(), endpoint: id.clone(), until });
        Ok(Written::Endpoint(id))
    }

    fn service(&self, name: &str, kind: EndpointType) -> Result<&SimService> {
        let key = (name.to_owned(), kind);
        self.services.get(&key).ok_or_else(|| {
            if self.services.keys().any(|(other, _)| other == name) {
                invalid(format!("The VPC endpoint service {name} does not support this type of endpoint"))
            } else {
                Refusal::new("InvalidServiceName", format!("The Vpc Endpoint Service '{name}' does not exist"))
            }
        })
    }

    fn check_interface(&self, ctx: &mut Ctx<'_>, shape: &Shape<'_>) -> Result {
        let name = &shape.service.fact.name;
        let mut zones = BTreeSet::new();
        for id in shape.subnets {
            let subnet = match self.subnets.get(id) {
                Some(record) if !ctx.overlooks(record) => &record.value,
                _ => {
                    return Err(Refusal::new(
                        "InvalidSubnetId.NotFound",
                        format!("The subnet ID '{id}' does not exist"),
                    ));
                }
            };
            if subnet.vpc != shape.vpc.id {
                return Err(invalid(format!("The subnet {id} is not in the VPC {}", shape.vpc.id)));
            }
            if !zones.insert(&subnet.zone) {
                return Err(Refusal::new(
                    "DuplicateSubnetsInSameZone",
                    format!("Found another VPC endpoint subnet in the availability zone of {id}"),
                ));
            }
            if !shape.service.fact.zones.contains(&subnet.zone) {
                return Err(invalid(format!(
                    "The VPC endpoint service {name} does not support the availability zone of the subnet: {id}."
                )));
            }
            let fits = match shape.family {
                IpAddressType::Ipv4 => subnet.has_ipv4,
                IpAddressType::Dualstack => subnet.has_ipv4 && subnet.has_ipv6,
                IpAddressType::Ipv6 => subnet.has_ipv6 && !subnet.has_ipv4,
            };
            if !fits {
                return Err(invalid(format!("The subnet {id} does not support {}", shape.family.as_str())));
            }
            if shape.added_subnets.contains(id) && subnet.has_ipv4 && subnet.free_addresses < 1 {
                return Err(Refusal::new(
                    "InsufficientFreeAddressesInSubnet",
                    format!("There are not enough free addresses in subnet '{id}'"),
                ));
            }
        }
        let supported = match shape.family {
            IpAddressType::Ipv4 => shape.service.fact.ipv4,
            IpAddressType::Dualstack => shape.service.fact.ipv4 && shape.service.fact.ipv6,
            IpAddressType::Ipv6 => shape.service.fact.ipv6,
        };
        if !supported {
            return Err(invalid(format!("The VPC endpoint service {name} does not support {}", shape.family.as_str())));
        }
        for id in shape.added_groups {
            if self.group(ctx, id)?.vpc != shape.vpc.id {
                return Err(invalid(format!("The security group {id} is not in the VPC {}", shape.vpc.id)));
            }
        }
        if shape.groups.is_empty() {
            return Err(invalid("An interface endpoint needs a security group"));
        }
        if shape.groups.len() > self.quotas.groups_per_interface {
            return Err(Refusal::new(
                "SecurityGroupsPerInterfaceLimitExceeded",
                "The maximum number of security groups per interface is exceeded",
            ));
        }
        if !shape.switch_on {
            return Ok(());
        }
        if shape.inbound_resolver_only && !self.has_gateway(&shape.vpc.id, name) {
            return Err(invalid(format!(
                "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC {} must have a Gateway endpoint for \
                 the service.",
                shape.vpc.id
            )));
        }
        self.check_private_dns(ctx, shape)
    }

    fn has_gateway(&self, vpc: &VpcId, service: &str) -> bool {
        self.live_endpoints(vpc).any(|other| other.kind == EndpointType::Gateway && other.service_name == service)
    }

    fn check_private_dns(&self, ctx: &Ctx<'_>, shape: &Shape<'_>) -> Result {
        let vpc = &shape.vpc.id;
        if !(shape.vpc.dns_support && shape.vpc.dns_hostnames) {
            return Err(invalid(format!(
                "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true \
                 for {vpc}"
            )));
        }
        let names = &shape.service.fact.private_dns_names;
        if names.is_empty() {
            return Err(invalid(format!(
                "Private DNS can't be enabled because the service {} does not provide a private DNS name",
                shape.service.fact.name
            )));
        }
        if let Some(name) = self.taken_name(vpc, names, ctx.weather.failed_hold_names) {
            return Err(invalid(format!(
                "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {name} in the \
                 VPC {vpc}"
            )));
        }
        Ok(())
    }

    /// The first of these names that another endpoint or a private hosted zone has in the VPC.
    pub(super) fn taken_name<'n>(&self, vpc: &VpcId, names: &'n [String], failed_hold: bool) -> Option<&'n String> {
        let zones = self.hosted_zones.get(vpc);
        names.iter().find(|name| {
            zones.is_some_and(|zones| zones.contains_key(*name))
                || self
                    .endpoints
                    .values()
                    .any(|other| other.vpc == *vpc && other.holds_names(failed_hold) && other.dns_names.contains(name))
        })
    }

    fn check_routes(
        &self,
        ctx: &mut Ctx<'_>,
        vpc: &VpcId,
        service: &SimService,
        tables: &BTreeSet<RouteTableId>,
    ) -> Result {
        for id in tables {
            let table = match self.route_tables.get(id) {
                Some(record) if !ctx.overlooks(record) => &record.value,
                _ => {
                    return Err(Refusal::new(
                        "InvalidRouteTableID.NotFound",
                        format!("The routeTable ID '{id}' does not exist"),
                    ));
                }
            };
            if table.vpc != *vpc {
                return Err(invalid(format!("The route table {id} is not in the VPC {vpc}")));
            }
            if let Some(list) = service.prefix_list.as_ref().filter(|list| table.endpoint_routes.contains_key(*list)) {
                return Err(Refusal::new(
                    "RouteAlreadyExists",
                    format!("route table {id} already has a route with destination-prefix-list-id {list}"),
                ));
            }
        }
        Ok(())
    }

    fn add_routes(
        &mut self,
        ctx: &mut Ctx<'_>,
        endpoint: &EndpointId,
        service: &SimService,
        tables: &BTreeSet<RouteTableId>,
    ) {
        for table in tables {
            if let (Some(table), Some(list)) = (self.route_tables.get_mut(table), &service.prefix_list) {
                table.change(ctx.actor, ctx.now, ctx.weather, |table| {
                    table.endpoint_routes.insert(list.clone(), endpoint.to_string());
                });
            }
        }
    }

    fn modify_endpoint(&mut self, ctx: &mut Ctx<'_>, id: &EndpointId, change: &EndpointChange) -> Result<Written> {
        let record = match self.endpoints.get(id) {
            Some(record) if record.state != EndpointState::Deleted && !ctx.overlooks(record) => record,
            _ => return Err(unknown_endpoint(id)),
        };
        let old = &record.value.fact;
        if old.requester_managed {
            return Err(not_permitted(id));
        }
        if old.state != EndpointState::Available {
            return Err(Refusal::new(
                "IncorrectState",
                format!("The VPC endpoint {id} is in the state {} and cannot be modified", old.state.as_str()),
            ));
        }
        let interface = old.kind == EndpointType::Interface;
        let vpc = self.own_vpc(ctx, &old.vpc)?;
        let service = self.services.get(&(old.service_name.clone(), old.kind)).cloned().ok_or_else(|| {
            Refusal::new(
                "InvalidServiceName",
                format!("The Vpc Endpoint Service '{}' does not exist", old.service_name),
            )
        })?;

        let minus_plus = |old: &BTreeSet<SubnetId>| -> BTreeSet<SubnetId> {
            old.difference(&change.remove_subnets).chain(&change.add_subnets).cloned().collect()
        };
        let subnets = minus_plus(&old.subnets);
        let added_subnets: BTreeSet<SubnetId> = subnets.difference(&old.subnets).cloned().collect();
        let removed_subnets: BTreeSet<SubnetId> = old.subnets.difference(&subnets).cloned().collect();
        let groups: BTreeSet<SecurityGroupId> =
            old.groups.difference(&change.remove_groups).chain(&change.add_groups).cloned().collect();
        let family = change.ip_address_type.or(old.ip_address_type).unwrap_or(IpAddressType::Ipv4);
        let removed_tables: BTreeSet<RouteTableId> =
            old.route_tables.intersection(&change.remove_route_tables).cloned().collect();
        let repending = !(added_subnets.is_empty() && removed_subnets.is_empty())
            || change.ip_address_type.is_some_and(|family| Some(family) != old.ip_address_type);

        if interface {
            if !(change.add_route_tables.is_empty() && change.remove_route_tables.is_empty()) {
                return Err(invalid("Route table IDs are only supported for Gateway type VPC Endpoint."));
            }
            let shape = Shape {
                vpc,
                service: &service,
                subnets: &subnets,
                added_subnets: &added_subnets,
                groups: &groups,
                added_groups: &change.add_groups,
                family,
                switch_on: change.private_dns == Some(true) && !old.private_dns,
                inbound_resolver_only: record.value.inbound_resolver_only,
            };
            self.check_interface(ctx, &shape)?;
        } else {
            let of_interfaces = EndpointChange {
                add_route_tables: BTreeSet::new(),
                remove_route_tables: BTreeSet::new(),
                full_access_policy: false,
                ..change.clone()
            };
            if !of_interfaces.is_empty() {
                return Err(invalid("only route tables and the policy of a Gateway type VPC Endpoint can be modified"));
            }
            let vpc = old.vpc.clone();
            self.check_routes(ctx, &vpc, &service, &change.add_route_tables)?;
        }

        let Some(record) = self.endpoints.get_mut(id) else { return Err(unknown_endpoint(id)) };
        record.change(ctx.actor, ctx.now, ctx.weather, |endpoint| {
            let fact = &mut endpoint.fact;
            if interface {
                fact.groups.clone_from(&groups);
                fact.ip_address_type = Some(family);
                fact.private_dns = change.private_dns.unwrap_or(fact.private_dns);
            } else {
                fact.route_tables.retain(|table| !removed_tables.contains(table));
                fact.route_tables.extend(change.add_route_tables.iter().cloned());
            }
            if change.full_access_policy {
                fact.policy = Some(FULL_ACCESS_POLICY.to_owned());
            }
            if repending && interface && ctx.weather.modify_pending_for.most > std::time::Duration::ZERO {
                fact.state = EndpointState::Pending;
                endpoint.becomes = EndpointState::Available;
            }
        });
        let pending = record.state == EndpointState::Pending;
        let kept: Vec<_> = record.interfaces.values().cloned().collect();
        for interface in kept {
            if let Some(interface) = self.network_interfaces.get_mut(&interface)
                && interface.groups != groups
            {
                interface.change(&Actor::Aws, ctx.now, ctx.weather, |interface| interface.groups.clone_from(&groups));
            }
        }
        for subnet in &removed_subnets {
            self.detach(ctx, id, subnet);
        }
        for subnet in &added_subnets {
            self.attach(ctx, id, subnet);
        }
        for table in &removed_tables {
            if let (Some(table), Some(list)) = (self.route_tables.get_mut(table), &service.prefix_list) {
                table.change(ctx.actor, ctx.now, ctx.weather, |table| {
                    table.endpoint_routes.remove(list);
                });
            }
        }
        self.add_routes(ctx, id, &service, &change.add_route_tables);
        if pending {
            self.plan_step(ctx, id);
        }
        Ok(Written::Done)
    }

    /// Answers for each endpoint by itself.
    fn delete_endpoints(&mut self, ctx: &mut Ctx<'_>, ids: &BTreeSet<EndpointId>) -> Written {
        let mut left = Vec::new();
        let mut refuse = |id: &EndpointId, refusal: Refusal| {
            left.push((id.clone(), refusal.fault(Operation::DeleteVpcEndpoints)));
        };
        let weathered = matches!(ctx.actor, Actor::Controller(_))
            && ctx.weather.lasts(ctx.now)
            && ctx.weather.only.as_ref().is_none_or(|only| only.contains(&Operation::DeleteVpcEndpoints));
        for id in ids {
            let record = match self.endpoints.get(id) {
                Some(record) if record.state != EndpointState::Deleted && !ctx.overlooks(record) => record,
                _ => {
                    refuse(id, unknown_endpoint(id));
                    continue;
                }
            };
            if record.requester_managed {
                refuse(id, not_permitted(id));
                continue;
            }
            if ctx.unsuccessful || (weathered && ctx.rng.chance(ctx.weather.unsuccessful)) {
                refuse(id, Refusal::new("InternalError", "An internal error has occurred").status(500));
                continue;
            }
            if record.state != EndpointState::Deleting {
                self.begin_deletion(ctx, id);
            }
        }
        if left.is_empty() { Written::Done } else { Written::NotDeleted(left) }
    }

    // VPC attributes and tags.

    pub(super) fn set_attribute(
        &mut self,
        ctx: &mut Ctx<'_>,
        vpc: &VpcId,
        attribute: VpcAttribute,
        on: bool,
    ) -> Result<Written> {
        let found = self.own_vpc(ctx, vpc)?;
        if on && attribute == VpcAttribute::DnsHostnames && !found.dns_support {
            return Err(invalid(format!("enableDnsHostnames needs enableDnsSupport of {vpc} first")));
        }
        if let Some(record) = self.vpcs.get_mut(vpc) {
            record.change(ctx.actor, ctx.now, ctx.weather, |vpc| match attribute {
                VpcAttribute::DnsSupport => vpc.dns_support = on,
                VpcAttribute::DnsHostnames => vpc.dns_hostnames = on,
            });
        }
        Ok(Written::Done)
    }

    /// Sets the tags of all of these things, or of none.
    fn retag(&mut self, ctx: &mut Ctx<'_>, ids: &BTreeSet<String>, tags_of: impl Fn(&Tags) -> Tags) -> Result<Written> {
        let mut planned = Vec::new();
        for id in ids {
            let found = self.touched(id).filter(|_| !self.overlooked(ctx, id)).ok_or_else(|| unknown_thing(id))?;
            let tags = tags_of(&found.tags);
            if tags.len() > self.quotas.tags && tags.len() > found.tags.len() {
                return Err(Refusal::new("TagLimitExceeded", format!("{id} has too many tags")));
            }
            planned.push((id, tags));
        }
        for (id, tags) in planned {
            self.set_tags(ctx, id, tags);
        }
        Ok(Written::Done)
    }

    fn overlooked(&self, ctx: &mut Ctx<'_>, id: &str) -> bool {
        match id.split_once('-').map(|(prefix, _)| prefix) {
            Some("vpce") => self
                .endpoints
                .get(&EndpointId::from(id))
                .is_some_and(|record| record.state == EndpointState::Deleted || ctx.overlooks(record)),
            Some("sg") => self.groups.get(&SecurityGroupId::from(id)).is_some_and(|record| ctx.overlooks(record)),
            _ => false,
        }
    }

    fn set_tags(&mut self, ctx: &mut Ctx<'_>, id: &str, tags: Tags) {
        let (actor, now, weather) = (ctx.actor, ctx.now, &*ctx.weather);
        match id.split_once('-').map(|(prefix, _)| prefix) {
            Some("vpce") => {
                if let Some(record) = self.endpoints.get_mut(&EndpointId::from(id)) {
                    record.change(actor, now, weather, |endpoint| endpoint.fact.tags = tags);
                }
            }
            Some("sg") => {
                if let Some(record) = self.groups.get_mut(&SecurityGroupId::from(id)) {
                    record.change(actor, now, weather, |group| group.tags = tags);
                }
            }
            Some("vpc") => {
                if let Some(record) = self.vpcs.get_mut(&VpcId::from(id)) {
                    record.change(actor, now, weather, |vpc| vpc.tags = tags);
                }
            }
            Some("subnet") => {
                if let Some(record) = self.subnets.get_mut(&SubnetId::from(id)) {
                    record.change(actor, now, weather, |subnet| subnet.tags = tags);
                }
            }
            Some("rtb") => {
                if let Some(record) = self.route_tables.get_mut(&RouteTableId::from(id)) {
                    record.change(actor, now, weather, |table| table.tags = tags);
                }
            }
            Some("i") => {
                if let Some(record) = self.instances.get_mut(&InstanceId::from(id)) {
                    record.change(actor, now, weather, |instance| instance.fact.tags = tags);
                }
            }
            _ => {}
        }
    }
}

/// What tells one rule from another: not its description.
fn identity(rule: &IngressRule) -> (String, Option<(i32, i32)>, RuleSource) {
    let protocol = protocol(rule);
    let ports = rule.ports.filter(|_| protocol != "-1");
    (protocol.to_owned(), ports, rule.source.clone())
}

fn reserved<'k>(keys: impl Iterator<Item = &'k String>) -> Result {
    for key in keys {
        if key.starts_with("aws:") {
            return Err(Refusal::new("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved"));
        }
    }
    Ok(())
}

fn unknown_endpoint(id: &EndpointId) -> Refusal {
    Refusal::new("InvalidVpcEndpointId.NotFound", format!("The Vpc Endpoint Id '{id}' does not exist"))
}

fn not_permitted(id: &EndpointId) -> Refusal {
    Refusal::new("OperationNotPermitted", format!("{id} is managed by an AWS service"))
}

fn unknown_thing(id: &str) -> Refusal {
    let code = match id.split_once('-').map(|(prefix, _)| prefix) {
        Some("vpce") => "InvalidVpcEndpointId.NotFound",
        Some("sg") => "InvalidGroup.NotFound",
        Some("vpc") => "InvalidVpcID.NotFound",
        Some("subnet") => "InvalidSubnetID.NotFound",
        Some("rtb") => "InvalidRouteTableID.NotFound",
        Some("i") => "InvalidInstanceID.NotFound",
        _ => "InvalidID",
    };
    Refusal::new(code, format!("The ID '{id}' does not exist"))
}
