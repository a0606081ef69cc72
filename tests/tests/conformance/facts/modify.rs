//! ModifyVpcEndpoint, and who may be changed (domain 1.8).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use ssm_ready_core::{
    facts::{Endpoint, IpAddressType},
    fault::{FaultKind, InvalidParameterAbout},
    ids::EndpointId,
    write::{EndpointChange, NewEndpoint},
};

use super::endpoints::is_full_access;
use crate::{
    lab::{Families, Lab, PENDING, Rule},
    stage::{Stage, https_from, refused, refused_about, refused_as, tags},
};

facts!(
    subnets_are_added_and_taken_away_with_their_interfaces,
    groups_are_added_and_taken_away_on_all_interfaces,
    the_address_type_changes_where_the_subnets_allow,
    a_restored_policy_is_full_access,
    several_changes_go_into_one_call,
    a_second_subnet_of_a_zone_is_refused,
    a_zone_that_the_service_lacks_is_refused_as_well,
    a_subnet_without_free_addresses_cannot_be_added,
    an_unknown_subnet_or_group_is_not_found,
    a_refused_change_changes_nothing,
    a_pending_endpoint_is_not_changed,
    a_deleting_endpoint_is_not_changed,
    a_requester_managed_endpoint_is_not_changed,
    an_unknown_endpoint_is_not_found,
);

fn nothing() -> EndpointChange {
    EndpointChange::default()
}

/// Changes an available endpoint, and shows it when the change has settled.
async fn changed(stage: &Stage<'_>, id: &EndpointId, change: EndpointChange) -> Result<Endpoint> {
    stage.change(id, change).await?;
    stage.pass(PENDING).await?;
    stage.seen(id).await
}

async fn subnets_are_added_and_taken_away_with_their_interfaces(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let [a, b] = stage.subnets.clone();
    let id = stage.available(stage.interface("ssm")).await?;
    let first = stage.seen(&id).await?.network_interfaces;
    let both = changed(&stage, &id, EndpointChange { add_subnets: [b.clone()].into(), ..nothing() }).await?;
    assert_eq!(both.subnets, BTreeSet::from([a.clone(), b.clone()]));
    // The interfaces of an endpoint do not change while their subnet stays.
    assert!(both.network_interfaces.len() == 2 && both.network_interfaces.is_superset(&first), "{both:?}");
    let one = changed(&stage, &id, EndpointChange { remove_subnets: [a].into(), ..nothing() }).await?;
    assert_eq!(one.subnets, BTreeSet::from([b]));
    assert_eq!(one.network_interfaces, &both.network_interfaces - &first);
    let carried: BTreeSet<_> = stage.interfaces().await?.into_iter().map(|interface| interface.id).collect();
    assert_eq!(carried, one.network_interfaces);
    Ok(())
}

async fn groups_are_added_and_taken_away_on_all_interfaces(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let other = lab.group(&stage.at, &stage.vpc, "other", &[https_from("10.0.0.0/16")?], &tags(&[])).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    let seen = changed(&stage, &id, EndpointChange { add_groups: [other.clone()].into(), ..nothing() }).await?;
    assert_eq!(seen.groups, BTreeSet::from([stage.group.clone(), other.clone()]));
    let remove_groups = [stage.group.clone()].into();
    let seen = changed(&stage, &id, EndpointChange { remove_groups, ..nothing() }).await?;
    assert_eq!(seen.groups, BTreeSet::from([other.clone()]));
    assert_eq!(stage.interfaces().await?, []);
    assert_eq!(stage.cloud.network_interfaces(&stage.scope, &other).await?.len(), 1);
    Ok(())
}

/// 1.3.
async fn the_address_type_changes_where_the_subnets_allow(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let to = |family| EndpointChange { ip_address_type: Some(family), ..nothing() };
    let plain = stage.available(stage.interface("ssm")).await?;
    refused(FaultKind::Invalid, stage.change(&plain, to(IpAddressType::Dualstack)).await)?;
    assert_eq!(stage.seen(&plain).await?.ip_address_type, Some(IpAddressType::Ipv4));

    let vpc = lab.vpc(&stage.at, &["10.1.0.0/16"], true, [true; 2]).await?;
    let subnet = lab.subnet(&stage.at, &vpc, "a", "10.1.0.0/24", Families::Both, &tags(&[])).await?;
    let group = lab.group(&stage.at, &vpc, "endpoints", &[], &tags(&[])).await?;
    let (subnets, groups) = ([subnet].into(), [group].into());
    let new = NewEndpoint { vpc, subnets, groups, client_token: "both".to_owned(), ..stage.interface("ssm") };
    let both = stage.available(new).await?;
    for family in [IpAddressType::Dualstack, IpAddressType::Ipv4] {
        assert_eq!(changed(&stage, &both, to(family)).await?.ip_address_type, Some(family));
    }
    Ok(())
}

/// Section 2.
async fn a_restored_policy_is_full_access(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    for new in [stage.interface("ssm"), stage.gateway(&[&main])] {
        let id = stage.available(new).await?;
        let seen = changed(&stage, &id, EndpointChange { full_access_policy: true, ..nothing() }).await?;
        let policy = seen.policy.context("no policy")?;
        assert!(is_full_access(&policy)?, "{policy}");
    }
    Ok(())
}

