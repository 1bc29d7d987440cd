#!/usr/bin/env python3
"""How long `bootstrap` takes from exec to its first poll, and how much memory, against an empty function.

Builds both with the profile that goes to Lambda, runs them by turns behind a Lambda Runtime API on the
loopback interface, and prints medians and ratios of this one run. Standard library only:

    python3 benches/start.py [--runs 30] [--no-build]
"""

import argparse
import http.server
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ["cargo", "build", "--locked", "--profile", "lambda", "--no-default-features", "--features", "aws",
         "--bin", "bootstrap", "--example", "empty_function"]
SETTINGS = {
    "CANARY_GATE_TABLE": "rollouts",
    "CANARY_GATE_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:on-call",
}


class Poll(http.server.BaseHTTPRequestHandler):
    """Notes when the first poll comes, and never answers it."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.server.polled_at is None:
            self.server.polled_at = time.perf_counter()
            self.server.polled.set()
        self.server.release.wait(30)


def start_once(binary):
    """Milliseconds from exec to the first poll, and the peak resident set in MiB at that time."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Poll)
    server.daemon_threads = True
    server.polled, server.release, server.polled_at = threading.Event(), threading.Event(), None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = dict(
        os.environ, **SETTINGS, AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{server.server_port}",
        AWS_LAMBDA_FUNCTION_NAME="f", AWS_LAMBDA_FUNCTION_VERSION="$LATEST",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128", AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    begun = time.perf_counter()
    process = subprocess.Popen([binary], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        if not server.polled.wait(20):
            sys.exit(f"{binary} did not poll: {process.stderr.read().decode()}")
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return (server.polled_at - begun) * 1e3, peak / 1024
    finally:
        process.kill()
        process.wait()
        server.release.set()
        server.shutdown()
        server.server_close()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=30, help="starts of each binary (default 30)")
    options.add_argument("--no-build", action="store_true", help="measure what was built before")
    options = options.parse_args()
    if not options.no_build:
        subprocess.run(BUILD, cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "lambda"
    binaries = {"empty function": target / "examples" / "empty_function", "bootstrap": target / "bootstrap"}
    figures = {name: [] for name in binaries}
    for _ in range(options.runs):
        for name, binary in binaries.items():
            figures[name].append(start_once(binary))
    print(f"{'':16}{'first poll, ms':>16}{'fastest, ms':>14}{'peak RSS, MiB':>16}{'binary, MiB':>14}")
    medians = {}
    for name, runs in figures.items():
        poll, fastest = statistics.median(r[0] for r in runs), min(r[0] for r in runs)
        peak = statistics.median(r[1] for r in runs)
        medians[name] = (poll, fastest, peak)
        size = binaries[name].stat().st_size / 2**20
        print(f"{name:16}{poll:16.1f}{fastest:14.1f}{peak:16.1f}{size:14.2f}")
    ratios = [ours / theirs for ours, theirs in zip(medians["bootstrap"], medians["empty function"])]
    print(f"{'ratio':16}{ratios[0]:16.2f}{ratios[1]:14.2f}{ratios[2]:16.2f}")


if __name__ == "__main__":
    main()
