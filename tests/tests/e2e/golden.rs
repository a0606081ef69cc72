//! Our objects in every state that tools judge, as the real controller leaves them on a real API server. What the tools
//! say of each is in `expected.yaml` beside them; `tests/oracles` asks Flux's and Argo CD's own code, and this test
//! `kubectl wait`, which looks at live objects only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde::Deserialize;
use serde_json::{Value, json};
use ssm_ready_tests::{apply_yaml, eventually, objects, repository, throughout, wait::condition_is, world};

use crate::{
    api::kubectl,
    rig::{self, ACCOUNT, NS, Rig, SOON, Setup, edit},
};

/// Set to write the files anew.
const UPDATE: &str = "UPDATE_GOLDEN";
const HEADER: &str = "# From a real run, by tests/tests/e2e/golden.rs; UPDATE_GOLDEN=1 writes it anew.\n";
/// The ids that the stand-in makes up, and what is derived from a uid: a plan's hash, a group's name.
const IDS: [&str; 8] = ["vpce-", "vpc-", "subnet-", "sg-", "rtb-", "eni-", "sha256-", "ssm-ready-"];
/// What users wait for.
const AWAITED: [&str; 4] = ["Ready", "Compliant", "Stalled", "Suspended"];
/// Longer than any test takes, in seconds.
const FOR_AGES: u32 = 3600;

fn folder() -> PathBuf {
    repository().join("tests/fixtures/objects")
}

/// Of a row of `expected.yaml`, what is checked here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    /// The conditions for which `kubectl wait` returns.
    kubectl_wait: BTreeSet<String>,
}

/// The states of a kind that were seen.
struct Gallery {
    kind: &'static str,
    expected: BTreeMap<String, Expected>,
    taken: BTreeSet<String>,
    wrong: String,
}

impl Gallery {
    fn new(kind: &'static str) -> Result<Self> {
        let text = std::fs::read_to_string(folder().join("expected.yaml")).context("expected.yaml")?;
        let mut expected: BTreeMap<String, Expected> = serde_yaml::from_str(&text)?;
        expected.retain(|name, _| name.starts_with(&prefix(kind)));
        Ok(Self { kind, expected, taken: BTreeSet::new(), wrong: String::new() })
    }

    /// Compares an object that is at rest with its file, and what `kubectl wait` says of it with the table.
    async fn take(&mut self, rig: &Rig, name: &str, state: &str) -> Result<()> {
        let namespace = (self.kind == "VpcPosture").then_some(NS);
        let api = objects(&rig.client, self.kind, namespace);
        let object = eventually(SOON, format_args!("{name} to be at rest"), || async {
            let before = api.get(name).await?;
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let after = api.get(name).await?;
            ensure!(before.metadata.resource_version == after.metadata.resource_version, "it still changes");
            Ok(after)
        })
        .await
        .with_context(|| state.to_owned())?;

        let file = format!("{}{state}", prefix(self.kind));
        let expected = self.expected.get(&file).with_context(|| format!("expected.yaml has no {file}"))?;
        let mut returned = BTreeSet::new();
        for condition in AWAITED {
            if waited_for(rig, self.kind, name, condition)? {
                returned.insert(condition.to_owned());
            }
        }
        if returned != expected.kubectl_wait {
            let expected = &expected.kubectl_wait;
            writeln!(self.wrong, "{file}: kubectl wait returned for {returned:?}, expected was {expected:?}")?;
        }

        let path = folder().join(format!("{file}.yaml"));
        let now = format!("{HEADER}{}", serde_yaml::to_string(&normal(&object)?)?);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &now)?;
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        if now != golden {
            writeln!(self.wrong, "{} is\n{golden}\nand the object now\n{now}", path.display())?;
        }
        ensure!(self.taken.insert(file), "{state} was taken twice");
        Ok(())
    }

    /// Whether all was as expected, and nothing is there that nobody takes.
    fn close(self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "{}", self.wrong);
        let expected: BTreeSet<String> = self.expected.into_keys().collect();
        assert_eq!(self.taken, expected, "the states taken, and the rows of expected.yaml");
        let mut files = BTreeSet::new();
        for entry in std::fs::read_dir(folder())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            files.extend(name.strip_suffix(".yaml").filter(|n| n.starts_with(&prefix(self.kind))).map(str::to_owned));
        }
        assert_eq!(files, self.taken, "the files, and the states taken");
        Ok(())
    }
}

fn prefix(kind: &str) -> String {
    format!("{}-", kind.to_lowercase())
}

