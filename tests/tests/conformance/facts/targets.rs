//! Buckets, log groups and keys that sessions are logged to and encrypted with (domain 4).

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Permission, Question, Tags,
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    fault::FaultKind,
    ids::{BucketName, KeyId, LogGroupName},
    write::{NewRole, RoleChange, Write},
};

use crate::{
    lab::{ELSEWHERE, KeyUse, Lab, Place, REGION, Weather},
    stage::{Desk, refused},
};

facts!(
    a_bucket_says_where_it_is_wherever_it_is_asked,
    what_is_not_there_to_log_to_is_none,
    a_bucket_of_another_account_is_closed,
    a_bucket_is_encrypted_with_what_it_says,
    a_log_group_is_told_by_its_whole_name,
    a_key_says_its_state_and_kind,
    a_key_of_another_account_is_closed,
    a_denied_look_at_a_target_names_its_action,
    targets_are_throttled_as_their_services_do_it,
    what_a_role_may_do_with_a_target_is_told,
    of_a_role_that_is_not_there_nothing_is_told,
    who_may_not_ask_of_a_role_is_told_nothing,
);

/// A name that no other case has.
fn named(at: &Place, name: &str) -> BucketName {
    format!("{name}-{}", at.account).into()
}

const GROUP: &str = "/ssm/sessions";

fn group() -> LogGroupName {
    GROUP.into()
}

async fn a_bucket_says_where_it_is_wherever_it_is_asked(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let there = desk.at.in_region(ELSEWHERE)?;
    let [here, elsewhere] = [named(&desk.at, "here"), named(&desk.at, "elsewhere")];
    lab.bucket(&desk.at, &here, None).await?;
    lab.bucket(&there, &elsewhere, None).await?;
    let cloud = desk.cloud().await;
    for (bucket, region) in [(&here, REGION), (&elsewhere, ELSEWHERE)] {
        let expected = Some(Bucket { region: Some(region.parse()?) });
        assert_eq!(cloud.bucket(&desk.scope, bucket).await?, expected);
        assert_eq!(cloud.bucket(&there.scope(), bucket).await?, expected);
    }
    // How it is encrypted it says in its own region alone.
    ensure!(cloud.bucket_encryption(&there.scope(), &elsewhere).await?.is_some());
    ensure!(cloud.bucket_encryption(&desk.scope, &elsewhere).await.is_err());
    Ok(())
}

async fn what_is_not_there_to_log_to_is_none(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let cloud = desk.cloud().await;
    let bucket = named(&desk.at, "nosuch");
    assert_eq!(cloud.bucket(&desk.scope, &bucket).await?, None);
    assert_eq!(cloud.bucket_encryption(&desk.scope, &bucket).await?, None);
    assert_eq!(cloud.log_group(&desk.scope, &group()).await?, None);
    let id = "0a1b2c3d-1111-2222-3333-444455556666";
    let arn = format!("arn:aws:kms:{REGION}:{}:key/{id}", desk.at.account);
    for key in [KeyId::from(id), KeyId::from(arn)] {
        assert_eq!(cloud.key(&desk.scope, &key).await?, None);
    }
    // What was deleted is not there either.
    let bucket = named(&desk.at, "gone");
    lab.bucket(&desk.at, &bucket, None).await?;
    lab.log_group(&desk.at, GROUP, None).await?;
    ensure!(cloud.bucket(&desk.scope, &bucket).await?.is_some());
    ensure!(cloud.log_group(&desk.scope, &group()).await?.is_some());
    lab.delete_bucket(&desk.at, &bucket).await?;
    lab.delete_log_group(&desk.at, GROUP).await?;
    assert_eq!(cloud.bucket(&desk.scope, &bucket).await?, None);
    assert_eq!(cloud.log_group(&desk.scope, &group()).await?, None);
    Ok(())
}

async fn a_bucket_of_another_account_is_closed(lab: &dyn Lab) -> Result<()> {
    let (desk, other) = (Desk::set(lab).await?, lab.place().await?);
    let bucket = named(&other, "theirs");
    lab.bucket(&other, &bucket, None).await?;
    let cloud = desk.cloud().await;
    refused(FaultKind::Denied, cloud.bucket(&desk.scope, &bucket).await)?;
    refused(FaultKind::Denied, cloud.bucket_encryption(&desk.scope, &bucket).await)?;
    Ok(())
}

