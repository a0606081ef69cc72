//! A small imagined IAM: tables of what is said and proposed, and what holds in every such world.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    evaluate::{Action, Outcome},
    facts::{
        Instance, InstanceState,
        iam::INLINE_POLICY,
        settings::{Setting, SettingValue},
    },
    ids::Region,
    parting::Parting,
    plan::plan,
    policy::{same, trust, trusts},
    posture::OWNER_TAG,
    reason::Reason,
    snapshot::FactValue,
    testing::{at, fault},
    write::ProfileChange,
};

const DHM: FactKey = FactKey::Setting(Setting::HostManagementRole);
const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/ssm-boundary";
const EXTRA: &str = "arn:aws:iam::111122223333:policy/extra";
const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

// What IAM holds, and a region that may use it.

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Iam {
    roles: BTreeMap<RoleName, Role>,
    profiles: BTreeMap<ProfileName, Profile>,
}

impl Iam {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Role { role, change } => self.change_role(role, change),
            Write::Profile { profile, change } => self.change_profile(profile, change),
            other => panic!("none of an account's: {other}"),
        }
    }

    fn change_role(&mut self, name: &RoleName, change: &RoleChange) {
        if let RoleChange::Create(new) = change {
            let role = Role {
                name: name.clone(),
                arn: format!("arn:aws:iam::111122223333:role{}{name}", new.path),
                path: new.path.clone(),
                trust: new.trust.clone(),
                boundary: new.boundary.clone(),
                policies: BTreeSet::new(),
                inline: BTreeMap::new(),
                tags: new.tags.clone(),
            };
            assert_eq!(self.roles.insert(name.clone(), role), None, "EntityAlreadyExists");
            return;
        }
        let held = self.profiles.values().any(|profile| profile.role.as_ref() == Some(name));
        let role = self.roles.get_mut(name).expect("NoSuchEntity");
        match change {
            RoleChange::Create(_) => {}
            RoleChange::Trust(trust) => role.trust = trust.clone(),
            RoleChange::Attach(policy) => assert!(role.policies.insert(policy.clone()), "attached for nothing"),
            RoleChange::Detach(policy) => assert!(role.policies.remove(policy), "NoSuchEntity"),
            RoleChange::PutInline(text) => drop(role.inline.insert(INLINE_POLICY.to_owned(), Some(text.clone()))),
            RoleChange::DeleteInline(name) => assert!(role.inline.remove(name).is_some(), "NoSuchEntity"),
            RoleChange::Boundary(policy) => role.boundary = Some(policy.clone()),
            RoleChange::Tag(tags) => role.tags.extend(tags.clone()),
            RoleChange::Untag(keys) => role.tags.retain(|key, _| !keys.contains(key)),
            RoleChange::Delete => {
                assert!(role.policies.is_empty() && role.inline.is_empty() && !held, "DeleteConflict");
                self.roles.remove(name);
            }
        }
    }

    fn change_profile(&mut self, name: &ProfileName, change: &ProfileChange) {
        if let ProfileChange::Create { path, tags } = change {
            let arn = format!("arn:aws:iam::111122223333:instance-profile{path}{name}");
            let profile = Profile { name: name.clone(), arn, path: path.clone(), role: None, tags: tags.clone() };
            assert_eq!(self.profiles.insert(name.clone(), profile), None, "EntityAlreadyExists");
            return;
        }
        let profile = self.profiles.get_mut(name).expect("NoSuchEntity");
        match change {
            ProfileChange::Create { .. } => {}
            ProfileChange::AddRole(role) => {
                assert!(profile.role.is_none(), "LimitExceeded");
                assert!(self.roles.contains_key(role), "NoSuchEntity");
                profile.role = Some(role.clone());
            }
            ProfileChange::RemoveRole(role) => assert_eq!(profile.role.take().as_ref(), Some(role), "NoSuchEntity"),
            ProfileChange::Tag(tags) => profile.tags.extend(tags.clone()),
            ProfileChange::Untag(keys) => profile.tags.retain(|key, _| !keys.contains(key)),
            ProfileChange::Delete => {
                assert!(profile.role.is_none(), "DeleteConflict");
                self.profiles.remove(name);
            }
        }
    }
}

fn posture(roles: Vec<RoleWish>) -> AccountPosture {
    AccountPosture {
        owner: Owner {
            cluster: "test".into(),
            kind: "AccountPosture",
            namespace: "team".into(),
            name: "main".into(),
            uid: "00000000-0000-0000-0000-000000000003".into(),
        },
        account: "111122223333".parse().unwrap(),
        partition: "aws".into(),
        mode: Mode::Enforce,
        interval: Duration::from_secs(600),
        deletion_policy: AccountDeletion::Retain,
        tags: [("CostCenter".to_owned(), "4711".to_owned())].into(),
        roles,
        guardrails: Guardrails::default(),
    }
}

fn host() -> RoleWish {
    RoleWish {
        name: "host-management".into(),
        role: "host-role".into(),
        path: "/service-role/".into(),
        ownership: RoleOwnership::Create,
        extra: BTreeSet::new(),
        purpose: Purpose::HostManagement,
    }
}

fn web() -> RoleWish {
    RoleWish {
        name: "web".into(),
        role: "web-role".into(),
        path: "/ssm-ready/".into(),
        purpose: Purpose::Instances {
            profile: "web-profile".into(),
            capabilities: [Capability::SessionManager, Capability::Patching].into(),
            bucket_regions: BTreeSet::new(),
            own_buckets: Vec::new(),
            keys: BTreeSet::new(),
        },
        ..host()
    }
}

fn instance(profile: Option<String>) -> Instance {
    Instance {
        id: "i-1".into(),
        vpc: "vpc-1".into(),
        subnet: "subnet-a".into(),
        state: InstanceState::Stopped,
        profile,
        imds_v1: None,
        imds: None,
        tags: Default::default(),
    }
}

#[derive(Debug, Clone)]
struct World {
    posture: AccountPosture,
    iam: Iam,
    memory: AccountMemory,
    facts: Snapshot,
    fresh: Fresh,
    now: Timestamp,
    /// Facts that were never read: of these, the ones whose read has failed.
    lost: BTreeMap<FactKey, bool>,
    /// Facts whose last read failed.
    failed: BTreeSet<FactKey>,
    /// What the one region has as the role of Default Host Management.
    setting: Option<String>,
    instances: Vec<Instance>,
}

impl World {
    /// Nothing is made yet.
    fn new(roles: Vec<RoleWish>) -> Self {
        Self {
            posture: posture(roles),
            iam: Iam::default(),
            memory: AccountMemory::default(),
            facts: Snapshot::default(),
            fresh: Fresh::default(),
            now: at(0),
            lost: BTreeMap::new(),
            failed: BTreeSet::new(),
            setting: None,
            instances: Vec::new(),
        }
    }

    /// All is made and remembered.
    fn made(roles: Vec<RoleWish>) -> Self {
        let mut world = Self::new(roles);
        world.settle();
        world
    }

    /// All is there as declared, and somebody else's.
    fn theirs(roles: Vec<RoleWish>, ownership: RoleOwnership) -> Self {
        let mut world = Self::made(roles);
        world.memory = AccountMemory::default();
        world.iam.roles.values_mut().for_each(|role| role.tags.clear());
        world.iam.profiles.values_mut().for_each(|profile| profile.tags.clear());
        world.posture.roles.iter_mut().for_each(|wish| wish.ownership = ownership);
        world
    }

    fn role(&mut self, name: &str) -> &mut Role {
        self.iam.roles.get_mut(&name.into()).unwrap()
    }

    fn profile(&mut self) -> &mut Profile {
        self.iam.profiles.get_mut(&"web-profile".into()).unwrap()
    }

    fn wish(&mut self) -> &mut RoleWish {
        &mut self.posture.roles[0]
    }

    /// Another role, of nobody in particular.
    fn other(&mut self) {
        let role = Role { name: "other".into(), tags: Tags::new(), ..self.iam.roles[&"web-role".into()].clone() };
        self.iam.roles.insert("other".into(), role);
    }

    fn note(&self, facts: &mut Snapshot, key: &FactKey, value: FactValue) {
        let why = || Err(fault(key.operation(), "AccessDeniedException"));
        match self.lost.get(key) {
            Some(true) => facts.note(key, why(), self.now),
            Some(false) => false,
            None => facts.note(key, Ok(value), self.now),
        };
        if self.failed.contains(key) {
            facts.note(key, why(), self.now);
        }
    }

    fn read(&mut self) {
        let mut facts = Snapshot::default();
        for key in wanted(&everything(&self.posture, &self.memory)) {
            let value = match &key {
                FactKey::Role(role) => FactValue::Role(self.iam.roles.get(role).cloned()),
                FactKey::Profile(profile) => FactValue::Profile(self.iam.profiles.get(profile).cloned()),
                other => panic!("{other:?}"),
            };
            self.note(&mut facts, &key, value);
        }
        self.facts = facts;
    }

    fn view(&self) -> AccountView<'_> {
        AccountView { facts: &self.facts, fresh: &self.fresh, interval: self.posture.interval, now: self.now }
    }

    fn judge(&self) -> Verdict<AccountSeen> {
        let verdict = evaluate(&self.posture, &self.view(), &self.memory);
        assert_allowed(self, &verdict);
        verdict
    }

    /// One pass that ends after so many steps: the first is to note, each of the others a call. Says how many there were.
    fn pass(&mut self, steps: usize) -> usize {
        self.read();
        let verdict = self.judge();
        if steps == 0 {
            return 0;
        }
        self.memory = note_ahead(&verdict);
        let plan = plan(verdict.actions);
        for action in plan.actions.iter().take(steps - 1) {
            self.iam.write(&action.write);
        }
        plan.actions.len().min(steps - 1)
    }

    fn settle(&mut self) -> usize {
        let mut calls = 0;
        for _ in 0..6 {
            let more = self.pass(usize::MAX);
            if more == 0 {
                return calls;
            }
            calls += more;
        }
        panic!("does not settle: {:#?}", self.judge());
    }

    /// What the one region tells.
    fn of_region(&self) -> Snapshot {
        let mut facts = Snapshot::default();
        let setting = SettingValue { value: self.setting.clone(), ..SettingValue::default() };
        self.note(&mut facts, &DHM, FactValue::Setting(Some(setting)));
        self.note(&mut facts, &FactKey::Instances, FactValue::Instances(self.instances.clone()));
        facts
    }

    fn farewell(&mut self) -> Parting {
        self.read();
        let (region, facts) = ("eu-west-1".parse::<Region>().unwrap(), self.of_region());
        let uses = [Uses { region: &region, facts: &facts, interval: self.posture.interval }];
        let next = farewell(&self.posture, &self.view(), &self.memory, &uses);
        assert_may_leave(self, &next);
        next
    }

    /// Judges, and sees to what is no longer declared.
    fn tidied(&mut self) -> Verdict<AccountSeen> {
        self.read();
        let (region, facts) = ("eu-west-1".parse::<Region>().unwrap(), self.of_region());
        let uses = [Uses { region: &region, facts: &facts, interval: self.posture.interval }];
        let mut verdict = evaluate(&self.posture, &self.view(), &self.memory);
        tidy(&self.posture, &self.view(), &self.memory, &uses, &mut verdict);
        verdict
    }

    /// Does what is left to do until nothing is: what was said to stay.
    fn leave(&mut self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        for _ in 0..4 {
            let next = self.farewell();
            left.extend(next.left.iter().cloned());
            if next.actions.is_empty() {
                assert!(next.is_done(), "{next:?}");
                return left;
            }
            plan(next.actions).actions.iter().for_each(|a| self.iam.write(&a.write));
        }
        panic!("does not leave");
    }
}

