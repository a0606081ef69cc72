//! The IAM policies: complete, no broader than needed, within AWS's limits, and the same in every form.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use hcl::eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType};
use serde_json::{Map, Value, json};
use ssm_ready_core::{
    calls::{Operation, Purpose},
    iam::{
        self, Effect, Feature, Format, HubIdentity, INLINE_POLICIES_LIMIT, MANAGED_POLICY_LIMIT, Part, Partition,
        Policy, Settings, Statement, TRUST_POLICY_LIMIT, render,
    },
};

const ACCOUNT: &str = "111122223333";
const HUB: &str = "999988887777";
const EXTERNAL_ID: &str = "an-external-id-of-your-choice";

fn settings() -> Settings {
    Settings {
        hub_role: Some(format!("arn:aws:iam::{HUB}:role/ssm-ready-hub")),
        external_id: Some(EXTERNAL_ID.to_owned()),
        ..Settings::new("my-cluster")
    }
}

fn everything() -> Settings {
    Settings { features: Feature::ALL.into(), ..settings() }
}

/// Each combination of features.
fn combinations() -> impl Iterator<Item = BTreeSet<Feature>> {
    (0..1_u32 << Feature::ALL.len()).map(|bits| {
        Feature::ALL.into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, f)| f).collect()
    })
}

fn rendered(settings: &Settings, part: Part, format: Format) -> String {
    render(settings, part, format, &[ACCOUNT.to_owned()]).unwrap()
}

fn parsed(settings: &Settings, part: Part) -> Value {
    serde_json::from_str(&rendered(settings, part, Format::Json)).unwrap()
}

fn allowed(policy: &Policy) -> BTreeSet<String> {
    policy.statements.iter().filter(|s| s.effect == Effect::Allow).flat_map(|s| s.actions.clone()).collect()
}

/// Actions that no call of ours is named after, and why they are allowed.
const DEPENDENT: [(&str, &str); 2] = [
    ("sts:TagSession", "EKS Pod Identity gives the controller's session tags that go along into the roles"),
    ("route53:AssociateVPCWithHostedZone", "AWS names it as an action that CreateVpcEndpoint depends on"),
];

#[test]
fn each_call_is_allowed_where_it_is_made_and_nothing_else_is() {
    let settings = Settings { identity: Some(HubIdentity::PodIdentity { cluster: None }), ..everything() };
    let hub = allowed(&iam::hub(&settings, &[]));
    let observe = allowed(&iam::observe(&settings));
    let enforce = allowed(&iam::enforce(&settings));
    for operation in Operation::ALL {
        let action = operation.iam_action();
        // AWS answers GetCallerIdentity to everybody, whatever policies say (STS API).
        let expected = match operation.purpose() {
            Purpose::Identity => [*operation == Operation::AssumeRole, false, false],
            Purpose::Read(_) => [false, true, false],
            Purpose::Write { .. } => [false, false, true],
        };
        let found = [&hub, &observe, &enforce].map(|policy| policy.contains(&action));
        assert_eq!(found, expected, "{action}: hub, observe, enforce");
    }
    let known: BTreeSet<String> = Operation::ALL.iter().map(|operation| operation.iam_action()).collect();
    let dependent: BTreeSet<String> = DEPENDENT.iter().map(|(action, _)| (*action).to_owned()).collect();
    let beyond: BTreeSet<String> =
        [hub, observe, enforce].into_iter().flatten().filter(|action| !known.contains(action)).collect();
    assert_eq!(beyond, dependent);
    // By itself, without Pod Identity, the controller only takes on roles.
    let plain = Settings { identity: None, ..settings };
    assert_eq!(allowed(&iam::hub(&plain, &[])), ["sts:AssumeRole".to_owned()].into());
    assert_eq!(allowed(&iam::trust(&plain, true)), ["sts:AssumeRole".to_owned()].into());
}

#[test]
fn every_feature_brings_something_and_the_defaults_bring_every_write() {
    let all = iam::enforce(&everything());
    for feature in Feature::ALL {
        let mut without = everything();
        without.features.remove(&feature);
        assert_ne!(iam::enforce(&without), all, "{feature:?} changes nothing");
    }
    let writes = Operation::ALL.iter().filter(|operation| operation.writes()).map(|o| o.iam_action());
    assert_eq!(allowed(&iam::enforce(&settings())), writes.collect());
    assert_eq!(iam::enforce(&Settings { features: BTreeSet::new(), ..settings() }), Policy::default());
}

