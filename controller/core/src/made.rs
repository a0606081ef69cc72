//! Roles and instance profiles that we made a moment ago: IAM may not show them yet ("Changes that I make are not always
//! immediately visible", IAM user guide). Their names are fixed, so that a second creation makes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    account::Fresh,
    overlay::FORGET_AFTER,
    snapshot::{FactKey, Snapshot},
    write::{ProfileChange, RoleChange, Write},
};

/// What was made, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Made(BTreeMap<FactKey, Timestamp>);

impl Made {
    /// Remembers what a write made, and forgets what it deleted.
    pub fn add(&mut self, write: &Write, at: Timestamp) {
        match write {
            Write::Role { role, change: RoleChange::Create(_) } => {
                self.0.insert(FactKey::Role(role.clone()), at);
            }
            Write::Role { role, change: RoleChange::Delete } => {
                self.0.remove(&FactKey::Role(role.clone()));
            }
            Write::Profile { profile, change: ProfileChange::Create { .. } } => {
                self.0.insert(FactKey::Profile(profile.clone()), at);
            }
            Write::Profile { profile, change: ProfileChange::Delete } => {
                self.0.remove(&FactKey::Profile(profile.clone()));
            }
            _ => {}
        }
    }

    /// Forgets what IAM shows, and what it has not shown for five minutes.
    pub fn settle(&mut self, facts: &Snapshot, now: Timestamp) {
        self.0.retain(|key, at| {
            let shown = match key {
                FactKey::Role(role) => facts.roles.get(role).is_some_and(|entry| entry.shows_something()),
                FactKey::Profile(profile) => facts.profiles.get(profile).is_some_and(|entry| entry.shows_something()),
                _ => true,
            };
            !shown && now.duration_since(*at) < FORGET_AFTER
        });
    }

    /// What is still remembered.
    #[must_use]
    pub fn fresh(&self) -> Fresh {
        let mut fresh = Fresh::default();
        for key in self.0.keys() {
            match key {
                FactKey::Role(role) => {
                    fresh.roles.insert(role.clone());
                }
                FactKey::Profile(profile) => {
                    fresh.profiles.insert(profile.clone());
                }
                _ => {}
            }
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        facts::{
            Tags,
            iam::{Profile, Role},
        },
        snapshot::FactValue,
        testing::at,
        write::NewRole,
    };

    fn profile(change: ProfileChange) -> Write {
        Write::Profile { profile: "web".into(), change }
    }

    fn role(change: RoleChange) -> Write {
        Write::Role { role: "web".into(), change }
    }

    #[test]
    fn what_was_made_is_remembered_until_it_is_shown_or_long_ago() {
        let shown = Profile { name: "web".into(), arn: String::new(), path: "/".into(), role: None, tags: Tags::new() };
        let profiles = (
            FactKey::Profile("web".into()),
            [
                profile(ProfileChange::Create { path: "/".into(), tags: Tags::new() }),
                profile(ProfileChange::AddRole("web".into())),
                profile(ProfileChange::Delete),
            ],
            Fresh { profiles: ["web".into()].into(), ..Fresh::default() },
            [FactValue::Profile(None), FactValue::Profile(Some(shown))],
        );
        let (path, trust, description, boundary) = ("/".to_owned(), "{}".to_owned(), String::new(), None);
        let new = NewRole { path, trust, description, boundary, tags: Tags::new() };
        let shown = Role {
            name: "web".into(),
            arn: String::new(),
            path: new.path.clone(),
            trust: new.trust.clone(),
            boundary: None,
            policies: BTreeSet::new(),
            inline: BTreeMap::new(),
            tags: Tags::new(),
        };
        let roles = (
            FactKey::Role("web".into()),
            [
                role(RoleChange::Create(Box::new(new))),
                role(RoleChange::PutInline("{}".to_owned())),
                role(RoleChange::Delete),
            ],
            Fresh { roles: ["web".into()].into(), ..Fresh::default() },
            [FactValue::Role(None), FactValue::Role(Some(shown))],
        );
        for (key, [create, change, delete], remembered, [absent, shown]) in [profiles, roles] {
            let mut facts = Snapshot::default();
            let mut made = Made::default();
            made.add(&change, at(0));
            assert_eq!(made.fresh(), Fresh::default(), "{key:?}");
            made.add(&create, at(0));
            made.add(&change, at(0));
            assert_eq!(made.fresh(), remembered);
            facts.note(&key, Ok(absent), at(1));
            for (seconds, known) in [(1, true), (299, true), (300, false)] {
                let mut made = made.clone();
                made.settle(&facts, at(seconds));
                assert_eq!(made.fresh() == remembered, known, "{key:?} {seconds}");
            }
            facts.note(&key, Ok(shown), at(2));
            let mut settled = made.clone();
            settled.settle(&facts, at(2));
            assert_eq!(settled.fresh(), Fresh::default());
            made.add(&delete, at(1));
            assert_eq!(made.fresh(), Fresh::default());
        }
    }
}
