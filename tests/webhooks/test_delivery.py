"""Messages on their way: signed, in order, as often as it takes, and to no one else."""

from __future__ import annotations

import subprocess
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from portal.core.outbound import connect
from portal.events import feed_order, log
from portal.events.models import Event, FeedEntry
from portal.tenancy.gate import SYSTEM
from portal.webhooks import backoff, courier, line, round, services, signing
from portal.webhooks.models import Delivery, Webhook
from tests.webhooks.receiver import Receiver, receiving
from tests.world import World, make_world


def hook(world: World, receiver: Receiver, **more: Any) -> Webhook:
    wanted = {"tenant": world.acme, "url": receiver.url, **more}
    return services.create(actor=SYSTEM, **wanted)[0]


def happen(world: World, count: int = 3, kind: str = "vm.counted") -> list[int]:
    """So many events of acme's; their ids."""
    return [log.record(kind, actor=SYSTEM, target=world.machines["web"], n=n).pk for n in range(count)]


def deliver(webhook: Webhook) -> Webhook:
    feed_order.give_places()
    courier.deliver(webhook.pk)
    return fresh(webhook)


def fresh(webhook: Webhook) -> Webhook:
    return Webhook.objects.unscoped("test").get(pk=webhook.pk)


def age(webhook: Webhook, **past: Any) -> None:
    Webhook.objects.unscoped("test").filter(pk=webhook.pk).update(**past)


def events_in(messages: Any) -> list[int]:
    return [message.body["data"]["id"] for message in messages]


class TestMessages:
    def test_what_arrives(self, world: World, receiver: Receiver, call: Any) -> None:
        """In order, signed for whoever has the secret, with the event as the API tells it."""
        webhook = hook(world, receiver)
        created = Event.objects.unscoped("test").filter(kind="webhook.created").get()
        ids = [created.pk, *happen(world)]
        deliver(webhook)
        assert events_in(receiver.taken) == ids
        for message in receiver.taken:
            assert Verifier(signing.secret(webhook)).verify(message.raw, message.headers) == message.body
        told = call("owner").get(f"events?after={webhook.cursor}&limit=50").json()["results"]
        assert [message.body["data"] for message in receiver.taken] == told
        assert [message.body["type"] for message in receiver.taken] == [event["kind"] for event in told]

    def test_they_form_a_chain(self, world: World, receiver: Receiver) -> None:
        webhook = hook(world, receiver, kinds=["vm"])
        happen(world)
        deliver(webhook)
        happen(world, 2, "other.kind")
        happen(world, 2)
        webhook = deliver(webhook)
        bodies = [message.body for message in receiver.taken]
        assert [body["type"] for body in bodies] == ["vm.counted"] * 5
        assert [body["previous"] for body in bodies[1:]] == [body["sequence"] for body in bodies[:-1]]
        assert bodies[-1]["sequence"] == webhook.sent == webhook.cursor

    def test_others_hear_nothing(self, world: World, receiver: Receiver) -> None:
        of_beta = deliver(hook(world, receiver, tenant=world.beta, kinds=["vm"]))
        happen(world)
        assert of_beta.pk not in round.due()
        deliver(of_beta)
        assert receiver.seen == []

    def test_the_providers_hear_of_all(self, world: World, receiver: Receiver) -> None:
        webhook = hook(world, receiver, tenant=None, kinds=["vm", "host"])
        happen(world, 1)
        log.record("vm.counted", actor=SYSTEM, target=world.machines["foreign"])
        log.record("host.counted", actor=SYSTEM, target=world.host)
        assert webhook.pk in round.due()
        deliver(webhook)
        assert [message.body["data"]["tenant"] for message in receiver.taken] == ["acme", "beta", None]

    def test_after_a_rotation_both_secrets_hold_for_a_while(self, world: World, receiver: Receiver) -> None:
        webhook = hook(world, receiver)
        old = signing.secret(webhook)
        webhook, new = services.rotate(actor=SYSTEM, webhook=webhook, overlap_hours=1)
        deliver(webhook)
        for secret in (old, new):
            Verifier(secret).verify(receiver.taken[0].raw, receiver.taken[0].headers)
        age(webhook, previous_until=timezone.now() - timedelta(seconds=1))
        happen(world, 1)
        deliver(webhook)
        Verifier(new).verify(receiver.taken[-1].raw, receiver.taken[-1].headers)
        with pytest.raises(WebhookVerificationError):
            Verifier(old).verify(receiver.taken[-1].raw, receiver.taken[-1].headers)

    def test_a_test_arrives_whatever_kinds_it_names(self, world: World, receiver: Receiver) -> None:
        webhook = hook(world, receiver, kinds=["vm"])
        services.test(actor=SYSTEM, webhook=webhook)
        deliver(webhook)
        assert [message.body["type"] for message in receiver.taken] == ["webhook.tested"]


