//! Regions and accounts: roles, profiles, Default Host Management, settings and session preferences.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use ssm_ready_tests::{eventually, world::REGION};

use crate::rig::{ACCOUNT, Rig, SOON, Setup, test};

const HOST_MANAGEMENT: &str = "/ssm/managed-instance/default-ec2-instance-management-role";
const ROLE: &str = "AWSSystemsManagerDefaultEC2InstanceManagementRole";
const VALUE: &str = "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole";
const POLICY: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy";

fn enabled() -> Value {
    json!({ "hostManagement": {
        "state": "Enabled",
        "role": { "accountPostureRef": { "name": "payments" }, "name": "host-management" },
    }})
}

fn roles() -> Value {
    json!({
        "hostManagementRole": {},
        "tags": [{ "key": "CostCenter", "value": "4711" }],
        "instanceRoles": [{
            "name": "web", "roleName": "payments-web", "path": "/ssm-ready/",
            "capabilities": ["SessionManager", "Patching", "CloudWatchAgent"],
            "s3": {
                "awsBuckets": { "regions": ["eu-west-1"] },
                "own": [{ "bucket": "org-session-logs", "access": "Write", "crossAccount": true }],
            },
            "kmsKeys": ["arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-1111-2222-3333-444455556666"],
        }],
    })
}

async fn setting(rig: &Rig, id: &str) -> Result<String> {
    let answer = rig.aws(&["ssm", "get-service-setting", "--setting-id", id]).await?;
    Ok(answer["ServiceSetting"]["SettingValue"].as_str().unwrap_or_default().to_owned())
}

async fn until_setting(rig: &Rig, id: &str, wanted: &str) -> Result<()> {
    eventually(SOON, format_args!("{id} to be {wanted}"), || async {
        let now = setting(rig, id).await?;
        ensure!(now == wanted, "{now}");
        Ok(())
    })
    .await
}

async fn policies(rig: &Rig, role: &str) -> Result<Vec<String>> {
    let answer = rig.aws(&["iam", "list-attached-role-policies", "--role-name", role]).await?;
    let all = answer["AttachedPolicies"].as_array().into_iter().flatten();
    Ok(all.filter_map(|policy| policy["PolicyArn"].as_str().map(str::to_owned)).collect())
}

async fn events(rig: &Rig, reason: &str) -> Result<Vec<String>> {
    use k8s_openapi::api::events::v1::Event;
    let all = kube::Api::<Event>::all(rig.client.clone()).list(&Default::default()).await?;
    let told = all.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
    Ok(told.filter_map(|event| event.note).collect())
}

/// Applied together, the region first: the role comes before the setting, by itself, and without an error in between.
#[tokio::test]
async fn an_empty_account_becomes_ready_in_any_order() -> Result<()> {
    test(Setup::with_account(), async |rig| {
        rig.declare("RegionPosture", "euw1", enabled()).await?;
        let waits = rig.until_of("RegionPosture", "euw1", "HostManagementReady", "False", "DependencyNotReady").await?;
        ensure!(waits.contains("there is no AccountPosture payments"), "{waits}");
        rig.declare("AccountPosture", "payments", roles()).await?;
        rig.until_of("AccountPosture", "payments", "Ready", "True", "Succeeded").await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;

        ensure!(setting(rig, HOST_MANAGEMENT).await? == VALUE);
        let role = rig.aws(&["iam", "get-role", "--role-name", ROLE]).await?;
        ensure!(role["Role"]["Path"] == "/service-role/", "{role}");
        let trust = &role["Role"]["AssumeRolePolicyDocument"]["Statement"][0];
        ensure!(trust["Principal"]["Service"] == "ssm.amazonaws.com", "{trust}");
        ensure!(policies(rig, ROLE).await? == [POLICY]);
        let web = policies(rig, "payments-web").await?;
        for name in ["AmazonSSMManagedInstanceCore", "AmazonSSMPatchAssociation", "CloudWatchAgentServerPolicy"] {
            ensure!(web.contains(&format!("arn:aws:iam::aws:policy/{name}")), "{web:?}");
        }
        let inline = ["iam", "get-role-policy", "--role-name", "payments-web", "--policy-name", "ssm-ready"];
        let inline = rig.aws(&inline).await?["PolicyDocument"].to_string();
        for part in ["aws-patch-manager-eu-west-1-5522fb710/*", "org-session-logs/*", "s3:PutObjectAcl", "kms:Decrypt"]
        {
            ensure!(inline.contains(part), "{part}: {inline}");
        }
        let profile = rig.aws(&["iam", "get-instance-profile", "--instance-profile-name", "payments-web"]).await?;
        ensure!(profile["InstanceProfile"]["Roles"][0]["RoleName"] == "payments-web", "{profile}");
        let tags = rig.aws(&["iam", "list-role-tags", "--role-name", "payments-web"]).await?["Tags"].to_string();
        ensure!(tags.contains("4711") && tags.contains("AccountPosture/team/payments"), "{tags}");

        let status = rig.get_of("RegionPosture", "euw1").await?.data["status"].clone();
        let host = &status["settings"][0];
        ensure!(host["name"] == "hostManagement" && host["foundUnset"] == true && host["applied"] == VALUE, "{status}");
        let told = events(rig, "SettingChanged").await?;
        ensure!(told == [format!("hostManagement: from unset to {VALUE}")], "{told:?}");
        let log = rig.controller.log();
        ensure!(!log.contains("AWS was not changed"), "an error on the way: {log}");
        rig.at_rest(std::time::Duration::from_secs(20)).await
    })
    .await
}

