//! The probes and the metrics, over plain HTTP; the metrics over HTTPS where that is asked for.
//!
//! Liveness depends on nothing but the process: a controller that is restarted because AWS or the API server is away
//! comes back into the same trouble, without its caches. Readiness says that the start is over.

mod scrapers;
mod tls;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::scrapers::{Answer, Scrapers};
use self::tls::{Certificate, TlsListener};
use crate::metrics::{CONTENT_TYPE, Metrics};

/// How long a request that is under way may hold up the shutdown.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindAddress {
    /// Nowhere: the server is off.
    Off,
    /// On this port of every address, IPv6 and IPv4.
    Everywhere(u16),
    /// On this address only.
    At(SocketAddr),
}

/// A text that is no [`BindAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "give an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080, \":8080\" for all addresses, or \"0\" to switch it off"
)]
pub struct BindAddressError;

impl FromStr for BindAddress {
    type Err = BindAddressError;

    fn from_str(text: &str) -> Result<Self, BindAddressError> {
        match text.trim() {
            "" | "0" => Ok(Self::Off),
            text => match text.strip_prefix(':') {
                Some(port) => port.parse().map(Self::Everywhere).map_err(|_| BindAddressError),
                None => text.parse().map(Self::At).map_err(|_| BindAddressError),
            },
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("0"),
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl BindAddress {
    async fn listen(self) -> std::io::Result<Option<TcpListener>> {
        let address = match self {
            Self::Off => return Ok(None),
            Self::At(address) => address,
            Self::Everywhere(port) => {
                // The IPv6 socket takes IPv4 too, unless the node has no IPv6 at all.
                if let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
                    return Ok(Some(listener));
                }
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
            }
        };
        TcpListener::bind(address).await.map(Some)
    }
}

/// What the start still waits for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    closed: Arc<Mutex<Vec<&'static str>>>,
}

impl Readiness {
    /// Nothing to wait for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something more to wait for; the name is what the probe answers. Take all gates before the server runs: without
    /// one it answers ready. A gate that is dropped stays closed.
    #[must_use]
    pub fn gate(&self, name: &'static str) -> Gate {
        self.with(|closed| closed.push(name));
        Gate { name, readiness: self.clone() }
    }

    /// The gates that are still closed, in the order in which they were taken.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.with(|closed| closed.clone())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<&'static str>) -> T) -> T {
        look(&mut self.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self) -> (StatusCode, String) {
        let missing = self.missing();
        if missing.is_empty() {
            (StatusCode::OK, "ok\n".to_owned())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready, waiting for: {}\n", missing.join(", ")))
        }
    }
}

/// One thing that has to happen before the process is ready.
#[derive(Debug)]
pub struct Gate {
    name: &'static str,
    readiness: Readiness,
}

impl Gate {
    /// It has happened.
    pub fn open(self) {
        tracing::debug!(gate = self.name, "ready");
        self.readiness.with(|closed| {
            if let Some(place) = closed.iter().position(|name| *name == self.name) {
                closed.remove(place);
            }
        });
    }
}

/// Where a server's connections come from.
#[derive(Debug)]
enum Connections {
    Plain(TcpListener),
    Tls(TlsListener),
}

/// How metrics are kept from others: over HTTPS, and only to those whom the API server lets read them.
#[derive(Debug)]
pub struct Secured {
    certificate: Certificate,
    scrapers: Scrapers,
}

impl Secured {
    /// With the certificate of a folder (`tls.crt`, `tls.key`), or one that is made in memory, and by what the API server
    /// says to this client.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn new(folder: Option<PathBuf>, client: kube::Client) -> anyhow::Result<Self> {
        let certificate = Certificate::new(folder).context("the certificate of --metrics-cert-dir")?;
        Ok(Self { certificate, scrapers: Scrapers::new(client) })
    }
}

/// A server that listens, and answers once it is run.
#[derive(Debug)]
pub struct Server {
    what: &'static str,
    address: SocketAddr,
    connections: Connections,
    router: Router,
}

impl Server {
    /// Listens for probes: `/healthz` and `/readyz`. `None` if it is switched off.
    pub async fn health(bind: BindAddress, readiness: Readiness) -> anyhow::Result<Option<Self>> {
        let router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(async move || readiness.answer()));
        Self::listen("health", bind, router, None).await
    }

    /// Listens for scrapes: `/metrics`, to everybody unless it is `secured`. `None` if it is switched off.
    pub async fn metrics(
        bind: BindAddress,
        metrics: Arc<Metrics>,
        secured: Option<Secured>,
    ) -> anyhow::Result<Option<Self>> {
        let text = move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.encode()).into_response();
        let Some(Secured { certificate, scrapers }) = secured else {
            let router = Router::new().route("/metrics", get(async move || text()));
            return Self::listen("metrics", bind, router, None).await;
        };
        let scrapers = Arc::new(scrapers);
        let answer = async move |headers: HeaderMap| match scrapers.judge(&headers).await {
            Answer::Allowed => text(),
            refusal => refused(refusal),
        };
        Self::listen("metrics", bind, Router::new().route("/metrics", get(answer)), Some(certificate)).await
    }

    async fn listen(
        what: &'static str,
        bind: BindAddress,
        router: Router,
        certificate: Option<Certificate>,
    ) -> anyhow::Result<Option<Self>> {
        let failed = || format!("cannot listen on {bind}; choose another address with --{what}-bind-address");
        let Some(listener) = bind.listen().await.with_context(failed)? else {
            tracing::info!(server = what, "not listening: switched off");
            return Ok(None);
        };
        let address = listener.local_addr().with_context(failed)?;
        tracing::info!(server = what, %address, tls = certificate.is_some(), "listening");
        let connections = match certificate {
            Some(certificate) => Connections::Tls(TlsListener::new(listener, certificate)?),
            None => Connections::Plain(listener),
        };
        Ok(Some(Self { what, address, connections, router }))
    }

    /// Where it listens; tells the port that was chosen for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`. Then it takes no more connections, and waits a moment for requests under way.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { connections, router, .. } = self;
        let stopped = shutdown.clone().cancelled_owned();
        let serving = async {
            match connections {
                Connections::Plain(plain) => axum::serve(plain, router).with_graceful_shutdown(stopped).await,
                Connections::Tls(tls) => axum::serve(tls, router).with_graceful_shutdown(stopped).await,
            }
        };
        let too_late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = serving => served.with_context(|| format!("the {} server ended", self.what)),
            () = too_late => Ok(()),
        }
    }
}

