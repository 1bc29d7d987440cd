"""The Lambda Runtime API, for as many functions and polling processes as a test starts."""

import collections
import itertools
import json
import re
import threading
import time

from .errors import ControlError
from .wire import Http

PATH = re.compile(r"(?:/fn/([A-Za-z0-9_-]+))?/2018-06-01/runtime/(?:invocation/(next)|invocation/([^/]+)/(response|error)|(init)/error)")
DEFAULT = "function"
ALIVE_CHECK_S = 0.2
EXIT_GRACE_S = 1.0  # an answer may still be under way on another connection when the polling one closes


class Invocation:
    ids = itertools.count(1)

    def __init__(self, function, event, deadline_ms):
        self.id = f"00000000-0000-4000-8000-{next(self.ids):012d}"
        self.function, self.event, self.deadline_ms = function, json.dumps(event).encode(), deadline_ms
        self.handed = self.outcome = None
        self.done = threading.Event()

    def finish(self, **outcome):
        """The first outcome counts; False for a late one."""
        with self.function.changed:
            if self.done.is_set():
                return False
            took = round((time.monotonic() - self.handed) * 1e3, 2) if self.handed else 0.0
            self.outcome = {**outcome, "request_id": self.id, "duration_ms": took}
            self.done.set()
            return True

    def fail(self, kind, text):
        return self.finish(ok=False, error_type=kind, error=text)


class Function:
    def __init__(self, name):
        self.name, self.changed, self.pending, self.handed = name, threading.Condition(), collections.deque(), {}
        self.waiting = 0
        self.zero()

    def zero(self):
        self.first_poll, self.polls, self.invocations, self.responses, self.errors, self.init_error = None, 0, 0, 0, 0, None

    def next(self, alive):
        """Wait for an event; None once the poller is gone, so that no event goes to a dead process."""
        with self.changed:
            self.first_poll = self.first_poll or time.time()
            self.polls += 1
            self.waiting += 1
            try:
                while alive():
                    if self.pending:
                        return self._hand_over()
                    self.changed.wait(ALIVE_CHECK_S)
                return None
            finally:
                self.waiting -= 1

    def _hand_over(self):
        invocation = self.pending.popleft()
        invocation.handed = time.monotonic()
        self.handed[invocation.id] = invocation
        return invocation

    def invoke(self, event, timeout_s, deadline_ms):
        invocation = Invocation(self, event, int(time.time() * 1e3 + deadline_ms))
        with self.changed:
            self.pending.append(invocation)
            self.invocations += 1
            self.changed.notify()
        if not invocation.done.wait(timeout_s):
            never = " (no process took the event)" if invocation.handed is None else ""
            invocation.fail("Endpoint.Timeout", f"no answer within {timeout_s} s{never}")
        with self.changed:
            if invocation in self.pending:
                self.pending.remove(invocation)
            self.handed.pop(invocation.id, None)
        return invocation.outcome

    def fail_all(self, kind, text):
        with self.changed:
            open_ones = [*self.pending, *self.handed.values()]
            self.pending.clear()
        for invocation in open_ones:
            invocation.fail(kind, text)


class Runtime:
    def __init__(self):
        self.lock, self.functions = threading.Lock(), {}

    def function(self, name) -> Function:
        with self.lock:
            return self.functions.setdefault(name or DEFAULT, Function(name or DEFAULT))

    def reset(self):
        """Pollers stay: the processes behind them may serve the next test too."""
        for function in list(self.functions.values()):
            function.fail_all("Endpoint.Reset", "the endpoint was reset")
            function.zero()

    def invoke(self, raw):
        if unknown := set(raw) - {"function", "event", "timeout_s", "deadline_ms"}:
            raise ControlError(f"invoke with unknown fields {sorted(unknown)}")
        timeout = float(raw.get("timeout_s", 30))
        return self.function(raw.get("function")).invoke(raw["event"], timeout, float(raw.get("deadline_ms", timeout * 1e3)))

    def state(self):
        return {"functions": {
            name: {"first_poll": f.first_poll, "polls": f.polls, "waiting": f.waiting, "pending": len(f.pending),
                   "invocations": f.invocations, "responses": f.responses, "errors": f.errors, "init_error": f.init_error}
            for name, f in list(self.functions.items())}}

    def handle(self, http, alive):
        """The answer, and the invocation handed over with it if any."""
        name, is_next, request_id, kind, init = PATH.fullmatch(http.path).groups()
        function = self.function(name)
        if is_next:
            return self._next(function, alive)
        if init:
            function.init_error = _json(http.body)
            function.fail_all("Runtime.InitError", json.dumps(function.init_error))
            return _answer(202, {"status": "OK"}), None
        return self._finish(function, request_id, kind, http.body), None

    def _next(self, function, alive):
        invocation = function.next(alive)
        if invocation is None:
            return None, None
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:us-east-1:123456789012:function:{function.name}",
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{int(invocation.id[-12:]):024x};Parent=0000000000000001;Sampled=0",
            "Content-Type": "application/json",
        }
        return Http(headers=headers, body=invocation.event), invocation

    def _finish(self, function, request_id, kind, body):
        invocation = function.handed.get(request_id)
        if invocation is None:
            return _answer(400, {"errorType": "InvalidRequestID", "errorMessage": f"{request_id} is not under way"})
        if kind == "response":
            late = not invocation.finish(ok=True, payload=_json(body))
            function.responses += not late
        else:
            error = _json(body)
            error = error if isinstance(error, dict) else {"errorMessage": error}
            late = not invocation.fail(error.get("errorType", ""), error.get("errorMessage", ""))
            function.errors += not late
        return _answer(400 if late else 202, {"errorType": "InvalidStateTransition"} if late else {"status": "OK"})


def poller_gone(invocation):
    """The connection that got the event has closed: a process that was killed must not cost a test its whole time-out."""
    if not invocation.done.wait(EXIT_GRACE_S):
        invocation.fail("Runtime.ExitError", "the process went away without an answer")


def _answer(status, value):
    return Http(status=status, headers={"Content-Type": "application/json"}, body=json.dumps(value).encode())


def _json(body):
    try:
        return json.loads(body) if body else None
    except ValueError:
        return {"raw": body.decode(errors="replace")}
