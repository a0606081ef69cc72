//! Tables: a small world, what is wrong with it, and what is said and proposed.

use std::{collections::BTreeSet, time::Duration};

use ipnet::IpNet;
use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::{
    facts::{EndpointState, InstanceState, IpAddressType},
    overlay::Recent,
    plan::plan,
    posture::{
        Adoption, CLUSTER_TAG, Capability, DeletionPolicy, DnsWish, Ec2Messages, GroupWish, OWNER_TAG, RouteTableWish,
        S3Wish, ServiceWish, SubnetWish, TagSelector,
    },
    testing::{
        World, at, calls, checks, differences, endpoint, gateway, group, https, named_table, our_rule, rule, subnet,
    },
    write::{NewEndpoint, Write},
};

const CREATE_SSM: &str = "create interface endpoint ssm in subnet-a, subnet-b, private DNS on";
const CREATE_MSG: &str = "create interface endpoint ssmmessages in subnet-a, subnet-b, private DNS on";
const CREATE_S3: &str = "create gateway endpoint s3 for rtb-main";
const CREATE_GROUP: &str = "create security group GROUP in vpc-1";

/// What a world is judged to be: checks that do not pass, planned calls, managed fields that differ.
#[track_caller]
fn check(
    what: &str,
    mut world: World,
    edit: impl FnOnce(&mut World),
    expected_checks: &[&str],
    expected_calls: &[&str],
    expected_fields: &[&str],
) {
    edit(&mut world);
    let verdict = world.judge();
    let name = world.posture.owner.group_name();
    let short = |text: String| text.replace(&name, "GROUP").replace("com.amazonaws.eu-west-1.", "");
    let found: Vec<String> = calls(&verdict).into_iter().map(short).collect();
    assert_eq!(
        (checks(&verdict), found, differences(&verdict).into_iter().map(short).collect::<Vec<_>>()),
        (
            expected_checks.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
            expected_calls.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
            expected_fields.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()
        ),
        "{what}: {:#?}",
        verdict.checks
    );
    assert_allowed(&world, &verdict);
}

/// Only the checks matter.
#[track_caller]
fn check_said(what: &str, world: World, edit: impl FnOnce(&mut World), expected: &[&str]) {
    let mut world = world;
    edit(&mut world);
    let verdict = world.judge();
    assert_eq!(checks(&verdict), expected, "{what}: {:#?}", verdict.checks);
    assert_allowed(&world, &verdict);
}

fn foreign(id: &str, service: &str) -> Endpoint {
    Endpoint { tags: Default::default(), groups: ["sg-theirs".into()].into(), ..endpoint(id, service) }
}

fn foreign_group(ingress: Vec<IngressRule>) -> SecurityGroup {
    SecurityGroup { id: "sg-theirs".into(), name: "theirs".into(), ingress, tags: Default::default(), ..group() }
}

/// All made, but ssm is served by somebody else's endpoint, in a group that admits the VPC.
fn with_foreign_ssm() -> World {
    let mut world = World::converged();
    world.memory = Memory::default();
    world.endpoints(|all| all[0] = foreign("vpce-theirs", "ssm"));
    world.groups(|all| all.push(foreign_group(vec![https("10.0.0.0/16")])));
    world
}

fn create_wish(all_vpc_cidrs: bool, cidrs: &[&str]) -> GroupWish {
    GroupWish::Create {
        all_vpc_cidrs,
        cidrs: cidrs.iter().map(|c| c.parse().unwrap()).collect(),
        groups: vec![],
        prefix_lists: vec![],
    }
}

fn ids<T: From<&'static str> + Ord>(ids: &[&'static str]) -> BTreeSet<T> {
    ids.iter().map(|id| T::from(id)).collect()
}

// What holds in every world.

/// The groups of an endpoint admit HTTPS from every address of the VPC: told by small parts, not as the code does it.
fn admits_all(world: &World, groups: &BTreeSet<SecurityGroupId>) -> bool {
    let view = world.view();
    let rules: Vec<&IngressRule> = view
        .security_groups
        .known()
        .into_iter()
        .flatten()
        .filter(|g| groups.contains(&g.id))
        .flat_map(|g| &g.ingress)
        .filter(|r| {
            r.protocol == "-1"
                || ["tcp", "6"].contains(&&*r.protocol) && r.ports.is_none_or(|(from, to)| (from..=to).contains(&443))
        })
        .collect();
    let part_is_admitted = |part: IpNet| {
        rules.iter().any(|r| matches!(&r.source, crate::facts::RuleSource::Cidr(net) if net.contains(&part)))
    };
    view.vpcs.known().into_iter().flatten().filter(|v| v.id == world.posture.vpc).all(|vpc| {
        vpc.cidrs.iter().all(|cidr| match cidr {
            IpNet::V4(net) => net.subnets(net.prefix_len().max(22)).unwrap().all(|p| part_is_admitted(p.into())),
            IpNet::V6(net) => net.subnets(net.prefix_len().max(60)).unwrap().all(|p| part_is_admitted(p.into())),
        })
    })
}

/// Rules that no proposed write may break, whatever the world.
#[track_caller]
fn assert_allowed(world: &World, verdict: &Verdict) {
    let view = world.view();
    let endpoints = view.endpoints.known().cloned().unwrap_or_default();
    let groups = view.security_groups.known().cloned().unwrap_or_default();
    let owner = &world.posture.owner;
    let of = |id: &EndpointId| endpoints.iter().find(|e| e.id == *id).expect("only listed endpoints are named");
    let ours = |id: &EndpointId| {
        let e = of(id);
        e.tags.get(CLUSTER_TAG) == Some(&owner.cluster)
            && e.tags.get(OWNER_TAG) == Some(&owner.tag())
            && !e.requester_managed
            && e.vpc == world.posture.vpc
    };
    let group_of_ours = |id: &SecurityGroupId| {
        groups.iter().find(|g| g.id == *id).is_some_and(|g| owner.owns(&g.tags) && g.vpc == world.posture.vpc)
    };
    let plan = plan(verdict.actions.clone());
    let mut changed = BTreeSet::new();
    let mut deleted = BTreeSet::new();
    for action in &plan.actions {
        let write = &action.write;
        match write {
            Write::ModifyEndpoint { endpoint, change } => {
                assert!(ours(endpoint), "{write}");
                assert!(!change.is_empty(), "{write}");
                assert!(changed.insert(endpoint.clone()), "one call for each endpoint: {write}");
                assert_eq!(of(endpoint).state, EndpointState::Available, "{write}");
                if change.private_dns == Some(true) {
                    assert!(admits_all(world, &of(endpoint).groups), "{write}");
                    assert!(change.add_groups.is_empty() && change.remove_groups.is_empty(), "{write}");
                }
                assert_ne!(change.private_dns, Some(false), "{write}");
            }
            Write::DeleteEndpoints { endpoints } => {
                assert!(!endpoints.is_empty() && endpoints.iter().all(ours), "{write}");
                deleted.extend(endpoints.iter().cloned());
            }
            Write::CreateEndpoint(new) => {
                let short = new.service_name.rsplit('.').next().unwrap();
                let there = endpoints.iter().any(|e| {
                    e.vpc == new.vpc
                        && e.kind == new.kind
                        && e.service_name == new.service_name
                        && e.state != EndpointState::Deleted
                        && owner.owns(&e.tags)
                        && !e.requester_managed
                });
                assert!(!there, "there is one: {write}");
                assert!(!world.overlay.has_endpoint(&new.vpc, &new.service_name, &owner.tag()), "{write}");
                assert!(owner.owns(&new.tags) && new.client_token.len() <= 64, "{write}");
                assert_eq!(action.service, crate::posture::ServiceName::parse(short), "{write}");
                if new.kind == EndpointType::Interface {
                    assert!(!new.subnets.is_empty() && !new.groups.is_empty(), "{write}");
                    assert!(admits_all(world, &new.groups), "{write}");
                    if new.private_dns {
                        assert_eq!(view.any_online(&world.posture.vpc), Some(false), "{write}");
                    }
                } else {
                    assert!(!new.route_tables.is_empty() && !new.private_dns, "{write}");
                }
            }
            Write::Tag { resources, tags } => {
                for id in resources {
                    let owned = groups.iter().any(|g| g.id.as_str() == id && owner.owns(&g.tags))
                        || endpoints.iter().any(|e| e.id.as_str() == id && owner.owns(&e.tags));
                    let managed = endpoints.iter().any(|e| e.id.as_str() == id && e.requester_managed);
                    assert!(!managed, "{write}");
                    assert!(owned || world.posture.adoption == Adoption::TakeOver, "{write}");
                    assert!(!owned || !tags.contains_key(OWNER_TAG) || owner.owns(tags), "{write}");
                }
            }
            Write::Untag { .. } => panic!("evaluation takes no tags away: {write}"),
            Write::AssociateProfile { .. }
            | Write::UpdateSetting { .. }
            | Write::ResetSetting { .. }
            | Write::ModifyMetadataDefaults { .. }
            | Write::Document(_)
            | Write::Rule(_)
            | Write::Role { .. }
            | Write::Profile { .. } => panic!("none of a VPC's: {write}"),
            Write::AuthorizeIngress { group, rules } | Write::RevokeIngress { group, rules } => {
                assert!(group_of_ours(group) && !rules.is_empty(), "{write}");
            }
            Write::DeleteSecurityGroup { group } => {
                assert!(group_of_ours(group) && !endpoints.iter().any(|e| e.groups.contains(group)), "{write}");
            }
            Write::CreateSecurityGroup { vpc, name, tags, .. } => {
                assert!(owner.owns(tags) && !groups.iter().any(|g| g.vpc == *vpc && g.name == *name), "{write}");
                assert!(!world.overlay.has_group(vpc, name), "{write}");
            }
            Write::EnableVpcAttribute { .. } => assert_eq!(world.posture.dns, DnsWish::Enforce, "{write}"),
        }
    }
    assert!(changed.is_disjoint(&deleted), "changed and deleted: {plan:?}");
    if view.endpoints.known().is_none() || view.vpcs.known().is_none() {
        assert!(!plan.actions.iter().any(|a| rests_on_endpoints(&a.write)), "{plan:?}");
    }
    if gates_hold(verdict) {
        assert_ready(world);
    }
}

fn rests_on_endpoints(write: &Write) -> bool {
    match write {
        Write::EnableVpcAttribute { .. }
        | Write::CreateSecurityGroup { .. }
        | Write::AuthorizeIngress { .. }
        | Write::RevokeIngress { .. } => false,
        Write::Tag { resources, .. } => resources.iter().any(|id| id.starts_with("vpce-")),
        _ => true,
    }
}

fn gates_hold(verdict: &Verdict) -> bool {
    !verdict.checks.iter().any(|c| c.gate && matches!(c.outcome, Outcome::Fail | Outcome::Unknown))
}

/// What `Ready` promises, told from the facts alone.
#[track_caller]
fn assert_ready(world: &World) {
    let view = world.view();
    let endpoints = view.endpoints.known().expect("Ready without a list of endpoints");
    for service in world.posture.declared_services() {
        let gateway = service == crate::posture::ServiceName::S3 && matches!(world.posture.s3, S3Wish::Gateway(_));
        if gateway {
            continue;
        }
        let good = endpoints.iter().any(|e| {
            e.vpc == world.posture.vpc
                && e.kind == EndpointType::Interface
                && e.service_name.ends_with(&format!(".{service}"))
                && e.state == EndpointState::Available
                && e.private_dns
                && (world.posture.owner.owns(&e.tags) || world.posture.adoption != Adoption::Never)
                && admits_all(world, &e.groups)
        });
        assert!(good, "Ready without {service}");
    }
}

// From nothing.

#[test]
fn from_nothing() {
    let group_missing = "SecurityGroup Fail SecurityGroupMissing";
    check(
        "the group comes first; the gateway endpoint needs none",
        World::empty(),
        |_| {},
        &[
            group_missing,
            "Endpoints Fail PrerequisiteMissing",
            "Endpoints Fail PrerequisiteMissing",
            "Routes Fail EndpointMissing",
        ],
        &[CREATE_GROUP, CREATE_S3],
        &[],
    );
    check(
        "then the endpoints",
        World::with_group(),
        |_| {},
        &["Endpoints Fail EndpointMissing", "Endpoints Fail EndpointMissing", "Routes Fail EndpointMissing"],
        &[CREATE_SSM, CREATE_MSG, CREATE_S3],
        &[],
    );
    check("then nothing", World::converged(), |_| {}, &[], &[], &[]);
    let rules: Vec<IngressRule> = World::empty().judge().actions.into_iter().flat_map(|a| a.then_admit).collect();
    assert_eq!(rules, group().ingress);
    assert!(World::converged().judge().checks.iter().all(|c| c.outcome == Outcome::Pass));
}

#[test]
fn six_writes_make_a_vpc_ready() {
    let mut world = World::empty();
    world.posture.ec2messages = Ec2Messages::Always;
    assert_eq!(world.settle(), 6);
    assert_eq!(checks(&world.judge()), [""; 0]);
    let mut world = World::empty();
    world.posture.ec2messages = Ec2Messages::Always;
    world.slow = true;
    assert_eq!(world.settle(), 6, "endpoints that are pending for a while need no more");
}

