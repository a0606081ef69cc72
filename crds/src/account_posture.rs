//! `AccountPosture`: the IAM roles and instance profiles that Systems Manager needs in one account.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::{
    Capability, DeletionStatus, Drift, GoDuration, Mode, NEVER_OBSERVED, NameRef, Ownership, PlanStatus, Tag,
    schema::{self, rule},
    shared::{default_capabilities, default_interval, interval_rule, never_observed},
};

const DESCRIPTION: &str = "The IAM roles and instance profiles of one AWS account that Systems Manager needs: the role \
    of Default Host Management, and roles that instances carry. IAM is global: one AccountPosture serves every region \
    of its account.";

const ROLE_NAME: &str = r"^[\w+=,.@-]+$";
const KEY_ARN: &str = "^arn:aws[a-z-]*:kms:[a-z0-9-]{1,32}:[0-9]{12}:key/[A-Za-z0-9-]{1,64}$";

/// What a user declares of an account's roles and profiles.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ssmready.dev",
    version = "v1alpha1",
    kind = "AccountPosture",
    plural = "accountpostures",
    shortname = "acctp",
    category = "ssmready",
    namespaced,
    status = "AccountPostureStatus",
    schema = "manual",
    derive = "PartialEq",
    selectable = ".spec.target.accountRef.name",
    printcolumn = r#"{"name": "Account", "type": "string", "jsonPath": ".spec.target.accountRef.name"}"#,
    printcolumn = r#"{"name": "Roles", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"RolesReady\")].status"}"#,
    printcolumn = r#"{"name": "Profiles", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"ProfilesReady\")].status"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Compliant", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Compliant\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.hostManagementRole) || has(self.instanceRoles)",
        "no role is declared; give hostManagementRole, instanceRoles or both",
    ),
    rule(
        "!has(self.hostManagementRole) || !has(self.instanceRoles) || \
         self.instanceRoles.all(r, r.name != self.hostManagementRole.name)",
        "an instance role has the name of hostManagementRole; rename one of the two",
    ),
    rule(
        "!has(self.hostManagementRole) || !has(self.instanceRoles) || self.instanceRoles.all(r, \
         r.roleName.lowerAscii() != self.hostManagementRole.roleName.lowerAscii())",
        "an instance role has the roleName of hostManagementRole, apart from upper and lower case; give each role its \
         own",
    ),
    rule(
        "!has(self.instanceRoles) || self.instanceRoles.all(r, self.instanceRoles.exists_one(o, \
         o.roleName.lowerAscii() == r.roleName.lowerAscii()))",
        "two instance roles have one roleName, apart from upper and lower case; give each role its own",
    ),
    rule(
        "!has(self.instanceRoles) || self.instanceRoles.all(r, self.instanceRoles.exists_one(o, \
         (has(o.profileName) ? o.profileName : o.roleName).lowerAscii() == \
         (has(r.profileName) ? r.profileName : r.roleName).lowerAscii()))",
        "two instance roles have one profileName (roleName where it is absent), apart from upper and lower case; give \
         each its own",
    ),
]))]
pub struct AccountPostureSpec {
    /// The account. Immutable as a whole. Of several postures that name one role or profile of an account, anywhere in
    /// the cluster, the oldest works; the others are Stalled until it goes.
    #[schemars(extend("x-kubernetes-validations" = [
        rule(
            "self == oldSelf",
            "target cannot be changed; make a new AccountPosture for another account and delete this one",
        ),
    ]))]
    pub target: AccountTarget,

    /// Whether AWS is only looked at or also changed. Default Enforce. It cannot exceed the maxMode of the account's
    /// access entry.
    #[serde(default)]
    pub mode: Mode,

    /// How often AWS is compared with this posture, as a duration such as 10m or 1h30m. 1m to 24h, default 10m. IAM
    /// itself is read every 30 minutes. A change of the spec is acted upon at once.
    #[serde(default = "default_interval")]
    #[schemars(extend("x-kubernetes-validations" = [interval_rule()]))]
    pub interval: GoDuration,

    /// Stops all work on this posture: AWS is neither read nor changed for it, drift stays, and what was last reported
    /// stays. Default false. Leave it out of Git, so that setting it by hand is not undone.
    #[serde(default)]
    pub suspend: bool,

    /// What happens to the roles and profiles made by this posture when it is deleted, or no longer asks for them.
    /// Default Retain.
    #[serde(default)]
    pub deletion_policy: AccountDeletionPolicy,

    /// AWS tags put on every role and profile that this posture makes, by key, beside the tags that mark it as ours. At
    /// most 40.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 40),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub tags: Vec<Tag>,

    /// The role of Default Host Management, which instances without a profile of their own get. Any policy on it
    /// reaches every such instance of each region that uses it. Absent: none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_management_role: Option<HostManagementRole>,

    /// Roles that instances carry, each in an instance profile of its own, by name. 1 to 20. Absent: none is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub instance_roles: Vec<InstanceRole>,
}

