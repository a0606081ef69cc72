//! Interface endpoints: their life, and what AWS asks of those that are made.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    facts::{EndpointState, EndpointType, IpAddressType},
    fault::{FaultKind, InvalidParameterAbout},
    ids::{SubnetId, VpcId},
    write::NewEndpoint,
};

use crate::{
    lab::{Casing, DELETING, ELSEWHERE, Families, LISTED, Lab, PENDING, Rule},
    stage::{Stage, refused, refused_about, refused_as, tags},
};

facts!(
    a_new_endpoint_is_pending_and_then_available,
    an_endpoint_shows_what_it_was_made_with,
    an_endpoint_has_one_interface_in_each_of_its_subnets,
    tags_are_there_from_the_creation,
    a_new_endpoint_may_be_listed_late,
    an_endpoint_may_fail_and_says_why,
    states_are_spelled_in_either_casing,
    a_deleted_endpoint_is_listed_for_a_while_and_then_gone,
    interfaces_go_at_the_end_of_the_deletion,
    the_same_token_gives_the_same_endpoint,
    the_same_token_gives_the_same_endpoint_while_it_is_not_listed_yet,
    the_same_token_with_other_parameters_is_refused,
    a_token_is_of_one_region,
    a_token_is_of_one_account,
    without_groups_it_carries_the_default_group,
    two_subnets_in_one_zone_are_refused,
    a_zone_that_the_service_lacks_is_refused,
    a_subnet_without_free_addresses_is_refused,
    an_address_type_that_a_subnet_lacks_is_refused,
    dualstack_takes_both_families,
    ipv6_takes_subnets_with_ipv6_alone,
    an_unknown_service_is_unsupported,
    a_service_that_the_region_lacks_is_unsupported,
    an_unknown_vpc_is_not_found,
    an_unknown_subnet_is_not_found,
    an_unknown_group_is_not_found,
    interface_endpoints_have_a_quota_in_each_vpc,
    the_default_policy_is_full_access,
    a_refused_creation_leaves_nothing,
);

/// 1.7.
async fn a_new_endpoint_is_pending_and_then_available(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create(stage.interface("ssm")).await?;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Pending);
    lab.pass_time(PENDING / 2).await?;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Pending);
    stage.pass(PENDING / 2).await?;
    let seen = stage.seen(&id).await?;
    assert_eq!((seen.state, seen.failure), (EndpointState::Available, None));
    Ok(())
}

/// DescribeVpcEndpoints gives back what CreateVpcEndpoint was asked for (1.4, 1.5).
async fn an_endpoint_shows_what_it_was_made_with(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    for (short, private_dns) in [("ssm", true), ("kms", false)] {
        let new = NewEndpoint {
            subnets: stage.subnets.iter().cloned().collect(),
            private_dns,
            ip_address_type: Some(IpAddressType::Ipv4),
            ..stage.interface(short)
        };
        let id = stage.available(new.clone()).await?;
        let seen = stage.seen(&id).await?;
        assert_eq!((&seen.vpc, &seen.service_name, seen.kind), (&new.vpc, &new.service_name, EndpointType::Interface));
        assert_eq!((&seen.subnets, &seen.groups), (&new.subnets, &new.groups));
        assert_eq!((seen.private_dns, seen.ip_address_type), (private_dns, Some(IpAddressType::Ipv4)));
        assert!(!seen.requester_managed && seen.route_tables.is_empty(), "{seen:?}");
    }
    Ok(())
}

/// 1.4: one network interface a subnet, with the endpoint's groups.
async fn an_endpoint_has_one_interface_in_each_of_its_subnets(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let subnets = stage.subnets.iter().cloned().collect();
    let id = stage.available(NewEndpoint { subnets, ..stage.interface("ssm") }).await?;
    let seen = stage.seen(&id).await?;
    let carried: BTreeSet<_> = stage.interfaces().await?.into_iter().map(|interface| interface.id).collect();
    assert_eq!(seen.network_interfaces.len(), 2);
    assert_eq!(seen.network_interfaces, carried);
    Ok(())
}

