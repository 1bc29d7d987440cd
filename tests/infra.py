#!/usr/bin/env python3
"""Holds the template against the code: rights, settings, table, schedule.

    target/infra-venv/bin/python tests/infra.py

Needs cfn-lint, for its list of what AWS can restrict, and the PyYAML that it brings. Fails if an action is granted that no adapter calls,
if an adapter calls what is not granted, if a statement, variable, permission, condition or alarm's dimension is not the one below, if the
environment has not just the settings that the configuration reads or may be larger than Lambda takes, if the template's table is not the
one that the code describes, or if the schedule is not the code's tick a minute.
"""

import json
import re
import sys
from pathlib import Path

import cfnlint
import yaml

ROOT = Path(__file__).resolve().parent.parent
# What the adapters say of a call that failed: service and operation.
CALLED = re.compile(r'"(cloudwatch|codedeploy|dynamodb|ecs|elbv2|sns|sts) ([A-Z][A-Za-z]+)"')
# A call of a client: `self.elb.describe_rules()`, over several lines or not.
SENT = re.compile(r"\b(elb|codedeploy|ecs|dynamodb|sns|sts|(?<=\.)0)(?:\(\))?\s*\.((?:get|put|query|describe|modify|list|stop|continue|publish|assume)\w*)\(\)")
PREFIX = {"elbv2": "elasticloadbalancing", "elb": "elasticloadbalancing", "0": "cloudwatch"}
# For the platform and not for the adapters: Lambda's log, failed invocations, keys of one's own.
OF_THE_PLATFORM = {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage", "kms:Decrypt", "kms:GenerateDataKey"}
# What `doctor` calls, with the rights of whoever asks.
OF_PEOPLE = "examine.rs"
# For rehearsals against a local endpoint; no installation sets it.
NOT_INSTALLED = {"CANARY_GATE_CLOCK"}
# Lambda's limit of all variables, names and values.
ENVIRONMENT_BYTES = 4096


def ref(name):
    return {"Ref": name}


def att(name):
    return {"GetAtt": name}


def own(service, what):
    return {"Sub": f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{what}"}


# The role: under which condition, which actions, on what.
RIGHTS = {
    "Log": (None, {"logs:CreateLogStream", "logs:PutLogEvents"}, att("Log.Arn")),
    "ReadMetrics": (None, {"cloudwatch:GetMetricData"}, "*"),
    "ReadTraffic": (None, {"elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTargetHealth"}, "*"),
    "WriteRules": ("WritesRules", {"elasticloadbalancing:ModifyRule"}, ref("WritableRules")),
    "WriteListeners": ("WritesListeners", {"elasticloadbalancing:ModifyListener"}, ref("WritableListeners")),
    "AssumeRoles": ("AssumesRoles", {"sts:AssumeRole"}, ref("AssumableRoles")),
    "Remember": (None, {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"},
                 [att("Table.Arn"), {"Sub": "${Table.Arn}/index/by_state"}]),
    "Page": (None, {"sns:Publish"}, ref("Pages")),
    "PageEncrypted": ("HasKey", {"kms:Decrypt", "kms:GenerateDataKey"}, ref("TopicKeyArn")),
    "ReadEnvironment": ("HasEnvironmentKey", {"kms:Decrypt"}, ref("EnvironmentKeyArn")),
    "KeepLost": (None, {"sqs:SendMessage"}, att("Lost.Arn")),
    "GuardCodeDeploy": ("GuardsCodeDeploy", {"codedeploy:GetDeployment"}, own("codedeploy", "deploymentgroup:*")),
    "AnswerCodeDeploy": ("GuardsCodeDeploy",
                         {"codedeploy:GetDeploymentTarget", "codedeploy:ListDeploymentTargets",
                          "codedeploy:PutLifecycleEventHookExecutionStatus", "codedeploy:StopDeployment"}, "*"),
    "FindGroups": ("GuardsCodeDeploy", {"elasticloadbalancing:DescribeTargetGroups"}, "*"),
    "GuardEcs": ("GuardsEcs",
                 {"ecs:ContinueServiceDeployment", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions",
                  "ecs:StopServiceDeployment"},
                 [own("ecs", "service/*"), own("ecs", "service-deployment/*"), own("ecs", "service-revision/*")]),
}
# What each variable is taken from.
VARIABLES = {
    "CANARY_GATE_TABLE": "Table",
    "CANARY_GATE_TOPIC_ARN": "Pages",
    "CANARY_GATE_WATERMARK": "Watermark",
    "CANARY_GATE_KEEP_LOG": "KeepLog",
    "CANARY_GATE_LOG": "LogLevel",
    "CANARY_GATE_RUNBOOK": "RunbookUrl",
    "CANARY_GATE_CALLERS": "Callers",
    "CANARY_GATE_GITHUB_APP_ID": "GithubAppId",
    "CANARY_GATE_GITHUB_WEBHOOK_SECRET": "GithubWebhookSecret",
    "CANARY_GATE_GITHUB_PRIVATE_KEY": "GithubPrivateKey",
    "CANARY_GATE_GITHUB_API": "GithubApi",
}
# The longest values of variables whose parameters have no MaxLength: a name, its topic's ARN, an id's digits, and the longest that
# each pattern allows.
LONGEST = {"Table": 40, "Pages": len("arn:aws-us-gov:sns:us-gov-west-1:123456789012:-pages") + 40, "Watermark": 2, "KeepLog": 5,
           "LogLevel": 5, "GithubAppId": 20}


def is_set(parameter):
    return {"Not": [{"Equals": [ref(parameter), ""]}]}


def is_listed(parameter):
    return {"Not": [{"Equals": [{"Select": [0, ref(parameter)]}, "none"]}]}


CONDITIONS = {
    "WritesRules": is_listed("WritableRules"),
    "WritesListeners": is_listed("WritableListeners"),
    "AssumesRoles": is_listed("AssumableRoles"),
    "GuardsCodeDeploy": {"Equals": [ref("GuardCodeDeploy"), "yes"]},
    "GuardsEcs": {"Equals": [ref("GuardEcs"), "yes"]},
    "HasEmail": is_set("OnCallEmail"),
    "HasKey": is_set("TopicKeyArn"),
    "HasEnvironmentKey": is_set("EnvironmentKeyArn"),
    "HasUrl": {"Not": [{"Equals": [ref("UrlAuth"), "off"]}]},
    "IsOpen": {"Equals": [ref("UrlAuth"), "NONE"]},
    "Reserves": {"Not": [{"Equals": [ref("ReservedConcurrency"), "none"]}]},
    "HasTwoShards": {"Not": [{"Equals": [ref("Shards"), "1"]}]},
    "HasFourShards": {"Or": [{"Equals": [ref("Shards"), "4"]}, {"Equals": [ref("Shards"), "8"]}]},
    "HasEightShards": {"Equals": [ref("Shards"), "8"]},
}
# The numbers of shards that one can have, and under which condition each schedule is there; the first always is.
SHARDS = [1, 2, 4, 8]
SCHEDULES = {2: "HasTwoShards", **dict.fromkeys((3, 4), "HasFourShards"), **dict.fromkeys((5, 6, 7, 8), "HasEightShards")}
# Whom the template lets invoke the function, and when.
DOORS = {
    "AlarmsMayInvoke": (None, {"FunctionName": ref("Function"), "Action": "lambda:InvokeFunction",
                               "Principal": "lambda.alarms.cloudwatch.amazonaws.com", "SourceAccount": ref("AWS::AccountId")}),
    "AnybodyMayKnock": ("IsOpen", {"FunctionName": ref("Function"), "Action": "lambda:InvokeFunctionUrl", "Principal": "*",
                                   "FunctionUrlAuthType": "NONE"}),
    "KnocksMayInvoke": ("IsOpen", {"FunctionName": ref("Function"), "Action": "lambda:InvokeFunction", "Principal": "*",
                                   "InvokedViaFunctionUrl": True}),
    "Url": ("HasUrl", {"TargetFunctionArn": ref("Function"), "AuthType": ref("UrlAuth"), "InvokeMode": "BUFFERED"}),
}
# What each alarm watches: namespace, metric, and its one dimension with the parameter that it is taken from. The first is the code's own.
ALARMS = {
    "TicksStopped": (None, None, None, "FunctionName"),
    "FunctionErrors": ("AWS/Lambda", "Errors", "FunctionName", "FunctionName"),
    "FunctionThrottles": ("AWS/Lambda", "Throttles", "FunctionName", "FunctionName"),
    "EventsLost": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "LostQueueName"),
    "PagesUndelivered": ("AWS/SNS", "NumberOfNotificationsFailed", "TopicName", "PagesTopicName"),
}


class Template(yaml.SafeLoader):
    """CloudFormation's short forms as what they stand for."""


def short_form(loader, suffix, node):
    kinds = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: kinds.get(type(node), loader.construct_mapping)(node)}


Template.add_multi_constructor("!", short_form)


def template(name):
    return yaml.load((ROOT / "infra" / name).read_text(), Template)


def statements(document):
    """Each statement with the condition that it stands under."""
    for one in document["Statement"]:
        if list(one) == ["If"]:
            condition, statement, otherwise = one["If"]
            if otherwise != ref("AWS::NoValue"):
                yield f"{condition} does not hold", otherwise
            yield condition, statement
        else:
            yield None, one


def actions(value):
    return {value} if isinstance(value, str) else set(value)


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def adapters():
    """What the adapters call, by the words of their failures, and by the calls themselves."""
    named, sent = set(), set()
    for path in sorted((ROOT / "src" / "aws").glob("*.rs")):
        if path.name == OF_PEOPLE:
            continue
        text = path.read_text().split("#[cfg(test)]")[0]
        named |= {f"{PREFIX.get(service, service)}:{operation}" for service, operation in CALLED.findall(text)}
        sent |= {f"{PREFIX.get(client, client)}:{camel(operation)}" for client, operation in SENT.findall(text)}
    return named, sent


def settings():
    text = (ROOT / "src" / "config" / "settings.rs").read_text() + (ROOT / "src" / "config" / "github.rs").read_text()
    return set(re.findall(r'"(CANARY_GATE_[A-Z_]*[A-Z])"', text.split("#[cfg(test)]")[0]))


def differences(what, there, wanted):
    for one in sorted(there - wanted):
        yield f"{what}: {one} is in the template, and nobody needs it"
    for one in sorted(wanted - there):
        yield f"{what}: {one} is needed, and not in the template"


def constant(path, name):
    """The text of a constant in the code."""
    return re.search(rf'const {name}: &str = "([^"]+)";', (ROOT / path).read_text())[1]


def same(what, found, wanted):
    if found != wanted:
        yield f"{what}: {json.dumps(found, default=sorted)}, and should be {json.dumps(wanted, default=sorted)}"


def rights(role):
    """The statements of the role against the list above, the adapters' calls, and what AWS can restrict."""
    reference = json.loads((Path(cfnlint.__file__).parent / "data" / "AdditionalSpecs" / "Policies.json").read_text())
    yield from same("role: who may be it", role["AssumeRolePolicyDocument"]["Statement"],
                    [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}])
    if set(role) - {"Description", "AssumeRolePolicyDocument", "Policies"} or len(role["Policies"]) != 1:
        yield f"role: has rights beside its one policy: {sorted(role)}"
    found, granted = {}, set()
    for condition, statement in statements(role["Policies"][0]["PolicyDocument"]):
        sid = statement.get("Sid")
        if sid in found or set(statement) != {"Sid", "Effect", "Action", "Resource"} or statement["Effect"] != "Allow":
            yield f"role: {sid} is there twice, or has more than Sid, Effect (Allow), Action and Resource"
            continue
        found[sid] = (condition, actions(statement["Action"]), statement["Resource"])
        granted |= found[sid][1]
        for action in found[sid][1]:
            service, _, name = action.partition(":")
            about = reference[service]["Actions"].get(name.lower())
            if about is None:
                yield f"role: AWS has no {action}"
            elif not about.get("Resources") and statement["Resource"] != "*":
                yield f"role: {sid}: {action} knows no resources, so that this grants nothing"
    for sid in sorted(set(found) | set(RIGHTS), key=str):
        yield from same(f"role: {sid}", found.get(sid), RIGHTS.get(sid))
    named, sent = adapters()
    if not named or not sent:
        yield "src/aws: no calls were found: has their form changed?"
    yield from differences("rights", granted, named | OF_THE_PLATFORM)
    for one in sorted(sent - named):
        yield f"src/aws: {one} is called, and no failure of it has that name"
    asked = {f"{PREFIX.get(service, service)}:{operation}" for service, operation in CALLED.findall((ROOT / "src" / "aws" / OF_PEOPLE).read_text())}
    for one in sorted(asked):
        if f'"{one}"' not in (ROOT / "docs" / "iam.md").read_text():
            yield f"docs/iam.md: no policy for people has {one}, which doctor calls"


