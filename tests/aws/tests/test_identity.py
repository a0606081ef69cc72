"""Accounts, roles, sessions, denials."""

import json
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

import pytest
from conftest import ACCOUNT, OTHER, REGION, refused

HUB = f"arn:aws:iam::{ACCOUNT}:role/hub"
SPOKE = f"arn:aws:iam::{OTHER}:role/spoke"


def trust(principal, **condition):
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


def make_role(standin, arn, policy, **options):
    account, name = arn.split(":")[4], arn.rpartition("/")[2]
    iam = standin.client("iam", account=account)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policy), **options)


def assume(standin, arn=SPOKE, credentials=None, **options):
    client = standin.client("sts", credentials=credentials)
    return client.assume_role(RoleArn=arn, RoleSessionName="test-session", **options)["Credentials"]


def test_a_session_acts_in_the_role_s_account(standin):
    make_role(standin, SPOKE, trust(f"arn:aws:iam::{ACCOUNT}:root"))
    session = assume(standin)
    identity = standin.client("sts", credentials=session).get_caller_identity()
    assert identity["Account"] == OTHER
    assert identity["Arn"] == f"arn:aws:sts::{OTHER}:assumed-role/spoke/test-session"
    assert identity["UserId"].endswith(":test-session")
    vpc = standin.client("ec2", credentials=session).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]
    assert vpc["OwnerId"] == OTHER
    listed = standin.client("ec2", account=OTHER).describe_vpcs()["Vpcs"]
    assert vpc["VpcId"] in [v["VpcId"] for v in listed]
    call = standin.calls()[-2]
    assert (call["action"], call["account"], call["role"]) == ("CreateVpc", OTHER, SPOKE)


def test_root_keys(standin):
    identity = standin.client("sts", account=OTHER).get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == (OTHER, f"arn:aws:iam::{OTHER}:root")


