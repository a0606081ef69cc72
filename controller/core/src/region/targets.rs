//! What sessions are logged to and encrypted with. One that cannot be used leaves every session of the region blank
//! (Session Manager, "Troubleshooting Session Manager"), so all of it is looked at before the preferences name it.
//!
//! Agents write with the credentials that they have: those of Default Host Management, as far as can be told from here.

use std::collections::BTreeSet;

use super::{Case, HostManagement, RegionPosture, RegionSeen, RegionView, name_in};
use crate::{
    calls::AgeClass,
    evaluate::{Facet, Outcome, Verdict, join},
    facts::{
        Permission, Question,
        settings::Setting,
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    fault::FaultKind,
    ids::{BucketName, KeyId, LogGroupName, RoleName},
    reason::Reason,
    snapshot::{FactKey, Reading},
};

const FACET: Facet = Facet::SessionPreferences;
const HOST_MANAGEMENT: Setting = Setting::HostManagementRole;

/// The bucket that sessions are logged to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketTarget {
    /// Its name.
    pub name: BucketName,
    /// The folder in it, without a slash at either end; empty: none.
    pub prefix: String,
    /// Whether it has to be encrypted by default.
    pub encrypted: bool,
}

/// The log group that sessions are logged to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroupTarget {
    /// Its name.
    pub name: LogGroupName,
    /// Whether it has to be encrypted with a KMS key.
    pub encrypted: bool,
    /// Whether sessions are written while they last.
    pub streaming: bool,
}

/// What sessions are logged to and encrypted with; what is not declared is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// A bucket.
    pub bucket: Option<BucketTarget>,
    /// A log group.
    pub log_group: Option<LogGroupTarget>,
    /// A key: its ARN or id.
    pub key: Option<KeyId>,
}

impl Targets {
    fn any(&self) -> bool {
        self.bucket.is_some() || self.log_group.is_some() || self.key.is_some()
    }
}

/// A field of the session preferences that names a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetField {
    /// `cloudWatch`.
    LogGroup,
    /// `kmsKeyId`.
    Key,
    /// `s3`.
    Bucket,
}

impl TargetField {
    /// The field's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LogGroup => "cloudWatch",
            Self::Key => "kmsKeyId",
            Self::Bucket => "s3",
        }
    }
}

/// How a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Sessions can use it.
    Usable,
    /// They cannot.
    NotUsable(Reason),
    /// It cannot be told.
    Unknown,
}

/// A target as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenTarget {
    /// What names it.
    pub field: TargetField,
    /// The bucket or log group, or the key as declared.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
}

/// Why a target cannot be used.
enum Trouble {
    /// It is not as it has to be.
    Not(Reason, String),
    /// It cannot be told why.
    Unknown(String),
}

/// Whether what was looked at is as last read, or what is wrong.
type Looked = Result<bool, Trouble>;

impl<'a> RegionView<'a> {
    fn bucket(&self, name: &BucketName) -> Reading<'a, Option<Bucket>> {
        self.of(self.region.buckets.get(name), AgeClass::Slow)
    }

    fn bucket_encryption(&self, name: &BucketName) -> Reading<'a, Option<BucketEncryption>> {
        self.of(self.region.bucket_encryption.get(name), AgeClass::Slow)
    }

    fn log_group(&self, name: &LogGroupName) -> Reading<'a, Option<LogGroup>> {
        self.of(self.region.log_groups.get(name), AgeClass::Slow)
    }

    fn key(&self, key: &KeyId) -> Reading<'a, Option<Key>> {
        self.of(self.region.keys.get(key), AgeClass::Slow)
    }

    fn role_answer(&self, role: &RoleName, question: &Question) -> Reading<'a, Option<Vec<Permission>>> {
        let entry = self.account.role_answers.get(&(role.clone(), question.clone()));
        super::reading(entry, AgeClass::Iam, self.account_interval, self.now)
    }
}

/// The role whose credentials agents have.
enum Effective<'a> {
    /// There is none, or none is known here.
    Nobody,
    /// It is waited for; why.
    Waiting(&'a str),
    /// This one.
    Role {
        name: RoleName,
        /// Whether the posture declares it.
        declared: bool,
        /// Whether an AccountPosture makes it.
        made: bool,
    },
    /// It cannot be told.
    Unknown(String),
}

fn effective<'a>(posture: &'a RegionPosture, view: &RegionView<'_>) -> Effective<'a> {
    match &posture.host_management {
        Some(HostManagement::Disabled) => Effective::Nobody,
        Some(HostManagement::Waiting(why)) => Effective::Waiting(why),
        Some(HostManagement::Enabled { role, made, .. }) => {
            Effective::Role { name: role.clone(), declared: true, made: *made }
        }
        None => {
            let reading = view.setting(HOST_MANAGEMENT);
            match reading.known() {
                None => Effective::Unknown(reading.why(&FactKey::Setting(HOST_MANAGEMENT))),
                Some(setting) => {
                    let value = setting.as_ref().and_then(|setting| setting.value.as_deref());
                    value.map_or(Effective::Nobody, |value| Effective::Role {
                        name: name_in(value),
                        declared: false,
                        made: false,
                    })
                }
            }
        }
    }
}

