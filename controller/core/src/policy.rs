//! IAM policy documents: made from statements, and compared by what they mean.

use serde_json::{Map, Value, json};

/// One statement that allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// The IAM actions.
    pub actions: Vec<String>,
    /// The ARNs that they are allowed on.
    pub resources: Vec<String>,
}

/// A document of statements that allow; none where there is nothing to allow.
#[must_use]
pub fn document(statements: &[Allow]) -> Option<String> {
    let all: Vec<Value> =
        statements.iter().map(|s| json!({ "Effect": "Allow", "Action": s.actions, "Resource": s.resources })).collect();
    (!all.is_empty()).then(|| json!({ "Version": "2012-10-17", "Statement": all }).to_string())
}

/// A trust policy that lets services take a role on.
#[must_use]
pub fn trust(services: &[&str]) -> String {
    let services = match services {
        [one] => json!(one),
        all => json!(all),
    };
    let statement = json!({ "Effect": "Allow", "Principal": { "Service": services }, "Action": "sts:AssumeRole" });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

/// Whether two documents mean the same, whatever the order of their parts, and whether one thing stands alone or in a
/// list. A text that is no document equals nothing.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    matches!((meaning(one), meaning(other)), (Some(one), Some(other)) if one == other)
}

/// Whether a trust policy lets a service take the role on without condition, and does not deny it.
#[must_use]
pub fn trusts(document: &str, service: &str) -> bool {
    let Some(Value::Array(statements)) = meaning(document) else { return false };
    let about = |statement: &Value| {
        let named = |value: &Value, words: &[&str]| {
            value.as_array().is_some_and(|all| {
                all.iter().any(|v| v.as_str().is_some_and(|v| words.iter().any(|w| w.eq_ignore_ascii_case(v))))
            })
        };
        let principal = &statement["Principal"];
        (named(&principal["Service"], &[service, "*"]) || named(principal, &["*"]))
            && named(&statement["Action"], &["sts:AssumeRole", "sts:*", "*"])
    };
    let of = |effect: &str| statements.iter().filter(|s| s["Effect"] == effect && about(s)).collect::<Vec<_>>();
    of("Deny").is_empty() && of("Allow").iter().any(|s| s["Condition"].is_null())
}

/// What a service asks of a resource.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The service, such as `events.amazonaws.com`.
    pub service: &'a str,
    /// The IAM action.
    pub action: &'a str,
    /// The ARN of the resource.
    pub resource: &'a str,
    /// The ARN of what the service does it for (`aws:SourceArn`).
    pub source_arn: &'a str,
    /// The account of that (`aws:SourceAccount`).
    pub source_account: &'a str,
}

/// What a resource's policy says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is let through.
    Allowed,
    /// Nothing lets it through, or something forbids it.
    Refused,
    /// That hangs on something that is not judged here: a condition, or a text that is no document.
    Unsure,
}

/// Whether a resource's policy lets a service do something (IAM, "Policy evaluation logic").
#[must_use]
pub fn access(document: &str, request: &Request<'_>) -> Access {
    let Some(Value::Array(statements)) = meaning(document) else { return Access::Unsure };
    let best = |effect: &str| {
        let of = statements.iter().filter(|s| s["Effect"] == effect);
        of.map(|statement| is_about(statement, request)).max().unwrap_or(Fit::No)
    };
    match (best("Deny"), best("Allow")) {
        (Fit::Yes, _) | (_, Fit::No) => Access::Refused,
        (Fit::No, Fit::Yes) => Access::Allowed,
        _ => Access::Unsure,
    }
}

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    Unsure,
    Yes,
}

impl From<bool> for Fit {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// The texts of a part in its one form; none where there is no such part.
fn texts<'v>(part: &'v Value) -> Option<impl Iterator<Item = &'v str> + use<'v>> {
    part.as_array().map(|all| all.iter().filter_map(Value::as_str))
}

fn is_about(statement: &Value, request: &Request<'_>) -> Fit {
    let principal = &statement["Principal"];
    let everybody = |part: &Value| texts(part).is_some_and(|mut all| all.any(|text| text == "*"));
    let named = everybody(principal)
        || everybody(&principal["AWS"])
        || texts(&principal["Service"])
            .is_some_and(|mut all| all.any(|text| text == "*" || text.eq_ignore_ascii_case(request.service)));
    let principal = if statement["NotPrincipal"].is_null() { Fit::from(named) } else { Fit::Unsure };
    let covered = |part: &str, value: &str| {
        let lists = |part: &Value| texts(part).map(|mut all| all.any(|text| like(value, text)));
        let not = lists(&statement[format!("Not{part}")]).map(|covered| !covered);
        lists(&statement[part]).or(not)
    };
    // Actions are in lower case in the one form.
    let action = covered("Action", &request.action.to_ascii_lowercase()).unwrap_or(false);
    let resource = covered("Resource", request.resource).unwrap_or(true);
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    let conditions = conditions.flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, values)| holds(operator, key, values, request))
    });
    conditions.chain([principal, action.into(), resource.into()]).min().unwrap_or(Fit::No)
}

