"""Every page: its links lead somewhere, and its blocks are what they say they are."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from deployed import DEPLOY, VARIABLES
from docs.pages import ALL, NAMES, ROOT, Block, links, slugs
from services import program
from valtronics_fast import Config
from valtronics_fast.config import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = {"", "dialogue", "ini", "js", "json", "nginx", "python", "sh", "toml", "yaml"}
MARKS = {"", "client", "each", "file", "none", "server"}
SECTIONS = {setting.section for setting in SETTINGS.values()}


def of(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in ALL if block.language in languages]
    assert chosen, languages
    return pytest.mark.parametrize("block", chosen, ids=str)


def decoded(text: str) -> list[Any]:
    """Return the JSON values that stand in a text one behind the other."""
    values, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_what_is_there(name: str) -> None:
    for path, anchor in links(name):
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in slugs(path), f"{path}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    linked = {path for path, _ in links("docs/README.md")}
    assert [name for name in NAMES if name.startswith("docs/") and name not in {*linked, "docs/README.md"}] == []
    assert "docs/README.md" in {path for path, _ in links("README.md")}


def test_every_picture_is_shown() -> None:
    text = "".join((ROOT / name).read_text() for name in NAMES)
    pictures = [path.name for path in (ROOT / "docs" / "images").iterdir()]
    assert pictures
    assert [name for name in pictures if f"images/{name}" not in text] == []


def test_every_block_says_what_it_is_and_what_is_done_with_it() -> None:
    assert {block.language for block in ALL} <= LANGUAGES
    assert {block.doing for block in ALL} <= MARKS
    assert [str(block) for block in ALL if block.doing == "none" and len(block.mark) < 20] == [], "a reason is needed"
    text = "".join((ROOT / name).read_text() for name in NAMES)
    assert text.count("<!-- test: ") == sum(bool(block.mark) for block in ALL), "a comment stands above no block"


@of("json")
def test_json_is_json(block: Block) -> None:
    assert decoded(block.text)


@of("toml")
def test_toml_is_a_configuration(block: Block) -> None:
    values = tomllib.loads(block.text)
    if not values.keys() <= SECTIONS:  # a part of a section
        (section,) = (name for name in SECTIONS if all(f"{name}.{key}" in SETTINGS for key in values))
        values = {section: values}
    for section in values.values():
        for name in ("certfile", "keyfile"):
            if name in section:
                section[name] = "/dev/null"
    Config.load(values, environ={})


@of("python")
def test_python_is_python(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@of("js")
def test_javascript_is_javascript(block: Block, tmp_path: Path) -> None:
    script = tmp_path / "block.mjs"
    script.write_text(block.text)
    done = subprocess.run([program("node", "nodejs"), "--check", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@of("sh")
def test_shell_is_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@of("ini")
def test_units_of_systemd_are_such(block: Block, tmp_path: Path) -> None:
    names = re.findall(r"^# /etc/systemd/system/(\S+?):?(?= |$)", block.text, re.MULTILINE)
    texts = re.split(r"^# /etc/systemd/system/.*$", block.text, flags=re.MULTILINE)[1:]
    assert len(names) == len(texts) > 0
    units = []
    for name, text in zip(names, texts, strict=True):
        unit = tmp_path / re.sub("@.service$", "@blue.service", name)
        unit.write_text(re.sub(r"(?<=^ExecStart=)\S+", "/bin/true", text, flags=re.MULTILINE))
        units.append(unit)
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", *units], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@of("yaml")
def test_prometheus_reads_its_configuration(block: Block, tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(block.text)
    command = [program("promtool", "prometheus"), "check", "config", tmp_path / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_are_targets(name: str) -> None:
    text = (ROOT / name).read_text()
    targets = {block_line.split()[1] for block_line in re.findall(r"^make \w.*$", text, re.MULTILINE)}
    targets |= set(re.findall(r"`make ([\w-]+)", text))
    phony = set((ROOT / "Makefile").read_text().partition(".PHONY:")[2].partition("\n")[0].split())
    assert targets <= phony | {"fuzz-session"}


@pytest.mark.parametrize("name", NAMES)
def test_variables_are_settings(name: str) -> None:
    named = set(re.findall(r"\bVFAST_[A-Z]+__[A-Z_]*[A-Z]\b", (ROOT / name).read_text()))
    assert [each for each in named if each not in VARIABLES and each.removesuffix("_FILE") not in VARIABLES] == []
