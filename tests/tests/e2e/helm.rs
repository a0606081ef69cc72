//! The chart: what the API server says to all that it renders, and the controller as the installed Deployment runs it,
//! through installation, upgrade, removal and all again.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::ServiceAccount,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use ssm_ready_tests::{
    ApiServer, Controller, Flavour, Helm, Standin, apply_crds, apply_yaml, eventually, free_port,
    helm::Major,
    kubernetes::{documents, would_apply},
    objects, repository,
    wait::{condition_is, condition_of},
    world::{self, EXTERNAL_ID, REGION, conditions},
};

use crate::observe::scrape;
use crate::rig::{ACCOUNT, NS, SERVICES, SOON, is_write, say};

/// The release, its namespace, and all that is named after it.
const RELEASE: &str = "ssm-ready";

/// A cluster without the controller, AWS, and Helm with values for both.
struct Site {
    server: ApiServer,
    standin: Standin,
    client: Client,
    helm: Helm,
    major: Major,
    values: PathBuf,
}

impl Site {
    async fn start(major: Major) -> Result<Self> {
        let (server, standin) = tokio::try_join!(ApiServer::start_audited(), Standin::start(Flavour::Extended))?;
        world::role(&standin, ACCOUNT, world::ROLE, EXTERNAL_ID).await?;
        let client = server.admin_client()?;
        world::namespace(&client, NS).await?;
        let helm = Helm::new(major, server.admin_kubeconfig()).await?;
        // What a cluster outside of AWS needs: keys, which on EKS come by the service account.
        let own = ["AWS_ENDPOINT_URL", "AWS_REGION"];
        let env = standin.aws_env().into_iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let env: Vec<Value> = env.map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let values = json!({
            "clusterId": "test",
            "aws": { "endpointUrl": standin.url(), "region": "us-east-1" },
            "extraEnv": env,
            "metrics": { "port": free_port()? },
            "health": { "port": free_port()? },
        });
        let path = helm.scratch().join("values.yaml");
        fs::write(&path, values.to_string())?;
        Ok(Self { server, standin, client, helm, major, values: path })
    }

    async fn deployment(&self) -> Result<Deployment> {
        Ok(Api::namespaced(self.client.clone(), RELEASE).get(RELEASE).await?)
    }

