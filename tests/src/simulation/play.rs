//! Plays a world from its beginning to its end.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use ssm_ready_core::ids::{AccountId, VpcId};

use super::{
    fate::{Fate, Point, Side},
    hands::{self, Place},
    judge::{self, Aspect, Judge, Wanted, judge_end},
    kubernetes::{Id, Kind, Trouble},
    others::{self, Spot},
    stage::{Ended, Stage},
    wish::{Rails, RegionWish, RolesWish},
    world::{self, Change, Deed, INTERVAL, REGIONS, RIVALS, TEAM, Target, Wish, World},
};

/// How long a dead process stays away.
const AWAY: Duration = Duration::from_secs(3);
/// Time enough for everything: denials are looked at hourly, agents come back within an hour of their path.
const CALM: Duration = Duration::from_secs(4 * 3600);
/// How long nothing may be written then.
const QUIET: Duration = Duration::from_secs(2 * 3600);
/// The longest step between two looks of the judge.
const LOOK: Duration = Duration::from_secs(600);

/// What a world took.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    /// Processes killed at a write.
    pub deaths: usize,
    /// Writes to AWS that took effect.
    pub writes: usize,
    /// Calls of AWS, those of others included.
    pub calls: usize,
    /// Calls that failed because of the weather.
    pub faults: usize,
    /// Writes of the first process, in order: those at which it may die.
    pub points: Vec<Point>,
    /// Virtual time.
    pub time: SignedDuration,
}

/// The end of a world, without what differs from one way there to another.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// AWS, thing by thing.
    pub aws: Vec<String>,
    /// Kubernetes, object by object.
    pub kubernetes: Vec<String>,
}

/// A world that is being played.
#[derive(Debug)]
struct Play<'w> {
    world: &'w World,
    places: Vec<Place>,
    wishes: Vec<Wish>,
    suspended: Vec<bool>,
    /// The regions and then the accounts that have postures.
    spots: Vec<Spot>,
    regions: Vec<RegionWish>,
    accounts: Vec<RolesWish>,
    /// Of the postures of regions and accounts, in their order: whether each is suspended, and whether it has been made.
    stopped: Vec<bool>,
    made: Vec<bool>,
    rails: [Rails; 2],
    granted: [bool; 2],
    denied: [bool; 2],
    judge: Judge,
    /// When the weather, and the trouble on the way to Kubernetes, end.
    storm_until: Option<Timestamp>,
    trouble_until: Option<Timestamp>,
    next: usize,
}

/// Plays a world. Where `fate` says so, the first process dies at one of its writes.
///
/// # Errors
/// The rule that was broken.
pub fn play(world: &World, fate: Option<(usize, Side)>) -> Result<(Figures, End)> {
    let mut stage = Stage::new(world.seed);
    play_on(&mut stage, world, fate).with_context(|| format!("what happened:\n{}", story(&stage)))
}

fn play_on(stage: &mut Stage, world: &World, fate: Option<(usize, Side)>) -> Result<(Figures, End)> {
    let play = RefCell::new(Play::set_up(world, stage)?);
    let mut figures = Figures::default();
    let began = stage.time.now();
    let mut fate = fate.map_or_else(Fate::default, |(write, side)| Fate::dies_at(write, side));
    loop {
        play.borrow_mut().judge.born(stage.time.now());
        let ended = stage.live(&fate, async |stage| script(&play, stage, &fate).await)?;
        if stage.lives() == 1 {
            figures.points = fate.begun();
        }
        if matches!(ended, Ended::Died) {
            figures.deaths += 1;
        }
        fate = Fate::default();
        stage.time.skip(AWAY);
        if play.borrow().next >= world.script.len() && !matches!(ended, Ended::Died) {
            break;
        }
    }
    play.borrow_mut().judge.look(stage)?;
    play.borrow_mut().calm(stage)?;
    play.borrow_mut().judge.born(stage.time.now());
    stage.live(&fate, async |stage| end(&play, stage).await)?;
    let play = play.into_inner();
    figures.writes = play.judge.writes;
    figures.time = stage.time.now().duration_since(began);
    stage.aws.with(|aws| {
        figures.calls = aws.journal.len();
        figures.faults = aws.journal.iter().filter(|e| e.injected.is_some()).count();
    });
    let end = End { aws: hands::picture(stage), kubernetes: picture(stage) };
    Ok((figures, end))
}

