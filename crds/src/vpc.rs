//! `VpcPosture`: what Systems Manager needs of one VPC.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::{
    Capability, DeletionStatus, Drift, GoDuration, Mode, NEVER_OBSERVED, NameRef, Ownership, PlanStatus, Tag,
    TagSelector,
    duration::duration_rule,
    schema::{self, rule},
    shared::{default_capabilities, default_interval, interval_rule, never_observed},
};

const DESCRIPTION: &str = "One VPC that is to be ready for AWS Systems Manager: its interface endpoints, their \
    security group, the S3 endpoint and its routes, and DNS. With a target alone it makes what SessionManager and \
    Patching need.";

const SUBNET_ID: &str = "^subnet-([0-9a-f]{8}|[0-9a-f]{17})$";
const SECURITY_GROUP_ID: &str = "^sg-([0-9a-f]{8}|[0-9a-f]{17})$";
const PREFIX_LIST_ID: &str = "^pl-([0-9a-f]{8}|[0-9a-f]{17})$";
const ROUTE_TABLE_ID: &str = "^rtb-([0-9a-f]{8}|[0-9a-f]{17})$";
const VPC_ID: &str = "^vpc-([0-9a-f]{8}|[0-9a-f]{17})$";
const CIDR: &str = "^[0-9a-f.:]+/[0-9]{1,3}$";

/// What a user declares of a VPC.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ssmready.dev",
    version = "v1alpha1",
    kind = "VpcPosture",
    plural = "vpcpostures",
    shortname = "vpcp",
    category = "ssmready",
    namespaced,
    status = "VpcPostureStatus",
    schema = "manual",
    derive = "PartialEq",
    selectable = ".spec.target.accountRef.name",
    selectable = ".spec.target.region",
    selectable = ".spec.target.vpcId",
    printcolumn = r#"{"name": "Account", "type": "string", "jsonPath": ".spec.target.accountRef.name"}"#,
    printcolumn = r#"{"name": "Region", "type": "string", "jsonPath": ".spec.target.region"}"#,
    printcolumn = r#"{"name": "VPC", "type": "string", "jsonPath": ".spec.target.vpcId"}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Compliant", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Compliant\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VpcPostureSpec {
    /// The VPC. Immutable as a whole. Of several postures for one VPC, anywhere in the cluster, the oldest works; the
    /// others are Stalled until it goes.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self == oldSelf", "target cannot be changed; make a new VpcPosture for another VPC and delete this one"),
    ]))]
    pub target: Target,

    /// Whether AWS is only looked at or also changed. Default Enforce. It cannot exceed the maxMode of the account's
    /// access entry.
    #[serde(default)]
    pub mode: Mode,

    /// How often AWS is compared with this posture, as a duration such as 10m or 1h30m. 1m to 24h, default 10m. A
    /// change of the spec is acted upon at once.
    #[serde(default = "default_interval")]
    #[schemars(extend("x-kubernetes-validations" = [
        interval_rule(),
    ]))]
    pub interval: GoDuration,

    /// Stops all work on this posture: AWS is neither read nor changed for it, drift stays, and what was last reported
    /// stays. Default false. Leave it out of Git, so that setting it by hand is not undone.
    #[serde(default)]
    pub suspend: bool,

    /// What is wanted from Systems Manager; the endpoints follow from it. ssm and ssmmessages are always there. Default
    /// SessionManager and Patching. At most 16.
    #[serde(default = "default_capabilities")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub capabilities: Vec<Capability>,

    /// The VPC's endpoints, and all that belongs to them.
    #[serde(default)]
    pub endpoints: Endpoints,

    /// DNS in the VPC, which private DNS names of endpoints depend on.
    #[serde(default)]
    pub dns: Dns,

    /// The VPC's instances: whether they can be managed with the instance profiles that they have, as the condition
    /// InstanceProfilesReady tells, and giving one to those that have none. Absent: nothing is read for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Instances>,
}

impl VpcPostureSpec {
    /// The posture of a VPC with everything else at its default.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            mode: Mode::default(),
            interval: default_interval(),
            suspend: false,
            capabilities: default_capabilities(),
            endpoints: Endpoints::default(),
            dns: Dns::default(),
            instances: None,
        }
    }
}

