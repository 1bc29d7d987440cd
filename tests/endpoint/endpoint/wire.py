"""From an HTTP request to a `Call` and back, whatever the protocol."""

import base64
import dataclasses
import gzip
import json
import re
import zlib

from . import cbor, query
from .errors import AwsError
from .instant import Instant

SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
SERVICES = {"monitoring": "cloudwatch", "elasticloadbalancing": "elbv2"}  # the signing names that differ


@dataclasses.dataclass
class Http:
    """One HTTP message, request or answer."""

    method: str = ""
    path: str = ""
    headers: dict = dataclasses.field(default_factory=dict)  # lower-case names in requests
    body: bytes = b""
    status: int = 200


@dataclasses.dataclass
class Call:
    """One AWS call, decoded."""

    http: Http
    service: str
    region: str
    protocol: str  # cbor | json | query
    operation: str
    params: dict = dataclasses.field(default_factory=dict)
    access_key: str = ""


def read_call(http: Http) -> Call:
    """Service and region come from the signature's scope, as signing is the one thing that all protocols share."""
    scope = SCOPE.search(http.headers.get("authorization", ""))
    access_key, region, service = scope.groups() if scope else ("", "", "")
    call = Call(http, SERVICES.get(service, service), region, *_protocol(http))
    call.access_key = access_key
    if http.headers.get("content-encoding") == "gzip":
        http.body = gzip.decompress(http.body)
        http.headers.pop("content-encoding")
    if call.protocol == "query":
        call.operation = query.operation(http.body)
    return call


def decode(call: Call):
    """Separate from `read_call`, so that an unreadable body can be answered in the caller's protocol."""
    if not call.service:
        raise AwsError("MissingAuthenticationToken", "The request is not signed.", 403)
    try:
        if call.protocol == "cbor":
            call.params = cbor.decode(call.http.body)
        elif call.protocol == "json":
            call.params = json.loads(call.http.body or b"{}")
        else:
            call.params = query.decode(call.service, call.http.body)
    except (ValueError, KeyError, EOFError) as e:
        raise AwsError("SerializationException", f"unreadable {call.protocol} body: {e}") from e


def _protocol(http: Http):
    if m := cbor.PATH.fullmatch(http.path):
        return "cbor", m[1]
    if target := http.headers.get("x-amz-target"):
        return "json", target.rpartition(".")[2]
    return "query", ""


def success(call: Call, value: dict) -> Http:
    if call.protocol == "cbor":
        return _answer(call, cbor.encode(value))
    return _answer(call, compact(value).encode())


def failure(call: Call, error: AwsError) -> Http:
    body = {"__type": error.code, "message": error.message}
    if call.protocol == "cbor":
        http = _answer(call, cbor.encode(body), error.status)
    elif call.protocol == "json":
        http = _answer(call, compact(body).encode(), error.status)
    else:
        http = _answer(call, query.error(call.service, error.code, error.message, error.status), error.status)
    if call.service in ("cloudwatch", "sqs"):  # both are awsQueryCompatible: the SDK takes the code from here
        http.headers["x-amzn-query-error"] = f"{error.code};{'Receiver' if error.status >= 500 else 'Sender'}"
    return http


def _answer(call: Call, body: bytes, status: int = 200) -> Http:
    if call.protocol == "cbor":
        headers = dict(cbor.HEADERS)
    elif call.protocol == "json":
        headers = {"Content-Type": call.http.headers.get("content-type", "application/x-amz-json-1.0")}
    else:
        headers = {"Content-Type": "text/xml"}
    if call.service == "dynamodb":
        headers["x-amz-crc32"] = str(zlib.crc32(body))
    headers["x-amzn-requestid"] = "local"
    return Http(headers=headers, body=body, status=status)


def error_code(answer: Http):
    """The code in an error answer of any protocol, for the journal."""
    if answer.headers.get("Content-Type") == cbor.HEADERS["Content-Type"]:
        return cbor.decode(answer.body).get("__type")
    m = re.search(rb'<Code>([^<]+)</Code>|"__type": ?"(?:[^"#]*#)?([^"]+)"', answer.body)
    return (m[1] or m[2]).decode() if m else None


def compact(value) -> str:
    """JSON without spaces: the text that a fault's `match` is looked for in, and the journal's form."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_other)


def _other(value):
    if isinstance(value, Instant):
        return value.seconds
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"no JSON form for {type(value)}")
