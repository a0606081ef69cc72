//! Roles and instance profiles.

use ssm_ready_core::{
    calls::Operation,
    facts::iam::{INLINE_POLICY, Profile, Role},
    fault::FaultKind,
    ids::{PolicyArn, ProfileName, RoleName},
    write::{NewRole, ProfileChange, RoleChange},
};

use super::*;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const INLINE: &str = r#"{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
const CORE: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
const OWN: &str = "arn:aws:iam::111122223333:policy/boundary";

pub(super) fn new_role() -> NewRole {
    NewRole {
        path: "/ssm-ready/".to_owned(),
        trust: TRUST.to_owned(),
        description: "of a test".to_owned(),
        boundary: None,
        tags: [("owner".to_owned(), "us".to_owned())].into(),
    }
}

pub(super) fn role(name: &str, change: RoleChange) -> Write {
    Write::Role { role: name.into(), change }
}

pub(super) fn profile(name: &str, change: ProfileChange) -> Write {
    Write::Profile { profile: name.into(), change }
}

pub(super) fn create_role(name: &str) -> Write {
    role(name, RoleChange::Create(Box::new(new_role())))
}

pub(super) fn create_profile(name: &str) -> Write {
    profile(name, ProfileChange::Create { path: "/ssm-ready/".to_owned(), tags: Tags::new() })
}

async fn seen(cloud: &SimCloud, name: &str) -> Option<Role> {
    cloud.role(&scope(), &name.into()).await.unwrap()
}

async fn seen_profile(cloud: &SimCloud, name: &str) -> Option<Profile> {
    cloud.profile(&scope(), &name.into()).await.unwrap()
}

fn in_iam<T>(place: &Place, look: impl FnOnce(&mut Iam) -> T) -> T {
    place.sim.with(|world| look(world.iam_mut(&account())))
}

#[tokio::test(start_paused = true)]
async fn a_role_is_made_changed_and_read_whole() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.sim.with(|world| world.add_policy(&account(), &OWN.into()));
    assert_eq!(seen(&cloud, "nodes").await, None);
    place.act(&create_role("nodes")).unwrap();
    let made = seen(&cloud, "nodes").await.unwrap();
    assert_eq!(made.arn, "arn:aws:iam::111122223333:role/ssm-ready/nodes");
    assert_eq!((made.path.as_str(), made.trust.as_str(), made.boundary), ("/ssm-ready/", TRUST, None));
    assert!(made.policies.is_empty() && made.inline.is_empty() && made.tags == new_role().tags);
    let trust = TRUST.replace("ec2.", "ssm.");
    for change in [
        RoleChange::Trust(trust.clone()),
        RoleChange::Attach(CORE.into()),
        RoleChange::Attach(CORE.into()),
        RoleChange::PutInline(INLINE.to_owned()),
        RoleChange::Boundary(OWN.into()),
        RoleChange::Tag([("more".to_owned(), "1".to_owned())].into()),
        RoleChange::Untag(["owner".to_owned()].into()),
    ] {
        place.act(&role("nodes", change)).unwrap();
    }
    place.sim.with(|world| {
        let name = RoleName::from("nodes");
        world.put_inline_policy(&Actor::Person, &account(), &region(), &name, "theirs", INLINE).unwrap();
    });
    let changed = seen(&cloud, "nodes").await.unwrap();
    assert_eq!((changed.trust, changed.boundary), (trust, Some(OWN.into())));
    assert_eq!(changed.policies, [CORE.into()].into());
    // The content of others' inline policies is not read.
    let inline = [(INLINE_POLICY.to_owned(), Some(INLINE.to_owned())), ("theirs".to_owned(), None)];
    assert_eq!(changed.inline, inline.into());
    assert_eq!(changed.tags, [("more".to_owned(), "1".to_owned())].into());
    let calls: Vec<&str> = place.sim.with(|world| world.journal.iter().map(|entry| entry.call).collect());
    let reads = ["GetRole", "ListAttachedRolePolicies", "ListRolePolicies", "GetRolePolicy"];
    assert_eq!(calls[calls.len() - 4..], reads);
    for change in [RoleChange::Detach(CORE.into()), RoleChange::DeleteInline(INLINE_POLICY.to_owned())] {
        let write = role("nodes", change);
        assert_eq!(place.code(&write), "Done");
        assert_eq!(place.code(&write), "Done", "what is gone is done");
    }
    assert!(seen(&cloud, "nodes").await.unwrap().policies.is_empty());
}

