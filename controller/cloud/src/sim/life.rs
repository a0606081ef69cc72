//! The life of an endpoint: pending, in service, deleting, deleted, gone.

use std::time::Duration;

use ssm_ready_core::{
    facts::{EndpointState, EndpointType, NetworkInterface},
    ids::{AccountId, EndpointId, NetworkInterfaceId, Region, SubnetId},
};

use super::{
    journal::Entry,
    record::{Actor, Record, later},
    state::{RegionState, SimEndpoint, SimInterface},
    weather::OutcomeRule,
    world::{Ctx, Event, World},
};

impl Ctx<'_> {
    /// Whether a write that names something new is told that it is not there.
    pub(super) fn overlooks<T>(&mut self, record: &Record<T>) -> bool {
        self.weather.lasts(self.now) && self.now < record.settled_from && self.rng.chance(self.weather.fresh_not_found)
    }

    /// A new record of this call's actor.
    pub(super) fn record<T: Clone>(&mut self, value: T) -> Record<T> {
        Record::new(value, self.actor, self.now, self.weather, self.rng)
    }

    /// Until when lists may show what is deleted now.
    pub(super) fn listed_until(&mut self) -> jiff::Timestamp {
        if self.weather.lasts(self.now) {
            later(self.now, self.rng.within(self.weather.listed_after))
        } else {
            self.now
        }
    }

    /// What a new endpoint of a service becomes.
    pub(super) fn fate(&mut self, service_name: &str) -> EndpointState {
        if !self.weather.lasts(self.now) {
            return EndpointState::Available;
        }
        let short = service_name.rsplit('.').next().unwrap_or(service_name);
        let fits = |rule: &OutcomeRule| {
            (rule.service.is_empty() || rule.service == short) && rule.times.is_none_or(|left| left > 0)
        };
        let Some(rule) = self.weather.outcomes.iter_mut().find(|rule| fits(rule)) else {
            return EndpointState::Available;
        };
        if !self.rng.chance(rule.chance) {
            return EndpointState::Available;
        }
        rule.times = rule.times.map(|left| left.saturating_sub(1));
        rule.state.clone()
    }
}

/// Whether an endpoint leaves a state by itself.
fn passes(state: &EndpointState) -> bool {
    matches!(state, EndpointState::Pending | EndpointState::Deleting | EndpointState::Deleted)
}

impl RegionState {
    /// Plans the next step of an endpoint's life, or takes it at once if it takes no time.
    pub(super) fn plan_step(&mut self, ctx: &mut Ctx<'_>, id: &EndpointId) {
        let Some(record) = self.endpoints.get_mut(id) else { return };
        record.value.life += 1;
        if !passes(&record.state) || (record.state == EndpointState::Pending && passes(&record.value.becomes)) {
            return;
        }
        let gateway = record.kind == EndpointType::Gateway;
        let span = match record.state {
            EndpointState::Deleted => ctx.weather.deleted_for,
            _ if gateway => ctx.weather.gateway_takes,
            EndpointState::Deleting => ctx.weather.deleting_for,
            _ if record.served => ctx.weather.modify_pending_for,
            _ => ctx.weather.pending_for,
        };
        let life = record.value.life;
        let takes = ctx.rng.within(span);
        if takes == Duration::ZERO {
            self.step(ctx, id);
            return;
        }
        let event =
            Event::Life { account: ctx.account.clone(), region: ctx.region.clone(), endpoint: id.clone(), life };
        ctx.agenda.plan(later(ctx.now, takes), event);
    }

    /// Takes the next step of an endpoint's life.
    pub(super) fn step(&mut self, ctx: &mut Ctx<'_>, id: &EndpointId) {
        let Some(record) = self.endpoints.get(id) else { return };
        match record.state {
            EndpointState::Pending => {
                let becomes = record.value.becomes.clone();
                self.enter_state(ctx, id, becomes, None);
            }
            EndpointState::Deleting => self.enter_state(ctx, id, EndpointState::Deleted, None),
            EndpointState::Deleted => {
                let until = ctx.listed_until();
                self.endpoints.bury(id, ctx.now, until);
            }
            _ => {}
        }
    }

