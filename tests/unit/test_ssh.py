"""Public keys as people paste them."""

import pytest

from portal.accounts import ssh
from portal.core.errors import Invalid

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8mE1v6mSMBOu7Yq8Dk6pQm8S0ilDHOuPOmCy7mYb3Q"


def test_a_key_is_normalised_and_named_by_its_fingerprint() -> None:
    line, fingerprint, comment = ssh.parse(f"  {ED25519}   me@laptop \n")
    assert line == f"{ED25519} me@laptop"
    assert fingerprint.startswith("SHA256:")
    assert comment == "me@laptop"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 !!!!",
        f'command="rm -rf /" {ED25519}',
        f"{ED25519}\nssh-ed25519 AAAA",
        ED25519.replace("ssh-ed25519", "ssh-rsa", 1),
        ED25519 + " " + "x" * 9000,
        f"{ED25519} \x00",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAXg=",
        "ssh-rsa AAAAB3NzaC1yc2F4",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        ssh.parse(text)


def test_a_private_key_is_named_as_such() -> None:
    with pytest.raises(Invalid) as refusal:
        ssh.parse("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert refusal.value.code == "private_key"
