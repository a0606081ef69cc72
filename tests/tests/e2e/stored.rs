//! Objects that were stored by another version of the definitions: they say so, keep what they made, and stop nobody.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use ssm_ready_tests::{
    eventually, objects,
    wait::condition_of,
    world::{self, REGION, conditions},
};

use crate::rig::{self, ACCOUNT, NS, Rig, SOON, Setup};

/// A newer version of a kind knows another value of a field of its spec.
async fn newer(rig: &Rig, plural: &str, field: &str, value: &str) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(rig.client.clone());
    let name = format!("{plural}.ssmready.dev");
    let mut crd = serde_json::to_value(crds.get(&name).await?)?;
    let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/{field}/enum");
    let values = crd.pointer_mut(&path).and_then(Value::as_array_mut).with_context(|| path.clone())?;
    values.push(value.into());
    crds.replace(&name, &PostParams::default(), &serde_json::from_value(crd)?).await?;
    Ok(())
}

async fn set(api: &Api<DynamicObject>, name: &str, patch: Value) -> Result<()> {
    // The API server takes a moment to serve a changed definition.
    eventually(SOON, format_args!("{patch} of {name}"), || async {
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_posture_of_a_newer_version() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let postures = objects(&rig.client, "VpcPosture", Some(NS));
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        let before = rig.get("main").await?;

        newer(rig, "vpcpostures", "properties/mode", "Audit").await?;
        set(&postures, "main", json!({ "spec": { "mode": "Audit" } })).await?;
        let message = rig.until("main", "Stalled", "True", "StoredObjectUnreadable").await?;
        ensure!(message.contains("spec.mode") && message.contains("Audit"), "{message}");
        rig.until("main", "Ready", "False", "StoredObjectUnreadable").await?;
        let broken = rig.get("main").await?;
        for kept in ["endpoints", "securityGroup", "vpc", "accountId"] {
            ensure!(broken.data["status"][kept] == before.data["status"][kept], "{kept}: {}", broken.data["status"]);
        }
        ensure!(broken.metadata.finalizers == before.metadata.finalizers, "{:?}", broken.metadata.finalizers);

        // Others work on.
        let other = rig.vpc("10.1.0.0/16").await?;
        rig.posture("other", &other.id, json!({})).await?;
        rig.until_ready("other").await?;

        // Deleted, it stays with what it made, and so does its account.
        postures.delete("main", &Default::default()).await?;
        objects(&rig.client, "AwsAccount", None).delete("prod", &Default::default()).await?;
        eventually(SOON, "the deletion to be said to wait", || async {
            let object = rig.get("main").await?;
            let ready = condition_of(&object, "Ready")?;
            ensure!(ready.is_some_and(|c| c.message.contains("ssmready.dev/abandon")), "{}", conditions(&object));
            let account = objects(&rig.client, "AwsAccount", None).get("prod").await?;
            let ready = condition_of(&account, "Ready")?;
            ensure!(ready.is_some_and(|c| c.message.contains("team/main")), "{}", conditions(&account));
            Ok(())
        })
        .await?;
        ensure!(world::endpoints(&rig.standin, ACCOUNT, REGION, &vpc.id).await?.len() == 3, "the endpoints stay");

        // Put right, it goes as any other.
        set(&postures, "main", json!({ "spec": { "mode": "Enforce", "endpoints": { "deletionPolicy": "Delete" } } }))
            .await?;
        eventually(SOON, "main to be gone", || async {
            ensure!(postures.get_opt("main").await?.is_none(), "{}", conditions(&rig.get("main").await?));
            Ok(())
        })
        .await?;
        ensure!(world::endpoints(&rig.standin, ACCOUNT, REGION, &vpc.id).await?.is_empty(), "nothing stays");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_put_right_is_as_before() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let postures = objects(&rig.client, "VpcPosture", Some(NS));
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        newer(rig, "vpcpostures", "properties/mode", "Audit").await?;
        set(&postures, "main", json!({ "spec": { "mode": "Audit" } })).await?;
        rig.until("main", "Stalled", "True", "StoredObjectUnreadable").await?;
        set(&postures, "main", json!({ "spec": { "mode": "Enforce" } })).await?;
        rig.until_ready("main").await?;
        let object = rig.get("main").await?;
        ensure!(condition_of(&object, "Stalled")?.is_none(), "{}", conditions(&object));

        // An account: its postures say that it is there.
        let accounts = objects(&rig.client, "AwsAccount", None);
        newer(rig, "awsaccounts", "properties/access/items/properties/maxMode", "Lead").await?;
        let moon = json!({
            "apiVersion": "ssmready.dev/v1alpha1", "kind": "AwsAccount", "metadata": { "name": "moon" },
            "spec": { "accountId": "222222222222", "access": [
                { "name": "all", "namespaces": { "from": "All" }, "maxMode": "Lead" },
            ] },
        });
        eventually(SOON, "the newer account to be taken", || async {
            ssm_ready_tests::apply_yaml(&rig.client, &moon.to_string()).await.map(drop)
        })
        .await?;
        world::posture(&rig.client, NS, "lunar", "moon", "vpc-0eeeeeeeeeeeeeee1", json!({})).await?;
        let message = rig.until("lunar", "Ready", "False", "DependencyNotReady").await?;
        ensure!(message.contains("moon is there, but cannot be read"), "{message}");
        eventually(SOON, "the account to say so", || async {
            let object = accounts.get("moon").await?;
            let ready = condition_of(&object, "Ready")?;
            let says =
                |c: &Condition| c.reason == "StoredObjectUnreadable" && c.message.contains("spec.access[0].maxMode");
            ensure!(ready.as_ref().is_some_and(says), "{}", conditions(&object));
            Ok(())
        })
        .await?;
        Ok(())
    })
    .await
}
