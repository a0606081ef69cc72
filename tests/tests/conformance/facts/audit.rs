//! What tells of sessions: the rule of EventBridge, trails and topics (domain 4, 8; EventBridge, CloudTrail and SNS API
//! references).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        audit::{AUDIT_TARGET, AuditRule, Comparison, RuleTarget, Selector, Topic, Trail, TrailWork},
    },
    fault::{Fault, FaultKind, NO_ANSWER},
    policy::{Access, Request, access},
    write::{RuleChange, Write},
};

use crate::{
    lab::{ELSEWHERE, Lab, NewTrail, REGION, RuleDeed, Weather},
    stage::{Desk, refused, refused_as, tags},
};

facts!(
    there_is_no_rule_at_first,
    a_rule_is_made_with_its_pattern_and_tags,
    a_rule_that_is_put_again_keeps_its_targets_and_tags_alone,
    patterns_are_checked,
    a_target_is_known_by_its_id,
    targets_are_limited,
    an_entry_that_fails_is_told_of_with_200,
    a_rule_with_targets_is_not_deleted,
    a_rule_that_is_deleted_is_gone,
    a_rule_that_is_not_there_is_not_found,
    tags_of_a_rule_come_and_go,
    rules_are_of_an_account_and_region,
    a_denied_rule_names_its_action,
    a_rule_whose_answer_is_lost_was_made,
    a_region_shows_its_trails_and_those_of_all_regions,
    a_trail_records_all_management_events_until_it_is_told,
    a_trail_of_the_organisation_keeps_to_itself,
    a_denied_trail_names_its_action,
    a_topic_is_for_its_own_account_at_first,
    a_topic_has_the_policy_and_the_key_that_it_is_given,
    a_topic_that_is_not_there_is_none,
    a_topic_of_another_account_keeps_to_itself,
);

const PATTERN: &str = r#"{"source":["aws.ssm"]}"#;

fn put(tags: Tags) -> Write {
    Write::Rule(RuleChange::Put { pattern: PATTERN.to_owned(), tags })
}

fn arn(desk: &Desk<'_>, topic: &str) -> String {
    format!("arn:aws:sns:{}:{}:{topic}", desk.at.region, desk.at.account)
}

fn rule_arn(desk: &Desk<'_>) -> String {
    format!("arn:aws:events:{}:{}:rule/ssm-ready-session-audit", desk.at.region, desk.at.account)
}

fn target(desk: &Desk<'_>, topic: &str) -> Write {
    Write::Rule(RuleChange::Target(arn(desk, topic)))
}

fn remove(ids: &[&str]) -> Write {
    Write::Rule(RuleChange::RemoveTargets(ids.iter().map(|id| (*id).to_owned()).collect()))
}

fn tag(desk: &Desk<'_>, pairs: &[(&str, &str)]) -> Write {
    Write::Rule(RuleChange::Tag { rule: rule_arn(desk), tags: tags(pairs) })
}

fn untag(desk: &Desk<'_>, keys: &[&str]) -> Write {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Write::Rule(RuleChange::Untag { rule: rule_arn(desk), keys })
}

async fn found(desk: &Desk<'_>) -> Result<Option<AuditRule>, Fault> {
    desk.cloud().await.audit_rule(&desk.scope).await
}

async fn seen(desk: &Desk<'_>) -> Result<AuditRule> {
    found(desk).await?.context("there is no rule")
}

async fn targets(desk: &Desk<'_>) -> Result<BTreeSet<RuleTarget>> {
    Ok(seen(desk).await?.targets.into_iter().collect())
}

/// A place that has the rule.
async fn with_rule(lab: &dyn Lab) -> Result<Desk<'_>> {
    let desk = Desk::set(lab).await?;
    desk.done(put(tags(&[("owner", "us")]))).await?;
    Ok(desk)
}

/// `ResourceNotFoundException`.
async fn there_is_no_rule_at_first(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    assert_eq!(found(&desk).await?, None);
    Ok(())
}

