//! The writes: one call each, tried once. What AWS says is already so counts as done.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{
    AttributeBooleanValue, DnsOptionsSpecification, IamInstanceProfileSpecification, IpAddressType, ResourceType, Tag,
    UnsuccessfulItem, VpcEndpointType,
};
use ssm_ready_core::{
    calls::Operation,
    facts::{EndpointType, IngressRule, VpcAttribute},
    fault::{Fault, FaultKind},
    ids::{EndpointId, SecurityGroupId, VpcId},
    write::{EndpointChange, FULL_ACCESS_POLICY, NewEndpoint, Write, Written},
};

use super::{
    answer::{UNREADABLE, unreadable},
    client::{At, AwsCloud},
    convert::{permissions_of, tag_specification, tags_of},
};

impl AwsCloud {
    /// Makes the call that a write stands for.
    pub(super) async fn apply(&self, at: At<'_>, write: &Write) -> Result<Written, Fault> {
        match write {
            Write::CreateSecurityGroup { vpc, name, description, tags } => {
                let answer = self
                    .call(at, write.operation(), |clients| {
                        clients
                            .ec2_writes()
                            .create_security_group()
                            .vpc_id(vpc.as_str())
                            .group_name(name)
                            .description(description)
                            .set_tag_specifications(tag_specification(ResourceType::SecurityGroup, tags))
                            .send()
                    })
                    .await?;
                let id = answer.group_id().filter(|id| !id.is_empty());
                Ok(Written::Group(id.ok_or_else(|| unnamed(write.operation()))?.into()))
            }
            Write::AuthorizeIngress { group, rules } => self.authorize(at, group, rules).await,
            Write::RevokeIngress { group, rules } => self.revoke(at, group, rules).await,
            Write::DeleteSecurityGroup { group } => {
                let answer = self.call(at, write.operation(), |clients| {
                    clients.ec2_writes().delete_security_group().group_id(group.as_str()).send()
                });
                done_if_gone(answer.await.map(|_| Written::Done))
            }
            Write::CreateEndpoint(new) => self.create_endpoint(at, new).await,
            Write::ModifyEndpoint { endpoint, change } => self.modify_endpoint(at, endpoint, change).await,
            Write::DeleteEndpoints { endpoints } => self.delete_endpoints(at, endpoints).await,
            Write::Tag { resources, tags } => {
                self.call(at, write.operation(), |clients| {
                    clients
                        .ec2_writes()
                        .create_tags()
                        .set_resources(Some(resources.iter().cloned().collect()))
                        .set_tags(Some(tags_of(tags)))
                        .send()
                })
                .await?;
                Ok(Written::Done)
            }
            Write::Untag { resources, keys } => {
                self.call(at, write.operation(), |clients| {
                    clients
                        .ec2_writes()
                        .delete_tags()
                        .set_resources(Some(resources.iter().cloned().collect()))
                        // Without a value: the tag goes whatever it says.
                        .set_tags(Some(keys.iter().map(|key| Tag::builder().key(key).build()).collect()))
                        .send()
                })
                .await?;
                Ok(Written::Done)
            }
            Write::EnableVpcAttribute { vpc, attribute } => self.enable_attribute(at, vpc, *attribute).await,
            Write::AssociateProfile { instance, profile } => {
                self.call(at, write.operation(), |clients| {
                    let profile = IamInstanceProfileSpecification::builder().arn(profile).build();
                    clients
                        .ec2_writes()
                        .associate_iam_instance_profile()
                        .instance_id(instance.as_str())
                        .iam_instance_profile(profile)
                        .send()
                })
                .await?;
                Ok(Written::Done)
            }
            Write::UpdateSetting { setting, value } => self.update_setting(at, *setting, value).await,
            Write::ResetSetting { setting } => self.reset_setting(at, *setting).await,
            Write::ModifyMetadataDefaults { values } => self.modify_metadata_defaults(at, values).await,
            Write::Document(change) => self.change_document(at, write.operation(), change).await,
            Write::Rule(change) => self.change_rule(at, write.operation(), change).await,
            Write::Role { role, change } => self.change_role(at, write.operation(), role, change).await,
            Write::Profile { profile, change } => self.change_profile(at, write.operation(), profile, change).await,
        }
    }

