//! What regions and accounts of a world are to be, and how that is drawn.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use ssm_ready_core::facts::settings::{MetadataField, Setting};

use super::world::account_id;

/// A managed policy that guardrails may list. It allows what sessions are logged with.
pub const EXTRA: &str = "arn:aws:iam::aws:policy/PowerUserAccess";
/// A bucket of the organisation.
pub const BUCKET: &str = "org-session-logs";
/// Roles of Default Host Management, and where each belongs.
pub const HOST_ROLES: [(&str, &str); 2] =
    [("AWSSystemsManagerDefaultEC2InstanceManagementRole", "/service-role/"), ("host-management", "/ssm-ready/")];
/// Roles of instances.
pub const INSTANCE_ROLES: [&str; 3] = ["web", "web-2", "batch"];
/// A field of the spec, what it stands for, and values of it as the spec and as AWS spells them.
pub type Spelled<T> = (&'static str, T, &'static [(&'static str, &'static str)]);
/// The values that settings are drawn with.
pub const SETTINGS: [Spelled<Setting>; 8] = [
    ("activationTier", Setting::ActivationTier, &[("Standard", "standard"), ("Advanced", "advanced")]),
    (
        "parameterTier",
        Setting::ParameterTier,
        &[("Standard", "Standard"), ("Advanced", "Advanced"), ("IntelligentTiering", "Intelligent-Tiering")],
    ),
    ("parameterHighThroughput", Setting::ParameterHighThroughput, &[("Enabled", "true"), ("Disabled", "false")]),
    ("publicDocumentSharing", Setting::PublicDocumentSharing, &[("Enabled", "Enable"), ("Disabled", "Disable")]),
    ("appManager", Setting::AppManager, &[("Enabled", "True"), ("Disabled", "False")]),
    ("opsCenter", Setting::OpsCenter, &[("Enabled", "Enabled"), ("Disabled", "Disabled")]),
    ("automationLogGroup", Setting::AutomationLogGroup, &[("/ssm/automation", "/ssm/automation"), ("logs", "logs")]),
    (
        "automationAdaptiveConcurrency",
        Setting::AutomationAdaptiveConcurrency,
        &[("Enabled", "True"), ("Disabled", "False")],
    ),
];
/// The values that metadata defaults are drawn with, as the spec and as AWS spells them.
pub const METADATA: [Spelled<MetadataField>; 5] = [
    ("httpTokens", MetadataField::HttpTokens, &[("Required", "required"), ("Optional", "optional")]),
    ("hopLimit", MetadataField::HopLimit, &[("1", "1"), ("2", "2")]),
    ("httpEndpoint", MetadataField::HttpEndpoint, &[("Enabled", "enabled"), ("Disabled", "disabled")]),
    ("instanceMetadataTags", MetadataField::InstanceMetadataTags, &[("Enabled", "enabled"), ("Disabled", "disabled")]),
    ("httpTokensEnforced", MetadataField::HttpTokensEnforced, &[("Enabled", "enabled"), ("Disabled", "disabled")]),
];

/// The boundary that guardrails may ask for.
#[must_use]
pub fn boundary(account: usize) -> String {
    format!("arn:aws:iam::{}:policy/ssm-boundary", account_id(account))
}

/// What the guardrails of an account are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rails {
    /// Whether [`EXTRA`] is listed.
    pub extra: bool,
    /// Whether paths are restricted to those of [`HOST_ROLES`].
    pub paths: bool,
    /// Whether roles are bounded.
    pub boundary: bool,
    /// Whether shells may be shaped.
    pub shell: bool,
}

impl Rails {
    /// They forbid nothing.
    pub const OPEN: Self = Self { extra: true, paths: false, boundary: false, shell: true };

    /// The guardrails of an account.
    #[must_use]
    pub fn spec(self, account: usize) -> Value {
        let mut spec = json!({
            "apiSharePercent": 80,
            "sessionShell": if self.shell { "Allowed" } else { "Forbidden" },
        });
        if self.extra {
            spec["managedPolicies"] = json!([EXTRA]);
        }
        if self.paths {
            spec["rolePathPrefixes"] = json!(["/ssm-ready/", "/service-role/"]);
        }
        if self.boundary {
            spec["permissionsBoundary"] = json!(boundary(account));
        }
        spec
    }
}

/// What is wanted of Default Host Management.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Nothing is said.
    Silent,
    /// Off.
    Off,
    /// On, with a role that somebody else sees to: by its number in [`HOST_ROLES`].
    External(usize),
    /// On, with the role of an `AccountPosture`, by its number.
    Declared(usize),
}

