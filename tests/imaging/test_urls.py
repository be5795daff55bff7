"""What is fetched from, and what is not: every spelling of an address that is not public, at each turn."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from portal.core.outbound import connect
from portal.core.outbound.addresses import Policy, is_public, require_public, target_of
from portal.core.outbound.refusal import Refused
from tests.imaging import servers
from vms.imaging import fetch as fetching
from vms.imaging.fetch import Bounds, fetch

STRICT = Policy()
DATA = bytes(range(256)) * 4096
BOUNDS = Bounds(most_bytes=64 << 20, seconds=20)

SPELLED = [  # 68, 69
    *("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1"),
    *("127.1", "①②⑦.0.0.1", "127.0.0.1.", "localhost.", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"),  # 70
    *("[2002:7f00:1::]", "[fe80::1%25eth0]", "[2001:0:7f00:1::]", "[::127.0.0.1]", "[64:ff9b:1::7f00:1]"),
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "192.0.0.8", "224.0.0.1"),  # 71
    *("240.0.0.1", "255.255.255.255", "[fc00::1]", "[fd12::1]", "[ff02::1]", "[fec0::1]", "198.18.0.1", "192.0.2.1"),
    *("intranet", "a..b", "-a.example.org", "example.org%00.evil", "ex ample.org", "xn--.", "a" * 300 + ".org"),
]
URLS = [
    *(f"https://{host}/x" for host in SPELLED),
    *("file:///etc/passwd", "gopher://example.org/", "ftp://example.org/x", "dict://example.org/", "data:,x"),  # 74
    *(
        "jar:https://example.org!/x",
        "nbd://example.org/x",
        "ssh://example.org/",
        'json:{"file":"x"}',
        "//example.org/x",
    ),
    *("http://example.org/x", "HTTP://example.org/x", "https:example.org", "https:/example.org", "https://", "x", ""),
    *("https://a@127.0.0.1/", "https://a:b@example.org/", "https://127.0.0.1#@example.org/"),  # 75
    *("https://example.org\\@127.0.0.1/", "https://example.org/x\r\nHost: evil", "https://example.org/x\ty"),
    *("https://[::1", "https://example.org:x/", "https://example.org:99999/", "https://example.org/\u0661"),
    *(f"https://example.org:{port}/" for port in (22, 25, 6379, 5432, 16509, 16514, 8443, 80)),  # 76
    "https://example.org/" + "x" * 2000,
]


@pytest.mark.parametrize("url", URLS, ids=[str(i) for i in range(len(URLS))])
def test_urls_that_are_not_looked_up(url: str) -> None:
    with pytest.raises(Refused) as refusal:
        target_of(url, STRICT)
    assert refusal.value.code == "url_not_allowed"


@pytest.mark.parametrize(
    "url", ["https://example.org", "https://example.org:443/a?b=c", "https://1.1.1.1/x", "https://[2606:4700::1111]/"]
)
def test_urls_that_are(url: str) -> None:
    assert target_of(url, STRICT).port == 443


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::101:101", True),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:101:101::", False),
        ("2001:0:101:101::", False),
        ("192.0.0.8", False),
        ("192.88.99.1", False),
        ("239.255.255.250", False),
        ("fe80::1%eth0", False),
        ("3fff::1", False),
    ],
)
def test_addresses(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) == public


@pytest.mark.parametrize("spelling", ["8.8.4.4", "::ffff:8.8.4.4", "64:ff9b::808:404"])
def test_ours_are_ours_in_every_spelling(spelling: str) -> None:
    ours = Policy(forbidden=frozenset({ip_address("8.8.4.4")}))
    with pytest.raises(Refused):
        require_public(ip_address(spelling), ours)
    require_public(ip_address(spelling), Policy())


@pytest.fixture
def server() -> Iterator[servers.Server]:
    with servers.serving(DATA) as found:
        yield found


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What names lead to: for each, the answers in turn. Everything else is known as it is."""
    known: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host not in known:
            return real(host, port, *rest, **more)
        turn = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in turn]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return known


def near(server: servers.Server, **more: Any) -> Policy:
    return Policy(http=True, allowed=frozenset({f"127.0.0.1:{server.port}"}), **more)


def url_of(server: servers.Server) -> str:
    return f"http://127.0.0.1:{server.port}/disk"


