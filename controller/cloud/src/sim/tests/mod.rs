//! Each rule of AWS that the simulator keeps, and the simulator's own promises.

mod agents;
mod consistency;
mod credentials;
mod documents;
mod endpoints;
mod groups;
mod iam;
mod identity;
mod random;
mod settings;
mod targets;
mod weather;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use ssm_ready_core::{
    facts::{EndpointState, EndpointType, IngressRule, Principal, RoleStep, RuleSource, Scope, Tags},
    fault::Fault,
    ids::{AccountId, EndpointId, Region, RouteTableId, Secret, SecurityGroupId, SubnetId, VpcId},
    write::{EndpointChange, NewEndpoint, Write, Written},
};
use tokio::time::Instant;

use super::{settings::METADATA_DEFAULTS, *};
use crate::Cloud;

const ROLE: &str = "arn:aws:iam::111122223333:role/ssm-ready";

/// A clock that a test moves by hand.
#[derive(Debug, Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn clock(&self) -> Clock {
        let hand = self.clone();
        Arc::new(move || {
            let since = Duration::from_secs(hand.0.load(Ordering::Relaxed));
            Timestamp::from_second(1_800_000_000).unwrap() + since
        })
    }

    fn wait(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

/// tokio's time, as a process sees it.
fn tokio_clock() -> Clock {
    let began = Instant::now();
    Arc::new(move || Timestamp::from_second(1_800_000_000).unwrap() + began.elapsed())
}

fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

fn region() -> Region {
    "eu-west-1".parse().unwrap()
}

fn service(name: &str) -> String {
    format!("com.amazonaws.eu-west-1.{name}")
}

/// One VPC, 10.0.0.0/16, with a subnet in each of two zones and a group that admits HTTPS from all of it.
#[derive(Debug, Clone)]
struct Place {
    sim: Sim,
    vpc: VpcId,
    subnets: [SubnetId; 2],
    table: RouteTableId,
    group: SecurityGroupId,
}

fn place(clock: Clock, seed: u64) -> Place {
    let sim = Sim::new(clock, seed);
    let (vpc, subnets, table) = sim.with(|world| {
        world.add_role(&account(), ROLE, Some("tenant"));
        world.add_region(&account(), &region(), Offer::default());
        let vpc = world.add_vpc(&account(), &region(), NewVpc::of("10.0.0.0/16".parse().unwrap()));
        let subnets = ["a", "b"].map(|zone| world.add_subnet(&account(), &region(), &vpc, NewSubnet::of(zone)));
        let table = world.add_route_table(&account(), &region(), &vpc, subnets.clone());
        (vpc, subnets, table)
    });
    let group = SecurityGroupId::from("");
    let mut place = Place { sim, vpc, subnets, table, group };
    place.group = place.make_group("open");
    place.act(&admit(&place.group, &["10.0.0.0/16"])).unwrap();
    place
}

impl Place {
    fn act(&self, write: &Write) -> Result<Written, Fault> {
        self.sim.with(|world| world.act(&Actor::Person, &account(), &region(), write))
    }

    fn code(&self, write: &Write) -> String {
        self.act(write).map_or_else(|fault| fault.code, |written| format!("{written:?}"))
    }

    fn make_group(&self, name: &str) -> SecurityGroupId {
        let write = Write::CreateSecurityGroup {
            vpc: self.vpc.clone(),
            name: name.to_owned(),
            description: "for tests".to_owned(),
            tags: Tags::new(),
        };
        match self.act(&write).unwrap() {
            Written::Group(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// An interface endpoint of a service in both subnets, its token the service's name.
    fn interface(&self, name: &str) -> NewEndpoint {
        NewEndpoint {
            vpc: self.vpc.clone(),
            service_name: service(name),
            kind: EndpointType::Interface,
            subnets: self.subnets.iter().cloned().collect(),
            groups: [self.group.clone()].into(),
            route_tables: BTreeSet::new(),
            private_dns: true,
            ip_address_type: None,
            inbound_resolver_only: None,
            tags: Tags::new(),
            client_token: format!("{name}-1"),
        }
    }

    fn gateway(&self) -> NewEndpoint {
        NewEndpoint {
            kind: EndpointType::Gateway,
            subnets: BTreeSet::new(),
            groups: BTreeSet::new(),
            route_tables: [self.table.clone()].into(),
            private_dns: false,
            client_token: "gateway-1".to_owned(),
            ..self.interface("s3")
        }
    }

    fn make(&self, new: &NewEndpoint) -> EndpointId {
        match self.act(&create(new)).unwrap() {
            Written::Endpoint(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn state(&self, id: &EndpointId) -> Option<EndpointState> {
        self.region(|state| state.endpoints.get(id).map(|endpoint| endpoint.state.clone()))
    }

    fn region<T>(&self, look: impl FnOnce(&mut RegionState) -> T) -> T {
        self.sim.with(|world| look(world.region_mut(&account(), &region())))
    }

    fn free(&self, subnet: &SubnetId) -> i64 {
        self.region(|state| state.subnets[subnet].free_addresses)
    }

    fn weather(&self, change: impl FnOnce(&mut Weather)) {
        self.sim.with(|world| change(&mut world.weather));
    }
}

fn create(new: &NewEndpoint) -> Write {
    Write::CreateEndpoint(Box::new(new.clone()))
}

fn modify(endpoint: &EndpointId, change: EndpointChange) -> Write {
    Write::ModifyEndpoint { endpoint: endpoint.clone(), change: Box::new(change) }
}

fn delete(endpoint: &EndpointId) -> Write {
    Write::DeleteEndpoints { endpoints: [endpoint.clone()].into() }
}

fn https(from: &str) -> IngressRule {
    IngressRule {
        protocol: "tcp".to_owned(),
        ports: Some((443, 443)),
        source: RuleSource::Cidr(from.parse().unwrap()),
        description: None,
    }
}

fn admit(group: &SecurityGroupId, from: &[&str]) -> Write {
    Write::AuthorizeIngress { group: group.clone(), rules: from.iter().map(|cidr| https(cidr)).collect() }
}

fn no_longer_admit(group: &SecurityGroupId, from: &[&str]) -> Write {
    Write::RevokeIngress { group: group.clone(), rules: from.iter().map(|cidr| https(cidr)).collect() }
}

fn principal() -> Principal {
    Principal {
        account: account(),
        roles: vec![RoleStep { arn: ROLE.parse().unwrap(), external_id: Some(Secret::new("tenant")) }],
        session_name: "ssm-ready".to_owned(),
        duration_seconds: 3600,
        read_only: false,
    }
}

fn scope() -> Scope {
    Scope { principal: principal(), region: region(), api_share_percent: 100 }
}

/// A gate that writes down what passes it.
#[derive(Debug, Default)]
struct Watching(Mutex<Vec<String>>);

impl Watching {
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Gate for Watching {
    fn name(&self) -> String {
        "test".to_owned()
    }

    async fn before(&self, call: &Call) {
        self.0.lock().unwrap().push(format!("before {}", call.operation.name()));
    }

    async fn after(&self, call: &Call) {
        self.0.lock().unwrap().push(format!("after {}", call.operation.name()));
    }
}
