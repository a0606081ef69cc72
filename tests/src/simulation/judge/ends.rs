//! What has to be so of regions and accounts when faults have stopped and there was time enough.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use ssm_ready_cloud::sim::{Iam, RegionState, World as Aws};
use ssm_ready_core::{
    facts::{
        Tags,
        audit::Topic,
        settings::{DocumentStatus, Setting},
    },
    ids::{AccountId, PolicyArn, ProfileName, RoleName},
    posture::OWNER_TAG,
    region::Knob,
};

use super::{
    super::{kubernetes::Id, others::Thing, stage::Stage},
    condition,
    ledger::{Ledger, Place, is_default, trusts, truth},
    postures::{Declared, Host, Posture, postures, reports_sessions},
};

/// How one part of a posture stands.
#[derive(Debug, Default)]
struct Part {
    /// What is not as declared.
    lacks: Vec<String>,
    /// What of it nobody can expect the controller to put right.
    obstacles: Vec<String>,
    /// How many of these are values of somebody else.
    foreign: usize,
    /// Whether two objects have wanted the same, so that whose a value is cannot be told.
    contested: bool,
}

impl Part {
    fn lacks(&mut self, what: impl Into<String>) {
        self.lacks.push(what.into());
    }

    fn obstacle(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.lacks.push(what.clone());
        self.obstacles.push(what);
    }

    fn foreign(&mut self, what: impl Into<String>) {
        self.obstacle(what);
        self.foreign += 1;
    }
}

/// Everything that the end of a world is judged by.
struct End<'a> {
    aws: &'a Aws,
    stage: &'a Stage,
    ledger: &'a Ledger,
    all: &'a [Posture],
    permitted: &'a dyn Fn(&AccountId, &Id) -> bool,
}

/// Judges all postures of regions and accounts.
///
/// # Errors
/// What does not hold.
pub fn judge(stage: &Stage, ledger: &Ledger, permitted: &dyn Fn(&AccountId, &Id) -> bool) -> Result<()> {
    let all = postures(&stage.kubernetes)?;
    stage.aws.with(|aws| -> Result<()> {
        let end = End { aws, stage, ledger, all: &all, permitted };
        for posture in &all {
            let object = stage.kubernetes.get(&posture.id).context("gone")?;
            let judged = match &posture.region {
                Some(region) => end.region(posture, &object, &(posture.account.clone(), region.clone())),
                None => end.account(posture, &object),
            };
            judged.with_context(|| format!("{:?} {} status {}", posture.id, posture.spec, object["status"]))?;
        }
        end.nothing_left_over()
    })
}

/// Whether an object says that it is suspended.
fn says_suspended(object: &Value) -> bool {
    object["status"]["conditions"].as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "Suspended"))
}

