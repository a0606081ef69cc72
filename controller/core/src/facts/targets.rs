//! What sessions are logged to and encrypted with: buckets, log groups and keys.

use crate::ids::Region;

/// A bucket that exists (GetBucketLocation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Where it is; none: not in the region that was asked, and AWS did not say where.
    pub region: Option<Region>,
}

/// How a bucket encrypts what is written to it (GetBucketEncryption).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketEncryption {
    /// The algorithm in AWS's words, such as `AES256` or `aws:kms`; none: not at all.
    pub algorithm: Option<String>,
    /// The KMS key: its ARN, id or alias; none: AWS's own.
    pub key: Option<String>,
}

impl BucketEncryption {
    /// Whether agents take it for encrypted: they know two algorithms (amazon-ssm-agent, `s3util`).
    #[must_use]
    pub fn satisfies_agents(&self) -> bool {
        matches!(self.algorithm.as_deref(), Some("AES256" | "aws:kms"))
    }
}

/// A log group (DescribeLogGroups).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    /// The ARN of the KMS key that it is encrypted with.
    pub kms_key: Option<String>,
}

/// A KMS key (DescribeKey).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its ARN.
    pub arn: String,
    /// Its state, such as `Enabled`, `Disabled` or `PendingDeletion`.
    pub state: String,
    /// What it is for, such as `ENCRYPT_DECRYPT`.
    pub usage: String,
    /// Its kind, such as `SYMMETRIC_DEFAULT`.
    pub spec: String,
}

impl Key {
    /// Whether it can be used now.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.state == "Enabled"
    }

    /// Whether data keys can be made with it, which is how sessions are encrypted.
    #[must_use]
    pub fn makes_data_keys(&self) -> bool {
        self.usage == "ENCRYPT_DECRYPT" && self.spec == "SYMMETRIC_DEFAULT"
    }
}
