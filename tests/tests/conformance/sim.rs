//! The lab whose AWS is the simulator. Each case has a world of its own, and all its time is virtual.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::json;
use ssm_ready_cloud::{
    Cloud,
    sim::{
        Actor, HostedZone, Injected, NewInstance, NewSubnet, NewVpc, Offer, Open, OutcomeRule, Planned, Record, Sim,
        SimBucket, SimKey, SimTrail, World,
    },
};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        EndpointState, IngressRule, RuleSource, Tags,
        audit::Topic,
        settings::Setting,
        targets::{BucketEncryption, LogGroup},
    },
    ids::{
        AccountId, BucketName, EndpointId, InstanceId, PolicyArn, Region, RoleArn, RouteTableId, SecurityGroupId,
        SubnetId, VpcId,
    },
    write::{Write, Written},
};
use tokio::time::Instant;

use crate::lab::{
    DELETING, Decree, ELSEWHERE, EXTERNAL_ID, Families, KeyUse, LISTED, Lab, Launch, Life, NewTrail, Node, PENDING,
    Ping, Place, REGION, Rule, RuleDeed, Weather,
};

/// What the cases have on their stages beside what the simulator makes by itself.
const OUTSIDE: &str = "2001:db8:1234::/56";
/// Long enough for an agent to count as lost.
const SILENT: Duration = Duration::from_secs(3600);

/// One simulated AWS.
#[derive(Debug)]
pub struct SimLab {
    sim: Sim,
    accounts: AtomicU64,
    keys: AtomicU64,
}

/// The lab of one case. Its time is that of the runtime, which is to be a paused one.
pub async fn open() -> Result<SimLab> {
    let began: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    let started = Instant::now();
    let clock = move || began.checked_add(started.elapsed()).unwrap_or(Timestamp::MAX);
    let sim = Sim::new(Arc::new(clock), 1);
    // A call that names what is not listed yet is always told so.
    sim.with(|world| world.weather.fresh_not_found = 1.0);
    sim.with(|world| {
        // Nobody says how long these take, so no case may rest on it.
        world.weather.gateway_takes = (PENDING / 2).into();
        world.weather.modify_pending_for = (PENDING / 2).into();
        world.weather.document_takes = Duration::ZERO.into();
    });
    Ok(SimLab { sim, accounts: AtomicU64::new(100_000_000_001), keys: AtomicU64::new(0) })
}

impl SimLab {
    /// Changes one thing past all of AWS's rules.
    fn set<T>(&self, what: impl FnOnce(&mut World) -> Option<T>) -> Result<T> {
        self.sim.with(what).context("it is not there")
    }

    /// A write of a person.
    fn act(&self, at: &Place, write: &Write) -> Result<Written> {
        Ok(self.sim.with(|world| world.act(&Actor::Person, &at.account, &at.region, write))?)
    }

    fn set_tags(&self, at: &Place, id: &str, tags: &Tags) -> Result<()> {
        if !tags.is_empty() {
            self.act(at, &Write::Tag { resources: [id.to_owned()].into(), tags: tags.clone() })?;
        }
        Ok(())
    }
}

/// A record's truth.
fn truth<T>(record: &mut Record<T>) -> &mut T {
    &mut record.value
}

#[async_trait]
impl Lab for SimLab {
    fn cloud(&self) -> Arc<dyn Cloud> {
        Arc::new(self.sim.cloud(Arc::new(Open)))
    }

    async fn cloud_after(&self, wait: Duration) -> Arc<dyn Cloud> {
        // AWS's own buckets are in the world, and fill up with its time.
        tokio::time::sleep(wait).await;
        self.cloud()
    }

    async fn pass_time(&self, span: Duration) -> Result<()> {
        tokio::time::sleep(span).await;
        self.sim.with(|_| ());
        Ok(())
    }

