//! The resource types of ssm-ready (`ssmready.dev/v1alpha1`), and the CustomResourceDefinitions made from them.

mod account;
mod account_posture;
pub mod condition;
mod duration;
mod region;
mod schema;
mod shared;
mod vpc;

pub use account::{
    Access, AccessKind, AssumeRole, AwsAccount, AwsAccountSpec, AwsAccountStatus, ChainedRole, ExternalId, Guardrails,
    NamespaceSource, Namespaces, Regions, SessionShell,
};
pub use account_posture::{
    AccountDeletionPolicy, AccountPosture, AccountPostureSpec, AccountPostureStatus, AccountTarget, AwsBuckets,
    HostManagementRole, InstanceRole, OwnBucket, RoleOwnership, RoleS3, RoleStatus, S3Access,
};
pub use duration::{GoDuration, InvalidDuration};
pub use region::{
    ActivationTier, HostManagement, HttpTokens, InstanceMetadataDefaults, InstanceMetadataStatus, ParameterTier,
    RegionAdoption, RegionDeletionPolicy, RegionPosture, RegionPostureSpec, RegionPostureStatus, RegionTarget,
    RoleChoice, RoleRef, RunAs, ServiceSettings, SessionAudit, SessionAuditStatus, SessionBucket, SessionLogGroup,
    SessionPreferences, SessionPreferencesStatus, SessionTargetStatus, SettingStatus, ShellProfile, TargetEncryption,
    TargetState,
};
pub use schema::{all, yaml};
pub use shared::{
    Capability, DeletionStatus, Drift, Mode, NameRef, Ownership, PlanStatus, PlannedAction, Switch, Tag, TagSelector,
};
pub use vpc::{
    Adoption, AttachmentPolicy, CreateSecurityGroup, DeletionPolicy, Dns, DnsAttributes, Ec2Messages, EndpointService,
    EndpointStatus, EndpointType, Endpoints, ExistingSecurityGroups, InstanceLauncher, InstanceProfileStatus,
    InstanceProfileVerdict, Instances, IpAddressType, ProfileAttachment, RouteTableChoice, RouteTableScope,
    RouteTables, S3, S3Type, SecurityGroup, SecurityGroupChoice, SecurityGroupStatus, Service, SubnetChoice, Subnets,
    Target, VpcPosture, VpcPostureSpec, VpcPostureStatus, VpcStatus,
};

/// The API group of every kind.
pub const GROUP: &str = "ssmready.dev";

/// The version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Finalizer of a posture that has made something in AWS; it goes when all of that is gone or let go.
pub const FINALIZER: &str = "ssmready.dev/cleanup";

/// Finalizer of an `AwsAccount` that postures use; it goes with the last of them.
pub const IN_USE_FINALIZER: &str = "ssmready.dev/in-use";

/// Annotation: any new value makes the controller look again at once, with fresh facts.
pub const REQUESTED_AT: &str = "ssmready.dev/requestedAt";

/// Annotation: lets a posture go whose account or grant is gone, leaving behind what it made.
pub const ABANDON: &str = "ssmready.dev/abandon";

/// `status.observedGeneration` of an object that no controller has looked at yet.
pub const NEVER_OBSERVED: i64 = -1;

#[cfg(test)]
#[path = "../../tests/fuzz/documents.rs"]
mod documents;
#[cfg(test)]
#[path = "../../tests/fuzz/near.rs"]
mod near;
#[cfg(test)]
mod tests;
