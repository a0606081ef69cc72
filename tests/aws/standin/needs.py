"""What a call to a service other than EC2 has to be allowed: its resources, and their condition keys.

From the service authorization references of these. Where a call tags what it makes, the tagging is asked for as well:
IAM says so; of Systems Manager it is the stricter reading.
"""

import json
import re

from moto.events.models import events_backends
from moto.iam.models import iam_backends
from moto.ssm.models import ssm_backends
from moto.utilities.utils import get_partition

from .policies import Need, request_tags, resource_context, tags_in
from .ssm import ROLE_SETTING, setting_id_in

SETTINGS = ("GetServiceSetting", "UpdateServiceSetting", "ResetServiceSetting")
TAGGING = ("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource")
DOCUMENTS = (
    "GetDocument", "DescribeDocument", "CreateDocument", "UpdateDocument", "UpdateDocumentDefaultVersion",
    "DeleteDocument", "ListDocumentVersions",
)  # fmt: skip
# Where the permission has another name than the call.
S3_PERMISSIONS = {
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "HeadBucket": "s3:ListBucket",
    "ListObjects": "s3:ListBucket",
    "ListBuckets": "s3:ListAllMyBuckets",
}
ON_ROLES = re.compile(
    r"(Get|Create|Delete|Update|Tag|Untag)Role|UpdateAssumeRolePolicy|UpdateRoleDescription|"
    r"(Attach|Detach|Put|Delete|Get)RolePolicy|(Put|Delete)RolePermissionsBoundary|"
    r"List(RolePolicies|AttachedRolePolicies|RoleTags|InstanceProfilesForRole)"
)
ON_PROFILES = re.compile(r"(Get|Create|Delete|Tag|Untag)InstanceProfile|(AddRoleTo|RemoveRoleFrom)InstanceProfile")
# The actions that have the key iam:PolicyARN, and those that have iam:PermissionsBoundary of the role as it is.
WITH_POLICY = ("AttachRolePolicy", "DetachRolePolicy")
BOUNDED = (*WITH_POLICY, "PutRolePolicy", "DeleteRolePolicy", "DeleteRolePermissionsBoundary")


def ssm_needs(call, action, context):
    start = f"arn:{get_partition(call.region)}:ssm:{call.region}:{call.account}"
    params = call.params
    if call.action in SETTINGS:
        setting_id = setting_id_in(params.get("SettingId", ""))
        own = {**context, **resource_context(call.account)}
        found = [Need(action, f"{start}:servicesetting{setting_id}", own)]
        if call.action == "UpdateServiceSetting" and setting_id == ROLE_SETTING:
            found.append(pass_role(call, params.get("SettingValue", ""), "ssm.amazonaws.com", context))
        return found
    tagging = call.action in TAGGING and params.get("ResourceType") == "Document"
    if call.action not in DOCUMENTS and not tagging:
        return [Need(action, "*", context)]
    name = params.get("ResourceId" if tagging else "Name", "")
    kept = ssm_backends[call.account][call.region]._resource_tags.get("Document", {}).get(name, {})
    given = {tag["Key"]: tag["Value"] for tag in json.loads(params.get("Tags", "[]"))}
    own = {**context, **resource_context(call.account, kept), **with_prefix("ssm", kept), **request_tags(given)}
    if "TagKeys" in params:
        own["aws:tagkeys"] = json.loads(params["TagKeys"])
    resource = f"{start}:document/{name}"
    found = [Need(action, resource, own)]
    if call.action == "CreateDocument" and given:
        found.append(Need("ssm:AddTagsToResource", resource, own))
    return found


