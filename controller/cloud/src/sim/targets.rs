//! What sessions are logged to and encrypted with: buckets, log groups and keys, and what roles may do with them.

use ssm_ready_core::{
    facts::{
        Permission, Question,
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    ids::{AccountId, BucketName, KeyId, LogGroupName, Region, RoleName},
};

use super::{
    iam::{Iam, partition, says},
    record::{Actor, Eye, Record},
    state::RegionState,
    world::{Refusal, World},
};

type Result<T = (), E = Refusal> = std::result::Result<T, E>;

/// A bucket. It is kept in its region; its name is unique in all of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimBucket {
    /// How it is encrypted.
    pub encryption: BucketEncryption,
    /// Whether its policy lets other accounts look at it.
    pub open: bool,
}

impl Default for SimBucket {
    /// Closed to others, and encrypted as all are since 2023 of which nobody says how.
    fn default() -> Self {
        Self { encryption: BucketEncryption { algorithm: Some("AES256".to_owned()), key: None }, open: false }
    }
}

/// A KMS key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimKey {
    /// What DescribeKey says of it.
    pub fact: Key,
    /// Whether its policy lets other accounts look at it.
    pub open: bool,
}

impl SimKey {
    /// A symmetric key that is enabled, by its id.
    #[must_use]
    pub fn new(account: &AccountId, region: &Region, id: &str) -> Self {
        let [state, usage, spec] = ["Enabled", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"].map(str::to_owned);
        let arn = format!("arn:{}:kms:{region}:{account}:key/{id}", partition(region));
        Self { fact: Key { arn, state, usage, spec }, open: false }
    }
}

fn no_bucket() -> Refusal {
    Refusal::new("NoSuchBucket", "The specified bucket does not exist").status(404)
}

fn not_yours(service: &str, what: &str) -> Refusal {
    match service {
        "s3" => Refusal::new("AccessDenied", "Access Denied").status(403),
        _ => Refusal::new("AccessDeniedException", format!("not authorized to look at {what}")),
    }
}

impl World {
    /// A bucket, wherever it is.
    fn find_bucket(&mut self, account: &AccountId, name: &BucketName) -> Result<(Region, SimBucket)> {
        let mut eye = Eye::open(self.now, &self.weather, &mut self.rng);
        let places = self.accounts.iter().flat_map(|(owner, held)| held.regions.iter().map(move |at| (owner, at)));
        for (owner, (region, state)) in places {
            if let Some(bucket) = state.buckets.find(name, &mut eye) {
                if owner != account && !bucket.open {
                    return Err(not_yours("s3", name.as_str()));
                }
                return Ok((region.clone(), bucket.clone()));
            }
        }
        Err(no_bucket())
    }

    /// GetBucketLocation.
    pub(super) fn read_bucket(&mut self, account: &AccountId, name: &BucketName) -> Result<Bucket> {
        self.find_bucket(account, name).map(|(region, _)| Bucket { region: Some(region) })
    }

    /// GetBucketEncryption: only where the bucket is.
    pub(super) fn read_encryption(
        &mut self,
        account: &AccountId,
        region: &Region,
        name: &BucketName,
    ) -> Result<BucketEncryption> {
        let (place, bucket) = self.find_bucket(account, name)?;
        if place != *region {
            let message = "The bucket you are attempting to access must be addressed using the specified endpoint.";
            return Err(Refusal::new("PermanentRedirect", message).status(301));
        }
        Ok(bucket.encryption)
    }

    /// DescribeKey: by the id, of the account's own; by the ARN, of anybody's.
    pub(super) fn read_key(&mut self, account: &AccountId, region: &Region, key: &KeyId) -> Result<Key> {
        let missing = || Refusal::new("NotFoundException", format!("Key '{key}' does not exist"));
        let parts: Vec<&str> = key.as_str().splitn(6, ':').collect();
        let (owner, id) = match parts.as_slice() {
            ["arn", _, "kms", place, owner, resource] if *place == region.as_str() => {
                let owner: AccountId = owner.parse().map_err(|_| missing())?;
                (owner, resource.strip_prefix("key/").ok_or_else(missing)?)
            }
            ["arn", ..] => return Err(Refusal::new("NotFoundException", format!("Invalid arn {key}"))),
            _ => (account.clone(), key.as_str()),
        };
        let mut eye = Eye::open(self.now, &self.weather, &mut self.rng);
        let state = self.accounts.get(&owner).and_then(|held| held.regions.get(region));
        let found = state.and_then(|state| state.keys.find(&id.to_owned(), &mut eye));
        match found {
            Some(found) if owner == *account || found.open => Ok(found.fact.clone()),
            None if owner == *account => Err(missing()),
            // Whether there is one, it does not tell others.
            _ => Err(not_yours("kms", key.as_str())),
        }
    }
}

impl RegionState {
    /// DescribeLogGroups: one is there or not.
    pub(super) fn read_log_group(&self, eye: &mut Eye<'_>, name: &LogGroupName) -> Option<LogGroup> {
        self.log_groups.find(name, eye).cloned()
    }
}

impl Iam {
    /// Whether a role's policies allow an action. Resources, conditions and boundaries are not looked at; managed policies
    /// allow what [`Iam::grants`] says.
    #[must_use]
    pub fn allows(&self, role: &RoleName, action: &str) -> bool {
        let Some(role) = self.roles.get(role) else { return false };
        self.role_allows(role, action)
    }

