"""Parts of pages that are fetched anew: each can be found again, and fetching them changes nothing for their reader."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from tests.web.conftest import Browser
from tests.world import World

pytestmark = pytest.mark.django_db
OWN_PAGES = (
    "vms/{vm}/disks/",
    "vms/{vm}/backups/",
    "vms/{vm}/schedules/",
    "vms/{vm}/settings/",
    "volumes/",
    "volumes/{volume}/",
    "images/{image}/",
    "backups/",
    "backups/{backup}/restore/",
    "snapshots/{snapshot}/",
)


class Parts(HTMLParser):
    """The ids of what is fetched out of the page itself, and all ids there are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.live: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if id := found.get("id"):
            self.ids.append(id)
        if "data-live" in found and "data-live-url" not in found:
            assert found["data-live"], f"<{tag} {found}> names no topic"
            self.live.append(found.get("id") or "")


@pytest.mark.parametrize("address", OWN_PAGES)
def test_each_is_there_once_by_its_id(world: World, browser: Browser, address: str) -> None:
    vm = world.machines["web"]
    ids = {
        "vm": vm.pk,
        "volume": vm.boot_volume.pk,
        "image": world.own_image().pk,
        "backup": world.backup().pk,
        "snapshot": world.snapshot().pk,
    }
    parts = Parts(browser("owner").get(f"/t/acme/{address.format(**ids)}").content.decode())
    assert parts.live
    assert [parts.ids.count(id) for id in parts.live] == [1] * len(parts.live)


def test_who_fetches_a_part_leaves_the_words_for_who_can_read_them(world: World, browser: Browser) -> None:
    owner, address = browser("owner"), f"/t/acme/vms/{world.machines['web'].pk}/settings/"
    owner.post(address, {"intent": "rename", "name": "other"})
    assert b"toast__" not in owner.get(address, headers={"X-Requested-With": "live"}).content.split(b"<template")[0]
    assert b"toast__" in owner.get(address).content.split(b"<template")[0]
    assert b"toast__" not in owner.get(address).content.split(b"<template")[0]
