"""The awsQuery protocol (elbv2, sns, sts): flat form fields in, XML out."""

import urllib.parse
from xml.sax.saxutils import escape

from .shape import model


def operation(body: bytes) -> str:
    return dict(urllib.parse.parse_qsl(body.decode())).get("Action", "")


def decode(service: str, body: bytes) -> dict:
    """The typed parameters, by the service's model; EC2's (another dialect, not needed) stay flat."""
    fields = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)
    name = dict(fields).get("Action", "")
    fields = [(k, v) for k, v in fields if k not in ("Action", "Version")]
    if service == "ec2" or name not in model(service).operation_names:
        return dict(fields)
    tree: dict = {}
    for key, value in fields:
        *parents, leaf = key.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[leaf] = value
    shape = model(service).operation_model(name).input_shape
    return _typed(tree, shape) if shape else {}


def _typed(node, shape):
    kind = shape.type_name
    if kind == "structure":
        named = {n: (s.serialization.get("queryName") or s.serialization.get("name") or n, s) for n, s in shape.members.items()}
        return {n: _typed(node[wire], s) for n, (wire, s) in named.items() if wire in node}
    if kind == "list":
        return [_typed(item, shape.member) for item in _numbered(node, shape.member.serialization.get("name", "member"))]
    if kind == "map":
        names = shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")
        return {e[names[0]]: _typed(e[names[1]], shape.value) for e in _numbered(node, "entry")}
    if kind in ("integer", "long"):
        return int(node)
    if kind in ("float", "double"):
        return float(node)
    return node == "true" if kind == "boolean" else node


def _numbered(node, name):
    items = node.get(name, {}) if isinstance(node, dict) else {}  # an empty list is sent as an empty field
    return [items[k] for k in sorted(items, key=int)] if isinstance(items, dict) else []


def error(service: str, code: str, message: str, status: int) -> bytes:
    fault = "Receiver" if status >= 500 else "Sender"
    inner = f"<Error><Type>{fault}</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    if service == "ec2":
        return f"<Response><Errors>{inner}</Errors><RequestID>local</RequestID></Response>".encode()
    return f"<ErrorResponse>{inner}<RequestId>local</RequestId></ErrorResponse>".encode()


def result(name: str, namespace: str, inner: str) -> bytes:
    text = f'<{name}Response xmlns="{namespace}"><{name}Result>{inner}</{name}Result>'
    return f"{text}<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata></{name}Response>".encode()
