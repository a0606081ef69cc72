//! Objects that are nearly valid: the examples and fixtures, with changes; for the property tests of the crates that
//! read objects, each of which includes this file beside `near.rs`.

// Each crate uses its part.
#![allow(dead_code)]

use std::{fs, path::Path};

use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value, json};

use super::near::edited;

/// All objects of a kind among the examples and the fixtures, the refused ones too: most of those are refused by CEL
/// alone, so that they may well be in a cluster whose definitions are older.
pub fn documents(kind: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|path| path.join("examples").is_dir()).unwrap();
    let mut found = Vec::new();
    for folder in ["examples", "tests/fixtures/valid", "tests/fixtures/invalid"] {
        let mut files: Vec<_> = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            let all =
                serde_yaml::Deserializer::from_str(&text).map(|one| serde::Deserialize::deserialize(one).unwrap());
            found.extend(all.filter(|document: &Value| document["kind"] == kind));
        }
    }
    assert!(!found.is_empty(), "no {kind} to start from");
    found
}

/// The status of a posture with everything in it.
pub fn vpc_status() -> Value {
    json!({
        "observedGeneration": 3,
        "conditions": [
            { "type": "Ready", "status": "False", "reason": "EndpointPending", "message": "vpce-1 is being made",
              "lastTransitionTime": "2026-11-25T10:00:00Z", "observedGeneration": 3 },
            { "type": "Reconciling", "status": "True", "reason": "Progressing", "message": "",
              "lastTransitionTime": "2026-11-25T10:00:01Z" },
        ],
        "accountId": "111122223333",
        "vpc": {
            "ownerId": "111122223333", "cidrs": ["10.0.0.0/16", "2001:db8::/56"], "dnsSupport": true,
            "dnsHostnames": false, "enabledByUs": ["enableDnsHostnames"],
        },
        "endpoints": [
            { "service": "ssm", "serviceName": "com.amazonaws.eu-west-1.ssm", "type": "Interface",
              "endpointId": "vpce-0a1b2c3d4e5f60718", "state": "Available", "ownership": "Managed",
              "subnetIds": ["subnet-0a1b2c3d"], "zones": ["euw1-az1"], "privateDns": true, "attempts": 2 },
            { "service": "s3", "serviceName": "com.amazonaws.eu-west-1.s3", "type": "Gateway", "ownership": "Existing",
              "routeTableIds": ["rtb-0a1b2c3d"], "attempts": 0 },
        ],
        "securityGroup": { "id": "sg-0a1b2c3d", "name": "ssm-ready-1", "ownership": "Managed" },
        "profiles": [
            { "profile": "none", "instances": 2, "sample": ["i-1", "i-2"], "verdict": "HostManagement" },
            { "profile": "arn:aws:iam::111122223333:instance-profile/web", "instances": 1, "verdict": "Managed" },
        ],
        "plan": { "hash": "0011223344556677", "actions": [
            { "action": "ModifyVpcEndpoint", "target": "vpce-0a1b2c3d4e5f60718", "change": "private DNS on",
              "reason": "DnsReady", "disrupts": "connections" },
        ] },
        "drift": [
            { "field": "endpoints.ssm.state", "wanted": "on", "seen": "off", "since": "2026-11-25T10:00:00Z",
              "repaired": true },
        ],
        "deletion": { "unusedSince": "2026-11-25T10:00:00Z", "waitingFor": "i-1" },
        "lastHandledRequestedAt": "now",
        "observedSpecHash": "0011223344556677",
    })
}

/// The status of an account with everything in it.
pub fn account_status() -> Value {
    json!({
        "observedGeneration": 1,
        "conditions": [
            { "type": "Ready", "status": "True", "reason": "Succeeded", "message": "acts as arn:aws:sts::1:x",
              "lastTransitionTime": "2026-11-25T10:00:00Z", "observedGeneration": 1 },
        ],
        "principalArn": "arn:aws:sts::111122223333:assumed-role/ssm-ready/ssm-ready",
        "observePrincipalArn": "arn:aws:sts::111122223333:assumed-role/observe/ssm-ready",
        "usedBy": 7,
        "missingPermissions": ["ec2:CreateVpcEndpoint"],
        "lastHandledRequestedAt": "now",
        "observedSpecHash": "0011223344556677",
    })
}

