//! Roles and instance profiles, as IAM keeps them: once for an account, in one name space each, whatever their paths.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use ssm_ready_core::{
    facts::{
        Tags,
        iam::{AgentAction, AgentPermissions, INLINE_POLICY, Profile, Role},
    },
    ids::{AccountId, PolicyArn, ProfileName, Region, RoleName},
    write::{NewRole, ProfileChange, RoleChange, Write, Written},
};

use super::{
    journal::{ThingKind, Touched},
    record::{Eye, Record, Table},
    state::{Account, Meters, touched},
    world::{Ctx, Refusal, World},
};

/// The longest name of a role, in characters.
const MAX_ROLE_NAME: usize = 64;
/// The longest name of an instance profile, in characters.
const MAX_PROFILE_NAME: usize = 128;
/// The longest path, in characters.
const MAX_PATH: usize = 512;
/// The longest description of a role, in characters.
const MAX_DESCRIPTION: usize = 1000;
/// Where roles are that only AWS's services change.
const SERVICE_LINKED: &str = "/aws-service-role/";

type Result<T = (), E = Refusal> = std::result::Result<T, E>;

/// What IAM allows of each thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IamQuotas {
    /// Roles of the account.
    pub roles: usize,
    /// Instance profiles of the account.
    pub profiles: usize,
    /// Managed policies of a role.
    pub policies_per_role: usize,
    /// Characters of a role's inline policies together, without white space.
    pub inline_characters: usize,
    /// Characters of a trust policy, without white space.
    pub trust_characters: usize,
    /// Tags of a role or profile.
    pub tags: usize,
}

impl Default for IamQuotas {
    fn default() -> Self {
        Self {
            roles: 1000,
            profiles: 1000,
            policies_per_role: 20,
            inline_characters: 10_240,
            trust_characters: 2048,
            tags: 50,
        }
    }
}

