//! The session document: its versions, which of them is used, and its life.

use ssm_ready_core::{
    calls::Operation,
    facts::settings::{DocumentStatus, DocumentVersion, SessionDocument},
    fault::FaultKind,
    write::DocumentChange,
};

use super::*;

/// Preferences that differ by the time until an idle session ends.
pub(super) fn content(minutes: u32) -> String {
    format!(
        r#"{{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{{"runAsEnabled":false,"idleSessionTimeout":"{minutes}","maxSessionDuration":""}}}}"#
    )
}

pub(super) fn make(minutes: u32, tags: &[(&str, &str)]) -> Write {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Write::Document(DocumentChange::Create { content: content(minutes), tags })
}

fn update(minutes: u32) -> Write {
    Write::Document(DocumentChange::Update(content(minutes)))
}

fn use_version(version: &str) -> Write {
    Write::Document(DocumentChange::Use(version.to_owned()))
}

const DELETE: Write = Write::Document(DocumentChange::Delete);

async fn version(cloud: &SimCloud, version: DocumentVersion) -> Option<SessionDocument> {
    cloud.session_document(&scope(), version).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_document_is_made_changed_and_used_version_by_version() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    assert_eq!(version(&cloud, DocumentVersion::Default).await, None);
    assert_eq!(cloud.session_document_info(&scope()).await.unwrap(), None);
    cloud.write(&scope(), &make(20, &[("owner", "us")])).await.unwrap();
    let made = version(&cloud, DocumentVersion::Default).await.unwrap();
    assert_eq!((made.version.as_str(), made.status), ("1", DocumentStatus::Creating));
    assert_eq!(made.content, content(20));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(version(&cloud, DocumentVersion::Default).await.unwrap().status, DocumentStatus::Active);
    cloud.write(&scope(), &update(30)).await.unwrap();
    let newest = version(&cloud, DocumentVersion::Latest).await.unwrap();
    assert_eq!((newest.version.as_str(), newest.status), ("2", DocumentStatus::Updating));
    assert_eq!(place.code(&update(40)), "InvalidDocumentOperation");
    // The one that is used stays the same until another is chosen, which must be there.
    assert_eq!(version(&cloud, DocumentVersion::Default).await.unwrap().version, "1");
    for version in ["2", "3", "0", "x", "$LATEST"] {
        let fault = cloud.write(&scope(), &use_version(version)).await.unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("InvalidDocumentVersion", FaultKind::NotFound), "{version}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    cloud.write(&scope(), &use_version("2")).await.unwrap();
    assert_eq!(version(&cloud, DocumentVersion::Default).await.unwrap().content, content(30));
    let info = cloud.session_document_info(&scope()).await.unwrap().unwrap();
    assert_eq!((info.default_version.as_str(), info.latest_version.as_str()), ("2", "2"));
    assert_eq!(info.tags, [("owner".to_owned(), "us".to_owned())].into());
    cloud.write(&scope(), &use_version("1")).await.unwrap();
    assert_eq!(version(&cloud, DocumentVersion::Default).await.unwrap().content, content(20));
}

#[tokio::test(start_paused = true)]
async fn what_the_newest_version_has_already_is_done_and_makes_none() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| weather.document_takes = Span::ZERO);
    place.act(&make(20, &[])).unwrap();
    assert_eq!(cloud.write(&scope(), &update(20)).await.unwrap(), Written::Done);
    let last = place.sim.with(|world| world.journal.last().cloned()).unwrap();
    assert!(matches!(&last.outcome, Outcome::Refused { code, .. } if code == "DuplicateDocumentContent"));
    assert!(!last.took_effect);
    // Only the newest counts: there and back makes two.
    cloud.write(&scope(), &update(30)).await.unwrap();
    cloud.write(&scope(), &update(20)).await.unwrap();
    place.region(|state| assert_eq!(state.session_document().unwrap().versions.len(), 3));
}

