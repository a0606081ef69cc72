//! Identifiers of AWS things, parsed once at the edge.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::fault::truncate;

/// The most of a refused text that is repeated, in characters.
const MAX_REPEATED: usize = 80;

/// Why a text is not the identifier that it should be; the message says what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct ParseIdError {
    value: String,
    expected: &'static str,
}

impl ParseIdError {
    fn new(value: &str, expected: &'static str) -> Self {
        Self { value: truncate(value, MAX_REPEATED), expected }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps an identifier that AWS or the API server's schema has vouched for.
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }

            /// The identifier as AWS spells it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }
    };
}

id!(/// A VPC, `vpc-…`.
    VpcId);
id!(/// A subnet, `subnet-…`.
    SubnetId);
id!(/// A security group, `sg-…`.
    SecurityGroupId);
id!(/// A VPC endpoint, `vpce-…`.
    EndpointId);
id!(/// A route table, `rtb-…`.
    RouteTableId);
id!(/// An EC2 instance, `i-…`.
    InstanceId);
id!(/// A managed prefix list, `pl-…`.
    PrefixListId);
id!(/// An elastic network interface, `eni-…`.
    NetworkInterfaceId);
id!(/// The name of an IAM role, without its path.
    RoleName);
id!(/// The name of an instance profile, without its path.
    ProfileName);
id!(/// The ARN of a managed policy.
    PolicyArn);
id!(/// The name of a bucket of S3.
    BucketName);
id!(/// The name of a CloudWatch log group.
    LogGroupName);
id!(/// A KMS key, by its ARN or its id.
    KeyId);

/// An AWS account: twelve digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

impl AccountId {
    /// The twelve digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountId {
    type Err = ParseIdError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        if value.len() == 12 && value.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(value.to_owned()))
        } else {
            Err(ParseIdError::new(value, "an AWS account id (12 digits)"))
        }
    }
}

/// An AWS region's code, as `eu-west-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Region(String);

impl Region {
    /// The region's code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain under which the agent looks for its services in this region
    /// (amazon-ssm-agent, `endpoint.go`).
    #[must_use]
    pub fn agent_domain(&self) -> &'static str {
        const BY_PREFIX: [(&str, &str); 6] = [
            ("cn-", "amazonaws.com.cn"),
            ("us-isob-", "sc2s.sgov.gov"),
            ("us-isof-", "csp.hci.ic.gov"),
            ("us-iso-", "c2s.ic.gov"),
            ("eu-isoe-", "cloud.adc-e.uk"),
            ("eusc-de-", "amazonaws.eu"),
        ];
        BY_PREFIX.iter().find(|(prefix, _)| self.0.starts_with(prefix)).map_or("amazonaws.com", |(_, domain)| domain)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Region {
    type Err = ParseIdError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = value.split('-').collect();
        let number = parts.last().is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let words = parts.iter().rev().skip(1).all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()));
        if parts.len() >= 3 && value.len() <= 32 && number && words {
            Ok(Self(value.to_owned()))
        } else {
            Err(ParseIdError::new(value, "an AWS region such as eu-west-1"))
        }
    }
}

/// The ARN of an IAM role, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn {
    text: String,
    partition: String,
    account: AccountId,
}

impl RoleArn {
    /// The whole ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The partition, such as `aws` or `aws-cn`.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The account that owns the role.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.account
    }
}

fn is_partition(text: &str) -> bool {
    text.starts_with("aws") && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for RoleArn {
    type Err = ParseIdError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let fail = || ParseIdError::new(value, "the ARN of an IAM role (arn:aws:iam::ACCOUNT:role/NAME)");
        let parts: Vec<&str> = value.splitn(6, ':').collect();
        match parts.as_slice() {
            ["arn", partition, "iam", "", account, resource] if is_partition(partition) => {
                let name = resource.strip_prefix("role/").ok_or_else(fail)?;
                // The characters that IAM allows in paths and names.
                let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c);
                if name.is_empty() || name.ends_with('/') || !name.chars().all(fits) {
                    return Err(fail());
                }
                Ok(Self {
                    text: value.to_owned(),
                    partition: (*partition).to_owned(),
                    account: account.parse().map_err(|_| fail())?,
                })
            }
            _ => Err(fail()),
        }
    }
}