    fn role_allows(&self, role: &super::iam::SimRole, action: &str) -> bool {
        let by_managed = role
            .policies
            .iter()
            .filter_map(|policy| self.grants.get(policy))
            .flatten()
            .any(|pattern| super::iam::covers(pattern.as_bytes(), action.as_bytes()));
        let any = |effect| role.inline.values().any(|policy| says(policy, effect, action));
        (by_managed || any("Allow")) && !any("Deny")
    }

    /// SimulatePrincipalPolicy of a role's policies.
    pub(super) fn answer(&self, eye: &mut Eye<'_>, role: &RoleName, question: &Question) -> Result<Vec<Permission>> {
        let role = self.read_role(eye, role)?;
        let mut all: Vec<Permission> = question
            .actions
            .iter()
            .map(|action| Permission { action: action.clone(), allowed: self.role_allows(&role, action) })
            .collect();
        eye.shuffle(&mut all);
        Ok(all)
    }
}

impl World {
    // As the world is set up, past all rules.

    /// Puts a bucket into a region, as if it had always been there. One of its name there is replaced.
    pub fn add_bucket(&mut self, account: &AccountId, region: &Region, name: &BucketName, bucket: SimBucket) {
        let made = Record::standing(bucket, &Actor::Person, self.now);
        self.region_mut(account, region).buckets.insert(name.clone(), made);
    }

    /// Puts a log group into a region. One of its name is replaced.
    pub fn add_log_group(&mut self, account: &AccountId, region: &Region, name: &LogGroupName, group: LogGroup) {
        let made = Record::standing(group, &Actor::Person, self.now);
        self.region_mut(account, region).log_groups.insert(name.clone(), made);
    }

    /// Puts a key into a region, by its id. One of its id is replaced.
    pub fn add_key(&mut self, account: &AccountId, region: &Region, id: &str, key: SimKey) {
        let made = Record::standing(key, &Actor::Person, self.now);
        self.region_mut(account, region).keys.insert(id.to_owned(), made);
    }

    /// Says what a managed policy allows: actions, with `*` and `?`. Of one of which nothing is said, roles may nothing.
    pub fn set_grants(&mut self, account: &AccountId, policy: &ssm_ready_core::ids::PolicyArn, actions: &[&str]) {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        self.iam_mut(account).grants.insert(policy.clone(), actions);
    }

    // What people do.

    /// Somebody makes a bucket, changes its encryption, or deletes it.
    pub fn change_bucket(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        name: &BucketName,
        becomes: Option<BucketEncryption>,
    ) {
        let there = self.region(account, region).is_some_and(|state| state.buckets.contains_key(name));
        let call = match &becomes {
            None => "DeleteBucket",
            Some(encryption) if encryption.algorithm.is_none() => "DeleteBucketEncryption",
            Some(_) if there => "PutBucketEncryption",
            Some(_) => "CreateBucket",
        };
        self.does(actor, account, region, call, name.as_str(), |state, ctx| match becomes {
            None => {
                let until = ctx.listed_until();
                state.buckets.bury(name, ctx.now, until);
            }
            Some(encryption) => match state.buckets.get_mut(name) {
                Some(record) => record.change(ctx.actor, ctx.now, ctx.weather, |bucket| bucket.encryption = encryption),
                None => {
                    let made = ctx.record(SimBucket { encryption, open: false });
                    state.buckets.insert(name.clone(), made);
                }
            },
        });
    }

    /// Somebody makes a log group, changes its key, or deletes it.
    pub fn change_log_group(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        name: &LogGroupName,
        becomes: Option<LogGroup>,
    ) {
        let there = self.region(account, region).is_some_and(|state| state.log_groups.contains_key(name));
        let call = match &becomes {
            None => "DeleteLogGroup",
            Some(group) if group.kms_key.is_none() => "DisassociateKmsKey",
            Some(_) if there => "AssociateKmsKey",
            Some(_) => "CreateLogGroup",
        };
        self.does(actor, account, region, call, name.as_str(), |state, ctx| match becomes {
            None => {
                let until = ctx.listed_until();
                state.log_groups.bury(name, ctx.now, until);
            }
            Some(group) => match state.log_groups.get_mut(name) {
                Some(record) => record.change(ctx.actor, ctx.now, ctx.weather, |is| *is = group),
                None => {
                    let made = ctx.record(group);
                    state.log_groups.insert(name.clone(), made);
                }
            },
        });
    }

    /// Somebody enables a key, disables it, or lets it be deleted; `state` is what DescribeKey then says.
    pub fn change_key(&mut self, actor: &Actor, account: &AccountId, region: &Region, id: &str, state: &str) {
        let call = match state {
            "Enabled" => "EnableKey",
            "Disabled" => "DisableKey",
            _ => "ScheduleKeyDeletion",
        };
        self.does(actor, account, region, call, id, |region, ctx| {
            if let Some(record) = region.keys.get_mut(id) {
                record.change(ctx.actor, ctx.now, ctx.weather, |key| state.clone_into(&mut key.fact.state));
            }
        });
    }

    /// The last of a key: it is deleted.
    pub fn delete_key(&mut self, actor: &Actor, account: &AccountId, region: &Region, id: &str) {
        self.does(actor, account, region, "DeleteKey", id, |region, ctx| {
            let until = ctx.listed_until();
            region.keys.bury(&id.to_owned(), ctx.now, until);
        });
    }
}
