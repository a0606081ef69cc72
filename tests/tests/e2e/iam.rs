//! The policies that `ssm-ready iam-policy` prints are enough for everything that the controller does, and for nothing
//! else.
//!
//! The stand-in evaluates them as AWS does: each resource of a call, its conditions, the trust policies.

use std::{collections::BTreeSet, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use ssm_ready_cloud::{AwsCloud, Cloud, Unobserved};
use ssm_ready_core::{
    calls::{Operation, Purpose},
    facts::{
        EndpointType, IngressRule, Principal, RoleStep, RuleSource, Scope, Tags, VpcAttribute,
        audit::{AUDIT_RULE, AUDIT_TARGET},
        iam::INLINE_POLICY,
        settings::{DocumentVersion, MetadataField, Setting},
    },
    fault::Fault,
    iam::Feature,
    ids::{PolicyArn, Region, Secret},
    policy::trust,
    reason::Reason,
    region::aws_policy,
    report::explain,
    write::{
        DocumentChange, EndpointChange, NewEndpoint, NewRole, ProfileChange, RoleChange, RuleChange, Write, Written,
    },
};
use ssm_ready_tests::{
    Flavour, HUB_ACCOUNT, Standin, apply_yaml,
    controller::default_binary,
    eventually, objects, repository,
    standin::{Session, element, root_access_key},
    wait::condition_is,
    world::{self, EXTERNAL_ID, REGION, Vpc},
};

use crate::rig::{self, ACCOUNT, NS, Rig, SOON, Setup};

/// The external id that examples/01-account.yaml gives.
const EXAMPLE_EXTERNAL_ID: &str = "ssmready-7f3c";
const HUB_ROLE: &str = "ssm-ready-hub";
const CLUSTER_TAG: &str = "ssmready.dev/cluster";
const OWNER_TAG: &str = "ssmready.dev/owner";
const PASS_ROLE: &str = "iam:PassRole";
const KINDS: &str = "vpc-posture,region-posture,account-posture";
/// The policies for the kinds beside VpcPosture.
const OTHER_PARTS: [&str; 2] = ["enforce-region", "enforce-account"];

/// What `ssm-ready iam-policy` prints.
fn printed(arguments: &[&str]) -> Result<String> {
    let output = Command::new(default_binary()?)
        .env_clear()
        .args(["iam-policy", "--cluster-id", "test", "--account", ACCOUNT])
        .args(arguments)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The partition of a region.
fn partition(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("us") if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

async fn iam(standin: &Standin, account: &str, region: &str, action: &str, of: &[(&str, &str)]) -> Result<()> {
    standin.query(account, region, "iam", action, of).await.map(drop)
}

async fn put_policy(standin: &Standin, account: &str, region: &str, role: &str, name: &str, text: &str) -> Result<()> {
    let parameters = [("RoleName", role), ("PolicyName", name), ("PolicyDocument", text)];
    iam(standin, account, region, "PutRolePolicy", &parameters).await
}

/// Attaches a policy of its own to the account's enforce role.
async fn attach(standin: &Standin, region: &str, name: &str, text: &str) -> Result<()> {
    let arn = format!("arn:{}:iam::{ACCOUNT}:policy/{name}", partition(region));
    let create = [("PolicyName", name), ("PolicyDocument", text)];
    iam(standin, ACCOUNT, region, "CreatePolicy", &create).await?;
    iam(standin, ACCOUNT, region, "AttachRolePolicy", &[("RoleName", "ssm-ready"), ("PolicyArn", &arn)]).await
}

/// Likewise in place of what it was before.
async fn attach_anew(standin: &Standin, region: &str, name: &str, text: &str) -> Result<()> {
    let arn = format!("arn:{}:iam::{ACCOUNT}:policy/{name}", partition(region));
    iam(standin, ACCOUNT, region, "DetachRolePolicy", &[("RoleName", "ssm-ready"), ("PolicyArn", &arn)]).await?;
    iam(standin, ACCOUNT, region, "DeletePolicy", &[("PolicyArn", &arn)]).await?;
    attach(standin, region, name, text).await
}

async fn create_role(standin: &Standin, account: &str, region: &str, role: &str, trust: &str) -> Result<()> {
    iam(standin, account, region, "CreateRole", &[("RoleName", role), ("AssumeRolePolicyDocument", trust)]).await
}

/// Makes the hub's role and the two of the account from what is printed, has the stand-in evaluate policies, and returns
/// the environment of a controller that has the hub's role.
pub async fn roles(standin: &Standin, arguments: &[&str]) -> Result<Vec<(String, String)>> {
    roles_in(standin, REGION, arguments).await
}

async fn roles_in(standin: &Standin, region: &str, arguments: &[&str]) -> Result<Vec<(String, String)>> {
    let partition = partition(region);
    let hub = format!("arn:{partition}:iam::{HUB_ACCOUNT}:role/{HUB_ROLE}");
    let print = |part: &str| {
        let more = ["--part", part, "--partition", partition, "--hub-role-arn", &hub, "--kind", KINDS];
        printed(&[&more[..], arguments].concat())
    };
    // A pod gets the role by its service account; here whoever has the account's root key does.
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": format!("arn:{partition}:iam::{HUB_ACCOUNT}:root") },
            "Action": "sts:AssumeRole",
        }],
    });
    create_role(standin, HUB_ACCOUNT, region, HUB_ROLE, &trust.to_string()).await?;
    put_policy(standin, HUB_ACCOUNT, region, HUB_ROLE, "hub", &print("hub")?).await?;
    let (trust, observe, enforce) = (print("trust")?, print("observe")?, print("enforce")?);
    let others: Vec<(&str, String)> =
        OTHER_PARTS.into_iter().map(|part| Ok((part, print(part)?))).collect::<Result<_>>()?;
    create_role(standin, ACCOUNT, region, "ssm-ready", &trust).await?;
    create_role(standin, ACCOUNT, region, "ssm-ready-observe", &trust).await?;
    for role in ["ssm-ready", "ssm-ready-observe"] {
        put_policy(standin, ACCOUNT, region, role, "observe", &observe).await?;
    }
    put_policy(standin, ACCOUNT, region, "ssm-ready", "enforce", &enforce).await?;
    // Together they are longer than inline policies may be.
    for (name, text) in others {
        attach(standin, region, name, &text).await?;
    }
    standin.settings(&json!({ "enforce_policies": true })).await?;
    let session = [("RoleArn", hub.as_str()), ("RoleSessionName", "controller")];
    let session = standin.query(HUB_ACCOUNT, region, "sts", "AssumeRole", &session).await?;
    let names = [
        ("AWS_ACCESS_KEY_ID", "AccessKeyId"),
        ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
        ("AWS_SESSION_TOKEN", "SessionToken"),
    ];
    names
        .into_iter()
        .map(|(variable, name)| {
            let value = element(&session, name).with_context(|| format!("no {name} in {session}"))?;
            // Tokens are base64 and such; nothing in them is escaped in XML.
            Ok((variable.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Calls of roles that AWS denied.
async fn denials(standin: &Standin) -> Result<Vec<Value>> {
    let mut calls = standin.calls(0).await?;
    let calls = calls.as_array_mut().map(std::mem::take).unwrap_or_default();
    let denied = ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"];
    Ok(calls
        .into_iter()
        .filter(|c| !c["role"].is_null() && c["code"].as_str().is_some_and(|code| denied.contains(&code)))
        .collect())
}

async fn none_denied(rig: &Rig) -> Result<()> {
    let denied = denials(&rig.standin).await?;
    ensure!(denied.is_empty(), "denied: {denied:?}");
    Ok(())
}

async fn ready(rig: &Rig, namespace: &str, name: &str) -> Result<()> {
    condition_is(&rig.client, "VpcPosture", Some(namespace), name, ("Ready", "True"), SOON).await.map(drop)
}

async fn gone(rig: &Rig, namespace: &str, name: &str) -> Result<()> {
    let api = objects(&rig.client, "VpcPosture", Some(namespace));
    api.delete(name, &Default::default()).await?;
    eventually(SOON * 2, format_args!("{name} to go"), || async {
        match api.get_opt(name).await? {
            None => Ok(()),
            Some(object) => bail!("{}", world::conditions(&object)),
        }
    })
    .await
}

#[tokio::test]
async fn the_examples_converge_and_go_with_exactly_the_printed_policies() -> Result<()> {
    rig::test(Setup::new().policies(&["--external-id", EXAMPLE_EXTERNAL_ID]), async |rig| {
        rig.secrets.push(EXAMPLE_EXTERNAL_ID.to_owned());
        world::example_vpcs(&rig.standin).await?;
        for name in ["01-account", "02-smallest", "03-vpc", "04-observe"] {
            let text = std::fs::read_to_string(repository().join(format!("examples/{name}.yaml")))?;
            apply_yaml(&rig.client, &text).await?;
        }
        let namespace = "platform-ssm";
        for name in ["payments-smallest", "payments-main", "payments-audit"] {
            ready(rig, namespace, name).await?;
        }
        condition_is(&rig.client, "AwsAccount", None, "payments-prod", ("PermissionsReady", "True"), SOON).await?;
        for (name, vpc) in [("payments-smallest", "vpc-0ffffffffffffff01"), ("payments-main", "vpc-0a1b2c3d4e5f60718")]
        {
            let endpoints = world::endpoints(&rig.standin, ACCOUNT, REGION, vpc).await?;
            ensure!(endpoints.contains_key("ssm") && endpoints.contains_key("s3"), "{name}: {endpoints:?}");
        }
        none_denied(rig).await?;

        // They go: what is unused is deleted; what is kept loses its owner tag.
        let api = objects(&rig.client, "VpcPosture", Some(namespace));
        for (name, policy) in [("payments-smallest", "Delete"), ("payments-main", "Retain")] {
            let patch = json!({ "spec": { "endpoints": { "deletionPolicy": policy } } });
            api.patch(name, &Default::default(), &kube::api::Patch::Merge(patch)).await?;
            ready(rig, namespace, name).await?;
            gone(rig, namespace, name).await?;
        }
        let left = world::endpoints(&rig.standin, ACCOUNT, REGION, "vpc-0ffffffffffffff01").await?;
        ensure!(left.is_empty(), "{left:?}");
        let kept = world::endpoints(&rig.standin, ACCOUNT, REGION, "vpc-0a1b2c3d4e5f60718").await?;
        ensure!(!kept.is_empty(), "nothing kept");
        ensure!(kept.values().all(|e| !e["Tags"].to_string().contains(OWNER_TAG)), "{kept:?}");
        gone(rig, namespace, "payments-audit").await?;
        none_denied(rig).await
    })
    .await
}

#[tokio::test]
async fn drift_is_repaired_with_exactly_the_printed_policies() -> Result<()> {
    let setup = Setup::with_account().policies(&["--external-id", EXTERNAL_ID, "--regions", REGION]);
    rig::test(setup, async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        let mut spec = json!({ "endpoints": { "tags": [{ "key": "Team", "value": "a" }] } });
        rig.posture("main", &vpc.id, spec.clone()).await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, REGION, &vpc.id).await?;
        let id = |service: &str| endpoints[service]["VpcEndpointId"].as_str().unwrap_or_default().to_owned();
        let (ssm, messages, s3) = (id("ssm"), id("ssmmessages"), id("s3"));
        let status = rig.get("main").await?.data["status"].clone();
        let group = status["securityGroup"]["id"].as_str().unwrap_or_default().to_owned();

        let made = [("GroupName", "foreign"), ("GroupDescription", "x"), ("VpcId", vpc.id.as_str())];
        let made = rig.standin.ec2(ACCOUNT, REGION, "CreateSecurityGroup", &made).await?;
        let foreign = element(&made, "groupId").unwrap_or_default();
        let rule = ["--protocol", "tcp", "--port", "443", "--cidr", "10.0.0.0/16"];
        rig.aws(&[&["ec2", "revoke-security-group-ingress", "--group-id", &group], &rule[..]].concat()).await?;
        let more = ["--protocol", "tcp", "--port", "443", "--cidr", "172.16.0.0/12"];
        rig.aws(&[&["ec2", "authorize-security-group-ingress", "--group-id", &group], &more[..]].concat()).await?;
        rig.aws(&["ec2", "modify-vpc-attribute", "--vpc-id", &vpc.id, "--no-enable-dns-hostnames"]).await?;
        let change = [
            "--remove-subnet-ids",
            &vpc.subnets[1],
            "--add-security-group-ids",
            foreign,
            "--remove-security-group-ids",
            &group,
            "--no-private-dns-enabled",
        ];
        let modify = ["ec2", "modify-vpc-endpoint", "--vpc-endpoint-id"];
        rig.aws(&[&modify[..], &[&messages], &change[..]].concat()).await?;
        let policy = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}"#;
        rig.aws(
            &[&modify[..], &[&s3], &["--remove-route-table-ids", &vpc.main_table, "--policy-document", policy]]
                .concat(),
        )
        .await?;
        rig.aws(&["ec2", "delete-tags", "--resources", &messages, "--tags", "Key=Team"]).await?;
        rig.aws(&["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", &ssm]).await?;
        rig.look_again("main", "one").await?;
        rig.until("main", "Compliant", "True", "Succeeded").await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, REGION, &vpc.id).await?;
        let messages = &endpoints["ssmmessages"];
        ensure!(
            messages["Groups"].as_array().map(Vec::len) == Some(1) && messages["Groups"][0]["GroupId"] == json!(group),
            "{messages}"
        );
        ensure!(messages["PrivateDnsEnabled"] == true && messages["Tags"].to_string().contains("Team"), "{messages}");
        ensure!(endpoints["s3"]["RouteTableIds"] == json!([vpc.main_table]), "{}", endpoints["s3"]);
        none_denied(rig).await?;

        // An edit: another tag, another service, clients that come and go.
        spec["endpoints"]["tags"] = json!([{ "key": "Team", "value": "b" }]);
        spec["endpoints"]["securityGroup"] = json!({ "create": { "clientCidrs": ["100.64.0.0/16"] } });
        spec["capabilities"] = json!(["SessionManager", "SessionEncryption"]);
        rig.posture("main", &vpc.id, spec.clone()).await?;
        rig.until_ready("main").await?;
        spec["endpoints"]["securityGroup"] = json!({ "create": { "clientCidrs": ["100.65.0.0/16"] } });
        rig.posture("main", &vpc.id, spec).await?;
        rig.until_ready("main").await?;
        rig.until("main", "Compliant", "True", "Succeeded").await?;
        none_denied(rig).await
    })
    .await
}

