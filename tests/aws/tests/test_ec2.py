"""EC2 beside endpoints: groups, VPCs, subnets, pages."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ACCOUNT, OTHER, REGION, Net, refused, wait_for

HTTPS = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}]


def test_group_in_use(net, ec2):
    made = net.endpoint()["VpcEndpointId"]
    with refused("DependencyViolation"):
        ec2.delete_security_group(GroupId=net.group)
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made])
    ec2.delete_security_group(GroupId=net.group)
    with refused("InvalidGroup.NotFound"):
        ec2.describe_security_groups(GroupIds=[net.group])


def test_group_in_use_until_its_endpoint_is_gone(standin, net, ec2):
    standin.settings(endpoint_deleting_seconds=0.3)
    made = net.endpoint()["VpcEndpointId"]
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made])
    with refused("DependencyViolation"):
        ec2.delete_security_group(GroupId=net.group)
    wait_for(lambda: not ec2.describe_vpc_endpoints()["VpcEndpoints"])
    ec2.delete_security_group(GroupId=net.group)


def test_group_named_by_a_rule_is_in_use(net, ec2):
    other = net.create_group("other")
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": other}]}
    ec2.authorize_security_group_ingress(GroupId=net.group, IpPermissions=[rule])
    with refused("DependencyViolation"):
        ec2.delete_security_group(GroupId=other)
    ec2.delete_security_group(GroupId=net.group)
    ec2.delete_security_group(GroupId=other)


def test_group_and_rule_twice(net, ec2):
    with refused("InvalidGroup.Duplicate"):
        net.create_group("endpoints")
    ec2.authorize_security_group_ingress(GroupId=net.group, IpPermissions=HTTPS)
    with refused("InvalidPermission.Duplicate"):
        ec2.authorize_security_group_ingress(GroupId=net.group, IpPermissions=HTTPS)
    ec2.revoke_security_group_ingress(GroupId=net.group, IpPermissions=HTTPS)
    with refused("InvalidPermission.NotFound"):
        ec2.revoke_security_group_ingress(GroupId=net.group, IpPermissions=HTTPS)


def test_refused_rules_are_added_together_or_not_at_all(net, ec2):
    ec2.authorize_security_group_ingress(GroupId=net.group, IpPermissions=HTTPS)
    further = [{**HTTPS[0], "IpRanges": [{"CidrIp": "10.9.0.0/16"}]}, *HTTPS]
    with refused("InvalidPermission.Duplicate"):
        ec2.authorize_security_group_ingress(GroupId=net.group, IpPermissions=further)
    (group,) = ec2.describe_security_groups(GroupIds=[net.group])["SecurityGroups"]
    ranges = [r["CidrIp"] for p in group["IpPermissions"] for r in p["IpRanges"]]
    assert ranges == ["10.0.0.0/16"]


def test_descriptions_are_kept_and_tell_no_rules_apart(net, ec2):
    other = net.create_group("other")
    sources = {
        "IpRanges": {"CidrIp": "10.0.0.0/16"},
        "Ipv6Ranges": {"CidrIpv6": "2001:db8::/32"},
        "UserIdGroupPairs": {"GroupId": other},
        "PrefixListIds": {"PrefixListId": "pl-0123456789abcdef0"},
    }
    for kind, source in sources.items():
        bare = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, kind: [source]}
        told = {**bare, kind: [{**source, "Description": "clients"}]}
        ec2.authorize_security_group_ingress(GroupId=net.group, IpPermissions=[told])
        (group,) = ec2.describe_security_groups(GroupIds=[net.group])["SecurityGroups"]
        (seen,) = group["IpPermissions"]
        assert seen[kind][0]["Description"] == "clients", kind
        with refused("InvalidPermission.Duplicate"):
            ec2.authorize_security_group_ingress(GroupId=net.group, IpPermissions=[bare])
        ec2.revoke_security_group_ingress(GroupId=net.group, IpPermissions=[bare])
        (group,) = ec2.describe_security_groups(GroupIds=[net.group])["SecurityGroups"]
        assert group["IpPermissions"] == [], kind


def test_ipv6_of_a_subnet(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    made = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.0.0.0/24", Ipv6CidrBlock=block)["Subnet"]
    (listed,) = ec2.describe_subnets(SubnetIds=[made["SubnetId"]])["Subnets"]
    for subnet in (made, listed):
        (seen,) = subnet["Ipv6CidrBlockAssociationSet"]
        assert (seen["Ipv6CidrBlock"], seen["Ipv6CidrBlockState"]) == (block, {"State": "associated"})


def test_a_subnet_with_ipv6_alone(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    made = ec2.create_subnet(VpcId=vpc["VpcId"], Ipv6Native=True, Ipv6CidrBlock=block)["Subnet"]
    assert (made["Ipv6Native"], made["AvailableIpAddressCount"], made.get("CidrBlock")) == (True, 0, None)
    endpoint = ec2.create_vpc_endpoint(
        VpcId=vpc["VpcId"], ServiceName=f"com.amazonaws.{REGION}.ssm", VpcEndpointType="Interface",
        SubnetIds=[made["SubnetId"]], IpAddressType="ipv6", PrivateDnsEnabled=False,
    )["VpcEndpoint"]  # fmt: skip
    interfaces = ec2.describe_network_interfaces(NetworkInterfaceIds=endpoint["NetworkInterfaceIds"])
    assert interfaces["NetworkInterfaces"][0]["SubnetId"] == made["SubnetId"]


def test_all_rules_of_a_call_are_answered(net, ec2):
    rules = [HTTPS[0], {**HTTPS[0], "IpRanges": [{"CidrIp": "10.9.0.0/16"}]}]
    tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "k", "Value": "v"}]}]
    made = ec2.authorize_security_group_ingress(
        GroupId=net.group, IpPermissions=rules, TagSpecifications=tags
    )["SecurityGroupRules"]
    assert [rule["CidrIpv4"] for rule in made] == ["10.0.0.0/16", "10.9.0.0/16"]
    assert all(rule["Tags"] == [{"Key": "k", "Value": "v"}] for rule in made)


def test_group_visible_only_later(standin, net, ec2):
    standin.settings(group_visibility_delay_seconds=0.4)
    group = net.create_group("late")
    for call, options in {
        "describe_security_groups": {"GroupIds": [group]},
        "authorize_security_group_ingress": {"GroupId": group, "IpPermissions": HTTPS},
    }.items():
        with refused("InvalidGroup.NotFound"):
            getattr(ec2, call)(**options)
    with refused("InvalidGroup.NotFound"):
        net.endpoint(SecurityGroupIds=[group])
    with refused("InvalidGroup.Duplicate"):
        net.create_group("late")
    named = [{"Name": "group-name", "Values": ["late"]}]
    assert ec2.describe_security_groups(Filters=named)["SecurityGroups"] == []
    wait_for(lambda: ec2.describe_security_groups(Filters=named)["SecurityGroups"])
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=HTTPS)


def test_tags_of_groups(net, ec2):
    ec2.create_tags(Resources=[net.group], Tags=[{"Key": "k", "Value": "v"}])
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "tag:k", "Values": ["v"]}])["SecurityGroups"]
    assert group["GroupId"] == net.group
    ec2.delete_tags(Resources=[net.group], Tags=[{"Key": "k", "Value": "v"}])
    assert ec2.describe_security_groups(GroupIds=[net.group])["SecurityGroups"][0].get("Tags", []) == []


def test_shared_vpc(standin, net, ec2):
    place = {"account": ACCOUNT, "region": REGION}
    assert ec2.describe_vpcs(VpcIds=[net.vpc])["Vpcs"][0]["OwnerId"] == ACCOUNT
    standin.control("POST", f"vpcs/{net.vpc}", {**place, "owner_id": OTHER})
    assert ec2.describe_vpcs(VpcIds=[net.vpc])["Vpcs"][0]["OwnerId"] == OTHER
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [net.vpc]}])["Subnets"]
    assert {subnet["OwnerId"] for subnet in subnets} == {OTHER}
    owners = {vpc["VpcId"]: vpc["OwnerId"] for vpc in ec2.describe_vpcs()["Vpcs"]}
    assert sorted(owners.values()) == [ACCOUNT, OTHER]
    with refused("OperationNotPermitted"):
        net.endpoint()
    assert standin.refusal("POST", "vpcs/vpc-0", place) == 404


def test_vpc_with_subnets_stays(net, ec2):
    with refused("DependencyViolation"):
        ec2.delete_vpc(VpcId=net.vpc)


def test_any_value_of_a_filter_matches(net, ec2):
    other = Net(ec2, cidr="10.1.0.0/16")
    wanted = [{"Name": "vpc-id", "Values": [net.vpc, other.vpc, "vpc-0"]}]
    assert len(ec2.describe_subnets(Filters=wanted)["Subnets"]) == 4
    second = net.create_group("second")
    made = net.endpoint(SecurityGroupIds=[net.group, second])
    wanted = [{"Name": "group-id", "Values": [second, other.group]}]
    (eni,) = ec2.describe_network_interfaces(Filters=wanted)["NetworkInterfaces"]
    assert [eni["NetworkInterfaceId"]] == made["NetworkInterfaceIds"]


def test_address_blocks(net, ec2):
    ec2.associate_vpc_cidr_block(VpcId=net.vpc, CidrBlock="10.2.0.0/16")
    ec2.associate_vpc_cidr_block(VpcId=net.vpc, AmazonProvidedIpv6CidrBlock=True)
    (vpc,) = ec2.describe_vpcs(VpcIds=[net.vpc])["Vpcs"]
    assert [a["CidrBlock"] for a in vpc["CidrBlockAssociationSet"]] == ["10.0.0.0/16", "10.2.0.0/16"]
    assert len(vpc["Ipv6CidrBlockAssociationSet"]) == 1


def test_one_vpc_attribute_a_call(net, ec2):
    answer = ec2.describe_vpc_attribute(VpcId=net.vpc, Attribute="enableDnsHostnames")
    assert answer["EnableDnsHostnames"]["Value"] is True
    assert "EnableDnsSupport" not in answer
    with refused("InvalidParameterCombination"):
        ec2.modify_vpc_attribute(
            VpcId=net.vpc, EnableDnsSupport={"Value": True}, EnableDnsHostnames={"Value": True}
        )


PAGED = {
    "describe_vpcs": ("Vpcs", 1000),
    "describe_subnets": ("Subnets", 1000),
    "describe_route_tables": ("RouteTables", 100),
    "describe_security_groups": ("SecurityGroups", 1000),
    "describe_instances": ("Reservations", 1000),
}


@pytest.mark.parametrize("operation", PAGED)
def test_pages(ec2, operation):
    key, largest = PAGED[operation]
    for n in range(6):
        Net(ec2, cidr=f"10.{n}.0.0/16")
        ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    whole = getattr(ec2, operation)()[key]
    pages = list(ec2.get_paginator(operation).paginate(MaxResults=5))
    assert [item for page in pages for item in page[key]] == whole
    assert {len(page[key]) for page in pages[:-1]} == {5}
    for size in (4, largest + 1):
        with refused("InvalidParameterValue"):
            getattr(ec2, operation)(MaxResults=size)
    with refused("InvalidNextToken"):
        getattr(ec2, operation)(NextToken="nonsense")


def test_page_cap(standin, ec2):
    standin.settings(page_cap=2)
    pages = list(ec2.get_paginator("describe_subnets").paginate(MaxResults=1000))
    assert [len(page["Subnets"]) for page in pages] == [2, 1]


def test_instances_by_id_are_not_paged(ec2):
    made = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0]
    with refused("InvalidParameterCombination"):
        ec2.describe_instances(InstanceIds=[made["InstanceId"]], MaxResults=5)


def test_accounts_and_regions_are_apart(standin, net):
    for account, region in ((OTHER, REGION), (ACCOUNT, "us-east-1")):
        elsewhere = standin.client("ec2", account=account, region=region)
        with refused("InvalidVpcID.NotFound"):
            elsewhere.describe_vpcs(VpcIds=[net.vpc])
        assert [vpc["OwnerId"] for vpc in elsewhere.describe_vpcs()["Vpcs"]] == [account]


def test_many_clients_at_once(standin, net, ec2):
    """One token from fifty clients makes one endpoint."""
    with ThreadPoolExecutor(50) as pool:
        made = list(pool.map(lambda _: net.endpoint(ClientToken="t")["VpcEndpointId"], range(100)))
    assert len(set(made)) == 1
    assert len(ec2.describe_vpc_endpoints()["VpcEndpoints"]) == 1


def test_given_ids_are_used_once(standin, ec2):
    ec2.describe_vpcs()  # makes the default VPC, which would take the first id
    standin.settings(next_ids=["vpc-0ffffffffffffff01", "subnet-0ffffffffffffff02"])
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    assert (vpc, subnet) == ("vpc-0ffffffffffffff01", "subnet-0ffffffffffffff02")
    assert ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"] != vpc