def environment(function, parameters):
    """Each setting from where it belongs, and all of them small enough."""
    variables = function["Environment"]["Variables"]
    yield from differences("settings", set(variables), settings() - NOT_INSTALLED)
    yield from same("variables", variables, {name: ref(source) for name, source in VARIABLES.items()})
    yield from same("variables: their key", function.get("KmsKeyArn"), {"If": ["HasEnvironmentKey", ref("EnvironmentKeyArn"), ref("AWS::NoValue")]})
    longest = {name: LONGEST.get(source) or parameters[source].get("MaxLength") for name, source in VARIABLES.items()}
    unlimited = [name for name, length in longest.items() if length is None]
    if unlimited:
        yield f"variables: no MaxLength limits {unlimited}"
        return
    # As JSON, with quotes, colon and comma.
    size = sum(len(name) + length + 6 for name, length in longest.items())
    if size > ENVIRONMENT_BYTES:
        yield f"variables: may have {size} bytes, and Lambda takes {ENVIRONMENT_BYTES}: lower a MaxLength"


def memory(table):
    """The table that the code describes, which forgets and can be brought back."""
    wanted = json.loads((ROOT / "infra" / "table.json").read_text())
    for key in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode"):
        yield from same(f"table: {key}", table["Properties"].get(key), wanted[key])
    forgets = {"AttributeName": constant("src/aws/items.rs", "TTL_ATTRIBUTE"), "Enabled": True}
    yield from same("table: time to live", table["Properties"].get("TimeToLiveSpecification"), forgets)
    yield from same("table: point-in-time recovery", table["Properties"].get("PointInTimeRecoverySpecification"),
                    {"PointInTimeRecoveryEnabled": True})
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        yield from same(f"table: {policy}", table.get(policy), "Retain")


