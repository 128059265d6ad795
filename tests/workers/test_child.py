from __future__ import annotations

import asyncio

import pytest

from harness import configuration, until
from valtronics_fast.errors import ConfigError, StartError
from valtronics_fast.workers import frames
from valtronics_fast.workers.child import Child
from valtronics_fast.workers.port import WorkerPort
from valtronics_fast.workers.segment import Layout, Segment
from valtronics_fast.workers.settings import Failed, WorkerSettings


async def started(child: Child, **sections: dict[str, object]) -> tuple[list[tuple[int, bytes]], Segment]:
    """Start a worker; return what it sends."""
    segment = Segment.create(Layout.of(1, 10, 10, 10))
    settings = WorkerSettings(
        config=configuration(logging={"level": "error"}, **sections),
        index=0,
        start=0,
        machine=1,
        segment=segment.descriptor,
        layout=segment.layout,
        key=segment.key,
        sockets={},
    )
    sent: list[tuple[int, bytes]] = []

    def connect() -> WorkerPort:
        return WorkerPort(
            1 << 20,
            on_frame=lambda _, kind, body: sent.append((kind, body)),
            on_lost=lambda _: None,
            on_end=lambda _: sent.append((0, b"")),
        )

    await child.start(settings, [segment.descriptor], connect)
    return sent, segment


async def test_a_process_is_started_told_its_settings_and_ended() -> None:
    child = Child(0)
    sent, segment = await started(child, backplane={"patience": 0})
    await until(lambda: any(kind == frames.READY for kind, _ in sent))
    assert child.pid > 0
    assert child.starts == 1
    assert child.lived > 0
    child.kill()
    child.kill()
    assert await child.ended() == -9
    await until(lambda: sent[-1] == (0, b""))
    segment.close()


async def test_its_end_comes_with_that_of_the_stream() -> None:
    child = Child(0)
    sent, segment = await started(child, backplane={"patience": 0})
    await until(lambda: any(kind == frames.READY for kind, _ in sent))
    assert child.port is not None
    child.port.transport.abort()
    assert await asyncio.wait_for(child.ended(), 30) == 1
    segment.close()


@pytest.mark.parametrize(("configured", "kind"), [(True, ConfigError), (False, StartError)])
def test_why_it_could_not_start(configured: bool, kind: type[Exception]) -> None:
    child = Child(0)
    child.note_failure(Failed(["a", "b"], configured))
    assert isinstance(child.fault, kind)
    assert str(child.fault) == "a\nb"


async def test_a_child_that_was_never_started_has_ended() -> None:
    child = Child(0)
    child.kill()
    assert await child.ended() == 0
