//! The session document (domain 4).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        settings::{DocumentStatus, DocumentVersion, SessionDocument, SessionDocumentInfo},
    },
    fault::{FaultKind, NO_ANSWER},
    write::{DocumentChange, Write},
};

use crate::{
    lab::{ELSEWHERE, Lab, Rule, Weather},
    stage::{Desk, refused, refused_as, tags},
};

facts!(
    there_is_no_document_at_first,
    a_document_is_made_with_its_content_and_tags,
    a_document_is_made_once,
    a_new_version_is_the_newest_and_not_the_one_in_use,
    an_older_version_can_be_used_again,
    a_version_that_is_not_there_is_not_used,
    what_equals_the_newest_version_counts_as_made,
    only_the_newest_version_is_compared,
    a_version_takes_its_time,
    versions_are_limited,
    content_is_checked,
    a_document_that_is_not_there_is_not_found,
    tags_of_a_document_come_and_go,
    a_document_that_is_deleted_is_gone,
    documents_are_of_an_account_and_region,
    a_denied_document_names_its_action,
    a_document_whose_answer_is_lost_was_made,
);

fn content(minutes: u32) -> String {
    let inputs = format!(
        r#"{{"s3BucketName":"","s3EncryptionEnabled":false,"runAsEnabled":false,"idleSessionTimeout":"{minutes}"}}"#
    );
    format!(r#"{{"schemaVersion":"1.0","description":"of a case","sessionType":"Standard_Stream","inputs":{inputs}}}"#)
}

fn create(content: String, tags: Tags) -> Write {
    Write::Document(DocumentChange::Create { content, tags })
}

fn update(minutes: u32) -> Write {
    Write::Document(DocumentChange::Update(content(minutes)))
}

fn choose(version: &str) -> Write {
    Write::Document(DocumentChange::Use(version.to_owned()))
}

async fn version(desk: &Desk<'_>, version: DocumentVersion) -> Result<SessionDocument> {
    desk.cloud().await.session_document(&desk.scope, version).await?.context("there is no document")
}

async fn info(desk: &Desk<'_>) -> Result<SessionDocumentInfo> {
    desk.cloud().await.session_document_info(&desk.scope).await?.context("there is no document")
}

/// The same JSON, whatever its text.
fn same(one: &str, other: &str) -> Result<()> {
    let parse = serde_json::from_str::<serde_json::Value>;
    assert_eq!(parse(one)?, parse(other)?);
    Ok(())
}

/// A place that has a document.
async fn with_document(lab: &dyn Lab) -> Result<Desk<'_>> {
    let desk = Desk::set(lab).await?;
    desk.done(create(content(20), Tags::new())).await?;
    Ok(desk)
}

/// `InvalidDocument`.
async fn there_is_no_document_at_first(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for wanted in [DocumentVersion::Default, DocumentVersion::Latest] {
        assert_eq!(desk.cloud().await.session_document(&desk.scope, wanted).await?, None);
    }
    assert_eq!(desk.cloud().await.session_document_info(&desk.scope).await?, None);
    Ok(())
}

async fn a_document_is_made_with_its_content_and_tags(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let owner = tags(&[("owner", "us"), ("with space", "a b/c")]);
    desk.done(create(content(20), owner.clone())).await?;
    for wanted in [DocumentVersion::Default, DocumentVersion::Latest] {
        let made = version(&desk, wanted).await?;
        assert_eq!((made.version.as_str(), made.status), ("1", DocumentStatus::Active));
        same(&made.content, &content(20))?;
    }
    let said = info(&desk).await?;
    assert_eq!((said.default_version.as_str(), said.latest_version.as_str(), said.tags), ("1", "1", owner));
    Ok(())
}

async fn a_document_is_made_once(lab: &dyn Lab) -> Result<()> {
    let desk = with_document(lab).await?;
    let again = desk.write(create(content(30), Tags::new())).await;
    refused_as(FaultKind::Conflict, "DocumentAlreadyExists", again)?;
    same(&version(&desk, DocumentVersion::Latest).await?.content, &content(20))
}

