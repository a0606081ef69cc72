//! Who acts: what is asked of STS, how often, and what is handed out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use ssm_ready_core::{
    calls::Operation,
    facts::{Principal, RoleStep},
    fault::{ACCOUNT_MISMATCH, Fault, FaultKind, NO_CREDENTIALS},
    ids::Region,
    write::{Write, Written},
};

use crate::{
    AwsCloud, Cloud, Unobserved,
    aws::testing::{Answer, FakeAws, OWN, SPOKE, identity, ok, principal, refused, refused_query, scope, sts},
};

const NO_VPCS: &str = "<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>";

fn cloud(aws: &FakeAws) -> AwsCloud {
    AwsCloud::new(&aws.config(), Arc::new(Unobserved))
}

fn region() -> Region {
    "eu-west-1".parse().unwrap()
}

fn well() -> FakeAws {
    FakeAws::new(|seen| sts(seen).unwrap_or_else(|| ok(NO_VPCS)))
}

/// An STS that can be switched off.
fn switched() -> (FakeAws, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&broken);
    let aws = FakeAws::new(move |seen| {
        if seen.host.starts_with("sts.") && switch.load(Ordering::Relaxed) {
            return refused_query(403, "AccessDenied", "not any more");
        }
        sts(seen).unwrap_or_else(|| ok(NO_VPCS))
    });
    (aws, broken)
}

#[tokio::test(start_paused = true)]
async fn a_role_is_taken_on_in_the_region_and_proven_before_anything_else() {
    let aws = well();
    cloud(&aws).vpcs(&scope()).await.unwrap();
    let seen = aws.seen();
    let operations: Vec<&str> = seen.iter().map(|s| s.operation.as_str()).collect();
    assert_eq!(operations, ["AssumeRole", "GetCallerIdentity", "DescribeVpcs"]);
    assert_eq!(seen[0].host, "sts.eu-west-1.amazonaws.com");
    assert_eq!(seen[0].key, format!("AKIA{OWN}"));
    assert_eq!(seen[0].field("ExternalId"), "tenant-7f3c");
    assert_eq!(seen[0].field("RoleSessionName"), "ssm-ready");
    assert_eq!(seen[0].field("DurationSeconds"), "3600");
    assert_eq!(seen[0].field("Policy"), "");
    assert_eq!(seen[2].key, format!("ASIA{SPOKE}"));
    assert!(seen[2].agent.contains("app/ssm-ready"), "{}", seen[2].agent);
}

#[tokio::test(start_paused = true)]
async fn a_chain_is_followed_and_narrowed_at_its_end_only() {
    let aws = well();
    let hub = RoleStep { arn: "arn:aws:iam::444455556666:role/hub".parse().unwrap(), external_id: None };
    let spoke = principal();
    let chained = Principal {
        roles: [vec![hub], spoke.roles.clone()].concat(),
        read_only: true,
        duration_seconds: 99_999,
        ..spoke
    };
    let found = cloud(&aws).identity(&chained, &region()).await.unwrap();
    assert_eq!(found.account.as_str(), SPOKE);
    let assumed = aws.of("AssumeRole");
    assert_eq!(assumed.len(), 2);
    assert_eq!((assumed[0].field("Policy"), assumed[0].field("ExternalId")), ("", ""));
    assert_eq!(assumed[1].key, "ASIA444455556666");
    assert!(assumed[1].field("Policy").contains("ec2:DescribeVpcs"));
    assert!(!assumed[1].field("Policy").contains("CreateVpcEndpoint"));
    assert_eq!(assumed[1].field("DurationSeconds"), "3600");
}

