//! Traces, sent by OTLP over HTTP where the standard `OTEL_*` variables ask for it.
//!
//! A span for each pass over an object and for each read of a place's facts; below them one for each AWS call and for
//! each write to Kubernetes. They carry what the log carries, never an external id or a credential.

use std::env;
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::Handle;
use tracing::dispatcher::WeakDispatch;
use tracing::{Dispatch, Subscriber, span};
use tracing_subscriber::Layer;

/// What spans are called that say nothing else of who sends them.
const SERVICE: &str = "ssm-ready";
/// The longest that one request to the collector may take, whatever the variables say.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the spans that are left may take at the end.
const FLUSH: Duration = Duration::from_secs(5);
/// The most that is read of a collector's answer, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The standard variables, as far as it is ours to read them; the library reads the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Settings {
    on: bool,
    /// A file with the certificates to trust in place of the system's.
    roots: Option<String>,
    /// Whether somebody else says what spans are called.
    named: bool,
}

impl Settings {
    fn read(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let either = |name: &str| {
            variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value.eq_ignore_ascii_case("none"));
        if off || either("ENDPOINT").is_none() {
            return Ok(Self::default());
        }
        if let Some(protocol) = either("PROTOCOL") {
            anyhow::ensure!(
                protocol == "http/protobuf",
                "OTEL_EXPORTER_OTLP_PROTOCOL is {protocol:?}; only http/protobuf is spoken here, by default on port 4318 of a collector"
            );
        }
        let named = variable("OTEL_SERVICE_NAME").is_some()
            || variable("OTEL_RESOURCE_ATTRIBUTES")
                .is_some_and(|all| all.split(',').any(|pair| pair.trim_start().starts_with("service.name=")));
        Ok(Self { on: true, roots: either("CERTIFICATE"), named })
    }
}

/// Sends spans until it is shut down.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts as the environment says; none if it does not ask for traces. Requests are made on `runtime`.
    ///
    /// # Errors
    /// Settings that cannot be followed.
    pub fn start(runtime: Handle) -> anyhow::Result<Option<Self>> {
        let settings = Settings::read(|name| env::var(name).ok())?;
        if !settings.on {
            return Ok(None);
        }
        let client = Exporting { client: client(settings.roots.as_deref())?, runtime };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build().context("OTLP traces")?;
        let mut resource = Resource::builder();
        if !settings.named {
            resource = resource.with_service_name(SERVICE);
        }
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.with_attribute(version).build())
            .build();
        Ok(Some(Self { provider }))
    }

    /// Makes spans.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer(SERVICE)
    }

    /// Sends what is left. To be called while the runtime lives, and not on it.
    pub fn shut_down(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::warn!(error = &error as &dyn Error, "not all traces were sent");
        }
    }
}

type Connector = HttpsConnector<HttpConnector>;

fn client(roots: Option<&str>) -> anyhow::Result<Client<Connector, Full<Bytes>>> {
    let provider = aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = match roots {
        Some(file) => {
            let mut store = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file)
                .with_context(|| format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {file}"))?
            {
                store.add(certificate.with_context(|| file.to_owned())?).with_context(|| file.to_owned())?;
            }
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(store)
                .with_no_client_auth();
            builder.with_tls_config(config)
        }
        None => builder.with_provider_and_native_roots(provider).context("the system's certificates")?,
    };
    Ok(Client::builder(TokioExecutor::new()).build(builder.https_or_http().enable_http1().build()))
}

/// The library's thread has no runtime: requests are made on ours.
#[derive(Debug)]
struct Exporting {
    client: Client<Connector, Full<Bytes>>,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Exporting {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let exchange = async move {
            let (parts, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(parts, body))
        };
        // The timer, too, is begun there.
        self.runtime.spawn(async move { tokio::time::timeout(LONGEST, exchange).await }).await??
    }
}

/// Tells which trace a span belongs to.
#[derive(Debug, Clone, Default)]
pub struct TraceIds(Arc<OnceLock<WeakDispatch>>);

impl TraceIds {
    /// The id of the trace, in the form of the W3C; none while there are no traces.
    #[must_use]
    pub fn of(&self, span: &span::Id) -> Option<String> {
        let dispatch = self.0.get()?.upgrade()?;
        let context = tracing_opentelemetry::get_otel_context(span, &dispatch)?;
        let trace = context.span().span_context().trace_id();
        (trace != opentelemetry::TraceId::INVALID).then(|| trace.to_string())
    }
}

/// Learns who has the spans.
impl<S: Subscriber> Layer<S> for TraceIds {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        let _known = self.0.set(dispatch.downgrade());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        Settings::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn traces_are_on_only_where_there_is_somewhere_to_send_them() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (variables, on) in [
            (&[][..], false),
            (&[("OTEL_SERVICE_NAME", "x")], false),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false),
            (&[endpoint], true),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")], true),
            (&[endpoint, ("OTEL_SDK_DISABLED", "true")], false),
            (&[endpoint, ("OTEL_SDK_DISABLED", "false")], true),
            (&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], false),
            (&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], true),
        ] {
            assert_eq!(read(variables).unwrap().on, on, "{variables:?}");
        }
        let error = read(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err().to_string();
        assert!(error.contains("only http/protobuf") && error.contains("4318"), "{error}");
        assert!(read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).is_ok(), "nobody asked for traces");
    }

    #[test]
    fn what_is_of_traces_alone_goes_before_what_is_of_all() {
        let both = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "all.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "traces.pem"),
        ];
        assert_eq!(read(&both).unwrap().roots.as_deref(), Some("traces.pem"));
        assert_eq!(read(&both[..2]).unwrap().roots.as_deref(), Some("all.pem"));
        let named = |pair| read(&[both[0], pair]).unwrap().named;
        assert!(named(("OTEL_SERVICE_NAME", "x")) && named(("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=x")));
        assert!(!named(("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=x")));
    }
}
