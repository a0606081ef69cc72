//! `AccountPosture`: validate, observe, evaluate, plan, note, apply, report.

use std::{collections::BTreeSet, sync::Arc};

use ssm_ready_core::{
    account::{
        AccountDeletion, AccountMemory, AccountPosture, AccountView, Uses, evaluate, everything, farewell, held, hold,
        note_ahead, set_aside, tidy, wanted, wanted_of_regions,
    },
    calls::AgeClass,
    evaluate::Action,
    ids::{Region, RoleName},
    plan::plan,
    posture::Mode,
    reason::Reason,
    report::{Applied, Tried},
    snapshot::FactKey,
    write::{RoleChange, Write},
};
use ssm_ready_crds as crds;

use super::{
    Next,
    pass::{Account, Found, Leave, Outcome, Pass, Standing, broken_session, denied_read, find},
};
use crate::{
    admit::Refusal,
    context::{Context, Key},
    place::{GLOBAL, Interest, Look, Place},
    spec,
    status::{self, account::memory},
};

pub(super) async fn reconcile(ctx: &Context, key: &Key, namespace: &str, name: &str) -> kube::Result<Next> {
    match find::<crds::AccountPosture>(ctx, key, namespace, name).await? {
        Found::Here(pass) => run(&pass).await,
        Found::Leaving(pass) => leave(&pass).await,
        Found::Done(next) => Ok(next),
    }
}

/// Everything that a posture needs to act: looked up anew on every pass.
struct Grounds {
    posture: AccountPosture,
    account: Account,
    home: Region,
}

/// How long a role that something else holds is left alone.
const HELD: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// Whether a role could not be deleted since something else holds it (DeleteRole, `DeleteConflict`).
fn is_held(done: &Applied) -> bool {
    matches!(&done.tried, Tried::Failed(fault) if fault.code == "DeleteConflict")
}

/// Whether AWS refused to delete a role a short while ago.
fn held_lately(pass: &Pass<'_, crds::AccountPosture>) -> bool {
    let now = pass.ctx.outside.steady();
    let since = pass.ctx.local(pass.key, |local| local.role_held_since);
    since.is_some_and(|since| now.duration_since(since) < HELD)
}

/// The roles that are about to be deleted.
fn deletions(actions: &[Action]) -> Vec<RoleName> {
    let role = |action: &Action| match &action.write {
        Write::Role { role, change: RoleChange::Delete } => Some(role.clone()),
        _ => None,
    };
    actions.iter().filter_map(role).collect()
}

/// What status remembers.
fn remembered(pass: &Pass<'_, crds::AccountPosture>, posture: &AccountPosture) -> AccountMemory {
    let mut kept = set_aside(posture, memory(&pass.before));
    let doubt_until = Some(pass.doubt_until());
    kept.roles.values_mut().for_each(|role| role.doubt_until = doubt_until);
    kept
}

fn grounds(pass: &Pass<'_, crds::AccountPosture>) -> Result<Grounds, Refusal> {
    let account = pass.account()?;
    let settings = &pass.ctx.settings;
    let posture = spec::account::account_posture(&pass.object, &account.account, pass.owner(), settings.mode)?;
    let home = spec::home_region(&account.account.spec, settings.home_region.as_deref())?;
    Ok(Grounds { posture, account, home })
}

/// What the places know: that of the account first, then those of the regions in which a role may be in use.
struct Seen {
    places: Vec<Arc<Place>>,
    looks: Vec<Look>,
    facts: Vec<BTreeSet<FactKey>>,
    regions: Vec<Region>,
}

impl Seen {
    fn broken(&self) -> Option<(Reason, String)> {
        let all = self.looks.iter().zip(&self.facts);
        all.into_iter().find_map(|(look, facts)| broken_session(look, facts))
    }

    fn uses(&self) -> Vec<Uses<'_>> {
        let of_regions = self.looks.iter().skip(1);
        let uses = self.regions.iter().zip(of_regions);
        uses.map(|(region, look)| Uses { region, facts: &look.snapshot, interval: look.interval }).collect()
    }
}

