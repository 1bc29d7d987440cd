#!/usr/bin/env python3
"""Deploys the templates to an AWS in memory (moto) and looks at what came of it.

    target/deploy-venv/bin/pip install -r tests/endpoint/requirements.txt -r tests/deploy_requirements.txt
    target/deploy-venv/bin/python tests/deploy_local.py

The SAM template is expanded by AWS's own translator, the nested stack goes along. What moto's CloudFormation can't make is in NOT_MADE
by its type: those resources are left out and looked at in the expanded template instead, and the test fails as soon as moto has learnt one.
"""

import ast
import json
import logging
import os
import re
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REGION, ACCOUNT = "eu-west-1", "123456789012"
os.environ.update(AWS_ACCESS_KEY_ID="AKIDTEST", AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION=REGION, MOTO_ACCOUNT_ID=ACCOUNT)

import boto3
from moto import mock_aws
from moto.cloudformation.parsing import resource_class_from_type
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# moto's CloudFormation does not make these; nor does it take outputs of them.
NOT_MADE = {"AWS::CloudWatch::Alarm", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Url", "AWS::Scheduler::Schedule"}
RULE = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener-rule/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee"
EMAIL = "on-call@example.com"
# Actions that stand in the role whatever the parameters say.
ALWAYS = {"cloudwatch:GetMetricData", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "sns:Publish", "sqs:SendMessage",
          "logs:CreateLogStream", "logs:PutLogEvents", "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTargetHealth"}


class NoPolicies:
    """SAM asks for managed policies that templates name; ours name none."""

    def load(self):
        return {}


def template(name):
    return yaml_parse((ROOT / "infra" / name).read_text())


def expanded():
    main = template("template.yaml")
    # What `sam package` does: the code and the nested template lie in a bucket.
    main["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://code/bootstrap.zip"
    main["Resources"]["Alarms"]["Properties"]["TemplateURL"] = "https://code.s3.amazonaws.com/alarms.yaml"
    return json.loads(json.dumps(transform(main, {}, NoPolicies())))


def leave_out(body):
    """The template without what moto can't make, and what was left out."""
    left_out = {name: resource for name, resource in body["Resources"].items() if resource["Type"] in NOT_MADE}
    for name in left_out:
        del body["Resources"][name]
    for name, output in list(body["Outputs"].items()):
        if any(f'"{one}"' in json.dumps(output) for one in left_out):
            del body["Outputs"][name]
    return left_out


def client(service):
    return boto3.client(service, region_name=REGION)


class Checks:
    def __init__(self):
        self.problems, self.count = [], 0

    def equal(self, what, found, wanted):
        self.count += 1
        if found != wanted:
            self.problems.append(f"{what}: {found!r}, and should be {wanted!r}")

    def ignored(self, what, moto_says, moto_has, written, wanted):
        """A setting that moto's CloudFormation drops: held against the template, and no more ignored once moto has learnt it."""
        self.equal(f"{what}: moto no longer drops it, so ask moto", moto_says, moto_has)
        self.equal(f"{what}: in the template", written, wanted)

    def holds(self, what, truth):
        self.equal(what, bool(truth), True)


def deploy(name, parameters):
    body = expanded()
    left_out = leave_out(body)
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(body), Parameters=given, Capabilities=["CAPABILITY_IAM"])
    stack = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    resources = client("cloudformation").list_stack_resources(StackName=name)["StackResourceSummaries"]
    # A resource whose condition does not hold has a row without a name.
    made = {one["LogicalResourceId"]: one for one in resources if one["LogicalResourceId"]}
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    return body, left_out, stack["StackStatus"], made, outputs


def check_made(checks, body, status, made, conditional):
    checks.equal("stack", status, "CREATE_COMPLETE")
    checks.equal("resources that were made", sorted(made), sorted(set(body["Resources"]) - conditional))
    for name, one in made.items():
        checks.equal(f"{name}: type", one["ResourceType"], body["Resources"][name]["Type"])


def check_table(checks, name, written):
    dynamodb = client("dynamodb")
    table = dynamodb.describe_table(TableName=name)["Table"]
    checks.equal("table: keys", [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]], [("pk", "HASH"), ("sk", "RANGE")])
    index = table["GlobalSecondaryIndexes"][0]
    checks.equal("table: index", (index["IndexName"], index["Projection"]), ("by_state", {"ProjectionType": "ALL"}))
    checks.equal("table: billing", table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST")
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"]
    checks.ignored("table: time to live", ttl, "DISABLED", written["TimeToLiveSpecification"], {"AttributeName": "expires_at", "Enabled": True})
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    checks.ignored("table: point-in-time recovery", recovery, "DISABLED", written["PointInTimeRecoverySpecification"], {"PointInTimeRecoveryEnabled": True})


def check_topics(checks, outputs, made):
    for output, name in (("PagesTopicArn", "Pages"), ("AlertsTopicArn", "Alerts")):
        checks.equal(f"{name}: output", outputs[output], made[name]["PhysicalResourceId"])
        subscriptions = client("sns").list_subscriptions_by_topic(TopicArn=outputs[output])["Subscriptions"]
        checks.equal(f"{name}: subscribers", [(one["Protocol"], one["Endpoint"]) for one in subscriptions], [("email", EMAIL)])


def statements(document):
    return [one for one in document["Statement"] if isinstance(one, dict)]


def check_role(checks, arn):
    name = arn.rsplit("/", 1)[-1]
    iam = client("iam")
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    checks.equal("role: who may be it", [one["Principal"] for one in statements(trust)], [{"Service": "lambda.amazonaws.com"}])
    policy = iam.get_role_policy(RoleName=name, PolicyName="canary-gate")["PolicyDocument"]
    # moto keeps an inline policy of a template as Python would print it.
    policy = ast.literal_eval(policy) if isinstance(policy, str) else policy
    granted = {}
    for one in statements(policy):
        for action in [one["Action"]] if isinstance(one["Action"], str) else one["Action"]:
            granted[action] = one["Resource"]
    checks.equal("role: actions", set(granted), ALWAYS | {"elasticloadbalancing:ModifyRule"})
    checks.equal("role: rules it may write", granted.get("elasticloadbalancing:ModifyRule"), [RULE])
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/gate"
    checks.equal("role: tables", granted.get("dynamodb:PutItem"), [table, f"{table}/index/by_state"])
    checks.equal("role: topics", granted.get("sns:Publish"), f"arn:aws:sns:{REGION}:{ACCOUNT}:gate-pages")


def check_function(checks, outputs, written):
    function = client("lambda").get_function(FunctionName="gate")["Configuration"]
    checks.equal("function: output", outputs["FunctionArn"], function["FunctionArn"])
    for key, wanted in (("Runtime", "provided.al2023"), ("Handler", "bootstrap"), ("Timeout", 60), ("MemorySize", 128)):
        checks.equal(f"function: {key}", function[key], wanted)
    checks.ignored("function: architecture", function["Architectures"], ["x86_64"], written["Architectures"], [{"Ref": "Architecture"}])
    checks.equal("function: role", function["Role"], outputs["RoleArn"])
    settings = function["Environment"]["Variables"]
    checks.equal("function: table", settings["CANARY_GATE_TABLE"], outputs["TableName"])
    checks.equal("function: topic", settings["CANARY_GATE_TOPIC_ARN"], outputs["PagesTopicArn"])
    checks.holds("function: no setting is a reference that nobody resolved", all(isinstance(one, str) for one in settings.values()))
    policy = json.loads(client("lambda").get_policy(FunctionName="gate")["Policy"])
    principals = [one["Principal"] for one in policy["Statement"]]
    checks.holds("function: alarms may invoke it", {"Service": "lambda.alarms.cloudwatch.amazonaws.com"} in principals
                 or "lambda.alarms.cloudwatch.amazonaws.com" in principals)
    checks.holds("function: nobody else may", len(principals) == 1)


def filled_in(value, parameters):
    """A value with the nested stack's parameters in the place of their references."""
    if isinstance(value, dict):
        if list(value) == ["Ref"]:
            return parameters[value["Ref"]]
        if list(value) == ["Fn::Sub"]:
            return re.sub(r"\$\{(\w+)\}", lambda found: parameters[found[1]], value["Fn::Sub"])
        return {key: filled_in(one, parameters) for key, one in value.items()}
    return [filled_in(one, parameters) for one in value] if isinstance(value, list) else value


def make_alarms(checks, stack, resources):
    """moto's CloudFormation makes the nested stack and no alarm in it: those are put by CloudWatch's own call, with what the stack got."""
    nested = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in nested["Parameters"]}
    for name, resource in resources.items():
        checks.equal(f"{name}: type", resource["Type"], "AWS::CloudWatch::Alarm")
        client("cloudwatch").put_metric_alarm(**filled_in(resource["Properties"], parameters))


