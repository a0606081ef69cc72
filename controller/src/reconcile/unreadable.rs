//! Objects that our types cannot read: stored by another version of the definitions, or by hand. They say so, and all
//! else stays as it is: what an object made in AWS may still be needed, and its finalizer guards it.

use std::{fmt::Debug, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Resource, ResourceExt,
    api::ApiResource,
    core::{DeserializeGuard, DynamicObject, PartialObjectMeta, PartialObjectMetaExt},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use ssm_ready_core::{
    fault::truncate,
    reason::Reason,
    report::{self, refused},
};
use ssm_ready_crds::{ABANDON, FINALIZER, condition};

use super::Next;
use crate::{
    context::{Context, Key},
    kube_io::{event, set_finalizer, write_raw_status},
    posture::Posture,
    status::merge_conditions,
};

/// The most that is repeated of what the reader said, in characters, so that there is room for what to do about it.
const MAX_WHY: usize = 400;

/// Says in the object's conditions that it cannot be read, unless they do.
pub(super) async fn say<K>(ctx: &Context, key: &Key, object: &DeserializeGuard<K>) -> kube::Result<Next>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    ctx.places.unfollow(key);
    let api = dynamic_api::<K>(ctx, key);
    // The cache holds no more of it than its metadata.
    let Some(stored) = api.get_opt(key.name()).await? else { return Ok(Next::Await) };
    let Ok(whole) = serde_json::to_value(&stored).map(without_secrets) else { return Ok(Next::Await) };
    let Some(why) = why::<K>(&whole) else {
        // Put right in between: the watch is about to tell of it.
        return Ok(Next::After(Duration::from_secs(1)));
    };
    tracing::error!(why, "the stored object cannot be read; it was written by another version, or by hand");
    let message = message(&why, object.meta().deletion_timestamp.is_some());
    let report = refused(Reason::StoredObjectUnreadable, &message, Duration::ZERO);
    let generation = stored.metadata.generation.unwrap_or_default();
    if let Some(status) = status(&stored.data["status"], &conditions(key, report.conditions), generation, ctx.now()) {
        write_raw_status(ctx, &api, &stored, key.kind(), &status).await?;
        let said = |c: &Condition| c.type_ == condition::READY && c.reason == Reason::StoredObjectUnreadable.as_str();
        if !conditions_of(&stored.data["status"]).iter().any(said) {
            event(ctx, object, key.kind(), true, Reason::StoredObjectUnreadable, &message).await;
        }
    }
    Ok(Next::of(report.waits, None))
}

/// A posture that cannot be read: when it is being deleted, it goes only on request.
pub(super) async fn posture<P: Posture>(ctx: &Context, key: &Key, object: &DeserializeGuard<P>) -> kube::Result<Next> {
    if object.meta().deletion_timestamp.is_none() {
        return say(ctx, key, object).await;
    }
    if !object.finalizers().iter().any(|f| f == FINALIZER) {
        ctx.forget(key);
        return Ok(Next::Await);
    }
    if !object.annotations().contains_key(ABANDON) {
        return say(ctx, key, object).await;
    }
    let stored = dynamic_api::<P>(ctx, key).get_opt(key.name()).await?;
    let left = stored.map(|stored| P::left_behind(&stored.data["status"])).unwrap_or_default().join(", ");
    let note = format!("abandoned on request: {left}");
    event(ctx, object, P::KIND, true, Reason::LeftBehind, &note).await;
    tracing::warn!(left, "left behind in AWS by an object that cannot be read");
    let api: Api<PartialObjectMeta<P>> = Api::namespaced(ctx.client.clone(), key.namespace().unwrap_or_default());
    let metadata = object.meta().clone().into_response_partial::<P>();
    set_finalizer(ctx, &api, &metadata, P::KIND, FINALIZER, false).await?;
    ctx.forget(key);
    Ok(Next::Await)
}

fn dynamic_api<K: Resource<DynamicType = ()>>(ctx: &Context, key: &Key) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    match key.namespace() {
        Some(namespace) => Api::namespaced_with(ctx.client.clone(), namespace, &resource),
        None => Api::all_with(ctx.client.clone(), &resource),
    }
}

fn message(why: &str, deleting: bool) -> String {
    let waits = if deleting {
        format!("; its deletion waits for that, or for the annotation {ABANDON}=true, which leaves behind what it made")
    } else {
        String::new()
    };
    format!(
        "the stored object cannot be read by this version of ssm-ready: {}. Correct that, or run the version that wrote it; until then nothing is done for it, and what it made stays{waits}",
        truncate(why, MAX_WHY)
    )
}

