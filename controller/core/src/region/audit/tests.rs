//! A rule, a topic and some trails: tables of what is said and proposed, and how a life with them goes.

use std::time::Duration;

use super::{
    super::{
        Knob, KnobMemory, RegionDeletion, RegionView, evaluate, farewell, note_ahead,
        tests::{calls, posture, said},
        wanted_of_region, wanted_to_leave,
    },
    *,
};
use crate::{
    calls::Operation,
    facts::audit::{RuleTarget, Selector, Topic},
    parting::Parting,
    plan::plan,
    posture::{Mode, OWNER_TAG},
    report::{Applied, Circumstances, DENIAL_GRACE, Tried, report},
    snapshot::{FactValue, Snapshot},
    testing::{at, fault},
    write::Written,
};

const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:ssm-sessions";
const OTHER_TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:other";
const OF_ANOTHER: &str = "arn:aws:sns:eu-west-1:444455556666:sessions";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:q";
const CREATE: &str = "create rule ssm-ready-session-audit";
const PUT: &str = "put right the pattern and state of rule ssm-ready-session-audit";
const TAG: &str = "tag rule ssm-ready-session-audit with ssmready.dev/cluster, ssmready.dev/owner";
const SEND: &str = "have rule ssm-ready-session-audit send to arn:aws:sns:eu-west-1:111122223333:ssm-sessions";
const UNTAG: &str = "untag rule ssm-ready-session-audit: ssmready.dev/owner";
const UNTARGET: &str = "take target ssm-ready off rule ssm-ready-session-audit";
const DELETE: &str = "delete rule ssm-ready-session-audit";
const DRIFTED: &str = "SessionAudit Fail AuditDrifted";
const REFUSES: &str = "SessionAudit Fail TopicRefuses";
const UNVERIFIED: &str = "SessionAudit Warn TopicUnverified";
const UNREADABLE: &str = "SessionAudit Unknown FactUnreadable";
const NO_TRAIL: &str = "SessionAudit Fail TrailMissing";

fn open(topic: &str) -> Topic {
    let statement = json!({
        "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "sns:Publish", "Resource": topic,
    });
    Topic { policy: Some(json!({ "Statement": [statement] }).to_string()), key: None }
}

/// A topic with one statement that allows, which says this besides.
fn conditional(condition: Value) -> Topic {
    let statement = json!({
        "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": ["SNS:Publish"], "Resource": TOPIC,
        "Condition": condition,
    });
    Topic { policy: Some(json!({ "Statement": statement }).to_string()), key: None }
}

fn trail(name: &str) -> Trail {
    Trail {
        arn: format!("arn:aws:cloudtrail:us-east-1:111122223333:trail/{name}"),
        home_region: "us-east-1".to_owned(),
        multi_region: true,
        work: TrailWork::Known { logging: true, selectors: Vec::new() },
    }
}

fn target(id: &str, arn: &str) -> RuleTarget {
    RuleTarget { id: id.to_owned(), arn: arn.to_owned(), altered: false }
}

#[derive(Debug, Clone)]
struct World {
    posture: RegionPosture,
    rule: Option<AuditRule>,
    topics: BTreeMap<String, Topic>,
    trails: Vec<Trail>,
    memory: RegionMemory,
    /// Facts that were never read: of these, the ones whose read was denied.
    lost: BTreeMap<FactKey, bool>,
    /// Facts whose last read failed.
    failed: BTreeSet<FactKey>,
    region: Snapshot,
}

impl World {
    /// Declared, and nothing there but an open topic and a trail of all regions.
    fn new() -> Self {
        let audit = Some(SessionAudit { topic: TOPIC.to_owned(), require_trail: true });
        Self {
            posture: RegionPosture { audit, ..posture() },
            rule: None,
            topics: [TOPIC, OTHER_TOPIC].map(|topic| (topic.to_owned(), open(topic))).into(),
            trails: vec![trail("all")],
            memory: RegionMemory::default(),
            lost: BTreeMap::new(),
            failed: BTreeSet::new(),
            region: Snapshot::default(),
        }
    }