def check_rest(checks, outputs):
    groups = client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/gate")["logGroups"]
    checks.equal("log: retention", [(one["logGroupName"], one.get("retentionInDays")) for one in groups], [("/aws/lambda/gate", 30)])
    sqs = client("sqs")
    queue = sqs.get_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName="gate-lost")["QueueUrl"], AttributeNames=["All"])["Attributes"]
    checks.equal("lost events: kept for", queue["MessageRetentionPeriod"], "1209600")
    alarms = {one["AlarmName"]: one for one in client("cloudwatch").describe_alarms()["MetricAlarms"]}
    names = ["errors", "events lost", "pages undelivered", "throttles", "ticks stopped"]
    checks.equal("alarms of the nested stack", sorted(alarms), [f"gate {name}" for name in names])
    for name, alarm in alarms.items():
        checks.equal(f"{name}: tells", (alarm["AlarmActions"], alarm["OKActions"]), ([outputs["AlertsTopicArn"]],) * 2)
    stopped = alarms.get("gate ticks stopped", {})
    of = [(one["Name"], one["Value"]) for one in stopped.get("Dimensions", [])]
    checks.equal("dead man's alarm", (stopped.get("MetricName"), of, stopped.get("TreatMissingData")), ("TicksCompleted", [("FunctionName", "gate")], "breaching"))