def events(function, main):
    """One tick a minute for each shard, and what failed kept."""
    yield from same("events", set(function["Events"]), {"EveryMinute"})
    every_minute = function["Events"]["EveryMinute"]
    schedule = every_minute["Properties"]
    yield from same("schedule: type", every_minute["Type"], "ScheduleV2")
    yield from same("schedule: every minute", schedule["ScheduleExpression"], "rate(1 minute)")
    yield from same("schedule: state", schedule["State"], ref("Ticks"))
    yield from same("schedule: ticks that can't be delivered", schedule.get("DeadLetterConfig"), {"Arn": att("Lost.Arn")})
    yield from tick("schedule", 1, schedule["Input"])
    yield from shards(schedule, main)
    kept = {"OnFailure": {"Type": "SQS", "Destination": att("Lost.Arn")}}
    yield from same("what failed for good", function["EventInvokeConfig"].get("DestinationConfig"), kept)
    if function["Timeout"] < 51:
        yield "timeout: an invocation ends by itself after 50 seconds, and must have them"


def tick(what, number, written):
    """The input is what the code takes for a tick of this shard."""
    samples = [json.loads((ROOT / "events" / name).read_text()) for name in ("tick-scheduler.json", "tick-shard.json")]
    fields = (ROOT / "src" / "event" / "mod.rs").read_text()
    known = set(json.loads(re.search(r'let known = (\["kind", "scheduled_time"[^]]*\]);', fields)[1]))
    yield from same(f"{what}: the code's fields", known, set(samples[0]) | set(samples[1]))
    for of in SHARDS:
        found = json.loads(written["Sub"].replace("${Shards}", str(of)))
        yield from same(f"{what}: its fields", set(found), known)
        yield from same(f"{what}: its part", [found.get("kind"), found.get("shard"), found.get("of")], ["tick", number, of])


