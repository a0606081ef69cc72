//! The validate step: from the objects' specs to what the core works with. The schema has refused most of what is wrong;
//! what it cannot know is refused here, by the field's name.

use std::{collections::BTreeSet, fmt::Display, str::FromStr};

use kube::ResourceExt;
use ssm_ready_core::{
    facts::{IpAddressType, Principal, RoleStep, Scope},
    ids::{AccountId, Region, RoleArn, Secret},
    posture::{self as core, Owner, ServiceName},
    reason::Reason,
};
use ssm_ready_crds::{self as crds, AwsAccount, AwsAccountSpec, RouteTableChoice, SecurityGroupChoice, SubnetChoice};

use crate::admit::Refusal;

/// The kind in owner tags of VPC postures.
pub const VPC_POSTURE: &str = "VpcPosture";

fn parse<T: FromStr>(field: &str, text: &str) -> Result<T, Refusal>
where
    T::Err: Display,
{
    text.parse().map_err(|error| Refusal::new(Reason::InvalidSpec, format!("{field}: {error}")))
}

/// The roles of an account: to write as, and to read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// Writes, and reads where no observe role is given.
    pub write: Principal,
    /// Reads.
    pub read: Principal,
}

/// The principals that an `AwsAccount` declares. With `read_only`, every session is narrowed to reads.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn roles(spec: &AwsAccountSpec, read_only: bool) -> Result<Roles, Refusal> {
    let account: AccountId = parse("spec.accountId", &spec.account_id)?;
    let secret = |id: &Option<crds::ExternalId>| id.as_ref().map(|id| Secret::new(id.expose()));
    let Some(assume) = &spec.assume_role else {
        let own = Principal {
            account,
            roles: vec![],
            session_name: "ssm-ready".to_owned(),
            duration_seconds: 3600,
            read_only,
        };
        return Ok(Roles { write: own.clone(), read: own });
    };
    let mut chain = Vec::new();
    for (at, step) in assume.chain.iter().enumerate() {
        let arn = parse(&format!("spec.assumeRole.chain[{at}].roleArn"), &step.role_arn)?;
        chain.push(RoleStep { arn, external_id: secret(&step.external_id) });
    }
    let principal = |field: &str, arn: &str, read_only: bool| -> Result<Principal, Refusal> {
        let arn: RoleArn = parse(field, arn)?;
        if *arn.account() != account {
            return Err(Refusal::new(
                Reason::InvalidSpec,
                format!("{field}: the role is of account {}, and spec.accountId is {account}", arn.account()),
            ));
        }
        let mut roles = chain.clone();
        roles.push(RoleStep { arn, external_id: secret(&assume.external_id) });
        Ok(Principal {
            account: account.clone(),
            roles,
            session_name: assume.session_name.clone(),
            duration_seconds: assume.duration_seconds,
            read_only,
        })
    };
    let write = principal("spec.assumeRole.roleArn", &assume.role_arn, read_only)?;
    let read = match &assume.observe_role_arn {
        Some(arn) => principal("spec.assumeRole.observeRoleArn", arn, true)?,
        None => write.clone(),
    };
    Ok(Roles { write, read })
}

/// Where an account's own identity is looked up: in a region that the account allows.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn home_region(spec: &AwsAccountSpec, fallback: Option<&str>) -> Result<Region, Refusal> {
    let partition =
        spec.partition.as_deref().or_else(|| spec.assume_role.as_ref().and_then(|a| a.role_arn.split(':').nth(1)));
    let by_partition = match partition {
        Some("aws-cn") => "cn-north-1",
        Some("aws-us-gov") => "us-gov-west-1",
        Some("aws-eusc") => "eusc-de-east-1",
        Some("aws-iso") => "us-iso-east-1",
        Some("aws-iso-b") => "us-isob-east-1",
        Some("aws-iso-e") => "eu-isoe-west-1",
        Some("aws-iso-f") => "us-isof-south-1",
        _ => fallback.unwrap_or("us-east-1"),
    };
    let first = spec.regions.as_ref().and_then(|r| r.allowed.first());
    parse("spec.regions.allowed[0]", first.map_or(by_partition, String::as_str))
}

/// A scope of an account in a region.
#[must_use]
pub fn scope(principal: Principal, region: Region, account: &AwsAccount) -> Scope {
    let share = account.spec.guardrails.api_share_percent.clamp(1, 100);
    Scope { principal, region, api_share_percent: u8::try_from(share).unwrap_or(100) }
}

