//! What is said of a pass: conditions, what was drift, and when to look again.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    calls::Operation,
    evaluate::{Action, Check, Difference, Facet, Outcome, Verdict},
    fault::{Fault, FaultKind, HELD_BACK, InvalidParameterAbout, truncate},
    posture::Mode,
    reason::{Reason, Waits},
    snapshot::FactKey,
    write::Written,
};

/// How long a denial is put down to IAM's propagation before a person is asked for.
pub const DENIAL_GRACE: Duration = Duration::from_secs(600);

/// The longest message of a condition, in characters: one that fits an event too (1,024 bytes of note).
const MAX_MESSAGE: usize = 900;

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be said.
    Unknown,
}

impl Status {
    /// As Kubernetes spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition to be written. `Reconciling` and `Stalled` exist only while True.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: &'static str,
    /// Its status.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// AWS did it.
    Done(Written),
    /// AWS refused, or did not answer, or our own limits held it back.
    Failed(Fault),
    /// The controller-wide brake holds it back for so long.
    Braked(Duration),
    /// An earlier one failed, and this one was left.
    NotTried,
}

/// An action and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The action.
    pub action: Action,
    /// What became of it.
    pub tried: Tried,
}

/// What is said of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// All conditions.
    pub conditions: Vec<Condition>,
    /// Whether the outcome for this generation is known, so that observedGeneration may follow.
    pub settled: bool,
    /// Whom the object waits for.
    pub waits: Waits,
    /// When to look again at the earliest, where something said so.
    pub retry_after: Option<Duration>,
    /// Facts that something is expected to change in: to be read again at the next look.
    pub watch: BTreeSet<FactKey>,
    /// Managed fields that were changed behind our back, as far as this pass can tell.
    pub differences: Vec<(Facet, Difference)>,
}

/// The reason and message of a failed call.
#[must_use]
pub fn explain(fault: &Fault, principal: Option<&str>) -> (Reason, String) {
    let who = principal.unwrap_or("the role");
    let reason = match fault.kind {
        FaultKind::Denied if fault.operation == Operation::AssumeRole => Reason::AssumeRoleDenied,
        FaultKind::Denied if fault.operation == Operation::GetCallerIdentity => Reason::NoCredentials,
        FaultKind::Denied if fault.operation == Operation::ModifyVpcAttribute => Reason::DnsAttributesDenied,
        FaultKind::Denied => Reason::PermissionDenied,
        FaultKind::Throttled if fault.code == HELD_BACK => Reason::RateLimited,
        FaultKind::Throttled => Reason::Throttled,
        FaultKind::RegionDisabled => Reason::RegionDisabled,
        FaultKind::Invalid if fault.code == crate::fault::ACCOUNT_MISMATCH => Reason::AccountMismatch,
        FaultKind::Transient | FaultKind::Expired | FaultKind::Invalid | FaultKind::NotFound if fault.of_identity() => {
            Reason::SessionFailed
        }
        FaultKind::Transient | FaultKind::Expired | FaultKind::NotFound | FaultKind::Conflict => conflict(fault),
        FaultKind::LimitExceeded => Reason::QuotaReached,
        FaultKind::Unsupported => Reason::ServiceNotOffered,
        FaultKind::Invalid => match fault.code.as_str() {
            "InsufficientFreeAddressesInSubnet" => Reason::NoFreeAddresses,
            "DuplicateSubnetsInSameZone" => Reason::NoSuitableSubnet,
            _ => match InvalidParameterAbout::of(&fault.message) {
                InvalidParameterAbout::DnsConflict => Reason::PrivateDnsConflict,
                InvalidParameterAbout::Zone => Reason::NoSuitableSubnet,
                InvalidParameterAbout::DnsAttributes => Reason::DnsAttributesOff,
                InvalidParameterAbout::InboundResolverNeedsGateway | InvalidParameterAbout::Other => {
                    Reason::RequestInvalid
                }
            },
        },
    };
    let message = match reason {
        Reason::PermissionDenied | Reason::DnsAttributesDenied => {
            format!("{who} may not {}: allow it to the role ({})", fault.operation, reason.fix().trim_end_matches('.'))
        }
        Reason::RateLimited => format!("{} waits for its turn under AWS's rate limit", fault.operation),
        _ => format!("{}. {}", fault.to_string().trim_end_matches('.'), reason.fix()),
    };
    (reason, message)
}

