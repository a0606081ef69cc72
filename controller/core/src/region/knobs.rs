//! Values without tags: written only where nothing is lost that somebody else meant.

use std::collections::BTreeMap;

use super::{Case, Found, Knob, RegionMemory, RegionSeen, SeenKnob, SeenMetadata};
use crate::{
    evaluate::{Facet, Outcome, Verdict},
    facts::settings::{MetadataField, Setting, SettingValue},
    reason::Reason,
    snapshot::FactKey,
    write::Write,
};

/// A value as it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) knob: Knob,
    /// None where nothing is set.
    pub(super) current: Option<&'a str>,
    /// Whether it is AWS's default.
    pub(super) at_default: bool,
    /// Who changed it last.
    pub(super) who: Option<&'a str>,
    /// Whether it was read without a later failure.
    pub(super) may_write: bool,
}

const UNSET: &str = "unset";

/// Judges one value, and proposes its write unless it is a metadata default: these are written together.
pub(super) fn judge(case: Case<'_>, value: &Value<'_>, wanted: Option<&str>, verdict: &mut Verdict<RegionSeen>) {
    if drifted(case, value, wanted, verdict)
        && let Knob::Setting(setting) = value.knob
    {
        let write = match wanted {
            Some(value) => Write::UpdateSetting { setting, value: value.to_owned() },
            None => Write::ResetSetting { setting },
        };
        let disrupts = write.disrupts();
        verdict.propose(value.knob.facet(), write).disrupts = disrupts;
    }
}

/// Whether a value is what we set, or were about to set, as far as status remembers.
pub(super) fn is_ours(case: Case<'_>, knob: Knob, value: &str) -> bool {
    case.memory.knobs.get(&knob).is_some_and(|kept| kept.is_ours(knob, value))
}

/// Says how a value stands; whether it is to be written.
fn drifted(case: Case<'_>, value: &Value<'_>, wanted: Option<&str>, verdict: &mut Verdict<RegionSeen>) -> bool {
    let Value { knob, current, .. } = *value;
    let (facet, field) = (knob.facet(), knob.field());
    let raw = verdict.seen.knobs.get(&knob).and_then(|seen| seen.value.as_ref());
    if let Some(kept) = verdict.seen.memory.knobs.get_mut(&knob) {
        match (raw, &kept.applying) {
            // Read back: what we were about to set is set.
            (Some(now), Some(applying)) if knob.equal(now, applying) => kept.applied = kept.applying.take(),
            // Read back: it is reset. Whoever sets it again, to whatever, is not us.
            (None, _) if wanted.is_none() => (kept.applied, kept.applying) = (None, None),
            _ => {}
        }
    }
    let equal = match (current, wanted) {
        (Some(current), Some(wanted)) => knob.equal(current, wanted),
        (None, None) => true,
        _ => false,
    };
    let (is, should) = (current.unwrap_or(UNSET), wanted.unwrap_or(UNSET));
    if equal {
        verdict.pass(facet, format!("{field} is {is}"));
        return false;
    }
    let ours = current.is_none_or(|current| is_ours(case, knob, current));
    if !(ours || value.at_default || case.posture.take_over) {
        let who = value.who.map(|who| format!(", set by {who}")).unwrap_or_default();
        verdict
            .fail(
                facet,
                Reason::Foreign,
                format!(
                    "{field} is {is}{who}, and {should} is declared: this object did not set it. Set it back, declare {is}, or set spec.adoption: TakeOver"
                ),
            )
            .differs(field, should, is);
        return false;
    }
    verdict
        .fail(facet, Reason::SettingDrifted, format!("{field} is {is}, and {should} is declared"))
        .differs(field, should, is);
    value.may_write
}

/// Whether a value is AWS's default: by the default that AWS documents, or by its status where nobody is said to have
/// changed it. The status has been seen to be wrong: it is a hint, and for Default Host Management not even that.
pub(super) fn is_default(setting: Setting, value: &SettingValue) -> bool {
    let documented = |text: &str| setting.default_value().is_some_and(|default| text.eq_ignore_ascii_case(default));
    let said = setting != Setting::HostManagementRole
        && value.modified_by.is_none()
        && value.status.eq_ignore_ascii_case("default");
    said || value.value.as_deref().is_some_and(documented)
}

pub(super) fn see(knob: Knob, value: &SettingValue, verdict: &mut Verdict<RegionSeen>) {
    let seen = SeenKnob {
        value: value.value.clone(),
        at_default: matches!(knob, Knob::Setting(setting) if is_default(setting, value)),
        modified_by: value.modified_by.clone(),
        modified_at: value.modified_at,
    };
    verdict.seen.knobs.insert(knob, seen);
}

pub(super) fn not_offered(facet: Facet, setting: Setting, case: Case<'_>, verdict: &mut Verdict<RegionSeen>) {
    verdict.fail(
        facet,
        Reason::SettingNotOffered,
        format!(
            "{} does not have the setting {setting}: remove {} from the spec",
            case.posture.region,
            Knob::Setting(setting).field()
        ),
    );
}

