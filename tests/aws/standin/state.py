"""Everything the stand-in remembers beside moto's own state."""

from collections import defaultdict
from dataclasses import asdict, dataclass, field, fields
from threading import RLock

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
    next_ids: list = field(default_factory=list)

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
        self.settings = Settings()
        self.sessions = {}
        self.tokens = {}
        self.vpc_owners = {}
        self.hosted_zones = defaultdict(set)
        self.group_visible_at = {}
        self.ssm_instances = {}
        self.service_settings = {}


state = State()
