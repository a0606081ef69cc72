//! Gateway endpoints: routes to a prefix list in route tables (domain 1.5).

use std::collections::BTreeSet;

use anyhow::Result;
use ssm_ready_core::{
    facts::{EndpointState, EndpointType},
    fault::FaultKind,
    ids::{EndpointId, RouteTableId},
    write::{EndpointChange, NewEndpoint},
};

use crate::{
    lab::{DELETING, ELSEWHERE, LISTED, Lab, PENDING, Rule},
    stage::{Stage, refused, refused_as, tags},
};

facts!(
    a_gateway_shows_its_route_tables,
    routes_appear_with_the_gateway_and_go_with_it,
    a_gateway_has_no_interfaces_and_no_groups,
    a_gateway_needs_no_route_tables,
    a_table_takes_one_route_to_a_service,
    a_table_takes_a_route_again_when_the_first_has_gone,
    an_unknown_route_table_is_not_found,
    gateways_have_a_quota_in_each_region,
    route_tables_are_added_and_taken_away,
    a_table_with_a_route_cannot_be_added,
);

/// The endpoints that a table has routes to.
async fn routes(stage: &Stage<'_>, table: &RouteTableId) -> Result<Vec<EndpointId>> {
    Ok(stage.table(table).await?.endpoint_routes.into_values().map(Into::into).collect())
}

async fn a_gateway_shows_its_route_tables(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    let own = lab.route_table(&stage.at, &stage.vpc, &[&stage.subnets[1]], &tags(&[])).await?;
    let new = NewEndpoint { tags: tags(&[("a", "1")]), ..stage.gateway(&[&main, &own]) };
    let id = stage.available(new.clone()).await?;
    let seen = stage.seen(&id).await?;
    assert_eq!((seen.kind, seen.state), (EndpointType::Gateway, EndpointState::Available));
    assert_eq!((&seen.vpc, &seen.service_name), (&new.vpc, &new.service_name));
    assert_eq!((&seen.route_tables, &seen.tags), (&BTreeSet::from([main, own]), &new.tags));
    Ok(())
}

/// Each route that comes or goes resets connections (1.5).
async fn routes_appear_with_the_gateway_and_go_with_it(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    let other = lab.route_table(&stage.at, &stage.vpc, &[], &tags(&[])).await?;
    let id = stage.available(stage.gateway(&[&main])).await?;
    assert_eq!(routes(&stage, &main).await?, std::slice::from_ref(&id));
    assert_eq!(routes(&stage, &other).await?, []);
    assert_eq!(stage.delete(&[&id]).await?, []);
    stage.pass(DELETING).await?;
    stage.pass(LISTED).await?;
    assert_eq!(routes(&stage, &main).await?, []);
    assert_eq!(stage.listed(&id).await?, None);
    Ok(())
}

async fn a_gateway_has_no_interfaces_and_no_groups(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    let id = stage.available(stage.gateway(&[&main])).await?;
    let seen = stage.seen(&id).await?;
    assert!(seen.subnets.is_empty() && seen.groups.is_empty() && seen.network_interfaces.is_empty(), "{seen:?}");
    assert!(!seen.private_dns, "{seen:?}");
    Ok(())
}

async fn a_gateway_needs_no_route_tables(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.gateway(&[])).await?;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Available);
    Ok(())
}

/// `RouteAlreadyExists`.
async fn a_table_takes_one_route_to_a_service(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    let other = lab.route_table(&stage.at, &stage.vpc, &[], &tags(&[])).await?;
    let first = stage.create(stage.gateway(&[&main])).await?;
    let both = stage.gateway(&[&main, &other]);
    refused_as(FaultKind::Conflict, "RouteAlreadyExists", stage.create(both).await)?;
    assert_eq!(routes(&stage, &other).await?, [], "a refused creation leaves nothing");
    let second = NewEndpoint { client_token: "second".to_owned(), ..stage.gateway(&[&other]) };
    let second = stage.create(second).await?;
    assert_eq!((routes(&stage, &main).await?, routes(&stage, &other).await?), (vec![first], vec![second]));
    Ok(())
}

async fn a_table_takes_a_route_again_when_the_first_has_gone(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    let first = stage.available(stage.gateway(&[&main])).await?;
    stage.delete_for_good(&first).await?;
    let second = NewEndpoint { client_token: "second".to_owned(), ..stage.gateway(&[&main]) };
    let second = stage.create(second).await?;
    assert_eq!(routes(&stage, &main).await?, [second]);
    Ok(())
}

/// `InvalidRouteTableID.NotFound` (1.8).
async fn an_unknown_route_table_is_not_found(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let nowhere = RouteTableId::from("rtb-0ffffffffffffff99");
    refused(FaultKind::NotFound, stage.create(stage.gateway(&[&nowhere])).await)?;
    let id = stage.available(NewEndpoint { client_token: "second".to_owned(), ..stage.gateway(&[]) }).await?;
    let change = EndpointChange { add_route_tables: [nowhere].into(), ..EndpointChange::default() };
    refused(FaultKind::NotFound, stage.change(&id, change).await)?;
    Ok(())
}

/// `VpcEndpointLimitExceeded`: gateways are counted in a region, over all its VPCs (1.6).
async fn gateways_have_a_quota_in_each_region(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let neighbour = Stage::set_at(lab, stage.at.clone()).await?;
    let far = Stage::set_at(lab, stage.at.in_region(ELSEWHERE)?).await?;
    lab.rule(&stage.at, Rule::Quota { interface: 50, gateway: 1 }).await?;
    stage.create(stage.gateway(&[])).await?;
    let code = "VpcEndpointLimitExceeded";
    refused_as(FaultKind::LimitExceeded, code, neighbour.create(neighbour.gateway(&[])).await)?;
    far.create(far.gateway(&[])).await?;
    // Interfaces are not counted with them.
    neighbour.create(neighbour.interface("ssm")).await?;
    Ok(())
}

async fn route_tables_are_added_and_taken_away(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    let own = lab.route_table(&stage.at, &stage.vpc, &[&stage.subnets[1]], &tags(&[])).await?;
    let id = stage.available(stage.gateway(&[&main])).await?;
    let change = EndpointChange {
        add_route_tables: [own.clone()].into(),
        remove_route_tables: [main.clone()].into(),
        ..EndpointChange::default()
    };
    stage.change(&id, change).await?;
    stage.pass(PENDING).await?;
    assert_eq!(stage.seen(&id).await?.route_tables, BTreeSet::from([own.clone()]));
    assert_eq!((routes(&stage, &main).await?, routes(&stage, &own).await?), (vec![], vec![id.clone()]));
    let back = EndpointChange { add_route_tables: [main.clone()].into(), ..EndpointChange::default() };
    stage.change(&id, back).await?;
    stage.pass(PENDING).await?;
    assert_eq!(stage.seen(&id).await?.route_tables, BTreeSet::from([main, own]));
    Ok(())
}

async fn a_table_with_a_route_cannot_be_added(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    let first = stage.create(stage.gateway(&[&main])).await?;
    let second = stage.available(NewEndpoint { client_token: "second".to_owned(), ..stage.gateway(&[]) }).await?;
    let change = EndpointChange { add_route_tables: [main.clone()].into(), ..EndpointChange::default() };
    refused_as(FaultKind::Conflict, "RouteAlreadyExists", stage.change(&second, change).await)?;
    assert_eq!(routes(&stage, &main).await?, [first]);
    assert!(stage.seen(&second).await?.route_tables.is_empty());
    Ok(())
}
