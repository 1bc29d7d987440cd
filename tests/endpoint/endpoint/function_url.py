"""Function URLs: an HTTP request becomes an event of payload format 2.0, and what the function answers an HTTP response."""

import base64
import json
import re
import time
import uuid

from .wire import Http

PATH = re.compile(r"/_url/([A-Za-z0-9_-]+)(/.*)?$", re.DOTALL)
IAM_HEADER = "x-test-iam"  # its value is the ARN of who signed: signatures are not checked here
BODY_MAX = 6 * 1024 * 1024
TIMEOUT_S = 60
# What Lambda keeps for itself, and what belongs to the connection.
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "proxy-authorization", "proxy-authenticate")
TEXT = re.compile(r"text/|application/(json|javascript|xml|graphql)|[^;]+\+(json|xml)|application/x-www-form-urlencoded")


def handle(runtime, http: Http, query: str, source_ip: str) -> Http:
    function, path = PATH.match(http.path).groups()
    if len(http.body) > BODY_MAX:
        return _answer(413, {"Message": "Request Entity Too Large"})
    event = _event(http, path or "/", query, source_ip)
    outcome = runtime.invoke({"function": function, "event": event, "timeout_s": TIMEOUT_S})
    if not outcome["ok"]:
        status = 504 if outcome["error_type"] == "Endpoint.Timeout" else 502
        return _answer(status, {"Message": "Internal Server Error", "type": outcome["error_type"], "error": outcome["error"]})
    return _response(outcome["payload"])


def _event(http, path, query, source_ip):
    headers = {name: value for name, value in http.headers.items() if name not in HOP_BY_HOP}
    arn = headers.pop(IAM_HEADER, None)
    headers.setdefault("x-forwarded-proto", "http")
    headers["x-forwarded-for"] = source_ip
    host = headers.get("host", "127.0.0.1")
    now = time.time()
    event = {
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
        "requestContext": {
            "accountId": "123456789012" if arn else "anonymous", "apiId": "local", "domainName": host, "domainPrefix": "local",
            "http": {"method": http.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": source_ip, "userAgent": headers.get("user-agent", "")},
            "requestId": str(uuid.uuid4()), "routeKey": "$default", "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)), "timeEpoch": int(now * 1e3)},
        "isBase64Encoded": False,
    }
    if arn:
        event["requestContext"]["authorizer"] = {"iam": {
            "accessKey": "AKIDLOCAL", "accountId": "123456789012", "callerId": "AIDALOCAL", "cognitoIdentity": None,
            "principalOrgId": None, "userArn": arn, "userId": "AIDALOCAL"}}
    if http.body:
        event["body"], event["isBase64Encoded"] = _body(http)
    return event


def _body(http):
    """As text where the content type says so and it is UTF-8, else in base64."""
    if TEXT.match(http.headers.get("content-type", "")):
        try:
            return http.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(http.body).decode(), True


def _response(payload):
    """Without a status code, Lambda takes the whole answer for the body."""
    if not isinstance(payload, dict) or "statusCode" not in payload:
        return _answer(200, payload)
    status, body = payload["statusCode"], payload.get("body") or ""
    if not isinstance(status, int) or not 100 <= status <= 599 or not isinstance(body, str):
        return _answer(502, {"Message": "Internal Server Error", "error": "the function's answer is no HTTP response"})
    headers = {"content-type": "application/json"} | {name.lower(): str(value) for name, value in (payload.get("headers") or {}).items()}
    return Http(status=status, headers=headers, body=base64.b64decode(body) if payload.get("isBase64Encoded") else body.encode())


def _answer(status, value):
    return Http(status=status, headers={"content-type": "application/json"}, body=json.dumps(value).encode())
