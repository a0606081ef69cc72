"""EC2's token buckets (domain 7): per account, Region and API; burst and refill per second."""

from .state import state

NON_MUTATING = (100, 20)
MUTATING = (50, 5)
UNFILTERED = (50, 10)
SPECIAL = {
    "CreateVpcEndpoint": (4, 0.3),
    "ModifyVpcEndpoint": (4, 0.3),
    "DeleteVpcEndpoints": (4, 0.3),
    "CreateTags": (100, 10),
    "DeleteTags": (100, 10),
    "AssociateIamInstanceProfile": (100, 5),
    "DisassociateIamInstanceProfile": (100, 5),
    "ModifyInstanceMetadataOptions": (100, 5),
}
COSTLY_UNFILTERED = {
    "DescribeInstances",
    "DescribeInstanceStatus",
    "DescribeNetworkInterfaces",
    "DescribeSecurityGroups",
}


def limits(call):
    """The bucket's name, its size and its refill per second."""
    if call.action in SPECIAL:
        return call.action, *SPECIAL[call.action]
    if not call.action.startswith(("Describe", "Get", "List", "Search")):
        return call.action, *MUTATING
    narrowed = any(k == "MaxResults" or k.startswith("Filter.") for k in call.params)
    if call.action in COSTLY_UNFILTERED and not narrowed:
        return f"{call.action} unfiltered", *UNFILTERED
    return call.action, *NON_MUTATING


class Buckets:
    """Full at first, on the clock of each account."""

    def __init__(self, clock=state.now):
        self._clock = clock
        self._levels = {}

    def take(self, call):
        """Whether the call is within the rate. A refused call costs nothing."""
        name, burst, refill = limits(call)
        key = (call.account, call.region, name)
        now = self._clock(call.account)
        level, then = self._levels.get(key, (burst, now))
        level = min(burst, level + (now - then) * refill)
        allowed = level >= 1
        self._levels[key] = (level - 1 if allowed else level, now)
        return allowed

    def clear(self):
        self._levels.clear()
