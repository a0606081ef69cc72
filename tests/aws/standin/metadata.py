"""Metadata defaults of an account and Region (domain 3.2), which moto lacks."""

from moto.core.responses import ActionResult
from moto.ec2.responses._base_response import EC2BaseResponse

from .errors import AwsError
from .state import state

# The values of each field, beside the one that takes it away.
FIELDS = {
    "HttpTokens": ("optional", "required"),
    "HttpPutResponseHopLimit": range(1, 65),
    "HttpEndpoint": ("enabled", "disabled"),
    "InstanceMetadataTags": ("enabled", "disabled"),
    "HttpTokensEnforced": ("enabled", "disabled"),
}
# A launch does not take HttpTokensEnforced over: it forbids.
OF_A_LAUNCH = ("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "InstanceMetadataTags")


def checked(name, value):
    """A value as it is kept; None where it takes the default away."""
    nothing = "no-preference"
    if name == "HttpPutResponseHopLimit":
        nothing, value = -1, int(value)
    if value == nothing:
        return None
    if value not in FIELDS[name]:
        raise AwsError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid.")
    return value


class MetadataDefaults(EC2BaseResponse):
    @property
    def _place(self):
        return self.ec2_backend.account_id, self.ec2_backend.region_name

    def get_instance_metadata_defaults(self):
        declared = state.metadata_declared.get(self._place)
        level = dict(state.metadata_defaults.get(self._place, {}))
        if declared:
            level.update(declared["values"], ManagedBy="declarative-policy")
            if declared.get("exception_message"):
                level["ManagedExceptionMessage"] = declared["exception_message"]
        elif level:
            level["ManagedBy"] = "account"
        return ActionResult({"AccountLevel": level})

    def modify_instance_metadata_defaults(self):
        declared = state.metadata_declared.get(self._place)
        if declared:
            # The code is a guess; that the organisation's words come with it is documented.
            raise AwsError(
                "OperationNotPermitted",
                "This operation is not permitted by a declarative policy of your organization. "
                + (declared.get("exception_message") or ""),
                403,
            )
        given = {name: self._get_param(name) for name in FIELDS}
        changes = {name: checked(name, value) for name, value in given.items() if value is not None}
        kept = {**state.metadata_defaults.get(self._place, {}), **changes}
        state.metadata_defaults[self._place] = {k: v for k, v in kept.items() if v is not None}
        return ActionResult({"Return": True})

    def run_instances(self):
        """A launch takes what it does not say itself from the defaults."""
        declared = state.metadata_declared.get(self._place, {"values": {}})
        defaults = {**state.metadata_defaults.get(self._place, {}), **declared["values"]}
        said = self._get_param("MetadataOptions", {})
        filled = {name: defaults[name] for name in OF_A_LAUNCH if name in defaults}
        if filled:
            self.params["MetadataOptions"] = {**filled, **said}
        return super().run_instances()
