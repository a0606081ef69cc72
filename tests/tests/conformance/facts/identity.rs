//! Who acts: roles, external ids, shared VPCs, regions and permissions (domain 7, 8 and 1.5).

use anyhow::{Result, ensure};
use ssm_ready_core::{
    calls::Operation,
    facts::{EndpointState, Principal, Question, RoleStep, Scope},
    fault::{ACCOUNT_MISMATCH, Fault, FaultKind},
    ids::{RoleArn, Secret},
    write::Write,
};

use crate::{
    lab::{EXTERNAL_ID, Lab, PENDING, Rule, Weather},
    stage::{Stage, refused, refused_as, tags},
};

facts!(
    a_session_is_of_the_roles_account,
    a_role_that_does_not_exist_is_denied,
    a_wrong_external_id_is_denied,
    a_missing_external_id_is_denied,
    a_role_without_external_id_takes_any,
    roles_are_taken_on_one_after_another,
    a_role_of_another_account_is_a_mismatch_and_nothing_else_is_called,
    a_read_only_session_reads_and_does_not_write,
    a_denied_read_names_its_action,
    a_denied_write_names_its_action_and_does_nothing,
    a_tagged_creation_needs_the_permission_to_tag,
    a_denied_assume_role_is_about_identity,
    credentials_that_have_ended_are_renewed,
    permissions_follow_denials,
    a_participant_sees_the_vpc_with_its_owner,
    a_participant_sees_no_endpoints_and_makes_none,
    a_region_that_is_not_enabled_answers_nobody,
);

fn with_role(scope: &Scope, role: RoleArn, external_id: Option<&str>) -> Scope {
    let roles = vec![RoleStep { arn: role, external_id: external_id.map(Secret::new) }];
    Scope { principal: Principal { roles, ..scope.principal.clone() }, ..scope.clone() }
}

/// A denial that says we could not become who we are to be.
fn of_identity(result: Result<impl std::fmt::Debug, Fault>) -> Result<Fault> {
    let fault = refused(FaultKind::Denied, result)?;
    ensure!(fault.of_identity() && fault.operation == Operation::AssumeRole, "{fault}");
    Ok(fault)
}

async fn a_session_is_of_the_roles_account(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let identity = lab.cloud().identity(&at.principal(), &at.region).await?;
    assert_eq!(identity.account, at.account);
    let wanted = format!("arn:aws:sts::{}:assumed-role/ssm-ready/conformance", at.account);
    assert_eq!(identity.arn, wanted);
    Ok(())
}

/// AWS does not say that it does not exist: `AccessDenied`.
async fn a_role_that_does_not_exist_is_denied(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let role = format!("arn:aws:iam::{}:role/never-made", at.account).parse()?;
    let scope = with_role(&at.scope(), role, Some(EXTERNAL_ID));
    let cloud = lab.cloud();
    of_identity(cloud.identity(&scope.principal, &scope.region).await)?;
    of_identity(cloud.vpcs(&scope).await)?;
    Ok(())
}

/// The trust policy demands it: the guard against a confused deputy (7).
async fn a_wrong_external_id_is_denied(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let scope = with_role(&at.scope(), at.role.clone(), Some("tenant-of-somebody-else"));
    let fault = of_identity(lab.cloud().vpcs(&scope).await)?;
    ensure!(!fault.to_string().contains("tenant-of-somebody-else"), "the secret is told: {fault}");
    assert!(lab.calls(&at).await?.is_empty());
    Ok(())
}

async fn a_missing_external_id_is_denied(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    of_identity(lab.cloud().vpcs(&with_role(&at.scope(), at.role.clone(), None)).await)?;
    Ok(())
}

/// A trust policy that asks for none takes one that is given.
async fn a_role_without_external_id_takes_any(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let role = lab.role(&at, "open", None, None).await?;
    for external_id in [None, Some("whatever")] {
        lab.cloud().vpcs(&with_role(&at.scope(), role.clone(), external_id)).await?;
    }
    Ok(())
}

/// Role chaining: each trusts the one before (7).
async fn roles_are_taken_on_one_after_another(lab: &dyn Lab) -> Result<()> {
    let (hub, spoke) = (lab.place().await?, lab.place().await?);
    let role = lab.role(&spoke, "chained", Some("spoke-1"), Some(&hub.role)).await?;
    let step = RoleStep { arn: role.clone(), external_id: Some(Secret::new("spoke-1")) };
    // Not without the first role.
    of_identity(lab.cloud().vpcs(&with_role(&spoke.scope(), role, Some("spoke-1"))).await)?;
    let mut scope = hub.scope();
    scope.principal.account = spoke.account.clone();
    scope.principal.roles.push(step);
    let cloud = lab.cloud();
    let identity = cloud.identity(&scope.principal, &scope.region).await?;
    assert_eq!(identity.account, spoke.account);
    let vpc = lab.vpc(&spoke, &["10.0.0.0/16"], false, [true; 2]).await?;
    assert!(cloud.vpcs(&scope).await?.iter().any(|listed| listed.id == vpc));
    Ok(())
}

