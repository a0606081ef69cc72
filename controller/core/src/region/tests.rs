//! A small imagined region and account: tables of what is said and proposed, and what holds in every such world.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    calls::Operation,
    evaluate::{Action, Outcome},
    facts::{
        InstanceState, Permission, Question, Tags,
        settings::{DocumentStatus, SESSION_DOCUMENT},
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    ids::{BucketName, KeyId, LogGroupName, RoleName},
    parting::Parting,
    plan::plan,
    policy::trust,
    snapshot::FactValue,
    testing::{at, fault},
    write::{DocumentChange, Write},
};

const ROLE: &str = "host-role";
const PATH: &str = "/service-role/";
const VALUE: &str = "service-role/host-role";
const DHM: Setting = Setting::HostManagementRole;
const BUCKET: &str = "session-logs";
const GROUP: &str = "/ssm/sessions";
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-1111-2222-3333-444455556666";
const QUICK: &str = "AWS-QuickSetup-SSM-DefaultEC2MgmtRole-eu-west-1-abcde";

// What AWS holds.

#[derive(Debug, Clone, PartialEq, Eq)]
struct Document {
    /// By number, from 1.
    versions: Vec<(String, DocumentStatus)>,
    default: usize,
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Aws {
    settings: BTreeMap<Setting, Option<SettingValue>>,
    metadata: MetadataDefaults,
    document: Option<Document>,
    roles: BTreeMap<RoleName, Role>,
    instances: Vec<Instance>,
    buckets: BTreeMap<BucketName, (Bucket, BucketEncryption)>,
    groups: BTreeMap<LogGroupName, LogGroup>,
    keys: BTreeMap<KeyId, Key>,
    /// What no role's policies allow.
    refused: BTreeSet<&'static str>,
    /// What IAM does not tell.
    untold: BTreeSet<&'static str>,
}

fn set(value: &str, status: &str) -> Option<SettingValue> {
    let value = Some(value.to_owned()).filter(|v| !v.is_empty());
    Some(SettingValue { value, status: status.to_owned(), ..SettingValue::default() })
}

impl Aws {
    /// A region in which nobody has set anything, and the role of Default Host Management.
    fn new() -> Self {
        let settings = Setting::ALL.map(|s| (s, set(s.default_value().unwrap_or_default(), "Default")));
        Self { settings: settings.into(), roles: [(ROLE.into(), role())].into(), ..Self::default() }
    }

    /// What sessions can be logged to and encrypted with.
    fn targets(mut self) -> Self {
        let encryption = BucketEncryption { algorithm: Some("AES256".to_owned()), key: None };
        let bucket = Bucket { region: Some("eu-west-1".parse().unwrap()) };
        self.buckets.insert(BUCKET.into(), (bucket, encryption));
        self.groups.insert(GROUP.into(), LogGroup { kms_key: Some(KEY.to_owned()) });
        let [state, usage, spec] = ["Enabled", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"].map(str::to_owned);
        self.keys.insert(KEY.into(), Key { arn: KEY.to_owned(), state, usage, spec });
        self
    }

    fn answer(&self, role: &RoleName, question: &Question) -> Option<Vec<Permission>> {
        self.roles.get(role)?;
        let told = question.actions.iter().filter(|action| !self.untold.contains(action.as_str()));
        let answer =
            |action: &String| Permission { action: action.clone(), allowed: !self.refused.contains(action.as_str()) };
        Some(told.map(answer).collect())
    }

    /// What the facts of targets say.
    fn target(&self, key: &FactKey) -> Option<FactValue> {
        Some(match key {
            FactKey::Bucket(name) => FactValue::Bucket(self.buckets.get(name).map(|(bucket, _)| bucket.clone())),
            FactKey::BucketEncryption(name) => {
                FactValue::BucketEncryption(self.buckets.get(name).map(|(_, encryption)| encryption.clone()))
            }
            FactKey::LogGroup(name) => FactValue::LogGroup(self.groups.get(name).cloned()),
            FactKey::Key(id) => FactValue::Key(self.keys.get(id).cloned()),
            FactKey::RoleAnswer(role, question) => FactValue::RoleAnswer(self.answer(role, question)),
            _ => return None,
        })
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::UpdateSetting { setting, value } => {
                let who = Some("arn:aws:sts::111122223333:assumed-role/ssm-ready/x".to_owned());
                let value = SettingValue { modified_by: who, ..set(value, "Customized").unwrap() };
                self.settings.insert(*setting, Some(value));
            }
            Write::ResetSetting { setting } => {
                self.settings.insert(*setting, set(setting.default_value().unwrap_or_default(), "Default"));
            }
            Write::ModifyMetadataDefaults { values } => {
                for (field, value) in values {
                    if value == field.no_preference() {
                        self.metadata.values.remove(field);
                    } else {
                        self.metadata.values.insert(*field, value.clone());
                    }
                }
            }
            Write::Document(change) => self.change(change),
            other => panic!("none of a region's: {other}"),
        }
    }

    fn change(&mut self, change: &DocumentChange) {
        if let DocumentChange::Create { content, tags } = change {
            assert!(self.document.is_none(), "DocumentAlreadyExists");
            let versions = vec![(content.clone(), DocumentStatus::Active)];
            self.document = Some(Document { versions, default: 1, tags: tags.clone() });
            return;
        }
        let document = self.document.as_mut().expect("InvalidDocument");
        match change {
            DocumentChange::Create { .. } => {}
            // DuplicateDocumentContent counts as made.
            DocumentChange::Update(content) if document.versions.last().unwrap().0 == *content => {}
            DocumentChange::Update(content) => document.versions.push((content.clone(), DocumentStatus::Active)),
            DocumentChange::Use(version) => {
                document.default = version.parse().unwrap();
                assert!(document.default <= document.versions.len(), "InvalidDocumentVersion");
            }
            DocumentChange::Tag(tags) => document.tags.extend(tags.clone()),
            DocumentChange::Untag(keys) => document.tags.retain(|key, _| !keys.contains(key)),
            DocumentChange::Delete => self.document = None,
        }
    }

    fn version(&self, number: usize) -> Option<SessionDocument> {
        let (content, status) = self.document.as_ref()?.versions[number - 1].clone();
        Some(SessionDocument { version: number.to_string(), content, status })
    }
}

fn role() -> Role {
    Role {
        name: ROLE.into(),
        arn: format!("arn:aws:iam::111122223333:role{PATH}{ROLE}"),
        path: PATH.to_owned(),
        trust: trust(&[HOST_MANAGEMENT_SERVICE]),
        boundary: None,
        policies: [aws_policy("aws", HOST_MANAGEMENT_POLICY)].into(),
        inline: BTreeMap::new(),
        tags: Tags::new(),
    }
}

fn instance(id: &str, imds_v1: Option<bool>, imds: Option<bool>) -> Instance {
    Instance {
        id: id.into(),
        vpc: "vpc-1".into(),
        subnet: "subnet-a".into(),
        state: InstanceState::Running,
        profile: None,
        imds_v1,
        imds,
        tags: Default::default(),
    }
}

// An object, and what it knows.

#[derive(Debug, Clone)]
struct World {
    posture: RegionPosture,
    aws: Aws,
    memory: RegionMemory,
    region: Snapshot,
    account: Snapshot,
    now: Timestamp,
    /// Facts that were never read: of these, the ones whose read has failed.
    lost: BTreeMap<FactKey, bool>,
    /// Facts whose last read failed.
    failed: BTreeSet<FactKey>,
}

pub(super) fn posture() -> RegionPosture {
    RegionPosture {
        owner: Owner {
            cluster: "test".into(),
            kind: "RegionPosture",
            namespace: "team".into(),
            name: "main".into(),
            uid: "00000000-0000-0000-0000-000000000002".into(),
        },
        account: "111122223333".parse().unwrap(),
        partition: "aws".into(),
        region: "eu-west-1".parse().unwrap(),
        mode: Mode::Enforce,
        interval: Duration::from_secs(600),
        take_over: false,
        deletion_policy: RegionDeletion::Retain,
        host_management: None,
        settings: BTreeMap::new(),
        metadata: BTreeMap::new(),
        session: None,
        audit: None,
        shell_allowed: false,
    }
}

fn enabled(made: bool) -> Option<HostManagement> {
    Some(HostManagement::Enabled { role: ROLE.into(), path: PATH.to_owned(), made })
}

fn wish() -> SessionPreferences {
    SessionPreferences { idle_minutes: Some(30), max_minutes: Some(60), ..SessionPreferences::default() }
}

fn all_targets() -> Targets {
    Targets {
        bucket: Some(BucketTarget { name: BUCKET.into(), prefix: "payments".to_owned(), encrypted: true }),
        log_group: Some(LogGroupTarget { name: GROUP.into(), encrypted: true, streaming: true }),
        key: Some(KEY.into()),
    }
}

impl World {
    /// Everything that sessions can be logged to and encrypted with is declared, and there.
    fn with_targets() -> Self {
        let mut world = Self::with_session();
        world.aws = world.aws.targets();
        world.posture.session.as_mut().unwrap().targets = all_targets();
        world.posture.host_management = enabled(false);
        world.hold(DHM, VALUE);
        world
    }

    fn new() -> Self {
        Self {
            posture: posture(),
            aws: Aws::new(),
            memory: RegionMemory::default(),
            region: Snapshot::default(),
            account: Snapshot::default(),
            now: at(0),
            lost: BTreeMap::new(),
            failed: BTreeSet::new(),
        }
    }

    /// One setting is declared.
    fn with(setting: Setting, wanted: &str) -> Self {
        let mut world = Self::new();
        world.posture.settings.insert(setting, wanted.to_owned());
        world
    }

    fn with_host_management() -> Self {
        let mut world = Self::new();
        world.posture.host_management = enabled(false);
        world
    }

    fn with_session() -> Self {
        let mut world = Self::new();
        world.posture.session = Some(wish());
        world
    }

    fn with_metadata(fields: &[(MetadataField, &str)]) -> Self {
        let mut world = Self::new();
        world.posture.metadata = fields.iter().map(|(field, value)| (*field, (*value).to_owned())).collect();
        world
    }

    /// Somebody sets a value.
    fn hold(&mut self, setting: Setting, value: &str) {
        let who = Some("arn:aws:iam::111122223333:user/somebody".to_owned());
        let value = SettingValue { modified_by: who, ..set(value, "Customized").unwrap() };
        self.aws.settings.insert(setting, Some(value));
    }

    fn value(&self, setting: Setting) -> Option<&str> {
        self.aws.settings[&setting].as_ref()?.value.as_deref()
    }

    fn remember(&mut self, knob: Knob, found: Found, applied: Option<&str>, applying: Option<&str>) {
        let [applied, applying] = [applied, applying].map(|v| v.map(str::to_owned));
        self.memory.knobs.insert(knob, KnobMemory { found, applied, applying });
    }

    /// A document whose versions have these contents, the given one in use.
    fn document(&mut self, contents: &[&str], default: usize, ours: bool) {
        let versions = contents.iter().map(|c| ((*c).to_owned(), DocumentStatus::Active)).collect();
        let tags = if ours { self.posture.owner.tags() } else { Tags::new() };
        self.aws.document = Some(Document { versions, default, tags });
    }

    fn status(&mut self, version: usize, status: DocumentStatus) {
        self.aws.document.as_mut().unwrap().versions[version - 1].1 = status;
    }

    /// What a version of the document says.
    fn text(&self, number: usize) -> String {
        self.aws.document.as_ref().unwrap().versions[number - 1].0.clone()
    }

    /// Reads everything that AWS holds, but for what cannot be read.
    fn read(&mut self) {
        let (mut region, mut account) = (Snapshot::default(), Snapshot::default());
        let aws = &self.aws;
        let mut facts: Vec<(FactKey, FactValue)> =
            aws.settings.iter().map(|(s, v)| (FactKey::Setting(*s), FactValue::Setting(v.clone()))).collect();
        let latest = aws.document.as_ref().map(|d| d.versions.len());
        for (version, number) in
            [(DocumentVersion::Default, aws.document.as_ref().map(|d| d.default)), (DocumentVersion::Latest, latest)]
        {
            let content = number.and_then(|n| aws.version(n));
            facts.push((FactKey::SessionDocument(version), FactValue::SessionDocument(content)));
        }
        let info = aws.document.as_ref().map(|d| SessionDocumentInfo {
            default_version: d.default.to_string(),
            latest_version: d.versions.len().to_string(),
            tags: d.tags.clone(),
        });
        facts.push((FactKey::SessionDocumentInfo, FactValue::SessionDocumentInfo(info)));
        facts.push((FactKey::MetadataDefaults, FactValue::MetadataDefaults(aws.metadata.clone())));
        facts.push((FactKey::InstanceMetadata, FactValue::InstanceMetadata(aws.instances.clone())));
        for name in [ROLE, QUICK, "ghost", "other"] {
            let role = aws.roles.get(&name.into()).cloned();
            facts.push((FactKey::Role(name.into()), FactValue::Role(role)));
        }
        for (key, value) in facts {
            let snapshot = if matches!(key, FactKey::Role(_)) { &mut account } else { &mut region };
            let why = || Err(fault(key.operation(), "AccessDeniedException"));
            match self.lost.get(&key) {
                Some(true) => snapshot.note(&key, why(), self.now),
                Some(false) => false,
                None => snapshot.note(&key, Ok(value), self.now),
            };
            if self.failed.contains(&key) {
                snapshot.note(&key, why(), self.now);
            }
        }
        (self.region, self.account) = (region, account);
        // What is wanted of targets follows from what is known of them.
        for _ in 0..3 {
            let view = self.view();
            let of_region = wanted_of_region(&self.posture, &view, &self.memory);
            let wanted: Vec<FactKey> = of_region.into_iter().chain(wanted_of_account(&self.posture, &view)).collect();
            for key in wanted {
                let Some(value) = self.aws.target(&key) else { continue };
                let of_account = matches!(key, FactKey::RoleAnswer(..));
                let snapshot = if of_account { &mut self.account } else { &mut self.region };
                let why = || Err(fault(key.operation(), "AccessDenied"));
                match self.lost.get(&key) {
                    Some(true) => snapshot.note(&key, why(), self.now),
                    Some(false) => false,
                    None => snapshot.note(&key, Ok(value), self.now),
                };
                if self.failed.contains(&key) {
                    snapshot.note(&key, why(), self.now);
                }
            }
        }
    }

