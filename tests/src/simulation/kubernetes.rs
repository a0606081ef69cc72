//! A Kubernetes API in memory: as much of it as the controller uses, with what can go wrong on the way to it.
//!
//! It speaks the API's own language over a real client, so that what the controller sends and reads is what it would
//! send to an API server. What it does not do, schemas and CEL, is proved on the real one.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use hyper::http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::fate::{Fate, Point};
use crate::Random;

/// The body of an answer.
type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// How many changes a watch can catch up with; who asks for older ones is told that they are gone.
const KEPT_CHANGES: usize = 512;

/// The kinds that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `AwsAccount`.
    Account,
    /// `VpcPosture`.
    Vpc,
    /// `RegionPosture`.
    Region,
    /// `AccountPosture`.
    AccountPosture,
    /// `Namespace`.
    Namespace,
}

impl Kind {
    fn parse(plural: &str) -> Option<Self> {
        match plural {
            "awsaccounts" => Some(Self::Account),
            "vpcpostures" => Some(Self::Vpc),
            "regionpostures" => Some(Self::Region),
            "accountpostures" => Some(Self::AccountPosture),
            "namespaces" => Some(Self::Namespace),
            _ => None,
        }
    }

    fn type_of(self) -> (&'static str, &'static str) {
        match self {
            Self::Account => ("ssmready.dev/v1alpha1", "AwsAccount"),
            Self::Vpc => ("ssmready.dev/v1alpha1", "VpcPosture"),
            Self::Region => ("ssmready.dev/v1alpha1", "RegionPosture"),
            Self::AccountPosture => ("ssmready.dev/v1alpha1", "AccountPosture"),
            Self::Namespace => ("v1", "Namespace"),
        }
    }
}

/// An object's place: kind, namespace (empty for those of the cluster), name.
pub type Id = (Kind, String, String);

/// What goes wrong between the controller and the API, each with its probability from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Trouble {
    /// A write is refused because the object has changed in between.
    pub conflict: f64,
    /// A request is answered with 500, and not carried out.
    pub error: f64,
    /// A write is carried out, and its answer lost.
    pub lost: f64,
    /// How long an answer takes at most.
    pub latency: Duration,
}

/// An event that the controller published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The object, as namespace and name.
    pub about: (String, String),
    /// The reason.
    pub reason: String,
    /// The text.
    pub note: String,
}

/// A write that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// When.
    pub at: Timestamp,
    /// What.
    pub point: Point,
    /// Of which object.
    pub id: Id,
    /// What its Ready condition says then.
    pub ready: String,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Id, Value>,
    version: u64,
    /// Changes in order: version, object, whether it is gone.
    changes: Vec<(u64, Id, Value, &'static str)>,
    forgotten: u64,
    /// Counts how often all watches were cut.
    cuts: u64,
    born: u64,
    trouble: Trouble,
    random: Random,
    told: Vec<Told>,
    written: Vec<Written>,
}

