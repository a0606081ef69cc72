//! One table or two for each conversion.

use std::collections::BTreeSet;

use aws_sdk_iam::types::EvaluationResult;
use proptest::prelude::*;

use super::*;
use crate::near::near;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn v4(cidr: &str, state: Option<&str>) -> ec2::VpcCidrBlockAssociation {
    ec2::VpcCidrBlockAssociation::builder().cidr_block(cidr).set_cidr_block_state(state.map(vpc_state)).build()
}

fn v6(cidr: &str, state: &str) -> ec2::VpcIpv6CidrBlockAssociation {
    ec2::VpcIpv6CidrBlockAssociation::builder().ipv6_cidr_block(cidr).ipv6_cidr_block_state(vpc_state(state)).build()
}

fn vpc_state(state: &str) -> ec2::VpcCidrBlockState {
    ec2::VpcCidrBlockState::builder().state(state.into()).build()
}

fn tag(key: &str, value: &str) -> ec2::Tag {
    ec2::Tag::builder().key(key).value(value).build()
}

#[test]
fn a_vpc_has_the_cidrs_that_it_holds() {
    let read = vpc(&ec2::Vpc::builder()
        .vpc_id("vpc-1")
        .owner_id("111122223333")
        .cidr_block("10.0.0.0/16")
        .cidr_block_association_set(v4("10.0.0.0/16", Some("associated")))
        .cidr_block_association_set(v4("10.1.0.0/16", Some("Associating")))
        .cidr_block_association_set(v4("10.2.0.0/16", Some("disassociated")))
        .cidr_block_association_set(v4("10.3.0.0/16", Some("failed")))
        .cidr_block_association_set(v4("10.4.0.0/16", None))
        .ipv6_cidr_block_association_set(v6("2001:db8::/56", "associated"))
        .ipv6_cidr_block_association_set(v6("2001:db8:1::/56", "disassociating"))
        .build())
    .unwrap();
    assert_eq!(read.owner, "111122223333");
    assert_eq!(read.cidrs, ["10.0.0.0/16", "10.1.0.0/16", "10.4.0.0/16", "2001:db8::/56"].map(net));
}

#[test]
fn things_without_an_id_are_left_out() {
    assert_eq!(vpc(&ec2::Vpc::builder().owner_id("111122223333").build()), None);
    assert_eq!(endpoint(&ec2::VpcEndpoint::builder().vpc_id("vpc-1").build()), None);
    assert_eq!(security_group(&ec2::SecurityGroup::builder().group_id("sg-1").build()), None);
    assert_eq!(subnet(&ec2::Subnet::builder().vpc_id("vpc-1").build()), None);
    assert_eq!(route_table(&ec2::RouteTable::builder().build()), None);
    assert_eq!(instance(&ec2::Instance::builder().build()), None);
    assert_eq!(managed_node(&InstanceInformation::builder().build()), None);
    assert_eq!(services(&ec2::ServiceDetail::builder().build()), []);
    assert_eq!(network_interface(&ec2::NetworkInterface::builder().network_interface_id("").build()), None);
}

#[test]
fn endpoints_are_read_in_the_casing_of_the_wire_and_of_the_model() {
    for (kind, state) in [("Interface", "Available"), ("interface", "available"), ("INTERFACE", "AVAILABLE")] {
        let read = endpoint(
            &ec2::VpcEndpoint::builder()
                .vpc_endpoint_id("vpce-1")
                .vpc_id("vpc-1")
                .service_name("com.amazonaws.eu-west-1.ssm")
                .vpc_endpoint_type(kind.into())
                .state(state.into())
                .private_dns_enabled(true)
                .ip_address_type("Dualstack".into())
                .subnet_ids("subnet-2")
                .subnet_ids("subnet-1")
                .groups(ec2::SecurityGroupIdentifier::builder().group_id("sg-1").build())
                .network_interface_ids("eni-1")
                .policy_document("{}")
                .tags(tag("ssmready.dev/cluster", "c1"))
                .build(),
        )
        .unwrap();
        assert_eq!((read.kind, &read.state), (EndpointType::Interface, &EndpointState::Available), "{kind} {state}");
        assert!(read.private_dns && !read.requester_managed);
        assert_eq!(read.ip_address_type, Some(IpAddressType::Dualstack));
        assert_eq!(read.subnets, ["subnet-1".into(), "subnet-2".into()].into());
        assert_eq!(read.groups, ["sg-1".into()].into());
        assert_eq!(read.policy.as_deref(), Some("{}"));
        assert_eq!(read.tags.get("ssmready.dev/cluster").map(String::as_str), Some("c1"));
    }
}

