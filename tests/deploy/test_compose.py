"""docker-compose.yml, Dockerfile, .env.example and the shell scripts: what they name exists, what they set is read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SCRIPTS = [ROOT / "run", ROOT / "test", ROOT / ".ci/run", ROOT / "deploy/tiny/build", *(ROOT / "deploy").rglob("*.sh")]
GUEST_SCRIPTS = [
    ROOT / "deploy/tiny/initramfs/init",
    *(ROOT / "deploy/tiny/system/etc/init.d").iterdir(),
    *(ROOT / "deploy/tiny/system/usr/lib/tiny").iterdir(),
]


def names_that_settings_read() -> set[str]:
    sources = [path.read_text() for folder in ("portal", "hosts", "vms") for path in (ROOT / folder).rglob("*.py")]
    return {name for text in sources for name in re.findall(r"(?:env(?:\.\w+)?|whole_number)\(\s*\"([A-Z_]+)\"", text)}


def test_the_processes_of_run_are_all_there() -> None:
    sys.path.insert(0, str(ROOT / "deploy"))
    try:
        import supervisor
    finally:
        sys.path.remove(str(ROOT / "deploy"))
    assert {program.name for program in supervisor.programs()} - {"redis"} <= set(SERVICES)
    assert {"caddy", "postgres", "valkey", "setup"} <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_stands_on_services_that_can_satisfy_it(name: str) -> None:
    service = SERVICES[name]
    assert service.get("image")
    for needed, how in service.get("depends_on", {}).items():
        assert needed in SERVICES
        if how["condition"] == "service_healthy":
            assert SERVICES[needed]["healthcheck"]["test"]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert SERVICES[needed]["restart"] == "no"


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_exist(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or source == "/run/libvirt" or (ROOT / source).is_file()


@pytest.mark.parametrize("name", OURS)
def test_settings_are_known_and_secrets_come_from_outside(name: str) -> None:
    environment = OURS[name]["environment"]
    assert set(environment) <= names_that_settings_read()
    assert "${POSTGRES_PASSWORD:?" in environment["DATABASE_URL"]


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    command = OURS[name]["command"]
    match command:
        case ["python", "manage.py", subcommand, *_]:
            assert subcommand in management_commands()
        case ["sh", script]:
            assert (ROOT / script).is_file()
            used = re.findall(r"manage\.py (\w+)", (ROOT / script).read_text())
            assert used
            assert set(used) <= management_commands()
        case ["uvicorn" | "celery", *_]:
            subprocess.run([BINARIES / command[0], "--help"], check=True, capture_output=True, cwd=ROOT)
        case _:
            pytest.fail(f"an unknown kind of command: {command}")


@pytest.mark.parametrize("name", ["web", "worker", "beat"])
def test_options_are_understood(name: str) -> None:
    command = OURS[name]["command"]
    verb = command[3:4] if command[0] == "celery" else []
    help_of = [BINARIES / command[0], *verb, "--help"]
    usage = subprocess.run(help_of, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    options = {word.split("=")[0] for word in command if word.startswith("--")}
    assert options
    assert {option for option in options if option not in usage} == set()


def management_commands() -> set[str]:
    run = subprocess.run([sys.executable, "manage.py", "help", "--commands"], cwd=ROOT, capture_output=True, check=True)
    return set(run.stdout.decode().split())


def test_the_dockerfile_copies_what_there_is() -> None:
    copies = re.findall(r"^COPY (?!--from)(\S+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert copies
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in copies:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in allowed, source


def test_the_image_needs_the_packages_that_run_installs() -> None:
    packages = re.search(r"^IMAGE_PACKAGES=\((.*)\)$", (ROOT / "deploy/lib/packages.sh").read_text(), re.MULTILINE)
    assert packages
    assert set(packages[1].split()) <= set((ROOT / "Dockerfile").read_text().split())


def test_the_example_names_only_settings_that_are_read() -> None:
    names = set(re.findall(r"^#?([A-Z][A-Z_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read_by_run = {"BERTH_HOST", "BERTH_PORT"}
    assert names
    assert names <= names_that_settings_read() | read_by_run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_bash_parses_the_script(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("script", GUEST_SCRIPTS, ids=lambda path: path.name)
def test_a_posix_shell_parses_the_guests_scripts(script: Path) -> None:
    subprocess.run(["dash", "-n", script], check=True)
