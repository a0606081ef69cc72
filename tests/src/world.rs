//! What a test needs around a posture: accounts with roles, VPCs, and the objects that name them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use kube::{Client, ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

use crate::{HUB_ACCOUNT, Standin, apply_yaml};

/// The region of everything that a test makes, unless it says otherwise.
pub const REGION: &str = "eu-west-1";
/// The external id of every role that a test makes.
pub const EXTERNAL_ID: &str = "tenant-7f3c-secret";

/// The name of the role that the controller takes on.
pub const ROLE: &str = "ssm-ready";

/// A VPC in the stand-in.
#[derive(Debug, Clone)]
pub struct Vpc {
    /// Its id.
    pub id: String,
    /// A subnet in each of two zones.
    pub subnets: Vec<String>,
    /// Its main route table.
    pub main_table: String,
}

/// Makes the role that the controller takes on in an account: it trusts the hub account and wants the external id.
pub async fn role(standin: &Standin, account: &str, name: &str, external_id: &str) -> Result<()> {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": format!("arn:aws:iam::{HUB_ACCOUNT}:root") },
            "Action": "sts:AssumeRole",
            "Condition": { "StringEquals": { "sts:ExternalId": external_id } },
        }],
    });
    let trust = trust.to_string();
    let arguments = ["iam", "create-role", "--role-name", name, "--assume-role-policy-document", &trust];
    standin.aws(account, REGION, &arguments).await.context("create-role")?;
    Ok(())
}

/// Makes a VPC with two subnets and DNS attributes on.
pub async fn vpc(standin: &Standin, account: &str, region: &str, cidr: &str) -> Result<Vpc> {
    // Without the command line, since every test makes some.
    let made = standin.ec2(account, region, "CreateVpc", &[("CidrBlock", cidr)]).await?;
    let id = text_of(&made, "vpcId")?;
    for attribute in ["EnableDnsSupport.Value", "EnableDnsHostnames.Value"] {
        standin.ec2(account, region, "ModifyVpcAttribute", &[("VpcId", &id), (attribute, "true")]).await?;
    }
    let prefix = cidr.rsplitn(3, '.').last().unwrap_or(cidr).to_owned();
    let mut subnets = Vec::new();
    for (number, zone) in ["a", "b"].iter().enumerate() {
        let (cidr, zone) = (format!("{prefix}.{number}.0/24"), format!("{region}{zone}"));
        let wanted = [("VpcId", id.as_str()), ("CidrBlock", &cidr), ("AvailabilityZone", &zone)];
        subnets.push(text_of(&standin.ec2(account, region, "CreateSubnet", &wanted).await?, "subnetId")?);
    }
    let filter = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &id)];
    let tables = standin.ec2(account, region, "DescribeRouteTables", &filter).await?;
    Ok(Vpc { main_table: text_of(&tables, "routeTableId")?, id, subnets })
}

/// The account that the examples name.
pub const EXAMPLE_ACCOUNT: &str = "111122223333";

/// Makes the VPCs that the examples name, each with a private subnet in two zones.
pub async fn example_vpcs(standin: &Standin) -> Result<()> {
    for (region, id, cidr) in [
        (REGION, "vpc-0ffffffffffffff01", "10.0.0.0/16"),
        (REGION, "vpc-0a1b2c3d4e5f60718", "10.1.0.0/16"),
        ("eu-central-1", "vpc-0b2c3d4e5f6071829", "10.2.0.0/16"),
    ] {
        // The first call in a region makes its default VPC.
        standin.ec2(EXAMPLE_ACCOUNT, region, "DescribeVpcs", &[]).await?;
        let subnets = ["subnet-0a1b2c3d4e5f60718", "subnet-0b2c3d4e5f6071829"];
        let ids: Vec<&str> =
            std::iter::once(id).chain((region != REGION).then_some(subnets).into_iter().flatten()).collect();
        standin.settings(&json!({ "next_ids": ids })).await?;
        let vpc = vpc(standin, EXAMPLE_ACCOUNT, region, cidr).await?;
        ensure!(vpc.id == id, "{} instead of {id}", vpc.id);
        for resource in vpc.subnets.iter().chain([&vpc.main_table]) {
            let tags = [("ResourceId.1", resource.as_str()), ("Tag.1.Key", "Tier"), ("Tag.1.Value", "private")];
            standin.ec2(EXAMPLE_ACCOUNT, region, "CreateTags", &tags).await?;
        }
    }
    Ok(())
}

