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
    /// Whether something that holds nothing up failed, and may succeed at a next try.
    pub again: bool,
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
        // Somebody was faster, the instance is still starting, or EC2 does not know the profile yet.
        FaultKind::Conflict | FaultKind::Invalid if fault.operation == Operation::AssociateIamInstanceProfile => {
            Reason::ProfilesAttaching
        }
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
            format!("{who} may not {}: allow it to the role ({})", denied(fault), reason.fix().trim_end_matches('.'))
        }
        Reason::RateLimited => format!("{} waits for its turn under AWS's rate limit", fault.operation),
        _ => {
            let (said, advice) = (fault.to_string(), reason.fix().trim_end_matches('.'));
            let said = said.trim_end_matches('.');
            match (advice.to_lowercase().contains("see the message"), reason.waits()) {
                // This is the message.
                (true, Waits::Retry) => format!("{said}; it is tried again"),
                (true, _) => said.to_owned(),
                (false, _) => format!("{said}. {advice}"),
            }
        }
    };
    (reason, message)
}

/// What was denied, in AWS's words where it says so: a call may want other actions than its own (ec2:CreateTags), on any
/// of the things that it names, and may be denied by other policies than the role's.
fn denied(fault: &Fault) -> String {
    let own = fault.operation.iam_action();
    let Some((_, said)) = fault.message.split_once("is not authorized to perform: ") else { return own };
    let word = |text: &str| text.split_whitespace().next().unwrap_or_default().trim_end_matches('.').to_owned();
    let action = word(said);
    if action.is_empty() {
        return own;
    }
    let resource =
        said.split_once("on resource: ").map(|(_, resource)| word(resource)).filter(|r| r.starts_with("arn:"));
    let by =
        said.split_once("with an explicit deny in ").map(|(_, policy)| policy.split('.').next().unwrap_or_default());
    let mut text = if action == own { own } else { format!("{own}, which takes {action}") };
    if let Some(resource) = resource {
        text.push_str(&format!(" on {resource}"));
    }
    if let Some(policy) = by.filter(|policy| !policy.is_empty()) {
        text.push_str(&format!(", by an explicit deny in {policy}"));
    }
    text
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
            | Reason::SettingDrifted
            | Reason::PreferencesDrifted
            | Reason::AuditDrifted
            | Reason::RoleMissing
            | Reason::RoleDrifted
            | Reason::ProfileMissing
            | Reason::ProfileDrifted
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
    /// Whether it holds nothing up.
    advisory: bool,
}

/// Says what a pass found and did.
#[must_use]
pub fn report<S>(verdict: &Verdict<S>, applied: &[Applied], circumstances: Circumstances<'_>) -> Report {
    let mut parts: Vec<Part> = Vec::new();
    for facet in Facet::ALL {
        let checks: Vec<&Check> = verdict.checks.iter().filter(|c| c.facet == facet).collect();
        if !checks.is_empty() {
            let mut tried: Vec<&Applied> = applied.iter().filter(|a| a.action.facet == facet).collect();
            // What waits for its turn is no news where something else was refused: only how much of it waits changes.
            if tried.iter().any(|a| is_refused(&a.tried)) {
                tried.retain(|a| !is_held_back(&a.tried));
            }
            let proposed = verdict.actions.iter().any(|a| a.facet == facet);
            parts.push(part(facet, &checks, &tried, proposed, circumstances));
        }
    }
    let gates: Vec<&Part> = parts.iter().filter(|p| !p.advisory).collect();
    let mut conditions = summary(&gates, circumstances);
    let waits = overall(&gates, circumstances);
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
    let refused = applied.iter().any(|a| is_refused(&a.tried));
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
            .filter(|a| !(refused && is_held_back(&a.tried)))
            .filter_map(|a| match &a.tried {
                Tried::Failed(fault) => fault.retry_after,
                Tried::Braked(wait) => Some(*wait),
                Tried::Done(_) | Tried::NotTried => None,
            })
            .min(),
        watch: watch(verdict),
        again: applied.iter().any(|a| a.action.facet.is_advisory() && may_succeed(&a.tried, circumstances)),
        differences: verdict.checks.iter().filter_map(|c| Some((c.facet, c.difference.clone()?))).collect(),
    }
}

/// Whether a call waits for its turn under AWS's rate limit.
#[must_use]
pub fn is_held_back(tried: &Tried) -> bool {
    matches!(tried, Tried::Failed(fault) if fault.code == HELD_BACK)
}

/// Whether AWS refused a call, and did not say when to come back.
#[must_use]
pub fn is_refused(tried: &Tried) -> bool {
    matches!(tried, Tried::Failed(fault) if fault.code != HELD_BACK && fault.retry_after.is_none())
}

/// Whether what failed may succeed at a next try, without anybody's help.
fn may_succeed(tried: &Tried, circumstances: Circumstances<'_>) -> bool {
    match tried {
        Tried::Failed(fault) => grace(explain(fault, None).0.waits(), circumstances) < Waits::Person,
        Tried::Braked(_) => true,
        Tried::Done(_) | Tried::NotTried => false,
    }
}

