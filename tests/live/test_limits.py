"""What the portal does not take from anybody: bodies without end, guesses without end."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from tests.live.site import Site

PATHS = ("/healthz", "/accounts/login/", "/api/v1/vms", "/nowhere")
MIB = 1 << 20


def endless(most: int) -> Iterator[bytes]:
    for _ in range(most):
        yield b"x" * MIB


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(site: Site, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Type")) == (413, "application/problem+json")


@pytest.mark.parametrize("path", PATHS)
def test_one_that_says_nothing_is_counted(site: Site, path: str) -> None:
    with suppress(requests.ConnectionError):  # it was closed while this side was still sending
        assert requests.post(f"{site.origin}{path}", data=endless(50), timeout=20).status_code == 413
    assert requests.get(f"{site.origin}/healthz", timeout=20).status_code == 200


def test_what_somebody_sees_is_kept_by_no_cache(site: Site) -> None:
    for path in ("/accounts/login/", "/api/v1/vms"):
        assert "no-store" in requests.get(f"{site.origin}{path}", timeout=20).headers["Cache-Control"]


def test_the_back_office_has_the_same_door(site: Site) -> None:
    answer = requests.get(f"{site.origin}/django-admin/login/", allow_redirects=False, timeout=20)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/accounts/login/")