/// `UpdateDocument` "does not change the default".
async fn a_new_version_is_the_newest_and_not_the_one_in_use(lab: &dyn Lab) -> Result<()> {
    let desk = with_document(lab).await?;
    desk.done(update(30)).await?;
    let said = info(&desk).await?;
    assert_eq!((said.default_version.as_str(), said.latest_version.as_str()), ("1", "2"));
    same(&version(&desk, DocumentVersion::Default).await?.content, &content(20))?;
    let newest = version(&desk, DocumentVersion::Latest).await?;
    assert_eq!(newest.version, "2");
    same(&newest.content, &content(30))?;
    desk.done(choose("2")).await?;
    let used = version(&desk, DocumentVersion::Default).await?;
    assert_eq!(used, newest);
    assert_eq!(info(&desk).await?.default_version, "2");
    Ok(())
}

async fn an_older_version_can_be_used_again(lab: &dyn Lab) -> Result<()> {
    let desk = with_document(lab).await?;
    desk.done(update(30)).await?;
    desk.done(choose("2")).await?;
    desk.done(choose("1")).await?;
    same(&version(&desk, DocumentVersion::Default).await?.content, &content(20))?;
    assert_eq!(info(&desk).await?.latest_version, "2");
    Ok(())
}

async fn a_version_that_is_not_there_is_not_used(lab: &dyn Lab) -> Result<()> {
    let desk = with_document(lab).await?;
    refused_as(FaultKind::NotFound, "InvalidDocumentVersion", desk.write(choose("7")).await)?;
    assert_eq!(info(&desk).await?.default_version, "1");
    Ok(())
}

/// `DuplicateDocumentContent`: "then just set the default".
async fn what_equals_the_newest_version_counts_as_made(lab: &dyn Lab) -> Result<()> {
    let desk = with_document(lab).await?;
    desk.done(update(20)).await?;
    assert_eq!(info(&desk).await?.latest_version, "1");
    Ok(())
}

async fn only_the_newest_version_is_compared(lab: &dyn Lab) -> Result<()> {
    let desk = with_document(lab).await?;
    desk.done(update(30)).await?;
    desk.done(update(20)).await?;
    assert_eq!(info(&desk).await?.latest_version, "3");
    Ok(())
}

/// `Creating` and `Updating`, and then `Active`; until then it is not used.
async fn a_version_takes_its_time(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let takes = Duration::from_secs(60);
    lab.rule(&desk.at, Rule::DocumentTakes(takes)).await?;
    desk.done(create(content(20), Tags::new())).await?;
    assert_eq!(version(&desk, DocumentVersion::Default).await?.status, DocumentStatus::Creating);
    desk.pass(takes).await?;
    assert_eq!(version(&desk, DocumentVersion::Default).await?.status, DocumentStatus::Active);
    desk.done(update(30)).await?;
    assert_eq!(version(&desk, DocumentVersion::Latest).await?.status, DocumentStatus::Updating);
    assert_eq!(version(&desk, DocumentVersion::Default).await?.status, DocumentStatus::Active);
    ensure!(desk.write(choose("2")).await.is_err(), "used before it is active");
    desk.pass(takes).await?;
    assert_eq!(version(&desk, DocumentVersion::Latest).await?.status, DocumentStatus::Active);
    desk.done(choose("2")).await
}

/// `DocumentVersionLimitExceeded`.
async fn versions_are_limited(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    lab.rule(&desk.at, Rule::DocumentVersions(2)).await?;
    desk.done(create(content(20), Tags::new())).await?;
    desk.done(update(30)).await?;
    refused_as(FaultKind::LimitExceeded, "DocumentVersionLimitExceeded", desk.write(update(40)).await)?;
    assert_eq!(info(&desk).await?.latest_version, "2");
    // What is there already needs no other.
    desk.done(update(30)).await
}

