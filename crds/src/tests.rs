//! The generated files are fresh, their schemas sound, and the defaults of both sides one.

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    documents::{
        account_posture_status, account_status, documents as objects, near_document, region_status, violations,
        vpc_status,
    },
    *,
};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn schema(crd: &CustomResourceDefinition) -> Value {
    serde_json::to_value(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap()
}

fn schema_of(kind: &str) -> &'static Value {
    static SCHEMAS: LazyLock<Vec<(String, Value)>> =
        LazyLock::new(|| all().iter().map(|crd| (crd.spec.names.kind.clone(), schema(crd))).collect());
    &SCHEMAS.iter().find(|(known, _)| known == kind).unwrap().1
}

/// Calls `visit` with each schema and its path.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    let schema = schema.as_object().unwrap();
    visit(path, schema);
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(key) {
            walk(&format!("{path}{mark}"), inner, visit);
        }
    }
}

/// What an API server does with the defaults of a schema.
fn apply_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if let Some(default) = property.get("default") {
                    object.entry(name).or_insert_with(|| default.clone());
                }
                if let Some(value) = object.get_mut(name) {
                    apply_defaults(property, value);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                apply_defaults(&schema["items"], item);
            }
        }
        _ => {}
    }
}

/// The fields of `value` that `schema` does not know, which an API server would drop.
fn unknown_fields(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let Some(properties) = schema.get("properties") else { return };
            for (name, value) in object {
                let path = format!("{path}.{name}");
                match properties.get(name) {
                    Some(property) => unknown_fields(&path, property, value, found),
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| unknown_fields(&format!("{path}[]"), &schema["items"], item, found));
        }
        _ => {}
    }
}

#[test]
fn generated_files_are_fresh() {
    for crd in all() {
        let path = repository().join(format!("crds/{}_{}.yaml", crd.spec.group, crd.spec.names.plural));
        let made = yaml(&crd).unwrap();
        assert!(made.len() < 200 * 1024, "{} has {} bytes", path.display(), made.len());
        if std::env::var_os("UPDATE_CRDS").is_some() {
            fs::write(&path, &made).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == made, "{} is stale; run the tests of ssm-ready-crds with UPDATE_CRDS=1", path.display());
    }
}

#[test]
fn names_are_as_documented() {
    let mut names = Vec::new();
    for crd in all() {
        assert_eq!((crd.spec.group.as_str(), crd.spec.versions[0].name.as_str()), (GROUP, VERSION));
        assert_eq!(crd.spec.names.categories.as_deref(), Some(&["ssmready".to_owned()][..]));
        assert!(crd.spec.versions[0].subresources.as_ref().unwrap().status.is_some());
        names.push((crd.metadata.name.unwrap(), crd.spec.scope, crd.spec.names.short_names.unwrap().join(",")));
    }
    let expected = [
        ("awsaccounts.ssmready.dev", "Cluster", "awsacct"),
        ("vpcpostures.ssmready.dev", "Namespaced", "vpcp"),
        ("regionpostures.ssmready.dev", "Namespaced", "regp"),
        ("accountpostures.ssmready.dev", "Namespaced", "acctp"),
    ];
    assert_eq!(names, expected.map(|(name, scope, short)| (name.to_owned(), scope.to_owned(), short.to_owned())));
}

