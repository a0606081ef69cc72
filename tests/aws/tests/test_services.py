"""DescribeVpcEndpointServices."""

from conftest import REGION, refused


def names(client, **options):
    return client.describe_vpc_endpoint_services(**options)["ServiceNames"]


def by_name(**filters):
    return [{"Name": k.replace("_", "-"), "Values": v} for k, v in filters.items()]


def test_lists_what_a_region_offers(ec2):
    offered = {name.rpartition(".")[2] for name in names(ec2)}
    assert offered == {"ssm", "ssmmessages", "ec2messages", "kms", "logs", "ec2", "monitoring", "sts", "s3"}
    answer = ec2.describe_vpc_endpoint_services(ServiceNames=[f"com.amazonaws.{REGION}.ssm"])
    (detail,) = answer["ServiceDetails"]
    assert detail["ServiceType"] == [{"ServiceType": "Interface"}]
    assert detail["Owner"] == "amazon"
    assert detail["PrivateDnsName"] == f"ssm.{REGION}.amazonaws.com"
    assert detail["PrivateDnsNames"] == [{"PrivateDnsName": f"ssm.{REGION}.amazonaws.com"}]
    assert detail["AvailabilityZones"] == [f"{REGION}{zone}" for zone in "abc"]
    assert len(detail["AvailabilityZoneIds"]) == 3
    assert detail["SupportedIpAddressTypes"] == ["ipv4", "ipv6"]
    assert detail["VpcEndpointPolicySupported"] is True


def test_s3_has_two_details_under_one_name(ec2):
    name = f"com.amazonaws.{REGION}.s3"
    answer = ec2.describe_vpc_endpoint_services(ServiceNames=[name])
    assert answer["ServiceNames"] == [name]
    kinds = [d["ServiceType"][0]["ServiceType"] for d in answer["ServiceDetails"]]
    assert kinds == ["Gateway", "Interface"]


def test_no_ec2messages_in_a_late_region(standin):
    late = standin.client("ec2", region="ap-southeast-7")
    name = "com.amazonaws.ap-southeast-7.ec2messages"
    assert f"com.amazonaws.ap-southeast-7.ssm" in names(late)
    assert names(late, Filters=by_name(service_name=[name])) == []
    with refused("InvalidServiceName"):
        names(late, ServiceNames=[name])
    standin.settings(services_missing={REGION: ["ssmmessages"]})
    assert name in names(late)
    assert f"com.amazonaws.{REGION}.ssmmessages" not in names(standin.client("ec2"))


def test_filters(ec2):
    assert names(ec2, Filters=by_name(service_type=["Gateway"])) == [f"com.amazonaws.{REGION}.s3"]
    assert len(names(ec2, Filters=by_name(owner=["amazon"]))) == 9
    assert names(ec2, Filters=by_name(owner=["123456789012"])) == []
    assert names(ec2, Filters=by_name(service_name=["*.ssm*"])) == [
        f"com.amazonaws.{REGION}.ssm",
        f"com.amazonaws.{REGION}.ssmmessages",
    ]
    with refused("InvalidFilter"):
        names(ec2, Filters=by_name(nosuch=["x"]))


def test_zones_can_be_a_part(standin, ec2):
    standin.settings(service_zones={f"{REGION}/ssm": [f"{REGION}a"]})
    answer = ec2.describe_vpc_endpoint_services(Filters=by_name(service_name=["*.ssm", "*.kms"]))
    zones = {d["ServiceName"].rpartition(".")[2]: d["AvailabilityZones"] for d in answer["ServiceDetails"]}
    assert zones == {"ssm": [f"{REGION}a"], "kms": [f"{REGION}{zone}" for zone in "abc"]}


def test_prefixes_in_china(standin):
    china = standin.client("ec2", region="cn-north-1")
    offered = set(names(china))
    assert {"cn.com.amazonaws.cn-north-1.ec2", "com.amazonaws.cn-north-1.ssm"} <= offered
    assert "com.amazonaws.cn-north-1.ec2" not in offered
    answer = china.describe_vpc_endpoint_services(Filters=by_name(service_name=["*.s3"]))
    kinds = {d["ServiceName"]: d["ServiceType"][0]["ServiceType"] for d in answer["ServiceDetails"]}
    assert kinds == {
        "com.amazonaws.cn-north-1.s3": "Gateway",
        "cn.com.amazonaws.cn-north-1.s3": "Interface",
    }
    ssm = china.describe_vpc_endpoint_services(ServiceNames=["com.amazonaws.cn-north-1.ssm"])
    assert ssm["ServiceDetails"][0]["PrivateDnsName"] == "ssm.cn-north-1.amazonaws.com.cn"


def test_pages(ec2):
    pages = list(ec2.get_paginator("describe_vpc_endpoint_services").paginate(MaxResults=4))
    assert [len(page["ServiceDetails"]) for page in pages] == [4, 4, 2]
    with refused("InvalidNextToken"):
        names(ec2, NextToken="nonsense")
