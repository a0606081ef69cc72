"""Roles and instance profiles: quotas, conflicts, trust policies, pages, and the time that IAM takes."""

import json

import pytest
from conftest import ACCOUNT, OTHER, refused

CORE = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
PATCH = "arn:aws:iam::aws:policy/AmazonSSMPatchAssociation"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@pytest.fixture
def iam(standin):
    return standin.client("iam")


def create(iam, name="r", trust=TRUST, **options):
    return iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **options)["Role"]


def document(action="s3:PutObject"):
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_role_with_all_that_it_can_be_made_with(iam):
    boundary = iam.create_policy(PolicyName="b", PolicyDocument=document())["Policy"]["Arn"]
    tags = [{"Key": "a", "Value": "1"}]
    made = create(iam, Path="/ops/", Description="for nodes", PermissionsBoundary=boundary, Tags=tags)
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/ops/r"
    found = iam.get_role(RoleName="r")["Role"]
    assert (found["Path"], found["Description"], found["Tags"]) == ("/ops/", "for nodes", tags)
    assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    assert found["AssumeRolePolicyDocument"] == json.loads(TRUST)
    with refused("EntityAlreadyExists", 409):
        create(iam)
    iam.tag_role(RoleName="r", Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_role(RoleName="r", TagKeys=["a"])
    assert iam.get_role(RoleName="r")["Role"]["Tags"] == [{"Key": "b", "Value": "2"}]
    with refused("NoSuchEntity", 404):
        iam.get_role(RoleName="other")


def statement(**changes):
    kept = {**json.loads(TRUST)["Statement"][0], **changes}
    return json.dumps({"Version": "2012-10-17", "Statement": [{k: v for k, v in kept.items() if v is not None}]})


@pytest.mark.parametrize(
    ("trust", "code"),
    [
        ("{", "MalformedPolicyDocument"),
        ("[]", "MalformedPolicyDocument"),
        ("{}", "MalformedPolicyDocument"),
        (statement(Principal=None), "MalformedPolicyDocument"),
        (statement(Effect="Permit"), "MalformedPolicyDocument"),
        (statement(Action="s3:PutObject"), "MalformedPolicyDocument"),
        (statement(Resource="*"), "MalformedPolicyDocument"),
        (statement(Sid="x" * 2048), "LimitExceeded"),
    ],
)
def test_trust_policies_that_are_none(iam, trust, code):
    with refused(code):
        create(iam, trust=trust)
    create(iam)
    with refused(code):
        iam.update_assume_role_policy(RoleName="r", PolicyDocument=trust)
    tagged = statement(Action=["sts:AssumeRole", "sts:TagSession"])
    iam.update_assume_role_policy(RoleName="r", PolicyDocument=tagged)
    assert iam.get_role(RoleName="r")["Role"]["AssumeRolePolicyDocument"] == json.loads(tagged)


def test_policies_of_aws_and_the_most_of_them(standin, iam):
    create(iam)
    for arn in (CORE, PATCH, CORE):
        iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    listed = iam.list_attached_role_policies(RoleName="r")["AttachedPolicies"]
    assert sorted(p["PolicyArn"] for p in listed) == [CORE, PATCH]
    for arn in (
        "arn:aws:iam::aws:policy/NoSuch",
        "arn:aws:iam::aws:policy/service-role/AmazonSSMManagedInstanceCore",
        f"arn:aws:iam::{ACCOUNT}:policy/nosuch",
    ):
        with refused("NoSuchEntity", 404):
            iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    standin.settings(role_policy_quota=2)
    other = iam.create_policy(PolicyName="x", PolicyDocument=document())["Policy"]["Arn"]
    with refused("LimitExceeded", 409):
        iam.attach_role_policy(RoleName="r", PolicyArn=other)
    iam.attach_role_policy(RoleName="r", PolicyArn=CORE)
    iam.detach_role_policy(RoleName="r", PolicyArn=PATCH)
    with refused("NoSuchEntity", 404):
        iam.detach_role_policy(RoleName="r", PolicyArn=PATCH)
    iam.attach_role_policy(RoleName="r", PolicyArn=other)
    assert standin.settings(role_policy_quota=20)["role_policy_quota"] == 20


def test_boundaries_have_to_be_there(iam):
    missing = f"arn:aws:iam::{ACCOUNT}:policy/nosuch"
    with refused("NoSuchEntity", 404):
        create(iam, PermissionsBoundary=missing)
    create(iam)
    with refused("NoSuchEntity", 404):
        iam.put_role_permissions_boundary(RoleName="r", PermissionsBoundary=missing)
    iam.put_role_permissions_boundary(RoleName="r", PermissionsBoundary=CORE)
    assert iam.get_role(RoleName="r")["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == CORE


def test_inline_policies_and_the_room_for_them(iam):
    create(iam)
    iam.put_role_policy(RoleName="r", PolicyName="a", PolicyDocument=document())
    iam.put_role_policy(RoleName="r", PolicyName="a", PolicyDocument=document("s3:GetObject"))
    found = iam.get_role_policy(RoleName="r", PolicyName="a")["PolicyDocument"]
    assert found == json.loads(document("s3:GetObject"))
    with refused("MalformedPolicyDocument"):
        iam.put_role_policy(RoleName="r", PolicyName="b", PolicyDocument="{}")
    long = document([f"s3:Get{n:05}" for n in range(900)])
    with refused("LimitExceeded", 409):
        iam.put_role_policy(RoleName="r", PolicyName="b", PolicyDocument=long)
    iam.delete_role_policy(RoleName="r", PolicyName="a")
    for call in (iam.delete_role_policy, iam.get_role_policy):
        with refused("NoSuchEntity", 404):
            call(RoleName="r", PolicyName="a")


def test_pages_of_policies(standin, iam):
    create(iam)
    for n in range(5):
        iam.put_role_policy(RoleName="r", PolicyName=f"p{n}", PolicyDocument=document())
        arn = iam.create_policy(PolicyName=f"m{n}", PolicyDocument=document())["Policy"]["Arn"]
        iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    standin.settings(page_cap=2)
    for operation, key in (
        ("list_role_policies", "PolicyNames"),
        ("list_attached_role_policies", "AttachedPolicies"),
    ):
        pages = [page[key] for page in iam.get_paginator(operation).paginate(RoleName="r")]
        assert [len(page) for page in pages] == [2, 2, 1]
        assert len({json.dumps(item) for page in pages for item in page}) == 5


def test_a_role_that_is_used_stays(iam):
    create(iam)
    iam.create_instance_profile(InstanceProfileName="p")
    iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName="r")
    iam.attach_role_policy(RoleName="r", PolicyArn=CORE)
    iam.put_role_policy(RoleName="r", PolicyName="a", PolicyDocument=document())
    with refused("DeleteConflict", 409):
        iam.delete_instance_profile(InstanceProfileName="p")
    for remove in (
        lambda: iam.remove_role_from_instance_profile(InstanceProfileName="p", RoleName="r"),
        lambda: iam.detach_role_policy(RoleName="r", PolicyArn=CORE),
        lambda: iam.delete_role_policy(RoleName="r", PolicyName="a"),
    ):
        with refused("DeleteConflict", 409):
            iam.delete_role(RoleName="r")
        remove()
    iam.delete_role(RoleName="r")
    with refused("NoSuchEntity", 404):
        iam.delete_role(RoleName="r")


def test_a_profile_has_one_role(iam):
    create(iam)
    create(iam, "other")
    made = iam.create_instance_profile(
        InstanceProfileName="p", Path="/ops/", Tags=[{"Key": "a", "Value": "1"}]
    )["InstanceProfile"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/ops/p"
    with refused("EntityAlreadyExists", 409):
        iam.create_instance_profile(InstanceProfileName="p")
    iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName="r")
    for role in ("r", "other"):
        with refused("LimitExceeded", 409):
            iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName=role)
    iam.tag_instance_profile(InstanceProfileName="p", Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_instance_profile(InstanceProfileName="p", TagKeys=["a"])
    found = iam.get_instance_profile(InstanceProfileName="p")["InstanceProfile"]
    assert [r["RoleName"] for r in found["Roles"]] == ["r"]
    assert (found["Path"], found["Tags"]) == ("/ops/", [{"Key": "b", "Value": "2"}])
    with refused("NoSuchEntity", 404):
        iam.remove_role_from_instance_profile(InstanceProfileName="p", RoleName="other")
    iam.remove_role_from_instance_profile(InstanceProfileName="p", RoleName="r")
    iam.delete_instance_profile(InstanceProfileName="p")
    for call in (iam.get_instance_profile, iam.delete_instance_profile):
        with refused("NoSuchEntity", 404):
            call(InstanceProfileName="p")


def test_what_is_new_is_not_found_at_once(standin, iam):
    standin.settings(iam_visibility_delay_seconds=60)
    create(iam)
    iam.create_instance_profile(InstanceProfileName="p")
    for call in (
        lambda: iam.get_role(RoleName="r"),
        lambda: iam.list_role_policies(RoleName="r"),
        lambda: iam.attach_role_policy(RoleName="r", PolicyArn=CORE),
        lambda: iam.get_instance_profile(InstanceProfileName="p"),
        lambda: iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName="r"),
    ):
        with refused("NoSuchEntity", 404):
            call()
    with refused("EntityAlreadyExists", 409):
        create(iam)
    with refused("NoSuchEntity", 404):
        standin.client("iam", account=OTHER).get_role(RoleName="r")
    standin.control("POST", f"accounts/{ACCOUNT}/skip", {"seconds": 61})
    iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName="r")
    assert iam.get_instance_profile(InstanceProfileName="p")["InstanceProfile"]["Roles"][0]["RoleName"] == "r"


