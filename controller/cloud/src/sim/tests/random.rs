//! Whatever anybody does in whatever order, AWS stays what it is; and one seed is one story.

use proptest::prelude::*;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        VpcAttribute,
        iam::INLINE_POLICY,
        settings::{DocumentVersion, MetadataField, Setting},
    },
    ids::{ProfileName, RoleName},
    write::{DocumentChange, ProfileChange, RoleChange},
};

use super::{
    documents::{content, make as make_document},
    iam::{create_profile, create_role, profile, role},
    *,
};

/// Something that somebody does, or time that passes. Numbers pick among what there is.
#[derive(Debug, Clone)]
enum Act {
    Create { service: usize, subnets: usize, private_dns: bool, token: usize },
    Gateway { both: bool, token: usize },
    Modify { endpoint: usize, subnets: usize, swap: bool, private_dns: Option<bool>, group: bool, tables: usize },
    Delete { endpoint: usize, another: usize },
    Group { name: usize },
    Admit { group: usize, cidr: usize, more: bool },
    Revoke { group: usize, cidr: usize },
    DeleteGroup { group: usize },
    Tag { endpoint: usize, keys: usize },
    Attribute { hostnames: bool, on: bool },
    Zone { on: bool },
    State { endpoint: usize, state: usize },
    DeleteSubnet { subnet: usize },
    AddSubnet { zone: usize, free: i64 },
    Destroy,
    Instance { internet: bool },
    Setting { setting: usize, value: usize },
    Defaults { field: usize, value: usize },
    Decree { on: bool },
    Document { what: usize, number: usize },
    Role { name: usize, what: usize, number: usize },
    Profile { name: usize, what: usize, number: usize },
    DestroyRole { name: usize },
    DestroyProfile { name: usize },
    EditDocument { number: usize },
    Wait { seconds: u64 },
}

const SERVICES: [&str; 4] = ["ssm", "ssmmessages", "kms", "s3"];
const CIDRS: [&str; 3] = ["10.0.0.0/16", "10.0.0.0/17", "0.0.0.0/0"];

fn act() -> impl Strategy<Value = Act> {
    let n = 0..6_usize;
    prop_oneof![
        6 => (0..4_usize, 0..8_usize, any::<bool>(), n.clone())
            .prop_map(|(service, subnets, private_dns, token)| Act::Create { service, subnets, private_dns, token }),
        2 => (any::<bool>(), n.clone()).prop_map(|(both, token)| Act::Gateway { both, token }),
        4 => (n.clone(), 0..8_usize, any::<bool>(), any::<Option<bool>>(), any::<bool>(), 0..4_usize).prop_map(
            |(endpoint, subnets, swap, private_dns, group, tables)| Act::Modify {
                endpoint, subnets, swap, private_dns, group, tables
            }
        ),
        3 => (n.clone(), n.clone()).prop_map(|(endpoint, another)| Act::Delete { endpoint, another }),
        1 => n.clone().prop_map(|name| Act::Group { name }),
        2 => (n.clone(), 0..3_usize, any::<bool>()).prop_map(|(group, cidr, more)| Act::Admit { group, cidr, more }),
        1 => (n.clone(), 0..3_usize).prop_map(|(group, cidr)| Act::Revoke { group, cidr }),
        2 => n.clone().prop_map(|group| Act::DeleteGroup { group }),
        1 => (n.clone(), 0..60_usize).prop_map(|(endpoint, keys)| Act::Tag { endpoint, keys }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(hostnames, on)| Act::Attribute { hostnames, on }),
        1 => any::<bool>().prop_map(|on| Act::Zone { on }),
        1 => (n.clone(), 0..6_usize).prop_map(|(endpoint, state)| Act::State { endpoint, state }),
        1 => n.clone().prop_map(|subnet| Act::DeleteSubnet { subnet }),
        1 => (0..4_usize, 0..3_i64).prop_map(|(zone, free)| Act::AddSubnet { zone, free }),
        1 => any::<bool>().prop_map(|internet| Act::Instance { internet }),
        6 => account_act(),
        6 => (0..200_u64).prop_map(|seconds| Act::Wait { seconds }),
    ]
}