#[test]
fn what_changes_aws_names_its_resources_and_whose_they_are() {
    for features in combinations() {
        let settings = Settings { features, ..settings() };
        let observe = settings.document(&iam::observe(&settings), Some(ACCOUNT));
        let enforce = settings.document(&iam::enforce(&settings), Some(ACCOUNT));
        for document in [observe, enforce] {
            for statement in list(&serde_json::to_value(&document).unwrap()["Statement"]) {
                let resources = strings(&statement["Resource"]);
                let reads = strings(&statement["Action"]).iter().all(|action| action.contains(":Describe"));
                for resource in &resources {
                    assert!(reads || resource != "*", "{statement}");
                    let fields: Vec<&str> = resource.splitn(6, ':').collect();
                    let named = matches!(fields.as_slice(), ["arn", "aws", _, _, ACCOUNT, _])
                        || resource == "arn:aws:route53:::hostedzone/*";
                    assert!(resource == "*" || named, "{resource}");
                }
                let condition = statement["Condition"].to_string();
                let ours = condition.contains("ssmready.dev/cluster\":\"my-cluster");
                // What cannot be marked as ours, or is only named beside an endpoint that is.
                let beside =
                    ["CreateEndpointIn", "ChangeEndpointsIn", "CreateGroupIn", "SwitchOnDns", "AssociateHostedZones"];
                let foreign = settings.features.contains(&Feature::ExistingSecurityGroups);
                let sid = statement["Sid"].as_str().unwrap();
                let excused =
                    beside.contains(&sid) || (foreign && sid == "CreateEndpointWithGroup") || sid == "AskWhatIsAllowed";
                assert!(reads || ours || excused, "{statement}");
            }
        }
    }
}

#[test]
fn everything_fits_into_aws_limits() {
    let regions: BTreeSet<String> = (0..34).map(|n| format!("ap-southeast-{n:02}")).collect();
    for partition in Partition::ALL {
        for features in combinations() {
            let settings = Settings {
                partition,
                features,
                regions: regions.clone(),
                cluster_id: "c".repeat(63),
                role_path: format!("/{}/", "platform".repeat(6)),
                role_prefix: "p".repeat(40),
                external_id: Some("x".repeat(200)),
                organization: Some(format!("o-{}", "a".repeat(32))),
                identity: Some(HubIdentity::PodIdentity { cluster: None }),
                ..settings()
            };
            let size =
                |policy: &Policy| serde_json::to_string(&settings.document(policy, Some(ACCOUNT))).unwrap().len();
            let (observe, enforce) = (size(&iam::observe(&settings)), size(&iam::enforce(&settings)));
            assert!(observe <= MANAGED_POLICY_LIMIT && enforce <= MANAGED_POLICY_LIMIT, "{observe}, {enforce}");
            assert!(observe + enforce <= INLINE_POLICIES_LIMIT, "{observe} + {enforce}");
            assert!(size(&iam::trust(&settings, true)) <= TRUST_POLICY_LIMIT);
        }
    }
}

#[test]
fn the_hub_reaches_the_roles_of_the_prefix_alone() {
    let settings = Settings { role_path: "/platform/".into(), organization: Some("o-a1b2c3d4e5".into()), ..settings() };
    let hub = render(&settings, Part::Hub, Format::Json, &[]).unwrap();
    let hub: Value = serde_json::from_str(&hub).unwrap();
    let statement = &hub["Statement"][0];
    assert_eq!(
        statement["Resource"],
        json!(["arn:aws:iam::*:role/platform/ssm-ready", "arn:aws:iam::*:role/platform/ssm-ready-*"])
    );
    assert_eq!(statement["Condition"], json!({ "StringEquals": { "aws:ResourceOrgID": "o-a1b2c3d4e5" } }));
    let some = render(&settings, Part::Hub, Format::Json, &[ACCOUNT.to_owned(), HUB.to_owned()]).unwrap();
    assert!(!some.contains("::*:") && some.contains(ACCOUNT) && some.contains(HUB), "{some}");
}

