//! The port to AWS: one narrow trait in our own types, its rate limiter, and the adapter to the AWS SDK.

#[cfg(feature = "aws")]
mod aws;
pub mod limit;
#[cfg(all(test, feature = "aws"))]
#[path = "../../../tests/fuzz/near.rs"]
mod near;
pub mod observe;
#[cfg(feature = "sim")]
pub mod sim;

use std::fmt::Debug;

use async_trait::async_trait;
use ssm_ready_core::{
    facts::{
        Endpoint, Identity, Instance, ManagedNode, NetworkInterface, Permission, Principal, Question, RouteTable,
        Scope, SecurityGroup, Service, Subnet, Vpc, VpcAttribute,
        audit::{AuditRule, Topic, Trail},
        iam::{AgentPermissions, Profile, Role},
        settings::{DocumentVersion, MetadataDefaults, SessionDocument, SessionDocumentInfo, Setting, SettingValue},
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    fault::Fault,
    ids::{BucketName, KeyId, LogGroupName, ProfileName, Region, RoleName, SecurityGroupId, VpcId},
    write::{Write, Written},
};

/// Whether what IAM does not simulate for us may be told by the names of policies instead: not where the next try may
/// succeed.
#[cfg(any(feature = "aws", feature = "sim"))]
fn answers_never(fault: &Fault) -> bool {
    use ssm_ready_core::fault::FaultKind;
    let kind = matches!(fault.kind, FaultKind::Denied | FaultKind::Invalid | FaultKind::Unsupported);
    !fault.of_identity() && (kind || fault.code.starts_with("PolicyEvaluation"))
}

/// Whether AWS does not tell an account of a trail that is another's, as the organisation's is: not where the next try may
/// succeed.
#[cfg(any(feature = "aws", feature = "sim"))]
fn keeps_to_itself(fault: &Fault, trail: &str, account: &ssm_ready_core::ids::AccountId) -> bool {
    use ssm_ready_core::fault::FaultKind;
    let kind =
        matches!(fault.kind, FaultKind::Denied | FaultKind::NotFound | FaultKind::Invalid | FaultKind::Unsupported);
    kind && !fault.of_identity() && trail.split(':').nth(4) != Some(account.as_str())
}

#[cfg(feature = "aws")]
pub use aws::AwsCloud;
pub use observe::{Observer, Unobserved};

/// AWS, as far as ssm-ready needs it.
///
/// Every read is complete (all pages) or a fault; no read changes anything. Before the first answer in a session the
/// adapter has made sure that the session is of `principal.account`, and never acts with the controller's own identity
/// instead. Reads wait for the rate limit; a write that would have to wait longer than a moment is refused with
/// [`ssm_ready_core::fault::HELD_BACK`] and the time to wait.
#[async_trait]
pub trait Cloud: Debug + Send + Sync + 'static {
    /// Who the principal turns out to be (AssumeRole along its roles, then GetCallerIdentity).
    async fn identity(&self, principal: &Principal, region: &Region) -> Result<Identity, Fault>;

    /// All VPCs of the region, those shared with the account included.
    async fn vpcs(&self, scope: &Scope) -> Result<Vec<Vpc>, Fault>;

    /// All endpoints of the region.
    async fn endpoints(&self, scope: &Scope) -> Result<Vec<Endpoint>, Fault>;

    /// All security groups of the region.
    async fn security_groups(&self, scope: &Scope) -> Result<Vec<SecurityGroup>, Fault>;

    /// All instances of the region that are not terminated or shutting down.
    async fn instances(&self, scope: &Scope) -> Result<Vec<Instance>, Fault>;

    /// All EC2 instances that Systems Manager knows in the region.
    async fn managed_nodes(&self, scope: &Scope) -> Result<Vec<ManagedNode>, Fault>;

    /// All subnets of the region.
    async fn subnets(&self, scope: &Scope) -> Result<Vec<Subnet>, Fault>;

    /// All route tables of the region.
    async fn route_tables(&self, scope: &Scope) -> Result<Vec<RouteTable>, Fault>;

    /// AWS's own services that can be reached by endpoint in the region.
    async fn services(&self, scope: &Scope) -> Result<Vec<Service>, Fault>;

    /// One DNS attribute of one VPC.
    async fn vpc_attribute(&self, scope: &Scope, vpc: &VpcId, attribute: VpcAttribute) -> Result<bool, Fault>;

    /// The network interfaces that carry a security group.
    async fn network_interfaces(&self, scope: &Scope, group: &SecurityGroupId) -> Result<Vec<NetworkInterface>, Fault>;

    /// A service setting; none where the region does not have it (`ServiceSettingNotFound`).
    async fn setting(&self, scope: &Scope, setting: Setting) -> Result<Option<SettingValue>, Fault>;

    /// A version of the session document; none where there is no document (`InvalidDocument`).
    async fn session_document(&self, scope: &Scope, version: DocumentVersion)
    -> Result<Option<SessionDocument>, Fault>;

    /// The versions and tags of the session document; none where there is no document.
    async fn session_document_info(&self, scope: &Scope) -> Result<Option<SessionDocumentInfo>, Fault>;

    /// The metadata defaults of the region.
    async fn metadata_defaults(&self, scope: &Scope) -> Result<MetadataDefaults, Fault>;

    /// The rule that reports sessions, with its targets and tags; none where there is none of the name
    /// (`ResourceNotFoundException`).
    async fn audit_rule(&self, scope: &Scope) -> Result<Option<AuditRule>, Fault>;

    /// All trails that the region shows: its own, those of all regions, and those of the organisation. What a trail does is
    /// [`TrailWork::Unreadable`](ssm_ready_core::facts::audit::TrailWork) where AWS does not tell this account.
    async fn trails(&self, scope: &Scope) -> Result<Vec<Trail>, Fault>;

    /// A topic, by its ARN; none where there is none (`NotFound`).
    async fn topic(&self, scope: &Scope, topic: &str) -> Result<Option<Topic>, Fault>;

    /// Where a bucket is, whoever's it is; none where there is none of the name (`NoSuchBucket`). One of another region is
    /// no fault.
    async fn bucket(&self, scope: &Scope, bucket: &BucketName) -> Result<Option<Bucket>, Fault>;

    /// How a bucket of the scope's region is encrypted; none where there is none of the name.
    async fn bucket_encryption(&self, scope: &Scope, bucket: &BucketName) -> Result<Option<BucketEncryption>, Fault>;

    /// A log group of the region; none where there is none of exactly the name.
    async fn log_group(&self, scope: &Scope, group: &LogGroupName) -> Result<Option<LogGroup>, Fault>;

    /// A KMS key of the region, by its ARN or id; none where there is none (`NotFoundException`).
    async fn key(&self, scope: &Scope, key: &KeyId) -> Result<Option<Key>, Fault>;

    /// The regions that are enabled for the account.
    async fn regions(&self, scope: &Scope) -> Result<Vec<Region>, Fault>;

    /// A role with its policies; none where there is none of the name. The scope's region only says where the session is
    /// proven.
    async fn role(&self, scope: &Scope, role: &RoleName) -> Result<Option<Role>, Fault>;

    /// An instance profile; none where there is none of the name.
    async fn profile(&self, scope: &Scope, profile: &ProfileName) -> Result<Option<Profile>, Fault>;

    /// What a role allows the agents of instances that have it, as IAM simulates it; where IAM may not be asked, or fails,
    /// what its policies tell ([`AgentPermissions::of_policies`]). None where there is no role of the name.
    async fn agent_permissions(&self, scope: &Scope, role: &RoleName) -> Result<Option<AgentPermissions>, Fault>;

    /// What IAM answers to a question about the policies of a role. What it does not tell is left out of the answer: all of
    /// it where IAM may not be asked, or fails. None where there is no role of the name.
    async fn role_answer(
        &self,
        scope: &Scope,
        role: &RoleName,
        question: &Question,
    ) -> Result<Option<Vec<Permission>>, Fault>;

    /// Whether the principal's own policies allow each of these IAM actions. What hangs on condition keys that the
    /// question does not have is left out of the answer.
    async fn permissions(
        &self,
        principal: &Principal,
        region: &Region,
        question: &Question,
    ) -> Result<Vec<Permission>, Fault>;

    /// Changes AWS. The only method that does.
    async fn write(&self, scope: &Scope, write: &Write) -> Result<Written, Fault>;
}