async fn a_rule_is_made_with_its_pattern_and_tags(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let owner = tags(&[("owner", "us"), ("with space", "a b/c")]);
    desk.done(put(owner.clone())).await?;
    let made = seen(&desk).await?;
    let expected = AuditRule {
        arn: rule_arn(&desk),
        pattern: Some(PATTERN.to_owned()),
        schedule: None,
        state: "ENABLED".to_owned(),
        targets: Vec::new(),
        tags: owner,
    };
    assert_eq!(made, expected);
    Ok(())
}

/// `PutRule`: what is left out is not kept. "If you are updating an existing rule, [...] tags [...] are ignored."
async fn a_rule_that_is_put_again_keeps_its_targets_and_tags_alone(lab: &dyn Lab) -> Result<()> {
    let desk = with_rule(lab).await?;
    desk.done(target(&desk, "a")).await?;
    lab.foreign_rule(&desk.at, RuleDeed::Disable).await?;
    let disabled = seen(&desk).await?;
    ensure!(!disabled.is_enabled(), "{disabled:?}");
    desk.done(put(tags(&[("owner", "somebody else"), ("more", "")]))).await?;
    let again = seen(&desk).await?;
    ensure!(again.is_enabled(), "{again:?}");
    assert_eq!(AuditRule { state: disabled.state.clone(), ..again }, disabled);
    Ok(())
}

/// `InvalidEventPatternException`.
async fn patterns_are_checked(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let wrong = Write::Rule(RuleChange::Put { pattern: "no JSON".to_owned(), tags: Tags::new() });
    refused_as(FaultKind::Invalid, "InvalidEventPatternException", desk.write(wrong).await)?;
    assert_eq!(found(&desk).await?, None);
    Ok(())
}

/// `PutTargets` "adds the specified targets to the specified rule, or updates the targets if they are already associated
/// with the rule".
async fn a_target_is_known_by_its_id(lab: &dyn Lab) -> Result<()> {
    let desk = with_rule(lab).await?;
    let of = |id: &str, topic: &str, altered| RuleTarget { id: id.to_owned(), arn: arn(&desk, topic), altered };
    desk.done(target(&desk, "a")).await?;
    assert_eq!(targets(&desk).await?, [of(AUDIT_TARGET, "a", false)].into());
    lab.foreign_rule(&desk.at, RuleDeed::Target { id: "theirs", arn: &arn(&desk, "c") }).await?;
    desk.done(target(&desk, "b")).await?;
    let both = [of(AUDIT_TARGET, "b", false), of("theirs", "c", true)];
    assert_eq!(targets(&desk).await?, both.clone().into());
    // What sends a text of its own sends the event again when it is set anew.
    lab.foreign_rule(&desk.at, RuleDeed::Target { id: AUDIT_TARGET, arn: &arn(&desk, "b") }).await?;
    ensure!(targets(&desk).await?.iter().all(|target| target.altered), "{:?}", targets(&desk).await?);
    desk.done(target(&desk, "b")).await?;
    assert_eq!(targets(&desk).await?, both.into());
    desk.done(remove(&[AUDIT_TARGET, "never"])).await?;
    assert_eq!(targets(&desk).await?, [of("theirs", "c", true)].into());
    Ok(())
}

/// Five targets for a rule (EventBridge quotas).
async fn targets_are_limited(lab: &dyn Lab) -> Result<()> {
    let desk = with_rule(lab).await?;
    for id in ["1", "2", "3", "4", "5"] {
        lab.foreign_rule(&desk.at, RuleDeed::Target { id, arn: &arn(&desk, "a") }).await?;
    }
    refused_as(FaultKind::LimitExceeded, "LimitExceededException", desk.write(target(&desk, "b")).await)?;
    desk.done(remove(&["1"])).await?;
    desk.done(target(&desk, "b")).await?;
    // One that is there takes no more room.
    desk.done(target(&desk, "c")).await
}

