//! Metadata defaults, and the regions of an account (domain 3.2).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    calls::Operation,
    facts::settings::{MetadataDefaults, MetadataField},
    fault::FaultKind,
    ids::InstanceId,
    write::Write,
};

use crate::{
    lab::{ELSEWHERE, Lab, Launch, Rule, Weather},
    stage::{Desk, Stage, refused, refused_as},
};

facts!(
    there_are_no_metadata_defaults_at_first,
    metadata_defaults_are_set_field_by_field,
    no_preference_takes_a_default_away,
    metadata_defaults_have_fixed_values,
    a_declarative_policy_decides,
    metadata_defaults_are_of_an_account_and_region,
    defaults_act_on_later_launches_alone,
    a_launch_may_say_otherwise,
    denied_metadata_defaults_name_their_action,
    the_regions_of_an_account_are_those_that_are_enabled,
);

fn values(pairs: &[(MetadataField, &str)]) -> BTreeMap<MetadataField, String> {
    pairs.iter().map(|(field, value)| (*field, (*value).to_owned())).collect()
}

fn modify(pairs: &[(MetadataField, &str)]) -> Write {
    Write::ModifyMetadataDefaults { values: values(pairs) }
}

async fn seen(desk: &Desk<'_>) -> Result<MetadataDefaults> {
    Ok(desk.cloud().await.metadata_defaults(&desk.scope).await?)
}

/// A field that is absent from the answer has no default.
async fn there_are_no_metadata_defaults_at_first(lab: &dyn Lab) -> Result<()> {
    assert_eq!(seen(&Desk::set(lab).await?).await?, MetadataDefaults::default());
    Ok(())
}

async fn metadata_defaults_are_set_field_by_field(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let all = [
        (MetadataField::HttpTokens, "required"),
        (MetadataField::HopLimit, "2"),
        (MetadataField::HttpEndpoint, "enabled"),
        (MetadataField::InstanceMetadataTags, "disabled"),
        (MetadataField::HttpTokensEnforced, "disabled"),
    ];
    for (number, pair) in all.iter().enumerate() {
        desk.done(modify(&[*pair])).await?;
        let said = seen(&desk).await?;
        assert_eq!((said.values, said.by_declarative_policy), (values(&all[..=number]), false));
    }
    desk.done(modify(&[(MetadataField::HopLimit, "64"), (MetadataField::HttpTokens, "optional")])).await?;
    let said = seen(&desk).await?.values;
    assert_eq!(
        (said[&MetadataField::HopLimit].as_str(), said[&MetadataField::HttpTokens].as_str()),
        ("64", "optional")
    );
    Ok(())
}

/// `no-preference`, and -1 for the hop limit.
async fn no_preference_takes_a_default_away(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let kept = (MetadataField::HttpEndpoint, "enabled");
    desk.done(modify(&[(MetadataField::HttpTokens, "required"), (MetadataField::HopLimit, "2"), kept])).await?;
    let none = [MetadataField::HttpTokens, MetadataField::HopLimit].map(|field| (field, field.no_preference()));
    desk.done(modify(&none)).await?;
    assert_eq!(seen(&desk).await?.values, values(&[kept]));
    Ok(())
}

async fn metadata_defaults_have_fixed_values(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for wrong in [
        (MetadataField::HttpTokens, "enabled"),
        (MetadataField::HopLimit, "0"),
        (MetadataField::HopLimit, "65"),
        (MetadataField::HttpEndpoint, "required"),
    ] {
        refused(FaultKind::Invalid, desk.write(modify(&[wrong])).await)?;
    }
    assert_eq!(seen(&desk).await?, MetadataDefaults::default());
    Ok(())
}

