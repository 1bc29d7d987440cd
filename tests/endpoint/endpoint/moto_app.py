"""moto in this process, behind one lock: its DynamoDB loses conditional updates when two run at once."""

import io
import os
import sys
import threading

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # read at import; 1,300 machine images cost 0.1 s at every reset

import boto3
from botocore.awsrequest import AWSResponse
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.server import DomainDispatcherApplication, create_backend_app
from moto.sts.models import sts_backends

from .sns import count_subscriptions
from .wire import Http

SERVICES = ("elbv2", "dynamodb", "sns", "sqs", "codedeploy", "ecs", "ec2", "sts")
ACCOUNT = DEFAULT_ACCOUNT_ID


class Moto:
    def __init__(self):
        count_subscriptions()
        self.lock = threading.RLock()
        self.app = DomainDispatcherApplication(create_backend_app)
        self._clients = {}

    def reset(self):
        with self.lock:
            BackendDict.reset()
            reset_model_data()

    def send(self, http: Http) -> Http:
        answer = Http()

        def start(status, headers, exc_info=None):
            answer.status, answer.headers = int(status[:3]), {k: v for k, v in headers if k.lower() != "content-length"}

        with self.lock:
            answer.body = b"".join(self.app(_environ(http), start))
        return answer

    def client(self, service, region, account=ACCOUNT):
        """A boto3 client whose requests go straight into moto, past faults and journal: for what tests seed."""
        if (service, region, account) not in self._clients:
            client = boto3.client(service, region_name=region, aws_access_key_id="seed", aws_secret_access_key="seed")
            client.meta.events.register("before-send", lambda request, **_: self._send_boto(request, account))
            self._clients[service, region, account] = client
        return self._clients[service, region, account]

    def role_of(self, access_key):
        """The role that was assumed with these credentials, if they are a role's."""
        with self.lock:
            backends = [backend for regions in list(sts_backends.values()) for backend in list(regions.values())]
            roles = (backend.get_assumed_role_from_access_key(access_key) for backend in backends)
            return next((role.role_arn for role in roles if role), None)

    def _send_boto(self, request, account):
        body = request.body or b""
        headers = {k.lower(): v.decode() if isinstance(v, bytes) else v for k, v in request.headers.items()}
        headers["x-moto-account-id"] = account
        answer = self.send(Http(request.method, "/", headers, body.encode() if isinstance(body, str) else body))
        return AWSResponse(request.url, answer.status, answer.headers, _Raw(answer.body))


class _Raw:
    def __init__(self, body):
        self.body = body

    def stream(self, *_, **__):
        yield self.body


def _environ(http: Http):
    environ = {
        "REQUEST_METHOD": http.method, "PATH_INFO": http.path, "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(http.body), "wsgi.errors": sys.stderr, "CONTENT_LENGTH": str(len(http.body)),
        "CONTENT_TYPE": http.headers.get("content-type", ""), "HTTP_HOST": "127.0.0.1",
        "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
    }
    skipped = ("content-type", "content-length", "host", "transfer-encoding")
    return environ | {"HTTP_" + k.upper().replace("-", "_"): v for k, v in http.headers.items() if k not in skipped}