def test_credentials_of_nobody(standin):
    nobody = {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}
    for service, call, code in (
        ("ec2", "describe_vpcs", "AuthFailure"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("ssm", "describe_instance_information", "UnrecognizedClientException"),
    ):
        with refused(code):
            getattr(standin.client(service, credentials=nobody), call)()


def test_a_session_without_its_token_is_nobody(standin):
    make_role(standin, SPOKE, trust("*"))
    session = assume(standin)
    with refused("AuthFailure"):
        standin.client("ec2", credentials={**session, "SessionToken": "other"}).describe_vpcs()


@pytest.mark.parametrize(
    "principal",
    ["*", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", HUB, f"arn:aws:sts::{ACCOUNT}:assumed-role/hub/test-session"],
)
def test_trusted_principals(standin, principal):
    make_role(standin, HUB, trust(ACCOUNT))
    make_role(standin, SPOKE, trust([principal]))
    assert assume(standin, credentials=assume(standin, HUB))


@pytest.mark.parametrize("principal", [OTHER, f"arn:aws:iam::{ACCOUNT}:role/other", f"{HUB}-2"])
def test_principals_that_are_not_trusted(standin, principal):
    make_role(standin, HUB, trust(ACCOUNT))
    make_role(standin, SPOKE, trust(principal))
    hub = assume(standin, HUB)
    with refused("AccessDenied", 403) as answer:
        assume(standin, credentials=hub)
    assert answer.message == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/hub/test-session is not authorized to perform: "
        f"sts:AssumeRole on resource: {SPOKE}"
    )


def test_a_role_that_does_not_exist(standin):
    with refused("AccessDenied", 403):
        assume(standin)


def test_external_id(standin):
    make_role(standin, SPOKE, trust(ACCOUNT, StringEquals={"sts:ExternalId": "s3cret"}))
    for options in ({}, {"ExternalId": "wrong"}):
        with refused("AccessDenied", 403):
            assume(standin, **options)
    assert assume(standin, ExternalId="s3cret")
    recorded = [c["params"].get("ExternalId") for c in standin.calls() if c["action"] == "AssumeRole"]
    assert recorded == [None, "***", "***"]


def test_a_condition_that_is_not_known_is_not_met(standin):
    make_role(standin, SPOKE, trust(ACCOUNT, StringEquals={"aws:PrincipalOrgID": "o-1"}))
    with refused("AccessDenied"):
        assume(standin)


def test_tagged_sessions_need_their_own_permission(standin):
    make_role(standin, SPOKE, trust(ACCOUNT))
    with refused("AccessDenied"):
        assume(standin, Tags=[{"Key": "k", "Value": "v"}])


def test_durations(standin):
    make_role(standin, HUB, trust(ACCOUNT), MaxSessionDuration=7200)
    make_role(standin, SPOKE, trust("*"), MaxSessionDuration=7200)
    hub = assume(standin, HUB, DurationSeconds=7200)
    left = (hub["Expiration"] - datetime.now(timezone.utc)).total_seconds()
    assert 7100 < left <= 7200
    for seconds, credentials, text in (
        (899, None, "greater than or equal to 900"),
        (7201, None, "MaxSessionDuration"),
        (3601, hub, "1 hour session limit for roles assumed by role chaining"),
    ):
        with refused("ValidationError") as answer:
            assume(standin, credentials=credentials, DurationSeconds=seconds)
        assert text in answer.message
    assert assume(standin, credentials=hub, DurationSeconds=3600)


def test_expired_sessions(standin):
    make_role(standin, SPOKE, trust(ACCOUNT))
    standin.settings(session_seconds=0.2)
    short = assume(standin)
    assert (short["Expiration"] - datetime.now(timezone.utc)).total_seconds() < 1
    time.sleep(0.3)
    for service, call, code in (
        ("ec2", "describe_vpcs", "RequestExpired"),
        ("sts", "get_caller_identity", "ExpiredToken"),
        ("iam", "list_roles", "ExpiredToken"),
        ("ssm", "describe_instance_information", "ExpiredTokenException"),
    ):
        with refused(code):
            getattr(standin.client(service, credentials=short), call)()
    standin.settings(session_seconds=None)
    fresh = standin.client("ec2", credentials=assume(standin))
    fresh.describe_vpcs()
    assert standin.control("POST", "sessions/expire", {"role": SPOKE})["expired"] == 2
    with refused("RequestExpired"):
        fresh.describe_vpcs()


def test_session_policy(standin):
    make_role(standin, SPOKE, trust(ACCOUNT))
    policy = {"Statement": [{"Effect": "Allow", "Action": ["ec2:Describe*", "sts:*"], "Resource": "*"}]}
    session = assume(standin, Policy=json.dumps(policy))
    ec2 = standin.client("ec2", credentials=session)
    ec2.describe_vpcs()
    with refused("UnauthorizedOperation", 403) as answer:
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
    assert "no session policy allows the ec2:CreateVpc action" in answer.message
    with refused("AccessDeniedException"):
        standin.client("ssm", credentials=session).describe_instance_information()
    deny = {"Effect": "Deny", "Action": ["ec2:DescribeVpcs", "sts:*"], "Resource": "*"}
    policy["Statement"].append(deny)
    session = assume(standin, Policy=json.dumps(policy))
    ec2 = standin.client("ec2", credentials=session)
    ec2.describe_subnets()
    with refused("UnauthorizedOperation"):
        ec2.describe_vpcs()
    # Nothing takes GetCallerIdentity away.
    assert standin.client("sts", credentials=session).get_caller_identity()["Account"] == OTHER
    with refused("MalformedPolicyDocument"):
        assume(standin, Policy="{")


def test_web_identity(standin):
    federated = {"Effect": "Allow", "Principal": {"Federated": "x"}, "Action": "sts:AssumeRoleWithWebIdentity"}
    make_role(standin, HUB, {"Version": "2012-10-17", "Statement": [federated]})
    from botocore import UNSIGNED
    from botocore.config import Config
    from conftest import SESSION

    sts = SESSION.client(
        "sts", region_name=REGION, endpoint_url=standin.url, config=Config(signature_version=UNSIGNED)
    )
    session = sts.assume_role_with_web_identity(
        RoleArn=HUB, RoleSessionName="pod-identity", WebIdentityToken="a-token-of-some-length"
    )["Credentials"]
    identity = standin.client("sts", credentials=session).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/hub/pod-identity"
    assert "a-token" not in json.dumps(standin.calls())


def test_denied_actions(standin):
    make_role(standin, SPOKE, trust("*"))
    standin.fault(effect="denied", account=OTHER, service="ec2", action="CreateVpc*")
    standin.fault(effect="denied", account=OTHER, service="ssm", action="*")
    standin.fault(effect="denied", account=OTHER, service="iam", action="GetRole")
    ec2 = standin.client("ec2", account=OTHER)
    with refused("UnauthorizedOperation", 403) as answer:
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
    assert answer.message.startswith(
        "You are not authorized to perform this operation. "
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: ec2:CreateVpc because no "
        "identity-based policy allows the ec2:CreateVpc action. Encoded authorization failure message: "
    )
    ec2.describe_vpcs()
    with refused("AccessDeniedException"):
        standin.client("ssm", account=OTHER).describe_instance_information()
    with refused("AccessDenied", 403):
        standin.client("iam", account=OTHER).get_role(RoleName="spoke")
    standin.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")


def test_a_creation_with_tags_takes_the_permission_to_tag(standin, net):
    make_role(standin, SPOKE, trust(f"arn:aws:iam::{ACCOUNT}:root"))
    policy = {"Statement": [{"Effect": "Allow", "Action": "ec2:CreateVpc", "Resource": "*"}]}
    narrow = standin.client("ec2", credentials=assume(standin, Policy=json.dumps(policy)))
    narrow.create_vpc(CidrBlock="10.0.0.0/16")
    tagged = [{"ResourceType": "vpc", "Tags": [{"Key": "k", "Value": "v"}]}]
    with refused("UnauthorizedOperation") as answer:
        narrow.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tagged)
    assert "ec2:CreateTags" in answer.message

    standin.fault(effect="denied", service="ec2", action="CreateTags", account=ACCOUNT)
    tags = [{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "k", "Value": "v"}]}]
    with refused("UnauthorizedOperation") as answer:
        net.endpoint(TagSpecifications=tags)
    assert "ec2:CreateTags" in answer.message
    net.endpoint()


