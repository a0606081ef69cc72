//! `RegionPosture`: what Systems Manager needs of one region of an account.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::{
    DeletionStatus, Drift, GoDuration, Mode, NEVER_OBSERVED, NameRef, Ownership, PlanStatus, Switch,
    schema::{self, rule},
    shared::{default_interval, interval_rule, never_observed},
};

const DESCRIPTION: &str = "One region of an AWS account that is to be ready for AWS Systems Manager: Default Host \
    Management, the Session Manager preferences, Systems Manager's service settings, the instance metadata defaults and \
    session audit. What is not named is left alone.";

const EXTERNAL_ROLE: &str = r"^([!-.0-~]+/)*[\w+=,.@-]{1,64}$";
const LOG_GROUP: &str = r"^[\.\-_/#A-Za-z0-9]+$";
const USER: &str = r"^[\w.@\\-]+\$?$";
const KEY: &str = "^(arn:aws[a-z-]*:kms:[a-z0-9-]{1,32}:[0-9]{12}:key/)?(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$";
/// Topics of names without the suffix `.fifo`: no name of another has a dot.
const TOPIC: &str = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$";

/// What a user declares of a region.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ssmready.dev",
    version = "v1alpha1",
    kind = "RegionPosture",
    plural = "regionpostures",
    shortname = "regp",
    category = "ssmready",
    namespaced,
    status = "RegionPostureStatus",
    schema = "manual",
    derive = "PartialEq",
    selectable = ".spec.target.accountRef.name",
    selectable = ".spec.target.region",
    printcolumn = r#"{"name": "Account", "type": "string", "jsonPath": ".spec.target.accountRef.name"}"#,
    printcolumn = r#"{"name": "Region", "type": "string", "jsonPath": ".spec.target.region"}"#,
    printcolumn = r#"{"name": "HostMgmt", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"HostManagementReady\")].status"}"#,
    printcolumn = r#"{"name": "Sessions", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"SessionPreferencesReady\")].status"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Compliant", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Compliant\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.hostManagement) || has(self.sessionPreferences) || has(self.serviceSettings) || \
         has(self.instanceMetadataDefaults) || has(self.sessionAudit)",
        "nothing is declared; give at least one of hostManagement, sessionPreferences, serviceSettings, \
         instanceMetadataDefaults and sessionAudit",
    ),
    rule(
        "!has(self.sessionAudit) || !has(self.target) || \
         self.sessionAudit.snsTopicArn.split(':')[3] == self.target.region",
        "sessionAudit.snsTopicArn is of another region than target.region; EventBridge sends to topics of its own region \
         only, so name one of target.region",
    ),
    rule(
        "!has(self.sessionPreferences) || !has(self.sessionPreferences.kmsKeyId) || \
         !self.sessionPreferences.kmsKeyId.startsWith('arn:') || \
         self.sessionPreferences.kmsKeyId.split(':')[3] == self.target.region",
        "sessionPreferences.kmsKeyId is a key of another region than target.region; give a key of that region",
    ),
]))]
pub struct RegionPostureSpec {
    /// The account and region. Immutable as a whole. Of several postures for one account and region, anywhere in the
    /// cluster, the oldest works; the others are Stalled until it goes.
    #[schemars(extend("x-kubernetes-validations" = [
        rule(
            "self == oldSelf",
            "target cannot be changed; make a new RegionPosture for another account or region and delete this one",
        ),
    ]))]
    pub target: RegionTarget,

    /// Whether AWS is only looked at or also changed. Default Enforce. It cannot exceed the maxMode of the account's
    /// access entry.
    #[serde(default)]
    pub mode: Mode,

    /// How often AWS is compared with this posture, as a duration such as 10m or 1h30m. 1m to 24h, default 10m. A
    /// change of the spec is acted upon at once.
    #[serde(default = "default_interval")]
    #[schemars(extend("x-kubernetes-validations" = [interval_rule()]))]
    pub interval: GoDuration,

    /// Stops all work on this posture: AWS is neither read nor changed for it, drift stays, and what was last reported
    /// stays. Default false. Leave it out of Git, so that setting it by hand is not undone.
    #[serde(default)]
    pub suspend: bool,

    /// What happens with a value that somebody else set. Default UseExisting.
    #[serde(default)]
    pub adoption: RegionAdoption,

    /// What happens to the values that this posture set when it is deleted, or no longer names them. Default Retain.
    #[serde(default)]
    pub deletion_policy: RegionDeletionPolicy,

    /// Default Host Management, which makes instances without a profile of their own managed. Absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_management: Option<HostManagement>,

    /// Session Manager preferences, kept in the document SSM-SessionManagerRunShell. Absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_preferences: Option<SessionPreferences>,

    /// Service settings of Systems Manager. Absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_settings: Option<ServiceSettings>,

    /// Instance metadata defaults of the account in this region. They act on future launches only, and only where
    /// neither the launch nor its image says otherwise; running instances keep what they have. Absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_metadata_defaults: Option<InstanceMetadataDefaults>,

    /// Session audit: a rule of EventBridge that reports the start, resumption and end of each session to a topic of SNS.
    /// It reports that there was a session, by whom and with which node, and never what was done in it; the contents of
    /// sessions that forward ports or run SSH are not logged anywhere, whatever is set. Absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_audit: Option<SessionAudit>,
}