/// What is wanted of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Minutes after which an idle one ends.
    pub idle: u16,
    /// Minutes after which any ends.
    pub longest: Option<u16>,
    /// Whether it begins with a command of its own.
    pub shell: bool,
    /// Whether it runs as another user.
    pub run_as: bool,
    /// What it is logged to and encrypted with.
    pub logs: Logs,
}

/// What is wanted of sessions' logs. Numbers are those of things that an account and region has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Logs {
    /// A bucket, and whether it must be encrypted: 0 and 1 are there, 2 is in another region, and 3 nowhere.
    pub bucket: Option<(usize, bool)>,
    /// A log group, and whether it must be encrypted: 0 and 1 are there, and 2 is not.
    pub group: Option<(usize, bool)>,
    /// A key: 0 and 1 are there, and 2 makes no data keys.
    pub key: Option<usize>,
}

/// A bucket of an account and region, by its number: unique in all of AWS.
#[must_use]
pub fn bucket(account: usize, region: &str, number: usize) -> String {
    format!("sessions-{}-{region}-{}", account_id(account), number % 4)
}

/// A log group, by its number.
#[must_use]
pub fn log_group(number: usize) -> String {
    format!("/ssm/sessions-{}", number % 3)
}

/// The id of a key, by its number.
#[must_use]
pub fn key_id(number: usize) -> String {
    format!("0a1b2c3d-1111-2222-3333-44445555666{}", number % 3)
}

impl Logs {
    /// As a spec has it.
    fn put(self, wanted: &mut Value, account: usize, region: &str) {
        let encryption = |required: bool| if required { "Required" } else { "NotChecked" };
        if let Some((number, required)) = self.bucket {
            wanted["s3"] = json!({
                "bucket": bucket(account, region, number), "keyPrefix": "payments", "encryption": encryption(required),
            });
        }
        if let Some((number, required)) = self.group {
            let streaming = number == 0;
            wanted["cloudWatch"] = json!({
                "logGroup": log_group(number), "encryption": encryption(required), "streaming": streaming,
            });
        }
        if let Some(number) = self.key {
            let id = key_id(number);
            // By its ARN or by its id.
            wanted["kmsKeyId"] = match number {
                1 => json!(id),
                _ => json!(format!("arn:aws:kms:{region}:{}:key/{id}", account_id(account))),
            };
        }
    }
}

/// What is wanted of session audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// Which of the two topics of the account and region.
    pub topic: usize,
    /// Whether a trail has to record sessions.
    pub trail: bool,
}

/// A topic of an account and region, by its number.
#[must_use]
pub fn topic(account: usize, region: &str, number: usize) -> String {
    format!("arn:aws:sns:{region}:{}:sessions-{}", account_id(account), number % 2)
}

/// What a `RegionPosture` wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionWish {
    /// Whether the mode is Observe.
    pub observe: bool,
    /// Whether other people's values are replaced.
    pub take_over: bool,
    /// `deletionPolicy`.
    pub deletion: &'static str,
    /// Default Host Management.
    pub host: Host,
    /// Session Manager preferences.
    pub session: Option<Session>,
    /// Session audit.
    pub audit: Option<Audit>,
    /// Settings: the numbers of the field and of the value in [`SETTINGS`].
    pub settings: Vec<(usize, usize)>,
    /// Metadata defaults: likewise of [`METADATA`].
    pub metadata: Vec<(usize, usize)>,
}

fn of(
    table: impl Fn(usize) -> (&'static str, &'static [(&'static str, &'static str)]),
    all: &[(usize, usize)],
) -> Value {
    let mut fields = Map::new();
    for (field, value) in all {
        let (name, values) = table(*field);
        let text = values[value % values.len()].0;
        let value = text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number));
        fields.insert(name.to_owned(), value);
    }
    Value::Object(fields)
}

/// The number of an account, by the name of its object.
fn number_of(account: &str) -> usize {
    account.strip_prefix("account-").and_then(|number| number.parse().ok()).unwrap_or_default()
}

