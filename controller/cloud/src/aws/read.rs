//! The port's methods: each read is every page of one list.

use async_trait::async_trait;
use aws_sdk_ec2::{
    operation::{
        describe_instances::DescribeInstancesOutput, describe_network_interfaces::DescribeNetworkInterfacesOutput,
        describe_route_tables::DescribeRouteTablesOutput, describe_security_groups::DescribeSecurityGroupsOutput,
        describe_subnets::DescribeSubnetsOutput, describe_vpc_endpoint_services::DescribeVpcEndpointServicesOutput,
        describe_vpc_endpoints::DescribeVpcEndpointsOutput, describe_vpcs::DescribeVpcsOutput,
    },
    types::{Filter, VpcAttributeName},
};
use aws_sdk_ssm::{
    operation::describe_instance_information::DescribeInstanceInformationOutput, types::InstanceInformationStringFilter,
};
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Endpoint, Identity, Instance, ManagedNode, NetworkInterface, Permission, Principal, Question, RouteTable,
        Scope, SecurityGroup, Service, Subnet, Vpc, VpcAttribute,
        audit::{AuditRule, Topic, Trail},
        iam::{AgentPermissions, Profile, Role},
        settings::{DocumentVersion, MetadataDefaults, SessionDocument, SessionDocumentInfo, Setting, SettingValue},
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    fault::Fault,
    ids::{BucketName, KeyId, LogGroupName, ProfileName, Region, RoleName, SecurityGroupId, VpcId},
    write::{Write, Written},
};

use super::{
    answer::unreadable,
    client::{At, AwsCloud},
    convert,
    sts::policy_source,
};
use crate::Cloud;

/// EC2's and IAM's largest page.
pub(super) const PAGE: i32 = 1000;
/// DescribeRouteTables' largest page.
const ROUTE_TABLES_PAGE: i32 = 100;
/// DescribeInstanceInformation's largest page.
const NODES_PAGE: i32 = 50;

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// Converts what can be converted; what cannot has said so in the log.
pub(super) fn each<S, T>(items: &[S], convert: impl Fn(&S) -> Option<T>) -> Vec<T> {
    items.iter().filter_map(convert).collect()
}

#[async_trait]
impl Cloud for AwsCloud {
    async fn identity(&self, principal: &Principal, region: &Region) -> Result<Identity, Fault> {
        Ok(self.live(At::new(principal, region)).await?.identity.clone())
    }

    async fn vpcs(&self, scope: &Scope) -> Result<Vec<Vpc>, Fault> {
        self.pages(
            scope.into(),
            Operation::DescribeVpcs,
            |clients, token| clients.ec2().describe_vpcs().max_results(PAGE).set_next_token(token).send(),
            |page: DescribeVpcsOutput| (each(page.vpcs(), convert::vpc), page.next_token),
        )
        .await
    }

    async fn endpoints(&self, scope: &Scope) -> Result<Vec<Endpoint>, Fault> {
        self.pages(
            scope.into(),
            Operation::DescribeVpcEndpoints,
            |clients, token| clients.ec2().describe_vpc_endpoints().max_results(PAGE).set_next_token(token).send(),
            |page: DescribeVpcEndpointsOutput| (each(page.vpc_endpoints(), convert::endpoint), page.next_token),
        )
        .await
    }

    async fn security_groups(&self, scope: &Scope) -> Result<Vec<SecurityGroup>, Fault> {
        self.pages(
            scope.into(),
            Operation::DescribeSecurityGroups,
            |clients, token| clients.ec2().describe_security_groups().max_results(PAGE).set_next_token(token).send(),
            |page: DescribeSecurityGroupsOutput| {
                (each(page.security_groups(), convert::security_group), page.next_token)
            },
        )
        .await
    }

    async fn instances(&self, scope: &Scope) -> Result<Vec<Instance>, Fault> {
        self.pages(
            scope.into(),
            Operation::DescribeInstances,
            |clients, token| clients.ec2().describe_instances().max_results(PAGE).set_next_token(token).send(),
            |page: DescribeInstancesOutput| {
                let instances = page.reservations().iter().flat_map(|reservation| reservation.instances());
                (instances.filter_map(convert::instance).collect(), page.next_token)
            },
        )
        .await
    }

    async fn managed_nodes(&self, scope: &Scope) -> Result<Vec<ManagedNode>, Fault> {
        // Hybrid nodes are not ours to look after. Without the filter, should it not build, they are dropped below.
        let ec2_only =
            InstanceInformationStringFilter::builder().key("ResourceType").values("EC2Instance").build().ok();
        self.pages(
            scope.into(),
            Operation::DescribeInstanceInformation,
            |clients, token| {
                clients
                    .ssm()
                    .describe_instance_information()
                    .set_filters(ec2_only.clone().map(|filter| vec![filter]))
                    .max_results(NODES_PAGE)
                    .set_next_token(token)
                    .send()
            },
            |page: DescribeInstanceInformationOutput| {
                (each(page.instance_information_list(), convert::managed_node), page.next_token)
            },
        )
        .await
    }

    async fn subnets(&self, scope: &Scope) -> Result<Vec<Subnet>, Fault> {
        self.pages(
            scope.into(),
            Operation::DescribeSubnets,
            |clients, token| clients.ec2().describe_subnets().max_results(PAGE).set_next_token(token).send(),
            |page: DescribeSubnetsOutput| (each(page.subnets(), convert::subnet), page.next_token),
        )
        .await
    }

