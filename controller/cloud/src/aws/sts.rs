//! Becoming a principal: AssumeRole along its roles, then GetCallerIdentity.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{SdkConfig, identity::IdentityCache};
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use ssm_ready_core::{
    calls::Operation,
    facts::{Identity, Principal, RoleStep},
    fault::{ACCOUNT_MISMATCH, Fault},
    ids::{AccountId, Region},
};

use super::{
    answer::{no_credentials, own_credentials, unreadable},
    clients::{read_retries, retry_partition},
    meter::{Call, Meter},
};
use crate::limit::DEFAULT_SHARE_PERCENT;

/// The durations that role chaining allows, in seconds.
const DURATION_SECONDS: std::ops::RangeInclusive<i32> = 900..=3600;
/// How long credentials that do not say when they end are used before they are looked at again.
const UNLIMITED: Duration = Duration::from_secs(3600);
/// Who gave the credentials, as the SDK's own debugging output names it.
const PROVIDER: &str = "ssm-ready";

/// Credentials whose account has been shown to be the declared one.
pub(super) struct Proven {
    pub credentials: Credentials,
    pub identity: Identity,
    pub lifetime: Duration,
}

/// Takes on the principal's roles and proves the account.
pub(super) async fn become_principal(
    base: &SdkConfig,
    meter: &Arc<Meter>,
    principal: &Principal,
    region: &Region,
) -> Result<Proven, Fault> {
    let sts = Sts { base, meter, account: &principal.account, region };
    let (mut credentials, mut lifetime) = (None, UNLIMITED);
    for (at, step) in principal.roles.iter().enumerate() {
        let last = at + 1 == principal.roles.len();
        // Narrowed in the last step only: the earlier ones have to take on the next role.
        let policy = (last && principal.read_only).then(read_only_policy);
        let seconds = principal.duration_seconds.clamp(*DURATION_SECONDS.start(), *DURATION_SECONDS.end());
        credentials = Some(sts.assume_role(credentials, principal, step, seconds, policy).await?);
        lifetime = Duration::from_secs(u64::from(seconds.unsigned_abs()));
    }
    let credentials = match credentials {
        Some(credentials) => credentials,
        None => own(base).await?,
    };
    let lifetime = remaining(&credentials).map_or(lifetime, |left| left.min(lifetime));
    let identity = sts.caller_identity(credentials.clone()).await?;
    if identity.account != principal.account {
        return Err(Fault::from_answer(
            Operation::GetCallerIdentity,
            ACCOUNT_MISMATCH,
            200,
            &format!(
                "the session is of account {} ({}), but account {} is declared: correct the account or the role's ARN",
                identity.account, identity.arn, principal.account
            ),
        ));
    }
    Ok(Proven { credentials, identity, lifetime })
}

/// The controller's own credentials.
async fn own(base: &SdkConfig) -> Result<Credentials, Fault> {
    let operation = Operation::GetCallerIdentity;
    let provider = base.credentials_provider().ok_or_else(|| no_credentials(operation))?;
    provider.provide_credentials().await.map_err(|error| own_credentials(operation, &error))
}

/// How long credentials last by our clock; none if that cannot be, because our clock is wrong or they do not end.
#[expect(clippy::disallowed_methods, reason = "credentials end by the clock of the edge that holds them")]
fn remaining(credentials: &Credentials) -> Option<Duration> {
    credentials.expiry()?.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())
}

struct Sts<'a> {
    base: &'a SdkConfig,
    meter: &'a Arc<Meter>,
    account: &'a AccountId,
    region: &'a Region,
}