/// The facts that the region's place has to know.
pub(super) fn wanted_of_region(posture: &RegionPosture, view: &RegionView<'_>) -> BTreeSet<FactKey> {
    let mut facts = BTreeSet::new();
    let Some(targets) = targets(posture).filter(|targets| targets.any()) else { return facts };
    if let Some(bucket) = &targets.bucket {
        facts.insert(FactKey::Bucket(bucket.name.clone()));
        // Elsewhere it is not asked: AWS answers only where the bucket is.
        let here = matches!(view.bucket(&bucket.name).known(), Some(Some(found)) if is_here(posture, found));
        if bucket.encrypted && here {
            facts.insert(FactKey::BucketEncryption(bucket.name.clone()));
        }
    }
    facts.extend(targets.log_group.iter().map(|group| FactKey::LogGroup(group.name.clone())));
    facts.extend(targets.key.iter().filter(|key| elsewhere(posture, key).is_none()).cloned().map(FactKey::Key));
    if posture.host_management.is_none() {
        facts.insert(FactKey::Setting(HOST_MANAGEMENT));
    }
    facts
}

/// The facts that the account's place has to know.
pub(super) fn wanted_of_account(posture: &RegionPosture, view: &RegionView<'_>) -> BTreeSet<FactKey> {
    let Some(targets) = targets(posture).filter(|targets| targets.any()) else { return BTreeSet::new() };
    let Effective::Role { name, .. } = effective(posture, view) else { return BTreeSet::new() };
    let asked = questions(posture, view, targets).into_iter();
    asked.map(|(_, question)| FactKey::RoleAnswer(name.clone(), question)).collect()
}

fn targets(posture: &RegionPosture) -> Option<&Targets> {
    posture.session.as_ref().map(|wish| &wish.targets)
}

fn is_here(posture: &RegionPosture, bucket: &Bucket) -> bool {
    bucket.region.as_ref() == Some(&posture.region)
}

/// The region of a key's ARN, where that is another one.
fn elsewhere<'a>(posture: &RegionPosture, key: &'a KeyId) -> Option<&'a str> {
    let region = key.as_str().strip_prefix("arn:")?.split(':').nth(2)?;
    (region != posture.region.as_str()).then_some(region)
}

/// The ARN of a key that is named by its ARN, or by its id; an alias has none that policies name.
fn key_arn(posture: &RegionPosture, key: &str) -> Option<String> {
    if key.contains(":alias/") || key.starts_with("alias/") {
        None
    } else if key.starts_with("arn:") {
        Some(key.to_owned())
    } else {
        Some(format!("arn:{}:kms:{}:{}:key/{key}", posture.partition, posture.region, posture.account))
    }
}

/// What agents do with the targets, each with the resource that they do it on (Session Manager, "Create an IAM role with
/// permissions for Session Manager and Amazon S3 and CloudWatch Logs"; service authorization references).
fn questions(posture: &RegionPosture, view: &RegionView<'_>, targets: &Targets) -> Vec<(TargetField, Question)> {
    let partition = &posture.partition;
    let mut all = Vec::new();
    let mut ask = |field, actions: &[&str], resource: String| {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        all.push((field, Question { actions, resource: Some(resource), context: Vec::new() }));
    };
    if let Some(bucket) = &targets.bucket {
        let arn = format!("arn:{partition}:s3:::{}", bucket.name);
        let folder = if bucket.prefix.is_empty() { String::new() } else { format!("{}/", bucket.prefix) };
        ask(TargetField::Bucket, &["s3:PutObject"], format!("{arn}/{folder}session.log"));
        if bucket.encrypted {
            ask(TargetField::Bucket, &["s3:GetEncryptionConfiguration"], arn);
            let known = view.bucket_encryption(&bucket.name);
            let key = known.known().and_then(|found| found.as_ref()?.key.as_deref());
            if let Some(key) = key.and_then(|key| key_arn(posture, key)) {
                ask(TargetField::Bucket, &["kms:GenerateDataKey"], key);
            }
        }
    }
    if let Some(group) = &targets.log_group {
        let groups = format!("arn:{partition}:logs:{}:{}:log-group:", posture.region, posture.account);
        ask(
            TargetField::LogGroup,
            &["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            format!("{groups}{}:log-stream:session", group.name),
        );
        // It lists all groups, and names none.
        ask(TargetField::LogGroup, &["logs:DescribeLogGroups"], format!("{groups}:log-stream:"));
    }
    if let Some(arn) = targets.key.as_ref().and_then(|key| key_arn(posture, key.as_str())) {
        ask(TargetField::Key, &["kms:Decrypt"], arn);
    }
    all
}

/// What is known of a thing, or why it is not; for one that may be another account's, what to do about that.
fn known<'a, T>(what: &str, key: &FactKey, reading: &Reading<'a, T>) -> Result<(&'a T, bool), Trouble> {
    if let Reading::Known { value, current } = reading {
        return Ok((*value, *current));
    }
    let advice = match reading {
        Reading::Unknown(Some(fault)) if fault.kind == FaultKind::Denied => format!(
            ": allow {} to the role of the AwsAccount and, where it belongs to another account, in its own policy",
            key.operation()
        ),
        _ => String::new(),
    };
    Err(Trouble::Unknown(format!("{what} cannot be looked at: {}{advice}", reading.why(key))))
}

