use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    calls::Operation,
    facts::{
        Permission, Tags,
        iam::{AGENT_POLICIES, Role},
        settings::SettingValue,
    },
    fault::Fault,
    ids::PolicyArn,
    report::{Circumstances, Status, Tried, report},
    snapshot::{FactValue, Snapshot},
    testing::{at, posture},
};

const INTERVAL: Duration = Duration::from_secs(600);
const HOST_ROLE: &str = "hosts";

fn arn(profile: &str) -> String {
    format!("arn:aws:iam::111122223333:instance-profile/ssm-ready/{profile}")
}

fn role(name: &str, policies: &[&str], inline: &[&str]) -> Role {
    Role {
        name: name.into(),
        arn: format!("arn:aws:iam::111122223333:role/service-role/{name}"),
        path: "/service-role/".to_owned(),
        trust: "{}".to_owned(),
        boundary: None,
        policies: policies.iter().map(|arn| PolicyArn::from(*arn)).collect(),
        inline: inline.iter().map(|name| ((*name).to_owned(), None)).collect(),
        tags: Tags::new(),
    }
}

fn allowing(allowed: &[AgentAction]) -> AgentPermissions {
    AgentPermissions { allowed: AgentAction::ALL.into_iter().map(|a| (a, allowed.contains(&a))).collect() }
}

fn fault() -> Fault {
    Fault::from_answer(Operation::GetInstanceProfile, "AccessDenied", 403, "no")
}

struct World {
    posture: VpcPosture,
    region: Snapshot,
    account: Snapshot,
    instances: Vec<Instance>,
}

impl World {
    /// Default Host Management is off; profile `web` holds role `web`, which suffices.
    fn new() -> Self {
        let mut world = Self {
            posture: VpcPosture { instances: Some(InstancesWish::default()), ..posture() },
            region: Snapshot::default(),
            account: Snapshot::default(),
            instances: Vec::new(),
        };
        world.host(Some("$off"));
        world.profile("web", Some("web"));
        world.role("web", Some(AgentPermissions::all(true)));
        world
    }

    fn with_attachment() -> Self {
        let mut world = Self::new();
        let declared = DeclaredProfile { profile: "web".into(), role: "web".into() };
        world.posture.instances = Some(InstancesWish {
            attachment: Some(Attachment {
                declared: Ok(declared),
                selector: vec![TagSelector { key: "env".to_owned(), values: vec!["prod".to_owned()] }],
                include: BTreeSet::new(),
                max_per_pass: 2,
            }),
        });
        world
    }

    fn attachment(&mut self) -> &mut Attachment {
        self.posture.instances.as_mut().unwrap().attachment.as_mut().unwrap()
    }

    /// The setting names the role [`HOST_ROLE`] (`on`), names none that is there (`$off`), or is not to be had.
    fn host(&mut self, how: Option<&str>) {
        let value = match how {
            Some("on") => Some(format!("service-role/{HOST_ROLE}")),
            Some(other) => Some(other.to_owned()),
            None => None,
        };
        let found = SettingValue { value: value.clone(), ..SettingValue::default() };
        self.region.note(&FactKey::Setting(HOST_MANAGEMENT), Ok(FactValue::Setting(Some(found))), at(0));
        self.account.note(
            &FactKey::Role(HOST_ROLE.into()),
            Ok(FactValue::Role(Some(role(HOST_ROLE, &[], &[])))),
            at(0),
        );
        self.account.note(&FactKey::Role("$off".into()), Ok(FactValue::Role(None)), at(0));
    }

    fn profile(&mut self, name: &str, role: Option<&str>) {
        let found = Profile {
            name: name.into(),
            arn: arn(name),
            path: "/ssm-ready/".to_owned(),
            role: role.map(Into::into),
            tags: Tags::new(),
        };
        self.account.note(&FactKey::Profile(name.into()), Ok(FactValue::Profile(Some(found))), at(0));
    }

    fn role(&mut self, name: &str, allowed: Option<AgentPermissions>) {
        self.account.note(&FactKey::RoleVerdict(name.into()), Ok(FactValue::RoleVerdict(allowed)), at(0));
    }

