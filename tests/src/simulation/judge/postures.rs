//! Postures of regions and accounts, as the judge reads them: what each asks for, derived from its spec alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;
use ssm_ready_core::{
    facts::settings::{MetadataField, Setting},
    ids::{AccountId, Region},
    region::Knob,
};

use super::super::{
    kubernetes::{Id, Kind, Kubernetes},
    others::Thing,
    wish::{METADATA, SETTINGS},
    world::account_id,
};

/// A posture of a region or an account, and what its `AwsAccount` allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Posture {
    /// Its object.
    pub id: Id,
    /// The spec.
    pub spec: Value,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// Whether it is to be let go at once.
    pub abandoned: bool,
    /// The account.
    pub account: AccountId,
    /// The region; none for an account's.
    pub region: Option<Region>,
    /// The guardrails of the account; null where it has no object.
    pub rails: Value,
    /// Whether the account's owner admits it.
    pub granted: bool,
    /// When the object was made: the oldest of two works.
    pub born: (String, String),
}

/// A role that a posture declares.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its name.
    pub role: String,
    /// Its path.
    pub path: String,
    /// `ownership`.
    pub ownership: String,
    /// AWS's policies for its purpose.
    pub own: BTreeSet<String>,
    /// Further ones.
    pub extra: BTreeSet<String>,
    /// Who takes it on.
    pub service: &'static str,
    /// Its profile.
    pub profile: Option<String>,
    /// The resources of the statements of its own.
    pub resources: BTreeSet<String>,
}

/// Something that sessions are to be logged to or encrypted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What it is.
    pub thing: Thing,
    /// Its name; a key's ARN or id.
    pub name: String,
    /// Whether it has to be encrypted.
    pub encrypted: bool,
}

impl Target {
    /// Its name, of a key the id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self.thing {
            Thing::Key => self.name.rsplit('/').next().unwrap_or_default(),
            _ => &self.name,
        }
    }
}

/// What is to be of Default Host Management.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Off.
    Off,
    /// On, with the role of an `AccountPosture`.
    Declared(String, String),
    /// On, with this path and role.
    External(String, String),
}

