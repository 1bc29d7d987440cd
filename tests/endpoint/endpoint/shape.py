"""Requests, and what tests say that AWS would answer, held against AWS's own model of it."""

import functools

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


@functools.cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def wrong_input(service: str, operation: str, params: dict) -> str:
    """What the model says against a request; nothing if all is well."""
    shape = model(service).operation_model(operation).input_shape
    return _wrong(params, shape)


def wrong_value(service: str, name: str, value) -> str:
    """What the model says against a value of one of its shapes, with the names that this service gives them."""
    return _wrong(value, model(service).shape_for(name))


def _wrong(value, shape) -> str:
    report = ParamValidator().validate(value, shape)
    return report.generate_report() if report.has_errors() else "; ".join(_enums(value, shape))


def _enums(value, shape):
    """botocore leaves these to the service."""
    kind = shape.type_name
    if kind == "structure":
        for name, member in shape.members.items():
            yield from _enums(value[name], member) if name in value else ()
    elif kind == "list":
        for item in value:
            yield from _enums(item, shape.member)
    elif kind == "map":
        for key, item in value.items():
            yield from (*_enums(key, shape.key), *_enums(item, shape.value))
    elif kind == "string" and shape.enum and value not in shape.enum:
        yield f"{value!r} is none of {', '.join(shape.enum)}"
