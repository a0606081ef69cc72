//! The one table of AWS calls: what each is for, what IAM action it needs, how old its answer may be
//! or what guards it, and which of AWS's rate limits it draws on.

use std::{fmt, time::Duration};

/// How old a fact may grow before it is read again: the worst time in which a drift of it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgeClass {
    /// The shortest `interval` of the objects of an account and region.
    Fast,
    /// An hour.
    Slow,
    /// A day.
    Rare,
    /// Read only while an object is being deleted, at each look.
    OnDemand,
}

impl AgeClass {
    /// The age at which a fact of this class is read again.
    #[must_use]
    pub fn limit(self, interval: Duration) -> Duration {
        match self {
            Self::Fast => interval,
            Self::Slow => interval.max(Duration::from_secs(3600)),
            Self::Rare => interval.max(Duration::from_secs(24 * 3600)),
            Self::OnDemand => Duration::ZERO,
        }
    }
}

/// What a call does, for the permissions that it needs and the guard that it stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Who we are.
    Identity,
    /// Reads a fact of this age class.
    Read(AgeClass),
    /// Changes AWS; the text says what has to hold first.
    Write {
        /// What has to hold before the call.
        guard: &'static str,
    },
}

/// A token bucket that AWS keeps for each account and region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// EC2 calls that change nothing: 100, then 20 a second.
    Ec2Read,
    /// EC2 calls that change something: 50, then 5 a second.
    Ec2Write,
    /// CreateVpcEndpoint: 4, then 0.3 a second.
    CreateVpcEndpoint,
    /// ModifyVpcEndpoint: 4, then 0.3 a second.
    ModifyVpcEndpoint,
    /// DeleteVpcEndpoints: 4, then 0.3 a second.
    DeleteVpcEndpoints,
    /// AuthorizeSecurityGroupIngress: 50, then 5 a second.
    AuthorizeIngress,
    /// RevokeSecurityGroupIngress: 50, then 5 a second.
    RevokeIngress,
    /// CreateTags and DeleteTags: 100, then 10 a second.
    Ec2Tags,
    /// Systems Manager publishes no rate; 3 a second is assumed.
    Ssm,
    /// IAM publishes no rate and is global; 2 a second is assumed.
    Iam,
    /// STS: 600 a second, of the caller.
    Sts,
}

impl Bucket {
    /// Tokens that the full bucket holds, and tokens added each second
    /// (EC2 API throttling, "Token bucket sizes and refill rates").
    #[must_use]
    pub fn rates(self) -> (f64, f64) {
        match self {
            Self::Ec2Read => (100.0, 20.0),
            Self::Ec2Write | Self::AuthorizeIngress | Self::RevokeIngress => (50.0, 5.0),
            Self::CreateVpcEndpoint | Self::ModifyVpcEndpoint | Self::DeleteVpcEndpoints => (4.0, 0.3),
            Self::Ec2Tags => (100.0, 10.0),
            Self::Ssm => (5.0, 3.0),
            Self::Iam => (5.0, 2.0),
            Self::Sts => (600.0, 600.0),
        }
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident { $service:literal, $purpose:expr, $bucket:ident, $why:literal })*) => {
        /// An AWS call that we make. What is not listed here cannot be made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// Every call that we make.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The operation's name in AWS's API.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The service's IAM prefix.
            #[must_use]
            pub fn service(self) -> &'static str {
                match self { $(Self::$name => $service,)* }
            }

            /// What the call is for.
            #[must_use]
            pub fn why(self) -> &'static str {
                match self { $(Self::$name => $why,)* }
            }

            /// Whether it reads or writes, and its age class or guard.
            #[must_use]
            pub fn purpose(self) -> Purpose {
                match self { $(Self::$name => $purpose,)* }
            }

            /// The rate limit it draws on.
            #[must_use]
            pub fn bucket(self) -> Bucket {
                match self { $(Self::$name => Bucket::$bucket,)* }
            }
        }
    };
}

const FAST: Purpose = Purpose::Read(AgeClass::Fast);
const SLOW: Purpose = Purpose::Read(AgeClass::Slow);
const RARE: Purpose = Purpose::Read(AgeClass::Rare);
const OURS: Purpose =
    Purpose::Write { guard: "the resource carries our cluster and owner tags, or adoption: TakeOver" };

