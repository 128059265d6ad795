from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.setting import Count, Duration, Section, Setting, Size, all_settings, setting, settings_of
from valtronics_fast.units import Rate


def check_even(value: int) -> None:
    if value % 2:
        raise ValueError("must be even")


def check_words(value: tuple[str, ...]) -> None:
    for word in value:
        if " " in word:
            raise ValueError(f"must be words, not {word!r}")


def check_key(value: str) -> None:
    if value.startswith("bad"):
        raise ValueError("must be another key")


class Sample(Section, frozen=True, kw_only=True):
    """Every kind of setting."""

    name: Annotated[str, setting("A name.", flag="--name")] = "x"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535), setting("A port.")] = 1
    count: Annotated[Count, setting("A count.", unit="things", zero="none")] = 2
    even: Annotated[Count, setting("An even number.", check=check_even)] = 2
    wait: Annotated[Duration, setting("A wait.")] = 5.0
    size: Annotated[Size, setting("A size.")] = 1024
    rate: Annotated[Rate, setting("A rate.")] = Rate(10, 60.0)
    on: Annotated[bool, setting("A switch.")] = False
    mode: Annotated[Literal["a", "b"], setting("A choice.")] = "a"
    words: Annotated[tuple[str, ...], setting("Words.", check=check_words)] = ()
    key: Annotated[str, setting("A key.", sensitive="all", check=check_key)] = ""
    url: Annotated[str, setting("A URL.", sensitive="url", allowed="a URL")] = ""


KNOWN = {one.name: one for one in settings_of(Sample, "sample")}


def fault(found: Setting, value: object, *, text: bool = False) -> str:
    with pytest.raises(ValueError) as caught:
        found.parse(value) if text and isinstance(value, str) else found.convert(value)
    return str(caught.value)


def test_a_field_says_everything() -> None:
    count = KNOWN["count"]
    assert (count.key, count.variable, count.kind) == ("sample.count", "VFAST_SAMPLE__COUNT", "count")
    assert (count.default, count.unit, count.zero, count.low) == (2, "things", "none", 0)
    assert count.description == "A count."
    assert KNOWN["name"].flag == "--name"
    kinds = "text count count count duration size rate boolean choice list text text"
    assert [one.kind for one in KNOWN.values()] == kinds.split()


def test_without_a_section_there_is_no_variable() -> None:
    (name, *_) = settings_of(Sample)
    assert (name.key, name.variable) == ("name", "")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("name", " a b ", " a b "),
        ("port", " 8000 ", 8000),
        ("count", "0", 0),
        ("wait", "500ms", 0.5),
        ("wait", "3", 3.0),
        ("size", "2KiB", 2048),
        ("rate", "5/s", Rate(5, 1.0)),
        ("rate", "0", Rate(0, 1.0)),
        ("on", "TRUE", True),
        ("on", "yes", True),
        ("on", "on", True),
        ("on", "1", True),
        ("on", "false", False),
        ("on", "no", False),
        ("on", "off", False),
        ("on", " 0 ", False),
        ("mode", "b", "b"),
        ("words", "a, b,,c", ("a", "b", "c")),
        ("words", '["a,b", "c"]', ("a,b", "c")),
        ("words", "", ()),
    ],
)
def test_text_is_read_by_kind(name: str, text: str, value: object) -> None:
    read = KNOWN[name].parse(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "-1", "a whole number from 0 to 65535"),
        ("port", "8000.0", "a whole number from 0 to 65535"),
        ("port", "", "a whole number from 0 to 65535"),
        ("port", "0x10", "a whole number from 0 to 65535"),
        ("port", "9" * 5000, "a whole number from 0 to 65535"),
        ("count", "2147483648", "a whole number from 0"),
        ("wait", "5 parsecs", "a duration up to a year (500ms, 5s, 10m, 1h or a number of seconds)"),
        ("wait", "9000h", "a duration up to a year"),
        ("size", "64KB", "a size up to 1GiB (64KiB"),
        ("size", "2GiB", "a size up to 1GiB"),
        ("rate", "ten", "a rate (5/s, 10/min, 100/h or 0)"),
        ("on", "maybe", "true or false"),
        ("on", "", "true or false"),
        ("mode", "c", '"a" or "b"'),
        ("words", "[1, 2]", "a list of texts"),
        ("words", "[", "a list of texts"),
    ],
)
def test_a_refused_text_is_quoted_with_what_is_allowed(name: str, text: str, allowed: str) -> None:
    told = fault(KNOWN[name], text, text=True)
    assert told.startswith(f"must be {allowed}")
    assert ", not " in told
    assert len(told) < 250


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", 5), ("port", "8000"), ("port", True), ("port", 8000.0), ("port", 10**30), ("count", "5"),
        ("wait", True), ("wait", -1), ("wait", float("nan")), ("wait", float("inf")), ("size", 1.5),
        ("size", -1), ("rate", 5), ("on", 1), ("on", "true"), ("mode", 1), ("words", "a"), ("words", [1]),
        ("words", {"a": 1}), ("name", None), ("key", 5), ("url", []),
    ],
)  # fmt: skip
def test_values_of_files_are_strictly_typed(name: str, value: object) -> None:
    assert fault(KNOWN[name], value).startswith("must be ")


def test_durations_sizes_and_rates_are_text_in_files_too() -> None:
    assert KNOWN["wait"].convert("10m") == 600.0
    assert KNOWN["size"].convert("1MiB") == 1 << 20
    assert KNOWN["rate"].convert("1/s") == Rate(1, 1.0)


