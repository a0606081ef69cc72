//! Roles, sessions, and what they may do.

use ssm_ready_core::{
    calls::Operation,
    facts::Question,
    fault::{ACCOUNT_MISMATCH, FaultKind, NO_CREDENTIALS},
};

use super::*;

fn calls(sim: &Sim) -> Vec<&'static str> {
    sim.with(|world| {
        let by_controllers = world.journal.iter().filter(|entry| matches!(entry.actor, Actor::Controller(_)));
        by_controllers.map(|entry| entry.call).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn a_session_is_proven_first_and_again_when_it_expires() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    cloud.vpcs(&scope()).await.unwrap();
    cloud.vpcs(&scope()).await.unwrap();
    assert_eq!(calls(&place.sim), ["AssumeRole", "GetCallerIdentity", "DescribeVpcs", "DescribeVpcs"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let identity = cloud.identity(&principal(), &region()).await.unwrap();
    assert_eq!(identity.arn, "arn:aws:sts::111122223333:assumed-role/ssm-ready/ssm-ready");
    assert_eq!(calls(&place.sim)[4..], ["AssumeRole", "GetCallerIdentity"]);
    // Another process knows nothing of it.
    place.sim.cloud(Arc::new(Open)).vpcs(&scope()).await.unwrap();
    assert_eq!(calls(&place.sim)[6..], ["AssumeRole", "GetCallerIdentity", "DescribeVpcs"]);
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_for_one_session_prove_it_once() {
    let place = place(tokio_clock(), 1);
    place.weather(|weather| weather.latency = Span::seconds(2));
    let cloud = place.sim.cloud(Arc::new(Open));
    let began = Instant::now();
    let scope = scope();
    let (one, two) = tokio::join!(cloud.vpcs(&scope), cloud.subnets(&scope));
    assert_eq!((one.unwrap().len(), two.unwrap().len()), (1, 2));
    assert_eq!(began.elapsed(), Duration::from_secs(6));
    assert_eq!(calls(&place.sim).iter().filter(|call| **call == "AssumeRole").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_role_is_taken_on_only_by_those_whom_it_trusts() {
    type Spoil = fn(&mut World, &mut Principal);
    let cases: &[(&str, &str, Spoil)] = &[
        ("no such role", "AccessDenied", |world, _| world.remove_role(&account(), ROLE)),
        ("no such account", "AccessDenied", |world, _| world.accounts.clear()),
        ("another external id", "AccessDenied", |_, principal| {
            principal.roles[0].external_id = Some(Secret::new("other"));
        }),
        ("no external id", "AccessDenied", |_, principal| principal.roles[0].external_id = None),
        ("not trusted", "AccessDenied", |world, _| {
            let role = world.add_role(&account(), ROLE, Some("tenant"));
            role.trusts = Some(["arn:aws:iam::111122223333:role/somebody".to_owned()].into());
        }),
        ("a disabled region", "RegionDisabledException", |world, _| {
            world.add_account(&account()).disabled_regions.insert(region());
        }),
        ("too long a session", "ValidationError", |_, principal| principal.duration_seconds = 3601),
        ("no credentials", NO_CREDENTIALS, |world, _| world.set_own(None)),
        ("another account than declared", ACCOUNT_MISMATCH, |_, principal| {
            principal.account = "444455556666".parse().unwrap();
        }),
        ("the controller itself is another account", ACCOUNT_MISMATCH, |_, principal| principal.roles.clear()),
    ];
    for (what, code, spoil) in cases {
        let place = place(tokio_clock(), 1);
        let mut principal = principal();
        place.sim.with(|world| spoil(world, &mut principal));
        let cloud = place.sim.cloud(Arc::new(Open));
        let fault = cloud.identity(&principal, &region()).await.unwrap_err();
        assert!(fault.of_identity(), "{what}");
        assert_eq!(fault.code, *code, "{what}");
        let scope = Scope { principal, ..scope() };
        assert_eq!(cloud.vpcs(&scope).await.unwrap_err().code, *code, "{what}");
        assert!(!calls(&place.sim).contains(&"DescribeVpcs"), "{what}: nothing is read before");
    }
}

#[tokio::test(start_paused = true)]
async fn roles_are_chained_and_each_trusts_the_one_before() {
    let place = place(tokio_clock(), 1);
    let hub = "arn:aws:iam::444455556666:role/hub";
    place.sim.with(|world| {
        world.add_role(&"444455556666".parse().unwrap(), hub, None);
        world.add_role(&account(), ROLE, Some("tenant")).trusts = Some([hub.to_owned()].into());
    });
    let cloud = place.sim.cloud(Arc::new(Open));
    assert_eq!(cloud.identity(&principal(), &region()).await.unwrap_err().code, "AccessDenied");
    let mut chained = principal();
    chained.roles.insert(0, RoleStep { arn: hub.parse().unwrap(), external_id: None });
    assert_eq!(cloud.identity(&chained, &region()).await.unwrap().account, account());
    place.sim.with(|world| {
        let hub = world.add_role(&"444455556666".parse().unwrap(), hub, None);
        hub.denied.insert(Operation::AssumeRole);
    });
    chained.session_name = "anew".to_owned();
    assert_eq!(cloud.identity(&chained, &region()).await.unwrap_err().code, "AccessDenied");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_session_writes_nothing() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let scope = Scope { principal: Principal { read_only: true, ..principal() }, ..scope() };
    assert_eq!(cloud.vpcs(&scope).await.unwrap().len(), 1);
    let fault = cloud.write(&scope, &create(&place.interface("ssm"))).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("UnauthorizedOperation", FaultKind::Denied));
    assert_eq!(place.region(|state| state.endpoints.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn permissions_come_and_go_with_a_delay() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let actions = ["ec2:CreateVpcEndpoint".to_owned(), "ec2:DescribeVpcs".to_owned(), "ec2:Other".to_owned()];
    let allowed = async || {
        let permissions = cloud.permissions(&principal(), &region(), &Question::of(&actions)).await.unwrap();
        permissions.into_iter().map(|permission| permission.allowed).collect::<Vec<_>>()
    };
    let deny = |operations: &[Operation]| {
        place.sim.with(|world| world.set_denied(&account(), ROLE, operations.iter().copied()));
    };
    assert_eq!(allowed().await, [true, true, true]);
    deny(&[Operation::CreateVpcEndpoint, Operation::DescribeVpcs]);
    assert_eq!(allowed().await, [true, true, true]);
    cloud.vpcs(&scope()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(allowed().await, [false, false, true]);
    assert_eq!(cloud.vpcs(&scope()).await.unwrap_err().code, "UnauthorizedOperation");
    let fault = cloud.write(&scope(), &create(&place.interface("ssm"))).await.unwrap_err();
    assert_eq!(fault.code, "UnauthorizedOperation");
    deny(&[]);
    assert_eq!(cloud.vpcs(&scope()).await.unwrap_err().code, "UnauthorizedOperation");
    tokio::time::sleep(Duration::from_secs(60)).await;
    cloud.vpcs(&scope()).await.unwrap();
    // To tag what one creates needs the permission to tag.
    place.weather(|weather| weather.iam_propagation = Span::ZERO);
    deny(&[Operation::CreateTags]);
    cloud.write(&scope(), &create(&place.interface("kms"))).await.unwrap();
    let tagged = NewEndpoint { tags: [("k".to_owned(), "v".to_owned())].into(), ..place.interface("logs") };
    assert_eq!(cloud.write(&scope(), &create(&tagged)).await.unwrap_err().code, "UnauthorizedOperation");
    deny(&[Operation::DescribeInstanceInformation, Operation::SimulatePrincipalPolicy]);
    assert_eq!(cloud.managed_nodes(&scope()).await.unwrap_err().code, "AccessDeniedException");
    assert_eq!(
        cloud.permissions(&principal(), &region(), &Question::of(&actions)).await.unwrap_err().code,
        "AccessDenied"
    );
}

#[test]
fn the_last_change_of_permissions_has_the_last_word() {
    for seed in 0..50 {
        let hand = Hand::default();
        let place = place(hand.clock(), seed);
        let spread = Duration::from_secs(1)..=Duration::from_secs(120);
        place.weather(|weather| weather.iam_propagation = spread.into());
        place.sim.with(|world| {
            world.set_denied(&account(), ROLE, [Operation::DescribeVpcs]);
            world.set_denied(&account(), ROLE, []);
        });
        hand.wait(120);
        place.sim.with(|world| assert!(world.accounts[&account()].roles[ROLE].denied.is_empty()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_that_is_not_enabled_says_so() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    cloud.vpcs(&scope()).await.unwrap();
    place.sim.with(|world| world.add_account(&account()).disabled_regions.insert(region()));
    let fault = cloud.vpcs(&scope()).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("OptInRequired", FaultKind::RegionDisabled));
    let elsewhere = Scope { region: "eu-west-2".parse().unwrap(), ..scope() };
    assert_eq!(cloud.vpcs(&elsewhere).await.unwrap_err().kind, FaultKind::RegionDisabled);
}
