//! The rules that hold in every world, whatever happens in it (design, "Rules that always hold").
//!
//! The judge looks at what is true in AWS, which the controller never sees, and derives for itself what a posture asks
//! for: it shares no code with what decides.

mod ends;
mod ledger;
mod postures;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use ssm_ready_cloud::sim::{Actor, Entry, RegionState, SimVpc, ThingKind, Touched, World as Aws};
use ssm_ready_core::{
    calls::Operation,
    facts::{Endpoint, EndpointState, EndpointType, InstanceState, Tags},
    ids::{AccountId, ProfileName, Region, RoleName, VpcId},
    posture::{CLUSTER_TAG, OWNER_TAG},
    write::Write,
};

use self::ledger::Ledger;
use super::{
    kubernetes::{Id, Kind, Kubernetes},
    stage::Stage,
    world::{self, EXTERNAL_ID, WEB, account_id},
};

/// How long a pass may go on after what it rests on has changed.
const PASS: SignedDuration = SignedDuration::from_mins(2);
/// How old what a pass rests on may be: the interval, and the pass.
const FACTS: SignedDuration = SignedDuration::from_mins(13);
/// How long AWS's buckets take to fill again after a process that has forgotten what the one before it used up.
const REFILL: SignedDuration = SignedDuration::from_secs(30);

/// What somebody may have changed of a VPC, so that what the controller knows of it may be old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// Tags of our things.
    Tags,
    /// Who is admitted, and what belongs to the VPC.
    Admission,
    /// The posture's spec, or the right to use the account.
    Permit,
}

/// One posture, as the judge reads it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its object.
    pub id: Id,
    /// The spec.
    pub spec: Value,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// The VPC's account and region.
    pub place: (AccountId, Region),
    /// The VPC.
    pub vpc: VpcId,
}

impl Wanted {
    /// The value of the owner tag of what it makes.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("VpcPosture/{}/{}", self.id.1, self.id.2)
    }

    fn text(&self, pointer: &str) -> &str {
        self.spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether AWS may be written to for it.
    fn works(&self) -> bool {
        self.text("/mode") == "Enforce" && self.spec["suspend"] != Value::Bool(true)
    }

    /// Whether instances without a profile are to be given one.
    fn attaches(&self) -> bool {
        self.text("/instances/profileAttachment/policy") == "WhenMissing"
    }

    /// The services whose interface endpoints it asks for by name, and whether S3 is to be reached by a gateway.
    fn services(&self) -> (BTreeSet<&'static str>, bool) {
        let capable = |name: &str| {
            let list = self.spec["capabilities"].as_array();
            list.is_some_and(|list| list.iter().any(|c| c == name))
        };
        let mut services: BTreeSet<&str> = ["ssm", "ssmmessages"].into();
        for (capability, service) in
            [("SessionEncryption", "kms"), ("CloudWatchLogging", "logs"), ("VssSnapshots", "ec2")]
        {
            if capable(capability) {
                services.insert(service);
            }
        }
        if self.text("/endpoints/ec2messages") == "Always" {
            services.insert("ec2messages");
        }
        let s3 = self.text("/endpoints/s3/type");
        if capable("Patching") && s3 == "Interface" {
            services.insert("s3");
        }
        (services, capable("Patching") && s3 == "Gateway")
    }
}

/// All postures of the cluster.
///
/// # Errors
/// An object that is not one.
pub fn wanted(kubernetes: &Kubernetes) -> Result<Vec<Wanted>> {
    let mut all = Vec::new();
    for (id, object) in kubernetes.all(Kind::Vpc) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        // By its name: the object may be gone already.
        let name = text("/spec/target/accountRef/name");
        let number =
            name.strip_prefix("account-").and_then(|n| n.parse().ok()).context("an account of another world")?;
        all.push(Wanted {
            spec: object["spec"].clone(),
            leaving: !object["metadata"]["deletionTimestamp"].is_null(),
            place: (account_id(number).parse()?, text("/spec/target/region").parse()?),
            vpc: text("/spec/target/vpcId").as_str().into(),
            id,
        });
    }
    Ok(all)
}

