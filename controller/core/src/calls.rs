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
    /// Half an hour: IAM, which is slow to change and quick to throttle.
    Iam,
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
            Self::Iam => interval.max(Duration::from_secs(1800)),
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
    /// AssociateIamInstanceProfile: 100, then 5 a second.
    AssociateProfile,
    /// Systems Manager publishes no rate; 3 a second is assumed.
    Ssm,
    /// IAM publishes no rate and is global; 2 a second is assumed.
    Iam,
    /// EventBridge: 50 a second for most calls on rules in the smallest regions.
    Events,
    /// CloudTrail: 10 a second for each of its reads.
    CloudTrail,
    /// SNS: 30 a second for most reads; a tenth is enough.
    Sns,
    /// STS: 600 a second, of the caller.
    Sts,
    /// S3 publishes no rate for what is set once for a bucket; 5 a second is assumed.
    S3,
    /// DescribeLogGroups: 10 a second (CloudWatch Logs quotas).
    Logs,
    /// DescribeKey: 2,000 a second (KMS request quotas), which the account's own use of keys does not share.
    Kms,
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
            Self::AssociateProfile => (100.0, 5.0),
            Self::Ssm => (5.0, 3.0),
            Self::Iam => (5.0, 2.0),
            Self::Events => (10.0, 10.0),
            Self::CloudTrail => (10.0, 5.0),
            Self::Sns => (5.0, 3.0),
            Self::Sts => (600.0, 600.0),
            Self::S3 => (5.0, 5.0),
            Self::Logs => (10.0, 10.0),
            Self::Kms => (2000.0, 2000.0),
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
const IAM: Purpose = Purpose::Read(AgeClass::Iam);
const OURS: Purpose =
    Purpose::Write { guard: "the resource carries our cluster and owner tags, or adoption: TakeOver" };
