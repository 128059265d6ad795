"""What looks like a guard and is none, or none of its own; each with the reason."""

from __future__ import annotations

_TOLD = "what is told to a refused client, not whether it is refused"

EXEMPT = {
    "reception.Reception.__init__: MAX_RECEIVED": "the size of the buffer; `get_buffer` bounds what is read into it",
    "reception.Reception.enter: SWEEP_INTERVAL": "how often deadlines are looked at, not what they are",
    "reception.Reception._sweep: SWEEP_INTERVAL": "the same",
    "reception.Reception.settle: SETTLE_INTERVAL": "how often it is looked whether any is left, not for how long",
    "memory_limit.MemoryLimit.start: INTERVAL": "how often memory is looked at, not how much may be used",
    "gate.ServerGate._refuse_full: RETRY_WHEN_FULL": _TOLD,
    "extensions._accept: MAX_BITS": "the largest window, which is what holds without an offer",
    "proxy_protocol.bytes_wanted: _MIN_LINE": "how much may be read at once; the header's end is found by its line end",
    "http_api.HttpApi.start: SHUTDOWN_TIMEOUT": "the end of the server itself",
    "inherited._adopt: sock.type != socket.SOCK_STREAM": "else only SCTP and DCCP listen; few kernels have them",
    "producers.mqtt.MqttProducer._publish_event: kind == 'heartbeat' and old in PRESENT": "notes a status",
    "producers.mqtt.MqttProducer._publish_event: kind == 'heartbeat'": "the same",
    "producers.mqtt.MqttProducer._publish_event: old in PRESENT": "the same",
    "display._time: (ValueError, OverflowError)": "shows the time of arrival for one that is none",
    "setting.Setting.convert: ValueError": "says what is allowed; without it the setting is refused all the same",
    "setting.Setting.describe: MAX_COUNT": "a text for people",
}  # fmt: skip
"""By the part of the condition, or the bound: why no row switches it off."""

_OPERATOR = "judges what the operator has written, and nothing from outside"
_OWN = "reads nothing from outside"

_NODES = "takes what nodes of its own cluster have written; who may write is the log's business"
_WORKERS = "speaks with processes that the supervisor has started, over pairs of sockets that nobody else has"

NO_GUARDS = {
    "backplanes.addresses": _OPERATOR,
    "backplanes.arrivals": _NODES,
    "backplanes.base": _OWN,
    "backplanes.bus_log": _WORKERS,
    "backplanes.dumps": _NODES,
    "backplanes.envelope": _NODES,
    "backplanes.gaps": _NODES,
    "backplanes.interest": _OWN,
    "backplanes.loading": _NODES,
    "backplanes.log": "defines what a log is",
    "backplanes.members": _NODES,
    "backplanes.memory": _OWN,
    "backplanes.nats_log": _NODES,
    "backplanes.ordering": _NODES,
    "backplanes.outgoing": _OWN,
    "backplanes.presence": _NODES,
    "backplanes.pulse": _OWN,
    "backplanes.redis_log": _NODES,
    "backplanes.redis_servers": _OPERATOR,
    "backplanes.rejoining": _NODES,
    "backplanes.sequences": _NODES,
    "backplanes.shared": _NODES,
    "banner": _OWN,
    "cli": _OPERATOR,
    "config_limits": "bounds of settings by type: `setting`",
    "config_load": _OPERATOR,
    "config_reference": _OWN,
    "descriptors": _OWN,
    "errors": "defines them",
    "listening": _OWN,
    "memory": _OWN,
    "notify": "tells the one who has started the process; nobody else can set its variables",
    "producers.base": _OWN,
    "producers.periodic": _OWN,
    "producers.simulated": _OWN,
    "producers.simulated_device": _OWN,
    "producers.system": _OWN,
    "refusals": "defines them",
    "runner": _OWN,
    "sources": _OWN,
    "statistics": _OWN,
    "subscriber": "the command of a client, which bounds what it takes of the server that its user has named",
    "testing.echo": "for conformance tests; not part of a server",
    "units": _OPERATOR,
    "upkeep": "starts and stops what looks after the process: `memory_limit`",
    "version": _OWN,
    "workers.bus": _WORKERS,
    "workers.child": _WORKERS,
    "workers.context": _OWN,
    "workers.figures": _OWN,
    "workers.frames": _WORKERS,
    "workers.kept": _WORKERS,
    "workers.link": _WORKERS,
    "workers.port": _WORKERS,
    "workers.questions": _WORKERS,
    "workers.segment": "counts as `room` does, for processes; tests/workers/test_limits.py storms it with them",
    "workers.settings": _WORKERS,
    "workers.shared_room": "the same",
    "workers.supervisor": _WORKERS,
    "workers.whole": _WORKERS,
    "workers.worker": _WORKERS,
}
"""The modules without a row, and why."""