#[test]
fn services_have_the_names_of_the_partition() {
    for (partition, wanted) in [
        (Partition::Aws, vec!["com.amazonaws.*.ssm"]),
        (Partition::AwsCn, vec!["com.amazonaws.*.ssm", "cn.com.amazonaws.*.ssm"]),
        (Partition::AwsUsGov, vec!["com.amazonaws.*.ssm"]),
        (Partition::AwsEusc, vec!["com.amazonaws.*.ssm", "eu.amazonaws.*.ssm"]),
        (Partition::AwsIso, vec!["com.amazonaws.*.ssm", "gov.ic.c2s.*.ssm"]),
        (Partition::AwsIsoB, vec!["com.amazonaws.*.ssm", "gov.sgov.sc2s.*.ssm"]),
        (Partition::AwsIsoE, vec!["com.amazonaws.*.ssm", "uk.adc-e.cloud.*.ssm"]),
        (Partition::AwsIsoF, vec!["com.amazonaws.*.ssm", "gov.ic.hci.csp.*.ssm"]),
    ] {
        let document = parsed(&Settings { partition, ..settings() }, Part::Enforce);
        let create = list(&document["Statement"]).into_iter().find(|s| s["Sid"] == "CreateEndpoint").unwrap();
        let names = strings(&create["Condition"]["StringLike"]["ec2:VpceServiceName"]);
        assert_eq!(names.len(), wanted.len() * 8, "{names:?}");
        assert_eq!(names.iter().filter(|n| n.ends_with(".ssm")).collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
        assert!(document.to_string().contains(&format!("arn:{}:ec2:*:{ACCOUNT}:vpc-endpoint/*", partition.name())));
    }
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

fn strings(value: &Value) -> Vec<String> {
    list(value).iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// As IAM sees it: a list of one is its only item, and repeats do not count.
fn plain(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut kept: Vec<Value> = Vec::new();
            for item in items.iter().map(plain) {
                if !kept.contains(&item) {
                    kept.push(item);
                }
            }
            if kept.len() == 1 && !kept[0].is_object() { kept.remove(0) } else { Value::Array(kept) }
        }
        Value::Object(entries) => Value::Object(entries.iter().map(|(k, v)| (k.clone(), plain(v))).collect()),
        other => other.clone(),
    }
}

/// What CloudFormation makes of a value of a template.
fn in_cloudformation(template: &Value, value: &Value, given: &BTreeMap<String, String>) -> Option<Value> {
    let recurse = |value: &Value| in_cloudformation(template, value, given);
    let Value::Object(entries) = value else {
        return Some(match value {
            Value::Array(items) => Value::Array(items.iter().filter_map(recurse).collect()),
            other => other.clone(),
        });
    };
    let lookup = |name: &str| given.get(name).cloned().unwrap_or_else(|| panic!("{name} is not declared"));
    if let Some((function, argument)) = entries.iter().next().filter(|_| entries.len() == 1) {
        match function.as_str() {
            "Ref" => {
                let name = argument.as_str().unwrap();
                return (name != "AWS::NoValue").then(|| lookup(name).into());
            }
            "Fn::If" => {
                let bounded = given.get("PermissionsBoundary").is_some_and(|b| !b.is_empty());
                assert_eq!(argument[0], "Bounded");
                return recurse(&argument[if bounded { 1 } else { 2 }]);
            }
            "Fn::FindInMap" => {
                let keys: Vec<String> =
                    list(argument).iter().map(|k| recurse(k).unwrap().as_str().unwrap().to_owned()).collect();
                return Some(template["Mappings"][&keys[0]][&keys[1]][&keys[2]].clone());
            }
            "Fn::Sub" => {
                let (pattern, more) = match argument {
                    Value::Array(parts) => (parts[0].as_str().unwrap(), parts[1].clone()),
                    other => (other.as_str().unwrap(), json!({})),
                };
                let (mut text, mut rest) = (String::new(), pattern);
                while let Some((before, after)) = rest.split_once("${") {
                    let (name, after) = after.split_once('}').unwrap();
                    text.push_str(before);
                    match more.get(name) {
                        Some(value) => text.push_str(recurse(value).unwrap().as_str().unwrap()),
                        None => text.push_str(&lookup(name)),
                    }
                    rest = after;
                }
                return Some(Value::String(text + rest));
            }
            other => assert!(!other.starts_with("Fn::"), "{other}"),
        }
    }
    let entries = entries.iter().filter_map(|(key, value)| Some((key.clone(), recurse(value)?)));
    Some(Value::Object(entries.collect::<Map<_, _>>()))
}

fn cloudformation(settings: &Settings, part: Part, partition: Partition) -> (Value, Value) {
    let template: Value = serde_yaml::from_str(&rendered(settings, part, Format::CloudFormation)).unwrap();
    let mut given: BTreeMap<String, String> = template["Parameters"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, p)| (name.clone(), p["Default"].as_str().unwrap_or_default().to_owned()))
        .collect();
    given.insert("AWS::Partition".into(), partition.name().into());
    given.insert("AWS::AccountId".into(), if part == Part::Hub { HUB } else { ACCOUNT }.into());
    let resources = in_cloudformation(&template, &template["Resources"], &given).unwrap();
    (template, resources)
}

