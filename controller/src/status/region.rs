//! Between the status of a `RegionPosture` and what the core remembers and sees.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ssm_ready_core::{
    fault::truncate,
    region::{Found, Knob, KnobMemory, RegionMemory, RegionSeen, SeenTarget, Standing},
};
use ssm_ready_crds::{
    InstanceMetadataStatus, Ownership, RegionPostureStatus, SessionAuditStatus, SessionPreferencesStatus,
    SessionTargetStatus, SettingStatus, TargetState,
};

/// The longest value that status holds, in characters; AWS's own are no longer.
const MAX_VALUE: usize = 4096;
/// The longest ARN that status holds, in characters; those of rules and trails are no longer.
const MAX_ARN: usize = 1600;

fn found(value: Option<&String>, unset: bool) -> Found {
    match (value, unset) {
        (Some(value), _) => Found::Value(value.clone()),
        (None, true) => Found::Unset,
        (None, false) => Found::NotYet,
    }
}

fn stored(found: &Found) -> (Option<String>, bool) {
    match found {
        Found::NotYet => (None, false),
        Found::Unset => (None, true),
        Found::Value(value) => (Some(value.clone()), false),
    }
}

/// What status remembers, for the core.
#[must_use]
pub fn memory(status: &RegionPostureStatus) -> RegionMemory {
    let knobs = status.settings.iter().filter_map(|setting| {
        let memory = KnobMemory {
            found: found(setting.found.as_ref(), setting.found_unset),
            applied: setting.applied.clone(),
            applying: setting.applying.clone(),
        };
        // What was only seen is no memory.
        (memory != KnobMemory::default()).then_some((Knob::parse(&setting.name)?, memory))
    });
    let document = status.session_preferences.as_ref();
    let before = document.map_or(Found::NotYet, |d| found(d.found_version.as_ref(), d.found_none));
    let shown = document.is_some_and(|document| document.default_version.is_some());
    let audit = status.session_audit.as_ref();
    let rule = audit.map_or(Found::NotYet, |audit| found(audit.found_rule.as_ref(), audit.found_none));
    let rule_shown = audit.is_some_and(|audit| audit.rule_arn.is_some());
    RegionMemory {
        knobs: knobs.collect(),
        document_unseen: before != Found::NotYet && !shown,
        document: before,
        rule_unseen: rule != Found::NotYet && !rule_shown,
        rule,
        doubt_until: None,
    }
}

/// Puts what is to be remembered into status, and nothing else.
pub fn remember(status: &mut RegionPostureStatus, memory: &RegionMemory) {
    for (knob, kept) in &memory.knobs {
        let entry = match status.settings.iter_mut().find(|s| s.name == knob.field()) {
            Some(entry) => entry,
            None => {
                status.settings.push(of(*knob));
                let last = status.settings.len() - 1;
                &mut status.settings[last]
            }
        };
        put(entry, kept);
    }
    let forgotten = |name: &str| Knob::parse(name).is_none_or(|knob| !memory.knobs.contains_key(&knob));
    for entry in status.settings.iter_mut().filter(|s| forgotten(&s.name)) {
        put(entry, &KnobMemory::default());
    }
    status.settings.sort_by(|a, b| a.name.cmp(&b.name));
    let (version, none) = stored(&memory.document);
    if version.is_some() || none || status.session_preferences.is_some() {
        let document = status.session_preferences.get_or_insert_with(Default::default);
        (document.found_version, document.found_none) = (version, none);
    }
    let (rule, none) = stored(&memory.rule);
    if rule.is_some() || none || status.session_audit.is_some() {
        let audit = status.session_audit.get_or_insert_with(Default::default);
        (audit.found_rule, audit.found_none) = (rule, none);
    }
}

fn of(knob: Knob) -> SettingStatus {
    let setting_id = match knob {
        Knob::Setting(setting) => Some(setting.id().to_owned()),
        Knob::Metadata(_) => None,
    };
    SettingStatus { name: knob.field().to_owned(), setting_id, ..SettingStatus::default() }
}

fn put(entry: &mut SettingStatus, memory: &KnobMemory) {
    (entry.found, entry.found_unset) = stored(&memory.found);
    entry.applied.clone_from(&memory.applied);
    entry.applying.clone_from(&memory.applying);
}

