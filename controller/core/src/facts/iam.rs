//! Roles and instance profiles as IAM has them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Permission, Tags};
use crate::ids::{PolicyArn, ProfileName, RoleName};

/// The name of the one inline policy of a role that is ours to write.
pub const INLINE_POLICY: &str = "ssm-ready";

/// A role (GetRole, ListAttachedRolePolicies, ListRolePolicies, GetRolePolicy).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name, unique in the account whatever its path.
    pub name: RoleName,
    /// Its ARN.
    pub arn: String,
    /// Its path: begins and ends with a slash.
    pub path: String,
    /// Who may take it on: its trust policy, as JSON.
    pub trust: String,
    /// The policy that bounds what its policies can allow.
    pub boundary: Option<PolicyArn>,
    /// The managed policies that are attached to it.
    pub policies: BTreeSet<PolicyArn>,
    /// Its inline policies by name, and the document, as JSON, of [`INLINE_POLICY`]; those of the others are not read.
    pub inline: BTreeMap<String, Option<String>>,
    /// Its tags.
    pub tags: Tags,
}

impl Role {
    /// The role as the setting of Default Host Management names it: its path without the leading slash, and its name.
    #[must_use]
    pub fn setting_value(&self) -> String {
        format!("{}{}", self.path.trim_start_matches('/'), self.name)
    }
}

/// An instance profile (GetInstanceProfile).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name, unique in the account whatever its path.
    pub name: ProfileName,
    /// Its ARN.
    pub arn: String,
    /// Its path: begins and ends with a slash.
    pub path: String,
    /// The one role that it can have.
    pub role: Option<RoleName>,
    /// Its tags.
    pub tags: Tags,
}

/// What an agent does at AWS with the credentials that it has (Systems Manager user guide, "ec2messages, ssmmessages and
/// other API operations").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentAction {
    /// Registers, and says that it is alive. Whoever may do this is managed by these credentials and no others.
    UpdateInstanceInformation,
    /// Asks for the channel that tells it of sessions and commands.
    CreateControlChannel,
    /// Asks for the channel of a session.
    CreateDataChannel,
    /// Opens the channel that tells it of sessions and commands.
    OpenControlChannel,
    /// Opens the channel of a session.
    OpenDataChannel,
    /// Fetches commands by the old way, which has no sessions.
    GetMessages,
}

impl AgentAction {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::UpdateInstanceInformation,
        Self::CreateControlChannel,
        Self::CreateDataChannel,
        Self::OpenControlChannel,
        Self::OpenDataChannel,
        Self::GetMessages,
    ];
    /// What sessions and commands take.
    pub const CHANNELS: [Self; 4] =
        [Self::CreateControlChannel, Self::CreateDataChannel, Self::OpenControlChannel, Self::OpenDataChannel];

    /// The IAM action.
    #[must_use]
    pub fn iam_action(self) -> &'static str {
        match self {
            Self::UpdateInstanceInformation => "ssm:UpdateInstanceInformation",
            Self::CreateControlChannel => "ssmmessages:CreateControlChannel",
            Self::CreateDataChannel => "ssmmessages:CreateDataChannel",
            Self::OpenControlChannel => "ssmmessages:OpenControlChannel",
            Self::OpenDataChannel => "ssmmessages:OpenDataChannel",
            Self::GetMessages => "ec2messages:GetMessages",
        }
    }
}

impl std::fmt::Display for AgentAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.iam_action())
    }
}

/// AWS's policies that allow an agent all that it does, by their names: the two of today, and the one before them
/// (AWS managed policies reference).
pub const AGENT_POLICIES: [&str; 3] =
    ["AmazonSSMManagedInstanceCore", "AmazonSSMManagedEC2InstanceDefaultPolicy", "AmazonEC2RoleforSSM"];

/// What a role allows an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentPermissions {
    /// By action; one that is not there cannot be told.
    pub allowed: BTreeMap<AgentAction, bool>,
}

impl AgentPermissions {
    /// All actions are allowed, or none is.
    #[must_use]
    pub fn all(allowed: bool) -> Self {
        Self { allowed: AgentAction::ALL.into_iter().map(|action| (action, allowed)).collect() }
    }

    /// What IAM answered (SimulatePrincipalPolicy).
    #[must_use]
    pub fn simulated(answer: &[Permission]) -> Self {
        let of = |permission: &Permission| {
            let action =
                AgentAction::ALL.into_iter().find(|a| a.iam_action().eq_ignore_ascii_case(&permission.action))?;
            Some((action, permission.allowed))
        };
        Self { allowed: answer.iter().filter_map(of).collect() }
    }

    /// What the names of a role's policies tell where IAM may not be asked, as AWS's own runbook judges
    /// (AWSSupport-TroubleshootManagedInstance). A policy of somebody's own may allow anything, so that of a role that
    /// carries such ones alone nothing can be told.
    #[must_use]
    pub fn of_policies(role: &Role) -> Self {
        let by_aws = |policy: &PolicyArn| {
            let name = policy.as_str().split_once(":iam::aws:policy/").map(|(_, path)| path);
            name.and_then(|path| path.rsplit('/').next()).is_some_and(|name| AGENT_POLICIES.contains(&name))
        };
        if role.policies.iter().any(by_aws) {
            Self::all(true)
        } else if role.policies.is_empty() && role.inline.is_empty() {
            Self::all(false)
        } else {
            Self::default()
        }
    }

    /// Whether an action is allowed, where that can be told.
    #[must_use]
    pub fn allows(&self, action: AgentAction) -> Option<bool> {
        self.allowed.get(&action).copied()
    }

    /// Whether an agent needs nothing more: it is managed, and has sessions. None where that cannot be told.
    #[must_use]
    pub fn suffices(&self) -> Option<bool> {
        let all = [AgentAction::UpdateInstanceInformation].into_iter().chain(AgentAction::CHANNELS);
        let all: Vec<Option<bool>> = all.map(|action| self.allows(action)).collect();
        if all.contains(&Some(false)) { Some(false) } else { (!all.contains(&None)).then_some(true) }
    }
}
