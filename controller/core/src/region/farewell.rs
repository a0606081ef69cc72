//! What becomes of a region's values when their object is deleted.

use std::collections::BTreeSet;

use super::{Found, Knob, RegionDeletion, RegionMemory, RegionPosture, RegionView, knobs, ours};
use crate::{
    evaluate::Facet,
    facts::{
        audit::{AUDIT_RULE, AUDIT_TARGET},
        settings::{DocumentVersion, SESSION_DOCUMENT},
    },
    parting::Parting,
    posture::OWNER_TAG,
    snapshot::{FactKey, is_doubtful},
    write::{DocumentChange, RuleChange, Write},
};

/// Says what is still to be done, by what is there now and what status remembers. What somebody else has changed since
/// is somebody else's.
#[must_use]
pub fn farewell(posture: &RegionPosture, view: &RegionView<'_>, memory: &RegionMemory) -> Parting {
    let mut next = Parting::default();
    for (knob, kept) in &memory.knobs {
        let target = match (posture.deletion_policy, &kept.found) {
            (_, Found::NotYet) => continue,
            (RegionDeletion::Retain, _) => {
                next.left.extend(kept.applied.iter().map(|value| format!("{}={value}", knob.field())));
                continue;
            }
            (RegionDeletion::RestorePrevious, Found::Value(value)) => Some(value.as_str()),
            (RegionDeletion::RestorePrevious, Found::Unset) | (RegionDeletion::Reset, _) => None,
        };
        let Some(now) = standing(*knob, view, &mut next) else { continue };
        let there = match (target, &now.value) {
            (None, _) => now.is_free,
            (Some(target), Some(value)) => knob.equal(value, target),
            (Some(_), None) => false,
        };
        let ours = now.value.as_deref().is_some_and(|value| kept.is_ours(*knob, value));
        let fact = match knob {
            Knob::Setting(setting) => FactKey::Setting(*setting),
            Knob::Metadata(_) => FactKey::MetadataDefaults,
        };
        if kept.applying.is_some() && !ours && is_doubtful(view.region.read_at(&fact), memory.doubt_until) {
            let field = knob.field();
            next.may_appear(format!("{field} may have been set a moment ago, and AWS does not show it yet"), fact);
            continue;
        }
        // What we only meant to set may never have been: who has unset the value since is not known. Unless it is what
        // goes back there, which we had unset ourselves.
        let goes_back = |value: &String| target.is_some_and(|target| knob.equal(target, value));
        let only_meant = kept.applied.is_none() && kept.applying.as_ref().is_some_and(|value| !goes_back(value));
        if there || (now.is_free && only_meant && !ours) {
            continue;
        }
        if !(ours || now.is_free) {
            let value = now.value.unwrap_or_default();
            next.left.push(format!("{}={value}, set by somebody else since", knob.field()));
        } else if now.may_write {
            next.act(knob.facet(), knobs::back(*knob, target));
        } else {
            next.unknown.push(format!("{} could not be read again", knob.field()));
        }
    }
    document(posture, view, memory, &mut next);
    rule(posture, view, memory, &mut next);
    next
}

/// How a value stands.
struct Standing {
    value: Option<String>,
    /// Unset or at AWS's default: nobody's, so that it may be written.
    is_free: bool,
    may_write: bool,
}

/// How a value stands; none where it cannot be read, or is not ours to set.
fn standing(knob: Knob, view: &RegionView<'_>, next: &mut Parting) -> Option<Standing> {
    match knob {
        Knob::Setting(setting) => {
            let reading = view.setting(setting);
            let Some(found) = reading.known() else {
                next.cannot_tell(&FactKey::Setting(setting), &reading);
                return None;
            };
            let found = found.as_ref()?;
            let is_free = found.value.is_none() || knobs::is_default(setting, found);
            Some(Standing { value: found.value.clone(), is_free, may_write: reading.current().is_some() })
        }
        Knob::Metadata(field) => {
            let reading = view.metadata();
            let Some(found) = reading.known() else {
                next.cannot_tell(&FactKey::MetadataDefaults, &reading);
                return None;
            };
            if found.by_declarative_policy {
                return None;
            }
            let value = found.values.get(&field).cloned();
            Some(Standing { is_free: value.is_none(), value, may_write: reading.current().is_some() })
        }
    }
}

