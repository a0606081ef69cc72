//! The document that Session Manager takes its preferences from.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        settings::{DocumentStatus, DocumentVersion, SESSION_DOCUMENT, SessionDocument, SessionDocumentInfo},
    },
    ids::{AccountId, Region},
    write::{DocumentChange, Written},
};

use super::{
    journal::{Entry, ThingKind, Touched},
    record::{Actor, Eye, later},
    state::{RegionState, touched},
    world::{Ctx, Event, Refusal, World},
};

/// The longest content of a document (CreateDocument), in bytes.
const MAX_CONTENT: usize = 64 * 1024;
/// The only version of the schema of sessions.
const SCHEMA: &str = "1.0";
/// What a document of type Session may be for.
const SESSION_TYPES: [&str; 4] = ["Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", "Port"];
/// The inputs that are true or false.
const FLAGS: [&str; 4] =
    ["s3EncryptionEnabled", "cloudWatchEncryptionEnabled", "cloudWatchStreamingEnabled", "runAsEnabled"];
/// The inputs that are text.
const TEXTS: [&str; 5] = ["s3BucketName", "s3KeyPrefix", "cloudWatchLogGroupName", "kmsKeyId", "runAsDefaultUser"];
/// The inputs that are minutes, as text, and the most of them.
const MINUTES: [(&str, u32); 2] = [("idleSessionTimeout", 60), ("maxSessionDuration", 1440)];

type Result<T = (), E = Refusal> = std::result::Result<T, E>;

/// A version of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimDocumentVersion {
    /// Its content.
    pub content: String,
    /// Its state.
    pub status: DocumentStatus,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimDocument {
    /// Its versions by number. There is one at least.
    pub versions: BTreeMap<u64, SimDocumentVersion>,
    /// The number of the one that is used.
    pub default: u64,
    /// Its tags.
    pub tags: Tags,
    /// Tells it from others of its name that came and went.
    pub(super) serial: String,
}

impl SimDocument {
    /// The number of the newest version.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.versions.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// The content that is used.
    #[must_use]
    pub fn content_in_use(&self) -> &str {
        self.versions.get(&self.default).map_or("", |version| version.content.as_str())
    }
}

fn no_document() -> Refusal {
    Refusal::new("InvalidDocument", format!("Document with name {SESSION_DOCUMENT} does not exist."))
}

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidDocumentContent", message)
}

/// Whether AWS takes a content for a document of type Session.
fn check_content(content: &str) -> Result {
    if content.len() > MAX_CONTENT {
        return Err(Refusal::new("MaxDocumentSizeExceeded", "The document is larger than 64 KB"));
    }
    let Ok(Value::Object(document)) = serde_json::from_str(content) else {
        return Err(malformed("JSON not well-formed."));
    };
    if document.get("schemaVersion").and_then(Value::as_str) != Some(SCHEMA) {
        return Err(Refusal::new(
            "InvalidDocumentSchemaVersion",
            "The version of the document schema is not supported",
        ));
    }
    let kind = document.get("sessionType").and_then(Value::as_str).unwrap_or_default();
    if !SESSION_TYPES.contains(&kind) {
        return Err(malformed(format!("sessionType {kind:?} is not supported")));
    }
    let inputs = match document.get("inputs") {
        None => return Ok(()),
        Some(Value::Object(inputs)) => inputs,
        Some(_) => return Err(malformed("inputs is not a map")),
    };
    for (name, value) in inputs {
        let fits = if FLAGS.contains(&name.as_str()) {
            value.is_boolean()
        } else if TEXTS.contains(&name.as_str()) {
            value.is_string()
        } else if let Some((_, most)) = MINUTES.iter().find(|(minutes, _)| minutes == name) {
            let text = value.as_str();
            text.is_some_and(|text| text.is_empty() || text.parse::<u32>().is_ok_and(|n| (1..=*most).contains(&n)))
        } else if name == "shellProfile" {
            value.as_object().is_some_and(|shells| {
                shells.iter().all(|(shell, text)| matches!(shell.as_str(), "windows" | "linux") && text.is_string())
            })
        } else {
            false
        };
        if !fits {
            return Err(malformed(format!("The input {name} is not valid")));
        }
    }
    Ok(())
}

impl RegionState {
    /// The truth about the session document.
    #[must_use]
    pub fn session_document(&self) -> Option<&SimDocument> {
        self.documents.get(SESSION_DOCUMENT).map(|record| &record.value)
    }

