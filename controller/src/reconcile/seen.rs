//! What an object sees: its region and its account, looked at together.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use ssm_ready_core::{
    facts::Scope,
    ids::{Region, VpcId},
    made::Made,
    overlay::Overlay,
    reason::Reason,
    region::RegionView,
    snapshot::FactKey,
};

use super::pass::{Account, Pass, broken_session, denied_read};
use crate::{
    place::{GLOBAL, Interest, Look, Place, PlaceKey},
    posture::Posture,
};

/// The facts of a region and those of the account.
pub(super) type Facts = [BTreeSet<FactKey>; 2];

/// Where an object looks: at its region and, if it wants anything of that, at its account.
#[derive(Clone, Copy)]
pub(super) struct Where<'a> {
    pub(super) account: &'a Account,
    pub(super) region: &'a Region,
    /// The VPC whose instances are counted.
    pub(super) vpc: Option<&'a VpcId>,
    pub(super) interval: Duration,
    /// Where the account's own facts are read, if any are wanted.
    pub(super) home: Option<&'a Scope>,
}

impl Where<'_> {
    fn places(&self, facts: &Facts) -> Vec<(PlaceKey, Scope, Interest)> {
        let [region, account] = facts;
        let interest = |vpc, facts: &BTreeSet<FactKey>| Interest { vpc, interval: self.interval, facts: facts.clone() };
        let scope = self.account.read(self.region.clone());
        let mut all = vec![self.account.place(self.region.as_str(), scope, interest(self.vpc.cloned(), region))];
        all.extend(self.home.map(|home| self.account.place(GLOBAL, home.clone(), interest(None, account))));
        all
    }
}

/// What the places show. Of an account that nothing is wanted of, that is nothing.
pub(super) struct Seen {
    /// The region's place and, if it is looked at, the account's.
    pub(super) places: Vec<Arc<Place>>,
    /// What the region and the account show.
    pub(super) looks: [Look; 2],
    /// The facts that were asked for.
    pub(super) facts: Facts,
}

impl Seen {
    pub(super) fn view(&self, now: Timestamp) -> RegionView<'_> {
        view(&self.looks, now)
    }

    /// Why nothing that was read counts, if that is so.
    pub(super) fn broken(&self) -> Option<(Reason, String)> {
        self.looks.iter().zip(&self.facts).find_map(|(look, facts)| broken_session(look, facts))
    }

    /// Whether AWS denies any of the facts.
    pub(super) fn denied(&self) -> bool {
        self.looks.iter().zip(&self.facts).any(|(look, facts)| denied_read(look, facts))
    }
}

fn view([region, account]: &[Look; 2], now: Timestamp) -> RegionView<'_> {
    RegionView {
        region: &region.snapshot,
        account: &account.snapshot,
        interval: region.interval,
        account_interval: account.interval,
        now,
    }
}

impl<P: Posture> Pass<'_, P> {
    /// Follows the places with these facts.
    pub(super) fn follow(&self, at: &Where<'_>, facts: &Facts) -> Vec<Arc<Place>> {
        self.ctx.places.follow(self.key, at.places(facts))
    }

    /// Follows the places with what is wanted of them, which may depend on what they show; none while something is still
    /// to be read.
    pub(super) fn look(&self, at: &Where<'_>, wanted: impl Fn(&RegionView<'_>) -> Facts) -> Option<Seen> {
        let now = self.ctx.outside.steady();
        let blank = || Look {
            snapshot: Arc::default(),
            overlay: Overlay::default(),
            made: Made::default(),
            interval: at.interval,
        };
        let known = self.ctx.local(self.key, |local| local.wanted.take()).unwrap_or_default();
        let mut places = Vec::new();
        let (next, seen) = pursue(
            &[blank(), blank()],
            known,
            |looks| wanted(&view(looks, now)),
            |facts| {
                places = self.follow(at, facts);
                self.ask_for_fresh(&places);
                // All are asked, so that all read what they lack.
                let looks: Vec<Option<Look>> = places.iter().map(|place| place.look(self.key)).collect();
                let mut looks = looks.into_iter();
                Some([looks.next()??, looks.next().unwrap_or_else(|| Some(blank()))?])
            },
        );
        self.ctx.local(self.key, |local| local.wanted = Some(next));
        let (looks, facts) = seen?;
        Some(Seen { places, looks, facts })
    }
}

