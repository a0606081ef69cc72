//! Faults, token buckets, latency, and the gate.

use ssm_ready_core::{
    calls::{Bucket, Operation},
    fault::{FaultKind, HELD_BACK, NO_ANSWER},
};

use super::*;

fn plan(place: &Place, operation: Operation, what: Injected) {
    place.weather(|weather| weather.planned.push(Planned { operation, what }));
}

#[tokio::test(start_paused = true)]
async fn each_fault_is_what_it_says() {
    for (what, code, done, received) in [
        (Injected::Throttle, "RequestLimitExceeded", false, true),
        (Injected::InternalError, "InternalError", false, true),
        (Injected::LostRequest, NO_ANSWER, false, false),
        (Injected::LostAnswer, NO_ANSWER, true, true),
        (Injected::Expired, "RequestExpired", false, true),
    ] {
        let place = place(tokio_clock(), 1);
        let gate = Arc::new(Watching::default());
        let cloud = place.sim.cloud(gate.clone());
        cloud.vpcs(&scope()).await.unwrap();
        gate.seen();
        plan(&place, Operation::CreateVpcEndpoint, what);
        let write = create(&place.interface("ssm"));
        let fault = cloud.write(&scope(), &write).await.unwrap_err();
        assert_eq!(fault.code, code, "{what:?}");
        assert_eq!(place.region(|state| state.endpoints.len()), usize::from(done), "{what:?}");
        let last = place.sim.with(|world| world.journal.last().cloned()).unwrap();
        assert_eq!(last.injected, Some(what));
        assert_eq!((last.took_effect, last.answer_lost), (done, done), "{what:?}");
        assert_eq!((last.actor, last.write.as_ref()), (Actor::Controller("test".to_owned()), Some(&write)));
        let seen: &[&str] = &["before CreateVpcEndpoint", "after CreateVpcEndpoint"][..1 + usize::from(received)];
        assert_eq!(gate.seen(), seen, "{what:?}");
        // The next one is as good as ever.
        tokio::time::sleep(Duration::from_secs(60)).await;
        cloud.write(&scope(), &write).await.unwrap();
        assert_eq!(place.region(|state| state.endpoints.len()), 1, "{what:?}: by the token");
    }
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_given_up() {
    let place = place(tokio_clock(), 1);
    let gate = Arc::new(Watching::default());
    let cloud = place.sim.cloud(gate.clone());
    plan(&place, Operation::DescribeVpcs, Injected::Expired);
    assert_eq!(cloud.vpcs(&scope()).await.unwrap_err().kind, FaultKind::Expired);
    gate.seen();
    cloud.vpcs(&scope()).await.unwrap();
    assert_eq!(gate.seen()[0], "before AssumeRole");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_may_be_answered_with_200_and_not_done() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let id = place.make(&place.interface("ssm"));
    plan(&place, Operation::DeleteVpcEndpoints, Injected::Unsuccessful);
    let written = cloud.write(&scope(), &delete(&id)).await.unwrap();
    assert!(matches!(&written, Written::NotDeleted(left) if left[0].0 == id), "{written:?}");
    assert!(!place.sim.with(|world| world.journal.last().unwrap().took_effect));
    place.weather(|weather| weather.unsuccessful = 1.0);
    assert!(matches!(cloud.write(&scope(), &delete(&id)).await.unwrap(), Written::NotDeleted(_)));
    place.weather(|weather| weather.only = Some([Operation::DescribeVpcs].into()));
    assert_eq!(cloud.write(&scope(), &delete(&id)).await.unwrap(), Written::Done);
}

#[tokio::test(start_paused = true)]
async fn faults_are_as_frequent_as_said_where_and_as_long_as_said() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    cloud.vpcs(&scope()).await.unwrap();
    let until = place.sim.with(|world| world.now) + Duration::from_secs(1000);
    place.weather(|weather| {
        weather.internal_error = 0.3;
        weather.only = Some([Operation::DescribeVpcs].into());
        weather.until = Some(until);
    });
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(cloud.vpcs(&scope()).await.is_err());
        cloud.subnets(&scope()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((35..85).contains(&failed), "{failed} of 200");
    tokio::time::sleep(Duration::from_secs(1000)).await;
    for _ in 0..50 {
        cloud.vpcs(&scope()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn latency_is_virtual_and_half_of_it_is_on_the_way_there() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    cloud.vpcs(&scope()).await.unwrap();
    place.weather(|weather| weather.latency = Span::seconds(2));
    let (began, clock) = (Instant::now(), place.sim.with(|world| world.now));
    cloud.write(&scope(), &create(&place.interface("ssm"))).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    let at = place.sim.with(|world| world.journal.last().unwrap().at);
    assert_eq!(at, clock + Duration::from_secs(1));
}

#[test]
fn aws_counts_every_bucket_exactly() {
    let place = place(Hand::default().clock(), 1);
    let now = place.sim.with(|world| world.now);
    for operation in Operation::ALL {
        let bucket = operation.bucket();
        let (size, per_second) = bucket.rates();
        let mut meters = Meters::default();
        let burst = (0..10_000).take_while(|_| meters.take(bucket, 1, now)).count();
        assert_eq!(burst as f64, size, "{bucket:?}");
        let mut later = 0;
        for ms in 0..100_000 {
            later += usize::from(meters.take(bucket, 1, now + Duration::from_millis(ms)));
        }
        let expected = (100.0 * per_second).min(100_000.0);
        assert!((later as f64 - expected).abs() <= 2.0, "{bucket:?}: {later} of {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_calls_too_often_is_throttled_and_told_apart_from_the_weather() {
    let place = place(tokio_clock(), 1);
    // Two processes, each within its own rate.
    let clouds = [place.sim.cloud(Arc::new(Open)), place.sim.cloud(Arc::new(Open))];
    let tag = Write::Tag { resources: [place.vpc.to_string()].into(), tags: [("k".to_owned(), "v".to_owned())].into() };
    let modify = Write::ModifyEndpoint { endpoint: "vpce-none".into(), change: Box::default() };
    clouds[0].write(&scope(), &tag).await.unwrap();
    for cloud in &clouds {
        for _ in 0..3 {
            cloud.write(&scope(), &modify).await.unwrap_err();
        }
    }
    let entries = place.sim.with(|world| world.journal.clone());
    let flags: Vec<bool> =
        entries.iter().filter(|e| e.call == "ModifyVpcEndpoint").map(|e| e.throttled_by_bucket).collect();
    assert_eq!(flags, [false, false, false, false, true], "and then the process holds itself back");
    assert!(entries.iter().all(|entry| entry.injected.is_none()));
    assert_eq!(clouds[1].write(&scope(), &modify).await.unwrap_err().code, HELD_BACK);
    // Somebody else's calls count as well.
    place.sim.with(|world| world.drain_bucket(&account(), &region(), Bucket::Ssm));
    assert_eq!(clouds[0].managed_nodes(&scope()).await.unwrap_err().code, "ThrottlingException");
    assert!(place.sim.with(|world| world.journal.last().unwrap().throttled_by_bucket));
}

#[tokio::test(start_paused = true)]
async fn a_process_alone_is_never_throttled() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let modify = Write::ModifyEndpoint { endpoint: "vpce-none".into(), change: Box::default() };
    for _ in 0..200 {
        let fault = cloud.write(&scope(), &modify).await.unwrap_err();
        if fault.code == HELD_BACK {
            tokio::time::sleep(fault.retry_after.unwrap()).await;
        }
        cloud.managed_nodes(&scope()).await.unwrap();
    }
    let throttled = place.sim.with(|world| world.journal.iter().filter(|entry| entry.throttled_by_bucket).count());
    assert_eq!(throttled, 0);
}

#[tokio::test(start_paused = true)]
async fn rules_are_tried_one_by_one_at_the_port() {
    let place = place(tokio_clock(), 1);
    let gate = Arc::new(Watching::default());
    let cloud = place.sim.cloud(gate.clone());
    cloud.vpcs(&scope()).await.unwrap();
    gate.seen();
    let written = cloud.write(&scope(), &admit(&place.group, &["10.0.0.0/16", "10.1.0.0/16"])).await.unwrap();
    assert_eq!(written, Written::Done);
    assert_eq!(gate.seen().len(), 6, "all at once, and then each");
    let rules = cloud.security_groups(&scope()).await.unwrap();
    assert_eq!(rules.iter().find(|group| group.id == place.group).unwrap().ingress.len(), 2);
    cloud.write(&scope(), &no_longer_admit(&place.group, &["10.9.0.0/16"])).await.unwrap();
    let gone = Write::DeleteSecurityGroup { group: "sg-none".into() };
    assert_eq!(cloud.write(&scope(), &gone).await.unwrap(), Written::Done);
}

/// A gate through which nobody comes back.
#[derive(Debug)]
struct Shut {
    before: bool,
}

#[async_trait]
impl Gate for Shut {
    async fn before(&self, call: &Call) {
        if self.before && call.write.is_some() {
            std::future::pending::<()>().await;
        }
    }

    async fn after(&self, call: &Call) {
        if !self.before && call.write.is_some() {
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_may_die_before_and_after_aws_has_done_it() {
    for before in [true, false] {
        let place = place(tokio_clock(), 1);
        let cloud = place.sim.cloud(Arc::new(Shut { before }));
        let call = cloud.write(&scope(), &create(&place.interface("ssm"))).await_for(Duration::from_secs(60)).await;
        assert!(call.is_none());
        assert_eq!(place.region(|state| state.endpoints.len()), usize::from(!before));
        // AWS lives on with the next process's clock, and its time does not go back.
        let then = place.sim.with(|world| world.now);
        place.sim.set_clock(Hand::default().clock());
        assert_eq!(place.sim.with(|world| world.now), then);
    }
}

/// Gives up waiting.
trait AwaitFor: Future + Sized {
    async fn await_for(self, time: Duration) -> Option<Self::Output> {
        tokio::time::timeout(time, self).await.ok()
    }
}

impl<F: Future> AwaitFor for F {}
