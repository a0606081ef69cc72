//! Instance profiles: each holds one role.

use super::{AccountSeen, Case, RoleOwnership, RoleWish, roles::RoleState};
use crate::{
    evaluate::{Facet, Verdict, join},
    facts::iam::Profile,
    ids::ProfileName,
    reason::Reason,
    snapshot::FactKey,
    write::{ProfileChange, Write},
};

const FACET: Facet = Facet::Profiles;

pub(super) fn judge(case: Case<'_>, wish: &RoleWish, role: RoleState, verdict: &mut Verdict<AccountSeen>) {
    let Some(name) = wish.profile() else { return };
    let reading = case.view.profile(name);
    let Some(found) = reading.known() else {
        return verdict.unknown(FACET, &FactKey::Profile(name.clone()), &reading);
    };
    if role == RoleState::Withheld {
        if found.as_ref().is_some_and(|profile| profile.role.as_ref() == Some(&wish.role)) {
            return verdict.pass(FACET, format!("profile {name} holds role {}", wish.role));
        }
        verdict.fail(FACET, Reason::PrerequisiteMissing, format!("profile {name} waits for role {}", wish.role));
        return;
    }
    let one = One { case, wish, name, may_write: reading.current().is_some() };
    match found {
        None => one.missing(verdict),
        Some(profile) => one.found(profile, verdict),
    }
}

struct One<'a> {
    case: Case<'a>,
    wish: &'a RoleWish,
    name: &'a ProfileName,
    may_write: bool,
}

impl One<'_> {
    fn change(&self, change: ProfileChange, verdict: &mut Verdict<AccountSeen>) {
        if self.may_write {
            let write = Write::Profile { profile: self.name.clone(), change };
            let disrupts = write.disrupts();
            verdict.propose(FACET, write).disrupts = disrupts;
        }
    }

    fn missing(&self, verdict: &mut Verdict<AccountSeen>) {
        let Self { case, wish, name, .. } = self;
        if case.view.fresh.profiles.contains(name) {
            verdict.fail(FACET, Reason::RolePending, format!("profile {name} was made, and IAM does not show it yet"));
            verdict.watch.insert(FactKey::Profile((*name).clone()));
            return;
        }
        verdict.fail(FACET, Reason::ProfileMissing, format!("there is no instance profile {name}")).differs(
            format!("roles.{}.profile", wish.name),
            "a profile",
            "none",
        );
        self.change(ProfileChange::Create { path: wish.path.clone(), tags: case.posture.all_tags() }, verdict);
        self.change(ProfileChange::AddRole(wish.role.clone()), verdict);
    }

    fn found(&self, profile: &Profile, verdict: &mut Verdict<AccountSeen>) {
        let Self { case, wish, name, .. } = self;
        let has_it = profile.role.as_ref() == Some(&wish.role);
        let ours = case.posture.owner.owns(&profile.tags);
        if !ours && wish.ownership != RoleOwnership::TakeOver {
            if has_it {
                verdict.pass(FACET, format!("profile {name}, which is somebody else's, holds role {}", wish.role));
            } else {
                let holds = profile.role.as_ref().map_or("no role".to_owned(), |role| format!("role {role}"));
                verdict
                    .fail(
                        FACET,
                        Reason::ProfileConflict,
                        format!(
                            "profile {name} is somebody else's and holds {holds}, and {} is declared: choose another profileName, put the role into it, or set ownership: TakeOver",
                            wish.role
                        ),
                    )
                    .differs(format!("roles.{}.profile", wish.name), wish.role.to_string(), holds);
            }
            return;
        }
        let all = case.posture.all_tags();
        let lacking: crate::facts::Tags =
            all.into_iter().filter(|(key, value)| profile.tags.get(key) != Some(value)).collect();
        if lacking.is_empty() && has_it {
            verdict.pass(FACET, format!("profile {name} holds role {}", wish.role));
            return;
        }
        if !lacking.is_empty() {
            verdict
                .fail(FACET, Reason::ProfileDrifted, format!("profile {name} lacks the tags {}", join(lacking.keys())))
                .differs(format!("roles.{}.profile.tags", wish.name), join(lacking.keys()), "lacking");
            self.change(ProfileChange::Tag(lacking), verdict);
        }
        if !has_it {
            let holds = profile.role.as_ref().map_or("no role".to_owned(), |role| format!("role {role}"));
            verdict
                .fail(
                    FACET,
                    Reason::ProfileDrifted,
                    format!("profile {name} holds {holds}, and {} is declared", wish.role),
                )
                .differs(format!("roles.{}.profile", wish.name), wish.role.to_string(), holds);
            if let Some(other) = &profile.role {
                self.change(ProfileChange::RemoveRole(other.clone()), verdict);
            }
            self.change(ProfileChange::AddRole(wish.role.clone()), verdict);
        }
    }
}