    /// With the rule, as it is to be, ours or not.
    fn with_rule(ours: bool) -> Self {
        let mut world = Self::new();
        world.rule = Some(AuditRule {
            arn: rule_arn(&world.posture),
            pattern: Some(pattern()),
            schedule: None,
            state: "ENABLED".to_owned(),
            targets: vec![target(AUDIT_TARGET, TOPIC)],
            tags: if ours { world.posture.owner.tags() } else { BTreeMap::new() },
        });
        world
    }

    fn rule(&mut self) -> &mut AuditRule {
        self.rule.as_mut().unwrap()
    }

    fn send_to(&mut self, topic: &str) {
        self.posture.audit.as_mut().unwrap().topic = topic.to_owned();
    }

    fn read(&mut self) {
        self.region = Snapshot::default();
        let mut facts = vec![
            (FactKey::AuditRule, FactValue::AuditRule(self.rule.clone())),
            (FactKey::Trails, FactValue::Trails(self.trails.clone())),
        ];
        for topic in [TOPIC, OTHER_TOPIC, OF_ANOTHER] {
            let found = self.topics.get(topic).cloned();
            facts.push((FactKey::Topic(topic.to_owned()), FactValue::Topic(found)));
        }
        for (key, value) in facts {
            let why = || Err(fault(key.operation(), "AccessDeniedException"));
            match self.lost.get(&key) {
                Some(true) => self.region.note(&key, why(), at(0)),
                Some(false) => false,
                None => self.region.note(&key, Ok(value), at(0)),
            };
            if self.failed.contains(&key) {
                self.region.note(&key, why(), at(0));
            }
        }
    }

    fn judge(&mut self) -> Verdict<RegionSeen> {
        self.read();
        let account = Snapshot::default();
        let interval = self.posture.interval;
        let view =
            RegionView { region: &self.region, account: &account, interval, account_interval: interval, now: at(0) };
        evaluate(&self.posture, &view, &self.memory)
    }

    fn farewell(&mut self) -> Parting {
        self.read();
        let account = Snapshot::default();
        let interval = self.posture.interval;
        let view =
            RegionView { region: &self.region, account: &account, interval, account_interval: interval, now: at(0) };
        farewell(&self.posture, &view, &self.memory)
    }

    fn write(&mut self, write: &Write) {
        let Write::Rule(change) = write else { panic!("none of session audit: {write}") };
        match change {
            RuleChange::Put { pattern, tags } => match &mut self.rule {
                Some(rule) => {
                    (rule.pattern, rule.schedule, rule.state) = (Some(pattern.clone()), None, "ENABLED".to_owned());
                    assert!(tags.is_empty(), "tags of a rule that is there are ignored");
                }
                None => {
                    let arn = rule_arn(&self.posture);
                    let (pattern, state, tags) = (Some(pattern.clone()), "ENABLED".to_owned(), tags.clone());
                    self.rule = Some(AuditRule { arn, pattern, schedule: None, state, targets: Vec::new(), tags });
                }
            },
            RuleChange::Target(topic) => {
                let rule = self.rule.as_mut().expect("ResourceNotFoundException");
                rule.targets.retain(|target| target.id != AUDIT_TARGET);
                rule.targets.push(target(AUDIT_TARGET, topic));
            }
            RuleChange::Tag { rule, tags } => {
                let there = self.rule.as_mut().expect("ResourceNotFoundException");
                assert_eq!(*rule, there.arn);
                there.tags.extend(tags.clone());
            }
            RuleChange::Untag { rule, keys } => {
                let there = self.rule.as_mut().expect("ResourceNotFoundException");
                assert_eq!(*rule, there.arn);
                there.tags.retain(|key, _| !keys.contains(key));
            }
            RuleChange::RemoveTargets(ids) => self.rule().targets.retain(|target| !ids.contains(&target.id)),
            RuleChange::Delete => {
                assert_eq!(self.rule().targets, [], "a rule with targets is not deleted");
                self.rule = None;
            }
        }
    }

