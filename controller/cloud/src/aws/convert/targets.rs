//! Buckets, log groups and keys.

use aws_sdk_cloudwatchlogs::types as logs;
use aws_sdk_kms::types as kms;
use aws_sdk_s3::operation::{
    get_bucket_encryption::GetBucketEncryptionOutput, get_bucket_location::GetBucketLocationOutput,
};
use ssm_ready_core::{
    calls::Operation,
    facts::targets::{Bucket, BucketEncryption, Key, LogGroup},
    fault::Fault,
    ids::LogGroupName,
};

use super::given;
use crate::aws::answer::unreadable;

/// A bucket that S3 says the place of; none where that is no region.
pub(in crate::aws) fn bucket(answer: &GetBucketLocationOutput) -> Option<Bucket> {
    // The names that the first two regions had (GetBucketLocation).
    let region = match answer.location_constraint().map_or("", |place| place.as_str()) {
        "" => "us-east-1",
        "EU" => "eu-west-1",
        region => region,
    };
    Some(Bucket { region: Some(region.parse().ok()?) })
}

/// What is done to objects that do not say how they are to be encrypted.
pub(in crate::aws) fn encryption(answer: &GetBucketEncryptionOutput) -> BucketEncryption {
    let rules = answer.server_side_encryption_configuration().map(|all| all.rules()).unwrap_or_default();
    let default = rules.iter().find_map(|rule| rule.apply_server_side_encryption_by_default());
    BucketEncryption {
        algorithm: default.and_then(|default| given(Some(default.sse_algorithm().as_str()))),
        key: default.and_then(|default| given(default.kms_master_key_id())),
    }
}

pub(in crate::aws) fn is_named(group: &logs::LogGroup, name: &LogGroupName) -> bool {
    group.log_group_name() == Some(name.as_str())
}

pub(in crate::aws) fn log_group(group: &logs::LogGroup) -> LogGroup {
    LogGroup { kms_key: given(group.kms_key_id()) }
}

/// A key. Without its state and kind it cannot be told whether it is of use.
pub(in crate::aws) fn key(key: &kms::KeyMetadata) -> Result<Key, Fault> {
    let needed = |field, value| given(value).ok_or_else(|| unreadable(Operation::DescribeKey, field));
    Ok(Key {
        arn: needed("Arn", key.arn())?,
        state: needed("KeyState", key.key_state().map(|state| state.as_str()))?,
        usage: needed("KeyUsage", key.key_usage().map(|usage| usage.as_str()))?,
        spec: needed("KeySpec", key.key_spec().map(|spec| spec.as_str()))?,
    })
}
