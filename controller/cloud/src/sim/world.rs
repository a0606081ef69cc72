//! All of AWS, and the one door through which every call goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Endpoint,
        settings::{DocumentStatus, Setting},
    },
    fault::Fault,
    ids::{AccountId, EndpointId, InstanceId, Region, SecurityGroupId, VpcId},
    write::{DocumentChange, ProfileChange, RoleChange, RuleChange, Write, Written},
};

use super::{
    journal::{Entry, Outcome},
    record::{Actor, Eye, later},
    rng::{Rng, mix},
    state::{Account, Meters, RegionState},
    weather::{Injected, Weather},
};

/// AWS's refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// AWS's code.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// AWS's message.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, status: 400, message: message.into() }
    }

    pub(super) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn fault(&self, operation: Operation) -> Fault {
        Fault::from_answer(operation, self.code, self.status, &self.message)
    }
}

/// The controller's own identity, before it takes on any role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its account.
    pub account: AccountId,
    /// Its ARN; permissions are those of the role of this ARN, if the account has one.
    pub arn: String,
}

/// Something that happens by itself.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// An endpoint's life goes on, unless it has taken another turn.
    Life { account: AccountId, region: Region, endpoint: EndpointId, life: u64 },
    /// An agent tries to reach Systems Manager.
    Agent { account: AccountId, region: Region, instance: InstanceId, run: u64 },
    /// A new version of the session document is done, unless the document is gone.
    Document { account: AccountId, region: Region, serial: String, number: u64, becomes: DocumentStatus },
    /// A change of permissions comes into effect.
    Permissions { account: AccountId, role: String, change: u64, denied: BTreeSet<Operation> },
}

/// What is to happen, by time and then in the order in which it was planned.
#[derive(Debug, Clone, Default)]
pub(super) struct Agenda {
    events: BTreeMap<(Timestamp, u64), Event>,
    planned: u64,
}

impl Agenda {
    pub fn plan(&mut self, at: Timestamp, event: Event) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }

    fn due(&mut self, now: Timestamp) -> Option<(Timestamp, Event)> {
        let first = self.events.first_entry()?;
        let at = first.key().0;
        (at <= now).then(|| (at, first.remove()))
    }
}

/// Ids that look like AWS's: seeded, in no order, none twice.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    seed: u64,
    made: u64,
}

impl Ids {
    pub fn next(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}-0{:016x}", mix(self.seed.wrapping_add(self.made)))
    }
}

/// What a change needs besides the region that it changes.
pub(super) struct Ctx<'a> {
    pub now: Timestamp,
    pub actor: &'a Actor,
    pub account: &'a AccountId,
    pub region: &'a Region,
    /// The ARN of whoever acts, where it is not that which goes with the actor.
    pub user: Option<&'a str>,
    pub weather: &'a mut Weather,
    pub rng: &'a mut Rng,
    pub agenda: &'a mut Agenda,
    pub ids: &'a mut Ids,
    /// Whether DeleteVpcEndpoints deletes nothing this time.
    pub unsuccessful: bool,
    /// Set when a request was answered from its client token alone.
    pub replayed: bool,
}

/// Who calls, and as whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    pub actor: &'a Actor,
    pub account: &'a AccountId,
    pub region: &'a Region,
    /// The role in use.
    pub role: &'a str,
    /// Whether a session policy allows reads only.
    pub read_only: bool,
}

/// How a call came out.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub result: Result<T, Fault>,
    /// Whether AWS heard of it.
    pub received: bool,
}

/// All of AWS.
#[derive(Debug)]
pub struct World {
    /// AWS's time. Never goes back.
    pub now: Timestamp,
    /// The accounts.
    pub accounts: BTreeMap<AccountId, Account>,
    /// What goes wrong and how long things take.
    pub weather: Weather,
    /// Everything that was ever asked; may be taken out, and is numbered on.
    pub journal: Vec<Entry>,
    /// Who the controller is before it takes on any role; none: it has no credentials.
    pub own: Option<Own>,
    pub(super) own_meters: Meters,
    pub(super) rng: Rng,
    pub(super) agenda: Agenda,
    pub(super) ids: Ids,
    /// Whether the DeleteVpcEndpoints that is under way deletes nothing.
    pub(super) unsuccessful: bool,
    /// Whether the write that is under way was answered from its client token alone.
    pub(super) replayed: bool,
    entered: u64,
}

