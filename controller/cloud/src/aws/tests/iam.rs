//! What is asked and told about roles and instance profiles.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ssm_ready_core::{
    facts::iam::{AgentAction, AgentPermissions, INLINE_POLICY, Profile, Role},
    fault::{FaultKind, NO_ANSWER},
    write::{NewRole, ProfileChange, RoleChange, Write, Written},
};

use super::calls::{answering, cloud, tags};
use crate::{
    Cloud,
    aws::testing::{Answer, FakeAws, Seen, ok, refused, refused_query, scope},
};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole","Sid":"a+b é"}]}"#;
const TRUST_ON_THE_WIRE: &str = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
     %22Principal%22%3A%7B%22Service%22%3A%22ec2.amazonaws.com%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%2C\
     %22Sid%22%3A%22a+b%20%C3%A9%22%7D%5D%7D";
const CORE: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/boundary";

fn role_xml(name: &str) -> String {
    format!(
        "<Role><Path>/ops/</Path><RoleName>{name}</RoleName><RoleId>AROA1</RoleId>\
         <Arn>arn:aws:iam::111122223333:role/ops/{name}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>\
         <AssumeRolePolicyDocument>{TRUST_ON_THE_WIRE}</AssumeRolePolicyDocument><PermissionsBoundary>\
         <PermissionsBoundaryType>Policy</PermissionsBoundaryType>\
         <PermissionsBoundaryArn>{BOUNDARY}</PermissionsBoundaryArn></PermissionsBoundary>\
         <Tags><member><Key>ssmready.dev/cluster</Key><Value>c1</Value></member></Tags></Role>"
    )
}

fn result(operation: &str, inner: &str) -> Answer {
    ok(format!("<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>"))
}

/// An IAM with one role: a managed policy on each of two pages, and an inline one of ours on the second of its own.
fn iam(seen: &Seen) -> Answer {
    let second = seen.field("Marker") == "m1";
    let rest =
        if second { "<IsTruncated>false</IsTruncated>" } else { "<IsTruncated>true</IsTruncated><Marker>m1</Marker>" };
    let inner = match seen.operation.as_str() {
        "GetRole" => role_xml("ssm-ready-node"),
        "ListAttachedRolePolicies" => {
            let arn = if second { BOUNDARY } else { CORE };
            format!(
                "<AttachedPolicies><member><PolicyName>x</PolicyName><PolicyArn>{arn}</PolicyArn></member>\
                 </AttachedPolicies>{rest}"
            )
        }
        "ListRolePolicies" => {
            let name = if second { INLINE_POLICY } else { "theirs" };
            format!("<PolicyNames><member>{name}</member></PolicyNames>{rest}")
        }
        "GetRolePolicy" => format!(
            "<RoleName>ssm-ready-node</RoleName><PolicyName>{INLINE_POLICY}</PolicyName>\
             <PolicyDocument>%7B%22Statement%22%3A%5B%5D%7D</PolicyDocument>"
        ),
        other => panic!("{other}"),
    };
    result(&seen.operation, &inner)
}

async fn read(aws: &FakeAws) -> Result<Option<Role>, ssm_ready_core::fault::Fault> {
    cloud(aws).role(&scope(), &"ssm-ready-node".into()).await
}