/// One VPC of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The AwsAccount that the VPC is in. Its access must admit this namespace. For a shared VPC: the account that owns
    /// it.
    pub account_ref: NameRef,
    /// Region of the VPC, such as eu-west-1.
    #[schemars(length(max = 32), regex(pattern = schema::REGION))]
    pub region: String,
    /// Id of the VPC, such as vpc-0a1b2c3d4e5f60718.
    #[schemars(length(max = 21), regex(pattern = VPC_ID))]
    pub vpc_id: String,
}

/// The endpoints of a VPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "self.ec2messages != 'Never' || !has(self.services) || self.services.all(s, s.service != 'ec2messages')",
        "services lists ec2messages, yet ec2messages is Never; remove the entry, or set ec2messages to Auto or Always",
    ),
]))]
pub struct Endpoints {
    /// The interface endpoints, by service, each with settings of its own where given. A list names the whole set,
    /// besides ssm and ssmmessages, which are always there; ec2messages: Auto or Always can still add that one. Absent
    /// or empty: the set follows from capabilities. At most 16. The S3 endpoint is not among them; it is set in s3.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"])
    )]
    pub services: Vec<EndpointService>,

    /// Whether there is an ec2messages endpoint, which only agents older than 3.3.40.0 need. Default Auto.
    pub ec2messages: Ec2Messages,

    /// Subnets of the interface endpoints. Absent: one in each zone that the service supports, that with the most free
    /// addresses. Once chosen it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnets: Option<Subnets>,

    /// Security group of the interface endpoints: one that is made, or some that exist. Absent: one is made that admits
    /// port 443 from every CIDR of the VPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_group: Option<SecurityGroup>,

    /// IP address type of the interface endpoints. Default ipv4. The subnets must have addresses of that type.
    pub ip_address_type: IpAddressType,

    /// The S3 endpoint, for capabilities that need S3.
    pub s3: S3,

    /// AWS tags put on everything that this posture makes, by key, beside the tags that mark it as ours. At most 40.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 40),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub tags: Vec<Tag>,

    /// What happens with an endpoint of a needed service that somebody else made. Default UseExisting.
    pub adoption: Adoption,

    /// What happens to the endpoints made by this posture when it is deleted, or no longer asks for them. Default
    /// DeleteWhenUnused.
    pub deletion_policy: DeletionPolicy,

    /// With deletionPolicy DeleteWhenUnused: for how long nothing must have depended on an endpoint before it is
    /// deleted, as a duration such as 24h. At most 720h, default 24h.
    #[schemars(extend("x-kubernetes-validations" = [
        duration_rule("duration(self) <= duration('720h')", "unusedFor must be at most 720h"),
    ]))]
    pub unused_for: GoDuration,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            ec2messages: Ec2Messages::default(),
            subnets: None,
            security_group: None,
            ip_address_type: IpAddressType::default(),
            s3: S3::default(),
            tags: Vec::new(),
            adoption: Adoption::default(),
            deletion_policy: DeletionPolicy::default(),
            unused_for: GoDuration::from_hours(24),
        }
    }
}

/// One interface endpoint, with what differs from the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointService {
    /// The service, by the last part of its endpoint's name.
    pub service: Service,

    /// Subnets of this endpoint, instead of endpoints.subnets as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnets: Option<Subnets>,

    /// IP address type of this endpoint. Absent: endpoints.ipAddressType.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address_type: Option<IpAddressType>,
}

/// A service that is reached by an interface endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Systems Manager; always there.
    Ssm,
    /// Messages to and from the agent; always there.
    Ssmmessages,
    /// Messages of agents older than 3.3.40.0.
    Ec2messages,
    /// Key Management Service.
    Kms,
    /// CloudWatch Logs.
    Logs,
    /// The EC2 API.
    Ec2,
    /// CloudWatch metrics.
    Monitoring,
}

impl Service {
    /// As the endpoint's name ends.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::Ssmmessages => "ssmmessages",
            Self::Ec2messages => "ec2messages",
            Self::Kms => "kms",
            Self::Logs => "logs",
            Self::Ec2 => "ec2",
            Self::Monitoring => "monitoring",
        }
    }
}

/// When there is an ec2messages endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Ec2Messages {
    /// It is added where an agent that needs it is seen and the region offers it, and is never removed.
    #[default]
    Auto,
    /// It is always there; a region that does not offer it is reported.
    Always,
    /// It is not wanted; services must not list it.
    Never,
}

