from __future__ import annotations

import re
from pathlib import Path

from valtronics_fast.config import SETTINGS, is_reloaded
from valtronics_fast.config_reference import reference

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m valtronics_fast.config > docs/configuration.md"
    )


def test_every_setting_has_a_row_with_its_names() -> None:
    rows = {match[1]: match[0] for match in re.finditer(r"^\| .*`(VFAST_[A-Z_]+)`.*\|$", reference(), re.MULTILINE)}
    expected = {setting.variable: setting for setting in SETTINGS.values() if setting.variable}
    assert rows.keys() == expected.keys()
    for variable, setting in expected.items():
        star = " *" if is_reloaded(setting) else ""
        assert rows[variable].startswith(f"| `{setting.name}`{star} | `{setting.write(setting.default)}` | ")
        assert (f"`{setting.flag}`" in rows[variable]) or not setting.flag
        assert setting.zero in rows[variable]


def test_every_row_has_five_cells() -> None:
    for line in reference().splitlines():
        if line.startswith("|"):
            assert len(re.split(r"(?<!\\)\|", line)) == 7, line