/// `ManagedBy=declarative-policy`: the account cannot change it, and is told what the organisation says to that. Which
/// code says so is documented nowhere; it is none that passes by itself.
async fn a_declarative_policy_decides(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    lab.decree(&desk.at, (&[(MetadataField::HttpTokens, "required")], "ask the platform team")).await?;
    let said = seen(&desk).await?;
    assert_eq!(said.values, values(&[(MetadataField::HttpTokens, "required")]));
    assert_eq!((said.by_declarative_policy, said.exception_message.as_deref()), (true, Some("ask the platform team")));
    let result = desk.write(modify(&[(MetadataField::HttpTokens, "optional")])).await;
    let Err(fault) = result else { anyhow::bail!("changed all the same: {result:?}") };
    ensure!([FaultKind::Conflict, FaultKind::Denied, FaultKind::Invalid].contains(&fault.kind), "{fault}");
    assert_eq!(seen(&desk).await?.values, said.values);
    Ok(())
}

async fn metadata_defaults_are_of_an_account_and_region(lab: &dyn Lab) -> Result<()> {
    let (desk, other) = (Desk::set(lab).await?, Desk::set(lab).await?);
    desk.done(modify(&[(MetadataField::HttpTokens, "required")])).await?;
    for scope in [desk.at.in_region(ELSEWHERE)?.scope(), other.scope] {
        assert_eq!(desk.cloud().await.metadata_defaults(&scope).await?, MetadataDefaults::default());
    }
    Ok(())
}

async fn options(stage: &Stage<'_>, id: &InstanceId) -> Result<(Option<bool>, Option<bool>)> {
    let all = stage.cloud.instances(&stage.scope).await?;
    let found = all.iter().find(|instance| instance.id == *id).context("not listed")?;
    Ok((found.imds_v1, found.imds))
}

async fn defaults_act_on_later_launches_alone(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let before = lab.launch(&stage.at, &stage.subnets[0], Launch::default()).await?;
    let write = modify(&[(MetadataField::HttpTokens, "required")]);
    stage.write(&write).await?;
    let after = lab.launch(&stage.at, &stage.subnets[0], Launch::default()).await?;
    assert_eq!(options(&stage, &before).await?.0, Some(true));
    assert_eq!(options(&stage, &after).await?.0, Some(false));
    Ok(())
}

/// The defaults "come after launch template and AMI settings in precedence".
async fn a_launch_may_say_otherwise(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    stage.write(&modify(&[(MetadataField::HttpTokens, "required")])).await?;
    let launch = Launch { tokens: Some("optional"), endpoint: Some("disabled"), ..Launch::default() };
    let id = lab.launch(&stage.at, &stage.subnets[0], launch).await?;
    assert_eq!(options(&stage, &id).await?, (Some(true), Some(false)));
    Ok(())
}

async fn denied_metadata_defaults_name_their_action(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let operations = [Operation::GetInstanceMetadataDefaults, Operation::ModifyInstanceMetadataDefaults];
    for operation in operations {
        lab.weather(&desk.at, operation, Weather::Denied).await?;
    }
    let code = "UnauthorizedOperation";
    let fault = refused_as(FaultKind::Denied, code, desk.cloud().await.metadata_defaults(&desk.scope).await)?;
    assert_eq!(fault.operation, operations[0]);
    let write = modify(&[(MetadataField::HttpTokens, "required")]);
    assert_eq!(refused_as(FaultKind::Denied, code, desk.write(write).await)?.operation, operations[1]);
    lab.clear_weather(&desk.at).await?;
    assert_eq!(seen(&desk).await?, MetadataDefaults::default());
    Ok(())
}

async fn the_regions_of_an_account_are_those_that_are_enabled(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let (here, there) = (desk.at.region.clone(), desk.at.in_region(ELSEWHERE)?);
    let all = desk.cloud().await.regions(&desk.scope).await?;
    ensure!(all.contains(&here) && all.contains(&there.region), "{all:?}");
    lab.rule(&there, Rule::RegionDisabled).await?;
    let left = desk.cloud().await.regions(&desk.scope).await?;
    ensure!(left.contains(&here) && !left.contains(&there.region), "{left:?}");
    Ok(())
}
