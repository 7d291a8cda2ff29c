"""``deploy/schedule/``: files that start ``g2v reprocess`` every week, and what they make of its exit code."""

import configparser
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCHEDULE = DEPLOY / "schedule"
WRAPPER = SCHEDULE / "exit3_is_done.sh"
SERVICE = SCHEDULE / "g2v-reprocess.service"
TIMER = SCHEDULE / "g2v-reprocess.timer"
G2V = str(Path(sys.executable).with_name("g2v"))

# sbatch --help of SLURM 22.05: what a #SCRON line may hold, of what one job in a schedule can use
SCRON_OPTIONS = {
    *("account", "begin", "chdir", "clusters", "comment", "constraint", "cores-per-socket", "cpus-per-task"),
    *("deadline", "dependency", "error", "exclude", "exclusive", "export", "gres", "input", "job-name", "licenses"),
    *("mail-type", "mail-user", "mem", "mem-per-cpu", "mincpus", "nice", "no-requeue", "nodelist", "nodes", "ntasks"),
    *("ntasks-per-node", "open-mode", "output", "partition", "priority", "qos", "requeue", "reservation", "signal"),
    *("switches", "threads-per-core", "time", "time-min", "tmp", "verbose", "wckey"),
}
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # minute, hour, day of month, month, day of week

with_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def cron(path: Path) -> tuple[dict[str, str], str, str]:
    """Variables, time and command of a crontab with one entry."""
    lines = [line for line in lines_of(path) if line and not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z0-9]+=", line))
    (entry,) = [line for line in lines if line.split("=", 1)[0] not in variables]
    fields = entry.split(None, 5)
    return variables, " ".join(fields[:5]), fields[5]


