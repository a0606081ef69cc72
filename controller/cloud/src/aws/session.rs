//! Sessions: one for each principal, shared by everything that acts as it.
//!
//! Nothing is handed out before the account is proven. Credentials are renewed at half of their life, so that an STS
//! that fails for a while is not noticed, and never used in their last minute. A failure is remembered for a while, by
//! region (each has an STS of its own), so that a dead account costs a call or two a minute however many ask.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use aws_config::{SdkConfig, identity::IdentityCache};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use ssm_ready_core::{
    calls::Operation,
    facts::{Identity, Principal},
    fault::{Fault, FaultKind},
    ids::Region,
};
use tokio::{
    sync::{Mutex as FlightMutex, MutexGuard as FlightGuard},
    time::{Instant, timeout},
};

use super::{
    clients::Clients,
    meter::Meter,
    sts::{Proven, become_principal},
};

/// Credentials are not used in their last minute: a call may take half of it, and clocks differ. Of very short ones
/// (none of AWS's roles gives such) it is the last quarter.
const EXPIRY_MARGIN: Duration = Duration::from_secs(60);
/// The longest that becoming a principal, or waiting for another caller's try at it, may take.
const MAX_RENEWAL: Duration = Duration::from_secs(30);
/// The longest that a renewal before its time may hold up the call that happens to start it.
const MAX_EARLY_RENEWAL: Duration = Duration::from_secs(5);
/// How long a failure answers for STS.
const FAILURE_PAUSE: Duration = Duration::from_secs(15);
/// How long it does when it is one that lasts, and was seen again and again.
const MAX_FAILURE_PAUSE: Duration = Duration::from_secs(60);
/// How often credentials that AWS calls expired are renewed before their time. Some regions call any credentials so,
/// and new ones for each call would not help.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// A session that nobody has used for this long is dropped.
const MAX_IDLE: Duration = Duration::from_secs(3 * 3600);
/// How often idle sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Proven credentials, and when to do what with them.
pub(super) struct Live {
    credentials: Credentials,
    /// Who they turned out to be.
    pub identity: Identity,
    renew_at: Instant,
    unusable_at: Instant,
}