/// What the judge remembers of a world.
#[derive(Debug, Default)]
pub struct Judge {
    cluster: String,
    /// Settings, documents, roles and profiles.
    ledger: Ledger,
    /// The entries of AWS's journal that have been judged.
    judged: usize,
    /// When somebody last changed something of a VPC.
    changed: BTreeMap<(VpcId, Aspect), Timestamp>,
    /// When each process began.
    births: Vec<Timestamp>,
    /// Owners that there have been, and their VPCs.
    owners: BTreeMap<String, VpcId>,
    /// Owners that may take over.
    takes_over: BTreeSet<String>,
    /// Owners that were to leave things behind: suspended ones may not even take their tag off.
    pub retains: BTreeSet<String>,
    /// The postures at the last look: some may have gone since, with what they had made.
    before: Vec<Wanted>,
    /// Writes that took effect.
    pub writes: usize,
}

impl Judge {
    /// Judges the controller of a cluster.
    #[must_use]
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), ledger: Ledger::new(cluster), ..Self::default() }
    }

    /// Specs, grants or guardrails of an account change now.
    pub fn permits_otherwise(&mut self, account: &AccountId, now: Timestamp) {
        self.ledger.permits_otherwise(account, now);
    }

    /// Judges postures of regions and accounts, when faults have stopped and there was time enough.
    ///
    /// # Errors
    /// What does not hold.
    pub fn judge_further(&self, stage: &Stage, permitted: &dyn Fn(&AccountId, &Id) -> bool) -> Result<()> {
        ends::judge(stage, &self.ledger, permitted)
    }

    /// Somebody changes something of a VPC now.
    pub fn changes(&mut self, vpc: &VpcId, aspect: Aspect, now: Timestamp) {
        self.changed.insert((vpc.clone(), aspect), now);
    }

    /// A process begins.
    pub fn born(&mut self, now: Timestamp) {
        self.births.push(now);
    }

    /// Takes note of the postures as they are now: some may be gone at the next look.
    ///
    /// # Errors
    /// An object that is not one.
    pub fn notes(&mut self, stage: &Stage) -> Result<()> {
        let wanted = wanted(&stage.kubernetes)?;
        self.learn(&wanted);
        self.before.extend(wanted);
        self.ledger.learn(stage)
    }

    fn learn(&mut self, wanted: &[Wanted]) {
        for posture in wanted {
            self.owners.insert(posture.owner(), posture.vpc.clone());
            if posture.text("/endpoints/deletionPolicy") == "Retain" {
                self.retains.insert(posture.owner());
            }
            if posture.text("/endpoints/adoption") == "TakeOver" {
                self.takes_over.insert(posture.owner());
            }
        }
    }

    fn changed_within(&self, vpc: &VpcId, aspect: Aspect, at: Timestamp, span: SignedDuration) -> bool {
        self.changed.get(&(vpc.clone(), aspect)).is_some_and(|then| at.duration_since(*then) < span)
    }

    /// Judges what was done since the last time, and what the objects say. To be called before anybody else changes
    /// something, so that it was done with the specs of now.
    ///
    /// # Errors
    /// The rule that was broken, and how.
    pub fn look(&mut self, stage: &Stage) -> Result<()> {
        let wanted = wanted(&stage.kubernetes)?;
        self.learn(&wanted);
        let both: Vec<Wanted> = wanted.iter().cloned().chain(std::mem::take(&mut self.before)).collect();
        self.before = wanted;
        let judged = self.judged;
        let entries: Vec<Entry> = stage.aws.with(|world| world.journal[judged..].to_vec());
        self.judged += entries.len();
        for entry in &entries {
            let at = || format!("at {}: {:?}", entry.at, entry.write);
            if matches!(entry.actor, Actor::Controller(_)) {
                self.entry(entry, &both).with_context(at)?;
            }
            self.ledger.enter(stage, entry).with_context(at)?;
        }
        // After the entries: what an object leaves is judged by what was done for it.
        self.ledger.learn(stage)?;
        let kinds = [Kind::Vpc, Kind::Account, Kind::Region, Kind::AccountPosture];
        for (id, object) in kinds.into_iter().flat_map(|kind| stage.kubernetes.all(kind)) {
            status_is_sound(&object).with_context(|| format!("status of {id:?}: {}", object["status"]))?;
        }
        for told in stage.kubernetes.take_told() {
            ensure!(!told.note.contains(EXTERNAL_ID), "rule 13: the external id is in an event: {told:?}");
            ensure!(told.note.len() <= 1024, "rule 14: an event that Kubernetes refuses: {told:?}");
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, wanted: &[Wanted]) -> Result<()> {
        let after_birth =
            self.births.iter().any(|b| (SignedDuration::ZERO..REFILL).contains(&entry.at.duration_since(*b)));
        ensure!(!entry.throttled_by_bucket || after_birth, "rule 10: AWS had to throttle {:?}", entry.operation);
        let (Some(write), true) = (&entry.write, entry.took_effect) else { return Ok(()) };
        self.writes += 1;
        for thing in &entry.touched {
            self.touched(entry, write, thing)?;
        }
        let vpc = match write {
            Write::CreateEndpoint(new) => {
                let owner = new.tags.get(OWNER_TAG).context("rule 3: made without an owner tag")?;
                ensure!(new.tags.get(CLUSTER_TAG) == Some(&self.cluster), "rule 3: made without our cluster tag");
                let twins: Vec<&Touched> = entry
                    .siblings
                    .iter()
                    .filter(|s| s.endpoint_type == Some(new.kind))
                    .filter(|s| s.tags.get(OWNER_TAG) == Some(owner) && s.tags.get(CLUSTER_TAG) == Some(&self.cluster))
                    .filter(|s| s.state.as_ref().is_none_or(|state| !state.is_terminal()))
                    .collect();
                ensure!(twins.is_empty() || entry.replayed, "rule 3: a second endpoint beside {twins:?}");
                Some(new.vpc.clone())
            }
            Write::CreateSecurityGroup { vpc, tags, .. } => {
                ensure!(tags.get(CLUSTER_TAG) == Some(&self.cluster), "rule 3: made without our cluster tag");
                Some(vpc.clone())
            }
            Write::EnableVpcAttribute { vpc, .. } => {
                let asked = wanted.iter().any(|w| w.vpc == *vpc && w.text("/dns/attributes") == "Enforce");
                ensure!(
                    asked || self.changed_within(vpc, Aspect::Permit, entry.at, PASS),
                    "rule 1: a DNS attribute is switched on where nobody asked for it"
                );
                Some(vpc.clone())
            }
            Write::AssociateProfile { .. } => {
                let instance = entry.touched.first().context("an instance that there is not")?;
                let chosen = |w: &Wanted| instance.vpc.as_ref() == Some(&w.vpc) && w.attaches();
                ensure!(instance.tags.get(WEB.0).is_some_and(|v| v == WEB.1), "rule 1: nobody chose {}", instance.id);
                ensure!(
                    wanted.iter().any(chosen)
                        || instance.vpc.as_ref().is_some_and(|v| self.changed_within(
                            v,
                            Aspect::Permit,
                            entry.at,
                            PASS
                        )),
                    "rule 1: {} is given a profile where nobody asked for it",
                    instance.id
                );
                instance.vpc.clone()
            }
            _ => entry.touched.first().and_then(|t| t.vpc.clone()),
        };
        let Some(vpc) = vpc else { return Ok(()) };
        let permitted = wanted.iter().any(|w| w.vpc == vpc && w.works());
        ensure!(
            permitted || self.changed_within(&vpc, Aspect::Permit, entry.at, PASS),
            "rule 5 or 10: a write for a VPC that no posture may change"
        );
        if entry.admitted == Some(false) {
            ensure!(
                self.changed_within(&vpc, Aspect::Admission, entry.at, FACTS),
                "rule 6: private DNS is switched on although the groups do not admit the whole VPC"
            );
        }
        Ok(())
    }

    /// Rule 1: only ours.
    fn touched(&self, entry: &Entry, write: &Write, thing: &Touched) -> Result<()> {
        if !matches!(thing.kind, ThingKind::Endpoint | ThingKind::Group) {
            return Ok(());
        }
        let owner = thing.tags.get(OWNER_TAG);
        let ours = thing.tags.get(CLUSTER_TAG) == Some(&self.cluster)
            && owner.and_then(|o| self.owners.get(o)).is_some_and(|vpc| Some(vpc) == thing.vpc.as_ref());
        let names = matches!(write, Write::CreateEndpoint(_) | Write::CreateSecurityGroup { .. });
        let taken_over = match write {
            Write::Tag { tags, .. } => tags.get(OWNER_TAG).is_some_and(|o| self.takes_over.contains(o)),
            _ => false,
        };
        let changed = thing.vpc.as_ref().is_some_and(|vpc| self.changed_within(vpc, Aspect::Tags, entry.at, FACTS));
        ensure!(
            ours || names || taken_over || changed,
            "rule 1: {} is changed, which is not ours: {:?}",
            thing.id,
            thing.tags
        );
        Ok(())
    }
}

