//! Agents: which way they reach Systems Manager, and when they try again.

use std::time::Duration;

use jiff::Timestamp;
use ssm_ready_core::{
    facts::{
        InstanceState, ManagedNode,
        iam::{AgentAction, AgentPermissions},
        settings::Setting,
    },
    ids::{AccountId, EndpointId, InstanceId, Region, VpcId},
};

use super::{
    record::{Eye, later},
    state::{Agent, RegionState, SimInstance},
    world::{Event, World},
};

/// How often an agent that is connected says so.
const PING_EVERY: Duration = Duration::from_secs(5 * 60);
/// How long an agent waits after its first failure.
const FIRST_WAIT: Duration = Duration::from_secs(5 * 60);
/// The longest that it waits.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// How long an agent waits after it was refused: 25 to 30 minutes (amazon-ssm-agent, `credentialrefresher_deps.go`).
const AFTER_DENIAL: (Duration, u64) = (Duration::from_secs(25 * 60), 5 * 60);

/// Whose credentials an agent takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Its own, in its environment or a file.
    Own,
    /// Those of its instance's profile.
    Profile,
    /// Those of Default Host Management.
    HostManagement,
    /// It has none that Systems Manager lets register.
    None,
}

/// The way from an instance to Systems Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// Through an endpoint of its VPC.
    Endpoint(EndpointId),
    /// Through a private hosted zone that leads elsewhere.
    HostedZone,
    /// Over the internet.
    Internet,
    /// There is none.
    None,
}

impl Agent {
    /// An agent that has not tried yet.
    #[must_use]
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), registered: false, last_ping: None, wait: FIRST_WAIT, run: 0 }
    }

    /// Whether Systems Manager counts it as online.
    #[must_use]
    pub fn is_online(&self, now: Timestamp, lost_after: Duration) -> bool {
        self.last_ping.is_some_and(|last| now <= later(last, lost_after))
    }
}

impl World {
    /// The way that an instance has to Systems Manager at this moment, whether or not its agent has noticed.
    #[must_use]
    pub fn online_by(&self, account: &AccountId, region: &Region, instance: &InstanceId) -> Path {
        let state = self.region(account, region);
        let found = state.and_then(|state| Some((state, state.instances.get(instance)?)));
        let Some((state, instance)) = found.filter(|(_, instance)| instance.state == InstanceState::Running) else {
            return Path::None;
        };
        // The endpoints of a shared VPC are its owner's.
        let home = state
            .vpcs
            .get(&instance.vpc)
            .and_then(|vpc| self.region(&vpc.owner.parse().ok()?, region))
            .filter(|home| home.vpcs.contains_key(&instance.vpc))
            .unwrap_or(state);
        home.path_of(region, instance)
    }

    /// The credentials with which an instance's agent registers at this moment, whether or not it has noticed: a profile
    /// that lets it do so goes before Default Host Management, whatever else it lacks.
    #[must_use]
    pub fn login(&self, account: &AccountId, region: &Region, instance: &InstanceId) -> Login {
        let registers =
            |allowed: &AgentPermissions| allowed.allows(AgentAction::UpdateInstanceInformation) == Some(true);
        let found = self.accounts.get(account).and_then(|holder| Some((holder, holder.regions.get(region)?)));
        let found = found.and_then(|(holder, state)| Some((&holder.iam, state, state.instances.get(instance)?)));
        let Some((iam, state, instance)) = found else { return Login::None };
        if instance.own_credentials {
            return Login::Own;
        }
        if instance.imds == Some(false) {
            return Login::None;
        }
        let arn = instance.profile.as_ref().filter(|_| self.now >= instance.associated_from);
        let profile = arn.and_then(|arn| iam.profiles.values().find(|profile| profile.arn == *arn));
        let role = profile.and_then(|profile| iam.roles.get(profile.role.as_ref()?));
        if role.is_some_and(|role| registers(&role.agent_permissions())) {
            return Login::Profile;
        }
        let setting = state.settings.get(&Setting::HostManagementRole).and_then(|setting| setting.value.value.clone());
        let role = setting.and_then(|value| {
            iam.roles.values().find(|role| role.fact().setting_value() == value).map(|role| role.agent_permissions())
        });
        if role.is_some_and(|allowed| registers(&allowed)) { Login::HostManagement } else { Login::None }
    }

    /// Whether Systems Manager counts an instance as online.
    #[must_use]
    pub fn is_online(&self, account: &AccountId, region: &Region, instance: &InstanceId) -> bool {
        let instance = self.region(account, region).and_then(|state| state.instances.get(instance));
        instance.is_some_and(|instance| {
            let agent = instance.agent.as_ref();
            instance.state == InstanceState::Running
                && agent.is_some_and(|agent| agent.is_online(self.now, self.weather.lost_after))
        })
    }

