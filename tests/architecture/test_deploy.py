"""What is deployed is what exists: services, entry points, compose and Kubernetes agree; alerts speak of real metrics.

The manifests are put together here as kustomize does it, as far as ours use it, so that the check needs no binary.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from harkara.policy import governance
from harkara.runtime.api_keys import ApiKeys

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
BASE, DEV, PROD = K8S / "base", K8S / "overlays" / "dev", K8S / "overlays" / "prod"
KUBERNETES_VERSION = "1.33.0"
BACKING = {"kafka", "postgres", "prometheus", "grafana", "topics"}
SIMULATOR = "graph-simulator"
WORKLOADS = {"Deployment", "StatefulSet", "Job"}
KUSTOMIZE_KEYS = {
    "apiVersion", "kind", "namespace", "resources", "patches", "configMapGenerator", "images", "labels",
}  # fmt: skip

Document = dict[str, Any]


def entry_points(folder: str) -> dict[str, str]:
    """Service name -> distribution, from the pyproject files under a folder."""
    found = {}
    for path in sorted((ROOT / folder).glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        for name in project.get("entry-points", {}).get("harkara.services", {}):
            found[name] = project["name"]
    return found


SERVICES = entry_points("services")


def documents(path: Path) -> list[Document]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each is not None]


def kustomization(folder: Path) -> Document:
    (found,) = documents(folder / "kustomization.yaml")
    return found


def workloads(manifests: list[Document]) -> list[Document]:
    return [each for each in manifests if each["kind"] in WORKLOADS]


def pod_of(manifest: Document) -> Document:
    spec: Document = manifest["spec"]["template"]["spec"]
    return spec


@cache
def built(folder: Path) -> list[Document]:
    """The manifests of a kustomization: resources, then patches, images and generated ConfigMaps (without the hash)."""
    rules = kustomization(folder)
    assert rules.keys() <= KUSTOMIZE_KEYS, "this test does not know that kustomize feature; teach it first"
    found: list[Document] = []
    for name in rules["resources"]:
        path = (folder / name).resolve()
        found += copy.deepcopy(built(path)) if path.is_dir() else documents(path)
    for patch in rules.get("patches", []):
        apply_patch(found, documents_of_patch(folder, patch), patch.get("target"))
    for image in rules.get("images", []):
        set_image(found, image)
    for generator in rules.get("configMapGenerator", []):
        generate(found, folder, generator)
    return found


def documents_of_patch(folder: Path, patch: Document) -> Any:
    (found,) = yaml.safe_load_all((folder / patch["path"]).read_text())
    return found


def apply_patch(manifests: list[Document], patch: Any, target: Document | None) -> None:
    """A strategic merge (maps only, as ours are) or JSON 6902 `add`; it must hit something."""
    if target is None:
        hit = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"])]
    else:
        assert target.keys() == {"kind"}
        hit = [m for m in manifests if m["kind"] == target["kind"]]
    assert hit, f"a patch of {patch} hits nothing"
    for manifest in hit:
        if isinstance(patch, list):
            for step in patch:
                add(manifest, step)
        else:
            merge(manifest["spec"], patch["spec"])


def add(manifest: Document, step: Document) -> None:
    assert step["op"] == "add"
    *parents, last = step["path"].strip("/").split("/")
    place: Any = manifest
    for each in parents:
        place = place[int(each)] if isinstance(place, list) else place[each]
    if last == "-":
        place.append(step["value"])
    else:
        place[last] = step["value"]


def merge(into: Document, patch: Document) -> None:
    for key, value in patch.items():
        assert not isinstance(value, list), "merging lists is not done here"
        if isinstance(value, dict) and key in into:
            merge(into[key], value)
        else:
            into[key] = value


def set_image(manifests: list[Document], rule: Document) -> None:
    hit = False
    for manifest in workloads(manifests):
        for container in pod_of(manifest)["containers"]:
            if container["image"].split(":")[0] == rule["name"]:
                container["image"] = f"{rule.get('newName', rule['name'])}:{rule['newTag']}"
                hit = True
    assert hit, f"the image {rule['name']} is used nowhere"


def generate(manifests: list[Document], folder: Path, rule: Document) -> None:
    data = {name: (folder / name).read_text() for name in rule.get("files", [])}
    data |= dict(literal.split("=", 1) for literal in rule.get("literals", []))
    existing = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == ("ConfigMap", rule["name"])]
    behavior = rule.get("behavior", "create")
    assert bool(existing) == (behavior != "create"), f"ConfigMap {rule['name']}: behavior {behavior}"
    if behavior == "create":
        metadata = {"name": rule["name"]}
        manifests.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    else:
        existing[0]["data"] = (existing[0]["data"] if behavior == "merge" else {}) | data


@cache
def compose() -> Document:
    found: Document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


@pytest.mark.req("OPS-1")
def test_services_folders_entry_points_compose_and_kubernetes_are_the_same() -> None:
    folders = {path.name for path in (ROOT / "services").iterdir() if path.is_dir()}
    assert set(SERVICES) == folders
    assert all(dist == f"harkara-{name}" for name, dist in SERVICES.items())
    assert set(entry_points("libs")) == {SIMULATOR}
    composed = set(compose()["services"]) - BACKING
    assert composed == folders | {"dispatcher-2", SIMULATOR}
    for folder, extra in ((BASE, set()), (PROD, set()), (DEV, {SIMULATOR})):
        kinds = {"Deployment", "StatefulSet"}
        assert {m["metadata"]["name"] for m in built(folder) if m["kind"] in kinds} == folders | extra


def test_every_image_is_built_from_the_one_dockerfile_for_its_service() -> None:
    for name, service in compose()["services"].items():
        if name in BACKING - {"topics"}:
            assert "build" not in service
            assert re.search(r":[0-9v]", service["image"]), f"{name}: a version, not a moving tag"
            continue
        build = service["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
        wanted = {"topics": "ingestion", "dispatcher-2": "dispatcher"}.get(name, name)
        assert build["args"]["SERVICE"] == wanted
        assert service["image"] == f"harkara/{wanted}:local"
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    for needed in ("uv sync --frozen --no-dev", '--package "harkara-$SERVICE"', "USER 10001:10001", "HEALTHCHECK"):
        assert needed in dockerfile
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY ([a-z][\w.]*(?: [\w.]+)*) \S+$", dockerfile, re.MULTILINE)
    for name in " ".join(copied).split():
        assert f"!{name}" in ignored, f"{name} is copied into the image but ignored"


def test_compose_hardens_every_service_and_publishes_on_this_machine_only() -> None:
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port} to the network"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists(), (
                f"{name} mounts {source}, which is not there"
            )
        if name not in BACKING - {"topics"}:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["user"] == "10001:10001"
    two = [compose()["services"][name]["environment"]["HARKARA_INSTANCE"] for name in ("dispatcher", "dispatcher-2")]
    assert len(set(two)) == 2, "static membership needs a name of its own for each dispatcher"


def test_the_simulator_signs_with_the_secret_that_ingestion_believes() -> None:
    services = compose()["services"]
    given = services[SIMULATOR]["environment"]["HARKARA_SIM_APP_SECRET"]
    assert services["ingestion"]["environment"]["HARKARA_APP_SECRETS"] == given
    assert ApiKeys.from_file(ROOT / "deploy" / "local" / "api-keys.yaml").find("local.only-for-this-laptop")


@pytest.mark.parametrize("folder", [BASE, DEV, PROD], ids=lambda folder: folder.name)
def test_manifests_are_valid_under_the_strict_schemas(folder: Path) -> None:
    for manifest in built(folder):
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")


@pytest.mark.parametrize("folder", [BASE, DEV, PROD], ids=lambda folder: folder.name)
@pytest.mark.req("UI-5")
def test_pods_are_restricted_probed_and_bounded(folder: Path) -> None:
    for manifest in workloads(built(folder)):
        pod, name = pod_of(manifest), manifest["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            mounted = {each["name"] for each in container.get("volumeMounts", [])}
            claims = {each["metadata"]["name"] for each in manifest["spec"].get("volumeClaimTemplates", [])}
            assert mounted == {each["name"] for each in pod.get("volumes", [])} | claims, name
            if manifest["kind"] != "Job":
                assert container["readinessProbe"]["httpGet"]["path"] == "/readyz", name
                assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", name
                assert "startupProbe" in container, name


@pytest.mark.parametrize("folder", [BASE, DEV, PROD], ids=lambda folder: folder.name)
def test_what_manifests_point_to_is_there(folder: Path) -> None:
    manifests = built(folder)
    names = {(m["kind"], m["metadata"]["name"]) for m in manifests}
    assert len(names) == len(manifests), "two manifests of one name"
    for manifest in workloads(manifests):
        name, pod = manifest["metadata"]["name"], pod_of(manifest)
        assert ("NetworkPolicy", name) in names
        if manifest["kind"] == "Job":
            continue
        labels = manifest["spec"]["template"]["metadata"]["labels"]
        assert manifest["spec"]["selector"]["matchLabels"].items() <= labels.items()
        for kind in ("ServiceAccount", "Service", "PodDisruptionBudget"):
            assert (kind, name) in names, f"{name} has no {kind}"
        for each in config_maps(pod):
            assert ("ConfigMap", each) in names, f"{name} uses the ConfigMap {each}"
    for manifest in manifests:
        for rule in manifest["spec"].get("rules", []) if manifest["kind"] == "Ingress" else []:
            for path in rule["http"]["paths"]:
                assert ("Service", path["backend"]["service"]["name"]) in names
    assert ("NetworkPolicy", "default-deny") in names


def config_maps(pod: Document) -> Iterator[str]:
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            yield volume["configMap"]["name"]
    for container in pod["containers"]:
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                yield source["configMapRef"]["name"]


@pytest.mark.parametrize("folder", [DEV, PROD], ids=lambda folder: folder.name)
def test_an_overlay_names_every_image_and_restricts_its_namespace(folder: Path) -> None:
    for manifest in workloads(built(folder)):
        for container in pod_of(manifest)["containers"]:
            assert ":" in container["image"], f"{manifest['metadata']['name']} has no image tag"
    (namespace,) = [m for m in built(folder) if m["kind"] == "Namespace"]
    assert namespace["metadata"]["name"] == kustomization(folder)["namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_governance_files_of_the_cluster_are_valid(tmp_path: Path) -> None:
    for folder in (BASE, DEV, PROD):
        (config,) = [m for m in built(folder) if m["metadata"]["name"] == "harkara-governance"]
        path = tmp_path / "governance.yaml"
        path.write_text(config["data"]["governance.yaml"])
        assert governance.load(path).numbers
    for name in ("governance.yaml", "world.yaml"):  # copies, since kustomize reads nothing outside its folder
        assert (DEV / name).read_text() == (ROOT / "examples" / name).read_text(), f"copy examples/{name} again"


def test_a_service_gets_the_secrets_that_its_code_asks_for() -> None:
    asked = {
        "pepper_bytes()": "HARKARA_PEPPER",
        "postgres_dsn": "HARKARA_POSTGRES_DSN",
        "app_secrets": "HARKARA_APP_SECRETS",
    }
    for manifest in workloads(built(BASE)):
        name = manifest["metadata"]["name"]
        if name not in SERVICES:
            continue
        code = "".join(path.read_text() for path in (ROOT / "services" / name).rglob("*.py"))
        given = {each["name"] for each in pod_of(manifest)["containers"][0]["env"]}
        composed = compose()["services"][name]["environment"]
        for sign, variable in asked.items():
            assert (sign in code) == (variable in given), f"{name}: {variable}"
            assert sign not in code or variable in composed, f"{name}: {variable}"


def test_a_disruption_leaves_one_and_the_dispatcher_keeps_its_name() -> None:
    for manifest in workloads(built(PROD)):
        if manifest["kind"] != "Job":
            assert manifest["spec"]["replicas"] >= 2, manifest["metadata"]["name"]
    sets = {m["metadata"]["name"]: m for m in built(PROD) if m["kind"] == "StatefulSet"}
    assert sets.keys() == {"dispatcher", "ingestion"}
    dispatcher = sets["dispatcher"]
    (instance,) = [e for e in pod_of(dispatcher)["containers"][0]["env"] if e["name"] == "HARKARA_INSTANCE"]
    assert instance["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


@pytest.mark.parametrize("folder", [BASE, DEV, PROD], ids=lambda folder: folder.name)
def test_what_a_webhook_was_promised_outlives_its_pod(folder: Path) -> None:
    """The spool is on the pod's own volume, and Meta's door stays open while Kafka, and so readiness, is away."""
    manifests = built(folder)
    (ingestion,) = [m for m in workloads(manifests) if m["metadata"]["name"] == "ingestion"]
    (claim,) = ingestion["spec"]["volumeClaimTemplates"]
    mounts = {m["name"]: m["mountPath"] for m in pod_of(ingestion)["containers"][0]["volumeMounts"]}
    (environment,) = [m for m in manifests if m["metadata"]["name"] == "harkara-environment"]
    assert mounts[claim["metadata"]["name"]] == environment["data"]["HARKARA_DATA_DIR"]
    (door,) = [m for m in manifests if m["metadata"]["name"] == ingestion["spec"]["serviceName"]]
    assert door["spec"]["publishNotReadyAddresses"] is True
    doors = [
        path["backend"]["service"]["name"]
        for m in manifests
        for rule in (m["spec"]["rules"] if m["kind"] == "Ingress" else [])
        for path in rule["http"]["paths"]
        if path["path"] == "/webhooks/meta"
    ]
    assert set(doors) <= {door["metadata"]["name"]}


# Prometheus and Grafana

METRIC = re.compile(r"\bharkara_\w+")
DECLARED = re.compile(r'\b(Counter|Gauge|Histogram|Summary)\(\s*"(harkara_\w+)"')
SUFFIXES = {"Counter": ("",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count"), "Summary": ("_sum", "_count")}


@cache
def declared_metrics() -> frozenset[str]:
    """The names of all time series that our code declares, as Prometheus sees them."""
    found = set()
    for folder in ("libs", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            for kind, name in DECLARED.findall(path.read_text()):
                found |= {name + suffix for suffix in SUFFIXES[kind]}
    return frozenset(found)


def alerts() -> list[Document]:
    (rules,) = documents(ROOT / "deploy" / "prometheus" / "alerts.yml")
    return [rule for group in rules["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_speaks_of_real_metrics_and_has_a_runbook(alert: Document) -> None:
    assert set(METRIC.findall(alert["expr"])) <= declared_metrics()
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"]["summary"]
    assert (ROOT / alert["annotations"]["runbook"]).is_file()


def test_every_alert_has_a_case_where_it_fires_and_one_where_it_must_not() -> None:
    """The cases are promtool's: `promtool test rules deploy/prometheus/alerts_test.yml` runs them."""
    (cases,) = documents(ROOT / "deploy" / "prometheus" / "alerts_test.yml")
    assert cases["rule_files"] == ["alerts.yml"]
    asked = [(c["alertname"], bool(c["exp_alerts"])) for test in cases["tests"] for c in test["alert_rule_test"]]
    names = {alert["alert"] for alert in alerts()}
    assert set(asked) == {(name, fires) for name in names for fires in (True, False)}


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {f"docs/runbooks/{path.name}" for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert {alert["annotations"]["runbook"] for alert in alerts()} == pages
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names)


