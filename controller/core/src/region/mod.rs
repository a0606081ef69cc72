//! One account and region: Default Host Management, service settings, metadata defaults, session preferences, session
//! audit.
//!
//! Settings carry no tags. What status remembers tells whose a value is: the value that was there first, the one that we
//! set, and, noted before the call, the one that we are about to set. A crash at any point loses none of them.

mod audit;
mod farewell;
mod host;
mod knobs;
mod leftovers;
mod session;
mod targets;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    calls::AgeClass,
    evaluate::{Facet, Verdict},
    facts::settings::{
        DocumentVersion, MetadataDefaults, MetadataField, SessionDocument, SessionDocumentInfo, Setting, SettingValue,
    },
    facts::{
        Instance, Tags,
        audit::{AuditRule, Topic, Trail},
        iam::Role,
    },
    ids::{AccountId, Region, RoleName},
    posture::{Mode, Owner},
    reason::Reason,
    snapshot::{Entry, FactKey, Reading, Snapshot},
    write::Write,
};

pub use audit::{SeenAudit, SessionAudit, pattern};
pub use farewell::farewell;
pub(crate) use host::name_in;
pub use host::{HOST_MANAGEMENT_POLICY, HOST_MANAGEMENT_SERVICE, aws_policy};
pub use session::{SessionPreferences, content};
pub use targets::{BucketTarget, LogGroupTarget, SeenTarget, Standing, TargetField, Targets};

/// A value that an account and region has once, and that carries no tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Knob {
    /// A service setting.
    Setting(Setting),
    /// A metadata default.
    Metadata(MetadataField),
}

impl Knob {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Setting::ALL.into_iter().map(Self::Setting).chain(MetadataField::ALL.into_iter().map(Self::Metadata))
    }

    /// The field of the spec that it belongs to, which is its name in status.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Setting(Setting::HostManagementRole) => "hostManagement",
            Self::Setting(Setting::ActivationTier) => "serviceSettings.activationTier",
            Self::Setting(Setting::ParameterTier) => "serviceSettings.parameterTier",
            Self::Setting(Setting::ParameterHighThroughput) => "serviceSettings.parameterHighThroughput",
            Self::Setting(Setting::PublicDocumentSharing) => "serviceSettings.publicDocumentSharing",
            Self::Setting(Setting::AppManager) => "serviceSettings.appManager",
            Self::Setting(Setting::OpsCenter) => "serviceSettings.opsCenter",
            Self::Setting(Setting::AutomationLogDestination) => "serviceSettings.automationLogDestination",
            Self::Setting(Setting::AutomationLogGroup) => "serviceSettings.automationLogGroup",
            Self::Setting(Setting::AutomationAdaptiveConcurrency) => "serviceSettings.automationAdaptiveConcurrency",
            Self::Metadata(MetadataField::HttpTokens) => "instanceMetadataDefaults.httpTokens",
            Self::Metadata(MetadataField::HopLimit) => "instanceMetadataDefaults.hopLimit",
            Self::Metadata(MetadataField::HttpEndpoint) => "instanceMetadataDefaults.httpEndpoint",
            Self::Metadata(MetadataField::InstanceMetadataTags) => "instanceMetadataDefaults.instanceMetadataTags",
            Self::Metadata(MetadataField::HttpTokensEnforced) => "instanceMetadataDefaults.httpTokensEnforced",
        }
    }

    /// The one that a field of the spec, or an entry of status, is about.
    #[must_use]
    pub fn parse(field: &str) -> Option<Self> {
        Self::all().find(|knob| knob.field() == field)
    }

    fn facet(self) -> Facet {
        match self {
            Self::Setting(Setting::HostManagementRole) => Facet::HostManagement,
            Self::Setting(_) => Facet::ServiceSettings,
            Self::Metadata(_) => Facet::MetadataDefaults,
        }
    }

    /// Names and log groups are what they are; words are the same in any case.
    fn equal(self, one: &str, other: &str) -> bool {
        match self {
            Self::Setting(Setting::HostManagementRole | Setting::AutomationLogGroup) => one == other,
            Self::Setting(_) | Self::Metadata(_) => one.eq_ignore_ascii_case(other),
        }
    }
}