impl RegionWish {
    /// The spec of a `RegionPosture`; `accounts` is how many `AccountPosture`s there are.
    #[must_use]
    pub fn spec(&self, account: &str, region: &str, accounts: usize, suspend: bool) -> Value {
        let mut spec = json!({
            "target": { "accountRef": { "name": account }, "region": region },
            "mode": if self.observe { "Observe" } else { "Enforce" },
            "interval": "10m",
            "suspend": suspend,
            "adoption": if self.take_over { "TakeOver" } else { "UseExisting" },
            "deletionPolicy": self.deletion,
        });
        match &self.host {
            Host::Silent => {}
            Host::Off => spec["hostManagement"] = json!({ "state": "Disabled" }),
            Host::External(number) => {
                let (name, path) = HOST_ROLES[number % HOST_ROLES.len()];
                let external = format!("{}{name}", path.trim_start_matches('/'));
                spec["hostManagement"] = json!({ "state": "Enabled", "role": { "external": external } });
            }
            Host::Declared(number) => {
                let name = format!("roles-{}", number % accounts.max(1));
                let role = json!({ "accountPostureRef": { "name": name }, "name": "host-management" });
                spec["hostManagement"] = json!({ "state": "Enabled", "role": role });
            }
        }
        if let Some(session) = self.session {
            let mut wanted = json!({ "idleTimeoutMinutes": session.idle });
            if let Some(minutes) = session.longest {
                wanted["maxDurationMinutes"] = json!(minutes);
            }
            if session.shell {
                wanted["shellProfile"] = json!({ "linux": "exec bash" });
            }
            if session.run_as {
                wanted["runAs"] = json!({ "enabled": true, "defaultUser": "ops" });
            }
            session.logs.put(&mut wanted, number_of(account), region);
            spec["sessionPreferences"] = wanted;
        }
        if let Some(audit) = self.audit {
            spec["sessionAudit"] =
                json!({ "snsTopicArn": topic(number_of(account), region, audit.topic), "requireTrail": audit.trail });
        }
        if !self.settings.is_empty() {
            spec["serviceSettings"] = of(|n| (SETTINGS[n].0, SETTINGS[n].2), &self.settings);
        }
        if !self.metadata.is_empty() {
            spec["instanceMetadataDefaults"] = of(|n| (METADATA[n].0, METADATA[n].2), &self.metadata);
        }
        spec
    }
}

/// A role that an `AccountPosture` declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleWish {
    /// The role's number: in [`HOST_ROLES`] or [`INSTANCE_ROLES`].
    pub role: usize,
    /// Whether it has another path than the usual one.
    pub elsewhere: bool,
    /// `ownership`.
    pub ownership: &'static str,
    /// Whether it has [`EXTRA`].
    pub extra: bool,
    /// Of an instance role: whether it has statements of its own, for buckets and a key, and for logs.
    pub statements: (bool, bool),
    /// Of an instance role: whether its profile has another name.
    pub profile: bool,
}

/// What an `AccountPosture` wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolesWish {
    /// Whether the mode is Observe.
    pub observe: bool,
    /// `deletionPolicy`.
    pub deletion: &'static str,
    /// The value of a tag, if there is one.
    pub tag: Option<&'static str>,
    /// The role of Default Host Management.
    pub host: Option<RoleWish>,
    /// Roles of instances: `web` and `batch`.
    pub instances: [Option<RoleWish>; 2],
}

impl RolesWish {
    /// The spec of an `AccountPosture`.
    #[must_use]
    pub fn spec(&self, account: usize, suspend: bool) -> Value {
        let mut spec = json!({
            "target": { "accountRef": { "name": format!("account-{account}") } },
            "mode": if self.observe { "Observe" } else { "Enforce" },
            "interval": "10m",
            "suspend": suspend,
            "deletionPolicy": self.deletion,
        });
        if let Some(tag) = self.tag {
            spec["tags"] = json!([{ "key": "CostCenter", "value": tag }]);
        }
        let extra = |role: &RoleWish| if role.extra { vec![EXTRA] } else { vec![] };
        if let Some(role) = &self.host {
            let (name, path) = HOST_ROLES[role.role % HOST_ROLES.len()];
            spec["hostManagementRole"] = json!({
                "name": "host-management",
                "roleName": name,
                "path": if role.elsewhere { "/elsewhere/" } else { path },
                "ownership": role.ownership,
                "extraManagedPolicies": extra(role),
            });
        }
        let mut roles = Vec::new();
        for (entry, role) in self.instances.iter().enumerate().filter_map(|(n, role)| Some((n, role.as_ref()?))) {
            let (entry, name) = if entry == 0 { ("web", INSTANCE_ROLES[role.role % 2]) } else { ("batch", "batch") };
            let mut spec = json!({
                "name": entry,
                "roleName": name,
                "path": if role.elsewhere { "/elsewhere/" } else { "/ssm-ready/" },
                "ownership": role.ownership,
                "extraManagedPolicies": extra(role),
                "capabilities": if role.statements.1 { vec!["SessionManager", "CloudWatchLogging"] } else { vec!["Patching"] },
            });
            if role.profile {
                spec["profileName"] = json!(format!("{entry}-profile"));
            }
            if role.statements.0 {
                spec["s3"] = json!({
                    "awsBuckets": { "regions": ["eu-west-1"] },
                    "own": [{ "bucket": BUCKET, "access": "Write", "encrypted": true }],
                });
                spec["kmsKeys"] = json!([format!("arn:aws:kms:eu-west-1:{}:key/0a1b2c3d", account_id(account))]);
            }
            roles.push(spec);
        }
        if !roles.is_empty() {
            spec["instanceRoles"] = json!(roles);
        }
        spec
    }
}

