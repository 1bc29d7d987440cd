"""Checks the endpoint itself, over HTTP, with boto3 and hand-made CBOR: python check.py [--time]

The canary-gate tests believe what the endpoint answers, so the endpoint needs a test of its own.
"""

import contextlib
import datetime
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import boto3
import cbor2
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

HERE = os.path.dirname(os.path.abspath(__file__))
SCOPE = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
T0 = 1_767_225_600  # 2026-01-01T00:00:00Z
TABLE = {
    "TableName": "state", "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}],
}
OIDC = {"Type": "authenticate-oidc", "AuthenticateOidcConfig": {
    "Issuer": "https://idp.example", "AuthorizationEndpoint": "https://idp.example/a", "TokenEndpoint": "https://idp.example/t",
    "UserInfoEndpoint": "https://idp.example/u", "ClientId": "id", "ClientSecret": "s3cr3t", "Scope": "openid",
    "SessionTimeout": 3600, "AuthenticationRequestExtraParams": {"display": "page"}}}
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


# -- talking to the endpoint -------------------------------------------------------------------------------------

PORT = 0


def request(method, path, body=b"", headers=None, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def control(method, path, body=None, status=200):
    got, _, text = request(method, f"/_endpoint/{path}", json.dumps(body) if body is not None else b"")
    assert got == status, f"{method} {path}: {got} {text!r}"
    return json.loads(text)


def client(service, attempts=1):
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=10)
    return boto3.client(service, region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{PORT}",
                        aws_access_key_id="AK", aws_secret_access_key="SK", config=config)


def cbor(operation, params):
    headers = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor", "authorization": SCOPE.format("monitoring")}
    path = f"/service/GraniteServiceVersion20100801/operation/{operation}"
    status, headers, body = request("POST", path, cbor2.dumps(params), headers)
    assert headers["smithy-protocol"] == "rpc-v2-cbor" and headers["Content-Type"] == "application/cbor", headers
    return status, headers, cbor2.loads(body)


@contextlib.contextmanager
def refused(code, status=None):
    try:
        yield
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, f"{e.response['Error']} instead of {code}"
        assert status in (None, e.response["ResponseMetadata"]["HTTPStatusCode"]), e.response["ResponseMetadata"]
    else:
        raise AssertionError(f"accepted, should have been refused with {code}")


def near(a, b):
    assert abs(a - b) < 1e-6 * max(1, abs(b)), f"{a} is not {b}"


# -- CloudWatch --------------------------------------------------------------------------------------------------


def stamp(minute):
    return datetime.datetime.fromtimestamp(T0 + 60 * minute, datetime.timezone.utc)


def rfc(minute):
    return stamp(minute).strftime("%Y-%m-%dT%H:%M:%SZ")


def metric_query(identity, name, stat, namespace="T", dimensions=None, period=60, **more):
    dimensions = [{"Name": k, "Value": v} for k, v in (dimensions or {}).items()]
    return {"Id": identity, "MetricStat": {"Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions},
                                           "Period": period, "Stat": stat}, **more}


def ask(queries, first=0, end=10, **more):
    """Over CBOR; {id: {minute: value}} with the last page's status kept aside."""
    params = {"MetricDataQueries": queries, "StartTime": cbor2.CBORTag(1, float(T0 + 60 * first)), "EndTime": cbor2.CBORTag(1, T0 + 60 * end), **more}
    status, _, out = cbor("GetMetricData", params)
    assert status == 200, out
    return {r["Id"]: {(t.timestamp() - T0) / 60: v for t, v in zip(r["Timestamps"], r["Values"], strict=True)} for r in out["MetricDataResults"]}, out


def ask_one(name, stat, **more):
    return ask([metric_query("q", name, stat, **more)])[0]["q"]


def publish(*items):
    control("POST", "metrics", [{"namespace": "T", "minute": rfc(0), **i} for i in items])


NATIVE = {  # inputs as (value, count), and AWS's own answers to them (captured natively and published by the stackd emulator, testdata/aws/cloudwatch)
    "U": ([(i, 1) for i in range(1, 11)], {
        "PR(:2)": 12.6316236461413, "PR(:5)": 48.81456789507425, "PR(:10)": 100, "TC(2:10)": 8.73683763538587,
        "p1": 1.009576582776887, "p10": 1.1, "p25": 2.992374046230249, "p40": 4.177248169415655, "p50": 5.054470284992944,
        "p60": 6.115909044841463, "p75": 7.761447620208641, "p90": 9.849732675807628}),
    "T": ([(9.9, 1), (9.95, 1), (10, 1), (10.05, 1), (10.1, 1)], {
        "TC(2:10)": 2.5, "PR(:10)": 50.0, "p75": 10.049624364808057, "p90": 10.079819514511751}),
    "T2": ([(1.99, 1), (2, 2), (2.01, 1)], {"PR(:2)": 50.0}),
    "V": ([(1, 1), (3, 2), (7, 4), (11, 2), (23, 1)], {
        "PR(:2)": 10.0, "PR(:5)": 30.0, "PR(:10)": 70.0, "TC(2:10)": 6.0,
        "p25": 3.064531223605408, "p75": 11.095970673828651, "p90": 11.918176537727234}),
    "W": ([(2, 2), (10, 3)], {"p50": 9.874619498547638, "p10": 2.0349693249139893, "p90": 9.974797183077614}),
}


def native_check(name, values, stat, expected):
    def run():
        data = {"MetricName": name, "Timestamp": stamp(0), "Values": [float(v) for v, _ in values], "Counts": [float(c) for _, c in values]}
        client("cloudwatch").put_metric_data(Namespace="T", MetricData=[data])
        near(ask_one(name, stat)[0], expected)

    run.__name__ = f"native {name} {stat} = {expected}"
    return run


for metric, (samples, answers) in NATIVE.items():
    for statistic, number in answers.items():
        CHECKS.append(native_check(metric, samples, statistic, number))
assert len(CHECKS) == 27


@check
def cbor_request_and_answer():
    publish({"name": "n", "sum": 7, "count": 7})
    got, out = ask([metric_query("a", "n", "Sum"), metric_query("b", "n", "Average"), metric_query("c", "n", "Maximum")])
    assert got == {"a": {0: 7.0}, "b": {0: 1.0}, "c": {0: 1.0}}, got
    assert out["MetricDataResults"][0]["StatusCode"] == "Complete" and out["Messages"] == [] and "NextToken" not in out
    assert isinstance(out["MetricDataResults"][0]["Values"][0], float)


@check
def json_protocol_too():
    publish({"name": "n", "value": 3})
    out = client("cloudwatch").get_metric_data(MetricDataQueries=[metric_query("a", "n", "Sum")], StartTime=stamp(0), EndTime=stamp(1))
    assert out["MetricDataResults"][0]["Values"] == [3.0] and out["MetricDataResults"][0]["Timestamps"] == [stamp(0)], out


@check
def plain_statistics():
    publish({"name": "n", "values": [1, 2, 6], "counts": [1, 2, 1]})
    for stat, value in {"Sum": 11, "Average": 2.75, "SampleCount": 4, "Minimum": 1, "Maximum": 6}.items():
        near(ask_one("n", stat)[0], value)


@check
def start_is_inclusive_end_exclusive_and_zero_is_missing():
    for minute in range(5):
        publish({"name": "n", "value": minute, "minute": rfc(minute)})
    assert ask([metric_query("q", "n", "Sum")], 1, 3)[0]["q"] == {1: 1.0, 2: 2.0}
    got, out = ask([metric_query("q", "absent", "Sum")])
    assert got == {"q": {}} and out["MetricDataResults"][0]["StatusCode"] == "Complete", out


@check
def namespace_and_exact_dimensions():
    publish({"name": "n", "value": 1, "dimensions": {"A": "1", "B": "2"}})
    assert ask_one("n", "Sum", dimensions={"B": "2", "A": "1"}) == {0: 1.0}
    assert ask_one("n", "Sum", dimensions={"A": "1"}) == {} and ask_one("n", "Sum") == {}
    assert ask_one("n", "Sum", dimensions={"A": "1", "B": "2"}, namespace="U") == {}


@check
def long_periods_lie_on_the_clock():
    for minute in range(3, 12):
        publish({"name": "n", "values": [1.0], "minute": rfc(minute)})
    got, _ = ask([metric_query("q", "n", "SampleCount", period=300)], 3, 12)
    assert got["q"] == {0: 2.0, 5: 5.0, 10: 2.0}, got
    got, _ = ask([metric_query("q", "n", "p50", period=300)], 5, 10)
    near(got["q"][5], 1.0)


