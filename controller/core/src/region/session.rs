//! Session Manager preferences: one document for an account and region, compared by meaning.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Case, Found, RegionMemory, RegionSeen, SeenDocument, Targets, ours, targets};
use crate::{
    evaluate::{Facet, Verdict},
    facts::settings::{DocumentStatus, DocumentVersion, SESSION_DOCUMENT, SessionDocument, SessionDocumentInfo},
    reason::Reason,
    snapshot::FactKey,
    write::{DocumentChange, Write},
};

/// Minutes after which an idle session ends where nothing is said (Session Manager, "Specify an idle session timeout").
const IDLE_MINUTES: u16 = 20;

/// What is wanted of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionPreferences {
    /// The user that sessions run as on Linux and macOS, empty for the one named by tags; none: `ssm-user`.
    pub run_as: Option<String>,
    /// Commands that a session on Linux and macOS begins with.
    pub shell_linux: String,
    /// Commands that a session on Windows begins with.
    pub shell_windows: String,
    /// Minutes after which an idle session ends: 1 to 60; none: 20.
    pub idle_minutes: Option<u16>,
    /// Minutes after which any session ends: 1 to 1440; none: never.
    pub max_minutes: Option<u16>,
    /// What sessions are logged to and encrypted with.
    pub targets: Targets,
}

impl SessionPreferences {
    /// Whether it has code or another user on nodes.
    #[must_use]
    pub fn shapes_shells(&self) -> bool {
        self.run_as.is_some() || !self.shell_linux.is_empty() || !self.shell_windows.is_empty()
    }
}

/// The document (Systems Manager, "Session document schema"). Numbers are strings to AWS.
#[must_use]
pub fn content(wish: &SessionPreferences) -> String {
    let (bucket, group) = (wish.targets.bucket.as_ref(), wish.targets.log_group.as_ref());
    json!({
        "schemaVersion": "1.0",
        "description": "Session Manager preferences, kept by ssm-ready",
        "sessionType": "Standard_Stream",
        "inputs": {
            "s3BucketName": bucket.map(|target| target.name.as_str()).unwrap_or_default(),
            "s3KeyPrefix": bucket.map(|target| target.prefix.as_str()).unwrap_or_default(),
            "s3EncryptionEnabled": bucket.is_some_and(|target| target.encrypted),
            "cloudWatchLogGroupName": group.map(|target| target.name.as_str()).unwrap_or_default(),
            "cloudWatchEncryptionEnabled": group.is_some_and(|target| target.encrypted),
            "cloudWatchStreamingEnabled": group.is_some_and(|target| target.streaming),
            "kmsKeyId": wish.targets.key.as_ref().map(|key| key.as_str()).unwrap_or_default(),
            "runAsEnabled": wish.run_as.is_some(),
            "runAsDefaultUser": wish.run_as.as_deref().unwrap_or_default(),
            "idleSessionTimeout": wish.idle_minutes.unwrap_or(IDLE_MINUTES).to_string(),
            "maxSessionDuration": wish.max_minutes.map(|m| m.to_string()).unwrap_or_default(),
            "shellProfile": { "windows": wish.shell_windows, "linux": wish.shell_linux },
        },
    })
    .to_string()
}

/// Whether an input is declared: one that is not, somebody else decides.
fn declares(wish: &SessionPreferences, input: &str) -> bool {
    match input {
        "runAsEnabled" | "runAsDefaultUser" | "idleSessionTimeout" | "maxSessionDuration" | "shellProfile" => true,
        "s3BucketName" | "s3KeyPrefix" | "s3EncryptionEnabled" => wish.targets.bucket.is_some(),
        "cloudWatchLogGroupName" | "cloudWatchEncryptionEnabled" | "cloudWatchStreamingEnabled" => {
            wish.targets.log_group.is_some()
        }
        "kmsKeyId" => wish.targets.key.is_some(),
        _ => false,
    }
}

/// Likewise, with those inputs of the document in use that are not declared: where sessions are logged, and with which
/// key they are encrypted, may be decided by somebody else.
pub(super) fn content_over(wish: &SessionPreferences, in_use: &str) -> String {
    let (Ok(mut wanted), Ok(found)) =
        (serde_json::from_str::<Value>(&content(wish)), serde_json::from_str::<Value>(in_use))
    else {
        return content(wish);
    };
    for (name, value) in found["inputs"].as_object().into_iter().flatten() {
        if !declares(wish, name) {
            wanted["inputs"][name] = value.clone();
        }
    }
    wanted.to_string()
}