    async fn authorize(&self, at: At<'_>, group: &SecurityGroupId, rules: &[IngressRule]) -> Result<Written, Fault> {
        let operation = Operation::AuthorizeSecurityGroupIngress;
        let once = |rules: Vec<IngressRule>| async move {
            let answer = self
                .call(at, operation, |clients| {
                    clients
                        .ec2_writes()
                        .authorize_security_group_ingress()
                        .group_id(group.as_str())
                        .set_ip_permissions(Some(permissions_of(&rules)))
                        .send()
                })
                .await?;
            accepted(operation, answer.r#return)
        };
        each_if(rules, |fault| fault.code == "InvalidPermission.Duplicate", once).await
    }

    async fn revoke(&self, at: At<'_>, group: &SecurityGroupId, rules: &[IngressRule]) -> Result<Written, Fault> {
        let operation = Operation::RevokeSecurityGroupIngress;
        let once = |rules: Vec<IngressRule>| async move {
            // A description is no part of what identifies a rule.
            let bare: Vec<IngressRule> =
                rules.into_iter().map(|rule| IngressRule { description: None, ..rule }).collect();
            let answer = self
                .call(at, operation, |clients| {
                    clients
                        .ec2_writes()
                        .revoke_security_group_ingress()
                        .group_id(group.as_str())
                        .set_ip_permissions(Some(permissions_of(&bare)))
                        .send()
                })
                .await?;
            accepted(operation, answer.r#return)
        };
        each_if(rules, |fault| fault.code == "InvalidPermission.NotFound", once).await
    }

    async fn create_endpoint(&self, at: At<'_>, new: &NewEndpoint) -> Result<Written, Fault> {
        let operation = Operation::CreateVpcEndpoint;
        let kind = match new.kind {
            EndpointType::Interface => VpcEndpointType::Interface,
            EndpointType::Gateway => VpcEndpointType::Gateway,
            EndpointType::Other => {
                return Err(Fault::from_answer(
                    operation,
                    "UnsupportedEndpointType",
                    400,
                    "only interface and gateway endpoints are ours to make",
                ));
            }
        };
        let interface = new.kind == EndpointType::Interface;
        let answer = self
            .call(at, operation, |clients| {
                let request = clients
                    .ec2_writes()
                    .create_vpc_endpoint()
                    // Always said: AWS takes Gateway otherwise.
                    .vpc_endpoint_type(kind.clone())
                    .vpc_id(new.vpc.as_str())
                    .service_name(&new.service_name)
                    .client_token(&new.client_token)
                    .set_tag_specifications(tag_specification(ResourceType::VpcEndpoint, &new.tags));
                if interface {
                    request
                        .set_subnet_ids(ids(&new.subnets))
                        // Without any, AWS takes the VPC's default group.
                        .set_security_group_ids(ids(&new.groups))
                        // Always said: what AWS takes otherwise has changed over time.
                        .private_dns_enabled(new.private_dns)
                        .set_ip_address_type(new.ip_address_type.map(|t| IpAddressType::from(t.as_str())))
                        .set_dns_options(new.inbound_resolver_only.map(inbound_resolver_only))
                        .send()
                } else {
                    request.set_route_table_ids(ids(&new.route_tables)).send()
                }
            })
            .await?;
        let id = answer.vpc_endpoint().and_then(|endpoint| endpoint.vpc_endpoint_id()).filter(|id| !id.is_empty());
        Ok(Written::Endpoint(id.ok_or_else(|| unnamed(operation))?.into()))
    }

    async fn modify_endpoint(
        &self,
        at: At<'_>,
        endpoint: &EndpointId,
        change: &EndpointChange,
    ) -> Result<Written, Fault> {
        let operation = Operation::ModifyVpcEndpoint;
        let answer = self
            .call(at, operation, |clients| {
                clients
                    .ec2_writes()
                    .modify_vpc_endpoint()
                    .vpc_endpoint_id(endpoint.as_str())
                    .set_add_subnet_ids(ids(&change.add_subnets))
                    .set_remove_subnet_ids(ids(&change.remove_subnets))
                    .set_add_security_group_ids(ids(&change.add_groups))
                    .set_remove_security_group_ids(ids(&change.remove_groups))
                    .set_add_route_table_ids(ids(&change.add_route_tables))
                    .set_remove_route_table_ids(ids(&change.remove_route_tables))
                    .set_private_dns_enabled(change.private_dns)
                    .set_ip_address_type(change.ip_address_type.map(|t| IpAddressType::from(t.as_str())))
                    // ResetPolicy is documented for gateways only; the document does the same for every type.
                    .set_policy_document(change.full_access_policy.then(|| FULL_ACCESS_POLICY.to_owned()))
                    .send()
            })
            .await?;
        accepted(operation, answer.r#return)
    }

    async fn delete_endpoints(&self, at: At<'_>, endpoints: &BTreeSet<EndpointId>) -> Result<Written, Fault> {
        let operation = Operation::DeleteVpcEndpoints;
        let answer = self
            .call(at, operation, |clients| {
                clients.ec2_writes().delete_vpc_endpoints().set_vpc_endpoint_ids(ids(endpoints)).send()
            })
            .await;
        match answer {
            Ok(answer) => not_deleted(endpoints, answer.unsuccessful()),
            // One that is not there is gone; of several, the others may well be there still.
            Err(fault) if endpoints.len() == 1 => done_if_gone(Err(fault)),
            Err(fault) => Err(fault),
        }
    }

    async fn enable_attribute(&self, at: At<'_>, vpc: &VpcId, attribute: VpcAttribute) -> Result<Written, Fault> {
        let on = AttributeBooleanValue::builder().value(true).build();
        self.call(at, Operation::ModifyVpcAttribute, |clients| {
            let request = clients.ec2_writes().modify_vpc_attribute().vpc_id(vpc.as_str());
            // AWS takes one attribute a call.
            match attribute {
                VpcAttribute::DnsSupport => request.enable_dns_support(on.clone()),
                VpcAttribute::DnsHostnames => request.enable_dns_hostnames(on.clone()),
            }
            .send()
        })
        .await?;
        Ok(Written::Done)
    }
}

/// Makes a call for all rules, or, when AWS refuses it because some of them already are as wanted (it then changes
/// nothing), for each of them.
async fn each_if<F>(
    rules: &[IngressRule],
    already: impl Fn(&Fault) -> bool + Send + Sync,
    once: impl Fn(Vec<IngressRule>) -> F + Send + Sync,
) -> Result<Written, Fault>
where
    F: Future<Output = Result<Written, Fault>> + Send,
{
    match once(rules.to_vec()).await {
        Err(fault) if already(&fault) => {}
        result => return result,
    }
    if rules.len() > 1 {
        for rule in rules {
            match once(vec![rule.clone()]).await {
                Err(fault) if already(&fault) => {}
                Err(fault) => return Err(fault),
                Ok(_) => {}
            }
        }
    }
    Ok(Written::Done)
}

/// What is left of a deletion that was answered with 200.
fn not_deleted(endpoints: &BTreeSet<EndpointId>, unsuccessful: &[UnsuccessfulItem]) -> Result<Written, Fault> {
    let mut left = Vec::new();
    for item in unsuccessful {
        let (code, message) = item
            .error()
            .map_or((UNREADABLE, ""), |e| (e.code().unwrap_or(UNREADABLE), e.message().unwrap_or_default()));
        // A status as for any request that AWS refuses: the answer's own is 200.
        let fault = Fault::from_answer(Operation::DeleteVpcEndpoints, code, 400, message);
        if fault.kind == FaultKind::NotFound {
            continue;
        }
        let said = item.resource_id().filter(|id| !id.is_empty());
        let named = said.map(EndpointId::from).or_else(|| endpoints.first().cloned());
        match named {
            Some(id) if said.is_some() || endpoints.len() == 1 => left.push((id, fault)),
            _ => return Err(fault),
        }
    }
    Ok(if left.is_empty() { Written::Done } else { Written::NotDeleted(left) })
}

fn done_if_gone(result: Result<Written, Fault>) -> Result<Written, Fault> {
    match result {
        Err(fault) if fault.kind == FaultKind::NotFound => Ok(Written::Done),
        result => result,
    }
}

/// Some answers say again, in their body, whether it worked.
pub(super) fn accepted(operation: Operation, worked: Option<bool>) -> Result<Written, Fault> {
    if worked == Some(false) { Err(unreadable(operation, "success: Return is false")) } else { Ok(Written::Done) }
}

/// Something was made, and the answer does not say what: it has to be looked for, as after a lost answer.
fn unnamed(operation: Operation) -> Fault {
    Fault::no_answer(operation, "the answer lacks the id of what was made")
}

fn inbound_resolver_only(only: bool) -> DnsOptionsSpecification {
    DnsOptionsSpecification::builder().private_dns_only_for_inbound_resolver_endpoint(only).build()
}

/// The ids of a set, or nothing to be sent when there are none.
fn ids<T: ToString>(ids: &BTreeSet<T>) -> Option<Vec<String>> {
    (!ids.is_empty()).then(|| ids.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::UnsuccessfulItemError;

    use super::*;

    fn item(id: Option<&str>, code: &str) -> UnsuccessfulItem {
        UnsuccessfulItem::builder()
            .set_resource_id(id.map(str::to_owned))
            .error(UnsuccessfulItemError::builder().code(code).message("no").build())
            .build()
    }

    #[test]
    fn endpoints_that_are_not_there_are_deleted() {
        let two: BTreeSet<EndpointId> = ["vpce-1".into(), "vpce-2".into()].into();
        for code in ["InvalidVpcEndpoint.NotFound", "InvalidVpcEndpointId.NotFound"] {
            assert_eq!(not_deleted(&two, &[item(Some("vpce-1"), code)]), Ok(Written::Done));
        }
        let left = not_deleted(
            &two,
            &[item(Some("vpce-1"), "InvalidVpcEndpoint.NotFound"), item(Some("vpce-2"), "OperationNotPermitted")],
        );
        let Ok(Written::NotDeleted(left)) = left else { panic!("{left:?}") };
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].0.as_str(), left[0].1.kind), ("vpce-2", FaultKind::Conflict));
    }

    #[test]
    fn a_refusal_that_names_nothing_is_of_the_only_one_or_of_all() {
        let one: BTreeSet<EndpointId> = ["vpce-1".into()].into();
        let two: BTreeSet<EndpointId> = ["vpce-1".into(), "vpce-2".into()].into();
        for nothing in [None, Some("")] {
            let item = item(nothing, "UnauthorizedOperation");
            let Ok(Written::NotDeleted(left)) = not_deleted(&one, std::slice::from_ref(&item)) else {
                panic!("{nothing:?}")
            };
            assert_eq!(left[0].0.as_str(), "vpce-1");
            assert!(not_deleted(&two, &[item]).is_err(), "{nothing:?}");
        }
    }
}
