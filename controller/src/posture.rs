//! What the postures have in common, so that one way of going about them serves every kind.

use std::fmt::Debug;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Resource, core::DeserializeGuard, runtime::reflector::Store};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use ssm_ready_core::evaluate::Facet;
use ssm_ready_crds::{
    AccessKind, AccountDeletionPolicy, AccountPosture, AccountPostureStatus, DeletionPolicy, DeletionStatus, Drift,
    Mode, PlanStatus, RegionDeletionPolicy, RegionPosture, RegionPostureStatus, VpcPosture, VpcPostureStatus,
};

use crate::{
    context::{Key, Stores},
    status::spec_hash,
};

/// The parts that every status has.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The generation that it is about.
    pub observed_generation: &'a mut i64,
    /// Conditions.
    pub conditions: &'a mut Vec<Condition>,
    /// The account's number.
    pub account_id: &'a mut Option<String>,
    /// What is to be done.
    pub plan: &'a mut Option<PlanStatus>,
    /// What was changed behind our back.
    pub drift: &'a mut Vec<Drift>,
    /// How its deletion stands.
    pub deletion: &'a mut Option<DeletionStatus>,
    /// The request that was acted upon last.
    pub last_handled_requested_at: &'a mut Option<String>,
    /// The spec that it is about.
    pub observed_spec_hash: &'a mut Option<String>,
}

/// The status of a posture.
pub trait PostureStatus:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The parts that every status has.
    fn parts(&mut self) -> Parts<'_>;
    /// Conditions.
    fn conditions(&self) -> &[Condition];
    /// The generation that it is about.
    fn observed_generation(&self) -> i64;
    /// The request that was acted upon last.
    fn last_handled_requested_at(&self) -> Option<&str>;
    /// The spec that it is about.
    fn observed_spec_hash(&self) -> Option<&str>;
}

macro_rules! status {
    ($($status:ty),*) => {
        $(impl PostureStatus for $status {
            fn parts(&mut self) -> Parts<'_> {
                Parts {
                    observed_generation: &mut self.observed_generation,
                    conditions: &mut self.conditions,
                    account_id: &mut self.account_id,
                    plan: &mut self.plan,
                    drift: &mut self.drift,
                    deletion: &mut self.deletion,
                    last_handled_requested_at: &mut self.last_handled_requested_at,
                    observed_spec_hash: &mut self.observed_spec_hash,
                }
            }

            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }

            fn observed_generation(&self) -> i64 {
                self.observed_generation
            }

            fn last_handled_requested_at(&self) -> Option<&str> {
                self.last_handled_requested_at.as_deref()
            }

            fn observed_spec_hash(&self) -> Option<&str> {
                self.observed_spec_hash.as_deref()
            }
        })*
    };
}

status!(VpcPostureStatus, RegionPostureStatus, AccountPostureStatus);

/// A posture of any kind.
pub trait Posture:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Its status.
    type Status: PostureStatus;
    /// Its kind.
    const KIND: &'static str;
    /// Its kind in an account's access.
    const ACCESS: AccessKind;
    /// The field that says what becomes of what it made.
    const POLICY_FIELD: &'static str;

    /// Its key.
    fn key(namespace: String, name: String) -> Key;
    /// Where the objects of its kind are.
    fn store(stores: &Stores) -> &Store<DeserializeGuard<Self>>;
    /// The `AwsAccount` that it names.
    fn account(&self) -> &str;
    /// The region, if it is about one.
    fn region(&self) -> Option<&str>;
    /// The mode.
    fn mode(&self) -> Mode;
    /// Whether it is suspended.
    fn suspend(&self) -> bool;
    /// A digest of the spec without `suspend`.
    fn spec_hash(&self) -> String;
    /// The stored status.
    fn status(&self) -> Option<&Self::Status>;
    /// What both would work on, in one account.
    fn shared_target(&self, other: &Self) -> Option<String>;
    /// Whether everything stays when it is deleted.
    fn retains(&self) -> bool;
    /// What a status, also one that cannot be read, says that was made and would be left behind.
    fn left_behind(status: &Value) -> Vec<String>;
    /// The facet that a field of a stored drift belongs to.
    fn facet_of(field: &str) -> Facet;
}

fn list<'a>(status: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    status[name].as_array().into_iter().flatten()
}

