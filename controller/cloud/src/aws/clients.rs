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
    iam: OnceLock<aws_sdk_iam::Client>,
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

macro_rules! client {
    ($sdk:ident, $service:literal, $self:ident, $retries:expr) => {{
        let CountRetries { account, region, .. } = &$self.count;
        let config = $sdk::config::Builder::from(&$self.config)
            .retry_config($retries)
            .retry_partition(retry_partition($service, region, account))
            .interceptor($self.count.clone())
            .build();
        $sdk::Client::from_conf(config)
    }};
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
            iam: OnceLock::new(),
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

    /// Systems Manager.
    pub(super) fn ssm(&self) -> &aws_sdk_ssm::Client {
        self.ssm.get_or_init(|| client!(aws_sdk_ssm, "ssm", self, read_retries()))
    }

    /// IAM.
    pub(super) fn iam(&self) -> &aws_sdk_iam::Client {
        self.iam.get_or_init(|| client!(aws_sdk_iam, "iam", self, read_retries()))
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
                    c.iam().config().retry_partition().unwrap().to_string(),
                ]
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 12, "{names:?}");
        assert!(names.contains(&"ec2-eu-west-1-111122223333".to_owned()), "{names:?}");
    }
}
