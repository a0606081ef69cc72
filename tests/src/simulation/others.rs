//! What people and other tools do with settings, the session document, session audit, roles and profiles.

use std::collections::BTreeMap;

use anyhow::Result;
use proptest::prelude::*;
use serde_json::json;
use ssm_ready_cloud::sim::{
    Actor, NewInstance, NewSubnet, NewVpc, SimBucket, SimKey, SimTrail, World as Aws, open_topic,
};
use ssm_ready_core::{
    facts::{
        Tags,
        audit::{AUDIT_TARGET, Topic},
        settings::{MetadataField, Setting},
        targets::{BucketEncryption, LogGroup},
    },
    ids::{AccountId, LogGroupName, PolicyArn, ProfileName, Region, RoleName},
    posture::{CLUSTER_TAG, OWNER_TAG},
    write::{DocumentChange, NewRole, ProfileChange, RoleChange, RuleChange, Write},
};

use super::{
    stage::Stage,
    wish::{EXTRA, HOST_ROLES, INSTANCE_ROLES, METADATA, SETTINGS, boundary, bucket, key_id, log_group, topic},
    world::account_id,
};

/// Profiles that postures of a world may have.
pub const PROFILES: [&str; 5] = ["web", "web-2", "batch", "web-profile", "batch-profile"];
/// Where the controller reads IAM unless the account says otherwise.
pub const HOME: &str = "us-east-1";

/// Something that somebody else does. Numbers are taken modulo what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A setting is set: 0 is Default Host Management, by Quick Setup; the others are those of [`SETTINGS`].
    Set(usize, usize),
    /// A setting is set back.
    Reset(usize),
    /// The region does not have a setting, or has it again.
    Missing(usize, bool),
    /// The session document is edited at the console.
    Document(usize),
    /// Another version of it is used.
    UseVersion(u64),
    /// It is deleted.
    DeleteDocument,
    /// Its tags are taken off.
    StripDocument,
    /// Something is done to the rule that reports sessions.
    Rule(RuleAct),
    /// A topic lets EventBridge publish, does not, or is deleted.
    Topic(usize, TopicAct),
    /// The trail is started or stopped.
    Trail(bool),
    /// Something is done to what sessions are logged to or encrypted with.
    Target(Thing, usize, TargetAct),
    /// A metadata default is set.
    Metadata(usize, usize),
    /// The organisation sets the metadata defaults, or no longer does.
    Policy(bool),
    /// Something is done to a role.
    Role(usize, RoleAct),
    /// Something is done to a profile.
    Profile(usize, ProfileAct),
    /// An instance is launched with a profile.
    Launch(usize),
    /// All instances that have a profile are terminated.
    Terminate,
}

/// What is done to a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleAct {
    /// It is made, fit for its purpose or not.
    Make(bool),
    /// It is deleted.
    Destroy,
    /// Its trust policy is edited.
    Distrust,
    /// One of its policies is detached.
    Detach(usize),
    /// A policy is attached.
    Attach,
    /// Its tags are taken off.
    Strip,
    /// An inline policy is written: that of ours, or another one.
    Inline(bool),
    /// Its inline policies are deleted.
    NoInline,
    /// Its boundary is taken off.
    Unbound,
}

/// What is done to the rule that reports sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAct {
    /// It is made without tags, as the controller would, or with another pattern.
    Make(bool),
    /// It is disabled.
    Disable,
    /// Its pattern is edited.
    Edit,
    /// It gets a schedule.
    Schedule,
    /// The target of ours is taken out.
    Untarget,
    /// The target of ours sends something else.
    Divert,
    /// Another target is added.
    Target,
    /// Its tags are taken off.
    Strip,
    /// It is deleted, with its targets.
    Delete,
}

/// What is done to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicAct {
    /// It is there, and lets EventBridge publish.
    Open,
    /// Its policy lets nobody but its account publish.
    Close,
    /// It is deleted.
    Delete,
}

