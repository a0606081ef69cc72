//! Plain HTTP to servers of this machine: the stand-in's control API and the controller's probes and metrics.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Sends one request with JSON, if any.
pub async fn request(method: Method, url: &str, body: Option<&Value>) -> Result<(StatusCode, String)> {
    let headers: &[_] = if body.is_some() { &[(CONTENT_TYPE, "application/json")] } else { &[] };
    send(method, url, headers, body.map(serde_json::to_vec).transpose()?.unwrap_or_default()).await
}

/// Sends one request on a connection of its own: a client that pools connections would belong to one test's runtime.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(HeaderName, &str)],
    body: Vec<u8>,
) -> Result<(StatusCode, String)> {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(HttpConnector::new());
    let request = headers
        .iter()
        .fold(Request::builder().method(&method).uri(url), |request, (name, value)| request.header(name, *value));
    let exchange = async {
        let response = client.request(request.body(Full::from(body))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
        Ok(answer) => answer,
        Err(_) => bail!("no answer within {ANSWER_WITHIN:?}"),
    }
}

/// The text behind `url`; any status but 2xx is an error with the body in it.
pub async fn text(method: Method, url: &str, body: Option<&Value>) -> Result<String> {
    let (status, text) = request(method.clone(), url, body).await?;
    if !status.is_success() {
        bail!("{method} {url}: {status}: {}", text.trim());
    }
    Ok(text)
}

/// As [`text`], for JSON; an empty body is null.
pub async fn json(method: Method, url: &str, body: Option<&Value>) -> Result<Value> {
    let text = text(method.clone(), url, body).await?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("{method} {url}: the answer is not JSON: {text}"))
}
