"""Signing in by OpenID Connect, at a real provider on this machine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.account.models import EmailAddress
from django.test import Client

from portal.accounts.models import User
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, PASSWORD
from tests.world import World

ROOT = Path(__file__).parents[2]
CALLBACK = "http://testserver/accounts/oidc/sso/login/callback/"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    port, place = free_port(), tmp_path_factory.mktemp("provider")
    environment = {**os.environ, "OIDC_DATABASE": str(place / "provider.sqlite3")}
    command = [sys.executable, "-m", "tests.oidc.provider", str(port), CALLBACK]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def configured(provider: str, settings: Any) -> None:
    settings.SOCIALACCOUNT_REQUESTS_TIMEOUT = 60  # a busy machine is no failure
    app = {
        "provider_id": "sso",
        "name": "Example",
        "client_id": CLIENT_ID,
        "secret": CLIENT_SECRET,
        "settings": {"server_url": provider},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}


def at_the_provider(url: str, who: str) -> str:
    """Signs in there, and gives the address that it sends the browser back to."""
    browser = requests.Session()
    page = browser.get(url)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token is not None
    form = {"login": who, "password": PASSWORD, "csrfmiddlewaretoken": token[1], "next": _next(page)}
    answer = browser.post(page.url, form, allow_redirects=False)
    while not answer.headers.get("Location", "").startswith(CALLBACK):
        assert answer.is_redirect, answer.text[:2000]
        there = requests.compat.urljoin(answer.url, answer.headers["Location"])
        answer = browser.get(there, allow_redirects=False)
    return answer.headers["Location"]


def _next(page: requests.Response) -> str:
    return parse_qs(urlsplit(page.url).query).get("next", [""])[0]


def sign_in(who: str, client: Client | None = None) -> tuple[Client, Any]:
    client = client or Client()
    begun = client.post("/accounts/oidc/sso/login/")
    assert begun.status_code == 302, begun.content
    back = urlsplit(at_the_provider(begun["Location"], who))
    return client, client.get(f"{back.path}?{back.query}")


def test_the_sign_in_page_offers_it(db: None) -> None:
    assert "Sign in by Example" in Client().get("/accounts/login/").content.decode()


def test_who_is_known_by_a_proved_address_is_signed_in(world: World, settings: Any) -> None:
    settings.SOCIALACCOUNT_EMAIL_AUTHENTICATION = settings.SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
    EmailAddress.objects.create(user=world.people["owner"], email="ann@example.org", verified=True, primary=True)
    client, answer = sign_in("ann")
    assert answer.status_code == 302
    assert client.get("/t/acme/").status_code == 200


def test_an_address_that_the_provider_has_not_proved_opens_nothing(world: World, settings: Any) -> None:
    settings.SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
    EmailAddress.objects.create(user=world.people["owner"], email="bob@example.org", verified=True, primary=True)
    client, _ = sign_in("bob")
    assert client.get("/t/acme/").status_code == 302


def test_nobody_gets_an_account_by_it_alone(world: World) -> None:
    before = User.objects.count()
    client, answer = sign_in("ann")
    assert "by invitation" in answer.content.decode()
    assert (User.objects.count(), client.get("/t/acme/").status_code) == (before, 302)


def test_unless_the_provider_of_the_portal_says_so(world: World, settings: Any) -> None:
    settings.OIDC_SIGNUP = True
    client, _ = sign_in("ann")
    user = User.objects.get(email="ann@example.org")
    assert not user.memberships.exists(), "an account, and no rights"
    assert client.get("/account/ssh-keys/").status_code == 200


def test_an_answer_that_was_not_asked_for_is_refused(world: World, settings: Any) -> None:
    settings.OIDC_SIGNUP = True
    begun = Client().post("/accounts/oidc/sso/login/")
    back = urlsplit(at_the_provider(begun["Location"], "ann"))
    other = Client()
    answer = other.get(f"{back.path}?{back.query}")
    assert answer.status_code in (200, 401, 403)
    assert other.get("/account/ssh-keys/").status_code == 302