    async fn place(&self) -> Result<Place> {
        let account: AccountId = self.accounts.fetch_add(1, Ordering::Relaxed).to_string().parse()?;
        let region: Region = REGION.parse()?;
        for region in [region.clone(), ELSEWHERE.parse()?] {
            self.sim.with(|world| {
                world.add_region(&account, &region, Offer::default());
            });
        }
        let role = format!("arn:aws:iam::{account}:role/ssm-ready").parse()?;
        let at = Place { account, region, role };
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
        let arn = format!("arn:aws:iam::{}:role/{name}", at.account);
        self.sim.with(|world| {
            let role = world.add_role(&at.account, &arn, external_id);
            role.trusts = trusts.map(|trusted| [trusted.to_string()].into());
        });
        Ok(arn.parse()?)
    }

    async fn rule(&self, at: &Place, rule: Rule) -> Result<()> {
        self.sim.with(|world| {
            let (account, region) = (&at.account, &at.region);
            match rule {
                Rule::Lives { pending, deleting, listed } => {
                    world.weather.pending_for = pending.into();
                    world.weather.deleting_for = deleting.into();
                    world.weather.deleted_for = listed.into();
                }
                Rule::VisibleAfter(span) => world.weather.visible_after = span.into(),
                Rule::Outcome { service, state } => world.weather.outcomes.push(OutcomeRule {
                    service: service.to_owned(),
                    state: EndpointState::parse(state),
                    chance: 1.0,
                    times: None,
                }),
                Rule::Quota { interface, gateway } => {
                    let quotas = &mut world.region_mut(account, region).quotas;
                    quotas.interface_endpoints_per_vpc = interface;
                    quotas.gateway_endpoints = gateway;
                }
                // At the port there are neither pages nor spellings, and calls are always counted.
                Rule::PageSize(_) | Rule::Casing(_) | Rule::TokenBuckets => {}
                Rule::Missing(service) => {
                    let end = format!(".{service}");
                    world.region_mut(account, region).services.retain(|(name, _), _| !name.ends_with(&end));
                }
                Rule::Zones { service, zones } => {
                    let end = format!(".{service}");
                    let services = world.region_mut(account, region).services.values_mut();
                    for service in services.filter(|service| service.fact.name.ends_with(&end)) {
                        service.fact.zones = zones.iter().map(|zone| format!("{region}{zone}")).collect();
                    }
                }
                Rule::MissingSetting(setting) => world.set_provisioned(account, region, setting, false),
                Rule::DocumentTakes(span) => world.weather.document_takes = span.into(),
                Rule::DocumentVersions(most) => world.region_mut(account, region).quotas.document_versions = most,
                Rule::RolePolicies(most) => world.iam_mut(account).quotas.policies_per_role = most,
                Rule::RegionDisabled => {
                    world.add_region(account, region, Offer::default());
                    world.add_account(account).disabled_regions.insert(region.clone());
                }
            }
        });
        Ok(())
    }

    async fn weather(&self, at: &Place, operation: Operation, weather: Weather) -> Result<()> {
        self.sim.with(|world| {
            if weather == Weather::Denied {
                for role in world.add_account(&at.account).roles.values_mut() {
                    role.denied.insert(operation);
                }
                return;
            }
            let here = &mut world.weather;
            here.only.get_or_insert_default().insert(operation);
            *match weather {
                Weather::Throttled => &mut here.throttle,
                Weather::ServerError => &mut here.internal_error,
                Weather::LostRequest => &mut here.lost_request,
                Weather::LostAnswer => &mut here.lost_answer,
                Weather::Unsuccessful | Weather::Denied => &mut here.unsuccessful,
            } = 1.0;
        });
        Ok(())
    }

    async fn end_sessions(&self, _: &Place, operation: Operation) -> Result<()> {
        self.sim.with(|world| world.weather.planned.push(Planned { operation, what: Injected::Expired }));
        Ok(())
    }