const UNTAGGED: Purpose = Purpose::Write {
    guard: "the value is unset, AWS's default or what we last applied, as status noted before the call, or adoption: TakeOver",
};
const ROLE: Purpose = Purpose::Write {
    guard: "the role carries our cluster and owner tags, or ownership: TakeOver; within the guardrails",
};

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
    SimulatePrincipalPolicy { "iam", RARE, Iam, "to list missing permissions before they are needed; and, every half hour, what the roles of instances allow their agents, and that of Default Host Management with what sessions are logged to" }
    /// Reads a service setting.
    GetServiceSetting { "ssm", FAST, Ssm, "a service setting, one a call" }
    /// Reads a version of the session document.
    GetDocument { "ssm", FAST, Ssm, "the Session Manager preferences that are in use" }
    /// Reads about the session document.
    DescribeDocument { "ssm", SLOW, Ssm, "the versions and tags of the Session Manager preferences" }
    /// Reads where a bucket is.
    GetBucketLocation { "s3", SLOW, S3, "whether the bucket that sessions are logged to exists, and is in the region" }
    /// Reads how a bucket is encrypted. Its IAM action has a name of its own.
    GetBucketEncryption { "s3", SLOW, S3, "whether the bucket that sessions are logged to is encrypted" }
    /// Lists log groups.
    DescribeLogGroups { "logs", SLOW, Logs, "whether the log group that sessions are logged to exists, and is encrypted" }
    /// Reads about a KMS key.
    DescribeKey { "kms", SLOW, Kms, "whether the key that sessions are encrypted with exists, is enabled, and can encrypt" }
    /// Reads the metadata defaults.
    GetInstanceMetadataDefaults { "ec2", FAST, Ec2Read, "the metadata defaults of new instances" }
    /// Lists the regions of the account.
    DescribeRegions { "ec2", RARE, Ec2Read, "the regions in which a role that is to be deleted may be in use" }
    /// Reads a role.
    GetRole { "iam", IAM, Iam, "a role, its trust policy, boundary and tags" }
    /// Lists a role's managed policies.
    ListAttachedRolePolicies { "iam", IAM, Iam, "the managed policies of a role" }
    /// Lists a role's inline policies.
    ListRolePolicies { "iam", IAM, Iam, "the names of a role's inline policies" }
    /// Reads an inline policy.
    GetRolePolicy { "iam", IAM, Iam, "the inline policy of ours" }
    /// Reads an instance profile.
    GetInstanceProfile { "iam", IAM, Iam, "an instance profile and its role" }
    /// Reads a rule of EventBridge.
    DescribeRule { "events", SLOW, Events, "the rule that reports sessions: its pattern and state" }
    /// Lists where a rule sends its events.
    ListTargetsByRule { "events", SLOW, Events, "whether the rule sends to the topic" }
    /// Lists the tags of a rule.
    ListTagsForResource { "events", SLOW, Events, "whose the rule is" }
    /// Lists trails.
    DescribeTrails { "cloudtrail", SLOW, CloudTrail, "the trails of the region, of all regions and of the organisation" }
    /// Reads whether a trail is at work.
    GetTrailStatus { "cloudtrail", SLOW, CloudTrail, "whether a trail is logging" }
    /// Reads what a trail records.
    GetEventSelectors { "cloudtrail", SLOW, CloudTrail, "whether a trail records management events that write" }
    /// Reads a topic.
    GetTopicAttributes { "sns", SLOW, Sns, "whether the topic exists, and lets EventBridge publish" }
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
    /// Gives an instance a profile.
    AssociateIamInstanceProfile { "ec2", Purpose::Write { guard: "profileAttachment: WhenMissing; the instance runs, has no profile and matches the selector; never replaces one" }, AssociateProfile, "the declared instance profile, for instances that have none" }
    /// Sets a service setting.
    UpdateServiceSetting { "ssm", UNTAGGED, Ssm, "a service setting that is declared" }
    /// Sets a service setting back to AWS's default.
    ResetServiceSetting { "ssm", UNTAGGED, Ssm, "Default Host Management that is declared Disabled, and deletionPolicy: Reset" }
    /// Sets metadata defaults.
    ModifyInstanceMetadataDefaults { "ec2", UNTAGGED, Ec2Write, "the metadata defaults that are declared" }
    /// Makes the session document.
    CreateDocument { "ssm", Purpose::Write { guard: "there is no document of the name, which is fixed" }, Ssm, "the Session Manager preferences, where there are none" }
    /// Makes a version of the session document.
    UpdateDocument { "ssm", OURS, Ssm, "a new version of the preferences, only where something differs" }
    /// Chooses the version that is used.
    UpdateDocumentDefaultVersion { "ssm", OURS, Ssm, "to have the new version of the preferences used, or the one found first" }
    /// Removes the session document.
    DeleteDocument { "ssm", OURS, Ssm, "deletionPolicy: Reset, and RestorePrevious where there was none" }
    /// Tags the session document.
    AddTagsToResource { "ssm", OURS, Ssm, "ownership of the preferences when taking over" }
    /// Takes tags off the session document.
    RemoveTagsFromResource { "ssm", OURS, Ssm, "the ownership of preferences that are kept" }
    /// Makes a role.
    CreateRole { "iam", Purpose::Write { guard: "there is no role of the name; within the guardrails" }, Iam, "a role that is declared and missing" }
    /// Changes whom a role trusts.
    UpdateAssumeRolePolicy { "iam", ROLE, Iam, "a trust policy that is not exactly as it has to be" }
    /// Attaches a managed policy.
    AttachRolePolicy { "iam", Purpose::Write { guard: "the role is ours, or ownership: AttachOnly; the policy is AWS's own or in guardrails.managedPolicies" }, Iam, "a managed policy that the role lacks" }
    /// Detaches a managed policy.
    DetachRolePolicy { "iam", Purpose::Write { guard: "we attached it, as status tells, and it is no longer declared; or the role is ours and goes" }, Iam, "a managed policy of ours that is no longer declared" }
    /// Writes an inline policy.
    PutRolePolicy { "iam", ROLE, Iam, "the statements for buckets, keys and logs" }
    /// Removes an inline policy.
    DeleteRolePolicy { "iam", ROLE, Iam, "the inline policy of ours, when nothing needs it" }
    /// Bounds a role.
    PutRolePermissionsBoundary { "iam", ROLE, Iam, "the permissions boundary of the guardrails" }
    /// Tags a role.
    TagRole { "iam", ROLE, Iam, "declared tags, and ownership when taking over" }
    /// Takes tags off a role.
    UntagRole { "iam", ROLE, Iam, "the ownership of a role that is kept" }
    /// Removes a role.
    DeleteRole { "iam", Purpose::Write { guard: "the role is ours, deletionPolicy: Delete, and no setting or instance uses it" }, Iam, "a role whose object is deleted" }
    /// Makes an instance profile.
    CreateInstanceProfile { "iam", Purpose::Write { guard: "there is no profile of the name" }, Iam, "an instance profile that is declared and missing" }
    /// Tags an instance profile.
    TagInstanceProfile { "iam", OURS, Iam, "declared tags, and ownership when taking over" }
    /// Takes tags off an instance profile.
    UntagInstanceProfile { "iam", OURS, Iam, "the ownership of a profile that is kept" }
    /// Puts a role into an instance profile.
    AddRoleToInstanceProfile { "iam", OURS, Iam, "a profile without its role" }
    /// Takes the role out of an instance profile.
    RemoveRoleFromInstanceProfile { "iam", OURS, Iam, "a profile of ours that has another role, or goes" }
    /// Removes an instance profile.
    DeleteInstanceProfile { "iam", Purpose::Write { guard: "the profile is ours, deletionPolicy: Delete, and no instance uses it" }, Iam, "a profile whose object is deleted" }
    /// Makes or changes a rule of EventBridge.
    PutRule { "events", Purpose::Write { guard: "there is no rule of the name, which is fixed; or it carries our cluster and owner tags, or adoption: TakeOver; and the topic is there" }, Events, "the rule that reports sessions, where it is missing, or not as it has to be" }
    /// Sets where a rule sends its events.
    PutTargets { "events", OURS, Events, "the topic that is declared; targets of others stay" }
    /// Takes targets off a rule.
    RemoveTargets { "events", OURS, Events, "the target of ours, from a rule that goes" }
    /// Removes a rule.
    DeleteRule { "events", OURS, Events, "the rule, when it is no longer declared and nobody else has a target in it" }
    /// Tags a rule.
    TagResource { "events", OURS, Events, "ownership of the rule when taking over" }
    /// Takes tags off a rule.
    UntagResource { "events", OURS, Events, "the ownership of a rule that is kept" }
}