def test_a_check_names_the_refused_value() -> None:
    assert KNOWN["even"].convert(4) == 4
    assert fault(KNOWN["even"], 3) == "must be even, not 3"
    assert fault(KNOWN["even"], "3", text=True) == "must be even, not 3"
    assert fault(KNOWN["words"], ["a", "b c"]) == "must be words, not 'b c'"


@pytest.mark.parametrize("text", ["a\nb", "a\x00", "\x1b[31m", "\x7f", "\x9b", "\u2028", "\udcff"])
@pytest.mark.parametrize("name", ["name", "words", "key"])
def test_control_characters_are_refused_and_not_repeated(name: str, text: str) -> None:
    told = fault(KNOWN[name], [text] if name == "words" else text)
    assert told == "must not hold control characters or bytes that are not UTF-8"


@given(st.text(min_size=1))
def test_what_is_quoted_stays_on_one_line(text: str) -> None:
    quoted = KNOWN["port"].quote(text)
    assert quoted.isprintable()
    assert len(quoted) <= 83


def test_a_secret_is_never_in_a_fault() -> None:
    for value in (["hunter2"], {"hunter2": 1}, "bad-hunter2", "hunter2\n"):
        assert "hunter2" not in fault(KNOWN["key"], value)
    assert "*" not in fault(KNOWN["key"], "bad-hunter2")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mqtt://user:hunter2@host:1883", "mqtt://***@host:1883"),
        ("mqtt://user:hun@ter2/x@host", "mqtt://***@host"),
        ("user:hunter2@host", "user:***@host"),
        ("mqtt:user:hunter2@host", "mqtt:***@host"),
        ("redis://host/0?password=hunter2", "redis://host/0?***"),
        ("mqtt://host:1883", "mqtt://host:1883"),
        ("", ""),
    ],
)
def test_urls_are_shown_without_credentials(url: str, shown: str) -> None:
    assert KNOWN["url"].show(url) == shown
    assert "hunter2" not in KNOWN["url"].quote(url)
    assert "hunter2" not in repr(Sample(url=url))


def test_other_types_in_place_of_a_url_are_masked() -> None:
    assert "hunter2" not in fault(KNOWN["url"], ["mqtt://user:hunter2@host"])


def test_a_section_is_printed_without_its_secrets() -> None:
    sample = Sample(key="hunter2", url="mqtt://user:hunter2@host")
    for text in (repr(sample), str(sample), f"{sample}", repr(sample.__rich_repr__())):
        assert "hunter2" not in text
    assert "key='***'" in repr(sample)
    assert "name='x'" in repr(sample)
    assert "key=''" in repr(Sample())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("name", '"x"'),
        ("port", "1"),
        ("wait", "5s"),
        ("size", "1KiB"),
        ("rate", "10/min"),
        ("on", "false"),
        ("words", "[]"),
    ],
)
def test_defaults_are_written_as_people_write_them(name: str, text: str) -> None:
    assert KNOWN[name].write(KNOWN[name].default) == text


VALUES = {
    "name": ["", " a ", "a,b", "[a]"],
    "port": [0, 65535],
    "count": [0, 7],
    "wait": [0.0, 0.25, 90.0, 3600.0],
    "size": [0, 1000, 1 << 20],
    "rate": [Rate(0, 1.0), Rate(5, 1.0), Rate(7, 3600.0)],
    "on": [True, False],
    "mode": ["a", "b"],
    "words": [(), ("a",), ("a", "b"), ("a,b", "c"), ("[a",), ("",)],
}
WRITTEN = [(name, value) for name, values in VALUES.items() for value in values]


@pytest.mark.parametrize(("name", "value"), WRITTEN)
def test_what_is_written_for_a_file_or_a_variable_reads_as_itself(name: str, value: Any) -> None:
    document = KNOWN[name].as_document(value)
    assert orjson.loads(orjson.dumps(document)) == document
    assert KNOWN[name].convert(document) == value
    assert KNOWN[name].parse(KNOWN[name].as_text(value)) == value


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "))))
def test_any_list_reads_as_itself(words: list[str]) -> None:
    setting = msgspec.structs.replace(KNOWN["words"], check=None)
    assert setting.parse(setting.as_text(tuple(words))) == tuple(words)


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("key", "hunter2", True),
        ("key", "", False),
        ("url", "mqtt://user:hunter2@host", True),
        ("url", "mqtt://host/?token=hunter2", True),
        ("url", "mqtt://host", False),
        ("name", "x", False),
    ],
)
def test_what_is_not_for_people_is_hidden(name: str, value: str, hidden: bool) -> None:
    assert KNOWN[name].is_hidden(value) is hidden


class Whole(Section, frozen=True, kw_only=True):
    """A section, and a setting beside it."""

    sample: Sample = Sample()
    alone: Annotated[bool, setting("A switch.")] = False


def test_all_settings_are_those_of_the_sections_behind_its_own() -> None:
    found = all_settings(Whole)
    assert list(found) == ["alone", *(f"sample.{name}" for name in KNOWN)]
    assert found["sample.port"] == KNOWN["port"]


def test_sections_are_immutable_and_take_no_unknown_fields() -> None:
    with pytest.raises(AttributeError):
        Sample().port = 5  # type: ignore[misc]
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"prot": 5}, Sample)


@given(
    st.sampled_from(sorted(KNOWN)),
    st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.text()),
)
def test_any_value_is_taken_or_told(name: str, value: Any) -> None:
    told = ""
    try:
        KNOWN[name].convert(value)
        KNOWN[name].parse(str(value))
    except ValueError as error:
        told = str(error)
    assert not told or told.startswith("must ")
