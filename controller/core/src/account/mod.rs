//! One account: the roles that Systems Manager and instances take on, and instance profiles.

mod buckets;
mod farewell;
mod profiles;
mod roles;
mod statements;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    calls::AgeClass,
    evaluate::{Facet, Ownership, Verdict},
    facts::{
        Tags,
        iam::{Profile, Role},
    },
    ids::{AccountId, PolicyArn, ProfileName, RoleName},
    posture::{Capability, Mode, Owner},
    reason::Reason,
    region::{HOST_MANAGEMENT_POLICY, HOST_MANAGEMENT_SERVICE, aws_policy},
    snapshot::{Entry, FactKey, Reading, Snapshot, is_doubtful},
    write::{RoleChange, Write},
};

pub use farewell::{Uses, farewell, wanted_of_regions};

/// The policy that every instance needs, by its name.
pub const INSTANCE_POLICY: &str = "AmazonSSMManagedInstanceCore";

/// The policy that a capability takes beyond it, by its name (Systems Manager, "Configure instance permissions").
fn policy_for(capability: Capability) -> Option<&'static str> {
    match capability {
        Capability::Patching => Some("AmazonSSMPatchAssociation"),
        Capability::CloudWatchAgent => Some("CloudWatchAgentServerPolicy"),
        Capability::DirectoryJoin => Some("AmazonSSMDirectoryServiceAccess"),
        Capability::VssSnapshots => Some("AWSEC2VssSnapshotPolicy"),
        _ => None,
    }
}

/// AWS's own policies that roles may carry whatever the guardrails say, by their names.
#[must_use]
pub fn own_policies() -> BTreeSet<&'static str> {
    let more = Capability::ALL.into_iter().filter_map(policy_for);
    [HOST_MANAGEMENT_POLICY, INSTANCE_POLICY].into_iter().chain(more).collect()
}

/// How far ssm-ready goes with a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleOwnership {
    /// It is made, and kept as declared.
    Create,
    /// It is there; policies are added to it, and nothing else is changed.
    AttachOnly,
    /// Likewise made, or taken from whoever made it.
    TakeOver,
}

/// What a role is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Default Host Management.
    HostManagement,
    /// Instances, through a profile.
    Instances {
        /// The profile.
        profile: ProfileName,
        /// What instances want of Systems Manager.
        capabilities: BTreeSet<Capability>,
        /// Regions whose AWS buckets may be read.
        bucket_regions: BTreeSet<String>,
        /// Buckets of one's own.
        own_buckets: Vec<OwnBucket>,
        /// KMS keys, by ARN.
        keys: BTreeSet<String>,
    },
    /// None: it is its profile alone that the object no longer declares.
    Profile(ProfileName),
}

/// A bucket of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnBucket {
    /// Its name.
    pub bucket: String,
    /// Only keys that begin with this; all, if empty.
    pub prefix: String,
    /// Whether instances write to it, or only read.
    pub write: bool,
    /// Whether what is written is encrypted with one of the keys.
    pub encrypted: bool,
    /// Whether it is of another account, whose owner is given access to what is written.
    pub cross_account: bool,
}

/// A role that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleWish {
    /// What other objects call it.
    pub name: String,
    /// Its name in IAM.
    pub role: RoleName,
    /// Its path: begins and ends with a slash.
    pub path: String,
    /// How far we go with it.
    pub ownership: RoleOwnership,
    /// Managed policies beyond those of its purpose.
    pub extra: BTreeSet<PolicyArn>,
    /// What it is for.
    pub purpose: Purpose,
}

/// What the account's owner allows of roles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guardrails {
    /// Managed policies beyond AWS's own for Systems Manager.
    pub policies: BTreeSet<PolicyArn>,
    /// What the paths of roles begin with; none: anything.
    pub paths: Option<Vec<String>>,
    /// The policy that every role is bounded by.
    pub boundary: Option<PolicyArn>,
}

/// What becomes of roles when the object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountDeletion {
    /// They stay.
    Retain,
    /// They are deleted once nothing uses them.
    Delete,
}

/// A validated `AccountPosture`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPosture {
    /// Who owns what is made.
    pub owner: Owner,
    /// The account.
    pub account: AccountId,
    /// The partition, such as `aws-cn`.
    pub partition: String,
    /// The effective mode.
    pub mode: Mode,
    /// How often AWS is looked at.
    pub interval: Duration,
    /// What becomes of roles.
    pub deletion_policy: AccountDeletion,
    /// Further tags of what is made.
    pub tags: Tags,
    /// The roles.
    pub roles: Vec<RoleWish>,
    /// What the account's owner allows.
    pub guardrails: Guardrails,
}