    /// Runs Helm with the values of this site; the last argument is followed by more flags.
    async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let values = self.values.to_string_lossy();
        let mut all = arguments.to_vec();
        all.extend(["--namespace", RELEASE, "--values", &*values, "--timeout", "3m"]);
        if self.major == Major::Four {
            all.push("--wait");
        }
        self.helm.run(all).await
    }

    /// Runs Helm, and does what a cluster does with the Deployment that it writes: stops the old process, starts the
    /// new one, and says that it is available. Helm 4 waits for that. Helm 3 would look for ReplicaSets, and is not asked
    /// to wait.
    async fn roll_out(&self, old: Option<Controller>, arguments: &[&str]) -> Result<Controller> {
        let known = self.deployment().await.ok().and_then(|d| d.metadata.generation).unwrap_or_default();
        let helm = async {
            self.helm(arguments).await?;
            Ok(Instant::now())
        };
        let cluster = async {
            let deployment = eventually(SOON, "a new generation of the Deployment", || async {
                let deployment = self.deployment().await?;
                ensure!(deployment.metadata.generation > Some(known), "{:?}", deployment.metadata.generation);
                Ok(deployment)
            })
            .await?;
            if let Some(mut old) = old {
                let status = old.terminate().await?;
                ensure!(status.success(), "the old one ended with {status}: {}", old.log());
            }
            let controller = Controller::start_as_deployed(&self.server, &deployment).await?;
            let available = Instant::now();
            self.report_available(&deployment).await?;
            anyhow::Ok((controller, available))
        };
        let (returned, (controller, available)) = tokio::try_join!(helm, cluster)?;
        ensure!(self.major == Major::Three || returned > available, "Helm did not wait for the Deployment");
        Ok(controller)
    }

    /// What the controllers of a cluster write when all replicas are ready.
    async fn report_available(&self, deployment: &Deployment) -> Result<()> {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).context("no replicas")?;
        let condition = |type_: &str, reason: &str| json!({ "type": type_, "status": "True", "reason": reason });
        let status = json!({ "status": {
            "observedGeneration": deployment.metadata.generation,
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
            "conditions": [
                condition("Available", "MinimumReplicasAvailable"),
                condition("Progressing", "NewReplicaSetAvailable"),
            ],
        }});
        let how = PatchParams::default();
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), RELEASE);
        deployments.patch_status(RELEASE, &how, &Patch::Merge(status)).await?;
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), RELEASE);
        for budget in budgets.list(&ListParams::default()).await? {
            let status = json!({ "status": {
                "observedGeneration": budget.metadata.generation, "expectedPods": replicas, "currentHealthy": replicas,
                "desiredHealthy": replicas - 1, "disruptionsAllowed": 1,
            }});
            budgets.patch_status(&budget.name_any(), &how, &Patch::Merge(status)).await?;
        }
        Ok(())
    }

    /// The chart as a package, as it would be pulled from a registry; with `older`, as of a version before, whose
    /// VpcPostures did not know a field of their status.
    async fn package(&self, older: bool) -> Result<String> {
        let folder = self.helm.scratch().join(if older { "older" } else { "current" });
        copy(&Helm::chart(), &folder.join(RELEASE))?;
        let mut version = env!("CARGO_PKG_VERSION").to_owned();
        if older {
            let chart = folder.join(RELEASE).join("Chart.yaml");
            let text = fs::read_to_string(&chart)?;
            let lowered = text.replace(&format!("ersion: {version}\n"), "ersion: 0.0.9\n");
            ensure!(lowered != text, "no version in {}", chart.display());
            fs::write(&chart, lowered)?;
            version = "0.0.9".to_owned();
            let file = folder.join(RELEASE).join("files/crds/ssmready.dev_vpcpostures.yaml");
            let mut crd: Value = serde_yaml::from_str(&fs::read_to_string(&file)?)?;
            let status = crd.pointer_mut(STATUS).and_then(Value::as_object_mut).context(STATUS)?;
            status.remove(NEW_FIELD).context("no such field")?;
            fs::write(&file, serde_yaml::to_string(&crd)?)?;
        }
        let (from, to) = (folder.join(RELEASE), folder.to_string_lossy().into_owned());
        self.helm.run(["package", &from.to_string_lossy(), "--destination", &to]).await?;
        Ok(format!("{to}/{RELEASE}-{version}.tgz"))
    }

    async fn definition(&self, plural: &str) -> Result<CustomResourceDefinition> {
        Ok(Api::all(self.client.clone()).get(&format!("{plural}.ssmready.dev")).await?)
    }

    async fn knows_new_field(&self) -> Result<bool> {
        let crd = serde_json::to_value(self.definition("vpcpostures").await?)?;
        Ok(crd.pointer(STATUS).with_context(|| STATUS)?.get(NEW_FIELD).is_some())
    }

    /// Lets a field of a spec have a value that the controller does not know, as a later version might.
    async fn know_later_value(&self, plural: &str, field: &str) -> Result<()> {
        let crd = self.definition(plural).await?;
        let name = crd.name_any();
        let mut crd = serde_json::to_value(crd)?;
        let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/{field}/enum");
        let known = crd.pointer_mut(&path).and_then(Value::as_array_mut).with_context(|| path.clone())?;
        known.push("Later".into());
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        crds.replace(&name, &PostParams::default(), &serde_json::from_value(crd)?).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<DynamicObject> {
        Ok(objects(&self.client, "VpcPosture", Some(NS)).get(name).await?)
    }

    /// A RegionPosture and an AccountPosture come to be ready, and go.
    async fn region_and_account(&self) -> Result<()> {
        let kinds = [
            ("AccountPosture", json!({ "target": { "accountRef": { "name": "prod" } }, "hostManagementRole": {} })),
            (
                "RegionPosture",
                json!({
                    "target": { "accountRef": { "name": "prod" }, "region": REGION },
                    "serviceSettings": { "publicDocumentSharing": "Disabled" },
                }),
            ),
        ];
        for (kind, spec) in kinds {
            let object = json!({
                "apiVersion": "ssmready.dev/v1alpha1", "kind": kind,
                "metadata": { "namespace": NS, "name": "main" }, "spec": spec,
            });
            ssm_ready_tests::apply_yaml(&self.client, &object.to_string()).await?;
            ssm_ready_tests::condition_is(&self.client, kind, Some(NS), "main", ("Ready", "True"), SOON).await?;
            let api = objects(&self.client, kind, Some(NS));
            api.delete("main", &Default::default()).await?;
            eventually(SOON, format_args!("{kind} to go"), || async {
                ensure!(api.get_opt("main").await?.is_none(), "it is still there");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Asks for a look at AWS and waits until the posture has been judged by it, with a condition of that status.
    async fn until(&self, name: &str, (type_, status): (&str, &str), token: &str) -> Result<DynamicObject> {
        let api = objects(&self.client, "VpcPosture", Some(NS));
        let patch = json!({ "metadata": { "annotations": { "ssmready.dev/requestedAt": token } } });
        if !token.is_empty() {
            api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        eventually(SOON, format_args!("{type_}={status} of {name} {token}"), || async {
            let object = self.get(name).await?;
            let handled = object.data.pointer("/status/lastHandledRequestedAt").and_then(Value::as_str);
            ensure!(token.is_empty() || handled == Some(token), "handled {handled:?}: {}", conditions(&object));
            let condition = condition_of(&object, type_)?;
            ensure!(condition.is_some_and(|c| c.status == status), "{}", conditions(&object));
            Ok(object)
        })
        .await
    }

    async fn last_call(&self) -> Result<u64> {
        let calls = self.standin.calls(0).await?;
        Ok(calls.as_array().into_iter().flatten().filter_map(|c| c["seq"].as_u64()).max().unwrap_or_default())
    }

    async fn writes_since(&self, seq: u64) -> Result<Vec<Value>> {
        let mut calls = self.standin.calls(seq).await?;
        let calls = calls.as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(calls.into_iter().filter(|c| !c["role"].is_null() && is_write(c)).collect())
    }

    async fn services(&self, vpc: &str) -> Result<Vec<String>> {
        Ok(world::endpoints(&self.standin, ACCOUNT, REGION, vpc).await?.into_keys().collect())
    }

    /// Takes the rules of the endpoints' security group away, as somebody else might.
    async fn break_group(&self, name: &str) -> Result<()> {
        let group = self.get(name).await?.data.pointer("/status/securityGroup/id").cloned();
        let group = group.as_ref().and_then(Value::as_str).context("no security group in the status")?.to_owned();
        let rules = self
            .standin
            .aws(
                ACCOUNT,
                REGION,
                &["ec2", "describe-security-group-rules", "--filters", &format!("Name=group-id,Values={group}")],
            )
            .await?;
        let inbound = rules["SecurityGroupRules"].as_array().into_iter().flatten().filter(|r| r["IsEgress"] == false);
        let ids: Vec<&str> = inbound.filter_map(|r| r["SecurityGroupRuleId"].as_str()).collect();
        ensure!(!ids.is_empty(), "no rules in {rules}");
        let mut arguments =
            vec!["ec2", "revoke-security-group-ingress", "--group-id", &group, "--security-group-rule-ids"];
        arguments.extend(ids);
        self.standin.aws(ACCOUNT, REGION, &arguments).await.map(drop)
    }
}

/// Where the properties of a status are in a definition.
const STATUS: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
/// What the older version of the test did not know.
const NEW_FIELD: &str = "lastHandledRequestedAt";

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// One thing that somebody may do: verb, API group, resource with subresource, and the namespace where it is not the
/// whole cluster.
type Grant = (String, String, String, Option<String>);

fn grants(rules: &[PolicyRule], namespace: Option<&str>) -> Vec<Grant> {
    let mut all = Vec::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    all.push((verb.clone(), group.clone(), resource.clone(), namespace.map(ToOwned::to_owned)));
                }
            }
        }
    }
    all
}

/// What the controller's service account may do, as the API server has it.
async fn granted(client: &Client) -> Result<BTreeSet<Grant>> {
    let ours = |subjects: &Option<Vec<Subject>>| {
        subjects.iter().flatten().any(|s| s.name == RELEASE && s.namespace.as_deref() == Some(RELEASE))
    };
    let mut all = BTreeSet::new();
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&ListParams::default()).await? {
        if ours(&binding.subjects) {
            let role = Api::<ClusterRole>::all(client.clone()).get(&binding.role_ref.name).await?;
            all.extend(grants(&role.rules.unwrap_or_default(), None));
        }
    }
    for binding in Api::<RoleBinding>::all(client.clone()).list(&ListParams::default()).await? {
        if ours(&binding.subjects) {
            let namespace = binding.namespace().context("a RoleBinding without a namespace")?;
            let role = Api::<Role>::namespaced(client.clone(), &namespace).get(&binding.role_ref.name).await?;
            all.extend(grants(&role.rules.unwrap_or_default(), Some(&namespace)));
        }
    }
    ensure!(!all.is_empty(), "the service account may do nothing");
    Ok(all)
}

