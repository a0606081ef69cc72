//! Letting go of settings, documents, roles and profiles: what is still to be done before their object can go.

use std::collections::BTreeSet;

use crate::{
    evaluate::{Action, Facet},
    reason::Reason,
    snapshot::{FactKey, Reading},
    write::Write,
};

/// What is still to be done before a `RegionPosture` or an `AccountPosture` can go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parting {
    /// Proposed writes, in no particular order.
    pub actions: Vec<Action>,
    /// What stays, for the event that says so.
    pub left: Vec<String>,
    /// What could not be read, in words; nothing goes before that.
    pub unknown: Vec<String>,
    /// What is still in use, in words: it stays until that ends.
    pub used: Vec<String>,
    /// What may have been made a moment ago and is not shown yet, in words.
    pub pending: Vec<String>,
    /// Facts that have to be read again before the next look.
    pub watch: BTreeSet<FactKey>,
}

impl Parting {
    /// Whether nothing holds the object.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.actions.is_empty() && self.unknown.is_empty() && self.used.is_empty() && self.pending.is_empty()
    }

    /// What holds the object that only other people can end, if there is nothing else to do.
    #[must_use]
    pub fn held_by(&self) -> Option<String> {
        let only = self.actions.is_empty() && self.unknown.is_empty() && self.pending.is_empty();
        (only && !self.used.is_empty()).then(|| format!("in use: {}", self.used.join("; ")))
    }

    /// Where the deletion stands, as a reason and for people.
    #[must_use]
    pub fn standing(&self) -> (Reason, String) {
        if self.unknown.is_empty() {
            let writes = self.actions.iter().map(|action| action.write.to_string());
            let what: Vec<String> = writes.chain(self.pending.iter().cloned()).collect();
            (Reason::Deleting, format!("under way: {}", what.join("; ")))
        } else {
            (Reason::FactUnreadable, self.unknown.join("; "))
        }
    }

    pub(crate) fn act(&mut self, facet: Facet, write: Write) {
        self.watch.extend(FactKey::touched_by(&write));
        let disrupts = write.disrupts();
        self.actions.push(Action { facet, service: None, write, then_admit: Vec::new(), disrupts });
    }

    pub(crate) fn cannot_tell<T>(&mut self, key: &FactKey, reading: &Reading<'_, T>) {
        self.unknown.push(reading.why(key));
    }

    /// What may be there although it is not shown: it has to be looked for again.
    pub(crate) fn may_appear(&mut self, what: impl Into<String>, fact: FactKey) {
        self.pending.push(what.into());
        self.watch.insert(fact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::settings::Setting,
        write::{RoleChange, Write},
    };

    #[test]
    fn where_a_deletion_stands() {
        let reset = || Write::ResetSetting { setting: Setting::HostManagementRole };
        let done = Parting::default();
        let mut acting = Parting::default();
        acting.act(Facet::HostManagement, reset());
        acting.used.push("role a is in use".to_owned());
        let mut appearing = acting.clone();
        appearing.may_appear("role b may have been made", FactKey::Role("b".into()));
        let mut unreadable = appearing.clone();
        unreadable.cannot_tell(&FactKey::Instances, &Reading::<()>::Unknown(None));
        let mut used = Parting::default();
        used.used.extend(["role a is in use".to_owned(), "so is b".to_owned()]);

        let writes = reset().to_string();
        for (parting, is_done, held_by, standing) in [
            (&done, true, None, (Reason::Deleting, "under way: ".to_owned())),
            (&acting, false, None, (Reason::Deleting, format!("under way: {writes}"))),
            (&appearing, false, None, (Reason::Deleting, format!("under way: {writes}; role b may have been made"))),
            (
                &unreadable,
                false,
                None,
                (Reason::FactUnreadable, "ec2:DescribeInstances has not answered yet".to_owned()),
            ),
            (&used, false, Some("in use: role a is in use; so is b"), (Reason::Deleting, "under way: ".to_owned())),
        ] {
            assert_eq!(parting.is_done(), is_done, "{parting:?}");
            assert_eq!(parting.held_by().as_deref(), held_by, "{parting:?}");
            assert_eq!(parting.standing(), standing);
        }
        assert_eq!(acting.watch, FactKey::touched_by(&reset()).into_iter().collect());
        assert!(appearing.watch.contains(&FactKey::Role("b".into())));
    }

    #[test]
    fn each_thing_that_is_left_to_do_holds_the_object() {
        let role = || Write::Role { role: "a".into(), change: RoleChange::Delete };
        let with = |put: &dyn Fn(&mut Parting)| {
            let mut parting = Parting::default();
            put(&mut parting);
            parting
        };
        let holds: [&dyn Fn(&mut Parting); 4] = [
            &|p| p.act(Facet::Roles, role()),
            &|p| p.unknown.push("why".to_owned()),
            &|p| p.used.push("by whom".to_owned()),
            &|p| p.may_appear("what", FactKey::Instances),
        ];
        assert!(holds.iter().all(|put| !with(put).is_done()));
        assert!(with(&|p| p.left.push("what".to_owned())).is_done());
        // Beside what can still be done, nobody is asked for anything.
        for (index, put) in holds.iter().enumerate() {
            let mut parting = with(put);
            parting.used.push("by whom".to_owned());
            assert_eq!(parting.held_by().is_some(), index == 2, "{parting:?}");
        }
    }
}