/// Settings that differ in what the templates leave open and what they have fixed.
fn variants() -> Vec<Settings> {
    let mut variants = Vec::new();
    for partition in Partition::ALL {
        let hub = Some(format!("arn:{}:iam::{HUB}:role/ssm-ready-hub", partition.name()));
        variants.push(Settings { partition, hub_role: hub.clone(), ..settings() });
        variants.push(Settings {
            partition,
            hub_role: hub,
            role_path: "/platform/".into(),
            role_prefix: "readiness".into(),
            organization: Some("o-a1b2c3d4e5".into()),
            regions: ["eu-west-1".to_owned(), "eu-central-1".to_owned()].into(),
            identity: Some(HubIdentity::PodIdentity { cluster: None }),
            ..everything()
        });
    }
    variants
}

#[test]
fn cloudformation_makes_the_same_policies() {
    for settings in variants() {
        let (template, resources) = cloudformation(&settings, Part::All, settings.partition);
        let trust = plain(&parsed(&settings, Part::Trust));
        let observe = plain(&parsed(&settings, Part::Observe));
        let enforce = plain(&parsed(&settings, Part::Enforce));
        for (role, name, wanted) in [
            ("ObserveRole", format!("{}-observe", settings.role_prefix), vec![&observe]),
            ("EnforceRole", settings.role_prefix.clone(), vec![&observe, &enforce]),
        ] {
            let role = &resources[role]["Properties"];
            assert_eq!((&role["RoleName"], &role["Path"]), (&name.into(), &settings.role_path.as_str().into()));
            assert_eq!(plain(&role["AssumeRolePolicyDocument"]), trust);
            let policies: Vec<Value> = list(&role["Policies"]).iter().map(|p| plain(&p["PolicyDocument"])).collect();
            assert_eq!(policies.iter().collect::<Vec<_>>(), wanted);
            assert!(role.get("PermissionsBoundary").is_none());
        }
        assert_eq!(template["Outputs"].as_object().unwrap().len(), 2);
        assert_eq!(template["Parameters"]["ExternalId"]["NoEcho"], true);
        let one = cloudformation(&settings, Part::Observe, settings.partition).1;
        assert_eq!(one.as_object().unwrap().keys().collect::<Vec<_>>(), ["ObserveRole"]);

        let (_, hub) = cloudformation(&settings, Part::Hub, settings.partition);
        let wanted = plain(&parsed(&settings, Part::Hub));
        if settings.identity.is_some() {
            assert_eq!(plain(&hub["HubRole"]["Properties"]["Policies"][0]["PolicyDocument"]), wanted);
            let trust = plain(&parsed(&settings, Part::HubTrust));
            assert_eq!(plain(&hub["HubRole"]["Properties"]["AssumeRolePolicyDocument"]), trust);
        } else {
            assert_eq!(plain(&hub["HubPolicy"]["Properties"]["PolicyDocument"]), wanted);
        }
    }
}

#[test]
fn one_template_serves_every_partition() {
    for partition in Partition::ALL {
        let (_, resources) = cloudformation(&settings(), Part::All, partition);
        let wanted = plain(&parsed(&Settings { partition, ..settings() }, Part::Enforce));
        assert_eq!(plain(&resources["EnforceRole"]["Properties"]["Policies"][1]["PolicyDocument"]), wanted);
    }
}