    async fn clear_weather(&self, at: &Place) -> Result<()> {
        self.sim.with(|world| {
            for role in world.add_account(&at.account).roles.values_mut() {
                role.denied.clear();
            }
            let here = &mut world.weather;
            here.only = None;
            for odds in [
                &mut here.throttle,
                &mut here.internal_error,
                &mut here.lost_request,
                &mut here.lost_answer,
                &mut here.unsuccessful,
            ] {
                *odds = 0.0;
            }
        });
        Ok(())
    }

    async fn calls(&self, at: &Place) -> Result<Vec<String>> {
        Ok(self.sim.with(|world| {
            let of_place = world.journal.iter().filter(|entry| {
                entry.account == at.account
                    && matches!(entry.actor, Actor::Controller(_))
                    // It is made in the session before, and entered under the account of the role.
                    && entry.operation != Some(Operation::AssumeRole)
            });
            of_place.map(|entry| entry.call.to_owned()).collect()
        }))
    }

    async fn vpc(&self, at: &Place, cidrs: &[&str], v6: bool, dns: [bool; 2]) -> Result<VpcId> {
        let mut all = cidrs.iter().map(|cidr| cidr.parse::<IpNet>()).collect::<Result<Vec<_>, _>>()?;
        if v6 {
            all.push(OUTSIDE.parse()?);
        }
        let new = NewVpc { cidrs: all, dns_support: dns[0], dns_hostnames: dns[1], ..NewVpc::default() };
        Ok(self.sim.with(|world| world.add_vpc(&at.account, &at.region, new)))
    }

    async fn subnet(
        &self,
        at: &Place,
        vpc: &VpcId,
        zone: &str,
        _: &str,
        families: Families,
        tags: &Tags,
    ) -> Result<SubnetId> {
        let new = NewSubnet {
            has_ipv4: families != Families::V6,
            has_ipv6: families != Families::V4,
            tags: tags.clone(),
            ..NewSubnet::of(zone)
        };
        Ok(self.sim.with(|world| world.add_subnet(&at.account, &at.region, vpc, new)))
    }

    async fn free_addresses(&self, at: &Place, subnet: &SubnetId, count: i64) -> Result<()> {
        self.set(|world| {
            let subnets = &mut world.region_mut(&at.account, &at.region).subnets;
            truth(subnets.get_mut(subnet)?).free_addresses = count;
            Some(())
        })
    }

    async fn route_table(&self, at: &Place, vpc: &VpcId, subnets: &[&SubnetId], tags: &Tags) -> Result<RouteTableId> {
        let subnets: Vec<SubnetId> = subnets.iter().map(|&subnet| subnet.clone()).collect();
        let table = self.sim.with(|world| world.add_route_table(&at.account, &at.region, vpc, subnets));
        self.set_tags(at, table.as_str(), tags)?;
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
        let create = Write::CreateSecurityGroup {
            vpc: vpc.clone(),
            name: name.to_owned(),
            description: name.to_owned(),
            tags: tags.clone(),
        };
        let Written::Group(group) = self.act(at, &create)? else { bail!("no group was made") };
        for rule in rules {
            if let RuleSource::PrefixList(list) = &rule.source {
                self.sim.with(|world| {
                    world.region_mut(&at.account, &at.region).prefix_lists.entry(list.clone()).or_default();
                });
            }
        }
        if !rules.is_empty() {
            self.act(at, &Write::AuthorizeIngress { group: group.clone(), rules: rules.to_vec() })?;
        }
        Ok(group)
    }