fn some(
    table: impl Iterator<Item = usize> + Clone + 'static,
    most: usize,
) -> impl Strategy<Value = Vec<(usize, usize)>> {
    let fields = prop::sample::subsequence(table.collect::<Vec<_>>(), 0..=most);
    (fields, 0..6_usize).prop_map(|(fields, value)| fields.into_iter().map(|field| (field, value + field)).collect())
}

fn logs() -> impl Strategy<Value = Logs> {
    let most = |odds| prop::bool::weighted(odds);
    let bucket = (prop::sample::select(vec![0_usize, 0, 0, 1, 1, 2, 3]), most(0.8));
    let group = (prop::sample::select(vec![0_usize, 0, 0, 1, 1, 2]), most(0.8));
    let key = prop::sample::select(vec![0_usize, 0, 0, 1, 1, 2]);
    let some =
        (prop::option::weighted(0.6, bucket), prop::option::weighted(0.5, group), prop::option::weighted(0.5, key))
            .prop_map(|(bucket, group, key)| Logs { bucket, group, key });
    prop_oneof![1 => Just(Logs::default()), 1 => some]
}

/// Draws what a `RegionPosture` wants.
pub fn region_wishes() -> impl Strategy<Value = RegionWish> {
    let host = prop_oneof![
        2 => Just(Host::Silent),
        1 => Just(Host::Off),
        2 => (0..2_usize).prop_map(Host::External),
        4 => (0..2_usize).prop_map(Host::Declared),
    ];
    let session = (
        prop::sample::select(vec![5_u16, 20, 60]),
        prop::option::of(Just(60_u16)),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
        logs(),
    )
        .prop_map(|(idle, longest, shell, run_as, logs)| Session { idle, longest, shell, run_as, logs });
    (
        (prop::bool::weighted(0.08), prop::bool::weighted(0.35)),
        prop::sample::select(vec!["Retain", "RestorePrevious", "RestorePrevious", "Reset"]),
        host,
        prop::option::weighted(0.6, session),
        prop::option::weighted(
            0.4,
            (0..2_usize, prop::bool::weighted(0.8)).prop_map(|(topic, trail)| Audit { topic, trail }),
        ),
        some(0..SETTINGS.len(), 3),
        some(0..METADATA.len(), 2),
    )
        .prop_map(|((observe, take_over), deletion, host, session, audit, mut settings, metadata)| {
            let nothing = host == Host::Silent && session.is_none() && audit.is_none();
            if nothing && metadata.is_empty() && settings.is_empty() {
                // Something has to be declared.
                settings.push((0, 1));
            }
            RegionWish { observe, take_over, deletion, host, session, audit, settings, metadata }
        })
}

fn role_wishes() -> impl Strategy<Value = RoleWish> {
    (
        0..2_usize,
        prop::bool::weighted(0.08),
        prop::sample::select(vec!["Create", "Create", "Create", "AttachOnly", "TakeOver"]),
        prop::bool::weighted(0.25),
        (prop::bool::weighted(0.4), prop::bool::weighted(0.3)),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(role, elsewhere, ownership, extra, statements, profile)| RoleWish {
            role,
            elsewhere,
            ownership,
            extra,
            statements,
            profile,
        })
}

/// Draws what an `AccountPosture` wants.
pub fn roles_wishes() -> impl Strategy<Value = RolesWish> {
    (
        prop::bool::weighted(0.08),
        prop::sample::select(vec!["Retain", "Delete"]),
        prop::sample::select(vec![None, Some("4711"), Some("4712")]),
        prop::option::weighted(0.8, role_wishes()),
        prop::option::weighted(0.5, role_wishes()),
        prop::option::weighted(0.3, role_wishes()),
    )
        .prop_map(|(observe, deletion, tag, mut host, web, batch)| {
            if web.is_none() && batch.is_none() && host.is_none() {
                // Some role has to be declared.
                host = Some(RoleWish {
                    role: 0,
                    elsewhere: false,
                    ownership: "Create",
                    extra: false,
                    statements: (false, false),
                    profile: false,
                });
            }
            RolesWish { observe, deletion, tag, host, instances: [web, batch] }
        })
}

/// Draws guardrails.
pub fn rails() -> impl Strategy<Value = Rails> {
    (prop::bool::weighted(0.7), prop::bool::weighted(0.3), prop::bool::weighted(0.3), prop::bool::weighted(0.7))
        .prop_map(|(extra, paths, boundary, shell)| Rails { extra, paths, boundary, shell })
}