impl RegionPostureSpec {
    /// The posture of a region with everything else at its default: it declares nothing yet.
    pub fn new(target: RegionTarget) -> Self {
        Self {
            target,
            mode: Mode::default(),
            interval: default_interval(),
            suspend: false,
            adoption: RegionAdoption::default(),
            deletion_policy: RegionDeletionPolicy::default(),
            host_management: None,
            session_preferences: None,
            service_settings: None,
            instance_metadata_defaults: None,
            session_audit: None,
        }
    }
}

/// One region of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionTarget {
    /// The AwsAccount. Its access must admit this namespace.
    pub account_ref: NameRef,
    /// The region, such as eu-west-1.
    #[schemars(length(max = 32), regex(pattern = schema::REGION))]
    pub region: String,
}

/// What happens with a value that somebody else set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RegionAdoption {
    /// It is used where it equals what is declared; where it differs, that is reported and nothing is written.
    #[default]
    UseExisting,
    /// It is replaced by what is declared.
    TakeOver,
}

/// What happens to values that are not wanted any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RegionDeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// The values that were found before this posture first wrote them come back, where ours are still there.
    RestorePrevious,
    /// AWS's defaults come back, where ours are still there.
    Reset,
}

/// Default Host Management.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "(self.state == 'Enabled') == has(self.role)",
        "role belongs to state: Enabled, and must be given there; give role, or remove it",
    ),
]))]
pub struct HostManagement {
    /// Whether it is on. Disabled takes instances that rely on it out of management.
    pub state: Switch,

    /// The role that instances get; with state: Enabled only, and needed there. Before it is set, it must exist, be
    /// trusted to Systems Manager, and carry AmazonSSMManagedEC2InstanceDefaultPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleRef>,
}

/// A role, by the AccountPosture that declares it, or by its name in AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.accountPostureRef) != has(self.external)",
        "give exactly one of accountPostureRef, with name, and external",
    ),
    rule(
        "has(self.name) == has(self.accountPostureRef)",
        "name belongs to accountPostureRef, and must be given there; give both, or external alone",
    ),
]))]
pub struct RoleRef {
    /// The AccountPosture of this namespace that declares the role. Its target must be the same account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_posture_ref: Option<NameRef>,

    /// Name of the role in that AccountPosture, which is its hostManagementRole.name, such as host-management. 1 to 63
    /// characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::LABEL))]
    pub name: Option<String>,

    /// Path and name of a role of the account that somebody else looks after, without a slash at the beginning, such as
    /// service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole. 1 to 576 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 576), regex(pattern = EXTERNAL_ROLE))]
    pub external: Option<String>,
}

/// What [`RoleRef`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChoice<'a> {
    /// A role of an AccountPosture of the same namespace.
    Declared {
        /// Name of the AccountPosture.
        account_posture: &'a str,
        /// Name of the role in it.
        name: &'a str,
    },
    /// A role by its path and name, without a slash at the beginning.
    External(&'a str),
}

impl RoleRef {
    /// The one of its two forms that is meant; none where neither is whole, which the schema refuses.
    pub fn choice(&self) -> Option<RoleChoice<'_>> {
        match (&self.account_posture_ref, &self.name, &self.external) {
            (Some(posture), Some(name), None) => Some(RoleChoice::Declared { account_posture: &posture.name, name }),
            (None, None, Some(external)) => Some(RoleChoice::External(external)),
            _ => None,
        }
    }
}

