//! What is changed behind our back is seen, repaired where that is ours to do, and told.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ssm_ready_tests::{eventually, world};

use crate::rig::{self, ACCOUNT, Rig, SOON, Setup};

async fn id(rig: &Rig, vpc: &str, service: &str) -> Result<String> {
    let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, vpc).await?;
    Ok(endpoints.get(service).and_then(|e| e["VpcEndpointId"].as_str()).unwrap_or_default().to_owned())
}

#[tokio::test]
async fn it_is_seen_repaired_and_told() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({ "endpoints": { "tags": [{ "key": "Team", "value": "a" }] } })).await?;
        rig.until_ready("main").await?;
        let (ssm, messages, s3) =
            (id(rig, &vpc.id, "ssm").await?, id(rig, &vpc.id, "ssmmessages").await?, id(rig, &vpc.id, "s3").await?);
        let status = rig.get("main").await?.data["status"].clone();
        let group = status["securityGroup"]["id"].as_str().unwrap_or_default().to_owned();

        // The ingress rule, a DNS attribute, a subnet, a group, a route table, a tag, and a whole endpoint.
        let made =
            ["ec2", "create-security-group", "--group-name", "foreign", "--description", "x", "--vpc-id", &vpc.id];
        let foreign = rig.aws(&made).await?["GroupId"].as_str().unwrap_or_default().to_owned();
        let rule = ["--protocol", "tcp", "--port", "443", "--cidr", "10.0.0.0/16"];
        rig.aws(&[&["ec2", "revoke-security-group-ingress", "--group-id", &group], &rule[..]].concat()).await?;
        rig.aws(&["ec2", "modify-vpc-attribute", "--vpc-id", &vpc.id, "--no-enable-dns-hostnames"]).await?;
        let modify = ["ec2", "modify-vpc-endpoint", "--vpc-endpoint-id"];
        let change = [
            "--remove-subnet-ids",
            &vpc.subnets[1],
            "--add-security-group-ids",
            &foreign,
            "--remove-security-group-ids",
            &group,
        ];
        rig.aws(&[&modify[..], &[&messages], &change[..]].concat()).await?;
        rig.aws(&[&modify[..], &[&s3], &["--remove-route-table-ids", &vpc.main_table]].concat()).await?;
        rig.aws(&["ec2", "delete-tags", "--resources", &messages, "--tags", "Key=Team"]).await?;
        rig.aws(&["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", &ssm]).await?;

        rig.look_again("main", "one").await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        ensure!(
            endpoints["ssm"]["VpcEndpointId"] != json!(ssm) && endpoints["ssm"]["PrivateDnsEnabled"] == true,
            "{endpoints:?}"
        );
        ensure!(endpoints["ssmmessages"]["SubnetIds"].as_array().map(Vec::len) == Some(2), "{endpoints:?}");
        ensure!(endpoints["ssmmessages"]["Groups"][0]["GroupId"] == json!(group), "{endpoints:?}");
        ensure!(endpoints["ssmmessages"]["Tags"].to_string().contains("Team"), "{endpoints:?}");
        ensure!(endpoints["s3"]["RouteTableIds"] == json!([vpc.main_table]), "{endpoints:?}");
        let dns = rig
            .aws(&["ec2", "describe-vpc-attribute", "--vpc-id", &vpc.id, "--attribute", "enableDnsHostnames"])
            .await?;
        ensure!(dns["EnableDnsHostnames"]["Value"] == true, "{dns}");

        let status = rig.get("main").await?.data["status"].clone();
        let drift: Vec<&Value> = status["drift"].as_array().into_iter().flatten().collect();
        for field in [
            "endpoints.ssm",
            "endpoints.ssmmessages.subnets",
            "endpoints.s3.routeTables",
            "securityGroup.ingress",
            "vpc.enableDnsHostnames",
            "tags",
        ] {
            ensure!(
                drift.iter().any(|d| d["field"] == field && d["repaired"] == true),
                "no repaired {field} in {drift:?}"
            );
        }
        let metrics = rig.controller.metrics().await?;
        ensure!(metrics.contains("ssm_ready_drift_total{"), "no drift counted");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_failed_is_made_anew() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        let ssm = id(rig, &vpc.id, "ssm").await?;
        let failed = json!({
            "account": ACCOUNT, "region": world::REGION, "state": "failed",
            "last_error": { "code": "Gone", "message": "the service owner said no" },
        });
        rig.standin.post(&format!("endpoints/{ssm}"), &failed).await?;
        rig.look_again("main", "one").await?;
        eventually(SOON, "a new endpoint", || async {
            let now = id(rig, &vpc.id, "ssm").await?;
            ensure!(!now.is_empty() && now != ssm, "still {now}");
            Ok(())
        })
        .await?;
        rig.until_ready("main").await
    })
    .await
}

#[tokio::test]
async fn what_lost_our_tags_is_told_and_not_touched() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        let ssm = id(rig, &vpc.id, "ssm").await?;
        rig.aws(&["ec2", "delete-tags", "--resources", &ssm, "--tags", "Key=ssmready.dev/owner"]).await?;
        rig.standin.delete("calls").await?;
        rig.look_again("main", "one").await?;
        let message = rig.until("main", "EndpointsReady", "True", "OwnershipTagsLost").await?;
        ensure!(message.contains(&ssm) && message.contains("create-tags"), "{message}");
        // Still told at the next look, and for as long as it lasts.
        rig.look_again("main", "two").await?;
        rig.until("main", "EndpointsReady", "True", "OwnershipTagsLost").await?;
        let drift = rig.get("main").await?.data["status"]["drift"].clone();
        ensure!(drift[0]["field"] == "endpoints.ssm.tags" && drift[0]["repaired"] == false, "{drift}");
        for action in ["CreateTags", "ModifyVpcEndpoint", "DeleteVpcEndpoints", "CreateVpcEndpoint"] {
            ensure!(rig.count(action).await? == 0, "{action} was called");
        }
        // Told to, it takes it back.
        rig.posture("main", &vpc.id, json!({ "endpoints": { "adoption": "TakeOver" } })).await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        ensure!(endpoints["ssm"]["VpcEndpointId"] == json!(ssm), "{endpoints:?}");
        ensure!(endpoints["ssm"]["Tags"].to_string().contains("ssmready.dev/owner"), "{endpoints:?}");
        Ok(())
    })
    .await
}
