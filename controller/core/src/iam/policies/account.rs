//! What roles and instance profiles take.
//!
//! IAM has no key for what a trust policy or an inline policy says. So whoever may write both of a role can give it
//! everything, unless the role has to be bounded; that is why a boundary, where one is given, is asked for in each call
//! that could reach beyond it.

use super::{Settings, Statement, Text, action, iam, managed, pass, roles};
use crate::{
    account::own_policies,
    calls::Operation as O,
    iam::{Effect, Feature, Parameter, Policy},
};

/// The service that instances get their roles through, by the names that it has in China and elsewhere.
pub(super) const EC2: [&str; 2] = ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"];

/// What changes a role, by the beginnings of the actions' names.
const CHANGES: [&str; 9] = ["Attach", "Create", "Delete", "Detach", "Pass", "Put", "Tag", "Untag", "Update"];

/// The statements for an AccountPosture.
pub(super) fn policy(settings: &Settings) -> Policy {
    let has = |feature: Feature| settings.features.contains(&feature);
    let mut statements = Vec::new();
    if has(Feature::Roles) {
        give(settings, &mut statements);
    }
    if has(Feature::Roles) || has(Feature::AttachOnlyRoles) {
        attach(settings, &mut statements);
    }
    if has(Feature::Roles) || has(Feature::InstanceProfiles) {
        both(settings, &mut statements);
    }
    if has(Feature::InstanceProfiles) {
        statements.push(pass(
            "PassInstanceRoles",
            "whoever puts a role into a profile passes it to EC2; to nothing else",
            settings,
            &EC2,
        ));
    }
    if !statements.is_empty() {
        let mut deny = Statement::allow(
            "NeverTheControllersOwn",
            "the roles that the controller itself takes on, and those that it could: it cannot give them more than they have, nor make one",
            CHANGES.map(|change| format!("iam:{change}*")),
            roles(&Parameter::Account.into()),
        );
        deny.effect = Effect::Deny;
        statements.push(deny);
    }
    Policy { statements }
}

/// The ARN of a managed policy, of AWS's own or of the account's: IAM takes no other.
fn policy_arn(arn: &str) -> Text {
    match arn.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        [_, _, _, _, "aws", rest] => Text::from("arn:").then(Parameter::Partition).and(&format!(":iam::aws:{rest}")),
        [_, _, _, _, _, rest] => iam(&Parameter::Account.into(), &format!(":{rest}")),
        _ => Text::from(arn),
    }
}

fn on_roles(settings: &Settings, sid: &'static str, why: &'static str, operations: &[O]) -> Statement {
    Statement::allow(sid, why, operations.iter().copied().map(action), managed(settings, "role"))
}

/// The same where the role is bounded, or is about to be, if a boundary is given.
fn bounded(statement: Statement, settings: &Settings) -> Statement {
    match &settings.managed_role_boundary {
        Some(boundary) => statement.when("ArnLike", "iam:PermissionsBoundary", [policy_arn(boundary)]),
        None => statement,
    }
}

fn give(settings: &Settings, statements: &mut Vec<Statement>) {
    let create = on_roles(
        settings,
        "CreateRoles",
        "only roles that are tagged as ours from the start, and bounded, where a boundary is given",
        &[O::CreateRole],
    )
    .made_ours();
    let put = on_roles(
        settings,
        "WriteOurRoles",
        "only roles with our tag, and only under the boundary, where one is given: IAM has no key for what an inline policy says",
        &[O::PutRolePolicy, O::PutRolePermissionsBoundary],
    )
    .ours();
    statements.extend([bounded(create, settings), bounded(put, settings)]);
}

fn attach(settings: &Settings, statements: &mut Vec<Statement>) {
    let own = own_policies().into_iter().map(|name| policy_arn(&format!("arn:aws:iam::aws:policy/{name}")));
    let allowed: Vec<Text> = own.chain(settings.managed_policies.iter().map(|arn| policy_arn(arn))).collect();
    let others = settings.features.contains(&Feature::AttachOnlyRoles);
    let mut operations = vec![O::AttachRolePolicy];
    operations.extend(others.then_some(O::DetachRolePolicy));
    let mut statement = on_roles(
        settings,
        "AttachPolicies",
        "AWS's own policies for Systems Manager and those that are given, and no others; to roles with our tag, or, if `attach-only-roles` is chosen, to and from any",
        &operations,
    )
    .when("ArnLike", "iam:PolicyARN", allowed);
    if !others {
        statement = statement.ours();
    }
    statements.push(statement);
}

/// What roles and profiles have in common.
fn both(settings: &Settings, statements: &mut Vec<Statement>) {
    let has = |feature: Feature| settings.features.contains(&feature);
    let (with_roles, with_profiles) = (has(Feature::Roles), has(Feature::InstanceProfiles));
    let on = |sid, why, of_roles: &[O], of_profiles: &[O]| {
        let chosen = [(with_roles, of_roles, "role"), (with_profiles, of_profiles, "instance-profile")];
        let chosen: Vec<_> = chosen.into_iter().filter(|(with, ..)| *with).collect();
        let actions: Vec<String> =
            chosen.iter().flat_map(|(_, operations, _)| operations.iter().copied().map(action)).collect();
        let resources: Vec<Text> = chosen.iter().flat_map(|(_, _, kind)| managed(settings, kind)).collect();
        Statement::allow(sid, why, actions, resources)
    };
    statements.extend([
        on(
            "TagNewRoles",
            "tags are set in the call that makes a role or profile; IAM cannot tell that from tagging one that has no tag of any cluster. With `take-over` another cluster's too",
            &[O::TagRole],
            &[O::CreateInstanceProfile, O::TagInstanceProfile],
        )
        .made_ours()
        .not_of_others(settings),
        on(
            "ChangeOurRoles",
            "only roles and profiles with our tag. Before a role is deleted, whatever policies it carries are detached",
            &[O::UpdateAssumeRolePolicy, O::DetachRolePolicy, O::DeleteRolePolicy],
            &[O::AddRoleToInstanceProfile, O::RemoveRoleFromInstanceProfile],
        )
        .ours(),
    ]);
    if has(Feature::Tags) {
        let why = "declared tags that were edited or lost, on what is ours; never those that make a thing ours";
        let tag = on("TagOurRoles", why, &[O::TagRole], &[O::TagInstanceProfile]);
        statements.push(tag.ours().no_ownership());
    }
    if has(Feature::Deletion) {
        let why = "takes the owner tag, and no other, off what stays when its object is deleted";
        statements.extend([
            on("DeleteOurRoles", "only what has our tag", &[O::DeleteRole], &[O::DeleteInstanceProfile]).ours(),
            on("LetGoOfRoles", why, &[O::UntagRole], &[O::UntagInstanceProfile]).ours().only_owner(),
        ]);
    }
}
