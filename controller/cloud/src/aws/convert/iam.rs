//! Roles and instance profiles.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types as iam;
use percent_encoding::percent_decode_str;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        iam::{Profile, Role},
    },
    fault::Fault,
    ids::{PolicyArn, RoleName},
};

use super::required;
use crate::aws::answer::unreadable;

/// What there must be: a thing that was asked for by its name is not left out of the answer.
fn needed<'a>(operation: Operation, field: &str, value: &'a str) -> Result<&'a str, Fault> {
    if value.is_empty() { Err(unreadable(operation, field)) } else { Ok(value) }
}

fn tags(tags: &[iam::Tag]) -> Tags {
    tags.iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

/// A policy's document. IAM gives it percent-encoded, as RFC 3986 has it.
pub(in crate::aws) fn policy_document(operation: Operation, field: &str, text: &str) -> Result<String, Fault> {
    let text = needed(operation, field, text)?;
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| unreadable(operation, field))?;
    Ok(decoded.into_owned())
}

/// A role, without its policies.
pub(in crate::aws) fn role(role: &iam::Role) -> Result<Role, Fault> {
    let operation = Operation::GetRole;
    let trust = role.assume_role_policy_document().unwrap_or_default();
    let boundary = role.permissions_boundary().and_then(|boundary| boundary.permissions_boundary_arn());
    Ok(Role {
        name: needed(operation, "RoleName", role.role_name())?.into(),
        arn: needed(operation, "Arn", role.arn())?.to_owned(),
        path: needed(operation, "Path", role.path())?.to_owned(),
        trust: policy_document(operation, "AssumeRolePolicyDocument", trust)?,
        boundary: boundary.filter(|arn| !arn.is_empty()).map(PolicyArn::from),
        policies: BTreeSet::new(),
        inline: BTreeMap::new(),
        tags: tags(role.tags()),
    })
}

/// A policy that is attached to a role.
pub(in crate::aws) fn policy_arn(policy: &iam::AttachedPolicy) -> Option<PolicyArn> {
    required("attached policy", "PolicyArn", policy.policy_arn()).map(PolicyArn::from)
}

/// An instance profile.
pub(in crate::aws) fn profile(profile: &iam::InstanceProfile) -> Result<Profile, Fault> {
    let operation = Operation::GetInstanceProfile;
    Ok(Profile {
        name: needed(operation, "InstanceProfileName", profile.instance_profile_name())?.into(),
        arn: needed(operation, "Arn", profile.arn())?.to_owned(),
        path: needed(operation, "Path", profile.path())?.to_owned(),
        // AWS allows one.
        role: profile.roles().iter().map(iam::Role::role_name).find(|name| !name.is_empty()).map(RoleName::from),
        tags: tags(profile.tags()),
    })
}

/// Tags, as the SDK takes them.
pub(in crate::aws) fn tags_of(tags: &Tags) -> Vec<iam::Tag> {
    // Both parts are there, which is all that building one needs.
    tags.iter().filter_map(|(key, value)| iam::Tag::builder().key(key).value(value).build().ok()).collect()
}
