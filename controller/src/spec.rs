//! The validate step: from the objects' specs to what the core works with. The schema has refused most of what is wrong;
//! what it cannot know is refused here, by the field's name.

pub mod account;
pub mod region;

use std::{collections::BTreeSet, fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use ssm_ready_core::{
    facts::{IpAddressType, Principal, RoleStep, Scope},
    ids::{AccountId, Region, RoleArn, Secret},
    instance_profiles::{Attachment, DeclaredProfile, InstancesWish, Launcher},
    posture::{self as core, Owner, ServiceName},
    reason::Reason,
};
use ssm_ready_crds::{self as crds, AwsAccount, AwsAccountSpec, RouteTableChoice, SecurityGroupChoice, SubnetChoice};

use crate::admit::Refusal;

/// An instance profile that an AccountPosture declares, or why it is not there yet.
pub type Declared = Result<DeclaredProfile, String>;

/// The intervals that the schema allows; an object stored before it did so may have another.
const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);

fn invalid(field: &str, problem: impl Display) -> Refusal {
    Refusal::new(Reason::InvalidSpec, format!("{field}: {problem}"))
}

fn parse<T: FromStr>(field: &str, text: &str) -> Result<T, Refusal>
where
    T::Err: Display,
{
    text.parse().map_err(|error| invalid(field, error))
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
            return Err(invalid(
                field,
                format_args!("the role is of account {}, and spec.accountId is {account}", arn.account()),
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

/// The partition of an account, such as `aws-cn`.
#[must_use]
pub fn partition(spec: &AwsAccountSpec) -> String {
    let of_role = spec.assume_role.as_ref().and_then(|a| a.role_arn.split(':').nth(1));
    spec.partition.as_deref().or(of_role).unwrap_or("aws").to_owned()
}

/// The mode of an object.
fn mode(mode: crds::Mode) -> core::Mode {
    match mode {
        crds::Mode::Observe => core::Mode::Observe,
        crds::Mode::Enforce => core::Mode::Enforce,
    }
}

/// Ours say what we may delete.
fn own_keys(field: &str, tags: &[crds::Tag]) -> Result<(), Refusal> {
    for (at, tag) in tags.iter().enumerate() {
        if tag.key.to_ascii_lowercase().starts_with("aws:") || tag.key.starts_with("ssmready.dev/") {
            let field = format!("{field}[{at}].key");
            return Err(invalid(&field, "keys that start with aws: or ssmready.dev/ are reserved"));
        }
    }
    Ok(())
}

/// Where an account's own identity is looked up: in a region that the account allows.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn home_region(spec: &AwsAccountSpec, fallback: Option<&str>) -> Result<Region, Refusal> {
    let by_partition = match partition(spec).as_str() {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        "aws-eusc" => "eusc-de-east-1",
        "aws-iso" => "us-iso-east-1",
        "aws-iso-b" => "us-isob-east-1",
        "aws-iso-e" => "eu-isoe-west-1",
        "aws-iso-f" => "us-isof-south-1",
        _ => fallback.unwrap_or("us-east-1"),
    };
    match spec.regions.as_ref().and_then(|r| r.allowed.first()) {
        Some(first) => parse("spec.regions.allowed[0]", first),
        // Only the fallback can be wrong here, and it is no field of the object.
        None => parse("spec.regions is not given, and the controller's AWS_REGION", by_partition),
    }
}

/// A scope of an account in a region.
#[must_use]
pub fn scope(principal: Principal, region: Region, account: &AwsAccount) -> Scope {
    let share = account.spec.guardrails.api_share_percent.clamp(1, 100);
    Scope { principal, region, api_share_percent: u8::try_from(share).unwrap_or(100) }
}

/// A posture, validated. `declared` looks up an instance profile by the names of an AccountPosture and of the entry in it;
/// `ceiling` is the mode that the controller as a whole does not exceed.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn vpc_posture(
    object: &crds::VpcPosture,
    account: &AwsAccount,
    owner: Owner,
    ceiling: core::Mode,
    declared: impl Fn(&str, &str) -> Declared,
) -> Result<core::VpcPosture, Refusal> {
    let spec = &object.spec;
    let endpoints = &spec.endpoints;
    let services = if endpoints.services.is_empty() {
        None
    } else {
        let wish = |(at, wish): (usize, &crds::EndpointService)| {
            let field = format!("spec.endpoints.services[{at}]");
            let service = ServiceName::parse(wish.service.as_str())
                .ok_or_else(|| invalid(&field, format_args!("{} is not known", wish.service.as_str())))?;
            Ok(core::ServiceWish {
                service,
                subnets: wish.subnets.as_ref().map(|s| subnets(&format!("{field}.subnets"), s)).transpose()?,
                ip_address_type: wish.ip_address_type.map(ip_address_type),
            })
        };
        Some(endpoints.services.iter().enumerate().map(wish).collect::<Result<Vec<_>, Refusal>>()?)
    };
    let group = match endpoints.security_group() {
        // AWS would take the VPC's default group.
        SecurityGroupChoice::Existing([]) => {
            return Err(invalid("spec.endpoints.securityGroup.existing.ids", "no security group is named"));
        }
        SecurityGroupChoice::Existing(ids) => {
            core::GroupWish::Existing(ids.iter().map(|i| i.as_str().into()).collect())
        }
        SecurityGroupChoice::Create(create) => core::GroupWish::Create {
            all_vpc_cidrs: create.all_vpc_cidrs,
            cidrs: create
                .client_cidrs
                .iter()
                .enumerate()
                .map(|(at, c)| parse(&format!("spec.endpoints.securityGroup.create.clientCidrs[{at}]"), c))
                .collect::<Result<_, Refusal>>()?,
            groups: create.client_security_groups.iter().map(|i| i.as_str().into()).collect(),
            prefix_lists: create.client_prefix_lists.iter().map(|i| i.as_str().into()).collect(),
        },
    };
    if !INTERVALS.contains(&spec.interval.get()) {
        return Err(invalid("spec.interval", "it must be from 1m to 24h"));
    }
    own_keys("spec.endpoints.tags", &endpoints.tags)?;
    Ok(core::VpcPosture {
        owner,
        account: parse("spec.accountId of the AwsAccount", &account.spec.account_id)?,
        region: parse("spec.target.region", &spec.target.region)?,
        vpc: spec.target.vpc_id.as_str().into(),
        mode: mode(spec.mode).min(ceiling),
        interval: spec.interval.get(),
        capabilities: spec.capabilities.iter().map(|c| capability(*c)).collect(),
        services,
        ec2messages: match endpoints.ec2messages {
            crds::Ec2Messages::Auto => core::Ec2Messages::Auto,
            crds::Ec2Messages::Always => core::Ec2Messages::Always,
            crds::Ec2Messages::Never => core::Ec2Messages::Never,
        },
        subnets: match &endpoints.subnets {
            Some(wish) => subnets("spec.endpoints.subnets", wish)?,
            None => any_subnets(),
        },
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
        instances: spec.instances.as_ref().map(|wish| instances(wish, &declared)).transpose()?,
    })
}

fn instances(wish: &crds::Instances, declared: &impl Fn(&str, &str) -> Declared) -> Result<InstancesWish, Refusal> {
    let wish = &wish.profile_attachment;
    if wish.policy == crds::AttachmentPolicy::Never {
        return Ok(InstancesWish::default());
    }
    let field = |name: &str| format!("spec.instances.profileAttachment.{name}");
    let needed = |name: &str| invalid(&field(name), "it is needed with policy: WhenMissing");
    let posture = wish.account_posture_ref.as_ref().ok_or_else(|| needed("accountPostureRef"))?;
    let profile = wish.profile.as_ref().ok_or_else(|| needed("profile"))?;
    if wish.selector.is_empty() {
        return Err(needed("selector"));
    }
    let max_per_pass = usize::try_from(wish.max_per_pass).ok().filter(|max| (1..=50).contains(max));
    let attachment = Attachment {
        declared: declared(&posture.name, profile),
        selector: selectors(&wish.selector),
        include: wish.include.iter().map(|launcher| self::launcher(*launcher)).collect(),
        max_per_pass: max_per_pass.ok_or_else(|| invalid(&field("maxPerPass"), "it must be from 1 to 50"))?,
    };
    Ok(InstancesWish { attachment: Some(attachment) })
}

fn launcher(launcher: crds::InstanceLauncher) -> Launcher {
    match launcher {
        crds::InstanceLauncher::AutoScaling => Launcher::AutoScaling,
        crds::InstanceLauncher::Eks => Launcher::Eks,
        crds::InstanceLauncher::Beanstalk => Launcher::Beanstalk,
    }
}

fn any_subnets() -> core::SubnetWish {
    core::SubnetWish::Choose { min_zones: 1, max_zones: None, selector: vec![] }
}

fn subnets(field: &str, wish: &crds::Subnets) -> Result<core::SubnetWish, Refusal> {
    let zones = |name: &str, number: i32| match usize::try_from(number) {
        Ok(number @ 1..) => Ok(number),
        _ => Err(invalid(&format!("{field}.{name}"), "it must be 1 or more")),
    };
    Ok(match wish.choice() {
        SubnetChoice::Ids(ids) => core::SubnetWish::Ids(ids.iter().map(|i| i.as_str().into()).collect::<BTreeSet<_>>()),
        SubnetChoice::Zones { min, max, selector } => {
            let min_zones = zones("minZones", min)?;
            let max_zones = max.map(|max| zones("maxZones", max)).transpose()?;
            if max_zones.is_some_and(|max| max < min_zones) {
                return Err(invalid(&format!("{field}.minZones"), "it must not exceed maxZones"));
            }
            core::SubnetWish::Choose { min_zones, max_zones, selector: selectors(selector) }
        }
    })
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
        crds::Capability::DirectoryJoin => core::Capability::DirectoryJoin,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::documents::{documents, near_object};

    const CEILINGS: [core::Mode; 2] = [core::Mode::Observe, core::Mode::Enforce];

    fn account() -> AwsAccount {
        let text = "{apiVersion: ssmready.dev/v1alpha1, kind: AwsAccount, metadata: {name: prod}, spec: {accountId: '111122223333'}}";
        serde_yaml::from_str(text).unwrap()
    }

    fn owner() -> Owner {
        let text = |text: &str| text.to_owned();
        Owner { cluster: text("c1"), kind: "VpcPosture", namespace: text("team"), name: text("main"), uid: text("u") }
    }

    /// A refusal is one line that begins with the field.
    fn names_a_field(refusal: &Refusal) -> Result<(), TestCaseError> {
        let message = &refusal.message;
        prop_assert_eq!(refusal.reason, Reason::InvalidSpec);
        prop_assert!(message.starts_with("spec.") && message.contains(": "), "{message}");
        prop_assert!(message.chars().count() < 1200 && !message.contains(char::is_control), "{message}");
        Ok(())
    }

    fn is_sound(wish: &core::SubnetWish) -> bool {
        match wish {
            core::SubnetWish::Ids(ids) => !ids.is_empty(),
            core::SubnetWish::Choose { min_zones, max_zones, .. } => {
                *min_zones >= 1 && max_zones.is_none_or(|max| max >= *min_zones)
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_posture_that_is_read_is_understood_or_refused_by_field(
            (object, _) in near_object("VpcPosture"),
            ceiling in proptest::sample::select(CEILINGS.to_vec()),
        ) {
            let Ok(object) = serde_json::from_value::<crds::VpcPosture>(object) else { return Ok(()) };
            match vpc_posture(&object, &account(), owner(), ceiling, |_, _| Err(String::new())) {
                Err(refusal) => names_a_field(&refusal)?,
                Ok(posture) => {
                    prop_assert!(posture.mode <= ceiling);
                    prop_assert!(posture.mode == core::Mode::Observe || object.spec.mode == crds::Mode::Enforce);
                    prop_assert!(INTERVALS.contains(&posture.interval));
                    prop_assert!(posture.tags.keys().all(|key| !key.starts_with("ssmready.dev/")));
                    prop_assert!(posture.owner.owns(&posture.tags_for("x")));
                    prop_assert!(!matches!(&posture.group, core::GroupWish::Existing(ids) if ids.is_empty()));
                    let own = posture.services.iter().flatten().filter_map(|wish| wish.subnets.as_ref());
                    prop_assert!(own.chain([&posture.subnets]).all(is_sound));
                }
            }
        }

        #[test]
        fn any_account_that_is_read_is_entered_as_itself_or_refused_by_field(
            (object, _) in near_object("AwsAccount"),
            read_only in any::<bool>(),
            fallback in proptest::option::of(crate::near::near(&["eu-west-1", "us-gov-west-1"])),
        ) {
            let Ok(object) = serde_json::from_value::<AwsAccount>(object) else { return Ok(()) };
            match roles(&object.spec, read_only) {
                Err(refusal) => names_a_field(&refusal)?,
                Ok(Roles { write, read }) => {
                    for principal in [&write, &read] {
                        prop_assert_eq!(principal.account.as_str(), object.spec.account_id.as_str());
                        let last = principal.roles.last();
                        prop_assert!(last.is_none_or(|step| *step.arn.account() == principal.account));
                        prop_assert_eq!(last.is_none(), object.spec.assume_role.is_none());
                        prop_assert!(principal.read_only || !read_only);
                        let scope = scope(principal.clone(), "eu-west-1".parse().unwrap(), &object);
                        prop_assert!((1..=100).contains(&scope.api_share_percent));
                    }
                    prop_assert!(read == write || read.read_only);
                }
            }
            match home_region(&object.spec, fallback.as_deref()) {
                Err(refusal) => {
                    names_a_field(&refusal)?;
                    let ours = object.spec.regions.as_ref().is_none_or(|r| r.allowed.is_empty());
                    prop_assert_eq!(refusal.message.contains("AWS_REGION"), ours);
                }
                Ok(region) => prop_assert!(region.as_str().parse::<Region>().is_ok()),
            }
        }

        #[test]
        fn no_external_id_is_printed(mut object in proptest::sample::select(documents("AwsAccount")), id in "[A-Za-z]{12,40}") {
            let Some(role) = object.pointer_mut("/spec/assumeRole") else { return Ok(()) };
            role["externalId"] = Value::from(id.as_str());
            for step in role.get_mut("chain").and_then(Value::as_array_mut).into_iter().flatten() {
                step["externalId"] = Value::from(id.as_str());
            }
            let Ok(object) = serde_json::from_value::<AwsAccount>(object) else { return Ok(()) };
            let printed = format!("{object:?} {:?}", roles(&object.spec, false));
            prop_assert!(!printed.contains(&id));
        }
    }

    #[test]
    fn what_an_older_schema_let_in_is_refused_by_field() {
        let posture = |endpoints: &str, interval: &str| -> crds::VpcPosture {
            serde_yaml::from_str(&format!(
                "{{apiVersion: ssmready.dev/v1alpha1, kind: VpcPosture, metadata: {{name: main, namespace: team}}, spec: {{interval: {interval}, endpoints: {endpoints}, target: {{accountRef: {{name: prod}}, region: eu-west-1, vpcId: vpc-0ffffffffffffff01}}}}}}"
            ))
            .unwrap()
        };
        let read = |object: &crds::VpcPosture| {
            vpc_posture(object, &account(), owner(), core::Mode::Enforce, |_, _| Err(String::new()))
        };
        for (endpoints, interval, field) in [
            ("{}", "0s", "spec.interval"),
            ("{}", "25h", "spec.interval"),
            ("{securityGroup: {existing: {ids: []}}}", "10m", "spec.endpoints.securityGroup.existing.ids"),
            (
                "{securityGroup: {create: {clientCidrs: [10.0.0.0/8, 10.0.0.0/33]}}}",
                "10m",
                "spec.endpoints.securityGroup.create.clientCidrs[1]",
            ),
            ("{subnets: {minZones: 0}}", "10m", "spec.endpoints.subnets.minZones"),
            ("{subnets: {maxZones: -1}}", "10m", "spec.endpoints.subnets.maxZones"),
            ("{subnets: {minZones: 3, maxZones: 2}}", "10m", "spec.endpoints.subnets.minZones"),
            (
                "{services: [{service: kms}, {service: ssm, subnets: {maxZones: 0}}]}",
                "10m",
                "spec.endpoints.services[1].subnets.maxZones",
            ),
            ("{tags: [{key: ssmready.dev/owner, value: x}]}", "10m", "spec.endpoints.tags[0].key"),
            ("{tags: [{key: a, value: x}, {key: 'AWS:x', value: x}]}", "10m", "spec.endpoints.tags[1].key"),
        ] {
            let refusal = read(&posture(endpoints, interval)).unwrap_err();
            assert_eq!(refusal.reason, Reason::InvalidSpec);
            assert!(refusal.message.starts_with(&format!("{field}: ")), "{}", refusal.message);
        }
        assert!(read(&posture("{}", "1m")).is_ok());
    }

    /// What the schema refuses too, but may have let in before it did.
    #[test]
    fn an_attachment_is_whole_or_refused_by_field() {
        let read = |attachment: &str| {
            let object: crds::VpcPosture = serde_yaml::from_str(&format!(
                "{{apiVersion: ssmready.dev/v1alpha1, kind: VpcPosture, metadata: {{name: main, namespace: team}}, spec: {{instances: {{profileAttachment: {attachment}}}, target: {{accountRef: {{name: prod}}, region: eu-west-1, vpcId: vpc-0ffffffffffffff01}}}}}}"
            ))
            .unwrap();
            let declared = |posture: &str, profile: &str| Err(format!("{posture}/{profile}"));
            vpc_posture(&object, &account(), owner(), core::Mode::Enforce, declared)
        };
        assert_eq!(read("{}").unwrap().instances, Some(InstancesWish::default()));
        let whole =
            "policy: WhenMissing, accountPostureRef: {name: roles}, profile: web, selector: [{key: a, values: [b]}]";
        let wish = read(&format!("{{{whole}, include: [EKS], maxPerPass: 7}}")).unwrap().instances.unwrap();
        let attachment = wish.attachment.unwrap();
        assert_eq!(attachment.declared, Err("roles/web".to_owned()));
        assert_eq!((attachment.include, attachment.max_per_pass), ([Launcher::Eks].into(), 7));
        assert_eq!(read(&format!("{{{whole}}}")).unwrap().instances.unwrap().attachment.unwrap().max_per_pass, 5);
        for (attachment, field) in [
            ("{policy: WhenMissing, profile: web, selector: [{key: a, values: [b]}]}", "accountPostureRef"),
            ("{policy: WhenMissing, accountPostureRef: {name: roles}, selector: [{key: a, values: [b]}]}", "profile"),
            ("{policy: WhenMissing, accountPostureRef: {name: roles}, profile: web}", "selector"),
            (&*format!("{{{whole}, maxPerPass: 0}}"), "maxPerPass"),
            (&*format!("{{{whole}, maxPerPass: 51}}"), "maxPerPass"),
        ] {
            let message = read(attachment).unwrap_err().message;
            assert!(message.starts_with(&format!("spec.instances.profileAttachment.{field}: ")), "{message}");
        }
    }
}