impl End<'_> {
    fn is_ours(&self, posture: &Posture, tags: &Tags) -> bool {
        self.ledger.is_ours(tags) && tags.get(OWNER_TAG) == Some(&posture.owner())
    }

    /// What stands in the way of the object as a whole.
    fn stopped(&self, posture: &Posture) -> Option<String> {
        if !(self.permitted)(&posture.account, &posture.id) {
            return Some("it is not permitted".to_owned());
        }
        self.rival(posture)
    }

    fn rival(&self, posture: &Posture) -> Option<String> {
        let names = |p: &Posture| -> BTreeSet<String> {
            let roles = p.roles();
            roles.iter().map(|r| r.role.clone()).chain(roles.iter().filter_map(|r| r.profile.clone())).collect()
        };
        let rival = self.all.iter().find(|other| {
            other.id != posture.id
                && other.account == posture.account
                && other.region == posture.region
                && (posture.region.is_some() || !names(other).is_disjoint(&names(posture)))
        });
        rival.map(|rival| format!("{:?} for the same", rival.id))
    }

    fn iam(&self, account: &AccountId) -> Result<&Iam> {
        Ok(&self.aws.accounts.get(account).context("no such account")?.iam)
    }

    /// Judges what an object says of one of its parts.
    fn part(&self, posture: &Posture, object: &Value, kind: &str, part: &Part) -> Result<()> {
        let Some((status, reason, message)) = condition(object, kind) else {
            ensure!(part.lacks.is_empty(), "{kind} is not said, and {:?}", part.lacks);
            return Ok(());
        };
        if status == "True" {
            ensure!(part.lacks.is_empty(), "{kind} is True, and {:?}", part.lacks);
            return Ok(());
        }
        if posture.observes() {
            // Something may be lacking that is no longer declared.
            return Ok(());
        }
        ensure!(
            !part.obstacles.is_empty(),
            "{kind} is {status} {reason}: {message}, and nothing is in its way: {part:?}"
        );
        ensure!(
            reason != "Foreign" || part.foreign > 0,
            "{kind} is {status} {reason}: {message}, and nothing is somebody else's: {part:?}"
        );
        if part.foreign == part.lacks.len() && !part.contested {
            ensure!(reason == "Foreign", "{kind} is {status} {reason}: {message}, and not Foreign: {part:?}");
        }
        Ok(())
    }

    /// Judges what an object says as a whole.
    fn whole(&self, posture: &Posture, object: &Value, parts: &[(&str, Part)]) -> Result<()> {
        let stopped = self.stopped(posture);
        let Some((ready, reason, message)) = condition(object, "Ready") else {
            bail!("it says nothing of this generation")
        };
        let lacks: Vec<&String> = parts.iter().flat_map(|(_, part)| &part.lacks).collect();
        if let Some(stopped) = stopped {
            // Two for the same: the older one works.
            ensure!(ready != "True" || lacks.is_empty() || posture.observes(), "Ready, and {lacks:?} ({stopped})");
            return Ok(());
        }
        for (kind, part) in parts {
            self.part(posture, object, kind, part)?;
        }
        if posture.observes() {
            let compliant = condition(object, "Compliant").map(|(status, ..)| status);
            ensure!(compliant.as_deref() != Some("True") || lacks.is_empty(), "Compliant, and {lacks:?}");
            ensure!(ready == "True", "Observe has nothing in its way, and is not Ready: {reason}: {message}");
        } else {
            ensure!((ready == "True") == lacks.is_empty(), "Ready is {ready} {reason}: {message}, and {lacks:?}");
        }
        Ok(())
    }

    fn region(&self, posture: &Posture, object: &Value, place: &Place) -> Result<()> {
        if posture.leaving {
            ensure!(!posture.works() || self.stopped(posture).is_some(), "it does not go");
            return Ok(());
        }
        if posture.spec["suspend"] == Value::Bool(true) {
            ensure!(says_suspended(object), "suspended, and does not say so");
            return Ok(());
        }
        let state = self.aws.region(&place.0, &place.1).context("no such region")?;
        let mut settings = Part::default();
        let mut metadata = Part::default();
        for (knob, wanted) in posture.knobs() {
            let part = if matches!(knob, Knob::Setting(_)) { &mut settings } else { &mut metadata };
            self.knob(posture, place, state, knob, Some(&wanted), part);
        }
        let host = self.host(posture, place, state)?;
        let session = self.session(posture, place, state)?;
        let audit = self.audit(posture, state);
        // What is no longer declared is seen to as well, under the same conditions.
        let parts = [
            ("HostManagementReady", host),
            ("ServiceSettingsReady", settings),
            ("MetadataDefaultsReady", metadata),
            ("SessionPreferencesReady", session),
            ("AuditReady", audit),
        ];
        self.whole(posture, object, &parts)?;
        let done = condition(object, "Ready").is_some_and(|(ready, ..)| ready == "True") && posture.works();
        if done && !self.ledger.is_contested(place) && self.stopped(posture).is_none() {
            self.ledger.undeclared_went_back(self.aws, posture, place)?;
        }
        Ok(())
    }

    fn knob(
        &self,
        posture: &Posture,
        place: &Place,
        state: &RegionState,
        knob: Knob,
        wanted: Option<&String>,
        part: &mut Part,
    ) {
        let is = truth(self.aws, place, knob);
        let field = knob.field();
        if let Knob::Setting(setting) = knob
            && state.missing_settings.contains(&setting)
        {
            return part.obstacle(format!("{field} is not offered"));
        }
        let wanted = wanted.filter(|wanted| !is_default(knob, wanted)).cloned();
        if is == wanted {
            return;
        }
        let what = format!("{field} is {is:?} and not {wanted:?}");
        if matches!(knob, Knob::Metadata(_)) && state.metadata().by_declarative_policy {
            part.obstacle(what);
        } else if self.ledger.is_contested(place) || self.ledger.is_released(place, knob) {
            // For which of the two it was set, the journal does not say.
            part.foreign(what);
            part.contested = true;
        } else if is.is_some() && !self.ledger.set_by_us(place, knob, &is) && !posture.takes_over() {
            part.foreign(what);
        } else {
            part.lacks(what);
        }
    }

    /// The role that Default Host Management is to have, by its path and name; or why it cannot be told.
    fn host_role(&self, host: Host, place: &Place) -> Result<Result<Option<(String, String)>, String>> {
        Ok(match host {
            Host::Off => Ok(None),
            Host::External(path, name) => Ok(Some((path, name))),
            Host::Declared(object, entry) => {
                let found = self.all.iter().find(|p| p.region.is_none() && p.id.2 == object && p.account == place.0);
                let role = found.and_then(|found| {
                    let named = found.spec["hostManagementRole"]["name"] == entry.as_str();
                    found.roles().into_iter().next().filter(|_| named)
                });
                let (Some(found), Some(role)) = (found, role) else {
                    return Ok(Err(format!("no AccountPosture {object} declares {entry}")));
                };
                let object = self.stage.kubernetes.get(&found.id).context("gone")?;
                let ready = condition(&object, "RolesReady").is_some_and(|(status, ..)| status == "True");
                // One that is suspended serves as it stands, unless what it declares was changed since.
                let settled = object["status"]["observedGeneration"] == object["metadata"]["generation"];
                if !(ready && settled) {
                    return Ok(Err("the roles of the AccountPosture are not ready".to_owned()));
                }
                Ok(Some((role.path, role.role)))
            }
        })
    }

    fn host(&self, posture: &Posture, place: &Place, state: &RegionState) -> Result<Part> {
        const KNOB: Knob = Knob::Setting(Setting::HostManagementRole);
        let mut part = Part::default();
        let Some(host) = posture.host() else { return Ok(part) };
        let iam = self.iam(&place.0)?;
        let (path, name) = match self.host_role(host, place)? {
            Ok(None) => {
                // What names no role is off.
                let named = truth(self.aws, place, KNOB).map(|value| name_in(&value));
                if state.missing_settings.contains(&Setting::HostManagementRole)
                    || named.is_some_and(|role| iam.roles.contains_key(&role))
                {
                    self.knob(posture, place, state, KNOB, None, &mut part);
                }
                return Ok(part);
            }
            Ok(Some(role)) => role,
            Err(why) => {
                part.obstacle(why);
                return Ok(part);
            }
        };
        if state.missing_settings.contains(&Setting::HostManagementRole) {
            part.obstacle("it is not offered");
            return Ok(part);
        }
        let fit = iam.roles.get(&RoleName::new(name.clone())).is_some_and(|role| {
            role.path == path
                && trusts(&role.trust, "ssm.amazonaws.com")
                && role.policies.iter().any(|p| p.as_str().ends_with("/AmazonSSMManagedEC2InstanceDefaultPolicy"))
        });
        if !fit {
            part.obstacle(format!("role {name} cannot serve"));
            return Ok(part);
        }
        let wanted = format!("{}{name}", path.trim_start_matches('/'));
        // A value that names no role is nobody's.
        let is = truth(self.aws, place, KNOB);
        let named = is.as_deref().map(name_in);
        if named.is_some_and(|role| !iam.roles.contains_key(&role)) && is.as_ref() != Some(&wanted) {
            part.lacks(format!("it is {is:?} and not {wanted}"));
        } else {
            self.knob(posture, place, state, KNOB, Some(&wanted), &mut part);
        }
        Ok(part)
    }

    /// What sessions are to be logged to and encrypted with and is of no use.
    fn targets(&self, posture: &Posture, place: &Place, state: &RegionState, part: &mut Part) -> Result<()> {
        let targets = posture.targets();
        let mut needed: Vec<&str> = Vec::new();
        for target in &targets {
            let name = &target.name;
            let good = match target.thing {
                Thing::Bucket => {
                    needed.push("s3:PutObject");
                    let found = state.buckets.get(&name.as_str().into());
                    found.is_some_and(|bucket| !target.encrypted || bucket.encryption.algorithm.is_some())
                }
                Thing::Group => {
                    needed.push("logs:PutLogEvents");
                    let found = state.log_groups.get(&name.as_str().into());
                    found.is_some_and(|group| !target.encrypted || group.kms_key.is_some())
                }
                Thing::Key => {
                    needed.push("kms:Decrypt");
                    let found = state.keys.get(target.id());
                    found.is_some_and(|key| key.fact.state == "Enabled" && key.fact.usage == "ENCRYPT_DECRYPT")
                }
            };
            if !good {
                part.obstacle(format!("{target:?} is of no use"));
            }
        }
        if targets.is_empty() {
            return Ok(());
        }
        let iam = self.iam(&place.0)?;
        let role: RoleName = match posture.host() {
            Some(host) => match self.host_role(host, place)? {
                Ok(None) => return Ok(()),
                Ok(Some((_, name))) => name.into(),
                Err(why) => {
                    part.obstacle(why);
                    return Ok(());
                }
            },
            None => match state.setting_value(Setting::HostManagementRole).map(name_in) {
                Some(role) if iam.roles.contains_key(&role) => role,
                // Agents have no credentials of it.
                _ => return Ok(()),
            },
        };
        if !iam.roles.contains_key(&role) {
            part.obstacle(format!("there is no role {role}"));
        }
        for action in needed.into_iter().filter(|action| !iam.allows(&role, action)) {
            part.obstacle(format!("role {role} may not {action}"));
        }
        Ok(())
    }

    fn session(&self, posture: &Posture, place: &Place, state: &RegionState) -> Result<Part> {
        let mut part = Part::default();
        if posture.session().is_none() {
            return Ok(part);
        }
        if posture.shapes_shells() && !posture.may_shape_shells() {
            part.obstacle("the guardrails forbid to shape shells");
            return Ok(part);
        }
        self.targets(posture, place, state, &mut part)?;
        if part.lacks.is_empty() {
            self.document(posture, state, &mut part);
        }
        Ok(part)
    }

    fn document(&self, posture: &Posture, state: &RegionState, part: &mut Part) {
        let Some(document) = state.session_document() else {
            return part.lacks("there is no document");
        };
        let active = document.versions.get(&document.default).is_some_and(|v| v.status == DocumentStatus::Active);
        // AWS takes no second version with the content of the newest.
        let newest = document.versions.values().next_back();
        let ours = self.is_ours(posture, &document.tags) || posture.takes_over();
        let in_use = document.versions.get(&document.default).filter(|_| !active);
        let looked_at = [newest.filter(|_| ours), in_use];
        if looked_at.into_iter().flatten().any(|v| v.status == DocumentStatus::Failed && posture.is_session(&v.content))
        {
            return part.obstacle("AWS could not make the newest version");
        }
        if posture.is_session(document.content_in_use()) {
            if !active {
                part.lacks("the version in use is not active");
            }
        } else if self.is_ours(posture, &document.tags) || posture.takes_over() {
            part.lacks(format!("sessions are {}", document.content_in_use()));
        } else {
            part.foreign(format!("sessions are {}", document.content_in_use()));
        }
    }

    fn audit(&self, posture: &Posture, state: &RegionState) -> Part {
        let mut part = Part::default();
        let Some((topic, trail)) = posture.audit() else { return part };
        if trail && !state.trails.values().any(|trail| trail.logging) {
            part.obstacle("no trail is logging");
        }
        let lets = |topic: &Topic| topic.policy.as_ref().is_some_and(|policy| policy.contains("events.amazonaws.com"));
        let topic_lets = match state.topics.get(&topic) {
            None => {
                part.obstacle("there is no topic");
                false
            }
            Some(topic) if !lets(topic) => {
                part.obstacle("the topic is closed");
                false
            }
            Some(_) => true,
        };
        let Some(rule) = state.audit_rule() else {
            if topic_lets {
                part.lacks("there is no rule");
            }
            return part;
        };
        let ours = rule.targets.get("ssm-ready");
        let right = rule.enabled
            && rule.schedule.is_none()
            && rule.pattern.as_deref().is_some_and(reports_sessions)
            && rule.targets.values().any(|target| *target == (topic.clone(), false))
            && ours.is_none_or(|target| *target == (topic.clone(), false));
        if right {
            return part;
        }
        if !(self.is_ours(posture, &rule.tags) || posture.takes_over()) {
            part.foreign(format!("the rule is somebody else's: {rule:?}"));
        } else if topic_lets {
            part.lacks(format!("the rule is {rule:?}"));
        }
        part
    }

    fn account(&self, posture: &Posture, object: &Value) -> Result<()> {
        let iam = self.iam(&posture.account)?;
        if posture.leaving {
            let held = self.in_use(posture, iam)?.or_else(|| self.stopped(posture));
            let held = held.or_else(|| self.held_by_others(posture, iam).map(|role| format!("{role} is held")));
            ensure!(!posture.works() || held.is_some(), "it does not go");
            return Ok(());
        }
        if posture.spec["suspend"] == Value::Bool(true) {
            ensure!(says_suspended(object), "suspended, and does not say so");
            return Ok(());
        }
        let (mut roles, mut profiles) = (Part::default(), Part::default());
        for role in posture.roles() {
            let there = self.role(posture, iam, &role, &mut roles);
            self.profile(posture, iam, &role, there, &mut profiles);
        }
        let declared = |role: &RoleName| posture.roles().iter().any(|r| r.role == role.as_str());
        if self.held_by_others(posture, iam).is_some_and(|role| !declared(&role)) {
            roles.obstacle("a profile of somebody else holds a role that is no longer declared");
        }
        self.whole(posture, object, &[("RolesReady", roles), ("ProfilesReady", profiles)])?;
        if self.stopped(posture).is_none() && posture.works() {
            self.undeclared(posture, iam)?;
        }
        Ok(())
    }

    /// What uses something that the object made.
    fn in_use(&self, posture: &Posture, iam: &Iam) -> Result<Option<String>> {
        let held = self.aws.accounts.get(&posture.account).context("no such account")?;
        for role in iam.roles.values().filter(|role| self.is_ours(posture, &role.tags)) {
            let value = format!("{}{}", role.path.trim_start_matches('/'), role.name);
            let uses = held
                .regions
                .iter()
                .find(|(_, state)| state.setting_value(Setting::HostManagementRole) == Some(value.as_str()));
            if let Some((region, _)) = uses {
                return Ok(Some(format!("{region} uses {}", role.name)));
            }
        }
        for profile in iam.profiles.values().filter(|profile| self.is_ours(posture, &profile.tags)) {
            let mut all = held.regions.values().flat_map(|state| state.instances.values());
            if let Some(instance) = all.find(|i| i.fact.profile.as_ref() == Some(&profile.arn)) {
                return Ok(Some(format!("{} has {}", instance.fact.id, profile.name)));
            }
        }
        Ok(None)
    }

    /// A role of the object's that a profile of somebody else holds, so that it cannot be deleted.
    fn held_by_others(&self, posture: &Posture, iam: &Iam) -> Option<RoleName> {
        if posture.deletion() != "Delete" {
            return None;
        }
        let ours = |role: &RoleName| iam.roles.get(role).is_some_and(|role| self.is_ours(posture, &role.tags));
        let mut theirs = iam.profiles.values().filter(|profile| !self.is_ours(posture, &profile.tags));
        theirs.find_map(|profile| profile.role.clone().filter(ours))
    }

    /// Whether the role is there, and fit to be handed out.
    fn role(&self, posture: &Posture, iam: &Iam, wanted: &Declared, part: &mut Part) -> bool {
        let name = &wanted.role;
        let found = iam.roles.get(&RoleName::new(name.clone()));
        if !posture.is_within_rails(wanted) {
            part.obstacle(format!("the guardrails forbid {name}"));
            return false;
        }
        let Some(role) = found else {
            if wanted.ownership == "AttachOnly" {
                part.obstacle(format!("there is no {name} to add to"));
            } else {
                part.lacks(format!("there is no {name}"));
            }
            return false;
        };
        let ours = self.is_ours(posture, &role.tags);
        if !ours && wanted.ownership == "Create" {
            part.foreign(format!("{name} is somebody else's"));
            return false;
        }
        if role.path != wanted.path {
            part.obstacle(format!("{name} has the path {}", role.path));
            return false;
        }
        let allowed =
            |policy: &PolicyArn| wanted.own.iter().any(|own| own == policy.as_str()) || posture.lists(policy.as_str());
        let beyond =
            role.policies.iter().any(|policy| !allowed(policy)) || role.inline.keys().any(|name| name != "ssm-ready");
        if !ours && wanted.ownership == "TakeOver" && beyond {
            part.obstacle(format!("{name} carries more than the guardrails allow"));
            return false;
        }
        for policy in wanted.own.iter().chain(&wanted.extra) {
            if !role.policies.contains(&PolicyArn::new(policy.clone())) {
                part.lacks(format!("{name} lacks {policy}"));
            }
        }
        let bounded = posture.boundary().is_none_or(|b| role.boundary.as_ref().is_some_and(|is| is.as_str() == b));
        let trusted = trusts(&role.trust, wanted.service);
        if wanted.ownership == "AttachOnly" {
            if !bounded {
                part.obstacle(format!("{name} is not bounded"));
            }
            if !trusted {
                part.obstacle(format!("{name} is not trusted"));
            }
            return bounded && trusted;
        }
        if !ours {
            part.lacks(format!("{name} is not taken over"));
        }
        if !bounded {
            part.lacks(format!("{name} is not bounded"));
        }
        if !trusted {
            part.lacks(format!("{name} is not trusted"));
        }
        let inline = role.inline.get("ssm-ready");
        let said: Value = inline.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let resources: BTreeSet<&str> = said["Statement"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|s| s["Resource"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        if let Some(missing) = wanted.resources.iter().find(|resource| !resources.contains(resource.as_str())) {
            part.lacks(format!("{name} has no statement for {missing}"));
        }
        if wanted.resources.is_empty() && inline.is_some() {
            part.lacks(format!("{name} has statements that nobody declares"));
        }
        if inline.is_some_and(|text| text.contains("s3:*")) {
            part.lacks(format!("{name} has statements of somebody else under our name"));
        }
        true
    }

    fn profile(&self, posture: &Posture, iam: &Iam, wanted: &Declared, role_there: bool, part: &mut Part) {
        let Some(name) = &wanted.profile else { return };
        let found = iam.profiles.get(&ProfileName::new(name.clone()));
        let holds = found.and_then(|p| p.role.as_ref()).map(|role| role.as_str());
        let good = holds == Some(wanted.role.as_str());
        if !role_there {
            if !good {
                part.obstacle(format!("profile {name} waits for its role"));
            }
            return;
        }
        match found {
            None => part.lacks(format!("there is no profile {name}")),
            Some(profile) if !self.is_ours(posture, &profile.tags) && wanted.ownership != "TakeOver" => {
                if !good {
                    part.obstacle(format!("profile {name} is somebody else's"));
                }
            }
            Some(profile) => {
                if !good {
                    part.lacks(format!("profile {name} does not hold its role"));
                }
                if !self.is_ours(posture, &profile.tags) {
                    part.lacks(format!("profile {name} is not taken over"));
                }
            }
        }
    }

    /// Roles and profiles of the object that it no longer declares: let go, or deleted once nothing uses them.
    fn undeclared(&self, posture: &Posture, iam: &Iam) -> Result<()> {
        let held = posture.deletion() == "Delete"
            && (self.in_use(posture, iam)?.is_some() || self.held_by_others(posture, iam).is_some());
        let roles = posture.roles();
        for role in iam.roles.values().filter(|role| self.is_ours(posture, &role.tags)) {
            let declared = roles.iter().any(|r| r.role == role.name.as_str());
            ensure!(declared || held, "rule 3: {} is no longer declared, and is kept as ours", role.name);
        }
        for profile in iam.profiles.values().filter(|profile| self.is_ours(posture, &profile.tags)) {
            let declared = roles.iter().any(|r| r.profile.as_deref() == Some(profile.name.as_str()));
            ensure!(declared || held, "rule 3: profile {} is no longer declared, and is kept as ours", profile.name);
        }
        Ok(())
    }

    /// Nothing carries the tag of an object that is gone.
    fn nothing_left_over(&self) -> Result<()> {
        let wanted = |owner: &String| {
            self.ledger.may_leave.contains(owner) || self.all.iter().any(|posture| posture.owner() == *owner)
        };
        let left = |what: &str, tags: &Tags| -> Result<()> {
            let owner = tags.get(OWNER_TAG).filter(|_| self.ledger.is_ours(tags));
            ensure!(owner.is_none_or(wanted), "rule 3: {what} was left behind by {owner:?}");
            Ok(())
        };
        for account in self.aws.accounts.values() {
            for role in account.iam.roles.values() {
                left(role.name.as_str(), &role.tags)?;
            }
            for profile in account.iam.profiles.values() {
                left(profile.name.as_str(), &profile.tags)?;
            }
            for document in account.regions.values().filter_map(RegionState::session_document) {
                left("the session document", &document.tags)?;
            }
            for rule in account.regions.values().filter_map(RegionState::audit_rule) {
                left("the rule that reports sessions", &rule.tags)?;
            }
        }
        Ok(())
    }
}

/// A role's name in a value of the setting.
fn name_in(value: &str) -> RoleName {
    RoleName::new(value.rsplit('/').next().unwrap_or(value))
}
