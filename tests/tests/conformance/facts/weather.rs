//! Throttling, failures, and answers that are lost (domain 7 and 1.7).

use std::time::Duration;

use anyhow::{Result, ensure};
use ssm_ready_core::{
    calls::Operation,
    fault::{FaultKind, NO_ANSWER},
    write::{EndpointChange, Write},
};
use tokio::time::Instant;

use crate::{
    lab::{Lab, PENDING, Rule, Weather},
    stage::{Stage, refused, refused_as, tags},
};

facts!(
    creations_are_limited_to_a_burst_of_four,
    a_throttled_write_is_throttled_and_does_nothing,
    a_throttled_read_is_throttled,
    a_failing_aws_is_transient,
    a_write_whose_answer_is_lost_was_done,
    a_group_whose_answer_is_lost_was_made,
    a_change_whose_answer_is_lost_was_made,
    a_write_that_does_not_arrive_does_nothing,
    weather_in_one_account_leaves_the_others_alone,
);

/// CreateVpcEndpoint's token bucket holds 4, and gets 0.3 a second (7), whoever calls.
async fn creations_are_limited_to_a_burst_of_four(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::TokenBuckets).await?;
    let (mut made, began) = (0_u32, Instant::now());
    for short in ["ssm", "ssmmessages", "ec2messages", "kms", "logs", "ec2", "monitoring", "sts"] {
        // Each with a limiter that knows nothing of the others.
        let write = Write::CreateEndpoint(Box::new(stage.interface(short)));
        match lab.cloud().write(&stage.scope, &write).await {
            Ok(_) => made += 1,
            Err(fault) => {
                refused_as(FaultKind::Throttled, "RequestLimitExceeded", Err::<(), _>(fault))?;
            }
        }
    }
    // Where time is real, the bucket fills up meanwhile.
    let most = 4.0 + began.elapsed().as_secs_f64() * 0.3;
    ensure!(made >= 4 && f64::from(made) <= most, "{made} were made, not 4 to {most}");
    lab.pass_time(Duration::from_secs(4)).await?;
    let write = Write::CreateEndpoint(Box::new(stage.interface("s3")));
    lab.cloud().write(&stage.scope, &write).await?;
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?.len(), usize::try_from(made)? + 1);
    Ok(())
}

/// `RequestLimitExceeded`, with HTTP status 503.
async fn a_throttled_write_is_throttled_and_does_nothing(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.weather(&stage.at, Operation::CreateVpcEndpoint, Weather::Throttled).await?;
    let code = "RequestLimitExceeded";
    refused_as(FaultKind::Throttled, code, stage.create(stage.interface("ssm")).await)?;
    lab.clear_weather(&stage.at).await?;
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?, []);
    lab.cloud().write(&stage.scope, &Write::CreateEndpoint(Box::new(stage.interface("ssm")))).await?;
    Ok(())
}

/// Of EC2 and of Systems Manager, which has another code for it.
async fn a_throttled_read_is_throttled(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    for operation in [Operation::DescribeVpcEndpoints, Operation::DescribeInstanceInformation] {
        lab.weather(&stage.at, operation, Weather::Throttled).await?;
    }
    refused(FaultKind::Throttled, stage.cloud.endpoints(&stage.scope).await)?;
    let fault = refused(FaultKind::Throttled, stage.cloud.managed_nodes(&stage.scope).await)?;
    assert_eq!(fault.operation, Operation::DescribeInstanceInformation);
    lab.clear_weather(&stage.at).await?;
    lab.cloud().endpoints(&stage.scope).await?;
    Ok(())
}

/// HTTP status 500.
async fn a_failing_aws_is_transient(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    for operation in [Operation::DescribeVpcs, Operation::CreateVpcEndpoint] {
        lab.weather(&stage.at, operation, Weather::ServerError).await?;
    }
    refused(FaultKind::Transient, stage.cloud.vpcs(&stage.scope).await)?;
    refused(FaultKind::Transient, stage.create(stage.interface("ssm")).await)?;
    lab.clear_weather(&stage.at).await?;
    stage.cloud.vpcs(&stage.scope).await?;
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?, []);
    Ok(())
}

/// The endpoint is there, and the same token gives it (1.7).
async fn a_write_whose_answer_is_lost_was_done(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.weather(&stage.at, Operation::CreateVpcEndpoint, Weather::LostAnswer).await?;
    refused_as(FaultKind::Transient, NO_ANSWER, stage.create(stage.interface("ssm")).await)?;
    lab.clear_weather(&stage.at).await?;
    let made = stage.cloud.endpoints(&stage.scope).await?;
    assert_eq!(made.len(), 1);
    assert_eq!(stage.create(stage.interface("ssm")).await?, made[0].id);
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?.len(), 1);
    Ok(())
}

async fn a_group_whose_answer_is_lost_was_made(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let owner = tags(&[("owner", "us")]);
    lab.weather(&stage.at, Operation::CreateSecurityGroup, Weather::LostAnswer).await?;
    refused_as(FaultKind::Transient, NO_ANSWER, stage.create_group("ours", &owner).await)?;
    lab.clear_weather(&stage.at).await?;
    refused_as(FaultKind::Conflict, "InvalidGroup.Duplicate", stage.create_group("ours", &owner).await)?;
    let groups = stage.cloud.security_groups(&stage.scope).await?;
    let ours: Vec<_> = groups.iter().filter(|group| group.name == "ours").map(|group| &group.tags).collect();
    assert_eq!(ours, [&owner]);
    Ok(())
}

async fn a_change_whose_answer_is_lost_was_made(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    lab.weather(&stage.at, Operation::ModifyVpcEndpoint, Weather::LostAnswer).await?;
    let off = EndpointChange { private_dns: Some(false), ..EndpointChange::default() };
    refused_as(FaultKind::Transient, NO_ANSWER, stage.change(&id, off).await)?;
    lab.clear_weather(&stage.at).await?;
    stage.pass(PENDING).await?;
    assert!(!stage.seen(&id).await?.private_dns);
    Ok(())
}

async fn a_write_that_does_not_arrive_does_nothing(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.weather(&stage.at, Operation::CreateVpcEndpoint, Weather::LostRequest).await?;
    refused_as(FaultKind::Transient, NO_ANSWER, stage.create(stage.interface("ssm")).await)?;
    lab.clear_weather(&stage.at).await?;
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?, []);
    stage.create(stage.interface("ssm")).await?;
    Ok(())
}

async fn weather_in_one_account_leaves_the_others_alone(lab: &dyn Lab) -> Result<()> {
    let (bad, good) = (Stage::set(lab).await?, Stage::set(lab).await?);
    for operation in [Operation::DescribeVpcs, Operation::CreateVpcEndpoint] {
        lab.weather(&bad.at, operation, Weather::Denied).await?;
    }
    refused(FaultKind::Denied, bad.cloud.vpcs(&bad.scope).await)?;
    good.cloud.vpcs(&good.scope).await?;
    good.create(good.interface("ssm")).await?;
    Ok(())
}
