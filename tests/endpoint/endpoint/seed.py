"""The world that most tests start from, in one call: a load balancer with a weighted rule, a topic, a table."""

from moto.ec2.models import ec2_backends

from .errors import ControlError
from .moto_app import ACCOUNT

FIELDS = {"region", "name", "path", "target_groups", "weights", "stickiness", "extra_actions", "targets", "table", "tables", "topic", "account"}


def seed(moto, raw):
    if unknown := set(raw) - FIELDS:
        raise ControlError(f"seed with unknown fields {sorted(unknown)}")
    region, name = raw.get("region", "us-east-1"), raw.get("name", "shop")
    account = raw.get("account", ACCOUNT)  # of the load balancer; all else is in the usual one
    out = {"region": region}
    out |= _network(region, account)
    out |= _balancer(moto.client("elbv2", region, account), raw, name, out["vpc_id"], out["subnet_ids"])
    if raw.get("topic", True):
        out |= _topic(moto, region, name)
    tables = raw.get("tables", []) + ([raw["table"]] if raw.get("table") else [])
    for table in tables:
        moto.client("dynamodb", region).create_table(**table)
    return out | {"tables": [t["TableName"] for t in tables]}


def _network(region, account):
    ec2 = ec2_backends[account][region]
    vpc = ec2.create_vpc("10.0.0.0/16")
    subnets = [ec2.create_subnet(vpc.id, f"10.0.{i}.0/24", f"{region}{zone}").id for i, zone in enumerate("ab")]
    return {"vpc_id": vpc.id, "subnet_ids": subnets}


def _balancer(elb, raw, name, vpc, subnets):
    names = raw.get("target_groups", ["stable", "canary"])
    groups = {n: _target_group(elb, n, vpc, i, raw.get("targets", 2)) for i, n in enumerate(names)}
    balancer = elb.create_load_balancer(Name=name, Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    default = [{"Type": "forward", "TargetGroupArn": groups[names[0]]}]
    listener = elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=default)["Listeners"][0]["ListenerArn"]
    condition = {"Field": "path-pattern", "Values": [raw.get("path", "/api/*")]}
    rule = elb.create_rule(ListenerArn=listener, Priority=10, Conditions=[condition], Actions=_actions(raw, groups))["Rules"][0]
    rules = elb.describe_rules(ListenerArn=listener)["Rules"]
    return {"load_balancer_arn": balancer, "listener_arn": listener, "rule_arn": rule["RuleArn"], "target_groups": groups,
            "default_rule_arn": next(r["RuleArn"] for r in rules if r["IsDefault"])}


def _target_group(elb, name, vpc, index, targets):
    arn = elb.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")["TargetGroups"][0]["TargetGroupArn"]
    if targets:
        elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": f"10.0.{index}.{10 + i}", "Port": 80} for i in range(targets)])
    return arn


def _actions(raw, groups):
    weights = raw.get("weights") or {n: 0 if i else 100 for i, n in enumerate(groups)}
    config = {"TargetGroups": [{"TargetGroupArn": groups.get(n, n), "Weight": w} for n, w in weights.items()]}
    if sticky := raw.get("stickiness"):
        config["TargetGroupStickinessConfig"] = {"Enabled": sticky["enabled"], "DurationSeconds": sticky["duration_s"]}
    actions = [*raw.get("extra_actions", []), {"Type": "forward", "ForwardConfig": config}]
    return [action | {"Order": i} for i, action in enumerate(actions, 1)]


def _topic(moto, region, name):
    sns, sqs = moto.client("sns", region), moto.client("sqs", region)
    topic = sns.create_topic(Name=f"{name}-alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"{name}-alerts")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{region}:{ACCOUNT}:{name}-alerts")
    return {"topic_arn": topic, "queue_url": queue}
