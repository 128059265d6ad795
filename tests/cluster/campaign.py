"""One row after the other: do what it says to the cluster, wait until it has healed, and count."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from cluster.client import Client
from cluster.ledger import Published, Receipts, Stream, Tally
from cluster.nodes import Log, Node, make_log, token
from cluster.proxy import Proxy
from cluster.publisher import Probes, Publisher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

NODES = 3
DEVICES = 60
DEVICES_A_CLIENT = 3
SHARE_OF_ALL = 0.05  # of the clients: these are subscribed to all devices; as many to alerts
CHURN = 4.0  # clients a second that lose their connection and come back, whatever else happens
REST = 2.0  # seconds before a row, and behind it
PATIENCE = 90.0  # seconds for everything to heal, and for what is under way to come
TIMEOUT = 120.0
FAULTS_TOLD = 5


@dataclass(frozen=True)
class Row:
    """A fault.

    Attributes:
        name: what it is called on the command line.
        about: what happens, for people.
        fault: does it; `campaign.over` is called when its cause is gone.
        lossless: nothing may be missing, announced or not.
        apart: nodes can't reach the log, so that a client may come to one that is behind the one it came from.
    """

    name: str
    about: str
    fault: Callable[[Campaign], Awaitable[None]]
    lossless: bool = False
    apart: bool = False


@dataclass
class Result:
    """A row of the table."""

    row: Row
    tally: Tally = field(default_factory=Tally)
    heal: float | None = None
    seconds: float = 0.0
    retries: int = 0
    returns: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def failures(self) -> list[str]:
        """Return why the row fails, one line each."""
        found = list(self.faults)
        wrong = ["lost", "disordered", "doubled"]
        wrong += ["announced"] if self.row.lossless else []
        wrong += [] if self.row.apart else ["older"]
        for name in wrong:
            if count := getattr(self.tally, name):
                found.append(f"{count} messages were {name}")
        if self.heal is None:
            found.append("it did not heal")
        if not self.tally.expected:
            found.append("nothing was published")
        return found


class Campaign:
    """A cluster, its clients and its publishers.

    Attributes:
        quick: small numbers.
        log, log_directory: what carries the messages, and where it keeps them.
        proxy: stands between it and the first node.
        nodes: they.
        clients: they, without those for probes.
        ports: of the nodes, as a load balancer knows them.
    """

    def __init__(self, directory: Path, *, log: str, quick: bool, clients: int) -> None:
        self.quick = quick
        self.clients: list[Client] = []
        self.log: Log = make_log(log, directory / log)
        self.nodes: list[Node] = []
        self.log_directory = directory / log
        self._scheme = log
        self._directory = directory
        self._count = clients
        self._published = Published()
        self._receipts: list[Receipts] = []
        self._publishers: list[Publisher] = []
        self._probers: list[Client] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: Counter[str] = Counter()

    @classmethod
    @asynccontextmanager
    async def begin(cls, directory: Path, *, log: str, quick: bool, clients: int) -> AsyncIterator[Campaign]:
        """Start everything in an empty directory, and end it with the block."""
        campaign = cls(directory, log=log, quick=quick, clients=clients)
        async with AsyncExitStack() as stack:
            stack.callback(campaign.log.kill)
            campaign.proxy = await stack.enter_async_context(Proxy(campaign.log.port))
            stack.push_async_callback(campaign._end)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            await campaign._start(session)
            yield campaign

    async def _start(self, session: aiohttp.ClientSession) -> None:
        ports = [self.proxy.port] + [self.log.port] * (NODES - 1)
        urls = [f"{self._scheme}://127.0.0.1:{port}" for port in ports]
        self.nodes = [Node(f"node-{number}", self._directory, url) for number, url in enumerate(urls)]
        for node in self.nodes:
            node.launch()
        await asyncio.gather(*(node.ready() for node in self.nodes))
        rate = 30.0 if self.quick else 60.0
        for number in range(NODES):
            nodes = self.nodes[number:] + self.nodes[:number]
            devices = range(number, DEVICES, NODES)
            self._publishers.append(Publisher(session, self._published, nodes, devices, rate / NODES))
        self._probes = Probes(session, self.nodes)
        for place, node in enumerate(self.nodes):
            self._probers.append(self._make_prober(place, node))
        for number in range(self._count):
            self.clients.append(self._make_client(number))
        for client in (*self._probers, *self.clients):
            client.start()
        async with asyncio.timeout(TIMEOUT):
            while not all(client.subscribed for client in (*self._probers, *self.clients)):
                await asyncio.sleep(0.05)
        runs = [*(publisher.run() for publisher in self._publishers), self._probes.run(), self._churn()]
        self._tasks = [asyncio.ensure_future(run) for run in runs]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in (*self._probers, *self.clients):
            client.leave()
        for node in self.nodes:
            node.kill()

    async def _churn(self) -> None:
        while True:
            random.choice(self.clients).cut()
            await asyncio.sleep(1 / CHURN)

    def _make_client(self, number: int) -> Client:
        few = max(1, int(self._count * SHARE_OF_ALL))
        channel, devices = "telemetry", [(number * 7 + i * 11) % DEVICES for i in range(DEVICES_A_CLIENT)]
        if number < 2 * few:
            channel, devices = ("telemetry" if number < few else "alerts"), list(range(DEVICES))
        receipts = Receipts(self._published, [(channel, device) for device in devices])
        self._receipts.append(receipts)

        def take(message: dict[str, Any]) -> None:
            if isinstance(message["device_id"], int):
                stream: Stream = (message["channel"], message["device_id"])
                value = message["alert_id"] if channel == "alerts" else message["telemetry"]["n"]["value"]
                receipts.take(stream, value, with_offset="offset" in message)

        return Client(
            [node.port for node in self.nodes],
            token(f"client-{number}"),
            channel,
            devices if len(devices) < DEVICES else None,
            on_message=take,
            on_gap=receipts.announce,
            on_return=receipts.come_back,
        )

    def _make_prober(self, place: int, node: Node) -> Client:
        def take(message: dict[str, Any]) -> None:
            self._probes.arrive(place, message["device_id"], message["telemetry"]["n"]["value"])

        return Client(
            [node.port],
            token(f"prober-{place}"),
            "telemetry",
            self._probes.devices(),
            on_message=take,
            on_gap=lambda: None,
            on_return=lambda: None,
        )

    # --- a row

    async def run(self, row: Row) -> Result:
        """Do a row."""
        result = Result(row)
        before, returns, answers, retries = self._tally(), self._returns(), self._answers(), self._retries()
        began = time.monotonic()
        for publisher in self._publishers:
            publisher.go_on()
        await asyncio.sleep(self.scaled(REST, 0.5))
        self._probes.begin()
        try:
            await row.fault(self)
        except Exception as error:  # noqa: BLE001 - the row fails, the campaign goes on
            result.faults.append(f"the fault itself failed: {error!r}")
        result.heal = await self._probes.healed(PATIENCE)
        if result.heal is None:
            result.faults.append(f"nothing came from {self._probes.silent()}")
        await asyncio.sleep(self.scaled(REST, 0.5))
        await self._settle()
        result.seconds = time.monotonic() - began
        result.faults += self._faults()
        result.tally = self._tally().minus(before)
        result.returns, result.answers = self._returns() - returns, self._answers() - answers
        result.retries = self._retries() - retries
        return result

    async def _settle(self) -> None:
        """Stop publishing, and wait until everybody has everything, or PATIENCE has passed."""
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(publisher.pause() for publisher in self._publishers))
                while not all(client.subscribed or client.ended for client in self.clients):
                    await asyncio.sleep(0.05)
                await asyncio.gather(*(publisher.round() for publisher in self._publishers))
                while not all(receipts.is_complete() for receipts in self._receipts):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pass

    def _tally(self) -> Tally:
        return Tally.sum(receipts.settle() for receipts in self._receipts)

    def _returns(self) -> Counter[str]:
        return sum((client.returns for client in self.clients), Counter())

    def _answers(self) -> Counter[str]:
        return sum((client.answers for client in self.clients), Counter())

    def _retries(self) -> int:
        return sum(publisher.retries for publisher in self._publishers)

    def _faults(self) -> list[str]:
        """Return what went wrong since the last call."""
        found = [f"client {place}: {client.ended}" for place, client in enumerate(self.clients) if client.ended]
        for place, receipts in enumerate(self._receipts):
            if missing := receipts.missing():
                found.append(f"client {place} has not got {'; '.join(missing[:3])}")
        found = found[:FAULTS_TOLD]
        for publisher in self._publishers:
            found += publisher.refused[:1]
        for task in self._tasks:
            if task.done():
                found.append(f"a task of the campaign ended: {task.exception()!r}")
        for node in self.nodes:
            lines = list(node.faults())
            found += [f"{node.name}: {line[:600]}" for line in lines[self._seen[node.name] :][:1]]
            self._seen[node.name] = len(lines)
        return found

    # --- what rows do

    def scaled(self, full: float, quick: float) -> float:
        """Return the number for the scale of this campaign."""
        return quick if self.quick else full

    def over(self) -> None:
        """The cause of the fault is gone: from now on it may heal."""
        self._probes.begin()