    /// An agent's next try has come, unless it was started anew.
    pub(super) fn agent_tries(&mut self, account: &AccountId, region: &Region, id: &InstanceId, run: u64) {
        let reached = self.online_by(account, region, id) != Path::None;
        let works = reached && self.login(account, region, id) != Login::None;
        let now = self.now;
        let rng = &mut self.rng;
        let instance = self
            .accounts
            .get_mut(account)
            .and_then(|account| account.regions.get_mut(region))
            .and_then(|state| state.instances.get_mut(id))
            .filter(|instance| instance.state == InstanceState::Running);
        let agent = instance.and_then(|instance| instance.value.agent.as_mut()).filter(|agent| agent.run == run);
        let Some(agent) = agent else { return };
        let next = if works {
            agent.registered = true;
            agent.last_ping = Some(now);
            agent.wait = FIRST_WAIT;
            PING_EVERY
        } else if reached {
            let (least, spread) = AFTER_DENIAL;
            least + Duration::from_secs(rng.below(spread))
        } else {
            let wait = agent.wait;
            agent.wait = (wait * 2).min(LONGEST_WAIT);
            // No two agents keep step.
            wait + Duration::from_secs(rng.below(30))
        };
        let event = Event::Agent { account: account.clone(), region: region.clone(), instance: id.clone(), run };
        self.agenda.plan(later(now, next), event);
    }

    /// Starts an agent anew: it tries after a while, and soon again after a failure.
    pub(super) fn start_agent(&mut self, account: &AccountId, region: &Region, id: &InstanceId, after: Duration) {
        let instance = self
            .accounts
            .get_mut(account)
            .and_then(|account| account.regions.get_mut(region))
            .and_then(|state| state.instances.get_mut(id));
        let Some(agent) = instance.and_then(|instance| instance.value.agent.as_mut()) else { return };
        agent.run += 1;
        agent.wait = FIRST_WAIT;
        let run = agent.run;
        if after == Duration::ZERO {
            self.agent_tries(account, region, id, run);
        } else {
            let event = Event::Agent { account: account.clone(), region: region.clone(), instance: id.clone(), run };
            self.agenda.plan(later(self.now, after), event);
        }
    }
}

impl RegionState {
    /// The way of an instance in one of this region's VPCs.
    fn path_of(&self, region: &Region, instance: &SimInstance) -> Path {
        let host = format!("ssm.{region}.{}", region.agent_domain());
        let open = if instance.internet { Path::Internet } else { Path::None };
        // Without its attributes a VPC's resolver knows no private names.
        if !self.vpcs.get(&instance.vpc).is_some_and(|vpc| vpc.dns_support && vpc.dns_hostnames) {
            return open;
        }
        let capturing =
            self.endpoints.values().find(|e| e.vpc == instance.vpc && e.captures() && e.dns_names.contains(&host));
        if let Some(endpoint) = capturing {
            let reached = endpoint.carries()
                && !endpoint.interfaces.is_empty()
                && self.admits_instance(&endpoint.groups, instance);
            return if reached { Path::Endpoint(endpoint.value.fact.id.clone()) } else { Path::None };
        }
        match self.zone_for(&instance.vpc, &host) {
            Some(true) => Path::HostedZone,
            Some(false) => Path::None,
            None => open,
        }
    }

    /// Whether the private hosted zone that answers for a host in a VPC, if there is one, leads anywhere.
    fn zone_for(&self, vpc: &VpcId, host: &str) -> Option<bool> {
        let zones = self.hosted_zones.get(vpc)?;
        let answers = |name: &str| host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        zones
            .iter()
            .filter(|(name, _)| answers(name))
            .max_by_key(|(name, _)| name.len())
            .map(|(_, zone)| zone.reachable)
    }

    /// What Systems Manager says of the nodes that it knows.
    pub(super) fn list_nodes(&self, eye: &mut Eye<'_>, lost_after: Duration) -> Vec<ManagedNode> {
        let now = eye.now();
        self.instances
            .list(eye)
            .into_iter()
            .filter(|instance| instance.state == InstanceState::Running)
            .filter_map(|instance| {
                let agent = instance.agent.as_ref().filter(|agent| agent.registered)?;
                Some(ManagedNode {
                    id: instance.id.clone(),
                    online: agent.is_online(now, lost_after),
                    agent_version: Some(agent.version.clone()),
                })
            })
            .collect()
    }
}