/// What IAM holds of an account.
#[derive(Debug, Clone, Default)]
pub struct Iam {
    /// Roles by name.
    pub roles: Table<RoleName, SimRole>,
    /// Instance profiles by name.
    pub profiles: Table<ProfileName, Profile>,
    /// The managed policies of the account's own. AWS's own are there by themselves.
    pub policies: BTreeSet<PolicyArn>,
    /// What managed policies allow besides what agents need of Systems Manager: actions, with `*` and `?`.
    pub grants: BTreeMap<PolicyArn, BTreeSet<String>>,
    /// What may be had of each thing.
    pub quotas: IamQuotas,
    pub(super) meters: Meters,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimRole {
    /// Its name.
    pub name: RoleName,
    /// Its ARN.
    pub arn: String,
    /// Its path.
    pub path: String,
    /// Its trust policy.
    pub trust: String,
    /// What it is for.
    pub description: String,
    /// The policy that bounds it.
    pub boundary: Option<PolicyArn>,
    /// The managed policies that are attached to it.
    pub policies: BTreeSet<PolicyArn>,
    /// Its inline policies by name.
    pub inline: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Tags,
}

impl SimRole {
    /// The role as the port describes it: of inline policies, the content of ours alone.
    #[must_use]
    pub fn fact(&self) -> Role {
        let content = |name: &str, content: &String| (name == INLINE_POLICY).then(|| content.clone());
        Role {
            name: self.name.clone(),
            arn: self.arn.clone(),
            path: self.path.clone(),
            trust: self.trust.clone(),
            boundary: self.boundary.clone(),
            policies: self.policies.clone(),
            inline: self.inline.iter().map(|(name, text)| (name.clone(), content(name, text))).collect(),
            tags: self.tags.clone(),
        }
    }
}

/// Whether a pattern of a policy, with `*` and `?`, covers an action: in any case.
pub(super) fn covers(pattern: &[u8], action: &[u8]) -> bool {
    match (pattern.split_first(), action.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => covers(rest, action) || (!action.is_empty() && covers(pattern, &action[1..])),
        (Some((b'?', rest)), Some((_, left))) => covers(rest, left),
        (Some((one, rest)), Some((other, left))) => one.eq_ignore_ascii_case(other) && covers(rest, left),
        _ => false,
    }
}

/// Whether an inline policy has a statement of an effect that names an action. Resources and conditions are not looked at.
pub(super) fn says(policy: &str, effect: &str, action: &str) -> bool {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else { return false };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    list(&policy["Statement"]).iter().filter(|statement| statement["Effect"] == effect).any(|statement| {
        let patterns = list(&statement["Action"]);
        let mut patterns = patterns.iter().filter_map(Value::as_str);
        patterns.any(|pattern| covers(pattern.as_bytes(), action.as_bytes()))
    })
}

impl SimRole {
    /// What its policies allow an agent: AWS's own for Systems Manager everything, others of AWS's and the account's
    /// nothing, and inline ones what they say. Boundaries bound nothing of it.
    #[must_use]
    pub fn agent_permissions(&self) -> AgentPermissions {
        let managed = AgentPermissions::of_policies(&Role { inline: BTreeMap::new(), ..self.fact() });
        let any =
            |effect, action: AgentAction| self.inline.values().any(|policy| says(policy, effect, action.iam_action()));
        let allows = |action| {
            let allowed = managed.allows(action) == Some(true) || any("Allow", action);
            (action, allowed && !any("Deny", action))
        };
        AgentPermissions { allowed: AgentAction::ALL.into_iter().map(allows).collect() }
    }
}

/// The partition that a region is in.
pub(super) fn partition(region: &Region) -> &'static str {
    const BY_PREFIX: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("eusc-", "aws-eusc"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("us-iso-", "aws-iso"),
        ("eu-isoe-", "aws-iso-e"),
    ];
    BY_PREFIX.iter().find(|(prefix, _)| region.as_str().starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

/// The ARN of a role (`role`) or an instance profile (`instance-profile`).
pub(super) fn arn(account: &AccountId, region: &Region, kind: &str, path: &str, name: &str) -> String {
    format!("arn:{}:iam::{account}:{kind}{path}{name}", partition(region))
}

fn no_such(kind: &str, name: &str) -> Refusal {
    Refusal::new("NoSuchEntity", format!("The {kind} with name {name} cannot be found.")).status(404)
}

fn exists(kind: &str, name: &str) -> Refusal {
    Refusal::new("EntityAlreadyExists", format!("{kind} with name {name} already exists.")).status(409)
}

fn limit(what: &str, most: usize) -> Refusal {
    Refusal::new("LimitExceeded", format!("Cannot exceed quota for {what}: {most}")).status(409)
}

fn conflict(message: &str) -> Refusal {
    Refusal::new("DeleteConflict", message).status(409)
}

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new("MalformedPolicyDocument", message)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationError", message)
}

/// The characters of a policy that IAM counts.
fn counted(policy: &str) -> usize {
    policy.chars().filter(|c| !c.is_whitespace()).count()
}

fn check_name(name: &str, most: usize) -> Result {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if name.is_empty() || name.chars().count() > most || !name.chars().all(fits) {
        return Err(invalid(format!("{name:?} is not a name of 1 to {most} characters")));
    }
    Ok(())
}

fn check_path(path: &str) -> Result {
    let fits = |c: char| ('!'..='\u{7f}').contains(&c);
    let bounded = path.starts_with('/') && path.ends_with('/');
    if !bounded || path.chars().count() > MAX_PATH || !path.chars().all(fits) {
        return Err(invalid(format!("{path:?} does not begin and end with a slash")));
    }
    Ok(())
}

fn check_tags(tags: &Tags, most: usize) -> Result {
    if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(Refusal::new("InvalidInput", "Tag keys starting with 'aws:' are reserved"));
    }
    if tags.len() > most {
        return Err(limit("TagsPerResource", most));
    }
    Ok(())
}

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PolicyKind {
    Trust,
    Inline,
}

