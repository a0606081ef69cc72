//! What tells of sessions: the rule of EventBridge, trails and topics.

use std::collections::BTreeMap;

use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        audit::{AUDIT_RULE, AUDIT_TARGET, AuditRule, RuleTarget, Selector, Topic, Trail, TrailWork},
    },
    ids::{AccountId, Region},
    write::{RuleChange, Written},
};

use super::{
    iam::partition,
    journal::{ThingKind, Touched},
    record::{Actor, Eye, Record},
    state::{RegionState, touched},
    world::{Ctx, Refusal, World},
};

type Result<T = (), E = Refusal> = std::result::Result<T, E>;

/// Targets of a rule (EventBridge quotas).
const MAX_TARGETS: usize = 5;
/// The longest pattern (PutRule), in characters.
const MAX_PATTERN: usize = 4096;

/// A rule of the default event bus.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SimRule {
    /// Its event pattern, as JSON.
    pub pattern: Option<String>,
    /// Its schedule.
    pub schedule: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Its targets by id: what each sends to, and whether it sends something else than the event.
    pub targets: BTreeMap<String, (String, bool)>,
    /// Its tags.
    pub tags: Tags,
}

/// A trail as a region shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimTrail {
    /// Its account: another one where it is the organisation's.
    pub account: AccountId,
    /// The region that it was made in.
    pub home_region: String,
    /// Whether it records in all regions.
    pub multi_region: bool,
    /// Whether it is logging.
    pub logging: bool,
    /// What it records; nothing said: all management events.
    pub selectors: Vec<Selector>,
}

fn no_rule() -> Refusal {
    Refusal::new("ResourceNotFoundException", format!("Rule {AUDIT_RULE} does not exist on EventBus default."))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationException", message)
}

/// The ARN of the rule that reports sessions, be it there or not.
#[must_use]
pub fn rule_arn(account: &AccountId, region: &Region) -> String {
    format!("arn:{}:events:{region}:{account}:rule/{AUDIT_RULE}", partition(region))
}

/// A topic that lets EventBridge publish.
#[must_use]
pub fn open_topic(arn: &str) -> Topic {
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"events.amazonaws.com"}},"Action":"sns:Publish","Resource":"{arn}"}}]}}"#
    );
    Topic { policy: Some(policy), key: None }
}

impl RegionState {
    /// The truth about the rule that reports sessions.
    #[must_use]
    pub fn audit_rule(&self) -> Option<&SimRule> {
        self.rules.get(AUDIT_RULE).map(|record| &record.value)
    }

    /// DescribeRule, ListTargetsByRule or ListTagsForResource, each of which shows a part of this.
    pub(super) fn read_rule(&self, eye: &mut Eye<'_>, arn: &str) -> Result<AuditRule> {
        let rule = self.rules.find(&AUDIT_RULE.to_owned(), eye).ok_or_else(no_rule)?;
        let target = |(id, (arn, altered)): (&String, &(String, bool))| RuleTarget {
            id: id.clone(),
            arn: arn.clone(),
            altered: *altered,
        };
        let mut targets: Vec<RuleTarget> = rule.targets.iter().map(target).collect();
        eye.shuffle(&mut targets);
        Ok(AuditRule {
            arn: arn.to_owned(),
            pattern: rule.pattern.clone(),
            schedule: rule.schedule.clone(),
            state: if rule.enabled { "ENABLED" } else { "DISABLED" }.to_owned(),
            targets,
            tags: rule.tags.clone(),
        })
    }

    /// DescribeTrails: what a trail does, other calls tell.
    pub(super) fn read_trails(&self, eye: &mut Eye<'_>) -> Vec<Trail> {
        let mut shown: Vec<Trail> = self
            .trails
            .iter()
            .filter_map(|(arn, record)| {
                let trail = eye.see(record)?;
                Some(Trail {
                    arn: arn.clone(),
                    home_region: trail.home_region.clone(),
                    multi_region: trail.multi_region,
                    work: TrailWork::Known { logging: trail.logging, selectors: trail.selectors.clone() },
                })
            })
            .collect();
        eye.shuffle(&mut shown);
        shown
    }

    /// GetTrailStatus or GetEventSelectors. The organisation's trail does not tell a member account.
    pub(super) fn read_trail(&self, eye: &mut Eye<'_>, arn: &str, account: &AccountId) -> Result<SimTrail> {
        let unknown = || Refusal::new("TrailNotFoundException", format!("Unknown trail: {arn}"));
        let trail = self.trails.find(&arn.to_owned(), eye).ok_or_else(unknown)?;
        if trail.account != *account {
            return Err(Refusal::new("AccessDeniedException", format!("not authorized to look at {arn}")));
        }
        Ok(trail.clone())
    }