/// What sessions are logged to or encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// A bucket.
    Bucket,
    /// A log group.
    Group,
    /// A key.
    Key,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAct {
    /// It is there, and as it has to be.
    Mend,
    /// It is not encrypted, or disabled.
    Spoil,
    /// It is deleted.
    Delete,
}

/// What is done to a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileAct {
    /// It is made, empty or with a role.
    Make(Option<usize>),
    /// It is deleted.
    Destroy,
    /// Its role is taken out.
    Empty,
    /// Its tags are taken off.
    Strip,
}

/// Where somebody acts.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The account's number.
    pub account: usize,
    /// Its id.
    pub id: AccountId,
    /// The region.
    pub region: Region,
}

impl Spot {
    /// The spot of an account and region of a world.
    ///
    /// # Errors
    /// Text that names neither.
    pub fn new(account: usize, region: &str) -> Result<Self> {
        Ok(Self { account, id: account_id(account).parse()?, region: region.parse()? })
    }

    /// Does a write by AWS's rules; what AWS refuses changes nothing.
    fn act(&self, aws: &mut Aws, actor: &Actor, write: &Write) -> bool {
        aws.act(actor, &self.id, &self.region, write).is_ok()
    }

    fn role(&self, aws: &mut Aws, role: &RoleName, change: RoleChange) -> bool {
        self.act(aws, &Actor::Person, &Write::Role { role: role.clone(), change })
    }

    fn profile(&self, aws: &mut Aws, profile: &ProfileName, change: ProfileChange) -> bool {
        self.act(aws, &Actor::Person, &Write::Profile { profile: profile.clone(), change })
    }
}

/// The name of a role by its number, its usual path, and who takes it on.
#[must_use]
pub fn role(number: usize) -> (RoleName, &'static str, &'static str) {
    let number = number % (HOST_ROLES.len() + INSTANCE_ROLES.len());
    match HOST_ROLES.get(number) {
        Some((name, path)) => ((*name).into(), path, "ssm.amazonaws.com"),
        None => (INSTANCE_ROLES[number - HOST_ROLES.len()].into(), "/ssm-ready/", "ec2.amazonaws.com"),
    }
}

fn trust(service: &str) -> String {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole" },
    ] })
    .to_string()
}

fn setting(number: usize) -> Setting {
    match number % (SETTINGS.len() + 1) {
        0 => Setting::HostManagementRole,
        n => SETTINGS[n - 1].1,
    }
}

/// What people write into the session document.
fn content(number: usize) -> String {
    let inputs = match number % 4 {
        0 => json!({ "idleSessionTimeout": "20" }),
        1 => json!({ "idleSessionTimeout": "45", "s3BucketName": "of-the-auditors", "s3EncryptionEnabled": true }),
        2 => json!({ "idleSessionTimeout": "5", "maxSessionDuration": "60", "shellProfile": { "linux": "date" } }),
        _ => json!({ "runAsEnabled": true, "runAsDefaultUser": "ops" }),
    };
    json!({ "schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": inputs }).to_string()
}

/// Makes what every account of a world has for its regions and roles.
pub fn set_up(aws: &mut Aws, spots: &[Spot]) -> Result<()> {
    let home: Region = HOME.parse()?;
    for spot in spots {
        for region in [&spot.region, &home] {
            if aws.region(&spot.id, region).is_none() {
                aws.add_region(&spot.id, region, ssm_ready_cloud::sim::Offer::default());
            }
        }
        aws.add_policy(&spot.id, &PolicyArn::new(boundary(spot.account)));
        for number in 0..2 {
            let arn = topic(spot.account, spot.region.as_str(), number);
            aws.add_topic(&spot.id, &spot.region, &arn, open_topic(&arn));
        }
        let trail = SimTrail {
            account: spot.id.clone(),
            home_region: HOME.to_owned(),
            multi_region: true,
            logging: true,
            selectors: Vec::new(),
        };
        aws.add_trail(&spot.id, &spot.region, &trail_of(spot), trail);
        aws.set_grants(&spot.id, &PolicyArn::new(EXTRA), &["s3:*", "logs:*", "kms:*"]);
        let (account, region) = (spot.account, spot.region.as_str());
        for number in 0..2 {
            let bucket_ = bucket(account, region, number).into();
            aws.add_bucket(&spot.id, &spot.region, &bucket_, SimBucket::default());
            aws.add_log_group(&spot.id, &spot.region, &log_group(number).into(), with_key());
        }
        aws.add_bucket(&spot.id, &"eu-north-1".parse()?, &bucket(account, region, 2).into(), SimBucket::default());
        for number in 0..3 {
            let mut key = SimKey::new(&spot.id, &spot.region, &key_id(number));
            if number == 2 {
                "SIGN_VERIFY".clone_into(&mut key.fact.usage);
            }
            aws.add_key(&spot.id, &spot.region, &key_id(number), key);
        }
    }
    Ok(())
}

