//! Service settings and metadata defaults.

use std::collections::BTreeMap;

use ssm_ready_core::{
    calls::Operation,
    facts::settings::{MetadataDefaults, MetadataField, Setting, SettingValue},
    fault::FaultKind,
};

use super::*;

const ROLE_VALUE: &str = "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole";

fn set(setting: Setting, value: &str) -> Write {
    Write::UpdateSetting { setting, value: value.to_owned() }
}

fn defaults(values: &[(MetadataField, &str)]) -> Write {
    Write::ModifyMetadataDefaults { values: fields(values) }
}

fn fields(values: &[(MetadataField, &str)]) -> BTreeMap<MetadataField, String> {
    values.iter().map(|(field, value)| (*field, (*value).to_owned())).collect()
}

async fn value(cloud: &SimCloud, setting: Setting) -> SettingValue {
    cloud.setting(&scope(), setting).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_setting_is_as_aws_has_it_until_somebody_sets_it() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    for setting in Setting::ALL {
        let said = value(&cloud, setting).await;
        assert_eq!((said.value.as_deref(), said.status.as_str()), (setting.default_value(), "Default"), "{setting}");
        assert_eq!((said.modified_by, said.modified_at), (None, None), "{setting}");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    cloud.write(&scope(), &set(Setting::HostManagementRole, ROLE_VALUE)).await.unwrap();
    let said = value(&cloud, Setting::HostManagementRole).await;
    assert_eq!(said.value.as_deref(), Some(ROLE_VALUE));
    assert_eq!(said.modified_by.as_deref(), Some("arn:aws:sts::111122223333:assumed-role/ssm-ready/ssm-ready"));
    assert_eq!(said.modified_at, Some(place.sim.with(|world| world.now)));
    place.sim.with(|world| {
        world.set_setting(&Actor::QuickSetup, &account(), &region(), Setting::HostManagementRole, "theirs").unwrap();
    });
    let said = value(&cloud, Setting::HostManagementRole).await;
    assert!(said.value.as_deref() == Some("theirs") && said.modified_by.unwrap().contains("AWS-QuickSetup"));
    cloud.write(&scope(), &Write::ResetSetting { setting: Setting::HostManagementRole }).await.unwrap();
    let reset = SettingValue { status: "Default".to_owned(), ..SettingValue::default() };
    assert_eq!(value(&cloud, Setting::HostManagementRole).await, reset);
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_is_set_has_any_of_the_documented_statuses() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.act(&set(Setting::ActivationTier, "advanced")).unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        seen.insert(value(&cloud, Setting::ActivationTier).await.status);
    }
    assert_eq!(seen, ["Custom", "Customized", "Default"].map(str::to_owned).into());
    place.weather(|weather| weather.setting_pending_for = Duration::from_secs(600));
    place.act(&set(Setting::ActivationTier, "standard")).unwrap();
    assert_eq!(value(&cloud, Setting::ActivationTier).await.status, "PendingUpdate");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_ne!(value(&cloud, Setting::ActivationTier).await.status, "PendingUpdate");
}

