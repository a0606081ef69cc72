//! What tells of sessions: an EventBridge rule, the trails that feed it, and the topic that it sends to.

use std::collections::{BTreeMap, BTreeSet};

use super::Tags;

/// The name of the rule that reports sessions, on the default event bus.
pub const AUDIT_RULE: &str = "ssm-ready-session-audit";
/// The id of the target that ssm-ready sets in it.
pub const AUDIT_TARGET: &str = "ssm-ready";
/// The calls of Session Manager that CloudTrail records and the rule reports (Systems Manager, "Logging session activity").
pub const SESSION_CALLS: [&str; 3] = ["StartSession", "ResumeSession", "TerminateSession"];
/// Who makes these events, as CloudTrail has it.
pub const SESSION_EVENT_SOURCE: &str = "ssm.amazonaws.com";

/// Where a rule sends its events (EventBridge, `Target`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleTarget {
    /// Its id in the rule.
    pub id: String,
    /// The ARN that it sends to.
    pub arn: String,
    /// Whether it sends something else than the event: `Input`, `InputPath` or `InputTransformer` is set.
    pub altered: bool,
}

/// The rule that reports sessions (DescribeRule, ListTargetsByRule, ListTagsForResource).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditRule {
    /// Its ARN.
    pub arn: String,
    /// Its event pattern, as JSON, where it has one.
    pub pattern: Option<String>,
    /// Its schedule, where it has one.
    pub schedule: Option<String>,
    /// Its state, as AWS spells it: `ENABLED`, `DISABLED`, or `ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS`.
    pub state: String,
    /// Its targets, by id.
    pub targets: Vec<RuleTarget>,
    /// Its tags.
    pub tags: Tags,
}

impl AuditRule {
    /// Whether it is at work. A state that we do not know is not.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        ["ENABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"]
            .iter()
            .any(|state| self.state.eq_ignore_ascii_case(state))
    }
}

/// How a field of an advanced event selector is compared (CloudTrail, `AdvancedFieldSelector`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `Equals`.
    Equals,
    /// `StartsWith`.
    StartsWith,
    /// `EndsWith`.
    EndsWith,
    /// `NotEquals`.
    NotEquals,
    /// `NotStartsWith`.
    NotStartsWith,
    /// `NotEndsWith`.
    NotEndsWith,
}

impl Comparison {
    /// Whether a value passes, given the texts that it is compared with: one of them for the positive ones, all of them
    /// for the others.
    fn passes(self, value: &str, texts: &[String]) -> bool {
        let any = |is: fn(&str, &str) -> bool| texts.iter().any(|text| is(value, text));
        match self {
            Self::Equals => any(|value, text| value == text),
            Self::StartsWith => any(|value, text| value.starts_with(text)),
            Self::EndsWith => any(|value, text| value.ends_with(text)),
            Self::NotEquals => !any(|value, text| value == text),
            Self::NotStartsWith => !any(|value, text| value.starts_with(text)),
            Self::NotEndsWith => !any(|value, text| value.ends_with(text)),
        }
    }
}

/// What a trail records (GetEventSelectors).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// A basic event selector.
    Basic {
        /// `IncludeManagementEvents`.
        management: bool,
        /// `ReadWriteType`: `All`, `ReadOnly` or `WriteOnly`.
        read_write: String,
        /// `ExcludeManagementEventSources`.
        excluded: BTreeSet<String>,
    },
    /// An advanced event selector: fields, each with what it is compared with. All of them have to pass.
    Advanced(Vec<(String, BTreeMap<Comparison, Vec<String>>)>),
}

impl Selector {
    /// Whether it certainly takes in all calls of Session Manager that the rule reports: they are management events that
    /// write. A field that we do not know may keep some out.
    #[must_use]
    pub fn takes_sessions(&self) -> bool {
        match self {
            Self::Basic { management, read_write, excluded } => {
                *management
                    && ["All", "WriteOnly"].iter().any(|kind| read_write.eq_ignore_ascii_case(kind))
                    && !excluded.contains(SESSION_EVENT_SOURCE)
            }
            Self::Advanced(fields) => {
                let category = fields.iter().any(|(field, _)| field == "eventCategory");
                category && SESSION_CALLS.iter().all(|call| fields.iter().all(|field| takes(field, call)))
            }
        }
    }
}

fn takes((field, comparisons): &(String, BTreeMap<Comparison, Vec<String>>), call: &str) -> bool {
    let value = match field.as_str() {
        "eventCategory" => "Management",
        "readOnly" => "false",
        "eventSource" => SESSION_EVENT_SOURCE,
        "eventName" => call,
        _ => return false,
    };
    comparisons.iter().all(|(comparison, texts)| comparison.passes(value, texts))
}

/// What could be read of a trail beyond that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrailWork {
    /// GetTrailStatus and GetEventSelectors answered.
    Known {
        /// `IsLogging`.
        logging: bool,
        /// Its selectors. Without any, a trail records all management events.
        selectors: Vec<Selector>,
    },
    /// AWS does not tell this account, as may be with a trail of the organisation; in words.
    Unreadable(String),
}