fn encrypted() -> BucketEncryption {
    SimBucket::default().encryption
}

fn with_key() -> LogGroup {
    LogGroup { kms_key: Some("arn:aws:kms:eu-west-1:111122223333:key/of-the-auditors".to_owned()) }
}

fn does_to_target(aws: &mut Aws, spot: &Spot, thing: Thing, number: usize, act: TargetAct) {
    let person = Actor::Person;
    let Spot { id, region, account } = spot;
    // Others are never there, or elsewhere.
    let number = number % 2;
    match thing {
        Thing::Bucket => {
            let becomes = match act {
                TargetAct::Mend => Some(encrypted()),
                TargetAct::Spoil => Some(BucketEncryption::default()),
                TargetAct::Delete => None,
            };
            aws.change_bucket(&person, id, region, &bucket(*account, region.as_str(), number).into(), becomes);
        }
        Thing::Group => {
            let becomes = match act {
                TargetAct::Mend => Some(with_key()),
                TargetAct::Spoil => Some(LogGroup { kms_key: None }),
                TargetAct::Delete => None,
            };
            let name: LogGroupName = log_group(number).into();
            aws.change_log_group(&person, id, region, &name, becomes);
        }
        // A key that is gone does not come back.
        Thing::Key => {
            let state = match act {
                TargetAct::Mend => "Enabled",
                TargetAct::Spoil => "Disabled",
                TargetAct::Delete => "PendingDeletion",
            };
            aws.change_key(&person, id, region, &key_id(number), state);
        }
    }
}

fn trail_of(spot: &Spot) -> String {
    format!("arn:aws:cloudtrail:{HOME}:{}:trail/all", spot.id)
}

/// A topic whose policy is as AWS makes it: for its own account.
fn closed_topic(arn: &str) -> Topic {
    let policy = json!({ "Version": "2008-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": { "AWS": "*" },
        "Action": ["SNS:Publish", "SNS:Subscribe"],
        "Resource": arn,
        "Condition": { "StringEquals": { "AWS:SourceOwner": "111122223333" } },
    }] });
    Topic { policy: Some(policy.to_string()), key: None }
}

fn does_to_rule(aws: &mut Aws, spot: &Spot, act: RuleAct) {
    const OTHER: &str = r#"{"source":["aws.ssm"],"detail-type":["EC2 State Manager Association State Change"]}"#;
    let person = Actor::Person;
    let Spot { id, region, .. } = spot;
    let write = |aws: &mut Aws, change: RuleChange| spot.act(aws, &person, &Write::Rule(change));
    let there = aws.region(id, region).is_some_and(|state| state.audit_rule().is_some());
    match act {
        RuleAct::Make(as_declared) => {
            if !there {
                let pattern = if as_declared { ssm_ready_core::region::pattern() } else { OTHER.to_owned() };
                write(aws, RuleChange::Put { pattern, tags: Tags::new() });
                write(aws, RuleChange::Target(topic(spot.account, region.as_str(), 0)));
            }
        }
        RuleAct::Edit => {
            if there {
                write(aws, RuleChange::Put { pattern: OTHER.to_owned(), tags: Tags::new() });
            }
        }
        RuleAct::Disable => aws.change_audit_rule(&person, id, region, |rule| rule.enabled = false),
        RuleAct::Schedule => {
            aws.change_audit_rule(&person, id, region, |rule| rule.schedule = Some("rate(1 hour)".to_owned()));
        }
        RuleAct::Untarget => aws.change_audit_rule(&person, id, region, |rule| {
            rule.targets.remove(AUDIT_TARGET);
        }),
        RuleAct::Divert => aws.change_audit_rule(&person, id, region, |rule| {
            if let Some(target) = rule.targets.get_mut(AUDIT_TARGET) {
                target.1 = true;
            }
        }),
        RuleAct::Target => aws.change_audit_rule(&person, id, region, |rule| {
            rule.targets.insert("theirs".to_owned(), ("arn:aws:sqs:eu-west-1:111122223333:audit".to_owned(), false));
        }),
        RuleAct::Strip => aws.change_audit_rule(&person, id, region, |rule| rule.tags.clear()),
        RuleAct::Delete => {
            if there {
                aws.delete_audit_rule(&person, id, region);
            }
        }
    }
}

