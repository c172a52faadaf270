"""The Kubernetes manifests render, fit the API's schemas, and say what the code does."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.kit.supervisor import SERVICES

ROOT = Path(__file__).parents[2]
OWN_DATA = [name for name in SERVICES if name != "gateway"]
OVERLAYS = ("dev", "prod")


@cache
def render(overlay: str) -> list[dict[str, Any]]:
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run(
        [kubectl, "kustomize", ROOT / "deploy" / "k8s" / "overlays" / overlay],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of(overlay: str, kind: str, name: str) -> dict[str, Any]:
    [found] = [d for d in render(overlay) if d["kind"] == kind and d["metadata"]["name"] == name]
    return found


def pods(overlay: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{d['kind']}/{d['metadata']['name']}", d["spec"]["template"])
        for d in render(overlay)
        if d["kind"] in ("Deployment", "StatefulSet", "Job")
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_document_fits_its_schema(overlay):
    documents = render(overlay)
    assert len(documents) > 40
    for document in documents:
        kubernetes_validate.validate(document, "1.34", strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_is_whole(overlay):
    for name in SERVICES:
        app = f"iop-{name}"
        for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"):
            assert of(overlay, kind, app)
        [container] = of(overlay, "Deployment", app)["spec"]["template"]["spec"]["containers"]
        assert container["args"] == [name]
        assert container["readinessProbe"]["grpc"] == {"port": 7000}
        assert container["startupProbe"]["grpc"] == {"port": 7000}
    for name in OWN_DATA:
        job = of(overlay, "Job", f"iop-migrate-{name}")
        assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate", name]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nobody_holds_anothers_database(overlay):
    for name in OWN_DATA:
        [container] = of(overlay, "Deployment", f"iop-{name}")["spec"]["template"]["spec"]["containers"]
        databases = [e for e in container["env"] if e["name"].startswith("DATABASE_URL_")]
        assert [e["name"] for e in databases] == [f"DATABASE_URL_{name.upper()}"]
        assert databases[0]["valueFrom"]["secretKeyRef"] == {"name": "iop-database", "key": name}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_run_with_the_least_rights(overlay):
    for label, template in pods(overlay):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, label
        assert spec["automountServiceAccountToken"] is False, label
        assert template["metadata"]["labels"]["app.kubernetes.io/part-of"] == "iop", label
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, label
            assert security["allowPrivilegeEscalation"] is False, label
            assert security["capabilities"] == {"drop": ["ALL"]}, label
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), label
            assert container["image"].startswith("registry.example.com/iop:"), label


def peers_in_code(name: str) -> set[str]:
    """Services to which this one opens channels."""
    folder = ROOT / "services" / name
    text = "".join(path.read_text() for path in folder.rglob("*.py"))
    return set(re.findall(r"""channel\(\s*service\s*,\s*["'](\w+)["']""", text))


@pytest.mark.parametrize("name", OWN_DATA)
def test_policies_allow_what_the_code_calls(name):
    """A service reaches the services it calls, and these let it in: no more, no less."""
    egress = of("prod", "NetworkPolicy", f"iop-{name}")["spec"]["egress"]
    allowed = {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"].removeprefix("iop-")
        for rule in egress
        for peer in rule.get("to", ())
    }
    assert allowed == peers_in_code(name)
    for peer in allowed:
        ingress = of("prod", "NetworkPolicy", f"iop-{peer}")["spec"]["ingress"]
        callers = {
            c["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
            for rule in ingress
            for c in rule.get("from", ())
            if "podSelector" in c
        }
        assert f"iop-{name}" in callers


def test_addresses_name_services_that_exist():
    settings = next(
        d
        for d in render("prod")
        if d["kind"] == "ConfigMap" and d["metadata"]["name"].startswith("iop-settings")
    )["data"]
    for name in OWN_DATA:
        host, port = settings[f"IOP_ADDR_{name.upper()}"].split(":")
        [service_port] = of("prod", "Service", host)["spec"]["ports"]
        assert service_port["port"] == int(port)
    assert "secret" not in " ".join(settings.values()).replace("/run/secrets/", "")


def test_the_image_holds_what_its_argument_runs():
    """The recipe copies every package that a service imports, and installs from the hashed lock."""
    recipe = (ROOT / "deploy" / "k8s" / "Dockerfile").read_text()
    for folder in ("services", "sdk", "adapters", "gateway"):
        assert f"COPY {folder} {folder}" in recipe
    assert "--require-hashes -r requirements.lock" in recipe
    assert 'ENTRYPOINT ["python", "-m", "services"]' in recipe