/// Goes on with the script until it is through, or has the process killed.
async fn script(play: &RefCell<Play<'_>>, stage: &Stage, fate: &Fate) -> Result<()> {
    loop {
        let (wait, deed) = {
            let play = play.borrow();
            let Some((wait, deed)) = play.world.script.get(play.next) else { return Ok(()) };
            (Duration::from_secs((*wait).into()), deed.clone())
        };
        pass(play, stage, wait).await?;
        play.borrow_mut().next += 1;
        match deed {
            Deed::Kill => return Ok(()),
            Deed::KillAt(write, side) => fate.doom(write, side),
            deed => {
                let mut play = play.borrow_mut();
                play.does(stage, &deed)?;
                play.judge.notes(stage)?;
            }
        }
    }
}

/// Lets time pass, in steps small enough for the weather to end in time and for the judge to look in between.
async fn pass(play: &RefCell<Play<'_>>, stage: &Stage, time: Duration) -> Result<()> {
    let mut left = time;
    loop {
        let step = left.min(play.borrow().until_change(stage.time.now())).min(LOOK);
        stage.pass(step).await;
        let mut play = play.borrow_mut();
        play.judge.look(stage)?;
        play.end_weather(stage);
        left -= step;
        if left.is_zero() {
            return Ok(());
        }
    }
}

/// How often what is refused may be tried in the time of quiet: once for each look of each posture, and what it does
/// for each of its endpoints.
fn tries(play: &Play<'_>) -> usize {
    let looks = usize::try_from(QUIET.as_secs() / INTERVAL.as_secs()).unwrap_or_default() + 2;
    looks * (play.places.len() + play.spots.len()) * 8
}

/// Time enough, and then nothing is left to do.
async fn end(play: &RefCell<Play<'_>>, stage: &Stage) -> Result<()> {
    pass(play, stage, CALM).await?;
    let permits = |play: &Play<'_>| {
        let (granted, denied) = (play.granted, play.denied);
        move |account: &AccountId, id: &Id| {
            let number = hands::account_number(account);
            number.is_some_and(|n| !denied[n] && (granted[n] || id.1 != TEAM))
        }
    };
    let permitted = permits(&play.borrow());
    let retains = play.borrow().judge.retains.clone();
    let judge_all = || -> Result<()> {
        judge_end(stage, &retains, |wanted: &Wanted| permitted(&wanted.place.0, &wanted.id))?;
        play.borrow().judge.judge_further(stage, &permitted)
    };
    judge_all().context("after time enough")?;
    let journal = stage.aws.with(|aws| aws.journal.len());
    let written = stage.kubernetes.written().len();
    pass(play, stage, QUIET).await?;
    let writes = judge::writes_since(stage, journal);
    ensure!(writes.is_empty(), "it does not come to rest: {:?}", writes.iter().map(|e| &e.write).collect::<Vec<_>>());
    let refused = judge::refused_since(stage, journal);
    ensure!(refused <= tries(&play.borrow()), "{refused} writes are refused in {QUIET:?}: it does not let up");
    let written = stage.kubernetes.written().split_off(written);
    ensure!(written.is_empty(), "Kubernetes is written to though nothing changes: {written:?}");
    judge_all().context("at the end")
}

impl<'w> Play<'w> {
    fn set_up(world: &'w World, stage: &Stage) -> Result<Self> {
        for namespace in [TEAM, RIVALS] {
            stage.kubernetes.apply(
                &(Kind::Namespace, String::new(), namespace.to_owned()),
                &BTreeMap::new(),
                json!({}),
            );
        }
        for number in 0..2 {
            let spec = world::account_spec(number, true, world.rails[number]);
            stage.kubernetes.apply(&world::account(number), &BTreeMap::new(), spec);
        }
        let regions = world.regions.iter().map(|r| Spot::new(r.account, REGIONS[r.region]));
        let accounts = world.accounts.iter().map(|a| Spot::new(a.account, REGIONS[0]));
        let spots = regions.chain(accounts).collect::<Result<Vec<Spot>>>()?;
        let places = hands::set_up(stage, world, &spots)?;
        let late = world.regions.iter().map(|r| r.late).chain(world.accounts.iter().map(|a| a.late));
        let mut play = Self {
            world,
            places,
            wishes: world.vpcs.iter().map(|v| v.wish.clone()).collect(),
            suspended: vec![false; world.vpcs.len()],
            regions: world.regions.iter().map(|r| r.wish.clone()).collect(),
            accounts: world.accounts.iter().map(|a| a.wish.clone()).collect(),
            stopped: vec![false; spots.len()],
            made: late.map(|late| !late).collect(),
            rails: world.rails,
            spots,
            granted: [true; 2],
            denied: [false; 2],
            judge: Judge::new(&stage.cluster),
            storm_until: None,
            trouble_until: None,
            next: 0,
        };
        for vpc in 0..world.vpcs.len() {
            play.apply(stage, vpc);
        }
        for posture in 0..play.spots.len() {
            if play.made[posture] {
                play.apply_further(stage, posture);
            }
        }
        play.judge.look(stage)?;
        Ok(play)
    }

