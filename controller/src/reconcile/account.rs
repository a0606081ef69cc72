//! `AwsAccount`: who we are in the account, what we may do there, and who uses it.

use std::{collections::BTreeSet, time::Duration};

use kube::{Api, ResourceExt, api::ListParams};
use ssm_ready_core::{
    facts::Permission,
    fault::{Fault, truncate},
    iam,
    ids::PolicyArn,
    posture::Mode,
    reason::{Reason, Waits},
    report::{Condition, Status, explain},
};
use ssm_ready_crds::{
    AccountPosture, AwsAccount, AwsAccountStatus, IN_USE_FINALIZER, REQUESTED_AT, RegionPosture, VpcPosture, condition,
};

use super::{Next, unreadable};
use crate::{
    admit::older_rival,
    context::{Context, Key},
    kube_io::{event, set_finalizer, write_status},
    posture::Posture,
    spec::{self, Roles},
    status,
};

const KIND: &str = "AwsAccount";
/// How often the identity is looked at again: half the life of the longest session.
const LOOK_EVERY: Duration = Duration::from_secs(1800);
/// How often IAM is asked what the role may do.
const PREFLIGHT_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How many users a message names.
const SAMPLE: usize = 5;
/// The longest ARN that status holds, in characters.
const MAX_ARN: usize = 2048;
/// The longest name of an IAM action that status holds, in characters.
const MAX_ACTION: usize = 128;

pub(super) async fn reconcile(ctx: &Context, key: &Key, name: &str) -> kube::Result<Next> {
    let Some(found) = ctx.stores.found_account(name) else {
        ctx.forget(key);
        return Ok(Next::Await);
    };
    let object = match &found.0 {
        Ok(object) => object.clone(),
        Err(_) => return unreadable::say(ctx, key, &found).await,
    };
    let api: Api<AwsAccount> = Api::all(ctx.client.clone());
    let users = users(ctx, name).await?;
    if object.metadata.deletion_timestamp.is_some() && users.is_empty() {
        set_finalizer(ctx, &api, &object, KIND, IN_USE_FINALIZER, false).await?;
        ctx.forget(key);
        return Ok(Next::Await);
    }
    if object.metadata.deletion_timestamp.is_none() {
        // Before anything uses it, so that it cannot vanish under its postures.
        set_finalizer(ctx, &api, &object, KIND, IN_USE_FINALIZER, true).await?;
    }
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let mut after = before.clone();
    after.used_by = Some(i64::try_from(users.len()).unwrap_or(i64::MAX));
    after.last_handled_requested_at = object.annotations().get(REQUESTED_AT).map(|v| v.chars().take(256).collect());
    let (conditions, settled, next) = judge(ctx, key, &object, &users, &mut after).await;
    let keep: Vec<&str> = if object.spec.suspend {
        before.conditions.iter().map(|c| c.type_.as_str()).filter(|t| *t != condition::SUSPENDED).collect()
    } else {
        Vec::new()
    };
    after.conditions = status::merge_conditions(&before.conditions, &conditions, &keep, generation, ctx.now());
    let hash = status::spec_hash(&object.spec);
    if settled || (object.spec.suspend && before.observed_spec_hash.as_deref() == Some(&hash)) {
        after.observed_generation = generation;
        for condition in &mut after.conditions {
            condition.observed_generation = Some(generation);
        }
    }
    if settled {
        after.observed_spec_hash = Some(hash);
    }
    if after != before {
        write_status(ctx, &api, &object, KIND, &after).await?;
        tell(ctx, &object, &before, &after).await;
    }
    Ok(next)
}

/// Whoever names the account, as kind and namespace/name.
async fn users(ctx: &Context, name: &str) -> kube::Result<BTreeSet<String>> {
    let mut users = BTreeSet::new();
    users_of::<AccountPosture>(ctx, name, &mut users).await?;
    users_of::<RegionPosture>(ctx, name, &mut users).await?;
    users_of::<VpcPosture>(ctx, name, &mut users).await?;
    Ok(users)
}

/// Of those that cannot be read the API server knows whom they name; they may have made something in the account.
async fn users_of<P: Posture>(ctx: &Context, name: &str, users: &mut BTreeSet<String>) -> kube::Result<()> {
    let user = |namespace: &str, object: &str| format!("{} {namespace}/{object}", P::KIND);
    let readable = ctx.stores.postures_where(|posture: &P| posture.account() == name);
    users.extend(readable.iter().map(|u| user(&u.namespace().unwrap_or_default(), &u.name_any())));
    let broken = ctx.stores.unreadable::<P>();
    let namespaces: BTreeSet<&String> = broken.iter().map(|(namespace, _)| namespace).collect();
    let naming = ListParams::default().fields(&format!("spec.target.accountRef.name={name}"));
    for namespace in namespaces {
        let api: Api<P> = Api::namespaced(ctx.client.clone(), namespace);
        for found in api.list_metadata(&naming).await? {
            if broken.contains(&(namespace.clone(), found.name_any())) {
                users.insert(user(namespace, &found.name_any()));
            }
        }
    }
    Ok(())
}