operations! {
    /// Takes on a role.
    AssumeRole { "sts", Purpose::Identity, Sts, "to act in the account" }
    /// Says who a session is.
    GetCallerIdentity { "sts", Purpose::Identity, Sts, "to be sure of the account before anything is read or written in it" }
    /// Lists VPCs.
    DescribeVpcs { "ec2", FAST, Ec2Read, "the VPC, its owner and its CIDRs" }
    /// Lists endpoints.
    DescribeVpcEndpoints { "ec2", FAST, Ec2Read, "the endpoints, their state, subnets, groups, route tables and tags" }
    /// Lists security groups.
    DescribeSecurityGroups { "ec2", FAST, Ec2Read, "the ingress rules of the endpoints' security groups" }
    /// Lists instances.
    DescribeInstances { "ec2", FAST, Ec2Read, "instances that would lose their path when private DNS or an endpoint changes" }
    /// Lists managed nodes.
    DescribeInstanceInformation { "ssm", FAST, Ssm, "which instances are Online, and agents that still need ec2messages" }
    /// Lists subnets.
    DescribeSubnets { "ec2", SLOW, Ec2Read, "zones, free addresses and address families for the endpoints" }
    /// Lists route tables.
    DescribeRouteTables { "ec2", SLOW, Ec2Read, "the route tables that the S3 gateway endpoint serves" }
    /// Reads one attribute of one VPC.
    DescribeVpcAttribute { "ec2", SLOW, Ec2Read, "enableDnsSupport and enableDnsHostnames, one a call" }
    /// Lists what can be reached by endpoint.
    DescribeVpcEndpointServices { "ec2", RARE, Ec2Read, "the services that the region offers, their names and zones" }
    /// Lists network interfaces.
    DescribeNetworkInterfaces { "ec2", Purpose::Read(AgeClass::OnDemand), Ec2Read, "to delete the security group only after the endpoints' interfaces are gone" }
    /// Asks IAM what a role may do.
    SimulatePrincipalPolicy { "iam", RARE, Iam, "to list missing permissions before they are needed" }
    /// Makes an endpoint.
    CreateVpcEndpoint { "ec2", Purpose::Write { guard: "no endpoint of ours for the VPC and service, listed or recently made; client token" }, CreateVpcEndpoint, "an endpoint that is missing" }
    /// Changes an endpoint.
    ModifyVpcEndpoint { "ec2", OURS, ModifyVpcEndpoint, "subnets, security groups, route tables, private DNS, address type or policy of an endpoint" }
    /// Removes endpoints.
    DeleteVpcEndpoints { "ec2", OURS, DeleteVpcEndpoints, "endpoints that failed for good, or whose object is deleted" }
    /// Makes a security group.
    CreateSecurityGroup { "ec2", Purpose::Write { guard: "no group of ours for the object, listed or recently made; name derived from its UID" }, Ec2Write, "the endpoints' security group" }
    /// Adds ingress rules.
    AuthorizeSecurityGroupIngress { "ec2", OURS, AuthorizeIngress, "HTTPS from the VPC and the declared clients" }
    /// Removes ingress rules.
    RevokeSecurityGroupIngress { "ec2", OURS, RevokeIngress, "rules of ours that are no longer declared" }
    /// Removes a security group.
    DeleteSecurityGroup { "ec2", OURS, Ec2Write, "the group, after the last endpoint that used it" }
    /// Sets tags.
    CreateTags { "ec2", OURS, Ec2Tags, "declared tags, and ownership when taking over" }
    /// Removes tags.
    DeleteTags { "ec2", OURS, Ec2Tags, "the ownership of what is kept when its object is deleted" }
    /// Switches on a DNS attribute of a VPC.
    ModifyVpcAttribute { "ec2", Purpose::Write { guard: "dns.attributes: Enforce; only ever switched on" }, Ec2Write, "private DNS needs both attributes" }
}

impl Operation {
    /// The IAM action that permits the call.
    #[must_use]
    pub fn iam_action(self) -> String {
        format!("{}:{}", self.service(), self.name())
    }

    /// Whether the call changes AWS.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self.purpose(), Purpose::Write { .. })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_listed_once_and_explained() {
        let mut names: Vec<String> = Operation::ALL.iter().map(|o| o.iam_action()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Operation::ALL.len());
        assert!(Operation::ALL.iter().all(|o| !o.why().is_empty() && o.bucket().rates().1 > 0.0));
    }

    #[test]
    fn names_tell_reads_from_writes() {
        for operation in Operation::ALL {
            let reads = ["Describe", "Get", "Assume", "Simulate"].iter().any(|p| operation.name().starts_with(p));
            assert_eq!(operation.writes(), !reads, "{operation}");
        }
    }

    #[test]
    fn ages_and_rates_are_those_of_the_documents() {
        let interval = Duration::from_secs(600);
        let limits = [AgeClass::Fast, AgeClass::Slow, AgeClass::Rare, AgeClass::OnDemand].map(|c| c.limit(interval));
        assert_eq!(limits.map(|l| l.as_secs()), [600, 3_600, 86_400, 0]);
        for (bucket, rates) in [
            (Bucket::Ec2Read, (100.0, 20.0)),
            (Bucket::Ec2Write, (50.0, 5.0)),
            (Bucket::CreateVpcEndpoint, (4.0, 0.3)),
            (Bucket::ModifyVpcEndpoint, (4.0, 0.3)),
            (Bucket::DeleteVpcEndpoints, (4.0, 0.3)),
            (Bucket::AuthorizeIngress, (50.0, 5.0)),
            (Bucket::RevokeIngress, (50.0, 5.0)),
            (Bucket::Ec2Tags, (100.0, 10.0)),
            (Bucket::Ssm, (5.0, 3.0)),
            (Bucket::Iam, (5.0, 2.0)),
            (Bucket::Sts, (600.0, 600.0)),
        ] {
            assert_eq!(bucket.rates(), rates, "{bucket:?}");
        }
    }

    #[test]
    fn slower_classes_are_never_read_more_often_than_faster_ones() {
        for interval in [60, 600, 7200, 200_000].map(Duration::from_secs) {
            let limits = [AgeClass::Fast, AgeClass::Slow, AgeClass::Rare].map(|c| c.limit(interval));
            assert!(limits.is_sorted(), "{interval:?}");
        }
    }
}
