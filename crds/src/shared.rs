//! What several kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{GoDuration, NEVER_OBSERVED, duration::duration_rule, schema::rule};

const TAG_TEXT: &str = r"^[\p{L}\p{Z}\p{N}_.:/=+@-]*$";

/// How far the controller may go. The lesser sorts first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// AWS is read and judged, and the plan shown in status; nothing in AWS is written.
    Observe,
    /// AWS is brought to what is declared and kept there.
    #[default]
    Enforce,
}

/// A reference to an object by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct NameRef {
    /// Name of the object. 1 to 63 characters.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A tag that AWS objects are chosen by: the key with any one of the values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagSelector {
    /// Key of the AWS tag, compared exactly. 1 to 128 characters.
    #[schemars(length(min = 1, max = 128))]
    pub key: String,
    /// Values of the tag, any one of which matches, compared exactly. 1 to 20 values of at most 256 characters.
    #[schemars(length(min = 1, max = 20), inner(length(max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}

/// Something that people want from Systems Manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Capability {
    /// Sessions and commands; no endpoint beyond ssm and ssmmessages.
    SessionManager,
    /// Patch baselines and agent updates from AWS's buckets; adds s3.
    Patching,
    /// Sessions encrypted with a KMS key; adds kms.
    SessionEncryption,
    /// Logs of sessions and commands in CloudWatch Logs; adds logs.
    CloudWatchLogging,
    /// Logs of sessions and commands in S3; adds s3.
    S3Logging,
    /// Application-consistent snapshots of Windows volumes; adds ec2.
    VssSnapshots,
    /// Secure parameters read by instances; adds kms.
    ParameterStore,
    /// The CloudWatch agent; adds monitoring and logs.
    CloudWatchAgent,
    /// Windows instances that join a directory; role statements only, no endpoint.
    DirectoryJoin,
}

/// Whether something is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Switch {
    /// It is on.
    Enabled,
    /// It is off.
    Disabled,
}

/// An AWS tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tag {
    /// Key of the tag, 1 to 128 characters, unique in the list. It must not start with aws: or ssmready.dev/.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = TAG_TEXT),
        extend("x-kubernetes-validations" = [
            rule(
                "!self.lowerAscii().startsWith('aws:') && !self.startsWith('ssmready.dev/')",
                "keys that start with aws: or ssmready.dev/ are reserved; choose another key",
            ),
        ])
    )]
    pub key: String,
    /// Value of the tag, at most 256 characters.
    #[schemars(length(max = 256), regex(pattern = TAG_TEXT))]
    pub value: String,
}

/// Whose a thing in AWS is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Ownership {
    /// This posture made it, or is to make it.
    Managed,
    /// Somebody else made it; it is used and never changed.
    Existing,
    /// Somebody else made it, and this posture took it over.
    Adopted,
}

/// What is to be done in AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// Hash over the actions and the facts that they rest on.
    #[schemars(length(max = 128))]
    pub hash: String,

    /// The actions, in the order in which they are done. The first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub actions: Vec<PlannedAction>,
}

/// One write to AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedAction {
    /// The AWS call, such as CreateVpcEndpoint.
    #[schemars(length(max = 64))]
    pub action: String,

    /// What it is done to, by id where there is one.
    #[schemars(length(max = 256))]
    pub target: String,

    /// What it changes.
    #[schemars(length(max = 1024))]
    pub change: String,

    /// Why it is needed.
    #[schemars(length(max = 1024))]
    pub reason: String,

    /// What it disrupts. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub disrupts: Option<String>,
}

/// A difference that was found after the posture had held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// What differed, such as endpoints[ssm].privateDns.
    #[schemars(length(max = 256))]
    pub field: String,

    /// What is declared.
    #[schemars(length(max = 512))]
    pub wanted: String,

    /// What was found.
    #[schemars(length(max = 512))]
    pub seen: String,

    /// When it was found.
    pub since: Time,

    /// Whether it has been put right.
    #[serde(default)]
    pub repaired: bool,
}

/// How the deletion of what a posture made in AWS stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DeletionStatus {
    /// Since when nothing has depended on what is to be deleted. Absent while something does, or that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<Time>,

    /// What the deletion waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub waiting_for: Option<String>,
}

pub(crate) fn never_observed() -> i64 {
    NEVER_OBSERVED
}

pub(crate) fn default_interval() -> GoDuration {
    GoDuration::from_minutes(10)
}

pub(crate) fn default_capabilities() -> Vec<Capability> {
    vec![Capability::SessionManager, Capability::Patching]
}

/// The bounds of `spec.interval`.
pub(crate) fn interval_rule() -> Value {
    duration_rule(
        "duration(self) >= duration('1m') && duration(self) <= duration('24h')",
        "interval must be from 1m to 24h",
    )
}
