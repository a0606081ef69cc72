//! Values that the object set and no longer declares: they go the way of a deletion, each by itself.

use super::{Case, Found, Knob, RegionMemory, RegionPosture, RegionSeen, farewell};
use crate::{
    evaluate::{Facet, Outcome, Verdict},
    facts::settings::Setting,
    reason::Reason,
};

impl RegionPosture {
    /// Whether the object declares a value now.
    pub(super) fn declares(&self, knob: Knob) -> bool {
        match knob {
            Knob::Setting(Setting::HostManagementRole) => self.host_management.is_some(),
            Knob::Setting(setting) => self.settings.contains_key(&setting),
            Knob::Metadata(field) => self.metadata.contains_key(&field),
        }
    }
}

/// What status remembers of values that are no longer declared.
pub(super) fn undeclared(posture: &RegionPosture, memory: &RegionMemory) -> RegionMemory {
    let knobs = memory.knobs.iter().filter(|(knob, kept)| !posture.declares(**knob) && kept.found != Found::NotYet);
    let document = if posture.session.is_none() { memory.document.clone() } else { Found::NotYet };
    RegionMemory {
        knobs: knobs.map(|(knob, kept)| (*knob, kept.clone())).collect(),
        document,
        document_unseen: memory.document_unseen,
        rule: if posture.audit.is_none() { memory.rule.clone() } else { Found::NotYet },
        rule_unseen: memory.rule_unseen,
        doubt_until: memory.doubt_until,
    }
}

/// The object as if it declared neither preferences nor audit, so that a deletion looks only at what it remembers.
pub(super) fn bare(posture: &RegionPosture) -> RegionPosture {
    RegionPosture { session: None, audit: None, ..posture.clone() }
}

pub(super) fn judge(case: Case<'_>, verdict: &mut Verdict<RegionSeen>) {
    let Case { posture, memory, .. } = case;
    // What is not declared and was never written is not remembered either.
    verdict.seen.memory.knobs.retain(|knob, kept| posture.declares(*knob) || kept.found != Found::NotYet);
    let left = undeclared(posture, memory);
    for (knob, kept) in &left.knobs {
        let one = RegionMemory {
            knobs: [(*knob, kept.clone())].into(),
            doubt_until: left.doubt_until,
            ..RegionMemory::default()
        };
        if settle(case, &one, knob.facet(), verdict) {
            verdict.seen.memory.knobs.remove(knob);
        }
    }
    if left.document != Found::NotYet {
        let one = RegionMemory {
            document: left.document,
            document_unseen: left.document_unseen,
            doubt_until: left.doubt_until,
            ..RegionMemory::default()
        };
        if settle(case, &one, Facet::SessionPreferences, verdict) {
            verdict.seen.memory.document = Found::NotYet;
        }
    }
    if left.rule != Found::NotYet {
        let one = RegionMemory {
            rule: left.rule,
            rule_unseen: left.rule_unseen,
            doubt_until: left.doubt_until,
            ..RegionMemory::default()
        };
        if settle(case, &one, Facet::SessionAudit, verdict) {
            verdict.seen.memory.rule = Found::NotYet;
        }
    }
}

/// Proposes what is still to be done; whether nothing is.
fn settle(case: Case<'_>, one: &RegionMemory, facet: Facet, verdict: &mut Verdict<RegionSeen>) -> bool {
    let next = farewell(&bare(case.posture), case.view, one);
    let (pending, drifted) = match facet {
        Facet::SessionAudit => (Reason::AuditPending, Reason::AuditDrifted),
        _ => (Reason::PreferencesPending, Reason::SettingDrifted),
    };
    if next.is_done() {
        verdict.seen.left.extend(next.left);
        return true;
    }
    if !next.pending.is_empty() {
        verdict.fail(facet, pending, next.pending.join("; "));
        verdict.watch.extend(next.watch);
    }
    if !next.unknown.is_empty() {
        verdict.check(facet, Outcome::Unknown, Reason::FactUnreadable, next.unknown.join("; "));
    }
    for action in next.actions {
        verdict.fail(facet, drifted, format!("no longer declared: {}", action.write));
        verdict.actions.push(action);
    }
    false
}