/// The status of a region with everything in it.
pub fn region_status() -> Value {
    json!({
        "observedGeneration": 4,
        "conditions": [
            { "type": "Ready", "status": "False", "reason": "Foreign", "message": "somebody else set it",
              "lastTransitionTime": "2026-11-25T10:00:00Z", "observedGeneration": 4 },
            { "type": "HostManagementReady", "status": "Unknown", "reason": "FactUnreadable", "message": "",
              "lastTransitionTime": "2026-11-25T10:00:01Z" },
        ],
        "accountId": "111122223333",
        "settings": [
            { "name": "hostManagement",
              "settingId": "/ssm/managed-instance/default-ec2-instance-management-role",
              "value": "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole", "foundUnset": true,
              "applied": "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole",
              "lastModifiedBy": "arn:aws:sts::111122223333:assumed-role/ssm-ready/ssm-ready",
              "lastModifiedAt": "2026-11-25T09:00:00Z" },
            { "name": "serviceSettings.activationTier", "settingId": "/ssm/managed-instance/activation-tier",
              "value": "standard", "found": "standard", "foundUnset": false, "applying": "advanced" },
            { "name": "instanceMetadataDefaults.httpTokens", "value": "required", "found": "optional",
              "foundUnset": false, "applied": "required" },
        ],
        "sessionPreferences": {
            "defaultVersion": "3", "latestVersion": "4", "ownership": "Adopted", "foundVersion": "2",
            "foundNone": false,
            "targets": [
                { "field": "cloudWatch", "name": "/ssm/sessions", "state": "Unknown", "reason": "FactUnreadable" },
                { "field": "kmsKeyId", "name": "0a1b2c3d-1111-2222-3333-444455556666", "state": "NotUsable",
                  "reason": "SessionKeyUnusable" },
                { "field": "s3", "name": "org-session-logs-euw1", "state": "Usable" },
            ],
        },
        "sessionAudit": {
            "ruleArn": "arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit", "ownership": "Managed",
            "trailArn": "arn:aws:cloudtrail:us-east-1:444455556666:trail/organisation",
            "foundRule": "arn:aws:events:eu-west-1:111122223333:rule/ssm-ready-session-audit", "foundNone": false,
        },
        "instanceMetadata": {
            "managedBy": "declarative-policy", "exceptionMessage": "ask the platform team", "imdsV1Allowed": 12,
            "metadataDisabled": 0,
        },
        "plan": { "hash": "0011223344556677", "actions": [
            { "action": "UpdateServiceSetting", "target": "/ssm/managed-instance/activation-tier",
              "change": "standard to advanced", "reason": "ServiceSettingsReady", "disrupts": "nothing" },
        ] },
        "drift": [
            { "field": "serviceSettings.opsCenter", "wanted": "Enabled", "seen": "Disabled",
              "since": "2026-11-25T10:00:00Z", "repaired": false },
        ],
        "deletion": { "unusedSince": "2026-11-25T10:00:00Z", "waitingFor": "the setting" },
        "lastHandledRequestedAt": "now",
        "observedSpecHash": "0011223344556677",
    })
}

