"""What administrators do about drift, carried out by the engine on a host in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.memory import MemoryDriver, MemoryHost
from hosts.driver.types import DiskSpec, DomainSpec, PowerState
from portal.core.errors import Conflict, Forbidden
from portal.events.models import Event
from portal.operations import engine
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.quotas.models import Claim, Quota
from portal.tenancy.gate import SYSTEM, actor_for
from tests.audit.test_audit import change, claim, guest, volume
from tests.reconcile.conftest import fresh
from tests.world import World
from vms.audit.run import audit
from vms.models import VM, Drift, Layer, Volume
from vms.resolutions import Facts, Resolution, verdict
from vms.services.change import resize
from vms.services.drift import resolve
from vms.states import Action
from vms.workflows.power import WORKFLOWS

pytestmark = pytest.mark.django_db(transaction=True)
Turn = Callable[[], list[str]]
Work = Callable[[], list[Operation]]
Act = Callable[[str], str]
OURS = f"{uuid4()}.qcow2"


@pytest.fixture
def act(world: World, turn: Turn, work: Work) -> Act:
    """Two turns, then the administrator's choice about the one card; how its operation ended, "" for none."""

    def choose(resolution: str, person: str = "admin") -> str:
        turn(), turn()
        card = Drift.objects.unscoped("test").select_related("host", "vm__tenant").exclude(state="resolved").get()
        resolve(actor=actor_for(world.people[person]), drift=card, resolution=Resolution(resolution))
        ended = work()
        return ended[0].state if ended else ""

    return choose


def all_is_well(turn: Turn) -> bool:
    return turn() == [] and audit() == []


# -- restore -------------------------------------------------------------------------------------------------------


def test_a_machine_that_is_gone_is_defined_anew_and_started(
    world: World, host: MemoryHost, act: Act, turn: Turn
) -> None:
    web = world.machines["web"]
    host.domains.pop(web.pk)
    assert act("restore") == "succeeded"
    assert host.domains[web.pk][1] is PowerState.RUNNING
    assert not fresh(web).is_missing
    assert all_is_well(turn)
    assert Drift.objects.unscoped("test").get().state == "resolved"


@pytest.mark.parametrize(("name", "power"), [("web", "running"), ("cold", "stopped"), ("paused", "paused")])
@pytest.mark.parametrize("outside", ["start", "destroy", "suspend", "undefine"])
def test_power_is_restored_from_wherever_it_is(
    world: World, host: MemoryHost, turn: Turn, act: Act, name: str, power: str, outside: str
) -> None:
    vm, driver = world.machines[name], driver_for(world.host)
    if outside == "suspend":
        driver.start(vm.pk)
    if outside == "start":
        driver.start(vm.pk)
        driver.resume(vm.pk)
    else:
        getattr(driver, outside)(vm.pk)
    turn()
    if turn():
        assert act("restore") == "succeeded"
    assert str(host.domains[vm.pk][1]) == power
    assert fresh(vm).desired_power == power
    assert all_is_well(turn)


