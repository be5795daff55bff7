"""Which URIs of hosts are taken."""

from __future__ import annotations

import pytest

from hosts.uris import normal, why_refused


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:///system",
        "qemu+unix:///system?socket=/var/run/libvirt/libvirt-sock",
        "qemu+ssh://root@node-1.example.org:2222/system?socket=/run/libvirt/libvirt-sock",
        "qemu+tls://10.0.0.5/system",
        "qemu+ssh://[fe80::1]/system",
    ],
)
def test_taken(uri: str) -> None:
    assert why_refused(uri) == ""


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "x",
        "memory://one",
        "test:///default",
        "http://example.org/system",
        "qemu+ext:///system?command=/bin/sh",
        "qemu+ssh://node/system?command=/bin/sh",
        "qemu+ssh://node/system?netcat=/bin/sh",
        "qemu+ssh://node/system?keyfile=/a&command=/bin/sh",
        "qemu+ssh://node/system?keyfile=/etc/berth/key",
        "qemu+ssh://node/system?socket=$(id)",
        "qemu+ssh://node/system?socket",
        "qemu+ssh://node/system?no_verify=1",
        "qemu+ssh://node/system?known_hosts_verify=ignore",
        "qemu+ssh://node/system?mode=direct&proxy=native",
        "qemu+tls://node/system?pkipath=/etc/berth/pki",
        "qemu+tls://node/system?no_verify=1",
        "qemu+ssh://-oProxyCommand=id/system",
        "qemu+ssh://a@-b/system",
        "qemu+ssh://node/system#x",
        "qemu+ssh://node/system#",
        "qemu+ssh://node/sys\ttem",
        "\x01qemu:///system",
        "qemu+ssh://r\N{LATIN SMALL LETTER O WITH DIAERESIS}ot@node/system",
        "qemu+ssh://node:0/system",
        "qemu+ssh://node:99999/system",
        "qemu+unix:///system?socket=/a/../../x",
        "qemu+ssh://node/../x",
        "qemu+ssh://[::1/system",
        "qemu+ssh://node/system?socket=/" + "a" * 300,
    ],
)
def test_refused(uri: str) -> None:
    assert why_refused(uri)


@pytest.mark.parametrize("uri", ["qemu+tls://ROOT@Box.example/system", "QEMU+TLS://ROOT@box.example:16514/system"])
def test_one_spelling_is_kept(uri: str) -> None:
    assert why_refused(uri) == ""
    assert normal(uri) == "qemu+tls://ROOT@box.example/system"


@pytest.mark.parametrize("uri", ["qemu:///system", "qemu:/system", "QEMU:///system"])
def test_one_spelling_of_this_machine_is_kept(uri: str) -> None:
    assert (why_refused(uri), normal(uri)) == ("", "qemu:///system")


def test_a_socket_stays_as_it_is() -> None:
    uri = "qemu+unix:///system?socket=/var/run/libvirt/libvirt-sock"
    assert normal(uri) == uri


def test_plain_tcp_only_where_it_is_allowed() -> None:
    assert "BERTH_ALLOW_TCP" in why_refused("qemu+tcp://host/system")
    assert why_refused("qemu+tcp://host/system", allows_tcp=True) == ""
