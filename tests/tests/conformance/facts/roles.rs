//! Roles and instance profiles (domain 3 and 5).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Tags,
        iam::{AgentAction, AgentPermissions, INLINE_POLICY, Profile, Role},
    },
    fault::{FaultKind, NO_ANSWER},
    ids::{InstanceId, PolicyArn, ProfileName},
    write::{NewRole, ProfileChange, RoleChange, Write},
};

use crate::{
    lab::{ELSEWHERE, Lab, Launch, Rule, Weather},
    stage::{Desk, Stage, refused, refused_as, tags},
};

facts!(
    what_is_not_there_is_none,
    a_role_is_made_whole,
    a_roles_name_is_had_once_whatever_its_path,
    a_trust_policy_is_replaced,
    a_trust_policy_has_to_be_one,
    managed_policies_are_attached_and_detached,
    a_managed_policy_has_to_be_there,
    managed_policies_of_a_role_are_limited,
    the_inline_policy_is_written_and_removed,
    inline_policies_of_others_are_named,
    inline_policies_are_limited,
    a_boundary_is_set,
    tags_of_a_role_come_and_go,
    a_role_is_deleted_only_when_nothing_is_left_of_it,
    a_profile_is_made_whole,
    a_profiles_name_is_had_once,
    a_profile_has_one_role_at_most,
    a_profile_wants_a_role_that_is_there,
    a_profile_is_deleted_only_without_role,
    tags_of_a_profile_come_and_go,
    what_is_gone_is_deleted_already,
    what_is_not_there_is_not_changed,
    iam_is_the_same_in_all_regions,
    a_fresh_role_is_not_seen_at_once,
    a_denied_call_to_iam_names_its_action,
    a_tagged_creation_in_iam_needs_the_permission_to_tag,
    a_role_whose_answer_is_lost_was_made,
    iam_is_throttled_as_iam_does_it,
    an_instance_tells_its_profile,
    an_instance_gets_a_profile_once,
    a_profile_that_ec2_has_not_heard_of_is_given_to_nobody,
    what_a_role_allows_agents_is_told,
    without_simulation_the_names_of_policies_tell,
);

const PATH: &str = "/ssm-ready/";
const CORE: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
const AGENT: &str = "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy";

fn trust(service: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}]}}"#
    )
}

fn statement(resource: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:GetObject","Resource":"{resource}"}}]}}"#
    )
}

fn new_role() -> NewRole {
    NewRole {
        path: PATH.to_owned(),
        trust: trust("ec2.amazonaws.com"),
        description: "of a case".to_owned(),
        boundary: None,
        tags: Tags::new(),
    }
}

fn role(name: &str, change: RoleChange) -> Write {
    Write::Role { role: name.into(), change }
}

fn create(name: &str, new: NewRole) -> Write {
    role(name, RoleChange::Create(Box::new(new)))
}

fn profile(name: &str, change: ProfileChange) -> Write {
    Write::Profile { profile: name.into(), change }
}

fn create_profile(name: &str, tags: Tags) -> Write {
    profile(name, ProfileChange::Create { path: PATH.to_owned(), tags })
}

async fn seen(desk: &Desk<'_>, name: &str) -> Result<Role> {
    desk.cloud().await.role(&desk.scope, &name.into()).await?.with_context(|| format!("there is no role {name}"))
}

async fn seen_profile(desk: &Desk<'_>, name: &str) -> Result<Profile> {
    desk.cloud().await.profile(&desk.scope, &name.into()).await?.with_context(|| format!("there is no profile {name}"))
}

/// A place that has a role `nodes`.
async fn with_role(lab: &dyn Lab) -> Result<Desk<'_>> {
    let desk = Desk::set(lab).await?;
    desk.done(create("nodes", new_role())).await?;
    Ok(desk)
}

/// A place that has a role and a profile `nodes`, apart.
async fn with_profile(lab: &dyn Lab) -> Result<Desk<'_>> {
    let desk = with_role(lab).await?;
    desk.done(create_profile("nodes", Tags::new())).await?;
    Ok(desk)
}

/// The same JSON, whatever its text.
fn same(one: &str, other: &str) -> Result<()> {
    let parse = serde_json::from_str::<serde_json::Value>;
    assert_eq!(parse(one)?, parse(other)?);
    Ok(())
}