    fn instance(&mut self, profile: Option<&str>, tags: &[(&str, &str)]) -> &mut Instance {
        self.instances.push(Instance {
            id: format!("i-{}", self.instances.len()).into(),
            vpc: self.posture.vpc.clone(),
            subnet: "subnet-a".into(),
            state: InstanceState::Running,
            profile: profile.map(arn),
            imds_v1: None,
            imds: None,
            tags: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        });
        self.instances.last_mut().unwrap()
    }

    fn judge(&mut self) -> Verdict {
        self.region.note(&FactKey::Instances, Ok(FactValue::Instances(self.instances.clone())), at(0));
        self.judge_as_read()
    }

    fn view(&self) -> RegionView<'_> {
        let (region, account) = (&self.region, &self.account);
        RegionView { region, account, interval: INTERVAL, account_interval: INTERVAL, now: at(0) }
    }

    fn judge_as_read(&self) -> Verdict {
        let mut verdict = Verdict::default();
        judge(&self.posture, &self.view(), &mut verdict);
        verdict
    }
}

fn given_to(verdict: &Verdict) -> Vec<String> {
    let writes = verdict.actions.iter().map(|action| match &action.write {
        Write::AssociateProfile { instance, profile } => {
            assert_eq!(*profile, arn("web"));
            instance.to_string()
        }
        other => panic!("{other}"),
    });
    writes.collect()
}

fn reasons(verdict: &Verdict) -> Vec<Reason> {
    verdict.checks.iter().map(|check| check.reason).collect()
}

