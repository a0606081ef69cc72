//! `AwsAccount`: who the controller is in an AWS account, and who may use it there.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    Mode, NEVER_OBSERVED,
    schema::{self, rule},
    shared::never_observed,
};

const DESCRIPTION: &str = "An AWS account: how ssm-ready enters it, in which regions it may work there, and which \
    namespaces may use it. It grants nothing until access names somebody.";

const ROLE_ARN: &str = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$";

/// What a user declares of an AWS account.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ssmready.dev",
    version = "v1alpha1",
    kind = "AwsAccount",
    plural = "awsaccounts",
    shortname = "awsacct",
    category = "ssmready",
    status = "AwsAccountStatus",
    schema = "manual",
    derive = "PartialEq",
    selectable = ".spec.accountId",
    printcolumn = r#"{"name": "Account", "type": "string", "jsonPath": ".spec.accountId"}"#,
    printcolumn = r#"{"name": "Role", "type": "string", "jsonPath": ".spec.assumeRole.roleArn"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.partition) == has(oldSelf.partition) && \
         (!has(self.partition) || self.partition == oldSelf.partition)",
        "partition cannot be changed, added or removed; make a new AwsAccount instead",
    ),
    rule(
        "!has(self.assumeRole) || self.assumeRole.roleArn.contains('::' + self.accountId + ':')",
        "the account in assumeRole.roleArn must equal accountId; correct one of the two",
    ),
    rule(
        "!has(self.assumeRole) || !has(self.assumeRole.observeRoleArn) || \
         self.assumeRole.observeRoleArn.contains('::' + self.accountId + ':')",
        "the account in assumeRole.observeRoleArn must equal accountId; correct one of the two",
    ),
    rule(
        "!has(self.partition) || !has(self.assumeRole) || \
         self.assumeRole.roleArn.startsWith('arn:' + self.partition + ':')",
        "the partition in assumeRole.roleArn must equal partition; correct the ARN, or make the AwsAccount anew \
         without partition",
    ),
    rule(
        "!has(self.assumeRole) || !has(self.assumeRole.observeRoleArn) || \
         self.assumeRole.observeRoleArn.startsWith(\
         self.assumeRole.roleArn.substring(0, self.assumeRole.roleArn.indexOf(':iam:') + 1))",
        "the partition in assumeRole.observeRoleArn must be that of assumeRole.roleArn; correct one of the two",
    ),
]))]
pub struct AwsAccountSpec {
    /// Number of the AWS account, 12 digits, quoted. Before anything is read or written, AWS is asked whose account
    /// it is; if another, nothing is done. Immutable.
    #[schemars(
        length(min = 12, max = 12),
        regex(pattern = "^[0-9]{12}$"),
        extend("x-kubernetes-validations" = [
            rule("self == oldSelf", "accountId cannot be changed; make a new AwsAccount for another account"),
        ])
    )]
    pub account_id: String,

    /// AWS partition of the account. Default: that of assumeRole.roleArn, else aws. Immutable; it can be neither added
    /// nor removed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("enum" = [
        "aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc",
    ]))]
    pub partition: Option<String>,

    /// The role that is assumed in the account. Absent: the controller's own identity, which must then be of this
    /// account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,

    /// Regions in which postures may work. Absent: all regions that the account has enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<Regions>,

    /// Who may use this account. Each entry admits the namespaces that it describes; a posture is admitted when any
    /// entry admits its namespace and kind, up to the greatest maxMode among these. Absent or empty: no namespace may
    /// use the account. At most 64 entries, by name. Checked again on every pass: taking an entry out stops its
    /// postures at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub access: Vec<Access>,

    /// Limits that hold for every posture of this account, whatever a namespace asks for.
    #[serde(default)]
    pub guardrails: Guardrails,

    /// Stops all work in this account: nothing is read from it or written to it, and what its postures last reported
    /// stays. Default false. Leave it out of Git, so that setting it by hand is not undone.
    #[serde(default)]
    pub suspend: bool,
}

/// A role to assume, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// ARN of the role in the account, such as arn:aws:iam::111122223333:role/ssm-ready. Its account must equal
    /// accountId, and its partition must equal partition where that is set. At most 2048 characters.
    #[schemars(length(min = 20, max = 2048), regex(pattern = ROLE_ARN))]
    pub role_arn: String,

    /// ARN of a role for reading, used instead of roleArn wherever nothing is written. Absent: roleArn reads too. It
    /// must be of the same account and partition. At most 2048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 2048), regex(pattern = ROLE_ARN))]
    pub observe_role_arn: Option<String>,

    /// External id that the trust policies of roleArn and observeRoleArn ask for. 2 to 1224 characters. Absent: none
    /// is sent. It is never logged and never shown in status or events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,

    /// Name of the session, as CloudTrail shows it. 2 to 64 characters. Default ssm-ready.
    #[serde(default = "default_session_name")]
    #[schemars(length(min = 2, max = 64), regex(pattern = r"^[\w+=,.@-]*$"))]
    pub session_name: String,

    /// How long a session's credentials are good for, in seconds, 900 to 3600. Default 3600. They are renewed in time;
    /// the role's own maximum must not be shorter.
    #[serde(default = "default_duration_seconds")]
    #[schemars(range(min = 900, max = 3600))]
    pub duration_seconds: i32,

    /// Roles that are assumed first, one from the other, in this order, before roleArn. At most 4. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub chain: Vec<ChainedRole>,
}

/// A role that is assumed on the way to the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainedRole {
    /// ARN of the role; it may be of any account. At most 2048 characters.
    #[schemars(length(min = 20, max = 2048), regex(pattern = ROLE_ARN))]
    pub role_arn: String,

    /// External id that this role's trust policy asks for. 2 to 1224 characters. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
}

