//! What nobody may do through the controller, and what it may not do itself.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ssm_ready_tests::{
    HUB_ACCOUNT, apply_yaml,
    wait::condition_is,
    world::{self, EXTERNAL_ID, REGION, ROLE},
};

use crate::rig::{self, ACCOUNT, NS, Rig, SERVICES, SOON, Setup, is_write, say};

/// What was asked of EC2, Systems Manager or IAM in an account by anybody but the test itself.
async fn touched(rig: &Rig, account: &str, role: bool) -> Result<Vec<Value>> {
    let calls = rig.standin.calls(0).await?;
    let calls = calls.as_array().into_iter().flatten();
    let of_account =
        calls.filter(|c| c["account"] == account && c["service"] != "sts" && c["role"].is_string() == role);
    Ok(of_account.cloned().collect())
}

#[tokio::test]
async fn nobody_gets_in_where_they_may_not() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        // A namespace without a grant; an identity of another account; the controller's own identity in place of one.
        let (forbidden, liar, own) = ("222222222222", "333333333333", "888888888888");
        world::role(&rig.standin, forbidden, ROLE, EXTERNAL_ID).await?;
        world::account(&rig.client, "forbidden", forbidden, &["somebody-else"]).await?;
        world::role(&rig.standin, liar, ROLE, EXTERNAL_ID).await?;
        let elsewhere = json!({ "identity_accounts": { (format!("arn:aws:iam::{liar}:role/{ROLE}")): "777777777777" } });
        rig.standin.settings(&elsewhere).await?;
        world::account(&rig.client, "liar", liar, &[NS]).await?;
        let without_role = json!({
            "apiVersion": "ssmready.dev/v1alpha1", "kind": "AwsAccount", "metadata": { "name": "own" },
            "spec": {
                "accountId": own,
                "access": [{ "name": "all", "namespaces": { "from": "All" }, "maxMode": "Enforce" }],
            },
        });
        apply_yaml(&rig.client, &without_role.to_string()).await?;
        // The role of a tenant, named by another one who does not know, or guesses, the external id.
        let (tenant, theirs, guessed) = ("444444444444", "id-of-the-tenant-91c2", "id-guessed-by-another-55aa");
        rig.secrets.extend([theirs.to_owned(), guessed.to_owned()]);
        world::role(&rig.standin, tenant, ROLE, theirs).await?;
        world::account_with(&rig.client, "tenant", tenant, &[NS], "Enforce", guessed).await?;
        let before = rig.last_call().await?;

        for (name, reason) in [
            ("forbidden", "AccessNotGranted"),
            ("liar", "AccountMismatch"),
            ("own", "AccountMismatch"),
            ("tenant", "AssumeRoleDenied"),
        ] {
            world::posture(&rig.client, NS, name, name, "vpc-0eeeeeeeeeeeeeee1", json!({})).await?;
            rig.until(name, "Ready", "False", reason).await?;
        }
        for (name, reason) in [("liar", "AccountMismatch"), ("own", "AccountMismatch"), ("tenant", "AssumeRoleDenied")] {
            let ready = condition_is(&rig.client, "AwsAccount", None, name, ("Ready", "False"), SOON).await?;
            ensure!(ready.reason == reason, "{name}: {ready:?}");
        }
        // The account itself is looked after, by asking IAM what its role may do; nothing is read for the namespace.
        let read: Vec<Value> = touched(rig, forbidden, true).await?;
        let read: Vec<&Value> = read.iter().filter(|c| c["service"] != "iam").collect();
        ensure!(read.is_empty(), "read in an account without a grant: {read:?}");
        for account in [liar, tenant] {
            let calls = touched(rig, account, true).await?;
            ensure!(calls.is_empty(), "asked in account {account}: {calls:?}");
        }
        let calls = touched(rig, HUB_ACCOUNT, false).await?;
        ensure!(calls.is_empty(), "asked in the controller's own account: {calls:?}");
        let sessions = rig.standin.sessions().await?;
        ensure!(sessions.iter().all(|s| s.account != tenant), "a session of the tenant's role");
        let tried = rig.standin.calls(before).await?;
        let refused = tried.as_array().into_iter().flatten().filter(|c| c["code"] == "AccessDenied").count();
        ensure!(refused > 0, "the guessed external id was not even tried");
        say(format_args!(
            "no grant, an identity of another account, no role, another tenant's external id ({refused} times refused): not \
             one call to EC2, Systems Manager or IAM, no id leaked"
        ));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_only_observes_cannot_write() -> Result<()> {
    rig::test(Setup::new(), async |rig| {
        let observe = "ssm-ready-observe";
        world::role(&rig.standin, ACCOUNT, observe, EXTERNAL_ID).await?;
        let arn = |role: &str| format!("arn:aws:iam::{ACCOUNT}:role/{role}");
        let account = json!({
            "apiVersion": "ssmready.dev/v1alpha1", "kind": "AwsAccount", "metadata": { "name": "prod" },
            "spec": {
                "accountId": ACCOUNT,
                "assumeRole": { "roleArn": arn(ROLE), "observeRoleArn": arn(observe), "externalId": EXTERNAL_ID },
                "access": [{ "name": "tests", "namespaces": { "from": "Names", "names": [NS] }, "maxMode": "Enforce" }],
                "guardrails": { "apiSharePercent": 100 },
            },
        });
        apply_yaml(&rig.client, &account.to_string()).await?;
        let vpcs = rig.vpcs(1).await?;
        rig.postures(&vpcs, &json!({})).await?;
        rig.until_all_ready(&vpcs).await?;
        rig.intact(&vpcs, &SERVICES).await?;

        // Each did its own part.
        let calls = rig.standin.calls(0).await?;
        let (mut reads, mut writes) = (0, 0);
        for call in calls.as_array().into_iter().flatten().filter(|c| c["role"].is_string()) {
            if matches!(call["service"].as_str(), Some("ec2" | "ssm")) {
                let (role, count) = if is_write(call) { (ROLE, &mut writes) } else { (observe, &mut reads) };
                ensure!(call["role"] == json!(arn(role)), "not by {role}: {call}");
                *count += 1;
            }
        }
        ensure!(reads > 0 && writes > 0, "{reads} reads, {writes} writes");

        // The role could do everything; its session can read, and nothing else.
        let sessions = rig.standin.sessions().await?;
        let session = sessions.iter().find(|s| s.role == arn(observe)).context("no session of the observe role")?;
        ensure!(session.policy.is_some(), "the session is not narrowed");
        rig.standin.aws_as(session, REGION, &["ec2", "describe-vpc-endpoints"]).await?;
        let mut refused = 0;
        for write in [
            &["ec2", "create-security-group", "--group-name", "x", "--description", "x"][..],
            &["ec2", "create-vpc-endpoint", "--vpc-id", &vpcs[0].id, "--service-name", "com.amazonaws.eu-west-1.kms"],
            &["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", "vpce-1"],
            &["ec2", "modify-vpc-attribute", "--vpc-id", &vpcs[0].id, "--no-enable-dns-support"],
            &["ec2", "delete-tags", "--resources", &vpcs[0].id],
            &["iam", "create-role", "--role-name", "x", "--assume-role-policy-document", "{}"],
            &["sts", "assume-role", "--role-arn", &arn(ROLE), "--role-session-name", "escape", "--external-id", EXTERNAL_ID],
        ] {
            let outcome = rig.standin.aws_as(session, REGION, write).await;
            let error = outcome.err().with_context(|| format!("{write:?} was allowed"))?.to_string();
            ensure!(error.contains("UnauthorizedOperation") || error.contains("AccessDenied"), "{write:?}: {error}");
            refused += 1;
        }
        say(format_args!(
            "observe role: {reads} reads by it, {writes} writes by the other; acting as its session, {refused} writes of \
             {refused} are refused by the session policy"
        ));
        Ok(())
    })
    .await
}