    /// One pass that ends after so many steps: the first is to note, each of the others a call. Says how many there were.
    fn pass(&mut self, steps: usize) -> usize {
        let verdict = self.judge();
        if steps == 0 {
            return 0;
        }
        self.memory = note_ahead(&verdict);
        let plan = plan(verdict.actions);
        plan.actions.iter().take(steps - 1).for_each(|action| self.write(&action.write));
        plan.actions.len().min(steps - 1)
    }

    /// Passes until nothing is left to do: how many calls they took.
    fn settle(&mut self) -> usize {
        let mut calls = 0;
        for _ in 0..5 {
            match self.pass(usize::MAX) {
                0 => return calls,
                more => calls += more,
            }
        }
        panic!("does not settle: {:#?}", self.judge());
    }

    /// Does what is left to do until nothing is: what was said to stay.
    fn leave(&mut self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        for _ in 0..5 {
            let next = self.farewell();
            assert_eq!(next.unknown, [""; 0]);
            left.extend(next.left.iter().cloned());
            if next.is_done() {
                return left;
            }
            plan(next.actions).actions.iter().for_each(|action| self.write(&action.write));
        }
        panic!("does not leave");
    }
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
    let verdict = world.judge();
    let found = said(&verdict);
    let kinds: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, expected.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), "{what}: {found:#?}");
    for ((_, message), (_, gist)) in found.iter().zip(expected) {
        assert!(message.contains(gist), "{what}: {message:?} does not say {gist:?}");
    }
    assert_eq!(calls(&verdict.actions), proposed, "{what}");
}

/// What is changed in a rule, how that is called, and what follows.
type Edit = (&'static str, fn(&mut AuditRule), &'static str, &'static [&'static str]);

#[test]
fn a_rule_is_made_put_right_and_never_fought_over() {
    row("none", World::new(), |_| {}, &[(DRIFTED, "there is no rule ssm-ready-session-audit")], &[CREATE, SEND]);
    row("ours, as declared", World::with_rule(true), |_| {}, &[], &[]);
    row("somebody else's, as declared", World::with_rule(false), |_| {}, &[], &[]);
    let edits: [Edit; 10] = [
        ("another pattern", |r| r.pattern = Some(r#"{"source":["aws.ssm"]}"#.into()), "its event pattern", &[PUT]),
        ("no pattern", |r| r.pattern = None, "its event pattern", &[PUT]),
        ("nonsense", |r| r.pattern = Some("[]".into()), "its event pattern", &[PUT]),
        ("a schedule", |r| r.schedule = Some("rate(1 day)".into()), "its schedule", &[PUT]),
        ("disabled", |r| r.state = "DISABLED".into(), "its state", &[PUT]),
        ("an unknown state", |r| r.state = "PAUSED".into(), "its state", &[PUT]),
        ("no target", |r| r.targets.clear(), "its target", &[SEND]),
        ("another topic", |r| r.targets = vec![target(AUDIT_TARGET, OTHER_TOPIC)], "its target", &[SEND]),
        ("something else is sent", |r| r.targets[0].altered = true, "its target", &[SEND]),
        (
            "all of it",
            |r| (r.pattern, r.schedule, r.targets) = (None, Some("rate(1 day)".into()), Vec::new()),
            "its event pattern, its schedule, its target",
            &[PUT, SEND],
        ),
    ];
    for (what, edit, says, proposed) in edits {
        let differs = format!("rule ssm-ready-session-audit differs in {says}");
        row(what, World::with_rule(true), |w| edit(w.rule()), &[(DRIFTED, &differs)], proposed);
        let foreign = format!(
            "rule ssm-ready-session-audit differs in {says}, and does not carry the tags of ssm-ready: correct it, delete it, or set spec.adoption: TakeOver"
        );
        row(what, World::with_rule(false), |w| edit(w.rule()), &[("SessionAudit Fail Foreign", &foreign)], &[]);
        let taken_over: Vec<&str> = [TAG].iter().chain(proposed).copied().collect();
        let take = |w: &mut World| {
            edit(w.rule());
            w.posture.take_over = true;
        };
        row(what, World::with_rule(false), take, &[(DRIFTED, says)], &taken_over);
    }
    row(
        "of another object",
        World::with_rule(true),
        |w| {
            w.rule().state = "DISABLED".into();
            w.rule().tags.insert(OWNER_TAG.to_owned(), "RegionPosture/team/other".to_owned());
        },
        &[("SessionAudit Fail Foreign", "")],
        &[],
    );
    row(
        "a target of others is left alone",
        World::with_rule(true),
        |w| w.rule().targets.push(target("theirs", QUEUE)),
        &[(
            "SessionAudit Warn UnexpectedTargets",
            "rule ssm-ready-session-audit also sends to theirs (arn:aws:sqs:eu-west-1:111122223333:q), which ssm-ready leaves alone",
        )],
        &[],
    );
    row(
        "another target that serves will do",
        World::with_rule(true),
        |w| w.rule().targets = vec![target("theirs", TOPIC)],
        &[],
        &[],
    );
    row("not declared", World::with_rule(false), |w| w.posture.audit = None, &[], &[]);
    for (denied, says) in [(true, "AccessDeniedException"), (false, "has not answered yet")] {
        let lose = |w: &mut World| w.lost.insert(FactKey::AuditRule, denied);
        row("unreadable", World::new(), lose, &[(UNREADABLE, says)], &[]);
    }
    let fail = |w: &mut World| w.failed.insert(FactKey::AuditRule);
    row("read once, and not since", World::new(), fail, &[(DRIFTED, "")], &[]);
}

#[test]
fn patterns_are_compared_by_meaning() {
    let other = r#"{"detail":{"eventName":["TerminateSession","StartSession","ResumeSession","StartSession"],
        "eventSource":["ssm.amazonaws.com"]},"detail-type":["AWS API Call via CloudTrail"],"source":["aws.ssm"]}"#;
    assert!(is_same(&pattern(), other));
    for different in [
        other.replace("\"ResumeSession\",", ""),
        other.replace("aws.ssm", "aws.ec2"),
        other.replacen("\"source\"", "\"account\"", 1),
        "{}".to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        assert!(!is_same(&pattern(), &different), "{different}");
    }
    assert!(!is_same("", "") && !is_same("[]", "[]"), "no pattern");
}