impl Ctx<'_> {
    /// The ARN of whoever acts.
    pub fn user(&self) -> String {
        if let Some(user) = self.user {
            return user.to_owned();
        }
        let account = self.account;
        match self.actor {
            Actor::Controller(name) => format!("arn:aws:sts::{account}:assumed-role/{name}/{name}"),
            Actor::Person => format!("arn:aws:iam::{account}:user/person"),
            Actor::Terraform => format!("arn:aws:sts::{account}:assumed-role/terraform/apply"),
            Actor::QuickSetup => format!("arn:aws:sts::{account}:assumed-role/AWS-QuickSetup/quick-setup"),
            Actor::Aws => format!("arn:aws:iam::{account}:root"),
        }
    }

    /// Refuses a controller's write, as often as the weather has it, since another one is under way.
    pub fn uncontended(&mut self, operation: Operation) -> Result<(), Refusal> {
        let weathered = matches!(self.actor, Actor::Controller(_))
            && self.weather.lasts(self.now)
            && self.weather.only.as_ref().is_none_or(|only| only.contains(&operation));
        if !weathered || !self.rng.chance(self.weather.contended) {
            return Ok(());
        }
        let message = "There are concurrent updates of the resource.";
        Err(match operation.service() {
            "iam" => Refusal::new("ConcurrentModification", message).status(409),
            "events" => Refusal::new("ConcurrentModificationException", message),
            _ => Refusal::new("TooManyUpdates", message),
        })
    }
}

impl World {
    pub(super) fn new(now: Timestamp, seed: u64) -> Self {
        let own = "999999999999"
            .parse()
            .ok()
            .map(|account| Own { account, arn: "arn:aws:iam::999999999999:role/ssm-ready-hub".to_owned() });
        Self {
            now,
            accounts: BTreeMap::new(),
            weather: Weather::default(),
            journal: Vec::new(),
            own,
            own_meters: Meters::default(),
            rng: Rng::new(seed),
            agenda: Agenda::default(),
            ids: Ids { seed: mix(seed), made: 0 },
            unsuccessful: false,
            replayed: false,
            entered: 0,
        }
    }

    /// Lets everything happen that is due by then.
    pub(super) fn catch_up(&mut self, now: Timestamp) {
        let now = now.max(self.now);
        while let Some((at, event)) = self.agenda.due(now) {
            self.now = self.now.max(at);
            match event {
                Event::Life { account, region, endpoint, life } => self.live_on(&account, &region, &endpoint, life),
                Event::Agent { account, region, instance, run } => self.agent_tries(&account, &region, &instance, run),
                Event::Document { account, region, serial, number, becomes } => {
                    self.version_done(&account, &region, &serial, number, becomes);
                }
                Event::Permissions { account, role, change, denied } => {
                    let role = self.accounts.get_mut(&account).and_then(|account| account.roles.get_mut(&role));
                    // A later change that took less time has the last word.
                    if let Some(role) = role.filter(|role| role.effective < change) {
                        role.effective = change;
                        role.denied = denied;
                    }
                }
            }
        }
        self.now = now;
    }

    /// A region of an account, if the account has it.
    #[must_use]
    pub fn region(&self, account: &AccountId, region: &Region) -> Option<&RegionState> {
        self.accounts.get(account)?.regions.get(region)
    }

    /// A region of an account, to be changed past all rules; made if the account lacks it.
    pub fn region_mut(&mut self, account: &AccountId, region: &Region) -> &mut RegionState {
        self.accounts.entry(account.clone()).or_default().regions.entry(region.clone()).or_default()
    }