#[test]
fn schemas_are_sound() {
    let mut faults = Vec::new();
    for crd in all() {
        walk(&crd.spec.names.kind, &schema(&crd), &mut |path, schema| {
            let mut expect = |good: bool, what: &str| {
                if !good {
                    faults.push(format!("{path}: {what}"));
                }
            };
            expect(!schema.contains_key("nullable"), "is nullable");
            expect(["anyOf", "oneOf", "allOf", "$ref"].iter().all(|key| !schema.contains_key(*key)), "is not plain");
            let plain_item = path.ends_with("[]") && schema["type"] != "object";
            if !plain_item && !path.ends_with("{}") {
                expect(schema.get("description").is_some_and(|text| text != ""), "has no description");
            }
            match schema["type"].as_str().unwrap() {
                "array" => {
                    expect(schema.contains_key("x-kubernetes-list-type"), "has no list type");
                    expect(schema.contains_key("maxItems"), "has no maxItems");
                    // Some tools compare lists as a whole: what the API server fills in seems a difference to them.
                    walk("", &schema["items"], &mut |_, inner| {
                        expect(!inner.contains_key("default") || path.contains(".status."), "has a default inside");
                    });
                }
                "string" => expect(
                    ["maxLength", "enum", "format"].iter().any(|key| schema.contains_key(*key)),
                    "is a string without bound",
                ),
                "integer" => {
                    expect(schema["format"] == "int32" || schema["format"] == "int64", "is of an unknown width");
                    expect(schema.contains_key("minimum"), "has no minimum");
                    expect(schema.contains_key("maximum") || path.contains(".status."), "has no maximum");
                }
                "object" => expect(
                    !schema.contains_key("additionalProperties") || schema.contains_key("maxProperties"),
                    "has no maxProperties",
                ),
                "boolean" => {}
                other => expect(false, &format!("is {other}")),
            }
            for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                let message = rule["message"].as_str().unwrap();
                expect(
                    !message.contains(['\n', '\\']) && !message.contains("  "),
                    "has a message that is not one line",
                );
            }
        });
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_object_starts_unobserved() {
    for crd in all() {
        let schema = schema(&crd);
        assert_eq!(schema["properties"]["status"]["default"], json!({ "observedGeneration": -1 }));
    }
    let unobserved = || json!({ "observedGeneration": -1 });
    assert_eq!(VpcPostureStatus::default(), serde_json::from_value(unobserved()).unwrap());
    assert_eq!(AwsAccountStatus::default(), serde_json::from_value(unobserved()).unwrap());
    assert_eq!(RegionPostureStatus::default(), serde_json::from_value(unobserved()).unwrap());
    assert_eq!(AccountPostureStatus::default(), serde_json::from_value(unobserved()).unwrap());
}

/// An object read before the API server has defaulted it, and after, must mean the same, and both what Rust says.
#[track_caller]
fn defaults_agree<T: serde::Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(kind: &str, smallest: Value) {
    let mut stored = smallest.clone();
    apply_defaults(&schema_of(kind)["properties"]["spec"], &mut stored);
    let parsed: T = serde_json::from_value(smallest).unwrap();
    assert_eq!(serde_json::to_value(&parsed).unwrap(), stored);
    assert_eq!(serde_json::from_value::<T>(stored).unwrap(), parsed);
}

#[test]
fn the_smallest_posture_has_every_default() {
    let target = json!({ "accountRef": { "name": "payments-prod" }, "region": "eu-west-1", "vpcId": "vpc-0a1b2c3d" });
    defaults_agree::<VpcPostureSpec>("VpcPosture", json!({ "target": target }));
    defaults_agree::<VpcPostureSpec>(
        "VpcPosture",
        json!({
            "target": target,
            "endpoints": {
                "services": [{ "service": "kms" }],
                "subnets": { "minZones": 2 },
                "securityGroup": { "create": {} },
                "s3": { "routeTables": { "of": "All" } },
            },
            "instances": {},
        }),
    );

    let spec: VpcPostureSpec = serde_json::from_value(json!({ "target": target })).unwrap();
    assert_eq!(spec, VpcPostureSpec::new(serde_json::from_value(target).unwrap()));
    assert_eq!(spec.mode, Mode::Enforce);
    assert_eq!(spec.interval.to_string(), "10m");
    assert_eq!(spec.capabilities, [Capability::SessionManager, Capability::Patching]);
    assert_eq!(spec.endpoints.ec2messages, Ec2Messages::Auto);
    assert_eq!(spec.endpoints.ip_address_type, IpAddressType::Ipv4);
    assert_eq!(spec.endpoints.adoption, Adoption::UseExisting);
    assert_eq!(spec.endpoints.deletion_policy, DeletionPolicy::DeleteWhenUnused);
    assert_eq!(spec.endpoints.unused_for.to_string(), "24h");
    assert_eq!(spec.endpoints.s3.type_, S3Type::Gateway);
    assert_eq!(spec.endpoints.s3.route_tables(), RouteTableChoice::Instances);
    assert_eq!(spec.dns.attributes, DnsAttributes::Enforce);
    assert_eq!(spec.instances, None);
    let attachment = Instances::default().profile_attachment;
    assert_eq!((attachment.policy, attachment.max_per_pass), (AttachmentPolicy::Never, 5));
    match spec.endpoints.security_group() {
        SecurityGroupChoice::Create(create) => assert!(create.all_vpc_cidrs),
        SecurityGroupChoice::Existing(ids) => panic!("{ids:?}"),
    }
}

#[test]
fn the_smallest_account_has_every_default() {
    defaults_agree::<AwsAccountSpec>("AwsAccount", json!({ "accountId": "111122223333" }));
    let spec = json!({
        "accountId": "111122223333",
        "assumeRole": { "roleArn": "arn:aws:iam::111122223333:role/ssm-ready" },
    });
    defaults_agree::<AwsAccountSpec>("AwsAccount", spec.clone());

    let spec: AwsAccountSpec = serde_json::from_value(spec).unwrap();
    assert_eq!(spec.guardrails.api_share_percent, 80);
    assert_eq!(spec.guardrails.session_shell, SessionShell::Forbidden);
    assert!(spec.guardrails.managed_policies.is_empty() && spec.guardrails.role_path_prefixes.is_empty());
    assert_eq!(spec.guardrails.permissions_boundary, None);
    assert!(spec.access.is_empty() && !spec.suspend);
    let role = spec.assume_role.unwrap();
    assert_eq!((role.session_name.as_str(), role.duration_seconds), ("ssm-ready", 3600));
}

#[test]
fn the_smallest_region_has_every_default() {
    let target = json!({ "accountRef": { "name": "payments-prod" }, "region": "eu-west-1" });
    defaults_agree::<RegionPostureSpec>("RegionPosture", json!({ "target": target, "sessionPreferences": {} }));
    let topic = "arn:aws:sns:eu-west-1:111122223333:ssm-sessions";
    defaults_agree::<RegionPostureSpec>(
        "RegionPosture",
        json!({ "target": target, "sessionAudit": { "snsTopicArn": topic } }),
    );
    defaults_agree::<RegionPostureSpec>(
        "RegionPosture",
        json!({
            "target": target,
            "hostManagement": { "state": "Enabled", "role": { "external": "service-role/hosts" } },
            "sessionPreferences": {
                "s3": { "bucket": "logs" }, "cloudWatch": { "logGroup": "/ssm" }, "runAs": { "enabled": true },
                "shellProfile": {},
            },
            "serviceSettings": { "opsCenter": "Disabled" },
            "instanceMetadataDefaults": { "hopLimit": 2 },
        }),
    );

    let spec: RegionPostureSpec = serde_json::from_value(json!({ "target": target })).unwrap();
    assert_eq!(spec, RegionPostureSpec::new(serde_json::from_value(target).unwrap()));
    assert_eq!((spec.mode, spec.interval.to_string(), spec.suspend), (Mode::Enforce, "10m".to_owned(), false));
    assert_eq!(spec.adoption, RegionAdoption::UseExisting);
    assert_eq!(spec.deletion_policy, RegionDeletionPolicy::Retain);
    assert_eq!(SessionPreferences::default().idle_timeout_minutes, 20);
}

#[test]
fn the_smallest_roles_have_every_default() {
    let target = json!({ "accountRef": { "name": "payments-prod" } });
    let role = json!({ "name": "web", "roleName": "payments-web", "s3": { "own": [{ "bucket": "logs", "access": "Write" }] } });
    defaults_agree::<AccountPostureSpec>("AccountPosture", json!({ "target": target, "hostManagementRole": {} }));
    defaults_agree::<AccountPostureSpec>("AccountPosture", json!({ "target": target, "instanceRoles": [role] }));

    let spec: AccountPostureSpec = serde_json::from_value(json!({ "target": target })).unwrap();
    assert_eq!(spec, AccountPostureSpec::new(serde_json::from_value(target).unwrap()));
    assert_eq!((spec.mode, spec.interval.to_string(), spec.suspend), (Mode::Enforce, "10m".to_owned(), false));
    assert_eq!(spec.deletion_policy, AccountDeletionPolicy::Retain);

    let host = HostManagementRole::default();
    assert_eq!((host.name.as_str(), host.path.as_str()), ("host-management", "/service-role/"));
    assert_eq!(host.role_name, "AWSSystemsManagerDefaultEC2InstanceManagementRole");
    assert_eq!(host.ownership, RoleOwnership::Create);

    let role: InstanceRole = serde_json::from_value(role).unwrap();
    assert_eq!((role.profile_name(), role.path.as_str()), ("payments-web", "/"));
    assert_eq!(role.ownership, RoleOwnership::Create);
    assert_eq!(role.capabilities, [Capability::SessionManager, Capability::Patching]);
    let bucket = &role.s3.unwrap().own[0];
    assert!(!bucket.encrypted && !bucket.cross_account && bucket.prefix.is_none());
}

/// What is written of a list's items is read as it was, although defaults are left out.
#[test]
fn what_differs_from_a_default_in_a_list_is_written() {
    let role = json!({
        "name": "web", "roleName": "payments-web", "profileName": "web", "path": "/ssm-ready/",
        "ownership": "AttachOnly", "capabilities": [],
        "s3": { "own": [{ "bucket": "logs", "access": "Read", "encrypted": true, "crossAccount": true }] },
        "kmsKeys": ["arn:aws:kms:eu-west-1:111122223333:key/mrk-1"],
    });
    let read: InstanceRole = serde_json::from_value(role.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), role);
}

