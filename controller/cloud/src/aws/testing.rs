//! An AWS of a few lines, below the SDK: it sees the requests as they would go over the wire, and answers them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_ec2::error::ConnectorError;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use ssm_ready_core::{
    facts::{Principal, RoleStep, Scope},
    ids::Secret,
};

/// The account of the controller itself.
pub(super) const OWN: &str = "999900001111";
/// The account of the role that [`principal`] takes on.
pub(super) const SPOKE: &str = "111122223333";

/// A request, as it was sent.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub operation: String,
    pub host: String,
    /// The access key that signed it.
    pub key: String,
    /// The form of a query protocol, without the body of the others.
    pub form: BTreeMap<String, String>,
    pub body: String,
    pub agent: String,
}

impl Seen {
    pub(super) fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    /// The body of a JSON protocol.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What comes back.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// This status and body.
    Of(u16, String),
    /// This status and body, with headers.
    With(u16, Vec<(&'static str, &'static str)>, String),
    /// This status and body, which is perhaps no text.
    Bytes(u16, Vec<u8>),
    /// Nothing: the connection breaks.
    Lost,
    /// That, after a while.
    Late(Duration, Box<Self>),
}

pub(super) fn ok(body: impl Into<String>) -> Answer {
    Answer::Of(200, body.into())
}

/// An EC2 error.
pub(super) fn refused(status: u16, code: &str, message: &str) -> Answer {
    Answer::Of(
        status,
        format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
             <RequestID>r-1</RequestID></Response>"
        ),
    )
}

/// An STS or IAM error.
pub(super) fn refused_query(status: u16, code: &str, message: &str) -> Answer {
    Answer::Of(
        status,
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>r-1</RequestId></ErrorResponse>"
        ),
    )
}

/// An error of Systems Manager.
pub(super) fn refused_json(status: u16, code: &str, message: &str) -> Answer {
    Answer::Of(status, format!(r#"{{"__type":"com.amazonaws.ssm#{code}","message":"{message}"}}"#))
}

/// STS, as it is when all is well: a role's key names its account, and the key says who the caller is.
pub(super) fn sts(seen: &Seen) -> Option<Answer> {
    match seen.operation.as_str() {
        "AssumeRole" => {
            let account = seen.field("RoleArn").split(':').nth(4).unwrap_or_default().to_owned();
            Some(ok(format!(
                "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA{account}</AccessKeyId>\
                 <SecretAccessKey>very-secret</SecretAccessKey><SessionToken>very-token</SessionToken>\
                 <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
            )))
        }
        "GetCallerIdentity" => Some(identity(seen.key.get(4..).unwrap_or_default())),
        _ => None,
    }
}

pub(super) fn identity(account: &str) -> Answer {
    ok(format!(
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>{account}</Account>\
         <Arn>arn:aws:sts::{account}:assumed-role/spoke/ssm-ready</Arn><UserId>u</UserId>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    ))
}

type Answers = dyn Fn(&Seen) -> Answer + Send + Sync;

/// The AWS of one test.
#[derive(Clone)]
pub(super) struct FakeAws {
    answers: Arc<Answers>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl FakeAws {
    pub(super) fn new(answers: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self { answers: Arc::new(answers), seen: Arc::default() }
    }

    /// A configuration that leads here, with credentials of the controller's own.
    pub(super) fn config(&self) -> SdkConfig {
        let own = Credentials::new(format!("AKIA{OWN}"), "own-secret", None, None, "test");
        self.config_without_credentials()
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(own))
            .build()
    }

    pub(super) fn config_without_credentials(&self) -> SdkConfig {
        let connector = SharedHttpConnector::new(self.clone());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build()
    }

    /// All requests so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests of one operation so far.
    pub(super) fn of(&self, operation: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.operation == operation).collect()
    }
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let seen = read(&request);
        self.seen.lock().unwrap().push(seen.clone());
        let mut answer = (self.answers)(&seen);
        HttpConnectorFuture::new(async move {
            while let Answer::Late(wait, then) = answer {
                tokio::time::sleep(wait).await;
                answer = *then;
            }
            match answer {
                Answer::Of(status, body) => Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))),
                Answer::With(status, headers, body) => {
                    let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
                    for (name, value) in headers {
                        answer.headers_mut().insert(name, value);
                    }
                    Ok(answer)
                }
                Answer::Bytes(status, body) => Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))),
                _ => Err(ConnectorError::io("connection reset by peer".into())),
            }
        })
    }
}

fn read(request: &HttpRequest) -> Seen {
    let header = |name: &str| request.headers().get(name).unwrap_or_default().to_owned();
    let body = String::from_utf8(request.body().bytes().unwrap_or_default().to_vec()).unwrap();
    let form: BTreeMap<String, String> =
        body.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (decode(k), decode(v))).collect();
    let target = header("x-amz-target");
    // S3's calls are told by what they ask for.
    let of_s3 = match request.uri().split_once('?').map_or("", |(_, query)| query) {
        "location" => Some("GetBucketLocation"),
        "encryption" => Some("GetBucketEncryption"),
        _ => None,
    };
    let operation = target.rsplit('.').next().filter(|name| !name.is_empty()).or(of_s3);
    let key = header("authorization");
    let key = key.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    Seen {
        operation: operation.map_or_else(|| form.get("Action").cloned().unwrap_or_default(), str::to_owned),
        host: request.uri().split('/').nth(2).unwrap_or_default().to_owned(),
        key: key.to_owned(),
        agent: header("x-amz-user-agent") + &header("user-agent"),
        form,
        body,
    }
}

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [a, b, tail @ ..]) => (u8::from_str_radix(&String::from_utf8_lossy(&[*a, *b]), 16).unwrap(), tail),
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).unwrap()
}

/// A role in [`SPOKE`], with an external id.
pub(super) fn principal() -> Principal {
    Principal {
        account: SPOKE.parse().unwrap(),
        roles: vec![RoleStep {
            arn: format!("arn:aws:iam::{SPOKE}:role/spoke").parse().unwrap(),
            external_id: Some(Secret::new("tenant-7f3c")),
        }],
        session_name: "ssm-ready".into(),
        duration_seconds: 3600,
        read_only: false,
    }
}

pub(super) fn scope() -> Scope {
    Scope { principal: principal(), region: "eu-west-1".parse().unwrap(), api_share_percent: 100 }
}
