"""What policies allow: IAM's evaluation of one request, and what EC2 and STS ask it for each call.

What the other services ask is in `needs.py`.

From the IAM user guide (policy evaluation logic, condition operators, ARNs with wildcards) and the service
authorization reference of EC2: its resource types and condition keys by action.
"""

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache

from moto.iam.models import iam_backends
from moto.utilities.utils import get_partition

from .errors import AwsError, denied
from .state import state

# GetCallerIdentity is answered whatever policies say (STS API).
FREE = {"sts:GetCallerIdentity"}
# By the prefix of an id, where it is not the resource type in an ARN.
RESOURCE_TYPES = {
    "vpce": "vpc-endpoint",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "vpc": "vpc",
    "subnet": "subnet",
    "rtb": "route-table",
    "i": "instance",
    "eni": "network-interface",
}
# What CreateX makes, for actions that tag it in the same call.
MADE = {
    "CreateVpcEndpoint": "vpc-endpoint",
    "CreateSecurityGroup": "security-group",
    "AuthorizeSecurityGroupIngress": "security-group-rule",
    "AuthorizeSecurityGroupEgress": "security-group-rule",
    "CreateVpc": "vpc",
    "CreateSubnet": "subnet",
    "CreateRouteTable": "route-table",
}
# The parameters that name resources which the caller has to be allowed to use, by action. What ModifyVpcEndpoint takes
# away is asked for as what it adds: AWS does not say; the stricter reading is the safer one to write policies for.
NAMED = {
    "CreateVpcEndpoint": ("VpcId", "SubnetId", "SecurityGroupId", "RouteTableId"),
    "ModifyVpcEndpoint": (
        "VpcEndpointId", "AddSubnetId", "RemoveSubnetId", "AddSecurityGroupId", "RemoveSecurityGroupId",
        "AddRouteTableId", "RemoveRouteTableId",
    ),  # fmt: skip
    "DeleteVpcEndpoints": ("VpcEndpointId",),
    "CreateSecurityGroup": ("VpcId",),
    "AuthorizeSecurityGroupIngress": ("GroupId",),
    "AuthorizeSecurityGroupEgress": ("GroupId",),
    "RevokeSecurityGroupIngress": ("GroupId",),
    "RevokeSecurityGroupEgress": ("GroupId",),
    "DeleteSecurityGroup": ("GroupId",),
    "CreateTags": ("ResourceId",),
    "DeleteTags": ("ResourceId",),
    "ModifyVpcAttribute": ("VpcId",),
    "AssociateIamInstanceProfile": ("InstanceId",),
    "DescribeVpcAttribute": ("VpcId",),
    "CreateSubnet": ("VpcId",),
    "CreateRouteTable": ("VpcId",),
    "DeleteVpc": ("VpcId",),
    "DeleteSubnet": ("SubnetId",),
}  # fmt: skip
VPC_ATTRIBUTES = ("EnableDnsSupport", "EnableDnsHostnames", "EnableNetworkAddressUsageMetrics")


class PolicyError(Exception):
    """A policy says something that is not evaluated here: better a loud failure than a wrong verdict."""


@dataclass
class Need:
    """One thing that a call has to be allowed. Context keys are in lower case; values are lists."""

    action: str
    resource: str = "*"
    context: dict = field(default_factory=dict)


# Matching


