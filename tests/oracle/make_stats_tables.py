"""Reference values for `src/stats`, written to `stats.json` beside this file.

Rerun (about a minute; the output is the same, byte by byte, on every run):

    python3 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install mpmath==1.4.1 scipy==1.17.1 numpy==2.4.6
    /tmp/oracle/bin/python tests/oracle/make_stats_tables.py

Every value is computed from the textbook formula with 50 digits (mpmath), by another route than
the Rust code takes: sums over the whole support or by log-gamma instead of Stirling's series
and strides, numerical minima instead of closed forms. Where SciPy has the same function it is
asked as well and must agree. Inputs are the exact binary values of the doubles that are written.
Results are written as text with 25 digits.
"""

import itertools
import json
import math
import pathlib
import random

import mpmath as mp
import numpy as np
from scipy import stats

mp.mp.dps = 50
GRID = [1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0]
LIMITS = [1.25, 1.5, 2.0, 3.0, 5.0]


def text(value):
    return mp.nstr(mp.mpf(value), 25, min_fixed=0, max_fixed=0)


def texts(values):
    return [text(v) for v in values]


def close(a, b, relative, what):
    a, b = mp.mpf(a), mp.mpf(b)
    assert abs(a - b) <= relative * (1 + abs(b)), (what, a, b)


# Factorials, deviances, binomial probabilities


def stirling():
    ks = [*range(0, 40), 100, 1000, 10**6, 10**9]
    rest = lambda k: mp.loggamma(k + 1) - (k * mp.log(k) - k if k else 0)
    return [{"k": k, "s": text(rest(k))} for k in ks]


def deviance(x, a):
    x, a = mp.mpf(x), mp.mpf(a)
    return a if x == 0 else x * mp.log(x / a) - x + a


def deviances():
    pairs = [(0, 3), (5, 5), (1, 2), (10, 9), (10, 8), (10, 11.5), (12.25, 10), (1e9, 1e9 + 1),
             (1e9, 1e9 - 3e4), (1e9, 5e8), (3, 1e9), (1e9, 1), (0.25, 0.3)]
    return [{"x": x, "a": a, "d": text(deviance(x, a))} for x, a in pairs]


def ln_choose(n, k):
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def ln_binomial(x, n, p):
    p = mp.mpf(p)
    return ln_choose(n, x) + x * mp.log(p) + (n - x) * mp.log(1 - p)


def binomials():
    rows = [(0, 10, 0.1), (3, 10, 0.5), (10, 10, 0.9), (0, 10**6, 1e-6), (150, 3000, 0.05),
            (0, 3000, 0.05), (5 * 10**7, 10**9, 0.05), (5 * 10**8 + 40000, 10**9, 0.5),
            (10**9, 10**9, 0.75), (17, 10**9, 1e-8)]
    out = []
    for x, n, p in rows:
        want = ln_binomial(x, n, p)
        close(stats.binom.logpmf(x, n, p), want, 1e-6, "binom")
        out.append({"x": x, "n": n, "p": p, "q": 1 - p, "ln_f": text(want)})
    return out


# Fisher's noncentral hypergeometric distribution


def ln_terms_sum(n1, n0, m, psi, lo=None):
    """Log of the sum of all terms from `lo` on, out from the largest one, to 45 digits."""
    psi = mp.mpf(psi)
    low, high = max(0, m - n0), min(m, n1)
    start = low if lo is None else lo
    # Largest term: by bisection on the ratio of neighbours, in exact integers.
    a, b = start, high
    while a < b:
        j = (a + b) // 2
        if psi * ((n1 - j) * (m - j)) > (j + 1) * (n0 - m + j + 1):
            a = j + 1
        else:
            b = j
    total, term = mp.mpf(1), mp.mpf(1)
    for j in range(a, high):
        term *= psi * ((n1 - j) * (m - j)) / ((j + 1) * (n0 - m + j + 1))
        total += term
        if term < mp.mpf(10) ** -45 * total:
            break
    term = mp.mpf(1)
    for j in range(a, start, -1):
        term *= (j * (n0 - m + j)) / (psi * ((n1 - j + 1) * (m - j + 1)))
        total += term
        if term < mp.mpf(10) ** -45 * total:
            break
    return ln_term(n1, n0, m, psi, a) + mp.log(total)


def ln_term(n1, n0, m, psi, x):
    # loggamma of 10^9 is 2e10: fifty digits leave forty.
    return ln_choose(n1, x) + ln_choose(n0, m - x) + x * mp.log(mp.mpf(psi))


