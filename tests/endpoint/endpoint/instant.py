"""A moment in an answer; each protocol writes it in its own way."""

import datetime


class Instant:
    __slots__ = ("seconds",)

    def __init__(self, seconds):
        self.seconds = float(seconds)

    @staticmethod
    def parse(text: str) -> float:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            raise ValueError(f"{text} has no offset")
        return moment.timestamp()

    def rfc3339(self) -> str:
        return datetime.datetime.fromtimestamp(self.seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
