//! What is seen of it from outside: metrics, traces, events and the log.

mod collector;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};
use ssm_ready_tests::{
    ApiServer, Controller, ControllerOptions, Flavour, Standin, apply_yaml, eventually, repository, throughout,
    wait::condition_is,
    world::{self, EXTERNAL_ID},
};

use crate::rig::{self, ACCOUNT, NS, Rig, SOON, Setup};
use collector::Collector;

const GOLDEN: &str = "tests/fixtures/metrics.txt";

/// Takes the ingress rule out of the security group of a posture, and waits until it is back.
async fn drift(rig: &Rig, name: &str, token: &str) -> Result<()> {
    let status = rig.get(name).await?.data["status"].clone();
    let group = status["securityGroup"]["id"].as_str().context("no security group in status")?.to_owned();
    let rule = ["--protocol", "tcp", "--port", "443", "--cidr", "10.0.0.0/16"];
    rig.aws(&[&["ec2", "revoke-security-group-ingress", "--group-id", &group], &rule[..]].concat()).await?;
    rig.look_again(name, token).await?;
    rig.until_ready(name).await
}

/// The value of the first series that begins so.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// What is said of one family: its own lines, and its series by what they have in common.
#[derive(Default)]
struct Family {
    head: Vec<String>,
    series: BTreeMap<String, Vec<String>>,
}

/// A text of metrics with what is the same in every run: families in order, each series with the value 1, and what
/// differs by machine and chance out of the labels.
fn normalised(text: &str) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            family = rest.split(' ').nth(1).unwrap_or_default().to_owned();
            families.entry(family.clone()).or_default().head.push(line.to_owned());
            continue;
        }
        let series = line
            .split_once("} ")
            .map_or_else(|| line.split(' ').next().unwrap_or_default().to_owned(), |(series, _)| format!("{series}}}"));
        let series = without_port(&series);
        // The buckets of a histogram stay together, in their order.
        let of = series.replace("_bucket{le=", "\u{1}").split('\u{1}').next().unwrap_or_default().to_owned();
        let labels = series.split_once(',').map_or("", |(_, labels)| labels);
        let group = if series.contains("_bucket{le=") { format!("{of}_bucket,{labels}") } else { series.clone() };
        families.entry(family.clone()).or_default().series.entry(group).or_default().push(format!("{series} 1"));
    }
    let mut lines = Vec::new();
    for Family { head, series } in families.into_values() {
        lines.extend(head);
        lines.extend(series.into_values().flatten());
    }
    lines.push("# EOF\n".to_owned());
    lines.join("\n")
}

/// The port of the API server is another one in each run.
fn without_port(series: &str) -> String {
    let Some((before, rest)) = series.split_once("host=\"127.0.0.1:") else { return series.to_owned() };
    let (_, after) = rest.split_once('"').unwrap_or_default();
    format!("{before}host=\"127.0.0.1:6443\"{after}")
}

/// Names with their types, and the labels of each series' name.
fn shape(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut shape: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            shape.entry(format!("{name}: {kind}")).or_default();
        } else if !line.starts_with('#') {
            let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once('='));
            shape.entry(name.to_owned()).or_default().extend(labels.map(|(name, _)| name.to_owned()));
        }
    }
    shape
}