    /// Puts an endpoint into a state, with all that comes with it.
    pub(super) fn enter_state(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: &EndpointId,
        state: EndpointState,
        failure: Option<String>,
    ) {
        let Some(record) = self.endpoints.get_mut(id) else { return };
        let failure = failure.or_else(|| match state {
            EndpointState::Failed => Some("InternalError: the endpoint could not be created".to_owned()),
            EndpointState::Rejected => Some("ConnectionRejected: the service's owner rejected it".to_owned()),
            _ => None,
        });
        let gone = state == EndpointState::Deleted;
        record.change(&Actor::Aws, ctx.now, ctx.weather, |endpoint| {
            endpoint.served |= matches!(state, EndpointState::Available | EndpointState::Partial);
            endpoint.fact.state = state;
            endpoint.fact.failure = failure;
        });
        if gone {
            self.take_down(ctx, id);
        }
        self.plan_step(ctx, id);
    }

    /// Takes away an endpoint's network interfaces and routes.
    fn take_down(&mut self, ctx: &mut Ctx<'_>, id: &EndpointId) {
        let Some(record) = self.endpoints.get_mut(id) else { return };
        let subnets: Vec<SubnetId> = record.interfaces.keys().cloned().collect();
        let tables = std::mem::take(&mut record.value.fact.route_tables);
        let prefix_list = record.prefix_list.clone();
        for subnet in &subnets {
            self.detach(ctx, id, subnet);
        }
        for table in &tables {
            if let (Some(table), Some(list)) = (self.route_tables.get_mut(table), &prefix_list) {
                table.change(&Actor::Aws, ctx.now, ctx.weather, |table| {
                    table.endpoint_routes.remove(list);
                });
            }
        }
    }

    /// Gives an endpoint a network interface in a subnet.
    pub(super) fn attach(&mut self, ctx: &mut Ctx<'_>, id: &EndpointId, subnet: &SubnetId) {
        let Some(record) = self.endpoints.get_mut(id) else { return };
        let interface = NetworkInterfaceId::from(ctx.ids.next("eni"));
        record.value.interfaces.insert(subnet.clone(), interface.clone());
        record.value.fact.network_interfaces.insert(interface.clone());
        record.value.fact.subnets.insert(subnet.clone());
        let made = SimInterface {
            fact: NetworkInterface { id: interface.clone(), description: format!("VPC Endpoint Interface {id}") },
            vpc: record.vpc.clone(),
            subnet: subnet.clone(),
            groups: record.groups.clone(),
            endpoint: Some(id.clone()),
        };
        let made = Record::new(made, &Actor::Aws, ctx.now, ctx.weather, ctx.rng);
        self.network_interfaces.insert(interface, made);
        self.count_address(ctx, subnet, -1);
    }

    /// Takes an endpoint's network interface out of a subnet.
    pub(super) fn detach(&mut self, ctx: &mut Ctx<'_>, id: &EndpointId, subnet: &SubnetId) {
        let Some(record) = self.endpoints.get_mut(id) else { return };
        record.value.fact.subnets.remove(subnet);
        let Some(interface) = record.value.interfaces.remove(subnet) else { return };
        record.value.fact.network_interfaces.remove(&interface);
        let until = ctx.listed_until();
        self.network_interfaces.bury(&interface, ctx.now, until);
        self.count_address(ctx, subnet, 1);
    }

    fn count_address(&mut self, ctx: &mut Ctx<'_>, subnet: &SubnetId, by: i64) {
        if let Some(subnet) = self.subnets.get_mut(subnet).filter(|subnet| subnet.has_ipv4) {
            subnet.change(&Actor::Aws, ctx.now, ctx.weather, |subnet| subnet.free_addresses += by);
        }
    }

    /// Begins to delete an endpoint.
    pub(super) fn begin_deletion(&mut self, ctx: &mut Ctx<'_>, id: &EndpointId) {
        let Some(record) = self.endpoints.get_mut(id) else { return };
        record.change(ctx.actor, ctx.now, ctx.weather, |endpoint: &mut SimEndpoint| {
            endpoint.fact.state = EndpointState::Deleting;
        });
        self.plan_step(ctx, id);
    }
}

impl World {
    /// A planned step of an endpoint's life has come.
    pub(super) fn live_on(&mut self, account: &AccountId, region: &Region, id: &EndpointId, life: u64) {
        let actor = Actor::Aws;
        let Some((state, mut ctx)) = self.split(&actor, account, region) else { return };
        if state.endpoints.get(id).is_none_or(|record| record.value.life != life) {
            return;
        }
        let mut entry = Entry::new(&actor, account, region, "EndpointLife");
        entry.touched.extend(state.touched(id.as_str()));
        state.step(&mut ctx, id);
        let now = state.endpoints.get(id).map_or("gone".to_owned(), |record| record.state.as_str().to_owned());
        entry.detail = format!("{id}: {now}");
        self.enter(entry);
    }
}