@check
def counts_at_bin_edges_are_exact():
    publish({"name": "n", "bins": {"-3": 10, "0": 5, "4": 2}})
    for k, count in {-3: 0, -2: 10, 0: 10, 1: 15, 4: 15, 5: 17}.items():
        near(ask_one("n", f"TC(:{1.1**k:.10f})").get(0), count)
    near(ask_one("n", f"TC({1.1**0:.10f}:)")[0], 7)
    near(ask_one("n", "SampleCount")[0], 17)
    near(ask_one("n", "Minimum")[0], 1.1**-3)


@check
def latency_and_own_metrics_are_counted_alike():
    group = {"LoadBalancer": "app/shop/1", "TargetGroup": "targetgroup/canary/2"}
    for metric in ({"namespace": "AWS/ApplicationELB", "name": "TargetResponseTime", "dimensions": group},
                   {"namespace": "Shop", "name": "Speed", "dimensions": {"Version": "v42"}}):
        publish({**metric, "values": [0.1, 1.1**-20, 1.1**-20 * 1.05, 0.2], "counts": [4, 2, 1, 3]}, {**metric, "bins": {"-24": 40, "-20": 2}, "minute": rfc(1)})

        def told(stat):
            return ask_one(metric["name"], stat, namespace=metric["namespace"], dimensions=metric["dimensions"])

        low, high = f"{1.1**-20:.10f}", f"{1.1**-19:.10f}"
        assert told("SampleCount") == {0: 10.0, 1: 42.0}, told("SampleCount")
        for stat, first, second in ((f"TC(:{low})", 4, 40), (f"TC({low}:)", 6, 2), (f"TC({low}:{high})", 3, 2), ("TC(:0.0000000001)", 0, 0), ("TC(:2000)", 10, 42),
                                    (f"TC(:{1.1**-20 * 1.05:.10f})", 5.5, 41)):
            got = told(stat)
            assert abs(got[0] - first) < 1e-6 and abs(got[1] - second) < 1e-6, (stat, got)
        assert told("p99")[0] <= 0.2 and told("p10")[0] >= 0.1, "clipped to what there was"


@check
def bins_may_hold_zero_and_a_known_range():
    publish({"name": "n", "bins": {"zero": 3, "0": 1}, "sum": 1.05, "max": 1.05})
    near(ask_one("n", "TC(:0.5)")[0], 3)
    near(ask_one("n", "Maximum")[0], 1.05)
    near(ask_one("n", "Sum")[0], 1.05)
    near(ask_one("n", "p10")[0], 0)


@check
def trimmed_and_winsorised():
    publish({"name": "n", "values": [1, 100]})
    near(ask_one("n", "TS(:2)")[0], 1.05)  # one sample, evenly spread over the bin [1, 1.1]
    near(ask_one("n", "TM(:2)")[0], 1.05)
    near(ask_one("n", "TC(10%:90%)")[0], 1.6)
    near(ask_one("n", "tc50")[0], 1)
    near(ask_one("n", "WM(:2)")[0], (1.05 + 2) / 2)
    for stat in ("IQM", "tm90", "wm90", "ts90", "TM(:99%)", "TM(10%:)"):
        assert 0 in ask_one("n", stat), stat


@check
def statistic_sets_have_no_percentiles():
    publish({"name": "n", "sum": 10, "count": 4, "min": 1, "max": 4}, {"name": "m", "sum": 8, "count": 4, "min": 2, "max": 2})
    assert ask_one("n", "p50") == {} and ask_one("n", "TC(:3)") == {} and ask_one("n", "Sum") == {0: 10.0}
    near(ask_one("m", "p50")[0], 2)
    publish({"name": "neg", "values": [-1, 2]})
    assert ask_one("neg", "p50") == {} and ask_one("neg", "Sum") == {0: 1.0}


@check
def more_data_adds_up_and_corrections_replace():
    publish({"name": "n", "values": [1]}, {"name": "n", "values": [5]})
    near(ask_one("n", "Sum")[0], 6)
    near(ask_one("n", "TC(:2)")[0], 1)
    publish({"name": "n", "values": [4], "replace": True})
    assert ask_one("n", "Sum") == {0: 4.0}
    publish({"name": "n", "delete": True})
    assert ask_one("n", "Sum") == {}


@check
def bad_queries_are_validation_errors():
    publish({"name": "n", "value": 1})
    good = metric_query("q", "n", "Sum")
    bad = [
        [good] * 2, [metric_query("Q", "n", "Sum")], [metric_query("1a", "n", "Sum")], [metric_query("", "n", "Sum")], [],
        [metric_query("q", "n", "Sum", period=30)], [metric_query("q", "n", "Sum", period=90)], [metric_query("q", "n", "Sum", period=0)],
        [metric_query(f"q{i}", "n", "Sum") for i in range(501)], [{"Id": "q"}],
        *([metric_query("q", "n", stat)] for stat in (
            "bogus", "sum", "p101", "p50.12345678901", "PR(1%:2%)", "PR(:)", "TC(1:50%)", "TC(5:2)", "TC(:)", "P50", "tc(1:2)", "TC(:-1)", "PR(:1.12345678901)")),
    ]
    for queries in bad:
        status, headers, out = cbor("GetMetricData", {"MetricDataQueries": queries, "StartTime": cbor2.CBORTag(1, T0), "EndTime": cbor2.CBORTag(1, T0 + 60)})
        assert status == 400 and out["__type"] == "ValidationError", (queries, status, out)
        assert headers["x-amzn-query-error"] == "ValidationError;Sender"
    assert len(ask([metric_query(f"q{i}", "n", "Sum") for i in range(500)])[0]) == 500
    for more in ({"EndTime": cbor2.CBORTag(1, T0)}, {"MaxDatapoints": 100_801}, {"ScanBy": "Up"}):
        params = {"MetricDataQueries": [good], "StartTime": cbor2.CBORTag(1, T0), "EndTime": cbor2.CBORTag(1, T0 + 60)} | more
        assert cbor("GetMetricData", params)[2]["__type"] == "ValidationError", more


@check
def gaps_are_loud():
    window = {"StartTime": cbor2.CBORTag(1, T0), "EndTime": cbor2.CBORTag(1, T0 + 60)}
    math = {"Id": "e", "Expression": "a+b"}
    status, _, out = cbor("GetMetricData", {"MetricDataQueries": [metric_query("a", "n", "Sum"), math], **window})
    assert (status, out["__type"]) == (400, "NotEmulated"), out
    status, _, out = cbor("DescribeAlarms", {})
    assert (status, out["__type"]) == (400, "NotEmulated"), out
    with refused("NotEmulated"):
        client("kinesis").list_streams()
    status, _, body = request("POST", "/", b"Action=Publish", {"content-type": "application/x-www-form-urlencoded"})
    assert status == 403 and b"MissingAuthenticationToken" in body


@check
def scan_order():
    for minute in (2, 0, 1):
        publish({"name": "n", "value": 1, "minute": rfc(minute)})
    query = [metric_query("q", "n", "Sum")]
    assert list(ask(query)[0]["q"]) == [2, 1, 0]
    assert list(ask(query, ScanBy="TimestampDescending")[0]["q"]) == [2, 1, 0]
    assert list(ask(query, ScanBy="TimestampAscending")[0]["q"]) == [0, 1, 2]