/// Session Manager preferences: the inputs of the document SSM-SessionManagerRunShell. Where s3, cloudWatch or kmsKeyId is
/// absent, the inputs for it are kept as they are. What is named there is looked at before anything is written, since a
/// bucket, log group or key that cannot be used leaves every session blank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionPreferences {
    /// The bucket that agents write a log of each session to, at its end. Absent: left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<SessionBucket>,

    /// The log group that agents write sessions to. Absent: left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_watch: Option<SessionLogGroup>,

    /// The KMS key that the data of sessions is encrypted with between agent and user, beyond TLS: the ARN or the id of a
    /// symmetric key of this region that is enabled; no alias, since an alias can be moved to a key that agents may not
    /// use. Agents need kms:Decrypt on it, and users kms:GenerateDataKey. Absent: left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = KEY))]
    pub kms_key_id: Option<String>,

    /// The operating system's user that sessions on Linux and macOS run as. The account's guardrails must have
    /// sessionShell: Allowed. Absent: off, so that sessions run as the agent's own user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as: Option<RunAs>,

    /// Commands that are run at the beginning of each session. The account's guardrails must have sessionShell: Allowed.
    /// Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell_profile: Option<ShellProfile>,

    /// Minutes without input or output after which a session ends. 1 to 60. Default 20, which is what AWS's
    /// documentation of the Session document schema gives as its own default.
    #[schemars(range(min = 1, max = 60))]
    pub idle_timeout_minutes: i32,

    /// Minutes after which a session ends in any case. 1 to 1440. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1440))]
    pub max_duration_minutes: Option<i32>,
}

impl Default for SessionPreferences {
    fn default() -> Self {
        Self {
            s3: None,
            cloud_watch: None,
            kms_key_id: None,
            run_as: None,
            shell_profile: None,
            idle_timeout_minutes: 20,
            max_duration_minutes: None,
        }
    }
}

/// The bucket that logs of sessions go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionBucket {
    /// Name of the bucket, which must be in this region. 3 to 63 characters.
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

    /// Folder of the bucket that logs go to, such as sessions/payments, without a slash at its beginning or end. 1 to 512
    /// characters. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::KEY_PREFIX))]
    pub key_prefix: Option<String>,

    /// Whether the bucket must be encrypted by default. Default Required.
    #[serde(default)]
    pub encryption: TargetEncryption,
}

/// The log group that sessions go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionLogGroup {
    /// Name of the log group, such as /ssm/sessions, of the same account and region. 1 to 512 characters.
    #[schemars(length(min = 1, max = 512), regex(pattern = LOG_GROUP))]
    pub log_group: String,

    /// Whether the log group must be encrypted with a KMS key. Default Required.
    #[serde(default)]
    pub encryption: TargetEncryption,

    /// Whether sessions are written while they last, as JSON; otherwise at their end, as text. Default false.
    #[serde(default)]
    pub streaming: bool,
}

/// Whether what sessions are logged to must be encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TargetEncryption {
    /// It must, or nothing is written; agents then start no session while it is not.
    #[default]
    Required,
    /// Neither is looked at whether it is, nor do agents look.
    NotChecked,
}

/// The user that sessions run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "self.enabled || !has(self.defaultUser)",
        "defaultUser belongs to enabled: true; remove defaultUser, or set enabled to true",
    ),
]))]
pub struct RunAs {
    /// Whether sessions run as another user than the agent's own.
    pub enabled: bool,

    /// The user where neither the session nor its principal is tagged with one (SSMSessionRunAs). 1 to 256 characters.
    /// Absent: none, and a session without such a tag is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = USER))]
    pub default_user: Option<String>,
}

/// Commands that are run at the beginning of each session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ShellProfile {
    /// Commands on Linux, for the user's shell. At most 512 characters. Absent or empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub linux: Option<String>,

    /// Commands on Windows, for PowerShell. At most 512 characters. Absent or empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub windows: Option<String>,
}

/// Service settings of Systems Manager, each left alone where it is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.activationTier) || has(self.parameterTier) || has(self.parameterHighThroughput) || \
         has(self.publicDocumentSharing) || has(self.appManager) || has(self.opsCenter) || \
         has(self.automationLogGroup) || has(self.automationAdaptiveConcurrency)",
        "serviceSettings names no setting; name at least one, or remove serviceSettings",
    ),
]))]
pub struct ServiceSettings {
    /// Tier of hybrid nodes (/ssm/managed-instance/activation-tier). Advanced is billed for each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation_tier: Option<ActivationTier>,

    /// Tier of new parameters that name none (/ssm/parameter-store/default-parameter-tier). Advanced parameters are
    /// billed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter_tier: Option<ParameterTier>,

    /// Higher request rates of Parameter Store (/ssm/parameter-store/high-throughput-enabled). Enabled is billed by
    /// request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter_high_throughput: Option<Switch>,