/// What is changed behind our back is seen and repaired; what somebody set on purpose stays, until we may take over.
#[tokio::test]
async fn drift_is_repaired_and_other_peoples_values_are_not_fought() -> Result<()> {
    test(Setup::with_account(), async |rig| {
        rig.declare("AccountPosture", "payments", roles()).await?;
        rig.declare("RegionPosture", "euw1", enabled()).await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;

        // The setting back at its default: seen at the next sweep.
        rig.aws(&["ssm", "reset-service-setting", "--setting-id", HOST_MANAGEMENT]).await?;
        until_setting(rig, HOST_MANAGEMENT, VALUE).await?;
        // The role detached from its policy, its trust edited, its profile emptied: within IAM's age class, or on request.
        rig.aws(&["iam", "detach-role-policy", "--role-name", ROLE, "--policy-arn", POLICY]).await?;
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        rig.aws(&["iam", "update-assume-role-policy", "--role-name", "payments-web", "--policy-document", trust]).await?;
        let profile = ["--instance-profile-name", "payments-web", "--role-name", "payments-web"];
        rig.aws(&[&["iam", "remove-role-from-instance-profile"][..], &profile].concat()).await?;
        rig.look_again_of("AccountPosture", "payments", "one").await?;
        eventually(SOON, "roles and profile to be repaired", || async {
            ensure!(policies(rig, ROLE).await? == [POLICY]);
            let role = rig.aws(&["iam", "get-role", "--role-name", "payments-web"]).await?;
            ensure!(role.to_string().contains("ec2.amazonaws.com"), "{role}");
            let profile = rig.aws(&["iam", "get-instance-profile", "--instance-profile-name", "payments-web"]).await?;
            ensure!(profile["InstanceProfile"]["Roles"][0]["RoleName"] == "payments-web", "{profile}");
            Ok(())
        })
        .await?;
        rig.until_of("AccountPosture", "payments", "Ready", "True", "Succeeded").await?;
        let drift = rig.get_of("AccountPosture", "payments").await?.data["status"]["drift"].to_string();
        for field in ["roles.host-management.policies", "roles.web.trust", "roles.web.profile"] {
            ensure!(drift.contains(field), "{field}: {drift}");
        }
        // Another value by hand: told, and not touched.
        let theirs = ["--setting-id", HOST_MANAGEMENT, "--setting-value", "payments-web-other"];
        rig.aws(&["iam", "create-role", "--role-name", "payments-web-other", "--assume-role-policy-document", trust]).await?;
        rig.aws(&[&["ssm", "update-service-setting"][..], &theirs].concat()).await?;
        rig.look_again_of("RegionPosture", "euw1", "two").await?;
        let message = rig.until_of("RegionPosture", "euw1", "Ready", "False", "Foreign").await?;
        ensure!(message.contains("payments-web-other") && message.contains("TakeOver"), "{message}");
        rig.until_of("RegionPosture", "euw1", "Stalled", "True", "Foreign").await?;
        ensure!(setting(rig, HOST_MANAGEMENT).await? == "payments-web-other");
        let mut take_over = enabled();
        take_over["adoption"] = json!("TakeOver");
        rig.declare("RegionPosture", "euw1", take_over).await?;
        until_setting(rig, HOST_MANAGEMENT, VALUE).await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await.map(drop)
    })
    .await
}

