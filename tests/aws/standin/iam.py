"""IAM: `roles.py`, and SimulatePrincipalPolicy, which moto lacks.

It follows the denials in force, and a role's policies where they are enforced, or where the role is a service's: what
such a role may do nobody finds out but by asking.
"""

import json

from moto.core.responses import ActionResult

from . import policies
from .call import current
from .errors import AwsError
from .roles import Roles
from .state import state


def of_a_service(role):
    """Whether services alone take a role on."""
    document = role.assume_role_policy_document
    document = json.loads(document) if isinstance(document, str) else document
    statements = document.get("Statement", []) if document else []
    principals = [s.get("Principal") for s in (statements if isinstance(statements, list) else [statements])]
    return bool(principals) and all(isinstance(p, dict) and set(p) == {"Service"} for p in principals)


def iam_with(faults):
    """The IAM API, whose simulation follows the denials in force."""

    class StandinIam(Roles):
        def simulate_principal_policy(self):
            source = self._get_param("PolicySourceArn")
            role = next((role for role in self.backend.get_roles() if role.arn == source), None)
            if role is None:
                raise AwsError("NoSuchEntity", f"The entity {source} cannot be found.", 404)
            account = current.get().account
            context = {
                entry["ContextKeyName"]: entry.get("ContextKeyValues", [])
                for entry in self._get_param("ContextEntries") or []
            }
            results = []
            for permission in self._get_param("ActionNames"):
                service, _, action = permission.partition(":")
                refused = faults.denies(service, action, account, source)
                for resource in self._get_param("ResourceArns") or ["*"]:
                    decision, missing = "implicitDeny" if refused else "allowed", []
                    if (state.settings.enforce_policies or of_a_service(role)) and not refused:
                        decision, missing = policies.simulate(source, permission, resource, context)
                    results.append(
                        {
                            "EvalActionName": permission,
                            "EvalResourceName": resource,
                            "EvalDecision": decision,
                            "MatchedStatements": [],
                            "MissingContextValues": missing,
                        }
                    )
            return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    return StandinIam