#[test]
fn what_is_not_said_of_an_endpoint_is_not_made_up() {
    let read = endpoint(&ec2::VpcEndpoint::builder().vpc_endpoint_id("vpce-1").vpc_id("vpc-1").build()).unwrap();
    assert_eq!(read.kind, EndpointType::Other);
    assert_eq!(read.state, EndpointState::Unknown(String::new()));
    assert_eq!((read.ip_address_type, read.policy, read.failure), (None, None, None));
}

#[test]
fn an_endpoint_says_why_it_failed() {
    let base = || ec2::VpcEndpoint::builder().vpc_endpoint_id("vpce-1").vpc_id("vpc-1").state("failed".into());
    let error = ec2::LastError::builder().code("ServiceError").message("no addresses").build();
    let said = endpoint(&base().last_error(error).failure_reason("other").build()).unwrap().failure;
    assert_eq!(said.as_deref(), Some("ServiceError: no addresses"));
    let said = endpoint(&base().failure_reason("other").build()).unwrap().failure;
    assert_eq!(said.as_deref(), Some("other"));
}

#[test]
fn a_permission_of_many_sources_is_as_many_rules() {
    let group = security_group(
        &ec2::SecurityGroup::builder()
            .group_id("sg-1")
            .vpc_id("vpc-1")
            .group_name("ssm-ready")
            .ip_permissions(
                ec2::IpPermission::builder()
                    .ip_protocol("tcp")
                    .from_port(443)
                    .to_port(443)
                    .ip_ranges(ec2::IpRange::builder().cidr_ip("10.0.0.0/16").description("VPC").build())
                    .ip_ranges(ec2::IpRange::builder().cidr_ip("not a cidr").build())
                    .ipv6_ranges(ec2::Ipv6Range::builder().cidr_ipv6("2001:db8::/56").build())
                    .user_id_group_pairs(ec2::UserIdGroupPair::builder().group_id("sg-2").build())
                    .prefix_list_ids(ec2::PrefixListId::builder().prefix_list_id("pl-1").build())
                    .build(),
            )
            .ip_permissions(
                ec2::IpPermission::builder()
                    .ip_protocol("-1")
                    .from_port(-1)
                    .to_port(-1)
                    .user_id_group_pairs(ec2::UserIdGroupPair::builder().group_id("sg-1").build())
                    .build(),
            )
            .ip_permissions(
                ec2::IpPermission::builder()
                    .ip_protocol("icmp")
                    .from_port(-1)
                    .to_port(-1)
                    .ip_ranges(ec2::IpRange::builder().cidr_ip("0.0.0.0/0").build())
                    .build(),
            )
            .build(),
    )
    .unwrap();
    let seen: Vec<String> =
        group.ingress.iter().map(|r| format!("{} {:?} {}", r.protocol, r.ports, r.source)).collect();
    assert_eq!(
        seen,
        [
            "tcp Some((443, 443)) 10.0.0.0/16",
            "tcp Some((443, 443)) 2001:db8::/56",
            "tcp Some((443, 443)) sg-2",
            "tcp Some((443, 443)) pl-1",
            "-1 None sg-1",
            "icmp None 0.0.0.0/0",
        ]
    );
    assert_eq!(group.ingress[0].description.as_deref(), Some("VPC"));
}

