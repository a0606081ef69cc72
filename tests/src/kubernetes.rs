//! Kubernetes objects as text and JSON, applied and read the way a user's tools do it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::discovery::Scope;
use kube::{Client, Config};
use serde::Deserialize as _;
use serde_json::Value;

use crate::repository;
use crate::wait::eventually;

/// The API group of our kinds.
pub const GROUP: &str = "ssmready.dev";
/// Its version.
pub const VERSION: &str = "v1alpha1";

/// The field manager that [`apply_yaml`] writes as.
pub const FIELD_MANAGER: &str = "ssm-ready-tests";

/// A kind of ours. All its plurals are regular.
#[must_use]
pub fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind))
}

/// The objects of a kind of ours, in one namespace, or cluster-scoped (and all of them) with `None`.
#[must_use]
pub fn objects(client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(kind)),
        None => Api::all_with(client.clone(), &resource(kind)),
    }
}

/// Applies every document of a YAML text on the server's side, in order, and returns the objects as stored. Namespaced
/// objects without a namespace go to the client's default one. Returns once definitions in it are being served.
pub async fn apply_yaml(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut applied = Vec::new();
    for document in documents(yaml)? {
        applied.push(apply(client, document).await?);
    }
    Ok(applied)
}

/// Applies the generated definitions of our kinds (`crds/*.yaml`).
pub async fn apply_crds(client: &Client) -> Result<()> {
    let folder = repository().join("crds");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("{}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "no definitions in {}; `make crds` writes them", folder.display());
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        apply_yaml(client, &text).await.with_context(|| format!("{}", file.display()))?;
    }
    Ok(())
}

/// The documents of a YAML text; empty ones are left out, and lists are taken apart.
pub fn documents(yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut found = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(yaml).enumerate() {
        let value = Value::deserialize(document).with_context(|| format!("YAML document {}", index + 1))?;
        let values = match value {
            Value::Null => Vec::new(),
            Value::Object(mut list) if list.get("kind") == Some(&Value::from("List")) => match list.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            },
            other => vec![other],
        };
        for value in values {
            let object = serde_json::from_value(value)
                .with_context(|| format!("YAML document {} is no Kubernetes object", index + 1))?;
            found.push(object);
        }
    }
    Ok(found)
}

/// Whether the server would take an object, every field of it: an error if not. Nothing is stored.
pub async fn would_apply(client: &Client, object: DynamicObject) -> Result<DynamicObject> {
    let strict = PatchParams::apply(FIELD_MANAGER).force().dry_run().validation_strict();
    apply_with(client, object, &strict).await
}

async fn apply(client: &Client, object: DynamicObject) -> Result<DynamicObject> {
    apply_with(client, object, &PatchParams::apply(FIELD_MANAGER).force()).await
}

async fn apply_with(client: &Client, mut object: DynamicObject, how: &PatchParams) -> Result<DynamicObject> {
    let types = object.types.clone().context("an object without apiVersion and kind")?;
    let name = object.metadata.name.clone().with_context(|| format!("a {} without a name", types.kind))?;
    let kind = GroupVersionKind::try_from(&types)?;
    // A definition applied a moment ago may not be in the discovery document yet.
    let (resource, capabilities) =
        eventually(Duration::from_secs(10), format_args!("{kind:?} to be served"), || async {
            Ok(kube::discovery::pinned_kind(client, &kind).await?)
        })
        .await?;
    let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
        let namespace = object.metadata.namespace.get_or_insert_with(|| client.default_namespace().to_owned());
        Api::namespaced_with(client.clone(), namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    };
    let stored = api
        .patch(&name, how, &Patch::Apply(&object))
        .await
        .with_context(|| format!("{} {name} could not be applied", types.kind))?;
    if types.kind == "CustomResourceDefinition" && !how.dry_run {
        eventually(Duration::from_secs(30), format_args!("definition {name} to be established"), || async {
            let seen = crate::wait::condition_of(&api.get(&name).await?, "Established")?;
            ensure!(seen.as_ref().is_some_and(|condition| condition.status == "True"), "{seen:?}");
            Ok(())
        })
        .await?;
    }
    Ok(stored)
}

/// A new client for a kubeconfig file, for what somebody other than the administrator may do.
pub async fn client_for(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config_for(kubeconfig).await?)?)
}

pub(crate) async fn config_for(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_and_lists_taken_apart() {
        let yaml = "# nothing but a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\n\
                    apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n";
        let names: Vec<_> = documents(yaml).unwrap().into_iter().filter_map(|object| object.metadata.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_wrong_document_is_named() {
        let error = format!("{:#}", documents("apiVersion: v1\nkind: A\n---\njust text\n").unwrap_err());
        assert!(error.contains("document 2"), "{error}");
    }

    #[test]
    fn our_kinds_have_regular_plurals() {
        let plurals = ["AwsAccount", "VpcPosture", "FleetPosture", "InstanceReport"].map(|kind| resource(kind).plural);
        assert_eq!(plurals, ["awsaccounts", "vpcpostures", "fleetpostures", "instancereports"]);
    }
}
