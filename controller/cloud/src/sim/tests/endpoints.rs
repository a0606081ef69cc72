//! Endpoints: what AWS accepts, how they live, and what they hold.

use ssm_ready_core::facts::{IpAddressType, VpcAttribute};

use super::*;

#[test]
fn creation_is_refused_with_the_code_that_aws_documents() {
    type Spoil = fn(&Place, &mut NewEndpoint);
    let cases: &[(&str, &str, Spoil)] = &[
        ("no such VPC", "InvalidVpcID.NotFound", |_, new| new.vpc = "vpc-none".into()),
        ("no such service", "InvalidServiceName", |_, new| new.service_name = "com.amazonaws.eu-west-1.moon".into()),
        ("another type", "InvalidParameter", |place, new| {
            *new = NewEndpoint { service_name: service("ssm"), ..place.gateway() };
        }),
        ("no such subnet", "InvalidSubnetId.NotFound", |_, new| {
            new.subnets.insert("subnet-none".into());
        }),
        ("twice in a zone", "DuplicateSubnetsInSameZone", |place, new| {
            let other = place.sim.with(|w| w.add_subnet(&account(), &region(), &place.vpc, NewSubnet::of("a")));
            new.subnets.insert(other);
        }),
        ("a zone that the service lacks", "InvalidParameter", |place, new| {
            let other = place.sim.with(|w| w.add_subnet(&account(), &region(), &place.vpc, NewSubnet::of("d")));
            new.subnets.insert(other);
        }),
        ("a full subnet", "InsufficientFreeAddressesInSubnet", |place, new| {
            let full = NewSubnet { free_addresses: 0, ..NewSubnet::of("c") };
            let full = place.sim.with(|w| w.add_subnet(&account(), &region(), &place.vpc, full));
            new.subnets.insert(full);
        }),
        ("IPv6 where there is none", "InvalidParameter", |_, new| {
            new.ip_address_type = Some(IpAddressType::Dualstack);
        }),
        ("no such group", "InvalidGroup.NotFound", |_, new| {
            new.groups.insert("sg-none".into());
        }),
        ("a group of another VPC", "InvalidParameter", |place, new| {
            let other = NewVpc::of("10.9.0.0/16".parse().unwrap());
            let other = place.sim.with(|w| w.add_vpc(&account(), &region(), other));
            new.groups = [place.region(|state| state.vpcs[&other].default_group.clone())].into();
        }),
        ("too many groups", "SecurityGroupsPerInterfaceLimitExceeded", |place, new| {
            new.groups.extend((0..5).map(|n| place.make_group(&format!("g{n}"))));
        }),
        ("too many tags", "TagLimitExceeded", |_, new| {
            new.tags = (0..51).map(|n| (format!("k{n}"), String::new())).collect();
        }),
        ("reserved tags", "InvalidParameterValue", |_, new| {
            new.tags = [("aws:mine".to_owned(), String::new())].into();
        }),
        ("a long token", "InvalidParameterValue", |_, new| new.client_token = "t".repeat(65)),
        ("routes of an interface", "InvalidParameter", |place, new| {
            new.route_tables.insert(place.table.clone());
        }),
        ("subnets of a gateway", "InvalidParameter", |place, new| {
            *new = NewEndpoint { subnets: new.subnets.clone(), ..place.gateway() };
        }),
        ("no such route table", "InvalidRouteTableID.NotFound", |place, new| {
            *new = NewEndpoint { route_tables: ["rtb-none".into()].into(), ..place.gateway() };
        }),
        ("inbound resolvers without a gateway", "InvalidParameter", |place, new| {
            *new = NewEndpoint { inbound_resolver_only: Some(true), ..place.interface("s3") };
        }),
        ("more than the quota", "VpcEndpointLimitExceeded", |place, _| {
            place.region(|state| state.quotas.interface_endpoints_per_vpc = 0);
        }),
        ("more gateways than the quota", "VpcEndpointLimitExceeded", |place, new| {
            place.region(|state| state.quotas.gateway_endpoints = 0);
            *new = place.gateway();
        }),
        ("another type than there is", "InvalidParameter", |_, new| new.kind = EndpointType::Other),
    ];
    for (what, code, spoil) in cases {
        let place = place(Hand::default().clock(), 1);
        let mut new = place.interface("ssm");
        spoil(&place, &mut new);
        assert_eq!(place.code(&create(&new)), *code, "{what}");
        let left = place.region(|state| (state.endpoints.len(), state.network_interfaces.len()));
        assert_eq!(left, (0, 0), "{what}: nothing is left of it");
        // The token of a refused request can be used again.
        let good = NewEndpoint { client_token: new.client_token.chars().take(64).collect(), ..place.interface("ssm") };
        place.region(|state| state.quotas = Quotas::default());
        place.make(&good);
        place.sim.with(|world| world.check()).unwrap();
    }
}

