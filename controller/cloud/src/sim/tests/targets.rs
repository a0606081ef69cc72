//! What sessions are logged to and encrypted with, of other accounts, and as it comes and goes.

use ssm_ready_core::{
    facts::targets::{Bucket, BucketEncryption, LogGroup},
    fault::FaultKind,
    ids::{BucketName, KeyId, LogGroupName},
};

use super::*;

fn other() -> AccountId {
    "444455556666".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_another_accounts_is_seen_where_its_policy_lets_it() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let id = "0a1b2c3d-1111-2222-3333-444455556666";
    let bucket = BucketName::from("theirs");
    for open in [false, true] {
        let arn = place.sim.with(|world| {
            world.add_region(&other(), &region(), Offer::default());
            world.add_bucket(&other(), &region(), &bucket, SimBucket { open, ..SimBucket::default() });
            let key = SimKey { open, ..SimKey::new(&other(), &region(), id) };
            let arn = KeyId::from(key.fact.arn.as_str());
            world.add_key(&other(), &region(), id, key);
            arn
        });
        let (bucket, key) = (cloud.bucket(&scope(), &bucket).await, cloud.key(&scope(), &arn).await);
        if open {
            assert_eq!(bucket, Ok(Some(Bucket { region: Some(region()) })));
            assert!(key.unwrap().unwrap().is_enabled());
        } else {
            assert_eq!(bucket.unwrap_err().kind, FaultKind::Denied);
            assert_eq!(key.unwrap_err().kind, FaultKind::Denied);
        }
        // An id alone is one of the account's own.
        assert_eq!(cloud.key(&scope(), &id.into()).await, Ok(None));
    }
    let nosuch = format!("arn:aws:kms:eu-west-1:{}:key/nosuch", other());
    assert_eq!(cloud.key(&scope(), &nosuch.into()).await.unwrap_err().kind, FaultKind::Denied, "that is not told");
}

#[tokio::test(start_paused = true)]
async fn people_make_spoil_and_delete_and_the_journal_has_it() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let (bucket, group) = (BucketName::from("logs"), LogGroupName::from("/ssm"));
    let key = "0a1b2c3d-1111-2222-3333-444455556666";
    place.sim.with(|world| {
        world.add_key(&account(), &region(), key, SimKey::new(&account(), &region(), key));
        world.journal.clear();
    });
    let with_key = LogGroup { kms_key: Some("k".to_owned()) };
    let does = |encryption: Option<BucketEncryption>, of: Option<LogGroup>, state: &str| {
        place.sim.with(|world| {
            let person = Actor::Person;
            world.change_bucket(&person, &account(), &region(), &bucket, encryption);
            world.change_log_group(&person, &account(), &region(), &group, of);
            world.change_key(&person, &account(), &region(), key, state);
            world.journal.drain(..).map(|entry| (entry.call, entry.detail)).collect::<Vec<_>>()
        })
    };
    let good = SimBucket::default().encryption;
    for (encryption, of, state, calls) in [
        (Some(good.clone()), Some(with_key.clone()), "Enabled", ["CreateBucket", "CreateLogGroup", "EnableKey"]),
        (
            Some(BucketEncryption::default()),
            Some(LogGroup { kms_key: None }),
            "Disabled",
            ["DeleteBucketEncryption", "DisassociateKmsKey", "DisableKey"],
        ),
        (
            Some(good),
            Some(with_key),
            "PendingDeletion",
            ["PutBucketEncryption", "AssociateKmsKey", "ScheduleKeyDeletion"],
        ),
        (None, None, "Enabled", ["DeleteBucket", "DeleteLogGroup", "EnableKey"]),
    ] {
        let done = does(encryption.clone(), of.clone(), state);
        let named = ["logs", "/ssm", key];
        let expected: Vec<_> = calls.into_iter().zip(named.map(str::to_owned)).collect();
        assert_eq!(done, expected);
        assert_eq!(cloud.bucket_encryption(&scope(), &bucket).await, Ok(encryption));
        assert_eq!(cloud.log_group(&scope(), &group).await, Ok(of));
        assert_eq!(cloud.key(&scope(), &key.into()).await.unwrap().unwrap().state, state);
        place.sim.with(|world| world.journal.clear());
    }
    place.sim.with(|world| world.delete_key(&Actor::Person, &account(), &region(), key));
    assert_eq!(cloud.key(&scope(), &key.into()).await, Ok(None));
}

/// Managed policies allow what is said of them, and inline ones what they say.
#[tokio::test(start_paused = true)]
async fn a_role_may_what_its_policies_grant() {
    let place = place(tokio_clock(), 1);
    let policy = ssm_ready_core::ids::PolicyArn::from("arn:aws:iam::aws:policy/PowerUserAccess");
    let allows = |action: &str| place.sim.with(|world| world.iam_mut(&account()).allows(&"hosts".into(), action));
    place.sim.with(|world| {
        let role = NewSimRole { policies: [policy.clone()].into(), ..NewSimRole::of_service("ssm.amazonaws.com") };
        world.add_iam_role(&Actor::Person, &account(), &region(), &"hosts".into(), role);
    });
    assert!(!allows("s3:PutObject"), "nothing is said of it");
    place.sim.with(|world| world.set_grants(&account(), &policy, &["s3:*", "kms:Decrypt"]));
    assert!(allows("s3:PutObject") && allows("KMS:decrypt") && !allows("kms:GenerateDataKey"));
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:Put*","Resource":"*"}]}"#;
    place.sim.with(|world| {
        world.put_inline_policy(&Actor::Person, &account(), &region(), &"hosts".into(), "no", deny).unwrap();
    });
    assert!(!allows("s3:PutObject") && allows("s3:GetObject"));
}
