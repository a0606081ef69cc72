"""Recording, faults, token buckets, the process, and real clients."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ConnectionClosedError
from conftest import ACCOUNT, HERE, OTHER, REGION, Net, Started, refused


def vpcs(ec2):
    return len(ec2.describe_vpcs()["Vpcs"])


def test_records_every_call(standin, ec2):
    standin.control("DELETE", "calls")
    ec2.describe_vpcs(Filters=[{"Name": "vpc-id", "Values": ["vpc-1"]}])
    with refused("InvalidVpcID.NotFound"):
        ec2.delete_vpc(VpcId="vpc-1")
    standin.client("ssm", account=OTHER).describe_instance_information(MaxResults=20)
    first, second, third = standin.calls()
    assert first["seq"] + 1 == second["seq"]
    assert (first["service"], first["action"]) == ("ec2", "DescribeVpcs")
    assert (first["account"], first["region"], first["role"]) == (ACCOUNT, REGION, None)
    assert (first["status"], first["code"], first["dry_run"]) == (200, None, False)
    assert first["params"] == {"Filter.1.Name": "vpc-id", "Filter.1.Value.1": "vpc-1"}
    assert abs(first["time"] - time.time()) < 60
    assert (second["status"], second["code"]) == (400, "InvalidVpcID.NotFound")
    assert (third["account"], third["params"]) == (OTHER, {"MaxResults": "20"})
    assert standin.control("GET", f"calls?since={second['seq']}") == [third]
    assert standin.control("GET", "counts") == {
        "ec2:DescribeVpcs": 1,
        "ec2:DeleteVpc": 1,
        "ssm:DescribeInstanceInformation": 1,
    }
    standin.control("DELETE", "calls")
    assert standin.calls() == []


def test_an_account_may_have_settings_and_a_time_of_its_own(standin):
    standin.settings(page_cap=7)
    own = standin.control(
        "POST", f"accounts/{ACCOUNT}/settings", {"endpoint_pending_seconds": 3600, "disabled_regions": [[ACCOUNT, "us-west-2"]]}
    )  # fmt: skip
    assert (own["page_cap"], own["endpoint_pending_seconds"]) == (7, 3600)
    assert standin.control("GET", "settings")["endpoint_pending_seconds"] == 0
    assert standin.refusal("POST", f"accounts/{ACCOUNT}/settings", {"no_such": 1}) == 400

    mine, theirs = (Net(standin.client("ec2", account=account)) for account in (ACCOUNT, OTHER))
    slow, quick = mine.endpoint()["VpcEndpointId"], theirs.endpoint()["VpcEndpointId"]
    assert (mine.seen(slow)["State"], theirs.seen(quick)["State"]) == ("pending", "available")
    standin.control("POST", f"accounts/{OTHER}/skip", {"seconds": 7200})
    assert mine.seen(slow)["State"] == "pending"
    standin.control("POST", f"accounts/{ACCOUNT}/skip", {"seconds": 3500})
    assert mine.seen(slow)["State"] == "pending"
    standin.control("POST", f"accounts/{ACCOUNT}/skip", {"seconds": 100})
    assert mine.seen(slow)["State"] == "available"

    with refused("AuthFailure"):
        standin.client("ec2", region="us-west-2").describe_vpcs()
    standin.client("ec2", account=OTHER, region="us-west-2").describe_vpcs()


def test_a_fault_matches_what_it_says(standin):
    standin.fault(
        effect="error", service="ec2", action="Create*", account=ACCOUNT, region=REGION,
        code="Custom", status=409, message="as told", times=1,
    )  # fmt: skip
    block = {"CidrBlock": "10.0.0.0/16"}
    standin.client("ec2", account=OTHER).create_vpc(**block)
    standin.client("ec2", region="us-east-1").create_vpc(**block)
    standin.client("iam").create_instance_profile(InstanceProfileName="p")
    ec2 = standin.client("ec2")
    ec2.describe_vpcs()
    with refused("Custom", 409) as answer:
        ec2.create_vpc(**block)
    assert answer.message == "as told"
    ec2.create_vpc(**block)
    (fault,) = standin.control("GET", "faults")
    assert (fault["hits"], fault["code"]) == (1, "Custom")


def test_faults_in_order(standin, ec2):
    first = standin.fault(effect="error", code="First", times=1)
    standin.fault(effect="error", code="Second")
    for code in ("First", "Second", "Second"):
        with refused(code):
            ec2.describe_vpcs()
    standin.control("DELETE", "faults")
    ec2.describe_vpcs()
    assert standin.fault(effect="http500") > first
    assert standin.refusal("POST", "faults", {"effect": "nosuch"}) == 400
    assert standin.refusal("POST", "faults", {"effect": "error", "nosuch": 1}) == 400
    assert standin.refusal("POST", "faults", {"effect": "error"}) == 400


def test_throttling_has_each_service_s_code(standin):
    standin.fault(effect="throttle")
    for service, call, code, status in (
        ("ec2", "describe_vpcs", "RequestLimitExceeded", 503),
        ("ssm", "describe_instance_information", "ThrottlingException", 400),
        ("iam", "list_roles", "Throttling", 400),
    ):
        with refused(code, status):
            getattr(standin.client(service), call)()


def test_http500(standin, ec2):
    standin.fault(effect="http500", times=1)
    with refused("InternalError", 500):
        ec2.describe_vpcs()


@pytest.mark.parametrize(("effect", "made"), [("lost", 1), ("lost-before", 0)])
def test_lost_answers(standin, ec2, effect, made):
    before = vpcs(ec2)
    standin.fault(effect=effect, action="CreateVpc")
    with pytest.raises(ConnectionClosedError):
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
    assert vpcs(ec2) == before + made
    (call,) = [c for c in standin.calls() if c["action"] == "CreateVpc"]
    assert (call["status"], call["code"]) == (None, "ConnectionLost")


def test_a_lost_answer_and_a_retry_make_two(standin, ec2):
    before = vpcs(ec2)
    standin.fault(effect="lost", action="CreateVpc", times=1)
    standin.client("ec2", retries=2).create_vpc(CidrBlock="10.0.0.0/16")
    assert vpcs(ec2) == before + 2


def test_delay(standin, ec2):
    standin.fault(effect="delay", ms=300, action="DescribeVpcs")
    standin.fault(effect="error", code="After", action="DescribeVpcs")
    started = time.monotonic()
    with refused("After"):
        ec2.describe_vpcs()
    assert time.monotonic() - started >= 0.3


def test_probability_is_repeatable(standin, ec2):
    def outcomes():
        fault = standin.fault(effect="http500", probability=0.5, seed=7)
        seen = []
        for _ in range(20):
            try:
                ec2.describe_vpcs()
                seen.append(True)
            except ec2.exceptions.ClientError:
                seen.append(False)
        standin.control("DELETE", f"faults/{fault}")
        return seen

    first = outcomes()
    assert first == outcomes()
    assert 0 < sum(first) < 20


def test_token_buckets(standin, ec2):
    missing = ["vpce-00000000000000000"]
    standin.settings(buckets=True)
    for _ in range(4):
        ec2.delete_vpc_endpoints(VpcEndpointIds=missing)
    with refused("RequestLimitExceeded", 503):
        ec2.delete_vpc_endpoints(VpcEndpointIds=missing)
    # Each API, account and Region has its own.
    with refused("InvalidVpcEndpointId.NotFound"):
        ec2.modify_vpc_endpoint(VpcEndpointId=missing[0])
    standin.client("ec2", account=OTHER).delete_vpc_endpoints(VpcEndpointIds=missing)
    standin.client("ec2", region="us-east-1").delete_vpc_endpoints(VpcEndpointIds=missing)
    standin.control("POST", f"accounts/{ACCOUNT}/skip", {"seconds": 4})
    ec2.delete_vpc_endpoints(VpcEndpointIds=missing)
    with refused("RequestLimitExceeded", 503):
        ec2.delete_vpc_endpoints(VpcEndpointIds=missing)
    standin.settings(buckets=False)
    for _ in range(5):
        ec2.delete_vpc_endpoints(VpcEndpointIds=missing)


def test_bucket_sizes():
    sys.path.insert(0, str(HERE))
    from standin.buckets import Buckets
    from standin.call import Call

    now = [0.0]
    buckets = Buckets(clock=lambda _: now[0])

    def taken(action, **params):
        call = Call("ec2", action, REGION, "ec2", None, None, params, account=ACCOUNT)
        return next(n for n in range(200) if not buckets.take(call))

    assert taken("DescribeVpcs") == 100
    assert taken("DescribeInstances") == 50
    assert taken("DescribeInstances", MaxResults="50") == 100
    assert taken("AuthorizeSecurityGroupIngress") == 50
    assert taken("CreateVpcEndpoint") == 4
    assert taken("CreateTags") == 100
    assert taken("AssociateIamInstanceProfile") == 100
    now[0] = 10.0
    assert taken("CreateVpcEndpoint") == 3
    assert taken("DescribeInstances", MaxResults="50") == 100
    assert taken("AuthorizeSecurityGroupIngress") == 50
    now[0] = 11.0
    assert taken("DescribeVpcs") == 100
    assert taken("AuthorizeSecurityGroupIngress") == 5


def test_settings(standin):
    assert standin.settings(state_casing="pascal")["state_casing"] == "pascal"
    assert standin.control("GET", "settings")["buckets"] is False
    assert standin.refusal("POST", "settings", {"nosuch": 1}) == 400
    assert standin.refusal("GET", "nosuch") == 404


def test_reset_forgets_everything(standin, ec2):
    ec2.create_vpc(CidrBlock="10.0.0.0/16")
    standin.fault(effect="http500")
    standin.settings(state_casing="pascal")
    standin.control("POST", "reset")
    assert standin.calls() == standin.control("GET", "faults") == []
    assert standin.control("GET", "settings")["state_casing"] == "lower"
    assert vpcs(ec2) == 1


def test_what_moto_lacks_is_said(standin, ec2):
    with refused("NotImplemented"):
        ec2.describe_fast_launch_images()


def test_plain_moto(standin):
    plain = Started("--plain")
    try:
        ec2 = plain.client("ec2")
        assert ec2.describe_vpcs()["Vpcs"]
        assert plain.control("GET", "counts") == {"ec2:DescribeVpcs": 1}
        assert plain.control("GET", "health")["plain"] is True
        assert plain.refusal("GET", "settings") == 404
        names = ec2.describe_vpc_endpoint_services()["ServiceNames"]
        assert len(names) > 20
        plain.control("POST", "reset")
        assert plain.calls() == []
    finally:
        plain.stop()


def test_ends_with_its_parent(standin):
    child = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'standin', '--exit-with-parent'], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(p.pid)\n"
    )
    out = subprocess.run([sys.executable, "-c", child], cwd=HERE, capture_output=True, check=True)
    pid = int(out.stdout)
    end = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and running(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def running(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_connections_are_kept_open(standin):
    import http.client

    host = standin.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/_standin/health")
        sockets.add(connection.sock)
        connection.getresponse().read()
    assert len(sockets) == 1
    connection.close()


def test_the_command_line(standin):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "AWS_ACCESS_KEY_ID": f"AKIA{ACCOUNT}ROOT",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_CONFIG_FILE": os.devnull,
    }
    command = [
        str(Path(sys.executable).with_name("aws")), "--endpoint-url", standin.url, "--region", REGION,
        "--output", "text",
    ]  # fmt: skip

    def aws(*words):
        done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip()

    vpc = aws("ec2", "create-vpc", "--cidr-block", "10.0.0.0/16", "--query", "Vpc.VpcId")
    made = aws(
        "ec2", "create-vpc-endpoint", "--vpc-id", vpc, "--service-name", f"com.amazonaws.{REGION}.s3",
        "--query", "VpcEndpoint.[VpcEndpointId,OwnerId]",
    )  # fmt: skip
    assert made.startswith("vpce-") and made.endswith(ACCOUNT)
    assert "InvalidServiceName" in aws(
        "ec2", "create-vpc-endpoint", "--vpc-id", vpc, "--service-name", "nosuch"
    )
