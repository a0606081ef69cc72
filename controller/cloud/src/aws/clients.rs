//! The SDK's clients of one session in one region.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU8, Ordering},
};

use aws_config::SdkConfig;
use aws_sdk_ec2::config::retry::{RetryConfig, RetryPartition};
use ssm_ready_core::ids::{AccountId, Region};

use super::meter::{CountRetries, Meter};
use crate::limit::DEFAULT_SHARE_PERCENT;

/// How often the SDK tries a read. A write is tried once: its answer may be all that was lost, and only the next look
/// at AWS can tell.
const READ_ATTEMPTS: u32 = 3;

/// Clients, each made when it is first used.
#[derive(Debug)]
pub(super) struct Clients {
    config: SdkConfig,
    count: CountRetries,
    reads: OnceLock<aws_sdk_ec2::Client>,
    writes: OnceLock<aws_sdk_ec2::Client>,
    ssm: OnceLock<aws_sdk_ssm::Client>,
    ssm_writes: OnceLock<aws_sdk_ssm::Client>,
    iam: OnceLock<aws_sdk_iam::Client>,
    iam_writes: OnceLock<aws_sdk_iam::Client>,
    s3: OnceLock<aws_sdk_s3::Client>,
    logs: OnceLock<aws_sdk_cloudwatchlogs::Client>,
    kms: OnceLock<aws_sdk_kms::Client>,
    events: OnceLock<aws_sdk_eventbridge::Client>,
    events_writes: OnceLock<aws_sdk_eventbridge::Client>,
    cloudtrail: OnceLock<aws_sdk_cloudtrail::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
}

/// How the SDK tries a read.
pub(super) fn read_retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(READ_ATTEMPTS)
}

/// The retry quota of a service, region and account. By default the SDK keeps one for a service and region, so that
/// one failing account would use up everybody's retries. A custom one goes with its client; a named one stays for good.
pub(super) fn retry_partition(service: &str, region: &Region, account: &AccountId) -> RetryPartition {
    RetryPartition::custom(format!("{service}-{region}-{account}")).build()
}

macro_rules! config {
    ($sdk:ident, $service:literal, $self:ident, $retries:expr) => {{
        let CountRetries { account, region, .. } = &$self.count;
        $sdk::config::Builder::from(&$self.config)
            .retry_config($retries)
            .retry_partition(retry_partition($service, region, account))
            .interceptor($self.count.clone())
    }};
}

macro_rules! client {
    ($sdk:ident, $service:literal, $self:ident, $retries:expr) => {{ $sdk::Client::from_conf(config!($sdk, $service, $self, $retries).build()) }};
}

impl Clients {
    /// Clients whose calls are made with `config`'s credentials.
    pub(super) fn new(config: SdkConfig, meter: Arc<Meter>, account: AccountId, region: Region) -> Self {
        let share_percent = Arc::new(AtomicU8::new(DEFAULT_SHARE_PERCENT));
        Self {
            config,
            count: CountRetries { meter, account, region, share_percent },
            reads: OnceLock::new(),
            writes: OnceLock::new(),
            ssm: OnceLock::new(),
            ssm_writes: OnceLock::new(),
            iam: OnceLock::new(),
            iam_writes: OnceLock::new(),
            s3: OnceLock::new(),
            logs: OnceLock::new(),
            kms: OnceLock::new(),
            events: OnceLock::new(),
            events_writes: OnceLock::new(),
            cloudtrail: OnceLock::new(),
            sns: OnceLock::new(),
        }
    }

    /// Remembers the share of AWS's rates that the next calls were let through with.
    pub(super) fn set_share(&self, share_percent: u8) {
        self.count.share_percent.store(share_percent, Ordering::Relaxed);
    }

    /// EC2, for reads.
    pub(super) fn ec2(&self) -> &aws_sdk_ec2::Client {
        self.reads.get_or_init(|| client!(aws_sdk_ec2, "ec2", self, read_retries()))
    }

    /// EC2, for writes.
    pub(super) fn ec2_writes(&self) -> &aws_sdk_ec2::Client {
        self.writes.get_or_init(|| client!(aws_sdk_ec2, "ec2-writes", self, RetryConfig::disabled()))
    }

    /// Systems Manager, for reads.
    pub(super) fn ssm(&self) -> &aws_sdk_ssm::Client {
        self.ssm.get_or_init(|| client!(aws_sdk_ssm, "ssm", self, read_retries()))
    }