/// What holds of every status, whatever it says.
fn status_is_sound(object: &Value) -> Result<()> {
    let status = &object["status"];
    let text = status.to_string();
    ensure!(!text.contains(EXTERNAL_ID), "rule 13: the external id is in it");
    ensure!(text.len() < 64 * 1024, "rule 14: {} bytes", text.len());
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut types: BTreeMap<&str, &Value> = BTreeMap::new();
    for condition in &conditions {
        let kind = condition["type"].as_str().context("a condition without a type")?;
        ensure!(types.insert(kind, condition).is_none(), "two conditions {kind}");
        let message = condition["message"].as_str().unwrap_or_default();
        ensure!(!message.is_empty() && message.len() <= 32 * 1024, "rule 14: the message of {kind}");
        ensure!(
            condition["observedGeneration"].as_i64() <= object["metadata"]["generation"].as_i64(),
            "{kind} is of a generation that is to come"
        );
    }
    for only_true in ["Reconciling", "Stalled", "Suspended"] {
        if let Some(condition) = types.get(only_true) {
            ensure!(condition["status"] == "True", "{only_true} is there although it is not True");
        }
    }
    ensure!(!(types.contains_key("Reconciling") && types.contains_key("Stalled")), "Reconciling and Stalled at once");
    if let Some(ready) = types.get("Ready").filter(|r| r["status"] == "True") {
        let suspended = types.contains_key("Suspended");
        ensure!(!types.contains_key("Stalled") || suspended, "Stalled and Ready at once: {ready}");
    }
    let drifts = status["drift"].as_array().map_or(0, Vec::len);
    ensure!(drifts <= 10, "rule 14: {drifts} drifts");
    Ok(())
}

