"""deploy/kubernetes: manifests are valid by the schemas of Kubernetes, and agree with each other and the server."""

from __future__ import annotations

import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deployed import DEPLOY, assert_settings
from harness import SECRET, http
from harness import running as serving
from valtronics_fast import Config

FOLDER = DEPLOY / "kubernetes"
MANIFESTS: dict[str, Any] = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.iterdir())}
KUSTOMIZATION = MANIFESTS.pop("kustomization")
VERSIONS = ("1.30.0", "1.37.0")
"""The oldest and the newest whose schemas they are checked by."""

NAME = "valtronics-fast"
POD = MANIFESTS["deployment"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
CONFIG = tomllib.loads(MANIFESTS["configmap"]["data"]["server.toml"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_the_schemas_find_faults() -> None:
    wrong = MANIFESTS["service"] | {"spec": {"ports": [{"prot": 8000}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_kustomization_has_them_all_but_the_secret() -> None:
    names = {f"{name}.yaml" for name in MANIFESTS} - {"secret.example.yaml"}
    assert sorted(KUSTOMIZATION["resources"]) == sorted(names)
    assert [image["name"] for image in KUSTOMIZATION["images"]] == [CONTAINER["image"]]
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    assert KUSTOMIZATION["images"][0]["newTag"] == version


def test_they_speak_of_the_same_pods() -> None:
    labels = POD["metadata"]["labels"]
    spec = MANIFESTS["deployment"]["spec"]
    selectors = [spec["selector"]["matchLabels"], MANIFESTS["service"]["spec"]["selector"]]
    selectors += [MANIFESTS["poddisruptionbudget"]["spec"]["selector"]["matchLabels"]]
    selectors += [MANIFESTS["networkpolicy"]["spec"]["podSelector"]["matchLabels"]]
    selectors += [each["labelSelector"]["matchLabels"] for each in POD["spec"]["topologySpreadConstraints"]]
    assert selectors == [labels] * 5
    assert {manifest["metadata"]["name"] for manifest in MANIFESTS.values()} == {NAME}
    assert MANIFESTS["horizontalpodautoscaler"]["spec"]["scaleTargetRef"]["name"] == NAME
    assert "replicas" not in spec, "they are the autoscaler's"


def test_the_ports_are_those_of_the_configuration() -> None:
    named = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert named == {"ws": CONFIG["server"]["port"], "http": CONFIG["http"]["port"]}
    ports = {port["targetPort"]: port["port"] for port in MANIFESTS["service"]["spec"]["ports"]}
    assert ports == named
    allowed = [port["port"] for rule in MANIFESTS["networkpolicy"]["spec"]["ingress"] for port in rule["ports"]]
    assert allowed == list(named.values())
    probes = [CONTAINER[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "readiness", "liveness")]
    assert probes == ["http"] * 3, "the WebSocket port counts connections of an address"


def test_a_pod_gets_the_time_for_its_pause_and_its_drain() -> None:
    command, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    window = Config.load(CONFIG, environ={}).server.drain_window
    assert POD["spec"]["terminationGracePeriodSeconds"] > int(seconds) + window + 15
    readiness = CONTAINER["readinessProbe"]
    assert readiness["timeoutSeconds"] < readiness["periodSeconds"]


def test_a_pod_may_do_little_and_names_its_user() -> None:
    spec = POD["spec"]
    assert (spec["enableServiceLinks"], spec["automountServiceAccountToken"]) == (False, False)
    assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"]) == (True, 10001)
    assert f"USER {spec['securityContext']['runAsUser']}:" in (DEPLOY / "Dockerfile").read_text()
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    limit = Config.load(CONFIG, environ={}).limits.memory
    assert CONTAINER["resources"]["limits"]["memory"] == "1Gi"
    assert 0 < limit < 1 << 30, "clients are refused before the kernel kills the process"


def test_the_secret_has_a_place_for_each_variable_and_no_value() -> None:
    secret = MANIFESTS["secret.example"]["stringData"]
    assert set(secret.values()) == {""}
    variables = {each["name"]: each["value"] for each in CONTAINER["env"]}
    assert_settings(variables)
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert sorted(variables.values()) == sorted(f"{mounts['secrets']}/{name}" for name in secret)
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    assert volumes["secrets"]["secret"]["secretName"] == NAME
    assert volumes["configuration"]["configMap"]["name"] == NAME
    assert CONTAINER["args"] == ["--config", f"{mounts['configuration']}/server.toml"]


async def test_a_server_with_this_configuration_answers_the_probes() -> None:
    sections = {name: dict(values) for name, values in CONFIG.items()}
    for name in ("server", "http"):
        sections[name] |= {"host": "127.0.0.1", "port": 0}
    async with serving(**sections, auth={"secret": SECRET}) as site:
        for name in ("startup", "readiness", "liveness"):
            path = CONTAINER[f"{name}Probe"]["httpGet"]["path"]
            assert (await http("GET", site.http_url(path)))[0] == 200
