//! A small world for the tests of this crate.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    calls::Operation,
    evaluate::{EndpointMemory, Memory, Outcome, Ownership, Verdict, View, evaluate},
    facts::{
        Endpoint, EndpointState, EndpointType, IngressRule, Instance, InstanceState, IpAddressType, ManagedNode,
        RouteTable, RuleSource, SecurityGroup, Service, Subnet, Vpc, VpcAttribute,
    },
    fault::Fault,
    overlay::Overlay,
    plan::plan,
    posture::{
        Adoption, Capability, DeletionPolicy, DnsWish, Ec2Messages, GroupWish, Mode, Owner, RouteTableWish, S3Wish,
        ServiceName, SubnetWish, VpcPosture,
    },
    snapshot::{Entry, FactKey, FactValue, Snapshot},
    write::Write,
};

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub(crate) fn posture() -> VpcPosture {
    VpcPosture {
        owner: Owner {
            cluster: "test".into(),
            kind: "VpcPosture",
            namespace: "team".into(),
            name: "main".into(),
            uid: "00000000-0000-0000-0000-000000000001".into(),
        },
        account: "111122223333".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        vpc: "vpc-1".into(),
        mode: Mode::Enforce,
        interval: Duration::from_secs(600),
        capabilities: [Capability::SessionManager, Capability::Patching].into(),
        services: None,
        ec2messages: Ec2Messages::Auto,
        subnets: SubnetWish::Choose { min_zones: 1, max_zones: None, selector: vec![] },
        group: GroupWish::Create { all_vpc_cidrs: true, cidrs: vec![], groups: vec![], prefix_lists: vec![] },
        ip_address_type: IpAddressType::Ipv4,
        s3: S3Wish::Gateway(RouteTableWish::OfInstances),
        tags: Default::default(),
        adoption: Adoption::UseExisting,
        deletion_policy: DeletionPolicy::DeleteWhenUnused,
        unused_for: Duration::from_secs(24 * 3600),
        dns: DnsWish::Enforce,
        instances: None,
    }
}

pub(crate) fn vpc() -> Vpc {
    Vpc { id: "vpc-1".into(), owner: "111122223333".into(), cidrs: vec!["10.0.0.0/16".parse().unwrap()] }
}

pub(crate) fn subnet(id: &str, zone: &str, free: i64) -> Subnet {
    Subnet {
        id: id.into(),
        vpc: "vpc-1".into(),
        zone: format!("eu-west-1{zone}"),
        zone_id: format!("euw1-{zone}"),
        free_addresses: free,
        has_ipv4: true,
        has_ipv6: false,
        tags: Default::default(),
    }
}

pub(crate) fn service(short: &str) -> Service {
    Service {
        name: format!("com.amazonaws.eu-west-1.{short}"),
        kind: EndpointType::Interface,
        zones: ["eu-west-1a", "eu-west-1b", "eu-west-1c"].map(String::from).into(),
        private_dns_names: vec![format!("{short}.eu-west-1.amazonaws.com")],
        ipv4: true,
        ipv6: false,
    }
}

/// An available interface endpoint of ours with private DNS, in subnet-a and subnet-b, with group sg-1.
pub(crate) fn endpoint(id: &str, short: &str) -> Endpoint {
    Endpoint {
        id: id.into(),
        vpc: "vpc-1".into(),
        service_name: format!("com.amazonaws.eu-west-1.{short}"),
        kind: EndpointType::Interface,
        state: EndpointState::Available,
        failure: None,
        subnets: ["subnet-a".into(), "subnet-b".into()].into(),
        groups: ["sg-1".into()].into(),
        route_tables: Default::default(),
        network_interfaces: Default::default(),
        private_dns: true,
        ip_address_type: Some(IpAddressType::Ipv4),
        policy: Some(crate::write::FULL_ACCESS_POLICY.into()),
        requester_managed: false,
        tags: posture().tags_for(short),
    }
}

pub(crate) fn gateway(id: &str) -> Endpoint {
    Endpoint {
        kind: EndpointType::Gateway,
        subnets: Default::default(),
        groups: Default::default(),
        route_tables: ["rtb-main".into()].into(),
        private_dns: false,
        ip_address_type: None,
        ..endpoint(id, "s3")
    }
}

