"""Runs the provider: `python -m tests.oidc.provider PORT CALLBACK`. It says on stdout when it is ready."""

from __future__ import annotations

import os
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

CLIENT_ID, CLIENT_SECRET = "berth", "a secret of the client's"
PASSWORD = "a password at the provider"
# One whose address the provider has proved, and one whose address it has not.
PEOPLE = {"ann": ("ann@example.org", True), "bob": ("bob@example.org", False)}


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return None


def main(port: int, callback: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.oidc.settings"
    import django
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    django.setup()
    call_command("migrate", verbosity=0)
    _fill(callback)
    server = make_server("127.0.0.1", port, get_wsgi_application(), handler_class=Quiet)
    print("ready", flush=True)
    server.serve_forever()


def _fill(callback: str) -> None:
    from allauth.account.models import EmailAddress
    from allauth.idp.oidc.models import Client
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User

    for name, (email, verified) in PEOPLE.items():
        user = User.objects.create_user(name, email, PASSWORD)
        EmailAddress.objects.create(user=user, email=email, verified=verified, primary=True)
    Client.objects.create(
        id=CLIENT_ID,
        name="Berth",
        secret=make_password(CLIENT_SECRET),
        scopes="openid\nprofile\nemail",
        redirect_uris=callback,
        skip_consent=True,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