/// `NoSuchEntity`.
async fn what_is_not_there_is_none(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    assert_eq!(desk.cloud().await.role(&desk.scope, &"nodes".into()).await?, None);
    assert_eq!(desk.cloud().await.profile(&desk.scope, &"nodes".into()).await?, None);
    Ok(())
}

async fn a_role_is_made_whole(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let boundary = lab.policy(&desk.at, "boundary").await?;
    let owner = tags(&[("owner", "us"), ("with space", "a+b=c")]);
    desk.done(create("nodes", NewRole { boundary: Some(boundary.clone()), tags: owner.clone(), ..new_role() })).await?;
    let made = seen(&desk, "nodes").await?;
    assert_eq!(made.name.as_str(), "nodes");
    assert_eq!(made.arn, format!("arn:aws:iam::{}:role/ssm-ready/nodes", desk.at.account));
    assert_eq!((made.path.as_str(), made.boundary.as_ref()), (PATH, Some(&boundary)));
    same(&made.trust, &trust("ec2.amazonaws.com"))?;
    ensure!(made.policies.is_empty() && made.inline.is_empty() && made.tags == owner, "{made:?}");
    assert_eq!(made.setting_value(), "ssm-ready/nodes");
    Ok(())
}

/// `EntityAlreadyExists`.
async fn a_roles_name_is_had_once_whatever_its_path(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    for path in [PATH, "/"] {
        let again = desk.write(create("nodes", NewRole { path: path.to_owned(), ..new_role() })).await;
        refused_as(FaultKind::Conflict, "EntityAlreadyExists", again)?;
    }
    assert_eq!(seen(&desk, "nodes").await?.path, PATH);
    Ok(())
}

async fn a_trust_policy_is_replaced(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    desk.done(role("nodes", RoleChange::Trust(trust("ssm.amazonaws.com")))).await?;
    same(&seen(&desk, "nodes").await?.trust, &trust("ssm.amazonaws.com"))
}

/// `MalformedPolicyDocument`; and 2,048 characters at most.
async fn a_trust_policy_has_to_be_one(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    for wrong in ["no JSON".to_owned(), "{}".to_owned(), statement("*")] {
        let made = desk.write(create("other", NewRole { trust: wrong.clone(), ..new_role() })).await;
        refused_as(FaultKind::Invalid, "MalformedPolicyDocument", made)?;
        let changed = desk.write(role("nodes", RoleChange::Trust(wrong))).await;
        refused_as(FaultKind::Invalid, "MalformedPolicyDocument", changed)?;
    }
    let long = trust(&format!("{}.amazonaws.com", "x".repeat(2048)));
    refused_as(FaultKind::LimitExceeded, "LimitExceeded", desk.write(role("nodes", RoleChange::Trust(long))).await)?;
    same(&seen(&desk, "nodes").await?.trust, &new_role().trust)?;
    assert_eq!(desk.cloud().await.role(&desk.scope, &"other".into()).await?, None);
    Ok(())
}

async fn managed_policies_are_attached_and_detached(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    let own = lab.policy(&desk.at, "own").await?;
    // What is attached already stays so.
    for policy in [CORE, AGENT, own.as_str(), CORE] {
        desk.done(role("nodes", RoleChange::Attach(policy.into()))).await?;
    }
    assert_eq!(seen(&desk, "nodes").await?.policies, [CORE.into(), AGENT.into(), own].into());
    for _ in 0..2 {
        desk.done(role("nodes", RoleChange::Detach(CORE.into()))).await?;
    }
    ensure!(!seen(&desk, "nodes").await?.policies.contains(&PolicyArn::from(CORE)));
    Ok(())
}

async fn a_managed_policy_has_to_be_there(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    let none = PolicyArn::from(format!("arn:aws:iam::{}:policy/none", desk.at.account));
    for change in [RoleChange::Attach(none.clone()), RoleChange::Boundary(none)] {
        refused_as(FaultKind::NotFound, "NoSuchEntity", desk.write(role("nodes", change)).await)?;
    }
    let made = seen(&desk, "nodes").await?;
    ensure!(made.policies.is_empty() && made.boundary.is_none(), "{made:?}");
    Ok(())
}

