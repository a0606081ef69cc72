//! Reads of what tells of sessions: the rule of EventBridge, trails and topics.

use aws_sdk_eventbridge::operation::list_targets_by_rule::ListTargetsByRuleOutput;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        audit::{AUDIT_RULE, AuditRule, RuleTarget, Topic, Trail, TrailWork},
    },
    fault::Fault,
};

use super::{
    answer::none_if,
    client::{At, AwsCloud},
    convert::audit::{rule, selectors, tags, target, topic, trail},
    read::each,
};
use crate::keeps_to_itself;

/// There is no rule of the name.
pub(super) const NO_RULE: &[&str] = &["ResourceNotFoundException"];
/// There is no trail of the ARN.
const NO_TRAIL: &str = "TrailNotFoundException";
/// There is no topic of the ARN.
const NO_TOPIC: &[&str] = &["NotFound", "NotFoundException"];
/// EventBridge's largest page.
const TARGETS_PAGE: i32 = 100;

impl AwsCloud {
    /// The rule with its targets and tags. One that goes between the calls is none.
    pub(super) async fn read_audit_rule(&self, at: At<'_>) -> Result<Option<AuditRule>, Fault> {
        let answer = self
            .call(at, Operation::DescribeRule, |clients| clients.events().describe_rule().name(AUDIT_RULE).send())
            .await;
        let Some(answer) = none_if(answer, NO_RULE)? else { return Ok(None) };
        let found = rule(&answer)?;
        let Some(targets) = none_if(self.read_targets(at).await, NO_RULE)? else { return Ok(None) };
        let Some(tags) = none_if(self.read_rule_tags(at, &found.arn).await, NO_RULE)? else { return Ok(None) };
        Ok(Some(AuditRule { targets, tags, ..found }))
    }

    async fn read_targets(&self, at: At<'_>) -> Result<Vec<RuleTarget>, Fault> {
        self.pages(
            at,
            Operation::ListTargetsByRule,
            |clients, token| {
                clients
                    .events()
                    .list_targets_by_rule()
                    .rule(AUDIT_RULE)
                    .limit(TARGETS_PAGE)
                    .set_next_token(token)
                    .send()
            },
            |page: ListTargetsByRuleOutput| (each(page.targets(), target), page.next_token),
        )
        .await
    }

    async fn read_rule_tags(&self, at: At<'_>, arn: &str) -> Result<Tags, Fault> {
        let answer = self.call(at, Operation::ListTagsForResource, |clients| {
            clients.events().list_tags_for_resource().resource_arn(arn).send()
        });
        Ok(tags(answer.await?.tags()))
    }

    /// The trails that the region shows, each with what it does. One that goes between the calls is left out.
    pub(super) async fn read_trails(&self, at: At<'_>) -> Result<Vec<Trail>, Fault> {
        // With the shadows that trails of all regions, and the organisation's, have here. There are no pages.
        let answer = self.call(at, Operation::DescribeTrails, |clients| {
            clients.cloudtrail().describe_trails().include_shadow_trails(true).send()
        });
        let mut trails = Vec::new();
        for trail in each(answer.await?.trail_list(), trail) {
            match self.read_trail_work(at, &trail.arn).await {
                Ok(work) => trails.push(Trail { work, ..trail }),
                Err(fault) if keeps_to_itself(&fault, &trail.arn, &at.principal.account) => {
                    trails.push(Trail { work: TrailWork::Unreadable(fault.to_string()), ..trail });
                }
                Err(fault) if fault.code == NO_TRAIL => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(trails)
    }

    /// Whether a trail is at work, and what it records. By its ARN: a shadow has no other name here.
    async fn read_trail_work(&self, at: At<'_>, arn: &str) -> Result<TrailWork, Fault> {
        let status = self
            .call(at, Operation::GetTrailStatus, |clients| clients.cloudtrail().get_trail_status().name(arn).send())
            .await?;
        let answer = self
            .call(at, Operation::GetEventSelectors, |clients| {
                clients.cloudtrail().get_event_selectors().trail_name(arn).send()
            })
            .await?;
        Ok(TrailWork::Known { logging: status.is_logging() == Some(true), selectors: selectors(&answer) })
    }

    pub(super) async fn read_topic(&self, at: At<'_>, arn: &str) -> Result<Option<Topic>, Fault> {
        let answer = self.call(at, Operation::GetTopicAttributes, |clients| {
            clients.sns().get_topic_attributes().topic_arn(arn).send()
        });
        none_if(answer.await, NO_TOPIC)?.as_ref().map(topic).transpose()
    }
}
