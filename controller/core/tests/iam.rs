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
    facts::{Principal, RoleStep},
    iam::{
        self, Effect, Feature, Format, HubIdentity, INLINE_POLICIES_LIMIT, Kind, MANAGED_POLICY_LIMIT, Part, Partition,
        Policy, Preflight, Settings, Statement, TRUST_POLICY_LIMIT, render,
    },
};

const ACCOUNT: &str = "111122223333";
const HUB: &str = "999988887777";
const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/bound";
const EXTERNAL_ID: &str = "an-external-id-of-your-choice";

fn settings() -> Settings {
    Settings {
        hub_role: Some(format!("arn:aws:iam::{HUB}:role/ssm-ready-hub")),
        external_id: Some(EXTERNAL_ID.to_owned()),
        ..Settings::new("my-cluster")
    }
}

fn everything() -> Settings {
    Settings { kinds: Kind::ALL.into(), features: Feature::ALL.into(), ..settings() }
}

/// Each combination of the features that make a difference to the policy of a kind; the others make none, as
/// [`a_feature_makes_a_difference_to_its_kinds_alone`] shows.
fn combinations(kind: Kind) -> impl Iterator<Item = BTreeSet<Feature>> {
    let features: Vec<Feature> = Feature::ALL.into_iter().filter(|feature| feature.kinds().contains(&kind)).collect();
    (0..1_u32 << features.len())
        .map(move |bits| features.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, f)| *f).collect())
}

