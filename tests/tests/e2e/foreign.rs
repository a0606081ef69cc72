//! What somebody else made is used or reported, and never changed.

use anyhow::{Result, ensure};
use serde_json::json;
use ssm_ready_tests::world;

use crate::rig::{self, ACCOUNT, Setup};

#[tokio::test]
async fn a_good_one_is_used_and_a_bad_one_is_a_conflict() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        for (name, cidr, good) in [("good", "10.0.0.0/16", true), ("bad", "10.1.0.0/16", false)] {
            let vpc = rig.vpc(cidr).await?;
            let made =
                ["ec2", "create-security-group", "--group-name", "theirs", "--description", "x", "--vpc-id", &vpc.id];
            let group = rig.aws(&made).await?["GroupId"].as_str().unwrap_or_default().to_owned();
            if good {
                let rule = [
                    "ec2",
                    "authorize-security-group-ingress",
                    "--group-id",
                    &group,
                    "--protocol",
                    "tcp",
                    "--port",
                    "443",
                    "--cidr",
                    cidr,
                ];
                rig.aws(&rule).await?;
            }
            let service = format!("com.amazonaws.{}.ssm", world::REGION);
            let create = [
                "ec2",
                "create-vpc-endpoint",
                "--vpc-id",
                &vpc.id,
                "--service-name",
                &service,
                "--vpc-endpoint-type",
                "Interface",
                "--subnet-ids",
                &vpc.subnets[0],
                "--security-group-ids",
                &group,
                "--private-dns-enabled",
            ];
            let theirs =
                rig.aws(&create).await?["VpcEndpoint"]["VpcEndpointId"].as_str().unwrap_or_default().to_owned();
            rig.posture(name, &vpc.id, json!({ "endpoints": { "deletionPolicy": "Delete" } })).await?;
            if good {
                rig.until_ready(name).await?;
                let message = rig.until(name, "EndpointsReady", "True", "UsingExisting").await?;
                ensure!(message.contains(&theirs), "{message}");
            } else {
                let message = rig.until(name, "Ready", "False", "EndpointConflict").await?;
                ensure!(
                    message.contains(&theirs) && message.contains("TakeOver") && message.contains(cidr),
                    "{message}"
                );
                rig.until(name, "Stalled", "True", "EndpointConflict").await?;
            }
            // Deleting the object leaves theirs alone.
            let api = ssm_ready_tests::objects(&rig.client, "VpcPosture", Some(crate::rig::NS));
            api.delete(name, &Default::default()).await?;
            ssm_ready_tests::eventually(crate::rig::SOON, "the object to go", || async {
                ensure!(api.get_opt(name).await?.is_none(), "{}", world::conditions(&rig.get(name).await?));
                Ok(())
            })
            .await?;
            let left = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
            ensure!(left.len() == 1 && left["ssm"]["VpcEndpointId"] == json!(theirs), "{left:?}");
            let calls = rig.standin.calls(0).await?;
            for call in calls.as_array().into_iter().flatten().filter(|c| !c["role"].is_null()) {
                let writes = ["Modify", "Delete", "CreateTags"]
                    .iter()
                    .any(|p| call["action"].as_str().unwrap_or_default().starts_with(p));
                ensure!(!(writes && call["params"].to_string().contains(&theirs)), "touched: {call}");
            }
        }
        Ok(())
    })
    .await
}