/// An external id, which is treated as a secret: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExternalId(String);

impl ExternalId {
    /// The id itself, for AssumeRole alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for ExternalId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(…)")
    }
}

impl JsonSchema for ExternalId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ExternalId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 2, "maxLength": 1224, "pattern": r"^[\w+=,.@:\/-]*$" })
    }
}

/// Regions of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Regions {
    /// Regions in which postures may work, such as eu-west-1. 1 to 64. A posture elsewhere is refused by its condition
    /// AccountReady.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 32), regex(pattern = schema::REGION)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allowed: Vec<String>,
}

/// One grant of the use of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Name of this entry, unique in the list. 1 to 63 characters.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// The namespaces whose postures are admitted.
    pub namespaces: Namespaces,

    /// Kinds of posture that are admitted. Absent: VpcPosture alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub kinds: Option<Vec<AccessKind>>,

    /// The greatest mode that a posture may have. One that asks for more is refused by its condition AccountReady.
    pub max_mode: Mode,
}

/// Namespaces, by name or by label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.names) == (self.from == 'Names')",
        "names belongs to from: Names, and must be given there; give names, or choose another from",
    ),
    rule(
        "has(self.selector) == (self.from == 'Selector')",
        "selector belongs to from: Selector, and must be given there; give selector, or choose another from",
    ),
]))]
pub struct Namespaces {
    /// How the namespaces are described.
    pub from: NamespaceSource,

    /// Names of the namespaces, 1 to 256; with from: Names only, and needed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Option<Vec<String>>,

    /// Labels of the namespaces; with from: Selector only, and needed there. Whoever may label namespaces can then let
    /// them in. It must not be empty: use from: All to admit every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NamespaceSource {
    /// Those that names lists.
    Names,
    /// Those whose labels selector matches.
    Selector,
    /// Every namespace of the cluster.
    All,
}

/// A kind of posture that may use an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AccessKind {
    /// Endpoints, security group and DNS of a VPC.
    VpcPosture,
    /// Default Host Management, session preferences, service settings and instance metadata defaults of a region.
    RegionPosture,
    /// Roles and instance profiles. Who may make these says what every instance that carries them may do.
    AccountPosture,
}

/// Limits for every posture of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Guardrails {
    /// ARNs of the managed policies that roles may carry beyond the AWS policies that ssm-ready itself attaches. At most
    /// 50. Absent or empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        inner(length(max = 2048), regex(pattern = schema::POLICY_ARN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub managed_policies: Vec<String>,

    /// Beginnings of the paths that roles and instance profiles may have, such as /ssm-ready/; each begins and ends with
    /// a slash. 1 to 16. Absent: any path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 512), regex(pattern = schema::IAM_PATH)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub role_path_prefixes: Vec<String>,

    /// ARN of the policy that every role that is made gets as its permissions boundary. At most 2048 characters. Absent:
    /// roles are made without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = schema::POLICY_ARN))]
    pub permissions_boundary: Option<String>,

    /// Whether session preferences may have run-as and shell profiles, which are code on every node. Default Forbidden.
    pub session_shell: SessionShell,

    /// Share of the request rates that AWS publishes which ssm-ready may use in this account, in percent, 1 to 100.
    /// Default 80. What is left is for everybody else in the account.
    #[schemars(range(min = 1, max = 100))]
    pub api_share_percent: i32,
}

impl Default for Guardrails {
    fn default() -> Self {
        Self {
            managed_policies: Vec::new(),
            role_path_prefixes: Vec::new(),
            permissions_boundary: None,
            session_shell: SessionShell::default(),
            api_share_percent: 80,
        }
    }
}

/// Whether session preferences may have run-as and shell profiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SessionShell {
    /// A posture that declares one of them is refused.
    #[default]
    Forbidden,
    /// A posture may declare them.
    Allowed,
}

/// What the controller saw of an AWS account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsAccountStatus {
    /// Generation of the spec that this status is about; -1 until the controller has looked.
    #[serde(default = "never_observed")]
    #[schemars(range(min = -1))]
    pub observed_generation: i64,

    /// How things stand, by type: Ready and PermissionsReady; Reconciling, Stalled and Suspended only while they are
    /// True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// ARN of the identity that AWS reported after roleArn was assumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub principal_arn: Option<String>,

    /// ARN of the identity that AWS reported after observeRoleArn was assumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub observe_principal_arn: Option<String>,

    /// Number of postures that use this account. While there are any, the account cannot be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub used_by: Option<i64>,

    /// IAM actions that a role lacks and that the postures of this account need, such as ec2:CreateVpcEndpoint. At most
    /// 64, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub missing_permissions: Vec<String>,

    /// The value of the annotation ssmready.dev/requestedAt that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_requested_at: Option<String>,

    /// Hash of the spec, without suspend, that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub observed_spec_hash: Option<String>,
}

impl Default for AwsAccountStatus {
    fn default() -> Self {
        Self {
            observed_generation: NEVER_OBSERVED,
            conditions: Vec::new(),
            principal_arn: None,
            observe_principal_arn: None,
            used_by: None,
            missing_permissions: Vec::new(),
            last_handled_requested_at: None,
            observed_spec_hash: None,
        }
    }
}

impl JsonSchema for AwsAccount {
    fn schema_name() -> Cow<'static, str> {
        "AwsAccount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::object::<AwsAccountSpec, AwsAccountStatus>(DESCRIPTION)
    }
}

fn default_session_name() -> String {
    "ssm-ready".to_owned()
}

fn default_duration_seconds() -> i32 {
    3600
}