#[test]
fn rules_are_read_back_as_they_were_written() {
    let rule = |protocol: &str, ports, source| IngressRule {
        protocol: protocol.into(),
        ports,
        source,
        description: Some("ssm-ready".into()),
    };
    let https = Some((443, 443));
    let rules = vec![
        rule("tcp", https, RuleSource::Cidr(net("10.0.0.0/16"))),
        rule("tcp", https, RuleSource::Cidr(net("2001:db8::/56"))),
        rule("tcp", https, RuleSource::Group("sg-2".into())),
        rule("tcp", https, RuleSource::PrefixList("pl-1".into())),
        rule("-1", None, RuleSource::Cidr(net("10.9.0.0/16"))),
    ];
    let written = permissions_of(&rules);
    let ports: Vec<_> = written.iter().map(|p| (p.ip_protocol().unwrap(), p.from_port(), p.to_port())).collect();
    assert_eq!(ports, [("-1", None, None), ("tcp", Some(443), Some(443))]);
    let sorted = |rules: &[IngressRule]| rules.iter().cloned().collect::<BTreeSet<_>>();
    let read: Vec<IngressRule> = written.iter().flat_map(ingress).collect();
    assert_eq!(sorted(&read), sorted(&rules));
}

#[test]
fn instances_that_are_gone_are_left_out() {
    for (state, expected) in [
        ("pending", Some(InstanceState::Running)),
        ("running", Some(InstanceState::Running)),
        ("Running", Some(InstanceState::Running)),
        ("stopping", Some(InstanceState::Stopped)),
        ("stopped", Some(InstanceState::Stopped)),
        ("shutting-down", None),
        ("terminated", None),
        ("hibernated-by-2030", Some(InstanceState::Running)),
    ] {
        let read = instance(
            &ec2::Instance::builder()
                .instance_id("i-1")
                .vpc_id("vpc-1")
                .subnet_id("subnet-1")
                .state(ec2::InstanceState::builder().name(state.into()).build())
                .build(),
        );
        assert_eq!(read.map(|i| i.state), expected, "{state}");
    }
}

#[test]
fn an_instance_says_its_profile_and_how_its_metadata_is_read() {
    let base = || {
        ec2::Instance::builder()
            .instance_id("i-1")
            .vpc_id("vpc-1")
            .subnet_id("subnet-1")
            .state(ec2::InstanceState::builder().name("running".into()).build())
    };
    let silent = instance(&base().build()).unwrap();
    assert_eq!((silent.profile, silent.imds_v1, silent.imds), (None, None, None));
    let tag = ec2::Tag::builder().key("env").value("prod").build();
    let tagged = instance(&base().tags(tag).build()).unwrap();
    assert_eq!((silent.tags.len(), tagged.tags.get("env").map(String::as_str)), (0, Some("prod")));
    let arn = "arn:aws:iam::111122223333:instance-profile/ops/p";
    for (given, expected) in [(Some(arn), Some(arn)), (Some(""), None), (None, None)] {
        let profile = ec2::IamInstanceProfile::builder().set_arn(given.map(str::to_owned)).id("AIPA1").build();
        assert_eq!(instance(&base().iam_instance_profile(profile).build()).unwrap().profile.as_deref(), expected);
    }
    for (tokens, endpoint, imds_v1, imds) in [
        (Some("optional"), Some("enabled"), Some(true), Some(true)),
        (Some("required"), Some("disabled"), Some(false), Some(false)),
        (Some("Optional"), Some("Enabled"), Some(true), Some(true)),
        (Some("new"), Some("new"), Some(false), Some(false)),
        (None, None, None, None),
    ] {
        let options = ec2::InstanceMetadataOptionsResponse::builder()
            .set_http_tokens(tokens.map(Into::into))
            .set_http_endpoint(endpoint.map(Into::into))
            .build();
        let read = instance(&base().metadata_options(options).build()).unwrap();
        assert_eq!((read.imds_v1, read.imds), (imds_v1, imds), "{tokens:?} {endpoint:?}");
    }
}

#[test]
fn only_ec2_instances_that_ping_are_online() {
    for (id, status, online) in [
        ("i-1", "Online", Some(true)),
        ("i-1", "online", Some(true)),
        ("i-1", "ConnectionLost", Some(false)),
        ("i-1", "Inactive", Some(false)),
        ("mi-1", "Online", None),
    ] {
        let node =
            InstanceInformation::builder().instance_id(id).ping_status(status.into()).agent_version("3.3.40.0").build();
        assert_eq!(managed_node(&node).map(|n| n.online), online, "{id} {status}");
    }
}