fn at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Posture {
    fn text(&self, pointer: &str) -> &str {
        at(&self.spec, pointer)
    }

    /// Whether AWS may be written to for it.
    #[must_use]
    pub fn works(&self) -> bool {
        self.granted && self.text("/mode") == "Enforce" && self.spec["suspend"] != Value::Bool(true)
    }

    /// Whether the mode is Observe.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.text("/mode") == "Observe"
    }

    /// Whether other people's values are replaced.
    #[must_use]
    pub fn takes_over(&self) -> bool {
        self.text("/adoption") == "TakeOver"
    }

    /// The deletion policy.
    #[must_use]
    pub fn deletion(&self) -> &str {
        self.text("/deletionPolicy")
    }

    /// The value of the owner tag of what it makes.
    #[must_use]
    pub fn owner(&self) -> String {
        let kind = if self.region.is_some() { "RegionPosture" } else { "AccountPosture" };
        format!("{kind}/{}/{}", self.id.1, self.id.2)
    }

    /// Whether it is of this account and region.
    #[must_use]
    pub fn is_of(&self, account: &AccountId, region: &Region) -> bool {
        self.account == *account && self.region.as_ref() == Some(region)
    }

    /// The settings that it declares but for Default Host Management, and the metadata defaults, as AWS spells them.
    #[must_use]
    pub fn knobs(&self) -> BTreeMap<Knob, String> {
        let mut all = BTreeMap::new();
        for (field, setting, values) in SETTINGS {
            let said = self.text(&format!("/serviceSettings/{field}"));
            if let Some((_, value)) = values.iter().find(|(text, _)| *text == said) {
                all.insert(Knob::Setting(setting), (*value).to_owned());
                if setting == Setting::AutomationLogGroup {
                    all.insert(Knob::Setting(Setting::AutomationLogDestination), "CloudWatch".to_owned());
                }
            }
        }
        for (field, knob, values) in METADATA {
            let said = &self.spec["instanceMetadataDefaults"][field];
            let said = said.as_str().map(str::to_owned).or_else(|| said.as_i64().map(|n| n.to_string()));
            if let Some((_, value)) = values.iter().find(|(text, _)| Some(*text) == said.as_deref()) {
                all.insert(Knob::Metadata(knob), (*value).to_owned());
            }
        }
        all
    }

    /// Whether it says what a value is to be.
    #[must_use]
    pub fn declares(&self, knob: Knob) -> bool {
        match knob {
            Knob::Setting(Setting::HostManagementRole) => self.host().is_some(),
            knob => self.knobs().contains_key(&knob),
        }
    }

    /// What is to be of Default Host Management.
    #[must_use]
    pub fn host(&self) -> Option<Host> {
        let host = self.spec.get("hostManagement")?;
        if host["state"] == "Disabled" {
            return Some(Host::Off);
        }
        let external = at(host, "/role/external");
        if external.is_empty() {
            return Some(Host::Declared(
                at(host, "/role/accountPostureRef/name").to_owned(),
                at(host, "/role/name").to_owned(),
            ));
        }
        let (path, name) = external.rsplit_once('/').map_or(("/".to_owned(), external), |(p, n)| (format!("/{p}/"), n));
        Some(Host::External(path, name.to_owned()))
    }

    /// What sessions are to be like, by the inputs of the document that mean something.
    #[must_use]
    pub fn session(&self) -> Option<BTreeMap<String, String>> {
        let session = self.spec.get("sessionPreferences")?;
        let mut inputs = BTreeMap::new();
        let mut put = |name: &str, value: String| inputs.insert(name.to_owned(), value);
        put("idleSessionTimeout", session["idleTimeoutMinutes"].as_i64().unwrap_or(20).to_string());
        if let Some(minutes) = session["maxDurationMinutes"].as_i64() {
            put("maxSessionDuration", minutes.to_string());
        }
        if session["runAs"]["enabled"] == Value::Bool(true) {
            put("runAsEnabled", "true".to_owned());
            put("runAsDefaultUser", at(session, "/runAs/defaultUser").to_owned());
        }
        let linux = at(session, "/shellProfile/linux");
        if !linux.is_empty() {
            put("linux", linux.to_owned());
        }
        for target in self.targets() {
            match target.thing {
                Thing::Bucket => {
                    put("s3BucketName", target.name);
                    put("s3KeyPrefix", at(session, "/s3/keyPrefix").to_owned());
                    if target.encrypted {
                        put("s3EncryptionEnabled", "true".to_owned());
                    }
                }
                Thing::Group => {
                    put("cloudWatchLogGroupName", target.name);
                    if target.encrypted {
                        put("cloudWatchEncryptionEnabled", "true".to_owned());
                    }
                    if session["cloudWatch"]["streaming"] == Value::Bool(true) {
                        put("cloudWatchStreamingEnabled", "true".to_owned());
                    }
                }
                Thing::Key => {
                    put("kmsKeyId", target.name);
                }
            }
        }
        Some(inputs)
    }

    /// What sessions are to be logged to and encrypted with.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let Some(session) = self.spec.get("sessionPreferences") else { return Vec::new() };
        let fields = [
            (Thing::Bucket, "/s3/bucket", "/s3/encryption"),
            (Thing::Group, "/cloudWatch/logGroup", "/cloudWatch/encryption"),
            (Thing::Key, "/kmsKeyId", ""),
        ];
        let named = fields.into_iter().map(|(thing, name, encryption)| Target {
            thing,
            name: at(session, name).to_owned(),
            encrypted: at(session, encryption) == "Required",
        });
        named.filter(|target| !target.name.is_empty()).collect()
    }

    /// Whether a content of the session document is as is wanted: of what sessions are logged to and encrypted with,
    /// that which is not declared is somebody else's to decide.
    #[must_use]
    pub fn is_session(&self, content: &str) -> bool {
        let (Some(wanted), Some(mut meant)) = (self.session(), inputs(content)) else { return false };
        for (prefix, name) in
            [("s3", "s3BucketName"), ("cloudWatch", "cloudWatchLogGroupName"), ("kmsKeyId", "kmsKeyId")]
        {
            if !wanted.contains_key(name) {
                meant.retain(|input, _| !input.starts_with(prefix));
            }
        }
        meant == wanted
    }

    /// The topic that sessions are to be reported to, and whether a trail has to record them.
    #[must_use]
    pub fn audit(&self) -> Option<(String, bool)> {
        let audit = self.spec.get("sessionAudit")?;
        Some((at(audit, "/snsTopicArn").to_owned(), audit["requireTrail"] != Value::Bool(false)))
    }

    /// Whether it has code or another user on nodes.
    #[must_use]
    pub fn shapes_shells(&self) -> bool {
        self.session().is_some_and(|inputs| inputs.contains_key("linux") || inputs.contains_key("runAsEnabled"))
    }

    /// Whether the guardrails allow that.
    #[must_use]
    pub fn may_shape_shells(&self) -> bool {
        self.rails["sessionShell"] == "Allowed"
    }

    /// The roles that it declares.
    #[must_use]
    pub fn roles(&self) -> Vec<Declared> {
        const AWS: &str = "arn:aws:iam::aws:policy/";
        let mut all = Vec::new();
        let texts = |value: &Value| -> BTreeSet<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let declared = |role: &Value, service, own: &[&str]| Declared {
            role: at(role, "/roleName").to_owned(),
            path: at(role, "/path").to_owned(),
            ownership: at(role, "/ownership").to_owned(),
            own: own.iter().map(|name| format!("{AWS}{name}")).collect(),
            extra: texts(&role["extraManagedPolicies"]),
            service,
            profile: None,
            resources: BTreeSet::new(),
        };
        if let Some(role) = self.spec.get("hostManagementRole") {
            all.push(declared(role, "ssm.amazonaws.com", &["AmazonSSMManagedEC2InstanceDefaultPolicy"]));
        }
        for role in self.spec["instanceRoles"].as_array().into_iter().flatten() {
            let capabilities = texts(&role["capabilities"]);
            let mut own = vec!["AmazonSSMManagedInstanceCore"];
            if capabilities.contains("Patching") {
                own.push("AmazonSSMPatchAssociation");
            }
            let mut one = declared(role, "ec2.amazonaws.com", &own);
            let profile = at(role, "/profileName");
            one.profile = Some(if profile.is_empty() { one.role.clone() } else { profile.to_owned() });
            let own = role.pointer("/s3/own").and_then(Value::as_array);
            for bucket in own.into_iter().flatten().map(|own| at(own, "/bucket")) {
                one.resources.extend([format!("arn:aws:s3:::{bucket}/*"), format!("arn:aws:s3:::{bucket}")]);
            }
            if role.pointer("/s3/awsBuckets").is_some() {
                // One of them says that all are there: their names are proved elsewhere.
                one.resources.insert("arn:aws:s3:::aws-ssm-eu-west-1/*".to_owned());
            }
            one.resources.extend(texts(&role["kmsKeys"]));
            if capabilities.contains("CloudWatchLogging") {
                one.resources.insert(format!("arn:aws:logs:*:{}:log-group:*", self.account));
            }
            all.push(one);
        }
        all
    }

    /// Whether the guardrails allow a role, and which policies they allow it.
    #[must_use]
    pub fn allows_path(&self, path: &str) -> bool {
        let prefixes = self.rails["rolePathPrefixes"].as_array();
        prefixes.is_none_or(|all| all.iter().filter_map(Value::as_str).any(|prefix| path.starts_with(prefix)))
    }

    /// Whether the guardrails list a policy.
    #[must_use]
    pub fn lists(&self, policy: &str) -> bool {
        self.rails["managedPolicies"].as_array().is_some_and(|all| all.iter().any(|p| p == policy))
    }

    /// The boundary that the guardrails ask for.
    #[must_use]
    pub fn boundary(&self) -> Option<&str> {
        self.rails["permissionsBoundary"].as_str()
    }

    /// Whether a role that it declares is within the guardrails.
    #[must_use]
    pub fn is_within_rails(&self, role: &Declared) -> bool {
        self.allows_path(&role.path) && role.extra.iter().all(|policy| self.lists(policy))
    }
}

