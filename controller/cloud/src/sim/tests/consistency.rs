//! What is seen late, not at all, or as it was.

use ssm_ready_core::facts::VpcAttribute;

use super::*;

fn listed(place: &Place) -> Vec<EndpointId> {
    place.sim.with(|world| {
        let shown = world.look(&account(), &region(), |state, eye| {
            state.endpoints.list(eye).into_iter().map(|endpoint| endpoint.id.clone()).collect()
        });
        shown.unwrap()
    })
}

#[test]
fn what_is_new_is_seen_late_then_now_and_then_and_then_always() {
    let hand = Hand::default();
    let place = place(hand.clock(), 7);
    place.weather(|weather| {
        weather.visible_after = Span::seconds(10);
        weather.flicker_for = Span::seconds(20);
        weather.flicker = 0.5;
    });
    let id = place.make(&place.interface("ssm"));
    assert_eq!((0..50).map(|_| listed(&place).len()).sum::<usize>(), 0);
    assert!(place.state(&id).is_some(), "it is there all the same");
    hand.wait(10);
    let seen: usize = (0..200).map(|_| listed(&place).len()).sum();
    assert!((60..140).contains(&seen), "{seen} of 200");
    hand.wait(20);
    assert_eq!((0..50).map(|_| listed(&place).len()).sum::<usize>(), 50);
}

#[test]
fn what_is_gone_may_be_listed_a_while_longer() {
    let hand = Hand::default();
    let place = place(hand.clock(), 7);
    let id = place.make(&place.gateway());
    place.weather(|weather| {
        weather.deleted_for = Span::ZERO;
        weather.listed_after = Span::seconds(30);
    });
    place.act(&delete(&id)).unwrap();
    assert_eq!((place.state(&id), listed(&place)), (None, vec![id.clone()]));
    assert_eq!(place.act(&delete(&id)).unwrap(), Written::Done);
    hand.wait(30);
    assert_eq!(listed(&place), []);
}

#[test]
fn what_has_changed_may_be_read_as_it_was_for_a_while() {
    let hand = Hand::default();
    let place = place(hand.clock(), 7);
    place.weather(|weather| {
        weather.stale = 0.5;
        weather.stale_by = (Duration::ZERO..=Duration::from_secs(20)).into();
    });
    let attribute = |on| {
        let attribute = VpcAttribute::DnsHostnames;
        place
            .sim
            .with(|w| w.set_dns_attribute(&Actor::Person, &account(), &region(), &place.vpc, attribute, on))
            .unwrap();
    };
    let old = |place: &Place| {
        let lists = (0..200).map(|_| {
            place.sim.with(|world| {
                let read = |state: &RegionState, eye: &mut record::Eye<'_>| {
                    let rules = state.groups.list(eye).iter().find(|g| g.id == place.group).map(|g| g.ingress.len());
                    let on = state.vpcs.list(eye)[0].dns_hostnames;
                    (rules, on)
                };
                world.look(&account(), &region(), read).unwrap()
            })
        });
        let lists: Vec<_> = lists.collect();
        assert!(lists.iter().all(|list| [(Some(1), true), (Some(2), false)].contains(list)), "one list is of one time");
        lists.iter().filter(|list| **list == (Some(1), true)).count()
    };
    hand.wait(3600);
    place.act(&admit(&place.group, &["10.1.0.0/16"])).unwrap();
    attribute(false);
    hand.wait(10);
    let seen = old(&place);
    assert!((20..80).contains(&seen), "{seen} of 200");
    hand.wait(10);
    assert_eq!(old(&place), 0);
}

#[test]
fn a_write_may_not_find_what_is_new() {
    let hand = Hand::default();
    let place = place(hand.clock(), 7);
    place.weather(|weather| {
        weather.visible_after = Span::seconds(10);
        weather.fresh_not_found = 1.0;
    });
    let group = place.make_group("new");
    assert_eq!(place.code(&admit(&group, &["10.0.0.0/16"])), "InvalidGroup.NotFound");
    hand.wait(10);
    place.act(&admit(&group, &["10.0.0.0/16"])).unwrap();
    let id = place.make(&place.interface("ssm"));
    let tag = Write::Tag { resources: [id.to_string()].into(), tags: [("k".to_owned(), "v".to_owned())].into() };
    assert_eq!(place.code(&tag), "InvalidVpcEndpointId.NotFound");
    hand.wait(10);
    place.act(&tag).unwrap();
}

#[test]
fn when_the_weather_ends_everything_is_seen_as_it_is() {
    let hand = Hand::default();
    let place = place(hand.clock(), 7);
    let until = place.sim.with(|world| world.now) + Duration::from_secs(5);
    place.weather(|weather| {
        weather.visible_after = Span::seconds(1000);
        weather.fresh_not_found = 1.0;
        weather.until = Some(until);
    });
    let id = place.make(&place.interface("ssm"));
    assert_eq!(listed(&place), []);
    hand.wait(5);
    assert_eq!(listed(&place), [id]);
}

#[test]
fn lists_come_in_any_order_if_so_told() {
    let place = place(Hand::default().clock(), 7);
    for name in ["ssm", "kms", "logs", "sts"] {
        place.make(&place.interface(name));
    }
    let orders = |place: &Place| (0..50).map(|_| listed(place)).collect::<BTreeSet<_>>().len();
    assert_eq!(orders(&place), 1);
    place.weather(|weather| weather.shuffle = true);
    assert!(orders(&place) > 5);
}