/// What is wanted of Default Host Management.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostManagement {
    /// Off.
    Disabled,
    /// On, with a role of an AccountPosture that is not ready; why not.
    Waiting(String),
    /// On, with this role.
    Enabled {
        /// The role's name.
        role: RoleName,
        /// The role's path: begins and ends with a slash.
        path: String,
        /// Whether an AccountPosture makes it, so that what is wrong with it is about to be put right.
        made: bool,
    },
}

/// What becomes of the values when the object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionDeletion {
    /// They stay.
    Retain,
    /// Those found first are set again.
    RestorePrevious,
    /// AWS's defaults are set.
    Reset,
}

/// A validated `RegionPosture`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionPosture {
    /// Who owns what is made.
    pub owner: Owner,
    /// The account.
    pub account: AccountId,
    /// The partition, such as `aws-cn`.
    pub partition: String,
    /// The region.
    pub region: Region,
    /// The effective mode.
    pub mode: Mode,
    /// How often AWS is looked at.
    pub interval: Duration,
    /// Whether other people's values are replaced.
    pub take_over: bool,
    /// What becomes of the values.
    pub deletion_policy: RegionDeletion,
    /// Default Host Management; none: left alone.
    pub host_management: Option<HostManagement>,
    /// Other service settings, as AWS spells their values.
    pub settings: BTreeMap<Setting, String>,
    /// Metadata defaults, as AWS spells their values.
    pub metadata: BTreeMap<MetadataField, String>,
    /// Session Manager preferences; none: left alone.
    pub session: Option<SessionPreferences>,
    /// Session audit; none: left alone.
    pub audit: Option<SessionAudit>,
    /// Whether the guardrails allow what runs on nodes: shell profiles and run-as.
    pub shell_allowed: bool,
}

/// What was there before ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Found {
    /// We have written nothing yet.
    #[default]
    NotYet,
    /// Nothing was set.
    Unset,
    /// This.
    Value(String),
}

/// What status remembers of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnobMemory {
    /// What was there before ours.
    pub found: Found,
    /// What we set, and read back.
    pub applied: Option<String>,
    /// What we are about to set, or have set and not read back.
    pub applying: Option<String>,
}

impl KnobMemory {
    fn is_ours(&self, knob: Knob, current: &str) -> bool {
        [&self.applied, &self.applying].into_iter().flatten().any(|ours| knob.equal(ours, current))
    }
}

/// What status remembers of a region.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegionMemory {
    /// By value.
    pub knobs: BTreeMap<Knob, KnobMemory>,
    /// The version of the session document that was used before ours.
    pub document: Found,
    /// Whether the document was noted before it was made, and never seen.
    pub document_unseen: bool,
    /// The ARN of the rule that reports sessions, where there was one before ours.
    pub rule: Found,
    /// Whether the rule was noted before it was made, and never seen.
    pub rule_unseen: bool,
    /// What was noted and never seen may have been made or set: only what is read from then on can say that it was not.
    pub doubt_until: Option<Timestamp>,
}

/// A value as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenKnob {
    /// The value; none where nothing is set.
    pub value: Option<String>,
    /// Whether it is AWS's default.
    pub at_default: bool,
    /// Who changed it last, where AWS says it.
    pub modified_by: Option<String>,
    /// When, where AWS says it.
    pub modified_at: Option<Timestamp>,
}

/// The session document as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenDocument {
    /// The version that is used.
    pub default_version: Option<String>,
    /// The newest version.
    pub latest_version: Option<String>,
    /// Whether it carries our tags, where that is known.
    pub ours: Option<bool>,
}

/// Metadata options of the region.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenMetadata {
    /// Whether a declarative policy sets the defaults.
    pub by_declarative_policy: bool,
    /// What the organisation says to those who try.
    pub exception_message: Option<String>,
    /// Instances that still answer without a token, where known.
    pub imds_v1_allowed: Option<usize>,
    /// Instances that do not answer at all, where known.
    pub metadata_disabled: Option<usize>,
}

