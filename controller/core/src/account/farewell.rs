//! What becomes of roles and profiles when their object is deleted.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{AccountDeletion, AccountMemory, AccountPosture, AccountView, Purpose, RoleOwnership, RoleWish, Snapshot};
use crate::{
    calls::AgeClass,
    evaluate::{Facet, join},
    facts::{iam::Role, settings::Setting},
    ids::{PolicyArn, Region},
    parting::Parting,
    posture::OWNER_TAG,
    snapshot::{FactKey, Reading},
    write::{ProfileChange, RoleChange, Write},
};

/// How many instances a message names.
const SAMPLE: usize = 3;

/// One region, for whether it uses a role.
#[derive(Debug, Clone, Copy)]
pub struct Uses<'a> {
    /// The region.
    pub region: &'a Region,
    /// Its facts.
    pub facts: &'a Snapshot,
    /// The interval by which they age.
    pub interval: Duration,
}

/// The facts by which a region tells whether it uses a role.
#[must_use]
pub fn wanted_of_regions() -> BTreeSet<FactKey> {
    [FactKey::Setting(Setting::HostManagementRole), FactKey::Instances].into()
}

/// Says what is still to be done, by what is there now. `regions` are all in which a role may be in use.
#[must_use]
pub fn farewell(
    posture: &AccountPosture,
    view: &AccountView<'_>,
    memory: &AccountMemory,
    regions: &[Uses<'_>],
) -> Parting {
    let mut next = Parting::default();
    for wish in &posture.roles {
        one(posture, view, memory, regions, wish, &mut next);
    }
    next
}

fn one(
    posture: &AccountPosture,
    view: &AccountView<'_>,
    memory: &AccountMemory,
    regions: &[Uses<'_>],
    wish: &RoleWish,
    next: &mut Parting,
) {
    let reading = view.role(&wish.role);
    let Some(role) = reading.known() else { return next.cannot_tell(&FactKey::Role(wish.role.clone()), &reading) };
    let profile_reading = wish.profile().map(|profile| (profile, view.profile(profile)));
    let profile = match &profile_reading {
        Some((name, reading)) => match reading.known() {
            Some(profile) => profile.as_ref(),
            None => return next.cannot_tell(&FactKey::Profile((*name).clone()), reading),
        },
        None => None,
    };
    let kept = memory.roles.get(&wish.name);
    let in_doubt = [
        Some(FactKey::Role(wish.role.clone()))
            .filter(|fact| role.is_none() && kept.is_some_and(|kept| kept.role_in_doubt(view.facts.read_at(fact)))),
        wish.profile().map(|profile| FactKey::Profile(profile.clone())).filter(|fact| {
            profile.is_none() && kept.is_some_and(|kept| kept.profile_in_doubt(view.facts.read_at(fact)))
        }),
    ];
    for fact in in_doubt.into_iter().flatten() {
        let what = match &fact {
            FactKey::Profile(profile) => format!("instance profile {profile}"),
            _ => format!("role {}", wish.role),
        };
        next.may_appear(format!("{what} may have been made a moment ago, and IAM does not show it yet"), fact);
    }
    let ours = |tags| posture.owner.owns(tags);
    // The role of a profile that is left alone is still declared.
    let role = role.as_ref().filter(|_| !matches!(wish.purpose, Purpose::Profile(_)));
    let our_role = role.filter(|role| ours(&role.tags));
    let our_profile = profile.filter(|profile| ours(&profile.tags));
    let delete = posture.deletion_policy == AccountDeletion::Delete;
    let change_role = |change| Write::Role { role: wish.role.clone(), change };
    let owner_key = || BTreeSet::from([OWNER_TAG.to_owned()]);
    let attached = role.filter(|_| our_role.is_none() && wish.ownership == RoleOwnership::AttachOnly);
    let added = kept.into_iter().flat_map(|kept| &kept.attached | &kept.attaching);
    let added: BTreeSet<PolicyArn> =
        added.filter(|policy| attached.is_some_and(|role| role.policies.contains(policy))).collect();
    if !delete {
        next.left.extend(added.iter().map(|policy| format!("{policy} on role {}", wish.role)));
    }
    let writes = !added.is_empty() && delete || our_role.is_some() || our_profile.is_some();
    let is_current =
        reading.current().is_some() && profile_reading.as_ref().is_none_or(|(_, reading)| reading.current().is_some());
    if writes && !is_current {
        return next.unknown.push(format!("role {} or its profile could not be read again", wish.role));
    }
    if !delete {
        if let Some(role) = our_role {
            next.left.push(role.arn.clone());
            next.act(Facet::Roles, change_role(RoleChange::Untag(owner_key())));
        }
        if let Some(profile) = our_profile {
            next.left.push(profile.arn.clone());
            let change = ProfileChange::Untag(owner_key());
            next.act(Facet::Profiles, Write::Profile { profile: profile.name.clone(), change });
        }
        return;
    }
    if added.is_empty() && our_role.is_none() && our_profile.is_none() {
        return;
    }
    let before = (next.used.len(), next.unknown.len());
    if let (Some(_), Some(theirs), None) = (our_role, profile, our_profile)
        && theirs.role.as_ref() == Some(&wish.role)
    {
        next.used.push(format!("role {} is in instance profile {}, which is somebody else's", wish.role, theirs.name));
    }
    for region in regions {
        in_use(wish, role, profile.map(|profile| profile.arn.as_str()), region, view.now, next);
    }
    if (next.used.len(), next.unknown.len()) != before {
        return;
    }
    // What only we added to a role of somebody else's goes again.
    for policy in added {
        next.act(Facet::Roles, change_role(RoleChange::Detach(policy)));
    }
    if let Some(profile) = our_profile {
        let of = |change| Write::Profile { profile: profile.name.clone(), change };
        if let Some(role) = &profile.role {
            next.act(Facet::Profiles, of(ProfileChange::RemoveRole(role.clone())));
        }
        next.act(Facet::Profiles, of(ProfileChange::Delete));
    }
    if let Some(role) = our_role {
        for policy in &role.policies {
            next.act(Facet::Roles, change_role(RoleChange::Detach(policy.clone())));
        }
        for name in role.inline.keys() {
            next.act(Facet::Roles, change_role(RoleChange::DeleteInline(name.clone())));
        }
        next.act(Facet::Roles, change_role(RoleChange::Delete));
    }
}

/// Whether a setting or an instance of a region uses the role.
fn in_use(
    wish: &RoleWish,
    role: Option<&Role>,
    profile: Option<&str>,
    region: &Uses<'_>,
    now: Timestamp,
    next: &mut Parting,
) {
    let limit = AgeClass::Fast.limit(region.interval);
    let setting = region.facts.settings.get(&Setting::HostManagementRole);
    let reading = setting.map_or(Reading::Unknown(None), |entry| entry.reading(limit, now));
    match (reading.current(), role) {
        (None, _) => next.cannot_tell(&FactKey::Setting(Setting::HostManagementRole), &reading),
        (Some(Some(setting)), Some(role)) if setting.value.as_deref() == Some(role.setting_value().as_str()) => {
            next.used.push(format!("role {} is that of Default Host Management in {}", wish.role, region.region));
        }
        _ => {}
    }
    let Some(profile) = profile else { return };
    let reading = region.facts.instances.reading(limit, now);
    let Some(instances) = reading.current() else { return next.cannot_tell(&FactKey::Instances, &reading) };
    let users: Vec<&str> =
        instances.iter().filter(|i| i.profile.as_deref() == Some(profile)).map(|i| i.id.as_str()).collect();
    match users.as_slice() {
        [] => {}
        [one] => next.used.push(format!("instance {one} in {} has profile {profile}", region.region)),
        all => next.used.push(format!(
            "{} instances in {} have profile {profile}: {}",
            all.len(),
            region.region,
            join(all.iter().take(SAMPLE))
        )),
    }
}
