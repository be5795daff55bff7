"""The example of docs/webhooks.md, fed by real messages of which almost a third are dropped."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from standardwebhooks import Webhook as Verifier

from portal.events import log
from portal.tenancy.gate import SYSTEM
from portal.webhooks import signing
from portal.webhooks.models import Webhook
from tests.webhooks.receiver import Message, Receiver
from tests.webhooks.test_delivery import deliver, hook
from tests.world import Caller, World, forget_machines
from vms.models import VM
from vms.services import change

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "inventory.py"
DROPPED = 0.3


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, call: Callable[..., Caller]) -> Any:
    """The script as it is in the docs; what it asks of the API goes to the portal of this test."""
    spec = importlib.util.spec_from_file_location("inventory", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Answer:
        def __init__(self, answer: Any) -> None:
            self.json, self.status = answer.json, answer.status_code

        def raise_for_status(self) -> None:
            assert self.status == 200

    def get(url: str, headers: Any, timeout: int) -> Answer:
        return Answer(call("admin").get("/api" + url.partition("/api")[2]))

    monkeypatch.setattr(module.requests, "get", get)
    return module


def live_a_little(world: World, dice: random.Random, names: list[str]) -> None:
    """One thing that happens to some machine, told by the kinds that real operations record."""
    roll = dice.random()
    machines = list(VM.objects.unscoped("test"))
    if roll < 0.5 or len(machines) < 2:
        vm = world.vm(names.pop(), tenant=dice.choice([world.acme, world.beta]))
        log.record(
            "vm.create.requested", actor=SYSTEM, target=vm, after={"image": "tiny", "flavor": "small", **vm.wanted}
        )
        log.record("vm.create.succeeded", actor=SYSTEM, target=vm)
    elif roll < 0.7:
        change.rename(actor=SYSTEM, vm=dice.choice(machines), name=names.pop())
    elif roll < 0.85:
        vm, before = dice.choice(machines), {}
        vm.memory_mib += 128
        vm.save(update_fields=["memory_mib"])
        log.record("vm.resized", actor=SYSTEM, target=vm, before=before, after=vm.wanted)
    else:
        vm = dice.choice(machines)
        log.record("vm.purge.succeeded", actor=SYSTEM, target=vm)
        forget_machines(VM.objects.unscoped("test").filter(pk=vm.pk))


def truth() -> dict[str, dict[str, Any]]:
    rows = VM.objects.unscoped("test").select_related("tenant")
    return {str(vm.pk): {"tenant": vm.tenant.slug, "name": vm.name, **vm.wanted} for vm in rows}


@pytest.mark.parametrize("seed", [1, 2])
def test_it_ends_equal(world: World, receiver: Receiver, example: Any, seed: int) -> None:
    """Some messages get no answer, of some the answer is lost, and some a proxy acknowledges and loses."""
    dice = random.Random(seed)
    names = [f"m{n}" for n in range(200)]
    forget_machines(VM.objects.unscoped("test"))
    webhook = hook(world, receiver, tenant=None)
    inventory = example.Inventory("http://berth/api/v1", "token")
    lost: list[str] = []
    receiver.fault = lambda count: dice.choice(["drop", "lost", "500"]) if dice.random() < DROPPED / 2 else ""

    def arrive(message: Message) -> None:
        Verifier(signing.secret(webhook)).verify(message.raw, message.headers)
        lost.append(message.id) if dice.random() < DROPPED / 2 else held.append(message)

    held: list[Message] = []
    receiver.on_message = arrive
    for _ in range(60):
        live_a_little(world, dice, names)
        Webhook.objects.unscoped("test").filter(pk=webhook.pk).update(next_at=timezone.now())
        webhook = deliver(webhook)
        for message in held:
            inventory.take(message.body)
        held.clear()
    assert len(receiver.seen) > len({message.id for message in receiver.seen}), "something was sent again"
    assert lost, "something was lost on its way"
    inventory.catch_up()
    assert inventory.machines == truth()

    anew = example.Inventory("http://berth/api/v1", "token")
    anew.catch_up()
    assert (anew.machines, anew.sequence) == (inventory.machines, inventory.sequence)
