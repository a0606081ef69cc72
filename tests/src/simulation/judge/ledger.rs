//! Who did what to settings, the session document, session audit, roles and profiles: an account of its own, kept from AWS's journal
//! and never from what the controller says, and the rules that each write is held to.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use ssm_ready_cloud::sim::{Actor, Entry, ThingKind, World as Aws};
use ssm_ready_core::{
    facts::{
        Tags,
        settings::{MetadataField, SESSION_DOCUMENT, Setting},
    },
    ids::{AccountId, Region},
    posture::{CLUSTER_TAG, OWNER_TAG},
    region::Knob,
    write::{DocumentChange, ProfileChange, RoleChange, RuleChange, Write},
};

use super::{
    super::{others::Thing, stage::Stage},
    FACTS, PASS,
    postures::{Declared, Host, Posture, metadata, postures, reports_sessions},
};

/// How old what is known of IAM may be, with a pass.
pub const IAM_FACTS: SignedDuration = SignedDuration::from_mins(33);
/// How old the tags of the session document, and what is known of session audit, may be, with a pass.
const TAGS: SignedDuration = SignedDuration::from_mins(63);

/// An account and region.
pub type Place = (AccountId, Region);

/// A role, as all writes so far have made it.
#[derive(Debug, Clone, Default)]
pub struct RoleBook {
    /// Whether it is there.
    pub there: bool,
    /// Its path.
    pub path: String,
    /// Its trust policy.
    pub trust: String,
    /// Its managed policies.
    pub policies: BTreeSet<String>,
    /// Those that the controller attached and nobody detached since.
    pub by_us: BTreeSet<String>,
    /// When others last did something to it.
    others_at: Option<Timestamp>,
    /// When it was made.
    made_at: Option<Timestamp>,
    /// When something that it needs was last taken from it.
    worse_at: Option<Timestamp>,
}

/// A value, since there is an object that declares it.
#[derive(Debug, Clone, Default)]
pub struct KnobBook {
    /// What the controller set it to, the last two times; none: unset.
    written: Vec<Option<String>>,
    /// What it tried to set it to since.
    tried: Vec<Option<String>>,
    /// What it may have found first.
    firsts: BTreeSet<Option<String>>,
    /// Whether it was declared no longer since the last write.
    dropped: bool,
    /// When others last changed it.
    others_at: Option<Timestamp>,
    /// Whether the last change was the controller's.
    ours_last: bool,
    /// Whether the region did without the setting since, so that nothing could be seen of it.
    out_of_reach: bool,
    /// Whether it was declared no longer while what is set was to stay: then it is nobody's.
    released: bool,
}

impl KnobBook {
    fn is_ours(&self, value: &Option<String>) -> bool {
        self.written.iter().chain(&self.tried).any(|ours| ours == value)
    }

    /// Whether the controller has set it, and nobody since.
    #[must_use]
    pub fn was_written_by_us(&self) -> bool {
        !self.written.is_empty() && self.ours_last && !self.out_of_reach && !self.released
    }
}

/// The session document, since there is an object that declares it.
#[derive(Debug, Clone, Default)]
pub struct DocumentBook {
    /// Versions that the controller made.
    updates: usize,
    /// Reasons that there were for one.
    reasons: usize,
    /// The contents that it may have found first.
    firsts: BTreeSet<Option<String>>,
    /// Whether the controller has written.
    written: bool,
    dropped: bool,
    others_at: Option<Timestamp>,
    ours_last: bool,
    /// Whether others deleted it since the controller wrote.
    lost: bool,
}

/// Session audit, since there is an object that declares it.
#[derive(Debug, Clone, Default)]
pub struct AuditBook {
    /// When others last did something to the rule.
    others_at: Option<Timestamp>,
    /// When others last did something to a topic.
    topics_at: Option<Timestamp>,
    /// Whether the rule that is there was there before the controller wrote.
    found: bool,
    /// Whether the controller has written.
    written: bool,
}

/// Everything that was done.
#[derive(Debug, Default)]
pub struct Ledger {
    cluster: String,
    roles: BTreeMap<(AccountId, String), RoleBook>,
    profiles: BTreeMap<(AccountId, String), Timestamp>,
    knobs: BTreeMap<(Place, Knob), KnobBook>,
    documents: BTreeMap<Place, DocumentBook>,
    /// What sessions may be logged to or encrypted with and is of no use, since when, and whether whatever is asked of it.
    spoilt: BTreeMap<(Place, String), (Timestamp, bool)>,
    audits: BTreeMap<Place, AuditBook>,
    /// The postures as they were at the last look, and as they were until when before that.
    now: Vec<Posture>,
    past: Vec<(Timestamp, Posture)>,
    /// Places that two postures wanted at once, so that whose memory is whose cannot be told.
    contested: BTreeSet<Place>,
    contested_accounts: BTreeSet<AccountId>,
    /// When the specs, grants or guardrails of an account last changed.
    permits: BTreeMap<AccountId, Timestamp>,
    /// Owners whose tags may stay: what was abandoned, or let go while nothing could be written.
    pub may_leave: BTreeSet<String>,
    /// Owners that there have been.
    owners: BTreeSet<String>,
}

fn within(then: Option<Timestamp>, at: Timestamp, span: SignedDuration) -> bool {
    then.is_some_and(|then| at.duration_since(then) < span)
}

/// The value that AWS has where nobody set one, as far as it is documented.
#[must_use]
pub fn is_default(knob: Knob, value: &str) -> bool {
    let default = match knob {
        Knob::Setting(Setting::ActivationTier | Setting::ParameterTier) => "standard",
        Knob::Setting(Setting::ParameterHighThroughput) => "false",
        Knob::Setting(Setting::PublicDocumentSharing) => "enable",
        _ => return false,
    };
    value.eq_ignore_ascii_case(default)
}

