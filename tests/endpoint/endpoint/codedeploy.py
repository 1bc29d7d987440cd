"""The CodeDeploy calls of a lifecycle hook, on deployments that tests register (or that moto holds)."""

import re
import time

from moto.codedeploy.models import codedeploy_backends

from .errors import AwsError, ControlError
from .moto_app import ACCOUNT

DEPLOYMENT_ID = re.compile(r"d-[A-Z0-9]{1,20}|[0-9a-f-]{36}")  # moto's own ids are UUIDs
FINISHED = ("Succeeded", "Failed", "Stopped")
OWN = ("PutLifecycleEventHookExecutionStatus", "StopDeployment", "GetDeployment")


class CodeDeploy:
    def __init__(self):
        self.reset()

    def reset(self):
        self.deployments, self.answers, self.stops = {}, [], []

    def register(self, raw):
        """[{id, status?, hooks?: [hook execution id], info?}]; without hooks any hook id of it is good."""
        for deployment in raw:
            if unknown := set(deployment) - {"id", "status", "hooks", "info"}:
                raise ControlError(f"deployment with unknown fields {sorted(unknown)}")
            self.deployments[deployment["id"]] = {"status": "InProgress", "hooks": None, "info": {}} | deployment

    def handles(self, call):
        registered = call.params.get("deploymentId") in self.deployments
        return call.operation in OWN[:2] or (call.operation == OWN[2] and registered)

    def handle(self, call):
        deployment = self._deployment(call)
        return {OWN[0]: self._put_status, OWN[1]: self._stop, OWN[2]: self._get}[call.operation](call.params, deployment)

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
        return self.deployments.setdefault(name, {"id": name, "status": "InProgress", "hooks": None, "info": {}})

    def _put_status(self, params, deployment):
        hook, status = params.get("lifecycleEventHookExecutionId"), params.get("status")
        if not hook or (deployment["hooks"] is not None and hook not in deployment["hooks"]):
            raise AwsError("InvalidLifecycleEventHookExecutionIdException", f"The lifecycle event hook execution ID {hook} is not valid.")
        if status not in ("Succeeded", "Failed"):
            raise AwsError("InvalidLifecycleEventHookExecutionStatusException", f"The status {status} is not valid: pass Succeeded or Failed.")
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
        return {"deploymentInfo": {"deploymentId": deployment["id"], "status": deployment["status"], **deployment["info"]}}