fn sorted<'a>(texts: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let mut all: Vec<String> = texts.filter_map(Value::as_str).map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Posture for VpcPosture {
    type Status = VpcPostureStatus;
    const KIND: &'static str = "VpcPosture";
    const ACCESS: AccessKind = AccessKind::VpcPosture;
    const POLICY_FIELD: &'static str = "endpoints.deletionPolicy";

    fn key(namespace: String, name: String) -> Key {
        Key::Vpc(namespace, name)
    }

    fn store(stores: &Stores) -> &Store<DeserializeGuard<Self>> {
        &stores.vpcs
    }

    fn account(&self) -> &str {
        &self.spec.target.account_ref.name
    }

    fn region(&self) -> Option<&str> {
        Some(&self.spec.target.region)
    }

    fn mode(&self) -> Mode {
        self.spec.mode
    }

    fn suspend(&self) -> bool {
        self.spec.suspend
    }

    fn spec_hash(&self) -> String {
        spec_hash(&self.spec)
    }

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn shared_target(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (&self.spec.target, &other.spec.target);
        (ours.vpc_id == theirs.vpc_id && ours.region == theirs.region).then(|| ours.vpc_id.clone())
    }

    fn retains(&self) -> bool {
        self.spec.endpoints.deletion_policy == DeletionPolicy::Retain
    }

    fn left_behind(status: &Value) -> Vec<String> {
        let made = list(status, "endpoints").filter(|e| e["ownership"] != "Existing").map(|e| &e["endpointId"]);
        sorted(made.chain([&status["securityGroup"]["id"]]))
    }

    fn facet_of(field: &str) -> Facet {
        match field.split('.').collect::<Vec<_>>().as_slice() {
            ["vpc", ..] => Facet::Dns,
            ["securityGroup", ..] => Facet::SecurityGroup,
            ["endpoints", "s3", "routeTables" | "state"] => Facet::Routes,
            [.., "policy"] => Facet::Policy,
            _ => Facet::Endpoints,
        }
    }
}

impl Posture for RegionPosture {
    type Status = RegionPostureStatus;
    const KIND: &'static str = "RegionPosture";
    const ACCESS: AccessKind = AccessKind::RegionPosture;
    const POLICY_FIELD: &'static str = "deletionPolicy";

    fn key(namespace: String, name: String) -> Key {
        Key::Region(namespace, name)
    }

    fn store(stores: &Stores) -> &Store<DeserializeGuard<Self>> {
        &stores.regions
    }

    fn account(&self) -> &str {
        &self.spec.target.account_ref.name
    }

    fn region(&self) -> Option<&str> {
        Some(&self.spec.target.region)
    }

    fn mode(&self) -> Mode {
        self.spec.mode
    }

    fn suspend(&self) -> bool {
        self.spec.suspend
    }

    fn spec_hash(&self) -> String {
        spec_hash(&self.spec)
    }

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn shared_target(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (&self.spec.target, &other.spec.target);
        (ours.region == theirs.region).then(|| ours.region.clone())
    }

    fn retains(&self) -> bool {
        self.spec.deletion_policy == RegionDeletionPolicy::Retain
    }

    fn left_behind(status: &Value) -> Vec<String> {
        let set = list(status, "settings").filter(|s| s["applied"].is_string()).map(|s| &s["name"]);
        let document = &status["sessionPreferences"];
        let ours = document["foundNone"] == true || document["foundVersion"].is_string();
        let name = Value::from(ssm_ready_core::facts::settings::SESSION_DOCUMENT);
        let audit = &status["sessionAudit"];
        let rule = audit["foundNone"] == true || audit["foundRule"].is_string();
        let of_rule = Value::from(ssm_ready_core::facts::audit::AUDIT_RULE);
        sorted(set.chain(ours.then_some(&name)).chain(rule.then_some(&of_rule)))
    }

    fn facet_of(field: &str) -> Facet {
        match field.split('.').next() {
            Some("hostManagement") => Facet::HostManagement,
            Some("sessionPreferences") => Facet::SessionPreferences,
            Some("instanceMetadataDefaults") => Facet::MetadataDefaults,
            Some("sessionAudit") => Facet::SessionAudit,
            _ => Facet::ServiceSettings,
        }
    }
}

impl Posture for AccountPosture {
    type Status = AccountPostureStatus;
    const KIND: &'static str = "AccountPosture";
    const ACCESS: AccessKind = AccessKind::AccountPosture;
    const POLICY_FIELD: &'static str = "deletionPolicy";

    fn key(namespace: String, name: String) -> Key {
        Key::AccountPosture(namespace, name)
    }

    fn store(stores: &Stores) -> &Store<DeserializeGuard<Self>> {
        &stores.account_postures
    }

    fn account(&self) -> &str {
        &self.spec.target.account_ref.name
    }

    fn region(&self) -> Option<&str> {
        None
    }

    fn mode(&self) -> Mode {
        self.spec.mode
    }

    fn suspend(&self) -> bool {
        self.spec.suspend
    }