#[test]
fn an_endpoint_takes_its_time_and_holds_addresses_until_it_is_gone() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let before = place.free(&place.subnets[0]);
    let id = place.make(&place.interface("ssm"));
    assert_eq!(place.state(&id), Some(EndpointState::Pending));
    assert_eq!(place.free(&place.subnets[0]), before - 1);
    hand.wait(59);
    assert_eq!(place.state(&id), Some(EndpointState::Pending));
    hand.wait(1);
    assert_eq!(place.state(&id), Some(EndpointState::Available));
    let carried = |place: &Place| {
        place.region(|state| state.network_interfaces.values().filter(|i| i.groups.contains(&place.group)).count())
    };
    assert_eq!(carried(&place), 2);

    assert_eq!(place.act(&delete(&id)).unwrap(), Written::Done);
    assert_eq!(place.state(&id), Some(EndpointState::Deleting));
    assert_eq!((place.free(&place.subnets[0]), carried(&place)), (before - 1, 2));
    // To delete it again changes nothing.
    assert_eq!(place.act(&delete(&id)).unwrap(), Written::Done);
    hand.wait(60);
    assert_eq!(place.state(&id), Some(EndpointState::Deleted));
    assert_eq!((place.free(&place.subnets[0]), carried(&place)), (before, 0));
    hand.wait(60);
    assert_eq!(place.state(&id), None);
    // What is gone is deleted as well as can be.
    assert_eq!(place.act(&delete(&id)).unwrap(), Written::Done);
}

#[test]
fn outcomes_are_as_the_weather_says_and_as_often() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let outcomes = [
        ("ssm", EndpointState::Failed),
        ("ssmmessages", EndpointState::Rejected),
        ("kms", EndpointState::Partial),
        ("logs", EndpointState::PendingAcceptance),
        ("ec2", EndpointState::Pending),
        ("sts", EndpointState::Unknown("mending".to_owned())),
    ];
    place.weather(|weather| {
        weather.outcomes = outcomes
            .iter()
            .map(|(service, state)| OutcomeRule {
                service: (*service).to_owned(),
                state: state.clone(),
                chance: 1.0,
                times: Some(1),
            })
            .collect();
    });
    let ids: Vec<EndpointId> = outcomes.iter().map(|(name, _)| place.make(&place.interface(name))).collect();
    hand.wait(3600);
    for ((name, state), id) in outcomes.iter().zip(&ids) {
        assert_eq!(place.state(id).as_ref(), Some(state), "{name}");
        assert_eq!(
            place.code(&modify(id, EndpointChange { full_access_policy: true, ..EndpointChange::default() })),
            "IncorrectState",
            "{name}"
        );
        place.act(&delete(id)).unwrap();
    }
    hand.wait(3600);
    // The rule was for one endpoint.
    let again = place.make(&NewEndpoint { client_token: "again".to_owned(), ..place.interface("ssm") });
    hand.wait(60);
    assert_eq!(place.state(&again), Some(EndpointState::Available));
}

#[test]
fn a_private_name_is_had_once_in_a_vpc() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let first = place.make(&place.interface("ssm"));
    let second = NewEndpoint { client_token: "second".to_owned(), ..place.interface("ssm") };
    let refused = |when: &str| {
        let fault = place.act(&create(&second)).unwrap_err();
        assert_eq!(fault.code, "InvalidParameter", "{when}");
        assert!(fault.message.contains("conflicting DNS domain for ssm.eu-west-1.amazonaws.com"), "{when}: {fault}");
    };
    refused("while the first is pending");
    hand.wait(60);
    refused("while the first is there");
    // Without private DNS there may be any number, but it cannot be switched on later either.
    let plain = NewEndpoint { private_dns: false, client_token: "plain".to_owned(), ..second.clone() };
    let plain = place.make(&plain);
    hand.wait(60);
    let on = modify(&plain, EndpointChange { private_dns: Some(true), ..EndpointChange::default() });
    assert_eq!(place.code(&on), "InvalidParameter");
    place.act(&delete(&first)).unwrap();
    refused("while the first is going");
    hand.wait(60);
    place.act(&on).unwrap();
    refused("once another has it");
    place.act(&modify(&plain, EndpointChange { private_dns: Some(false), ..EndpointChange::default() })).unwrap();
    place.make(&second);
}