# -- exit codes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "seen", "said"),
    [
        (0, 0, ""),
        (1, 1, "failed: exit code 1"),
        (2, 2, "failed: exit code 2"),
        (3, 0, "notice: exit code 3: done, but some inputs are quarantined; 'g2v ls --quarantined' lists them"),
        (4, 4, "failed: exit code 4: the quality gate held the last version"),
        (137, 137, "failed: exit code 137"),
    ],
)
def test_exit3_is_done__only_three_becomes_success(code, seen, said):
    done = subprocess.run([WRAPPER, "bash", "-c", f"exit {code}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (seen, "", said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_exit3_is_done__lets_the_command_end_cleanly(tmp_path, number):
    child = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.3)\n"
        "    pathlib.Path('clean').touch()\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [WRAPPER, sys.executable, "-c", child]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "ready\n"
        script.send_signal(number)
        assert script.wait(timeout=30) == 143
    assert (tmp_path / "clean").exists()


# -- systemd -------------------------------------------------------------------------------------------------


def units(folder: Path, *edits: tuple[str, str]) -> list[str]:
    """The two units as somebody would edit them."""
    for unit in (SERVICE, TIMER):
        text = unit.read_text("utf-8").replace("/opt/g2v_dask/.venv/bin/g2v", G2V)
        for before, after in edits:
            text = text.replace(before, after)
        (folder / unit.name).write_text(text, "utf-8")
    return [str(folder / unit.name) for unit in (SERVICE, TIMER)]


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


@with_systemd
def test_systemd__units_are_valid(tmp_path):
    done = analyze("verify", *units(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


@with_systemd
def test_systemd__verify_would_tell(tmp_path):
    done = analyze(
        "verify", *units(tmp_path, ("ProtectSystem=", "ProtectSytem="), ("OnCalendar=Sat", "OnCalendar=Sut"))
    )
    assert "ProtectSytem" in done.stderr
    assert "Sut" in done.stderr


@with_systemd
def test_systemd__service_is_confined(tmp_path):
    service, _ = units(tmp_path)
    done = analyze("security", "--offline=true", "--threshold=25", "--no-pager", service)  # 2.5 of 10
    assert done.returncode == 0, done.stdout


def test_systemd__three_is_success_and_missed_runs_are_made():
    service, timer = (configparser.ConfigParser(strict=False, interpolation=None) for _ in range(2))
    service.read(SERVICE)
    timer.read(TIMER)
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["SuccessExitStatus"] == "3"
    assert "Restart" not in service["Service"]  # code 4 again is code 4
    assert timer["Timer"]["Persistent"] == "yes"
    assert "RandomizedDelaySec" in timer["Timer"]


# -- cron and SLURM ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crontab", "scrontab"])
def test_cron__time_is_valid_and_weekly(name):
    _, when, _ = cron(SCHEDULE / name)
    fields = when.split()
    for field, (low, high) in zip(fields, RANGES, strict=True):
        assert field == "*" or low <= int(field) <= high
    assert [field == "*" for field in fields] == [False, False, True, True, False]


@pytest.mark.parametrize("name", ["crontab", "scrontab"])
@pytest.mark.parametrize(("code", "seen"), [(0, 0), (1, 1), (3, 0), (4, 4)])
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_cron__entry_runs_with_its_secrets(tmp_path, name, code, seen, shell):
    variables, _, command = cron(SCHEDULE / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "deploy").symlink_to(DEPLOY)
    program = tmp_path / ".venv" / "bin" / "g2v"
    program.write_text(f'#!/bin/sh\necho "$NCBI_API_KEY" "$@"\nexit {code}\n', "utf-8")
    program.chmod(0o755)
    (tmp_path / "secrets.env").write_text("# ours\nNCBI_API_KEY=abc\n", "utf-8")
    edited = variables | {"G2V": str(tmp_path), "SPEC": "a spec.toml", "SECRETS": str(tmp_path / "secrets.env")}
    assert set(re.findall(r"\$(\w+)", command)) <= set(edited)
    assert "%" not in command  # a new line, to cron
    done = subprocess.run([shell, "-c", command], env=edited, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (seen, "abc reprocess a spec.toml --wait\n")


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_cron__missing_secrets_are_a_failure(tmp_path, shell):
    _, _, command = cron(SCHEDULE / "crontab")
    environment = {"G2V": str(ROOT), "SPEC": "none.toml", "SECRETS": str(tmp_path / "none")}
    done = subprocess.run([shell, "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "none" in done.stderr


def test_crontab__mails():
    variables, _, _ = cron(SCHEDULE / "crontab")
    assert variables["MAILTO"]


def test_scrontab__options_are_sbatch_s_and_belong_to_the_entry():
    lines = lines_of(SCHEDULE / "scrontab")
    options = [line for line in lines if line.startswith("#SCRON")]
    found = [re.fullmatch(r"#SCRON --([a-z-]+)=(\S+)", line) for line in options]
    assert all(found)
    names = [match[1] for match in found if match]
    assert len(names) == len(set(names))
    assert set(names) <= SCRON_OPTIONS
    assert {"time", "mem", "partition", "signal"} <= set(names)
    assert max(i for i, line in enumerate(lines) if line in options) < len(lines) - 1  # the entry is last


# -- all files -----------------------------------------------------------------------------------------------

EXAMPLE = re.compile(
    r"/opt/g2v_dask|/srv/g2v|example\.org|image: |replicas: |maximum: |schedule: |OnCalendar|DEFAULT_REGION|^\d+ \d"
)
FILES = sorted(p for folder in ("container", "kubernetes", "schedule") for p in (DEPLOY / folder).iterdir())


@pytest.mark.parametrize("path", [*FILES, DEPLOY / "README.md"], ids=lambda p: p.name)
def test_deploy__paths_in_it_exist(path):
    text = path.read_text("utf-8")
    named = re.findall(r"(?<![\w/$.}])((?:deploy|jobs|kubernetes|schedule|\.\.)/[\w./-]*\w)", text)
    named += re.findall(r"(?<![\w/.%-])([\w-]+\.(?:yaml|txt|service|timer|example))\b", text)
    here = (ROOT, DEPLOY, path.parent)
    missing = [n for n in named if not any((folder / n).exists() for folder in here)]
    made_by_the_reader = {"lock.txt"}  # inside the image
    assert set(missing) <= made_by_the_reader


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_deploy__places_are_marked_to_be_edited(path):
    comment = ""
    for number, line in enumerate(lines_of(path), 1):
        if line.lstrip().startswith("# "):
            comment = line.strip()
        elif EXAMPLE.search(line):
            assert comment.startswith("# EDIT: "), f"{path.name}:{number}: {line.strip()}"


@pytest.mark.parametrize("path", [*FILES, DEPLOY / "README.md"], ids=lambda p: p.name)
def test_deploy__no_secret_stands_in_it(path):
    text = path.read_text("utf-8")
    assert not re.search(r"(AKIA|ASIA)[A-Z0-9]{12}|-----BEGIN|kind: Secret\b", text)
    assert not re.search(r"(KEY|KEY_ID|SECRET|TOKEN|PASSWORD)\b *[=:] *[^\s,}]", text)


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.sh")), ids=lambda p: p.name)
def test_deploy__scripts_are_valid(path):
    subprocess.run(["bash", "-n", path], check=True)