#[test]
fn a_topic_that_would_swallow_what_is_sent_gets_no_rule() {
    let refuses = |policy: Value| Topic { policy: Some(policy.to_string()), key: None };
    row(
        "no topic",
        World::new(),
        |w| w.topics.remove(TOPIC),
        &[(
            "SessionAudit Fail TopicNotFound",
            "there is no topic arn:aws:sns:eu-west-1:111122223333:ssm-sessions, so no rule is made: create it, or correct sessionAudit.snsTopicArn",
        )],
        &[],
    );
    let closed = [
        ("no statement", refuses(json!({ "Statement": [] }))),
        ("its account alone", conditional(json!({ "StringEquals": { "AWS:SourceOwner": "111122223333" } }))),
        (
            "another rule",
            conditional(json!({ "ArnEquals": { "aws:SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/x" } })),
        ),
        ("another account", conditional(json!({ "StringEquals": { "aws:SourceAccount": "444455556666" } }))),
    ];
    for (what, topic) in closed {
        let message = "the policy of arn:aws:sns:eu-west-1:111122223333:ssm-sessions does not let events.amazonaws.com publish for arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit: allow it sns:Publish there";
        row(what, World::new(), |w| w.topics.insert(TOPIC.into(), topic), &[(REFUSES, message)], &[]);
    }
    let open_to_us = [
        json!({ "ArnEquals": { "aws:SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-*" } }),
        json!({ "StringEquals": { "aws:SourceAccount": ["111122223333"] } }),
        json!({ "Bool": { "aws:SecureTransport": "true" } }),
    ];
    for condition in open_to_us {
        row(
            &condition.to_string(),
            World::new(),
            |w| w.topics.insert(TOPIC.into(), conditional(condition.clone())),
            &[(DRIFTED, "there is no rule")],
            &[CREATE, SEND],
        );
    }
    let unsure = [conditional(json!({ "DateGreaterThan": { "aws:CurrentTime": "2026-01-01" } })), Topic::default()];
    for topic in unsure {
        row(
            "hangs on something else",
            World::new(),
            |w| w.topics.insert(TOPIC.into(), topic),
            &[
                (UNVERIFIED, "lets events.amazonaws.com publish hangs on what ssm-ready does not judge"),
                (DRIFTED, "there is no rule"),
            ],
            &[CREATE, SEND],
        );
    }
    for key in ["alias/aws/sns", "arn:aws:kms:eu-west-1:111122223333:alias/aws/sns"] {
        row(
            "AWS's own key",
            World::new(),
            |w| w.topics.get_mut(TOPIC).unwrap().key = Some(key.to_owned()),
            &[(REFUSES, "is encrypted with alias/aws/sns, which EventBridge cannot use")],
            &[],
        );
    }
    row(
        "a key of one's own",
        World::with_rule(true),
        |w| w.topics.get_mut(TOPIC).unwrap().key = Some("alias/sessions".to_owned()),
        &[],
        &[],
    );
    row(
        "a rule that is there is not put right for it",
        World::with_rule(true),
        |w| {
            w.topics.remove(TOPIC);
            w.rule().state = "DISABLED".into();
        },
        &[("SessionAudit Fail TopicNotFound", "")],
        &[],
    );
    let topic = || FactKey::Topic(TOPIC.to_owned());
    for (denied, says) in [(true, "AccessDeniedException"), (false, "has not answered yet")] {
        row("unreadable", World::new(), |w| w.lost.insert(topic(), denied), &[(UNREADABLE, says)], &[]);
    }
    let fail = |w: &mut World| w.failed.insert(topic());
    row("read once, and not since", World::new(), fail, &[(DRIFTED, "")], &[]);
    let of_another = |w: &mut World| {
        w.send_to(OF_ANOTHER);
        w.lost.insert(FactKey::Topic(OF_ANOTHER.to_owned()), true);
    };
    row(
        "of an account that keeps it to itself",
        World::new(),
        of_another,
        &[
            (
                UNVERIFIED,
                "arn:aws:sns:eu-west-1:444455556666:sessions is of another account, which does not let us look at it",
            ),
            (DRIFTED, "there is no rule"),
        ],
        &[CREATE, "have rule ssm-ready-session-audit send to arn:aws:sns:eu-west-1:444455556666:sessions"],
    );
}