    /// The region, and apart from it what a change needs.
    pub(super) fn split<'a>(
        &'a mut self,
        actor: &'a Actor,
        account: &'a AccountId,
        region: &'a Region,
    ) -> Option<(&'a mut RegionState, Ctx<'a>)> {
        let (holder, ctx) = self.split_account(actor, account, region)?;
        Some((holder.regions.get_mut(region)?, ctx))
    }

    /// The account, and apart from it what a change needs.
    pub(super) fn split_account<'a>(
        &'a mut self,
        actor: &'a Actor,
        account: &'a AccountId,
        region: &'a Region,
    ) -> Option<(&'a mut Account, Ctx<'a>)> {
        let holder = self.accounts.get_mut(account)?;
        let ctx = Ctx {
            now: self.now,
            actor,
            account,
            region,
            user: None,
            weather: &mut self.weather,
            rng: &mut self.rng,
            agenda: &mut self.agenda,
            ids: &mut self.ids,
            unsuccessful: self.unsuccessful,
            replayed: false,
        };
        Some((holder, ctx))
    }

    /// One list of a region.
    pub(super) fn look<T>(
        &mut self,
        account: &AccountId,
        region: &Region,
        read: impl FnOnce(&RegionState, &mut Eye<'_>) -> T,
    ) -> Result<T, Refusal> {
        let state = self.accounts.get(account).and_then(|account| account.regions.get(region));
        let mut eye = Eye::open(self.now, &self.weather, &mut self.rng);
        state.map(|state| read(state, &mut eye)).ok_or_else(not_enabled)
    }

    /// The regions that are enabled for an account, in any order.
    pub(super) fn enabled_regions(&mut self, account: &AccountId) -> Vec<Region> {
        let Some(account) = self.accounts.get(account) else { return Vec::new() };
        let enabled = account.regions.keys().filter(|region| !account.disabled_regions.contains(*region));
        let mut enabled: Vec<Region> = enabled.cloned().collect();
        if self.weather.shuffle {
            self.rng.shuffle(&mut enabled);
        }
        enabled
    }

    /// How long the next call is under way.
    pub(super) fn latency(&mut self) -> Duration {
        if self.weather.lasts(self.now) { self.rng.within(self.weather.latency) } else { Duration::ZERO }
    }

    /// Writes an entry into the journal.
    pub(super) fn enter(&mut self, mut entry: Entry) {
        entry.seq = self.entered;
        self.entered += 1;
        entry.at = self.now;
        self.journal.push(entry);
    }

    /// A call of a controller: what the weather, the token buckets, IAM and the call itself make of it.
    pub(super) fn call<T>(
        &mut self,
        caller: Caller<'_>,
        operation: Operation,
        write: Option<&Write>,
        act: impl FnOnce(&mut Self) -> Result<T, Refusal>,
        describe: impl FnOnce(&T) -> Outcome,
    ) -> Answer<T> {
        let mut entry = Entry::new(caller.actor, caller.account, caller.region, operation.name());
        entry.operation = Some(operation);
        entry.write = write.cloned();
        entry.injected = self.inject(operation);
        if entry.injected == Some(Injected::LostRequest) {
            entry.outcome = Outcome::NotReceived;
            self.enter(entry);
            let fault = Fault::no_answer(operation, "the connection was closed before the request was sent");
            return Answer { result: Err(fault), received: false };
        }
        if let Some(write) = write {
            self.witness(&mut entry, write);
        }
        self.unsuccessful = entry.injected == Some(Injected::Unsuccessful);
        self.replayed = false;
        let result = self.admit(caller, operation, write, &mut entry).and_then(|()| act(self));
        self.unsuccessful = false;
        let result = self.conclude(&mut entry, operation, result, describe);
        entry.answer_lost = entry.injected == Some(Injected::LostAnswer);
        let lost = entry.answer_lost;
        self.enter(entry);
        if lost {
            return Answer {
                result: Err(Fault::no_answer(operation, "the connection was closed before an answer came")),
                received: true,
            };
        }
        Answer { result, received: true }
    }

    /// Says in an entry what came of it.
    pub(super) fn conclude<T>(
        &mut self,
        entry: &mut Entry,
        operation: Operation,
        result: Result<T, Refusal>,
        describe: impl FnOnce(&T) -> Outcome,
    ) -> Result<T, Fault> {
        entry.replayed = self.replayed;
        match result {
            Ok(value) => {
                entry.outcome = describe(&value);
                let some_left = match (&entry.outcome, &entry.write) {
                    (Outcome::NotDeleted(left), Some(Write::DeleteEndpoints { endpoints })) => {
                        left.len() < endpoints.len()
                    }
                    _ => true,
                };
                entry.took_effect = operation.writes() && some_left && !entry.replayed;
                Ok(value)
            }
            Err(refusal) => {
                let fault = refusal.fault(operation);
                entry.outcome = Outcome::Refused { kind: fault.kind, code: fault.code.clone() };
                Err(fault)
            }
        }
    }

    /// The fault that the weather makes of a call.
    fn inject(&mut self, operation: Operation) -> Option<Injected> {
        if let Some(planned) = self.weather.take_planned(operation) {
            return Some(planned);
        }
        let spared = self.weather.only.as_ref().is_some_and(|only| !only.contains(&operation));
        if spared || !self.weather.lasts(self.now) {
            return None;
        }
        let odds = self.weather.odds();
        odds.into_iter().find(|(_, probability)| self.rng.chance(*probability)).map(|(what, _)| what)
    }

    /// What AWS looks at before it does anything.
    fn admit(
        &mut self,
        caller: Caller<'_>,
        operation: Operation,
        write: Option<&Write>,
        entry: &mut Entry,
    ) -> Result<(), Refusal> {
        match entry.injected {
            Some(Injected::Throttle) => return Err(throttled(operation)),
            Some(Injected::Expired) => return Err(expired(operation)),
            Some(Injected::InternalError) => return Err(internal_error(operation)),
            _ => {}
        }
        let now = self.now;
        let account = self.accounts.get_mut(caller.account);
        let meters = match operation {
            Operation::AssumeRole => Some(&mut self.own_meters),
            _ if operation.service() == "iam" => account.map(|account| &mut account.iam.meters),
            _ => account.and_then(|account| account.regions.get_mut(caller.region)).map(|region| &mut region.meters),
        };
        if meters.is_some_and(|meters| !meters.take(operation.bucket(), 1, now)) {
            entry.throttled_by_bucket = true;
            return Err(throttled(operation));
        }
        if matches!(operation, Operation::AssumeRole | Operation::GetCallerIdentity) {
            return Ok(());
        }
        let enabled = self
            .accounts
            .get(caller.account)
            .is_some_and(|a| !a.disabled_regions.contains(caller.region) && a.regions.contains_key(caller.region));
        if operation.service() != "iam" && !enabled {
            return Err(not_enabled());
        }
        let refused = (operation.writes() && caller.read_only)
            || !self.may(caller.account, caller.role, operation)
            || write.and_then(tags_by).is_some_and(|by| !self.may(caller.account, caller.role, by))
            || (write.is_some_and(passes_role) && !self.may_pass_role(caller.account, caller.role));
        if refused { Err(denied(operation)) } else { Ok(()) }
    }

    /// Whether a role's policies allow it to pass roles on.
    fn may_pass_role(&self, account: &AccountId, role: &str) -> bool {
        let role = self.accounts.get(account).and_then(|account| account.roles.get(role));
        role.is_none_or(|role| !role.pass_role_denied)
    }

    /// Whether a role's policies, as far as they have come into effect, allow a call. A role that is gone may nothing.
    pub(super) fn may(&self, account: &AccountId, role: &str, operation: Operation) -> bool {
        match self.accounts.get(account).and_then(|account| account.roles.get(role)) {
            Some(role) => !role.denied.contains(&operation),
            None => self.own.as_ref().is_some_and(|own| own.arn == role),
        }
    }

    /// Puts into an entry how the things that a write names are before it.
    pub(super) fn witness(&self, entry: &mut Entry, write: &Write) {
        if let Some(account) = self.accounts.get(&entry.account) {
            entry.touched.extend(account.iam.witness(write));
        }
        let Some(state) = self.region(&entry.account, &entry.region) else { return };
        match write {
            Write::UpdateSetting { setting, .. } | Write::ResetSetting { setting } => {
                entry.touched.push(state.touched_setting(*setting));
            }
            Write::ModifyMetadataDefaults { .. } => entry.touched.push(state.touched_metadata()),
            Write::Document(_) => entry.touched.extend(state.touched_document()),
            Write::Rule(_) => entry.touched.extend(state.touched_rule()),
            _ => {}
        }
        let mut touch = |id: &str| entry.touched.extend(state.touched(id));
        match write {
            Write::CreateSecurityGroup { vpc, .. } | Write::EnableVpcAttribute { vpc, .. } => touch(vpc.as_str()),
            Write::AuthorizeIngress { group, .. }
            | Write::RevokeIngress { group, .. }
            | Write::DeleteSecurityGroup { group } => touch(group.as_str()),
            Write::ModifyEndpoint { endpoint, .. } => touch(endpoint.as_str()),
            Write::DeleteEndpoints { endpoints } => endpoints.iter().for_each(|id| touch(id.as_str())),
            Write::Tag { resources, .. } | Write::Untag { resources, .. } => resources.iter().for_each(|id| touch(id)),
            Write::CreateEndpoint(new) => touch(new.vpc.as_str()),
            Write::AssociateProfile { instance, .. } => touch(instance.as_str()),
            Write::UpdateSetting { .. }
            | Write::ResetSetting { .. }
            | Write::ModifyMetadataDefaults { .. }
            | Write::Document(_)
            | Write::Rule(_)
            | Write::Role { .. }
            | Write::Profile { .. } => {}
        }
        let admits = |vpc: &VpcId, groups: &BTreeSet<SecurityGroupId>| {
            let vpc = state.vpcs.get(vpc)?;
            // Without any, AWS takes the VPC's default group.
            let default = [vpc.default_group.clone()].into();
            Some(state.admits(if groups.is_empty() { &default } else { groups }, &vpc.cidrs))
        };
        match write {
            Write::CreateEndpoint(new) => {
                let of_service = state.live_endpoints(&new.vpc).filter(|e| e.service_name == new.service_name);
                entry.siblings.extend(of_service.filter_map(|e| state.touched(e.id.as_str())));
                if new.private_dns {
                    entry.admitted = admits(&new.vpc, &new.groups);
                }
            }
            Write::ModifyEndpoint { endpoint, change } if change.private_dns == Some(true) => {
                entry.admitted = state.endpoints.get(endpoint).and_then(|endpoint| {
                    let kept = endpoint.groups.difference(&change.remove_groups);
                    admits(&endpoint.vpc, &kept.chain(&change.add_groups).cloned().collect())
                });
            }
            _ => {}
        }
    }

    /// The truth about a VPC's endpoints that are not going.
    #[must_use]
    pub fn live_endpoints(&self, account: &AccountId, region: &Region, vpc: &VpcId) -> Vec<&Endpoint> {
        let Some(state) = self.region(account, region) else { return Vec::new() };
        let living = state.endpoints.values().filter(|e| e.vpc == *vpc && !e.state.is_leaving());
        living.map(|record| &record.value.fact).collect()
    }

    /// Whether these groups admit HTTPS from all of these addresses.
    #[must_use]
    pub fn admits(
        &self,
        account: &AccountId,
        region: &Region,
        groups: &BTreeSet<SecurityGroupId>,
        cidrs: &[IpNet],
    ) -> bool {
        self.region(account, region).is_some_and(|state| state.admits(groups, cidrs))
    }

    /// Changes what a role's policies refuse. It takes effect when IAM has spread the word.
    pub fn set_denied(&mut self, account: &AccountId, role: &str, denied: impl IntoIterator<Item = Operation>) {
        let delay = self.rng.within(self.weather.iam_propagation);
        let found = self.accounts.get_mut(account).and_then(|account| account.roles.get_mut(role));
        let Some(found) = found else { return };
        found.asked += 1;
        let change = found.asked;
        let event = Event::Permissions {
            account: account.clone(),
            role: role.to_owned(),
            change,
            denied: denied.into_iter().collect(),
        };
        self.agenda.plan(later(self.now, delay), event);
        if delay == Duration::ZERO {
            self.catch_up(self.now);
        }
    }

    /// What a write did, for the journal.
    pub(super) fn describe(written: &Written) -> Outcome {
        match written {
            Written::Done => Outcome::Done,
            Written::Group(id) => Outcome::Made(id.to_string()),
            Written::Endpoint(id) => Outcome::Made(id.to_string()),
            Written::NotDeleted(left) => {
                Outcome::NotDeleted(left.iter().map(|(id, fault)| (id.clone(), fault.code.clone())).collect())
            }
        }
    }
}

