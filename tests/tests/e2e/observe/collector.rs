//! Takes traces by OTLP over HTTP, as a collector does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A span, as far as the tests look at it.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for the first of a trace.
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
}

/// A collector that runs in the test's own runtime. It ends with this value.
pub struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    task: AbortHandle,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, taken) = (listener.local_addr()?, Arc::<Mutex<Vec<_>>>::default());
        let task = tokio::spawn(serve(listener, taken.clone())).abort_handle();
        Ok(Self { address, taken, task })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn taken(&self) -> Vec<ExportTraceServiceRequest> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that was sent, as text.
    pub fn text(&self) -> String {
        format!("{:?}", self.taken())
    }

    pub fn spans(&self) -> Vec<Span> {
        let resources = self.taken().into_iter().flat_map(|request| request.resource_spans);
        let spans = resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        spans
            .map(|span| Span {
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: texts(&span.attributes),
            })
            .collect()
    }

    /// Who sends.
    pub fn resource(&self) -> BTreeMap<String, String> {
        let resource = self.taken().first().and_then(|r| r.resource_spans.first()?.resource.clone());
        resource.map(|resource| texts(&resource.attributes)).unwrap_or_default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes
        .iter()
        .filter_map(|attribute| match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some((attribute.key.clone(), text.clone())),
            _ => None,
        })
        .collect()
}

async fn serve(listener: TcpListener, taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let taken = taken.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| take(request, taken.clone()));
            let _ended =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn take(
    request: Request<Incoming>,
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let fits = request.uri().path() == "/v1/traces"
        && request.headers().get("content-type").is_some_and(|kind| kind == "application/x-protobuf");
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let status = match ExportTraceServiceRequest::decode(body) {
        Ok(spans) if fits => {
            taken.lock().unwrap_or_else(PoisonError::into_inner).push(spans);
            200
        }
        _ => 400,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}
