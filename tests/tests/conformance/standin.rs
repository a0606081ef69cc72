//! The lab whose AWS is the stand-in, reached through the adapter to the SDK. One process serves all cases.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use ssm_ready_cloud::{AwsCloud, Cloud, Unobserved};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        IngressRule, RuleSource, Tags,
        audit::{AUDIT_RULE, Comparison, Selector},
        settings::Setting,
    },
    ids::{
        AccountId, BucketName, EndpointId, InstanceId, PolicyArn, Region, RoleArn, RouteTableId, SecurityGroupId,
        SubnetId, VpcId,
    },
};
use ssm_ready_tests::{
    Flavour, HUB_ACCOUNT, Standin,
    standin::{element, root_access_key},
};
use tokio::sync::OnceCell;

use crate::lab::{
    Casing, DELETING, Decree, EXTERNAL_ID, Families, KeyUse, LISTED, Lab, Launch, Life, NewTrail, Node, PENDING, Ping,
    Place, REGION, Rule, RuleDeed, Weather,
};

/// The stand-in, and the places of one case.
#[derive(Debug)]
pub struct StandinLab {
    standin: &'static Standin,
    accounts: Mutex<Vec<AccountId>>,
    faults: Mutex<Vec<(AccountId, u64)>>,
    nodes: Mutex<Nodes>,
}

/// The lab of one case.
pub async fn open() -> Result<StandinLab> {
    // It ends with the process.
    static STANDIN: OnceCell<Standin> = OnceCell::const_new();
    let standin = STANDIN.get_or_try_init(|| Standin::start(Flavour::Extended)).await?;
    Ok(StandinLab { standin, accounts: Mutex::default(), faults: Mutex::default(), nodes: Mutex::default() })
}

impl StandinLab {
    async fn query(&self, at: &Place, service: &str, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        self.standin.query(at.account.as_str(), at.region.as_str(), service, action, parameters).await
    }

    /// What the account's root does by AWS's command line, for services that have another protocol.
    async fn aws(&self, at: &Place, arguments: &[&str]) -> Result<Value> {
        self.standin.aws(at.account.as_str(), at.region.as_str(), arguments).await
    }

    async fn ec2(&self, at: &Place, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        self.query(at, "ec2", action, parameters).await
    }

    /// Makes something, and reads its id.
    async fn made<T: From<String>>(
        &self,
        at: &Place,
        action: &str,
        id: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T> {
        let answer = self.ec2(at, action, parameters).await?;
        let id = element(&answer, id).with_context(|| format!("no {id} in {answer}"))?;
        Ok(id.to_owned().into())
    }

    async fn set(&self, at: &Place, settings: Value) -> Result<Value> {
        self.standin.post(&format!("accounts/{}/settings", at.account), &settings).await
    }

    /// Tells the stand-in of one thing in a place.
    async fn tell(&self, path: String, at: &Place, what: Value) -> Result<()> {
        let mut body = json!({ "account": at.account, "region": at.region });
        if let (Some(body), Value::Object(what)) = (body.as_object_mut(), what) {
            body.extend(what);
        }
        self.standin.post(&path, &body).await.map(drop)
    }

    async fn tag(&self, at: &Place, resource: &str, tags: &Tags) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        let mut list = List::of("ResourceId", &[resource]);
        for (number, (key, value)) in tags.iter().enumerate() {
            list.add(format!("Tag.{}.Key", number + 1), key);
            list.add(format!("Tag.{}.Value", number + 1), value);
        }
        self.ec2(at, "CreateTags", &list.pairs()).await.map(drop)
    }

    async fn add_node(&self, at: &Place, id: &str, kind: &str, node: Node) -> Result<()> {
        let ping = match node.ping {
            Ping::Online => "Online",
            Ping::ConnectionLost => "ConnectionLost",
        };
        let node = json!({ "InstanceId": id, "PingStatus": ping, "AgentVersion": node.agent, "ResourceType": kind });
        let all = {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let of_place = nodes.entry((at.account.clone(), at.region.clone())).or_default();
            of_place.push(node);
            of_place.clone()
        };
        self.tell("ssm-instances".to_owned(), at, json!({ "instances": all })).await
    }

