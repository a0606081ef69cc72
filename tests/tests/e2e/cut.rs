//! Kubernetes fails: the API server is away, its watches break or go silent, it refuses writes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use ssm_ready_tests::{Random, Refusal, objects, wait::condition_is};

use crate::rig::{self, NS, Rig, SERVICES, SOON, Setup, edit, say};

#[tokio::test]
async fn the_api_server_is_restarted() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let pid = rig.controller.pid();
        let vpcs = rig.vpcs(3).await?;
        rig.postures(&vpcs, &edit("one")).await?;
        for _ in 0..2 {
            rig.until_another("CreateVpcEndpoint").await?;
            rig.server.stop()?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            rig.server.restart().await?;
        }
        rig.until_all_ready(&vpcs).await?;
        rig.intact(&vpcs, &SERVICES).await?;
        // At rest: nothing is done because of it, and the next edit is seen.
        rig.server.restart().await?;
        rig.at_rest(Duration::from_secs(5)).await?;
        rig.postures(&vpcs, &edit("two")).await?;
        rig.until_all_ready(&vpcs).await?;
        rig.tagged(&vpcs, "two").await?;
        let endpoints = rig.intact(&vpcs, &SERVICES).await?;
        ensure!(rig.controller.pid() == pid, "the controller was started again");
        say(format_args!(
            "API server: restarted twice while it converges and once at rest: {endpoints} endpoints, nothing lost, nothing \
             doubled, the edit after it acted on"
        ));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_watch_is_cut_and_goes_silent() -> Result<()> {
    rig::test(Setup::with_account().proxy(0), async |rig| {
        let vpcs = rig.vpcs(2).await?;
        rig.postures(&vpcs, &edit("0")).await?;
        let mut edits = 0;
        // While it converges: each time something is edited that the watch cannot tell.
        for silent in [false, true, false, true] {
            edits += 1;
            if silent { rig.proxy()?.silence() } else { rig.proxy()?.cut() }
            rig.postures(&vpcs, &edit(&edits.to_string())).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            rig.proxy()?.open();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        acted_on(rig, &vpcs, edits).await?;
        // At rest.
        edits += 1;
        rig.proxy()?.cut();
        rig.postures(&vpcs, &edit(&edits.to_string())).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        rig.proxy()?.open();
        acted_on(rig, &vpcs, edits).await?;
        // Broken ten times in a row, as by a load balancer that is going down.
        for _ in 0..10 {
            rig.proxy()?.cut();
            tokio::time::sleep(Duration::from_millis(150)).await;
            rig.proxy()?.open();
            tokio::time::sleep(Duration::from_millis(350)).await;
        }
        edits += 1;
        rig.postures(&vpcs, &edit(&edits.to_string())).await?;
        acted_on(rig, &vpcs, edits).await?;
        rig.at_rest(Duration::from_secs(3)).await?;
        let endpoints = rig.intact(&vpcs, &SERVICES).await?;
        say(format_args!(
            "watch: cut 13 times, silent twice, {edits} edits of which 5 were made meanwhile: {endpoints} endpoints, all edits \
             acted on, nothing lost, nothing doubled"
        ));
        Ok(())
    })
    .await
}

/// As when a machine between the two has gone: nothing comes any more, and nobody says so.
#[tokio::test]
async fn connections_die_without_a_word() -> Result<()> {
    rig::test(Setup::with_account().proxy(0), async |rig| {
        let vpcs = rig.vpcs(2).await?;
        rig.postures(&vpcs, &edit("0")).await?;
        rig.until_another("CreateVpcEndpoint").await?;
        // Watches, and writes under way.
        rig.proxy()?.strand();
        let stranded = Instant::now();
        rig.postures(&vpcs, &edit("1")).await?;
        // It takes the controller 90 s to notice.
        condition_is(&rig.client, "VpcPosture", Some(NS), "v0", ("Ready", "True"), SOON * 2).await?;
        acted_on(rig, &vpcs, 1).await?;
        let after = stranded.elapsed().as_secs();
        let endpoints = rig.intact(&vpcs, &SERVICES).await?;
        say(format_args!(
            "connections: all died without a word while it converges, the edit made then was acted on after {after} s: \
             {endpoints} endpoints, nothing lost, nothing doubled"
        ));
        Ok(())
    })
    .await
}

async fn acted_on(rig: &Rig, vpcs: &[ssm_ready_tests::world::Vpc], edit: u32) -> Result<()> {
    rig.until_all_ready(vpcs).await?;
    rig.tagged(vpcs, &edit.to_string()).await
}

#[tokio::test]
async fn writes_to_kubernetes_are_refused() -> Result<()> {
    let seed = Random::seed();
    rig::test(Setup::with_account().proxy(seed), async |rig| {
        let refuse = |method, path_end, status, reason, percent, carried_out| Refusal {
            method: Some(method),
            path_end,
            status,
            reason,
            percent,
            carried_out,
        };
        rig.proxy()?.refuse(&[
            refuse("PATCH", "/status", 409, "Conflict", 30, false),
            refuse("PATCH", "/status", 500, "InternalError", 20, false),
            // The status is written, and the answer lost.
            refuse("PATCH", "/status", 500, "InternalError", 20, true),
            refuse("PATCH", "", 409, "Conflict", 30, false),
            refuse("POST", "/events", 500, "InternalError", 30, false),
        ]);
        let vpcs = rig.vpcs(3).await?;
        rig.postures(&vpcs, &edit("one")).await?;
        // Somebody else changes the objects all the time, so that a write with a version conflicts by itself too.
        let api = objects(&rig.client, "VpcPosture", Some(NS));
        let others = async {
            let mut writes = 0_u32;
            loop {
                for number in 0..vpcs.len() {
                    writes += 1;
                    let patch = json!({ "metadata": { "annotations": { "example.com/noise": writes.to_string() } } });
                    let patched = api.patch(&format!("v{number}"), &PatchParams::default(), &Patch::Merge(patch)).await;
                    if let Err(error) = patched {
                        return anyhow::Error::from(error);
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let converged = async {
            rig.until_all_ready(&vpcs).await?;
            rig.postures(&vpcs, &edit("two")).await?;
            rig.until_all_ready(&vpcs).await?;
            rig.tagged(&vpcs, "two").await
        };
        tokio::select! {
            outcome = converged => outcome?,
            error = others => return Err(error),
        }
        let hits = rig.proxy()?.refuse_nothing();
        ensure!(hits[..4].iter().all(|hits| *hits > 0), "not all happened: {hits:?}");
        rig.until_all_ready(&vpcs).await?;
        // The last words are as they would be without all that.
        for number in 0..vpcs.len() {
            let status = rig.get(&format!("v{number}")).await?.data["status"].clone();
            ensure!(status["endpoints"].as_array().map(Vec::len) == Some(SERVICES.len()), "{status}");
        }
        rig.at_rest(Duration::from_secs(5)).await?;
        let endpoints = rig.intact(&vpcs, &SERVICES).await?;
        say(format_args!(
            "writes to Kubernetes (seed {seed}): {} status writes met a conflict, {} failed, {} answers lost, {} other \
             conflicts, {} events refused, while somebody else changed the objects 20 times a second: {endpoints} \
             endpoints, nothing lost, nothing doubled",
            hits[0], hits[1], hits[2], hits[3], hits[4],
        ));
        Ok(())
    })
    .await
}
