"""Buckets and keys, where moto is lax: who may look at them, and where they answer.

Log groups are moto's own. What a bucket's or a key's policy lets other accounts do is not looked at: it lets them nothing.
"""

from moto.kms.models import kms_backends
from moto.s3.models import s3_backends
from moto.utilities.utils import get_partition

from .errors import AwsError

# By method and what of a bucket is meant; anything else is of objects.
S3_ACTIONS = {
    ("GET", ""): "ListObjects",
    ("HEAD", ""): "HeadBucket",
    ("PUT", ""): "CreateBucket",
    ("DELETE", ""): "DeleteBucket",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "encryption"): "GetBucketEncryption",
    ("PUT", "encryption"): "PutBucketEncryption",
    ("DELETE", "encryption"): "DeleteBucketEncryption",
}
# Since 2023 every bucket is encrypted, if nobody says how, with S3's own keys (S3 user guide).
BY_ITSELF = {"Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": "false"}}


def s3_action(method, path, query):
    """The call in a request to S3 by path, and its bucket."""
    bucket, _, key = path.lstrip("/").partition("/")
    if not bucket:
        return "ListBuckets", None
    action = S3_ACTIONS.get((method, query.partition("&")[0].rstrip("=") if query else ""))
    return (action if action and not key else f"{method} {'object' if key else query}"), bucket


def check(call):
    """Refuses what moto would answer."""
    if call.protocol == "s3":
        _check_bucket(call)
    elif call.service == "kms" and "KeyId" in call.params:
        if call.params["KeyId"].startswith("arn:"):
            _check_key(call, call.params["KeyId"])
        key = kms_backends[call.account][call.region].keys.get(call.params["KeyId"].rpartition("/")[2])
        if key is not None:
            # CreateKey's default.
            key.key_usage = key.key_usage or "ENCRYPT_DECRYPT"


def _check_bucket(call):
    name = call.params.get("Bucket")
    owner = s3_backends.bucket_accounts.get(name)
    if owner is None or call.action == "CreateBucket":
        return
    partition, account = owner
    if account != call.account:
        raise AwsError("AccessDenied", "Access Denied", 403)
    bucket = s3_backends[account][partition].buckets[name]
    if bucket.region_name != call.region:
        raise AwsError(
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint. "
            "Please send all future requests to this endpoint.",
            301,
            {"x-amz-bucket-region": bucket.region_name},
        )
    if bucket.encryption is None:
        bucket.encryption = BY_ITSELF


def _check_key(call, arn):
    fields = arn.split(":", 5)
    partition, region, account = (fields + [""] * 5)[1], (fields + [""] * 5)[3], (fields + [""] * 5)[4]
    if (partition, region) != (get_partition(call.region), call.region):
        raise AwsError("NotFoundException", f"Invalid arn {region}")
    if account != call.account:
        raise AwsError(
            "AccessDeniedException",
            f"User: {call.caller_arn} is not authorized to perform: kms:{call.action} on this resource because the "
            "resource does not exist in this Region, no resource-based policies allow access, or a resource-based "
            "policy explicitly denies access",
        )