/// Each row of the verdict table: what the profile gives, whether Default Host Management is on, and what follows.
#[test]
fn each_row_of_the_table_holds() {
    use AgentAction::{GetMessages, OpenControlChannel, UpdateInstanceInformation};
    use Credentials::{HostManagement, Managed, NoCredentials, ProfileInsufficient, Unknown};
    use Reason::{
        FactUnreadable, InstancesWithoutCredentials, ProfileBlocksHostManagement, ProfileInsufficient as Insufficient,
        Succeeded,
    };
    let half = || AgentPermissions { allowed: [(UpdateInstanceInformation, true)].into() };
    type Row = (&'static str, Option<Option<AgentPermissions>>, [(Credentials, Reason); 3]);
    let rows: Vec<Row> = vec![
        // What the profile's role allows: none, where there is no profile; and with Default Host Management on, off and
        // untold.
        (
            "no profile",
            None,
            [(HostManagement, Succeeded), (NoCredentials, InstancesWithoutCredentials), (Unknown, FactUnreadable)],
        ),
        ("all allowed", Some(Some(AgentPermissions::all(true))), [(Managed, Succeeded); 3]),
        (
            "nothing allowed",
            Some(Some(AgentPermissions::all(false))),
            [(HostManagement, Succeeded), (NoCredentials, InstancesWithoutCredentials), (Unknown, FactUnreadable)],
        ),
        (
            "channels without registration",
            Some(Some(allowing(&AgentAction::CHANNELS))),
            [(HostManagement, Succeeded), (NoCredentials, InstancesWithoutCredentials), (Unknown, FactUnreadable)],
        ),
        (
            "registration alone",
            Some(Some(allowing(&[UpdateInstanceInformation]))),
            [
                (ProfileInsufficient, ProfileBlocksHostManagement),
                (ProfileInsufficient, Insufficient),
                (ProfileInsufficient, Insufficient),
            ],
        ),
        (
            "the old channel alone",
            Some(Some(allowing(&[UpdateInstanceInformation, GetMessages]))),
            [
                (ProfileInsufficient, ProfileBlocksHostManagement),
                (ProfileInsufficient, Insufficient),
                (ProfileInsufficient, Insufficient),
            ],
        ),
        (
            "one channel of four",
            Some(Some(allowing(&[UpdateInstanceInformation, OpenControlChannel]))),
            [
                (ProfileInsufficient, ProfileBlocksHostManagement),
                (ProfileInsufficient, Insufficient),
                (ProfileInsufficient, Insufficient),
            ],
        ),
        ("sessions untold", Some(Some(half())), [(Unknown, FactUnreadable); 3]),
        ("nothing told", Some(Some(AgentPermissions::default())), [(Unknown, FactUnreadable); 3]),
        (
            "the role is gone",
            Some(None),
            [(HostManagement, Succeeded), (NoCredentials, InstancesWithoutCredentials), (Unknown, FactUnreadable)],
        ),
    ];
    for (what, allowed, expected) in rows {
        for (host, (credentials, reason)) in ["on", "off", "untold"].into_iter().zip(expected) {
            let mut world = World::new();
            match host {
                "on" => world.host(Some("on")),
                "off" => world.host(None),
                _ => world.region.settings.clear(),
            }
            world.instance(allowed.is_some().then_some("web"), &[]);
            if let Some(allowed) = allowed.clone() {
                world.role("web", allowed);
            }
            let verdict = world.judge();
            let seen = verdict.seen.profiles.clone().unwrap();
            assert_eq!(seen.iter().map(|p| p.credentials).collect::<Vec<_>>(), [credentials], "{what}, {host}");
            assert_eq!(reasons(&verdict), [reason], "{what}, {host}");
            assert_eq!((seen[0].profile.is_some(), seen[0].instances), (allowed.is_some(), 1), "{what}, {host}");
            assert_eq!(seen[0].sample, ["i-0".into()]);
            assert!(verdict.actions.is_empty() && verdict.checks.iter().all(|check| !check.gate));
        }
    }
}

#[test]
fn a_profile_without_role_gives_nothing_and_an_unread_one_says_nothing() {
    let mut world = World::new();
    world.instance(Some("web"), &[]);
    world.profile("web", None);
    assert_eq!(reasons(&world.judge()), [Reason::InstancesWithoutCredentials]);
    world.account.note(&FactKey::Profile("web".into()), Ok(FactValue::Profile(None)), at(0));
    assert_eq!(reasons(&world.judge()), [Reason::InstancesWithoutCredentials], "deleted behind the instance");
    world.account.profiles.clear();
    world.account.note(&FactKey::Profile("web".into()), Err(fault()), at(0));
    let verdict = world.judge();
    assert_eq!(reasons(&verdict), [Reason::FactUnreadable]);
    assert!(verdict.checks[0].message.contains("AccessDenied"), "{}", verdict.checks[0].message);
    world.region.instances = Default::default();
    let verdict = world.judge_as_read();
    assert_eq!((reasons(&verdict), verdict.seen.profiles), (vec![Reason::FactUnreadable], None));
}

/// What the setting names has to be a role, by its path too.
#[test]
fn default_host_management_is_on_only_where_its_role_is_there() {
    for (value, on) in [
        (None, false),
        (Some("$None"), false),
        (Some("service-role/hosts"), true),
        (Some("hosts"), false),
        (Some("other/hosts"), false),
        (Some("service-role/gone"), false),
    ] {
        let mut world = World::new();
        world.host(value);
        for gone in ["$None", "gone"] {
            world.account.note(&FactKey::Role(gone.into()), Ok(FactValue::Role(None)), at(0));
        }
        world.instance(None, &[]);
        let expected = if on { Reason::Succeeded } else { Reason::InstancesWithoutCredentials };
        assert_eq!(reasons(&world.judge()), [expected], "{value:?}");
    }
    let mut world = World::new();
    world.region.note(&FactKey::Setting(HOST_MANAGEMENT), Ok(FactValue::Setting(None)), at(0));
    world.instance(None, &[]);
    assert_eq!(reasons(&world.judge()), [Reason::InstancesWithoutCredentials], "the region does not have it");
}

#[test]
fn messages_say_who_is_concerned_and_what_to_do() {
    let mut world = World::new();
    for _ in 0..5 {
        world.instance(Some("web"), &[]);
    }
    world.instance(None, &[]);
    world.host(Some("on"));
    world.role("web", Some(allowing(&[AgentAction::UpdateInstanceInformation, AgentAction::GetMessages])));
    let verdict = world.judge();
    let said: Vec<&str> = verdict.checks.iter().map(|check| check.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "instance i-5 without instance profile: managed by Default Host Management",
            "5 instances (i-0, i-1, i-2 and others) with profile web: role web lets them register and lacks ssmmessages:CreateControlChannel, ssmmessages:CreateDataChannel, ssmmessages:OpenControlChannel, ssmmessages:OpenDataChannel, so that they take neither sessions nor Default Host Management; commands come by the old channel (ec2messages) alone: attach AmazonSSMManagedInstanceCore to the role, or take ssm:UpdateInstanceInformation from it",
        ]
    );
}