/// What somebody gets who does not get the metrics; it says no more than that.
fn refused(answer: Answer) -> Response {
    match answer {
        Answer::Unknown => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "unauthorized\n").into_response()
        }
        Answer::Forbidden => (StatusCode::FORBIDDEN, "forbidden\n").into_response(),
        Answer::Allowed | Answer::Unanswered => (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    const ANY_PORT: BindAddress = BindAddress::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

    async fn request(address: SocketAddr, path: &'static str) -> String {
        let blocking = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        tokio::task::spawn_blocking(blocking).await.unwrap()
    }

    fn parts(answer: &str) -> (&str, &str) {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap(), body)
    }

    #[tokio::test]
    async fn probes_answer_from_the_start_and_readiness_says_what_is_missing() {
        let readiness = Readiness::new();
        let (caches, crds) = (readiness.gate("caches"), readiness.gate("crds"));
        let shutdown = CancellationToken::new();
        let server = Server::health(ANY_PORT, readiness.clone()).await.unwrap().unwrap();
        let address = server.address();
        assert_ne!(address.port(), 0);
        let serving = tokio::spawn(server.run(shutdown.clone()));

        assert_eq!(parts(&request(address, "/healthz").await), ("200", "ok\n"));
        let steps = [("503", "not ready, waiting for: caches, crds\n"), ("503", "not ready, waiting for: crds\n")];
        assert_eq!(parts(&request(address, "/readyz").await), steps[0]);
        caches.open();
        assert_eq!(parts(&request(address, "/readyz").await), steps[1]);
        crds.open();
        assert_eq!(parts(&request(address, "/readyz").await), ("200", "ok\n"));
        assert_eq!(parts(&request(address, "/metrics").await).0, "404");

        shutdown.cancel();
        serving.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_dropped_gate_stays_closed() {
        let readiness = Readiness::new();
        drop(readiness.gate("lease"));
        readiness.gate("caches").open();
        assert_eq!(readiness.missing(), ["lease"]);
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let server = Server::metrics(ANY_PORT, Arc::new(Metrics::new("1.2.3")), None).await.unwrap().unwrap();
        let address = server.address();
        tokio::spawn(server.run(CancellationToken::new()));
        let answer = request(address, "/metrics").await;
        let (status, body) = parts(&answer);
        assert_eq!(status, "200");
        assert!(answer.to_ascii_lowercase().contains(&format!("content-type: {CONTENT_TYPE}\r\n")), "{answer}");
        assert!(body.contains("ssm_ready_build_info{version=\"1.2.3\"} 1\n"), "{body}");
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_does_not_hold_up_the_shutdown() {
        let shutdown = CancellationToken::new();
        let server = Server::health(ANY_PORT, Readiness::new()).await.unwrap().unwrap();
        let address = server.address();
        let serving = tokio::spawn(server.run(shutdown.clone()));
        let mut silent = TcpStream::connect(address).unwrap();
        silent.write_all(b"GET /healthz HTT").unwrap();
        // A full answer to another client shows that the server has seen the first one.
        request(address, "/healthz").await;
        shutdown.cancel();
        tokio::time::timeout(4 * DRAIN, serving).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_server_can_be_off_and_a_taken_port_is_named() {
        assert!(Server::health(BindAddress::Off, Readiness::new()).await.unwrap().is_none());
        let first = Server::health(ANY_PORT, Readiness::new()).await.unwrap().unwrap();
        let error = Server::health(BindAddress::At(first.address()), Readiness::new()).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(&first.address().to_string()) && error.contains("--health-bind-address"), "{error}");
    }

    #[tokio::test]
    async fn everywhere_takes_ipv4_too() {
        let server = Server::health(BindAddress::Everywhere(0), Readiness::new()).await.unwrap().unwrap();
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), server.address().port());
        tokio::spawn(server.run(CancellationToken::new()));
        assert_eq!(parts(&request(address, "/healthz").await).0, "200");
    }

    #[test]
    fn addresses_are_read() {
        let at = |text: &str| Ok(BindAddress::At(text.parse().unwrap()));
        let cases = [
            ("", Ok(BindAddress::Off)),
            ("0", Ok(BindAddress::Off)),
            (":8080", Ok(BindAddress::Everywhere(8080))),
            ("127.0.0.1:0", at("127.0.0.1:0")),
            ("[::]:8081", at("[::]:8081")),
            ("8080", Err(BindAddressError)),
            ("localhost:8080", Err(BindAddressError)),
            (":99999", Err(BindAddressError)),
        ];
        for (text, expected) in cases {
            let read = text.parse::<BindAddress>();
            assert_eq!(read, expected, "{text:?}");
            if let Ok(address) = read {
                assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