/// What was seen of a region, for status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegionSeen {
    /// Values that are declared.
    pub knobs: BTreeMap<Knob, SeenKnob>,
    /// The session document.
    pub document: Option<SeenDocument>,
    /// What sessions are to be logged to and encrypted with.
    pub targets: Vec<SeenTarget>,
    /// Metadata options.
    pub metadata: Option<SeenMetadata>,
    /// Session audit.
    pub audit: Option<SeenAudit>,
    /// What status is to remember, as far as what was seen tells.
    pub memory: RegionMemory,
    /// What was set, is no longer declared, and stays.
    pub left: Vec<String>,
}

/// The facts that a region is judged by.
#[derive(Debug, Clone, Copy)]
pub struct RegionView<'a> {
    /// Those of the region.
    pub region: &'a Snapshot,
    /// Those of the account.
    pub account: &'a Snapshot,
    /// The interval by which the region's facts age.
    pub interval: Duration,
    /// The interval by which the account's facts age.
    pub account_interval: Duration,
    /// Now.
    pub now: Timestamp,
}

pub(crate) fn reading<T>(
    entry: Option<&Entry<T>>,
    class: AgeClass,
    interval: Duration,
    now: Timestamp,
) -> Reading<'_, T> {
    entry.map_or(Reading::Unknown(None), |entry| entry.reading(class.limit(interval), now))
}

impl<'a> RegionView<'a> {
    fn of<T>(&self, entry: Option<&'a Entry<T>>, class: AgeClass) -> Reading<'a, T> {
        reading(entry, class, self.interval, self.now)
    }

    pub(crate) fn setting(&self, setting: Setting) -> Reading<'a, Option<SettingValue>> {
        self.of(self.region.settings.get(&setting), AgeClass::Fast)
    }

    fn document(&self, version: DocumentVersion) -> Reading<'a, Option<SessionDocument>> {
        self.of(self.region.session_documents.get(&version), AgeClass::Fast)
    }

    fn document_info(&self) -> Reading<'a, Option<SessionDocumentInfo>> {
        self.of(Some(&self.region.session_document_info), AgeClass::Slow)
    }

    fn metadata(&self) -> Reading<'a, MetadataDefaults> {
        self.of(Some(&self.region.metadata_defaults), AgeClass::Fast)
    }

    fn audit_rule(&self) -> Reading<'a, Option<AuditRule>> {
        self.of(Some(&self.region.audit_rule), AgeClass::Slow)
    }

    fn trails(&self) -> Reading<'a, Vec<Trail>> {
        self.of(Some(&self.region.trails), AgeClass::Slow)
    }

    fn topic(&self, topic: &str) -> Reading<'a, Option<Topic>> {
        self.of(self.region.topics.get(topic), AgeClass::Slow)
    }

    fn instances(&self) -> Reading<'a, Vec<Instance>> {
        self.of(Some(&self.region.instance_metadata), AgeClass::Slow)
    }

    pub(crate) fn role(&self, role: &RoleName) -> Reading<'a, Option<Role>> {
        reading(self.account.roles.get(role), AgeClass::Iam, self.account_interval, self.now)
    }
}

/// Everything that a judgement rests on.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    posture: &'a RegionPosture,
    view: &'a RegionView<'a>,
    memory: &'a RegionMemory,
}

/// The facts that the region's place has to know.
#[must_use]
pub fn wanted_of_region(posture: &RegionPosture, view: &RegionView<'_>, memory: &RegionMemory) -> BTreeSet<FactKey> {
    let mut facts: BTreeSet<FactKey> = posture.settings.keys().map(|setting| FactKey::Setting(*setting)).collect();
    if posture.host_management.is_some() {
        facts.insert(FactKey::Setting(Setting::HostManagementRole));
    }
    if !posture.metadata.is_empty() {
        facts.extend([FactKey::MetadataDefaults, FactKey::InstanceMetadata]);
    }
    if posture.session.is_some() {
        facts.extend([FactKey::SessionDocument(DocumentVersion::Default), FactKey::SessionDocumentInfo]);
        if session::needs_latest(Case { posture, view, memory }) {
            facts.insert(FactKey::SessionDocument(DocumentVersion::Latest));
        }
    }
    facts.extend(targets::wanted_of_region(posture, view));
    facts.extend(audit::wanted(posture));
    facts.extend(wanted_to_leave(&leftovers::bare(posture), &leftovers::undeclared(posture, memory)));
    facts
}

