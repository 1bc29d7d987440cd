"""The same tick as a Python function writes it: what `bootstrap`'s start is measured against (start.py).

Running rollouts out of the table, their metrics and weights, a test of significance at each look, new weights or a drain with a page, and the
record's new version. It has no more than that: no sequential evidence, no plan's checks, no retries of its own. The runtime's loop is Lambda's
protocol in its shortest form, without Lambda's own client, which would take time to load, too.
"""

import json
import os
import time
import urllib.request

import boto3
from boto3.dynamodb.conditions import Key
from scipy.stats import fisher_exact

TABLE = boto3.resource("dynamodb").Table(os.environ["CANARY_GATE_TABLE"])
TOPIC = os.environ["CANARY_GATE_TOPIC_ARN"]
CLOUDWATCH, ELB, SNS = boto3.client("cloudwatch"), boto3.client("elbv2"), boto3.client("sns")
CODES = ["HTTPCode_Target_2XX_Count", "HTTPCode_Target_3XX_Count", "HTTPCode_Target_4XX_Count", "HTTPCode_Target_5XX_Count"]
STEPS = [1, 5, 25, 50, 100]
LEVEL = 0.01


def dimensions(group, balancer):
    return [{"Name": "TargetGroup", "Value": group.split(":")[-1]}, {"Name": "LoadBalancer", "Value": balancer}]


def counts(targets, now):
    """Failed requests and all of them, of the canary and of stable, in the last half hour."""
    balancer = "/".join(targets["listener_rule"].split("/")[1:4])
    groups = {"canary": targets["canary"], "stable": targets["stable"]}
    queries = [
        {"Id": f"{arm}_{code}", "ReturnData": True, "MetricStat": {
            "Metric": {"Namespace": "AWS/ApplicationELB", "MetricName": metric, "Dimensions": dimensions(group, balancer)},
            "Period": 60, "Stat": "Sum"}}
        for arm, group in groups.items() for code, metric in enumerate(CODES)
    ]
    answer = CLOUDWATCH.get_metric_data(MetricDataQueries=queries, StartTime=now - 1800, EndTime=now - 120)
    sums = {result["Id"]: sum(result["Values"]) for result in answer["MetricDataResults"]}
    return {arm: (sums[f"{arm}_3"], sum(sums[f"{arm}_{code}"] for code in range(len(CODES)))) for arm in groups}


def look_at(item, now):
    targets = json.loads(item["body"])["plan"]["targets"]
    (bad_canary, canary), (bad_stable, stable) = counts(targets, now).values()
    _, p = fisher_exact([[bad_canary, canary - bad_canary], [bad_stable, stable - bad_stable]], alternative="greater")
    rule = ELB.describe_rules(RuleArns=[targets["listener_rule"]])["Rules"][0]
    groups = rule["Actions"][-1]["ForwardConfig"]["TargetGroups"]
    weights = {group["TargetGroupArn"]: group["Weight"] for group in groups}
    share = 100 * weights[targets["canary"]] / sum(weights.values())
    harmful = p < LEVEL
    share = 0 if harmful else next((step for step in STEPS if step > share), 100)
    forward = [{"TargetGroupArn": targets["canary"], "Weight": share}, {"TargetGroupArn": targets["stable"], "Weight": 100 - share}]
    ELB.modify_rule(RuleArn=targets["listener_rule"], Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": forward}}])
    if harmful:
        SNS.publish(TopicArn=TOPIC, Subject="canary drained", Message=f"{item['pk']}: p = {p:.2g}")
    TABLE.update_item(Key={"pk": item["pk"], "sk": item["sk"]}, UpdateExpression="SET share_now = :share",
                      ExpressionAttributeValues={":share": share})
    return {"rollout": item["pk"], "share": share, "p": p}


def tick(_event):
    now = int(time.time()) // 60 * 60
    items = TABLE.query(IndexName="by_state", KeyConditionExpression=Key("state").eq("running"))["Items"]
    return [look_at(item, now) for item in items]


def main():
    base = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
    while True:
        with urllib.request.urlopen(f"{base}/next") as invocation:
            request, event = invocation.headers["Lambda-Runtime-Aws-Request-Id"], json.load(invocation)
        answer = json.dumps(tick(event)).encode()
        urllib.request.urlopen(urllib.request.Request(f"{base}/{request}/response", data=answer)).close()


if __name__ == "__main__":
    main()