/// The text of the first element of that name.
fn text_of(xml: &str, element: &str) -> Result<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let found = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    Ok(found.with_context(|| format!("no {element} in {xml}"))?.0.to_owned())
}

/// The endpoints of a VPC that are not deleted, by the short name of their service.
pub async fn endpoints(standin: &Standin, account: &str, region: &str, vpc: &str) -> Result<BTreeMap<String, Value>> {
    let filter = format!("Name=vpc-id,Values={vpc}");
    let answer = standin.aws(account, region, &["ec2", "describe-vpc-endpoints", "--filters", &filter]).await?;
    let mut found = BTreeMap::new();
    for endpoint in answer["VpcEndpoints"].as_array().into_iter().flatten() {
        let state = endpoint["State"].as_str().unwrap_or_default().to_lowercase();
        if state == "deleted" || state == "deleting" {
            continue;
        }
        let service = endpoint["ServiceName"].as_str().unwrap_or_default();
        let short = service.rsplit('.').next().unwrap_or_default().to_owned();
        let earlier = found.insert(short.clone(), endpoint.clone());
        ensure!(earlier.is_none(), "two endpoints for {short} in {vpc}: {answer}");
    }
    Ok(found)
}

/// Applies an account object that lets `namespaces` use it.
pub async fn account(client: &Client, name: &str, account: &str, namespaces: &[&str]) -> Result<DynamicObject> {
    account_with(client, name, account, namespaces, "Enforce", EXTERNAL_ID).await
}

/// The same with a mode ceiling and an external id.
pub async fn account_with(
    client: &Client,
    name: &str,
    account: &str,
    namespaces: &[&str],
    max_mode: &str,
    external_id: &str,
) -> Result<DynamicObject> {
    let object = json!({
        "apiVersion": "ssmready.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": { "name": name },
        "spec": {
            "accountId": account,
            "assumeRole": { "roleArn": format!("arn:aws:iam::{account}:role/{ROLE}"), "externalId": external_id },
            "access": [{
                "name": "tests",
                "namespaces": { "from": "Names", "names": namespaces },
                "kinds": ["AccountPosture", "RegionPosture", "VpcPosture"],
                "maxMode": max_mode,
            }],
            "guardrails": { "apiSharePercent": 100 },
        },
    });
    one(client, &object).await
}

/// Applies a posture; `spec` is merged over the target.
pub async fn posture(
    client: &Client,
    namespace: &str,
    name: &str,
    account: &str,
    vpc: &str,
    spec: Value,
) -> Result<DynamicObject> {
    let mut whole =
        json!({ "target": { "accountRef": { "name": account }, "region": REGION, "vpcId": vpc }, "interval": "1m" });
    merge(&mut whole, spec);
    let object = json!({
        "apiVersion": "ssmready.dev/v1alpha1",
        "kind": "VpcPosture",
        "metadata": { "namespace": namespace, "name": name },
        "spec": whole,
    });
    one(client, &object).await
}

/// Makes a namespace.
pub async fn namespace(client: &Client, name: &str) -> Result<()> {
    one(client, &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })).await.map(drop)
}

async fn one(client: &Client, object: &Value) -> Result<DynamicObject> {
    let mut applied = apply_yaml(client, &object.to_string()).await?;
    applied.pop().context("nothing applied")
}

/// Merges one object into another, member by member.
pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The conditions of an object, for messages.
#[must_use]
pub fn conditions(object: &DynamicObject) -> String {
    let list = object.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = list.iter().map(|c| format!("{}={} {}: {}", c["type"], c["status"], c["reason"], c["message"]));
    format!("{}: {}", object.name_any(), text.collect::<Vec<_>>().join("; "))
}