    /// GetTopicAttributes. Another account is not even told whether there is such a topic, unless the topic's policy lets it
    /// look; those that do are kept here too.
    pub(super) fn read_topic(&self, eye: &mut Eye<'_>, arn: &str, account: &AccountId) -> Result<Topic> {
        let found = self.topics.find(&arn.to_owned(), eye).cloned();
        found.ok_or_else(|| match arn.split(':').nth(4) {
            Some(of) if of != account.as_str() => {
                Refusal::new("AuthorizationError", format!("not authorized to look at {arn}")).status(403)
            }
            _ => Refusal::new("NotFound", "Topic does not exist").status(404),
        })
    }

    /// Changes the rule that reports sessions.
    pub(super) fn write_rule(&mut self, ctx: &mut Ctx<'_>, change: &RuleChange) -> Result<Written> {
        match change {
            RuleChange::Put { pattern, tags } => self.put_rule(ctx, pattern, tags)?,
            RuleChange::Target(arn) => {
                let rule = self.known_rule(ctx)?;
                if rule.targets.len() >= MAX_TARGETS && !rule.targets.contains_key(AUDIT_TARGET) {
                    return Err(Refusal::new("LimitExceededException", "The rule has as many targets as it may have."));
                }
                // Answered with 200, and told of the one entry.
                failed_entry(ctx, Operation::PutTargets)?;
                self.change_rule(ctx, |rule| {
                    rule.targets.insert(AUDIT_TARGET.to_owned(), (arn.clone(), false));
                });
            }
            RuleChange::Tag { rule, tags } => {
                let most = self.quotas.tags;
                let known = self.named_rule(ctx, rule)?;
                if known.tags.keys().chain(tags.keys()).collect::<std::collections::BTreeSet<_>>().len() > most {
                    return Err(Refusal::new("LimitExceededException", "There are too many tags."));
                }
                self.change_rule(ctx, |known| known.tags.extend(tags.clone()));
            }
            RuleChange::Untag { rule, keys } => {
                self.named_rule(ctx, rule)?;
                self.change_rule(ctx, |known| known.tags.retain(|key, _| !keys.contains(key)));
            }
            RuleChange::RemoveTargets(ids) => {
                self.known_rule(ctx)?;
                failed_entry(ctx, Operation::RemoveTargets)?;
                self.change_rule(ctx, |rule| rule.targets.retain(|id, _| !ids.contains(id)));
            }
            RuleChange::Delete => {
                if !self.known_rule(ctx)?.targets.is_empty() {
                    return Err(invalid("Rule can't be deleted since it has targets."));
                }
                ctx.uncontended(Operation::DeleteRule)?;
                let until = ctx.listed_until();
                self.rules.bury(&AUDIT_RULE.to_owned(), ctx.now, until);
            }
        }
        Ok(Written::Done)
    }

    /// The rule, for a write that names it.
    fn known_rule(&self, ctx: &mut Ctx<'_>) -> Result<&SimRule> {
        match self.rules.get(AUDIT_RULE) {
            Some(record) if !ctx.overlooks(record) => Ok(&record.value),
            _ => Err(no_rule()),
        }
    }

    fn named_rule(&self, ctx: &mut Ctx<'_>, arn: &str) -> Result<&SimRule> {
        if arn != rule_arn(ctx.account, ctx.region) {
            return Err(no_rule());
        }
        self.known_rule(ctx)
    }

    /// Makes the rule, or makes one that is there as it is said: tags are for one that is made.
    fn put_rule(&mut self, ctx: &mut Ctx<'_>, pattern: &str, tags: &Tags) -> Result {
        let is_pattern = serde_json::from_str::<serde_json::Value>(pattern).is_ok_and(|pattern| pattern.is_object());
        if !is_pattern || pattern.len() > MAX_PATTERN {
            return Err(Refusal::new("InvalidEventPatternException", "Event pattern is not valid."));
        }
        if tags.keys().any(|key| key.starts_with("aws:")) {
            return Err(invalid("Tag keys starting with 'aws:' are reserved"));
        }
        ctx.uncontended(Operation::PutRule)?;
        if self.rules.contains_key(AUDIT_RULE) {
            self.change_rule(ctx, |rule| {
                (rule.pattern, rule.schedule, rule.enabled) = (Some(pattern.to_owned()), None, true);
            });
            return Ok(());
        }
        let made =
            SimRule { pattern: Some(pattern.to_owned()), enabled: true, tags: tags.clone(), ..SimRule::default() };
        let made = ctx.record(made);
        self.rules.insert(AUDIT_RULE.to_owned(), made);
        Ok(())
    }

