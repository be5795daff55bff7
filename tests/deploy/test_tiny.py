"""The starter image, built from packages and booted on plain QEMU (TCG)."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .tiny_guest import Guest, write_seed

BUILD = Path(__file__).resolve().parents[2] / "deploy/tiny/build"
SCRIPT = "#!/bin/sh\necho ran >> /root/runs\ntouch /var/log/from-user-data\n"
CLOUD_CONFIG = """#cloud-config
hostname: from-config
ssh_authorized_keys:
  - {key}
runcmd:
  - echo "one, two" > /home/tiny/ran
  - 'echo three >> /home/tiny/ran'
packages: [ignored]
"""
IDENTITY = "md5sum /etc/dropbear/host_key; cat /etc/machine-id"
Boot = Callable[..., Guest]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("tiny") / "tiny.qcow2"
    subprocess.run([BUILD, output], check=True, timeout=280)
    return output


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a test", "-f", path], check=True)
    return path


@pytest.fixture
def disk(image: Path, tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", path, "1G"], check=True)
    return path


@pytest.fixture
def boot(disk: Path, tmp_path: Path) -> Iterator[Callable[..., contextmanager]]:
    @contextmanager
    def run(files: dict[str, str], **options: object) -> Iterator[Guest]:
        guest = Guest(disk, write_seed(tmp_path / "seed.iso", files), tmp_path, **options)
        try:
            yield guest
        finally:
            guest.close()

    return run


def meta_data(key: Path, instance: str = "first", hostname: str = "harbour") -> str:
    return (
        f"instance-id: {instance}\nlocal-hostname: {hostname}\npublic-keys:\n  - {key.with_suffix('.pub').read_text()}"
    )


def test_size_and_format(image: Path) -> None:
    assert image.stat().st_size < 30 * 1024 * 1024
    assert os.access(image, os.R_OK)
    information = subprocess.run(["qemu-img", "info", image], capture_output=True, text=True, check=True).stdout
    assert "file format: qcow2" in information
    assert "backing file" not in information


def test_a_failed_build_leaves_no_file(tmp_path: Path) -> None:
    output = tmp_path / "images" / "tiny.qcow2"
    broken = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "syslinux").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "syslinux").chmod(0o755)
    assert subprocess.run([BUILD, output], check=False, timeout=280, env=broken).returncode != 0
    assert list(output.parent.iterdir()) == []


def test_seed_console_ssh_script_and_power_button(boot: Boot, key: Path) -> None:
    with boot({"meta-data": meta_data(key), "user-data": SCRIPT}) as guest:
        banner = guest.wait_for("tiny ready: harbour") + guest.wait_for("su -")
        assert "10.0.2.15" in banner
        guest.log_in()
        assert guest.command("hostname") == "harbour"
        assert guest.command("id -un") == "tiny"
        assert guest.command("su -c 'id -un'") == "root"
        for user in ("tiny", "root"):
            answer = guest.ssh(key, user, "id -un")
            assert (answer.returncode, answer.stdout.strip()) == (0, user), answer.stderr
        waiting = "until grep -q 'status 0' /var/log/user-data.log; do sleep 1; done; cat /root/runs"
        assert guest.ssh(key, "root", waiting).stdout == "ran\n"
        size_kib = guest.ssh(key, "root", "df -k / | awk 'END {print $2}'").stdout
        assert int(size_kib) > 900_000, "grown to the disk's size"
        assert guest.power_down() < 15
        assert guest.process.returncode == 0


def test_only_the_keys_of_the_seed_open_ssh(boot: Boot, key: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    with boot({"meta-data": meta_data(key)}) as guest:
        guest.wait_for("tiny ready")
        refused = guest.ssh(other, "tiny", "id")
        assert refused.returncode == 255
        assert "Permission denied (publickey)" in refused.stderr
        assert guest.ssh(key, "tiny", "id").returncode == 0


def test_what_is_written_stays_and_the_script_runs_once_per_instance(boot: Boot, key: Path) -> None:
    first = {"meta-data": meta_data(key), "user-data": SCRIPT}
    with boot(first) as guest:
        guest.wait_for("user-data ended with status 0")
        guest.ssh(key, "tiny", "echo kept > note; sync")
        identity = guest.ssh(key, "root", IDENTITY).stdout
        assert re.search("^[0-9a-f]{32}$", identity, re.M), identity
        guest.power_down()
    with boot(first) as guest:
        guest.wait_for("tiny ready: harbour")
        assert guest.ssh(key, "tiny", "cat note").stdout == "kept\n"
        assert guest.ssh(key, "root", IDENTITY).stdout == identity
        assert guest.ssh(key, "root", "cat runs").stdout == "ran\n"
        guest.power_down()
    with boot({"meta-data": meta_data(key, "second", "quay"), "user-data": SCRIPT}) as guest:
        guest.wait_for("tiny ready: quay")
        guest.wait_for("user-data ended with status 0")
        assert guest.ssh(key, "root", "cat runs").stdout == "ran\nran\n"
        other = guest.ssh(key, "root", IDENTITY).stdout
        assert set(other.split("\n")).isdisjoint(identity.split("\n")[:2]), "of this instance alone"


def test_data_survive_a_power_cut(boot: Boot, key: Path) -> None:
    files = {"meta-data": meta_data(key)}
    with boot(files) as guest:
        guest.wait_for("tiny ready")
        guest.ssh(key, "tiny", "echo kept > note; sync")
    with boot(files) as guest:
        guest.wait_for("tiny ready")
        assert guest.ssh(key, "tiny", "cat note").stdout == "kept\n"


def test_cloud_config_on_a_virtio_seed(boot: Boot, key: Path) -> None:
    user_data = CLOUD_CONFIG.format(key=key.with_suffix(".pub").read_text().strip())
    files = {"meta-data": "instance-id: third\nlocal-hostname: unused\n", "user-data": user_data}
    with boot(files, seed_drive="virtio", memory_mib=128) as guest:
        guest.wait_for("tiny ready: from-config")
        guest.wait_for("user-data ended with status 0")
        assert guest.ssh(key, "tiny", "cat ran").stdout == "one, two\nthree\n"


def test_a_hostile_host_name_is_not_taken(boot: Boot) -> None:
    with boot({"meta-data": "instance-id: fourth\nlocal-hostname: $(reboot)\n"}) as guest:
        guest.wait_for("tiny ready: tiny")