/// Settings in their own spellings, metadata defaults and session preferences; and back to what was there before.
#[tokio::test]
async fn a_region_is_set_up_and_put_back() -> Result<()> {
    test(Setup::with_account(), async |rig| {
        let sharing = "/ssm/documents/console/public-sharing-permission";
        let tier = "/ssm/parameter-store/default-parameter-tier";
        let mut spec = json!({
            "deletionPolicy": "RestorePrevious",
            "serviceSettings": { "publicDocumentSharing": "Disabled", "parameterTier": "IntelligentTiering" },
            "instanceMetadataDefaults": { "httpTokens": "Required", "hopLimit": 2 },
            "sessionPreferences": { "idleTimeoutMinutes": 15, "maxDurationMinutes": 60 },
        });
        rig.declare("RegionPosture", "euw1", spec.clone()).await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;
        ensure!(setting(rig, sharing).await? == "Disable");
        ensure!(setting(rig, tier).await? == "Intelligent-Tiering");
        let metadata = rig.aws(&["ec2", "get-instance-metadata-defaults"]).await?["AccountLevel"].clone();
        ensure!(metadata["HttpTokens"] == "required" && metadata["HttpPutResponseHopLimit"] == 2, "{metadata}");
        let document = async |rig: &Rig| -> Result<(String, Value)> {
            let name = ["--name", "SSM-SessionManagerRunShell", "--document-version", "$DEFAULT"];
            let found = rig.aws(&[&["ssm", "get-document"][..], &name].concat()).await?;
            let content = serde_json::from_str(found["Content"].as_str().unwrap_or_default())?;
            Ok((found["DocumentVersion"].as_str().unwrap_or_default().to_owned(), content))
        };
        let (version, content) = document(rig).await?;
        ensure!(version == "1" && content["inputs"]["idleSessionTimeout"] == "15", "{version}: {content}");

        // An edit makes one new version, and uses it.
        spec["sessionPreferences"]["idleTimeoutMinutes"] = json!(30);
        rig.declare("RegionPosture", "euw1", spec.clone()).await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;
        let (version, content) = document(rig).await?;
        ensure!(version == "2" && content["inputs"]["idleSessionTimeout"] == "30", "{version}: {content}");
        // Its default version moved by hand: used again, without a new one.
        let back = ["--name", "SSM-SessionManagerRunShell", "--document-version", "1"];
        rig.aws(&[&["ssm", "update-document-default-version"][..], &back].concat()).await?;
        rig.look_again_of("RegionPosture", "euw1", "one").await?;
        eventually(SOON, "version 2 to be used", || async {
            let (version, _) = document(rig).await?;
            ensure!(version == "2", "{version}");
            Ok(())
        })
        .await?;
        // What runs on nodes is not allowed here.
        let mut shell = spec.clone();
        shell["sessionPreferences"]["shellProfile"] = json!({ "linux": "exec bash" });
        rig.declare("RegionPosture", "euw1", shell).await?;
        let message = rig.until_of("RegionPosture", "euw1", "Ready", "False", "GuardrailViolated").await?;
        ensure!(message.contains("sessionShell"), "{message}");
        rig.declare("RegionPosture", "euw1", spec).await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;
        rig.at_rest(std::time::Duration::from_secs(15)).await?;

        rig.delete_of("RegionPosture", "euw1").await?;
        ensure!(setting(rig, sharing).await? == "Enable");
        ensure!(setting(rig, tier).await? == "Standard");
        let metadata = rig.aws(&["ec2", "get-instance-metadata-defaults"]).await?["AccountLevel"].clone();
        ensure!(metadata["HttpTokens"].is_null() && metadata["HttpPutResponseHopLimit"].is_null(), "{metadata}");
        ensure!(document(rig).await.is_err(), "there was no document before");
        Ok(())
    })
    .await
}