async fn tell(ctx: &Context, object: &AwsAccount, before: &AwsAccountStatus, after: &AwsAccountStatus) {
    let ready = |s: &AwsAccountStatus| s.conditions.iter().find(|c| c.type_ == condition::READY).cloned();
    let Some(now) = ready(after) else { return };
    let changed = ready(before).is_none_or(|b| (&b.status, &b.reason) != (&now.status, &now.reason));
    if let (true, Some(reason)) = (changed, Reason::parse(&now.reason)) {
        event(ctx, object, KIND, now.status == "False", reason, &now.message).await;
    }
}

/// The conditions, whether they settle this generation, and what follows.
async fn judge(
    ctx: &Context,
    key: &Key,
    object: &AwsAccount,
    users: &BTreeSet<String>,
    after: &mut AwsAccountStatus,
) -> (Vec<Condition>, bool, Next) {
    if object.metadata.deletion_timestamp.is_some() {
        let sample: Vec<&str> = users.iter().take(SAMPLE).map(String::as_str).collect();
        let more = if users.len() > SAMPLE { ", …" } else { "" };
        let message = format!("still used by {} objects: {}{more}", users.len(), sample.join(", "));
        return not_ready(Reason::AccountInUse, &message, Duration::ZERO, None);
    }
    if object.spec.suspend {
        let suspended = Condition {
            kind: condition::SUSPENDED,
            status: Status::True,
            reason: Reason::Suspended,
            message: Reason::Suspended.meaning().to_owned(),
        };
        return (vec![suspended], false, Next::Await);
    }
    let twins = ctx.stores.accounts_where(|a| a.spec.account_id == object.spec.account_id);
    if let Some(older) = older_rival(object, &twins) {
        let message = format!(
            "AwsAccount {} declares {} too, and is older: delete one of the two",
            older.name_any(),
            object.spec.account_id
        );
        return not_ready(Reason::DuplicateTarget, &message, Duration::ZERO, None);
    }
    let looked_up = spec::roles(&object.spec, ctx.settings.mode == Mode::Observe)
        .and_then(|roles| Ok((roles, spec::home_region(&object.spec, ctx.settings.home_region.as_deref())?)));
    let (roles, region) = match looked_up {
        Ok(found) => found,
        Err(refusal) => return not_ready(refusal.reason, &refusal.message, Duration::ZERO, None),
    };
    let write = ctx.cloud.identity(&roles.write, &region).await;
    let read = if roles.read == roles.write { write.clone() } else { ctx.cloud.identity(&roles.read, &region).await };
    let (write, read) = match (write, read) {
        (Ok(write), Ok(read)) => (write, read),
        (Err(fault), _) | (_, Err(fault)) => {
            ctx.metrics.session_failure(&object.spec.account_id);
            let (reason, message) = explain(&fault, None);
            let denied_for = ctx.denied_for(key, reason.waits() == Waits::Grace);
            after.principal_arn = None;
            after.observe_principal_arn = None;
            return not_ready(reason, &message, denied_for, fault.retry_after);
        }
    };
    ctx.denied_for(key, false);
    let [write, read] = [write.arn, read.arn].map(|arn| truncate(&arn, MAX_ARN));
    let message = format!("acts as {write}");
    after.observe_principal_arn = (roles.read != roles.write).then_some(read);
    after.principal_arn = Some(write);
    let ready = Condition { kind: condition::READY, status: Status::True, reason: Reason::Succeeded, message };
    let permissions = preflight(ctx, key, object, &roles, &region, users).await;
    let (permissions, missing) = permissions_condition(permissions);
    after.missing_permissions = missing;
    (vec![ready, permissions], true, Next::After(LOOK_EVERY))
}

fn not_ready(
    reason: Reason,
    message: &str,
    denied_for: Duration,
    retry_after: Option<Duration>,
) -> (Vec<Condition>, bool, Next) {
    let report = ssm_ready_core::report::refused(reason, message, denied_for);
    let conditions = report
        .conditions
        .into_iter()
        .filter(|c| matches!(c.kind, condition::READY | condition::STALLED | condition::RECONCILING))
        .collect();
    let next = if reason == Reason::AccountInUse { Next::Await } else { Next::of(report.waits, retry_after) };
    (conditions, report.settled, next)
}

