//! What goes wrong, how often, and how long things take.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use jiff::Timestamp;
use ssm_ready_core::{calls::Operation, facts::EndpointState};

/// How long something takes: a time between two, drawn anew each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The least time.
    pub least: Duration,
    /// The most time.
    pub most: Duration,
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self { least: Duration::ZERO, most: Duration::ZERO };

    /// So many seconds each time.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        let time = Duration::from_secs(seconds);
        Self { least: time, most: time }
    }
}

impl From<Duration> for Span {
    fn from(time: Duration) -> Self {
        Self { least: time, most: time }
    }
}

impl From<RangeInclusive<Duration>> for Span {
    fn from(range: RangeInclusive<Duration>) -> Self {
        Self { least: *range.start(), most: *range.end() }
    }
}

/// Something that goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Injected {
    /// AWS says that there were too many calls.
    Throttle,
    /// AWS answers 500 and has done nothing.
    InternalError,
    /// The request never arrives; no answer comes.
    LostRequest,
    /// The request is carried out; no answer comes.
    LostAnswer,
    /// AWS says that the credentials have expired.
    Expired,
    /// DeleteVpcEndpoints answers 200 and deletes none of them.
    Unsuccessful,
}

/// One fault for the next call of an operation, whatever the odds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The call.
    pub operation: Operation,
    /// What goes wrong.
    pub what: Injected,
}

/// What becomes of new endpoints of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeRule {
    /// The last part of the service's name, such as `ssm`; empty: every service.
    pub service: String,
    /// The state that the endpoint gets instead of available. `Pending` and `PendingAcceptance`: it stays so.
    pub state: EndpointState,
    /// How often.
    pub chance: f64,
    /// For how many endpoints; none: any number.
    pub times: Option<u32>,
}

/// What goes wrong and how long things take. All off by default: what AWS does then is what it documents, at once
/// but for the life of interface endpoints.
#[derive(Debug, Clone)]
pub struct Weather {
    /// When faults, latency, delays of sight and bad outcomes end; none: never.
    pub until: Option<Timestamp>,
    /// The operations that faults are restricted to; none: all.
    pub only: Option<BTreeSet<Operation>>,
    /// How often AWS throttles without need.
    pub throttle: f64,
    /// How often AWS answers 500, having done nothing.
    pub internal_error: f64,
    /// How often a request is lost on its way.
    pub lost_request: f64,
    /// How often an answer is lost on its way.
    pub lost_answer: f64,
    /// How often AWS says that good credentials have expired.
    pub expired: f64,
    /// How often the deletion of one endpoint is answered with 200 and not done.
    pub unsuccessful: f64,
    /// How often a write to Systems Manager or IAM is refused since another one is under way.
    pub contended: f64,
    /// How long a call takes, half of it on the way there.
    pub latency: Span,
    /// Faults for the next calls of their operations, in order; they happen even when the weather has ended.
    pub planned: Vec<Planned>,

    /// How long it takes until something new is listed.
    pub visible_after: Span,
    /// How long after that a single list may still lack it.
    pub flicker_for: Span,
    /// How often it does.
    pub flicker: f64,
    /// How long something deleted may still be listed; a single list lacks it as often as `flicker` says.
    pub listed_after: Span,
    /// How often a list is an old one.
    pub stale: f64,
    /// How old such a list is.
    pub stale_by: Span,
    /// How often a write that names something new is told that it does not exist, as long as lists may lack it.
    pub fresh_not_found: f64,
    /// Whether lists come in any order.
    pub shuffle: bool,

    /// How long an interface endpoint is pending.
    pub pending_for: Span,
    /// How long an interface endpoint is deleting.
    pub deleting_for: Span,
    /// How long a gateway endpoint takes to come or to go.
    pub gateway_takes: Span,
    /// How long an interface endpoint is pending again after its subnets or address type changed.
    pub modify_pending_for: Span,
    /// How long a deleted endpoint is listed as deleted.
    pub deleted_for: Span,
    /// What becomes of new endpoints; the first rule that fits.
    pub outcomes: Vec<OutcomeRule>,
    /// Whether an endpoint that failed for good still holds its private DNS name.
    pub failed_hold_names: bool,
    /// Whether an S3 interface endpoint's private DNS wants a gateway endpoint unless told otherwise.
    pub s3_inbound_only_by_default: bool,
    /// How long AWS remembers a client token.
    pub token_retention: Duration,

    /// How long a new version of a document takes until it is active.
    pub document_takes: Span,
    /// How often it fails instead.
    pub document_fails: f64,
    /// How long a setting that was changed says that its update is pending.
    pub setting_pending_for: Duration,

    /// How long the association of an instance's profile is under way.
    pub associating_for: Span,
    /// How long a change of a role's permissions takes to have an effect.
    pub iam_propagation: Span,
    /// How long after its last ping an agent counts as lost.
    pub lost_after: Duration,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            until: None,
            only: None,
            throttle: 0.0,
            internal_error: 0.0,
            lost_request: 0.0,
            lost_answer: 0.0,
            expired: 0.0,
            unsuccessful: 0.0,
            contended: 0.0,
            latency: Span::ZERO,
            planned: Vec::new(),
            visible_after: Span::ZERO,
            flicker_for: Span::ZERO,
            flicker: 0.0,
            listed_after: Span::ZERO,
            stale: 0.0,
            stale_by: Span::ZERO,
            fresh_not_found: 0.0,
            shuffle: false,
            pending_for: Span::seconds(60),
            deleting_for: Span::seconds(60),
            gateway_takes: Span::ZERO,
            modify_pending_for: Span::ZERO,
            deleted_for: Span::seconds(60),
            outcomes: Vec::new(),
            failed_hold_names: true,
            s3_inbound_only_by_default: false,
            token_retention: Duration::from_secs(24 * 3600),
            document_takes: Span::seconds(5),
            document_fails: 0.0,
            setting_pending_for: Duration::ZERO,
            associating_for: Span::seconds(5),
            iam_propagation: Span::seconds(60),
            lost_after: Duration::from_secs(6 * 60),
        }
    }
}

impl Weather {
    /// Whether it still lasts.
    #[must_use]
    pub fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The odds of each fault, in the order in which a call meets them.
    pub(super) fn odds(&self) -> [(Injected, f64); 5] {
        [
            (Injected::LostRequest, self.lost_request),
            (Injected::Throttle, self.throttle),
            (Injected::Expired, self.expired),
            (Injected::InternalError, self.internal_error),
            (Injected::LostAnswer, self.lost_answer),
        ]
    }

    /// Takes the fault that was planned for the next call of an operation.
    pub(super) fn take_planned(&mut self, operation: Operation) -> Option<Injected> {
        let at = self.planned.iter().position(|planned| planned.operation == operation)?;
        Some(self.planned.remove(at).what)
    }
}
