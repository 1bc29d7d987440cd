"""The model of CloudWatch's stored distributions: log-bins 1.1 wide, clipped to the minimum and maximum.

AWS publishes no algorithm. This one reproduces 27 native answers (`check.py` holds them); range statistics are
linear inside a bin, percentiles geometric. Sums inside a bin (TS, TM, WM) assume the same even spread and have
no native value to be held against.
"""

import bisect
import itertools
import math

BASE = 1.1
LN_BASE = math.log(BASE)
ZERO = "zero"


def bin_of(value: float):
    """The bin that holds `value`; a value on an edge 1.1^k belongs to the bin above it."""
    return ZERO if value == 0 else math.floor(math.log(value) / LN_BASE + 1e-12)


def bounds(key) -> tuple[float, float]:
    return (0.0, 0.0) if key == ZERO else (BASE**key, BASE ** (key + 1))


def middle(key) -> float:
    lo, hi = bounds(key)
    return math.sqrt(lo * hi)


class Distribution:
    """Read-only view of {bin: count} between a minimum and a maximum."""

    def __init__(self, bins: dict, low: float, high: float):
        ordered = sorted(bins, key=lambda k: -math.inf if k == ZERO else k)
        edges = [bounds(k) for k in ordered]
        self.lows = [max(lo, low) for lo, _ in edges]
        self.highs = [min(hi, high) for _, hi in edges]
        self.counts = [float(bins[k]) for k in ordered]
        self.cumulated = [0.0, *itertools.accumulate(self.counts)]
        self.total = self.cumulated[-1]

    def count_to(self, x: float) -> float:
        """Samples at most `x`."""
        i = bisect.bisect_right(self.highs, x)
        return self.cumulated[i] + self._part(i, x)

    def sum_to(self, x: float) -> float:
        """Sum of the samples at most `x`, each bin's mass spread evenly over the bin."""
        i = bisect.bisect_right(self.highs, x)
        whole = sum(self.counts[j] * (self.lows[j] + self.highs[j]) / 2 for j in range(i))
        part = self._part(i, x)
        return whole + (part * (self.lows[i] + x) / 2 if part else 0.0)

    def percentile(self, percent: float) -> float:
        rank, seen = percent / 100 * self.total, 0.0
        for lo, hi, count in zip(self.lows, self.highs, self.counts):
            if rank <= seen + count + 1e-12:
                return lo * (hi / lo) ** ((rank - seen) / count) if lo > 0 else 0.0
            seen += count
        return self.highs[-1]

    def _part(self, i: int, x: float) -> float:
        """The share of bin `i` that lies below `x`."""
        if i >= len(self.counts) or x <= self.lows[i]:
            return 0.0
        return self.counts[i] * (x - self.lows[i]) / (self.highs[i] - self.lows[i])
