//! From the SDK's types to facts, and from writes to the SDK's types. Everything here is pure.
//!
//! A thing without its id is left out, with a line in the log: AWS always gives one, so it is no thing that we know.
//! Enumerations are compared by their text and without regard to case: the wire does not use the models' casing.

pub(super) mod audit;
pub(super) mod iam;
pub(super) mod settings;
pub(super) mod targets;

use std::{collections::BTreeMap, str::FromStr};

use aws_sdk_ec2::types as ec2;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};
use aws_sdk_ssm::types::InstanceInformation;
use ipnet::IpNet;
use ssm_ready_core::{
    facts::{
        Endpoint, EndpointState, EndpointType, IngressRule, Instance, InstanceState, IpAddressType, ManagedNode,
        NetworkInterface, Permission, RouteTable, RuleSource, SecurityGroup, Service, Subnet, Tags, Vpc,
    },
    ids::{PrefixListId, RouteTableId, SecurityGroupId},
};

/// `None`, said in the log, for a thing that lacks what it cannot be without.
fn required<'a>(what: &'static str, field: &'static str, value: Option<&'a str>) -> Option<&'a str> {
    let value = value.filter(|value| !value.is_empty());
    if value.is_none() {
        tracing::warn!(what, field, "left out: AWS lists one that lacks a field");
    }
    value
}

