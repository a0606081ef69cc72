//! Private DNS: once for a name in a VPC, and only where the VPC resolves (domain 1.4).

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    facts::VpcAttribute,
    fault::{FaultKind, InvalidParameterAbout},
    write::{EndpointChange, NewEndpoint, Write, Written},
};

use crate::{
    lab::{DELETING, Families, Lab, PENDING},
    stage::{Stage, refused, refused_about, tags},
};

facts!(
    a_second_endpoint_conflicts,
    an_endpoint_without_private_dns_conflicts_with_nothing,
    another_vpc_has_names_of_its_own,
    an_endpoint_conflicts_until_it_is_gone,
    a_hosted_zone_conflicts,
    private_dns_needs_both_attributes,
    an_attribute_that_is_switched_on_is_on,
    private_dns_is_switched_off_and_on,
    switching_on_conflicts_as_creating_does,
    switching_on_needs_both_attributes,
    inbound_resolvers_alone_need_a_gateway,
);

fn second(stage: &Stage<'_>) -> NewEndpoint {
    NewEndpoint { client_token: format!("{}-second", stage.vpc), ..stage.interface("ssm") }
}

/// "already a conflicting DNS domain", in the first state as well as later.
async fn a_second_endpoint_conflicts(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    stage.create(stage.interface("ssm")).await?;
    for _ in ["while the first is pending", "when it is available"] {
        let fault = refused_about(InvalidParameterAbout::DnsConflict, stage.create(second(&stage)).await)?;
        ensure!(fault.message.contains("ssm.eu-west-1.amazonaws.com"), "the name is not there: {fault}");
        ensure!(fault.message.contains(stage.vpc.as_str()), "the VPC is not named: {fault}");
        stage.pass(PENDING).await?;
    }
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?.len(), 1);
    Ok(())
}

/// Neither as the first nor as the second.
async fn an_endpoint_without_private_dns_conflicts_with_nothing(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    stage.create(NewEndpoint { private_dns: false, ..stage.interface("ssm") }).await?;
    stage.create(second(&stage)).await?;
    let third = NewEndpoint { private_dns: false, client_token: "third".to_owned(), ..stage.interface("ssm") };
    stage.create(third).await?;
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?.len(), 3);
    Ok(())
}

async fn another_vpc_has_names_of_its_own(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let neighbour = Stage::set_at(lab, stage.at.clone()).await?;
    stage.create(stage.interface("ssm")).await?;
    neighbour.create(neighbour.interface("ssm")).await?;
    Ok(())
}

/// A deleting endpoint holds its name until it is gone (1.7).
async fn an_endpoint_conflicts_until_it_is_gone(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    stage.delete(&[&id]).await?;
    refused_about(InvalidParameterAbout::DnsConflict, stage.create(second(&stage)).await)?;
    stage.pass(DELETING).await?;
    // Deleted, though still listed.
    stage.seen(&id).await?;
    stage.create(second(&stage)).await?;
    Ok(())
}

/// The centralised pattern: somebody's private hosted zone of that name.
async fn a_hosted_zone_conflicts(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.hosted_zone(&stage.at, &stage.vpc, "ssm.eu-west-1.amazonaws.com").await?;
    refused_about(InvalidParameterAbout::DnsConflict, stage.create(stage.interface("ssm")).await)?;
    stage.create(NewEndpoint { private_dns: false, ..second(&stage) }).await?;
    stage.create(stage.interface("kms")).await?;
    Ok(())
}

async fn private_dns_needs_both_attributes(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    for (number, dns) in [[true, false], [false, false]].into_iter().enumerate() {
        let vpc = lab.vpc(&stage.at, &["10.0.0.0/16"], false, dns).await?;
        let subnet = lab.subnet(&stage.at, &vpc, "a", "10.0.0.0/24", Families::V4, &tags(&[])).await?;
        let group = lab.group(&stage.at, &vpc, "endpoints", &[], &tags(&[])).await?;
        let new = NewEndpoint {
            vpc,
            subnets: [subnet].into(),
            groups: [group].into(),
            client_token: format!("{}-{number}", stage.vpc),
            ..stage.interface("ssm")
        };
        refused_about(InvalidParameterAbout::DnsAttributes, stage.create(new.clone()).await)?;
        stage.create(NewEndpoint { private_dns: false, client_token: format!("{number}"), ..new }).await?;
    }
    Ok(())
}