const RULE: &str = "ssm-ready-session-audit";
const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:ssm-sessions";

/// Lets EventBridge publish to a topic, for the rule alone.
async fn open(rig: &Rig, topic: &str) -> Result<()> {
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": { "Service": "events.amazonaws.com" },
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": { "ArnEquals": { "aws:SourceArn": format!("arn:aws:events:eu-west-1:{ACCOUNT}:rule/{RULE}") } },
    }] });
    let value = policy.to_string();
    let attributes = [("TopicArn", topic), ("AttributeName", "Policy"), ("AttributeValue", value.as_str())];
    rig.standin.query(ACCOUNT, REGION, "sns", "SetTopicAttributes", &attributes).await.map(drop)
}

async fn rule(rig: &Rig) -> Result<Value> {
    rig.aws(&["events", "describe-rule", "--name", RULE]).await
}

async fn targets(rig: &Rig) -> Result<Value> {
    Ok(rig.aws(&["events", "list-targets-by-rule", "--rule", RULE]).await?["Targets"].clone())
}

/// The rule is made once its topic takes what it sends, is put right when it drifts, and goes with the object.
#[tokio::test]
async fn sessions_are_reported_to_a_topic_that_takes_them() -> Result<()> {
    test(Setup::with_account(), async |rig| {
        let audit =
            |topic: &str| json!({ "deletionPolicy": "RestorePrevious", "sessionAudit": { "snsTopicArn": topic } });
        // Neither topic nor trail: both are told of, and no rule is made that would send to nothing.
        rig.declare("RegionPosture", "euw1", audit(TOPIC)).await?;
        let message = rig.until_of("RegionPosture", "euw1", "AuditReady", "False", "TopicNotFound").await?;
        ensure!(message.contains(TOPIC), "{message}");
        rig.until_of("RegionPosture", "euw1", "Stalled", "True", "TopicNotFound").await?;
        rig.standin.query(ACCOUNT, REGION, "sns", "CreateTopic", &[("Name", "ssm-sessions")]).await?;
        rig.look_again_of("RegionPosture", "euw1", "topic").await?;
        let message = rig.until_of("RegionPosture", "euw1", "AuditReady", "False", "TopicRefuses").await?;
        ensure!(message.contains("events.amazonaws.com") && message.contains(RULE), "{message}");
        ensure!(rule(rig).await.is_err(), "there is a rule");

        // The topic is open, and there is still no trail: the rule is made, and the trail missed.
        open(rig, TOPIC).await?;
        rig.look_again_of("RegionPosture", "euw1", "open").await?;
        let message = rig.until_of("RegionPosture", "euw1", "AuditReady", "False", "TrailMissing").await?;
        ensure!(message.contains("eu-west-1"), "{message}");
        eventually(SOON, "the rule to be made", || async {
            let pattern: Value = serde_json::from_str(rule(rig).await?["EventPattern"].as_str().unwrap_or_default())?;
            let names = json!(["StartSession", "ResumeSession", "TerminateSession"]);
            ensure!(pattern["detail"]["eventName"] == names, "{pattern}");
            let targets = targets(rig).await?;
            ensure!(targets == json!([{ "Id": "ssm-ready", "Arn": TOPIC }]), "{targets}");
            Ok(())
        })
        .await?;
        let arn = format!("arn:aws:events:eu-west-1:{ACCOUNT}:rule/{RULE}");
        let tags = rig.aws(&["events", "list-tags-for-resource", "--resource-arn", &arn]).await?.to_string();
        ensure!(tags.contains("RegionPosture/team/euw1"), "{tags}");
        // A trail that is not logging does not do; one of all regions does, wherever it is at home.
        let trail = ["cloudtrail", "create-trail", "--name", "all", "--s3-bucket-name", "trails"];
        let home = "us-east-1";
        rig.standin.aws(ACCOUNT, home, &[&trail[..], &["--is-multi-region-trail"]].concat()).await?;
        rig.look_again_of("RegionPosture", "euw1", "trail").await?;
        let message = rig.until_of("RegionPosture", "euw1", "AuditReady", "False", "TrailMissing").await?;
        ensure!(message.contains("trail/all") && message.contains("not logging"), "{message}");
        rig.standin.aws(ACCOUNT, home, &["cloudtrail", "start-logging", "--name", "all"]).await?;
        rig.look_again_of("RegionPosture", "euw1", "logging").await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;
        let status = rig.get_of("RegionPosture", "euw1").await?.data["status"]["sessionAudit"].clone();
        ensure!(status["ruleArn"] == arn.as_str() && status["ownership"] == "Managed", "{status}");
        ensure!(status["trailArn"].as_str().is_some_and(|arn| arn.ends_with("trail/all")), "{status}");
        rig.at_rest(std::time::Duration::from_secs(15)).await?;

        // Changed behind our back: put right, and told; what somebody else added stays.
        rig.aws(&["events", "disable-rule", "--name", RULE]).await?;
        let diverted = format!(r#"[{{"Id":"ssm-ready","Arn":"{TOPIC}","Input":"{{}}"}}]"#);
        rig.aws(&["events", "put-targets", "--rule", RULE, "--targets", &diverted]).await?;
        let theirs = r#"[{"Id":"theirs","Arn":"arn:aws:sqs:eu-west-1:111122223333:q"}]"#;
        rig.aws(&["events", "put-targets", "--rule", RULE, "--targets", theirs]).await?;
        rig.look_again_of("RegionPosture", "euw1", "drift").await?;
        eventually(SOON, "the rule to be put right", || async {
            let rule = rule(rig).await?;
            ensure!(rule["State"] == "ENABLED", "{rule}");
            let targets = targets(rig).await?;
            ensure!(!targets.to_string().contains("Input") && targets.to_string().contains("theirs"), "{targets}");
            Ok(())
        })
        .await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;
        let drift = rig.get_of("RegionPosture", "euw1").await?.data["status"]["drift"].to_string();
        ensure!(drift.contains("sessionAudit"), "{drift}");
        rig.aws(&["events", "remove-targets", "--rule", RULE, "--ids", "theirs"]).await?;

        // Another topic: the same rule sends there.
        let other = "arn:aws:sns:eu-west-1:111122223333:other";
        rig.standin.query(ACCOUNT, REGION, "sns", "CreateTopic", &[("Name", "other")]).await?;
        open(rig, other).await?;
        rig.declare("RegionPosture", "euw1", audit(other)).await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;
        ensure!(targets(rig).await? == json!([{ "Id": "ssm-ready", "Arn": other }]), "{}", targets(rig).await?);

        // There was none before, so none is left.
        rig.delete_of("RegionPosture", "euw1").await?;
        ensure!(rule(rig).await.is_err(), "the rule is still there");

        // Somebody else's of the name, which differs, is told of, and not touched.
        let pattern = r#"{"source":["aws.ssm"]}"#;
        rig.aws(&["events", "put-rule", "--name", RULE, "--event-pattern", pattern]).await?;
        rig.declare("RegionPosture", "again", audit(TOPIC)).await?;
        let message = rig.until_of("RegionPosture", "again", "AuditReady", "False", "Foreign").await?;
        ensure!(message.contains("its event pattern, its target") && message.contains("TakeOver"), "{message}");
        ensure!(rule(rig).await?["EventPattern"] == pattern, "{}", rule(rig).await?);
        rig.delete_of("RegionPosture", "again").await
    })
    .await
}

/// What sessions are to be logged to is looked at before the preferences name it, and so is whether the role of agents may
/// use it: what would leave sessions blank is told, and not written.
#[tokio::test]
async fn sessions_are_logged_only_to_what_is_there() -> Result<()> {
    const BUCKET: &str = "org-session-logs-e2e";
    const DOCUMENT: &[&str] =
        &["ssm", "get-document", "--name", "SSM-SessionManagerRunShell", "--document-version", "$DEFAULT"];
    test(Setup::with_account(), async |rig| {
        let declared = json!({ "sessionPreferences": { "s3": { "bucket": BUCKET }, "idleTimeoutMinutes": 30 } });
        let told = async |reason| rig.until_of("RegionPosture", "euw1", "Ready", "False", reason).await;
        let ready = async || rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await;
        let create = ["s3api", "create-bucket", "--bucket", BUCKET, "--create-bucket-configuration"];
        let create = [&create[..], &["LocationConstraint=eu-west-1"]].concat();
        let delete = ["s3api", "delete-bucket", "--bucket", BUCKET];
        let target = async || -> Result<Value> {
            let status = rig.get_of("RegionPosture", "euw1").await?.data["status"].clone();
            Ok(status["sessionPreferences"]["targets"][0].clone())
        };

        rig.declare("RegionPosture", "euw1", declared.clone()).await?;
        let message = told("SessionTargetNotFound").await?;
        ensure!(message.contains(&format!("there is no bucket {BUCKET}")), "{message}");
        ensure!(target().await?["state"] == "NotUsable" && target().await?["field"] == "s3", "{}", target().await?);
        ensure!(rig.aws(DOCUMENT).await.is_err(), "it is written all the same");

        rig.aws(&create).await?;
        rig.look_again_of("RegionPosture", "euw1", "there").await?;
        ready().await?;
        let written = rig.aws(DOCUMENT).await?["Content"].clone();
        ensure!(written.to_string().contains(BUCKET) && target().await?["state"] == "Usable", "{written}");

        // One that goes is told of; the preferences stay as they are, whatever is declared.
        rig.aws(&delete).await?;
        rig.look_again_of("RegionPosture", "euw1", "gone").await?;
        told("SessionTargetNotFound").await?;
        let mut edited = declared.clone();
        edited["sessionPreferences"]["idleTimeoutMinutes"] = json!(10);
        rig.declare("RegionPosture", "euw1", edited).await?;
        told("SessionTargetNotFound").await?;
        ensure!(rig.aws(DOCUMENT).await?["Content"] == written, "it is written all the same");
        rig.aws(&create).await?;
        rig.look_again_of("RegionPosture", "euw1", "again").await?;
        ready().await?;

        // Agents get another role, which may not write there.
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        rig.aws(&["iam", "create-role", "--role-name", "hosts", "--assume-role-policy-document", trust]).await?;
        let set = ["ssm", "update-service-setting", "--setting-id", HOST_MANAGEMENT, "--setting-value", "hosts"];
        rig.aws(&set).await?;
        rig.look_again_of("RegionPosture", "euw1", "hosts").await?;
        let message = told("SessionTargetDenied").await?;
        ensure!(message.contains("role hosts") && message.contains("s3:PutObject on "), "{message}");
        let resources = [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")];
        let actions = ["s3:PutObject", "s3:GetEncryptionConfiguration"];
        let allow = json!({ "Effect": "Allow", "Action": actions, "Resource": resources });
        let allow = json!({ "Version": "2012-10-17", "Statement": [allow] }).to_string();
        let put = ["iam", "put-role-policy", "--role-name", "hosts", "--policy-name", "logs"];
        rig.aws(&[&put[..], &["--policy-document", &allow]].concat()).await?;
        rig.look_again_of("RegionPosture", "euw1", "allowed").await?;
        ready().await.map(drop)
    })
    .await
}

/// A role stays while something uses it, and goes then with its profile.
#[tokio::test]
async fn roles_go_when_nothing_uses_them() -> Result<()> {
    test(Setup::with_account(), async |rig| {
        let mut spec = roles();
        spec["deletionPolicy"] = json!("Delete");
        rig.declare("AccountPosture", "payments", spec).await?;
        let mut region = enabled();
        region["deletionPolicy"] = json!("Reset");
        rig.declare("RegionPosture", "euw1", region).await?;
        rig.until_of("RegionPosture", "euw1", "Ready", "True", "Succeeded").await?;
        let api = ssm_ready_tests::objects(&rig.client, "AccountPosture", Some(crate::rig::NS));
        api.delete("payments", &Default::default()).await?;
        let held = rig.until_of("AccountPosture", "payments", "Stalled", "True", "DeletionHeld").await?;
        ensure!(held.contains("Default Host Management in eu-west-1"), "{held}");
        ensure!(policies(rig, ROLE).await? == [POLICY], "it is as it was");
        rig.delete_of("RegionPosture", "euw1").await?;
        rig.look_again_of("AccountPosture", "payments", "again").await.ok();
        eventually(SOON, "the AccountPosture to go", || async {
            match api.get_opt("payments").await? {
                None => Ok(()),
                Some(object) => bail!("{}", object.data["status"]["deletion"]),
            }
        })
        .await?;
        for role in [ROLE, "payments-web"] {
            ensure!(rig.aws(&["iam", "get-role", "--role-name", role]).await.is_err(), "{role} is still there");
        }
        let profile = ["iam", "get-instance-profile", "--instance-profile-name", "payments-web"];
        ensure!(rig.aws(&profile).await.is_err(), "the profile is still there");
        Ok(())
    })
    .await
}

/// What was attached to a role of somebody else's stays by default, and an event says so.
#[tokio::test]
async fn what_was_attached_to_a_role_of_others_stays_and_is_told() -> Result<()> {
    test(Setup::with_account(), async |rig| {
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        rig.aws(&["iam", "create-role", "--role-name", "hosts", "--assume-role-policy-document", trust]).await?;
        let role = json!({ "roleName": "hosts", "path": "/", "ownership": "AttachOnly" });
        rig.declare("AccountPosture", "payments", json!({ "hostManagementRole": role })).await?;
        rig.until_of("AccountPosture", "payments", "Ready", "True", "Succeeded").await?;
        ensure!(policies(rig, "hosts").await? == [POLICY]);
        rig.delete_of("AccountPosture", "payments").await?;
        ensure!(policies(rig, "hosts").await? == [POLICY], "it stays");
        let told = events(rig, "LeftBehind").await?;
        ensure!(told.iter().any(|note| note.contains(&format!("{POLICY} on role hosts"))), "{told:?}");
        Ok(())
    })
    .await
}

/// One target has one object: of two the older works. And one who was not let in touches nothing.
#[tokio::test]
async fn the_older_works_and_strangers_are_kept_out() -> Result<()> {
    test(Setup::with_account(), async |rig| {
        let spec = json!({ "serviceSettings": { "publicDocumentSharing": "Disabled" } });
        rig.declare("RegionPosture", "first", spec).await?;
        rig.until_of("RegionPosture", "first", "Ready", "True", "Succeeded").await?;
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let other = json!({ "adoption": "TakeOver", "serviceSettings": { "publicDocumentSharing": "Enabled" } });
        rig.declare("RegionPosture", "second", other).await?;
        let message = rig.until_of("RegionPosture", "second", "Stalled", "True", "DuplicateTarget").await?;
        ensure!(message.contains("team/first"), "{message}");
        rig.declare("AccountPosture", "one", roles()).await?;
        rig.until_of("AccountPosture", "one", "Ready", "True", "Succeeded").await?;
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let same = json!({ "instanceRoles": [{ "name": "other", "roleName": "Payments-Web" }] });
        rig.declare("AccountPosture", "two", same).await?;
        let message = rig.until_of("AccountPosture", "two", "Stalled", "True", "DuplicateTarget").await?;
        ensure!(message.contains("team/one"), "{message}");
        // The older goes: the other one's turn.
        rig.delete_of("RegionPosture", "first").await?;
        rig.until_of("RegionPosture", "second", "Ready", "True", "Succeeded").await?;
        until_setting(rig, "/ssm/documents/console/public-sharing-permission", "Enable").await?;
        // Another namespace, another account: refused before anything is read.
        let seq = rig.last_call().await?;
        ssm_ready_tests::world::namespace(&rig.client, "strangers").await?;
        let object = json!({
            "apiVersion": "ssmready.dev/v1alpha1", "kind": "RegionPosture",
            "metadata": { "namespace": "strangers", "name": "euw1" },
            "spec": {
                "target": { "accountRef": { "name": "prod" }, "region": "us-east-1" },
                "serviceSettings": { "opsCenter": "Enabled" },
            },
        });
        ssm_ready_tests::apply_yaml(&rig.client, &object.to_string()).await?;
        let api = ssm_ready_tests::objects(&rig.client, "RegionPosture", Some("strangers"));
        eventually(SOON, "the stranger to be refused", || async {
            let status = api.get("euw1").await?.data["status"].to_string();
            ensure!(status.contains("AccessNotGranted"), "{status}");
            Ok(())
        })
        .await?;
        let calls = rig.standin.calls(seq).await?;
        let elsewhere = calls.as_array().into_iter().flatten().find(|c| c["region"] == "us-east-1");
        ensure!(elsewhere.is_none(), "{elsewhere:?}");
        Ok(())
    })
    .await
    .context("rivals and strangers")
}