impl AccountPostureSpec {
    /// The posture of an account with everything else at its default: it declares no role yet.
    pub fn new(target: AccountTarget) -> Self {
        Self {
            target,
            mode: Mode::default(),
            interval: default_interval(),
            suspend: false,
            deletion_policy: AccountDeletionPolicy::default(),
            tags: Vec::new(),
            host_management_role: None,
            instance_roles: Vec::new(),
        }
    }
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountTarget {
    /// The AwsAccount that the roles are in. Its access must admit this namespace.
    pub account_ref: NameRef,
}

/// What happens to roles and profiles that are not wanted any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AccountDeletionPolicy {
    /// They stay, with their policies, and lose the tag that marks them as this posture's.
    #[default]
    Retain,
    /// What this posture made is deleted, once no setting and no instance uses it; the policies that it attached to
    /// roles of others are detached.
    Delete,
}

/// Whose a role is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RoleOwnership {
    /// The role is made, and kept to what is declared. One of that name that somebody else made is reported and left as
    /// it is.
    #[default]
    Create,
    /// The role exists. The policies declared are attached to it; nothing else of it is changed, and nothing is removed
    /// that was there.
    AttachOnly,
    /// The role is made where there is none; one that somebody else made becomes ours: it is tagged, changed to what is
    /// declared, and deleted as if we had made it.
    TakeOver,
}

/// The role of Default Host Management. Systems Manager may assume it, and it carries
/// AmazonSSMManagedEC2InstanceDefaultPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HostManagementRole {
    /// Name that RegionPostures refer to this role by. 1 to 63 characters. Default host-management.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::LABEL))]
    pub name: String,

    /// Name of the role in AWS. 1 to 64 characters. Default AWSSystemsManagerDefaultEC2InstanceManagementRole, which is
    /// the name that AWS's own set-up gives it.
    #[schemars(length(min = 1, max = 64), regex(pattern = ROLE_NAME))]
    pub role_name: String,

    /// Path of the role, which begins and ends with a slash. At most 512 characters. Default /service-role/.
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::IAM_PATH))]
    pub path: String,

    /// Whose the role is to be. Default Create.
    pub ownership: RoleOwnership,

    /// ARNs of further managed policies that are attached to the role. At most 18. Each must be among the
    /// managedPolicies of the account's guardrails. Absent or empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 18),
        inner(length(max = 2048), regex(pattern = schema::POLICY_ARN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub extra_managed_policies: Vec<String>,
}

impl Default for HostManagementRole {
    fn default() -> Self {
        Self {
            name: "host-management".to_owned(),
            role_name: "AWSSystemsManagerDefaultEC2InstanceManagementRole".to_owned(),
            path: "/service-role/".to_owned(),
            ownership: RoleOwnership::default(),
            extra_managed_policies: Vec::new(),
        }
    }
}

/// A role that instances carry, in its profile. EC2 may assume it, and it carries AmazonSSMManagedInstanceCore.
// Defaults are left out when it is written, and so out of the schema: tools that compare lists as a whole would take what
// the API server fills in for a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "!has(self.s3) || !has(self.s3.own) || \
         self.s3.own.all(b, !has(b.encrypted) || !b.encrypted) || has(self.kmsKeys)",
        "s3.own lists a bucket that is encrypted; give its key in kmsKeys, or set encrypted to false",
    ),
]))]
pub struct InstanceRole {
    /// Name of this entry, unique among all roles of the posture. 1 to 63 characters.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::LABEL))]
    pub name: String,

    /// Name of the role in AWS. 1 to 64 characters. AWS does not tell names apart by upper and lower case.
    #[schemars(length(min = 1, max = 64), regex(pattern = ROLE_NAME))]
    pub role_name: String,

    /// Name of the instance profile that holds the role. 1 to 128 characters. Absent: roleName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = ROLE_NAME))]
    pub profile_name: Option<String>,

    /// Path of the role and the profile, which begins and ends with a slash. At most 512 characters. Default /.
    #[serde(default = "default_path", skip_serializing_if = "is_default_path")]
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::IAM_PATH))]
    pub path: String,

    /// Whose the role is to be. Default Create.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ownership: RoleOwnership,

    /// What is wanted from Systems Manager; policies and statements of the role follow from it. Default SessionManager
    /// and Patching. At most 16.
    #[serde(default = "default_capabilities", skip_serializing_if = "are_default_capabilities")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub capabilities: Vec<Capability>,

    /// ARNs of further managed policies that are attached to the role. At most 18. Each must be among the
    /// managedPolicies of the account's guardrails. Absent or empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 18),
        inner(length(max = 2048), regex(pattern = schema::POLICY_ARN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub extra_managed_policies: Vec<String>,

    /// Buckets that the role may use. Absent: it gets no statement about S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<RoleS3>,

    /// ARNs of the KMS keys that the role may use, for sessions, secure parameters and encrypted buckets; no aliases. 1
    /// to 10. Absent: it gets no statement about KMS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 10),
        inner(length(max = 256), regex(pattern = KEY_ARN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub kms_keys: Vec<String>,
}

impl InstanceRole {
    /// Name of the instance profile.
    pub fn profile_name(&self) -> &str {
        self.profile_name.as_deref().unwrap_or(&self.role_name)
    }
}

/// Buckets that a role may use: exactly these, never a wildcard over buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RoleS3 {
    /// Buckets from which AWS serves the agent and patches, which may be read. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_buckets: Option<AwsBuckets>,

    /// Buckets of the user's own, by bucket. At most 20. Absent or empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["bucket"])
    )]
    pub own: Vec<OwnBucket>,
}