    /// Whether what the preferences would name can be used, told from what AWS holds, and was read.
    fn targets_hold(&self) -> bool {
        let Targets { bucket, log_group, key } = &self.posture.session.as_ref().unwrap().targets;
        let read = |key: &FactKey| is_current(self, key);
        let bucket = bucket.as_ref().is_none_or(|wish| {
            self.aws.buckets.get(&wish.name).is_some_and(|(bucket, encryption)| {
                let encrypted = matches!(encryption.algorithm.as_deref(), Some("AES256" | "aws:kms"));
                bucket.region.as_ref() == Some(&self.posture.region)
                    && (!wish.encrypted || (encrypted && read(&FactKey::BucketEncryption(wish.name.clone()))))
            }) && read(&FactKey::Bucket(wish.name.clone()))
        });
        let group = log_group.as_ref().is_none_or(|wish| {
            self.aws.groups.get(&wish.name).is_some_and(|group| !wish.encrypted || group.kms_key.is_some())
                && read(&FactKey::LogGroup(wish.name.clone()))
        });
        let key = key.as_ref().is_none_or(|id| {
            self.aws.keys.get(id).is_some_and(|key| key.state == "Enabled" && key.usage == "ENCRYPT_DECRYPT")
                && read(&FactKey::Key(id.clone()))
        });
        bucket && group && key && self.role_may_use_targets()
    }

    fn role_may_use_targets(&self) -> bool {
        let Targets { bucket, log_group, key } = &self.posture.session.as_ref().unwrap().targets;
        if bucket.is_none() && log_group.is_none() && key.is_none() {
            return true;
        }
        let role = match &self.posture.host_management {
            Some(HostManagement::Disabled) => return true,
            Some(HostManagement::Waiting(_)) => return false,
            Some(HostManagement::Enabled { role, .. }) => {
                if !self.aws.roles.contains_key(role) {
                    return false;
                }
                role.clone()
            }
            None => match self.value(DHM) {
                Some(value) => name(value),
                None => return true,
            },
        };
        if !self.aws.roles.contains_key(&role) {
            return true;
        }
        let kms = self.aws.buckets.get(&BUCKET.into()).is_some_and(|(_, encryption)| encryption.key.is_some());
        let mut needed = Vec::new();
        if let Some(wish) = bucket {
            needed.push("s3:PutObject");
            needed.extend(wish.encrypted.then_some("s3:GetEncryptionConfiguration"));
            needed.extend((wish.encrypted && kms).then_some("kms:GenerateDataKey"));
        }
        if log_group.is_some() {
            needed.extend(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]);
            needed.push("logs:DescribeLogGroups");
        }
        needed.extend(key.is_some().then_some("kms:Decrypt"));
        !needed.iter().any(|action| self.aws.refused.contains(action) && !self.aws.untold.contains(action))
    }

    fn view(&self) -> RegionView<'_> {
        let interval = self.posture.interval;
        RegionView { region: &self.region, account: &self.account, interval, account_interval: interval, now: self.now }
    }

    fn judge(&self) -> Verdict<RegionSeen> {
        let verdict = evaluate(&self.posture, &self.view(), &self.memory);
        // What is no longer declared goes by the rules of a deletion.
        if super::leftovers::undeclared(&self.posture, &self.memory) == RegionMemory::default() {
            assert_allowed(self, &verdict);
        }
        verdict
    }

    /// One pass that ends after so many steps: the first is to note, each of the others a call. Says how many there were.
    fn pass(&mut self, steps: usize) -> usize {
        self.read();
        let verdict = self.judge();
        if steps == 0 {
            return 0;
        }
        self.memory = note_ahead(&verdict);
        let plan = plan(verdict.actions);
        for action in plan.actions.iter().take(steps - 1) {
            self.aws.write(&action.write);
        }
        plan.actions.len().min(steps - 1)
    }

    /// Passes until nothing is left to do: how many calls they took.
    fn settle(&mut self) -> usize {
        let mut calls = 0;
        for _ in 0..6 {
            let more = self.pass(usize::MAX);
            if more == 0 {
                return calls;
            }
            calls += more;
        }
        panic!("does not settle: {:#?}", self.judge());
    }

    fn farewell(&mut self) -> Parting {
        self.read();
        let next = farewell(&self.posture, &self.view(), &self.memory);
        assert_may_leave(self, &next);
        next
    }

    /// Does what is left to do until nothing is: what was said to stay.
    fn leave(&mut self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        for _ in 0..6 {
            let next = self.farewell();
            left.extend(next.left.iter().cloned());
            assert_eq!(next.unknown, [""; 0]);
            if next.is_done() {
                return left;
            }
            plan(next.actions).actions.iter().for_each(|a| self.aws.write(&a.write));
        }
        panic!("does not leave");
    }
}

/// Whether what stands may be written at all: it is nobody's, ours, or taken over.
fn may_be_written(world: &World, knob: Knob) -> bool {
    let value = match knob {
        Knob::Setting(setting) => {
            let Some(value) = &world.aws.settings[&setting] else { return false };
            if setting != DHM && value.status == "Default" {
                return true;
            }
            value.value.clone().filter(|v| !setting.default_value().is_some_and(|d| d.eq_ignore_ascii_case(v)))
        }
        Knob::Metadata(field) => world.aws.metadata.values.get(&field).cloned(),
    };
    let Some(value) = value else { return true };
    let memory = world.memory.knobs.get(&knob);
    memory.is_some_and(|m| [&m.applied, &m.applying].into_iter().flatten().any(|v| v.eq_ignore_ascii_case(&value)))
}

fn is_current(world: &World, key: &FactKey) -> bool {
    !world.lost.contains_key(key) && !world.failed.contains(key)
}

/// Rules that no proposed write may break, told from what AWS holds.
#[track_caller]
fn assert_allowed(world: &World, verdict: &Verdict<RegionSeen>) {
    let (posture, aws) = (&world.posture, &world.aws);
    let role = |value: &str| aws.roles.get(&value.rsplit('/').next().unwrap().into());
    for action in &verdict.actions {
        let write = &action.write;
        let told = verdict.checks.iter().any(|c| c.facet == action.facet && c.outcome == Outcome::Fail && c.gate);
        assert!(told, "done without a word: {write}");
        let current = FactKey::touched_by(write)
            .into_iter()
            .filter(|key| *key != FactKey::SessionDocument(DocumentVersion::Latest))
            .all(|key| is_current(world, &key));
        assert!(current, "{write}");
        match write {
            Write::UpdateSetting { setting: DHM, value } => {
                let role = role(value).expect("a role that is there");
                assert_eq!(role.setting_value(), *value);
                assert!(role.policies.contains(&aws_policy("aws", HOST_MANAGEMENT_POLICY)), "{write}");
                assert_eq!(role.trust, trust(&[HOST_MANAGEMENT_SERVICE]), "{write}");
                assert!(is_current(world, &FactKey::Role(role.name.clone())), "{write}");
            }
            Write::UpdateSetting { setting, value } => assert_eq!(posture.settings.get(setting), Some(value)),
            Write::ResetSetting { setting } => {
                assert_eq!((*setting, &posture.host_management), (DHM, &Some(HostManagement::Disabled)));
            }
            Write::ModifyMetadataDefaults { values } => {
                assert!(!aws.metadata.by_declarative_policy && !values.is_empty(), "{write}");
                assert!(values.iter().all(|(field, value)| posture.metadata.get(field) == Some(value)), "{write}");
            }
            Write::Document(change) => {
                let wish = posture.session.as_ref().expect("declared");
                assert!(posture.shell_allowed || !wish.shapes_shells(), "{write}");
                assert!(world.targets_hold(), "sessions would be blank: {write}");
                match (change, &aws.document) {
                    (DocumentChange::Create { content, tags }, None) => {
                        assert!(posture.owner.owns(tags) && *content == super::content(wish));
                    }
                    (DocumentChange::Update(content), Some(document)) => {
                        let in_use = &document.versions[document.default - 1].0;
                        assert_eq!(*content, session::content_over(wish, in_use));
                    }
                    (DocumentChange::Use(version), Some(document)) => {
                        let (content, status) = &document.versions[version.parse::<usize>().unwrap() - 1];
                        assert_eq!(*status, DocumentStatus::Active);
                        let in_use = &document.versions[document.default - 1].0;
                        assert_eq!(session::differing(content, &session::content_over(wish, in_use)), [""; 0]);
                        assert!(is_current(world, &FactKey::SessionDocument(DocumentVersion::Latest)), "{write}");
                    }
                    (DocumentChange::Tag(tags), Some(_)) => {
                        assert!(posture.owner.owns(tags) && posture.take_over, "{write}");
                    }
                    _ => panic!("{write}"),
                }
                let ours = aws.document.as_ref().is_none_or(|d| posture.owner.owns(&d.tags));
                assert!(ours || posture.take_over, "{write}");
            }
            other => panic!("none of a region's: {other}"),
        }
        let mut knobs = match write {
            Write::UpdateSetting { setting, .. } | Write::ResetSetting { setting } => vec![Knob::Setting(*setting)],
            Write::ModifyMetadataDefaults { values } => values.keys().map(|f| Knob::Metadata(*f)).collect(),
            _ => vec![],
        };
        knobs.retain(|knob| !(posture.take_over || may_be_written(world, *knob)));
        if knobs == [Knob::Setting(DHM)] {
            // What names no role is off.
            let value = world.value(DHM).unwrap();
            assert!(role(value).is_none() && is_current(world, &FactKey::Role(name(value))), "{write}");
        } else {
            assert_eq!(knobs, [], "{write}");
        }
    }
    for check in &verdict.checks {
        assert!(!check.message.is_empty() && check.message.chars().count() < 900, "{check:?}");
        let work = matches!(check.reason, Reason::SettingDrifted | Reason::PreferencesDrifted);
        let proposed = verdict.actions.iter().any(|a| a.facet == check.facet);
        assert!(!work || proposed || world.failed.len() + world.lost.len() > 0, "waits for nothing: {check:?}");
    }
}

fn name(value: &str) -> RoleName {
    value.rsplit('/').next().unwrap().into()
}

/// Rules of leaving: what somebody else holds is not touched.
#[track_caller]
fn assert_may_leave(world: &World, next: &Parting) {
    let retain = world.posture.deletion_policy == RegionDeletion::Retain;
    for Action { write, .. } in &next.actions {
        match write {
            Write::UpdateSetting { setting, value } => {
                let knob = Knob::Setting(*setting);
                assert!(!retain && may_be_written(world, knob), "{write}");
                assert_eq!(world.memory.knobs[&knob].found, Found::Value(value.clone()));
            }
            Write::ResetSetting { setting } => {
                assert!(!retain && may_be_written(world, Knob::Setting(*setting)), "{write}");
            }
            Write::ModifyMetadataDefaults { values } => {
                assert!(!retain && !world.aws.metadata.by_declarative_policy, "{write}");
                assert!(values.keys().all(|field| may_be_written(world, Knob::Metadata(*field))), "{write}");
            }
            Write::Document(_) => {
                assert!(world.posture.owner.owns(&world.aws.document.as_ref().unwrap().tags), "{write}");
            }
            other => panic!("none of a region's: {other}"),
        }
        let keys = FactKey::touched_by(write);
        assert!(keys.iter().all(|key| next.watch.contains(key)), "{write} is to be read back");
        let rests_on: Vec<_> = keys.iter().filter(|k| !matches!(k, FactKey::SessionDocument(_))).collect();
        assert!(rests_on.iter().all(|key| is_current(world, key)), "{write}");
    }
}

pub(super) fn said(verdict: &Verdict<RegionSeen>) -> Vec<(String, String)> {
    let open = verdict.checks.iter().filter(|c| c.outcome != Outcome::Pass);
    open.map(|c| (format!("{:?} {:?} {}", c.facet, c.outcome, c.reason), c.message.clone())).collect()
}

pub(super) fn calls(actions: &[Action]) -> Vec<String> {
    plan(actions.to_vec()).actions.iter().map(|a| a.write.to_string()).collect()
}

/// One row of a table: what is said (with a part of each message) and proposed in a world.
#[track_caller]
fn row<R>(
    what: &str,
    mut world: World,
    edit: impl FnOnce(&mut World) -> R,
    expected: &[(&str, &str)],
    proposed: &[&str],
) {
    edit(&mut world);
    world.read();
    let verdict = world.judge();
    let found = said(&verdict);
    let kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, expected.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), "{what}: {found:#?}");
    for ((_, message), (_, gist)) in found.iter().zip(expected) {
        assert!(message.contains(gist), "{what}: {message:?} does not say {gist:?}");
    }
    assert_eq!(calls(&verdict.actions), proposed, "{what}");
}

const TIER: Setting = Setting::ActivationTier;
const SET_TIER: &str = "set /ssm/managed-instance/activation-tier to advanced";
const DRIFTED: &str = "ServiceSettings Fail SettingDrifted";

