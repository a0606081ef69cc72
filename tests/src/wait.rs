//! Waiting for what other processes do, with a message that tells what was seen last.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::api::DynamicObject;

use crate::kubernetes::objects;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Calls `probe` until it returns a value, or fails after `timeout` with the last error of `probe`.
///
/// An error of `probe` means "not yet" and is to say what was seen:
///
/// ```no_run
/// # async fn example(client: kube::Client) -> anyhow::Result<()> {
/// use std::time::Duration;
/// use ssm_ready_tests::{condition, eventually};
///
/// eventually(Duration::from_secs(30), "the posture to be ready", || async {
///     let ready = condition(&client, "VpcPosture", Some("team"), "main", "Ready").await?;
///     anyhow::ensure!(ready.as_ref().is_some_and(|c| c.status == "True"), "Ready is {ready:?}");
///     Ok(())
/// })
/// .await
/// # }
/// ```
pub async fn eventually<T, F, Fut>(timeout: Duration, what: impl Display, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut tries = 0_u32;
    let mut last = String::from("nothing, the first look did not end");
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        tries += 1;
        match tokio::time::timeout(left.max(FIRST_PAUSE), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) if tries == 1 => {}
            Err(_) => last.push_str(" (and one more look that did not end)"),
        }
        if started.elapsed() >= timeout {
            bail!("waited {timeout:?} for {what}, in vain; looked {tries} times and saw last: {last}");
        }
        tokio::time::sleep(pause.min(timeout.saturating_sub(started.elapsed()))).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Calls `probe` again and again for `duration`, and fails as soon as it does: for what must not happen.
pub async fn throughout<F, Fut>(duration: Duration, what: impl Display, mut probe: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let started = Instant::now();
    loop {
        probe().await.with_context(|| format!("{what}: held for {:?} only", started.elapsed()))?;
        let left = duration.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(left.min(Duration::from_millis(100))).await;
    }
}

/// The condition of a type in an object's status, if both are there. `kind` is one of ours; an object that is not
/// there is an error.
pub async fn condition(
    client: &Client,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    type_: &str,
) -> Result<Option<Condition>> {
    let object = objects(client, kind, namespace).get(name).await.with_context(|| format!("{kind} {name}"))?;
    condition_of(&object, type_)
}

/// As [`condition`], of an object at hand.
pub fn condition_of(object: &DynamicObject, type_: &str) -> Result<Option<Condition>> {
    let Some(list) = object.data.pointer("/status/conditions").and_then(serde_json::Value::as_array) else {
        return Ok(None);
    };
    let mut found = list.iter().filter(|condition| condition["type"] == type_);
    let first = found.next().cloned().map(serde_json::from_value).transpose()?;
    ensure!(found.next().is_none(), "two conditions of type {type_}: {list:?}");
    Ok(first)
}

/// Waits until a condition of an object of ours has a status for the object's own generation; returns the condition.
pub async fn condition_is(
    client: &Client,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    (type_, status): (&str, &str),
    timeout: Duration,
) -> Result<Condition> {
    let api = objects(client, kind, namespace);
    eventually(timeout, format_args!("{type_}={status} of {kind} {name}"), || async {
        let object = api.get(name).await?;
        let generation = object.metadata.generation;
        match condition_of(&object, type_)? {
            Some(condition) if condition.status == status && condition.observed_generation == generation => {
                Ok(condition)
            }
            seen => {
                let all = object.data.pointer("/status/conditions").cloned().unwrap_or_default();
                bail!("generation {generation:?}, {type_} is {seen:?}, all conditions {all}")
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn eventually_returns_the_first_value() {
        let calls = Cell::new(0);
        let value = eventually(Duration::from_secs(5), "three calls", || async {
            calls.set(calls.get() + 1);
            ensure!(calls.get() == 3, "only {} calls", calls.get());
            Ok("done")
        })
        .await
        .unwrap();
        assert_eq!((value, calls.get()), ("done", 3));
    }

    #[tokio::test]
    async fn eventually_tells_what_it_saw_last() {
        let error = eventually(Duration::from_millis(30), "a green light", || async {
            bail!("the light is red");
            #[allow(unreachable_code)]
            Ok(())
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("a green light") && error.contains("the light is red"), "{error}");
    }

    #[tokio::test]
    async fn eventually_does_not_hang_on_a_look_that_never_ends() {
        let hanging = eventually(Duration::from_millis(30), "an answer", std::future::pending::<Result<()>>);
        assert!(hanging.await.unwrap_err().to_string().contains("did not end"));
    }

    #[tokio::test]
    async fn throughout_fails_with_the_first_failure() {
        let calls = Cell::new(0);
        let held = throughout(Duration::from_secs(5), "quiet", || async {
            calls.set(calls.get() + 1);
            ensure!(calls.get() < 3, "a noise");
            Ok(())
        });
        assert!(format!("{:#}", held.await.unwrap_err()).contains("a noise"));
    }

    #[test]
    fn a_condition_is_found_by_type() {
        let with = |conditions: serde_json::Value| -> DynamicObject {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "ssmready.dev/v1alpha1", "kind": "VpcPosture",
                "metadata": {"name": "main"}, "status": {"conditions": conditions}
            }))
            .unwrap()
        };
        let ready = serde_json::json!({"type": "Ready", "status": "True", "reason": "Compliant", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let found = condition_of(&with(serde_json::json!([ready])), "Ready").unwrap().unwrap();
        assert_eq!(found.status, "True");
        assert!(condition_of(&with(serde_json::json!([ready])), "Compliant").unwrap().is_none());
        assert!(condition_of(&with(serde_json::json!([ready, ready])), "Ready").is_err());
        assert!(condition_of(&with(serde_json::Value::Null), "Ready").unwrap().is_none());
    }
}