fn document(posture: &RegionPosture, view: &RegionView<'_>, memory: &RegionMemory, next: &mut Parting) {
    if posture.session.is_none() && memory.document == Found::NotYet {
        return;
    }
    let reading = view.document_info();
    let Some(found) = reading.known() else { return next.cannot_tell(&FactKey::SessionDocumentInfo, &reading) };
    let Some(info) = found else {
        if memory.document_unseen && is_doubtful(view.region.read_at(&FactKey::SessionDocumentInfo), memory.doubt_until)
        {
            let what = format!("{SESSION_DOCUMENT} may have been made a moment ago, and AWS does not show it yet");
            next.may_appear(what, FactKey::SessionDocumentInfo);
        }
        return;
    };
    if !ours(posture, &info.tags) {
        return;
    }
    if reading.current().is_none() {
        return next.unknown.push(format!("{SESSION_DOCUMENT} could not be read again"));
    }
    let untag = || Write::Document(DocumentChange::Untag([OWNER_TAG.to_owned()].into()));
    let write = match (posture.deletion_policy, &memory.document) {
        (RegionDeletion::Retain, _) | (_, Found::NotYet) => {
            next.left.push(format!("{SESSION_DOCUMENT} version {}", info.default_version));
            untag()
        }
        (RegionDeletion::RestorePrevious, Found::Value(version)) => {
            let in_use = view.document(DocumentVersion::Default);
            let is_used =
                in_use.known().and_then(Option::as_ref).map_or(&info.default_version, |d| &d.version) == version;
            if is_used { untag() } else { Write::Document(DocumentChange::Use(version.clone())) }
        }
        (RegionDeletion::RestorePrevious, Found::Unset) | (RegionDeletion::Reset, _) => {
            Write::Document(DocumentChange::Delete)
        }
    };
    next.act(Facet::SessionPreferences, write);
}

/// The rule that reports sessions. One that was there before is not deleted, for what it was is not known any more; nor is
/// one in which somebody else has a target.
fn rule(posture: &RegionPosture, view: &RegionView<'_>, memory: &RegionMemory, next: &mut Parting) {
    if posture.audit.is_none() && memory.rule == Found::NotYet {
        return;
    }
    let reading = view.audit_rule();
    let Some(found) = reading.known() else { return next.cannot_tell(&FactKey::AuditRule, &reading) };
    let Some(rule) = found else {
        if memory.rule_unseen && is_doubtful(view.region.read_at(&FactKey::AuditRule), memory.doubt_until) {
            let what = format!("rule {AUDIT_RULE} may have been made a moment ago, and AWS does not show it yet");
            next.may_appear(what, FactKey::AuditRule);
        }
        return;
    };
    if !ours(posture, &rule.tags) {
        return;
    }
    if reading.current().is_none() {
        return next.unknown.push(format!("rule {AUDIT_RULE} could not be read again"));
    }
    let goes = match (posture.deletion_policy, &memory.rule) {
        (RegionDeletion::Retain, _) | (_, Found::NotYet) | (RegionDeletion::RestorePrevious, Found::Value(_)) => false,
        (RegionDeletion::RestorePrevious, Found::Unset) | (RegionDeletion::Reset, _) => true,
    };
    let (our_targets, others): (BTreeSet<&str>, BTreeSet<&str>) =
        rule.targets.iter().map(|target| target.id.as_str()).partition(|id| *id == AUDIT_TARGET);
    if goes && !our_targets.is_empty() {
        let ids = our_targets.into_iter().map(str::to_owned).collect();
        next.act(Facet::SessionAudit, Write::Rule(RuleChange::RemoveTargets(ids)));
    }
    if goes && others.is_empty() {
        return next.act(Facet::SessionAudit, Write::Rule(RuleChange::Delete));
    }
    next.left.push(if goes {
        format!("rule {AUDIT_RULE}, which has targets that ssm-ready did not set")
    } else {
        format!("rule {AUDIT_RULE}")
    });
    let untag = RuleChange::Untag { rule: rule.arn.clone(), keys: [OWNER_TAG.to_owned()].into() };
    next.act(Facet::SessionAudit, Write::Rule(untag));
}
