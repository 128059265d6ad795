from __future__ import annotations

import asyncio
import io
import os
from contextlib import closing

import orjson
import pytest

from commands.test_api import OK, answering
from harness import running
from valtronics_fast.commands.api import Api, ApiError
from valtronics_fast.commands.posting import MAX_LINE, MAX_TOLD, Poster, pieces

KEY = "a-key-of-the-backend"


def poster(url: str, told: list[str]) -> Poster:
    return Poster(Api(url, {"X-API-Key": KEY.encode()}), patience=5.0, tell=told.append)


async def test_more_refusals_than_are_told() -> None:
    lines = [b"{}"] * (MAX_TOLD + 50) + [b"broken"] * 2 + [b'{"type":"alert","severity":"info"}']
    told: list[str] = []
    async with running(http={"api_key": KEY}) as site:
        found = poster(site.http_url(""), told)
        await asyncio.to_thread(found.post, lines)
        await asyncio.to_thread(found._api.close)
    assert (found.accepted, found.rejected_total) == (1, MAX_TOLD + 52)
    assert len(found.rejected) == len(told) == MAX_TOLD
    assert [entry["line"] for entry in found.rejected[:4]] == [MAX_TOLD + 51, MAX_TOLD + 52, 1, 2]


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"accepted":"many","rejected_total":0,"rejected":[]}'])
def test_an_answer_of_something_else(body: bytes) -> None:
    with answering(OK.replace(b"2\r\n\r\n{}", b"%d\r\n\r\n%b" % (len(body), body))) as url:
        found = poster(url, [])
        with closing(found._api), pytest.raises(ApiError, match=r"is no server of this API$"):
            found.post([b"{}"])


def test_refusals_of_something_else() -> None:
    refused = [7, {"index": -1}, {"index": 5}, {"index": 0, "error": "\x1b", "message": None}]
    body = orjson.dumps({"accepted": 0, "matched": None, "rejected": refused, "rejected_total": 1})
    with answering(OK.replace(b"2\r\n\r\n{}", b"%d\r\n\r\n%b" % (len(body), body))) as url:
        found = poster(url, told := [])
        with closing(found._api):
            found.post([b"{}"])
    assert (told, found.rejected_total) == (["line 1: \x1b (None)"], 1)


def test_lines_come_as_they_are_there() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as end:
        found = pieces(stream)
        end.write(b"a\nb\nc")
        assert next(found) == [b"a", b"b"]
        end.write(b"c\n")
        assert next(found) == [b"cc"]
        end.write(b"last")
        end.close()
        assert list(found) == [[b"last"]]


def test_a_line_without_an_end() -> None:
    with pytest.raises(ApiError, match="is longer than 1048576 bytes"):
        list(pieces(io.BufferedReader(io.BytesIO(b"a\n" + b"x" * (MAX_LINE * 2)))))
    assert list(pieces(io.BytesIO(b"x" * MAX_LINE))) == [[b"x" * MAX_LINE]]