/// A Terraform module with its variables at their defaults, and the documents of its resources.
fn terraform(text: &str, account: &str, partition: Partition) -> BTreeMap<String, Value> {
    let body: hcl::Body = hcl::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut context = Context::new();
    let jsonencode = |args: FuncArgs| Ok(hcl::Value::from(serde_json::to_string(&args[0]).map_err(|e| e.to_string())?));
    context.declare_func("jsonencode", FuncDef::builder().param(ParamType::Any).build(jsonencode));
    let lookup = |args: FuncArgs| {
        let key = args[1].as_str().unwrap_or_default();
        Ok(args[0].as_object().and_then(|map| map.get(key)).cloned().unwrap_or_else(|| args[2].clone()))
    };
    let any = ParamType::Any;
    context.declare_func("lookup", FuncDef::builder().params([any.clone(), any.clone(), any]).build(lookup));
    let label = |block: &hcl::Block, at: usize| block.labels()[at].as_str().to_owned();
    let mut variables = hcl::Map::new();
    for block in body.blocks().filter(|b| b.identifier() == "variable") {
        let default =
            block.body().attributes().find(|a| a.key() == "default").map(|a| a.expr().evaluate(&context).unwrap());
        variables.insert(label(block, 0), default.unwrap_or(hcl::Value::Null));
    }
    context.declare_var("var", hcl::Value::Object(variables));
    let data = json!({
        "aws_partition": { "current": { "partition": partition.name() } },
        "aws_caller_identity": { "current": { "account_id": account } },
    });
    context.declare_var("data", hcl::to_value(data).unwrap());
    let mut locals = hcl::Map::new();
    for attribute in body.blocks().find(|b| b.identifier() == "locals").unwrap().body().attributes() {
        context.declare_var("local", hcl::Value::Object(locals.clone()));
        locals.insert(attribute.key().to_owned(), attribute.expr().evaluate(&context).unwrap());
    }
    context.declare_var("local", hcl::Value::Object(locals));
    let mut found = BTreeMap::new();
    for block in body.blocks().filter(|b| b.identifier() == "resource") {
        for attribute in block.body().attributes() {
            if let Ok(value) = attribute.expr().evaluate(&context) {
                let text = value.as_str().unwrap_or_default().to_owned();
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                found.insert(format!("{}.{}.{}", label(block, 0), label(block, 1), attribute.key()), value);
            }
        }
    }
    found
}

#[test]
fn terraform_makes_the_same_policies() {
    for settings in variants() {
        let text = rendered(&settings, Part::All, Format::Terraform);
        let found = terraform(&text, ACCOUNT, settings.partition);
        let trust = plain(&parsed(&settings, Part::Trust));
        let observe = plain(&parsed(&settings, Part::Observe));
        let enforce = plain(&parsed(&settings, Part::Enforce));
        for (role, name) in
            [("observe", format!("{}-observe", settings.role_prefix)), ("enforce", settings.role_prefix.clone())]
        {
            assert_eq!(found[&format!("aws_iam_role.{role}.name")], name, "{text}");
            assert_eq!(found[&format!("aws_iam_role.{role}.path")], settings.role_path);
            assert_eq!(plain(&found[&format!("aws_iam_role.{role}.assume_role_policy")]), trust);
        }
        assert_eq!(plain(&found["aws_iam_role_policy.observe.policy"]), observe);
        assert_eq!(plain(&found["aws_iam_role_policy.enforce_observe.policy"]), observe);
        assert_eq!(plain(&found["aws_iam_role_policy.enforce.policy"]), enforce);

        let found = terraform(&rendered(&settings, Part::Hub, Format::Terraform), HUB, settings.partition);
        let wanted = plain(&parsed(&settings, Part::Hub));
        if settings.identity.is_some() {
            assert_eq!(plain(&found["aws_iam_role_policy.hub.policy"]), wanted);
            let trust = plain(&parsed(&settings, Part::HubTrust));
            assert_eq!(plain(&found["aws_iam_role.hub.assume_role_policy"]), trust);
        } else {
            assert_eq!(plain(&found["aws_iam_policy.hub.policy"]), wanted);
        }
    }
}