@check
def paging():
    for minute in range(5):
        publish({"name": "n", "value": minute + 1, "minute": rfc(minute)}, {"name": "m", "value": 10 * minute + 10, "minute": rfc(minute)})
    queries = [metric_query("n", "n", "Sum"), metric_query("empty", "nothing", "Sum"), metric_query("m", "m", "Sum")]
    whole, _ = ask(queries)
    found, status, more, pages = {}, {}, {}, 0
    while True:
        got, out = ask(queries, MaxDatapoints=3, **more)
        pages += 1
        for r in out["MetricDataResults"]:
            assert not found.get(r["Id"], {}).keys() & got[r["Id"]].keys()
            found.setdefault(r["Id"], {}).update(got[r["Id"]])
            status[r["Id"]] = r["StatusCode"]
        if "NextToken" not in out:
            break
        more = {"NextToken": out["NextToken"]}
    assert found == whole and pages == 4, (found, pages)
    assert status == {"n": "Complete", "empty": "Complete", "m": "Complete"}, status
    assert ask(queries, MaxDatapoints=3)[1]["MetricDataResults"][0]["StatusCode"] == "PartialData"
    token = ask(queries, MaxDatapoints=3)[1]["NextToken"]
    window = {"StartTime": cbor2.CBORTag(1, float(T0)), "EndTime": cbor2.CBORTag(1, T0 + 600)}
    for wrong in ({"MetricDataQueries": queries[:1], "NextToken": token}, {"MetricDataQueries": queries, "NextToken": "x" + token},
                  {"MetricDataQueries": queries, "NextToken": "garbage"}):
        status, _, out = cbor("GetMetricData", {**window, **wrong})
        assert (status, out["__type"]) == (400, "InvalidNextToken"), out
    pages = client("cloudwatch").get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=stamp(0), EndTime=stamp(10), MaxDatapoints=4)
    assert sum(len(r["Values"]) for p in pages for r in p["MetricDataResults"]) == 10


@check
def half_answers():
    for minute in range(4):
        publish({"name": "n", "value": 1, "minute": rfc(minute), "dimensions": {"TG": "canary"}}, {"name": "n", "value": 1, "minute": rfc(minute), "dimensions": {"TG": "stable"}})
    queries = [metric_query("c", "n", "Sum", dimensions={"TG": "canary"}), metric_query("s", "n", "Sum", dimensions={"TG": "stable"})]
    for status, keep, left in (("PartialData", None, 2), ("PartialData", 1, 1), ("InternalError", None, 0), ("Forbidden", None, 0)):
        control("POST", "faults", [{"op": "GetMetricData", "kind": "result", "where": "canary", "status_code": status, "keep": keep, "messages": [{"Code": "C", "Value": "V"}]}])
        got, out = ask(queries)
        c, s = out["MetricDataResults"]
        assert (c["StatusCode"], len(c["Values"]), c["Messages"]) == (status, left, [{"Code": "C", "Value": "V"}]), c
        assert (s["StatusCode"], len(s["Values"])) == ("Complete", 4) and "Messages" not in s
    control("POST", "faults", [{"op": "GetMetricData", "kind": "call_messages", "messages": [{"Code": "MaxMetricsExceeded", "Value": "V"}]}])
    assert ask(queries)[1]["Messages"] == [{"Code": "MaxMetricsExceeded", "Value": "V"}]
    assert ask(queries)[1]["Messages"] == []


@check
def put_and_list_metrics():
    cw = client("cloudwatch")
    cw.put_metric_data(Namespace="CanaryGate", MetricData=[
        {"MetricName": "Verdict", "Dimensions": [{"Name": "rollout", "Value": "r"}], "Timestamp": stamp(1), "Value": 2.0},
        {"MetricName": "Set", "Timestamp": stamp(1), "StatisticValues": {"Sum": 6, "SampleCount": 3, "Minimum": 1, "Maximum": 3}}])
    assert ask_one("Verdict", "Sum", namespace="CanaryGate", dimensions={"rollout": "r"}) == {1: 2.0}
    assert ask_one("Set", "Average", namespace="CanaryGate") == {1: 2.0}
    assert [m["MetricName"] for m in cw.list_metrics(Namespace="CanaryGate")["Metrics"]] == ["Set", "Verdict"]
    assert cw.list_metrics(Dimensions=[{"Name": "rollout"}])["Metrics"][0]["Dimensions"] == [{"Name": "rollout", "Value": "r"}]
    dumped = control("GET", "metrics?namespace=CanaryGate")
    assert dumped[1] == {"namespace": "CanaryGate", "name": "Verdict", "dimensions": {"rollout": "r"}, "minute": rfc(1), "sum": 2.0, "count": 1.0, "min": 2.0, "max": 2.0}, dumped
    with refused("InvalidParameterValue", 400):
        cw.put_metric_data(Namespace="AWS/ApplicationELB", MetricData=[{"MetricName": "n", "Value": 1}])
    with refused("InvalidParameterValue", 400):
        cw.put_metric_data(Namespace="T", MetricData=[{"MetricName": "n", "Value": float("nan")}])
    big = [{"MetricName": "n", "Timestamp": stamp(0), "Value": 1.0, "Dimensions": [{"Name": "long" * 10, "Value": f"{i}" * 20}]} for i in range(1000)]
    cw.put_metric_data(Namespace="Z", MetricData=big)  # large enough for the SDK to gzip it
    assert len(control("GET", "metrics?namespace=Z")) == 1000


# -- ELBv2 -------------------------------------------------------------------------------------------------------


def weights(elb, world, rule="rule_arn"):
    action = elb.describe_rules(RuleArns=[world[rule]])["Rules"][0]["Actions"][-1]
    names = {arn: name for name, arn in world["target_groups"].items()}
    return {names[g["TargetGroupArn"]]: g["Weight"] for g in action["ForwardConfig"]["TargetGroups"]}


def forward(world, **by_name):
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": world["target_groups"][n], "Weight": w} for n, w in by_name.items()]}}


@check
def seeded_rule_comes_back_whole():
    world = control("POST", "seed", {"target_groups": ["stable", "canary", "third"], "weights": {"stable": 90, "canary": 10, "third": 0},
                                     "stickiness": {"enabled": True, "duration_s": 3600}, "extra_actions": [OIDC]})
    rule = client("elbv2").describe_rules(RuleArns=[world["rule_arn"]])["Rules"][0]
    login, to = rule["Actions"]
    expected = {k: v for k, v in OIDC["AuthenticateOidcConfig"].items() if k != "ClientSecret"}
    assert (login["Type"], login["Order"], login["AuthenticateOidcConfig"]) == ("authenticate-oidc", 1, expected), login
    assert (to["Order"], to["ForwardConfig"]["TargetGroupStickinessConfig"]) == (2, {"Enabled": True, "DurationSeconds": 3600}), to
    assert weights(client("elbv2"), world) == {"stable": 90, "canary": 10, "third": 0} and "TargetGroupArn" not in to
    assert (rule["Priority"], rule["IsDefault"], rule["Conditions"][0]["Values"]) == ("10", False, ["/api/*"])
    # written back as it was read, with the secret kept by reference, nothing is lost
    login["AuthenticateOidcConfig"]["UseExistingClientSecret"] = True
    client("elbv2").modify_rule(RuleArn=world["rule_arn"], Actions=rule["Actions"])
    again = client("elbv2").describe_rules(RuleArns=[world["rule_arn"]])["Rules"][0]
    del login["AuthenticateOidcConfig"]["UseExistingClientSecret"]
    assert again == rule, (again, rule)
    with refused("ValidationError"):
        client("elbv2").modify_rule(RuleArn=world["rule_arn"], Actions=rule["Actions"])


@check
def weights_change_and_limits_hold():
    world, elb = control("POST", "seed", {"target_groups": ["stable", "canary", "c", "d", "e", "f"], "weights": {"stable": 1, "canary": 0}}), client("elbv2")

    def modify(action):
        elb.modify_rule(RuleArn=world["rule_arn"], Actions=[action])

    modify(forward(world, stable=999, canary=0))
    for wrong in (forward(world, stable=1000), forward(world, stable=-1)):
        with refused("ValidationError", 400):
            modify(wrong)
    with refused("TooManyTargetGroups", 400):
        modify(forward(world, stable=1, canary=1, c=1, d=1, e=1, f=1))
    for seconds in (0, 604_801):
        sticky = forward(world, stable=1)
        sticky["ForwardConfig"]["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": seconds}
        with refused("ValidationError", 400):
            modify(sticky)
    assert weights(elb, world) == {"stable": 999, "canary": 0}
    with refused("RuleNotFound"):
        elb.modify_rule(RuleArn=world["rule_arn"] + "0", Actions=[forward(world, stable=1)])
    with refused("TargetGroupNotFound"):
        modify({"Type": "forward", "TargetGroupArn": world["target_groups"]["stable"] + "0"})


