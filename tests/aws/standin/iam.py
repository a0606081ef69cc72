"""iam:SimulatePrincipalPolicy, which moto lacks. Where policies are enforced it follows them, and always the denials in force."""

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse

from . import policies
from .call import current
from .errors import AwsError
from .state import state


def iam_with(faults):
    """The IAM API, whose simulation follows the denials in force."""

    class StandinIam(IamResponse):
        def simulate_principal_policy(self):
            source = self._get_param("PolicySourceArn")
            roles = self.backend.get_roles()
            if all(role.arn != source for role in roles):
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
                    if state.settings.enforce_policies and not refused:
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
