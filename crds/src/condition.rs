//! The condition types that are written to `status.conditions`.

/// This object's work for this generation is done and its result can be trusted.
pub const READY: &str = "Ready";
/// AWS matches the posture.
pub const COMPLIANT: &str = "Compliant";
/// Work is under way or will be retried soon; present only while True.
pub const RECONCILING: &str = "Reconciling";
/// Only a human can help; present only while True.
pub const STALLED: &str = "Stalled";
/// `spec.suspend` is set; present only while True.
pub const SUSPENDED: &str = "Suspended";
/// The account can be entered with the declared role, and is the declared one.
pub const ACCOUNT_READY: &str = "AccountReady";
/// Every endpoint is there, available, and as declared.
pub const ENDPOINTS_READY: &str = "EndpointsReady";
/// The security groups of the endpoints admit the VPC and the declared clients.
pub const SECURITY_GROUP_READY: &str = "SecurityGroupReady";
/// The VPC's DNS attributes and the endpoints' private DNS hold.
pub const DNS_READY: &str = "DnsReady";
/// The S3 gateway endpoint is in the declared route tables.
pub const ROUTES_READY: &str = "RoutesReady";
/// The endpoints' policies are as declared.
pub const POLICY_READY: &str = "PolicyReady";
/// Default Host Management is as declared, and its role can be used.
pub const HOST_MANAGEMENT_READY: &str = "HostManagementReady";
/// The document with the Session Manager preferences is as declared.
pub const SESSION_PREFERENCES_READY: &str = "SessionPreferencesReady";
/// Every declared service setting has the declared value.
pub const SERVICE_SETTINGS_READY: &str = "ServiceSettingsReady";
/// The declared instance metadata defaults hold.
pub const METADATA_DEFAULTS_READY: &str = "MetadataDefaultsReady";
/// Sessions are reported as declared, and a trail records them.
pub const AUDIT_READY: &str = "AuditReady";
/// Every declared role is there, trusted, and with the declared policies.
pub const ROLES_READY: &str = "RolesReady";
/// Every instance role has its instance profile, with the role in it.
pub const PROFILES_READY: &str = "ProfilesReady";
/// The VPC's instances can be managed with the instance profiles that they have, or without one. Holds nothing up.
pub const INSTANCE_PROFILES_READY: &str = "InstanceProfilesReady";
/// The roles may do what the postures need of them.
pub const PERMISSIONS_READY: &str = "PermissionsReady";
