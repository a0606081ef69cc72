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
    },
    fault::Fault,
    ids::{Region, SecurityGroupId, VpcId},
    write::{Write, Written},
};

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
