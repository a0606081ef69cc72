//! Everything goes wrong at once, for a while: then there is one of each, nothing is lost and nothing doubled.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ssm_ready_tests::{Random, WallClock, eventually, world};

use crate::rig::{self, ACCOUNT, Rig, SERVICES, SOON, Setup, edit, is_write, say};

const KILLS: u32 = 12;

#[tokio::test]
async fn killed_again_and_again_while_it_converges() -> Result<()> {
    let seed = Random::seed();
    let outcome = rig::test(Setup::with_account(), async |rig| kills(rig, seed).await).await;
    outcome.with_context(|| format!("SSM_READY_SEED={seed} repeats the moments"))
}

async fn kills(rig: &mut Rig, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let vpcs = rig.vpcs(5).await?;
    let late = json!({ "endpoint_visibility_delay_seconds": 8, "group_visibility_delay_seconds": 4 });
    rig.standin.settings(&late).await?;
    // Slow answers, so that the process is killed between a call and its answer.
    let slow = json!({ "service": "ec2", "action": "Create*", "effect": "delay", "ms": 800, "times": null });
    rig.standin.fault(&slow).await?;
    let began = rig.last_call().await?;
    rig.postures(&vpcs, &json!({})).await?;
    let mut in_writes = 0;
    for _ in 0..KILLS {
        // From before it has looked at anything to after its first creations.
        tokio::time::sleep(Duration::from_millis(300 + random.below(2500))).await;
        rig.controller.relaunch()?;
        // Who calls is recorded with the answer, which has not been given yet.
        let calls = rig.standin.calls(began).await?;
        let calls = calls.as_array().into_iter().flatten();
        in_writes += calls.filter(|c| c["status"].is_null() && c["code"].is_null() && is_write(c)).count();
    }
    let left = (vpcs.len() * SERVICES.len()).saturating_sub(rig.standin_endpoints().await?);
    rig.controller.wait_until_ready().await?;
    rig.standin.clear_faults().await?;
    rig.until_all_ready(&vpcs).await?;
    let endpoints = rig.intact(&vpcs, &SERVICES).await?;
    // Once more, with nothing to do: what was remembered only in the process is not missed.
    rig.crash().await?;
    rig.at_rest(Duration::from_secs(8)).await?;
    rig.intact(&vpcs, &SERVICES).await?;
    let tried = rig.writes_since(began).await?.len();
    say(format_args!(
        "kill -9: {KILLS} times while {endpoints} endpoints of {} VPCs were made and listed late (seed {seed}; {left} still \
         missing at the last, {in_writes} writes cut off, {tried} tried in all): nothing lost, nothing doubled",
        vpcs.len()
    ));
    Ok(())
}

fn hits(faults: &[Value], effect: &str) -> u64 {
    faults.iter().filter(|f| f["effect"] == effect).filter_map(|f| f["hits"].as_u64()).sum()
}