#[tokio::test(start_paused = true)]
async fn versions_and_documents_are_limited() {
    let place = place(tokio_clock(), 1);
    place.region(|state| {
        assert_eq!((state.quotas.document_versions, state.quotas.documents), (1000, 500));
        state.other_documents = 500;
    });
    place.weather(|weather| weather.document_takes = Span::ZERO);
    assert_eq!(place.code(&make(20, &[])), "DocumentLimitExceeded");
    place.region(|state| state.other_documents = 499);
    place.act(&make(20, &[])).unwrap();
    for n in 0..999 {
        place.act(&update(1 + n % 2)).unwrap();
    }
    let fault = place.act(&update(30)).unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("DocumentVersionLimitExceeded", FaultKind::LimitExceeded));
}

#[test]
fn documents_are_refused_with_the_code_that_aws_documents() {
    let place = place(Hand::default().clock(), 1);
    place.weather(|weather| weather.document_takes = Span::ZERO);
    let with =
        |inputs: &str| format!(r#"{{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{{{inputs}}}}}"#);
    let code = |content: String| place.code(&Write::Document(DocumentChange::Create { content, tags: Tags::new() }));
    for (content, expected) in [
        ("{".to_owned(), "InvalidDocumentContent"),
        ("[]".to_owned(), "InvalidDocumentContent"),
        (content(20).replace("1.0", "2.2"), "InvalidDocumentSchemaVersion"),
        (content(20).replace("Standard_Stream", "Other"), "InvalidDocumentContent"),
        (content(61), "InvalidDocumentContent"),
        (content(0), "InvalidDocumentContent"),
        (with(r#""idleSessionTimeout":20"#), "InvalidDocumentContent"),
        (with(r#""maxSessionDuration":"1441""#), "InvalidDocumentContent"),
        (with(r#""runAsEnabled":"true""#), "InvalidDocumentContent"),
        (with(r#""kmsKeyId":true"#), "InvalidDocumentContent"),
        (with(r#""shellProfile":{"macos":"x"}"#), "InvalidDocumentContent"),
        (with(r#""never":"heard"#), "InvalidDocumentContent"),
        (with(&format!(r#""kmsKeyId":"{}""#, "k".repeat(64 * 1024))), "MaxDocumentSizeExceeded"),
        (with(r#""maxSessionDuration":"1440","shellProfile":{"linux":"date","windows":""}"#), "Done"),
    ] {
        assert_eq!(code(content.clone()), expected, "{content:.200}");
    }
    assert_eq!(code(content(20)), "DocumentAlreadyExists");
    let fault = place.act(&make(20, &[])).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Conflict);
    assert_eq!(place.code(&Write::Document(DocumentChange::Update("{".to_owned()))), "InvalidDocumentContent");
    assert_eq!(place.code(&DELETE), "Done");
    for write in [update(20), use_version("1")] {
        let fault = place.act(&write).unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("InvalidDocument", FaultKind::NotFound));
    }
    assert_eq!(place.code(&DELETE), "Done", "as at the port");
    let tag = Write::Document(DocumentChange::Tag([("a".to_owned(), "1".to_owned())].into()));
    assert_eq!(place.code(&tag), "InvalidResourceId");
}

#[tokio::test(start_paused = true)]
async fn tags_come_and_go() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.act(&make(20, &[("a", "1"), ("b", "2")])).unwrap();
    let tag = |pairs: &[(&str, &str)]| {
        let tags = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Write::Document(DocumentChange::Tag(tags))
    };
    cloud.write(&scope(), &tag(&[("b", "3"), ("c", "4")])).await.unwrap();
    cloud.write(&scope(), &Write::Document(DocumentChange::Untag(["a".to_owned()].into()))).await.unwrap();
    let info = cloud.session_document_info(&scope()).await.unwrap().unwrap();
    let expected = [("b", "3"), ("c", "4")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(info.tags, expected.into());
    assert_eq!(place.code(&tag(&[("aws:x", "1")])), "ValidationException");
    place.region(|state| state.quotas.tags = 2);
    assert_eq!(place.code(&tag(&[("d", "1")])), "TooManyTagsError");
    // To tag what one creates needs the permission to tag.
    place.act(&DELETE).unwrap();
    place.weather(|weather| weather.iam_propagation = Span::ZERO);
    place.sim.with(|world| world.set_denied(&account(), ROLE, [Operation::AddTagsToResource]));
    assert_eq!(cloud.write(&scope(), &make(20, &[("a", "1")])).await.unwrap_err().code, "AccessDeniedException");
    cloud.write(&scope(), &make(20, &[])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_version_may_fail_and_is_never_used() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.act(&make(20, &[])).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    place.weather(|weather| weather.document_fails = 1.0);
    cloud.write(&scope(), &update(30)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(version(&cloud, DocumentVersion::Latest).await.unwrap().status, DocumentStatus::Failed);
    assert_eq!(cloud.write(&scope(), &use_version("2")).await.unwrap_err().code, "InvalidDocumentVersion");
    // The same again makes another.
    place.weather(|weather| weather.document_fails = 0.0);
    cloud.write(&scope(), &update(30)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    cloud.write(&scope(), &use_version("3")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_document_is_seen_late_and_a_while_longer() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| {
        weather.visible_after = Span::seconds(10);
        weather.listed_after = Span::seconds(10);
        weather.fresh_not_found = 1.0;
    });
    cloud.write(&scope(), &make(20, &[])).await.unwrap();
    assert_eq!(version(&cloud, DocumentVersion::Default).await, None);
    assert_eq!(place.code(&make(20, &[])), "DocumentAlreadyExists");
    assert_eq!(place.code(&update(30)), "InvalidDocument");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(version(&cloud, DocumentVersion::Default).await.is_some());
    cloud.write(&scope(), &DELETE).await.unwrap();
    assert!(version(&cloud, DocumentVersion::Default).await.is_some());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(version(&cloud, DocumentVersion::Default).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_for_one_document_does_not_happen_to_the_next() {
    let place = place(tokio_clock(), 1);
    place.act(&make(20, &[])).unwrap();
    place.act(&DELETE).unwrap();
    place.weather(|weather| weather.document_takes = Span::seconds(100));
    place.act(&make(30, &[])).unwrap();
    tokio::time::sleep(Duration::from_secs(50)).await;
    let status = || place.region(|state| state.session_document().unwrap().versions[&1].status.clone());
    assert_eq!(status(), DocumentStatus::Creating);
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(status(), DocumentStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn others_edit_move_and_delete_it() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| weather.document_takes = Span::ZERO);
    let edit = |minutes| {
        place.sim.with(|w| w.edit_session_document(&Actor::Person, &account(), &region(), &content(minutes)).unwrap());
    };
    edit(10);
    edit(15);
    let used = version(&cloud, DocumentVersion::Default).await.unwrap();
    assert_eq!((used.version.as_str(), used.content, used.status), ("2", content(15), DocumentStatus::Active));
    place.sim.with(|w| w.use_document_version(&Actor::Person, &account(), &region(), 1).unwrap());
    assert_eq!(version(&cloud, DocumentVersion::Default).await.unwrap().content, content(10));
    cloud.write(&scope(), &update(30)).await.unwrap();
    let touched = place.sim.with(|world| world.journal.last().unwrap().touched[0].clone());
    assert_eq!(
        (touched.kind, touched.made_by, touched.last_changed_by),
        (ThingKind::Document, Actor::Person, Actor::Person)
    );
    assert_eq!(touched.value, Some(content(10)));
    place.sim.with(|w| w.delete_session_document(&Actor::Person, &account(), &region()).unwrap());
    assert_eq!(version(&cloud, DocumentVersion::Default).await, None);
    place.sim.with(|world| world.check().unwrap());
}
