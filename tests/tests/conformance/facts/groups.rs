//! Security groups and tags (domain 1.8).

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result};
use ssm_ready_core::{
    facts::{IngressRule, RuleSource, SecurityGroup},
    fault::FaultKind,
    ids::SecurityGroupId,
    write::{Write, Written},
};

use crate::{
    lab::{DELETING, Lab, Rule},
    stage::{Stage, https_from, refused, refused_as, tags},
};

facts!(
    a_new_group_has_its_tags_and_no_rules,
    a_name_is_taken_once_in_a_vpc,
    a_new_group_may_be_listed_late,
    rules_are_added_and_taken_away,
    rules_that_are_there_are_done,
    rules_that_are_gone_are_done,
    a_description_is_no_part_of_what_identifies_a_rule,
    rules_of_an_unknown_group_are_not_found,
    a_group_in_use_is_not_deleted,
    a_group_that_another_group_names_is_not_deleted,
    a_group_that_is_gone_is_deleted,
    tags_are_set_replaced_and_taken_away,
    tags_of_several_resources_go_into_one_call,
    an_unknown_endpoint_is_not_tagged,
);

async fn listed(stage: &Stage<'_>, id: &SecurityGroupId) -> Result<Option<SecurityGroup>> {
    Ok(stage.cloud.security_groups(&stage.scope).await?.into_iter().find(|group| group.id == *id))
}

async fn rules_of(stage: &Stage<'_>, id: &SecurityGroupId) -> Result<BTreeSet<IngressRule>> {
    Ok(listed(stage, id).await?.context("the group is not listed")?.ingress.into_iter().collect())
}

async fn admit(stage: &Stage<'_>, id: &SecurityGroupId, rules: &[&IngressRule]) -> Result<()> {
    let rules = rules.iter().map(|&rule| rule.clone()).collect();
    assert_eq!(stage.write(&Write::AuthorizeIngress { group: id.clone(), rules }).await?, Written::Done);
    Ok(())
}

async fn revoke(stage: &Stage<'_>, id: &SecurityGroupId, rules: &[&IngressRule]) -> Result<()> {
    let rules = rules.iter().map(|&rule| rule.clone()).collect();
    assert_eq!(stage.write(&Write::RevokeIngress { group: id.clone(), rules }).await?, Written::Done);
    Ok(())
}

/// Tagged in the same call (7); a new group admits nobody.
async fn a_new_group_has_its_tags_and_no_rules(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let wanted = tags(&[("ssmready.dev/cluster", "prod-1"), ("empty", "")]);
    let id = stage.create_group("ours", &wanted).await?;
    let group = listed(&stage, &id).await?.context("the group is not listed")?;
    assert_eq!((group.vpc, group.name.as_str(), group.tags), (stage.vpc.clone(), "ours", wanted));
    assert_eq!(group.ingress, []);
    Ok(())
}

/// `InvalidGroup.Duplicate`.
async fn a_name_is_taken_once_in_a_vpc(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    stage.create_group("ours", &tags(&[])).await?;
    refused_as(FaultKind::Conflict, "InvalidGroup.Duplicate", stage.create_group("ours", &tags(&[])).await)?;
    let neighbour = Stage::set_at(lab, stage.at.clone()).await?;
    neighbour.create_group("ours", &tags(&[])).await?;
    Ok(())
}

/// `InvalidGroup.NotFound` for a new one (1.7), whose name is taken all the same.
async fn a_new_group_may_be_listed_late(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    lab.rule(&stage.at, Rule::VisibleAfter(Duration::from_secs(30))).await?;
    let id = stage.create_group("ours", &tags(&[])).await?;
    assert_eq!(listed(&stage, &id).await?, None);
    let admit_all = Write::AuthorizeIngress { group: id.clone(), rules: vec![https_from("10.0.0.0/16")?] };
    refused_as(FaultKind::NotFound, "InvalidGroup.NotFound", stage.write(&admit_all).await)?;
    refused_as(FaultKind::Conflict, "InvalidGroup.Duplicate", stage.create_group("ours", &tags(&[])).await)?;
    stage.pass(Duration::from_secs(30)).await?;
    assert_eq!(stage.write(&admit_all).await?, Written::Done);
    assert_eq!(rules_of(&stage, &id).await?.len(), 1);
    Ok(())
}

async fn rules_are_added_and_taken_away(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create_group("ours", &tags(&[])).await?;
    let [v4, v6] = [https_from("10.0.0.0/16")?, https_from("2001:db8::/56")?];
    let group = IngressRule { source: RuleSource::Group(stage.group.clone()), ..v4.clone() };
    admit(&stage, &id, &[&v4, &v6, &group]).await?;
    assert_eq!(rules_of(&stage, &id).await?, BTreeSet::from([v4.clone(), v6.clone(), group.clone()]));
    revoke(&stage, &id, &[&v4, &group]).await?;
    assert_eq!(rules_of(&stage, &id).await?, BTreeSet::from([v6]));
    Ok(())
}

/// `InvalidPermission.Duplicate`: the others of the same call are added.
async fn rules_that_are_there_are_done(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create_group("ours", &tags(&[])).await?;
    let [one, two, three] = [https_from("10.0.0.0/16")?, https_from("10.1.0.0/16")?, https_from("10.2.0.0/16")?];
    admit(&stage, &id, &[&one]).await?;
    admit(&stage, &id, &[&one]).await?;
    admit(&stage, &id, &[&two, &one, &three]).await?;
    assert_eq!(rules_of(&stage, &id).await?, BTreeSet::from([one, two, three]));
    Ok(())
}