#[test]
fn names_are_had_once_whatever_the_path_and_the_case() {
    let place = place(Hand::default().clock(), 1);
    place.act(&create_role("nodes")).unwrap();
    let elsewhere = NewRole { path: "/".to_owned(), ..new_role() };
    for name in ["nodes", "NODES", "ssm-ready"] {
        let write = role(name, RoleChange::Create(Box::new(elsewhere.clone())));
        let fault = place.act(&write).unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("EntityAlreadyExists", FaultKind::Conflict), "{name}");
    }
    place.act(&create_profile("nodes")).unwrap();
    assert_eq!(place.code(&create_profile("Nodes")), "EntityAlreadyExists");
}

#[test]
fn iam_refuses_with_the_codes_that_it_documents() {
    let place = place(Hand::default().clock(), 1);
    place.act(&create_role("nodes")).unwrap();
    place.act(&create_profile("nodes")).unwrap();
    let bad = |change: fn(&mut NewRole)| {
        let mut new = new_role();
        change(&mut new);
        role("other", RoleChange::Create(Box::new(new)))
    };
    let none = PolicyArn::from("arn:aws:iam::111122223333:policy/none");
    for (write, code, kind) in [
        (create_role(&"n".repeat(65)), "ValidationError", FaultKind::Invalid),
        (create_role("a b"), "ValidationError", FaultKind::Invalid),
        (bad(|new| new.path = "/x".to_owned()), "ValidationError", FaultKind::Invalid),
        (bad(|new| new.description = "d".repeat(1001)), "ValidationError", FaultKind::Invalid),
        (bad(|new| new.trust = "{".to_owned()), "MalformedPolicyDocument", FaultKind::Invalid),
        (bad(|new| new.trust = INLINE.to_owned()), "MalformedPolicyDocument", FaultKind::Invalid),
        (bad(|new| new.trust = TRUST.replace("Allow", "Permit")), "MalformedPolicyDocument", FaultKind::Invalid),
        (bad(|new| new.trust = TRUST.replace("ec2", &"x".repeat(2048))), "LimitExceeded", FaultKind::LimitExceeded),
        (bad(|new| new.boundary = Some(OWN.into())), "NoSuchEntity", FaultKind::NotFound),
        (bad(|new| drop(new.tags.insert("aws:x".to_owned(), String::new()))), "InvalidInput", FaultKind::Invalid),
        (bad(|new| new.path = "/aws-service-role/x/".to_owned()), "AccessDenied", FaultKind::Denied),
        (role("none", RoleChange::Attach(CORE.into())), "NoSuchEntity", FaultKind::NotFound),
        (role("none", RoleChange::Trust(TRUST.to_owned())), "NoSuchEntity", FaultKind::NotFound),
        (role("none", RoleChange::Untag(BTreeSet::new())), "NoSuchEntity", FaultKind::NotFound),
        (role("nodes", RoleChange::Attach(none.clone())), "NoSuchEntity", FaultKind::NotFound),
        (role("nodes", RoleChange::Boundary(none)), "NoSuchEntity", FaultKind::NotFound),
        (role("nodes", RoleChange::Trust("[]".to_owned())), "MalformedPolicyDocument", FaultKind::Invalid),
        (role("nodes", RoleChange::PutInline(TRUST.to_owned())), "MalformedPolicyDocument", FaultKind::Invalid),
        (profile("none", ProfileChange::AddRole("nodes".into())), "NoSuchEntity", FaultKind::NotFound),
        (profile("nodes", ProfileChange::AddRole("none".into())), "NoSuchEntity", FaultKind::NotFound),
        (create_profile(&"p".repeat(129)), "ValidationError", FaultKind::Invalid),
    ] {
        let fault = place.act(&write).unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), (code, kind), "{write}");
    }
    for gone in [
        role("none", RoleChange::Delete),
        role("none", RoleChange::Detach(CORE.into())),
        profile("none", ProfileChange::Delete),
        profile("nodes", ProfileChange::RemoveRole("nodes".into())),
    ] {
        assert_eq!(place.code(&gone), "Done", "{gone}");
    }
    place.sim.with(|world| {
        let new = NewSimRole {
            path: "/aws-service-role/ssm.amazonaws.com/".to_owned(),
            ..NewSimRole::of_service("ssm.amazonaws.com")
        };
        world.add_iam_role(&Actor::Aws, &account(), &region(), &"AWSServiceRoleForAmazonSSM".into(), new);
    });
    let linked = role("AWSServiceRoleForAmazonSSM", RoleChange::Attach(CORE.into()));
    let fault = place.act(&linked).unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("UnmodifiableEntity", FaultKind::Conflict));
    place.sim.with(|world| world.check().unwrap());
}