/// `LimitExceeded`: 20 by default.
async fn managed_policies_of_a_role_are_limited(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    lab.rule(&desk.at, Rule::RolePolicies(1)).await?;
    desk.done(role("nodes", RoleChange::Attach(CORE.into()))).await?;
    let more = desk.write(role("nodes", RoleChange::Attach(AGENT.into()))).await;
    refused_as(FaultKind::LimitExceeded, "LimitExceeded", more)?;
    desk.done(role("nodes", RoleChange::Attach(CORE.into()))).await?;
    assert_eq!(seen(&desk, "nodes").await?.policies, [CORE.into()].into());
    Ok(())
}

async fn the_inline_policy_is_written_and_removed(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    for resource in ["arn:aws:s3:::one/*", "arn:aws:s3:::two/*"] {
        desk.done(role("nodes", RoleChange::PutInline(statement(resource)))).await?;
        let inline = seen(&desk, "nodes").await?.inline;
        assert_eq!(inline.len(), 1);
        same(inline[INLINE_POLICY].as_deref().context("not read")?, &statement(resource))?;
    }
    let wrong = desk.write(role("nodes", RoleChange::PutInline("no JSON".to_owned()))).await;
    refused_as(FaultKind::Invalid, "MalformedPolicyDocument", wrong)?;
    for _ in 0..2 {
        desk.done(role("nodes", RoleChange::DeleteInline(INLINE_POLICY.to_owned()))).await?;
    }
    ensure!(seen(&desk, "nodes").await?.inline.is_empty());
    Ok(())
}

async fn inline_policies_of_others_are_named(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    lab.foreign_inline(&desk.at, "nodes", "theirs", &statement("*")).await?;
    assert_eq!(seen(&desk, "nodes").await?.inline, [("theirs".to_owned(), None)].into());
    desk.done(role("nodes", RoleChange::DeleteInline("theirs".to_owned()))).await?;
    ensure!(seen(&desk, "nodes").await?.inline.is_empty());
    Ok(())
}

/// 10,240 characters of all of them together, white space not counted.
async fn inline_policies_are_limited(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    let bucket = "arn:aws:s3:::";
    let of = |length: usize| statement(&format!("{bucket}{}", "r".repeat(length - statement(bucket).len())));
    desk.done(role("nodes", RoleChange::PutInline(of(10_240).replace(",\"", " ,\n  \"")))).await?;
    let more = desk.write(role("nodes", RoleChange::PutInline(of(10_241)))).await;
    refused_as(FaultKind::LimitExceeded, "LimitExceeded", more)?;
    ensure!(lab.foreign_inline(&desk.at, "nodes", "theirs", &statement("*")).await.is_err(), "there is no room");
    desk.done(role("nodes", RoleChange::PutInline(of(1_000)))).await?;
    lab.foreign_inline(&desk.at, "nodes", "theirs", &of(9_000)).await?;
    let more = desk.write(role("nodes", RoleChange::PutInline(of(1_241)))).await;
    refused_as(FaultKind::LimitExceeded, "LimitExceeded", more).map(drop)
}

async fn a_boundary_is_set(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    for name in ["one", "two"] {
        let boundary = lab.policy(&desk.at, name).await?;
        desk.done(role("nodes", RoleChange::Boundary(boundary.clone()))).await?;
        assert_eq!(seen(&desk, "nodes").await?.boundary, Some(boundary));
    }
    Ok(())
}

async fn tags_of_a_role_come_and_go(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    desk.done(create("nodes", NewRole { tags: tags(&[("a", "1"), ("b", "2")]), ..new_role() })).await?;
    desk.done(role("nodes", RoleChange::Tag(tags(&[("b", "3"), ("c", "4")])))).await?;
    desk.done(role("nodes", RoleChange::Untag(["a".to_owned(), "never".to_owned()].into()))).await?;
    assert_eq!(seen(&desk, "nodes").await?.tags, tags(&[("b", "3"), ("c", "4")]));
    Ok(())
}

