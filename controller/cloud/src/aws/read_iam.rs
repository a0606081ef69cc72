//! Reads of roles and instance profiles. IAM is one for all regions; the region only says where the session is proven.

use aws_sdk_iam::operation::{
    list_attached_role_policies::ListAttachedRolePoliciesOutput, list_role_policies::ListRolePoliciesOutput,
    simulate_principal_policy::SimulatePrincipalPolicyOutput,
};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Permission, Question,
        iam::{AgentAction, AgentPermissions, INLINE_POLICY, Profile, Role},
    },
    fault::Fault,
    ids::{PolicyArn, ProfileName, RoleName},
};

use super::{
    answer::{none_if, unreadable},
    client::{At, AwsCloud},
    convert::{self as plain, iam as convert},
    read::{PAGE, each},
};
use crate::answers_never;

/// There is no role, profile or policy of the name.
pub(super) const NO_ENTITY: &[&str] = &["NoSuchEntity", "NoSuchEntityException"];

impl AwsCloud {
    /// A role with its policies. One that goes between the calls is none.
    pub(super) async fn read_role(&self, at: At<'_>, name: &RoleName) -> Result<Option<Role>, Fault> {
        let Some(mut role) = self.read_bare_role(at, name).await? else { return Ok(None) };
        let Some(policies) = none_if(self.read_attached(at, name).await, NO_ENTITY)? else { return Ok(None) };
        let Some(inline) = none_if(self.read_inline_names(at, name).await, NO_ENTITY)? else { return Ok(None) };
        role.policies = policies.into_iter().collect();
        role.inline = inline.into_iter().map(|policy| (policy, None)).collect();
        if let Some(ours) = role.inline.get_mut(INLINE_POLICY) {
            *ours = none_if(self.read_inline(at, name).await, NO_ENTITY)?;
            if ours.is_none() {
                // IAM does not say whether the policy is gone, or the role with it.
                if self.read_bare_role(at, name).await?.is_none() {
                    return Ok(None);
                }
                role.inline.remove(INLINE_POLICY);
            }
        }
        Ok(Some(role))
    }

    /// A role without its policies.
    pub(super) async fn read_bare_role(&self, at: At<'_>, name: &RoleName) -> Result<Option<Role>, Fault> {
        let operation = Operation::GetRole;
        let answer = self.call(at, operation, |clients| clients.iam().get_role().role_name(name.as_str()).send()).await;
        let Some(answer) = none_if(answer, NO_ENTITY)? else { return Ok(None) };
        convert::role(answer.role().ok_or_else(|| unreadable(operation, "Role"))?).map(Some)
    }

    async fn read_attached(&self, at: At<'_>, name: &RoleName) -> Result<Vec<PolicyArn>, Fault> {
        self.pages(
            at,
            Operation::ListAttachedRolePolicies,
            |clients, marker| {
                clients
                    .iam()
                    .list_attached_role_policies()
                    .role_name(name.as_str())
                    .max_items(PAGE)
                    .set_marker(marker)
                    .send()
            },
            |page: ListAttachedRolePoliciesOutput| {
                let found = each(page.attached_policies(), convert::policy_arn);
                (found, page.marker.filter(|_| page.is_truncated))
            },
        )
        .await
    }

    async fn read_inline_names(&self, at: At<'_>, name: &RoleName) -> Result<Vec<String>, Fault> {
        self.pages(
            at,
            Operation::ListRolePolicies,
            |clients, marker| {
                clients.iam().list_role_policies().role_name(name.as_str()).max_items(PAGE).set_marker(marker).send()
            },
            |page: ListRolePoliciesOutput| (page.policy_names, page.marker.filter(|_| page.is_truncated)),
        )
        .await
    }

    /// The document of the one inline policy that is ours to write.
    async fn read_inline(&self, at: At<'_>, name: &RoleName) -> Result<String, Fault> {
        let operation = Operation::GetRolePolicy;
        let answer = self
            .call(at, operation, |clients| {
                clients.iam().get_role_policy().role_name(name.as_str()).policy_name(INLINE_POLICY).send()
            })
            .await?;
        convert::policy_document(operation, "PolicyDocument", answer.policy_document())
    }

    /// What IAM says of a question about the policies of a role or other identity, by its ARN.
    pub(super) async fn simulate(
        &self,
        at: At<'_>,
        source: &str,
        question: &Question,
    ) -> Result<Vec<Permission>, Fault> {
        self.pages(
            at,
            Operation::SimulatePrincipalPolicy,
            |clients, marker| {
                clients
                    .iam()
                    .simulate_principal_policy()
                    .policy_source_arn(source)
                    .set_action_names(Some(question.actions.clone()))
                    .set_resource_arns(question.resource.clone().map(|arn| vec![arn]))
                    .set_context_entries(plain::context_entries(&question.context))
                    .max_items(PAGE)
                    .set_marker(marker)
                    .send()
            },
            |page: SimulatePrincipalPolicyOutput| {
                let next = page.marker.clone().filter(|_| page.is_truncated);
                (each(page.evaluation_results(), plain::permission), next)
            },
        )
        .await
    }

    /// What a role allows agents: as IAM simulates it, or, where it may not be asked, as the role's policies tell.
    pub(super) async fn read_agent_permissions(
        &self,
        at: At<'_>,
        name: &RoleName,
    ) -> Result<Option<AgentPermissions>, Fault> {
        let Some(role) = self.read_bare_role(at, name).await? else { return Ok(None) };
        let question = Question::of(&AgentAction::ALL.map(|action| action.iam_action().to_owned()));
        match none_if(self.simulate(at, &role.arn, &question).await, NO_ENTITY) {
            Ok(answer) => Ok(answer.map(|answer| AgentPermissions::simulated(&answer))),
            Err(fault) if answers_never(&fault) => {
                Ok(self.read_role(at, name).await?.map(|role| AgentPermissions::of_policies(&role)))
            }
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn read_profile(&self, at: At<'_>, name: &ProfileName) -> Result<Option<Profile>, Fault> {
        let operation = Operation::GetInstanceProfile;
        let answer = self.call(at, operation, |clients| {
            clients.iam().get_instance_profile().instance_profile_name(name.as_str()).send()
        });
        let Some(answer) = none_if(answer.await, NO_ENTITY)? else { return Ok(None) };
        convert::profile(answer.instance_profile().ok_or_else(|| unreadable(operation, "InstanceProfile"))?).map(Some)
    }
}