/// GetCallerIdentity shows it before anything is read or written.
async fn a_role_of_another_account_is_a_mismatch_and_nothing_else_is_called(lab: &dyn Lab) -> Result<()> {
    let (declared, other) = (lab.place().await?, lab.place().await?);
    let stage = Stage::set_at(lab, other).await?;
    let mut scope = stage.scope.clone();
    scope.principal.account = declared.account.clone();
    let cloud = lab.cloud();
    let fault = refused_as(FaultKind::Invalid, ACCOUNT_MISMATCH, cloud.vpcs(&scope).await)?;
    ensure!(fault.of_identity(), "{fault}");
    let write = Write::DeleteSecurityGroup { group: stage.group.clone() };
    refused_as(FaultKind::Invalid, ACCOUNT_MISMATCH, cloud.write(&scope, &write).await)?;
    let result = cloud.identity(&scope.principal, &scope.region).await;
    refused_as(FaultKind::Invalid, ACCOUNT_MISMATCH, result)?;
    for place in [&stage.at, &declared] {
        let called = lab.calls(place).await?;
        assert!(called.iter().all(|call| call == "GetCallerIdentity"), "{called:?}");
    }
    let groups = stage.cloud.security_groups(&stage.scope).await?;
    assert!(groups.iter().any(|group| group.id == stage.group));
    Ok(())
}

/// A session policy is a second guard (7).
async fn a_read_only_session_reads_and_does_not_write(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create(stage.interface("ssm")).await?;
    let mut scope = stage.scope.clone();
    scope.principal.read_only = true;
    let cloud = lab.cloud();
    cloud.identity(&scope.principal, &scope.region).await?;
    assert_eq!(cloud.endpoints(&scope).await?.len(), 1);
    assert_eq!(cloud.network_interfaces(&scope, &stage.group).await?.len(), 1);
    cloud.managed_nodes(&scope).await?;
    let writes = [
        Write::DeleteEndpoints { endpoints: [id.clone()].into() },
        Write::Tag { resources: [id.to_string()].into(), tags: tags(&[("a", "1")]) },
        Write::CreateEndpoint(Box::new(stage.interface("kms"))),
    ];
    for write in writes {
        let fault = refused(FaultKind::Denied, cloud.write(&scope, &write).await)?;
        assert_eq!(fault.operation, write.operation());
    }
    let seen = stage.cloud.endpoints(&stage.scope).await?;
    assert!(seen.len() == 1 && seen[0].state == EndpointState::Pending && seen[0].tags.is_empty(), "{seen:?}");
    Ok(())
}

/// Each of them by itself: the others still answer.
async fn a_denied_read_names_its_action(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.weather(&stage.at, Operation::DescribeVpcEndpoints, Weather::Denied).await?;
    lab.weather(&stage.at, Operation::DescribeInstanceInformation, Weather::Denied).await?;
    let fault = refused(FaultKind::Denied, stage.cloud.endpoints(&stage.scope).await)?;
    assert_eq!(fault.operation, Operation::DescribeVpcEndpoints);
    ensure!(!fault.of_identity() && fault.to_string().contains("ec2:DescribeVpcEndpoints"), "{fault}");
    let fault = refused(FaultKind::Denied, stage.cloud.managed_nodes(&stage.scope).await)?;
    assert_eq!(fault.operation, Operation::DescribeInstanceInformation);
    stage.cloud.vpcs(&stage.scope).await?;
    lab.clear_weather(&stage.at).await?;
    stage.cloud.endpoints(&stage.scope).await?;
    Ok(())
}

async fn a_denied_write_names_its_action_and_does_nothing(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.weather(&stage.at, Operation::CreateVpcEndpoint, Weather::Denied).await?;
    let fault = refused(FaultKind::Denied, stage.create(stage.interface("ssm")).await)?;
    assert_eq!((fault.operation, fault.of_identity()), (Operation::CreateVpcEndpoint, false));
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?, []);
    // Nor is the token used up.
    lab.clear_weather(&stage.at).await?;
    stage.create(stage.interface("ssm")).await?;
    Ok(())
}

/// `ec2:CreateTags` (8): without it a creation with tags fails whole.
async fn a_tagged_creation_needs_the_permission_to_tag(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.weather(&stage.at, Operation::CreateTags, Weather::Denied).await?;
    let owner = tags(&[("owner", "us")]);
    let mut tagged = stage.interface("ssm");
    tagged.tags = owner.clone();
    refused(FaultKind::Denied, stage.create(tagged).await)?;
    refused(FaultKind::Denied, stage.create_group("tagged", &owner).await)?;
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?, []);
    assert!(stage.cloud.security_groups(&stage.scope).await?.iter().all(|group| group.name != "tagged"));
    // It is about the tags alone.
    stage.create(stage.interface("kms")).await?;
    stage.create_group("plain", &tags(&[])).await?;
    Ok(())
}

