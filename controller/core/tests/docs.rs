//! The pages that are made from the code's own tables are up to date.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{fmt::Write as _, path::Path};

use ssm_ready_core::{
    calls::{AgeClass, Operation, Purpose},
    reason::{Reason, Waits},
};

/// Compares a page with what the code says; writes it anew with UPDATE_DOCS=1.
fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name} is not up to date: UPDATE_DOCS=1 cargo test -p ssm-ready-core");
}

#[test]
fn reasons() {
    let mut page = String::from("# Troubleshooting\n\n");
    page.push_str(
        "Each condition and event gives one of the reasons below. `kubectl describe` shows the message, which names what it is about and says what to do; `kubectl get vpcposture -A -o wide` shows the reason of `Ready`. Where an object waits for a person, `Stalled` is True, and it is looked at again hourly.\n\n```\nkubectl get vpcpostures -A -o wide\nkubectl describe vpcposture NAME\nkubectl get events --field-selector involvedObject.name=NAME\n```\n\n",
    );
    page.push_str("| Reason | Waits for |\n|---|---|\n");
    for reason in Reason::ALL {
        let name = reason.as_str();
        writeln!(page, "| [{name}](#{}) | {} |", name.to_lowercase(), waits_for(*reason)).unwrap();
    }
    for reason in Reason::ALL {
        write!(page, "\n## {reason}\n\n{}\n\n", reason.meaning()).unwrap();
        if !reason.look().is_empty() {
            write!(page, "```\n{}\n```\n\n", reason.look().join("\n")).unwrap();
        }
        writeln!(page, "**What to do:** {} (Waits for: {}.)", reason.fix(), waits_for(*reason)).unwrap();
    }
    check("troubleshooting.md", &page);
}

fn waits_for(reason: Reason) -> &'static str {
    match reason.waits() {
        Waits::Nobody => "nobody",
        Waits::Progress => "AWS or another object",
        Waits::Retry => "the next try",
        Waits::Grace => "IAM for 10 minutes, then a person",
        Waits::Person => "a person; tried again hourly",
    }
}

#[test]
fn permissions() {
    let mut page = String::from("# Permissions\n\n");
    page.push_str(
        "Every call that the controller makes, and the IAM action that it takes. [IAM](iam.md) says how to allow them: `ssm-ready iam-policy` prints policies of exactly these actions, with the resources and conditions that AWS has for them.\n\n",
    );
    page.push_str("A role that only looks (`observeRoleArn`, or mode Observe) takes the reads; one that enforces takes the writes too. `sts:AssumeRole` is for the controller's own role, and `sts:GetCallerIdentity` needs no permission. Setting the role of Default Host Management, putting a role into an instance profile and giving an instance a profile take `iam:PassRole` as well.\n\n");
    for (title, writes) in [("Reads", false), ("Writes", true)] {
        writeln!(
            page,
            "## {title}\n\n| Action | What for | {} |\n|---|---|---|",
            if writes { "What has to hold first" } else { "Read" }
        )
        .unwrap();
        for operation in Operation::ALL.iter().filter(|o| o.writes() == writes) {
            let last = match operation.purpose() {
                Purpose::Identity => "for each session".to_owned(),
                Purpose::Read(class) => describe(class).to_owned(),
                Purpose::Write { guard } => guard.to_owned(),
            };
            writeln!(page, "| `{}` | {} | {last} |", operation.iam_action(), operation.why()).unwrap();
        }
        page.push('\n');
    }
    check("permissions.md", &page);
}

fn describe(class: AgeClass) -> &'static str {
    match class {
        AgeClass::Fast => "at the shortest interval of the region's objects",
        AgeClass::Iam => "every half hour",
        AgeClass::Slow => "hourly",
        AgeClass::Rare => "daily",
        AgeClass::OnDemand => "while an object is deleted",
    }
}

#[test]
fn freshness() {
    let mut page = String::from("# How soon what is seen\n\n");
    page.push_str("Facts are read once for an account and region, whatever the number of objects. The time is the worst in which a change behind our back is seen; an edit of an object or the annotation `ssmready.dev/requestedAt` looks at once (at most once in 15 seconds for an account and region).\n\n");
    page.push_str("| Fact | Seen within | AWS's rate limit: burst, then a second |\n|---|---|---|\n");
    for operation in Operation::ALL {
        if let Purpose::Read(class) = operation.purpose() {
            let (burst, rate) = operation.bucket().rates();
            writeln!(page, "| {} (`{}`) | {} | {burst}, {rate} |", operation.why(), operation.name(), within(class))
                .unwrap();
        }
    }
    page.push_str("\nA fact that could not be read for three times this long counts as Unknown.\n");
    check("freshness.md", &page);
}

fn within(class: AgeClass) -> &'static str {
    match class {
        AgeClass::Fast => "`interval` (10 minutes)",
        AgeClass::Iam => "half an hour",
        AgeClass::Slow => "an hour",
        AgeClass::Rare => "a day",
        AgeClass::OnDemand => "15 seconds",
    }
}
