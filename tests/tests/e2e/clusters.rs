//! Two clusters, each with its own controller, at one VPC.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use ssm_ready_tests::{
    eventually, objects,
    wait::{condition_is, condition_of},
    world::{self, REGION, conditions},
};

use crate::rig::{self, ACCOUNT, NS, Rig, SERVICES, SOON, Setup, say};

/// The endpoints of a VPC, and how many of them carry each cluster's tag.
async fn made_by(rig: &Rig, vpc: &str) -> Result<(usize, usize)> {
    let endpoints = world::endpoints(&rig.standin, ACCOUNT, REGION, vpc).await?;
    let found: Vec<&str> = endpoints.keys().map(String::as_str).collect();
    ensure!(found == SERVICES, "{found:?}");
    let of = |cluster: &str| {
        let tag = json!({ "Key": "ssmready.dev/cluster", "Value": cluster });
        endpoints.values().filter(|e| e["Tags"].as_array().is_some_and(|tags| tags.contains(&tag))).count()
    };
    Ok((of("test"), of("other")))
}

#[tokio::test]
async fn two_clusters_at_one_vpc_do_not_fight() -> Result<()> {
    rig::test(Setup::with_account(), async |rig| {
        rig.add_neighbour("other").await?;
        let theirs = rig.neighbour.as_ref().context("no neighbour")?.client.clone();
        let vpcs = rig.vpcs(2).await?;
        let (first, second) = (&vpcs[0].id, &vpcs[1].id);

        // One is there already: the other uses what it made, and changes nothing of it.
        rig.posture("first", first, json!({ "endpoints": { "deletionPolicy": "Delete" } })).await?;
        rig.until_ready("first").await?;
        let settled = rig.last_call().await?;
        world::posture(&theirs, NS, "first", "prod", first, json!({})).await?;
        let ready = condition_is(&theirs, "VpcPosture", Some(NS), "first", ("Ready", "True"), SOON).await?;
        let using = condition_is(&theirs, "VpcPosture", Some(NS), "first", ("EndpointsReady", "True"), SOON).await?;
        ensure!(using.reason == "UsingExisting", "{using:?}, {ready:?}");
        let changed = rig.writes_since(settled).await?;
        // A group of its own is ready for the day when it has endpoints of its own.
        let of_group = ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress"];
        let changed: Vec<_> =
            changed.iter().filter(|c| !of_group.contains(&c["action"].as_str().unwrap_or_default())).collect();
        ensure!(changed.is_empty(), "the second one changed something: {changed:?}");
        ensure!(made_by(rig, first).await? == (3, 0), "{:?}", made_by(rig, first).await?);

        // Both begin at the same time.
        let both = json!({ "endpoints": { "deletionPolicy": "Delete" } });
        let (ours, others) = tokio::join!(
            world::posture(&rig.client, NS, "second", "prod", second, both.clone()),
            world::posture(&theirs, NS, "second", "prod", second, both),
        );
        ours.and(others)?;
        rig.until_ready("second").await?;
        condition_is(&theirs, "VpcPosture", Some(NS), "second", ("Ready", "True"), SOON).await?;
        let shares = made_by(rig, second).await?;
        ensure!(shares.0 + shares.1 == 3, "{shares:?}");
        // More than an interval: both have looked again by themselves.
        let settled = rig.last_call().await?;
        rig.at_rest(Duration::from_secs(75)).await?;
        let looks = rig.standin.calls(settled).await?;
        let looks = looks.as_array().into_iter().flatten().filter(|c| c["action"] == "DescribeVpcEndpoints").count();
        ensure!(looks >= 2, "only {looks} looks within more than an interval");

        // What the first one made goes with its object: the other sees that, and makes its own.
        let api = objects(&rig.client, "VpcPosture", Some(NS));
        api.delete("first", &Default::default()).await?;
        eventually(SOON, "the object to go", || async {
            match api.get_opt("first").await? {
                None => Ok(()),
                Some(object) => bail!("{}", conditions(&object)),
            }
        })
        .await?;
        let api = objects(&theirs, "VpcPosture", Some(NS));
        eventually(SOON, "the other one to make its own", || async {
            let object = api.get("first").await?;
            let ready = condition_of(&object, "Ready")?;
            ensure!(ready.is_some_and(|c| c.status == "True"), "{}", conditions(&object));
            let shares = made_by(rig, first).await?;
            ensure!(shares == (0, 3), "{shares:?}");
            Ok(())
        })
        .await?;
        say(format_args!(
            "two clusters at one VPC: the second used the first one's 3 endpoints and took over when they went; begun at \
             once they made {} and {} of 3; {looks} looks later not one write: nothing lost, nothing doubled",
            shares.0, shares.1
        ));
        Ok(())
    })
    .await
}