#[test]
fn absent_means_absent() {
    let posture = VpcPosture::new("smallest", VpcPostureSpec::new(Target::default()));
    assert!(!serde_json::to_string(&posture.spec).unwrap().contains("null"));
    assert!(!serde_json::to_string(&VpcPostureStatus::default()).unwrap().contains("null"));
    assert!(!serde_json::to_string(&AwsAccountStatus::default()).unwrap().contains("null"));
    let region: RegionPostureSpec = serde_json::from_value(json!({
        "target": { "accountRef": { "name": "a" }, "region": "eu-west-1" }, "hostManagement": { "state": "Disabled" },
        "sessionPreferences": { "s3": { "bucket": "logs" }, "shellProfile": {} }, "serviceSettings": {}, "instanceMetadataDefaults": {},
    }))
    .unwrap();
    assert!(!serde_json::to_string(&region).unwrap().contains("null"));
    let account: AccountPostureSpec = serde_json::from_value(json!({
        "target": { "accountRef": { "name": "a" } }, "hostManagementRole": {},
        "instanceRoles": [{ "name": "a", "roleName": "a", "s3": { "awsBuckets": { "regions": [] } } }],
    }))
    .unwrap();
    assert!(!serde_json::to_string(&account).unwrap().contains("null"));
    let statuses = [
        serde_json::to_string(&RegionPostureStatus {
            settings: vec![SettingStatus::default()],
            session_preferences: Some(SessionPreferencesStatus::default()),
            instance_metadata: Some(InstanceMetadataStatus::default()),
            ..RegionPostureStatus::default()
        }),
        serde_json::to_string(&AccountPostureStatus {
            roles: vec![RoleStatus::default()],
            ..AccountPostureStatus::default()
        }),
    ];
    assert!(statuses.into_iter().all(|status| !status.unwrap().contains("null")));
}