#[test]
fn a_message_names_some_of_those_who_are_concerned() {
    for (count, named) in [
        (1, "instance i-0 "),
        (2, "2 instances (i-0, i-1) "),
        (SAMPLE, "3 instances (i-0, i-1, i-2) "),
        (SAMPLE + 1, "4 instances (i-0, i-1, i-2 and others) "),
    ] {
        let mut world = World::new();
        for _ in 0..count {
            world.instance(None, &[]);
        }
        let verdict = world.judge();
        assert!(verdict.checks[0].message.starts_with(named), "{}", verdict.checks[0].message);
    }
}

#[test]
fn only_running_instances_of_the_vpc_count() {
    let mut world = World::with_attachment();
    world.instance(None, &[("env", "prod")]).vpc = "vpc-other".into();
    world.instance(None, &[("env", "prod")]).state = InstanceState::Stopped;
    let verdict = world.judge();
    assert_eq!((reasons(&verdict), verdict.actions.len()), (vec![Reason::Succeeded], 0));
    assert_eq!(verdict.seen.profiles, Some(vec![]));
    world.posture.instances = None;
    assert_eq!(world.judge(), Verdict::default(), "not asked for");
}

#[test]
fn no_more_profiles_are_judged_than_bounded() {
    let mut world = World::new();
    for n in 0..=MAX_PROFILES {
        let name = format!("p{n:02}");
        for _ in 0..=usize::from(n == 7) {
            world.instance(Some(&name), &[]);
        }
    }
    world.instance(None, &[]);
    world.region.note(&FactKey::Instances, Ok(FactValue::Instances(world.instances.clone())), at(0));
    let wanted = wanted_of_account(&world.posture, &world.view());
    let profiles = wanted.iter().filter(|key| matches!(key, FactKey::Profile(_))).count();
    assert_eq!(profiles, MAX_PROFILES);
    assert!(!wanted.contains(&FactKey::Profile("p50".into())));
    let untold = |verdict: &Verdict| -> Vec<String> {
        let further = verdict.checks.iter().filter(|check| check.message.contains("further profiles"));
        further.map(|check| format!("{:?}: {}", check.outcome, check.message)).collect()
    };
    let verdict = world.judge();
    assert_eq!(untold(&verdict), ["Unknown: 1 further profiles, each of fewer instances, are not judged"]);
    let seen = verdict.seen.profiles.unwrap();
    assert_eq!(seen.len(), MAX_PROFILES + 1);
    let first: Vec<Option<String>> = seen.iter().take(3).map(|p| p.profile.clone()).collect();
    assert_eq!(first, [None, Some(arn("p07")), Some(arn("p00"))], "none, then those of most instances");
    world.instances.retain(|instance| instance.profile != Some(arn("p50")));
    assert_eq!(untold(&world.judge()), [""; 0], "as many as are judged");
}

/// One after another: each fact tells which is wanted next.
#[test]
fn what_is_wanted_follows_from_what_is_known() {
    let mut world = World::with_attachment();
    world.instance(Some("db"), &[]);
    world.account = Snapshot::default();
    world.host(Some("on"));
    let wanted = |world: &World| wanted_of_account(&world.posture, &world.view());
    assert_eq!(wanted(&world), [FactKey::Role(HOST_ROLE.into()), FactKey::Profile("web".into())].into());
    world.region.note(&FactKey::Instances, Ok(FactValue::Instances(world.instances.clone())), at(0));
    let profiles = [FactKey::Profile("db".into()), FactKey::Profile("web".into())];
    assert!(wanted(&world).is_superset(&profiles.into()));
    world.profile("db", Some("database"));
    assert!(wanted(&world).contains(&FactKey::RoleVerdict("database".into())));
    assert_eq!(wanted_of_region(&world.posture), [FactKey::Setting(HOST_MANAGEMENT)].into());
    world.posture.instances = None;
    assert!(wanted(&world).is_empty() && wanted_of_region(&world.posture).is_empty());
}

