"""What no host took is kept for administrators, although nothing else of the request is."""

from __future__ import annotations

import pytest

from hosts.models import Host, Placement
from hosts.models.placement import KEPT_REFUSALS
from tests.world import World, make_host
from vms.models import VM


def ask(world: World, **headers: str) -> dict[str, object]:
    """For a machine that fits nowhere."""
    Host.objects.update(cpus=0)
    answer = world.caller("owner").post("vms", {"name": "big", "image": "tiny", "flavor": "small"}, **headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "no_capacity")
    return dict(answer.json())


@pytest.mark.parametrize("headers", [{}, {"HTTP_IDEMPOTENCY_KEY": "one"}])
def test_it_is_kept_with_the_reason_for_every_host(world: World, headers: dict[str, str]) -> None:
    make_host("shut", state="cordoned")
    told = ask(world, **headers)
    assert not VM.objects.unscoped("test").filter(name="big").exists()
    (kept,) = world.caller("auditor").get("refused-placements").json()["results"]
    assert (kept["title"], kept["host"], kept["reason"]) == ("acme/big", "", told["detail"])
    assert kept["refused"]["state"] == {"shut": "cordoned"}
    assert "vCPUs short" in kept["refused"]["capacity"]["one"]
    assert kept["considered"] == 2


def test_tenants_see_none_of_it(world: World) -> None:
    told = ask(world)
    assert "one" not in str(told["detail"]).split()
    assert world.caller("owner").get("refused-placements").status_code == 403


def test_the_newest_are_kept(world: World) -> None:
    old = [Placement(holder_id=world.host.pk, reason=str(n), considered=0) for n in range(KEPT_REFUSALS + 5)]
    Placement.objects.bulk_create(old)
    ask(world)
    kept = Placement.objects.filter(host_name="")
    assert (kept.count(), kept[0].title) == (KEPT_REFUSALS, "acme/big")