#[tokio::test]
async fn taking_over_takes_its_own_feature() -> Result<()> {
    let setup = Setup::with_account().policies(&["--external-id", EXTERNAL_ID]);
    rig::test(setup, async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        let service = format!("com.amazonaws.{REGION}.ssm");
        let theirs = [
            ("VpcId", vpc.id.as_str()),
            ("ServiceName", &service),
            ("VpcEndpointType", "Interface"),
            ("SubnetId.1", &vpc.subnets[0]),
            ("PrivateDnsEnabled", "true"),
        ];
        let theirs = rig.standin.ec2(ACCOUNT, REGION, "CreateVpcEndpoint", &theirs).await?;
        let theirs = element(&theirs, "vpcEndpointId").unwrap_or_default().to_owned();
        rig.posture("main", &vpc.id, json!({ "endpoints": { "adoption": "TakeOver" } })).await?;
        let message = rig.until("main", "Ready", "False", "PermissionDenied").await?;
        ensure!(message.contains("ec2:CreateTags") && message.contains(&theirs), "{message}");
        let document = printed(&[
            "--part",
            "enforce",
            "--feature",
            "vpc-endpoints,security-group,s3-gateway,dns-attributes,tags,deletion,take-over",
        ])?;
        put_policy(&rig.standin, ACCOUNT, REGION, "ssm-ready", "enforce", &document).await?;
        rig.look_again("main", "allowed").await?;
        rig.until_ready("main").await?;
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, REGION, &vpc.id).await?;
        ensure!(endpoints["ssm"]["VpcEndpointId"] == json!(theirs), "{}", endpoints["ssm"]);
        ensure!(endpoints["ssm"]["Tags"].to_string().contains(CLUSTER_TAG), "{}", endpoints["ssm"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_observe_role_only_observes() -> Result<()> {
    rig::test(Setup::new().policies(&["--external-id", EXTERNAL_ID]), async |rig| {
        let arn = format!("arn:aws:iam::{ACCOUNT}:role/ssm-ready-observe");
        let account = json!({
            "apiVersion": "ssmready.dev/v1alpha1",
            "kind": "AwsAccount",
            "metadata": { "name": "prod" },
            "spec": {
                "accountId": ACCOUNT,
                "assumeRole": { "roleArn": arn, "externalId": EXTERNAL_ID },
                "access": [{ "name": "tests", "namespaces": { "from": "Names", "names": [NS] }, "maxMode": "Enforce" }],
                "guardrails": { "apiSharePercent": 100 },
            },
        });
        apply_yaml(&rig.client, &account.to_string()).await?;
        let (seen, wanted) = (rig.vpc("10.0.0.0/16").await?, rig.vpc("10.1.0.0/16").await?);
        rig.posture("observed", &seen.id, json!({ "mode": "Observe" })).await?;
        rig.until("observed", "Ready", "True", "Evaluated").await?;
        let plan = rig.get("observed").await?.data["status"]["plan"]["actions"].clone();
        ensure!(plan.as_array().is_some_and(|actions| !actions.is_empty()), "no plan: {plan}");
        none_denied(rig).await?;
        // It lacks what it would need to enforce, and the account says so before anybody needs it.
        let lacking =
            condition_is(&rig.client, "AwsAccount", None, "prod", ("PermissionsReady", "False"), SOON).await?;
        let kind = ssm_ready_core::iam::Kind::VpcPosture;
        for operation in Operation::ALL.iter().filter(|operation| operation.writes() && kind.makes(**operation)) {
            // Few postures give profiles, so that it is not asked about.
            if *operation == Operation::AssociateIamInstanceProfile {
                continue;
            }
            ensure!(lacking.message.contains(&operation.iam_action()), "{operation}: {}", lacking.message);
        }
        ensure!(!lacking.message.contains(":Describe"), "{}", lacking.message);
        rig.posture("enforced", &wanted.id, json!({})).await?;
        let message = rig.until("enforced", "Ready", "False", "PermissionDenied").await?;
        ensure!(message.contains("ec2:CreateSecurityGroup"), "{message}");
        ensure!(rig.standin_endpoints().await? == 0, "something was made");
        Ok(())
    })
    .await
}

/// The adapter, at first with the root key of the hub's account.
fn cloud(standin: &Standin) -> AwsCloud {
    AwsCloud::at_endpoint(standin.url(), &root_access_key(HUB_ACCOUNT), "secret", Arc::new(Unobserved))
}

/// The stand-in, the adapter with the hub's role, and the account's enforce role.
struct Bench {
    standin: Standin,
    cloud: AwsCloud,
    scope: Scope,
    policies: Vec<(&'static str, Value)>,
}

impl Bench {
    async fn start(region: &str) -> Result<Self> {
        let standin = Standin::start(Flavour::Extended).await?;
        let life = json!({ "endpoint_pending_seconds": 0, "endpoint_deleting_seconds": 0 });
        standin.settings(&life).await?;
        let arguments = ["--external-id", EXTERNAL_ID];
        roles_in(&standin, region, &arguments).await?;
        // A trail and a topic to be looked at.
        let trail = ["cloudtrail", "create-trail", "--name", "all", "--s3-bucket-name", "trails"];
        standin.aws(ACCOUNT, region, &trail).await?;
        standin.query(ACCOUNT, region, "sns", "CreateTopic", &[("Name", "sessions")]).await?;
        let cloud = cloud(&standin);
        let partition = partition(region);
        let principal = Principal {
            account: ACCOUNT.parse()?,
            // The hub's role first, as a pod gets it.
            roles: vec![
                RoleStep {
                    arn: format!("arn:{partition}:iam::{HUB_ACCOUNT}:role/{HUB_ROLE}").parse()?,
                    external_id: None,
                },
                RoleStep {
                    arn: format!("arn:{partition}:iam::{ACCOUNT}:role/ssm-ready").parse()?,
                    external_id: Some(Secret::new(EXTERNAL_ID)),
                },
            ],
            session_name: "test".to_owned(),
            duration_seconds: 3600,
            read_only: false,
        };
        let region: Region = region.parse()?;
        // What the calls take that are made by default, and giving instances a profile.
        let chosen = Feature::ALL.iter().filter(|f| f.is_default() || **f == Feature::ProfileAttachment);
        let features = chosen.map(|feature| feature.name()).collect::<Vec<_>>().join(",");
        let mut policies = Vec::new();
        for part in ["observe", "enforce"].into_iter().chain(OTHER_PARTS) {
            let text = printed(&["--part", part, "--partition", partition, "--kind", KINDS, "--feature", &features])?;
            policies.push((part, serde_json::from_str(&text)?));
        }
        Ok(Self { standin, cloud, scope: Scope { principal, region, api_share_percent: 100 }, policies })
    }

    /// A new session, and AWS's rates from the start: a few creations are at once only so often.
    fn anew(&mut self) {
        self.cloud = cloud(&self.standin);
    }

    /// Leaves the role one action less.
    async fn without(&self, action: &str) -> Result<bool> {
        let mut found = false;
        for (name, policy) in &self.policies {
            let mut policy = policy.clone();
            let statements = policy["Statement"].as_array_mut().into_iter().flatten();
            for statement in statements.filter(|statement| statement["Effect"] == "Allow") {
                let actions = match statement["Action"].take() {
                    Value::Array(actions) => actions,
                    one => vec![one],
                };
                let left: Vec<Value> = actions.iter().filter(|a| **a != action).cloned().collect();
                found |= left.len() < actions.len();
                statement["Action"] = if left.is_empty() { json!("none:None") } else { json!(left) };
            }
            let region = self.scope.region.as_str();
            if OTHER_PARTS.contains(name) {
                attach_anew(&self.standin, region, name, &policy.to_string()).await?;
            } else {
                put_policy(&self.standin, ACCOUNT, region, "ssm-ready", name, &policy.to_string()).await?;
            }
        }
        Ok(found)
    }

    async fn ec2(&self, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        self.standin.ec2(ACCOUNT, self.scope.region.as_str(), action, parameters).await
    }

    async fn write(&self, write: Write) -> Result<Written, Fault> {
        self.cloud.write(&self.scope, &write).await
    }

    /// Makes the call that an operation stands for, on things that are ours.
    #[expect(clippy::unwrap_used, clippy::panic, reason = "a test's own mistake, or what the test is about")]
    async fn call(&self, operation: Operation, stage: &Stage) -> Result<(), Fault> {
        use Operation as O;
        let (cloud, scope) = (&self.cloud, &self.scope);
        let group = || stage.group.as_str().into();
        let rules = |last: u8| {
            let source = RuleSource::Cidr(format!("10.{last}.0.0/16").parse().unwrap());
            vec![IngressRule { protocol: "tcp".into(), ports: Some((443, 443)), source, description: None }]
        };
        match operation {
            O::AssumeRole | O::GetCallerIdentity => cloud.identity(&scope.principal, &scope.region).await.map(drop),
            O::DescribeVpcs => cloud.vpcs(scope).await.map(drop),
            O::DescribeVpcEndpoints => cloud.endpoints(scope).await.map(drop),
            O::DescribeSecurityGroups => cloud.security_groups(scope).await.map(drop),
            O::DescribeInstances => cloud.instances(scope).await.map(drop),
            O::DescribeInstanceInformation => cloud.managed_nodes(scope).await.map(drop),
            O::DescribeSubnets => cloud.subnets(scope).await.map(drop),
            O::DescribeRouteTables => cloud.route_tables(scope).await.map(drop),
            O::DescribeVpcAttribute => {
                let vpc = stage.vpc.id.as_str().into();
                cloud.vpc_attribute(scope, &vpc, VpcAttribute::DnsSupport).await.map(drop)
            }
            O::DescribeVpcEndpointServices => cloud.services(scope).await.map(drop),
            O::DescribeNetworkInterfaces => cloud.network_interfaces(scope, &group()).await.map(drop),
            O::SimulatePrincipalPolicy => {
                let questions = ssm_ready_core::iam::questions(&ssm_ready_core::iam::Preflight {
                    principal: &scope.principal,
                    region: &scope.region,
                    cluster_id: "test",
                    writes: true,
                    kinds: &ssm_ready_core::iam::Kind::ALL.into_iter().collect(),
                    role_path: "/",
                    boundary: None,
                });
                for question in questions {
                    for said in cloud.permissions(&scope.principal, &scope.region, &question).await? {
                        if !said.allowed {
                            panic!("IAM says that {} is not allowed: {question:?}", said.action);
                        }
                    }
                }
                Ok(())
            }
            O::CreateVpcEndpoint => self.write(stage.create("kms", &stage.token("kms"))).await.map(drop),
            O::ModifyVpcEndpoint => {
                let change =
                    EndpointChange { add_subnets: [stage.vpc.subnets[1].as_str().into()].into(), ..Default::default() };
                let back = EndpointChange { remove_subnets: change.add_subnets.clone(), ..Default::default() };
                for change in [change, back] {
                    let change = Box::new(change);
                    self.write(Write::ModifyEndpoint { endpoint: stage.endpoint.as_str().into(), change }).await?;
                }
                Ok(())
            }
            O::DeleteVpcEndpoints => {
                let endpoints = [stage.spare_endpoint.as_str().into()].into();
                self.write(Write::DeleteEndpoints { endpoints }).await.map(drop)
            }
            O::CreateSecurityGroup => self.write(stage.create_group(&stage.token("group"))).await.map(drop),
            O::AuthorizeSecurityGroupIngress => {
                self.write(Write::AuthorizeIngress { group: group(), rules: rules(9) }).await.map(drop)
            }
            O::RevokeSecurityGroupIngress => {
                self.write(Write::RevokeIngress { group: group(), rules: rules(9) }).await.map(drop)
            }
            O::DeleteSecurityGroup => {
                self.write(Write::DeleteSecurityGroup { group: stage.spare_group.as_str().into() }).await.map(drop)
            }
            O::CreateTags => {
                let tags = [("Team".to_owned(), "a".to_owned())].into();
                self.write(Write::Tag { resources: [stage.endpoint.clone(), stage.group.clone()].into(), tags })
                    .await
                    .map(drop)
            }
            O::DeleteTags => {
                let resources = [stage.group.clone()].into();
                self.write(Write::Untag { resources, keys: [OWNER_TAG.to_owned()].into() }).await.map(drop)
            }
            O::ModifyVpcAttribute => {
                for attribute in [VpcAttribute::DnsSupport, VpcAttribute::DnsHostnames] {
                    self.write(Write::EnableVpcAttribute { vpc: stage.vpc.id.as_str().into(), attribute }).await?;
                }
                Ok(())
            }
            O::AssociateIamInstanceProfile => {
                let like = [
                    ("ImageId", "ami-12345678"),
                    ("MinCount", "1"),
                    ("MaxCount", "1"),
                    ("SubnetId", &stage.vpc.subnets[0]),
                ];
                let made = self.ec2("RunInstances", &like).await.unwrap();
                let instance = element(&made, "instanceId").unwrap().into();
                let partition = partition(&stage.region);
                let profile = format!("arn:{partition}:iam::{ACCOUNT}:instance-profile/ours-{}", stage.number);
                self.write(Write::AssociateProfile { instance, profile }).await.map(drop)
            }
            other if ["events", "cloudtrail", "sns"].contains(&other.service()) => self.call_of_audit(other).await,
            // Whoever may look is told that there is none.
            O::GetBucketLocation => cloud.bucket(scope, &"org-session-logs".into()).await.map(drop),
            O::GetBucketEncryption => cloud.bucket_encryption(scope, &"org-session-logs".into()).await.map(drop),
            O::DescribeLogGroups => cloud.log_group(scope, &"/ssm/sessions".into()).await.map(drop),
            O::DescribeKey => cloud.key(scope, &"0a1b2c3d-1111-2222-3333-444455556666".into()).await.map(drop),
            other => self.call_of_account(other, &stage.number.to_string()).await,
        }
    }

    fn topic(&self) -> String {
        let region = self.scope.region.as_str();
        format!("arn:{}:sns:{region}:{ACCOUNT}:sessions", partition(region))
    }

    /// Makes the call that an operation on session audit stands for: on the rule, which is ours.
    #[expect(clippy::panic, reason = "a test's own mistake")]
    async fn call_of_audit(&self, operation: Operation) -> Result<(), Fault> {
        use Operation as O;
        let (cloud, scope) = (&self.cloud, &self.scope);
        let region = scope.region.as_str();
        let rule = format!("arn:{}:events:{region}:{ACCOUNT}:rule/{AUDIT_RULE}", partition(region));
        let change = match operation {
            O::DescribeRule | O::ListTargetsByRule | O::ListTagsForResource => {
                return cloud.audit_rule(scope).await.map(drop);
            }
            O::DescribeTrails | O::GetTrailStatus | O::GetEventSelectors => return cloud.trails(scope).await.map(drop),
            O::GetTopicAttributes => return cloud.topic(scope, &self.topic()).await.map(drop),
            O::PutRule => return self.write(audit_rule(Stage::tags())).await.map(drop),
            O::PutTargets => RuleChange::Target(self.topic()),
            O::TagResource => RuleChange::Tag { rule, tags: Stage::tags() },
            O::UntagResource => RuleChange::Untag { rule, keys: [OWNER_TAG.to_owned()].into() },
            O::RemoveTargets => RuleChange::RemoveTargets([AUDIT_TARGET.to_owned()].into()),
            O::DeleteRule => RuleChange::Delete,
            other => panic!("{other} has no call here"),
        };
        // An earlier call may have deleted it, or set a target, with which it is not deleted.
        let _ = self.write(audit_rule(Stage::tags())).await;
        if operation == O::DeleteRule {
            let none = RuleChange::RemoveTargets([AUDIT_TARGET.to_owned()].into());
            let _ = self.write(Write::Rule(none)).await;
        }
        self.write(Write::Rule(change)).await.map(drop)
    }

    /// Makes the call that an operation on settings, documents, roles and profiles stands for, on things that are ours.
    #[expect(clippy::panic, reason = "a test's own mistake")]
    async fn call_of_account(&self, operation: Operation, number: &str) -> Result<(), Fault> {
        use Operation as O;
        let (cloud, scope) = (&self.cloud, &self.scope);
        let role = |change| Write::Role { role: format!("ours-{number}").into(), change };
        let profile = |change| Write::Profile { profile: format!("ours-{number}").into(), change };
        let spare = |change| Write::Role { role: format!("spare-{number}").into(), change };
        let spare_profile = |change| Write::Profile { profile: format!("spare-{number}").into(), change };
        let setting = |setting, value: &str| Write::UpdateSetting { setting, value: value.to_owned() };
        let tags = || Tags::from([("Team".to_owned(), "a".to_owned())]);
        let owner = || [OWNER_TAG.to_owned()].into();
        let writes = match operation {
            O::GetServiceSetting => {
                for setting in Setting::ALL {
                    cloud.setting(scope, setting).await?;
                }
                return Ok(());
            }
            O::GetDocument => return cloud.session_document(scope, DocumentVersion::Default).await.map(drop),
            O::DescribeDocument => return cloud.session_document_info(scope).await.map(drop),
            O::GetInstanceMetadataDefaults => return cloud.metadata_defaults(scope).await.map(drop),
            O::DescribeRegions => return cloud.regions(scope).await.map(drop),
            O::GetRole | O::ListAttachedRolePolicies | O::ListRolePolicies | O::GetRolePolicy => {
                return cloud.role(scope, &format!("ours-{number}").into()).await.map(drop);
            }
            O::GetInstanceProfile => return cloud.profile(scope, &format!("ours-{number}").into()).await.map(drop),
            O::UpdateServiceSetting => vec![
                setting(Setting::HostManagementRole, &format!("ours-{number}")),
                setting(Setting::PublicDocumentSharing, "Disable"),
            ],
            O::ResetServiceSetting => vec![
                Write::ResetSetting { setting: Setting::HostManagementRole },
                Write::ResetSetting { setting: Setting::PublicDocumentSharing },
            ],
            O::ModifyInstanceMetadataDefaults => {
                let values = [(MetadataField::HttpTokens, "required".to_owned())].into();
                vec![Write::ModifyMetadataDefaults { values }]
            }
            O::CreateDocument => {
                // So that it can be made; where there is none, nobody may delete it.
                let _ = self.write(Write::Document(DocumentChange::Delete)).await;
                vec![document()]
            }
            O::UpdateDocument => vec![Write::Document(DocumentChange::Update(preferences(number)))],
            O::UpdateDocumentDefaultVersion => vec![Write::Document(DocumentChange::Use("1".to_owned()))],
            O::AddTagsToResource => vec![Write::Document(DocumentChange::Tag(tags()))],
            O::RemoveTagsFromResource => vec![Write::Document(DocumentChange::Untag(owner()))],
            O::DeleteDocument => vec![Write::Document(DocumentChange::Delete)],
            O::CreateRole => {
                let new = new_role(scope.region.as_str());
                vec![Write::Role { role: format!("new-{number}").into(), change: RoleChange::Create(Box::new(new)) }]
            }
            O::UpdateAssumeRolePolicy => vec![role(RoleChange::Trust(trust(&["ssm.amazonaws.com"])))],
            O::AttachRolePolicy => vec![role(RoleChange::Attach(aws_policy(
                partition(scope.region.as_str()),
                "AmazonSSMPatchAssociation",
            )))],
            O::DetachRolePolicy => vec![role(RoleChange::Detach(core_policy(scope.region.as_str())))],
            O::PutRolePolicy => vec![role(RoleChange::PutInline(statements()))],
            O::DeleteRolePolicy => vec![role(RoleChange::DeleteInline(INLINE_POLICY.to_owned()))],
            O::PutRolePermissionsBoundary => vec![role(RoleChange::Boundary(core_policy(scope.region.as_str())))],
            O::TagRole => vec![role(RoleChange::Tag(tags()))],
            O::UntagRole => vec![role(RoleChange::Untag(owner()))],
            O::DeleteRole => vec![spare(RoleChange::Delete)],
            O::CreateInstanceProfile => vec![Write::Profile {
                profile: format!("new-{number}").into(),
                change: ProfileChange::Create { path: "/".to_owned(), tags: Stage::tags() },
            }],
            O::TagInstanceProfile => vec![profile(ProfileChange::Tag(tags()))],
            O::UntagInstanceProfile => vec![profile(ProfileChange::Untag(owner()))],
            O::AddRoleToInstanceProfile => vec![spare_profile(ProfileChange::AddRole(format!("ours-{number}").into()))],
            O::RemoveRoleFromInstanceProfile => {
                vec![profile(ProfileChange::RemoveRole(format!("ours-{number}").into()))]
            }
            O::DeleteInstanceProfile => {
                // An earlier call may have put the role in.
                let _ = self.write(spare_profile(ProfileChange::RemoveRole(format!("ours-{number}").into()))).await;
                vec![spare_profile(ProfileChange::Delete)]
            }
            other => panic!("{other} has no call here"),
        };
        if writes.iter().any(|write| matches!(write, Write::Document(_))) && operation != O::CreateDocument {
            // An earlier call may have deleted it.
            let _ = self.write(document()).await;
        }
        for write in writes {
            self.write(write).await?;
        }
        Ok(())
    }

    /// A document, a rule, a role and a profile that are ours, and some to spare.
    async fn set_account(&self, number: usize) -> Result<()> {
        let region = self.scope.region.as_str();
        let mut writes = vec![document(), audit_rule(Stage::tags())];
        for name in ["ours", "spare"] {
            let (role, profile) = (format!("{name}-{number}"), format!("{name}-{number}"));
            writes.push(Write::Role {
                role: role.clone().into(),
                change: RoleChange::Create(Box::new(new_role(region))),
            });
            let create = ProfileChange::Create { path: "/".to_owned(), tags: Stage::tags() };
            writes.push(Write::Profile { profile: profile.clone().into(), change: create });
            if name == "ours" {
                let attach = RoleChange::Attach(core_policy(region));
                writes.push(Write::Role { role: role.clone().into(), change: attach });
                let put = RoleChange::PutInline(statements());
                writes.push(Write::Role { role: role.clone().into(), change: put });
                let add = ProfileChange::AddRole(role.into());
                writes.push(Write::Profile { profile: profile.into(), change: add });
            }
        }
        for write in writes {
            match self.write(write).await {
                // There is one for an account and region.
                Err(fault) if fault.code == "DocumentAlreadyExists" => {}
                done => drop(done.map_err(|fault| anyhow::anyhow!("{fault}"))?),
            }
        }
        Ok(())
    }
}

fn new_role(region: &str) -> NewRole {
    let service = if region.starts_with("cn-") { "ec2.amazonaws.com.cn" } else { "ec2.amazonaws.com" };
    NewRole {
        path: "/".to_owned(),
        trust: trust(&[service]),
        description: "x".to_owned(),
        boundary: None,
        tags: Stage::tags(),
    }
}

fn core_policy(region: &str) -> PolicyArn {
    aws_policy(partition(region), "AmazonSSMManagedInstanceCore")
}

fn statements() -> String {
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" }] })
        .to_string()
}

fn preferences(number: &str) -> String {
    json!({
        "schemaVersion": "1.0", "description": format!("number {number}"), "sessionType": "Standard_Stream",
        "inputs": { "runAsEnabled": false, "idleSessionTimeout": "20" },
    })
    .to_string()
}

fn audit_rule(tags: Tags) -> Write {
    Write::Rule(RuleChange::Put { pattern: ssm_ready_core::region::pattern(), tags })
}

fn document() -> Write {
    Write::Document(DocumentChange::Create { content: preferences("none"), tags: Stage::tags() })
}

/// Things that are ours, for calls to act on.
struct Stage {
    vpc: Vpc,
    group: String,
    spare_group: String,
    endpoint: String,
    spare_endpoint: String,
    region: String,
    number: usize,
}

impl Stage {
    async fn set(bench: &Bench, number: usize) -> Result<Self> {
        let region = bench.scope.region.to_string();
        let vpc = world::vpc(&bench.standin, ACCOUNT, &region, &format!("10.{number}.0.0/16")).await?;
        let mut stage = Self {
            vpc,
            group: String::new(),
            spare_group: String::new(),
            endpoint: String::new(),
            spare_endpoint: String::new(),
            region,
            number,
        };
        for name in ["first", "spare"] {
            let made = bench.write(stage.create_group(name)).await.map_err(|fault| anyhow::anyhow!("{fault}"))?;
            let Written::Group(id) = made else { bail!("{made:?}") };
            stage.group = std::mem::replace(&mut stage.spare_group, id.to_string());
        }
        for service in ["ssm", "ssmmessages"] {
            let made = bench.write(stage.create(service, service)).await.map_err(|fault| anyhow::anyhow!("{fault}"))?;
            let Written::Endpoint(id) = made else { bail!("{made:?}") };
            stage.endpoint = std::mem::replace(&mut stage.spare_endpoint, id.to_string());
        }
        bench.set_account(number).await?;
        Ok(stage)
    }

    fn token(&self, what: &str) -> String {
        format!("{what}-{}", self.number)
    }

    fn tags() -> Tags {
        [(CLUSTER_TAG.to_owned(), "test".to_owned()), (OWNER_TAG.to_owned(), "VpcPosture/a/b".to_owned())].into()
    }

    fn create_group(&self, name: &str) -> Write {
        Write::CreateSecurityGroup {
            vpc: self.vpc.id.as_str().into(),
            name: name.to_owned(),
            description: "x".to_owned(),
            tags: Self::tags(),
        }
    }

    fn create(&self, service: &str, token: &str) -> Write {
        let group = if self.group.is_empty() { &self.spare_group } else { &self.group };
        Write::CreateEndpoint(Box::new(NewEndpoint {
            vpc: self.vpc.id.as_str().into(),
            service_name: format!("com.amazonaws.{}.{service}", self.region),
            kind: EndpointType::Interface,
            subnets: [self.vpc.subnets[0].as_str().into()].into(),
            groups: [group.as_str().into()].into(),
            route_tables: Default::default(),
            private_dns: false,
            ip_address_type: None,
            inbound_resolver_only: None,
            tags: Self::tags(),
            client_token: format!("{token}-{}", self.number),
        }))
    }
}

/// Each action in turn is taken away from the role: its call, and with it what rests on it, is denied, and the reason
/// and its message name it.
#[tokio::test]
async fn each_action_is_needed_and_missed_by_its_name() -> Result<()> {
    let mut bench = Bench::start(REGION).await?;
    let mut taken = BTreeSet::new();
    for (number, operation) in Operation::ALL.iter().enumerate() {
        let action = operation.iam_action();
        ensure!(!bench.without("none").await?, "none is an action");
        bench.anew();
        let stage = Stage::set(&bench, number).await?;
        // The cluster's rule that is revoked, so that it can be.
        if *operation == Operation::RevokeSecurityGroupIngress {
            bench.call(Operation::AuthorizeSecurityGroupIngress, &stage).await.map_err(|f| anyhow::anyhow!("{f}"))?;
        }
        if operation.purpose() == Purpose::Identity {
            continue;
        }
        ensure!(bench.without(&action).await?, "{action} is in no policy");
        taken.insert(action.clone());
        let fault = bench.call(*operation, &stage).await.err().with_context(|| format!("{action} is not needed"))?;
        let (reason, message) = explain(&fault, None);
        let wanted = if *operation == Operation::ModifyVpcAttribute {
            Reason::DnsAttributesDenied
        } else {
            Reason::PermissionDenied
        };
        ensure!(reason == wanted && message.contains(&action), "{action}: {reason:?}: {message}");
        // Without it the tags of a creation are denied, and the creation with them.
        if *operation == Operation::CreateTags {
            for creation in [Operation::CreateVpcEndpoint, Operation::CreateSecurityGroup] {
                let fault = bench.call(creation, &stage).await.err().context("a creation without tags")?;
                let (_, message) = explain(&fault, None);
                ensure!(message.contains(&action) && message.contains(creation.name()), "{message}");
            }
        }
        if *operation == Operation::TagResource {
            let fault = bench.call(Operation::PutRule, &stage).await.err().context("a rule without tags")?;
            let (_, message) = explain(&fault, None);
            ensure!(message.contains(&action) && message.contains("PutRule"), "{message}");
        }
        // Given back, it works.
        bench.without("none").await?;
        bench.call(*operation, &stage).await.map_err(|fault| anyhow::anyhow!("{action}: {fault}"))?;
    }
    // Handing a role on takes an action that is no call.
    ensure!(bench.without(PASS_ROLE).await?, "{PASS_ROLE} is in no policy");
    taken.insert(PASS_ROLE.to_owned());
    let hands_on =
        [Operation::UpdateServiceSetting, Operation::AddRoleToInstanceProfile, Operation::AssociateIamInstanceProfile];
    for (number, operation) in hands_on.iter().enumerate() {
        bench.without("none").await?;
        bench.anew();
        let stage = Stage::set(&bench, 200 + number).await?;
        bench.without(PASS_ROLE).await?;
        let fault =
            bench.call(*operation, &stage).await.err().with_context(|| format!("{operation} without {PASS_ROLE}"))?;
        let (_, message) = explain(&fault, None);
        ensure!(message.contains(PASS_ROLE) && message.contains(operation.name()), "{message}");
    }
    let all: BTreeSet<String> = bench
        .policies
        .iter()
        .flat_map(|(_, policy)| policy["Statement"].as_array().cloned().unwrap_or_default())
        .filter(|statement| statement["Effect"] == "Allow")
        .flat_map(|statement| match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            one => vec![one.clone()],
        })
        .filter_map(|action| action.as_str().map(str::to_owned))
        .collect();
    ensure!(taken == all, "not taken away: {:?}", all.difference(&taken).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn other_partitions_are_allowed_by_their_own_names() -> Result<()> {
    for region in ["cn-north-1", "us-gov-west-1"] {
        let bench = Bench::start(region).await?;
        ensure!(!bench.without("none").await?, "none is an action");
        let stage = Stage::set(&bench, 1).await?;
        for operation in Operation::ALL {
            let done = bench.call(*operation, &stage).await;
            done.map_err(|fault| anyhow::anyhow!("{region}: {operation}: {fault}"))?;
        }
        // The prefix that some services have in China.
        if region == "cn-north-1" {
            let Write::CreateEndpoint(mut new) = stage.create("ec2", "cn") else { bail!("no creation") };
            new.service_name = format!("cn.com.amazonaws.{region}.ec2");
            let done = bench.write(Write::CreateEndpoint(new)).await;
            done.map_err(|fault| anyhow::anyhow!("{fault}"))?;
        }
    }
    Ok(())
}

/// What the policies do not allow, tried with the role's own credentials.
#[tokio::test]
async fn nothing_of_anybody_else_is_touched() -> Result<()> {
    let bench = Bench::start(REGION).await?;
    let stage = Stage::set(&bench, 1).await?;
    let vpc = &stage.vpc;
    let theirs = [("GroupName", "theirs"), ("GroupDescription", "x"), ("VpcId", vpc.id.as_str())];
    let group = element(&bench.ec2("CreateSecurityGroup", &theirs).await?, "groupId").unwrap_or_default().to_owned();
    let service = format!("com.amazonaws.{REGION}.kms");
    let theirs = [
        ("VpcId", vpc.id.as_str()),
        ("ServiceName", &service),
        ("VpcEndpointType", "Interface"),
        ("SubnetId.1", &vpc.subnets[0]),
        ("SecurityGroupId.1", &group),
        ("PrivateDnsEnabled", "false"),
    ];
    let endpoint = bench.ec2("CreateVpcEndpoint", &theirs).await?;
    let endpoint = element(&endpoint, "vpcEndpointId").unwrap_or_default().to_owned();
    // Of another cluster at the same account.
    let tags = [("ResourceId.1", endpoint.as_str()), ("Tag.1.Key", CLUSTER_TAG), ("Tag.1.Value", "other")];
    bench.ec2("CreateTags", &tags).await?;
    let sessions = bench.standin.sessions().await?;
    let of =
        |role: &str| sessions.iter().find(|s| s.role.ends_with(role)).with_context(|| format!("no session of {role}"));
    let (spoke, hub) = (of(":role/ssm-ready")?, of(HUB_ROLE)?);
    let before = bench.standin.calls(0).await?.as_array().map_or(0, Vec::len);

    let name = |service: &str| format!("com.amazonaws.{REGION}.{service}");
    let specification =
        |kind: &str, cluster: &str| format!("ResourceType={kind},Tags=[{{Key={CLUSTER_TAG},Value={cluster}}}]");
    let create = |service: &str, group: &str, tags: &str| -> Vec<String> {
        [
            "ec2",
            "create-vpc-endpoint",
            "--vpc-endpoint-type",
            "Interface",
            "--no-private-dns-enabled",
            "--vpc-id",
            &vpc.id,
            "--subnet-ids",
            &vpc.subnets[0],
            "--service-name",
            &name(service),
            "--security-group-ids",
            group,
            "--tag-specifications",
            tags,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    let (ours_tags, other_tags) = (specification("vpc-endpoint", "test"), specification("vpc-endpoint", "other"));
    let rule = format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{AUDIT_RULE}");
    let refused: Vec<(&str, Vec<String>)> = vec![
        ("another service", create("sqs", &stage.group, &ours_tags)),
        ("another cluster's tag", create("logs", &stage.group, &other_tags)),
        ("a group that is not ours", create("logs", &group, &ours_tags)),
        (
            "an endpoint that is not ours",
            words(&format!("ec2 modify-vpc-endpoint --vpc-endpoint-id {endpoint} --private-dns-enabled")),
        ),
        ("an endpoint that is not ours", words(&format!("ec2 delete-vpc-endpoints --vpc-endpoint-ids {endpoint}"))),
        (
            "one of ours among theirs",
            words(&format!("ec2 delete-vpc-endpoints --vpc-endpoint-ids {} {endpoint}", stage.endpoint)),
        ),
        (
            "a group that is not ours",
            words(&format!(
                "ec2 authorize-security-group-ingress --group-id {group} --protocol tcp --port 443 --cidr 10.0.0.0/8"
            )),
        ),
        (
            "a group that is not ours",
            words(&format!("ec2 revoke-security-group-egress --group-id {group} --protocol all --cidr 0.0.0.0/0")),
        ),
        ("a group that is not ours", words(&format!("ec2 delete-security-group --group-id {group}"))),
        (
            "tagging what is there",
            words(&format!("ec2 create-tags --resources {endpoint} --tags Key={CLUSTER_TAG},Value=test")),
        ),
        ("tagging what is there", words(&format!("ec2 create-tags --resources {group} --tags Key=Team,Value=a"))),
        (
            "giving ours away",
            words(&format!("ec2 create-tags --resources {} --tags Key={CLUSTER_TAG},Value=other", stage.endpoint)),
        ),
        (
            "the cluster tag of ours",
            words(&format!("ec2 delete-tags --resources {} --tags Key={CLUSTER_TAG}", stage.endpoint)),
        ),
        ("the owner tag of theirs", words(&format!("ec2 delete-tags --resources {endpoint} --tags Key={OWNER_TAG}"))),
        ("other things with tags", words(&format!("ec2 create-tags --resources {} --tags Key=Team,Value=a", vpc.id))),
        (
            "another attribute",
            words(&format!("ec2 modify-vpc-attribute --vpc-id {} --enable-network-address-usage-metrics", vpc.id)),
        ),
        ("another action", words("ec2 create-vpc --cidr-block 10.99.0.0/16")),
        (
            "a rule that is not ours",
            words("events put-rule --name theirs --event-pattern {\"source\":[\"aws.ssm\"]} --state ENABLED"),
        ),
        ("a rule that is not ours", words("events put-targets --rule theirs --targets Id=a,Arn=arn:aws:sqs:::q")),
        ("a rule that is not ours", words("events delete-rule --name theirs")),
        (
            "our rule without our tags",
            words(&format!("events untag-resource --resource-arn {rule} --tag-keys {CLUSTER_TAG}")),
        ),
        ("trails", words("cloudtrail stop-logging --name all")),
        ("topics", words(&format!("sns publish --topic-arn {} --message x", bench.topic()))),
    ];
    let attempts = refused.iter().map(|(what, arguments)| {
        let standin = &bench.standin;
        async move { (*what, attempt(standin, spoke, arguments).await) }
    });
    // In order: each starts AWS's command line, of which a few at a time are enough.
    use futures::StreamExt as _;
    let outcomes: Vec<(&str, Result<Value>)> = futures::stream::iter(attempts).buffered(3).collect().await;
    for (what, outcome) in outcomes {
        let error = outcome.err().with_context(|| format!("{what} was allowed"))?.to_string();
        let denied = ["UnauthorizedOperation", "AccessDenied", "AuthorizationError"];
        let denied = denied.iter().any(|code| error.contains(code));
        ensure!(denied, "{what}: {error}");
    }
    // The hub takes on the roles of the prefix, with their external id, and no other; and does nothing else.
    let outside = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{HUB_ACCOUNT}:role/{HUB_ROLE}") }, "Action": "sts:AssumeRole",
    }] });
    for role in ["admin", "ssm-readyish"] {
        create_role(&bench.standin, ACCOUNT, REGION, role, &outside.to_string()).await?;
    }
    let assume = |role: &str, external: &str| {
        words(&format!(
            "sts assume-role --role-arn arn:aws:iam::{ACCOUNT}:role/{role} --role-session-name test{external}"
        ))
    };
    let external = format!(" --external-id {EXTERNAL_ID}");
    for (arguments, allowed) in [
        (assume("ssm-ready", &external), true),
        (assume("ssm-ready", ""), false),
        (assume("ssm-ready", " --external-id another-one"), false),
        (assume("admin", ""), false),
        (assume("ssm-readyish", ""), false),
        (words("ec2 describe-vpcs"), false),
    ] {
        let outcome = attempt(&bench.standin, hub, &arguments).await;
        ensure!(outcome.is_ok() == allowed, "{arguments:?}: {outcome:?}");
    }
    // And a role of the account, taken on by somebody else than the hub.
    let stranger = bench
        .standin
        .aws(
            HUB_ACCOUNT,
            REGION,
            &[
                "sts",
                "assume-role",
                "--role-arn",
                &format!("arn:aws:iam::{ACCOUNT}:role/ssm-ready"),
                "--role-session-name",
                "test",
                "--external-id",
                EXTERNAL_ID,
            ],
        )
        .await;
    ensure!(stranger.is_err(), "{stranger:?}");
    let after = bench.standin.calls(0).await?.as_array().map_or(0, Vec::len);
    ensure!(after > before + refused.len(), "not all attempts reached AWS");
    let still = bench.ec2("DescribeVpcEndpoints", &[]).await?;
    ensure!(still.matches("<vpcEndpointId>").count() == 3 && still.contains("other"), "{still}");
    Ok(())
}

async fn attempt(standin: &Standin, session: &Session, arguments: &[String]) -> Result<Value> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tried = standin.aws_as(session, REGION, &arguments);
    tokio::time::timeout(Duration::from_secs(60), tried).await.context("no answer")?
}
