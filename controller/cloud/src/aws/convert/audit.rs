//! The rule that reports sessions, trails and topics.

use std::collections::BTreeMap;

use aws_sdk_cloudtrail::{operation::get_event_selectors::GetEventSelectorsOutput, types as cloudtrail};
use aws_sdk_eventbridge::{operation::describe_rule::DescribeRuleOutput, types as events};
use aws_sdk_sns::operation::get_topic_attributes::GetTopicAttributesOutput;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        audit::{AuditRule, Comparison, RuleTarget, Selector, Topic, Trail, TrailWork},
    },
    fault::Fault,
};

use super::{given, required};
use crate::aws::answer::unreadable;

/// The rule, without its targets and tags.
pub(in crate::aws) fn rule(answer: &DescribeRuleOutput) -> Result<AuditRule, Fault> {
    let needed = |field, value| given(value).ok_or_else(|| unreadable(Operation::DescribeRule, field));
    Ok(AuditRule {
        arn: needed("Arn", answer.arn())?,
        pattern: given(answer.event_pattern()),
        schedule: given(answer.schedule_expression()),
        state: needed("State", answer.state().map(events::RuleState::as_str))?,
        targets: Vec::new(),
        tags: Tags::new(),
    })
}

/// Where a rule sends its events.
pub(in crate::aws) fn target(target: &events::Target) -> Option<RuleTarget> {
    let altered =
        given(target.input()).is_some() || given(target.input_path()).is_some() || target.input_transformer().is_some();
    Some(RuleTarget {
        id: required("target of a rule", "Id", Some(target.id()))?.to_owned(),
        arn: target.arn().to_owned(),
        altered,
    })
}

/// The tags of a rule.
pub(in crate::aws) fn tags(tags: &[events::Tag]) -> Tags {
    tags.iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

/// Tags, as the SDK takes them.
pub(in crate::aws) fn tags_of(tags: &Tags) -> Vec<events::Tag> {
    // Both parts are there, which is all that building one needs.
    tags.iter().filter_map(|(key, value)| events::Tag::builder().key(key).value(value).build().ok()).collect()
}

/// A trail, of which it is not known yet what it does.
pub(in crate::aws) fn trail(trail: &cloudtrail::Trail) -> Option<Trail> {
    Some(Trail {
        arn: required("trail", "TrailARN", trail.trail_arn())?.to_owned(),
        home_region: trail.home_region().unwrap_or_default().to_owned(),
        multi_region: trail.is_multi_region_trail() == Some(true),
        work: TrailWork::Unreadable("it was not asked for".to_owned()),
    })
}

/// What a trail records. A trail has selectors of one kind only.
pub(in crate::aws) fn selectors(answer: &GetEventSelectorsOutput) -> Vec<Selector> {
    let basic = answer.event_selectors().iter().map(|selector| Selector::Basic {
        // What is left out is at its default.
        management: selector.include_management_events() != Some(false),
        read_write: selector.read_write_type().map_or("All", cloudtrail::ReadWriteType::as_str).to_owned(),
        excluded: selector.exclude_management_event_sources().iter().cloned().collect(),
    });
    let advanced = answer
        .advanced_event_selectors()
        .iter()
        .map(|selector| Selector::Advanced(selector.field_selectors().iter().map(field).collect()));
    basic.chain(advanced).collect()
}

fn field(selector: &cloudtrail::AdvancedFieldSelector) -> (String, BTreeMap<Comparison, Vec<String>>) {
    let all = [
        (Comparison::Equals, selector.equals()),
        (Comparison::StartsWith, selector.starts_with()),
        (Comparison::EndsWith, selector.ends_with()),
        (Comparison::NotEquals, selector.not_equals()),
        (Comparison::NotStartsWith, selector.not_starts_with()),
        (Comparison::NotEndsWith, selector.not_ends_with()),
    ];
    let given = all.into_iter().filter(|(_, texts)| !texts.is_empty());
    (selector.field().to_owned(), given.map(|(comparison, texts)| (comparison, texts.to_vec())).collect())
}

/// A topic.
pub(in crate::aws) fn topic(answer: &GetTopicAttributesOutput) -> Result<Topic, Fault> {
    let attributes = answer.attributes().ok_or_else(|| unreadable(Operation::GetTopicAttributes, "Attributes"))?;
    let of = |name: &str| given(attributes.get(name).map(String::as_str));
    Ok(Topic { policy: of("Policy"), key: of("KmsMasterKeyId") })
}
