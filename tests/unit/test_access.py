"""What hosts are reached with: what is taken, and that none of it is shown again."""

from __future__ import annotations

import base64
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hosts.access import SshAccess, TlsAccess, access_in, of_keys, why_misfit
from portal.core.errors import Invalid
from tests.keys import Authority, SshKey, ssh_access
from tests.world import World

KEY, HOST = SshKey(), SshKey()


def test_a_key_is_taken_with_the_keys_of_its_host() -> None:
    lines = f"# node-1:22 SSH-2.0-OpenSSH\nnode-1 {HOST.public}\n{KEY.public} root@node-1\n"
    access = access_in(ssh_key=f"\n{KEY.private}\n", host_keys=lines)
    assert isinstance(access, SshAccess)
    assert access.public_key == KEY.public
    assert access.host_keys.splitlines() == [HOST.public, KEY.public]
    assert KEY.private.strip() == access.private_key.strip()
    assert "PRIVATE" not in repr(access)


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_text(KEY.public)
    told = subprocess.run(["ssh-keygen", "-l", "-f", file], capture_output=True, text=True, check=True).stdout
    assert of_keys(KEY.public) == [f"ssh-ed25519 {told.split()[1]}"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"ssh_key": KEY.private}, "host_keys"),
        ({"host_keys": HOST.public}, "ssh_key"),
        ({"ssh_key": KEY.public, "host_keys": HOST.public}, "ssh_key"),
        ({"ssh_key": KEY.private[:100], "host_keys": HOST.public}, "ssh_key"),
        ({"ssh_key": KEY.private, "host_keys": "node-1"}, "host_keys"),
        ({"ssh_key": KEY.private, "host_keys": f"@cert-authority * {HOST.public}"}, "host_keys"),
        ({"ssh_key": KEY.private, "host_keys": KEY.private}, "host_keys"),
        ({"ssh_key": "\N{BULLET}" * 100, "host_keys": HOST.public}, "ssh_key"),
        ({"ssh_key": "x" * 30_000, "host_keys": HOST.public}, "ssh_key"),
    ],
)
def test_what_is_no_key_is_refused_at_its_field(given: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        access_in(**given)
    assert refusal.value.field == field


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "more"),
    [("POST", "hosts", {"name": "x", "uri": "qemu+ssh://x.example/system"}), ("PUT", "hosts/spare/access", {})],
)
def test_a_key_of_a_form_that_nobody_reads_is_refused_at_its_field(
    world: World, method: str, path: str, more: dict[str, str]
) -> None:
    world.other_host()
    body = {**more, "ssh_key": _compressed(), "host_keys": HOST.public}
    answer = world.caller("admin").request(method, path, body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "ssh_key")


def _compressed() -> str:
    """A key of ECDSA of which the point is written in its short form (SEC 1, 2.3.3)."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    first, *lines, last = pem.decode().strip().splitlines()
    body = base64.b64decode("".join(lines))
    length = b"\x00\x00\x00\x41"
    assert length + b"\x04" in body
    return "\n".join([first, base64.b64encode(body.replace(length + b"\x04", length + b"\x02")).decode(), last])


def test_a_key_with_a_passphrase_is_named_as_such(tmp_path: Path) -> None:
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", file], check=True)
    with pytest.raises(Invalid, match="passphrase") as refusal:
        access_in(ssh_key=file.read_text(), host_keys=HOST.public)
    assert refusal.value.field == "ssh_key"


def test_certificates_are_taken_where_they_belong_together() -> None:
    access = access_in(**Authority().access())
    assert isinstance(access, TlsAccess)
    assert access.expires_at.tzinfo is not None
    assert "PRIVATE" not in repr(access)


def test_certificates_of_different_owners_are_refused() -> None:
    one, other = Authority("one").access(), Authority("other").access()
    for name in ("ca_certificate", "client_key"):
        with pytest.raises(Invalid) as refusal:
            access_in(**{**one, name: other[name]})
        assert refusal.value.field == name
    with pytest.raises(Invalid) as refusal:
        access_in(**{**one, "client_certificate": "-----BEGIN CERTIFICATE-----"})
    assert refusal.value.field == "client_certificate"


def test_a_certificate_that_is_over_is_refused() -> None:
    with pytest.raises(Invalid, match="over") as refusal:
        access_in(**Authority().access(lasts=timedelta(days=-1)))
    assert refusal.value.field == "client_certificate"


def test_one_kind_of_access_for_its_kind_of_uri() -> None:
    with pytest.raises(Invalid):
        access_in(**ssh_access(), **Authority().access())
    ssh, tls = access_in(**ssh_access()), access_in(**Authority().access())
    assert access_in() is None
    assert why_misfit("qemu+ssh://node/system", ssh) == why_misfit("qemu+tls://node/system", tls) == ""
    assert why_misfit("qemu+tls://node/system", ssh)
    assert why_misfit("qemu:///system", tls)
    assert why_misfit("qemu:///system", None) == ""