impl RoleWish {
    /// The services that take the role on, in a partition; any one of them is enough where the role is not ours.
    #[must_use]
    pub fn services(&self, partition: &str) -> &'static [&'static str] {
        match (&self.purpose, partition) {
            (Purpose::HostManagement, _) => &[HOST_MANAGEMENT_SERVICE],
            // Older roles of China name the other.
            (Purpose::Instances { .. } | Purpose::Profile(_), "aws-cn") => {
                &["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]
            }
            (Purpose::Instances { .. } | Purpose::Profile(_), _) => &["ec2.amazonaws.com"],
        }
    }

    /// AWS's policies for its purpose (Systems Manager, "Configure instance permissions").
    #[must_use]
    pub fn own_policies(&self, partition: &str) -> BTreeSet<PolicyArn> {
        let names: Vec<&str> = match &self.purpose {
            Purpose::HostManagement => vec![HOST_MANAGEMENT_POLICY],
            Purpose::Profile(_) => Vec::new(),
            Purpose::Instances { capabilities, .. } => {
                let more = capabilities.iter().filter_map(|capability| policy_for(*capability));
                [INSTANCE_POLICY].into_iter().chain(more).collect()
            }
        };
        names.into_iter().map(|name| aws_policy(partition, name)).collect()
    }

    /// All managed policies that it is to have.
    #[must_use]
    pub fn policies(&self, partition: &str) -> BTreeSet<PolicyArn> {
        &self.own_policies(partition) | &self.extra
    }

    /// Its instance profile.
    #[must_use]
    pub fn profile(&self) -> Option<&ProfileName> {
        match &self.purpose {
            Purpose::HostManagement => None,
            Purpose::Instances { profile, .. } | Purpose::Profile(profile) => Some(profile),
        }
    }
}

impl AccountPosture {
    /// All tags of a thing that is made: the declared ones and ownership.
    #[must_use]
    pub fn all_tags(&self) -> Tags {
        let mut tags = self.tags.clone();
        tags.extend(self.owner.tags());
        tags
    }
}

/// What status remembers of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMemory {
    /// Its name in IAM.
    pub role: RoleName,
    /// Its profile.
    pub profile: Option<ProfileName>,
    /// Policies that we attached, and read back.
    pub attached: BTreeSet<PolicyArn>,
    /// Policies that we are about to attach, or have attached and not read back.
    pub attaching: BTreeSet<PolicyArn>,
    /// Whether the role was ours.
    pub managed: bool,
    /// Whether it was there.
    pub existed: bool,
    /// What was noted may have been made a moment ago, and IAM shows that now and then does not: only what is read from
    /// then on can say that it is not there.
    pub doubt_until: Option<Timestamp>,
}

impl RoleMemory {
    fn role_in_doubt(&self, read_at: Option<Timestamp>) -> bool {
        self.managed && is_doubtful(read_at, self.doubt_until)
    }

    fn profile_in_doubt(&self, read_at: Option<Timestamp>) -> bool {
        self.profile.is_some() && is_doubtful(read_at, self.doubt_until)
    }
}

impl Default for RoleMemory {
    fn default() -> Self {
        Self {
            role: RoleName::new(""),
            profile: None,
            attached: BTreeSet::new(),
            attaching: BTreeSet::new(),
            managed: false,
            existed: false,
            doubt_until: None,
        }
    }
}

/// What status remembers of an account, by what other objects call a role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountMemory {
    /// By name.
    pub roles: BTreeMap<String, RoleMemory>,
}

/// A role as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRole {
    /// What other objects call it.
    pub name: String,
    /// Its name in IAM.
    pub role: RoleName,
    /// Its ARN, if it is there.
    pub arn: Option<String>,
    /// Whose it is, if it is there.
    pub ownership: Option<Ownership>,
    /// Its managed policies.
    pub policies: BTreeSet<PolicyArn>,
    /// Its profile's name.
    pub profile: Option<ProfileName>,
    /// Its profile's ARN, if that is there.
    pub profile_arn: Option<String>,
}

/// What was seen of an account, for status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountSeen {
    /// The roles that could be looked at.
    pub roles: Vec<SeenRole>,
    /// What status is to remember, as far as what was seen tells.
    pub memory: AccountMemory,
}

/// Roles and profiles that were made a moment ago: IAM may not show them yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fresh {
    /// Roles.
    pub roles: BTreeSet<RoleName>,
    /// Profiles.
    pub profiles: BTreeSet<ProfileName>,
}