/// All postures of regions and accounts.
///
/// # Errors
/// An object that is not one.
pub fn postures(kubernetes: &Kubernetes) -> Result<Vec<Posture>> {
    let mut all = Vec::new();
    let objects = [Kind::Region, Kind::AccountPosture].into_iter().flat_map(|kind| kubernetes.all(kind));
    for (id, object) in objects {
        let name = at(&object, "/spec/target/accountRef/name").to_owned();
        let number: usize =
            name.strip_prefix("account-").and_then(|n| n.parse().ok()).context("an account of another world")?;
        let region = object.pointer("/spec/target/region").and_then(Value::as_str);
        let owner = kubernetes.get(&(Kind::Account, String::new(), name)).unwrap_or_default();
        let names = owner.pointer("/spec/access/0/namespaces/names").and_then(Value::as_array);
        all.push(Posture {
            leaving: !object["metadata"]["deletionTimestamp"].is_null(),
            abandoned: !object["metadata"]["annotations"]["ssmready.dev/abandon"].is_null(),
            account: account_id(number).parse()?,
            region: region.map(str::parse).transpose()?,
            granted: names.is_some_and(|names| names.iter().any(|name| *name == id.1)),
            rails: owner.pointer("/spec/guardrails").cloned().unwrap_or_default(),
            born: (at(&object, "/metadata/creationTimestamp").to_owned(), at(&object, "/metadata/uid").to_owned()),
            spec: object["spec"].clone(),
            id,
        });
    }
    Ok(all)
}