impl Live {
    fn new(proven: Proven, now: Instant) -> Self {
        let Proven { credentials, identity, lifetime } = proven;
        Self {
            credentials,
            identity,
            renew_at: now + lifetime / 2,
            unusable_at: now + lifetime.saturating_sub(EXPIRY_MARGIN.min(lifetime / 4)),
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Where the clients find the credentials, as they are at the time of each request.
#[derive(Debug, Default)]
struct Vault(RwLock<Option<Arc<Live>>>);

impl Vault {
    fn get(&self, now: Instant) -> Option<Arc<Live>> {
        let live = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        live.filter(|live| now < live.unusable_at)
    }

    fn set(&self, live: Option<Arc<Live>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = live;
    }
}

/// The vault, as the SDK's clients see it. It never calls STS: the session does that before each call.
#[derive(Debug, Clone)]
struct Handle(Arc<Vault>);

impl ProvideCredentials for Handle {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let result: provider::Result = match self.0.get(Instant::now()) {
            Some(live) => Ok(live.credentials.clone()),
            None => Err(CredentialsError::provider_error(Fault::from_answer(
                Operation::AssumeRole,
                "ExpiredToken",
                0,
                "the session ended while a call waited",
            ))),
        };
        future::ProvideCredentials::ready(result)
    }
}

/// Why there is no session in a region, and until when that is not asked again.
#[derive(Debug)]
struct Failure {
    fault: Fault,
    until: Instant,
    count: u32,
}

impl Failure {
    fn after(previous: Option<&Self>, fault: Fault, now: Instant) -> Self {
        let count = previous.map_or(0, |p| p.count.saturating_add(1));
        let pause = match fault.kind {
            // These pass by themselves.
            FaultKind::Throttled | FaultKind::Transient | FaultKind::Expired => FAILURE_PAUSE,
            _ => (FAILURE_PAUSE * 2_u32.saturating_pow(count.min(8))).min(MAX_FAILURE_PAUSE),
        };
        Self { fault, until: now + pause, count }
    }

    /// The fault, with the time after which asking again is of use.
    fn as_of(&self, now: Instant) -> Option<Fault> {
        let left = self.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(Fault { retry_after: self.fault.retry_after.max(Some(left)), ..self.fault.clone() })
    }
}

type Failures = HashMap<Region, Failure>;

/// The session of one principal.
#[derive(Debug)]
pub(super) struct Session {
    principal: Principal,
    vault: Arc<Vault>,
    /// Held by whoever asks STS; the others wait and find the outcome.
    flight: FlightMutex<Failures>,
    clients: Mutex<HashMap<Region, Arc<Clients>>>,
    used_at: Mutex<Instant>,
    expired_at: Mutex<Option<Instant>>,
}

impl Session {
    fn new(principal: Principal) -> Self {
        Self {
            principal,
            vault: Arc::default(),
            flight: FlightMutex::default(),
            clients: Mutex::default(),
            used_at: Mutex::new(Instant::now()),
            expired_at: Mutex::default(),
        }
    }

    /// Gives up credentials that AWS says have expired. Whether there is hope that new ones are better.
    pub(super) fn expire(&self, live: &Arc<Live>) -> bool {
        let now = Instant::now();
        if !self.vault.get(now).is_some_and(|current| Arc::ptr_eq(&current, live)) {
            // Others have given them up, and perhaps renewed them, already.
            return true;
        }
        let mut expired_at = lock(&self.expired_at);
        if expired_at.is_some_and(|at| now.duration_since(at) < EXPIRE_EVERY) {
            return false;
        }
        *expired_at = Some(now);
        self.vault.set(None);
        true
    }
}

#[derive(Debug)]
struct Known {
    by_principal: HashMap<Principal, Arc<Session>>,
    sweep_at: Instant,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    base: SdkConfig,
    meter: Arc<Meter>,
    known: Mutex<Known>,
}

impl Sessions {
    /// Sessions that start from `base`'s credentials, the controller's own.
    pub(super) fn new(base: SdkConfig, meter: Arc<Meter>) -> Self {
        let known = Known { by_principal: HashMap::new(), sweep_at: Instant::now() + SWEEP_EVERY };
        Self { base, meter, known: Mutex::new(known) }
    }

    /// The session of a principal, live or not.
    pub(super) fn session(&self, principal: &Principal) -> Arc<Session> {
        let now = Instant::now();
        let mut known = lock(&self.known);
        if now >= known.sweep_at {
            known.by_principal.retain(|_, session| now.duration_since(*lock(&session.used_at)) < MAX_IDLE);
            known.sweep_at = now + SWEEP_EVERY;
        }
        if let Some(session) = known.by_principal.get(principal) {
            *lock(&session.used_at) = now;
            return Arc::clone(session);
        }
        let session = Arc::new(Session::new(principal.clone()));
        known.by_principal.insert(principal.clone(), Arc::clone(&session));
        session
    }

    /// Proven credentials: those at hand, or new ones from the STS of the region.
    pub(super) async fn live(&self, session: &Session, region: &Region) -> Result<Arc<Live>, Fault> {
        let current = session.vault.get(Instant::now());
        match current {
            Some(live) if Instant::now() < live.renew_at => Ok(live),
            Some(live) => Ok(self.renew_early(session, region).await.unwrap_or(live)),
            None => self.renew(session, region).await,
        }
    }

    /// The clients of a session in a region.
    pub(super) fn clients(&self, session: &Session, region: &Region) -> Arc<Clients> {
        let mut clients = lock(&session.clients);
        let made = clients.entry(region.clone()).or_insert_with(|| {
            let config = self
                .base
                .to_builder()
                .region(aws_config::Region::new(region.to_string()))
                .credentials_provider(SharedCredentialsProvider::new(Handle(Arc::clone(&session.vault))))
                .identity_cache(IdentityCache::no_cache())
                .build();
            let account = session.principal.account.clone();
            Arc::new(Clients::new(config, Arc::clone(&self.meter), account, region.clone()))
        });
        Arc::clone(made)
    }

    /// New credentials in good time, unless somebody is at it, or it failed a moment ago, or it takes too long: the
    /// ones at hand still do.
    async fn renew_early(&self, session: &Session, region: &Region) -> Option<Arc<Live>> {
        let mut failures = session.flight.try_lock().ok()?;
        let began = Instant::now();
        if let Some(live) = session.vault.get(began).filter(|live| began < live.renew_at) {
            return Some(live);
        }
        if failures.get(region).is_some_and(|failure| failure.as_of(began).is_some()) {
            return None;
        }
        match timeout(MAX_EARLY_RENEWAL, self.ask(session, region, &mut failures)).await {
            Ok(result) => result.inspect_err(|fault| tracing::debug!(%fault, "credentials not renewed yet")).ok(),
            Err(_) => {
                note(&mut failures, region, too_slow("STS took too long to renew the credentials"));
                None
            }
        }
    }

    /// New credentials, from us or from whoever is getting them.
    async fn renew(&self, session: &Session, region: &Region) -> Result<Arc<Live>, Fault> {
        let mut failures = self.board(session).await?;
        let now = Instant::now();
        if let Some(live) = session.vault.get(now) {
            return Ok(live);
        }
        if let Some(fault) = failures.get(region).and_then(|failure| failure.as_of(now)) {
            return Err(fault);
        }
        match timeout(MAX_RENEWAL, self.ask(session, region, &mut failures)).await {
            Ok(result) => result,
            Err(_) => {
                let fault = too_slow("STS took too long to answer");
                note(&mut failures, region, fault.clone());
                Err(fault)
            }
        }
    }

    async fn board<'a>(&self, session: &'a Session) -> Result<FlightGuard<'a, Failures>, Fault> {
        timeout(MAX_RENEWAL, session.flight.lock())
            .await
            .map_err(|_| too_slow("others wait for the account's credentials already"))
    }

