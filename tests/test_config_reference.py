from __future__ import annotations

import re
from pathlib import Path

from valtronics_fast.config import SETTINGS, is_reloaded
from valtronics_fast.config_aliases import ALIASES
from valtronics_fast.config_reference import reference
from valtronics_fast.config_secrets import SUFFIX

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m valtronics_fast.config > docs/configuration.md"
    )


def sections() -> str:
    return reference().partition("\n## [")[2]


def test_every_setting_has_a_row_with_its_names() -> None:
    rows = {match[1]: match[0] for match in re.finditer(r"^\| .*`(VFAST_[A-Z_]+)`.*\|$", sections(), re.MULTILINE)}
    expected = {setting.variable: setting for setting in SETTINGS.values() if setting.variable}
    assert rows.keys() == expected.keys()
    for variable, setting in expected.items():
        star = " *" if is_reloaded(setting) else ""
        assert rows[variable].startswith(f"| `{setting.name}`{star} | `{setting.write(setting.default)}` | ")
        assert (f"`{setting.flag}`" in rows[variable]) or not setting.flag
        assert setting.zero in rows[variable]


def test_every_row_has_five_cells() -> None:
    for line in sections().splitlines():
        if line.startswith("|"):
            assert len(re.split(r"(?<!\\)\|", line)) == 7, line


def test_every_secret_and_alias_has_a_row() -> None:
    head = reference().partition("\n## [")[0]
    secrets = dict(re.findall(r"^\| `(VFAST_\w+_FILE)` \| `([a-z_.]+)` \|$", head, re.MULTILINE))
    assert secrets == {one.variable + SUFFIX: one.key for one in SETTINGS.values() if one.sensitive}
    for alias in ALIASES:
        names = ", ".join(f"`{name}`" for name in alias.variables)
        assert f"\n| {names} | `{alias.key}` | {alias.meaning} |\n" in head
