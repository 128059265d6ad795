from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from command_line import exit_code, faults
from valtronics_fast.commands.parsing import EXIT_OK
from valtronics_fast.schema import PARTS, schema


@pytest.mark.parametrize("part", [None, *PARTS])
def test_a_schema_is_printed(capsys: pytest.CaptureFixture[str], part: str | None) -> None:
    assert exit_code("schema", *([part] if part else [])) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(found)
    assert found == schema(part)


def test_an_unknown_part(capsys: pytest.CaptureFixture[str]) -> None:
    (fault,) = faults(capsys, "schema", "weather")
    assert fault.startswith("argument PART: invalid choice: 'weather'")