/// Where nobody says how, with S3's own keys: so it is since 2023.
async fn a_bucket_is_encrypted_with_what_it_says(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let cloud = desk.cloud().await;
    let [algorithm, kms] = ["AES256", "aws:kms"].map(|text| Some(text.to_owned()));
    let key = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-1111-2222-3333-444455556666";
    let by_itself = named(&desk.at, "by-itself");
    lab.bucket(&desk.at, &by_itself, None).await?;
    let found = cloud.bucket_encryption(&desk.scope, &by_itself).await?;
    assert_eq!(found, Some(BucketEncryption { algorithm, key: None }));
    let with_key = named(&desk.at, "with-key");
    lab.bucket(&desk.at, &with_key, Some(("aws:kms", Some(key)))).await?;
    let found = cloud.bucket_encryption(&desk.scope, &with_key).await?;
    assert_eq!(found, Some(BucketEncryption { algorithm: kms.clone(), key: Some(key.to_owned()) }));
    let of_aws = named(&desk.at, "of-aws");
    lab.bucket(&desk.at, &of_aws, Some(("aws:kms", None))).await?;
    let found = cloud.bucket_encryption(&desk.scope, &of_aws).await?;
    assert_eq!(found, Some(BucketEncryption { algorithm: kms, key: None }));
    Ok(())
}

async fn a_log_group_is_told_by_its_whole_name(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let key = lab.kms_key(&desk.at, KeyUse::Encrypt).await?;
    lab.log_group(&desk.at, "/ssm/sessions-2", Some(&key)).await?;
    let cloud = desk.cloud().await;
    assert_eq!(cloud.log_group(&desk.scope, &group()).await?, None, "that is another one");
    lab.log_group(&desk.at, GROUP, None).await?;
    assert_eq!(cloud.log_group(&desk.scope, &group()).await?, Some(LogGroup { kms_key: None }));
    let second = cloud.log_group(&desk.scope, &"/ssm/sessions-2".into()).await?;
    assert_eq!(second, Some(LogGroup { kms_key: Some(key) }));
    let elsewhere = desk.at.in_region(ELSEWHERE)?.scope();
    assert_eq!(cloud.log_group(&elsewhere, &group()).await?, None, "they are of a region");
    Ok(())
}

async fn a_key_says_its_state_and_kind(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let cloud = desk.cloud().await;
    let arn = lab.kms_key(&desk.at, KeyUse::Encrypt).await?;
    let id = arn.rsplit('/').next().context("no id")?.to_owned();
    let expected = |state: &str| {
        let [usage, spec] = ["ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"].map(str::to_owned);
        Some(Key { arn: arn.clone(), state: state.to_owned(), usage, spec })
    };
    for name in [&arn, &id] {
        assert_eq!(cloud.key(&desk.scope, &name.as_str().into()).await?, expected("Enabled"));
    }
    lab.disable_key(&desk.at, &id).await?;
    assert_eq!(cloud.key(&desk.scope, &id.as_str().into()).await?, expected("Disabled"));
    lab.delete_key(&desk.at, &id).await?;
    // It is not gone for a week at least.
    let going = cloud.key(&desk.scope, &id.as_str().into()).await?;
    assert_eq!(going, expected("PendingDeletion"));
    ensure!(going.is_some_and(|key| key.makes_data_keys() && !key.is_enabled()));
    let signs = lab.kms_key(&desk.at, KeyUse::Sign).await?;
    let key = cloud.key(&desk.scope, &signs.as_str().into()).await?.context("no key")?;
    ensure!(key.is_enabled() && !key.makes_data_keys(), "{key:?}");
    let elsewhere = desk.at.in_region(ELSEWHERE)?.scope();
    for name in [&arn, &id] {
        assert_eq!(cloud.key(&elsewhere, &name.as_str().into()).await?, None, "they are of a region");
    }
    Ok(())
}

async fn a_key_of_another_account_is_closed(lab: &dyn Lab) -> Result<()> {
    let (desk, other) = (Desk::set(lab).await?, lab.place().await?);
    let key = lab.kms_key(&other, KeyUse::Encrypt).await?;
    refused(FaultKind::Denied, desk.cloud().await.key(&desk.scope, &key.as_str().into()).await)?;
    Ok(())
}

const READS: [(Operation, &str); 4] = [
    (Operation::GetBucketLocation, "s3:GetBucketLocation"),
    (Operation::GetBucketEncryption, "s3:GetEncryptionConfiguration"),
    (Operation::DescribeLogGroups, "logs:DescribeLogGroups"),
    (Operation::DescribeKey, "kms:DescribeKey"),
];