def test_denied_for_one_role(standin):
    make_role(standin, SPOKE, trust("*"))
    standin.fault(effect="denied", role=SPOKE, service="ec2", action="DescribeVpcs")
    standin.client("ec2", account=OTHER).describe_vpcs()
    with refused("UnauthorizedOperation"):
        standin.client("ec2", credentials=assume(standin)).describe_vpcs()


def test_simulation_follows_the_denials(standin):
    make_role(standin, SPOKE, trust("*"))
    iam = standin.client("iam", account=OTHER)
    actions = ["ec2:CreateVpcEndpoint", "ssm:GetDocument"]

    def decisions():
        answer = iam.simulate_principal_policy(PolicySourceArn=SPOKE, ActionNames=actions)
        assert [r["EvalActionName"] for r in answer["EvaluationResults"]] == actions
        assert {r["EvalResourceName"] for r in answer["EvaluationResults"]} == {"*"}
        return [r["EvalDecision"] for r in answer["EvaluationResults"]]

    assert decisions() == ["allowed", "allowed"]
    fault = standin.fault(effect="denied", role=SPOKE, service="ec2", action="*VpcEndpoint")
    assert decisions() == ["implicitDeny", "allowed"]
    standin.control("DELETE", f"faults/{fault}")
    assert decisions() == ["allowed", "allowed"]
    with refused("NoSuchEntity", 404):
        iam.simulate_principal_policy(PolicySourceArn=f"{SPOKE}-2", ActionNames=actions)
    bucket = "arn:aws:s3:::b"
    answer = iam.simulate_principal_policy(
        PolicySourceArn=SPOKE, ActionNames=actions, ResourceArns=[bucket]
    )
    assert {r["EvalResourceName"] for r in answer["EvaluationResults"]} == {bucket}


def test_disabled_region(standin):
    make_role(standin, SPOKE, trust("*"))
    standin.settings(disabled_regions=[[OTHER, REGION]])
    with refused("AuthFailure", 401):
        standin.client("ec2", account=OTHER).describe_vpcs()
    with refused("RegionDisabledException", 403):
        standin.client("sts", account=OTHER).get_caller_identity()
    with refused("RegionDisabledException", 403):
        assume(standin)
    with refused("UnrecognizedClientException"):
        standin.client("ssm", account=OTHER).describe_instance_information()
    standin.client("ec2", account=OTHER, region="us-east-1").describe_vpcs()
    standin.client("ec2").describe_vpcs()
    standin.settings(disabled_region_code="OptInRequired")
    with refused("OptInRequired"):
        standin.client("ec2", account=OTHER).describe_vpcs()


def test_sessions_are_listed_with_their_credentials(standin):
    assert standin.control("GET", "sessions") == []
    make_role(standin, SPOKE, trust(ACCOUNT))
    policy = {"Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}
    session = assume(standin, Policy=json.dumps(policy))
    (listed,) = standin.control("GET", "sessions")
    assert (listed["access_key"], listed["secret"], listed["token"]) == (
        session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"],
    )  # fmt: skip
    assert (listed["account"], listed["role"], listed["policy"]) == (OTHER, SPOKE, policy)


def test_an_identity_of_another_account(standin):
    make_role(standin, SPOKE, trust(ACCOUNT))
    standin.settings(identity_accounts={SPOKE: "333333333333"})
    identity = standin.client("sts", credentials=assume(standin)).get_caller_identity()
    assert identity["Account"] == "333333333333"
    assert identity["Arn"] == "arn:aws:sts::333333333333:assumed-role/spoke/test-session"
    root = standin.client("sts", account=OTHER).get_caller_identity()
    assert root["Account"] == OTHER


def signed_at(standin, when, service, headers=None, body=b"Action=GetCallerIdentity"):
    """The answer to a request that was signed then."""
    scope = f"AKIA{ACCOUNT}ROOT/{when:%Y%m%d}/{REGION}/{service}/aws4_request"
    request = urllib.request.Request(
        standin.url,
        method="POST",
        data=body,
        headers={
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            "X-Amz-Date": f"{when:%Y%m%dT%H%M%SZ}",
            **(headers or {}),
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_signature_is_good_for_five_minutes(standin):
    now = datetime.now(timezone.utc)
    for minutes in (-4, 0, 4):
        assert signed_at(standin, now + timedelta(minutes=minutes), "sts")[0] == 200
    ssm = {"X-Amz-Target": "AmazonSSM.DescribeInstanceInformation"}
    for minutes, says in ((-6, "Signature expired: "), (6, "Signature not yet current: ")):
        when = now + timedelta(minutes=minutes)
        status, text = signed_at(standin, when, "sts")
        assert status == 403 and "SignatureDoesNotMatch" in text and says in text, text
        status, text = signed_at(standin, when, "ssm", ssm, b"{}")
        assert status == 400 and "InvalidSignatureException" in text and says in text, text
        status, text = signed_at(standin, when, "ec2", body=b"Action=DescribeVpcs")
        assert status == 401 and "AuthFailure" in text, text
