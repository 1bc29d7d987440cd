"""What moto's elbv2 leaves out: limits, the default rule's guard, health that tests set, secrets, stale reads."""

import copy
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from moto.elbv2.models import elbv2_backends

from . import query
from .errors import AwsError, ControlError
from .wire import Http

NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
ET.register_namespace("", NAMESPACE)
MAX_GROUPS, MAX_WEIGHT, MAX_STICKY_S = 5, 999, 604_800
WRITES = ("CreateRule", "ModifyRule", "CreateListener", "ModifyListener")
STATES = {"initial", "healthy", "unhealthy", "unhealthy.draining", "unused", "draining", "unavailable"}


def backend_of(arn):
    """moto's load balancers of the account and region that an ARN names."""
    _, _, _, region, account, _ = arn.split(":", 5)
    return elbv2_backends[account][region]


class Elb:
    def __init__(self, moto):
        self.moto, self.health, self.stale = moto, {}, {}

    def reset(self):
        self.health, self.stale = {}, {}

    def handle(self, call, fault=None):
        check(call)
        if fault and fault.kind == "ignored":
            return self._ignored(call, fault.answer)
        lag = fault
        if call.operation == "DescribeTargetHealth" and call.params.get("TargetGroupArn") in self.health:
            return self._target_health(call)
        before = self._rule_of(call) if lag else None
        answer = self.moto.send(call.http)
        if answer.status == 200 and call.operation in (*WRITES, "DescribeRules", "DescribeListeners"):
            tree = ET.fromstring(answer.body)
            polish(tree)
            if call.operation == "DescribeRules":
                self._show_stale(tree)
            answer.body = ET.tostring(tree)
        if before is not None and answer.status == 200:
            self.stale[_text(before, "RuleArn")] = [lag.reads, before]
        return answer

    # -- health --------------------------------------------------------------------------------------------------

    def set_health(self, raw):
        """{target group ARN: [target] | null}; null hands the group back to moto, where the registered are healthy."""
        for arn, targets in raw.items():
            if wrong := {t["state"] for t in targets or []} - STATES:
                raise ControlError(f"unknown target states {sorted(wrong)}")
            if targets is None:
                self.health.pop(arn, None)
            else:
                self.health[arn] = targets

    def _target_health(self, call):
        asked = {t["Id"] for t in call.params.get("Targets") or []}
        targets = [t for t in self.health[call.params["TargetGroupArn"]] if not asked or t["id"] in asked]
        missing = asked - {t["id"] for t in targets}
        targets = targets + [{"id": i, "state": "unused", "reason": "Target.NotRegistered"} for i in sorted(missing)]
        members = "".join(_health_member(t) for t in targets)
        inner = f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"
        return Http(headers={"Content-Type": "text/xml"}, body=query.result("DescribeTargetHealth", NAMESPACE, inner))

    # -- writes that come to nothing -----------------------------------------------------------------------------

    def _ignored(self, call, says):
        """The write is called done and changes nothing. The answer has what was asked, or what stands."""
        backend = backend_of(call.params.get("ListenerArn") or call.params["RuleArn"])
        if call.operation == "ModifyListener":
            listener = backend.describe_listeners(load_balancer_arn=None, listener_arns=[call.params["ListenerArn"]])[0]
            rule, holder = listener._default_rule[0], listener
        else:
            rule = holder = backend.describe_rules(listener_arn=None, rule_arns=[call.params["RuleArn"]])[0]
        actions, name = rule.actions, "default_actions" if holder is not rule else "actions"
        answer = self.handle(call)
        setattr(holder, name, actions)
        rule.actions = actions
        if says == "old" and answer.status == 200:
            kind = "Listeners" if holder is not rule else "Rules"
            arn = call.params.get("ListenerArn") or call.params["RuleArn"]
            member = f"{kind[:-1]}Arns.member.1={arn}"
            read = self.moto.send(Http("POST", "/", dict(call.http.headers), f"Action=Describe{kind}&Version=2015-12-01&{member}".encode()))
            tree = ET.fromstring(read.body.replace(f"Describe{kind}".encode(), call.operation.encode()))
            polish(tree)
            answer.body = ET.tostring(tree)
        return answer

    # -- reads that lag ------------------------------------------------------------------------------------------

    def _rule_of(self, call):
        """The rule as it is before this write, to be shown again afterwards."""
        arn = call.params.get("RuleArn")
        client = self.moto.client("elbv2", call.region, (arn or call.params["ListenerArn"]).split(":")[4])
        if call.operation == "ModifyListener":
            rules = client.describe_rules(ListenerArn=call.params["ListenerArn"])["Rules"]
            arn = next(r["RuleArn"] for r in rules if r["IsDefault"])
        body = ET.fromstring(self.moto.send(_describe_rule(call, arn)).body)
        polish(body)
        return copy.deepcopy(next(_rules(body), None))

    def _show_stale(self, tree):
        for rule in list(_rules(tree)):
            entry = self.stale.get(_text(rule, "RuleArn"))
            if entry:
                entry[0] -= 1
                rule[:] = copy.deepcopy(entry[1])[:]
                if entry[0] <= 0:
                    del self.stale[_text(rule, "RuleArn")]


# -- checks that AWS makes and moto does not ---------------------------------------------------------------------


def check(call):
    if call.operation == "ModifyRule":
        listener = _listener_of_default(call.params.get("RuleArn"))
        if listener:
            raise AwsError("OperationNotPermitted", f"Default rule '{listener}' cannot be modified")
    if call.operation == "ModifyTargetGroupAttributes":
        _check_target_stickiness(call)
    for action in (call.params.get("Actions") or call.params.get("DefaultActions") or []) if call.operation in WRITES else []:
        _check_forward(action)
        _check_stickiness(action)
        oidc = action.get("AuthenticateOidcConfig") or {}
        if action.get("Type") == "authenticate-oidc" and not oidc.get("ClientSecret") and not oidc.get("UseExistingClientSecret"):
            raise AwsError("ValidationError", "An authenticate-oidc action needs ClientSecret or UseExistingClientSecret")


