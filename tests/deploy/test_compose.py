"""deploy/compose.yaml: read by Docker Compose; its broker and its backplane run as they are configured there."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import shutil
import subprocess
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from websockets.asyncio.client import connect

from deploy.prometheus_server import scraping
from deployed import DEPLOY, assert_settings, make_secrets, moved, started
from harness import Client, configuration, http, telemetry
from harness import running as serving
from process import running
from services import free_port, program
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (DEPLOY / "compose.yaml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = FILE["services"]
TIMEOUT = 60


def composed(directory: Path, *, settings: str | None) -> subprocess.CompletedProcess[str]:
    """Have Compose read the file, beside an .env of these lines."""
    shutil.copy(DEPLOY / "compose.yaml", directory)
    if settings is not None:
        (directory / ".env").write_text(settings)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VALTRONICS_", "COMPOSE_"))}
    command = [program("docker-compose", "docker-compose"), "-f", "compose.yaml", "config"]
    return subprocess.run(
        command, cwd=directory, env=clean, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_secrets(tmp_path_factory.mktemp("secrets"))


def test_compose_reads_it(tmp_path: Path) -> None:
    done = composed(tmp_path, settings=(DEPLOY / ".env.example").read_text())
    assert (done.returncode, done.stderr) == (0, "")
    resolved = yaml.safe_load(done.stdout)
    assert resolved["services"].keys() == SERVICES.keys()
    assert Path(resolved["secrets"]["auth_secret"]["file"]) == tmp_path / "secrets" / "auth_secret"


def test_without_an_env_it_says_what_to_do(tmp_path: Path) -> None:
    done = composed(tmp_path, settings=None)
    assert done.returncode != 0
    assert "copy .env.example to .env and run make-secrets.sh" in done.stderr


def test_the_example_names_what_the_file_reads() -> None:
    named = set(re.findall(r"^(\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert named == {*re.findall(r"\$\{(\w+)", TEXT), "COMPOSE_PROJECT_NAME"}


def test_every_file_that_it_mounts_is_there(secrets: Path) -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())]
    assert {mount for mount in mounts if not mount.startswith("./")} == set(FILE["volumes"])
    assert [mount for mount in mounts if mount.startswith("./") and not (DEPLOY / mount).exists()] == []
    used = {name for service in SERVICES.values() for name in service.get("secrets", ())}
    assert used == set(FILE["secrets"])
    named = {Path(secret["file"]).name for secret in FILE["secrets"].values()}
    assert named == {path.name for path in secrets.iterdir()}


def test_every_service_is_watched_bounded_and_waited_for() -> None:
    for name, service in SERVICES.items():
        assert "healthcheck" in service or name == "server", name  # that is in its image
        assert service["restart"] == "unless-stopped"
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["logging"]["options"]["max-size"]
    assert_settings(SERVICES["server"]["environment"])
    window = configuration().server.drain_window
    assert int(SERVICES["server"]["stop_grace_period"].removesuffix("s")) > window + 15


def test_only_what_has_to_be_is_reached_from_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith(("127.0.0.1:", "${VALTRONICS_BIND:-127.0.0.1}:")) for port in ports)
    assert [port for port in ports if "VALTRONICS_BIND" in port and not port.endswith((":8000", ":1883"))] == []


def test_secrets_are_random_and_stay(tmp_path: Path, secrets: Path) -> None:
    other = {path.name: path.read_text() for path in make_secrets(tmp_path / "a").iterdir()}
    assert [name for name, text in other.items() if text == (secrets / name).read_text()] == []
    again = {path.name: path.read_text() for path in make_secrets(tmp_path / "a").iterdir()}
    changed = {name for name, text in other.items() if text != again[name]}
    assert changed <= {"prometheus_token"}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert all(not text.endswith("\n") for name, text in again.items() if name not in {"mqtt_passwords", "redis_acl"})


@pytest.mark.parametrize("length", [40, 64, 80])
async def test_the_token_of_prometheus_reads_the_figures_and_may_do_nothing_else(tmp_path: Path, length: int) -> None:
    secret = "-/Xq3v9Zk2mLr7TbWc5Yh8NdGf4JpSs6KuAe1RxQi0Ov" * 2
    (tmp_path / "auth_secret").write_text(secret[:length])
    headers = {"Authorization": f"Bearer {(make_secrets(tmp_path) / 'prometheus_token').read_text()}"}
    async with serving(auth={"secret": secret[:length]}, http={"api_key": "a-key"}) as site:
        assert (await http("GET", site.http_url("/api/v1/stats"), headers=headers))[0] == 200
        message = telemetry(1, value=1)
        assert (await http("POST", site.http_url("/api/v1/publish"), headers=headers, json=message))[0] == 403


@contextmanager
def broker(directory: Path, secrets: Path) -> Iterator[int]:
    """Run Mosquitto by the service's command and configuration, and return its port."""
    port = free_port()
    directory.mkdir(exist_ok=True)
    shutil.copy(DEPLOY / "mosquitto" / "acl", directory)
    places = {"/tmp/": f"{directory}/own-"}
    text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    text = moved(text, {**places, "/mosquitto/data": directory, "listener 1883": f"listener {port}"})
    user = pwd.getpwuid(os.geteuid()).pw_name
    (directory / "mosquitto.conf").write_text(f"{text}\nuser {user}\n")  # who may enter the directory of a test
    *shell, script = SERVICES["mosquitto"]["command"]
    places = {**places, "/mosquitto/config": directory, "/run/secrets": secrets, "chown mosquitto": f"chown {user}"}
    script = moved(script, places)
    paths = f"/usr/sbin:{os.environ['PATH']}"
    with started([*shell, script], port, directory / "log", env={**os.environ, "PATH": paths}):
        yield port