#[test]
fn dns_attributes_come_before_endpoints() {
    let off = |world: &mut World| {
        world.attribute(VpcAttribute::DnsSupport, false);
        world.attribute(VpcAttribute::DnsHostnames, false);
    };
    let dns = "Dns Fail DnsAttributesOff";
    let waits = "Endpoints Fail PrerequisiteMissing";
    check(
        "switched on in order, before anything that needs them",
        World::with_group(),
        off,
        &[dns, dns, waits, waits, "Routes Fail EndpointMissing"],
        &["switch on enableDnsSupport of vpc-1", "switch on enableDnsHostnames of vpc-1", CREATE_S3],
        &["vpc.enableDnsSupport", "vpc.enableDnsHostnames"],
    );
    check(
        "reported only: nobody will switch them on, so a person is asked",
        World::with_group(),
        |world| {
            off(world);
            world.posture.dns = DnsWish::Report;
        },
        &[
            "Dns Warn DnsAttributesOff",
            "Dns Warn DnsAttributesOff",
            "Endpoints Fail DnsAttributesOff",
            "Endpoints Fail DnsAttributesOff",
            "Routes Fail EndpointMissing",
        ],
        &[CREATE_S3],
        &[],
    );
    check(
        "switched off later",
        World::converged(),
        |world| world.attribute(VpcAttribute::DnsHostnames, false),
        &[dns],
        &["switch on enableDnsHostnames of vpc-1"],
        &["vpc.enableDnsHostnames"],
    );
}

#[test]
fn a_target_that_is_wrong_stops_everything() {
    check_said("no such VPC", World::empty(), |w| w.vpcs(Vec::clear), &["Account Fail VpcNotFound"]);
    check(
        "shared by another account",
        World::converged(),
        |w| w.vpcs(|all| all[0].owner = "999988887777".into()),
        &["Account Fail VpcOwnedElsewhere"],
        &[],
        &[],
    );
}

// Private DNS captures the whole VPC.

#[test]
fn private_dns_at_creation_only_where_no_instance_works_otherwise() {
    let running = InstanceState::Running;
    type Edit = fn(&mut World);
    let rows: [(&str, bool, Edit); 9] = [
        ("no instance", true, |_| {}),
        ("none running", true, |w| w.instance("i-1", "subnet-a", InstanceState::Stopped, Some((true, "3.3.131.0")))),
        ("none managed", true, |w| w.instance("i-1", "subnet-a", InstanceState::Running, None)),
        ("lost", true, |w| w.instance("i-1", "subnet-a", InstanceState::Running, Some((false, "3.3.131.0")))),
        ("one Online", false, |w| w.online("i-1")),
        ("instances unknown", false, |w| w.lose(&FactKey::Instances)),
        ("nodes unknown", false, |w| {
            w.instance("i-1", "subnet-a", InstanceState::Running, None);
            w.lose(&FactKey::ManagedNodes);
        }),
        ("the last read of the instances failed", false, |w| w.fail_read(&FactKey::Instances)),
        ("the last read of the nodes failed", false, |w| {
            w.instance("i-1", "subnet-a", InstanceState::Running, None);
            w.fail_read(&FactKey::ManagedNodes);
        }),
    ];
    for (what, on, edit) in rows {
        let mut world = World::with_group();
        edit(&mut world);
        let verdict = world.judge();
        let made: Vec<&NewEndpoint> = verdict
            .actions
            .iter()
            .filter_map(|a| if let Write::CreateEndpoint(new) = &a.write { Some(&**new) } else { None })
            .filter(|new| new.kind == EndpointType::Interface)
            .collect();
        assert_eq!(made.iter().map(|n| n.private_dns).collect::<Vec<_>>(), [on, on], "{what}");
        assert_allowed(&world, &verdict);
    }
    let mut world = World::with_group();
    world.lose(&FactKey::ManagedNodes);
    assert!(calls(&world.judge()).iter().any(|c| c.ends_with("private DNS on")), "nobody runs that could be Online");
    // An Online instance of another VPC does not count.
    let mut world = World::with_group();
    world.instance("i-1", "subnet-x", running, Some((true, "3.3.131.0")));
    world.instances(|all| all[0].vpc = "vpc-2".into());
    assert!(calls(&world.judge()).iter().any(|c| c.ends_with("private DNS on")));
}

#[test]
fn private_dns_in_a_second_step() {
    let mut world = World::with_group();
    world.online("i-1");
    world.slow = true;
    world.pass();
    world.endpoints(|all| assert!(all.iter().all(|e| !e.private_dns)));
    let verdict = world.judge();
    assert_eq!(calls(&verdict), [""; 0], "not while they are pending");
    assert!(checks(&verdict).contains(&"Endpoints Fail EndpointPending".to_owned()));
    assert_eq!(world.pass(), 2, "on, for each of the two");
    world.endpoints(|all| assert!(all.iter().all(|e| e.private_dns || e.kind == EndpointType::Gateway)));
    let off = |w: &mut World| w.endpoint("vpce-ssm", |e| e.private_dns = false);
    let disrupts = |edit: fn(&mut World)| {
        let mut world = World::converged();
        off(&mut world);
        edit(&mut world);
        world.judge().actions[0].disrupts.is_some()
    };
    assert!(disrupts(|w| w.online("i-1")));
    assert!(disrupts(|w| w.lose(&FactKey::Instances)));
    assert!(!disrupts(|_| {}));
}

#[test]
fn private_dns_never_before_everybody_is_admitted() {
    let lacking = "SecurityGroup Fail SecurityGroupIncomplete";
    let waits = "Endpoints Fail PrerequisiteMissing";
    let routes = "Routes Fail EndpointMissing";
    check(
        "a secondary CIDR",
        World::with_group(),
        |w| w.cidr("10.1.0.0/16"),
        &[lacking, waits, waits, routes],
        &["admit HTTPS to sg-1 from 10.1.0.0/16", CREATE_S3],
        &["securityGroup.ingress"],
    );
    check(
        "an IPv6 CIDR",
        World::with_group(),
        |w| w.cidr("2001:db8::/56"),
        &[lacking, waits, waits, routes],
        &["admit HTTPS to sg-1 from 2001:db8::/56", CREATE_S3],
        &["securityGroup.ingress"],
    );
    check(
        "a declared client",
        World::with_group(),
        |w| w.posture.group = create_wish(true, &["100.64.0.0/16"]),
        &[lacking, waits, waits, routes],
        &["admit HTTPS to sg-1 from 100.64.0.0/16", CREATE_S3],
        &["securityGroup.ingress"],
    );
    check(
        "nothing declared that admits the VPC",
        World::with_group(),
        |w| {
            w.posture.group = create_wish(false, &["100.64.0.0/16"]);
            w.group(|g| g.ingress = vec![our_rule("100.64.0.0/16")]);
        },
        &["SecurityGroup Fail SecurityGroupRejectsClients", waits, waits, routes],
        &[CREATE_S3],
        &[],
    );
    check(
        "declared clients that cover the VPC together",
        World::with_group(),
        |w| {
            w.posture.group = create_wish(false, &["10.0.0.0/17", "10.0.128.0/17"]);
            w.group(|g| g.ingress = vec![our_rule("10.0.0.0/17"), our_rule("10.0.128.0/17")]);
        },
        &["Endpoints Fail EndpointMissing", "Endpoints Fail EndpointMissing", routes],
        &[CREATE_SSM, CREATE_MSG, CREATE_S3],
        &[],
    );
    check(
        "a rule was taken away while private DNS was off",
        World::converged(),
        |w| {
            w.endpoint("vpce-ssm", |e| e.private_dns = false);
            w.group(|g| g.ingress.clear());
        },
        &[lacking, waits],
        &["admit HTTPS to sg-1 from 10.0.0.0/16"],
        &["securityGroup.ingress", "endpoints.ssm.privateDns"],
    );
    check(
        "the group was swapped while private DNS was off: first the group",
        World::converged(),
        |w| {
            w.groups(|all| all.push(foreign_group(vec![https("10.0.0.0/16")])));
            w.endpoint("vpce-ssm", |e| {
                e.private_dns = false;
                e.groups = ids(&["sg-theirs"]);
            });
        },
        &["Endpoints Fail EndpointDrifted", waits],
        &["change vpce-ssm: add sg-1; remove sg-theirs"],
        &["endpoints.ssm.securityGroups", "endpoints.ssm.privateDns"],
    );
    check(
        "somebody else's endpoint has taken the name meanwhile",
        World::converged(),
        |w| {
            w.endpoint("vpce-ssm", |e| e.private_dns = false);
            w.endpoints(|all| all.push(foreign("vpce-theirs", "ssm")));
        },
        &["Endpoints Fail EndpointConflict"],
        &[],
        &["endpoints.ssm.privateDns"],
    );
    check(
        "and goes",
        World::converged(),
        |w| {
            w.endpoint("vpce-ssm", |e| e.private_dns = false);
            w.endpoints(|all| {
                all.push(Endpoint { state: EndpointState::Deleting, ..foreign("vpce-theirs", "ssm") });
            });
        },
        &["Endpoints Fail EndpointDeleting"],
        &[],
        &["endpoints.ssm.privateDns"],
    );
}

#[test]
fn given_groups_are_judged_and_never_changed() {
    let waits = "Endpoints Fail PrerequisiteMissing";
    let routes = "Routes Fail EndpointMissing";
    let rows: [(&str, Vec<IngressRule>, &[&str]); 16] = [
        ("the VPC", vec![https("10.0.0.0/16")], &[]),
        ("more than the VPC", vec![https("10.0.0.0/8")], &[]),
        ("anybody", vec![https("0.0.0.0/0")], &[]),
        ("two halves", vec![https("10.0.0.0/17"), https("10.0.128.0/17")], &[]),
        ("every protocol", vec![rule("-1", None, "10.0.0.0/16")], &[]),
        ("every protocol, with ports that mean nothing", vec![rule("-1", Some((0, 0)), "10.0.0.0/16")], &[]),
        ("TCP by number", vec![rule("6", Some((443, 443)), "10.0.0.0/16")], &[]),
        ("a range of ports", vec![rule("tcp", Some((0, 65535)), "10.0.0.0/16")], &[]),
        ("half of it", vec![https("10.0.0.0/17")], &["SecurityGroup Fail SecurityGroupRejectsClients"]),
        (
            "halves of two VPCs",
            vec![https("10.0.0.0/17"), https("10.1.0.0/17")],
            &["SecurityGroup Fail SecurityGroupRejectsClients"],
        ),
        (
            "another port",
            vec![rule("tcp", Some((80, 442)), "0.0.0.0/0")],
            &["SecurityGroup Fail SecurityGroupRejectsClients"],
        ),
        (
            "another protocol",
            vec![rule("udp", Some((443, 443)), "0.0.0.0/0")],
            &["SecurityGroup Fail SecurityGroupRejectsClients"],
        ),
        ("IPv6 alone", vec![https("::/0")], &["SecurityGroup Fail SecurityGroupRejectsClients"]),
        ("a group", vec![https("sg-app")], &["SecurityGroup Fail SecurityGroupRejectsClients"]),
        ("a prefix list, whose entries are not known", vec![https("pl-1")], &["SecurityGroup Unknown FactUnreadable"]),
        (
            "a prefix list for another port",
            vec![rule("tcp", Some((80, 80)), "pl-1")],
            &["SecurityGroup Fail SecurityGroupRejectsClients"],
        ),
    ];
    for (what, ingress, expected) in rows {
        let admits = expected.is_empty();
        let mut said = expected.to_vec();
        said.extend(if admits { ["Endpoints Fail EndpointMissing"; 2] } else { [waits; 2] });
        said.push(routes);
        check(
            what,
            World::empty(),
            |w| {
                w.posture.group = GroupWish::Existing(ids(&["sg-theirs"]));
                w.groups(|all| all.push(foreign_group(ingress)));
            },
            &said,
            if admits { &[CREATE_SSM, CREATE_MSG, CREATE_S3] } else { &[CREATE_S3] },
            &[],
        );
    }
    check(
        "there is none",
        World::empty(),
        |w| w.posture.group = GroupWish::Existing(ids(&["sg-theirs"])),
        &["SecurityGroup Fail SecurityGroupNotFound", waits, waits, routes],
        &[CREATE_S3],
        &[],
    );
    check(
        "it is another VPC's",
        World::empty(),
        |w| {
            w.posture.group = GroupWish::Existing(ids(&["sg-theirs"]));
            w.groups(|all| {
                all.push(SecurityGroup { vpc: "vpc-2".into(), ..foreign_group(vec![https("0.0.0.0/0")]) });
            });
        },
        &["SecurityGroup Fail SecurityGroupNotFound", waits, waits, routes],
        &[CREATE_S3],
        &[],
    );
}

// Every state of an endpoint.

