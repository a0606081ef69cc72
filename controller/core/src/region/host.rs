//! Default Host Management: one setting, and the role that it names.

use super::{Case, HostManagement, Knob, RegionPosture, RegionSeen, RegionView, knobs, waits_for_role};
use crate::{
    evaluate::{Facet, Verdict},
    facts::{iam::Role, settings::Setting},
    ids::{PolicyArn, RoleName},
    policy::trusts,
    reason::Reason,
    snapshot::{FactKey, Reading},
};

const SETTING: Setting = Setting::HostManagementRole;
const KNOB: Knob = Knob::Setting(SETTING);

/// Who takes the role on (domain: Systems Manager, Default Host Management Configuration).
pub const HOST_MANAGEMENT_SERVICE: &str = "ssm.amazonaws.com";
/// The policy that the role is for, by its name.
pub const HOST_MANAGEMENT_POLICY: &str = "AmazonSSMManagedEC2InstanceDefaultPolicy";

/// A managed policy of AWS's own.
#[must_use]
pub fn aws_policy(partition: &str, name: &str) -> PolicyArn {
    PolicyArn::new(format!("arn:{partition}:iam::aws:policy/{name}"))
}

/// A role's name in a value of the setting: what follows the last slash.
pub(crate) fn name_in(value: &str) -> RoleName {
    value.rsplit('/').next().unwrap_or(value).into()
}

fn value_of(role: &RoleName, path: &str) -> String {
    format!("{}{role}", path.trim_start_matches('/'))
}

/// The roles that have to be known: the one wanted, and the one that is set.
pub(super) fn roles(posture: &RegionPosture, view: &RegionView<'_>) -> Vec<RoleName> {
    let Some(wish) = &posture.host_management else { return Vec::new() };
    let mut roles = Vec::new();
    if let HostManagement::Enabled { role, .. } = wish {
        roles.push(role.clone());
    }
    if let Some(Some(setting)) = view.setting(SETTING).known()
        && let Some(value) = &setting.value
        && !roles.contains(&name_in(value))
    {
        roles.push(name_in(value));
    }
    roles
}

pub(super) fn judge(case: Case<'_>, verdict: &mut Verdict<RegionSeen>) {
    let Case { posture, view, .. } = case;
    let Some(wish) = &posture.host_management else { return };
    let reading = view.setting(SETTING);
    let Some(setting) = reading.known() else {
        return verdict.unknown(Facet::HostManagement, &FactKey::Setting(SETTING), &reading);
    };
    let Some(value) = setting else { return knobs::not_offered(Facet::HostManagement, SETTING, case, verdict) };
    knobs::see(KNOB, value, verdict);
    let mut may_write = reading.current().is_some();
    let wanted = match wish {
        HostManagement::Disabled => None,
        HostManagement::Waiting(message) => {
            verdict.fail(Facet::HostManagement, Reason::DependencyNotReady, message.clone());
            return;
        }
        HostManagement::Enabled { role, path, made } => {
            let reading = view.role(role);
            let Some(found) = reading.known() else {
                return verdict.unknown(Facet::HostManagement, &FactKey::Role(role.clone()), &reading);
            };
            if let Some(unfit) = unfit(posture, role, path, found.as_ref()) {
                // What is already set stays: without its role it does no harm, and nothing better is known.
                return waits_for_role(verdict, *made, unfit);
            }
            // Good as it was last seen: fit to judge by, not always to write by.
            may_write &= reading.current().is_some();
            Some(value_of(role, path))
        }
    };
    let mut current = value.value.as_deref();
    if let Some(text) = current.filter(|text| wanted.as_deref() != Some(*text)) {
        let (role, named) = (name_in(text), view.role(&name_in(text)));
        match named {
            // What names no role is off, whatever it is called (`$None` has been seen).
            Reading::Known { value: None, current: is_current } => {
                current = None;
                may_write &= is_current;
            }
            // It is about to be read, and whose the value is may rest on it.
            Reading::Unknown(None) if !(posture.take_over || knobs::is_ours(case, KNOB, text)) => {
                return verdict.unknown(Facet::HostManagement, &FactKey::Role(role), &named);
            }
            _ => {}
        }
    }
    let value = knobs::Value {
        knob: KNOB,
        current,
        // The status has been seen to say Default with a role set: it proves nothing here.
        at_default: false,
        who: value.modified_by.as_deref(),
        may_write,
    };
    knobs::judge(case, &value, wanted.as_deref(), verdict);
}

/// What is wrong with a role, and what to do about it where nobody else does.
pub(super) struct Unfit {
    pub(super) reason: Reason,
    pub(super) what: String,
    pub(super) advice: &'static str,
}

/// Why a role cannot serve: any policy on it reaches every instance of the region, and without its own none is managed.
fn unfit(posture: &RegionPosture, role: &RoleName, path: &str, found: Option<&Role>) -> Option<Unfit> {
    let unfit = |reason, what, advice| Some(Unfit { reason, what, advice });
    let Some(found) = found else {
        let what =
            format!("account {} has no role {role}, so Default Host Management is not switched on", posture.account);
        return unfit(Reason::RoleNotFound, what, "create it");
    };
    if found.path != path {
        let what = format!(
            "role {role} has the path {}, and {path} is declared: a setting with a wrong path names no role",
            found.path
        );
        return unfit(Reason::RolePathDiffers, what, "correct the path in the spec");
    }
    if !trusts(&found.trust, HOST_MANAGEMENT_SERVICE) {
        let what = format!("role {role} does not trust {HOST_MANAGEMENT_SERVICE}");
        return unfit(Reason::RoleTrustWrong, what, "correct its trust policy");
    }
    let policy = aws_policy(&posture.partition, HOST_MANAGEMENT_POLICY);
    if found.policies.contains(&policy) {
        return None;
    }
    unfit(Reason::RolePolicyMissing, format!("role {role} lacks the policy {policy}"), "attach it")
}
