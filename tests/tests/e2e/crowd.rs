//! Two thousand objects at once, most of which can never be ready.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use ssm_ready_tests::{
    eventually, objects,
    wait::condition_of,
    world::{self, EXTERNAL_ID, REGION, ROLE},
};

use crate::rig::{self, NS, Setup, edit, say};

const OBJECTS: usize = 2000;
/// Of so many objects one names a VPC that exists.
const EXISTS: usize = 100;
const ACCOUNTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(400);

fn account_of(number: usize) -> String {
    format!("30000000000{}", number % ACCOUNTS)
}

fn posture(number: usize, vpc: &str) -> Value {
    json!({
        "apiVersion": "ssmready.dev/v1alpha1",
        "kind": "VpcPosture",
        "metadata": { "namespace": NS, "name": format!("crowd-{number}") },
        "spec": {
            "target": { "accountRef": { "name": format!("crowd-{}", number % ACCOUNTS) }, "region": REGION, "vpcId": vpc },
            "interval": "30m",
            "endpoints": { "s3": { "type": "None" } },
        },
    })
}

/// How many objects say something of themselves, and how many are ready.
fn told(list: &[DynamicObject]) -> Result<(usize, usize)> {
    let (mut told, mut ready) = (0, 0);
    for object in list {
        if let Some(condition) = condition_of(object, "Ready")?
            && condition.status != "Unknown"
        {
            told += 1;
            ready += usize::from(condition.status == "True");
        }
    }
    Ok((told, ready))
}

#[tokio::test]
async fn two_thousand_objects_at_once() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        // Somebody who was there before, in another account.
        let vpcs = rig.vpcs(1).await?;
        rig.postures(&vpcs, &edit("one")).await?;
        for number in 0..ACCOUNTS {
            world::role(&rig.standin, &account_of(number), ROLE, EXTERNAL_ID).await?;
            world::account(&rig.client, &format!("crowd-{number}"), &account_of(number), &[NS]).await?;
        }
        let mut existing = BTreeMap::new();
        for number in (0..OBJECTS).step_by(EXISTS) {
            // Each account gets its share.
            let number = number + number / EXISTS % ACCOUNTS;
            let cidr = format!("10.{}.0.0/16", number / EXISTS);
            let vpc = world::vpc(&rig.standin, &account_of(number), REGION, &cidr).await?;
            existing.insert(number, vpc.id);
        }
        rig.until_all_ready(&vpcs).await?;

        let api = objects(&rig.client, "VpcPosture", Some(NS));
        let (began, calls) = (Instant::now(), rig.last_call().await?);
        let created = futures::stream::iter(0..OBJECTS).map(|number| {
            let vpc = existing.get(&number).cloned().unwrap_or_else(|| format!("vpc-0dead{number:012x}"));
            let api = &api;
            async move {
                let object: DynamicObject = serde_json::from_value(posture(number, &vpc))?;
                api.create(&PostParams::default(), &object).await.map(drop).map_err(anyhow::Error::from)
            }
        });
        created.buffer_unordered(24).try_collect::<()>().await?;
        let created = began.elapsed();

        // Edits are handled while that is worked off: of one of the crowd, and of one that was there before.
        let edited = Instant::now();
        let suspend = Patch::Merge(json!({ "spec": { "suspend": true } }));
        let last = format!("crowd-{}", OBJECTS - 1);
        api.patch(&last, &PatchParams::default(), &suspend).await?;
        rig.until(&last, "Suspended", "True", "Suspended").await?;
        let first_edit = edited.elapsed();
        let edited = Instant::now();
        rig.postures(&vpcs, &edit("two")).await?;
        rig.until_all_ready(&vpcs).await?;
        let second_edit = edited.elapsed();
        rig.tagged(&vpcs, "two").await?;
        let (told_then, _) = told(&api.list(&ListParams::default()).await?.items)?;

        let all = eventually(PATIENCE, "every object to say something of itself", || async {
            let list = api.list(&ListParams::default()).await?.items;
            let (told, ready) = told(&list)?;
            // All but the one that was suspended before it was looked at.
            ensure!(told + 1 >= list.len() && list.len() == OBJECTS + 1, "{told} of {}, {ready} ready", list.len());
            Ok(())
        });
        all.await?;
        let all = began.elapsed();
        let memory = rig.controller.memory_peak_kib()? / 1024;

        for (number, vpc) in &existing {
            rig.until_ready(&format!("crowd-{number}")).await.with_context(|| vpc.clone())?;
        }
        let ready = began.elapsed();
        for account in 0..ACCOUNTS {
            let answer = rig.standin.aws(&account_of(account), REGION, &["ec2", "describe-vpc-endpoints"]).await?;
            let mut found = BTreeMap::new();
            for endpoint in answer["VpcEndpoints"].as_array().into_iter().flatten() {
                *found.entry((endpoint["VpcId"].to_string(), endpoint["ServiceName"].to_string())).or_insert(0) += 1;
            }
            ensure!(found.len() == 2 * existing.len() / ACCOUNTS && found.values().all(|n| *n == 1), "{found:?}");
        }
        // One pass is enough for the first; the second takes several, each behind those of the crowd that are as new, and
        // has to be done within the patience of `until_all_ready`. A bound is generous, for slow machines.
        ensure!(first_edit < Duration::from_secs(60), "an edit that takes one pass took {first_edit:?}");
        let made = rig.standin.calls(calls).await?;
        let made = made.as_array().into_iter().flatten().filter(|c| !c["role"].is_null());
        let (writes, reads): (Vec<_>, Vec<_>) = made.partition(|call| rig::is_write(call));
        say(format_args!(
            "{OBJECTS} objects at once, {} with a VPC: applied in {} s, all have a condition after {} s, the {} are ready \
             after {} s, {} AWS reads and {} writes, {memory} MiB at most; edits meanwhile ({told_then} told by then) after \
             {:.1} s and {:.1} s: nothing lost, nothing doubled",
            existing.len(),
            created.as_secs(),
            all.as_secs(),
            existing.len(),
            ready.as_secs(),
            reads.len(),
            writes.len(),
            first_edit.as_secs_f64(),
            second_edit.as_secs_f64(),
        ));
        Ok(())
    })
    .await
}