    /// GetDocument.
    pub(super) fn read_document(&self, eye: &mut Eye<'_>, version: DocumentVersion) -> Result<SessionDocument> {
        let document = self.documents.find(&SESSION_DOCUMENT.to_owned(), eye).ok_or_else(no_document)?;
        let number = match version {
            DocumentVersion::Default => document.default,
            DocumentVersion::Latest => document.latest(),
        };
        let found = document.versions.get(&number).ok_or_else(|| no_version(&number.to_string()))?;
        Ok(SessionDocument {
            version: number.to_string(),
            content: found.content.clone(),
            status: found.status.clone(),
        })
    }

    /// DescribeDocument.
    pub(super) fn read_document_info(&self, eye: &mut Eye<'_>) -> Result<SessionDocumentInfo> {
        let document = self.documents.find(&SESSION_DOCUMENT.to_owned(), eye).ok_or_else(no_document)?;
        Ok(SessionDocumentInfo {
            default_version: document.default.to_string(),
            latest_version: document.latest().to_string(),
            tags: document.tags.clone(),
        })
    }

    /// Changes the session document.
    pub(super) fn write_document(&mut self, ctx: &mut Ctx<'_>, change: &DocumentChange) -> Result<Written> {
        match change {
            DocumentChange::Create { content, tags } => self.create_document(ctx, content, tags),
            DocumentChange::Update(content) => self.update_document(ctx, content),
            DocumentChange::Use(version) => self.use_version(ctx, version),
            DocumentChange::Tag(tags) => {
                let most = self.quotas.tags;
                self.retag_document(ctx, |old| {
                    old.extend(tags.iter().map(|(key, value)| (key.clone(), value.clone())));
                    if old.len() > most {
                        return Err(Refusal::new("TooManyTagsError", "The Targets parameter includes too many tags"));
                    }
                    reserved(tags)
                })
            }
            DocumentChange::Untag(keys) => self.retag_document(ctx, |old| {
                old.retain(|key, _| !keys.contains(key));
                Ok(())
            }),
            DocumentChange::Delete => {
                self.known_document(ctx)?;
                let until = ctx.listed_until();
                self.documents.bury(&SESSION_DOCUMENT.to_owned(), ctx.now, until);
                Ok(Written::Done)
            }
        }
    }

    /// The document, for a write that names it.
    fn known_document(&self, ctx: &mut Ctx<'_>) -> Result<&SimDocument> {
        match self.documents.get(SESSION_DOCUMENT) {
            Some(record) if !ctx.overlooks(record) => Ok(&record.value),
            _ => Err(no_document()),
        }
    }

    fn create_document(&mut self, ctx: &mut Ctx<'_>, content: &str, tags: &Tags) -> Result<Written> {
        if self.documents.contains_key(SESSION_DOCUMENT) {
            let message = format!("Document with same name {SESSION_DOCUMENT} already exists");
            return Err(Refusal::new("DocumentAlreadyExists", message));
        }
        check_content(content)?;
        reserved(tags)?;
        if tags.len() > self.quotas.tags {
            return Err(Refusal::new("ValidationException", "There are too many tags"));
        }
        if self.documents.len() + self.other_documents >= self.quotas.documents {
            return Err(Refusal::new("DocumentLimitExceeded", "You can have at most 500 active SSM documents."));
        }
        ctx.uncontended(Operation::CreateDocument)?;
        let version = SimDocumentVersion { content: content.to_owned(), status: DocumentStatus::Creating };
        let made = SimDocument {
            versions: [(1, version)].into(),
            default: 1,
            tags: tags.clone(),
            serial: ctx.ids.next("document"),
        };
        let made = ctx.record(made);
        self.documents.insert(SESSION_DOCUMENT.to_owned(), made);
        self.plan_version(ctx, 1);
        Ok(Written::Done)
    }

    fn update_document(&mut self, ctx: &mut Ctx<'_>, content: &str) -> Result<Written> {
        let most = self.quotas.document_versions;
        let document = self.known_document(ctx)?;
        check_content(content)?;
        let (number, versions) = (document.latest() + 1, document.versions.len());
        let newest = document.versions.last_key_value().map(|(_, version)| version);
        // Which code answers this is documented nowhere.
        if newest.is_some_and(|newest| matches!(newest.status, DocumentStatus::Creating | DocumentStatus::Updating)) {
            let message = "The newest version of the document is not active yet.";
            return Err(Refusal::new("InvalidDocumentOperation", message));
        }
        // Nor does anything say whether one that failed counts. Here it does not, or nothing could be made of it.
        if newest.is_some_and(|newest| newest.content == content && newest.status != DocumentStatus::Failed) {
            let message = "The content of the association document matches another document.";
            return Err(Refusal::new("DuplicateDocumentContent", message));
        }
        if versions >= most {
            return Err(Refusal::new("DocumentVersionLimitExceeded", "The document has too many versions."));
        }
        self.change_document(ctx, |document| {
            let version = SimDocumentVersion { content: content.to_owned(), status: DocumentStatus::Updating };
            document.versions.insert(number, version);
        });
        self.plan_version(ctx, number);
        Ok(Written::Done)
    }