def iam_needs(call, action, context):
    params = call.params
    backend = iam_backends[call.account][get_partition(call.region)]
    role = next((r for r in backend.get_roles() if r.name == params.get("RoleName")), None)
    given = tags_in(params, "Tags.member")
    own = {**context, **request_tags(given)}
    keys = [value for key, value in params.items() if key.startswith("TagKeys.member.")]
    if keys:
        own["aws:tagkeys"] = keys
    if ON_ROLES.fullmatch(call.action):
        tags = tags_of(role)
        own.update({**resource_context(call.account, tags), **with_prefix("iam", tags)})
        if call.action in WITH_POLICY:
            own["iam:policyarn"] = [params.get("PolicyArn", "")]
        boundary = params.get("PermissionsBoundary") or (
            role.permissions_boundary_arn if role and call.action in BOUNDED else None
        )
        if boundary:
            own["iam:permissionsboundary"] = [boundary]
        resource = arn_of(call, "role", role, params.get("RoleName", "*"))
        found = [Need(action, resource, own)]
        if call.action == "CreateRole" and given:
            found.append(Need("iam:TagRole", resource, own))
        return found
    if ON_PROFILES.fullmatch(call.action):
        name = params.get("InstanceProfileName", "*")
        profile = backend.instance_profiles.get(name)
        tags = tags_of(profile)
        own.update({**resource_context(call.account, tags), **with_prefix("iam", tags)})
        resource = arn_of(call, "instance-profile", profile, name)
        found = [Need(action, resource, own)]
        if call.action == "CreateInstanceProfile" and given:
            found.append(Need("iam:TagInstanceProfile", resource, own))
        if call.action == "AddRoleToInstanceProfile":
            path = role.path.lstrip("/") if role else ""
            found.append(pass_role(call, f"{path}{params.get('RoleName', '')}", "ec2.amazonaws.com", context))
        return found
    return [Need(action, "*", own)]


def target_needs(call, action, context):
    partition, params = get_partition(call.region), call.params
    own = {**context, **resource_context(call.account)}
    if call.service == "s3":
        resource = f"arn:{partition}:s3:::{params['Bucket']}" if "Bucket" in params else "*"
        return [Need(S3_PERMISSIONS.get(call.action, action), resource, own)]
    key = params.get("KeyId", "*")
    if key != "*" and not key.startswith("arn:"):
        key = f"arn:{partition}:kms:{call.region}:{call.account}:key/{key}"
    return [Need(action, key, own)]


def audit_needs(call, action, context):
    """Rules have tags, and those of PutRule take `events:TagResource` as well; trails and topics may be of others."""
    params = call.params
    if call.service == "events":
        name = params.get("Name") or params.get("Rule")
        start = f"arn:{get_partition(call.region)}:events:{call.region}:{call.account}"
        resource = f"{start}:rule/{name}" if name else params.get("ResourceARN", "*")
        tagger = events_backends[call.account][call.region].tagger
        kept = {tag["Key"]: tag["Value"] for tag in tagger.list_tags_for_resource(resource)["Tags"]}
        given = {tag["Key"]: tag["Value"] for tag in json.loads(params.get("Tags", "[]"))}
        own = {**context, **resource_context(call.account, kept), **request_tags(given)}
        if "TagKeys" in params:
            own["aws:tagkeys"] = json.loads(params["TagKeys"])
        found = [Need(action, resource, own)]
        if call.action == "PutRule" and given:
            found.append(Need("events:TagResource", resource, own))
        return found
    resource = params.get("TopicArn") or params.get("TrailName")
    if call.service == "cloudtrail" and call.action == "GetTrailStatus":
        resource = params.get("Name")
    if not resource or not resource.startswith("arn:"):
        return [Need(action, "*", context)]
    return [Need(action, resource, {**context, **resource_context(resource.split(":")[4])})]


def pass_role(call, path_and_name, service, context):
    """Handing a role to a service. A name that is no role's is asked for all the same."""
    resource = f"arn:{get_partition(call.region)}:iam::{call.account}:role/{path_and_name}"
    backend = iam_backends[call.account][get_partition(call.region)]
    tags = tags_of(next((r for r in backend.get_roles() if r.arn == resource), None))
    own = {**resource_context(call.account, tags), **with_prefix("iam", tags), "iam:passedtoservice": [service]}
    return Need("iam:PassRole", resource, {**context, **own})


def pass_roles_of(call, profile_arn, context):
    """Handing the role of a profile to EC2, with the profile."""
    backend = iam_backends[call.account][get_partition(call.region)]
    profile = next((p for p in backend.instance_profiles.values() if p.arn == profile_arn), None)
    roles = profile.roles if profile else []
    names = [f"{role.path.lstrip('/')}{role.name}" for role in roles]
    return [pass_role(call, name, "ec2.amazonaws.com", context) for name in names]


def arn_of(call, kind, existing, name):
    """The ARN of a role or profile with its path; of one that is yet to be made, with the path of the request."""
    if existing is not None:
        return existing.arn
    path = call.params.get("Path", "/") if call.action.startswith("Create") else "/"
    return f"arn:{get_partition(call.region)}:iam::{call.account}:{kind}{path}{name}"


def tags_of(entity):
    return {tag["Key"]: tag["Value"] for tag in entity.tags} if entity is not None else {}


def with_prefix(service, tags):
    return {f"{service}:resourcetag/{key.lower()}": [value] for key, value in tags.items()}
