//! Everything started, with one account and its role.

use std::{fmt::Display, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use ssm_ready_tests::{
    ApiServer, Controller, ControllerOptions, Flavour, HUB_ACCOUNT, Proxy, Standin, eventually, objects,
    standin::{HUB_SECRET, root_access_key},
    wait::condition_of,
    world::{self, EXTERNAL_ID, REGION, Vpc, conditions},
};

pub const ACCOUNT: &str = "111122223333";
pub const NS: &str = "team";
/// The services that a posture has endpoints for unless it says otherwise.
pub const SERVICES: [&str; 3] = ["s3", "ssm", "ssmmessages"];
/// Enough for creations under AWS's rates, and for one more look at what is rate limited.
pub const SOON: Duration = Duration::from_secs(180);

/// What a test starts with.
pub struct Setup {
    flavour: Flavour,
    args: Vec<String>,
    env: Vec<(String, String)>,
    account: bool,
    proxy: Option<u64>,
    policies: Option<&'static [&'static str]>,
}

impl Setup {
    /// An API server, the stand-in and the controller.
    pub fn new() -> Self {
        Self {
            flavour: Flavour::Extended,
            args: Vec::new(),
            env: Vec::new(),
            account: false,
            proxy: None,
            policies: None,
        }
    }

    /// With an account object that the test's namespace may use.
    pub fn with_account() -> Self {
        Self { account: true, ..Self::new() }
    }

    /// On moto as it is.
    pub fn plain() -> Self {
        Self { flavour: Flavour::Plain, ..Self::new() }
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    pub fn env(mut self, env: Vec<(String, String)>) -> Self {
        self.env = env;
        self
    }

    /// With roles that may what `ssm-ready iam-policy` prints with these arguments, and nothing else.
    pub fn policies(mut self, arguments: &'static [&'static str]) -> Self {
        self.policies = Some(arguments);
        self
    }

    /// With a proxy between the controller and its API server.
    pub fn proxy(mut self, seed: u64) -> Self {
        self.proxy = Some(seed);
        self
    }
}

/// Another cluster, with a controller of its own.
pub struct Neighbour {
    pub server: ApiServer,
    pub controller: Controller,
    pub client: Client,
}

pub struct Rig {
    pub server: ApiServer,
    pub standin: Standin,
    pub controller: Controller,
    pub client: Client,
    pub neighbour: Option<Neighbour>,
    /// External ids and the like that a test uses beside the usual one, and that must not show up anywhere.
    pub secrets: Vec<String>,
    flavour: Flavour,
    proxy: Option<Proxy>,
}

/// Runs a test with everything started, and at its end what holds for each: the controller still runs, nothing
/// panicked, and no secret is anywhere that somebody reads.
pub async fn test(setup: Setup, test: impl AsyncFnOnce(&mut Rig) -> Result<()>) -> Result<()> {
    let mut rig = Rig::start(setup).await?;
    test(&mut rig).await?;
    rig.finish().await
}

/// Prints a line past the test runner, which shows what is printed by `println` only where a test fails.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

impl Rig {
    async fn start(setup: Setup) -> Result<Self> {
        let Setup { flavour, args, mut env, account, proxy, policies } = setup;
        let (server, standin) = tokio::try_join!(ApiServer::start(), Standin::start(flavour))?;
        if let Some(arguments) = policies {
            env.extend(crate::iam::roles(&standin, arguments).await?);
        } else if matches!(flavour, Flavour::Extended) {
            world::role(&standin, ACCOUNT, world::ROLE, EXTERNAL_ID).await?;
        }
        let proxy = match proxy {
            Some(seed) => Some(Proxy::start(&server, seed).await?),
            None => None,
        };
        let api_url = proxy.as_ref().map(|proxy| proxy.url().to_owned());
        let options = ControllerOptions { args, env, api_url, ..ControllerOptions::default() };
        let controller = Controller::start(&server, &standin, options).await?;
        let client = server.admin_client()?;
        world::namespace(&client, NS).await?;
        if account {
            world::account(&client, "prod", ACCOUNT, &[NS]).await?;
        }
        Ok(Self { server, standin, controller, client, neighbour: None, secrets: Vec::new(), flavour, proxy })
    }