def _check_forward(action):
    config = action.get("ForwardConfig") or {}
    groups, sticky = config.get("TargetGroups") or [], config.get("TargetGroupStickinessConfig") or {}
    if len(groups) > MAX_GROUPS:
        raise AwsError("TooManyTargetGroups", f"A forward action can have at most {MAX_GROUPS} target groups")
    for group in groups:
        if not 0 <= group.get("Weight", 1) <= MAX_WEIGHT:
            raise AwsError("ValidationError", f"Weight {group['Weight']} must be between 0 and {MAX_WEIGHT}")
    if len({g.get("TargetGroupArn") for g in groups}) < len(groups):
        raise AwsError("ValidationError", "A target group may be specified only once in an action")
    seconds = sticky.get("DurationSeconds")
    if (seconds is not None and not 1 <= seconds <= MAX_STICKY_S) or (sticky.get("Enabled") and seconds is None):
        raise AwsError("ValidationError", f"Target group stickiness duration must be between 1 and {MAX_STICKY_S} seconds")


def _check_stickiness(action):
    """Among several groups, target stickiness needs group stickiness: one cookie says the group, one the target in it."""
    config = action.get("ForwardConfig") or {}
    groups = config.get("TargetGroups") or []
    on = [g for g in groups if (group := backend_of(g["TargetGroupArn"]).target_groups.get(g["TargetGroupArn"])) and group.attributes.get("stickiness.enabled") == "true"]
    if len(groups) > 1 and on and not (config.get("TargetGroupStickinessConfig") or {}).get("Enabled"):
        text = "You must enable group stickiness on a rule if you enabled target stickiness on one of its target groups"
        raise AwsError("InvalidLoadBalancerAction", text)


def _check_target_stickiness(call):
    wanted = {a.get("Key"): a.get("Value") for a in call.params.get("Attributes") or []}
    if wanted.get("stickiness.enabled") != "true":
        return
    arn = call.params.get("TargetGroupArn")
    for balancer in backend_of(arn).load_balancers.values():
        for rule in (r for listener in balancer.listeners.values() for r in listener.rules.values()):
            for config in (action.data.get("ForwardConfig") or {} for action in rule.actions):
                groups = [g["TargetGroupArn"] for g in config.get("TargetGroups") or []]
                if arn in groups and len(groups) > 1 and not _is_on(config.get("TargetGroupStickinessConfig") or {}):
                    text = f"This target group appears behind a rule with group stickiness disabled ({rule.arn}). "
                    raise AwsError("InvalidConfigurationRequest", text + "You must enable group stickiness before enabling target stickiness")


def _is_on(sticky):
    return str(sticky.get("Enabled", False)).lower() == "true"


def _listener_of_default(arn):
    for balancer in backend_of(arn).load_balancers.values():
        for listener in balancer.listeners.values():
            if any(rule.is_default and rule.arn == arn for rule in listener.rules.values()):
                return listener.arn
    return None


# -- answers as AWS gives them -----------------------------------------------------------------------------------


def polish(tree):
    """Hide OIDC secrets, and give an action of one group both forms of it, as AWS does."""
    for action in [a for parent in ("Actions", "DefaultActions") for a in tree.iterfind(f".//{_tag(parent)}/{_tag('member')}")]:
        for oidc in action.iterfind(_tag("AuthenticateOidcConfig")):
            for name in ("ClientSecret", "UseExistingClientSecret"):
                for secret in oidc.findall(_tag(name)):
                    oidc.remove(secret)
        if _text(action, "Type") == "forward":
            _complete_forward(action)


def _complete_forward(action):
    config, single = action.find(_tag("ForwardConfig")), action.find(_tag("TargetGroupArn"))
    if config is None and single is not None:
        config = ET.SubElement(action, _tag("ForwardConfig"))
        group = ET.SubElement(ET.SubElement(config, _tag("TargetGroups")), _tag("member"))
        ET.SubElement(group, _tag("TargetGroupArn")).text = single.text
        ET.SubElement(group, _tag("Weight")).text = "1"
        ET.SubElement(ET.SubElement(config, _tag("TargetGroupStickinessConfig")), _tag("Enabled")).text = "false"
    elif config is not None and single is None:
        groups = config.findall(f"{_tag('TargetGroups')}/{_tag('member')}")
        if len(groups) == 1:
            ET.SubElement(action, _tag("TargetGroupArn")).text = _text(groups[0], "TargetGroupArn")


def _rules(tree):
    return tree.iterfind(f".//{_tag('Rules')}/{_tag('member')}")


def _describe_rule(call, arn):
    body = f"Action=DescribeRules&Version=2015-12-01&RuleArns.member.1={arn}".encode()
    return Http("POST", "/", dict(call.http.headers), body)


def _health_member(target):
    reason = "".join(f"<{tag}>{escape(target[key])}</{tag}>" for key, tag in (("reason", "Reason"), ("description", "Description")) if target.get(key))
    port = target.get("port", 80)
    return (f"<member><Target><Id>{escape(target['id'])}</Id><Port>{port}</Port></Target><HealthCheckPort>{port}</HealthCheckPort>"
            f"<TargetHealth><State>{target['state']}</State>{reason}</TargetHealth></member>")


def _tag(name):
    return f"{{{NAMESPACE}}}{name}"


def _text(element, name):
    return element.findtext(_tag(name))
