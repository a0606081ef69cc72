"""The record of every AWS call."""

import time
from collections import Counter
from threading import Lock


class Recorder:
    """Calls in order of arrival; `seq` never starts again, so that `since` stays meaningful."""

    def __init__(self):
        self._lock = Lock()
        self._calls = []
        self._seq = 0

    def open(self, call):
        """Records a call on arrival. Status and code follow with `close`."""
        with self._lock:
            self._seq += 1
            entry = {
                "seq": self._seq,
                "time": time.time(),
                "service": call.service,
                "action": call.action,
                "account": call.account,
                "region": call.region,
                "role": call.role,
                "status": None,
                "code": None,
                "dry_run": call.dry_run,
                "params": call.masked_params(),
            }
            self._calls.append(entry)
        return entry

    def close(self, entry, call, status, code):
        """Fills in who called, which is known only after the credentials were looked at."""
        entry.update(account=call.account, role=call.role, status=status, code=code)

    def since(self, seq):
        with self._lock:
            return [dict(entry) for entry in self._calls if entry["seq"] > seq]

    def counts(self):
        with self._lock:
            return dict(Counter(f"{c['service']}:{c['action']}" for c in self._calls))

    def clear(self):
        with self._lock:
            self._calls.clear()