#[tokio::test(start_paused = true)]
async fn what_aws_spells_as_no_value_is_none() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    for (spelling, expected) in [("$None", None), ("", None), ("Disabled", Some("Disabled"))] {
        place.sim.with(|w| w.set_setting_default(&account(), &region(), Setting::OpsCenter, spelling));
        assert_eq!(value(&cloud, Setting::OpsCenter).await.value.as_deref(), expected, "{spelling:?}");
        place.region(|state| assert_eq!(state.setting_value(Setting::OpsCenter), expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_may_not_have_a_setting() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let provision = |on| place.sim.with(|w| w.set_provisioned(&account(), &region(), Setting::OpsCenter, on));
    provision(false);
    assert_eq!(cloud.setting(&scope(), Setting::OpsCenter).await.unwrap(), None);
    for write in [set(Setting::OpsCenter, "Enabled"), Write::ResetSetting { setting: Setting::OpsCenter }] {
        let fault = cloud.write(&scope(), &write).await.unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("ServiceSettingNotFound", FaultKind::Unsupported));
    }
    assert!(cloud.setting(&scope(), Setting::ActivationTier).await.unwrap().is_some());
    provision(true);
    cloud.write(&scope(), &set(Setting::OpsCenter, "Enabled")).await.unwrap();
}

#[test]
fn each_setting_takes_its_own_spelling_alone() {
    let place = place(Hand::default().clock(), 1);
    for (setting, good, bad) in [
        (Setting::HostManagementRole, &[ROLE_VALUE, "no-such-role"][..], &["", "a role", "rôle"][..]),
        (Setting::ActivationTier, &["standard", "advanced"], &["Standard", "Advanced"]),
        (Setting::ParameterTier, &["Standard", "Advanced", "Intelligent-Tiering"], &["standard", "IntelligentTiering"]),
        (Setting::ParameterHighThroughput, &["true", "false"], &["True", "Enabled"]),
        (Setting::PublicDocumentSharing, &["Enable", "Disable"], &["Enabled", "disable"]),
        (Setting::AppManager, &["True", "False"], &["true", "Enabled"]),
        (Setting::OpsCenter, &["Enabled", "Disabled"], &["Enable", "True"]),
        (Setting::AutomationLogDestination, &["CloudWatch"], &["cloudwatch", "S3"]),
        (Setting::AutomationLogGroup, &["/aws/ssm/automation#1"], &["a group", ""]),
        (Setting::AutomationAdaptiveConcurrency, &["True", "False"], &["true", "on"]),
    ] {
        for value in good {
            place.act(&set(setting, value)).unwrap();
            place.region(|state| assert_eq!(state.setting_value(setting), Some(*value)));
        }
        let before = place.region(|state| state.settings[&setting].version);
        for value in bad {
            let fault = place.act(&set(setting, value)).unwrap_err();
            assert_eq!((fault.code.as_str(), fault.kind), ("ValidationException", FaultKind::Invalid), "{setting}");
        }
        assert_eq!(place.region(|state| state.settings[&setting].version), before, "{setting}");
    }
    let long = "x".repeat(4097);
    assert_eq!(place.code(&set(Setting::HostManagementRole, &long)), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn the_role_of_default_host_management_needs_pass_role_and_no_role() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let write = set(Setting::HostManagementRole, "service-role/never-made");
    let ask = async || {
        let question = ssm_ready_core::facts::Question::of(&["iam:PassRole".to_owned()]);
        cloud.permissions(&principal(), &region(), &question).await.unwrap()[0].allowed
    };
    assert!(ask().await);
    place.sim.with(|world| world.set_pass_role(&account(), ROLE, false));
    assert!(!ask().await);
    let fault = cloud.write(&scope(), &write).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("AccessDeniedException", FaultKind::Denied));
    // It is about the role alone.
    cloud.write(&scope(), &set(Setting::ActivationTier, "advanced")).await.unwrap();
    cloud.write(&scope(), &Write::ResetSetting { setting: Setting::HostManagementRole }).await.unwrap();
    place.sim.with(|world| world.set_pass_role(&account(), ROLE, true));
    cloud.write(&scope(), &write).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn settings_are_kept_once_for_an_account_and_region() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let elsewhere = Scope { region: "eu-central-1".parse().unwrap(), ..scope() };
    place.sim.with(|world| {
        world.add_region(&account(), &elsewhere.region, Offer::default());
    });
    cloud.write(&scope(), &set(Setting::ActivationTier, "advanced")).await.unwrap();
    cloud.write(&scope(), &defaults(&[(MetadataField::HttpTokens, "required")])).await.unwrap();
    let there = cloud.setting(&elsewhere, Setting::ActivationTier).await.unwrap().unwrap();
    assert_eq!(there.value.as_deref(), Some("standard"));
    assert_eq!(cloud.metadata_defaults(&elsewhere).await.unwrap(), MetadataDefaults::default());
    let mut regions = cloud.regions(&scope()).await.unwrap();
    regions.sort();
    assert_eq!(regions, [elsewhere.region.clone(), region()]);
    place.sim.with(|world| world.add_account(&account()).disabled_regions.insert(elsewhere.region.clone()));
    assert_eq!(cloud.regions(&scope()).await.unwrap(), [region()]);
}

#[tokio::test(start_paused = true)]
async fn a_change_while_another_is_under_way_is_refused() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| weather.contended = 1.0);
    let write = set(Setting::ActivationTier, "advanced");
    let fault = cloud.write(&scope(), &write).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("TooManyUpdates", FaultKind::Throttled));
    place.region(|state| assert_eq!(state.setting_value(Setting::ActivationTier), Some("standard")));
    place.weather(|weather| weather.only = Some([Operation::CreateRole].into()));
    cloud.write(&scope(), &write).await.unwrap();
    // Nobody else has weather.
    place.weather(|weather| weather.only = None);
    place.act(&set(Setting::ActivationTier, "standard")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn metadata_defaults_are_set_field_by_field_and_taken_away() {
    use MetadataField::*;
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    assert_eq!(cloud.metadata_defaults(&scope()).await.unwrap(), MetadataDefaults::default());
    cloud.write(&scope(), &defaults(&[(HttpTokens, "required"), (HopLimit, "2")])).await.unwrap();
    cloud.write(&scope(), &defaults(&[(InstanceMetadataTags, "disabled")])).await.unwrap();
    let said = cloud.metadata_defaults(&scope()).await.unwrap();
    let all = [(HttpTokens, "required"), (HopLimit, "2"), (InstanceMetadataTags, "disabled")];
    assert_eq!((said.values, said.by_declarative_policy), (fields(&all), false));
    cloud.write(&scope(), &defaults(&[(HttpTokens, "no-preference"), (HopLimit, "-1")])).await.unwrap();
    let said = cloud.metadata_defaults(&scope()).await.unwrap();
    assert_eq!(said.values, fields(&[(InstanceMetadataTags, "disabled")]));
    for (field, value) in
        [(HttpTokens, "enabled"), (HopLimit, "0"), (HopLimit, "65"), (HttpEndpoint, "on"), (HttpTokensEnforced, "")]
    {
        assert_eq!(place.code(&defaults(&[(field, value)])), "InvalidParameterValue", "{value:?}");
    }
    assert_eq!(place.code(&defaults(&[])), "MissingParameter");
}

#[tokio::test(start_paused = true)]
async fn a_declarative_policy_keeps_the_account_from_changing_the_defaults() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let values = fields(&[(MetadataField::HttpTokens, "required")]);
    let decree = |policy| place.sim.with(|w| w.set_declarative_policy(&account(), &region(), policy));
    decree(Some((values.clone(), "ask the platform team")));
    let said = cloud.metadata_defaults(&scope()).await.unwrap();
    assert_eq!(
        (said.values, said.by_declarative_policy, said.exception_message.as_deref()),
        (values.clone(), true, Some("ask the platform team"))
    );
    let write = defaults(&[(MetadataField::HttpTokens, "optional")]);
    let fault = cloud.write(&scope(), &write).await.unwrap_err();
    assert!(fault.kind == FaultKind::Conflict && fault.message.contains("platform team"), "{fault}");
    assert_eq!(cloud.metadata_defaults(&scope()).await.unwrap().values, values);
    decree(None);
    cloud.write(&scope(), &write).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn defaults_act_on_later_launches_alone() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let launch =
        |new: NewInstance| place.sim.with(|world| world.add_instance(&account(), &region(), &place.subnets[0], new));
    let before = launch(NewInstance::default());
    let harden = defaults(&[(MetadataField::HttpTokens, "required"), (MetadataField::HttpEndpoint, "disabled")]);
    place.act(&harden).unwrap();
    let after = launch(NewInstance::default());
    let own = launch(NewInstance { imds_v1: Some(true), imds: Some(true), ..NewInstance::default() });
    let options = async |id: &ssm_ready_core::ids::InstanceId| {
        let all = cloud.instances(&scope()).await.unwrap();
        all.iter().find(|instance| instance.id == *id).map(|i| (i.imds_v1, i.imds)).unwrap()
    };
    assert_eq!(options(&before).await, (Some(true), Some(true)));
    assert_eq!(options(&after).await, (Some(false), Some(false)));
    assert_eq!(options(&own).await, (Some(true), Some(true)));
    place.sim.with(|w| w.set_instance_metadata(&Actor::Person, &account(), &region(), &own, false, true));
    assert_eq!(options(&own).await, (Some(false), Some(true)));
}