#[test]
fn one_of_several_forms_is_meant() {
    let subnets = |value: Value| serde_json::from_value::<Subnets>(value).unwrap();
    let some = subnets(json!({ "minZones": 2, "selector": [{ "key": "Tier", "values": ["private"] }] }));
    assert!(matches!(some.choice(), SubnetChoice::Zones { min: 2, max: None, selector: [_] }));
    assert!(matches!(subnets(json!({ "ids": ["subnet-0a1b2c3d"] })).choice(), SubnetChoice::Ids([_])));
    assert!(matches!(Subnets::default().choice(), SubnetChoice::Zones { min: 1, max: None, selector: [] }));

    let s3 = |tables: Value| serde_json::from_value::<S3>(json!({ "routeTables": tables })).unwrap();
    assert_eq!(s3(json!({ "of": "All" })).route_tables(), RouteTableChoice::All);
    assert!(matches!(s3(json!({ "ids": ["rtb-0a1b2c3d"] })).route_tables(), RouteTableChoice::Ids([_])));
    let by_tag = s3(json!({ "selector": [{ "key": "Tier", "values": ["private"] }] }));
    assert!(matches!(by_tag.route_tables(), RouteTableChoice::Selector([_])));

    let existing: Endpoints =
        serde_json::from_value(json!({ "securityGroup": { "existing": { "ids": ["sg-0a1b2c3d"] } } })).unwrap();
    assert!(matches!(existing.security_group(), SecurityGroupChoice::Existing([_])));

    let role = |value: Value| serde_json::from_value::<RoleRef>(value).unwrap();
    let declared = role(json!({ "accountPostureRef": { "name": "payments" }, "name": "hosts" }));
    assert_eq!(declared.choice(), Some(RoleChoice::Declared { account_posture: "payments", name: "hosts" }));
    assert_eq!(role(json!({ "external": "a/b" })).choice(), Some(RoleChoice::External("a/b")));
    for refused in [
        json!({}),
        json!({ "name": "hosts" }),
        json!({ "accountPostureRef": { "name": "payments" } }),
        json!({ "accountPostureRef": { "name": "payments" }, "name": "hosts", "external": "a/b" }),
        json!({ "external": "a/b", "name": "hosts" }),
    ] {
        assert_eq!(role(refused.clone()).choice(), None, "{refused}");
    }
}