def shards(first, main):
    """The schedules beside the first differ from it in their number alone, and there is room for all at once."""
    parameters, resources = main["Parameters"], main["Resources"]
    yield from same("shards: their numbers", parameters["Shards"]["AllowedValues"], [str(of) for of in SHARDS])
    yield from same("schedule: its role", first.get("RoleArn"), att("TickRole.Arn"))
    may = {"Description", "AssumeRolePolicyDocument", "Policies"}
    role = resources["TickRole"]["Properties"]
    trusted = [{"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}}}]
    yield from same("schedule's role: who may be it", role["AssumeRolePolicyDocument"]["Statement"], trusted)
    yield from same("schedule's role: has nothing else", set(role), may)
    granted = [(one["Effect"], one["Action"], one["Resource"]) for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    yield from same("schedule's role: what it may", granted, [("Allow", "lambda:InvokeFunction", att("Function.Arn")), ("Allow", "sqs:SendMessage", att("Lost.Arn"))])
    yield from same("shards: how many by default", parameters["Shards"]["Default"], "1")
    schedules = {name: one for name, one in resources.items() if one["Type"] == "AWS::Scheduler::Schedule"}
    yield from same("shards", set(schedules), {f"Shard{number}" for number in SCHEDULES})
    for number, condition in SCHEDULES.items():
        schedule = schedules.get(f"Shard{number}", {"Properties": {"Target": {"Input": {"Sub": "{}"}}}})
        target = dict(schedule["Properties"]["Target"])
        yield from same(f"shard {number}: when it is there", schedule.get("Condition"), condition)
        yield from tick(f"shard {number}", number, target.pop("Input"))
        for key in ("ScheduleExpression", "State"):
            yield from same(f"shard {number}: {key}", schedule["Properties"].get(key), first[key])
        yield from same(f"shard {number}: window", schedule["Properties"].get("FlexibleTimeWindow"), {"Mode": "OFF"})
        wanted = {"Arn": att("Function.Arn"), "RoleArn": att("TickRole.Arn"),
                  "RetryPolicy": first["RetryPolicy"], "DeadLetterConfig": first["DeadLetterConfig"]}
        yield from same(f"shard {number}: target", target, wanted)
    rules = [{"RuleCondition": {"Equals": [ref("Shards"), str(of)]},
              "Assert": {"Not": [{"Contains": [[str(few) for few in range(2, of + 1)], ref("ReservedConcurrency")]}]}}
             for of in SHARDS[1:]]
    found = [{"RuleCondition": rule["RuleCondition"], "Assert": one["Assert"]}
             for rule in main["Rules"].values() for one in rule["Assertions"]]
    yield from same("reserved concurrency: room for all shards and a caller", found, rules)


def doors(resources):
    """Who may invoke the function: no more, and under no other condition."""
    kinds = {"AWS::Lambda::Permission", "AWS::Lambda::Url"}
    found = {name: (one.get("Condition"), one["Properties"]) for name, one in resources.items() if one["Type"] in kinds}
    for name in sorted(set(found) | set(DOORS)):
        yield from same(f"door {name}", found.get(name), DOORS.get(name))


def alarms(nested):
    """What the alarms watch is what is published, and they get it from the stack."""
    given = {"FunctionName": ref("Function"), "OnCallTopicArn": ref("Alerts"), "LostQueueName": att("Lost.QueueName"),
             "PagesTopicName": att("Pages.TopicName")}
    yield from same("alarms: what the stack hands on", nested["Properties"]["Parameters"], given)
    found = template("alarms.yaml")["Resources"]
    yield from same("alarms", set(found), set(ALARMS))
    for name, (namespace, metric, dimension, source) in ALARMS.items():
        if namespace is None:
            namespace, metric, dimension = (constant("src/handler/telemetry.rs", one) for one in ("NAMESPACE", "METRIC", "DIMENSION"))
        alarm = found.get(name, {}).get("Properties", {})
        yield from same(f"alarm {name}: watches", [alarm.get("Namespace"), alarm.get("MetricName")], [namespace, metric])
        yield from same(f"alarm {name}: dimensions", alarm.get("Dimensions"), [{"Name": dimension, "Value": ref(source)}])
        yield from same(f"alarm {name}: tells", alarm.get("AlarmActions"), [ref("OnCallTopicArn")])


def check():
    main = template("template.yaml")
    resources = main["Resources"]
    function = resources["Function"]["Properties"]
    yield from same("conditions", main["Conditions"], CONDITIONS)
    yield from rights(resources["Role"]["Properties"])
    yield from same("function: its role", function["Role"], att("Role.Arn"))
    yield from environment(function, main["Parameters"])
    yield from memory(resources["Table"])
    yield from events(function, main)
    yield from doors(resources)
    yield from alarms(resources["Alarms"])


def main():
    problems = list(check())
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("infra: rights, settings, table, schedule, doors and alarms are as the code wants them")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