#[test]
fn instances_that_match_get_the_profile_some_at_each_pass() {
    let mut world = World::with_attachment();
    for _ in 0..3 {
        world.instance(None, &[("env", "prod")]);
    }
    world.instance(None, &[("env", "test")]);
    world.instance(Some("other"), &[("env", "prod")]);
    world.profile("other", None);
    let verdict = world.judge();
    assert_eq!(given_to(&verdict), ["i-0", "i-1"]);
    assert!(verdict.actions.iter().all(|a| a.disrupts.is_none() && a.facet == FACET));
    assert!(reasons(&verdict).contains(&Reason::ProfilesAttaching));
    for (host, leaves) in [(Some("on"), true), (None, false)] {
        world.host(host);
        let verdict = world.judge();
        assert!(verdict.actions.iter().all(|a| a.disrupts.is_some() == leaves));
        let warning = verdict.checks.iter().find(|c| c.reason == Reason::ProfilesAttaching).unwrap();
        assert_eq!(warning.message.contains("they leave Default Host"), leaves, "{}", warning.message);
    }
    world.region.settings.clear();
    assert!(world.judge().actions.iter().all(|a| a.disrupts.is_some()), "untold is told as if it were on");
    world.attachment().selector.clear();
    assert!(world.judge().actions.is_empty(), "nothing chosen is nobody chosen");
}

#[test]
fn what_launches_instances_gives_them_their_profile() {
    use Launcher::{AutoScaling, Beanstalk, Eks};
    let group = ("aws:autoscaling:groupName", "g");
    for (tags, launcher) in [
        (vec![], None),
        (vec![group], Some(AutoScaling)),
        (vec![("eks:cluster-name", "c"), group], Some(Eks)),
        (vec![("aws:eks:cluster-name", "c")], Some(Eks)),
        (vec![("kubernetes.io/cluster/c", "owned")], Some(Eks)),
        (vec![("elasticbeanstalk:environment-name", "e"), group], Some(Beanstalk)),
        (vec![("autoscaling", "x")], None),
    ] {
        for include in [&[][..], &[AutoScaling], &[Eks], &[Beanstalk], &[AutoScaling, Eks, Beanstalk]] {
            let mut world = World::with_attachment();
            world.attachment().include = include.iter().copied().collect();
            let all: Vec<_> = tags.iter().copied().chain([("env", "prod")]).collect();
            let instance = world.instance(None, &all).clone();
            assert_eq!(Launcher::of(&instance), launcher);
            let expected = launcher.is_none_or(|launcher| include.contains(&launcher));
            assert_eq!(!world.judge().actions.is_empty(), expected, "{tags:?} {include:?}");
        }
    }
}

/// What has to hold before anybody gets the profile.
#[test]
fn nobody_gets_a_profile_that_would_leave_them_worse_off() {
    type Break = fn(&mut World);
    let breaks: [(Break, Reason, Outcome); 8] = [
        (
            |w| w.attachment().declared = Err("there is no AccountPosture roles".to_owned()),
            Reason::DependencyNotReady,
            Outcome::Fail,
        ),
        (
            |w| {
                w.account.note(&FactKey::Profile("web".into()), Ok(FactValue::Profile(None)), at(0));
            },
            Reason::PrerequisiteMissing,
            Outcome::Fail,
        ),
        (|w| w.profile("web", None), Reason::PrerequisiteMissing, Outcome::Fail),
        (|w| w.profile("web", Some("another")), Reason::PrerequisiteMissing, Outcome::Fail),
        (|w| w.role("web", None), Reason::FactUnreadable, Outcome::Unknown),
        (
            |w| w.role("web", Some(allowing(&[AgentAction::UpdateInstanceInformation]))),
            Reason::PrerequisiteMissing,
            Outcome::Fail,
        ),
        (|w| w.account.role_verdicts.clear(), Reason::FactUnreadable, Outcome::Unknown),
        (|w| w.account.profiles.clear(), Reason::FactUnreadable, Outcome::Unknown),
    ];
    for (n, (unfit, reason, outcome)) in breaks.into_iter().enumerate() {
        let mut world = World::with_attachment();
        world.host(Some("on"));
        world.instance(None, &[("env", "prod")]);
        assert_eq!(world.judge().actions.len(), 1);
        unfit(&mut world);
        let verdict = world.judge();
        assert!(verdict.actions.is_empty(), "{n}");
        let last = verdict.checks.last().unwrap();
        assert_eq!((last.reason, last.outcome), (reason, outcome), "{n}: {}", last.message);
    }
    let mut world = World::with_attachment();
    world.instance(None, &[("env", "prod")]);
    let lacking = [AgentAction::OpenControlChannel, AgentAction::OpenDataChannel];
    world.role(
        "web",
        Some(allowing(&AgentAction::ALL.into_iter().filter(|a| !lacking.contains(a)).collect::<Vec<_>>())),
    );
    let verdict = world.judge();
    assert_eq!(
        verdict.checks.last().unwrap().message,
        "no instance gets profile web: its role web lacks ssmmessages:OpenControlChannel, ssmmessages:OpenDataChannel"
    );
    for stale in [FactKey::Profile("web".into()), FactKey::RoleVerdict("web".into())] {
        let mut world = World::with_attachment();
        world.instance(None, &[("env", "prod")]);
        world.account.note(&stale, Err(fault()), at(1));
        assert!(world.judge().actions.is_empty(), "{stale:?}: a later read failed");
    }
    let mut world = World::with_attachment();
    world.instance(None, &[("env", "prod")]);
    world.judge();
    world.region.note(&FactKey::Instances, Err(fault()), at(1));
    assert!(world.judge_as_read().actions.is_empty(), "the list may be old");
}

