//! Letting go: each policy, what holds it, and accounts in use.

use anyhow::{Result, bail, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use ssm_ready_tests::{eventually, objects, wait::condition_is, world};

use crate::rig::{self, ACCOUNT, NS, Rig, SOON, Setup};

async fn gone(rig: &Rig, name: &str) -> Result<()> {
    let api = objects(&rig.client, "VpcPosture", Some(NS));
    eventually(SOON * 2, format_args!("{name} to go"), || async {
        match api.get_opt(name).await? {
            None => Ok(()),
            Some(object) => bail!("{}", world::conditions(&object)),
        }
    })
    .await
}

async fn delete(rig: &Rig, name: &str) -> Result<()> {
    objects(&rig.client, "VpcPosture", Some(NS)).delete(name, &Default::default()).await?;
    Ok(())
}

#[tokio::test]
async fn policies_and_accounts_in_use() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let (first, second) = (rig.vpc("10.0.0.0/16").await?, rig.vpc("10.1.0.0/16").await?);
        rig.posture(
            "deleted",
            &first.id,
            json!({ "endpoints": { "deletionPolicy": "Delete", "s3": { "type": "None" } } }),
        )
        .await?;
        rig.posture(
            "retained",
            &second.id,
            json!({ "endpoints": { "deletionPolicy": "Retain", "s3": { "type": "None" } } }),
        )
        .await?;
        rig.until_ready("deleted").await?;
        rig.until_ready("retained").await?;

        // The account stays while it is used.
        let accounts = objects(&rig.client, "AwsAccount", None);
        let patch = json!({ "metadata": { "finalizers": ["ssmready.dev/in-use", "example.com/test"] } });
        accounts.patch("prod", &PatchParams::default(), &Patch::Merge(patch)).await?;

        delete(rig, "deleted").await?;
        gone(rig, "deleted").await?;
        ensure!(
            world::endpoints(&rig.standin, ACCOUNT, world::REGION, &first.id).await?.is_empty(),
            "endpoints are left"
        );
        let groups = rig
            .aws(&["ec2", "describe-security-groups", "--filters", &format!("Name=vpc-id,Values={}", first.id)])
            .await?;
        ensure!(groups["SecurityGroups"].as_array().map(Vec::len) == Some(1), "only the default group: {groups}");

        delete(rig, "retained").await?;
        gone(rig, "retained").await?;
        let kept = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &second.id).await?;
        ensure!(kept.len() == 2 && !kept["ssm"]["Tags"].to_string().contains("ssmready.dev/owner"), "{kept:?}");
        let events: kube::Api<k8s_openapi::api::events::v1::Event> = kube::Api::namespaced(rig.client.clone(), NS);
        let events = events.list(&Default::default()).await?;
        let told = events.iter().any(|e| {
            e.reason.as_deref() == Some("LeftBehind") && e.note.as_deref().is_some_and(|n| n.contains("vpce-"))
        });
        ensure!(
            told,
            "no event names what is left: {:?}",
            events.iter().map(|e| (&e.reason, &e.note)).collect::<Vec<_>>()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn endpoints_in_use_are_held() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({ "endpoints": { "unusedFor": "0s" } })).await?;
        rig.until_ready("main").await?;
        let run =
            ["ec2", "run-instances", "--image-id", "ami-12345678", "--count", "1", "--subnet-id", &vpc.subnets[0]];
        let instance = rig.aws(&run).await?["Instances"][0]["InstanceId"].as_str().unwrap_or_default().to_owned();
        delete(rig, "main").await?;
        // The deletion is an edit: it looks at facts of its own time.
        rig.look_again("main", "one").await.ok();
        let held = condition_is(&rig.client, "VpcPosture", Some(NS), "main", ("Stalled", "True"), SOON).await?;
        ensure!(held.reason == "DeletionHeld" && held.message.contains(&instance), "{held:?}");

        // An account in use cannot vanish under it.
        let accounts = objects(&rig.client, "AwsAccount", None);
        accounts.delete("prod", &Default::default()).await?;
        let in_use = eventually(SOON, "AccountInUse", || async {
            let object = accounts.get("prod").await?;
            let text = world::conditions(&object);
            ensure!(text.contains("AccountInUse") && text.contains("team/main"), "{text}");
            Ok(text)
        });
        in_use.await?;

        rig.aws(&["ec2", "terminate-instances", "--instance-ids", &instance]).await?;
        gone(rig, "main").await?;
        let left = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        assert_eq!(left.keys().collect::<Vec<_>>(), ["s3"], "S3 serves more than Systems Manager, and stays");
        eventually(SOON, "the account to go", || async {
            ensure!(accounts.get_opt("prod").await?.is_none(), "still there");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_revoked_grant_holds_the_deletion_until_abandoned() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({ "endpoints": { "deletionPolicy": "Delete" } })).await?;
        rig.until_ready("main").await?;
        world::account(&rig.client, "prod", ACCOUNT, &["somebody-else"]).await?;
        // Revoked at once, not at the next interval.
        rig.until("main", "Ready", "False", "AccessNotGranted").await?;
        delete(rig, "main").await?;
        let held = condition_is(&rig.client, "VpcPosture", Some(NS), "main", ("Stalled", "True"), SOON).await?;
        ensure!(held.message.contains("ssmready.dev/abandon") || held.reason == "AccessNotGranted", "{held:?}");
        let patch = json!({ "metadata": { "annotations": { "ssmready.dev/abandon": "true" } } });
        objects(&rig.client, "VpcPosture", Some(NS))
            .patch("main", &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        gone(rig, "main").await?;
        ensure!(
            world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?.len() == 3,
            "something was deleted"
        );
        Ok(())
    })
    .await
}