    /// Systems Manager, for writes.
    pub(super) fn ssm_writes(&self) -> &aws_sdk_ssm::Client {
        self.ssm_writes.get_or_init(|| client!(aws_sdk_ssm, "ssm-writes", self, RetryConfig::disabled()))
    }

    /// IAM, for reads.
    pub(super) fn iam(&self) -> &aws_sdk_iam::Client {
        self.iam.get_or_init(|| client!(aws_sdk_iam, "iam", self, read_retries()))
    }

    /// IAM, for writes.
    pub(super) fn iam_writes(&self) -> &aws_sdk_iam::Client {
        self.iam_writes.get_or_init(|| client!(aws_sdk_iam, "iam-writes", self, RetryConfig::disabled()))
    }

    /// S3, for reads. What stands in for AWS at a URL has no host of its own for every bucket.
    pub(super) fn s3(&self) -> &aws_sdk_s3::Client {
        self.s3.get_or_init(|| {
            let config = config!(aws_sdk_s3, "s3", self, read_retries());
            let by_path = self.config.endpoint_url().is_some();
            aws_sdk_s3::Client::from_conf(config.force_path_style(by_path).build())
        })
    }

    /// CloudWatch Logs, for reads.
    pub(super) fn logs(&self) -> &aws_sdk_cloudwatchlogs::Client {
        self.logs.get_or_init(|| client!(aws_sdk_cloudwatchlogs, "logs", self, read_retries()))
    }

    /// KMS, for reads.
    pub(super) fn kms(&self) -> &aws_sdk_kms::Client {
        self.kms.get_or_init(|| client!(aws_sdk_kms, "kms", self, read_retries()))
    }

    /// EventBridge, for reads.
    pub(super) fn events(&self) -> &aws_sdk_eventbridge::Client {
        self.events.get_or_init(|| client!(aws_sdk_eventbridge, "events", self, read_retries()))
    }

    /// EventBridge, for writes.
    pub(super) fn events_writes(&self) -> &aws_sdk_eventbridge::Client {
        self.events_writes.get_or_init(|| client!(aws_sdk_eventbridge, "events-writes", self, RetryConfig::disabled()))
    }

    /// CloudTrail, which is only read.
    pub(super) fn cloudtrail(&self) -> &aws_sdk_cloudtrail::Client {
        self.cloudtrail.get_or_init(|| client!(aws_sdk_cloudtrail, "cloudtrail", self, read_retries()))
    }

    /// SNS, which is only read.
    pub(super) fn sns(&self) -> &aws_sdk_sns::Client {
        self.sns.get_or_init(|| client!(aws_sdk_sns, "sns", self, read_retries()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::testing::{FakeAws, ok};

    #[test]
    fn accounts_do_not_share_retries() {
        let config = FakeAws::new(|_| ok("")).config();
        let clients = |account: &str, region: &str| {
            let meter = Arc::new(Meter::new(Arc::new(crate::Unobserved)));
            Clients::new(config.clone(), meter, account.parse().unwrap(), region.parse().unwrap())
        };
        let (one, other) = (clients("111122223333", "eu-west-1"), clients("444455556666", "eu-west-1"));
        let far = clients("111122223333", "eu-west-2");
        let mut names: Vec<String> = [&one, &other, &far]
            .iter()
            .flat_map(|c| {
                [
                    c.ec2().config().retry_partition().unwrap().to_string(),
                    c.ec2_writes().config().retry_partition().unwrap().to_string(),
                    c.ssm().config().retry_partition().unwrap().to_string(),
                    c.ssm_writes().config().retry_partition().unwrap().to_string(),
                    c.iam().config().retry_partition().unwrap().to_string(),
                    c.iam_writes().config().retry_partition().unwrap().to_string(),
                    c.s3().config().retry_partition().unwrap().to_string(),
                    c.logs().config().retry_partition().unwrap().to_string(),
                    c.kms().config().retry_partition().unwrap().to_string(),
                    c.events().config().retry_partition().unwrap().to_string(),
                    c.events_writes().config().retry_partition().unwrap().to_string(),
                    c.cloudtrail().config().retry_partition().unwrap().to_string(),
                    c.sns().config().retry_partition().unwrap().to_string(),
                ]
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 39, "{names:?}");
        assert!(names.contains(&"ec2-eu-west-1-111122223333".to_owned()), "{names:?}");
    }
}