#[test]
fn a_trail_that_records_sessions_is_looked_for() {
    let basic = |management, read_write: &str| {
        vec![Selector::Basic { management, read_write: read_write.to_owned(), excluded: BTreeSet::new() }]
    };
    let known = |logging, selectors: &[Selector]| TrailWork::Known { logging, selectors: selectors.to_vec() };
    let denied = || TrailWork::Unreadable("AccessDenied".to_owned());
    let with = |works: &[(bool, TrailWork)]| {
        let trails = works.iter().enumerate().map(|(number, (multi_region, work))| Trail {
            multi_region: *multi_region,
            work: work.clone(),
            ..trail(&format!("t{number}"))
        });
        World { trails: trails.collect(), ..World::with_rule(true) }
    };
    let of = "arn:aws:cloudtrail:us-east-1:111122223333:trail/";
    for (works, expected) in [
        (vec![(true, known(true, &[]))], None),
        (vec![(true, denied()), (true, known(true, &basic(true, "WriteOnly")))], None),
        (
            vec![],
            Some((
                NO_TRAIL,
                "no trail is of eu-west-1 or of all regions, so that EventBridge never hears of a session: make one"
                    .to_owned(),
            )),
        ),
        (vec![(false, known(true, &[]))], Some((NO_TRAIL, "no trail is of eu-west-1".to_owned()))),
        (
            vec![(true, known(false, &[])), (true, known(true, &basic(true, "ReadOnly"))), (false, denied())],
            Some((
                NO_TRAIL,
                format!(
                    "no trail records management events that write, so that EventBridge never hears of a session: {of}t0: it is not logging, {of}t1: its event selectors leave sessions out"
                ),
            )),
        ),
        (
            vec![(true, known(false, &[])), (true, denied())],
            Some((
                UNREADABLE,
                format!(
                    "no trail that this account may look at records sessions, and one that it may not may do so: {of}t1: AccessDenied. Allow cloudtrail:GetTrailStatus"
                ),
            )),
        ),
    ] {
        let expected: Vec<(&str, &str)> = expected.iter().map(|(kind, says)| (*kind, says.as_str())).collect();
        row(&format!("{works:?}"), with(&works), |_| {}, &expected, &[]);
        row("not asked for", with(&works), |w| w.posture.audit.as_mut().unwrap().require_trail = false, &[], &[]);
    }
    row("does not keep the rule back", with(&[]), |w| w.rule = None, &[(NO_TRAIL, ""), (DRIFTED, "")], &[CREATE, SEND]);
    for denied in [true, false] {
        row("unreadable", with(&[]), |w| w.lost.insert(FactKey::Trails, denied), &[(UNREADABLE, "")], &[]);
    }
    let verdict = with(&[(true, denied()), (true, known(true, &[]))]).judge();
    assert_eq!(verdict.seen.audit.unwrap().trail, Some(format!("{of}t1")));
}