    async fn ask(&self, session: &Session, region: &Region, failures: &mut Failures) -> Result<Arc<Live>, Fault> {
        match become_principal(&self.base, &self.meter, &session.principal, region).await {
            Ok(proven) => {
                let live = Arc::new(Live::new(proven, Instant::now()));
                session.vault.set(Some(Arc::clone(&live)));
                failures.clear();
                Ok(live)
            }
            Err(fault) => {
                note(failures, region, fault.clone());
                Err(fault)
            }
        }
    }
}

fn note(failures: &mut Failures, region: &Region, fault: Fault) {
    let failure = Failure::after(failures.get(region), fault, Instant::now());
    failures.insert(region.clone(), failure);
}

fn too_slow(detail: &str) -> Fault {
    Fault::no_answer(Operation::AssumeRole, detail)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holds a map or an instant that is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_failures_are_asked_about_ever_less_often() {
        let now = Instant::now();
        let pauses = |code: &str, status| {
            let mut last: Option<Failure> = None;
            (0..4)
                .map(|_| {
                    let fault = Fault::from_answer(Operation::AssumeRole, code, status, "");
                    let failure = Failure::after(last.as_ref(), fault, now);
                    let pause = failure.until.duration_since(now).as_secs();
                    last = Some(failure);
                    pause
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(pauses("AccessDenied", 403), [15, 30, 60, 60]);
        assert_eq!(pauses("InternalFailure", 500), [15, 15, 15, 15]);
    }

    #[test]
    fn a_remembered_failure_says_how_long_it_stands() {
        let now = Instant::now();
        let failure = Failure::after(None, Fault::from_answer(Operation::AssumeRole, "AccessDenied", 403, "no"), now);
        let fault = failure.as_of(now + Duration::from_secs(5)).unwrap();
        assert_eq!(fault.retry_after, Some(Duration::from_secs(10)));
        assert_eq!(failure.as_of(now + Duration::from_secs(15)), None);
    }
}
