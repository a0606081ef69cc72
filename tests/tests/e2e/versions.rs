//! Objects that were stored by another version of the definitions stop nobody.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use ssm_ready_tests::{
    apply_crds, eventually, objects,
    wait::{condition_is, condition_of},
    world::{self, EXTERNAL_ID, ROLE},
};

use crate::rig::{self, NS, Rig, SERVICES, SOON, Setup, edit, say};

/// Takes everything that a definition says of its objects away.
async fn loosen(rig: &Rig) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(rig.client.clone());
    for name in ["awsaccounts.ssmready.dev", "vpcpostures.ssmready.dev"] {
        let mut definition = api.get(name).await?;
        for version in &mut definition.spec.versions {
            version.selectable_fields = None;
            version.schema = Some(serde_json::from_value(json!({
                "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            }))?);
        }
        api.replace(name, &PostParams::default(), &definition).await?;
    }
    Ok(())
}

/// Stores an object as it is, once the definition lets it.
async fn store(rig: &Rig, kind: &str, name: &str, mut rest: Value) -> Result<()> {
    let namespace = (kind == "VpcPosture").then_some(NS);
    let api = objects(&rig.client, kind, namespace);
    rest["apiVersion"] = json!("ssmready.dev/v1alpha1");
    rest["kind"] = json!(kind);
    rest["metadata"] = json!({ "name": name });
    let object: DynamicObject = serde_json::from_value(rest)?;
    eventually(Duration::from_secs(30), format_args!("{name} to be stored"), || async {
        api.create(&PostParams::default(), &object).await.map(drop).map_err(anyhow::Error::from)
    })
    .await
}

#[tokio::test]
async fn objects_of_other_versions_stop_nobody() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpcs = rig.vpcs(4).await?;
        rig.postures(&vpcs[..1], &edit("one")).await?;
        rig.until_all_ready(&vpcs[..1]).await?;

        loosen(rig).await?;
        let target = |vpc: &str| json!({ "accountRef": { "name": "prod" }, "region": "eu-west-1", "vpcId": vpc });
        let unreadable = [
            ("no-spec", json!({})),
            ("no-target", json!({ "spec": {} })),
            ("target-a-text", json!({ "spec": { "target": "vpc-1" } })),
            ("mode-of-later", json!({ "spec": { "target": target(&vpcs[0].id), "mode": "Heal" } })),
            ("interval-a-number", json!({ "spec": { "target": target(&vpcs[0].id), "interval": 5 } })),
            ("endpoints-a-list", json!({ "spec": { "target": target(&vpcs[0].id), "endpoints": ["ssm"] } })),
        ];
        for (name, rest) in &unreadable {
            store(rig, "VpcPosture", name, rest.clone()).await?;
        }
        store(rig, "AwsAccount", "no-account-id", json!({ "spec": { "access": "everybody" } })).await?;
        store(rig, "AwsAccount", "number", json!({ "spec": { "accountId": 111_122_223_333_u64 } })).await?;
        // Readable, but what the definition refuses: a role of another account than the declared one.
        let (declared, elsewhere) = ("555555555555", "666666666666");
        world::role(&rig.standin, elsewhere, ROLE, EXTERNAL_ID).await?;
        let role = json!({ "roleArn": format!("arn:aws:iam::{elsewhere}:role/{ROLE}"), "externalId": EXTERNAL_ID });
        let access = json!([{ "name": "all", "namespaces": { "from": "All" }, "maxMode": "Enforce" }]);
        let spec = json!({ "spec": { "accountId": declared, "assumeRole": role, "access": access } });
        store(rig, "AwsAccount", "elsewhere", spec).await?;
        // What a later version knows more.
        let later = json!({ "spec": { "target": target(&vpcs[1].id), "foresight": { "days": 3 } } });
        store(rig, "VpcPosture", "v1", later).await?;
        apply_crds(&rig.client).await?;

        world::posture(&rig.client, NS, "elsewhere", "elsewhere", "vpc-0eeeeeeeeeeeeeee1", json!({})).await?;
        // A watch that began under another definition may hear of nothing until it times out, after 5 minutes at most.
        let message = eventually(SOON * 2, "InvalidSpec of elsewhere", || async {
            let object = rig.get("elsewhere").await?;
            let ready = condition_of(&object, "Ready")?.filter(|c| c.status == "False" && c.reason == "InvalidSpec");
            ready.map(|c| c.message).with_context(|| world::conditions(&object))
        })
        .await?;
        ensure!(message.contains("roleArn"), "{message}");
        world::posture(&rig.client, NS, "nobody", "no-account-id", "vpc-0eeeeeeeeeeeeeee2", json!({})).await?;
        condition_is(&rig.client, "VpcPosture", Some(NS), "nobody", ("Ready", "False"), SOON).await?;
        // Those that were there go on, and new ones begin: in this process, and in one that finds all of that.
        rig.until_all_ready(&vpcs[..2]).await?;
        rig.postures(&vpcs[..1], &edit("two")).await?;
        rig.posture("v2", &vpcs[2].id, json!({})).await?;
        rig.until_all_ready(&vpcs[..3]).await?;
        rig.tagged(&vpcs[..1], "two").await?;
        // And a status that was written by hand while nobody looked.
        rig.controller.kill9()?;
        loosen(rig).await?;
        let api = objects(&rig.client, "VpcPosture", Some(NS));
        let text = Patch::Merge(json!({ "status": { "conditions": "good" } }));
        eventually(Duration::from_secs(30), "a status that is a text", || async {
            let object = api.patch_status("elsewhere", &PatchParams::default(), &text).await?;
            ensure!(object.data["status"]["conditions"] == "good", "{}", object.data);
            Ok(())
        })
        .await?;
        apply_crds(&rig.client).await?;
        rig.crash().await?;
        rig.postures(&vpcs[..1], &edit("three")).await?;
        rig.posture("v3", &vpcs[3].id, json!({})).await?;
        rig.until_all_ready(&vpcs).await?;
        rig.tagged(&vpcs[..1], "three").await?;
        let endpoints = rig.intact(&vpcs, &SERVICES).await?;

        let log = rig.controller.log();
        for name in unreadable.iter().map(|(name, _)| *name).chain(["elsewhere"]) {
            ensure!(log.contains(name), "the log does not name {name}: {log}");
        }
        let sessions = rig.standin.sessions().await?;
        ensure!(sessions.iter().all(|s| s.account != elsewhere), "a session in an account that was not declared");
        let calls = rig.standin.calls(0).await?;
        let calls = calls.as_array().context("no calls")?;
        let asked = calls.iter().find(|c| c["params"]["RoleArn"].as_str().is_some_and(|arn| arn.contains(elsewhere)));
        ensure!(asked.is_none(), "asked for a role of another account: {asked:?}");
        say(format_args!(
            "other versions: {} VpcPostures, 2 AwsAccounts and a status that cannot be read, one that the definition refuses, one of a \
             later version: {endpoints} endpoints of the others, nothing lost, nothing doubled",
            unreadable.len()
        ));
        Ok(())
    })
    .await
}