/// The status of an account's roles with everything in it.
pub fn account_posture_status() -> Value {
    json!({
        "observedGeneration": 2,
        "conditions": [
            { "type": "Ready", "status": "False", "reason": "Progressing", "message": "the profile is being made",
              "lastTransitionTime": "2026-11-25T10:00:00Z", "observedGeneration": 2 },
            { "type": "RolesReady", "status": "True", "reason": "Succeeded", "message": "",
              "lastTransitionTime": "2026-11-25T10:00:01Z" },
        ],
        "accountId": "111122223333",
        "roles": [
            { "name": "host-management", "roleName": "AWSSystemsManagerDefaultEC2InstanceManagementRole",
              "arn": "arn:aws:iam::111122223333:role/service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole",
              "ownership": "Managed", "policies": ["arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy"],
              "attached": ["arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy"] },
            { "name": "web", "roleName": "payments-web", "arn": "arn:aws:iam::111122223333:role/payments-web",
              "ownership": "Existing", "profileName": "web",
              "profileArn": "arn:aws:iam::111122223333:instance-profile/web",
              "policies": ["arn:aws:iam::111122223333:policy/theirs"],
              "pending": ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"] },
            { "name": "batch", "roleName": "payments-batch" },
        ],
        "plan": { "hash": "0011223344556677", "actions": [
            { "action": "AttachRolePolicy", "target": "payments-web", "change": "AmazonSSMManagedInstanceCore attached",
              "reason": "RolesReady" },
        ] },
        "drift": [
            { "field": "instanceRoles[web].trust", "wanted": "ec2.amazonaws.com", "seen": "nobody",
              "since": "2026-11-25T10:00:00Z", "repaired": true },
        ],
        "deletion": { "unusedSince": "2026-11-25T10:00:00Z", "waitingFor": "i-1" },
        "lastHandledRequestedAt": "now",
        "observedSpecHash": "0011223344556677",
    })
}

/// A change at one place of a document.
#[derive(Clone, Debug)]
enum Change {
    Put(Value),
    Text(Index, String),
    Remove,
    Twice,
    Wrap,
    Add(&'static str, Value),
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => proptest::sample::select(vec![
            json!(null), json!(true), json!(false), json!({}), json!([]), json!([null]), json!(0), json!(1), json!(-1),
            json!(17), json!(101), json!(i32::MAX), json!(i64::from(i32::MAX) + 1), json!(i64::MIN), json!(i64::MAX),
            json!(u64::MAX), json!(1.5), json!(1e300), json!(""), json!(" "), json!("0s"), json!("99999h"),
            json!("10.0.0.0/33"), json!("10.0.0.1/8"), json!("::/0"), json!("9999-12-31T23:59:59.999999999Z"),
            json!("-009999-01-01T00:00:00Z"), json!("2026-02-30T00:00:00Z"), json!("x".repeat(5000)),
            json!("Observe"), json!("Enforce"), json!("Selector"), json!("All"), json!("ssm"), json!("aws:x"),
            json!("ssmready.dev/owner"), json!("In"), json!("Exists"), json!("eu-west-1"), json!("111122223333"),
        ]),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ]
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => leaf().prop_map(Change::Put),
        5 => (any::<Index>(), edited(Just("\u{1}".to_owned()))).prop_map(|(at, text)| Change::Text(at, text)),
        3 => Just(Change::Remove),
        1 => Just(Change::Twice),
        1 => Just(Change::Wrap),
        1 => (proptest::sample::select(vec!["extra", "type", "name", "ids", ""]), leaf())
            .prop_map(|(key, value)| Change::Add(key, value)),
    ]
}

/// The places below `value`, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut go = |key: &str, inner: &Value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        found.push(at.clone());
        places(inner, &at, found);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| go(key, inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(key, inner)| go(&key.to_string(), inner)),
        _ => {}
    }
}