#[test]
fn a_hosted_zone_and_an_endpoint_exclude_one_another() {
    let place = place(Hand::default().clock(), 1);
    let name = "ssm.eu-west-1.amazonaws.com";
    let associate = || {
        place.sim.with(|world| {
            let zone = HostedZone { reachable: true };
            world.associate_zone(&Actor::Terraform, &account(), &region(), &place.vpc, name, zone)
        })
    };
    associate().unwrap();
    let fault = place.act(&create(&place.interface("ssm"))).unwrap_err();
    assert!(fault.message.contains("conflicting DNS domain"), "{fault}");
    place.sim.with(|w| w.disassociate_zone(&Actor::Terraform, &account(), &region(), &place.vpc, name));
    place.make(&place.interface("ssm"));
    assert_eq!(associate().unwrap_err().code, "ConflictingDomainExists");
}

#[test]
fn whether_a_failed_endpoint_keeps_its_name_can_be_said() {
    for (holds, code) in [(true, "InvalidParameter"), (false, "")] {
        let hand = Hand::default();
        let place = place(hand.clock(), 1);
        place.weather(|weather| {
            weather.failed_hold_names = holds;
            let state = EndpointState::Failed;
            weather.outcomes = vec![OutcomeRule { service: String::new(), state, chance: 1.0, times: None }];
        });
        place.make(&place.interface("ssm"));
        hand.wait(60);
        let second = NewEndpoint { client_token: "second".to_owned(), ..place.interface("ssm") };
        assert_eq!(place.act(&create(&second)).map_or_else(|fault| fault.code, |_| String::new()), code);
    }
}

#[test]
fn private_dns_needs_both_attributes_and_support_comes_first() {
    let place = place(Hand::default().clock(), 1);
    let set = |attribute, on| {
        place.sim.with(|w| w.set_dns_attribute(&Actor::Person, &account(), &region(), &place.vpc, attribute, on))
    };
    for attribute in VpcAttribute::BOTH {
        set(VpcAttribute::DnsSupport, true).unwrap();
        set(VpcAttribute::DnsHostnames, true).unwrap();
        set(attribute, false).unwrap();
        let fault = place.act(&create(&place.interface("ssm"))).unwrap_err();
        assert!(fault.message.contains(attribute.name()), "{fault}");
    }
    set(VpcAttribute::DnsHostnames, false).unwrap();
    set(VpcAttribute::DnsSupport, false).unwrap();
    let enable = |attribute| Write::EnableVpcAttribute { vpc: place.vpc.clone(), attribute };
    assert_eq!(place.code(&enable(VpcAttribute::DnsHostnames)), "InvalidParameter");
    place.act(&enable(VpcAttribute::DnsSupport)).unwrap();
    place.act(&enable(VpcAttribute::DnsHostnames)).unwrap();
    place.make(&place.interface("ssm"));
}

#[test]
fn a_client_token_answers_the_same_endpoint_even_when_it_is_gone() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    place.weather(|weather| weather.token_retention = Duration::from_secs(600));
    let new = place.interface("ssm");
    let id = place.make(&new);
    assert_eq!(place.make(&new), id);
    let other = NewEndpoint { private_dns: false, ..new.clone() };
    assert_eq!(place.code(&create(&other)), "IdempotentParameterMismatch");
    place.act(&delete(&id)).unwrap();
    hand.wait(599);
    assert_eq!((place.make(&new), place.state(&id)), (id.clone(), None));
    let last = place.sim.with(|world| world.journal.last().cloned()).unwrap();
    assert!(last.replayed && !last.took_effect, "{last:?}");
    // Tokens are of an account and region.
    let elsewhere: Region = "eu-west-2".parse().unwrap();
    place.sim.with(|world| world.add_region(&account(), &elsewhere, Offer::default()).quotas);
    let fault = place.sim.with(|w| w.act(&Actor::Person, &account(), &elsewhere, &create(&new))).unwrap_err();
    assert_eq!(fault.code, "InvalidVpcID.NotFound");
    hand.wait(1);
    assert_ne!(place.make(&new), id);
}