/// `FailedEntryCount`.
async fn an_entry_that_fails_is_told_of_with_200(lab: &dyn Lab) -> Result<()> {
    let desk = with_rule(lab).await?;
    desk.done(target(&desk, "a")).await?;
    let before = seen(&desk).await?;
    for operation in [Operation::PutTargets, Operation::RemoveTargets] {
        lab.weather(&desk.at, operation, Weather::Unsuccessful).await?;
    }
    for write in [target(&desk, "b"), remove(&[AUDIT_TARGET])] {
        ensure!(desk.write(write.clone()).await.is_err(), "{write} is said to be done");
    }
    lab.clear_weather(&desk.at).await?;
    assert_eq!(seen(&desk).await?, before);
    Ok(())
}

/// `DeleteRule`: "Before you can delete the rule, you must remove all targets".
async fn a_rule_with_targets_is_not_deleted(lab: &dyn Lab) -> Result<()> {
    let desk = with_rule(lab).await?;
    desk.done(target(&desk, "a")).await?;
    let early = desk.write(Write::Rule(RuleChange::Delete)).await;
    refused_as(FaultKind::Invalid, "ValidationException", early)?;
    desk.done(remove(&[AUDIT_TARGET])).await?;
    desk.done(Write::Rule(RuleChange::Delete)).await?;
    assert_eq!(found(&desk).await?, None);
    Ok(())
}

async fn a_rule_that_is_deleted_is_gone(lab: &dyn Lab) -> Result<()> {
    let desk = with_rule(lab).await?;
    desk.done(Write::Rule(RuleChange::Delete)).await?;
    assert_eq!(found(&desk).await?, None);
    // Another one of the name has nothing of it.
    desk.done(put(Tags::new())).await?;
    let again = seen(&desk).await?;
    assert_eq!((again.tags, again.targets), (Tags::new(), Vec::new()));
    Ok(())
}

/// `ResourceNotFoundException`.
async fn a_rule_that_is_not_there_is_not_found(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for write in [target(&desk, "a"), tag(&desk, &[("a", "1")]), untag(&desk, &["a"])] {
        refused_as(FaultKind::NotFound, "ResourceNotFoundException", desk.write(write).await)?;
    }
    // Nothing is left to take away.
    desk.done(remove(&[AUDIT_TARGET])).await?;
    desk.done(Write::Rule(RuleChange::Delete)).await
}

async fn tags_of_a_rule_come_and_go(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    desk.done(put(tags(&[("a", "1"), ("b", "2")]))).await?;
    desk.done(tag(&desk, &[("b", "3"), ("c", "4")])).await?;
    desk.done(untag(&desk, &["a", "never"])).await?;
    assert_eq!(seen(&desk).await?.tags, tags(&[("b", "3"), ("c", "4")]));
    Ok(())
}

async fn rules_are_of_an_account_and_region(lab: &dyn Lab) -> Result<()> {
    let (desk, other) = (with_rule(lab).await?, Desk::set(lab).await?);
    for scope in [desk.at.in_region(ELSEWHERE)?.scope(), other.scope] {
        assert_eq!(desk.cloud().await.audit_rule(&scope).await?, None);
    }
    Ok(())
}

async fn a_denied_rule_names_its_action(lab: &dyn Lab) -> Result<()> {
    let desk = with_rule(lab).await?;
    let before = seen(&desk).await?;
    let denied = [
        (Operation::PutRule, put(Tags::new())),
        (Operation::PutTargets, target(&desk, "a")),
        (Operation::TagResource, tag(&desk, &[("a", "1")])),
        (Operation::UntagResource, untag(&desk, &["owner"])),
        (Operation::RemoveTargets, remove(&[AUDIT_TARGET])),
        (Operation::DeleteRule, Write::Rule(RuleChange::Delete)),
    ];
    for (operation, write) in denied {
        lab.weather(&desk.at, operation, Weather::Denied).await?;
        assert_eq!(refused(FaultKind::Denied, desk.write(write).await)?.operation, operation);
        lab.clear_weather(&desk.at).await?;
    }
    for operation in [Operation::DescribeRule, Operation::ListTargetsByRule, Operation::ListTagsForResource] {
        lab.weather(&desk.at, operation, Weather::Denied).await?;
        assert_eq!(refused(FaultKind::Denied, found(&desk).await)?.operation, operation);
        lab.clear_weather(&desk.at).await?;
    }
    assert_eq!(seen(&desk).await?, before);
    // What makes a rule with tags takes the tagging as well.
    desk.done(Write::Rule(RuleChange::Delete)).await?;
    lab.weather(&desk.at, Operation::TagResource, Weather::Denied).await?;
    refused(FaultKind::Denied, desk.write(put(tags(&[("owner", "us")]))).await)?;
    assert_eq!(found(&desk).await?, None);
    desk.done(put(Tags::new())).await
}

