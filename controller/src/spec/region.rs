//! From the spec of a `RegionPosture` to what the core works with.

use std::collections::BTreeMap;

use ssm_ready_core::{
    facts::settings::{MetadataField, Setting},
    ids::{AccountId, Region},
    posture::{Mode, Owner},
    region::{
        BucketTarget, HostManagement, LogGroupTarget, RegionDeletion, RegionPosture, SessionAudit, SessionPreferences,
        Targets,
    },
};
use ssm_ready_crds::{
    self as crds, ActivationTier, AwsAccount, HttpTokens, ParameterTier, RegionAdoption, RegionDeletionPolicy,
    RoleChoice, SessionShell, Switch, TargetEncryption,
};

use super::{INTERVALS, invalid, mode, parse, partition};
use crate::admit::Refusal;

/// A role that an AccountPosture declares, or why it is not there yet.
pub type Declared = Result<HostManagement, String>;

/// A posture, validated. `declared` looks up a role by the names of an AccountPosture and of the role in it; `ceiling` is
/// the mode that the controller as a whole does not exceed.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn region_posture(
    object: &crds::RegionPosture,
    account: &AwsAccount,
    owner: Owner,
    ceiling: Mode,
    declared: impl Fn(&str, &str) -> Declared,
) -> Result<RegionPosture, Refusal> {
    let spec = &object.spec;
    if !INTERVALS.contains(&spec.interval.get()) {
        return Err(invalid("spec.interval", "it must be from 1m to 24h"));
    }
    let account_id: AccountId = parse("spec.accountId of the AwsAccount", &account.spec.account_id)?;
    let region: Region = parse("spec.target.region", &spec.target.region)?;
    let partition = partition(&account.spec);
    let session = spec.session_preferences.as_ref().map(|wish| session(wish, &partition)).transpose()?;
    let audit = spec.session_audit.as_ref().map(|wish| session_audit(wish, &partition, &region)).transpose()?;
    Ok(RegionPosture {
        owner,
        account: account_id,
        partition,
        region,
        mode: mode(spec.mode).min(ceiling),
        interval: spec.interval.get(),
        take_over: spec.adoption == RegionAdoption::TakeOver,
        deletion_policy: match spec.deletion_policy {
            RegionDeletionPolicy::Retain => RegionDeletion::Retain,
            RegionDeletionPolicy::RestorePrevious => RegionDeletion::RestorePrevious,
            RegionDeletionPolicy::Reset => RegionDeletion::Reset,
        },
        host_management: spec.host_management.as_ref().map(|wish| host_management(wish, &declared)).transpose()?,
        settings: spec.service_settings.as_ref().map(settings).unwrap_or_default(),
        metadata: spec.instance_metadata_defaults.as_ref().map(metadata).transpose()?.unwrap_or_default(),
        session,
        audit,
        shell_allowed: account.spec.guardrails.session_shell == SessionShell::Allowed,
    })
}

fn host_management(
    wish: &crds::HostManagement,
    declared: &impl Fn(&str, &str) -> Declared,
) -> Result<HostManagement, Refusal> {
    let role = match (wish.state, &wish.role) {
        (Switch::Disabled, _) => return Ok(HostManagement::Disabled),
        (Switch::Enabled, Some(role)) => role,
        (Switch::Enabled, None) => return Err(invalid("spec.hostManagement.role", "it is needed with state: Enabled")),
    };
    match role.choice() {
        Some(RoleChoice::Declared { account_posture, name }) => {
            Ok(declared(account_posture, name).unwrap_or_else(HostManagement::Waiting))
        }
        Some(RoleChoice::External(external)) => {
            let (path, name) = external
                .rsplit_once('/')
                .map_or((String::new(), external), |(path, name)| (format!("{}/", path.trim_start_matches('/')), name));
            if name.is_empty() {
                return Err(invalid("spec.hostManagement.role.external", "it does not end in the name of a role"));
            }
            Ok(HostManagement::Enabled { role: name.into(), path: format!("/{path}"), made: false })
        }
        None => {
            Err(invalid("spec.hostManagement.role", "give exactly one of accountPostureRef, with name, and external"))
        }
    }
}