#[test]
fn subnets_say_their_families() {
    let v6 = |state: &str| {
        ec2::SubnetIpv6CidrBlockAssociation::builder()
            .ipv6_cidr_block("2001:db8::/64")
            .ipv6_cidr_block_state(ec2::SubnetCidrBlockState::builder().state(state.into()).build())
            .build()
    };
    let base = || {
        ec2::Subnet::builder()
            .subnet_id("subnet-1")
            .vpc_id("vpc-1")
            .availability_zone("eu-west-1a")
            .availability_zone_id("euw1-az1")
            .available_ip_address_count(251)
    };
    for (given, families) in [
        (base().cidr_block("10.0.0.0/24").build(), (true, false)),
        (base().cidr_block("10.0.0.0/24").ipv6_cidr_block_association_set(v6("associated")).build(), (true, true)),
        (base().cidr_block("10.0.0.0/24").ipv6_cidr_block_association_set(v6("disassociated")).build(), (true, false)),
        (base().ipv6_native(true).ipv6_cidr_block_association_set(v6("associated")).build(), (false, true)),
    ] {
        let read = subnet(&given).unwrap();
        assert_eq!((read.has_ipv4, read.has_ipv6), families);
        assert_eq!((read.zone.as_str(), read.zone_id.as_str(), read.free_addresses), ("eu-west-1a", "euw1-az1", 251));
    }
}

#[test]
fn route_tables_say_who_uses_them_and_where_endpoints_are() {
    let association = |subnet: Option<&str>, main, state: &str| {
        ec2::RouteTableAssociation::builder()
            .set_subnet_id(subnet.map(str::to_owned))
            .main(main)
            .association_state(ec2::RouteTableAssociationState::builder().state(state.into()).build())
            .build()
    };
    let route = |list: Option<&str>, gateway: &str| {
        ec2::Route::builder().set_destination_prefix_list_id(list.map(str::to_owned)).gateway_id(gateway).build()
    };
    let read = route_table(
        &ec2::RouteTable::builder()
            .route_table_id("rtb-1")
            .vpc_id("vpc-1")
            .associations(association(None, true, "associated"))
            .associations(association(Some("subnet-1"), false, "associated"))
            .associations(association(Some("subnet-2"), false, "disassociated"))
            .routes(route(Some("pl-1"), "vpce-1"))
            .routes(route(Some("pl-2"), "igw-1"))
            .routes(route(None, "local"))
            .build(),
    )
    .unwrap();
    assert!(read.main);
    assert_eq!(read.subnets, ["subnet-1".into()].into());
    assert_eq!(read.endpoint_routes, [("pl-1".into(), "vpce-1".to_owned())].into());
}

#[test]
fn a_service_of_two_types_is_two() {
    let taken = |kind: &str| ec2::ServiceTypeDetail::builder().service_type(kind.into()).build();
    let name = |name: &str| ec2::PrivateDnsDetails::builder().private_dns_name(name).build();
    let read = services(
        &ec2::ServiceDetail::builder()
            .service_name("com.amazonaws.eu-west-1.s3")
            .service_type(taken("Gateway"))
            .service_type(taken("Interface"))
            .service_type(taken("GatewayLoadBalancer"))
            .availability_zones("eu-west-1a")
            .private_dns_name("s3.eu-west-1.amazonaws.com")
            .private_dns_names(name("s3.eu-west-1.amazonaws.com"))
            .private_dns_names(name("*.s3.eu-west-1.amazonaws.com"))
            .supported_ip_address_types("ipv4".into())
            .supported_ip_address_types("ipv6".into())
            .build(),
    );
    let kinds: Vec<EndpointType> = read.iter().map(|s| s.kind).collect();
    assert_eq!(kinds, [EndpointType::Gateway, EndpointType::Interface, EndpointType::Other]);
    assert!(read.iter().all(|s| s.ipv4 && s.ipv6 && s.private_dns_names.len() == 2));
    let silent = services(&ec2::ServiceDetail::builder().service_name("x").service_type(taken("Interface")).build());
    assert_eq!(silent.iter().map(|s| (s.ipv4, s.ipv6)).collect::<Vec<_>>(), [(true, false)]);
}

