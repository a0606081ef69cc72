//! `RegionPosture`: validate, observe, evaluate, plan, note, apply, report.

use std::collections::BTreeSet;

use ssm_ready_core::{
    evaluate::Verdict,
    facts::Scope,
    plan::{Plan, plan},
    posture::Mode,
    reason::Reason,
    region::{
        self, HostManagement, RegionMemory, RegionPosture, RegionSeen, RegionView, evaluate, farewell, note_ahead,
        wanted_of_account, wanted_of_region, wanted_to_leave,
    },
    report::{Applied, Tried},
    snapshot::FactKey,
    write::{DocumentChange, RuleChange, Write},
};
use ssm_ready_crds::{self as crds, condition};

use super::{
    Next,
    pass::{Account, Found, Leave, Outcome, Pass, find, settled},
    seen::{Facts, Where},
};
use crate::{
    admit::Refusal,
    context::{Context, Key},
    kube_io::event,
    posture::Posture as _,
    spec::{self, account::host_management_role, region::Declared},
    status::{self, region::memory},
};

pub(super) async fn reconcile(ctx: &Context, key: &Key, namespace: &str, name: &str) -> kube::Result<Next> {
    match find::<crds::RegionPosture>(ctx, key, namespace, name).await? {
        Found::Here(pass) => run(&pass).await,
        Found::Leaving(pass) => leave(&pass).await,
        Found::Done(next) => Ok(next),
    }
}

/// Everything that a posture needs to act: looked up anew on every pass.
struct Grounds {
    posture: RegionPosture,
    account: Account,
    /// Where the account's own facts are read.
    home: Scope,
}

fn grounds(pass: &Pass<'_, crds::RegionPosture>) -> Result<Grounds, Refusal> {
    let account = pass.account()?;
    let ctx = pass.ctx;
    let posture = spec::region::region_posture(
        &pass.object,
        &account.account,
        pass.owner(),
        ctx.settings.mode,
        |posture, role| declared(pass, &account.account, posture, role),
    )?;
    let home = spec::home_region(&account.account.spec, ctx.settings.home_region.as_deref())?;
    Ok(Grounds { posture, home: account.read(home), account })
}

impl Grounds {
    fn at(&self) -> Where<'_> {
        let RegionPosture { region, interval, .. } = &self.posture;
        Where { account: &self.account, region, vpc: None, interval: *interval, home: Some(&self.home) }
    }
}

/// What status remembers.
fn remembered(pass: &Pass<'_, crds::RegionPosture>) -> RegionMemory {
    RegionMemory { doubt_until: Some(pass.doubt_until()), ..memory(&pass.before) }
}

/// The role that an AccountPosture of the same namespace declares, once that says it is ready.
fn declared(pass: &Pass<'_, crds::RegionPosture>, account: &crds::AwsAccount, posture: &str, role: &str) -> Declared {
    let found = pass.account_posture(account, posture, "hostManagement.role.accountPostureRef")?;
    let Some(wish) = found.spec.host_management_role.as_ref().filter(|wish| wish.name == role) else {
        return Err(format!("AccountPosture {posture} declares no hostManagementRole of the name {role}"));
    };
    settled(&found, condition::ROLES_READY, "roles")?;
    let wish = host_management_role(wish).map_err(|refusal| refusal.message)?;
    Ok(HostManagement::Enabled { role: wish.role, path: wish.path, made: true })
}

fn facts(posture: &RegionPosture, view: &RegionView<'_>, memory: &RegionMemory) -> Facts {
    [wanted_of_region(posture, view, memory), wanted_of_account(posture, view)]
}

