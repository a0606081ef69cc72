//! Counts the requests to the API server.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

use super::Metrics;

/// Counts every request that a client makes, a watch when it is answered.
#[derive(Debug, Clone)]
pub struct CountRequests {
    metrics: Arc<Metrics>,
    host: Arc<str>,
}

impl CountRequests {
    /// Counts those to the server at `host`.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, host: &str) -> Self {
        Self { metrics, host: host.into() }
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, counts: self.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct Counting<S> {
    inner: S,
    counts: CountRequests,
}

impl<S, B, R> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let CountRequests { metrics, host } = self.counts.clone();
        let method = name(request.method());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            metrics.request(method, &host, answer.as_ref().ok().map(|answer| answer.status().as_u16()));
            answer
        })
    }
}

/// The method as a label; a fixed word, since a method may be any.
fn name(method: &Method) -> &'static str {
    [Method::GET, Method::PATCH, Method::POST, Method::PUT, Method::DELETE]
        .iter()
        .zip(["GET", "PATCH", "POST", "PUT", "DELETE"])
        .find_map(|(known, name)| (known == method).then_some(name))
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Answering(Option<u16>);

    impl Service<Request<()>> for Answering {
        type Response = Response<()>;
        type Error = std::io::Error;
        type Future = std::future::Ready<Result<Response<()>, std::io::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::ready(match self.0 {
                Some(code) => Ok(Response::builder().status(code).body(()).unwrap()),
                None => Err(std::io::Error::other("reset")),
            })
        }
    }

    #[tokio::test]
    async fn each_request_is_counted_by_its_answer() {
        let metrics = Arc::new(Metrics::new("test"));
        let layer = CountRequests::new(metrics.clone(), "10.0.0.1:443");
        for (method, code) in [("GET", Some(200)), ("GET", Some(200)), ("PATCH", Some(409)), ("BREW", None)] {
            let request = Request::builder().method(method).body(()).unwrap();
            let _answer = layer.layer(Answering(code)).call(request).await;
        }
        let text = metrics.encode();
        for (labels, count) in [
            (r#"code="200",method="GET""#, 2),
            (r#"code="409",method="PATCH""#, 1),
            (r#"code="<error>",method="other""#, 1),
        ] {
            let line = format!("rest_client_requests_total{{{labels},host=\"10.0.0.1:443\"}} {count}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