#[test]
fn a_setting_is_written_only_where_nobody_else_meant_something() {
    let world = || World::with(TIER, "advanced");
    let knob = Knob::Setting(TIER);
    row("never set", world(), |_| {}, &[(DRIFTED, "is standard, and advanced is declared")], &[SET_TIER]);
    row(
        "nothing set at all",
        world(),
        |w| w.aws.settings.insert(TIER, set("", "Default")),
        &[(DRIFTED, "serviceSettings.activationTier is unset, and advanced is declared")],
        &[SET_TIER],
    );
    row("at the documented default, set by hand", world(), |w| w.hold(TIER, "Standard"), &[(DRIFTED, "")], &[SET_TIER]);
    row("as declared", world(), |w| w.hold(TIER, "advanced"), &[], &[]);
    row("as declared, in another case", world(), |w| w.hold(TIER, "Advanced"), &[], &[]);
    row(
        "ours, before the spec changed",
        World::with(Setting::ParameterTier, "Advanced"),
        |w| {
            w.hold(Setting::ParameterTier, "Intelligent-Tiering");
            w.remember(Knob::Setting(Setting::ParameterTier), Found::Unset, Some("intelligent-tiering"), None);
        },
        &[(DRIFTED, "is Intelligent-Tiering, and Advanced is declared")],
        &["set /ssm/parameter-store/default-parameter-tier to Advanced"],
    );
    row(
        "ours, not yet read back",
        World::with(Setting::OpsCenter, "Enabled"),
        |w| {
            w.hold(Setting::OpsCenter, "Disabled");
            w.remember(Knob::Setting(Setting::OpsCenter), Found::Unset, None, Some("Disabled"));
        },
        &[(DRIFTED, "")],
        &["set /ssm/opsinsights/opscenter to Enabled"],
    );
    let foreign = |w: &mut World| {
        w.posture.settings = [(Setting::ParameterTier, "Advanced".to_owned())].into();
        w.hold(Setting::ParameterTier, "Intelligent-Tiering");
        w.remember(knob, Found::Unset, Some("Intelligent-Tiering"), None);
    };
    row(
        "somebody else's",
        world(),
        foreign,
        &[(
            "ServiceSettings Fail Foreign",
            "is Intelligent-Tiering, set by arn:aws:iam::111122223333:user/somebody, and Advanced is declared: this object did not set it",
        )],
        &[],
    );
    row(
        "somebody else's, taken over",
        world(),
        |w| {
            foreign(w);
            w.posture.take_over = true;
        },
        &[(DRIFTED, "")],
        &["set /ssm/parameter-store/default-parameter-tier to Advanced"],
    );
    row(
        "not offered",
        world(),
        |w| w.aws.settings.insert(TIER, None),
        &[(
            "ServiceSettings Fail SettingNotOffered",
            "eu-west-1 does not have the setting /ssm/managed-instance/activation-tier: remove serviceSettings.activationTier",
        )],
        &[],
    );
    for (denied, says) in [(true, "AccessDeniedException"), (false, "has not answered yet")] {
        row(
            "unreadable",
            world(),
            |w| w.lost.insert(FactKey::Setting(TIER), denied),
            &[("ServiceSettings Unknown FactUnreadable", says)],
            &[],
        );
    }
    row("read once, and not since", world(), |w| w.failed.insert(FactKey::Setting(TIER)), &[(DRIFTED, "")], &[]);
    row(
        "names are what they are",
        World::with(Setting::AutomationLogGroup, "/ssm/A"),
        |w| w.hold(Setting::AutomationLogGroup, "/ssm/a"),
        &[("ServiceSettings Fail Foreign", "")],
        &[],
    );
}

#[test]
fn what_is_read_back_of_a_value_is_remembered() {
    const KNOB: Knob = Knob::Metadata(MetadataField::HttpTokens);
    type Kept = (Option<&'static str>, Option<&'static str>);
    let rows: [(&str, Option<&str>, Kept, Kept); 5] = [
        ("as it was to be set", Some("required"), (Some("optional"), Some("required")), (Some("required"), None)),
        // Ours is not forgotten while another value is shown: the call may still be on its way.
        ("another", Some("optional"), (Some("optional"), Some("required")), (Some("optional"), Some("required"))),
        ("nothing about to be set", Some("required"), (Some("required"), None), (Some("required"), None)),
        ("not shown yet", None, (None, Some("required")), (None, Some("required"))),
        ("unset behind our back", None, (Some("required"), None), (Some("required"), None)),
    ];
    for (what, now, (applied, applying), expected) in rows {
        let mut world = World::with_metadata(&[(MetadataField::HttpTokens, "required")]);
        world.aws.metadata.values = now.iter().map(|now| (MetadataField::HttpTokens, (*now).to_owned())).collect();
        world.remember(KNOB, Found::Unset, applied, applying);
        world.read();
        let kept = world.judge().seen.memory.knobs[&KNOB].clone();
        assert_eq!((kept.applied.as_deref(), kept.applying.as_deref()), expected, "{what}");
        assert_eq!(kept.found, Found::Unset, "{what}");
    }
}

#[test]
fn what_is_awss_default_and_what_is_only_called_so() {
    let by =
        |who: &str, value: Option<SettingValue>| SettingValue { modified_by: Some(who.to_owned()), ..value.unwrap() };
    for (setting, value, expected) in [
        (TIER, set("standard", "Customized").unwrap(), true),
        (TIER, set("STANDARD", "Customized").unwrap(), true),
        (TIER, set("advanced", "Customized").unwrap(), false),
        (TIER, set("advanced", "Default").unwrap(), true),
        (TIER, set("advanced", "default").unwrap(), true),
        (TIER, by("somebody", set("advanced", "Default")), false),
        (TIER, by("somebody", set("standard", "Default")), true),
        (DHM, set("other", "Default").unwrap(), false),
        (DHM, set("", "Default").unwrap(), false),
    ] {
        assert_eq!(knobs::is_default(setting, &value), expected, "{setting} {value:?}");
    }
}

#[test]
fn what_is_declared_of_a_session_replaces_what_is_in_use_and_nothing_else() {
    let in_use = json!({
        "sessionType": "Standard_Stream",
        "inputs": {
            "s3BucketName": "theirs", "s3KeyPrefix": "x", "s3EncryptionEnabled": false,
            "cloudWatchLogGroupName": "/theirs", "cloudWatchEncryptionEnabled": false,
            "cloudWatchStreamingEnabled": false,
            "kmsKeyId": "alias/theirs", "idleSessionTimeout": "1", "somethingNew": "kept",
        },
    })
    .to_string();
    const OF_BUCKET: [&str; 3] = ["s3BucketName", "s3KeyPrefix", "s3EncryptionEnabled"];
    const OF_GROUP: [&str; 3] = ["cloudWatchLogGroupName", "cloudWatchEncryptionEnabled", "cloudWatchStreamingEnabled"];
    let Targets { bucket, log_group, key } = all_targets();
    let none = Targets { bucket: None, log_group: None, key: None };
    for (targets, declared) in [
        (none.clone(), vec![]),
        (Targets { bucket, ..none.clone() }, OF_BUCKET.to_vec()),
        (Targets { log_group, ..none.clone() }, OF_GROUP.to_vec()),
        (Targets { key, ..none.clone() }, vec!["kmsKeyId"]),
        (all_targets(), [&OF_BUCKET[..], &OF_GROUP, &["kmsKeyId"]].concat()),
    ] {
        let wish = SessionPreferences { targets, ..wish() };
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["inputs"].clone();
        let (alone, over, before) =
            (parse(&session::content(&wish)), parse(&session::content_over(&wish, &in_use)), parse(&in_use));
        for name in OF_BUCKET.iter().chain(&OF_GROUP).chain(&["kmsKeyId"]) {
            let from = if declared.contains(name) { &alone } else { &before };
            assert_eq!(over[name], from[name], "{name} {declared:?}");
        }
        assert_eq!(
            (&over["idleSessionTimeout"], &over["somethingNew"]),
            (&alone["idleSessionTimeout"], &json!("kept"))
        );
    }
}

#[test]
fn what_is_not_declared_any_more_takes_nothing_along_that_is() {
    let mut world = World::with_session();
    world.settle();
    world.posture.deletion_policy = RegionDeletion::Reset;
    world.hold(TIER, "advanced");
    world.remember(Knob::Setting(TIER), Found::Unset, Some("advanced"), None);
    let reset = "reset /ssm/managed-instance/activation-tier";
    let told = [("ServiceSettings Fail SettingDrifted", "no longer declared: ")];
    row("a setting", world.clone(), |_| {}, &told, &[reset]);
    // What may have been set, and what may have been made, is waited for: not believed to be gone.
    let doubt = |world: &mut World, until| world.memory.doubt_until = Some(at(until));
    let mut world = World::with_session();
    world.settle();
    world.posture.deletion_policy = RegionDeletion::Reset;
    world.remember(Knob::Setting(TIER), Found::Unset, None, Some("advanced"));
    let pending = "serviceSettings.activationTier may have been set a moment ago, and AWS does not show it yet";
    let told = [("ServiceSettings Fail PreferencesPending", pending)];
    row("a setting that is not shown yet", world.clone(), |w| doubt(w, 1), &told, &[]);
    row("a setting that never was", world, |w| doubt(w, 0), &[], &[]);
    let mut world = World::with_session();
    world.settle();
    world.posture.session = None;
    world.posture.deletion_policy = RegionDeletion::Reset;
    row(
        "a document",
        world.clone(),
        |_| {},
        &[("SessionPreferences Fail SettingDrifted", "no longer declared: ")],
        &["delete document SSM-SessionManagerRunShell"],
    );
    world.aws.document = None;
    world.memory.document_unseen = true;
    let pending = "SSM-SessionManagerRunShell may have been made a moment ago, and AWS does not show it yet";
    let told = [("SessionPreferences Fail PreferencesPending", pending)];
    row("a document that is not shown yet", world.clone(), |w| doubt(w, 1), &told, &[]);
    row("a document that never was", world.clone(), |w| doubt(w, 0), &[], &[]);
    row(
        "a document that was seen, and is gone",
        world,
        |w| {
            doubt(w, 1);
            w.memory.document_unseen = false;
        },
        &[],
        &[],
    );
}

#[test]
fn a_log_group_follows_its_destination_and_one_setting_hides_no_other() {
    let mut world = World::with(Setting::AutomationLogGroup, "/ssm/x");
    world.posture.settings.insert(Setting::AutomationLogDestination, "CloudWatch".to_owned());
    world.posture.settings.insert(Setting::OpsCenter, "Enabled".to_owned());
    world.posture.settings.insert(TIER, "advanced".to_owned());
    world.aws.settings.insert(TIER, None);
    world.lost.insert(FactKey::Setting(Setting::OpsCenter), true);
    world.read();
    let verdict = world.judge();
    assert_eq!(
        calls(&verdict.actions),
        [
            "set /ssm/automation/customer-script-log-destination to CloudWatch",
            "set /ssm/automation/customer-script-log-group-name to /ssm/x"
        ]
    );
    assert_eq!(said(&verdict).len(), 4);
}

const HOST: &str = "HostManagement Fail SettingDrifted";
const SET_HOST: &str = "set /ssm/managed-instance/default-ec2-instance-management-role to service-role/host-role";
const RESET_HOST: &str = "reset /ssm/managed-instance/default-ec2-instance-management-role";

#[test]
fn host_management_rests_on_a_role_that_serves() {
    let world = World::with_host_management;
    let hold = |value: &'static str| move |w: &mut World| w.hold(DHM, value);
    row(
        "off",
        world(),
        |_| {},
        &[(HOST, "hostManagement is unset, and service-role/host-role is declared")],
        &[SET_HOST],
    );
    row("on", world(), hold(VALUE), &[], &[]);
    row("on, and AWS says Default", world(), |w| w.aws.settings.insert(DHM, set(VALUE, "Default")), &[], &[]);
    let foreign = ("HostManagement Fail Foreign", "is other, set by");
    row(
        "another's role, and AWS says Default",
        world(),
        |w| {
            w.aws.settings.insert(DHM, set("other", "Default"));
            w.aws.roles.insert("other".into(), Role { name: "other".into(), ..role() });
        },
        &[("HostManagement Fail Foreign", "is other, and")],
        &[],
    );
    let others = |w: &mut World| {
        w.hold(DHM, "other");
        w.aws.roles.insert("other".into(), Role { name: "other".into(), ..role() });
    };
    row("another's role", world(), others, &[foreign], &[]);
    row(
        "another's role, taken over",
        world(),
        |w| {
            others(w);
            w.posture.take_over = true;
        },
        &[(HOST, "is other")],
        &[SET_HOST],
    );
    row("without the path", world(), hold(ROLE), &[("HostManagement Fail Foreign", "is host-role,")], &[]);
    row("a role that is not there is off", world(), hold("x/ghost"), &[(HOST, "is unset")], &[SET_HOST]);
    row(
        "whether it is there was not read again",
        world(),
        |w| {
            w.hold(DHM, "ghost");
            w.failed.insert(FactKey::Role("ghost".into()));
        },
        &[(HOST, "is unset")],
        &[],
    );
    row(
        "whether it is there is about to be read: no hasty word",
        world(),
        |w| {
            w.hold(DHM, "ghost");
            w.lost.insert(FactKey::Role("ghost".into()), false);
        },
        &[("HostManagement Unknown FactUnreadable", "GetRole has not answered yet")],
        &[],
    );
    row(
        "whether it is there does not matter where it is taken over",
        world(),
        |w| {
            w.hold(DHM, "ghost");
            w.lost.insert(FactKey::Role("ghost".into()), false);
            w.posture.take_over = true;
        },
        &[(HOST, "is ghost")],
        &[SET_HOST],
    );
    row(
        "nor where we set it",
        world(),
        |w| {
            w.hold(DHM, "ghost");
            w.lost.insert(FactKey::Role("ghost".into()), false);
            w.remember(Knob::Setting(DHM), Found::Unset, Some("ghost"), None);
        },
        &[(HOST, "is ghost")],
        &[SET_HOST],
    );
    row(
        "whether it is there cannot be read",
        world(),
        |w| {
            w.hold(DHM, "ghost");
            w.lost.insert(FactKey::Role("ghost".into()), true);
        },
        &[("HostManagement Fail Foreign", "is ghost")],
        &[],
    );
    row(
        "not offered",
        world(),
        |w| w.aws.settings.insert(DHM, None),
        &[("HostManagement Fail SettingNotOffered", "remove hostManagement")],
        &[],
    );
    row(
        "waits for the object that makes the role",
        world(),
        |w| w.posture.host_management = Some(HostManagement::Waiting("AccountPosture payments is not there".into())),
        &[("HostManagement Fail DependencyNotReady", "AccountPosture payments is not there")],
        &[],
    );
    for key in [FactKey::Setting(DHM), FactKey::Role(ROLE.into())] {
        row(
            "unreadable",
            world(),
            |w| w.lost.insert(key.clone(), true),
            &[("HostManagement Unknown FactUnreadable", "AccessDeniedException")],
            &[],
        );
        row("not read again", world(), |w| w.failed.insert(key.clone()), &[(HOST, "")], &[]);
    }
    type Edit = fn(&mut Aws);
    let of = |aws: &mut Aws, edit: fn(&mut Role)| edit(aws.roles.get_mut(&ROLE.into()).unwrap());
    let unfit: [(Edit, Reason, &str, &str); 4] = [
        (|aws| aws.roles.clear(), Reason::RoleNotFound, "has no role host-role", "create it"),
        (
            |aws| aws.roles.get_mut(&ROLE.into()).unwrap().path = "/".into(),
            Reason::RolePathDiffers,
            "has the path /, and /service-role/ is declared",
            "correct the path in the spec",
        ),
        (
            |aws| aws.roles.get_mut(&ROLE.into()).unwrap().trust = trust(&["ec2.amazonaws.com"]),
            Reason::RoleTrustWrong,
            "does not trust ssm.amazonaws.com",
            "correct its trust policy",
        ),
        (
            |aws| aws.roles.get_mut(&ROLE.into()).unwrap().policies.clear(),
            Reason::RolePolicyMissing,
            "lacks the policy arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy",
            "attach it",
        ),
    ];
    for (edit, reason, says, advice) in unfit {
        for (made, on) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut world = world();
            world.posture.host_management = enabled(made);
            if on {
                world.hold(DHM, VALUE);
            }
            edit(&mut world.aws);
            world.read();
            let verdict = world.judge();
            let expected = if made { Reason::DependencyNotReady } else { reason };
            let [(kind, message)] = &said(&verdict)[..] else { panic!("{:?}", said(&verdict)) };
            assert_eq!(*kind, format!("HostManagement Fail {expected}"));
            assert!(message.contains(says), "{message}");
            assert_eq!(message.ends_with(advice), !made, "{message}");
            assert!(!made || message.ends_with("it waits for the AccountPosture that makes the role"), "{message}");
            assert_eq!(verdict.actions, [], "nothing is set, and what is set stays");
        }
    }
    let mut china = world();
    china.posture.partition = "aws-cn".into();
    of(&mut china.aws, |role| role.policies = [aws_policy("aws-cn", HOST_MANAGEMENT_POLICY)].into());
    china.hold(DHM, VALUE);
    row("each partition has its own policies", china, |_| {}, &[], &[]);
}

