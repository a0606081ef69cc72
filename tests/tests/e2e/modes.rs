//! Observe, suspend, requests, the global brake on writes, duplicates.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use ssm_ready_tests::{eventually, objects, throughout, wait::condition_is, world};

use crate::rig::{self, ACCOUNT, NS, SOON, Setup};

#[tokio::test]
async fn observe_writes_nothing_and_shows_the_plan() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({ "mode": "Observe" })).await?;
        rig.until("main", "Ready", "True", "Evaluated").await?;
        let object = rig.get("main").await?;
        let plan = &object.data["status"]["plan"];
        ensure!(plan["hash"].as_str().is_some_and(|h| h.starts_with("sha256-")), "{plan}");
        ensure!(
            plan["actions"].as_array().is_some_and(|a| a.iter().any(|a| a["action"] == "CreateSecurityGroup")),
            "{plan}"
        );
        let shown =
            plan["actions"].as_array().into_iter().flatten().filter(|a| a["action"] == "CreateVpcEndpoint").count();
        ensure!(shown == 3, "the whole way is shown, not its first step: {plan}");
        ensure!(object.metadata.finalizers.unwrap_or_default().is_empty(), "made nothing, so it holds nothing");
        ensure!(rig.writes_since(0).await?.is_empty(), "wrote: {:?}", rig.writes_since(0).await?);
        // It goes at once.
        let api = objects(&rig.client, "VpcPosture", Some(NS));
        api.delete("main", &Default::default()).await?;
        ensure!(api.get_opt("main").await?.is_none(), "an object that made nothing goes at once");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_flag_observe_stops_every_write() -> Result<()> {
    rig::test(Setup::with_account().args(&["--mode=Observe"]), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until("main", "Ready", "True", "Evaluated").await?;
        ensure!(rig.writes_since(0).await?.is_empty(), "wrote: {:?}", rig.writes_since(0).await?);
        // Nor could it: every session is narrowed to reads, whatever the role may do.
        let sessions = rig.standin.sessions().await?;
        ensure!(!sessions.is_empty() && sessions.iter().all(|s| s.policy.is_some()), "a session is not narrowed");
        let write = ["ec2", "create-security-group", "--group-name", "x", "--description", "x"];
        let refused = rig.standin.aws_as(&sessions[0], world::REGION, &write).await.map_err(|error| error.to_string());
        ensure!(refused.as_ref().is_err_and(|error| error.contains("UnauthorizedOperation")), "{refused:?}");
        // Told to end, it ends well, and at once where nothing is under way.
        let began = std::time::Instant::now();
        let ended = rig.controller.terminate().await?;
        ensure!(ended.success() && began.elapsed() < Duration::from_secs(10), "{ended} after {:?}", began.elapsed());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_brake_holds_creations_back() -> Result<()> {
    rig::test(Setup::with_account().args(&["--max-creates-per-hour=2"]), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        let message = rig.until("main", "Ready", "False", "WriteBrake").await?;
        ensure!(message.contains("--max-creates-per-hour"), "{message}");
        assert_eq!(rig.count("CreateVpcEndpoint").await? + rig.count("CreateSecurityGroup").await?, 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn suspend_requests_and_duplicates() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;

        // An older object has the target: the younger one says so, and works once the older is gone.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        rig.posture("twin", &vpc.id, json!({})).await?;
        let message = rig.until("twin", "Stalled", "True", "DuplicateTarget").await?;
        ensure!(message.contains("team/main"), "{message}");

        // Suspended: nothing is repaired, Ready stays, and observedGeneration follows.
        rig.posture("main", &vpc.id, json!({ "suspend": true })).await?;
        rig.until("main", "Suspended", "True", "Suspended").await?;
        rig.until("main", "Ready", "True", "Succeeded").await?;
        let object = rig.get("main").await?;
        ensure!(
            object.data["status"]["observedGeneration"] == json!(object.metadata.generation),
            "{}",
            object.data["status"]
        );
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        let ssm = endpoints["ssm"]["VpcEndpointId"].as_str().unwrap_or_default();
        rig.aws(&["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", ssm]).await?;
        throughout(Duration::from_secs(5), "nothing is repaired", || async {
            ensure!(
                !world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?.contains_key("ssm"),
                "repaired"
            );
            Ok(())
        })
        .await?;

        // Resumed: repaired.
        rig.posture("main", &vpc.id, json!({ "suspend": false })).await?;
        eventually(SOON, "the repair", || async {
            ensure!(
                world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?.contains_key("ssm"),
                "not yet"
            );
            Ok(())
        })
        .await?;
        rig.until_ready("main").await?;
        let object = rig.get("main").await?;
        ensure!(!world::conditions(&object).contains("Suspended"), "{}", world::conditions(&object));

        // Two AwsAccounts of one number: the younger is told.
        world::account(&rig.client, "prod-again", ACCOUNT, &[NS]).await?;
        let stalled = condition_is(&rig.client, "AwsAccount", None, "prod-again", ("Stalled", "True"), SOON).await?;
        ensure!(stalled.reason == "DuplicateTarget" && stalled.message.contains("prod"), "{stalled:?}");
        Ok(())
    })
    .await
}
