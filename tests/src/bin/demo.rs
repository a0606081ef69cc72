//! The controller at work, as a new user would see it: from nothing to ready, and back after somebody deleted something.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use ssm_ready_tests::{
    ApiServer, Controller, ControllerOptions, Flavour, Standin, condition_is, eventually, repository,
    wait::condition_of,
    world::{self, REGION},
};

const ACCOUNT: &str = "111122223333";
/// The region of examples/07-session-audit.yaml.
const AUDITED: &str = "eu-central-1";
/// The region of examples/08-session-logs.yaml.
const LOGGED: &str = "eu-west-2";
const NAMESPACE: &str = "platform-ssm";
const SOON: Duration = Duration::from_secs(120);

fn say(text: &str) {
    println!("\n\x1b[1m== {text}\x1b[0m");
}

/// Runs a command as a user would type it, shows both, and fails if it does.
fn show(command: &mut Command) -> Result<()> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| w.to_string_lossy().into_owned())
        .filter(|w| !w.starts_with("--kubeconfig"))
        .collect();
    println!("$ {}", words.join(" "));
    ensure!(command.status()?.success(), "{} failed", words.join(" "));
    Ok(())
}

fn kubectl(server: &ApiServer, line: &str) -> Result<()> {
    let kubeconfig = server.admin_kubeconfig();
    show(
        Command::new("kubectl")
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args(line.split(' '))
            .env("KUBECACHEDIR", kubeconfig.with_extension("cache"))
            .env_remove("KUBECONFIG")
            .current_dir(repository()),
    )
}

fn aws(standin: &Standin, line: &str) -> Result<()> {
    let mut command = Command::new("aws");
    command.args(line.split(' ')).env_clear().envs(standin.aws_env());
    command.env("AWS_ACCESS_KEY_ID", ssm_ready_tests::standin::root_access_key(ACCOUNT)).env("AWS_PAGER", "");
    command.env("AWS_REGION", REGION).env("AWS_DEFAULT_REGION", REGION);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", standin.venv().join("bin").display()));
    show(&mut command)
}

async fn settled(client: &kube::Client, name: &str) -> Result<()> {
    ready(client, "VpcPosture", name).await
}

