//! From nothing to ready.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ssm_ready_tests::{wait::condition_is, world};

use crate::rig::{self, ACCOUNT, NS, SOON, Setup};

#[tokio::test]
async fn a_vpc_becomes_ready() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({ "endpoints": { "tags": [{ "key": "CostCenter", "value": "4711" }] } }))
            .await?;
        rig.until_ready("main").await?;
        rig.until("main", "Compliant", "True", "Succeeded").await?;

        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        assert_eq!(endpoints.keys().map(String::as_str).collect::<Vec<_>>(), ["s3", "ssm", "ssmmessages"]);
        for service in ["ssm", "ssmmessages"] {
            let endpoint = &endpoints[service];
            ensure!(
                endpoint["PrivateDnsEnabled"] == true && endpoint["SubnetIds"].as_array().map(Vec::len) == Some(2),
                "{endpoint}"
            );
            let tags = endpoint["Tags"].to_string();
            for part in ["ssmready.dev/cluster", "VpcPosture/team/main", "CostCenter"] {
                ensure!(tags.contains(part), "no {part} in {tags}");
            }
        }
        ensure!(endpoints["s3"]["RouteTableIds"] == json!([vpc.main_table]), "{}", endpoints["s3"]);
        let group = endpoints["ssm"]["Groups"][0]["GroupId"].as_str().unwrap_or_default();
        let group = rig.aws(&["ec2", "describe-security-groups", "--group-ids", group]).await?;
        let permission = &group["SecurityGroups"][0]["IpPermissions"][0];
        ensure!(permission["FromPort"] == 443 && permission["IpRanges"][0]["CidrIp"] == "10.0.0.0/16", "{permission}");

        // The account says who acts there, and that IAM allows what is needed.
        let ready = condition_is(&rig.client, "AwsAccount", None, "prod", ("Ready", "True"), SOON).await?;
        ensure!(ready.message.contains("assumed-role/ssm-ready"), "{}", ready.message);
        condition_is(&rig.client, "AwsAccount", None, "prod", ("PermissionsReady", "True"), SOON).await?;

        // Every call was made as the role, and none was throttled or refused.
        let calls = rig.standin.calls(0).await?;
        let calls: Vec<&Value> = calls.as_array().into_iter().flatten().filter(|c| !c["role"].is_null()).collect();
        let refused: Vec<&&Value> = calls.iter().filter(|c| !c["code"].is_null()).collect();
        ensure!(refused.is_empty(), "refused: {refused:?}");
        ensure!(calls.iter().all(|c| c["account"] == ACCOUNT), "a call in another account");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_capability_and_setting_does_something() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.1.0.0/16").await?;
        let spec = json!({
            "capabilities": ["SessionManager", "SessionEncryption", "CloudWatchAgent", "VssSnapshots", "S3Logging"],
            "endpoints": {
                "ec2messages": "Always",
                "subnets": { "ids": [vpc.subnets[0]] },
                "securityGroup": { "create": { "clientCidrs": ["100.64.0.0/16"] } },
                "s3": { "type": "Interface" },
            },
        });
        rig.posture("main", &vpc.id, spec).await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        assert_eq!(
            endpoints.keys().map(String::as_str).collect::<Vec<_>>(),
            ["ec2", "ec2messages", "kms", "logs", "monitoring", "s3", "ssm", "ssmmessages"]
        );
        for endpoint in endpoints.values() {
            ensure!(endpoint["SubnetIds"] == json!([vpc.subnets[0]]), "{endpoint}");
            ensure!(endpoint["VpcEndpointType"] == "Interface", "{endpoint}");
        }
        // An edit is carried out: a client more, and another set of subnets.
        let spec = json!({
            "capabilities": ["SessionManager"],
            "endpoints": {
                "ec2messages": "Always",
                "subnets": { "ids": vpc.subnets },
                "securityGroup": { "create": { "clientCidrs": ["100.65.0.0/16"] } },
                "s3": { "type": "None" },
                "deletionPolicy": "Delete",
            },
        });
        rig.posture("main", &vpc.id, spec).await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        assert_eq!(
            endpoints.keys().map(String::as_str).collect::<Vec<_>>(),
            ["ec2messages", "ssm", "ssmmessages"],
            "undeclared ones go"
        );
        ensure!(endpoints["ssm"]["SubnetIds"].as_array().map(Vec::len) == Some(2), "{}", endpoints["ssm"]);
        let group = endpoints["ssm"]["Groups"][0]["GroupId"].as_str().unwrap_or_default().to_owned();
        let group = rig.aws(&["ec2", "describe-security-groups", "--group-ids", &group]).await?.to_string();
        ensure!(group.contains("100.65.0.0/16") && !group.contains("100.64.0.0/16"), "{group}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn private_dns_waits_where_instances_work_otherwise() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.2.0.0/16").await?;
        let run =
            ["ec2", "run-instances", "--image-id", "ami-12345678", "--count", "1", "--subnet-id", &vpc.subnets[0]];
        let instance = rig.aws(&run).await?["Instances"][0]["InstanceId"].as_str().unwrap_or_default().to_owned();
        let nodes = json!({ "account": ACCOUNT, "region": world::REGION, "instances": [
        { "InstanceId": instance, "PingStatus": "Online", "AgentVersion": "3.2.0.0", "PlatformType": "Linux" }] });
        rig.standin.post("ssm-instances", &nodes).await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        let calls = rig.standin.calls(0).await?;
        let creations: Vec<&Value> =
            calls.as_array().into_iter().flatten().filter(|c| c["action"] == "CreateVpcEndpoint").collect();
        let with_dns =
            |c: &&&Value| c["params"]["PrivateDnsEnabled"].as_str().is_some_and(|v| v.eq_ignore_ascii_case("true"));
        ensure!(creations.iter().filter(with_dns).count() == 0, "private DNS at creation: {creations:?}");
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?;
        ensure!(endpoints.contains_key("ec2messages"), "the old agent needs ec2messages: {:?}", endpoints.keys());
        ensure!(
            endpoints.iter().filter(|(s, _)| *s != "s3").all(|(_, e)| e["PrivateDnsEnabled"] == true),
            "{endpoints:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn it_converges_against_plain_moto() -> Result<()> {
    rig::test(Setup::plain(), async |rig| {
        // Moto's own account: plain, it takes every key for that account's, lets any role be assumed and knows no
        // external ids.
        // This is about what its EC2 lacks.
        let account = "123456789012";
        world::account(&rig.client, "prod", account, &[NS]).await?;
        let vpc = world::vpc(&rig.standin, account, world::REGION, "10.3.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await
    })
    .await
}
