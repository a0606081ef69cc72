//! Service settings (domain 3 and 3.1).

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    calls::Operation,
    facts::settings::{Setting, SettingValue},
    fault::{FaultKind, NO_ANSWER},
    write::Write,
};

use crate::{
    lab::{Lab, Rule, Weather},
    stage::{Desk, refused, refused_as},
};

facts!(
    settings_begin_with_the_documented_defaults,
    no_role_is_no_value,
    a_setting_is_what_it_was_set_to,
    who_set_a_setting_is_told,
    a_reset_takes_everything_back,
    a_setting_may_be_missing_in_a_region,
    each_setting_has_its_own_spelling,
    the_role_need_not_be_there,
    settings_are_of_an_account_and_region,
    a_denied_setting_names_its_action,
    a_setting_whose_answer_is_lost_was_set,
    settings_are_throttled_as_systems_manager_does_it,
);

const ROLE: &str = "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole";

fn set(setting: Setting, value: &str) -> Write {
    Write::UpdateSetting { setting, value: value.to_owned() }
}

async fn seen(desk: &Desk<'_>, setting: Setting) -> Result<SettingValue> {
    desk.cloud().await.setting(&desk.scope, setting).await?.with_context(|| format!("there is no {setting}"))
}

/// Where one is documented; and all of them are there.
async fn settings_begin_with_the_documented_defaults(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for setting in Setting::ALL {
        let said = seen(&desk, setting).await?;
        if let Some(default) = setting.default_value() {
            let value = said.value.as_deref().context("no value")?;
            ensure!(value.eq_ignore_ascii_case(default), "{setting}: {value}, not {default}");
        }
        assert_eq!((said.modified_by, said.status.as_str()), (None, "Default"), "{setting}");
    }
    Ok(())
}

/// AWS is said to answer `$None`, which the port does not pass on.
async fn no_role_is_no_value(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    assert_eq!(seen(&desk, Setting::HostManagementRole).await?.value, None);
    Ok(())
}

async fn a_setting_is_what_it_was_set_to(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for (setting, value) in [
        (Setting::HostManagementRole, ROLE),
        (Setting::ActivationTier, "advanced"),
        (Setting::ParameterTier, "Intelligent-Tiering"),
        (Setting::ParameterHighThroughput, "true"),
        (Setting::PublicDocumentSharing, "Disable"),
        (Setting::AppManager, "True"),
        (Setting::OpsCenter, "Enabled"),
        (Setting::AutomationLogDestination, "CloudWatch"),
        (Setting::AutomationLogGroup, "/aws/ssm/automation"),
        (Setting::AutomationAdaptiveConcurrency, "True"),
    ] {
        desk.done(set(setting, value)).await?;
        assert_eq!(seen(&desk, setting).await?.value.as_deref(), Some(value), "{setting}");
    }
    Ok(())
}

/// `LastModifiedUser` is filled when a setting was overwritten, whoever did.
async fn who_set_a_setting_is_told(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    desk.done(set(Setting::HostManagementRole, ROLE)).await?;
    let ours = seen(&desk, Setting::HostManagementRole).await?;
    let identity = desk.cloud().await.identity(&desk.scope.principal, &desk.scope.region).await?;
    assert_eq!(ours.modified_by, Some(identity.arn));
    ensure!(ours.modified_at.is_some(), "{ours:?}");
    lab.foreign_setting(&desk.at, Setting::HostManagementRole, "theirs").await?;
    let theirs = seen(&desk, Setting::HostManagementRole).await?;
    assert_eq!(theirs.value.as_deref(), Some("theirs"));
    ensure!(theirs.modified_by.is_some() && theirs.modified_by != ours.modified_by, "{theirs:?}");
    Ok(())
}

async fn a_reset_takes_everything_back(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for (setting, value) in [(Setting::HostManagementRole, ROLE), (Setting::PublicDocumentSharing, "Disable")] {
        let before = seen(&desk, setting).await?;
        desk.done(set(setting, value)).await?;
        desk.done(Write::ResetSetting { setting }).await?;
        assert_eq!(seen(&desk, setting).await?, before);
        // Again, with nothing to do.
        desk.done(Write::ResetSetting { setting }).await?;
    }
    Ok(())
}

