//! The usual stage: one VPC with what endpoints need, and short words for what is done in it.

use std::{fmt::Debug, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use ssm_ready_cloud::Cloud;
use ssm_ready_core::{
    facts::{Endpoint, EndpointType, IngressRule, NetworkInterface, RouteTable, RuleSource, Scope, Tags},
    fault::{Fault, FaultKind, HELD_BACK, InvalidParameterAbout},
    ids::{EndpointId, RouteTableId, SecurityGroupId, SubnetId, VpcId},
    write::{EndpointChange, NewEndpoint, Write, Written},
};

use crate::lab::{DELETING, Families, LISTED, Lab, PENDING, Place};

/// A VPC 10.0.0.0/16 with both DNS attributes, subnets in two zones, and a security group.
pub struct Stage<'a> {
    pub lab: &'a dyn Lab,
    pub at: Place,
    pub scope: Scope,
    pub cloud: Arc<dyn Cloud>,
    pub vpc: VpcId,
    /// In zone a, and in zone b.
    pub subnets: [SubnetId; 2],
    pub group: SecurityGroupId,
}

impl<'a> Stage<'a> {
    pub async fn set(lab: &'a dyn Lab) -> Result<Self> {
        Self::set_at(lab, lab.place().await?).await
    }

    pub async fn set_at(lab: &'a dyn Lab, at: Place) -> Result<Self> {
        let vpc = lab.vpc(&at, &["10.0.0.0/16"], false, [true; 2]).await?;
        let subnets = [
            lab.subnet(&at, &vpc, "a", "10.0.0.0/24", Families::V4, &Tags::new()).await?,
            lab.subnet(&at, &vpc, "b", "10.0.1.0/24", Families::V4, &Tags::new()).await?,
        ];
        let group = lab.group(&at, &vpc, "endpoints", &[https_from("10.0.0.0/16")?], &Tags::new()).await?;
        Ok(Self { lab, scope: at.scope(), at, cloud: lab.cloud(), vpc, subnets, group })
    }

    /// The full name of a service.
    pub fn service(&self, short: &str) -> String {
        format!("com.amazonaws.{}.{short}", self.at.region)
    }

    /// An interface endpoint in the first subnet, with private DNS.
    pub fn interface(&self, short: &str) -> NewEndpoint {
        NewEndpoint {
            vpc: self.vpc.clone(),
            service_name: self.service(short),
            kind: EndpointType::Interface,
            subnets: [self.subnets[0].clone()].into(),
            groups: [self.group.clone()].into(),
            route_tables: [].into(),
            private_dns: true,
            ip_address_type: None,
            inbound_resolver_only: None,
            tags: Tags::new(),
            client_token: format!("{}-{short}", self.vpc),
        }
    }

    /// A gateway endpoint for S3.
    pub fn gateway(&self, tables: &[&RouteTableId]) -> NewEndpoint {
        NewEndpoint {
            kind: EndpointType::Gateway,
            subnets: [].into(),
            groups: [].into(),
            route_tables: tables.iter().map(|&table| table.clone()).collect(),
            private_dns: false,
            client_token: format!("{}-gateway-{}", self.vpc, tables.len()),
            ..self.interface("s3")
        }
    }

    /// Makes a write, if need be after waiting for AWS's rate.
    pub async fn write(&self, write: &Write) -> Result<Written, Fault> {
        match self.cloud.write(&self.scope, write).await {
            Err(fault) if fault.code == HELD_BACK => {
                let cloud = self.lab.cloud_after(fault.retry_after.unwrap_or_default()).await;
                cloud.write(&self.scope, write).await
            }
            result => result,
        }
    }