#[test]
fn host_management_is_switched_off_only_where_it_is_ours() {
    let off = || {
        let mut world = World::new();
        world.posture.host_management = Some(HostManagement::Disabled);
        world
    };
    row("off", off(), |_| {}, &[], &[]);
    row(
        "ours",
        off(),
        |w| {
            w.hold(DHM, VALUE);
            w.remember(Knob::Setting(DHM), Found::Unset, Some(VALUE), None);
        },
        &[(HOST, "is service-role/host-role, and unset is declared")],
        &[RESET_HOST],
    );
    row("another's", off(), |w| w.hold(DHM, VALUE), &[("HostManagement Fail Foreign", "and unset is declared")], &[]);
    row(
        "taken over",
        off(),
        |w| {
            w.hold(DHM, VALUE);
            w.posture.take_over = true;
        },
        &[(HOST, "")],
        &[RESET_HOST],
    );
    row("no role", off(), |w| w.hold(DHM, "ghost"), &[], &[]);
    // What is set again after we reset it was set by somebody else, even where it is the value that we had set.
    let mut world = World::with_host_management();
    world.settle();
    world.posture.host_management = Some(HostManagement::Disabled);
    assert_eq!(world.settle(), 1);
    world.hold(DHM, VALUE);
    row("set again", world, |_| {}, &[("HostManagement Fail Foreign", "")], &[]);
}

const TOKENS: MetadataField = MetadataField::HttpTokens;
const HOPS: MetadataField = MetadataField::HopLimit;
const DEFAULTS: &str = "MetadataDefaults Fail SettingDrifted";

#[test]
fn metadata_defaults_go_together() {
    let world = || World::with_metadata(&[(TOKENS, "required"), (HOPS, "2")]);
    let holds = |values: &'static [(MetadataField, &'static str)]| {
        move |w: &mut World| w.aws.metadata.values = values.iter().map(|(f, v)| (*f, (*v).to_owned())).collect()
    };
    row(
        "nothing set",
        world(),
        |_| {},
        &[
            (DEFAULTS, "instanceMetadataDefaults.httpTokens is unset, and required is declared"),
            (DEFAULTS, "instanceMetadataDefaults.hopLimit is unset, and 2 is declared"),
        ],
        &["set the metadata defaults HttpTokens=required, HttpPutResponseHopLimit=2"],
    );
    row("as declared", world(), holds(&[(TOKENS, "required"), (HOPS, "2")]), &[], &[]);
    row(
        "one is, and what is not declared is left",
        world(),
        holds(&[(TOKENS, "required"), (MetadataField::HttpEndpoint, "disabled")]),
        &[(DEFAULTS, "hopLimit")],
        &["set the metadata defaults HttpPutResponseHopLimit=2"],
    );
    row(
        "one is another's",
        world(),
        holds(&[(HOPS, "1")]),
        &[(DEFAULTS, "httpTokens"), ("MetadataDefaults Fail Foreign", "hopLimit is 1, and 2 is declared")],
        &["set the metadata defaults HttpTokens=required"],
    );
    row(
        "an organisation's policy says otherwise, and the same",
        world(),
        |w| {
            w.aws.metadata = MetadataDefaults {
                values: [(TOKENS, "required".to_owned()), (HOPS, "1".to_owned())].into(),
                by_declarative_policy: true,
                exception_message: Some("ask the platform team".into()),
            };
            w.posture.take_over = true;
        },
        &[(
            "MetadataDefaults Fail DeclarativePolicy",
            "hopLimit is 1, and 2 is declared: a declarative policy of the organisation sets it (ask the platform team)",
        )],
        &[],
    );
    row(
        "unreadable",
        world(),
        |w| w.lost.insert(FactKey::MetadataDefaults, true),
        &[("MetadataDefaults Unknown FactUnreadable", "AccessDeniedException")],
        &[],
    );
    row(
        "not read again",
        world(),
        |w| w.failed.insert(FactKey::MetadataDefaults),
        &[(DEFAULTS, ""), (DEFAULTS, "")],
        &[],
    );
    let mut counted = world();
    holds(&[(TOKENS, "required"), (HOPS, "2")])(&mut counted);
    counted.aws.instances = vec![
        instance("i-1", Some(true), Some(true)),
        instance("i-2", Some(false), Some(true)),
        instance("i-3", Some(true), Some(false)),
        instance("i-4", None, None),
        instance("i-5", Some(true), None),
    ];
    let warned = [("MetadataDefaults Warn MetadataDisabled", "1 instances do not answer for metadata at all")];
    row("instances are counted", counted.clone(), |_| {}, &warned, &[]);
    row("in any order", counted.clone(), |w| w.aws.instances.reverse(), &warned, &[]);
    counted.read();
    let seen = counted.judge().seen.metadata.unwrap();
    assert_eq!((seen.imds_v1_allowed, seen.metadata_disabled), (Some(2), Some(1)));
    counted.lost.insert(FactKey::InstanceMetadata, true);
    counted.read();
    assert_eq!(counted.judge().seen.metadata.unwrap().imds_v1_allowed, None, "unknown is not none");
}

fn same_in_other_words() -> String {
    json!({
        "schemaVersion": "1.0",
        "description": "somebody's own words",
        "sessionType": "Standard_Stream",
        "inputs": {
            "s3EncryptionEnabled": true,
            "s3KeyPrefix": "unused",
            "cloudWatchLogGroupName": "",
            "cloudWatchStreamingEnabled": true,
            "runAsEnabled": "false",
            "runAsDefaultUser": "nobody",
            "idleSessionTimeout": 30,
            "maxSessionDuration": 60,
            "shellProfile": { "linux": null },
        },
    })
    .to_string()
}

/// The document with one input changed.
fn but(path: &str, value: serde_json::Value) -> String {
    let mut document: serde_json::Value = serde_json::from_str(&content(&wish())).unwrap();
    *document.pointer_mut(path).unwrap() = value;
    document.to_string()
}

const PREFERENCES: &str = "SessionPreferences Fail PreferencesDrifted";
const UPDATE: &str = "make a new version of document SSM-SessionManagerRunShell";
const PENDING: &str = "SessionPreferences Fail PreferencesPending";

#[test]
fn session_documents_are_compared_by_meaning() {
    let wanted = content(&wish());
    for (what, text, differs) in [
        ("itself", wanted.clone(), None),
        ("other words", same_in_other_words(), None),
        ("empty timeout: not said", but("/inputs/maxSessionDuration", json!("")), Some("maxSessionDuration")),
        ("bucket, which has no field here", but("/inputs/s3BucketName", json!("b")), None),
        ("log group, which has no field here", but("/inputs/cloudWatchLogGroupName", json!("g")), None),
        ("key, which has no field here", but("/inputs/kmsKeyId", json!("k")), None),
        ("run-as", but("/inputs/runAsEnabled", json!(true)), Some("runAsEnabled")),
        ("idle", but("/inputs/idleSessionTimeout", json!("31")), Some("idleSessionTimeout")),
        ("longest", but("/inputs/maxSessionDuration", json!(61)), Some("maxSessionDuration")),
        ("linux", but("/inputs/shellProfile/linux", json!("bash")), Some("shellProfile.linux")),
        ("windows", but("/inputs/shellProfile/windows", json!("dir")), Some("shellProfile.windows")),
        ("a flag of a target that is not there", but("/inputs/s3EncryptionEnabled", json!(true)), None),
        ("another type", but("/sessionType", json!("Port")), Some("sessionType")),
        ("no JSON", "schemaVersion: '1.0'".to_owned(), Some("sessionType")),
        (
            "an input that we do not know",
            but("/inputs", json!({"new": "x"})),
            Some("idleSessionTimeout, maxSessionDuration"),
        ),
    ] {
        let mut world = World::with_session();
        world.document(&[&text], 1, true);
        let gist = format!("version 1 of {SESSION_DOCUMENT} differs in {}", differs.unwrap_or_default());
        let (said, proposed): (&[_], &[_]) =
            if differs.is_some() { (&[(PREFERENCES, gist.as_str())], &[UPDATE]) } else { (&[], &[]) };
        row(what, world, |_| {}, said, proposed);
    }
    // What has no field here stays when the rest is changed.
    let logged = but("/inputs/s3BucketName", json!("b")).replace("\"30\"", "\"5\"");
    let mut world = World::with_session();
    world.document(&[&logged], 1, true);
    world.settle();
    let kept = world.aws.document.as_ref().unwrap().versions.last().unwrap().0.clone();
    assert!(kept.contains("\"s3BucketName\":\"b\""), "{kept}");
    // With a target, its flags count; with run-as, its user.
    let bucket = but("/inputs/s3BucketName", json!("b"));
    let encrypted = bucket.replace("\"s3EncryptionEnabled\":false", "\"s3EncryptionEnabled\":true");
    assert_eq!(session::differing(&bucket, &encrypted), ["s3EncryptionEnabled"]);
    let run_as = |user: &str| content(&SessionPreferences { run_as: Some(user.into()), ..wish() });
    assert_eq!(session::differing(&run_as("a"), &run_as("b")), ["runAsDefaultUser"]);
    assert_eq!(session::differing(&run_as(""), &content(&wish())), ["runAsEnabled"]);
    let nothing = SessionPreferences::default();
    let twenty = SessionPreferences { idle_minutes: Some(20), ..SessionPreferences::default() };
    assert_eq!(session::differing(&content(&nothing), &content(&twenty)), [""; 0], "the default, said");
    // What is not said is AWS's default.
    let said = |inputs: serde_json::Value| json!({ "sessionType": "Standard_Stream", "inputs": inputs }).to_string();
    let targets = json!({ "s3BucketName": "b", "cloudWatchLogGroupName": "g" });
    for (input, default, other) in [
        ("s3EncryptionEnabled", json!(false), json!(true)),
        ("cloudWatchEncryptionEnabled", json!(false), json!(true)),
        ("cloudWatchStreamingEnabled", json!(false), json!(true)),
        ("runAsEnabled", json!(false), json!(true)),
        ("idleSessionTimeout", json!("20"), json!("21")),
        ("maxSessionDuration", json!(""), json!("60")),
        ("kmsKeyId", json!(null), json!("k")),
    ] {
        for (value, differs) in [(default, vec![]), (other, vec![input.to_owned()])] {
            let mut with = targets.clone();
            with[input] = value;
            assert_eq!(session::differing(&said(targets.clone()), &said(with)), differs, "{input}");
        }
    }
}