fn is_current(world: &World, key: &FactKey) -> bool {
    !world.lost.contains_key(key) && !world.failed.contains(key)
}

/// Whether a wish is within the guardrails: told from the lists alone.
fn is_within(world: &World, wish: &RoleWish) -> bool {
    let rails = &world.posture.guardrails;
    let own = wish.own_policies(&world.posture.partition);
    wish.extra.iter().all(|policy| rails.policies.contains(policy) || own.contains(policy))
        && rails.paths.as_ref().is_none_or(|paths| paths.iter().any(|path| wish.path.starts_with(path)))
}

/// No statement opens a bucket that is not named.
#[track_caller]
fn assert_no_wildcard_bucket(inline: &str) {
    assert!(inline.len() <= 10_240);
    let document: Value = serde_json::from_str(inline).unwrap();
    for statement in document["Statement"].as_array().unwrap() {
        let resources = statement["Resource"].as_array().unwrap();
        let is_s3 = statement["Action"].as_array().unwrap().iter().any(|a| a.as_str().unwrap().starts_with("s3:"));
        for resource in resources.iter().map(|r| r.as_str().unwrap()).filter(|_| is_s3) {
            let bucket = resource.splitn(6, ':').last().unwrap().split('/').next().unwrap();
            assert!(!bucket.is_empty() && !bucket.contains(['*', '?']), "{resource}");
        }
        assert!(!resources.is_empty() && statement["Effect"] == "Allow", "{statement}");
    }
}

/// Rules that no proposed write may break, told from what IAM holds.
#[track_caller]
fn assert_allowed(world: &World, verdict: &Verdict<AccountSeen>) {
    let (posture, iam) = (&world.posture, &world.iam);
    let boundary = posture.guardrails.boundary.as_ref();
    let creates = |name: &RoleName| {
        let is = |a: &Action| matches!(&a.write, Write::Role { role, change: RoleChange::Create(_) } if role == name);
        verdict.actions.iter().any(is)
    };
    for Action { facet, write, .. } in &verdict.actions {
        let told = verdict.checks.iter().any(|c| c.facet == *facet && c.outcome == Outcome::Fail && c.gate);
        assert!(told, "done without a word: {write}");
        assert!(FactKey::touched_by(write).iter().all(|key| is_current(world, key)), "{write}");
        match write {
            Write::Role { role, change } => {
                let wish = posture.roles.iter().find(|wish| wish.role == *role).expect("only what is declared");
                let found = iam.roles.get(role);
                let ours = found.is_some_and(|found| posture.owner.owns(&found.tags));
                let attach_only = wish.ownership == RoleOwnership::AttachOnly;
                let mine = ours && !attach_only || wish.ownership == RoleOwnership::TakeOver || creates(role);
                assert!(is_within(world, wish), "{write}");
                assert!(found.is_none_or(|found| found.path == wish.path), "{write}");
                match change {
                    RoleChange::Create(new) => {
                        assert!(found.is_none() && !attach_only && !world.fresh.roles.contains(role), "{write}");
                        assert!(posture.owner.owns(&new.tags) && new.boundary.as_ref() == boundary, "{write}");
                        assert!(new.path == wish.path && new.description.len() <= 1_000, "{write}");
                        assert!(wish.services(&posture.partition).iter().all(|s| trusts(&new.trust, s)), "{write}");
                    }
                    RoleChange::Attach(policy) => {
                        assert!(wish.policies(&posture.partition).contains(policy), "{write}");
                        assert!(mine || attach_only, "{write}");
                        if let (Some(found), true) = (found, attach_only) {
                            assert!(boundary.is_none_or(|b| found.boundary.as_ref() == Some(b)), "{write}");
                        }
                    }
                    RoleChange::Detach(policy) => {
                        let kept = &world.memory.roles[&wish.name];
                        assert!(kept.attached.contains(policy) || kept.attaching.contains(policy), "{write}");
                        assert!(!wish.policies(&posture.partition).contains(policy), "{write}");
                    }
                    RoleChange::PutInline(text) => {
                        assert!(mine, "{write}");
                        assert_no_wildcard_bucket(text);
                    }
                    RoleChange::DeleteInline(name) => assert!(mine && name == INLINE_POLICY, "{write}"),
                    RoleChange::Boundary(policy) => assert!(mine && Some(policy) == boundary, "{write}"),
                    RoleChange::Trust(text) => {
                        assert!(mine && same(text, &trust(wish.services(&posture.partition))), "{write}");
                    }
                    RoleChange::Tag(_) => assert!(mine, "{write}"),
                    RoleChange::Untag(_) | RoleChange::Delete => panic!("evaluation takes nothing away: {write}"),
                }
            }
            Write::Profile { profile, change } => {
                let wish = posture.roles.iter().find(|wish| wish.profile() == Some(profile)).expect("declared");
                assert!(is_within(world, wish), "{write}");
                let found = iam.profiles.get(profile);
                let ours = found.is_none_or(|found| posture.owner.owns(&found.tags));
                assert!(ours || wish.ownership == RoleOwnership::TakeOver, "{write}");
                match change {
                    ProfileChange::Create { path, tags } => {
                        assert!(found.is_none() && !world.fresh.profiles.contains(profile), "{write}");
                        assert!(posture.owner.owns(tags) && *path == wish.path, "{write}");
                    }
                    ProfileChange::AddRole(role) => {
                        assert_eq!(*role, wish.role);
                        // No way to make somebody else's role one of instances.
                        let may = iam.roles.get(role).is_none_or(|found| {
                            posture.owner.owns(&found.tags) || wish.ownership != RoleOwnership::Create
                        });
                        assert!(may, "{write}");
                    }
                    ProfileChange::RemoveRole(role) => assert_ne!(*role, wish.role),
                    ProfileChange::Tag(tags) => assert!(!tags.is_empty(), "{write}"),
                    ProfileChange::Untag(_) | ProfileChange::Delete => {
                        panic!("evaluation takes nothing away: {write}")
                    }
                }
            }
            other => panic!("none of an account's: {other}"),
        }
    }
    for check in &verdict.checks {
        assert!(!check.message.is_empty() && check.message.chars().count() < 900, "{check:?}");
        let proposed = verdict.actions.iter().any(|a| a.facet == check.facet);
        assert!(!is_work(check.reason) || proposed || is_dark(world), "waits for nothing: {check:?}");
    }
}

fn is_dark(world: &World) -> bool {
    world.lost.len() + world.failed.len() > 0
}

fn is_work(reason: Reason) -> bool {
    matches!(reason, Reason::RoleMissing | Reason::RoleDrifted | Reason::ProfileMissing | Reason::ProfileDrifted)
}

/// Rules of leaving.
#[track_caller]
fn assert_may_leave(world: &World, next: &Parting) {
    let delete = world.posture.deletion_policy == AccountDeletion::Delete;
    for Action { write, .. } in &next.actions {
        let keys = FactKey::touched_by(write);
        assert!(keys.iter().all(|key| next.watch.contains(key) && is_current(world, key)), "{write}");
        let untags = |keys: &BTreeSet<String>| !delete && keys.len() == 1 && keys.contains(OWNER_TAG);
        match write {
            Write::Role { role, change } => {
                let found = &world.iam.roles[role];
                let ours = world.posture.owner.owns(&found.tags);
                match change {
                    RoleChange::Untag(keys) => assert!(ours && untags(keys), "{write}"),
                    RoleChange::Detach(policy) if !ours => {
                        let wish = world.posture.roles.iter().find(|wish| wish.role == *role).unwrap();
                        let kept = &world.memory.roles[&wish.name];
                        assert!(kept.attached.contains(policy) || kept.attaching.contains(policy), "{write}");
                        assert!(delete && wish.ownership == RoleOwnership::AttachOnly, "{write}");
                    }
                    RoleChange::Detach(_) | RoleChange::DeleteInline(_) | RoleChange::Delete => {
                        assert!(ours && delete, "{write}");
                        assert_ne!(world.setting, Some(found.setting_value()), "{write}");
                        let profiles = world.iam.profiles.values().filter(|p| p.role.as_ref() == Some(role));
                        for profile in profiles {
                            assert!(world.posture.owner.owns(&profile.tags), "{write}");
                            assert!(
                                !world.instances.iter().any(|i| i.profile.as_ref() == Some(&profile.arn)),
                                "{write}"
                            );
                        }
                        assert!(is_current(world, &DHM), "{write}");
                    }
                    _ => panic!("{write}"),
                }
            }
            Write::Profile { profile, change } => {
                let found = &world.iam.profiles[profile];
                assert!(world.posture.owner.owns(&found.tags), "{write}");
                match change {
                    ProfileChange::Untag(keys) => assert!(untags(keys), "{write}"),
                    ProfileChange::RemoveRole(_) | ProfileChange::Delete => {
                        assert!(delete && is_current(world, &FactKey::Instances) && is_current(world, &DHM), "{write}");
                        assert!(!world.instances.iter().any(|i| i.profile.as_ref() == Some(&found.arn)), "{write}");
                    }
                    _ => panic!("{write}"),
                }
            }
            other => panic!("none of an account's: {other}"),
        }
    }
}

fn said(verdict: &Verdict<AccountSeen>) -> Vec<(String, String)> {
    let open = verdict.checks.iter().filter(|c| c.outcome != Outcome::Pass);
    open.map(|c| (format!("{:?} {:?} {}", c.facet, c.outcome, c.reason), c.message.clone())).collect()
}

fn calls(actions: &[Action]) -> Vec<String> {
    let all = plan(actions.to_vec()).actions;
    all.iter().map(|a| a.write.to_string().replace("arn:aws:iam::aws:policy/", "")).collect()
}

/// One row of a table: what is said (with a part of each message) and proposed in a world.
#[track_caller]
fn row<R>(
    what: &str,
    mut world: World,
    edit: impl FnOnce(&mut World) -> R,
    expected: &[(&str, &str)],
    proposed: &[&str],
) {
    edit(&mut world);
    world.read();
    let verdict = world.judge();
    let found = said(&verdict);
    let kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, expected.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), "{what}: {found:#?}");
    for ((_, message), (_, gist)) in found.iter().zip(expected) {
        assert!(message.contains(gist), "{what}: {message:?} does not say {gist:?}");
    }
    assert_eq!(calls(&verdict.actions), proposed, "{what}");
}