#[test]
fn services_are_spelled_as_in_the_schema() {
    for value in schema_of("VpcPosture")["properties"]["spec"]["properties"]["endpoints"]["properties"]["services"]
        ["items"]["properties"]["service"]["enum"]
        .as_array()
        .unwrap()
    {
        let service: Service = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(service.as_str(), value);
    }
}

#[test]
fn external_ids_are_not_shown() {
    let id = ExternalId::from("ssmready-7f3c".to_owned());
    assert!(!format!("{id:?}").contains("7f3c"));
    assert_eq!(id.expose(), "ssmready-7f3c");
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .filter(|document: &Value| !document.is_null())
        .collect()
}

fn files(folder: &str) -> Vec<std::path::PathBuf> {
    let folder = repository().join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "nothing in {}", folder.display());
    files
}

#[test]
fn examples_and_valid_fixtures_are_read_in_full() {
    for path in files("examples").into_iter().chain(files("tests/fixtures/valid")) {
        for document in documents(&path) {
            let name = path.display();
            match document["kind"].as_str().unwrap() {
                "Namespace" => continue,
                "AwsAccount" => drop(serde_json::from_value::<AwsAccount>(document.clone()).unwrap()),
                "VpcPosture" => drop(serde_json::from_value::<VpcPosture>(document.clone()).unwrap()),
                "RegionPosture" => drop(serde_json::from_value::<RegionPosture>(document.clone()).unwrap()),
                "AccountPosture" => drop(serde_json::from_value::<AccountPosture>(document.clone()).unwrap()),
                other => panic!("{name}: kind {other}"),
            }
            assert_eq!(document["apiVersion"], "ssmready.dev/v1alpha1", "{name}");
            let mut unknown = Vec::new();
            let schema = schema_of(document["kind"].as_str().unwrap());
            unknown_fields("spec", &schema["properties"]["spec"], &document["spec"], &mut unknown);
            assert!(unknown.is_empty(), "{name}: unknown {unknown:?}");
        }
    }
}