#[test]
fn a_session_document_is_made_used_and_never_fought_over() {
    let (wanted, other) = (content(&wish()), but("/inputs/idleSessionTimeout", json!("5")));
    let world = World::with_session;
    let (wanted, other) = (wanted.as_str(), other.as_str());
    row(
        "none",
        world(),
        |_| {},
        &[(PREFERENCES, "there is no document SSM-SessionManagerRunShell")],
        &["create document SSM-SessionManagerRunShell"],
    );
    row("somebody else's, as declared", world(), |w| w.document(&[wanted], 1, false), &[], &[]);
    row(
        "somebody else's",
        world(),
        |w| w.document(&[other], 1, false),
        &[(
            "SessionPreferences Fail Foreign",
            "version 1 of SSM-SessionManagerRunShell differs in idleSessionTimeout, and does not carry the tags of ssm-ready",
        )],
        &[],
    );
    row(
        "somebody else's, taken over",
        world(),
        |w| {
            w.document(&[other], 1, false);
            w.posture.take_over = true;
        },
        &[(PREFERENCES, "")],
        &["tag document SSM-SessionManagerRunShell with ssmready.dev/cluster, ssmready.dev/owner", UPDATE],
    );
    row(
        "the newest is as declared: it is used, and no other made",
        world(),
        |w| w.document(&[other, wanted], 1, true),
        &[(PREFERENCES, "version 1")],
        &["use version 2 of document SSM-SessionManagerRunShell"],
    );
    row(
        "an older one is",
        world(),
        |w| w.document(&[wanted, other], 2, true),
        &[(PREFERENCES, "version 2")],
        &[UPDATE],
    );
    row(
        "the newest is neither",
        world(),
        |w| w.document(&[wanted, other, other], 2, true),
        &[(PREFERENCES, "")],
        &[UPDATE],
    );
    row("in use, with another after it", world(), |w| w.document(&[wanted, other], 1, true), &[], &[]);
    for (status, word) in [
        (DocumentStatus::Creating, "Creating"),
        (DocumentStatus::Updating, "Updating"),
        (DocumentStatus::Deleting, "Deleting"),
        (DocumentStatus::Unknown("Resting".into()), "Resting"),
    ] {
        for (contents, default, version) in [(&[wanted][..], 1, 1), (&[other][..], 1, 1), (&[other, wanted][..], 1, 2)]
        {
            let gist = format!("version {version} of {SESSION_DOCUMENT} is {word}");
            let mut world = world();
            world.document(contents, default, true);
            world.status(version, status.clone());
            row("not ready", world.clone(), |_| {}, &[(PENDING, &gist)], &[]);
            world.read();
            assert!(world.judge().watch.contains(&FactKey::SessionDocumentInfo), "it is looked at again");
        }
    }
    for (contents, default, version) in [(&[wanted][..], 1, 1), (&[other, wanted][..], 1, 2)] {
        let mut world = world();
        world.document(contents, default, true);
        world.status(version, DocumentStatus::Failed);
        let gist = format!("version {version} of {SESSION_DOCUMENT} is as declared, and AWS could not make it");
        row("failed: no loop of versions", world, |_| {}, &[("SessionPreferences Fail RequestInvalid", &gist)], &[]);
    }
    row(
        "a failed one of other content is passed by",
        world(),
        |w| {
            w.document(&[other, other], 1, true);
            w.status(2, DocumentStatus::Failed);
        },
        &[(PREFERENCES, "")],
        &[UPDATE],
    );
    row(
        "made between two reads",
        world(),
        |w| {
            w.document(&[other], 1, true);
            let info = FactKey::SessionDocumentInfo;
            w.lost.insert(info, true);
        },
        &[("SessionPreferences Unknown FactUnreadable", "DescribeDocument")],
        &[],
    );
    for (key, expected) in [
        (FactKey::SessionDocument(DocumentVersion::Default), "SessionPreferences Unknown FactUnreadable"),
        (FactKey::SessionDocumentInfo, "SessionPreferences Unknown FactUnreadable"),
        (FactKey::SessionDocument(DocumentVersion::Latest), "SessionPreferences Unknown FactUnreadable"),
    ] {
        let lose = |w: &mut World| w.document(&[other, wanted], 1, true);
        row(
            "unreadable",
            world(),
            |w| {
                lose(w);
                w.lost.insert(key.clone(), true);
            },
            &[(expected, "")],
            &[],
        );
        row(
            "not read again",
            world(),
            |w| {
                lose(w);
                w.failed.insert(key.clone());
            },
            &[(PREFERENCES, "")],
            &[],
        );
    }
    for shaped in [
        SessionPreferences { run_as: Some(String::new()), ..wish() },
        SessionPreferences { shell_linux: "bash".into(), ..wish() },
        SessionPreferences { shell_windows: "dir".into(), ..wish() },
    ] {
        for document in [false, true] {
            let edit = |w: &mut World| {
                w.posture.session = Some(shaped.clone());
                if document {
                    w.document(&[other], 1, true);
                }
            };
            let refused =
                ("SessionPreferences Fail GuardrailViolated", "guardrails.sessionShell of the AwsAccount is Forbidden");
            row("forbidden", world(), edit, &[refused], &[]);
            let mut allowed = world();
            edit(&mut allowed);
            allowed.posture.shell_allowed = true;
            assert_eq!(allowed.settle(), if document { 2 } else { 1 });
        }
    }
}

#[test]
fn which_versions_have_to_be_read() {
    let (wanted, other) = (content(&wish()), but("/inputs/idleSessionTimeout", json!("5")));
    let latest = FactKey::SessionDocument(DocumentVersion::Latest);
    for (contents, default, needed) in [
        (&[&*wanted][..], 1, false),
        (&[&*other][..], 1, false),
        (&[&*other, &*wanted][..], 1, true),
        (&[&*wanted, &*other][..], 1, false),
        (&[&*wanted, &*other][..], 2, false),
    ] {
        let mut world = World::with_session();
        world.document(contents, default, true);
        world.read();
        let wanted = wanted_of_region(&world.posture, &world.view(), &world.memory);
        assert_eq!(wanted.contains(&latest), needed, "{contents:?} {default}");
    }
    // The default was moved since the versions were read, which is done once an hour: no version is made for it.
    let mut world = World::with_session();
    world.document(&[&other, &wanted], 1, true);
    world.read();
    let info = SessionDocumentInfo {
        default_version: "2".into(),
        latest_version: "2".into(),
        tags: world.posture.owner.tags(),
    };
    world.region.note(&FactKey::SessionDocumentInfo, Ok(FactValue::SessionDocumentInfo(Some(info))), at(0));
    assert!(wanted_of_region(&world.posture, &world.view(), &world.memory).contains(&latest));
    assert_eq!(calls(&world.judge().actions), ["use version 2 of document SSM-SessionManagerRunShell"]);
}

#[test]
fn what_has_to_be_known() {
    let mut world = World::with_host_management();
    world.hold(DHM, "x/other");
    world.posture.settings.insert(TIER, "advanced".into());
    world.posture.metadata.insert(TOKENS, "required".into());
    world.read();
    assert_eq!(
        wanted_of_region(&world.posture, &world.view(), &world.memory),
        [FactKey::Setting(DHM), FactKey::Setting(TIER), FactKey::MetadataDefaults, FactKey::InstanceMetadata].into()
    );
    assert_eq!(
        wanted_of_account(&world.posture, &world.view()),
        [FactKey::Role(ROLE.into()), FactKey::Role("other".into())].into()
    );
    world.posture.host_management = Some(HostManagement::Disabled);
    assert_eq!(wanted_of_account(&world.posture, &world.view()), [FactKey::Role("other".into())].into());
    world.posture.host_management = None;
    assert_eq!(wanted_of_account(&world.posture, &world.view()), BTreeSet::new());
    assert_eq!(wanted_to_leave(&world.posture, &world.memory), BTreeSet::new(), "it made nothing");
    world.remember(Knob::Setting(TIER), Found::Unset, None, None);
    world.remember(Knob::Metadata(HOPS), Found::Unset, None, None);
    world.memory.document = Found::Unset;
    let document = [FactKey::SessionDocument(DocumentVersion::Default), FactKey::SessionDocumentInfo];
    let mut all = BTreeSet::from(document);
    all.extend([FactKey::Setting(TIER), FactKey::MetadataDefaults]);
    assert_eq!(wanted_to_leave(&world.posture, &world.memory), all);
}

#[test]
fn each_knob_has_a_name_of_its_own() {
    let all: Vec<Knob> = Knob::all().collect();
    assert_eq!(all.len(), 15);
    for knob in all {
        assert_eq!(Knob::parse(knob.field()), Some(knob));
    }
    assert_eq!(Knob::parse("serviceSettings"), None);
}

#[test]
fn what_ends_the_management_of_instances_is_named() {
    let mut world = World::with_host_management();
    world.read();
    assert!(world.judge().actions.iter().all(|a| a.disrupts.is_none()), "to be managed disturbs nobody");
    world.settle();
    let mut off = world.clone();
    off.posture.host_management = Some(HostManagement::Disabled);
    off.read();
    world.posture.deletion_policy = RegionDeletion::Reset;
    for actions in [off.judge().actions, world.farewell().actions] {
        let named: Vec<_> = actions.iter().map(|a| (a.write.to_string(), a.disrupts)).collect();
        let disrupts = Some("instances without an instance profile are no longer managed");
        assert_eq!(named, [(RESET_HOST.to_owned(), disrupts)]);
    }
}

// What is remembered, and crashes.

#[test]
fn what_was_found_first_is_kept_for_ever() {
    let mut world = World::with(Setting::ParameterTier, "Advanced");
    let knob = Knob::Setting(Setting::ParameterTier);
    world.posture.take_over = true;
    world.hold(Setting::ParameterTier, "Intelligent-Tiering");
    world.pass(1);
    let found = Found::Value("Intelligent-Tiering".into());
    let kept = |world: &World| world.memory.knobs[&knob].clone();
    let noted = KnobMemory { found: found.clone(), applied: None, applying: Some("Advanced".into()) };
    let settled = KnobMemory { found: found.clone(), applied: Some("Advanced".into()), applying: None };
    assert_eq!(kept(&world), noted, "noted before the call");
    world.settle();
    assert_eq!(kept(&world), settled);
    // Declared no longer before it was read back, and not reset yet: it stays ours.
    let mut early = World::with(Setting::ParameterTier, "Advanced");
    early.memory.knobs.insert(knob, noted.clone());
    early.hold(Setting::ParameterTier, "Advanced");
    early.posture.settings.clear();
    early.posture.deletion_policy = RegionDeletion::Reset;
    early.pass(1);
    assert_eq!(kept(&early), settled);
    // The spec changes, and somebody else's hand.
    world.posture.settings.insert(Setting::ParameterTier, "Standard".into());
    world.pass(1);
    assert_eq!(kept(&world), KnobMemory { applying: Some("Standard".into()), ..settled });
    world.hold(Setting::ParameterTier, "advanced");
    world.settle();
    assert_eq!(kept(&world).found, found);
    // AWS's default was nobody's: there is nothing to be restored.
    let mut world = World::with(TIER, "advanced");
    world.settle();
    assert_eq!(world.memory.knobs[&Knob::Setting(TIER)].found, Found::Unset);
    // What is as declared already was never ours.
    let mut world = World::with(TIER, "advanced");
    world.hold(TIER, "advanced");
    world.settle();
    assert_eq!(world.memory, RegionMemory::default());
}

#[test]
fn one_target_is_looked_at_as_all_of_them_are() {
    let Targets { bucket, log_group, key } = all_targets();
    let none = || Targets { bucket: None, log_group: None, key: None };
    for (targets, fact, missing) in [
        (Targets { bucket, ..none() }, FactKey::Bucket(BUCKET.into()), "there is no bucket"),
        (Targets { log_group, ..none() }, FactKey::LogGroup(GROUP.into()), "there is no log group"),
        (Targets { key, ..none() }, FactKey::Key(KEY.into()), "there is no key"),
    ] {
        let mut world = World::with_targets();
        world.posture.session.as_mut().unwrap().targets = targets;
        (world.aws.buckets, world.aws.groups, world.aws.keys) = Default::default();
        world.read();
        let wanted = wanted_of_region(&world.posture, &world.view(), &world.memory);
        let of_targets = |fact: &&FactKey| matches!(fact, FactKey::Bucket(_) | FactKey::LogGroup(_) | FactKey::Key(_));
        assert_eq!(wanted.iter().filter(of_targets).collect::<Vec<_>>(), [&fact]);
        let verdict = world.judge();
        assert_eq!(verdict.actions, [], "{missing}");
        let told = said(&verdict);
        assert!(told.iter().any(|(_, message)| message.contains(missing)), "{missing}: {told:?}");
    }
}

#[test]
fn a_role_is_asked_about_the_key_itself_whatever_it_is_called() {
    let id = "0a1b2c3d-1111-2222-3333-444455556666";
    for (name, arn) in [
        (KEY, Some(KEY.to_owned())),
        (id, Some(format!("arn:aws:kms:eu-west-1:111122223333:key/{id}"))),
        // Policies name keys, and no aliases.
        ("alias/sessions", None),
        ("arn:aws:kms:eu-west-1:111122223333:alias/sessions", None),
    ] {
        let mut world = World::with_targets();
        let targets = Targets { bucket: None, log_group: None, key: Some(name.into()) };
        world.posture.session.as_mut().unwrap().targets = targets;
        world.read();
        let wanted = wanted_of_account(&world.posture, &world.view());
        let asked = wanted.into_iter().filter_map(|fact| match fact {
            FactKey::RoleAnswer(role, question) => {
                assert_eq!((role.as_str(), &question.actions[..]), (ROLE, &["kms:Decrypt".to_owned()][..]));
                question.resource
            }
            _ => None,
        });
        assert_eq!(asked.collect::<Vec<_>>(), Vec::from_iter(arn), "{name}");
    }
}

#[test]
fn preferences_are_not_written_on_an_old_word_of_iam() {
    let mut world = World::with_targets();
    world.read();
    let answers = wanted_of_account(&world.posture, &world.view());
    let answers: Vec<FactKey> = answers.into_iter().filter(|fact| matches!(fact, FactKey::RoleAnswer(..))).collect();
    assert!(answers.len() > 3, "{answers:?}");
    let writes = |world: &World| world.judge().actions.iter().any(|a| matches!(a.write, Write::Document(_)));
    assert!(writes(&world));
    for answer in answers {
        let mut world = world.clone();
        world.failed.insert(answer.clone());
        world.read();
        assert!(!writes(&world), "{answer:?}");
    }
}

#[test]
fn which_version_of_the_document_was_used_first_is_kept_too() {
    // Other writes say nothing of the document.
    let mut world = World::with(TIER, "advanced");
    world.pass(1);
    assert_eq!(world.memory.document, Found::NotYet);
    for (there, found) in [(false, Found::Unset), (true, Found::Value("1".into()))] {
        let mut world = World::with_session();
        if there {
            world.posture.take_over = true;
            world.document(&[&but("/inputs/idleSessionTimeout", json!("31"))], 1, false);
        }
        world.pass(1);
        assert_eq!(world.memory.document, found, "noted before the call");
        world.settle();
        assert_eq!(world.memory.document, found);
        // The spec changes: what is used by now is ours.
        world.posture.session.as_mut().unwrap().idle_minutes = Some(7);
        world.pass(1);
        assert_eq!(world.memory.document, found);
    }
}

/// Everything that is declared is somebody else's, and taken over.
fn all_taken_over() -> World {
    let mut world = World::with_host_management();
    world.posture.take_over = true;
    world.posture.settings = [(Setting::ParameterTier, "Advanced".into()), (TIER, "advanced".into())].into();
    world.posture.metadata = [(TOKENS, "required".into()), (HOPS, "2".into())].into();
    world.posture.session = Some(wish());
    world.hold(DHM, QUICK);
    world.aws.roles.insert(QUICK.into(), Role { name: QUICK.into(), path: "/".into(), ..role() });
    world.hold(Setting::ParameterTier, "Intelligent-Tiering");
    world.aws.metadata.values.insert(HOPS, "1".into());
    let theirs = but("/inputs/idleSessionTimeout", json!("5"));
    world.document(&[&theirs], 1, false);
    world
}

/// What an operator does to an object in the course of its life.
fn life(world: &mut World, chapter: usize) {
    match chapter {
        0 => {}
        1 => {
            world.posture.settings.insert(Setting::ParameterTier, "Standard".into());
            world.posture.session = Some(SessionPreferences { max_minutes: None, ..wish() });
        }
        2 => world.posture.host_management = Some(HostManagement::Disabled),
        _ => {
            world.posture.host_management = enabled(false);
            world.posture.session = Some(wish());
            world.posture.metadata.insert(TOKENS, "optional".into());
        }
    }
}

