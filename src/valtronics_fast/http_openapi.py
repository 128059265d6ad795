"""The OpenAPI 3.1 document of the HTTP side, made of its operations (`http_operations`) and their Structs.

`python -m valtronics_fast.http_openapi` prints it, for docs/openapi.json; a server has it at `/api/v1/openapi.json`.
"""

from __future__ import annotations

from functools import cache
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from valtronics_fast.http_operations import OPERATIONS, Text
from valtronics_fast.http_schemas import Failure
from valtronics_fast.version import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valtronics_fast.http_operations import Operation

__all__ = ["document"]

_REFERENCES: Final = "#/components/schemas/{name}"

_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "publish": [{"api_key": []}, {"token": []}],
    "read": [{"api_key": []}, {"admin_key": []}, {"token": []}, {}],
    "admin": [{"admin_key": []}, {"token": []}],
}
"""What opens an operation, by the right that it needs. In a demo without `http.api_key`, the figures need nothing."""

_SCHEMES: Final = {
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "`http.api_key`: publishes, and sees the figures.",
    },
    "admin_key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "`http.admin_key`: administers, and sees the figures.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": (
            "A token with the claim `publish`, `monitor` (it opens the figures alone), or `admin` where "
            "`auth.admin_tokens` is on."
        ),
    },
}

_OF_ALL: Final = {
    400: "`bad_request`: the request is not valid HTTP",
    429: "`rate_limited`: the address is banned",
    500: "`internal`: a fault of the server",
    503: "`server_full`: too many open HTTP connections",
}
_OF_CREDENTIALS: Final = {
    401: "`not_authenticated`, `invalid_token`, `token_expired`: there is no good credential",
    403: "`forbidden`: the credential does not permit this, or nothing does",
}
_HEADERS: Final = {
    401: ("WWW-Authenticate", "What kind of credential is needed.", "string"),
    429: ("Retry-After", "Seconds to wait.", "integer"),
}


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    structs = [struct for operation in OPERATIONS for struct in _structs(operation)]
    unique = list({struct.__name__: struct for struct in structs}.values())
    _, components = msgspec.json.schema_components(unique, ref_template=_REFERENCES)
    for struct in unique:
        components[struct.__name__].update(getattr(struct, "json_schema", {}))
    for component in components.values():
        component["description"] = component["description"].partition("\n\n")[0]
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "valtronics-fast",
            "version": version(),
            "summary": "The HTTP side of a WebSocket telemetry server.",
            "description": (
                "docs/http-api.md says what everything means. HEAD works wherever GET does; any other method of a path "
                "is answered 405 `method_not_allowed`, and any other path 404 `not_found`. The dashboard is no part of "
                "this: its files below /dashboard, and the page that browsers (Accept: text/html) get for /."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SCHEMES},
    }


def _structs(operation: Operation) -> list[type[msgspec.Struct]]:
    """Return the Structs of bodies and answers."""
    bodies = [body for body in operation.bodies.values() if not isinstance(body, dict)]
    answers = [answer for answer in operation.answers.values() if not isinstance(answer, Text)]
    return [*bodies, *answers, operation.failure, Failure]


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if operation.needs:
        described["security"] = _SECURITY[operation.needs]
    parameters = [*_parameters("path", operation.at), *_parameters("query", operation.query)]
    if parameters:
        described["parameters"] = parameters
    if operation.bodies:
        content = {kind: {"schema": _schema(body)} for kind, body in operation.bodies.items()}
        described["requestBody"] = {"required": True, "content": content}
    failures: dict[int, str] = {}
    for each in (_OF_ALL, _OF_CREDENTIALS if operation.needs else {}, operation.failures):
        for status, text in each.items():
            failures[status] = f"{failures[status]}; {text}" if status in failures else text
    answers = {status: _answer(status, answer) for status, answer in operation.answers.items()}
    for status, text in failures.items():
        if status not in answers:
            answers[status] = _answer(status, operation.failure, text)
        else:
            either = [answers[status]["content"]["application/json"]["schema"], _schema(operation.failure)]
            answers[status]["content"]["application/json"]["schema"] = {"anyOf": either}
            answers[status]["description"] += f" Or {text}"
    described["responses"] = {str(status): answers[status] for status in sorted(answers)}
    return described


def _answer(status: int, what: type[msgspec.Struct] | Text, description: str = "") -> dict[str, Any]:
    """Describe an answer, by default in its own words."""
    if isinstance(what, Text):
        content = {kind: {"schema": {"type": "string"}} for kind in what.content_types}
        return {"description": what.description, "content": content}
    answer: dict[str, Any] = {
        "description": cleandoc(description or what.__doc__ or ""),
        "content": {"application/json": {"schema": _schema(what)}},
    }
    if status in _HEADERS:
        name, text, kind = _HEADERS[status]
        answer["headers"] = {name: {"description": text, "required": True, "schema": {"type": kind}}}
    return answer


def _schema(struct: type[msgspec.Struct] | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"$ref": _REFERENCES.format(name=struct.__name__)} if isinstance(struct, type) else struct


def _parameters(place: str, struct: type[msgspec.Struct] | None) -> list[dict[str, Any]]:
    """Return the parameters that the fields of a Struct are; their descriptions stand in its docstring."""
    if struct is None:
        return []
    (_,), components = msgspec.json.schema_components([struct], ref_template=_REFERENCES)
    schema = components[struct.__name__]
    texts = dict(
        line.strip().split(": ", 1)
        for line in cleandoc(struct.__doc__ or "").partition("Attributes:\n")[2].splitlines()
    )
    return [
        {
            "name": name,
            "in": place,
            "required": name in schema.get("required", ()),
            "description": texts[name].capitalize(),
            "schema": found,
        }
        for name, found in schema["properties"].items()
    ]


if __name__ == "__main__":
    print(orjson.dumps(document(), option=orjson.OPT_INDENT_2).decode())