/// The permissions of the chart are exactly those that were used, `unused` excepted: (verb, resource). Nothing else was
/// tried.
async fn permissions_are_exact(site: &Site, unused: &[(&str, &str)]) -> Result<()> {
    let user = format!("system:serviceaccount:{RELEASE}:{RELEASE}");
    let mut used = BTreeSet::new();
    for event in site.server.audit()?.iter().filter(|event| event["user"]["username"] == user.as_str()) {
        let decision = &event["annotations"]["authorization.k8s.io/decision"];
        ensure!(decision == "allow", "denied: {event}");
        let Some(object) = event["objectRef"].as_object() else { continue };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut resource = text(object.get("resource"));
        if let Some(sub) = object.get("subresource").and_then(Value::as_str) {
            resource = format!("{resource}/{sub}");
        }
        let namespace = object.get("namespace").and_then(Value::as_str).map(ToOwned::to_owned);
        used.insert((text(event.get("verb")), text(object.get("apiGroup")), resource, namespace));
    }
    let was_used = |(verb, group, resource, namespace): &Grant| {
        used.iter()
            .any(|u| u.0 == *verb && u.1 == *group && u.2 == *resource && (namespace.is_none() || u.3 == *namespace))
    };
    let granted = granted(&site.client).await?;
    let excepted = |grant: &Grant| unused.contains(&(grant.0.as_str(), grant.2.as_str()));
    let surplus: Vec<_> = granted.iter().filter(|g| !was_used(g) && !excepted(g)).collect();
    ensure!(surplus.is_empty(), "granted and not used: {surplus:?}; used: {used:?}");
    let needless: Vec<_> = granted.iter().filter(|g| was_used(g) && excepted(g)).collect();
    ensure!(needless.is_empty(), "excepted, but used: {needless:?}");
    say(format_args!("{} permissions, {} of them used, none missing", granted.len(), granted.len() - unused.len()));
    Ok(())
}