#[test]
fn a_permission_that_hangs_on_the_request_is_not_judged() {
    let result = |decision: &str, missing: Option<&str>| {
        EvaluationResult::builder()
            .eval_action_name("ec2:CreateVpcEndpoint")
            .eval_decision(decision.into())
            .set_missing_context_values(missing.map(|m| vec![m.to_owned()]))
            .build()
            .unwrap()
    };
    for (decision, missing, allowed) in [
        ("allowed", None, Some(true)),
        ("Allowed", Some("aws:RequestTag/owner"), Some(true)),
        ("implicitDeny", None, Some(false)),
        ("implicitDeny", Some("aws:RequestTag/owner"), None),
        ("explicitDeny", Some("aws:RequestTag/owner"), Some(false)),
    ] {
        assert_eq!(permission(&result(decision, missing)).map(|p| p.allowed), allowed, "{decision} {missing:?}");
    }
}

const WORDS: &[&str] = &[
    "vpc-1",
    "vpce-1",
    "subnet-1",
    "10.0.0.0/16",
    "2001:db8::/56",
    "associated",
    "available",
    "tcp",
    "-1",
    "running",
    "terminated",
    "Interface",
    "Gateway",
    "ipv4",
    "amazon",
    "mi-1",
    "Online",
    "3.3.40.0",
];

/// What a thing is filled from, field by field; and over again when it runs out.
#[derive(Debug, Clone)]
struct Dice {
    texts: Vec<Option<String>>,
    numbers: Vec<Option<i32>>,
    flags: Vec<Option<bool>>,
    at: std::cell::Cell<usize>,
}

impl Dice {
    fn next<T: Clone>(&self, of: &[Option<T>]) -> Option<T> {
        let at = self.at.get();
        self.at.set(at + 1);
        of[at % of.len()].clone()
    }

    fn text(&self) -> Option<String> {
        self.next(&self.texts)
    }

    fn number(&self) -> Option<i32> {
        self.next(&self.numbers)
    }

    fn flag(&self) -> Option<bool> {
        self.next(&self.flags)
    }

    /// None, or up to three.
    fn some<T>(&self, one: impl Fn() -> T) -> Option<Vec<T>> {
        self.number().map(|n| (0..n.rem_euclid(4)).map(|_| one()).collect())
    }

    fn tags(&self) -> Option<Vec<ec2::Tag>> {
        self.some(|| ec2::Tag::builder().set_key(self.text()).set_value(self.text()).build())
    }

    fn vpc_state(&self) -> Option<ec2::VpcCidrBlockState> {
        let state = self.text().map(|t| t.as_str().into());
        self.flag().map(|_| ec2::VpcCidrBlockState::builder().set_state(state).build())
    }
}

