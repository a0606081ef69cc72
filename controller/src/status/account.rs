//! Between the status of an `AccountPosture` and what the core remembers and sees.

use std::collections::BTreeSet;

use ssm_ready_core::{
    account::{AccountMemory, AccountSeen, RoleMemory},
    evaluate,
    fault::truncate,
    ids::PolicyArn,
};
use ssm_ready_crds::{AccountPostureStatus, Ownership, RoleStatus};

/// The most policies that status lists of a role; AWS allows no more than 25.
const MAX_POLICIES: usize = 32;
/// The longest ARN that status holds, in characters; a cut one would be another's.
const MAX_ARN: usize = 2048;

fn arns(policies: &BTreeSet<PolicyArn>) -> Vec<String> {
    let fit = policies.iter().map(ToString::to_string).filter(|arn| arn.chars().count() <= MAX_ARN);
    fit.take(MAX_POLICIES).collect()
}

fn policies(arns: &[String]) -> BTreeSet<PolicyArn> {
    arns.iter().map(|arn| PolicyArn::new(arn.clone())).collect()
}

/// What status remembers, for the core.
#[must_use]
pub fn memory(status: &AccountPostureStatus) -> AccountMemory {
    let roles = status.roles.iter().map(|role| {
        let memory = RoleMemory {
            role: role.role_name.as_str().into(),
            profile: role.profile_name.as_deref().map(Into::into),
            attached: policies(&role.attached),
            attaching: policies(&role.pending),
            managed: matches!(role.ownership, Some(Ownership::Managed | Ownership::Adopted)),
            existed: role.arn.is_some(),
            doubt_until: None,
        };
        (role.name.clone(), memory)
    });
    AccountMemory { roles: roles.collect() }
}

/// Puts what is to be remembered into status, and nothing else.
pub fn remember(status: &mut AccountPostureStatus, memory: &AccountMemory) {
    for (name, kept) in &memory.roles {
        let entry = match status.roles.iter_mut().find(|role| role.name == *name) {
            Some(entry) => entry,
            None => {
                status.roles.push(RoleStatus { name: name.clone(), ..RoleStatus::default() });
                let last = status.roles.len() - 1;
                &mut status.roles[last]
            }
        };
        entry.role_name = kept.role.to_string();
        entry.profile_name = kept.profile.as_ref().map(ToString::to_string);
        entry.attached = arns(&kept.attached);
        entry.pending = arns(&kept.attaching);
        // Noted before it is made, so that it is known whose it is when the answer is lost; and kept where it has lost its
        // tags, which may be restored.
        if kept.managed && matches!(entry.ownership, None | Some(Ownership::Existing)) {
            entry.ownership = Some(Ownership::Managed);
        }
    }
    status.roles.retain(|role| memory.roles.contains_key(&role.name));
    status.roles.sort_by(|a, b| a.name.cmp(&b.name));
}

/// Puts what was seen into status, and what is to be remembered.
pub fn put_seen(status: &mut AccountPostureStatus, seen: &AccountSeen, memory: &AccountMemory) {
    for role in &seen.roles {
        let before = status.roles.iter().find(|known| known.name == role.name).and_then(|known| known.ownership);
        let ownership = role.ownership.map(|now| match (now, before) {
            (evaluate::Ownership::Existing, _) => Ownership::Existing,
            // One that is ours now and was somebody else's before has been taken over.
            (evaluate::Ownership::Managed, Some(Ownership::Existing | Ownership::Adopted)) => Ownership::Adopted,
            (evaluate::Ownership::Managed, _) => Ownership::Managed,
        });
        let entry = RoleStatus {
            name: role.name.clone(),
            role_name: role.role.to_string(),
            arn: role.arn.as_deref().map(|arn| truncate(arn, MAX_ARN)),
            ownership,
            profile_name: role.profile.as_ref().map(ToString::to_string),
            profile_arn: role.profile_arn.as_deref().map(|arn| truncate(arn, MAX_ARN)),
            policies: arns(&role.policies),
            ..RoleStatus::default()
        };
        match status.roles.iter_mut().find(|known| known.name == role.name) {
            Some(known) => *known = entry,
            None => status.roles.push(entry),
        }
    }
    remember(status, memory);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::documents::{account_posture_status, near_document};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_status_is_remembered_as_far_as_it_goes(
            (status, _) in near_document(vec![account_posture_status()], "", 4),
        ) {
            let Ok(status) = serde_json::from_value::<AccountPostureStatus>(status) else { return Ok(()) };
            let remembered = memory(&status);
            let names: BTreeSet<&String> = status.roles.iter().map(|role| &role.name).collect();
            prop_assert_eq!(remembered.roles.keys().collect::<BTreeSet<_>>(), names);
            let mut again = status.clone();
            remember(&mut again, &remembered);
            let back = memory(&again);
            for (name, kept) in &remembered.roles {
                prop_assert_eq!(&back.roles[name].attached, &policies(&arns(&kept.attached)));
            }
        }
    }

    #[test]
    fn what_was_noted_before_it_was_made_is_ours_when_it_is_seen_no_more() {
        let mut status = AccountPostureStatus::default();
        let kept = RoleMemory {
            role: "web".into(),
            attaching: [PolicyArn::new("arn:aws:iam::aws:policy/A")].into(),
            managed: true,
            ..RoleMemory::default()
        };
        let noted = AccountMemory { roles: [("web".to_owned(), kept)].into() };
        remember(&mut status, &noted);
        assert_eq!(memory(&status), noted);
        assert_eq!((status.roles[0].arn.as_deref(), status.roles[0].ownership), (None, Some(Ownership::Managed)));
        remember(&mut status, &AccountMemory::default());
        assert!(status.roles.is_empty());
    }
}