    /// Another cluster: an API server of its own, and a controller with that cluster id at the same AWS.
    pub async fn add_neighbour(&mut self, cluster_id: &str) -> Result<()> {
        let server = ApiServer::start().await?;
        let options = ControllerOptions { cluster_id: Some(cluster_id.to_owned()), ..ControllerOptions::default() };
        let controller = Controller::start(&server, &self.standin, options).await?;
        let client = server.admin_client()?;
        world::namespace(&client, NS).await?;
        world::account(&client, "prod", ACCOUNT, &[NS]).await?;
        self.neighbour = Some(Neighbour { server, controller, client });
        Ok(())
    }

    /// What lies between the controller and the API server.
    pub fn proxy(&self) -> Result<&Proxy> {
        self.proxy.as_ref().context("the test was set up without a proxy")
    }

    /// Kills the controller, as a crash would, and starts it again.
    pub async fn crash(&mut self) -> Result<()> {
        self.controller.relaunch()?;
        self.controller.wait_until_ready().await
    }

    pub async fn vpc(&self, cidr: &str) -> Result<Vpc> {
        world::vpc(&self.standin, ACCOUNT, REGION, cidr).await
    }

    /// So many VPCs.
    pub async fn vpcs(&self, count: usize) -> Result<Vec<Vpc>> {
        let made = (0..count).map(|number| async move { self.vpc(&format!("10.{number}.0.0/16")).await });
        futures::future::try_join_all(made).await
    }

    /// A posture for each VPC: `v0`, `v1` and so on.
    pub async fn postures(&self, vpcs: &[Vpc], spec: &Value) -> Result<()> {
        for (number, vpc) in vpcs.iter().enumerate() {
            self.posture(&format!("v{number}"), &vpc.id, spec.clone()).await?;
        }
        Ok(())
    }

    /// Waits until these are ready.
    pub async fn until_all_ready(&self, vpcs: &[Vpc]) -> Result<()> {
        for number in 0..vpcs.len() {
            self.until_ready(&format!("v{number}")).await?;
        }
        Ok(())
    }

    /// Waits until the controller has called an action once more.
    pub async fn until_another(&self, action: &str) -> Result<()> {
        let before = self.count(action).await?;
        eventually(SOON, format_args!("another {action}"), || async {
            let now = self.count(action).await?;
            ensure!(now > before, "{now}");
            Ok(())
        })
        .await
    }

    /// Each endpoint of the VPCs carries the tag `edit` with that value.
    pub async fn tagged(&self, vpcs: &[Vpc], edit: &str) -> Result<()> {
        let wanted = json!({ "Key": "edit", "Value": edit });
        for vpc in vpcs {
            for (service, endpoint) in world::endpoints(&self.standin, ACCOUNT, REGION, &vpc.id).await? {
                let tags = &endpoint["Tags"];
                ensure!(
                    tags.as_array().is_some_and(|tags| tags.contains(&wanted)),
                    "{service} of {}: no edit={edit} in {tags}",
                    vpc.id
                );
            }
        }
        Ok(())
    }

    pub async fn posture(&self, name: &str, vpc: &str, spec: Value) -> Result<()> {
        world::posture(&self.client, NS, name, "prod", vpc, spec).await.map(drop)
    }

    pub async fn get(&self, name: &str) -> Result<DynamicObject> {
        self.get_of("VpcPosture", name).await
    }

    /// An object of another kind.
    pub async fn get_of(&self, kind: &str, name: &str) -> Result<DynamicObject> {
        Ok(objects(&self.client, kind, Some(NS)).get(name).await?)
    }

    /// Applies a posture of any kind; `spec` is merged over the account and a short interval.
    pub async fn declare(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let mut whole = json!({ "target": { "accountRef": { "name": "prod" } }, "interval": "1m" });
        if kind == "RegionPosture" {
            whole["target"]["region"] = json!(REGION);
        }
        world::merge(&mut whole, spec);
        let object = json!({
            "apiVersion": "ssmready.dev/v1alpha1", "kind": kind,
            "metadata": { "namespace": NS, "name": name }, "spec": whole,
        });
        ssm_ready_tests::apply_yaml(&self.client, &object.to_string()).await.map(drop)
    }

    /// Deletes an object of any kind, and waits until it is gone.
    pub async fn delete_of(&self, kind: &str, name: &str) -> Result<()> {
        let api = objects(&self.client, kind, Some(NS));
        api.delete(name, &Default::default()).await?;
        eventually(SOON, format_args!("{kind} {name} to go"), || async {
            match api.get_opt(name).await? {
                None => Ok(()),
                Some(object) => bail!("{} {}", conditions(&object), object.data["status"]["deletion"]),
            }
        })
        .await
    }