/// What is wrong with an object, with the field where it can be told; none if it can be read.
fn why<K: DeserializeOwned>(object: &Value) -> Option<String> {
    let error = serde_json::from_value::<K>(object.clone()).err()?;
    // JSON is YAML, and the reader of YAML says where it is.
    let Some(placed) = serde_yaml::from_str::<K>(&object.to_string()).err() else { return Some(error.to_string()) };
    let placed = placed.to_string();
    Some(placed.rsplit_once(" at line ").map_or(placed.as_str(), |(what, _)| what).to_owned())
}

/// Readers repeat what they do not like.
fn without_secrets(mut object: Value) -> Value {
    fn hide(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    if key == "externalId" { *value = blank(value) } else { hide(value) }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(hide),
            _ => {}
        }
    }
    // Of the same type, or the reader would not stumble over it.
    fn blank(value: &Value) -> Value {
        match value {
            Value::String(_) => "hidden".into(),
            Value::Number(_) => 0.into(),
            Value::Bool(_) => false.into(),
            Value::Array(_) => Value::Array(Vec::new()),
            Value::Object(_) => Value::Object(Map::new()),
            Value::Null => Value::Null,
        }
    }
    hide(&mut object);
    object
}

/// Those that its kind has: nothing is said of the account of a posture.
fn conditions(key: &Key, mut all: Vec<report::Condition>) -> Vec<report::Condition> {
    let posture = !matches!(key, Key::Account(_));
    all.retain(|c| match c.kind {
        condition::READY | condition::STALLED => true,
        condition::COMPLIANT => posture,
        _ => false,
    });
    all
}

fn conditions_of(status: &Value) -> Vec<Condition> {
    let all = status["conditions"].as_array().into_iter().flatten();
    all.filter_map(|one| serde_json::from_value(one.clone()).ok()).collect()
}