pub(crate) fn group() -> SecurityGroup {
    SecurityGroup {
        id: "sg-1".into(),
        vpc: "vpc-1".into(),
        name: posture().owner.group_name(),
        ingress: vec![crate::facts::IngressRule {
            protocol: "tcp".into(),
            ports: Some((443, 443)),
            source: crate::facts::RuleSource::Cidr("10.0.0.0/16".parse().unwrap()),
            description: Some("ssm-ready: VPC".into()),
        }],
        tags: posture().tags_for("endpoints"),
    }
}

pub(crate) fn main_table() -> RouteTable {
    RouteTable {
        id: "rtb-main".into(),
        vpc: "vpc-1".into(),
        main: true,
        subnets: Default::default(),
        endpoint_routes: Default::default(),
        tags: Default::default(),
    }
}

/// What was read of a VPC with two zones, DNS on, and nothing made yet.
pub(crate) fn empty() -> Snapshot {
    let mut gateway = service("s3");
    gateway.kind = EndpointType::Gateway;
    let mut offer: Vec<Service> =
        ["ssm", "ssmmessages", "ec2messages", "kms", "logs", "ec2", "monitoring", "s3"].map(service).into();
    offer.push(gateway);
    let mut snapshot = Snapshot::default();
    for (key, value) in [
        (FactKey::Vpcs, FactValue::Vpcs(vec![vpc()])),
        (FactKey::Endpoints, FactValue::Endpoints(vec![])),
        (FactKey::SecurityGroups, FactValue::SecurityGroups(vec![])),
        (FactKey::Instances, FactValue::Instances(vec![])),
        (FactKey::ManagedNodes, FactValue::ManagedNodes(vec![])),
        (FactKey::Subnets, FactValue::Subnets(vec![subnet("subnet-a", "a", 9), subnet("subnet-b", "b", 9)])),
        (FactKey::RouteTables, FactValue::RouteTables(vec![main_table()])),
        (FactKey::Services, FactValue::Services(offer)),
        (FactKey::Attribute("vpc-1".into(), VpcAttribute::DnsSupport), FactValue::Attribute(true)),
        (FactKey::Attribute("vpc-1".into(), VpcAttribute::DnsHostnames), FactValue::Attribute(true)),
    ] {
        snapshot.note(&key, Ok(value), at(0));
    }
    snapshot
}

/// The same with everything made and in service.
pub(crate) fn converged() -> Snapshot {
    let mut snapshot = empty();
    snapshot.note(
        &FactKey::Endpoints,
        Ok(FactValue::Endpoints(vec![
            endpoint("vpce-ssm", "ssm"),
            endpoint("vpce-msg", "ssmmessages"),
            gateway("vpce-s3"),
        ])),
        at(0),
    );
    snapshot.note(&FactKey::SecurityGroups, Ok(FactValue::SecurityGroups(vec![group()])), at(0));
    snapshot
}

/// An ingress rule for HTTPS.
pub(crate) fn https(from: &str) -> IngressRule {
    rule("tcp", Some((443, 443)), from)
}

/// An ingress rule that ssm-ready did not make, from a CIDR, a group or a prefix list.
pub(crate) fn rule(protocol: &str, ports: Option<(i32, i32)>, from: &str) -> IngressRule {
    let source = match from {
        _ if from.starts_with("sg-") => RuleSource::Group(from.into()),
        _ if from.starts_with("pl-") => RuleSource::PrefixList(from.into()),
        _ => RuleSource::Cidr(from.parse().unwrap()),
    };
    IngressRule { protocol: protocol.into(), ports, source, description: None }
}

/// A rule that ssm-ready made.
pub(crate) fn our_rule(from: &str) -> IngressRule {
    IngressRule { description: Some("ssm-ready: declared client".into()), ..https(from) }
}

pub(crate) fn named_table(id: &str, subnets: &[&str]) -> RouteTable {
    let subnets = subnets.iter().map(|s| (*s).into()).collect();
    RouteTable { id: id.into(), main: false, subnets, ..main_table() }
}

