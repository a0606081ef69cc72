"""VPC endpoints: creation, states, change, deletion."""

import json

import pytest
from conftest import ACCOUNT, OTHER, REGION, Net, refused, wait_for


def interfaces(ec2, **filters):
    wanted = [{"Name": name.replace("_", "-"), "Values": values} for name, values in filters.items()]
    return ec2.describe_network_interfaces(Filters=wanted)["NetworkInterfaces"]


def test_shows_every_field(net):
    tags = [{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "owner", "Value": "me"}]}]
    made = net.endpoint(SubnetIds=net.subnets, TagSpecifications=tags)
    seen = net.seen(made["VpcEndpointId"])
    assert seen["State"] == "available"
    assert seen["VpcEndpointType"] == "Interface"
    assert seen["OwnerId"] == ACCOUNT
    assert seen["RequesterManaged"] is False
    assert seen["Groups"] == [{"GroupId": net.group, "GroupName": "endpoints"}]
    assert seen["SubnetIds"] == net.subnets
    assert seen["RouteTableIds"] == []
    assert seen["PrivateDnsEnabled"] is True
    assert seen["IpAddressType"] == "ipv4"
    assert seen["DnsOptions"]["DnsRecordIpType"] == "ipv4"
    assert seen["Tags"] == [{"Key": "owner", "Value": "me"}]
    assert seen["CreationTimestamp"].year >= 2024
    assert json.loads(seen["PolicyDocument"])["Statement"][0]["Action"] == "*"
    assert len(seen["NetworkInterfaceIds"]) == 2
    assert f"ssm.{REGION}.amazonaws.com" in [entry["DnsName"] for entry in seen["DnsEntries"]]


def test_interfaces_carry_the_groups(net, ec2):
    made = net.endpoint(SubnetIds=net.subnets)
    found = interfaces(ec2, group_id=[net.group, "sg-00000000000000000"], interface_type=["vpc_endpoint"])
    assert {eni["NetworkInterfaceId"] for eni in found} == set(made["NetworkInterfaceIds"])
    assert {eni["SubnetId"] for eni in found} == set(net.subnets)
    assert all(made["VpcEndpointId"] in eni["Description"] for eni in found)
    by_id = ec2.describe_network_interfaces(NetworkInterfaceIds=made["NetworkInterfaceIds"])
    assert all(eni["Groups"][0]["GroupId"] == net.group for eni in by_id["NetworkInterfaces"])


def test_goes_through_its_states(standin, net):
    standin.settings(
        endpoint_pending_seconds=0.3, endpoint_deleting_seconds=0.3, endpoint_deleted_seconds=0.3
    )
    made = net.endpoint()
    endpoint_id = made["VpcEndpointId"]
    assert made["State"] == "pending"
    wait_for(lambda: net.seen(endpoint_id)["State"] == "available")
    net.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    assert net.seen(endpoint_id)["State"] == "deleting"
    assert interfaces(net.ec2, group_id=[net.group])
    wait_for(lambda: net.seen(endpoint_id)["State"] == "deleted")
    assert not interfaces(net.ec2, group_id=[net.group])
    wait_for(lambda: not net.ec2.describe_vpc_endpoints()["VpcEndpoints"])
    with refused("InvalidVpcEndpointId.NotFound"):
        net.seen(endpoint_id)


def test_may_fail(standin, net):
    error = {"code": "InternalError", "message": "no capacity"}
    standin.settings(endpoint_outcomes={"ssm": {"state": "failed", "last_error": error}})
    failed = net.seen(net.endpoint("ssm")["VpcEndpointId"])
    assert failed["State"] == "failed"
    assert failed["LastError"] == {"Code": "InternalError", "Message": "no capacity"}
    assert failed["FailureReason"] == "no capacity"
    assert net.seen(net.endpoint("logs")["VpcEndpointId"])["State"] == "available"
    standin.settings(endpoint_outcome={"state": "rejected"})
    assert net.seen(net.endpoint("kms")["VpcEndpointId"])["State"] == "rejected"