/// Puts what was seen into status, and what is to be remembered.
pub fn put_seen(status: &mut RegionPostureStatus, seen: &RegionSeen, memory: &RegionMemory) {
    let kept =
        |name: &str| Knob::parse(name).is_some_and(|k| seen.knobs.contains_key(&k) || memory.knobs.contains_key(&k));
    status.settings.retain(|setting| kept(&setting.name));
    for (knob, value) in &seen.knobs {
        let entry = SettingStatus {
            value: value.value.as_deref().map(|value| truncate(value, MAX_VALUE)),
            last_modified_by: value.modified_by.as_deref().map(|who| truncate(who, 2048)),
            last_modified_at: value.modified_at.map(Time),
            ..of(*knob)
        };
        match status.settings.iter_mut().find(|s| s.name == knob.field()) {
            Some(known) => *known = entry,
            None => status.settings.push(entry),
        }
    }
    status.session_preferences = seen.document.as_ref().map(|document| SessionPreferencesStatus {
        default_version: document.default_version.as_deref().map(|version| truncate(version, 64)),
        latest_version: document.latest_version.as_deref().map(|version| truncate(version, 64)),
        ownership: document.ours.map(|ours| if ours { Ownership::Managed } else { Ownership::Existing }),
        ..SessionPreferencesStatus::default()
    });
    if !seen.targets.is_empty() {
        let document = status.session_preferences.get_or_insert_with(Default::default);
        document.targets = seen.targets.iter().map(target).collect();
    }
    status.session_audit = seen.audit.as_ref().map(|audit| SessionAuditStatus {
        rule_arn: audit.rule.as_deref().map(|arn| truncate(arn, MAX_ARN)),
        ownership: audit.ours.map(|ours| if ours { Ownership::Managed } else { Ownership::Existing }),
        trail_arn: audit.trail.as_deref().map(|arn| truncate(arn, MAX_ARN)),
        ..SessionAuditStatus::default()
    });
    status.instance_metadata = seen.metadata.as_ref().map(|metadata| {
        let number = |count: Option<usize>| count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let by = if metadata.by_declarative_policy { "declarative-policy" } else { "account" };
        InstanceMetadataStatus {
            managed_by: Some(by.to_owned()),
            exception_message: metadata.exception_message.as_deref().map(|message| truncate(message, 1024)),
            imds_v1_allowed: number(metadata.imds_v1_allowed),
            metadata_disabled: number(metadata.metadata_disabled),
        }
    });
    remember(status, memory);
}

fn target(seen: &SeenTarget) -> SessionTargetStatus {
    let (state, reason) = match seen.standing {
        Standing::Usable => (TargetState::Usable, None),
        Standing::NotUsable(reason) => (TargetState::NotUsable, Some(reason.as_str().to_owned())),
        Standing::Unknown => (TargetState::Unknown, None),
    };
    SessionTargetStatus { field: seen.field.name().to_owned(), name: truncate(&seen.name, 512), state, reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ssm_ready_core::{
        reason::Reason,
        region::{SeenAudit, SeenDocument, SeenKnob, TargetField},
    };

    use super::*;
    use crate::documents::{near_document, region_status};

    fn some_found() -> impl Strategy<Value = Found> {
        prop_oneof![Just(Found::NotYet), Just(Found::Unset), "[a-z]{1,4}".prop_map(Found::Value)]
    }

    fn some_memory() -> impl Strategy<Value = RegionMemory> {
        let text = || proptest::option::of("[a-z]{1,4}");
        let knob = proptest::sample::select(Knob::all().collect::<Vec<_>>());
        let kept = (some_found(), text(), text()).prop_map(|(found, applied, applying)| KnobMemory {
            found,
            applied,
            applying,
        });
        (proptest::collection::btree_map(knob, kept, 0..6), some_found(), some_found()).prop_map(
            |(mut knobs, document, rule)| {
                knobs.retain(|_, kept| *kept != KnobMemory::default());
                let document_unseen = document != Found::NotYet;
                let rule_unseen = rule != Found::NotYet;
                RegionMemory { knobs, document, document_unseen, rule, rule_unseen, doubt_until: None }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_remembered_comes_back(first in some_memory(), second in some_memory()) {
            let mut status = RegionPostureStatus::default();
            for memory in [first, second] {
                remember(&mut status, &memory);
                prop_assert_eq!(super::memory(&status), memory.clone());
                let mut seen = RegionSeen {
                    document: Some(SeenDocument::default()),
                    audit: Some(SeenAudit::default()),
                    ..RegionSeen::default()
                };
                seen.knobs.insert(Knob::all().next().unwrap(), SeenKnob::default());
                let [bucket, key] = [
                    (TargetField::Bucket, Standing::Usable),
                    (TargetField::Key, Standing::NotUsable(Reason::SessionKeyUnusable)),
                ]
                .map(|(field, standing)| SeenTarget { field, name: "n".to_owned(), standing });
                seen.targets = vec![key, bucket];
                put_seen(&mut status, &seen, &memory);
                prop_assert_eq!(super::memory(&status), memory);
                let targets = &status.session_preferences.as_ref().unwrap().targets;
                let said: Vec<_> =
                    targets.iter().map(|t| (t.field.as_str(), t.state, t.reason.as_deref())).collect();
                let unusable = ("kmsKeyId", TargetState::NotUsable, Some("SessionKeyUnusable"));
                prop_assert_eq!(said, [unusable, ("s3", TargetState::Usable, None)]);
                let mut names: Vec<&str> = status.settings.iter().map(|s| s.name.as_str()).collect();
                let before = names.clone();
                names.sort_unstable();
                names.dedup();
                prop_assert_eq!(names, before);
            }
        }

        #[test]
        fn any_status_is_remembered_as_far_as_it_goes((status, _) in near_document(vec![region_status()], "", 4)) {
            let Ok(status) = serde_json::from_value::<RegionPostureStatus>(status) else { return Ok(()) };
            let remembered = memory(&status);
            let mut again = status.clone();
            remember(&mut again, &remembered);
            prop_assert_eq!(memory(&again), remembered);
        }
    }
}