/// A failed call.
pub(crate) fn fault(operation: Operation, code: &str) -> Fault {
    Fault::from_answer(operation, code, 400, "no")
}

/// An object, the facts it is judged by, and what is remembered of both.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub posture: VpcPosture,
    pub facts: Snapshot,
    pub overlay: Overlay,
    pub memory: Memory,
    pub now: Timestamp,
    /// Whether an interface endpoint that is made is available at once.
    pub slow: bool,
    made: usize,
}

macro_rules! edits {
    ($($(#[$doc:meta])* $edit:ident, $entry:ident, $key:ident, $thing:ty;)*) => {
        $($(#[$doc])*
        pub(crate) fn $edit(&mut self, edit: impl FnOnce(&mut Vec<$thing>)) {
            let mut all = self.facts.$entry.reading(Duration::ZERO, self.now).known().cloned().unwrap_or_default();
            edit(&mut all);
            self.facts.note(&FactKey::$key, Ok(FactValue::$key(all)), self.now);
        })*
    };
}

impl World {
    /// Nothing is made yet.
    pub(crate) fn empty() -> Self {
        Self {
            posture: posture(),
            facts: empty(),
            overlay: Overlay::default(),
            memory: Memory::default(),
            now: at(0),
            slow: false,
            made: 0,
        }
    }

    /// The group is made, and nothing else.
    pub(crate) fn with_group() -> Self {
        let mut world = Self::empty();
        world.groups(|all| all.push(group()));
        world
    }

    /// All is made, in service and remembered.
    pub(crate) fn converged() -> Self {
        let mut world = Self { facts: converged(), ..Self::empty() };
        world.remember(&world.judge());
        world
    }

    edits! {
        vpcs, vpcs, Vpcs, Vpc;
        endpoints, endpoints, Endpoints, Endpoint;
        groups, security_groups, SecurityGroups, SecurityGroup;
        instances, instances, Instances, Instance;
        nodes, managed_nodes, ManagedNodes, ManagedNode;
        subnets, subnets, Subnets, Subnet;
        tables, route_tables, RouteTables, RouteTable;
        services, services, Services, Service;
    }

    /// Changes one endpoint.
    pub(crate) fn endpoint(&mut self, id: &str, edit: impl FnOnce(&mut Endpoint)) {
        self.endpoints(|all| edit(all.iter_mut().find(|e| e.id == id.into()).unwrap()));
    }

    /// Changes the group that `testing::group` made.
    pub(crate) fn group(&mut self, edit: impl FnOnce(&mut SecurityGroup)) {
        self.groups(|all| edit(all.iter_mut().find(|g| g.id == "sg-1".into()).unwrap()));
    }

    pub(crate) fn attribute(&mut self, attribute: VpcAttribute, on: bool) {
        self.facts.note(&FactKey::Attribute("vpc-1".into(), attribute), Ok(FactValue::Attribute(on)), self.now);
    }

    pub(crate) fn cidr(&mut self, cidr: &str) {
        self.vpcs(|all| all[0].cidrs.push(cidr.parse().unwrap()));
    }

    /// An instance in a subnet; and, where it says so, a node with an agent.
    pub(crate) fn instance(&mut self, id: &str, subnet: &str, state: InstanceState, node: Option<(bool, &str)>) {
        let instance = Instance {
            id: id.into(),
            vpc: "vpc-1".into(),
            subnet: subnet.into(),
            state,
            profile: None,
            imds_v1: None,
            imds: None,
            tags: Default::default(),
        };
        self.instances(|all| all.push(instance));
        if let Some((online, agent)) = node {
            self.nodes(|all| all.push(ManagedNode { id: id.into(), online, agent_version: Some(agent.into()) }));
        }
    }

    pub(crate) fn online(&mut self, id: &str) {
        self.instance(id, "subnet-a", InstanceState::Running, Some((true, "3.3.131.0")));
    }

    /// Forgets a fact: its read has always failed.
    pub(crate) fn lose(&mut self, key: &FactKey) {
        match key {
            FactKey::Vpcs => self.facts.vpcs = Entry::default(),
            FactKey::Endpoints => self.facts.endpoints = Entry::default(),
            FactKey::SecurityGroups => self.facts.security_groups = Entry::default(),
            FactKey::Instances => self.facts.instances = Entry::default(),
            FactKey::ManagedNodes => self.facts.managed_nodes = Entry::default(),
            FactKey::Subnets => self.facts.subnets = Entry::default(),
            FactKey::RouteTables => self.facts.route_tables = Entry::default(),
            FactKey::Services => self.facts.services = Entry::default(),
            FactKey::Attribute(vpc, attribute) => {
                self.facts.attributes.remove(&(vpc.clone(), *attribute));
            }
            FactKey::Interfaces(group) => {
                self.facts.interfaces.remove(group);
            }
            other => panic!("no VPC is judged by {other:?}"),
        }
        self.fail_read(key);
    }

    /// The last read of a fact failed; what an earlier one gave stays.
    pub(crate) fn fail_read(&mut self, key: &FactKey) {
        self.facts.note(key, Err(fault(key.operation(), "InternalError")), self.now);
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::of(&self.facts, &self.overlay, &self.posture.vpc, self.posture.interval, self.now)
    }

    pub(crate) fn judge(&self) -> Verdict {
        evaluate(&self.posture, &self.view(), &self.memory)
    }

    /// What status would remember of a verdict.
    pub(crate) fn remember(&mut self, verdict: &Verdict) {
        self.memory.group = verdict.seen.group.clone().or(self.memory.group.take());
        for seen in &verdict.seen.endpoints {
            let memory = EndpointMemory {
                id: seen.id.clone(),
                managed: seen.ownership == Ownership::Managed,
                subnets: seen.subnets.clone(),
                route_tables: seen.route_tables.clone(),
                attempts: seen.attempts,
            };
            self.memory.endpoints.insert(seen.service, memory);
        }
    }

    /// Does to the facts what AWS would do; says how many calls it takes.
    pub(crate) fn apply(&mut self, write: &Write, then_admit: &[IngressRule]) -> usize {
        self.made += 1;
        crate::foresee::imagine(&mut self.facts, write, then_admit, &format!("made-{}", self.made));
        if let (true, Write::CreateEndpoint(new)) = (self.slow, write)
            && new.kind == EndpointType::Interface
        {
            self.endpoints(|all| all.iter_mut().last().into_iter().for_each(|e| e.state = EndpointState::Pending));
        }
        1 + usize::from(!then_admit.is_empty())
    }

    /// One pass: judges, remembers, and does what is proposed. Says how many calls that took.
    pub(crate) fn pass(&mut self) -> usize {
        self.endpoints(|all| {
            for endpoint in all {
                if endpoint.state == EndpointState::Pending {
                    endpoint.state = EndpointState::Available;
                }
            }
        });
        let verdict = self.judge();
        self.remember(&verdict);
        plan(verdict.actions).actions.iter().map(|a| self.apply(&a.write, &a.then_admit)).sum()
    }

    /// Passes until nothing is left to do; says how many calls they took.
    pub(crate) fn settle(&mut self) -> usize {
        let mut calls = 0;
        for _ in 0..12 {
            let more = self.pass();
            if more == 0 {
                return calls;
            }
            calls += more;
        }
        panic!("does not settle: {:?}", self.judge());
    }

    /// The memory of a service.
    pub(crate) fn remembered(&mut self, service: ServiceName) -> &mut EndpointMemory {
        self.memory.endpoints.entry(service).or_default()
    }
}

/// The checks that do not pass, in short.
pub(crate) fn checks(verdict: &Verdict) -> Vec<String> {
    let open = verdict.checks.iter().filter(|c| c.outcome != Outcome::Pass);
    open.map(|c| format!("{:?} {:?} {}", c.facet, c.outcome, c.reason)).collect()
}

/// The planned calls, in order.
pub(crate) fn calls(verdict: &Verdict) -> Vec<String> {
    plan(verdict.actions.clone()).actions.iter().map(|a| a.write.to_string()).collect()
}

/// The managed fields that differ.
pub(crate) fn differences(verdict: &Verdict) -> Vec<String> {
    verdict.checks.iter().filter_map(|c| Some(c.difference.as_ref()?.field.clone())).collect()
}