def test_casing_of_states(standin, net):
    for service in ("ssm", "ssmmessages", "ec2messages", "kms", "logs", "ec2", "monitoring", "sts"):
        net.endpoint(service)

    def states():
        return {e["State"] for e in net.ec2.describe_vpc_endpoints()["VpcEndpoints"]}

    standin.settings(state_casing="pascal")
    assert states() == {"Available"}
    standin.settings(state_casing="lower")
    assert states() == {"available"}
    standin.settings(state_casing="mixed")
    assert states() <= {"available", "Available"}
    listed = net.ec2.describe_vpc_endpoints(
        Filters=[{"Name": "vpc-endpoint-state", "Values": ["available"]}]
    )
    assert len(listed["VpcEndpoints"]) == 8


def test_visible_only_later(standin, net):
    standin.settings(endpoint_visibility_delay_seconds=0.4)
    endpoint_id = net.endpoint()["VpcEndpointId"]
    assert net.ec2.describe_vpc_endpoints()["VpcEndpoints"] == []
    with refused("InvalidVpcEndpointId.NotFound"):
        net.seen(endpoint_id)
    with refused("InvalidVpcEndpointId.NotFound"):
        net.ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, PrivateDnsEnabled=False)
    wait_for(lambda: net.ec2.describe_vpc_endpoints()["VpcEndpoints"])
    assert net.seen(endpoint_id)["VpcEndpointId"] == endpoint_id


def test_client_token(standin, net):
    first = net.endpoint(ClientToken="t1")
    assert net.endpoint(ClientToken="t1")["VpcEndpointId"] == first["VpcEndpointId"]
    with refused("IdempotentParameterMismatch"):
        net.endpoint(ClientToken="t1", SubnetIds=net.subnets)
    assert len(net.ec2.describe_vpc_endpoints()["VpcEndpoints"]) == 1
    # A token is known in its own account and Region only.
    elsewhere = Net(standin.client("ec2", account=OTHER))
    assert elsewhere.endpoint(ClientToken="t1")["VpcEndpointId"] != first["VpcEndpointId"]


def test_a_refused_creation_leaves_no_token_and_no_endpoint(net):
    with refused("InvalidServiceName"):
        net.endpoint("nosuch", ClientToken="t1")
    assert net.endpoint(ClientToken="t1")["State"]
    with refused("DuplicateSubnetsInSameZone"):
        twin = net.ec2.create_subnet(
            VpcId=net.vpc, CidrBlock="10.0.9.0/24", AvailabilityZone=f"{REGION}a"
        )["Subnet"]["SubnetId"]
        net.endpoint("kms", SubnetIds=[net.subnets[0], twin])
    assert len(net.ec2.describe_vpc_endpoints()["VpcEndpoints"]) == 1


def test_private_dns_conflict(standin, net):
    standin.settings(endpoint_deleting_seconds=0.4)
    first = net.endpoint()["VpcEndpointId"]
    message = (
        "private-dns-enabled cannot be set because there is already a conflicting DNS domain for "
        f"ssm.{REGION}.amazonaws.com in the VPC {net.vpc}"
    )
    with refused("InvalidParameter") as answer:
        net.endpoint()
    assert answer.message == message
    second = net.endpoint(PrivateDnsEnabled=False)["VpcEndpointId"]
    with refused("InvalidParameter") as answer:
        net.ec2.modify_vpc_endpoint(VpcEndpointId=second, PrivateDnsEnabled=True)
    assert answer.message == message
    net.ec2.delete_vpc_endpoints(VpcEndpointIds=[first])
    with refused("InvalidParameter") as answer:
        net.endpoint()
    assert answer.message == message
    wait_for(lambda: net.ec2.describe_vpc_endpoints()["VpcEndpoints"][0]["VpcEndpointId"] == second)
    net.ec2.modify_vpc_endpoint(VpcEndpointId=second, PrivateDnsEnabled=True)
    assert net.seen(second)["PrivateDnsEnabled"] is True


def test_private_dns_conflict_with_a_hosted_zone(standin, net):
    zone = {"account": ACCOUNT, "region": REGION, "hosted_zones": [f"ssm.{REGION}.amazonaws.com"]}
    standin.control("POST", f"vpcs/{net.vpc}", zone)
    with refused("InvalidParameter") as answer:
        net.endpoint()
    assert "conflicting DNS domain" in answer.message
    net.endpoint("ssmmessages")


