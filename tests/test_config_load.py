from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from valtronics_fast.config import SETTINGS
from valtronics_fast.config_load import Found, gather

if TYPE_CHECKING:
    from pathlib import Path


def load(source: object = None, flags: dict[str, object] | None = None, **environ: str) -> Found:
    return gather(SETTINGS, source, flags or {}, environ)  # type: ignore[arg-type]


def test_nothing_is_found_where_nothing_is_given() -> None:
    found = load()
    assert (found.values, found.problems, found.faulty) == ({}, [], set())
    assert found.locate("server.port") == "default"


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text('[server]\nport = 9000\n[limits]\nconnection_rate = "5/s"\n[security]\norigins = ["*"]\n')
    found = load(str(path))
    assert found.problems == []
    assert found.values["server.port"] == 9000
    assert found.values["security.origins"] == ("*",)
    assert found.locate("server.port") == f"{path}:2 [server] port"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[server]\nport = = 1\n", ":2: is not valid TOML: Invalid value (at line 2"),
        (b"[server]\nport = 1\nport = 2\n", ":3: is not valid TOML"),
        (b"[server", ": is not valid TOML"),
        (b"\xff\xfe", ": is not UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_is_a_fault(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "server.toml"
    path.write_bytes(content)
    (problem,) = load(path).problems
    assert problem.startswith(f"{path}{told}")


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml").problems == [
        f"{tmp_path}/none.toml: cannot be read (No such file or directory)"
    ]
    assert load(tmp_path).problems == [f"{tmp_path}: cannot be read (Is a directory)"]


def test_a_fault_in_a_file_does_not_hide_the_others(tmp_path: Path) -> None:
    found = load(tmp_path / "none.toml", {"server.port": "x"}, VFAST_SEVER__PORT="1")
    assert len(found.problems) == 3


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"sever": {}}, "mapping [sever]: unknown section (did you mean server?)"),
        ({"qqqq": {}}, "mapping [qqqq]: unknown section"),
        ({"server": {"prot": 1}}, "mapping [server] prot: unknown setting (did you mean port?)"),
        ({"server": 5}, "mapping [server]: must be a section of settings, not a value"),
        (
            {"server": {"port": {}}},
            "mapping [server] port: server.port must be a whole number from 0 to 65535, not {}",
        ),
    ],
)
def test_faults_of_sections(source: dict[str, object], told: str) -> None:
    assert load(source).problems == [told]


def test_only_variables_with_the_prefix_are_looked_at() -> None:
    assert load(PATH="/bin", vfast_server__port="x", VFASTX="1", XVFAST_A="1").problems == []


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("VFAST_SERVER_PORT", "VFAST_SERVER__PORT"),
        ("VFAST_AUTH__SECRT", "VFAST_AUTH__SECRET"),
        ("VFAST_LIMIT__CONNECTIONS", "VFAST_LIMITS__CONNECTIONS"),
    ],
)
def test_an_unknown_variable_is_told_with_the_nearest(name: str, near: str) -> None:
    assert gather(SETTINGS, None, {}, {name: "hunter2"}).problems == [
        f"variable {name}: unknown setting (did you mean {near}?)"
    ]


def test_an_unknown_variable_without_a_near_one_is_told_too() -> None:
    assert load(VFAST_ZZZZZZZZZZ="1").problems == ["variable VFAST_ZZZZZZZZZZ: unknown setting"]


def test_a_variable_is_text_and_says_where_it_is() -> None:
    found = load(VFAST_SERVER__PORT="9000", VFAST_HTTP__PORT="abc")
    assert found.values == {"server.port": 9000}
    assert found.locate("server.port") == "variable VFAST_SERVER__PORT"
    assert found.faulty == {"http.port"}
    assert found.problems == ["variable VFAST_HTTP__PORT: http.port must be a whole number from 0 to 65535, not 'abc'"]


def test_flags_are_text_or_values() -> None:
    found = load(flags={"server.port": "9000", "http.port": 9001, "demo": True, "logging.level": None})
    assert found.values == {"server.port": 9000, "http.port": 9001, "demo": True}
    assert found.locate("server.port") == "flag --port"
    assert found.problems == []


def test_faults_of_flags() -> None:
    found = load(flags={"server.prt": 1, "server.port": "x", "auth.leeway": "x", "demo": "perhaps"})
    assert [problem.split(":")[0] for problem in found.problems] == [
        "flag server.prt",
        "flag --port",
        "flag auth.leeway",
        "flag --demo",
    ]
    assert found.problems[0] == "flag server.prt: unknown setting (did you mean server.port?)"


def test_a_later_source_replaces_an_earlier_one_and_faults_of_both_are_told() -> None:
    found = load({"server": {"port": "x"}}, {"server.port": "9000"}, VFAST_SERVER__PORT="y")
    assert found.values == {"server.port": 9000}
    assert found.locate("server.port") == "flag --port"
    assert len(found.problems) == 2