impl Operation {
    /// The IAM action that permits the call.
    #[must_use]
    pub fn iam_action(self) -> String {
        match self {
            Self::GetBucketEncryption => "s3:GetEncryptionConfiguration".to_owned(),
            _ => format!("{}:{}", self.service(), self.name()),
        }
    }

    /// Whether the call changes AWS.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self.purpose(), Purpose::Write { .. })
    }
}

impl fmt::Display for Operation {
    /// As IAM calls it: that is what has to be allowed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iam_action())
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
            let reads =
                ["Describe", "Get", "List", "Assume", "Simulate"].iter().any(|p| operation.name().starts_with(p));
            assert_eq!(operation.writes(), !reads, "{operation}");
        }
    }

    #[test]
    fn ages_and_rates_are_those_of_the_documents() {
        let interval = Duration::from_secs(600);
        let classes = [AgeClass::Fast, AgeClass::Iam, AgeClass::Slow, AgeClass::Rare, AgeClass::OnDemand];
        assert_eq!(classes.map(|c| c.limit(interval).as_secs()), [600, 1_800, 3_600, 86_400, 0]);
        for (bucket, rates) in [
            (Bucket::Ec2Read, (100.0, 20.0)),
            (Bucket::Ec2Write, (50.0, 5.0)),
            (Bucket::CreateVpcEndpoint, (4.0, 0.3)),
            (Bucket::ModifyVpcEndpoint, (4.0, 0.3)),
            (Bucket::DeleteVpcEndpoints, (4.0, 0.3)),
            (Bucket::AuthorizeIngress, (50.0, 5.0)),
            (Bucket::RevokeIngress, (50.0, 5.0)),
            (Bucket::Ec2Tags, (100.0, 10.0)),
            (Bucket::AssociateProfile, (100.0, 5.0)),
            (Bucket::Ssm, (5.0, 3.0)),
            (Bucket::Iam, (5.0, 2.0)),
            (Bucket::Events, (10.0, 10.0)),
            (Bucket::CloudTrail, (10.0, 5.0)),
            (Bucket::Sns, (5.0, 3.0)),
            (Bucket::Sts, (600.0, 600.0)),
            (Bucket::S3, (5.0, 5.0)),
            (Bucket::Logs, (10.0, 10.0)),
            (Bucket::Kms, (2000.0, 2000.0)),
        ] {
            assert_eq!(bucket.rates(), rates, "{bucket:?}");
        }
    }

    #[test]
    fn slower_classes_are_never_read_more_often_than_faster_ones() {
        for interval in [60, 600, 7200, 200_000].map(Duration::from_secs) {
            let limits = [AgeClass::Fast, AgeClass::Iam, AgeClass::Slow, AgeClass::Rare].map(|c| c.limit(interval));
            assert!(limits.is_sorted(), "{interval:?}");
        }
    }
}