/// Whether `kubectl wait` finds the condition to be True now.
fn waited_for(rig: &Rig, kind: &str, name: &str, condition: &str) -> Result<bool> {
    let (object, condition) = (format!("{}/{name}", kind.to_lowercase()), format!("--for=condition={condition}"));
    let (met, text) = kubectl(&rig.server, &["wait", "-n", NS, &object, &condition, "--timeout=0"])?;
    ensure!(met || text.contains("condition not met"), "{object}, {condition}: {text}");
    Ok(met)
}

/// An object without what differs between two runs: times, versions, uids, who manages what, made-up ids.
fn normal(object: &DynamicObject) -> Result<Value> {
    let mut value = serde_json::to_value(object)?;
    let metadata = value["metadata"].as_object_mut().context("no metadata")?;
    metadata.remove("managedFields");
    metadata.insert("uid".to_owned(), json!("00000000-0000-4000-8000-000000000001"));
    metadata.insert("resourceVersion".to_owned(), json!("1"));
    let mut ids = Ids::default();
    // By service, before they are met in messages.
    if let Some(endpoints) = value.pointer_mut("/status/endpoints") {
        ids.replace(endpoints);
    }
    ids.replace(&mut value);
    Ok(value)
}

/// Ids, numbered in the order in which they are met; what each is replaced by stays what it is.
#[derive(Default)]
struct Ids(BTreeMap<String, String>);

