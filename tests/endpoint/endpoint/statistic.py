"""The grammar of CloudWatch statistics and what each yields for one period."""

import functools
import math
import re

from .distribution import Distribution
from .errors import AwsError

NUMBER = r"\d+(?:\.\d{1,10})?"  # CloudWatch refuses an eleventh decimal
SINGLE = re.compile(rf"(p|tm|wm|tc|ts)({NUMBER})")
PAIR = re.compile(rf"(PR|TM|WM|TC|TS)\(({NUMBER}%?)?:({NUMBER}%?)?\)")


def plain(point, name):
    if name == "Average":
        return point.sum / point.count
    return {"Sum": point.sum, "SampleCount": point.count, "Minimum": point.low, "Maximum": point.high}[name]


@functools.lru_cache(maxsize=4096)
def parse(stat: str):
    """A function of a `Point` that returns the value, or None where the point has no such statistic."""
    if stat in ("Sum", "Average", "SampleCount", "Minimum", "Maximum"):
        return lambda point: plain(point, stat)
    if stat == "IQM":
        return _ranged("TM", "25%", "75%")
    if m := SINGLE.fullmatch(stat):
        kind, percent = m[1], float(m[2])
        if percent > 100:
            raise _invalid(stat)
        if kind == "p":
            return lambda point: point.distribution and point.distribution.percentile(percent)
        return _ranged(kind.upper(), None, f"{percent}%")
    if m := PAIR.fullmatch(stat):
        _check_pair(stat, *m.groups())
        return _ranged(*m.groups())
    raise _invalid(stat)


def _check_pair(stat, kind, low, high):
    given = [b for b in (low, high) if b]
    percents = [b for b in given if b.endswith("%")]
    numbers = [float(b.rstrip("%")) for b in given]
    mixed = percents and len(percents) != len(given)
    if not given or mixed or (percents and (kind == "PR" or max(numbers) > 100)) or numbers != sorted(set(numbers)):
        raise _invalid(stat)


def _invalid(stat):
    return AwsError("ValidationError", f"The value {stat} for parameter MetricDataQueries.member.N.MetricStat.Stat is not a valid statistic.")


def _ranged(kind, low, high):
    def value(point):
        d = point.distribution
        return d and _range_value(kind, d, _bound(d, low, -math.inf), _bound(d, high, math.inf), low, high)

    return value


def _bound(d: Distribution, text, open_end):
    if not text:
        return open_end
    return d.percentile(float(text[:-1])) if text.endswith("%") else float(text)


def _range_value(kind, d, lo, hi, low, high):
    below = _share(d, low, 0.0) if (low or "").endswith("%") else d.count_to(lo)
    upto = _share(d, high, 100.0) if (high or "").endswith("%") else d.count_to(hi)
    count = upto - below
    if kind == "TC":
        return count
    if kind == "PR":
        return 100.0 * count / d.total
    total = d.sum_to(hi) - d.sum_to(lo)
    if kind == "TS":
        return total
    if kind == "TM":
        return total / count if count else None
    outside = (below * lo if below else 0.0) + ((d.total - upto) * hi if upto < d.total else 0.0)
    return (total + outside) / d.total  # WM


def _share(d, text, default):
    return d.total * (float(text[:-1]) if text else default) / 100
