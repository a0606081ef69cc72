//! What a case asks of whatever plays AWS: to set a stage, and to let time pass.

use std::{fmt::Debug, sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use ssm_ready_cloud::Cloud;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        IngressRule, Principal, RoleStep, Scope, Tags,
        audit::Selector,
        settings::{MetadataField, Setting},
    },
    ids::{
        AccountId, BucketName, EndpointId, InstanceId, PolicyArn, ProfileName, Region, RoleArn, RouteTableId, Secret,
        SecurityGroupId, SubnetId, VpcId,
    },
};

/// The region of every case, unless it says otherwise.
pub const REGION: &str = "eu-west-1";
/// Another one.
pub const ELSEWHERE: &str = "eu-central-1";
/// The external id of each place's role.
pub const EXTERNAL_ID: &str = "tenant-7f3c";

/// How long an endpoint is pending, until a case says otherwise.
pub const PENDING: Duration = Duration::from_secs(60);
/// How long it is deleting.
pub const DELETING: Duration = Duration::from_secs(120);
/// How long it is listed as deleted.
pub const LISTED: Duration = Duration::from_secs(60);

/// As whom and where a case acts.
#[derive(Debug, Clone)]
pub struct Place {
    pub account: AccountId,
    pub region: Region,
    pub role: RoleArn,
}

impl Place {
    /// The same in another region.
    pub fn in_region(&self, region: &str) -> Result<Self> {
        Ok(Self { region: region.parse()?, ..self.clone() })
    }

    /// Who acts: the place's role, with its external id.
    pub fn principal(&self) -> Principal {
        Principal {
            account: self.account.clone(),
            roles: vec![RoleStep { arn: self.role.clone(), external_id: Some(Secret::new(EXTERNAL_ID)) }],
            session_name: "conformance".to_owned(),
            duration_seconds: 3600,
            read_only: false,
        }
    }

    /// The principal in the region, with all of AWS's rates to itself.
    pub fn scope(&self) -> Scope {
        Scope { principal: self.principal(), region: self.region.clone(), api_share_percent: 100 }
    }
}

/// The address families of a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    V4,
    Both,
    V6,
}

/// How far an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    Stopped,
    Terminated,
}

/// What Systems Manager knows of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    pub ping: Ping,
    pub agent: &'static str,
}

/// When its agent was last heard of (`PingStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    Online,
    ConnectionLost,
}

impl Node {
    /// One that pings.
    pub const ONLINE: Self = Self { ping: Ping::Online, agent: "3.3.40.0" };
}

/// How AWS's answers spell the states of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Casing {
    /// As on the wire: `available`.
    Lower,
    /// As in the model: `Available`.
    Pascal,
}

/// How AWS is to behave in one account from now on.
#[derive(Debug, Clone)]
pub enum Rule {
    /// How long endpoints that change from now on are in these states; the last is deleted, but listed.
    Lives { pending: Duration, deleting: Duration, listed: Duration },
    /// New endpoints, security groups, roles and instance profiles are not found before.
    VisibleAfter(Duration),
    /// What pending endpoints of a service (its short name) end in, as AWS's model spells it.
    Outcome { service: &'static str, state: &'static str },
    /// Interface endpoints in a VPC, and gateway endpoints in a region.
    Quota { interface: usize, gateway: usize },
    /// No page of a list holds more.
    PageSize(usize),
    /// How states are spelled.
    Casing(Casing),
    /// The region of the place does not offer a service (its short name).
    Missing(&'static str),
    /// The service is in these zones of the region alone (`a`, `b`, ...).
    Zones { service: &'static str, zones: &'static [&'static str] },
    /// The region of the place does not have a setting.
    MissingSetting(Setting),
    /// How long a new version of a document takes to be active, from now on. No time, until a case says otherwise.
    DocumentTakes(Duration),
    /// How many versions a document may have.
    DocumentVersions(usize),
    /// How many managed policies a role may have.
    RolePolicies(usize),
    /// The region of the place is not enabled for the account.
    RegionDisabled,
    /// AWS counts calls, and refuses those over its rates.
    TokenBuckets,
}

/// What befalls calls of one operation in one account from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// The permission is missing.
    Denied,
    /// Too many calls.
    Throttled,
    /// AWS fails.
    ServerError,
    /// The call does not reach AWS.
    LostRequest,
    /// The call is carried out, and its answer is lost.
    LostAnswer,
    /// DeleteVpcEndpoints answers 200 and deletes nothing: everything is in `Unsuccessful`, with `InternalError`.
    Unsuccessful,
}

/// An instance to be launched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Launch<'a> {
    /// Its instance profile.
    pub profile: Option<&'a ProfileName>,
    /// Its `HttpTokens`: `optional` or `required`.
    pub tokens: Option<&'static str>,
    /// Its `HttpEndpoint`: `enabled` or `disabled`.
    pub endpoint: Option<&'static str>,
}

/// What a KMS key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// Symmetric, for encryption and decryption.
    Encrypt,
    /// Asymmetric, for signatures.
    Sign,
}

