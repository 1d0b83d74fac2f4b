"""deploy/kubernetes: each object has Kubernetes' schema, they fit together, and what is generated is current."""

import re
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from perfmon import config
from perfmon.provision import assets, kubernetes

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
NAME = {"app.kubernetes.io/name": "perfmon"}


def built(folder):
    """What `kubectl kustomize` makes of a folder, but for the hash in a name: the resources, and maps of files."""
    layer = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(layer) <= {"apiVersion", "kind", "namespace", "resources", "generatorOptions", "configMapGenerator"}
    found = []
    for path in layer.get("resources", []):
        there = folder / path
        found += built(there) if there.is_dir() else [yaml.safe_load(there.read_text())]
    options = layer.get("generatorOptions", {})
    for generator in layer.get("configMapGenerator", []):
        metadata = {
            "name": generator["name"],
            **{key: options[key] for key in ("labels", "annotations") if key in options},
        }
        data = {name: (folder / name).read_text() for name in generator["files"]}
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    if "namespace" in layer:
        found = [{**one, "metadata": {**one["metadata"], "namespace": layer["namespace"]}} for one in found]
    return found


OBJECTS = built(FOLDER)
OF_KUBERNETES = [one for one in OBJECTS if one["apiVersion"] != "monitoring.coreos.com/v1"]