    async fn instance(&self, at: &Place, subnet: &SubnetId, life: Life, node: Option<Node>) -> Result<InstanceId> {
        let (account, region) = (&at.account, &at.region);
        let new = NewInstance { agent: node.map(|node| node.agent.to_owned()), ..NewInstance::default() };
        let id = self.sim.with(|world| world.add_instance(account, region, subnet, new));
        if let Some(node) = node {
            self.set(|world| {
                let now = world.now;
                let instances = &mut world.region_mut(account, region).instances;
                let agent = truth(instances.get_mut(&id)?).agent.as_mut()?;
                agent.registered = true;
                agent.last_ping = Some(match node.ping {
                    Ping::Online => now,
                    Ping::ConnectionLost => now.checked_sub(SILENT).ok()?,
                });
                Some(())
            })?;
        }
        self.sim.with(|world| match life {
            Life::Running => {}
            Life::Stopped => world.stop_instance(&Actor::Person, account, region, &id),
            Life::Terminated => world.terminate_instance(&Actor::Person, account, region, &id),
        });
        Ok(id)
    }

    async fn hybrid_node(&self, _: &Place, _: Node) -> Result<()> {
        // The simulator has none.
        Ok(())
    }

    async fn hosted_zone(&self, at: &Place, vpc: &VpcId, name: &str) -> Result<()> {
        let zone = HostedZone { reachable: true };
        let result =
            self.sim.with(|world| world.associate_zone(&Actor::Person, &at.account, &at.region, vpc, name, zone));
        result.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    }

    async fn share(&self, owner: &Place, vpc: &VpcId, with: &Place) -> Result<()> {
        self.sim.with(|world| world.share_vpc(&owner.account, &owner.region, vpc, &with.account));
        Ok(())
    }

    async fn endpoint_state(&self, at: &Place, endpoint: &EndpointId, state: &str) -> Result<()> {
        let state = EndpointState::parse(state);
        self.sim.with(|world| world.set_endpoint_state(&at.account, &at.region, endpoint, state));
        Ok(())
    }

    async fn launch(&self, at: &Place, subnet: &SubnetId, launch: Launch<'_>) -> Result<InstanceId> {
        let new = NewInstance {
            profile: launch.profile.cloned(),
            imds_v1: launch.tokens.map(|tokens| tokens == "optional"),
            imds: launch.endpoint.map(|endpoint| endpoint == "enabled"),
            ..NewInstance::default()
        };
        Ok(self.sim.with(|world| world.add_instance(&at.account, &at.region, subnet, new)))
    }

    async fn foreign_setting(&self, at: &Place, setting: Setting, value: &str) -> Result<()> {
        Ok(self.sim.with(|w| w.set_setting(&Actor::QuickSetup, &at.account, &at.region, setting, value))?)
    }

    async fn decree(&self, at: &Place, (values, message): Decree<'_>) -> Result<()> {
        let values = values.iter().map(|(field, value)| (*field, (*value).to_owned())).collect();
        self.sim.with(|w| w.set_declarative_policy(&at.account, &at.region, Some((values, message))));
        Ok(())
    }

    async fn policy(&self, at: &Place, name: &str) -> Result<PolicyArn> {
        let arn = PolicyArn::from(format!("arn:aws:iam::{}:policy/{name}", at.account));
        self.sim.with(|world| world.add_policy(&at.account, &arn));
        Ok(arn)
    }

    async fn foreign_inline(&self, at: &Place, role: &str, name: &str, text: &str) -> Result<()> {
        let put = |world: &mut World| {
            world.put_inline_policy(&Actor::Person, &at.account, &at.region, &role.into(), name, text)
        };
        self.sim.with(put).map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    }

    async fn bucket(&self, at: &Place, name: &BucketName, by: Option<(&str, Option<&str>)>) -> Result<()> {
        let mut bucket = SimBucket::default();
        if let Some((algorithm, key)) = by {
            let [algorithm, key] = [Some(algorithm), key].map(|text| text.map(str::to_owned));
            bucket.encryption = BucketEncryption { algorithm, key };
        }
        self.sim.with(|world| world.add_bucket(&at.account, &at.region, name, bucket));
        Ok(())
    }

    async fn delete_bucket(&self, at: &Place, name: &BucketName) -> Result<()> {
        self.sim.with(|world| world.change_bucket(&Actor::Person, &at.account, &at.region, name, None));
        Ok(())
    }