/// The actions that the policies of all kinds allow together.
fn enforced(settings: &Settings) -> BTreeSet<String> {
    Kind::ALL.into_iter().flat_map(|kind| allowed(&iam::enforce(settings, kind))).collect()
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
const DEPENDENT: [(&str, &str); 3] = [
    ("sts:TagSession", "EKS Pod Identity gives the controller's session tags that go along into the roles"),
    ("iam:PassRole", "UpdateServiceSetting and AddRoleToInstanceProfile pass a role to a service"),
    ("route53:AssociateVPCWithHostedZone", "AWS names it as an action that CreateVpcEndpoint depends on"),
];

#[test]
fn each_call_is_allowed_where_it_is_made_and_nothing_else_is() {
    let settings = Settings { identity: Some(HubIdentity::PodIdentity { cluster: None }), ..everything() };
    let hub = allowed(&iam::hub(&settings, &[]));
    let observe = allowed(&iam::observe(&settings));
    let enforce = enforced(&settings);
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
        // A write is of one kind, and in its policy.
        for kind in Kind::ALL.into_iter().filter(|_| operation.writes()) {
            assert_eq!(allowed(&iam::enforce(&settings, kind)).contains(&action), kind.makes(*operation), "{action}");
        }
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
fn a_feature_makes_a_difference_to_its_kinds_alone() {
    for kind in Kind::ALL {
        let all = iam::enforce(&everything(), kind);
        for feature in Feature::ALL {
            let mut without = everything();
            without.features.remove(&feature);
            let differs = iam::enforce(&without, kind) != all;
            assert_eq!(differs, feature.kinds().contains(&kind), "{feature:?}, {kind:?}");
        }
        assert_eq!(iam::enforce(&Settings { features: BTreeSet::new(), ..settings() }, kind), Policy::default());
    }
}

#[test]
fn the_defaults_bring_every_write_of_the_kinds_in_use() {
    // Instances get no profile without being asked.
    let chosen = |o: &&Operation| o.writes() && **o != Operation::AssociateIamInstanceProfile;
    let writes = Operation::ALL.iter().filter(chosen).map(|o| o.iam_action());
    let passes = std::iter::once("iam:PassRole".to_owned());
    assert_eq!(enforced(&settings()), writes.chain(passes).collect());
    assert_eq!(settings().kinds, [Kind::VpcPosture].into(), "nothing of IAM without being asked");
    for (kind, policy) in everything().enforce() {
        let printed = parsed(&everything(), Part::Enforce(kind));
        let document = everything().document(&policy, Some(ACCOUNT));
        assert_eq!(printed, serde_json::to_value(&document).unwrap());
    }
}

#[test]
fn what_changes_aws_names_its_resources_and_whose_they_are() {
    for kind in Kind::ALL {
        for features in combinations(kind) {
            let settings = Settings { features, ..settings() };
            let observe = settings.document(&iam::observe(&settings), Some(ACCOUNT));
            let enforce = settings.document(&iam::enforce(&settings, kind), Some(ACCOUNT));
            for document in [observe, enforce] {
                for statement in list(&serde_json::to_value(&document).unwrap()["Statement"]) {
                    check_statement(&statement, &settings.features);
                }
            }
        }
    }
}

fn check_statement(statement: &Value, features: &BTreeSet<Feature>) {
    let sid = statement["Sid"].as_str().unwrap();
    let resources = strings(&statement["Resource"]);
    let read = |action: &String| [":Describe", ":Get", ":List"].iter().any(|verb| action.contains(verb));
    let reads = strings(&statement["Action"]).iter().all(read);
    for resource in &resources {
        assert!(reads || resource != "*" || sid == "SetMetadataDefaults", "{statement}");
        let fields: Vec<&str> = resource.splitn(6, ':').collect();
        let named = matches!(fields.as_slice(), ["arn", "aws", _, _, ACCOUNT, _])
            || resource == "arn:aws:route53:::hostedzone/*"
            // Trails of the organisation, and topics that sessions are reported to, are of others.
            || (reads && matches!(fields.as_slice(), ["arn", "aws", "cloudtrail" | "sns", _, "*", _]))
            // So are buckets and keys of sessions; buckets are not named with their account.
            || (reads && (resource == "arn:aws:s3:::*" || resource == "arn:aws:kms:*:*:key/*"));
        assert!(resource == "*" || named, "{resource}");
    }
    let condition = statement["Condition"].to_string();
    let ours = condition.contains("ssmready.dev/cluster\":\"my-cluster");
    // What cannot be marked as ours, or is only named beside a thing that is.
    let excused = [
        "CreateEndpointIn",
        "ChangeEndpointsIn",
        "CreateGroupIn",
        "SwitchOnDns",
        "AssociateHostedZones",
        "AskWhatIsAllowed",
        "SetHostManagement",
        "SetServiceSettings",
        "SetMetadataDefaults",
        "PassHostManagementRole",
        "PassInstanceRoles",
        "AttachProfiles",
        "PassRolesOfProfiles",
    ]
    .contains(&sid)
        || (features.contains(&Feature::ExistingSecurityGroups) && sid == "CreateEndpointWithGroup")
        || (features.contains(&Feature::AttachOnlyRoles) && sid == "AttachPolicies");
    assert!(reads || ours || excused || statement["Effect"] == "Deny", "{statement}");
}

/// Whoever attaches any policy to a role, or passes any role to anything, has every permission of the account.
#[test]
fn roles_get_no_more_than_is_allowed() {
    let own = "arn:aws:iam::aws:policy/AmazonSSMManaged";
    for (kind, bounded) in Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        for features in combinations(kind) {
            let settings = Settings {
                features,
                managed_role_paths: ["/ssm-ready/".to_owned()].into(),
                managed_role_boundary: bounded.then(|| BOUNDARY.to_owned()),
                managed_policies: ["arn:aws:iam::444455556666:policy/team/extra".to_owned()].into(),
                ..settings()
            };
            let document = settings.document(&iam::enforce(&settings, kind), Some(ACCOUNT));
            let statements = list(&serde_json::to_value(&document).unwrap()["Statement"]);
            let mut denied = BTreeSet::new();
            for statement in &statements {
                let (condition, resources) = (&statement["Condition"], strings(&statement["Resource"]));
                let actions = strings(&statement["Action"]);
                if statement["Effect"] == "Deny" {
                    assert_eq!(
                        resources,
                        [
                            format!("arn:aws:iam::{ACCOUNT}:role/ssm-ready"),
                            format!("arn:aws:iam::{ACCOUNT}:role/ssm-ready-*")
                        ]
                    );
                    denied.extend(actions);
                    continue;
                }
                let of_iam = actions.iter().any(|action| action.starts_with("iam:"));
                let within = |r: &String| {
                    let kinds = ["role", "instance-profile"];
                    kinds.iter().any(|kind| *r == format!("arn:aws:iam::{ACCOUNT}:{kind}/ssm-ready/*"))
                };
                assert!(!of_iam || resources.iter().all(within), "{statement}");
                let ours = condition["StringEquals"]["aws:ResourceTag/ssmready.dev/cluster"] == "my-cluster";
                for action in actions {
                    match action.as_str() {
                        "iam:PassRole" => {
                            let to = strings(&condition["StringEquals"]["iam:PassedToService"]);
                            let services = ["ssm.amazonaws.com", "ec2.amazonaws.com", "ec2.amazonaws.com.cn"];
                            assert!(!to.is_empty() && to.iter().all(|s| services.contains(&s.as_str())), "{statement}");
                        }
                        "iam:AttachRolePolicy" => {
                            let policies = strings(&condition["ArnLike"]["iam:PolicyARN"]);
                            let (aws, others): (Vec<_>, Vec<_>) =
                                policies.into_iter().partition(|arn| arn.starts_with("arn:aws:iam::aws:policy/"));
                            assert_eq!(aws.iter().filter(|arn| arn.starts_with(own)).count(), 2, "{aws:?}");
                            assert!(aws.iter().all(|arn| !arn.contains('*')) && aws.len() == 6, "{aws:?}");
                            assert_eq!(others, [format!("arn:aws:iam::{ACCOUNT}:policy/team/extra")]);
                            assert!(ours || settings.features.contains(&Feature::AttachOnlyRoles), "{statement}");
                        }
                        "iam:DetachRolePolicy" => {
                            let listed = !condition["ArnLike"]["iam:PolicyARN"].is_null();
                            assert!(ours || listed, "{statement}");
                        }
                        "iam:CreateRole" | "iam:PutRolePolicy" | "iam:PutRolePermissionsBoundary" => {
                            let boundary = &condition["ArnLike"]["iam:PermissionsBoundary"];
                            assert_eq!(*boundary, if bounded { json!(BOUNDARY) } else { Value::Null }, "{statement}");
                            assert!(ours || action == "iam:CreateRole", "{statement}");
                        }
                        "iam:TagRole" | "iam:TagInstanceProfile" | "ssm:AddTagsToResource" => {
                            let others = &condition["StringEqualsIfExists"]["aws:ResourceTag/ssmready.dev/cluster"];
                            let take_over = settings.features.contains(&Feature::TakeOver)
                                && condition["StringEquals"]["aws:RequestTag/ssmready.dev/cluster"] == "my-cluster";
                            assert!(ours || others == "my-cluster" || take_over, "{statement}");
                        }
                        "iam:CreateInstanceProfile" | "ssm:CreateDocument" => {
                            let made = &condition["StringEquals"]["aws:RequestTag/ssmready.dev/cluster"];
                            assert_eq!(made, "my-cluster", "{statement}");
                        }
                        other if other.starts_with("iam:") || other.contains("Document") => {
                            assert!(ours, "{statement}")
                        }
                        _ => {}
                    }
                }
            }
            // Nothing that changes a role reaches the controller's own.
            let of_roles = |a: &String| a.starts_with("iam:") && a.contains("Role") && !a.contains("InstanceProfile");
            for action in statements.iter().flat_map(|s| strings(&s["Action"])).filter(of_roles) {
                let stopped = denied.iter().any(|pattern| like(pattern, &action)) || kind != Kind::AccountPosture;
                assert!(stopped, "{action} is not denied on the controller's own roles");
            }
        }
    }
}

#[test]
fn everything_fits_into_aws_limits() {
    let regions: BTreeSet<String> = (0..34).map(|n| format!("ap-southeast-{n:02}")).collect();
    for (partition, kind) in Partition::ALL.into_iter().flat_map(|p| Kind::ALL.map(|kind| (p, kind))) {
        for features in combinations(kind) {
            let settings = Settings {
                partition,
                kinds: [kind].into(),
                features,
                regions: regions.clone(),
                cluster_id: "c".repeat(63),
                role_path: format!("/{}/", "platform".repeat(6)),
                role_prefix: "p".repeat(40),
                managed_role_paths: ["/ssm-ready/".to_owned(), "/service-role/".to_owned()].into(),
                managed_role_boundary: Some(format!("arn:aws:iam::{ACCOUNT}:policy/{}", "b".repeat(60))),
                managed_policies: (0..6)
                    .map(|n| format!("arn:aws:iam::{ACCOUNT}:policy/{}{n}", "p".repeat(40)))
                    .collect(),
                external_id: Some("x".repeat(200)),
                organization: Some(format!("o-{}", "a".repeat(32))),
                identity: Some(HubIdentity::PodIdentity { cluster: None }),
                ..settings()
            };
            let size = |policy: &Policy| settings.length(policy, Some(ACCOUNT));
            let (observe, enforce) = (size(&iam::observe(&settings)), size(&iam::enforce(&settings, kind)));
            assert!(
                observe <= MANAGED_POLICY_LIMIT && enforce <= MANAGED_POLICY_LIMIT,
                "{observe}, {kind:?}: {enforce}"
            );
            assert!(kind != Kind::VpcPosture || observe + enforce <= INLINE_POLICIES_LIMIT, "{observe} + {enforce}");
            assert!(size(&iam::trust(&settings, true)) <= TRUST_POLICY_LIMIT);
        }
    }
}

#[test]
fn each_kind_has_its_names() {
    let names = Kind::ALL.map(|kind| (kind.name(), kind.policy()));
    let expected =
        [("vpc-posture", "enforce"), ("region-posture", "enforce-region"), ("account-posture", "enforce-account")];
    assert_eq!(names, expected);
}

#[test]
fn what_aws_would_just_take_is_printed() {
    // As long as need be, by texts that are there so many times.
    let settings = |regions: usize, cluster: usize| Settings {
        regions: [format!("ap-{}", "s".repeat(regions))].into(),
        cluster_id: "c".repeat(cluster),
        ..settings()
    };
    let vpc = |s: &Settings| s.length(&iam::enforce(s, Kind::VpcPosture), Some(ACCOUNT));
    let both = |s: &Settings| vpc(s) + s.length(&iam::observe(s), Some(ACCOUNT));
    let wanted = |limit: usize, length: &dyn Fn(&Settings) -> usize| {
        let few = settings(1, 1);
        let [base, region, cluster] = [&few, &settings(2, 1), &settings(1, 2)].map(length);
        let [region, cluster] = [region - base, cluster - base];
        let at = (1..limit).rev().find_map(|n| {
            let left = limit.checked_sub(base + n * region)?;
            (cluster > 0 && left % cluster == 0).then(|| settings(1 + n, 1 + left / cluster))
        });
        let at = at.expect("no such length");
        assert_eq!(length(&at), limit);
        at
    };
    let part = Part::Enforce(Kind::VpcPosture);
    for (settings, format) in
        [(wanted(MANAGED_POLICY_LIMIT, &vpc), Format::Json), (wanted(INLINE_POLICIES_LIMIT, &both), Format::Terraform)]
    {
        let account = [ACCOUNT.to_owned()];
        render(&settings, part, format, &account).unwrap();
        let longer = Settings { cluster_id: format!("{}c", settings.cluster_id), ..settings };
        let refusal = render(&longer, part, format, &account).unwrap_err().to_string();
        assert!(refusal.contains("IAM allows"), "{refusal}");
    }
}

#[test]
fn what_aws_would_not_take_is_not_printed() {
    let long = Settings {
        managed_policies: (0..100).map(|n| format!("arn:aws:iam::{ACCOUNT}:policy/{}{n}", "p".repeat(90))).collect(),
        ..everything()
    };
    for format in [Format::Json, Format::CloudFormation, Format::Terraform] {
        let refusal = render(&long, Part::All, format, &[]).unwrap_err().to_string();
        assert!(refusal.contains("enforce-account would have") && refusal.contains("6144"), "{refusal}");
    }
    let account = Part::Enforce(Kind::AccountPosture);
    assert!(render(&long, account, Format::Json, &[]).is_err());
    assert!(render(&long, Part::Enforce(Kind::RegionPosture), Format::Json, &[]).is_ok());
    let inline = Settings { regions: (0..130).map(|n| format!("ap-southeast-{n:03}")).collect(), ..settings() };
    assert!(render(&inline, Part::All, Format::Json, &[]).is_ok());
    let refusal = render(&inline, Part::All, Format::Terraform, &[]).unwrap_err().to_string();
    assert!(refusal.contains("10240 inline"), "{refusal}");
    // A template has what the enforcing role reads in the role too.
    let vpc = Part::Enforce(Kind::VpcPosture);
    assert!(render(&inline, vpc, Format::Json, &[]).is_ok());
    let refusal = render(&inline, vpc, Format::CloudFormation, &[]).unwrap_err().to_string();
    assert!(refusal.contains("10240 inline"), "{refusal}");
    let refusal = render(&everything(), account, Format::Terraform, &[]).unwrap_err().to_string();
    assert!(refusal.contains("--kind"), "{refusal}");
    let nothing = Settings { features: [Feature::VpcEndpoints].into(), ..everything() };
    let refusal = render(&nothing, account, Format::Json, &[]).unwrap_err().to_string();
    assert!(refusal.contains("enforce-account has nothing"), "{refusal}");
    assert_eq!(nothing.enforce().len(), 1);
}

/// Whether a text is matched by a pattern with stars, as StringLike does.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.strip_prefix(before).is_some_and(|rest| (0..=rest.len()).any(|at| like(after, &rest[at..])))
        }
    }
}