/// Does what somebody does.
pub fn does(aws: &mut Aws, spot: &Spot, act: &Act) {
    let person = Actor::Person;
    let Spot { id, region, .. } = spot;
    match act {
        Act::Set(number, value) if setting(*number) == Setting::HostManagementRole => {
            let values =
                ["service-role/AWS-QuickSetup-SSM-DefaultEC2MgmtRole-eu", "$None", "ssm-ready/host-management"];
            let value = values[value % values.len()];
            if value == "$None" {
                let _ = aws.reset_setting(&Actor::QuickSetup, id, region, Setting::HostManagementRole);
            } else {
                let _ = aws.set_setting(&Actor::QuickSetup, id, region, Setting::HostManagementRole, value);
            }
        }
        Act::Set(number, value) => {
            let (_, setting, values) = SETTINGS[number % (SETTINGS.len() + 1) - 1];
            let _ = aws.set_setting(&person, id, region, setting, values[value % values.len()].1);
        }
        Act::Reset(number) => {
            let _ = aws.reset_setting(&person, id, region, setting(*number));
        }
        Act::Missing(number, missing) => aws.set_provisioned(id, region, setting(*number), !missing),
        Act::Document(number) => {
            let _ = aws.edit_session_document(&person, id, region, &content(*number));
        }
        Act::UseVersion(version) => {
            let _ = aws.use_document_version(&person, id, region, *version);
        }
        Act::DeleteDocument => {
            let _ = aws.delete_session_document(&person, id, region);
        }
        Act::StripDocument => {
            let keys = [CLUSTER_TAG.to_owned(), OWNER_TAG.to_owned()].into();
            spot.act(aws, &person, &Write::Document(DocumentChange::Untag(keys)));
        }
        Act::Rule(act) => does_to_rule(aws, spot, *act),
        Act::Topic(number, act) => {
            let arn = topic(spot.account, region.as_str(), *number);
            let becomes = match act {
                TopicAct::Open => Some(open_topic(&arn)),
                TopicAct::Close => Some(closed_topic(&arn)),
                TopicAct::Delete => None,
            };
            aws.change_topic(id, region, &arn, becomes);
        }
        Act::Trail(logging) => aws.change_trail(id, region, &trail_of(spot), |trail| trail.logging = *logging),
        Act::Target(thing, number, act) => does_to_target(aws, spot, *thing, *number, *act),
        Act::Metadata(field, value) => {
            let (_, field, values) = METADATA[field % METADATA.len()];
            let values = [(field, values[value % values.len()].1.to_owned())].into();
            let _ = aws.set_metadata_defaults(&person, id, region, values);
        }
        Act::Policy(on) => {
            let values: BTreeMap<_, _> = [(MetadataField::HttpTokens, "required".to_owned())].into();
            aws.set_declarative_policy(id, region, on.then_some((values, "ask the security team")));
        }
        Act::Role(number, act) => does_to_role(aws, spot, *number, *act),
        Act::Profile(number, act) => {
            let name: ProfileName = PROFILES[number % PROFILES.len()].into();
            match act {
                ProfileAct::Make(with) => {
                    spot.profile(
                        aws,
                        &name,
                        ProfileChange::Create { path: "/ssm-ready/".to_owned(), tags: Tags::new() },
                    );
                    if let Some(with) = with {
                        spot.profile(aws, &name, ProfileChange::AddRole(INSTANCE_ROLES[with % 3].into()));
                    }
                }
                ProfileAct::Destroy => {
                    let _ = aws.destroy_profile(&person, id, region, &name);
                }
                ProfileAct::Empty => {
                    let role = aws.iam_mut(id).profiles.get(&name).and_then(|record| record.role.clone());
                    if let Some(role) = role {
                        spot.profile(aws, &name, ProfileChange::RemoveRole(role));
                    }
                }
                ProfileAct::Strip => {
                    let keys = [CLUSTER_TAG.to_owned(), OWNER_TAG.to_owned()].into();
                    spot.profile(aws, &name, ProfileChange::Untag(keys));
                }
            }
        }
        Act::Launch(number) => launch(aws, spot, &PROFILES[number % PROFILES.len()].into()),
        Act::Terminate => terminate(aws, spot),
    }
}