const MISSING: &str = "Roles Fail RoleMissing";
const DRIFTED: &str = "Roles Fail RoleDrifted";
const FOREIGN: &str = "Roles Fail Foreign";
const PENDING: &str = "Roles Fail RolePending";
const UNKNOWN: &str = "Roles Unknown FactUnreadable";
const RAILS: &str = "Roles Fail GuardrailViolated";
const NO_PROFILE: &str = "Profiles Fail ProfileMissing";
const PROFILE: &str = "Profiles Fail ProfileDrifted";
const CONFLICT: &str = "Profiles Fail ProfileConflict";
const WAITS: (&str, &str) = ("Profiles Fail PrerequisiteMissing", "profile web-profile waits for role web-role");
const MAKE_PROFILE: [&str; 2] =
    ["create instance profile /ssm-ready/web-profile", "put role web-role into instance profile web-profile"];
const CORE: &str = "attach AmazonSSMManagedInstanceCore to role web-role";

#[test]
fn roles_and_profiles_are_made_in_order() {
    row(
        "Default Host Management",
        World::new(vec![host()]),
        |_| {},
        &[(MISSING, "there is no role host-role")],
        &["create role /service-role/host-role", "attach AmazonSSMManagedEC2InstanceDefaultPolicy to role host-role"],
    );
    row(
        "instances",
        World::new(vec![web()]),
        |_| {},
        &[(MISSING, "there is no role web-role"), (NO_PROFILE, "there is no instance profile web-profile")],
        &[
            "create role /ssm-ready/web-role",
            CORE,
            "attach AmazonSSMPatchAssociation to role web-role",
            MAKE_PROFILE[0],
            MAKE_PROFILE[1],
        ],
    );
    let mut world = World::new(vec![web(), host()]);
    world.posture.guardrails.boundary = Some(BOUNDARY.into());
    assert_eq!(world.settle(), 7);
    assert_eq!(world.role("web-role").boundary, Some(BOUNDARY.into()));
    assert_eq!(world.iam.roles[&"web-role".into()].tags, world.posture.all_tags());
    assert_eq!(world.iam.profiles[&"web-profile".into()].tags, world.posture.all_tags());
    row("made", world, |_| {}, &[], &[]);
}

#[test]
fn what_was_made_a_moment_ago_is_not_made_again() {
    let fresh = |role: bool, profile: bool| {
        move |w: &mut World| {
            w.fresh.roles.extend(role.then(|| "web-role".into()));
            w.fresh.profiles.extend(profile.then(|| "web-profile".into()));
        }
    };
    let role = (PENDING, "role web-role was made, and IAM does not show it yet");
    let profile = ("Profiles Fail RolePending", "profile web-profile was made");
    row("both", World::new(vec![web()]), fresh(true, true), &[role, profile], &[]);
    row("the role", World::new(vec![web()]), fresh(true, false), &[role, (NO_PROFILE, "")], &MAKE_PROFILE);
    row(
        "the profile",
        World::made(vec![web()]),
        |w| {
            w.iam.profiles.clear();
            fresh(true, true)(w);
        },
        &[profile],
        &[],
    );
    let mut world = World::new(vec![web()]);
    fresh(true, true)(&mut world);
    world.read();
    let watch = [FactKey::Role("web-role".into()), FactKey::Profile("web-profile".into())];
    assert_eq!(world.judge().watch, watch.into());
}