/// What is done with what is there once for a region or an account. Few names, so that things meet.
fn account_act() -> impl Strategy<Value = Act> {
    let n = 0..4_usize;
    let name = prop_oneof![3 => Just(0_usize), 1 => 0..4_usize];
    prop_oneof![
        2 => (0..10_usize, 0..7_usize).prop_map(|(setting, value)| Act::Setting { setting, value }),
        1 => (0..5_usize, 0..6_usize).prop_map(|(field, value)| Act::Defaults { field, value }),
        1 => any::<bool>().prop_map(|on| Act::Decree { on }),
        4 => (0..7_usize, n.clone()).prop_map(|(what, number)| Act::Document { what, number }),
        6 => (name.clone(), 0..13_usize, 0..25_usize).prop_map(|(name, what, number)| Act::Role { name, what, number }),
        4 => (name.clone(), 0..8_usize, name.clone()).prop_map(|(name, what, number)| Act::Profile { name, what, number }),
        1 => name.clone().prop_map(|name| Act::DestroyRole { name }),
        1 => name.clone().prop_map(|name| Act::DestroyProfile { name }),
        1 => n.prop_map(|number| Act::EditDocument { number }),
        1 => (0..20_u64).prop_map(|seconds| Act::Wait { seconds }),
    ]
}

fn pick<T: Clone>(things: impl Iterator<Item = T>, number: usize) -> Option<T> {
    let things: Vec<T> = things.collect();
    (!things.is_empty()).then(|| things[number % things.len()].clone())
}

/// What the bits of a number choose.
fn some<T: Clone + Ord>(things: impl Iterator<Item = T>, bits: usize) -> BTreeSet<T> {
    things.enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, thing)| thing).collect()
}

fn write_of(place: &Place, act: &Act) -> Option<Write> {
    let endpoint = |n: usize| {
        place.region(|state| pick(state.endpoints.keys().cloned(), n)).unwrap_or_else(|| EndpointId::from("vpce-none"))
    };
    let group =
        |n: usize| place.region(|state| pick(state.groups.keys().cloned(), n)).unwrap_or_else(|| "sg-none".into());
    let subnets = |bits: usize| place.region(|state| some(state.subnets.keys().cloned(), bits));
    let tables = |bits: usize| place.region(|state| some(state.route_tables.keys().cloned(), bits));
    Some(match act {
        Act::Create { service, subnets: bits, private_dns, token } => create(&NewEndpoint {
            subnets: subnets(*bits),
            groups: [group(*token)].into(),
            private_dns: *private_dns,
            client_token: format!("t{token}{service}"),
            ..place.interface(SERVICES[*service])
        }),
        Act::Gateway { both, token } => create(&NewEndpoint {
            route_tables: tables(if *both { 3 } else { 1 }),
            client_token: format!("g{token}"),
            ..place.gateway()
        }),
        Act::Modify { endpoint: n, subnets: bits, swap, private_dns, group: with_group, tables: table_bits } => {
            let id = endpoint(*n);
            let gateway =
                place.region(|state| state.endpoints.get(&id).is_some_and(|e| e.kind == EndpointType::Gateway));
            let change = if gateway {
                EndpointChange {
                    add_route_tables: tables(*table_bits),
                    remove_route_tables: if *swap { tables(3 - table_bits % 4) } else { BTreeSet::new() },
                    ..EndpointChange::default()
                }
            } else {
                EndpointChange {
                    add_subnets: subnets(*bits),
                    remove_subnets: if *swap { subnets(7 - bits) } else { BTreeSet::new() },
                    add_groups: if *with_group { [group(*n)].into() } else { BTreeSet::new() },
                    private_dns: *private_dns,
                    ..EndpointChange::default()
                }
            };
            modify(&id, change)
        }
        Act::Delete { endpoint: n, another } => {
            Write::DeleteEndpoints { endpoints: [endpoint(*n), endpoint(*another)].into() }
        }
        Act::Group { name } => Write::CreateSecurityGroup {
            vpc: place.vpc.clone(),
            name: format!("g{name}"),
            description: "any".to_owned(),
            tags: Tags::new(),
        },
        Act::Admit { group: n, cidr, more } => {
            admit(&group(*n), if *more { &CIDRS[*cidr..] } else { &CIDRS[*cidr..=*cidr] })
        }
        Act::Revoke { group: n, cidr } => no_longer_admit(&group(*n), &CIDRS[*cidr..=*cidr]),
        Act::DeleteGroup { group: n } => Write::DeleteSecurityGroup { group: group(*n) },
        Act::Tag { endpoint: n, keys } => Write::Tag {
            resources: [endpoint(*n).to_string()].into(),
            tags: (0..*keys).map(|key| (format!("k{key}"), "v".to_owned())).collect(),
        },
        Act::Setting { setting, value: 0 } => Write::ResetSetting { setting: Setting::ALL[*setting] },
        Act::Setting { setting, value } => {
            let value =
                ["", "standard", "advanced", "Enabled", "True", "service-role/x", "CloudWatch"][*value].to_owned();
            Write::UpdateSetting { setting: Setting::ALL[*setting], value }
        }
        Act::Defaults { field, value } => {
            let value = ["enabled", "disabled", "required", "2", "no-preference", "-1"][*value].to_owned();
            Write::ModifyMetadataDefaults { values: [(MetadataField::ALL[*field], value)].into() }
        }
        Act::Document { what, number } => document_write(*what, *number),
        Act::Role { name, what, number } => role(NAMES[*name], role_change(*what, *number)?),
        Act::Profile { name, what, number } => profile(NAMES[*name], profile_change(*what, *number)?),
        _ => return None,
    })
}