@check
def default_rule_is_the_listeners():
    world, elb = control("POST", "seed", {}), client("elbv2")
    with refused("OperationNotPermitted", 400):
        elb.modify_rule(RuleArn=world["default_rule_arn"], Actions=[forward(world, stable=1)])
    action = elb.describe_rules(RuleArns=[world["default_rule_arn"]])["Rules"][0]["Actions"][0]
    stable = world["target_groups"]["stable"]
    assert action["TargetGroupArn"] == stable and action["ForwardConfig"] == {
        "TargetGroups": [{"TargetGroupArn": stable, "Weight": 1}], "TargetGroupStickinessConfig": {"Enabled": False}}, action
    elb.modify_listener(ListenerArn=world["listener_arn"], DefaultActions=[forward(world, stable=3, canary=1)])
    assert weights(elb, world, "default_rule_arn") == {"stable": 3, "canary": 1}
    rules = elb.describe_rules(ListenerArn=world["listener_arn"])["Rules"]
    assert [r["IsDefault"] for r in rules] == [False, True] and rules[1]["RuleArn"] == world["default_rule_arn"]


@check
def health_is_what_the_test_says():
    world, elb = control("POST", "seed", {}), client("elbv2")
    canary = world["target_groups"]["canary"]

    def states(**more):
        out = elb.describe_target_health(TargetGroupArn=canary, **more)["TargetHealthDescriptions"]
        return [(d["TargetHealth"]["State"], d["TargetHealth"].get("Reason")) for d in out]

    assert states() == [("healthy", None)] * 2
    control("POST", "health", {canary: [{"id": "10.0.0.1", "state": "healthy"}, {"id": "10.0.0.2", "state": "unhealthy", "reason": "Target.Timeout"}]})
    assert states() == [("healthy", None), ("unhealthy", "Target.Timeout")]
    assert states(Targets=[{"Id": "10.0.0.2"}, {"Id": "10.9.9.9"}]) == [("unhealthy", "Target.Timeout"), ("unused", "Target.NotRegistered")]
    control("POST", "health", {canary: []})
    assert states() == []
    control("POST", "health", {canary: None})
    assert states() == [("healthy", None)] * 2
    control("POST", "health", {canary: [{"id": "x", "state": "poorly"}]}, status=400)
    with refused("TargetGroupNotFound"):
        elb.describe_target_health(TargetGroupArn=canary + "0")


@check
def reads_lag_behind_writes():
    world, elb = control("POST", "seed", {}), client("elbv2")
    control("POST", "faults", [{"op": "ModifyRule", "kind": "lag", "reads": 2}])
    elb.modify_rule(RuleArn=world["rule_arn"], Actions=[forward(world, stable=75, canary=25)])
    seen = [weights(elb, world)["canary"] for _ in range(4)]
    assert seen == [0, 0, 25, 25], seen
    control("POST", "faults", [{"op": "ModifyListener", "kind": "lag"}])
    elb.modify_listener(ListenerArn=world["listener_arn"], DefaultActions=[forward(world, stable=1, canary=1)])
    assert [len(weights(elb, world, "default_rule_arn")) for _ in range(2)] == [1, 2]


