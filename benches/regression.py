#!/usr/bin/env python3
"""Whether the judge has become slower: its benchmarks at an older commit against those of the present tree.

Builds benches/judge.rs of both, the older one in a temporary worktree, runs the two by turns, so that what else the
machine does hits both alike, and compares them benchmark by benchmark. What is slower than the limit is measured again
before it is believed. Fails if anything still is. Standard library only:

    python3 benches/regression.py                  # against the last tag, or else against main
    python3 benches/regression.py HEAD~5 --only 'judge/5checks'
    python3 benches/regression.py --limit 1.1 --rounds 5

On main itself it is against the last commit, or the one before it if nothing was changed since. Ratios hold for one
machine and one run. Builds go to `regression` in $CARGO_TARGET_DIR or target/.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# One for both, for they share what they depend on; and of its own, for it is left with either build in it.
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "regression"
# The judge needs no feature; without any there is less to build.
BUILD = ["cargo", "bench", "--locked", "--no-default-features", "--bench", "judge", "--no-run",
         "--message-format=json-render-diagnostics"]
# Short: the rounds make up for it.
CRITERION = ["--bench", "--noplot", "--sample-size", "10", "--warm-up-time", "0.05"]
AGAIN = 2


def git(*words):
    """What git says, or None if it fails."""
    ran = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return ran.stdout.strip() if ran.returncode == 0 else None


def commit_of(name):
    found = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if not found:
        sys.exit(f"{name}: no such commit")
    return found


def usual_base():
    """The last tag that is not the present commit itself; else where the branch left main; else the commit before."""
    head = commit_of("HEAD")
    for found in (git("describe", "--tags", "--abbrev=0", "HEAD^"), git("merge-base", "HEAD", "main")):
        if found and commit_of(found) != head:
            return found
    return "HEAD" if git("status", "--porcelain") else "HEAD^"


@contextlib.contextmanager
def worktree(commit, place):
    if git("worktree", "add", "--detach", str(place), commit) is None:
        sys.exit(f"{commit} can't be checked out to {place}")
    try:
        yield place
    finally:
        git("worktree", "remove", "--force", str(place))


def copy_of_tree(place):
    """The present tree with what is not committed. Its files are new: to cargo two trees in one target directory are
    the same package, and what is older than the last build counts as built."""
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / name)
    return place


def build(tree, keep):
    """Builds the benchmark of a tree; a copy of the program, which the next build can't replace."""
    environment = dict(os.environ, CARGO_TARGET_DIR=str(TARGET))
    built = subprocess.run(BUILD, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit(f"{tree}: benches/judge.rs is not built")
    said = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    programs = [line["executable"] for line in said
                if line.get("executable") and line["target"]["name"] == "judge" and "bench" in line["target"]["kind"]]
    return shutil.copy(programs[-1], keep)


def measure(program, only, seconds):
    """Runs a benchmark; nanoseconds by name, the median of its samples."""
    with tempfile.TemporaryDirectory(prefix="criterion-") as home:
        environment = dict(os.environ, CRITERION_HOME=home)
        words = [program, *CRITERION, "--measurement-time", str(seconds), *([only] if only else [])]
        ran = subprocess.run(words, cwd=home, env=environment, capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(f"{program} failed\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        found = {}
        for path in pathlib.Path(home).rglob("new/estimates.json"):
            name = json.loads((path.parent / "benchmark.json").read_text())["full_id"]
            found[name] = json.loads(path.read_text())["median"]["point_estimate"]
    return found


class Times:
    """What both programs took for each benchmark, round by round."""

    def __init__(self, base, now, seconds):
        self.programs, self.seconds = (base, now), seconds
        self.taken = ({}, {})

    def round(self, at, only):
        # Whoever is second finds the machine warm: by turns.
        for side in ((0, 1), (1, 0))[at % 2]:
            for name, time in measure(self.programs[side], only, self.seconds).items():
                self.taken[side].setdefault(name, []).append(time)

    def fastest(self, side, name):
        return min(self.taken[side].get(name, []), default=None)

    def ratio(self, name):
        """The fastest to the fastest, or the median of the rounds' ratios if that is less: a machine that was quiet
        for one of them alone misleads the first, and one that was busy for one of them the second."""
        base, now = (taken.get(name) for taken in self.taken)
        if not base or not now:
            return None
        return min(min(now) / min(base), statistics.median(mine / theirs for mine, theirs in zip(now, base)))

    def names(self):
        return sorted(set(self.taken[0]) | set(self.taken[1]), key=in_order)

    def slower(self, limit):
        return [name for name in self.names() if (self.ratio(name) or 0) > limit]


def in_order(name):
    """Numbers as numbers."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def words_of(nanoseconds):
    if nanoseconds is None:
        return "-"
    for unit, size in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6)):
        if nanoseconds < 1_000 * size:
            break
    return f"{nanoseconds / size:.4g} {unit}"


def table(times, limit):
    width = max(map(len, times.names()))
    print(f"{'benchmark':{width}}{'base':>12}{'now':>12}{'ratio':>8}")
    for name in times.names():
        base, now = (words_of(times.fastest(side, name)) for side in (0, 1))
        ratio = times.ratio(name)
        if ratio is None:
            word, mark = ("new" if base == "-" else "gone"), ""
        else:
            word, mark = f"{ratio:.2f}", "  slower" if ratio > limit else ""
        print(f"{name:{width}}{base:>12}{now:>12}{word:>8}{mark}")


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("base", nargs="?", help="the older commit (default: the last tag, or else main)")
    words.add_argument("--limit", type=float, default=1.15, help="how many times slower is too slow (default 1.15)")
    words.add_argument("--rounds", type=int, default=3, help="runs of each program (default 3)")
    words.add_argument("--seconds", type=float, default=0.2, help="of measuring for a benchmark and run (default 0.2)")
    words.add_argument("--only", metavar="REGEX", help="only benchmarks whose name has it, such as judge/5checks")
    asked = words.parse_args()
    base = commit_of(asked.base or usual_base())
    print(f"base: {git('log', '-1', '--format=%h %s', base)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="regression-") as folder:
        place = pathlib.Path(folder)
        with worktree(base, place / "base") as tree:
            older = build(tree, place / "judge-base")
        newer = build(copy_of_tree(place / "now"), place / "judge-now")
        times = Times(older, newer, asked.seconds)
        for at in range(max(asked.rounds, 1)):
            times.round(at, asked.only)
        if not times.names():
            sys.exit("there is no such benchmark")
        for at in range(AGAIN * max(asked.rounds, 1)):
            suspicious = times.slower(asked.limit)
            if not suspicious:
                break
            print(f"measured again: {', '.join(suspicious)}", flush=True)
            times.round(at, "|".join(f"^{re.escape(name)}$" for name in suspicious))
    table(times, asked.limit)
    slower = times.slower(asked.limit)
    if slower:
        sys.exit(f"{len(slower)} slower than {asked.limit:g} times the base: {', '.join(slower)}")


if __name__ == "__main__":
    main()
