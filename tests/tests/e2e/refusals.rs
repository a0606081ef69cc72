//! Each thing that can be wrong has its own reason, says what to do, leaves nothing half made and holds up nobody else.

use anyhow::{Result, ensure};
use serde_json::json;
use ssm_ready_tests::world::{self, EXTERNAL_ID, REGION, ROLE};

use crate::rig::{self, ACCOUNT, NS, Setup};

#[tokio::test]
async fn accounts_and_access() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        rig.secrets.push("another-tenant".to_owned());
        let (standin, client) = (&rig.standin, &rig.client);
        // No role; another external id; no grant; a ceiling.
        world::role(standin, "222222222222", ROLE, EXTERNAL_ID).await?;
        world::role(standin, "444444444444", ROLE, EXTERNAL_ID).await?;
        world::role(standin, "555555555555", ROLE, EXTERNAL_ID).await?;
        world::account(client, "norole", "333333333333", &[NS]).await?;
        world::account_with(client, "wrongid", "222222222222", &[NS], "Enforce", "another-tenant").await?;
        world::account(client, "others", "444444444444", &["elsewhere"]).await?;
        world::account_with(client, "lookonly", "555555555555", &[NS], "Observe", EXTERNAL_ID).await?;
        // Without a role it is the controller's own identity, which is of another account: never a fall-back.
        let own = json!({
            "apiVersion": "ssmready.dev/v1alpha1", "kind": "AwsAccount", "metadata": { "name": "own" },
            "spec": {
                "accountId": "888888888888",
                "access": [{ "name": "all", "namespaces": { "from": "All" }, "maxMode": "Enforce" }],
            },
        });
        ssm_ready_tests::apply_yaml(client, &own.to_string()).await?;
        let vpc = rig.vpc("10.0.0.0/16").await?;
        for (name, account, reason, says) in [
            ("own", "own", "AccountMismatch", "999988887777"),
            ("norole", "norole", "AssumeRoleDenied", "trust policy"),
            ("wrongid", "wrongid", "AssumeRoleDenied", "external id"),
            ("others", "others", "AccessNotGranted", "spec.access"),
            ("lookonly", "lookonly", "ModeNotAllowed", "Observe"),
            ("nobody", "nobody", "DependencyNotReady", "create it"),
            ("unknown", "prod", "VpcNotFound", "spec.target"),
        ] {
            world::posture(client, NS, name, account, "vpc-0eeeeeeeeeeeeeee1", json!({})).await?;
            let message = rig.until(name, "Ready", "False", reason).await?;
            ensure!(message.contains(says), "{name}: {message}");
        }
        // Nobody is held up.
        rig.posture("fine", &vpc.id, json!({})).await?;
        rig.until_ready("fine").await?;
        // What waits for an account comes back with it.
        world::role(standin, "666666666666", ROLE, EXTERNAL_ID).await?;
        world::account(client, "nobody", "666666666666", &[NS]).await?;
        rig.until("nobody", "Ready", "False", "VpcNotFound").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn regions_quotas_and_permissions() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let standin = &rig.standin;
        let shared = rig.vpc("10.0.0.0/16").await?;
        standin
            .post(
                &format!("vpcs/{}", shared.id),
                &json!({ "account": ACCOUNT, "region": REGION, "owner_id": "777777777777" }),
            )
            .await?;
        rig.posture("shared", &shared.id, json!({})).await?;
        let message = rig.until("shared", "Stalled", "True", "VpcOwnedElsewhere").await?;
        ensure!(message.contains("777777777777"), "{message}");

        let full = rig.vpc("10.1.0.0/16").await?;
        for subnet in &full.subnets {
            let body = json!({ "account": ACCOUNT, "region": REGION, "available_ip_address_count": 0 });
            standin.post(&format!("subnets/{subnet}"), &body).await?;
        }
        rig.posture("full", &full.id, json!({ "endpoints": { "s3": { "type": "None" } } })).await?;
        let message = rig.until("full", "Ready", "False", "NoFreeAddresses").await?;
        ensure!(message.contains(&full.subnets[0]), "{message}");

        let region = "eu-central-1";
        standin.settings(&json!({ "disabled_regions": [[ACCOUNT, region]] })).await?;
        rig.posture("disabled", "vpc-0eeeeeeeeeeeeeee2", json!({ "target": { "region": region } })).await?;
        rig.until("disabled", "Stalled", "True", "RegionDisabled").await?;

        standin.settings(&json!({ "endpoint_quota": { "interface": 1, "gateway": 20 } })).await?;
        let crowded = rig.vpc("10.2.0.0/16").await?;
        rig.posture("crowded", &crowded.id, json!({})).await?;
        let message = rig.until("crowded", "Ready", "False", "QuotaReached").await?;
        ensure!(message.contains("L-29B6F2EB"), "{message}");
        standin.settings(&json!({ "endpoint_quota": { "interface": 50, "gateway": 20 } })).await?;

        // DNS off and no permission to switch it on: said, and no endpoint is made.
        let deaf = rig.vpc("10.3.0.0/16").await?;
        rig.aws(&["ec2", "modify-vpc-attribute", "--vpc-id", &deaf.id, "--no-enable-dns-hostnames"]).await?;
        let denied = json!({
            "account": ACCOUNT, "service": "ec2", "action": "ModifyVpcAttribute", "effect": "denied", "times": null,
            "role": format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}"),
        });
        standin.fault(&denied).await?;
        rig.posture("deaf", &deaf.id, json!({ "endpoints": { "s3": { "type": "None" } } })).await?;
        let message = rig.until("deaf", "Ready", "False", "DnsAttributesDenied").await?;
        ensure!(message.contains("ec2:ModifyVpcAttribute"), "{message}");
        ensure!(world::endpoints(standin, ACCOUNT, REGION, &deaf.id).await?.is_empty(), "half made");
        // A denied action is told by its name, and mends itself once allowed.
        standin.clear_faults().await?;
        rig.look_again("deaf", "allowed").await?;
        rig.until_ready("deaf").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown() -> Result<()> {
    rig::test(Setup::new(), async |rig| {
        let denied = json!({
            "service": "ec2", "action": "DescribeVpcAttribute", "effect": "denied", "times": null,
            "role": format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}"),
        });
        rig.standin.fault(&denied).await?;
        world::account(&rig.client, "prod", ACCOUNT, &[NS]).await?;
        let vpc = rig.vpc("10.0.0.0/16").await.err();
        ensure!(vpc.is_none(), "the fault is for the role alone: {vpc:?}");
        let vpcs = rig.aws(&["ec2", "describe-vpcs", "--filters", "Name=cidr,Values=10.0.0.0/16"]).await?;
        let id = vpcs["Vpcs"][0]["VpcId"].as_str().unwrap_or_default();
        rig.posture("main", id, json!({})).await?;
        let message = rig.until("main", "DnsReady", "Unknown", "FactUnreadable").await?;
        ensure!(message.contains("ec2:DescribeVpcAttribute"), "{message}");
        rig.until("main", "Compliant", "Unknown", "FactUnreadable").await?;
        rig.until("main", "EndpointsReady", "True", "Succeeded").await?;
        rig.until("main", "Ready", "False", "FactUnreadable").await?;
        Ok(())
    })
    .await
}