@contextmanager
def backplane(directory: Path, secrets: Path) -> Iterator[int]:
    """Run Redis by the service's configuration, and return its port."""
    port = free_port()
    directory.mkdir()
    text = moved((DEPLOY / "redis" / "redis.conf").read_text(), {"/run/secrets": secrets})
    (directory / "redis.conf").write_text(f"{text}\nport {port}\nbind 127.0.0.1\ndir {directory}\n")
    command = [program("redis-server", "redis-server"), directory / "redis.conf"]
    with started(command, port, directory / "log"):
        yield port


def publish(port: int, user: str, password: str, topic: str, text: str, *flags: str) -> int:
    """Publish with mosquitto_pub, and return its exit code."""
    command = [program("mosquitto_pub", "mosquitto-clients"), "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-V", "5"]
    command += ["-t", topic, "-m", text, *flags, *(["-u", user, "-P", password] if user else [])]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False).returncode


async def test_devices_reach_clients_through_all_of_it(tmp_path: Path, secrets: Path) -> None:
    """The server has the environment of its service, but for the places of the others."""
    own = shutil.copytree(secrets, tmp_path / "own")
    with (own / "mqtt_passwords").open("a") as file:
        file.write("17:of-the-device\n")
    with broker(tmp_path / "mosquitto", own) as mqtt, backplane(tmp_path / "redis", own) as redis:
        for name, place, port in (("mqtt_url", "mosquitto:1883", mqtt), ("redis_url", "redis:6379", redis)):
            (own / name).write_text(moved((own / name).read_text(), {f"@{place}$": f"@127.0.0.1:{port}"}))
        environment = SERVICES["server"]["environment"]
        variables = {name: value.replace("/run/secrets", str(own)) for name, value in environment.items()}
        variables["VFAST_SECURITY__ORIGINS"] = ""
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(running(**variables))
            parts: dict[str, Any] = {}
            async with asyncio.timeout(TIMEOUT):
                while set(parts.values()) != {"ok"}:
                    parts = (await http("GET", f"{server.http}/health/ready"))[1]["checks"]
            assert parts.keys() >= {"mqtt", "backplane"}
            client = Client(await stack.enter_async_context(connect(server.url, proxy=None)))
            settings = configuration(auth={"secret": (own / "auth_secret").read_text()})
            await client.authenticate(mint(settings.auth, "alice"))
            await client.subscribe("telemetry")
            assert publish(mqtt, "", "", "valtronics/17/telemetry", "{}") != 0
            assert publish(mqtt, "17", "wrong", "valtronics/17/telemetry", "{}") != 0
            for device in (18, 17):  # it may speak for itself alone
                text = json.dumps({"name": "rpm", "value": device})
                publish(mqtt, "17", "of-the-device", f"valtronics/{device}/telemetry", text)
            message = await client.receive()
            assert (message["device_id"], message["telemetry"]["rpm"]["value"]) == (17, 17)
            key = {"X-API-Key": (own / "http_api_key").read_text()}
            posted = await http("POST", f"{server.http}/api/v1/publish", headers=key, json=telemetry(2, rpm=2))
            assert (posted[0], posted[1]["accepted"]) == (200, 1)
            assert (await client.receive())["device_id"] == 2
            backplane_figures = (await http("GET", f"{server.http}/api/v1/stats", headers=key))[1]["backplane"]
            assert (backplane_figures["connected"], backplane_figures["losses"]) == (True, 0)
            assert await server.end() == 0


