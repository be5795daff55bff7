"""The NoCloud seed: what a guest learns of itself at its first boot (cloud-init's NoCloud data source)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pycdlib
import yaml

# A copy of a disk brings the machine id of its original; cloud-init makes new SSH host keys by itself, but not this.
# On QEMU systemd makes it of the machine's UUID.
_OF_A_COPY = """#cloud-config
bootcmd:
  - [cloud-init-per, instance, berth-machine-id, sh, -c, "rm -f /etc/machine-id && systemd-machine-id-setup"]
"""


def seed_iso(
    *, instance_id: str, hostname: str, ssh_keys: Sequence[str], user_data: str, is_copy: bool = False
) -> bytes:
    """An ISO 9660 image labelled "cidata". `user_data` goes in as it came; without it, keys and hostname are set.

    `is_copy`: the disk is one of another machine's, whose identity is not to be kept.
    """
    files = {
        "meta-data": _meta_data(instance_id, hostname, ssh_keys),
        "user-data": (user_data or _default_user_data(hostname, ssh_keys)).encode(),
    }
    if is_copy:
        files["vendor-data"] = _OF_A_COPY.encode()
    return _iso(files)


def _meta_data(instance_id: str, hostname: str, ssh_keys: Sequence[str]) -> bytes:
    values = {"instance-id": instance_id, "local-hostname": hostname, "public-keys": list(ssh_keys)}
    return yaml.safe_dump(values, sort_keys=False, width=100_000).encode()


def _default_user_data(hostname: str, ssh_keys: Sequence[str]) -> str:
    values = {"hostname": hostname, "ssh_authorized_keys": list(ssh_keys), "ssh_pwauth": False}
    return "#cloud-config\n" + yaml.safe_dump(values, sort_keys=False, width=100_000)


def _iso(files: Mapping[str, bytes]) -> bytes:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for name, content in files.items():
        short = name.replace("-", "").upper()
        iso.add_fp(io.BytesIO(content), len(content), f"/{short}.;1", rr_name=name, joliet_path=f"/{name}")
    buffer = io.BytesIO()
    iso.write_fp(buffer)
    iso.close()
    return buffer.getvalue()
