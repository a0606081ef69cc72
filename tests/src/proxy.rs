//! What lies between a controller and its API server, and can fail: connections that are cut or go silent, requests
//! that are refused, answers that are lost.
//!
//! It speaks plain HTTP to the controller and passes its token on, so that permissions are those of the controller.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use kube::config::AuthInfo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::ApiServer;
use crate::random::Random;

/// How things are.
#[derive(Debug, Clone, Copy)]
struct State {
    way: Way,
    /// The number of the first connection that is not dead.
    alive_from: u64,
}

impl State {
    fn lets_through(self, connection: u64) -> bool {
        self.way == Way::Open && connection >= self.alive_from
    }
}

/// How the way to the API server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections stay, and nothing comes through.
    Silent,
    /// Connections are closed, and new ones too.
    Cut,
}

/// What is done to some requests instead of, or after, passing them on.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// Of this method alone.
    pub method: Option<&'static str>,
    /// Where the path ends so.
    pub path_end: &'static str,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Kubernetes' own word for it, such as `Conflict`.
    pub reason: &'static str,
    /// Of so many in a hundred.
    pub percent: u32,
    /// The request is carried out all the same: the answer is what is lost.
    pub carried_out: bool,
}

struct Inner {
    upstream: Client,
    state: watch::Sender<State>,
    connections: AtomicU64,
    refusals: Mutex<Refusals>,
}

struct Refusals {
    rules: Vec<(Refusal, u32)>,
    random: Random,
}

type Answer = Response<UnsyncBoxBody<Bytes, anyhow::Error>>;

/// A proxy that runs in the test's own runtime. It ends with this value.
pub struct Proxy {
    inner: Arc<Inner>,
    url: String,
    task: AbortHandle,
}

impl Proxy {
    /// Starts one on a free port of 127.0.0.1. What happens by chance follows from the seed.
    pub async fn start(server: &ApiServer, seed: u64) -> Result<Self> {
        let mut config = server.admin_config();
        config.auth_info = AuthInfo::default();
        config.default_retry = false;
        let inner = Arc::new(Inner {
            upstream: Client::try_from(config)?,
            state: watch::channel(State { way: Way::Open, alive_from: 0 }).0,
            connections: AtomicU64::new(0),
            refusals: Mutex::new(Refusals { rules: Vec::new(), random: Random::new(seed) }),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the proxy found no port")?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(accept(listener, inner.clone())).abort_handle();
        Ok(Self { inner, url, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes all connections, and new ones at once, until it is opened again.
    pub fn cut(&self) {
        self.set(Way::Cut);
    }

    /// Keeps connections, and lets nothing through, until it is opened again.
    pub fn silence(&self) {
        self.set(Way::Silent);
    }

    /// Lets everything through, in silenced connections too.
    pub fn open(&self) {
        self.set(Way::Open);
    }

    /// Lets nothing through any more in the connections that there are, and does not close them: as when a machine in
    /// between has gone. New ones are not concerned.
    pub fn strand(&self) {
        let alive_from = self.inner.connections.load(Ordering::Relaxed);
        self.inner.state.send_modify(|state| state.alive_from = alive_from);
    }

    fn set(&self, way: Way) {
        self.inner.state.send_modify(|state| state.way = way);
    }

    /// Refuses some requests from now on.
    pub fn refuse(&self, rules: &[Refusal]) {
        self.refusals().rules = rules.iter().map(|rule| (*rule, 0)).collect();
    }

    /// Refuses nothing any more. How many requests each rule met.
    #[must_use]
    pub fn refuse_nothing(&self) -> Vec<u32> {
        self.refusals().rules.drain(..).map(|(_, hits)| hits).collect()
    }

    fn refusals(&self) -> std::sync::MutexGuard<'_, Refusals> {
        self.inner.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, inner.clone()));
    }
}

async fn connection(stream: TcpStream, inner: Arc<Inner>) {
    let number = inner.connections.fetch_add(1, Ordering::Relaxed);
    let mut state = inner.state.subscribe();
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let inner = inner.clone();
        async move { exchange(&inner, number, request).await }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = served => {}
        _ = state.wait_for(|state| state.way == Way::Cut) => {}
    }
}

async fn exchange(inner: &Inner, connection: u64, request: Request<Incoming>) -> Result<Answer> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    passable(inner.state.subscribe(), connection).await;
    let refusal = strike(inner, &parts.method, parts.uri.path());
    if let Some(refusal) = refusal.filter(|refusal| !refusal.carried_out) {
        return Ok(refused(&refusal));
    }
    let answer = inner.upstream.send(Request::from_parts(parts, Body::from(body.to_vec()))).await?;
    if let Some(refusal) = refusal {
        return Ok(refused(&refusal));
    }
    let (mut parts, body) = answer.into_parts();
    // Of one connection each.
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TRANSFER_ENCODING);
    let state = inner.state.subscribe();
    let frames = body.into_data_stream().then(move |piece| {
        let state = state.clone();
        async move {
            passable(state, connection).await;
            piece.map(Frame::data).map_err(|error| anyhow!(error))
        }
    });
    Ok(Response::from_parts(parts, StreamBody::new(frames).boxed_unsync()))
}