const NAMES: [&str; 4] = ["one", "two", "three", "One"];

fn some_tags(number: usize) -> Tags {
    [(format!("k{number}"), "v".to_owned())].into()
}

fn document_write(what: usize, number: usize) -> Write {
    let minutes = u32::try_from(number % 3).unwrap() + 1;
    Write::Document(match what {
        0 => return make_document(minutes, &[("owner", "us")]),
        1 => DocumentChange::Update(content(minutes)),
        2 | 3 => DocumentChange::Use(number.to_string()),
        4 => DocumentChange::Tag(some_tags(number)),
        5 => DocumentChange::Untag([format!("k{number}")].into()),
        _ => DocumentChange::Delete,
    })
}

fn role_change(what: usize, number: usize) -> Option<RoleChange> {
    let policy = || format!("arn:aws:iam::aws:policy/P{number}").into();
    let Write::Role { change: create, .. } = create_role("any") else { return None };
    let RoleChange::Create(new) = &create else { return None };
    let text = |length: usize| {
        format!(r#"{{"Statement":{{"Effect":"Allow","Action":"s3:GetObject","Resource":"{}"}}}}"#, "r".repeat(length))
    };
    Some(match what {
        0 | 1 => create,
        2 => RoleChange::Trust(new.trust.replace("ec2", &"x".repeat(100 * number))),
        3 | 4 => RoleChange::Attach(policy()),
        5 => RoleChange::Detach(policy()),
        6 => RoleChange::PutInline(text(500 * number)),
        7 => RoleChange::DeleteInline(INLINE_POLICY.to_owned()),
        8 => RoleChange::Tag(some_tags(number)),
        9 => RoleChange::Untag([format!("k{number}")].into()),
        _ => RoleChange::Delete,
    })
}

fn profile_change(what: usize, number: usize) -> Option<ProfileChange> {
    let Write::Profile { change: create, .. } = create_profile("any") else { return None };
    Some(match what {
        0 | 1 => create,
        2 | 3 => ProfileChange::AddRole(NAMES[number].into()),
        4 => ProfileChange::RemoveRole(NAMES[number].into()),
        5 => ProfileChange::Tag(some_tags(number)),
        6 => ProfileChange::Untag([format!("k{number}")].into()),
        _ => ProfileChange::Delete,
    })
}

/// The version of everything that is kept once for a region or an account, by what it is and its name.
fn singletons(place: &Place) -> std::collections::BTreeMap<(ThingKind, String), u64> {
    place.sim.with(|world| {
        let state = world.region(&account(), &region()).unwrap();
        let mut all: Vec<((ThingKind, String), u64)> = Vec::new();
        all.extend(state.settings.iter().map(|(s, r)| ((ThingKind::Setting, s.id().to_owned()), r.version)));
        all.extend(state.documents.iter().map(|(name, r)| ((ThingKind::Document, name.clone()), r.version)));
        let defaults = state.metadata_defaults.as_ref();
        all.extend(defaults.map(|r| ((ThingKind::MetadataDefaults, METADATA_DEFAULTS.to_owned()), r.version)));
        let iam = &world.accounts[&account()].iam;
        all.extend(iam.roles.iter().map(|(name, r)| ((ThingKind::Role, name.to_string()), r.version)));
        all.extend(iam.profiles.iter().map(|(name, r)| ((ThingKind::Profile, name.to_string()), r.version)));
        all.into_iter().collect()
    })
}

fn perform(place: &Place, hand: &Hand, act: &Act, actor: &Actor) {
    if let Some(write) = write_of(place, act) {
        let _ = place.sim.with(|world| world.act(actor, &account(), &region(), &write));
        return;
    }
    let (account, region, vpc) = (account(), region(), &place.vpc);
    let name = "ssm.eu-west-1.amazonaws.com";
    match act {
        Act::Attribute { hostnames, on } => {
            let attribute = if *hostnames { VpcAttribute::DnsHostnames } else { VpcAttribute::DnsSupport };
            let _ = place.sim.with(|w| w.set_dns_attribute(actor, &account, &region, vpc, attribute, *on));
        }
        Act::Zone { on: true } => {
            let zone = HostedZone { reachable: true };
            let _ = place.sim.with(|w| w.associate_zone(actor, &account, &region, vpc, name, zone));
        }
        Act::Zone { on: false } => place.sim.with(|w| w.disassociate_zone(actor, &account, &region, vpc, name)),
        Act::State { endpoint, state } => {
            let state = [
                EndpointState::Failed,
                EndpointState::Rejected,
                EndpointState::Partial,
                EndpointState::Expired,
                EndpointState::Deleted,
                EndpointState::Unknown("odd".to_owned()),
            ][*state]
                .clone();
            place.sim.with(|world| {
                let living = world.region_mut(&account, &region).endpoints.iter();
                let living = living.filter(|(_, e)| !e.state.is_leaving()).map(|(id, _)| id.clone());
                if let Some(id) = pick(living, *endpoint) {
                    world.set_endpoint_state(&account, &region, &id, state);
                }
            });
        }
        Act::DeleteSubnet { subnet } => place.sim.with(|world| {
            let found = pick(world.region_mut(&account, &region).subnets.keys().cloned(), *subnet);
            let _ = found.map(|id| world.delete_subnet(actor, &account, &region, &id));
        }),
        Act::AddSubnet { zone, free } => place.sim.with(|world| {
            let new = NewSubnet { free_addresses: *free, ..NewSubnet::of(["a", "b", "c", "d"][*zone]) };
            world.add_subnet(&account, &region, vpc, new);
        }),
        Act::Instance { internet } => place.sim.with(|world| {
            let new = NewInstance { agent: Some("3.3.0.0".to_owned()), internet: *internet, ..NewInstance::default() };
            let subnet = pick(world.region_mut(&account, &region).subnets.keys().cloned(), 0);
            if let Some(subnet) = subnet {
                world.add_instance(&account, &region, &subnet, new);
            }
        }),
        Act::Decree { on } => place.sim.with(|world| {
            let values = [(MetadataField::HttpTokens, "required".to_owned())].into();
            world.set_declarative_policy(&account, &region, on.then_some((values, "no")));
        }),
        Act::EditDocument { number } => place.sim.with(|world| {
            let minutes = u32::try_from(*number).unwrap() + 1;
            let _ = world.edit_session_document(actor, &account, &region, &content(minutes));
        }),
        Act::DestroyRole { name } => place.sim.with(|world| {
            let _ = world.destroy_role(actor, &account, &region, &RoleName::from(NAMES[*name]));
        }),
        Act::DestroyProfile { name } => place.sim.with(|world| {
            let _ = world.destroy_profile(actor, &account, &region, &ProfileName::from(NAMES[*name]));
        }),
        Act::Destroy => place.sim.with(|world| world.destroy_vpc(actor, &account, &region, vpc)),
        Act::Wait { seconds } => hand.wait(*seconds),
        _ => {}
    }
}

fn stormy(weather: &mut Weather) {
    *weather = Weather {
        throttle: 0.05,
        internal_error: 0.05,
        lost_request: 0.05,
        lost_answer: 0.1,
        expired: 0.02,
        unsuccessful: 0.1,
        latency: (Duration::ZERO..=Duration::from_secs(2)).into(),
        visible_after: (Duration::ZERO..=Duration::from_secs(20)).into(),
        flicker_for: (Duration::ZERO..=Duration::from_secs(20)).into(),
        flicker: 0.4,
        listed_after: (Duration::ZERO..=Duration::from_secs(20)).into(),
        stale: 0.3,
        stale_by: (Duration::ZERO..=Duration::from_secs(20)).into(),
        fresh_not_found: 0.3,
        shuffle: true,
        pending_for: (Duration::from_secs(1)..=Duration::from_secs(120)).into(),
        deleting_for: (Duration::from_secs(1)..=Duration::from_secs(120)).into(),
        gateway_takes: (Duration::ZERO..=Duration::from_secs(5)).into(),
        modify_pending_for: (Duration::ZERO..=Duration::from_secs(30)).into(),
        contended: 0.1,
        document_takes: (Duration::ZERO..=Duration::from_secs(30)).into(),
        document_fails: 0.2,
        setting_pending_for: Duration::from_secs(10),
        outcomes: vec![OutcomeRule { service: String::new(), state: EndpointState::Failed, chance: 0.2, times: None }],
        token_retention: Duration::from_secs(300),
        ..Weather::default()
    };
}

/// Does these things, and looks after each of them whether AWS is what it is and the journal tells of everything.
fn stays(acts: &[Act], seed: u64, storm: bool, destroyed: Option<usize>) -> Result<(), TestCaseError> {
    let hand = Hand::default();
    let place = place(hand.clock(), seed);
    if storm {
        place.weather(stormy);
    }
    let actors = [Actor::Person, Actor::Terraform, Actor::QuickSetup];
    let mut versions = std::collections::BTreeMap::new();
    for (n, act) in acts.iter().enumerate() {
        let act = if destroyed == Some(n) { &Act::Destroy } else { act };
        let (before, entered) = (singletons(&place), place.sim.with(|world| world.journal.len()));
        perform(&place, &hand, act, &actors[n % 3]);
        let after = singletons(&place);
        let told: BTreeSet<_> = place.sim.with(|world| {
            let entries = world.journal[entered..].iter().filter(|entry| !entry.refused());
            entries.flat_map(|entry| &entry.touched).map(|t| (t.kind, t.id.clone())).collect()
        });
        for (thing, version) in &before {
            let same = after.get(thing) == Some(version);
            prop_assert!(same || told.contains(thing), "{:?} changed, and the journal does not tell", thing);
        }
        let broken = place.sim.with(|world| world.check());
        prop_assert_eq!(broken, Ok(()), "after {:?}", act);
        for (id, version) in
            place.region(|state| state.endpoints.iter().map(|(id, e)| (id.clone(), e.version)).collect::<Vec<_>>())
        {
            prop_assert!(versions.insert(id, version).is_none_or(|before| before <= version));
        }
    }
    // In the end everything that was begun has ended, and all addresses of what is gone are free again.
    hand.wait(3600);
    place.region(|state| {
        for (id, endpoint) in state.endpoints.iter() {
            assert!(!endpoint.state.is_leaving() && endpoint.state != EndpointState::Pending, "{id} is stuck");
        }
        for version in state.session_document().into_iter().flat_map(|document| document.versions.values()) {
            use ssm_ready_core::facts::settings::DocumentStatus::{Active, Failed};
            assert!(matches!(version.status, Active | Failed), "{version:?} is stuck");
        }
        let used: usize = state.endpoints.values().map(|e| e.interfaces.len()).sum();
        assert_eq!(used, state.network_interfaces.len());
    });
    let entries = place.sim.with(|world| world.journal.clone());
    prop_assert!(entries.iter().enumerate().all(|(n, entry)| entry.seq == n as u64));
    prop_assert!(entries.is_sorted_by_key(|entry| entry.at));
    Ok(())
}

proptest! {
    #[test]
    fn aws_stays_what_it_is(
        acts in prop::collection::vec(act(), 1..60),
        seed in any::<u64>(),
        storm in any::<bool>(),
        destroyed in prop::option::weighted(0.1, 0..60_usize),
    ) {
        stays(&acts, seed, storm, destroyed)?;
    }

    /// The same where nothing is in the way of one another but the rules of settings, documents, roles and profiles.
    #[test]
    fn accounts_stay_what_they_are(
        acts in prop::collection::vec(account_act(), 1..100),
        seed in any::<u64>(),
        storm in any::<bool>(),
    ) {
        stays(&acts, seed, storm, None)?;
    }

    /// A process among others, in any weather: what it reads and what AWS does are the same for the same seed.
    #[test]
    fn one_seed_is_one_story(acts in prop::collection::vec(act(), 1..30), seed in any::<u64>()) {
        prop_assert_eq!(story(&acts, seed), story(&acts, seed));
    }
}

/// What a process is answered while it does these things, and the journal of it.
fn story(acts: &[Act], seed: u64) -> (Vec<String>, Vec<Entry>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let place = place(tokio_clock(), seed);
        place.weather(stormy);
        let cloud = place.sim.cloud(Arc::new(Open));
        let idle = Hand::default();
        let mut answers = Vec::new();
        for (n, act) in acts.iter().enumerate() {
            let scope = scope();
            let mine = write_of(&place, act).filter(|_| n % 2 == 0);
            match mine {
                Some(write) => answers.push(format!("{:?}", cloud.write(&scope, &write).await)),
                None => perform(&place, &idle, act, &Actor::Person),
            }
            let (endpoints, groups) = tokio::join!(cloud.endpoints(&scope), cloud.security_groups(&scope));
            answers.push(format!("{endpoints:?} {groups:?}"));
            answers.push(match n % 4 {
                0 => format!("{:?}", cloud.setting(&scope, Setting::ALL[n % 10]).await),
                1 => format!("{:?}", cloud.session_document(&scope, DocumentVersion::Latest).await),
                2 => format!("{:?}", cloud.role(&scope, &NAMES[n % 4].into()).await),
                _ => format!("{:?}", cloud.profile(&scope, &NAMES[n % 4].into()).await),
            });
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
        (answers, place.sim.with(|world| world.journal.clone()))
    })
}

