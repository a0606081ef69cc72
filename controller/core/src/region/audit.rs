//! Session audit: a rule of EventBridge that reports sessions to a topic, and the trail that it hears of them from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Case, Found, RegionMemory, RegionPosture, RegionSeen, ours};
use crate::{
    evaluate::{Facet, Verdict, join},
    facts::audit::{AUDIT_RULE, AUDIT_TARGET, AuditRule, SESSION_CALLS, SESSION_EVENT_SOURCE, Trail, TrailWork},
    fault::FaultKind,
    policy::{Access, Request, access},
    reason::Reason,
    snapshot::{FactKey, Reading},
    write::{RuleChange, Write},
};

const FACET: Facet = Facet::SessionAudit;

/// Who publishes what a rule sends to a topic.
const PUBLISHER: &str = "events.amazonaws.com";
/// The key of AWS's own for SNS: its policy, which nobody can change, does not let EventBridge use it.
const KEY_OF_AWS: &str = "alias/aws/sns";

/// What is wanted of session audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionAudit {
    /// The ARN of the topic that sessions are reported to.
    pub topic: String,
    /// Whether a trail has to record them.
    pub require_trail: bool,
}

/// How session audit was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenAudit {
    /// The ARN of the rule, where there is one.
    pub rule: Option<String>,
    /// Whether it carries our tags, where there is one.
    pub ours: Option<bool>,
    /// The ARN of a trail that records sessions, where one was looked for and found.
    pub trail: Option<String>,
}

/// The pattern of the rule (Systems Manager, "Monitoring session activity using Amazon EventBridge"): the calls that begin,
/// go on with and end a session, as CloudTrail reports them.
#[must_use]
pub fn pattern() -> String {
    json!({
        "source": ["aws.ssm"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": { "eventSource": [SESSION_EVENT_SOURCE], "eventName": SESSION_CALLS },
    })
    .to_string()
}

/// The ARN of the rule, be it there or not.
fn rule_arn(posture: &RegionPosture) -> String {
    format!("arn:{}:events:{}:{}:rule/{AUDIT_RULE}", posture.partition, posture.region, posture.account)
}

/// What a pattern means: alternatives in any order, each once; none for a text that is no pattern.
fn meaning(pattern: &str) -> Option<Value> {
    fn plain(value: Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, v)| (name, plain(v))).collect()),
            Value::Array(all) => {
                let all: BTreeMap<String, Value> = all.into_iter().map(|v| (v.to_string(), v)).collect();
                Value::Array(all.into_values().collect())
            }
            other => other,
        }
    }
    serde_json::from_str(pattern).ok().filter(Value::is_object).map(plain)
}

/// Whether two patterns mean the same.
fn is_same(one: &str, other: &str) -> bool {
    matches!((meaning(one), meaning(other)), (Some(one), Some(other)) if one == other)
}

/// In what a rule differs from what is declared.
#[derive(Debug, Default)]
struct Differences {
    /// What PutRule mends.
    rule: Vec<&'static str>,
    /// What PutTargets mends.
    target: Option<&'static str>,
}

impl Differences {
    fn of(rule: &AuditRule, topic: &str) -> Self {
        let mut found = Self::default();
        if !rule.pattern.as_deref().is_some_and(|is| is_same(is, &pattern())) {
            found.rule.push("its event pattern");
        }
        if rule.schedule.is_some() {
            found.rule.push("its schedule");
        }
        if !rule.is_enabled() {
            found.rule.push("its state");
        }
        let ours = rule.targets.iter().find(|target| target.id == AUDIT_TARGET);
        let serves = |arn: &str, altered: bool| arn == topic && !altered;
        let served = rule.targets.iter().any(|target| serves(&target.arn, target.altered));
        if !served || ours.is_some_and(|target| !serves(&target.arn, target.altered)) {
            found.target = Some("its target");
        }
        found
    }

    fn words(&self) -> String {
        self.rule.iter().copied().chain(self.target).collect::<Vec<_>>().join(", ")
    }

    fn is_empty(&self) -> bool {
        self.rule.is_empty() && self.target.is_none()
    }
}

/// The facts that are needed.
pub(super) fn wanted(posture: &RegionPosture) -> BTreeSet<FactKey> {
    let Some(wish) = &posture.audit else { return BTreeSet::new() };
    let trails = wish.require_trail.then_some(FactKey::Trails);
    [FactKey::AuditRule, FactKey::Topic(wish.topic.clone())].into_iter().chain(trails).collect()
}

