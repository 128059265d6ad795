"""What fuzzing has found worth keeping, through the targets in a normal build; a crash that was found stays here."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


def test_every_target_has_a_corpus() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_wrong_with_what_was_found(name: str) -> None:
    run = TARGETS[name].start()
    for path in sorted((CORPUS / name).iterdir()):
        try:
            run(path.read_bytes())
        except BaseException as error:
            error.add_note(f"with {path}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_anything(name: str) -> None:
    run = TARGETS[name].start()
    for data in (b"", b"\0", b"\1", bytes(100), b"\xff" * 100, bytes(range(256))):
        run(data)