#[test]
fn nobody_but_who_it_is_for_gets_the_hub_role() {
    let provider = "oidc.eks.eu-west-1.amazonaws.com/id/0123ABCD";
    let irsa = Settings { identity: Some(HubIdentity::Irsa { provider: provider.into() }), ..settings() };
    let trust = parsed(&irsa, Part::HubTrust);
    let statement = &trust["Statement"][0];
    assert_eq!(statement["Principal"]["Federated"], format!("arn:aws:iam::{HUB}:oidc-provider/{provider}"));
    assert_eq!(
        statement["Condition"]["StringEquals"],
        json!({ format!("{provider}:aud"): "sts.amazonaws.com", format!("{provider}:sub"): "system:serviceaccount:ssm-ready:ssm-ready" })
    );
    let cluster = format!("arn:aws:eks:eu-west-1:{HUB}:cluster/main");
    let pods = Settings { identity: Some(HubIdentity::PodIdentity { cluster: Some(cluster.clone()) }), ..settings() };
    let statement = parsed(&pods, Part::HubTrust)["Statement"][0].clone();
    assert_eq!(statement["Principal"]["Service"], "pods.eks.amazonaws.com");
    assert_eq!(statement["Condition"]["StringEquals"]["aws:RequestTag/eks-cluster-arn"], cluster);
    for part in [Part::Hub, Part::Trust] {
        assert_eq!(parsed(&pods, part)["Statement"][0]["Action"], json!(["sts:AssumeRole", "sts:TagSession"]));
        assert_eq!(parsed(&irsa, part)["Statement"][0]["Action"], "sts:AssumeRole");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a file with what the code says; writes it anew with UPDATE_DOCS=1.
fn check(name: &str, expected: &str) {
    let path = repository().join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name} is not up to date: UPDATE_DOCS=1 cargo test -p ssm-ready-core");
}

#[test]
fn the_samples_are_up_to_date() {
    let templates = Settings { external_id: None, hub_role: None, ..settings() };
    check("deploy/iam/spoke.cloudformation.yaml", &rendered(&templates, Part::All, Format::CloudFormation));
    check("deploy/iam/spoke.tf", &rendered(&templates, Part::All, Format::Terraform));
    let hub = Settings { identity: Some(HubIdentity::PodIdentity { cluster: None }), ..templates };
    let of_hub = |format| render(&hub, Part::Hub, format, &[]).unwrap();
    check("deploy/iam/hub-pod-identity.cloudformation.yaml", &of_hub(Format::CloudFormation));
    check("deploy/iam/hub-pod-identity.tf", &of_hub(Format::Terraform));
    for partition in Partition::ALL {
        let hub_role = Some(format!("arn:{}:iam::{HUB}:role/ssm-ready-hub", partition.name()));
        let settings = Settings { partition, hub_role, ..settings() };
        for (name, part) in
            [("hub", Part::Hub), ("trust", Part::Trust), ("observe", Part::Observe), ("enforce", Part::Enforce)]
        {
            let accounts: &[String] = if part == Part::Hub { &[] } else { &[ACCOUNT.to_owned()] };
            let text = render(&settings, part, Format::Json, accounts).unwrap();
            check(&format!("deploy/iam/{}/{name}.json", partition.name()), &text);
        }
    }
}

/// The page, with each part between `<!-- generated: name -->` and `<!-- end -->` made anew.
#[test]
fn the_page_is_up_to_date() {
    let page = std::fs::read_to_string(repository().join("docs/iam.md")).unwrap();
    let mut expected = String::new();
    let mut rest = page.as_str();
    let mut names = BTreeSet::new();
    while let Some((before, after)) = rest.split_once("<!-- generated: ") {
        let (name, after) = after.split_once(" -->\n").unwrap();
        let (_, after) = after.split_once("<!-- end -->").unwrap();
        write!(expected, "{before}<!-- generated: {name} -->\n{}<!-- end -->", generated(name)).unwrap();
        names.insert(name.to_owned());
        rest = after;
    }
    expected.push_str(rest);
    assert_eq!(names, ["features", "partitions", "sizes", "statements"].map(str::to_owned).into());
    check("docs/iam.md", &expected);
}

fn generated(name: &str) -> String {
    let mut text = String::new();
    match name {
        "features" => {
            text.push_str("| `--feature` | Default | Needed for | Actions |\n|---|---|---|---|\n");
            for feature in Feature::ALL {
                let alone = Settings { features: [feature].into(), ..settings() };
                let mut actions = allowed(&iam::enforce(&alone));
                if feature == Feature::S3Gateway || feature == Feature::ExistingSecurityGroups {
                    actions = ["ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint"].map(str::to_owned).into();
                }
                let actions: Vec<String> = actions.iter().map(|action| format!("`{action}`")).collect();
                let default = if feature.is_default() { "yes" } else { "" };
                writeln!(
                    text,
                    "| `{}` | {default} | {} | {} |",
                    feature.name(),
                    feature.needed_for(),
                    actions.join(", ")
                )
                .unwrap();
            }
        }
        "partitions" => {
            text.push_str("| `--partition` | Names of endpoint services | Samples |\n|---|---|---|\n");
            for partition in Partition::ALL {
                let (name, own) = (partition.name(), partition.endpoint_prefix());
                let own =
                    if own == iam::COMMON_PREFIX { String::new() } else { format!(", `{own}.<region>.<service>`") };
                writeln!(
                    text,
                    "| `{name}` | `com.amazonaws.<region>.<service>`{own} | [deploy/iam/{name}](../deploy/iam/{name}) |"
                )
                .unwrap();
            }
        }
        "statements" => {
            text.push_str("| Policy | Statement | Actions | For | On, and when |\n|---|---|---|---|---|\n");
            let settings = Settings {
                regions: ["eu-west-1".to_owned()].into(),
                organization: Some("o-a1b2c3d4e5".into()),
                features: Feature::ALL.into_iter().filter(|f| *f != Feature::ExistingSecurityGroups).collect(),
                ..settings()
            };
            let policies = [
                ("hub", iam::hub(&settings, &[])),
                ("trust", iam::trust(&settings, true)),
                ("observe", iam::observe(&settings)),
                ("enforce", iam::enforce(&settings)),
            ];
            for (name, policy) in &policies {
                for statement in &policy.statements {
                    let document = settings.document(&Policy { statements: vec![statement.clone()] }, Some(ACCOUNT));
                    let document = serde_json::to_value(&document).unwrap();
                    writeln!(
                        text,
                        "| {name} | `{}` | {} | {} | {} |",
                        statement.sid,
                        actions(statement),
                        statement.why,
                        on(&document["Statement"][0])
                    )
                    .unwrap();
                }
            }
        }
        "sizes" => {
            text.push_str("| | observe | enforce | together |\n|---|---|---|---|\n");
            for (what, features) in [("defaults", Feature::defaults()), ("every feature", Feature::ALL.into())] {
                let sizes = Partition::ALL.map(|partition| {
                    let settings = Settings { partition, features: features.clone(), ..settings() };
                    let size = |policy: &Policy| {
                        serde_json::to_string(&settings.document(policy, Some(ACCOUNT))).unwrap().len()
                    };
                    (size(&iam::observe(&settings)), size(&iam::enforce(&settings)))
                });
                let (observe, enforce) = sizes.into_iter().max_by_key(|(o, e)| o + e).unwrap();
                writeln!(text, "| {what} | {observe} | {enforce} | {} |", observe + enforce).unwrap();
            }
            writeln!(text, "| AWS's limit | {MANAGED_POLICY_LIMIT} (managed) | {MANAGED_POLICY_LIMIT} (managed) | {INLINE_POLICIES_LIMIT} (inline) |").unwrap();
        }
        other => panic!("{other} is not known"),
    }
    text
}

fn actions(statement: &Statement) -> String {
    if statement.actions.len() > 5 {
        return "the reads of [Permissions](permissions.md)".to_owned();
    }
    statement.actions.iter().map(|action| format!("`{action}`")).collect::<Vec<_>>().join(", ")
}

fn on(statement: &Value) -> String {
    let short = |resource: &String| resource.rsplit(':').next().unwrap_or_default().to_owned();
    let resources: Vec<String> = strings(&statement["Resource"]).iter().map(|r| format!("`{}`", short(r))).collect();
    let mut parts = vec![resources.join(", ")];
    for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
        for (key, values) in keys.as_object().unwrap() {
            let values = strings(values);
            let values = if values.len() > 4 { "the services' names".to_owned() } else { values.join(", ") };
            parts.push(format!("`{operator}` `{key}`: {values}"));
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}