/// Service settings but for Default Host Management.
pub(super) fn settings(case: Case<'_>, verdict: &mut Verdict<RegionSeen>) {
    for (setting, wanted) in &case.posture.settings {
        let knob = Knob::Setting(*setting);
        let reading = case.view.setting(*setting);
        let Some(found) = reading.known() else {
            verdict.unknown(Facet::ServiceSettings, &FactKey::Setting(*setting), &reading);
            continue;
        };
        let Some(value) = found else {
            not_offered(Facet::ServiceSettings, *setting, case, verdict);
            continue;
        };
        see(knob, value, verdict);
        let at_default = is_default(*setting, value);
        let value = Value {
            knob,
            current: value.value.as_deref(),
            at_default,
            who: value.modified_by.as_deref(),
            may_write: reading.current().is_some(),
        };
        judge(case, &value, Some(wanted), verdict);
    }
}

/// Metadata defaults: all that differ in one call.
pub(super) fn metadata(case: Case<'_>, verdict: &mut Verdict<RegionSeen>) {
    if case.posture.metadata.is_empty() {
        return;
    }
    let reading = case.view.metadata();
    let Some(found) = reading.known() else {
        return verdict.unknown(Facet::MetadataDefaults, &FactKey::MetadataDefaults, &reading);
    };
    let instances = case.view.instances();
    let count =
        |is: fn(&crate::facts::Instance) -> bool| instances.known().map(|all| all.iter().filter(|i| is(i)).count());
    verdict.seen.metadata = Some(SeenMetadata {
        by_declarative_policy: found.by_declarative_policy,
        exception_message: found.exception_message.clone(),
        imds_v1_allowed: count(|i| i.imds_v1 == Some(true) && i.imds != Some(false)),
        metadata_disabled: count(|i| i.imds == Some(false)),
    });
    let mut values = BTreeMap::new();
    for (field, wanted) in &case.posture.metadata {
        let knob = Knob::Metadata(*field);
        let current = found.values.get(field);
        verdict.seen.knobs.insert(knob, SeenKnob { value: current.cloned(), ..SeenKnob::default() });
        let equal = current.is_some_and(|current| knob.equal(current, wanted));
        if found.by_declarative_policy && !equal {
            let message = found.exception_message.as_deref().map(|m| format!(" ({m})")).unwrap_or_default();
            verdict.fail(
                Facet::MetadataDefaults,
                Reason::DeclarativePolicy,
                format!(
                    "{} is {}, and {wanted} is declared: a declarative policy of the organisation sets it{message}",
                    knob.field(),
                    current.map_or(UNSET, String::as_str)
                ),
            );
            continue;
        }
        let value = Value {
            knob,
            current: current.map(String::as_str),
            at_default: false,
            who: None,
            may_write: reading.current().is_some(),
        };
        if drifted(case, &value, Some(wanted), verdict) {
            values.insert(*field, wanted.clone());
        }
    }
    if !values.is_empty() {
        verdict.propose(Facet::MetadataDefaults, Write::ModifyMetadataDefaults { values });
    }
    if let Some(disabled) = verdict.seen.metadata.as_ref().and_then(|m| m.metadata_disabled).filter(|n| *n > 0) {
        let message =
            format!("{disabled} instances do not answer for metadata at all, so Systems Manager cannot manage them");
        verdict.check(Facet::MetadataDefaults, Outcome::Warn, Reason::MetadataDisabled, message);
    }
}

/// Notes what is there before ours, and what is about to be set.
pub(super) fn note_ahead(write: &Write, seen: &RegionSeen, memory: &mut RegionMemory) {
    let mut note = |knob: Knob, applying: Option<&str>| {
        let entry = memory.knobs.entry(knob).or_default();
        if entry.found == Found::NotYet {
            let before = seen.knobs.get(&knob).filter(|seen| !seen.at_default);
            let found = before.and_then(|seen| seen.value.clone());
            entry.found = found.map_or(Found::Unset, Found::Value);
        }
        // What was about to be set and was never read back may stand there all the same, and stays ours until this is.
        entry.applied = entry.applied.take().or(entry.applying.take());
        entry.applying = applying.map(str::to_owned);
    };
    match write {
        Write::UpdateSetting { setting, value } => note(Knob::Setting(*setting), Some(value)),
        Write::ResetSetting { setting } => note(Knob::Setting(*setting), None),
        Write::ModifyMetadataDefaults { values } => {
            for (field, value) in values {
                note(Knob::Metadata(*field), Some(value));
            }
        }
        _ => {}
    }
}

/// The write that brings a value back to what it was, or to AWS's default.
pub(super) fn back(knob: Knob, target: Option<&str>) -> Write {
    match (knob, target) {
        (Knob::Setting(setting), Some(value)) => Write::UpdateSetting { setting, value: value.to_owned() },
        (Knob::Setting(setting), None) => Write::ResetSetting { setting },
        (Knob::Metadata(field), target) => Write::ModifyMetadataDefaults { values: one(field, target) },
    }
}

fn one(field: MetadataField, target: Option<&str>) -> BTreeMap<MetadataField, String> {
    [(field, target.unwrap_or(field.no_preference()).to_owned())].into()
}