    /// Waits until a condition has a status and a reason, for the current generation.
    pub async fn until(&self, name: &str, type_: &str, status: &str, reason: &str) -> Result<String> {
        self.until_of("VpcPosture", name, type_, status, reason).await
    }

    /// Likewise for an object of another kind.
    pub async fn until_of(&self, kind: &str, name: &str, type_: &str, status: &str, reason: &str) -> Result<String> {
        eventually(SOON, format_args!("{type_}={status} ({reason}) of {kind} {name}"), || async {
            let object = self.get_of(kind, name).await?;
            match condition_of(&object, type_)? {
                Some(c)
                    if c.status == status
                        && c.reason == reason
                        && c.observed_generation == object.metadata.generation =>
                {
                    Ok(c.message)
                }
                _ => bail!("{}", conditions(&object)),
            }
        })
        .await
    }

    pub async fn until_ready(&self, name: &str) -> Result<()> {
        self.until(name, "Ready", "True", "Succeeded").await.map(drop)
    }

    /// Asks for a pass with fresh facts and waits until it was made.
    pub async fn look_again(&self, name: &str, token: &str) -> Result<()> {
        self.look_again_of("VpcPosture", name, token).await
    }

    /// Likewise for an object of another kind.
    pub async fn look_again_of(&self, kind: &str, name: &str, token: &str) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": { "ssmready.dev/requestedAt": token } } });
        let api = objects(&self.client, kind, Some(NS));
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        eventually(SOON, format_args!("{token} to be handled by {name}"), || async {
            let object = self.get_of(kind, name).await?;
            ensure!(
                object.data.pointer("/status/lastHandledRequestedAt") == Some(&json!(token)),
                "{}",
                conditions(&object)
            );
            Ok(())
        })
        .await
    }

    pub async fn aws(&self, arguments: &[&str]) -> Result<Value> {
        self.standin.aws(ACCOUNT, REGION, arguments).await
    }

    /// The AWS calls of one action so far: those that AWS counts, denied ones included.
    pub async fn count(&self, action: &str) -> Result<usize> {
        let calls = self.standin.calls(0).await?;
        let made_by_us = |c: &&Value| c["action"] == action && c["role"].as_str().is_some();
        Ok(calls.as_array().into_iter().flatten().filter(made_by_us).count())
    }

    /// The number of the last AWS call so far.
    pub async fn last_call(&self) -> Result<u64> {
        let calls = self.standin.calls(0).await?;
        Ok(calls.as_array().into_iter().flatten().filter_map(|c| c["seq"].as_u64()).max().unwrap_or_default())
    }

    /// What controllers tried to change in AWS after the call with that number.
    pub async fn writes_since(&self, seq: u64) -> Result<Vec<Value>> {
        let mut calls = self.standin.calls(seq).await?;
        let calls = calls.as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(calls.into_iter().filter(|c| !c["role"].is_null() && is_write(c)).collect())
    }

    /// How many endpoints there are in the account.
    pub async fn standin_endpoints(&self) -> Result<usize> {
        let answer = self.aws(&["ec2", "describe-vpc-endpoints"]).await?;
        Ok(answer["VpcEndpoints"].as_array().map_or(0, Vec::len))
    }

    /// Nothing was lost and nothing doubled: each VPC has one endpoint for each of the services and no other, and one
    /// security group beside its default one. Returns how many endpoints there are.
    pub async fn intact(&self, vpcs: &[Vpc], services: &[&str]) -> Result<usize> {
        let groups = self.aws(&["ec2", "describe-security-groups"]).await?;
        for vpc in vpcs {
            // Asserts that there is one for each service.
            let endpoints = world::endpoints(&self.standin, ACCOUNT, REGION, &vpc.id).await?;
            let found: Vec<&str> = endpoints.keys().map(String::as_str).collect();
            ensure!(found == services, "{} has endpoints for {found:?}, not {services:?}", vpc.id);
            let of_vpc = groups["SecurityGroups"].as_array().into_iter().flatten().filter(|g| g["VpcId"] == vpc.id);
            let names: Vec<&Value> = of_vpc.map(|g| &g["GroupName"]).collect();
            ensure!(names.len() == 2, "{} should have the default group and one of ours: {names:?}", vpc.id);
        }
        Ok(vpcs.len() * services.len())
    }

    /// For so long nothing is changed any more: not in AWS, and no object of ours in Kubernetes.
    pub async fn at_rest(&self, duration: Duration) -> Result<()> {
        let (calls, versions) = (self.last_call().await?, self.versions().await?);
        tokio::time::sleep(duration).await;
        let writes = self.writes_since(calls).await?;
        ensure!(writes.is_empty(), "still changes AWS: {writes:?}");
        let now = self.versions().await?;
        ensure!(now == versions, "still changes Kubernetes: {versions:?}, then {now:?}");
        Ok(())
    }

    async fn versions(&self) -> Result<Vec<(String, Option<String>)>> {
        let mut versions = Vec::new();
        for kind in ["AwsAccount", "AccountPosture", "RegionPosture", "VpcPosture"] {
            for object in objects(&self.client, kind, None).list(&ListParams::default()).await? {
                versions.push((object.name_any(), object.resource_version()));
            }
        }
        Ok(versions)
    }

    /// What holds at the end of every test.
    async fn finish(mut self) -> Result<()> {
        let secrets = self.all_secrets().await?;
        let Self { client, controller, neighbour, .. } = &mut self;
        let mut clusters = vec![(client, controller)];
        clusters.extend(neighbour.as_mut().map(|n| (&mut n.client, &mut n.controller)));
        for (client, controller) in clusters {
            let mut texts = everything_readable(client).await?;
            if !controller.was_ended() {
                controller.ensure_running()?;
                controller.probe("healthz").await?;
                texts.push(("the metrics", controller.metrics().await?));
            }
            let log = controller.log();
            ensure!(!log.contains("panick"), "a pass panicked: {log}");
            texts.push(("the log", log));
            for (what, text) in texts {
                let found = secrets.iter().find(|(_, secret)| text.contains(secret.as_str()));
                ensure!(found.is_none(), "{} is in {what}: {text}", found.map_or("", |(name, _)| name));
            }
        }
        Ok(())
    }

    /// Everything that nobody may read, and what it is.
    async fn all_secrets(&self) -> Result<Vec<(&'static str, String)>> {
        let mut secrets = vec![
            ("the external id", EXTERNAL_ID.to_owned()),
            ("the controller's own secret key", HUB_SECRET.to_owned()),
            ("the controller's own access key", root_access_key(HUB_ACCOUNT)),
            ("a secret key", "SecretAccessKey".to_owned()),
            ("a session token", "SessionToken".to_owned()),
        ];
        secrets.extend(self.secrets.iter().map(|secret| ("a secret of the test", secret.clone())));
        let servers = [Some(&self.server), self.neighbour.as_ref().map(|n| &n.server)];
        let tokens = servers.into_iter().flatten().flat_map(ApiServer::tokens);
        secrets.extend(tokens.map(|token| ("a token for the API server", token)));
        if self.flavour == Flavour::Extended {
            for session in self.standin.sessions().await? {
                secrets.push(("the access key of a session", session.access_key));
                secrets.push(("the secret key of a session", session.secret));
                secrets.push(("the token of a session", session.token));
            }
        }
        ensure!(secrets.iter().all(|(_, secret)| secret.len() > 10), "an empty secret would be everywhere");
        Ok(secrets)
    }
}