#[test]
fn what_was_seen_is_told() {
    let seen = |mut world: World| world.judge().seen.audit;
    let arn = "arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit".to_owned();
    let trail = Some(trail("all").arn);
    let all = |rule, ours| Some(SeenAudit { rule, ours, trail: trail.clone() });
    assert_eq!(seen(World::new()), all(None, None));
    assert_eq!(seen(World::with_rule(true)), all(Some(arn.clone()), Some(true)));
    assert_eq!(seen(World::with_rule(false)), all(Some(arn), Some(false)));
    let mut world = World::with_rule(true);
    world.lost.insert(FactKey::AuditRule, true);
    assert_eq!(seen(world), all(None, None));
    let mut world = World::with_rule(true);
    world.posture.audit = None;
    assert_eq!(seen(world), None);
}

#[test]
fn what_has_to_be_known() {
    let wanted = |world: &World| {
        let (region, account) = (Snapshot::default(), Snapshot::default());
        let interval = world.posture.interval;
        let view = RegionView { region: &region, account: &account, interval, account_interval: interval, now: at(0) };
        let wanted = wanted_of_region(&world.posture, &view, &world.memory);
        (wanted, wanted_to_leave(&world.posture, &world.memory))
    };
    let keys = |all: &[FactKey]| all.iter().cloned().collect::<BTreeSet<_>>();
    let topic = FactKey::Topic(TOPIC.to_owned());
    let mut world = World::new();
    let rule = keys(&[FactKey::AuditRule]);
    assert_eq!(wanted(&world), (keys(&[FactKey::AuditRule, FactKey::Trails, topic.clone()]), rule.clone()));
    world.posture.audit.as_mut().unwrap().require_trail = false;
    assert_eq!(wanted(&world), (keys(&[FactKey::AuditRule, topic]), rule.clone()));
    world.posture.audit = None;
    assert_eq!(wanted(&world), (keys(&[]), keys(&[])));
    world.memory.rule = Found::Unset;
    assert_eq!(wanted(&world), (rule.clone(), rule));
}

#[test]
fn what_was_there_first_is_noted_before_the_first_call_and_kept() {
    for (mut world, found) in [
        (World::new(), Found::Unset),
        (
            World::with_rule(false),
            Found::Value("arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit".into()),
        ),
    ] {
        world.posture.take_over = true;
        if let Some(rule) = &mut world.rule {
            rule.targets.clear();
        }
        assert_eq!(note_ahead(&world.judge()).rule, found);
        world.settle();
        assert_eq!(world.memory.rule, found);
        world.rule().state = "DISABLED".to_owned();
        assert_eq!(world.settle(), 1);
        assert_eq!(world.memory.rule, found, "noted once");
    }
    // Nothing is written, and nothing noted.
    let mut world = World::with_rule(false);
    assert_eq!((world.settle(), &world.memory.rule), (0, &Found::NotYet));
}