/// Section 7: tags go into the creating call, and need no second one.
async fn tags_are_there_from_the_creation(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let wanted = tags(&[("ssmready.dev/cluster", "prod-1"), ("cost centre", "4711"), ("empty", "")]);
    let id = stage.create(NewEndpoint { tags: wanted.clone(), ..stage.interface("ssm") }).await?;
    assert_eq!(stage.seen(&id).await?.tags, wanted);
    Ok(())
}

/// EC2 is eventually consistent (1.7).
async fn a_new_endpoint_may_be_listed_late(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::VisibleAfter(Duration::from_secs(30))).await?;
    let id = stage.create(stage.interface("ssm")).await?;
    assert_eq!(stage.listed(&id).await?, None);
    lab.pass_time(Duration::from_secs(20)).await?;
    assert_eq!(stage.listed(&id).await?, None);
    lab.pass_time(Duration::from_secs(11)).await?;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Pending);
    Ok(())
}

/// `failed` is for good, with `LastError` or `FailureReason` (1.7).
async fn an_endpoint_may_fail_and_says_why(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::Outcome { service: "ssm", state: "Failed" }).await?;
    let (ssm, kms) = (stage.create(stage.interface("ssm")).await?, stage.create(stage.interface("kms")).await?);
    assert_eq!(stage.seen(&ssm).await?.state, EndpointState::Pending);
    stage.pass(PENDING).await?;
    let failed = stage.seen(&ssm).await?;
    assert_eq!(failed.state, EndpointState::Failed);
    ensure!(failed.failure.is_some_and(|why| !why.is_empty()), "it does not say why");
    assert_eq!(stage.seen(&kms).await?.state, EndpointState::Available);
    lab.pass_time(Duration::from_secs(24 * 3600)).await?;
    assert_eq!(stage.seen(&ssm).await?.state, EndpointState::Failed);
    Ok(())
}

/// Lower camel on the wire, Pascal in the model: every state is read in both (1.7).
async fn states_are_spelled_in_either_casing(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    for casing in [Casing::Lower, Casing::Pascal] {
        lab.rule(&stage.at, Rule::Casing(casing)).await?;
        for state in
            ["PendingAcceptance", "Pending", "Available", "Deleting", "Rejected", "Failed", "Expired", "Partial"]
        {
            lab.endpoint_state(&stage.at, &id, state).await?;
            let seen = stage.seen(&id).await?.state;
            assert_eq!(seen.as_str(), state, "{casing:?}");
            assert!(!matches!(seen, EndpointState::Unknown(_)), "{casing:?}: {state}");
        }
    }
    Ok(())
}

/// Deleting, deleted but listed, gone (1.7).
async fn a_deleted_endpoint_is_listed_for_a_while_and_then_gone(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    assert_eq!(stage.delete(&[&id]).await?, []);
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Deleting);
    lab.pass_time(DELETING / 2).await?;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Deleting);
    stage.pass(DELETING / 2).await?;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Deleted);
    stage.pass(LISTED).await?;
    assert_eq!(stage.listed(&id).await?, None);
    Ok(())
}

/// The interfaces live as long as the endpoint, so that its group cannot be deleted before (1.8).
async fn interfaces_go_at_the_end_of_the_deletion(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    stage.delete(&[&id]).await?;
    assert_eq!(stage.interfaces().await?.len(), 1);
    stage.pass(DELETING).await?;
    assert_eq!(stage.interfaces().await?, []);
    Ok(())
}

/// A replay answers the first call's endpoint (1.7).
async fn the_same_token_gives_the_same_endpoint(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let new = NewEndpoint { tags: tags(&[("a", "1"), ("b", "2")]), ..stage.interface("ssm") };
    let first = stage.create(new.clone()).await?;
    assert_eq!(stage.create(new.clone()).await?, first);
    stage.pass(PENDING).await?;
    assert_eq!(stage.create(new).await?, first);
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?.len(), 1);
    Ok(())
}