/// `ServiceSettingNotFound`, in that region alone.
async fn a_setting_may_be_missing_in_a_region(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    lab.rule(&desk.at, Rule::MissingSetting(Setting::OpsCenter)).await?;
    assert_eq!(desk.cloud().await.setting(&desk.scope, Setting::OpsCenter).await?, None);
    for write in [set(Setting::OpsCenter, "Enabled"), Write::ResetSetting { setting: Setting::OpsCenter }] {
        refused_as(FaultKind::Unsupported, "ServiceSettingNotFound", desk.write(write).await)?;
    }
    seen(&desk, Setting::ActivationTier).await?;
    let elsewhere = desk.at.in_region(crate::lab::ELSEWHERE)?;
    ensure!(desk.cloud().await.setting(&elsewhere.scope(), Setting::OpsCenter).await?.is_some());
    Ok(())
}

/// Case and all: what is right for one is wrong for another.
async fn each_setting_has_its_own_spelling(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for (setting, wrong) in [
        (Setting::ActivationTier, "Advanced"),
        (Setting::ParameterTier, "advanced"),
        (Setting::ParameterHighThroughput, "True"),
        (Setting::PublicDocumentSharing, "Disabled"),
        (Setting::AppManager, "true"),
        (Setting::OpsCenter, "Enable"),
        (Setting::AutomationLogDestination, "cloudwatch"),
    ] {
        let before = seen(&desk, setting).await?;
        refused(FaultKind::Invalid, desk.write(set(setting, wrong)).await)?;
        assert_eq!(seen(&desk, setting).await?, before, "{setting}");
    }
    Ok(())
}

/// A path mismatch "yields a setting pointing at a non-existent role".
async fn the_role_need_not_be_there(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    desk.done(set(Setting::HostManagementRole, "service-role/never-made")).await?;
    let said = seen(&desk, Setting::HostManagementRole).await?;
    assert_eq!(said.value.as_deref(), Some("service-role/never-made"));
    Ok(())
}

async fn settings_are_of_an_account_and_region(lab: &dyn Lab) -> Result<()> {
    let (desk, other) = (Desk::set(lab).await?, Desk::set(lab).await?);
    desk.done(set(Setting::ActivationTier, "advanced")).await?;
    let elsewhere = desk.at.in_region(crate::lab::ELSEWHERE)?.scope();
    for scope in [&elsewhere, &other.scope] {
        let said = desk.cloud().await.setting(scope, Setting::ActivationTier).await?.context("no setting")?;
        assert_eq!(said.value.as_deref(), Some("standard"));
    }
    Ok(())
}

async fn a_denied_setting_names_its_action(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for operation in [Operation::GetServiceSetting, Operation::UpdateServiceSetting, Operation::ResetServiceSetting] {
        lab.weather(&desk.at, operation, Weather::Denied).await?;
    }
    let read = desk.cloud().await.setting(&desk.scope, Setting::OpsCenter).await;
    assert_eq!(refused(FaultKind::Denied, read)?.operation, Operation::GetServiceSetting);
    let fault = refused(FaultKind::Denied, desk.write(set(Setting::OpsCenter, "Enabled")).await)?;
    ensure!(fault.to_string().contains("ssm:UpdateServiceSetting"), "{fault}");
    let reset = Write::ResetSetting { setting: Setting::OpsCenter };
    assert_eq!(refused(FaultKind::Denied, desk.write(reset).await)?.operation, Operation::ResetServiceSetting);
    lab.clear_weather(&desk.at).await?;
    ensure!(seen(&desk, Setting::OpsCenter).await?.modified_by.is_none());
    Ok(())
}

async fn a_setting_whose_answer_is_lost_was_set(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    lab.weather(&desk.at, Operation::UpdateServiceSetting, Weather::LostAnswer).await?;
    refused_as(FaultKind::Transient, NO_ANSWER, desk.write(set(Setting::OpsCenter, "Enabled")).await)?;
    lab.clear_weather(&desk.at).await?;
    assert_eq!(seen(&desk, Setting::OpsCenter).await?.value.as_deref(), Some("Enabled"));
    Ok(())
}

async fn settings_are_throttled_as_systems_manager_does_it(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for operation in [Operation::GetServiceSetting, Operation::UpdateServiceSetting] {
        lab.weather(&desk.at, operation, Weather::Throttled).await?;
    }
    refused(FaultKind::Throttled, desk.cloud().await.setting(&desk.scope, Setting::OpsCenter).await)?;
    refused(FaultKind::Throttled, desk.write(set(Setting::OpsCenter, "Enabled")).await)?;
    lab.clear_weather(&desk.at).await?;
    ensure!(seen(&desk, Setting::OpsCenter).await?.modified_by.is_none());
    Ok(())
}