async fn an_attribute_that_is_switched_on_is_on(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let vpc = lab.vpc(&stage.at, &["10.0.0.0/16"], false, [false; 2]).await?;
    let read = |attribute| stage.cloud.vpc_attribute(&stage.scope, &vpc, attribute);
    for attribute in VpcAttribute::BOTH {
        assert!(!read(attribute).await?, "{attribute:?}");
        // Once more does no harm.
        for _ in 0..2 {
            let write = Write::EnableVpcAttribute { vpc: vpc.clone(), attribute };
            assert_eq!(stage.write(&write).await?, Written::Done);
            assert!(read(attribute).await?, "{attribute:?}");
        }
    }
    let nowhere =
        Write::EnableVpcAttribute { vpc: "vpc-0ffffffffffffff99".into(), attribute: VpcAttribute::DnsSupport };
    refused(FaultKind::NotFound, stage.write(&nowhere).await)?;
    Ok(())
}

async fn private_dns_is_switched_off_and_on(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    for on in [false, true] {
        stage.change(&id, EndpointChange { private_dns: Some(on), ..EndpointChange::default() }).await?;
        stage.pass(PENDING).await?;
        assert_eq!(stage.seen(&id).await?.private_dns, on);
    }
    // Off, it leaves the name to another.
    stage.change(&id, EndpointChange { private_dns: Some(false), ..EndpointChange::default() }).await?;
    stage.create(second(&stage)).await?;
    Ok(())
}

async fn switching_on_conflicts_as_creating_does(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    stage.create(stage.interface("ssm")).await?;
    let late = stage.available(NewEndpoint { private_dns: false, ..second(&stage) }).await?;
    let on = EndpointChange { private_dns: Some(true), ..EndpointChange::default() };
    refused_about(InvalidParameterAbout::DnsConflict, stage.change(&late, on).await)?;
    assert!(!stage.seen(&late).await?.private_dns);
    Ok(())
}

async fn switching_on_needs_both_attributes(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let vpc = lab.vpc(&stage.at, &["10.0.0.0/16"], false, [true, false]).await?;
    let subnet = lab.subnet(&stage.at, &vpc, "a", "10.0.0.0/24", Families::V4, &tags(&[])).await?;
    let new = NewEndpoint {
        vpc: vpc.clone(),
        subnets: [subnet].into(),
        groups: [].into(),
        private_dns: false,
        ..stage.interface("ssm")
    };
    let id = stage.available(new).await?;
    let on = || EndpointChange { private_dns: Some(true), ..EndpointChange::default() };
    refused_about(InvalidParameterAbout::DnsAttributes, stage.change(&id, on()).await)?;
    let hostnames = Write::EnableVpcAttribute { vpc, attribute: VpcAttribute::DnsHostnames };
    stage.write(&hostnames).await?;
    stage.change(&id, on()).await?;
    Ok(())
}

/// Of S3, whose interfaces serve inbound resolvers alone only next to a gateway.
async fn inbound_resolvers_alone_need_a_gateway(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let interface = |only| NewEndpoint {
        inbound_resolver_only: Some(only),
        client_token: format!("{}-{only}", stage.vpc),
        ..stage.interface("s3")
    };
    let result = stage.create(interface(true)).await;
    refused_about(InvalidParameterAbout::InboundResolverNeedsGateway, result)?;
    let plain = stage.available(interface(false)).await?;
    stage.delete_for_good(&plain).await?;
    stage.create(stage.gateway(&[])).await?;
    let id = stage.create(interface(true)).await?;
    stage.listed(&id).await?.context("it is not listed")?;
    Ok(())
}
