//! Everything started, with one account and its role.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use kube::{
    Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use ssm_ready_tests::{
    ApiServer, Controller, ControllerOptions, Flavour, Standin, eventually, objects,
    wait::condition_of,
    world::{self, EXTERNAL_ID, REGION, Vpc, conditions},
};

pub const ACCOUNT: &str = "111122223333";
pub const NS: &str = "team";
/// Enough for creations under AWS's rates, and for one more look at what is rate limited.
pub const SOON: Duration = Duration::from_secs(180);

pub struct Rig {
    pub server: ApiServer,
    pub standin: Standin,
    pub controller: Controller,
    pub client: Client,
}

impl Rig {
    pub async fn start() -> Result<Self> {
        Self::with(Flavour::Extended, &[]).await
    }

    pub async fn with(flavour: Flavour, args: &[&str]) -> Result<Self> {
        let (server, standin) = tokio::try_join!(ApiServer::start(), Standin::start(flavour))?;
        if matches!(flavour, Flavour::Extended) {
            world::role(&standin, ACCOUNT, world::ROLE, EXTERNAL_ID).await?;
        }
        let controller = start_controller(&server, &standin, args).await?;
        let client = server.admin_client()?;
        world::namespace(&client, NS).await?;
        Ok(Self { server, standin, controller, client })
    }

    /// With an account object that the test's namespace may use.
    pub async fn with_account() -> Result<Self> {
        let rig = Self::start().await?;
        world::account(&rig.client, "prod", ACCOUNT, &[NS]).await?;
        Ok(rig)
    }

    pub async fn vpc(&self, cidr: &str) -> Result<Vpc> {
        world::vpc(&self.standin, ACCOUNT, REGION, cidr).await
    }

    pub async fn posture(&self, name: &str, vpc: &str, spec: Value) -> Result<()> {
        world::posture(&self.client, NS, name, "prod", vpc, spec).await.map(drop)
    }

    pub async fn get(&self, name: &str) -> Result<DynamicObject> {
        Ok(objects(&self.client, "VpcPosture", Some(NS)).get(name).await?)
    }

    /// Waits until a condition has a status and a reason, for the current generation.
    pub async fn until(&self, name: &str, type_: &str, status: &str, reason: &str) -> Result<String> {
        eventually(SOON, format_args!("{type_}={status} ({reason}) of {name}"), || async {
            let object = self.get(name).await?;
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
        let patch = json!({ "metadata": { "annotations": { "ssmready.dev/requestedAt": token } } });
        let api = objects(&self.client, "VpcPosture", Some(NS));
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        eventually(SOON, format_args!("{token} to be handled by {name}"), || async {
            let object = self.get(name).await?;
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

    /// No secret is in the log, the objects or the metrics.
    pub async fn no_secrets(&self) -> Result<()> {
        let mut texts = vec![("log", self.controller.log()), ("metrics", self.controller.metrics().await?)];
        for object in objects(&self.client, "VpcPosture", None).list(&Default::default()).await? {
            texts.push(("object", serde_json::to_string(&object)?));
        }
        for account in objects(&self.client, "AwsAccount", None).list(&Default::default()).await? {
            texts.push(("status", account.data["status"].to_string()));
        }
        for (what, text) in texts {
            ensure!(!text.contains(EXTERNAL_ID), "the external id is in the {what}");
            ensure!(
                !text.contains("SecretAccessKey") && !text.contains("SessionToken"),
                "credentials are in the {what}"
            );
        }
        ensure!(!self.controller.log().contains("panick"), "a pass panicked: {}", self.controller.log());
        Ok(())
    }
}

pub async fn start_controller(server: &ApiServer, standin: &Standin, args: &[&str]) -> Result<Controller> {
    let args = args.iter().map(|a| (*a).to_owned()).collect();
    Controller::start(server, standin, ControllerOptions { args, ..Default::default() }).await
}