fn watch<S>(verdict: &Verdict<S>) -> BTreeSet<FactKey> {
    let mut keys = verdict.watch.clone();
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
    // What only advises has a condition of its own all the same.
    let counts = |c: &&&Check| c.gate || facet.is_advisory();
    let fails = checks.iter().filter(counts).filter(|c| c.outcome == Outcome::Fail);
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
    let unknown: Vec<&&Check> = checks.iter().filter(counts).filter(|c| c.outcome == Outcome::Unknown).collect();
    let (status, said): (Status, Vec<(Reason, String)>) = if !failed.is_empty() {
        (Status::False, said.into_iter().chain(failed).collect())
    } else if !unknown.is_empty() {
        // Unreadable because denied, for as long as a denial is put down to IAM's propagation: then a person.
        waits.push(grace(Waits::Grace, circumstances));
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
        advisory: facet.is_advisory(),
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
fn overall(parts: &[&Part], circumstances: Circumstances<'_>) -> Waits {
    // What only observes waits for nothing but its target.
    let counts = |p: &&&Part| circumstances.mode == Mode::Enforce || p.condition.kind == Facet::Account.condition();
    let open = parts.iter().filter(counts).filter(|p| !p.holds);
    let all: BTreeSet<Waits> = open.flat_map(|p| p.waits.iter().copied()).collect();
    [Waits::Progress, Waits::Retry, Waits::Person].into_iter().find(|w| all.contains(w)).unwrap_or(Waits::Retry)
}

/// `Ready` and `Compliant`.
fn summary(parts: &[&Part], circumstances: Circumstances<'_>) -> Vec<Condition> {
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
                    truncate(&format!("evaluated, nothing written: {message}"), MAX_MESSAGE)
                },
            }
        }
        (_, Status::True) => Condition { kind: "Ready", ..compliant.clone() },
        (_, Status::False) if !circumstances.was_ready && overall(parts, circumstances) == Waits::Progress => {
            Condition { kind: "Ready", status: Status::Unknown, reason: Reason::Progressing, message }
        }
        _ => Condition { kind: "Ready", status: Status::False, reason, message },
    };
    vec![ready, compliant]
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
        again: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        facts::VpcAttribute,
        fault::{ACCOUNT_MISMATCH, NO_ANSWER, NO_CREDENTIALS},
        testing::{World, fault},
        write::Write,
    };

    const ENFORCE: Circumstances<'_> = Circumstances {
        mode: Mode::Enforce,
        was_ready: true,
        denied_for: Duration::ZERO,
        principal: Some("arn:aws:sts::111122223333:assumed-role/ssm-ready/ssm-ready"),
    };
    const OBSERVE: Circumstances<'_> = Circumstances { mode: Mode::Observe, ..ENFORCE };
    const NEW: Circumstances<'_> = Circumstances { was_ready: false, ..ENFORCE };
    const DENIED_LONG: Circumstances<'_> = Circumstances { denied_for: DENIAL_GRACE, ..ENFORCE };

    fn condition<'a>(report: &'a Report, kind: &str) -> Option<&'a Condition> {
        report.conditions.iter().find(|c| c.kind == kind)
    }

    /// `Type=Status Reason` of the conditions asked for; those that are not there are left out.
    fn said(report: &Report, kinds: &[&str]) -> Vec<String> {
        let found = kinds.iter().filter_map(|kind| condition(report, kind));
        found.map(|c| format!("{}={} {}", c.kind, c.status.as_str(), c.reason)).collect()
    }

    const SUMMARY: [&str; 4] = ["Ready", "Compliant", "Reconciling", "Stalled"];

    fn applied(world: &World, tried: impl Fn(&Write) -> Tried) -> (Verdict, Vec<Applied>) {
        let verdict = world.judge();
        let actions = crate::plan::plan(verdict.actions.clone()).actions;
        let applied = actions.into_iter().map(|action| Applied { tried: tried(&action.write), action }).collect();
        (verdict, applied)
    }

    fn done(_: &Write) -> Tried {
        Tried::Done(Written::Done)
    }

    /// The first call fails, and the plan stops there.
    fn failing(code: &'static str, status: u16) -> impl Fn(&Write) -> Tried {
        let first = std::cell::Cell::new(true);
        move |write| {
            if first.replace(false) {
                Tried::Failed(Fault::from_answer(write.operation(), code, status, "AWS says so."))
            } else {
                Tried::NotTried
            }
        }
    }

    #[track_caller]
    fn check(
        what: &str,
        world: &World,
        tried: impl Fn(&Write) -> Tried,
        circumstances: Circumstances<'_>,
        expected: &[&str],
    ) -> Report {
        let (verdict, applied) = applied(world, tried);
        let report = report(&verdict, &applied, circumstances);
        assert_eq!(said(&report, &SUMMARY), expected, "{what}: {:#?}", report.conditions);
        assert_contract(&verdict, &report, circumstances);
        report
    }

    /// What every report owes to those who read it.
    #[track_caller]
    fn assert_contract(verdict: &Verdict, report: &Report, circumstances: Circumstances<'_>) {
        let kinds: BTreeSet<&str> = report.conditions.iter().map(|c| c.kind).collect();
        assert_eq!(kinds.len(), report.conditions.len(), "each condition once");
        let ready = condition(report, "Ready").expect("Ready is always there");
        let compliant = condition(report, "Compliant").expect("Compliant is always there");
        let reconciling = condition(report, "Reconciling");
        let stalled = condition(report, "Stalled");
        for abnormal in [reconciling, stalled].into_iter().flatten() {
            assert_eq!(abnormal.status, Status::True, "written only while True");
        }
        let abnormal = usize::from(reconciling.is_some()) + usize::from(stalled.is_some());
        assert_eq!(abnormal, usize::from(ready.status != Status::True), "{:#?}", report.conditions);
        if let Some(stalled) = stalled {
            assert_eq!((ready.status, ready.reason), (Status::False, stalled.reason));
            assert_eq!(report.waits, Waits::Person);
            assert!(report.settled, "or those who wait would never see it");
        }
        if ready.status == Status::Unknown {
            assert_eq!(ready.reason, Reason::Progressing);
            assert!(reconciling.is_some() && !report.settled);
        }
        if ready.status == Status::True {
            assert!(report.settled);
        }
        assert_eq!(report.waits == Waits::Nobody, ready.status == Status::True);
        for condition in &report.conditions {
            assert!(condition.message.chars().count() <= MAX_MESSAGE, "{}", condition.message);
            assert!(!condition.message.contains("Encoded authorization"), "{}", condition.message);
        }
        let gate = |outcome: Outcome, facet: Option<Facet>| {
            verdict.checks.iter().any(|c| {
                let counts = c.gate || facet.is_some_and(Facet::is_advisory);
                counts && c.outcome == outcome && facet.is_none_or(|f| f == c.facet)
            })
        };
        let of = |facet: Option<Facet>| match (gate(Outcome::Fail, facet), gate(Outcome::Unknown, facet)) {
            (true, _) => Status::False,
            (false, true) => Status::Unknown,
            (false, false) => Status::True,
        };
        assert_eq!(compliant.status, of(None), "{:#?}", report.conditions);
        for facet in Facet::ALL {
            if let Some(found) = condition(report, facet.condition()) {
                assert_eq!(found.status, of(Some(facet)), "{found:?}");
            }
            let checked = verdict.checks.iter().any(|c| c.facet == facet);
            assert_eq!(condition(report, facet.condition()).is_some(), checked);
        }
        let evaluated = match circumstances.mode {
            Mode::Enforce => compliant.status == Status::True,
            Mode::Observe => of(Some(Facet::Account)) == Status::True,
        };
        assert_eq!(ready.status == Status::True, evaluated, "{:#?}", report.conditions);
        if circumstances.mode == Mode::Observe && evaluated {
            assert_eq!(ready.reason, Reason::Evaluated);
        }
    }

    #[test]
    fn work_under_way() {
        let converged = ["Ready=True Succeeded", "Compliant=True Succeeded"];
        check("all is well", &World::converged(), done, ENFORCE, &converged);
        check(
            "a new object",
            &World::empty(),
            done,
            NEW,
            &["Ready=Unknown Progressing", "Compliant=False EndpointMissing", "Reconciling=True Progressing"],
        );
        check(
            "drift of one that was Ready",
            &World::with_group(),
            done,
            ENFORCE,
            &["Ready=False EndpointMissing", "Compliant=False EndpointMissing", "Reconciling=True Progressing"],
        );
        let mut pending = World::with_group();
        pending.slow = true;
        let verdict = pending.judge();
        for action in &verdict.actions {
            pending.apply(&action.write, &[]);
        }
        let report = check(
            "endpoints are pending",
            &pending,
            done,
            NEW,
            &["Ready=Unknown Progressing", "Compliant=False EndpointPending", "Reconciling=True Progressing"],
        );
        assert_eq!(report.watch, [FactKey::Endpoints].into());
        let report = report_of(&World::empty(), NEW);
        assert_eq!(report.watch, [FactKey::SecurityGroups].into());
    }

    fn report_of(world: &World, circumstances: Circumstances<'_>) -> Report {
        let (verdict, applied) = applied(world, done);
        report(&verdict, &applied, circumstances)
    }

    #[test]
    fn a_denial_has_ten_minutes_to_go_away() {
        let denied = failing("UnauthorizedOperation", 403);
        let retrying = [
            "Ready=False PermissionDenied",
            "Compliant=False PermissionDenied",
            "Reconciling=True ProgressingWithRetry",
        ];
        check("at first", &World::empty(), denied, ENFORCE, &retrying);
        let late = Circumstances { denied_for: DENIAL_GRACE - Duration::from_secs(1), ..ENFORCE };
        check("until the end", &World::empty(), failing("UnauthorizedOperation", 403), late, &retrying);
        check(
            "then a person is asked",
            &World::empty(),
            failing("UnauthorizedOperation", 403),
            DENIED_LONG,
            &["Ready=False PermissionDenied", "Compliant=False PermissionDenied", "Stalled=True PermissionDenied"],
        );
        let mut dns = World::converged();
        dns.attribute(crate::facts::VpcAttribute::DnsSupport, false);
        check(
            "DNS attributes have their own reason",
            &dns,
            failing("UnauthorizedOperation", 403),
            DENIED_LONG,
            &[
                "Ready=False DnsAttributesDenied",
                "Compliant=False DnsAttributesDenied",
                "Stalled=True DnsAttributesDenied",
            ],
        );
    }

    #[test]
    fn what_stops_a_plan() {
        check(
            "throttled",
            &World::empty(),
            failing("RequestLimitExceeded", 503),
            NEW,
            &["Ready=False Throttled", "Compliant=False Throttled", "Reconciling=True ProgressingWithRetry"],
        );
        check(
            "a quota",
            &World::with_group(),
            failing("VpcEndpointLimitExceeded", 400),
            NEW,
            &["Ready=False QuotaReached", "Compliant=False QuotaReached", "Stalled=True QuotaReached"],
        );
        let report = check(
            "our own rate limit is no failure",
            &World::with_group(),
            |w| Tried::Failed(Fault::held_back(w.operation(), Duration::from_secs(7))),
            NEW,
            &["Ready=Unknown Progressing", "Compliant=False RateLimited", "Reconciling=True Progressing"],
        );
        assert_eq!(report.retry_after, Some(Duration::from_secs(7)));
        let waits = report.conditions.iter().find(|c| c.kind == "Compliant").unwrap();
        assert!(waits.message.contains("waits for its turn under AWS's rate limit"), "{}", waits.message);
        // What this generation comes to is known once it failed, or holds; not while it is under way.
        assert!(!report.settled);
        let first = std::cell::Cell::new(true);
        let report = check(
            "what waits for its turn beside what was refused",
            &World::with_group(),
            |w| {
                let refused = || Fault::from_answer(w.operation(), "VpcEndpointLimitExceeded", 400, "AWS says so.");
                let waits = || Fault::held_back(w.operation(), Duration::from_secs(7));
                Tried::Failed(if first.replace(false) { refused() } else { waits() })
            },
            NEW,
            // S3 waits for its turn too, and says so.
            &["Ready=Unknown Progressing", "Compliant=False QuotaReached", "Reconciling=True Progressing"],
        );
        assert_eq!(report.retry_after, None);
        assert!(!condition(&report, "EndpointsReady").unwrap().message.contains("waits for its turn"));
        let failed = check(
            "throttled, and it was ready",
            &World::empty(),
            failing("RequestLimitExceeded", 503),
            ENFORCE,
            &["Ready=False Throttled", "Compliant=False Throttled", "Reconciling=True ProgressingWithRetry"],
        );
        assert!(failed.settled);
        let going_on = check(
            "held back, and it was ready",
            &World::with_group(),
            |w| Tried::Failed(Fault::held_back(w.operation(), Duration::from_secs(7))),
            ENFORCE,
            &["Ready=False RateLimited", "Compliant=False RateLimited", "Reconciling=True Progressing"],
        );
        assert!(!going_on.settled);
        let report = check(
            "the brake",
            &World::with_group(),
            |_| Tried::Braked(Duration::from_secs(99)),
            NEW,
            &["Ready=False WriteBrake", "Compliant=False WriteBrake", "Reconciling=True ProgressingWithRetry"],
        );
        assert_eq!(report.retry_after, Some(Duration::from_secs(99)));
        check(
            "nothing was tried: it will be",
            &World::with_group(),
            |_| Tried::NotTried,
            NEW,
            &[
                "Ready=False EndpointMissing",
                "Compliant=False EndpointMissing",
                "Reconciling=True ProgressingWithRetry",
            ],
        );
        let mut failed = World::converged();
        failed.endpoint("vpce-ssm", |e| e.state = crate::facts::EndpointState::Failed);
        check(
            "a deletion that AWS answers with 200 and refuses",
            &failed,
            |_| {
                Tried::Done(Written::NotDeleted(vec![(
                    "vpce-ssm".into(),
                    fault(Operation::DeleteVpcEndpoints, "InvalidParameter"),
                )]))
            },
            ENFORCE,
            &["Ready=False RequestInvalid", "Compliant=False RequestInvalid", "Stalled=True RequestInvalid"],
        );
        let mut dns = World::converged();
        dns.attribute(crate::facts::VpcAttribute::DnsSupport, false);
        let verdict = dns.judge();
        let report = super::report(&verdict, &[], ENFORCE);
        assert_eq!(
            said(&report, &SUMMARY),
            [
                "Ready=False DnsAttributesOff",
                "Compliant=False DnsAttributesOff",
                "Reconciling=True ProgressingWithRetry"
            ],
            "a proposed write that was not tried in this pass waits for no person"
        );
    }

    #[test]
    fn what_nobody_but_a_person_can_mend() {
        let mut world = World::empty();
        world.vpcs(Vec::clear);
        for circumstances in [ENFORCE, NEW, OBSERVE] {
            check(
                "no such VPC",
                &world,
                done,
                circumstances,
                &["Ready=False VpcNotFound", "Compliant=False VpcNotFound", "Stalled=True VpcNotFound"],
            );
        }
        let mut world = World::with_group();
        world.attribute(crate::facts::VpcAttribute::DnsSupport, false);
        world.posture.dns = crate::posture::DnsWish::Report;
        world.posture.s3 = crate::posture::S3Wish::None;
        check(
            "DNS attributes that we are not to switch on",
            &world,
            done,
            NEW,
            &["Ready=False DnsAttributesOff", "Compliant=False DnsAttributesOff", "Stalled=True DnsAttributesOff"],
        );
        let mut world = World::with_group();
        world.subnets(Vec::clear);
        check(
            "what can be done is done first",
            &{
                world.posture.s3 = crate::posture::S3Wish::Gateway(crate::posture::RouteTableWish::All);
                world.clone()
            },
            done,
            NEW,
            &["Ready=Unknown Progressing", "Compliant=False NoSuitableSubnet", "Reconciling=True Progressing"],
        );
    }

    #[test]
    fn observing_ends_ready_and_says_how_it_is() {
        check("converged", &World::converged(), done, OBSERVE, &["Ready=True Evaluated", "Compliant=True Succeeded"]);
        let evaluated = |world: &World| report(&world.judge(), &[], OBSERVE);
        let mut denied = World::converged();
        denied.lose(&FactKey::RouteTables);
        let mut lost = World::converged();
        lost.lose(&FactKey::Vpcs);
        for (world, expected) in [
            (World::empty(), vec!["Ready=True Evaluated", "Compliant=False EndpointMissing"]),
            (denied, vec!["Ready=True Evaluated", "Compliant=Unknown FactUnreadable"]),
            (
                lost,
                vec![
                    "Ready=False FactUnreadable",
                    "Compliant=Unknown FactUnreadable",
                    "Reconciling=True ProgressingWithRetry",
                ],
            ),
        ] {
            let report = evaluated(&world);
            assert_eq!(said(&report, &SUMMARY), expected);
            assert_contract(&world.judge(), &report, OBSERVE);
        }
    }

    #[test]
    fn unknown_is_neither_good_nor_bad() {
        for key in FactKey::LISTS {
            let mut world = World::converged();
            world.lose(&key);
            let verdict = world.judge();
            let report = report(&verdict, &[], ENFORCE);
            assert_contract(&verdict, &report, ENFORCE);
            let expected: &[&str] = match key {
                FactKey::ManagedNodes | FactKey::Services => &["Ready=True Succeeded", "Compliant=True Succeeded"],
                _ => &[
                    "Ready=False FactUnreadable",
                    "Compliant=Unknown FactUnreadable",
                    "Reconciling=True ProgressingWithRetry",
                ],
            };
            assert_eq!(said(&report, &SUMMARY), expected, "{key:?}");
        }
        let mut world = World::with_group();
        world.lose(&FactKey::SecurityGroups);
        world.posture.s3 = crate::posture::S3Wish::None;
        check(
            "what waits for something unreadable leaves the word to it",
            &world,
            done,
            ENFORCE,
            &["Ready=False FactUnreadable", "Compliant=False FactUnreadable", "Reconciling=True ProgressingWithRetry"],
        );
    }

    #[test]
    fn what_fails_beside_gates_that_hold_is_said_and_holds_nothing() {
        let mut world = World::converged();
        world.groups(|all| {
            all.push(crate::facts::SecurityGroup {
                id: "sg-2".into(),
                name: "another".into(),
                ..crate::testing::group()
            });
        });
        let report = check(
            "a leftover group that something else still uses",
            &world,
            failing("DependencyViolation", 400),
            ENFORCE,
            &["Ready=True Succeeded", "Compliant=True Succeeded"],
        );
        let group = condition(&report, "SecurityGroupReady").unwrap();
        assert_eq!((group.status, group.reason), (Status::True, Reason::AwsError));
        assert!(group.message.contains("DependencyViolation"), "{}", group.message);
    }

    #[test]
    fn warnings_are_read_first_where_all_holds() {
        let mut world = World::converged();
        world.group(|g| g.ingress.push(crate::testing::https("192.0.2.0/24")));
        let report =
            check("a rule of theirs", &world, done, ENFORCE, &["Ready=True Succeeded", "Compliant=True Succeeded"]);
        assert_eq!(said(&report, &["SecurityGroupReady"]), ["SecurityGroupReady=True UnexpectedIngress"]);
    }

    #[test]
    fn differences_are_handed_on() {
        let mut world = World::converged();
        world.endpoint("vpce-ssm", |e| e.private_dns = false);
        let report = report_of(&world, ENFORCE);
        let fields: Vec<&str> = report.differences.iter().map(|(_, d)| d.field.as_str()).collect();
        assert_eq!(fields, ["endpoints.ssm.privateDns"]);
    }

    #[test]
    fn each_fault_has_its_reason() {
        use Operation as O;
        let conflict = "private-dns-enabled cannot be set because there is already a conflicting DNS domain for ssm.eu-west-1.amazonaws.com in the VPC vpc-1";
        let zone = "The VPC endpoint service x does not support the availability zone of the subnet: subnet-1.";
        let attributes = "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for vpc-1";
        let inbound = "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC vpc-1 must have a Gateway endpoint for the service.";
        for (operation, code, status, message, reason) in [
            (O::AssumeRole, "AccessDenied", 403, "", Reason::AssumeRoleDenied),
            (O::GetCallerIdentity, "AccessDenied", 403, "", Reason::NoCredentials),
            (O::GetCallerIdentity, NO_CREDENTIALS, 0, "", Reason::NoCredentials),
            (O::AssumeRole, NO_ANSWER, 0, "", Reason::SessionFailed),
            (O::AssumeRole, "ExpiredTokenException", 400, "", Reason::SessionFailed),
            (O::AssumeRole, "ValidationError", 400, "", Reason::SessionFailed),
            (O::GetCallerIdentity, ACCOUNT_MISMATCH, 200, "", Reason::AccountMismatch),
            (O::AssumeRole, "RegionDisabledException", 403, "", Reason::RegionDisabled),
            (O::AssumeRole, "Throttling", 400, "", Reason::Throttled),
            (O::ModifyVpcAttribute, "UnauthorizedOperation", 403, "", Reason::DnsAttributesDenied),
            (O::CreateVpcEndpoint, "UnauthorizedOperation", 403, "", Reason::PermissionDenied),
            (O::DescribeInstanceInformation, "AccessDeniedException", 400, "", Reason::PermissionDenied),
            (O::CreateVpcEndpoint, "RequestLimitExceeded", 503, "", Reason::Throttled),
            (O::CreateVpcEndpoint, "OptInRequired", 401, "", Reason::RegionDisabled),
            (O::CreateVpcEndpoint, "AuthFailure", 401, "", Reason::RegionDisabled),
            (O::CreateVpcEndpoint, NO_ANSWER, 0, "", Reason::AwsError),
            (O::CreateVpcEndpoint, "InternalError", 500, "", Reason::AwsError),
            (O::CreateVpcEndpoint, "ExpiredToken", 403, "", Reason::AwsError),
            (O::ModifyVpcEndpoint, "InvalidVpcEndpointId.NotFound", 400, "", Reason::AwsError),
            (O::ModifyVpcEndpoint, "IncorrectState", 400, "", Reason::AwsError),
            (O::DeleteSecurityGroup, "DependencyViolation", 400, "", Reason::AwsError),
            (O::CreateVpcEndpoint, "IdempotentParameterMismatch", 400, "", Reason::AwsError),
            (O::CreateVpcEndpoint, "RouteAlreadyExists", 400, "", Reason::RouteConflict),
            (O::ModifyVpcEndpoint, "OperationNotPermitted", 400, "", Reason::RequestInvalid),
            (O::CreateVpcEndpoint, "VpcEndpointLimitExceeded", 400, "", Reason::QuotaReached),
            (O::CreateSecurityGroup, "SecurityGroupLimitExceeded", 400, "", Reason::QuotaReached),
            (O::CreateVpcEndpoint, "InvalidServiceName", 400, "", Reason::ServiceNotOffered),
            (O::CreateVpcEndpoint, "UnsupportedOperation", 400, "", Reason::ServiceNotOffered),
            (O::CreateVpcEndpoint, "InsufficientFreeAddressesInSubnet", 400, "", Reason::NoFreeAddresses),
            (O::CreateVpcEndpoint, "DuplicateSubnetsInSameZone", 400, "", Reason::NoSuitableSubnet),
            (O::CreateVpcEndpoint, "InvalidParameter", 400, conflict, Reason::PrivateDnsConflict),
            (O::CreateVpcEndpoint, "InvalidParameter", 400, zone, Reason::NoSuitableSubnet),
            (O::CreateVpcEndpoint, "InvalidParameter", 400, attributes, Reason::DnsAttributesOff),
            (O::CreateVpcEndpoint, "InvalidParameter", 400, inbound, Reason::RequestInvalid),
            (O::CreateVpcEndpoint, "InvalidPolicyDocument", 400, "", Reason::RequestInvalid),
            (O::CreateVpcEndpoint, "SomethingNew", 400, "", Reason::RequestInvalid),
        ] {
            let fault = Fault::from_answer(operation, code, status, message);
            let (found, text) = explain(&fault, Some("arn:role"));
            assert_eq!(found, reason, "{fault}");
            assert!(text.contains(operation.name()), "{text}");
            assert!(!text.contains(".."), "{text}");
        }
        let held = Fault::held_back(O::CreateVpcEndpoint, Duration::from_secs(1));
        assert_eq!(explain(&held, None).0, Reason::RateLimited);
        let denied = Fault::from_answer(O::CreateVpcEndpoint, "UnauthorizedOperation", 403, "");
        assert!(explain(&denied, Some("arn:role")).1.contains("arn:role may not ec2:CreateVpcEndpoint"));
    }

    #[test]
    fn an_object_that_cannot_be_evaluated_keeps_the_contract() {
        for reason in Reason::ALL {
            for denied_for in [Duration::ZERO, DENIAL_GRACE] {
                let report = refused(*reason, &"x".repeat(5000), denied_for);
                let ready = condition(&report, "Ready").unwrap();
                assert_eq!((ready.status, ready.reason), (Status::False, *reason));
                let stalled = condition(&report, "Stalled").is_some();
                assert_ne!(stalled, condition(&report, "Reconciling").is_some(), "{reason}");
                let person = match reason.waits() {
                    Waits::Person => true,
                    Waits::Grace => denied_for >= DENIAL_GRACE,
                    _ => false,
                };
                assert_eq!(stalled, person, "{reason}");
                assert!(!stalled || report.settled);
                assert!(report.conditions.iter().all(|c| c.message.chars().count() <= MAX_MESSAGE));
            }
        }
    }

    fn some_check() -> impl Strategy<Value = Check> {
        let outcome = prop_oneof![
            4 => Just(Outcome::Pass),
            1 => Just(Outcome::Warn),
            3 => Just(Outcome::Fail),
            1 => Just(Outcome::Unknown),
        ];
        let facet = proptest::sample::select(Facet::ALL.to_vec());
        let reason = proptest::sample::select(Reason::ALL.to_vec());
        (facet, prop::bool::weighted(0.9), outcome, reason, 0_usize..2000).prop_map(
            |(facet, gate, outcome, reason, length)| Check {
                facet,
                gate: gate && outcome != Outcome::Warn && !facet.is_advisory(),
                outcome,
                reason,
                message: "é".repeat(length),
                difference: None,
            },
        )
    }

    fn some_fault() -> impl Strategy<Value = Fault> {
        let codes = [
            "UnauthorizedOperation",
            "RequestLimitExceeded",
            "InternalError",
            "ExpiredToken",
            "InvalidGroup.NotFound",
            "IncorrectState",
            "InvalidParameter",
            "VpcEndpointLimitExceeded",
            "InvalidServiceName",
            "OptInRequired",
            ACCOUNT_MISMATCH,
            "SomethingNew",
        ];
        let operation = proptest::sample::select(Operation::ALL.to_vec());
        (operation, proptest::sample::select(codes.to_vec()), 0_usize..3000, 0_u64..100).prop_map(
            |(operation, code, length, wait)| {
                let message = format!("{} Encoded authorization failure message: AbCdEf", "x".repeat(length));
                let fault = Fault::from_answer(operation, code, 400, &message);
                Fault { retry_after: (wait > 50).then_some(Duration::from_secs(wait)), ..fault }
            },
        )
    }

    fn some_applied() -> impl Strategy<Value = Applied> {
        let tried = prop_oneof![
            Just(Tried::Done(Written::Done)),
            Just(Tried::NotTried),
            Just(Tried::Braked(Duration::from_secs(60))),
            some_fault().prop_map(Tried::Failed),
            prop::collection::vec((Just("vpce-1".into()), some_fault()), 1..4)
                .prop_map(|left| Tried::Done(Written::NotDeleted(left))),
        ];
        (proptest::sample::select(Facet::ALL.to_vec()), tried).prop_map(|(facet, tried)| {
            let write = Write::Tag { resources: BTreeSet::new(), tags: BTreeMap::new() };
            Applied { action: Action { facet, service: None, write, then_admit: vec![], disrupts: None }, tried }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_contract_holds_whatever_happens(
            checks in prop::collection::vec(some_check(), 1..12),
            applied in prop::collection::vec(some_applied(), 0..6),
            enforce in any::<bool>(),
            was_ready in any::<bool>(),
            denied_for in prop::sample::select(vec![0_u64, 599, 600, 100_000]),
        ) {
            let actions = applied.iter().map(|a| a.action.clone()).collect();
            let verdict = Verdict { checks, actions, ..Verdict::default() };
            let circumstances = Circumstances {
                mode: if enforce { Mode::Enforce } else { Mode::Observe },
                was_ready,
                denied_for: Duration::from_secs(denied_for),
                principal: None,
            };
            let found = report(&verdict, &applied, circumstances);
            assert_contract(&verdict, &found, circumstances);
            prop_assert_eq!(&report(&verdict, &applied, circumstances), &found);
            // A denial that lasts never turns a call for a person into one for patience.
            let later = Circumstances { denied_for: DENIAL_GRACE, ..circumstances };
            if condition(&found, "Stalled").is_some() {
                prop_assert!(condition(&report(&verdict, &applied, later), "Stalled").is_some());
            }
        }
    }

    #[test]
    fn a_failure_is_told_rather_than_what_cannot_be_read_beside_it() {
        let mut world = World::with_group();
        world.lose(&FactKey::Attribute("vpc-1".into(), VpcAttribute::DnsSupport));
        // The read is tried again, and may change what there is to do.
        check(
            "a quota, and an attribute unread",
            &world,
            failing("VpcEndpointLimitExceeded", 400),
            NEW,
            &["Ready=False QuotaReached", "Compliant=False QuotaReached", "Reconciling=True ProgressingWithRetry"],
        );
    }

    #[test]
    fn what_was_only_looked_at_says_so_where_it_is_not_as_declared() {
        let ready = |world: &World| {
            let (verdict, applied) = applied(world, |_| Tried::NotTried);
            condition(&report(&verdict, &applied, OBSERVE), "Ready").unwrap().message.clone()
        };
        assert_eq!(ready(&World::converged()), "AWS is as declared");
        let open = ready(&World::with_group());
        assert!(open.starts_with("evaluated, nothing written: there is no"), "{open}");
    }

    #[test]
    fn what_was_only_looked_at_stays_within_its_length() {
        let mut verdict = Verdict::<()>::default();
        verdict.pass(Facet::Account, "");
        verdict.fail(Facet::SecurityGroup, Reason::SecurityGroupNotFound, "x".repeat(2 * MAX_MESSAGE));
        let report = report(&verdict, &[], OBSERVE);
        for kind in ["Ready", "Compliant"] {
            let message = &condition(&report, kind).unwrap().message;
            assert_eq!(message.chars().count(), MAX_MESSAGE, "{kind}: {message}");
        }
    }

    #[test]
    fn what_holds_nothing_is_tried_again_only_where_that_may_help() {
        let mut verdict = Verdict::<()>::default();
        verdict.pass(Facet::Account, "");
        let associate = Write::AssociateProfile { instance: "i-1".into(), profile: "managed".into() };
        verdict.propose(Facet::InstanceProfiles, associate);
        verdict.propose(Facet::SecurityGroup, Write::DeleteSecurityGroup { group: "sg-1".into() });
        let [profile, group] = [&verdict.actions[0], &verdict.actions[1]];
        let failed = |code| {
            let operation = profile.write.operation();
            Tried::Failed(Fault::from_answer(operation, code, 400, "AWS says so."))
        };
        for (tried, now, later) in [
            (failed("InternalError"), true, true),
            (failed("UnauthorizedOperation"), true, false),
            (Tried::Braked(Duration::from_secs(60)), true, true),
            (Tried::Done(Written::Done), false, false),
            (Tried::NotTried, false, false),
        ] {
            let again = |action: &crate::evaluate::Action, circumstances| {
                let applied = Applied { action: action.clone(), tried: tried.clone() };
                report(&verdict, &[applied], circumstances).again
            };
            assert_eq!([again(profile, ENFORCE), again(profile, DENIED_LONG)], [now, later], "{tried:?}");
            assert!(!again(group, ENFORCE), "what holds the object has its own turn: {tried:?}");
        }
    }

    #[test]
    fn what_only_a_person_can_mend_is_not_under_way_because_something_else_was_done() {
        let mut verdict = Verdict::<()>::default();
        verdict.pass(Facet::Account, "");
        verdict.fail(Facet::SecurityGroup, Reason::SecurityGroupNotFound, "sg-9 does not exist");
        // A group of ours that nothing uses any more.
        verdict.propose(Facet::SecurityGroup, Write::DeleteSecurityGroup { group: "sg-1".into() });
        let applied = Applied { action: verdict.actions[0].clone(), tried: Tried::Done(Written::Done) };
        let report = report(&verdict, &[applied], ENFORCE);
        assert_eq!(
            said(&report, &SUMMARY),
            [
                "Ready=False SecurityGroupNotFound",
                "Compliant=False SecurityGroupNotFound",
                "Stalled=True SecurityGroupNotFound"
            ]
        );
    }

    #[test]
    fn no_message_says_to_see_the_message() {
        for (code, status, wanted) in [
            ("InternalError", 500, "ec2:CreateVpcEndpoint failed: InternalError: Said; it is tried again"),
            ("InvalidParameter", 400, "ec2:CreateVpcEndpoint failed: InvalidParameter: Said"),
            (
                "RequestLimitExceeded",
                503,
                "ec2:CreateVpcEndpoint failed: RequestLimitExceeded: Said. Wait; lower guardrails.apiSharePercent if others use the account heavily",
            ),
        ] {
            let fault = Fault::from_answer(Operation::CreateVpcEndpoint, code, status, "Said.");
            assert_eq!(explain(&fault, None).1, wanted);
        }
    }

    #[test]
    fn a_denial_names_what_is_lacking_in_aws_words() {
        let said = |message: &str| {
            explain(&Fault::from_answer(Operation::CreateVpcEndpoint, "UnauthorizedOperation", 403, message), None).1
        };
        let begin = "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: ";
        for (message, wanted) in [
            ("", "the role may not ec2:CreateVpcEndpoint: allow it"),
            ("is not authorized to perform: ", "the role may not ec2:CreateVpcEndpoint: allow it"),
            (
                &*format!(
                    "{begin}ec2:CreateTags on resource: arn:aws:ec2:eu-west-1:1:vpc-endpoint/* because no identity-based policy allows the ec2:CreateTags action"
                ),
                "the role may not ec2:CreateVpcEndpoint, which takes ec2:CreateTags on arn:aws:ec2:eu-west-1:1:vpc-endpoint/*: allow it",
            ),
            (
                &*format!(
                    "{begin}ec2:CreateVpcEndpoint on resource: arn:aws:ec2:eu-west-1:1:subnet/subnet-1 because no"
                ),
                "the role may not ec2:CreateVpcEndpoint on arn:aws:ec2:eu-west-1:1:subnet/subnet-1: allow it",
            ),
            (
                &*format!("{begin}ec2:CreateVpcEndpoint with an explicit deny in a service control policy. More"),
                "the role may not ec2:CreateVpcEndpoint, by an explicit deny in a service control policy: allow it",
            ),
            (&*format!("{begin}ec2:CreateVpcEndpoint."), "the role may not ec2:CreateVpcEndpoint: allow it"),
        ] {
            let found = said(message);
            assert!(found.starts_with(wanted), "{message}: {found}");
        }
    }
}
