//! What it costs: calls, writes, CPU and memory for 20 VPCs of one account and region, under AWS's token buckets.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use ssm_ready_tests::{
    ApiServer, Controller, ControllerOptions, Flavour, Standin, eventually, objects,
    wait::condition_of,
    world::{self, REGION},
};

const ACCOUNT: &str = "111122223333";
const NAMESPACE: &str = "bench";
const VPCS: usize = 20;
/// Endpoints for each VPC: ssm, ssmmessages, ec2messages, and the S3 gateway.
const ENDPOINTS: usize = 4;
/// Sweeps that are measured.
const SWEEPS: u32 = 3;

/// The calls that the controller made since a call's number, by action, and how many of them were throttled.
async fn calls(standin: &Standin, since: u64) -> Result<(BTreeMap<String, usize>, usize, u64)> {
    let calls = standin.calls(since).await?;
    let mut by_action = BTreeMap::new();
    let (mut throttled, mut last) = (0, since);
    for call in calls.as_array().into_iter().flatten() {
        last = last.max(call["seq"].as_u64().unwrap_or_default());
        let ours = !call["role"].is_null() || call["action"] == "AssumeRole";
        if ours {
            *by_action.entry(call["action"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
            throttled += usize::from(call["code"] == "RequestLimitExceeded");
        }
    }
    Ok((by_action, throttled, last))
}

fn is_write(action: &str) -> bool {
    !["Describe", "Get", "List", "Simulate", "Assume"].iter().any(|p| action.starts_with(p))
}

fn metric(text: &str, name: &str) -> f64 {
    text.lines().filter(|l| l.starts_with(name)).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => {
            vpcs().await?;
            regions().await
        }
        Some("vpcs") => vpcs().await,
        Some("regions") => regions().await,
        Some(other) => bail!("{other} is not measured: vpcs and regions are, and without either both"),
    }
}

/// VPCs: how they converge, what a sweep costs in which nothing changes, and how soon a change is seen.
async fn vpcs() -> Result<()> {
    let (server, standin) = tokio::try_join!(ApiServer::start(), Standin::start(Flavour::Extended))?;
    world::role(&standin, ACCOUNT, world::ROLE, world::EXTERNAL_ID).await?;
    eprintln!("making {VPCS} VPCs in the stand-in");
    let mut vpcs = Vec::new();
    for number in 0..VPCS {
        vpcs.push(world::vpc(&standin, ACCOUNT, REGION, &format!("10.{number}.0.0/16")).await?);
    }
    standin.settings(&json!({ "buckets": true })).await?;
    standin.delete("calls").await?;
    let client = server.admin_client()?;
    let controller = Controller::start(&server, &standin, ControllerOptions::default()).await?;
    world::namespace(&client, NAMESPACE).await?;

    let share = 0.8;
    let started = Instant::now();
    let account = json!({
        "apiVersion": "ssmready.dev/v1alpha1", "kind": "AwsAccount", "metadata": { "name": "prod" },
        "spec": {
            "accountId": ACCOUNT,
            "assumeRole": { "roleArn": format!("arn:aws:iam::{ACCOUNT}:role/{}", world::ROLE), "externalId": world::EXTERNAL_ID },
            "access": [{ "name": "bench", "namespaces": { "from": "All" }, "maxMode": "Enforce" }],
        },
    });
    ssm_ready_tests::apply_yaml(&client, &account.to_string()).await?;
    for (number, vpc) in vpcs.iter().enumerate() {
        let spec = json!({ "interval": "10m", "endpoints": { "ec2messages": "Always" } });
        world::posture(&client, NAMESPACE, &format!("vpc-{number}"), "prod", &vpc.id, spec).await?;
    }
    eprintln!("converging under AWS's buckets (4 endpoint creations, then 0.3 a second, of which {share} are ours)");
    let api = objects(&client, "VpcPosture", Some(NAMESPACE));
    eventually(Duration::from_secs(1200), "all to be ready", || async {
        let list = api.list(&Default::default()).await?;
        let ready =
            list.iter().filter(|o| matches!(condition_of(o, "Ready"), Ok(Some(c)) if c.status == "True")).count();
        ensure!(ready == VPCS, "{ready} of {VPCS} ready");
        Ok(())
    })
    .await?;
    let took = started.elapsed();
    let (converge, throttled, last) = calls(&standin, 0).await?;
    let total: usize = converge.values().sum();
    let writes: usize = converge.iter().filter(|(a, _)| is_write(a)).map(|(_, n)| n).sum();
    let allowed = ((VPCS * ENDPOINTS) as f64 - 4.0 * share) / (0.3 * share);

    // One object with the shortest interval sets the pace of the whole account and region.
    let spec = json!({ "interval": "1m", "endpoints": { "ec2messages": "Always" } });
    world::posture(&client, NAMESPACE, "vpc-0", "prod", &vpcs[0].id, spec).await?;
    eprintln!("measuring {SWEEPS} sweeps, a minute each");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (_, _, mut since) = calls(&standin, last).await?;
    let (cpu, writes_before) =
        (controller.cpu_seconds()?, metric(&controller.metrics().await?, "ssm_ready_kube_writes_total"));
    let mut sweep: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..SWEEPS {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (more, _, at) = calls(&standin, since).await?;
        since = at;
        for (action, count) in more {
            *sweep.entry(action).or_insert(0) += count;
        }
    }
    let sweeps = *sweep.get("DescribeVpcs").context("no sweep was made")?;
    let kube_writes = metric(&controller.metrics().await?, "ssm_ready_kube_writes_total") - writes_before;
    let cpu = (controller.cpu_seconds()? - cpu) / f64::from(u32::try_from(sweeps)?);
    let per_sweep = sweep.values().sum::<usize>() as f64 / sweeps as f64;
    // An hour at 10 minutes: the fast facts six times, the slow ones once, two sessions.
    let hour = (6.0 * per_sweep + (2 + 2 * VPCS) as f64 + 4.0) / 6.0;

    let row = |what: &str, measured: String, target: &str| println!("| {what} | {measured} | {target} |");
    println!("\n| {VPCS} VPCs, one account and region | measured | target |\n|---|---|---|");
    row("calls to converge", total.to_string(), "200");
    row("writes for each VPC", format!("{:.2}", writes as f64 / VPCS as f64), "6");
    row("throttled answers", throttled.to_string(), "0");
    row(
        "time to converge under the buckets",
        format!("{:.0} s", took.as_secs_f64()),
        &format!("{:.0} s (the share allows {allowed:.0} s)", allowed * 1.1),
    );
    row("calls of a sweep with nothing changed (seen within 10m)", format!("{per_sweep:.1}"), "8");
    row("average over an hour at 10m, for each sweep", format!("{hour:.1}"), "16");
    row("Kubernetes writes in these sweeps", format!("{kube_writes:.0}"), "0");
    row("CPU of a sweep", format!("{:.0} ms", cpu * 1000.0), "75 ms");
    row("resident memory", format!("{:.1} MiB", controller.memory_kib()? as f64 / 1024.0), "40 MiB");
    println!("\nCalls to converge, by API: {}", list(&converge));
    println!("Calls of {sweeps} sweeps, by API: {}", list(&sweep));
    drop((controller, server, standin));
    Ok(())
}

/// Accounts of the second measurement, and regions of each.
const ACCOUNTS: usize = 5;
const REGIONS: [&str; 10] = [
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
];
/// Settings that each RegionPosture names.
const SETTINGS: usize = 3;

/// RegionPostures in which nothing changes: a call for each setting, and two more a region.
async fn regions() -> Result<()> {
    let (server, standin) = tokio::try_join!(ApiServer::start(), Standin::start(Flavour::Extended))?;
    let client = server.admin_client()?;
    let controller = Controller::start(&server, &standin, ControllerOptions::default()).await?;
    world::namespace(&client, NAMESPACE).await?;
    let all = ACCOUNTS * REGIONS.len();
    eprintln!("{all} RegionPostures, in {ACCOUNTS} accounts");
    for number in 0..ACCOUNTS {
        let (name, id) = (format!("account-{number}"), format!("{:012}", 200_000_000_000_u64 + number as u64));
        world::role(&standin, &id, world::ROLE, world::EXTERNAL_ID).await?;
        world::account(&client, &name, &id, &[NAMESPACE]).await?;
        let target = json!({ "accountRef": { "name": name } });
        let roles = json!({
            "apiVersion": "ssmready.dev/v1alpha1", "kind": "AccountPosture",
            "metadata": { "namespace": NAMESPACE, "name": name },
            "spec": { "target": target, "hostManagementRole": {} },
        });
        ssm_ready_tests::apply_yaml(&client, &roles.to_string()).await?;
        for region in REGIONS {
            let object = json!({
                "apiVersion": "ssmready.dev/v1alpha1", "kind": "RegionPosture",
                "metadata": { "namespace": NAMESPACE, "name": format!("{name}-{region}") },
                "spec": {
                    "target": { "accountRef": { "name": name }, "region": region },
                    "interval": "1m",
                    "hostManagement": {
                        "state": "Enabled",
                        "role": { "accountPostureRef": { "name": name }, "name": "host-management" },
                    },
                    "serviceSettings": { "publicDocumentSharing": "Disabled", "parameterTier": "IntelligentTiering" },
                    "sessionPreferences": { "idleTimeoutMinutes": 15 },
                    "instanceMetadataDefaults": { "httpTokens": "Required" },
                },
            });
            ssm_ready_tests::apply_yaml(&client, &object.to_string()).await?;
        }
    }
    let started = Instant::now();
    let api = objects(&client, "RegionPosture", Some(NAMESPACE));
    eventually(Duration::from_secs(600), "all to be ready", || async {
        let list = api.list(&Default::default()).await?;
        let ready =
            list.iter().filter(|o| matches!(condition_of(o, "Ready"), Ok(Some(c)) if c.status == "True")).count();
        ensure!(ready == all, "{ready} of {all} ready");
        Ok(())
    })
    .await?;
    let took = started.elapsed();
    eprintln!("measuring {SWEEPS} sweeps, a minute each");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (_, _, since) = calls(&standin, 0).await?;
    let before = metric(&controller.metrics().await?, "ssm_ready_kube_writes_total");
    tokio::time::sleep(Duration::from_secs(60) * SWEEPS).await;
    let (sweep, _, _) = calls(&standin, since).await?;
    let kube_writes = metric(&controller.metrics().await?, "ssm_ready_kube_writes_total") - before;
    let swept = *sweep.get("GetInstanceMetadataDefaults").context("no sweep was made")?;
    let of_regions = ["GetServiceSetting", "GetDocument", "GetInstanceMetadataDefaults"];
    let count: usize = of_regions.iter().filter_map(|action| sweep.get(*action)).sum();
    let row = |what: &str, measured: String, target: &str| println!("| {what} | {measured} | {target} |");
    println!(
        "\n| {all} RegionPostures of {SETTINGS} settings, preferences and defaults | measured | target |\n|---|---|---|"
    );
    row("time to converge", format!("{:.0} s", took.as_secs_f64()), "-");
    row(
        "calls of a sweep with nothing changed, for each region (seen within 10m)",
        format!("{:.1}", count as f64 / swept as f64),
        &(SETTINGS + 2).to_string(),
    );
    row("Kubernetes writes in these sweeps", format!("{kube_writes:.0}"), "0");
    row("resident memory", format!("{:.1} MiB", controller.memory_kib()? as f64 / 1024.0), "-");
    println!("\nCalls of {SWEEPS} minutes, by API: {}", list(&sweep));
    Ok(())
}

fn list(calls: &BTreeMap<String, usize>) -> String {
    calls.iter().map(|(action, count)| format!("{action} {count}")).collect::<Vec<_>>().join(", ")
}
