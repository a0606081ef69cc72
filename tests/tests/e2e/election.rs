//! Several replicas, of which one works.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;
use ssm_ready_tests::{Controller, ControllerOptions, eventually, world::Vpc};

use crate::rig::{self, Rig, SERVICES, SOON, Setup, edit, say};

const NAMESPACE: &str = "ssm-ready";

fn elects(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let on = [("SSM_READY_LEADER_ELECT", "true"), ("SSM_READY_LEADER_ELECTION_NAMESPACE", NAMESPACE)];
    on.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Short times, for what has to wait until they run out.
fn quickly() -> Vec<(String, String)> {
    elects(&[
        ("SSM_READY_LEADER_ELECTION_LEASE_DURATION", "8"),
        ("SSM_READY_LEADER_ELECTION_RENEW_DEADLINE", "6"),
        ("SSM_READY_LEADER_ELECTION_RETRY_PERIOD", "1"),
    ])
}

async fn another(rig: &Rig, env: Vec<(String, String)>) -> Result<Controller> {
    Controller::start(&rig.server, &rig.standin, ControllerOptions { env, ..ControllerOptions::default() }).await
}

/// Who holds the Lease, and how often it has changed hands.
async fn holder(rig: &Rig) -> Result<(String, i32)> {
    let lease = Api::<Lease>::namespaced(rig.client.clone(), NAMESPACE).get("ssm-ready").await?;
    let spec = lease.spec.unwrap_or_default();
    Ok((spec.holder_identity.unwrap_or_default(), spec.lease_transitions.unwrap_or_default()))
}

async fn leads(controller: &Controller) -> Result<bool> {
    let metrics = controller.metrics().await?;
    Ok(metrics.contains("leader_election_master_status{name=\"ssm-ready\"} 1"))
}

async fn until_leading(controller: &Controller, within: Duration) -> Result<()> {
    eventually(within, "leadership", || async {
        ensure!(leads(controller).await?, "it stands by");
        Ok(())
    })
    .await
}

/// Edits all of them, and waits until AWS shows it.
async fn edited(rig: &Rig, vpcs: &[Vpc], value: &str) -> Result<()> {
    rig.postures(vpcs, &edit(value)).await?;
    eventually(SOON, format_args!("the edit {value}"), || rig.tagged(vpcs, value)).await
}

fn in_order(controller: &Controller) -> Result<()> {
    let log = controller.log();
    ensure!(!log.contains("panick"), "{log}");
    Ok(())
}

#[tokio::test]
async fn the_leader_is_killed_and_the_other_takes_over() -> Result<()> {
    rig::test(Setup::with_account().env(elects(&[])), async |rig| {
        until_leading(&rig.controller, SOON).await?;
        let mut second = another(rig, elects(&[])).await?;
        let third = another(rig, elects(&[])).await?;
        // Both are ready, and do nothing.
        ensure!(!leads(&second).await? && !leads(&third).await?, "there is one leader");
        let first_holder = holder(rig).await?;

        let vpcs = rig.vpcs(3).await?;
        let late = json!({ "endpoint_visibility_delay_seconds": 8, "group_visibility_delay_seconds": 4 });
        rig.standin.settings(&late).await?;
        rig.postures(&vpcs, &json!({})).await?;
        // In the middle of its creations.
        rig.until_another("CreateVpcEndpoint").await?;
        let died = Instant::now();
        rig.controller.kill9()?;
        let before = rig.last_call().await?;
        let successor = eventually(SOON, "a successor", || async {
            for (name, controller) in [("second", &second), ("third", &third)] {
                if leads(controller).await? {
                    return Ok(name);
                }
            }
            anyhow::bail!("nobody leads")
        })
        .await?;
        let took_over = died.elapsed();
        // The others saw its last renewal within 5 s, and wait for 35 s from then.
        ensure!(took_over < Duration::from_secs(42), "{successor} took over after {took_over:?}");
        rig.until_all_ready(&vpcs).await?;
        ensure!(leads(&second).await? != leads(&third).await?, "two lead");
        let now = holder(rig).await?;
        ensure!(now.0 != first_holder.0 && now.1 == first_holder.1 + 1, "{first_holder:?}, then {now:?}");
        let endpoints = rig.intact(&vpcs, &SERVICES).await?;
        rig.at_rest(Duration::from_secs(8)).await?;
        let writes = rig.writes_since(before).await?.len();
        say(format_args!(
            "the leader killed in the middle of its creations: another led after {:.1} s; {endpoints} endpoints, {writes} writes of the successor, nothing lost, nothing doubled",
            took_over.as_secs_f64()
        ));

        // The new leader is told to stop: it hands over at once.
        let (leader, other) = if successor == "second" { (&mut second, &third) } else { (&mut { third }, &second) };
        let asked = Instant::now();
        let status = leader.terminate().await?;
        ensure!(status.success(), "{status}: {}", leader.log());
        until_leading(other, Duration::from_secs(15)).await?;
        say(format_args!("the leader stopped by SIGTERM: another led after {:.1} s", asked.elapsed().as_secs_f64()));
        edited(rig, &vpcs, "after").await?;
        rig.intact(&vpcs, &SERVICES).await?;
        in_order(leader)?;
        in_order(other)
    })
    .await
}

#[tokio::test]
async fn a_leader_that_stood_still_does_nothing_more() -> Result<()> {
    rig::test(Setup::with_account().env(quickly()), async |rig| {
        until_leading(&rig.controller, SOON).await?;
        let second = another(rig, quickly()).await?;
        let vpcs = rig.vpcs(2).await?;
        rig.postures(&vpcs, &json!({})).await?;
        rig.until_all_ready(&vpcs).await?;
        // It stands still, as on a machine that is moved; meanwhile there is work.
        rig.controller.signal("STOP")?;
        until_leading(&second, SOON).await?;
        edited(rig, &vpcs, "meanwhile").await?;
        rig.at_rest(Duration::from_secs(3)).await?;
        let before = rig.last_call().await?;
        rig.controller.signal("CONT")?;
        let status = rig.controller.ends_by_itself(Duration::from_secs(20)).await?;
        ensure!(status.code() == Some(1), "{status}");
        ensure!(rig.controller.log().contains("the lease was lost"), "{}", rig.controller.log());
        let writes = rig.writes_since(before).await?;
        ensure!(writes.is_empty(), "{writes:?}");
        // Started again, as a pod is, it stands by and is ready.
        rig.controller.relaunch()?;
        rig.controller.wait_until_ready().await?;
        ensure!(leads(&second).await? && !leads(&rig.controller).await?, "{:?}", holder(rig).await?);
        rig.intact(&vpcs, &SERVICES).await?;
        in_order(&second)
    })
    .await
}

#[tokio::test]
async fn without_its_api_server_a_leader_ends_and_begins_again() -> Result<()> {
    rig::test(Setup::with_account().env(quickly()), async |rig| {
        until_leading(&rig.controller, SOON).await?;
        let vpcs = rig.vpcs(1).await?;
        rig.postures(&vpcs, &json!({})).await?;
        rig.until_all_ready(&vpcs).await?;
        rig.server.stop()?;
        let status = rig.controller.ends_by_itself(Duration::from_secs(30)).await?;
        ensure!(status.code() == Some(1), "{status}");
        let log = rig.controller.log();
        ensure!(log.contains("could not be renewed in time"), "{log}");
        rig.server.restart().await?;
        rig.controller.relaunch()?;
        until_leading(&rig.controller, SOON).await?;
        edited(rig, &vpcs, "after").await?;
        rig.intact(&vpcs, &SERVICES).await?;
        Ok(())
    })
    .await
}
