//! What Systems Manager and EC2 keep once for an account and region.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;

use super::Tags;

/// A service setting of Systems Manager (ServiceSetting). There are no others; none can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// The role of Default Host Management: its path without the leading slash, and its name.
    HostManagementRole,
    /// Whether hybrid nodes are of the advanced tier, which is billed.
    ActivationTier,
    /// The tier of new parameters.
    ParameterTier,
    /// Whether Parameter Store takes more requests, which is billed.
    ParameterHighThroughput,
    /// Whether documents can be shared with everybody.
    PublicDocumentSharing,
    /// Application Manager.
    AppManager,
    /// OpsCenter.
    OpsCenter,
    /// Where the output of scripts of Automation goes.
    AutomationLogDestination,
    /// The log group that it goes to.
    AutomationLogGroup,
    /// Whether Automation runs more at once as needed.
    AutomationAdaptiveConcurrency,
}

impl Setting {
    /// All of them. The destination of logs comes before their group.
    pub const ALL: [Self; 10] = [
        Self::HostManagementRole,
        Self::ActivationTier,
        Self::ParameterTier,
        Self::ParameterHighThroughput,
        Self::PublicDocumentSharing,
        Self::AppManager,
        Self::OpsCenter,
        Self::AutomationLogDestination,
        Self::AutomationLogGroup,
        Self::AutomationAdaptiveConcurrency,
    ];

    /// Its id in AWS's API (GetServiceSetting, `SettingId`).
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::HostManagementRole => "/ssm/managed-instance/default-ec2-instance-management-role",
            Self::ActivationTier => "/ssm/managed-instance/activation-tier",
            Self::ParameterTier => "/ssm/parameter-store/default-parameter-tier",
            Self::ParameterHighThroughput => "/ssm/parameter-store/high-throughput-enabled",
            Self::PublicDocumentSharing => "/ssm/documents/console/public-sharing-permission",
            Self::AppManager => "/ssm/appmanager/appmanager-enabled",
            Self::OpsCenter => "/ssm/opsinsights/opscenter",
            Self::AutomationLogDestination => "/ssm/automation/customer-script-log-destination",
            Self::AutomationLogGroup => "/ssm/automation/customer-script-log-group-name",
            Self::AutomationAdaptiveConcurrency => "/ssm/automation/enable-adaptive-concurrency",
        }
    }

    /// The value of an account that never set it, where AWS documents one; its case counts for nothing.
    #[must_use]
    pub fn default_value(self) -> Option<&'static str> {
        match self {
            Self::ActivationTier => Some("standard"),
            Self::ParameterTier => Some("Standard"),
            Self::ParameterHighThroughput => Some("false"),
            Self::PublicDocumentSharing => Some("Enable"),
            Self::HostManagementRole
            | Self::AppManager
            | Self::OpsCenter
            | Self::AutomationLogDestination
            | Self::AutomationLogGroup
            | Self::AutomationAdaptiveConcurrency => None,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The value of a service setting (GetServiceSetting).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingValue {
    /// The value; none where AWS gives none, or an empty one, or `$None`.
    pub value: Option<String>,
    /// `Default`, `Customized` or `PendingUpdate` as documented; others have been seen. A hint, no more.
    pub status: String,
    /// The ARN of whoever changed it last; AWS says it only where it was changed.
    pub modified_by: Option<String>,
    /// When it was changed last.
    pub modified_at: Option<Timestamp>,
}

/// A default that EC2 gives the metadata options of new instances, once for an account and region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetadataField {
    /// `HttpTokens`: `optional` or `required`.
    HttpTokens,
    /// `HttpPutResponseHopLimit`: 1 to 64.
    HopLimit,
    /// `HttpEndpoint`: `enabled` or `disabled`.
    HttpEndpoint,
    /// `InstanceMetadataTags`: `enabled` or `disabled`.
    InstanceMetadataTags,
    /// `HttpTokensEnforced`: `enabled` or `disabled`.
    HttpTokensEnforced,
}

impl MetadataField {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::HttpTokens, Self::HopLimit, Self::HttpEndpoint, Self::InstanceMetadataTags, Self::HttpTokensEnforced];

    /// Its name in AWS's API (ModifyInstanceMetadataDefaults).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpTokens => "HttpTokens",
            Self::HopLimit => "HttpPutResponseHopLimit",
            Self::HttpEndpoint => "HttpEndpoint",
            Self::InstanceMetadataTags => "InstanceMetadataTags",
            Self::HttpTokensEnforced => "HttpTokensEnforced",
        }
    }

    /// The value that takes the default away (ModifyInstanceMetadataDefaults).
    #[must_use]
    pub fn no_preference(self) -> &'static str {
        match self {
            Self::HopLimit => "-1",
            _ => "no-preference",
        }
    }
}

/// The metadata defaults of an account and region (GetInstanceMetadataDefaults).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataDefaults {
    /// Values by field, in lower case; a field that is not there has no default.
    pub values: BTreeMap<MetadataField, String>,
    /// Whether a declarative policy of the organisation sets them, so that the account cannot.
    pub by_declarative_policy: bool,
    /// What the organisation says to those who try.
    pub exception_message: Option<String>,
}

/// The name of the document that Session Manager takes its preferences from.
pub const SESSION_DOCUMENT: &str = "SSM-SessionManagerRunShell";

/// A version of a document, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentVersion {
    /// The one that is used: `$DEFAULT`.
    Default,
    /// The newest: `$LATEST`.
    Latest,
}

impl DocumentVersion {
    /// As AWS spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "$DEFAULT",
            Self::Latest => "$LATEST",
        }
    }
}

/// The state of a version of a document (`DocumentStatus`; compared without regard to case).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentStatus {
    /// Being made.
    Creating,
    /// In use, or fit for it.
    Active,
    /// Being changed.
    Updating,
    /// Going.
    Deleting,
    /// Could not be made.
    Failed,
    /// A state that we do not know: not in use.
    Unknown(String),
}

impl DocumentStatus {
    /// Reads a state in any casing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "creating" => Self::Creating,
            "active" => Self::Active,
            "updating" => Self::Updating,
            "deleting" => Self::Deleting,
            "failed" => Self::Failed,
            _ => Self::Unknown(text.to_owned()),
        }
    }

    /// The state as AWS's documentation spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Creating => "Creating",
            Self::Active => "Active",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
            Self::Unknown(text) => text,
        }
    }
}

/// A version of the session document (GetDocument).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDocument {
    /// Its number.
    pub version: String,
    /// Its content, as JSON.
    pub content: String,
    /// Its state.
    pub status: DocumentStatus,
}

/// The session document as a whole (DescribeDocument).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDocumentInfo {
    /// The number of the version that is used.
    pub default_version: String,
    /// The number of the newest version.
    pub latest_version: String,
    /// Its tags.
    pub tags: Tags,
}