#[test]
fn a_crash_at_any_point_ends_in_the_same_state() {
    for start in [World::new(), World { rule: None, ..World::with_rule(true) }, World::with_rule(false)] {
        let mut start = start;
        start.posture.take_over = true;
        if let Some(rule) = &mut start.rule {
            (rule.pattern, rule.targets) = (None, Vec::new());
        }
        let mut whole = start.clone();
        let calls = whole.settle();
        assert!(calls >= 2, "{calls}");
        for steps in 0..=calls {
            let mut world = start.clone();
            world.pass(steps);
            world.settle();
            assert_eq!((&world.rule, &world.memory.rule), (&whole.rule, &whole.memory.rule), "{steps}");
        }
    }
}

#[test]
fn leaving_by_each_policy() {
    use RegionDeletion::{Reset, RestorePrevious, Retain};
    let stays = "rule ssm-ready-session-audit";
    let shared = "rule ssm-ready-session-audit, which has targets that ssm-ready did not set";
    let found = || Found::Value("arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit".to_owned());
    // The policy, what was found first, whether others have a target in it, what is done, and what stays.
    for (policy, before, others, done, left) in [
        (Retain, Found::Unset, false, vec![UNTAG], Some(stays)),
        (Retain, found(), false, vec![UNTAG], Some(stays)),
        (RestorePrevious, Found::Unset, false, vec![UNTARGET, DELETE], None),
        (RestorePrevious, Found::Unset, true, vec![UNTARGET, UNTAG], Some(shared)),
        (RestorePrevious, found(), false, vec![UNTAG], Some(stays)),
        (Reset, Found::Unset, false, vec![UNTARGET, DELETE], None),
        (Reset, found(), false, vec![UNTARGET, DELETE], None),
        (Reset, found(), true, vec![UNTARGET, UNTAG], Some(shared)),
        // Our tags without our memory: an object of the same name was here before.
        (RestorePrevious, Found::NotYet, false, vec![UNTAG], Some(stays)),
        (Reset, Found::NotYet, false, vec![UNTAG], Some(stays)),
    ] {
        let what = format!("{policy:?} {before:?} {others}");
        let mut world = World::with_rule(true);
        world.posture.deletion_policy = policy;
        world.memory.rule = before;
        if others {
            world.rule().targets.push(target("theirs", QUEUE));
        }
        for undeclared in [false, true] {
            let mut world = world.clone();
            if undeclared {
                if world.memory.rule == Found::NotYet {
                    continue;
                }
                world.posture.audit = None;
                let verdict = world.judge();
                assert_eq!(calls(&verdict.actions), done, "{what}");
                world.settle();
                assert_eq!(world.memory.rule, Found::NotYet, "{what}: forgotten when it is done");
            } else {
                assert_eq!(calls(&world.farewell().actions), done, "{what}");
                let kept = world.leave();
                assert_eq!(kept.iter().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(left), "{what}");
            }
            assert_eq!(world.rule.is_some(), left.is_some(), "{what}");
            assert!(!world.rule.as_ref().is_some_and(|rule| rule.tags.contains_key(OWNER_TAG)), "{what}");
            let theirs = world.rule.iter().flat_map(|rule| &rule.targets).any(|target| target.id == "theirs");
            assert_eq!(theirs, others, "{what}");
        }
        // Somebody else's is left as it is.
        let mut foreign = world.clone();
        foreign.rule().tags.clear();
        assert_eq!(foreign.farewell(), Parting::default(), "{what}");
        // Unknown is neither here nor gone.
        world.failed.insert(FactKey::AuditRule);
        let next = world.farewell();
        assert_eq!((next.actions.len(), next.is_done()), (0, false), "{what}");
        world.lost.insert(FactKey::AuditRule, true);
        let next = world.farewell();
        assert_eq!((next.actions.len(), next.is_done()), (0, false), "{what}");
    }
    // An object that wrote nothing leaves nothing, and waits for nothing.
    let mut world = World::new();
    world.posture.audit = None;
    world.lost.insert(FactKey::AuditRule, true);
    assert_eq!(world.farewell(), Parting::default());
}

