//! The resource types of ssm-ready (`ssmready.dev/v1alpha1`), and the CustomResourceDefinitions made from them.

mod account;
pub mod condition;
mod duration;
mod schema;
mod shared;
mod vpc;

pub use account::{
    Access, AccessKind, AssumeRole, AwsAccount, AwsAccountSpec, AwsAccountStatus, ChainedRole, ExternalId, Guardrails,
    NamespaceSource, Namespaces, Regions,
};
pub use duration::{GoDuration, InvalidDuration};
pub use schema::{all, yaml};
pub use shared::{Mode, NameRef, TagSelector};
pub use vpc::{
    Adoption, Capability, CreateSecurityGroup, DeletionPolicy, DeletionStatus, Dns, DnsAttributes, Drift, Ec2Messages,
    EndpointService, EndpointStatus, EndpointType, Endpoints, ExistingSecurityGroups, IpAddressType, Ownership,
    PlanStatus, PlannedAction, RouteTableChoice, RouteTableScope, RouteTables, S3, S3Type, SecurityGroup,
    SecurityGroupChoice, SecurityGroupStatus, Service, SubnetChoice, Subnets, Tag, Target, VpcPosture, VpcPostureSpec,
    VpcPostureStatus, VpcStatus,
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
