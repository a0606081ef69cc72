//! What is asked and told about what sessions are logged to and encrypted with.

use serde_json::json;
use ssm_ready_core::{
    facts::{
        Permission, Question,
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    fault::{Fault, FaultKind},
};

use super::calls::{answering, cloud};
use crate::{
    Cloud,
    aws::testing::{Answer, ok, refused_json, refused_query, scope},
};

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-1111-2222-3333-444455556666";

/// An error of S3, with headers.
fn refused_s3(status: u16, code: &str, headers: &[(&'static str, &'static str)]) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>no</Message><RequestId>r-1</RequestId></Error>");
    Answer::With(status, headers.to_vec(), body)
}

fn located(place: &str) -> Answer {
    ok(format!(r#"<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{place}</LocationConstraint>"#))
}

fn is_in(region: &str) -> Result<Option<Bucket>, Fault> {
    Ok(Some(Bucket { region: Some(region.parse().unwrap()) }))
}

async fn bucket(answer: Answer) -> Result<Option<Bucket>, Fault> {
    let aws = answering(move |_| answer.clone());
    cloud(&aws).bucket(&scope(), &"logs".into()).await
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_asked_where_it_is() {
    for (place, region) in
        [("eu-west-1", "eu-west-1"), ("us-gov-west-1", "us-gov-west-1"), ("EU", "eu-west-1"), ("", "us-east-1")]
    {
        assert_eq!(bucket(located(place)).await, is_in(region), "{place}");
    }
    assert_eq!(bucket(located("the moon")).await.unwrap_err().kind, FaultKind::Invalid);
    let aws = answering(|_| located("eu-west-1"));
    cloud(&aws).bucket(&scope(), &"logs".into()).await.unwrap();
    cloud(&aws).bucket(&scope(), &"logs.of.sessions".into()).await.unwrap();
    let hosts: Vec<String> = aws.of("GetBucketLocation").into_iter().map(|seen| seen.host).collect();
    // The certificate is not for names with dots.
    assert_eq!(hosts, ["logs.s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"]);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_elsewhere_is_no_fault() {
    let there = [("x-amz-bucket-region", "eu-west-2")];
    let here = [("x-amz-bucket-region", "eu-west-1")];
    assert_eq!(bucket(refused_s3(301, "PermanentRedirect", &there)).await, is_in("eu-west-2"));
    assert_eq!(bucket(refused_s3(301, "PermanentRedirect", &[])).await, Ok(Some(Bucket { region: None })));
    assert_eq!(bucket(refused_s3(400, "AuthorizationHeaderMalformed", &there)).await, is_in("eu-west-2"));
    assert_eq!(bucket(refused_s3(400, "IllegalLocationConstraintException", &there)).await, is_in("eu-west-2"));
    // That is another trouble.
    for headers in [&here[..], &[]] {
        let fault = bucket(refused_s3(400, "AuthorizationHeaderMalformed", headers)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Invalid, "{headers:?}");
    }
    let fault = bucket(refused_s3(403, "AccessDenied", &there)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_none_only_by_s3s_own_word() {
    let encryption = async |answer: Answer| {
        let aws = answering(move |_| answer.clone());
        cloud(&aws).bucket_encryption(&scope(), &"logs".into()).await
    };
    assert_eq!(bucket(refused_s3(404, "NoSuchBucket", &[])).await, Ok(None));
    assert_eq!(encryption(refused_s3(404, "NoSuchBucket", &[])).await, Ok(None));
    for (code, status, kind) in [
        ("AccessDenied", 403, FaultKind::Denied),
        ("SlowDown", 503, FaultKind::Throttled),
        ("InternalError", 500, FaultKind::Transient),
        ("ExpiredToken", 400, FaultKind::Expired),
        ("NoSuchKey", 404, FaultKind::NotFound),
    ] {
        assert_eq!(bucket(refused_s3(status, code, &[])).await.unwrap_err().kind, kind, "{code}");
        let fault = encryption(refused_s3(status, code, &[])).await.unwrap_err();
        assert_eq!((fault.kind, fault.code.as_str()), (kind, code));
    }
    assert!(bucket(Answer::Of(404, "<html/>".into())).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_buckets_encryption_is_that_of_its_default() {
    let read = async |answer: Answer| {
        let aws = answering(move |_| answer.clone());
        let read = cloud(&aws).bucket_encryption(&scope(), &"logs".into()).await;
        assert_eq!(aws.of("GetBucketEncryption").len(), 1);
        read
    };
    let rules =
        |rules: &str| ok(format!("<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>"));
    let default = |inner: &str| {
        rules(&format!(
            "<Rule><ApplyServerSideEncryptionByDefault>{inner}</ApplyServerSideEncryptionByDefault>\
             <BucketKeyEnabled>false</BucketKeyEnabled></Rule>"
        ))
    };
    let is = |algorithm: Option<&str>, key: Option<&str>| {
        let [algorithm, key] = [algorithm, key].map(|text| text.map(str::to_owned));
        Ok(Some(BucketEncryption { algorithm, key }))
    };
    assert_eq!(read(default("<SSEAlgorithm>AES256</SSEAlgorithm>")).await, is(Some("AES256"), None));
    let inner = format!("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{KEY}</KMSMasterKeyID>");
    assert_eq!(read(default(&inner)).await, is(Some("aws:kms"), Some(KEY)));
    let new = "<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>";
    assert_eq!(read(default(new)).await, is(Some("aws:kms:dsse"), None));
    assert_eq!(read(rules("<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>")).await, is(None, None));
    assert_eq!(read(rules("")).await, is(None, None));
    assert_eq!(read(refused_s3(404, "ServerSideEncryptionConfigurationNotFoundError", &[])).await, is(None, None));
}

#[tokio::test(start_paused = true)]
async fn a_log_group_is_the_one_of_exactly_the_name() {
    let aws = answering(|seen| match seen.json()["nextToken"].as_str() {
        None => ok(r#"{"logGroups":[{"logGroupName":"/ssm/sessions-2","kmsKeyId":"other"}],"nextToken":"t1"}"#),
        Some(_) => {
            ok(format!(r#"{{"logGroups":[{{"logGroupName":"/ssm/sessions","kmsKeyId":"{KEY}"}}],"nextToken":"t2"}}"#))
        }
    });
    let read = cloud(&aws).log_group(&scope(), &"/ssm/sessions".into()).await;
    assert_eq!(read, Ok(Some(LogGroup { kms_key: Some(KEY.to_owned()) })));
    let asked: Vec<_> = aws.of("DescribeLogGroups").iter().map(|seen| seen.json()).collect();
    let first = json!({ "logGroupNamePrefix": "/ssm/sessions", "limit": 50 });
    let second = json!({ "logGroupNamePrefix": "/ssm/sessions", "limit": 50, "nextToken": "t1" });
    assert_eq!(asked, [first, second], "and no page after that which has it");

    let read = async |answer: Answer| {
        let aws = answering(move |_| answer.clone());
        cloud(&aws).log_group(&scope(), &"/ssm/sessions".into()).await
    };
    let plain = r#"{"logGroups":[{"logGroupName":"/ssm/sessions"}]}"#;
    assert_eq!(read(ok(plain)).await, Ok(Some(LogGroup { kms_key: None })));
    for none in ["{}", r#"{"logGroups":[]}"#, r#"{"logGroups":[{"logGroupName":"/ssm/sessions/a"},{}]}"#] {
        assert_eq!(read(ok(none)).await, Ok(None), "{none}");
    }
    for (code, status, kind) in [
        ("AccessDeniedException", 400, FaultKind::Denied),
        ("ThrottlingException", 400, FaultKind::Throttled),
        ("ServiceUnavailableException", 503, FaultKind::Transient),
        ("InvalidParameterException", 400, FaultKind::Invalid),
    ] {
        assert_eq!(read(refused_json(status, code, "no")).await.unwrap_err().kind, kind, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_described_or_is_none() {
    let read = async |answer: Answer| {
        let aws = answering(move |_| answer.clone());
        let read = cloud(&aws).key(&scope(), &KEY.into()).await;
        assert_eq!(aws.of("DescribeKey")[0].json(), json!({ "KeyId": KEY }));
        read
    };
    let metadata = |rest: &str| ok(format!(r#"{{"KeyMetadata":{{"KeyId":"0a1b2c3d","Arn":"{KEY}"{rest}}}}}"#));
    let whole = r#","KeyState":"PendingDeletion","KeyUsage":"ENCRYPT_DECRYPT","KeySpec":"SYMMETRIC_DEFAULT""#;
    let [arn, state, usage, spec] = [KEY, "PendingDeletion", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"].map(str::to_owned);
    assert_eq!(read(metadata(whole)).await, Ok(Some(Key { arn, state, usage, spec })));
    for lacking in ["KeyState", "KeyUsage", "KeySpec"] {
        let fault = read(metadata(&whole.replace(lacking, "Another"))).await.unwrap_err();
        assert!(fault.message.contains(lacking), "{fault}");
    }
    assert_eq!(read(ok("{}")).await.unwrap_err().kind, FaultKind::Invalid);
    assert_eq!(read(refused_json(400, "NotFoundException", "no")).await, Ok(None));
    for (code, status, kind) in [
        ("AccessDeniedException", 400, FaultKind::Denied),
        ("ThrottlingException", 400, FaultKind::Throttled),
        ("KMSInternalException", 500, FaultKind::Transient),
        ("InvalidArnException", 400, FaultKind::Invalid),
    ] {
        assert_eq!(read(refused_json(status, code, "no")).await.unwrap_err().kind, kind, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn iam_is_asked_of_a_role_with_the_resource() {
    let role = "<GetRoleResponse><GetRoleResult><Role><Path>/p/</Path><RoleName>r</RoleName><RoleId>AROA1</RoleId>\
                <Arn>arn:aws:iam::111122223333:role/p/r</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>\
                <AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>";
    let told = |results: &str| {
        ok(format!(
            "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>{results}\
             </EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        ))
    };
    let result = |action: &str, decision: &str| {
        format!("<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>")
    };
    let question = Question {
        actions: vec!["s3:PutObject".to_owned(), "s3:GetObject".to_owned()],
        resource: Some("arn:aws:s3:::logs/session.log".to_owned()),
        context: Vec::new(),
    };
    let read = async |iam: Answer, of_role: Answer| {
        let aws = answering(move |seen| if seen.operation == "GetRole" { of_role.clone() } else { iam.clone() });
        let read = cloud(&aws).role_answer(&scope(), &"r".into(), &question).await;
        (read, aws)
    };
    let answer = told(&(result("s3:PutObject", "allowed") + &result("s3:GetObject", "implicitDeny")));
    let (read_, aws) = read(answer, ok(role)).await;
    let permission = |action: &str, allowed| Permission { action: action.to_owned(), allowed };
    assert_eq!(read_, Ok(Some(vec![permission("s3:PutObject", true), permission("s3:GetObject", false)])));
    let asked = &aws.of("SimulatePrincipalPolicy")[0];
    assert_eq!(asked.field("PolicySourceArn"), "arn:aws:iam::111122223333:role/p/r");
    assert_eq!(asked.field("ResourceArns.member.1"), "arn:aws:s3:::logs/session.log");
    assert_eq!(
        [asked.field("ActionNames.member.1"), asked.field("ActionNames.member.2")],
        ["s3:PutObject", "s3:GetObject"]
    );

    let gone = || refused_query(404, "NoSuchEntity", "no");
    assert_eq!(read(told(""), gone()).await.0, Ok(None));
    assert_eq!(read(gone(), ok(role)).await.0, Ok(None), "gone in between");
    // Who may not ask is not told, now or later.
    assert_eq!(read(refused_query(403, "AccessDenied", "no"), ok(role)).await.0, Ok(Some(vec![])));
    let fault = read(refused_query(400, "Throttling", "no"), ok(role)).await.0.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Throttled);
    let fault = read(told(""), refused_query(403, "AccessDenied", "no")).await.0.unwrap_err();
    assert_eq!((fault.kind, fault.operation.name()), (FaultKind::Denied, "GetRole"));
}
