"""Attacks that take more than bad clients: something is done to the server, its clock, its files or its broker."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import TYPE_CHECKING

from abuse.audience import BULK, HISTORY, Stream
from abuse.frames import PLAIN, command
from abuse.mqtt_stream import MqttStream
from abuse.result import Outcome
from abuse.target import token

if TYPE_CHECKING:
    from abuse.campaign import Campaign

HOUR = 3600
BULKS = 400  # large alerts: more than `limits.queue_limit` and the kernel take
TIMEOUT = 60.0
POLL = 0.02
POSITION = re.compile(rb'"position":\{"epoch":"(\w+)","offset":(\d+)\}')


async def connection_flood(campaign: Campaign) -> Outcome:
    connections = campaign.target.connections
    return await campaign.attack(
        "connection_flood", window=2 * connections, count=campaign.scaled(2000, 150), connections=connections,
        patience=campaign.scaled(4, 2),
    )  # fmt: skip


async def stopped_readers(campaign: Campaign) -> Outcome:
    """Fill the queues of 1,000 readers that have stopped, until the server has to close them."""
    count, patience = campaign.scaled(1000, 40), campaign.scaled(25, 4)
    async with campaign.attacking("stopped_readers", window=count, count=count, patience=patience) as attack:
        await attack.full()
        stream = await Stream.open(campaign.target)
        alert = {"type": "alert", "device_id": "bulk", "severity": "info", "title": "bulk", "message": "x" * BULK}
        for _ in range(BULKS):
            stream.send([alert])
            await stream.drain()
            await asyncio.sleep(campaign.scaled(10, 2) / 1000)
        await stream.close()
        return await attack.end()


async def publish_without_right(campaign: Campaign) -> Outcome:
    outcome = await campaign.attack("publish_without_right", count=campaign.scaled(4000, 100))
    return outcome.add(await campaign.attack("publish_over_http", http=True, count=campaign.scaled(4000, 100)))


async def recovery_flood(campaign: Campaign) -> Outcome:
    """Have the history replayed as often as one may ask."""
    reader, writer = await asyncio.open_connection("127.0.0.1", campaign.target.port, local_addr=("127.0.9.9", 0))
    writer.write(PLAIN + command(type="auth", token=token("looks")))
    writer.write(command(type="subscribe", channel="telemetry", device_id="nobody", recover=True, id=1))
    async with asyncio.timeout(TIMEOUT):
        epoch, offset = POSITION.findall(await reader.readuntil(b'"position":') + await reader.readuntil(b"}"))[0]
    writer.transport.abort()
    connections = campaign.scaled(64, 8)
    return await campaign.attack(
        "recovery_flood", window=connections, connections=connections, seconds=campaign.scaled(8, 1),
        epoch=epoch.decode(), first=int(offset) - HISTORY * 4 // 5, last=int(offset),
    )  # fmt: skip


async def stop_and_continue(campaign: Campaign) -> Outcome:
    """Stop the whole process: for a moment, for longer than timers take that are short, than those that are long."""
    pauses = (0.5, 1.5) if campaign.quick else (0.5, 4, 12, 40)
    for pause in pauses:
        campaign.target.send_signal(signal.SIGSTOP)
        await asyncio.sleep(pause)
        campaign.target.send_signal(signal.SIGCONT)
        await campaign.audience.settled()
    return Outcome(inputs=len(pauses))


async def clock_jumps(campaign: Campaign) -> Outcome:
    """Set the wall clock forwards and back, and try tokens that are good for ten minutes by the right time."""
    outcome = Outcome()
    jumps = (HOUR, -HOUR) if campaign.quick else (HOUR, 0, -HOUR, 0, 24 * HOUR, -24 * HOUR, 0.5, -0.5)
    try:
        for ahead in jumps:
            campaign.target.set_clock(ahead)
            found = await campaign.attack("entries", lifetimes=[HOUR / 6] * 5)
            refused = found.got["invalid_token"]
            if refused != (5 if ahead >= HOUR else 0):
                outcome.faults.append(f"{refused} of 5 tokens were refused with the clock {ahead} s ahead")
            outcome.add(Outcome(1, found.got, found.faults))
            await asyncio.sleep(campaign.scaled(3, 0))
    finally:
        campaign.target.set_clock(0)
    return outcome


async def broker_restarts(campaign: Campaign) -> Outcome:
    """Kill the broker in the middle of a numbered stream, let it hang, end it in order; and start it again."""
    outcome = Outcome()
    ways = ["kill", "freeze", "stop"] if campaign.quick else ["kill", "kill", "freeze", "kill", "stop", "kill"]
    number = 0
    for way in ways:
        marks = [len(client.from_broker) for client in campaign.audience.clients]
        stream = await MqttStream.open(campaign.broker.port, number)
        async with asyncio.timeout(TIMEOUT):
            while not await asyncio.to_thread(campaign.target.ready):
                await asyncio.sleep(POLL)
        stream.life.subscribed = stream.life.end
        await asyncio.sleep(campaign.scaled(15, 5) / 10)
        stream.life.settled = stream.life.end
        await _arrived(campaign, stream.life.end - 1)
        if way == "kill":
            campaign.broker.kill()
        else:
            if way == "freeze":
                campaign.broker.freeze()
                await asyncio.sleep(campaign.scaled(20, 5) / 10)
                campaign.broker.thaw()
            async with asyncio.timeout(TIMEOUT):
                await stream.pause()
            stream.life.settled = stream.life.end
            await _arrived(campaign, stream.life.end - 1)
        life = await stream.close()
        number = life.end
        if way == "stop":
            await asyncio.to_thread(campaign.broker.stop)
        if way != "freeze":
            await asyncio.sleep(0.2)  # what the broker had written may be on its way
            await asyncio.to_thread(campaign.broker.start)
        await campaign.audience.settled()
        found = [client.from_broker[mark:] for client, mark in zip(campaign.audience.clients, marks, strict=True)]
        if any(numbers != found[0] for numbers in found):
            outcome.faults.append(f"after a {way}, good clients got different numbers of the broker")
        counts, faults = life.judge(found[0])
        outcome.add(Outcome(life.end - life.first, counts, [f"after a {way}: {fault}" for fault in faults]))
    return outcome


async def _arrived(campaign: Campaign, number: int) -> None:
    """Wait until everybody has a number of the broker, or a later one."""
    async with asyncio.timeout(TIMEOUT):
        while any(not client.from_broker or client.from_broker[-1] < number for client in campaign.audience.clients):
            await asyncio.sleep(POLL)


async def certificates(campaign: Campaign) -> Outcome:
    """Renew the certificate again and again, or break its file, while strangers flood the door."""
    outcome, rounds = Outcome(), campaign.scaled(8, 2)
    count = campaign.scaled(2000, 60)
    async with campaign.attacking("tls_strangers", window=500, count=count, seed=campaign.seed) as attack:
        for number in range(rounds):
            broken = number % 3 == 1
            if broken:
                campaign.target.spoil_certificate()
            else:
                campaign.target.renew_certificate()
            before = await campaign.audience.certificate()
            campaign.target.send_signal(signal.SIGHUP)
            await asyncio.sleep(campaign.scaled(15, 5) / 10)
            if (await campaign.audience.certificate() == before) != broken:
                outcome.faults.append("a broken certificate was taken" if broken else "a new certificate was not taken")
            outcome.got["certificates not taken" if broken else "certificates taken"] += 1
        found = await attack.end()
    campaign.target.renew_certificate()
    return outcome.add(Outcome(found.inputs + rounds, found.got, found.faults))