fn conflict(fault: &Fault) -> Reason {
    match fault.code.as_str() {
        "RouteAlreadyExists" => Reason::RouteConflict,
        "OperationNotPermitted" => Reason::RequestInvalid,
        _ => Reason::AwsError,
    }
}

/// Whether a reason only says that a proposed action is still to be done.
fn is_work(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DnsAttributesOff
            | Reason::SecurityGroupMissing
            | Reason::SecurityGroupIncomplete
            | Reason::EndpointMissing
            | Reason::EndpointDrifted
            | Reason::EndpointFailed
            | Reason::PrivateDnsOff
            | Reason::RoutesMissing
            | Reason::PolicyRestricted
    )
}

/// What a pass rests on besides its verdict.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The effective mode.
    pub mode: Mode,
    /// Whether the object was Ready at this generation before.
    pub was_ready: bool,
    /// How long something has been denied without a break.
    pub denied_for: Duration,
    /// Who acts, where that is known.
    pub principal: Option<&'a str>,
}

/// One facet's part.
struct Part {
    condition: Condition,
    waits: Vec<Waits>,
    holds: bool,
    unknown: bool,
}

/// Says what a pass found and did.
#[must_use]
pub fn report(verdict: &Verdict, applied: &[Applied], circumstances: Circumstances<'_>) -> Report {
    let mut parts: Vec<Part> = Vec::new();
    for facet in Facet::ALL {
        let checks: Vec<&Check> = verdict.checks.iter().filter(|c| c.facet == facet).collect();
        if !checks.is_empty() {
            let tried: Vec<&Applied> = applied.iter().filter(|a| a.action.facet == facet).collect();
            let proposed = verdict.actions.iter().any(|a| a.facet == facet);
            parts.push(part(facet, &checks, &tried, proposed, circumstances));
        }
    }
    let mut conditions = summary(&parts, circumstances);
    let waits = overall(&parts, circumstances);
    let ready = conditions[0].clone();
    match (ready.status, waits) {
        (Status::True, _) => {}
        (_, Waits::Person) => {
            conditions.push(Condition { kind: "Stalled", status: Status::True, ..ready.clone() });
        }
        (_, waits) => conditions.push(Condition {
            kind: "Reconciling",
            status: Status::True,
            reason: if waits == Waits::Progress { Reason::Progressing } else { Reason::ProgressingWithRetry },
            message: ready.message.clone(),
        }),
    }
    let settled = ready.status == Status::True
        || waits == Waits::Person
        || (ready.status == Status::False && waits != Waits::Progress);
    conditions.extend(parts.into_iter().map(|p| p.condition));
    Report {
        conditions,
        settled,
        waits: if ready.status == Status::True { Waits::Nobody } else { waits },
        retry_after: applied
            .iter()
            .filter_map(|a| match &a.tried {
                Tried::Failed(fault) => fault.retry_after,
                Tried::Braked(wait) => Some(*wait),
                Tried::Done(_) | Tried::NotTried => None,
            })
            .min(),
        watch: watch(verdict),
        differences: verdict.checks.iter().filter_map(|c| Some((c.facet, c.difference.clone()?))).collect(),
    }
}

fn watch(verdict: &Verdict) -> BTreeSet<FactKey> {
    let mut keys = BTreeSet::new();
    for check in verdict.checks.iter().filter(|c| c.outcome == Outcome::Fail) {
        match check.reason {
            Reason::EndpointPending | Reason::EndpointDeleting | Reason::EndpointDegraded => {
                keys.insert(FactKey::Endpoints);
            }
            Reason::SecurityGroupMissing => {
                keys.insert(FactKey::SecurityGroups);
            }
            _ => {}
        }
    }
    keys
}

