//! Writes of the rule that reports sessions.

use aws_sdk_eventbridge::types::{RuleState, Target};
use aws_smithy_types::error::operation::BuildError;
use ssm_ready_core::{
    calls::Operation,
    facts::audit::{AUDIT_RULE, AUDIT_TARGET},
    fault::Fault,
    write::{RuleChange, Written},
};

use super::{
    answer::{NOT_BUILT, done_if},
    client::{At, AwsCloud},
    convert::audit::tags_of,
    read_audit::NO_RULE,
};

/// What the rule says of itself to who finds it in the console.
const DESCRIPTION: &str = "Reports the start, resumption and end of Session Manager sessions. Kept by ssm-ready.";

impl AwsCloud {
    pub(super) async fn change_rule(
        &self,
        at: At<'_>,
        operation: Operation,
        change: &RuleChange,
    ) -> Result<Written, Fault> {
        macro_rules! call {
            ($build:ident $(.$field:ident($value:expr))*) => {
                self.call(at, operation, |clients| clients.events_writes().$build()$(.$field($value))*.send()).await
            };
        }
        match change {
            // What is not said is not kept: a schedule, or a role.
            RuleChange::Put { pattern, tags } => {
                let given = || Some(tags_of(tags)).filter(|tags| !tags.is_empty());
                let put = call!(
                    put_rule
                        .name(AUDIT_RULE)
                        .description(DESCRIPTION)
                        .event_pattern(pattern)
                        .state(RuleState::Enabled)
                        .set_tags(given())
                );
                put.map(|_| Written::Done)
            }
            RuleChange::Target(topic) => {
                let target = target(topic).map_err(|error| not_built(operation, &error))?;
                let answer = call!(put_targets.rule(AUDIT_RULE).targets(target.clone()))?;
                let failed = answer.failed_entries().first().map(|entry| (entry.error_code(), entry.error_message()));
                all_done(operation, answer.failed_entry_count(), failed)
            }
            RuleChange::Tag { rule, tags } => {
                call!(tag_resource.resource_arn(rule).set_tags(Some(tags_of(tags)))).map(|_| Written::Done)
            }
            RuleChange::Untag { rule, keys } => {
                let keys: Vec<String> = keys.iter().cloned().collect();
                call!(untag_resource.resource_arn(rule).set_tag_keys(Some(keys.clone()))).map(|_| Written::Done)
            }
            RuleChange::RemoveTargets(ids) => {
                let ids: Vec<String> = ids.iter().cloned().collect();
                let answer = call!(remove_targets.rule(AUDIT_RULE).set_ids(Some(ids.clone())));
                let Ok(answer) = answer else { return done_if(answer, NO_RULE) };
                let failed = answer.failed_entries().first().map(|entry| (entry.error_code(), entry.error_message()));
                all_done(operation, answer.failed_entry_count(), failed)
            }
            RuleChange::Delete => done_if(call!(delete_rule.name(AUDIT_RULE)), NO_RULE),
        }
    }
}

/// The target of ours, which sends events as they are.
fn target(topic: &str) -> Result<Target, BuildError> {
    Target::builder().id(AUDIT_TARGET).arn(topic).build()
}

fn not_built(operation: Operation, error: &BuildError) -> Fault {
    Fault::from_answer(operation, NOT_BUILT, 400, &error.to_string())
}

/// EventBridge answers 200, and says beside it what it did not do.
fn all_done(operation: Operation, count: i32, failed: Option<(Option<&str>, Option<&str>)>) -> Result<Written, Fault> {
    let Some((code, message)) = failed.or((count > 0).then_some((None, None))) else { return Ok(Written::Done) };
    let code = code.unwrap_or("FailedEntry");
    Err(Fault::from_answer(operation, code, 200, message.unwrap_or_default()))
}