/// Whether a statement is about an action on a resource, in a context of single values (IAM policy evaluation).
fn applies(statement: &Value, action: &str, resource: &str, context: &BTreeMap<&str, &str>) -> bool {
    let holds = |operator: &str, key: &str, values: &[String]| {
        let (operator, if_exists) =
            operator.strip_suffix("IfExists").map_or((operator, false), |operator| (operator, true));
        let Some(found) = context.get(key) else {
            return if_exists || operator.contains("Not") || operator.starts_with("ForAllValues:");
        };
        match operator.trim_start_matches("ForAllValues:") {
            "StringEquals" => values.iter().any(|value| value == found),
            "StringNotEquals" => values.iter().all(|value| value != found),
            "StringLike" | "ArnLike" => values.iter().any(|value| like(value, found)),
            other => panic!("{other}"),
        }
    };
    let conditions = statement["Condition"].as_object().cloned().unwrap_or_default();
    strings(&statement["Action"]).iter().any(|pattern| like(pattern, action))
        && strings(&statement["Resource"]).iter().any(|pattern| like(pattern, resource))
        && conditions.iter().all(|(operator, keys)| {
            keys.as_object().unwrap().iter().all(|(key, values)| holds(operator, key, &strings(values)))
        })
}

/// What the preflight says is missing, of policies that are evaluated as IAM does.
fn missing(settings: &Settings, kinds: &[Kind], writes: bool, documents: &[Value]) -> BTreeSet<String> {
    let principal = Principal {
        account: ACCOUNT.parse().unwrap(),
        roles: vec![RoleStep {
            arn: format!("arn:aws:iam::{ACCOUNT}:role/ssm-ready").parse().unwrap(),
            external_id: None,
        }],
        session_name: "test".into(),
        duration_seconds: 3600,
        read_only: false,
    };
    let boundary = settings.managed_role_boundary.as_deref().map(Into::into);
    let questions = iam::questions(&Preflight {
        principal: &principal,
        region: &"eu-west-1".parse().unwrap(),
        cluster_id: "my-cluster",
        writes,
        kinds: &kinds.iter().copied().collect(),
        role_path: settings.managed_role_paths.first().unwrap(),
        boundary: boundary.as_ref(),
    });
    let statements: Vec<Value> = documents.iter().flat_map(|document| list(&document["Statement"])).collect();
    let mut missing = BTreeSet::new();
    for question in questions {
        let context = question.context.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let resource = question.resource.unwrap_or_else(|| "*".to_owned());
        for action in question.actions {
            let by = |effect: &str| {
                statements.iter().any(|s| s["Effect"] == effect && applies(s, &action, &resource, &context))
            };
            if by("Deny") || !by("Allow") {
                missing.insert(action);
            }
        }
    }
    missing
}

