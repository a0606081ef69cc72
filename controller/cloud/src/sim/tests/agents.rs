//! Agents: the ways that work, and how soon a change of them shows.

use ssm_ready_core::{
    facts::{InstanceState, VpcAttribute},
    ids::InstanceId,
};

use super::*;

fn instance(place: &Place, internet: bool) -> InstanceId {
    place.sim.with(|world| {
        let new = NewInstance { agent: Some("3.3.40.0".to_owned()), internet, ..NewInstance::default() };
        world.add_instance(&account(), &region(), &place.subnets[0], new)
    })
}

fn path(place: &Place, id: &InstanceId) -> Path {
    place.sim.with(|world| world.online_by(&account(), &region(), id))
}

fn online(place: &Place, id: &InstanceId) -> bool {
    place.sim.with(|world| world.is_online(&account(), &region(), id))
}

#[test]
fn private_dns_is_the_only_way_where_there_is_any() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let (open, closed) = (instance(&place, true), instance(&place, false));
    assert_eq!((path(&place, &open), path(&place, &closed)), (Path::Internet, Path::None));
    assert_eq!((online(&place, &open), online(&place, &closed)), (true, false));

    let endpoint = place.make(&place.interface("ssm"));
    assert_eq!(path(&place, &open), Path::Internet, "while it is pending");
    hand.wait(60);
    let through = Path::Endpoint(endpoint.clone());
    assert_eq!((path(&place, &open), path(&place, &closed)), (through.clone(), through.clone()));
    place.act(&no_longer_admit(&place.group, &["10.0.0.0/16"])).unwrap();
    assert_eq!(path(&place, &open), Path::None, "captured, although the internet is there");
    // A rule for a group admits what carries it.
    let default = place.region(|state| state.vpcs[&place.vpc].default_group.clone());
    let rule = IngressRule { source: RuleSource::Group(default), ..https("10.0.0.0/16") };
    place.act(&Write::AuthorizeIngress { group: place.group.clone(), rules: vec![rule] }).unwrap();
    assert_eq!(path(&place, &open), through);
    place.sim.with(|world| world.set_endpoint_state(&account(), &region(), &endpoint, EndpointState::Failed));
    assert_eq!(path(&place, &open), Path::None);
    place.sim.with(|w| {
        w.set_dns_attribute(&Actor::Person, &account(), &region(), &place.vpc, VpcAttribute::DnsHostnames, false)
            .unwrap();
    });
    assert_eq!(path(&place, &open), Path::Internet, "no private names without the attributes");
    place.sim.with(|w| w.act(&Actor::Person, &account(), &region(), &delete(&endpoint)).unwrap());
    hand.wait(60);
    place.sim.with(|w| {
        w.set_dns_attribute(&Actor::Person, &account(), &region(), &place.vpc, VpcAttribute::DnsHostnames, true)
            .unwrap();
        let (dead, live) = (HostedZone { reachable: false }, HostedZone { reachable: true });
        w.associate_zone(&Actor::Person, &account(), &region(), &place.vpc, "amazonaws.com", dead).unwrap();
        assert_eq!(w.online_by(&account(), &region(), &open), Path::None);
        let name = "ssm.eu-west-1.amazonaws.com";
        w.associate_zone(&Actor::Person, &account(), &region(), &place.vpc, name, live).unwrap();
        assert_eq!(w.online_by(&account(), &region(), &open), Path::HostedZone, "the longer name answers");
    });
}

#[test]
fn a_lost_way_shows_after_minutes_and_a_new_one_within_the_hour() {
    for seed in 0..20 {
        let hand = Hand::default();
        let place = place(hand.clock(), seed);
        let id = instance(&place, true);
        hand.wait(3600);
        assert!(online(&place, &id), "it pings on");
        place.sim.with(|world| world.set_internet(&account(), &region(), &id, false));
        assert!(online(&place, &id));
        hand.wait(361);
        assert!(!online(&place, &id), "{seed}");
        hand.wait(6 * 3600);
        place.sim.with(|world| world.set_internet(&account(), &region(), &id, true));
        let mut waited = 0;
        while !online(&place, &id) {
            hand.wait(10);
            waited += 10;
            assert!(waited <= 3640, "{seed}");
        }
    }
}

#[test]
fn a_first_failure_is_tried_again_after_five_minutes_and_then_ever_later() {
    let hand = Hand::default();
    let place = place(hand.clock(), 3);
    let id = instance(&place, false);
    // The tries fail at about 0, 5, 15 and 35 minutes.
    hand.wait(36 * 60);
    place.sim.with(|world| world.set_internet(&account(), &region(), &id, true));
    hand.wait(38 * 60);
    assert!(!online(&place, &id));
    hand.wait(4 * 60);
    assert!(online(&place, &id));
}

#[test]
fn only_running_instances_with_an_agent_that_registered_are_managed() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let (open, closed) = (instance(&place, true), instance(&place, false));
    let bare = place.sim.with(|world| {
        let new = NewInstance { internet: true, ..NewInstance::default() };
        world.add_instance(&account(), &region(), &place.subnets[0], new)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let nodes = || {
        let cloud = place.sim.cloud(Arc::new(Open));
        let nodes = runtime.block_on(async { cloud.managed_nodes(&scope()).await }).unwrap();
        nodes.into_iter().map(|node| (node.id, node.online)).collect::<Vec<_>>()
    };
    assert_eq!(nodes(), [(open.clone(), true)], "neither {closed} nor {bare}");
    place.sim.with(|world| world.stop_instance(&Actor::Person, &account(), &region(), &open));
    assert_eq!(nodes(), []);
    assert_eq!(place.region(|state| state.instances[&open].state), InstanceState::Stopped);
    place.sim.with(|world| world.start_instance(&Actor::Person, &account(), &region(), &open));
    assert_eq!(nodes(), [(open.clone(), false)], "it boots");
    hand.wait(60);
    assert_eq!(nodes(), [(open.clone(), true)]);
    place.sim.with(|world| world.terminate_instance(&Actor::Person, &account(), &region(), &open));
    assert_eq!(nodes(), []);
}

#[test]
fn instances_of_a_shared_vpc_use_its_owners_endpoints() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let guest: AccountId = "444455556666".parse().unwrap();
    let endpoint = place.make(&place.interface("ssm"));
    hand.wait(60);
    let id = place.sim.with(|world| {
        world.add_region(&guest, &region(), Offer::default());
        world.share_vpc(&account(), &region(), &place.vpc, &guest);
        let new = NewInstance { agent: Some("3.3.40.0".to_owned()), ..NewInstance::default() };
        world.add_instance(&guest, &region(), &place.subnets[0], new)
    });
    assert_eq!(place.sim.with(|world| world.online_by(&guest, &region(), &id)), Path::Endpoint(endpoint));
}