fn does_to_role(aws: &mut Aws, spot: &Spot, number: usize, act: RoleAct) {
    let (name, path, service) = role(number);
    let policies: Vec<PolicyArn> =
        aws.iam_mut(&spot.id).roles.get(&name).map(|r| r.policies.iter().cloned().collect()).unwrap_or_default();
    match act {
        RoleAct::Make(fit) => make(aws, spot, &name, path, if fit { service } else { "lambda.amazonaws.com" }),
        RoleAct::Destroy => {
            let _ = aws.destroy_role(&Actor::Person, &spot.id, &spot.region, &name);
        }
        RoleAct::Distrust => {
            spot.role(aws, &name, RoleChange::Trust(trust("lambda.amazonaws.com")));
        }
        RoleAct::Detach(number) => {
            if let Some(policy) = policies.get(number % policies.len().max(1)) {
                spot.role(aws, &name, RoleChange::Detach(policy.clone()));
            }
        }
        RoleAct::Attach => {
            spot.role(aws, &name, RoleChange::Attach(PolicyArn::new(EXTRA)));
        }
        RoleAct::Strip => {
            spot.role(aws, &name, RoleChange::Untag([CLUSTER_TAG.to_owned(), OWNER_TAG.to_owned()].into()));
        }
        RoleAct::Inline(ours) => {
            let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
            let policy = if ours { "ssm-ready" } else { "by-hand" };
            let _ = aws.put_inline_policy(&Actor::Person, &spot.id, &spot.region, &name, policy, text);
        }
        RoleAct::NoInline => {
            let names: Vec<String> =
                aws.iam_mut(&spot.id).roles.get(&name).map(|r| r.inline.keys().cloned().collect()).unwrap_or_default();
            for inline in names {
                spot.role(aws, &name, RoleChange::DeleteInline(inline));
            }
        }
        RoleAct::Unbound => {
            let _ = aws.remove_boundary(&Actor::Person, &spot.id, &spot.region, &name);
        }
    }
}

/// Makes a role that a service takes on, with the policy of Default Host Management if it is for that.
fn make(aws: &mut Aws, spot: &Spot, name: &RoleName, path: &str, service: &str) {
    let new = NewRole {
        path: path.to_owned(),
        trust: trust(service),
        description: "by hand".to_owned(),
        boundary: None,
        tags: Tags::new(),
    };
    if spot.role(aws, name, RoleChange::Create(Box::new(new))) && service == "ssm.amazonaws.com" {
        let policy = PolicyArn::new("arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy");
        spot.role(aws, name, RoleChange::Attach(policy));
    }
}

