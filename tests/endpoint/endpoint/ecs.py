"""Service deployments of ECS and their revisions, as tests register them; moto has neither."""

import re
import time

from .errors import AwsError, ControlError
from .shape import wrong_input, wrong_value

OWN = ("DescribeServiceDeployments", "DescribeServiceRevisions", "ContinueServiceDeployment", "StopServiceDeployment")
ARN = re.compile(r"arn:aws(-[a-z]+)*:ecs:[a-z0-9-]+:\d{12}:(service-deployment|service-revision)/[^/]+/[^/]+/[^/]+")
MOST_ARNS = 20
FINISHED = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")
ENDING = ("STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
HOOK_IS = {"CONTINUE": "SUCCEEDED", "ROLLBACK": "FAILED"}
STOP_IS = {"ABORT": "STOP_REQUESTED", "ROLLBACK": "ROLLBACK_REQUESTED"}


class Ecs:
    def __init__(self):
        self.reset()

    def reset(self):
        self.deployments, self.revisions, self.answers, self.stops = {}, {}, [], []

    def register(self, raw):
        """{deployments?: [serviceDeployment], revisions?: [serviceRevision]}; replaces those of the same ARN."""
        if unknown := set(raw) - {"deployments", "revisions"}:
            raise ControlError(f"service deployments with unknown fields {sorted(unknown)}")
        for shape, key, kept in (("ServiceDeployment", "deployments", self.deployments), ("ServiceRevision", "revisions", self.revisions)):
            for one in raw.get(key, []):
                if wrong := wrong_value("ecs", shape, one):
                    raise ControlError(wrong)
                arn = one[f"service{shape.removeprefix('Service')}Arn"]
                if not ARN.fullmatch(arn):
                    raise ControlError(f"{arn} is no ARN")
                kept[arn] = ({"status": "IN_PROGRESS", "lifecycleHookDetails": []} | one) if key == "deployments" else one

    def state(self):
        return {"deployments": list(self.deployments.values()), "answers": self.answers, "stops": self.stops}

    def handles(self, call):
        return call.operation in OWN

    def handle(self, call):
        if wrong := wrong_input("ecs", call.operation, call.params):
            raise AwsError("InvalidParameterException", wrong)
        handlers = (self._deployments, self._revisions, self._continue, self._stop)
        return dict(zip(OWN, handlers, strict=True))[call.operation](call.params)

    def _deployments(self, params):
        found, failures = _found(params["serviceDeploymentArns"], self.deployments)
        return {"serviceDeployments": found, "failures": failures}

    def _revisions(self, params):
        found, failures = _found(params["serviceRevisionArns"], self.revisions)
        return {"serviceRevisions": found, "failures": failures}

    def _continue(self, params):
        deployment = self._one(params)
        hook = next((h for h in deployment["lifecycleHookDetails"] if h.get("hookId") == params["hookId"]), None)
        if hook is None or hook.get("targetType") != "PAUSE" or hook.get("status") != "AWAITING_ACTION":
            raise AwsError("InvalidParameterException", f"The hook {params['hookId']} does not await an action.")
        action = params.get("action", "CONTINUE")
        hook["status"] = HOOK_IS[action]
        if action == "ROLLBACK":
            deployment["status"] = "ROLLBACK_REQUESTED"
        self.answers.append({"arn": deployment["serviceDeploymentArn"], "hook_id": params["hookId"], "action": action, "at": time.time()})
        return {"serviceDeploymentArn": deployment["serviceDeploymentArn"]}

    def _stop(self, params):
        deployment = self._one(params)
        if deployment["status"] in FINISHED + ENDING:
            raise AwsError("ConflictException", f"The service deployment is {deployment['status']}.")
        kind = params.get("stopType", "ROLLBACK")
        deployment["status"] = STOP_IS[kind]
        self.stops.append({"arn": deployment["serviceDeploymentArn"], "stop_type": kind, "at": time.time()})
        return {"serviceDeploymentArn": deployment["serviceDeploymentArn"]}

    def _one(self, params):
        arn = params["serviceDeploymentArn"]
        _check(arn)
        if arn not in self.deployments:
            raise AwsError("ServiceDeploymentNotFoundException", f"The service deployment {arn} was not found.")
        return self.deployments[arn]


def _check(arn):
    if not ARN.fullmatch(arn):
        raise AwsError("InvalidParameterException", f"{arn} is not a valid ARN.")


def _found(arns, kept):
    """Those that there are, and AWS's words for the others: no error."""
    if not 1 <= len(arns) <= MOST_ARNS:
        raise AwsError("InvalidParameterException", f"1 to {MOST_ARNS} ARNs")
    for arn in arns:
        _check(arn)
    return [kept[arn] for arn in arns if arn in kept], [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in kept]