/// The truth about one VPC.
struct Truth<'a> {
    region: &'a RegionState,
    vpc: &'a SimVpc,
}

impl Truth<'_> {
    fn endpoints(&self, service: &str, kind: EndpointType) -> Vec<&Endpoint> {
        let end = format!(".{service}");
        let all = self.region.endpoints.values().map(|record| &record.value.fact);
        all.filter(|e| e.vpc == self.vpc.id && e.kind == kind && e.service_name.ends_with(&end)).collect()
    }
}

fn is_ours(tags: &Tags, cluster: &str) -> bool {
    tags.get(CLUSTER_TAG).is_some_and(|c| c == cluster) && tags.contains_key(OWNER_TAG)
}

/// How an object's condition stands, for its own generation.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    let found = conditions.iter().find(|c| c["type"] == kind)?;
    if found["observedGeneration"] != object["metadata"]["generation"] {
        return None;
    }
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// What a posture that is Ready in Enforce promises. Returns what is not so.
///
/// # Errors
/// What is not true.
fn holds(posture: &Wanted, region: &RegionState, vpc: &SimVpc) -> Result<()> {
    let truth = Truth { region, vpc };
    let (services, gateway) = posture.services();
    for service in services {
        let good = |e: &&Endpoint| {
            e.state == EndpointState::Available && e.private_dns && region.admits(&e.groups, &vpc.cidrs)
        };
        let all = truth.endpoints(service, EndpointType::Interface);
        ensure!(all.iter().any(good), "no good endpoint of {service}: {all:?}");
    }
    // What is only reported holds nothing up.
    let on = (vpc.dns_support && vpc.dns_hostnames) || posture.text("/dns/attributes") == "Report";
    ensure!(on, "the DNS attributes are off");
    if gateway {
        let all = truth.endpoints("s3", EndpointType::Gateway);
        let tables: BTreeSet<_> =
            all.iter().filter(|e| e.state == EndpointState::Available).flat_map(|e| e.route_tables.iter()).collect();
        let all_tables = || region.route_tables.values().map(|r| &r.value).filter(|t| t.vpc == vpc.id);
        for instance in region.instances.values().filter(|i| i.vpc == vpc.id && i.state == InstanceState::Running) {
            let own =
                all_tables().find(|t| t.subnets.contains(&instance.subnet)).or_else(|| all_tables().find(|t| t.main));
            let table = own.context("a VPC without a main route table")?;
            ensure!(tables.contains(&table.id), "{} of {} has no route to S3", table.id, instance.id);
        }
        ensure!(!tables.is_empty(), "no gateway endpoint of S3 in service: {all:?}");
    }
    Ok(())
}