    fn spec_hash(&self) -> String {
        spec_hash(&self.spec)
    }

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn shared_target(&self, other: &Self) -> Option<String> {
        // IAM tells no names apart by their case.
        let same = |ours: &[&str], theirs: &[&str], what: &str| {
            let found = ours.iter().find(|name| theirs.iter().any(|other| other.eq_ignore_ascii_case(name)));
            found.map(|name| format!("{what} {name}"))
        };
        same(&role_names(self), &role_names(other), "role")
            .or_else(|| same(&profile_names(self), &profile_names(other), "instance profile"))
    }

    fn retains(&self) -> bool {
        self.spec.deletion_policy == AccountDeletionPolicy::Retain
    }

    fn left_behind(status: &Value) -> Vec<String> {
        let made =
            list(status, "roles").filter(|role| role["ownership"] == "Managed" || role["ownership"] == "Adopted");
        sorted(made.flat_map(|role| [&role["arn"], &role["profileArn"]]))
    }

    fn facet_of(field: &str) -> Facet {
        if field.split('.').any(|part| part == "profile") { Facet::Profiles } else { Facet::Roles }
    }
}

fn role_names(posture: &AccountPosture) -> Vec<&str> {
    let host = posture.spec.host_management_role.iter().map(|role| role.role_name.as_str());
    host.chain(posture.spec.instance_roles.iter().map(|role| role.role_name.as_str())).collect()
}

fn profile_names(posture: &AccountPosture) -> Vec<&str> {
    posture.spec.instance_roles.iter().map(ssm_ready_crds::InstanceRole::profile_name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_belong_to_facets() {
        for (field, facet) in [
            ("vpc.enableDnsSupport", Facet::Dns),
            ("securityGroup.ingress", Facet::SecurityGroup),
            ("endpoints.s3.routeTables", Facet::Routes),
            ("endpoints.com.amazonaws.eu-west-1.ssm.policy", Facet::Policy),
            ("endpoints.ssm.subnets", Facet::Endpoints),
            ("tags", Facet::Endpoints),
        ] {
            assert_eq!(VpcPosture::facet_of(field), facet, "{field}");
        }
        for (field, facet) in [
            ("hostManagement", Facet::HostManagement),
            ("sessionPreferences", Facet::SessionPreferences),
            ("serviceSettings.opsCenter", Facet::ServiceSettings),
            ("instanceMetadataDefaults.hopLimit", Facet::MetadataDefaults),
            ("sessionAudit", Facet::SessionAudit),
            ("sessionAudit.requireTrail", Facet::SessionAudit),
        ] {
            assert_eq!(RegionPosture::facet_of(field), facet, "{field}");
        }
        for (field, facet) in [
            ("roles.web", Facet::Roles),
            ("roles.web.trust", Facet::Roles),
            ("roles.web.profile", Facet::Profiles),
            ("roles.web.profile.tags", Facet::Profiles),
        ] {
            assert_eq!(AccountPosture::facet_of(field), facet, "{field}");
        }
    }

    #[test]
    fn what_is_left_behind_is_told_from_any_status() {
        let region = json!({
            "settings": [{ "name": "hostManagement", "applied": "x" }, { "name": "serviceSettings.opsCenter", "value": "y" }],
            "sessionPreferences": { "foundNone": true },
        });
        assert_eq!(RegionPosture::left_behind(&region), ["SSM-SessionManagerRunShell", "hostManagement"]);
        let account = json!({ "roles": [
            { "ownership": "Managed", "arn": "arn:b", "profileArn": "arn:c" },
            { "ownership": "Existing", "arn": "arn:a" },
            { "ownership": "Adopted", "arn": "arn:a2" },
        ]});
        assert_eq!(AccountPosture::left_behind(&account), ["arn:a2", "arn:b", "arn:c"]);
        for nothing in [json!(null), json!({ "settings": 7, "roles": "x", "endpoints": [1] })] {
            assert!(RegionPosture::left_behind(&nothing).is_empty());
            assert!(AccountPosture::left_behind(&nothing).is_empty());
            assert!(VpcPosture::left_behind(&nothing).is_empty());
        }
    }

    #[test]
    fn account_postures_share_roles_and_profiles_whatever_their_case() {
        let posture = |role: &str, profile: &str| -> AccountPosture {
            serde_yaml::from_str(&format!(
                "{{apiVersion: ssmready.dev/v1alpha1, kind: AccountPosture, metadata: {{name: a, namespace: team}}, spec: {{target: {{accountRef: {{name: prod}}}}, instanceRoles: [{{name: web, roleName: {role}, profileName: {profile}}}]}}}}"
            ))
            .unwrap()
        };
        let one = posture("Web", "web");
        assert_eq!(one.shared_target(&posture("web", "other")).as_deref(), Some("role Web"));
        assert_eq!(one.shared_target(&posture("other", "WEB")).as_deref(), Some("instance profile web"));
        assert_eq!(one.shared_target(&posture("other", "another")), None);
    }
}