#[test]
fn a_rule_that_was_never_shown_is_waited_for() {
    const PENDING: &str = "rule ssm-ready-session-audit may have been made a moment ago, and AWS does not show it yet";
    // Facts are read at 0.
    for (doubt_until, unseen, waits) in
        [(None, true, false), (Some(0), true, false), (Some(1), true, true), (Some(1), false, false)]
    {
        let mut world = World::new();
        world.posture.deletion_policy = RegionDeletion::Reset;
        (world.memory.rule, world.memory.rule_unseen) = (Found::Unset, unseen);
        world.memory.doubt_until = doubt_until.map(at);
        let next = world.farewell();
        assert_eq!(next.pending, if waits { vec![PENDING] } else { vec![] }, "{doubt_until:?}");
        assert_eq!((next.is_done(), next.watch.contains(&FactKey::AuditRule)), (!waits, waits));
        // No longer declared: likewise.
        world.posture.audit = None;
        let verdict = world.judge();
        let pending = said(&verdict);
        let expected = [("SessionAudit Fail AuditPending".to_owned(), PENDING.to_owned())];
        assert_eq!(pending, expected.into_iter().filter(|_| waits).collect::<Vec<_>>());
    }
}

#[test]
fn a_rule_that_is_declared_is_not_taken_along_with_what_is_not() {
    use crate::facts::settings::{Setting, SettingValue};
    let mut world = World::with_rule(true);
    world.posture.deletion_policy = RegionDeletion::Reset;
    let knob = Knob::Setting(Setting::ActivationTier);
    let kept = KnobMemory { found: Found::Unset, applied: Some("advanced".to_owned()), applying: None };
    world.memory.knobs.insert(knob, kept);
    world.read();
    let value = SettingValue { value: Some("advanced".to_owned()), ..SettingValue::default() };
    world.region.note(&FactKey::Setting(Setting::ActivationTier), Ok(FactValue::Setting(Some(value))), at(0));
    let account = Snapshot::default();
    let interval = world.posture.interval;
    let view =
        RegionView { region: &world.region, account: &account, interval, account_interval: interval, now: at(0) };
    let verdict = evaluate(&world.posture, &view, &world.memory);
    assert_eq!(calls(&verdict.actions), ["reset /ssm/managed-instance/activation-tier"]);
}

#[test]
fn a_rule_that_may_not_be_made_waits_for_iam_and_then_for_a_person() {
    let verdict = World::new().judge();
    let applied = |tried: fn(&Write) -> Tried| -> Vec<Applied> {
        let actions = plan(verdict.actions.clone()).actions;
        actions.into_iter().map(|action| Applied { tried: tried(&action.write), action }).collect()
    };
    let denied = applied(|write| match write.operation() {
        Operation::PutRule => Tried::Failed(fault(Operation::PutRule, "AccessDeniedException")),
        _ => Tried::NotTried,
    });
    let done = applied(|_| Tried::Done(Written::Done));
    for (tried, denied_for, condition, reason) in [
        (&done, Duration::ZERO, "Reconciling", Reason::Progressing),
        (&denied, Duration::ZERO, "Reconciling", Reason::ProgressingWithRetry),
        (&denied, DENIAL_GRACE, "Stalled", Reason::PermissionDenied),
    ] {
        let circumstances = Circumstances { mode: Mode::Enforce, was_ready: true, denied_for, principal: None };
        let report = report(&verdict, tried, circumstances);
        let found = report.conditions.iter().find(|c| ["Reconciling", "Stalled"].contains(&c.kind)).unwrap();
        assert_eq!((found.kind, found.reason), (condition, reason), "{:#?}", report.conditions);
    }
}