pub(super) fn judge(case: Case<'_>, verdict: &mut Verdict<RegionSeen>) {
    let Some(wish) = &case.posture.audit else { return };
    let topic = judge_topic(case, wish, verdict);
    let trail = if wish.require_trail { judge_trails(case, verdict) } else { None };
    let reading = case.view.audit_rule();
    let Some(found) = reading.known() else {
        verdict.seen.audit = Some(SeenAudit { trail, ..SeenAudit::default() });
        return verdict.unknown(FACET, &FactKey::AuditRule, &reading);
    };
    verdict.seen.audit = Some(SeenAudit {
        rule: found.as_ref().map(|rule| rule.arn.clone()),
        ours: found.as_ref().map(|rule| ours(case.posture, &rule.tags)),
        trail,
    });
    let may_write = topic == Some(true) && reading.current().is_some();
    let Some(rule) = found else {
        if topic.is_none() {
            // It was said what is in the way.
            return;
        }
        verdict.fail(FACET, Reason::AuditDrifted, format!("there is no rule {AUDIT_RULE}")).differs(
            "sessionAudit",
            "a rule",
            "none",
        );
        if may_write {
            let tags = case.posture.owner.tags();
            verdict.propose(FACET, Write::Rule(RuleChange::Put { pattern: pattern(), tags }));
            verdict.propose(FACET, Write::Rule(RuleChange::Target(wish.topic.clone())));
        }
        return;
    };
    let is_ours = ours(case.posture, &rule.tags);
    if is_ours {
        warn_of_others(rule, &wish.topic, verdict);
    }
    let differing = Differences::of(rule, &wish.topic);
    if differing.is_empty() {
        let whose = if is_ours { "" } else { ", which ssm-ready did not make," };
        return verdict.pass(FACET, format!("rule {AUDIT_RULE}{whose} reports sessions to {}", wish.topic));
    }
    let what = differing.words();
    if !(is_ours || case.posture.take_over) {
        verdict
            .fail(
                FACET,
                Reason::Foreign,
                format!(
                    "rule {AUDIT_RULE} differs in {what}, and does not carry the tags of ssm-ready: correct it, delete it, or set spec.adoption: TakeOver"
                ),
            )
            .differs("sessionAudit", "as declared", &what);
        return;
    }
    if topic.is_none() {
        return;
    }
    verdict.fail(FACET, Reason::AuditDrifted, format!("rule {AUDIT_RULE} differs in {what}")).differs(
        "sessionAudit",
        "as declared",
        &what,
    );
    if !may_write {
        return;
    }
    if !is_ours {
        let tags = case.posture.owner.tags();
        verdict.propose(FACET, Write::Rule(RuleChange::Tag { rule: rule_arn(case.posture), tags }));
    }
    if !differing.rule.is_empty() {
        let put = RuleChange::Put { pattern: pattern(), tags: BTreeMap::new() };
        verdict.propose(FACET, Write::Rule(put));
    }
    if differing.target.is_some() {
        verdict.propose(FACET, Write::Rule(RuleChange::Target(wish.topic.clone())));
    }
}

/// Targets that somebody else has set in our rule.
fn warn_of_others(rule: &AuditRule, topic: &str, verdict: &mut Verdict<RegionSeen>) {
    let others: Vec<String> = rule
        .targets
        .iter()
        .filter(|target| target.id != AUDIT_TARGET && target.arn != topic)
        .map(|target| format!("{} ({})", target.id, target.arn))
        .collect();
    if !others.is_empty() {
        let message = format!("rule {AUDIT_RULE} also sends to {}, which ssm-ready leaves alone", join(others));
        verdict.warn(FACET, Reason::UnexpectedTargets, message);
    }
}

