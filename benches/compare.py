#!/usr/bin/env python3
"""The judge's evidence of 240 minutes and 5 checks, computed with NumPy and SciPy beside the judge itself.

Builds and runs `judge_once` (benches/judge_once.rs), which writes the counts it judged to a temporary file with
its evidence and its time; evaluates the same counts here, whole columns at a time, once by sums over the support
and once by SciPy's distribution; compares the evidence of each check, and prints the times and their ratios. Fails unless all agree to a millionth. Needs NumPy and SciPy:

    python3 -m venv /tmp/compare && /tmp/compare/bin/pip install numpy scipy
    /tmp/compare/bin/python benches/compare.py [--scale 1] [--runs 20] [--no-build]

What is timed: here, from arrays of counts to the evidence of harm and of health of each check. There, the whole
verdict: besides that evidence, rows out of maps, the immediate trigger, the conviction after each of the minutes,
forecasts and notes.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from scipy.special import gammaln, logsumexp
from scipy.stats import nchypergeom_fisher

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ["cargo", "build", "--locked", "--release", "--no-default-features", "--example", "judge_once"]
AGREE = 1e-6

# The rules of src/stats and src/analysis/check.rs.
GRID = np.array([1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0])
LIMIT_GRID = np.array([1.25, 1.5, 2.0, 3.0, 5.0])
TOLERATE, IGNORE_BELOW = 1.25, 0.001
WITHIN_TIMES, WITHIN_POINTS, WITHIN_BODY, WITHIN_TAIL, WITHIN_CLASS = 1.5, 0.005, 1.5, 2.0, 1.5
CAP = -np.log(0.01) / 2
CEILING = -np.log(0.05)
RELEASE_FIRST, RELEASE_LATER = 1 / 2, 1 / 240


def by_sums(table, psi):
    """Fisher's noncentral hypergeometric log probabilities, minutes by odds ratios, without what all share."""
    x1, n1, x0, n0 = (column[:, None] for column in table)
    m = x1 + x0
    low, high = np.maximum(0, m - n0), np.minimum(m, n1)
    j = np.arange(low.min(), high.max() + 1)[None, :]
    inside = (j >= low) & (j <= high)
    with np.errstate(invalid="ignore"):
        terms = -gammaln(j + 1) - gammaln(n1 - j + 1) - gammaln(m - j + 1) - gammaln(n0 - m + j + 1)
    terms = np.where(inside, terms, -np.inf)
    ln_psi = np.log(psi)
    sums = np.empty((len(m), len(psi)))
    for k, slope in enumerate(ln_psi):
        column = terms + j * slope
        largest = column.max(axis=1, keepdims=True)
        column -= largest
        np.exp(column, out=column)
        sums[:, k] = largest[:, 0] + np.log(column.sum(axis=1))
    return x1 * ln_psi - sums


def by_scipy(table, psi):
    """The same by SciPy's own distribution; underflows where the probability is below 1e-308."""
    x1, n1, x0, n0 = (column[:, None] for column in table)
    with np.errstate(divide="ignore"):
        return nchypergeom_fisher.logpmf(x1, n1 + n0, n1, x1 + x0, psi[None, :])


def mixture(ln_lr):
    """Log of the restarted mixture e-process after the last minute: what each minute's stake has grown to."""
    fractions = np.full(len(ln_lr), RELEASE_LATER)
    fractions[0] = RELEASE_FIRST
    ln_cash = np.concatenate([[0.0], np.cumsum(np.log1p(-fractions))])
    growth = np.cumsum(np.minimum(ln_lr, CAP)[::-1], axis=0)[::-1]
    stakes = (ln_cash[:-1] + np.log(fractions))[:, None] - np.log(ln_lr.shape[1]) + growth
    return np.logaddexp(ln_cash[-1], logsumexp(stakes))


def ceiled(ln_e):
    """Sum of log e-values that never exceeds the ceiling."""
    sums = np.cumsum(ln_e)
    return sums[-1] - max(0.0, (sums - CEILING).max())


def ln_mean(logs):
    return logsumexp(logs) - np.log(len(logs))


def rates(table, ln_f):
    """Harm by odds and by the floor, health by rates: errors and ratios."""
    x1, n1, x0, n0 = (column.astype(float) for column in table)
    psi = TOLERATE * np.concatenate([[1.0], GRID])
    logs = ln_f(table, psi)
    floor = x1[:, None] * np.log(LIMIT_GRID) - n1[:, None] * np.log1p((LIMIT_GRID - 1) * IGNORE_BELOW)
    harm = min(mixture(logs[:, 1:] - logs[:, :1]), mixture(floor))
    past = lambda counts: np.concatenate([[0.0], np.cumsum(counts)[:-1]])
    p = (past(x0) + 0.5) / (past(n0) + 1)
    # The nearest pair of rates that is not allowed: by the ratio, by the difference, or the corner of both.
    by_ratio = p * (n1 + n0) / (n0 + WITHIN_TIMES * n1)
    linear, product = WITHIN_POINTS - p, n0 / (n1 + n0) * WITHIN_POINTS * p
    by_difference = (np.sqrt(linear**2 + 4 * product) - linear) / 2
    corner = WITHIN_POINTS / (WITHIN_TIMES - 1)
    q0 = np.select([by_ratio >= corner, by_difference <= corner], [by_ratio, by_difference], corner)
    q1 = np.maximum(WITHIN_TIMES * q0, q0 + WITHIN_POINTS)
    health = x1 * np.log(p / q1) + x0 * np.log(p / q0) + n1 * (q1 - p) + n0 * (q0 - p)
    return harm, ceiled(health)