#[test]
fn a_role_has_so_many_policies_and_an_account_so_many_roles() {
    let place = place(Hand::default().clock(), 1);
    in_iam(&place, |iam| {
        assert_eq!(
            iam.quotas,
            IamQuotas { roles: 1000, policies_per_role: 20, inline_characters: 10_240, ..iam.quotas }
        )
    });
    place.act(&create_role("nodes")).unwrap();
    let policy = |n: usize| PolicyArn::from(format!("arn:aws:iam::aws:policy/P{n}"));
    for n in 0..20 {
        place.act(&role("nodes", RoleChange::Attach(policy(n)))).unwrap();
    }
    assert_eq!(place.code(&role("nodes", RoleChange::Attach(policy(20)))), "LimitExceeded");
    place.act(&role("nodes", RoleChange::Attach(policy(3)))).unwrap();
    // White space is not counted, and all inline policies are together.
    let of = |length: usize| {
        let rest = INLINE.len() - 1;
        INLINE.replace("\"*\"", &format!("\"{}\"", "r".repeat(length - rest)))
    };
    let exactly = of(10_240);
    assert_eq!(exactly.len(), 10_240);
    let name = RoleName::from("nodes");
    let put = |name_of: &str, text: &str| {
        place.sim.with(|w| w.put_inline_policy(&Actor::Person, &account(), &region(), &name, name_of, text)).err()
    };
    assert_eq!(put("one", &exactly.replace(':', " :  ")), None);
    assert_eq!(put("one", &of(10_241)).unwrap().code, "LimitExceeded");
    assert_eq!(put("two", INLINE).unwrap().code, "LimitExceeded");
    assert_eq!(put("one", INLINE), None);
    assert_eq!(put("two", INLINE), None);
    in_iam(&place, |iam| iam.quotas.roles = iam.roles.len());
    let fault = place.act(&create_role("one-more")).unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("LimitExceeded", FaultKind::LimitExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_profile_has_one_role_and_both_go_only_when_empty() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    assert_eq!(seen_profile(&cloud, "nodes").await, None);
    for write in [create_role("nodes"), create_role("other"), create_profile("nodes")] {
        place.act(&write).unwrap();
    }
    let made = seen_profile(&cloud, "nodes").await.unwrap();
    assert_eq!((made.arn.as_str(), made.role), ("arn:aws:iam::111122223333:instance-profile/ssm-ready/nodes", None));
    place.act(&profile("nodes", ProfileChange::AddRole("nodes".into()))).unwrap();
    assert_eq!(seen_profile(&cloud, "nodes").await.unwrap().role, Some("nodes".into()));
    for another in ["nodes", "other"] {
        let fault = place.act(&profile("nodes", ProfileChange::AddRole(another.into()))).unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("LimitExceeded", FaultKind::LimitExceeded));
    }
    place.act(&role("nodes", RoleChange::Attach(CORE.into()))).unwrap();
    place.act(&role("nodes", RoleChange::PutInline(INLINE.to_owned()))).unwrap();
    let conflict = |write: &Write| {
        let fault = place.act(write).unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("DeleteConflict", FaultKind::Conflict), "{write}");
    };
    let (gone, profile_gone) = (role("nodes", RoleChange::Delete), profile("nodes", ProfileChange::Delete));
    conflict(&gone);
    place.act(&role("nodes", RoleChange::Detach(CORE.into()))).unwrap();
    conflict(&gone);
    place.act(&role("nodes", RoleChange::DeleteInline(INLINE_POLICY.to_owned()))).unwrap();
    conflict(&gone);
    conflict(&profile_gone);
    place.act(&profile("nodes", ProfileChange::RemoveRole("nodes".into()))).unwrap();
    place.act(&gone).unwrap();
    place.act(&profile_gone).unwrap();
    assert_eq!((seen(&cloud, "nodes").await, seen_profile(&cloud, "nodes").await), (None, None));
}