async fn run(pass: &Pass<'_, crds::RegionPosture>) -> kube::Result<Next> {
    if pass.object.spec.suspend {
        return pass.suspended().await;
    }
    let grounds = match grounds(pass) {
        Ok(grounds) => grounds,
        Err(refusal) => return pass.refuse(&refusal).await,
    };
    let (ctx, posture) = (pass.ctx, &grounds.posture);
    let before = remembered(pass);
    let Some(seen) = pass.look(&grounds.at(), |view| facts(posture, view, &before)) else { return Ok(Next::Reading) };
    if let Some((reason, message)) = seen.broken() {
        // Facts go on being looked at, so that its end is seen.
        return pass.say_refused(reason, &message).await;
    }
    let view = seen.view(ctx.outside.steady());
    let verdict = evaluate(posture, &view, &before);
    let plan = plan(verdict.actions.clone());
    let mut noted = verdict.seen.memory.clone();
    let applied = if posture.mode == Mode::Enforce && !plan.actions.is_empty() {
        if !pass.guard().await? {
            return Ok(Next::Await);
        }
        // Before the first call, so that it is known whose a value is if no answer comes.
        noted = note_ahead(&verdict);
        let mut status = pass.before.clone();
        status::region::remember(&mut status, &noted);
        pass.note(&status).await?;
        let applied = pass.apply(&seen.places[0], &grounds.account.write(posture.region.clone()), &plan).await;
        pass.makes(&applied);
        applied
    } else {
        Vec::new()
    };
    tell_changes(pass, &verdict, &applied).await;
    if posture.mode == Mode::Enforce {
        pass.say_kept(&verdict.seen.left).await;
    }
    let outcome = Outcome {
        account: &grounds.account,
        account_id: posture.account.to_string(),
        mode: posture.mode,
        verdict: &verdict,
        plan: &plan,
        applied: &applied,
        denied_read: seen.denied(),
        places: &seen.places,
        second_look: &second_look(&seen.facts),
    };
    pass.conclude(outcome, |status| status::region::put_seen(status, &verdict.seen, &noted)).await
}

/// What may have been made a moment ago, by somebody who then made the object.
fn second_look(facts: &Facts) -> Vec<FactKey> {
    facts[1].iter().cloned().collect()
}

/// What was changed, from what to what, in events: settings carry no tags to tell it by.
async fn tell_changes(pass: &Pass<'_, crds::RegionPosture>, verdict: &Verdict<RegionSeen>, applied: &[Applied]) {
    for done in applied.iter().filter(|done| matches!(done.tried, Tried::Done(_))) {
        let note = region::describe(&done.action.write, &verdict.seen);
        event(pass.ctx, &pass.object, crds::RegionPosture::KIND, false, Reason::SettingChanged, &note).await;
    }
}

async fn leave(pass: &Pass<'_, crds::RegionPosture>) -> kube::Result<Next> {
    if let Leave::Done(next) = pass.leave().await? {
        return Ok(next);
    }
    let grounds = match grounds(pass) {
        Ok(grounds) => grounds,
        Err(refusal) => return pass.hold_for(&refusal.message).await,
    };
    let (ctx, posture) = (pass.ctx, &grounds.posture);
    let kept = remembered(pass);
    let Some(seen) = pass.look(&grounds.at(), |_| [wanted_to_leave(posture, &kept), BTreeSet::new()]) else {
        return Ok(Next::Reading);
    };
    if let Some((_, message)) = seen.broken() {
        return pass.hold_for(&message).await;
    }
    let next = farewell(posture, &seen.view(ctx.outside.steady()), &kept);
    let [facts, _] = &seen.facts;
    if let Some(next) = pass.go(next.is_done(), &seen.places[0], facts.iter().cloned(), &next.left).await? {
        return Ok(next);
    }
    let plan: Plan = plan(next.actions.clone());
    let applied = pass.apply(&seen.places[0], &grounds.account.write(posture.region.clone()), &plan).await;
    let untagged: Vec<String> = applied
        .iter()
        .filter(|done| matches!(done.tried, Tried::Done(_)) && lets_go(&done.action.write))
        .map(|done| done.action.write.target())
        .collect();
    pass.say_kept(&untagged).await;
    pass.say_parting(&seen.places, &next, &applied).await
}

/// Whether a write takes our ownership off what stays.
fn lets_go(write: &Write) -> bool {
    matches!(write, Write::Document(DocumentChange::Untag(_)) | Write::Rule(RuleChange::Untag { .. }))
}