#[test]
fn every_state_of_an_endpoint_of_ours() {
    let pending: &[&str] = &["Endpoints Fail EndpointPending"];
    let failed: &[&str] = &["Endpoints Fail EndpointFailed"];
    let delete: &[&str] = &["delete vpce-ssm"];
    let state_differs: &[&str] = &["endpoints.ssm.state"];
    let gone: &[&str] = &["endpoints.ssm"];
    type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
    let rows: [Row; 10] = [
        ("available", &[], &[], &[]),
        ("pending", pending, &[], &[]),
        ("pendingAcceptance", pending, &[], &[]),
        ("deleting", &["Endpoints Fail EndpointDeleting"], &[], gone),
        ("deleted", &["Endpoints Fail EndpointMissing"], &[CREATE_SSM], gone),
        ("rejected", failed, delete, state_differs),
        ("failed", failed, delete, state_differs),
        ("expired", failed, delete, state_differs),
        ("partial", &["Endpoints Fail EndpointDegraded"], &[], &[]),
        ("mending", &["Endpoints Unknown EndpointDegraded"], &[], &[]),
    ];
    for (state, said, planned, fields) in rows {
        for text in [state.to_owned(), state[..1].to_uppercase() + &state[1..]] {
            let edit = |w: &mut World| w.endpoint("vpce-ssm", |e| e.state = EndpointState::parse(&text));
            check(&text, World::converged(), edit, said, planned, fields);
        }
    }
    let routes = |said: &'static str| -> Vec<String> { vec![format!("Routes {said}")] };
    for (state, said, planned) in [
        ("pending", "Fail EndpointPending", vec![]),
        ("deleting", "Fail EndpointDeleting", vec![]),
        ("deleted", "Fail EndpointMissing", vec![CREATE_S3]),
        ("failed", "Fail EndpointFailed", vec!["delete vpce-s3"]),
        ("partial", "Fail EndpointDegraded", vec![]),
        ("mending", "Unknown EndpointDegraded", vec![]),
    ] {
        let mut world = World::converged();
        world.endpoint("vpce-s3", |e| e.state = EndpointState::parse(state));
        let verdict = world.judge();
        assert_eq!(checks(&verdict), routes(said), "{state}");
        let planned: Vec<String> =
            planned.into_iter().map(|p| p.replace("endpoint s3", "endpoint com.amazonaws.eu-west-1.s3")).collect();
        assert_eq!(calls(&verdict), planned, "{state}");
        assert_allowed(&world, &verdict);
    }
}

#[test]
fn every_state_of_a_foreign_endpoint() {
    use Adoption::{Never, TakeOver, UseExisting};
    let take: &[&str] = &["tag vpce-theirs with Name, ssmready.dev/cluster, ssmready.dev/owner"];
    let (create, nothing): (&[&str], &[&str]) = (&[CREATE_SSM], &[]);
    let conflict: &[&str] = &["Endpoints Fail EndpointConflict"];
    let drifted: &[&str] = &["Endpoints Fail EndpointDrifted"];
    let missing: &[&str] = &["Endpoints Fail EndpointMissing"];
    let pending: &[&str] = &["Endpoints Fail EndpointPending"];
    let deleting: &[&str] = &["Endpoints Fail EndpointDeleting"];
    for (state, adoption, said, planned) in [
        ("available", UseExisting, &[] as &[&str], nothing),
        ("available", TakeOver, drifted, take),
        ("available", Never, conflict, nothing),
        ("pending", UseExisting, pending, nothing),
        ("pending", TakeOver, drifted, take),
        ("pending", Never, conflict, nothing),
        ("pendingAcceptance", UseExisting, pending, nothing),
        ("pendingAcceptance", TakeOver, drifted, take),
        ("pendingAcceptance", Never, conflict, nothing),
        ("deleting", UseExisting, deleting, nothing),
        ("deleting", TakeOver, deleting, nothing),
        ("deleting", Never, deleting, nothing),
        ("deleted", UseExisting, missing, create),
        ("deleted", TakeOver, missing, create),
        ("deleted", Never, missing, create),
        ("failed", UseExisting, missing, create),
        ("failed", TakeOver, missing, create),
        ("failed", Never, missing, create),
        ("rejected", UseExisting, missing, create),
        ("expired", UseExisting, missing, create),
        ("partial", UseExisting, conflict, nothing),
        ("partial", TakeOver, drifted, take),
        ("partial", Never, conflict, nothing),
        ("mending", UseExisting, conflict, nothing),
        ("mending", TakeOver, drifted, take),
        ("mending", Never, conflict, nothing),
    ] {
        check(
            &format!("{state} {adoption:?}"),
            with_foreign_ssm(),
            |w| {
                w.posture.adoption = adoption;
                w.endpoint("vpce-theirs", |e| e.state = EndpointState::parse(state));
            },
            said,
            planned,
            &[],
        );
        let mut world = with_foreign_ssm();
        world.posture.adoption = adoption;
        world.endpoint("vpce-theirs", |e| {
            e.state = EndpointState::parse(state);
            e.requester_managed = true;
            e.tags = crate::testing::posture().owner.tags();
        });
        let verdict = world.judge();
        assert!(
            !calls(&verdict).iter().any(|c| c.contains("vpce-theirs")),
            "{state} {adoption:?}: managed by a service"
        );
        assert_allowed(&world, &verdict);
    }
}

#[test]
fn a_foreign_endpoint_has_to_be_good_to_be_used() {
    let conflict = &["Endpoints Fail EndpointConflict"];
    check_said("good", with_foreign_ssm(), |_| {}, &[]);
    let verdict = with_foreign_ssm().judge();
    assert!(verdict.checks.iter().any(|c| c.reason == Reason::UsingExisting && c.outcome == Outcome::Pass));
    assert_eq!(verdict.seen.endpoints[0].ownership, Ownership::Existing);
    check_said("in no subnet", with_foreign_ssm(), |w| w.endpoint("vpce-theirs", |e| e.subnets.clear()), conflict);
    check_said("admits nobody", with_foreign_ssm(), |w| w.groups(|all| all[1].ingress.clear()), conflict);
    check_said(
        "a secondary CIDR is left out",
        with_foreign_ssm(),
        |w| {
            w.cidr("10.1.0.0/16");
            w.groups(|all| all[0].ingress.push(https("10.1.0.0/16")));
        },
        conflict,
    );
    check_said(
        "admits a prefix list",
        with_foreign_ssm(),
        |w| w.groups(|all| all[1].ingress = vec![https("pl-1")]),
        &["Endpoints Unknown FactUnreadable"],
    );
    check_said(
        "its groups cannot be read",
        with_foreign_ssm(),
        |w| w.lose(&FactKey::SecurityGroups),
        &["SecurityGroup Unknown FactUnreadable", "Endpoints Unknown FactUnreadable"],
    );
    check(
        "without private DNS it answers for nothing, and ours is made beside it",
        with_foreign_ssm(),
        |w| w.endpoint("vpce-theirs", |e| e.private_dns = false),
        &["Endpoints Fail EndpointMissing"],
        &[CREATE_SSM],
        &[],
    );
    check(
        "its policy is not judged",
        with_foreign_ssm(),
        |w| w.endpoint("vpce-theirs", |e| e.policy = Some("{}".into())),
        &["Policy Warn PolicyRestricted"],
        &[],
        &[],
    );
    check(
        "another VPC's does not matter",
        World::with_group(),
        |w| w.endpoints(|all| all.push(Endpoint { vpc: "vpc-2".into(), ..foreign("vpce-theirs", "ssm") })),
        &["Endpoints Fail EndpointMissing", "Endpoints Fail EndpointMissing", "Routes Fail EndpointMissing"],
        &[CREATE_SSM, CREATE_MSG, CREATE_S3],
        &[],
    );
}

#[test]
fn taking_over_ends_with_everything_ours() {
    let mut world = with_foreign_ssm();
    world.posture.adoption = Adoption::TakeOver;
    world.settle();
    assert_eq!(checks(&world.judge()), [""; 0]);
    let owner = world.posture.owner.clone();
    world.endpoint("vpce-theirs", |e| {
        assert!(owner.owns(&e.tags));
        assert_eq!(e.groups, ids(&["sg-1"]));
    });
}

// Drift.

