//! Security groups, rules and tags.

use super::*;

#[test]
fn names_are_unique_in_a_vpc() {
    let place = place(Hand::default().clock(), 1);
    let again = Write::CreateSecurityGroup {
        vpc: place.vpc.clone(),
        name: "open".to_owned(),
        description: "again".to_owned(),
        tags: Tags::new(),
    };
    assert_eq!(place.code(&again), "InvalidGroup.Duplicate");
    place.act(&Write::DeleteSecurityGroup { group: place.group.clone() }).unwrap();
    place.act(&again).unwrap();
    let nowhere = Write::CreateSecurityGroup {
        vpc: "vpc-none".into(),
        name: "x".to_owned(),
        description: "x".to_owned(),
        tags: Tags::new(),
    };
    assert_eq!(place.code(&nowhere), "InvalidVpcID.NotFound");
}

#[test]
fn rules_that_are_already_so_are_done_and_the_others_are_made() {
    let place = place(Hand::default().clock(), 1);
    let rules = |place: &Place| place.region(|state| state.groups[&place.group].ingress.len());
    assert_eq!(rules(&place), 1);
    place.act(&admit(&place.group, &["10.0.0.0/16", "10.1.0.0/16"])).unwrap();
    assert_eq!(rules(&place), 2, "rule by rule");
    let described = IngressRule { description: Some("the same".to_owned()), ..https("10.1.0.0/16") };
    place.act(&Write::AuthorizeIngress { group: place.group.clone(), rules: vec![described] }).unwrap();
    assert_eq!(rules(&place), 2, "a description makes no other rule");
    place.act(&no_longer_admit(&place.group, &["10.7.0.0/16", "10.1.0.0/16"])).unwrap();
    assert_eq!(rules(&place), 1, "rule by rule");
    // AWS itself is whole or nothing.
    let calls = place.sim.with(|world| {
        let revokes = world.journal.iter().filter(|e| e.call == "RevokeSecurityGroupIngress");
        revokes.map(|e| e.took_effect).collect::<Vec<_>>()
    });
    assert_eq!(calls, [false, false, true]);
    assert_eq!(place.code(&admit(&"sg-none".into(), &["10.0.0.0/16"])), "InvalidGroup.NotFound");
    place.region(|state| state.quotas.rules_per_group = 1);
    assert_eq!(place.code(&admit(&place.group, &["10.8.0.0/16"])), "RulesPerSecurityGroupLimitExceeded");
}

#[test]
fn a_group_in_use_stays() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let id = place.make(&place.interface("ssm"));
    let remove = Write::DeleteSecurityGroup { group: place.group.clone() };
    assert_eq!(place.code(&remove), "DependencyViolation");
    place.act(&delete(&id)).unwrap();
    assert_eq!(place.code(&remove), "DependencyViolation", "while the interfaces are there");
    hand.wait(60);
    let naming = place.make_group("naming");
    let source = RuleSource::Group(place.group.clone());
    let rule = IngressRule { source, ..https("10.0.0.0/16") };
    place.act(&Write::AuthorizeIngress { group: naming.clone(), rules: vec![rule] }).unwrap();
    assert_eq!(place.code(&remove), "DependencyViolation", "while a rule names it");
    place.act(&Write::DeleteSecurityGroup { group: naming }).unwrap();
    assert_eq!(place.act(&remove).unwrap(), Written::Done);
    assert_eq!(place.act(&remove).unwrap(), Written::Done, "what is gone is done");
    let default = place.region(|state| state.vpcs[&place.vpc].default_group.clone());
    assert_eq!(place.code(&Write::DeleteSecurityGroup { group: default }), "CannotDelete");
}