/// Tags in a request that creates something need the permission to tag as well: by this call.
fn tags_by(write: &Write) -> Option<Operation> {
    let (tags, by) = match write {
        Write::CreateSecurityGroup { tags, .. } => (tags, Operation::CreateTags),
        Write::CreateEndpoint(new) => (&new.tags, Operation::CreateTags),
        Write::Document(DocumentChange::Create { tags, .. }) => (tags, Operation::AddTagsToResource),
        Write::Rule(RuleChange::Put { tags, .. }) => (tags, Operation::TagResource),
        Write::Role { change: RoleChange::Create(new), .. } => (&new.tags, Operation::TagRole),
        Write::Profile { change: ProfileChange::Create { tags, .. }, .. } => (tags, Operation::TagInstanceProfile),
        _ => return None,
    };
    (!tags.is_empty()).then_some(by)
}

/// Whether a write hands a role to a service, which needs `iam:PassRole`. Nothing looks whether the role is there.
fn passes_role(write: &Write) -> bool {
    matches!(
        write,
        Write::UpdateSetting { setting: Setting::HostManagementRole, .. }
            | Write::Profile { change: ProfileChange::AddRole(_), .. }
            | Write::AssociateProfile { .. }
    )
}

fn throttled(operation: Operation) -> Refusal {
    let message = "Request limit exceeded.";
    match operation.service() {
        "ec2" => Refusal::new("RequestLimitExceeded", message).status(503),
        "s3" => Refusal::new("SlowDown", "Please reduce your request rate.").status(503),
        "ssm" | "events" | "cloudtrail" | "logs" | "kms" => Refusal::new("ThrottlingException", "Rate exceeded"),
        _ => Refusal::new("Throttling", "Rate exceeded"),
    }
}

