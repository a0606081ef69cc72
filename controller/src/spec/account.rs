//! From the spec of an `AccountPosture` to what the core works with.

use ssm_ready_core::{
    account::{AccountDeletion, AccountPosture, Guardrails, OwnBucket, Purpose, RoleOwnership, RoleWish},
    ids::PolicyArn,
    posture::{Mode, Owner},
};
use ssm_ready_crds::{self as crds, AccountDeletionPolicy, AwsAccount, S3Access};

use super::{INTERVALS, capability, invalid, mode, parse, partition};
use crate::admit::Refusal;

fn ownership(ownership: crds::RoleOwnership) -> RoleOwnership {
    match ownership {
        crds::RoleOwnership::Create => RoleOwnership::Create,
        crds::RoleOwnership::AttachOnly => RoleOwnership::AttachOnly,
        crds::RoleOwnership::TakeOver => RoleOwnership::TakeOver,
    }
}

fn policies(arns: &[String]) -> std::collections::BTreeSet<PolicyArn> {
    arns.iter().map(|arn| PolicyArn::new(arn.clone())).collect()
}

fn path(field: &str, path: &str) -> Result<String, Refusal> {
    if path.starts_with('/') && path.ends_with('/') {
        Ok(path.to_owned())
    } else {
        Err(invalid(field, "it must begin and end with a slash"))
    }
}

/// The role of Default Host Management that a posture declares.
pub fn host_management_role(role: &crds::HostManagementRole) -> Result<RoleWish, Refusal> {
    Ok(RoleWish {
        name: role.name.clone(),
        role: role.role_name.as_str().into(),
        path: path("spec.hostManagementRole.path", &role.path)?,
        ownership: ownership(role.ownership),
        extra: policies(&role.extra_managed_policies),
        purpose: Purpose::HostManagement,
    })
}

/// A role for instances that a posture declares; `at` is its place among them, for messages.
pub fn instance_role(at: usize, role: &crds::InstanceRole) -> Result<RoleWish, Refusal> {
    let field = format!("spec.instanceRoles[{at}]");
    let s3 = role.s3.clone().unwrap_or_default();
    let own = |own: &crds::OwnBucket| OwnBucket {
        bucket: own.bucket.clone(),
        prefix: own.prefix.clone().unwrap_or_default(),
        write: own.access == S3Access::Write,
        encrypted: own.encrypted,
        cross_account: own.cross_account,
    };
    if let Some(wild) = s3.own.iter().position(|own| {
        format!("{}{}", own.bucket, own.prefix.as_deref().unwrap_or_default()).contains(['*', '?', '$'])
    }) {
        return Err(invalid(&format!("{field}.s3.own[{wild}]"), "a wildcard would open more than is named"));
    }
    Ok(RoleWish {
        name: role.name.clone(),
        role: role.role_name.as_str().into(),
        path: path(&format!("{field}.path"), &role.path)?,
        ownership: ownership(role.ownership),
        extra: policies(&role.extra_managed_policies),
        purpose: Purpose::Instances {
            profile: role.profile_name().into(),
            capabilities: role.capabilities.iter().map(|c| capability(*c)).collect(),
            bucket_regions: s3.aws_buckets.iter().flat_map(|buckets| buckets.regions.iter().cloned()).collect(),
            own_buckets: s3.own.iter().map(own).collect(),
            keys: role.kms_keys.iter().cloned().collect(),
        },
    })
}