/// Says whether the topic is there and takes what EventBridge sends. Where it does, as far as that can be told: whether that
/// was read a moment ago, so that a rule may be written for it.
fn judge_topic(case: Case<'_>, wish: &SessionAudit, verdict: &mut Verdict<RegionSeen>) -> Option<bool> {
    let Case { posture, view, .. } = case;
    let topic = &wish.topic;
    let reading = view.topic(topic);
    let found = match reading {
        Reading::Known { value, current } => value.as_ref().map(|topic| (topic, current)),
        // Its owner need not let us look.
        Reading::Unknown(Some(fault)) if fault.kind == FaultKind::Denied && !is_of(posture, topic) => {
            let message = format!("{topic} is of another account, which does not let us look at it ({fault})");
            verdict.warn(FACET, Reason::TopicUnverified, message);
            return Some(true);
        }
        Reading::Unknown(_) => {
            verdict.unknown(FACET, &FactKey::Topic(topic.clone()), &reading);
            return None;
        }
    };
    let Some((found, current)) = found else {
        let message =
            format!("there is no topic {topic}, so no rule is made: create it, or correct sessionAudit.snsTopicArn");
        verdict.fail(FACET, Reason::TopicNotFound, message);
        return None;
    };
    if found.key.as_deref().is_some_and(|key| key.ends_with(KEY_OF_AWS)) {
        let message = format!(
            "{topic} is encrypted with {KEY_OF_AWS}, which EventBridge cannot use: encrypt it with a key of your own whose policy lets {PUBLISHER} use it, or not at all"
        );
        verdict.fail(FACET, Reason::TopicRefuses, message);
        return None;
    }
    let source = rule_arn(posture);
    let asked = Request {
        service: PUBLISHER,
        action: "sns:Publish",
        resource: topic,
        source_arn: &source,
        source_account: posture.account.as_str(),
    };
    match found.policy.as_deref().map_or(Access::Unsure, |policy| access(policy, &asked)) {
        Access::Allowed => {}
        Access::Unsure => {
            let message = format!(
                "whether the policy of {topic} lets {PUBLISHER} publish hangs on what ssm-ready does not judge"
            );
            verdict.warn(FACET, Reason::TopicUnverified, message);
        }
        Access::Refused => {
            let message = format!(
                "the policy of {topic} does not let {PUBLISHER} publish for {source}: allow it sns:Publish there"
            );
            verdict.fail(FACET, Reason::TopicRefuses, message);
            return None;
        }
    }
    Some(current)
}

/// Whether a topic is of the posture's own account.
fn is_of(posture: &RegionPosture, topic: &str) -> bool {
    topic.split(':').nth(4) == Some(posture.account.as_str())
}

/// Says whether some trail records sessions, and which.
fn judge_trails(case: Case<'_>, verdict: &mut Verdict<RegionSeen>) -> Option<String> {
    let region = case.posture.region.as_str();
    let reading = case.view.trails();
    let Some(trails) = reading.known() else {
        verdict.unknown(FACET, &FactKey::Trails, &reading);
        return None;
    };
    if let Some(trail) = trails.iter().find(|trail| trail.records_sessions_in(region) == Some(true)) {
        verdict.pass(FACET, format!("{} records sessions", trail.arn));
        return Some(trail.arn.clone());
    }
    let unreadable: Vec<String> = trails
        .iter()
        .filter(|trail| trail.records_sessions_in(region).is_none())
        .map(|trail| format!("{}: {}", trail.arn, why(trail)))
        .collect();
    if !unreadable.is_empty() {
        let message = format!(
            "no trail that this account may look at records sessions, and one that it may not may do so: {}. Allow cloudtrail:GetTrailStatus and GetEventSelectors, or set sessionAudit.requireTrail: false",
            join(unreadable)
        );
        verdict.check(FACET, crate::evaluate::Outcome::Unknown, Reason::FactUnreadable, message);
        return None;
    }
    let of_region = trails.iter().filter(|trail| trail.multi_region || trail.home_region == region);
    let others: Vec<String> = of_region.map(|trail| format!("{}: {}", trail.arn, why(trail))).collect();
    let message = if others.is_empty() {
        format!("no trail is of {region} or of all regions, so that EventBridge never hears of a session: make one")
    } else {
        format!(
            "no trail records management events that write, so that EventBridge never hears of a session: {}",
            join(others)
        )
    };
    verdict.fail(FACET, Reason::TrailMissing, message).differs(
        "sessionAudit.requireTrail",
        "a trail that records sessions",
        "none",
    );
    None
}

/// Why a trail of the region does not count.
fn why(trail: &Trail) -> String {
    match &trail.work {
        TrailWork::Unreadable(why) => why.clone(),
        TrailWork::Known { logging: false, .. } => "it is not logging".to_owned(),
        TrailWork::Known { .. } => "its event selectors leave sessions out".to_owned(),
    }
}

/// Notes what there was before ours.
pub(super) fn note_ahead(write: &Write, seen: &RegionSeen, memory: &mut RegionMemory) {
    if matches!(write, Write::Rule(_)) && memory.rule == Found::NotYet {
        let before = seen.audit.as_ref().and_then(|audit| audit.rule.clone());
        memory.rule = before.map_or(Found::Unset, Found::Value);
    }
}

#[cfg(test)]
mod tests;