#[tokio::test]
async fn installed_upgraded_uninstalled_and_installed_again() -> Result<()> {
    let site = Site::start(Major::Four).await?;
    let (older, current) = (site.package(true).await?, site.package(false).await?);
    let started = Instant::now();
    let install = ["install", RELEASE, &older, "--create-namespace", "--set", "concurrent=4"];
    let controller = site.roll_out(None, &install).await?;
    let installed = started.elapsed();
    ensure!(!site.knows_new_field().await?, "the older version is as new as the current one");

    world::account(&site.client, "prod", ACCOUNT, &[NS]).await?;
    let vpc = world::vpc(&site.standin, ACCOUNT, REGION, "10.0.0.0/16").await?;
    world::posture(&site.client, NS, "main", "prod", &vpc.id, json!({})).await?;
    let before = site.until("main", ("Ready", "True"), "").await?;
    ensure!(site.services(&vpc.id).await? == SERVICES, "{:?}", site.services(&vpc.id).await?);

    // The upgrade brings new definitions and settings, and changes nothing for the objects.
    let calls = site.last_call().await?;
    let controller = site
        .roll_out(Some(controller), &["upgrade", RELEASE, &current, "--set", "concurrent=8,metrics.secure=true"])
        .await?;
    ensure!(site.knows_new_field().await?, "the definitions were not upgraded");
    let env =
        serde_json::to_value(site.deployment().await?)?["spec"]["template"]["spec"]["containers"][0]["env"].take();
    let concurrent = json!({ "name": "SSM_READY_CONCURRENT", "value": "8" });
    ensure!(env.as_array().is_some_and(|env| env.contains(&concurrent)), "{env}");
    let after = site.until("main", ("Ready", "True"), "after-upgrade").await?;
    ensure!(after.uid() == before.uid() && after.metadata.generation == before.metadata.generation, "{after:?}");
    let writes = site.writes_since(calls).await?;
    ensure!(writes.is_empty(), "the upgrade changed AWS: {writes:?}");

    // Who is bound to the role that the chart has for that reads the metrics.
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "prometheus" },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("{RELEASE}-metrics-reader"),
        },
        "subjects": [{ "kind": "ServiceAccount", "name": "prometheus", "namespace": "monitoring" }],
    });
    apply_yaml(&site.client, &binding.to_string()).await?;
    for (name, expected) in [("prometheus", 200), ("somebody", 403)] {
        site.server.kubeconfig_for_service_account("monitoring", name).await?;
        let token = site.server.tokens().pop().context("no token")?;
        let (status, body) = scrape(controller.metrics_address(), Some(&token))?;
        ensure!(status == expected, "{name}: {status}: {body}");
    }

    // The same thing happens twice within minutes, which one event tells.
    for token in ["drift-1", "drift-2"] {
        site.break_group("main").await?;
        site.until("main", ("Ready", "True"), token).await?;
        eventually(SOON, "the rules to be back", || async {
            let object = site.until("main", ("SecurityGroupReady", "True"), "").await?;
            ensure!(condition_of(&object, "Compliant")?.is_some_and(|c| c.status == "True"), "{}", conditions(&object));
            Ok(())
        })
        .await?;
    }
    site.region_and_account().await?;
    // Objects that another version of the definitions stored are read as they are; see the other installation.
    let unread = ["awsaccounts", "accountpostures", "regionpostures", "vpcpostures"].map(|kind| ("get", kind));
    permissions_are_exact(&site, &unread).await?;

    // Without the chart the objects stay as they are, and so does AWS.
    let mut controller = controller;
    let memory = controller.memory_peak_kib()?;
    let status = controller.terminate().await?;
    ensure!(status.success(), "{status}: {}", controller.log());
    let calls = site.last_call().await?;
    let before = site.get("main").await?;
    site.helm.run(["uninstall", RELEASE, "--namespace", RELEASE, "--wait"]).await?;
    ensure!(site.deployment().await.is_err(), "the Deployment is still there");
    let accounts: Api<ServiceAccount> = Api::namespaced(site.client.clone(), RELEASE);
    ensure!(accounts.get_opt(RELEASE).await?.is_none(), "the service account is still there");
    let roles: Vec<String> = Api::<ClusterRole>::all(site.client.clone())
        .list(&ListParams::default().labels("app.kubernetes.io/part-of=ssm-ready"))
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    ensure!(roles.is_empty(), "still there: {roles:?}");
    for plural in ["awsaccounts", "vpcpostures"] {
        let crd = site.definition(plural).await?;
        ensure!(crd.metadata.deletion_timestamp.is_none(), "{plural} is being deleted");
    }
    ensure!(site.get("main").await? == before, "the posture changed");
    objects(&site.client, "AwsAccount", None).get("prod").await?;

    // Installed again, it takes up what it finds.
    let mut controller = site.roll_out(None, &["install", RELEASE, &current]).await?;
    let after = site.until("main", ("Ready", "True"), "after-reinstall").await?;
    ensure!(after.uid() == before.uid(), "another posture");
    let writes = site.writes_since(calls).await?;
    ensure!(writes.is_empty(), "the second installation changed AWS: {writes:?}");
    let postures = objects(&site.client, "VpcPosture", Some(NS));
    postures
        .patch(
            "main",
            &PatchParams::default(),
            &Patch::Merge(json!({ "spec": { "endpoints": { "deletionPolicy": "Delete" } } })),
        )
        .await?;
    postures.delete("main", &Default::default()).await?;
    eventually(SOON, "the posture to go with what it made", || async {
        ensure!(postures.get_opt("main").await?.is_none(), "{}", conditions(&site.get("main").await?));
        Ok(())
    })
    .await?;
    ensure!(site.services(&vpc.id).await?.is_empty(), "endpoints are left: {:?}", site.services(&vpc.id).await?);
    controller.ensure_running()?;
    say(format_args!(
        "helm install --wait took {:.1} s; an upgrade, an uninstall and a second install changed nothing in AWS; {} MiB at \
         most (dev build, one posture)",
        installed.as_secs_f64(),
        memory / 1024
    ));
    Ok(())
}

