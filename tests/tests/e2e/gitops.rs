//! What tools that apply from Git rely on: applying the same again changes nothing, whatever the controller did meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};
use ssm_ready_tests::{eventually, kubernetes::documents, objects, repository, wait::condition_of, world};

use crate::{
    api::{files, kubectl},
    rig::{self, Rig, SOON, Setup},
};

/// Flux's name as a manager of fields.
const FLUX: &str = "kustomize-controller";
/// Ours.
const OURS: &str = "ssm-ready";
/// The VPC of the smallest example, which exists; those of the others do not.
const VPC: &str = "vpc-0ffffffffffffff01";

/// Every document of the examples.
fn examples() -> Result<Vec<DynamicObject>> {
    let mut all = Vec::new();
    for file in files("examples")? {
        all.extend(documents(&std::fs::read_to_string(&file)?).with_context(|| file.display().to_string())?);
    }
    Ok(all)
}

fn api_of(client: &Client, object: &DynamicObject) -> Result<Api<DynamicObject>> {
    let types = object.types.as_ref().context("no type")?;
    let kind = GroupVersionKind::try_from(types)?;
    let resource = ApiResource::from_gvk(&kind);
    Ok(match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

/// Applies as Flux does, and returns what is stored then.
async fn apply(client: &Client, object: &DynamicObject, dry_run: bool) -> Result<DynamicObject> {
    let mut params = PatchParams::apply(FLUX).force();
    params.dry_run = dry_run;
    let api = api_of(client, object)?;
    Ok(api.patch(&object.name_any(), &params, &Patch::Apply(object)).await?)
}

fn label(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map(|t| t.kind.clone()).unwrap_or_default();
    format!("{kind} {}", object.name_any())
}

/// Waits until each example has an outcome for its generation, and nothing changes any more.
async fn settled(rig: &Rig) -> Result<()> {
    for kind in ["AwsAccount", "AccountPosture", "RegionPosture", "VpcPosture"] {
        eventually(SOON, format_args!("every {kind} to have an outcome"), || async {
            let list = objects(&rig.client, kind, None).list(&Default::default()).await?;
            ensure!(!list.items.is_empty(), "there is none");
            for object in list {
                let ready = condition_of(&object, "Ready")?;
                let stalled = condition_of(&object, "Stalled")?;
                let known = ready.as_ref().is_some_and(|c| c.status == "True") || stalled.is_some();
                let current = object.data["status"]["observedGeneration"] == json!(object.metadata.generation);
                ensure!(known && current, "{}", world::conditions(&object));
            }
            Ok(())
        })
        .await?;
    }
    rig.at_rest(Duration::from_secs(2)).await
}

/// Who manages which top-level parts of an object, without Flux.
fn others(object: &DynamicObject) -> BTreeMap<String, BTreeSet<String>> {
    let mut parts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in object.metadata.managed_fields.iter().flatten() {
        let manager = entry.manager.clone().unwrap_or_default();
        let fields = entry.fields_v1.as_ref().and_then(|f| f.0.as_object().cloned()).unwrap_or_default();
        if manager != FLUX {
            let entry = parts.entry(manager).or_default();
            for (part, below) in fields {
                match below.as_object() {
                    Some(below) if part == "f:metadata" => entry.extend(below.keys().map(|k| format!("{part}.{k}"))),
                    _ => {
                        entry.insert(part);
                    }
                }
            }
        }
    }
    parts
}

#[tokio::test]
async fn applying_the_examples_again_changes_nothing() -> Result<()> {
    rig::test(Setup::new(), async |rig| {
        let examples = examples()?;
        let account = examples.iter().find(|o| label(o).starts_with("AwsAccount")).context("no account")?;
        let external_id = account.data["spec"]["assumeRole"]["externalId"].as_str().context("no external id")?;
        let role = account.data["spec"]["assumeRole"]["roleArn"].as_str().and_then(|arn| arn.rsplit('/').next());
        let id = account.data["spec"]["accountId"].as_str().context("no account id")?;
        rig.aws(&["iam", "delete-role", "--role-name", world::ROLE]).await?;
        world::role(&rig.standin, id, role.context("no role")?, external_id).await?;
        // The first call makes the default VPC, which is not to have the id.
        rig.aws(&["ec2", "describe-vpcs"]).await?;
        rig.standin.settings(&json!({ "next_ids": [VPC] })).await?;
        ensure!(rig.vpc("10.0.0.0/16").await?.id == VPC);

        let mut first = BTreeMap::new();
        for object in &examples {
            first.insert(label(object), apply(&rig.client, object, false).await?);
        }
        settled(rig).await?;
        for object in &examples {
            let name = label(object);
            let before = api_of(&rig.client, object)?.get(&object.name_any()).await?;
            // The controller has changed nothing that is the user's, and owns nothing of it.
            ensure!(
                before.data["spec"] == first[&name].data["spec"],
                "{name}: spec was changed: {}",
                before.data["spec"]
            );
            for part in ["labels", "annotations"] {
                let (then, now) = (meta(&first[&name], part)?, meta(&before, part)?);
                ensure!(then == now, "{name}: {part} were {then}, and are {now}");
            }
            if name.starts_with("Namespace") {
                continue;
            }
            let others = others(&before);
            ensure!(others.keys().all(|manager| manager == OURS), "{name} is managed by {others:?}");
            let may = ["f:status", "f:metadata.f:finalizers"];
            let ours: Vec<&String> = others.values().flatten().collect();
            ensure!(ours.contains(&&"f:status".to_owned()), "{name}: {others:?}");
            ensure!(ours.iter().all(|part| may.contains(&part.as_str())), "{name}: {others:?}");

            // A dry run is how Flux looks for drift; what differs from what is stored would be applied and reported.
            let dry = apply(&rig.client, object, true).await?;
            ensure!(dry == before, "{name}: a dry run differs: {} from {}", json!(dry), json!(before));
            for time in ["second", "third"] {
                let after = apply(&rig.client, object, false).await?;
                ensure!(after == before, "{name}: the {time} apply changed {} to {}", json!(before), json!(after));
            }
        }
        for file in files("examples")? {
            let path = file.display().to_string();
            let arguments = ["diff", "--server-side", "--field-manager", FLUX, "--force-conflicts", "-f", &path];
            let (same, text) = kubectl(&rig.server, &arguments)?;
            ensure!(same, "{path} differs from what is stored: {text}");
        }

        // The same with tools that apply from the client's side, as Argo CD does unless told otherwise: they merge
        // three ways, and must not take defaults of the API for drift.
        for file in files("examples")? {
            let path = file.display().to_string();
            let (applied, text) = kubectl(&rig.server, &["apply", "-f", &path])?;
            ensure!(applied, "{path}: {text}");
        }
        settled(rig).await?;
        for file in files("examples")? {
            let path = file.display().to_string();
            let (same, text) = kubectl(&rig.server, &["diff", "-f", &path])?;
            ensure!(same, "{path} differs from what is stored: {text}");
            let (applied, text) = kubectl(&rig.server, &["apply", "-f", &path])?;
            let unchanged = text.lines().all(|line| line.ends_with(" unchanged"));
            ensure!(applied && unchanged, "{path}: {text}");
        }

        // And what shows that this test can fail.
        let posture = examples.iter().find(|o| label(o).starts_with("VpcPosture")).context("no posture")?;
        let patch = json!({ "spec": { "interval": "7m" } });
        let api = api_of(&rig.client, posture)?;
        let edited = api.patch(&posture.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        let mut stated = posture.clone();
        stated.data["spec"]["interval"] = json!("8m");
        let dry = apply(&rig.client, &stated, true).await?;
        ensure!(dry.data["spec"] != edited.data["spec"], "an edit behind Git's back is no drift");
        Ok(())
    })
    .await
}

fn meta(object: &DynamicObject, part: &str) -> Result<Value> {
    Ok(serde_json::to_value(&object.metadata)?[part].clone())
}

/// Defaults within lists show as drift in tools that merge lists as wholes.
#[test]
fn no_item_of_a_list_has_defaults() -> Result<()> {
    fn look(schema: &Value, within: bool, path: &str, found: &mut Vec<String>) {
        let Some(map) = schema.as_object() else { return };
        if within && map.contains_key("default") {
            found.push(path.to_owned());
        }
        for (name, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            look(property, within, &format!("{path}.{name}"), found);
        }
        if let Some(items) = map.get("items") {
            look(items, true, &format!("{path}[]"), found);
        }
    }
    let mut seen = 0;
    for file in std::fs::read_dir(repository().join("crds"))? {
        let path = file?.path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let crd: Value = serde_yaml::from_str(&std::fs::read_to_string(&path)?)?;
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        if !schema.is_object() {
            bail!("{} has no schema", path.display());
        }
        let mut found = Vec::new();
        look(schema, false, "spec", &mut found);
        ensure!(found.is_empty(), "{}: defaults in {found:?}", path.display());
        seen += 1;
    }
    ensure!(seen > 1, "no definitions");
    Ok(())
}