/// The facts that an account is judged by.
#[derive(Debug, Clone, Copy)]
pub struct AccountView<'a> {
    /// The account's facts.
    pub facts: &'a Snapshot,
    /// What was made a moment ago.
    pub fresh: &'a Fresh,
    /// The interval by which they age.
    pub interval: Duration,
    /// Now.
    pub now: Timestamp,
}

impl<'a> AccountView<'a> {
    fn of<T>(&self, entry: Option<&'a Entry<T>>) -> Reading<'a, T> {
        entry.map_or(Reading::Unknown(None), |entry| entry.reading(AgeClass::Iam.limit(self.interval), self.now))
    }

    fn role(&self, role: &RoleName) -> Reading<'a, Option<Role>> {
        self.of(self.facts.roles.get(role))
    }

    fn profile(&self, profile: &ProfileName) -> Reading<'a, Option<Profile>> {
        self.of(self.facts.profiles.get(profile))
    }
}

/// Everything that a judgement rests on.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    posture: &'a AccountPosture,
    view: &'a AccountView<'a>,
    memory: &'a AccountMemory,
}

/// The facts that the account's place has to know.
#[must_use]
pub fn wanted(posture: &AccountPosture) -> BTreeSet<FactKey> {
    let roles = posture.roles.iter().map(|wish| FactKey::Role(wish.role.clone()));
    let profiles = posture.roles.iter().filter_map(RoleWish::profile).map(|profile| FactKey::Profile(profile.clone()));
    roles.chain(profiles).collect()
}

/// What is left of an entry that has another role or profile now goes by a name that no entry can have.
const SET_ASIDE: char = '~';

/// What status remembers, with what entries meant before an edit set aside: a role or a profile that another name has
/// taken the place of.
#[must_use]
pub fn set_aside(posture: &AccountPosture, mut memory: AccountMemory) -> AccountMemory {
    for wish in &posture.roles {
        let meant_another = |kept: &RoleMemory| kept.role != wish.role || kept.profile.as_ref() != wish.profile();
        let Some(kept) = memory.roles.get(&wish.name).filter(|kept| meant_another(kept)).cloned() else { continue };
        if kept.role == wish.role {
            // The role is the same, and what was attached to it is still known.
            let stays = RoleMemory { profile: wish.profile().cloned(), ..kept.clone() };
            memory.roles.insert(wish.name.clone(), stays);
        } else {
            memory.roles.remove(&wish.name);
        }
        let mut free = (0_u32..).map(|number| format!("{SET_ASIDE}{number}"));
        if let Some(name) = free.find(|name| !memory.roles.contains_key(name)) {
            memory.roles.insert(name, kept);
        }
    }
    memory
}

impl AccountPosture {
    /// Roles that status remembers as made or added to by this object, and that it no longer declares. What another
    /// entry declares now is not among them.
    #[must_use]
    pub fn undeclared(&self, memory: &AccountMemory) -> Vec<RoleWish> {
        let declared = |name: &String| self.roles.iter().any(|wish| wish.name == *name);
        // A profile may be ours though its role is not.
        let ours = |kept: &RoleMemory| {
            kept.managed || kept.profile.is_some() || !(kept.attached.is_empty() && kept.attaching.is_empty())
        };
        let left = memory.roles.iter().filter(|(name, kept)| !declared(name) && ours(kept));
        left.filter_map(|(name, kept)| {
            let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
            let has_role = self.roles.iter().any(|wish| same(wish.role.as_str(), kept.role.as_str()));
            let profiles = || self.roles.iter().filter_map(RoleWish::profile);
            let profile =
                kept.profile.as_ref().filter(|left| !profiles().any(|other| same(other.as_str(), left.as_str())));
            let purpose = match (has_role, profile) {
                (true, None) => return None,
                (true, Some(profile)) => Purpose::Profile(profile.clone()),
                (false, None) => Purpose::HostManagement,
                (false, Some(profile)) => Purpose::Instances {
                    profile: profile.clone(),
                    capabilities: BTreeSet::new(),
                    bucket_regions: BTreeSet::new(),
                    own_buckets: Vec::new(),
                    keys: BTreeSet::new(),
                },
            };
            Some(RoleWish {
                name: name.clone(),
                role: kept.role.clone(),
                path: "/".to_owned(),
                ownership: if kept.managed { RoleOwnership::Create } else { RoleOwnership::AttachOnly },
                extra: BTreeSet::new(),
                purpose,
            })
        })
        .collect()
    }
}