/// The stored status with new conditions; none if it has them. All that it remembers stays, read or not.
fn status(stored: &Value, new: &[report::Condition], generation: i64, now: Timestamp) -> Option<Value> {
    let old = conditions_of(stored);
    let conditions = merge_conditions(&old, new, &[], generation, now);
    let says_so = old == conditions
        && stored["conditions"].as_array().map_or(0, Vec::len) == old.len()
        && stored["observedGeneration"] == generation
        && stored.get("plan").is_none();
    if says_so {
        return None;
    }
    let mut status = stored.as_object().cloned().unwrap_or_default();
    status.remove("plan");
    status.insert("observedGeneration".to_owned(), generation.into());
    status.insert("conditions".to_owned(), serde_json::to_value(conditions).ok()?);
    Some(status.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use ssm_ready_crds::{AwsAccount, VpcPosture};

    use super::*;
    use crate::documents::{account_status, documents, vpc_status};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn vpc() -> Key {
        Key::Vpc("team".into(), "main".into())
    }

    fn new(key: &Key, why: &str) -> Vec<report::Condition> {
        let report = refused(Reason::StoredObjectUnreadable, &message(why, false), Duration::ZERO);
        conditions(key, report.conditions)
    }

    fn posture_with(place: &str, value: Value) -> Value {
        let mut object = documents("VpcPosture").into_iter().find(|o| o["metadata"]["name"] == "valid-full").unwrap();
        object["status"] = vpc_status();
        *object.pointer_mut(place).unwrap() = value;
        object
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_field() {
        for (place, value, parts) in [
            ("/spec/mode", json!("Audit"), ["spec.mode", "`Audit`"]),
            ("/spec/interval", json!("soon"), ["spec.interval", "\"soon\""]),
            ("/spec/endpoints/services/2/service", json!("s4"), ["spec.endpoints.services[2].service", "`s4`"]),
            ("/status/endpoints/1/ownership", json!("Shared"), ["status.endpoints[1].ownership", "`Shared`"]),
            ("/spec/suspend", json!("no"), ["spec.suspend", "a boolean"]),
            ("/spec/target", json!({}), ["spec.target", "missing field"]),
            // Where YAML is less strict, it is named without its place.
            ("/spec/target/region", json!(7), ["integer `7`", "a string"]),
        ] {
            let why = why::<VpcPosture>(&posture_with(place, value)).unwrap();
            assert!(parts.iter().all(|part| why.contains(part)) && !why.contains(" at line"), "{why}");
        }
        assert_eq!(why::<VpcPosture>(&posture_with("/spec/mode", json!("Observe"))), None);
    }

    #[test]
    fn no_external_id_is_repeated() {
        let full = || documents("AwsAccount").into_iter().find(|o| o["metadata"]["name"] == "valid-full").unwrap();
        for place in ["/spec/assumeRole/externalId", "/spec/assumeRole/chain/0/externalId"] {
            for id in [json!(73_137_313), json!(["tenant-73137313"]), json!({ "value": "tenant-73137313" })] {
                let mut object = full();
                *object.pointer_mut(place).unwrap() = id.clone();
                let why = why::<AwsAccount>(&without_secrets(object)).unwrap_or_default();
                assert!(!why.contains("73137313") && why.contains("invalid type"), "{id}: {why}");
            }
        }
        assert_eq!(why::<AwsAccount>(&without_secrets(full())), None);
    }

    #[test]
    fn what_is_remembered_stays_and_the_rest_says_so_once() {
        let mut stored = vpc_status();
        stored["endpoints"][0]["ownership"] = json!("Shared");
        stored["newer"] = json!({ "a": 1 });
        let said = status(&stored, &new(&vpc(), "spec.mode: what"), 4, at(9)).unwrap();
        for kept in ["accountId", "vpc", "endpoints", "securityGroup", "drift", "deletion", "newer", "observedSpecHash"]
        {
            assert_eq!(said[kept], stored[kept], "{kept}");
        }
        assert_eq!((&said["observedGeneration"], said.get("plan")), (&json!(4), None));
        let told: Vec<_> = conditions_of(&said).into_iter().map(|c| (c.type_, c.status, c.reason)).collect();
        let expected = [("Ready", "False"), ("Compliant", "Unknown"), ("Stalled", "True")]
            .map(|(kind, status)| (kind.to_owned(), status.to_owned(), "StoredObjectUnreadable".to_owned()));
        assert_eq!(told, expected);
        assert!(conditions_of(&said).iter().all(|c| c.observed_generation == Some(4)));
        // Ready was False before, so nothing happened to it.
        assert_ne!(conditions_of(&said)[0].last_transition_time.0, at(9));

        assert_eq!(status(&said, &new(&vpc(), "spec.mode: what"), 4, at(20)), None, "said already");
        let edited = status(&said, &new(&vpc(), "spec.mode: what"), 5, at(20)).unwrap();
        assert_eq!(edited["observedGeneration"], 5);
        let other = status(&said, &new(&vpc(), "spec.interval: what"), 4, at(20)).unwrap();
        assert!(conditions_of(&other)[0].message.contains("spec.interval"));
    }

    #[test]
    fn a_status_that_is_no_status_is_replaced() {
        for stored in
            [json!(null), json!("x"), json!({ "conditions": "x" }), json!({ "conditions": [{ "type": 1 }, 7] })]
        {
            let said = status(&stored, &new(&vpc(), "what"), 1, at(1)).unwrap();
            assert_eq!(conditions_of(&said).len(), 3, "{stored}");
            assert_eq!(status(&said, &new(&vpc(), "what"), 1, at(2)), None, "{stored}");
        }
    }

    #[test]
    fn an_account_says_less() {
        let said = status(&account_status(), &new(&Key::Account("prod".into()), "what"), 1, at(1)).unwrap();
        let kinds: Vec<_> = conditions_of(&said).into_iter().map(|c| c.type_).collect();
        assert_eq!(kinds, ["Ready", "Stalled"]);
        assert_eq!(said["usedBy"], 7);
    }

    #[test]
    fn the_message_is_bounded_and_says_what_to_do() {
        for deleting in [false, true] {
            let report = refused(Reason::StoredObjectUnreadable, &message(&"x".repeat(5000), deleting), Duration::ZERO);
            let message = &report.conditions[0].message;
            assert!(message.chars().count() <= 900 && message.contains("Correct that"), "{message}");
            assert_eq!(message.contains(ABANDON), deleting, "{message}");
            assert!(!message.ends_with('…'), "{message}");
        }
    }

    #[test]
    fn what_is_left_behind_is_told_from_any_status() {
        assert_eq!(VpcPosture::left_behind(&vpc_status()), ["sg-0a1b2c3d", "vpce-0a1b2c3d4e5f60718"]);
        let mut status = vpc_status();
        status["endpoints"][0]["ownership"] = json!("Shared");
        status["endpoints"][1]["endpointId"] = json!("vpce-of-others");
        status["securityGroup"] = json!(7);
        assert_eq!(VpcPosture::left_behind(&status), ["vpce-0a1b2c3d4e5f60718"]);
        assert_eq!(VpcPosture::left_behind(&json!(null)), [""; 0]);
    }
}