#[tokio::test]
async fn every_metric_is_there_with_its_labels() -> Result<()> {
    let elects = [("SSM_READY_LEADER_ELECT", "true"), ("SSM_READY_LEADER_ELECTION_NAMESPACE", "ssm-ready")];
    let elects = elects.map(|(name, value)| (name.to_owned(), value.to_owned()));
    rig::test(Setup::with_account().env(elects.to_vec()), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        let run = ["ec2", "run-instances", "--image-id", "ami-12345678", "--count", "3", "--subnet-id", &vpc.subnets[0]];
        let made = rig.aws(&run).await?["Instances"].clone();
        let id = |number: usize| made[number]["InstanceId"].as_str().unwrap_or_default().to_owned();
        let nodes = json!({ "account": ACCOUNT, "region": world::REGION, "instances": [
            { "InstanceId": id(0), "PingStatus": "Online", "AgentVersion": "3.3.40.0", "PlatformType": "Linux" },
            { "InstanceId": id(1), "PingStatus": "ConnectionLost", "AgentVersion": "3.3.40.0", "PlatformType": "Linux" },
        ]});
        rig.standin.post("ssm-instances", &nodes).await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        drift(rig, "main", "drift").await?;

        // AWS throttles, until the library gives up.
        let throttle = json!({ "service": "ec2", "action": "DescribeSubnets", "effect": "throttle", "times": 12 });
        rig.standin.fault(&throttle).await?;
        rig.look_again("main", "throttled").await?;
        // An account that nobody lets in, and an object that waits for a person.
        world::account(&rig.client, "closed", "444455556666", &[NS]).await?;
        condition_is(&rig.client, "AwsAccount", None, "closed", ("Ready", "False"), SOON).await?;
        world::posture(&rig.client, NS, "lost", "prod", "vpc-0eeeeeeeeeeeeeee1", json!({})).await?;
        rig.until("lost", "Stalled", "True", "VpcNotFound").await?;

        let place = format!(r#"account="{ACCOUNT}",region="{}""#, world::REGION);
        let text = eventually(SOON, "metrics of all that happened", || async {
            let text = rig.controller.metrics().await?;
            for (series, least) in [
                (r#"ssm_ready_drift_total{kind="VpcPosture",facet="SecurityGroupReady"}"#.to_owned(), 1.0),
                (r#"ssm_ready_drift_repaired_total{kind="VpcPosture",facet="SecurityGroupReady"}"#.to_owned(), 1.0),
                (r#"ssm_ready_aws_retries_total{service="ec2",operation="DescribeSubnets"}"#.to_owned(), 1.0),
                (r#"ssm_ready_aws_throttles_total{service="ec2",operation="DescribeSubnets"}"#.to_owned(), 1.0),
                (r#"ssm_ready_session_failures_total{account="444455556666"}"#.to_owned(), 1.0),
                (format!(r#"ssm_ready_instances{{{place},verdict="managed"}}"#), 1.0),
                (format!(r#"ssm_ready_instances{{{place},verdict="offline"}}"#), 1.0),
                (format!(r#"ssm_ready_instances{{{place},verdict="unregistered"}}"#), 1.0),
                (format!("ssm_ready_last_success_timestamp_seconds{{{place}}}"), 1.7e9),
                (r#"ssm_ready_posture_condition{kind="VpcPosture",type="Stalled",status="True"}"#.to_owned(), 1.0),
                (r#"ssm_ready_posture_condition{kind="VpcPosture",type="Ready",status="True"}"#.to_owned(), 1.0),
                (r#"controller_runtime_terminal_reconcile_errors_total{controller="ssm-ready"}"#.to_owned(), 1.0),
                (r#"leader_election_master_status{name="ssm-ready"}"#.to_owned(), 1.0),
                (r#"rest_client_requests_total{code="200",method="PATCH","#.to_owned(), 1.0),
            ] {
                let seen = value(&text, &series);
                ensure!(seen.is_some_and(|seen| seen >= least), "{series} is {seen:?}");
            }
            Ok(text)
        })
        .await?;

        let text = normalised(&text);
        let path = repository().join(GOLDEN);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text)?;
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        let (seen, known) = (shape(&text), shape(&stored));
        let differ: Vec<_> = seen.iter().filter(|(name, labels)| known.get(*name) != Some(labels)).collect();
        let gone: Vec<_> = known.keys().filter(|name| !seen.contains_key(*name)).collect();
        ensure!(
            differ.is_empty() && gone.is_empty(),
            "{GOLDEN} is not up to date (UPDATE_GOLDEN=1): {differ:?} differ, {gone:?} are gone"
        );

        // What is said of an account goes with it.
        let accounts = ssm_ready_tests::objects(&rig.client, "AwsAccount", None);
        accounts.delete("closed", &Default::default()).await?;
        eventually(SOON, "the series of the account to go", || async {
            let text = rig.controller.metrics().await?;
            let line = text.lines().find(|line| line.contains("444455556666"));
            ensure!(line.is_none(), "{line:?}");
            Ok(())
        })
        .await
    })
    .await
}

/// All events of ours, with how often each was seen.
async fn events(rig: &Rig) -> Result<Vec<(String, i32)>> {
    let all = Api::<Event>::all(rig.client.clone()).list(&ListParams::default()).await?;
    let ours = all.into_iter().filter(|e| e.reporting_controller.as_deref() == Some("ssm-ready"));
    let ours: Vec<Event> = ours.collect();
    for event in &ours {
        let note = event.note.as_deref().unwrap_or_default();
        ensure!((1..=1024).contains(&note.len()), "{} bytes: {note}", note.len());
    }
    Ok(ours
        .into_iter()
        .map(|e| {
            let note = e.note.clone().unwrap_or_default();
            let count = e.series.as_ref().map_or(1, |series| series.count);
            (format!("{} {} {}", e.name_any(), e.reason.clone().unwrap_or_default(), note), count)
        })
        .collect())
}

#[tokio::test]
async fn events_are_of_transitions_alone_short_and_without_what_changes_each_time() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        // The event of a status follows it.
        eventually(SOON, "the event of it", || async {
            let all = events(rig).await?;
            ensure!(all.iter().any(|(e, _)| e.contains(" Succeeded ")), "{all:?}");
            Ok(())
        })
        .await?;
        let before = events(rig).await?;
        for token in ["one", "two", "three"] {
            rig.look_again("main", token).await?;
        }
        // And a sweep of its own.
        rig.until_another("DescribeVpcs").await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = events(rig).await?;
        ensure!(after == before, "nothing changed, and yet: {before:?}, then {after:?}");

        // The same failure again and again is told once; AWS's message has another request id each time.
        let long = "x".repeat(2000);
        let refusal = json!({
            "service": "ec2", "action": "DescribeVpcs", "effect": "error", "code": "UnauthorizedOperation", "status": 403,
            "message": format!("You are not authorized. {long} Request ID: 0f1e2d3c-1111-2222-3333-444455556666"), "times": null,
        });
        rig.standin.fault(&refusal).await?;
        rig.look_again("main", "denied").await?;
        let first = events(rig).await?;
        for token in ["denied again", "denied once more"] {
            rig.look_again("main", token).await?;
        }
        let last = events(rig).await?;
        let told = |all: &[(String, i32)]| all.iter().map(|(_, count)| *count).sum::<i32>();
        ensure!(told(&last) <= told(&first) + 1, "told again: {first:?}, then {last:?}");
        for (event, _) in &last {
            ensure!(!event.contains("0f1e2d3c"), "a request id: {event}");
        }
        rig.standin.clear_faults().await?;
        Ok(())
    })
    .await
}

/// The answer's status and body, by curl: it speaks TLS, and no client of ours would accept such a certificate.
pub fn scrape(address: &str, token: Option<&str>) -> Result<(u16, String)> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--max-time", "30", "--write-out", "\n%{http_code}"]);
    command.args(["--noproxy", "*"]);
    if let Some(token) = token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.arg(format!("https://{address}/metrics")).output().context("curl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some((body, status)) = text.rsplit_once('\n') else {
        bail!("{text}; {}", String::from_utf8_lossy(&output.stderr))
    };
    Ok((status.parse().with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?, body.to_owned()))
}

#[tokio::test]
async fn secured_metrics_are_for_those_who_may() -> Result<()> {
    let (server, standin) = tokio::try_join!(ApiServer::start(), Standin::start(Flavour::Extended))?;
    let client = server.admin_client()?;
    // What the controller needs for it comes with the chart, and so does what a scraper is bound to.
    let rights = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: scraper }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ssm-ready-metrics-reader }
subjects: [{ kind: ServiceAccount, name: prometheus, namespace: monitoring }]
"#;
    apply_yaml(&client, rights).await?;
    let options = ControllerOptions { args: vec!["--metrics-secure".to_owned()], ..ControllerOptions::default() };
    let controller = Controller::start(&server, &standin, options).await?;
    let mut tokens = Vec::new();
    for name in ["prometheus", "somebody"] {
        server.kubeconfig_for_service_account("monitoring", name).await?;
        tokens.push(server.tokens().pop().context("no token")?);
    }
    let [prometheus, somebody] = tokens.as_slice() else { bail!("{} tokens", tokens.len()) };
    let address = controller.metrics_address();

    ensure!(controller.metrics().await.is_err(), "served without TLS");
    let (status, body) = scrape(address, Some(prometheus))?;
    ensure!(status == 200 && body.contains("ssm_ready_build_info") && body.ends_with("# EOF\n"), "{status}: {body}");
    for (token, expected, said) in [
        (None, 401, "unauthorized\n"),
        (Some("forged"), 401, "unauthorized\n"),
        (Some(somebody.as_str()), 403, "forbidden\n"),
    ] {
        let (status, body) = scrape(address, token)?;
        ensure!((status, body.as_str()) == (expected, said), "{token:?}: {status}: {body}");
    }
    // What is known holds for a while; of others nothing is known, and nothing is said why.
    server.stop()?;
    let unknown = scrape(address, Some("another"))?;
    ensure!(unknown == (500, "internal error\n".to_owned()), "{unknown:?}");
    ensure!(scrape(address, Some(prometheus))?.0 == 200, "an answer of a moment ago does not hold");
    let log = controller.log();
    ensure!(log.contains("who may read the metrics"), "{log}");
    ensure!(tokens.iter().all(|token| !log.contains(token.as_str())), "a token is in the log");
    Ok(())
}

#[tokio::test]
async fn traces_tell_of_passes_and_their_calls() -> Result<()> {
    let collector = Collector::start().await?;
    let env = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.url()),
        ("OTEL_RESOURCE_ATTRIBUTES".to_owned(), "deployment.environment.name=test".to_owned()),
    ];
    rig::test(Setup::with_account().env(env), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        // What is left is sent at the end.
        let ended = rig.controller.terminate().await?;
        ensure!(ended.success(), "{ended}");
        let spans = collector.spans();
        ensure!(!collector.text().contains(EXTERNAL_ID), "the external id is in a span");
        for session in rig.standin.sessions().await? {
            ensure!(!collector.text().contains(&session.access_key), "an access key is in a span");
        }
        let all = || spans.iter().map(|s| format!("{} {:?}", s.name, s.attributes)).collect::<Vec<_>>().join("\n");
        for (name, value) in [
            ("service.name", "ssm-ready"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("deployment.environment.name", "test"),
        ] {
            ensure!(collector.resource().get(name).map(String::as_str) == Some(value), "{:?}", collector.resource());
        }
        let parent = |span: &collector::Span| spans.iter().find(|other| other.id == span.parent);

        // Each endpoint was made within a pass over the posture.
        let made: Vec<_> = spans.iter().filter(|s| s.name == "ec2:CreateVpcEndpoint").collect();
        ensure!(made.len() >= 3, "{} of 3 creations in:\n{}", made.len(), all());
        for span in &made {
            for (key, value) in [
                ("service", "ec2"),
                ("operation", "CreateVpcEndpoint"),
                ("account", ACCOUNT),
                ("region", world::REGION),
                ("outcome", "ok"),
            ] {
                ensure!(span.attributes.get(key).map(String::as_str) == Some(value), "{key}: {:?}", span.attributes);
            }
            let pass = parent(span).with_context(|| format!("no parent of {span:?} in:\n{}", all()))?;
            ensure!(
                pass.name == "reconcile VpcPosture" && pass.trace == span.trace && pass.parent.is_empty(),
                "{pass:?}"
            );
            ensure!(pass.attributes.get("name").map(String::as_str) == Some("main"), "{pass:?}");
        }
        // Reads serve everybody in a region, and belong to nobody's pass.
        let read = spans.iter().find(|s| s.name == "ec2:DescribeVpcs").context("no read")?;
        ensure!(parent(read).is_some_and(|p| p.name == "observe"), "{read:?}");
        let wrote = spans
            .iter()
            .find(|s| s.name == "write status" && s.attributes.get("kind").map(String::as_str) == Some("VpcPosture"));
        let wrote = wrote.with_context(|| format!("no write of a status in:\n{}", all()))?;
        ensure!(parent(wrote).is_some_and(|p| p.name == "reconcile VpcPosture"), "{wrote:?}");

        // The log's lines lead to them.
        let lines: Vec<Value> =
            rig.controller.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let changed: Vec<&Value> =
            lines.iter().filter(|l| l["msg"] == "changed AWS" && l["operation"] == "CreateVpcEndpoint").collect();
        ensure!(changed.len() >= 3, "{lines:?}");
        for line in changed {
            let trace = line["trace_id"].as_str().unwrap_or_default();
            ensure!(made.iter().any(|span| span.trace == trace), "{line}");
            let pass = spans.iter().find(|s| s.trace == trace && s.parent.is_empty()).context("no pass")?;
            ensure!(pass.attributes.get("reconcileID").map(String::as_str) == line["reconcileID"].as_str(), "{line}");
            ensure!(line.as_object().is_some_and(|l| l.keys().all(|key| !key.starts_with("otel."))), "{line}");
        }
        let passes: Vec<_> = spans.iter().filter(|s| s.parent.is_empty() && s.name.starts_with("reconcile")).collect();
        let ids: BTreeSet<_> = passes.iter().filter_map(|s| s.attributes.get("reconcileID")).collect();
        ensure!(ids.len() == passes.len(), "each pass has an id of its own: {}", all());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() -> Result<()> {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let env = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("http://{closed}"))];
    rig::test(Setup::with_account().env(env), async |rig| {
        let vpc = rig.vpc("10.0.0.0/16").await?;
        rig.posture("main", &vpc.id, json!({})).await?;
        rig.until_ready("main").await?;
        throughout(Duration::from_secs(1), "it runs", || async { rig.controller.probe("healthz").await.map(drop) })
            .await?;
        let began = std::time::Instant::now();
        let ended = rig.controller.terminate().await?;
        ensure!(ended.success() && began.elapsed() < Duration::from_secs(20), "{ended} after {:?}", began.elapsed());
        Ok(())
    })
    .await
}
