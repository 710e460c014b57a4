"""What production runs from: images, compose files, secrets, dashboards, alerts, the workflow.

No container engine is needed. promtool, hadolint and docker-compose check more where they are
installed; docs/deployment.md says which of them have. test_helm_chart.py is about the chart.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from sqlalchemy import make_url

from lockstep import __version__
from lockstep.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "lockstep"
DOCKERFILES = [DEPLOY / "Dockerfile", DEPLOY / "Dockerfile.cuda"]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"

Json = dict[str, Any]


def _yaml(path: Path) -> Json:
    document: Json = yaml.safe_load(path.read_text())
    return document


COMPOSE = _yaml(ROOT / "docker-compose.yml")
SERVICES: dict[str, Json] = COMPOSE["services"]
OURS = ("api", "indexer")

_TEXTS = [
    ROOT / "docker-compose.yml",
    ROOT / "docs" / "deployment.md",
    WORKFLOW,
    *(path for path in DEPLOY.rglob("*") if path.is_file() and path.parent.name != "secrets"),
]
_PARSED = [
    path
    for path in _TEXTS
    if path.suffix in (".yml", ".yaml", ".json") and "templates" not in path.parts
]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", _PARSED, ids=_name)
def test_every_file_parses(path: Path) -> None:
    assert yaml.safe_load(path.read_text())  # JSON is YAML


def _settings(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper()


@pytest.mark.parametrize("path", _TEXTS, ids=_name)
def test_every_variable_is_a_setting(path: Path) -> None:
    named = set(re.findall(r"\bLOCKSTEP_[A-Z0-9_]*[A-Z0-9]\b", path.read_text()))
    named = {name.removesuffix("_FILE") for name in named if not name.startswith("LOCKSTEP_TEST_")}

    assert named - set(_settings(Settings, "LOCKSTEP_")) == set()


# Images


def _images() -> Iterator[str]:
    yield from (service["image"] for service in SERVICES.values())
    for path in DOCKERFILES:
        yield from re.findall(r"^ARG PYTHON_IMAGE=(.+)$", path.read_text(), re.MULTILINE)
    workflow = _yaml(WORKFLOW)
    for job in workflow["jobs"].values():
        yield from (service["image"] for service in job.get("services", {}).values())


def test_every_image_is_pinned() -> None:
    for image in _images():
        tag = re.sub(r"\$\{\w+:-(.+)}", r"\1", image).rpartition(":")[2]
        assert re.match(r"v?\d+\.\d+", tag), image


def test_ci_runs_against_the_servers_that_compose_starts() -> None:
    services = _yaml(WORKFLOW)["jobs"]["qdrant"]["services"]

    assert services["qdrant"]["image"] + "-unprivileged" == SERVICES["qdrant"]["image"]
    assert services["postgres"]["image"] == SERVICES["postgres"]["image"]
    assert SERVICES["prometheus"]["image"] in WORKFLOW.read_text()


def test_images_and_chart_are_of_this_version() -> None:
    assert {SERVICES[name]["image"] for name in OURS} == {
        "lockstep:${IMAGE_TAG:-" + __version__ + "}"
    }
    chart = _yaml(CHART / "Chart.yaml")
    assert (chart["version"], str(chart["appVersion"])) == (__version__, __version__)


@pytest.mark.parametrize("path", DOCKERFILES, ids=_name)
def test_an_image_runs_as_nobody_special_and_hears_signals(path: Path) -> None:
    last_stage = path.read_text().rpartition("\nFROM ")[2]

    assert re.findall(r"^USER (.+)$", last_stage, re.MULTILINE) == ["10001:10001"]
    entrypoint, command = (
        json.loads(re.findall(rf"^{word} (.+)$", last_stage, re.MULTILINE)[0])
        for word in ("ENTRYPOINT", "CMD")
    )
    assert (entrypoint[0], command) == ("/usr/bin/tini", ["serve"])
    # What is copied is all that .dockerignore lets through.
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", path.read_text(), re.MULTILINE)
    assert sorted(" ".join(copied).split()) == sorted(allowed)
    assert all((ROOT / name).exists() for name in allowed)


def test_both_images_differ_in_nothing_but_the_accelerator() -> None:
    cpu, cuda = (
        {line for line in path.read_text().splitlines() if line and not line.startswith("#")}
        for path in DOCKERFILES
    )

    assert cpu - cuda == {"ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu"}
    assert {re.split("[ =]", line.strip())[0] for line in cuda - cpu} == {
        "ARG",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    }


def test_the_torch_of_the_images_is_the_one_tests_run_with() -> None:
    (torch,) = re.findall(r"^TORCH \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    for path in (*DOCKERFILES, WORKFLOW):
        assert torch in path.read_text()


@contextmanager
def _answering(status: int) -> Iterator[int]:
    """The port of a server on loopback that answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _health_of_ours(port: int) -> list[str]:
    text = DOCKERFILES[0].read_text()
    (found,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*?])$", text, re.MULTILINE | re.DOTALL)
    _, *arguments = json.loads(found)
    return ["env", f"LOCKSTEP_PORT={port}", sys.executable, *arguments]


def _health_of_qdrant(port: int) -> list[str]:
    _, *command = SERVICES["qdrant"]["healthcheck"]["test"]
    return [argument.replace("6333", str(port)) for argument in command]