#[test]
fn gateways_bring_routes_and_take_them_away() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let routes = |place: &Place| {
        place.region(|state| state.route_tables[&place.table].endpoint_routes.values().cloned().collect::<Vec<_>>())
    };
    let id = place.make(&place.gateway());
    assert_eq!(place.state(&id), Some(EndpointState::Available), "a gateway is there at once");
    assert_eq!(routes(&place), [id.to_string()]);
    let second = NewEndpoint { client_token: "second".to_owned(), ..place.gateway() };
    let fault = place.act(&create(&second)).unwrap_err();
    assert_eq!(fault.code, "RouteAlreadyExists");
    assert!(fault.message.contains("destination-prefix-list-id pl-s3"), "{fault}");
    let add = EndpointChange { add_route_tables: [place.table.clone()].into(), ..EndpointChange::default() };
    assert_eq!(place.code(&modify(&id, add.clone())), "RouteAlreadyExists");
    let remove = EndpointChange { remove_route_tables: [place.table.clone()].into(), ..EndpointChange::default() };
    place.act(&modify(&id, remove)).unwrap();
    assert!(routes(&place).is_empty());
    place.act(&modify(&id, add)).unwrap();
    assert_eq!(routes(&place), [id.to_string()]);
    let of_interfaces = EndpointChange { private_dns: Some(true), ..EndpointChange::default() };
    assert_eq!(place.code(&modify(&id, of_interfaces)), "InvalidParameter");
    place.act(&delete(&id)).unwrap();
    assert!(routes(&place).is_empty());
    place.make(&second);
}

#[test]
fn a_change_is_made_whole_or_not_at_all() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let one = NewEndpoint { subnets: [place.subnets[0].clone()].into(), ..place.interface("ssm") };
    let id = place.make(&one);
    let extra = place.make_group("extra");
    let change = EndpointChange {
        add_subnets: [place.subnets[1].clone()].into(),
        remove_subnets: [place.subnets[0].clone()].into(),
        add_groups: [extra.clone()].into(),
        remove_groups: [place.group.clone()].into(),
        private_dns: Some(false),
        full_access_policy: true,
        ..EndpointChange::default()
    };
    assert_eq!(place.code(&modify(&id, change.clone())), "IncorrectState", "while it is pending");
    hand.wait(60);
    let seen = || place.region(|state| (state.endpoints[&id].value.fact.clone(), state.endpoints[&id].version));
    let before = seen();
    let spoilt = [
        ("InvalidSubnetId.NotFound", EndpointChange { add_subnets: ["subnet-none".into()].into(), ..change.clone() }),
        ("InvalidGroup.NotFound", EndpointChange { add_groups: ["sg-none".into()].into(), ..change.clone() }),
        ("InvalidParameter", EndpointChange { add_route_tables: [place.table.clone()].into(), ..change.clone() }),
        ("InvalidParameter", EndpointChange { add_groups: BTreeSet::new(), ..change.clone() }),
        ("InvalidParameter", EndpointChange { ip_address_type: Some(IpAddressType::Ipv6), ..change.clone() }),
    ];
    for (code, change) in spoilt {
        assert_eq!(place.code(&modify(&id, change)), code);
        assert_eq!(seen(), before);
    }
    let frees = [0, 1].map(|n| place.free(&place.subnets[n]));
    place.sim.with(|w| w.set_policy(&Actor::Person, &account(), &region(), &id, "{}"));
    place.act(&modify(&id, change)).unwrap();
    let (after, version) = seen();
    assert_eq!(after.subnets, [place.subnets[1].clone()].into());
    assert_eq!(after.groups, [extra].into());
    assert_eq!(after.policy.as_deref(), Some(ssm_ready_core::write::FULL_ACCESS_POLICY));
    assert!(!after.private_dns && version > before.1);
    assert_eq!([0, 1].map(|n| place.free(&place.subnets[n])), [frees[0] + 1, frees[1] - 1]);
    place.sim.with(|world| world.check()).unwrap();

    // A subnet may be exchanged for another of its zone in one call, but not added beside it.
    let twin = place.sim.with(|w| w.add_subnet(&account(), &region(), &place.vpc, NewSubnet::of("b")));
    let beside = EndpointChange { add_subnets: [twin.clone()].into(), ..EndpointChange::default() };
    assert_eq!(place.code(&modify(&id, beside.clone())), "DuplicateSubnetsInSameZone");
    let swap = EndpointChange { remove_subnets: [place.subnets[1].clone()].into(), ..beside };
    place.weather(|weather| weather.modify_pending_for = Span::seconds(30));
    place.act(&modify(&id, swap)).unwrap();
    assert_eq!(place.state(&id), Some(EndpointState::Pending), "a change of subnets takes its time");
    hand.wait(30);
    assert_eq!(place.state(&id), Some(EndpointState::Available));
}

