"""``deploy/kubernetes/``: valid for operator and Kubernetes, confined, without secrets; and its commands run."""

import functools
import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import distributed
import jsonschema
import kubernetes_validate
import numpy as np
import pytest
import yaml
from dask_kubernetes.operator.controller import controller

from g2v_dask.cli import cli
from tests import stores
from tests.test_deploy import free_port

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
NAMES = sorted(path.name for path in KUBERNETES.glob("*.yaml"))
PART_OF = {"app.kubernetes.io/part-of": "g2v"}
PROGRAMS = Path(sys.executable).parent
WITHIN_SECONDS = 60

Json = dict[str, Any]


@functools.cache
def documents(name: str, *, volume: bool = False) -> list[Json]:
    """The objects of a file; ``volume`` switches the lines for a store on a volume on."""
    text = (KUBERNETES / name).read_text("utf-8")
    # through JSON: what was an alias in YAML is a copy
    return json.loads(json.dumps(list(yaml.safe_load_all(text.replace("#PVC ", "") if volume else text))))


def one(name: str, kind: str, *, volume: bool = False) -> Json:
    (found,) = [d for d in documents(name, volume=volume) if d["kind"] == kind]
    return found


# -- what the operator and Kubernetes say ---------------------------------------------------------------------


def as_json_schema(node: Any) -> Any:
    """A CRD's schema as the API server reads it: ``nullable``, int-or-string, and no field that it does not name.

    The server drops an unknown field in silence; here it is an error, since it is a slip of ours.
    """
    if not isinstance(node, dict):
        return [as_json_schema(n) for n in node] if isinstance(node, list) else node
    made = {
        key: {name: as_json_schema(n) for name, n in value.items()} if key == "properties" else as_json_schema(value)
        for key, value in node.items()
    }
    if made.pop("x-kubernetes-int-or-string", False):
        made |= {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    open_ended = made.pop("x-kubernetes-preserve-unknown-fields", False) or "additionalProperties" in made
    if "properties" in made and not open_ended:
        made["additionalProperties"] = False
    if made.pop("nullable", False):
        return {"anyOf": [made, {"type": "null"}]}
    return made


@functools.cache
def operator_validator(kind: str) -> jsonschema.Draft202012Validator:
    chart = resources.files("dask_kubernetes") / "operator" / "deployment" / "helm" / "dask-kubernetes-operator"
    crd = yaml.load((chart / "crds" / f"{kind.lower()}.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader)
    (version,) = crd["spec"]["versions"]
    assert (crd["spec"]["group"], crd["spec"]["names"]["kind"], version["name"]) == ("kubernetes.dask.org", kind, "v1")
    schema = as_json_schema(version["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"apiVersion": {"const": "kubernetes.dask.org/v1"}, "kind": {"const": kind}, "metadata": {}}
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check(document: Json) -> None:
    """Raises what is wrong with it."""
    if document["apiVersion"].startswith("kubernetes.dask.org/"):
        operator_validator(document["kind"]).validate(document)
    else:
        for version in (kubernetes_validate.utils.all_versions()[0], kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("volume", [False, True], ids=["s3", "volume"])
@pytest.mark.parametrize("name", NAMES)
def test_manifest__is_valid(name, volume):
    for document in documents(name, volume=volume):
        check(document)


@pytest.mark.parametrize(
    ("name", "kind", "path", "value"),
    [
        ("job.yaml", "DaskJob", ("spec", "cluster", "spec", "worker", "replica"), 3),
        ("job.yaml", "DaskJob", ("spec", "job", "spec", "securityContext", "runAsNonroot"), True),
        ("job.yaml", "DaskJob", ("spec", "cluster", "spec", "worker", "replicas"), "many"),
        ("cluster.yaml", "DaskCluster", ("spec", "scheduler", "service", "ports"), 8786),
        ("cluster.yaml", "DaskAutoscaler", ("spec", "minimum"), None),
        ("cronjob.yaml", "CronJob", ("spec", "jobTemplate", "spec", "template", "spec", "restart"), "Never"),
        ("namespace.yaml", "NetworkPolicy", ("spec", "ingress"), "none"),
    ],
)
def test_manifest__check_would_tell(name, kind, path, value):
    document = json.loads(json.dumps(one(name, kind)))
    *way, last = path
    functools.reduce(lambda node, key: node[key], way, document)[last] = value
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(document)


# -- the pods that come of it ---------------------------------------------------------------------------------


def operator_objects(name: str, kind: str, *, volume: bool = False) -> dict[str, Json]:
    """What the operator makes of a DaskJob or a DaskCluster, by the operator's own code."""
    document = one(name, kind, volume=volume)
    called, labels = document["metadata"]["name"], document["metadata"]["labels"]
    spec = document["spec"]["cluster"]["spec"] if kind == "DaskJob" else document["spec"]
    made = {
        "scheduler": controller.build_scheduler_deployment_spec(called, spec["scheduler"]["spec"], {}, labels),
        "worker": controller.build_worker_deployment_spec(
            f"{called}-default", "g2v", called, "0123456789", spec["worker"]["spec"], {}, labels
        ),
        "service": controller.build_scheduler_service_spec(called, spec["scheduler"]["service"], {}, labels),
    }
    if kind == "DaskJob":
        made["runner"] = controller.build_job_pod_spec(
            called, called, "g2v", document["spec"]["job"]["spec"], {}, labels
        )
    return made


def pods(*, volume: bool = False) -> Iterator[tuple[str, Json]]:
    """(name, pod with its labels) of all pods that ever run."""
    for name, kind in (("job.yaml", "DaskJob"), ("cluster.yaml", "DaskCluster")):
        made = operator_objects(name, kind, volume=volume)
        yield f"{name} scheduler", made["scheduler"]["spec"]["template"]
        yield f"{name} worker", made["worker"]["spec"]["template"]
        if "runner" in made:
            yield f"{name} runner", made["runner"]
    yield (
        "cronjob.yaml runner",
        one("cronjob.yaml", "CronJob", volume=volume)["spec"]["jobTemplate"]["spec"]["template"],
    )


PODS = dict(pods())
each_pod = pytest.mark.parametrize("name", PODS)


def container_of(name: str) -> Json:
    (container,) = PODS[name]["spec"]["containers"]
    return container


@pytest.mark.parametrize("volume", [False, True], ids=["s3", "volume"])
@pytest.mark.parametrize(("name", "kind"), [("job.yaml", "DaskJob"), ("cluster.yaml", "DaskCluster")])
def test_operator__makes_valid_objects(name, kind, volume):
    for made in operator_objects(name, kind, volume=volume).values():
        check(made)


@each_pod
def test_pod__is_confined(name):
    pod, container = PODS[name]["spec"], container_of(name)
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy/container/Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert user
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user[1]),
        "runAsGroup": int(user[2]),
        "fsGroup": int(user[2]),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName", "initContainers"}


@each_pod
def test_pod__memory_is_limited_and_its_own(name):
    resources_ = container_of(name)["resources"]
    assert resources_["requests"] == resources_["limits"]
    assert set(resources_["limits"]) == {"cpu", "memory"}


@pytest.mark.parametrize("volume", [False, True], ids=["s3", "volume"])
@each_pod
def test_pod__writes_only_to_scratch_and_store(name, volume):
    pod = dict(pods(volume=volume))[name]["spec"]
    (container,) = pod["containers"]
    sources = {v["name"]: next(key for key in v if key != "name") for v in pod["volumes"]}
    places = {m["mountPath"]: sources[m["name"]] for m in container["volumeMounts"]}
    expected = {"/tmp": "emptyDir", "/home/g2v": "emptyDir"}
    if "scheduler" not in name:
        expected["/cache"] = "emptyDir"
        if volume:
            expected["/store"] = "persistentVolumeClaim"
    if "worker" in name:
        expected["/spill"] = "emptyDir"
    if "runner" in name:
        expected["/etc/g2v"] = "configMap"
    assert places == expected
    assert all("sizeLimit" in v["emptyDir"] for v in pod["volumes"] if "emptyDir" in v)
    environment = {e["name"]: e.get("value") for e in container["env"]}
    assert environment["HOME"] == "/home/g2v"
    assert environment.get("G2V_CACHE", "/cache") == "/cache"
    assert ("G2V_CACHE" in environment) == ("/cache" in places)


@each_pod
def test_pod__image_is_the_dockerfile_s(name):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    image = f"g2v-dask:{version}"
    for path in ("deploy/container/Dockerfile", "deploy/README.md"):
        assert f"docker build -f deploy/container/Dockerfile -t {image} ." in (ROOT / path).read_text("utf-8")
    assert container_of(name)["image"] == image


@each_pod
def test_pod__has_secrets_by_reference_only(name):
    example = (ROOT / "deploy" / "schedule" / "secrets.env.example").read_text("utf-8")
    known = set(re.findall(r"^#(\w+)=$", example, re.MULTILINE))
    secret = {e["name"]: e for e in container_of(name)["env"] if e["name"] in known or "value" not in e}
    for key, entry in secret.items():
        reference = {"name": "g2v-secrets", "key": key, "optional": True}
        assert entry == {"name": key, "valueFrom": {"secretKeyRef": reference}}
    expected = {"scheduler": set(), "worker": known - {"NCBI_API_KEY"}, "runner": known}
    assert set(secret) == expected[name.split()[1]]


@each_pod
def test_pod__is_behind_the_network_policy(name):
    assert PODS[name]["metadata"]["labels"].items() >= PART_OF.items()
    policy = one("namespace.yaml", "NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"] == PART_OF
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    ours, operator = policy["spec"]["ingress"]
    assert ours["from"] == [{"podSelector": {"matchLabels": PART_OF}}]
    assert [p["port"] for p in operator["ports"]] == [8786, 8787]


def test_pod__all_objects_are_in_the_namespace():
    for name in NAMES:
        for document in documents(name):
            assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "g2v"


# -- schedulers are found -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("job.yaml", "DaskJob"), ("cluster.yaml", "DaskCluster")])
def test_scheduler__is_what_its_service_selects(name, kind):
    made = operator_objects(name, kind)
    pod = made["scheduler"]["spec"]["template"]
    assert made["service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {"tcp-comm": 8786, "http-dashboard": 8787}
    assert {p["targetPort"] for p in made["service"]["spec"]["ports"]} == set(ports)


@pytest.mark.parametrize("name", [n for n in PODS if "scheduler" not in n])
def test_runner_and_worker__get_the_address_of_their_scheduler(name):
    environment = {e["name"]: e.get("value") for e in container_of(name)["env"]}
    service = "g2v-run-scheduler" if name.startswith("job.yaml") else "g2v-scheduler"
    assert environment["DASK_SCHEDULER_ADDRESS"] == f"tcp://{service}.g2v.svc.cluster.local:8786"


def test_autoscaler__scales_the_cluster_and_keeps_a_worker():
    autoscaler, cluster = one("cluster.yaml", "DaskAutoscaler")["spec"], one("cluster.yaml", "DaskCluster")
    assert autoscaler["cluster"] == cluster["metadata"]["name"]
    assert 1 <= cluster["spec"]["worker"]["replicas"] == autoscaler["minimum"] <= autoscaler["maximum"]


def test_cronjob__runs_never_overlap_and_end_before_the_next():
    spec = one("cronjob.yaml", "CronJob")["spec"]
    job = spec["jobTemplate"]["spec"]
    week = 7 * 86400
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] + job["activeDeadlineSeconds"] <= week
    assert spec["schedule"].split()[2:4] == ["*", "*"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # what a podFailurePolicy asks for
    drained, final = job["podFailurePolicy"]["rules"]
    assert drained["action"] == "Ignore"
    assert final["onExitCodes"]["values"] == [2, 4]
    assert final["onExitCodes"]["containerName"] == container_of("cronjob.yaml runner")["name"]


# -- commands -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in PODS if "runner" in n])
def test_runner__command_exists_with_its_options(name):
    wrapper, program, command, spec, *options = container_of(name)["command"]
    assert (wrapper, program, spec) == ("exit3_is_done", "g2v", "/etc/g2v/reprocess.toml")
    parameters = {option: p for p in cli.commands[command].params for option in p.opts}
    assert set(options) <= set(parameters)
    assert parameters["--cluster"].envvar == "DASK_SCHEDULER_ADDRESS"


def test_commands__scheduler_is_healthy_finds_its_worker_and_serves_a_run(tmp_path):
    """The manifests' own commands, with other ports and folders."""
    port, dashboard = free_port(), free_port()
    address = f"tcp://127.0.0.1:{port}"
    environment = os.environ | {"DASK_SCHEDULER_ADDRESS": address, "DASK_WORKER_NAME": "w-0123456789"}
    scheduler = container_of("job.yaml scheduler")
    worker = [w.replace("$(DASK_WORKER_NAME)", "w-0123456789") for w in container_of("job.yaml worker")["command"]]
    ports = ["--host", "127.0.0.1", "--port", str(port), "--dashboard-address", f"127.0.0.1:{dashboard}"]
    commands = [
        [*scheduler["command"], *ports],
        [*worker, "--local-directory", str(tmp_path), "--memory-limit", "2GiB"],
    ]
    started = []
    try:
        with (tmp_path / "log").open("wb") as log:
            for program, *words in commands:
                command = [str(PROGRAMS / program), *words]
                started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        with distributed.Client(address, timeout=WITHIN_SECONDS, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=WITHIN_SECONDS)
            (there,) = client.scheduler_info(n_workers=-1)["workers"].values()
            assert (there["id"], there["nthreads"]) == ("w-0123456789", 1)
            for probe in ("readinessProbe", "livenessProbe"):
                url = f"http://127.0.0.1:{dashboard}{scheduler[probe]['httpGet']['path']}"
                with urllib.request.urlopen(url, timeout=WITHIN_SECONDS) as answer:
                    assert answer.status == 200
            ingest = ["ingest", str(ROOT / "jobs" / "demo" / "leukemia.tsv.gz"), "--store", str(tmp_path / "store")]
            ran = subprocess.run(
                [PROGRAMS / "g2v", *ingest], env=environment, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, ran.stderr
            assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter) > 0
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            process.wait(timeout=WITHIN_SECONDS)


def test_worker__dask_s_limit_is_below_the_container_s():
    for name in ("job.yaml worker", "cluster.yaml worker"):
        container = container_of(name)
        command = container["command"]
        ours = int(command[command.index("--memory-limit") + 1].removesuffix("GiB"))
        assert ours < int(container["resources"]["limits"]["memory"].removesuffix("Gi"))  # the nanny needs some too


# -- is it done? ----------------------------------------------------------------------------------------------


def test_readme__store_tells_whether_it_is_done(tmp_path):
    shown = re.search(r"^(g2v show .*?) *#", (ROOT / "deploy/README.md").read_text("utf-8"), re.MULTILINE)
    assert shown
    store = stores.empty(tmp_path)
    words = shown[1].replace("s3://bucket/prefix", str(tmp_path)).replace("NAME", "genes").split()[1:]
    ask = [PROGRAMS / "g2v", *words]
    assert subprocess.run(ask, capture_output=True, check=False).returncode != 0
    made = stores.embedding(store, "genes", ["A", "B"], np.eye(2))
    done = subprocess.run(ask, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["digest"] == made.digest