fn internal_error(operation: Operation) -> Refusal {
    let code = match operation.service() {
        "ec2" => "InternalError",
        "ssm" => "InternalServerError",
        "events" => "InternalException",
        "sns" | "s3" => "InternalError",
        "kms" => "KMSInternalException",
        _ => "InternalFailure",
    };
    Refusal::new(code, "An internal error has occurred").status(500)
}

fn expired(operation: Operation) -> Refusal {
    match operation.service() {
        "ec2" => Refusal::new("RequestExpired", "Request has expired."),
        "s3" => Refusal::new("ExpiredToken", "The provided token has expired."),
        "ssm" | "events" | "cloudtrail" | "logs" | "kms" => {
            Refusal::new("ExpiredTokenException", "The security token included in the request is expired")
        }
        _ => Refusal::new("ExpiredToken", "The security token included in the request is expired").status(403),
    }
}

fn denied(operation: Operation) -> Refusal {
    let message = "You are not authorized to perform this operation.";
    match operation.service() {
        "ec2" => Refusal::new("UnauthorizedOperation", message).status(403),
        "ssm" | "events" | "cloudtrail" | "logs" | "kms" => Refusal::new("AccessDeniedException", message),
        "sns" => Refusal::new("AuthorizationError", message).status(403),
        _ => Refusal::new("AccessDenied", message).status(403),
    }
}

fn not_enabled() -> Refusal {
    Refusal::new("OptInRequired", "You are not subscribed to this service in this region.").status(401)
}