fn part(facet: Facet, checks: &[&Check], tried: &[&Applied], proposed: bool, circumstances: Circumstances<'_>) -> Part {
    let mut said: Vec<(Reason, String)> = Vec::new();
    for applied in tried {
        match &applied.tried {
            Tried::Failed(fault) => said.push(explain(fault, circumstances.principal)),
            Tried::Braked(_) => said.push((
                Reason::WriteBrake,
                format!("the controller-wide brake holds back: {}. {}", applied.action.write, Reason::WriteBrake.fix()),
            )),
            Tried::Done(Written::NotDeleted(left)) => {
                said.extend(left.iter().map(|(id, fault)| {
                    let (reason, message) = explain(fault, circumstances.principal);
                    (reason, format!("{id}: {message}"))
                }));
            }
            Tried::Done(_) | Tried::NotTried => {}
        }
    }
    let done = tried.iter().any(|a| matches!(&a.tried, Tried::Done(w) if !matches!(w, Written::NotDeleted(_))));
    let fails = checks.iter().filter(|c| c.outcome == Outcome::Fail && c.gate);
    // Work that was proposed is under way if some of it was done, and otherwise waits for what stopped it: another
    // action's failure, or a try that is still to come. It waits for no person.
    let mut waits: Vec<Waits> = said.iter().map(|(r, _)| grace(r.waits(), circumstances)).collect();
    for check in fails.clone() {
        waits.push(match is_work(check.reason) && !tried.is_empty() {
            true if done => Waits::Progress,
            true => Waits::Nobody,
            false if is_work(check.reason) && proposed => grace(check.reason.waits(), circumstances).min(Waits::Retry),
            false => grace(check.reason.waits(), circumstances),
        });
    }
    said.sort_by_key(|(reason, _)| std::cmp::Reverse(reason.waits()));
    said.dedup();
    let mut failed: Vec<(Reason, String)> = fails.map(|c| (c.reason, c.message.clone())).collect();
    failed.sort_by_key(|(reason, _)| std::cmp::Reverse(reason.waits()));
    let unknown: Vec<&&Check> = checks.iter().filter(|c| c.outcome == Outcome::Unknown).collect();
    let (status, said): (Status, Vec<(Reason, String)>) = if !failed.is_empty() {
        (Status::False, said.into_iter().chain(failed).collect())
    } else if !unknown.is_empty() {
        waits.push(Waits::Retry);
        (Status::Unknown, unknown.iter().map(|c| (c.reason, c.message.clone())).chain(said).collect())
    } else {
        // What failed where all gates hold (a superfluous thing that could not be deleted) is said, and holds nothing.
        // Warnings first: a condition that is True is read only so far.
        let mut passed: Vec<(Outcome, Reason, String)> =
            checks.iter().map(|c| (c.outcome, c.reason, c.message.clone())).collect();
        passed.sort_by_key(|(outcome, _, _)| std::cmp::Reverse(*outcome));
        (Status::True, said.into_iter().chain(passed.into_iter().map(|(_, r, message)| (r, message))).collect())
    };
    let reason = said.first().map_or(Reason::Succeeded, |(reason, _)| *reason);
    let messages: Vec<String> = said.into_iter().map(|(_, message)| message).collect();
    Part {
        condition: Condition {
            kind: facet.condition(),
            status,
            reason,
            message: truncate(&messages.join("; "), MAX_MESSAGE),
        },
        waits,
        holds: status == Status::True,
        unknown: status == Status::Unknown,
    }
}

fn grace(waits: Waits, circumstances: Circumstances<'_>) -> Waits {
    match waits {
        Waits::Grace if circumstances.denied_for < DENIAL_GRACE => Waits::Retry,
        Waits::Grace => Waits::Person,
        other => other,
    }
}