/// Each rule has its fixture, so that none can be lost or broken without a test that fails on a real API server.
#[test]
fn every_rule_has_an_object_that_it_refuses() {
    let refused: Vec<String> = files("tests/fixtures/invalid")
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("# refused: ").unwrap_or_else(|| panic!("{}: {first}", path.display())).to_owned()
        })
        .collect();
    let mut messages = BTreeSet::new();
    for crd in all() {
        walk("", &schema(&crd), &mut |_, schema| {
            for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                messages.insert(rule["message"].as_str().unwrap().to_owned());
            }
        });
    }
    let unproved: Vec<_> =
        messages.iter().filter(|message| !refused.iter().any(|part| message.contains(part.as_str()))).collect();
    assert!(unproved.is_empty(), "{unproved:#?}");
}

/// An object that is wrong somewhere is refused in words that lead there.
fn is_read_or_refused_by_field<T: DeserializeOwned>(object: &Value, changed: &[String]) -> Result<bool, TestCaseError> {
    let text = serde_yaml::to_string(object).unwrap();
    // As it comes from the API server, and as it comes from a file; YAML takes a number for a text, JSON a list for an
    // object.
    let by_json = serde_json::from_value::<T>(object.clone());
    let Err(error) = serde_yaml::from_str::<T>(&text) else { return Ok(by_json.is_ok()) };
    let message = error.to_string();
    let field = |place: &'_ String| place.rsplit('/').find(|key| key.parse::<usize>().is_err()).map(str::to_owned);
    let mut fields = changed.iter().filter_map(field);
    prop_assert!(fields.any(|field| message.contains(&field)), "{changed:?}: {message}");
    Ok(by_json.is_ok())
}

/// What the schema lets into a cluster, we can read: else it would be there and nobody would look after it. Durations
/// are checked here; the other patterns are of no account to our types.
fn is_let_in(kind: &str, object: &Value) -> bool {
    let mut durations = vec![&object["spec"]["interval"], &object["spec"]["endpoints"]["unusedFor"]];
    durations.retain(|value| value.is_string());
    violations(schema_of(kind), object).is_empty()
        && durations.iter().all(|value| value.as_str().unwrap().parse::<GoDuration>().is_ok())
}

/// What is read of a status is written as it was read.
fn round_trips<T: serde::Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    status: &Value,
) -> Result<(), TestCaseError> {
    let Ok(read) = serde_json::from_value::<T>(status.clone()) else { return Ok(()) };
    let written = serde_json::to_value(&read).unwrap();
    let again: T =
        serde_json::from_value(written.clone()).map_err(|e| TestCaseError::fail(format!("{e}: {written}")))?;
    prop_assert_eq!(&serde_json::to_value(&again).unwrap(), &written);
    prop_assert_eq!(again, read);
    Ok(())
}

/// The starting points of a kind that our types read.
fn readable<T: DeserializeOwned>(kind: &str) -> Vec<Value> {
    objects(kind).into_iter().filter(|object| serde_json::from_value::<T>(object.clone()).is_ok()).collect()
}

fn near_readable<T: DeserializeOwned>(kind: &str) -> impl Strategy<Value = (Value, Vec<String>)> + use<T> {
    near_document(readable::<T>(kind), "spec", 4)
}