fn launch(aws: &mut Aws, spot: &Spot, profile: &ProfileName) {
    let Spot { id, region, .. } = spot;
    let subnet = aws.region(id, region).and_then(|state| state.subnets.keys().next().cloned());
    let subnet = match subnet {
        Some(subnet) => subnet,
        None => {
            let Ok(cidr) = "10.200.0.0/16".parse() else { return };
            let vpc = aws.add_vpc(id, region, NewVpc::of(cidr));
            aws.add_subnet(id, region, &vpc, NewSubnet::of("a"))
        }
    };
    let new = NewInstance { profile: Some(profile.clone()), ..NewInstance::default() };
    aws.add_instance(id, region, &subnet, new);
}

fn terminate(aws: &mut Aws, spot: &Spot) {
    let Some(account) = aws.accounts.get(&spot.id) else { return };
    let with_profile: Vec<_> = account
        .regions
        .iter()
        .flat_map(|(region, state)| state.instances.values().map(move |instance| (region, instance)))
        .filter(|(_, instance)| instance.fact.profile.is_some())
        .map(|(region, instance)| (region.clone(), instance.fact.id.clone()))
        .collect();
    for (region, instance) in with_profile {
        aws.terminate_instance(&Actor::Person, &spot.id, &region, &instance);
    }
}

/// People put right what they did, as far as nothing of ours is in the way: foreign values are set back, foreign roles
/// and profiles deleted, and roles that others are to see to are made.
pub fn put_right(stage: &Stage, spots: &[Spot]) {
    let ours = |tags: &Tags| tags.get(CLUSTER_TAG) == Some(&stage.cluster) && tags.contains_key(OWNER_TAG);
    let declared = declared(stage);
    stage.aws.with(|aws| {
        for spot in spots {
            terminate(aws, spot);
            aws.set_declarative_policy(&spot.id, &spot.region, None);
            for setting in Setting::ALL {
                aws.set_provisioned(&spot.id, &spot.region, setting, true);
                let _ = aws.reset_setting(&Actor::Person, &spot.id, &spot.region, setting);
            }
            let unset = MetadataField::ALL.into_iter().map(|field| (field, field.no_preference().to_owned()));
            let _ = aws.set_metadata_defaults(&Actor::Person, &spot.id, &spot.region, unset.collect());
            let document = aws.region(&spot.id, &spot.region).and_then(|state| state.session_document());
            if document.is_some_and(|document| !ours(&document.tags)) {
                let _ = aws.delete_session_document(&Actor::Person, &spot.id, &spot.region);
            }
            for number in 0..2 {
                does(aws, spot, &Act::Topic(number, TopicAct::Open));
                for thing in [Thing::Bucket, Thing::Group, Thing::Key] {
                    does(aws, spot, &Act::Target(thing, number, TargetAct::Mend));
                }
            }
            does(aws, spot, &Act::Trail(true));
            let rule = aws.region(&spot.id, &spot.region).and_then(|state| state.audit_rule());
            match rule.map(|rule| ours(&rule.tags)) {
                Some(true) => aws.change_audit_rule(&Actor::Person, &spot.id, &spot.region, |rule| {
                    rule.targets.retain(|id, _| id == AUDIT_TARGET);
                }),
                Some(false) => aws.delete_audit_rule(&Actor::Person, &spot.id, &spot.region),
                None => {}
            }
            for profile in PROFILES.map(ProfileName::from) {
                let found = aws.iam_mut(&spot.id).profiles.get(&profile).map(|record| ours(&record.tags));
                if found == Some(false) {
                    let _ = aws.destroy_profile(&Actor::Person, &spot.id, &spot.region, &profile);
                }
            }
            for number in 0..HOST_ROLES.len() + INSTANCE_ROLES.len() {
                let (name, path, service) = role(number);
                let found =
                    aws.iam_mut(&spot.id).roles.get(&name).map(|record| (ours(&record.tags), record.path == path));
                let only_attached = declared.get(&(spot.account, name.to_string())).copied();
                if found.is_some_and(|(ours, right)| !right || !ours) {
                    let _ = aws.destroy_role(&Actor::Person, &spot.id, &spot.region, &name);
                }
                if only_attached.unwrap_or(number < HOST_ROLES.len()) {
                    make(aws, spot, &name, path, service);
                }
            }
        }
    });
}

