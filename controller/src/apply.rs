//! The apply step: the only place that writes to AWS.

use std::sync::PoisonError;

use ssm_ready_core::{
    evaluate::Action,
    facts::Scope,
    fault::{Fault, FaultKind},
    overlay::Recent,
    plan::Plan,
    posture::{OWNER_TAG, VpcPosture},
    report::{Applied, Tried},
    snapshot::FactKey,
    write::{Write, Written},
};

use crate::{
    context::{Context, Key, now},
    place::Place,
};

/// Carries out a plan in order. What a failure says of the rest decides whether the rest is tried.
pub async fn apply(
    ctx: &Context,
    key: &Key,
    place: &Place,
    scope: &Scope,
    posture: &VpcPosture,
    plan: &Plan,
) -> Vec<Applied> {
    let mut applied = Vec::new();
    let mut stopped = false;
    for action in &plan.actions {
        let tried = if stopped { Tried::NotTried } else { one(ctx, key, place, scope, posture, action).await };
        stopped = stopped || stops(&tried);
        applied.push(Applied { action: action.clone(), tried });
    }
    applied
}

/// Whether what happened to one action would happen to the next ones too.
fn stops(tried: &Tried) -> bool {
    match tried {
        Tried::Done(_) => false,
        Tried::Braked(_) | Tried::NotTried => true,
        Tried::Failed(fault) => match fault.kind {
            FaultKind::Throttled
            | FaultKind::Transient
            | FaultKind::Expired
            | FaultKind::Denied
            | FaultKind::LimitExceeded
            | FaultKind::RegionDisabled => true,
            FaultKind::NotFound | FaultKind::Conflict | FaultKind::Invalid | FaultKind::Unsupported => false,
        },
    }
}

async fn one(ctx: &Context, key: &Key, place: &Place, scope: &Scope, posture: &VpcPosture, action: &Action) -> Tried {
    match write(ctx, key, place, scope, posture, &action.write).await {
        Tried::Done(Written::Group(group)) if !action.then_admit.is_empty() => {
            let rules = action.then_admit.clone();
            match write(ctx, key, place, scope, posture, &Write::AuthorizeIngress { group: group.clone(), rules }).await
            {
                Tried::Done(_) => Tried::Done(Written::Group(group)),
                other => other,
            }
        }
        other => other,
    }
}

async fn write(ctx: &Context, key: &Key, place: &Place, scope: &Scope, posture: &VpcPosture, write: &Write) -> Tried {
    let operation = write.operation();
    let braked = ctx.brake.lock().unwrap_or_else(PoisonError::into_inner).pass(write, now());
    if let Err(wait) = braked {
        ctx.metrics.brake_held();
        tracing::warn!(account = %scope.principal.account, region = %scope.region, change = %write, "the write brake holds back");
        return Tried::Braked(wait);
    }
    let outcome = ctx.cloud.write(scope, write).await;
    // Whatever the answer, AWS may have changed: only what we held back ourselves certainly did not.
    let held_back = matches!(&outcome, Err(fault) if fault.code == ssm_ready_core::fault::HELD_BACK);
    if !held_back {
        let touched = FactKey::touched_by(write);
        // An endpoint that was made is remembered until it is listed: the next one need not wait for that.
        if matches!(outcome, Ok(Written::Endpoint(_))) {
            place.touch(touched)
        } else {
            place.need(key, touched)
        }
        remember(place, posture, write, &outcome);
    }
    match outcome {
        Ok(written) => {
            ctx.metrics.aws_write(operation.name(), "ok");
            tracing::info!(
                account = %scope.principal.account, region = %scope.region, vpc = %posture.vpc,
                operation = operation.name(), change = %write, result = ?written, "changed AWS"
            );
            Tried::Done(written)
        }
        Err(fault) => {
            ctx.metrics.aws_write(operation.name(), fault.kind.label());
            if !held_back {
                tracing::warn!(
                    account = %scope.principal.account, region = %scope.region, vpc = %posture.vpc,
                    operation = operation.name(), change = %write, error = %fault, "AWS was not changed"
                );
            }
            Tried::Failed(fault)
        }
    }
}

/// Remembers what was made, or may have been made, until AWS lists it.
fn remember(place: &Place, posture: &VpcPosture, write: &Write, outcome: &Result<Written, Fault>) {
    let at = now();
    match (write, outcome) {
        (Write::CreateEndpoint(new), Ok(Written::Endpoint(id))) => place.remember(Recent::Endpoint {
            id: Some(id.clone()),
            vpc: new.vpc.clone(),
            service_name: new.service_name.clone(),
            owner: new.tags.get(OWNER_TAG).cloned().unwrap_or_default(),
            at,
        }),
        // The token was used before: there is, or was, an endpoint that is not listed.
        (Write::CreateEndpoint(new), Err(fault)) if fault.code == MISMATCH => place.remember(Recent::Endpoint {
            id: None,
            vpc: new.vpc.clone(),
            service_name: new.service_name.clone(),
            owner: posture.owner.tag(),
            at,
        }),
        (Write::CreateSecurityGroup { vpc, name, .. }, Ok(Written::Group(id))) => {
            place.remember(Recent::Group { id: Some(id.clone()), vpc: vpc.clone(), name: name.clone(), at });
        }
        (Write::CreateSecurityGroup { vpc, name, .. }, Err(fault)) if fault.code == "InvalidGroup.Duplicate" => {
            place.remember(Recent::Group { id: None, vpc: vpc.clone(), name: name.clone(), at });
        }
        _ => {}
    }
}

/// The code with which AWS refuses a client token that came with other parameters before.
pub const MISMATCH: &str = "IdempotentParameterMismatch";