/// A trail to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewTrail<'a> {
    pub name: &'static str,
    /// The region that it is made in.
    pub home: &'static str,
    /// Whether it is of all regions.
    pub multi_region: bool,
    /// Whether it is started.
    pub logging: bool,
    /// What it is told to record, if it is.
    pub selectors: &'a [Selector],
    /// The account that makes it for the organisation, if it is of one.
    pub organisation: Option<&'a Place>,
}

/// What somebody does to the rule that reports sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleDeed<'a> {
    /// Disables it.
    Disable,
    /// Sets a target, which sends a text of its own instead of the event.
    Target { id: &'a str, arn: &'a str },
}

/// Metadata defaults that the organisation sets, and what it says to those who try to change them.
pub type Decree<'a> = (&'a [(MetadataField, &'a str)], &'a str);

/// Something that plays AWS. Every case has places of its own, so that cases do not meet.
#[async_trait]
pub trait Lab: Debug + Send + Sync {
    /// The port, as a controller finds it that has just been started: no sessions, no call counted yet.
    fn cloud(&self) -> Arc<dyn Cloud>;

    /// The port when it allows the calls that it held back, to be made after a wait.
    async fn cloud_after(&self, wait: Duration) -> Arc<dyn Cloud>;

    /// Lets time pass in all places of the case.
    async fn pass_time(&self, span: Duration) -> Result<()>;

    /// A new account in [`REGION`] with a role that the controller may take on with [`EXTERNAL_ID`].
    /// Endpoints live as the constants say.
    async fn place(&self) -> Result<Place>;

    /// One more role in a place's account that the controller, or the role `trusts`, may take on.
    async fn role(
        &self,
        at: &Place,
        name: &str,
        external_id: Option<&str>,
        trusts: Option<&RoleArn>,
    ) -> Result<RoleArn>;

    /// Sets how AWS behaves in the place's account.
    async fn rule(&self, at: &Place, rule: Rule) -> Result<()>;

    /// Sets what befalls calls, in addition to what was set before.
    async fn weather(&self, at: &Place, operation: Operation, weather: Weather) -> Result<()>;

    /// The credentials of all sessions in the account have ended, as the next call of an operation is told.
    async fn end_sessions(&self, at: &Place, operation: Operation) -> Result<()>;

    /// Ends all weather of the place's account.
    async fn clear_weather(&self, at: &Place) -> Result<()>;

    /// The names of the controller's calls that reached AWS in a session of the place's account, in order.
    async fn calls(&self, at: &Place) -> Result<Vec<String>>;

    /// A VPC with IPv4 CIDRs, an IPv6 one as well if `v6`, and both DNS attributes as `dns` says (support, hostnames).
    async fn vpc(&self, at: &Place, cidrs: &[&str], v6: bool, dns: [bool; 2]) -> Result<VpcId>;

    /// A subnet in a zone (`a`, `b`, ...). One without IPv4 takes no CIDR; IPv6 ones are of the VPC's own.
    async fn subnet(
        &self,
        at: &Place,
        vpc: &VpcId,
        zone: &str,
        cidr: &str,
        families: Families,
        tags: &Tags,
    ) -> Result<SubnetId>;

    /// Leaves so many addresses free in a subnet.
    async fn free_addresses(&self, at: &Place, subnet: &SubnetId, count: i64) -> Result<()>;

    /// A route table of a VPC, associated with subnets.
    async fn route_table(&self, at: &Place, vpc: &VpcId, subnets: &[&SubnetId], tags: &Tags) -> Result<RouteTableId>;

    /// A security group.
    async fn group(
        &self,
        at: &Place,
        vpc: &VpcId,
        name: &str,
        rules: &[IngressRule],
        tags: &Tags,
    ) -> Result<SecurityGroupId>;

    /// An instance in a subnet, with what Systems Manager knows of it.
    async fn instance(&self, at: &Place, subnet: &SubnetId, life: Life, node: Option<Node>) -> Result<InstanceId>;

    /// A node that is no EC2 instance, if there can be one.
    async fn hybrid_node(&self, at: &Place, node: Node) -> Result<()>;

    /// Associates a private hosted zone with a VPC.
    async fn hosted_zone(&self, at: &Place, vpc: &VpcId, name: &str) -> Result<()>;

    /// Shares a VPC and its subnets with another account, in the same region.
    async fn share(&self, owner: &Place, vpc: &VpcId, with: &Place) -> Result<()>;

    /// Puts an endpoint into a state (as AWS's model spells it), in which it stays for a while at least.
    async fn endpoint_state(&self, at: &Place, endpoint: &EndpointId, state: &str) -> Result<()>;

    /// Launches an instance that runs.
    async fn launch(&self, at: &Place, subnet: &SubnetId, launch: Launch<'_>) -> Result<InstanceId>;

    /// Somebody else sets a service setting.
    async fn foreign_setting(&self, at: &Place, setting: Setting, value: &str) -> Result<()>;

    /// The organisation sets the metadata defaults of the place by a declarative policy.
    async fn decree(&self, at: &Place, decree: Decree<'_>) -> Result<()>;

    /// A managed policy of the account's own, which allows something.
    async fn policy(&self, at: &Place, name: &str) -> Result<PolicyArn>;

    /// Somebody else puts an inline policy into a role.
    async fn foreign_inline(&self, at: &Place, role: &str, name: &str, text: &str) -> Result<()>;

    /// A bucket of the place's account and region, encrypted by default with an algorithm, and a key if it is given.
    async fn bucket(&self, at: &Place, name: &BucketName, by: Option<(&str, Option<&str>)>) -> Result<()>;

    /// Deletes a bucket.
    async fn delete_bucket(&self, at: &Place, name: &BucketName) -> Result<()>;

    /// A log group, encrypted with a key, by its ARN.
    async fn log_group(&self, at: &Place, name: &str, key: Option<&str>) -> Result<()>;

    /// Deletes a log group.
    async fn delete_log_group(&self, at: &Place, name: &str) -> Result<()>;

    /// A KMS key that is enabled; its ARN.
    async fn kms_key(&self, at: &Place, of: KeyUse) -> Result<String>;

    /// Disables a key, by its id.
    async fn disable_key(&self, at: &Place, id: &str) -> Result<()>;

    /// Has a key deleted some day, by its id.
    async fn delete_key(&self, at: &Place, id: &str) -> Result<()>;

    /// From now on an AWS service manages the endpoint.
    async fn requester_managed(&self, at: &Place, endpoint: &EndpointId) -> Result<()>;

    /// A topic of the account, with a policy in the place of AWS's own, if that is given, and a key.
    async fn topic(&self, at: &Place, name: &str, policy: Option<&str>, key: Option<&str>) -> Result<String>;

    /// A trail.
    async fn trail(&self, at: &Place, trail: NewTrail<'_>) -> Result<String>;

    /// Somebody does something to the rule that reports sessions.
    async fn foreign_rule(&self, at: &Place, deed: RuleDeed<'_>) -> Result<()>;
}