fn role() -> Role {
    Role {
        name: "ssm-ready-node".into(),
        arn: "arn:aws:iam::111122223333:role/ops/ssm-ready-node".into(),
        path: "/ops/".into(),
        trust: TRUST.into(),
        boundary: Some(BOUNDARY.into()),
        policies: [CORE.into(), BOUNDARY.into()].into(),
        inline: [("theirs".to_owned(), None), (INLINE_POLICY.to_owned(), Some(r#"{"Statement":[]}"#.to_owned()))]
            .into(),
        tags: tags(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_is_read_with_every_page_of_its_policies() {
    let aws = answering(iam);
    assert_eq!(read(&aws).await, Ok(Some(role())));
    for (operation, calls) in
        [("GetRole", 1), ("ListAttachedRolePolicies", 2), ("ListRolePolicies", 2), ("GetRolePolicy", 1)]
    {
        let seen = aws.of(operation);
        assert_eq!(seen.len(), calls, "{operation}");
        assert!(seen.iter().all(|seen| seen.field("RoleName") == "ssm-ready-node"), "{operation}");
        let page = if operation.starts_with("List") { "1000" } else { "" };
        assert!(seen.iter().all(|seen| seen.field("MaxItems") == page), "{operation}");
        assert!(seen.iter().all(|seen| seen.host == "iam.amazonaws.com" && seen.key == "ASIA111122223333"));
    }
    assert_eq!(aws.of("GetRolePolicy")[0].field("PolicyName"), INLINE_POLICY);
}

#[tokio::test(start_paused = true)]
async fn an_inline_policy_that_is_not_ours_is_not_read() {
    let aws = answering(|seen| match seen.operation.as_str() {
        "ListRolePolicies" => result("ListRolePolicies", "<PolicyNames><member>theirs</member></PolicyNames>"),
        _ => iam(seen),
    });
    assert_eq!(read(&aws).await.unwrap().unwrap().inline, [("theirs".to_owned(), None)].into());
    assert!(aws.of("GetRolePolicy").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_not_there_or_goes_between_the_calls_is_none() {
    for gone in ["GetRole", "ListAttachedRolePolicies", "ListRolePolicies"] {
        let aws = answering(move |seen| match seen.operation.as_str() {
            operation if operation == gone => refused_query(404, "NoSuchEntity", "no"),
            _ => iam(seen),
        });
        assert_eq!(read(&aws).await, Ok(None), "{gone}");
    }
    // At the last call it cannot be told from a policy that goes: the role is asked for once more.
    for (role_gone, expected) in [(true, None), (false, Some(["theirs".to_owned()]))] {
        let roles = Arc::new(AtomicUsize::new(0));
        let aws = answering(move |seen| match seen.operation.as_str() {
            "GetRolePolicy" => refused_query(404, "NoSuchEntity", "no"),
            "GetRole" if roles.fetch_add(1, Ordering::Relaxed) > 0 && role_gone => {
                refused_query(404, "NoSuchEntity", "no")
            }
            _ => iam(seen),
        });
        let inline = read(&aws).await.unwrap().map(|role| role.inline.into_keys().collect::<Vec<_>>());
        assert_eq!(inline, expected.map(Vec::from));
        assert_eq!(aws.of("GetRole").len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_cannot_be_read_whole_is_a_fault() {
    for broken in ["GetRole", "ListAttachedRolePolicies", "ListRolePolicies", "GetRolePolicy"] {
        for (answer, kind) in [
            (refused_query(403, "AccessDenied", "no"), FaultKind::Denied),
            (refused_query(500, "ServiceFailure", "no"), FaultKind::Transient),
            (Answer::Of(404, "<html>no such page</html>".into()), FaultKind::NotFound),
        ] {
            let aws = answering(move |seen| if seen.operation == broken { answer.clone() } else { iam(seen) });
            let fault = read(&aws).await.unwrap_err();
            assert_eq!((fault.kind, fault.operation.name()), (kind, broken));
        }
    }
    for (from, to) in [
        (TRUST_ON_THE_WIRE, ""),
        (TRUST_ON_THE_WIRE, "%FF%FE"),
        ("<RoleName>ssm-ready-node</RoleName>", "<RoleName/>"),
        ("<Path>/ops/</Path>", "<Path/>"),
    ] {
        let spoiled = role_xml("ssm-ready-node").replace(from, to);
        assert_ne!(spoiled, role_xml("ssm-ready-node"));
        let aws = answering(move |_| result("GetRole", &spoiled));
        assert_eq!(read(&aws).await.unwrap_err().kind, FaultKind::Invalid, "{from} {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_read_with_its_role() {
    let xml = |roles: &str| {
        format!(
            "<InstanceProfile><Path>/ops/</Path><InstanceProfileName>p</InstanceProfileName><InstanceProfileId>AIPA1\
             </InstanceProfileId><Arn>arn:aws:iam::111122223333:instance-profile/ops/p</Arn>\
             <CreateDate>2026-01-01T00:00:00Z</CreateDate><Roles>{roles}</Roles>\
             <Tags><member><Key>ssmready.dev/cluster</Key><Value>c1</Value></member></Tags></InstanceProfile>"
        )
    };
    let with = |role: Option<&str>| Profile {
        name: "p".into(),
        arn: "arn:aws:iam::111122223333:instance-profile/ops/p".into(),
        path: "/ops/".into(),
        role: role.map(Into::into),
        tags: tags(),
    };
    let member = role_xml("r").replace("<Role>", "<member>").replace("</Role>", "</member>");
    for (inner, expected) in [(xml(&member), with(Some("r"))), (xml(""), with(None))] {
        let aws = answering(move |_| result("GetInstanceProfile", &inner));
        assert_eq!(cloud(&aws).profile(&scope(), &"p".into()).await, Ok(Some(expected)));
        assert_eq!(aws.of("GetInstanceProfile")[0].field("InstanceProfileName"), "p");
    }
    let aws = answering(|_| refused_query(404, "NoSuchEntity", "no"));
    assert_eq!(cloud(&aws).profile(&scope(), &"p".into()).await, Ok(None));
    let aws = answering(|_| Answer::Of(404, "<html/>".into()));
    assert!(cloud(&aws).profile(&scope(), &"p".into()).await.is_err());
}

fn new_role() -> NewRole {
    NewRole {
        path: "/ops/".into(),
        trust: TRUST.into(),
        description: "for nodes".into(),
        boundary: Some(BOUNDARY.into()),
        tags: tags(),
    }
}

/// A change, the call that is made for it, and the fields that it has beside the name.
type Change = (Write, &'static str, Vec<(&'static str, &'static str)>);

fn changes() -> Vec<Change> {
    let role = |change| Write::Role { role: "r".into(), change };
    let profile = |change| Write::Profile { profile: "p".into(), change };
    let keys = || ["a".to_owned(), "b".to_owned()].into();
    let tag = [("Tags.member.1.Key", "ssmready.dev/cluster"), ("Tags.member.1.Value", "c1")];
    let key = [("TagKeys.member.1", "a"), ("TagKeys.member.2", "b")];
    vec![
        (
            role(RoleChange::Create(Box::new(new_role()))),
            "CreateRole",
            [
                ("Path", "/ops/"),
                ("AssumeRolePolicyDocument", TRUST),
                ("Description", "for nodes"),
                ("PermissionsBoundary", BOUNDARY),
            ]
            .into_iter()
            .chain(tag)
            .collect(),
        ),
        (role(RoleChange::Trust(TRUST.into())), "UpdateAssumeRolePolicy", vec![("PolicyDocument", TRUST)]),
        (role(RoleChange::Attach(CORE.into())), "AttachRolePolicy", vec![("PolicyArn", CORE)]),
        (role(RoleChange::Detach(CORE.into())), "DetachRolePolicy", vec![("PolicyArn", CORE)]),
        (
            role(RoleChange::PutInline("{}".into())),
            "PutRolePolicy",
            vec![("PolicyName", INLINE_POLICY), ("PolicyDocument", "{}")],
        ),
        (role(RoleChange::DeleteInline("old".into())), "DeleteRolePolicy", vec![("PolicyName", "old")]),
        (
            role(RoleChange::Boundary(BOUNDARY.into())),
            "PutRolePermissionsBoundary",
            vec![("PermissionsBoundary", BOUNDARY)],
        ),
        (role(RoleChange::Tag(tags())), "TagRole", tag.into()),
        (role(RoleChange::Untag(keys())), "UntagRole", key.into()),
        (role(RoleChange::Delete), "DeleteRole", vec![]),
        (
            profile(ProfileChange::Create { path: "/ops/".into(), tags: tags() }),
            "CreateInstanceProfile",
            [("Path", "/ops/")].into_iter().chain(tag).collect(),
        ),
        (profile(ProfileChange::AddRole("r".into())), "AddRoleToInstanceProfile", vec![("RoleName", "r")]),
        (profile(ProfileChange::RemoveRole("r".into())), "RemoveRoleFromInstanceProfile", vec![("RoleName", "r")]),
        (profile(ProfileChange::Tag(tags())), "TagInstanceProfile", tag.into()),
        (profile(ProfileChange::Untag(keys())), "UntagInstanceProfile", key.into()),
        (profile(ProfileChange::Delete), "DeleteInstanceProfile", vec![]),
    ]
}

/// IAM, which takes everything.
fn taking(seen: &Seen) -> Answer {
    let profile = "<InstanceProfile><Path>/ops/</Path><InstanceProfileName>p</InstanceProfileName><InstanceProfileId>x\
                   </InstanceProfileId><Arn>a</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate><Roles/></InstanceProfile>";
    match seen.operation.as_str() {
        "CreateRole" => result("CreateRole", &role_xml("r")),
        "CreateInstanceProfile" => result("CreateInstanceProfile", profile),
        name => ok(format!("<{name}Response/>")),
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_is_one_call_that_says_all_and_nothing_more() {
    for (write, operation, fields) in changes() {
        let aws = answering(taking);
        assert_eq!(cloud(&aws).write(&scope(), &write).await, Ok(Written::Done), "{write}");
        let seen: Vec<Seen> = aws.seen().into_iter().filter(|seen| seen.host == "iam.amazonaws.com").collect();
        assert_eq!((seen.len(), seen[0].operation.as_str()), (1, operation));
        let name = if matches!(write, Write::Role { .. }) { ("RoleName", "r") } else { ("InstanceProfileName", "p") };
        let mut sent: Vec<(&str, &str)> = seen[0].form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        sent.retain(|(field, _)| !["Action", "Version"].contains(field));
        let mut expected: Vec<(&str, &str)> = fields.into_iter().chain([name]).collect();
        expected.sort_unstable();
        assert_eq!(sent, expected, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_without_a_boundary_or_tags_is_made_without() {
    let aws = answering(taking);
    let new = NewRole { boundary: None, tags: [].into(), ..new_role() };
    let write = Write::Role { role: "r".into(), change: RoleChange::Create(Box::new(new)) };
    assert_eq!(cloud(&aws).write(&scope(), &write).await, Ok(Written::Done));
    let form = &aws.of("CreateRole")[0].form;
    assert!(!form.keys().any(|field| field.starts_with("Tags") || field == "PermissionsBoundary"), "{form:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_already_is_done_and_no_other_refusal() {
    const GONE_IS_DONE: [&str; 5] = [
        "DetachRolePolicy",
        "DeleteRolePolicy",
        "DeleteRole",
        "RemoveRoleFromInstanceProfile",
        "DeleteInstanceProfile",
    ];
    for (code, status, kind) in [
        ("NoSuchEntity", 404, FaultKind::NotFound),
        ("EntityAlreadyExists", 409, FaultKind::Conflict),
        ("DeleteConflict", 409, FaultKind::Conflict),
        ("LimitExceeded", 409, FaultKind::LimitExceeded),
        ("ConcurrentModification", 409, FaultKind::Conflict),
        ("EntityTemporarilyUnmodifiable", 409, FaultKind::Conflict),
        ("UnmodifiableEntity", 400, FaultKind::Conflict),
        ("MalformedPolicyDocument", 400, FaultKind::Invalid),
        ("PolicyNotAttachable", 400, FaultKind::Invalid),
        ("InvalidInput", 400, FaultKind::Invalid),
        ("AccessDenied", 403, FaultKind::Denied),
        ("Throttling", 400, FaultKind::Throttled),
        ("ServiceFailure", 500, FaultKind::Transient),
    ] {
        for (write, operation, _) in changes() {
            let done = code == "NoSuchEntity" && GONE_IS_DONE.contains(&operation);
            let aws = answering(move |_| refused_query(status, code, "no"));
            let written = cloud(&aws).write(&scope(), &write).await;
            assert_eq!(aws.of(operation).len(), 1, "{operation} {code}: once");
            match written {
                Ok(written) => assert!(done && written == Written::Done, "{operation} {code}"),
                Err(fault) => assert_eq!((fault.kind, done), (kind, false), "{operation} {code}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_answer_is_lost_is_not_made_again() {
    for (write, operation, _) in changes() {
        let aws = answering(|_| Answer::Lost);
        let fault = cloud(&aws).write(&scope(), &write).await.unwrap_err();
        assert_eq!((fault.operation.name(), fault.code.as_str()), (operation, NO_ANSWER));
        assert_eq!(aws.of(operation).len(), 1, "{operation}");
        // A page of whatever stands in between says nothing of what is there.
        let aws = answering(|_| Answer::Of(404, "<html/>".into()));
        assert!(cloud(&aws).write(&scope(), &write).await.is_err(), "{operation}");
    }
}

const ARN: &str = "arn:aws:iam::111122223333:role/ops/ssm-ready-node";

async fn ask(aws: &FakeAws) -> Result<Option<AgentPermissions>, ssm_ready_core::fault::Fault> {
    cloud(aws).agent_permissions(&scope(), &"ssm-ready-node".into()).await
}

#[tokio::test(start_paused = true)]
async fn what_a_role_allows_agents_is_asked_by_its_arn() {
    let aws = answering(|seen| match seen.operation.as_str() {
        "SimulatePrincipalPolicy" => result(
            "SimulatePrincipalPolicy",
            "<EvaluationResults><member><EvalActionName>ssm:UpdateInstanceInformation</EvalActionName>\
             <EvalDecision>allowed</EvalDecision></member><member><EvalActionName>ec2messages:GetMessages\
             </EvalActionName><EvalDecision>explicitDeny</EvalDecision></member><member><EvalActionName>\
             ssmmessages:OpenDataChannel</EvalActionName><EvalDecision>implicitDeny</EvalDecision>\
             <MissingContextValues><member>aws:SourceVpc</member></MissingContextValues></member>\
             </EvaluationResults><IsTruncated>false</IsTruncated>",
        ),
        _ => iam(seen),
    });
    let found = ask(&aws).await.unwrap().unwrap();
    let told = [(AgentAction::UpdateInstanceInformation, true), (AgentAction::GetMessages, false)];
    assert_eq!(found.allowed, told.into(), "what hangs on more than is known is left out");
    let seen = aws.of("SimulatePrincipalPolicy");
    assert_eq!((seen.len(), seen[0].field("PolicySourceArn")), (1, ARN));
    for (at, action) in AgentAction::ALL.into_iter().enumerate() {
        assert_eq!(seen[0].field(&format!("ActionNames.member.{}", at + 1)), action.iam_action());
    }
    assert!(aws.of("ListAttachedRolePolicies").is_empty());
}

#[tokio::test(start_paused = true)]
async fn policies_tell_what_a_role_allows_where_iam_may_not_be_asked() {
    for (status, code, told) in [
        (403, "AccessDenied", true),
        (400, "InvalidInput", true),
        (500, "PolicyEvaluation", true),
        (404, "NoSuchEntity", false),
    ] {
        let aws = answering(move |seen| match seen.operation.as_str() {
            "SimulatePrincipalPolicy" => refused_query(status, code, "no"),
            _ => iam(seen),
        });
        assert_eq!(ask(&aws).await, Ok(told.then(|| AgentPermissions::all(true))), "{code}");
    }
    // The next try may succeed: by the names of policies nothing is told meanwhile.
    let aws = answering(|seen| match seen.operation.as_str() {
        "SimulatePrincipalPolicy" => refused_query(400, "Throttling", "slow down"),
        _ => iam(seen),
    });
    assert_eq!(ask(&aws).await.unwrap_err().kind, FaultKind::Throttled);
    let aws = answering(|_| refused_query(404, "NoSuchEntity", "no"));
    assert_eq!((ask(&aws).await, aws.of("SimulatePrincipalPolicy").len()), (Ok(None), 0));
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_given_a_profile_by_its_arn() {
    let profile = "arn:aws:iam::111122223333:instance-profile/ops/p";
    let write = Write::AssociateProfile { instance: "i-1".into(), profile: profile.to_owned() };
    let aws = answering(|_| {
        ok("<AssociateIamInstanceProfileResponse><iamInstanceProfileAssociation><state>associating</state>\
            </iamInstanceProfileAssociation></AssociateIamInstanceProfileResponse>")
    });
    assert_eq!(cloud(&aws).write(&scope(), &write).await, Ok(Written::Done));
    let seen = aws.of("AssociateIamInstanceProfile");
    assert_eq!((seen.len(), seen[0].field("InstanceId"), seen[0].field("IamInstanceProfile.Arn")), (1, "i-1", profile));
    for (code, kind) in [("IncorrectState", FaultKind::Conflict), ("InvalidParameterValue", FaultKind::Invalid)] {
        let aws = answering(move |_| refused(400, code, "no"));
        assert_eq!(cloud(&aws).write(&scope(), &write).await.unwrap_err().kind, kind, "{code}");
        assert_eq!(aws.of("AssociateIamInstanceProfile").len(), 1, "{code}");
    }
}