#[test]
fn a_role_of_ours_is_kept_as_declared() {
    let made = || World::made(vec![web()]);
    row(
        "detached",
        made(),
        |w| w.role("web-role").policies.remove(&aws_policy("aws", "AmazonSSMManagedInstanceCore")),
        &[(
            DRIFTED,
            "role web-role: policies is without, and with arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore is declared",
        )],
        &[CORE],
    );
    row(
        "trust edited",
        made(),
        |w| w.role("web-role").trust = trust(&["ec2.amazonaws.com", "lambda.amazonaws.com"]),
        &[(DRIFTED, "trust is another, and exactly ec2.amazonaws.com is declared")],
        &["change the trust policy of role web-role"],
    );
    row(
        "trust in other words",
        made(),
        |w| {
            w.role("web-role").trust = r#"{"Statement":{"Sid":"a","Action":["sts:assumeRole"],"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com"]}}}"#.into();
        },
        &[],
        &[],
    );
    row(
        "boundary demanded since",
        made(),
        |w| w.posture.guardrails.boundary = Some(BOUNDARY.into()),
        &[(DRIFTED, "permissionsBoundary is none, and arn:aws:iam::111122223333:policy/ssm-boundary is declared")],
        &["bound role web-role by arn:aws:iam::111122223333:policy/ssm-boundary"],
    );
    row(
        "another boundary",
        made(),
        |w| {
            w.posture.guardrails.boundary = Some(BOUNDARY.into());
            w.role("web-role").boundary = Some(EXTRA.into());
        },
        &[(DRIFTED, "permissionsBoundary is arn:aws:iam::111122223333:policy/extra")],
        &["bound role web-role by arn:aws:iam::111122223333:policy/ssm-boundary"],
    );
    row("a boundary that nobody demands", made(), |w| w.role("web-role").boundary = Some(EXTRA.into()), &[], &[]);
    row(
        "tags",
        made(),
        |w| {
            w.role("web-role").tags.remove("CostCenter");
            w.profile().tags.insert("CostCenter".into(), "1".into());
        },
        &[
            (DRIFTED, "tags is without, and with CostCenter"),
            (PROFILE, "profile web-profile lacks the tags CostCenter"),
        ],
        &["tag role web-role with CostCenter", "tag instance profile web-profile with CostCenter"],
    );
    row("more tags than declared", made(), |w| w.role("web-role").tags.insert("a".into(), "b".into()), &[], &[]);
    row(
        "its statements",
        made(),
        |w| keys(w.wish()),
        &[(DRIFTED, "inlinePolicy is none, and the declared statements is declared")],
        &["write inline policy ssm-ready of role web-role"],
    );
    let mut stated = made();
    keys(stated.wish());
    stated.settle();
    row("its statements are there", stated.clone(), |_| {}, &[], &[]);
    row(
        "its statements edited",
        stated.clone(),
        |w| w.role("web-role").inline.insert(INLINE_POLICY.into(), Some(r#"{"Statement":[]}"#.into())),
        &[(DRIFTED, "inlinePolicy is another")],
        &["write inline policy ssm-ready of role web-role"],
    );
    row(
        "its statements no longer declared",
        stated,
        |w| *w.wish() = web(),
        &[(DRIFTED, "inlinePolicy is there, and none is declared")],
        &["delete inline policy ssm-ready of role web-role"],
    );
    row(
        "what somebody else added is named and left",
        made(),
        |w| {
            w.role("web-role").policies.insert(ADMIN.into());
            w.role("web-role").inline.insert("more".into(), None);
        },
        &[(
            "Roles Warn UnexpectedPolicies",
            "role web-role carries arn:aws:iam::aws:policy/AdministratorAccess, more (inline)",
        )],
        &[],
    );
    row(
        "what we added and nobody declares any more goes",
        made(),
        |w| {
            let Purpose::Instances { capabilities, .. } = &mut w.wish().purpose else { panic!() };
            capabilities.remove(&Capability::Patching);
        },
        &[(
            DRIFTED,
            "policies is with them, and without arn:aws:iam::aws:policy/AmazonSSMPatchAssociation is declared",
        )],
        &["detach AmazonSSMPatchAssociation from role web-role"],
    );
    row(
        "deleted: made anew",
        made(),
        |w| w.iam.roles.clear(),
        &[(MISSING, "")],
        &["create role /ssm-ready/web-role", CORE, "attach AmazonSSMPatchAssociation to role web-role"],
    );
    for (denied, says) in [(true, "AccessDeniedException"), (false, "GetRole has not answered yet")] {
        row("unreadable", made(), |w| w.lost.insert(FactKey::Role("web-role".into()), denied), &[(UNKNOWN, says)], &[]);
    }
    row(
        "not read again",
        made(),
        |w| {
            w.failed.insert(FactKey::Role("web-role".into()));
            w.role("web-role").policies.clear();
            w.role("web-role").tags.remove("CostCenter");
        },
        &[(DRIFTED, ""), (DRIFTED, "")],
        &[],
    );
    row(
        "not there, and not read again",
        World::new(vec![web()]),
        |w| w.failed.insert(FactKey::Role("web-role".into())),
        &[(MISSING, ""), WAITS],
        &[],
    );
}

fn keys(wish: &mut RoleWish) {
    let Purpose::Instances { keys, .. } = &mut wish.purpose else { panic!() };
    keys.insert("arn:aws:kms:eu-west-1:111122223333:key/1".into());
}

#[test]
fn a_role_of_somebody_else_is_not_touched() {
    let theirs = || World::theirs(vec![web()], RoleOwnership::Create);
    row("good", theirs(), |_| {}, &[(FOREIGN, "role web-role was not made by this object: restore its tags")], &[]);
    // Nor is it given to instances: whoever may declare would get what it may do.
    row("without profile", theirs(), |w| w.iam.profiles.clear(), &[(FOREIGN, ""), WAITS], &[]);
    row(
        "of another object",
        theirs(),
        |w| {
            let mut tags = w.posture.owner.tags();
            tags.insert(OWNER_TAG.into(), "AccountPosture/team/another".into());
            w.role("web-role").tags = tags;
        },
        &[(FOREIGN, "")],
        &[],
    );
    // Said again at every look, for as long as it is so.
    let mut lost = World::made(vec![web()]);
    lost.role("web-role").tags.clear();
    for _ in 0..3 {
        let says = "role web-role has lost the tags of ssm-ready: restore its tags ssmready.dev/cluster=test and ssmready.dev/owner=AccountPosture/team/main";
        row("lost", lost.clone(), |_| {}, &[(FOREIGN, says)], &[]);
        assert_eq!(lost.pass(usize::MAX), 0);
    }
    lost.iam.roles.clear();
    lost.fresh.roles.insert("web-role".into());
    lost.pass(usize::MAX);
    lost.fresh = Fresh::default();
    let mut again = theirs();
    again.memory = lost.memory;
    row("deleted, and made by somebody else", again, |_| {}, &[(FOREIGN, "was not made by this object")], &[]);
}

#[test]
fn a_role_is_taken_over_tags_first() {
    let theirs = || World::theirs(vec![web()], RoleOwnership::TakeOver);
    let tag = "ssmready.dev/cluster, ssmready.dev/owner";
    row(
        "good",
        theirs(),
        |_| {},
        &[(DRIFTED, "tags is somebody else's"), (PROFILE, "lacks the tags")],
        &[
            &format!("tag role web-role with CostCenter, {tag}"),
            &format!("tag instance profile web-profile with CostCenter, {tag}"),
        ],
    );
    let mut world = theirs();
    world.other();
    world.posture.guardrails.boundary = Some(BOUNDARY.into());
    world.role("web-role").trust = trust(&["lambda.amazonaws.com"]);
    world.role("web-role").policies = [ADMIN.into()].into();
    world.profile().role = Some("other".into());
    row(
        "with more than the guardrails allow",
        world.clone(),
        |_| {},
        &[
            (
                "Roles Fail GuardrailViolated",
                "is not taken over: it carries arn:aws:iam::aws:policy/AdministratorAccess",
            ),
            WAITS,
        ],
        &[],
    );
    let mut inlined = theirs();
    inlined.role("web-role").inline.insert("theirs".into(), None);
    inlined.role("web-role").inline.insert(INLINE_POLICY.into(), None);
    row(
        "with an inline policy: all but that of our name, which becomes what is declared",
        inlined,
        |_| {},
        &[("Roles Fail GuardrailViolated", "is not taken over: it carries theirs (inline), which")],
        &[],
    );
    world.posture.guardrails.policies.insert(ADMIN.into());
    world.read();
    let kinds: Vec<String> =
        calls(&world.judge().actions).iter().map(|c| c.split(' ').next().unwrap().into()).collect();
    assert_eq!(kinds, ["tag", "bound", "change", "attach", "attach", "tag", "take", "put"]);
    world.settle();
    row("then", world, |_| {}, &[("Roles Warn UnexpectedPolicies", "AdministratorAccess")], &[]);
    row(
        "in another place",
        theirs(),
        |w| w.role("web-role").path = "/".into(),
        &[("Roles Fail RolePathDiffers", "role web-role has the path /, and /ssm-ready/ is declared")],
        &[],
    );
    row(
        "not there: made",
        World::theirs(vec![host()], RoleOwnership::TakeOver),
        |w| w.iam.roles.clear(),
        &[(MISSING, "")],
        &["create role /service-role/host-role", "attach AmazonSSMManagedEC2InstanceDefaultPolicy to role host-role"],
    );
}

#[test]
fn a_role_that_is_only_added_to_loses_nothing() {
    let theirs = || World::theirs(vec![web()], RoleOwnership::AttachOnly);
    row("good", theirs(), |_| {}, &[], &[]);
    row(
        "not there",
        theirs(),
        |w| w.iam.roles.clear(),
        &[(
            "Roles Fail RoleNotFound",
            "account 111122223333 has no role web-role, and ownership is AttachOnly: create the role",
        )],
        &[],
    );
    row(
        "lacks one, carries others, has other tags and a wider trust",
        theirs(),
        |w| {
            let role = w.role("web-role");
            role.policies = [ADMIN.into(), aws_policy("aws", "AmazonSSMPatchAssociation")].into();
            role.inline.insert("theirs".into(), None);
            role.inline.insert(INLINE_POLICY.into(), Some("{}".into()));
            role.trust = trust(&["ec2.amazonaws.com", "lambda.amazonaws.com"]);
        },
        &[(DRIFTED, "policies is without"), ("Roles Warn UnexpectedPolicies", "theirs (inline)")],
        &[CORE],
    );
    row(
        "does not serve",
        theirs(),
        |w| {
            w.role("web-role").trust = trust(&["lambda.amazonaws.com"]);
            w.role("web-role").policies.clear();
            w.iam.profiles.clear();
        },
        &[
            (
                "Roles Fail RoleTrustWrong",
                "role web-role does not trust ec2.amazonaws.com, and ownership is AttachOnly",
            ),
            WAITS,
        ],
        &[],
    );
    row(
        "without the boundary nothing is given to it",
        theirs(),
        |w| {
            w.posture.guardrails.boundary = Some(BOUNDARY.into());
            w.role("web-role").policies.clear();
        },
        &[(RAILS, "does not have the permissions boundary of the guardrails")],
        &[],
    );
    row(
        "in another place",
        theirs(),
        |w| w.role("web-role").path = "/".into(),
        &[("Roles Fail RolePathDiffers", "")],
        &[],
    );
    row("without profile", theirs(), |w| w.iam.profiles.clear(), &[(NO_PROFILE, "")], &MAKE_PROFILE);
    // What is not written is said.
    let mut world = theirs();
    keys(world.wish());
    world.read();
    let verdict = world.judge();
    assert_eq!(verdict.actions, []);
    assert!(verdict.checks.iter().any(|c| c.message.contains("no statements for buckets, keys and logs are written")));
    // Only what we attached is detached.
    let mut world = theirs();
    world.posture.guardrails.policies.insert(EXTRA.into());
    world.wish().extra.insert(EXTRA.into());
    world.role("web-role").policies.remove(&aws_policy("aws", "AmazonSSMManagedInstanceCore"));
    assert_eq!(world.settle(), 2);
    *world.wish() = RoleWish { ownership: RoleOwnership::AttachOnly, ..web() };
    let Purpose::Instances { capabilities, .. } = &mut world.wish().purpose else { panic!() };
    capabilities.remove(&Capability::Patching);
    row(
        "its own, and not theirs",
        world,
        |_| {},
        &[
            (DRIFTED, "without arn:aws:iam::111122223333:policy/extra"),
            ("Roles Warn UnexpectedPolicies", "AmazonSSMPatchAssociation"),
        ],
        &["detach arn:aws:iam::111122223333:policy/extra from role web-role"],
    );
}

#[test]
fn a_role_is_called_as_declared_only_if_all_of_it_is() {
    let said = |mut world: World| -> Vec<String> {
        world.read();
        let checks = world.judge().checks.into_iter().filter(|check| check.outcome == Outcome::Pass);
        checks.map(|check| check.message).filter(|message| message.starts_with("role web-role")).collect()
    };
    let made = || World::made(vec![web()]);
    assert_eq!(said(made()), ["role web-role is as declared"]);
    let mut with_statements = made();
    keys(with_statements.wish());
    with_statements.settle();
    assert_eq!(said(with_statements), ["role web-role is as declared"]);
    let theirs = World::theirs(vec![web()], RoleOwnership::AttachOnly);
    assert_eq!(said(theirs), ["role web-role, which is somebody else's, is as declared"]);
    let changes: [fn(&mut Role); 3] = [
        |role| role.policies.clear(),
        |role| role.trust = trust(&["lambda.amazonaws.com"]),
        |role| drop(role.tags.remove("CostCenter")),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = made();
        change(world.role("web-role"));
        assert_eq!(said(world), [""; 0], "{number}");
    }
}

#[test]
fn whose_a_role_is_is_remembered_while_it_is_there() {
    for (managed, existed, tagged, expected) in [
        (false, false, true, true),
        (true, true, true, true),
        // Its tags were taken off: they may be restored.
        (true, true, false, true),
        // It was never seen to be ours: somebody else was faster with the name.
        (true, false, false, false),
        (false, true, false, false),
        (false, false, false, false),
    ] {
        let mut world = World::made(vec![web()]);
        if !tagged {
            world.role("web-role").tags.clear();
        }
        let kept = world.memory.roles.get_mut("web").unwrap();
        (kept.managed, kept.existed) = (managed, existed);
        world.read();
        let seen = world.judge().seen.memory.roles["web"].clone();
        assert_eq!((seen.managed, seen.existed), (expected, true), "{managed} {existed} {tagged}");
    }
}

#[test]
fn what_was_only_meant_to_be_attached_is_not_detached() {
    let attach_only = RoleWish { ownership: RoleOwnership::AttachOnly, ..web() };
    let mut world = World::theirs(vec![web()], RoleOwnership::AttachOnly);
    world.posture.guardrails.policies.insert(EXTRA.into());
    world.wish().extra.insert(EXTRA.into());
    // Noted, and refused.
    world.pass(1);
    assert!(world.memory.roles["web"].attaching.contains(&EXTRA.into()));
    *world.wish() = attach_only.clone();
    world.pass(usize::MAX);
    world.role("web-role").policies.insert(EXTRA.into());
    row("somebody else attached it", world, |_| {}, &[("Roles Warn UnexpectedPolicies", EXTRA)], &[]);
    // What we attached and somebody took away, or deleted with its role, is theirs when it comes back.
    for deleted in [false, true] {
        let mut world = World::theirs(vec![web()], RoleOwnership::AttachOnly);
        world.posture.guardrails.policies.insert(EXTRA.into());
        world.wish().extra.insert(EXTRA.into());
        world.settle();
        *world.wish() = attach_only.clone();
        let mut role = world.role("web-role").clone();
        if deleted {
            world.iam.roles.clear();
        } else {
            world.role("web-role").policies.remove(&EXTRA.into());
        }
        assert_eq!(world.pass(usize::MAX), 0);
        role.policies.insert(EXTRA.into());
        world.iam.roles.insert("web-role".into(), role);
        row("back", world, |_| {}, &[("Roles Warn UnexpectedPolicies", EXTRA)], &[]);
    }
    // Noted and carried out, the answer lost, and by then no longer declared.
    let mut world = World::theirs(vec![web()], RoleOwnership::AttachOnly);
    world.posture.guardrails.policies.insert(EXTRA.into());
    world.wish().extra.insert(EXTRA.into());
    world.pass(usize::MAX);
    *world.wish() = attach_only;
    let detach = format!("detach {EXTRA} from role web-role");
    row("ours", world, |_| {}, &[(DRIFTED, "")], &[detach.as_str()]);
}

#[test]
fn guardrails_hold_whatever_is_declared() {
    for there in [false, true] {
        for ownership in [RoleOwnership::Create, RoleOwnership::AttachOnly, RoleOwnership::TakeOver] {
            let world = || {
                let mut world = if there { World::made(vec![web()]) } else { World::new(vec![web()]) };
                world.wish().ownership = ownership;
                if there {
                    world.role("web-role").policies.clear();
                    world.iam.profiles.clear();
                }
                world
            };
            let extra = (
                RAILS,
                "web: extraManagedPolicies has arn:aws:iam::aws:policy/AdministratorAccess, which guardrails.managedPolicies",
            );
            row("a policy", world(), |w| w.wish().extra.insert(ADMIN.into()), &[extra, WAITS], &[]);
            let path = (
                RAILS,
                "web: the path /ssm-ready/ does not begin with any of guardrails.rolePathPrefixes of the AwsAccount (/a/, /ssm-ready/x)",
            );
            let paths = || Some(vec!["/a/".to_owned(), "/ssm-ready/x".to_owned()]);
            row("a path", world(), |w| w.posture.guardrails.paths = paths(), &[path, WAITS], &[]);
            row(
                "no path at all",
                world(),
                |w| w.posture.guardrails.paths = Some(vec![]),
                &[(RAILS, "(none)"), WAITS],
                &[],
            );
        }
    }
    let mut world = World::new(vec![web()]);
    world.posture.guardrails.paths = Some(vec!["/x/".into(), "/ssm-ready/".into()]);
    world.posture.guardrails.policies = [EXTRA.into()].into();
    world.wish().extra = [EXTRA.into(), aws_policy("aws", "AmazonSSMPatchAssociation")].into();
    assert_eq!(world.settle(), 6, "what the owner lists, and AWS's own for the purpose");
    // A policy of another purpose is not of this one.
    let policy = aws_policy("aws", "CloudWatchAgentServerPolicy");
    row("not asked for", world, |w| w.wish().extra.insert(policy), &[(RAILS, "CloudWatchAgentServerPolicy")], &[]);
}

#[test]
fn profiles_hold_their_role() {
    let made = || World::made(vec![web()]);
    let theirs = |edit: fn(&mut World)| {
        move |w: &mut World| {
            w.other();
            w.profile().tags.clear();
            edit(w);
        }
    };
    row(
        "emptied",
        made(),
        |w| w.profile().role = None,
        &[(PROFILE, "profile web-profile holds no role, and web-role is declared")],
        &MAKE_PROFILE[1..],
    );
    row(
        "another role",
        made(),
        |w| {
            w.other();
            w.profile().role = Some("other".into());
        },
        &[(PROFILE, "profile web-profile holds role other, and web-role is declared")],
        &["take role other out of instance profile web-profile", MAKE_PROFILE[1]],
    );
    row("deleted", made(), |w| w.iam.profiles.clear(), &[(NO_PROFILE, "")], &MAKE_PROFILE);
    row("somebody else's, with it", made(), theirs(|_| {}), &[], &[]);
    row(
        "somebody else's, with another",
        made(),
        theirs(|w| w.profile().role = Some("other".into())),
        &[(
            CONFLICT,
            "profile web-profile is somebody else's and holds role other, and web-role is declared: choose another profileName",
        )],
        &[],
    );
    row(
        "somebody else's, empty",
        made(),
        theirs(|w| w.profile().role = None),
        &[(CONFLICT, "is somebody else's and holds no role")],
        &[],
    );
    row(
        "unreadable",
        made(),
        |w| w.lost.insert(FactKey::Profile("web-profile".into()), true),
        &[("Profiles Unknown FactUnreadable", "GetInstanceProfile")],
        &[],
    );
    row(
        "not read again",
        made(),
        |w| {
            w.profile().role = None;
            w.failed.insert(FactKey::Profile("web-profile".into()))
        },
        &[(PROFILE, "")],
        &[],
    );
}

#[test]
fn what_takes_rights_away_is_named() {
    let disturbing = |world: &mut World| {
        world.read();
        let actions = plan(world.judge().actions).actions;
        let named = actions.into_iter().filter(|a| a.disrupts.is_some());
        named.map(|a| a.write.operation().to_string().rsplit(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut world = World::new(vec![web(), host()]);
    keys(world.wish());
    assert_eq!(disturbing(&mut world), [""; 0], "what is made takes nothing away");
    world.settle();
    world.other();
    world.posture.guardrails.boundary = Some(BOUNDARY.into());
    let Purpose::Instances { capabilities, .. } = &mut world.wish().purpose else { panic!() };
    capabilities.remove(&Capability::Patching);
    let role = world.role("web-role");
    role.trust = trust(&["lambda.amazonaws.com"]);
    role.inline.insert(INLINE_POLICY.into(), None);
    world.profile().role = Some("other".into());
    let all = [
        "PutRolePermissionsBoundary",
        "PutRolePermissionsBoundary",
        "UpdateAssumeRolePolicy",
        "PutRolePolicy",
        "RemoveRoleFromInstanceProfile",
        "DetachRolePolicy",
    ];
    assert_eq!(disturbing(&mut world), all);
}

// Statements.

fn inline(world: &World) -> Vec<(Vec<String>, Vec<String>)> {
    let text = statements::inline(&world.posture, &world.posture.roles[0]).unwrap().unwrap();
    assert_no_wildcard_bucket(&text);
    let document: Value = serde_json::from_str(&text).unwrap();
    let list = |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
    document["Statement"].as_array().unwrap().iter().map(|s| (list(&s["Action"]), list(&s["Resource"]))).collect()
}

fn bucket(name: &str, prefix: &str) -> OwnBucket {
    let bucket = name.into();
    OwnBucket { bucket, prefix: prefix.into(), write: false, encrypted: false, cross_account: false }
}

#[test]
fn statements_name_exactly_what_is_declared() {
    let mut world = World::new(vec![web()]);
    assert_eq!(statements::inline(&world.posture, &web()), Ok(None), "managed policies are enough");
    assert_eq!(statements::inline(&world.posture, &host()), Ok(None));
    let key = "arn:aws:kms:eu-west-1:111122223333:key/1";
    let Purpose::Instances { capabilities, bucket_regions, own_buckets, keys, .. } = &mut world.wish().purpose else {
        panic!()
    };
    capabilities.insert(Capability::CloudWatchLogging);
    bucket_regions.insert("me-south-1".into());
    keys.insert(key.into());
    *own_buckets = vec![
        bucket("read", ""),
        bucket("part", "a/b/"),
        OwnBucket { write: true, encrypted: true, ..bucket("logs", "payments") },
        OwnBucket { write: true, cross_account: true, ..bucket("far", "") },
        OwnBucket { cross_account: true, encrypted: true, ..bucket("far-read", "") },
    ];
    let of = |actions: &[&str], resources: &[&str]| {
        let list = |all: &[&str]| all.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        (list(actions), list(resources))
    };
    let aws: Vec<String> = super::buckets::buckets("me-south-1").unwrap();
    let aws: Vec<String> = aws.iter().map(|bucket| format!("arn:aws:s3:::{bucket}/*")).collect();
    let logs = "arn:aws:logs:*:111122223333:log-group:*";
    assert_eq!(
        inline(&world),
        [
            (vec!["s3:GetObject".to_owned()], aws),
            of(&["s3:GetObject"], &["arn:aws:s3:::read/*", "arn:aws:s3:::part/a/b/*", "arn:aws:s3:::far-read/*"]),
            of(&["s3:GetObject", "s3:PutObject"], &["arn:aws:s3:::logs/payments/*", "arn:aws:s3:::far/*"]),
            of(&["s3:PutObjectAcl"], &["arn:aws:s3:::far/*"]),
            of(&["s3:GetEncryptionConfiguration"], &["arn:aws:s3:::logs", "arn:aws:s3:::far"]),
            of(&["kms:Decrypt"], &[key]),
            of(&["kms:GenerateDataKey"], &[key]),
            of(&["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], &[logs]),
            of(&["logs:DescribeLogGroups"], &["*"]),
        ]
    );
    let Purpose::Instances { own_buckets, .. } = &mut world.wish().purpose else { panic!() };
    own_buckets.iter_mut().for_each(|own| own.write = false);
    let actions: BTreeSet<String> = inline(&world).into_iter().flat_map(|(actions, _)| actions).collect();
    for writes in ["s3:PutObject", "s3:PutObjectAcl", "s3:GetEncryptionConfiguration", "kms:GenerateDataKey"] {
        assert!(!actions.contains(writes), "{writes}");
    }
}

#[test]
fn statements_that_cannot_be_made_are_refused() {
    let regions = |all: &'static [&'static str]| {
        move |w: &mut World| {
            let Purpose::Instances { bucket_regions, .. } = &mut w.wish().purpose else { panic!() };
            bucket_regions.extend(all.iter().map(|region| (*region).to_owned()));
        }
    };
    for world in [World::new(vec![web()]), World::made(vec![web()])] {
        let mut expected = vec![(
            "Roles Fail BucketsUnknown",
            "web: AWS does not publish its buckets of ap-southeast-5, us-gov-west-1: remove the region from s3.awsBuckets.regions",
        )];
        if world.iam.profiles.is_empty() {
            expected.push(WAITS);
        }
        row("unknown", world, regions(&["us-gov-west-1", "eu-west-1", "ap-southeast-5"]), &expected, &[]);
    }
    let many = |count: usize| {
        let mut world = World::new(vec![web()]);
        let Purpose::Instances { own_buckets, .. } = &mut world.wish().purpose else { panic!() };
        *own_buckets = (0..count).map(|n| bucket(&format!("bucket-{n:03}"), "")).collect();
        world
    };
    let length = |count| match statements::inline(&many(count).posture, &many(count).posture.roles[0]) {
        Ok(text) => Ok(text.unwrap().len()),
        Err(refusal) => Err(refusal),
    };
    let most = (1..999).take_while(|count| length(*count).is_ok()).count();
    let each = length(2).unwrap() - length(1).unwrap();
    let longest = length(most).unwrap();
    assert!(longest <= 10_240 && longest + each > 10_240, "{longest}");
    assert_eq!(length(most + 1), Err(statements::Refusal::TooLong(longest + each)));
    let gist = format!("web: its statements take {} characters, and IAM allows 10240", longest + each);
    row("too long", many(most + 1), |_| {}, &[("Roles Fail PolicyTooLong", &gist), WAITS], &[]);
    assert_eq!(many(most).settle(), 6);
}

#[test]
fn china_has_its_own_names() {
    let mut world = World::new(vec![web(), host()]);
    world.posture.partition = "aws-cn".into();
    keys(world.wish());
    let Purpose::Instances { own_buckets, .. } = &mut world.wish().purpose else { panic!() };
    own_buckets.push(bucket("ours", ""));
    world.settle();
    assert_eq!(inline(&world)[0].1, ["arn:aws-cn:s3:::ours/*"]);
    let role = world.role("web-role").clone();
    assert!(role.policies.iter().all(|policy| policy.as_str().starts_with("arn:aws-cn:iam::aws:policy/")));
    assert!(trusts(&role.trust, "ec2.amazonaws.com.cn") && trusts(&role.trust, "ec2.amazonaws.com"));
    assert!(trusts(&world.role("host-role").trust.clone(), "ssm.amazonaws.com"));
    world.wish().ownership = RoleOwnership::AttachOnly;
    for (service, good) in [("ec2.amazonaws.com", true), ("ec2.amazonaws.com.cn", true), ("ssm.amazonaws.com", false)] {
        world.role("web-role").trust = trust(&[service]);
        world.read();
        assert_eq!(said(&world.judge()).is_empty(), good, "either of the two: {service}");
    }
}

#[test]
fn purposes_have_their_policies() {
    let of = |capability| {
        let mut wish = web();
        let Purpose::Instances { capabilities, .. } = &mut wish.purpose else { panic!() };
        *capabilities = [capability].into();
        let names = |policy: &PolicyArn| policy.as_str().rsplit('/').next().unwrap().to_owned();
        wish.policies("aws").iter().map(names).collect::<Vec<_>>().join(" ")
    };
    for (capability, policies) in [
        (Capability::SessionManager, "AmazonSSMManagedInstanceCore"),
        (Capability::Patching, "AmazonSSMManagedInstanceCore AmazonSSMPatchAssociation"),
        (Capability::CloudWatchAgent, "AmazonSSMManagedInstanceCore CloudWatchAgentServerPolicy"),
        (Capability::DirectoryJoin, "AmazonSSMDirectoryServiceAccess AmazonSSMManagedInstanceCore"),
        (Capability::VssSnapshots, "AWSEC2VssSnapshotPolicy AmazonSSMManagedInstanceCore"),
    ] {
        assert_eq!(of(capability), policies);
    }
}

// What is remembered, and crashes.

#[test]
fn roles_that_are_no_longer_declared_are_forgotten() {
    let mut world = World::made(vec![web(), host()]);
    assert_eq!(world.memory.roles.len(), 2);
    world.posture.roles.pop();
    world.settle();
    assert_eq!(world.memory.roles.keys().collect::<Vec<_>>(), ["web"]);
}

#[test]
fn a_crash_at_any_point_ends_in_the_same_state() {
    let life = |world: &mut World, chapter: usize| {
        let Purpose::Instances { capabilities, .. } = &mut world.wish().purpose else { panic!() };
        match chapter {
            1 => {
                capabilities.remove(&Capability::Patching);
                keys(world.wish());
                world.wish().extra.insert(EXTRA.into());
            }
            2 => {
                capabilities.insert(Capability::CloudWatchAgent);
                world.wish().extra.clear();
                world.profile().role = None;
            }
            _ => {}
        }
    };
    let attach_only = World::theirs(vec![web()], RoleOwnership::AttachOnly);
    let taken = World::theirs(vec![web(), host()], RoleOwnership::TakeOver);
    for mut first in [World::new(vec![web(), host()]), attach_only, taken] {
        first.posture.guardrails.policies.insert(EXTRA.into());
        if let Some(role) = first.iam.roles.get_mut(&"web-role".into()) {
            role.policies.clear();
            first.profile().role = None;
            first.profile().tags = first.posture.owner.tags();
        }
        let mut calm = first.clone();
        for chapter in 0..3 {
            life(&mut calm, chapter);
            calm.settle();
        }
        for (at_chapter, steps) in (0..3).flat_map(|c| (0..11).map(move |s| (c, s))) {
            for at_pass in 0..3 {
                let mut world = first.clone();
                for chapter in 0..3 {
                    life(&mut world, chapter);
                    if chapter == at_chapter {
                        (0..at_pass).for_each(|_| drop(world.pass(usize::MAX).to_string()));
                        world.pass(steps);
                    }
                    world.settle();
                }
                let what = format!("chapter {at_chapter}, pass {at_pass}, step {steps}");
                assert_eq!(world.iam, calm.iam, "{what}");
                assert_eq!(world.memory, calm.memory, "{what}");
            }
        }
    }
}

// Leaving.

fn leaving(mut world: World, policy: AccountDeletion) -> World {
    world.posture.deletion_policy = policy;
    world
}

#[test]
fn retained_roles_lose_their_owner_and_nothing_else() {
    let mut world = leaving(World::made(vec![web(), host()]), AccountDeletion::Retain);
    world.setting = Some("service-role/host-role".into());
    world.lost.insert(DHM, true);
    let mut expected = world.iam.clone();
    for tags in
        expected.roles.values_mut().map(|r| &mut r.tags).chain(expected.profiles.values_mut().map(|p| &mut p.tags))
    {
        tags.remove(OWNER_TAG);
    }
    let left = world.leave();
    assert_eq!(world.iam, expected);
    assert_eq!(
        left.into_iter().collect::<Vec<_>>(),
        [
            "arn:aws:iam::111122223333:instance-profile/ssm-ready/web-profile",
            "arn:aws:iam::111122223333:role/service-role/host-role",
            "arn:aws:iam::111122223333:role/ssm-ready/web-role"
        ]
    );
}

#[test]
fn what_may_be_new_is_gone_only_by_what_is_read_late_enough() {
    const ROLE: &str = "role web-role may have been made a moment ago, and IAM does not show it yet";
    const PROFILE: &str = "instance profile web-profile may have been made a moment ago, and IAM does not show it yet";
    let noted = |managed, existed, doubt_until: Option<i64>| RoleMemory {
        role: "web-role".into(),
        profile: Some("web-profile".into()),
        managed,
        existed,
        doubt_until: doubt_until.map(at),
        ..RoleMemory::default()
    };
    // Facts are read at 0.
    for (kept, pending) in [
        (noted(true, false, Some(1)), vec![ROLE, PROFILE]),
        // IAM shows what is new now, and then does not.
        (noted(true, true, Some(1)), vec![ROLE, PROFILE]),
        (noted(false, false, Some(1)), vec![PROFILE]),
        (noted(true, false, Some(0)), vec![]),
        (noted(true, false, None), vec![]),
    ] {
        let mut world = leaving(World::new(vec![web()]), AccountDeletion::Delete);
        world.memory.roles.insert("web".into(), kept.clone());
        let next = world.farewell();
        assert_eq!(next.pending, pending, "{kept:?}");
        assert_eq!(next.is_done(), pending.is_empty(), "{kept:?}");
        assert_eq!(next.watch.len(), pending.len(), "{kept:?}");
        // What is shown needs no proof.
        let mut made = leaving(World::made(vec![web()]), AccountDeletion::Delete);
        made.memory.roles.insert("web".into(), kept);
        assert_eq!(made.farewell().pending, Vec::<String>::new());
    }
}

#[test]
fn deleted_roles_go_with_all_that_they_carry() {
    let mut world = leaving(World::made(vec![web(), host()]), AccountDeletion::Delete);
    world.role("web-role").policies.insert(ADMIN.into());
    world.role("web-role").inline.insert("theirs".into(), None);
    let next = world.farewell();
    let kinds: Vec<String> = calls(&next.actions).into_iter().filter(|call| !call.contains("host-role")).collect();
    assert_eq!(
        kinds,
        [
            "take role web-role out of instance profile web-profile",
            "delete instance profile web-profile",
            "delete inline policy theirs of role web-role",
            "detach AdministratorAccess from role web-role",
            "detach AmazonSSMManagedInstanceCore from role web-role",
            "detach AmazonSSMPatchAssociation from role web-role",
            "delete role web-role",
        ]
    );
    assert_eq!(world.leave(), BTreeSet::new());
    assert_eq!(world.iam, Iam::default());
    // Nothing was made, or it is gone already.
    assert!(leaving(World::new(vec![web(), host()]), AccountDeletion::Delete).farewell().is_done());
    // Somebody else's stays.
    for ownership in [RoleOwnership::Create, RoleOwnership::TakeOver, RoleOwnership::AttachOnly] {
        let mut theirs = leaving(World::theirs(vec![web(), host()], ownership), AccountDeletion::Delete);
        let before = theirs.iam.clone();
        theirs.leave();
        assert_eq!(theirs.iam, before);
    }
}

#[test]
fn what_is_about_to_be_made_is_noted_before_the_call() {
    let mut world = World::new(vec![web()]);
    world.read();
    let verdict = world.judge();
    let before = &verdict.seen.memory.roles["web"];
    assert!(!before.managed && before.attaching.is_empty());
    let noted = note_ahead(&verdict).roles["web"].clone();
    assert!(noted.managed, "whose it is, if no answer comes");
    let attached = verdict.actions.iter().filter_map(|action| match &action.write {
        Write::Role { change: RoleChange::Attach(policy), .. } => Some(policy.clone()),
        _ => None,
    });
    assert_eq!(noted.attaching, attached.collect());
    assert_eq!((noted.role.as_str(), noted.profile), ("web-role", Some("web-profile".into())));
}

fn noted(role: &str, profile: Option<&str>) -> RoleMemory {
    RoleMemory { role: role.into(), profile: profile.map(Into::into), managed: true, ..RoleMemory::default() }
}

fn memory(entries: Vec<(&str, RoleMemory)>) -> AccountMemory {
    AccountMemory { roles: entries.into_iter().map(|(name, kept)| (name.to_owned(), kept)).collect() }
}

#[test]
fn what_an_entry_meant_before_an_edit_is_set_aside() {
    let as_declared = || noted("web-role", Some("web-profile"));
    let attached = |kept: RoleMemory| RoleMemory { attached: [EXTRA.into()].into(), ..kept };
    let (other_role, other_profile) =
        (|| noted("old-role", Some("web-profile")), || attached(noted("web-role", Some("old-profile"))));
    for (before, after) in [
        (vec![], vec![]),
        (vec![("web", attached(as_declared()))], vec![("web", attached(as_declared()))]),
        // What nobody declares is not ours to set aside, whatever it is.
        (vec![("gone", other_role())], vec![("gone", other_role())]),
        (vec![("web", other_role())], vec![("~0", other_role())]),
        (
            vec![("~0", noted("older", None)), ("web", other_role())],
            vec![("~0", noted("older", None)), ("~1", other_role())],
        ),
        // The role is the same: what was attached to it is still known by its name.
        (vec![("web", other_profile())], vec![("web", attached(as_declared())), ("~0", other_profile())]),
        (vec![("web", noted("web-role", None))], vec![("web", as_declared()), ("~0", noted("web-role", None))]),
        (
            vec![("host-management", noted("host-role", Some("p"))), ("web", other_role())],
            vec![
                ("host-management", noted("host-role", None)),
                ("~0", noted("host-role", Some("p"))),
                ("~1", other_role()),
            ],
        ),
    ] {
        let posture = posture(vec![host(), web()]);
        let once = set_aside(&posture, memory(before.clone()));
        assert_eq!(once, memory(after), "{before:?}");
        assert_eq!(set_aside(&posture, once.clone()), once, "once is enough: {before:?}");
    }
}

#[test]
fn what_is_remembered_and_not_declared() {
    let nothing = |role: &str| RoleMemory { managed: false, ..noted(role, None) };
    let attached = RoleMemory { attached: [EXTRA.into()].into(), ..nothing("r") };
    let attaching = RoleMemory { attaching: [EXTRA.into()].into(), ..nothing("r") };
    let profile_alone = RoleMemory { managed: false, ..noted("r", Some("p")) };
    // Whether it is left, whether it was made, the profile that goes with it, and whether the profile goes alone.
    for (name, kept, expected) in [
        ("web", noted("r", Some("p")), None),
        ("old", nothing("r"), None),
        ("old", noted("r", None), Some((true, None, false))),
        ("old", noted("r", Some("p")), Some((true, Some("p"), false))),
        ("old", attached, Some((false, None, false))),
        ("old", attaching, Some((false, None, false))),
        ("old", profile_alone, Some((false, Some("p"), false))),
        // Names differ in more than upper and lower case.
        ("old", noted("Web-Role", Some("p")), Some((true, Some("p"), true))),
        ("old", noted("Web-Role", None), None),
        ("old", noted("WEB-role", Some("Web-Profile")), None),
        ("old", noted("r", Some("WEB-profile")), Some((true, None, false))),
    ] {
        let posture = posture(vec![host(), web()]);
        let memory = memory(vec![(name, kept.clone())]);
        let found = posture.undeclared(&memory);
        let told = found.iter().map(|wish| {
            assert_eq!((wish.name.as_str(), &wish.role), (name, &kept.role));
            let made = wish.ownership == RoleOwnership::Create;
            assert!(made || wish.ownership == RoleOwnership::AttachOnly);
            let profile = wish.profile().map(ProfileName::as_str);
            (made, profile, matches!(wish.purpose, Purpose::Profile(_)))
        });
        assert_eq!(told.collect::<Vec<_>>(), Vec::from_iter(expected), "{name}: {kept:?}");
        let all = everything(&posture, &memory).roles;
        assert_eq!((all.len(), &all[..2]), (2 + found.len(), &posture.roles[..]));
    }
}

#[test]
fn what_is_no_longer_declared_goes_or_is_let_go_and_is_remembered_until_then() {
    let undeclared = |policy| {
        let mut world = leaving(World::made(vec![web(), host()]), policy);
        world.posture.roles.retain(|wish| wish.name != "web");
        world
    };
    let told = |verdict: &Verdict<AccountSeen>| -> Vec<(Facet, Reason, String)> {
        let checks = verdict.checks.iter().filter(|check| check.outcome != Outcome::Pass);
        checks.map(|check| (check.facet, check.reason, check.message.clone())).collect()
    };
    let mut world = undeclared(AccountDeletion::Delete);
    let verdict = world.tidied();
    let said = told(&verdict);
    assert_eq!(said.len(), verdict.actions.len(), "{said:?}");
    for (facet, reason, message) in &said {
        let expected = match facet {
            Facet::Roles => Reason::RoleDrifted,
            Facet::Profiles => Reason::ProfileDrifted,
            other => panic!("{other:?}"),
        };
        assert_eq!(*reason, expected, "{message}");
        assert!(message.starts_with("web is no longer declared: "), "{message}");
    }
    assert!(said.iter().any(|(facet, ..)| *facet == Facet::Profiles), "{said:?}");
    assert!(verdict.watch.contains(&FactKey::Role("web-role".into())), "{:?}", verdict.watch);
    assert!(verdict.seen.memory.roles.contains_key("web"));

    // In no region it can be told whether it is used: nothing is taken away on that word.
    world.read();
    let mut dark = world.judge();
    let left = tidy(&world.posture, &world.view(), &world.memory, &[], &mut dark);
    let why = "web is no longer declared, and stays for now: the regions of the account are not known";
    assert_eq!((told(&dark), left), (vec![(Facet::Roles, Reason::RoleInUse, why.to_owned())], vec![]));
    assert!(dark.actions.is_empty() && dark.seen.memory.roles.contains_key("web"));

    // Once it is gone it is forgotten, with or without a word of regions.
    plan(verdict.actions).actions.iter().for_each(|action| world.iam.write(&action.write));
    world.read();
    for regions in [true, false] {
        let verdict = if regions {
            world.tidied()
        } else {
            let mut verdict = world.judge();
            tidy(&world.posture, &world.view(), &world.memory, &[], &mut verdict);
            verdict
        };
        assert_eq!(told(&verdict), []);
        assert!(!verdict.seen.memory.roles.contains_key("web"));
    }

    // What is let go needs no word of regions, and is named.
    let mut world = undeclared(AccountDeletion::Retain);
    world.read();
    let mut verdict = world.judge();
    let left = tidy(&world.posture, &world.view(), &world.memory, &[], &mut verdict);
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(calls(&verdict.actions).len(), 2, "{:?}", verdict.actions);
    assert!(told(&verdict).iter().all(|(.., message)| message.starts_with("web is no longer declared: ")));

    // What may have been made a moment ago is waited for.
    let mut world = undeclared(AccountDeletion::Delete);
    world.iam = Iam {
        roles: world.iam.roles.into_iter().filter(|(name, _)| *name == "host-role".into()).collect(),
        ..Iam::default()
    };
    world.memory.roles.get_mut("web").unwrap().doubt_until = Some(at(1));
    let said = told(&world.tidied());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|(facet, reason, _)| (*facet, *reason) == (Facet::Roles, Reason::RolePending)), "{said:?}");
}

#[test]
fn a_role_that_is_no_longer_declared_stays_while_it_is_used_or_held() {
    let undeclared = || {
        let mut world = leaving(World::made(vec![web(), host()]), AccountDeletion::Delete);
        world.posture.roles.retain(|wish| wish.name != "web");
        world
    };
    let goes = |verdict: &Verdict<AccountSeen>| calls(&verdict.actions).contains(&"delete role web-role".to_owned());
    let told = |verdict: &Verdict<AccountSeen>| -> Vec<String> {
        let checks = verdict.checks.iter().filter(|c| c.reason == Reason::RoleInUse);
        checks.map(|c| format!("{:?}: {}", c.outcome, c.message)).collect()
    };
    let arn = "arn:aws:iam::111122223333:instance-profile/ssm-ready/web-profile";
    let mut world = undeclared();
    world.instances = vec![instance(Some(arn.to_owned()))];
    let verdict = world.tidied();
    assert!(!goes(&verdict), "{:?}", verdict.actions);
    let [message] = told(&verdict).try_into().unwrap();
    assert!(
        message.starts_with("Warn: web is no longer declared, and stays for now: instance i-1 in eu-west-1"),
        "{message}"
    );
    assert!(verdict.seen.memory.roles.contains_key("web"));
    // Not used, it goes; what AWS does not let go is told in place of its deletion.
    let mut verdict = undeclared().tidied();
    assert!(goes(&verdict), "{:?}", verdict.actions);
    assert_eq!(told(&verdict), [""; 0]);
    let (checks, actions) = (verdict.checks.len(), verdict.actions.len());
    hold(&mut verdict, &"web-role".into());
    assert!(!goes(&verdict), "{:?}", verdict.actions);
    let [message] = told(&verdict).try_into().unwrap();
    assert!(message.starts_with("Warn: role web-role cannot be deleted, since an instance profile"), "{message}");
    assert!(!verdict.checks.iter().any(|c| c.message.ends_with("delete role web-role")));
    // Nothing else is: one check is told in another's place.
    assert_eq!((verdict.checks.len(), verdict.actions.len()), (checks, actions - 1));
}

#[test]
fn a_role_in_use_stays_whole() {
    let made = || leaving(World::made(vec![web(), host()]), AccountDeletion::Delete);
    let arn = "arn:aws:iam::111122223333:instance-profile/ssm-ready/web-profile".to_owned();
    let other = "arn:aws:iam::111122223333:instance-profile/web-profile".to_owned();
    let stays = |mut world: World, used: &str, role: &str| {
        let next = world.farewell();
        assert!(next.used.iter().any(|u| u.contains(used)), "{next:?}");
        assert!(!next.is_done());
        assert!(!calls(&next.actions).iter().any(|call| call.contains(role)), "{next:?}");
    };
    let mut world = made();
    world.setting = Some("service-role/host-role".into());
    stays(world, "role host-role is that of Default Host Management in eu-west-1", "host-role");
    let mut world = made();
    world.instances = vec![instance(Some(arn.clone())), instance(Some(other.clone())), instance(None)];
    stays(world, &format!("instance i-1 in eu-west-1 has profile {arn}"), "web-role");
    let mut world = made();
    let many = (1..5).map(|number| Instance { id: format!("i-{number}").into(), ..instance(Some(arn.clone())) });
    world.instances = many.collect();
    stays(world, &format!("4 instances in eu-west-1 have profile {arn}: i-1, i-2, i-3"), "web-role");
    assert_eq!(wanted_of_regions(), [DHM, FactKey::Instances].into(), "what that is told by");
    // In a profile of somebody else, whose instances are not known by it.
    let mut world = made();
    world.profile().tags.clear();
    stays(world, "role web-role is in instance profile web-profile, which is somebody else's", "web-role");
    // Somebody else's uses are none of ours.
    let mut world = made();
    world.setting = Some("host-role".into());
    world.instances = vec![instance(Some(other)), instance(None)];
    assert_eq!(world.leave(), BTreeSet::new());
    for key in [DHM, FactKey::Instances] {
        for how in 0..3 {
            let mut world = made();
            world.posture.roles.pop();
            match how {
                0 => drop(world.failed.insert(key.clone()).to_string()),
                n => drop(world.lost.insert(key.clone(), n == 1).map(|_| String::new())),
            }
            let next = world.farewell();
            assert_eq!((next.actions.len(), next.unknown.is_empty()), (0, false), "{key:?}");
        }
    }
    for key in [FactKey::Role("web-role".into()), FactKey::Profile("web-profile".into())] {
        for policy in [AccountDeletion::Delete, AccountDeletion::Retain] {
            for how in 0..3 {
                let mut world = leaving(World::made(vec![web()]), policy);
                match how {
                    0 => drop(world.failed.insert(key.clone()).to_string()),
                    n => drop(world.lost.insert(key.clone(), n == 1).map(|_| String::new())),
                }
                let next = world.farewell();
                assert_eq!((next.actions.len(), next.unknown.is_empty()), (0, false), "{key:?} {policy:?}");
            }
        }
    }
}

#[test]
fn what_was_added_to_somebody_elses_role_goes_again() {
    let added = |policy| {
        let mut world = World::theirs(vec![web()], RoleOwnership::AttachOnly);
        world.role("web-role").policies.remove(&aws_policy("aws", "AmazonSSMManagedInstanceCore"));
        assert_eq!(world.settle(), 1);
        leaving(world, policy)
    };
    let mut world = added(AccountDeletion::Delete);
    let detach = "detach AmazonSSMManagedInstanceCore from role web-role";
    assert_eq!(calls(&world.farewell().actions), [detach]);
    let mut open = world.clone();
    let kept = open.memory.roles.get_mut("web").unwrap();
    kept.attaching = std::mem::take(&mut kept.attached);
    assert_eq!(calls(&open.farewell().actions), [detach], "attached, and not read back");
    let mut both = world.clone();
    let kept = both.memory.roles.get_mut("web").unwrap();
    kept.attaching.clone_from(&kept.attached);
    assert_eq!(calls(&both.farewell().actions), [detach], "attached once, and about to be again");
    world.leave();
    assert!(world.role("web-role").policies.contains(&aws_policy("aws", "AmazonSSMPatchAssociation")));
    let left = added(AccountDeletion::Retain).leave();
    let policy = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore on role web-role";
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [policy]);
}

#[test]
fn nothing_is_taken_away_on_an_old_word() {
    const WHY: &str = "role web-role or its profile could not be read again";
    let ours = || World::made(vec![web()]);
    let our_role = || {
        let mut world = ours();
        world.iam.profiles.clear();
        world
    };
    let our_profile = || {
        let mut world = ours();
        world.role("web-role").tags.clear();
        world
    };
    let added = || {
        let mut world = World::theirs(vec![web()], RoleOwnership::AttachOnly);
        world.role("web-role").policies.clear();
        world.settle();
        world
    };
    let theirs = || World::theirs(vec![web()], RoleOwnership::AttachOnly);
    for (what, world, delete, retain) in [
        ("all", ours(), true, true),
        ("the role", our_role(), true, true),
        ("the profile", our_profile(), true, true),
        // Under Retain it stays without any call.
        ("what was attached", added(), true, false),
        ("nothing", theirs(), false, false),
    ] {
        for (policy, writes) in [(AccountDeletion::Delete, delete), (AccountDeletion::Retain, retain)] {
            for fact in [FactKey::Role("web-role".into()), FactKey::Profile("web-profile".into())] {
                let mut world = leaving(world.clone(), policy);
                assert_eq!(!world.farewell().actions.is_empty(), writes, "{what} {policy:?}");
                world.failed.insert(fact.clone());
                let next = world.farewell();
                assert_eq!(next.actions, [], "{what} {policy:?} {fact:?}");
                let why: &[&str] = if writes { &[WHY] } else { &[] };
                assert_eq!(next.unknown, why, "{what} {policy:?} {fact:?}");
            }
        }
    }
}

// Any world.

/// Chooses by bytes, so that a smaller input is a simpler world.
#[derive(Debug)]
struct Dice(Vec<u8>);

impl Dice {
    fn of(&mut self, sides: u8) -> u8 {
        self.0.pop().unwrap_or_default() % sides
    }

    fn flip(&mut self) -> bool {
        self.of(2) == 1
    }

    fn policies(&mut self) -> BTreeSet<PolicyArn> {
        let all = ["AmazonSSMManagedInstanceCore", "AmazonSSMPatchAssociation", HOST_MANAGEMENT_POLICY];
        let all = all.iter().map(|name| aws_policy("aws", name)).chain([EXTRA.into(), ADMIN.into()]);
        all.filter(|_| self.flip()).collect()
    }

    fn tags(&mut self, owner: &Owner) -> Tags {
        match self.of(3) {
            0 => Tags::new(),
            1 => owner.tags(),
            _ => Owner { name: "another".into(), ..owner.clone() }.tags(),
        }
    }

    fn world(&mut self) -> World {
        let mut world = World::new(vec![web(), host()]);
        let owner = world.posture.owner.clone();
        world.posture.deletion_policy = if self.flip() { AccountDeletion::Delete } else { AccountDeletion::Retain };
        world.posture.guardrails = Guardrails {
            policies: if self.flip() { [EXTRA.into()].into() } else { BTreeSet::new() },
            paths: [None, None, Some(vec!["/ssm-ready/".into()]), Some(vec![])][usize::from(self.of(4))].clone(),
            boundary: self.flip().then(|| BOUNDARY.into()),
        };
        for at in 0..2 {
            let wish = &mut world.posture.roles[at];
            let all = [RoleOwnership::Create, RoleOwnership::AttachOnly, RoleOwnership::TakeOver];
            wish.ownership = all[usize::from(self.of(3))];
            if self.of(3) == 2 {
                wish.extra.insert(if self.flip() { EXTRA.into() } else { ADMIN.into() });
            }
            if let Purpose::Instances { bucket_regions, keys, own_buckets, .. } = &mut wish.purpose {
                match self.of(5) {
                    1 => drop(bucket_regions.insert("cn-north-1".into()).to_string()),
                    2 => drop(bucket_regions.insert("eu-west-1".into()).to_string()),
                    3 => drop(keys.insert("arn:aws:kms:eu-west-1:111122223333:key/1".into()).to_string()),
                    4 => own_buckets.push(OwnBucket { write: self.flip(), ..bucket("own", "") }),
                    _ => {}
                }
            }
            let wish = wish.clone();
            if self.of(4) > 0 {
                let trusted = [wish.services("aws"), &["lambda.amazonaws.com"]][usize::from(self.of(2))];
                let mut role = Role {
                    name: wish.role.clone(),
                    arn: format!("arn:aws:iam::111122223333:role{}{}", wish.path, wish.role),
                    path: if self.of(5) == 4 { "/".into() } else { wish.path.clone() },
                    trust: trust(trusted),
                    boundary: [None, Some(BOUNDARY.into()), Some(EXTRA.into())][usize::from(self.of(3))].clone(),
                    policies: self.policies(),
                    inline: BTreeMap::new(),
                    tags: self.tags(&owner),
                };
                if self.flip() {
                    role.inline.insert("theirs".into(), None);
                }
                if self.flip() {
                    role.inline.insert(INLINE_POLICY.into(), self.flip().then(|| "{}".to_owned()));
                }
                world.iam.roles.insert(wish.role.clone(), role);
            }
            if self.of(3) > 0 {
                let memory = RoleMemory {
                    role: wish.role.clone(),
                    profile: wish.profile().cloned(),
                    attached: self.policies(),
                    attaching: self.policies(),
                    managed: self.flip(),
                    existed: self.flip(),
                    doubt_until: None,
                };
                world.memory.roles.insert(wish.name.clone(), memory);
            }
        }
        if self.of(4) > 0 {
            let role = [None, Some("web-role"), Some("other")][usize::from(self.of(3))];
            if role == Some("other") {
                let role = Role {
                    name: "other".into(),
                    arn: "x".into(),
                    path: "/".into(),
                    trust: "{}".into(),
                    boundary: None,
                    policies: BTreeSet::new(),
                    inline: BTreeMap::new(),
                    tags: Tags::new(),
                };
                world.iam.roles.insert("other".into(), role);
            }
            let role = role.map(RoleName::from).filter(|role| world.iam.roles.contains_key(role));
            let arn = "arn:aws:iam::111122223333:instance-profile/ssm-ready/web-profile".to_owned();
            let path = "/ssm-ready/".to_owned();
            let profile = Profile { name: "web-profile".into(), arn, path, role, tags: self.tags(&owner) };
            world.iam.profiles.insert("web-profile".into(), profile);
        }
        world.setting =
            [None, Some("service-role/host-role".into()), Some("x".into())][usize::from(self.of(3))].clone();
        let profile = world.iam.profiles.values().next().map(|profile| profile.arn.clone());
        world.instances = [vec![], vec![instance(profile)], vec![instance(None)]][usize::from(self.of(3))].clone();
        world
    }

    fn darken(&mut self, world: &mut World) {
        for key in wanted(&world.posture).into_iter().chain([DHM, FactKey::Instances]) {
            match self.of(6) {
                3 => drop(world.lost.insert(key, true).map(|_| String::new())),
                4 => drop(world.lost.insert(key, false).map(|_| String::new())),
                5 => drop(world.failed.insert(key).to_string()),
                _ => {}
            }
        }
        if self.flip() {
            world.fresh.roles.insert("web-role".into());
        }
        if self.flip() {
            world.fresh.profiles.insert("web-profile".into());
        }
    }
}

fn dice() -> impl Strategy<Value = Dice> {
    proptest::collection::vec(any::<u8>(), 70..90).prop_map(Dice)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_world_nothing_is_written_that_may_not_be(mut dice in dice()) {
        let mut world = dice.world();
        dice.darken(&mut world);
        world.read();
        let verdict = world.judge();
        for wish in &world.posture.roles {
            if world.lost.contains_key(&FactKey::Role(wish.role.clone())) {
                prop_assert!(!verdict.checks.iter().any(|c| c.facet == Facet::Roles && c.message.contains(wish.role.as_str())));
            }
        }
        world.farewell();
    }

    #[test]
    fn in_any_world_work_comes_to_an_end(mut dice in dice()) {
        let mut world = dice.world();
        world.settle();
        world.read();
        let verdict = world.judge();
        for check in &verdict.checks {
            prop_assert!(!is_work(check.reason), "{:?}", check);
        }
        prop_assert_eq!(&note_ahead(&verdict), &world.memory);
        for (at, wish) in world.posture.roles.iter().enumerate() {
            let stops = |c: &&crate::evaluate::Check| c.facet == Facet::Roles && c.outcome == Outcome::Fail && c.message.contains(wish.role.as_str());
            let refused = statements::inline(&world.posture, wish).is_err() || !is_within(&world, wish);
            if verdict.checks.iter().any(|c| stops(&c)) || refused {
                continue;
            }
            // As declared, told from what IAM holds.
            let role = &world.iam.roles[&wish.role];
            prop_assert!(role.policies.is_superset(&wish.policies("aws")), "{}", at);
            prop_assert!(world.posture.guardrails.boundary.is_none() || role.boundary == world.posture.guardrails.boundary);
            prop_assert!(wish.services("aws").iter().any(|service| trusts(&role.trust, service)));
            if wish.ownership != RoleOwnership::AttachOnly {
                prop_assert!(world.posture.owner.owns(&role.tags));
                prop_assert!(same(&role.trust, &trust(wish.services("aws"))));
                let declared = statements::inline(&world.posture, wish).unwrap();
                prop_assert_eq!(role.inline.contains_key(INLINE_POLICY), declared.is_some());
            }
        }
    }

    #[test]
    fn in_any_world_attach_only_changes_attachments_alone(mut dice in dice()) {
        let mut world = dice.world();
        world.posture.roles.iter_mut().for_each(|wish| wish.ownership = RoleOwnership::AttachOnly);
        let before = world.iam.clone();
        world.settle();
        for (name, role) in &before.roles {
            let now = &world.iam.roles[name];
            prop_assert_eq!(&Role { policies: role.policies.clone(), ..now.clone() }, role);
        }
        prop_assert_eq!(world.iam.roles.len(), before.roles.len());
    }

    #[test]
    fn in_any_world_leaving_comes_to_an_end(mut dice in dice(), lived in any::<bool>()) {
        let mut world = dice.world();
        if lived {
            world.settle();
        }
        world.setting = None;
        world.instances.clear();
        let before = world.iam.clone();
        // A role of ours in a profile of somebody else waits for that.
        let held = before.profiles.values().any(|profile| {
            let ours = |role: &RoleName| world.posture.owner.owns(&before.roles[role].tags);
            !world.posture.owner.owns(&profile.tags) && profile.role.as_ref().is_some_and(|role| ours(role) && role.as_str() == "web-role")
        });
        if held && world.posture.deletion_policy == AccountDeletion::Delete {
            prop_assert!(!world.farewell().is_done());
            return Ok(());
        }
        world.leave();
        let owner = &world.posture.owner;
        prop_assert!(!world.iam.roles.values().any(|role| owner.owns(&role.tags)));
        prop_assert!(!world.iam.profiles.values().any(|profile| owner.owns(&profile.tags)));
        for (name, role) in before.roles.iter().filter(|(_, role)| !owner.owns(&role.tags)) {
            let now = &world.iam.roles[name];
            prop_assert_eq!(&Role { policies: role.policies.clone(), ..now.clone() }, role, "somebody else's");
        }
        for (name, profile) in before.profiles.iter().filter(|(_, profile)| !owner.owns(&profile.tags)) {
            prop_assert_eq!(&world.iam.profiles[name], profile, "somebody else's");
        }
    }

    #[test]
    fn no_declared_bucket_opens_another(
        names in proptest::collection::vec("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", 0..30),
        prefixes in proptest::collection::vec("(/?[a-z0-9!_.'()-]{0,9}){0,3}/?", 30),
        flags in any::<u64>(),
        regions in proptest::sample::subsequence(vec!["eu-west-1", "me-south-1", "af-south-1", "us-east-1"], 0..4),
    ) {
        let mut world = World::new(vec![web()]);
        let Purpose::Instances { own_buckets, bucket_regions, .. } = &mut world.wish().purpose else { panic!() };
        bucket_regions.extend(regions.iter().map(|region| (*region).to_owned()));
        for (at, (name, prefix)) in names.iter().zip(&prefixes).enumerate() {
            let bit = |n: usize| flags >> ((at * 2 + n) % 64) & 1 == 1;
            own_buckets.push(OwnBucket { write: bit(0), cross_account: bit(1), ..bucket(name, prefix) });
        }
        let mut known: BTreeSet<String> = names.iter().cloned().collect();
        known.extend(regions.iter().flat_map(|region| super::buckets::buckets(region).unwrap()));
        match statements::inline(&world.posture, &world.posture.roles[0]) {
            Ok(None) => prop_assert!(known.is_empty()),
            Ok(Some(text)) => {
                assert_no_wildcard_bucket(&text);
                for (actions, resources) in inline(&world) {
                    prop_assert!(actions.iter().all(|action| action.starts_with("s3:")));
                    for resource in resources {
                        let path = resource.strip_prefix("arn:aws:s3:::").unwrap();
                        prop_assert!(known.contains(path.split('/').next().unwrap()), "{}", resource);
                        prop_assert!(path.matches('*').count() <= 1, "{}", resource);
                    }
                }
            }
            Err(refusal) => prop_assert!(matches!(refusal, statements::Refusal::TooLong(length) if length > 10_240)),
        }
    }
}