/// The roles, by account, that postures declare, and whether one only adds to them.
fn declared(stage: &Stage) -> BTreeMap<(usize, String), bool> {
    let mut all = BTreeMap::new();
    for (_, object) in stage.kubernetes.all(super::kubernetes::Kind::AccountPosture) {
        let account = object["spec"]["target"]["accountRef"]["name"].as_str().unwrap_or_default();
        let Some(number) = account.strip_prefix("account-").and_then(|n| n.parse().ok()) else { continue };
        let host = object["spec"].get("hostManagementRole").into_iter();
        let instances = object["spec"]["instanceRoles"].as_array().into_iter().flatten();
        for role in host.chain(instances) {
            let name = role["roleName"].as_str().unwrap_or_default().to_owned();
            *all.entry((number, name)).or_insert(false) |= role["ownership"] == "AttachOnly";
        }
    }
    all
}

/// Draws what others do.
pub fn acts() -> impl Strategy<Value = Act> {
    let n = || 0..16_usize;
    let role_act = prop_oneof![
        2 => any::<bool>().prop_map(RoleAct::Make),
        1 => Just(RoleAct::Destroy),
        2 => Just(RoleAct::Distrust),
        2 => n().prop_map(RoleAct::Detach),
        1 => Just(RoleAct::Attach),
        1 => Just(RoleAct::Strip),
        1 => any::<bool>().prop_map(RoleAct::Inline),
        1 => Just(RoleAct::NoInline),
        1 => Just(RoleAct::Unbound),
    ];
    let rule_act = prop_oneof![
        2 => any::<bool>().prop_map(RuleAct::Make),
        2 => Just(RuleAct::Disable),
        1 => Just(RuleAct::Edit),
        1 => Just(RuleAct::Schedule),
        1 => Just(RuleAct::Untarget),
        1 => Just(RuleAct::Divert),
        1 => Just(RuleAct::Target),
        1 => Just(RuleAct::Strip),
        1 => Just(RuleAct::Delete),
    ];
    let profile_act = prop_oneof![
        2 => prop::option::of(0..3_usize).prop_map(ProfileAct::Make),
        1 => Just(ProfileAct::Destroy),
        2 => Just(ProfileAct::Empty),
        1 => Just(ProfileAct::Strip),
    ];
    prop_oneof![
        3 => n().prop_map(|value| Act::Set(0, value)),
        4 => (n(), n()).prop_map(|(setting, value)| Act::Set(setting, value)),
        2 => (prop::sample::select(vec![0, 0, 1, 2, 3, 4, 5]),).prop_map(|(setting,)| Act::Reset(setting)),
        1 => (n(), any::<bool>()).prop_map(|(setting, missing)| Act::Missing(setting, missing)),
        3 => n().prop_map(Act::Document),
        2 => (1..4_u64).prop_map(Act::UseVersion),
        1 => Just(Act::DeleteDocument),
        1 => Just(Act::StripDocument),
        5 => rule_act.prop_map(Act::Rule),
        2 => (n(), prop::sample::select(vec![TopicAct::Open, TopicAct::Close, TopicAct::Delete]))
            .prop_map(|(topic, act)| Act::Topic(topic, act)),
        1 => any::<bool>().prop_map(Act::Trail),
        4 => (
            prop::sample::select(vec![Thing::Bucket, Thing::Group, Thing::Key]),
            n(),
            prop::sample::select(vec![TargetAct::Mend, TargetAct::Mend, TargetAct::Spoil, TargetAct::Delete]),
        )
            .prop_map(|(thing, number, act)| Act::Target(thing, number, act)),
        3 => (n(), n()).prop_map(|(field, value)| Act::Metadata(field, value)),
        1 => any::<bool>().prop_map(Act::Policy),
        6 => (prop::sample::select(vec![0_usize, 0, 1, 2, 2, 3, 4]), role_act).prop_map(|(role, act)| Act::Role(role, act)),
        3 => (n(), profile_act).prop_map(|(profile, act)| Act::Profile(profile, act)),
        1 => n().prop_map(Act::Launch),
        1 => Just(Act::Terminate),
    ]
}
