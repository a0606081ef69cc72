//! DeleteVpcEndpoints: 200 is not success (domain 1.8).

use std::time::Duration;

use anyhow::Result;
use ssm_ready_core::{calls::Operation, facts::EndpointState, fault::FaultKind, ids::EndpointId};

use crate::{
    lab::{DELETING, LISTED, Lab, Rule, Weather},
    stage::{Stage, refused},
};

facts!(
    several_are_deleted_in_one_call,
    one_that_is_not_there_does_not_save_the_others,
    one_that_is_gone_is_deleted,
    one_that_is_not_listed_yet_is_not_there_to_be_deleted,
    deleting_again_is_done,
    a_pending_endpoint_is_deleted,
    a_failed_endpoint_is_deleted_and_frees_its_name,
    a_requester_managed_endpoint_is_not_deleted,
    what_aws_calls_unsuccessful_is_still_there,
);

async fn several_are_deleted_in_one_call(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let main = stage.main_table().await?.id;
    let ssm = stage.create(stage.interface("ssm")).await?;
    let kms = stage.create(stage.interface("kms")).await?;
    let kept = stage.create(stage.interface("logs")).await?;
    let s3 = stage.available(stage.gateway(&[&main])).await?;
    assert_eq!(stage.delete(&[&ssm, &kms, &s3]).await?, []);
    stage.pass(DELETING).await?;
    stage.cloud.endpoints(&stage.scope).await?;
    stage.pass(LISTED).await?;
    let left = stage.cloud.endpoints(&stage.scope).await?;
    assert_eq!(
        left.iter().map(|endpoint| (&endpoint.id, &endpoint.state)).collect::<Vec<_>>(),
        [(&kept, &EndpointState::Available)]
    );
    Ok(())
}

async fn one_that_is_not_there_does_not_save_the_others(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    let nowhere = EndpointId::from("vpce-0ffffffffffffff99");
    assert_eq!(stage.delete(&[&nowhere, &id]).await?, [], "what is not there counts as deleted");
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Deleting);
    Ok(())
}

async fn one_that_is_gone_is_deleted(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let nowhere = EndpointId::from("vpce-0ffffffffffffff99");
    assert_eq!(stage.delete(&[&nowhere]).await?, []);
    let id = stage.available(stage.interface("ssm")).await?;
    stage.delete_for_good(&id).await?;
    assert_eq!(stage.delete(&[&id]).await?, []);
    Ok(())
}

/// EC2 is eventually consistent: what is "not found" may come up later, alive (1.7).
async fn one_that_is_not_listed_yet_is_not_there_to_be_deleted(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::VisibleAfter(Duration::from_secs(30))).await?;
    let id = stage.create(stage.interface("ssm")).await?;
    assert_eq!(stage.delete(&[&id]).await?, []);
    stage.pass(Duration::from_secs(30)).await?;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Pending);
    assert_eq!(stage.delete(&[&id]).await?, []);
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Deleting);
    Ok(())
}

async fn deleting_again_is_done(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    assert_eq!(stage.delete(&[&id]).await?, []);
    lab.pass_time(DELETING / 2).await?;
    assert_eq!(stage.delete(&[&id]).await?, []);
    // Not from the beginning.
    stage.pass(DELETING / 2).await?;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Deleted);
    assert_eq!(stage.delete(&[&id]).await?, []);
    Ok(())
}

async fn a_pending_endpoint_is_deleted(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create(stage.interface("ssm")).await?;
    assert_eq!(stage.delete(&[&id]).await?, []);
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Deleting);
    Ok(())
}

/// Failed, rejected and expired ones never recover: they are deleted and made anew (1.7).
async fn a_failed_endpoint_is_deleted_and_frees_its_name(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    lab.endpoint_state(&stage.at, &id, "Failed").await?;
    stage.delete_for_good(&id).await?;
    let mut again = stage.interface("ssm");
    again.client_token.push_str("-again");
    let again = stage.available(again).await?;
    assert_ne!(again, id);
    assert_eq!(stage.seen(&again).await?.state, EndpointState::Available);
    Ok(())
}

async fn a_requester_managed_endpoint_is_not_deleted(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let ours = stage.create(stage.interface("kms")).await?;
    let theirs = stage.available(stage.interface("ssm")).await?;
    lab.requester_managed(&stage.at, &theirs).await?;
    let left = stage.delete(&[&ours, &theirs]).await?;
    assert_eq!(left.iter().map(|(id, fault)| (id, fault.kind)).collect::<Vec<_>>(), [(&theirs, FaultKind::Conflict)]);
    assert_eq!(stage.seen(&theirs).await?.state, EndpointState::Available);
    assert_eq!(stage.seen(&ours).await?.state, EndpointState::Deleting);
    Ok(())
}

async fn what_aws_calls_unsuccessful_is_still_there(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let (ssm, kms) = (stage.create(stage.interface("ssm")).await?, stage.available(stage.interface("kms")).await?);
    lab.weather(&stage.at, Operation::DeleteVpcEndpoints, Weather::Unsuccessful).await?;
    let mut left = stage.delete(&[&ssm, &kms]).await?;
    left.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut both = [ssm.clone(), kms];
    both.sort_unstable();
    assert_eq!(left.iter().map(|(id, _)| id).collect::<Vec<_>>(), both.iter().collect::<Vec<_>>());
    for (id, fault) in left {
        refused(FaultKind::Transient, Err::<(), _>(fault))?;
        assert_eq!(stage.seen(&id).await?.state, EndpointState::Available);
    }
    lab.clear_weather(&stage.at).await?;
    assert_eq!(stage.delete(&[&ssm]).await?, []);
    Ok(())
}