#[test]
fn what_iam_has_not_heard_of_is_asked_again() {
    let mut world = World::with_attachment();
    world.role("web", Some(AgentPermissions::all(false)));
    assert_eq!(world.judge().watch, [FactKey::RoleVerdict("web".into())].into());
    world.role("web", Some(AgentPermissions::all(true)));
    assert!(world.judge().watch.is_empty());
}

/// Whatever it says, the object is as ready as without it; and what failed is tried again where that may help.
#[test]
fn it_holds_nothing_up() {
    let failed = |code: &str| {
        Tried::Failed(Fault::from_answer(
            Operation::AssociateIamInstanceProfile,
            code,
            400,
            "There is an existing association",
        ))
    };
    for (tried, again, reason) in [
        (failed("IncorrectState"), true, Reason::ProfilesAttaching),
        (failed("InvalidParameterValue"), true, Reason::ProfilesAttaching),
        (failed("UnauthorizedOperation"), true, Reason::PermissionDenied),
        (Tried::NotTried, false, Reason::InstancesWithoutCredentials),
    ] {
        let mut world = World::with_attachment();
        world.instance(None, &[("env", "prod")]);
        let mut verdict = world.judge();
        verdict.pass(Facet::Account, "there");
        let applied: Vec<_> = verdict
            .actions
            .iter()
            .map(|action| crate::report::Applied { action: action.clone(), tried: tried.clone() })
            .collect();
        let circumstances = Circumstances {
            mode: crate::posture::Mode::Enforce,
            was_ready: true,
            denied_for: Duration::ZERO,
            principal: None,
        };
        let report = report(&verdict, &applied, circumstances);
        let of = |kind: &str| {
            let found = report.conditions.iter().find(|c| c.kind == kind).unwrap();
            (found.status, found.reason)
        };
        assert_eq!(of("Ready"), (Status::True, Reason::Succeeded));
        assert_eq!(of("Compliant"), (Status::True, Reason::Succeeded));
        assert_eq!(of("InstanceProfilesReady"), (Status::False, reason));
        assert_eq!(report.again, again);
    }
}

#[test]
fn policies_tell_what_a_role_allows_as_far_as_they_do() {
    for name in AGENT_POLICIES {
        for path in ["", "service-role/"] {
            let arn = format!("arn:aws-cn:iam::aws:policy/{path}{name}");
            let found =
                AgentPermissions::of_policies(&role("r", &[&arn, "arn:aws:iam::111122223333:policy/own"], &["x"]));
            assert_eq!(found, AgentPermissions::all(true), "{arn}");
        }
    }
    assert_eq!(AgentPermissions::of_policies(&role("r", &[], &[])), AgentPermissions::all(false));
    for (policies, inline) in [
        (&["arn:aws:iam::aws:policy/ReadOnlyAccess"][..], &[][..]),
        (&["arn:aws:iam::111122223333:policy/AmazonSSMManagedInstanceCore"], &[]),
        (&[], &["ssm"]),
    ] {
        let found = AgentPermissions::of_policies(&role("r", policies, inline));
        assert_eq!(
            (found.allowed.len(), found.suffices()),
            (0, None),
            "{policies:?} {inline:?}: it may allow anything"
        );
    }
    let answer = |action: &str, allowed| Permission { action: action.to_owned(), allowed };
    let found = AgentPermissions::simulated(&[
        answer("SSM:updateinstanceinformation", true),
        answer("ec2messages:GetMessages", false),
        answer("s3:GetObject", true),
    ]);
    assert_eq!(found.allows(AgentAction::UpdateInstanceInformation), Some(true));
    assert_eq!(found.allows(AgentAction::GetMessages), Some(false));
    assert_eq!((found.allows(AgentAction::OpenDataChannel), found.suffices()), (None, None));
}