#[test]
fn what_aws_manages_is_left_alone() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let id = place.make(&place.interface("ssm"));
    hand.wait(60);
    place.sim.with(|world| world.set_requester_managed(&account(), &region(), &id, true));
    let change = EndpointChange { private_dns: Some(false), ..EndpointChange::default() };
    assert_eq!(place.code(&modify(&id, change)), "OperationNotPermitted");
    match place.act(&delete(&id)).unwrap() {
        Written::NotDeleted(left) => assert_eq!((&left[0].0, left[0].1.code.as_str()), (&id, "OperationNotPermitted")),
        other => panic!("{other:?}"),
    }
    assert_eq!(place.state(&id), Some(EndpointState::Available));
}

#[test]
fn deletion_answers_for_each_endpoint_by_itself() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let [good, managed] = ["ssm", "kms"].map(|name| place.make(&place.interface(name)));
    place.sim.with(|world| world.set_requester_managed(&account(), &region(), &managed, true));
    let endpoints = [good.clone(), managed.clone(), "vpce-none".into()].into();
    match place.act(&Write::DeleteEndpoints { endpoints }).unwrap() {
        Written::NotDeleted(left) => assert_eq!(left.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&managed]),
        other => panic!("{other:?}"),
    }
    assert_eq!(place.state(&good), Some(EndpointState::Deleting));
    let last = place.sim.with(|world| world.journal.last().cloned()).unwrap();
    assert!(last.took_effect);
    // AWS itself names what is not there as well.
    assert!(matches!(last.outcome, Outcome::NotDeleted(left) if left.len() == 2));
}

#[test]
fn a_participant_of_a_shared_vpc_sees_no_endpoints_and_makes_none() {
    let place = place(Hand::default().clock(), 1);
    let guest: AccountId = "444455556666".parse().unwrap();
    place.make(&place.interface("ssm"));
    place.sim.with(|world| {
        world.add_region(&guest, &region(), Offer::default());
        world.share_vpc(&account(), &region(), &place.vpc, &guest);
        assert_eq!(world.region_mut(&guest, &region()).vpcs[&place.vpc].owner, account().as_str());
        assert!(world.live_endpoints(&guest, &region(), &place.vpc).is_empty());
        assert_eq!(world.live_endpoints(&account(), &region(), &place.vpc).len(), 1);
        let new = NewEndpoint { groups: BTreeSet::new(), ..place.interface("kms") };
        let fault = world.act(&Actor::Person, &guest, &region(), &create(&new)).unwrap_err();
        assert_eq!(fault.code, "UnauthorizedOperation");
        let enable = Write::EnableVpcAttribute { vpc: place.vpc.clone(), attribute: VpcAttribute::DnsSupport };
        let fault = world.act(&Actor::Person, &guest, &region(), &enable).unwrap_err();
        assert_eq!(fault.code, "UnauthorizedOperation");
    });
}

#[test]
fn without_groups_an_endpoint_takes_the_default_one() {
    let place = place(Hand::default().clock(), 1);
    let id = place.make(&NewEndpoint { groups: BTreeSet::new(), ..place.interface("ssm") });
    place.region(|state| {
        assert_eq!(state.endpoints[&id].groups, [state.vpcs[&place.vpc].default_group.clone()].into());
    });
}

#[test]
fn services_are_named_as_the_region_names_them() {
    for (region, short, kind, name) in [
        ("eu-west-1", "ec2", EndpointType::Interface, "com.amazonaws.eu-west-1.ec2"),
        ("cn-north-1", "ec2", EndpointType::Interface, "cn.com.amazonaws.cn-north-1.ec2"),
        ("cn-north-1", "ssm", EndpointType::Interface, "com.amazonaws.cn-north-1.ssm"),
        ("cn-north-1", "s3", EndpointType::Gateway, "com.amazonaws.cn-north-1.s3"),
        ("us-isob-east-1", "ec2", EndpointType::Interface, "gov.sgov.sc2s.us-isob-east-1.ec2"),
    ] {
        let sim = Sim::new(Hand::default().clock(), 1);
        let region: Region = region.parse().unwrap();
        sim.with(|world| {
            let state = world.add_region(&account(), &region, Offer { ec2messages: false });
            assert!(state.services.contains_key(&(name.to_owned(), kind)), "{short} in {region}: {name}");
            assert!(!state.services.keys().any(|(name, _)| name.ends_with("ec2messages")));
            let ssm = &state.services[&(format!("com.amazonaws.{region}.ssm"), EndpointType::Interface)];
            assert_eq!(ssm.fact.private_dns_names, [format!("ssm.{region}.{}", region.agent_domain())]);
        });
    }
}