class TestFaults:
    @pytest.mark.parametrize("fault", ["500", "404", "drop", "to:http://127.0.0.1:1/", "301"])
    def test_what_is_not_taken_waits_and_comes_first(self, world: World, receiver: Receiver, fault: str) -> None:
        webhook = hook(world, receiver, kinds=["vm"])
        ids = happen(world)
        asked = 2 if fault == "drop" else 1  # a kept connection that breaks is opened anew once
        receiver.fault = lambda count: fault if 1 <= count <= asked else ""
        webhook = deliver(webhook)
        assert (webhook.status, webhook.failures) == ("failing", 1)
        assert webhook.next_at is not None
        assert webhook.pk not in round.due()
        assert deliver(webhook).failures == 1, "it waits"
        age(webhook, next_at=timezone.now())
        webhook = deliver(webhook)
        assert (webhook.status, webhook.failing_since) == ("active", None)
        assert events_in(receiver.seen) == [ids[0], *[ids[1]] * (asked + 1), ids[2]]
        assert len({message.id for message in receiver.seen}) == 3
        rows = Delivery.objects.filter(webhook=webhook).order_by("sequence")
        assert [(row.state, row.attempts) for row in rows] == [("delivered", 1), ("delivered", 2), ("delivered", 1)]

    @pytest.mark.parametrize("fault", ["slow", "trickle"])
    def test_who_takes_too_long_is_cut_off(
        self, world: World, receiver: Receiver, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(line, "SECONDS", 0.4)
        webhook = hook(world, receiver)
        receiver.fault = lambda count: fault
        began = time.monotonic()
        webhook = deliver(webhook)
        assert time.monotonic() - began < 5
        assert "did not answer within" in Delivery.objects.get(webhook=webhook).detail

    def test_an_answer_without_end_is_not_read(self, world: World, receiver: Receiver) -> None:
        webhook = hook(world, receiver, kinds=["vm"])
        happen(world, 2)
        receiver.fault = lambda count: "long"
        assert deliver(webhook).status == "active"
        assert len(receiver.taken) == 2

    def test_a_wrong_certificate(
        self, world: World, receiver: Receiver, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
        make = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 1 -keyout {key} -out {certificate}"
        subprocess.run([*make.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        receiver.secure(certificate, key)
        webhook = hook(world, receiver, url=f"https://{receiver.place}/hook")
        webhook = deliver(webhook)
        assert Delivery.objects.get(webhook=webhook).detail == "Its certificate is not valid."
        trusting = lambda: connect.ssl.create_default_context(cafile=certificate)  # noqa: E731
        monkeypatch.setattr(connect, "_tls", trusting)
        age(webhook, next_at=None)
        assert deliver(webhook).status == "active"
        assert len(receiver.taken) == 1

    def test_nothing_inside_is_reached(self, world: World, receiver: Receiver, settings: Any) -> None:
        """Allowed once, and no longer: what counts is the moment of sending. Nor does the log say what is there."""
        webhook = hook(world, receiver)
        settings.WEBHOOK_URL_ALLOW = []
        deliver(webhook)
        assert receiver.seen == []
        delivery = Delivery.objects.get(webhook=webhook)
        assert delivery.status is None
        assert "127.0.0.1" not in delivery.detail

    def test_it_asks_again_when_the_server_wants(self, world: World, receiver: Receiver) -> None:
        receiver.headers["Retry-After"] = "1800"
        receiver.fault = lambda count: "503"
        webhook = deliver(hook(world, receiver))
        assert webhook.next_at is not None
        assert timedelta(minutes=29) < webhook.next_at - timezone.now() <= timedelta(minutes=30)

    def test_after_three_days_it_is_given_up_with_words(self, world: World, receiver: Receiver) -> None:
        receiver.fault = lambda count: "500"
        webhook = hook(world, receiver)
        age(webhook, failures=20, failing_since=timezone.now() - timedelta(days=3))
        webhook = deliver(webhook)
        assert webhook.status == "disabled"
        assert webhook.disabled_for == "It took nothing for 3 days. The last time: It answered 500."
        told = Event.objects.unscoped("test").get(kind="webhook.given-up")
        assert (told.actor, told.tenant) == ("system", world.acme)
        happen(world, 1)
        assert webhook.pk not in round.due()
        receiver.fault = lambda count: ""
        services.enable(actor=SYSTEM, webhook=webhook)
        deliver(webhook)
        everything = FeedEntry.objects.unscoped("test").filter(tenant=world.acme, sequence__gt=webhook.cursor)
        assert events_in(receiver.taken) == [entry.event_id for entry in everything.order_by("sequence")]

    def test_who_is_gone_is_told_nothing_more(self, world: World, receiver: Receiver) -> None:
        receiver.fault = lambda count: "410"
        assert deliver(hook(world, receiver)).disabled_for == "The server said that it is gone for good (410)."


class TestWhoMay:
    def test_one_worker_at_a_time(self, world: World, receiver: Receiver) -> None:
        webhook = hook(world, receiver)
        assert courier._claim(webhook.pk) is not None
        assert courier._claim(webhook.pk) is None
        assert webhook.pk not in round.due()
        age(webhook, lease_until=timezone.now() - timedelta(seconds=1))
        assert courier._claim(webhook.pk) is not None

    def test_who_lost_it_writes_nothing(self, world: World, receiver: Receiver) -> None:
        """Another has it, or its owner changed something, while a message was on its way."""
        webhook = hook(world, receiver)
        feed_order.give_places()
        held = courier._claim(webhook.pk)
        assert held is not None
        services.replay(actor=SYSTEM, webhook=webhook, after=0)
        with courier.Line(webhook.url, courier.policy()) as out, pytest.raises(courier.Lost):
            held.send_on(out)
        assert fresh(webhook).cursor == 0
        assert not Delivery.objects.filter(webhook=webhook).exists()

    def test_who_stood_still_sends_nothing(self, world: World, receiver: Receiver) -> None:
        webhook = hook(world, receiver)
        feed_order.give_places()
        held = courier._claim(webhook.pk)
        assert held is not None
        held._claimed_at -= courier.LEASE.total_seconds()
        with courier.Line(webhook.url, courier.policy()) as out, pytest.raises(courier.Lost):
            held.send_on(out)
        assert receiver.seen == []


class TestAgain:
    def test_replay(self, world: World, receiver: Receiver) -> None:
        webhook = hook(world, receiver, kinds=["vm"])
        happen(world)
        webhook = deliver(webhook)
        first = receiver.taken[0].body["sequence"]
        services.replay(actor=SYSTEM, webhook=webhook, after=first)
        deliver(webhook)
        again = receiver.taken[3:]
        assert [message.id for message in again] == [message.id for message in receiver.taken[1:3]]
        assert again[0].body["previous"] == first

    def test_one_message_out_of_its_turn(self, world: World, receiver: Receiver) -> None:
        """Also while others wait; the same message under the same id."""
        webhook = hook(world, receiver, kinds=["vm"])
        happen(world, 2)
        receiver.fault = lambda count: "500" if count == 1 else ""
        webhook = deliver(webhook)
        sent = Delivery.objects.filter(webhook=webhook).earliest("sequence")
        services.resend(actor=SYSTEM, webhook=webhook, delivery=sent)
        age(webhook, next_at=timezone.now() + timedelta(hours=1))
        assert webhook.pk in round.due()
        deliver(webhook)
        assert receiver.seen[2].raw == receiver.seen[0].raw
        assert receiver.seen[2].id == receiver.seen[0].id
        sent.refresh_from_db()
        assert (sent.attempts, sent.resend_asked_at) == (2, None)
        assert fresh(webhook).failures == 1

    def test_the_log_is_bounded(self, world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        webhook = hook(world, receiver, kinds=["vm"])
        happen(world, 5)
        deliver(webhook)
        monkeypatch.setattr(round, "KEPT", 3)
        newest = list(webhook.deliveries.values_list("sequence", flat=True)[:3])
        round.forget()
        assert list(webhook.deliveries.values_list("sequence", flat=True)) == newest
        webhook.deliveries.update(at=timezone.now() - timedelta(days=31))
        round.forget()
        assert not webhook.deliveries.exists()


class TestOrder:
    def test_an_event_that_becomes_visible_late_is_not_passed_over(self, world: World) -> None:
        """Its id is lower than that of one that was placed already."""
        first, second = happen(world, 2)
        entries = FeedEntry.objects.unscoped("test")
        late = entries.get(event_id=first)
        late.delete()
        end = feed_order.give_places()
        FeedEntry.objects.create(event_id=first, tenant=world.acme)
        assert feed_order.give_places() == end + 1
        assert entries.get(event_id=second).sequence == end
        assert entries.get(event_id=first).sequence == end + 1

    def test_after_a_restore_places_are_higher_than_ever(self, world: World) -> None:
        end = feed_order.give_places()
        feed_order.leap()
        happen(world, 1)
        assert feed_order.give_places() > max(end, int(time.time() * 1000) - 60_000)


@pytest.mark.parametrize("failures", [1, 2, 9, 10, 1000])
def test_pauses_differ_and_grow(failures: int) -> None:
    wanted = backoff.PAUSES_SECONDS[min(failures, len(backoff.PAUSES_SECONDS)) - 1]
    pauses = {backoff.pause(failures).total_seconds() for _ in range(20)}
    assert len(pauses) > 1
    assert all(0.8 * wanted <= pause <= 1.2 * wanted for pause in pauses)


@pytest.mark.django_db(transaction=True)
def test_one_that_hangs_holds_up_no_other(receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole round, each webhook in its thread: one does not answer before the other has all of its messages."""
    monkeypatch.setattr(line, "SECONDS", 25.0)
    has_all, waits = threading.Event(), list[bool]()
    with receiving() as slow:
        settings.WEBHOOK_URL_ALLOW = [receiver.place, slow.place]
        slow.on_message = lambda message: waits.append(has_all.wait(20))
        receiver.on_message = lambda message: len(receiver.taken) == 10 and has_all.set()
        world = make_world()
        for server in (slow, receiver):
            hook(world, server, kinds=["vm"])
        happen(world, 10)
        round.go_round(seconds=1.0)
    assert len(receiver.taken) == 10
    assert waits
    assert all(waits)