/// Whether IAM takes a policy.
fn check_policy(kind: PolicyKind, text: &str) -> Result {
    let Ok(Value::Object(policy)) = serde_json::from_str::<Value>(text) else {
        return Err(malformed("This policy contains invalid Json"));
    };
    let statements: Vec<&Map<String, Value>> = match policy.get("Statement") {
        Some(Value::Object(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_object).collect(),
        _ => Vec::new(),
    };
    let all = policy.get("Statement").and_then(Value::as_array).map_or(1, Vec::len);
    if statements.is_empty() || statements.len() != all {
        return Err(malformed("Syntax errors in policy."));
    }
    for statement in statements {
        let has = |one: &str, other: &str| statement.contains_key(one) || statement.contains_key(other);
        if !matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")) {
            return Err(malformed("Missing required field Effect"));
        }
        if !has("Action", "NotAction") {
            return Err(malformed("Missing required field Action"));
        }
        let (principal, resource) = (has("Principal", "NotPrincipal"), has("Resource", "NotResource"));
        match kind {
            PolicyKind::Trust if !principal => return Err(malformed("Missing required field Principal")),
            PolicyKind::Trust if resource => return Err(malformed("Has prohibited field Resource")),
            PolicyKind::Inline if principal => {
                return Err(malformed("Policy document should not specify a principal."));
            }
            PolicyKind::Inline if !resource => return Err(malformed("Policy statement must contain resources.")),
            _ => {}
        }
    }
    Ok(())
}

impl Iam {
    /// The names of a role's profiles.
    pub fn profiles_of<'a>(&'a self, role: &'a RoleName) -> impl Iterator<Item = &'a ProfileName> {
        self.profiles.iter().filter(move |(_, profile)| profile.role.as_ref() == Some(role)).map(|(name, _)| name)
    }

    /// Takes a role away past all rules, out of its profiles as well.
    pub(super) fn forget_role(&mut self, arn: &str) {
        self.roles.retain(|_, role| role.value.arn != arn);
        let left: BTreeSet<RoleName> = self.roles.keys().cloned().collect();
        for profile in self.profiles.values_mut() {
            profile.value.role.take_if(|role| !left.contains(role));
        }
    }

    /// Whether there is a managed policy.
    fn has_policy(&self, policy: &PolicyArn) -> bool {
        let parts: Vec<&str> = policy.as_str().splitn(6, ':').collect();
        match parts.as_slice() {
            ["arn", _, "iam", "", "aws", resource] => resource.starts_with("policy/"),
            _ => self.policies.contains(policy),
        }
    }

    fn check_policy_exists(&self, policy: &PolicyArn) -> Result {
        if self.has_policy(policy) {
            return Ok(());
        }
        Err(Refusal::new("NoSuchEntity", format!("Policy {policy} does not exist or is not attachable.")).status(404))
    }

    /// GetRole, and what follows it: one look for each.
    pub(super) fn read_role(&self, eye: &mut Eye<'_>, name: &RoleName) -> Result<SimRole> {
        self.roles.find(name, eye).cloned().ok_or_else(|| no_such("role", name.as_str()))
    }

    /// GetRolePolicy of the inline policy that is ours.
    pub(super) fn read_inline(&self, eye: &mut Eye<'_>, name: &RoleName) -> Result<String> {
        let role = self.read_role(eye, name)?;
        role.inline.get(INLINE_POLICY).cloned().ok_or_else(|| no_such("role policy", INLINE_POLICY))
    }

    /// GetInstanceProfile.
    pub(super) fn read_profile(&self, eye: &mut Eye<'_>, name: &ProfileName) -> Result<Profile> {
        self.profiles.find(name, eye).cloned().ok_or_else(|| no_such("instance profile", name.as_str()))
    }

    /// What EC2 says of a profile that IAM does not have, or that EC2 has not heard of yet.
    pub(super) fn check_profile_arn(&self, ctx: &mut Ctx<'_>, arn: &str) -> Result {
        match self.profiles.values().find(|record| record.arn == arn) {
            Some(record) if !ctx.overlooks(record) => Ok(()),
            _ => {
                let message = format!("Value ({arn}) for parameter iamInstanceProfile.arn is invalid.");
                Err(Refusal::new("InvalidParameterValue", format!("{message} Invalid IAM Instance Profile ARN")))
            }
        }
    }

    /// A role that a write names.
    fn role(&self, ctx: &mut Ctx<'_>, name: &RoleName) -> Result<&SimRole> {
        match self.roles.get(name) {
            Some(record) if !ctx.overlooks(record) => Ok(&record.value),
            _ => Err(no_such("role", name.as_str())),
        }
    }