#[test]
fn drift_is_seen_named_and_mended() {
    let drifted = "Endpoints Fail EndpointDrifted";
    check(
        "an endpoint was deleted",
        World::converged(),
        |w| w.endpoints(|all| all.retain(|e| e.id != "vpce-ssm".into())),
        &["Endpoints Fail EndpointMissing"],
        &[CREATE_SSM],
        &["endpoints.ssm"],
    );
    check(
        "the gateway endpoint was deleted",
        World::converged(),
        |w| w.endpoints(|all| all.retain(|e| e.id != "vpce-s3".into())),
        &["Routes Fail EndpointMissing"],
        &[CREATE_S3],
        &["endpoints.s3"],
    );
    check(
        "its group was swapped",
        World::converged(),
        |w| w.endpoint("vpce-ssm", |e| e.groups = ids(&["sg-other"])),
        &[drifted],
        &["change vpce-ssm: add sg-1; remove sg-other"],
        &["endpoints.ssm.securityGroups"],
    );
    check(
        "a group was added",
        World::converged(),
        |w| w.endpoint("vpce-ssm", |e| e.groups = ids(&["sg-1", "sg-other"])),
        &[drifted],
        &["change vpce-ssm: remove sg-other"],
        &["endpoints.ssm.securityGroups"],
    );
    check(
        "a subnet was removed",
        World::converged(),
        |w| w.endpoint("vpce-ssm", |e| e.subnets = ids(&["subnet-a"])),
        &[drifted],
        &["change vpce-ssm: add subnet-b"],
        &["endpoints.ssm.subnets"],
    );
    check(
        "a subnet was swapped within its zone",
        World::converged(),
        |w| {
            w.subnets(|all| all.push(subnet("subnet-a2", "a", 99)));
            w.endpoint("vpce-ssm", |e| e.subnets = ids(&["subnet-a2", "subnet-b"]));
        },
        &[drifted],
        &["change vpce-ssm: add subnet-a; remove subnet-a2"],
        &["endpoints.ssm.subnets"],
    );
    check(
        "an ingress rule was removed",
        World::converged(),
        |w| w.group(|g| g.ingress.clear()),
        &["SecurityGroup Fail SecurityGroupIncomplete"],
        &["admit HTTPS to sg-1 from 10.0.0.0/16"],
        &["securityGroup.ingress"],
    );
    check(
        "an ingress rule was narrowed to another port",
        World::converged(),
        |w| w.group(|g| g.ingress[0].ports = Some((80, 80))),
        &["SecurityGroup Fail SecurityGroupIncomplete"],
        &["admit HTTPS to sg-1 from 10.0.0.0/16"],
        &["securityGroup.ingress"],
    );
    check(
        "the group was deleted",
        World::converged(),
        |w| w.groups(Vec::clear),
        &["SecurityGroup Fail SecurityGroupMissing"],
        &[CREATE_GROUP],
        &["securityGroup"],
    );
    check(
        "private DNS was switched off",
        World::converged(),
        |w| w.endpoint("vpce-ssm", |e| e.private_dns = false),
        &["Endpoints Fail PrivateDnsOff"],
        &["change vpce-ssm: private DNS on"],
        &["endpoints.ssm.privateDns"],
    );
    check(
        "a route table was detached",
        World::converged(),
        |w| w.endpoint("vpce-s3", |e| e.route_tables.clear()),
        &["Routes Fail RoutesMissing"],
        &["change vpce-s3: add rtb-main"],
        &["endpoints.s3.routeTables"],
    );
    check(
        "our tags were removed from an endpoint: it is no longer touched, and used while it is good",
        World::converged(),
        |w| w.endpoint("vpce-ssm", |e| e.tags.clear()),
        &["Endpoints Warn OwnershipTagsLost"],
        &[],
        &["endpoints.ssm.tags"],
    );
    check(
        "one of the two tags is as good as none",
        World::converged(),
        |w| w.endpoint("vpce-ssm", |e| drop(e.tags.remove(CLUSTER_TAG))),
        &["Endpoints Warn OwnershipTagsLost"],
        &[],
        &["endpoints.ssm.tags"],
    );
    check(
        "our tags were removed from an endpoint, with TakeOver",
        World::converged(),
        |w| {
            w.posture.adoption = Adoption::TakeOver;
            w.endpoint("vpce-ssm", |e| e.tags.clear());
        },
        &["Endpoints Warn OwnershipTagsLost", drifted],
        &["tag vpce-ssm with Name, ssmready.dev/cluster, ssmready.dev/owner"],
        &["endpoints.ssm.tags"],
    );
    check(
        "our tags were removed before private DNS was on, with TakeOver",
        World::converged(),
        |w| {
            w.posture.adoption = Adoption::TakeOver;
            w.endpoint("vpce-ssm", |e| {
                e.tags.clear();
                e.private_dns = false;
            });
        },
        &["Endpoints Warn OwnershipTagsLost", drifted],
        &["tag vpce-ssm with Name, ssmready.dev/cluster, ssmready.dev/owner"],
        &["endpoints.ssm.tags"],
    );
    check(
        "our tags were removed from the group",
        World::converged(),
        |w| w.group(|g| g.tags.clear()),
        &["SecurityGroup Fail SecurityGroupConflict"],
        &[],
        &["securityGroup.tags"],
    );
    check(
        "our tags were removed from the group, with TakeOver",
        World::converged(),
        |w| {
            w.posture.adoption = Adoption::TakeOver;
            w.group(|g| g.tags.clear());
        },
        &["SecurityGroup Fail SecurityGroupIncomplete"],
        &["tag sg-1 with Name, ssmready.dev/cluster, ssmready.dev/owner"],
        &[],
    );
    check(
        "a declared tag was changed",
        World::converged(),
        |w| {
            w.posture.tags = [("CostCenter".to_owned(), "4711".to_owned())].into();
            let tags = w.posture.tags.clone();
            w.endpoints(|all| all.iter_mut().for_each(|e| e.tags.extend(tags.clone())));
            w.group(|g| g.tags.extend(tags));
            w.endpoint("vpce-ssm", |e| drop(e.tags.insert("CostCenter".into(), "0".into())));
        },
        &[drifted],
        &["tag vpce-ssm with CostCenter"],
        &["tags"],
    );
    check(
        "a policy was restricted",
        World::converged(),
        |w| w.endpoint("vpce-s3", |e| e.policy = Some(r#"{"Statement":[]}"#.into())),
        &["Policy Fail PolicyRestricted"],
        &["change vpce-s3: policy full access"],
        &["endpoints.s3.policy"],
    );
    check(
        "the address family was changed",
        World::converged(),
        |w| w.endpoint("vpce-ssm", |e| e.ip_address_type = Some(IpAddressType::Dualstack)),
        &[drifted],
        &["change vpce-ssm: address type ipv4"],
        &["endpoints.ssm.ipAddressType"],
    );
    check(
        "several at once take one call",
        World::converged(),
        |w| {
            w.endpoint("vpce-ssm", |e| {
                e.subnets = ids(&["subnet-a"]);
                e.groups = ids(&["sg-1", "sg-other"]);
                e.policy = Some("{}".into());
            });
        },
        &[drifted, drifted, "Policy Fail PolicyRestricted"],
        &["change vpce-ssm: add subnet-b; remove sg-other; policy full access"],
        &["endpoints.ssm.subnets", "endpoints.ssm.securityGroups", "endpoints.ssm.policy"],
    );
}

#[test]
fn what_others_add_to_the_group_is_left_and_said() {
    check(
        "a rule of theirs",
        World::converged(),
        |w| w.group(|g| g.ingress.push(https("192.0.2.0/24"))),
        &["SecurityGroup Warn UnexpectedIngress"],
        &[],
        &[],
    );
    check(
        "a rule of ours that is no longer declared",
        World::converged(),
        |w| w.group(|g| g.ingress.push(our_rule("192.0.2.0/24"))),
        &["SecurityGroup Warn EndpointDrifted"],
        &["no longer admit to sg-1 from 192.0.2.0/24"],
        &[],
    );
    check(
        "a rule of ours that is no longer declared but all that admits the VPC: first the rules that will",
        World::converged(),
        |w| w.group(|g| g.ingress = vec![our_rule("10.0.0.0/8")]),
        &["SecurityGroup Fail SecurityGroupIncomplete"],
        &["admit HTTPS to sg-1 from 10.0.0.0/16"],
        &["securityGroup.ingress"],
    );
    check(
        "or nothing that will: it stays",
        World::converged(),
        |w| {
            w.posture.group = create_wish(false, &["100.64.0.0/16"]);
            w.group(|g| g.ingress.push(our_rule("100.64.0.0/16")));
        },
        &["SecurityGroup Fail SecurityGroupRejectsClients"],
        &[],
        &[],
    );
}

#[test]
fn declared_tags_never_touch_ownership() {
    let mut world = World::converged();
    world.posture.tags = [(OWNER_TAG.to_owned(), "stolen".to_owned())].into();
    assert_eq!((checks(&world.judge()), calls(&world.judge())), (vec![], vec![]));
}

#[test]
fn an_id_that_was_never_ours_is_not_missed() {
    let mut world = with_foreign_ssm();
    world.remember(&world.judge());
    world.endpoints(|all| all.retain(|e| e.id != "vpce-theirs".into()));
    for _ in 0..2 {
        let verdict = world.judge();
        world.remember(&verdict);
        assert_eq!(checks(&verdict), ["Endpoints Fail EndpointMissing"]);
        assert_eq!(differences(&verdict), [""; 0]);
    }
}

// The overlay.

#[test]
fn what_was_made_a_moment_ago_is_not_made_again_and_proves_nothing() {
    let recent = |service: &str| Recent::Endpoint {
        id: Some("vpce-new".into()),
        vpc: "vpc-1".into(),
        service_name: format!("com.amazonaws.eu-west-1.{service}"),
        owner: "VpcPosture/team/main".into(),
        at: at(0),
    };
    let missing = "Endpoints Fail EndpointMissing";
    check(
        "an endpoint",
        World::with_group(),
        |w| w.overlay.add(recent("ssm")),
        &["Endpoints Fail EndpointPending", missing, "Routes Fail EndpointMissing"],
        &[CREATE_MSG, CREATE_S3],
        &[],
    );
    check(
        "a gateway endpoint",
        World::with_group(),
        |w| w.overlay.add(recent("s3")),
        &[missing, missing, "Routes Fail EndpointPending"],
        &[CREATE_SSM, CREATE_MSG],
        &[],
    );
    let waits = "Endpoints Fail PrerequisiteMissing";
    check(
        "a group",
        World::empty(),
        |w| {
            let name = w.posture.owner.group_name();
            w.overlay.add(Recent::Group { id: Some("sg-new".into()), vpc: "vpc-1".into(), name, at: at(0) });
        },
        &["SecurityGroup Fail SecurityGroupMissing", waits, waits, "Routes Fail EndpointMissing"],
        &[CREATE_S3],
        &[],
    );
    check(
        "another object's does not count",
        World::with_group(),
        |w| {
            let Recent::Endpoint { id, vpc, service_name, at, .. } = recent("ssm") else { unreachable!() };
            w.overlay.add(Recent::Endpoint { id, vpc, service_name, at, owner: "VpcPosture/other/main".into() });
        },
        &[missing, missing, "Routes Fail EndpointMissing"],
        &[CREATE_SSM, CREATE_MSG, CREATE_S3],
        &[],
    );
}

// What cannot be read.

#[test]
fn what_cannot_be_read_is_unknown_and_stops_only_what_rests_on_it() {
    let missing = "Endpoints Fail EndpointMissing";
    let waits = "Endpoints Fail PrerequisiteMissing";
    let unknown = |facet: &str| format!("{facet} Unknown FactUnreadable");
    let (endpoints, routes) = (unknown("Endpoints"), unknown("Routes"));
    let hostnames = || FactKey::Attribute("vpc-1".into(), VpcAttribute::DnsHostnames);
    let made = "Routes Fail EndpointMissing";
    let rows: [(FactKey, Vec<&str>, Vec<&str>); 9] = [
        (FactKey::Vpcs, vec!["Account Unknown FactUnreadable"], vec![]),
        (FactKey::Endpoints, vec![&endpoints, &routes], vec![]),
        (FactKey::SecurityGroups, vec!["SecurityGroup Unknown FactUnreadable", waits, waits, made], vec![CREATE_S3]),
        (
            FactKey::Instances,
            vec![missing, missing, &routes],
            vec![
                "create interface endpoint ssm in subnet-a, subnet-b, private DNS off",
                "create interface endpoint ssmmessages in subnet-a, subnet-b, private DNS off",
            ],
        ),
        (FactKey::ManagedNodes, vec![missing, missing, made], vec![CREATE_SSM, CREATE_MSG, CREATE_S3]),
        (FactKey::Subnets, vec![&endpoints, &endpoints], vec![]),
        (FactKey::RouteTables, vec![missing, missing, &routes], vec![CREATE_SSM, CREATE_MSG]),
        (FactKey::Services, vec![&endpoints, &endpoints], vec![]),
        // AWS itself refuses private DNS where the attributes are off.
        (
            hostnames(),
            vec!["Dns Unknown FactUnreadable", missing, missing, made],
            vec![CREATE_SSM, CREATE_MSG, CREATE_S3],
        ),
    ];
    for (key, said, planned) in rows {
        let mut said = said;
        // Routes follow the endpoints' subnets, and without these facts none are chosen.
        if [FactKey::Services, FactKey::Subnets].contains(&key) {
            said.push(&routes);
        }
        check(&format!("{key:?}"), World::with_group(), |w| w.lose(&key), &said, &planned, &[]);
    }
    let rows: [(FactKey, &[&str]); 9] = [
        (FactKey::Vpcs, &["Account Unknown FactUnreadable"]),
        (FactKey::Endpoints, &["Endpoints Unknown FactUnreadable", "Routes Unknown FactUnreadable"]),
        (FactKey::SecurityGroups, &["SecurityGroup Unknown FactUnreadable"]),
        (FactKey::Instances, &["Routes Unknown FactUnreadable"]),
        (FactKey::ManagedNodes, &[]),
        (FactKey::Subnets, &["Endpoints Unknown FactUnreadable", "Endpoints Unknown FactUnreadable"]),
        (FactKey::RouteTables, &["Routes Unknown FactUnreadable"]),
        (FactKey::Services, &[]),
        (hostnames(), &["Dns Unknown FactUnreadable"]),
    ];
    for (key, said) in rows {
        check(&format!("converged, {key:?}"), World::converged(), |w| w.lose(&key), said, &[], &[]);
        let mut world = World::converged();
        world.fail_read(&key);
        assert_eq!(
            calls(&world.judge()),
            [""; 0],
            "{key:?}: a failed read of today does not undo what was read before"
        );
    }
    check(
        "instances unknown: what was chosen before is still mended",
        World::converged(),
        |w| {
            w.lose(&FactKey::Instances);
            w.endpoint("vpce-s3", |e| e.route_tables.clear());
        },
        &["Routes Unknown FactUnreadable", "Routes Fail RoutesMissing"],
        &["change vpce-s3: add rtb-main"],
        &["endpoints.s3.routeTables"],
    );
    check(
        "services unknown: a subnet chosen before is put back",
        World::converged(),
        |w| {
            w.lose(&FactKey::Services);
            w.endpoint("vpce-ssm", |e| e.subnets = ids(&["subnet-a"]));
        },
        &["Endpoints Fail EndpointDrifted"],
        &["change vpce-ssm: add subnet-b"],
        &["endpoints.ssm.subnets"],
    );
    check(
        "services unknown: a new zone may not have the service",
        World::converged(),
        |w| {
            w.lose(&FactKey::Services);
            w.subnets(|all| all.push(subnet("subnet-d", "d", 9)));
        },
        &["Endpoints Unknown FactUnreadable", "Endpoints Unknown FactUnreadable"],
        &[],
        &[],
    );
    check(
        "services unknown: nor another address family",
        World::converged(),
        |w| {
            w.lose(&FactKey::Services);
            w.endpoint("vpce-ssm", |e| e.ip_address_type = Some(IpAddressType::Dualstack));
        },
        &["Endpoints Unknown FactUnreadable"],
        &[],
        &[],
    );
}

#[test]
fn facts_go_stale_by_class() {
    let rows: [(i64, &[&str]); 4] = [
        (1800, &[]),
        (1801, &["Account Unknown FactUnreadable"]),
        (3 * 3600, &["Account Unknown FactUnreadable"]),
        (-60, &[]),
    ];
    for (seconds, said) in rows {
        check_said(&format!("{seconds}"), World::converged(), |w| w.now = at(seconds), said);
    }
    let later = |w: &mut World, seconds: i64, keys: &[FactKey]| {
        let fresh = crate::testing::converged();
        w.now = at(seconds);
        for key in keys {
            match key {
                FactKey::Vpcs => {
                    w.vpcs(|all| *all = fresh.vpcs.reading(Duration::ZERO, at(0)).known().unwrap().clone())
                }
                FactKey::Endpoints => w.endpoints(|_| {}),
                FactKey::SecurityGroups => w.groups(|_| {}),
                FactKey::Instances => w.instances(|_| {}),
                FactKey::ManagedNodes => w.nodes(|_| {}),
                _ => unreachable!(),
            }
        }
    };
    let fast = [FactKey::Vpcs, FactKey::Endpoints, FactKey::SecurityGroups, FactKey::Instances, FactKey::ManagedNodes];
    check_said("slow facts last three hours", World::converged(), |w| later(w, 3 * 3600, &fast), &[]);
    check_said(
        "and no longer",
        World::converged(),
        |w| later(w, 3 * 3600 + 1, &fast),
        &[
            "Dns Unknown FactUnreadable",
            "Dns Unknown FactUnreadable",
            "Endpoints Unknown FactUnreadable",
            "Endpoints Unknown FactUnreadable",
            "Routes Unknown FactUnreadable",
        ],
    );
}

#[test]
fn writes_rest_on_reads_without_a_later_failure() {
    assert!(World::converged().view().fit_to_write());
    for (key, fit) in [
        (FactKey::Vpcs, false),
        (FactKey::Endpoints, false),
        (FactKey::SecurityGroups, false),
        (FactKey::Subnets, true),
        (FactKey::Instances, true),
    ] {
        let mut world = World::converged();
        world.fail_read(&key);
        assert_eq!(world.view().fit_to_write(), fit, "{key:?}");
    }
}

// Which services.

#[test]
fn what_the_region_does_not_offer() {
    let without = |name: &'static str| move |w: &mut World| w.services(|all| all.retain(|s| !s.name.ends_with(name)));
    check(
        "ssm",
        World::with_group(),
        without(".ssm"),
        &["Endpoints Fail ServiceNotOffered", "Endpoints Fail EndpointMissing", "Routes Fail EndpointMissing"],
        &[CREATE_MSG, CREATE_S3],
        &[],
    );
    check(
        "ec2messages, asked for",
        World::converged(),
        |w| {
            w.posture.ec2messages = Ec2Messages::Always;
            without(".ec2messages")(w);
        },
        &["Endpoints Fail ServiceNotOffered"],
        &[],
        &[],
    );
    check(
        "ec2messages, under Auto with an old agent",
        World::converged(),
        |w| {
            w.instance("i-1", "subnet-a", InstanceState::Running, Some((true, "3.1.0.0")));
            without(".ec2messages")(w);
        },
        &[],
        &[],
        &[],
    );
    check(
        "a gateway for s3",
        World::with_group(),
        |w| w.services(|all| all.retain(|s| s.kind == EndpointType::Interface)),
        &["Endpoints Fail EndpointMissing", "Endpoints Fail EndpointMissing", "Routes Fail ServiceNotOffered"],
        &[CREATE_SSM, CREATE_MSG],
        &[],
    );
    check("an endpoint that is there stays as it is", World::converged(), without(".ssm"), &[], &[], &[]);
}

#[test]
fn ec2messages_under_auto() {
    const CREATE: &str = "create interface endpoint ec2messages in subnet-a, subnet-b, private DNS off";
    let old = |w: &mut World| {
        w.instance("i-1", "subnet-a", InstanceState::Running, Some((true, "3.2.582.0")));
    };
    check(
        "an old agent",
        World::converged(),
        old,
        &["Endpoints Warn EndpointMissing", "Endpoints Fail EndpointMissing"],
        &[CREATE],
        &[],
    );
    check("a new agent", World::converged(), |w| w.online("i-1"), &[], &[], &[]);
    check(
        "an old agent in another VPC",
        World::converged(),
        |w| {
            old(w);
            w.instances(|all| all[0].vpc = "vpc-2".into());
        },
        &[],
        &[],
        &[],
    );
    check(
        "Never",
        World::converged(),
        |w| {
            old(w);
            w.posture.ec2messages = Ec2Messages::Never;
        },
        &[],
        &[],
        &[],
    );
    let made = |w: &mut World| w.endpoints(|all| all.push(endpoint("vpce-ec2", "ec2messages")));
    check("never removed once there", World::converged(), made, &[], &[], &[]);
    check(
        "kept up once there",
        World::converged(),
        |w| {
            made(w);
            w.endpoint("vpce-ec2", |e| e.private_dns = false);
        },
        &["Endpoints Fail PrivateDnsOff"],
        &["change vpce-ec2: private DNS on"],
        &["endpoints.ec2messages.privateDns"],
    );
    for state in [EndpointState::Deleting, EndpointState::Deleted] {
        check(
            &format!("{state:?} without an old agent: not made again"),
            World::converged(),
            |w| {
                made(w);
                w.endpoint("vpce-ec2", |e| e.state = state.clone());
            },
            &[],
            &[],
            &[],
        );
    }
    check(
        "somebody else's serves an old agent",
        World::converged(),
        |w| {
            old(w);
            w.groups(|all| all.push(foreign_group(vec![https("10.0.0.0/16")])));
            w.endpoints(|all| all.push(foreign("vpce-theirs", "ec2messages")));
        },
        &[],
        &[],
        &[],
    );
}

#[test]
fn what_is_no_longer_declared() {
    use DeletionPolicy::{Delete, DeleteWhenUnused, Retain};
    let kept: (&[&str], &[&str]) = (&["Endpoints Warn UndeclaredEndpoint"], &[]);
    let deleted = |id: &'static str| -> (&[&str], Vec<String>) {
        (&["Endpoints Fail EndpointDrifted"], vec![format!("delete {id}")])
    };
    for (policy, deletes) in [(DeleteWhenUnused, false), (Retain, false), (Delete, true)] {
        for (service, id) in [("ec2messages", "vpce-x"), ("kms", "vpce-x")] {
            let (said, planned) = if deletes { deleted(id) } else { (kept.0, vec![]) };
            let planned: Vec<&str> = planned.iter().map(String::as_str).collect();
            check(
                &format!("{service} {policy:?}"),
                World::converged(),
                |w| {
                    w.posture.ec2messages = Ec2Messages::Never;
                    w.posture.deletion_policy = policy;
                    w.endpoints(|all| all.push(Endpoint { policy: Some("{}".into()), ..endpoint(id, service) }));
                    w.endpoint(id, |e| {
                        if deletes {
                            e.tags.remove("Name");
                        } else {
                            e.policy = None;
                        }
                    });
                },
                said,
                &planned,
                &[],
            );
        }
        let (said, planned) = if deletes { deleted("vpce-s3") } else { (kept.0, vec![]) };
        let planned: Vec<&str> = planned.iter().map(String::as_str).collect();
        check(
            &format!("s3 {policy:?}"),
            World::converged(),
            |w| {
                w.posture.s3 = S3Wish::None;
                w.posture.deletion_policy = policy;
            },
            said,
            &planned,
            &[],
        );
    }
    check(
        "somebody else's is no business of ours",
        World::converged(),
        |w| {
            w.posture.deletion_policy = Delete;
            w.endpoints(|all| all.push(foreign("vpce-theirs", "kms")));
        },
        &[],
        &[],
        &[],
    );
    check(
        "one that is going already",
        World::converged(),
        |w| {
            w.posture.deletion_policy = Delete;
            w.endpoints(|all| {
                all.push(Endpoint { state: EndpointState::Deleting, ..endpoint("vpce-x", "kms") });
            });
        },
        &[],
        &[],
        &[],
    );
}

#[test]
fn another_type_for_s3() {
    let interface = |w: &mut World| {
        w.posture.s3 = S3Wish::Interface;
        w.posture.deletion_policy = DeletionPolicy::Delete;
    };
    check(
        "the gateway stays until the interface is in service",
        World::converged(),
        interface,
        &["Endpoints Fail EndpointMissing", "Endpoints Fail EndpointDrifted"],
        &["create interface endpoint s3 in subnet-a, subnet-b, private DNS on"],
        // The last endpoint known for the service was the gateway.
        &["endpoints.s3"],
    );
    let mut world = World::converged();
    interface(&mut world);
    world.slow = true;
    world.settle();
    assert_eq!(checks(&world.judge()), [""; 0]);
    world.endpoints(|all| assert!(all.iter().all(|e| e.kind == EndpointType::Interface) && all.len() == 3));
    let new = world.judge().seen.endpoints.into_iter().find(|e| e.service == crate::posture::ServiceName::S3).unwrap();
    assert_eq!((new.kind, new.state.as_str()), (EndpointType::Interface, "Available"));
    world.posture.s3 = S3Wish::Gateway(RouteTableWish::All);
    world.settle();
    world.endpoints(|all| assert_eq!(all.iter().filter(|e| e.kind == EndpointType::Gateway).count(), 1));
    world.endpoints(|all| assert_eq!(all.len(), 3));
    assert_eq!(checks(&world.judge()), [""; 0]);
}

#[test]
fn services_by_name_have_their_own_settings() {
    let mut world = World::with_group();
    world.posture.s3 = S3Wish::None;
    world.posture.services = Some(vec![
        ServiceWish {
            service: crate::posture::ServiceName::Kms,
            subnets: Some(SubnetWish::Ids(ids(&["subnet-b"]))),
            ip_address_type: None,
        },
        ServiceWish {
            service: crate::posture::ServiceName::Ssm,
            subnets: Some(SubnetWish::Choose { min_zones: 1, max_zones: Some(1), selector: vec![] }),
            ip_address_type: Some(IpAddressType::Dualstack),
        },
    ]);
    world.services(|all| all.iter_mut().for_each(|s| s.ipv6 = s.name.ends_with(".ssm")));
    world.subnets(|all| all[1].has_ipv6 = true);
    let verdict = world.judge();
    let made: Vec<(String, Option<IpAddressType>)> = verdict
        .actions
        .iter()
        .filter_map(|a| {
            if let Write::CreateEndpoint(n) = &a.write { Some((a.write.to_string(), n.ip_address_type)) } else { None }
        })
        .collect();
    let expected = [
        ("create interface endpoint com.amazonaws.eu-west-1.ssm in subnet-b, private DNS on", IpAddressType::Dualstack),
        (
            "create interface endpoint com.amazonaws.eu-west-1.ssmmessages in subnet-a, subnet-b, private DNS on",
            IpAddressType::Ipv4,
        ),
        ("create interface endpoint com.amazonaws.eu-west-1.kms in subnet-b, private DNS on", IpAddressType::Ipv4),
    ];
    assert_eq!(made, expected.map(|(text, ip)| (text.to_owned(), Some(ip))));
    assert_allowed(&world, &verdict);
}

#[test]
fn capabilities_bring_their_endpoints() {
    let mut world = World::empty();
    world.posture.capabilities =
        [Capability::SessionEncryption, Capability::CloudWatchAgent, Capability::VssSnapshots, Capability::S3Logging]
            .into();
    assert_eq!(world.settle(), 2 + 6 + 1);
    assert_eq!(checks(&world.judge()), [""; 0]);
}

// Subnets and address families.

#[test]
fn subnets_that_do_not_do() {
    let routes = "Routes Fail EndpointMissing";
    let unsuitable = ["Endpoints Fail NoSuitableSubnet", "Endpoints Fail NoSuitableSubnet"];
    let full = ["Endpoints Fail NoFreeAddresses", "Endpoints Fail NoFreeAddresses"];
    let not_offered = ["Endpoints Fail ServiceNotOffered", "Endpoints Fail ServiceNotOffered"];
    type Edit = fn(&mut World);
    let rows: [(&str, Edit, [&str; 2]); 9] = [
        (
            "no zone in common",
            |w| w.services(|all| all.iter_mut().for_each(|s| s.zones = ["eu-west-1x".into()].into())),
            unsuitable,
        ),
        ("no subnet", |w| w.subnets(Vec::clear), unsuitable),
        ("all full", |w| w.subnets(|all| all.iter_mut().for_each(|s| s.free_addresses = 0)), full),
        (
            "too few zones",
            |w| w.posture.subnets = SubnetWish::Choose { min_zones: 3, max_zones: None, selector: vec![] },
            unsuitable,
        ),
        (
            "none selected",
            |w| {
                let selector = vec![TagSelector { key: "Tier".into(), values: vec!["private".into()] }];
                w.posture.subnets = SubnetWish::Choose { min_zones: 1, max_zones: None, selector };
            },
            unsuitable,
        ),
        ("a given one is not there", |w| w.posture.subnets = SubnetWish::Ids(ids(&["subnet-gone"])), unsuitable),
        (
            "a given one is full",
            |w| {
                w.posture.subnets = SubnetWish::Ids(ids(&["subnet-a"]));
                w.subnets(|all| all[0].free_addresses = 0);
            },
            full,
        ),
        (
            "dualstack that no subnet has",
            |w| {
                w.posture.ip_address_type = IpAddressType::Dualstack;
                w.services(|all| all.iter_mut().for_each(|s| s.ipv6 = true));
            },
            unsuitable,
        ),
        (
            "dualstack that the service does not support",
            |w| w.posture.ip_address_type = IpAddressType::Dualstack,
            not_offered,
        ),
    ];
    for (what, edit, said) in rows {
        let mut world = World::with_group();
        edit(&mut world);
        // Routes follow the endpoints' subnets: where none are chosen there are none.
        world.posture.s3 = S3Wish::Gateway(RouteTableWish::All);
        let verdict = world.judge();
        assert_eq!(checks(&verdict), [said[0], said[1], routes], "{what}");
        assert_eq!(calls(&verdict).len(), 1, "{what}");
        assert_allowed(&world, &verdict);
    }
}

#[test]
fn subnets_that_no_longer_do() {
    let warned = |reason: &str| vec![format!("Endpoints Warn {reason}"); 2];
    type Edit = fn(&mut World);
    let rows: [(&str, Edit, Vec<String>, Vec<&str>); 6] = [
        (
            "more zones are asked for than there are",
            |w| w.posture.subnets = SubnetWish::Choose { min_zones: 3, max_zones: None, selector: vec![] },
            warned("NoSuitableSubnet"),
            vec![],
        ),
        (
            "its subnets are full of others' addresses",
            |w| w.subnets(|all| all.iter_mut().for_each(|s| s.free_addresses = 0)),
            vec![],
            vec![],
        ),
        (
            "a new zone",
            |w| w.subnets(|all| all.push(subnet("subnet-c", "c", 5))),
            vec!["Endpoints Fail EndpointDrifted".into(); 2],
            vec!["change vpce-msg: add subnet-c", "change vpce-ssm: add subnet-c"],
        ),
        (
            "a roomier subnet in a zone: what is chosen stays",
            |w| w.subnets(|all| all.push(subnet("subnet-a2", "a", 5000))),
            vec![],
            vec![],
        ),
        (
            "given ones in place of the chosen",
            |w| w.posture.subnets = SubnetWish::Ids(ids(&["subnet-b"])),
            vec!["Endpoints Fail EndpointDrifted".into(); 2],
            vec!["change vpce-msg: remove subnet-a", "change vpce-ssm: remove subnet-a"],
        ),
        (
            "given ones that are not there",
            |w| w.posture.subnets = SubnetWish::Ids(ids(&["subnet-gone"])),
            vec!["Endpoints Fail NoSuitableSubnet".into(); 2],
            vec![],
        ),
    ];
    for (what, edit, said, planned) in rows {
        let mut world = World::converged();
        edit(&mut world);
        let verdict = world.judge();
        assert_eq!(checks(&verdict), said, "{what}");
        let mut found = calls(&verdict);
        found.sort_unstable();
        assert_eq!(found, planned, "{what}");
        for action in &verdict.actions {
            assert_eq!(action.disrupts.is_some(), action.write.to_string().contains("remove"), "{what}");
        }
        assert_allowed(&world, &verdict);
    }
    let mut world = World::converged();
    world.memory = Memory::default();
    world.subnets(|all| all.push(subnet("subnet-a2", "a", 5000)));
    assert_eq!(calls(&world.judge()), [""; 0], "where status was lost, what is there was chosen");
}

#[test]
fn another_address_family() {
    let dualstack = |w: &mut World| w.posture.ip_address_type = IpAddressType::Dualstack;
    let supported = |w: &mut World| w.services(|all| all.iter_mut().for_each(|s| s.ipv6 = true));
    check(
        "the service does not support it",
        World::converged(),
        dualstack,
        &["Endpoints Fail ServiceNotOffered", "Endpoints Fail ServiceNotOffered"],
        &[],
        &[],
    );
    check(
        "no subnet has it",
        World::converged(),
        |w| {
            dualstack(w);
            supported(w);
        },
        &["Endpoints Fail NoSuitableSubnet", "Endpoints Fail NoSuitableSubnet"],
        &[],
        &[],
    );
    let drifted = "Endpoints Fail EndpointDrifted";
    check(
        "one subnet has it",
        World::converged(),
        |w| {
            dualstack(w);
            supported(w);
            w.subnets(|all| all[0].has_ipv6 = true);
        },
        &[drifted; 4],
        &[
            "change vpce-ssm: remove subnet-b; address type dualstack",
            "change vpce-msg: remove subnet-b; address type dualstack",
        ],
        &[
            "endpoints.ssm.subnets",
            "endpoints.ssm.ipAddressType",
            "endpoints.ssmmessages.subnets",
            "endpoints.ssmmessages.ipAddressType",
        ],
    );
    let mut world = World::empty();
    world.posture.ip_address_type = IpAddressType::Ipv6;
    supported(&mut world);
    world.cidr("2001:db8::/56");
    world.subnets(|all| {
        all.iter_mut().for_each(|s| {
            s.has_ipv4 = false;
            s.has_ipv6 = true;
            s.free_addresses = 0;
        });
    });
    world.settle();
    assert_eq!(checks(&world.judge()), [""; 0]);
}

// The gateway endpoint.

/// Two tables beside the main one: subnet-b has its own, and nobody uses the third.
fn with_tables(mut world: World) -> World {
    world.tables(|all| {
        all.push(named_table("rtb-b", &["subnet-b"]));
        all.push(named_table("rtb-spare", &[]));
        all.push(RouteTable { vpc: "vpc-2".into(), ..named_table("rtb-other-vpc", &[]) });
    });
    world
}

#[test]
fn the_route_tables_that_lead_to_s3() {
    let stopped = InstanceState::Stopped;
    let wish = |wish: RouteTableWish| S3Wish::Gateway(wish);
    type Edit = Box<dyn Fn(&mut World)>;
    let selector = || vec![TagSelector { key: "s3".into(), values: vec!["yes".into(), "true".into()] }];
    let rows: Vec<(&str, Edit, &str)> = vec![
        ("no instance: the endpoints' subnets", Box::new(|_| {}), "rtb-b, rtb-main"),
        ("an instance in a", Box::new(|w| w.online("i-1")), "rtb-main"),
        ("a stopped instance in b", Box::new(move |w| w.instance("i-1", "subnet-b", stopped, None)), "rtb-b"),
        ("All", Box::new(move |w| w.posture.s3 = wish(RouteTableWish::All)), "rtb-b, rtb-main, rtb-spare"),
        ("by id", Box::new(move |w| w.posture.s3 = wish(RouteTableWish::Ids(ids(&["rtb-spare"])))), "rtb-spare"),
        (
            "by tag",
            Box::new(move |w| {
                w.posture.s3 = wish(RouteTableWish::Selector(selector()));
                w.tables(|all| drop(all[2].tags.insert("s3".into(), "true".into())));
            }),
            "rtb-spare",
        ),
    ];
    for (what, edit, tables) in rows {
        let mut world = with_tables(World::with_group());
        edit(&mut world);
        let verdict = world.judge();
        let made: Vec<String> = calls(&verdict).into_iter().filter(|c| c.contains("gateway")).collect();
        assert_eq!(made, [format!("create gateway endpoint com.amazonaws.eu-west-1.s3 for {tables}")], "{what}");
        assert!(verdict.actions.iter().filter(|a| a.facet == Facet::Routes).all(|a| a.disrupts.is_some()), "{what}");
        assert_allowed(&world, &verdict);
    }
    check_said(
        "a named one is not there",
        with_tables(World::converged()),
        |w| w.posture.s3 = S3Wish::Gateway(RouteTableWish::Ids(ids(&["rtb-gone"]))),
        &["Routes Fail RouteTableNotFound"],
    );
    check_said(
        "a named one is another VPC's",
        with_tables(World::converged()),
        |w| w.posture.s3 = S3Wish::Gateway(RouteTableWish::Ids(ids(&["rtb-other-vpc"]))),
        &["Routes Fail RouteTableNotFound"],
    );
    check_said(
        "none to lead",
        World::with_group(),
        |w| {
            w.posture.s3 =
                S3Wish::Gateway(RouteTableWish::Selector(vec![TagSelector { key: "x".into(), values: vec![] }]))
        },
        &["Endpoints Fail EndpointMissing", "Endpoints Fail EndpointMissing"],
    );
}

#[test]
fn route_tables_stay_but_for_those_named_one_by_one() {
    let start = || {
        let mut world = with_tables(World::converged());
        world.endpoint("vpce-s3", |e| e.route_tables = ids(&["rtb-main", "rtb-b"]));
        world.remembered(crate::posture::ServiceName::S3).route_tables = ids(&["rtb-main", "rtb-b"]);
        world
    };
    check("sticky", start(), |w| w.online("i-1"), &[], &[], &[]);
    check(
        "sticky though detached",
        start(),
        |w| {
            w.online("i-1");
            w.endpoint("vpce-s3", |e| e.route_tables = ids(&["rtb-main"]));
        },
        &["Routes Fail RoutesMissing"],
        &["change vpce-s3: add rtb-b"],
        &["endpoints.s3.routeTables"],
    );
    check(
        "one that is no more is not missed",
        start(),
        |w| {
            w.tables(|all| all.retain(|t| t.id != "rtb-b".into()));
            w.endpoint("vpce-s3", |e| e.route_tables = ids(&["rtb-main"]));
        },
        &[],
        &[],
        &[],
    );
    check(
        "a table of somebody's choice is left",
        start(),
        |w| w.endpoint("vpce-s3", |e| e.route_tables = ids(&["rtb-main", "rtb-b", "rtb-spare"])),
        &[],
        &[],
        &[],
    );
    check(
        "named: the list is the whole of it",
        start(),
        |w| w.posture.s3 = S3Wish::Gateway(RouteTableWish::Ids(ids(&["rtb-main", "rtb-spare"]))),
        &["Routes Fail RoutesMissing"],
        &["change vpce-s3: add rtb-spare; remove rtb-b"],
        &["endpoints.s3.routeTables"],
    );
}

#[test]
fn somebody_elses_gateway_endpoint() {
    let theirs = |tables: &[&'static str]| Endpoint {
        route_tables: ids(tables),
        tags: Default::default(),
        ..gateway("vpce-theirs")
    };
    let start = |tables: &[&'static str]| {
        let mut world = with_tables(World::converged());
        world.memory.endpoints.remove(&crate::posture::ServiceName::S3);
        let theirs = theirs(tables);
        world.endpoints(|all| all[2] = theirs);
        world
    };
    let with = |adoption| move |w: &mut World| w.posture.adoption = adoption;
    let (all, some, none) = (["rtb-main", "rtb-b"].as_slice(), ["rtb-b"].as_slice(), ["rtb-spare"].as_slice());
    let missing = "Routes Fail EndpointMissing";
    let take = "tag vpce-theirs with Name, ssmready.dev/cluster, ssmready.dev/owner";
    let both = "create gateway endpoint s3 for rtb-b, rtb-main";
    for (what, tables, adoption, said, planned) in [
        ("all", all, Adoption::UseExisting, vec![], vec![]),
        ("some", some, Adoption::UseExisting, vec![missing], vec![CREATE_S3]),
        ("none", none, Adoption::UseExisting, vec![missing], vec![both]),
        ("all", all, Adoption::TakeOver, vec!["Routes Fail EndpointDrifted"], vec![take]),
        ("some", some, Adoption::TakeOver, vec!["Routes Fail EndpointDrifted"], vec![take]),
        ("all", all, Adoption::Never, vec!["Routes Fail RouteConflict"], vec![]),
        ("some", some, Adoption::Never, vec!["Routes Fail RouteConflict"], vec![]),
        ("none", none, Adoption::Never, vec![missing], vec![both]),
    ] {
        check(&format!("{what} {adoption:?}"), start(tables), with(adoption), &said, &planned, &[]);
    }
    for (state, said) in [
        ("pending", "Routes Fail EndpointPending"),
        ("deleting", "Routes Fail EndpointDeleting"),
        ("partial", "Routes Fail EndpointDegraded"),
        ("mending", "Routes Fail EndpointDegraded"),
    ] {
        check(
            state,
            start(all),
            |w| w.endpoint("vpce-theirs", |e| e.state = EndpointState::parse(state)),
            &[said],
            &[],
            &[],
        );
        let mut world = start(all);
        world.endpoint("vpce-theirs", |e| e.state = EndpointState::parse(state));
        assert!(!world.judge().checks.iter().any(|c| c.reason == Reason::UsingExisting), "{state} is not good");
    }
    check(
        "failed: it leads nowhere",
        start(all),
        |w| w.endpoint("vpce-theirs", |e| e.state = EndpointState::Failed),
        &[missing],
        &[both],
        &[],
    );
    check(
        "managed by a service: used, never taken over",
        start(all),
        |w| {
            w.posture.adoption = Adoption::TakeOver;
            w.endpoint("vpce-theirs", |e| e.requester_managed = true);
        },
        &[],
        &[],
        &[],
    );
    let mut world = start(some);
    world.posture.adoption = Adoption::TakeOver;
    world.settle();
    assert_eq!(checks(&world.judge()), [""; 0]);
    world.endpoint("vpce-theirs", |e| assert_eq!(e.route_tables, ids(&["rtb-main", "rtb-b"])));
    check(
        "two of ours: neither asks for what the other serves",
        with_tables(World::converged()),
        |w| w.endpoints(|all| all.push(Endpoint { route_tables: ids(&["rtb-b"]), ..gateway("vpce-s3b") })),
        &[],
        &[],
        &[],
    );
}

// Two of ours, and what is left over.

#[test]
fn two_of_ours_for_one_service() {
    let second = |w: &mut World| {
        w.endpoints(|all| all.insert(0, Endpoint { private_dns: false, ..endpoint("vpce-2nd", "ssm") }))
    };
    check(
        "the kept one is in service",
        World::converged(),
        second,
        &["Endpoints Warn EndpointDrifted"],
        &["delete vpce-2nd"],
        &[],
    );
    check(
        "the one that status remembers is not the one with the name",
        World::converged(),
        |w| {
            second(w);
            w.remembered(crate::posture::ServiceName::Ssm).id = Some("vpce-2nd".into());
        },
        &["Endpoints Warn EndpointDrifted"],
        &["delete vpce-2nd"],
        &[],
    );
    check(
        "none has the name yet",
        World::converged(),
        |w| {
            second(w);
            w.endpoint("vpce-ssm", |e| e.private_dns = false);
        },
        &["Endpoints Fail PrivateDnsOff"],
        &["change vpce-ssm: private DNS on"],
        &["endpoints.ssm.privateDns"],
    );
    check(
        "neither is in service yet",
        World::converged(),
        |w| {
            second(w);
            w.endpoint("vpce-ssm", |e| e.state = EndpointState::Pending);
            w.endpoint("vpce-2nd", |e| e.state = EndpointState::Pending);
        },
        &["Endpoints Fail EndpointPending"],
        &[],
        &[],
    );
    check(
        "the surplus is going already",
        World::converged(),
        |w| {
            second(w);
            w.endpoint("vpce-2nd", |e| e.state = EndpointState::Deleting);
        },
        &[],
        &[],
        &[],
    );
}

#[test]
fn groups_of_ours_that_nobody_uses() {
    let second = |w: &mut World| {
        w.groups(|all| {
            all.push(SecurityGroup { id: "sg-2".into(), name: "another".into(), ..group() });
        });
    };
    check("a second one", World::converged(), second, &[], &["delete security group sg-2"], &[]);
    check(
        "a second one that an endpoint still uses",
        World::converged(),
        |w| {
            second(w);
            w.endpoint("vpce-ssm", |e| e.groups = ids(&["sg-2"]));
        },
        &["Endpoints Fail EndpointDrifted"],
        &["change vpce-ssm: add sg-1; remove sg-2"],
        &["endpoints.ssm.securityGroups"],
    );
    let given = |w: &mut World| {
        w.posture.group = GroupWish::Existing(ids(&["sg-theirs"]));
        w.groups(|all| all.push(foreign_group(vec![https("10.0.0.0/16")])));
    };
    check(
        "the spec names another one: first the endpoints go over",
        World::converged(),
        given,
        &["Endpoints Fail EndpointDrifted", "Endpoints Fail EndpointDrifted"],
        &["change vpce-ssm: add sg-theirs; remove sg-1", "change vpce-msg: add sg-theirs; remove sg-1"],
        &["endpoints.ssm.securityGroups", "endpoints.ssmmessages.securityGroups"],
    );
    let mut world = World::converged();
    given(&mut world);
    world.pass();
    assert_eq!(calls(&world.judge()), ["delete security group sg-1"], "then ours goes");
    world.settle();
    assert_eq!(checks(&world.judge()), [""; 0]);
    check(
        "the spec names one that does not admit the VPC: nothing moves",
        World::converged(),
        |w| {
            given(w);
            w.groups(|all| all[1].ingress.clear());
        },
        &["SecurityGroup Fail SecurityGroupRejectsClients"],
        &[],
        &[],
    );
    check(
        "the spec names one that is not there: nothing moves",
        World::converged(),
        |w| w.posture.group = GroupWish::Existing(ids(&["sg-gone"])),
        &["SecurityGroup Fail SecurityGroupNotFound"],
        &[],
        &[],
    );
    check(
        "another object's group is left",
        World::converged(),
        |w| {
            let mut other = w.posture.owner.clone();
            other.name = "other".into();
            w.groups(|all| {
                all.push(SecurityGroup { id: "sg-2".into(), name: "x".into(), tags: other.tags(), ..group() });
            });
        },
        &[],
        &[],
        &[],
    );
}

// Client tokens.

fn tokens(world: &World) -> BTreeMap<String, String> {
    let verdict = world.judge();
    let made = verdict.actions.iter().filter_map(|a| {
        if let Write::CreateEndpoint(n) = &a.write {
            Some((n.service_name.clone(), n.client_token.clone()))
        } else {
            None
        }
    });
    made.collect()
}

#[test]
fn a_client_token_lasts_until_the_last_endpoint_is_known_to_be_gone() {
    let mut world = World::with_group();
    let first = tokens(&world);
    assert_eq!(first.len(), 3);
    assert_eq!(first.values().collect::<BTreeSet<_>>().len(), 3, "one a service");
    // A pass that was lost, another spec, and an instance that came up change nothing.
    world.remember(&world.judge());
    assert_eq!(tokens(&world), first);
    world.posture.tags = [("a".to_owned(), "b".to_owned())].into();
    world.online("i-1");
    assert_eq!(tokens(&world), first);
    // Made, remembered, deleted by somebody: another token for that one alone.
    let mut world = World::with_group();
    world.settle();
    world.endpoints(|all| all.retain(|e| !e.service_name.ends_with(".ssm")));
    let again = tokens(&world);
    assert_eq!(again.len(), 1);
    assert!(!first.values().any(|t| again.values().any(|a| a == t)));
    world.remember(&world.judge());
    assert_eq!(tokens(&world), again);
    world.remembered(crate::posture::ServiceName::Ssm).attempts = 1;
    assert_ne!(tokens(&world), again);
}

// Any world.

type Edit = (&'static str, fn(&mut World));

/// Things that happen to a VPC.
const EVENTS: &[Edit] = &[
    ("second CIDR", |w| w.cidr("10.1.0.0/16")),
    ("IPv6 CIDR", |w| w.cidr("2001:db8::/56")),
    ("an Online instance", |w| w.online("i-1")),
    ("an old agent", |w| w.instance("i-2", "subnet-b", InstanceState::Running, Some((true, "2.3.0.0")))),
    ("a stopped instance", |w| w.instance("i-3", "subnet-b", InstanceState::Stopped, None)),
    ("DNS off", |w| w.attribute(VpcAttribute::DnsSupport, false)),
    ("a zone more", |w| w.subnets(|all| all.push(subnet("subnet-c", "c", 5)))),
    ("a zone without the services", |w| w.subnets(|all| all.push(subnet("subnet-d", "d", 5)))),
    ("a zone less", |w| w.subnets(|all| all.retain(|s| s.id != "subnet-a".into()))),
    ("a table more", |w| w.tables(|all| all.push(named_table("rtb-b", &["subnet-b"])))),
    ("no rules", |w| w.groups(|all| all.iter_mut().for_each(|g| g.ingress.clear()))),
    ("half the rules", |w| w.groups(|all| all.iter_mut().for_each(|g| g.ingress = vec![https("10.0.0.0/17")]))),
    ("wide rules of ours", |w| w.groups(|all| all.iter_mut().for_each(|g| g.ingress = vec![our_rule("10.0.0.0/8")]))),
    ("group gone", |w| w.groups(|all| all.retain(|g| g.id != "sg-1".into()))),
    ("a second group", |w| {
        w.groups(|all| all.push(SecurityGroup { id: "sg-2".into(), name: "another".into(), ..group() }))
    }),
    ("ssm gone", |w| w.endpoints(|all| all.retain(|e| e.id != "vpce-ssm".into()))),
    ("all endpoints gone", |w| w.endpoints(Vec::clear)),
    ("groups swapped", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.groups = ids(&["sg-other"])))),
    ("no private DNS", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.private_dns = false))),
    ("in no subnet", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.subnets.clear()))),
    ("no routes", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.route_tables.clear()))),
    ("policies", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.policy = Some("{}".into())))),
    ("declared tags", |w| w.posture.tags = [("a".to_owned(), "b".to_owned())].into()),
    ("first failed", |w| w.endpoints(|all| all.iter_mut().take(1).for_each(|e| e.state = EndpointState::Failed))),
    ("a second endpoint", |w| w.endpoints(|all| all.push(endpoint("vpce-2nd", "ssm")))),
    ("an old kms endpoint", |w| w.endpoints(|all| all.push(endpoint("vpce-kms", "kms")))),
    ("status lost", |w| w.memory = Memory::default()),
    ("slow endpoints", |w| w.slow = true),
];

