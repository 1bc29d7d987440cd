#!/usr/bin/env python3
"""Builds the Lambda function, zips it, and fails when the zip is larger than its budget.

    python3 infra/package.py                     # for each architecture whose Rust target is there
    python3 infra/package.py --arch arm64        # for this one, or it fails
    python3 infra/package.py --binary PATH       # zips a bootstrap that was built before, and checks that

Needs cargo-lambda (`pip install cargo-lambda` brings it with Zig as the linker). The zip of each architecture is
target/lambda/bootstrap-ARCH.zip, and the binary that infra/template.yaml takes along is target/lambda/bootstrap/bootstrap: of the
architecture that was built last, arm64 if both were.
"""

import argparse
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Lambda reads the code anew at each cold start; a dependency that doubles it should not come in unseen.
BUDGET = 6 * 1024 * 1024
# Architectures as the template names them: Rust's target, cargo-lambda's flag, ELF's number. The last one built is the template's default.
ARCHITECTURES = {
    "x86_64": ("x86_64-unknown-linux-gnu", "--x86-64", 62),
    "arm64": ("aarch64-unknown-linux-gnu", "--arm64", 183),
}


def has_target(target):
    where = subprocess.run(["rustc", "--print", "target-libdir", "--target", target], capture_output=True, text=True)
    return where.returncode == 0 and any(Path(where.stdout.strip()).glob("libstd-*"))


def target_directory():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def build(arch):
    _, flag, _ = ARCHITECTURES[arch]
    out = target_directory() / "lambda"
    command = ["cargo", "lambda", "build", "--profile", "lambda", flag, "--locked", "--no-default-features", "--features", "aws",
               "--bin", "bootstrap", "--lambda-dir", str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    return out / "bootstrap" / "bootstrap"


def machine(binary):
    """ELF's number of the machine that it runs on, or why it is no program."""
    head = binary.read_bytes()[:20]
    if head[:4] != b"\x7fELF":
        sys.exit(f"{binary}: is no Linux program")
    return struct.unpack_from("<H", head, 18)[0]


def pack(binary, path):
    """One file, executable, with a fixed time: the same binary makes the same zip."""
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o755 << 16, 3
    with zipfile.ZipFile(path, "w", compresslevel=9) as archive:
        archive.writestr(entry, binary.read_bytes(), compresslevel=9)


def check(arch, binary, budget):
    wanted = ARCHITECTURES[arch][2]
    if (found := machine(binary)) != wanted:
        return f"{binary}: was built for machine {found}, and {arch} is {wanted}"
    path = target_directory() / "lambda" / f"bootstrap-{arch}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    pack(binary, path)
    size = path.stat().st_size
    print(f"{arch}: {binary.stat().st_size:,} bytes, zipped {size:,} of {budget:,}: {path}")
    if size > budget:
        return f"{path}: {size:,} bytes, and the budget is {budget:,}: which dependency came in, and is it worth that?"
    return None


def wanted(asked):
    """The architectures to build, the template's default last."""
    there = [arch for arch, (target, _, _) in ARCHITECTURES.items() if has_target(target)]
    for arch, (target, _, _) in ARCHITECTURES.items():
        if arch not in there and asked in (None, arch):
            print(f"{arch}: Rust's target {target} is not installed (rustup target add {target})", file=sys.stderr)
    return [arch for arch in there if asked in (None, arch)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=ARCHITECTURES)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--budget", type=int, default=BUDGET, help="bytes of a zip")
    args = parser.parse_args()
    if args.binary:
        arch = args.arch or next((name for name, about in ARCHITECTURES.items() if about[2] == machine(args.binary)), None)
        if arch is None:
            sys.exit(f"{args.binary}: is for no machine that Lambda has")
        built = [(arch, args.binary)]
    else:
        if not shutil.which("cargo-lambda"):
            sys.exit("cargo-lambda is needed: pip install cargo-lambda")
        built = [(arch, build(arch)) for arch in wanted(args.arch)]
    if not built:
        sys.exit("nothing was built")
    problems = [problem for arch, binary in built if (problem := check(arch, binary, args.budget))]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
