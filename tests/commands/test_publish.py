"""`publish` as a process, with a server that runs in the test."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from harness import TIMEOUT, Site, running
from process import PROGRAM, environment, finished
from services import free_port
from valtronics_fast.commands.publish import EXIT_REJECTED, message_of, parser

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "a-key-of-the-backend"
NASTY = "\x1b[2J\u202e"
HTTP = {"api_key": KEY}


async def publish(site: Site, *arguments: str, given: bytes = b"", **variables: str) -> tuple[int, str, str]:
    return await finished(
        "publish", *arguments, "--url", site.http_url(""), given=given, **{"VALTRONICS_API_KEY": KEY, **variables}
    )


@pytest.mark.parametrize(
    ("channel", "arguments", "members"),
    [
        ("alerts", ["alert", "--severity", "info"], {"device_id": None, "severity": "info", "title": "Info Alert"}),
        (
            "alerts",
            ["alert", "--device", "1", "--severity", "critical", "--title", "Hot", "--message", "80 °C", "--id", "a1"],
            {"device_id": 1, "severity": "critical", "title": "Hot", "message": "80 °C", "alert_id": "a1"},
        ),
        ("alerts", ["alert", "--severity", "info", "--type", "leak"], {"alert_type": "leak"}),
        (
            "devices",
            ["status", "--device", "pump-3", "offline", "--old", "online", "--reason", NASTY],
            {"device_id": "pump-3", "old_status": "online", "new_status": "offline", "reason": NASTY},
        ),
        ("system", ["system", "cpu_usage=12.5", "up=true"], {"metrics": {"cpu_usage": 12.5, "up": True}}),
    ],
)
async def test_what_is_published_arrives(channel: str, arguments: list[str], members: dict[str, Any]) -> None:
    async with running(http=HTTP) as site, site.client() as client:
        await client.subscribe(channel)
        assert await publish(site, *arguments) == (0, "accepted 1, matched 1\n", "")
        got = await client.receive()
        assert got | members == got


async def test_telemetry_arrives_with_units_and_a_token_is_enough() -> None:
    async with running() as site, site.client() as client:
        await client.subscribe("telemetry")
        token = site.token("backend", publish=True)
        arguments = ("telemetry", "--device", "7", "temperature=-23.5:°C", "mode=auto", "--json")
        code, out, err = await publish(site, *arguments, VALTRONICS_API_KEY="", VALTRONICS_TOKEN=token)
        assert (code, err) == (0, "")
        assert json.loads(out) == {"accepted": 1, "matched": 1, "rejected": [], "rejected_total": 0}
        got = await client.receive()
        assert got["device_id"] == 7
        assert {name: (metric["value"], metric["unit"]) for name, metric in got["telemetry"].items()} == {
            "temperature": (-23.5, "°C"),
            "mode": ("auto", None),
        }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-1.5e3", -1500.0), ("1:%", {"value": 1, "unit": "%"}), ("1: m", {"value": 1, "unit": " m"}),
        ("true", True), ("null", None), ('"2"', "2"), ("12:30", "12:30"), ("01", "01"), ("a:b", "a:b"), ("", ""),
        ("NaN", "NaN"), ("[1]", "[1]"), ("=", "="), ("1e9999x", "1e9999x"),
    ],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
    options = parser().parse_args(["telemetry", "--device", "1", f"m={text}"])
    found = message_of(options)["telemetry"]["m"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: KIND"),
        (["weather"], "argument KIND: invalid choice: 'weather'"),
        (["telemetry", "a=1"], "the following arguments are required: --device"),
        (["telemetry", "--device", "1"], "the following arguments are required: NAME=VALUE[:UNIT]"),
        (["telemetry", "--device", "1", "a"], "argument 'a': must be like temperature=23.5:°C"),
        (["system", "=1"], "argument '=1': must be like temperature=23.5 ("),
        (["telemetry", "--device", "1", "a=1e999"], "argument 'a=1e999': the number is too large"),
        (["telemetry", "--device", "", "a=1"], "a device id is an integer"),
        (["alert", "--severity", "\udcff"], "what is to be published must be UTF-8"),
        (["-", "--patience", "long"], "argument --patience: a duration is"),
        (["-", "--url", "ws://a/"], "argument --url: must be like http://"),
        (["-", "--token", "secret token"], "argument --token: must be a token"),
    ],
)
async def test_faults(arguments: Sequence[str], told: str) -> None:
    code, out, err = await finished("publish", *arguments, VALTRONICS_API_KEY="" if "--token" in arguments else KEY)
    assert (code, out) == (2, "")
    assert err.startswith(f"valtronics-fast: {told}")
    assert "secret" not in err


async def test_without_a_key_or_token_nothing_is_asked() -> None:
    code, _, err = await finished("publish", "system", "a=1")
    assert (code, err.partition(" (see")[0]) == (
        2,
        "valtronics-fast: --key or --token is needed, or $VALTRONICS_API_KEY or $VALTRONICS_TOKEN",
    )


async def test_a_stream_with_faults_in_it() -> None:
    lines = [
        b'{"type":"alert","severity":"info"}',
        b"",
        b"broken \x1b[2J",
        b'{"type":"weather"}',
        b'{"type":"alert","severity":"info","title":"last"}',
    ]
    async with running(http=HTTP) as site, site.client() as client:
        await client.subscribe("alerts")
        code, out, err = await publish(site, "-", given=b"\n".join(lines))
        assert (code, out) == (EXIT_REJECTED, "accepted 2, matched 2, rejected 2\n")
        assert [line.partition(" (")[0] for line in err.splitlines()] == [
            "valtronics-fast: line 3: invalid_json",
            "valtronics-fast: line 4: unknown_type",
        ]
        await client.receive()
        assert (await client.receive())["title"] == "last"
        code, out, _ = await publish(site, "-", "--json", given=b"\n".join(lines))
        assert code == EXIT_REJECTED
        assert [entry["line"] for entry in json.loads(out)["rejected"]] == [3, 4]


async def test_a_refused_message_has_no_line() -> None:
    async with running(http=HTTP) as site:
        code, out, err = await publish(site, "alert", "--severity", "x" * 200)
        assert (code, out) == (EXIT_REJECTED, "accepted 0, matched 0, rejected 1\n")
        assert err == "valtronics-fast: invalid_message (severity is a string of 1 to 128 bytes)\n"


async def test_an_empty_stream_is_published() -> None:
    async with running(http=HTTP) as site:
        assert await publish(site, "-") == (0, "accepted 0, matched 0\n", "")


async def test_what_the_server_does_not_take_yet_is_sent_again() -> None:
    line = b'{"type":"alert","severity":"info"}\n'
    async with running(http={**HTTP, "publish_rate": 4}) as site:
        code, out, err = await publish(site, "-", given=line * 7)
        assert (code, out) == (0, "accepted 7, matched 0\n")
        assert "the server answers 429 Too Many Requests: rate_limited (" in err
        assert "); going on in 1 s" in err
        code, out, err = await publish(site, "-", "--patience", "0", given=line * 70)
        assert code == 1
        accepted = int(out.split()[1].rstrip(","))
        assert f", for too long; {70 - accepted} messages were not published\n" in err


async def test_who_may_not_publish() -> None:
    async with running(http=HTTP) as site:
        code, out, err = await publish(site, "system", "a=1", "--key", "a-wrong-key")
        assert (code, out) == (1, "accepted 0, matched 0\n")
        assert "401 Unauthorized: invalid_token (" in err
        assert "; 1 message was not published\n" in err
        token = site.token()
        code, _, more = await publish(site, "system", "a=1", "--token", token)
        assert (code, "403 Forbidden" in more) == (1, True)
        assert [secret for secret in (KEY, "a-wrong-key", token) if secret in err + more + out] == []


async def test_no_server() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, _, err = await finished("publish", "system", "a=1", "--key", "k", "--url", url)
    assert (code, err) == (1, f"valtronics-fast: {url}: Connection refused\n")


async def test_a_stream_goes_on_as_it_comes_until_ctrl_c() -> None:
    async with running(http=HTTP) as site, site.client() as client:
        await client.subscribe("alerts")
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, "publish", "-", "--url", site.http_url(""), "--key", KEY,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment(),
        )  # fmt: skip
        assert process.stdin is not None
        for number in range(3):
            process.stdin.write(b'{"type":"alert","severity":"info","title":"%d"}\n' % number)
            assert (await client.receive())["title"] == str(number)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
        assert (process.returncode, err) == (130, b"")
        assert out in {b"accepted 2, matched 2\n", b"accepted 3, matched 3\n"}  # the last answer may be on its way


async def test_an_output_that_nobody_reads() -> None:
    async with running(http=HTTP) as site:
        command = f"{sys.executable} -m valtronics_fast publish system a=1 --url {site.http_url('')} --key {KEY}"
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", f"{{ {command}; echo $? >&2; }} | true", stderr=asyncio.subprocess.PIPE, env=environment()
        )
        _, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
        assert err == b"0\n"