    async fn set_attribute(&self, at: &Place, vpc: &str, attribute: &str, on: bool) -> Result<()> {
        let attribute = format!("{attribute}.Value");
        let value = if on { "true" } else { "false" };
        self.ec2(at, "ModifyVpcAttribute", &[("VpcId", vpc), (&attribute, value)]).await.map(drop)
    }
}

/// Nodes by place, as the stand-in is told of all of a place at once.
type Nodes = BTreeMap<(AccountId, Region), Vec<Value>>;

/// Parameters with names that are made up.
#[derive(Default)]
struct List(Vec<(String, String)>);

impl List {
    fn of(name: &str, values: &[&str]) -> Self {
        let mut list = Self::default();
        for (number, value) in values.iter().enumerate() {
            list.add(format!("{name}.{}", number + 1), *value);
        }
        list
    }

    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

#[async_trait]
impl Lab for StandinLab {
    fn cloud(&self) -> Arc<dyn Cloud> {
        let key = root_access_key(HUB_ACCOUNT);
        Arc::new(AwsCloud::at_endpoint(self.standin.url(), &key, "secret", Arc::new(Unobserved)))
    }

    async fn cloud_after(&self, _: Duration) -> Arc<dyn Cloud> {
        // A new controller counts anew, and the stand-in does not count.
        self.cloud()
    }

    async fn pass_time(&self, span: Duration) -> Result<()> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for account in accounts {
            let path = format!("accounts/{account}/skip");
            self.standin.post(&path, &json!({ "seconds": span.as_secs_f64() })).await?;
        }
        Ok(())
    }