async fn ready(client: &kube::Client, kind: &str, name: &str) -> Result<()> {
    condition_is(client, kind, Some(NAMESPACE), name, ("Ready", "True"), SOON).await.map(drop)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    say("an API server, a stand-in for AWS, and the controller, with the permissions that it ships");
    let (server, standin) = tokio::try_join!(ApiServer::start(), Standin::start(Flavour::Extended))?;
    world::role(&standin, ACCOUNT, world::ROLE, "ssmready-7f3c").await?;
    world::example_vpcs(&standin).await?;
    let client = server.admin_client()?;
    let mut controller = Controller::start(&server, &standin, ControllerOptions::default()).await?;
    println!("kube-apiserver at {}, AWS at {}", server.url(), standin.url());

    say("an account, and postures of its VPCs: examples/");
    kubectl(
        &server,
        "apply -f examples/01-account.yaml -f examples/02-smallest.yaml -f examples/03-vpc.yaml -f examples/04-observe.yaml",
    )?;
    say("they become ready");
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        kubectl(&server, "get vpcpostures -A")?;
    }
    for name in ["payments-smallest", "payments-main", "payments-audit"] {
        settled(&client, name).await?;
    }
    kubectl(&server, "get awsaccounts")?;
    kubectl(&server, "get vpcpostures -A -o wide")?;

    say("what was made in AWS, in the account 111122223333");
    let query = "VpcEndpoints[].[VpcId,ServiceName,VpcEndpointType,State,PrivateDnsEnabled]";
    aws(&standin, &format!("ec2 describe-vpc-endpoints --output table --query {query}"))?;

    say("what Observe would do, and did not");
    kubectl(
        &server,
        "get vpcposture payments-audit -n platform-ssm -o jsonpath={range.status.plan.actions[*]}{.change}{\"\\n\"}{end}",
    )?;

    say("somebody deletes the ssm endpoint behind our back");
    let endpoints = world::endpoints(&standin, ACCOUNT, REGION, "vpc-0ffffffffffffff01").await?;
    let ssm = endpoints["ssm"]["VpcEndpointId"].as_str().unwrap_or_default().to_owned();
    aws(&standin, &format!("ec2 delete-vpc-endpoints --vpc-endpoint-ids {ssm}"))?;
    println!("It would be seen within the interval, 10 minutes. We ask for a look now:");
    kubectl(&server, "annotate vpcposture payments-smallest -n platform-ssm ssmready.dev/requestedAt=now")?;
    eventually(SOON, "another ssm endpoint", || async {
        let endpoints = world::endpoints(&standin, ACCOUNT, REGION, "vpc-0ffffffffffffff01").await?;
        let now = endpoints.get("ssm").and_then(|e| e["VpcEndpointId"].as_str()).unwrap_or_default();
        ensure!(!now.is_empty() && now != ssm, "ssm is {now:?}");
        println!("{ssm} is gone, {now} took its place");
        Ok(())
    })
    .await?;
    settled(&client, "payments-smallest").await?;
    kubectl(&server, "get vpcposture payments-smallest -n platform-ssm")?;
    kubectl(&server, "get vpcposture payments-smallest -n platform-ssm -o jsonpath={.status.drift}")?;
    println!();
    kubectl(&server, "get events -n platform-ssm --field-selector reason=DriftDetected")?;

    say("a region, and then the account's roles that it waits for");
    kubectl(&server, "apply -f examples/06-region-posture.yaml")?;
    condition_is(
        &client,
        "RegionPosture",
        Some(NAMESPACE),
        "payments-eu-west-1",
        ("HostManagementReady", "False"),
        SOON,
    )
    .await?;
    kubectl(&server, "get regionpostures -A -o wide")?;
    kubectl(&server, "apply -f examples/05-account-posture.yaml")?;
    ready(&client, "AccountPosture", "payments").await?;
    ready(&client, "RegionPosture", "payments-eu-west-1").await?;
    kubectl(&server, "get accountpostures,regionpostures -A")?;
    aws(&standin, "iam list-roles --path-prefix /service-role/ --output table --query Roles[].[RoleName,Path]")?;
    let setting = "/ssm/managed-instance/default-ec2-instance-management-role";
    aws(&standin, &format!("ssm get-service-setting --setting-id {setting} --output table"))?;
    kubectl(&server, "get events -n platform-ssm --field-selector reason=SettingChanged")?;

    say(
        "another region, whose sessions are to be told to a topic: it has to take them first, and a trail to record them",
    );
    let place = ("RegionPosture", "payments-eu-central-1");
    kubectl(&server, "apply -f examples/07-session-audit.yaml")?;
    condition_is(&client, place.0, Some(NAMESPACE), place.1, ("AuditReady", "False"), SOON).await?;
    kubectl(&server, "get regionpostures payments-eu-central-1 -n platform-ssm -o wide")?;
    let topic = format!("arn:aws:sns:{AUDITED}:{ACCOUNT}:ssm-sessions");
    let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": { "Service": "events.amazonaws.com" },
        "Action": "sns:Publish",
        "Resource": topic,
    }] })
    .to_string();
    let attributes = ["--topic-arn", &topic, "--attribute-name", "Policy", "--attribute-value", &policy];
    for arguments in [
        &["sns", "create-topic", "--name", "ssm-sessions"][..],
        &[&["sns", "set-topic-attributes"][..], &attributes].concat(),
        &["cloudtrail", "create-trail", "--name", "all", "--s3-bucket-name", "trails", "--is-multi-region-trail"],
        &["cloudtrail", "start-logging", "--name", "all"],
    ] {
        standin.aws(ACCOUNT, AUDITED, arguments).await?;
    }
    kubectl(&server, "annotate regionposture payments-eu-central-1 -n platform-ssm ssmready.dev/requestedAt=now")?;
    ready(&client, place.0, place.1).await?;
    kubectl(&server, "get regionposture payments-eu-central-1 -n platform-ssm -o jsonpath={.status.sessionAudit}")?;
    let targets = ["events", "list-targets-by-rule", "--rule", "ssm-ready-session-audit"];
    println!("\n{}", standin.aws(ACCOUNT, AUDITED, &targets).await?);

    say(
        "a third region, whose sessions are to be logged: what they are logged to has to be there, or they would be blank",
    );
    let place = ("RegionPosture", "payments-eu-west-2");
    kubectl(&server, "apply -f examples/08-session-logs.yaml")?;
    condition_is(&client, place.0, Some(NAMESPACE), place.1, ("SessionPreferencesReady", "False"), SOON).await?;
    kubectl(&server, "get regionpostures payments-eu-west-2 -n platform-ssm -o wide")?;
    let bucket = ["--bucket", "org-session-logs-euw2", "--create-bucket-configuration", "LocationConstraint=eu-west-2"];
    standin.aws(ACCOUNT, LOGGED, &[&["s3api", "create-bucket"][..], &bucket].concat()).await?;
    let key = standin.aws(ACCOUNT, LOGGED, &["kms", "create-key"]).await?;
    let key = key["KeyMetadata"]["Arn"].as_str().unwrap_or_default();
    let group = ["logs", "create-log-group", "--log-group-name", "/ssm/sessions", "--kms-key-id", key];
    standin.aws(ACCOUNT, LOGGED, &group).await?;
    kubectl(&server, "annotate regionposture payments-eu-west-2 -n platform-ssm ssmready.dev/requestedAt=now")?;
    ready(&client, place.0, place.1).await?;
    kubectl(&server, "get regionposture payments-eu-west-2 -n platform-ssm -o jsonpath={.status.sessionPreferences}")?;
    println!();

    say("the same as everybody sees it");
    kubectl(&server, "describe vpcposture payments-smallest -n platform-ssm")?;
    let api = ssm_ready_tests::objects(&client, "VpcPosture", Some(NAMESPACE));
    let object = api.get("payments-smallest").await?;
    ensure!(condition_of(&object, "Compliant")?.is_some_and(|c| c.status == "True"), "not compliant");

    let status = controller.terminate().await?;
    ensure!(status.success(), "the controller ended with {status}: {}", controller.log());
    say("done; nothing is left running");
    Ok(())
}
