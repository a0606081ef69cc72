//! What other actors do with settings, the session document, roles, profiles and metadata options.
//!
//! Whatever a controller can write, anybody can by [`World::act`]; here is what else there is to do.

use std::collections::{BTreeMap, BTreeSet};

use ssm_ready_core::{
    facts::{
        Tags,
        iam::Profile,
        settings::{MetadataField, SESSION_DOCUMENT, Setting},
    },
    fault::{Fault, classify},
    ids::{AccountId, InstanceId, PolicyArn, ProfileName, Region, RoleName},
    write::{DocumentChange, ProfileChange, RoleChange, Write},
};

use super::{
    super::{
        iam::{Iam, SimRole, arn},
        journal::{Entry, Outcome},
        record::{Actor, Record, later},
        settings::METADATA_DEFAULTS,
        state::RegionState,
        world::{Ctx, Refusal, World},
    },
    NewInstance,
};

/// Trusts whoever is asked elsewhere.
const TRUSTS_ANYBODY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;

/// A role to be put into IAM as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSimRole {
    /// Its path.
    pub path: String,
    /// Its trust policy.
    pub trust: String,
    /// The policy that bounds it.
    pub boundary: Option<PolicyArn>,
    /// The managed policies that are attached to it.
    pub policies: BTreeSet<PolicyArn>,
    /// Its inline policies by name.
    pub inline: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Tags,
}

impl NewSimRole {
    /// A role without policies that a service may take on, such as `ssm.amazonaws.com`.
    #[must_use]
    pub fn of_service(service: &str) -> Self {
        Self {
            path: "/".to_owned(),
            trust: format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}]}}"#
            ),
            boundary: None,
            policies: BTreeSet::new(),
            inline: BTreeMap::new(),
            tags: Tags::new(),
        }
    }
}

impl RegionState {
    /// Whether a new instance's metadata can be read without a token, and whether at all.
    pub(super) fn metadata_options(&self, new: &NewInstance) -> (bool, bool) {
        let defaults = self.metadata().values;
        let says = |field: MetadataField, word: &str| defaults.get(&field).is_some_and(|value| value == word);
        (
            new.imds_v1.unwrap_or(!says(MetadataField::HttpTokens, "required")),
            new.imds.unwrap_or(!says(MetadataField::HttpEndpoint, "disabled")),
        )
    }
}

impl World {
    // As the world is set up, past all rules.

    /// Puts the role of an ARN, which controllers take on, into IAM.
    pub(super) fn stand_in_iam(&mut self, account: &AccountId, arn: &str) {
        let now = self.now;
        let Some((_, resource)) = arn.split_once(":role/") else { return };
        let (path, name) =
            resource.rsplit_once('/').map_or(("/".to_owned(), resource), |(path, name)| (format!("/{path}/"), name));
        let made = SimRole {
            name: RoleName::from(name),
            arn: arn.to_owned(),
            path,
            trust: TRUSTS_ANYBODY.to_owned(),
            description: String::new(),
            boundary: None,
            policies: BTreeSet::new(),
            inline: BTreeMap::new(),
            tags: Tags::new(),
        };
        let roles = &mut self.add_account(account).iam.roles;
        roles.entry(RoleName::from(name)).or_insert_with(|| Record::standing(made, &Actor::Person, now));
    }

    /// Puts a role into IAM, as if an actor had made it long ago. One of its name is replaced.
    pub fn add_iam_role(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        name: &RoleName,
        new: NewSimRole,
    ) {
        let now = self.now;
        let made = SimRole {
            name: name.clone(),
            arn: arn(account, region, "role", &new.path, name.as_str()),
            path: new.path,
            trust: new.trust,
            description: String::new(),
            boundary: new.boundary,
            policies: new.policies,
            inline: new.inline,
            tags: new.tags,
        };
        self.iam_mut(account).roles.insert(name.clone(), Record::standing(made, actor, now));
    }

    /// Puts an instance profile into IAM, as if an actor had made it long ago. One of its name is replaced.
    #[allow(clippy::too_many_arguments)]
    pub fn add_profile(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        name: &ProfileName,
        path: &str,
        role: Option<RoleName>,
        tags: Tags,
    ) {
        let now = self.now;
        let arn = arn(account, region, "instance-profile", path, name.as_str());
        let made = Profile { name: name.clone(), arn, path: path.to_owned(), role, tags };
        self.iam_mut(account).profiles.insert(name.clone(), Record::standing(made, actor, now));
    }