#[test]
fn a_crash_at_any_point_ends_in_the_same_state() {
    for first in [World::with_host_management(), World::with_session(), all_taken_over()] {
        let mut calm = first.clone();
        for chapter in 0..4 {
            life(&mut calm, chapter);
            calm.settle();
        }
        // One crash after each number of steps of each pass in each chapter, and one after each pass.
        for (at_chapter, at_pass) in (0..4).flat_map(|c| (0..4).map(move |p| (c, p))) {
            for steps in 0..9 {
                let mut world = first.clone();
                for chapter in 0..4 {
                    life(&mut world, chapter);
                    if chapter == at_chapter {
                        for _ in 0..at_pass {
                            world.pass(usize::MAX);
                        }
                        world.pass(steps);
                    }
                    world.settle();
                }
                let what = format!("chapter {at_chapter}, pass {at_pass}, step {steps}");
                assert_eq!(world.aws, calm.aws, "{what}");
                assert_eq!(world.memory, calm.memory, "{what}");
            }
        }
    }
}

#[test]
fn a_spec_that_changes_while_a_write_is_open_loses_nothing() {
    // Noted and written, the answer lost, and by then another value is declared.
    let mut world = World::with(Setting::ParameterTier, "Advanced");
    world.pass(usize::MAX);
    world.posture.settings.insert(Setting::ParameterTier, "Intelligent-Tiering".into());
    assert_eq!(world.settle(), 1);
    let mut world = World::with_host_management();
    world.pass(usize::MAX);
    world.posture.host_management = Some(HostManagement::Disabled);
    assert_eq!(world.settle(), 1);
    assert_eq!(world.value(DHM), None);
}

// Leaving.

#[test]
fn leaving_by_each_policy() {
    use RegionDeletion::{Reset, RestorePrevious, Retain};
    let settled = |policy| {
        let mut world = all_taken_over();
        world.settle();
        world.posture.deletion_policy = policy;
        world
    };
    let before = all_taken_over();

    let mut world = settled(Retain);
    let kept = world.aws.clone();
    let left = world.leave();
    for what in [
        "hostManagement=service-role/host-role",
        "serviceSettings.activationTier=advanced",
        "instanceMetadataDefaults.hopLimit=2",
        "SSM-SessionManagerRunShell version 2",
    ] {
        assert!(left.contains(what), "{left:?}");
    }
    assert_eq!((&world.aws.settings, &world.aws.metadata), (&kept.settings, &kept.metadata));
    assert!(!world.posture.owner.owns(&world.aws.document.as_ref().unwrap().tags));
    assert_eq!(world.aws.document.unwrap().default, 2);

    let mut world = settled(RestorePrevious);
    assert_eq!(world.leave(), BTreeSet::new());
    for setting in Setting::ALL {
        assert_eq!(world.value(setting), before.value(setting), "{setting}");
    }
    assert_eq!(world.aws.metadata, before.aws.metadata);
    let document = world.aws.document.unwrap();
    assert_eq!((document.default, world.posture.owner.owns(&document.tags)), (1, false));

    let mut world = settled(Reset);
    let next = world.farewell();
    let defaults = "set the metadata defaults HttpTokens=no-preference, HttpPutResponseHopLimit=-1".to_owned();
    assert!(calls(&next.actions).contains(&defaults), "{:?}", calls(&next.actions));
    world.leave();
    assert_eq!(world.aws.settings, Aws::new().settings);
    assert_eq!((world.aws.metadata, world.aws.document), (MetadataDefaults::default(), None));

    // An object that wrote nothing leaves nothing, and waits for nothing.
    for policy in [Retain, RestorePrevious, Reset] {
        let mut world = World::with(TIER, "advanced");
        world.hold(TIER, "advanced");
        world.posture.deletion_policy = policy;
        world.lost.insert(FactKey::Setting(TIER), true);
        assert_eq!(world.farewell(), Parting::default());
    }
}

#[test]
fn what_was_never_read_back_is_gone_only_by_what_is_read_late_enough() {
    const P: Setting = Setting::ParameterTier;
    const VALUE: &str = "serviceSettings.parameterTier may have been set a moment ago, and AWS does not show it yet";
    const DOCUMENT: &str = "SSM-SessionManagerRunShell may have been made a moment ago, and AWS does not show it yet";
    // Facts are read at 0.
    for (doubt_until, waits) in [(None, false), (Some(0), false), (Some(1), true)] {
        let mut world = World::new();
        world.posture.deletion_policy = RegionDeletion::Reset;
        world.memory.doubt_until = doubt_until.map(at);
        world.memory.document = Found::Unset;
        world.memory.document_unseen = true;
        world.remember(Knob::Setting(P), Found::Unset, None, Some("Advanced"));
        let next = world.farewell();
        assert_eq!(next.pending, if waits { vec![VALUE, DOCUMENT] } else { vec![] }, "{doubt_until:?}");
        assert_eq!(next.is_done(), !waits);
        let watch = [FactKey::Setting(P), FactKey::SessionDocumentInfo];
        assert_eq!(next.watch, watch.into_iter().filter(|_| waits).collect());
        // What is shown needs no proof.
        world.document(&["{}"], 1, true);
        world.hold(P, "Advanced");
        assert_eq!(world.farewell().pending, Vec::<String>::new());
        // Neither does what was read back.
        world.aws.document = None;
        world.memory.document_unseen = false;
        world.hold(P, "Standard");
        world.remember(Knob::Setting(P), Found::Unset, Some("Advanced"), None);
        assert!(world.farewell().is_done());
    }
}

#[test]
fn what_is_restored_and_what_is_somebody_elses_since() {
    use RegionDeletion::{Reset, RestorePrevious, Retain};
    const P: Setting = Setting::ParameterTier;
    const SET_BACK: &str = "set /ssm/parameter-store/default-parameter-tier to Intelligent-Tiering";
    const RESET: &str = "reset /ssm/parameter-store/default-parameter-tier";
    let it = || Found::Value("Intelligent-Tiering".into());
    let theirs = "serviceSettings.parameterTier=Intelligent-Tiering, set by somebody else since";
    // What was found, what we set, what we meant to set, what is there, and what follows.
    for (policy, found, applied, applying, now, call, left) in [
        (RestorePrevious, it(), Some("Advanced"), None, "Advanced", Some(SET_BACK), None),
        (RestorePrevious, it(), None, Some("Advanced"), "Advanced", Some(SET_BACK), None),
        (RestorePrevious, it(), Some("Advanced"), None, "Intelligent-Tiering", None, None),
        (RestorePrevious, it(), Some("Advanced"), None, "Standard", Some(SET_BACK), None),
        (RestorePrevious, it(), Some("Advanced"), None, "", Some(SET_BACK), None),
        (RestorePrevious, it(), None, Some("Advanced"), "", None, None),
        (RestorePrevious, it(), None, Some("Intelligent-Tiering"), "", Some(SET_BACK), None),
        (RestorePrevious, it(), None, Some("Standard"), "Standard", Some(SET_BACK), None),
        (RestorePrevious, it(), None, None, "", Some(SET_BACK), None),
        (RestorePrevious, Found::Unset, Some("Advanced"), None, "Advanced", Some(RESET), None),
        (RestorePrevious, Found::Unset, Some("Advanced"), None, "Intelligent-Tiering", None, Some(theirs)),
        (RestorePrevious, Found::Unset, Some("Standard"), None, "Standard", None, None),
        (RestorePrevious, Found::NotYet, Some("Advanced"), None, "Advanced", None, None),
        (Reset, it(), Some("Advanced"), None, "Advanced", Some(RESET), None),
        (Reset, it(), Some("Advanced"), None, "Standard", None, None),
        (Reset, it(), Some("Advanced"), None, "Intelligent-Tiering", None, Some(theirs)),
        (Reset, Found::Unset, Some("Advanced"), None, "", None, None),
        (Reset, Found::NotYet, None, None, "Advanced", None, None),
        (Retain, it(), Some("Advanced"), None, "Advanced", None, Some("serviceSettings.parameterTier=Advanced")),
        (Retain, Found::NotYet, None, None, "Advanced", None, None),
    ] {
        let what = format!("{policy:?} {found:?} {applied:?} {applying:?} {now:?}");
        let mut world = World::new();
        world.posture.deletion_policy = policy;
        world.hold(P, now);
        world.remember(Knob::Setting(P), found, applied, applying);
        let next = world.farewell();
        assert_eq!(calls(&next.actions), call.into_iter().collect::<Vec<_>>(), "{what}");
        assert_eq!(next.left, left.into_iter().collect::<Vec<_>>(), "{what}");
        let loses = call.is_some() || left.is_some_and(|left| left == theirs);
        for denied in [true, false] {
            let mut world = world.clone();
            world.lost.insert(FactKey::Setting(P), denied);
            let next = world.farewell();
            assert_eq!(next.actions, [], "{what}");
            assert!(!loses || !next.is_done(), "{what}");
            assert!(next.unknown.iter().all(|why| why.contains("GetServiceSetting")), "{what}");
        }
        world.failed.insert(FactKey::Setting(P));
        let next = world.farewell();
        assert_eq!((next.actions.len(), !next.unknown.is_empty()), (0, call.is_some()), "{what}");
        world.failed.clear();
        world.aws.settings.insert(P, None);
        assert_eq!(world.farewell().actions, [], "{what}: no longer offered");
    }
}

#[test]
fn what_was_switched_off_is_switched_on_again() {
    let mut world = all_taken_over();
    world.settle();
    world.posture.host_management = Some(HostManagement::Disabled);
    world.settle();
    world.posture.deletion_policy = RegionDeletion::RestorePrevious;
    world.leave();
    assert_eq!(world.value(DHM), Some(QUICK));
}

#[test]
fn metadata_defaults_of_an_organisation_are_left() {
    for policy in [RegionDeletion::RestorePrevious, RegionDeletion::Reset] {
        let mut world = all_taken_over();
        world.settle();
        world.posture.deletion_policy = policy;
        world.aws.metadata.by_declarative_policy = true;
        world.leave();
        assert_eq!(world.aws.metadata.values, [(TOKENS, "required".to_owned()), (HOPS, "2".to_owned())].into());
    }
}

#[test]
fn the_document_is_left_as_its_policy_says() {
    use RegionDeletion::{Reset, RestorePrevious, Retain};
    let (wanted, other) = (content(&wish()), but("/inputs/idleSessionTimeout", json!("5")));
    const UNTAG: &str = "untag document SSM-SessionManagerRunShell: ssmready.dev/owner";
    const DELETE: &str = "delete document SSM-SessionManagerRunShell";
    const USE: &str = "use version 1 of document SSM-SessionManagerRunShell";
    let one = || Found::Value("1".into());
    for (policy, found, default, ours, call) in [
        (Retain, one(), 2, true, Some(UNTAG)),
        (Retain, Found::Unset, 2, true, Some(UNTAG)),
        (RestorePrevious, one(), 2, true, Some(USE)),
        (RestorePrevious, one(), 1, true, Some(UNTAG)),
        (RestorePrevious, Found::Unset, 2, true, Some(DELETE)),
        (RestorePrevious, Found::NotYet, 2, true, Some(UNTAG)),
        (Reset, one(), 2, true, Some(DELETE)),
        (Reset, Found::Unset, 2, true, Some(DELETE)),
        (Reset, Found::NotYet, 2, true, Some(UNTAG)),
        (Retain, one(), 2, false, None),
        (RestorePrevious, one(), 2, false, None),
        (Reset, Found::Unset, 2, false, None),
    ] {
        let what = format!("{policy:?} {found:?} {default} {ours}");
        let mut world = World::with_session();
        world.document(&[&other, &wanted], default, ours);
        world.memory.document = found;
        world.posture.deletion_policy = policy;
        let next = world.farewell();
        assert_eq!(calls(&next.actions), call.into_iter().collect::<Vec<_>>(), "{what}");
        world.failed.insert(FactKey::SessionDocumentInfo);
        let next = world.farewell();
        assert_eq!((next.actions.len(), !next.unknown.is_empty()), (0, call.is_some()), "{what}");
        world.failed.clear();
        world.lost.insert(FactKey::SessionDocumentInfo, true);
        assert!(!world.farewell().is_done(), "{what}");
        world.lost.clear();
        world.aws.document = None;
        assert!(world.farewell().is_done(), "{what}: it is gone");
    }
    // No longer declared, and still ours.
    let mut world = World::with_session();
    world.settle();
    world.posture.session = None;
    world.posture.deletion_policy = Reset;
    world.leave();
    assert_eq!(world.aws.document, None);
}

const SESSIONS: &str = "SessionPreferences";

/// One row of the table of targets: what is said where everything is declared and something is not as it should be; and
/// that nothing is written then, neither where there is no document nor where there is one that differs.
#[track_caller]
fn target_row(what: &str, edit: impl Fn(&mut World), expected: &[(&str, &str)]) {
    let of_sessions = |world: &World| {
        let all = said(&world.judge());
        all.into_iter().filter(|(kind, _)| kind.starts_with(SESSIONS)).collect::<Vec<_>>()
    };
    for document in [None, Some(content(&wish()))] {
        let mut world = World::with_targets();
        if let Some(text) = &document {
            world.document(&[text], 1, true);
        }
        edit(&mut world);
        world.read();
        let found = of_sessions(&world);
        let kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
        let wanted: Vec<String> = expected.iter().map(|(kind, _)| format!("{SESSIONS} {kind}")).collect();
        assert_eq!(kinds, wanted, "{what}: {found:#?}");
        for ((_, message), (_, gist)) in found.iter().zip(expected) {
            assert!(message.contains(gist), "{what}: {message:?} does not say {gist:?}");
        }
        let stops = expected.iter().any(|(kind, _)| !kind.starts_with("Warn") && !kind.contains("PreferencesDrifted"));
        let writes = world.judge().actions.iter().any(|action| matches!(action.write, Write::Document(_)));
        assert_eq!(writes, !stops, "{what}");
    }
}