    /// Whether documents can be shared with everybody (/ssm/documents/console/public-sharing-permission). AWS's security
    /// baseline has it Disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_document_sharing: Option<Switch>,

    /// Application Manager (/ssm/appmanager/appmanager-enabled).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_manager: Option<Switch>,

    /// OpsCenter (/ssm/opsinsights/opscenter).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops_center: Option<Switch>,

    /// CloudWatch log group that scripts of runbooks write their output to, such as /ssm/automation
    /// (/ssm/automation/customer-script-log-destination, set to CloudWatch, and customer-script-log-group-name). 1 to
    /// 512 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = LOG_GROUP))]
    pub automation_log_group: Option<String>,

    /// Whether Automation adapts how many runbooks run at once to the load (/ssm/automation/enable-adaptive-concurrency).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automation_adaptive_concurrency: Option<Switch>,
}

/// Tier of hybrid nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ActivationTier {
    /// No charge, and fewer nodes.
    Standard,
    /// Billed by node; needed for more nodes, and for sessions on hybrid nodes.
    Advanced,
}

/// Tier of new parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ParameterTier {
    /// No charge, and small values.
    Standard,
    /// Billed by parameter.
    Advanced,
    /// Advanced only where a parameter needs it.
    IntelligentTiering,
}

/// Instance metadata defaults, each left alone where it is absent. They act on future launches only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.httpTokens) || has(self.hopLimit) || has(self.httpEndpoint) || has(self.instanceMetadataTags) || \
         has(self.httpTokensEnforced)",
        "instanceMetadataDefaults names no default; name at least one, or remove instanceMetadataDefaults",
    ),
]))]
pub struct InstanceMetadataDefaults {
    /// Whether instances that are launched from now on answer IMDSv2 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_tokens: Option<HttpTokens>,

    /// Hops that answers of the metadata service may travel, for instances that are launched from now on. 1 to 64;
    /// agents in containers need 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub hop_limit: Option<i32>,

    /// Whether instances that are launched from now on have a metadata service at all. Without it, Default Host
    /// Management and instance profiles do not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_endpoint: Option<Switch>,

    /// Whether instances that are launched from now on can read their own tags from the metadata service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_metadata_tags: Option<Switch>,

    /// Whether IMDSv2 is enforced in this region. Enabled makes every later launch fail that does not ask for IMDSv2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_tokens_enforced: Option<Switch>,
}

/// Which versions of the metadata service an instance answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HttpTokens {
    /// IMDSv2 alone.
    Required,
    /// IMDSv1 and IMDSv2.
    Optional,
}

/// Session audit: that sessions begin, are resumed and end, told to a topic. EventBridge hears of it from CloudTrail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAudit {
    /// ARN of the SNS topic that sessions are reported to, such as arn:aws:sns:eu-west-1:111122223333:ssm-sessions. It
    /// must be there, of the same region and not FIFO, and its policy must let events.amazonaws.com publish; the rule is
    /// made only then. 1 to 512 characters.
    #[schemars(length(min = 1, max = 512), regex(pattern = TOPIC))]
    pub sns_topic_arn: String,

    /// Whether a trail of CloudTrail must record management events that write, without which EventBridge never hears of a
    /// session. Default true. False is for accounts that may not look at the trail of their organisation.
    #[serde(default = "default_require_trail")]
    pub require_trail: bool,
}

fn default_require_trail() -> bool {
    true
}

/// What the controller saw of a region, and did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionPostureStatus {
    /// Generation of the spec that this status is about; -1 until the controller has looked.
    #[serde(default = "never_observed")]
    #[schemars(range(min = -1))]
    pub observed_generation: i64,

    /// How things stand, by type: Ready (the work for this generation is done), Compliant (AWS matches the posture),
    /// and one for each thing checked: AccountReady, HostManagementReady, SessionPreferencesReady, ServiceSettingsReady,
    /// MetadataDefaultsReady and AuditReady; Reconciling, Stalled and Suspended only while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Number of the AWS account that was worked in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub account_id: Option<String>,

    /// The settings and defaults as last read, by name. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub settings: Vec<SettingStatus>,

    /// The document with the Session Manager preferences as last read. Absent while none are declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_preferences: Option<SessionPreferencesStatus>,

    /// What rules the instance metadata defaults, and how instances stand. Absent while none are declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_metadata: Option<InstanceMetadataStatus>,

    /// The rule and the trail of session audit as last read. Absent while it is not declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_audit: Option<SessionAuditStatus>,

    /// What is to be done in AWS. Absent while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,

    /// The last 10 differences that were found between AWS and the posture after it had held, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub drift: Vec<Drift>,

    /// How the restoring or resetting of values stands. Absent while none is due.
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

