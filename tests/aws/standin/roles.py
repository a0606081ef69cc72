"""Roles and instance profiles, where moto is lax: quotas, trust policies, pages, and the time that IAM takes."""

import json
from functools import lru_cache

from moto.core.responses import ActionResult
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy
from moto.iam.responses import IamResponse

from .errors import AwsError
from .paging import page_of
from .policies import as_list
from .state import state

MAX_ROLES = 1000
MAX_TRUST = 2048
MAX_INLINE = 10240
PAGE = 100
TRUST_ACTIONS = (
    "sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity", "sts:TagSession",
    "sts:SetSourceIdentity", "sts:SetContext",
)  # fmt: skip


@lru_cache(maxsize=1)
def aws_policies():
    """AWS's own managed policies, as moto brings them along; it would load them all for each account."""
    return json.loads(aws_managed_policies_data)


def limit(what, most):
    return AwsError("LimitExceeded", f"Cannot exceed quota for {what}: {most}", 409)


def no_entity(message):
    return AwsError("NoSuchEntity", message, 404)


def malformed(message):
    return AwsError("MalformedPolicyDocument", message)


def check_trust(text):
    """A trust policy: who may take the role on, and nothing else (IAM user guide)."""
    try:
        document = json.loads(text)
    except ValueError:
        raise malformed("This policy contains invalid Json") from None
    statements = as_list(document.get("Statement") or []) if isinstance(document, dict) else []
    if not statements or not all(isinstance(s, dict) for s in statements):
        raise malformed("Syntax errors in policy.")
    for statement in statements:
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise malformed("Syntax errors in policy.")
        if not statement.get("Principal") and not statement.get("NotPrincipal"):
            raise malformed("Missing required field Principal")
        if "Resource" in statement or "NotResource" in statement:
            raise malformed("Has prohibited field Resource")
        if not statement.get("Action") or not set(as_list(statement["Action"])) <= set(TRUST_ACTIONS):
            raise malformed("AssumeRole policy may only specify STS AssumeRole actions.")
    # White space is not counted.
    if len("".join(text.split())) > MAX_TRUST:
        raise limit("ACLSizePerRole", MAX_TRUST)


class Roles(IamResponse):
    def call_action(self):
        self._check_seen()
        return super().call_action()

    def _check_seen(self):
        """A new role or profile may not be found yet by another call; only its name is taken at once."""
        action, now = self._get_action(), state.now(self.current_account)
        for kind, name in (("role", "RoleName"), ("profile", "InstanceProfileName")):
            given = self._get_param(name)
            if action in ("CreateRole", "CreateInstanceProfile") or not given:
                continue
            if now < state.iam_visible_at.get((self.current_account, kind, given), now):
                raise no_entity(f"The {kind} with name {given} cannot be found.")

    def _hide(self, kind, name):
        delay = state.settings.iam_visibility_delay_seconds
        state.iam_visible_at[self.current_account, kind, name] = state.now(self.current_account) + delay

    def create_role(self):
        check_trust(self._get_param("AssumeRolePolicyDocument") or "")
        name, boundary = self._get_param("RoleName"), self._get_param("PermissionsBoundary")
        if len(list(self.backend.get_roles())) >= MAX_ROLES:
            raise limit("RolesPerAccount", MAX_ROLES)
        if boundary:
            self._find_boundary(boundary)
        answer = super().create_role()
        self._hide("role", name)
        return answer

    def update_assume_role_policy(self):
        """moto takes no TagSession in a trust policy."""
        role = self.backend.get_role(self._get_param("RoleName"))
        check_trust(self._get_param("PolicyDocument") or "")
        role.assume_role_policy_document = self._get_param("PolicyDocument")
        return ActionResult({})

    def attach_role_policy(self):
        arn, role = self._get_param("PolicyArn"), self.backend.get_role(self._get_param("RoleName"))
        if not self._known_policy(arn):
            raise no_entity(f"Policy {arn} does not exist or is not attachable.")
        most = state.settings.role_policy_quota
        if arn not in role.managed_policies and len(role.managed_policies) >= most:
            raise limit("PoliciesPerRole", most)
        return super().attach_role_policy()

    def put_role_permissions_boundary(self):
        self.backend.get_role(self._get_param("RoleName"))
        self._find_boundary(self._get_param("PermissionsBoundary"))
        return super().put_role_permissions_boundary()

    def put_role_policy(self):
        role = self.backend.get_role(self._get_param("RoleName"))
        others = [text for name, text in role.policies.items() if name != self._get_param("PolicyName")]
        texts = [*others, self._get_param("PolicyDocument") or ""]
        # White space is not counted.
        if sum(len("".join(text.split())) for text in texts) > MAX_INLINE:
            raise AwsError(
                "LimitExceeded", f"Maximum policy size of {MAX_INLINE} bytes exceeded for role {role.name}", 409
            )
        return super().put_role_policy()

    def remove_role_from_instance_profile(self):
        """moto crashes where the role is not in it."""
        profile = self.backend.get_instance_profile(self._get_param("InstanceProfileName"))
        name = self._get_param("RoleName")
        if all(role.name != name for role in profile.roles):
            raise no_entity(f"Role {name} is not in instance profile {profile.name}.")
        return super().remove_role_from_instance_profile()

    def create_instance_profile(self):
        answer = super().create_instance_profile()
        self._hide("profile", self._get_param("InstanceProfileName"))
        return answer

    def list_role_policies(self):
        names = self.backend.list_role_policies(self._get_param("RoleName"))
        return self._page("PolicyNames", sorted(names))

    def list_attached_role_policies(self):
        role = self.backend.get_role(self._get_param("RoleName"))
        prefix = self._get_param("PathPrefix", "/")
        found = [p for p in role.managed_policies.values() if p.path.startswith(prefix)]
        return self._page("AttachedPolicies", [{"PolicyName": p.name, "PolicyArn": p.arn} for p in found])

    def _page(self, key, items):
        size = self._get_int_param("MaxItems", PAGE)
        if not 1 <= size <= 1000:
            raise AwsError("ValidationError", f"Value '{size}' at 'maxItems' is not from 1 to 1000")
        page, marker = page_of(items, size, self._get_param("Marker"), "ValidationError")
        answer = {key: page, "IsTruncated": marker is not None}
        return ActionResult({**answer, "Marker": marker} if marker else answer)

    def _find_boundary(self, arn):
        if not self._known_policy(arn):
            raise no_entity(f"Scope ARN: {arn} does not exist or is not attachable.")

    def _known_policy(self, arn):
        """Whether there is such a policy. AWS's own are taken from moto's list when they are first named."""
        backend = self.backend
        if arn in backend.managed_policies:
            return True
        start = f"arn:{backend.partition}:iam::aws:policy/"
        name = (arn or "").rpartition("/")[2]
        data = aws_policies().get(name)
        if not data or f"{start[:-1]}{data['Path']}{name}" != arn:
            return False
        policy = AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, data)
        backend.aws_managed_policies.append(policy)
        backend.managed_policies[policy.arn] = policy
        return True
