"""deploy/Dockerfile: what can be told without building it; `make image-check` does what it does, on this machine."""

from __future__ import annotations

import json
import re
import shlex
import tomllib

import pytest

from deployed import DEPLOY, ROOT, assert_settings
from process import finished, running
from valtronics_fast.config import SETTINGS

TEXT = (DEPLOY / "Dockerfile").read_text()


def instructions(text: str) -> list[tuple[str, str]]:
    """Return each instruction and what follows it, on one line."""
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


ALL = instructions(TEXT)
LAST = ALL[max(number for number, (word, _) in enumerate(ALL) if word == "FROM") :]


def of_last_stage(word: str) -> str:
    """Return what the one instruction of this name says in the stage that runs."""
    (found,) = (rest for name, rest in LAST if name == word)
    return found


def test_both_stages_stand_on_the_same_python() -> None:
    images = [rest.split()[0] for word, rest in ALL if word == "FROM"]
    assert len(images) == 2
    assert len(set(images)) == 1, "an environment is for the Python that it was made with"


def test_what_it_copies_is_there_and_gets_past_dockerignore() -> None:
    copied = [shlex.split(rest)[:-1] for word, rest in ALL if word == "COPY" and not rest.startswith("--from")]
    sources = {source for each in copied for source in each}
    ignored, *rest = (line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in {"", "#"})
    assert ignored == "*"
    assert {line.removeprefix("!") for line in rest if line.startswith("!")} == sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_it_copies_what_the_build_reads() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    read = {"pyproject.toml", "CMakeLists.txt", project["readme"], *project["license-files"]}
    (line,) = (rest for word, rest in ALL if word == "COPY" and "pyproject.toml" in rest)
    assert set(shlex.split(line)[:-1]) == read
    extras = [set(match.split(",")) for match in re.findall(r"\[([\w,]+)\]'", TEXT)]
    assert len(extras) == 2
    assert extras[0] == extras[1] <= set(project["optional-dependencies"])


def test_what_runs_has_no_compiler_and_no_root() -> None:
    assert [word for word, _ in LAST if word in {"RUN", "ADD", "VOLUME"}] == []
    user, group = of_last_stage("USER").split(":")
    assert min(int(user), int(group)) >= 1000, "Kubernetes has to see that it is not root: a number"


def test_what_it_says_is_what_the_server_does() -> None:
    ports = [int(port) for port in of_last_stage("EXPOSE").split()]
    assert ports == [SETTINGS["server.port"].default, SETTINGS["http.port"].default]
    assert_settings(re.findall(r"(\w+)=", of_last_stage("ENV")))
    assert of_last_stage("STOPSIGNAL") == "SIGTERM"
    assert json.loads(of_last_stage("ENTRYPOINT")) == ["valtronics-fast"]


async def test_the_health_check_tells_a_server_that_is_there_from_none() -> None:
    program, *arguments = json.loads(of_last_stage("HEALTHCHECK").partition(" CMD ")[2])
    assert program == "valtronics-fast"
    async with running() as server:
        variables = {"VFAST_HTTP__PORT": server.http.rpartition(":")[2]}
        assert (await finished(*arguments, **variables))[0] == 0
        assert await server.end() == 0
    assert (await finished(*arguments, **variables))[0] == 1


@pytest.mark.parametrize("variable", ["VFAST_SERVER__HOST", "VFAST_HTTP__HOST"])
def test_in_a_container_it_listens_for_others(variable: str) -> None:
    assert f"{variable}=0.0.0.0" in of_last_stage("ENV").split()