def test_private_dns_needs_both_attributes(net):
    net.ec2.modify_vpc_attribute(VpcId=net.vpc, EnableDnsHostnames={"Value": False})
    message = (
        "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames "
        f"VPC attributes set to true for {net.vpc}"
    )
    with refused("InvalidParameter") as answer:
        net.endpoint()
    assert answer.message == message
    made = net.endpoint(PrivateDnsEnabled=False)["VpcEndpointId"]
    with refused("InvalidParameter") as answer:
        net.ec2.modify_vpc_endpoint(VpcEndpointId=made, PrivateDnsEnabled=True)
    assert answer.message == message


def test_defaults(net):
    service = f"com.amazonaws.{REGION}.s3"
    gateway = net.ec2.create_vpc_endpoint(VpcId=net.vpc, ServiceName=service)["VpcEndpoint"]
    assert gateway["VpcEndpointType"] == "Gateway"
    assert gateway["DnsOptions"]["DnsRecordIpType"] == "service-defined"
    made = net.ec2.create_vpc_endpoint(
        VpcId=net.vpc, ServiceName=f"com.amazonaws.{REGION}.kms", VpcEndpointType="Interface"
    )["VpcEndpoint"]
    assert [group["GroupName"] for group in made["Groups"]] == ["default"]
    assert made["PrivateDnsEnabled"] is True
    with refused("InvalidParameter"):
        net.ec2.create_vpc_endpoint(VpcId=net.vpc, ServiceName=f"com.amazonaws.{REGION}.ssm")


def test_what_does_not_exist(net):
    for code, options in {
        "InvalidServiceName": {"ServiceName": f"com.amazonaws.{REGION}.nosuch"},
        "InvalidVpcID.NotFound": {"VpcId": "vpc-00000000000000000"},
        "InvalidSubnetID.NotFound": {"SubnetIds": ["subnet-00000000000000000"]},
        "InvalidGroup.NotFound": {"SecurityGroupIds": ["sg-00000000000000000"]},
    }.items():
        with refused(code):
            net.endpoint(**options)
    with refused("InvalidRouteTableID.NotFound"):
        net.gateway("rtb-00000000000000000")
    with refused("InvalidPolicyDocument"):
        net.endpoint(PolicyDocument="{")
    with refused("InvalidPolicyDocument"):
        net.endpoint(PolicyDocument=json.dumps({"Statement": [], "Id": "x" * 20480}))


def test_what_belongs_to_another_vpc(net):
    other = Net(net.ec2, cidr="10.1.0.0/16")
    with refused("InvalidGroup.NotFound"):
        net.endpoint(SecurityGroupIds=[other.group])
    with refused("InvalidSubnetId.NotFound"):
        net.endpoint(SubnetIds=other.subnets[:1])
    with refused("InvalidRouteTableID.NotFound"):
        net.gateway(other.main_table())


def test_zone_that_is_not_served(standin, net):
    standin.settings(service_zones={f"{REGION}/ssm": [f"{REGION}b"]})
    with refused("InvalidParameter") as answer:
        net.endpoint()
    assert answer.message == (
        f"The VPC endpoint service com.amazonaws.{REGION}.ssm does not support "
        f"the availability zone of the subnet: {net.subnets[0]}."
    )
    net.endpoint(SubnetIds=net.subnets[1:])


def test_subnet_without_addresses(standin, net):
    place = {"account": ACCOUNT, "region": REGION}
    standin.control("POST", f"subnets/{net.subnets[0]}", {**place, "available_ip_address_count": 1})
    net.endpoint()
    (subnet,) = net.ec2.describe_subnets(SubnetIds=net.subnets[:1])["Subnets"]
    assert subnet["AvailableIpAddressCount"] == 0
    with refused("InsufficientFreeAddressesInSubnet"):
        net.endpoint("kms")


def test_dual_stack_needs_both_families(net):
    with refused("InvalidParameter"):
        net.endpoint(IpAddressType="dualstack")
    vpc = net.ec2.associate_vpc_cidr_block(VpcId=net.vpc, AmazonProvidedIpv6CidrBlock=True)
    block = vpc["Ipv6CidrBlockAssociation"]["Ipv6CidrBlock"].replace("/56", "/64")
    net.ec2.associate_subnet_cidr_block(SubnetId=net.subnets[0], Ipv6CidrBlock=block)
    made = net.endpoint(IpAddressType="dualstack")
    assert made["IpAddressType"] == made["DnsOptions"]["DnsRecordIpType"] == "dualstack"