#[tokio::test(start_paused = true)]
async fn tags_come_and_go() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.act(&create_profile("nodes")).unwrap();
    let tags = |n: usize| (0..n).map(|n| (format!("k{n}"), "v".to_owned())).collect::<Tags>();
    place.act(&profile("nodes", ProfileChange::Tag(tags(50)))).unwrap();
    assert_eq!(place.code(&profile("nodes", ProfileChange::Tag(tags(51)))), "LimitExceeded");
    place.act(&profile("nodes", ProfileChange::Untag(tags(49).into_keys().collect()))).unwrap();
    let left = seen_profile(&cloud, "nodes").await.unwrap().tags;
    assert_eq!(left, [("k49".to_owned(), "v".to_owned())].into());
}

#[tokio::test(start_paused = true)]
async fn iam_spreads_the_word_slowly() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| {
        weather.visible_after = Span::seconds(10);
        weather.listed_after = Span::seconds(10);
        weather.fresh_not_found = 1.0;
    });
    for write in [create_role("nodes"), create_profile("nodes")] {
        cloud.write(&scope(), &write).await.unwrap();
    }
    assert_eq!((seen(&cloud, "nodes").await, seen_profile(&cloud, "nodes").await), (None, None));
    assert_eq!(place.code(&role("nodes", RoleChange::Attach(CORE.into()))), "NoSuchEntity");
    assert_eq!(place.code(&create_role("nodes")), "EntityAlreadyExists");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(seen(&cloud, "nodes").await.is_some() && seen_profile(&cloud, "nodes").await.is_some());
    for write in [role("nodes", RoleChange::Delete), profile("nodes", ProfileChange::Delete)] {
        cloud.write(&scope(), &write).await.unwrap();
    }
    assert!(seen(&cloud, "nodes").await.is_some() && seen_profile(&cloud, "nodes").await.is_some());
    // A new one of the name is another, and the old one is no longer shown.
    place.act(&create_role("nodes")).unwrap();
    assert_eq!(seen(&cloud, "nodes").await, None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(seen(&cloud, "nodes").await.is_some());
    assert_eq!(seen_profile(&cloud, "nodes").await, None);
}