#[test]
fn tags_are_set_on_all_or_none() {
    let place = place(Hand::default().clock(), 1);
    let endpoint = place.make(&place.interface("ssm"));
    let tag = |resources: &[&str], count: usize| Write::Tag {
        resources: resources.iter().map(|id| (*id).to_owned()).collect(),
        tags: (0..count).map(|n| (format!("k{n}"), "v".to_owned())).collect(),
    };
    let (group, vpce) = (place.group.as_str(), endpoint.as_str());
    let tags = |place: &Place| {
        place.region(|state| (state.groups[&place.group].tags.len(), state.endpoints[&endpoint].tags.len()))
    };
    assert_eq!(place.code(&tag(&[group, "vpce-none"], 1)), "InvalidVpcEndpointId.NotFound");
    assert_eq!(place.code(&tag(&[group, vpce], 51)), "TagLimitExceeded");
    assert_eq!(tags(&place), (0, 0));
    place.act(&tag(&[group, vpce], 50)).unwrap();
    assert_eq!(tags(&place), (50, 50));
    let untag = Write::Untag { resources: [vpce.to_owned()].into(), keys: ["k0".to_owned(), "no".to_owned()].into() };
    place.act(&untag).unwrap();
    assert_eq!(tags(&place), (50, 49));
    let last = place.sim.with(|world| world.journal.last().cloned()).unwrap();
    assert_eq!((last.touched.len(), last.touched[0].tags.len()), (1, 50), "as it was just before");
}

#[test]
fn admission_is_judged_over_all_rules_together() {
    let place = place(Hand::default().clock(), 1);
    let other = place.make_group("halves");
    let all: [ipnet::IpNet; 1] = ["10.0.0.0/16".parse().unwrap()];
    let admits = |group: &SecurityGroupId, cidrs: &[ipnet::IpNet]| {
        place.sim.with(|world| world.admits(&account(), &region(), &[group.clone()].into(), cidrs))
    };
    assert!(admits(&place.group, &all));
    assert!(!admits(&other, &all));
    place.act(&admit(&other, &["10.0.0.0/17"])).unwrap();
    assert!(!admits(&other, &all));
    place.act(&admit(&other, &["10.0.128.0/18", "10.0.192.0/18"])).unwrap();
    assert!(admits(&other, &all), "in parts");
    assert!(!admits(&other, &["10.0.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()]));
    for (protocol, ports, opens) in [
        ("-1", None, true),
        ("6", Some((0, 65535)), true),
        ("udp", Some((443, 443)), false),
        ("tcp", Some((80, 442)), false),
        ("tcp", None, true),
    ] {
        let group = place.make_group(&format!("{protocol}{ports:?}"));
        let rule = IngressRule { protocol: protocol.to_owned(), ports, ..https("10.0.0.0/8") };
        place.act(&Write::AuthorizeIngress { group: group.clone(), rules: vec![rule] }).unwrap();
        assert_eq!(admits(&group, &all), opens, "{protocol} {ports:?}");
    }
}

#[test]
fn what_others_leave_behind_must_be_empty() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let id = place.make(&place.interface("ssm"));
    let gateway = place.make(&place.gateway());
    let person = Actor::Person;
    place.sim.with(|world| {
        let fault = world.delete_subnet(&person, &account(), &region(), &place.subnets[0]).unwrap_err();
        assert_eq!(fault.code, "DependencyViolation");
        let fault = world.delete_route_table(&person, &account(), &region(), &place.table).unwrap_err();
        assert_eq!(fault.code, "DependencyViolation");
        let fault = world.delete_vpc(&person, &account(), &region(), &place.vpc).unwrap_err();
        assert_eq!(fault.code, "DependencyViolation");
    });
    place.act(&delete(&id)).unwrap();
    place.act(&delete(&gateway)).unwrap();
    hand.wait(300);
    let delete_vpc = |left: &str| {
        let deleted = place.sim.with(|world| world.delete_vpc(&person, &account(), &region(), &place.vpc));
        assert_eq!(deleted.unwrap_err().code, "DependencyViolation", "{left} is left");
    };
    delete_vpc("a subnet");
    place.sim.with(|world| {
        world.delete_subnet(&person, &account(), &region(), &place.subnets[0]).unwrap();
        world.delete_subnet(&person, &account(), &region(), &place.subnets[1]).unwrap();
    });
    delete_vpc("a group");
    place.act(&Write::DeleteSecurityGroup { group: place.group.clone() }).unwrap();
    delete_vpc("a route table");
    place.sim.with(|world| {
        world.delete_route_table(&person, &account(), &region(), &place.table).unwrap();
        world.delete_vpc(&person, &account(), &region(), &place.vpc).unwrap();
        assert_eq!(world.region_mut(&account(), &region()).groups.len(), 0);
        world.check().unwrap();
    });
}