fn not<T>(reason: Reason, message: String) -> Result<T, Trouble> {
    Err(Trouble::Not(reason, message))
}

fn look_at_bucket(posture: &RegionPosture, view: &RegionView<'_>, wish: &BucketTarget) -> Looked {
    let (name, region) = (&wish.name, &posture.region);
    let what = format!("bucket {name}");
    let missing = || {
        not(
            Reason::SessionTargetNotFound,
            format!("there is no {what}: make it in {region}, or correct sessionPreferences.s3.bucket"),
        )
    };
    let (found, mut current) = known(&what, &FactKey::Bucket(name.clone()), &view.bucket(name))?;
    let Some(bucket) = found else { return missing() };
    if !is_here(posture, bucket) {
        let there = bucket.region.as_ref().map_or("another region".to_owned(), ToString::to_string);
        return not(
            Reason::SessionTargetElsewhere,
            format!("{what} is in {there}: name one that is in {region} in sessionPreferences.s3.bucket"),
        );
    }
    if wish.encrypted {
        let key = FactKey::BucketEncryption(name.clone());
        let (found, as_read) = known(&what, &key, &view.bucket_encryption(name))?;
        current &= as_read;
        let Some(encryption) = found else { return missing() };
        if !encryption.satisfies_agents() {
            let how = match &encryption.algorithm {
                None => "is not encrypted by default".to_owned(),
                Some(other) => format!("is encrypted with {other}, which agents do not take for encrypted"),
            };
            return not(
                Reason::SessionTargetNotEncrypted,
                format!(
                    "{what} {how}: have it encrypted with AES256 or aws:kms (aws s3api put-bucket-encryption), or set sessionPreferences.s3.encryption: NotChecked"
                ),
            );
        }
    }
    Ok(current)
}

fn look_at_log_group(posture: &RegionPosture, view: &RegionView<'_>, wish: &LogGroupTarget) -> Looked {
    let name = &wish.name;
    let what = format!("log group {name}");
    let (found, current) = known(&what, &FactKey::LogGroup(name.clone()), &view.log_group(name))?;
    let Some(group) = found else {
        return not(
            Reason::SessionTargetNotFound,
            format!(
                "there is no {what} in {}: make it, or correct sessionPreferences.cloudWatch.logGroup",
                posture.region
            ),
        );
    };
    if wish.encrypted && group.kms_key.is_none() {
        return not(
            Reason::SessionTargetNotEncrypted,
            format!(
                "{what} is not encrypted with a KMS key: give it one (aws logs associate-kms-key), or set sessionPreferences.cloudWatch.encryption: NotChecked"
            ),
        );
    }
    Ok(current)
}

fn look_at_key(posture: &RegionPosture, view: &RegionView<'_>, id: &KeyId) -> Looked {
    let region = &posture.region;
    if let Some(there) = elsewhere(posture, id) {
        return not(
            Reason::SessionTargetElsewhere,
            format!("key {id} is of {there}: name one of {region} in sessionPreferences.kmsKeyId"),
        );
    }
    let what = format!("key {id}");
    let (found, current) = known(&what, &FactKey::Key(id.clone()), &view.key(id))?;
    let Some(key) = found else {
        return not(
            Reason::SessionTargetNotFound,
            format!("there is no {what} in {region}: make one, or correct sessionPreferences.kmsKeyId"),
        );
    };
    if !key.makes_data_keys() {
        return not(
            Reason::SessionKeyUnusable,
            format!(
                "{what} is for {} ({}): sessions need a symmetric key for ENCRYPT_DECRYPT in sessionPreferences.kmsKeyId",
                key.usage, key.spec
            ),
        );
    }
    if !key.is_enabled() {
        return not(
            Reason::SessionKeyUnusable,
            format!("{what} is {}: enable it (aws kms enable-key), or name another one", key.state),
        );
    }
    Ok(current)
}