/// Follows the places; none while something is still to be read. With `regions`, those too in which a role may be in use.
fn look(pass: &Pass<'_, crds::AccountPosture>, grounds: &Grounds, kept: &AccountMemory, regions: bool) -> Option<Seen> {
    let ctx = pass.ctx;
    let limits = grounds.account.account.spec.regions.as_ref();
    let allowed = limits.map(|limits| limits.allowed.iter().filter_map(|region| region.parse().ok()).collect());
    let asked = regions && allowed.is_none();
    // Known from the last pass, so that their places are not left and joined again each time.
    let mut known: Vec<Region> = match (regions, allowed) {
        (false, _) => Vec::new(),
        (true, Some(allowed)) => allowed,
        (true, None) => ctx.local(pass.key, |local| local.regions.clone()).unwrap_or_default(),
    };
    loop {
        let seen = follow(pass, grounds, kept, &known, asked)?;
        let limit = AgeClass::Rare.limit(seen.looks[0].interval);
        let listed = seen.looks[0].snapshot.regions.reading(limit, ctx.outside.steady());
        match listed.known().filter(|listed| asked && **listed != known) {
            None => return Some(seen),
            Some(listed) => {
                known.clone_from(listed);
                ctx.local(pass.key, |local| local.regions = Some(known.clone()));
            }
        }
    }
}

fn follow(
    pass: &Pass<'_, crds::AccountPosture>,
    grounds: &Grounds,
    kept: &AccountMemory,
    regions: &[Region],
    list_regions: bool,
) -> Option<Seen> {
    let (posture, account) = (&grounds.posture, &grounds.account);
    let interest = |facts: &BTreeSet<FactKey>| Interest { vpc: None, interval: posture.interval, facts: facts.clone() };
    let mut own = wanted(&everything(posture, kept));
    own.extend(list_regions.then_some(FactKey::Regions));
    let mut wanted = vec![account.place(GLOBAL, account.read(grounds.home.clone()), interest(&own))];
    let mut facts = vec![own];
    for region in regions {
        let of_region = wanted_of_regions();
        wanted.push(account.place(region.as_str(), account.read(region.clone()), interest(&of_region)));
        facts.push(of_region);
    }
    let places = pass.ctx.places.follow(pass.key, wanted);
    pass.ask_for_fresh(&places);
    // All are asked, so that all read what they lack.
    let looks: Vec<Option<Look>> = places.iter().map(|place| place.look(pass.key)).collect();
    Some(Seen { looks: looks.into_iter().collect::<Option<_>>()?, places, facts, regions: regions.to_vec() })
}

async fn run(pass: &Pass<'_, crds::AccountPosture>) -> kube::Result<Next> {
    if pass.object.spec.suspend {
        return pass.suspended().await;
    }
    let grounds = match grounds(pass) {
        Ok(grounds) => grounds,
        Err(refusal) => return pass.refuse(&refusal).await,
    };
    let (ctx, posture) = (pass.ctx, &grounds.posture);
    let before = remembered(pass, posture);
    let undeclared = posture.undeclared(&before);
    let delete = posture.deletion_policy == AccountDeletion::Delete && !undeclared.is_empty();
    let Some(seen) = look(pass, &grounds, &before, delete) else { return Ok(Next::Reading) };
    if let Some((reason, message)) = seen.broken() {
        return pass.say_refused(reason, &message).await;
    }
    let fresh = seen.looks[0].made.fresh();
    let view = AccountView {
        facts: &seen.looks[0].snapshot,
        fresh: &fresh,
        interval: seen.looks[0].interval,
        now: ctx.outside.steady(),
    };
    let mut verdict = evaluate(posture, &view, &before);
    let left = tidy(posture, &view, &before, &seen.uses(), &mut verdict);
    if held_lately(pass) {
        for role in deletions(&verdict.actions) {
            hold(&mut verdict, &role);
        }
    }
    let plan = plan(verdict.actions.clone());
    let mut noted = verdict.seen.memory.clone();
    let mut applied = if posture.mode == Mode::Enforce && !plan.actions.is_empty() {
        if !pass.guard().await? {
            return Ok(Next::Await);
        }
        // Before the first call, so that it is known whose an attachment is if no answer comes.
        noted = note_ahead(&verdict);
        let mut status = pass.before.clone();
        status::account::remember(&mut status, &noted);
        pass.note(&status).await?;
        let applied = pass.apply(&seen.places[0], &grounds.account.write(grounds.home.clone()), &plan).await;
        pass.makes(&applied);
        applied
    } else {
        Vec::new()
    };
    for done in applied.extract_if(.., |done| is_held(done)) {
        let now = ctx.outside.steady();
        ctx.local(pass.key, |local| local.role_held_since = Some(now));
        for role in deletions(&[done.action]) {
            hold(&mut verdict, &role);
        }
    }
    if posture.mode == Mode::Enforce {
        pass.say_kept(&left).await;
    }
    let denied = seen.looks.iter().zip(&seen.facts).any(|(look, facts)| denied_read(look, facts));
    let outcome = Outcome {
        account: &grounds.account,
        account_id: posture.account.to_string(),
        mode: posture.mode,
        verdict: &verdict,
        plan: &plan,
        applied: &applied,
        denied_read: denied,
        places: &seen.places,
        second_look: &seen.facts[0].iter().cloned().collect::<Vec<_>>(),
    };
    pass.conclude(outcome, |status| status::account::put_seen(status, &verdict.seen, &noted)).await
}

