"""Many rollouts from one: its rule, target groups, metrics and record again under other names, in one call.

A thousand rollouts that a test starts one by one, each with its minutes of metrics, take longer than the tick it is about.
What is copied was made by the function itself; a copy differs in its name and its ARNs, and in nothing else.
"""

import copy
import json
import secrets

from moto.elbv2.models import FakeAction, FakeListenerRule

from .elb import backend_of
from .errors import ControlError
from .wire import compact

FIELDS = {"rollout", "rule_arn", "target_groups", "table", "names"}
BATCH = 25  # of one BatchWriteItem


def copies(moto, cloudwatch, raw):
    if wrong := FIELDS ^ set(raw):
        raise ControlError(f"copies with unknown or missing fields {sorted(wrong)}")
    with moto.lock:
        arns = _resources(raw)
    _metrics(cloudwatch, raw["target_groups"], arns)
    _records(moto, raw, arns)
    return {name: {"rule_arn": of[raw["rule_arn"]], "target_groups": [of[g] for g in raw["target_groups"]]} for name, of in arns.items()}


def _resources(raw):
    """Rules and groups with the same targets and weights: for each copy its ARNs by those of the originals."""
    backend, rule_arn = backend_of(raw["rule_arn"]), raw["rule_arn"]
    rule = backend.describe_rules(listener_arn=None, rule_arns=[rule_arn])[0]
    listener = backend.describe_listeners(None, [rule.listener_arn])[0]
    highest = max(r.priority for r in listener.rules.values() if not r.is_default)
    all_arns = {}
    for priority, name in enumerate(raw["names"], highest + 1):
        arns = {arn: f"{arn.rsplit('/', 2)[0]}/{name}-{place}/{secrets.token_hex(8)}" for place, arn in enumerate(raw["target_groups"])}
        for original, arn in arns.items():
            group = copy.deepcopy(backend.target_groups[original])
            group.name, group.arn = arn.split("/")[1], arn
            backend.target_groups[arn] = group
        arns[rule_arn] = f"{rule_arn.rsplit('/', 1)[0]}/{secrets.token_hex(8)}"
        actions = [FakeAction(json.loads(_renamed(json.dumps(action.data), arns))) for action in rule.actions]
        conditions = [{"Field": "path-pattern", "Values": [f"/{name}"]}]
        listener._non_default_rules[arns[rule_arn]] = FakeListenerRule(listener.arn, arns[rule_arn], conditions, priority, actions)
        all_arns[name] = arns
    return all_arns


def _metrics(cloudwatch, groups, arns):
    """Every series that has one of the groups as a dimension. Points are never changed, so that copies may share them."""
    full_name = lambda arn: arn.rsplit(":", 1)[1]
    wanted = {full_name(group) for group in groups}
    with cloudwatch.lock:
        found = [(key, points) for key, points in cloudwatch.series.items() if any(value in wanted for _, value in key[2])]
        for of in arns.values():
            names = {full_name(original): full_name(arn) for original, arn in of.items()}
            for (namespace, name, dimensions), points in found:
                renamed = frozenset((key, names.get(value, value)) for key, value in dimensions)
                cloudwatch.series[namespace, name, renamed] = dict(points)


def _records(moto, raw, arns):
    dynamodb = moto.client("dynamodb", raw["rule_arn"].split(":")[3])
    pk = f"rollout#{raw['rollout']}"
    item = dynamodb.get_item(TableName=raw["table"], Key={"pk": {"S": pk}, "sk": {"S": "record"}})["Item"]
    puts = []
    for name, of in arns.items():
        body = json.loads(_renamed(item["body"]["S"], of))
        body["plan"]["rollout"] = name
        puts.append({"PutRequest": {"Item": item | {"pk": {"S": f"rollout#{name}"}, "body": {"S": compact(body)}}}})
    for start in range(0, len(puts), BATCH):
        dynamodb.batch_write_item(RequestItems={raw["table"]: puts[start : start + BATCH]})


def _renamed(text, names):
    for original, name in names.items():
        text = text.replace(original, name)
    return text
