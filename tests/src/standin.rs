//! The stand-in for AWS: moto's server with our extension (`tests/aws`), and AWS's own command line against it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

use crate::guard::Scratch;
use crate::process::{Process, last_line_of, tail, without_proxies};
use crate::{http, repository};

const LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// The account whose identity the controller has by itself.
pub const HUB_ACCOUNT: &str = "999988887777";
/// The secret half of the controller's own key: the stand-in takes any.
pub const HUB_SECRET: &str = "hub-secret-key-4d1f9b";

/// What the stand-in knows beyond moto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// With everything that the controller needs.
    Extended,
    /// moto as it is: one account for every key, and of the control API only calls, counts and reset.
    Plain,
}

/// A running stand-in. It ends, and forgets everything, when this value is dropped.
#[derive(Debug)]
pub struct Standin {
    _server: Process,
    url: String,
    venv: PathBuf,
    scratch: Scratch,
}

impl Standin {
    /// Starts it on a free port of 127.0.0.1, after making its virtual environment if that is not there.
    pub async fn start(flavour: Flavour) -> Result<Self> {
        let folder = repository().join("tests/aws");
        let venv = PathBuf::from(last_line_of(&folder.join("setup.sh")).await?);
        let scratch = Scratch::new("standin")?;
        let mut command = Command::new(venv.join("bin/python"));
        command
            .args(["-m", "standin", "--port", "0", "--exit-with-parent"])
            .env("PYTHONPATH", &folder)
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(scratch.path());
        if flavour == Flavour::Plain {
            command.arg("--plain");
        }
        let mut server = Process::start("stand-in", &mut command, scratch.join("standin.log"))?;
        let deadline = tokio::time::Instant::now() + LISTENS_WITHIN;
        let url = loop {
            if let Some(url) = listening_line(&server.log()) {
                break url;
            }
            server.ensure_running()?;
            ensure!(
                tokio::time::Instant::now() < deadline,
                "the stand-in does not listen after {LISTENS_WITHIN:?}; the end of its log:\n{}",
                tail(&server.log(), 30)
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Ok(Self { _server: server, url, venv, scratch })
    }

    /// Where it listens, for `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The virtual environment it runs from.
    #[must_use]
    pub fn venv(&self) -> &Path {
        &self.venv
    }

    /// GET of a path of its control API, such as `calls`.
    pub async fn get(&self, path: &str) -> Result<Value> {
        http::json(Method::GET, &self.control(path), None).await
    }

    /// POST to a path of its control API.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        http::json(Method::POST, &self.control(path), Some(body)).await
    }

    /// DELETE of a path of its control API.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        http::json(Method::DELETE, &self.control(path), None).await
    }

    fn control(&self, path: &str) -> String {
        format!("{}/_standin/{}", self.url, path.trim_start_matches('/'))
    }

    /// The calls that came in after the one with number `since`; 0 for all.
    pub async fn calls(&self, since: u64) -> Result<Value> {
        self.get(&format!("calls?since={since}")).await
    }

    /// How many calls of each operation came in, such as `{"ec2:DescribeVpcs": 3}`.
    pub async fn counts(&self) -> Result<Value> {
        self.get("counts").await
    }

    /// Injects a fault, as `tests/aws/README.md` describes them, and returns its id.
    pub async fn fault(&self, fault: &Value) -> Result<u64> {
        let answer = self.post("faults", fault).await?;
        answer["id"].as_u64().with_context(|| format!("no id in {answer}"))
    }

    /// Ends all injected faults.
    pub async fn clear_faults(&self) -> Result<()> {
        self.delete("faults").await.map(drop)
    }

    /// Every role session that was handed out, oldest first.
    pub async fn sessions(&self) -> Result<Vec<Session>> {
        serde_json::from_value(self.get("sessions").await?).context("sessions")
    }

    /// Changes how it behaves; returns all settings.
    pub async fn settings(&self, settings: &Value) -> Result<Value> {
        self.post("settings", settings).await
    }

    /// Runs AWS's command line as the root of an account, for example with `["ec2", "describe-vpcs"]`, and returns its
    /// JSON (null where it prints nothing).
    pub async fn aws(&self, account: &str, region: &str, arguments: &[&str]) -> Result<Value> {
        self.command_line(self.env(account, region), arguments).await
    }

    /// The same with the credentials of a role session.
    pub async fn aws_as(&self, session: &Session, region: &str, arguments: &[&str]) -> Result<Value> {
        let mut env = self.env(&session.account, region);
        let credentials = [
            ("AWS_ACCESS_KEY_ID", &session.access_key),
            ("AWS_SECRET_ACCESS_KEY", &session.secret),
            ("AWS_SESSION_TOKEN", &session.token),
        ];
        env.retain(|(name, _)| !credentials.iter().any(|(own, _)| name == own));
        env.extend(credentials.map(|(name, value)| (name.to_owned(), value.clone())));
        self.command_line(env, arguments).await
    }

