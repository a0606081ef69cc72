//! When AWS does not answer, answers late, or the process dies: one of each, not two.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use ssm_ready_tests::{eventually, world};

use crate::rig::{self, ACCOUNT, SOON, Setup};

#[tokio::test]
async fn lost_answers_make_no_second_endpoint() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.standin
            .settings(&json!({ "endpoint_visibility_delay_seconds": 8, "group_visibility_delay_seconds": 3 }))
            .await?;
        for action in ["CreateVpcEndpoint", "CreateSecurityGroup"] {
            rig.standin.fault(&json!({ "service": "ec2", "action": action, "effect": "lost", "times": 1 })).await?;
        }
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        // Asserts that there is one for each service.
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        assert_eq!(endpoints.len(), 3, "{endpoints:?}");
        let groups = rig
            .aws(&["ec2", "describe-security-groups", "--filters", &format!("Name=vpc-id,Values={}", vpc.id)])
            .await?;
        ensure!(groups["SecurityGroups"].as_array().map(Vec::len) == Some(2), "the default one and ours: {groups}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_twice() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.standin.settings(&json!({ "endpoint_visibility_delay_seconds": 10 })).await?;
        // Slow answers, so that the process is killed between a call and its answer.
        rig.standin
            .fault(&json!({ "service": "ec2", "action": "Create*", "effect": "delay", "ms": 300, "times": null }))
            .await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        for action in ["CreateSecurityGroup", "CreateVpcEndpoint", "CreateVpcEndpoint"] {
            let before = rig.count(action).await?;
            eventually(SOON, format_args!("another {action}"), || async {
                let now = rig.count(action).await?;
                ensure!(now > before, "{now}");
                Ok(())
            })
            .await?;
            rig.crash().await?;
        }
        rig.standin.clear_faults().await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        assert_eq!(endpoints.len(), 3, "{endpoints:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn it_converges_through_throttles_and_errors() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        for (effect, seed) in [("throttle", 1), ("http500", 2)] {
            let fault = json!({
                "service": "ec2", "effect": effect, "times": null, "probability": 0.2, "seed": seed,
            });
            rig.standin.fault(&fault).await?;
        }
        rig.posture("main", &vpc.id, json!({})).await?;
        tokio::time::sleep(Duration::from_secs(20)).await;
        rig.standin.clear_faults().await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        assert_eq!(endpoints.len(), 3, "{endpoints:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn deletions_that_aws_refuses_with_200_are_not_done() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({ "endpoints": { "deletionPolicy": "Delete" } })).await?;
        rig.until_ready("main").await?;
        let refusal = json!({
            "service": "ec2", "action": "DeleteVpcEndpoints", "effect": "unsuccessful",
            "code": "OperationNotPermitted", "message": "not now", "times": null,
        });
        rig.standin.fault(&refusal).await?;
        let api = ssm_ready_tests::objects(&rig.client, "VpcPosture", Some(crate::rig::NS));
        api.delete("main", &Default::default()).await?;
        eventually(SOON, "the refusal in status", || async {
            let object = rig.get("main").await?;
            let text = world::conditions(&object);
            ensure!(text.contains("not now"), "{text}");
            Ok(())
        })
        .await?;
        rig.standin.clear_faults().await?;
        rig.look_again("main", "again").await.ok();
        eventually(SOON * 2, "the object to go", || async {
            ensure!(api.get_opt("main").await?.is_none(), "{}", world::conditions(&rig.get("main").await?));
            Ok(())
        })
        .await?;
        assert_eq!(world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?.len(), 0);
        Ok(())
    })
    .await
}