/// A trail that AWS shows in a region, be it of another region, or of the organisation (DescribeTrails with shadow trails).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// Its ARN.
    pub arn: String,
    /// The region that it was made in.
    pub home_region: String,
    /// Whether it records in all regions.
    pub multi_region: bool,
    /// What it does.
    pub work: TrailWork,
}

impl Trail {
    /// Whether it records the calls of Session Manager in a region; none where that cannot be told.
    #[must_use]
    pub fn records_sessions_in(&self, region: &str) -> Option<bool> {
        if !(self.multi_region || self.home_region == region) {
            return Some(false);
        }
        match &self.work {
            TrailWork::Known { logging, selectors } => {
                Some(*logging && (selectors.is_empty() || selectors.iter().any(Selector::takes_sessions)))
            }
            TrailWork::Unreadable(_) => None,
        }
    }
}

/// A topic (GetTopicAttributes).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topic {
    /// Its policy, as JSON, where AWS gives one.
    pub policy: Option<String>,
    /// The key that it is encrypted with (`KmsMasterKeyId`), where it is.
    pub key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advanced(fields: &[(&str, Comparison, &[&str])]) -> Selector {
        let field = |(name, comparison, texts): &(&str, Comparison, &[&str])| {
            let texts = texts.iter().map(|text| (*text).to_owned()).collect();
            ((*name).to_owned(), BTreeMap::from([(*comparison, texts)]))
        };
        Selector::Advanced(fields.iter().map(field).collect())
    }

    fn basic(management: bool, read_write: &str, excluded: &[&str]) -> Selector {
        let excluded = excluded.iter().map(|text| (*text).to_owned()).collect();
        Selector::Basic { management, read_write: read_write.to_owned(), excluded }
    }

    #[test]
    fn only_selectors_that_take_all_of_a_session_count() {
        use Comparison::{EndsWith, Equals, NotEndsWith, NotEquals, NotStartsWith, StartsWith};
        let management: (&str, Comparison, &[&str]) = ("eventCategory", Equals, &["Management"]);
        for (selector, takes) in [
            (basic(true, "All", &["kms.amazonaws.com"]), true),
            (basic(true, "WriteOnly", &[]), true),
            (basic(true, "ReadOnly", &[]), false),
            (basic(false, "All", &[]), false),
            (basic(true, "All", &["ssm.amazonaws.com"]), false),
            (basic(true, "SomethingNew", &[]), false),
            (advanced(&[management]), true),
            (advanced(&[]), false),
            (advanced(&[("eventCategory", Equals, &["Data"])]), false),
            (advanced(&[management, ("readOnly", Equals, &["false"])]), true),
            (advanced(&[management, ("readOnly", Equals, &["true"])]), false),
            (advanced(&[management, ("eventSource", NotEquals, &["kms.amazonaws.com"])]), true),
            (advanced(&[management, ("eventSource", NotEquals, &["kms.amazonaws.com", "ssm.amazonaws.com"])]), false),
            (advanced(&[management, ("eventSource", NotStartsWith, &["ssm."])]), false),
            (advanced(&[management, ("eventSource", NotEndsWith, &[".amazonaws.com"])]), false),
            (advanced(&[management, ("eventSource", StartsWith, &["ssm."])]), true),
            (advanced(&[management, ("eventName", EndsWith, &["Session"])]), true),
            (advanced(&[management, ("eventName", Equals, &["StartSession"])]), false),
            (advanced(&[management, ("userIdentity.arn", NotStartsWith, &["arn:aws:sts"])]), false),
        ] {
            assert_eq!(selector.takes_sessions(), takes, "{selector:?}");
        }
    }

    #[test]
    fn a_trail_records_where_it_is_logs_and_takes_sessions() {
        let known = |logging, selectors: &[Selector]| TrailWork::Known { logging, selectors: selectors.to_vec() };
        let denied = TrailWork::Unreadable("AccessDenied".to_owned());
        for (multi_region, home, work, records) in [
            (true, "us-east-1", known(true, &[]), Some(true)),
            (false, "eu-west-1", known(true, &[]), Some(true)),
            (false, "us-east-1", known(true, &[]), Some(false)),
            (true, "eu-west-1", known(false, &[]), Some(false)),
            (true, "eu-west-1", known(true, &[basic(false, "All", &[])]), Some(false)),
            (true, "eu-west-1", known(true, &[basic(false, "All", &[]), basic(true, "All", &[])]), Some(true)),
            (true, "us-east-1", denied.clone(), None),
            (false, "us-east-1", denied, Some(false)),
        ] {
            let trail = Trail { arn: "arn:t".to_owned(), home_region: home.to_owned(), multi_region, work };
            assert_eq!(trail.records_sessions_in("eu-west-1"), records, "{trail:?}");
        }
    }

    #[test]
    fn a_state_that_nobody_knows_is_not_at_work() {
        for (state, enabled) in [
            ("ENABLED", true),
            ("enabled", true),
            ("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", true),
            ("DISABLED", false),
            ("PAUSED", false),
            ("", false),
        ] {
            assert_eq!(AuditRule { state: state.to_owned(), ..AuditRule::default() }.is_enabled(), enabled, "{state}");
        }
    }
}