async fn a_rule_whose_answer_is_lost_was_made(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    lab.weather(&desk.at, Operation::PutRule, Weather::LostAnswer).await?;
    refused_as(FaultKind::Transient, NO_ANSWER, desk.write(put(tags(&[("owner", "us")]))).await)?;
    lab.clear_weather(&desk.at).await?;
    assert_eq!(seen(&desk).await?.tags, tags(&[("owner", "us")]));
    Ok(())
}

const TRAIL: NewTrail<'static> = NewTrail {
    name: "own-trail",
    home: REGION,
    multi_region: false,
    logging: true,
    selectors: &[],
    organisation: None,
};

async fn trails(desk: &Desk<'_>) -> Result<BTreeMap<String, Trail>> {
    let all = desk.cloud().await.trails(&desk.scope).await?;
    Ok(all.into_iter().map(|trail| (trail.arn.clone(), trail)).collect())
}

/// `DescribeTrails`: shadows of the trails that are of all regions; none of those of other regions.
async fn a_region_shows_its_trails_and_those_of_all_regions(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    assert_eq!(trails(&desk).await?, BTreeMap::new());
    let own = lab.trail(&desk.at, TRAIL).await?;
    let all = NewTrail { name: "all-regions", home: ELSEWHERE, multi_region: true, logging: false, ..TRAIL };
    let all = lab.trail(&desk.at, all).await?;
    lab.trail(&desk.at, NewTrail { name: "far-away", home: ELSEWHERE, ..TRAIL }).await?;
    let shown = trails(&desk).await?;
    let told: Vec<(&str, &str, bool, Option<bool>)> = shown
        .values()
        .map(|t| (t.arn.as_str(), t.home_region.as_str(), t.multi_region, t.records_sessions_in(REGION)))
        .collect();
    let expected = [(all.as_str(), ELSEWHERE, true, Some(false)), (own.as_str(), REGION, false, Some(true))];
    assert_eq!(told, expected);
    Ok(())
}

/// `GetEventSelectors`: by default "all management events".
async fn a_trail_records_all_management_events_until_it_is_told(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let basic = |management, read_write: &str, excluded: &[&str]| Selector::Basic {
        management,
        read_write: read_write.to_owned(),
        excluded: excluded.iter().map(|source| (*source).to_owned()).collect(),
    };
    let is = |field: &str, comparison, text: &str| (field.to_owned(), [(comparison, vec![text.to_owned()])].into());
    let management = || is("eventCategory", Comparison::Equals, "Management");
    for (name, selectors, records) in [
        ("untold", vec![], true),
        ("writes", vec![basic(true, "WriteOnly", &["kms.amazonaws.com"])], true),
        ("reads", vec![basic(true, "ReadOnly", &[])], false),
        ("data", vec![basic(false, "All", &[])], false),
        ("advanced", vec![Selector::Advanced(vec![management()])], true),
        (
            "advanced-but",
            vec![Selector::Advanced(vec![management(), is("eventSource", Comparison::NotEquals, "ssm.amazonaws.com")])],
            false,
        ),
    ] {
        let arn = lab.trail(&desk.at, NewTrail { name, selectors: &selectors, ..TRAIL }).await?;
        let trail = trails(&desk).await?.remove(&arn).with_context(|| format!("{name} is not shown"))?;
        assert_eq!(trail.records_sessions_in(REGION), Some(records), "{name}: {trail:?}");
        let TrailWork::Known { selectors: told, .. } = trail.work else { anyhow::bail!("{name}: {trail:?}") };
        ensure!(selectors.is_empty() || told == selectors, "{name}: {told:?}");
    }
    Ok(())
}