/// `DeleteConflict`: managed and inline policies, and profiles, come first.
async fn a_role_is_deleted_only_when_nothing_is_left_of_it(lab: &dyn Lab) -> Result<()> {
    let desk = with_profile(lab).await?;
    let steps = [
        (role("nodes", RoleChange::Attach(CORE.into())), role("nodes", RoleChange::Detach(CORE.into()))),
        (
            role("nodes", RoleChange::PutInline(statement("*"))),
            role("nodes", RoleChange::DeleteInline(INLINE_POLICY.to_owned())),
        ),
        (
            profile("nodes", ProfileChange::AddRole("nodes".into())),
            profile("nodes", ProfileChange::RemoveRole("nodes".into())),
        ),
    ];
    for (on, off) in steps {
        desk.done(on).await?;
        let gone = desk.write(role("nodes", RoleChange::Delete)).await;
        refused_as(FaultKind::Conflict, "DeleteConflict", gone)?;
        desk.done(off).await?;
    }
    desk.done(role("nodes", RoleChange::Delete)).await?;
    assert_eq!(desk.cloud().await.role(&desk.scope, &"nodes".into()).await?, None);
    Ok(())
}

async fn a_profile_is_made_whole(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    desk.done(create_profile("nodes", tags(&[("owner", "us")]))).await?;
    let expected = Profile {
        name: "nodes".into(),
        arn: format!("arn:aws:iam::{}:instance-profile/ssm-ready/nodes", desk.at.account),
        path: PATH.to_owned(),
        role: None,
        tags: tags(&[("owner", "us")]),
    };
    assert_eq!(seen_profile(&desk, "nodes").await?, expected);
    Ok(())
}

async fn a_profiles_name_is_had_once(lab: &dyn Lab) -> Result<()> {
    let desk = with_profile(lab).await?;
    let elsewhere = ProfileChange::Create { path: "/".to_owned(), tags: Tags::new() };
    refused_as(FaultKind::Conflict, "EntityAlreadyExists", desk.write(profile("nodes", elsewhere)).await)?;
    assert_eq!(seen_profile(&desk, "nodes").await?.path, PATH);
    Ok(())
}

/// `LimitExceeded`, also for the role that is in it.
async fn a_profile_has_one_role_at_most(lab: &dyn Lab) -> Result<()> {
    let desk = with_profile(lab).await?;
    desk.done(create("other", new_role())).await?;
    desk.done(profile("nodes", ProfileChange::AddRole("nodes".into()))).await?;
    for name in ["other", "nodes"] {
        let more = desk.write(profile("nodes", ProfileChange::AddRole(name.into()))).await;
        refused_as(FaultKind::LimitExceeded, "LimitExceeded", more)?;
    }
    assert_eq!(seen_profile(&desk, "nodes").await?.role, Some("nodes".into()));
    desk.done(profile("nodes", ProfileChange::RemoveRole("nodes".into()))).await?;
    assert_eq!(seen_profile(&desk, "nodes").await?.role, None);
    desk.done(profile("nodes", ProfileChange::AddRole("other".into()))).await?;
    assert_eq!(seen_profile(&desk, "nodes").await?.role, Some("other".into()));
    Ok(())
}

async fn a_profile_wants_a_role_that_is_there(lab: &dyn Lab) -> Result<()> {
    let desk = with_profile(lab).await?;
    let none = desk.write(profile("nodes", ProfileChange::AddRole("none".into()))).await;
    refused_as(FaultKind::NotFound, "NoSuchEntity", none)?;
    assert_eq!(seen_profile(&desk, "nodes").await?.role, None);
    Ok(())
}

async fn a_profile_is_deleted_only_without_role(lab: &dyn Lab) -> Result<()> {
    let desk = with_profile(lab).await?;
    desk.done(profile("nodes", ProfileChange::AddRole("nodes".into()))).await?;
    let gone = desk.write(profile("nodes", ProfileChange::Delete)).await;
    refused_as(FaultKind::Conflict, "DeleteConflict", gone)?;
    desk.done(profile("nodes", ProfileChange::RemoveRole("nodes".into()))).await?;
    desk.done(profile("nodes", ProfileChange::Delete)).await?;
    assert_eq!(desk.cloud().await.profile(&desk.scope, &"nodes".into()).await?, None);
    // The role is nothing of its.
    seen(&desk, "nodes").await.map(drop)
}

async fn tags_of_a_profile_come_and_go(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    desk.done(create_profile("nodes", tags(&[("a", "1"), ("b", "2")]))).await?;
    desk.done(profile("nodes", ProfileChange::Tag(tags(&[("b", "3"), ("c", "4")])))).await?;
    desk.done(profile("nodes", ProfileChange::Untag(["a".to_owned(), "never".to_owned()].into()))).await?;
    assert_eq!(seen_profile(&desk, "nodes").await?.tags, tags(&[("b", "3"), ("c", "4")]));
    Ok(())
}

