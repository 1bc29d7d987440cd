"""What schemathesis is told by `openapi_fuzz.py`: who it is, and to count what it is answered.

As somebody who may act it is the session of another role every hundred requests, so that no one of them asks too often."""

import atexit
import collections
import itertools
import json
import os

import schemathesis

REQUESTS = itertools.count()
STATUSES = collections.Counter()


@schemathesis.hook
def before_call(context, case, kwargs):
    if os.environ["CANARY_GATE_FUZZ_AS"] == "iam":
        session = next(REQUESTS) // 100
        case.headers["x-test-iam"] = f"arn:aws:sts::123456789012:assumed-role/fuzz/session-{session}"


@schemathesis.hook
def after_call(context, case, response):
    # GitHub's webhook has a door of its own.
    if not case.path.startswith("/github/"):
        STATUSES[response.status_code] += 1


@atexit.register
def tell():
    with open(os.environ["CANARY_GATE_FUZZ_COUNTS"], "w") as file:
        json.dump(STATUSES, file)
