#!/usr/bin/env python3
"""Holds the running function against its OpenAPI document: schemathesis sends what the document allows, and what it does not.

    python3 tests/openapi_fuzz.py [--bootstrap PATH] [--max-examples N] [--seed N]

Starts the endpoint (tests/endpoint) and the `bootstrap` binary, seeds a few rollouts, and runs schemathesis against the function's
URL, once as somebody who may act and once as somebody who is not known. Fails if any answer is a server error, is not in the
document, or has another form than it says; if the unknown get anything but a refusal; or if any invocation failed.

Left out, and why: of schemathesis's checks `positive_data_acceptance` and `negative_data_rejection`, since no schema says what makes a
plan good or a command timely (the Rust tests do); `use_after_free` and `ensure_resource_availability`, since rollouts are never deleted
and names may be taken again; `ignored_auth`, since the document leaves signing to the caller: strangers are a run of their own.
Signatures, replays and rates are tried by tests/suite/http.rs and tests/aws/http.rs, and sizes beyond the limits as well. GitHub's
webhook is only sent what is not signed by its secret. A run of 25 examples an operation takes two to three minutes.

`--bootstrap` (or CANARY_GATE_BOOTSTRAP) names a binary; else it is built as the tests build it. The Python environments are made
under the target directory; that needs a package index the first time.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SCHEMATHESIS = "schemathesis==4.32.5"
CHECKS = ("not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
          "response_schema_conformance,unsupported_method,allow_header_conformance")
FUNCTION = "function"
TABLE = "canary-gate"


def environment(name, requirements):
    """The interpreter of a virtual environment that is made once for each list of requirements."""
    wanted = [line for line in requirements if line and not line.startswith("#")]
    mark = hashlib.sha256(json.dumps([wanted, sys.version]).encode()).hexdigest()[:16]
    path = TARGET / name / mark
    python = path / "bin" / "python"
    if not (path / "complete").exists():
        print(f"making {path}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", path], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
        (path / "complete").touch()
    return python


def built():
    """As tests/aws/setup.rs builds it, so that one build serves both."""
    wire = TARGET / "wire"
    subprocess.run(["cargo", "build", "--locked", "--no-default-features", "--features", "aws cli", "--bin", "bootstrap", "--bin", "canary-gate",
                    "--target-dir", wire], cwd=ROOT, check=True)
    return wire / "debug" / "bootstrap"


class Endpoint:
    """The endpoint's process and its control calls."""

    def __init__(self, python):
        ready = Path(tempfile.mkdtemp()) / "ready.json"
        self.process = subprocess.Popen([python, "-m", "endpoint", "--port", "0", "--exit-with-stdin", "--ready-file", ready],
                                        cwd=ROOT / "tests" / "endpoint", stdin=subprocess.PIPE)
        wait_for("the endpoint", 60, lambda: ready.exists() or self.process.poll() is not None)
        self.host = f"127.0.0.1:{json.loads(ready.read_text())['port']}"

    def control(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(f"http://{self.host}/_endpoint/{path}", data, timeout=90) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise SystemExit(f"/_endpoint/{path}: {refused.read().decode()}") from refused

    def invoke(self, event):
        outcome = self.control("invoke", {"event": event, "function": FUNCTION, "timeout_s": 60})
        if not outcome["ok"]:
            raise SystemExit(f"{event}: {outcome}")
        return outcome["payload"]

    def get(self, path, **headers):
        request = urllib.request.Request(f"http://{self.host}/_url/{FUNCTION}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()


def wait_for(what, seconds, look):
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return found


def start_function(bootstrap, endpoint, topic):
    """With what Lambda puts into every function's environment, and the settings of a rehearsal."""
    variables = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": ":UTC", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDFUNCTION", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
        "AWS_LAMBDA_FUNCTION_NAME": FUNCTION, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{FUNCTION}", "AWS_LAMBDA_LOG_STREAM_NAME": "0",
        "AWS_LAMBDA_RUNTIME_API": f"http://{endpoint.host}/fn/{FUNCTION}", "AWS_ENDPOINT_URL": f"http://{endpoint.host}",
        "CANARY_GATE_TABLE": TABLE, "CANARY_GATE_TOPIC_ARN": topic, "CANARY_GATE_CLOCK": "event", "CANARY_GATE_LOG": "error",
        "CANARY_GATE_CALLERS": f"fuzz:act:sha256={hashlib.sha256(b'fuzz').hexdigest()}",
        "RUST_BACKTRACE": "0",
    }
    process = subprocess.Popen([bootstrap], env=variables, stdin=subprocess.DEVNULL)
    polls = lambda: endpoint.control("runtime")["functions"].get(FUNCTION, {}).get("polls")
    wait_for("the function's first poll", 10, lambda: polls() or process.poll() is not None)
    if process.poll() is not None:
        raise SystemExit("bootstrap ended")
    return process


def seed_scenes(endpoint):
    """Three load balancers, each with a stable and a canary group; the first brings table and topic."""
    table = json.loads((ROOT / "infra" / "table.json").read_text()) | {"TableName": TABLE}
    more = ({"table": table}, {"topic": False}, {"topic": False})
    scenes = []
    for name, extra in zip(("checkout", "search", "orders"), more):
        scene = endpoint.control("seed", {"name": name, "target_groups": [f"{name}-stable", f"{name}-canary"], **extra})
        arns = scene["target_groups"]
        scenes.append(scene | {"target_groups": {"stable": arns[f"{name}-stable"], "canary": arns[f"{name}-canary"]}})
    return scenes


def minute_text(minute):
    return datetime.datetime.fromtimestamp(minute * 60, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def tick(endpoint, minute):
    endpoint.invoke({"kind": "tick", "scheduled_time": minute_text(minute)})


def publish(endpoint, scene, minute):
    after = lambda arn, word: arn.split(word, 1)[1]
    points = []
    for group, requests in (("stable", 950), ("canary", 50)):
        arn = scene["target_groups"][group]
        dimensions = {"LoadBalancer": after(scene["load_balancer_arn"], "loadbalancer/"), "TargetGroup": "targetgroup/" + after(arn, "targetgroup/")}
        for name, count in (("RequestCount", requests), ("HTTPCode_Target_2XX_Count", requests)):
            points.append({"namespace": "AWS/ApplicationELB", "name": name, "dimensions": dimensions, "minute": minute_text(minute), "sum": count, "count": count})
    endpoint.control("metrics", points)


def command(endpoint, minute, word, **more):
    endpoint.invoke({"kind": "command", "command": word, "actor": "fuzz", "reason": "a rehearsal", "at": minute_text(minute), **more})


def seed_rollouts(endpoint, scenes):
    """One that is watched, one that is paused, and one that was aborted; the first two have traffic."""
    now = int(time.time()) // 60
    for name, scene in zip(("checkout-v42", "search-v7", "orders-v3"), scenes):
        plan = {"rollout": name, "listener_rule": scene["rule_arn"], "stable": scene["target_groups"]["stable"],
                "canary": scene["target_groups"]["canary"], "checks": {"errors": {}}}
        command(endpoint, now - 10, "start", plan=plan)
    command(endpoint, now - 10, "abort", rollout="orders-v3")
    for minute in range(now - 9, now + 1):
        live(endpoint, scenes, minute)
        if minute == now - 7:
            command(endpoint, minute, "pause", rollout="search-v7")


def live(endpoint, scenes, minute):
    for scene in scenes[:2]:
        publish(endpoint, scene, minute)
    tick(endpoint, minute)


@contextlib.contextmanager
def ticking(endpoint, scenes):
    """A rollout without ticks is one that nobody watches, and has no verdict."""
    over = threading.Event()

    def run():
        while not over.wait(20):
            live(endpoint, scenes, int(time.time()) // 60)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(90)


def fuzz(python, endpoint, who, options):
    counts = Path(tempfile.mkdtemp()) / "counts.json"
    # All refusals are one: a few of each show it.
    examples = options.max_examples if who == "iam" else max(options.max_examples // 5, 1)
    command = [python.parent / "st", "run", ROOT / "infra" / "openapi.json", "--url", f"http://{endpoint.host}/_url/{FUNCTION}",
               "--checks", CHECKS, "--max-examples", str(examples), "--request-timeout", "60", "--continue-on-failure",
               "--suppress-health-check", "all", "--warnings", "off", "--no-color"]
    if options.seed is not None:
        command += ["--seed", str(options.seed)]
    variables = os.environ | {"SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(ROOT / "tests"), "CANARY_GATE_FUZZ_AS": who,
                              "NO_PROXY": "127.0.0.1", "CANARY_GATE_FUZZ_COUNTS": str(counts)}
    print(f"\n== as {'somebody who may act' if who == 'iam' else 'nobody who is known'}", flush=True)
    code = subprocess.run(command, env=variables, cwd=counts.parent).returncode
    statuses = {int(status): count for status, count in json.loads(counts.read_text()).items()}
    print(f"statuses: {dict(sorted(statuses.items()))}", flush=True)
    # A door that lets nobody in, or everybody, would make every other check meaningless.
    as_told = statuses.get(200, 0) > 100 and 401 not in statuses if who == "iam" else 401 in statuses
    return code or int(not as_told)


def strangers_see_nothing(endpoint):
    """Without a signature every path but the open one is refused, whatever it is."""
    document = json.loads((ROOT / "infra" / "openapi.json").read_text())
    paths = [path.replace("{name}", "checkout-v42").replace("{id}", "a").replace("{hook}", "event") for path in document["paths"]]
    answers = {path: endpoint.get(path, Authorization="Bearer nobody")[0] for path in paths}
    seen = {path: status for path, status in answers.items() if status not in (401, 429) and path != "/healthz"}
    print(f"strangers: {sorted(set(answers.values()))}" + (f", but {seen}" if seen else ""))
    return bool(seen) or answers["/healthz"] != 200


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", type=Path, default=os.environ.get("CANARY_GATE_BOOTSTRAP"))
    parser.add_argument("--max-examples", type=int, default=25, help="for each operation")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    requirements = (ROOT / "tests" / "endpoint" / "requirements.txt").read_text().splitlines()
    bootstrap = options.bootstrap or built()
    endpoint = Endpoint(environment("openapi-endpoint-venv", requirements))
    python = environment("openapi-venv", [SCHEMATHESIS])
    scenes = seed_scenes(endpoint)
    function = start_function(Path(bootstrap).resolve(), endpoint, scenes[0]["topic_arn"])
    try:
        seed_rollouts(endpoint, scenes)
        status, body = endpoint.get("/v1/verdict?rollout=checkout-v42", **{"x-test-iam": "arn:aws:iam::123456789012:user/fuzz"})
        print(f"before: {status} {body.decode()}")
        with ticking(endpoint, scenes):
            failed = [fuzz(python, endpoint, who, options) for who in ("iam", "nobody")]
        failed.append(strangers_see_nothing(endpoint))
        state = endpoint.control("runtime")["functions"][FUNCTION]
        print(f"\n{state['invocations']} invocations, {state['errors']} of which failed; exit codes {failed}")
        return int(status != 200 or any(failed) or state["errors"] > 0)
    finally:
        function.kill()
        function.wait()
        endpoint.process.stdin.close()
        endpoint.process.wait()


if __name__ == "__main__":
    sys.exit(main())