def test_a_changed_definition_is_restored(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    change(host, world.machines["web"].pk, vcpus=8, disks=(DiskSpec("berth", "x", "vdb"),))
    assert act("restore") == "succeeded"
    assert all_is_well(turn)


def test_a_missing_seed_is_made_and_a_missing_disk_is_not(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    web = world.machines["web"]
    host.volumes.pop(("berth", web.seed_volume))
    assert act("restore") == "succeeded"
    assert all_is_well(turn)
    host.volumes.pop(("berth", web.boot_volume.layer.file_name))
    for resolution in ("restore", "adopt", "clean-up"):
        with pytest.raises(Conflict):
            act(resolution)
    assert Volume.objects.unscoped("test").filter(vm=web).exists()


def test_an_address_and_wrong_books_are_restored(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    web = world.machines["web"]
    host.dhcp_hosts["berth"].pop(web.nics.get().mac)
    assert act("restore") == "succeeded"
    assert all_is_well(turn)
    Claim.objects.filter(holder_id=web.pk, account=world.acme.pk).delete()
    assert act("restore") == "succeeded"
    claim(world.beta.pk, web.pk)
    assert turn() == []
    assert act("restore") == "succeeded"
    assert all_is_well(turn)


def test_a_pool_that_is_off_sends_for_the_hosts_check(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    world.host.pool_path = "/pool"
    world.host.save()
    host.pools.clear()
    assert act("restore") == "succeeded"
    assert Operation.objects.unscoped("test").get().kind == "host.preflight"
    assert all_is_well(turn)


def test_a_restore_that_fails_keeps_the_wish_and_leaves_no_definition(
    world: World, host: MemoryHost, act: Act, turn: Turn
) -> None:
    """What it says of itself, that all was undone, is so: the machine does not look well, and its card stays."""
    web = world.machines["web"]
    host.domains.pop(web.pk)
    host.fail_next("start", errors.NoMemory("full"))
    assert act("restore") == "failed"
    assert web.pk not in host.domains
    assert (fresh(web).desired_power, fresh(web).is_missing) == ("running", True)
    assert turn() == ["undefined_outside"]
    assert act("restore") == "succeeded"
    assert all_is_well(turn)


def test_a_restore_that_fails_leaves_the_definition_that_was_there(world: World, host: MemoryHost, act: Act) -> None:
    change(host, world.machines["cold"].pk, cdroms=())
    driver_for(world.host).start(world.machines["cold"].pk)
    driver_for(world.host).destroy(world.machines["cold"].pk)
    host.fail_next("ensure_dhcp_host", errors.Invalid("no"))
    assert act("restore") == "failed"
    assert world.machines["cold"].pk in host.domains


def test_a_machine_that_has_lost_its_disk_is_not_restored(world: World, host: MemoryHost, turn: Turn) -> None:
    web = world.machines["web"]
    layer = web.boot_volume.layer
    host.domains.pop(web.pk)
    disk = host.volumes.pop(("berth", layer.file_name))
    turn(), turn()
    cards = {card.kind: card for card in Drift.objects.unscoped("test").select_related("host", "vm__tenant")}
    assert set(cards) == {"undefined_outside", "disk_missing"}
    actor = actor_for(world.people["admin"])
    with pytest.raises(Conflict, match=f"Its disk {layer.file_name} is missing"):
        resolve(actor=actor, drift=cards["undefined_outside"], resolution=Resolution.RESTORE)
    host.volumes["berth", layer.file_name] = disk
    turn()
    card = Drift.objects.unscoped("test").select_related("host", "vm__tenant").get(kind="undefined_outside")
    operation = resolve(actor=actor, drift=card, resolution=Resolution.RESTORE)
    host.volumes.pop(("berth", layer.file_name))  # again, before the worker comes
    assert operation is not None
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.state, (operation.error or {})["code"]) == ("failed", "disk_missing")
    assert web.pk not in host.domains


# -- adopt ---------------------------------------------------------------------------------------------------------


def test_a_power_state_is_adopted(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    driver_for(world.host).destroy(world.machines["web"].pk)
    assert act("adopt") == "succeeded"
    assert fresh(world.machines["web"]).desired_power == "stopped"
    driver_for(world.host).start(world.machines["cold"].pk)
    assert act("adopt") == "succeeded"
    assert fresh(world.machines["cold"]).desired_power == "running"
    assert all_is_well(turn)


def test_a_size_is_adopted_with_its_claims(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    web = world.machines["web"]
    change(host, web.pk, vcpus=3, memory_mib=64)
    assert act("adopt") == "succeeded"
    assert fresh(web).wanted == {"vcpus": 3, "memory_mib": 64, "disk_gib": 1}
    assert all_is_well(turn)


def test_the_size_of_a_disk_is_adopted_with_its_claims(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    """As after a resize of the time since the backup that was restored."""
    web = world.machines["web"]
    key = "berth", web.boot_volume.layer.file_name
    host.volumes[key] = replace(host.volumes[key], capacity_bytes=3 << 30)
    with pytest.raises(Conflict, match="cannot shrink"):
        act("restore")
    assert act("adopt") == "succeeded"
    assert fresh(web).wanted == {"vcpus": 1, "memory_mib": 128, "disk_gib": 3}
    boot = fresh(web).boot_volume
    assert (boot.size_gib, boot.layer.size_gib) == (3, 3)
    assert all_is_well(turn)


def test_a_disk_beyond_the_quota_is_not_adopted(world: World, host: MemoryHost, act: Act) -> None:
    used, web = ledger.used(world.acme.pk), world.machines["web"]
    Quota.objects.filter(tenant=world.acme).update(disk_gib=used["disk_gib"])
    key = "berth", web.boot_volume.layer.file_name
    host.volumes[key] = replace(host.volumes[key], capacity_bytes=3 << 30)
    with pytest.raises(ledger.Exceeded):
        act("adopt")
    assert (fresh(web).disk_gib, ledger.used(world.acme.pk)) == (1, used)


def test_a_disk_that_a_failed_resize_has_grown_is_accounted_for(
    world: World, host: MemoryHost, turn: Turn, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold, grow = world.machines["cold"], MemoryDriver.grow_volume

    def grow_and_fail(driver: MemoryDriver, pool: str, name: str, capacity_bytes: int) -> None:
        grow(driver, pool, name, capacity_bytes)
        raise errors.Invalid("the answer is nonsense")

    monkeypatch.setattr(MemoryDriver, "grow_volume", grow_and_fail)
    resize(actor=actor_for(world.people["owner"]), vm=fresh(cold), flavor="large")
    assert [operation.state for operation in work()] == ["failed"]
    assert fresh(cold).wanted == {"vcpus": 1, "memory_mib": 128, "disk_gib": 2}
    assert fresh(cold).flavor == world.flavor
    assert Event.objects.unscoped("test").filter(kind="vm.resized", target_id=cold.pk).exists()
    assert all_is_well(turn)


def test_a_size_beyond_the_quota_is_not_adopted(world: World, host: MemoryHost, act: Act) -> None:
    used = ledger.used(world.acme.pk)
    Quota.objects.filter(tenant=world.acme).update(vcpus=used["vcpus"])
    change(host, world.machines["web"].pk, vcpus=3)
    with pytest.raises(ledger.Exceeded):
        act("adopt")
    assert ledger.used(world.acme.pk) == used


def test_what_changed_since_is_not_adopted(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    web = world.machines["web"]
    change(host, web.pk, vcpus=3)
    turn(), turn()
    card = Drift.objects.unscoped("test").select_related("host", "vm__tenant").get()
    resolve(actor=actor_for(world.people["admin"]), drift=card, resolution=Resolution.ADOPT)
    change(host, web.pk, vcpus=5)
    (operation,) = work()
    assert (operation.state, operation.error["code"]) == ("failed", "changed_since")
    assert fresh(web).vcpus == 1
    assert [finding.kind for finding in audit()] == ["definition_changed"], "and the claims are as before"


def test_disks_that_were_added_are_not_adopted(world: World, host: MemoryHost, act: Act) -> None:
    change(host, world.machines["web"].pk, vcpus=3, disks=())
    with pytest.raises(Conflict, match="Disks or network"):
        act("adopt")


def test_a_machine_that_is_gone_is_never_adopted(world: World, host: MemoryHost, act: Act) -> None:
    host.domains.pop(world.machines["web"].pk)
    for resolution in ("adopt", "clean-up"):
        with pytest.raises(Conflict):
            act(resolution)
    assert VM.objects.unscoped("test").filter(pk=world.machines["web"].pk).exists()


# -- clean up ------------------------------------------------------------------------------------------------------


def test_what_nobody_has_is_removed(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    spec = guest("berth-lost", disks=(DiskSpec("berth", OURS, "vda"),))
    host.volumes["berth", OURS] = volume(OURS)
    host.domains[spec.uuid] = (spec, PowerState.STOPPED)
    turn(), turn()
    kinds = Drift.objects.unscoped("test").values_list("kind", flat=True)
    assert sorted(kinds) == ["domain_without_vm", "volume_without_owner"]
    actor = actor_for(world.people["admin"])
    cards = {card.kind: card for card in Drift.objects.unscoped("test").select_related("host")}
    with pytest.raises(Conflict, match="berth-lost stands on it"):
        _ended(actor, cards["volume_without_owner"])
    assert _ended(actor, cards["domain_without_vm"]) == "succeeded"
    turn()
    assert _ended(actor, Drift.objects.unscoped("test").get(kind="volume_without_owner")) == "succeeded"
    assert all_is_well(turn)


def test_a_domain_that_is_not_off_may_be_somebodys(world: World, host: MemoryHost, turn: Turn) -> None:
    spec = guest("berth-lost", disks=(DiskSpec("berth", OURS, "vda"),))
    host.domains[spec.uuid] = (spec, PowerState.RUNNING)
    turn(), turn()
    card = Drift.objects.unscoped("test").select_related("host").get(kind="domain_without_vm")
    with pytest.raises(Conflict, match="It is not off"):
        _ended(actor_for(world.people["admin"]), card)


def test_a_domain_that_was_started_meanwhile_is_left_running(world: World, host: MemoryHost, turn: Turn) -> None:
    spec = guest("berth-lost", disks=(DiskSpec("berth", OURS, "vda"),))
    host.domains[spec.uuid] = (spec, PowerState.STOPPED)
    turn(), turn()
    card = Drift.objects.unscoped("test").select_related("host").get(kind="domain_without_vm")
    host.domains[spec.uuid] = (spec, PowerState.RUNNING)
    assert _ended(actor_for(world.people["admin"]), card) == "failed"
    assert host.domains[spec.uuid][1] is PowerState.RUNNING


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_a_killed_preflight_left_is_removed(
    world: World, host: MemoryHost, act: Act, turn: Turn, is_whole: bool
) -> None:
    """Its guest, which may hang, and then its disk."""
    spec = guest("berth-preflight-0123abcd", disks=(DiskSpec("berth", "berth-preflight-0123abcd", "vda"),))
    host.domains[spec.uuid] = (spec, PowerState.RUNNING)
    assert act("clean-up") == "succeeded"
    assert spec.uuid not in host.domains
    turn()
    if is_whole:
        host.volumes["berth", spec.name] = volume(spec.name)
    else:
        host.unfinished.add(("berth", spec.name))
    assert act("clean-up") == "succeeded"
    assert all_is_well(turn)


def test_only_a_probe_with_its_own_disk_is_removed_while_it_runs(world: World, host: MemoryHost, turn: Turn) -> None:
    spec = guest("berth-preflight-0123abcd", disks=(DiskSpec("berth", OURS, "vda"),))
    host.domains[spec.uuid] = (spec, PowerState.RUNNING)
    turn(), turn()
    card = Drift.objects.unscoped("test").select_related("host").get(kind="domain_without_vm")
    with pytest.raises(Conflict, match="It is not off"):
        _ended(actor_for(world.people["admin"]), card)


def copier(world: World, host: MemoryHost) -> DomainSpec:
    """Of the disk of "cold", and on."""
    source = world.machines["cold"].boot_volume.layer.file_name
    spec = guest("", disks=(DiskSpec("berth", source, "vda"),))
    spec = replace(spec, name=f"berth-copy-{spec.uuid}")
    host.domains[spec.uuid] = (spec, PowerState.PAUSED)
    return spec


def test_a_copier_that_no_operation_has_is_ended_without_anybody(world: World, host: MemoryHost, turn: Turn) -> None:
    """As after the database was brought back from a time before the clone was asked for."""
    spec = copier(world, host)
    Layer.objects.create(pk=spec.uuid, pool=world.host.default_pool, size_gib=1)  # that the row is there is no reason
    turn()
    assert spec.uuid not in host.domains
    turn()
    assert not Drift.objects.unscoped("test").filter(kind="domain_without_vm").exists()


def test_a_copier_of_an_operation_stays(world: World, host: MemoryHost, turn: Turn) -> None:
    spec, cold = copier(world, host), world.machines["cold"]
    layer = Layer.objects.create(pk=spec.uuid, pool=world.host.default_pool, size_gib=1)
    operation = operations.submit(WORKFLOWS[Action.START], actor=SYSTEM, target=cold, title="t", holds=[layer])
    turn(), turn()
    assert spec.uuid in host.domains
    operation.delete()
    turn()
    assert spec.uuid not in host.domains


def test_a_copier_is_cleaned_up_unless_an_operation_has_it(
    world: World, host: MemoryHost, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryDriver, "end_copy", lambda driver, job: None)  # the reconciler's, which does not work
    spec, cold = copier(world, host), world.machines["cold"]
    source = cold.boot_volume.layer.file_name
    layer = Layer.objects.create(pk=spec.uuid, pool=world.host.default_pool, size_gib=1)
    turn(), turn()
    card = Drift.objects.unscoped("test").select_related("host").get(kind="domain_without_vm")
    assert "both would write" not in card.detail
    running = operations.submit(WORKFLOWS[Action.START], actor=SYSTEM, target=cold, title="t", holds=[layer])
    assert _ended(actor_for(world.people["admin"]), card) == "failed"
    assert spec.uuid in host.domains
    running.delete()
    assert _ended(actor_for(world.people["admin"]), card) == "succeeded"
    assert spec.uuid not in host.domains
    assert source in [name for _, name in host.volumes]


def _ended(actor: object, card: Drift) -> str:
    operation = resolve(actor=actor, drift=card, resolution=Resolution.CLEAN_UP)  # type: ignore[arg-type]
    assert operation is not None
    engine.run(operation.pk)
    operation.refresh_from_db()
    return str(operation.state)


def test_addresses_uploads_and_claims_are_removed(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    host.dhcp_hosts["berth"]["52:54:00:00:00:99"] = "10.75.9.9"
    assert act("clean-up") == "succeeded"
    host.unfinished.add(("berth", OURS))
    assert act("clean-up") == "succeeded"
    claim(world.acme.pk, uuid4())
    assert act("clean-up") == "succeeded"
    assert all_is_well(turn)


def test_what_is_not_ours_is_never_removed(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    host.volumes["berth", "backup-of-the-admin.tar"] = volume("backup-of-the-admin.tar")
    with pytest.raises(Conflict, match="not one that Berth gives"):
        act("clean-up")
    host.volumes.pop(("berth", "backup-of-the-admin.tar"))
    turn()
    spec = guest("somebody-elses")
    host.domains[spec.uuid] = (spec, PowerState.RUNNING)
    for resolution in ("clean-up", "adopt", "restore"):
        with pytest.raises(Conflict):
            act(resolution)
    assert spec.uuid in host.domains


def test_a_volume_that_found_an_owner_meanwhile_stays(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    id = uuid4()
    host.volumes["berth", f"{id}.qcow2"] = volume(f"{id}.qcow2")
    turn(), turn()
    card = Drift.objects.unscoped("test").select_related("host").get()
    resolve(actor=actor_for(world.people["admin"]), drift=card, resolution=Resolution.CLEAN_UP)
    Layer.objects.create(pk=id, pool=world.host.default_pool, size_gib=1)
    (operation,) = work()
    assert (operation.state, operation.error["code"]) == ("failed", "has_an_owner")
    assert ("berth", f"{id}.qcow2") in host.volumes


def test_a_volume_that_another_stands_on_stays(world: World, host: MemoryHost, turn: Turn, work: Work) -> None:
    host.volumes["berth", OURS] = volume(OURS)
    turn(), turn()
    card = Drift.objects.unscoped("test").select_related("host").get()
    resolve(actor=actor_for(world.people["admin"]), drift=card, resolution=Resolution.CLEAN_UP)
    name = world.machines["web"].boot_volume.layer.file_name
    host.volumes["berth", name] = replace(host.volumes["berth", name], backing=OURS)
    (operation,) = work()
    assert (operation.state, operation.error["code"]) == ("failed", "has_an_owner")
    assert ("berth", OURS) in host.volumes
    assert turn() == []


# -- ignore, and who may ---------------------------------------------------------------------------------------------


def test_ignore_and_reopen(world: World, host: MemoryHost, act: Act, turn: Turn) -> None:
    host.volumes["berth", OURS] = volume(OURS)
    assert act("ignore") == ""
    assert turn() == []
    with pytest.raises(Conflict):
        act("ignore")
    act("reopen")
    assert turn() == ["volume_without_owner"]
    kinds = Event.objects.unscoped("test").filter(target_type="drift").values_list("kind", flat=True)
    assert sorted(kinds) == ["drift.found", "drift.state-changed", "drift.state-changed"]


@pytest.mark.parametrize("person", ["owner", "auditor"])
def test_only_administrators_resolve(world: World, host: MemoryHost, act: Callable[..., str], person: str) -> None:
    host.volumes["berth", OURS] = volume(OURS)
    with pytest.raises(Forbidden):
        act("ignore", person)


def test_what_an_operation_works_on_is_not_resolved_beside_it(world: World, host: MemoryHost, act: Act) -> None:
    host.domains.pop(world.machines["web"].pk)
    facts = Facts("undefined_outside", busy_with="Reboot web")
    assert "Reboot web" in verdict(Resolution.RESTORE, facts).reason
    assert verdict(Resolution.IGNORE, facts).allowed


def test_what_is_resolved_is_done(world: World) -> None:
    facts = Facts("undefined_outside", state="resolved")
    assert not any(verdict(resolution, facts).allowed for resolution in Resolution)