    fn use_version(&mut self, ctx: &mut Ctx<'_>, version: &str) -> Result<Written> {
        let document = self.known_document(ctx)?;
        let number: u64 = version.parse().map_err(|_| no_version(version))?;
        let found = document.versions.get(&number);
        if found.is_none_or(|found| found.status != DocumentStatus::Active) {
            return Err(no_version(version));
        }
        self.change_document(ctx, |document| document.default = number);
        Ok(Written::Done)
    }

    /// Has the newest version used at once, active or not yet.
    pub(super) fn use_newest(&mut self, ctx: &mut Ctx<'_>) {
        self.change_document(ctx, |document| {
            document.default = document.latest();
            if let Some(newest) = document.versions.get_mut(&document.default) {
                newest.status = DocumentStatus::Active;
            }
        });
    }

    fn retag_document(&mut self, ctx: &mut Ctx<'_>, change: impl FnOnce(&mut Tags) -> Result) -> Result<Written> {
        let Ok(document) = self.known_document(ctx) else {
            return Err(Refusal::new("InvalidResourceId", "The resource ID is not valid."));
        };
        let mut tags = document.tags.clone();
        change(&mut tags)?;
        self.change_document(ctx, |document| document.tags = tags);
        Ok(Written::Done)
    }

    fn change_document(&mut self, ctx: &Ctx<'_>, change: impl FnOnce(&mut SimDocument)) {
        if let Some(record) = self.documents.get_mut(SESSION_DOCUMENT) {
            record.change(ctx.actor, ctx.now, ctx.weather, change);
        }
    }

    /// Plans what a new version becomes, or has it so at once if it takes no time.
    fn plan_version(&mut self, ctx: &mut Ctx<'_>, number: u64) {
        let fails = ctx.weather.lasts(ctx.now) && ctx.rng.chance(ctx.weather.document_fails);
        let status = if fails { DocumentStatus::Failed } else { DocumentStatus::Active };
        let takes = ctx.rng.within(ctx.weather.document_takes);
        let Some(serial) = self.session_document().map(|document| document.serial.clone()) else { return };
        if takes == Duration::ZERO {
            self.settle_version(ctx, number, status);
            return;
        }
        let event = Event::Document {
            account: ctx.account.clone(),
            region: ctx.region.clone(),
            serial,
            number,
            becomes: status,
        };
        ctx.agenda.plan(later(ctx.now, takes), event);
    }

    fn settle_version(&mut self, ctx: &Ctx<'_>, number: u64, status: DocumentStatus) {
        if let Some(record) = self.documents.get_mut(SESSION_DOCUMENT) {
            // By AWS itself: nobody's change of the document.
            let by = record.last_changed_by.clone();
            record.change(&by, ctx.now, ctx.weather, |document| {
                if let Some(version) = document.versions.get_mut(&number) {
                    version.status = status;
                }
            });
        }
    }

    /// The session document as the journal shows it, if it is there.
    pub(super) fn touched_document(&self) -> Option<Touched> {
        let record = self.documents.get(SESSION_DOCUMENT)?;
        Some(Touched {
            value: Some(record.content_in_use().to_owned()),
            ..touched(SESSION_DOCUMENT, ThingKind::Document, &record.tags, record)
        })
    }
}

fn no_version(version: &str) -> Refusal {
    let message = format!("The document version {version} is not valid or does not exist");
    Refusal::new("InvalidDocumentVersion", message)
}

fn reserved(tags: &Tags) -> Result {
    if tags.keys().any(|key| key.starts_with("aws:")) {
        return Err(Refusal::new("ValidationException", "Tag keys starting with 'aws:' are reserved"));
    }
    Ok(())
}

impl World {
    /// A version of the session document is done.
    pub(super) fn version_done(
        &mut self,
        account: &AccountId,
        region: &Region,
        serial: &str,
        number: u64,
        becomes: DocumentStatus,
    ) {
        let actor = Actor::Aws;
        let Some((state, ctx)) = self.split(&actor, account, region) else { return };
        if state.session_document().is_none_or(|document| document.serial != serial) {
            return;
        }
        let mut entry = Entry::new(&actor, account, region, "DocumentVersion");
        entry.detail = format!("{SESSION_DOCUMENT} version {number}: {}", becomes.as_str());
        entry.touched.extend(state.touched_document());
        state.settle_version(&ctx, number, becomes);
        self.enter(entry);
    }
}