def test_prometheus_scrapes_every_service_of_compose() -> None:
    (config,) = documents(ROOT / "deploy" / "prometheus" / "prometheus.yml")
    targets = {t for job in config["scrape_configs"] for group in job["static_configs"] for t in group["targets"]}
    composed = {name for name in compose()["services"] if name not in BACKING}
    assert targets == {f"{name}:8080" for name in composed}
    assert config["rule_files"] == ["alerts.yml"]


@pytest.mark.req("UI-4")
def test_the_dashboard_is_provisioned_and_asks_for_real_metrics() -> None:
    grafana = ROOT / "deploy" / "grafana"
    (provider,) = documents(grafana / "provisioning" / "dashboards" / "harkara.yaml")
    mounts = compose()["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['providers'][0]['options']['path']}:ro" in mounts
    (sources,) = documents(grafana / "provisioning" / "datasources" / "prometheus.yaml")
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    dashboard = json.loads((grafana / "dashboards" / "sla.json").read_text())
    assert [v["name"] for v in dashboard["templating"]["list"] if v["type"] == "datasource"] == ["datasource"]
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["description"], f"{panel['title']} does not say what it means"
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            asked = set(METRIC.findall(target["expr"]))
            assert asked, f"{panel['title']} asks for nothing of ours"
            assert asked <= declared_metrics(), f"{panel['title']}: {asked - declared_metrics()}"
    assert not overlapping(panels)


def overlapping(panels: list[Document]) -> bool:
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    return len(set(cells)) != len(cells)