/// What may be asked of us.
const WISHES: &[Edit] = &[
    ("ec2messages Always", |w| w.posture.ec2messages = Ec2Messages::Always),
    ("ec2messages Never", |w| w.posture.ec2messages = Ec2Messages::Never),
    ("deletion policy Delete", |w| w.posture.deletion_policy = DeletionPolicy::Delete),
    ("more", |w| w.posture.capabilities = [Capability::SessionEncryption, Capability::S3Logging].into()),
    ("S3 by interface", |w| w.posture.s3 = S3Wish::Interface),
    ("no S3", |w| w.posture.s3 = S3Wish::None),
    ("all tables", |w| w.posture.s3 = S3Wish::Gateway(RouteTableWish::All)),
    ("named table", |w| w.posture.s3 = S3Wish::Gateway(RouteTableWish::Ids(ids(&["rtb-main"])))),
    ("one zone", |w| w.posture.subnets = SubnetWish::Choose { min_zones: 1, max_zones: Some(1), selector: vec![] }),
    ("clients", |w| w.posture.group = create_wish(true, &["100.64.0.0/10", "10.0.0.0/20"])),
    ("TakeOver", |w| w.posture.adoption = Adoption::TakeOver),
];

/// Things that only a person can set right, or that nobody knows.
const TROUBLES: &[Edit] = &[
    ("Never", |w| w.posture.adoption = Adoption::Never),
    ("DNS reported", |w| w.posture.dns = DnsWish::Report),
    ("given group", |w| w.posture.group = GroupWish::Existing(ids(&["sg-theirs"]))),
    ("clients alone", |w| w.posture.group = create_wish(false, &["100.64.0.0/10"])),
    ("dualstack", |w| w.posture.ip_address_type = IpAddressType::Dualstack),
    ("given subnets", |w| w.posture.subnets = SubnetWish::Ids(ids(&["subnet-b", "subnet-d"]))),
    ("foreign group", |w| w.groups(|all| all.push(foreign_group(vec![https("10.0.0.0/16")])))),
    ("foreign ssm", |w| w.endpoints(|all| all.push(foreign("vpce-theirs", "ssm")))),
    ("foreign ssm without DNS", |w| {
        w.endpoints(|all| all.push(Endpoint { private_dns: false, ..foreign("vpce-t2", "ssm") }))
    }),
    ("foreign gateway", |w| w.endpoints(|all| all.push(Endpoint { tags: Default::default(), ..gateway("vpce-t3") }))),
    ("managed by a service", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.requester_managed = true))),
    ("half the tags", |w| w.endpoints(|all| all.iter_mut().for_each(|e| drop(e.tags.remove(CLUSTER_TAG))))),
    ("no group tags", |w| w.groups(|all| all.iter_mut().for_each(|g| g.tags.clear()))),
    ("all deleting", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.state = EndpointState::Deleting))),
    ("all deleted", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.state = EndpointState::Deleted))),
    ("all partial", |w| w.endpoints(|all| all.iter_mut().for_each(|e| e.state = EndpointState::Partial))),
    ("first expired", |w| w.endpoints(|all| all.iter_mut().take(1).for_each(|e| e.state = EndpointState::Expired))),
    ("last pending", |w| {
        w.endpoints(|all| all.iter_mut().rev().take(1).for_each(|e| e.state = EndpointState::Pending))
    }),
    ("prefix lists", |w| w.groups(|all| all.iter_mut().for_each(|g| g.ingress = vec![https("pl-1")]))),
    ("no ssm offered", |w| w.services(|all| all.retain(|s| !s.name.ends_with(".ssm")))),
    ("no addresses", |w| w.subnets(|all| all.iter_mut().for_each(|s| s.free_addresses = 0))),
    ("no VPC", |w| w.vpcs(Vec::clear)),
    ("vpcs unread", |w| w.lose(&FactKey::Vpcs)),
    ("endpoints unread", |w| w.lose(&FactKey::Endpoints)),
    ("groups unread", |w| w.lose(&FactKey::SecurityGroups)),
    ("instances unread", |w| w.lose(&FactKey::Instances)),
    ("nodes unread", |w| w.lose(&FactKey::ManagedNodes)),
    ("subnets unread", |w| w.lose(&FactKey::Subnets)),
    ("tables unread", |w| w.lose(&FactKey::RouteTables)),
    ("services unread", |w| w.lose(&FactKey::Services)),
    ("DNS unread", |w| w.lose(&FactKey::Attribute("vpc-1".into(), VpcAttribute::DnsSupport))),
    ("instances once", |w| w.fail_read(&FactKey::Instances)),
    ("just made", |w| {
        w.overlay.add(Recent::Endpoint {
            id: None,
            vpc: "vpc-1".into(),
            service_name: "com.amazonaws.eu-west-1.ssm".into(),
            owner: w.posture.owner.tag(),
            at: at(0),
        });
    }),
    ("group just made", |w| {
        let name = w.posture.owner.group_name();
        w.overlay.add(Recent::Group { id: None, vpc: "vpc-1".into(), name, at: at(0) });
    }),
    ("two hours later", |w| w.now = w.now.checked_add(2.hours()).unwrap()),
];

