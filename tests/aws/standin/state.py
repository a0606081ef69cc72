"""Everything the stand-in remembers beside moto's own state."""

import time
from collections import defaultdict
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from threading import RLock

from .call import current

# Regions launched in 2024 or later have no ec2messages (domain 1.1; a hint only, as there).
LATE_REGIONS = (
    "ap-east-2", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "eusc-de-east-1", "mx-central-1",
)  # fmt: skip


@dataclass
class Settings:
    """What the control API's `settings` sets. Times are in seconds."""

    endpoint_pending_seconds: float = 0.5
    endpoint_outcome: dict = field(default_factory=lambda: {"state": "available"})
    endpoint_outcomes: dict = field(default_factory=dict)
    endpoint_visibility_delay_seconds: float = 0.0
    endpoint_deleting_seconds: float = 0.5
    endpoint_deleted_seconds: float = 0.5
    endpoint_quota: dict = field(default_factory=lambda: {"interface": 50, "gateway": 20})
    group_visibility_delay_seconds: float = 0.0
    iam_visibility_delay_seconds: float = 0.0
    role_policy_quota: int = 20
    document_pending_seconds: float = 0.0
    document_version_quota: int = 1000
    customized_status: str = "Customized"
    service_settings_missing: dict = field(default_factory=dict)
    state_casing: str = "lower"
    page_cap: int | None = None
    buckets: bool = False
    disabled_regions: list = field(default_factory=list)
    disabled_region_code: str = "AuthFailure"
    services_missing: dict = field(
        default_factory=lambda: {region: ["ec2messages"] for region in LATE_REGIONS}
    )
    service_zones: dict = field(default_factory=dict)
    session_seconds: float | None = None
    identity_accounts: dict = field(default_factory=dict)
    next_ids: list = field(default_factory=list)
    enforce_policies: bool = False
    organizations: dict = field(default_factory=dict)

    def merge(self, changes):
        """Takes the given settings over; an unknown name is refused."""
        known = {f.name for f in fields(self)}
        unknown = set(changes) - known
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        for name, value in changes.items():
            setattr(self, name, value)

    def as_dict(self):
        return asdict(self)


class State:
    """One for the process; `lock` also serialises what runs inside moto, which is not thread-safe."""

    def __init__(self):
        self.lock = RLock()
        self.clear()

    def clear(self):
        self.common_settings = Settings()
        self.own_settings = {}
        self.skipped_seconds = defaultdict(float)
        self.sessions = {}
        self.tokens = {}
        self.vpc_owners = {}
        self.hosted_zones = defaultdict(set)
        self.group_visible_at = {}
        self.ssm_instances = {}
        self.service_settings = {}
        self.metadata_defaults = {}
        self.metadata_declared = {}
        self.iam_visible_at = {}

    @property
    def settings(self):
        """The settings for the call that is being answered."""
        call = current.get(None)
        return self.settings_of(call.account if call else None)

    def settings_of(self, account):
        """An account's own settings, where it has some, else the common ones."""
        return self.own_settings.get(account, self.common_settings)

    def own(self, account):
        """An account's own settings, to be changed: at first they are as the common ones are then."""
        if account not in self.own_settings:
            self.own_settings[account] = deepcopy(self.common_settings)
        return self.own_settings[account]

    def now(self, account):
        """Seconds, by the account's clock: what is skipped there lets nobody else's endpoints age."""
        return time.monotonic() + self.skipped_seconds[account]


state = State()