/// Work under way first, then tries that may help; a person is asked for only when nothing else will happen.
fn overall(parts: &[Part], circumstances: Circumstances<'_>) -> Waits {
    // What only observes waits for nothing but its target.
    let counts = |p: &&Part| circumstances.mode == Mode::Enforce || p.condition.kind == Facet::Account.condition();
    let open = parts.iter().filter(counts).filter(|p| !p.holds);
    let all: BTreeSet<Waits> = open.flat_map(|p| p.waits.iter().copied()).collect();
    [Waits::Progress, Waits::Retry, Waits::Person].into_iter().find(|w| all.contains(w)).unwrap_or(Waits::Retry)
}

/// `Ready` and `Compliant`.
fn summary(parts: &[Part], circumstances: Circumstances<'_>) -> Vec<Condition> {
    let failing = parts.iter().filter(|p| p.condition.status == Status::False);
    let worst = failing.max_by_key(|p| (severity(p.condition.reason), std::cmp::Reverse(p.condition.kind)));
    let unknown = parts.iter().find(|p| p.unknown);
    let (compliant, reason, message) = match (worst, unknown) {
        // What waits for another condition leaves the word to it.
        (Some(part), Some(cause)) if part.condition.reason == Reason::PrerequisiteMissing => {
            (Status::False, Reason::FactUnreadable, cause.condition.message.clone())
        }
        (Some(part), _) => (Status::False, part.condition.reason, part.condition.message.clone()),
        (None, Some(part)) => (Status::Unknown, Reason::FactUnreadable, part.condition.message.clone()),
        (None, None) => (Status::True, Reason::Succeeded, "AWS is as declared".to_owned()),
    };
    let compliant = Condition { kind: "Compliant", status: compliant, reason, message: message.clone() };
    let ready = match (circumstances.mode, compliant.status) {
        // An object whose target or account is wrong was not evaluated.
        (Mode::Observe, _) if parts.iter().all(|p| p.condition.kind != Facet::Account.condition() || p.holds) => {
            Condition {
                kind: "Ready",
                status: Status::True,
                reason: Reason::Evaluated,
                message: if compliant.status == Status::True {
                    message
                } else {
                    format!("evaluated, nothing written: {message}")
                },
            }
        }
        (_, Status::True) => Condition { kind: "Ready", ..compliant.clone() },
        (_, Status::False) if !circumstances.was_ready && overall(parts, circumstances) == Waits::Progress => {
            Condition { kind: "Ready", status: Status::Unknown, reason: Reason::Progressing, message }
        }
        _ => Condition { kind: "Ready", status: Status::False, reason, message },
    };
    let ready = Condition { message: truncate(&ready.message, MAX_MESSAGE), ..ready };
    vec![ready, Condition { message: truncate(&compliant.message, MAX_MESSAGE), ..compliant }]
}

/// The reason that a person should see first.
fn severity(reason: Reason) -> (bool, Waits) {
    (reason != Reason::PrerequisiteMissing, reason.waits())
}

/// The conditions of an object that could not be evaluated at all.
#[must_use]
pub fn refused(reason: Reason, message: &str, denied_for: Duration) -> Report {
    let circumstances = Circumstances { mode: Mode::Enforce, was_ready: true, denied_for, principal: None };
    let waits = grace(reason.waits(), circumstances);
    let message = truncate(message, MAX_MESSAGE);
    let condition = |kind, status, reason| Condition { kind, status, reason, message: message.clone() };
    let mut conditions = vec![
        condition("Ready", Status::False, reason),
        condition("Compliant", Status::Unknown, reason),
        condition(Facet::Account.condition(), Status::False, reason),
    ];
    conditions.push(match waits {
        Waits::Person => condition("Stalled", Status::True, reason),
        Waits::Progress => condition("Reconciling", Status::True, Reason::Progressing),
        Waits::Nobody | Waits::Retry | Waits::Grace => {
            condition("Reconciling", Status::True, Reason::ProgressingWithRetry)
        }
    });
    Report {
        conditions,
        settled: waits != Waits::Progress,
        waits,
        retry_after: None,
        watch: BTreeSet::new(),
        differences: Vec::new(),
    }
}
