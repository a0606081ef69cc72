//! `VpcPosture`: validate, observe, evaluate, plan, apply, report.

use std::collections::BTreeSet;

use ssm_ready_core::{
    deletion::{Departure, Stage, farewell},
    evaluate::{CREATING, Facet, Outcome as CheckOutcome, Verdict, View, evaluate},
    facts::{Scope, VpcAttribute},
    foresee::foresee,
    instance_profiles::{self, DeclaredProfile},
    plan::plan,
    posture::{self, GroupWish, Mode},
    reason::Reason,
    report::{Applied, Tried},
    snapshot::{FactKey, Reading},
    write::{Write, Written},
};
use ssm_ready_crds::{self as crds, VpcPosture, VpcPostureStatus, condition};

use super::{
    Next,
    pass::{Account, Found, Leave, Outcome, Pass, Standing, broken_session, denied_read, find, settled},
    seen::{Seen, Where},
};
use crate::{
    admit::Refusal,
    apply::MISMATCH,
    context::{Context, Key},
    kube_io::event,
    posture::Posture as _,
    spec::{self, Declared, account::instance_role},
    status,
};

pub(super) async fn reconcile(ctx: &Context, key: &Key, namespace: &str, name: &str) -> kube::Result<Next> {
    match find::<VpcPosture>(ctx, key, namespace, name).await? {
        Found::Here(pass) => run(&pass).await,
        Found::Leaving(pass) => leave(&pass).await,
        Found::Done(next) => Ok(next),
    }
}

/// Everything that a posture needs to act: looked up anew on every pass.
struct Grounds {
    posture: posture::VpcPosture,
    account: Account,
    /// Where the account's own facts are read, if any are wanted.
    home: Option<Scope>,
}

fn grounds(pass: &Pass<'_, VpcPosture>) -> Result<Grounds, Refusal> {
    let account = pass.account()?;
    let (ctx, of) = (pass.ctx, &account.account);
    let posture = spec::vpc_posture(&pass.object, of, pass.owner(), ctx.settings.mode, |posture, profile| {
        declared(pass, of, posture, profile)
    })?;
    let wants = posture.instances.is_some();
    let home = wants.then(|| spec::home_region(&of.spec, ctx.settings.home_region.as_deref())).transpose()?;
    Ok(Grounds { posture, home: home.map(|home| account.read(home)), account })
}

/// The instance profile that an AccountPosture of the same namespace declares, once that says it is ready.
fn declared(pass: &Pass<'_, VpcPosture>, account: &crds::AwsAccount, posture: &str, name: &str) -> Declared {
    let found = pass.account_posture(account, posture, "instances.profileAttachment.accountPostureRef")?;
    let wish = found.spec.instance_roles.iter().enumerate().find(|(_, wish)| wish.name == name);
    let Some((at, wish)) = wish else {
        return Err(format!("AccountPosture {posture} declares no entry of instanceRoles of the name {name}"));
    };
    settled(&found, condition::PROFILES_READY, "instance profiles")?;
    let wish = instance_role(at, wish).map_err(|refusal| refusal.message)?;
    match wish.profile() {
        Some(profile) => Ok(DeclaredProfile { profile: profile.clone(), role: wish.role.clone() }),
        None => Err(format!("{name} of AccountPosture {posture} has no instance profile")),
    }
}

/// The facts that a VPC is judged by.
fn facts(posture: &posture::VpcPosture) -> BTreeSet<FactKey> {
    let attributes = VpcAttribute::BOTH.map(|a| FactKey::Attribute(posture.vpc.clone(), a));
    FactKey::LISTS.into_iter().chain(attributes).collect()
}

impl Grounds {
    /// Where the object looks: without its account once it is being deleted.
    fn at(&self, leaving: bool) -> Where<'_> {
        let posture::VpcPosture { region, vpc, interval, .. } = &self.posture;
        let home = self.home.as_ref().filter(|_| !leaving);
        Where { account: &self.account, region, vpc: Some(vpc), interval: *interval, home }
    }
}

/// Takes over from status what the process before this one may have made a moment ago, once.
fn take_over(pass: &Pass<'_, VpcPosture>, posture: &posture::VpcPosture, at: &Where<'_>) {
    if pass.ctx.local(pass.key, |local| std::mem::replace(&mut local.took_over, true)) {
        return;
    }
    let places = pass.follow(at, &[facts(posture), BTreeSet::new()]);
    let now = pass.ctx.outside.steady();
    for recent in status::recent(&pass.before, &posture.vpc, &posture.owner.tag(), now) {
        places[0].remember(recent);
    }
}

