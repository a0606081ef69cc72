"""A started stand-in, AWS clients for it, and its control API."""

import json
import os
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

HERE = Path(__file__).resolve().parent.parent
ACCOUNT = "111111111111"
OTHER = "222222222222"
REGION = "eu-west-1"

os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
os.environ.pop("AWS_PROFILE", None)
SESSION = boto3.session.Session()


class Started:
    """A running stand-in."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "standin", "--port", "0", "--exit-with-parent", *options],
            cwd=HERE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        assert ready, "the stand-in did not start"
        line = self.process.stdout.readline()
        assert line.startswith("listening http://127.0.0.1:"), line
        self.url = line.split()[1]
        self._clients = {}

    def stop(self):
        """SIGTERM must end it, and well."""
        self.process.terminate()
        assert self.process.wait(10) == 0

    def control(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.url}/_standin/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def refusal(self, method, path, body=None):
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.control(method, path, body)
        return caught.value.code

    def settings(self, **changes):
        return self.control("POST", "settings", changes)

    def fault(self, **fault):
        return self.control("POST", "faults", fault)["id"]

    def calls(self):
        return self.control("GET", "calls")

    def client(self, service, account=ACCOUNT, region=REGION, credentials=None, retries=1):
        """A client for an account's root, or with the credentials given."""
        keys = credentials or {"AccessKeyId": f"AKIA{account}ROOT", "SecretAccessKey": "any"}
        kind = (service, region, keys["AccessKeyId"], retries)
        if kind not in self._clients:
            self._clients[kind] = SESSION.client(
                service,
                region_name=region,
                endpoint_url=self.url,
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys.get("SessionToken"),
                config=Config(retries={"total_max_attempts": retries}, parameter_validation=False),
            )
        return self._clients[kind]


@pytest.fixture(scope="session")
def started():
    server = Started()
    yield server
    server.stop()


@pytest.fixture
def standin(started):
    """Empty, and quick: endpoints are available and gone at once unless a test says otherwise."""
    started.control("POST", "reset")
    started.settings(
        endpoint_pending_seconds=0, endpoint_deleting_seconds=0, endpoint_deleted_seconds=0
    )
    return started


@pytest.fixture
def ec2(standin):
    return standin.client("ec2")


class Net:
    """A VPC with DNS attributes on, two subnets in two zones, and a security group."""

    def __init__(self, ec2, region=REGION, cidr="10.0.0.0/16"):
        self.ec2 = ec2
        self.vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
        base = cidr.rsplit(".", 2)[0]
        self.subnets = [
            ec2.create_subnet(
                VpcId=self.vpc, CidrBlock=f"{base}.{n}.0/24", AvailabilityZone=f"{region}{zone}"
            )["Subnet"]["SubnetId"]
            for n, zone in enumerate("ab")
        ]
        self.group = self.create_group("endpoints")
        for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
            ec2.modify_vpc_attribute(VpcId=self.vpc, **{attribute: {"Value": True}})

    def create_group(self, name):
        return self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"]

    def endpoint(self, service="ssm", **options):
        """Creates an interface endpoint, in the first subnet unless told otherwise."""
        options = {
            "VpcId": self.vpc,
            "ServiceName": f"com.amazonaws.{REGION}.{service}",
            "VpcEndpointType": "Interface",
            "SubnetIds": self.subnets[:1],
            "SecurityGroupIds": [self.group],
            "PrivateDnsEnabled": True,
            **options,
        }
        return self.ec2.create_vpc_endpoint(**options)["VpcEndpoint"]

    def gateway(self, *tables, **options):
        return self.ec2.create_vpc_endpoint(
            VpcId=self.vpc,
            ServiceName=f"com.amazonaws.{REGION}.s3",
            VpcEndpointType="Gateway",
            RouteTableIds=list(tables),
            **options,
        )["VpcEndpoint"]

    def main_table(self):
        tables = self.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])
        return tables["RouteTables"][0]["RouteTableId"]

    def seen(self, endpoint_id):
        return self.ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"][0]


@pytest.fixture
def net(ec2):
    return Net(ec2)


class Refused:
    """Catches the AWS error a block must end in, and checks its code."""

    def __init__(self, code, status=None):
        self.wanted, self.wanted_status = code, status

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        assert isinstance(error, ClientError), f"{self.wanted} expected, got {error!r}"
        self.message = error.response["Error"]["Message"]
        self.code = error.response["Error"]["Code"]
        self.status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert self.code == self.wanted, error
        assert self.wanted_status in (None, self.status), error
        return True


refused = Refused


def wait_for(condition, seconds=5):
    """Polls until the condition holds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)
    return value