/// `NoSuchEntity`, which the port takes for what was asked.
async fn what_is_gone_is_deleted_already(lab: &dyn Lab) -> Result<()> {
    let desk = with_profile(lab).await?;
    for write in [
        role("none", RoleChange::Delete),
        role("none", RoleChange::Detach(CORE.into())),
        role("none", RoleChange::DeleteInline(INLINE_POLICY.to_owned())),
        profile("none", ProfileChange::Delete),
        profile("nodes", ProfileChange::RemoveRole("nodes".into())),
    ] {
        desk.done(write).await?;
    }
    Ok(())
}

async fn what_is_not_there_is_not_changed(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for write in [
        role("none", RoleChange::Trust(trust("ec2.amazonaws.com"))),
        role("none", RoleChange::Attach(CORE.into())),
        role("none", RoleChange::PutInline(statement("*"))),
        role("none", RoleChange::Boundary(CORE.into())),
        role("none", RoleChange::Tag(tags(&[("a", "1")]))),
        role("none", RoleChange::Untag(["a".to_owned()].into())),
        profile("none", ProfileChange::AddRole("none".into())),
        profile("none", ProfileChange::Tag(tags(&[("a", "1")]))),
        profile("none", ProfileChange::Untag(["a".to_owned()].into())),
    ] {
        let operation = write.operation();
        let fault = refused_as(FaultKind::NotFound, "NoSuchEntity", desk.write(write).await)?;
        assert_eq!(fault.operation, operation);
    }
    Ok(())
}

async fn iam_is_the_same_in_all_regions(lab: &dyn Lab) -> Result<()> {
    let desk = with_profile(lab).await?;
    let elsewhere = desk.at.in_region(ELSEWHERE)?.scope();
    let here = seen(&desk, "nodes").await?;
    assert_eq!(desk.cloud().await.role(&elsewhere, &"nodes".into()).await?, Some(here));
    ensure!(desk.cloud().await.profile(&elsewhere, &"nodes".into()).await?.is_some());
    let other = Desk::set(lab).await?;
    assert_eq!(other.cloud().await.role(&other.scope, &"nodes".into()).await?, None);
    Ok(())
}

/// Only its name is taken at once.
async fn a_fresh_role_is_not_seen_at_once(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let delay = Duration::from_secs(120);
    lab.rule(&desk.at, Rule::VisibleAfter(delay)).await?;
    desk.done(create("nodes", new_role())).await?;
    desk.done(create_profile("nodes", Tags::new())).await?;
    assert_eq!(desk.cloud().await.role(&desk.scope, &"nodes".into()).await?, None);
    assert_eq!(desk.cloud().await.profile(&desk.scope, &"nodes".into()).await?, None);
    let early = desk.write(role("nodes", RoleChange::Attach(CORE.into()))).await;
    refused_as(FaultKind::NotFound, "NoSuchEntity", early)?;
    refused_as(FaultKind::Conflict, "EntityAlreadyExists", desk.write(create("nodes", new_role())).await)?;
    desk.pass(delay).await?;
    seen(&desk, "nodes").await?;
    seen_profile(&desk, "nodes").await?;
    desk.done(role("nodes", RoleChange::Attach(CORE.into()))).await
}