    async fn place(&self) -> Result<Place> {
        static NEXT: AtomicU64 = AtomicU64::new(100_000_000_001);
        let account: AccountId = NEXT.fetch_add(1, Ordering::Relaxed).to_string().parse()?;
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).push(account.clone());
        let role = format!("arn:aws:iam::{account}:role/ssm-ready").parse()?;
        let at = Place { account, region: REGION.parse()?, role };
        self.role(&at, "ssm-ready", Some(EXTERNAL_ID), None).await?;
        self.rule(&at, Rule::Lives { pending: PENDING, deleting: DELETING, listed: LISTED }).await?;
        Ok(at)
    }

    async fn role(
        &self,
        at: &Place,
        name: &str,
        external_id: Option<&str>,
        trusts: Option<&RoleArn>,
    ) -> Result<RoleArn> {
        let hub = format!("arn:aws:iam::{HUB_ACCOUNT}:root");
        let mut statement = json!({
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": { "AWS": trusts.map_or(hub.as_str(), RoleArn::as_str) },
        });
        if let Some(id) = external_id {
            statement["Condition"] = json!({ "StringEquals": { "sts:ExternalId": id } });
        }
        let trust = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let parameters = [("RoleName", name), ("AssumeRolePolicyDocument", trust.as_str())];
        let answer = self.query(at, "iam", "CreateRole", &parameters).await?;
        Ok(element(&answer, "Arn").with_context(|| format!("no Arn in {answer}"))?.parse()?)
    }

    async fn rule(&self, at: &Place, rule: Rule) -> Result<()> {
        let region = &at.region;
        let settings = match rule {
            Rule::Lives { pending, deleting, listed } => json!({
                "endpoint_pending_seconds": pending.as_secs_f64(),
                "endpoint_deleting_seconds": deleting.as_secs_f64(),
                "endpoint_deleted_seconds": listed.as_secs_f64(),
            }),
            Rule::VisibleAfter(span) => json!({
                "endpoint_visibility_delay_seconds": span.as_secs_f64(),
                "group_visibility_delay_seconds": span.as_secs_f64(),
                "iam_visibility_delay_seconds": span.as_secs_f64(),
            }),
            Rule::Outcome { service, state } => {
                let error = json!({ "code": "OutOfOrder", "message": "The service could not be connected." });
                json!({ "endpoint_outcomes": { service: { "state": lower(state), "last_error": error } } })
            }
            Rule::Quota { interface, gateway } => {
                json!({ "endpoint_quota": { "interface": interface, "gateway": gateway } })
            }
            Rule::PageSize(size) => json!({ "page_cap": size }),
            Rule::Casing(casing) => {
                json!({ "state_casing": if casing == Casing::Lower { "lower" } else { "pascal" } })
            }
            Rule::Missing(service) => json!({ "services_missing": { region.as_str(): [service] } }),
            Rule::Zones { service, zones } => {
                let names: Vec<String> = zones.iter().map(|zone| format!("{region}{zone}")).collect();
                json!({ "service_zones": { format!("{region}/{service}"): names } })
            }
            Rule::MissingSetting(setting) => json!({ "service_settings_missing": { region.as_str(): [setting.id()] } }),
            Rule::DocumentTakes(span) => json!({ "document_pending_seconds": span.as_secs_f64() }),
            Rule::DocumentVersions(most) => json!({ "document_version_quota": most }),
            Rule::RolePolicies(most) => json!({ "role_policy_quota": most }),
            Rule::TokenBuckets => json!({ "buckets": true }),
            Rule::RegionDisabled => json!({ "disabled_regions": [[at.account, region]] }),
        };
        self.set(at, settings).await.map(drop)
    }

    async fn weather(&self, at: &Place, operation: Operation, weather: Weather) -> Result<()> {
        let mut fault = match weather {
            Weather::Denied => json!({ "effect": "denied" }),
            Weather::Throttled => json!({ "effect": "throttle" }),
            Weather::ServerError => json!({ "effect": "http500" }),
            Weather::LostRequest => json!({ "effect": "lost-before" }),
            Weather::LostAnswer => json!({ "effect": "lost" }),
            Weather::Unsuccessful => json!({ "effect": "unsuccessful", "code": "InternalError" }),
        };
        fault["service"] = operation.service().into();
        fault["action"] = operation.name().into();
        fault["account"] = at.account.as_str().into();
        let id = self.standin.fault(&fault).await?;
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push((at.account.clone(), id));
        Ok(())
    }

    async fn end_sessions(&self, at: &Place, _: Operation) -> Result<()> {
        self.standin.post("sessions/expire", &json!({ "account": at.account })).await.map(drop)
    }

    async fn clear_weather(&self, at: &Place) -> Result<()> {
        let mut ended = Vec::new();
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).retain(|(account, id)| {
            let ends = *account == at.account;
            if ends {
                ended.push(*id);
            }
            !ends
        });
        for id in ended {
            self.standin.delete(&format!("faults/{id}")).await?;
        }
        Ok(())
    }

    async fn calls(&self, at: &Place) -> Result<Vec<String>> {
        let calls = self.standin.calls(0).await?;
        let of_the_controller = calls
            .as_array()
            .into_iter()
            .flatten()
            .filter(|call| call["account"] == at.account.as_str() && !call["role"].is_null())
            .filter_map(|call| call["action"].as_str().map(str::to_owned));
        Ok(of_the_controller.collect())
    }

    async fn vpc(&self, at: &Place, cidrs: &[&str], v6: bool, dns: [bool; 2]) -> Result<VpcId> {
        let (first, more) = cidrs.split_first().context("a VPC has a CIDR")?;
        let v6 = if v6 { "true" } else { "false" };
        let parameters = [("CidrBlock", *first), ("AmazonProvidedIpv6CidrBlock", v6)];
        let vpc: String = self.made(at, "CreateVpc", "vpcId", &parameters).await?;
        for cidr in more {
            self.ec2(at, "AssociateVpcCidrBlock", &[("VpcId", &vpc), ("CidrBlock", cidr)]).await?;
        }
        for (attribute, on) in ["EnableDnsSupport", "EnableDnsHostnames"].into_iter().zip(dns) {
            self.set_attribute(at, &vpc, attribute, on).await?;
        }
        Ok(vpc.into())
    }

    async fn subnet(
        &self,
        at: &Place,
        vpc: &VpcId,
        zone: &str,
        cidr: &str,
        families: Families,
        tags: &Tags,
    ) -> Result<SubnetId> {
        let zone = format!("{}{zone}", at.region);
        let mut list = List::default();
        list.add("VpcId", vpc.as_str());
        list.add("AvailabilityZone", zone);
        if families != Families::V6 {
            list.add("CidrBlock", cidr);
        }
        if families != Families::V4 {
            let vpcs = self.ec2(at, "DescribeVpcs", &[("VpcId.1", vpc.as_str())]).await?;
            let block = element(&vpcs, "ipv6CidrBlock").with_context(|| format!("no IPv6 in {vpcs}"))?;
            list.add("Ipv6CidrBlock", block.replace("/56", "/64"));
        }
        if families == Families::V6 {
            list.add("Ipv6Native", "true");
        }
        let subnet: SubnetId = self.made(at, "CreateSubnet", "subnetId", &list.pairs()).await?;
        self.tag(at, subnet.as_str(), tags).await?;
        Ok(subnet)
    }

    async fn free_addresses(&self, at: &Place, subnet: &SubnetId, count: i64) -> Result<()> {
        self.tell(format!("subnets/{subnet}"), at, json!({ "available_ip_address_count": count })).await
    }

    async fn route_table(&self, at: &Place, vpc: &VpcId, subnets: &[&SubnetId], tags: &Tags) -> Result<RouteTableId> {
        let parameters = [("VpcId", vpc.as_str())];
        let table: RouteTableId = self.made(at, "CreateRouteTable", "routeTableId", &parameters).await?;
        for subnet in subnets {
            let parameters = [("RouteTableId", table.as_str()), ("SubnetId", subnet.as_str())];
            self.ec2(at, "AssociateRouteTable", &parameters).await?;
        }
        self.tag(at, table.as_str(), tags).await?;
        Ok(table)
    }

    async fn group(
        &self,
        at: &Place,
        vpc: &VpcId,
        name: &str,
        rules: &[IngressRule],
        tags: &Tags,
    ) -> Result<SecurityGroupId> {
        let parameters = [("VpcId", vpc.as_str()), ("GroupName", name), ("GroupDescription", name)];
        let group: SecurityGroupId = self.made(at, "CreateSecurityGroup", "groupId", &parameters).await?;
        let mut list = List::default();
        list.add("GroupId", group.as_str());
        for (number, rule) in rules.iter().enumerate() {
            let permission = format!("IpPermissions.{}", number + 1);
            list.add(format!("{permission}.IpProtocol"), &rule.protocol);
            if let Some((from, to)) = rule.ports {
                list.add(format!("{permission}.FromPort"), from.to_string());
                list.add(format!("{permission}.ToPort"), to.to_string());
            }
            let (entry, field) = match rule.source {
                RuleSource::Cidr(ipnet::IpNet::V4(_)) => ("IpRanges", "CidrIp"),
                RuleSource::Cidr(ipnet::IpNet::V6(_)) => ("Ipv6Ranges", "CidrIpv6"),
                RuleSource::Group(_) => ("Groups", "GroupId"),
                RuleSource::PrefixList(_) => ("PrefixListIds", "PrefixListId"),
            };
            list.add(format!("{permission}.{entry}.1.{field}"), rule.source.to_string());
            if let Some(description) = &rule.description {
                list.add(format!("{permission}.{entry}.1.Description"), description);
            }
        }
        if !rules.is_empty() {
            self.ec2(at, "AuthorizeSecurityGroupIngress", &list.pairs()).await?;
        }
        self.tag(at, group.as_str(), tags).await?;
        Ok(group)
    }

    async fn instance(&self, at: &Place, subnet: &SubnetId, life: Life, node: Option<Node>) -> Result<InstanceId> {
        let parameters =
            [("ImageId", "ami-12345678"), ("MinCount", "1"), ("MaxCount", "1"), ("SubnetId", subnet.as_str())];
        let instance: InstanceId = self.made(at, "RunInstances", "instanceId", &parameters).await?;
        if let Some(node) = node {
            self.add_node(at, instance.as_str(), "EC2Instance", node).await?;
        }
        let end = match life {
            Life::Running => return Ok(instance),
            Life::Stopped => "StopInstances",
            Life::Terminated => "TerminateInstances",
        };
        self.ec2(at, end, &[("InstanceId.1", instance.as_str())]).await?;
        Ok(instance)
    }

    async fn hybrid_node(&self, at: &Place, node: Node) -> Result<()> {
        self.add_node(at, "mi-0123456789abcdef0", "ManagedInstance", node).await
    }

    async fn hosted_zone(&self, at: &Place, vpc: &VpcId, name: &str) -> Result<()> {
        self.tell(format!("vpcs/{vpc}"), at, json!({ "hosted_zones": [name] })).await
    }

    async fn share(&self, owner: &Place, vpc: &VpcId, with: &Place) -> Result<()> {
        // Each account has an EC2 of its own here: the participant gets a VPC and subnets of the same ids.
        let filter = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc.as_str())];
        let listed = self.ec2(owner, "DescribeSubnets", &filter).await?;
        let subnets: Vec<&str> = listed.split("<subnetId>").skip(1).filter_map(|s| s.split('<').next()).collect();
        let ids: Vec<&str> = [vpc.as_str()].into_iter().chain(subnets.iter().copied()).collect();
        // The account's default VPC takes none of the ids if it is there already.
        self.ec2(with, "DescribeVpcs", &[]).await?;
        self.set(with, json!({ "next_ids": ids })).await?;
        let copy = self.vpc(with, &["10.0.0.0/16"], false, [true; 2]).await?;
        anyhow::ensure!(copy == *vpc, "{copy} instead of {vpc}");
        for (number, zone) in ["a", "b", "c"].iter().take(subnets.len()).enumerate() {
            self.subnet(with, &copy, zone, &format!("10.0.{number}.0/24"), Families::V4, &Tags::new()).await?;
        }
        self.tell(format!("vpcs/{copy}"), with, json!({ "owner_id": owner.account })).await
    }

    async fn endpoint_state(&self, at: &Place, endpoint: &EndpointId, state: &str) -> Result<()> {
        self.tell(format!("endpoints/{endpoint}"), at, json!({ "state": lower(state) })).await
    }

    async fn launch(&self, at: &Place, subnet: &SubnetId, launch: Launch<'_>) -> Result<InstanceId> {
        let mut list = List::default();
        for (name, value) in
            [("ImageId", "ami-12345678"), ("MinCount", "1"), ("MaxCount", "1"), ("SubnetId", subnet.as_str())]
        {
            list.add(name, value);
        }
        if let Some(profile) = launch.profile {
            list.add("IamInstanceProfile.Name", profile.as_str());
        }
        for (name, value) in [("HttpTokens", launch.tokens), ("HttpEndpoint", launch.endpoint)] {
            if let Some(value) = value {
                list.add(format!("MetadataOptions.{name}"), value);
            }
        }
        self.made(at, "RunInstances", "instanceId", &list.pairs()).await
    }

    async fn foreign_setting(&self, at: &Place, setting: Setting, value: &str) -> Result<()> {
        let by = format!("arn:aws:iam::{}:user/somebody", at.account);
        let what = json!({ "id": setting.id(), "value": value, "modified_by": by });
        self.tell("service-settings".to_owned(), at, what).await
    }

    async fn decree(&self, at: &Place, (values, message): Decree<'_>) -> Result<()> {
        let values: BTreeMap<&str, Value> = values
            .iter()
            .map(|(field, value)| {
                // The hop limit is a number.
                let number = value.parse::<i32>().map(Value::from);
                (field.name(), number.unwrap_or_else(|_| Value::from(*value)))
            })
            .collect();
        let what = json!({ "values": values, "exception_message": message });
        self.tell("metadata-defaults".to_owned(), at, what).await
    }

    async fn policy(&self, at: &Place, name: &str) -> Result<PolicyArn> {
        let statement = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" });
        let text = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let parameters = [("PolicyName", name), ("PolicyDocument", text.as_str())];
        let answer = self.query(at, "iam", "CreatePolicy", &parameters).await?;
        Ok(element(&answer, "Arn").with_context(|| format!("no Arn in {answer}"))?.into())
    }

    async fn foreign_inline(&self, at: &Place, role: &str, name: &str, text: &str) -> Result<()> {
        let parameters = [("RoleName", role), ("PolicyName", name), ("PolicyDocument", text)];
        self.query(at, "iam", "PutRolePolicy", &parameters).await.map(drop)
    }

    async fn bucket(&self, at: &Place, name: &BucketName, by: Option<(&str, Option<&str>)>) -> Result<()> {
        let place = format!("LocationConstraint={}", at.region);
        let create = ["s3api", "create-bucket", "--bucket", name.as_str(), "--create-bucket-configuration", &place];
        self.aws(at, &create).await?;
        let Some((algorithm, key)) = by else { return Ok(()) };
        let mut default = json!({ "SSEAlgorithm": algorithm });
        if let Some(key) = key {
            default["KMSMasterKeyID"] = json!(key);
        }
        let rules = json!({ "Rules": [{ "ApplyServerSideEncryptionByDefault": default }] }).to_string();
        let put = ["s3api", "put-bucket-encryption", "--bucket", name.as_str()];
        self.aws(at, &[&put[..], &["--server-side-encryption-configuration", &rules]].concat()).await.map(drop)
    }

    async fn delete_bucket(&self, at: &Place, name: &BucketName) -> Result<()> {
        self.aws(at, &["s3api", "delete-bucket", "--bucket", name.as_str()]).await.map(drop)
    }

    async fn log_group(&self, at: &Place, name: &str, key: Option<&str>) -> Result<()> {
        let mut create = vec!["logs", "create-log-group", "--log-group-name", name];
        if let Some(key) = key {
            create.extend(["--kms-key-id", key]);
        }
        self.aws(at, &create).await.map(drop)
    }

    async fn delete_log_group(&self, at: &Place, name: &str) -> Result<()> {
        self.aws(at, &["logs", "delete-log-group", "--log-group-name", name]).await.map(drop)
    }

    async fn kms_key(&self, at: &Place, of: KeyUse) -> Result<String> {
        let mut create = vec!["kms", "create-key"];
        if of == KeyUse::Sign {
            create.extend(["--key-usage", "SIGN_VERIFY", "--key-spec", "RSA_2048"]);
        }
        let made = self.aws(at, &create).await?;
        Ok(made["KeyMetadata"]["Arn"].as_str().with_context(|| format!("no Arn in {made}"))?.to_owned())
    }

    async fn disable_key(&self, at: &Place, id: &str) -> Result<()> {
        self.aws(at, &["kms", "disable-key", "--key-id", id]).await.map(drop)
    }

    async fn delete_key(&self, at: &Place, id: &str) -> Result<()> {
        self.aws(at, &["kms", "schedule-key-deletion", "--key-id", id]).await.map(drop)
    }

    async fn requester_managed(&self, at: &Place, endpoint: &EndpointId) -> Result<()> {
        self.tell(format!("endpoints/{endpoint}"), at, json!({ "requester_managed": true })).await
    }

    async fn topic(&self, at: &Place, name: &str, policy: Option<&str>, key: Option<&str>) -> Result<String> {
        let answer = self.query(at, "sns", "CreateTopic", &[("Name", name)]).await?;
        let arn = element(&answer, "TopicArn").with_context(|| format!("no TopicArn in {answer}"))?.to_owned();
        for (attribute, value) in [("Policy", policy), ("KmsMasterKeyId", key)] {
            if let Some(value) = value {
                let parameters = [("TopicArn", arn.as_str()), ("AttributeName", attribute), ("AttributeValue", value)];
                self.query(at, "sns", "SetTopicAttributes", &parameters).await?;
            }
        }
        Ok(arn)
    }

    async fn trail(&self, at: &Place, trail: NewTrail<'_>) -> Result<String> {
        let NewTrail { name, home, multi_region, logging, selectors, organisation } = trail;
        let owner = organisation.unwrap_or(at);
        let aws = async |command: &str, arguments: &[&str]| {
            let all: Vec<&str> = ["cloudtrail", command].iter().chain(arguments).copied().collect();
            self.standin.aws(owner.account.as_str(), home, &all).await
        };
        let mut arguments = vec!["--name", name, "--s3-bucket-name", "trails"];
        if multi_region {
            arguments.push("--is-multi-region-trail");
        }
        if organisation.is_some() {
            arguments.push("--is-organization-trail");
            let organizations = json!({ at.account.as_str(): "o-1", owner.account.as_str(): "o-1" });
            self.set(at, json!({ "organizations": organizations })).await?;
        }
        let made = aws("create-trail", &arguments).await?;
        if logging {
            aws("start-logging", &["--name", name]).await?;
        }
        let of_kind = |advanced| -> Vec<Value> {
            let kind = |s: &&Selector| matches!(s, Selector::Advanced(_)) == advanced;
            selectors.iter().filter(kind).map(wire_selector).collect()
        };
        for (option, advanced) in [("--event-selectors", false), ("--advanced-event-selectors", true)] {
            let all = of_kind(advanced);
            if !all.is_empty() {
                aws("put-event-selectors", &["--trail-name", name, option, &Value::from(all).to_string()]).await?;
            }
        }
        Ok(made["TrailARN"].as_str().with_context(|| format!("no TrailARN in {made}"))?.to_owned())
    }

    async fn foreign_rule(&self, at: &Place, deed: RuleDeed<'_>) -> Result<()> {
        let (command, target);
        let arguments: &[&str] = match deed {
            RuleDeed::Disable => &["events", "disable-rule", "--name", AUDIT_RULE],
            RuleDeed::Target { id, arn } => {
                target = json!([{ "Id": id, "Arn": arn, "Input": "{}" }]).to_string();
                command = ["events", "put-targets", "--rule", AUDIT_RULE, "--targets", target.as_str()];
                &command
            }
        };
        self.standin.aws(at.account.as_str(), at.region.as_str(), arguments).await.map(drop)
    }
}

/// `PendingAcceptance` as `pendingAcceptance`.
fn lower(state: &str) -> String {
    let mut letters = state.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

/// An event selector as the AWS command line takes it.
fn wire_selector(selector: &Selector) -> Value {
    match selector {
        Selector::Basic { management, read_write, excluded } => json!({
            "ReadWriteType": read_write, "IncludeManagementEvents": management, "ExcludeManagementEventSources": excluded,
        }),
        Selector::Advanced(fields) => {
            let field = |(name, comparisons): &(String, BTreeMap<Comparison, Vec<String>>)| {
                let mut wire = json!({ "Field": name });
                for (comparison, texts) in comparisons {
                    // Its name is that of the variant.
                    wire[format!("{comparison:?}")] = json!(texts);
                }
                wire
            };
            json!({ "Name": "of a case", "FieldSelectors": fields.iter().map(field).collect::<Vec<_>>() })
        }
    }
}
