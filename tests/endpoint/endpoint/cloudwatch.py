"""CloudWatch of our own: moto compares no namespace here, knows no percentile and never pages."""

import base64
import hashlib
import itertools
import re
import threading
import time

from .distribution import ZERO, Distribution, bin_of, bounds, middle
from .errors import AwsError, ControlError, not_emulated
from .statistic import parse
from .instant import Instant
from .wire import compact

MINUTE = 60
MAX_QUERIES, MAX_DATAPOINTS = 500, 100_800
QUERY_ID = re.compile(r"[a-z][a-zA-Z0-9_]{0,254}")


class Point:
    """What the store keeps of one metric in one period. Never changed, only replaced, so answers may be cached."""

    def __init__(self, total, count, low, high, bins=None):
        self.sum, self.count, self.low, self.high, self.bins = float(total), float(count), float(low), float(high), bins
        self.distribution = Distribution(bins, self.low, self.high) if bins else None
        self._answers = {}

    @classmethod
    def of_values(cls, pairs):
        """Raw (value, count) pairs. One negative value and CloudWatch has no percentiles."""
        pairs = [(v, c) for v, c in pairs if c > 0]
        values = [v for v, _ in pairs]
        bins = None if min(values) < 0 else {}
        for value, count in pairs if bins is not None else ():
            key = bin_of(value)
            bins[key] = bins.get(key, 0) + count
        return cls(sum(v * c for v, c in pairs), sum(c for _, c in pairs), min(values), max(values), bins)

    @classmethod
    def of_statistics(cls, total, count, low, high):
        """A statistic set has no distribution, unless all its samples must be equal."""
        return cls.of_values([(low, count)]) if low == high >= 0 else cls(total, count, low, high)

    @classmethod
    def of_bins(cls, bins, total=None, low=None, high=None):
        """Counts per bin; unless told, the outermost samples lie on their bins' outer edges, so nothing is clipped."""
        keys = sorted(k for k in bins if k != ZERO)
        lowest, highest = (ZERO if ZERO in bins else keys[0]), (keys[-1] if keys else ZERO)
        total = sum(c * middle(k) for k, c in bins.items()) if total is None else total
        low = bounds(lowest)[0] if low is None else low
        return cls(total, sum(bins.values()), low, bounds(highest)[1] if high is None else high, bins)

    @classmethod
    def merged(cls, points):
        """Several points of one metric as one: more data in a minute, or minutes in a longer period."""
        if len(points) == 1:
            return points[0]
        bins = {} if all(p.bins for p in points) else None
        for point in points if bins is not None else ():
            for key, count in point.bins.items():
                bins[key] = bins.get(key, 0) + count
        low, high = min(p.low for p in points), max(p.high for p in points)
        return cls(sum(p.sum for p in points), sum(p.count for p in points), low, high, bins)

    def answer(self, stat):
        if stat not in self._answers:
            self._answers[stat] = parse(stat)(self)
        return self._answers[stat]