/// Values as AWS spells them, each setting in its own way.
fn settings(spec: &crds::ServiceSettings) -> BTreeMap<Setting, String> {
    let words =
        |on: &'static str, off: &'static str| move |switch: Switch| if switch == Switch::Enabled { on } else { off };
    let tier = spec.activation_tier.map(|tier| match tier {
        ActivationTier::Standard => "standard",
        ActivationTier::Advanced => "advanced",
    });
    let parameters = spec.parameter_tier.map(|tier| match tier {
        ParameterTier::Standard => "Standard",
        ParameterTier::Advanced => "Advanced",
        ParameterTier::IntelligentTiering => "Intelligent-Tiering",
    });
    let group = spec.automation_log_group.as_deref();
    let adaptive = spec.automation_adaptive_concurrency.map(words("True", "False"));
    [
        (Setting::ActivationTier, tier),
        (Setting::ParameterTier, parameters),
        (Setting::ParameterHighThroughput, spec.parameter_high_throughput.map(words("true", "false"))),
        (Setting::PublicDocumentSharing, spec.public_document_sharing.map(words("Enable", "Disable"))),
        (Setting::AppManager, spec.app_manager.map(words("True", "False"))),
        (Setting::OpsCenter, spec.ops_center.map(words("Enabled", "Disabled"))),
        // A group is of no use without its destination.
        (Setting::AutomationLogDestination, group.map(|_| "CloudWatch")),
        (Setting::AutomationLogGroup, group),
        (Setting::AutomationAdaptiveConcurrency, adaptive),
    ]
    .into_iter()
    .filter_map(|(setting, value)| Some((setting, value?.to_owned())))
    .collect()
}

fn metadata(spec: &crds::InstanceMetadataDefaults) -> Result<BTreeMap<MetadataField, String>, Refusal> {
    if spec.hop_limit.is_some_and(|hops| !(1..=64).contains(&hops)) {
        return Err(invalid("spec.instanceMetadataDefaults.hopLimit", "it must be from 1 to 64"));
    }
    let switch = |switch: Option<Switch>| {
        switch.map(|switch| if switch == Switch::Enabled { "enabled" } else { "disabled" }.to_owned())
    };
    let tokens = spec.http_tokens.map(|tokens| match tokens {
        HttpTokens::Required => "required".to_owned(),
        HttpTokens::Optional => "optional".to_owned(),
    });
    Ok([
        (MetadataField::HttpTokens, tokens),
        (MetadataField::HopLimit, spec.hop_limit.map(|hops| hops.to_string())),
        (MetadataField::HttpEndpoint, switch(spec.http_endpoint)),
        (MetadataField::InstanceMetadataTags, switch(spec.instance_metadata_tags)),
        (MetadataField::HttpTokensEnforced, switch(spec.http_tokens_enforced)),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field, value?)))
    .collect())
}

fn session(spec: &crds::SessionPreferences, partition: &str) -> Result<SessionPreferences, Refusal> {
    let minutes = |field: &str, minutes: i32, most: u16| match u16::try_from(minutes) {
        Ok(minutes) if (1..=most).contains(&minutes) => Ok(minutes),
        _ => Err(invalid(&format!("spec.sessionPreferences.{field}"), format_args!("it must be from 1 to {most}"))),
    };
    let shell = spec.shell_profile.as_ref();
    Ok(SessionPreferences {
        run_as: spec
            .run_as
            .as_ref()
            .filter(|run_as| run_as.enabled)
            .map(|run_as| run_as.default_user.clone().unwrap_or_default()),
        shell_linux: shell.and_then(|shell| shell.linux.clone()).unwrap_or_default(),
        shell_windows: shell.and_then(|shell| shell.windows.clone()).unwrap_or_default(),
        idle_minutes: Some(minutes("idleTimeoutMinutes", spec.idle_timeout_minutes, 60)?),
        max_minutes: spec.max_duration_minutes.map(|most| minutes("maxDurationMinutes", most, 1440)).transpose()?,
        targets: targets(spec, partition)?,
    })
}

/// What sessions are logged to and encrypted with. An empty name would mean to AWS that there is none.
fn targets(spec: &crds::SessionPreferences, partition: &str) -> Result<Targets, Refusal> {
    let named = |field: &str, name: &str| {
        if name.is_empty() { Err(invalid(&format!("spec.sessionPreferences.{field}"), "it is empty")) } else { Ok(()) }
    };
    if let Some(s3) = &spec.s3 {
        named("s3.bucket", &s3.bucket)?;
    }
    if let Some(logs) = &spec.cloud_watch {
        named("cloudWatch.logGroup", &logs.log_group)?;
    }
    if let Some(key) = &spec.kms_key_id {
        named("kmsKeyId", key)?;
        let of = key.strip_prefix("arn:").and_then(|rest| rest.split(':').next());
        if let Some(of) = of.filter(|of| *of != partition) {
            return Err(invalid(
                "spec.sessionPreferences.kmsKeyId",
                format_args!("it is of the partition {of}, and the AwsAccount is of {partition}"),
            ));
        }
    }
    Ok(Targets {
        bucket: spec.s3.as_ref().map(|s3| BucketTarget {
            name: s3.bucket.as_str().into(),
            prefix: s3.key_prefix.clone().unwrap_or_default(),
            encrypted: s3.encryption == TargetEncryption::Required,
        }),
        log_group: spec.cloud_watch.as_ref().map(|logs| LogGroupTarget {
            name: logs.log_group.as_str().into(),
            encrypted: logs.encryption == TargetEncryption::Required,
            streaming: logs.streaming,
        }),
        key: spec.kms_key_id.as_deref().map(Into::into),
    })
}