/// Buckets of AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AwsBuckets {
    /// Regions whose buckets may be read, such as eu-west-1: those in which the instances run. 1 to 32.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(max = 32), regex(pattern = schema::REGION)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub regions: Vec<String>,
}

/// A bucket of the user's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnBucket {
    /// Name of the bucket. 3 to 63 characters, unique in the list.
    #[schemars(
        length(min = 3, max = 63),
        regex(pattern = schema::BUCKET),
        extend("x-kubernetes-validations" = [
            rule(
                "!self.matches('^[0-9]{1,3}([.][0-9]{1,3}){3}$')",
                "the name of a bucket is never an IP address; give the bucket's name",
            ),
        ])
    )]
    pub bucket: String,

    /// Folder that the role is kept to, such as logs/payments, without a slash at its beginning or end and without
    /// wildcards. 1 to 512 characters. Absent: the whole bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::KEY_PREFIX))]
    pub prefix: Option<String>,

    /// What the role may do with the objects.
    pub access: S3Access,

    /// Whether the bucket is encrypted with a KMS key, which must then be among kmsKeys. Default false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encrypted: bool,

    /// Whether the bucket belongs to another account, so that the role must be able to hand what it writes to the
    /// bucket's owner (PutObjectAcl). Default false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cross_account: bool,
}

/// What a role may do with the objects of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum S3Access {
    /// It may read them: for scripts, packages and patch overrides.
    Read,
    /// It may read and write them, and ask how the bucket is encrypted: for logs and output.
    Write,
}

/// What the controller saw of an account's roles and profiles, and did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountPostureStatus {
    /// Generation of the spec that this status is about; -1 until the controller has looked.
    #[serde(default = "never_observed")]
    #[schemars(range(min = -1))]
    pub observed_generation: i64,

    /// How things stand, by type: Ready (the work for this generation is done), Compliant (AWS matches the posture),
    /// and one for each thing checked: AccountReady, RolesReady and ProfilesReady; Reconciling, Stalled and Suspended
    /// only while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Number of the AWS account that was worked in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub account_id: Option<String>,

    /// The roles as last read, by name. At most 21.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 21),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub roles: Vec<RoleStatus>,

    /// What is to be done in AWS. Absent while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,

    /// The last 10 differences that were found between AWS and the posture after it had held, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub drift: Vec<Drift>,

    /// How the deletion of roles and profiles stands. Absent while none is due.
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

impl Default for AccountPostureStatus {
    fn default() -> Self {
        Self {
            observed_generation: NEVER_OBSERVED,
            conditions: Vec::new(),
            account_id: None,
            roles: Vec::new(),
            plan: None,
            drift: Vec::new(),
            deletion: None,
            last_handled_requested_at: None,
            observed_spec_hash: None,
        }
    }
}

/// A role as last read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// Name of the role in the spec.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Name of the role in AWS.
    #[schemars(length(max = 64))]
    pub role_name: String,

    /// ARN of the role. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub arn: Option<String>,

    /// Whose the role is. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Ownership>,

    /// Name of the instance profile. Absent for the role of Default Host Management.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub profile_name: Option<String>,

    /// ARN of the instance profile. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub profile_arn: Option<String>,

    /// ARNs of the managed policies that are attached to the role, whoever attached them. At most 32, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 2048)), extend("x-kubernetes-list-type" = "set"))]
    pub policies: Vec<String>,

    /// ARNs of the managed policies that this posture attached, so that they are detached once they are not declared
    /// any more. At most 32, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 2048)), extend("x-kubernetes-list-type" = "set"))]
    pub attached: Vec<String>,

    /// ARNs of the managed policies that this posture is about to attach, noted before the call, so that it is known
    /// whose they are when its answer is lost. At most 32, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 2048)), extend("x-kubernetes-list-type" = "set"))]
    pub pending: Vec<String>,
}

impl JsonSchema for AccountPosture {
    fn schema_name() -> Cow<'static, str> {
        "AccountPosture".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::object::<AccountPostureSpec, AccountPostureStatus>(DESCRIPTION)
    }
}

fn default_path() -> String {
    "/".to_owned()
}

fn is_default_path(path: &str) -> bool {
    path == default_path()
}

fn are_default_capabilities(capabilities: &[Capability]) -> bool {
    capabilities == default_capabilities()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