/// Whether a condition holds for the request of a service.
fn holds(operator: &str, key: &str, values: &Value, request: &Request<'_>) -> Fit {
    let is = match key.to_ascii_lowercase().as_str() {
        "aws:sourcearn" => Some(request.source_arn),
        "aws:sourceaccount" => Some(request.source_account),
        "aws:principalservicename" => Some(request.service),
        "aws:securetransport" | "aws:principalisawsservice" => Some("true"),
        // Of principals that are of an account, which a service is not.
        "aws:sourceowner" | "aws:principalorgid" | "aws:principalaccount" | "aws:principalarn" => None,
        _ => return Fit::Unsure,
    };
    let (operator, if_exists) = operator.strip_suffix("IfExists").map_or((operator, false), |plain| (plain, true));
    let (positive, compare): (bool, fn(&str, &str) -> bool) = match operator {
        "StringEquals" => (true, |is, text| is == text),
        "StringNotEquals" => (false, |is, text| is == text),
        "StringEqualsIgnoreCase" | "Bool" => (true, |is, text| is.eq_ignore_ascii_case(text)),
        "StringNotEqualsIgnoreCase" => (false, |is, text| is.eq_ignore_ascii_case(text)),
        "StringLike" | "ArnEquals" | "ArnLike" => (true, like),
        "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => (false, like),
        _ => return Fit::Unsure,
    };
    let Some(is) = is else { return (if_exists || !positive).into() };
    let Some(mut all) = texts(values) else { return Fit::Unsure };
    if texts(values).is_some_and(|mut all| all.any(|text| text.contains("${"))) {
        return Fit::Unsure;
    }
    (all.any(|text| compare(is, text)) == positive).into()
}

/// Whether a value is like a text in which `*` stands for anything and `?` for one character.
fn like(value: &str, text: &str) -> bool {
    let (value, text): (Vec<char>, Vec<char>) = (value.chars().collect(), text.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where the last star stands, and how far it has been taken to reach.
    let mut star: Option<(usize, usize)> = None;
    while at < value.len() {
        match text.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(c) if *c == '?' || *c == value[at] => (at, of) = (at + 1, of + 1),
            _ => match star {
                Some((back, reached)) => {
                    star = Some((back, reached + 1));
                    (at, of) = (reached + 1, back + 1);
                }
                None => return false,
            },
        }
    }
    text[of..].iter().all(|c| *c == '*')
}

/// The statements of a document, each in one form: without what names it, lists sorted, single things in lists.
fn meaning(document: &str) -> Option<Value> {
    let Ok(Value::Object(mut document)) = serde_json::from_str(document) else { return None };
    let statements = match document.remove("Statement")? {
        Value::Array(all) => all,
        one => vec![one],
    };
    let mut all = statements.into_iter().map(statement).collect::<Option<Vec<Value>>>()?;
    all.sort_by_key(ToString::to_string);
    all.dedup();
    Some(Value::Array(all))
}

fn statement(statement: Value) -> Option<Value> {
    let Value::Object(parts) = statement else { return None };
    let mut same = Map::new();
    for (name, value) in parts {
        match name.as_str() {
            "Sid" => {}
            // Actions are the same in any case (IAM JSON policy elements, "Action").
            "Action" | "NotAction" => {
                same.insert(name, in_lists(lower(value)));
            }
            _ => {
                same.insert(name, in_lists(value));
            }
        }
    }
    same.get("Effect").is_some().then(|| {
        let effect = same["Effect"][0].clone();
        same.insert("Effect".to_owned(), effect);
        Value::Object(same)
    })
}

fn lower(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.to_ascii_lowercase()),
        Value::Array(all) => Value::Array(all.into_iter().map(lower).collect()),
        other => other,
    }
}

/// Each thing in a list, and each list in order. Numbers and truths are texts to IAM.
fn in_lists(value: Value) -> Value {
    match value {
        Value::Object(parts) => Value::Object(parts.into_iter().map(|(name, value)| (name, in_lists(value))).collect()),
        Value::Array(all) => {
            let mut all: Vec<Value> = all.into_iter().map(text).collect();
            all.sort_by_key(ToString::to_string);
            all.dedup();
            Value::Array(all)
        }
        one => Value::Array(vec![text(one)]),
    }
}