/// EventBridge sends to topics of its own region only, and not to FIFO topics (EventBridge, "Event bus targets").
fn session_audit(spec: &crds::SessionAudit, partition: &str, region: &Region) -> Result<SessionAudit, Refusal> {
    let refused = |why: String| Err(invalid("spec.sessionAudit.snsTopicArn", why));
    let parts: Vec<&str> = spec.sns_topic_arn.split(':').collect();
    let ["arn", of, "sns", place, account, name] = parts.as_slice() else {
        return refused("it is not the ARN of a topic".to_owned());
    };
    if account.parse::<AccountId>().is_err() || name.is_empty() {
        return refused("it is not the ARN of a topic".to_owned());
    }
    if name.ends_with(".fifo") {
        return refused("it is a FIFO topic, to which EventBridge does not send".to_owned());
    }
    if *place != region.as_str() {
        return refused(format!("it is of {place}, and EventBridge sends to topics of {region} only"));
    }
    if *of != partition {
        return refused(format!("it is of the partition {of}, and the AwsAccount is of {partition}"));
    }
    Ok(SessionAudit { topic: spec.sns_topic_arn.clone(), require_trail: spec.require_trail })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ssm_ready_core::reason::Reason;

    use super::*;
    use crate::documents::near_object;

    fn account() -> AwsAccount {
        let text = "{apiVersion: ssmready.dev/v1alpha1, kind: AwsAccount, metadata: {name: prod}, spec: {accountId: '111122223333', partition: aws-cn}}";
        serde_yaml::from_str(text).unwrap()
    }

    fn owner() -> Owner {
        let text = |text: &str| text.to_owned();
        Owner {
            cluster: text("c1"),
            kind: "RegionPosture",
            namespace: text("team"),
            name: text("main"),
            uid: text("u"),
        }
    }

    fn posture(spec: &str) -> crds::RegionPosture {
        serde_yaml::from_str(&format!(
            "{{apiVersion: ssmready.dev/v1alpha1, kind: RegionPosture, metadata: {{name: main, namespace: team}}, spec: {{target: {{accountRef: {{name: prod}}, region: eu-west-1}}, {spec}}}}}"
        ))
        .unwrap()
    }

    fn read(spec: &str) -> Result<RegionPosture, Refusal> {
        region_posture(&posture(spec), &account(), owner(), Mode::Enforce, |of, name| Err(format!("no {of}/{name}")))
    }

    #[test]
    fn each_setting_has_its_own_spelling() {
        let found = read(
            "serviceSettings: {activationTier: Advanced, parameterTier: IntelligentTiering, parameterHighThroughput: Enabled, publicDocumentSharing: Disabled, appManager: Enabled, opsCenter: Disabled, automationLogGroup: /ssm/a, automationAdaptiveConcurrency: Enabled}",
        );
        let values: Vec<String> = found.unwrap().settings.values().cloned().collect();
        assert_eq!(
            values,
            ["advanced", "Intelligent-Tiering", "true", "Disable", "True", "Disabled", "CloudWatch", "/ssm/a", "True"]
        );
        let found =
            read("instanceMetadataDefaults: {httpTokens: Required, hopLimit: 2, httpEndpoint: Enabled}").unwrap();
        let values: Vec<&str> = found.metadata.values().map(String::as_str).collect();
        assert_eq!(values, ["required", "2", "enabled"]);
        assert_eq!(found.partition, "aws-cn");
    }

    #[test]
    fn roles_are_taken_apart_or_waited_for() {
        let host =
            |role: &str| read(&format!("hostManagement: {{state: Enabled, role: {role}}}")).map(|p| p.host_management);
        let enabled = |role: &str, path: &str| {
            Some(HostManagement::Enabled { role: role.into(), path: path.to_owned(), made: false })
        };
        assert_eq!(host("{external: service-role/a}").unwrap(), enabled("a", "/service-role/"));
        assert_eq!(host("{external: b}").unwrap(), enabled("b", "/"));
        let declared = host("{accountPostureRef: {name: payments}, name: hm}").unwrap();
        assert_eq!(declared, Some(HostManagement::Waiting("no payments/hm".to_owned())));
        assert_eq!(read("hostManagement: {state: Disabled}").unwrap().host_management, Some(HostManagement::Disabled));
        assert!(host("{}").unwrap_err().message.starts_with("spec.hostManagement.role: "));
    }

    #[test]
    fn targets_of_sessions_are_as_they_are_declared() {
        let targets = |spec: &str| {
            read(&format!("sessionPreferences: {{{spec}}}")).map(|posture| posture.session.unwrap().targets)
        };
        assert_eq!(targets("idleTimeoutMinutes: 5").unwrap(), Targets::default());
        let key = "arn:aws-cn:kms:eu-west-1:111122223333:key/0a1b2c3d-1111-2222-3333-444455556666";
        let all = format!(
            "s3: {{bucket: logs, keyPrefix: a/b}}, cloudWatch: {{logGroup: /ssm, encryption: NotChecked, streaming: true}}, kmsKeyId: '{key}'"
        );
        assert_eq!(
            targets(&all).unwrap(),
            Targets {
                bucket: Some(BucketTarget { name: "logs".into(), prefix: "a/b".to_owned(), encrypted: true }),
                log_group: Some(LogGroupTarget { name: "/ssm".into(), encrypted: false, streaming: true }),
                key: Some(key.into()),
            }
        );
        let by_id = targets("kmsKeyId: 0a1b2c3d-1111-2222-3333-444455556666").unwrap();
        assert_eq!(by_id.key, Some("0a1b2c3d-1111-2222-3333-444455556666".into()));
        let lax = targets("s3: {bucket: logs, encryption: NotChecked}, cloudWatch: {logGroup: /ssm}").unwrap();
        assert!(!lax.bucket.unwrap().encrypted);
        let group = lax.log_group.unwrap();
        assert!(group.encrypted && !group.streaming);
        for (spec, says) in [
            (
                "kmsKeyId: 'arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-1111-2222-3333-444455556666'",
                "kmsKeyId: it is of the partition aws, and the AwsAccount is of aws-cn",
            ),
            ("kmsKeyId: ''", "kmsKeyId: it is empty"),
            ("s3: {bucket: ''}", "s3.bucket: it is empty"),
            ("cloudWatch: {logGroup: ''}", "cloudWatch.logGroup: it is empty"),
        ] {
            let message = targets(spec).unwrap_err().message;
            assert_eq!(message, format!("spec.sessionPreferences.{says}"));
        }
    }

    #[test]
    fn a_topic_is_one_that_eventbridge_sends_to() {
        let audit = |topic: &str| read(&format!("sessionAudit: {{snsTopicArn: '{topic}'}}")).map(|p| p.audit);
        let topic = "arn:aws-cn:sns:eu-west-1:111122223333:ssm-sessions";
        let wanted = SessionAudit { topic: topic.to_owned(), require_trail: true };
        assert_eq!(audit(topic).unwrap(), Some(wanted));
        let lax = read(&format!("sessionAudit: {{snsTopicArn: '{topic}', requireTrail: false}}")).unwrap();
        assert!(!lax.audit.unwrap().require_trail);
        for (topic, says) in [
            ("arn:aws-cn:sns:eu-west-2:111122223333:t", "it is of eu-west-2"),
            ("arn:aws-cn:sns:eu-west-1:111122223333:t.fifo", "FIFO"),
            ("arn:aws:sns:eu-west-1:111122223333:t", "partition aws,"),
            ("arn:aws-cn:sqs:eu-west-1:111122223333:t", "not the ARN of a topic"),
            ("arn:aws-cn:sns:eu-west-1:1111:t", "not the ARN of a topic"),
            ("arn:aws-cn:sns:eu-west-1:111122223333:", "not the ARN of a topic"),
            ("t", "not the ARN of a topic"),
        ] {
            let refusal = audit(topic).unwrap_err();
            let named = refusal.message.starts_with("spec.sessionAudit.snsTopicArn: ");
            assert!(named && refusal.message.contains(says), "{}", refusal.message);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_posture_that_is_read_is_understood_or_refused_by_field((object, _) in near_object("RegionPosture")) {
            let Ok(object) = serde_json::from_value::<crds::RegionPosture>(object) else { return Ok(()) };
            match region_posture(&object, &account(), owner(), Mode::Enforce, |_, _| Err(String::new())) {
                Err(refusal) => {
                    prop_assert_eq!(refusal.reason, Reason::InvalidSpec);
                    prop_assert!(refusal.message.starts_with("spec.") && refusal.message.contains(": "));
                }
                Ok(posture) => {
                    prop_assert!(INTERVALS.contains(&posture.interval));
                    let idle = posture.session.as_ref().and_then(|s| s.idle_minutes);
                    prop_assert!(idle.is_none_or(|m| (1..=60).contains(&m)));
                    prop_assert!(posture.settings.values().chain(posture.metadata.values()).all(|v| !v.is_empty()));
                }
            }
        }
    }
}