    /// A role that a write is to change.
    fn own_role(&self, ctx: &mut Ctx<'_>, name: &RoleName) -> Result<&SimRole> {
        let role = self.role(ctx, name)?;
        if role.path.starts_with(SERVICE_LINKED) {
            let message = format!("Cannot perform the operation on the protected role '{name}'");
            return Err(Refusal::new("UnmodifiableEntity", message));
        }
        Ok(role)
    }

    /// A profile that a write names.
    fn profile(&self, ctx: &mut Ctx<'_>, name: &ProfileName) -> Result<&Profile> {
        match self.profiles.get(name) {
            Some(record) if !ctx.overlooks(record) => Ok(&record.value),
            _ => Err(no_such("instance profile", name.as_str())),
        }
    }

    fn change_role(&mut self, ctx: &Ctx<'_>, name: &RoleName, change: impl FnOnce(&mut SimRole)) -> Written {
        if let Some(record) = self.roles.get_mut(name) {
            record.change(ctx.actor, ctx.now, ctx.weather, change);
        }
        Written::Done
    }

    fn change_profile(&mut self, ctx: &Ctx<'_>, name: &ProfileName, change: impl FnOnce(&mut Profile)) -> Written {
        if let Some(record) = self.profiles.get_mut(name) {
            record.change(ctx.actor, ctx.now, ctx.weather, change);
        }
        Written::Done
    }

    fn create_role(&mut self, ctx: &mut Ctx<'_>, name: &RoleName, new: &NewRole) -> Result<Written> {
        check_name(name.as_str(), MAX_ROLE_NAME)?;
        check_path(&new.path)?;
        if new.path.starts_with(SERVICE_LINKED) {
            return Err(Refusal::new("AccessDenied", "the path is of AWS's services alone").status(403));
        }
        if new.description.chars().count() > MAX_DESCRIPTION {
            return Err(invalid("The description is longer than 1000 characters"));
        }
        // Names are not told apart by case.
        if self.roles.keys().any(|other| other.as_str().eq_ignore_ascii_case(name.as_str())) {
            return Err(exists("Role", name.as_str()));
        }
        self.check_trust(&new.trust)?;
        check_tags(&new.tags, self.quotas.tags)?;
        if let Some(boundary) = &new.boundary {
            self.check_policy_exists(boundary)?;
        }
        if self.roles.len() >= self.quotas.roles {
            return Err(limit("RolesPerAccount", self.quotas.roles));
        }
        let made = SimRole {
            name: name.clone(),
            arn: arn(ctx.account, ctx.region, "role", &new.path, name.as_str()),
            path: new.path.clone(),
            trust: new.trust.clone(),
            description: new.description.clone(),
            boundary: new.boundary.clone(),
            policies: BTreeSet::new(),
            inline: BTreeMap::new(),
            tags: new.tags.clone(),
        };
        let made = ctx.record(made);
        self.roles.insert(name.clone(), made);
        Ok(Written::Done)
    }

    fn check_trust(&self, trust: &str) -> Result {
        check_policy(PolicyKind::Trust, trust)?;
        if counted(trust) > self.quotas.trust_characters {
            return Err(limit("ACLSizePerRole", self.quotas.trust_characters));
        }
        Ok(())
    }

    /// PutRolePolicy.
    pub(super) fn put_inline(
        &mut self,
        ctx: &mut Ctx<'_>,
        name: &RoleName,
        policy: &str,
        text: &str,
    ) -> Result<Written> {
        let role = self.own_role(ctx, name)?;
        check_policy(PolicyKind::Inline, text)?;
        let others = role.inline.iter().filter(|(other, _)| *other != policy).map(|(_, text)| counted(text));
        if others.sum::<usize>() + counted(text) > self.quotas.inline_characters {
            let message = format!("Maximum policy size of {} bytes exceeded", self.quotas.inline_characters);
            return Err(Refusal::new("LimitExceeded", format!("{message} for role {name}")).status(409));
        }
        Ok(self.change_role(ctx, name, |role| {
            role.inline.insert(policy.to_owned(), text.to_owned());
        }))
    }