/// Looks with what is wanted until what that shows makes nothing more wanted; none once a look has to wait. Also gives
/// back what to look with the next time: all of it then, or only what turned out to be needed.
fn pursue<L>(
    blank: &L,
    known: Facts,
    wanted: impl Fn(&L) -> Facts,
    mut look: impl FnMut(&Facts) -> Option<L>,
) -> (Facts, Option<(L, Facts)>) {
    let mut facts = join(&wanted(blank), &known);
    loop {
        let Some(seen) = look(&facts) else { return (facts, None) };
        let needed = wanted(&seen);
        if needed.iter().zip(&facts).all(|(needed, facts)| needed.is_subset(facts)) {
            return (needed, Some((seen, facts)));
        }
        facts = join(&facts, &needed);
    }
}

fn join(one: &Facts, other: &Facts) -> Facts {
    [&one[0] | &other[0], &one[1] | &other[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> FactKey {
        FactKey::Role(name.into())
    }

    fn facts<const N: usize, const M: usize>(region: [FactKey; N], account: [FactKey; M]) -> Facts {
        [region.into(), account.into()]
    }

    /// Each role makes the next one wanted, as far as it is seen.
    fn chain(seen: &BTreeSet<FactKey>) -> Facts {
        let mut account: BTreeSet<FactKey> = [role("a")].into();
        for (this, next) in [("a", "b"), ("b", "c"), ("c", "d")] {
            account.extend(seen.contains(&role(this)).then(|| role(next)));
        }
        [[FactKey::Instances].into(), account]
    }

    /// Looks at an account in which these roles have been read.
    fn pursued(read: &[&str], known: Facts) -> (Vec<Facts>, Facts, bool) {
        let read: BTreeSet<FactKey> = read.iter().map(|name| role(name)).collect();
        let mut asked = Vec::new();
        let (next, seen) = pursue(&BTreeSet::new(), known, chain, |facts| {
            asked.push(facts.clone());
            facts[1].is_subset(&read).then(|| facts[1].clone())
        });
        assert!(seen.iter().all(|(_, facts)| Some(facts) == asked.last()));
        (asked, next, seen.is_some())
    }

    #[test]
    fn what_others_have_read_is_followed_to_its_end_at_once() {
        let whole = facts([FactKey::Instances], [role("a"), role("b"), role("c"), role("d")]);
        let (asked, next, seen) = pursued(&["a", "b", "c", "d"], Facts::default());
        assert!(seen, "nobody would read anything that brings the object back: {asked:?}");
        assert_eq!((asked.len(), &next), (4, &whole));
        // The next time all of it is asked for at once.
        assert_eq!(pursued(&["a", "b", "c", "d"], next), (vec![whole.clone()], whole, true));
    }

    #[test]
    fn what_waits_is_asked_for_again_with_all_that_is_known_by_then() {
        let some = facts([FactKey::Instances], [role("a"), role("b"), role("c")]);
        let (asked, next, seen) = pursued(&["a", "b"], Facts::default());
        assert!(!seen);
        assert_eq!(asked.last(), Some(&some), "what is lacking is asked for, so that it is read");
        assert_eq!(next, some);
        let (asked, ..) = pursued(&["a", "b", "c"], next);
        assert_eq!(asked[0], some);
    }

    #[test]
    fn what_is_no_longer_needed_is_asked_for_once_more_and_then_not() {
        let known = facts([FactKey::Instances, FactKey::Endpoints], [role("a"), role("b"), role("old")]);
        let read = ["a", "b", "c", "d", "old"];
        let (asked, next, seen) = pursued(&read, known.clone());
        assert!(seen);
        assert_eq!(asked[0], known);
        assert_eq!(next, facts([FactKey::Instances], [role("a"), role("b"), role("c"), role("d")]));
    }
}
