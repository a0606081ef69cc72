//! Writes of roles and instance profiles.

use std::collections::BTreeSet;

use ssm_ready_core::{
    calls::Operation,
    facts::iam::INLINE_POLICY,
    fault::Fault,
    ids::{ProfileName, RoleName},
    write::{NewRole, ProfileChange, RoleChange, Written},
};

use super::{
    answer::done_if,
    client::{At, AwsCloud},
    convert::iam::tags_of,
    read_iam::NO_ENTITY,
};

impl AwsCloud {
    pub(super) async fn change_role(
        &self,
        at: At<'_>,
        operation: Operation,
        role: &RoleName,
        change: &RoleChange,
    ) -> Result<Written, Fault> {
        let name = role.as_str();
        macro_rules! call {
            ($build:ident $(.$field:ident($value:expr))*) => {
                self.call(at, operation, |clients| {
                    clients.iam_writes().$build().role_name(name)$(.$field($value))*.send()
                })
                .await
            };
        }
        match change {
            RoleChange::Create(new) => self.create_role(at, operation, name, new).await,
            RoleChange::Trust(document) => done(call!(update_assume_role_policy.policy_document(document))),
            RoleChange::Attach(policy) => done(call!(attach_role_policy.policy_arn(policy.as_str()))),
            // Whether the policy is not attached, or the role is gone: it does not have the policy.
            RoleChange::Detach(policy) => done_if(call!(detach_role_policy.policy_arn(policy.as_str())), NO_ENTITY),
            RoleChange::PutInline(document) => {
                done(call!(put_role_policy.policy_name(INLINE_POLICY).policy_document(document)))
            }
            RoleChange::DeleteInline(policy) => done_if(call!(delete_role_policy.policy_name(policy)), NO_ENTITY),
            RoleChange::Boundary(policy) => {
                done(call!(put_role_permissions_boundary.permissions_boundary(policy.as_str())))
            }
            RoleChange::Tag(tags) => done(call!(tag_role.set_tags(Some(tags_of(tags))))),
            RoleChange::Untag(keys) => done(call!(untag_role.set_tag_keys(Some(list(keys))))),
            RoleChange::Delete => done_if(call!(delete_role), NO_ENTITY),
        }
    }

    async fn create_role(&self, at: At<'_>, operation: Operation, name: &str, new: &NewRole) -> Result<Written, Fault> {
        // EntityAlreadyExists is no success: the role may be somebody else's.
        done(
            self.call(at, operation, |clients| {
                clients
                    .iam_writes()
                    .create_role()
                    .role_name(name)
                    .path(&new.path)
                    .assume_role_policy_document(&new.trust)
                    .description(&new.description)
                    .set_permissions_boundary(new.boundary.as_ref().map(ToString::to_string))
                    .set_tags(Some(tags_of(&new.tags)).filter(|tags| !tags.is_empty()))
                    .send()
            })
            .await,
        )
    }

    pub(super) async fn change_profile(
        &self,
        at: At<'_>,
        operation: Operation,
        profile: &ProfileName,
        change: &ProfileChange,
    ) -> Result<Written, Fault> {
        let name = profile.as_str();
        macro_rules! call {
            ($build:ident $(.$field:ident($value:expr))*) => {
                self.call(at, operation, |clients| {
                    clients.iam_writes().$build().instance_profile_name(name)$(.$field($value))*.send()
                })
                .await
            };
        }
        match change {
            ProfileChange::Create { path, tags } => {
                let given = || Some(tags_of(tags)).filter(|tags| !tags.is_empty());
                done(call!(create_instance_profile.path(path).set_tags(given())))
            }
            // LimitExceeded, "one role only", does not say which role is in it.
            ProfileChange::AddRole(role) => done(call!(add_role_to_instance_profile.role_name(role.as_str()))),
            ProfileChange::RemoveRole(role) => {
                done_if(call!(remove_role_from_instance_profile.role_name(role.as_str())), NO_ENTITY)
            }
            ProfileChange::Tag(tags) => done(call!(tag_instance_profile.set_tags(Some(tags_of(tags))))),
            ProfileChange::Untag(keys) => done(call!(untag_instance_profile.set_tag_keys(Some(list(keys))))),
            ProfileChange::Delete => done_if(call!(delete_instance_profile), NO_ENTITY),
        }
    }
}

fn done<T>(result: Result<T, Fault>) -> Result<Written, Fault> {
    result.map(|_| Written::Done)
}

fn list(keys: &BTreeSet<String>) -> Vec<String> {
    keys.iter().cloned().collect()
}