/// `AccessDenied`. Of a role's reads each by itself.
async fn a_denied_call_to_iam_names_its_action(lab: &dyn Lab) -> Result<()> {
    let desk = with_profile(lab).await?;
    desk.done(role("nodes", RoleChange::PutInline(statement("*")))).await?;
    for operation in
        [Operation::GetRole, Operation::ListAttachedRolePolicies, Operation::ListRolePolicies, Operation::GetRolePolicy]
    {
        lab.weather(&desk.at, operation, Weather::Denied).await?;
        let fault = refused(FaultKind::Denied, desk.cloud().await.role(&desk.scope, &"nodes".into()).await)?;
        assert_eq!(fault.operation, operation);
        lab.clear_weather(&desk.at).await?;
    }
    for write in [
        create("other", new_role()),
        role("nodes", RoleChange::Trust(trust("ssm.amazonaws.com"))),
        role("nodes", RoleChange::Attach(CORE.into())),
        role("nodes", RoleChange::Detach(CORE.into())),
        role("nodes", RoleChange::PutInline(statement("other"))),
        role("nodes", RoleChange::DeleteInline(INLINE_POLICY.to_owned())),
        role("nodes", RoleChange::Boundary(CORE.into())),
        role("nodes", RoleChange::Tag(tags(&[("a", "1")]))),
        role("nodes", RoleChange::Untag(["a".to_owned()].into())),
        role("nodes", RoleChange::Delete),
        create_profile("other", Tags::new()),
        profile("nodes", ProfileChange::AddRole("nodes".into())),
        profile("nodes", ProfileChange::RemoveRole("nodes".into())),
        profile("nodes", ProfileChange::Tag(tags(&[("a", "1")]))),
        profile("nodes", ProfileChange::Untag(["a".to_owned()].into())),
        profile("nodes", ProfileChange::Delete),
    ] {
        let operation = write.operation();
        lab.weather(&desk.at, operation, Weather::Denied).await?;
        assert_eq!(refused(FaultKind::Denied, desk.write(write).await)?.operation, operation);
    }
    lab.clear_weather(&desk.at).await?;
    let left = seen(&desk, "nodes").await?;
    ensure!(left.policies.is_empty() && left.tags.is_empty() && left.boundary.is_none(), "{left:?}");
    assert_eq!(seen_profile(&desk, "nodes").await?.role, None);
    Ok(())
}

/// `iam:TagRole` and `iam:TagInstanceProfile` (8).
async fn a_tagged_creation_in_iam_needs_the_permission_to_tag(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    for operation in [Operation::TagRole, Operation::TagInstanceProfile] {
        lab.weather(&desk.at, operation, Weather::Denied).await?;
    }
    let owner = tags(&[("owner", "us")]);
    refused(FaultKind::Denied, desk.write(create("nodes", NewRole { tags: owner.clone(), ..new_role() })).await)?;
    refused(FaultKind::Denied, desk.write(create_profile("nodes", owner)).await)?;
    // It is about the tags alone.
    desk.done(create("nodes", new_role())).await?;
    desk.done(create_profile("nodes", Tags::new())).await
}

async fn a_role_whose_answer_is_lost_was_made(lab: &dyn Lab) -> Result<()> {
    let desk = Desk::set(lab).await?;
    let owner = tags(&[("owner", "us")]);
    let new = || NewRole { tags: tags(&[("owner", "us")]), ..new_role() };
    lab.weather(&desk.at, Operation::CreateRole, Weather::LostAnswer).await?;
    refused_as(FaultKind::Transient, NO_ANSWER, desk.write(create("nodes", new())).await)?;
    lab.clear_weather(&desk.at).await?;
    refused_as(FaultKind::Conflict, "EntityAlreadyExists", desk.write(create("nodes", new())).await)?;
    assert_eq!(seen(&desk, "nodes").await?.tags, owner);
    Ok(())
}

async fn iam_is_throttled_as_iam_does_it(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    for operation in [Operation::GetRole, Operation::AttachRolePolicy] {
        lab.weather(&desk.at, operation, Weather::Throttled).await?;
    }
    refused(FaultKind::Throttled, desk.cloud().await.role(&desk.scope, &"nodes".into()).await)?;
    refused(FaultKind::Throttled, desk.write(role("nodes", RoleChange::Attach(CORE.into()))).await)?;
    lab.clear_weather(&desk.at).await?;
    ensure!(seen(&desk, "nodes").await?.policies.is_empty());
    Ok(())
}

async fn an_instance_tells_its_profile(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    stage.write(&create_profile("nodes", Tags::new())).await?;
    let name = ProfileName::from("nodes");
    let with = lab.launch(&stage.at, &stage.subnets[0], Launch { profile: Some(&name), ..Launch::default() }).await?;
    let without = lab.launch(&stage.at, &stage.subnets[0], Launch::default()).await?;
    let all = stage.cloud.instances(&stage.scope).await?;
    let arn = format!("arn:aws:iam::{}:instance-profile/ssm-ready/nodes", stage.at.account);
    for (id, expected) in [(with, Some(arn)), (without, None)] {
        let found = all.iter().find(|instance| instance.id == id).context("not listed")?;
        assert_eq!(found.profile, expected);
    }
    Ok(())
}