/// What people read of our objects, and other people's events: all of it but the specs of accounts, where external ids
/// are given.
async fn everything_readable(client: &Client) -> Result<Vec<(&'static str, String)>> {
    let mut texts = Vec::new();
    for kind in ["AccountPosture", "RegionPosture", "VpcPosture"] {
        for object in objects(client, kind, None).list(&ListParams::default()).await? {
            texts.push((kind, serde_json::to_string(&object)?));
        }
    }
    for mut account in objects(client, "AwsAccount", None).list(&ListParams::default()).await? {
        account.data["spec"] = Value::Null;
        texts.push(("an AwsAccount", serde_json::to_string(&account)?));
    }
    for event in Api::<Event>::all(client.clone()).list(&ListParams::default()).await? {
        texts.push(("an event", serde_json::to_string(&event)?));
    }
    Ok(texts)
}

/// A spec with the tag `edit` on every endpoint: another value is an edit that can be seen in AWS.
pub fn edit(value: &str) -> Value {
    json!({ "endpoints": { "tags": [{ "key": "edit", "value": value }] } })
}

/// Whether a recorded call changes something.
pub fn is_write(call: &Value) -> bool {
    let action = call["action"].as_str().unwrap_or_default();
    !["Describe", "Get", "Assume", "Simulate", "List"].iter().any(|read| action.starts_with(read))
}