/// What an input says where it is not there.
fn default_of(input: &str) -> String {
    match input {
        "s3EncryptionEnabled" | "cloudWatchEncryptionEnabled" | "cloudWatchStreamingEnabled" | "runAsEnabled" => {
            "false".to_owned()
        }
        "idleSessionTimeout" => IDLE_MINUTES.to_string(),
        _ => String::new(),
    }
}

/// The inputs that mean something, by their paths; none for a text that is no session document.
fn meaning(content: &str) -> Option<BTreeMap<String, String>> {
    let document: Value = serde_json::from_str(content).ok()?;
    if document["sessionType"].as_str().is_none_or(|kind| kind != "Standard_Stream") {
        return None;
    }
    let mut inputs = BTreeMap::new();
    let empty = serde_json::Map::new();
    for (name, value) in document["inputs"].as_object().unwrap_or(&empty) {
        match value {
            Value::Object(parts) => {
                inputs.extend(parts.iter().map(|(part, value)| (format!("{name}.{part}"), text(value))));
            }
            value => {
                inputs.insert(name.clone(), text(value));
            }
        }
    }
    // How a target is used means nothing where there is none.
    let off = |target: &str, inputs: &BTreeMap<String, String>| inputs.get(target).is_none_or(String::is_empty);
    if off("s3BucketName", &inputs) {
        inputs.retain(|name, _| !["s3KeyPrefix", "s3EncryptionEnabled"].contains(&name.as_str()));
    }
    if off("cloudWatchLogGroupName", &inputs) {
        inputs
            .retain(|name, _| !["cloudWatchEncryptionEnabled", "cloudWatchStreamingEnabled"].contains(&name.as_str()));
    }
    if inputs.get("runAsEnabled").is_none_or(|on| on == "false") {
        inputs.remove("runAsDefaultUser");
    }
    // What is empty is not said.
    inputs.retain(|name, value| !value.is_empty() && *value != default_of(name));
    Some(inputs)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The inputs in which two documents differ.
pub(super) fn differing(one: &str, other: &str) -> Vec<String> {
    let (Some(one), Some(other)) = (meaning(one), meaning(other)) else { return vec!["sessionType".to_owned()] };
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

fn is_same(document: &SessionDocument, wanted: &str) -> bool {
    differing(&document.content, wanted).is_empty()
}

/// Whether AWS is at work on a version. What we do not know is not ready either, and may become so.
fn is_pending(status: &DocumentStatus) -> bool {
    match status {
        DocumentStatus::Creating | DocumentStatus::Updating | DocumentStatus::Deleting | DocumentStatus::Unknown(_) => {
            true
        }
        DocumentStatus::Active | DocumentStatus::Failed => false,
    }
}

/// Whether the newest version has to be known: the one in use is not as declared, and there is a newer one.
pub(super) fn needs_latest(case: Case<'_>) -> bool {
    let Some(wish) = &case.posture.session else { return false };
    let (Some(Some(document)), Some(Some(info))) =
        (case.view.document(DocumentVersion::Default).known(), case.view.document_info().known())
    else {
        return false;
    };
    !is_same(document, &content_over(wish, &document.content)) && info.latest_version != document.version
}

pub(super) fn judge(case: Case<'_>, verdict: &mut Verdict<RegionSeen>) {
    const FACET: Facet = Facet::SessionPreferences;
    let Some(wish) = &case.posture.session else { return };
    if wish.shapes_shells() && !case.posture.shell_allowed {
        verdict.fail(
            FACET,
            Reason::GuardrailViolated,
            "sessionPreferences.runAs and shellProfile run on every node, and guardrails.sessionShell of the AwsAccount is Forbidden: remove them, or have it set to Allowed",
        );
        return;
    }
    let targets = targets::judge(case, &wish.targets, verdict);
    let reading = case.view.document(DocumentVersion::Default);
    let Some(found) = reading.known() else {
        return verdict.unknown(FACET, &FactKey::SessionDocument(DocumentVersion::Default), &reading);
    };
    let about = case.view.document_info();
    let Some(info) = about.known() else { return verdict.unknown(FACET, &FactKey::SessionDocumentInfo, &about) };
    verdict.seen.document = Some(seen(case, found.as_ref(), info.as_ref()));
    // Whatever the document says, it stays: with these targets it would be of no use.
    let Some(targets_current) = targets else { return };
    let may_write = targets_current && reading.current().is_some() && about.current().is_some();
    let Some(document) = found else {
        verdict.fail(FACET, Reason::PreferencesDrifted, format!("there is no document {SESSION_DOCUMENT}")).differs(
            "sessionPreferences",
            "a document",
            "none",
        );
        if may_write {
            let tags = case.posture.owner.tags();
            verdict.propose(FACET, Write::Document(DocumentChange::Create { content: content(wish), tags }));
        }
        return;
    };
    let wanted = content_over(wish, &document.content);
    let differing = differing(&document.content, &wanted);
    if differing.is_empty() && document.status == DocumentStatus::Failed {
        return failed(verdict, &document.version);
    }
    if differing.is_empty() && !is_pending(&document.status) {
        verdict.pass(FACET, format!("version {} of {SESSION_DOCUMENT} is as declared", document.version));
        return;
    }
    let Some(info) = info else {
        // Deleted between the two reads, or made.
        return pending(verdict, "the document is being made or deleted".to_owned());
    };
    if is_pending(&document.status) {
        return pending(
            verdict,
            format!("version {} of {SESSION_DOCUMENT} is {}", document.version, document.status.as_str()),
        );
    }
    let is_ours = ours(case.posture, &info.tags);
    // One that could not be made is of no use, whatever it says.
    let what = if differing.is_empty() { "its status".to_owned() } else { differing.join(", ") };
    if !(is_ours || case.posture.take_over) {
        verdict
            .fail(
                FACET,
                Reason::Foreign,
                format!(
                    "version {} of {SESSION_DOCUMENT} differs in {what}, and does not carry the tags of ssm-ready: correct it, or set spec.adoption: TakeOver",
                    document.version
                ),
            )
            .differs("sessionPreferences", "as declared", &what);
        return;
    }
    let mut may_write = may_write;
    // Which one is in use was read more lately than which is the newest.
    let newest = if info.latest_version == document.version {
        None
    } else {
        let reading = case.view.document(DocumentVersion::Latest);
        may_write &= reading.current().is_some();
        match reading.known() {
            Some(newest) => newest.as_ref(),
            None => return verdict.unknown(FACET, &FactKey::SessionDocument(DocumentVersion::Latest), &reading),
        }
    };
    let ready = newest.filter(|newest| is_same(newest, &wanted));
    if let Some(newest) = ready.filter(|newest| is_pending(&newest.status)) {
        return pending(
            verdict,
            format!("version {} of {SESSION_DOCUMENT} is {}", newest.version, newest.status.as_str()),
        );
    }
    if let Some(newest) = ready.filter(|newest| newest.status == DocumentStatus::Failed) {
        return failed(verdict, &newest.version);
    }
    verdict
        .fail(
            FACET,
            Reason::PreferencesDrifted,
            format!("version {} of {SESSION_DOCUMENT} differs in {what}", document.version),
        )
        .differs("sessionPreferences", "as declared", &what);
    if !may_write {
        return;
    }
    if !is_ours {
        verdict.propose(FACET, Write::Document(DocumentChange::Tag(case.posture.owner.tags())));
    }
    let change = match ready {
        Some(newest) => DocumentChange::Use(newest.version.clone()),
        None => DocumentChange::Update(wanted),
    };
    verdict.propose(FACET, Write::Document(change));
}

/// AWS takes no second version with the content of the newest, and makes at most 1,000: nothing is tried again.
fn failed(verdict: &mut Verdict<RegionSeen>, version: &str) {
    verdict.fail(
        Facet::SessionPreferences,
        Reason::RequestInvalid,
        format!(
            "version {version} of {SESSION_DOCUMENT} is as declared, and AWS could not make it: see why (aws ssm describe-document --name {SESSION_DOCUMENT} --document-version {version}), then delete that version, and it is made anew"
        ),
    );
}

fn pending(verdict: &mut Verdict<RegionSeen>, message: String) {
    verdict.fail(Facet::SessionPreferences, Reason::PreferencesPending, message);
    verdict.watch.extend([
        FactKey::SessionDocument(DocumentVersion::Default),
        FactKey::SessionDocument(DocumentVersion::Latest),
        FactKey::SessionDocumentInfo,
    ]);
}

fn seen(case: Case<'_>, document: Option<&SessionDocument>, info: Option<&SessionDocumentInfo>) -> SeenDocument {
    SeenDocument {
        default_version: document.map(|d| d.version.clone()),
        latest_version: info.map(|i| i.latest_version.clone()),
        ours: info.map(|i| ours(case.posture, &i.tags)),
    }
}

/// Notes which version was used before ours.
pub(super) fn note_ahead(write: &Write, seen: &RegionSeen, memory: &mut RegionMemory) {
    if matches!(write, Write::Document(_)) && memory.document == Found::NotYet {
        let before = seen.document.as_ref().and_then(|d| d.default_version.clone());
        memory.document = before.map_or(Found::Unset, Found::Value);
    }
}