/// The object with the roles that it declares and those that it did before.
#[must_use]
pub fn everything(posture: &AccountPosture, memory: &AccountMemory) -> AccountPosture {
    let mut all = posture.clone();
    all.roles.extend(posture.undeclared(memory));
    all
}

/// Sees to the roles that are no longer declared, as a deletion would; says what stays of them.
pub fn tidy(
    posture: &AccountPosture,
    view: &AccountView<'_>,
    memory: &AccountMemory,
    regions: &[Uses<'_>],
    verdict: &mut Verdict<AccountSeen>,
) -> Vec<String> {
    let mut left = Vec::new();
    for wish in posture.undeclared(memory) {
        let name = wish.name.clone();
        let alone = AccountPosture { roles: vec![wish], ..posture.clone() };
        let mut next = farewell(&alone, view, memory, regions);
        if regions.is_empty() && posture.deletion_policy == AccountDeletion::Delete && !next.is_done() {
            next.actions.clear();
            next.unknown.push("the regions of the account are not known".to_owned());
        }
        if next.is_done() {
            continue;
        }
        if let Some(kept) = memory.roles.get(&name) {
            verdict.seen.memory.roles.insert(name.clone(), kept.clone());
        }
        for pending in next.pending {
            verdict.fail(Facet::Roles, Reason::RolePending, format!("{name} is no longer declared: {pending}"));
        }
        verdict.watch.extend(next.watch);
        let waits: Vec<String> = next.used.into_iter().chain(next.unknown).collect();
        if !waits.is_empty() {
            let message = format!("{name} is no longer declared, and stays for now: {}", waits.join("; "));
            verdict.warn(Facet::Roles, Reason::RoleInUse, message);
        }
        for action in next.actions {
            let reason = if action.facet == Facet::Profiles { Reason::ProfileDrifted } else { Reason::RoleDrifted };
            verdict.fail(action.facet, reason, format!("{name} is no longer declared: {}", action.write));
            verdict.actions.push(action);
        }
        left.extend(next.left);
    }
    left
}

/// Why a role stays that AWS does not let go.
#[must_use]
pub fn held(role: &RoleName) -> String {
    format!(
        "role {role} cannot be deleted, since an instance profile that ssm-ready did not make holds it, or a policy was attached to it just now: take it out"
    )
}

/// Says of a role that it is held, in place of its deletion: that is tried again later.
pub fn hold(verdict: &mut Verdict<AccountSeen>, role: &RoleName) {
    let deletion = Write::Role { role: role.clone(), change: RoleChange::Delete };
    verdict.actions.retain(|action| action.write != deletion);
    let told = deletion.to_string();
    verdict.checks.retain(|check| !(check.facet == Facet::Roles && check.message.ends_with(&told)));
    verdict.warn(Facet::Roles, Reason::RoleInUse, held(role));
}

/// Judges an account.
#[must_use]
pub fn evaluate(posture: &AccountPosture, view: &AccountView<'_>, memory: &AccountMemory) -> Verdict<AccountSeen> {
    let declared = |name: &String| posture.roles.iter().any(|wish| wish.name == *name);
    let kept = memory.roles.iter().filter(|(name, _)| declared(name));
    let kept = AccountMemory { roles: kept.map(|(name, role)| (name.clone(), role.clone())).collect() };
    let mut verdict = Verdict { seen: AccountSeen { roles: Vec::new(), memory: kept }, ..Verdict::default() };
    verdict.pass(Facet::Account, format!("account {}", posture.account));
    let case = Case { posture, view, memory };
    for wish in &posture.roles {
        let state = roles::judge(case, wish, &mut verdict);
        profiles::judge(case, wish, state, &mut verdict);
    }
    verdict
}

/// What status has to remember before the actions of a verdict are carried out.
#[must_use]
pub fn note_ahead(verdict: &Verdict<AccountSeen>) -> AccountMemory {
    let mut memory = verdict.seen.memory.clone();
    for action in &verdict.actions {
        let Write::Role { role, change } = &action.write else { continue };
        let Some(seen) = verdict.seen.roles.iter().find(|seen| seen.role == *role) else { continue };
        let entry = memory.roles.entry(seen.name.clone()).or_default();
        entry.role = seen.role.clone();
        entry.profile.clone_from(&seen.profile);
        match change {
            RoleChange::Create(_) => entry.managed = true,
            RoleChange::Attach(policy) => {
                entry.attaching.insert(policy.clone());
            }
            _ => {}
        }
    }
    memory
}
