"""The pages of the documentation: their blocks of code, and what is to be done with each.

A comment above a block says it where it is not plain to see (it does not show on the rendered page):

- `<!-- test: file NAME -->`: it is that file.
- `<!-- test: server -->`: it goes on running until the end of the page, once it has said something.
- `<!-- test: client -->`: it goes on running; it has to print something that is no fault, and is ended then.
- `<!-- test: each -->`: each line starts a server, which ends in order on SIGINT.
- `<!-- test: none, REASON -->`: it can't run here.

Shell blocks without one run to their end; where a block of JSON follows, they print it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "bench" / "README.md"])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_BLOCK = re.compile(
    r"^(?:<!-- test: (?P<mark>.*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the page's path from the root.
        line: of the page, where it begins.
        language: behind the fence.
        text: what it says.
        mark: what is to be done with it; "" for nothing special.
        shown: the text of the block right below it, if that is JSON.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str
    shown: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def doing(self) -> str:
        """The first word of the mark."""
        return self.mark.split(",")[0].split(" ")[0]


def blocks(name: str) -> Iterator[Block]:
    """Return the blocks of a page, from its beginning to its end."""
    text = (ROOT / name).read_text()
    found = list(_BLOCK.finditer(text))
    for match, below in zip(found, [*found, None][1:], strict=True):
        follows = below is not None and below["language"] == "json" and not text[match.end() : below.start()].strip()
        yield Block(
            page=name,
            line=text[: match.start("language")].count("\n") + 1,
            language=match["language"],
            text=match["text"],
            mark=match["mark"] or "",
            shown=below["text"] if follows and below is not None else "",
        )


ALL = [block for name in NAMES for block in blocks(name)]


def slugs(name: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (numbered := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(numbered)
    return found


def links(name: str) -> Iterator[tuple[str, str]]:
    """Return where a page's links lead within the repository: the path from its root, and the anchor."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            place = ((ROOT / name).parent / path).resolve() if path else ROOT / name
            yield str(place.relative_to(ROOT)), anchor
