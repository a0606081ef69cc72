//! What is asked and told about settings, session preferences and metadata defaults.

use serde_json::json;
use ssm_ready_core::{
    calls::Operation,
    facts::settings::{
        DocumentStatus, DocumentVersion, MetadataDefaults, MetadataField, SESSION_DOCUMENT, SessionDocument,
        SessionDocumentInfo, Setting, SettingValue,
    },
    fault::{FaultKind, NO_ANSWER},
    write::{DocumentChange, Write, Written},
};

use super::calls::{answering, cloud, tags};
use crate::{
    Cloud,
    aws::testing::{Answer, ok, refused, refused_json, scope},
};

fn document_writes() -> [(DocumentChange, &'static str); 6] {
    [
        (DocumentChange::Create { content: "{}".into(), tags: tags() }, "CreateDocument"),
        (DocumentChange::Update("{}".into()), "UpdateDocument"),
        (DocumentChange::Use("2".into()), "UpdateDocumentDefaultVersion"),
        (DocumentChange::Tag(tags()), "AddTagsToResource"),
        (DocumentChange::Untag(["a".to_owned()].into()), "RemoveTagsFromResource"),
        (DocumentChange::Delete, "DeleteDocument"),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_setting_is_read_by_its_id() {
    let aws = answering(|_| {
        ok(
            r#"{"ServiceSetting":{"SettingValue":"service-role/r","LastModifiedDate":1764000000.984,"Status":"Customized",
            "LastModifiedUser":"arn:aws:sts::111122223333:assumed-role/other/x"}}"#,
        )
    });
    let (cloud, scope) = (cloud(&aws), scope());
    for setting in Setting::ALL {
        let read = cloud.setting(&scope, setting).await.unwrap().unwrap();
        let expected = SettingValue {
            value: Some("service-role/r".into()),
            status: "Customized".into(),
            modified_by: Some("arn:aws:sts::111122223333:assumed-role/other/x".into()),
            modified_at: Some("2025-11-24T16:00:00.984Z".parse().unwrap()),
        };
        assert_eq!(read, expected, "{setting}");
    }
    let asked: Vec<_> = aws.of("GetServiceSetting").iter().map(|seen| seen.json()["SettingId"].clone()).collect();
    assert_eq!(asked, Setting::ALL.map(|setting| json!(setting.id())));
}

#[tokio::test(start_paused = true)]
async fn a_setting_without_a_value_has_none_and_one_that_the_region_lacks_is_none() {
    let read = async |answer: Answer| {
        let aws = answering(move |_| answer.clone());
        cloud(&aws).setting(&scope(), Setting::HostManagementRole).await
    };
    for value in [r#""SettingValue":"$None","#, r#""SettingValue":"","#, ""] {
        let answer = ok(format!(r#"{{"ServiceSetting":{{{value}"LastModifiedUser":"System","Status":"Default"}}}}"#));
        let expected = SettingValue { status: "Default".into(), ..SettingValue::default() };
        assert_eq!(read(answer).await, Ok(Some(expected)), "{value}");
    }
    assert_eq!(read(refused_json(400, "ServiceSettingNotFound", "no")).await, Ok(None));
    assert_eq!(read(ok("{}")).await.unwrap_err().kind, FaultKind::Invalid);
    for (code, status, kind) in [
        ("InternalServerError", 500, FaultKind::Transient),
        ("AccessDeniedException", 400, FaultKind::Denied),
        ("ThrottlingException", 400, FaultKind::Throttled),
    ] {
        assert_eq!(read(refused_json(status, code, "no")).await.unwrap_err().kind, kind, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn settings_are_written_by_their_id_and_once() {
    let aws = answering(|_| ok("{}"));
    let (cloud_, scope) = (cloud(&aws), scope());
    let update = Write::UpdateSetting { setting: Setting::ActivationTier, value: "advanced".into() };
    let reset = Write::ResetSetting { setting: Setting::HostManagementRole };
    assert_eq!(cloud_.write(&scope, &update).await, Ok(Written::Done));
    assert_eq!(cloud_.write(&scope, &reset).await, Ok(Written::Done));
    let sent = json!({ "SettingId": "/ssm/managed-instance/activation-tier", "SettingValue": "advanced" });
    assert_eq!(aws.of("UpdateServiceSetting")[0].json(), sent);
    let sent = json!({ "SettingId": "/ssm/managed-instance/default-ec2-instance-management-role" });
    assert_eq!(aws.of("ResetServiceSetting")[0].json(), sent);

    for (code, status, kind) in [
        ("TooManyUpdates", 400, FaultKind::Throttled),
        ("ServiceSettingNotFound", 400, FaultKind::Unsupported),
        ("InternalServerError", 500, FaultKind::Transient),
        ("AccessDeniedException", 400, FaultKind::Denied),
        ("ValidationException", 400, FaultKind::Invalid),
    ] {
        for write in [&update, &reset] {
            let aws = answering(move |_| refused_json(status, code, "no"));
            let fault = cloud(&aws).write(&scope, write).await.unwrap_err();
            assert_eq!((fault.kind, fault.code.as_str()), (kind, code), "{write}");
            assert_eq!(aws.of(write.operation().name()).len(), 1, "{write} {code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_version_of_the_session_document_is_asked_for_as_json() {
    let aws = answering(|_| {
        ok(r#"{"Name":"SSM-SessionManagerRunShell","DocumentVersion":"3","Status":"Active","Content":"{\"a\":1}"}"#)
    });
    let (cloud, scope) = (cloud(&aws), scope());
    let expected =
        SessionDocument { version: "3".into(), content: r#"{"a":1}"#.into(), status: DocumentStatus::Active };
    for version in [DocumentVersion::Default, DocumentVersion::Latest] {
        assert_eq!(cloud.session_document(&scope, version).await, Ok(Some(expected.clone())));
    }
    let sent =
        |version: &str| json!({ "Name": SESSION_DOCUMENT, "DocumentVersion": version, "DocumentFormat": "JSON" });
    let seen: Vec<_> = aws.of("GetDocument").iter().map(|seen| seen.json()).collect();
    assert_eq!(seen, [sent("$DEFAULT"), sent("$LATEST")]);
}

#[tokio::test(start_paused = true)]
async fn the_session_document_is_described_with_its_versions_and_tags() {
    let aws = answering(|_| {
        ok(
            r#"{"Document":{"DefaultVersion":"1","LatestVersion":"12","Tags":[{"Key":"ssmready.dev/cluster","Value":"c1"}]}}"#,
        )
    });
    let read = cloud(&aws).session_document_info(&scope()).await;
    let expected = SessionDocumentInfo { default_version: "1".into(), latest_version: "12".into(), tags: tags() };
    assert_eq!(read, Ok(Some(expected)));
    let sent = json!({ "Name": SESSION_DOCUMENT, "DocumentVersion": "$DEFAULT" });
    assert_eq!(aws.of("DescribeDocument")[0].json(), sent);
}

#[tokio::test(start_paused = true)]
async fn no_document_is_none_and_one_without_what_it_needs_is_a_fault() {
    let aws = answering(|_| refused_json(400, "InvalidDocument", "Document does not exist."));
    assert_eq!(cloud(&aws).session_document(&scope(), DocumentVersion::Default).await, Ok(None));
    assert_eq!(cloud(&aws).session_document_info(&scope()).await, Ok(None));
    // The version is missing, and not the document: that is for the next look.
    let aws = answering(|_| refused_json(400, "InvalidDocumentVersion", "no"));
    let fault = cloud(&aws).session_document(&scope(), DocumentVersion::Latest).await.unwrap_err();
    assert_eq!(fault.code, "InvalidDocumentVersion");
    for body in ["{}", r#"{"Content":"{}"}"#, r#"{"DocumentVersion":"1"}"#, r#"{"Document":{"DefaultVersion":"1"}}"#] {
        let aws = answering(move |_| ok(body));
        assert!(cloud(&aws).session_document(&scope(), DocumentVersion::Latest).await.is_err(), "{body}");
        assert!(cloud(&aws).session_document_info(&scope()).await.is_err(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_session_document_is_written_one_call_each() {
    let aws = answering(|_| ok("{}"));
    let (cloud, scope) = (cloud(&aws), scope());
    for (change, _) in document_writes() {
        assert_eq!(cloud.write(&scope, &Write::Document(change)).await, Ok(Written::Done));
    }
    let tag = json!([{ "Key": "ssmready.dev/cluster", "Value": "c1" }]);
    for (operation, sent) in [
        (
            "CreateDocument",
            json!({ "Name": SESSION_DOCUMENT, "DocumentType": "Session", "DocumentFormat": "JSON", "Content": "{}",
                    "Tags": tag }),
        ),
        (
            "UpdateDocument",
            json!({ "Name": SESSION_DOCUMENT, "DocumentVersion": "$LATEST", "DocumentFormat": "JSON",
                    "Content": "{}" }),
        ),
        ("UpdateDocumentDefaultVersion", json!({ "Name": SESSION_DOCUMENT, "DocumentVersion": "2" })),
        ("AddTagsToResource", json!({ "ResourceType": "Document", "ResourceId": SESSION_DOCUMENT, "Tags": tag })),
        (
            "RemoveTagsFromResource",
            json!({ "ResourceType": "Document", "ResourceId": SESSION_DOCUMENT, "TagKeys": ["a"] }),
        ),
        ("DeleteDocument", json!({ "Name": SESSION_DOCUMENT })),
    ] {
        let seen: Vec<_> = aws.of(operation).iter().map(|seen| seen.json()).collect();
        assert_eq!(seen, [sent], "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_already_so_is_done_and_no_other() {
    for (code, status, kind) in [
        ("DuplicateDocumentContent", 400, FaultKind::Conflict),
        ("InvalidDocument", 400, FaultKind::NotFound),
        ("DocumentAlreadyExists", 400, FaultKind::Conflict),
        ("DocumentLimitExceeded", 400, FaultKind::LimitExceeded),
        ("DocumentVersionLimitExceeded", 400, FaultKind::LimitExceeded),
        ("DuplicateDocumentVersionName", 400, FaultKind::Conflict),
        ("InvalidDocumentContent", 400, FaultKind::Invalid),
        ("InvalidDocumentSchemaVersion", 400, FaultKind::Invalid),
        ("InvalidDocumentOperation", 400, FaultKind::Invalid),
        ("InvalidDocumentVersion", 400, FaultKind::NotFound),
        ("MaxDocumentSizeExceeded", 400, FaultKind::Invalid),
        ("NoLongerSupportedException", 400, FaultKind::Invalid),
        ("AssociatedInstances", 400, FaultKind::Invalid),
        ("TooManyUpdates", 400, FaultKind::Throttled),
        ("InternalServerError", 500, FaultKind::Transient),
    ] {
        for (change, operation) in document_writes() {
            let done = matches!(
                (operation, code),
                ("UpdateDocument", "DuplicateDocumentContent") | ("DeleteDocument", "InvalidDocument")
            );
            let aws = answering(move |_| refused_json(status, code, "no"));
            let written = cloud(&aws).write(&scope(), &Write::Document(change)).await;
            assert_eq!(aws.of(operation).len(), 1, "{operation} {code}: once");
            match written {
                Ok(written) => assert!(done && written == Written::Done, "{operation} {code}"),
                Err(fault) => assert_eq!((fault.kind, done), (kind, false), "{operation} {code}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_defaults_are_what_is_said() {
    let defaults = async |inner: &'static str| {
        let aws = answering(move |_| {
            ok(format!("<GetInstanceMetadataDefaultsResponse>{inner}</GetInstanceMetadataDefaultsResponse>"))
        });
        cloud(&aws).metadata_defaults(&scope()).await.unwrap()
    };
    for nothing in ["", "<accountLevel/>", "<accountLevel><managedBy>account</managedBy></accountLevel>"] {
        assert_eq!(defaults(nothing).await, MetadataDefaults::default(), "{nothing}");
    }
    let read = defaults(
        "<accountLevel><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit>\
         <httpEndpoint>Enabled</httpEndpoint><httpTokensEnforced>disabled</httpTokensEnforced>\
         <managedBy>declarative-policy</managedBy><managedExceptionMessage>Ask us</managedExceptionMessage>\
         </accountLevel>",
    )
    .await;
    let values = [
        (MetadataField::HttpTokens, "required"),
        (MetadataField::HopLimit, "2"),
        (MetadataField::HttpEndpoint, "enabled"),
        (MetadataField::HttpTokensEnforced, "disabled"),
    ];
    assert_eq!(read.values, values.map(|(field, value)| (field, value.to_owned())).into());
    assert!(read.by_declarative_policy);
    assert_eq!(read.exception_message.as_deref(), Some("Ask us"));
}

#[tokio::test(start_paused = true)]
async fn only_the_metadata_defaults_that_change_are_sent() {
    let aws = answering(|_| {
        ok("<ModifyInstanceMetadataDefaultsResponse><return>true</return></ModifyInstanceMetadataDefaultsResponse>")
    });
    let cloud = cloud(&aws);
    let all = MetadataField::ALL.map(|field| (field, field.no_preference().to_owned()));
    let values = [(MetadataField::HttpTokens, "required"), (MetadataField::HopLimit, "3")];
    for values in [all.into(), values.map(|(field, value)| (field, value.to_owned())).into()] {
        assert_eq!(cloud.write(&scope(), &Write::ModifyMetadataDefaults { values }).await, Ok(Written::Done));
    }
    let seen = aws.of("ModifyInstanceMetadataDefaults");
    for field in MetadataField::ALL {
        assert_eq!(seen[0].field(field.name()), field.no_preference());
    }
    assert_eq!((seen[1].field("HttpTokens"), seen[1].field("HttpPutResponseHopLimit")), ("required", "3"));
    let rest = &MetadataField::ALL[2..];
    assert!(rest.iter().all(|field| !seen[1].form.contains_key(field.name())), "{:?}", seen[1].form);
}

#[tokio::test(start_paused = true)]
async fn metadata_defaults_that_are_not_taken_are_not_done() {
    let write = |hops: &str| Write::ModifyMetadataDefaults { values: [(MetadataField::HopLimit, hops.into())].into() };
    let aws = answering(|_| {
        ok("<ModifyInstanceMetadataDefaultsResponse><return>false</return></ModifyInstanceMetadataDefaultsResponse>")
    });
    assert!(cloud(&aws).write(&scope(), &write("2")).await.is_err());
    let fault = cloud(&aws).write(&scope(), &write("two")).await.unwrap_err();
    assert_eq!((fault.kind, aws.of("ModifyInstanceMetadataDefaults").len()), (FaultKind::Invalid, 1));
    let aws = answering(|_| refused(403, "UnauthorizedOperation", "no"));
    assert_eq!(cloud(&aws).write(&scope(), &write("2")).await.unwrap_err().kind, FaultKind::Denied);
    let aws = answering(|_| Answer::Lost);
    let fault = cloud(&aws).write(&scope(), &write("2")).await.unwrap_err();
    assert_eq!((fault.code.as_str(), aws.of("ModifyInstanceMetadataDefaults").len()), (NO_ANSWER, 1));
}

#[tokio::test(start_paused = true)]
async fn the_regions_are_those_that_are_enabled() {
    let aws = answering(|_| {
        ok("<DescribeRegionsResponse><regionInfo><item><regionName>eu-west-1</regionName></item>\
            <item><regionName>mx-central-1</regionName></item><item><regionName>not a region</regionName></item>\
            <item/></regionInfo></DescribeRegionsResponse>")
    });
    let read = cloud(&aws).regions(&scope()).await.unwrap();
    assert_eq!(read.iter().map(|region| region.as_str()).collect::<Vec<_>>(), ["eu-west-1", "mx-central-1"]);
    let seen = aws.of("DescribeRegions");
    assert!(seen.len() == 1 && !seen[0].form.contains_key("AllRegions"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_of_systems_manager_whose_answer_is_lost_is_not_made_again() {
    let aws = answering(|_| Answer::Lost);
    let write = Write::Document(DocumentChange::Update("{}".into()));
    let fault = cloud(&aws).write(&scope(), &write).await.unwrap_err();
    assert_eq!((fault.operation, fault.code.as_str()), (Operation::UpdateDocument, NO_ANSWER));
    assert_eq!(aws.of("UpdateDocument").len(), 1);
}
