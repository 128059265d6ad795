from __future__ import annotations

from http import HTTPStatus

import pytest

from valtronics_fast.refusals import Reason, Refusal, render


def test_every_reason_is_an_http_error_or_silent() -> None:
    for reason in Reason:
        assert reason.status == 0 or HTTPStatus(reason.status).value >= 400
        assert reason.label == reason.name.lower()
        assert reason.text.isascii()


def test_statuses_that_ask_for_a_header_have_it() -> None:
    needed = {401: "WWW-Authenticate", 405: "Allow", 426: "Upgrade"}
    for reason in Reason:
        if reason.status in needed:
            assert needed[reason.status] in dict(reason.headers)


@pytest.mark.parametrize(("seconds", "value"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (30, "30")])
def test_retry_after_is_whole_seconds_and_never_zero(seconds: float, value: str) -> None:
    refusal = Refusal(Reason.ADDRESS_RATE, retry_after=seconds)
    assert refusal.headers == (("Retry-After", value),)
    assert Reason.ADDRESS_RATE.headers == ()
    assert Refusal(Reason.SERVER_FULL).headers == ()


def test_render() -> None:
    assert render(404, [("X-A", "b")], b"gone\n") == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n"
        b"Cache-Control: no-store\r\nConnection: close\r\nX-A: b\r\n\r\ngone\n"
    )


def test_an_upgrade_header_is_named_in_connection() -> None:
    assert b"\r\nConnection: close, Upgrade\r\n" in render(426, Reason.NOT_UPGRADE.headers, b"")


def test_the_answer_to_head_has_no_content() -> None:
    answer = render(405, (), b"text\n", head_only=True)
    assert b"\r\nContent-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