def the(kind, name="perfmon"):
    [one] = [one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return deepcopy(one)


def container():
    [one] = the("Deployment")["spec"]["template"]["spec"]["containers"]
    return one


# ---------------------------------------------------------------- schemas


@pytest.mark.parametrize("one", OF_KUBERNETES, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_it_has_the_schema_of_kubernetes(one):
    kubernetes_validate.validate(one, "1.37", strict=True)


def test_a_misspelt_field_would_be_found():
    wrong = the("Deployment")
    probed = wrong["spec"]["template"]["spec"]["containers"][0]
    probed["readinessProb"] = probed.pop("readinessProbe")

    with pytest.raises(kubernetes_validate.ValidationError, match="readinessProb"):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


DURATION = {"type": "string", "pattern": r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def closed(*required, **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


RULE = closed(
    "expr",
    alert={"type": "string"},
    record={"type": "string"},
    expr={"type": ["string", "integer"]},
    labels=TEXTS,
    annotations=TEXTS,
    keep_firing_for=DURATION,
    **{"for": DURATION},
)
GROUP = closed(
    "name",
    name={"type": "string", "minLength": 1},
    interval=DURATION,
    limit={"type": "integer"},
    rules={"type": "array", "items": RULE},
)
RELABELING = closed(
    action={
        "enum": ["replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"]
    },
    sourceLabels={"type": "array", "items": {"type": "string"}},
    separator={"type": "string"},
    regex={"type": "string"},
    targetLabel={"type": "string"},
    replacement={"type": "string"},
    modulus={"type": "integer"},
)
ENDPOINT = closed(
    "port",
    port={"type": "string"},
    path={"type": "string"},
    interval=DURATION,
    scrapeTimeout=DURATION,
    honorLabels={"type": "boolean"},
    relabelings={"type": "array", "items": RELABELING},
)
# Of the Operator's CustomResourceDefinitions, the fields that are used here or near to those.
SCHEMAS = {
    "PrometheusRule": closed("groups", groups={"type": "array", "items": GROUP}),
    "ServiceMonitor": closed(
        "endpoints",
        "selector",
        jobLabel={"type": "string"},
        selector=closed(matchLabels=TEXTS),
        endpoints={"type": "array", "items": ENDPOINT},
    ),
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_it_has_the_schema_of_the_operator(kind):
    jsonschema.validate(the(kind)["spec"], SCHEMAS[kind])

    assert {"apiVersion", "kind", "metadata", "spec"} == set(the(kind))


@pytest.mark.servers
def test_the_groups_of_the_rule_are_those_of_prometheus_alone(binary, tmp_path):
    groups = [
        group
        for file in sorted((ROOT / "rules").glob("*.rules.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    assert groups == the("PrometheusRule")["spec"]["groups"]
    assert len(groups) == len({group["name"] for group in groups})  # the Operator refuses two of one name

    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(the("PrometheusRule")["spec"]))
    ran = subprocess.run([binary("promtool"), "check", "rules", "--lint=all", "--lint-fatal", file], check=False)
    assert 0 == ran.returncode


def test_kubectl_makes_the_same_of_it():
    """The reader above stands in for kustomize everywhere else; here is kustomize itself, where kubectl has one."""
    kubectl = shutil.which("kubectl")
    version = (
        kubectl and subprocess.run([kubectl, "version", "--client"], capture_output=True, text=True, check=True).stdout
    )
    if not version or "Kustomize Version: v" not in version:
        pytest.skip("no kubectl with kustomize 4 or newer (Debian's has 2, which knows no folders among resources)")
    ran = subprocess.run([kubectl, "kustomize", FOLDER], capture_output=True, text=True, check=True)
    assert "" == ran.stderr

    hashed = re.sub(r"\bperfmon-[a-z0-9]{10}\b", "perfmon", ran.stdout)
    assert hashed.count("\n  name: perfmon\n") == ran.stdout.count("\n  name: perfmon\n") + 1
    assert by_name(OBJECTS) == by_name(yaml.safe_load_all(hashed))


def by_name(objects):
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


# ---------------------------------------------------------------- how they fit together


def test_labels_lead_from_prometheus_to_the_pod():
    pod = the("Deployment")["spec"]["template"]
    monitor = the("ServiceMonitor")["spec"]

    assert NAME == monitor["selector"]["matchLabels"] == the("Service")["metadata"]["labels"]
    assert NAME == the("Service")["spec"]["selector"] == pod["metadata"]["labels"]
    assert NAME == the("Deployment")["spec"]["selector"]["matchLabels"]
    assert NAME == the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert {"monitoring"} == {one["metadata"]["namespace"] for one in OBJECTS}


def test_prometheus_knows_it_by_the_job_of_the_rules():
    monitor = the("ServiceMonitor")["spec"]
    job = the("Service")["metadata"]["labels"][monitor["jobLabel"]]

    assert "perfmon" == job
    assert f'{{job="{job}"}}' in (ROOT / "rules" / "perfmon.rules.yml").read_text()


def test_one_port_runs_through():
    [port] = container()["ports"]
    [offered] = the("Service")["spec"]["ports"]
    [endpoint] = the("ServiceMonitor")["spec"]["endpoints"]
    [allowed] = the("NetworkPolicy")["spec"]["ingress"][0]["ports"]

    assert port["containerPort"] == offered["port"] == allowed["port"] == 10737
    assert port["name"] == offered["targetPort"] == offered["name"] == endpoint["port"]
    assert {(port["name"], "/-/ready"), (port["name"], "/-/healthy")} == {
        (container()[probe]["httpGet"]["port"], container()[probe]["httpGet"]["path"])
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    }


def test_the_pod_holds_nothing_that_it_does_not_need():
    pod = the("Deployment")["spec"]["template"]["spec"]
    own = container()["securityContext"]

    assert (False, False) == (
        pod["automountServiceAccountToken"],
        the("ServiceAccount")["automountServiceAccountToken"],
    )
    assert (True, 65532, 65532, 65532) == tuple(
        pod["securityContext"][key] for key in ("runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup")
    )
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == own
    assert {"cpu", "memory"} == set(container()["resources"]["requests"])
    assert {"memory"} == set(container()["resources"]["limits"])


def test_what_is_mounted_is_there_and_what_perfmon_reads_is_mounted():
    pod = the("Deployment")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    places = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}

    assert set(volumes) == set(places)
    assert the("ConfigMap")["data"].keys() == {"perfmon.yml"}
    assert "perfmon" == volumes["config"]["configMap"]["name"]
    assert the("PersistentVolumeClaim")["metadata"]["name"] == volumes["state"]["persistentVolumeClaim"]["claimName"]
    assert f"{places['config']}/perfmon.yml" in container()["args"]
    assert f"{places['state']}/" in the("ConfigMap")["data"]["perfmon.yml"]
    assert f"{places['cluster-ca']}/ca.crt" in the("ConfigMap")["data"]["perfmon.yml"]


def test_two_daemons_never_share_a_state():
    spec = the("Deployment")["spec"]

    assert (1, {"type": "Recreate"}) == (spec["replicas"], spec["strategy"])


def test_the_image_and_its_arguments_are_those_of_the_release():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["perfmon"]

    assert compose["image"] == container()["image"]
    assert compose["command"] == container()["args"]


def test_the_configuration_is_perfmons(tmp_path, authority):
    """The cluster's authority is at hand in a cluster alone; another stands in."""
    text = the("ConfigMap")["data"]["perfmon.yml"]
    file = tmp_path / "perfmon.yml"
    file.write_text(text.replace("/etc/kubernetes/ca.crt", str(authority.file)))
    read = config.load([file])

    assert (":10737",) == read.web.listen
    assert {"api-server", "cluster-dns"} == {check.target.probe for check in read.checks}
    assert () == tuple(read.receivers)  # Prometheus alerts


# ---------------------------------------------------------------- what is generated


def test_each_dashboard_is_a_map_that_the_sidecar_finds():
    maps = [one for one in OBJECTS if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    files = {file.name: file.read_text() for file in (ROOT / "dashboards").glob("*.json")}

    assert files == {name: text for one in maps for name, text in one["data"].items()}
    assert len(files) == len(maps)
    # `kubectl apply` keeps a copy in an annotation, and annotations end at 256 KiB.
    assert max(len(text.encode()) for text in files.values()) < 250 * 1024


def test_a_rule_file_of_another_form_is_refused():
    with pytest.raises(ValueError, match="expected a line `groups:`"):
        kubernetes.prometheus_rule(["- alert: A\n"])


def test_an_exported_tree_is_as_whole(tmp_path):
    assets.export(assets.files(["kubernetes"]), tmp_path)

    assert OBJECTS == built(tmp_path / "deploy" / "kubernetes")
