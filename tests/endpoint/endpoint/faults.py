"""Faults that tests order, and the journal of every AWS call."""

import dataclasses
import threading
import time

from .errors import AwsError, ControlError
from .wire import compact

KINDS = ("error", "delay", "drop", "lag", "ignored", "result", "call_messages", "pages")
OF_RULES = ("lag", "ignored")
OF_METRICS = ("result", "call_messages", "pages")
FOREVER = -1


@dataclasses.dataclass
class Fault:
    op: str  # operation name, or * for any
    kind: str = ""
    service: str | None = None
    n: int = 1  # how many calls it hits; -1 = all from now on
    skip: int = 0  # how many matching calls pass first
    when: str = "before"
    match: str | None = None
    delay_s: float = 0.0
    code: str = ""
    status: int = 400
    message: str = "injected by the test"
    reads: int = 1  # lag: how many DescribeRules still show the old actions
    answer: str = "new"  # ignored: what the answer says, new (as asked) or old (as it stands)
    where: str | None = None  # result: substring of the query's id, metric, statistic or a dimension
    status_code: str = "PartialData"
    keep: int | None = None
    size: int = 0  # pages: data points on a page at most
    messages: list = dataclasses.field(default_factory=list)
    hits: int = 0

    @classmethod
    def parse(cls, raw):
        if unknown := set(raw) - {f.name for f in dataclasses.fields(cls)} | ({"hits"} & set(raw)):
            raise ControlError(f"fault with unknown fields {sorted(unknown)}")
        fault = cls(**raw)
        fault.kind = fault.kind or ("error" if fault.code else "delay")
        if fault.kind not in KINDS or fault.when not in ("before", "after"):
            raise ControlError(f"fault of kind {fault.kind}, when {fault.when}: kinds are {KINDS}, when is before or after")
        if (fault.kind == "error" and not fault.code) or (fault.kind == "delay" and not fault.delay_s):
            raise ControlError(f"{fault.kind} fault without its code or delay_s")
        if (fault.kind == "pages") != (fault.size > 0):
            raise ControlError("a pages fault has a size above 0, and no other has one")
        if fault.kind in OF_RULES and fault.op not in ("ModifyRule", "ModifyListener"):
            raise ControlError(f"{fault.kind} faults are ModifyRule's or ModifyListener's")
        if fault.answer not in ("new", "old"):
            raise ControlError("an ignored write's answer is new or old")
        if fault.kind in OF_METRICS and fault.op != "GetMetricData":
            raise ControlError(f"{fault.kind} faults are GetMetricData's")
        return fault

    def hits_call(self, call, text):
        same = self.op in ("*", call.operation) and self.service in (None, call.service)
        return same and self.n != 0 and (self.match is None or self.match in text)

    def error(self):
        return AwsError(self.code, self.message, self.status)


class Faults:
    def __init__(self):
        self.lock, self.ordered, self.reset_seen = threading.Lock(), [], threading.Event()

    def add(self, raw):
        new = [Fault.parse(r) for r in raw]
        with self.lock:
            self.ordered += new

    def clear(self):
        """Also wakes the calls that sleep in a delay."""
        with self.lock:
            self.ordered = []
            self.reset_seen.set()
            self.reset_seen = threading.Event()

    def list(self):
        with self.lock:
            return [dataclasses.asdict(f) for f in self.ordered]

    def take(self, call):
        """The first ordered fault that hits this call, used up by one; None for most calls."""
        with self.lock:
            text = compact(call.params) if self.ordered else ""
            for fault in self.ordered:
                if not fault.hits_call(call, text):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.n -= fault.n > 0
                fault.hits += 1
                return fault
        return None

    def sleep(self, fault):
        if fault.delay_s:
            self.reset_seen.wait(fault.delay_s)


class Journal:
    def __init__(self):
        self.lock, self.entries, self.seq = threading.Lock(), [], 0

    def open(self, call):
        entry = {"seq": 0, "at": time.time(), "service": call.service, "operation": call.operation, "region": call.region,
                 "params": call.params, "status": None, "error": None, "fault": None, "role": None, "ms": None}
        with self.lock:
            self.seq += 1
            entry["seq"] = self.seq
            self.entries.append(entry)
        return entry

    def close(self, entry, status, error=None):
        entry.update(status=status, error=error, ms=round((time.time() - entry["at"]) * 1e3, 2))

    def list(self, service=None, operation=None, since=0):
        with self.lock:
            return [e for e in self.entries
                    if service in (None, e["service"]) and operation in (None, e["operation"]) and e["seq"] > since]

    def counts(self):
        """How many calls there were of each kind, and how many of them failed."""
        found = {}
        with self.lock:
            for entry in self.entries:
                calls = found.setdefault(f"{entry['service']} {entry['operation']}", {"calls": 0, "failed": 0})
                calls["calls"] += 1
                calls["failed"] += entry["error"] is not None
        return found

    def clear(self):
        with self.lock:
            self.entries = []
