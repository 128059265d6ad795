from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.config_lines import find_fault_line, find_lines

DOCUMENT = '''\
# a comment
demo = 1

[server] # another
port = 1
"host" = """
[tls]
port = 5
"""
mqtt.url = 'x'

[security]
origins = [
  "a", # ]
  "[b]",

]
after = { one = 1, two = { three = 3 } }
[limits.more]
size = 1
[[many.tables]]
name = 1
[[many.tables]]
name = 2
'''


def test_each_key_has_the_line_where_its_statement_begins() -> None:
    assert find_lines(DOCUMENT) == {
        ("demo",): 2,
        ("server",): 4,
        ("server", "port"): 5,
        ("server", "host"): 6,
        ("server", "mqtt"): 10,
        ("server", "mqtt", "url"): 10,
        ("security",): 12,
        ("security", "origins"): 13,
        ("security", "after"): 18,
        ("security", "after", "one"): 18,
        ("security", "after", "two"): 18,
        ("security", "after", "two", "three"): 18,
        ("limits",): 19,
        ("limits", "more"): 19,
        ("limits", "more", "size"): 20,
        ("many",): 21,
        ("many", "tables"): 21,
        ("many", "tables", "name"): 22,
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_of_both_kinds_count_and_no_others(end: str) -> None:
    document = f'[server]{end}host = "a\x85b\u2028c"{end}{end}port = 1{end}'
    assert find_lines(document)["server", "port"] == 4


def test_an_empty_document_has_no_keys() -> None:
    assert find_lines("") == {}


STATEMENTS = [
    "key{} = 1",
    "# comment",
    "",
    "key{} = '''\n[no]\nkey = 1\n'''",
    'key{} = [\n  "a",\n  # ]\n  "]",\n]',
    "key{}.deep = [[1,\n2],\n[3]]",
    "[table{}]",
    "[table{}.sub]",
    'key{} = """\\\n  a"""',
]


@given(st.lists(st.sampled_from(STATEMENTS), max_size=12))
def test_lines_are_those_that_the_statements_were_written_on(statements: list[str]) -> None:
    expected, line, lines = {}, 1, []
    for number, statement in enumerate(statements):
        text = statement.format(number)
        if "{}" in statement:
            expected[str(number)] = line
        line += text.count("\n") + 1
        lines.append(text)
    document = "\n".join(lines)
    tomllib.loads(document)  # it is one
    found = find_lines(document)
    numbered = {name.lstrip("keytabl"): at for (*_, name), at in found.items() if name[-1].isdigit()}
    assert numbered == expected


@pytest.mark.parametrize(("document", "line"), [("a = = 1", 1), ("a = 1\n\nb", None), ("a = 1\nb = ]\n", 2)])
def test_the_line_of_a_fault(document: str, line: int | None) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(document)
    assert find_fault_line(caught.value) == line
