"""The shape of the repository: the core's modules form a DAG, and every module has its stub and its tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "src" / "_core"
STUBS = ROOT / "src" / "valtronics_fast" / "_core"
PACKAGE = ROOT / "src" / "valtronics_fast"

# Who may cimport or import whom within the core. Below: nothing of the layer above.
LAYERS = {
    "types": set(),
    "wire": set(),
    "clock": set(),
    "histogram": {"clock"},
    "bitset": {"types"},
    "bucket": {"types"},
    "buffer": {"types"},
    "wheel": {"types"},
    "scope": {"types"},
    "slices": set(),
    "frames": {"buffer", "types", "wire"},
    "frequency": set(),
    "devices": {"scope", "types"},
    "pairs": {"types"},
    "commands": {"devices", "frequency", "scope", "wire"},
    "publication": {"clock", "scope", "wire"},
    "admission": {"clock", "publication", "scope", "slices", "types", "wire"},
    "encode": {"bitset", "publication", "wire"},
    "lanes": {"types", "wire"},
    "history": {"lanes", "publication", "types"},
    "names": {"types"},
    "latest": {"encode", "publication", "types", "wire"},
    "throttle": {"bitset", "latest", "publication", "types"},
    "posting": {"bitset", "types"},
    "postings": {"bitset", "devices", "pairs", "posting", "types"},
    "index": {"devices", "lanes", "latest", "names", "posting", "postings", "publication", "throttle", "types", "wire"},
    "packet": {"buffer", "encode", "lanes", "latest", "publication", "types", "wire"},
    "queue": {"types"},
    "formats": {"encode", "wire"},
    "sampling": {"commands", "formats", "types", "wire"},
    "run": {"buffer", "encode", "formats", "queue", "types"},
    "outbox": {"histogram", "publication", "queue", "run", "types"},
    "inbox": {"buffer", "clock", "outbox", "types"},
    "fanout": {"bitset", "outbox", "queue", "sampling", "types", "wheel", "wire"},
    "pacer": {"bitset", "fanout", "index", "latest", "outbox", "publication", "throttle", "types", "wheel"},
    "hub": {
        "bitset", "buffer", "clock", "encode", "fanout", "history", "inbox", "index", "lanes", "latest", "outbox",
        "packet", "pacer", "posting", "publication", "throttle", "types", "wire",
    },
    "coverage": {"devices", "frequency", "index", "pairs", "types"},
    "standing": {
        "bitset", "coverage", "devices", "fanout", "index", "outbox", "pairs", "postings", "publication", "throttle",
        "types", "wire",
    },
    "subscriptions": {
        "commands", "coverage", "devices", "frequency", "index", "scope", "standing", "types", "wire",
    },
    "echo": {"connection", "encode", "types", "wire"},
    "connection": {
        "bucket", "clock", "encode", "formats", "frames", "hub", "inbox", "outbox", "queue", "types", "wire",
    },
    "census": {"clock", "connection", "histogram", "hub"},
    "client": {"clock", "connection", "encode", "formats", "hub", "scope", "types", "wire"},
    "catchup": {"hub", "index", "latest", "outbox", "publication", "subscriptions", "throttle", "types", "wire"},
    "replay": {"commands", "coverage", "encode", "history", "hub", "index", "publication", "subscriptions", "throttle"},
    "feed": {
        "bucket", "catchup", "client", "clock", "commands", "connection", "coverage", "lanes", "latest", "publication",
        "queue", "replay", "scope", "subscriptions", "types", "wire",
    },
    "explain": {
        "bitset", "commands", "connection", "coverage", "feed", "history", "index", "latest", "publication",
        "throttle", "wire",
    },
    "session": {
        "clock", "commands", "connection", "coverage", "devices", "feed", "formats", "hub", "names", "publication",
        "scope", "types", "wire",
    },
    "roster": {"clock", "connection", "coverage", "feed", "formats", "hub", "wire"},
    "index_checks": {
        "bitset", "coverage", "devices", "index", "names", "pairs", "posting", "postings", "subscriptions", "types",
        "wire",
    },
    "checks": {
        "catchup", "history", "hub", "index", "index_checks", "lanes", "latest", "outbox", "publication", "queue",
        "session", "types", "wheel", "wire",
    },
}  # fmt: skip
MODULES = sorted(path.stem for path in CORE.glob("*.pyx"))
SUFFIXES = {".pyx", ".pxd"}
PYTHON = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py")) if not path.name.startswith("__")]
SOURCES = [path.relative_to(ROOT) for path in sorted(ROOT.glob("src/**/*")) if path.suffix in {".py", *SUFFIXES}]
MAX_LINES = 400
# Only says what others implement.
INTERFACES = {Path("backplanes/base.py"), Path("backplanes/log.py")}

_RELATIVE = re.compile(r"^\s*from \.(\w+) c?import ", re.MULTILINE)
_ANY = re.compile(r"^\s*(?:from|c?import) +(valtronics_fast[\w.]*)", re.MULTILINE)


def _edges(module: str) -> set[str]:
    text = "".join(path.read_text() for path in CORE.iterdir() if path.stem == module and path.suffix in SUFFIXES)
    assert not _ANY.findall(text), f"{module} imports the package above it"
    return set(_RELATIVE.findall(text)) - {module}


def test_every_module_of_the_core_stands_in_the_layers() -> None:
    assert set(LAYERS) == {path.stem for path in CORE.iterdir() if path.suffix in SUFFIXES}


@pytest.mark.parametrize("module", LAYERS)
def test_the_core_imports_along_the_layers(module: str) -> None:
    assert _edges(module) == LAYERS[module]


def test_the_layers_form_a_dag() -> None:
    left = dict(LAYERS)
    while left:
        free = {module for module, below in left.items() if not below & set(left)}
        assert free, f"a cycle among {sorted(left)}"
        left = {module: below for module, below in left.items() if module not in free}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_of_the_core_has_a_stub_and_tests(module: str) -> None:
    assert (STUBS / f"{module}.pyi").exists()
    assert (ROOT / "tests" / "core" / f"test_{module}.py").exists()


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_every_python_module_has_its_tests(path: Path) -> None:
    tests = ROOT / "tests" / path.parent / f"test_{path.name}"
    assert tests.exists() or path in INTERFACES, f"{tests.relative_to(ROOT)} is missing"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_can_be_read_in_one_sitting(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= MAX_LINES


def test_producers_and_backplanes_know_nothing_of_the_server() -> None:
    for folder in ("producers", "backplanes"):
        for path in (PACKAGE / folder).glob("*.py"):
            assert "valtronics_fast.server" not in path.read_text(), path