def test_the_broker_keeps_what_is_retained_over_a_restart(tmp_path: Path) -> None:
    passwords = tmp_path / "mqtt_passwords"
    passwords.write_text("server:of-the-server\n17:of-the-device\n")
    with broker(tmp_path / "mosquitto", tmp_path) as port:
        assert publish(port, "17", "of-the-device", "valtronics/17/status", "kept", "-r") == 0
    with broker(tmp_path / "mosquitto", tmp_path) as port:
        read = [program("mosquitto_sub", "mosquitto-clients"), "-h", "127.0.0.1", "-p", str(port), "-u", "server"]
        read += ["-P", "of-the-server", "-t", "valtronics/#", "-C", "1", "-W", "20"]
        done = subprocess.run(read, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.stdout == "kept\n"


def test_redis_lets_the_server_in_and_nobody_else(tmp_path: Path, secrets: Path) -> None:
    password = re.sub(r".*//valtronics:(.*)@.*", r"\1", (secrets / "redis_url").read_text())
    with backplane(tmp_path / "redis", secrets) as port:

        def ask(*arguments: str) -> str:
            command = [program("redis-cli", "redis-tools"), "-p", str(port), *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout.strip()

        user = ("--no-auth-warning", "--user", "valtronics", "--pass", password)
        assert ask("get", "x").startswith("NOAUTH")
        assert ask(*user, "set", "{valtronics}:x", "1") == "OK"
        assert ask(*user, "set", "x", "1").startswith("NOPERM")
        assert ask(*user, "flushall").startswith("NOPERM")
        assert ask(*user, "config", "get", "*").startswith("NOPERM")
        (kind, check) = SERVICES["redis"]["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        done = subprocess.run(["sh", "-c", moved(check, {"redis-cli": f"redis-cli -p {port}"})], timeout=TIMEOUT)
        assert done.returncode == 0
        assert ask("--no-auth-warning", "--user", "health", "--pass", "any", "get", "x").startswith("NOPERM")
    assert list((tmp_path / "redis" / "appendonlydir").iterdir())


async def test_prometheus_gets_the_metrics_of_a_server(tmp_path: Path, secrets: Path) -> None:
    auth = {"secret": (secrets / "auth_secret").read_text()}
    async with serving(auth=auth, http={"api_key": "a-key"}) as site:
        assert (await http("GET", site.http_url("/metrics")))[0] == 401
        port = int(site.http_url("").rpartition(":")[2])
        with scraping(port, tmp_path, secrets / "prometheus_token") as prometheus:
            await prometheus.until("valtronics_ready == 1")


def test_prometheus_reads_its_configuration(tmp_path: Path, secrets: Path) -> None:
    place = shutil.copytree(DEPLOY / "prometheus", tmp_path / "prometheus")
    text = moved((place / "prometheus.yml").read_text(), {"/run/secrets": secrets})
    (place / "prometheus.yml").write_text(text)
    command = [program("promtool", "prometheus"), "check", "config", str(place / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_is_told_of_places_that_are_mounted() -> None:
    places = {mount.split(":")[1]: DEPLOY / mount.split(":")[0] for mount in SERVICES["grafana"]["volumes"][:2]}
    provisioning = places["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "valtronics-fast.yml").read_text())["providers"]
    assert provider["options"]["path"] in places
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["url"], source["isDefault"]) == ("http://prometheus:9090", True)
