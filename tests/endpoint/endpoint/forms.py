"""What SNS refuses and moto lets through: messages of many forms that break the rules for them."""

import json

from .errors import AwsError


def check(call):
    """MessageStructure=json wants an object of texts with a `default`; a key that is no text would not be heard of."""
    if call.operation != "Publish" or call.params.get("MessageStructure") != "json":
        return
    try:
        forms = json.loads(call.params.get("Message", ""))
    except ValueError:
        raise AwsError("InvalidParameter", "Invalid parameter: Message Structure - JSON message body failed to parse") from None
    if not isinstance(forms, dict) or "default" not in forms:
        raise AwsError("InvalidParameter", "Invalid parameter: Message Structure - No default entry in JSON message body")
    if odd := [name for name, form in forms.items() if not isinstance(form, str)]:
        raise AwsError("InvalidParameter", f"the test endpoint wants a text for each protocol, and SNS ignores others: {odd}")