/// The API. It outlives the controller processes that use it.
#[derive(Clone)]
pub struct Kubernetes {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    now: super::Clock,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// An empty cluster.
    #[must_use]
    pub fn new(now: super::Clock, seed: u64) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            version: 1,
            changes: Vec::new(),
            forgotten: 0,
            cuts: 0,
            born: 0,
            trouble: Trouble::default(),
            random: Random::new(seed),
            told: Vec::new(),
            written: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(0), now }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong from now on.
    pub fn trouble(&self, trouble: Trouble) {
        self.lock().trouble = trouble;
    }

    /// Ends all watches; with `forget` their places are gone too, so that everything has to be listed anew.
    pub fn cut_watches(&self, forget: bool) {
        let mut state = self.lock();
        state.cuts += 1;
        if forget {
            state.changes.clear();
            state.forgotten = state.version;
        }
        drop(state);
        self.announce();
    }

    fn announce(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// One object.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<Value> {
        self.lock().objects.get(id).cloned()
    }

    /// All objects of a kind.
    #[must_use]
    pub fn all(&self, kind: Kind) -> Vec<(Id, Value)> {
        self.lock().objects.iter().filter(|(id, _)| id.0 == kind).map(|(id, o)| (id.clone(), o.clone())).collect()
    }

    /// Events published since the last time.
    #[must_use]
    pub fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut self.lock().told)
    }

    /// Every write of the controller that was carried out, in order.
    #[must_use]
    pub fn written(&self) -> Vec<Written> {
        self.lock().written.clone()
    }

    /// Creates an object, or changes what a person may change of it: spec, labels, annotations.
    pub fn apply(&self, id: &Id, labels: &BTreeMap<String, String>, spec: Value) {
        let now = (self.now)();
        let mut state = self.lock();
        let mut object = match state.objects.get(id) {
            Some(object) => object.clone(),
            None => {
                state.born += 1;
                let uid = format!("00000000-0000-0000-0000-{:012}", state.born);
                let (version, kind) = id.0.type_of();
                let mut metadata =
                    json!({ "name": id.2, "uid": uid, "generation": 0, "creationTimestamp": whole(now) });
                if !id.1.is_empty() {
                    metadata["namespace"] = json!(id.1);
                }
                let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata });
                if id.0 != Kind::Namespace {
                    object["status"] = json!({ "observedGeneration": -1 });
                }
                object
            }
        };
        object["metadata"]["labels"] = json!(labels);
        if id.0 != Kind::Namespace && object.get("spec") != Some(&spec) {
            object["spec"] = spec;
            bump(&mut object);
        }
        state.put(id, object);
        drop(state);
        self.announce();
    }

    /// Sets an annotation.
    pub fn annotate(&self, id: &Id, key: &str, value: &str) {
        self.edit(id, |object| object["metadata"]["annotations"][key] = json!(value));
    }

    /// Changes an object as nobody may over the API.
    pub fn edit(&self, id: &Id, edit: impl FnOnce(&mut Value)) {
        let mut state = self.lock();
        let Some(mut object) = state.objects.get(id).cloned() else { return };
        edit(&mut object);
        state.put(id, object);
        drop(state);
        self.announce();
    }

    /// Asks for an object to be deleted: it goes at once, or when its last finalizer is taken off.
    pub fn delete(&self, id: &Id) {
        let now = (self.now)();
        let mut state = self.lock();
        let Some(mut object) = state.objects.get(id).cloned() else { return };
        if finalizers(&object).is_empty() {
            state.remove(id);
        } else if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(whole(now));
            bump(&mut object);
            state.put(id, object);
        }
        drop(state);
        self.announce();
    }

    /// The client of one process.
    #[must_use]
    pub fn client(&self, fate: Fate) -> Client {
        let this = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (this, fate) = (this.clone(), fate.clone());
            async move { this.serve(&fate, request).await }
        });
        Client::new(service, "default")
    }

    async fn serve(&self, fate: &Fate, request: Request<Body>) -> Result<Response<Answer>, tower::BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        fate.alive().await;
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let Some(target) = Target::parse(parts.uri.path()) else {
            return Ok(refusal(StatusCode::NOT_FOUND, "NotFound", parts.uri.path()));
        };
        let watches = query.get("watch").is_some_and(|w| w == "true");
        let (trouble, roll, wait) = {
            let mut state = self.lock();
            let trouble = state.trouble;
            (trouble, state.random.unit(), trouble.latency.mul_f64(state.random.unit()))
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            fate.alive().await;
        }
        if roll < trouble.error {
            return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "the storage is away"));
        }
        if parts.method == Method::GET {
            return Ok(if watches { self.watch(target.kind(), &query) } else { self.list(&target, &query) });
        }
        let patch: Value = serde_json::from_slice(&body)?;
        let point = match &target {
            Target::Object(id, _) => target.point(&patch, self.lock().objects.get(id)),
            Target::List(..) | Target::Events => Point::Event,
        };
        fate.before(point).await;
        let conflicts = roll < trouble.error + trouble.conflict && !matches!(point, Point::Event);
        let answer = if conflicts {
            refusal(StatusCode::CONFLICT, "Conflict", "the object has been modified")
        } else {
            self.write(&target, point, &patch)
        };
        fate.after(point).await;
        if (trouble.error + trouble.conflict..trouble.error + trouble.conflict + trouble.lost).contains(&roll) {
            return Err("connection reset".into());
        }
        Ok(answer)
    }

    fn list(&self, target: &Target, query: &BTreeMap<String, String>) -> Response<Answer> {
        let state = self.lock();
        match target {
            Target::Events => refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "events are not listed"),
            Target::Object(id, _) => match state.objects.get(id) {
                Some(object) => answer(StatusCode::OK, object),
                None => refusal(StatusCode::NOT_FOUND, "NotFound", &id.2),
            },
            Target::List(kind, namespace) => {
                let namespaced = |id: &Id| namespace.as_ref().is_none_or(|n| *n == id.1);
                let after = query.get("continue").cloned().unwrap_or_default();
                let limit = query.get("limit").and_then(|l| l.parse().ok()).unwrap_or(usize::MAX);
                let mut items = Vec::new();
                let mut next = String::new();
                for (id, object) in state.objects.iter().filter(|(id, _)| id.0 == *kind && namespaced(id)) {
                    let place = format!("{}.{}", id.1, id.2);
                    if place <= after && !after.is_empty() {
                        continue;
                    }
                    if items.len() == limit {
                        next = items.last().map(|(p, _): &(String, Value)| p.clone()).unwrap_or_default();
                        break;
                    }
                    items.push((place, object.clone()));
                }
                let items: Vec<Value> = items.into_iter().map(|(_, object)| object).collect();
                let (version, kind) = kind.type_of();
                answer(
                    StatusCode::OK,
                    &json!({
                        "apiVersion": version, "kind": format!("{kind}List"),
                        "metadata": { "resourceVersion": state.version.to_string(), "continue": next },
                        "items": items,
                    }),
                )
            }
        }
    }

    fn watch(&self, kind: Option<Kind>, query: &BTreeMap<String, String>) -> Response<Answer> {
        let Some(kind) = kind else { return refusal(StatusCode::NOT_FOUND, "NotFound", "nothing to watch") };
        let from: u64 = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or_default();
        let timeout = query.get("timeoutSeconds").and_then(|t| t.parse().ok()).unwrap_or(290);
        let state = self.lock();
        if from < state.forgotten {
            let gone =
                json!({ "type": "ERROR", "object": status(StatusCode::GONE, "Expired", "too old resource version") });
            return whole_answer(format!("{gone}\n"));
        }
        let cuts = state.cuts;
        drop(state);
        let frames = self.changes(kind, from, cuts, Duration::from_secs(timeout));
        let frames = frames.map(|line| Ok::<_, Infallible>(Frame::data(Bytes::from(line))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    /// Changes of a kind after a version, line by line, until the watch ends.
    fn changes(&self, kind: Kind, from: u64, cuts: u64, timeout: Duration) -> impl Stream<Item = String> + use<> {
        let until = tokio::time::Instant::now() + timeout;
        let this = self.clone();
        let woken = self.changed.subscribe();
        stream::unfold((this, woken, from), move |(this, mut woken, from)| async move {
            loop {
                woken.borrow_and_update();
                let mut lines = String::new();
                let upto = {
                    let state = this.lock();
                    if state.cuts != cuts || from < state.forgotten {
                        return None;
                    }
                    for (_, _, object, what) in state.changes.iter().filter(|c| c.0 > from && c.1.0 == kind) {
                        lines.push_str(&json!({ "type": what, "object": object }).to_string());
                        lines.push('\n');
                    }
                    state.version
                };
                if !lines.is_empty() {
                    return Some((lines, (this, woken, upto)));
                }
                if tokio::time::timeout_at(until, woken.changed()).await.is_err() {
                    return None;
                }
            }
        })
    }

    fn write(&self, target: &Target, point: Point, patch: &Value) -> Response<Answer> {
        let now = (self.now)();
        let mut state = self.lock();
        let (id, of_status) = match target {
            Target::Events => {
                let text =
                    |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                // A patch counts one more of the same; only the first one has a reason.
                if !text("/reason").is_empty() {
                    state.told.push(Told {
                        about: (text("/regarding/namespace"), text("/regarding/name")),
                        reason: text("/reason"),
                        note: text("/note"),
                    });
                }
                return answer(StatusCode::OK, patch);
            }
            Target::List(..) => return refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "a list"),
            Target::Object(id, of_status) => (id, *of_status),
        };
        let Some(before) = state.objects.get(id).cloned() else {
            return refusal(StatusCode::NOT_FOUND, "NotFound", &id.2);
        };
        let differs =
            |field: &str| patch["metadata"].get(field).is_some_and(|v| !v.is_null() && *v != before["metadata"][field]);
        if differs("uid") || differs("resourceVersion") {
            return refusal(StatusCode::CONFLICT, "Conflict", "the object has been modified");
        }
        let mut after = before.clone();
        if of_status {
            // One manager owns the whole status: what it no longer applies is gone.
            after["status"] = without_nulls(&patch["status"]);
        } else if let Some(finalizers) = patch.pointer("/metadata/finalizers") {
            after["metadata"]["finalizers"] = finalizers.clone();
        }
        let gone = !after["metadata"]["deletionTimestamp"].is_null() && finalizers(&after).is_empty();
        state.written.push(Written { at: now, point, id: id.clone(), ready: ready(&after) });
        let stored = if gone {
            state.remove(id);
            after
        } else {
            state.put(id, after)
        };
        drop(state);
        self.announce();
        answer(StatusCode::OK, &stored)
    }
}

impl State {
    /// Stores an object. What did not change has no new version, and no watch hears of it.
    fn put(&mut self, id: &Id, mut object: Value) -> Value {
        if self.objects.get(id) == Some(&object) {
            return object;
        }
        let known = self.objects.contains_key(id);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(id.clone(), object.clone());
        self.note(id, object.clone(), if known { "MODIFIED" } else { "ADDED" });
        object
    }

    fn remove(&mut self, id: &Id) {
        if let Some(mut object) = self.objects.remove(id) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.note(id, object, "DELETED");
        }
    }

    fn note(&mut self, id: &Id, object: Value, what: &'static str) {
        self.changes.push((self.version, id.clone(), object, what));
        if self.changes.len() > KEPT_CHANGES {
            let old = self.changes.drain(..KEPT_CHANGES / 2).next_back();
            self.forgotten = old.map_or(self.forgotten, |c| c.0);
        }
    }
}