/// A call may be told that they have; the next one is made with new ones (7).
async fn credentials_that_have_ended_are_renewed(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    stage.cloud.vpcs(&stage.scope).await?;
    lab.end_sessions(&stage.at, Operation::CreateSecurityGroup).await?;
    let told = stage.create_group("ours", &tags(&[])).await;
    // A write is not made again by itself: nobody would know whether it was made twice.
    refused(FaultKind::Expired, told)?;
    let groups = stage.cloud.security_groups(&stage.scope).await?;
    assert!(groups.iter().all(|group| group.name != "ours"), "{groups:?}");
    stage.create_group("ours", &tags(&[])).await?;
    Ok(())
}

async fn a_denied_assume_role_is_about_identity(lab: &dyn Lab) -> Result<()> {
    let (hub, spoke) = (lab.place().await?, lab.place().await?);
    let role = lab.role(&spoke, "chained", None, Some(&hub.role)).await?;
    let mut scope = hub.scope();
    scope.principal.account = spoke.account.clone();
    scope.principal.roles.push(RoleStep { arn: role, external_id: None });
    lab.weather(&hub, Operation::AssumeRole, Weather::Denied).await?;
    of_identity(lab.cloud().vpcs(&scope).await)?;
    Ok(())
}

/// SimulatePrincipalPolicy, in all regions alike.
async fn permissions_follow_denials(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let actions = ["ec2:CreateVpcEndpoint", "ec2:DeleteVpcEndpoints", "ssm:DescribeInstanceInformation"];
    let actions = actions.map(str::to_owned);
    lab.weather(&at, Operation::DeleteVpcEndpoints, Weather::Denied).await?;
    let cloud = lab.cloud();
    let mut said = cloud.permissions(&at.principal(), &at.region, &Question::of(&actions)).await?;
    said.sort_by(|one, other| one.action.cmp(&other.action));
    let said: Vec<_> = said.iter().map(|permission| (permission.action.as_str(), permission.allowed)).collect();
    assert_eq!(
        said,
        [("ec2:CreateVpcEndpoint", true), ("ec2:DeleteVpcEndpoints", false), ("ssm:DescribeInstanceInformation", true)]
    );
    Ok(())
}

/// `OwnerId` is not the account that lists it (1.5).
async fn a_participant_sees_the_vpc_with_its_owner(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let participant = lab.place().await?;
    lab.share(&stage.at, &stage.vpc, &participant).await?;
    let cloud = lab.cloud();
    for scope in [stage.scope.clone(), participant.scope()] {
        let vpcs = cloud.vpcs(&scope).await?;
        let owner = vpcs.iter().find(|vpc| vpc.id == stage.vpc).map(|vpc| vpc.owner.as_str());
        assert_eq!(owner, Some(stage.at.account.as_str()));
        let subnets = cloud.subnets(&scope).await?;
        assert!(stage.subnets.iter().all(|id| subnets.iter().any(|subnet| subnet.id == *id)), "{subnets:?}");
    }
    Ok(())
}

/// It "can't create, describe, modify, or delete VPC endpoints" there (1.5).
async fn a_participant_sees_no_endpoints_and_makes_none(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let participant = lab.place().await?;
    lab.share(&stage.at, &stage.vpc, &participant).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    let (cloud, scope) = (lab.cloud(), participant.scope());
    assert_eq!(cloud.endpoints(&scope).await?, []);
    let mut new = stage.interface("kms");
    new.groups.clear();
    let result = cloud.write(&scope, &Write::CreateEndpoint(Box::new(new))).await;
    // Which code that is nobody says; it is none that passes by itself.
    let Err(fault) = result else { anyhow::bail!("made all the same: {result:?}") };
    let kinds = [FaultKind::Conflict, FaultKind::Denied, FaultKind::Invalid, FaultKind::NotFound];
    ensure!(kinds.contains(&fault.kind), "{fault}");
    let delete = Write::DeleteEndpoints { endpoints: [id.clone()].into() };
    // Refused, or as if it were not there.
    let _ = cloud.write(&scope, &delete).await;
    assert_eq!(stage.seen(&id).await?.state, EndpointState::Available);
    stage.pass(PENDING).await?;
    assert_eq!(stage.cloud.endpoints(&stage.scope).await?.len(), 1);
    Ok(())
}

/// `AuthFailure`, `OptInRequired` or `RegionDisabledException` (7), in that region alone.
async fn a_region_that_is_not_enabled_answers_nobody(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let there = at.in_region("ap-east-1")?;
    lab.rule(&there, Rule::RegionDisabled).await?;
    let cloud = lab.cloud();
    refused(FaultKind::RegionDisabled, cloud.identity(&there.principal(), &there.region).await)?;
    refused(FaultKind::RegionDisabled, cloud.vpcs(&there.scope()).await)?;
    cloud.vpcs(&at.scope()).await?;
    // Nor does a session from elsewhere help.
    refused(FaultKind::RegionDisabled, cloud.endpoints(&there.scope()).await)?;
    Ok(())
}
