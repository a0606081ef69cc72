//! What Systems Manager and EC2 keep once for an account and region: service settings and metadata defaults.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        settings::{MetadataDefaults, MetadataField, Setting, SettingValue},
    },
    write::Written,
};

use super::{
    journal::{ThingKind, Touched},
    record::{Actor, Eye, Record, later},
    state::{RegionState, touched},
    world::{Ctx, Refusal},
};

/// The longest value of a setting (UpdateServiceSetting, `SettingValue`).
const MAX_VALUE: usize = 4096;
/// The longest name of a log group (CreateLogGroup).
const MAX_LOG_GROUP: usize = 512;
/// How AWS spells that there is no value, where it has been seen.
const NO_VALUE: &str = "$None";
/// The metadata defaults, as the journal names them.
pub(super) const METADATA_DEFAULTS: &str = "instance-metadata-defaults";

type Result<T = (), E = Refusal> = std::result::Result<T, E>;

/// A service setting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SimSetting {
    /// Its value; none: as AWS has it.
    pub value: Option<String>,
    /// The ARN of whoever changed it last, unless it was reset.
    pub modified_by: Option<String>,
    /// When.
    pub modified_at: Option<Timestamp>,
}

/// Whether AWS takes a value for a setting: each has its own spelling.
fn fits(setting: Setting, value: &str) -> bool {
    let name = |more: &str, max: usize| {
        value.len() <= max && !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if value.is_empty() || value.chars().count() > MAX_VALUE {
        return false;
    }
    match setting {
        // Nobody looks whether there is such a role.
        Setting::HostManagementRole => name("_+=,.@-/", MAX_VALUE),
        Setting::AutomationLogGroup => name("_-/.#", MAX_LOG_GROUP),
        Setting::ActivationTier => matches!(value, "standard" | "advanced"),
        Setting::ParameterTier => matches!(value, "Standard" | "Advanced" | "Intelligent-Tiering"),
        Setting::ParameterHighThroughput => matches!(value, "true" | "false"),
        Setting::PublicDocumentSharing => matches!(value, "Enable" | "Disable"),
        Setting::AppManager | Setting::AutomationAdaptiveConcurrency => matches!(value, "True" | "False"),
        Setting::OpsCenter => matches!(value, "Enabled" | "Disabled"),
        Setting::AutomationLogDestination => value == "CloudWatch",
    }
}

/// Whether AWS takes a metadata default.
fn fits_field(field: MetadataField, value: &str) -> bool {
    if value == field.no_preference() {
        return true;
    }
    match field {
        MetadataField::HttpTokens => matches!(value, "optional" | "required"),
        MetadataField::HopLimit => value.parse::<u8>().is_ok_and(|hops| (1..=64).contains(&hops)),
        MetadataField::HttpEndpoint | MetadataField::InstanceMetadataTags | MetadataField::HttpTokensEnforced => {
            matches!(value, "enabled" | "disabled")
        }
    }
}

/// The metadata defaults in one line.
fn in_words(defaults: &MetadataDefaults) -> String {
    let values: Vec<String> =
        defaults.values.iter().map(|(field, value)| format!("{}={value}", field.name())).collect();
    values.join(" ")
}

impl RegionState {
    /// What AWS has for a setting that nobody has set.
    fn setting_default(&self, setting: Setting) -> Option<&str> {
        self.setting_defaults.get(&setting).map(String::as_str).or_else(|| setting.default_value())
    }

    fn has_setting(&self, setting: Setting) -> Result {
        if self.missing_settings.contains(&setting) {
            return Err(Refusal::new("ServiceSettingNotFound", format!("Setting {setting} was not found")));
        }
        Ok(())
    }

    /// The truth about a setting's value: none where AWS says none.
    #[must_use]
    pub fn setting_value(&self, setting: Setting) -> Option<&str> {
        let set = self.settings.get(&setting).and_then(|record| record.value.value.as_deref());
        set.or_else(|| self.setting_default(setting)).filter(|value| !value.is_empty() && *value != NO_VALUE)
    }

    /// GetServiceSetting. AWS's texts have several words for the status of one that was set, so any comes.
    pub(super) fn read_setting(
        &self,
        eye: &mut Eye<'_>,
        setting: Setting,
        pending_for: Duration,
    ) -> Result<SettingValue> {
        self.has_setting(setting)?;
        let seen = self.settings.get(&setting).and_then(|record| eye.see(record)).cloned().unwrap_or_default();
        let pending = seen.modified_at.is_some_and(|at| eye.now() < later(at, pending_for));
        let status = match &seen.value {
            None => "Default",
            Some(_) if pending => "PendingUpdate",
            Some(_) => ["Customized", "Custom", "Default"][usize::try_from(eye.roll(3)).unwrap_or(0)],
        };
        let value = seen.value.or_else(|| self.setting_default(setting).map(str::to_owned));
        Ok(SettingValue {
            value: value.filter(|value| !value.is_empty() && value != NO_VALUE),
            status: status.to_owned(),
            modified_by: seen.modified_by,
            modified_at: seen.modified_at,
        })
    }

    /// UpdateServiceSetting.
    pub(super) fn update_setting(&mut self, ctx: &mut Ctx<'_>, setting: Setting, value: &str) -> Result<Written> {
        self.has_setting(setting)?;
        if !fits(setting, value) {
            return Err(Refusal::new("ValidationException", format!("{value:?} is no value of {setting}")));
        }
        ctx.uncontended(Operation::UpdateServiceSetting)?;
        let (by, now) = (ctx.user(), ctx.now);
        self.change_setting(ctx, setting, |set| {
            *set = SimSetting { value: Some(value.to_owned()), modified_by: Some(by), modified_at: Some(now) };
        });
        Ok(Written::Done)
    }

    /// ResetServiceSetting.
    pub(super) fn reset_setting(&mut self, ctx: &mut Ctx<'_>, setting: Setting) -> Result<Written> {
        self.has_setting(setting)?;
        ctx.uncontended(Operation::ResetServiceSetting)?;
        self.change_setting(ctx, setting, |set| *set = SimSetting::default());
        Ok(Written::Done)
    }

    fn change_setting(&mut self, ctx: &Ctx<'_>, setting: Setting, change: impl FnOnce(&mut SimSetting)) {
        self.settings
            .entry(setting)
            .or_insert_with(|| Record::standing(SimSetting::default(), &Actor::Aws, ctx.now))
            .change(ctx.actor, ctx.now, ctx.weather, change);
    }

    /// A setting as the journal shows it.
    pub(super) fn touched_setting(&self, setting: Setting) -> Touched {
        let untouched = Record::standing(SimSetting::default(), &Actor::Aws, Timestamp::UNIX_EPOCH);
        let record = self.settings.get(&setting).unwrap_or(&untouched);
        Touched {
            value: self.setting_value(setting).map(str::to_owned),
            ..touched(setting.id(), ThingKind::Setting, &Tags::new(), record)
        }
    }

    /// The truth about the metadata defaults.
    #[must_use]
    pub fn metadata(&self) -> MetadataDefaults {
        self.metadata_defaults.as_ref().map(|record| record.value.clone()).unwrap_or_default()
    }

    /// GetInstanceMetadataDefaults.
    pub(super) fn read_metadata(&self, eye: &mut Eye<'_>) -> MetadataDefaults {
        self.metadata_defaults.as_ref().and_then(|record| eye.see(record)).cloned().unwrap_or_default()
    }

    /// ModifyInstanceMetadataDefaults.
    pub(super) fn modify_metadata(
        &mut self,
        ctx: &mut Ctx<'_>,
        values: &BTreeMap<MetadataField, String>,
    ) -> Result<Written> {
        if values.is_empty() {
            return Err(Refusal::new("MissingParameter", "The request must contain a default to modify"));
        }
        for (field, value) in values {
            if !fits_field(*field, value) {
                let message = format!("Value ({value}) for parameter {} is invalid.", field.name());
                return Err(Refusal::new("InvalidParameterValue", message));
            }
        }
        let now = self.metadata();
        if now.by_declarative_policy {
            // With which code AWS refuses it is documented nowhere.
            let message = now.exception_message.unwrap_or_else(|| "disabled by a declarative policy".to_owned());
            return Err(Refusal::new("OperationNotPermitted", message));
        }
        self.change_metadata(ctx, |defaults| {
            for (field, value) in values {
                if value == field.no_preference() {
                    defaults.values.remove(field);
                } else {
                    defaults.values.insert(*field, value.clone());
                }
            }
        });
        Ok(Written::Done)
    }

    pub(super) fn change_metadata(&mut self, ctx: &Ctx<'_>, change: impl FnOnce(&mut MetadataDefaults)) {
        self.metadata_defaults
            .get_or_insert_with(|| Record::standing(MetadataDefaults::default(), &Actor::Aws, ctx.now))
            .change(ctx.actor, ctx.now, ctx.weather, change);
    }

    /// The metadata defaults as the journal shows them.
    pub(super) fn touched_metadata(&self) -> Touched {
        let untouched = Record::standing(MetadataDefaults::default(), &Actor::Aws, Timestamp::UNIX_EPOCH);
        let record = self.metadata_defaults.as_ref().unwrap_or(&untouched);
        Touched {
            value: Some(in_words(&record.value)),
            ..touched(METADATA_DEFAULTS, ThingKind::MetadataDefaults, &Tags::new(), record)
        }
    }
}
