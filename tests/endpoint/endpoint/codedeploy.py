"""The CodeDeploy calls of a lifecycle hook, on deployments that tests register (or that moto holds)."""

import re
import time

from moto.codedeploy.models import codedeploy_backends

from .errors import AwsError, ControlError
from .moto_app import ACCOUNT
from .shape import wrong_input, wrong_value

DEPLOYMENT_ID = re.compile(r"d-[A-Z0-9]{1,20}|[0-9a-f-]{36}")  # moto's own ids are UUIDs
NOT_STARTED = ("Created", "Queued")
FINISHED = ("Succeeded", "Failed", "Stopped")
GET = "GetDeployment"  # moto's, for a deployment that only moto knows
OWN = ("PutLifecycleEventHookExecutionStatus", "StopDeployment", "ListDeploymentTargets", "GetDeploymentTarget", GET)
FIELDS = {"id", "status", "hooks", "info", "targets"}
KINDS = {"ecsTarget": "ECSTarget", "lambdaTarget": "LambdaTarget", "instanceTarget": "InstanceTarget",
         "cloudFormationTarget": "CloudFormationTarget"}


class CodeDeploy:
    def __init__(self):
        self.reset()

    def reset(self):
        self.deployments, self.answers, self.stops = {}, [], []

    def register(self, raw):
        """[{id, status?, hooks?: [hook execution id], info?, targets?: [deploymentTarget]}]; without hooks any hook id
        of it is good. What was registered under the id before is forgotten, but for the answers to its hooks."""
        for deployment in raw:
            if unknown := set(deployment) - FIELDS:
                raise ControlError(f"deployment with unknown fields {sorted(unknown)}")
            whole = {"status": "InProgress", "hooks": None, "info": {}, "targets": []} | deployment
            whole["targets"] = [_target(whole["id"], target) for target in whole["targets"]]
            if wrong := wrong_value("codedeploy", "DeploymentInfo", whole["info"] | {"status": whole["status"]}):
                raise ControlError(wrong)
            self.deployments[whole["id"]] = whole

    def handles(self, call):
        name = call.params.get("deploymentId")
        theirs = name not in self.deployments and name in codedeploy_backends[ACCOUNT][call.region].deployments
        return call.operation in OWN and not (call.operation == GET and theirs)

    def handle(self, call):
        deployment = self._deployment(call)
        handlers = (self._put_status, self._stop, self._list_targets, self._get_target, self._get)
        return dict(zip(OWN, handlers, strict=True))[call.operation](call.params, deployment)

    def _deployment(self, call):
        name = call.params.get("deploymentId")
        if not name:
            raise AwsError("DeploymentIdRequiredException", "The deployment ID is required.")
        if not DEPLOYMENT_ID.fullmatch(name):
            raise AwsError("InvalidDeploymentIdException", f"The deployment ID {name} is not valid.")
        if name in self.deployments:
            return self.deployments[name]
        found = codedeploy_backends[ACCOUNT][call.region].deployments.get(name)
        if not found:
            raise AwsError("DeploymentDoesNotExistException", f"The deployment {name} could not be found")
        mine = {"id": name, "status": "InProgress", "hooks": None, "info": {}, "targets": []}
        return self.deployments.setdefault(name, mine)

    def _put_status(self, params, deployment):
        hook, status = params.get("lifecycleEventHookExecutionId"), params.get("status")
        if not hook or (deployment["hooks"] is not None and hook not in deployment["hooks"]):
            raise AwsError("InvalidLifecycleEventHookExecutionIdException", f"The lifecycle event hook execution ID {hook} is not valid.")
        if status not in ("Succeeded", "Failed"):
            raise AwsError("InvalidLifecycleEventHookExecutionStatusException", f"The status {status} is not valid: pass Succeeded or Failed.")
        if deployment["info"].get("computePlatform") == "Server":
            raise AwsError("UnsupportedActionForDeploymentTypeException", "Hooks of this deployment are scripts on its instances.")
        if deployment["status"] in FINISHED or any(a["hook_id"] == hook and a["deployment_id"] == deployment["id"] for a in self.answers):
            raise AwsError("LifecycleEventAlreadyCompletedException", f"The lifecycle event of {hook} is already completed.")
        self.answers.append({"deployment_id": deployment["id"], "hook_id": hook, "status": status, "at": time.time()})
        return {"lifecycleEventHookExecutionId": hook}

    def _stop(self, params, deployment):
        if deployment["status"] in FINISHED:
            raise AwsError("DeploymentAlreadyCompletedException", f"The deployment {deployment['id']} is already completed.")
        deployment["status"] = "Stopped"
        self.stops.append({"deployment_id": deployment["id"], "auto_rollback": params.get("autoRollbackEnabled"), "at": time.time()})
        return {"status": "Succeeded", "statusMessage": "No new deployment will be made"}

    def _get(self, _params, deployment):
        return {"deploymentInfo": {**deployment["info"], "deploymentId": deployment["id"], "status": deployment["status"]}}

    def _list_targets(self, params, deployment):
        if wrong_input("codedeploy", "ListDeploymentTargets", params):
            raise AwsError("InvalidTargetFilterNameException", "The target filter name is not valid.")
        if params.get("nextToken"):
            raise AwsError("InvalidNextTokenException", "The next token is not valid.")
        _started(deployment)
        return {"targetIds": [_inner(target)["targetId"] for target in deployment["targets"]]}

    def _get_target(self, params, deployment):
        wanted = params.get("targetId")
        if not wanted:
            raise AwsError("DeploymentTargetIdRequiredException", "A deployment target ID was not provided.")
        if not isinstance(wanted, str):
            raise AwsError("InvalidDeploymentTargetIdException", f"The target ID {wanted} is not valid.")
        _started(deployment)
        found = next((target for target in deployment["targets"] if _inner(target)["targetId"] == wanted), None)
        if found is None:
            raise AwsError("DeploymentTargetDoesNotExistException", f"The deployment {deployment['id']} has no target {wanted}.")
        return {"deploymentTarget": found}


def _target(deployment, raw):
    """A target as AWS answers it: of one kind, which is named, with the ids that belong to it."""
    found = [kind for kind in KINDS if kind in raw]
    if len(found) != 1:
        raise ControlError(f"a target has one of {sorted(KINDS)}")
    kind = found[0]
    inner = {"deploymentId": deployment, "targetId": f"{deployment}:target", "status": "InProgress"} | raw[kind]
    whole = {"deploymentTargetType": KINDS[kind]} | raw | {kind: inner}
    if wrong := wrong_value("codedeploy", "DeploymentTarget", whole):
        raise ControlError(wrong)
    return whole


def _inner(target):
    return next(target[kind] for kind in KINDS if kind in target)


def _started(deployment):
    if deployment["status"] in NOT_STARTED:
        raise AwsError("DeploymentNotStartedException", f"The deployment {deployment['id']} has not started.")