#[test]
fn another_seed_is_another_story() {
    let acts: Vec<Act> =
        (0..12).map(|n| Act::Create { service: n % 4, subnets: 1, private_dns: true, token: n }).collect();
    assert_ne!(story(&acts, 1), story(&acts, 2));
}

#[tokio::test(start_paused = true)]
async fn the_journal_says_what_there_is_to_judge() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let first = place.make(&NewEndpoint { private_dns: false, ..place.interface("ssm") });
    let bare = place.make_group("bare");
    let new = NewEndpoint { groups: [bare.clone()].into(), client_token: "2".to_owned(), ..place.interface("ssm") };
    let Ok(Written::Endpoint(second)) = cloud.write(&scope(), &create(&new)).await else { panic!() };
    let last = || place.sim.with(|world| world.journal.last().cloned()).unwrap();
    let made = last();
    assert_eq!(made.operation, Some(Operation::CreateVpcEndpoint));
    assert_eq!(made.siblings.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), [first.as_str()]);
    assert_eq!((made.admitted, made.outcome), (Some(false), Outcome::Made(second.to_string())));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let change = EndpointChange {
        add_groups: [place.group.clone()].into(),
        private_dns: Some(true),
        ..EndpointChange::default()
    };
    cloud.write(&scope(), &modify(&second, change)).await.unwrap();
    let changed = last();
    assert_eq!(changed.admitted, Some(true), "with the group that the change adds");
    let touched = &changed.touched[0];
    assert_eq!((touched.kind, touched.private_dns), (ThingKind::Endpoint, Some(true)));
    assert_eq!(touched.state, Some(EndpointState::Available));
    assert_eq!(touched.made_by, Actor::Controller("controller".to_owned()));
    cloud.write(&scope(), &delete(&first)).await.unwrap();
    assert_eq!(last().touched[0].made_by, Actor::Person);
    // Without groups it is the VPC's default one that has to admit.
    let default = place.region(|state| state.vpcs[&place.vpc].default_group.clone());
    place.act(&admit(&default, &["10.0.0.0/16"])).unwrap();
    cloud.write(&scope(), &create(&NewEndpoint { groups: BTreeSet::new(), ..place.interface("kms") })).await.unwrap();
    assert_eq!(last().admitted, Some(true));
}