def test_inbound_resolver_only_needs_a_gateway(net):
    options = {"DnsOptions": {"PrivateDnsOnlyForInboundResolverEndpoint": True}}
    with refused("InvalidParameter") as answer:
        net.endpoint("s3", **options)
    assert answer.message == (
        "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC "
        f"{net.vpc} must have a Gateway endpoint for the service."
    )
    net.gateway()
    assert net.endpoint("s3", **options)["DnsOptions"]["PrivateDnsOnlyForInboundResolverEndpoint"]


def test_quotas(standin, net):
    standin.settings(endpoint_quota={"interface": 2, "gateway": 1})
    net.endpoint("ssm")
    net.endpoint("kms")
    with refused("VpcEndpointLimitExceeded"):
        net.endpoint("logs")
    other = Net(net.ec2, cidr="10.1.0.0/16")
    other.endpoint("logs")
    net.gateway()
    with refused("VpcEndpointLimitExceeded"):
        other.gateway()


def test_gateway_routes(net):
    table = net.main_table()
    made = net.gateway(table)["VpcEndpointId"]

    def route(table_id):
        routes = net.ec2.describe_route_tables(RouteTableIds=[table_id])["RouteTables"][0]["Routes"]
        return [r for r in routes if r.get("GatewayId", "").startswith("vpce-")]

    (shown,) = route(table)
    assert shown["GatewayId"] == made
    lists = net.ec2.describe_prefix_lists()["PrefixLists"]
    s3 = next(p for p in lists if p["PrefixListName"] == f"com.amazonaws.{REGION}.s3")
    assert shown["DestinationPrefixListId"] == s3["PrefixListId"]
    assert net.ec2.get_managed_prefix_list_entries(PrefixListId=s3["PrefixListId"])["Entries"]

    with refused("RouteAlreadyExists") as answer:
        net.gateway(table)
    assert answer.message == (
        f"route table {table} already has a route with destination-prefix-list-id {s3['PrefixListId']}"
    )
    second = net.ec2.create_route_table(VpcId=net.vpc)["RouteTable"]["RouteTableId"]
    net.ec2.modify_vpc_endpoint(
        VpcEndpointId=made, AddRouteTableIds=[second], RemoveRouteTableIds=[table]
    )
    assert route(second) and not route(table)
    assert net.seen(made)["RouteTableIds"] == [second]
    net.ec2.delete_vpc_endpoints(VpcEndpointIds=[made])
    assert not route(second)


def test_modify(net, ec2):
    made = net.endpoint()["VpcEndpointId"]
    group = net.create_group("second")
    policy = json.dumps({"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*", "Principal": "*"}]})
    ec2.modify_vpc_endpoint(
        VpcEndpointId=made,
        AddSubnetIds=net.subnets[1:],
        RemoveSubnetIds=net.subnets[:1],
        AddSecurityGroupIds=[group],
        RemoveSecurityGroupIds=[net.group],
        PrivateDnsEnabled=False,
        PolicyDocument=policy,
    )
    seen = net.seen(made)
    assert seen["SubnetIds"] == net.subnets[1:]
    assert [g["GroupId"] for g in seen["Groups"]] == [group]
    assert seen["PrivateDnsEnabled"] is False
    assert seen["PolicyDocument"] == policy
    (eni,) = interfaces(ec2, vpc_id=[net.vpc], interface_type=["vpc_endpoint"])
    assert [eni["NetworkInterfaceId"]] == seen["NetworkInterfaceIds"]
    assert eni["SubnetId"] == net.subnets[1]
    assert [g["GroupId"] for g in eni["Groups"]] == [group]
    ec2.modify_vpc_endpoint(VpcEndpointId=made, ResetPolicy=True)
    assert json.loads(net.seen(made)["PolicyDocument"])["Statement"][0]["Effect"] == "Allow"