class Store:
    """All metrics: {(namespace, name, dimensions): {minute: Point}}."""

    def __init__(self):
        self.lock = threading.Lock()
        self.secret = hashlib.sha256(str(time.time_ns()).encode()).hexdigest()  # tokens of another endpoint are invalid here
        self.series = {}

    def reset(self):
        with self.lock:
            self.series = {}

    def handle(self, call, faults=()):
        operations = {"GetMetricData": self.get_metric_data, "PutMetricData": self.put_metric_data, "ListMetrics": self.list_metrics}
        if call.operation not in operations:
            raise not_emulated(f"cloudwatch {call.operation}")
        if call.operation == "GetMetricData":
            return self.get_metric_data(call.params, faults)
        return operations[call.operation](call.params)

    def put(self, key, minute, point, add=True):
        """Add to the minute as PutMetricData does, or replace it as a late correction does."""
        points = self.series.setdefault(key, {})
        points[minute] = Point.merged([points[minute], point]) if add and minute in points else point

    # -- operations ---------------------------------------------------------------------------------------------

    def put_metric_data(self, params):
        namespace, data = params.get("Namespace") or "", params.get("MetricData") or []
        if not namespace or namespace.startswith("AWS/"):
            raise AwsError("InvalidParameterValue", f"The value {namespace} for parameter Namespace is invalid.")
        if not data or len(data) > 1000:
            raise AwsError("InvalidParameterValue", "MetricData must hold between 1 and 1000 data.")
        points = [(series_key(namespace, d["MetricName"], d.get("Dimensions")), _minute(d), _datum_point(d)) for d in data]
        with self.lock:
            for key, minute, point in points:
                self.put(key, minute, point)
        return {}

    def list_metrics(self, params):
        wanted = {(d["Name"], d.get("Value")) for d in params.get("Dimensions") or []}
        with self.lock:
            keys = sorted(self.series, key=lambda k: (k[0], k[1], sorted(k[2])))
        found = [
            {"Namespace": ns, "MetricName": name, "Dimensions": [{"Name": n, "Value": v} for n, v in sorted(dims)]}
            for ns, name, dims in keys
            if params.get("Namespace") in (None, ns) and params.get("MetricName") in (None, name)
            and all(any(n == dn and v in (None, dv) for dn, dv in dims) for n, v in wanted)
        ]
        return {"Metrics": found}

    def get_metric_data(self, params, faults=()):
        request = Request(params)
        offset = self._offset(request, params.get("NextToken"))
        request.size = min([request.size, *(fault.size for fault in faults if fault.kind == "pages")])
        with self.lock:
            found = [self._points(request, q) for q in request.queries]
        results, end, total = page(request, found, offset)
        out = {"MetricDataResults": results, "Messages": []}
        if end < total:
            out["NextToken"] = self._token(request, end)
        for fault in (fault for fault in faults if fault.kind != "pages"):
            spoil(out, fault, request)
        return out

    def _points(self, request, query):
        """(period start, value) in the order asked for. A period without a point, or without the statistic, is absent."""
        minutes = self.series.get(query.key, {})
        periods = {}
        for minute in minutes:
            if request.first(query.period) <= minute < request.end:
                periods.setdefault(minute // query.period * query.period, []).append(minutes[minute])
        answers = ((start, Point.merged(periods[start]).answer(query.stat)) for start in sorted(periods, reverse=request.descending))
        return [(start, value) for start, value in answers if value is not None]

    # -- paging -------------------------------------------------------------------------------------------------

    def _token(self, request, offset):
        text = f"{offset}.{self._seal(request, offset)}"
        return base64.urlsafe_b64encode(text.encode()).decode()

    def _offset(self, request, token):
        if token is None:
            return 0
        try:
            offset, seal = base64.urlsafe_b64decode(token.encode()).decode().split(".")
            if seal == self._seal(request, int(offset)):
                return int(offset)
        except ValueError:
            pass
        raise AwsError("InvalidNextToken", "The next token specified is invalid.")

    def _seal(self, request, offset):
        return hashlib.sha256(f"{self.secret}{offset}{request.identity}".encode()).hexdigest()[:24]


class Query:
    def __init__(self, raw):
        stat = raw.get("MetricStat")
        if raw.get("Expression") is not None:
            raise not_emulated("metric math in GetMetricData")
        if not stat:
            raise AwsError("ValidationError", f"Exactly one of MetricStat and Expression is needed in {raw.get('Id')}.")
        for gap in ("Unit", "AccountId"):
            if stat.get(gap) or raw.get(gap):
                raise not_emulated(f"{gap} in GetMetricData")
        metric = stat.get("Metric") or {}
        self.id, self.period, self.stat = raw.get("Id") or "", int(stat.get("Period") or 0), stat.get("Stat") or ""
        self.key = series_key(metric.get("Namespace"), metric.get("MetricName"), metric.get("Dimensions"))
        self.label = raw.get("Label") or metric.get("MetricName")
        self.returned = raw.get("ReturnData") is not False
        if not QUERY_ID.fullmatch(self.id):
            raise AwsError("ValidationError", f"The value {self.id} for parameter MetricDataQueries.member.N.Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.")
        if self.period <= 0 or self.period % MINUTE:
            raise AwsError("ValidationError", f"The value {self.period} for parameter Period must be a multiple of 60.")
        parse(self.stat)


class Request:
    """A checked GetMetricData request."""

    def __init__(self, params):
        raw = params.get("MetricDataQueries") or []
        if not 1 <= len(raw) <= MAX_QUERIES:
            raise AwsError("ValidationError", f"The collection MetricDataQueries must have a size between 1 and {MAX_QUERIES}.")
        queries = [Query(q) for q in raw]
        if len({q.id for q in queries}) < len(queries):
            raise AwsError("ValidationError", "The values for parameter id in MetricDataQueries are not unique.")
        self.queries = [q for q in queries if q.returned]
        if not self.queries:
            raise AwsError("ValidationError", "At least one query must have ReturnData set to true.")
        self.start, self.end = _time(params, "StartTime"), _time(params, "EndTime")
        if self.start >= self.end:
            raise AwsError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
        self.size = int(params.get("MaxDatapoints") or MAX_DATAPOINTS)
        if not 1 <= self.size <= MAX_DATAPOINTS:
            raise AwsError("ValidationError", f"The value {self.size} for parameter MaxDatapoints is not between 1 and {MAX_DATAPOINTS}.")
        scan = params.get("ScanBy") or "TimestampDescending"
        if scan not in ("TimestampAscending", "TimestampDescending"):
            raise AwsError("ValidationError", f"The value {scan} for parameter ScanBy is invalid.")
        self.descending = scan == "TimestampDescending"
        self.identity = compact({k: v for k, v in params.items() if k not in ("NextToken", "MaxDatapoints")})

    def first(self, period):
        """Periods lie on the clock: the first one is the one that holds StartTime."""
        return self.start // period * period


def page(request, found, offset):
    """One page of results, by position in the row of all points of all queries; also its end and the row's length.

    The first page names every query; a later one only those it has points of. A query whose points the page's end
    cuts off, some or all, is PartialData: the caller must go on to the last page to know.
    """
    results, position, end = [], 0, offset + request.size
    for query, points in zip(request.queries, found):
        mine = points[max(0, offset - position) : max(0, end - position)]
        position += len(points)
        if mine or offset == 0:
            status = "Complete" if position <= end or not points else "PartialData"
            results.append({"Id": query.id, "Label": query.label, "Timestamps": [Instant(t) for t, _ in mine],
                            "Values": [v for _, v in mine], "StatusCode": status})
    return results, end, position


def spoil(out, fault, request):
    """Make a good answer the kind of half answer that CloudWatch gives with HTTP 200."""
    if fault.kind == "call_messages":
        out["Messages"] += fault.messages
        return
    queries = {q.id: q for q in request.queries}
    for result in out["MetricDataResults"]:
        query = queries[result["Id"]]
        names = [query.id, query.key[1], query.stat, *itertools.chain(*query.key[2])]
        if fault.where and not any(fault.where in name for name in names):
            continue
        keep = fault.keep if fault.keep is not None else len(result["Values"]) // 2 if fault.status_code == "PartialData" else 0
        result["Timestamps"], result["Values"] = result["Timestamps"][:keep], result["Values"][:keep]
        result["StatusCode"] = fault.status_code
        if fault.messages:
            result["Messages"] = fault.messages


def series_key(namespace, name, dimensions):
    """CloudWatch matches the exact set of dimensions, whatever their order."""
    return namespace, name, frozenset((d["Name"], d["Value"]) for d in dimensions or [])


def _time(params, name):
    if params.get(name) is None:
        raise AwsError("ValidationError", f"The parameter {name} is required.")
    return float(params[name])


def _minute(datum):
    return int(float(datum.get("Timestamp") or time.time()) // MINUTE * MINUTE)


def _datum_point(datum):
    if stats := datum.get("StatisticValues"):
        numbers = [float(stats[k]) for k in ("Sum", "SampleCount", "Minimum", "Maximum")]
        _finite(datum, numbers)
        return Point.of_statistics(*numbers)
    values = datum["Values"] if datum.get("Values") else [datum.get("Value")]
    counts = datum.get("Counts") or [1] * len(values)
    if None in values or len(values) != len(counts) or len(values) > 150:
        raise AwsError("InvalidParameterCombination", f"{datum.get('MetricName')} needs Value, StatisticValues, or up to 150 Values with as many Counts.")
    _finite(datum, values)
    return Point.of_values([(float(v), float(c)) for v, c in zip(values, counts)])


def _finite(datum, numbers):
    if any(not abs(float(v)) < 2**360 for v in numbers):
        raise AwsError("InvalidParameterValue", f"The value of {datum.get('MetricName')} must be a number between -2^360 and 2^360.")


# -- what tests publish through the control plane ---------------------------------------------------------------


def publish(store, items):
    """Bulk publish, correct and delete; all or nothing, so that a typing error leaves no half-filled store."""
    changes = [_change(item) for item in items]
    with store.lock:
        for key, minute, point, add in changes:
            if point is None:
                store.series.get(key, {}).pop(minute, None)
            else:
                store.put(key, minute, point, add)
    return {"points": len(changes)}


FIELDS = {"namespace", "name", "dimensions", "minute", "value", "sum", "count", "min", "max", "values", "counts", "bins", "delete", "replace"}


def _change(item):
    if unknown := set(item) - FIELDS:
        raise ControlError(f"metric with unknown fields {sorted(unknown)}")
    key = item["namespace"], item["name"], frozenset(item.get("dimensions", {}).items())
    minute = _parse_minute(item["minute"])
    point = None if item.get("delete") else _published_point(item)
    return key, minute, point, not item.get("replace", False)


def _published_point(item):
    if "bins" in item:
        bins = {ZERO if k == ZERO else int(k): c for k, c in item["bins"].items() if c}
        if not bins:
            raise ControlError("bins without a sample: leave the point out, for CloudWatch has none then")
        return Point.of_bins(bins, item.get("sum"), item.get("min"), item.get("max"))
    if "values" in item:
        return Point.of_values(list(zip(item["values"], item.get("counts") or [1] * len(item["values"]), strict=True)))
    if "value" in item:
        return Point.of_values([(item["value"], 1)])
    if "sum" in item and "count" in item:
        mean = item["sum"] / item["count"]
        return Point.of_statistics(item["sum"], item["count"], item.get("min", mean), item.get("max", mean))
    raise ControlError("a metric needs value, sum and count, values, bins or delete")


def _parse_minute(text):
    seconds = Instant.parse(text)
    if seconds % MINUTE:
        raise ControlError(f"{text} is not a whole minute")
    return int(seconds)


def dump(store, namespace=None):
    """Every stored point, for tests of what the function itself published."""
    with store.lock:
        return [
            {"namespace": ns, "name": name, "dimensions": dict(dims), "minute": Instant(minute).rfc3339(),
             "sum": p.sum, "count": p.count, "min": p.low, "max": p.high}
            for (ns, name, dims), points in in_order(store.series) if namespace in (None, ns)
            for minute, p in sorted(points.items())
        ]


def in_order(series):
    return sorted(series.items(), key=lambda item: (item[0][0], item[0][1], sorted(item[0][2])))