    /// The object of a region's or an account's posture, by its number in `spots`.
    fn further(&self, posture: usize) -> Id {
        match posture.checked_sub(self.regions.len()) {
            None => world::region_posture(posture),
            Some(account) => world::account_posture(account),
        }
    }

    /// Applies the posture of a region or an account as it is wanted now.
    fn apply_further(&self, stage: &Stage, posture: usize) {
        let (spot, suspend) = (&self.spots[posture], self.stopped[posture]);
        let spec = match posture.checked_sub(self.regions.len()) {
            None => {
                let account = format!("account-{}", spot.account);
                self.regions[posture].spec(&account, spot.region.as_str(), self.accounts.len(), suspend)
            }
            Some(account) => self.accounts[account].spec(spot.account, suspend),
        };
        stage.kubernetes.apply(&self.further(posture), &BTreeMap::new(), spec);
    }

    /// Applies it again if it is there.
    fn edit_further(&mut self, stage: &Stage, posture: usize) {
        let id = self.further(posture);
        self.judge.permits_otherwise(&self.spots[posture].id, stage.time.now());
        if stage.kubernetes.get(&id).is_some() {
            self.apply_further(stage, posture);
        }
    }

    /// Something happens to a posture of a region or an account.
    fn further_does(&mut self, stage: &Stage, posture: usize, change: Change) {
        let id = self.further(posture);
        self.judge.permits_otherwise(&self.spots[posture].id, stage.time.now());
        match change {
            Change::Suspend(on) => {
                self.stopped[posture] = on;
                self.edit_further(stage, posture);
            }
            Change::Delete => stage.kubernetes.delete(&id),
            Change::Make => {
                if stage.kubernetes.get(&id).is_none() {
                    self.made[posture] = true;
                    self.apply_further(stage, posture);
                }
            }
            Change::Request => {
                stage.kubernetes.annotate(&id, "ssmready.dev/requestedAt", &stage.time.now().to_string());
            }
            Change::Abandon => stage.kubernetes.annotate(&id, "ssmready.dev/abandon", "true"),
        }
    }

    /// Applies the object of an account as it is now.
    fn apply_account(&mut self, stage: &Stage, account: usize) {
        if let Ok(id) = world::account_id(account).parse() {
            self.judge.permits_otherwise(&id, stage.time.now());
        }
        let spec = world::account_spec(account, self.granted[account], self.rails[account]);
        stage.kubernetes.apply(&world::account(account), &BTreeMap::new(), spec);
    }

    /// Applies the posture of a VPC as it is wanted now.
    fn apply(&self, stage: &Stage, vpc: usize) {
        let place = &self.places[vpc];
        let account = format!("account-{}", place.account);
        let target = Target { account: &account, region: place.region.as_str(), vpc: place.vpc.as_str() };
        let spec = self.wishes[vpc].spec(target, self.suspended[vpc]);
        stage.kubernetes.apply(&world::posture(vpc), &BTreeMap::new(), spec);
    }

    fn changes(&mut self, stage: &Stage, vpc: usize, aspect: Aspect) {
        let id: VpcId = self.places[vpc].vpc.clone();
        self.judge.changes(&id, aspect, stage.time.now());
    }

    fn until_change(&self, now: Timestamp) -> Duration {
        let until = [self.storm_until, self.trouble_until].into_iter().flatten().min();
        until.map_or(Duration::MAX, |u| Duration::try_from(u.duration_since(now)).unwrap_or_default())
    }

    fn end_weather(&mut self, stage: &Stage) {
        let now = stage.time.now();
        if self.storm_until.is_some_and(|until| until <= now) {
            self.storm_until = None;
            hands::calm(stage, self.world);
        }
        if self.trouble_until.is_some_and(|until| until <= now) {
            self.trouble_until = None;
            stage.kubernetes.trouble(Trouble::default());
        }
    }