fn some_instance() -> impl Strategy<Value = Instance> {
    let tags = prop::collection::btree_map(
        prop::sample::select(vec![
            "env",
            "aws:autoscaling:groupName",
            "kubernetes.io/cluster/x",
            "elasticbeanstalk:environment-name",
        ]),
        prop::sample::select(vec!["prod", "prod", "test"]),
        0..4,
    );
    // Most could be given one: it takes several to see that not all are at once.
    let profile = prop::option::weighted(0.3, prop::sample::select(vec!["web", "db", "gone"]));
    (tags, profile, prop::bool::weighted(0.8), prop::bool::weighted(0.8)).prop_map(|(tags, profile, running, here)| {
        Instance {
            id: "i".into(),
            vpc: if here { "vpc-1" } else { "vpc-2" }.into(),
            subnet: "subnet-a".into(),
            state: if running { InstanceState::Running } else { InstanceState::Stopped },
            profile: profile.map(arn),
            imds_v1: None,
            imds: None,
            tags: tags.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    })
}

fn some_permissions() -> impl Strategy<Value = Option<AgentPermissions>> {
    let some =
        prop::collection::btree_map(prop::sample::select(AgentAction::ALL.to_vec()), prop::bool::weighted(0.8), 0..7);
    prop_oneof![
        3 => Just(Some(AgentPermissions::all(true))),
        3 => some.prop_map(|allowed| Some(AgentPermissions { allowed })),
        1 => Just(None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_given_a_profile_who_has_one_or_was_not_chosen(
        mut instances in prop::collection::vec(some_instance(), 0..12),
        allowed in some_permissions(),
        holds in prop::option::weighted(0.8, prop::sample::select(vec!["web", "db"])),
        include in prop::collection::btree_set(
            prop::sample::select(vec![Launcher::AutoScaling, Launcher::Eks, Launcher::Beanstalk]), 0..3),
        max_per_pass in 1..5_usize,
        host in prop::option::of(prop::sample::select(vec!["on", "$off"])),
        told in prop::bool::weighted(0.9),
    ) {
        instances.iter_mut().enumerate().for_each(|(n, instance)| instance.id = format!("i-{n}").into());
        let mut world = World::with_attachment();
        world.instances = instances;
        world.host(host);
        world.profile("web", holds);
        world.role("web", allowed.clone());
        world.attachment().include = include.clone();
        world.attachment().max_per_pass = max_per_pass;
        if !told {
            world.account.profiles.clear();
        }
        let verdict = world.judge();
        let given = given_to(&verdict);
        prop_assert!(given.len() <= max_per_pass);
        let suffices = allowed.is_some_and(|allowed| allowed.suffices() == Some(true));
        let fit = told && holds == Some("web") && suffices;
        let chosen: Vec<&Instance> = world.instances.iter().filter(|i| {
            let launcher = Launcher::of(i);
            i.vpc == world.posture.vpc && i.state == InstanceState::Running && i.profile.is_none()
                && i.tags.get("env").is_some_and(|env| env == "prod")
                && launcher.is_none_or(|launcher| include.contains(&launcher))
        }).collect();
        let expected: Vec<String> =
            chosen.iter().filter(|_| fit).take(max_per_pass).map(|i| i.id.to_string()).collect();
        prop_assert_eq!(given, expected);
        prop_assert!(verdict.checks.iter().all(|check| !check.gate && check.facet == FACET));
        let seen = verdict.seen.profiles.clone().unwrap();
        let counted: usize = seen.iter().map(|profile| profile.instances).sum();
        let running = world.instances.iter()
            .filter(|i| i.vpc == world.posture.vpc && i.state == InstanceState::Running).count();
        prop_assert_eq!(counted, running, "each instance is of one profile");
        prop_assert!(seen.iter().all(|profile| profile.sample.len() <= SAMPLE && !profile.sample.is_empty()));
        prop_assert_eq!(world.judge(), verdict);
    }
}