    async fn route_tables(&self, scope: &Scope) -> Result<Vec<RouteTable>, Fault> {
        self.pages(
            scope.into(),
            Operation::DescribeRouteTables,
            |clients, token| {
                clients.ec2().describe_route_tables().max_results(ROUTE_TABLES_PAGE).set_next_token(token).send()
            },
            |page: DescribeRouteTablesOutput| (each(page.route_tables(), convert::route_table), page.next_token),
        )
        .await
    }

    async fn services(&self, scope: &Scope) -> Result<Vec<Service>, Fault> {
        self.pages(
            scope.into(),
            Operation::DescribeVpcEndpointServices,
            |clients, token| {
                clients.ec2().describe_vpc_endpoint_services().max_results(PAGE).set_next_token(token).send()
            },
            |page: DescribeVpcEndpointServicesOutput| {
                (page.service_details().iter().flat_map(convert::services).collect(), page.next_token)
            },
        )
        .await
    }

    async fn vpc_attribute(&self, scope: &Scope, vpc: &VpcId, attribute: VpcAttribute) -> Result<bool, Fault> {
        let operation = Operation::DescribeVpcAttribute;
        let name = match attribute {
            VpcAttribute::DnsSupport => VpcAttributeName::EnableDnsSupport,
            VpcAttribute::DnsHostnames => VpcAttributeName::EnableDnsHostnames,
        };
        let answer = self
            .call(scope.into(), operation, |clients| {
                clients.ec2().describe_vpc_attribute().vpc_id(vpc.as_str()).attribute(name.clone()).send()
            })
            .await?;
        let value = match attribute {
            VpcAttribute::DnsSupport => answer.enable_dns_support(),
            VpcAttribute::DnsHostnames => answer.enable_dns_hostnames(),
        };
        value.and_then(|value| value.value()).ok_or_else(|| unreadable(operation, attribute.name()))
    }

    async fn network_interfaces(&self, scope: &Scope, group: &SecurityGroupId) -> Result<Vec<NetworkInterface>, Fault> {
        self.pages(
            scope.into(),
            Operation::DescribeNetworkInterfaces,
            |clients, token| {
                clients
                    .ec2()
                    .describe_network_interfaces()
                    .filters(filter("group-id", group.as_str()))
                    .max_results(PAGE)
                    .set_next_token(token)
                    .send()
            },
            |page: DescribeNetworkInterfacesOutput| {
                (each(page.network_interfaces(), convert::network_interface), page.next_token)
            },
        )
        .await
    }

    async fn setting(&self, scope: &Scope, setting: Setting) -> Result<Option<SettingValue>, Fault> {
        self.read_setting(scope.into(), setting).await
    }

    async fn session_document(
        &self,
        scope: &Scope,
        version: DocumentVersion,
    ) -> Result<Option<SessionDocument>, Fault> {
        self.read_session_document(scope.into(), version).await
    }

    async fn session_document_info(&self, scope: &Scope) -> Result<Option<SessionDocumentInfo>, Fault> {
        self.read_session_document_info(scope.into()).await
    }

    async fn metadata_defaults(&self, scope: &Scope) -> Result<MetadataDefaults, Fault> {
        self.read_metadata_defaults(scope.into()).await
    }

    async fn bucket(&self, scope: &Scope, bucket: &BucketName) -> Result<Option<Bucket>, Fault> {
        self.read_bucket(scope.into(), bucket).await
    }

    async fn bucket_encryption(&self, scope: &Scope, bucket: &BucketName) -> Result<Option<BucketEncryption>, Fault> {
        self.read_bucket_encryption(scope.into(), bucket).await
    }

    async fn log_group(&self, scope: &Scope, group: &LogGroupName) -> Result<Option<LogGroup>, Fault> {
        self.read_log_group(scope.into(), group).await
    }

    async fn key(&self, scope: &Scope, key: &KeyId) -> Result<Option<Key>, Fault> {
        self.read_key(scope.into(), key).await
    }

    async fn audit_rule(&self, scope: &Scope) -> Result<Option<AuditRule>, Fault> {
        self.read_audit_rule(scope.into()).await
    }

    async fn trails(&self, scope: &Scope) -> Result<Vec<Trail>, Fault> {
        self.read_trails(scope.into()).await
    }

    async fn topic(&self, scope: &Scope, topic: &str) -> Result<Option<Topic>, Fault> {
        self.read_topic(scope.into(), topic).await
    }

    async fn regions(&self, scope: &Scope) -> Result<Vec<Region>, Fault> {
        self.read_regions(scope.into()).await
    }

    async fn role(&self, scope: &Scope, role: &RoleName) -> Result<Option<Role>, Fault> {
        self.read_role(scope.into(), role).await
    }

    async fn profile(&self, scope: &Scope, profile: &ProfileName) -> Result<Option<Profile>, Fault> {
        self.read_profile(scope.into(), profile).await
    }

    async fn agent_permissions(&self, scope: &Scope, role: &RoleName) -> Result<Option<AgentPermissions>, Fault> {
        self.read_agent_permissions(scope.into(), role).await
    }

    async fn role_answer(
        &self,
        scope: &Scope,
        role: &RoleName,
        question: &Question,
    ) -> Result<Option<Vec<Permission>>, Fault> {
        self.read_role_answer(scope.into(), role, question).await
    }

    async fn permissions(
        &self,
        principal: &Principal,
        region: &Region,
        question: &Question,
    ) -> Result<Vec<Permission>, Fault> {
        if question.actions.is_empty() {
            return Ok(Vec::new());
        }
        let at = At::new(principal, region);
        let source = policy_source(principal, &self.live(at).await?.identity);
        self.simulate(at, &source, question).await
    }

    async fn write(&self, scope: &Scope, write: &Write) -> Result<Written, Fault> {
        self.apply(scope.into(), write).await
    }
}