@check
def writes_may_be_called_done_and_change_nothing():
    world, elb = control("POST", "seed", {}), client("elbv2")
    for answer, said in (("new", 25), ("old", 0)):
        control("POST", "faults", [{"op": "ModifyRule", "kind": "ignored", "answer": answer}])
        out = elb.modify_rule(RuleArn=world["rule_arn"], Actions=[forward(world, stable=75, canary=25)])
        assert out["Rules"][0]["RuleArn"] == world["rule_arn"]
        assert [g["Weight"] for g in out["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"]][1] == said, (answer, out)
        assert weights(elb, world) == {"stable": 100, "canary": 0}, answer
        control("POST", "faults", [{"op": "ModifyListener", "kind": "ignored", "answer": answer}])
        out = elb.modify_listener(ListenerArn=world["listener_arn"], DefaultActions=[forward(world, stable=3, canary=1)])
        told = out["Listeners"][0]["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        assert len(told) == (2 if answer == "new" else 1), (answer, told)
        assert weights(elb, world, "default_rule_arn") == {"stable": 1}, answer
        assert "ForwardConfig" in elb.describe_listeners(ListenerArns=[world["listener_arn"]])["Listeners"][0]["DefaultActions"][0]
    elb.modify_rule(RuleArn=world["rule_arn"], Actions=[forward(world, stable=75, canary=25)])
    assert weights(elb, world) == {"stable": 75, "canary": 25}, "only those that were ordered"


@check
def target_stickiness_needs_group_stickiness():
    world, elb = control("POST", "seed", {"stickiness": {"enabled": True, "duration_s": 60}}), client("elbv2")
    canary, on = world["target_groups"]["canary"], [{"Key": "stickiness.enabled", "Value": "true"}]

    def modify(enabled, **groups):
        action = forward(world, **groups)
        action["ForwardConfig"]["TargetGroupStickinessConfig"] = {"Enabled": enabled, "DurationSeconds": 60}
        elb.modify_rule(RuleArn=world["rule_arn"], Actions=[action])

    modify(False, stable=100, canary=0)
    with refused("InvalidConfigurationRequest", 400):
        elb.modify_target_group_attributes(TargetGroupArn=canary, Attributes=on)
    modify(True, stable=100, canary=0)
    elb.modify_target_group_attributes(TargetGroupArn=canary, Attributes=on)
    with refused("InvalidLoadBalancerAction", 400):
        modify(False, stable=100, canary=0)
    modify(True, stable=90, canary=10)
    modify(False, stable=100)
    assert weights(elb, world) == {"stable": 100}


# -- the other services ------------------------------------------------------------------------------------------


@check
def conditional_writes_do_not_race():
    """On an endpoint that changes threads all the time: at Python's usual pace even an unlocked moto mostly gets away."""
    global PORT
    usual, (process, PORT) = PORT, start("--exit-with-stdin", program=RESTLESS)
    try:
        race()
    finally:
        PORT = usual
        process.kill()
        process.wait()


def race():
    control("POST", "seed", {"table": TABLE})
    key = {"pk": {"S": "r"}, "sk": {"S": "state"}}
    client("dynamodb").put_item(TableName="state", Item={**key, "version": {"N": "0"}})
    wins = []

    def bump():
        """By hand, not boto3, whose own work would keep the calls from meeting in the endpoint."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT)

        def call(operation, params):
            headers = {"x-amz-target": f"DynamoDB_20120810.{operation}", "content-type": "application/x-amz-json-1.0", "authorization": SCOPE.format("dynamodb")}
            connection.request("POST", "/", json.dumps({"TableName": "state", "Key": key, **params}), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

        for _ in range(60):
            version = call("GetItem", {"ConsistentRead": True})[1]["Item"]["version"]["N"]
            status, out = call("UpdateItem", {
                "UpdateExpression": "SET version = :n", "ConditionExpression": "version = :v",
                "ExpressionAttributeValues": {":n": {"N": str(int(version) + 1)}, ":v": {"N": version}}})
            assert status == 200 or out["__type"].endswith("ConditionalCheckFailedException"), out
            if status == 200:
                wins.append(version)

    threads = [threading.Thread(target=bump) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    final = int(client("dynamodb").get_item(TableName="state", Key=key)["Item"]["version"]["N"])
    assert len(wins) == final == len(set(wins)) and final >= 60, (len(wins), final)


@check
def conditions_and_transactions():
    control("POST", "seed", {"table": TABLE})
    ddb = client("dynamodb")
    key = {"pk": {"S": "r"}, "sk": {"S": "a"}}
    once = {"TableName": "state", "Item": {**key, "x": {"N": "1"}}, "ConditionExpression": "attribute_not_exists(pk)"}
    ddb.put_item(**once)
    try:
        ddb.put_item(**once, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        raise AssertionError("accepted twice")
    except ddb.exceptions.ConditionalCheckFailedException as e:
        assert e.response["Item"]["x"] == {"N": "1"}, e.response
    writes = [{"Put": {**once, "Item": {**key, "sk": {"S": "b"}}}}, {"Put": {"TableName": "state", "Item": {**key, "sk": {"S": "c"}}}}]
    ddb.transact_write_items(TransactItems=writes, ClientRequestToken="token-1")
    ddb.transact_write_items(TransactItems=writes, ClientRequestToken="token-1")  # a retry: the first answer again
    with refused("IdempotentParameterMismatchException"):
        ddb.transact_write_items(TransactItems=writes[:1], ClientRequestToken="token-1")
    with refused("TransactionCanceledException"):
        ddb.transact_write_items(TransactItems=writes, ClientRequestToken="token-2")
    found = ddb.query(TableName="state", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "r"}})["Items"]
    assert [i["sk"]["S"] for i in found] == ["a", "b", "c"]


@check
def a_retry_after_a_lost_answer_finds_its_transaction_done():
    control("POST", "seed", {"table": TABLE})
    control("POST", "faults", [{"op": "TransactWriteItems", "code": "InternalServerError", "status": 500, "when": "after"}])
    item = {"pk": {"S": "r"}, "sk": {"S": "once"}}
    put = {"Put": {"TableName": "state", "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}
    client("dynamodb", attempts=3).transact_write_items(TransactItems=[put], ClientRequestToken="t")
    assert [e["status"] for e in control("GET", "journal?operation=TransactWriteItems")] == [500, 200]


@check
def pages_arrive_in_the_queue():
    world, sns = control("POST", "seed", {}), client("sns")
    sns.publish(TopicArn=world["topic_arn"], Subject="Drained", Message='{"a":1}', MessageAttributes={"severity": {"DataType": "String", "StringValue": "page"}})
    (got,) = control("GET", f"messages?queue={world['queue_url']}")
    assert (got["Subject"], got["Message"], got["MessageAttributes"]["severity"]["Value"]) == ("Drained", '{"a":1}', "page"), got
    (entry,) = control("GET", "journal?service=sns")
    assert entry["params"]["MessageAttributes"]["severity"]["StringValue"] == "page", entry
    (sqs_got,) = client("sqs").receive_message(QueueUrl=world["queue_url"])["Messages"]
    assert json.loads(sqs_got["Body"])["Subject"] == "Drained"
    with refused("InvalidParameter"):
        sns.publish(TopicArn=world["topic_arn"], Message="x" * 262_145)
    forms = json.dumps({"default": "for people", "sqs": '{"b":2}'})
    sns.publish(TopicArn=world["topic_arn"], Message=forms, MessageStructure="json")
    assert control("GET", f"messages?queue={world['queue_url']}")[-1]["Message"] == '{"b":2}'
    assert control("GET", f"published?topic={world['topic_arn']}") == ['{"a":1}', forms]
    with refused("InvalidParameter"):
        sns.publish(TopicArn=world["topic_arn"], Message='{"sqs":"no default"}', MessageStructure="json")


@check
def codedeploy_hooks():
    control("POST", "deployments", [{"id": "d-ABC123DEF", "hooks": ["h1", "h2"], "info": {"applicationName": "shop"}}, {"id": "d-DONE", "status": "Succeeded"}])
    cd = client("codedeploy")

    def put(hook="h1", status="Succeeded", deployment="d-ABC123DEF"):
        cd.put_lifecycle_event_hook_execution_status(deploymentId=deployment, lifecycleEventHookExecutionId=hook, status=status)

    with refused("InvalidLifecycleEventHookExecutionStatusException", 400):
        put(status="InProgress")
    with refused("InvalidLifecycleEventHookExecutionIdException"):
        put(hook="other")
    with refused("DeploymentDoesNotExistException"):
        put(deployment="d-NOSUCH")
    with refused("InvalidDeploymentIdException"):
        put(deployment="nonsense!")
    put()
    with refused("LifecycleEventAlreadyCompletedException"):
        put(status="Failed")
    put(hook="h2", status="Failed")
    assert cd.get_deployment(deploymentId="d-ABC123DEF")["deploymentInfo"]["applicationName"] == "shop"
    assert cd.stop_deployment(deploymentId="d-ABC123DEF", autoRollbackEnabled=True)["status"] == "Succeeded"
    with refused("DeploymentAlreadyCompletedException"):
        cd.stop_deployment(deploymentId="d-DONE")
    hooks = control("GET", "hooks")
    assert [(a["hook_id"], a["status"]) for a in hooks["answers"]] == [("h1", "Succeeded"), ("h2", "Failed")], hooks
    assert [(s["deployment_id"], s["auto_rollback"]) for s in hooks["stops"]] == [("d-ABC123DEF", True)], hooks


@check
def codedeploy_targets():
    function = {"functionName": "pay", "functionAlias": "live", "currentVersion": "41", "targetVersion": "42", "targetVersionWeight": 0.1}
    sets = [{"taskSetLabel": label, "targetGroup": {"name": name}} for label, name in (("Blue", "stable"), ("Green", "canary"))]
    events = [{"lifecycleEventName": "BeforeAllowTraffic", "status": "InProgress"}]
    control("POST", "deployments", [
        {"id": "d-ECS", "info": {"computePlatform": "ECS"}, "targets": [{"ecsTarget": {"targetId": "web:shop", "taskSetsInfo": sets, "lifecycleEvents": events}}]},
        {"id": "d-LAMBDA", "targets": [{"lambdaTarget": {"lambdaFunctionInfo": function}}]},
        {"id": "d-NEW", "status": "Created"}, {"id": "d-EC2", "info": {"computePlatform": "Server"}}])
    cd = client("codedeploy")
    assert cd.list_deployment_targets(deploymentId="d-ECS")["targetIds"] == ["web:shop"]
    target = cd.get_deployment_target(deploymentId="d-ECS", targetId="web:shop")["deploymentTarget"]
    assert (target["deploymentTargetType"], target["ecsTarget"]["taskSetsInfo"], target["ecsTarget"]["lifecycleEvents"]) == ("ECSTarget", sets, events), target
    (name,) = cd.list_deployment_targets(deploymentId="d-LAMBDA")["targetIds"]
    target = cd.get_deployment_target(deploymentId="d-LAMBDA", targetId=name)["deploymentTarget"]
    assert (target["deploymentTargetType"], target["lambdaTarget"]["lambdaFunctionInfo"]) == ("LambdaTarget", function), target
    for code, call in (
        ("DeploymentTargetDoesNotExistException", lambda: cd.get_deployment_target(deploymentId="d-ECS", targetId="other")),
        ("DeploymentTargetIdRequiredException", lambda: cd.get_deployment_target(deploymentId="d-ECS", targetId="")),
        ("DeploymentDoesNotExistException", lambda: cd.get_deployment_target(deploymentId="d-NOSUCH", targetId="a")),
        ("DeploymentDoesNotExistException", lambda: cd.list_deployment_targets(deploymentId="d-NOSUCH")),
        ("DeploymentDoesNotExistException", lambda: cd.get_deployment(deploymentId="d-NOSUCH")),
        ("DeploymentNotStartedException", lambda: cd.list_deployment_targets(deploymentId="d-NEW")),
        ("InvalidTargetFilterNameException", lambda: cd.list_deployment_targets(deploymentId="d-ECS", targetFilters={"odd": ["a"]})),
        ("UnsupportedActionForDeploymentTypeException",
         lambda: cd.put_lifecycle_event_hook_execution_status(deploymentId="d-EC2", lifecycleEventHookExecutionId="h", status="Succeeded")),
    ):
        with refused(code, 400):
            call()
    control("POST", "deployments", [{"id": "d-ECS", "status": "Succeeded"}])
    assert cd.list_deployment_targets(deploymentId="d-ECS")["targetIds"] == [], "registered anew"


@check
def ecs_service_deployments():
    def arn(kind, name):
        return f"arn:aws:ecs:us-east-1:123456789012:{kind}/web/shop/{name}"

    one, two = arn("service-deployment", "one"), arn("service-deployment", "two")
    pause = {"hookId": "h", "targetType": "PAUSE", "status": "AWAITING_ACTION"}
    balancer = {"targetGroupArn": "tg", "productionListenerRule": "rule"}
    control("POST", "service_deployments", {
        "deployments": [{"serviceDeploymentArn": one, "lifecycleHookDetails": [pause, {"hookId": "l", "targetType": "AWS_LAMBDA", "status": "IN_PROGRESS"}]},
                        {"serviceDeploymentArn": two, "status": "SUCCESSFUL", "sourceServiceRevisions": [{"arn": arn("service-revision", "1")}]}],
        "revisions": [{"serviceRevisionArn": arn("service-revision", "1"), "resolvedConfiguration": {"loadBalancers": [balancer]}}]})
    ecs = client("ecs")
    missing = arn("service-deployment", "three")
    out = ecs.describe_service_deployments(serviceDeploymentArns=[two, missing])
    assert [d["status"] for d in out["serviceDeployments"]] == ["SUCCESSFUL"] and out["failures"] == [{"arn": missing, "reason": "MISSING"}], out
    (revision,) = ecs.describe_service_revisions(serviceRevisionArns=[arn("service-revision", "1")])["serviceRevisions"]
    assert revision["resolvedConfiguration"]["loadBalancers"] == [balancer]
    for code, call in (
        ("InvalidParameterException", lambda: ecs.describe_service_deployments(serviceDeploymentArns=[])),
        ("InvalidParameterException", lambda: ecs.describe_service_deployments(serviceDeploymentArns=["shop"])),
        ("InvalidParameterException", lambda: ecs.continue_service_deployment(serviceDeploymentArn=one, hookId="h", action="GO")),
        ("InvalidParameterException", lambda: ecs.continue_service_deployment(serviceDeploymentArn=one, hookId="l")),
        ("InvalidParameterException", lambda: ecs.stop_service_deployment(serviceDeploymentArn=one, stopType="HALT")),
        ("ServiceDeploymentNotFoundException", lambda: ecs.continue_service_deployment(serviceDeploymentArn=missing, hookId="h")),
        ("ServiceDeploymentNotFoundException", lambda: ecs.stop_service_deployment(serviceDeploymentArn=missing)),
        ("ConflictException", lambda: ecs.stop_service_deployment(serviceDeploymentArn=two)),
    ):
        with refused(code, 400):
            call()
    assert ecs.continue_service_deployment(serviceDeploymentArn=one, hookId="h", action="CONTINUE")["serviceDeploymentArn"] == one
    with refused("InvalidParameterException"):
        ecs.continue_service_deployment(serviceDeploymentArn=one, hookId="h", action="ROLLBACK")
    assert ecs.stop_service_deployment(serviceDeploymentArn=one, stopType="ROLLBACK")["serviceDeploymentArn"] == one
    with refused("ConflictException"):
        ecs.stop_service_deployment(serviceDeploymentArn=one)
    state = control("GET", "service_deployments")
    assert [(a["hook_id"], a["action"]) for a in state["answers"]] == [("h", "CONTINUE")], state
    assert [s["stop_type"] for s in state["stops"]] == ["ROLLBACK"] and state["deployments"][0]["status"] == "ROLLBACK_REQUESTED", state
    for raw in ({"deployment": []}, {"deployments": [{"serviceDeploymentArn": one, "sate": "IN_PROGRESS"}]}, {"deployments": [{"serviceDeploymentArn": "one"}]},
                {"deployments": [{"serviceDeploymentArn": one, "status": "RUNNING"}]}):
        assert "error" in control("POST", "service_deployments", raw, status=400), raw


@check
def ecs_and_sts_answer():
    assert client("sts").get_caller_identity()["Account"] == "123456789012"
    assert client("ecs").create_cluster(clusterName="c")["cluster"]["clusterName"] == "c"
    assert client("ec2").describe_vpcs()["Vpcs"]


# -- faults and journal ------------------------------------------------------------------------------------------


@check
def errors_in_every_protocol():
    world = control("POST", "seed", {"table": TABLE})
    control("POST", "deployments", [{"id": "d-A"}])
    control("POST", "faults", [{"op": "*", "n": 6, "code": "Throttling", "message": "Rate exceeded"}])
    status, headers, out = cbor("GetMetricData", {})
    assert (status, out, headers["x-amzn-query-error"]) == (400, {"__type": "Throttling", "message": "Rate exceeded"}, "Throttling;Sender")
    for call in (
        lambda: client("elbv2").describe_rules(RuleArns=[world["rule_arn"]]),
        lambda: client("sns").publish(TopicArn=world["topic_arn"], Message="m"),
        lambda: client("dynamodb").get_item(TableName="state", Key={"pk": {"S": "a"}, "sk": {"S": "a"}}),
        lambda: client("codedeploy").stop_deployment(deploymentId="d-A"),
        lambda: client("sqs").list_queues(),
    ):
        with refused("Throttling", 400):
            call()
    client("sqs").list_queues()
    assert [e["fault"] for e in control("GET", "journal")] == ["Throttling"] * 6 + [None]


@check
def before_after_skip_match_and_retries():
    world, elb = control("POST", "seed", {}), client("elbv2")

    def set_canary(weight, attempts=1):
        client("elbv2", attempts).modify_rule(RuleArn=world["rule_arn"], Actions=[forward(world, stable=100, canary=weight)])

    control("POST", "faults", [{"op": "ModifyRule", "code": "InternalFailure", "status": 500}])
    with refused("InternalFailure", 500):
        set_canary(5)
    assert weights(elb, world)["canary"] == 0
    control("POST", "faults", [{"op": "ModifyRule", "code": "InternalFailure", "status": 500, "when": "after"}])
    with refused("InternalFailure", 500):
        set_canary(10)
    assert weights(elb, world)["canary"] == 10
    control("POST", "faults", [{"op": "ModifyRule", "code": "Throttling", "skip": 1}])
    set_canary(11)
    with refused("Throttling"):
        set_canary(12)
    control("POST", "faults", [{"op": "ModifyRule", "code": "Throttling", "n": -1, "match": '"Weight":50'}])
    set_canary(13)
    for _ in range(2):
        with refused("Throttling"):
            set_canary(50)
    control("DELETE", "faults")
    control("POST", "faults", [{"op": "ModifyRule", "code": "Throttling", "n": 2, "service": "elbv2"}, {"op": "ModifyRule", "code": "X", "service": "sns"}])
    set_canary(50, attempts=3)
    left = control("GET", "faults")
    assert weights(elb, world)["canary"] == 50 and [(f["n"], f["hits"]) for f in left] == [(0, 2), (1, 0)], left


@check
def delay_and_dropped_connections():
    world, elb = control("POST", "seed", {}), client("elbv2")
    control("POST", "faults", [{"op": "DescribeRules", "delay_s": 0.3}])
    start = time.time()
    assert weights(elb, world) and 0.3 <= time.time() - start < 2
    for when, canary in (("before", 0), ("after", 7)):
        control("POST", "faults", [{"op": "ModifyRule", "kind": "drop", "when": when}])
        try:
            elb.modify_rule(RuleArn=world["rule_arn"], Actions=[forward(world, stable=100, canary=7)])
            raise AssertionError("answered")
        except HTTPClientError:
            pass
        assert weights(elb, world)["canary"] == canary
    assert [(e["status"], e["fault"]) for e in control("GET", "journal?operation=ModifyRule")] == [(0, "drop")] * 2


@check
def journal_tells_what_was_sent():
    world, elb = control("POST", "seed", {"table": TABLE}), client("elbv2")
    assert control("GET", "journal") == [], "seeding is not the function's doing"
    elb.modify_rule(RuleArn=world["rule_arn"], Actions=[forward(world, stable=90, canary=10)])
    with refused("RuleNotFound"):
        elb.describe_rules(RuleArns=[world["rule_arn"] + "9"])
    with refused("ResourceNotFoundException"):
        client("dynamodb").get_item(TableName="none", Key={"pk": {"S": "a"}})
    ask([metric_query("q", "n", "Sum")])
    entries = control("GET", "journal")
    first = entries[0]
    assert (first["service"], first["operation"], first["region"], first["status"], first["error"]) == ("elbv2", "ModifyRule", "us-east-1", 200, None), first
    assert first["params"]["Actions"][0]["ForwardConfig"]["TargetGroups"][1] == {"TargetGroupArn": world["target_groups"]["canary"], "Weight": 10}, first
    assert [e["error"] for e in entries] == [None, "RuleNotFound", "ResourceNotFoundException", None], entries
    assert entries[3]["params"]["StartTime"] == T0 and entries[3]["service"] == "cloudwatch"
    assert control("GET", f"journal?since={entries[2]['seq']}") == entries[3:]
    control("DELETE", "journal")
    assert control("GET", "journal") == []


@check
def a_role_acts_in_its_account_and_the_journal_tells_which_it_was():
    other, role = "111122223333", "arn:aws:iam::111122223333:role/gate"
    control("POST", "seed", {})
    there = control("POST", "seed", {"account": other, "topic": False})
    assert all(there[key].split(":")[4] == other for key in ("rule_arn", "load_balancer_arn")), there
    with refused("RuleNotFound"):
        client("elbv2").describe_rules(RuleArns=[there["rule_arn"]])
    assumed = client("sts").assume_role(RoleArn=role, RoleSessionName="canary-gate")["Credentials"]
    keys = {"aws_access_key_id": assumed["AccessKeyId"], "aws_secret_access_key": "s", "aws_session_token": assumed["SessionToken"]}
    elb = boto3.client("elbv2", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{PORT}", **keys)
    elb.modify_rule(RuleArn=there["rule_arn"], Actions=[forward(there, stable=90, canary=10)])
    assert [e["role"] for e in control("GET", "journal")] == [None, None, role], control("GET", "journal")


@check
def a_copy_has_all_that_its_original_has_under_a_name_of_its_own():
    world = control("POST", "seed", {"table": TABLE, "weights": {"stable": 95, "canary": 5}})
    groups = [world["target_groups"][g] for g in ("stable", "canary")]
    dimension = lambda arn: {"TargetGroup": arn.rsplit(":", 1)[1]}
    control("POST", "metrics", [{"namespace": "T", "name": "n", "minute": rfc(0), "value": 7, "dimensions": dimension(groups[1])}])
    body = {"plan": {"rollout": "shop", "listener_rule": world["rule_arn"], "stable": groups[0]}}
    client("dynamodb").put_item(TableName="state", Item={"pk": {"S": "rollout#shop"}, "sk": {"S": "record"}, "body": {"S": json.dumps(body)}})
    asked = {"rollout": "shop", "rule_arn": world["rule_arn"], "target_groups": groups, "table": "state", "names": [f"shop-{i}" for i in range(30)]}
    made = control("POST", "copies", asked)
    assert len(made) == 30 and len({of["rule_arn"] for of in made.values()} | {world["rule_arn"]}) == 31, made
    copy = made["shop-29"]
    rule = client("elbv2").describe_rules(RuleArns=[copy["rule_arn"]])["Rules"][0]
    assert [(g["TargetGroupArn"], g["Weight"]) for g in rule["Actions"][0]["ForwardConfig"]["TargetGroups"]] == list(zip(copy["target_groups"], (95, 5))), rule
    health = client("elbv2").describe_target_health(TargetGroupArn=copy["target_groups"][0])["TargetHealthDescriptions"]
    assert [t["TargetHealth"]["State"] for t in health] == ["healthy", "healthy"], health
    item = client("dynamodb").get_item(TableName="state", Key={"pk": {"S": "rollout#shop-29"}, "sk": {"S": "record"}})["Item"]
    expected = {"rollout": "shop-29", "listener_rule": copy["rule_arn"], "stable": copy["target_groups"][0]}
    assert json.loads(item["body"]["S"])["plan"] == expected, item
    assert [m["sum"] for m in control("GET", "metrics?namespace=T") if m["dimensions"] == dimension(copy["target_groups"][1])] == [7]
    client("elbv2").modify_rule(RuleArn=copy["rule_arn"], Actions=[{"Type": "forward", "TargetGroupArn": copy["target_groups"][0]}])
    untouched = client("elbv2").describe_rules(RuleArns=[world["rule_arn"]])["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"]
    assert [g["Weight"] for g in untouched] == [95, 5], untouched
    control("POST", "faults", [{"op": "GetItem", "code": "X"}])
    with refused("X"):
        client("dynamodb").get_item(TableName="state", Key={"pk": {"S": "a"}, "sk": {"S": "b"}})
    calls = control("GET", "calls")
    assert calls["dynamodb GetItem"] == {"calls": 2, "failed": 1} and calls["elbv2 ModifyRule"] == {"calls": 1, "failed": 0}, calls


@check
def wrong_control_calls_are_refused():
    for path, body in (("faults", [{"op": "X", "cod": "Y"}]), ("faults", [{"op": "X", "kind": "odd"}]), ("faults", [{"op": "Publish", "kind": "ignored"}]),
                       ("faults", [{"op": "ModifyRule", "kind": "ignored", "answer": "odd"}]), ("faults", [{"op": "X"}]), ("seed", {"wieghts": {}}),
                       ("metrics", [{"name": "n"}]), ("metrics", [{"namespace": "T", "name": "n", "minute": rfc(0)}]),
                       ("metrics", [{"namespace": "T", "name": "n", "minute": "2026-01-01T00:00:30Z", "value": 1}]),
                       ("metrics", [{"namespace": "T", "name": "n", "minute": rfc(0), "valeu": 1}]), ("invoke", {}), ("copies", {"rollout": "shop"}), ("deployments", [{}]), ("deployments", [{"id": "d-A", "targets": [{"ecsTarget": {"taskSets": []}}]}]),
                       ("deployments", [{"id": "d-A", "targets": [{}]}]), ("deployments", [{"id": "d-A", "status": "Going"}])):
        assert "error" in control("POST", path, body, status=400), (path, body)
    control("GET", "nothing", status=404)


@check
def reset_forgets_everything():
    world = control("POST", "seed", {"table": TABLE})
    publish({"name": "n", "value": 1})
    control("POST", "faults", [{"op": "*", "code": "X"}])
    control("POST", "deployments", [{"id": "d-A"}])
    control("POST", "reset")
    assert control("GET", "metrics") == control("GET", "journal") == control("GET", "faults") == []
    with refused("RuleNotFound"):
        client("elbv2").describe_rules(RuleArns=[world["rule_arn"]])
    with refused("ResourceNotFoundException"):
        client("dynamodb").describe_table(TableName="state")
    assert control("POST", "seed", {"table": TABLE})["rule_arn"] != world["rule_arn"]


# -- the Lambda Runtime API --------------------------------------------------------------------------------------


class Poller(threading.Thread):
    """A function as a runtime would run it: next, work, answer, on one connection."""

    def __init__(self, work, prefix="", rounds=1, chunked=False):
        super().__init__(daemon=True)
        self.work, self.prefix, self.rounds, self.chunked, self.seen = work, prefix, rounds, chunked, []
        self.start()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
        base = f"{self.prefix}/2018-06-01/runtime/invocation/"
        for _ in range(self.rounds):
            connection.request("GET", base + "next")
            answer = connection.getresponse()
            event = json.loads(answer.read())
            self.seen.append((dict(answer.headers), event))
            kind, body = self.work(event)
            if kind == "die":
                connection.close()
                return
            body = json.dumps(body).encode()
            parts = iter([body[:3], body[3:]]) if self.chunked else body
            connection.request("POST", f"{base}{answer.headers['Lambda-Runtime-Aws-Request-Id']}/{kind}", parts, encode_chunked=self.chunked,
                               headers={"Transfer-Encoding": "chunked"} if self.chunked else {})
            accepted = connection.getresponse()
            assert accepted.status == 202, accepted.read()
            accepted.read()


def invoke(event, **more):
    return control("POST", "invoke", {"event": event, "timeout_s": 5, **more})


@check
def an_event_goes_out_and_its_answer_comes_back():
    poller = Poller(lambda event: ("response", {"echo": event}))
    before = time.time()
    got = invoke({"kind": "tick"}, deadline_ms=45_000)
    assert got["ok"] and got["payload"] == {"echo": {"kind": "tick"}} and 0 <= got["duration_ms"] < 1000, got
    headers = poller.seen[0][0]
    assert headers["Lambda-Runtime-Aws-Request-Id"] == got["request_id"] and headers["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
    assert 44 < int(headers["Lambda-Runtime-Deadline-Ms"]) / 1e3 - before < 46 and ":function:function" in headers["Lambda-Runtime-Invoked-Function-Arn"]
    state = control("GET", "runtime")["functions"]["function"]
    assert abs(state["first_poll"] - before) < 2 and (state["polls"], state["invocations"], state["responses"]) == (1, 1, 1), state


@check
def errors_and_chunked_bodies_come_back():
    Poller(lambda event: ("error", {"errorType": "Boom", "errorMessage": "broke"}), chunked=True)
    got = invoke({})
    assert (got["ok"], got["error_type"], got["error"]) == (False, "Boom", "broke"), got


@check
def named_functions_are_apart_and_pollers_share():
    barrier = threading.Barrier(3, timeout=5)  # passes only if three invocations are under way at once

    def work(event):
        barrier.wait()
        return "response", event

    [Poller(work, "/fn/gate") for _ in range(3)]
    got = {}
    threads = [threading.Thread(target=lambda i=i: got.update({i: invoke({"i": i}, function="gate")})) for i in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert all(got[i]["payload"] == {"i": i} for i in range(3)), got
    assert control("GET", "runtime")["functions"]["gate"]["responses"] == 3


@check
def time_outs_dead_pollers_and_init_errors():
    got = invoke({}, function="nobody", timeout_s=0.2)
    assert (got["ok"], got["error_type"]) == (False, "Endpoint.Timeout"), got
    assert control("GET", "runtime")["functions"]["nobody"]["pending"] == 0
    with socket.create_connection(("127.0.0.1", PORT)) as gone:  # polls, then goes before there is an event
        gone.sendall(b"GET /fn/late/2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
    Poller(lambda event: ("response", "alive"), "/fn/late")
    assert invoke({}, function="late").get("payload") == "alive"
    Poller(lambda event: ("die", None), "/fn/dies")
    start = time.time()
    got = invoke({}, function="dies")
    assert got.get("error_type") == "Runtime.ExitError" and time.time() - start < 3, got
    waiting = threading.Thread(target=lambda: got.update(invoke({}, function="init")))
    waiting.start()
    time.sleep(0.2)
    status, _, _ = request("POST", "/fn/init/2018-06-01/runtime/init/error", b'{"errorType":"Config","errorMessage":"bad"}')
    waiting.join()
    assert status == 202 and got["error_type"] == "Runtime.InitError" and "Config" in got["error"], got
    status, _, _ = request("POST", "/2018-06-01/runtime/invocation/unknown/response", b"{}")
    assert status == 400


# -- function URLs -----------------------------------------------------------------------------------------------


@check
def a_function_url_hands_a_request_on_and_an_answer_back():
    poller = Poller(lambda event: ("response", {"statusCode": 202, "headers": {"X-Echo": event["rawPath"]}, "body": event.get("body", "")}), "/fn/gate", rounds=3)
    status, headers, body = request("POST", "/_url/gate/v1/a%20b?x=1&x=2", b'{"a":1}', {"content-type": "application/json", "x-test-iam": "arn:aws:iam::1:user/a"})
    assert (status, headers["x-echo"], body) == (202, "/v1/a%20b", b'{"a":1}'), (status, headers, body)
    status, headers, body = request("HEAD", "/_url/gate")
    assert (status, headers["x-echo"], body) == (202, "/", b"")
    status, _, body = request("PATCH", "/_url/gate/b", b"\xff\x00", {"authorization": "Bearer t"})
    assert (status, body) == (202, b"/wA=")
    first, second, third = (event for _, event in poller.seen)
    assert (first["version"], first["rawQueryString"], first["requestContext"]["http"]["method"]) == ("2.0", "x=1&x=2", "POST"), first
    assert first["requestContext"]["http"]["sourceIp"] == "127.0.0.1" and first["requestContext"]["domainName"] == first["headers"]["host"]
    assert first["requestContext"]["authorizer"]["iam"]["userArn"] == "arn:aws:iam::1:user/a" and "x-test-iam" not in first["headers"]
    assert "authorizer" not in second["requestContext"] and "body" not in second
    assert (third["isBase64Encoded"], third["headers"]["authorization"]) == (True, "Bearer t")


@check
def a_function_url_says_what_went_wrong():
    Poller(lambda event: ("error", {"errorType": "Boom", "errorMessage": "broke"}), "/fn/bad")
    status, _, body = request("GET", "/_url/bad/")
    assert (status, json.loads(body)["type"]) == (502, "Boom"), body
    Poller(lambda event: ("response", {"hello": 1}), "/fn/bad")
    status, headers, body = request("GET", "/_url/bad/")
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {"hello": 1})
    Poller(lambda event: ("response", {"statusCode": "200"}), "/fn/bad")
    assert request("GET", "/_url/bad/")[0] == 502


# -- running -----------------------------------------------------------------------------------------------------


RESTLESS = ("-c", "import runpy, sys; sys.setswitchinterval(1e-6); runpy.run_module('endpoint', run_name='__main__', alter_sys=True)")


def start(*options, program=("-m", "endpoint")):
    ready = os.path.join(tempfile.mkdtemp(), "ready.json")
    process = subprocess.Popen([sys.executable, *program, "--port", "0", "--ready-file", ready, *options], cwd=HERE, stdin=subprocess.PIPE)
    while not os.path.exists(ready):
        assert process.poll() is None, "the endpoint did not start"
        time.sleep(0.02)
    with open(ready) as file:
        return process, json.load(file)["port"]


@check
def leaves_when_stdin_closes():
    process, _ = start("--exit-with-stdin")
    process.stdin.close()
    assert process.wait(timeout=5) == 0


def costs():
    """Median milliseconds per call, client included where it is boto3's."""
    world = control("POST", "seed", {"table": TABLE})
    elb, ddb, sns = client("elbv2"), client("dynamodb"), client("sns")
    key = {"pk": {"S": "r"}, "sk": {"S": "s"}}
    bins = {str(k): 5 for k in range(-40, 0)}
    points = [{"namespace": "AWS/ApplicationELB", "name": f"m{i}", "minute": rfc(m), "dimensions": {"TG": arm}, **({"bins": bins} if i == 0 else {"sum": 9, "count": 9})}
              for arm in ("stable", "canary") for i in range(10) for m in range(100)]
    edges = [f"TC(:{1.1**k:.10f})" for k in range(-30, 0, 3)]
    queries = [metric_query(f"{arm}{i}", f"m{i}", "Sum", "AWS/ApplicationELB", {"TG": arm}) for arm in ("stable", "canary") for i in range(10)]
    queries += [metric_query(f"{arm}e{i}", "m0", stat, "AWS/ApplicationELB", {"TG": arm}) for arm in ("stable", "canary") for i, stat in enumerate(edges)]

    def measure(name, call, n=40):
        times = []
        for _ in range(n):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        print(f"  {name:34s} first {times[0] * 1e3:7.1f} ms   median {sorted(times)[n // 2] * 1e3:6.2f} ms")

    measure("publish 2,000 points", lambda: control("POST", "metrics", [p | {"replace": True} for p in points]), 3)
    measure("GetMetricData 40 queries x 100 min", lambda: ask(queries, 0, 100), 10)
    measure("GetMetricData 40 queries x 10 min", lambda: ask(queries, 0, 10))
    measure("ModifyRule", lambda: elb.modify_rule(RuleArn=world["rule_arn"], Actions=[forward(world, stable=90, canary=10)]))
    measure("DescribeRules", lambda: elb.describe_rules(RuleArns=[world["rule_arn"]]))
    measure("DescribeTargetHealth", lambda: elb.describe_target_health(TargetGroupArn=world["target_groups"]["canary"]))
    measure("PutItem", lambda: ddb.put_item(TableName="state", Item={**key, "n": {"N": "0"}}))
    measure("GetItem", lambda: ddb.get_item(TableName="state", Key=key))
    measure("UpdateItem", lambda: ddb.update_item(TableName="state", Key=key, UpdateExpression="SET n = n + :o", ConditionExpression="attribute_exists(pk)", ExpressionAttributeValues={":o": {"N": "1"}}))
    measure("Query", lambda: ddb.query(TableName="state", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "r"}}))
    measure("TransactWriteItems (2 puts)", lambda: ddb.transact_write_items(TransactItems=[{"Put": {"TableName": "state", "Item": key}}, {"Put": {"TableName": "state", "Item": {**key, "sk": {"S": "t"}}}}]))
    measure("Publish", lambda: sns.publish(TopicArn=world["topic_arn"], Message="m"))
    control("GET", "journal")
    print("  as the endpoint sees them (server side, journal):")
    by_name = {}
    for e in control("GET", "journal"):
        by_name.setdefault(e["operation"], []).append(e["ms"])
    print("   ", {k: sorted(v)[len(v) // 2] for k, v in by_name.items()})
    Poller(lambda event: ("response", event), rounds=40)
    measure("invoke", lambda: invoke({}))
    measure("reset", lambda: control("POST", "reset"), 5)
    measure("reset + seed", lambda: (control("POST", "reset"), control("POST", "seed", {"table": TABLE})), 5)


def main():
    global PORT
    began = time.time()
    process, PORT = start("--exit-with-stdin")
    print(f"endpoint ready in {time.time() - began:.2f} s")
    passed = failed = 0
    try:
        for function in CHECKS:
            control("POST", "reset")
            try:
                function()
                passed += 1
            except Exception:
                failed += 1
                print(f"FAILED {function.__name__}")
                traceback.print_exc()
        if "--time" in sys.argv:
            control("POST", "reset")
            costs()
    finally:
        process.stdin.close()
        process.wait(timeout=5)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