/// What is in the way of a posture that nobody can expect the controller to get out of the way by itself. The deeds that
/// make for obstacles are mended before the end in most worlds, so that there are none.
fn obstacle(posture: &Wanted, wanted: &[Wanted], region: &RegionState, vpc: &SimVpc, cluster: &str) -> Option<String> {
    if wanted.iter().any(|w| w.vpc == posture.vpc && w.id != posture.id) {
        return Some("another posture for the VPC".to_owned());
    }
    if posture.text("/dns/attributes") == "Report" && !(vpc.dns_support && vpc.dns_hostnames) {
        return Some("DNS attributes that are only reported".to_owned());
    }
    let foreign = region
        .endpoints
        .values()
        .find(|e| e.vpc == vpc.id && (!is_ours(&e.tags, cluster) || e.tags.get(OWNER_TAG) != Some(&posture.owner())));
    if let Some(foreign) = foreign {
        return Some(format!("an endpoint of somebody else, {}", foreign.id));
    }
    let lost = region.groups.values().find(|g| {
        g.vpc == vpc.id && g.name.starts_with("ssm-ready-") && g.tags.get(OWNER_TAG) != Some(&posture.owner())
    });
    if let Some(lost) = lost {
        return Some(format!("a group that is not ours any more, {}", lost.id));
    }
    if region.hosted_zones.get(&vpc.id).is_some_and(|zones| !zones.is_empty()) {
        return Some("a private hosted zone".to_owned());
    }
    None
}

/// Judges the end of a world, when faults have stopped and there was time enough.
///
/// # Errors
/// What does not hold.
pub fn judge_end(stage: &Stage, retains: &BTreeSet<String>, permitted: impl Fn(&Wanted) -> bool) -> Result<()> {
    let wanted = wanted(&stage.kubernetes)?;
    for posture in &wanted {
        let object = stage.kubernetes.get(&posture.id).context("gone")?;
        let (account, place) = &posture.place;
        stage.aws.with(|world| -> Result<()> {
            let region = world.region(account, place).context("no such region")?;
            let vpc = region.vpcs.get(&posture.vpc).context("no such VPC")?;
            let obstacle = obstacle(posture, &wanted, region, &vpc.value, &stage.cluster)
                .or_else(|| (!permitted(posture)).then(|| "it is not permitted".to_owned()));
            judge_one(posture, &object, region, &vpc.value, obstacle.as_deref())
                .and_then(|()| judge_instances(posture, &object, stage, (world, region), obstacle.is_some()))
                .with_context(|| format!("{:?}, obstacle {obstacle:?}, status {}", posture.id, object["status"]))
        })?;
    }
    stage.aws.with(|world| {
        let regions = world.accounts.values().flat_map(|account| account.regions.values());
        for region in regions {
            nothing_left_over(region, &wanted, retains, &stage.cluster)?;
        }
        Ok(())
    })
}

fn judge_one(
    posture: &Wanted,
    object: &Value,
    region: &RegionState,
    vpc: &SimVpc,
    obstacle: Option<&str>,
) -> Result<()> {
    if posture.leaving {
        let in_use = posture.text("/endpoints/deletionPolicy") == "DeleteWhenUnused"
            && region.instances.values().any(|i| i.vpc == vpc.id);
        ensure!(!posture.works() || in_use || obstacle.is_some(), "it does not go");
        return Ok(());
    }
    if posture.spec["suspend"] == Value::Bool(true) {
        ensure!(
            object["status"]["conditions"].as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "Suspended")),
            "suspended, and does not say so"
        );
        return Ok(());
    }
    let Some((ready, reason, _)) = condition(object, "Ready") else { bail!("it says nothing of this generation") };
    let truth = holds(posture, region, vpc);
    if posture.text("/mode") == "Observe" {
        let compliant = condition(object, "Compliant").map(|(status, ..)| status);
        if compliant.as_deref() == Some("True") {
            truth.context("Compliant, and it is not so")?;
        }
        ensure!(obstacle.is_some() || ready == "True", "Observe has nothing in its way, and is not Ready: {reason}");
        return Ok(());
    }
    if ready == "True" {
        return truth.context("Ready, and it is not so");
    }
    ensure!(obstacle.is_some(), "nothing is in its way, and it is not Ready: {reason}");
    Ok(())
}

