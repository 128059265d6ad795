"""MQTT telemetry through a real Mosquitto to a WebSocket subscriber: messages a second, and a CPU second of the server.

    python bench/mqtt_throughput.py                  as fast as it goes
    python bench/mqtt_throughput.py --rate 50000     at 50,000 messages a second
    python bench/mqtt_throughput.py --qos 1
    python bench/mqtt_throughput.py --qos 1 --redis  with a Redis between publishing and delivering, as in a cluster

The server runs on CPU 0; Mosquitto, the publisher and the subscriber (load/mqtt_load.c, compiled when needed; it says
what is published) share CPU 1. In the same run, "bare" is the same load with an MQTT subscriber in C in the server's
place, which only counts: Mosquitto's own limit. The subscriber counts every message and checks the order of each
device's; when one is lost, comes twice or out of order, the exit code is 1. It is 2 when another program had the CPUs:
then the figures are not to be used.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from outside import compiled, first_line, free_port, pinned, verdict, wait_for
from served import token

SERVED = Path(__file__).resolve().parent / "served.py"
SHAPES = ("value", "list", "mixed")
FAULTS = ("lost", "disordered", "strange")
# The publisher waits for the subscriber, so that nothing can pile up; the broker's own bound would drop messages.
BROKER = """listener {port} 127.0.0.1
allow_anonymous true
user root
log_dest none
max_queued_messages 0
max_inflight_messages {inflight}
"""


def run(name: str, shape: str, args: argparse.Namespace) -> dict[str, float]:
    """Start a broker, and a server for `ours`, and the load; return the figures."""
    port = free_port()
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if mosquitto is None:
        sys.exit("there is no mosquitto (Debian package: mosquitto)")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as settings, ExitStack() as stack:
        settings.write(BROKER.format(port=port, inflight=args.inflight))
        settings.flush()
        broker = stack.enter_context(pinned(1, [mosquitto, "-c", settings.name], stderr=subprocess.DEVNULL))
        wait_for(port, broker)
        load = ["taskset", "-c", "1", compiled("mqtt_load"), str(port), str(broker.pid), str(args.devices), shape]
        load += map(str, (args.qos, args.rate, args.window, args.seconds, args.warmup))
        if name == "ours":
            line = [sys.executable, str(SERVED), f"mqtt://127.0.0.1:{port}"]
            if args.redis:
                line.append(f"redis://127.0.0.1:{start_redis(stack)}")
            server = stack.enter_context(pinned(0, line, stdout=subprocess.PIPE))
            load += [first_line(server), str(server.pid), token()]
        found = json.loads(subprocess.run(load, check=True, stdout=subprocess.PIPE).stdout)
    received, seconds = max(found["received"], 1), found["seconds"]
    return {
        **{fault: found[fault] for fault in FAULTS},
        "rate": received / seconds,
        "cpu_us": found["cpu"] * 1e6 / received,
        "a_cpu_second": received / max(found["cpu"], 1e-9),
        "cpu_0": found["cpu"] / seconds,
        "broker_us": found["broker_cpu"] * 1e6 / received,
        "broker": found["broker_cpu"] / seconds,
        "client": found["load_cpu"] / seconds,
        "foreign": max(found["waited"], found["foreign"]) / seconds,
    }


def start_redis(stack: ExitStack) -> int:
    """Start a Redis beside the broker, and return its port."""
    port = free_port()
    line = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    wait_for(port, stack.enter_context(pinned(1, line, stdout=subprocess.DEVNULL)))
    return port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=0, help="messages a second; 0: saturated")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["value", "list"])
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--qos", type=int, choices=(0, 1), default=0, help="of the publisher")
    parser.add_argument("--window", type=int, default=10000, help="messages that may be on their way")
    parser.add_argument("--inflight", type=int, default=20, help="max_inflight_messages of Mosquitto (for QoS 1)")
    parser.add_argument("--redis", action="store_true", help="the server is one of a cluster")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(args.rounds):
        for shape in args.shapes:
            for name in ("bare", "ours"):
                runs.setdefault((shape, name), []).append(run(name, shape, args))
    print(
        f"{'shape':6} {'':5} {'msgs/s':>8} {'cpu us/msg':>10} {'msgs/cpu s':>10} {'cpu 0':>6} {'broker us':>9} "
        f"{'broker':>6} {'client':>6} {'lost':>6} {'bad':>4} {'alien':>5} {'foreign':>7}"
    )
    faults, foreign = 0, 0.0
    for (shape, name), found in runs.items():
        median = {key: statistics.median(one[key] for one in found) for key in found[0]}
        lost, bad, strange = (int(sum(one[fault] for one in found)) for fault in FAULTS)
        faults += lost + bad + strange
        foreign = max(foreign, *(one["foreign"] for one in found))
        print(
            f"{shape:6} {name:5} {median['rate']:8.0f} {median['cpu_us']:10.2f} {median['a_cpu_second']:10.0f} "
            f"{median['cpu_0']:6.0%} {median['broker_us']:9.2f} {median['broker']:6.0%} {median['client']:6.0%} "
            f"{lost:6} {bad:4} {strange:5} {max(one['foreign'] for one in found):7.0%}"
        )
    return verdict(
        faults="the deliveries are NOT what they should be: see lost, bad, alien" if faults else "",
        right="deliveries agree: every message that was published came once, in the order of its device",
        foreign=foreign,
    )


if __name__ == "__main__":
    sys.exit(main())
