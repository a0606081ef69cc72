//! The controller-wide brake: so many creations and so many deletions an hour, whatever the objects ask for.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::write::{DocumentChange, ProfileChange, RoleChange, RuleChange, Write};

const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Counts creations and deletions over the last hour.
#[derive(Debug)]
pub struct Brake {
    creates: Window,
    deletes: Window,
}

#[derive(Debug)]
struct Window {
    limit: usize,
    times: VecDeque<Timestamp>,
}

impl Window {
    fn take(&mut self, count: usize, now: Timestamp) -> Result<(), Duration> {
        while self.times.front().is_some_and(|t| now.duration_since(*t) >= WINDOW) {
            self.times.pop_front();
        }
        if self.times.len() + count > self.limit {
            let oldest = self.times.front().map_or(SignedDuration::ZERO, |t| now.duration_since(*t));
            return Err(Duration::try_from(WINDOW - oldest).unwrap_or_default());
        }
        self.times.extend(std::iter::repeat_n(now, count));
        Ok(())
    }
}

impl Brake {
    /// A brake that lets through so many creations and deletions an hour.
    #[must_use]
    pub fn new(creates_per_hour: usize, deletes_per_hour: usize) -> Self {
        let window = |limit| Window { limit, times: VecDeque::new() };
        Self { creates: window(creates_per_hour), deletes: window(deletes_per_hour) }
    }

    /// Lets a write through and counts it, or says how long to wait. Changes are neither creations nor deletions.
    ///
    /// # Errors
    /// The time until the next one is let through.
    pub fn pass(&mut self, write: &Write, now: Timestamp) -> Result<(), Duration> {
        match write {
            Write::Rule(RuleChange::Put { tags, .. }) if tags.is_empty() => Ok(()),
            Write::CreateEndpoint(_)
            | Write::CreateSecurityGroup { .. }
            | Write::Document(DocumentChange::Create { .. })
            | Write::Rule(RuleChange::Put { .. })
            | Write::Role { change: RoleChange::Create(_), .. }
            | Write::Profile { change: ProfileChange::Create { .. }, .. } => self.creates.take(1, now),
            Write::DeleteEndpoints { endpoints } => self.deletes.take(endpoints.len(), now),
            Write::DeleteSecurityGroup { .. }
            | Write::Document(DocumentChange::Delete)
            | Write::Rule(RuleChange::Delete)
            | Write::Role { change: RoleChange::Delete, .. }
            | Write::Profile { change: ProfileChange::Delete, .. } => self.deletes.take(1, now),
            Write::AuthorizeIngress { .. }
            | Write::RevokeIngress { .. }
            | Write::ModifyEndpoint { .. }
            | Write::Tag { .. }
            | Write::Untag { .. }
            | Write::EnableVpcAttribute { .. }
            | Write::AssociateProfile { .. }
            | Write::UpdateSetting { .. }
            | Write::ResetSetting { .. }
            | Write::ModifyMetadataDefaults { .. }
            | Write::Document(_)
            | Write::Rule(_)
            | Write::Role { .. }
            | Write::Profile { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn so_many_an_hour_and_no_more() {
        let mut brake = Brake::new(1, 2);
        let create = Write::CreateSecurityGroup {
            vpc: "vpc-1".into(),
            name: String::new(),
            description: String::new(),
            tags: Default::default(),
        };
        let delete = |ids: &[&str]| Write::DeleteEndpoints { endpoints: ids.iter().map(|i| (*i).into()).collect() };
        assert_eq!(brake.pass(&create, at(0)), Ok(()));
        assert_eq!(brake.pass(&create, at(600)), Err(Duration::from_secs(3000)));
        assert!(brake.pass(&delete(&["a", "b", "c"]), at(600)).is_err(), "a batch counts each");
        assert_eq!(brake.pass(&delete(&["a", "b"]), at(600)), Ok(()));
        assert!(brake.pass(&delete(&["c"]), at(601)).is_err());
        assert_eq!(
            brake.pass(&Write::Tag { resources: Default::default(), tags: Default::default() }, at(601)),
            Ok(())
        );
        assert_eq!(brake.pass(&create, at(3600)), Ok(()));
    }

    #[test]
    fn what_makes_and_what_deletes_counts_and_nothing_else() {
        use crate::facts::settings::Setting;
        let text = String::new;
        let role = |change| Write::Role { role: "r".into(), change };
        let profile = |change| Write::Profile { profile: "p".into(), change };
        let new = crate::write::NewRole {
            path: text(),
            trust: text(),
            description: text(),
            boundary: None,
            tags: Default::default(),
        };
        let named = || [("a".to_owned(), "1".to_owned())].into();
        let made = [
            Write::Rule(RuleChange::Put { pattern: text(), tags: named() }),
            Write::Document(DocumentChange::Create { content: text(), tags: Default::default() }),
            role(RoleChange::Create(Box::new(new))),
            profile(ProfileChange::Create { path: text(), tags: Default::default() }),
        ];
        let deleted = [
            Write::Rule(RuleChange::Delete),
            Write::Document(DocumentChange::Delete),
            role(RoleChange::Delete),
            profile(ProfileChange::Delete),
        ];
        let changed = [
            Write::UpdateSetting { setting: Setting::OpsCenter, value: text() },
            Write::ResetSetting { setting: Setting::OpsCenter },
            Write::ModifyMetadataDefaults { values: Default::default() },
            Write::Rule(RuleChange::Put { pattern: text(), tags: Default::default() }),
            Write::Rule(RuleChange::Target(text())),
            Write::Rule(RuleChange::Tag { rule: text(), tags: named() }),
            Write::Rule(RuleChange::Untag { rule: text(), keys: Default::default() }),
            Write::Rule(RuleChange::RemoveTargets(Default::default())),
            Write::Document(DocumentChange::Update(text())),
            Write::Document(DocumentChange::Use(text())),
            Write::Document(DocumentChange::Tag(Default::default())),
            Write::Document(DocumentChange::Untag(Default::default())),
            role(RoleChange::Trust(text())),
            role(RoleChange::Attach("a".into())),
            role(RoleChange::Detach("a".into())),
            role(RoleChange::PutInline(text())),
            role(RoleChange::DeleteInline(text())),
            role(RoleChange::Boundary("b".into())),
            role(RoleChange::Tag(Default::default())),
            role(RoleChange::Untag(Default::default())),
            profile(ProfileChange::AddRole("r".into())),
            profile(ProfileChange::RemoveRole("r".into())),
            profile(ProfileChange::Tag(Default::default())),
            profile(ProfileChange::Untag(Default::default())),
        ];
        let passes = |creates, deletes, write: &Write| Brake::new(creates, deletes).pass(write, at(0)).is_ok();
        for (writes, creates, deletes) in
            [(&made[..], true, false), (&deleted[..], false, true), (&changed[..], false, false)]
        {
            for write in writes {
                assert_eq!(passes(0, 1, write), !creates, "{write}");
                assert_eq!(passes(1, 0, write), !deletes, "{write}");
            }
        }
    }
}