/// What a session document means: its inputs but for those that say what goes without saying. None for what is none.
#[must_use]
pub fn inputs(content: &str) -> Option<BTreeMap<String, String>> {
    let document: Value = serde_json::from_str(content).ok()?;
    if document["sessionType"] != "Standard_Stream" {
        return None;
    }
    let mut all = BTreeMap::new();
    let said = document["inputs"].as_object().cloned().unwrap_or_default();
    for (name, value) in said {
        let parts = match value {
            Value::Object(parts) => parts.into_iter().collect(),
            value => vec![(name, value)],
        };
        for (name, value) in parts {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !text.is_empty() && text != "false" {
                all.insert(name, text);
            }
        }
    }
    all.entry("idleSessionTimeout".to_owned()).or_insert_with(|| "20".to_owned());
    if !all.contains_key("runAsEnabled") {
        all.remove("runAsDefaultUser");
    }
    Some(all)
}

/// The metadata defaults of an entry of the journal.
#[must_use]
pub fn metadata(words: &str) -> BTreeMap<MetadataField, String> {
    let pairs = words.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs
        .filter_map(|(name, value)| {
            let field = MetadataField::ALL.into_iter().find(|field| field.name() == name)?;
            Some((field, value.to_owned()))
        })
        .collect()
}

/// Whether an event pattern takes in the start, resumption and end of sessions, and nothing else.
#[must_use]
pub fn reports_sessions(pattern: &str) -> bool {
    let pattern: Value = serde_json::from_str(pattern).unwrap_or_default();
    let texts = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let are = |value: &Value, all: &[&str]| texts(value) == all.iter().map(|text| (*text).to_owned()).collect();
    are(&pattern["source"], &["aws.ssm"])
        && are(&pattern["detail-type"], &["AWS API Call via CloudTrail"])
        && are(&pattern["detail"]["eventSource"], &["ssm.amazonaws.com"])
        && are(&pattern["detail"]["eventName"], &["StartSession", "ResumeSession", "TerminateSession"])
        && pattern.as_object().is_some_and(|fields| fields.len() == 3)
        && pattern["detail"].as_object().is_some_and(|fields| fields.len() == 2)
}