/// `InvalidDocumentContent`, `InvalidDocumentSchemaVersion`, `MaxDocumentSizeExceeded` (64 KB).
async fn content_is_checked(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let inputs =
        |text: &str| format!(r#"{{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{{{text}}}}}"#);
    for (wrong, code) in [
        ("no JSON".to_owned(), "InvalidDocumentContent"),
        (content(20).replace("1.0", "2.2"), "InvalidDocumentSchemaVersion"),
        (content(61), "InvalidDocumentContent"),
        (inputs(r#""idleSessionTimeout":20"#), "InvalidDocumentContent"),
        (inputs(r#""maxSessionDuration":"1441""#), "InvalidDocumentContent"),
        (inputs(r#""runAsEnabled":"true""#), "InvalidDocumentContent"),
        (inputs(&format!(r#""s3KeyPrefix":"{}""#, "x".repeat(64 * 1024))), "MaxDocumentSizeExceeded"),
    ] {
        let fault = desk.write(create(wrong, Tags::new())).await.err().with_context(|| format!("no {code}"))?;
        assert_eq!(fault.code, code);
        ensure!([FaultKind::Invalid, FaultKind::LimitExceeded].contains(&fault.kind), "{fault}");
    }
    assert_eq!(desk.cloud().await.session_document_info(&desk.scope).await?, None);
    Ok(())
}

async fn a_document_that_is_not_there_is_not_found(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for write in [update(20), choose("1")] {
        refused_as(FaultKind::NotFound, "InvalidDocument", desk.write(write).await)?;
    }
    // Nothing is left to delete.
    desk.done(Write::Document(DocumentChange::Delete)).await
}

async fn tags_of_a_document_come_and_go(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    desk.done(create(content(20), tags(&[("a", "1"), ("b", "2")]))).await?;
    desk.done(Write::Document(DocumentChange::Tag(tags(&[("b", "3"), ("c", "4")])))).await?;
    desk.done(Write::Document(DocumentChange::Untag(["a".to_owned(), "never".to_owned()].into()))).await?;
    assert_eq!(info(&desk).await?.tags, tags(&[("b", "3"), ("c", "4")]));
    // They are the document's, whatever its version.
    desk.done(update(30)).await?;
    assert_eq!(info(&desk).await?.tags, tags(&[("b", "3"), ("c", "4")]));
    Ok(())
}

async fn a_document_that_is_deleted_is_gone(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    desk.done(create(content(20), tags(&[("owner", "us")]))).await?;
    desk.done(update(30)).await?;
    desk.done(Write::Document(DocumentChange::Delete)).await?;
    assert_eq!(desk.cloud().await.session_document(&desk.scope, DocumentVersion::Default).await?, None);
    // Another one of the name has nothing of it.
    desk.done(create(content(20), Tags::new())).await?;
    let said = info(&desk).await?;
    assert_eq!((said.latest_version.as_str(), said.tags), ("1", Tags::new()));
    Ok(())
}

async fn documents_are_of_an_account_and_region(lab: &dyn Lab) -> Result<()> {
    let (desk, other) = (with_document(lab).await?, Desk::set(lab).await?);
    for scope in [desk.at.in_region(ELSEWHERE)?.scope(), other.scope] {
        assert_eq!(desk.cloud().await.session_document(&scope, DocumentVersion::Default).await?, None);
    }
    Ok(())
}

async fn a_denied_document_names_its_action(lab: &dyn Lab) -> Result<()> {
    let desk = with_document(lab).await?;
    let denied = [
        (Operation::UpdateDocument, update(30)),
        (Operation::UpdateDocumentDefaultVersion, choose("1")),
        (Operation::DeleteDocument, Write::Document(DocumentChange::Delete)),
        (Operation::AddTagsToResource, Write::Document(DocumentChange::Tag(tags(&[("a", "1")])))),
        (Operation::RemoveTagsFromResource, Write::Document(DocumentChange::Untag(["a".to_owned()].into()))),
    ];
    for operation in denied.iter().map(|(operation, _)| *operation).chain([Operation::GetDocument]) {
        lab.weather(&desk.at, operation, Weather::Denied).await?;
    }
    for (operation, write) in denied {
        assert_eq!(refused(FaultKind::Denied, desk.write(write).await)?.operation, operation);
    }
    let read = desk.cloud().await.session_document(&desk.scope, DocumentVersion::Default).await;
    assert_eq!(refused(FaultKind::Denied, read)?.operation, Operation::GetDocument);
    let said = info(&desk).await?;
    assert_eq!((said.latest_version.as_str(), said.tags), ("1", Tags::new()));
    Ok(())
}

async fn a_document_whose_answer_is_lost_was_made(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    lab.weather(&desk.at, Operation::CreateDocument, Weather::LostAnswer).await?;
    let lost = desk.write(create(content(20), tags(&[("owner", "us")]))).await;
    refused_as(FaultKind::Transient, NO_ANSWER, lost)?;
    lab.clear_weather(&desk.at).await?;
    assert_eq!(info(&desk).await?.tags, tags(&[("owner", "us")]));
    Ok(())
}
