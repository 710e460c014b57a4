"""The Helm chart: what it asks for, what it renders, and what it refuses.

Helm's own library (PyPI: helm-python-sdk) renders it, and `kubernetes_validate` knows Kubernetes'
schemas. Both are large, so the tests that need them are skipped where they are not installed.
"""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep import __version__

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "lockstep"

Json = dict[str, Any]


def _yaml(path: Path) -> Json:
    document: Json = yaml.safe_load(path.read_text())
    return document


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: Json, described: Json) -> None:
        assert set(values) == set(described["properties"]) - {"global"}
        for name, value in values.items():
            inner = described["properties"][name]
            if "properties" in inner and name != "image":
                compare(value, inner)

    compare(_yaml(CHART / "values.yaml"), schema)


def _rendered(values: Json) -> dict[str, Json]:
    """The chart's objects by kind, as Helm's own library renders them."""
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="lockstep", namespace="search")
    documents = [yaml.safe_load(text) for name, text in files.items() if name.endswith(".yaml")]
    return {document["kind"]: document for document in documents if document}


@pytest.fixture(params=["small", "full"])
def objects(request: pytest.FixtureRequest) -> dict[str, Json]:
    return _rendered(_yaml(CHART / "ci" / f"{request.param}-values.yaml"))


def _pods(objects: dict[str, Json]) -> list[Json]:
    pods = [objects["Deployment"]["spec"]["template"]["spec"]]
    if "CronJob" in objects:
        pods.append(objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    return pods


def test_helm_finds_nothing_to_complain_about() -> None:
    helm = pytest.importorskip("helm_python")
    findings = helm.lint(str(CHART))

    assert findings["errors"] == []
    assert [one["error"] for one in findings["messages"]] == ["icon is recommended"]


def test_the_objects_keep_to_kubernetes_schemas(objects: dict[str, Json]) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes_validate is not installed")
    validate = importlib.import_module("kubernetes_validate").validate
    for kind, document in objects.items():
        if kind != "ServiceMonitor":
            validate(document, "1.31", strict=True)


def test_pods_are_locked_down_and_hold_no_secret(objects: dict[str, Json]) -> None:
    for pod in _pods(objects):
        assert pod["securityContext"]["runAsNonRoot"]
        # A service named lockstep would else become LOCKSTEP_PORT=tcp://…
        assert pod["enableServiceLinks"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for variable in container["env"]:
            secret = re.search("DATABASE_URL|API_KEY", variable["name"])
            assert ("valueFrom" in variable) is bool(secret), variable
            if secret:
                assert variable["valueFrom"]["secretKeyRef"]["name"] == "lockstep"


def test_the_api_is_probed_and_stays_inside(objects: dict[str, Json]) -> None:
    (container,) = _pods(objects)[0]["containers"]

    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert objects["Service"]["spec"]["type"] == "ClusterIP"
    selector = objects["Service"]["spec"]["selector"]
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == selector
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()


def test_a_reindex_waits_to_be_started_on_a_gpu() -> None:
    objects = _rendered(_yaml(CHART / "ci" / "full-values.yaml"))
    (container,) = _pods(objects)[1]["containers"]

    assert objects["CronJob"]["spec"]["suspend"]
    assert container["args"] == ["reindex", "docs", "--model", "ours", "--promote"]
    assert container["image"] == f"lockstep:{__version__}-cuda"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"existingSecret": ""}, "existingSecret: name a Secret"),
        ({"store": {"url": ""}}, "store.url: where Qdrant answers"),
        ({"artefacts": {"existingClaim": "", "url": ""}}, "artefacts: give url"),
        ({"artefacts": {"existingClaim": "a", "url": "s3://b"}}, "not both"),
        ({"image": {"tag": "latest"}}, "image"),
        ({"env": {"LOCKSTEP_DATABASE_URL": "postgresql://me:secret@host/db"}}, "propertyName"),
        ({"replicas": 3}, "replicas"),
    ],
)
def test_values_that_cannot_work_are_refused(changed: Json, says: str) -> None:
    helm = pytest.importorskip("helm_python")

    with pytest.raises(helm.HelmError, match=says):
        _rendered(_yaml(CHART / "ci" / "small-values.yaml") | changed)