    async fn command_line(&self, env: Vec<(String, String)>, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(self.venv.join("bin/aws"));
        // Only what is named: a developer's own AWS settings must not have a say.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.scratch.path())
            .envs(env)
            .env("AWS_PAGER", "")
            .args(["--output", "json"])
            .args(arguments);
        without_proxies(&mut command).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
        let what = arguments.join(" ");
        if !output.status.success() {
            bail!("aws {what}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("aws {what} printed no JSON: {text}"))
    }

    /// Makes one call as the root of an account as it is on the wire of EC2, IAM and STS, for example with `"ec2"`,
    /// `"CreateVpc"` and `[("CidrBlock", "10.0.0.0/16")]`, and returns the XML. A hundred times as fast as [`Self::aws`].
    pub async fn query(
        &self,
        account: &str,
        region: &str,
        service: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String> {
        let version = match service {
            "ec2" => "2016-11-15",
            "iam" => "2010-05-08",
            _ => "2011-06-15",
        };
        let pairs = [("Action", action), ("Version", version)].into_iter().chain(parameters.iter().copied());
        let form: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        // The stand-in looks at whose key it is and at no signature.
        let key = root_access_key(account);
        let signed = format!("AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request");
        let headers = [(AUTHORIZATION, signed.as_str()), (CONTENT_TYPE, "application/x-www-form-urlencoded")];
        let (status, text) = http::send(Method::POST, &self.url, &headers, form.join("&").into_bytes()).await?;
        ensure!(status.is_success(), "{service}:{action}: {status}: {text}");
        Ok(text)
    }

    /// One EC2 call as the root of an account, without the command line: for making many things. Returns the XML.
    pub async fn ec2(&self, account: &str, region: &str, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        self.query(account, region, "ec2", action, parameters).await
    }

    /// The environment of a controller whose own identity is in [`HUB_ACCOUNT`].
    #[must_use]
    pub fn aws_env(&self) -> Vec<(String, String)> {
        self.env(HUB_ACCOUNT, "us-east-1")
    }

    fn env(&self, account: &str, region: &str) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_ACCESS_KEY_ID", &root_access_key(account)),
            ("AWS_SECRET_ACCESS_KEY", HUB_SECRET),
            ("AWS_REGION", region),
            ("AWS_DEFAULT_REGION", region),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

/// A role session of the stand-in, with its credentials.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Session {
    /// The access key.
    pub access_key: String,
    /// Its secret half.
    pub secret: String,
    /// The session token.
    pub token: String,
    /// The account.
    pub account: String,
    /// The role's ARN.
    pub role: String,
    /// The session policy, parsed, where one was given.
    pub policy: Option<Value>,
}

/// The access key that the stand-in takes for the root of an account.
#[must_use]
pub fn root_access_key(account: &str) -> String {
    format!("AKIA{account}ROOT")
}

/// The text of the first element of a name in an answer of [`Standin::query`].
#[must_use]
pub fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// The address in the line that tells where the stand-in listens, once all of the line is there.
fn listening_line(log: &str) -> Option<String> {
    let complete = &log[..=log.rfind('\n')?];
    complete.lines().find_map(|line| line.strip_prefix("listening ")).map(|url| url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_command_line_reaches_the_account_it_names() {
        let standin = Standin::start(Flavour::Extended).await.unwrap();
        let caller = ["sts", "get-caller-identity"];
        let seen = standin.aws("111122223333", "eu-west-1", &caller).await.unwrap();
        assert_eq!(seen["Arn"], "arn:aws:iam::111122223333:root");
        let first = standin.calls(0).await.unwrap()[0].clone();
        assert_eq!((&first["action"], &first["account"]), (&"GetCallerIdentity".into(), &"111122223333".into()));

        let fault = serde_json::json!({"service": "sts", "account": "111122223333", "effect": "denied"});
        standin.fault(&fault).await.unwrap();
        let error = standin.aws("111122223333", "eu-west-1", &caller).await.unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{error}");
        standin.aws(HUB_ACCOUNT, "eu-west-1", &caller).await.unwrap();
        standin.clear_faults().await.unwrap();
        standin.aws("111122223333", "eu-west-1", &caller).await.unwrap();

        let listed = standin.query("111122223333", "eu-west-1", "sts", "GetCallerIdentity", &[]).await.unwrap();
        assert_eq!(element(&listed, "Account"), Some("111122223333"), "{listed}");
        let filter = [("Filter.1.Name", "tag:a b"), ("Filter.1.Value.1", "é&=")];
        let listed = standin.query("111122223333", "eu-west-1", "ec2", "DescribeVpcs", &filter).await.unwrap();
        assert_eq!(element(&listed, "vpcId"), None, "{listed}");

        let later = standin.calls(first["seq"].as_u64().unwrap()).await.unwrap();
        assert_eq!(later.as_array().unwrap().len(), 5);
        assert_eq!(later[4]["params"], serde_json::json!({"Filter.1.Name": "tag:a b", "Filter.1.Value.1": "é&="}));
        assert_eq!(standin.counts().await.unwrap()["sts:GetCallerIdentity"], 5);
        assert_eq!(standin.delete("calls").await.unwrap(), serde_json::json!({}));
    }

    #[test]
    fn the_listening_line_is_taken_only_when_complete() {
        assert_eq!(listening_line(""), None);
        assert_eq!(listening_line("listening http://127.0.0.1:40"), None);
        assert_eq!(listening_line("warning\nlistening http://127.0.0.1:4000\n").unwrap(), "http://127.0.0.1:4000");
    }
}