/// Follows the places with what the object wants to know of them; none while something is still to be read.
fn look(pass: &Pass<'_, VpcPosture>, grounds: &Grounds) -> Option<Seen> {
    let posture = &grounds.posture;
    let at = grounds.at(false);
    take_over(pass, posture, &at);
    let of_region = &facts(posture) | &instance_profiles::wanted_of_region(posture);
    pass.look(&at, |view| [of_region.clone(), instance_profiles::wanted_of_account(posture, view)])
}

async fn run(pass: &Pass<'_, VpcPosture>) -> kube::Result<Next> {
    if pass.object.spec.suspend {
        return pass.suspended().await;
    }
    let grounds = match grounds(pass) {
        Ok(grounds) => grounds,
        Err(refusal) => return pass.refuse(&refusal).await,
    };
    let (ctx, posture) = (pass.ctx, &grounds.posture);
    let Some(seen) = look(pass, &grounds) else { return Ok(Next::Reading) };
    let (place, [look, _]) = (&seen.places[0], &seen.looks);
    if let Some((reason, message)) = broken_session(look, &[FactKey::Vpcs].into()) {
        // Facts go on being looked at, so that its end is seen.
        return pass.say_refused(reason, &message).await;
    }
    let memory = status::memory(&pass.before);
    let now = ctx.outside.steady();
    let view = View::of(&look.snapshot, &look.overlay, &posture.vpc, look.interval, now);
    let mut verdict = evaluate(posture, &view, &memory);
    if posture.instances.is_some() && is_there(&verdict) {
        instance_profiles::judge(posture, &seen.view(now), &mut verdict);
    }
    let enforce = posture.mode == Mode::Enforce;
    // Enforce goes step by step, by what it reads back; Observe shows the whole way.
    let plan = if enforce {
        plan(verdict.actions.clone())
    } else {
        let mut plan = foresee(posture, &look.snapshot, &look.overlay, &memory, look.interval, now);
        plan.actions.extend(verdict.actions.iter().filter(|a| a.facet == Facet::InstanceProfiles).cloned());
        plan
    };
    let applied = if enforce && !plan.actions.is_empty() && view.fit_to_write() {
        if !pass.guard().await? {
            return Ok(Next::Await);
        }
        pass.apply(place, &grounds.account.write(posture.region.clone()), &plan).await
    } else {
        Vec::new()
    };
    tell_attached(pass, &applied).await;
    let outcome = Outcome {
        account: &grounds.account,
        account_id: posture.account.to_string(),
        mode: posture.mode,
        verdict: &verdict,
        plan: &plan,
        applied: &applied,
        denied_read: denied_read(look, &facts(posture)),
        places: &seen.places,
        second_look: &[FactKey::Vpcs, FactKey::Subnets, FactKey::RouteTables, FactKey::SecurityGroups],
    };
    pass.conclude(outcome, |status| {
        let group_name = matches!(posture.group, GroupWish::Create { .. }).then(|| posture.owner.group_name());
        status::put_seen(status, &verdict.seen, group_name.as_deref());
        status::put_profiles(status, verdict.seen.profiles.as_deref(), posture.instances.is_some());
        note_applied(status, &applied);
    })
    .await
}

/// Whether the VPC is there, and the account's own.
fn is_there(verdict: &Verdict) -> bool {
    verdict.checks.iter().any(|c| c.facet == Facet::Account && c.outcome == CheckOutcome::Pass)
}

/// Which instances were given a profile, in an event: the instances carry no tag that tells it.
async fn tell_attached(pass: &Pass<'_, VpcPosture>, applied: &[Applied]) {
    let given = applied.iter().filter_map(|done| match (&done.action.write, &done.tried) {
        (write @ Write::AssociateProfile { .. }, Tried::Done(_)) => Some(write.to_string()),
        _ => None,
    });
    let given: Vec<String> = given.collect();
    if !given.is_empty() {
        event(pass.ctx, &pass.object, VpcPosture::KIND, false, Reason::ProfileAttached, &given.join("; ")).await;
    }
}