def test_an_instance_gets_one_profile_that_ec2_has_heard_of(standin, iam, ec2):
    subnet = ec2.create_subnet(
        VpcId=ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"], CidrBlock="10.0.0.0/24"
    )["Subnet"]["SubnetId"]

    def launch(**options):
        launched = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet, **options)
        return launched["Instances"][0]["InstanceId"]

    arn = iam.create_instance_profile(InstanceProfileName="nodes", Path="/ops/")["InstanceProfile"]["Arn"]
    create(iam)
    iam.add_role_to_instance_profile(InstanceProfileName="nodes", RoleName="r")
    bare, given = launch(), launch(IamInstanceProfile={"Name": "nodes"})

    def associate(instance, profile=arn):
        ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Arn": profile})

    with refused("InvalidParameterValue"):
        associate(bare, arn + "x")
    with refused("InvalidInstanceID.NotFound"):
        associate("i-0123456789abcdef0")
    with refused("IncorrectState"):
        associate(given)
    associate(bare)
    with refused("IncorrectState"):
        associate(bare)
    found = ec2.describe_instances(InstanceIds=[bare])["Reservations"][0]["Instances"][0]
    assert found["IamInstanceProfile"]["Arn"] == arn
    standin.settings(iam_visibility_delay_seconds=60)
    late = iam.create_instance_profile(InstanceProfileName="late")["InstanceProfile"]["Arn"]
    with refused("InvalidParameterValue"):
        associate(launch(), late)


def test_what_a_role_of_a_service_may_do_is_simulated_by_its_policies(iam):
    arn = create(iam)["Arn"]
    actions = ["ssm:UpdateInstanceInformation", "ssmmessages:OpenDataChannel", "s3:PutObject"]

    def decisions():
        answer = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions)
        return [result["EvalDecision"] for result in answer["EvaluationResults"]]

    assert decisions() == ["implicitDeny"] * 3
    iam.attach_role_policy(RoleName="r", PolicyArn=CORE)
    assert decisions() == ["allowed", "allowed", "implicitDeny"]
    deny = {"Effect": "Deny", "Action": "ssmmessages:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=policy)
    assert decisions()[:2] == ["allowed", "explicitDeny"]