async fn leave(pass: &Pass<'_, crds::AccountPosture>) -> kube::Result<Next> {
    if let Leave::Done(next) = pass.leave().await? {
        return Ok(next);
    }
    let grounds = match grounds(pass) {
        Ok(grounds) => grounds,
        Err(refusal) => return pass.hold_for(&refusal.message).await,
    };
    let (ctx, posture) = (pass.ctx, &grounds.posture);
    let kept = remembered(pass, posture);
    let delete = posture.deletion_policy == AccountDeletion::Delete;
    let Some(seen) = look(pass, &grounds, &kept, delete) else {
        // Of many regions that takes a while.
        let message = "looking at what is there, and in which regions it is in use";
        pass.say_deleting(Standing {
            places: &[],
            reason: Reason::Deleting,
            message,
            unused_since: None,
            retry_after: None,
            watch: &BTreeSet::new(),
            applied: &[],
        })
        .await?;
        return Ok(Next::Reading);
    };
    if let Some((_, message)) = seen.broken() {
        return pass.hold_for(&message).await;
    }
    if delete && seen.regions.is_empty() {
        let fault = seen.looks[0].snapshot.fault(&FactKey::Regions);
        let why = fault.map_or_else(|| "AWS lists no region of the account".to_owned(), ToString::to_string);
        return pass.hold_for(&format!("whether roles are in use cannot be said: {why}")).await;
    }
    let fresh = seen.looks[0].made.fresh();
    let view = AccountView {
        facts: &seen.looks[0].snapshot,
        fresh: &fresh,
        interval: seen.looks[0].interval,
        now: ctx.outside.steady(),
    };
    let next = farewell(&everything(posture, &kept), &view, &kept, &seen.uses());
    // What was attached to a role of somebody else's may stay without any call that says so.
    let facts = seen.facts[0].iter().cloned();
    if let Some(next) = pass.go(next.is_done(), &seen.places[0], facts, &next.left).await? {
        return Ok(next);
    }
    if let Some(held) = next.held_by() {
        return pass.hold_for(&held).await;
    }
    let mut actions = next.actions.clone();
    if held_lately(pass) {
        let held_back = deletions(&actions);
        actions.retain(|action| !matches!(action.write, Write::Role { change: RoleChange::Delete, .. }));
        if let ([], Some(role), true) = (actions.as_slice(), held_back.first(), next.unknown.is_empty()) {
            return pass.hold_for(&held(role)).await;
        }
    }
    let applied = pass.apply(&seen.places[0], &grounds.account.write(grounds.home.clone()), &plan(actions)).await;
    if applied.iter().any(|a| matches!(a.tried, Tried::Done(_))) {
        pass.say_kept(&next.left).await;
    }
    // Everything that we know of has been taken from it: what still holds it is somebody else's.
    if let Some(done) = applied.iter().find(|done| is_held(done)) {
        let now = ctx.outside.steady();
        ctx.local(pass.key, |local| local.role_held_since = Some(now));
        if let Some(role) = deletions(std::slice::from_ref(&done.action)).first() {
            return pass.hold_for(&held(role)).await;
        }
    }
    pass.say_parting(&seen.places, &next, &applied).await
}