/// A place with an instance that has no profile, and a profile `nodes`.
async fn with_instance(lab: &dyn Lab) -> Result<(Stage<'_>, InstanceId)> {
    let stage = Stage::set(lab).await?;
    stage.write(&create_profile("nodes", Tags::new())).await?;
    let id = lab.launch(&stage.at, &stage.subnets[0], Launch::default()).await?;
    Ok((stage, id))
}

fn associate(stage: &Stage<'_>, id: &InstanceId, profile: &str) -> Write {
    let profile = format!("arn:aws:iam::{}:instance-profile/ssm-ready/{profile}", stage.at.account);
    Write::AssociateProfile { instance: id.clone(), profile }
}

/// `IncorrectState`, also where it is the same: somebody was faster (5).
async fn an_instance_gets_a_profile_once(lab: &dyn Lab) -> Result<()> {
    let (stage, id) = with_instance(lab).await?;
    stage.write(&create_profile("others", Tags::new())).await?;
    stage.write(&associate(&stage, &id, "nodes")).await?;
    for name in ["nodes", "others"] {
        refused(FaultKind::Conflict, stage.write(&associate(&stage, &id, name)).await)?;
    }
    let all = stage.cloud.instances(&stage.scope).await?;
    let found = all.iter().find(|instance| instance.id == id).context("not listed")?;
    assert!(found.profile.as_ref().is_some_and(|arn| arn.ends_with("/ssm-ready/nodes")), "{found:?}");
    let nobody = InstanceId::from("i-0123456789abcdef0");
    refused(FaultKind::NotFound, stage.write(&associate(&stage, &nobody, "nodes")).await)?;
    Ok(())
}

/// `InvalidParameterValue`, which names the profile (5).
async fn a_profile_that_ec2_has_not_heard_of_is_given_to_nobody(lab: &dyn Lab) -> Result<()> {
    let (stage, id) = with_instance(lab).await?;
    let result = stage.write(&associate(&stage, &id, "gone")).await;
    let Err(fault) = result else { anyhow::bail!("given all the same: {result:?}") };
    ensure!(fault.kind == FaultKind::Invalid && fault.message.to_lowercase().contains("profile"), "{fault}");
    let all = stage.cloud.instances(&stage.scope).await?;
    assert!(all.iter().any(|instance| instance.id == id && instance.profile.is_none()));
    Ok(())
}

/// SimulatePrincipalPolicy of a role that is not the one in use (5).
async fn what_a_role_allows_agents_is_told(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    let name = "nodes".into();
    let told = async || anyhow::Ok(desk.cloud().await.agent_permissions(&desk.scope, &name).await?);
    assert_eq!(told().await?, Some(AgentPermissions::all(false)));
    desk.done(role("nodes", RoleChange::Attach(CORE.into()))).await?;
    assert_eq!(told().await?, Some(AgentPermissions::all(true)));
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ssmmessages:*","Resource":"*"}]}"#;
    desk.done(role("nodes", RoleChange::PutInline(deny.to_owned()))).await?;
    let found = told().await?.context("no role")?;
    for action in AgentAction::ALL {
        assert_eq!(found.allows(action), Some(!AgentAction::CHANNELS.contains(&action)), "{action}");
    }
    assert_eq!(desk.cloud().await.agent_permissions(&desk.scope, &"others".into()).await?, None);
    Ok(())
}

async fn without_simulation_the_names_of_policies_tell(lab: &dyn Lab) -> Result<()> {
    let desk = with_role(lab).await?;
    lab.weather(&desk.at, Operation::SimulatePrincipalPolicy, Weather::Denied).await?;
    let name = "nodes".into();
    let told = async || anyhow::Ok(desk.cloud().await.agent_permissions(&desk.scope, &name).await?);
    assert_eq!(told().await?, Some(AgentPermissions::all(false)), "it has none");
    desk.done(role("nodes", RoleChange::PutInline(statement("*")))).await?;
    assert_eq!(told().await?, Some(AgentPermissions::default()), "it may say anything");
    desk.done(role("nodes", RoleChange::Attach(CORE.into()))).await?;
    assert_eq!(told().await?, Some(AgentPermissions::all(true)));
    Ok(())
}
