//! What is asked and told about session audit: the rule of EventBridge, trails and topics.

use serde_json::json;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        audit::{AUDIT_RULE, AuditRule, Comparison, RuleTarget, Selector, Topic, Trail, TrailWork},
    },
    fault::{FaultKind, NO_ANSWER},
    write::{RuleChange, Write, Written},
};

use super::calls::{answering, cloud, tags};
use crate::{
    Cloud,
    aws::testing::{Answer, Seen, ok, refused_json, refused_query, scope},
};

const RULE: &str = "arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit";
const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:ssm-sessions";
const OURS: &str = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/ours";
const OF_ALL: &str = "arn:aws:cloudtrail:us-east-1:444455556666:trail/organisation";

fn rule_writes() -> [(RuleChange, &'static str); 7] {
    let rule = || RULE.to_owned();
    [
        (RuleChange::Put { pattern: "{}".into(), tags: tags() }, "PutRule"),
        (RuleChange::Put { pattern: "{}".into(), tags: Tags::new() }, "PutRule"),
        (RuleChange::Target(TOPIC.into()), "PutTargets"),
        (RuleChange::Tag { rule: rule(), tags: tags() }, "TagResource"),
        (RuleChange::Untag { rule: rule(), keys: ["a".to_owned()].into() }, "UntagResource"),
        (RuleChange::RemoveTargets(["ssm-ready".to_owned()].into()), "RemoveTargets"),
        (RuleChange::Delete, "DeleteRule"),
    ]
}

/// An EventBridge with the rule, its targets on two pages.
fn events(seen: &Seen) -> Answer {
    ok(match (seen.operation.as_str(), seen.json()["NextToken"].as_str()) {
        ("DescribeRule", _) => json!({
            "Name": AUDIT_RULE, "Arn": RULE, "EventPattern": "{\"source\":[\"aws.ssm\"]}", "State": "DISABLED",
            "ScheduleExpression": "", "EventBusName": "default",
        }),
        ("ListTargetsByRule", None) => {
            json!({ "Targets": [{ "Id": "ssm-ready", "Arn": TOPIC }, { "Id": "a", "Arn": "arn:a", "Input": "{}" }],
                    "NextToken": "t1" })
        }
        ("ListTargetsByRule", _) => json!({ "Targets": [
            { "Id": "b", "Arn": "arn:b", "InputPath": "$.detail" },
            { "Id": "c", "Arn": "arn:c", "InputTransformer": { "InputTemplate": "x" } },
        ] }),
        ("ListTagsForResource", _) => json!({ "Tags": [{ "Key": "ssmready.dev/cluster", "Value": "c1" }] }),
        (other, _) => panic!("{other}"),
    }
    .to_string())
}

#[tokio::test(start_paused = true)]
async fn the_rule_is_read_with_every_page_of_its_targets_and_its_tags() {
    let aws = answering(events);
    let read = cloud(&aws).audit_rule(&scope()).await.unwrap().unwrap();
    let target = |id: &str, arn: &str, altered| RuleTarget { id: id.into(), arn: arn.into(), altered };
    let expected = AuditRule {
        arn: RULE.into(),
        pattern: Some(r#"{"source":["aws.ssm"]}"#.into()),
        schedule: None,
        state: "DISABLED".into(),
        targets: vec![
            target("ssm-ready", TOPIC, false),
            target("a", "arn:a", true),
            target("b", "arn:b", true),
            target("c", "arn:c", true),
        ],
        tags: tags(),
    };
    assert_eq!(read, expected);
    assert_eq!(aws.of("DescribeRule")[0].json(), json!({ "Name": AUDIT_RULE }));
    assert_eq!(aws.of("ListTargetsByRule")[0].json(), json!({ "Rule": AUDIT_RULE, "Limit": 100 }));
    assert_eq!(aws.of("ListTargetsByRule")[1].json()["NextToken"], "t1");
    assert_eq!(aws.of("ListTagsForResource")[0].json(), json!({ "ResourceARN": RULE }));
    assert!(aws.of("DescribeRule")[0].host.starts_with("events.eu-west-1."), "{:?}", aws.of("DescribeRule"));
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_not_there_or_goes_between_the_calls_is_none() {
    for gone in ["DescribeRule", "ListTargetsByRule", "ListTagsForResource"] {
        let refusing = |code: &'static str, status: u16| {
            let aws = answering(
                move |seen| {
                    if seen.operation == gone { refused_json(status, code, "no") } else { events(seen) }
                },
            );
            let cloud = cloud(&aws);
            async move { cloud.audit_rule(&scope()).await }
        };
        assert_eq!(refusing("ResourceNotFoundException", 400).await, Ok(None), "{gone}");
        for (code, status, kind) in [
            ("AccessDeniedException", 400, FaultKind::Denied),
            ("ThrottlingException", 400, FaultKind::Throttled),
            ("InternalException", 500, FaultKind::Transient),
            ("OtherNotFoundException", 404, FaultKind::NotFound),
        ] {
            let fault = refusing(code, status).await.unwrap_err();
            assert_eq!((fault.kind, fault.operation.name()), (kind, gone), "{code}");
        }
    }
    for lacks in ["{}", r#"{"State":"ENABLED"}"#, r#"{"Arn":"arn:r"}"#] {
        let aws = answering(move |seen| if seen.operation == "DescribeRule" { ok(lacks) } else { events(seen) });
        assert_eq!(cloud(&aws).audit_rule(&scope()).await.unwrap_err().kind, FaultKind::Invalid, "{lacks}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rule_is_written_one_call_each_and_nothing_is_left_to_be_guessed() {
    let aws = answering(|_| ok(r#"{"FailedEntryCount":0,"FailedEntries":[]}"#));
    let (cloud, scope) = (cloud(&aws), scope());
    for (change, _) in rule_writes() {
        assert_eq!(cloud.write(&scope, &Write::Rule(change)).await, Ok(Written::Done));
    }
    let tag = json!([{ "Key": "ssmready.dev/cluster", "Value": "c1" }]);
    let put = json!({
        "Name": AUDIT_RULE, "EventPattern": "{}", "State": "ENABLED",
        "Description": "Reports the start, resumption and end of Session Manager sessions. Kept by ssm-ready.",
    });
    let mut made = put.clone();
    made["Tags"] = tag.clone();
    for (operation, sent) in [
        ("PutRule", vec![made, put]),
        ("PutTargets", vec![json!({ "Rule": AUDIT_RULE, "Targets": [{ "Id": "ssm-ready", "Arn": TOPIC }] })]),
        ("TagResource", vec![json!({ "ResourceARN": RULE, "Tags": tag })]),
        ("UntagResource", vec![json!({ "ResourceARN": RULE, "TagKeys": ["a"] })]),
        ("RemoveTargets", vec![json!({ "Rule": AUDIT_RULE, "Ids": ["ssm-ready"] })]),
        ("DeleteRule", vec![json!({ "Name": AUDIT_RULE })]),
    ] {
        let seen: Vec<_> = aws.of(operation).iter().map(|seen| seen.json()).collect();
        assert_eq!(seen, sent, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_gone_already_is_done_and_no_other_refusal() {
    for (code, status, kind) in [
        ("ResourceNotFoundException", 400, FaultKind::NotFound),
        ("ConcurrentModificationException", 400, FaultKind::Conflict),
        ("ManagedRuleException", 400, FaultKind::Conflict),
        ("LimitExceededException", 400, FaultKind::LimitExceeded),
        ("InvalidEventPatternException", 400, FaultKind::Invalid),
        ("ValidationException", 400, FaultKind::Invalid),
        ("AccessDeniedException", 400, FaultKind::Denied),
        ("InternalException", 500, FaultKind::Transient),
    ] {
        for (change, operation) in rule_writes() {
            let done = code == "ResourceNotFoundException" && ["RemoveTargets", "DeleteRule"].contains(&operation);
            let aws = answering(move |_| refused_json(status, code, "no"));
            let written = cloud(&aws).write(&scope(), &Write::Rule(change)).await;
            assert_eq!(aws.of(operation).len(), 1, "{operation} {code}: once");
            match written {
                Ok(written) => assert!(done && written == Written::Done, "{operation} {code}"),
                Err(fault) => assert_eq!((fault.kind, done), (kind, false), "{operation} {code}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_is_not_set_because_the_answer_is_200() {
    for (body, code, kind) in [
        (
            r#"{"FailedEntryCount":1,"FailedEntries":[{"TargetId":"ssm-ready","ErrorCode":"ConcurrentModificationException","ErrorMessage":"later"}]}"#,
            "ConcurrentModificationException",
            FaultKind::Conflict,
        ),
        (
            r#"{"FailedEntryCount":1,"FailedEntries":[{"TargetId":"ssm-ready","ErrorCode":"InternalException"}]}"#,
            "InternalException",
            FaultKind::Transient,
        ),
        (r#"{"FailedEntryCount":1,"FailedEntries":[{"TargetId":"ssm-ready"}]}"#, "FailedEntry", FaultKind::Invalid),
        (r#"{"FailedEntryCount":1}"#, "FailedEntry", FaultKind::Invalid),
        (r#"{"FailedEntries":[{"ErrorCode":"ManagedRuleException"}]}"#, "ManagedRuleException", FaultKind::Conflict),
    ] {
        for change in [RuleChange::Target(TOPIC.into()), RuleChange::RemoveTargets(["ssm-ready".to_owned()].into())] {
            let aws = answering(move |_| ok(body));
            let fault = cloud(&aws).write(&scope(), &Write::Rule(change)).await.unwrap_err();
            assert_eq!((fault.code.as_str(), fault.kind), (code, kind), "{body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_the_rule_whose_answer_is_lost_is_not_made_again() {
    for (change, operation) in rule_writes() {
        let aws = answering(|_| Answer::Lost);
        let fault = cloud(&aws).write(&scope(), &Write::Rule(change)).await.unwrap_err();
        assert_eq!((fault.code.as_str(), aws.of(operation).len()), (NO_ANSWER, 1), "{operation}");
    }
}

/// A CloudTrail with a trail of ours and one of the organisation.
fn cloudtrail(seen: &Seen) -> Answer {
    let ours = seen.body.contains("trail/ours");
    ok(match seen.operation.as_str() {
        "DescribeTrails" => json!({ "trailList": [
            { "Name": "ours", "TrailARN": OURS, "HomeRegion": "eu-west-1", "IsMultiRegionTrail": false },
            { "Name": "organisation", "TrailARN": OF_ALL, "HomeRegion": "us-east-1", "IsMultiRegionTrail": true,
              "IsOrganizationTrail": true },
            { "Name": "nameless" },
        ] }),
        "GetTrailStatus" => json!({ "IsLogging": ours }),
        "GetEventSelectors" if ours => json!({ "TrailARN": OURS, "EventSelectors": [
            { "ReadWriteType": "WriteOnly", "IncludeManagementEvents": true,
              "ExcludeManagementEventSources": ["kms.amazonaws.com"] },
            { "DataResources": [] },
            { "IncludeManagementEvents": false, "ReadWriteType": "ReadOnly" },
        ] }),
        "GetEventSelectors" => json!({ "AdvancedEventSelectors": [{ "Name": "m", "FieldSelectors": [
            { "Field": "eventCategory", "Equals": ["Management"] },
            { "Field": "eventSource", "NotEquals": ["kms.amazonaws.com", "rds.amazonaws.com"], "NotStartsWith": ["a"],
              "NotEndsWith": ["b"], "StartsWith": ["c"], "EndsWith": ["d"] },
        ] }] }),
        other => panic!("{other}"),
    }
    .to_string())
}

#[tokio::test(start_paused = true)]
async fn trails_are_read_with_the_shadows_of_others_and_what_they_record() {
    let aws = answering(cloudtrail);
    let read = cloud(&aws).trails(&scope()).await.unwrap();
    let basic = |management, read_write: &str, excluded: &[&str]| Selector::Basic {
        management,
        read_write: read_write.into(),
        excluded: excluded.iter().map(|text| (*text).to_owned()).collect(),
    };
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let advanced = Selector::Advanced(vec![
        ("eventCategory".into(), [(Comparison::Equals, texts(&["Management"]))].into()),
        (
            "eventSource".into(),
            [
                (Comparison::NotEquals, texts(&["kms.amazonaws.com", "rds.amazonaws.com"])),
                (Comparison::NotStartsWith, texts(&["a"])),
                (Comparison::NotEndsWith, texts(&["b"])),
                (Comparison::StartsWith, texts(&["c"])),
                (Comparison::EndsWith, texts(&["d"])),
            ]
            .into(),
        ),
    ]);
    let ours =
        vec![basic(true, "WriteOnly", &["kms.amazonaws.com"]), basic(true, "All", &[]), basic(false, "ReadOnly", &[])];
    let expected = [
        Trail {
            arn: OURS.into(),
            home_region: "eu-west-1".into(),
            multi_region: false,
            work: TrailWork::Known { logging: true, selectors: ours },
        },
        Trail {
            arn: OF_ALL.into(),
            home_region: "us-east-1".into(),
            multi_region: true,
            work: TrailWork::Known { logging: false, selectors: vec![advanced] },
        },
    ];
    assert_eq!(read, expected);
    assert_eq!(aws.of("DescribeTrails")[0].json(), json!({ "includeShadowTrails": true }));
    let asked = |operation: &str| aws.of(operation).iter().map(|seen| seen.json()).collect::<Vec<_>>();
    assert_eq!(asked("GetTrailStatus"), [json!({ "Name": OURS }), json!({ "Name": OF_ALL })]);
    assert_eq!(asked("GetEventSelectors"), [json!({ "TrailName": OURS }), json!({ "TrailName": OF_ALL })]);
}

#[tokio::test(start_paused = true)]
async fn a_trail_of_others_may_keep_to_itself_and_one_of_ours_may_not() {
    let read = |operation: &'static str, whose: &'static str, code: &'static str, status| {
        let aws = answering(move |seen| {
            let refused = seen.operation == operation && seen.body.contains(whose);
            if refused { refused_json(status, code, "no") } else { cloudtrail(seen) }
        });
        let cloud = cloud(&aws);
        async move { cloud.trails(&scope()).await }
    };
    for operation in ["GetTrailStatus", "GetEventSelectors"] {
        for code in ["AccessDeniedException", "TrailNotFoundException", "UnsupportedOperationException"] {
            let all = read(operation, "trail/organisation", code, 400).await.unwrap();
            let why = format!("cloudtrail:{operation} failed: {code}: no");
            assert_eq!((all.len(), &all[1].work), (2, &TrailWork::Unreadable(why)), "{operation} {code}");
        }
        let gone = read(operation, "trail/ours", "TrailNotFoundException", 400).await.unwrap();
        assert_eq!(gone.iter().map(|trail| trail.arn.as_str()).collect::<Vec<_>>(), [OF_ALL]);
        for (whose, code, status, kind) in [
            ("trail/ours", "AccessDeniedException", 400, FaultKind::Denied),
            ("trail/ours", "NoErrorCode", 404, FaultKind::NotFound),
            ("trail/organisation", "ThrottlingException", 400, FaultKind::Throttled),
            ("trail/organisation", "InternalFailure", 500, FaultKind::Transient),
        ] {
            let fault = read(operation, whose, code, status).await.unwrap_err();
            assert_eq!((fault.kind, fault.operation.name()), (kind, operation), "{whose} {code}");
        }
    }
    let fault = read("DescribeTrails", "", "AccessDeniedException", 400).await.unwrap_err();
    assert_eq!((fault.kind, fault.operation), (FaultKind::Denied, Operation::DescribeTrails));
}

fn topic(attributes: &str) -> Answer {
    ok(format!(
        "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>{attributes}</Attributes>\
         </GetTopicAttributesResult></GetTopicAttributesResponse>"
    ))
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_read_with_its_policy_and_its_key() {
    let read = async |answer: Answer| {
        let aws = answering(move |_| answer.clone());
        let read = cloud(&aws).topic(&scope(), TOPIC).await;
        assert_eq!(aws.of("GetTopicAttributes")[0].field("TopicArn"), TOPIC);
        read
    };
    let entry = |key: &str, value: &str| format!("<entry><key>{key}</key><value>{value}</value></entry>");
    let both = entry("Policy", "{&quot;Statement&quot;:[]}") + &entry("KmsMasterKeyId", "alias/aws/sns");
    let expected = Topic { policy: Some(r#"{"Statement":[]}"#.into()), key: Some("alias/aws/sns".into()) };
    assert_eq!(read(topic(&both)).await, Ok(Some(expected)));
    let neither = entry("TopicArn", TOPIC) + &entry("KmsMasterKeyId", "");
    assert_eq!(read(topic(&neither)).await, Ok(Some(Topic::default())));
    assert_eq!(read(refused_query(404, "NotFound", "Topic does not exist")).await, Ok(None));
    for (status, code, kind) in [
        (404, "NoErrorCode", FaultKind::NotFound),
        (403, "AuthorizationError", FaultKind::Denied),
        (400, "InvalidParameter", FaultKind::Invalid),
        (400, "Throttling", FaultKind::Throttled),
        (500, "InternalError", FaultKind::Transient),
    ] {
        assert_eq!(read(refused_query(status, code, "no")).await.unwrap_err().kind, kind, "{code}");
    }
}