    pub(super) fn change_rule(&mut self, ctx: &Ctx<'_>, change: impl FnOnce(&mut SimRule)) {
        if let Some(record) = self.rules.get_mut(AUDIT_RULE) {
            record.change(ctx.actor, ctx.now, ctx.weather, change);
        }
    }

    /// The rule as the journal shows it, if it is there.
    pub(super) fn touched_rule(&self) -> Option<Touched> {
        let record = self.rules.get(AUDIT_RULE)?;
        Some(Touched { value: record.pattern.clone(), ..touched(AUDIT_RULE, ThingKind::Rule, &record.tags, record) })
    }
}

/// Refuses the one entry of a call, as often as the weather has it.
fn failed_entry(ctx: &mut Ctx<'_>, operation: Operation) -> Result {
    let weathered = matches!(ctx.actor, Actor::Controller(_))
        && ctx.weather.lasts(ctx.now)
        && ctx.weather.only.as_ref().is_none_or(|only| only.contains(&operation));
    if ctx.unsuccessful || (weathered && ctx.rng.chance(ctx.weather.unsuccessful)) {
        return Err(Refusal::new("ConcurrentModificationException", "There is concurrent modification on the rule."));
    }
    Ok(())
}

impl World {
    /// Puts a topic into a region, past all rules. One of its ARN is replaced.
    pub fn add_topic(&mut self, account: &AccountId, region: &Region, arn: &str, topic: Topic) {
        let now = self.now;
        self.region_mut(account, region).topics.insert(arn.to_owned(), Record::standing(topic, &Actor::Person, now));
    }

    /// Puts a trail into a region, past all rules. One of its ARN is replaced.
    pub fn add_trail(&mut self, account: &AccountId, region: &Region, arn: &str, trail: SimTrail) {
        let now = self.now;
        self.region_mut(account, region).trails.insert(arn.to_owned(), Record::standing(trail, &Actor::Person, now));
    }

    /// Somebody changes a topic, or deletes it.
    pub fn change_topic(&mut self, account: &AccountId, region: &Region, arn: &str, topic: Option<Topic>) {
        let call = if topic.is_some() { "SetTopicAttributes" } else { "DeleteTopic" };
        self.does(&Actor::Person, account, region, call, arn, |state, ctx| match topic {
            Some(topic) => match state.topics.get_mut(arn) {
                Some(record) => record.change(ctx.actor, ctx.now, ctx.weather, |is| *is = topic),
                None => {
                    let made = ctx.record(topic);
                    state.topics.insert(arn.to_owned(), made);
                }
            },
            None => {
                let until = ctx.listed_until();
                state.topics.bury(&arn.to_owned(), ctx.now, until);
            }
        });
    }

    /// Somebody starts or stops a trail, or changes what it records.
    pub fn change_trail(
        &mut self,
        account: &AccountId,
        region: &Region,
        arn: &str,
        change: impl FnOnce(&mut SimTrail),
    ) {
        self.does(&Actor::Person, account, region, "UpdateTrail", arn, |state, ctx| {
            if let Some(record) = state.trails.get_mut(arn) {
                record.change(ctx.actor, ctx.now, ctx.weather, change);
            }
        });
    }

    /// Somebody changes the rule that reports sessions in a way that the controller cannot.
    pub fn change_audit_rule(
        &mut self,
        actor: &Actor,
        account: &AccountId,
        region: &Region,
        change: impl FnOnce(&mut SimRule),
    ) {
        self.does(actor, account, region, "UpdateRule", AUDIT_RULE, |state, ctx| state.change_rule(ctx, change));
    }

    /// Somebody deletes the rule that reports sessions, with its targets.
    pub fn delete_audit_rule(&mut self, actor: &Actor, account: &AccountId, region: &Region) {
        self.does(actor, account, region, "DeleteRule", AUDIT_RULE, |state, ctx| {
            let until = ctx.listed_until();
            state.rules.bury(&AUDIT_RULE.to_owned(), ctx.now, until);
        });
    }
}
