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
/// The roles may do what the postures need of them.
pub const PERMISSIONS_READY: &str = "PermissionsReady";
