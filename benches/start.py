#!/usr/bin/env python3
"""How long `bootstrap` takes from exec to its first poll and to its first answer, and how large it is, against an empty and a Python function.

Builds `bootstrap` and the empty function (benches/empty_function.rs) with the profile that goes to Lambda, installs what the Python function
(benches/python_function.py: boto3 and SciPy) needs in target/start-venv, runs all of them by turns behind a Lambda Runtime API on the loopback
interface, hands each a tick, for which it finds a table without rollouts, and prints medians and ratios of this one run:

    python3 benches/start.py [--runs 30] [--no-build] [--check]

`--check` fails unless bootstrap keeps within the limits below. Ratios compare on one machine only, and on an idle one.
"""

import argparse
import http.server
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
VENV = TARGET / "start-venv"
# Of its own: what infra/package.py makes is in target/lambda.
BUILT = TARGET / "start"
BUILD = ["cargo", "build", "--locked", "--profile", "lambda", "--no-default-features", "--features", "aws",
         "--bin", "bootstrap", "--example", "empty_function", "--target-dir", str(BUILT)]
PYTHON_NEEDS = ["boto3==1.44.5", "scipy==1.17.1"]
OURS, EMPTY, PYTHON = "bootstrap", "empty function", "Python function"
# Of the empty function's.
POLL_AT_MOST, MEMORY_AT_MOST = 1.5, 2.0
# Times slower to the first poll.
PYTHON_AT_LEAST = 10.0
ZIP_AT_MOST = 6 * 2**20
# Without rollouts, so that what takes time is the start.
TICK = '{"kind": "tick", "scheduled_time": "%s"}' % time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime())
SETTINGS = {
    "CANARY_GATE_TABLE": "rollouts",
    "CANARY_GATE_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:on-call",
}


