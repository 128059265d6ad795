from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import jwt
import pytest

from command_line import exit_code, faults, no_variables
from valtronics_fast.commands.parsing import EXIT_FAILURE, EXIT_OK

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_variables"]

pytestmark = pytest.mark.usefixtures("no_variables")

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"


@pytest.mark.parametrize(
    ("action", "flags"),
    [
        (
            "create",
            ["--sub", "--channels", "--devices", "--publish", "--monitor", "--admin", "--min-interval", "--expires",
             "--config"],
        ),
        ("verify", ["--token", "--json", "--config"]),
    ],
)
def test_help_of_token(capsys: pytest.CaptureFixture[str], action: str, flags: list[str]) -> None:
    assert exit_code("token", action, "--help") == EXIT_OK
    text = capsys.readouterr().out
    assert [flag for flag in (*flags, "examples:", "exit codes:") if flag not in text] == []
    assert exit_code("token", "--help") == EXIT_OK
    assert f"valtronics-fast token {action} --help" in capsys.readouterr().out


def minted(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert exit_code("token", *arguments) == EXIT_OK
    captured = capsys.readouterr()
    assert captured.err == ""
    claims = jwt.decode(captured.out.removesuffix("\n"), SECRET, ["HS256"], audience="dashboards")
    claims.pop("iat")
    assert isinstance(claims, dict)
    return claims


@pytest.fixture
def _secret(no_variables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFAST_AUTH__SECRET", SECRET)
    monkeypatch.setenv("VFAST_AUTH__AUDIENCE", "dashboards")


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize(
    ("arguments", "claims"),
    [
        ([], {}),
        (["--channels", "telemetry, alerts"], {"channels": ["telemetry", "alerts"]}),
        (["--devices", "*"], {"devices": "*"}),
        (["--devices", "1,2,pump-3"], {"devices": [1, 2, "pump-3"]}),
        (["--publish"], {"publish": True}),
        (["--publish", "telemetry"], {"publish": ["telemetry"]}),
        (["--publish", "--devices", "1"], {"publish": True, "devices": [1]}),
        (["--min-interval", "500ms"], {"min_interval": 0.5}),
        (["--monitor"], {"monitor": True}),
        (["--admin"], {"admin": True}),
    ],
)
def test_a_token_is_printed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], claims: dict[str, object]
) -> None:
    for action in ([], ["create"]):
        found = minted(capsys, *action, "--sub", "alice", *arguments)
        assert isinstance(found.pop("exp"), int)
        assert found == {"sub": "alice", "aud": "dashboards", **claims}


@pytest.mark.usefixtures("_secret")
def test_a_token_lives_as_long_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    lifetimes = []
    for expires in ([], ["--expires", "30m"], ["--expires", "8h"], ["--expires", "90"]):
        assert exit_code("token", "--sub", "alice", *expires) == EXIT_OK
        claims = jwt.decode(capsys.readouterr().out.strip(), options={"verify_signature": False})
        lifetimes.append(claims["exp"] - claims["iat"])
    assert lifetimes == [3600, 1800, 28800, 90]


def test_a_token_is_signed_with_the_secret_of_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text(f'[auth]\nsecret = "{SECRET}"\naudience = "dashboards"\n')
    assert minted(capsys, "--sub", "alice", "--config", str(path))["sub"] == "alice"


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--channels", "alarms"], "channels: must be of telemetry, alerts, devices, system, not 'alarms'"),
        (["--channels", ""], "channels: must be of telemetry, alerts, devices, system, not nothing"),
        (["--publish", ","], "publish: must be of telemetry, alerts, devices, system, not nothing"),
        (["--devices", ""], 'devices: must be "*" or 1 to 10000 ids, not 0'),
        (
            ["--expires", "soon"],
            "expires: a duration is 500ms, 5s, 10m, 1h or a number of seconds, not 'soon'",
        ),
        (["--expires", "0"], "expires: must be above 0 and at most ten years"),
        (["--sub", ""], "sub: must be 1 to 256 bytes, all printable"),
    ],
)
def test_faults_of_a_token(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert faults(capsys, "token", "--sub", "alice", *arguments) == [f"--{told}"]


def test_without_a_secret_there_is_no_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fault,) = faults(capsys, "token", "--sub", "a")
    assert fault.startswith("auth.secret is not set, so there is nothing to sign a token with: ")
    assert "VFAST_AUTH__SECRET" in fault
    monkeypatch.setenv("VFAST_AUTH__ALGORITHMS", "ES256")
    monkeypatch.setenv("VFAST_AUTH__JWKS_URL", "https://id.example/keys")
    (fault,) = faults(capsys, "token", "--sub", "a")
    assert fault.startswith("auth.algorithms has ES256: ")


@pytest.mark.usefixtures("_secret")
class TestVerify:
    """`token verify`: where the token comes from, and what is told of it."""

    @pytest.fixture
    def good(self, capsys: pytest.CaptureFixture[str]) -> str:
        assert exit_code("token", "create", "--sub", "alice", "--devices", "1,2") == EXIT_OK
        return capsys.readouterr().out.strip()

    @pytest.mark.parametrize("source", ["flag", "variable", "input", "dash"])
    def test_a_good_token_from_everywhere(
        self, good: str, source: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{good}\n".encode())))
        if source in {"variable", "dash"}:
            monkeypatch.setenv("VALTRONICS_TOKEN", good if source == "variable" else "a.b.c")
        flags = {"flag": ["--token", good], "dash": ["--token", "-"]}.get(source, [])
        assert exit_code("token", "verify", *flags) == EXIT_OK
        captured = capsys.readouterr()
        first, *rest = captured.out.splitlines()
        named = {"flag": "--token", "variable": "$VALTRONICS_TOKEN"}.get(source, "the standard input")
        assert first == f"valid: the server takes this token (from {named})"
        assert '  sub      "alice"' in rest
        assert "  sees telemetry, alerts, devices, system, devices 1, 2" in rest
        assert (good.rpartition(".")[2] in captured.out, captured.err) == (False, "")

    def test_a_refused_one_is_explained_and_not_shown(self, good: str, capsys: pytest.CaptureFixture[str]) -> None:
        changed = good[:-4] + "AAAA"
        assert exit_code("token", "verify", "--token", changed) == EXIT_FAILURE
        first, *rest = capsys.readouterr().out.splitlines()
        assert first.startswith("refused: it is signed with another key than the configured one, or was changed (")
        assert '  sub      "alice"' in rest
        assert changed not in "".join([first, *rest])
        assert exit_code("token", "verify", "--token", changed, "--json") == EXIT_FAILURE
        told = json.loads(capsys.readouterr().out)
        assert (told["valid"], told["refused"]["reason"], told["claims"]["devices"]) == (False, "bad_signature", [1, 2])

    def test_without_a_token(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
        assert faults(capsys, "token", "verify") == ["there is no token in the standard input"]

    def test_without_a_key(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("VFAST_AUTH__SECRET")
        (fault,) = faults(capsys, "token", "verify", "--token", "a.b.c")
        assert fault.startswith("auth.algorithms must have a key each")