/// A text, unless it is empty: some answers have empty ones where they have nothing to say.
fn given(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn is(value: &str, expected: &str) -> bool {
    value.eq_ignore_ascii_case(expected)
}

fn tags(tags: &[ec2::Tag]) -> Tags {
    tags.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect()
}

fn cidr(what: &'static str, text: &str) -> Option<IpNet> {
    IpNet::from_str(text).inspect_err(|_| tracing::warn!(what, text, "left out: not a CIDR")).ok()
}

/// A VPC.
pub(super) fn vpc(vpc: &ec2::Vpc) -> Option<Vpc> {
    let id = required("VPC", "VpcId", vpc.vpc_id())?;
    let owner = required("VPC", "OwnerId", vpc.owner_id())?;
    let held = |state: Option<&ec2::VpcCidrBlockState>| {
        state
            .and_then(|state| state.state())
            .is_none_or(|state| is(state.as_str(), "associated") || is(state.as_str(), "associating"))
    };
    let v4 = vpc.cidr_block_association_set().iter().filter(|a| held(a.cidr_block_state())).map(|a| a.cidr_block());
    let v6 = vpc
        .ipv6_cidr_block_association_set()
        .iter()
        .filter(|a| held(a.ipv6_cidr_block_state()))
        .map(|a| a.ipv6_cidr_block());
    let mut cidrs: Vec<IpNet> =
        [vpc.cidr_block()].into_iter().chain(v4).chain(v6).flatten().filter_map(|text| cidr("VPC", text)).collect();
    cidrs.sort_unstable();
    cidrs.dedup();
    Some(Vpc { id: id.into(), owner: owner.to_owned(), cidrs })
}

fn endpoint_type(text: Option<&str>) -> EndpointType {
    match text {
        Some(text) if is(text, "Interface") => EndpointType::Interface,
        Some(text) if is(text, "Gateway") => EndpointType::Gateway,
        _ => EndpointType::Other,
    }
}

/// An endpoint.
pub(super) fn endpoint(endpoint: &ec2::VpcEndpoint) -> Option<Endpoint> {
    let id = required("endpoint", "VpcEndpointId", endpoint.vpc_endpoint_id())?;
    let vpc = required("endpoint", "VpcId", endpoint.vpc_id())?;
    let last_error = endpoint.last_error().map(|error| {
        let parts = [error.code(), error.message()];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    });
    Some(Endpoint {
        id: id.into(),
        vpc: vpc.into(),
        // Endpoints of resources and of service networks have none, and are none of our business.
        service_name: endpoint.service_name().unwrap_or_default().to_owned(),
        kind: endpoint_type(endpoint.vpc_endpoint_type().map(ec2::VpcEndpointType::as_str)),
        state: EndpointState::parse(endpoint.state().map_or("", ec2::State::as_str)),
        failure: last_error
            .filter(|text| !text.is_empty())
            .or_else(|| endpoint.failure_reason().filter(|text| !text.is_empty()).map(str::to_owned)),
        subnets: endpoint.subnet_ids().iter().map(|id| id.as_str().into()).collect(),
        groups: endpoint.groups().iter().filter_map(|group| group.group_id()).map(SecurityGroupId::from).collect(),
        route_tables: endpoint.route_table_ids().iter().map(|id| RouteTableId::from(id.as_str())).collect(),
        network_interfaces: endpoint.network_interface_ids().iter().map(|id| id.as_str().into()).collect(),
        private_dns: endpoint.private_dns_enabled().unwrap_or(false),
        ip_address_type: endpoint.ip_address_type().and_then(|t| IpAddressType::parse(t.as_str())),
        policy: endpoint.policy_document().map(str::to_owned),
        requester_managed: endpoint.requester_managed().unwrap_or(false),
        tags: tags(endpoint.tags()),
    })
}

/// A security group.
pub(super) fn security_group(group: &ec2::SecurityGroup) -> Option<SecurityGroup> {
    Some(SecurityGroup {
        id: required("security group", "GroupId", group.group_id())?.into(),
        vpc: required("security group", "VpcId", group.vpc_id())?.into(),
        name: group.group_name().unwrap_or_default().to_owned(),
        ingress: group.ip_permissions().iter().flat_map(ingress).collect(),
        tags: tags(group.tags()),
    })
}

/// The rules of a permission, one for each source.
fn ingress(permission: &ec2::IpPermission) -> Vec<IngressRule> {
    let Some(protocol) = required("ingress rule", "IpProtocol", permission.ip_protocol()) else {
        return Vec::new();
    };
    let ports = match (permission.from_port(), permission.to_port()) {
        // -1 is ICMP's word for all.
        (Some(from), Some(to)) if protocol != "-1" && from >= 0 => Some((from, to)),
        _ => None,
    };
    let v4 = permission.ip_ranges().iter().map(|range| (range.cidr_ip(), range.description()));
    let v6 = permission.ipv6_ranges().iter().map(|range| (range.cidr_ipv6(), range.description()));
    let cidrs = v4
        .chain(v6)
        .filter_map(|(text, description)| Some((RuleSource::Cidr(cidr("ingress rule", text?)?), description)));
    let groups = permission
        .user_id_group_pairs()
        .iter()
        .filter_map(|pair| Some((RuleSource::Group(pair.group_id()?.into()), pair.description())));
    let lists = permission
        .prefix_list_ids()
        .iter()
        .filter_map(|list| Some((RuleSource::PrefixList(list.prefix_list_id()?.into()), list.description())));
    cidrs
        .chain(groups)
        .chain(lists)
        .map(|(source, description)| IngressRule {
            protocol: protocol.to_owned(),
            ports,
            source,
            description: description.map(str::to_owned),
        })
        .collect()
}

/// An instance that still exists.
pub(super) fn instance(instance: &ec2::Instance) -> Option<Instance> {
    let state = instance.state().and_then(|state| state.name()).map_or("", ec2::InstanceStateName::as_str);
    let state = match state.to_ascii_lowercase().as_str() {
        "terminated" | "shutting-down" => return None,
        "stopping" | "stopped" => InstanceState::Stopped,
        "pending" | "running" => InstanceState::Running,
        _ => {
            // What is perhaps running is not to be cut off.
            tracing::warn!(state, "an instance in a state that we do not know counts as running");
            InstanceState::Running
        }
    };
    let metadata = || instance.metadata_options();
    Some(Instance {
        id: required("instance", "InstanceId", instance.instance_id())?.into(),
        vpc: required("instance", "VpcId", instance.vpc_id())?.into(),
        subnet: required("instance", "SubnetId", instance.subnet_id())?.into(),
        state,
        profile: instance.iam_instance_profile().and_then(|profile| given(profile.arn())),
        imds_v1: metadata().and_then(|options| options.http_tokens()).map(|tokens| is(tokens.as_str(), "optional")),
        imds: metadata().and_then(|options| options.http_endpoint()).map(|endpoint| is(endpoint.as_str(), "enabled")),
        tags: tags(instance.tags()),
    })
}

/// An EC2 instance that Systems Manager knows; none for a hybrid node.
pub(super) fn managed_node(node: &InstanceInformation) -> Option<ManagedNode> {
    let id = required("managed node", "InstanceId", node.instance_id())?;
    if id.starts_with("mi-") {
        return None;
    }
    Some(ManagedNode {
        id: id.into(),
        online: node.ping_status().is_some_and(|status| is(status.as_str(), "Online")),
        agent_version: node.agent_version().filter(|version| !version.is_empty()).map(str::to_owned),
    })
}

/// A subnet.
pub(super) fn subnet(subnet: &ec2::Subnet) -> Option<Subnet> {
    let held = |association: &&ec2::SubnetIpv6CidrBlockAssociation| {
        association.ipv6_cidr_block_state().and_then(|state| state.state()).is_none_or(|s| is(s.as_str(), "associated"))
    };
    Some(Subnet {
        id: required("subnet", "SubnetId", subnet.subnet_id())?.into(),
        vpc: required("subnet", "VpcId", subnet.vpc_id())?.into(),
        zone: required("subnet", "AvailabilityZone", subnet.availability_zone())?.to_owned(),
        zone_id: subnet.availability_zone_id().unwrap_or_default().to_owned(),
        free_addresses: subnet.available_ip_address_count().unwrap_or(0).into(),
        has_ipv4: subnet.cidr_block().is_some_and(|cidr| !cidr.is_empty()) && subnet.ipv6_native() != Some(true),
        has_ipv6: subnet.ipv6_cidr_block_association_set().iter().any(|association| held(&association)),
        tags: tags(subnet.tags()),
    })
}

/// A route table.
pub(super) fn route_table(table: &ec2::RouteTable) -> Option<RouteTable> {
    let held = |association: &&ec2::RouteTableAssociation| {
        association
            .association_state()
            .and_then(|state| state.state())
            .is_none_or(|state| is(state.as_str(), "associated") || is(state.as_str(), "associating"))
    };
    let associations = || table.associations().iter().filter(held);
    let endpoint_route = |route: &ec2::Route| {
        let endpoint = route.gateway_id().filter(|gateway| gateway.starts_with("vpce-"))?;
        Some((PrefixListId::from(route.destination_prefix_list_id()?), endpoint.to_owned()))
    };
    Some(RouteTable {
        id: required("route table", "RouteTableId", table.route_table_id())?.into(),
        vpc: required("route table", "VpcId", table.vpc_id())?.into(),
        main: associations().any(|association| association.main() == Some(true)),
        subnets: associations().filter_map(|association| association.subnet_id()).map(Into::into).collect(),
        endpoint_routes: table.routes().iter().filter_map(endpoint_route).collect(),
        tags: tags(table.tags()),
    })
}

/// A service: one entry for each type of endpoint that it takes.
pub(super) fn services(detail: &ec2::ServiceDetail) -> Vec<Service> {
    let Some(name) = required("endpoint service", "ServiceName", detail.service_name()) else {
        return Vec::new();
    };
    // What other accounts offer may bear any name; only AWS's own services are looked for.
    if detail.owner().is_some_and(|owner| !is(owner, "amazon")) {
        return Vec::new();
    }
    let mut private_dns_names: Vec<String> =
        detail.private_dns_names().iter().filter_map(|names| names.private_dns_name()).map(str::to_owned).collect();
    if let Some(first) = detail.private_dns_name()
        && !private_dns_names.iter().any(|known| known == first)
    {
        private_dns_names.insert(0, first.to_owned());
    }
    let families = detail.supported_ip_address_types();
    let supports = |family: &str| families.iter().any(|supported| is(supported.as_str(), family));
    detail
        .service_type()
        .iter()
        .map(|taken| Service {
            name: name.to_owned(),
            kind: endpoint_type(taken.service_type().map(ec2::ServiceType::as_str)),
            zones: detail.availability_zones().iter().cloned().collect(),
            private_dns_names: private_dns_names.clone(),
            // Older services do not say; there was only IPv4 then.
            ipv4: families.is_empty() || supports("ipv4"),
            ipv6: supports("ipv6"),
        })
        .collect()
}

/// A network interface.
pub(super) fn network_interface(interface: &ec2::NetworkInterface) -> Option<NetworkInterface> {
    Some(NetworkInterface {
        id: required("network interface", "NetworkInterfaceId", interface.network_interface_id())?.into(),
        description: interface.description().unwrap_or_default().to_owned(),
    })
}

/// What IAM says of an action; none where it cannot say, because a policy's condition asks for what only a real call
/// has, such as the tags of a request.
pub(super) fn permission(result: &EvaluationResult) -> Option<Permission> {
    // For a resource that the question names they are with that resource.
    let of_resources = result.resource_specific_results().iter().flat_map(|of| of.missing_context_values());
    let decision = result.eval_decision().as_str();
    let allowed = is(decision, PolicyEvaluationDecisionType::Allowed.as_str());
    let denied = is(decision, PolicyEvaluationDecisionType::ExplicitDeny.as_str());
    let missing = of_resources.chain(result.missing_context_values()).next().is_some();
    let known = allowed || denied || !missing;
    known.then(|| Permission { action: result.eval_action_name().to_owned(), allowed })
}

/// Tags, as the SDK takes them.
pub(super) fn tags_of(tags: &Tags) -> Vec<ec2::Tag> {
    tags.iter().map(|(key, value)| ec2::Tag::builder().key(key).value(value).build()).collect()
}

/// The tags of a thing that is made with them.
pub(super) fn tag_specification(of: ec2::ResourceType, tags: &Tags) -> Option<Vec<ec2::TagSpecification>> {
    (!tags.is_empty())
        .then(|| vec![ec2::TagSpecification::builder().resource_type(of).set_tags(Some(tags_of(tags))).build()])
}

/// What a question says of the request, or nothing to be sent.
pub(super) fn context_entries(context: &[(String, String)]) -> Option<Vec<ContextEntry>> {
    let entry = |(key, value): &(String, String)| {
        ContextEntry::builder()
            .context_key_name(key)
            .context_key_values(value)
            .context_key_type(ContextKeyTypeEnum::String)
            .build()
    };
    (!context.is_empty()).then(|| context.iter().map(entry).collect())
}

/// Ingress rules, as the SDK takes them: one permission for each protocol and port range.
pub(super) fn permissions_of(rules: &[IngressRule]) -> Vec<ec2::IpPermission> {
    let mut grouped: BTreeMap<_, Vec<&IngressRule>> = BTreeMap::new();
    for rule in rules {
        grouped.entry((rule.protocol.as_str(), rule.ports)).or_default().push(rule);
    }
    grouped
        .into_iter()
        .map(|((protocol, ports), rules)| {
            let permission = ec2::IpPermission::builder()
                .ip_protocol(protocol)
                .set_from_port(ports.map(|(from, _)| from))
                .set_to_port(ports.map(|(_, to)| to));
            rules.into_iter().fold(permission, with_source).build()
        })
        .collect()
}

fn with_source(
    permission: ec2::builders::IpPermissionBuilder,
    rule: &IngressRule,
) -> ec2::builders::IpPermissionBuilder {
    let description = rule.description.clone();
    match &rule.source {
        RuleSource::Cidr(IpNet::V4(net)) => {
            permission.ip_ranges(ec2::IpRange::builder().cidr_ip(net.to_string()).set_description(description).build())
        }
        RuleSource::Cidr(IpNet::V6(net)) => permission
            .ipv6_ranges(ec2::Ipv6Range::builder().cidr_ipv6(net.to_string()).set_description(description).build()),
        RuleSource::Group(id) => permission.user_id_group_pairs(
            ec2::UserIdGroupPair::builder().group_id(id.as_str()).set_description(description).build(),
        ),
        RuleSource::PrefixList(id) => permission.prefix_list_ids(
            ec2::PrefixListId::builder().prefix_list_id(id.as_str()).set_description(description).build(),
        ),
    }
}

#[cfg(test)]
mod tests;