fn world(start: u8, names: &[Edit]) -> World {
    let mut world = match start {
        0 => World::empty(),
        1 => World::with_group(),
        _ => World::converged(),
    };
    for (_, edit) in names {
        edit(&mut world);
    }
    world
}

fn some_of(edits: &'static [Edit], most: usize) -> impl Strategy<Value = Vec<Edit>> {
    proptest::sample::subsequence(edits.to_vec(), 0..=most).prop_shuffle()
}

fn named(edits: &[Edit]) -> Vec<&'static str> {
    edits.iter().map(|(name, _)| *name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_no_world_is_a_rule_broken(
        start in 0_u8..3,
        events in some_of(EVENTS, 6),
        wishes in some_of(WISHES, 4),
        troubles in some_of(TROUBLES, 4),
    ) {
        let edits: Vec<Edit> = [events, wishes, troubles].concat();
        let world = world(start, &edits);
        let verdict = world.judge();
        assert_allowed(&world, &verdict);
        prop_assert_eq!(&world.judge(), &verdict, "the same facts give the same verdict: {:?}", named(&edits));
    }

    #[test]
    fn every_world_without_trouble_becomes_ready_and_stays_so(
        start in 0_u8..3,
        events in some_of(EVENTS, 8),
        wishes in some_of(WISHES, 4),
    ) {
        let edits: Vec<Edit> = [events, wishes].concat();
        let mut world = world(start, &edits);
        for _ in 0..12 {
            let verdict = world.judge();
            assert_allowed(&world, &verdict);
            if world.pass() == 0 && !world.slow {
                break;
            }
        }
        let verdict = world.judge();
        prop_assert!(gates_hold(&verdict), "{:?}: {:#?}", named(&edits), checks(&verdict));
        prop_assert_eq!(calls(&verdict), vec![""; 0], "{:?}", named(&edits));
    }
}

