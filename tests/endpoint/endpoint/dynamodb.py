"""Idempotent transactions: a retry with the same token must get the first answer, and moto would run it again."""

import time

from .errors import AwsError
from .wire import compact

TOKEN_LIFE_S = 600


class Transactions:
    def __init__(self, moto):
        self.moto, self.done = moto, {}

    def reset(self):
        self.done = {}

    def handle(self, call):
        token = call.params.get("ClientRequestToken")
        if call.operation != "TransactWriteItems" or not token:
            return self.moto.send(call.http)
        content = compact({k: v for k, v in call.params.items() if k != "ClientRequestToken"})
        known = self.done.get((call.region, token))
        if known and time.time() - known[0] < TOKEN_LIFE_S:
            if known[1] != content:
                raise AwsError("IdempotentParameterMismatchException", "The token was used for another transaction.")
            return known[2]
        answer = self.moto.send(call.http)
        if answer.status == 200:
            self.done[call.region, token] = (time.time(), content, answer)
        return answer