    pub async fn create(&self, new: NewEndpoint) -> Result<EndpointId, Fault> {
        match self.write(&Write::CreateEndpoint(Box::new(new))).await? {
            Written::Endpoint(id) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    /// An endpoint that is available.
    pub async fn available(&self, new: NewEndpoint) -> Result<EndpointId> {
        let id = self.create(new).await?;
        self.pass(PENDING).await?;
        Ok(id)
    }

    pub async fn change(&self, endpoint: &EndpointId, change: EndpointChange) -> Result<(), Fault> {
        let write = Write::ModifyEndpoint { endpoint: endpoint.clone(), change: Box::new(change) };
        match self.write(&write).await? {
            Written::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Deletes endpoints. Those that were refused are in the result.
    pub async fn delete(&self, endpoints: &[&EndpointId]) -> Result<Vec<(EndpointId, Fault)>, Fault> {
        let endpoints = endpoints.iter().map(|&id| id.clone()).collect();
        match self.write(&Write::DeleteEndpoints { endpoints }).await? {
            Written::Done => Ok(Vec::new()),
            Written::NotDeleted(left) => Ok(left),
            other => Err(unexpected(&other)),
        }
    }

    /// Deletes an endpoint, and waits until it is not even listed.
    pub async fn delete_for_good(&self, endpoint: &EndpointId) -> Result<()> {
        let left = self.delete(&[endpoint]).await?;
        ensure!(left.is_empty(), "{left:?}");
        self.pass(DELETING).await?;
        self.listed(endpoint).await?;
        self.pass(LISTED).await
    }

    pub async fn create_group(&self, name: &str, tags: &Tags) -> Result<SecurityGroupId, Fault> {
        let write = Write::CreateSecurityGroup {
            vpc: self.vpc.clone(),
            name: name.to_owned(),
            description: "of a case".to_owned(),
            tags: tags.clone(),
        };
        match self.write(&write).await? {
            Written::Group(id) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets a state's time pass, and a moment more.
    pub async fn pass(&self, span: Duration) -> Result<()> {
        self.lab.pass_time(span + Duration::from_secs(1)).await
    }

    /// An endpoint as AWS lists it, if it does.
    pub async fn listed(&self, endpoint: &EndpointId) -> Result<Option<Endpoint>> {
        Ok(self.cloud.endpoints(&self.scope).await?.into_iter().find(|listed| listed.id == *endpoint))
    }

    /// An endpoint that AWS has to list.
    pub async fn seen(&self, endpoint: &EndpointId) -> Result<Endpoint> {
        self.listed(endpoint).await?.with_context(|| format!("{endpoint} is not listed"))
    }

    /// The network interfaces that carry the stage's group.
    pub async fn interfaces(&self) -> Result<Vec<NetworkInterface>> {
        Ok(self.cloud.network_interfaces(&self.scope, &self.group).await?)
    }

    /// The main route table of the VPC.
    pub async fn main_table(&self) -> Result<RouteTable> {
        let tables = self.cloud.route_tables(&self.scope).await?;
        tables.into_iter().find(|table| table.vpc == self.vpc && table.main).context("the VPC has no main route table")
    }

    /// A route table by its id.
    pub async fn table(&self, id: &RouteTableId) -> Result<RouteTable> {
        let tables = self.cloud.route_tables(&self.scope).await?;
        tables.into_iter().find(|table| table.id == *id).with_context(|| format!("{id} is not listed"))
    }
}

/// A place without a VPC, for what is there once for a region or an account.
pub struct Desk<'a> {
    pub lab: &'a dyn Lab,
    pub at: Place,
    pub scope: Scope,
}

impl<'a> Desk<'a> {
    pub async fn set(lab: &'a dyn Lab) -> Result<Self> {
        let at = lab.place().await?;
        Ok(Self { lab, scope: at.scope(), at })
    }

    /// The port, after a moment in which AWS's buckets fill up: Systems Manager and IAM allow but five calls at once.
    pub async fn cloud(&self) -> Arc<dyn Cloud> {
        self.lab.cloud_after(Duration::from_secs(3)).await
    }

    pub async fn write(&self, write: Write) -> Result<Written, Fault> {
        self.cloud().await.write(&self.scope, &write).await
    }

    /// A write that is done.
    pub async fn done(&self, write: Write) -> Result<()> {
        let written = self.write(write).await?;
        ensure!(written == Written::Done, "{written:?}");
        Ok(())
    }

    /// Lets time pass, and a moment more.
    pub async fn pass(&self, span: Duration) -> Result<()> {
        self.lab.pass_time(span + Duration::from_secs(1)).await
    }
}

fn unexpected(written: &Written) -> Fault {
    Fault::from_answer(
        ssm_ready_core::calls::Operation::GetCallerIdentity,
        "UnexpectedOutcome",
        200,
        &format!("{written:?}"),
    )
}

/// The fault of a call that has to be refused, which is of a kind.
pub fn refused<T: Debug>(kind: FaultKind, result: Result<T, Fault>) -> Result<Fault> {
    match result {
        Err(fault) if fault.kind == kind => Ok(fault),
        Err(fault) => bail!("{:?} instead of {kind:?}: {fault}", fault.kind),
        Ok(value) => bail!("no {kind:?}: it was done all the same: {value:?}"),
    }
}

/// The fault of a call that has to be refused with a code.
pub fn refused_as<T: Debug>(kind: FaultKind, code: &str, result: Result<T, Fault>) -> Result<Fault> {
    let fault = refused(kind, result)?;
    ensure!(fault.code == code, "not {code}: {fault}");
    Ok(fault)
}

/// The fault of a call that has to be refused for a parameter, which AWS names in words alone.
pub fn refused_about<T: Debug>(about: InvalidParameterAbout, result: Result<T, Fault>) -> Result<Fault> {
    let fault = refused_as(FaultKind::Invalid, "InvalidParameter", result)?;
    let said = InvalidParameterAbout::of(&fault.message);
    ensure!(said == about, "about {said:?}, not {about:?}: {fault}");
    Ok(fault)
}

/// HTTPS from a CIDR.
pub fn https_from(cidr: &str) -> Result<IngressRule> {
    Ok(IngressRule {
        protocol: "tcp".to_owned(),
        ports: Some((443, 443)),
        source: RuleSource::Cidr(cidr.parse()?),
        description: None,
    })
}

pub fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}
