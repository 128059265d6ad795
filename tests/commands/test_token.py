from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import pytest

from command_line import exit_code, faults, no_variables
from valtronics_fast.commands.parsing import EXIT_OK

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_variables"]

pytestmark = pytest.mark.usefixtures("no_variables")

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"


def test_help_of_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("token", "--help") == EXIT_OK
    text = capsys.readouterr().out
    for flag in ("--sub", "--channels", "--devices", "--publish", "--min-interval", "--expires", "--config"):
        assert flag in text


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
    ],
)
def test_a_token_is_printed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], claims: dict[str, object]
) -> None:
    found = minted(capsys, "--sub", "alice", *arguments)
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