def ln_f(n1, n0, m, x, psi):
    return ln_term(n1, n0, m, psi, x) - ln_terms_sum(n1, n0, m, psi)


SMALL = [(5, 7, 4), (1, 1, 1), (1, 10**9, 1), (150, 2850, 10), (150, 2850, 1500), (150, 2850, 150),
         (40, 3, 30), (30, 30, 59), (3, 10**6, 500), (10**6, 3, 500), (10**6, 10**7, 12)]
LARGE = [(10**4, 19 * 10**4, 10**4), (10**5, 10**5, 10**5), (5 * 10**4, 95 * 10**4, 5 * 10**5),
         (10**7, 10**7, 3 * 10**4), (10**9, 10**9, 2000)]
HUGE = [(10**9, 10**9, 10**9), (10**7, 10**9, 10**8), (10**9, 10**9, 1999999000)]


def counts_of_interest(n1, n0, m, psi, everywhere):
    low, high = max(0, m - n0), min(m, n1)
    mean = min(max(round(m * n1 / (n1 + n0)), low), high)
    picks = {low, low + 1, mean, mean + 1, mean + 9, (mean + high) // 2, high}
    if everywhere:
        sd = max(1, round((n1 * n0 * m * (n1 + n0 - m) / (n1 + n0) ** 3) ** 0.5))
        picks |= {mean - sd, mean + 3 * sd, mean + 30 * sd}
    return sorted(x for x in picks if low <= x <= high)


def hypergeometric():
    out = []
    for margins, psis in [(SMALL, [0.02, 0.8, 1.0, 1.25, 40.0]), (LARGE, [0.5, 1.25, 10.0]), (HUGE, [1.25])]:
        for n1, n0, m in margins:
            for psi in psis:
                ln_sum = ln_terms_sum(n1, n0, m, psi)
                for x in counts_of_interest(n1, n0, m, psi, margins is not SMALL):
                    want = ln_term(n1, n0, m, psi, x) - ln_sum
                    if n1 + n0 <= 3000 and want > -300:
                        theirs = stats.nchypergeom_fisher.logpmf(x, n1 + n0, n1, m, psi)
                        close(theirs, want, 1e-6, ("nchypergeom_fisher", n1, n0, m, x, psi))
                    out.append({"n1": n1, "n0": n0, "m": m, "x1": x, "psi": psi, "ln_f": text(want)})
    return out


def likelihood_ratios():
    rows = [(0, 150, 5, 2850), (3, 150, 9, 2850), (12, 150, 9, 2850), (80, 150, 1420, 2850),
            (150, 150, 1000, 2850), (7, 150, 143, 2850), (0, 1, 1, 1), (20, 400, 100, 7600),
            (900, 1500, 14100, 28500), (25400, 50000, 474600, 950000), (400, 50000, 9600, 950000),
            (0, 2000, 9000, 18000), (10**6 + 2000, 2 * 10**6, 10**6, 2 * 10**6),
            (51 * 10**6, 10**8, 10**7, 2 * 10**7)]
    out = []
    for x1, n1, x0, n0 in rows:
        for psi0, reciprocal in [(1.0, False), (1.25, False), (1.25, True)]:
            m = x1 + x0
            null = mp.mpf(psi0)
            psis = [null * g for g in GRID]
            if reciprocal:
                null, psis = 1 / null, [1 / psi for psi in psis]
            base = ln_f(n1, n0, m, x1, null)
            logs = [ln_f(n1, n0, m, x1, psi) for psi in psis]
            out.append({"x1": x1, "n1": n1, "x0": x0, "n0": n0, "psi0": psi0, "reciprocal": reciprocal,
                        "ln_lr": texts(log - base for log in logs),
                        "largest_ln_f": text(min([base, *logs]))})
    return out


def upper_tail():
    out = []
    for n1, n0, m in SMALL + LARGE[:2]:
        for psi in [0.8, 1.0, 5.0]:
            total = ln_terms_sum(n1, n0, m, psi)
            for x in counts_of_interest(n1, n0, m, psi, False):
                want = ln_terms_sum(n1, n0, m, psi, x) - total
                out.append({"n1": n1, "n0": n0, "m": m, "x1": x, "psi": psi, "ln_p": text(want)})
    return out


def fisher():
    rows = [(20, 2000, 100, 38000), (3, 8, 4, 54), (61, 179, 2, 3), (0, 150, 9, 2850), (30, 150, 9, 2850),
            (5, 5, 0, 5), (1, 10, 9, 10), (100, 1000, 60, 1000), (7, 1000, 1, 50), (2, 40, 3, 400000),
            (0, 20, 400, 10**6), (9, 10, 1, 10**6), (1100, 10**6, 19000, 19 * 10**6), (1, 3, 5 * 10**5, 10**6)]
    out = []
    for x1, n1, x0, n0 in rows:
        m = x1 + x0
        tails = [mp.exp(ln_terms_sum(a, b, m, 1, x) - ln_terms_sum(a, b, m, 1))
                 for x, a, b in [(x1, n1, n0), (x0, n0, n1)]]
        table = [[x1, n1 - x1], [x0, n0 - x0]]
        for side, want in zip(["greater", "less"], tails):
            close(stats.fisher_exact(table, alternative=side).pvalue, want, 1e-9, "fisher_exact")
        # Not SciPy's two-sided value, which adds up whatever is less likely on the other side.
        out.append({"x1": x1, "n1": n1, "x0": x0, "n0": n0, "greater": text(tails[0]), "less": text(tails[1]),
                    "two_sided": text(min(1, 2 * min(tails)))})
    return out


def event_tail():
    """Chance of as many of all events in the first arm, or more: a binomial tail, given their sum."""
    out = []
    for x1, n1, x0, n0 in [(9, 150, 3, 2850), (0, 150, 3, 2850), (3, 2850, 9, 150), (400, 150, 5000, 2850),
                           (30, 10, 20, 100), (52000, 10**6, 950000, 19 * 10**6), (12, 3, 0, 9)]:
        m, theta = x1 + x0, mp.mpf(n1) / (n1 + n0)
        term = mp.exp(ln_binomial(x1, m, theta))
        want = mp.mpf(0)
        for x in range(x1, m + 1):
            want += term
            term *= (m - x) * theta / ((x + 1) * (1 - theta))
            if x > m * theta and term < mp.mpf(10) ** -45 * want:
                break
        close(stats.binomtest(x1, m, float(theta), alternative="greater").pvalue, want, 1e-9, "binomtest")
        out.append({"x1": x1, "n1": n1, "x0": x0, "n0": n0, "greater": text(want)})
    return out


def event_counts():
    out = []
    for x1, n1, x0, n0 in [(0, 150, 3, 2850), (9, 150, 3, 2850), (5000, 150, 30000, 2850),
                           (1, 10**9, 1, 1), (10**8, 10**9, 9 * 10**7, 10**9)]:
        for psi0 in [1.0, 1.25]:
            theta = lambda psi: mp.mpf(psi) * n1 / (n0 + mp.mpf(psi) * n1)
            log = lambda psi: ln_binomial(x1, x1 + x0, theta(psi))
            want = [log(mp.mpf(psi0) * g) - log(psi0) for g in GRID]
            if x1 + x0 < 10**6:
                m = x1 + x0
                theirs = stats.binom.logpmf(x1, m, float(theta(psi0 * 2))) - stats.binom.logpmf(x1, m, float(theta(psi0)))
                close(theirs, want[2], 1e-6, "event counts")
            out.append({"x1": x1, "n1": n1, "x0": x0, "n0": n0, "psi0": psi0, "ln_lr": texts(want)})
    return out


# E-processes


# The bounds of `src/stats/mixture.rs`; only the third stream gets there.
STAKE_MAX, LN_FACTOR_MIN, LN_FACTOR_MAX = mp.mpf(5e299), -500, 690


def mixture():
    draw = random.Random(20240501)
    walk = lambda scale: [draw.gauss(-0.1, scale) for _ in GRID]
    streams = [("a quiet stream", None, [walk(0.5) for _ in range(40)]),
               ("a loud stream with a cap", 2.302585, [walk(4.0) for _ in range(40)]),
               ("from the floor to the ceiling", None, [walk(1.0) if t % 7 == 3 else [v * (-1) ** (t // 12) for v in walk(900.0)] for t in range(48)])]
    fractions = {"first": mp.mpf(1) / 2, "new step": mp.mpf(1) / 4, "later": mp.mpf(1) / 240}
    out = []
    for name, cap, minutes in streams:
        cash, stakes, rows = mp.mpf(1), [mp.mpf(0)] * 8, []
        for t, logs in enumerate(minutes):
            logs = [round(v, 6) for v in logs]
            release = "first" if t == 0 else "new step" if t % 15 == 0 else "later"
            released = cash * fractions[release]
            cash -= released
            limit = (lambda v: v) if cap is None else (lambda v: min(v, cap))
            factors = [mp.exp(mp.mpf(max(min(limit(v), LN_FACTOR_MAX), LN_FACTOR_MIN))) for v in logs]
            stakes = [min((s + released / 8) * f, STAKE_MAX) for s, f in zip(stakes, factors)]
            rows.append({"release": release, "ln_lr": logs, "ln_e": text(mp.log(cash + sum(stakes)))})
        out.append({"name": name, "cap": cap, "minutes": rows})
    return out


def one_sample():
    out = []
    for p_max in [1e-9, 0.001, 0.015, 0.1, 0.5, 0.99, 1 - 2**-30]:
        for bad, total in [(0, 150), (3, 150), (150, 150), (10**6, 10**9), (1, 1)]:
            p = mp.mpf(p_max)
            rates = [g * p / (1 - p) / (1 + g * p / (1 - p)) for g in map(mp.mpf, LIMITS)]
            want = [bad * mp.log(r / p) + (total - bad) * mp.log((1 - r) / (1 - p)) for r in rates]
            out.append({"p_max": p_max, "bad": bad, "total": total, "ln_lr": texts(want)})
    return out


# Projections


def minimum(distance, low, high):
    """Minimiser of a convex function: bisection on its numerical slope would lose digits, so
    on the exact derivative that mpmath takes at fifty digits."""
    slope = lambda q: mp.diff(distance, q)
    for _ in range(170):
        middle = (low + high) / 2
        if slope(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def project(a1, a0, n1, n0, ratio, difference):
    """Nearest point of the boundary p1 = max(ratio p0, p0 + difference), on each of its pieces."""
    a1, a0, n1, n0 = map(mp.mpf, (a1, a0, n1, n0))
    ratio, difference = mp.mpf(ratio), mp.mpf(difference)
    cost = lambda q1, q0: n1 * deviance(a1, q1) + n0 * (deviance(a0, q0))
    edge = lambda q0: max(ratio * q0, q0 + difference)
    corner = difference / (ratio - 1) if ratio > 1 else mp.mpf(10)
    tiny = mp.mpf(10) ** -40
    pieces = []
    with mp.workdps(90):
        if difference > 0:
            pieces.append(minimum(lambda q: cost(q + difference, q), tiny, corner))
        if ratio > 1:
            pieces.append(minimum(lambda q: cost(ratio * q, q), max(corner, tiny), mp.mpf(10)))
    q0 = min(pieces, key=lambda q: cost(edge(q), q))
    return edge(q0), q0


RATES = [(1.5, 0.0, 0.01), (1.5, 0.005, 0.003), (1.5, 0.005, 0.0101), (1.5, 0.005, 0.0085), (1.5, 0.005, 0.2),
         (1.0, 0.005, 1e-7), (1.0, 0.005, 0.4), (2.0, 0.0, 1e-9)]


def projection():
    out = []
    for ratio, difference, rate in RATES:
        for n1, n0 in [(150, 2850), (1000, 1000), (900, 100)]:
            q1, q0 = project(rate, rate, n1, n0, ratio, difference)
            out.append({"ratio": ratio, "difference": difference, "rate": rate, "n1": n1, "n0": n0,
                        "q1": text(q1), "q0": text(q0)})
    return out


def ratio_of_counts(a1, a0, q1, q0, x1, n1, x0, n0):
    return x1 * mp.log(a1 / q1) + x0 * mp.log(a0 / q0) + n1 * (q1 - a1) + n0 * (q0 - a0)


def health():
    out = []
    for ratio, difference, rate in RATES:
        for x1, n1, x0, n0 in [(0, 150, 9, 2850), (7, 150, 0, 2850), (1000, 10**5, 9500, 10**6)]:
            q1, q0 = project(rate, rate, n1, n0, ratio, difference)
            p = mp.mpf(rate)
            want = ratio_of_counts(p, p, q1, q0, x1, n1, x0, n0)
            out.append({"ratio": ratio, "difference": difference, "rate": rate, "x1": x1, "n1": n1,
                        "x0": x0, "n0": n0, "ln_e": text(want)})
    return out


def excess():
    out = []
    for difference, rate in [(0.005, 0.003), (0.01, 1e-7), (0.02, 0.4)]:
        for x1, n1, x0, n0 in [(0, 150, 9, 2850), (17, 150, 3, 2850), (2000, 10**5, 9500, 10**6)]:
            p = mp.mpf(rate)
            odds = (p + mp.mpf(difference)) / (1 - p - mp.mpf(difference))
            want = []
            for g in GRID:
                a1 = g * odds / (1 + g * odds)
                q1, q0 = project(a1, p, n1, n0, 1.0, difference)
                want.append(ratio_of_counts(a1, p, q1, q0, x1, n1, x0, n0))
            out.append({"difference": difference, "rate": rate, "x1": x1, "n1": n1, "x0": x0, "n0": n0,
                        "ln_e": texts(want)})
    return out


# Design effect, sample ratio, forecasts, Mann-Whitney


def design_effect():
    draw = np.random.Generator(np.random.PCG64(7))
    out = []
    for name, spread in [("by request", 0.0), ("sticky", 0.02), ("very sticky", 0.3)]:
        rows = []
        for _ in range(60):
            n1, n0 = int(draw.poisson(120)), int(draw.poisson(200))
            rates = 0.05 + spread * draw.random(2) ** 3
            rows.append([int(draw.binomial(n1, rates[0])), n1, int(draw.binomial(n0, rates[1])), n0])
        squares = []
        for x1, n1, x0, n0 in rows:
            m, n = x1 + x0, n1 + n0
            mean, var, *_ = stats.hypergeom.stats(n, m, n1, moments="mv")
            if 0 < m < n:
                squares.append((x1 - mean) ** 2 / var)
        effect = 1.0
        for _ in range(50):
            effect = max(1.0, float(np.mean(np.minimum(squares, 12 * effect))))
        out.append({"name": name, "tables": rows, "design_effect": text(effect)})
    return out


def sample_ratio():
    out = []
    for share, deviation in [(0.05, 0.2), (0.5, 0.2), (0.9375, 0.125)]:
        slack = mp.mpf(deviation) * min(mp.mpf(share), 1 - mp.mpf(share))
        low, high = mp.mpf(share) - slack, mp.mpf(share) + slack
        for n1, n0 in [(1, 0), (0, 300), (150, 2850), (300, 2700), (1500, 1500), (5 * 10**6, 95 * 10**6), (9 * 10**5, 10**5)]:
            n = n1 + n0
            best = min(max(mp.mpf(n1) / n, low), high)
            # The mixture as a beta function, not as 1/(N+1).
            mixed = mp.loggamma(n1 + 1) + mp.loggamma(n0 + 1) - mp.loggamma(n + 2)
            want = mixed - n1 * mp.log(best) - n0 * mp.log(1 - best)
            out.append({"share": share, "deviation": deviation, "n1": n1, "n0": n0, "ln_e": text(want)})
    return out


def needed():
    entropy = lambda p, q: p * mp.log(p / q) + (1 - p) * mp.log((1 - p) / (1 - q))

    def information(p1, p0, psi, share):
        p1, p0, psi, share = map(mp.mpf, (p1, p0, psi, share))
        weight = (1 - share) / share
        # In q0 alone; the left side rises, so plain bisection is safe.
        first = lambda q0: psi * q0 / (1 - q0 + psi * q0)
        low, high = mp.mpf(0), mp.mpf(1)
        for _ in range(165):
            middle = (low + high) / 2
            if first(middle) + weight * middle < p1 + weight * p0:
                low = middle
            else:
                high = middle
        return entropy(p1, first(low)) + weight * entropy(p0, low)

    rows = [(0.021, 0.003, 1.25, 0.05), (0.06, 0.05, 1.125, 0.5), (0.9, 0.5, 2.0, 0.25), (0.02, 0.001, 3.0, 0.01)]
    return [{"p1": p1, "p0": p0, "psi": psi, "share": share, "harm": text(information(p1, p0, psi, share)),
             "odds_health": text(information(p0, p0, psi, share))} for p1, p0, psi, share in rows]


def mann_whitney():
    draw = np.random.Generator(np.random.PCG64(11))
    out = []
    for bins, n1, n0, shift in [(40, 150, 2850, 0), (40, 150, 2850, 2), (3, 25, 30, 0), (200, 1000, 1000, -3)]:
        first = np.clip(draw.normal(bins / 2 + shift, bins / 8, n1), 0, bins - 1).astype(int)
        second = np.clip(draw.normal(bins / 2, bins / 8, n0), 0, bins - 1).astype(int)
        test = stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic")
        out.append({"first": np.bincount(first, minlength=bins).tolist(),
                    "second": np.bincount(second, minlength=bins).tolist(),
                    "u": text(test.statistic), "pairs": n1 * n0, "p": text(test.pvalue)})
    return out


def exact_mann_whitney_p(first, second):
    """Chance of as large a U, or larger, over all ways to deal the pooled values out to the arms, ties counted
    half: dealt bin by bin, in whole numbers."""
    n1, n0 = sum(first), sum(second)
    twice_u = lambda a, b, below: a * (2 * below + b)
    ways, below, seen = {(0, 0): 1}, 0, 0
    for a, b in zip(first, second):
        seen += twice_u(a, b, below)
        below += b
    passed = 0
    for a, b in zip(first, second):
        dealt = {}
        for (used, u), count in ways.items():
            for k in range(min(a + b, n1 - used) + 1):
                rest = a + b - k
                key = (used + k, u + twice_u(k, rest, passed - used))
                dealt[key] = dealt.get(key, 0) + count * math.comb(a + b, k)
        ways, passed = dealt, passed + a + b
    tail = sum(count for (used, u), count in ways.items() if used == n1 and u >= seen)
    return mp.mpf(tail) / math.comb(n1 + n0, n1)


def mann_whitney_exact():
    draw = np.random.Generator(np.random.PCG64(12))
    pairs = []
    for n1, n0 in [(8, 9), (3, 14), (25, 20)]:
        values = draw.permutation(n1 + n0)
        pairs.append((values[:n1], values[n1:]))
    for bins, n1, n0, shift in [(4, 20, 20, 0), (4, 20, 20, 1), (8, 20, 40, 1), (8, 40, 20, -1), (12, 25, 200, 2),
                                (12, 25, 200, 3), (3, 60, 20, 1)]:
        pairs.append([np.clip(draw.normal(bins / 2 + move, bins / 6, n), 0, bins - 1).astype(int)
                      for n, move in [(n1, shift), (n0, 0)]])
    out = []
    for first, second in pairs:
        bins = int(max(max(first), max(second))) + 1
        counts = [np.bincount(arm, minlength=bins).tolist() for arm in (first, second)]
        want = exact_mann_whitney_p(*counts)
        if len({*first, *second}) == len(first) + len(second):
            # SciPy knows the exact value only without ties.
            theirs = stats.mannwhitneyu(first, second, alternative="greater", method="exact").pvalue
            close(theirs, want, 1e-12, "mannwhitneyu, exact")
        approximate = stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic").pvalue
        out.append({"first": counts[0], "second": counts[1], "p": text(want), "asymptotic": text(approximate)})
    return out


def holm():
    out = []
    for p in [[0.01], [0.04, 0.03], [0.01, 0.04, 0.03, 0.005], [0.2, 0.0, 1.0], [0.5, 0.5, 0.5], [0.02, 0.02, 0.9]]:
        order = sorted(range(len(p)), key=lambda i: p[i])
        adjusted, largest = [None] * len(p), mp.mpf(0)
        for rank, i in enumerate(order):
            largest = max(largest, min(mp.mpf(1), (len(p) - rank) * mp.mpf(p[i])))
            adjusted[i] = largest
        # Its closed test: the largest Bonferroni value of all subsets that the hypothesis is in.
        for i in range(len(p)):
            sizes = range(1, len(p) + 1)
            subsets = [s for size in sizes for s in itertools.combinations(range(len(p)), size) if i in s]
            closed = max(min(mp.mpf(1), len(s) * min(mp.mpf(p[j]) for j in s)) for s in subsets)
            close(closed, adjusted[i], 1e-30, "closed testing")
        out.append({"p": p, "adjusted": texts(adjusted)})
    return out


def main():
    makers = [stirling, deviances, binomials, hypergeometric, likelihood_ratios, upper_tail, fisher, event_tail,
              event_counts, mixture, one_sample, projection, health, excess, design_effect, sample_ratio, needed, mann_whitney,
              mann_whitney_exact, holm]
    names = {"deviances": "deviance", "binomials": "binomial"}
    tables = {names.get(make.__name__, make.__name__): make() for make in makers}
    lines = []
    for name, rows in tables.items():
        body = ",\n".join("    " + json.dumps(row, separators=(",", ":")) for row in rows)
        lines.append(f'  "{name}": [\n{body}\n  ]')
    path = pathlib.Path(__file__).with_name("stats.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(path, {name: len(rows) for name, rows in tables.items()})


if __name__ == "__main__":
    main()