/// The token is known before the endpoint is listed: that is what it is for (1.7).
async fn the_same_token_gives_the_same_endpoint_while_it_is_not_listed_yet(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::VisibleAfter(Duration::from_secs(30))).await?;
    let first = stage.create(stage.interface("ssm")).await?;
    assert_eq!(stage.listed(&first).await?, None);
    assert_eq!(stage.create(stage.interface("ssm")).await?, first);
    Ok(())
}

/// `IdempotentParameterMismatch` (1.7), whatever differs.
async fn the_same_token_with_other_parameters_is_refused(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let new = stage.interface("ssm");
    stage.create(new.clone()).await?;
    let others = [
        NewEndpoint { subnets: [stage.subnets[1].clone()].into(), ..new.clone() },
        NewEndpoint { private_dns: false, ..new.clone() },
        NewEndpoint { tags: tags(&[("new", "tag")]), ..new.clone() },
        NewEndpoint { service_name: stage.service("kms"), ..new },
    ];
    for other in others {
        refused_as(FaultKind::Conflict, "IdempotentParameterMismatch", stage.create(other).await)?;
    }
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?.len(), 1);
    Ok(())
}

/// Tokens are of a region (1.7): in another one the same token makes another endpoint.
async fn a_token_is_of_one_region(lab: &dyn Lab) -> Result<()> {
    let here = Stage::set(lab).await?;
    let there = Stage::set_at(lab, here.at.in_region(ELSEWHERE)?).await?;
    let first = here.create(here.interface("ssm")).await?;
    let token = here.interface("ssm").client_token;
    let second = there.create(NewEndpoint { client_token: token, ..there.interface("ssm") }).await?;
    assert_ne!(first, second);
    assert!(here.listed(&second).await?.is_none() && there.listed(&second).await?.is_some());
    Ok(())
}

/// And of an account.
async fn a_token_is_of_one_account(lab: &dyn Lab) -> Result<()> {
    let (one, other) = (Stage::set(lab).await?, Stage::set(lab).await?);
    let first = one.create(one.interface("ssm")).await?;
    let token = one.interface("ssm").client_token;
    let second = other.create(NewEndpoint { client_token: token, ..other.interface("ssm") }).await?;
    assert_ne!(first, second);
    Ok(())
}

/// 1.4.
async fn without_groups_it_carries_the_default_group(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create(NewEndpoint { groups: [].into(), ..stage.interface("ssm") }).await?;
    let groups = stage.cloud.security_groups(&stage.scope).await?;
    let default = groups.into_iter().find(|group| group.vpc == stage.vpc && group.name == "default");
    let default = default.context("the VPC has no default group")?.id;
    assert_eq!(stage.seen(&id).await?.groups, BTreeSet::from([default]));
    Ok(())
}

/// `DuplicateSubnetsInSameZone` (1.5).
async fn two_subnets_in_one_zone_are_refused(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let same = lab.subnet(&stage.at, &stage.vpc, "a", "10.0.9.0/24", Families::V4, &tags(&[])).await?;
    let new = NewEndpoint { subnets: [stage.subnets[0].clone(), same].into(), ..stage.interface("ssm") };
    refused_as(FaultKind::Invalid, "DuplicateSubnetsInSameZone", stage.create(new).await)?;
    Ok(())
}

/// `InvalidParameter`, in words (1.5).
async fn a_zone_that_the_service_lacks_is_refused(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::Zones { service: "ssm", zones: &["b"] }).await?;
    let fault = refused_about(InvalidParameterAbout::Zone, stage.create(stage.interface("ssm")).await)?;
    ensure!(fault.message.contains(stage.subnets[0].as_str()), "the subnet is not named: {fault}");
    let subnets = [stage.subnets[1].clone()].into();
    let new = NewEndpoint { subnets, client_token: "another".to_owned(), ..stage.interface("ssm") };
    stage.create(new).await?;
    Ok(())
}

