"""Smithy RPC v2 CBOR, the only protocol of the Rust CloudWatch client."""

import datetime
import re

import cbor2

from .instant import Instant

PATH = re.compile(r"/service/\w+/operation/(\w+)")
HEADERS = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
EPOCH_SECONDS = 1  # the CBOR tag of a timestamp


def decode(body: bytes):
    return _plain(cbor2.loads(body)) if body else {}


def encode(value) -> bytes:
    return cbor2.dumps(value, default=_encode_other)


def _plain(value):
    """Timestamps as seconds, as in the JSON protocol, so that one implementation serves both."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _encode_other(encoder, value):
    if not isinstance(value, Instant):
        raise TypeError(f"no CBOR form for {type(value)}")
    encoder.encode(cbor2.CBORTag(EPOCH_SECONDS, value.seconds))