async fn several_changes_go_into_one_call(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let [a, b] = stage.subnets.clone();
    let other = lab.group(&stage.at, &stage.vpc, "other", &[], &tags(&[])).await?;
    let id = stage.available(NewEndpoint { private_dns: false, ..stage.interface("ssm") }).await?;
    let change = EndpointChange {
        add_subnets: [b.clone()].into(),
        add_groups: [other.clone()].into(),
        remove_groups: [stage.group.clone()].into(),
        private_dns: Some(true),
        full_access_policy: true,
        ..nothing()
    };
    let seen = changed(&stage, &id, change).await?;
    assert_eq!((seen.subnets, seen.groups), (BTreeSet::from([a, b]), BTreeSet::from([other])));
    assert!(seen.private_dns);
    Ok(())
}

/// `DuplicateSubnetsInSameZone` (1.5).
async fn a_second_subnet_of_a_zone_is_refused(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let same = lab.subnet(&stage.at, &stage.vpc, "a", "10.0.9.0/24", Families::V4, &tags(&[])).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    let change = EndpointChange { add_subnets: [same].into(), ..nothing() };
    refused_as(FaultKind::Invalid, "DuplicateSubnetsInSameZone", stage.change(&id, change).await)?;
    Ok(())
}

async fn a_zone_that_the_service_lacks_is_refused_as_well(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::Zones { service: "ssm", zones: &["a"] }).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    let change = EndpointChange { add_subnets: [stage.subnets[1].clone()].into(), ..nothing() };
    refused_about(InvalidParameterAbout::Zone, stage.change(&id, change).await)?;
    Ok(())
}

async fn a_subnet_without_free_addresses_cannot_be_added(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    lab.free_addresses(&stage.at, &stage.subnets[1], 0).await?;
    let change = EndpointChange { add_subnets: [stage.subnets[1].clone()].into(), ..nothing() };
    refused_as(FaultKind::Invalid, "InsufficientFreeAddressesInSubnet", stage.change(&id, change).await)?;
    Ok(())
}

async fn an_unknown_subnet_or_group_is_not_found(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    let change = EndpointChange { add_subnets: ["subnet-0ffffffffffffff99".into()].into(), ..nothing() };
    refused(FaultKind::NotFound, stage.change(&id, change).await)?;
    let change = EndpointChange { add_groups: ["sg-0ffffffffffffff99".into()].into(), ..nothing() };
    refused_as(FaultKind::NotFound, "InvalidGroup.NotFound", stage.change(&id, change).await)?;
    Ok(())
}

/// A call is carried out whole or not at all.
async fn a_refused_change_changes_nothing(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let other = lab.group(&stage.at, &stage.vpc, "other", &[], &tags(&[])).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    let before = stage.seen(&id).await?;
    let change = EndpointChange {
        add_subnets: [stage.subnets[1].clone()].into(),
        remove_subnets: [stage.subnets[0].clone()].into(),
        add_groups: [other, "sg-0ffffffffffffff99".into()].into(),
        private_dns: Some(false),
        ..nothing()
    };
    refused(FaultKind::NotFound, stage.change(&id, change).await)?;
    assert_eq!(stage.seen(&id).await?, before);
    Ok(())
}

/// `IncorrectState`.
async fn a_pending_endpoint_is_not_changed(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create(stage.interface("ssm")).await?;
    let change = EndpointChange { private_dns: Some(false), ..nothing() };
    refused_as(FaultKind::Conflict, "IncorrectState", stage.change(&id, change).await)?;
    assert!(stage.seen(&id).await?.private_dns);
    Ok(())
}

async fn a_deleting_endpoint_is_not_changed(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    stage.delete(&[&id]).await?;
    let change = EndpointChange { private_dns: Some(false), ..nothing() };
    refused_as(FaultKind::Conflict, "IncorrectState", stage.change(&id, change).await)?;
    Ok(())
}

/// `OperationNotPermitted`.
async fn a_requester_managed_endpoint_is_not_changed(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    lab.requester_managed(&stage.at, &id).await?;
    assert!(stage.seen(&id).await?.requester_managed);
    let change = EndpointChange { private_dns: Some(false), ..nothing() };
    refused_as(FaultKind::Conflict, "OperationNotPermitted", stage.change(&id, change).await)?;
    assert!(stage.seen(&id).await?.private_dns);
    Ok(())
}

/// `InvalidVpcEndpointId.NotFound`, also for one that is only not listed yet (1.7).
async fn an_unknown_endpoint_is_not_found(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let change = || EndpointChange { private_dns: Some(false), ..nothing() };
    let nowhere = "vpce-0ffffffffffffff99".into();
    refused(FaultKind::NotFound, stage.change(&nowhere, change()).await)?;
    lab.rule(&stage.at, Rule::VisibleAfter(PENDING * 10)).await?;
    let unseen = stage.create(stage.interface("ssm")).await?;
    refused(FaultKind::NotFound, stage.change(&unseen, change()).await)?;
    Ok(())
}