def check_left_out(checks, body, left_out):
    """What moto does not make, as the translator wrote it."""
    by_type = {one["Type"]: one["Properties"] for one in left_out.values()}
    checks.equal("left out", set(by_type), NOT_MADE - {"AWS::CloudWatch::Alarm"})
    schedules = [one for one in left_out.values() if one["Type"] == "AWS::Scheduler::Schedule"]
    parts = [json.loads(one["Properties"]["Target"]["Input"]["Fn::Sub"].replace("${Shards}", "8")) for one in schedules]
    checks.equal("schedules: their inputs are ticks of all shards", sorted((one["kind"], one["shard"], one["of"]) for one in parts),
                 [("tick", number, 8) for number in range(1, 9)])
    checks.equal("schedules: always there", sum("Condition" not in one for one in schedules), 1)
    for schedule in (one["Properties"] for one in schedules):
        checks.equal("schedule: every minute", schedule["ScheduleExpression"], "rate(1 minute)")
        checks.equal("schedule: its target", schedule["Target"]["Arn"], {"Fn::GetAtt": ["Function", "Arn"]})
        checks.equal("schedule: its role is there", body["Resources"][schedule["Target"]["RoleArn"]["Fn::GetAtt"][0]]["Type"], "AWS::IAM::Role")
        checks.equal("schedule: lost ticks", schedule["Target"]["DeadLetterConfig"], {"Arn": {"Fn::GetAtt": ["Lost", "Arn"]}})
    tries = by_type["AWS::Lambda::EventInvokeConfig"]
    checks.equal("failed events", tries["DestinationConfig"]["OnFailure"], {"Destination": {"Fn::GetAtt": ["Lost", "Arn"]}})
    checks.equal("url: who may call", by_type["AWS::Lambda::Url"]["AuthType"], {"Ref": "UrlAuth"})


def check_dashboard(checks):
    given = {"LoadBalancer": "app/web/50dc6c495c0c9188", "StableGroup": "targetgroup/v41/73e2d6bc24d8a067",
             "CanaryGroup": "targetgroup/v42/943f017f100becff", "Gate": "checkout", "FunctionName": "gate", "HarmThreshold": "3", "HealthThreshold": "1.7"}
    body = json.dumps(json.loads(json.dumps(template("dashboard.yaml"))))
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    client("cloudformation").create_stack(StackName="dashboard", TemplateBody=body, Parameters=parameters)
    text = client("cloudwatch").get_dashboard(DashboardName="canary-gate")["DashboardBody"]
    widgets = json.loads(text)["widgets"]
    checks.holds("dashboard: widgets", len(widgets) > 5)
    checks.holds("dashboard: no variable is left", "${" not in text.replace("${!", ""))
    thresholds = [line["value"] for one in widgets for line in one["properties"].get("annotations", {}).get("horizontal", [])]
    checks.equal("dashboard: thresholds", thresholds, [float(given.pop("HarmThreshold")), float(given.pop("HealthThreshold"))])
    for value in given.values():
        checks.holds(f"dashboard: shows {value}", value in text)


def main():
    # moto tells of each thing that it can't make.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    checks = Checks()
    for one in sorted(NOT_MADE):
        checks.equal(f"moto's CloudFormation has learnt {one}: take it out of NOT_MADE", resource_class_from_type(one), None)
    with mock_aws(config={"lambda": {"use_docker": False}}):
        s3 = client("s3")
        s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket="code", Key="bootstrap.zip", Body=b"")
        alarms = json.loads(json.dumps(template("alarms.yaml")))
        s3.put_object(Bucket="code", Key="alarms.yaml", Body=json.dumps(alarms))
        body, left_out, status, made, outputs = deploy("gate", {"Name": "gate", "WritableRules": RULE, "WritableListeners": "none", "AssumableRoles": "none", "OnCallEmail": EMAIL})
        check_made(checks, body, status, made, {"AnybodyMayKnock", "KnocksMayInvoke"})
        check_table(checks, outputs["TableName"], body["Resources"]["Table"]["Properties"])
        check_topics(checks, outputs, made)
        check_role(checks, outputs["RoleArn"])
        check_function(checks, outputs, body["Resources"]["Function"]["Properties"])
        make_alarms(checks, made["Alarms"]["PhysicalResourceId"], alarms["Resources"])
        check_rest(checks, outputs)
        check_left_out(checks, body, left_out)
        check_dashboard(checks)
    for problem in checks.problems:
        print(problem, file=sys.stderr)
    if not checks.problems:
        print(f"deployment: {len(made)} resources made, {len(left_out)} beyond moto, {checks.count} checks")
    return 1 if checks.problems else 0


if __name__ == "__main__":
    sys.exit(main())
