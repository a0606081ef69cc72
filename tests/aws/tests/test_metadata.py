"""Metadata defaults of an account and Region, and the instances and Regions that go with them."""

import pytest
from conftest import ACCOUNT, OTHER, REGION, refused

ALL = {
    "HttpTokens": "required",
    "HttpPutResponseHopLimit": 2,
    "HttpEndpoint": "enabled",
    "InstanceMetadataTags": "enabled",
    "HttpTokensEnforced": "disabled",
}


def defaults(ec2):
    return ec2.get_instance_metadata_defaults()["AccountLevel"]


def test_only_what_is_given_changes(standin, ec2):
    assert defaults(ec2) == {}
    ec2.modify_instance_metadata_defaults(HttpTokens="required")
    assert defaults(ec2) == {"HttpTokens": "required", "ManagedBy": "account"}
    assert ec2.modify_instance_metadata_defaults(**ALL)["Return"]
    assert defaults(ec2) == {**ALL, "ManagedBy": "account"}
    ec2.modify_instance_metadata_defaults(HttpPutResponseHopLimit=-1, HttpTokensEnforced="no-preference")
    kept = {k: v for k, v in ALL.items() if k not in ("HttpPutResponseHopLimit", "HttpTokensEnforced")}
    assert defaults(ec2) == {**kept, "ManagedBy": "account"}
    nothing = {k: -1 if k == "HttpPutResponseHopLimit" else "no-preference" for k in ALL}
    ec2.modify_instance_metadata_defaults(**nothing)
    assert defaults(ec2) == {}
    ec2.modify_instance_metadata_defaults(HttpTokens="required")
    assert defaults(standin.client("ec2", region="us-east-1")) == {}
    assert defaults(standin.client("ec2", account=OTHER)) == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"HttpTokens": "enabled"},
        {"HttpEndpoint": "required"},
        {"HttpPutResponseHopLimit": 0},
        {"HttpPutResponseHopLimit": 65},
        {"InstanceMetadataTags": "Enabled"},
    ],
)
def test_values_that_there_are_not(ec2, bad):
    with refused("InvalidParameterValue"):
        ec2.modify_instance_metadata_defaults(**bad)
    assert defaults(ec2) == {}


def test_a_dry_run_changes_nothing(ec2):
    with refused("DryRunOperation", 412):
        ec2.modify_instance_metadata_defaults(HttpTokens="required", DryRun=True)
    assert defaults(ec2) == {}


def test_a_declarative_policy_wins(standin, ec2):
    place = {"account": ACCOUNT, "region": REGION}
    ec2.modify_instance_metadata_defaults(HttpTokens="optional", HttpEndpoint="enabled")
    declared = {"values": {"HttpTokens": "required"}, "exception_message": "Ask the platform team."}
    standin.control("POST", "metadata-defaults", {**place, **declared})
    assert defaults(ec2) == {
        "HttpTokens": "required",
        "HttpEndpoint": "enabled",
        "ManagedBy": "declarative-policy",
        "ManagedExceptionMessage": "Ask the platform team.",
    }
    with refused("OperationNotPermitted") as answer:
        ec2.modify_instance_metadata_defaults(HttpTokens="optional")
    assert answer.message.endswith("Ask the platform team.")
    assert standin.refusal("POST", "metadata-defaults", {**place, "values": {"nosuch": 1}}) == 400
    standin.control("POST", "metadata-defaults", {**place, "declared": False})
    assert defaults(ec2) == {"HttpTokens": "optional", "HttpEndpoint": "enabled", "ManagedBy": "account"}


def launch(ec2, **options):
    return ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, **options)["Instances"][0]["InstanceId"]


def seen(ec2, instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


def test_launches_take_the_defaults_and_running_instances_do_not(ec2):
    before = launch(ec2)
    ec2.modify_instance_metadata_defaults(HttpTokens="required", HttpPutResponseHopLimit=3)
    after, own = launch(ec2), launch(ec2, MetadataOptions={"HttpTokens": "optional"})

    def options(instance):
        found = seen(ec2, instance)["MetadataOptions"]
        return found["HttpTokens"], found["HttpEndpoint"], found["HttpPutResponseHopLimit"]

    assert options(before) == ("optional", "enabled", 1)
    assert options(after) == ("required", "enabled", 3)
    assert options(own) == ("optional", "enabled", 3)


def test_an_instance_says_its_profile(standin, ec2):
    iam = standin.client("iam")
    arn = iam.create_instance_profile(InstanceProfileName="p", Path="/ops/")["InstanceProfile"]["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:instance-profile/ops/p"
    with_one, without = launch(ec2, IamInstanceProfile={"Name": "p"}), launch(ec2)
    assert seen(ec2, with_one)["IamInstanceProfile"]["Arn"] == arn
    assert "IamInstanceProfile" not in seen(ec2, without)


def test_regions_that_are_enabled(standin, ec2):
    def names(**options):
        return {r["RegionName"] for r in ec2.describe_regions(**options)["Regions"]}

    everywhere = names()
    assert {REGION, "us-east-1"} <= everywhere and "cn-north-1" not in everywhere
    china = standin.client("ec2", region="cn-north-1").describe_regions()["Regions"]
    assert {r["RegionName"] for r in china} == {"cn-north-1", "cn-northwest-1"}
    standin.settings(disabled_regions=[[ACCOUNT, "us-east-1"], [OTHER, "us-east-2"]])
    assert everywhere - names() == {"us-east-1"}
    assert "us-east-1" in names(AllRegions=True)