/// By Helm 3, for one namespace, where somebody has applied the definitions by hand before.
#[tokio::test]
async fn installed_for_one_namespace_over_definitions_of_somebody_else() -> Result<()> {
    let site = Site::start(Major::Three).await?;
    apply_crds(&site.client).await?;
    let chart = site.package(false).await?;
    let scope = format!("watchNamespace={NS}");
    // A Lease of another name: it may write none but that.
    let lease = "leaderElection.id=of-one-namespace";
    let install = ["install", RELEASE, &chart, "--create-namespace", "--set", &scope, "--set", lease];
    let refusal = site.helm(&install).await.err().context("Helm took what is not its own")?;
    ensure!(format!("{refusal:#}").contains("ownership metadata"), "{refusal:#}");
    let mut adopt = install.to_vec();
    adopt.push("--take-ownership");
    let mut controller = site.roll_out(None, &adopt).await?;

    let others = "others";
    world::namespace(&site.client, others).await?;
    world::account(&site.client, "prod", ACCOUNT, &[NS, others]).await?;
    let vpc = world::vpc(&site.standin, ACCOUNT, REGION, "10.0.0.0/16").await?;
    let other = world::vpc(&site.standin, ACCOUNT, REGION, "10.1.0.0/16").await?;
    world::posture(&site.client, others, "main", "prod", &other.id, json!({})).await?;
    world::posture(&site.client, NS, "main", "prod", &vpc.id, json!({})).await?;
    site.until("main", ("Ready", "True"), "").await?;
    Api::<Lease>::namespaced(site.client.clone(), RELEASE).get("of-one-namespace").await?;
    ensure!(site.services(&vpc.id).await? == SERVICES, "{:?}", site.services(&vpc.id).await?);
    for token in ["drift-1", "drift-2"] {
        site.break_group("main").await?;
        site.until("main", ("Compliant", "True"), token).await?;
    }

    // What happens to an account twice.
    let accounts = objects(&site.client, "AwsAccount", None);
    for (external_id, status) in [("of-somebody-else", "False"), (EXTERNAL_ID, "True")] {
        let patch = json!({ "spec": { "assumeRole": { "externalId": external_id } } });
        accounts.patch("prod", &PatchParams::default(), &Patch::Merge(patch)).await?;
        condition_is(&site.client, "AwsAccount", None, "prod", ("Ready", status), SOON).await?;
    }

    // What a later version of the definitions stored: a posture by an edit, an account anew.
    site.know_later_value("vpcpostures", "properties/mode").await?;
    site.know_later_value("awsaccounts", "properties/access/items/properties/maxMode").await?;
    let postures = objects(&site.client, "VpcPosture", Some(NS));
    let moon = json!({
        "apiVersion": "ssmready.dev/v1alpha1", "kind": "AwsAccount", "metadata": { "name": "moon" },
        "spec": { "accountId": "222222222222", "access": [
            { "name": "all", "namespaces": { "from": "All" }, "maxMode": "Later" },
        ] },
    });
    eventually(SOON, "later values to be taken", || async {
        let patch = json!({ "spec": { "mode": "Later" } });
        postures.patch("main", &PatchParams::default(), &Patch::Merge(patch)).await?;
        apply_yaml(&site.client, &moon.to_string()).await.map(drop)
    })
    .await?;
    for (kind, namespace, name) in [("VpcPosture", Some(NS), "main"), ("AwsAccount", None, "moon")] {
        let stalled = condition_is(&site.client, kind, namespace, name, ("Stalled", "True"), SOON).await?;
        ensure!(stalled.reason == "StoredObjectUnreadable", "{stalled:?}");
    }

    let untouched = objects(&site.client, "VpcPosture", Some(others)).get("main").await?;
    ensure!(condition_of(&untouched, "Ready")?.is_none(), "{}", conditions(&untouched));
    ensure!(site.services(&other.id).await?.is_empty(), "{:?}", site.services(&other.id).await?);
    site.region_and_account().await?;
    permissions_are_exact(&site, &[("get", "accountpostures"), ("get", "regionpostures")]).await?;
    controller.ensure_running()?;
    site.helm.run(["uninstall", RELEASE, "--namespace", RELEASE]).await?;
    site.get("main").await?;
    Ok(())
}