/// Subnets, by their ids or by their tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "!has(self.ids) || (!has(self.minZones) && !has(self.maxZones) && !has(self.selector))",
        "ids names the subnets outright; remove ids, or remove minZones, maxZones and selector",
    ),
    rule(
        "!has(self.minZones) || !has(self.maxZones) || self.minZones <= self.maxZones",
        "minZones must not exceed maxZones",
    ),
]))]
pub struct Subnets {
    /// Number of zones at least. 1 to 16. Fewer than that is a failed check. Absent: one zone is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub min_zones: Option<i32>,

    /// Number of zones at most. 1 to 16. Absent: every zone that the service supports. Each zone of each endpoint
    /// costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub max_zones: Option<i32>,

    /// Tags of the subnets to choose from: each key must be there, with one of its values. At most 16 keys. Absent: all
    /// subnets of the VPC.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub selector: Vec<TagSelector>,

    /// Ids of the subnets, at most one in a zone; instead of the other fields. 1 to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 24), regex(pattern = SUBNET_ID)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub ids: Vec<String>,
}

/// What [`Subnets`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubnetChoice<'a> {
    /// Exactly these.
    Ids(&'a [String]),
    /// Chosen from those that match all selectors; none given: from all.
    Zones {
        /// At least so many zones.
        min: i32,
        /// At most so many zones.
        max: Option<i32>,
        /// Tags of the subnets to choose from.
        selector: &'a [TagSelector],
    },
}

impl Subnets {
    /// The one of its two forms that is meant.
    pub fn choice(&self) -> SubnetChoice<'_> {
        if self.ids.is_empty() {
            SubnetChoice::Zones { min: self.min_zones.unwrap_or(1), max: self.max_zones, selector: &self.selector }
        } else {
            SubnetChoice::Ids(&self.ids)
        }
    }
}

/// Security groups of the interface endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.create) != has(self.existing)", "give exactly one of create and existing"),
]))]
pub struct SecurityGroup {
    /// One security group is made for this posture, and kept to these rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<CreateSecurityGroup>,
    /// Existing security groups are used. They are checked and never changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingSecurityGroups>,
}

/// What [`SecurityGroup`] means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityGroupChoice<'a> {
    /// One is made with these rules.
    Create(Cow<'a, CreateSecurityGroup>),
    /// These are used.
    Existing(&'a [String]),
}

impl Endpoints {
    /// The one of the two forms of `securityGroup` that is meant; absent, one is made with the default rules.
    pub fn security_group(&self) -> SecurityGroupChoice<'_> {
        match &self.security_group {
            Some(SecurityGroup { existing: Some(existing), .. }) => SecurityGroupChoice::Existing(&existing.ids),
            Some(SecurityGroup { create: Some(create), .. }) => SecurityGroupChoice::Create(Cow::Borrowed(create)),
            _ => SecurityGroupChoice::Create(Cow::Owned(CreateSecurityGroup::default())),
        }
    }
}

/// Who the security group that is made admits, on port 443.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "self.allVpcCidrs || has(self.clientCidrs) || has(self.clientSecurityGroups) || has(self.clientPrefixLists)",
        "nobody could reach the endpoints; set allVpcCidrs to true, or name clients",
    ),
]))]
pub struct CreateSecurityGroup {
    /// Admits port 443 from every CIDR of the VPC, IPv4 and IPv6, those added later too. Default true. While any is not
    /// admitted, private DNS stays off, as it would cut these addresses off from the service.
    pub all_vpc_cidrs: bool,