    /// Makes a managed policy of the account's own.
    pub fn add_policy(&mut self, account: &AccountId, policy: &PolicyArn) {
        self.iam_mut(account).policies.insert(policy.clone());
    }

    /// Says whether a region has a setting.
    pub fn set_provisioned(&mut self, account: &AccountId, region: &Region, setting: Setting, provisioned: bool) {
        let missing = &mut self.region_mut(account, region).missing_settings;
        if provisioned {
            missing.remove(&setting);
        } else {
            missing.insert(setting);
        }
    }

    /// Says what AWS has for a setting that nobody has set: on the wire, so that `$None` is none.
    pub fn set_setting_default(&mut self, account: &AccountId, region: &Region, setting: Setting, value: &str) {
        self.region_mut(account, region).setting_defaults.insert(setting, value.to_owned());
    }

    /// Says whether a role that controllers take on may pass roles on (`iam:PassRole`). Takes effect at once.
    pub fn set_pass_role(&mut self, account: &AccountId, role: &str, allowed: bool) {
        if let Some(role) = self.accounts.get_mut(account).and_then(|account| account.roles.get_mut(role)) {
            role.pass_role_denied = !allowed;
        }
    }

    /// The ARN of a profile, whether or not it is there.
    pub(super) fn profile_arn(&self, account: &AccountId, region: &Region, name: &ProfileName) -> String {
        let found = self.accounts.get(account).and_then(|account| account.iam.profiles.get(name));
        found.map_or_else(|| arn(account, region, "instance-profile", "/", name.as_str()), |record| record.arn.clone())
    }

    // What actors do, by AWS's rules.

    fn acts(&mut self, actor: &Actor, account: &AccountId, region: &Region, write: &Write) -> Result<(), Fault> {
        self.act(actor, account, region, write).map(drop)
    }