#[test]
fn the_preflight_finds_nothing_missing_and_each_action_that_is() {
    let plain = Settings { kinds: Kind::ALL.into(), ..settings() };
    let narrow = Settings {
        managed_role_paths: ["/ssm-ready/".to_owned()].into(),
        managed_role_boundary: Some(BOUNDARY.to_owned()),
        regions: ["eu-west-1".to_owned()].into(),
        ..plain.clone()
    };
    for settings in [plain, narrow] {
        let observe = parsed(&settings, Part::Observe);
        for kind in Kind::ALL {
            assert_eq!(missing(&settings, &[kind], false, std::slice::from_ref(&observe)), BTreeSet::new(), "{kind:?}");
            let enforce = parsed(&settings, Part::Enforce(kind));
            let both = [observe.clone(), enforce.clone()];
            assert_eq!(missing(&settings, &[kind], true, &both), BTreeSet::new(), "{kind:?}");
            // Of the other kinds nothing is asked that this one lacks.
            let others: Vec<Kind> = Kind::ALL.into_iter().filter(|other| *other != kind).collect();
            let of_others = missing(&settings, &others, true, &both);
            let passing = "iam:PassRole";
            assert!(
                of_others.iter().all(|action| !action.contains(":Describe")
                    && (action == passing || !enforce.to_string().contains(action))),
                "{kind:?}: {of_others:?}"
            );
            // Each action that is taken away is told.
            let mut actions: BTreeSet<String> = Operation::ALL
                .iter()
                .filter(|o| kind.makes(**o) && o.purpose() != Purpose::Identity)
                .map(|o| o.iam_action())
                .collect();
            actions.remove("iam:SimulatePrincipalPolicy");
            actions.remove("ec2:AssociateIamInstanceProfile");
            // What sessions are logged to tells by itself what is denied.
            actions.retain(|action| !["s3:", "logs:", "kms:"].iter().any(|service| action.starts_with(service)));
            actions.extend((kind != Kind::VpcPosture).then(|| passing.to_owned()));
            for action in actions {
                let mut less = both.clone();
                for statement in less.iter_mut().flat_map(|d| d["Statement"].as_array_mut().unwrap()) {
                    let kept: Vec<String> =
                        strings(&statement["Action"]).into_iter().filter(|a| *a != action).collect();
                    statement["Action"] = json!(kept);
                }
                assert_eq!(missing(&settings, &[kind], true, &less), [action].into());
            }
        }
        let mut all = vec![observe];
        all.extend(Kind::ALL.map(|kind| parsed(&settings, Part::Enforce(kind))));
        assert_eq!(missing(&settings, &Kind::ALL, true, &all), BTreeSet::new());
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
        let document = parsed(&Settings { partition, ..settings() }, Part::Enforce(Kind::VpcPosture));
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
                if template["Resources"].get(name).is_some() {
                    return Some(name.into());
                }
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
            managed_role_paths: ["/ssm-ready/".to_owned(), "/service-role/".to_owned()].into(),
            managed_role_boundary: Some(BOUNDARY.to_owned()),
            managed_policies: ["arn:aws:iam::aws:policy/CloudWatchAgentAdminPolicy".to_owned()].into(),
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
        let enforce = plain(&parsed(&settings, Part::Enforce(Kind::VpcPosture)));
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
        for (kind, resource, suffix) in
            [(Kind::RegionPosture, "RegionPolicy", "region"), (Kind::AccountPosture, "AccountPolicy", "account")]
        {
            let attached = strings(
                &template["Resources"]["EnforceRole"]["Properties"]["ManagedPolicyArns"]
                    .as_array()
                    .map(|all| all.iter().map(|reference| reference["Ref"].clone()).collect())
                    .unwrap_or_default(),
            );
            assert_eq!(attached.contains(&resource.to_owned()), settings.kinds.contains(&kind));
            let policy = &resources.get(resource).map(|r| r["Properties"].clone()).unwrap_or_default();
            assert_eq!(!policy.is_null(), settings.kinds.contains(&kind));
            if settings.kinds.contains(&kind) {
                assert_eq!(plain(&policy["PolicyDocument"]), plain(&parsed(&settings, Part::Enforce(kind))));
                assert_eq!(policy["ManagedPolicyName"], format!("{}-{suffix}", settings.role_prefix));
            }
        }
        assert!(resources["ObserveRole"]["Properties"].get("ManagedPolicyArns").is_none());
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
        let wanted = plain(&parsed(&Settings { partition, ..settings() }, Part::Enforce(Kind::VpcPosture)));
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
        let enforce = plain(&parsed(&settings, Part::Enforce(Kind::VpcPosture)));
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
        for (kind, name, suffix) in
            [(Kind::RegionPosture, "enforce_region", "region"), (Kind::AccountPosture, "enforce_account", "account")]
        {
            let policy = found.get(&format!("aws_iam_policy.{name}.policy"));
            assert_eq!(policy.is_some(), settings.kinds.contains(&kind));
            let attachment = format!("resource \"aws_iam_role_policy_attachment\" \"{name}\" {{");
            assert_eq!(text.contains(&attachment), settings.kinds.contains(&kind));
            if let Some(policy) = policy {
                assert_eq!(plain(policy), plain(&parsed(&settings, Part::Enforce(kind))));
                assert_eq!(found[&format!("aws_iam_policy.{name}.name")], format!("{}-{suffix}", settings.role_prefix));
            }
        }

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
fn a_template_has_the_roles_that_are_asked_for() {
    for format in [Format::CloudFormation, Format::Terraform] {
        let made = |part| render(&settings(), part, format, &[]).unwrap();
        let has_role = |part, suffix: &str| {
            let name = [format!("${{RolePrefix}}{suffix}\n"), format!("${{var.role_prefix}}{suffix}\"\n")];
            name.iter().any(|name| made(part).contains(name.as_str()))
        };
        assert!(has_role(Part::All, "-observe") && has_role(Part::Observe, "-observe"), "{format:?}");
        assert!(!has_role(Part::Enforce(Kind::VpcPosture), "-observe"), "{format:?}");
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
    // A template makes the role where it is applied, whatever is said of another.
    for (format, own) in [(Format::CloudFormation, "${AWS::AccountId}"), (Format::Terraform, "${local.account_id}")] {
        let text = render(&irsa, Part::Hub, format, &[]).unwrap();
        let provider = text.lines().find(|line| line.contains(":oidc-provider/")).unwrap();
        assert!(provider.contains(own) && !provider.contains(HUB), "{provider}");
    }
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
    let kinds = Settings { kinds: Kind::ALL.into(), ..templates.clone() };
    check("deploy/iam/spoke-all-kinds.cloudformation.yaml", &rendered(&kinds, Part::All, Format::CloudFormation));
    check("deploy/iam/spoke-all-kinds.tf", &rendered(&kinds, Part::All, Format::Terraform));
    let hub = Settings { identity: Some(HubIdentity::PodIdentity { cluster: None }), ..templates };
    let of_hub = |format| render(&hub, Part::Hub, format, &[]).unwrap();
    check("deploy/iam/hub-pod-identity.cloudformation.yaml", &of_hub(Format::CloudFormation));
    check("deploy/iam/hub-pod-identity.tf", &of_hub(Format::Terraform));
    for partition in Partition::ALL {
        let hub_role = Some(format!("arn:{}:iam::{HUB}:role/ssm-ready-hub", partition.name()));
        let settings = Settings { partition, hub_role, ..settings() };
        let parts = [("hub", Part::Hub), ("trust", Part::Trust), ("observe", Part::Observe)];
        for (name, part) in parts.into_iter().chain(Kind::ALL.map(|kind| (kind.policy(), Part::Enforce(kind)))) {
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
            text.push_str("| `--feature` | Default | Policies | Needed for | Actions |\n|---|---|---|---|---|\n");
            for feature in Feature::ALL {
                let mut actions = brings(feature);
                if feature == Feature::S3Gateway || feature == Feature::ExistingSecurityGroups {
                    actions = ["ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint"].map(str::to_owned).into();
                }
                let actions: Vec<String> = actions.iter().map(|action| format!("`{action}`")).collect();
                let default = if feature.is_default() { "yes" } else { "" };
                let policies: Vec<&str> = feature.kinds().iter().map(|kind| kind.policy()).collect();
                writeln!(
                    text,
                    "| `{}` | {default} | {} | {} | {} |",
                    feature.name(),
                    policies.join(", "),
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
                features: Feature::ALL
                    .into_iter()
                    .filter(|f| !matches!(f, Feature::ExistingSecurityGroups | Feature::AttachOnlyRoles))
                    .collect(),
                managed_role_paths: ["/ssm-ready/".to_owned()].into(),
                managed_role_boundary: Some(BOUNDARY.to_owned()),
                ..settings()
            };
            let mut policies = vec![
                ("hub", iam::hub(&settings, &[])),
                ("trust", iam::trust(&settings, true)),
                ("observe", iam::observe(&settings)),
            ];
            // There it only takes a condition away, which the statements say.
            let mut others = settings.clone();
            others.features.remove(&Feature::TakeOver);
            policies.extend(Kind::ALL.map(|kind| {
                let settings = if kind == Kind::VpcPosture { &settings } else { &others };
                (kind.policy(), iam::enforce(settings, kind))
            }));
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
            text.push_str(
                "| | observe | enforce | these two | enforce-region | enforce-account |\n|---|---|---|---|---|---|\n",
            );
            for (what, features) in [("defaults", Feature::defaults()), ("every feature", Feature::ALL.into())] {
                let longest = |policy: &dyn Fn(&Settings) -> Policy| {
                    let of = |partition| {
                        let settings = Settings { partition, features: features.clone(), ..settings() };
                        settings.length(&policy(&settings), Some(ACCOUNT))
                    };
                    Partition::ALL.map(of).into_iter().max().unwrap()
                };
                let observe = longest(&iam::observe);
                let [enforce, region, account] =
                    Kind::ALL.map(|kind| longest(&|settings| iam::enforce(settings, kind)));
                writeln!(text, "| {what} | {observe} | {enforce} | {} | {region} | {account} |", observe + enforce)
                    .unwrap();
            }
            let managed = format!("{MANAGED_POLICY_LIMIT} (managed)");
            writeln!(
                text,
                "| AWS's limit | {managed} | {managed} | {INLINE_POLICIES_LIMIT} (inline) | {managed} | {managed} |"
            )
            .unwrap();
        }
        other => panic!("{other} is not known"),
    }
    text
}

/// The actions that a feature allows alone, or beside all others where it has no statement alone.
fn brings(feature: Feature) -> BTreeSet<String> {
    if feature.kinds().len() == 1 {
        return enforced(&Settings { features: [feature].into(), ..settings() });
    }
    let mut without = everything();
    without.features.remove(&feature);
    let statements = |settings: &Settings| -> Vec<Statement> {
        Kind::ALL.into_iter().flat_map(|kind| iam::enforce(settings, kind).statements).collect()
    };
    let kept = statements(&without);
    let more = statements(&everything()).into_iter().filter(|statement| !kept.contains(statement));
    let widens = |action: &String| feature != Feature::TakeOver || action.contains("Tag");
    more.flat_map(|statement| statement.actions).filter(widens).collect()
}

fn actions(statement: &Statement) -> String {
    if statement.sid == "Read" {
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
            let values = match key.as_str() {
                "ec2:VpceServiceName" => "the services' names".to_owned(),
                "iam:PolicyARN" => {
                    values.iter().map(|arn| short(arn).replace("policy/", "")).collect::<Vec<_>>().join(", ")
                }
                _ => values.join(", "),
            };
            parts.push(format!("`{operator}` `{key}`: {values}"));
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}