#[tokio::test]
async fn every_failure_of_aws_at_once() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpcs = rig.vpcs(2).await?;
        let late = json!({ "endpoint_visibility_delay_seconds": 5, "group_visibility_delay_seconds": 3 });
        rig.standin.settings(&late).await?;
        let role = format!("arn:aws:iam::{ACCOUNT}:role/{}", world::ROLE);
        // A delay lets the call go on to the next fault.
        for (seed, (effect, probability)) in
            [("delay", 0.5), ("throttle", 0.3), ("lost", 0.1), ("lost-before", 0.05), ("http500", 0.15)]
                .iter()
                .enumerate()
        {
            // What the role calls, and becoming the role.
            for whose in [json!({ "role": role }), json!({ "service": "sts", "action": "AssumeRole" })] {
                let mut fault = json!({
                    "effect": effect, "probability": probability, "seed": seed, "times": null, "ms": 2000,
                });
                for (name, value) in whose.as_object().into_iter().flatten() {
                    fault[name] = value.clone();
                }
                rig.standin.fault(&fault).await?;
            }
        }
        let began = rig.last_call().await?;
        rig.postures(&vpcs, &json!({})).await?;
        let lasted = Instant::now();
        tokio::time::sleep(Duration::from_secs(40)).await;
        let faults = eventually(SOON, "each of the faults", || async {
            let faults = rig.standin.get("faults").await?.as_array().cloned().unwrap_or_default();
            for effect in ["delay", "throttle", "lost", "http500"] {
                ensure!(hits(&faults, effect) > 0, "no {effect}");
            }
            Ok(faults)
        })
        .await?;
        let (hits, lasted) = (|effect| hits(&faults, effect), lasted.elapsed().as_secs());
        rig.standin.clear_faults().await?;
        rig.until_all_ready(&vpcs).await?;
        let endpoints = rig.intact(&vpcs, &SERVICES).await?;
        rig.at_rest(Duration::from_secs(5)).await?;
        say(format_args!(
            "AWS fails: {} calls 2 s late, {} throttled, {} answers and {} requests lost, {} times 500, within {lasted} s: \
             {endpoints} endpoints by {} writes, nothing lost, nothing doubled",
            hits("delay"),
            hits("throttle"),
            hits("lost"),
            hits("lost-before"),
            hits("http500"),
            rig.writes_since(began).await?.len(),
        ));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn credentials_end_in_the_middle() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        let vpcs = rig.vpcs(2).await?;
        rig.postures(&vpcs, &json!({})).await?;
        let mut expired = 0;
        for _ in 0..3 {
            rig.until_another("CreateVpcEndpoint").await?;
            let answer = rig.standin.post("sessions/expire", &json!({ "account": ACCOUNT })).await?;
            expired += answer["expired"].as_u64().unwrap_or_default();
        }
        rig.until_all_ready(&vpcs).await?;
        rig.intact(&vpcs, &SERVICES).await?;
        // And when there is nothing to do: the next look has new ones, and says nothing of it.
        let answer = rig.standin.post("sessions/expire", &json!({ "account": ACCOUNT })).await?;
        expired += answer["expired"].as_u64().unwrap_or_default();
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpcs[0].id).await?;
        let ssm = endpoints["ssm"]["VpcEndpointId"].as_str().unwrap_or_default().to_owned();
        rig.aws(&["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", &ssm]).await?;
        rig.look_again("v0", "expired").await?;
        // A look that failed keeps what was known before, and is made once more within a minute.
        let endpoints = eventually(SOON, "the repair", || async { rig.intact(&vpcs, &SERVICES).await }).await?;
        rig.until_all_ready(&vpcs).await?;
        ensure!(expired > 3, "only {expired} sessions were ended");
        say(format_args!(
            "credentials: {expired} sessions ended while they were in use: {endpoints} endpoints, nothing lost, nothing doubled"
        ));
        Ok(())
    })
    .await
}

/// AWS refuses what is signed more than five minutes from its own time, and facts grow old by a clock.
#[tokio::test]
async fn the_clock_jumps() -> Result<()> {
    let clock = WallClock::new()?;
    rig::test(Setup::with_account().env(clock.env()), async |rig| {
        let vpcs = rig.vpcs(2).await?;
        rig.postures(&vpcs, &edit("one")).await?;
        rig.until_another("CreateVpcEndpoint").await?;
        clock.set(3600)?;
        rig.until_all_ready(&vpcs).await?;
        rig.intact(&vpcs, &SERVICES).await?;
        let refused = rig.standin.calls(0).await?;
        let refused = refused.as_array().into_iter().flatten().filter(|c| c["code"] == "AuthFailure").count();
        ensure!(refused > 0, "AWS noticed nothing");

        // Back beyond the true time: what was read is of the future now, and must not count as fresh for two hours.
        clock.set(-3600)?;
        let edited = Instant::now();
        rig.postures(&vpcs, &edit("two")).await?;
        rig.until_all_ready(&vpcs).await?;
        rig.tagged(&vpcs, "two").await?;
        let edited = edited.elapsed();

        // Nor do the looks at AWS stop, for which nobody asks.
        let endpoints = world::endpoints(&rig.standin, ACCOUNT, world::REGION, &vpcs[0].id).await?;
        let ssm = endpoints["ssm"]["VpcEndpointId"].as_str().unwrap_or_default().to_owned();
        rig.aws(&["ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", &ssm]).await?;
        let drifted = Instant::now();
        eventually(SOON, "the repair, without an edit", || async { rig.intact(&vpcs, &SERVICES).await }).await?;
        let drifted = drifted.elapsed();
        clock.set(0)?;
        rig.until_all_ready(&vpcs).await?;
        let endpoints = rig.intact(&vpcs, &SERVICES).await?;
        say(format_args!(
            "clock: 1 h ahead while it converges ({refused} signatures refused), then 1 h behind: an edit acted on after {} s, \
             a drift repaired after {} s, {endpoints} endpoints, nothing lost, nothing doubled",
            edited.as_secs(),
            drifted.as_secs(),
        ));
        Ok(())
    })
    .await
}