    /// Does what the script says.
    fn does(&mut self, stage: &Stage, deed: &Deed) -> Result<()> {
        let count = self.places.len();
        let (regions, accounts, spots) = (self.regions.len(), self.accounts.len(), self.spots.len());
        let now = stage.time.now();
        match deed.clone() {
            Deed::Nothing | Deed::Kill | Deed::KillAt(..) => {}
            Deed::EditRegion(region, wish) if regions > 0 => {
                self.regions[region % regions] = wish;
                self.edit_further(stage, region % regions);
            }
            Deed::EditAccount(account, wish) if accounts > 0 => {
                self.accounts[account % accounts] = wish;
                self.edit_further(stage, regions + account % accounts);
            }
            Deed::Posture(posture, change) if spots > 0 => self.further_does(stage, posture % spots, change),
            Deed::Act(spot, act) if spots > 0 => {
                stage.aws.with(|aws| others::does(aws, &self.spots[spot % spots], &act));
            }
            Deed::EditRegion(..) | Deed::EditAccount(..) | Deed::Posture(..) | Deed::Act(..) => {}
            Deed::Rails(account, rails) => {
                self.rails[account] = rails;
                self.apply_account(stage, account);
            }
            Deed::Edit(..)
            | Deed::Suspend(..)
            | Deed::Delete(_)
            | Deed::Recreate(_)
            | Deed::Request(_)
            | Deed::Rival(..)
                if count == 0 => {}
            Deed::Edit(vpc, mut wish) => {
                let vpc = vpc % count;
                wish.zones.0 = wish.zones.0.min(self.world.vpcs[vpc].zones);
                self.changes(stage, vpc, Aspect::Permit);
                self.wishes[vpc] = wish;
                if stage.kubernetes.get(&world::posture(vpc)).is_some() {
                    self.apply(stage, vpc);
                }
            }
            Deed::Suspend(vpc, on) => {
                let vpc = vpc % count;
                self.changes(stage, vpc, Aspect::Permit);
                self.suspended[vpc] = on;
                if stage.kubernetes.get(&world::posture(vpc)).is_some() {
                    self.apply(stage, vpc);
                }
            }
            Deed::Delete(vpc) => {
                let vpc = vpc % count;
                self.changes(stage, vpc, Aspect::Permit);
                stage.kubernetes.delete(&world::posture(vpc));
            }
            Deed::Recreate(vpc) => {
                let vpc = vpc % count;
                if stage.kubernetes.get(&world::posture(vpc)).is_none() {
                    self.changes(stage, vpc, Aspect::Permit);
                    self.apply(stage, vpc);
                }
            }
            Deed::Request(vpc) => {
                stage.kubernetes.annotate(&world::posture(vpc % count), "ssmready.dev/requestedAt", &now.to_string());
            }
            Deed::Account(account) => stage.kubernetes.delete(&world::account(account)),
            Deed::Rival(vpc, on) => {
                let vpc = vpc % count;
                self.changes(stage, vpc, Aspect::Permit);
                let place = &self.places[vpc];
                let account = format!("account-{}", place.account);
                let target = Target { account: &account, region: place.region.as_str(), vpc: place.vpc.as_str() };
                if on {
                    let spec = self.world.vpcs[vpc].wish.spec(target, false);
                    stage.kubernetes.apply(&world::rival(vpc), &BTreeMap::new(), spec);
                } else {
                    stage.kubernetes.delete(&world::rival(vpc));
                }
            }
            Deed::Grant(account, on) => {
                self.granted[account] = on;
                for vpc in 0..count {
                    self.changes(stage, vpc, Aspect::Permit);
                }
                self.apply_account(stage, account);
            }
            Deed::Deny(account, operation, on) => {
                self.denied[account] |= on;
                hands::deny(stage, account, operation, on);
            }
            Deed::Storm { minutes, throttle, error, lost, latency } => {
                let until = now + SignedDuration::from_mins(minutes.into());
                self.storm_until = Some(until);
                hands::storm(stage, throttle, error, lost, latency);
            }
            Deed::Trouble { minutes, conflict, error, lost } => {
                self.trouble_until = Some(now + SignedDuration::from_mins(minutes.into()));
                let share = |percent: u32| f64::from(percent) / 100.0;
                stage.kubernetes.trouble(Trouble {
                    conflict: share(conflict),
                    error: share(error),
                    lost: share(lost),
                    latency: Duration::from_secs(1),
                });
            }
            Deed::Cut(forget) => stage.kubernetes.cut_watches(forget),
            Deed::Clock(minutes) => stage.skew(i64::from(minutes) * 60),
            deed => {
                if let Some((vpc, aspect)) = hands::does(stage, &self.places, &deed)? {
                    self.changes(stage, vpc, aspect);
                }
            }
        }
        Ok(())
    }

