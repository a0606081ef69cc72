//! The apply step: the only place that writes to AWS.

use std::sync::PoisonError;

use jiff::Timestamp;
use ssm_ready_core::{
    evaluate::Action,
    facts::Scope,
    fault::{Fault, FaultKind},
    overlay::Recent,
    plan::Plan,
    posture::{OWNER_TAG, Owner},
    report::{Applied, Tried},
    snapshot::FactKey,
    write::{Write, Written},
};

use crate::{
    context::{Context, Key},
    place::Place,
};

/// Carries out a plan in order. What a failure says of the rest decides whether the rest is tried.
pub async fn apply(ctx: &Context, key: &Key, place: &Place, scope: &Scope, owner: &Owner, plan: &Plan) -> Vec<Applied> {
    let mut applied = Vec::new();
    let mut stopped = false;
    for action in &plan.actions {
        let tried = if stopped { Tried::NotTried } else { one(ctx, key, place, scope, owner, action).await };
        stopped = stopped || stops(&action.write, &tried);
        applied.push(Applied { action: action.clone(), tried });
    }
    applied
}

/// Whether what happened to one action would happen to the next ones too, or leaves them without what they rest on: a role
/// that could not be made may be somebody else's.
fn stops(write: &Write, tried: &Tried) -> bool {
    let rests = matches!(write, Write::Role { .. } | Write::Profile { .. } | Write::Document(_) | Write::Rule(_));
    if rests && matches!(tried, Tried::Failed(_)) {
        return true;
    }
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

async fn one(ctx: &Context, key: &Key, place: &Place, scope: &Scope, owner: &Owner, action: &Action) -> Tried {
    match write(ctx, key, place, scope, owner, &action.write).await {
        Tried::Done(Written::Group(group)) if !action.then_admit.is_empty() => {
            let rules = action.then_admit.clone();
            match write(ctx, key, place, scope, owner, &Write::AuthorizeIngress { group: group.clone(), rules }).await {
                Tried::Done(_) => Tried::Done(Written::Group(group)),
                other => other,
            }
        }
        other => other,
    }
}

async fn write(ctx: &Context, key: &Key, place: &Place, scope: &Scope, owner: &Owner, write: &Write) -> Tried {
    let operation = write.operation();
    if !ctx.term.holds() {
        // Another replica may have begun already.
        return Tried::NotTried;
    }
    let braked = ctx.brake.lock().unwrap_or_else(PoisonError::into_inner).pass(write, ctx.outside.steady());
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
        match &outcome {
            // An endpoint that was made is remembered until it is listed: the next one need not wait for that.
            Ok(Written::Endpoint(_)) => place.touch(touched),
            Ok(Written::NotDeleted(_)) | Err(_) => place.expect(key, touched),
            Ok(_) => place.need(key, touched),
        }
        remember(place, owner, write, &outcome, ctx.outside.steady());
    }
    match outcome {
        Ok(written) => {
            ctx.metrics.aws_write(operation.name(), "ok");
            tracing::info!(
                account = %scope.principal.account, region = %scope.region,
                operation = operation.name(), change = %write, result = ?written, "changed AWS"
            );
            Tried::Done(written)
        }
        Err(fault) => {
            ctx.metrics.aws_write(operation.name(), fault.kind.label());
            if !held_back {
                tracing::warn!(
                    account = %scope.principal.account, region = %scope.region,
                    operation = operation.name(), change = %write, error = %fault, "AWS was not changed"
                );
            }
            Tried::Failed(fault)
        }
    }
}

/// Remembers what was made, or may have been made, until AWS lists it.
fn remember(place: &Place, owner: &Owner, write: &Write, outcome: &Result<Written, Fault>, at: Timestamp) {
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
            owner: owner.tag(),
            at,
        }),
        (Write::DeleteEndpoints { endpoints }, _) => place.forget(endpoints),
        (Write::Role { .. } | Write::Profile { .. }, Ok(_)) => place.made(write),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ssm_ready_core::{calls::Operation, write::ProfileChange};

    use super::*;

    #[test]
    fn what_would_stop_the_next_one_too_stops_the_plan() {
        let failed =
            |code: &str, status| Tried::Failed(Fault::from_answer(Operation::CreateVpcEndpoint, code, status, ""));
        for (tried, stop) in [
            (Tried::Done(Written::Done), false),
            (Tried::Braked(Duration::from_secs(60)), true),
            (Tried::NotTried, true),
            (failed("RequestLimitExceeded", 503), true),
            (failed("InternalError", 500), true),
            (failed("ExpiredToken", 403), true),
            (failed("UnauthorizedOperation", 403), true),
            (failed("VpcEndpointLimitExceeded", 400), true),
            (failed("OptInRequired", 401), true),
            (Tried::Failed(Fault::held_back(Operation::CreateVpcEndpoint, Duration::from_secs(3))), true),
            // Of this one thing: the others are as good as before.
            (failed("InvalidSubnetId.NotFound", 400), false),
            (failed("IncorrectState", 400), false),
            (failed("InvalidParameter", 400), false),
            (failed("InvalidServiceName", 400), false),
        ] {
            let write = Write::DeleteSecurityGroup { group: "sg-1".into() };
            assert_eq!(stops(&write, &tried), stop, "{tried:?}");
        }
        let create = Write::Profile { profile: "web".into(), change: ProfileChange::AddRole("web".into()) };
        assert!(stops(&create, &failed("EntityAlreadyExists", 409)), "it may be somebody else's");
        assert!(!stops(&create, &Tried::Done(Written::Done)));
    }
}
