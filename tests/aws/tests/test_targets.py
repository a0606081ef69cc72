"""Buckets, log groups and keys, as whoever logs sessions to them finds them."""

import pytest
from conftest import ACCOUNT, OTHER, REGION, refused
from test_identity import assume
from test_policies import Role, allow

ELSEWHERE = "eu-west-2"


def make_bucket(standin, name, region=REGION, account=ACCOUNT):
    s3 = standin.client("s3", account=account, region=region)
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **where)
    return s3


def encryption(s3, bucket):
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    return rules[0]["ApplyServerSideEncryptionByDefault"]


def test_a_bucket_says_where_it_is(standin):
    for region, place in ((REGION, REGION), ("us-east-1", None)):
        s3 = make_bucket(standin, f"logs-{region}", region)
        assert s3.get_bucket_location(Bucket=f"logs-{region}")["LocationConstraint"] == place
    with refused("NoSuchBucket", 404):
        standin.client("s3").get_bucket_location(Bucket="nosuch")
    with refused("NoSuchBucket", 404):
        standin.client("s3").get_bucket_encryption(Bucket="nosuch")


def test_a_bucket_answers_in_its_own_region(standin):
    make_bucket(standin, "logs", ELSEWHERE)
    with standin_http(standin, "GET", "/logs?location") as (status, headers, body):
        assert (status, headers["x-amz-bucket-region"]) == (301, ELSEWHERE)
        assert b"<Error><Code>PermanentRedirect</Code>" in body


def standin_http(standin, method, target):
    """A request as it is on the wire, which nothing follows or tries again."""
    from contextlib import contextmanager
    from http.client import HTTPConnection

    @contextmanager
    def sent():
        connection = HTTPConnection(standin.url.removeprefix("http://"), timeout=10)
        credential = f"AWS4-HMAC-SHA256 Credential=AKIA{ACCOUNT}ROOT/20260101/{REGION}/s3/aws4_request"
        connection.request(method, target, headers={"Authorization": credential})
        answer = connection.getresponse()
        yield answer.status, answer.headers, answer.read()
        connection.close()

    return sent()


def test_a_bucket_of_another_account_is_closed(standin):
    make_bucket(standin, "theirs", account=OTHER)
    for call in ("get_bucket_location", "get_bucket_encryption"):
        with refused("AccessDenied", 403):
            getattr(standin.client("s3"), call)(Bucket="theirs")


def test_a_bucket_is_encrypted_from_the_start(standin):
    s3 = make_bucket(standin, "logs")
    assert encryption(s3, "logs") == {"SSEAlgorithm": "AES256"}
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/logs"}
    s3.put_bucket_encryption(
        Bucket="logs",
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": by_key}]},
    )
    assert encryption(s3, "logs") == by_key
    s3.delete_bucket_encryption(Bucket="logs")
    assert encryption(s3, "logs") == {"SSEAlgorithm": "AES256"}
    s3.delete_bucket(Bucket="logs")
    with refused("NoSuchBucket", 404):
        s3.get_bucket_encryption(Bucket="logs")


def test_calls_to_s3_are_recorded_by_their_names_and_meet_faults(standin):
    s3 = make_bucket(standin, "logs")
    standin.control("DELETE", "calls")
    s3.get_bucket_location(Bucket="logs")
    s3.get_bucket_encryption(Bucket="logs")
    calls = [(c["service"], c["action"], c["params"], c["status"]) for c in standin.calls()]
    of_logs = {"Bucket": "logs"}
    assert calls == [("s3", "GetBucketLocation", of_logs, 200), ("s3", "GetBucketEncryption", of_logs, 200)]
    for effect, code, status in (("denied", "AccessDenied", 403), ("throttle", "SlowDown", 503)):
        standin.fault(effect=effect, service="s3", action="GetBucketLocation", times=1)
        with refused(code, status):
            s3.get_bucket_location(Bucket="logs")
    s3.get_bucket_location(Bucket="logs")


def test_log_groups_by_the_beginning_of_their_names(standin):
    logs = standin.client("logs")
    key = standin.client("kms").create_key()["KeyMetadata"]["Arn"]
    logs.create_log_group(logGroupName="/ssm/sessions", kmsKeyId=key)
    logs.create_log_group(logGroupName="/ssm/sessions-2")
    found = logs.describe_log_groups(logGroupNamePrefix="/ssm/sessions")["logGroups"]
    assert [(g["logGroupName"], g.get("kmsKeyId")) for g in found] == [
        ("/ssm/sessions", key),
        ("/ssm/sessions-2", None),
    ]
    logs.delete_log_group(logGroupName="/ssm/sessions")
    found = logs.describe_log_groups(logGroupNamePrefix="/ssm/sessions")["logGroups"]
    assert [g["logGroupName"] for g in found] == ["/ssm/sessions-2"]


def test_keys_by_their_ids_and_arns(standin):
    kms = standin.client("kms")
    key = kms.create_key()["KeyMetadata"]
    for name in (key["KeyId"], key["Arn"]):
        seen = kms.describe_key(KeyId=name)["KeyMetadata"]
        assert (seen["KeyState"], seen["KeyUsage"], seen["KeySpec"]) == (
            "Enabled",
            "ENCRYPT_DECRYPT",
            "SYMMETRIC_DEFAULT",
        )
    kms.disable_key(KeyId=key["KeyId"])
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled"
    kms.schedule_key_deletion(KeyId=key["KeyId"])
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
    for nosuch in ("0a1b2c3d-1111-2222-3333-444455556666", key["Arn"].replace(REGION, ELSEWHERE)):
        with refused("NotFoundException"):
            kms.describe_key(KeyId=nosuch)
    theirs = standin.client("kms", account=OTHER).create_key()["KeyMetadata"]["Arn"]
    with refused("AccessDeniedException"):
        kms.describe_key(KeyId=theirs)


@pytest.fixture
def role(standin):
    return Role(standin)


def test_what_a_role_has_to_be_allowed(role):
    standin = role.standin
    make_bucket(standin, "logs", account=OTHER)
    key = standin.client("kms", account=OTHER).create_key()["KeyMetadata"]["Arn"]
    bucket = "arn:aws:s3:::logs"

    def client(service, *statements):
        role.may(*statements)
        return standin.client(service, credentials=assume(standin))

    s3 = client("s3", allow("s3:GetBucketLocation", bucket))
    s3.get_bucket_location(Bucket="logs")
    with refused("AccessDenied", 403) as answer:
        s3.get_bucket_encryption(Bucket="logs")
    assert "s3:GetEncryptionConfiguration" in answer.message and bucket in answer.message
    s3 = client("s3", allow("s3:GetEncryptionConfiguration", bucket))
    s3.get_bucket_encryption(Bucket="logs")
    with refused("AccessDenied", 403):
        s3.get_bucket_location(Bucket="logs")
    kms = client("kms", allow("kms:DescribeKey", key))
    kms.describe_key(KeyId=key)
    kms.describe_key(KeyId=key.rpartition("/")[2])
    with refused("AccessDeniedException"):
        client("kms", allow("kms:DescribeKey", key + "x")).describe_key(KeyId=key)
    client("logs", allow("logs:DescribeLogGroups", "*")).describe_log_groups()
    with refused("AccessDeniedException"):
        client("logs", allow("logs:CreateLogGroup", "*")).describe_log_groups()