    /// DeleteRolePermissionsBoundary.
    pub(super) fn remove_boundary(&mut self, ctx: &mut Ctx<'_>, name: &RoleName) -> Result<Written> {
        self.own_role(ctx, name)?;
        Ok(self.change_role(ctx, name, |role| role.boundary = None))
    }

    fn write_role(&mut self, ctx: &mut Ctx<'_>, name: &RoleName, change: &RoleChange) -> Result<Written> {
        match change {
            RoleChange::Create(new) => self.create_role(ctx, name, new),
            RoleChange::Trust(trust) => {
                self.own_role(ctx, name)?;
                self.check_trust(trust)?;
                Ok(self.change_role(ctx, name, |role| role.trust.clone_from(trust)))
            }
            RoleChange::Attach(policy) => {
                let role = self.own_role(ctx, name)?;
                self.check_policy_exists(policy)?;
                if role.policies.contains(policy) {
                    return Ok(Written::Done);
                }
                if role.policies.len() >= self.quotas.policies_per_role {
                    return Err(limit("PoliciesPerRole", self.quotas.policies_per_role));
                }
                Ok(self.change_role(ctx, name, |role| {
                    role.policies.insert(policy.clone());
                }))
            }
            RoleChange::Detach(policy) => {
                if !self.own_role(ctx, name)?.policies.contains(policy) {
                    return Err(no_such("policy", policy.as_str()));
                }
                Ok(self.change_role(ctx, name, |role| {
                    role.policies.remove(policy);
                }))
            }
            RoleChange::PutInline(text) => self.put_inline(ctx, name, INLINE_POLICY, text),
            RoleChange::DeleteInline(policy) => {
                if !self.own_role(ctx, name)?.inline.contains_key(policy) {
                    return Err(no_such("role policy", policy));
                }
                Ok(self.change_role(ctx, name, |role| {
                    role.inline.remove(policy);
                }))
            }
            RoleChange::Boundary(policy) => {
                self.own_role(ctx, name)?;
                self.check_policy_exists(policy)?;
                Ok(self.change_role(ctx, name, |role| role.boundary = Some(policy.clone())))
            }
            RoleChange::Tag(tags) => {
                let mut all = self.own_role(ctx, name)?.tags.clone();
                all.extend(tags.iter().map(|(key, value)| (key.clone(), value.clone())));
                check_tags(&all, self.quotas.tags)?;
                Ok(self.change_role(ctx, name, |role| role.tags = all))
            }
            RoleChange::Untag(keys) => {
                self.own_role(ctx, name)?;
                Ok(self.change_role(ctx, name, |role| role.tags.retain(|key, _| !keys.contains(key))))
            }
            RoleChange::Delete => {
                let role = self.own_role(ctx, name)?;
                if !role.policies.is_empty() {
                    return Err(conflict("Cannot delete entity, must detach all policies first."));
                }
                if !role.inline.is_empty() {
                    return Err(conflict("Cannot delete entity, must delete policies first."));
                }
                if self.profiles_of(name).next().is_some() {
                    return Err(conflict("Cannot delete entity, must remove roles from instance profile first."));
                }
                let until = ctx.listed_until();
                self.roles.bury(name, ctx.now, until);
                Ok(Written::Done)
            }
        }
    }

    fn create_profile(&mut self, ctx: &mut Ctx<'_>, name: &ProfileName, path: &str, tags: &Tags) -> Result<Written> {
        check_name(name.as_str(), MAX_PROFILE_NAME)?;
        check_path(path)?;
        if self.profiles.keys().any(|other| other.as_str().eq_ignore_ascii_case(name.as_str())) {
            return Err(exists("Instance Profile", name.as_str()));
        }
        check_tags(tags, self.quotas.tags)?;
        if self.profiles.len() >= self.quotas.profiles {
            return Err(limit("InstanceProfilesPerAccount", self.quotas.profiles));
        }
        let made = Profile {
            name: name.clone(),
            arn: arn(ctx.account, ctx.region, "instance-profile", path, name.as_str()),
            path: path.to_owned(),
            role: None,
            tags: tags.clone(),
        };
        let made = ctx.record(made);
        self.profiles.insert(name.clone(), made);
        Ok(Written::Done)
    }