impl Ids {
    fn replace(&mut self, value: &mut Value) {
        match value {
            Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => {
                *text = "2026-01-01T00:00:00Z".to_owned();
            }
            Value::String(text) => *text = self.replaced(text),
            Value::Array(list) => list.iter_mut().for_each(|value| self.replace(value)),
            Value::Object(map) => map.values_mut().for_each(|value| self.replace(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Within a text, ids of one sort come in ascending order: lists of them are sorted by what they were.
    fn replaced(&mut self, text: &str) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let mut parts: Vec<String> = Vec::new();
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut rest = text;
        while !rest.is_empty() {
            let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
            let (replaced, sort) = self.word(word);
            if let Some(sort) = sort {
                places.entry(sort).or_default().push(parts.len());
            }
            parts.push(replaced);
            rest = &rest[word.len()..];
            let between = rest.find(is_part).unwrap_or(rest.len());
            parts.push(rest[..between].to_owned());
            rest = &rest[between..];
        }
        for places in places.values() {
            let mut ids: Vec<String> = places.iter().map(|place| parts[*place].clone()).collect();
            ids.sort();
            for (place, id) in places.iter().zip(ids) {
                parts[*place] = id;
            }
        }
        parts.concat()
    }

    /// What a word is replaced by, and of which sort it is if it is an id.
    fn word(&mut self, word: &str) -> (String, Option<&'static str>) {
        let as_it_is = (word.to_owned(), None);
        let Some(sort) = IDS.iter().find(|prefix| word.starts_with(**prefix)) else { return as_it_is };
        let Some(at) = word.rfind('-') else { return as_it_is };
        let (name, digits) = word.split_at(at + 1);
        let hexadecimal = digits.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        if digits.len() < 8 || !hexadecimal {
            return as_it_is;
        }
        if self.0.values().any(|known| known == word) {
            return (word.to_owned(), Some(*sort));
        }
        let number = self.0.keys().filter(|known| known.starts_with(sort)).count() + 1;
        let width = digits.len();
        let replaced = self.0.entry(word.to_owned()).or_insert_with(|| format!("{name}{number:0width$x}"));
        (replaced.clone(), Some(*sort))
    }
}

#[tokio::test]
async fn every_state_of_a_vpc_posture() -> Result<()> {
    let mut gallery = Gallery::new("VpcPosture")?;
    rig::test(Setup::with_account(), async |rig| {
        condition_is(&rig.client, "AwsAccount", None, "prod", ("Ready", "True"), SOON).await?;
        // Lists are sorted by these. The first call makes the default VPC, which is not to have them.
        rig.aws(&["ec2", "describe-vpcs"]).await?;
        let ids = ["vpc-0a000000000000001", "subnet-0a000000000000001", "subnet-0a000000000000002"];
        rig.standin.settings(&json!({ "next_ids": ids })).await?;
        let vpc = rig.vpc("10.0.0.0/16").await?;
        let spec = |more: Value| {
            let mut spec = json!({ "endpoints": { "deletionPolicy": "Delete" } });
            world::merge(&mut spec, more);
            spec
        };

        rig.controller.kill9()?;
        rig.posture("main", &vpc.id, spec(json!({}))).await?;
        gallery.take(rig, "main", "just-created").await?;

        rig.standin.settings(&json!({ "endpoint_pending_seconds": FOR_AGES })).await?;
        rig.crash().await?;
        rig.until("main", "EndpointsReady", "False", "EndpointPending").await?;
        eventually(SOON, "all three endpoints to be pending", || async {
            ensure!(rig.standin_endpoints().await? == 3, "not yet");
            Ok(())
        })
        .await?;
        rig.look_again("main", "all").await?;
        rig.until("main", "Ready", "Unknown", "Progressing").await?;
        gallery.take(rig, "main", "working").await?;

        rig.standin.post(&format!("accounts/{ACCOUNT}/skip"), &json!({ "seconds": 2 * FOR_AGES })).await?;
        rig.look_again("main", "available").await?;
        rig.until_ready("main").await?;
        gallery.take(rig, "main", "succeeded").await?;

        // An edit that nobody has looked at: the conditions are of the generation before.
        rig.controller.kill9()?;
        rig.posture("main", &vpc.id, spec(edit("one"))).await?;
        gallery.take(rig, "main", "stale-generation").await?;
        let kubeconfig = rig.server.admin_kubeconfig().to_owned();
        let mut waiting = tokio::process::Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["wait", "-n", NS, "vpcposture/main", "--for=condition=Ready", "--timeout=180s"])
            .env_remove("KUBECONFIG")
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        ensure!(waiting.try_wait()?.is_none(), "kubectl wait was content with a Ready of the generation before");
        rig.crash().await?;
        rig.until_ready("main").await?;
        let ended = tokio::time::timeout(Duration::from_secs(30), waiting.wait()).await??;
        ensure!(ended.success(), "kubectl wait: {ended}");

        let mut suspended = edit("one");
        suspended["suspend"] = json!(true);
        rig.posture("main", &vpc.id, spec(suspended)).await?;
        rig.until("main", "Suspended", "True", "Suspended").await?;
        gallery.take(rig, "main", "suspended").await?;
        rig.posture("suspended", &vpc.id, json!({ "suspend": true })).await?;
        rig.until("suspended", "Suspended", "True", "Suspended").await?;
        gallery.take(rig, "suspended", "suspended-at-once").await?;

        // What needs somebody.
        rig.posture("nowhere", "vpc-0a0000000000000ff", json!({})).await?;
        rig.until("nowhere", "Stalled", "True", "VpcNotFound").await?;
        gallery.take(rig, "nowhere", "stalled").await?;

        // What comes by itself: AWS works again, an account is declared.
        world::posture(&rig.client, NS, "early", "later", "vpc-0a0000000000000fe", json!({})).await?;
        rig.until("early", "Ready", "False", "DependencyNotReady").await?;
        gallery.take(rig, "early", "waiting").await?;
        let ids = ["vpc-0b000000000000001", "subnet-0b000000000000001", "subnet-0b000000000000002"];
        rig.standin.settings(&json!({ "next_ids": ids })).await?;
        let second = rig.vpc("10.1.0.0/16").await?;
        let broken = json!({ "service": "ec2", "action": "CreateSecurityGroup", "effect": "http500", "times": null });
        rig.standin.fault(&broken).await?;
        rig.posture("retrying", &second.id, json!({})).await?;
        rig.until("retrying", "Reconciling", "True", "ProgressingWithRetry").await?;
        gallery.take(rig, "retrying", "retrying").await?;

        // Ready is not Compliant.
        rig.posture("retrying", &second.id, json!({ "mode": "Observe" })).await?;
        rig.until("retrying", "Ready", "True", "Evaluated").await?;
        gallery.take(rig, "retrying", "observed").await?;
        rig.standin.clear_faults().await?;

        // Deletion: one that is held, and the same under way.
        rig.standin.settings(&json!({ "endpoint_deleting_seconds": FOR_AGES })).await?;
        objects(&rig.client, "VpcPosture", Some(NS)).delete("main", &Default::default()).await?;
        rig.until("main", "Stalled", "True", "DeletionHeld").await?;
        gallery.take(rig, "main", "deletion-held").await?;
        rig.posture("main", &vpc.id, spec(json!({ "suspend": false }))).await?;
        rig.until("main", "Ready", "False", "Deleting").await?;
        eventually(SOON, "all endpoints to be deleting", || async {
            ensure!(world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpc.id).await?.is_empty(), "not yet");
            Ok(())
        })
        .await?;
        rig.look_again("main", "deleting").await?;
        gallery.take(rig, "main", "deleting").await?;
        Ok(())
    })
    .await?;
    gallery.close()
}

#[tokio::test]
async fn every_state_of_an_account() -> Result<()> {
    let mut gallery = Gallery::new("AwsAccount")?;
    rig::test(Setup::new(), async |rig| {
        let api = objects(&rig.client, "AwsAccount", None);
        let merge = async |spec: Value| -> Result<()> {
            let patch = json!({ "spec": spec });
            api.patch("prod", &PatchParams::default(), &Patch::Merge(patch)).await?;
            Ok(())
        };
        let client = rig.client.clone();
        let until = async |name: &str, condition: (&str, &str)| {
            condition_is(&client, "AwsAccount", None, name, condition, SOON).await
        };

        rig.controller.kill9()?;
        world::account(&rig.client, "prod", ACCOUNT, &[NS]).await?;
        gallery.take(rig, "prod", "just-created").await?;
        rig.crash().await?;
        until("prod", ("Ready", "True")).await?;
        gallery.take(rig, "prod", "succeeded").await?;

        rig.controller.kill9()?;
        merge(json!({ "regions": { "allowed": ["eu-west-1"] } })).await?;
        gallery.take(rig, "prod", "stale-generation").await?;
        rig.crash().await?;
        until("prod", ("Ready", "True")).await?;

        merge(json!({ "suspend": true })).await?;
        until("prod", ("Suspended", "True")).await?;
        gallery.take(rig, "prod", "suspended").await?;
        merge(json!({ "suspend": false })).await?;
        eventually(SOON, "the account to work again", || async {
            let object = api.get("prod").await?;
            ensure!(!world::conditions(&object).contains("Suspended"), "{}", world::conditions(&object));
            Ok(())
        })
        .await?;

        // Its role does not exist, which may be IAM's delay.
        world::account(&rig.client, "norole", "333333333333", &[NS]).await?;
        until("norole", ("Reconciling", "True")).await?;
        gallery.take(rig, "norole", "retrying").await?;

        // Without a role it is the controller's own identity, and that is of another account.
        let own = json!({
            "apiVersion": "ssmready.dev/v1alpha1", "kind": "AwsAccount", "metadata": { "name": "own" },
            "spec": { "accountId": "888888888888" },
        });
        apply_yaml(&rig.client, &own.to_string()).await?;
        until("own", ("Stalled", "True")).await?;
        gallery.take(rig, "own", "stalled").await?;

        // Deleted while it is used.
        rig.posture("user", "vpc-0a0000000000000ff", json!({})).await?;
        eventually(SOON, "the use to be seen", || async {
            let used = api.get("prod").await?.data.pointer("/status/usedBy").cloned();
            ensure!(used == Some(json!(1)), "{used:?}");
            Ok(())
        })
        .await?;
        api.delete("prod", &Default::default()).await?;
        until("prod", ("Ready", "False")).await?;
        gallery.take(rig, "prod", "deleting").await?;
        // It goes nowhere while it is used.
        throughout(Duration::from_secs(2), "the account stays", || async {
            if api.get_opt("prod").await?.is_none() {
                bail!("it is gone");
            }
            Ok(())
        })
        .await
    })
    .await?;
    gallery.close()
}

#[test]
fn ids_are_numbered_as_they_come() {
    let mut ids = Ids::default();
    let text = "vpc-0fffffffffffffff1 (sg-0a1b2c3e): vpce-0123456789abcdef0, sg-0a1b2c3d; subnet-x, ssm-ready";
    assert_eq!(
        ids.replaced(text),
        "vpc-00000000000000001 (sg-00000001): vpce-00000000000000001, sg-00000002; subnet-x, ssm-ready"
    );
    assert_eq!(ids.replaced("waits for sg-0a1b2c3d, sg-0a1b2c3e"), "waits for sg-00000001, sg-00000002");
    assert_eq!(ids.replaced("sg-00000002"), "sg-00000002", "replaced already");
    let mut value = json!({ "a": ["2026-11-25T10:11:12Z", 1], "b": "ssm-ready-main-001122334455" });
    ids.replace(&mut value);
    assert_eq!(value, json!({ "a": ["2026-01-01T00:00:00Z", 1], "b": "ssm-ready-main-000000000001" }));
}