#[test]
fn what_lost_our_tags_is_told_as_long_as_it_lasts() {
    for (id, service, told) in [
        ("vpce-ssm", ServiceName::Ssm, "Endpoints Warn OwnershipTagsLost"),
        ("vpce-s3", ServiceName::S3, "Routes Warn OwnershipTagsLost"),
    ] {
        let mut world = World::converged();
        world.endpoint(id, |e| e.tags.clear());
        for pass in 0..3 {
            let verdict = world.judge();
            assert!(checks(&verdict).iter().any(|c| c == told), "{id}, pass {pass}: {:?}", checks(&verdict));
            assert_eq!(calls(&verdict), [""; 0], "{id}, pass {pass}");
            assert_eq!(differences(&verdict), [format!("endpoints.{service}.tags")], "{id}, pass {pass}");
            world.remember(&verdict);
        }
        let tags = world.posture.tags_for(service.as_str());
        world.endpoint(id, |e| e.tags = tags);
        assert_eq!(checks(&world.judge()), [""; 0], "{id}: restored");
    }
}

fn seen(verdict: &Verdict, service: crate::posture::ServiceName) -> &SeenEndpoint {
    verdict.seen.endpoints.iter().find(|e| e.service == service).unwrap()
}

#[test]
fn what_is_seen_is_what_was_read() {
    use crate::posture::ServiceName::{S3, Ssm};
    let mut world = World::converged();
    world.subnets(|all| all[1].zone_id = String::new());
    world.endpoint("vpce-ssm", |e| {
        e.private_dns = false;
        e.state = EndpointState::Unknown("mending".into());
    });
    let verdict = world.judge();
    let ssm = seen(&verdict, Ssm);
    assert_eq!((ssm.private_dns, ssm.state.as_str(), ssm.kind), (false, "mending", EndpointType::Interface));
    assert_eq!(ssm.service_name.as_deref(), Some("com.amazonaws.eu-west-1.ssm"));
    // The zone's id where it has one: its name means another zone in another account.
    assert_eq!(ssm.zones, ["euw1-a", "eu-west-1b"].map(String::from).into());
    assert_eq!(seen(&verdict, S3).kind, EndpointType::Gateway);
    world.endpoints(Vec::clear);
    let verdict = world.judge();
    let ssm = seen(&verdict, Ssm);
    assert_eq!((ssm.private_dns, ssm.state.as_str(), ssm.zones.len()), (false, "Missing", 0));
    assert_eq!(ssm.id, Some("vpce-ssm".into()), "the last one known");
}