#[test]
fn nothing_that_would_blank_sessions_is_written() {
    let bucket = |w: &mut World| w.aws.buckets.get_mut(&BUCKET.into()).unwrap().clone();
    let encrypt = |w: &mut World, algorithm: Option<&str>, key: Option<&str>| {
        let encryption = BucketEncryption { algorithm: algorithm.map(str::to_owned), key: key.map(str::to_owned) };
        let (bucket, _) = bucket(w);
        w.aws.buckets.insert(BUCKET.into(), (bucket, encryption));
    };
    let place = |w: &mut World, region: Option<&str>| {
        let (_, encryption) = bucket(w);
        let region = region.map(|region| region.parse().unwrap());
        w.aws.buckets.insert(BUCKET.into(), (Bucket { region }, encryption));
    };
    let key = |w: &mut World, edit: fn(&mut Key)| edit(w.aws.keys.get_mut(&KEY.into()).unwrap());
    let drifted = ("Fail PreferencesDrifted", "");
    target_row("all is well", |_| {}, &[drifted]);
    target_row(
        "no bucket",
        |w| w.aws.buckets.clear(),
        &[("Fail SessionTargetNotFound", "there is no bucket session-logs")],
    );
    target_row(
        "elsewhere",
        |w| place(w, Some("eu-west-2")),
        &[("Fail SessionTargetElsewhere", "bucket session-logs is in eu-west-2: name one that is in eu-west-1")],
    );
    target_row("who knows where", |w| place(w, None), &[("Fail SessionTargetElsewhere", "is in another region")]);
    target_row(
        "not encrypted",
        |w| encrypt(w, None, None),
        &[("Fail SessionTargetNotEncrypted", "is not encrypted by default: have it encrypted")],
    );
    target_row(
        "encrypted twice",
        |w| encrypt(w, Some("aws:kms:dsse"), None),
        &[("Fail SessionTargetNotEncrypted", "aws:kms:dsse, which agents do not take for encrypted")],
    );
    target_row("encrypted with a key of AWS's", |w| encrypt(w, Some("aws:kms"), None), &[drifted]);
    target_row(
        "not encrypted, and nobody looks",
        |w| {
            encrypt(w, None, None);
            w.aws.refused.insert("s3:GetEncryptionConfiguration");
            w.lost.insert(FactKey::BucketEncryption(BUCKET.into()), true);
            w.posture.session.as_mut().unwrap().targets.bucket.as_mut().unwrap().encrypted = false;
        },
        &[drifted],
    );
    target_row(
        "no group",
        |w| w.aws.groups.clear(),
        &[("Fail SessionTargetNotFound", "there is no log group /ssm/sessions")],
    );
    target_row(
        "group not encrypted",
        |w| w.aws.groups.get_mut(&GROUP.into()).unwrap().kms_key = None,
        &[("Fail SessionTargetNotEncrypted", "aws logs associate-kms-key")],
    );
    target_row("no key", |w| w.aws.keys.clear(), &[("Fail SessionTargetNotFound", "there is no key arn:aws:kms")]);
    target_row(
        "key disabled",
        |w| key(w, |key| key.state = "PendingDeletion".to_owned()),
        &[("Fail SessionKeyUnusable", "is PendingDeletion: enable it")],
    );
    target_row(
        "key for signatures",
        |w| key(w, |key| (key.usage, key.spec) = ("SIGN_VERIFY".to_owned(), "RSA_2048".to_owned())),
        &[("Fail SessionKeyUnusable", "is for SIGN_VERIFY (RSA_2048)")],
    );
    target_row(
        "key for messages",
        |w| key(w, |key| (key.usage, key.spec) = ("ENCRYPT_DECRYPT".to_owned(), "RSA_2048".to_owned())),
        &[("Fail SessionKeyUnusable", "sessions need a symmetric key")],
    );
    target_row(
        "key elsewhere",
        |w| w.posture.session.as_mut().unwrap().targets.key = Some(KEY.replace("eu-west-1", "eu-west-2").into()),
        &[("Fail SessionTargetElsewhere", "is of eu-west-2: name one of eu-west-1")],
    );
    // One hides no other.
    target_row(
        "nothing there",
        |w| {
            w.aws.buckets.clear();
            w.aws.groups.clear();
            w.aws.keys.clear();
        },
        &[
            ("Fail SessionTargetNotFound", "bucket"),
            ("Fail SessionTargetNotFound", "log group"),
            ("Fail SessionTargetNotFound", "key"),
        ],
    );
    for (key, action) in [
        (FactKey::Bucket(BUCKET.into()), "s3:GetBucketLocation"),
        (FactKey::BucketEncryption(BUCKET.into()), "s3:GetEncryptionConfiguration"),
        (FactKey::LogGroup(GROUP.into()), "logs:DescribeLogGroups"),
        (FactKey::Key(KEY.into()), "kms:DescribeKey"),
    ] {
        target_row(
            "denied",
            |w| {
                w.lost.insert(key.clone(), true);
            },
            &[("Unknown FactUnreadable", &format!("allow {action} to the role of the AwsAccount"))],
        );
        target_row(
            "not yet read",
            |w| {
                w.lost.insert(key.clone(), false);
            },
            &[("Unknown FactUnreadable", &format!("{action} has not answered yet"))],
        );
        let mut world = World::with_targets();
        world.failed.insert(key);
        world.read();
        assert_eq!(world.judge().actions, [], "good as it was last read: not to write by");
    }
}

/// What AWS only had no time for needs nobody's permission; and what was read long ago says nothing.
#[test]
fn a_target_that_was_not_read_of_late_is_not_known() {
    let key = FactKey::Bucket(BUCKET.into());
    let mut world = World::with_targets();
    world.lost.insert(key.clone(), false);
    world.read();
    world.region.note(&key, Err(fault(Operation::GetBucketLocation, "SlowDown")), world.now);
    let verdict = world.judge();
    let (kind, message) = said(&verdict).into_iter().find(|(kind, _)| kind.starts_with(SESSIONS)).unwrap();
    assert_eq!(kind, format!("{SESSIONS} Unknown FactUnreadable"));
    assert!(message.starts_with("bucket session-logs cannot be looked at: s3:GetBucketLocation failed: SlowDown"));
    assert!(!message.contains("allow"), "{message}");
    assert_eq!(verdict.actions, []);
    // At its age class it is as good as new, and gone at three times that.
    for (hours, known) in [(1, true), (4, false)] {
        let mut world = World::with_targets();
        world.read();
        let old = std::mem::take(&mut world.region.buckets);
        world.now += SignedDuration::from_hours(hours);
        world.read();
        world.region.buckets = old;
        let verdict = world.judge();
        let unknown = Standing::Unknown;
        let seen = verdict.seen.targets.iter().find(|target| target.field == TargetField::Bucket).unwrap();
        assert_eq!(seen.standing != unknown, known, "{hours} hours");
        assert_eq!(verdict.actions.is_empty(), !known, "{hours} hours");
    }
}

#[test]
fn the_role_of_agents_must_be_allowed_to_use_what_sessions_are_logged_to() {
    let denied = "Fail SessionTargetDenied";
    let drifted = ("Fail PreferencesDrifted", "");
    for (action, resource) in [
        ("s3:PutObject", "arn:aws:s3:::session-logs/payments/session.log"),
        ("s3:GetEncryptionConfiguration", "arn:aws:s3:::session-logs"),
        ("logs:CreateLogStream", "arn:aws:logs:eu-west-1:111122223333:log-group:/ssm/sessions:log-stream:session"),
        ("logs:PutLogEvents", "arn:aws:logs:eu-west-1:111122223333:log-group:/ssm/sessions:log-stream:session"),
        ("logs:DescribeLogStreams", "arn:aws:logs:eu-west-1:111122223333:log-group:/ssm/sessions:log-stream:session"),
        ("logs:DescribeLogGroups", "arn:aws:logs:eu-west-1:111122223333:log-group::log-stream:"),
        ("kms:Decrypt", KEY),
    ] {
        let gist = format!("role host-role, whose policies do not allow {action} on {resource}: allow it there");
        target_row(
            "denied",
            |w| {
                w.aws.refused.insert(action);
            },
            &[(denied, &gist)],
        );
        // The setting names the role where the posture does not.
        target_row(
            "denied, by the setting",
            |w| {
                w.posture.host_management = None;
                w.aws.refused.insert(action);
            },
            &[(denied, &gist)],
        );
        target_row(
            "not told",
            |w| {
                w.aws.untold.insert(action);
            },
            &[("Warn PermissionsUnknown", action), drifted],
        );
        for (what, edit) in [
            ("off", (|w| w.posture.host_management = Some(HostManagement::Disabled)) as fn(&mut World)),
            ("not set", |w| {
                w.posture.host_management = None;
                w.aws.settings.insert(DHM, set("", "Default"));
            }),
            ("no such setting", |w| {
                w.posture.host_management = None;
                w.aws.settings.insert(DHM, None);
            }),
            ("names nobody", |w| {
                w.posture.host_management = None;
                w.hold(DHM, "$None");
            }),
        ] {
            target_row(
                what,
                |w| {
                    w.aws.refused.insert(action);
                    edit(w);
                },
                &[drifted],
            );
        }
    }
    target_row(
        "a bucket's own key",
        |w| {
            let (bucket, _) = w.aws.buckets[&BUCKET.into()].clone();
            let encryption = BucketEncryption { algorithm: Some("aws:kms".to_owned()), key: Some("1-2".to_owned()) };
            w.aws.buckets.insert(BUCKET.into(), (bucket, encryption));
            w.aws.refused.insert("kms:GenerateDataKey");
        },
        &[(denied, "kms:GenerateDataKey on arn:aws:kms:eu-west-1:111122223333:key/1-2")],
    );
    target_row(
        "waits for its AccountPosture",
        |w| w.posture.host_management = Some(HostManagement::Waiting("not there".to_owned())),
        &[("Fail DependencyNotReady", "cannot be told yet: not there")],
    );
    for (made, reason) in [(true, "Fail DependencyNotReady"), (false, "Fail RoleNotFound")] {
        target_row(
            "no role",
            |w| {
                w.posture.host_management = enabled(made);
                w.aws.roles.clear();
            },
            &[(reason, "has no role host-role")],
        );
        target_row(
            "no role, as IAM answers where it cannot be read",
            |w| {
                w.posture.host_management = enabled(made);
                w.aws.roles.clear();
                w.lost.insert(FactKey::Role(ROLE.into()), true);
            },
            &[(reason, "has no role host-role")],
        );
    }
    target_row(
        "the setting is not known",
        |w| {
            w.posture.host_management = None;
            w.lost.insert(FactKey::Setting(DHM), true);
        },
        &[("Unknown FactUnreadable", "ssm:GetServiceSetting")],
    );
}

#[test]
fn targets_are_written_with_the_preferences_and_seen() {
    let mut world = World::with_targets();
    world.settle();
    let written: serde_json::Value = serde_json::from_str(&world.text(1)).unwrap();
    let inputs = &written["inputs"];
    for (input, value) in [
        ("s3BucketName", json!(BUCKET)),
        ("s3KeyPrefix", json!("payments")),
        ("s3EncryptionEnabled", json!(true)),
        ("cloudWatchLogGroupName", json!(GROUP)),
        ("cloudWatchEncryptionEnabled", json!(true)),
        ("cloudWatchStreamingEnabled", json!(true)),
        ("kmsKeyId", json!(KEY)),
    ] {
        assert_eq!(inputs[input], value, "{input}");
    }
    // As declared, and then a target goes bad: said, and nothing is written.
    world.aws.keys.clear();
    world.aws.refused.insert("logs:PutLogEvents");
    world.read();
    let verdict = world.judge();
    assert_eq!(verdict.actions, []);
    let seen: Vec<(&str, &str, Standing)> =
        verdict.seen.targets.iter().map(|seen| (seen.field.name(), seen.name.as_str(), seen.standing)).collect();
    assert_eq!(
        seen,
        [
            ("cloudWatch", GROUP, Standing::NotUsable(Reason::SessionTargetDenied)),
            ("kmsKeyId", KEY, Standing::NotUsable(Reason::SessionTargetNotFound)),
            ("s3", BUCKET, Standing::Usable),
        ]
    );
    // What is not declared is kept: of the three, each by itself.
    for keeps in 0..3 {
        let mut world = World::with_targets();
        world.settle();
        let targets = &mut world.posture.session.as_mut().unwrap().targets;
        let other = "/inputs/idleSessionTimeout";
        match keeps {
            0 => targets.bucket = None,
            1 => targets.log_group = None,
            _ => targets.key = None,
        }
        world.read();
        assert_eq!(said(&world.judge()), [], "as it is: {keeps}");
        let before = world.text(1);
        let mut edited: serde_json::Value = serde_json::from_str(&before).unwrap();
        *edited.pointer_mut(other).unwrap() = json!("5");
        world.document(&[&edited.to_string()], 1, true);
        world.settle();
        assert_eq!(session::differing(&world.text(2), &before), [""; 0], "{keeps}");
    }
}

#[test]
fn only_what_can_be_asked_is_asked() {
    let mut world = World::with_targets();
    let wanted = |world: &mut World| {
        world.read();
        let view = world.view();
        let of_region = wanted_of_region(&world.posture, &view, &world.memory);
        (of_region, wanted_of_account(&world.posture, &view))
    };
    let (of_region, of_account) = wanted(&mut world);
    assert!(of_region.contains(&FactKey::BucketEncryption(BUCKET.into())));
    assert_eq!(of_account.iter().filter(|key| matches!(key, FactKey::RoleAnswer(..))).count(), 5);
    world.aws.buckets.get_mut(&BUCKET.into()).unwrap().0.region = None;
    let elsewhere: KeyId = KEY.replace("eu-west-1", "eu-west-2").into();
    world.posture.session.as_mut().unwrap().targets.key = Some(elsewhere.clone());
    let (of_region, _) = wanted(&mut world);
    assert!(!of_region.contains(&FactKey::BucketEncryption(BUCKET.into())));
    assert!(!of_region.contains(&FactKey::Key(elsewhere)));
    assert!(of_region.contains(&FactKey::LogGroup(GROUP.into())));
    world.posture.session.as_mut().unwrap().targets = Targets::default();
    world.posture.host_management = None;
    let (of_region, of_account) = wanted(&mut world);
    assert_eq!((of_region.len(), of_account.len()), (2, 0), "{of_region:?}");
}

// Any world.

/// Chooses by bytes, so that a smaller input is a simpler world.
struct Dice(Vec<u8>);

impl Dice {
    fn of(&mut self, sides: u8) -> u8 {
        self.0.pop().unwrap_or_default() % sides
    }