/// A posture, validated. `ceiling` is the mode that the controller as a whole does not exceed.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn vpc_posture(
    object: &crds::VpcPosture,
    account: &AwsAccount,
    cluster: &str,
    ceiling: core::Mode,
) -> Result<core::VpcPosture, Refusal> {
    let spec = &object.spec;
    let endpoints = &spec.endpoints;
    let mode = match spec.mode {
        crds::Mode::Observe => core::Mode::Observe,
        crds::Mode::Enforce => core::Mode::Enforce,
    };
    let services = if endpoints.services.is_empty() {
        None
    } else {
        let wish = |wish: &crds::EndpointService| {
            let service = ServiceName::parse(wish.service.as_str()).ok_or_else(|| {
                Refusal::new(
                    Reason::InvalidSpec,
                    format!("spec.endpoints.services: {} is not known", wish.service.as_str()),
                )
            })?;
            Ok(core::ServiceWish {
                service,
                subnets: wish.subnets.as_ref().map(subnets),
                ip_address_type: wish.ip_address_type.map(ip_address_type),
            })
        };
        Some(endpoints.services.iter().map(wish).collect::<Result<Vec<_>, Refusal>>()?)
    };
    let group = match endpoints.security_group() {
        SecurityGroupChoice::Existing(ids) => {
            core::GroupWish::Existing(ids.iter().map(|i| i.as_str().into()).collect())
        }
        SecurityGroupChoice::Create(create) => core::GroupWish::Create {
            all_vpc_cidrs: create.all_vpc_cidrs,
            cidrs: create
                .client_cidrs
                .iter()
                .map(|c| parse("spec.endpoints.securityGroup.create.clientCidrs", c))
                .collect::<Result<_, Refusal>>()?,
            groups: create.client_security_groups.iter().map(|i| i.as_str().into()).collect(),
            prefix_lists: create.client_prefix_lists.iter().map(|i| i.as_str().into()).collect(),
        },
    };
    Ok(core::VpcPosture {
        owner: Owner {
            cluster: cluster.to_owned(),
            kind: VPC_POSTURE,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        },
        account: parse("spec.accountId of the AwsAccount", &account.spec.account_id)?,
        region: parse("spec.target.region", &spec.target.region)?,
        vpc: spec.target.vpc_id.as_str().into(),
        mode: mode.min(ceiling),
        interval: spec.interval.get(),
        capabilities: spec.capabilities.iter().map(|c| capability(*c)).collect(),
        services,
        ec2messages: match endpoints.ec2messages {
            crds::Ec2Messages::Auto => core::Ec2Messages::Auto,
            crds::Ec2Messages::Always => core::Ec2Messages::Always,
            crds::Ec2Messages::Never => core::Ec2Messages::Never,
        },
        subnets: endpoints.subnets.as_ref().map_or_else(any_subnets, subnets),
        group,
        ip_address_type: ip_address_type(endpoints.ip_address_type),
        s3: match endpoints.s3.type_ {
            crds::S3Type::None => core::S3Wish::None,
            crds::S3Type::Interface => core::S3Wish::Interface,
            crds::S3Type::Gateway => core::S3Wish::Gateway(match endpoints.s3.route_tables() {
                RouteTableChoice::Instances => core::RouteTableWish::OfInstances,
                RouteTableChoice::All => core::RouteTableWish::All,
                RouteTableChoice::Ids(ids) => {
                    core::RouteTableWish::Ids(ids.iter().map(|i| i.as_str().into()).collect())
                }
                RouteTableChoice::Selector(tags) => core::RouteTableWish::Selector(selectors(tags)),
            }),
        },
        tags: endpoints.tags.iter().map(|t| (t.key.clone(), t.value.clone())).collect(),
        adoption: match endpoints.adoption {
            crds::Adoption::UseExisting => core::Adoption::UseExisting,
            crds::Adoption::TakeOver => core::Adoption::TakeOver,
            crds::Adoption::Never => core::Adoption::Never,
        },
        deletion_policy: match endpoints.deletion_policy {
            crds::DeletionPolicy::DeleteWhenUnused => core::DeletionPolicy::DeleteWhenUnused,
            crds::DeletionPolicy::Delete => core::DeletionPolicy::Delete,
            crds::DeletionPolicy::Retain => core::DeletionPolicy::Retain,
        },
        unused_for: endpoints.unused_for.get(),
        dns: match spec.dns.attributes {
            crds::DnsAttributes::Enforce => core::DnsWish::Enforce,
            crds::DnsAttributes::Report => core::DnsWish::Report,
        },
    })
}

fn any_subnets() -> core::SubnetWish {
    core::SubnetWish::Choose { min_zones: 1, max_zones: None, selector: vec![] }
}

fn subnets(wish: &crds::Subnets) -> core::SubnetWish {
    match wish.choice() {
        SubnetChoice::Ids(ids) => core::SubnetWish::Ids(ids.iter().map(|i| i.as_str().into()).collect::<BTreeSet<_>>()),
        SubnetChoice::Zones { min, max, selector } => core::SubnetWish::Choose {
            min_zones: usize::try_from(min).unwrap_or(1),
            max_zones: max.and_then(|m| usize::try_from(m).ok()),
            selector: selectors(selector),
        },
    }
}

fn selectors(tags: &[crds::TagSelector]) -> Vec<core::TagSelector> {
    tags.iter().map(|t| core::TagSelector { key: t.key.clone(), values: t.values.clone() }).collect()
}

fn ip_address_type(kind: crds::IpAddressType) -> IpAddressType {
    match kind {
        crds::IpAddressType::Ipv4 => IpAddressType::Ipv4,
        crds::IpAddressType::Dualstack => IpAddressType::Dualstack,
        crds::IpAddressType::Ipv6 => IpAddressType::Ipv6,
    }
}

fn capability(capability: crds::Capability) -> core::Capability {
    match capability {
        crds::Capability::SessionManager => core::Capability::SessionManager,
        crds::Capability::Patching => core::Capability::Patching,
        crds::Capability::SessionEncryption => core::Capability::SessionEncryption,
        crds::Capability::CloudWatchLogging => core::Capability::CloudWatchLogging,
        crds::Capability::S3Logging => core::Capability::S3Logging,
        crds::Capability::VssSnapshots => core::Capability::VssSnapshots,
        crds::Capability::ParameterStore => core::Capability::ParameterStore,
        crds::Capability::CloudWatchAgent => core::Capability::CloudWatchAgent,
    }
}