/// The facts that an object that is being deleted needs of its region: of all that it ever set.
#[must_use]
pub fn wanted_to_leave(posture: &RegionPosture, memory: &RegionMemory) -> BTreeSet<FactKey> {
    let mut facts: BTreeSet<FactKey> = memory
        .knobs
        .keys()
        .map(|knob| match knob {
            Knob::Setting(setting) => FactKey::Setting(*setting),
            Knob::Metadata(_) => FactKey::MetadataDefaults,
        })
        .collect();
    if posture.session.is_some() || memory.document != Found::NotYet {
        facts.extend([FactKey::SessionDocument(DocumentVersion::Default), FactKey::SessionDocumentInfo]);
    }
    if posture.audit.is_some() || memory.rule != Found::NotYet {
        facts.insert(FactKey::AuditRule);
    }
    facts
}

/// The facts that the account's place has to know.
#[must_use]
pub fn wanted_of_account(posture: &RegionPosture, view: &RegionView<'_>) -> BTreeSet<FactKey> {
    let mut facts: BTreeSet<FactKey> = host::roles(posture, view).into_iter().map(FactKey::Role).collect();
    facts.extend(targets::wanted_of_account(posture, view));
    facts
}

/// Judges a region.
#[must_use]
pub fn evaluate(posture: &RegionPosture, view: &RegionView<'_>, memory: &RegionMemory) -> Verdict<RegionSeen> {
    let mut verdict =
        Verdict { seen: RegionSeen { memory: memory.clone(), ..RegionSeen::default() }, ..Verdict::default() };
    verdict.pass(Facet::Account, format!("{} of account {}", posture.region, posture.account));
    let case = Case { posture, view, memory };
    host::judge(case, &mut verdict);
    knobs::settings(case, &mut verdict);
    knobs::metadata(case, &mut verdict);
    session::judge(case, &mut verdict);
    audit::judge(case, &mut verdict);
    leftovers::judge(case, &mut verdict);
    verdict
}

/// What status has to remember before the actions of a verdict are carried out.
#[must_use]
pub fn note_ahead(verdict: &Verdict<RegionSeen>) -> RegionMemory {
    let mut memory = verdict.seen.memory.clone();
    for action in &verdict.actions {
        knobs::note_ahead(&action.write, &verdict.seen, &mut memory);
        session::note_ahead(&action.write, &verdict.seen, &mut memory);
        audit::note_ahead(&action.write, &verdict.seen, &mut memory);
    }
    memory
}

/// What a write changes, from what to what.
#[must_use]
pub fn describe(write: &Write, seen: &RegionSeen) -> String {
    let from = |knob: Knob, to: &str| {
        let before = seen.knobs.get(&knob).and_then(|seen| seen.value.as_deref()).unwrap_or("unset");
        format!("{}: from {before} to {to}", knob.field())
    };
    match write {
        Write::UpdateSetting { setting, value } => from(Knob::Setting(*setting), value),
        Write::ResetSetting { setting } => from(Knob::Setting(*setting), "AWS's default"),
        Write::ModifyMetadataDefaults { values } => {
            let all = values.iter().map(|(field, value)| from(Knob::Metadata(*field), value));
            all.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// Whether tags make the document, or the rule, this object's.
fn ours(posture: &RegionPosture, tags: &Tags) -> bool {
    posture.owner.owns(tags)
}

/// A check that waits for a person or, where an AccountPosture makes the role, for that.
fn waits_for_role(verdict: &mut Verdict<RegionSeen>, made: bool, unfit: host::Unfit) {
    let host::Unfit { reason, what, advice } = unfit;
    if made {
        let message = format!("{what}; it waits for the AccountPosture that makes the role");
        verdict.fail(Facet::HostManagement, Reason::DependencyNotReady, message);
    } else {
        verdict.fail(Facet::HostManagement, reason, format!("{what}: {advice}"));
    }
}
