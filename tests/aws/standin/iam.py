"""iam:SimulatePrincipalPolicy, which moto lacks."""

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse

from .call import current
from .errors import AwsError


def iam_with(faults):
    """The IAM API, whose simulation follows the denials in force."""

    class StandinIam(IamResponse):
        def simulate_principal_policy(self):
            source = self._get_param("PolicySourceArn")
            roles = self.backend.get_roles()
            if all(role.arn != source for role in roles):
                raise AwsError("NoSuchEntity", f"The entity {source} cannot be found.", 404)
            account = current.get().account
            results = []
            for permission in self._get_param("ActionNames"):
                service, _, action = permission.partition(":")
                refused = faults.denies(service, action, account, source)
                for resource in self._get_param("ResourceArns") or ["*"]:
                    results.append(
                        {
                            "EvalActionName": permission,
                            "EvalResourceName": resource,
                            "EvalDecision": "implicitDeny" if refused else "allowed",
                            "MatchedStatements": [],
                            "MissingContextValues": [],
                        }
                    )
            return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    return StandinIam