#[tokio::test(start_paused = true)]
async fn iam_is_one_for_all_regions_and_has_a_rate_of_its_own() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let elsewhere = Scope { region: "eu-central-1".parse().unwrap(), ..scope() };
    place.sim.with(|world| {
        world.add_region(&account(), &elsewhere.region, Offer::default());
    });
    cloud.write(&scope(), &create_profile("nodes")).await.unwrap();
    assert!(cloud.profile(&elsewhere, &"nodes".into()).await.unwrap().is_some());
    place.sim.with(|world| world.drain_bucket(&account(), &region(), ssm_ready_core::calls::Bucket::Iam));
    let fault = cloud.profile(&elsewhere, &"nodes".into()).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("Throttling", FaultKind::Throttled));
    cloud.vpcs(&scope()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_write_needs_its_action_and_some_need_another() {
    let place = place(tokio_clock(), 1);
    place.weather(|weather| weather.iam_propagation = Span::ZERO);
    place.act(&create_role("there")).unwrap();
    place.act(&create_profile("there")).unwrap();
    let tagged = ProfileChange::Create { path: "/".to_owned(), tags: new_role().tags };
    for (denied, write) in [
        (Some(Operation::CreateRole), create_role("nodes")),
        (Some(Operation::TagRole), create_role("nodes")),
        (Some(Operation::TagInstanceProfile), profile("nodes", tagged)),
        (Some(Operation::AttachRolePolicy), role("there", RoleChange::Attach(CORE.into()))),
        (Some(Operation::AddRoleToInstanceProfile), profile("there", ProfileChange::AddRole("there".into()))),
        (None, profile("there", ProfileChange::AddRole("there".into()))),
    ] {
        let cloud = place.sim.cloud(Arc::new(Open));
        place.sim.with(|world| {
            world.set_denied(&account(), ROLE, denied);
            world.set_pass_role(&account(), ROLE, denied.is_some());
        });
        let fault = cloud.write(&scope(), &write).await.unwrap_err();
        assert_eq!((fault.code.as_str(), fault.kind), ("AccessDenied", FaultKind::Denied), "{write}");
        assert_eq!(fault.operation, write.operation());
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let read_only = Scope { principal: Principal { read_only: true, ..principal() }, ..scope() };
    let cloud = place.sim.cloud(Arc::new(Open));
    assert!(cloud.role(&read_only, &"there".into()).await.unwrap().is_some());
    assert_eq!(cloud.write(&read_only, &create_role("x")).await.unwrap_err().code, "AccessDenied");
}

#[tokio::test(start_paused = true)]
async fn a_change_while_another_is_under_way_is_refused() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| weather.contended = 1.0);
    let fault = cloud.write(&scope(), &create_role("nodes")).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("ConcurrentModification", FaultKind::Conflict));
    assert_eq!(seen(&cloud, "nodes").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_a_role_behind() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.weather(|weather| {
        weather.planned.push(Planned { operation: Operation::CreateRole, what: Injected::LostAnswer });
    });
    let fault = cloud.write(&scope(), &create_role("nodes")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Transient);
    let made = place.sim.with(|world| world.journal.last().cloned()).unwrap();
    assert!(made.took_effect && made.answer_lost);
    assert_eq!(cloud.write(&scope(), &create_role("nodes")).await.unwrap_err().code, "EntityAlreadyExists");
}

#[tokio::test(start_paused = true)]
async fn the_role_that_is_taken_on_is_in_iam_and_both_go_together() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let own = seen(&cloud, "ssm-ready").await.unwrap();
    assert_eq!((own.arn.as_str(), own.path.as_str()), (ROLE, "/"));
    place.sim.with(|w| w.destroy_role(&Actor::Person, &account(), &region(), &"ssm-ready".into()).unwrap());
    place.sim.with(|world| world.check().unwrap());
    // And so it does past all rules.
    place.sim.with(|world| {
        world.add_role(&account(), ROLE, Some("tenant"));
        let (profile, role) = (ProfileName::from("x"), Some(RoleName::from("ssm-ready")));
        world.add_profile(&Actor::Person, &account(), &region(), &profile, "/", role, Tags::new());
        world.check().unwrap();
        world.remove_role(&account(), ROLE);
        world.check().unwrap();
    });
    assert_eq!(cloud.role(&scope(), &"x".into()).await.unwrap_err().kind, FaultKind::Denied);
}