impl Default for RegionPostureStatus {
    fn default() -> Self {
        Self {
            observed_generation: NEVER_OBSERVED,
            conditions: Vec::new(),
            account_id: None,
            settings: Vec::new(),
            session_preferences: None,
            instance_metadata: None,
            session_audit: None,
            plan: None,
            drift: Vec::new(),
            deletion: None,
            last_handled_requested_at: None,
            observed_spec_hash: None,
        }
    }
}

/// A setting or default as last read, and what we did with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettingStatus {
    /// The field of the spec that it belongs to, such as hostManagement, serviceSettings.activationTier or
    /// instanceMetadataDefaults.httpTokens.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// AWS's id of the setting. Absent for what is not a service setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub setting_id: Option<String>,

    /// Its value as AWS gave it. Absent: unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,

    /// The value that was found before ours was first written, kept for RestorePrevious. Absent where nothing was
    /// written, or foundUnset is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub found: Option<String>,

    /// Whether nothing was set before ours was first written.
    #[serde(default)]
    pub found_unset: bool,

    /// The value that we last wrote, as read back; empty where we set it back to AWS's default. Absent where nothing was
    /// written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub applied: Option<String>,

    /// The value that we are about to write, noted before the call, so that it is known whose it is when the answer is
    /// lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub applying: Option<String>,

    /// Who changed the setting last, as AWS gave it. Absent where AWS does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub last_modified_by: Option<String>,

    /// When the setting was changed last, as AWS gave it. Absent where AWS does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified_at: Option<Time>,
}

/// The document with the Session Manager preferences as last read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionPreferencesStatus {
    /// The version that sessions use. Absent while there is no document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub default_version: Option<String>,

    /// The newest version. Absent while there is no document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub latest_version: Option<String>,

    /// Whose the document is. Absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Ownership>,

    /// The default version that was found before ours was first written. Absent where there was no document, or nothing
    /// was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub found_version: Option<String>,

    /// Whether there was no document before ours was first written.
    pub found_none: bool,

    /// How what sessions are to be logged to and encrypted with stands, by field of the spec. At most 3.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 3),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["field"])
    )]
    pub targets: Vec<SessionTargetStatus>,
}

/// A bucket, log group or key of session preferences as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionTargetStatus {
    /// The field of sessionPreferences that names it: s3, cloudWatch or kmsKeyId.
    #[schemars(length(min = 1, max = 32))]
    pub field: String,

    /// Name of the bucket or log group, or the key as it was declared.
    #[schemars(length(max = 512))]
    pub name: String,

    /// Whether sessions can use it.
    pub state: TargetState,

    /// Why they cannot, as one of the reasons of conditions. Absent while they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
}

/// Whether sessions can use a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TargetState {
    /// Everything that was asked of it holds.
    Usable,
    /// Something does not hold; the preferences are not written.
    NotUsable,
    /// It could not be read; the preferences are not written.
    Unknown,
}

/// What rules the instance metadata defaults, and how instances stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct InstanceMetadataStatus {
    /// Who rules the defaults: account or declarative-policy, as AWS gave it. What a declarative policy rules cannot be
    /// changed in the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub managed_by: Option<String>,

    /// What the declarative policy says to those who try.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub exception_message: Option<String>,

    /// Number of instances that still answer IMDSv1. Absent: not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub imds_v1_allowed: Option<i64>,

    /// Number of instances whose metadata service is off. Absent: not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub metadata_disabled: Option<i64>,
}

/// The rule and the trail of session audit as last read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionAuditStatus {
    /// ARN of the EventBridge rule. Absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1600))]
    pub rule_arn: Option<String>,

    /// Whose the rule is. Absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Ownership>,

    /// ARN of a trail that records sessions. Absent where none was found, or none is looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1600))]
    pub trail_arn: Option<String>,

    /// ARN of the rule that was found before ours was first written. Absent where there was none, or nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1600))]
    pub found_rule: Option<String>,

    /// Whether there was no rule before ours was first written.
    pub found_none: bool,
}

impl JsonSchema for RegionPosture {
    fn schema_name() -> Cow<'static, str> {
        "RegionPosture".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::object::<RegionPostureSpec, RegionPostureStatus>(DESCRIPTION)
    }
}