/// What a request is about.
#[derive(Debug)]
enum Target {
    List(Kind, Option<String>),
    /// An object, or its status.
    Object(Id, bool),
    Events,
}

impl Target {
    fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        Some(match parts.as_slice() {
            ["api", "v1", "namespaces"] => Self::List(Kind::Namespace, None),
            ["apis", "events.k8s.io", "v1", "namespaces", _, "events", ..] => Self::Events,
            ["apis", "ssmready.dev", "v1alpha1", "namespaces", namespace, plural] => {
                Self::List(Kind::parse(plural)?, Some((*namespace).to_owned()))
            }
            ["apis", "ssmready.dev", "v1alpha1", "namespaces", namespace, plural, name, rest @ ..] => {
                Self::Object((Kind::parse(plural)?, (*namespace).to_owned(), (*name).to_owned()), rest == ["status"])
            }
            ["apis", "ssmready.dev", "v1alpha1", plural] => Self::List(Kind::parse(plural)?, None),
            ["apis", "ssmready.dev", "v1alpha1", plural, name, rest @ ..] => {
                Self::Object((Kind::parse(plural)?, String::new(), (*name).to_owned()), rest == ["status"])
            }
            _ => return None,
        })
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Self::List(kind, _) => Some(*kind),
            Self::Object(id, _) => Some(id.0),
            Self::Events => None,
        }
    }

    /// What a write is, with the object as it is stored.
    fn point(&self, patch: &Value, stored: Option<&Value>) -> Point {
        let Self::Object((kind, ..), of_status) = self else { return Point::Event };
        if *of_status {
            // What is noted before a write leaves the conditions as they are.
            let conditions = |object: &Value| object["status"]["conditions"].clone();
            let notes = stored.is_some_and(|stored| {
                let status = without_nulls(&patch["status"]);
                conditions(stored) == conditions(&json!({ "status": &status })) && status != stored["status"]
            });
            return match (kind, notes) {
                (Kind::Account, _) => Point::AccountStatus,
                (Kind::Region, true) => Point::RegionNote,
                (Kind::Region, false) => Point::RegionStatus,
                (Kind::AccountPosture, true) => Point::RolesNote,
                (Kind::AccountPosture, false) => Point::RolesStatus,
                (Kind::Vpc | Kind::Namespace, _) => Point::VpcStatus,
            };
        }
        let on = patch.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
        match (kind, on) {
            (Kind::Account, true) => Point::AccountFinalizerOn,
            (Kind::Account, false) => Point::AccountFinalizerOff,
            (Kind::Region, true) => Point::RegionFinalizerOn,
            (Kind::Region, false) => Point::RegionFinalizerOff,
            (Kind::AccountPosture, true) => Point::RolesFinalizerOn,
            (Kind::AccountPosture, false) => Point::RolesFinalizerOff,
            (Kind::Vpc | Kind::Namespace, true) => Point::VpcFinalizerOn,
            (Kind::Vpc | Kind::Namespace, false) => Point::VpcFinalizerOff,
        }
    }
}

fn ready(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|c| c["type"] == "Ready");
    ready.map_or_else(String::new, |c| format!("Ready={} {}: {}", c["status"], c["reason"], c["message"]))
}

fn finalizers(object: &Value) -> BTreeSet<String> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|f| f.as_str().map(str::to_owned)).collect()
}

fn bump(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    object["metadata"]["generation"] = json!(generation + 1);
}

/// Kubernetes keeps whole seconds.
fn whole(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// In JSON that is applied, null is the same as absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept: Map<String, Value> =
                map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect();
            Value::Object(kept)
        }
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn status(code: StatusCode, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": message,
    })
}

fn refusal(code: StatusCode, reason: &str, message: &str) -> Response<Answer> {
    answer(code, &status(code, reason, message))
}

fn answer(code: StatusCode, body: &Value) -> Response<Answer> {
    let mut response = whole_answer(body.to_string());
    *response.status_mut() = code;
    response
}

fn whole_answer(text: String) -> Response<Answer> {
    Response::new(Full::new(Bytes::from(text)).boxed_unsync())
}