#[test]
fn most_starting_points_of_the_properties_are_readable() {
    assert!(readable::<VpcPosture>("VpcPosture").len() > 30 && readable::<AwsAccount>("AwsAccount").len() > 15);
    assert!(readable::<RegionPosture>("RegionPosture").len() > 10);
    assert!(readable::<AccountPosture>("AccountPosture").len() > 15);
    for (kind, status) in [
        ("VpcPosture", vpc_status()),
        ("AwsAccount", account_status()),
        ("RegionPosture", region_status()),
        ("AccountPosture", account_posture_status()),
    ] {
        assert_eq!(violations(&schema_of(kind)["properties"]["status"], &status), [""; 0], "{kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_posture_is_read_or_refused_by_field((object, changed) in near_readable::<VpcPosture>("VpcPosture")) {
        let read = is_read_or_refused_by_field::<VpcPosture>(&object, &changed)?;
        prop_assert!(read || !is_let_in("VpcPosture", &object), "the API server takes what we cannot read");
    }

    #[test]
    fn any_account_is_read_or_refused_by_field((object, changed) in near_readable::<AwsAccount>("AwsAccount")) {
        let read = is_read_or_refused_by_field::<AwsAccount>(&object, &changed)?;
        prop_assert!(read || !is_let_in("AwsAccount", &object), "the API server takes what we cannot read");
    }

    #[test]
    fn any_region_is_read_or_refused_by_field((object, changed) in near_readable::<RegionPosture>("RegionPosture")) {
        let read = is_read_or_refused_by_field::<RegionPosture>(&object, &changed)?;
        prop_assert!(read || !is_let_in("RegionPosture", &object), "the API server takes what we cannot read");
    }

    #[test]
    fn any_roles_are_read_or_refused_by_field((object, changed) in near_readable::<AccountPosture>("AccountPosture")) {
        let read = is_read_or_refused_by_field::<AccountPosture>(&object, &changed)?;
        prop_assert!(read || !is_let_in("AccountPosture", &object), "the API server takes what we cannot read");
    }

    #[test]
    fn any_status_of_a_posture_that_is_read_round_trips((status, _) in near_document(vec![vpc_status()], "", 3)) {
        round_trips::<VpcPostureStatus>(&status)?;
        if violations(&schema_of("VpcPosture")["properties"]["status"], &status).is_empty() {
            prop_assert!(serde_json::from_value::<VpcPostureStatus>(status).is_ok());
        }
    }

    #[test]
    fn any_status_of_an_account_that_is_read_round_trips((status, _) in near_document(vec![account_status()], "", 3)) {
        round_trips::<AwsAccountStatus>(&status)?;
        if violations(&schema_of("AwsAccount")["properties"]["status"], &status).is_empty() {
            prop_assert!(serde_json::from_value::<AwsAccountStatus>(status).is_ok());
        }
    }

    #[test]
    fn any_status_of_a_region_that_is_read_round_trips((status, _) in near_document(vec![region_status()], "", 3)) {
        round_trips::<RegionPostureStatus>(&status)?;
        if violations(&schema_of("RegionPosture")["properties"]["status"], &status).is_empty() {
            prop_assert!(serde_json::from_value::<RegionPostureStatus>(status).is_ok());
        }
    }

    #[test]
    fn any_status_of_roles_that_is_read_round_trips((status, _) in near_document(vec![account_posture_status()], "", 3)) {
        round_trips::<AccountPostureStatus>(&status)?;
        if violations(&schema_of("AccountPosture")["properties"]["status"], &status).is_empty() {
            prop_assert!(serde_json::from_value::<AccountPostureStatus>(status).is_ok());
        }
    }

    #[test]
    fn any_text_is_read_as_yaml_or_refused(text in near::edited(proptest::sample::select(
        objects("VpcPosture").iter().map(|object| serde_yaml::to_string(object).unwrap()).collect::<Vec<_>>(),
    ))) {
        if let Err(error) = serde_yaml::from_str::<VpcPosture>(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