class Lambda(http.server.BaseHTTPRequestHandler):
    """The Lambda Runtime API with one tick to hand out, and a table without rollouts."""

    def log_message(self, *_):
        pass

    def answer(self, body, **headers):
        self.send_response(200)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.server.polled_at is not None:
            self.server.release.wait(60)
            return
        self.server.polled_at = time.perf_counter()
        self.server.polled.set()
        self.server.measured.wait(60)
        self.server.handed_at = time.perf_counter()
        deadline = int((time.time() + 55) * 1e3)
        self.answer(TICK.encode(), Lambda_Runtime_Aws_Request_Id="1", Lambda_Runtime_Deadline_Ms=deadline,
                    Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:eu-west-1:123456789012:function:f")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "X-Amz-Target" in self.headers:
            self.answer(b'{"Items": [], "Count": 0, "ScannedCount": 0}')
            return
        self.server.answered_at, self.server.answered_to = time.perf_counter(), self.path
        self.answer(b"{}")
        self.server.answered.set()


def start_once(command):
    """Milliseconds from exec to the first poll and to the first answer, without what was measured between them, and the peak resident set in
    MiB at the first poll."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lambda)
    server.daemon_threads = True
    server.polled, server.measured, server.answered, server.release = (threading.Event() for _ in range(4))
    server.polled_at = None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # As Lambda sets it; whose certificates this machine trusts is no matter.
    unwanted = ("AWS_", "SSL_CERT_", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    address = f"127.0.0.1:{server.server_port}"
    environment |= dict(
        SETTINGS, AWS_LAMBDA_RUNTIME_API=address, AWS_ENDPOINT_URL=f"http://{address}",
        AWS_LAMBDA_FUNCTION_NAME="f", AWS_LAMBDA_FUNCTION_VERSION="$LATEST",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128", AWS_REGION="eu-west-1", AWS_DEFAULT_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        if not server.polled.wait(60):
            process.kill()
            sys.exit(f"{command[-1]} did not poll: {process.stderr.read().decode()}")
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        server.measured.set()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        if not server.answered.wait(60) or not server.answered_to.endswith("/response"):
            process.kill()
            sys.exit(f"{command[-1]} did not answer a tick: {process.stderr.read().decode()}")
        polled = server.polled_at - begun
        answered = polled + server.answered_at - server.handed_at
        return polled * 1e3, answered * 1e3, peak / 1024
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        server.release.set()
        server.shutdown()
        server.server_close()


def zipped(binary):
    """Bytes in a zip, but for some hundred of the zip's own."""
    return len(zlib.compress(binary.read_bytes(), 9))


def build():
    subprocess.run(BUILD, cwd=ROOT, check=True)
    if not (VENV / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([VENV / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON_NEEDS], check=True)


def unmet(poll, memory, python, size):
    """What bootstrap does not keep, in words."""
    if poll > POLL_AT_MOST:
        yield f"the first poll takes {poll:.2f} times the empty function's; {POLL_AT_MOST} is the limit"
    if memory > MEMORY_AT_MOST:
        yield f"the peak RSS is {memory:.2f} times the empty function's; {MEMORY_AT_MOST} is the limit"
    if python < PYTHON_AT_LEAST:
        yield f"the Python function takes {python:.1f} times as long; {PYTHON_AT_LEAST} is the least"
    if size > ZIP_AT_MOST:
        yield f"the zip has {size:,} bytes; {ZIP_AT_MOST:,} is the limit"


def in_memory(binary, directory):
    """A copy that no file system keeps in larger pieces than the kernel's pages: those count as resident as a whole."""
    copy = pathlib.Path(directory) / binary.name
    shutil.copy2(binary, copy)
    return copy


def measure(options, binaries):
    """Starts all of them by turns, prints the figures, and checks them if that is asked for."""
    commands = {name: [binary] for name, binary in binaries.items()}
    commands[PYTHON] = [VENV / "bin" / "python", ROOT / "benches" / "python_function.py"]
    for command in commands.values():
        # Out of the disk, and for Python into its cache of compiled files.
        start_once(command)
    figures = {name: [] for name in commands}
    for _ in range(options.runs):
        for name, command in commands.items():
            figures[name].append(start_once(command))
    print(f"{'':18}{'first poll, ms':>16}{'fastest':>10}{'first answer, ms':>18}{'peak RSS, MiB':>16}{'binary, MiB':>14}{'zipped':>8}")
    polls, answers, peaks = {}, {}, {}
    for name, runs in figures.items():
        polls[name], answers[name], peaks[name] = (statistics.median(column) for column in zip(*runs))
        sizes = ""
        if name in binaries:
            sizes = f"{binaries[name].stat().st_size / 2**20:14.2f}{zipped(binaries[name]) / 2**20:8.2f}"
        fastest = min(run[0] for run in runs)
        print(f"{name:18}{polls[name]:16.1f}{fastest:10.1f}{answers[name]:18.1f}{peaks[name]:16.1f}{sizes}")
    poll, memory = polls[OURS] / polls[EMPTY], peaks[OURS] / peaks[EMPTY]
    python = polls[PYTHON] / polls[OURS]
    for name, other in [(OURS, EMPTY), (PYTHON, OURS)]:
        ratios = [column[name] / column[other] for column in (polls, answers, peaks)]
        print("{} / {}: first poll {:.2f}, first answer {:.2f}, peak RSS {:.2f}".format(name, other, *ratios))
    problems = list(unmet(poll, memory, python, zipped(binaries[OURS])))
    if options.check and problems:
        sys.exit("\n".join(problems))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=30, help="starts of each (default 30)")
    options.add_argument("--no-build", action="store_true", help="measure what was built and installed before")
    options.add_argument("--check", action="store_true", help="fail above the limits")
    options = options.parse_args()
    if not options.no_build:
        build()
    binaries = {EMPTY: BUILT / "lambda" / "examples" / "empty_function", OURS: BUILT / "lambda" / "bootstrap"}
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        measure(options, {name: in_memory(binary, directory) for name, binary in binaries.items()})


if __name__ == "__main__":
    main()
