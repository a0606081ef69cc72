//! Roles, who may take them on, and what they may do.

use ssm_ready_core::{
    calls::Operation,
    facts::{Identity, Permission, RoleStep},
    ids::{AccountId, Region},
};

use super::world::{Refusal, World};

/// The longest session of a role that was taken on from another role, in seconds.
const LONGEST_CHAINED_SECONDS: i32 = 3600;
/// The longest and the shortest session of a role as it is made, in seconds.
const SESSION_SECONDS: std::ops::RangeInclusive<i32> = 900..=3600;

/// Who somebody is after taking on a role.
#[derive(Debug, Clone)]
pub(super) struct Assumed {
    pub account: AccountId,
    /// The role's ARN.
    pub role: String,
}

/// The name of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionName<'a>(pub &'a str);

impl Assumed {
    /// What GetCallerIdentity says of it.
    pub fn identity(&self, session: SessionName<'_>, by_role: bool) -> Identity {
        let parts: Vec<&str> = self.role.splitn(6, ':').collect();
        let arn = match parts.as_slice() {
            ["arn", partition, "iam", "", account, resource] if by_role => {
                let name = resource.rsplit('/').next().unwrap_or(resource);
                format!("arn:{partition}:sts::{account}:assumed-role/{name}/{}", session.0)
            }
            _ => self.role.clone(),
        };
        Identity { account: self.account.clone(), arn }
    }
}

impl World {
    /// AssumeRole.
    pub(super) fn assume(
        &self,
        caller: &Assumed,
        step: &RoleStep,
        region: &Region,
        seconds: i32,
        chained: bool,
    ) -> Result<Assumed, Refusal> {
        let account = step.arn.account();
        let refused = || {
            let message =
                format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {}", caller.role, step.arn);
            Refusal::new("AccessDenied", message).status(403)
        };
        if !self.may(&caller.account, &caller.role, Operation::AssumeRole) {
            return Err(refused());
        }
        let found = self.accounts.get(account).and_then(|a| Some((a, a.roles.get(step.arn.as_str())?)));
        let Some((holder, role)) = found else { return Err(refused()) };
        let given = step.external_id.as_ref().map(ssm_ready_core::ids::Secret::reveal);
        let known = role.external_id.as_deref().is_none_or(|wanted| given == Some(wanted));
        let trusted = role.trusts.as_ref().is_none_or(|trusts| trusts.contains(&caller.role));
        if !known || !trusted {
            return Err(refused());
        }
        if holder.disabled_regions.contains(region) {
            let message = "STS is not activated in this region for account that is being asked to generate credentials";
            return Err(Refusal::new("RegionDisabledException", message).status(403));
        }
        if chained && seconds > LONGEST_CHAINED_SECONDS {
            let message =
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
            return Err(Refusal::new("ValidationError", message));
        }
        if !SESSION_SECONDS.contains(&seconds) {
            let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
            return Err(Refusal::new("ValidationError", message));
        }
        Ok(Assumed { account: account.clone(), role: step.arn.as_str().to_owned() })
    }

    /// SimulatePrincipalPolicy: what is in effect of a role's policies.
    pub(super) fn permissions(&self, account: &AccountId, role: &str, actions: &[String]) -> Vec<Permission> {
        let role = self.accounts.get(account).and_then(|account| account.roles.get(role));
        actions
            .iter()
            .map(|action| {
                let denied = role.is_some_and(|role| {
                    let passes = action.eq_ignore_ascii_case("iam:PassRole") && role.pass_role_denied;
                    passes || role.denied.iter().any(|operation| operation.iam_action().eq_ignore_ascii_case(action))
                });
                Permission { action: action.clone(), allowed: !denied }
            })
            .collect()
    }
}