#[test]
fn a_facet_that_holds_is_said_once() {
    let said = |verdict: &Verdict, facet| -> Vec<String> {
        verdict.checks.iter().filter(|c| c.facet == facet).map(|c| format!("{:?} {}", c.outcome, c.message)).collect()
    };
    let mut world = World::converged();
    let verdict = world.judge();
    assert_eq!(said(&verdict, Facet::Endpoints), ["Pass available with private DNS: ssm, ssmmessages"]);
    assert_eq!(said(&verdict, Facet::Policy), ["Pass full access"]);
    assert_eq!(said(&verdict, Facet::Dns), ["Pass enableDnsSupport and enableDnsHostnames are on"]);
    world.endpoint("vpce-ssm", |e| e.policy = Some("{}".into()));
    let policy = said(&world.judge(), Facet::Policy);
    assert!(policy.len() == 1 && policy[0].starts_with("Fail"), "{policy:?}");
}

#[test]
fn somebody_elses_ec2messages_asks_for_none_of_ours() {
    check(
        "without an old agent",
        World::converged(),
        |w| {
            w.online("i-1");
            w.endpoints(|all| {
                all.push(Endpoint { private_dns: false, ..foreign("vpce-theirs", "ec2messages") });
            });
        },
        &[],
        &[],
        &[],
    );
    check(
        "ours by its tags, but managed by AWS",
        World::converged(),
        |w| {
            w.endpoints(|all| {
                all.push(Endpoint {
                    requester_managed: true,
                    private_dns: false,
                    ..endpoint("vpce-aws", "ec2messages")
                });
            });
        },
        &[],
        &[],
        &[],
    );
}

#[test]
fn the_one_in_service_is_looked_at_first() {
    let mut world = World::converged();
    // Another of ours, with a smaller id, that is still being made: its name is that of the one in service.
    world.endpoints(|all| {
        all.insert(0, Endpoint { state: EndpointState::Pending, private_dns: false, ..endpoint("vpce-1st", "ssm") });
    });
    assert_eq!(seen(&world.judge(), crate::posture::ServiceName::Ssm).id, Some("vpce-ssm".into()));

    check(
        "ours in service waits for ours that holds the name",
        World::converged(),
        |w| {
            w.endpoint("vpce-ssm", |e| e.private_dns = false);
            w.endpoints(|all| {
                all.push(Endpoint { state: EndpointState::Pending, ..endpoint("vpce-2nd", "ssm") });
            });
        },
        &["Endpoints Fail EndpointPending"],
        &[],
        &["endpoints.ssm.privateDns"],
    );

    let mut world = with_foreign_ssm();
    world.endpoints(|all| {
        all.insert(0, Endpoint { state: EndpointState::Pending, ..foreign("vpce-1st", "ssm") });
    });
    assert_eq!(checks(&world.judge()), [""; 0], "of theirs too");
}

#[test]
fn taking_over_takes_what_was_ours_and_nothing_else_that_is_in_nobodys_way() {
    let lost = |edit: fn(&mut Endpoint)| {
        let mut world = World::converged();
        world.posture.adoption = Adoption::TakeOver;
        world.endpoint("vpce-ssm", |e| {
            e.tags.clear();
            e.private_dns = false;
            edit(e);
        });
        let verdict = world.judge();
        assert_allowed(&world, &verdict);
        calls(&verdict)
    };
    assert!(lost(|_| {}).iter().any(|call| call.starts_with("tag vpce-ssm")), "{:?}", lost(|_| {}));
    for (what, calls) in [
        ("never ours", lost(|e| e.id = "vpce-theirs".into())),
        ("managed by AWS", lost(|e| e.requester_managed = true)),
        ("going", lost(|e| e.state = EndpointState::Deleting)),
        ("failed", lost(|e| e.state = EndpointState::Failed)),
    ] {
        assert!(!calls.iter().any(|call| call.starts_with("tag vpce-")), "{what}: {calls:?}");
        assert!(
            calls.iter().any(|call| call.starts_with("create interface endpoint com.amazonaws.eu-west-1.ssm ")),
            "{what}: {calls:?}"
        );
    }
}

#[test]
fn s3_alone_says_whom_its_private_name_is_for() {
    let mut world = World::with_group();
    world.posture.s3 = S3Wish::Interface;
    let told: Vec<(String, Option<bool>)> = world
        .judge()
        .actions
        .iter()
        .filter_map(|a| match &a.write {
            Write::CreateEndpoint(new) => Some((new.service_name.clone(), new.inbound_resolver_only)),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 3);
    for (name, only) in told {
        assert_eq!(only, name.ends_with(".s3").then_some(false), "{name}");
    }
}

#[test]
fn the_old_way_to_s3_stays_until_the_new_one_is_in_service() {
    for (state, private_dns, goes) in [
        (EndpointState::Pending, true, false),
        (EndpointState::Available, false, false),
        (EndpointState::Available, true, true),
    ] {
        let mut world = World::converged();
        world.posture.s3 = S3Wish::Interface;
        world.posture.deletion_policy = DeletionPolicy::Delete;
        let new = Endpoint { state: state.clone(), private_dns, ..endpoint("vpce-s3-new", "s3") };
        world.endpoints(|all| all.push(new));
        let verdict = world.judge();
        assert_allowed(&world, &verdict);
        assert_eq!(calls(&verdict).contains(&"delete vpce-s3".to_owned()), goes, "{state:?} {private_dns}");
    }
}

#[test]
fn what_a_rule_admits() {
    use crate::facts::RuleSource;
    let sources = [
        RuleSource::Cidr("10.0.0.0/16".parse().unwrap()),
        RuleSource::Group("sg-clients".into()),
        RuleSource::PrefixList("pl-1".into()),
    ];
    for (protocol, ports, admits) in [
        ("tcp", Some((443, 443)), true),
        ("6", Some((0, 65535)), true),
        ("tcp", None, true),
        ("tcp", Some((-1, -1)), true),
        ("-1", Some((80, 80)), true),
        ("tcp", Some((1, 442)), false),
        ("tcp", Some((444, 65535)), false),
        ("udp", Some((443, 443)), false),
        ("icmp", None, false),
    ] {
        let rules = ["10.0.0.0/8", "sg-clients", "pl-1"].map(|from| rule(protocol, ports, from));
        let rules: Vec<&IngressRule> = rules.iter().collect();
        let left = if admits { 0 } else { 3 };
        assert_eq!(group::not_admitted(&rules, &sources).len(), left, "{protocol} {ports:?}");
    }
    let other = rule("tcp", None, "sg-other");
    assert_eq!(group::not_admitted(&[&other], &sources).len(), 3, "of another group");
}

#[test]
fn a_group_is_in_the_way_by_its_name_and_in_the_same_vpc_only() {
    let name = World::empty().posture.owner.group_name();
    for (what, vpc, named, in_the_way) in [
        ("another name", "vpc-1", "theirs", false),
        ("another VPC", "vpc-2", name.as_str(), false),
        ("both the same", "vpc-1", name.as_str(), true),
    ] {
        let mut world = World::empty();
        world.groups(|all| all.push(SecurityGroup { vpc: vpc.into(), name: named.into(), ..foreign_group(vec![]) }));
        let verdict = world.judge();
        assert_allowed(&world, &verdict);
        let made = calls(&verdict).iter().any(|call| call.starts_with("create security group"));
        assert_eq!(made, !in_the_way, "{what}: {:?}", calls(&verdict));
    }
}

#[test]
fn a_gateway_endpoint_is_seen_as_what_it_is() {
    use crate::posture::ServiceName::S3;
    // Two of ours: the one in service is looked at, whatever its id.
    let mut world = World::converged();
    world.endpoints(|all| all.insert(0, Endpoint { state: EndpointState::Pending, ..gateway("vpce-0") }));
    assert_eq!(seen(&world.judge(), S3).id, Some("vpce-s3".into()));
    assert_eq!(seen(&world.judge(), S3).ownership, Ownership::Managed);

    // Somebody else's, about to be taken over: not ours yet.
    let mut world = World::converged();
    world.memory = Memory::default();
    world.posture.adoption = Adoption::TakeOver;
    world.endpoint("vpce-s3", |e| e.tags.clear());
    assert_eq!(seen(&world.judge(), S3).ownership, Ownership::Existing);
}

#[test]
fn route_tables_stay_where_status_was_lost() {
    use crate::posture::ServiceName::S3;
    let both: BTreeSet<_> = ids(&["rtb-b", "rtb-main"]);
    for (what, memory) in [
        ("remembered", Some(both.clone())),
        ("no tables remembered", Some(BTreeSet::new())),
        ("nothing remembered", None),
    ] {
        let mut world = World::converged();
        world.tables(|all| all.push(named_table("rtb-b", &["subnet-b"])));
        world.endpoint("vpce-s3", |e| e.route_tables = both.clone());
        // Of instances in subnet-a alone, so that rtb-b would not be chosen anew.
        world.instance("i-1", "subnet-a", InstanceState::Running, None);
        match memory {
            Some(tables) => world.remembered(S3).route_tables = tables,
            None => world.memory = Memory::default(),
        }
        let verdict = world.judge();
        assert_allowed(&world, &verdict);
        assert_eq!(seen(&verdict, S3).route_tables, both, "{what}");
        assert!(!calls(&verdict).iter().any(|call| call.contains("rtb-b")), "{:?}", calls(&verdict));
    }
}

#[test]
fn route_tables_follow_the_endpoints_of_others() {
    let mut world = with_foreign_ssm();
    world.tables(|all| all.push(named_table("rtb-b", &["subnet-b"])));
    world.endpoints(|all| {
        *all = vec![foreign("vpce-kms", "kms"), foreign("vpce-1", "ssm"), foreign("vpce-2", "ssmmessages")];
        all[0].subnets = ids(&["subnet-a"]);
        all[1].subnets = ids(&["subnet-b"]);
        all[2].subnets = ids(&["subnet-b"]);
    });
    // No instance, and no subnet of our own choice: where the endpoints are that are used.
    let verdict = world.judge();
    assert_allowed(&world, &verdict);
    assert_eq!(calls(&verdict), ["create gateway endpoint com.amazonaws.eu-west-1.s3 for rtb-b"]);
}

#[test]
fn what_cannot_be_read_says_why() {
    for (lose, says) in [(true, "InternalError"), (false, "has not answered yet")] {
        let mut world = World::converged();
        if lose {
            world.lose(&FactKey::Endpoints);
        } else {
            world.facts.endpoints = Default::default();
        }
        let verdict = world.judge();
        let check = verdict.checks.iter().find(|c| c.facet == Facet::Endpoints).unwrap();
        assert!(check.message.contains(says) && check.message.contains("DescribeVpcEndpoints"), "{}", check.message);
    }
}

#[test]
fn what_was_never_ours_has_lost_nothing() {
    let lost = |edit: &dyn Fn(&mut Endpoint)| {
        let mut world = with_foreign_ssm();
        *world.remembered(crate::posture::ServiceName::Ssm) =
            EndpointMemory { id: Some("vpce-ssm".into()), managed: true, ..EndpointMemory::default() };
        world.endpoint("vpce-theirs", |e| e.private_dns = false);
        world.endpoints(|all| edit(&mut all[0]));
        checks(&world.judge()).contains(&"Endpoints Warn OwnershipTagsLost".to_owned())
    };
    assert!(lost(&|e| e.id = "vpce-ssm".into()));
    assert!(!lost(&|_| {}), "another one, of somebody else");
    let leaving = |e: &mut Endpoint| {
        e.id = "vpce-ssm".into();
        e.state = EndpointState::Deleting;
    };
    assert!(!lost(&leaving));
}

#[test]
fn what_is_not_there_is_whose_it_was_or_will_be() {
    use crate::posture::ServiceName::Ssm;
    let owner = |id: Option<&str>, managed: bool| {
        let mut world = World::empty();
        *world.remembered(Ssm) = EndpointMemory { id: id.map(Into::into), managed, ..EndpointMemory::default() };
        seen(&world.judge(), Ssm).ownership
    };
    assert_eq!(owner(None, false), Ownership::Managed, "there was none");
    assert_eq!(owner(Some("vpce-1"), true), Ownership::Managed);
    assert_eq!(owner(Some("vpce-1"), false), Ownership::Existing);
}
