"""Policies that are enforced: conditions, wildcards, resources of each call, boundaries, trust, simulation."""

import ast
import json
import sys
from pathlib import Path

import pytest
from conftest import ACCOUNT, HERE, OTHER, REGION, refused
from test_identity import HUB, SPOKE, assume, make_role, trust

sys.path.insert(0, str(HERE))
from standin.policies import (  # noqa: E402
    Need,
    PolicyError,
    arn_like,
    comparison_holds,
    conditions_hold,
    like,
    refusal,
    statement_covers,
)

DEPLOY = HERE.parent.parent / "deploy" / "iam"
TAG = "ssmready.dev/cluster"


# The engine


@pytest.mark.parametrize(
    "operator,values,wanted,holds",
    [
        ("StringEquals", ["a"], ["a", "b"], True),
        ("StringEquals", ["A"], ["a"], False),
        ("StringEquals", None, ["a"], False),
        ("StringEqualsIfExists", None, ["a"], True),
        ("StringEqualsIfExists", ["b"], ["a"], False),
        ("StringEqualsIgnoreCase", ["A"], ["a"], True),
        ("StringNotEquals", ["a"], ["a", "b"], False),
        ("StringNotEquals", ["c"], ["a", "b"], True),
        ("StringNotEquals", None, ["a"], True),
        ("StringLike", ["com.amazonaws.eu-west-1.ssm"], ["com.amazonaws.*.ssm"], True),
        ("StringLike", ["com.amazonaws.eu-west-1.ssmmessages"], ["com.amazonaws.*.ssm"], False),
        ("StringLike", ["a[b]"], ["a[b]"], True),
        ("StringNotLike", ["abc"], ["a*"], False),
        ("ArnLike", ["arn:aws:iam::1:role/a/b"], ["arn:aws:iam::*:role/a/*"], True),
        ("ArnEquals", ["arn:aws:iam::1:role/a"], ["arn:aws:iam::1:role/b"], False),
        ("ArnNotLike", ["arn:aws:iam::1:role/a"], ["arn:aws:iam::1:role/*"], False),
        ("Bool", ["false"], ["False"], True),
        ("Null", None, ["true"], True),
        ("Null", ["a"], ["true"], False),
        ("Null", ["a"], ["false"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b", "c"], True),
        ("ForAllValues:StringEquals", ["a", "d"], ["a", "b", "c"], False),
        ("ForAllValues:StringEquals", None, ["a"], True),
        ("ForAllValues:StringNotEquals", ["x", "y"], ["a", "b"], True),
        ("ForAllValues:StringNotEquals", ["x", "a"], ["a", "b"], False),
        ("ForAnyValue:StringEquals", ["x", "a"], ["a", "b"], True),
        ("ForAnyValue:StringEquals", ["x"], ["a", "b"], False),
        ("ForAnyValue:StringEquals", None, ["a"], False),
        ("ForAnyValue:StringNotEquals", None, ["a"], False),
    ],
)
def test_condition_operators(operator, values, wanted, holds):
    assert comparison_holds(operator, values, wanted, {}) is holds


def test_what_is_not_evaluated_is_no_silent_verdict():
    for operator in ("NumericLessThan", "ForSomeValues:StringEquals", "Like"):
        with pytest.raises(PolicyError):
            comparison_holds(operator, ["1"], ["2"], {})


def test_every_comparison_has_to_hold():
    context = {"aws:requesttag/team": ["a"], "ec2:region": [REGION]}
    condition = {"StringEquals": {"aws:RequestTag/Team": "a", "ec2:Region": REGION}}
    assert conditions_hold(condition, context)
    assert not conditions_hold({**condition, "Null": {"aws:RequestTag/Team": "true"}}, context)
    condition["StringEquals"]["ec2:Region"] = "us-east-1"
    assert not conditions_hold(condition, context)


def test_wildcards():
    assert like("a.b", "a?b") and not like("ab", "a?b") and not like("aXb", "a.b")
    assert arn_like("arn:aws:s3:::a", "arn:*:s3:::?")
    # A wildcard stays within its part of an ARN in ArnLike, and does not in Resource.
    assert not arn_like("arn:aws:iam::1:role/a", "arn:aws:*:role/a")
    assert like("arn:aws:iam::1:role/a", "arn:aws:*:role/a")


@pytest.mark.parametrize(
    "statement,covers",
    [
        ({"Action": "EC2:create*", "Resource": "*"}, True),
        ({"Action": ["ec2:DeleteVpc", "ec2:CreateVpc"], "Resource": "arn:aws:ec2:*:1:vpc/*"}, True),
        ({"Action": "ec2:CreateVpc", "Resource": "arn:aws:ec2:*:2:vpc/*"}, False),
        ({"NotAction": "iam:*", "Resource": "*"}, True),
        ({"NotAction": "ec2:*", "Resource": "*"}, False),
        ({"Action": "*", "NotResource": "arn:aws:ec2:*:1:vpc/*"}, False),
        ({"Action": "*", "NotResource": "arn:aws:ec2:*:2:*"}, True),
        ({"Action": "*", "Resource": "arn:aws:ec2:*:${aws:PrincipalAccount}:vpc/*"}, True),
        ({"Action": "*", "Resource": "arn:aws:ec2:*:${aws:Unknown}:vpc/*"}, False),
    ],
)
def test_statements(statement, covers):
    need = Need("ec2:CreateVpc", "arn:aws:ec2:eu-west-1:1:vpc/*", {"aws:principalaccount": ["1"]})
    assert statement_covers(statement, need) is covers


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action, resource="*", **condition):
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def test_a_deny_wins_and_every_kind_of_policy_has_to_allow():
    need = Need("ec2:CreateVpc")
    yes, no = policy(allow("ec2:*")), policy(allow("ssm:*"))
    deny = policy({**allow("*"), "Effect": "Deny"})
    assert refusal(need, [no, yes], None, None) is None
    assert refusal(need, [yes], yes, yes) is None
    assert refusal(need, [no], None, None) == "because no identity-based policy allows the ec2:CreateVpc action"
    assert refusal(need, [yes], no, None) == "because no permissions boundary allows the ec2:CreateVpc action"
    assert refusal(need, [yes], None, no) == "because no session policy allows the ec2:CreateVpc action"
    assert refusal(need, [yes, deny], None, None) == "with an explicit deny in an identity-based policy"
    assert refusal(need, [yes], deny, None) == "with an explicit deny in a permissions boundary"


# A role whose policies are enforced


class Role:
    """The spoke's role, with the policies that a test gives it."""

    def __init__(self, standin):
        self.standin = standin
        make_role(standin, SPOKE, trust(ACCOUNT))
        self.iam = standin.client("iam", account=OTHER)
        standin.settings(enforce_policies=True)

    def may(self, *statements):
        document = json.dumps(policy(*statements))
        self.iam.put_role_policy(RoleName="spoke", PolicyName="test", PolicyDocument=document)
        return self.standin.client("ec2", credentials=assume(self.standin))


@pytest.fixture
def role(standin):
    return Role(standin)


@pytest.fixture
def place(standin):
    """A VPC in the role's account."""
    from conftest import Net

    return Net(standin.client("ec2", account=OTHER))


def arn(kind, resource="*"):
    return f"arn:aws:ec2:{REGION}:{OTHER}:{kind}/{resource}"


def specification(kind, **tags):
    return [{"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}]


def test_a_role_may_nothing_until_it_is_allowed(standin, role):
    ec2 = standin.client("ec2", credentials=assume(standin))
    with refused("UnauthorizedOperation", 403) as answer:
        ec2.describe_vpcs()
    assert answer.message.startswith(
        "You are not authorized to perform this operation. User: "
        f"arn:aws:sts::{OTHER}:assumed-role/spoke/test-session is not authorized to perform: ec2:DescribeVpcs "
        "because no identity-based policy allows the ec2:DescribeVpcs action. Encoded"
    )
    with refused("AccessDeniedException"):
        standin.client("ssm", credentials=assume(standin)).describe_instance_information()
    # GetCallerIdentity is answered to everybody.
    assert standin.client("sts", credentials=assume(standin)).get_caller_identity()["Account"] == OTHER
    role.may(allow("ec2:Describe*")).describe_vpcs()


def test_attached_policies_count_and_boundaries_bound(standin, role):
    document = json.dumps(policy(allow(["ec2:DescribeVpcs", "ec2:DescribeSubnets"])))
    attached = role.iam.create_policy(PolicyName="attached", PolicyDocument=document)["Policy"]["Arn"]
    role.iam.attach_role_policy(RoleName="spoke", PolicyArn=attached)
    ec2 = standin.client("ec2", credentials=assume(standin))
    ec2.describe_vpcs()
    bound = json.dumps(policy(allow("ec2:DescribeSubnets")))
    boundary = role.iam.create_policy(PolicyName="bound", PolicyDocument=bound)["Policy"]["Arn"]
    role.iam.put_role_permissions_boundary(RoleName="spoke", PermissionsBoundary=boundary)
    ec2.describe_subnets()
    with refused("UnauthorizedOperation") as answer:
        ec2.describe_vpcs()
    assert "no permissions boundary allows" in answer.message


CREATE = "ec2:CreateVpcEndpoint"


def create_statements(place):
    return {
        "vpc-endpoint": allow(
            CREATE,
            arn("vpc-endpoint"),
            StringEquals={f"aws:RequestTag/{TAG}": "main"},
            StringLike={"ec2:VpceServiceName": "com.amazonaws.*.ssm"},
        ),
        "vpc": allow(CREATE, arn("vpc", place.vpc)),
        "subnet": allow(CREATE, arn("subnet")),
        "security-group": allow(CREATE, arn("security-group"), StringEquals={f"aws:ResourceTag/{TAG}": "main"}),
        "tags": allow("ec2:CreateTags", arn("vpc-endpoint"), StringEquals={"ec2:CreateAction": "CreateVpcEndpoint"}),
    }


def create(ec2, place, service="ssm", tag="main", group=None):
    return ec2.create_vpc_endpoint(
        VpcId=place.vpc,
        ServiceName=f"com.amazonaws.{REGION}.{service}",
        VpcEndpointType="Interface",
        SubnetIds=place.subnets,
        SecurityGroupIds=[group or place.group],
        TagSpecifications=specification("vpc-endpoint", **{TAG: tag}) if tag else [],
    )["VpcEndpoint"]["VpcEndpointId"]


def test_each_resource_of_a_creation_is_asked_for(role, place):
    statements = create_statements(place)
    place.ec2.create_tags(Resources=[place.group], Tags=[{"Key": TAG, "Value": "main"}])
    for left_out in statements:
        ec2 = role.may(*(s for kind, s in statements.items() if kind != left_out))
        with refused("UnauthorizedOperation") as answer:
            create(ec2, place)
        kind = "vpc-endpoint" if left_out == "tags" else left_out
        permission = "ec2:CreateTags" if left_out == "tags" else CREATE
        assert f"is not authorized to perform: {permission} on resource: {arn(kind, '')}" in answer.message
    ec2 = role.may(*statements.values())
    for options in ({"tag": "other"}, {"tag": None}, {"service": "kms"}, {"group": place.create_group("foreign")}):
        with refused("UnauthorizedOperation"):
            create(ec2, place, **options)
    assert create(ec2, place)
    assert len(place.ec2.describe_vpc_endpoints()["VpcEndpoints"]) == 1


def test_changes_ask_for_the_endpoint_and_what_it_gets_or_loses(role, place):
    ours = place.endpoint(TagSpecifications=specification("vpc-endpoint", **{TAG: "main"}))["VpcEndpointId"]
    theirs = place.endpoint("kms")["VpcEndpointId"]
    tagged = {"StringEquals": {f"aws:ResourceTag/{TAG}": "main"}}
    change = allow("ec2:ModifyVpcEndpoint", arn("vpc-endpoint"), **tagged)
    ec2 = role.may(change)
    ec2.modify_vpc_endpoint(VpcEndpointId=ours, PrivateDnsEnabled=False)
    with refused("UnauthorizedOperation"):
        ec2.modify_vpc_endpoint(VpcEndpointId=theirs, PrivateDnsEnabled=False)
    foreign = place.create_group("foreign")
    for change_of in (
        {"AddSubnetIds": [place.subnets[1]]},
        {"AddSecurityGroupIds": [foreign]},
        {"RemoveSecurityGroupIds": [foreign]},
    ):
        with refused("UnauthorizedOperation"):
            ec2.modify_vpc_endpoint(VpcEndpointId=ours, **change_of)
    ec2 = role.may(change, allow("ec2:ModifyVpcEndpoint", [arn("subnet"), arn("security-group")]))
    ec2.modify_vpc_endpoint(VpcEndpointId=ours, AddSubnetIds=[place.subnets[1]], AddSecurityGroupIds=[foreign])
    assert len(place.seen(ours)["SubnetIds"]) == 2
    ec2 = role.may(allow("ec2:DeleteVpcEndpoints", arn("vpc-endpoint"), **tagged))
    with refused("UnauthorizedOperation"):
        ec2.delete_vpc_endpoints(VpcEndpointIds=[ours, theirs])
    assert not ec2.delete_vpc_endpoints(VpcEndpointIds=[ours])["Unsuccessful"]


def test_groups(role, place):
    tag = {f"aws:RequestTag/{TAG}": "main"}
    statements = [
        allow("ec2:CreateSecurityGroup", arn("security-group"), StringEquals=tag),
        allow("ec2:CreateSecurityGroup", arn("vpc")),
        allow("ec2:CreateTags", arn("*"), StringEquals={**tag, "ec2:CreateAction": "CreateSecurityGroup"}),
        allow(
            ["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"],
            arn("security-group"),
            StringEquals={f"ec2:ResourceTag/{TAG}": "main"},
        ),
    ]
    ec2 = role.may(*statements)
    options = {"GroupName": "new", "Description": "new", "VpcId": place.vpc}
    with refused("UnauthorizedOperation"):
        ec2.create_security_group(**options)
    group = ec2.create_security_group(
        **options, TagSpecifications=specification("security-group", **{TAG: "main"})
    )["GroupId"]
    rule = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)
    with refused("UnauthorizedOperation") as answer:
        ec2.authorize_security_group_ingress(GroupId=place.group, IpPermissions=rule)
    assert arn("security-group", place.group) in answer.message
    with refused("UnauthorizedOperation"):
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rule)
    # A rule with tags is a resource of its own.
    tagged = {"GroupId": group, "TagSpecifications": specification("security-group-rule", **{TAG: "main"})}
    other = [{**rule[0], "IpRanges": [{"CidrIp": "10.9.0.0/16"}]}]
    with refused("UnauthorizedOperation") as answer:
        ec2.authorize_security_group_ingress(**tagged, IpPermissions=other)
    assert "security-group-rule/*" in answer.message
    with refused("UnauthorizedOperation"):
        ec2.delete_security_group(GroupId=place.group)
    ec2.delete_security_group(GroupId=group)


def test_tagging_what_is_there(role, place):
    ours = place.endpoint(TagSpecifications=specification("vpc-endpoint", **{TAG: "main"}))["VpcEndpointId"]
    theirs = place.endpoint("kms")["VpcEndpointId"]
    ec2 = role.may(
        allow(
            "ec2:CreateTags",
            arn("vpc-endpoint"),
            **{
                "StringEquals": {f"aws:ResourceTag/{TAG}": "main"},
                "ForAllValues:StringNotEquals": {"aws:TagKeys": [TAG]},
            },
        ),
        allow(
            "ec2:DeleteTags", arn("vpc-endpoint"), **{"ForAllValues:StringEquals": {"aws:TagKeys": ["owner"]}}
        ),
        # Only in a creation.
        allow("ec2:CreateTags", "*", StringEquals={"ec2:CreateAction": "CreateVpcEndpoint"}),
    )
    tags = [{"Key": "CostCenter", "Value": "1"}]
    ec2.create_tags(Resources=[ours], Tags=tags)
    for resources, keys in (([ours, theirs], tags), ([ours], [*tags, {"Key": TAG, "Value": "main"}])):
        with refused("UnauthorizedOperation"):
            ec2.create_tags(Resources=resources, Tags=keys)
    ec2.delete_tags(Resources=[ours], Tags=[{"Key": "owner"}])
    with refused("UnauthorizedOperation"):
        ec2.delete_tags(Resources=[ours], Tags=[{"Key": "owner"}, {"Key": TAG}])


def test_attributes_of_a_vpc(role, place):
    ec2 = role.may(
        allow("ec2:ModifyVpcAttribute", arn("vpc"), StringEquals={"ec2:Attribute": ["EnableDnsSupport"]}),
        allow("ec2:DescribeVpcAttribute", arn("vpc", place.vpc)),
    )
    ec2.modify_vpc_attribute(VpcId=place.vpc, EnableDnsSupport={"Value": True})
    with refused("UnauthorizedOperation"):
        ec2.modify_vpc_attribute(VpcId=place.vpc, EnableDnsHostnames={"Value": True})
    assert ec2.describe_vpc_attribute(VpcId=place.vpc, Attribute="enableDnsSupport")["EnableDnsSupport"]["Value"]
    with refused("UnauthorizedOperation"):
        ec2.describe_vpc_attribute(VpcId="vpc-00000000000000000", Attribute="enableDnsSupport")


def test_regions(standin, role):
    deny = {**allow("ec2:*", StringNotEquals={"aws:RequestedRegion": [REGION]}), "Effect": "Deny"}
    role.may(allow("ec2:DescribeVpcs"), deny).describe_vpcs()
    elsewhere = standin.client("ec2", region="us-east-1", credentials=assume(standin))
    with refused("UnauthorizedOperation") as answer:
        elsewhere.describe_vpcs()
    assert "with an explicit deny in an identity-based policy" in answer.message


def test_a_session_policy_narrows_by_resource_and_condition(standin, role, place):
    role.may(allow("ec2:*"))
    narrow = policy(allow("ec2:CreateTags", arn("vpc-endpoint"), StringEquals={"aws:RequestTag/a": "b"}))
    ec2 = standin.client("ec2", credentials=assume(standin, Policy=json.dumps(narrow)))
    endpoint = place.endpoint()["VpcEndpointId"]
    ec2.create_tags(Resources=[endpoint], Tags=[{"Key": "a", "Value": "b"}])
    with refused("UnauthorizedOperation") as answer:
        ec2.create_tags(Resources=[place.group], Tags=[{"Key": "a", "Value": "b"}])
    assert "no session policy allows" in answer.message


def test_a_role_takes_on_others_only_where_both_sides_allow(standin):
    make_role(standin, HUB, trust(ACCOUNT))
    condition = {"sts:ExternalId": "s3cret", "aws:PrincipalOrgID": "o-1"}
    make_role(standin, SPOKE, trust(HUB, StringEquals=condition))
    standin.settings(enforce_policies=True, organizations={ACCOUNT: "o-1", OTHER: "o-1"})
    hub = assume(standin, HUB)
    iam = standin.client("iam")

    def hub_may(*statements):
        iam.put_role_policy(RoleName="hub", PolicyName="hub", PolicyDocument=json.dumps(policy(*statements)))

    with refused("AccessDenied", 403):
        assume(standin, credentials=hub, ExternalId="s3cret")
    hub_may(allow("sts:AssumeRole", "arn:aws:iam::*:role/sp*", StringEquals={"aws:ResourceOrgID": "o-1"}))
    assert assume(standin, credentials=hub, ExternalId="s3cret")
    for options in ({}, {"ExternalId": "wrong"}):
        with refused("AccessDenied", 403):
            assume(standin, credentials=hub, **options)
    standin.settings(organizations={ACCOUNT: "o-1", OTHER: "o-2"})
    with refused("AccessDenied", 403):
        assume(standin, credentials=hub, ExternalId="s3cret")
    standin.settings(organizations={ACCOUNT: "o-2", OTHER: "o-1"})
    with refused("AccessDenied", 403):
        assume(standin, credentials=hub, ExternalId="s3cret")
    # Within an account, a trust policy that names the role will do.
    friend = f"arn:aws:iam::{ACCOUNT}:role/friend"
    make_role(standin, friend, trust(HUB))
    assert assume(standin, friend, credentials=hub)
    stranger = f"arn:aws:iam::{ACCOUNT}:role/stranger"
    make_role(standin, stranger, trust(ACCOUNT))
    with refused("AccessDenied", 403):
        assume(standin, stranger, credentials=hub)


def test_simulation_follows_the_policies(standin, role):
    role.may(
        allow("ec2:DescribeVpcs"),
        allow(CREATE, arn("vpc-endpoint"), StringEquals={f"aws:RequestTag/{TAG}": "main"}),
    )
    iam = standin.client("iam", account=OTHER)

    def decision(action, resource=None, **context):
        answer = iam.simulate_principal_policy(
            PolicySourceArn=SPOKE,
            ActionNames=[action],
            **({"ResourceArns": [resource]} if resource else {}),
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
                for key, value in context.items()
            ],
        )["EvaluationResults"][0]
        return answer["EvalDecision"], answer["MissingContextValues"]

    key = f"aws:RequestTag/{TAG}"
    assert decision("ec2:DescribeVpcs") == ("allowed", [key])
    assert decision(CREATE, arn("vpc-endpoint", "vpce-1"), **{key: "main"}) == ("allowed", [])
    assert decision(CREATE, arn("vpc-endpoint", "vpce-1"), **{key: "other"}) == ("implicitDeny", [])
    assert decision(CREATE, arn("vpc", "vpc-1"), **{key: "main"})[0] == "implicitDeny"
    assert decision(CREATE) == ("implicitDeny", [key])