/// `InvalidPermission.NotFound`: the others of the same call are taken away.
async fn rules_that_are_gone_are_done(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create_group("ours", &tags(&[])).await?;
    let [one, two, three] = [https_from("10.0.0.0/16")?, https_from("10.1.0.0/16")?, https_from("10.2.0.0/16")?];
    admit(&stage, &id, &[&one, &three]).await?;
    revoke(&stage, &id, &[&two]).await?;
    assert_eq!(rules_of(&stage, &id).await?.len(), 2);
    revoke(&stage, &id, &[&one, &two, &three]).await?;
    assert_eq!(rules_of(&stage, &id).await?, BTreeSet::new());
    Ok(())
}

/// Neither for a second rule nor for taking it away.
async fn a_description_is_no_part_of_what_identifies_a_rule(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create_group("ours", &tags(&[])).await?;
    let cidr = https_from("10.0.0.0/16")?;
    for source in [cidr.source.clone(), RuleSource::Group(stage.group.clone())] {
        let plain = IngressRule { source, ..cidr.clone() };
        let said = IngressRule { description: Some("clients".to_owned()), ..plain.clone() };
        admit(&stage, &id, &[&said]).await?;
        admit(&stage, &id, &[&plain]).await?;
        assert_eq!(rules_of(&stage, &id).await?, BTreeSet::from([said]));
        revoke(&stage, &id, &[&plain]).await?;
        assert_eq!(rules_of(&stage, &id).await?, BTreeSet::new());
    }
    Ok(())
}

/// `InvalidGroup.NotFound`.
async fn rules_of_an_unknown_group_are_not_found(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let (group, rules) = (SecurityGroupId::from("sg-0ffffffffffffff99"), vec![https_from("10.0.0.0/16")?]);
    let write = Write::AuthorizeIngress { group, rules };
    refused_as(FaultKind::NotFound, "InvalidGroup.NotFound", stage.write(&write).await)?;
    Ok(())
}

/// `DependencyViolation`, as long as there are interfaces that carry it.
async fn a_group_in_use_is_not_deleted(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.available(stage.interface("ssm")).await?;
    let delete = Write::DeleteSecurityGroup { group: stage.group.clone() };
    refused_as(FaultKind::Conflict, "DependencyViolation", stage.write(&delete).await)?;
    stage.delete(&[&id]).await?;
    refused_as(FaultKind::Conflict, "DependencyViolation", stage.write(&delete).await)?;
    stage.pass(DELETING).await?;
    assert_eq!(stage.write(&delete).await?, Written::Done);
    assert_eq!(listed(&stage, &stage.group).await?, None);
    Ok(())
}

/// `DependencyViolation` as well.
async fn a_group_that_another_group_names_is_not_deleted(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let named = stage.create_group("named", &tags(&[])).await?;
    let rule = IngressRule { source: RuleSource::Group(named.clone()), ..https_from("10.0.0.0/16")? };
    admit(&stage, &stage.group, &[&rule]).await?;
    let delete = Write::DeleteSecurityGroup { group: named.clone() };
    refused_as(FaultKind::Conflict, "DependencyViolation", stage.write(&delete).await)?;
    revoke(&stage, &stage.group, &[&rule]).await?;
    assert_eq!(stage.write(&delete).await?, Written::Done);
    Ok(())
}

async fn a_group_that_is_gone_is_deleted(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create_group("ours", &tags(&[])).await?;
    let delete = Write::DeleteSecurityGroup { group: id.clone() };
    for _ in 0..2 {
        assert_eq!(stage.write(&delete).await?, Written::Done);
        assert_eq!(listed(&stage, &id).await?, None);
    }
    Ok(())
}

/// CreateTags overwrites; DeleteTags takes a key away whatever its value, and one that is not there is no fault.
async fn tags_are_set_replaced_and_taken_away(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let id = stage.create_group("ours", &tags(&[("keep", "1"), ("change", "1")])).await?;
    let resources: BTreeSet<String> = [id.to_string()].into();
    let set = Write::Tag { resources: resources.clone(), tags: tags(&[("change", "2"), ("new", "")]) };
    assert_eq!(stage.write(&set).await?, Written::Done);
    let seen = listed(&stage, &id).await?.context("the group is not listed")?;
    assert_eq!(seen.tags, tags(&[("keep", "1"), ("change", "2"), ("new", "")]));
    let keys = ["change", "new", "never there"].map(str::to_owned).into();
    assert_eq!(stage.write(&Write::Untag { resources, keys }).await?, Written::Done);
    let seen = listed(&stage, &id).await?.context("the group is not listed")?;
    assert_eq!(seen.tags, tags(&[("keep", "1")]));
    Ok(())
}

async fn tags_of_several_resources_go_into_one_call(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let endpoint = stage.create(stage.interface("ssm")).await?;
    let resources: BTreeSet<String> = [endpoint.to_string(), stage.group.to_string()].into();
    let owner = tags(&[("owner", "network team")]);
    stage.write(&Write::Tag { resources: resources.clone(), tags: owner.clone() }).await?;
    let group = listed(&stage, &stage.group).await?.context("the group is not listed")?;
    assert_eq!((stage.seen(&endpoint).await?.tags, group.tags), (owner.clone(), owner));
    stage.write(&Write::Untag { resources, keys: ["owner".to_owned()].into() }).await?;
    assert!(stage.seen(&endpoint).await?.tags.is_empty());
    Ok(())
}

/// `InvalidVpcEndpointId.NotFound`.
async fn an_unknown_endpoint_is_not_tagged(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let resources = ["vpce-0ffffffffffffff99".to_owned()].into();
    let write = Write::Tag { resources, tags: tags(&[("a", "1")]) };
    refused(FaultKind::NotFound, stage.write(&write).await)?;
    Ok(())
}