/// `InsufficientFreeAddressesInSubnet` (1.5). An endpoint takes one address of each of its subnets.
async fn a_subnet_without_free_addresses_is_refused(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let free = async |stage: &Stage<'_>| -> Result<i64> {
        let subnets = stage.cloud.subnets(&stage.scope).await?;
        let first = subnets.iter().find(|subnet| subnet.id == stage.subnets[0]);
        Ok(first.context("the subnet is not listed")?.free_addresses)
    };
    lab.free_addresses(&stage.at, &stage.subnets[0], 1).await?;
    let id = stage.create(stage.interface("ssm")).await?;
    let code = "InsufficientFreeAddressesInSubnet";
    refused_as(FaultKind::Invalid, code, stage.create(stage.interface("kms")).await)?;
    assert_eq!(free(&stage).await?, 0);
    // The address is free again when the interface is gone.
    stage.delete_for_good(&id).await?;
    assert_eq!(free(&stage).await?, 1);
    Ok(())
}

/// Every subnet needs the family (1.3).
async fn an_address_type_that_a_subnet_lacks_is_refused(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    for family in [IpAddressType::Ipv6, IpAddressType::Dualstack] {
        let new = NewEndpoint {
            ip_address_type: Some(family),
            client_token: format!("{}-{family:?}", stage.vpc),
            ..stage.interface("ssm")
        };
        refused(FaultKind::Invalid, stage.create(new).await)?;
    }
    Ok(())
}

/// 1.3: in subnets with both families, any but `ipv6` (which wants subnets with IPv6 alone).
async fn dualstack_takes_both_families(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let vpc = lab.vpc(&stage.at, &["10.1.0.0/16"], true, [true; 2]).await?;
    let subnet = lab.subnet(&stage.at, &vpc, "a", "10.1.0.0/24", Families::Both, &tags(&[])).await?;
    let group = lab.group(&stage.at, &vpc, "endpoints", &[], &tags(&[])).await?;
    let new = |family: IpAddressType, short| NewEndpoint {
        vpc: vpc.clone(),
        subnets: [subnet.clone()].into(),
        groups: [group.clone()].into(),
        ip_address_type: Some(family),
        ..stage.interface(short)
    };
    let id = stage.create(new(IpAddressType::Dualstack, "ssm")).await?;
    assert_eq!(stage.seen(&id).await?.ip_address_type, Some(IpAddressType::Dualstack));
    let id = stage.create(new(IpAddressType::Ipv4, "kms")).await?;
    assert_eq!(stage.seen(&id).await?.ip_address_type, Some(IpAddressType::Ipv4));
    refused(FaultKind::Invalid, stage.create(new(IpAddressType::Ipv6, "logs")).await)?;
    Ok(())
}

/// 1.3: one subnet with IPv4 as well is one too many.
async fn ipv6_takes_subnets_with_ipv6_alone(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let vpc = lab.vpc(&stage.at, &["10.1.0.0/16"], true, [true; 2]).await?;
    let alone = lab.subnet(&stage.at, &vpc, "a", "", Families::V6, &tags(&[])).await?;
    let subnets = stage.cloud.subnets(&stage.scope).await?;
    let seen = subnets.iter().find(|subnet| subnet.id == alone).context("the subnet is not listed")?;
    assert_eq!((seen.has_ipv4, seen.has_ipv6), (false, true));
    let both = lab.subnet(&stage.at, &vpc, "b", "10.1.1.0/24", Families::Both, &tags(&[])).await?;
    let new = |subnets: &[&SubnetId], family, token: &str| NewEndpoint {
        vpc: vpc.clone(),
        subnets: subnets.iter().map(|&id| id.clone()).collect(),
        groups: [].into(),
        ip_address_type: Some(family),
        client_token: token.to_owned(),
        ..stage.interface("ssm")
    };
    let mixed = new(&[&alone, &both], IpAddressType::Ipv6, "mixed");
    refused(FaultKind::Invalid, stage.create(mixed).await)?;
    let dual = new(&[&alone], IpAddressType::Dualstack, "dual");
    refused(FaultKind::Invalid, stage.create(dual).await)?;
    let id = stage.create(new(&[&alone], IpAddressType::Ipv6, "alone")).await?;
    assert_eq!(stage.seen(&id).await?.ip_address_type, Some(IpAddressType::Ipv6));
    Ok(())
}

