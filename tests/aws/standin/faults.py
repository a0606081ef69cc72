"""Faults and denials that the control API puts into the way of calls."""

import itertools
import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from threading import Lock

EFFECTS = {
    "error", "throttle", "lost", "lost-before", "delay", "denied", "unsuccessful", "http500",
}  # fmt: skip


@dataclass
class Fault:
    """What to match (None: anything), how often, and what happens then."""

    effect: str
    service: str | None = None
    action: str = "*"
    account: str | None = None
    region: str | None = None
    role: str | None = None
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    code: str | None = None
    message: str = "Injected by the test."
    status: int = 400
    ms: int = 0
    id: int = 0
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self):
        if self.effect not in EFFECTS:
            raise ValueError(f"unknown effect {self.effect!r}")
        if self.effect == "error" and not self.code:
            raise ValueError("the effect error needs a code")
        self._random = random.Random(self.seed)

    def covers(self, service, action, account, region, role):
        return (
            self.service in (None, service)
            and fnmatchcase(action, self.action)
            and self.account in (None, account)
            and self.region in (None, region)
            and self.role in (None, role)
        )

    @property
    def spent(self):
        return self.times is not None and self.hits >= self.times

    def as_dict(self):
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}


class Faults:
    """The faults in force, in the order they were added."""

    def __init__(self):
        self._lock = Lock()
        self._faults = []
        self._ids = itertools.count(1)

    def add(self, document):
        fault = Fault(**document)
        with self._lock:
            fault.id = next(self._ids)
            self._faults.append(fault)
        return fault.id

    def remove(self, fault_id):
        with self._lock:
            self._faults = [f for f in self._faults if f.id != fault_id]

    def clear(self):
        with self._lock:
            self._faults.clear()

    def as_list(self):
        with self._lock:
            return [fault.as_dict() for fault in self._faults]

    def strike(self, call):
        """The faults this call meets, in order. After one that answers, none is looked at;
        a delay and an `unsuccessful` let the call go on to the next."""
        struck = []
        with self._lock:
            for fault in self._faults:
                if fault.spent or not fault.covers(
                    call.service, call.action, call.account, call.region, call.role
                ):
                    continue
                if fault._random.random() >= fault.probability:
                    continue
                fault.hits += 1
                struck.append(fault)
                if fault.effect not in ("delay", "unsuccessful"):
                    break
        return struck

    def denies(self, service, action, account, role):
        """Whether a denial is in force for the role, wherever it calls from."""
        with self._lock:
            return any(
                f.effect == "denied" and not f.spent and f.covers(service, action, account, None, role)
                for f in self._faults
            )