@pytest.mark.parametrize("command", [_health_of_ours, _health_of_qdrant])
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_checks_tell_healthy_from_not(command: Any, status: int, healthy: bool) -> None:
    with _answering(status) as port:
        answer = subprocess.run(command(port), capture_output=True, check=False, timeout=60)

    assert (answer.returncode == 0) is healthy, answer.stderr


# Secrets


@pytest.fixture
def entrypoint(tmp_path: Path) -> Any:
    """Runs the images' entry point around a `lockstep` that prints its environment."""
    stub = tmp_path / "lockstep"
    stub.write_text('#!/bin/sh\necho "args=$*"\nenv\n')
    stub.chmod(0o755)

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(DEPLOY / "entrypoint.sh"), "search", "docs", "two words"],
            env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_entry_point_reads_secrets_from_files(entrypoint: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("p$(id)'\"&\n")
    names = ("LOCKSTEP_DATABASE_URL", "LOCKSTEP_STORE_API_KEY", "PGPASSWORD")
    answer = entrypoint(**{f"{name}_FILE": str(secret) for name in names})

    lines = answer.stdout.splitlines()
    assert "args=search docs two words" in lines
    for name in names:
        assert f"{name}=p$(id)'\"&" in lines
    assert "_FILE" not in answer.stdout


def test_the_entry_point_refuses_a_secret_that_is_not_there(entrypoint: Any) -> None:
    answer = entrypoint(PGPASSWORD_FILE="/run/secrets/none")

    assert (answer.returncode, answer.stdout) == (1, "")
    assert "PGPASSWORD_FILE names '/run/secrets/none'" in answer.stderr


def test_make_secrets_makes_each_once_and_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"

    def made() -> dict[str, str]:
        subprocess.run(
            ["sh", str(DEPLOY / "make-secrets.sh"), str(folder)], check=True, capture_output=True
        )
        return {path.name: path.read_text() for path in folder.iterdir()}

    first = made()
    assert set(first) == set(COMPOSE["secrets"])
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in first.values())
    assert len(set(first.values())) == len(first)
    assert folder.stat().st_mode & 0o077 == 0
    assert made() == first


def test_compose_refers_to_secrets_and_holds_none() -> None:
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./deploy/secrets/{name}"}
    assert "\n*\n" in (DEPLOY / "secrets" / ".gitignore").read_text()
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|API_KEY|TOKEN", name):
                assert name.endswith("_FILE")
                assert value.removeprefix("/run/secrets/") in service["secrets"]
            elif "@" in value:
                assert make_url(value).password is None


# Compose


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened_watched_and_limited(name: str) -> None:
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name == "indexer" else "unless-stopped")
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert name in OURS or service["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_servers_that_hold_data_are_reached_by_nobody_outside() -> None:
    assert COMPOSE["networks"]["data"]["internal"]
    for name in ("qdrant", "postgres"):
        assert SERVICES[name]["networks"] == ["data"]
        assert "ports" not in SERVICES[name]


@pytest.mark.parametrize("name", OURS)
def test_ours_start_once_their_servers_are_healthy(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {
        server: {"condition": "service_healthy"} for server in ("postgres", "qdrant")
    }
    assert SERVICES[name]["read_only"]


def test_what_is_mounted_is_there() -> None:
    named = set()
    for service in SERVICES.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./deploy"):
                assert (ROOT / source).is_dir()
            elif not source.startswith("."):
                named.add(source)
    assert named == set(COMPOSE["volumes"])


# Prometheus and Grafana


def test_the_dashboard_and_its_data_source_are_provisioned() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = _yaml(provisioning / "datasources" / "prometheus.yml")["datasources"]
    (provider,) = _yaml(provisioning / "dashboards" / "lockstep.yml")["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "lockstep.json").read_text())

    used = re.findall(r'"datasource": (\{[^}]*})', json.dumps(dashboard))
    assert {json.loads(one)["uid"] for one in used} == {source["uid"]}
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/lockstep.json"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert source["url"] == "http://prometheus:9090"


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    (group,) = _yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"]
    raised = _yaml(DEPLOY / "prometheus" / "alerts_test.yml")["tests"][1]["promql_expr_test"][0]

    assert [re.findall('"(.+)"', one["labels"])[0] for one in raised["exp_samples"]] == [
        rule["alert"] for rule in group["rules"]
    ]
    for rule in group["rules"]:
        assert set(rule["annotations"]) == {"summary", "next_step"}


def _run(*command: str, cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    "arguments", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")]
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    _run("promtool", *arguments, cwd=DEPLOY / "prometheus")


def test_hadolint_agrees() -> None:
    _run("hadolint", *map(str, DOCKERFILES), cwd=ROOT)


def test_docker_compose_agrees() -> None:
    _run("docker-compose", "--profile", "indexer", "config", "--quiet", cwd=ROOT)


# Workflow


def test_the_workflow_runs_what_ci_runs_with_pinned_actions() -> None:
    text = WORKFLOW.read_text()

    assert all(re.search(r"@v\d+$", used) for used in re.findall(r"uses: (\S+)", text))
    runs = [
        step.get("run", "") for job in _yaml(WORKFLOW)["jobs"].values() for step in job["steps"]
    ]
    assert ".ci/run" in runs
    assert "make test" in runs
    assert "LOCKSTEP_TEST_QDRANT_URL: http://localhost:6333" in text