/// Instances that were chosen have a profile once it is there and good, and none says so before.
fn judge_instances(
    posture: &Wanted,
    object: &Value,
    stage: &Stage,
    (aws, region): (&Aws, &RegionState),
    obstacle: bool,
) -> Result<()> {
    let works = posture.works() && !posture.leaving && posture.attaches();
    if !works || obstacle {
        return Ok(());
    }
    let (status, _, message) = condition(object, "InstanceProfilesReady").context("nothing is said of profiles")?;
    let roles = stage.kubernetes.get(&world::account_posture(0));
    let good = roles.is_some_and(|roles| gives_good_profile(&roles, posture, aws));
    ensure!(good || status != "True", "there is no profile to be given, and it is not said: {message}");
    let instances = region.instances.values().filter(|i| i.vpc == posture.vpc && i.state == InstanceState::Running);
    for instance in instances.filter(|i| i.tags.get(WEB.0).is_some_and(|v| v == WEB.1)) {
        ensure!(!good || instance.profile.is_some(), "{} has no profile: {status} {message}", instance.id);
    }
    Ok(())
}

/// Whether an `AccountPosture` says that its profiles are ready, of the same account, and the one for `web` is there
/// with a role that allows all that agents do.
fn gives_good_profile(roles: &Value, posture: &Wanted, aws: &Aws) -> bool {
    let text = |value: &Value, field: &str| value[field].as_str().map(str::to_owned);
    let account = roles.pointer("/spec/target/accountRef") == posture.spec.pointer("/target/accountRef");
    let entries = roles.pointer("/spec/instanceRoles").and_then(Value::as_array).cloned().unwrap_or_default();
    let ready = condition(roles, "ProfilesReady").is_some_and(|(status, ..)| status == "True");
    let (Some(web), true) = (entries.iter().find(|entry| entry["name"] == "web"), account && ready) else {
        return false;
    };
    let (Some(iam), Some(role)) = (aws.accounts.get(&posture.place.0).map(|a| &a.iam), text(web, "roleName")) else {
        return false;
    };
    let profile = text(web, "profileName").unwrap_or_else(|| role.clone());
    let holds = iam
        .profiles
        .get(&ProfileName::from(profile.as_str()))
        .is_some_and(|p| p.role.as_ref().is_some_and(|held| held.as_str() == role));
    let allowed = iam.roles.get(&RoleName::from(role.as_str())).and_then(|role| role.agent_permissions().suffices());
    holds && allowed == Some(true)
}

/// Nothing that we made is there twice, and nothing without its object.
fn nothing_left_over(region: &RegionState, wanted: &[Wanted], retains: &BTreeSet<String>, cluster: &str) -> Result<()> {
    let wanted_by = |owner: &str| retains.contains(owner) || wanted.iter().any(|w| w.owner() == owner);
    let mut seen: BTreeMap<(VpcId, String, EndpointType, String), Vec<String>> = BTreeMap::new();
    for endpoint in region.endpoints.values().filter(|e| is_ours(&e.tags, cluster) && !e.state.is_leaving()) {
        let owner = endpoint.tags[OWNER_TAG].clone();
        ensure!(wanted_by(&owner), "rule 3: {} of {} was left behind by {owner}", endpoint.id, endpoint.service_name);
        let place = (endpoint.vpc.clone(), endpoint.service_name.clone(), endpoint.kind, owner);
        seen.entry(place).or_default().push(endpoint.id.to_string());
    }
    for (place, ids) in seen {
        ensure!(ids.len() == 1, "rule 3: there are {ids:?} for {place:?}");
    }
    for group in region.groups.values().filter(|g| is_ours(&g.tags, cluster)) {
        let owner = &group.tags[OWNER_TAG];
        ensure!(wanted_by(owner), "rule 3: group {} was left behind by {owner}", group.id);
    }
    Ok(())
}

/// Writes that took effect from a point of the journal on.
#[must_use]
pub fn writes_since(stage: &Stage, from: usize) -> Vec<Entry> {
    stage.aws.with(|world| {
        let ours = world.journal[from..].iter().filter(|e| matches!(e.actor, Actor::Controller(_)));
        ours.filter(|e| e.took_effect && e.operation.is_some_and(Operation::writes)).cloned().collect()
    })
}

/// How many writes were refused from a point of the journal on.
#[must_use]
pub fn refused_since(stage: &Stage, from: usize) -> usize {
    stage.aws.with(|world| {
        let ours = world.journal[from..].iter().filter(|e| matches!(e.actor, Actor::Controller(_)));
        ours.filter(|e| e.refused() && e.operation.is_some_and(Operation::writes)).count()
    })
}