    /// Further CIDRs that port 443 is admitted from, such as 100.64.0.0/16, in lower case and without host bits. 1 to
    /// 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 50),
        inner(length(max = 43), regex(pattern = CIDR)),
        extend(
            "x-kubernetes-list-type" = "set",
            "x-kubernetes-validations" = [
                rule(
                    "self.all(c, isCIDR(c) && cidr(c) == cidr(c).masked())",
                    "each of clientCidrs must be an IPv4 or IPv6 CIDR without host bits, such as 100.64.0.0/16",
                ),
            ]
        )
    )]
    pub client_cidrs: Vec<String>,

    /// Security groups whose members port 443 is admitted from. 1 to 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 50),
        inner(length(max = 20), regex(pattern = SECURITY_GROUP_ID)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub client_security_groups: Vec<String>,

    /// Prefix lists that port 443 is admitted from. 1 to 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 20),
        inner(length(max = 20), regex(pattern = PREFIX_LIST_ID)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub client_prefix_lists: Vec<String>,
}

impl Default for CreateSecurityGroup {
    fn default() -> Self {
        Self {
            all_vpc_cidrs: true,
            client_cidrs: Vec::new(),
            client_security_groups: Vec::new(),
            client_prefix_lists: Vec::new(),
        }
    }
}

/// Security groups that exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExistingSecurityGroups {
    /// Ids of the security groups, of this VPC. 1 to 5.
    #[schemars(
        length(min = 1, max = 5),
        inner(length(max = 20), regex(pattern = SECURITY_GROUP_ID)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub ids: Vec<String>,
}

/// IP address type of an endpoint, as AWS spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IpAddressType {
    /// IPv4 addresses.
    #[default]
    Ipv4,
    /// IPv4 and IPv6 addresses.
    Dualstack,
    /// IPv6 addresses.
    Ipv6,
}

impl IpAddressType {
    /// As AWS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// The S3 endpoint of a VPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "!has(self.routeTables) || self.type == 'Gateway'",
        "routeTables belongs to type: Gateway; remove routeTables, or set type to Gateway",
    ),
]))]
pub struct S3 {
    /// Kind of the S3 endpoint. Default Gateway.
    #[serde(rename = "type")]
    pub type_: S3Type,

    /// Route tables that the gateway endpoint is put into. Absent: those of the subnets with instances; where there is
    /// no instance, those of the endpoints' subnets. A table once added stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_tables: Option<RouteTables>,
}

impl S3 {
    /// The one of the forms of `routeTables` that is meant; absent, those of the instances.
    pub fn route_tables(&self) -> RouteTableChoice<'_> {
        match &self.route_tables {
            Some(RouteTables { ids, .. }) if !ids.is_empty() => RouteTableChoice::Ids(ids),
            Some(RouteTables { selector, .. }) if !selector.is_empty() => RouteTableChoice::Selector(selector),
            Some(RouteTables { of: Some(RouteTableScope::All), .. }) => RouteTableChoice::All,
            _ => RouteTableChoice::Instances,
        }
    }
}

/// Kind of the S3 endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum S3Type {
    /// A gateway endpoint, which is free and works by routes.
    #[default]
    Gateway,
    /// An interface endpoint, which costs as the others do.
    Interface,
    /// None is made; instances reach S3 by another way.
    None,
}

/// Route tables, by what they serve, by their ids, or by their tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "[has(self.of), has(self.ids), has(self.selector)].filter(given, given).size() == 1",
        "give exactly one of of, ids and selector",
    ),
]))]
pub struct RouteTables {
    /// Which subnets' route tables are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<RouteTableScope>,

    /// Ids of the route tables. 1 to 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 21), regex(pattern = ROUTE_TABLE_ID)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub ids: Vec<String>,

    /// Tags of the route tables: each key must be there, with one of its values. 1 to 16 keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub selector: Vec<TagSelector>,
}

/// Which subnets' route tables are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RouteTableScope {
    /// Of the subnets with instances; where there is none, of the endpoints' subnets.
    Instances,
    /// All of the VPC.
    All,
}

/// What [`RouteTables`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTableChoice<'a> {
    /// Those of the subnets with instances; where there is none, of the endpoints' subnets.
    Instances,
    /// All of the VPC.
    All,
    /// Exactly these.
    Ids(&'a [String]),
    /// Those that match all of these.
    Selector(&'a [TagSelector]),
}

/// What happens with what somebody else made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Adoption {
    /// It is used and checked, never changed or deleted.
    #[default]
    UseExisting,
    /// It becomes ours: it is tagged, changed to what is declared, and deleted as if we had made it.
    TakeOver,
    /// It is not used; where it stands in the way, that is reported.
    Never,
}

/// What happens to endpoints that are not wanted any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// ssm, ssmmessages and ec2messages endpoints are deleted once no instance has depended on them for unusedFor;
    /// other endpoints serve more than Systems Manager, and stay.
    #[default]
    DeleteWhenUnused,
    /// All are deleted at once, used or not.
    Delete,
    /// All stay, and lose the tag that marks them as this posture's.
    Retain,
}

/// DNS in a VPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Dns {
    /// What happens when enableDnsSupport or enableDnsHostnames of the VPC is off. Default Enforce. They are only ever
    /// switched on, and stay on when the posture is deleted.
    pub attributes: DnsAttributes,
}

