from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.config_secrets import MAX_SIZE, SUFFIX, SecretFileError, read_credential, read_named
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"
OTHER_SECRET = "Nb7-xQ2vKr9LmTz4WcY8hPdSf3JgAe6uVo1RtXi0Bk_EzCwM"
VARIABLE = "VFAST_AUTH__SECRET"
# A value of each setting that may come out of a file.
VALUES = {
    "http.api_key": "k3y-for-publishing",
    "http.admin_key": "4f1e8b07c2d95a63-of-the-operators",
    "auth.secret": SECRET,
    "auth.jwks_url": "https://id.example/keys?token=abc",
    "mqtt.url": "mqtt://user:password@broker",
    "backplane.url": "redis://:password@redis",
}


def faults(**environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Config.load(environ=environ)
    return caught.value.problems


def write(path: Path, content: str | bytes = SECRET) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_each_sensitive_setting_is_tried() -> None:
    assert {key for key, setting in SETTINGS.items() if setting.sensitive} == set(VALUES)


def test_no_setting_has_the_name_of_a_file_of_another() -> None:
    variables = [setting.variable for setting in SETTINGS.values()]
    files = [setting.variable + SUFFIX for setting in SETTINGS.values() if setting.sensitive]
    assert set(variables) & set(files) == set()


@pytest.mark.parametrize("key", sorted(VALUES))
def test_a_secret_comes_out_of_a_file_that_a_variable_names(tmp_path: Path, key: str) -> None:
    value = VALUES[key]
    environ = {SETTINGS[key].variable + SUFFIX: write(tmp_path / "file", value + "\n")}
    if key == "auth.jwks_url":
        environ["VFAST_AUTH__ALGORITHMS"] = "RS256"
    section, name = key.split(".")
    assert getattr(getattr(Config.load(environ=environ), section), name) == value


@pytest.mark.parametrize("key", sorted(VALUES))
def test_a_secret_comes_out_of_a_credential(tmp_path: Path, key: str) -> None:
    value = VALUES[key]
    write(tmp_path / key, value)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    if key == "auth.jwks_url":
        environ["VFAST_AUTH__ALGORITHMS"] = "RS256"
    section, name = key.split(".")
    assert getattr(getattr(Config.load(environ=environ), section), name) == value


def test_variables_win_over_credentials_over_the_file(tmp_path: Path) -> None:
    source: dict[str, dict[str, object]] = {"auth": {"secret": SECRET[::-1]}}
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert Config.load(source, environ=environ).auth.secret == SECRET[::-1]
    write(tmp_path / "auth.secret", SECRET)
    assert Config.load(source, environ=environ).auth.secret == SECRET
    environ[VARIABLE + SUFFIX] = write(tmp_path / "named", OTHER_SECRET)
    assert Config.load(source, environ=environ).auth.secret == OTHER_SECRET


@pytest.mark.parametrize("directory", [{}, {"CREDENTIALS_DIRECTORY": ""}])
def test_without_a_directory_there_are_no_credentials(directory: dict[str, str]) -> None:
    assert read_credential(directory, "auth.secret") is None


def test_a_credential_of_another_name_is_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path / "tls.keyfile", b"\xff")
    assert Config.load(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == Config()


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_line_end_is_dropped(tmp_path: Path, end: str) -> None:
    path = write(tmp_path / "file", f" {SECRET} {end}")
    assert read_named("X_FILE", path) == (f" {SECRET} ", f"secret file {path} (X_FILE)")


def test_what_has_more_than_one_line_is_no_secret(tmp_path: Path) -> None:
    path = write(tmp_path / "file", f"{SECRET}\n\n")
    (fault,) = faults(**{VARIABLE + SUFFIX: path})
    assert fault.startswith(f"secret file {path} ({VARIABLE}_FILE): auth.secret must not hold control characters")


FAULTS = [
    (b"", "is empty"),
    (b"\n", "is empty"),
    (b"\r\n", "is empty"),
    (b"x" * (MAX_SIZE + 1), "is larger than 64 KiB"),
    (SECRET.encode() + b"\xff", "is not UTF-8"),
    (b"changeme", "auth.secret must be random, not a placeholder"),
    (SECRET[:31].encode(), "auth.secret must be at least 32 bytes long for HS256; it is 31"),
]


@pytest.mark.parametrize(("content", "told"), FAULTS)
def test_faults_of_a_file_that_a_variable_names(tmp_path: Path, content: bytes, told: str) -> None:
    path = write(tmp_path / "file", content)
    (fault,) = faults(**{VARIABLE + SUFFIX: path})
    assert fault.startswith(f"secret file {path} ({VARIABLE}_FILE): {told}")
    assert SECRET[:31] not in fault


@pytest.mark.parametrize(("content", "told"), FAULTS)
def test_faults_of_a_credential(tmp_path: Path, content: bytes, told: str) -> None:
    path = write(tmp_path / "auth.secret", content)
    (fault,) = faults(CREDENTIALS_DIRECTORY=str(tmp_path))
    assert fault.startswith(f"secret file {path} (CREDENTIALS_DIRECTORY): {told}")
    assert SECRET[:31] not in fault


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    assert len(read_named("X", write(tmp_path / "file", "x" * MAX_SIZE))[0]) == MAX_SIZE


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(SecretFileError, match="larger"):
        read_named("X", "/dev/urandom")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SecretFileError, match="is empty"):
        read_named("X", str(tmp_path / "pipe"))


@pytest.mark.parametrize("mistake", [SECRET, "", "a\0b", "/"])
def test_a_secret_in_place_of_a_path_is_not_repeated(mistake: str) -> None:
    (fault,) = faults(**{VARIABLE + SUFFIX: mistake})
    assert fault.startswith(f"secret file of {VARIABLE}_FILE: cannot be read (")
    assert fault.endswith("; the variable holds the path of a file, not the secret itself")
    assert SECRET not in fault


def test_a_credential_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "auth.secret").mkdir()
    (fault,) = faults(CREDENTIALS_DIRECTORY=str(tmp_path))
    assert fault == f"secret file {tmp_path}/auth.secret (CREDENTIALS_DIRECTORY): cannot be read (Is a directory)"
    told = faults(CREDENTIALS_DIRECTORY="a\0b")
    assert {fault.split("): ")[1] for fault in told} == {"cannot be read (no path)"}


@pytest.mark.parametrize("value", [SECRET, ""])
def test_a_variable_and_its_file_do_not_go_together(tmp_path: Path, value: str) -> None:
    environ = {VARIABLE: value, VARIABLE + SUFFIX: write(tmp_path / "file")}
    assert faults(**environ) == (f"variable {VARIABLE}_FILE: must not be set together with {VARIABLE}",)


def test_only_secrets_come_out_of_files() -> None:
    (fault,) = faults(VFAST_SERVER__PORT_FILE="/etc/port")
    assert fault.startswith("variable VFAST_SERVER__PORT_FILE: unknown setting")
    (fault,) = faults(VFAST_AUTH__SECRET_FIEL="/etc/secret")
    assert fault == "variable VFAST_AUTH__SECRET_FIEL: unknown setting (did you mean VFAST_AUTH__SECRET_FILE?)"
