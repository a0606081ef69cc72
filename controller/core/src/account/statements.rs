//! What instances need beyond AWS's managed policies: named buckets, keys and logs, and never a wildcard for a bucket.

use std::collections::BTreeSet;

use super::{AccountPosture, OwnBucket, Purpose, RoleWish, buckets::buckets};
use crate::{
    policy::{Allow, document},
    posture::Capability,
};

/// The longest that all inline policies of a role may be together, without white space (IAM quotas).
pub(super) const LIMIT: usize = crate::iam::INLINE_POLICIES_LIMIT;

/// Why there are no statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// AWS does not publish the buckets of these regions.
    BucketsUnknown(Vec<String>),
    /// They take so many characters.
    TooLong(usize),
}

/// The inline policy of a role; none where its managed policies are enough.
pub(super) fn inline(posture: &AccountPosture, wish: &RoleWish) -> Result<Option<String>, Refusal> {
    let Purpose::Instances { capabilities, bucket_regions, own_buckets, keys, .. } = &wish.purpose else {
        return Ok(None);
    };
    let unknown: Vec<String> = bucket_regions.iter().filter(|region| buckets(region).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Err(Refusal::BucketsUnknown(unknown));
    }
    let partition = &posture.partition;
    let mut all = Vec::new();
    let mut allow = |actions: &[&str], resources: Vec<String>| {
        if !resources.is_empty() {
            all.push(Allow { actions: actions.iter().map(|a| (*a).to_owned()).collect(), resources });
        }
    };
    let of_aws = bucket_regions.iter().filter_map(|region| buckets(region)).flatten();
    allow(&["s3:GetObject"], of_aws.map(|bucket| format!("arn:{partition}:s3:::{bucket}/*")).collect());
    let objects = |pick: &dyn Fn(&OwnBucket) -> bool| -> Vec<String> {
        let named = own_buckets.iter().filter(|own| pick(own));
        named
            .map(|own| match own.prefix.trim_end_matches('/') {
                "" => format!("arn:{partition}:s3:::{}/*", own.bucket),
                prefix => format!("arn:{partition}:s3:::{}/{prefix}/*", own.bucket),
            })
            .collect()
    };
    allow(&["s3:GetObject"], objects(&|own| !own.write));
    allow(&["s3:GetObject", "s3:PutObject"], objects(&|own| own.write));
    allow(&["s3:PutObjectAcl"], objects(&|own| own.write && own.cross_account));
    allow(
        &["s3:GetEncryptionConfiguration"],
        own_buckets.iter().filter(|own| own.write).map(|own| format!("arn:{partition}:s3:::{}", own.bucket)).collect(),
    );
    let keys: Vec<String> = keys.iter().cloned().collect();
    allow(&["kms:Decrypt"], keys.clone());
    if own_buckets.iter().any(|own| own.encrypted && own.write) {
        allow(&["kms:GenerateDataKey"], keys);
    }
    if capabilities.contains(&Capability::CloudWatchLogging) {
        let groups = format!("arn:{partition}:logs:*:{}:log-group:*", posture.account);
        allow(&["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], vec![groups]);
        // It names no group (service authorization reference, CloudWatch Logs).
        allow(&["logs:DescribeLogGroups"], vec!["*".to_owned()]);
    }
    let text = document(&all);
    let length = text.as_deref().map_or(0, |text| text.chars().filter(|c| !c.is_whitespace()).count());
    if length > LIMIT { Err(Refusal::TooLong(length)) } else { Ok(text) }
}

/// The regions that a refusal names, for people.
pub(super) fn list(regions: &[String]) -> String {
    regions.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}