/// A text that must not reach logs, events, status or metrics.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The hidden text: for the AWS call that needs it, and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::near::near;

    #[test]
    fn accounts_have_twelve_digits() {
        for (text, good) in [
            ("111122223333", true),
            ("11112222333", false),
            ("1111222233334", false),
            ("11112222333x", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<AccountId>().is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn what_was_read_is_given_back_and_secrets_only_when_asked() {
        let arn = "arn:aws-cn:iam::111122223333:role/path/ssm-ready";
        let role: RoleArn = arn.parse().unwrap();
        assert_eq!((role.to_string().as_str(), role.as_str(), role.partition()), (arn, arn, "aws-cn"));
        assert_eq!(role.account().as_str(), "111122223333");
        let secret = Secret::new("ssmready-7f3c");
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("ssmready-7f3c", "(hidden)"));
    }

    #[test]
    fn regions_of_every_partition_parse() {
        for text in ["eu-west-1", "us-gov-west-1", "cn-north-1", "us-isob-east-1", "eusc-de-east-1", "ap-southeast-7"] {
            assert!(text.parse::<Region>().is_ok(), "{text:?}");
        }
        for text in ["", "eu", "eu-west", "eu-west-", "EU-WEST-1", "eu west 1", "eu-west-1a", "-eu-1"] {
            assert!(text.parse::<Region>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn agent_domain_follows_the_partition() {
        for (region, domain) in [
            ("eu-west-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eusc-de-east-1", "amazonaws.eu"),
        ] {
            assert_eq!(region.parse::<Region>().unwrap().agent_domain(), domain);
        }
    }

    #[test]
    fn role_arns_are_taken_apart() {
        let arn: RoleArn = "arn:aws-cn:iam::111122223333:role/platform/ssm-ready".parse().unwrap();
        assert_eq!((arn.partition(), arn.account().as_str()), ("aws-cn", "111122223333"));
        for bad in [
            "",
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::1111:role/x",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam:eu-west-1:111122223333:role/x",
            "arn:gcp:iam::111122223333:role/x",
            "arn:aws CN:iam::111122223333:role/x",
            "arn:aws:iam::111122223333:role/a b",
            "arn:aws:iam::111122223333:role/a\0b",
            "arn:aws:iam::111122223333:role/rôle",
        ] {
            assert!(bad.parse::<RoleArn>().is_err(), "{bad:?}");
        }
    }

    /// Either the text itself, or a short error that says what was expected.
    fn is_read_or_refused<T: FromStr<Err = ParseIdError> + fmt::Display>(
        text: &str,
        expected: &str,
    ) -> Result<Option<T>, TestCaseError> {
        match text.parse::<T>() {
            Ok(read) => {
                prop_assert_eq!(&read.to_string(), text);
                prop_assert!(text.is_ascii() && !text.contains(|c: char| c.is_whitespace() || c.is_control()));
                Ok(Some(read))
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.ends_with(expected), "{message}");
                // Ten is what the longest escape of a character takes.
                prop_assert!(message.chars().count() <= 10 * MAX_REPEATED + 80, "{message}");
                prop_assert!(!message.contains(char::is_control), "{message}");
                Ok(None)
            }
        }
    }

    const ACCOUNTS: &[&str] = &["111122223333", "000000000000"];
    const REGIONS: &[&str] = &["eu-west-1", "us-gov-west-1", "us-isob-east-1", "eusc-de-east-1", "mx-central-1"];
    const ROLES: &[&str] = &[
        "arn:aws:iam::111122223333:role/ssm-ready",
        "arn:aws-cn:iam::111122223333:role/platform/ssm-ready",
        "arn:aws-us-gov:iam::111122223333:role/a/b/c+d=e,f.g@h-i_j",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_account_is_read_or_refused(text in near(ACCOUNTS)) {
            is_read_or_refused::<AccountId>(&text, "(12 digits)")?;
        }

        #[test]
        fn any_region_is_read_or_refused(text in near(REGIONS)) {
            if let Some(region) = is_read_or_refused::<Region>(&text, "such as eu-west-1")? {
                prop_assert!(!region.agent_domain().is_empty() && region.as_str().len() <= 32);
            }
        }

        #[test]
        fn any_role_is_read_or_refused(text in near(ROLES)) {
            if let Some(role) = is_read_or_refused::<RoleArn>(&text, "role/NAME)")? {
                let start = format!("arn:{}:iam::{}:role/", role.partition(), role.account());
                prop_assert!(text.starts_with(&start) && text.len() > start.len(), "{text}");
                prop_assert!(role.account().as_str().parse::<AccountId>().is_ok());
            }
        }
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("tenant-7f3c")), "(hidden)");
    }
}