    /// Sets a service setting.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn set_setting(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        setting: Setting,
        value: &str,
    ) -> Result<(), Fault> {
        self.acts(actor, account, region, &Write::UpdateSetting { setting, value: value.to_owned() })
    }

    /// Sets a service setting back.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn reset_setting(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        setting: Setting,
    ) -> Result<(), Fault> {
        self.acts(actor, account, region, &Write::ResetSetting { setting })
    }

    /// Edits the session document as the console does: makes it, or makes a version, which is used from then on.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn edit_session_document(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        content: &str,
    ) -> Result<(), Fault> {
        let there = self.region(account, region).is_some_and(|state| state.session_document().is_some());
        let change = if there {
            DocumentChange::Update(content.to_owned())
        } else {
            DocumentChange::Create { content: content.to_owned(), tags: Tags::new() }
        };
        self.acts(actor, account, region, &Write::Document(change))?;
        // The console waits until the version is active.
        self.does(actor, account, region, "UpdateDocumentDefaultVersion", SESSION_DOCUMENT, |state, ctx| {
            state.use_newest(ctx)
        });
        Ok(())
    }

    /// Has another version of the session document used.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn use_document_version(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        version: u64,
    ) -> Result<(), Fault> {
        self.acts(actor, account, region, &Write::Document(DocumentChange::Use(version.to_string())))
    }

    /// Deletes the session document.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn delete_session_document(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
    ) -> Result<(), Fault> {
        self.acts(actor, account, region, &Write::Document(DocumentChange::Delete))
    }

    /// Sets metadata defaults.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn set_metadata_defaults(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        values: BTreeMap<MetadataField, String>,
    ) -> Result<(), Fault> {
        self.acts(actor, account, region, &Write::ModifyMetadataDefaults { values })
    }

    /// The organisation sets the metadata defaults by a declarative policy, with what it says to those who try to change
    /// them; none: it no longer does, and the values stay.
    pub fn set_declarative_policy(
        &mut self,
        account: &AccountId,
        region: &Region,
        policy: Option<(BTreeMap<MetadataField, String>, &str)>,
    ) {
        self.does(&Actor::Aws, account, region, "DeclarativePolicy", METADATA_DEFAULTS, |state, ctx| {
            state.change_metadata(ctx, |defaults| {
                defaults.by_declarative_policy = policy.is_some();
                defaults.exception_message = policy.as_ref().map(|(_, message)| (*message).to_owned());
                if let Some((values, _)) = policy {
                    defaults.values = values;
                }
            });
        });
    }

    /// Gives an instance a profile, or takes it away.
    pub fn set_instance_profile(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        id: &InstanceId,
        profile: Option<&ProfileName>,
    ) {
        let arn = profile.map(|profile| self.profile_arn(account, region, profile));
        let call = if arn.is_some() { "AssociateIamInstanceProfile" } else { "DisassociateIamInstanceProfile" };
        self.does(actor, account, region, call, id.as_str(), |state, ctx| {
            let from = later(ctx.now, ctx.rng.within(ctx.weather.associating_for));
            if let Some(record) = state.instances.get_mut(id) {
                record.change(ctx.actor, ctx.now, ctx.weather, |instance| {
                    instance.fact.profile = arn;
                    instance.associated_from = from;
                });
            }
        });
    }

    /// Sets an instance's metadata options: whether its metadata can be read without a token, and whether at all.
    pub fn set_instance_metadata(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        id: &InstanceId,
        imds_v1: bool,
        imds: bool,
    ) {
        self.does(actor, account, region, "ModifyInstanceMetadataOptions", id.as_str(), |state, ctx| {
            if let Some(record) = state.instances.get_mut(id) {
                record.change(ctx.actor, ctx.now, ctx.weather, |instance| {
                    instance.fact.imds_v1 = Some(imds_v1);
                    instance.fact.imds = Some(imds);
                });
            }
        });
    }

    /// Writes an inline policy of any name into a role.
    ///
    /// # Errors
    /// As IAM refuses it.
    pub fn put_inline_policy(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        role: &RoleName,
        policy: &str,
        text: &str,
    ) -> Result<(), Refusal> {
        self.in_iam(actor, account, region, "PutRolePolicy", role, |iam, ctx| {
            iam.put_inline(ctx, role, policy, text).map(drop)
        })
    }

    /// Takes the boundary off a role.
    ///
    /// # Errors
    /// As IAM refuses it.
    pub fn remove_boundary(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        role: &RoleName,
    ) -> Result<(), Refusal> {
        self.in_iam(actor, account, region, "DeleteRolePermissionsBoundary", role, |iam, ctx| {
            iam.remove_boundary(ctx, role).map(drop)
        })
    }

    /// Deletes a role as the console does: takes its policies off it and it out of its profiles first.
    ///
    /// # Errors
    /// As IAM refuses it.
    pub fn destroy_role(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        role: &RoleName,
    ) -> Result<(), Fault> {
        let iam = self.iam_mut(account);
        let profiles: Vec<ProfileName> = iam.profiles_of(role).cloned().collect();
        let (policies, inline) =
            iam.roles.get(role).map(|r| (r.policies.clone(), r.inline.clone())).unwrap_or_default();
        for profile in profiles {
            let change = ProfileChange::RemoveRole(role.clone());
            self.acts(actor, account, region, &Write::Profile { profile, change })?;
        }
        let mut change =
            |change: RoleChange| self.acts(actor, account, region, &Write::Role { role: role.clone(), change });
        for policy in policies {
            change(RoleChange::Detach(policy))?;
        }
        for name in inline.into_keys() {
            change(RoleChange::DeleteInline(name))?;
        }
        change(RoleChange::Delete)
    }

    /// Deletes an instance profile: takes its role out of it first.
    ///
    /// # Errors
    /// As IAM refuses it.
    pub fn destroy_profile(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        profile: &ProfileName,
    ) -> Result<(), Fault> {
        let role = self.iam_mut(account).profiles.get(profile).and_then(|record| record.role.clone());
        let mut change = |change: ProfileChange| {
            self.acts(actor, account, region, &Write::Profile { profile: profile.clone(), change })
        };
        if let Some(role) = role {
            change(ProfileChange::RemoveRole(role))?;
        }
        change(ProfileChange::Delete)
    }

    /// Something that an actor does to a role and the controller cannot, with its entry in the journal.
    fn in_iam(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        call: &'static str,
        role: &RoleName,
        act: impl FnOnce(&mut Iam, &mut Ctx<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut entry = Entry::new(actor, account, region, call);
        role.as_str().clone_into(&mut entry.detail);
        let result = match self.split_account(actor, account, region) {
            Some((holder, mut ctx)) => {
                entry.touched.extend(holder.iam.touched_role(role));
                act(&mut holder.iam, &mut ctx)
            }
            None => Err(Refusal::new("InvalidClientTokenId", "There is no such account").status(403)),
        };
        entry.took_effect = result.is_ok();
        if let Err(refusal) = &result {
            let kind = classify(refusal.code, refusal.status);
            entry.outcome = Outcome::Refused { kind, code: refusal.code.to_owned() };
        }
        self.enter(entry);
        result
    }
}