    async fn log_group(&self, at: &Place, name: &str, key: Option<&str>) -> Result<()> {
        let group = LogGroup { kms_key: key.map(str::to_owned) };
        self.sim.with(|world| world.add_log_group(&at.account, &at.region, &name.into(), group));
        Ok(())
    }

    async fn delete_log_group(&self, at: &Place, name: &str) -> Result<()> {
        self.sim.with(|world| world.change_log_group(&Actor::Person, &at.account, &at.region, &name.into(), None));
        Ok(())
    }

    async fn kms_key(&self, at: &Place, of: KeyUse) -> Result<String> {
        let id = format!("0a1b2c3d-1111-2222-3333-{:012}", self.keys.fetch_add(1, Ordering::Relaxed));
        let mut key = SimKey::new(&at.account, &at.region, &id);
        if of == KeyUse::Sign {
            let [usage, spec] = ["SIGN_VERIFY", "RSA_2048"].map(str::to_owned);
            (key.fact.usage, key.fact.spec) = (usage, spec);
        }
        let arn = key.fact.arn.clone();
        self.sim.with(|world| world.add_key(&at.account, &at.region, &id, key));
        Ok(arn)
    }

    async fn disable_key(&self, at: &Place, id: &str) -> Result<()> {
        self.sim.with(|world| world.change_key(&Actor::Person, &at.account, &at.region, id, "Disabled"));
        Ok(())
    }

    async fn delete_key(&self, at: &Place, id: &str) -> Result<()> {
        self.sim.with(|world| world.change_key(&Actor::Person, &at.account, &at.region, id, "PendingDeletion"));
        Ok(())
    }

    async fn requester_managed(&self, at: &Place, endpoint: &EndpointId) -> Result<()> {
        self.sim.with(|world| world.set_requester_managed(&at.account, &at.region, endpoint, true));
        Ok(())
    }

    async fn topic(&self, at: &Place, name: &str, policy: Option<&str>, key: Option<&str>) -> Result<String> {
        let arn = format!("arn:aws:sns:{}:{}:{name}", at.region, at.account);
        // As AWS makes it: for its own account.
        let own = json!({ "Version": "2008-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": "*" },
            "Action": ["SNS:Publish", "SNS:GetTopicAttributes"],
            "Resource": arn,
            "Condition": { "StringEquals": { "AWS:SourceOwner": at.account } },
        }] });
        let policy = policy.map_or_else(|| own.to_string(), str::to_owned);
        let topic = Topic { policy: Some(policy), key: key.map(str::to_owned) };
        self.sim.with(|world| world.add_topic(&at.account, &at.region, &arn, topic));
        Ok(arn)
    }

    async fn trail(&self, at: &Place, trail: NewTrail<'_>) -> Result<String> {
        let NewTrail { name, home, multi_region, logging, selectors, organisation } = trail;
        let account = organisation.unwrap_or(at).account.clone();
        let arn = format!("arn:aws:cloudtrail:{home}:{account}:trail/{name}");
        // The simulator keeps what a region shows: of other regions, those of all.
        if multi_region || home == at.region.as_str() {
            let selectors = selectors.to_vec();
            let shown = SimTrail { account, home_region: home.to_owned(), multi_region, logging, selectors };
            self.sim.with(|world| world.add_trail(&at.account, &at.region, &arn, shown));
        }
        Ok(arn)
    }

    async fn foreign_rule(&self, at: &Place, deed: RuleDeed<'_>) -> Result<()> {
        self.sim.with(|world| {
            world.change_audit_rule(&Actor::Person, &at.account, &at.region, |rule| match deed {
                RuleDeed::Disable => rule.enabled = false,
                RuleDeed::Target { id, arn } => {
                    rule.targets.insert(id.to_owned(), (arn.to_owned(), true));
                }
            });
        });
        Ok(())
    }
}