#[tokio::test(start_paused = true)]
async fn the_journal_tells_what_a_setting_was_and_who_had_set_it() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let last = || place.sim.with(|world| world.journal.last().unwrap().touched[0].clone());
    cloud.write(&scope(), &set(Setting::HostManagementRole, "ours")).await.unwrap();
    let touched = last();
    assert_eq!((touched.kind, touched.id.as_str()), (ThingKind::Setting, Setting::HostManagementRole.id()));
    assert_eq!((touched.value, touched.last_changed_by), (None, Actor::Aws));
    place.sim.with(|world| {
        world.set_setting(&Actor::Person, &account(), &region(), Setting::HostManagementRole, "theirs").unwrap();
    });
    assert_eq!(last().last_changed_by, Actor::Controller("controller".to_owned()));
    cloud.write(&scope(), &Write::ResetSetting { setting: Setting::HostManagementRole }).await.unwrap();
    let touched = last();
    assert_eq!((touched.value.as_deref(), touched.last_changed_by), (Some("theirs"), Actor::Person));
    place.act(&defaults(&[(MetadataField::HopLimit, "2")])).unwrap();
    cloud.write(&scope(), &defaults(&[(MetadataField::HopLimit, "3")])).await.unwrap();
    let touched = last();
    assert_eq!(
        (touched.kind, touched.value.as_deref()),
        (ThingKind::MetadataDefaults, Some("HttpPutResponseHopLimit=2"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_setting_may_be_read_late() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| {
        weather.stale = 1.0;
        weather.stale_by = Span::seconds(20);
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    cloud.write(&scope(), &set(Setting::ActivationTier, "advanced")).await.unwrap();
    assert_eq!(value(&cloud, Setting::ActivationTier).await.value.as_deref(), Some("standard"));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(value(&cloud, Setting::ActivationTier).await.value.as_deref(), Some("advanced"));
}

#[tokio::test(start_paused = true)]
async fn each_new_call_can_be_denied_by_its_action() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| weather.iam_propagation = Span::ZERO);
    for (operation, code) in [
        (Operation::GetServiceSetting, "AccessDeniedException"),
        (Operation::GetDocument, "AccessDeniedException"),
        (Operation::DescribeDocument, "AccessDeniedException"),
        (Operation::GetInstanceMetadataDefaults, "UnauthorizedOperation"),
        (Operation::DescribeRegions, "UnauthorizedOperation"),
        (Operation::GetRole, "AccessDenied"),
        (Operation::ListAttachedRolePolicies, "AccessDenied"),
        (Operation::ListRolePolicies, "AccessDenied"),
        (Operation::GetInstanceProfile, "AccessDenied"),
    ] {
        place.sim.with(|world| world.set_denied(&account(), ROLE, [operation]));
        let results = [
            cloud.setting(&scope(), Setting::OpsCenter).await.err(),
            cloud.session_document(&scope(), ssm_ready_core::facts::settings::DocumentVersion::Default).await.err(),
            cloud.session_document_info(&scope()).await.err(),
            cloud.metadata_defaults(&scope()).await.err(),
            cloud.regions(&scope()).await.err(),
            cloud.role(&scope(), &"ssm-ready".into()).await.err(),
            cloud.profile(&scope(), &"none".into()).await.err(),
        ];
        let faults: Vec<_> = results.into_iter().flatten().collect();
        assert_eq!(faults.len(), 1, "{operation}: {faults:?}");
        assert_eq!((faults[0].operation, faults[0].code.as_str()), (operation, code));
        assert_eq!(faults[0].kind, FaultKind::Denied);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}
