"""The control plane under /_endpoint/, by which a test sets the scene and looks behind it."""

import json
import urllib.parse

from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from . import cloudwatch
from .copies import copies
from .errors import ControlError
from .moto_app import ACCOUNT
from .seed import seed
from .wire import Http, compact

PREFIX = "/_endpoint/"


class Control:
    def __init__(self, aws, runtime):
        self.aws, self.runtime = aws, runtime
        self.clock_ahead_s = 0
        self.routes = {
            ("GET", "ping"): lambda body, q: {},
            ("POST", "reset"): self.reset,
            ("POST", "faults"): lambda body, q: aws.faults.add(body),
            ("GET", "faults"): lambda body, q: aws.faults.list(),
            ("DELETE", "faults"): lambda body, q: aws.faults.clear(),
            ("GET", "journal"): lambda body, q: aws.journal.list(q.get("service"), q.get("operation"), int(q.get("since", 0))),
            ("GET", "calls"): lambda body, q: aws.journal.counts(),
            ("DELETE", "journal"): lambda body, q: aws.journal.clear(),
            ("POST", "metrics"): lambda body, q: cloudwatch.publish(aws.cloudwatch, body),
            ("GET", "metrics"): lambda body, q: cloudwatch.dump(aws.cloudwatch, q.get("namespace")),
            ("POST", "health"): lambda body, q: aws.elb.set_health(body),
            ("POST", "deployments"): lambda body, q: aws.codedeploy.register(body),
            ("GET", "hooks"): lambda body, q: {"answers": aws.codedeploy.answers, "stops": aws.codedeploy.stops},
            ("POST", "service_deployments"): lambda body, q: aws.ecs.register(body),
            ("GET", "service_deployments"): lambda body, q: aws.ecs.state(),
            ("POST", "clock"): self.set_clock,
            ("POST", "seed"): lambda body, q: seed(aws.moto, body),
            ("POST", "copies"): lambda body, q: copies(aws.moto, aws.cloudwatch, body),
            ("GET", "messages"): lambda body, q: self.messages(q["queue"]),
            ("GET", "published"): lambda body, q: self.published(q["topic"]),
            ("POST", "invoke"): lambda body, q: runtime.invoke(body),
            ("GET", "runtime"): lambda body, q: runtime.state(),
        }

    def handle(self, http: Http, query: str) -> Http:
        name = http.path.removeprefix(PREFIX)
        route = self.routes.get((http.method, name))
        if route is None:
            return _answer(404, {"error": f"no control call {http.method} {name}"})
        try:
            body = json.loads(http.body) if http.body else {}
            result = route(body, dict(urllib.parse.parse_qsl(query)))
        except (ControlError, KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
            return _answer(400, {"error": f"{type(error).__name__}: {error}"})
        except Exception as error:  # what moto refused while seeding
            return _answer(400, {"error": str(error)})
        return _answer(200, {} if result is None else result)

    def set_clock(self, body, _query):
        if set(body) != {"ahead_s"}:
            raise ControlError("clock wants ahead_s")
        self.clock_ahead_s = float(body["ahead_s"])

    def reset(self, _body, _query):
        self.clock_ahead_s = 0
        self.aws.reset()
        self.runtime.reset()

    def messages(self, queue_url):
        """What lies in a queue, without taking it out; SNS envelopes and chat messages decoded where they are JSON."""
        region_queues = (backend.queues.get(queue_url.rsplit("/", 1)[1]) for backend in sqs_backends[ACCOUNT].values())
        queue = next((q for q in region_queues if q is not None), None)
        if queue is None:
            raise ControlError(f"no queue {queue_url}")
        with self.aws.moto.lock:
            return [_maybe_json(message.body) for message in queue._messages]


    def published(self, topic_arn):
        """What was published to a topic, as it was sent: with MessageStructure=json that is all forms at once."""
        topics = (backend.topics.get(topic_arn) for backend in sns_backends[ACCOUNT].values())
        topic = next((t for t in topics if t is not None), None)
        if topic is None:
            raise ControlError(f"no topic {topic_arn}")
        with self.aws.moto.lock:
            return [message for _id, message, *_rest in topic.sent_notifications]


def _maybe_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def _answer(status, value):
    return Http(status=status, headers={"Content-Type": "application/json"}, body=compact(value).encode())
