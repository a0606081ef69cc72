//! AWS through its SDK: sessions, rates, timeouts and paging, the same for every call.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use aws_config::{AppName, BehaviorVersion, ConfigLoader, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_ec2::config::{SharedHttpClient, timeout::TimeoutConfig};
use aws_smithy_http_client::{Builder, ConnectorBuilder, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ssm_ready_core::{
    calls::Operation,
    facts::{Principal, Scope},
    fault::{Fault, FaultKind},
    ids::Region,
};

use super::{
    clients::Clients,
    meter::{Call, Meter},
    session::{Live, Sessions},
};
use crate::{limit::DEFAULT_SHARE_PERCENT, observe::Observer};

/// Our name in the user agent, as CloudTrail shows it.
const APP_NAME: &str = "ssm-ready";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// A million things of one type in one region are a mistake, ours or AWS's.
const MAX_PAGES: usize = 1000;
/// The code of a list that does not end.
const TOO_MANY_PAGES: &str = "TooManyPages";
/// How AWS refuses a signature: also one that was made by a clock that is wrong. EC2 takes it for a bad key.
const SIGNATURE_REFUSED: [&str; 3] = ["AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException"];

/// As whom and where calls are made, and at which share of AWS's rates.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub principal: &'a Principal,
    pub region: &'a Region,
    pub share_percent: u8,
}

impl<'a> At<'a> {
    /// For calls that come without a scope.
    pub(super) fn new(principal: &'a Principal, region: &'a Region) -> Self {
        Self { principal, region, share_percent: DEFAULT_SHARE_PERCENT }
    }
}

impl<'a> From<&'a Scope> for At<'a> {
    fn from(scope: &'a Scope) -> Self {
        Self { principal: &scope.principal, region: &scope.region, share_percent: scope.api_share_percent }
    }
}

/// AWS through its SDK.
pub struct AwsCloud {
    sessions: Sessions,
    meter: Arc<Meter>,
}

impl fmt::Debug for AwsCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCloud").finish_non_exhaustive()
    }
}

impl AwsCloud {
    /// Connects with what the environment says: credentials, profile, region, endpoints, proxies.
    /// Nothing is asked of AWS yet.
    pub async fn from_env(observer: Arc<dyn Observer>) -> Self {
        let base = ConfigLoader::default().behavior_version(behavior()).http_client(http_client()).load().await;
        Self::new(&base, observer)
    }

    /// Connects to what stands in for AWS at a URL, whatever the environment says, with a static key for the controller's
    /// own credentials.
    #[must_use]
    pub fn at_endpoint(url: &str, access_key_id: &str, secret_access_key: &str, observer: Arc<dyn Observer>) -> Self {
        let own = Credentials::new(access_key_id, secret_access_key, None, None, APP_NAME);
        let base = SdkConfig::builder()
            .behavior_version(behavior())
            .endpoint_url(url)
            .credentials_provider(SharedCredentialsProvider::new(own))
            .build();
        Self::new(&base, observer)
    }

    /// Connects with a configuration whose credentials are the controller's own. What every call needs (one pool of
    /// connections, timeouts, our name) is added where it is missing.
    #[must_use]
    pub fn new(base: &SdkConfig, observer: Arc<dyn Observer>) -> Self {
        let mut config = base.to_builder().timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        );
        config.set_app_name(AppName::new(APP_NAME).ok());
        config.set_behavior_version(Some(behavior()));
        if base.http_client().is_none() {
            config.set_http_client(Some(http_client()));
        }
        let meter = Arc::new(Meter::new(observer));
        Self { sessions: Sessions::new(config.build(), Arc::clone(&meter)), meter }
    }

    /// The principal's session, proven to be of its account.
    pub(super) async fn live(&self, at: At<'_>) -> Result<Arc<Live>, Fault> {
        self.sessions.live(&self.sessions.session(at.principal), at.region).await
    }

    /// Makes one call as the principal. A read that meets expired credentials is made once more with new ones;
    /// a write is not: its object is looked at again instead. One whose signature is refused is signed once more.
    pub(super) async fn call<T, E, F>(
        &self,
        at: At<'_>,
        operation: Operation,
        request: impl Fn(Arc<Clients>) -> F + Send + Sync,
    ) -> Result<T, Fault>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let At { principal, region, share_percent } = at;
        let call = Call { operation, account: &principal.account, region, share_percent };
        let session = self.sessions.session(principal);
        let mut may_repeat = !operation.writes();
        let mut may_sign_again = operation.writes();
        loop {
            // First, so that an account without a session uses up no turns; and again, for turns can be far away.
            self.sessions.live(&session, region).await?;
            self.meter.pass(call).await?;
            let live = self.sessions.live(&session, region).await?;
            let clients = self.sessions.clients(&session, region);
            clients.set_share(share_percent);
            match self.meter.make(call, &[], request(clients)).await {
                Err(fault) if fault.kind == FaultKind::Expired => {
                    let renewable = session.expire(&live);
                    if !(renewable && may_repeat) {
                        return Err(fault);
                    }
                    may_repeat = false;
                }
                // Refused before anything was done, as after a jump of the clock: the SDK has learned AWS's time from
                // the answer, and repeats reads by itself.
                Err(fault) if may_sign_again && SIGNATURE_REFUSED.contains(&fault.code.as_str()) => {
                    may_sign_again = false;
                }
                result => return result,
            }
        }
    }

    /// Makes a call for each page of a list, and keeps of each page what `items` takes from it, with the token of the
    /// next.
    pub(super) async fn pages<P, T, E, F>(
        &self,
        at: At<'_>,
        operation: Operation,
        request: impl Fn(Arc<Clients>, Option<String>) -> F + Send + Sync,
        items: impl Fn(P) -> (Vec<T>, Option<String>) + Send + Sync,
    ) -> Result<Vec<T>, Fault>
    where
        P: Send,
        T: Send,
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<P, SdkError<E, HttpResponse>>> + Send,
    {
        let (mut all, mut token) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = self.call(at, operation, |clients| request(clients, token.clone())).await?;
            let (mut found, next) = items(page);
            all.append(&mut found);
            match next.filter(|next| !next.is_empty()) {
                None => return Ok(all),
                same if same == token => break,
                next => token = next,
            }
        }
        Err(Fault::from_answer(operation, TOO_MANY_PAGES, 200, "the list does not end"))
    }
}

/// Pinned: a newer one may retry, time out or connect differently.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// The SDK's own default client, but one for all services, so that there is one pool of connections.
fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector =
            ConnectorBuilder::default().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}