/// What happens when a DNS attribute of the VPC is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DnsAttributes {
    /// It is switched on.
    #[default]
    Enforce,
    /// It is reported.
    Report,
}

/// What is wanted of the instances of a VPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Instances {
    /// Giving an instance profile to instances that have none. One that an instance has is never replaced or removed.
    pub profile_attachment: ProfileAttachment,
}

/// Giving an instance profile to instances that have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "!has(self.policy) || self.policy == 'Never' || (has(self.accountPostureRef) && has(self.profile) && has(self.selector))",
        "with policy: WhenMissing, accountPostureRef, profile and selector are needed",
    ),
]))]
pub struct ProfileAttachment {
    /// Whether instances are given a profile. Default Never.
    pub policy: AttachmentPolicy,

    /// The AccountPosture of this namespace that declares the profile. Its target must be the same account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_posture_ref: Option<NameRef>,

    /// Name of an entry of instanceRoles in that AccountPosture, whose instance profile is given. Before any instance gets
    /// it, it must hold its role, and the role must allow all that agents need. 1 to 63 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::LABEL))]
    pub profile: Option<String>,

    /// Tags of the instances that get the profile: each key must be there, with one of its values. 1 to 16 keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub selector: Vec<TagSelector>,

    /// Instances that an Auto Scaling group, EKS or Elastic Beanstalk made, as their tags tell, are left out unless it is
    /// named here: they get their profile from there, and what replaces them would not have this one. Nodes of EKS and
    /// Beanstalk are in Auto Scaling groups too, and count as EKS's and Beanstalk's. At most 3.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub include: Vec<InstanceLauncher>,

    /// Number of instances that get the profile at one pass, at most. 1 to 50, default 5.
    #[schemars(range(min = 1, max = 50))]
    pub max_per_pass: i32,
}

impl Default for ProfileAttachment {
    fn default() -> Self {
        Self {
            policy: AttachmentPolicy::default(),
            account_posture_ref: None,
            profile: None,
            selector: Vec::new(),
            include: Vec::new(),
            max_per_pass: 5,
        }
    }
}

/// Whether instances are given an instance profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AttachmentPolicy {
    /// They are not.
    #[default]
    Never,
    /// Running instances without one are. They leave Default Host Management, where that is on.
    WhenMissing,
}

/// What made an instance, and gives it a profile where one is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InstanceLauncher {
    /// An Auto Scaling group: the tag aws:autoscaling:groupName.
    AutoScaling,
    /// EKS: the tags eks:cluster-name, aws:eks:cluster-name, or one that begins with kubernetes.io/cluster/.
    #[serde(rename = "EKS")]
    Eks,
    /// Elastic Beanstalk: the tag elasticbeanstalk:environment-name.
    Beanstalk,
}

/// What the controller saw of a VPC, and did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VpcPostureStatus {
    /// Generation of the spec that this status is about; -1 until the controller has looked.
    #[serde(default = "never_observed")]
    #[schemars(range(min = -1))]
    pub observed_generation: i64,

    /// How things stand, by type: Ready (the work for this generation is done), Compliant (AWS matches the posture),
    /// and one for each thing checked: AccountReady, EndpointsReady, SecurityGroupReady, DnsReady, RoutesReady and
    /// PolicyReady, and InstanceProfilesReady, which holds nothing up; Reconciling, Stalled and Suspended only while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Number of the AWS account that was worked in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub account_id: Option<String>,

    /// The VPC as last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<VpcStatus>,

    /// The endpoints as last read, by service. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"])
    )]
    pub endpoints: Vec<EndpointStatus>,

    /// The security group that was made for the endpoints, or is used by them, as last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_group: Option<SecurityGroupStatus>,

    /// The instance profiles of running instances as last read, by ARN: those of most instances, and none for instances
    /// without one. At most 51. Absent without spec.instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 51),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["profile"])
    )]
    pub profiles: Vec<InstanceProfileStatus>,

    /// What is to be done in AWS. Absent while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,

    /// The last 10 differences that were found between AWS and the posture after it had held, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub drift: Vec<Drift>,

    /// How the deletion of endpoints stands. Absent while none is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionStatus>,

    /// The value of the annotation ssmready.dev/requestedAt that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_requested_at: Option<String>,

    /// Hash of the spec, without suspend, that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub observed_spec_hash: Option<String>,
}