def test_a_refused_change_changes_nothing(net, ec2):
    made = net.endpoint()["VpcEndpointId"]
    before = net.seen(made)
    twin = ec2.create_subnet(VpcId=net.vpc, CidrBlock="10.0.9.0/24", AvailabilityZone=f"{REGION}a")
    for code, change in {
        "DuplicateSubnetsInSameZone": {"AddSubnetIds": [twin["Subnet"]["SubnetId"]]},
        "InvalidGroup.NotFound": {"AddSecurityGroupIds": ["sg-00000000000000000"]},
        "InvalidParameter": {"IpAddressType": "dualstack"},
        "InvalidPolicyDocument": {"PolicyDocument": "{"},
    }.items():
        with refused(code):
            ec2.modify_vpc_endpoint(VpcEndpointId=made, PrivateDnsEnabled=False, **change)
        assert net.seen(made) == before, change


def test_swapping_the_subnet_in_a_zone(net, ec2):
    made = net.endpoint()["VpcEndpointId"]
    twin = ec2.create_subnet(VpcId=net.vpc, CidrBlock="10.0.9.0/24", AvailabilityZone=f"{REGION}a")
    twin_id = twin["Subnet"]["SubnetId"]
    ec2.modify_vpc_endpoint(VpcEndpointId=made, AddSubnetIds=[twin_id], RemoveSubnetIds=net.subnets[:1])
    assert net.seen(made)["SubnetIds"] == [twin_id]


def test_modify_at_the_wrong_time(standin, net, ec2):
    standin.settings(endpoint_pending_seconds=60, endpoint_deleting_seconds=60)
    made = net.endpoint()["VpcEndpointId"]
    place = {"account": ACCOUNT, "region": REGION}
    change = {"VpcEndpointId": made, "PrivateDnsEnabled": False}
    with refused("IncorrectState"):
        ec2.modify_vpc_endpoint(**change)
    standin.control("POST", f"endpoints/{made}", {**place, "state": "available", "requester_managed": True})
    assert net.seen(made)["RequesterManaged"] is True
    with refused("OperationNotPermitted"):
        ec2.modify_vpc_endpoint(**change)
    refusal = ec2.delete_vpc_endpoints(VpcEndpointIds=[made])["Unsuccessful"]
    assert refusal[0]["Error"]["Code"] == "OperationNotPermitted"
    standin.control("POST", f"endpoints/{made}", {**place, "requester_managed": False})
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made])
    with refused("IncorrectState"):
        ec2.modify_vpc_endpoint(**change)


def test_forced_states(standin, net):
    made = net.endpoint()["VpcEndpointId"]
    place = {"account": ACCOUNT, "region": REGION}
    error = {"code": "X", "message": "broken"}
    standin.control("POST", f"endpoints/{made}", {**place, "state": "partial", "last_error": error})
    seen = net.seen(made)
    assert (seen["State"], seen["LastError"]["Code"]) == ("partial", "X")
    assert standin.refusal("POST", "endpoints/vpce-0", place) == 404


def test_unsuccessful_deletion(standin, net):
    made = net.endpoint()["VpcEndpointId"]
    unknown = "vpce-00000000000000000"
    answer = net.ec2.delete_vpc_endpoints(VpcEndpointIds=[unknown, made])["Unsuccessful"]
    assert [(u["ResourceId"], u["Error"]["Code"]) for u in answer] == [
        (unknown, "InvalidVpcEndpoint.NotFound")
    ]
    second = net.endpoint("kms")["VpcEndpointId"]
    standin.fault(effect="unsuccessful", action="DeleteVpcEndpoints", code="DependencyViolation", times=1)
    (refusal,) = net.ec2.delete_vpc_endpoints(VpcEndpointIds=[second])["Unsuccessful"]
    assert (refusal["ResourceId"], refusal["Error"]["Code"]) == (second, "DependencyViolation")
    assert net.seen(second)["State"] == "available"
    assert net.ec2.delete_vpc_endpoints(VpcEndpointIds=[second])["Unsuccessful"] == []


