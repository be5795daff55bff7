"""The NoCloud seed."""

import io

import pycdlib
import yaml

from vms.seed import seed_iso

KEY = "ssh-ed25519 AAAA me"


def read(iso_bytes: bytes, name: str) -> bytes:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(iso_bytes))
    buffer = io.BytesIO()
    iso.get_file_from_iso_fp(buffer, joliet_path=f"/{name}")
    return buffer.getvalue()


def test_it_is_labelled_cidata() -> None:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(seed_iso(instance_id="i", hostname="h", ssh_keys=[], user_data="")))
    assert iso.pvd.volume_identifier.decode().strip() == "cidata"


def test_user_data_arrives_byte_by_byte() -> None:
    text = "#!/bin/sh\necho 'ü' : \t\n\n"
    assert read(seed_iso(instance_id="i", hostname="h", ssh_keys=[], user_data=text), "user-data") == text.encode()


def test_no_value_can_become_another_key() -> None:
    evil = "h\n#cloud-config\nruncmd: [reboot]"
    meta = yaml.safe_load(read(seed_iso(instance_id="i", hostname=evil, ssh_keys=[KEY], user_data=""), "meta-data"))
    assert meta == {"instance-id": "i", "local-hostname": evil, "public-keys": [KEY]}


def test_without_user_data_keys_and_hostname_are_set() -> None:
    data = read(seed_iso(instance_id="i", hostname="h", ssh_keys=[KEY], user_data=""), "user-data")
    assert data.startswith(b"#cloud-config\n")
    assert yaml.safe_load(data)["ssh_authorized_keys"] == [KEY]


def test_a_copy_of_a_disk_gets_a_machine_id_of_its_own() -> None:
    data = read(seed_iso(instance_id="i", hostname="h", ssh_keys=[], user_data="", is_copy=True), "vendor-data")
    assert data.startswith(b"#cloud-config\n")
    (command,) = yaml.safe_load(data)["bootcmd"]
    assert command[:3] == ["cloud-init-per", "instance", "berth-machine-id"]
    assert "systemd-machine-id-setup" in command[-1]