    fn flip(&mut self) -> bool {
        self.of(2) == 1
    }

    fn memory(&mut self, now: Option<&str>, wanted: &str) -> Option<KnobMemory> {
        let now = now.map(str::to_owned);
        let found = [Found::NotYet, Found::Unset, Found::Value("before".into())][usize::from(self.of(3))].clone();
        let (applied, applying) = match self.of(6) {
            0 => return None,
            1 => (now, None),
            2 => (None, now),
            3 => (Some(wanted.to_owned()), Some("third".to_owned())),
            4 => (None, Some(wanted.to_owned())),
            _ => (Some("third".to_owned()), None),
        };
        Some(KnobMemory { found, applied, applying })
    }

    fn world(&mut self) -> World {
        let mut world = World::new();
        world.posture.take_over = self.flip();
        world.posture.shell_allowed = self.flip();
        world.posture.deletion_policy =
            [RegionDeletion::Retain, RegionDeletion::RestorePrevious, RegionDeletion::Reset][usize::from(self.of(3))];
        for setting in Setting::ALL {
            let wanted = ["wanted", setting.default_value().unwrap_or("wanted")][usize::from(self.of(2))];
            match self.of(7) {
                0 | 1 => {}
                2 => drop(world.aws.settings.insert(setting, None)),
                3 => drop(world.aws.settings.insert(setting, set("", "Default"))),
                4 => world.hold(setting, "Wanted"),
                5 => drop(world.aws.settings.insert(setting, set("theirs", "Default"))),
                _ => world.hold(setting, ["theirs", "ghost", VALUE, "other"][usize::from(self.of(4))]),
            }
            let now = world.aws.settings[&setting].clone().and_then(|v| v.value);
            if let Some(memory) = self.memory(now.as_deref(), if setting == DHM { VALUE } else { wanted }) {
                world.memory.knobs.insert(Knob::Setting(setting), memory);
            }
            if setting != DHM && self.flip() {
                world.posture.settings.insert(setting, wanted.to_owned());
            }
        }
        world.posture.host_management = match self.of(5) {
            0 => None,
            1 => Some(HostManagement::Disabled),
            2 => Some(HostManagement::Waiting("not there".into())),
            n => enabled(n == 3),
        };
        world.aws.roles.insert("other".into(), Role { name: "other".into(), path: "/".into(), ..role() });
        match self.of(6) {
            0 => drop(world.aws.roles.remove(&ROLE.into())),
            1 => world.aws.roles.get_mut(&ROLE.into()).unwrap().path = "/".into(),
            2 => world.aws.roles.get_mut(&ROLE.into()).unwrap().trust = "{}".into(),
            3 => world.aws.roles.get_mut(&ROLE.into()).unwrap().policies.clear(),
            _ => {}
        }
        world.aws.metadata.by_declarative_policy = self.of(5) == 4;
        for field in MetadataField::ALL {
            if self.flip() {
                let value = ["wanted", "theirs"][usize::from(self.of(2))].to_owned();
                world.aws.metadata.values.insert(field, value);
            }
            let now = world.aws.metadata.values.get(&field).cloned();
            if let Some(memory) = self.memory(now.as_deref(), "wanted") {
                world.memory.knobs.insert(Knob::Metadata(field), memory);
            }
            if self.flip() {
                world.posture.metadata.insert(field, "wanted".into());
            }
        }
        self.session(&mut world);
        // What is no longer declared is another matter: see below.
        let left = super::leftovers::undeclared(&world.posture, &world.memory);
        world.memory.knobs.retain(|knob, kept| {
            !left.knobs.contains_key(knob) && (kept.found != Found::NotYet || world.posture.declares(*knob))
        });
        if world.posture.session.is_none() {
            world.memory.document = Found::NotYet;
        }
        world
    }

    fn session(&mut self, world: &mut World) {
        let wish = SessionPreferences { run_as: (self.of(4) == 3).then(String::new), ..wish() };
        let contents = [content(&wish), but("/inputs/idleSessionTimeout", json!("5")), same_in_other_words()];
        if self.flip() {
            let count = 1 + usize::from(self.of(3));
            let texts: Vec<&str> = (0..count).map(|_| contents[usize::from(self.of(3))].as_str()).collect();
            let (default, ours) = (1 + usize::from(self.of(3)) % count, self.flip());
            world.document(&texts, default, ours);
            for version in 1..=count {
                let all = [DocumentStatus::Creating, DocumentStatus::Failed, DocumentStatus::Unknown("x".into())];
                if let Some(status) = all.get(usize::from(self.of(12))) {
                    world.status(version, status.clone());
                }
            }
        }
        world.memory.document =
            [Found::NotYet, Found::Unset, Found::Value("1".into())][usize::from(self.of(3))].clone();
        world.posture.session = self.flip().then_some(wish);
        self.targets(world);
    }

    /// Sessions are logged, to what may be of no use.
    fn targets(&mut self, world: &mut World) {
        let Some(wish) = &mut world.posture.session else { return };
        let mut targets = all_targets();
        targets.bucket = targets.bucket.filter(|_| self.of(3) == 2);
        targets.log_group = targets.log_group.filter(|_| self.of(3) == 2);
        targets.key = targets.key.filter(|_| self.of(3) == 2);
        if self.of(4) == 3 {
            targets.bucket.iter_mut().for_each(|wish| wish.encrypted = false);
            targets.log_group.iter_mut().for_each(|wish| wish.encrypted = false);
        }
        wish.targets = targets;
        world.aws = std::mem::take(&mut world.aws).targets();
        let aws = &mut world.aws;
        let (bucket, encryption) = aws.buckets.get_mut(&BUCKET.into()).unwrap();
        match self.of(8) {
            1 => aws.buckets.clear(),
            2 => bucket.region = None,
            3 => encryption.algorithm = None,
            4 => *encryption = BucketEncryption { algorithm: Some("aws:kms".to_owned()), key: Some(KEY.to_owned()) },
            5 => encryption.algorithm = Some("aws:kms:dsse".to_owned()),
            _ => {}
        }
        match self.of(6) {
            1 => aws.groups.clear(),
            2 => aws.groups.get_mut(&GROUP.into()).unwrap().kms_key = None,
            _ => {}
        }
        match self.of(6) {
            1 => aws.keys.clear(),
            2 => aws.keys.get_mut(&KEY.into()).unwrap().state = "Disabled".to_owned(),
            3 => aws.keys.get_mut(&KEY.into()).unwrap().usage = "SIGN_VERIFY".to_owned(),
            _ => {}
        }
        for action in ["s3:PutObject", "s3:GetEncryptionConfiguration", "logs:PutLogEvents", "kms:Decrypt"] {
            match self.of(16) {
                1 => drop(aws.refused.insert(action)),
                2 => drop(aws.untold.insert(action)),
                _ => {}
            }
        }
    }

    /// Some facts are not known.
    fn darken(&mut self, world: &mut World) {
        let settings = Setting::ALL.map(FactKey::Setting);
        let roles = [ROLE, "ghost", "other"].map(|role| FactKey::Role(role.into()));
        let rest = [
            FactKey::MetadataDefaults,
            FactKey::InstanceMetadata,
            FactKey::SessionDocumentInfo,
            FactKey::SessionDocument(DocumentVersion::Default),
            FactKey::SessionDocument(DocumentVersion::Latest),
            FactKey::Bucket(BUCKET.into()),
            FactKey::BucketEncryption(BUCKET.into()),
            FactKey::LogGroup(GROUP.into()),
            FactKey::Key(KEY.into()),
        ];
        for key in settings.into_iter().chain(roles).chain(rest) {
            match self.of(6) {
                3 => drop(world.lost.insert(key, true)),
                4 => drop(world.lost.insert(key, false)),
                5 => drop(world.failed.insert(key)),
                _ => {}
            }
        }
    }
}

fn dice() -> impl Strategy<Value = Dice> {
    proptest::collection::vec(any::<u8>(), 160..190).prop_map(Dice)
}

impl std::fmt::Debug for Dice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// In events, which are all that tells what a value was before.
#[test]
fn a_change_is_told_from_what_to_what() {
    let known = |value: Option<&str>| SeenKnob { value: value.map(str::to_owned), ..SeenKnob::default() };
    let seen = RegionSeen {
        knobs: [
            (Knob::Setting(DHM), known(Some("old-role"))),
            (Knob::Setting(Setting::ActivationTier), known(None)),
            (Knob::Metadata(MetadataField::HttpTokens), known(Some("optional"))),
        ]
        .into(),
        ..RegionSeen::default()
    };
    let set = |setting, value: &str| Write::UpdateSetting { setting, value: value.to_owned() };
    let metadata = [(MetadataField::HttpTokens, "required".to_owned()), (MetadataField::HopLimit, "2".to_owned())];
    for (write, told) in [
        (set(DHM, VALUE), "hostManagement: from old-role to service-role/host-role"),
        (set(Setting::ActivationTier, "advanced"), "serviceSettings.activationTier: from unset to advanced"),
        (set(Setting::OpsCenter, "Enabled"), "serviceSettings.opsCenter: from unset to Enabled"),
        (Write::ResetSetting { setting: DHM }, "hostManagement: from old-role to AWS's default"),
        (
            Write::ModifyMetadataDefaults { values: metadata.into() },
            "instanceMetadataDefaults.httpTokens: from optional to required; instanceMetadataDefaults.hopLimit: from unset to 2",
        ),
    ] {
        assert_eq!(describe(&write, &seen), told);
    }
    let other = Write::Document(DocumentChange::Delete);
    assert_eq!(describe(&other, &seen), other.to_string());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_world_nothing_is_written_that_may_not_be(mut dice in dice()) {
        let mut world = dice.world();
        dice.darken(&mut world);
        world.read();
        let verdict = world.judge();
        // What cannot be read is neither good nor bad.
        for (setting, wanted) in &world.posture.settings {
            if world.lost.contains_key(&FactKey::Setting(*setting)) {
                let field = Knob::Setting(*setting).field();
                prop_assert!(!verdict.checks.iter().any(|c| c.message.contains(field)), "{} {}", wanted, field);
            }
        }
        world.farewell();
    }

    #[test]
    fn in_any_world_work_comes_to_an_end(mut dice in dice()) {
        let mut world = dice.world();
        let versions = |world: &World| world.aws.document.as_ref().map_or(0, |d| d.versions.len());
        let before = versions(&world);
        world.settle();
        prop_assert!(versions(&world) <= before + 1, "no loop of versions");
        world.read();
        let verdict = world.judge();
        prop_assert_eq!(&verdict.actions, &[]);
        for check in &verdict.checks {
            let work = matches!(check.reason, Reason::SettingDrifted | Reason::PreferencesDrifted);
            prop_assert!(!work, "{:?}", check);
            prop_assert!(check.reason != Reason::Foreign || !world.posture.take_over, "{:?}", check);
        }
        // Noted once, kept for ever; and nothing is left half noted where it was read back.
        let again = note_ahead(&verdict);
        prop_assert_eq!(&again, &world.memory);
    }

    #[test]
    fn in_any_world_found_is_kept_once_noted(mut dice in dice()) {
        let mut world = dice.world();
        let before = world.memory.clone();
        world.settle();
        for (knob, kept) in &before.knobs {
            if kept.found != Found::NotYet {
                prop_assert_eq!(&world.memory.knobs[knob].found, &kept.found);
            }
        }
        if before.document != Found::NotYet {
            prop_assert_eq!(&world.memory.document, &before.document);
        }
    }

    #[test]
    fn in_any_world_what_is_no_longer_declared_goes_the_way_of_a_deletion(mut dice in dice()) {
        let mut world = dice.world();
        world.settle();
        let kept = world.memory.clone();
        let policy = world.posture.deletion_policy;
        let before = world.aws.clone();
        world.posture = RegionPosture {
            host_management: None,
            settings: BTreeMap::new(),
            metadata: BTreeMap::new(),
            session: None,
            audit: None,
            ..world.posture.clone()
        };
        world.settle();
        let mut deleted = World { aws: before.clone(), memory: kept, ..world.clone() };
        deleted.leave();
        if policy == RegionDeletion::Retain {
            prop_assert_eq!(&world.aws.settings, &before.settings);
            prop_assert_eq!(&world.aws.metadata, &before.metadata);
        }
        prop_assert_eq!(&world.aws.settings, &deleted.aws.settings);
        prop_assert_eq!(&world.aws.metadata, &deleted.aws.metadata);
        prop_assert_eq!(world.memory.knobs.len(), 0, "forgotten when it is done");
        prop_assert_eq!(&world.memory.document, &Found::NotYet);
    }

    #[test]
    fn in_any_world_leaving_comes_to_an_end(mut dice in dice(), lived in any::<bool>()) {
        let mut world = dice.world();
        if lived {
            world.settle();
        }
        let before = world.aws.clone();
        world.leave();
        let ours = |knob: &Knob, value: &str| world.memory.knobs[knob].is_ours(*knob, value);
        for (knob, kept) in &world.memory.knobs {
            let value = |aws: &Aws| match knob {
                Knob::Setting(setting) => aws.settings[setting].clone().and_then(|v| v.value),
                Knob::Metadata(field) => aws.metadata.values.get(field).cloned(),
            };
            let (was, is) = (value(&before), value(&world.aws));
            let declared = matches!(knob, Knob::Metadata(_)) && before.metadata.by_declarative_policy;
            if declared || kept.found == Found::NotYet || world.posture.deletion_policy == RegionDeletion::Retain {
                prop_assert_eq!(was, is);
                continue;
            }
            if was.as_deref().is_some_and(|was| ours(knob, was)) {
                let at_default = matches!(knob, Knob::Setting(s) if knobs::is_default(*s, before.settings[s].as_ref().unwrap()));
                let back = match (&kept.found, world.posture.deletion_policy) {
                    (Found::Value(value), RegionDeletion::RestorePrevious) => Some(value.clone()),
                    _ if at_default => was.clone(),
                    _ => match knob {
                        Knob::Setting(setting) => setting.default_value().map(str::to_owned),
                        Knob::Metadata(_) => None,
                    },
                };
                prop_assert_eq!(is, back, "{:?} {:?}", knob, kept);
            }
        }
        if world.posture.session.is_some() || world.memory.document != Found::NotYet {
            prop_assert!(!world.aws.document.as_ref().is_some_and(|d| world.posture.owner.owns(&d.tags)));
        }
    }
}