impl Sts<'_> {
    /// A client of the region's own endpoint: tokens of the global one are not valid in every region.
    fn client(&self, credentials: Option<Credentials>) -> aws_sdk_sts::Client {
        let mut config = aws_sdk_sts::config::Builder::from(self.base)
            .region(aws_config::Region::new(self.region.to_string()))
            .retry_config(read_retries())
            .retry_partition(retry_partition("sts", self.region, self.account));
        if let Some(credentials) = credentials {
            config = config.credentials_provider(credentials).identity_cache(IdentityCache::no_cache());
        }
        aws_sdk_sts::Client::from_conf(config.build())
    }

    fn call(&self, operation: Operation) -> Call<'_> {
        Call { operation, account: self.account, region: self.region, share_percent: DEFAULT_SHARE_PERCENT }
    }

    async fn assume_role(
        &self,
        credentials: Option<Credentials>,
        principal: &Principal,
        step: &RoleStep,
        seconds: i32,
        policy: Option<String>,
    ) -> Result<Credentials, Fault> {
        let operation = Operation::AssumeRole;
        if credentials.is_none() && self.base.credentials_provider().is_none() {
            return Err(no_credentials(operation));
        }
        let external_id = step.external_id.as_ref().map(|id| id.reveal());
        let request = self
            .client(credentials)
            .assume_role()
            .role_arn(step.arn.as_str())
            .role_session_name(&principal.session_name)
            .duration_seconds(seconds)
            .set_external_id(external_id.map(str::to_owned))
            .set_policy(policy);
        let call = self.call(operation);
        self.meter.pass(call).await?;
        let answer = self.meter.make(call, external_id.as_slice(), request.send()).await?;
        let given = answer.credentials().ok_or_else(|| unreadable(operation, "Credentials"))?;
        Ok(Credentials::new(
            given.access_key_id(),
            given.secret_access_key(),
            Some(given.session_token().to_owned()),
            SystemTime::try_from(*given.expiration()).ok(),
            PROVIDER,
        ))
    }

    async fn caller_identity(&self, credentials: Credentials) -> Result<Identity, Fault> {
        let operation = Operation::GetCallerIdentity;
        let request = self.client(Some(credentials)).get_caller_identity();
        let call = self.call(operation);
        self.meter.pass(call).await?;
        let answer = self.meter.make(call, &[], request.send()).await?;
        let account = answer.account().and_then(|account| account.parse().ok());
        let arn = answer.arn().map(str::to_owned);
        match (account, arn) {
            (Some(account), Some(arn)) => Ok(Identity { account, arn }),
            _ => Err(unreadable(operation, "Account or Arn")),
        }
    }
}

/// A session policy that allows the reads that we make, whatever more the role allows.
fn read_only_policy() -> String {
    let actions: Vec<String> = Operation::ALL
        .iter()
        .filter(|operation| !operation.writes() && **operation != Operation::AssumeRole)
        .map(|operation| operation.iam_action())
        .collect();
    serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
    })
    .to_string()
}

/// The ARN whose policies decide what a session may do: of the role, where the session is of one.
pub(super) fn policy_source(principal: &Principal, identity: &Identity) -> String {
    if let Some(step) = principal.roles.last() {
        return step.arn.to_string();
    }
    let parts: Vec<&str> = identity.arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "sts", _, account, resource] => match resource.split('/').collect::<Vec<_>>().as_slice() {
            ["assumed-role", name, _] => format!("arn:{partition}:iam::{account}:role/{name}"),
            _ => identity.arn.clone(),
        },
        _ => identity.arn.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_only_policy_allows_reads_alone_and_fits() {
        let policy = read_only_policy();
        assert!(policy.len() <= 2048, "{} characters", policy.len());
        let parsed: serde_json::Value = serde_json::from_str(&policy).unwrap();
        let actions: Vec<&str> =
            parsed["Statement"][0]["Action"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        for operation in Operation::ALL {
            let wanted = !operation.writes() && *operation != Operation::AssumeRole;
            assert_eq!(actions.contains(&operation.iam_action().as_str()), wanted, "{operation}");
        }
    }

    #[test]
    fn permissions_are_asked_of_the_role_behind_the_session() {
        let account: AccountId = "111122223333".parse().unwrap();
        let own = Principal {
            account: account.clone(),
            roles: Vec::new(),
            session_name: "ssm-ready".into(),
            duration_seconds: 3600,
            read_only: false,
        };
        for (arn, source) in [
            ("arn:aws:sts::111122223333:assumed-role/hub/pod-1", "arn:aws:iam::111122223333:role/hub"),
            ("arn:aws-cn:sts::111122223333:assumed-role/hub/x", "arn:aws-cn:iam::111122223333:role/hub"),
            ("arn:aws:iam::111122223333:user/ops/ann", "arn:aws:iam::111122223333:user/ops/ann"),
            ("nonsense", "nonsense"),
        ] {
            let identity = Identity { account: account.clone(), arn: arn.into() };
            assert_eq!(policy_source(&own, &identity), source);
        }
        let role = "arn:aws:iam::111122223333:role/platform/spoke";
        let spoke = Principal { roles: vec![RoleStep { arn: role.parse().unwrap(), external_id: None }], ..own };
        let identity = Identity { account, arn: "arn:aws:sts::111122223333:assumed-role/spoke/ssm-ready".into() };
        assert_eq!(policy_source(&spoke, &identity), role);
    }
}