    /// Ends everything that is wrong with AWS and the way there. In half of the worlds people also put right what they
    /// did, so that every posture must get where it wants to.
    fn calm(&mut self, stage: &Stage) -> Result<()> {
        hands::calm(stage, self.world);
        stage.kubernetes.trouble(Trouble::default());
        (self.storm_until, self.trouble_until) = (None, None);
        stage.skew(0);
        if self.world.seed % 2 == 1 {
            return Ok(());
        }
        for account in 0..2 {
            self.granted[account] = true;
            self.denied[account] = false;
            self.rails[account] = Rails::OPEN;
            hands::allow_all(stage, account);
            if stage.kubernetes.get(&world::account(account)).is_some() {
                self.apply_account(stage, account);
            }
        }
        for posture in 0..self.spots.len() {
            self.stopped[posture] = false;
            let object = stage.kubernetes.get(&self.further(posture));
            if object.as_ref().is_some_and(|o| !o["metadata"]["deletionTimestamp"].is_null()) {
                match posture.checked_sub(self.regions.len()) {
                    None => self.regions[posture].observe = false,
                    Some(account) => self.accounts[account].observe = false,
                }
            }
            if object.is_some() || !self.made[posture] {
                self.made[posture] = true;
                self.apply_further(stage, posture);
            }
            self.judge.permits_otherwise(&self.spots[posture].id, stage.time.now());
        }
        others::put_right(stage, &self.spots);
        for vpc in 0..self.places.len() {
            for aspect in [Aspect::Permit, Aspect::Tags, Aspect::Admission] {
                self.changes(stage, vpc, aspect);
            }
            self.suspended[vpc] = false;
            stage.kubernetes.delete(&world::rival(vpc));
            let posture = stage.kubernetes.get(&world::posture(vpc));
            if let Some(posture) = posture {
                if !posture["metadata"]["deletionTimestamp"].is_null() {
                    self.wishes[vpc].observe = false;
                }
                self.apply(stage, vpc);
            }
        }
        hands::put_right(stage, &self.places)?;
        self.judge.notes(stage)
    }
}

/// The last writes of everybody, line by line.
fn story(stage: &Stage) -> String {
    const LINES: usize = 6000;
    let mut lines: Vec<String> = stage.aws.with(|aws| {
        let writes = aws.journal.iter().filter(|e| e.write.is_some() || e.operation.is_none());
        writes.map(|e| format!("{} {:?} {} {} {:?}", e.at, e.actor, e.call, hands::words(e), e.outcome)).collect()
    });
    lines.extend(
        stage.kubernetes.written().iter().map(|w| format!("{} writes {} of {:?}: {}", w.at, w.point, w.id, w.ready)),
    );
    lines.sort();
    lines.split_off(lines.len().saturating_sub(LINES)).join("\n")
}

/// Every object of ours, in one line each, without what differs from one way to another: times, ids, versions.
fn picture(stage: &Stage) -> Vec<String> {
    let mut lines = Vec::new();
    let kinds = [Kind::Account, Kind::Vpc, Kind::Region, Kind::AccountPosture];
    for (id, object) in kinds.into_iter().flat_map(|kind| stage.kubernetes.all(kind)) {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let conditions: Vec<String> =
            conditions.iter().map(|c| format!("{}={} {}", c["type"], c["status"], c["reason"])).collect();
        let leaving = !object["metadata"]["deletionTimestamp"].is_null();
        let finalizers = &object["metadata"]["finalizers"];
        let seen = &object["status"]["observedGeneration"];
        lines.push(format!("{id:?} leaving {leaving} {finalizers} seen {seen}: {}", conditions.join(", ")));
    }
    lines
}

/// Worlds of one interval's length are enough for what happens within it.
const _: () = assert!(INTERVAL.as_secs() * 3 < CALM.as_secs());