@lru_cache(maxsize=4096)
def _glob(pattern, ignore_case=False):
    """IAM's wildcards are `*` and `?`, and nothing else is."""
    parts = ("." if c == "?" else ".*" if c == "*" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def like(value, pattern):
    return bool(_glob(pattern).fullmatch(value))


def arn_like(value, pattern):
    """Each of the six parts of an ARN for itself."""
    values, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(values) == len(patterns) == 6 and all(map(like, values, patterns))


OPERATORS = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": like,
    "ArnEquals": arn_like,
    "ArnLike": arn_like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def as_list(value):
    return value if isinstance(value, list) else [value]


def conditions_hold(conditions, context):
    """Whether every comparison of a Condition element holds."""
    return all(
        comparison_holds(operator, context.get(key.lower()), [str(v) for v in as_list(wanted)], context)
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def comparison_holds(operator, values, wanted, context):
    """One operator on one key. `values`: those of the request, None where it has no such key."""
    name, quantifier = operator, None
    if ":" in name:
        quantifier, _, name = name.partition(":")
        if quantifier not in ("ForAllValues", "ForAnyValue"):
            raise PolicyError(f"the condition operator {operator} is not known")
    if name == "Null":
        return (not values) == (wanted[0].lower() == "true")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = name in NEGATED
    compare = OPERATORS.get(NEGATED.get(name, name))
    if compare is None:
        raise PolicyError(f"the condition operator {operator} is not known")
    wanted = [with_variables(w, context) for w in wanted]

    def matches(value):
        return any(w is not None and compare(value, w) for w in wanted) != negated

    if not values:
        # An absent key: matched by what is negated, by ForAllValues, and by ...IfExists.
        return if_exists or quantifier == "ForAllValues" or (negated and quantifier is None)
    if quantifier == "ForAllValues" or (negated and quantifier is None):
        return all(matches(value) for value in values)
    return any(matches(value) for value in values)


def with_variables(text, context):
    """Policy variables filled in; None where one has no value."""
    missing = False

    def value(found):
        nonlocal missing
        name = found.group(1)
        if name in ("*", "?", "$"):
            return name
        values = context.get(name.lower()) or []
        missing |= len(values) != 1
        return values[0] if values else ""

    filled = re.sub(r"\$\{([^}]+)\}", value, text)
    return None if missing else filled


def statement_covers(statement, need):
    """Whether a statement is about what is needed, its conditions included."""

    def acts(patterns):
        return any(_glob(p, True).fullmatch(need.action) for p in as_list(patterns))

    def names(patterns):
        filled = (with_variables(p, need.context) for p in as_list(patterns))
        return any(p is not None and like(need.resource, p) for p in filled)

    if "NotAction" in statement:
        if acts(statement["NotAction"]):
            return False
    elif not acts(statement.get("Action", [])):
        return False
    if "NotResource" in statement:
        if names(statement["NotResource"]):
            return False
    elif "Resource" in statement and not names(statement["Resource"]):
        return False
    return conditions_hold(statement.get("Condition", {}), need.context)


def verdicts(documents, need):
    """The effects of the statements that cover the need."""
    return {
        statement["Effect"]
        for document in documents
        for statement in as_list(document.get("Statement", []))
        if statement_covers(statement, need)
    }


def refusal(need, identity, boundary, session):
    """Why something is not allowed, in AWS's words; None where it is. The last two are None where there are none."""
    kinds = (
        ("identity-based policy", identity),
        ("permissions boundary", None if boundary is None else [boundary]),
        ("session policy", None if session is None else [session]),
    )
    present = [(name, verdicts(documents, need)) for name, documents in kinds if documents is not None]
    for name, found in present:
        if "Deny" in found:
            article = "an" if name[0] in "aeiou" else "a"
            return f"with an explicit deny in {article} {name}"
    for name, found in present:
        if "Allow" not in found:
            return f"because no {name} allows the {need.action} action"
    return None


def judged(*args):
    """`refusal`, where what cannot be judged is an error answer."""
    try:
        return refusal(*args)
    except PolicyError as error:
        raise AwsError("NotImplemented", str(error)) from error


# What a role has


def role_of(arn):
    _, partition, _, _, account, _ = arn.split(":", 5)
    return next((r for r in iam_backends[account][partition].get_roles() if r.arn == arn), None)


def identity_policies(role):
    """Inline and attached policies of a role, parsed."""
    return [json.loads(text) for text in (*role.policies.values(), *map(document_of, role.managed_policies.values()))]


def boundary_of(role):
    arn = role.permissions_boundary_arn
    if not arn:
        return None
    _, partition, _, _, account, _ = arn.split(":", 5)
    return json.loads(document_of(iam_backends[account][partition].get_policy(arn)))


def document_of(policy):
    """The version of a managed policy that is in force."""
    return next(v.document for v in policy.versions if v.version_id == policy.default_version_id)


# What a call needs


def common_context(call):
    """What every request has."""
    context = {
        "aws:principalarn": [call.role or call.caller_arn],
        "aws:principalaccount": [call.account],
        "aws:requestedregion": [call.region],
        "aws:securetransport": ["false"],
        "aws:principalisawsservice": ["false"],
    }
    organization = state.common_settings.organizations.get(call.account)
    if organization:
        context["aws:principalorgid"] = [organization]
    return context


def resource_context(account, tags=None):
    context = {"aws:resourceaccount": [account]}
    organization = state.common_settings.organizations.get(account)
    if organization:
        context["aws:resourceorgid"] = [organization]
    for key, value in (tags or {}).items():
        context[f"aws:resourcetag/{key.lower()}"] = [value]
        context[f"ec2:resourcetag/{key.lower()}"] = [value]
    return context


def needs(call):
    """Everything that has to be allowed for a call, in the order in which AWS is asked here."""
    action = f"{call.service}:{call.action}"
    context = common_context(call)
    if action in FREE or call.action.startswith("AssumeRoleWith"):
        return []
    if call.service == "ec2":
        return _ec2_needs(call, action, context)
    if action == "iam:SimulatePrincipalPolicy":
        arn = call.params.get("PolicySourceArn", "*")
        return [Need(action, arn, {**context, **resource_context(call.account)})]
    if action == "sts:AssumeRole":
        return assume_needs(call)
    if call.service in ("ssm", "iam"):
        from .needs import iam_needs, ssm_needs

        return (ssm_needs if call.service == "ssm" else iam_needs)(call, action, context)
    if call.service in ("s3", "kms"):
        from .needs import target_needs

        return target_needs(call, action, context)
    if call.service in ("events", "cloudtrail", "sns"):
        from .needs import audit_needs

        return audit_needs(call, action, context)
    return [Need(action, "*", context)]


def assume_needs(call):
    """AssumeRole, as its caller has to be allowed it, and TagSession where tags are given."""
    arn = call.params.get("RoleArn", "*")
    fields = arn.split(":")
    context = {**common_context(call), **resource_context(fields[4] if len(fields) > 4 else "")}
    for key, name in (("sts:externalid", "ExternalId"), ("sts:rolesessionname", "RoleSessionName")):
        if name in call.params:
            context[key] = [call.params[name]]
    found = [Need("sts:AssumeRole", arn, context)]
    tags = tags_in(call.params, "Tags.member")
    if tags:
        found.append(Need("sts:TagSession", arn, {**context, **request_tags(tags)}))
    return found


def _ec2_needs(call, action, context):
    params = call.params
    context = {**context, "ec2:region": [call.region]}
    tags = tags_in(params, "Tag")
    found = []
    for name in NAMED.get(call.action, ()):
        for resource_id in values_of(params, name):
            own = {**context, **resource_context(call.account, tags_of(call, resource_id))}
            if call.action in ("CreateTags", "DeleteTags"):
                own.update(request_tags(tags))
            if call.action == "ModifyVpcAttribute":
                own["ec2:attribute"] = [a for a in VPC_ATTRIBUTES if any(k.startswith(a) for k in params)]
            if call.action == "AssociateIamInstanceProfile":
                own.update(profile_context(call, resource_id))
            found.append(Need(action, arn_of(call, resource_id), own))
    if call.action == "AssociateIamInstanceProfile":
        from .needs import pass_roles_of

        found.extend(pass_roles_of(call, params.get("IamInstanceProfile.Arn"), context))
    made = MADE.get(call.action)
    given = tags_in_specifications(params)
    if made and (made != "security-group-rule" or made in given):
        own = {**context, **request_tags(given.get(made, {}))}
        if call.action == "CreateVpcEndpoint":
            own["ec2:vpceservicename"] = [params.get("ServiceName", "")]
        found.append(Need(action, arn_of(call, None, made), own))
    if not found:
        found.append(Need(action, "*", context))
    for kind, kind_tags in given.items():
        own = {**context, **request_tags(kind_tags), "ec2:createaction": [call.action]}
        found.append(Need("ec2:CreateTags", arn_of(call, None, kind), own))
    return found


def profile_context(call, instance_id):
    """The profile that an instance has, if any, and the one that it is to get (service authorization reference)."""
    from moto.ec2.models import ec2_backends

    instances = ec2_backends[call.account][call.region].all_instances()
    profile = next((i.iam_instance_profile for i in instances if i.id == instance_id), None)
    context = {"ec2:newinstanceprofile": [call.params.get("IamInstanceProfile.Arn", "")]}
    if profile:
        context["ec2:instanceprofile"] = [profile["Arn"] if isinstance(profile, dict) else str(profile)]
    return context


def values_of(params, name):
    """A parameter that is one value, or a list on the wire (`SubnetId.1`)."""
    listed = re.compile(re.escape(name) + r"(\.\d+)?")
    return [value for key, value in params.items() if listed.fullmatch(key)]


def tags_in(params, prefix):
    """Tags on the wire: `<prefix>.1.Key`, `<prefix>.1.Value`. One without a value (DeleteTags) has None."""
    numbered = re.compile(re.escape(prefix) + r"\.(\d+)\.Key")
    keys = {found.group(1): value for key, value in params.items() if (found := numbered.fullmatch(key))}
    return {key: params.get(f"{prefix}.{number}.Value") for number, key in keys.items()}


def tags_in_specifications(params):
    """The tags of each resource type in a creating call."""
    numbered = re.compile(r"TagSpecification\.(\d+)\.ResourceType")
    kinds = {found.group(1): value for key, value in params.items() if (found := numbered.fullmatch(key))}
    return {kind: tags_in(params, f"TagSpecification.{number}.Tag") for number, kind in kinds.items()}


def request_tags(tags):
    if not tags:
        return {}
    context = {f"aws:requesttag/{key.lower()}": [value] for key, value in tags.items() if value is not None}
    return {**context, "aws:tagkeys": list(tags)}


def tags_of(call, resource_id):
    from moto.ec2.models import ec2_backends

    return ec2_backends[call.account][call.region].tags.get(resource_id, {})


def arn_of(call, resource_id, kind=None):
    """The ARN of a resource; of one that is yet to be made, any of its type."""
    kind = kind or RESOURCE_TYPES.get(resource_id.partition("-")[0], resource_id.partition("-")[0])
    partition = get_partition(call.region)
    return f"arn:{partition}:ec2:{call.region}:{call.account}:{kind}/{resource_id or '*'}"


# Verdicts on calls


def check(call):
    """Refuses what a session may not do: by its session policy always, by its role's policies where they are enforced."""
    session = call.session
    enforced = state.settings_of(session.account).enforce_policies
    if not enforced and session.policy is None:
        return
    with state.lock:
        identity, boundary = [], None
        if enforced:
            role = role_of(session.role)
            identity = identity_policies(role) if role else []
            boundary = boundary_of(role) if role else None
        else:
            identity = None
        for need in needs(call):
            why = judged(need, identity, boundary, session.policy)
            if why is None or (need.action == "sts:AssumeRole" and trusted_by_name(call, why)):
                continue
            raise denied(call, why, need.action, need.resource)


def trusted_by_name(call, why):
    """In its own account a role that a trust policy names needs no policy of its own."""
    target = role_of(call.params.get("RoleArn", "")) if call.params.get("RoleArn", "").count(":") == 5 else None
    if target is None or "explicit" in why or "identity-based" not in why:
        return False
    if target.arn.split(":")[4] != call.account:
        return False
    principals = [
        name
        for statement in as_list(json.loads(target.assume_role_policy_document).get("Statement", []))
        if isinstance(statement.get("Principal"), dict)
        for name in as_list(statement["Principal"].get("AWS", []))
    ]
    return call.role in principals


def simulate(source, action, resource, context):
    """SimulatePrincipalPolicy: the decision on one action and resource, and the keys that are asked for and not given."""
    role = role_of(source)
    identity, boundary = identity_policies(role), boundary_of(role)
    given = {
        "aws:principalarn": [source],
        "aws:principalaccount": [source.split(":")[4]],
        **{key.lower(): values for key, values in context.items()},
    }
    why = judged(Need(action, resource, given), identity, boundary, None)
    asked = {
        key
        for document in [*identity, *([boundary] if boundary else [])]
        for statement in as_list(document.get("Statement", []))
        for keys in statement.get("Condition", {}).values()
        for key in keys
    }
    missing = sorted(key for key in asked if key.lower() not in given)
    decision = "allowed" if why is None else "explicitDeny" if "explicit" in why else "implicitDeny"
    return decision, missing