def test_a_file_is_fetched(server: servers.Server, tmp_path: Path) -> None:
    heard: list[int] = []
    fetch(url_of(server), tmp_path / "x", near(server), BOUNDS, on_size=heard.append)
    assert (tmp_path / "x").read_bytes() == DATA
    assert heard == [len(DATA)]


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["10.0.0.1"]])
def test_names_that_lead_inside(names: Any, tmp_path: Path, answers: list[str]) -> None:
    """72: one address that is not public is one too many."""
    names["rebind.example.org"] = [answers]
    with pytest.raises(Refused) as refusal:
        fetch("https://rebind.example.org/x", tmp_path / "x", STRICT, BOUNDS)
    assert refusal.value.code == "url_not_allowed"


def test_a_name_that_changes_its_mind(names: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Public at the look, inside at the connection: the connection goes to what was looked at."""
    names["rebind.example.org"] = [["1.1.1.1"], ["127.0.0.1"]]
    reached: list[Any] = []

    def connect(address: Any, **more: Any) -> Any:
        reached.append(address)
        raise OSError("far away")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(Refused):
        fetch("https://rebind.example.org/x", tmp_path / "x", STRICT, BOUNDS)
    assert reached == [("1.1.1.1", 443)]


def test_ours_are_not_reached(names: Any, tmp_path: Path) -> None:
    names["portal.example.org"] = [["1.1.1.1"]]
    policy = Policy(forbidden=frozenset({ip_address("1.1.1.1")}))
    with pytest.raises(Refused) as refusal:
        fetch("https://portal.example.org/x", tmp_path / "x", policy, BOUNDS)
    assert refusal.value.code == "url_not_allowed"


@pytest.mark.parametrize(
    ("trick", "code"),
    [
        ("to:http://127.0.0.1:1/x", "url_not_allowed"),  # 73
        ("to:http://169.254.169.254/", "url_not_allowed"),
        ("to:file:///etc/passwd", "url_not_allowed"),
        ("to://[::1]/x", "url_not_allowed"),
        ("to:gopher://127.0.0.1:6379/_FLUSHALL", "url_not_allowed"),
        ("to:http://2130706433/", "url_not_allowed"),
        ("loop", "fetch_failed"),
        ("error", "fetch_failed"),  # 78
        ("no-length", "fetch_failed"),  # 77
        ("chunked", "fetch_failed"),
        ("huge", "image_too_large"),
        ("gzip", "fetch_failed"),
        ("stops", "fetch_failed"),
    ],
)
def test_servers_that_trick(server: servers.Server, tmp_path: Path, trick: str, code: str) -> None:
    server.trick = trick
    with pytest.raises(Refused) as refusal:
        fetch(url_of(server), tmp_path / "x", near(server), BOUNDS)
    assert refusal.value.code == code
    assert not any(word in refusal.value.detail for word in ("canary", "127.0.0.1", "Errno"))
    assert len(server.seen) <= BOUNDS.redirects + 1


def test_a_header_that_trickles_in_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while True:
                        connection.sendall(b"H")
                        threading.Event().wait(0.1)
                except OSError:
                    return

        threading.Thread(target=trickle, daemon=True).start()
        policy = Policy(http=True, allowed=frozenset({f"127.0.0.1:{port}"}))
        with pytest.raises(Refused):
            fetch(f"http://127.0.0.1:{port}/x", tmp_path / "x", policy, BOUNDS)


def test_a_body_that_trickles_in_is_given_up(
    server: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(fetching, "_SLOWEST_BYTES_PER_SECOND", 1 << 60)
    with pytest.raises(Refused):
        fetch(url_of(server), tmp_path / "x", near(server), BOUNDS)


def test_tls_is_of_the_name(
    server: servers.Server, names: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to the address; certificate, SNI and Host are of the name. Another certificate is refused."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=x"]
    command += ["-addext", "subjectAltName=DNS:mirror.example.org", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard: list[str | None] = []
    context.sni_callback = lambda connection, name, own: heard.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    policy = Policy(allowed=frozenset({f"127.0.0.1:{server.port}"}))
    monkeypatch.setattr("portal.core.outbound.addresses._PORTS", {"https": server.port})
    names["mirror.example.org"] = names["other.example.org"] = [["127.0.0.1"]]
    with pytest.raises(Refused):
        fetch("https://mirror.example.org/disk", tmp_path / "x", policy, BOUNDS)
    trusting = lambda: ssl.create_default_context(cafile=certificate)  # noqa: E731
    monkeypatch.setattr(connect, "_tls", trusting)
    fetch("https://mirror.example.org/disk", tmp_path / "x", policy, BOUNDS)
    assert (tmp_path / "x").read_bytes() == DATA
    assert heard[-1] == "mirror.example.org"
    assert server.seen == [(f"mirror.example.org:{server.port}", "/disk")]
    with pytest.raises(Refused):
        fetch("https://other.example.org/disk", tmp_path / "x", policy, BOUNDS)