fn text(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Bool(truth) => Value::String(truth.to_string()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::near::near;

    const ONE: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

    #[test]
    fn documents_are_compared_by_what_they_mean() {
        for (other, equal) in [
            (ONE, true),
            (
                r#"{"Statement":{"Sid":"x","Action":["sts:assumerole"],"Principal":{"Service":["ssm.amazonaws.com"]},"Effect":"Allow"}}"#,
                true,
            ),
            (
                r#"{"Statement":[{"Effect":"Deny","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#,
                false,
            ),
            (
                r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#,
                false,
            ),
            (
                r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"Bool":{"a":true}}}]}"#,
                false,
            ),
            (r#"{"Statement":[]}"#, false),
            ("{}", false),
            ("", false),
        ] {
            assert_eq!(same(ONE, other), equal, "{other}");
            assert_eq!(same(other, ONE), equal, "{other}");
        }
        assert!(!same("", "") && !same("{}", "{}"), "no document");
        let [a, b] = ["true", "\"true\""].map(|on| {
            format!(r#"{{"Statement":[{{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{{"Bool":{{"c":{on}}}}}}}]}}"#)
        });
        assert!(same(&a, &b));
    }

    #[test]
    fn trust_is_given_without_condition() {
        let with = |statement: &str| format!(r#"{{"Statement":[{statement}]}}"#);
        let allow = r#"{"Effect":"Allow","Principal":{"Service":["ssm.amazonaws.com","ec2.amazonaws.com"]},"Action":"sts:AssumeRole"}"#;
        let deny = r#"{"Effect":"Deny","Principal":"*","Action":"sts:*"}"#;
        for (document, trusted) in [
            (ONE.to_owned(), true),
            (with(allow), true),
            (with(&format!("{allow},{deny}")), false),
            (with(r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}"#), true),
            (with(r#"{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}"#), false),
            (with(&allow.replace("sts:AssumeRole\"}", r#"sts:AssumeRole","Condition":{"Bool":{"a":"true"}}}"#)), false),
            (with(&allow.replace("ssm.", "lambda.")), false),
            ("nonsense".to_owned(), false),
        ] {
            assert_eq!(trusts(&document, "ssm.amazonaws.com"), trusted, "{document}");
        }
    }

    #[test]
    fn what_is_made_is_understood() {
        assert!(same(&trust(&["ssm.amazonaws.com"]), ONE));
        assert!(trusts(&trust(&["a.amazonaws.com", "b.amazonaws.com"]), "b.amazonaws.com"));
        assert_eq!(document(&[]), None);
        let one = Allow { actions: vec!["s3:GetObject".into()], resources: vec!["arn:aws:s3:::a/*".into()] };
        let text = document(std::slice::from_ref(&one)).unwrap();
        assert_eq!(
            text,
            r#"{"Statement":[{"Action":["s3:GetObject"],"Effect":"Allow","Resource":["arn:aws:s3:::a/*"]}],"Version":"2012-10-17"}"#
        );
        assert!(same(&text, &document(&[one.clone(), one]).unwrap()), "said twice is said once");
    }

    #[test]
    fn what_a_policy_lets_a_service_do_is_told_or_not_known() {
        use Access::{Allowed, Refused, Unsure};
        let request = Request {
            service: "events.amazonaws.com",
            action: "sns:Publish",
            resource: "arn:aws:sns:eu-west-1:111122223333:t",
            source_arn: "arn:aws:events:eu-west-1:111122223333:rule/r",
            source_account: "111122223333",
        };
        let allow = json!({
            "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "sns:Publish",
            "Resource": "arn:aws:sns:eu-west-1:111122223333:t",
        });
        let of = |statements: &[Value]| json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let with = |part: &str, value: Value| {
            let mut statement = allow.clone();
            statement[part] = value;
            statement
        };
        let without = |part: &str, instead: &str, value: Value| {
            let mut statement = allow.clone();
            statement.as_object_mut().unwrap().remove(part);
            statement[instead] = value;
            statement
        };
        let when = |condition: Value| with("Condition", condition);
        let deny = |part: &str, value: Value| {
            let mut statement = with(part, value);
            statement["Effect"] = json!("Deny");
            statement
        };
        for (statements, expected) in [
            (vec![allow.clone()], Allowed),
            (vec![], Refused),
            (vec![with("Principal", json!("*"))], Allowed),
            (vec![with("Principal", json!({ "AWS": "*" }))], Allowed),
            (vec![with("Principal", json!({ "Service": ["lambda.amazonaws.com", "Events.amazonaws.com"] }))], Allowed),
            (vec![with("Principal", json!({ "Service": "lambda.amazonaws.com" }))], Refused),
            (vec![with("Principal", json!({ "AWS": "111122223333" }))], Refused),
            (vec![without("Principal", "NotPrincipal", json!({ "AWS": "111122223333" }))], Unsure),
            (vec![with("Action", json!(["SNS:Subscribe", "SNS:Pub*"]))], Allowed),
            (vec![with("Action", json!("sns:Subscribe"))], Refused),
            (vec![without("Action", "NotAction", json!("sns:Subscribe"))], Allowed),
            (vec![without("Action", "NotAction", json!("sns:*"))], Refused),
            (vec![with("Resource", json!("*"))], Allowed),
            (vec![with("Resource", json!("arn:aws:sns:*:*:?"))], Allowed),
            (vec![with("Resource", json!("arn:aws:sns:eu-west-1:111122223333:other"))], Refused),
            (vec![without("Resource", "NotResource", json!("arn:aws:sns:eu-west-1:111122223333:t"))], Refused),
            (vec![when(json!({ "ArnLike": { "AWS:SourceArn": "arn:aws:events:*:111122223333:rule/*" } }))], Allowed),
            (vec![when(json!({ "ArnNotLike": { "aws:SourceArn": "arn:aws:events:*:111122223333:rule/*" } }))], Refused),
            (vec![when(json!({ "StringEquals": { "aws:SourceAccount": "444455556666" } }))], Refused),
            (vec![when(json!({ "StringNotEquals": { "aws:SourceAccount": "444455556666" } }))], Allowed),
            (
                vec![when(
                    json!({ "StringNotEqualsIgnoreCase": { "aws:PrincipalServiceName": "Events.Amazonaws.com" } }),
                )],
                Refused,
            ),
            (
                vec![when(json!({ "StringEqualsIgnoreCase": { "aws:PrincipalServiceName": "Events.Amazonaws.com" } }))],
                Allowed,
            ),
            (vec![when(json!({ "Bool": { "aws:PrincipalIsAWSService": true } }))], Allowed),
            (vec![when(json!({ "Bool": { "aws:SecureTransport": "false" } }))], Refused),
            // A service is of no account and of no organisation.
            (vec![when(json!({ "StringEquals": { "AWS:SourceOwner": "111122223333" } }))], Refused),
            (vec![when(json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } }))], Refused),
            (vec![when(json!({ "StringEqualsIfExists": { "aws:PrincipalOrgID": "o-1" } }))], Allowed),
            (vec![when(json!({ "StringNotEquals": { "aws:PrincipalOrgID": "o-1" } }))], Allowed),
            // Both have to hold.
            (
                vec![when(json!({
                    "StringEquals": { "aws:SourceAccount": "111122223333" },
                    "ArnEquals": { "aws:SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/x" },
                }))],
                Refused,
            ),
            (vec![when(json!({ "StringEquals": { "aws:SourceAccount": "${aws:PrincipalAccount}" } }))], Unsure),
            (vec![when(json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }))], Unsure),
            (vec![when(json!({ "DateGreaterThan": { "aws:SourceAccount": "1" } }))], Unsure),
            (vec![when(json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } })), allow.clone()], Allowed),
            (vec![allow.clone(), deny("Action", json!("sns:*"))], Refused),
            (vec![allow.clone(), deny("Principal", json!({ "Service": "lambda.amazonaws.com" }))], Allowed),
            (vec![allow.clone(), deny("Condition", json!({ "Bool": { "aws:SecureTransport": "false" } }))], Allowed),
            (vec![allow.clone(), deny("Condition", json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }))], Unsure),
            (vec![deny("Condition", json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }))], Refused),
        ] {
            assert_eq!(access(&of(&statements), &request), expected, "{statements:?}");
        }
        assert_eq!(access("nonsense", &request), Unsure);
    }

    #[test]
    fn stars_and_question_marks_stand_for_what_they_do() {
        for (value, text, is) in [
            ("", "", true),
            ("", "*", true),
            ("a", "", false),
            ("abc", "abc", true),
            ("abc", "a?c", true),
            ("ac", "a?c", false),
            ("abc", "a*", true),
            ("abc", "*c", true),
            ("abcabd", "*ab?", true),
            ("abcabd", "*abc", false),
            ("aXbXc", "a*b*c", true),
            ("aXbX", "a*b*c", false),
            ("abc", "abcd", false),
            ("abc", "**", true),
            ("a*c", "a*c", true),
        ] {
            assert_eq!(like(value, text), is, "{value} {text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_compared_and_equals_only_documents(text in near(&[ONE, "{}", r#"{"Statement":"x"}"#])) {
            let equal = same(&text, ONE);
            prop_assert_eq!(equal, same(ONE, &text));
            prop_assert!(!equal || trusts(&text, "ssm.amazonaws.com"), "{text}");
        }
    }
}