impl Default for VpcPostureStatus {
    fn default() -> Self {
        Self {
            observed_generation: NEVER_OBSERVED,
            conditions: Vec::new(),
            account_id: None,
            vpc: None,
            endpoints: Vec::new(),
            security_group: None,
            profiles: Vec::new(),
            plan: None,
            drift: Vec::new(),
            deletion: None,
            last_handled_requested_at: None,
            observed_spec_hash: None,
        }
    }
}

/// A VPC as last read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct VpcStatus {
    /// Number of the AWS account that owns the VPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub owner_id: Option<String>,

    /// CIDRs of the VPC, IPv4 and IPv6, secondary ones too. At most 64, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 43)), extend("x-kubernetes-list-type" = "set"))]
    pub cidrs: Vec<String>,

    /// Attribute enableDnsSupport. Absent: not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_support: Option<bool>,

    /// Attribute enableDnsHostnames. Absent: not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_hostnames: Option<bool>,

    /// Attributes of the VPC that this posture switched on: enableDnsSupport, enableDnsHostnames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub enabled_by_us: Vec<String>,
}

/// An endpoint as last read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// The service, such as ssm or s3.
    #[schemars(length(min = 1, max = 32))]
    pub service: String,

    /// The service's name at AWS, such as com.amazonaws.eu-west-1.ssm.
    #[schemars(length(max = 256))]
    pub service_name: String,

    /// Type of the endpoint.
    #[serde(rename = "type")]
    pub type_: EndpointType,

    /// Id of the endpoint. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub endpoint_id: Option<String>,

    /// State of the endpoint as AWS reports it, such as available or pending. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub state: Option<String>,

    /// Whose the endpoint is.
    pub ownership: Ownership,

    /// Ids of the subnets chosen for the endpoint, which stay chosen while they fit; zones says where it is. At most 32,
    /// sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 32)), extend("x-kubernetes-list-type" = "set"))]
    pub subnet_ids: Vec<String>,

    /// Ids of the zones of these subnets, such as euw1-az1. At most 32, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 32)), extend("x-kubernetes-list-type" = "set"))]
    pub zones: Vec<String>,

    /// Ids of the route tables chosen for a gateway endpoint, which stay chosen while they exist. At most 256, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 32)), extend("x-kubernetes-list-type" = "set"))]
    pub route_table_ids: Vec<String>,

    /// Whether private DNS is on, so that the service's usual name leads to this endpoint in the whole VPC. Absent for
    /// a gateway endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_dns: Option<bool>,

    /// How often creation was begun anew because AWS knew the client token but no endpoint was found; part of the next
    /// token.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attempts: i64,
}

/// Type of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EndpointType {
    /// Network interfaces in subnets.
    Interface,
    /// Routes in route tables.
    Gateway,
}

/// The endpoints' security group as last read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SecurityGroupStatus {
    /// Id of the security group. Absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub id: Option<String>,

    /// Name of the security group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub name: Option<String>,

    /// Whose the security group is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Ownership>,
}

/// The running instances of a VPC that have the same instance profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceProfileStatus {
    /// ARN of the profile; none for instances without one.
    #[schemars(length(min = 1, max = 768))]
    pub profile: String,

    /// Number of running instances that have it.
    #[schemars(range(min = 0))]
    pub instances: i64,

    /// Ids of some of them. At most 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), inner(length(max = 32)), extend("x-kubernetes-list-type" = "set"))]
    pub sample: Vec<String>,

    /// Whether they can be managed.
    pub verdict: InstanceProfileVerdict,
}

/// Whether instances can be managed with an instance profile, or with none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum InstanceProfileVerdict {
    /// By the profile: its role allows all that agents need.
    Managed,
    /// The role allows agents to register, which keeps them from Default Host Management, and lacks what sessions take.
    ProfileInsufficient,
    /// By Default Host Management: the profile does not allow them to register, or there is none.
    HostManagement,
    /// Not at all: the profile does not allow it, or there is none, and Default Host Management is off.
    NoCredentials,
    /// That could not be told.
    Unknown,
}

impl JsonSchema for VpcPosture {
    fn schema_name() -> Cow<'static, str> {
        "VpcPosture".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::object::<VpcPostureSpec, VpcPostureStatus>(DESCRIPTION)
    }
}