/// A posture, validated. `ceiling` is the mode that the controller as a whole does not exceed.
///
/// # Errors
/// `InvalidSpec`, naming the field.
pub fn account_posture(
    object: &crds::AccountPosture,
    account: &AwsAccount,
    owner: Owner,
    ceiling: Mode,
) -> Result<AccountPosture, Refusal> {
    let spec = &object.spec;
    if !INTERVALS.contains(&spec.interval.get()) {
        return Err(invalid("spec.interval", "it must be from 1m to 24h"));
    }
    super::own_keys("spec.tags", &spec.tags)?;
    let mut roles = Vec::new();
    if let Some(role) = &spec.host_management_role {
        roles.push(host_management_role(role)?);
    }
    for (at, role) in spec.instance_roles.iter().enumerate() {
        roles.push(instance_role(at, role)?);
    }
    let rails = &account.spec.guardrails;
    Ok(AccountPosture {
        owner,
        account: parse("spec.accountId of the AwsAccount", &account.spec.account_id)?,
        partition: partition(&account.spec),
        mode: mode(spec.mode).min(ceiling),
        interval: spec.interval.get(),
        deletion_policy: match spec.deletion_policy {
            AccountDeletionPolicy::Retain => AccountDeletion::Retain,
            AccountDeletionPolicy::Delete => AccountDeletion::Delete,
        },
        tags: spec.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
        roles,
        guardrails: Guardrails {
            policies: policies(&rails.managed_policies),
            paths: (!rails.role_path_prefixes.is_empty()).then(|| rails.role_path_prefixes.clone()),
            boundary: rails.permissions_boundary.as_ref().map(|arn| PolicyArn::new(arn.clone())),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ssm_ready_core::reason::Reason;

    use super::*;
    use crate::documents::near_object;

    fn account() -> AwsAccount {
        let text = "{apiVersion: ssmready.dev/v1alpha1, kind: AwsAccount, metadata: {name: prod}, spec: {accountId: '111122223333', assumeRole: {roleArn: 'arn:aws-us-gov:iam::111122223333:role/r'}, guardrails: {rolePathPrefixes: [/a/]}}}";
        serde_yaml::from_str(text).unwrap()
    }

    fn owner() -> Owner {
        let text = |text: &str| text.to_owned();
        Owner {
            cluster: text("c1"),
            kind: "AccountPosture",
            namespace: text("team"),
            name: text("main"),
            uid: text("u"),
        }
    }

    #[test]
    fn what_an_older_schema_let_in_is_refused_by_field() {
        for (spec, field) in [
            ("hostManagementRole: {path: service-role}", "spec.hostManagementRole.path"),
            ("instanceRoles: [{name: a, roleName: a}, {name: b, roleName: b, path: /x}]", "spec.instanceRoles[1].path"),
            (
                "instanceRoles: [{name: a, roleName: a, s3: {own: [{bucket: logs, access: Read}, {bucket: 'logs-*', access: Read}]}}]",
                "spec.instanceRoles[0].s3.own[1]",
            ),
            ("interval: 1s, hostManagementRole: {}", "spec.interval"),
            ("tags: [{key: ssmready.dev/owner, value: x}], hostManagementRole: {}", "spec.tags[0].key"),
        ] {
            let object: crds::AccountPosture = serde_yaml::from_str(&format!(
                "{{apiVersion: ssmready.dev/v1alpha1, kind: AccountPosture, metadata: {{name: main, namespace: team}}, spec: {{target: {{accountRef: {{name: prod}}}}, {spec}}}}}"
            ))
            .unwrap();
            let refusal = account_posture(&object, &account(), owner(), Mode::Enforce).unwrap_err();
            assert_eq!(refusal.reason, Reason::InvalidSpec);
            assert!(refusal.message.starts_with(&format!("{field}: ")), "{}", refusal.message);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_posture_that_is_read_is_understood_or_refused_by_field((object, _) in near_object("AccountPosture")) {
            let Ok(object) = serde_json::from_value::<crds::AccountPosture>(object) else { return Ok(()) };
            match account_posture(&object, &account(), owner(), Mode::Observe) {
                Err(refusal) => {
                    prop_assert_eq!(refusal.reason, Reason::InvalidSpec);
                    prop_assert!(refusal.message.starts_with("spec.") && refusal.message.contains(": "));
                }
                Ok(posture) => {
                    prop_assert_eq!(posture.mode, Mode::Observe);
                    prop_assert_eq!(posture.partition.as_str(), "aws-us-gov");
                    prop_assert_eq!(posture.guardrails.paths.as_deref(), Some(&["/a/".to_owned()][..]));
                    for role in &posture.roles {
                        prop_assert!(role.path.starts_with('/') && role.path.ends_with('/'));
                    }
                }
            }
        }
    }
}