async fn leave(pass: &Pass<'_, VpcPosture>) -> kube::Result<Next> {
    if let Leave::Done(next) = pass.leave().await? {
        return Ok(next);
    }
    let grounds = match grounds(pass) {
        Ok(grounds) => grounds,
        Err(refusal) => return pass.hold_for(&refusal.message).await,
    };
    let (ctx, posture) = (pass.ctx, &grounds.posture);
    let memory = status::memory(&pass.before);
    let interfaces = memory.group.clone().map(FactKey::Interfaces);
    let at = grounds.at(true);
    take_over(pass, posture, &at);
    let mut wanted = facts(posture);
    wanted.extend(interfaces);
    let Some(seen) = pass.look(&at, |_| [wanted.clone(), BTreeSet::new()]) else { return Ok(Next::Reading) };
    let (place, [look, _]) = (&seen.places[0], &seen.looks);
    if let Some((_, message)) = broken_session(look, &[FactKey::Vpcs].into()) {
        return pass.hold_for(&message).await;
    }
    let steady = ctx.outside.steady();
    let view = View::of(&look.snapshot, &look.overlay, &posture.vpc, look.interval, steady);
    let interfaces = memory.group.as_ref().and_then(|g| look.snapshot.interfaces.get(g));
    let interfaces = interfaces.map_or(Reading::Unknown(None), |e| e.reading(std::time::Duration::ZERO, steady));
    // By the clock that the API server and status go by.
    let now = ctx.now();
    let began = pass.object.metadata.deletion_timestamp.as_ref().map_or(now, |t| t.0);
    let settled = pass.before.endpoints.iter().all(|e| e.state.as_deref() == Some("Available"))
        && pass.before.deletion.is_none()
        && status::is_true(&pass.before.conditions, condition::READY);
    let next = farewell(posture, &view, &memory, &interfaces, Departure { began, settled, now });
    let lists = [FactKey::Endpoints, FactKey::SecurityGroups];
    if let Some(next) = pass.go(next.stage == Stage::Gone, place, lists, &[]).await? {
        return Ok(next);
    }
    let applied = if view.fit_to_write() {
        pass.apply(place, &grounds.account.write(posture.region.clone()), &plan(next.actions.clone())).await
    } else {
        Vec::new()
    };
    let untagged = applied.iter().any(|a| matches!((&a.action.write, &a.tried), (Write::Untag { .. }, Tried::Done(_))));
    if untagged {
        let kept: Vec<String> = next.kept.iter().cloned().collect();
        pass.say_kept(&kept).await;
    }
    pass.say_deleting(Standing {
        places: &seen.places,
        reason: next.reason,
        message: &next.message,
        unused_since: next.unused_since,
        retry_after: next.retry_after,
        watch: &next.watch.iter().cloned().collect(),
        applied: &applied,
    })
    .await
}

/// Ids of what was just made, and new client tokens that are needed, for the next pass and for a process after this one.
fn note_applied(status: &mut VpcPostureStatus, applied: &[Applied]) {
    for done in applied {
        let service = done.action.service.map(posture::ServiceName::as_str);
        let endpoint = status.endpoints.iter_mut().find(|e| Some(e.service.as_str()) == service);
        match (&done.tried, endpoint) {
            (Tried::Done(Written::Endpoint(id)), Some(endpoint)) => {
                endpoint.endpoint_id = status::id(id);
                endpoint.state = Some(CREATING.to_owned());
                // Also where the one before it was somebody else's.
                endpoint.ownership = crds::Ownership::Managed;
            }
            (Tried::Failed(fault), Some(endpoint)) if fault.code == MISMATCH => {
                endpoint.attempts = endpoint.attempts.saturating_add(1);
            }
            (Tried::Done(Written::Group(id)), _) => {
                let group = status.security_group.get_or_insert_with(Default::default);
                group.id = status::id(id);
                group.ownership = Some(crds::Ownership::Managed);
            }
            (Tried::Done(Written::Done), _) => {
                if let Write::EnableVpcAttribute { attribute, .. } = &done.action.write
                    && let Some(vpc) = &mut status.vpc
                    && !vpc.enabled_by_us.iter().any(|a| a == attribute.name())
                {
                    vpc.enabled_by_us.push(attribute.name().to_owned());
                }
            }
            _ => {}
        }
    }
}