#[tokio::test(start_paused = true)]
async fn a_session_of_another_account_hands_nothing_out() {
    let aws = FakeAws::new(|seen| match seen.operation.as_str() {
        "GetCallerIdentity" => identity("777788889999"),
        _ => sts(seen).unwrap_or_else(|| ok(NO_VPCS)),
    });
    let fault = cloud(&aws).vpcs(&scope()).await.unwrap_err();
    assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Invalid, ACCOUNT_MISMATCH));
    assert_eq!(fault.operation, Operation::GetCallerIdentity);
    for part in ["777788889999", SPOKE, "assumed-role/spoke"] {
        assert!(fault.message.contains(part), "{fault}");
    }
    assert!(aws.of("DescribeVpcs").is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_controllers_own_identity_is_proven_too() {
    let aws = well();
    let own = |account: &str| Principal { account: account.parse().unwrap(), roles: Vec::new(), ..principal() };
    let cloud = cloud(&aws);
    assert_eq!(cloud.identity(&own(OWN), &region()).await.unwrap().account.as_str(), OWN);
    assert_eq!(cloud.identity(&own(SPOKE), &region()).await.unwrap_err().code, ACCOUNT_MISMATCH);
    assert!(aws.of("AssumeRole").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_controller_without_credentials_says_so() {
    let aws = well();
    let cloud = AwsCloud::new(&aws.config_without_credentials(), Arc::new(Unobserved));
    for principal in [principal(), Principal { roles: Vec::new(), ..principal() }] {
        let fault = cloud.identity(&principal, &region()).await.unwrap_err();
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Denied, NO_CREDENTIALS));
    }
    assert!(aws.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_take_on_a_role_once() {
    let aws = FakeAws::new(|seen| {
        let answer = sts(seen).unwrap_or_else(|| ok(NO_VPCS));
        Answer::Late(Duration::from_secs(1), Box::new(answer))
    });
    let (cloud, scope) = (cloud(&aws), scope());
    let results = join_all((0..100).map(|_| cloud.vpcs(&scope))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!((aws.of("AssumeRole").len(), aws.of("GetCallerIdentity").len()), (1, 1));
    assert_eq!(aws.of("DescribeVpcs").len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_dead_account_costs_a_call_a_minute() {
    let (aws, broken) = switched();
    broken.store(true, Ordering::Relaxed);
    let (cloud, scope) = (cloud(&aws), scope());
    let faults = join_all((0..100).map(|_| cloud.vpcs(&scope))).await;
    assert!(faults.iter().all(|f| f.as_ref().is_err_and(|f| f.kind == FaultKind::Denied && f.of_identity())));
    assert_eq!(aws.seen().len(), 1);
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let fault = cloud.vpcs(&scope).await.unwrap_err();
        assert!(fault.retry_after.is_none_or(|wait| wait <= Duration::from_secs(60)), "{fault:?}");
    }
    let calls = aws.seen().len();
    assert!((10..=13).contains(&calls), "{calls}");
    broken.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(61)).await;
    cloud.vpcs(&scope).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_region_whose_sts_fails_does_not_hide_the_others() {
    let aws = FakeAws::new(|seen| {
        if seen.host == "sts.ap-east-1.amazonaws.com" {
            return refused_query(403, "RegionDisabledException", "not enabled");
        }
        sts(seen).unwrap_or_else(|| ok(NO_VPCS))
    });
    let cloud = cloud(&aws);
    let fault = cloud.identity(&principal(), &"ap-east-1".parse().unwrap()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::RegionDisabled);
    cloud.identity(&principal(), &region()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn credentials_are_renewed_at_half_of_their_life() {
    let aws = well();
    let (cloud, scope) = (cloud(&aws), scope());
    for (minutes, assumed) in [(0, 1), (29, 1), (2, 2), (28, 2), (2, 3)] {
        tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
        cloud.vpcs(&scope).await.unwrap();
        assert_eq!(aws.of("AssumeRole").len(), assumed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_sts_that_fails_is_not_noticed_until_the_last_minute() {
    let (aws, broken) = switched();
    let (cloud, scope) = (cloud(&aws), scope());
    cloud.vpcs(&scope).await.unwrap();
    broken.store(true, Ordering::Relaxed);
    for _ in 0..58 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        cloud.vpcs(&scope).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    let before = aws.of("DescribeVpcs").len();
    assert_eq!(cloud.vpcs(&scope).await.unwrap_err().kind, FaultKind::Denied);
    assert_eq!(aws.of("DescribeVpcs").len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_silent_sts_holds_no_caller_for_long() {
    let aws = FakeAws::new(|_| Answer::Late(Duration::from_secs(3600), Box::new(Answer::Lost)));
    let (cloud, scope) = (cloud(&aws), scope());
    let began = tokio::time::Instant::now();
    let faults = join_all((0..10).map(|_| cloud.vpcs(&scope))).await;
    assert!(faults.iter().all(|f| f.as_ref().is_err_and(|f| f.kind == FaultKind::Transient)));
    assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_replaced_and_the_read_made_again() {
    let expired = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&expired);
    let aws = FakeAws::new(move |seen| match sts(seen) {
        Some(answer) => answer,
        None if switch.swap(false, Ordering::Relaxed) => refused(400, "RequestExpired", "expired"),
        None => ok(NO_VPCS),
    });
    let (cloud, scope) = (cloud(&aws), scope());
    cloud.vpcs(&scope).await.unwrap();

    expired.store(true, Ordering::Relaxed);
    cloud.vpcs(&scope).await.unwrap();
    assert_eq!(aws.of("AssumeRole").len(), 2);

    // Where any credentials are called expired, new ones for each call would not help.
    expired.store(true, Ordering::Relaxed);
    assert_eq!(cloud.vpcs(&scope).await.unwrap_err().kind, FaultKind::Expired);
    assert_eq!(aws.of("AssumeRole").len(), 2);
    tokio::time::sleep(Duration::from_secs(61)).await;
    expired.store(true, Ordering::Relaxed);
    cloud.vpcs(&scope).await.unwrap();
    assert_eq!(aws.of("AssumeRole").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_replaced_but_a_write_is_not_made_again() {
    let expired = AtomicBool::new(true);
    let aws = FakeAws::new(move |seen| match sts(seen) {
        Some(answer) => answer,
        None if expired.swap(false, Ordering::Relaxed) => refused(400, "RequestExpired", "expired"),
        None => ok("<DeleteSecurityGroupResponse/>"),
    });
    let (cloud, scope) = (cloud(&aws), scope());
    let write = Write::DeleteSecurityGroup { group: "sg-1".into() };
    assert_eq!(cloud.write(&scope, &write).await.unwrap_err().kind, FaultKind::Expired);
    assert_eq!(cloud.write(&scope, &write).await, Ok(Written::Done));
    assert_eq!((aws.of("AssumeRole").len(), aws.of("DeleteSecurityGroup").len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn secrets_are_nowhere_to_be_read() {
    let aws = FakeAws::new(|seen| {
        let echo = format!("Value '{}' at 'externalId' failed to satisfy constraint", seen.field("ExternalId"));
        match seen.operation.as_str() {
            "AssumeRole" if seen.field("ExternalId") == "tenant-7f3c" => refused_query(400, "ValidationError", &echo),
            _ => sts(seen).unwrap_or_else(|| ok(NO_VPCS)),
        }
    });
    let cloud = cloud(&aws);
    let fault: Fault = cloud.vpcs(&scope()).await.unwrap_err();
    let text = format!("{fault} {fault:?} {cloud:?} {:?}", scope());
    for secret in ["tenant-7f3c", "own-secret", "very-secret", "very-token"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(fault.message.contains("(hidden)"), "{fault}");
    let live = Principal { roles: vec![RoleStep { external_id: None, ..principal().roles[0].clone() }], ..principal() };
    let session = cloud.live(crate::aws::client::At::new(&live, &region())).await.unwrap();
    assert!(!format!("{session:?}").contains("very-"), "{session:?}");
}