/// Kinds that the API server of the tests does not know; `make chart` looks at them.
const OPERATOR: &str = "monitoring.coreos.com/";

#[tokio::test]
async fn the_api_server_takes_all_that_is_rendered() -> Result<()> {
    let server = ApiServer::start().await?;
    let client = server.admin_client()?;
    let helm = Helm::new(Major::Four, server.admin_kubeconfig()).await?;
    let restricted = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": RELEASE, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    apply_yaml(&client, &restricted.to_string()).await?;
    for namespace in ["team", "monitoring"] {
        world::namespace(&client, namespace).await?;
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(repository().join("tests/chart/values"))?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files.len() >= 10, "{files:?}");
    let (mut taken, mut pods) = (0, 0);
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (chart, values) = (Helm::chart(), file.to_string_lossy());
        let rendered = helm
            .run(["template", RELEASE, &chart.to_string_lossy(), "--namespace", RELEASE, "--values", &values])
            .await?;
        for object in documents(&rendered)? {
            let kind = object.types.clone().context("no kind")?;
            if kind.api_version.starts_with(OPERATOR) {
                continue;
            }
            let on_node = name == "host-network.yaml";
            if kind.kind == "Deployment" {
                let pod = json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "pod", "namespace": RELEASE },
                    "spec": object.data["spec"]["template"]["spec"],
                });
                let answer = would_apply(&client, serde_json::from_value(pod)?).await;
                match (answer, on_node) {
                    (Ok(_), false) => pods += 1,
                    (Err(error), true) if format!("{error:#}").contains("host namespaces (hostNetwork=true)") => {}
                    (Err(error), _) => return Err(error.context(format!("the pod of {name}"))),
                    (Ok(_), true) => bail!("\"restricted\" takes the node's network"),
                }
            }
            let what = format!("{} {} of {name}", kind.kind, object.name_any());
            would_apply(&client, object).await.context(what)?;
            taken += 1;
        }
    }

    // It would have said so.
    let rendered = helm
        .run(["template", RELEASE, &Helm::chart().to_string_lossy(), "--namespace", RELEASE, "--set", "clusterId=test"])
        .await?;
    let all = documents(&rendered)?;
    let mut deployment = all
        .into_iter()
        .find(|object| object.types.as_ref().is_some_and(|types| types.kind == "Deployment"))
        .context("no Deployment")?;
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "pod", "namespace": RELEASE },
        "spec": deployment.data["spec"]["template"]["spec"],
    });
    pod["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"] = json!([]);
    let refusal = would_apply(&client, serde_json::from_value(pod)?).await.err().context("a pod with capabilities")?;
    ensure!(format!("{refusal:#}").contains("violates PodSecurity"), "{refusal:#}");
    deployment.data["spec"]["template"]["spec"]["serviceAcountName"] = json!("misspelled");
    let refusal = would_apply(&client, deployment).await.err().context("a field that does not exist")?;
    ensure!(format!("{refusal:#}").contains("serviceAcountName"), "{refusal:#}");
    say(format_args!("{taken} objects of {} files of values are taken, {pods} pods pass \"restricted\"", files.len()));
    Ok(())
}