    fn write_profile(&mut self, ctx: &mut Ctx<'_>, name: &ProfileName, change: &ProfileChange) -> Result<Written> {
        match change {
            ProfileChange::Create { path, tags } => self.create_profile(ctx, name, path, tags),
            ProfileChange::AddRole(role) => {
                if self.profile(ctx, name)?.role.is_some() {
                    return Err(limit("InstanceSessionsPerInstanceProfile", 1));
                }
                self.role(ctx, role)?;
                Ok(self.change_profile(ctx, name, |profile| profile.role = Some(role.clone())))
            }
            ProfileChange::RemoveRole(role) => {
                if self.profile(ctx, name)?.role.as_ref() != Some(role) {
                    return Err(no_such("role", role.as_str()));
                }
                Ok(self.change_profile(ctx, name, |profile| profile.role = None))
            }
            ProfileChange::Tag(tags) => {
                let mut all = self.profile(ctx, name)?.tags.clone();
                all.extend(tags.iter().map(|(key, value)| (key.clone(), value.clone())));
                check_tags(&all, self.quotas.tags)?;
                Ok(self.change_profile(ctx, name, |profile| profile.tags = all))
            }
            ProfileChange::Untag(keys) => {
                self.profile(ctx, name)?;
                Ok(self.change_profile(ctx, name, |profile| profile.tags.retain(|key, _| !keys.contains(key))))
            }
            ProfileChange::Delete => {
                // Nobody looks whether an instance has it.
                if self.profile(ctx, name)?.role.is_some() {
                    return Err(conflict("Cannot delete entity, must remove roles from instance profile first."));
                }
                let until = ctx.listed_until();
                self.profiles.bury(name, ctx.now, until);
                Ok(Written::Done)
            }
        }
    }

    /// A role as the journal shows it.
    pub(super) fn touched_role(&self, name: &RoleName) -> Option<Touched> {
        let record: &Record<SimRole> = self.roles.get(name)?;
        Some(touched(name.as_str(), ThingKind::Role, &record.tags, record))
    }

    /// An instance profile as the journal shows it.
    pub(super) fn touched_profile(&self, name: &ProfileName) -> Option<Touched> {
        let record: &Record<Profile> = self.profiles.get(name)?;
        let value = record.role.as_ref().map(ToString::to_string);
        Some(Touched { value, ..touched(name.as_str(), ThingKind::Profile, &record.tags, record) })
    }

    /// The things that a write names, as the journal shows them.
    pub(super) fn witness(&self, write: &Write) -> Vec<Touched> {
        match write {
            Write::Role { role, .. } => self.touched_role(role).into_iter().collect(),
            Write::Profile { profile, .. } => self.touched_profile(profile).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

impl Account {
    /// Carries out a write to IAM.
    pub(super) fn write_iam(&mut self, ctx: &mut Ctx<'_>, write: &Write) -> Result<Written> {
        ctx.uncontended(write.operation())?;
        match write {
            Write::Role { role, change } => {
                let arn = self.iam.roles.get(role).map(|record| record.arn.clone());
                let written = self.iam.write_role(ctx, role, change)?;
                if let (RoleChange::Delete, Some(arn)) = (change, arn) {
                    self.roles.remove(&arn);
                }
                Ok(written)
            }
            Write::Profile { profile, change } => self.iam.write_profile(ctx, profile, change),
            _ => Err(invalid("not a call of IAM")),
        }
    }
}

impl World {
    /// What IAM holds of an account, to be changed past all rules; made if the account is not there.
    pub fn iam_mut(&mut self, account: &AccountId) -> &mut Iam {
        &mut self.add_account(account).iam
    }

    /// One look into IAM.
    pub(super) fn look_into_iam<T>(
        &mut self,
        account: &AccountId,
        read: impl FnOnce(&Iam, &mut Eye<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut eye = Eye::open(self.now, &self.weather, &mut self.rng);
        match self.accounts.get(account) {
            Some(account) => read(&account.iam, &mut eye),
            None => Err(Refusal::new("InvalidClientTokenId", "There is no such account").status(403)),
        }
    }
}