fn change(document: &mut Value, at: &str, change: &Change) {
    let (parent, key) = at.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match change {
        Change::Remove => match document.pointer_mut(parent) {
            Some(Value::Object(map)) => drop(map.remove(&key)),
            Some(Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
            _ => {}
        },
        Change::Twice => {
            if let Some(Value::Array(items)) = document.pointer_mut(parent) {
                items.extend(items.get(key.parse::<usize>().unwrap()).cloned());
            }
        }
        Change::Put(value) => *document.pointer_mut(at).unwrap() = value.clone(),
        Change::Wrap => {
            let place = document.pointer_mut(at).unwrap();
            *place = json!([place.clone()]);
        }
        Change::Text(index, with) => {
            if let Some(Value::String(text)) = document.pointer_mut(at) {
                let cut =
                    text.char_indices().nth(index.index(text.chars().count() + 1)).map_or(text.len(), |(at, _)| at);
                text.insert_str(cut, with);
            }
        }
        Change::Add(key, value) => {
            if let Some(Value::Object(map)) = document.pointer_mut(at) {
                map.insert((*key).to_owned(), value.clone());
            }
        }
    }
}

/// A document with up to `most` changes below the field `within`, and the places that were changed.
pub fn near_document(
    from: Vec<Value>,
    within: &'static str,
    most: usize,
) -> impl Strategy<Value = (Value, Vec<String>)> {
    let edits = proptest::collection::vec((any::<Index>(), changes()), 0..=most);
    (proptest::sample::select(from), edits).prop_map(move |(mut document, edits)| {
        let mut changed = Vec::new();
        for (at, what) in edits {
            let mut all = Vec::new();
            places(&document, "", &mut all);
            all.retain(|place| place.starts_with(&format!("/{within}/")) || (within.is_empty()));
            if all.is_empty() {
                break;
            }
            let place = all.swap_remove(at.index(all.len()));
            change(&mut document, &place, &what);
            changed.push(place);
        }
        (document, changed)
    })
}

/// An object of a kind whose spec has up to four changes.
pub fn near_object(kind: &str) -> impl Strategy<Value = (Value, Vec<String>)> {
    near_document(documents(kind), "spec", 4)
}

/// What an API server would refuse of a value by its structural schema: neither by patterns nor by CEL.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check("", schema, value, &mut found);
    found
}

fn check(at: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    let mut refuse = |what: &str| found.push(format!("{at}: {what}"));
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let within = |length: usize, least: &str, most: &str| {
        bound(least).is_none_or(|least| length as f64 >= least) && bound(most).is_none_or(|most| length as f64 <= most)
    };
    if schema.get("enum").and_then(Value::as_array).is_some_and(|all| !all.contains(value)) {
        refuse("not one of the enum");
    }
    match (schema["type"].as_str().unwrap_or_default(), value) {
        ("string", Value::String(text)) => {
            if !within(text.chars().count(), "minLength", "maxLength") {
                refuse("too long or too short");
            }
            if schema.get("format").is_some_and(|f| f == "date-time") && !is_date_time(text) {
                refuse("no date-time");
            }
        }
        ("integer", Value::Number(number)) => {
            let fits = number.as_i64().is_some_and(|n| {
                (schema["format"] != "int32" || i32::try_from(n).is_ok())
                    && bound("minimum").is_none_or(|least| n as f64 >= least)
                    && bound("maximum").is_none_or(|most| n as f64 <= most)
            });
            if !fits {
                refuse("out of range");
            }
        }
        ("boolean", Value::Bool(_)) => {}
        ("array", Value::Array(items)) => {
            if !within(items.len(), "minItems", "maxItems") {
                refuse("too many or too few");
            }
            let keys: Option<Vec<Value>> = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Some(items.clone()),
                Some("map") => {
                    let keys = schema["x-kubernetes-list-map-keys"].as_array().unwrap();
                    Some(
                        items
                            .iter()
                            .map(|item| keys.iter().map(|k| item[k.as_str().unwrap()].clone()).collect())
                            .collect(),
                    )
                }
                _ => None,
            };
            if keys.is_some_and(|keys| keys.iter().enumerate().any(|(n, key)| keys[..n].contains(key))) {
                refuse("twice the same");
            }
            for (n, item) in items.iter().enumerate() {
                check(&format!("{at}[{n}]"), &schema["items"], item, found);
            }
        }
        ("object", Value::Object(map)) => {
            if !within(map.len(), "minProperties", "maxProperties") {
                refuse("too many or too few");
            }
            for key in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                if !map.contains_key(key.as_str().unwrap()) {
                    found.push(format!("{at}: lacks {key}"));
                }
            }
            let none = Map::new();
            let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
            for (key, inner) in map {
                // What is not known is dropped, not refused.
                let Some(schema) = properties.get(key).or(schema.get("additionalProperties")) else { continue };
                check(&format!("{at}.{key}"), schema, inner, found);
            }
        }
        _ => refuse("of another type"),
    }
}

/// RFC 3339, as API servers want it.
fn is_date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[10].eq_ignore_ascii_case(&b'T')
        && k8s_openapi::jiff::fmt::temporal::DateTimeParser::new().parse_timestamp(text).is_ok()
}