/// Whether the role may do with a target what agents do with it. What IAM does not tell is added to `untold`.
fn ask(
    case: Case<'_>,
    role: &RoleName,
    field: TargetField,
    asked: &[(TargetField, Question)],
    untold: &mut BTreeSet<String>,
) -> Looked {
    let mut current = true;
    let mut refused = Vec::new();
    for (_, question) in asked.iter().filter(|(of, _)| *of == field) {
        let key = FactKey::RoleAnswer(role.clone(), question.clone());
        let reading = case.view.role_answer(role, question);
        let Some(answer) = reading.known() else {
            return Err(Trouble::Unknown(format!("what role {role} may do cannot be told: {}", reading.why(&key))));
        };
        current &= reading.current().is_some();
        // There is no such role: then agents have nothing of it.
        let Some(answer) = answer else { continue };
        for action in &question.actions {
            match answer.iter().find(|told| told.action.eq_ignore_ascii_case(action)) {
                Some(told) if told.allowed => {}
                Some(_) => {
                    refused.push(format!("{action} on {}", question.resource.as_deref().unwrap_or("*")));
                }
                None => drop(untold.insert(action.clone())),
            }
        }
    }
    if refused.is_empty() {
        return Ok(current);
    }
    not(
        Reason::SessionTargetDenied,
        format!(
            "agents have the credentials of role {role}, whose policies do not allow {}: allow it there (extraManagedPolicies, where an AccountPosture makes the role)",
            join(refused)
        ),
    )
}

/// Judges what sessions are logged to and encrypted with. None where something of it is not good or not known, so that
/// nothing is to be written; otherwise whether all of it is as last read.
pub(super) fn judge(case: Case<'_>, targets: &Targets, verdict: &mut Verdict<RegionSeen>) -> Option<bool> {
    let Case { posture, view, .. } = case;
    if !targets.any() {
        return Some(true);
    }
    let mut looked: Vec<(TargetField, String, Looked)> = Vec::new();
    if let Some(wish) = &targets.bucket {
        looked.push((TargetField::Bucket, wish.name.to_string(), look_at_bucket(posture, view, wish)));
    }
    if let Some(wish) = &targets.log_group {
        looked.push((TargetField::LogGroup, wish.name.to_string(), look_at_log_group(posture, view, wish)));
    }
    if let Some(id) = &targets.key {
        looked.push((TargetField::Key, id.to_string(), look_at_key(posture, view, id)));
    }
    let mut good = Some(true);
    match effective(posture, view) {
        Effective::Nobody => {}
        Effective::Unknown(why) => {
            verdict.check(FACET, Outcome::Unknown, Reason::FactUnreadable, why);
            good = None;
        }
        Effective::Waiting(why) => {
            let message = format!("whether agents may use what sessions are logged to cannot be told yet: {why}");
            verdict.fail(FACET, Reason::DependencyNotReady, message);
            good = None;
        }
        Effective::Role { name, declared, made } => {
            let asked = questions(posture, view, targets);
            let absent = |question| matches!(view.role_answer(&name, question), Reading::Known { value: None, .. });
            let missing = matches!(view.role(&name), Reading::Known { value: None, .. })
                || asked.iter().any(|(_, question)| absent(question));
            if declared && missing {
                let reason = if made { Reason::DependencyNotReady } else { Reason::RoleNotFound };
                let message = format!(
                    "account {} has no role {name}, by which agents are to use what sessions are logged to: create it, or wait for its AccountPosture",
                    posture.account
                );
                verdict.fail(FACET, reason, message);
                good = None;
            }
            let mut untold = BTreeSet::new();
            for (field, _, standing) in &mut looked {
                if let Ok(current) = standing {
                    *standing = ask(case, &name, *field, &asked, &mut untold).map(|as_read| *current && as_read);
                }
            }
            if !untold.is_empty() {
                let message = format!(
                    "IAM does not tell whether role {name}, whose credentials agents have, may {}; sessions are blank if it may not",
                    join(untold)
                );
                verdict.warn(FACET, Reason::PermissionsUnknown, message);
            }
        }
    }
    for (field, name, standing) in looked {
        let standing = match standing {
            Ok(current) => {
                good = good.map(|all| all && current);
                Standing::Usable
            }
            Err(Trouble::Not(reason, message)) => {
                good = None;
                verdict.fail(FACET, reason, message);
                Standing::NotUsable(reason)
            }
            Err(Trouble::Unknown(message)) => {
                good = None;
                verdict.check(FACET, Outcome::Unknown, Reason::FactUnreadable, message);
                Standing::Unknown
            }
        };
        verdict.seen.targets.push(SeenTarget { field, name, standing });
    }
    verdict.seen.targets.sort_by_key(|target| target.field);
    good
}
