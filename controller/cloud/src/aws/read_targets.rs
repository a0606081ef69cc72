//! Reads of what sessions are logged to and encrypted with: buckets, log groups and keys.

use std::error::Error;

use aws_sdk_cloudwatchlogs::operation::describe_log_groups::DescribeLogGroupsOutput;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Permission, Question,
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    fault::Fault,
    ids::{BucketName, KeyId, LogGroupName, Region, RoleName},
};

use super::{
    answer::{none_if, unreadable},
    client::{At, AwsCloud},
    convert::targets as convert,
    read_iam::NO_ENTITY,
};
use crate::answers_never;

/// There is no bucket of the name.
const NO_BUCKET: &[&str] = &["NoSuchBucket"];
/// There is no such key.
const NO_KEY: &[&str] = &["NotFoundException"];
/// The bucket is there, and its default encryption is not set: as those were that are older than 2023.
const NOT_ENCRYPTED: &[&str] = &["ServerSideEncryptionConfigurationNotFoundError"];
/// How S3 says that a bucket is in another region than the one that was asked (S3, "Error responses").
const ELSEWHERE: &[&str] = &["PermanentRedirect", "IllegalLocationConstraintException", "AuthorizationHeaderMalformed"];
/// The header in which S3 says where it is.
const BUCKET_REGION: &str = "x-amz-bucket-region";
/// The most log groups of a page (DescribeLogGroups).
const GROUPS_PAGE: i32 = 50;

/// A bucket in another region, as S3's refusal tells: by its code alone, or for what may be another trouble as well, with
/// the region.
fn elsewhere<E: ProvideErrorMetadata + Error>(error: &SdkError<E, HttpResponse>, asked: &Region) -> Option<Bucket> {
    let code = error.code().filter(|code| ELSEWHERE.contains(code))?;
    let told = error.raw_response().and_then(|answer| answer.headers().get(BUCKET_REGION));
    let region: Option<Region> = told.and_then(|region| region.parse().ok());
    let another = match &region {
        Some(region) => region != asked,
        None => code == "PermanentRedirect",
    };
    another.then_some(Bucket { region })
}

impl AwsCloud {
    pub(super) async fn read_bucket(&self, at: At<'_>, name: &BucketName) -> Result<Option<Bucket>, Fault> {
        let operation = Operation::GetBucketLocation;
        let answer = self
            .call(at, operation, |clients| async move {
                match clients.s3().get_bucket_location().bucket(name.as_str()).send().await {
                    Ok(answer) => Ok(convert::bucket(&answer)),
                    Err(error) => elsewhere(&error, at.region).map(Some).ok_or(error),
                }
            })
            .await;
        match none_if(answer, NO_BUCKET)? {
            None => Ok(None),
            Some(Some(bucket)) => Ok(Some(bucket)),
            Some(None) => Err(unreadable(operation, "a LocationConstraint that is a region")),
        }
    }

    pub(super) async fn read_bucket_encryption(
        &self,
        at: At<'_>,
        name: &BucketName,
    ) -> Result<Option<BucketEncryption>, Fault> {
        let answer = self
            .call(at, Operation::GetBucketEncryption, |clients| {
                clients.s3().get_bucket_encryption().bucket(name.as_str()).send()
            })
            .await;
        match none_if(answer, NO_BUCKET) {
            Err(fault) if NOT_ENCRYPTED.contains(&fault.code.as_str()) => Ok(Some(BucketEncryption::default())),
            answer => Ok(answer?.map(|answer| convert::encryption(&answer))),
        }
    }

    pub(super) async fn read_log_group(&self, at: At<'_>, name: &LogGroupName) -> Result<Option<LogGroup>, Fault> {
        let found = self
            .pages(
                at,
                Operation::DescribeLogGroups,
                |clients, token| {
                    clients
                        .logs()
                        .describe_log_groups()
                        .log_group_name_prefix(name.as_str())
                        .limit(GROUPS_PAGE)
                        .set_next_token(token)
                        .send()
                },
                |page: DescribeLogGroupsOutput| {
                    let of_name = |group: &&_| convert::is_named(group, name);
                    let found: Vec<LogGroup> =
                        page.log_groups().iter().find(of_name).map(convert::log_group).into_iter().collect();
                    // There is no other of the name.
                    let next = page.next_token.filter(|_| found.is_empty());
                    (found, next)
                },
            )
            .await?;
        Ok(found.into_iter().next())
    }

    pub(super) async fn read_key(&self, at: At<'_>, key: &KeyId) -> Result<Option<Key>, Fault> {
        let operation = Operation::DescribeKey;
        let answer = self.call(at, operation, |clients| clients.kms().describe_key().key_id(key.as_str()).send()).await;
        let Some(answer) = none_if(answer, NO_KEY)? else { return Ok(None) };
        convert::key(answer.key_metadata().ok_or_else(|| unreadable(operation, "KeyMetadata"))?).map(Some)
    }

    /// What IAM answers about a role; nothing where it may not be asked.
    pub(super) async fn read_role_answer(
        &self,
        at: At<'_>,
        name: &RoleName,
        question: &Question,
    ) -> Result<Option<Vec<Permission>>, Fault> {
        let Some(role) = self.read_bare_role(at, name).await? else { return Ok(None) };
        match none_if(self.simulate(at, &role.arn, question).await, NO_ENTITY) {
            Err(fault) if answers_never(&fault) => Ok(Some(Vec::new())),
            answer => answer,
        }
    }
}