fn dice() -> impl Strategy<Value = Dice> {
    let text = proptest::option::weighted(0.8, near(WORDS));
    let number = proptest::option::of(prop_oneof![0..4, Just(443), Just(-1), Just(i32::MIN), Just(i32::MAX)]);
    (
        proptest::collection::vec(text, 3..30),
        proptest::collection::vec(number, 1..12),
        proptest::collection::vec(any::<Option<bool>>(), 1..7),
    )
        .prop_map(|(texts, numbers, flags)| Dice { texts, numbers, flags, at: 0.into() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_thing_is_converted_or_left_out(d in dice()) {
        let v4 = || ec2::VpcCidrBlockAssociation::builder()
            .set_cidr_block(d.text()).set_cidr_block_state(d.vpc_state()).build();
        let v6 = || ec2::VpcIpv6CidrBlockAssociation::builder()
            .set_ipv6_cidr_block(d.text()).set_ipv6_cidr_block_state(d.vpc_state()).build();
        let given = ec2::Vpc::builder()
            .set_vpc_id(d.text()).set_owner_id(d.text()).set_cidr_block(d.text())
            .set_cidr_block_association_set(d.some(v4)).set_ipv6_cidr_block_association_set(d.some(v6))
            .build();
        if let Some(read) = vpc(&given) {
            prop_assert_eq!(Some(read.id.as_str()), given.vpc_id());
            prop_assert!(!read.id.as_str().is_empty() && !read.owner.is_empty());
            prop_assert!(read.cidrs.is_sorted());
        }

        let given = ec2::VpcEndpoint::builder()
            .set_vpc_endpoint_id(d.text()).set_vpc_id(d.text()).set_service_name(d.text())
            .set_vpc_endpoint_type(d.text().map(|t| t.as_str().into())).set_state(d.text().map(|t| t.as_str().into()))
            .set_failure_reason(d.text())
            .set_last_error(d.flag().map(|_| {
                ec2::LastError::builder().set_code(d.text()).set_message(d.text()).build()
            }))
            .set_subnet_ids(d.some(|| d.text().unwrap_or_default()))
            .set_route_table_ids(d.some(|| d.text().unwrap_or_default()))
            .set_network_interface_ids(d.some(|| d.text().unwrap_or_default()))
            .set_groups(d.some(|| ec2::SecurityGroupIdentifier::builder().set_group_id(d.text()).build()))
            .set_private_dns_enabled(d.flag()).set_requester_managed(d.flag())
            .set_ip_address_type(d.text().map(|t| t.as_str().into()))
            .set_policy_document(d.text()).set_tags(d.tags())
            .build();
        if let Some(read) = endpoint(&given) {
            prop_assert!(!read.id.as_str().is_empty() && !read.vpc.as_str().is_empty());
            let state = given.state().map_or("", ec2::State::as_str);
            prop_assert!(read.state != EndpointState::Available || state.eq_ignore_ascii_case("available"));
            prop_assert!(!read.private_dns || given.private_dns_enabled() == Some(true));
            prop_assert!(read.failure.as_deref() != Some(""));
        }

        let permission = || ec2::IpPermission::builder()
            .set_ip_protocol(d.text()).set_from_port(d.number()).set_to_port(d.number())
            .set_ip_ranges(d.some(|| {
                ec2::IpRange::builder().set_cidr_ip(d.text()).set_description(d.text()).build()
            }))
            .set_ipv6_ranges(d.some(|| ec2::Ipv6Range::builder().set_cidr_ipv6(d.text()).build()))
            .set_user_id_group_pairs(d.some(|| ec2::UserIdGroupPair::builder().set_group_id(d.text()).build()))
            .set_prefix_list_ids(d.some(|| ec2::PrefixListId::builder().set_prefix_list_id(d.text()).build()))
            .build();
        let given = ec2::SecurityGroup::builder()
            .set_group_id(d.text()).set_vpc_id(d.text()).set_group_name(d.text())
            .set_ip_permissions(d.some(permission)).set_tags(d.tags())
            .build();
        if let Some(read) = security_group(&given) {
            prop_assert!(!read.id.as_str().is_empty() && !read.vpc.as_str().is_empty());
            let sources: usize = given.ip_permissions().iter().map(|p| {
                p.ip_ranges().len() + p.ipv6_ranges().len() + p.user_id_group_pairs().len() + p.prefix_list_ids().len()
            }).sum();
            prop_assert!(read.ingress.len() <= sources);
            // What is read can be asked for again, and is the same then.
            let again: Vec<IngressRule> = permissions_of(&read.ingress).iter().flat_map(ingress).collect();
            prop_assert!(read.ingress.iter().all(|rule| again.contains(rule)), "{:?} {again:?}", read.ingress);
        }

        let given = ec2::Instance::builder()
            .set_instance_id(d.text()).set_vpc_id(d.text()).set_subnet_id(d.text())
            .set_state(d.flag().map(|_| {
                ec2::InstanceState::builder().set_name(d.text().map(|t| t.as_str().into())).build()
            }))
            .set_iam_instance_profile(d.flag().map(|_| ec2::IamInstanceProfile::builder().set_arn(d.text()).build()))
            .set_metadata_options(d.flag().map(|_| {
                ec2::InstanceMetadataOptionsResponse::builder()
                    .set_http_tokens(d.text().map(|t| t.as_str().into()))
                    .set_http_endpoint(d.text().map(|t| t.as_str().into()))
                    .build()
            }))
            .build();
        let named = [given.instance_id(), given.vpc_id(), given.subnet_id()].iter().all(|t| t.is_some_and(|t| !t.is_empty()));
        let state = given.state().and_then(|s| s.name()).map_or("", ec2::InstanceStateName::as_str).to_ascii_lowercase();
        prop_assert_eq!(instance(&given).is_some(), named && state != "terminated" && state != "shutting-down");
        if let Some(read) = instance(&given) {
            prop_assert!(read.profile.as_deref() != Some(""));
            let said = given.metadata_options().and_then(|options| options.http_tokens()).is_some();
            prop_assert_eq!(read.imds_v1.is_some(), said);
        }

        let given = InstanceInformation::builder()
            .set_instance_id(d.text()).set_agent_version(d.text())
            .set_ping_status(d.text().map(|t| t.as_str().into()))
            .build();
        if let Some(read) = managed_node(&given) {
            prop_assert!(!read.id.as_str().is_empty() && !read.id.as_str().starts_with("mi-"));
            prop_assert!(read.agent_version.as_deref() != Some(""));
        }

        let v6 = || ec2::SubnetIpv6CidrBlockAssociation::builder()
            .set_ipv6_cidr_block(d.text())
            .set_ipv6_cidr_block_state(d.flag().map(|_| {
                ec2::SubnetCidrBlockState::builder().set_state(d.text().map(|t| t.as_str().into())).build()
            }))
            .build();
        let given = ec2::Subnet::builder()
            .set_subnet_id(d.text()).set_vpc_id(d.text()).set_availability_zone(d.text())
            .set_availability_zone_id(d.text()).set_available_ip_address_count(d.number()).set_cidr_block(d.text())
            .set_ipv6_native(d.flag()).set_ipv6_cidr_block_association_set(d.some(v6)).set_tags(d.tags())
            .build();
        if let Some(read) = subnet(&given) {
            prop_assert!(!read.id.as_str().is_empty() && !read.vpc.as_str().is_empty() && !read.zone.is_empty());
            prop_assert!(!read.has_ipv4 || given.ipv6_native() != Some(true));
        }

        let association = || ec2::RouteTableAssociation::builder()
            .set_main(d.flag()).set_subnet_id(d.text())
            .set_association_state(d.flag().map(|_| {
                ec2::RouteTableAssociationState::builder().set_state(d.text().map(|t| t.as_str().into())).build()
            }))
            .build();
        let given = ec2::RouteTable::builder()
            .set_route_table_id(d.text()).set_vpc_id(d.text()).set_associations(d.some(association))
            .set_routes(d.some(|| {
                ec2::Route::builder().set_gateway_id(d.text()).set_destination_prefix_list_id(d.text()).build()
            }))
            .build();
        if let Some(read) = route_table(&given) {
            prop_assert!(!read.id.as_str().is_empty() && !read.vpc.as_str().is_empty());
            prop_assert!(read.endpoint_routes.iter().all(|(_, endpoint)| endpoint.starts_with("vpce-")));
            prop_assert!(!read.main || given.associations().iter().any(|a| a.main() == Some(true)));
        }

        let given = ec2::ServiceDetail::builder()
            .set_service_name(d.text()).set_owner(d.text()).set_private_dns_name(d.text())
            .set_private_dns_names(d.some(|| ec2::PrivateDnsDetails::builder().set_private_dns_name(d.text()).build()))
            .set_availability_zones(d.some(|| d.text().unwrap_or_default()))
            .set_supported_ip_address_types(d.some(|| d.text().unwrap_or_default().as_str().into()))
            .set_service_type(d.some(|| {
                ec2::ServiceTypeDetail::builder().set_service_type(d.text().map(|t| t.as_str().into())).build()
            }))
            .build();
        for read in services(&given) {
            prop_assert_eq!(Some(read.name.as_str()), given.service_name());
            prop_assert!(!read.name.is_empty() && given.owner().is_none_or(|o| o.eq_ignore_ascii_case("amazon")));
        }

        let given = ec2::NetworkInterface::builder()
            .set_network_interface_id(d.text()).set_description(d.text())
            .build();
        let named = given.network_interface_id().is_some_and(|id| !id.is_empty());
        prop_assert_eq!(network_interface(&given).is_some(), named);

        let given = EvaluationResult::builder()
            .eval_action_name(d.text().unwrap_or_default())
            .eval_decision(d.text().unwrap_or_default().as_str().into())
            .set_missing_context_values(d.some(|| d.text().unwrap_or_default()))
            .build();
        if let Some(read) = given.ok().as_ref().and_then(super::permission) {
            prop_assert!(!read.allowed || d.texts.iter().flatten().any(|t| t.eq_ignore_ascii_case("allowed")));
        }
    }
}