def test_filters(net, ec2):
    ssm = net.endpoint("ssm")["VpcEndpointId"]
    tagged = net.endpoint("kms")["VpcEndpointId"]
    gateway = net.gateway()["VpcEndpointId"]
    ec2.create_tags(Resources=[tagged], Tags=[{"Key": "a/b", "Value": "x"}])

    def ids(name, *values):
        found = ec2.describe_vpc_endpoints(Filters=[{"Name": name, "Values": list(values)}])
        return {e["VpcEndpointId"] for e in found["VpcEndpoints"]}

    assert ids("service-name", f"com.amazonaws.{REGION}.ssm") == {ssm}
    assert ids("service-name", "*.kms", "*.ssm") == {ssm, tagged}
    assert ids("vpc-endpoint-type", "Gateway") == {gateway}
    assert ids("vpc-id", net.vpc) == {ssm, tagged, gateway}
    assert ids("vpc-id", "vpc-0") == set()
    assert ids("vpc-endpoint-id", ssm) == {ssm}
    assert ids("tag:a/b", "x", "y") == {tagged}
    assert ids("tag-key", "a/b") == {tagged}
    assert ids("vpc-endpoint-state", "pending") == set()
    with refused("InvalidParameterValue"):
        ids("nosuch", "x")
    with refused("FilterLimitExceeded"):
        ids("vpc-id", *[f"vpc-{n}" for n in range(201)])


def test_tags_of_endpoints(net, ec2):
    made = net.endpoint()["VpcEndpointId"]
    ec2.create_tags(Resources=[made, net.group], Tags=[{"Key": "k", "Value": "v"}])
    assert net.seen(made)["Tags"] == [{"Key": "k", "Value": "v"}]
    ec2.delete_tags(Resources=[made], Tags=[{"Key": "k"}])
    assert net.seen(made)["Tags"] == []
    with refused("InvalidVpcEndpointId.NotFound"):
        ec2.create_tags(Resources=["vpce-00000000000000000"], Tags=[{"Key": "k", "Value": "v"}])
    with refused("InvalidParameter"):
        tags = [{"ResourceType": "vpc", "Tags": [{"Key": "k", "Value": "v"}]}]
        net.endpoint("kms", TagSpecifications=tags)


@pytest.mark.parametrize("size", [1, 3])
def test_pages(net, ec2, size):
    for service in ("ssm", "ssmmessages", "kms", "logs"):
        net.endpoint(service)
    pages = ec2.get_paginator("describe_vpc_endpoints").paginate(MaxResults=size)
    sizes = [len(page["VpcEndpoints"]) for page in pages]
    assert sum(sizes) == 4
    assert max(sizes) == size


def test_dry_run_writes_nothing(net, ec2, standin):
    with refused("DryRunOperation", 412):
        net.endpoint(DryRun=True)
    assert ec2.describe_vpc_endpoints()["VpcEndpoints"] == []
    made = net.endpoint()["VpcEndpointId"]
    with refused("DryRunOperation", 412):
        ec2.delete_vpc_endpoints(VpcEndpointIds=[made], DryRun=True)
    with refused("DryRunOperation", 412):
        ec2.modify_vpc_endpoint(VpcEndpointId=made, PrivateDnsEnabled=False, DryRun=True)
    with refused("DryRunOperation", 412):
        ec2.delete_security_group(GroupId=net.group, DryRun=True)
    assert net.seen(made)["PrivateDnsEnabled"] is True
    standin.fault(effect="denied", service="ec2", action="DeleteVpcEndpoints")
    with refused("UnauthorizedOperation", 403):
        ec2.delete_vpc_endpoints(VpcEndpointIds=[made], DryRun=True)
    assert [c["dry_run"] for c in standin.calls() if c["action"] == "DeleteVpcEndpoints"] == [True, True]


def test_what_an_endpoint_stands_in_stays(net, ec2):
    made = [net.endpoint()["VpcEndpointId"], net.gateway()["VpcEndpointId"]]
    with refused("DependencyViolation"):
        ec2.delete_subnet(SubnetId=net.subnets[0])
    ec2.delete_subnet(SubnetId=net.subnets[1])
    ec2.delete_vpc_endpoints(VpcEndpointIds=made[:1])
    ec2.delete_subnet(SubnetId=net.subnets[0])
    ec2.delete_security_group(GroupId=net.group)
    with refused("DependencyViolation"):
        ec2.delete_vpc(VpcId=net.vpc)
    ec2.delete_vpc_endpoints(VpcEndpointIds=made[1:])
    ec2.delete_vpc(VpcId=net.vpc)