#[tokio::test(start_paused = true)]
async fn others_have_roles_and_profiles_of_their_own() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    let (name, profile_name) = (RoleName::from("nodes"), ProfileName::from("nodes"));
    place.sim.with(|world| {
        let new = NewSimRole {
            policies: [CORE.into()].into(),
            inline: [("theirs".to_owned(), INLINE.to_owned())].into(),
            boundary: Some(CORE.into()),
            ..NewSimRole::of_service("ec2.amazonaws.com")
        };
        world.add_iam_role(&Actor::Terraform, &account(), &region(), &name, new);
        let tags = Tags::new();
        world.add_profile(&Actor::Terraform, &account(), &region(), &profile_name, "/", Some(name.clone()), tags);
    });
    assert_eq!(seen(&cloud, "nodes").await.unwrap().trust, TRUST);
    // Past sight and rates, but not past the journal.
    cloud.write(&scope(), &role("nodes", RoleChange::Tag(new_role().tags))).await.unwrap();
    let touched = place.sim.with(|world| world.journal.last().unwrap().touched[0].clone());
    assert_eq!((touched.kind, touched.id.as_str(), touched.made_by), (ThingKind::Role, "nodes", Actor::Terraform));
    assert!(touched.tags.is_empty() && touched.vpc.is_none());
    cloud.write(&scope(), &profile("nodes", ProfileChange::Tag(new_role().tags))).await.unwrap();
    let touched = place.sim.with(|world| world.journal.last().unwrap().touched[0].clone());
    assert_eq!((touched.kind, touched.value.as_deref()), (ThingKind::Profile, Some("nodes")));
    place.sim.with(|world| {
        world.remove_boundary(&Actor::Person, &account(), &region(), &name).unwrap();
        let fault = world.remove_boundary(&Actor::Person, &account(), &region(), &"none".into()).unwrap_err();
        assert_eq!(fault.code, "NoSuchEntity");
        assert!(world.journal.last().unwrap().refused());
        assert_eq!(world.iam_mut(&account()).roles[&name].boundary, None);
        world.destroy_role(&Actor::Person, &account(), &region(), &name).unwrap();
        world.check().unwrap();
        assert_eq!(world.iam_mut(&account()).profiles[&profile_name].role, None);
        world.destroy_profile(&Actor::Person, &account(), &region(), &profile_name).unwrap();
    });
    assert_eq!((seen(&cloud, "nodes").await, seen_profile(&cloud, "nodes").await), (None, None));
}

#[tokio::test(start_paused = true)]
async fn instances_say_which_profile_they_have() {
    let place = place(tokio_clock(), 1);
    let cloud = place.sim.cloud(Arc::new(Open));
    place.act(&create_profile("nodes")).unwrap();
    let new = NewInstance { profile: Some("nodes".into()), ..NewInstance::default() };
    let id = place.sim.with(|world| world.add_instance(&account(), &region(), &place.subnets[0], new));
    let arn = async || cloud.instances(&scope()).await.unwrap()[0].profile.clone();
    assert_eq!(arn().await.as_deref(), Some("arn:aws:iam::111122223333:instance-profile/ssm-ready/nodes"));
    let give = |profile: Option<&ProfileName>| {
        place.sim.with(|w| w.set_instance_profile(&Actor::Person, &account(), &region(), &id, profile));
    };
    give(None);
    assert_eq!(arn().await, None);
    // Nobody looks whether it is there.
    give(Some(&"gone".into()));
    assert_eq!(arn().await.as_deref(), Some("arn:aws:iam::111122223333:instance-profile/gone"));
    place.act(&profile("nodes", ProfileChange::Delete)).unwrap();
}

#[test]
fn arns_are_of_the_partition() {
    let place = place(Hand::default().clock(), 1);
    let region: Region = "cn-north-1".parse().unwrap();
    place.sim.with(|world| {
        world.add_region(&account(), &region, Offer::default());
        world.act(&Actor::Person, &account(), &region, &create_role("nodes")).unwrap();
        let arn = world.iam_mut(&account()).roles[&RoleName::from("nodes")].arn.clone();
        assert_eq!(arn, "arn:aws-cn:iam::111122223333:role/ssm-ready/nodes");
    });
}
