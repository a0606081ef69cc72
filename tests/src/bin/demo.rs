//! The controller at work, as a new user would see it: from nothing to ready, and back after somebody deleted something.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use ssm_ready_tests::{
    ApiServer, Controller, ControllerOptions, Flavour, Standin, condition_is, eventually, repository,
    wait::condition_of,
    world::{self, REGION},
};

const ACCOUNT: &str = "111122223333";
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
    condition_is(client, "VpcPosture", Some(NAMESPACE), name, ("Ready", "True"), SOON).await.map(drop)
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