/// Members see the organisation's trail. What AWS answers them who ask what it does is UNCONFIRMED: at any rate it keeps
/// nobody from the trails of their own.
async fn a_trail_of_the_organisation_keeps_to_itself(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let management = lab.place().await?;
    let of_all = NewTrail { name: "organisation", multi_region: true, organisation: Some(&management), ..TRAIL };
    let of_all = lab.trail(&desk.at, of_all).await?;
    let own = lab.trail(&desk.at, TRAIL).await?;
    let shown = trails(&desk).await?;
    assert_eq!(shown.keys().collect::<BTreeSet<_>>(), [&of_all, &own].into());
    assert_eq!(shown[&of_all].records_sessions_in(REGION), None);
    assert_eq!(shown[&own].records_sessions_in(REGION), Some(true));
    Ok(())
}

async fn a_denied_trail_names_its_action(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    lab.trail(&desk.at, TRAIL).await?;
    for operation in [Operation::DescribeTrails, Operation::GetTrailStatus, Operation::GetEventSelectors] {
        lab.weather(&desk.at, operation, Weather::Denied).await?;
        let read = desk.cloud().await.trails(&desk.scope).await;
        assert_eq!(refused(FaultKind::Denied, read)?.operation, operation);
        lab.clear_weather(&desk.at).await?;
    }
    Ok(())
}

async fn topic(desk: &Desk<'_>, arn: &str) -> Result<Option<Topic>, Fault> {
    desk.cloud().await.topic(&desk.scope, arn).await
}

/// What a topic's policy says of what EventBridge sends.
fn says(desk: &Desk<'_>, arn: &str, topic: &Topic) -> Result<Access> {
    let source = rule_arn(desk);
    let request = Request {
        service: "events.amazonaws.com",
        action: "sns:Publish",
        resource: arn,
        source_arn: &source,
        source_account: desk.at.account.as_str(),
    };
    Ok(access(topic.policy.as_deref().context("no policy")?, &request))
}

/// SNS: "By default, only the topic owner can publish".
async fn a_topic_is_for_its_own_account_at_first(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let arn = lab.topic(&desk.at, "sessions", None, None).await?;
    let read = topic(&desk, &arn).await?.context("no topic")?;
    assert_eq!((says(&desk, &arn, &read)?, read.key), (Access::Refused, None));
    Ok(())
}

async fn a_topic_has_the_policy_and_the_key_that_it_is_given(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let statement = serde_json::json!({
        "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "sns:Publish",
        "Resource": arn(&desk, "sessions"),
    });
    let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
    let arn = lab.topic(&desk.at, "sessions", Some(&policy), Some("alias/aws/sns")).await?;
    let read = topic(&desk, &arn).await?.context("no topic")?;
    assert_eq!((says(&desk, &arn, &read)?, read.key.as_deref()), (Access::Allowed, Some("alias/aws/sns")));
    Ok(())
}

/// `NotFound`.
async fn a_topic_that_is_not_there_is_none(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    lab.topic(&desk.at, "sessions", None, None).await?;
    assert_eq!(topic(&desk, &arn(&desk, "other")).await?, None);
    lab.weather(&desk.at, Operation::GetTopicAttributes, Weather::Denied).await?;
    let read = topic(&desk, &arn(&desk, "sessions")).await;
    assert_eq!(refused(FaultKind::Denied, read)?.operation, Operation::GetTopicAttributes);
    Ok(())
}

/// `AuthorizationError`.
async fn a_topic_of_another_account_keeps_to_itself(lab: &dyn Lab) -> Result<()> {
    let (desk, other) = (Desk::set(lab).await?, Desk::set(lab).await?);
    let arn = lab.topic(&other.at, "sessions", None, None).await?;
    refused_as(FaultKind::Denied, "AuthorizationError", topic(&desk, &arn).await)?;
    ensure!(topic(&other, &arn).await?.is_some(), "not even to its own");
    Ok(())
}