/// One of the reads, of what is there.
async fn read(desk: &Desk<'_>, operation: Operation, key: &str) -> Result<(), ssm_ready_core::fault::Fault> {
    let (cloud, scope, bucket) = (desk.cloud().await, &desk.scope, named(&desk.at, "logs"));
    match operation {
        Operation::GetBucketLocation => cloud.bucket(scope, &bucket).await.map(drop),
        Operation::GetBucketEncryption => cloud.bucket_encryption(scope, &bucket).await.map(drop),
        Operation::DescribeLogGroups => cloud.log_group(scope, &group()).await.map(drop),
        _ => cloud.key(scope, &key.into()).await.map(drop),
    }
}

async fn with_targets<'a>(lab: &'a dyn Lab) -> Result<(Desk<'a>, String)> {
    let desk = Desk::set(lab).await?;
    lab.bucket(&desk.at, &named(&desk.at, "logs"), None).await?;
    lab.log_group(&desk.at, GROUP, None).await?;
    let key = lab.kms_key(&desk.at, KeyUse::Encrypt).await?;
    Ok((desk, key))
}

async fn a_denied_look_at_a_target_names_its_action(lab: &dyn Lab) -> Result<()> {
    let (desk, key) = with_targets(lab).await?;
    for (operation, action) in READS {
        read(&desk, operation, &key).await?;
        lab.weather(&desk.at, operation, Weather::Denied).await?;
        let fault = refused(FaultKind::Denied, read(&desk, operation, &key).await)?;
        ensure!(fault.operation == operation && fault.to_string().starts_with(action), "{fault}");
    }
    Ok(())
}

async fn targets_are_throttled_as_their_services_do_it(lab: &dyn Lab) -> Result<()> {
    let (desk, key) = with_targets(lab).await?;
    for (operation, _) in READS {
        lab.weather(&desk.at, operation, Weather::Throttled).await?;
        let code = refused(FaultKind::Throttled, read(&desk, operation, &key).await)?.code;
        let expected = if operation.service() == "s3" { "SlowDown" } else { "ThrottlingException" };
        assert_eq!(code, expected);
    }
    Ok(())
}

fn question(action: &str) -> Question {
    let actions = vec![action.to_owned(), "kms:Decrypt".to_owned()];
    Question { actions, resource: Some("arn:aws:s3:::logs/session.log".to_owned()), context: Vec::new() }
}

async fn with_role(lab: &dyn Lab) -> Result<Desk<'_>> {
    let desk = Desk::set(lab).await?;
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let new = NewRole {
        path: "/service-role/".to_owned(),
        trust: trust.to_owned(),
        description: "of a case".to_owned(),
        boundary: None,
        tags: Tags::new(),
    };
    desk.done(Write::Role { role: "hosts".into(), change: RoleChange::Create(Box::new(new)) }).await?;
    Ok(desk)
}

async fn what_a_role_may_do_with_a_target_is_told(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    let told = async || -> Result<Vec<(String, bool)>> {
        let cloud = desk.cloud().await;
        let answer = cloud.role_answer(&desk.scope, &"hosts".into(), &question("s3:PutObject")).await?;
        let mut all: Vec<(String, bool)> =
            answer.context("no role")?.into_iter().map(|Permission { action, allowed }| (action, allowed)).collect();
        all.sort();
        Ok(all)
    };
    let both = |decrypt, put| vec![("kms:Decrypt".to_owned(), decrypt), ("s3:PutObject".to_owned(), put)];
    assert_eq!(told().await?, both(false, false));
    let allow =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Put*","kms:*"],"Resource":"*"}]}"#;
    lab.foreign_inline(&desk.at, "hosts", "logs", allow).await?;
    assert_eq!(told().await?, both(true, true));
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}]}"#;
    lab.foreign_inline(&desk.at, "hosts", "no-keys", deny).await?;
    assert_eq!(told().await?, both(false, true));
    Ok(())
}

async fn of_a_role_that_is_not_there_nothing_is_told(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let answer = desk.cloud().await.role_answer(&desk.scope, &"nobody".into(), &question("s3:PutObject")).await?;
    assert_eq!(answer, None);
    Ok(())
}

async fn who_may_not_ask_of_a_role_is_told_nothing(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    lab.weather(&desk.at, Operation::SimulatePrincipalPolicy, Weather::Denied).await?;
    let ask = async || desk.cloud().await.role_answer(&desk.scope, &"hosts".into(), &question("s3:PutObject")).await;
    assert_eq!(ask().await?, Some(vec![]));
    // That there is a role has to be seen.
    lab.weather(&desk.at, Operation::GetRole, Weather::Denied).await?;
    let fault = refused(FaultKind::Denied, ask().await)?;
    assert_eq!(fault.operation, Operation::GetRole);
    Ok(())
}
