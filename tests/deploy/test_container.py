"""``deploy/container/Dockerfile``: its instructions, done in a folder in place of a container."""

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "container" / "Dockerfile"
LOCK = ROOT / "deploy" / "container" / "lock.txt"
MANIFESTS = ROOT / "deploy" / "kubernetes"

NOT_RUN = {"groupadd", "useradd"}  # by a command's first word: they would make a user of this machine
NOT_SET = {"PIP_NO_CACHE_DIR"}  # in the image it saves room; here pip's cache saves minutes


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of every instruction; comments gone, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, rest in found]


@dataclass
class Image:
    """What the instructions made, below ``root``."""

    root: Path
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    def below(self, text: str) -> str:
        """Absolute paths of the image as paths below ``root``."""
        return re.sub(r"(?:(?<=^)|(?<=[\s=:]))/(?=\w)", f"{self.root}/", text)

    def filled(self, text: str) -> str:
        known = {"PATH": self.base_path()} | self.arguments | self.environment
        return re.sub(r"\$\{?(\w+)\}?", lambda name: known[name[1]], text)

    def base_path(self) -> str:
        return f"{self.root}/usr/local/bin:{os.environ['PATH']}"

    def variables(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
        # "no" compiles nothing, which pip reads the wrong way round; the image does compile
        return ours | {"PATH": self.base_path(), "PIP_NO_COMPILE": "no"} | self.environment

    def run(self, command: str) -> str:
        """Output of a command, which must succeed."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.below(self.folder),
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
        return done.stdout

    def do(self, word: str, rest: str) -> None:
        """One instruction."""
        match word:
            case "FROM":
                self.environment.clear()
                self.folder = "/"
            case "ARG":
                name, _, value = rest.partition("=")
                self.arguments[name] = value
            case "ENV":
                name, _, value = rest.partition("=")
                if name not in NOT_SET:
                    self.environment[name] = self.filled(self.below(value))
            case "WORKDIR":
                self.folder = rest
                Path(self.below(rest)).mkdir(parents=True, exist_ok=True)
            case "COPY":
                self.copy(*self.filled(rest).split())
            case "RUN":
                first = {shlex.split(part)[0] for part in rest.split("&&")}
                if first <= NOT_RUN:
                    self.not_run.append(rest)
                else:
                    assert not first & NOT_RUN, f"an instruction of its own, please: {rest}"
                    self.run(self.below(rest))
            case "USER":
                self.user = rest
            case "ENTRYPOINT":
                self.entrypoint = yaml.safe_load(rest)
            case _:
                pytest.fail(f"the test does not know {word}")

    def copy(self, *names: str) -> None:
        *sources, target = names
        if sources[0] == "--from=build":
            assert sources[1:] == [target], "a virtual environment cannot be moved"
            return
        to = Path(self.below(target)) if target.startswith("/") else Path(self.below(self.folder)) / target
        for source in sources:
            assert sent(source), f".dockerignore keeps {source} out"
            here = ROOT / source
            if here.is_dir():
                shutil.copytree(here, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place = to / here.name if target.endswith("/") else to
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(here, place)


def sent(path: str) -> bool:
    """True if ``.dockerignore`` lets this path into the build; its last word on a path counts."""
    answer = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and (fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern}/")):
            answer = line.startswith("!")
    return answer


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    made = Image(tmp_path_factory.mktemp("image"))
    python = made.root / "usr" / "local" / "bin" / "python"  # what the base image brings: a bare Python
    python.parent.mkdir(parents=True)
    real = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    python.write_text(f'#!/bin/sh\nexec "{real}" "$@"\n', "utf-8")
    python.chmod(0o755)
    for word, rest in instructions():
        made.do(word, rest)
    return made


def test_dockerfile__its_commands_make_a_working_g2v(image):
    assert image.entrypoint == ["g2v"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version in image.run("g2v --version")
    assert "reprocess" in image.run("g2v --help")
    image.run("python -c 'import boto3'")
    assert str(image.root / "opt") in image.run("command -v g2v")


def test_dockerfile__lock_is_what_is_installed(image):
    assert image.run("pip freeze --all --exclude g2v_dask").splitlines() == LOCK.read_text("utf-8").splitlines()


def test_dockerfile__only_the_user_was_not_made(image):
    assert image.not_run == ["groupadd --gid 10001 g2v && useradd --uid 10001 --gid 10001 --create-home g2v"]
    assert image.user == "10001:10001"  # a number: Kubernetes cannot tell whether a name is root


def test_dockerfile__programs_of_the_manifests_are_in_it(image):
    containers = re.findall(r"command: \[(\w+)", "\n".join(p.read_text("utf-8") for p in MANIFESTS.iterdir()))
    assert set(containers) == {"exit3_is_done", "dask"}
    for program in containers:
        image.run(f"command -v {program}")
    image.run("exit3_is_done g2v --version")
    image.run("dask scheduler --help && dask worker --help")


def test_dockerfile__versions_are_arguments():
    arguments = dict(rest.partition("=")[::2] for word, rest in instructions() if word == "ARG")
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", arguments["BASE_TAG"])
    bases = [rest for word, rest in instructions() if word == "FROM"]
    assert {b.split()[0] for b in bases} == {"${BASE_IMAGE}:${BASE_TAG}${BASE_DIGEST}"}
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+", line) for line in LOCK.read_text("utf-8").splitlines())


@pytest.mark.parametrize("path", [".git/config", ".venv/bin/python", "secrets.env", "demo/g2v.json", "tests/shell.py"])
def test_dockerignore__keeps_out(path):
    assert not sent(path)