# The generated samples, as AWS's own tools and services see them


@pytest.mark.parametrize("template", sorted(DEPLOY.glob("*.yaml")), ids=lambda path: path.name)
def test_templates_pass_aws_own_linter(template):
    from cfnlint.api import lint_file

    assert lint_file(Path(template)) == []


def test_the_template_makes_the_roles(standin):
    template = (DEPLOY / "spoke.cloudformation.yaml").read_text()
    hub = "arn:aws:iam::999988887777:role/ssm-ready-hub"
    account = "111122223333"
    parameters = {"HubRoleArn": hub, "ExternalId": "an-external-id-of-your-choice"}
    stacks = standin.client("cloudformation", account=account)
    stacks.create_stack(
        StackName="ssm-ready",
        TemplateBody=template,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
    )
    stack = stacks.describe_stacks(StackName="ssm-ready")["Stacks"][0]
    outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
    assert outputs == {
        "ObserveRoleArn": f"arn:aws:iam::{account}:role/ssm-ready-observe",
        "EnforceRoleArn": f"arn:aws:iam::{account}:role/ssm-ready",
    }
    iam = standin.client("iam", account=account)

    def sample(name):
        return json.loads((DEPLOY / "aws" / f"{name}.json").read_text())

    for name, documents in (("ssm-ready-observe", ["observe"]), ("ssm-ready", ["enforce", "observe"])):
        assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == sample("trust")
        assert sorted(iam.list_role_policies(RoleName=name)["PolicyNames"]) == [f"ssm-ready-{d}" for d in documents]
        for document in documents:
            found = iam.get_role_policy(RoleName=name, PolicyName=f"ssm-ready-{document}")["PolicyDocument"]
            # moto keeps what a stack gives it as Python writes it.
            assert without_repeats(ast.literal_eval(found)) == sample(document)


def without_repeats(value):
    if isinstance(value, list):
        kept = []
        for item in map(without_repeats, value):
            if item not in kept:
                kept.append(item)
        return kept
    return {k: without_repeats(v) for k, v in value.items()} if isinstance(value, dict) else value