/// `InvalidServiceName` (1.8).
async fn an_unknown_service_is_unsupported(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let new = stage.interface("nosuchthing");
    refused_as(FaultKind::Unsupported, "InvalidServiceName", stage.create(new).await)?;
    Ok(())
}

/// The same for one that other regions have (1.1).
async fn a_service_that_the_region_lacks_is_unsupported(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::Missing("ec2messages")).await?;
    let new = stage.interface("ec2messages");
    refused_as(FaultKind::Unsupported, "InvalidServiceName", stage.create(new).await)?;
    Ok(())
}

/// `InvalidVpcID.NotFound` (1.8).
async fn an_unknown_vpc_is_not_found(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let new = NewEndpoint { vpc: VpcId::from("vpc-0ffffffffffffff99"), ..stage.interface("ssm") };
    refused(FaultKind::NotFound, stage.create(new).await)?;
    Ok(())
}

/// In either of its casings (1.8).
async fn an_unknown_subnet_is_not_found(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let subnets = [SubnetId::from("subnet-0ffffffffffffff99")].into();
    refused(FaultKind::NotFound, stage.create(NewEndpoint { subnets, ..stage.interface("ssm") }).await)?;
    Ok(())
}

/// `InvalidGroup.NotFound` (1.8).
async fn an_unknown_group_is_not_found(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let groups = ["sg-0ffffffffffffff99".into()].into();
    let new = NewEndpoint { groups, ..stage.interface("ssm") };
    refused_as(FaultKind::NotFound, "InvalidGroup.NotFound", stage.create(new).await)?;
    Ok(())
}

/// `VpcEndpointLimitExceeded`: interfaces are counted in a VPC (1.6).
async fn interface_endpoints_have_a_quota_in_each_vpc(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::Quota { interface: 2, gateway: 20 }).await?;
    let first = stage.available(stage.interface("ssm")).await?;
    stage.create(stage.interface("kms")).await?;
    let code = "VpcEndpointLimitExceeded";
    refused_as(FaultKind::LimitExceeded, code, stage.create(stage.interface("logs")).await)?;

    let neighbour = Stage::set_at(lab, stage.at.clone()).await?;
    neighbour.create(neighbour.interface("ssm")).await?;
    // What is gone does not count.
    stage.delete_for_good(&first).await?;
    stage.create(NewEndpoint { client_token: "another".to_owned(), ..stage.interface("logs") }).await?;
    Ok(())
}

/// Section 2.
async fn the_default_policy_is_full_access(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create(stage.interface("ssm")).await?;
    let policy = stage.seen(&id).await?.policy.context("no policy")?;
    ensure!(is_full_access(&policy)?, "{policy}");
    Ok(())
}

/// Whether a policy lets everything through, however it is written.
pub fn is_full_access(policy: &str) -> Result<bool> {
    let policy: serde_json::Value = serde_json::from_str(policy)?;
    let one = |value: &serde_json::Value| match value {
        serde_json::Value::Array(items) if items.len() == 1 => items[0].clone(),
        other => other.clone(),
    };
    let statement = one(&policy["Statement"]);
    let principal = statement["Principal"].get("AWS").unwrap_or(&statement["Principal"]);
    let is = |value: &serde_json::Value, wanted: &str| one(value) == wanted;
    Ok(is(&statement["Effect"], "Allow")
        && is(&statement["Action"], "*")
        && is(&statement["Resource"], "*")
        && is(principal, "*")
        && statement.get("Condition").is_none())
}

/// A creation that is refused makes nothing: no endpoint, no interfaces.
async fn a_refused_creation_leaves_nothing(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.free_addresses(&stage.at, &stage.subnets[1], 0).await?;
    let subnets = stage.subnets.iter().cloned().collect();
    let refusal = stage.create(NewEndpoint { subnets, ..stage.interface("ssm") }).await;
    refused(FaultKind::Invalid, refusal)?;
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?, []);
    assert_eq!(stage.interfaces().await?, []);
    // Nor does it hold the name.
    stage.create(NewEndpoint { client_token: "another".to_owned(), ..stage.interface("ssm") }).await?;
    Ok(())
}
