"""The commands of the pages are run as they stand there, from the first to the last, and print what stands below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from docs.pages import ALL, blocks
from docs.test_pages import decoded
from docs.world import World
from harness import SECRET, configuration
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from pathlib import Path

    from docs.pages import Block

KEY = "a-key-of-the-backend"
ADMIN_KEY = "9d41c7a0e85b62f3-of-the-operators"
TOKEN = mint(configuration().auth, "reader", publish=True)

OWN_TESTS = {
    "docs/cli.md": "tests/integration/test_cli_page.py",
    "docs/mqtt.md": "tests/integration/test_mqtt_page.py",
}
"""Pages whose commands another test runs, with more to say about what they give."""

ALONE = {"docs/tutorial.md", "docs/migrate.md"}
"""Pages that start all that they need; readers of the others have a server and a broker."""


def runs(block: Block) -> bool:
    """Say whether a block is one to do something with; what is only made is looked up (test_pages.py)."""
    lines = [line for line in block.text.splitlines() if line and not line.startswith("#")]
    return block.doing == "file" or (block.language == "sh" and not all(line.startswith("make ") for line in lines))


PAGES = sorted({block.page for block in ALL if runs(block) and block.doing != "none"} - OWN_TESTS.keys())


def assert_like(printed: Any, shown: Any) -> None:
    """Assert that a value has the form of the one on the page, and is it but for numbers."""
    if isinstance(shown, dict):
        assert printed.keys() == shown.keys()
        for key, value in shown.items():
            assert_like(printed[key], value)
    elif isinstance(shown, list):
        assert len(printed) == len(shown)
        for one, other in zip(printed, shown, strict=True):
            assert_like(one, other)
    elif isinstance(shown, (int, float)):
        assert isinstance(printed, (int, float))
    else:
        assert printed == shown


@pytest.fixture
def world(tmp_path: Path, page: str) -> World:
    """Return where a page's commands are run."""
    if page == "docs/migrate.md":
        world = World(tmp_path, PLATFORM_SECRET=SECRET, PLATFORM_TOKEN=TOKEN)
        world.background("mosquitto -v -p 1883")
    elif page in ALONE:
        world = World(tmp_path)
    else:
        keys = {"VFAST_HTTP__API_KEY": KEY, "VFAST_HTTP__ADMIN_KEY": ADMIN_KEY, "KEY": KEY, "ADMIN_KEY": ADMIN_KEY}
        world = World(tmp_path, VFAST_AUTH__SECRET=SECRET, TOKEN=TOKEN, **keys)
        (tmp_path / "server.toml").write_text(world.here('[mqtt]\nurl = "mqtt://localhost:1883"\n'))
        world.background("mosquitto -v -p 1883")
        world.background("valtronics-fast --config server.toml", says="Ctrl-C stops it")
        world.run("until curl --silent localhost:8001/health/ready | grep -q '\"mqtt\":\"ok\"'; do sleep 0.1; done")
    return world


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page(world: World, page: str) -> None:
    with world:
        for block in blocks(page):
            if runs(block):
                printed = world.do(block)
                if block.shown and block.doing != "none":
                    assert_like(decoded(printed), decoded(block.shown))
        if page == "README.md":  # the client of which it shows the code gets what it shows to be published
            world.background("node client.mjs", says="23.5")


def test_each_page_with_commands_is_run() -> None:
    pages = {block.page for block in ALL if block.language == "sh" and runs(block) and block.doing != "none"}
    assert pages == {*PAGES, *OWN_TESTS}
    assert {"README.md", "docs/tutorial.md", "docs/migrate.md", "docs/http-api.md"} <= set(PAGES)