/// Returns when something can come through. The connection itself ends where it is cut.
async fn passable(mut state: watch::Receiver<State>, connection: u64) {
    let _ = state.wait_for(|state| state.lets_through(connection)).await;
}

fn strike(inner: &Inner, method: &Method, path: &str) -> Option<Refusal> {
    let mut refusals = inner.refusals.lock().unwrap_or_else(PoisonError::into_inner);
    let Refusals { rules, random } = &mut *refusals;
    for (rule, hits) in rules {
        let meant = rule.method.is_none_or(|wanted| method == wanted) && path.ends_with(rule.path_end);
        if meant && random.below(100) < u64::from(rule.percent) {
            *hits += 1;
            return Some(*rule);
        }
    }
    None
}

/// An answer in the API server's own form.
fn refused(refusal: &Refusal) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused by the test", "reason": refusal.reason, "code": refusal.status,
    });
    let body = Full::from(status.to_string()).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
    use kube::Api;
    use kube::api::{ObjectMeta, PostParams, WatchEvent, WatchParams};

    use super::*;

    fn config_map(name: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Default::default()
        }
    }

    type Seen<'a> = futures::stream::BoxStream<'a, kube::Result<WatchEvent<ConfigMap>>>;

    /// The name of the next object that is new, or what else comes, within so long.
    async fn within(wait: Duration, seen: &mut Seen<'_>) -> Option<String> {
        match tokio::time::timeout(wait, seen.next()).await {
            Ok(Some(Ok(WatchEvent::Added(map)))) => map.metadata.name,
            Ok(other) => Some(format!("{other:?}")),
            Err(_) => None,
        }
    }

    async fn next(seen: &mut Seen<'_>) -> String {
        within(Duration::from_mins(1), seen).await.expect("the watch does not tell")
    }

    async fn silent(seen: &mut Seen<'_>) {
        assert_eq!(within(Duration::from_secs(2), seen).await, None, "silent");
    }

    #[tokio::test]
    async fn it_passes_on_goes_silent_cuts_and_refuses() {
        let server = ApiServer::start().await.unwrap();
        let proxy = Proxy::start(&server, 1).await.unwrap();
        let through = || {
            let mut config = server.admin_config();
            config.cluster_url = proxy.url().parse().unwrap();
            config.default_retry = false;
            Client::try_from(config).unwrap()
        };
        let maps: Api<ConfigMap> = Api::namespaced(through(), "default");
        let direct: Api<ConfigMap> = Api::namespaced(server.admin_client().unwrap(), "default");
        // The server sends bookmarks when it likes.
        let changes = WatchParams::default().disable_bookmarks();

        // With the caller's own token, and as a stream.
        let mut seen = maps.watch(&changes, "0").await.unwrap().boxed();
        maps.create(&PostParams::default(), &config_map("one")).await.unwrap();
        // The server may have some of its own.
        while next(&mut seen).await != "one" {}

        proxy.silence();
        direct.create(&PostParams::default(), &config_map("two")).await.unwrap();
        silent(&mut seen).await;
        proxy.open();
        assert_eq!(next(&mut seen).await, "two");

        proxy.cut();
        let ended = next(&mut seen).await;
        assert!(!ended.contains("ConfigMap"), "{ended}");
        maps.get("one").await.unwrap_err();
        proxy.open();
        maps.get("one").await.unwrap();

        // A connection that is in use dies, and is not closed; a new one does not die.
        let version = maps.get("two").await.unwrap().metadata.resource_version.unwrap();
        let mut seen = maps.watch(&changes, &version).await.unwrap().boxed();
        proxy.strand();
        direct.create(&PostParams::default(), &config_map("three")).await.unwrap();
        silent(&mut seen).await;
        let client = through();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        let mut seen = maps.watch(&changes, &version).await.unwrap().boxed();
        assert_eq!(next(&mut seen).await, "three");

        let rule = Refusal {
            method: Some("POST"),
            path_end: "/configmaps",
            status: 409,
            reason: "Conflict",
            percent: 100,
            carried_out: true,
        };
        proxy.refuse(&[rule]);
        let error = maps.create(&PostParams::default(), &config_map("four")).await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.is_conflict()), "{error}");
        Api::<Namespace>::all(client).list(&Default::default()).await.unwrap();
        assert_eq!(proxy.refuse_nothing(), [1]);
        direct.get("four").await.unwrap();
    }
}
