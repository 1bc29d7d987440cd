"""What moto's topics do not tell: how many get their messages. A mail address that was subscribed has not confirmed yet."""

from moto.sns.models import Topic


def _of(topic, is_pending):
    subscriptions = topic.sns_backend.subscriptions.values()
    return sum(s.topic is topic and s.protocol.startswith("email") == is_pending for s in subscriptions)


def count_subscriptions():
    # moto sets them to zero in its constructor, under these names.
    for name, is_pending in (("subscriptions_confimed", False), ("subscriptions_pending", True)):
        counted = property(lambda topic, pending=is_pending: _of(topic, pending), lambda _topic, _zero: None)
        setattr(Topic, name, counted)
