"""All AWS services of the endpoint: who answers a call, and which faults and journal entries go with it."""

import traceback

from . import forms, wire
from .cloudwatch import Store
from .codedeploy import CodeDeploy
from .dynamodb import Transactions
from .ecs import Ecs
from .elb import Elb
from .errors import AwsError, not_emulated
from .faults import OF_METRICS, OF_RULES, Faults, Journal
from .moto_app import SERVICES, Moto


class Dropped(Exception):
    """The connection is to be cut without an answer."""


class Aws:
    def __init__(self):
        self.moto, self.cloudwatch, self.codedeploy, self.ecs = Moto(), Store(), CodeDeploy(), Ecs()
        self.elb, self.transactions = Elb(self.moto), Transactions(self.moto)
        self.faults, self.journal = Faults(), Journal()

    def reset(self):
        self.faults.clear()
        with self.moto.lock:
            for part in (self.moto, self.cloudwatch, self.codedeploy, self.ecs, self.elb, self.transactions):
                part.reset()
        self.journal.clear()

    def handle(self, http):
        call = wire.read_call(http)
        try:
            wire.decode(call)
        except AwsError as error:
            self.journal.close(self.journal.open(call), error.status, error.code)
            return wire.failure(call, error)
        entry = self.journal.open(call)
        entry["role"] = self.moto.role_of(call.access_key)
        fault = self.faults.take(call)
        entry["fault"] = fault and (fault.code or fault.kind)
        try:
            answer = self._with_fault(call, fault)
            self.journal.close(entry, answer.status, wire.error_code(answer) if answer.status >= 400 else None)
            return answer
        except Dropped:
            self.journal.close(entry, 0, "drop")
            raise

    def _with_fault(self, call, fault):
        """A fault before: nothing happens. A fault after: it takes effect and the caller is told otherwise."""
        strikes = fault is not None and fault.kind in ("error", "drop", "delay")
        if strikes and fault.when == "before":
            self.faults.sleep(fault)
            if fault.kind != "delay":
                return self._strike(call, fault)
        answer = self._answer(call, fault)
        if strikes and fault.when == "after":
            self.faults.sleep(fault)
            if fault.kind != "delay":
                return self._strike(call, fault)
        return answer

    def _strike(self, call, fault):
        if fault.kind == "drop":
            raise Dropped
        return wire.failure(call, fault.error())

    def _answer(self, call, fault):
        try:
            return self._dispatch(call, fault)
        except AwsError as error:
            return wire.failure(call, error)
        except Exception as error:  # a bug here or in moto must reach the test as a failure, with its trace on stderr
            traceback.print_exc()
            return wire.failure(call, AwsError("InternalFailure", repr(error), 500))

    def _dispatch(self, call, fault):
        if call.service == "cloudwatch":
            if call.protocol == "query":
                raise not_emulated("CloudWatch's query protocol")
            faults = [fault] if fault and fault.kind in OF_METRICS else []
            return wire.success(call, self.cloudwatch.handle(call, faults))
        if call.service not in SERVICES:
            raise not_emulated(call.service)
        with self.moto.lock:
            if call.service == "elbv2":
                return self.elb.handle(call, fault if fault and fault.kind in OF_RULES else None)
            if call.service == "codedeploy":
                if self.codedeploy.handles(call):
                    return wire.success(call, self.codedeploy.handle(call))
                if call.protocol == "cbor":
                    raise not_emulated("CodeDeploy over CBOR")
            if call.service == "ecs" and self.ecs.handles(call):
                return wire.success(call, self.ecs.handle(call))
            if call.service == "dynamodb":
                return self.transactions.handle(call)
            if call.service == "sns":
                forms.check(call)
            return self.moto.send(call.http)