/// A value, none where it is AWS's default.
fn set(knob: Knob, value: Option<String>) -> Option<String> {
    value.filter(|value| !is_default(knob, value))
}

/// The truth about a value.
#[must_use]
pub fn truth(aws: &Aws, place: &Place, knob: Knob) -> Option<String> {
    let state = aws.region(&place.0, &place.1)?;
    let value = match knob {
        Knob::Setting(setting) => state.setting_value(setting).map(str::to_owned),
        Knob::Metadata(field) => state.metadata().values.get(&field).cloned(),
    };
    set(knob, value)
}

/// Whether a trust policy lets a service take the role on.
#[must_use]
pub fn trusts(trust: &str, service: &str) -> bool {
    let document: Value = serde_json::from_str(trust).unwrap_or_default();
    document["Statement"].as_array().into_iter().flatten().any(|statement| {
        statement["Effect"] == "Allow"
            && statement["Condition"].is_null()
            && (statement["Principal"]["Service"] == service
                || statement["Principal"]["Service"].as_array().is_some_and(|all| all.iter().any(|s| s == service)))
    })
}

impl Ledger {
    /// Of the controller of a cluster.
    #[must_use]
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), ..Self::default() }
    }

    /// Specs, grants or guardrails of an account change now.
    pub fn permits_otherwise(&mut self, account: &AccountId, now: Timestamp) {
        self.permits.insert(account.clone(), now);
    }

    /// Whether tags say that a thing is this cluster's, of an object that there has been.
    #[must_use]
    pub fn is_ours(&self, tags: &Tags) -> bool {
        tags.get(CLUSTER_TAG) == Some(&self.cluster) && tags.get(OWNER_TAG).is_some_and(|o| self.owners.contains(o))
    }

    /// What was done to a value.
    #[must_use]
    pub fn knob(&self, place: &Place, knob: Knob) -> Option<&KnobBook> {
        self.knobs.get(&(place.clone(), knob))
    }

    /// Whether the controller set a value to what it is.
    #[must_use]
    pub fn set_by_us(&self, place: &Place, knob: Knob, value: &Option<String>) -> bool {
        self.knob(place, knob).is_some_and(|book| book.is_ours(value))
    }

    /// Whether a value may have been let go, so that nobody need know it again.
    #[must_use]
    pub fn is_released(&self, place: &Place, knob: Knob) -> bool {
        self.knob(place, knob).is_some_and(|book| book.released)
    }

    /// Whether two objects have wanted the region at once.
    #[must_use]
    pub fn is_contested(&self, place: &Place) -> bool {
        self.contested.contains(place)
    }

    /// Takes note of the postures as they are now.
    ///
    /// # Errors
    /// An object that is not one; and one that has gone and left something as it must not be.
    pub fn learn(&mut self, stage: &Stage) -> Result<()> {
        let now = stage.time.now();
        let postures = postures(&stage.kubernetes)?;
        self.past.retain(|(until, _)| now.duration_since(*until) < PASS);
        let before = std::mem::take(&mut self.now);
        for old in &before {
            let new = postures.iter().find(|new| new.id == old.id && new.born == old.born);
            if new != Some(old) {
                self.past.push((now, old.clone()));
            }
            if new.is_none() {
                self.gone(stage, old, &postures).with_context(|| format!("{:?} is gone", old.id))?;
            }
        }
        for new in &postures {
            self.owners.insert(new.owner());
            if new.abandoned || (new.leaving && !new.works()) {
                self.may_leave.insert(new.owner());
            }
            let changed = !before.contains(new);
            let place = new.region.clone().map(|region| (new.account.clone(), region));
            if let Some(place) = &place
                && !before.iter().any(|old| old.is_of(&place.0, &place.1))
            {
                // What was there before is what it finds.
                self.knobs.retain(|(of, _), _| of != place);
                self.documents.remove(place);
                self.audits.remove(place);
            }
            if let (true, Some(place)) = (changed, &place) {
                self.documents.entry(place.clone()).or_default().reasons += 1;
            }
            let rival = |other: &&Posture| other.id != new.id && other.account == new.account;
            match &place {
                Some(place) if postures.iter().filter(rival).any(|other| other.region == new.region) => {
                    self.contested.insert(place.clone());
                }
                None if postures.iter().filter(rival).any(|other| other.region.is_none()) => {
                    self.contested_accounts.insert(new.account.clone());
                }
                _ => {}
            }
        }
        stage.aws.with(|aws| {
            for ((place, knob), book) in &mut self.knobs {
                let missing = aws.region(&place.0, &place.1).map(|state| &state.missing_settings);
                book.out_of_reach |=
                    matches!(knob, Knob::Setting(s) if missing.is_some_and(|missing| missing.contains(s)));
            }
        });
        for ((place, knob), book) in &mut self.knobs {
            let of = postures.iter().filter(|p| p.is_of(&place.0, &place.1));
            let of: Vec<&Posture> = of.collect();
            book.dropped |= !of.iter().any(|p| p.declares(*knob) && !p.leaving);
            book.released |= of.iter().any(|p| (!p.declares(*knob) || p.leaving) && p.deletion() == "Retain");
        }
        for (place, book) in &mut self.documents {
            let of = postures.iter().filter(|p| p.is_of(&place.0, &place.1));
            book.dropped |= !of.into_iter().any(|p| p.session().is_some() && !p.leaving);
        }
        self.now = postures;
        Ok(())
    }

    /// The postures that a pass may rest on.
    fn known(&self, at: Timestamp) -> impl Iterator<Item = &Posture> {
        let past = self.past.iter().filter(move |(until, _)| at.duration_since(*until) < PASS);
        self.now.iter().chain(past.map(|(_, posture)| posture))
    }

    fn of_region(&self, place: &Place, at: Timestamp) -> Vec<&Posture> {
        self.known(at).filter(|p| p.is_of(&place.0, &place.1)).collect()
    }

    fn of_account(&self, account: &AccountId, at: Timestamp) -> Vec<&Posture> {
        self.known(at).filter(|p| p.region.is_none() && p.account == *account).collect()
    }

    /// Judges one entry of the journal, and enters it.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn enter(&mut self, stage: &Stage, entry: &Entry) -> Result<()> {
        let ours = matches!(entry.actor, Actor::Controller(_));
        if ours && let Some(write) = &entry.write {
            if entry.took_effect {
                self.judge(stage, entry, write)?;
            } else {
                self.tried(entry, write);
            }
        } else if !ours && !entry.refused() {
            self.others(entry);
        }
        if entry.took_effect
            && let Some(write) = &entry.write
        {
            self.mirror(entry, write, ours);
        }
        Ok(())
    }

    /// Something that others did.
    fn others(&mut self, entry: &Entry) {
        let place = (entry.account.clone(), entry.region.clone());
        let target = (place.clone(), entry.detail.clone());
        match entry.call {
            "CreateBucket" | "PutBucketEncryption" | "CreateLogGroup" | "AssociateKmsKey" | "EnableKey" => {
                self.spoilt.remove(&target);
            }
            "DeleteBucket" | "DeleteLogGroup" | "DisableKey" | "ScheduleKeyDeletion" => {
                let since = self.spoilt.get(&target).filter(|(_, gone)| *gone).map_or(entry.at, |(since, _)| *since);
                self.spoilt.insert(target, (since, true));
            }
            "DeleteBucketEncryption" | "DisassociateKmsKey" => {
                // One that was deleted is there again.
                let since = self.spoilt.get(&target).filter(|(_, gone)| !*gone).map_or(entry.at, |(since, _)| *since);
                self.spoilt.insert(target, (since, false));
            }
            _ => {}
        }
        let things: BTreeSet<(ThingKind, String)> = match &entry.write {
            Some(Write::Role { role, .. }) => [(ThingKind::Role, role.to_string())].into(),
            Some(Write::Profile { profile, .. }) => [(ThingKind::Profile, profile.to_string())].into(),
            Some(Write::Document(_)) => [(ThingKind::Document, String::new())].into(),
            Some(Write::Rule(_)) => [(ThingKind::Rule, String::new())].into(),
            _ => entry.touched.iter().map(|t| (t.kind, t.id.clone())).collect(),
        };
        if matches!(entry.call, "SetTopicAttributes" | "DeleteTopic") {
            self.audits.entry(place.clone()).or_default().topics_at = Some(entry.at);
        }
        for (kind, id) in things {
            match kind {
                ThingKind::Rule => self.audits.entry(place.clone()).or_default().others_at = Some(entry.at),
                ThingKind::Setting => {
                    let Some(setting) = Setting::ALL.into_iter().find(|s| s.id() == id) else { continue };
                    let before = entry.touched.first().and_then(|t| t.value.clone());
                    let after = match &entry.write {
                        Some(Write::UpdateSetting { value, .. }) => Some(value.clone()),
                        _ => None,
                    };
                    self.changed_by_others(&place, Knob::Setting(setting), before, after, entry.at);
                }
                ThingKind::MetadataDefaults => {
                    let before = entry.touched.first().and_then(|t| t.value.as_deref()).map(metadata);
                    let before = before.unwrap_or_default();
                    for field in MetadataField::ALL {
                        let was = before.get(&field).cloned();
                        let is = match &entry.write {
                            Some(Write::ModifyMetadataDefaults { values }) => match values.get(&field) {
                                Some(value) => Some(value.clone()).filter(|v| v != field.no_preference()),
                                None => continue,
                            },
                            _ => was.clone(),
                        };
                        self.changed_by_others(&place, Knob::Metadata(field), was, is, entry.at);
                    }
                }
                ThingKind::Document => {
                    let book = self.documents.entry(place.clone()).or_default();
                    if entry.call == "DocumentVersion" {
                        // AWS's own doing: a version that failed has to be made again.
                        book.reasons += usize::from(entry.detail.contains("Failed"));
                        continue;
                    }
                    book.reasons += 1;
                    book.others_at = Some(entry.at);
                    book.ours_last = false;
                    book.lost |= matches!(entry.write, Some(Write::Document(DocumentChange::Delete)));
                    if !book.written || book.dropped {
                        book.firsts.insert(entry.touched.first().and_then(|t| t.value.clone()));
                    }
                }
                ThingKind::Role => {
                    self.roles.entry((entry.account.clone(), id)).or_default().others_at = Some(entry.at);
                }
                ThingKind::Profile => {
                    self.profiles.insert((entry.account.clone(), id), entry.at);
                }
                _ => {}
            }
        }
    }

    fn changed_by_others(&mut self, place: &Place, knob: Knob, was: Option<String>, is: Option<String>, at: Timestamp) {
        let book = self.knobs.entry((place.clone(), knob)).or_default();
        book.others_at = Some(at);
        book.ours_last = false;
        if book.written.is_empty() || book.dropped {
            book.firsts.extend([set(knob, was), set(knob, is)]);
        }
    }

    /// A write of the controller that AWS did not carry out.
    fn tried(&mut self, entry: &Entry, write: &Write) {
        let place = (entry.account.clone(), entry.region.clone());
        for (knob, value) in values(write) {
            self.knobs.entry((place.clone(), knob)).or_default().tried.push(set(knob, value));
        }
    }

    /// Keeps the roles as they are.
    fn mirror(&mut self, entry: &Entry, write: &Write, ours: bool) {
        let Write::Role { role, change } = write else { return };
        let book = self.roles.entry((entry.account.clone(), role.to_string())).or_default();
        match change {
            RoleChange::Create(new) => {
                *book = RoleBook {
                    there: true,
                    path: new.path.clone(),
                    trust: new.trust.clone(),
                    others_at: book.others_at,
                    made_at: Some(entry.at),
                    worse_at: book.worse_at,
                    ..RoleBook::default()
                };
            }
            RoleChange::Trust(trust) => {
                book.trust.clone_from(trust);
                book.worse_at = Some(entry.at);
            }
            RoleChange::Attach(policy) => {
                book.policies.insert(policy.to_string());
                if ours {
                    book.by_us.insert(policy.to_string());
                }
            }
            RoleChange::Detach(policy) => {
                book.policies.remove(policy.as_str());
                book.by_us.remove(policy.as_str());
                book.worse_at = Some(entry.at);
            }
            RoleChange::Delete => {
                book.there = false;
                book.policies.clear();
                book.by_us.clear();
                book.worse_at = Some(entry.at);
            }
            // It stays as it is, and is nobody's from now on.
            RoleChange::Untag(keys) if ours && keys.contains(OWNER_TAG) => book.by_us.clear(),
            _ => {}
        }
    }

    fn judge(&mut self, stage: &Stage, entry: &Entry, write: &Write) -> Result<()> {
        match write {
            Write::UpdateSetting { .. } | Write::ResetSetting { .. } | Write::ModifyMetadataDefaults { .. } => {
                self.values_are_set(entry, write)
            }
            Write::Document(change) => self.document_changes(entry, change),
            Write::Rule(change) => self.rule_changes(stage, entry, change),
            Write::Role { role, change } => self.role_changes(stage, entry, role.as_str(), change),
            Write::Profile { profile, change } => self.profile_changes(stage, entry, profile.as_str(), change),
            _ => Ok(()),
        }
    }

    /// Rule 1, for what carries no tags.
    fn values_are_set(&mut self, entry: &Entry, write: &Write) -> Result<()> {
        let place = (entry.account.clone(), entry.region.clone());
        let told = entry.touched.first().and_then(|t| t.value.clone());
        for (knob, value) in values(write) {
            let before = match knob {
                Knob::Setting(_) => told.clone(),
                Knob::Metadata(field) => told.as_deref().and_then(|words| metadata(words).remove(&field)),
            };
            let (before, value) = (set(knob, before), set(knob, value));
            let known = self.of_region(&place, entry.at);
            ensure!(known.iter().any(|p| p.works()), "rule 5 or 10: a write for a region that no posture may change");
            let declared = known.iter().any(|p| p.works() && !p.leaving && wants(p, knob, &value));
            let book = self.knobs.get(&(place.clone(), knob));
            let goes_back = known.iter().any(|p| {
                let no_longer = p.leaving || !p.declares(knob);
                p.works()
                    && no_longer
                    && match p.deletion() {
                        "Reset" => value.is_none(),
                        "RestorePrevious" => value.is_none() || book.is_some_and(|book| book.firsts.contains(&value)),
                        _ => false,
                    }
            });
            ensure!(
                declared || goes_back,
                "{} is set to {value:?}, which nobody declares and which was not found",
                knob.field()
            );
            let theirs = before.is_some()
                && before != value
                && !book.is_some_and(|b| b.is_ours(&before) || within(b.others_at, entry.at, FACTS))
                && !known.iter().any(|p| p.takes_over())
                && !(knob == Knob::Setting(Setting::HostManagementRole)
                    && self.names_nothing(&place.0, &before, entry.at));
            ensure!(!theirs, "rule 1: {} is changed from {before:?}, which is somebody else's", knob.field());
            // What was found comes back as it was.
            if declared
                && !goes_back
                && knob == Knob::Setting(Setting::HostManagementRole)
                && let Some(value) = &value
            {
                self.role_serves(&entry.account, value, entry.at)?;
            }
            let book = self.knobs.entry((place.clone(), knob)).or_default();
            if declared && (book.written.is_empty() || book.dropped) {
                book.firsts.insert(before);
                book.dropped = false;
            }
            book.written.push(value);
            book.tried.clear();
            book.ours_last = true;
            book.out_of_reach = false;
            book.released = false;
            if book.written.len() > 2 {
                book.written.remove(0);
            }
        }
        Ok(())
    }

    /// Whether a value of Default Host Management names no role, as far as could be known: then it is off.
    fn names_nothing(&self, account: &AccountId, value: &Option<String>, at: Timestamp) -> bool {
        let name = value.as_deref().and_then(|value| value.rsplit('/').next()).unwrap_or_default();
        let book = self.roles.get(&(account.clone(), name.to_owned()));
        book.is_none_or(|book| {
            !book.there || within(book.others_at, at, IAM_FACTS) || within(book.made_at, at, IAM_FACTS)
        })
    }

    /// The role exists, is trusted and carries its policy before the setting names it.
    fn role_serves(&self, account: &AccountId, value: &str, at: Timestamp) -> Result<()> {
        let (path, name) = value.rsplit_once('/').map_or(("/".to_owned(), value), |(p, n)| (format!("/{p}/"), n));
        let nothing = RoleBook::default();
        let book = self.roles.get(&(account.clone(), name.to_owned())).unwrap_or(&nothing);
        let fit = book.there
            && book.path == path
            && trusts(&book.trust, "ssm.amazonaws.com")
            && book.policies.iter().any(|p| p.ends_with("/AmazonSSMManagedEC2InstanceDefaultPolicy"));
        let lately = within(book.others_at, at, IAM_FACTS) || within(book.worse_at, at, IAM_FACTS);
        ensure!(
            fit || lately,
            "Default Host Management is switched on with a role that cannot serve: {value}: {book:?}"
        );
        Ok(())
    }

    fn document_changes(&mut self, entry: &Entry, change: &DocumentChange) -> Result<()> {
        let place = (entry.account.clone(), entry.region.clone());
        let known = self.of_region(&place, entry.at);
        ensure!(known.iter().any(|p| p.works()), "rule 5 or 10: a write for a region that no posture may change");
        let book = self.documents.get(&place).cloned().unwrap_or_default();
        let tags = entry.touched.first().map(|t| t.tags.clone());
        let before = entry.touched.first().and_then(|t| t.value.clone());
        let ours = tags.as_ref().is_some_and(|tags| self.is_ours(tags));
        let lately = within(book.others_at, entry.at, TAGS);
        let takes_over = known.iter().any(|p| p.takes_over());
        let goes = |policies: &[&str]| {
            known.iter().any(|p| (p.leaving || p.session().is_none()) && policies.contains(&p.deletion()))
        };
        let mut content = None;
        match change {
            DocumentChange::Create { content: new, tags } => {
                ensure!(self.is_ours(tags), "rule 3: made without our tags");
                content = Some(new);
            }
            DocumentChange::Update(new) => {
                ensure!(ours || takes_over || lately, "rule 1: the document of somebody else is changed: {tags:?}");
                content = Some(new);
            }
            DocumentChange::Use(_) => {
                ensure!(ours || takes_over || lately, "rule 1: the document of somebody else is changed: {tags:?}");
            }
            DocumentChange::Tag(_) => {
                ensure!(ours || takes_over || lately, "rule 1: the document of somebody else is taken over");
            }
            DocumentChange::Untag(keys) => {
                ensure!(keys.iter().eq([OWNER_TAG]), "more than the owner tag is taken off: {keys:?}");
                let done = tags.as_ref().is_some_and(|tags| !tags.contains_key(OWNER_TAG));
                ensure!(ours || lately || done, "rule 1: the document of somebody else is changed: {tags:?}");
                ensure!(goes(&["Retain", "RestorePrevious"]), "rule 8: let go although it is declared");
            }
            DocumentChange::Delete => {
                ensure!(ours || lately, "rule 1: the document of somebody else is deleted: {tags:?}");
                ensure!(goes(&["Reset", "RestorePrevious"]), "rule 8: deleted although it is declared, or to be kept");
            }
        }
        let mut updates = book.updates;
        if let Some(content) = content {
            let by = known.iter().find(|p| p.works() && !p.leaving && p.is_session(content));
            let by = by.with_context(|| format!("a content that nobody declares: {content}"))?;
            ensure!(!by.shapes_shells() || by.may_shape_shells(), "rule 11: shells are shaped past the guardrails");
            for target in by.targets() {
                let spoilt = self.spoilt.get(&(place.clone(), target.id().to_owned()));
                let known = spoilt
                    .filter(|(since, gone)| entry.at.duration_since(*since) >= TAGS && (*gone || target.encrypted));
                ensure!(known.is_none(), "sessions are made blank: {target:?} has been of no use since {known:?}");
                ensure!(
                    !target.name.ends_with('3') || target.thing != Thing::Bucket,
                    "sessions are made blank: there has never been a bucket {target:?}"
                );
            }
            updates += 1;
        }
        let book = self.documents.entry(place).or_default();
        book.updates = updates;
        ensure!(
            book.updates <= book.reasons,
            "{} versions of {SESSION_DOCUMENT} were made, and there were {} reasons for one",
            book.updates,
            book.reasons
        );
        if content.is_some() && (!book.written || book.dropped) {
            book.firsts.insert(before);
            book.dropped = false;
            book.lost = false;
        }
        book.written |= content.is_some();
        if matches!(change, DocumentChange::Untag(_)) {
            // Let go: from now on it is somebody else's.
            book.written = false;
        }
        book.ours_last = true;
        Ok(())
    }

    fn rule_changes(&mut self, stage: &Stage, entry: &Entry, change: &RuleChange) -> Result<()> {
        let place = (entry.account.clone(), entry.region.clone());
        let known = self.of_region(&place, entry.at);
        ensure!(known.iter().any(|p| p.works()), "rule 5 or 10: a write for a region that no posture may change");
        let book = self.audits.get(&place).cloned().unwrap_or_default();
        let tags = entry.touched.first().map(|t| t.tags.clone());
        let ours = tags.as_ref().is_some_and(|tags| self.is_ours(tags));
        let lately = within(book.others_at, entry.at, TAGS);
        let takes_over = known.iter().any(|p| p.takes_over());
        let topics: Vec<String> =
            known.iter().filter(|p| p.works() && !p.leaving).filter_map(|p| Some(p.audit()?.0)).collect();
        let goes = |policies: &[&str]| {
            known.iter().any(|p| (p.leaving || p.audit().is_none()) && policies.contains(&p.deletion()))
        };
        let there = |topic: &String| {
            stage.aws.with(|aws| aws.region(&place.0, &place.1).is_some_and(|state| state.topics.contains_key(topic)))
        };
        match change {
            RuleChange::Put { pattern, tags: new } => {
                ensure!(reports_sessions(pattern), "a rule that does not report sessions: {pattern}");
                ensure!(!topics.is_empty(), "a rule that nobody declares");
                ensure!(
                    topics.iter().any(there) || within(book.topics_at, entry.at, TAGS),
                    "a rule is made for a topic that is not there"
                );
                if new.is_empty() {
                    ensure!(ours || takes_over || lately, "rule 1: the rule of somebody else is changed: {tags:?}");
                } else {
                    ensure!(self.is_ours(new), "rule 3: made without our tags");
                    ensure!(
                        tags.is_none() || ours || lately,
                        "rule 1: the rule of somebody else is replaced: {tags:?}"
                    );
                }
            }
            RuleChange::Target(topic) => {
                ensure!(ours || takes_over || lately, "rule 1: the rule of somebody else is changed: {tags:?}");
                ensure!(topics.contains(topic), "sessions are told to {topic}, which nobody declares");
            }
            RuleChange::Tag { tags: new, .. } => {
                ensure!(takes_over || ours || lately, "rule 1: the rule of somebody else is taken over");
                ensure!(self.is_ours(new) && !topics.is_empty(), "taken over for nobody: {new:?}");
            }
            RuleChange::Untag { keys, .. } => {
                ensure!(keys.iter().eq([OWNER_TAG]), "more than the owner tag is taken off: {keys:?}");
                let done = tags.as_ref().is_some_and(|tags| !tags.contains_key(OWNER_TAG));
                ensure!(ours || lately || done, "rule 1: the rule of somebody else is changed: {tags:?}");
                let others = book.others_at.is_some();
                ensure!(
                    goes(&["Retain", "RestorePrevious"]) || (others && goes(&["Reset"])),
                    "rule 8: let go although it is declared"
                );
            }
            RuleChange::RemoveTargets(ids) => {
                ensure!(ids.iter().eq(["ssm-ready"]), "targets of others are removed: {ids:?}");
                ensure!(ours || lately, "rule 1: the rule of somebody else is changed: {tags:?}");
                ensure!(goes(&["Reset", "RestorePrevious"]), "rule 8: stopped although it is declared, or to be kept");
            }
            RuleChange::Delete => {
                ensure!(ours || lately, "rule 1: the rule of somebody else is deleted: {tags:?}");
                ensure!(goes(&["Reset", "RestorePrevious"]), "rule 8: deleted although it is declared, or to be kept");
                ensure!(!book.found || lately || goes(&["Reset"]), "rule 1: a rule is deleted that was there before");
            }
        }
        let book = self.audits.entry(place).or_default();
        if !book.written {
            book.found = tags.is_some();
        }
        book.written = !matches!(change, RuleChange::Untag { .. } | RuleChange::Delete);
        Ok(())
    }

    fn declared<'p>(&self, known: &[&'p Posture], role: &str) -> Vec<(&'p Posture, Declared)> {
        let works = known.iter().filter(|p| p.works() && !p.leaving);
        works.flat_map(|p| p.roles().into_iter().filter(|r| r.role == role).map(|r| (*p, r))).collect()
    }

    /// Whether something of an account is no longer declared by an object that deletes, or keeps, what it made.
    fn goes(known: &[&Posture], declares: impl Fn(&Posture) -> bool, policy: &str) -> bool {
        known.iter().any(|p| p.works() && (p.leaving || !declares(p)) && p.deletion() == policy)
    }

    fn role_changes(&mut self, stage: &Stage, entry: &Entry, role: &str, change: &RoleChange) -> Result<()> {
        let known = self.of_account(&entry.account, entry.at);
        ensure!(known.iter().any(|p| p.works()), "rule 5 or 10: a write for an account that no posture may change");
        let declared = self.declared(&known, role);
        let nothing = RoleBook::default();
        let book = self.roles.get(&(entry.account.clone(), role.to_owned())).unwrap_or(&nothing);
        let lately = within(book.others_at, entry.at, IAM_FACTS);
        let tags = entry.touched.first().map(|t| t.tags.clone()).unwrap_or_default();
        let ours = self.is_ours(&tags);
        let takes_over = declared.iter().any(|(_, r)| r.ownership == "TakeOver");
        let declares = |p: &Posture| p.roles().iter().any(|r| r.role == role);
        let mine = || -> Result<()> {
            ensure!(ours || takes_over || lately, "rule 1: role {role} is changed, which is not ours: {tags:?}");
            Ok(())
        };
        match change {
            RoleChange::Create(new) => {
                ensure!(self.is_ours(&new.tags), "rule 3: made without our tags");
                let asked = declared.iter().any(|(p, r)| {
                    r.ownership != "AttachOnly"
                        && r.path == new.path
                        && p.allows_path(&new.path)
                        && p.boundary() == new.boundary.as_ref().map(|b| b.as_str())
                        && trusts(&new.trust, r.service)
                });
                ensure!(asked, "rule 11: a role that nobody asks for, or past the guardrails: {new:?}");
            }
            RoleChange::Attach(policy) => {
                let asked = declared.iter().any(|(p, r)| {
                    let named = r.own.contains(policy.as_str())
                        || (r.extra.contains(policy.as_str()) && p.lists(policy.as_str()));
                    named && p.allows_path(&r.path)
                });
                ensure!(
                    asked,
                    "rule 11: {policy} is attached to {role}: nobody asks for it, or the guardrails forbid it"
                );
                let adds = declared.iter().any(|(_, r)| r.ownership == "AttachOnly");
                ensure!(adds || mine().is_ok(), "rule 1: {policy} is attached to {role}, which is not ours: {tags:?}");
            }
            RoleChange::Detach(policy) => {
                let goes = ours && Self::goes(&known, declares, "Delete");
                ensure!(
                    goes || book.by_us.contains(policy.as_str()),
                    "rule 1: {policy} is detached from {role}, and we did not attach it"
                );
                let wanted = declared
                    .iter()
                    .filter(|(p, _)| self.now.iter().any(|now| now == *p))
                    .any(|(_, r)| r.own.contains(policy.as_str()) || r.extra.contains(policy.as_str()));
                // Whoever waits for the name makes a role of its own.
                let leaves = known.iter().any(|p| p.leaving && tags.get(OWNER_TAG) == Some(&p.owner()));
                ensure!(
                    !wanted || leaves || self.is_unsettled(&entry.account, entry.at),
                    "{policy} is detached from {role}, and is declared"
                );
            }
            RoleChange::Tag(_) | RoleChange::Trust(_) | RoleChange::PutInline(_) | RoleChange::Boundary(_) => {
                mine()?;
                ensure!(!declared.is_empty(), "role {role} is changed, and nobody declares it");
                if let RoleChange::PutInline(text) = change {
                    let wild = ["\"arn:aws:s3:::*", "\"s3:*\"", "\"*:*\""];
                    ensure!(!wild.iter().any(|wild| text.contains(wild)), "rule 11: a wildcard in {text}");
                }
            }
            RoleChange::DeleteInline(name) => {
                ensure!(ours || lately, "rule 1: role {role} is changed, which is not ours: {tags:?}");
                let goes = Self::goes(&known, declares, "Delete");
                ensure!(name == "ssm-ready" || goes, "rule 1: policy {name} of {role} is deleted, which is not ours");
            }
            RoleChange::Untag(keys) => {
                ensure!(keys.iter().eq([OWNER_TAG]), "more than the owner tag is taken off: {keys:?}");
                // Twice does no harm.
                let done = !tags.contains_key(OWNER_TAG);
                ensure!(ours || lately || done, "rule 1: role {role} is changed, which is not ours: {tags:?}");
                ensure!(Self::goes(&known, declares, "Retain"), "rule 8: let go although it is declared");
            }
            RoleChange::Delete => {
                ensure!(ours || lately, "rule 1: role {role} is deleted, which is not ours: {tags:?}");
                ensure!(Self::goes(&known, declares, "Delete"), "rule 8: role {role} is declared, or to be kept");
                let value = format!("{}{role}", book.path.trim_start_matches('/'));
                let account = &entry.account;
                stage.aws.with(|aws| -> Result<()> {
                    for (region, state) in aws.accounts.get(account).into_iter().flat_map(|a| &a.regions) {
                        let names = state.setting_value(Setting::HostManagementRole) == Some(value.as_str());
                        let since = state.settings.get(&Setting::HostManagementRole).map(|s| s.changed_at);
                        let long = since.is_some_and(|since| entry.at.duration_since(since) > FACTS);
                        ensure!(!(names && long), "rule 8: role {role} is deleted, and {region} uses it");
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn profile_changes(&self, stage: &Stage, entry: &Entry, profile: &str, change: &ProfileChange) -> Result<()> {
        let known = self.of_account(&entry.account, entry.at);
        ensure!(known.iter().any(|p| p.works()), "rule 5 or 10: a write for an account that no posture may change");
        let lately =
            within(self.profiles.get(&(entry.account.clone(), profile.to_owned())).copied(), entry.at, IAM_FACTS);
        let tags = entry.touched.first().map(|t| t.tags.clone()).unwrap_or_default();
        let ours = self.is_ours(&tags);
        let holds = |r: &Declared| r.profile.as_deref() == Some(profile);
        let declares = |p: &Posture| p.roles().iter().any(holds);
        let declared: Vec<Declared> =
            known.iter().filter(|p| p.works() && !p.leaving).flat_map(|p| p.roles()).filter(holds).collect();
        let takes_over = declared.iter().any(|r| r.ownership == "TakeOver");
        let theirs = || format!("rule 1: profile {profile} is changed, which is not ours: {tags:?}");
        match change {
            ProfileChange::Create { tags, path } => {
                ensure!(self.is_ours(tags), "rule 3: made without our tags");
                let asked = known
                    .iter()
                    .any(|p| p.works() && p.allows_path(path) && p.roles().iter().any(|r| holds(r) && r.path == *path));
                ensure!(asked, "rule 11: a profile that nobody asks for, or past the guardrails: {path}");
            }
            ProfileChange::AddRole(role) => {
                ensure!(ours || takes_over || lately, theirs());
                ensure!(declared.iter().any(|r| r.role == role.as_str()), "{role} is put into {profile}: who asks?");
            }
            ProfileChange::RemoveRole(role) => {
                ensure!(ours || takes_over || lately, theirs());
                let goes = Self::goes(&known, declares, "Delete");
                let other = declared.iter().any(|r| r.role != role.as_str());
                ensure!(goes || other, "{role} is taken out of {profile}: who asks?");
            }
            ProfileChange::Tag(_) => ensure!(ours || takes_over || lately, theirs()),
            ProfileChange::Untag(keys) => {
                ensure!(keys.iter().eq([OWNER_TAG]), "more than the owner tag is taken off: {keys:?}");
                ensure!(ours || lately || !tags.contains_key(OWNER_TAG), theirs());
                ensure!(Self::goes(&known, declares, "Retain"), "rule 8: let go although it is declared");
            }
            ProfileChange::Delete => {
                ensure!(ours || lately, theirs());
                ensure!(Self::goes(&known, declares, "Delete"), "rule 8: {profile} is declared, or to be kept");
                let end = format!("/{profile}");
                let account = &entry.account;
                stage.aws.with(|aws| -> Result<()> {
                    let regions = aws.accounts.get(account).into_iter().flat_map(|a| a.regions.values());
                    for instance in regions.flat_map(|state| state.instances.values()) {
                        let has = instance.fact.profile.as_ref().is_some_and(|arn| arn.ends_with(&end));
                        let long = entry.at.duration_since(instance.made_at) > FACTS;
                        ensure!(
                            !(has && long),
                            "rule 8: profile {profile} is deleted, and {} has it",
                            instance.fact.id
                        );
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn is_unsettled(&self, account: &AccountId, at: Timestamp) -> bool {
        within(self.permits.get(account).copied(), at, PASS)
    }

    /// Judges what an object leaves that has gone since the last look, and forgets what it remembered.
    fn gone(&mut self, stage: &Stage, posture: &Posture, all: &[Posture]) -> Result<()> {
        let settled = posture.leaving
            && posture.works()
            && !posture.abandoned
            && !self.may_leave.contains(&posture.owner())
            && !self.is_unsettled(&posture.account, stage.time.now());
        match &posture.region {
            Some(region) => {
                let place = (posture.account.clone(), region.clone());
                if settled && !self.is_contested(&place) {
                    self.left_by_region(stage, posture, &place)?;
                }
                if !all.iter().any(|p| p.id != posture.id && p.is_of(&place.0, &place.1)) {
                    self.knobs.retain(|(of, _), _| *of != place);
                    self.documents.remove(&place);
                    self.audits.remove(&place);
                }
            }
            None => {
                if settled && !self.contested_accounts.contains(&posture.account) && posture.deletion() == "Delete" {
                    for role in posture.roles() {
                        let book = self.roles.get(&(posture.account.clone(), role.role.clone()));
                        let lately = |book: &&RoleBook| !within(book.others_at, stage.time.now(), IAM_FACTS);
                        let left = book.filter(lately).map(|b| b.by_us.clone()).unwrap_or_default();
                        ensure!(left.is_empty(), "rule 8: {left:?} stay on {}, and we attached them", role.role);
                    }
                }
                let others = all.iter().filter(|p| p.account == posture.account);
                let kept: BTreeSet<String> = others.flat_map(|p| p.roles()).map(|role| role.role).collect();
                for ((account, role), book) in &mut self.roles {
                    if *account == posture.account && !kept.contains(role) {
                        book.by_us.clear();
                    }
                }
            }
        }
        Ok(())
    }

    fn left_by_region(&self, stage: &Stage, posture: &Posture, place: &Place) -> Result<()> {
        stage.aws.with(|aws| -> Result<()> {
            let state = aws.region(&place.0, &place.1).context("no such region")?;
            for ((_, knob), book) in self.knobs.iter().filter(|((of, _), _)| of == place) {
                let out_of_reach = match knob {
                    Knob::Setting(setting) => state.missing_settings.contains(setting),
                    Knob::Metadata(_) => state.metadata().by_declarative_policy,
                };
                if book.was_written_by_us() && !out_of_reach {
                    went_back(posture, *knob, book, &truth(aws, place, *knob))?;
                }
            }
            let Some(book) = self.documents.get(place).filter(|b| b.written && b.ours_last && !b.lost) else {
                return Ok(());
            };
            let now = state.session_document().map(|d| d.content_in_use().to_owned());
            match posture.deletion() {
                "Reset" => ensure!(now.is_none(), "rule 8: the document stays"),
                "RestorePrevious" => {
                    ensure!(book.firsts.contains(&now), "rule 8: {now:?} stays, and {:?} was found", book.firsts);
                }
                _ => {}
            }
            Ok(())
        })
    }

    /// What a posture that is there and done has made of what it no longer declares.
    ///
    /// # Errors
    /// What did not go back.
    pub fn undeclared_went_back(&self, aws: &Aws, posture: &Posture, place: &Place) -> Result<()> {
        let state = aws.region(&place.0, &place.1).context("no such region")?;
        for ((_, knob), book) in self.knobs.iter().filter(|((of, _), _)| of == place) {
            let out_of_reach = match knob {
                Knob::Setting(setting) => state.missing_settings.contains(setting),
                Knob::Metadata(_) => state.metadata().by_declarative_policy,
            };
            if !posture.declares(*knob) && book.was_written_by_us() && !out_of_reach {
                went_back(posture, *knob, book, &truth(aws, place, *knob))?;
            }
        }
        Ok(())
    }
}

/// What a deletion policy promises of a value.
fn went_back(posture: &Posture, knob: Knob, book: &KnobBook, now: &Option<String>) -> Result<()> {
    let field = knob.field();
    match posture.deletion() {
        "Reset" => ensure!(now.is_none(), "rule 8: {field} stays at {now:?}"),
        "RestorePrevious" => {
            ensure!(
                book.firsts.contains(now),
                "rule 1: {field} is left at {now:?}, and {:?} was found first",
                book.firsts
            );
        }
        _ => {}
    }
    Ok(())
}

/// The values that a write sets; none: unset.
fn values(write: &Write) -> Vec<(Knob, Option<String>)> {
    match write {
        Write::UpdateSetting { setting, value } => vec![(Knob::Setting(*setting), Some(value.clone()))],
        Write::ResetSetting { setting } => vec![(Knob::Setting(*setting), None)],
        Write::ModifyMetadataDefaults { values } => values
            .iter()
            .map(|(field, value)| {
                (Knob::Metadata(*field), Some(value.clone()).filter(|value| value != field.no_preference()))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a posture wants a value to be so. Of Default Host Management with a role that another object declares, only
/// that it is on: which role it is, that object says.
fn wants(posture: &Posture, knob: Knob, value: &Option<String>) -> bool {
    if knob == Knob::Setting(Setting::HostManagementRole) {
        return match posture.host() {
            None => false,
            Some(Host::Off) => value.is_none(),
            Some(Host::Declared(..)) => value.is_some(),
            Some(Host::External(path, name)) => {
                value.as_deref() == Some(format!("{}{name}", path.trim_start_matches('/')).as_str())
            }
        };
    }
    posture.knobs().get(&knob).is_some_and(|wanted| set(knob, Some(wanted.clone())) == *value)
}
