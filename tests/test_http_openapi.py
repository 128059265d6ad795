"""The document itself; what it says of a running server is tried in tests/integration/test_openapi.py."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
from jsonschema import Draft202012Validator

from http_served import serving
from valtronics_fast.http_openapi import document
from valtronics_fast.http_operations import OPERATIONS

PAGE = Path(__file__).parents[1] / "docs" / "openapi.json"


def test_the_page_is_up_to_date() -> None:
    assert json.loads(PAGE.read_text()) == json.loads(orjson.dumps(document())), "make docs"


async def test_a_server_has_it() -> None:
    async with serving() as serve:
        served = await serve()
        assert await served.ask("GET", "/api/v1/openapi.json") == (200, json.loads(orjson.dumps(document())))


def test_every_operation_is_in_it_and_nothing_else() -> None:
    """What belongs to the dashboard is left out: it is between the page and the server of one version, and no API."""
    found = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert found == {(one.method, one.path) for one in OPERATIONS}
    assert not any(path.startswith("/dashboard") for _, path in found)


def test_what_needs_a_right_says_so_and_may_be_refused() -> None:
    for operation in OPERATIONS:
        described = document()["paths"][operation.path][operation.method.lower()]
        assert ("security" in described) == bool(operation.needs)
        assert ({"401", "403"} <= described["responses"].keys()) == bool(operation.needs)
        assert {"400", "429", "500", "503"} <= described["responses"].keys()
        assert all(each["description"] for each in described.get("parameters", []))
        for answer in described["responses"].values():
            assert answer["description"]
            assert all(kind["schema"] for kind in answer["content"].values())


def test_its_schemas_are_schemas() -> None:
    for schema in document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