def distribution(tables, within, ln_f):
    """One comparison a threshold; the mean of harm, the least of health."""
    harms, healths = [], []
    for table, allowed in zip(tables, within):
        logs = ln_f(table, np.concatenate([[TOLERATE], TOLERATE * GRID, [1.0, allowed]]))
        harms.append(mixture(logs[:, 1:9] - logs[:, :1]))
        healths.append(ceiled(logs[:, 9] - logs[:, 10]))
    return ln_mean(harms), min(healths)


def classes(tables, ln_f):
    """Each class against the rest, in both directions."""
    up = np.concatenate([[TOLERATE], TOLERATE * GRID])
    psi = np.concatenate([up, 1 / up, [1.0, WITHIN_CLASS, 1 / WITHIN_CLASS]])
    harms, healths = [], []
    for table in tables:
        logs = ln_f(table, psi)
        both = [mixture(logs[:, 1:9] - logs[:, :1]), mixture(logs[:, 10:18] - logs[:, 9:10])]
        harms.append(ln_mean(both))
        healths += [ceiled(logs[:, 18] - logs[:, 19]), ceiled(logs[:, 18] - logs[:, 20])]
    return ln_mean(harms), min(healths)


def tables_of(written):
    """Columns of counts: bad and all of the canary, bad and all of stable."""
    rows, names = written["rows"], written["classes"]

    def table(bad, total):
        columns = [(bad(row[arm]), total(row[arm])) for row in rows for arm in ("canary", "stable")]
        columns = np.array(columns, dtype=np.int64).reshape(len(rows), 4)
        return tuple(columns.T)

    def beyond(of, edge):
        return table(lambda arm: of(arm)["count"] - of(arm)["le"][str(edge)], lambda arm: of(arm)["count"])

    latency, values = lambda arm: arm["latency"], lambda arm: arm["metrics"]["values"]
    counts = lambda arm: arm["metrics"]["classes"]["classes"]
    every = lambda arm: sum(counts(arm).values())
    named = [table(lambda arm, name=name: counts(arm)[name], every) for name in names]
    other = table(lambda arm: every(arm) - sum(counts(arm)[name] for name in names), every)
    ratio = lambda part: lambda arm: arm["metrics"]["ratio"][part]
    return {
        "errors": table(lambda arm: arm["http_5xx"], lambda arm: arm["requests"]),
        "latency": [beyond(latency, edge) for edge in written["latency_edges"]],
        "ratio": table(ratio("bad"), ratio("total")),
        "values": [beyond(values, edge) for edge in written["values_edges"]],
        "classes": named + [other],
    }


def evaluate(tables, ln_f):
    return {
        "errors": rates(tables["errors"], ln_f),
        "latency": distribution(tables["latency"], [WITHIN_BODY, WITHIN_BODY, WITHIN_TAIL], ln_f),
        "ratio": rates(tables["ratio"], ln_f),
        "values": distribution(tables["values"], [WITHIN_BODY], ln_f),
        "classes": classes(tables["classes"], ln_f),
    }


def timed(tables, ln_f, runs):
    """What it finds, and its median and its fastest time in seconds."""
    seconds = []
    for _ in range(max(runs, 1)):
        begun = time.perf_counter()
        found = evaluate(tables, ln_f)
        seconds.append(time.perf_counter() - begun)
    return found, float(np.median(seconds)), min(seconds)


def compare(found, evidence, name):
    """Prints both sides; whether all agree."""
    print(f"{'check':10}{'':8}{'judge':>22}{name:>22}{'difference':>12}")
    agree = True
    for check, both in found.items():
        for kind, mine in zip(("harm", "health"), both):
            theirs = evidence[check][kind]
            apart = abs(mine - theirs) / max(1.0, abs(theirs))
            agree &= apart <= AGREE
            print(f"{check:10}{kind:8}{theirs:22.12f}{mine:22.12f}{apart:12.1e}")
    print()
    return agree


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--scale", type=int, default=1, help="times 50 requests a second (default 1)")
    options.add_argument("--runs", type=int, default=20, help="evaluations by NumPy (default 20)")
    options.add_argument("--no-build", action="store_true", help="run what was built before")
    options = options.parse_args()
    if not options.no_build:
        subprocess.run(BUILD, cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = target / "release" / "examples" / "judge_once"
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "judged.json"
        with path.open("w") as file:
            subprocess.run([binary, str(options.scale), "300"], stdout=file, check=True)
        written = json.loads(path.read_text())
    tables = tables_of(written)
    agree, times = True, {"judge": (written["median_seconds"], written["fastest_seconds"])}
    for name, ln_f in {"sums in NumPy": by_sums, "SciPy's pmf": by_scipy}.items():
        found, *times[name] = timed(tables, ln_f, options.runs)
        agree &= compare(found, written["evidence"], name)
    print(f"{len(written['rows'])} minutes, ms{'median':>12}{'fastest':>12}{'to the judge':>14}")
    for name, (median, fastest) in times.items():
        ratio = median / written["median_seconds"]
        print(f"{name:15}{median * 1e3:12.3f}{fastest * 1e3:12.3f}{ratio:14.1f}")
    if not agree:
        sys.exit("the evidence differs by more than a millionth")


if __name__ == "__main__":
    main()
