"""What becomes a card, and when it closes itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors, memory
from hosts.driver.memory import MemoryHost
from hosts.driver.types import PowerState, VolumeFacts
from portal.events.models import Event
from tests.audit.test_audit import LIES, claim, guest, volume
from tests.world import World, make_host
from vms.audit import compare
from vms.audit.findings import Finding, Kind
from vms.models import Comparison, Drift
from vms.reconcile.inbox import _NOT_HERE, Inbox
from vms.reconcile.turn import Reconciler

pytestmark = pytest.mark.django_db(transaction=True)
Turn = Callable[[], list[str]]


def the_card() -> Drift:
    return Drift.objects.unscoped("test").get()


def test_nothing_where_all_is_well(turn: Turn) -> None:
    assert turn() == turn() == []


@pytest.mark.parametrize("kind", [kind for kind in LIES if kind not in _NOT_HERE], ids=str)
def test_what_stays_for_two_readings_is_a_card(world: World, host: MemoryHost, turn: Turn, kind: Kind) -> None:
    LIES[kind][0](world, host)
    assert turn() == []
    assert turn() == [str(kind)] == turn()
    card = the_card()
    assert card.detail
    assert card.evidence["is"] is not None
    assert card.first_seen < card.last_seen
    assert Event.objects.unscoped("test").filter(kind="drift.found", target_id=card.pk).count() == 1


def test_what_is_gone_by_the_second_reading_is_none(world: World, host: MemoryHost, turn: Turn) -> None:
    host.volumes["berth", "lost"] = volume("lost")
    turn()
    del host.volumes["berth", "lost"]
    assert turn() == []
    host.volumes["berth", "lost"] = volume("lost")
    assert turn() == [], "seen twice, but not in a row"


def test_it_closes_itself_and_opens_anew(world: World, host: MemoryHost, turn: Turn) -> None:
    host.volumes["berth", "lost"] = volume("lost")
    turn(), turn()
    del host.volumes["berth", "lost"]
    assert turn() == []
    card = the_card()
    assert (card.state, card.resolved_at is None) == ("resolved", False)
    assert Event.objects.unscoped("test").filter(kind="drift.resolved", target_id=card.pk).count() == 1
    host.volumes["berth", "lost"] = volume("lost")
    turn()
    assert turn() == ["volume_without_owner"]
    assert Drift.objects.unscoped("test").count() == 2


def test_what_is_ignored_stays_so_while_it_is_so(world: World, host: MemoryHost, turn: Turn) -> None:
    host.volumes["berth", "lost"] = volume("lost")
    turn(), turn()
    Drift.objects.unscoped("test").update(state="ignored")
    assert turn() == []
    assert the_card().state == "ignored"
    del host.volumes["berth", "lost"]
    turn()
    assert the_card().state == "resolved"


@pytest.mark.parametrize("error", [errors.Unreachable("gone"), errors.Timeout("hangs")])
def test_of_a_host_that_was_not_read_nothing_closes(
    world: World, host: MemoryHost, turn: Turn, error: errors.DriverError
) -> None:
    host.domains.pop(world.machines["web"].pk)
    turn(), turn()
    host.fail_next("inventory", error)
    assert turn() == ["undefined_outside"]


def test_a_host_that_does_not_answer_is_left_out(world: World, host: MemoryHost, reconciler: Reconciler) -> None:
    world.host.seen_at = None
    world.host.save()
    reconciler.turn()
    assert "inventory" not in host.calls
    assert not Comparison.objects.exists()


def test_a_pool_that_is_off_closes_no_card_about_volumes(world: World, host: MemoryHost, turn: Turn) -> None:
    host.volumes["berth", "lost"] = volume("lost")
    turn(), turn()
    pools = dict(host.pools)
    host.pools.clear()
    turn()
    assert turn() == ["pool_unavailable", "volume_without_owner"]
    host.pools.update(pools)
    assert turn() == ["volume_without_owner"]


def test_a_network_that_is_gone_closes_no_card_about_addresses(world: World, host: MemoryHost, turn: Turn) -> None:
    host.dhcp_hosts["berth"]["52:54:00:00:00:99"] = "10.75.9.9"
    turn(), turn()
    networks = dict(host.networks)
    host.networks.clear()
    turn()
    assert turn() == ["address_without_owner", "network_unavailable"]
    host.networks.update(networks)
    assert turn() == ["address_without_owner"]


def test_what_an_operation_works_on_neither_opens_nor_closes(world: World, host: MemoryHost, turn: Turn) -> None:
    web = world.machines["web"]
    spec = host.domains.pop(web.pk)
    turn(), turn()
    operation = world.operation(web)
    host.domains[web.pk] = spec
    assert turn() == ["undefined_outside"]
    operation.delete()
    assert turn() == []


def test_foreign_domains_are_shown(world: World, host: MemoryHost, turn: Turn) -> None:
    spec = guest("somebody-elses")
    host.domains[spec.uuid] = (spec, PowerState.RUNNING)
    turn()
    assert turn() == ["foreign_domain"]
    assert the_card().vm_id is None


def test_names_too_long_for_a_row_are_a_card_each(world: World, host: MemoryHost, turn: Turn) -> None:
    for end in ".1", ".2":
        name = "a" * 230 + end
        host.volumes["berth", name] = VolumeFacts(name, f"/pool/{name}", "raw", 1, 1)
    turn()
    assert turn() == ["volume_without_owner"] * 2
    before = set(Drift.objects.unscoped("test").values_list("pk", flat=True))
    turn()
    assert set(Drift.objects.unscoped("test").values_list("pk", flat=True)) == before


def test_a_foreign_domain_on_a_machines_disk_is_told_as_what_it_is(world: World, host: MemoryHost, turn: Turn) -> None:
    web = world.machines["web"]
    spec = replace(host.domains[web.pk][0], uuid=uuid4(), name="thief", owner="")
    host.domains[spec.uuid] = (spec, PowerState.STOPPED)
    turn()
    turn()
    card = Drift.objects.unscoped("test").get(object="thief")
    assert "it has the disk of web" in card.detail


def test_news_of_an_open_card_are_taken_in(world: World, host: MemoryHost, turn: Turn) -> None:
    driver = driver_for(world.host)
    driver.start(world.machines["cold"].pk)
    turn(), turn()
    assert the_card().evidence["is"] == {"power": "running"}
    driver.suspend(world.machines["cold"].pk)
    turn()
    assert the_card().evidence["is"] == {"power": "paused"}


def test_wrong_books_belong_to_no_host(world: World, host: MemoryHost, turn: Turn) -> None:
    claim(world.acme.pk, uuid4())
    turn()
    assert turn() == ["claim_without_vm"]
    assert the_card().host is None


def test_it_is_noted_when_a_host_was_compared(world: World, host: MemoryHost, turn: Turn) -> None:
    turn()
    assert (timezone.now() - Comparison.objects.get(host=world.host).at).total_seconds() < 10


def test_what_is_told_elsewhere_is_no_card(world: World, host: MemoryHost, turn: Turn) -> None:
    LIES[Kind.VM_WITHOUT_OPERATION][0](world, host)
    turn()
    assert turn() == []
    assert Finding(Kind.VM_WITHOUT_OPERATION, "", "", "").kind in _NOT_HERE


@pytest.mark.parametrize("broken", ["compare", "write"])
def test_a_host_whose_turn_fails_keeps_no_other_from_its_own(
    world: World, host: MemoryHost, turn: Turn, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Whichever of them comes first; and its own cards stay as they are until it can be judged again."""
    hosts = {name: make_host(name, uri=f"memory://{uuid4()}", checked_at=None) for name in ("aaa", "zzz")}
    for each in hosts.values():
        spec = guest("somebody-elses")
        memory.host(each.uri).domains[spec.uuid] = (spec, PowerState.RUNNING)
    turn(), turn()
    assert Drift.objects.unscoped("test").filter(host=world.host).count() == 0
    host.volumes["berth", "lost"] = volume("lost")
    driver_for(world.host).destroy(world.machines["web"].pk)
    take, findings = Inbox.take_host, compare.findings

    def fail_on_foreign_hosts(first: object, second: object, *more: object) -> object:
        bad = {each.pk for each in hosts.values()}
        if (getattr(first, "id", None) if broken == "compare" else second) in bad:
            raise IntegrityError("two cards of one name")
        return findings(first, second, *more) if broken == "compare" else take(first, second, *more)  # type: ignore[arg-type]

    place, name = (compare, "findings") if broken == "compare" else (Inbox, "take_host")
    monkeypatch.setattr(place, name, fail_on_foreign_hosts)
    turn()
    assert turn() == ["foreign_domain", "foreign_domain", "stopped_outside", "volume_without_owner"]


def test_cards_that_stay_cost_the_same_however_many(world: World, host: MemoryHost, turn: Turn) -> None:
    def queries(cards: int) -> int:
        for number in range(cards):
            host.volumes["berth", f"lost-{number}"] = volume(f"lost-{number}")
        turn(), turn()
        assert Drift.objects.unscoped("test").filter(state="open").count() == cards
        with CaptureQueriesContext(connection) as captured:
            turn()
        return len(captured)

    assert queries(1) == queries(9)