/// The kinds of those who use the account; where nobody does yet, the kind that is admitted by default.
fn kinds(users: &BTreeSet<String>) -> BTreeSet<iam::Kind> {
    let uses = |kind: &str| users.iter().any(|user| user.split(' ').next() == Some(kind));
    let all = [
        (AccountPosture::KIND, iam::Kind::AccountPosture),
        (RegionPosture::KIND, iam::Kind::RegionPosture),
        (VpcPosture::KIND, iam::Kind::VpcPosture),
    ];
    let kinds: BTreeSet<iam::Kind> = all.into_iter().filter(|(kind, _)| uses(kind)).map(|(_, kind)| kind).collect();
    if kinds.is_empty() { [iam::Kind::VpcPosture].into() } else { kinds }
}

/// What IAM says of the actions that we may need: once a day, and after an edit or a request.
async fn preflight(
    ctx: &Context,
    key: &Key,
    object: &AwsAccount,
    roles: &Roles,
    region: &ssm_ready_core::ids::Region,
    users: &BTreeSet<String>,
) -> Result<Vec<String>, Fault> {
    let kinds = kinds(users);
    let generation = object.metadata.generation.unwrap_or_default();
    let requested = object.annotations().get(REQUESTED_AT).cloned();
    let asked = Some((generation, requested));
    let known = ctx.local(key, |local| match &local.permissions {
        Some((at, of, outcome))
            if local.asked_for == asked
                && *of == kinds
                && Duration::try_from(ctx.outside.steady().duration_since(*at)).unwrap_or_default()
                    < PREFLIGHT_EVERY =>
        {
            Some(outcome.clone())
        }
        _ => None,
    });
    let outcome = match known {
        Some(outcome) => outcome,
        None => {
            let outcome = ask(ctx, object, roles, region, &kinds).await;
            ctx.local(key, |local| {
                local.permissions = Some((ctx.outside.steady(), kinds, outcome.clone()));
                local.asked_for = asked;
            });
            outcome
        }
    };
    Ok(outcome?.into_iter().filter(|p| !p.allowed).map(|p| p.action).collect())
}

/// What IAM says to each of the questions.
async fn ask(
    ctx: &Context,
    object: &AwsAccount,
    roles: &Roles,
    region: &ssm_ready_core::ids::Region,
    kinds: &BTreeSet<iam::Kind>,
) -> Result<Vec<Permission>, Fault> {
    let rails = &object.spec.guardrails;
    let boundary = rails.permissions_boundary.as_ref().map(|arn| PolicyArn::new(arn.clone()));
    let mut permissions = Vec::new();
    let questions = iam::questions(&iam::Preflight {
        principal: &roles.write,
        region,
        cluster_id: &ctx.settings.cluster,
        writes: ctx.settings.mode == Mode::Enforce,
        kinds,
        role_path: rails.role_path_prefixes.first().map_or("/", String::as_str),
        boundary: boundary.as_ref(),
    });
    for question in &questions {
        permissions.extend(ctx.cloud.permissions(&roles.write, region, question).await?);
    }
    Ok(permissions)
}

fn permissions_condition(missing: Result<Vec<String>, Fault>) -> (Condition, Vec<String>) {
    let kind = condition::PERMISSIONS_READY;
    match missing {
        Ok(missing) if missing.is_empty() => {
            let message = "IAM allows the role every action that may be needed".to_owned();
            (Condition { kind, status: Status::True, reason: Reason::Succeeded, message }, missing)
        }
        Ok(missing) => {
            let mut missing: Vec<String> = missing.iter().map(|action| truncate(action, MAX_ACTION)).collect();
            missing.sort_unstable();
            missing.dedup();
            missing.truncate(64);
            let message = format!(
                "IAM says that the role lacks {}: allow them (statements with conditions on tags may be fine all the same)",
                missing.join(", ")
            );
            (Condition { kind, status: Status::False, reason: Reason::PermissionsMissing, message }, missing)
        }
        Err(fault) => {
            let message = format!("{fault}. {}", Reason::PermissionsUnknown.fix());
            (Condition { kind, status: Status::Unknown, reason: Reason::PermissionsUnknown, message }, Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iam_is_asked_about_the_kinds_in_use() {
        let users = |all: &[&str]| all.iter().map(|user| (*user).to_owned()).collect();
        use iam::Kind as K;
        for (all, expected) in [
            (&[][..], vec![K::VpcPosture]),
            (&["AccountPosture team/a", "RegionPosture team/b"], vec![K::RegionPosture, K::AccountPosture]),
            (&["VpcPosture team/AccountPosture"], vec![K::VpcPosture]),
        ] {
            assert_eq!(kinds(&users(all)), expected.into_iter().collect(), "{all:?}");
        }
    }
}
