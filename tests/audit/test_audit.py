"""The audit: nothing where all is well, and each lie by its name."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver import errors, memory
from hosts.driver.memory import MemoryHost
from hosts.driver.types import Accelerator, DiskSpec, DomainSpec, Inventory, NicSpec, PowerState, VolumeFacts
from portal.operations.models import Operation
from portal.quotas.models import Account, Claim
from tests.audit.mirror import mirrored, put
from tests.world import World, make_host
from vms import intake
from vms.addresses import mac_for
from vms.audit import compare
from vms.audit import rows as of_rows
from vms.audit.findings import Finding, Kind
from vms.audit.run import audit
from vms.models import VM, Layer
from vms.workflows.create import forget_machine

pytestmark = pytest.mark.django_db
WEB = "web"


@pytest.fixture
def host(world: World) -> MemoryHost:
    return mirrored(world)


def kinds() -> list[str]:
    return [str(finding.kind) for finding in audit()]


def only(kind: Kind) -> Finding:
    (finding,) = audit()
    assert finding.kind == kind
    return finding


def change(host: MemoryHost, id: UUID, **changes: object) -> None:
    spec, power = host.domains[id]
    host.domains[id] = (replace(spec, **changes), power)  # type: ignore[arg-type]


def change_disk(world: World, host: MemoryHost, **changes: object) -> None:
    key = "berth", world.machines[WEB].boot_volume.layer.file_name
    host.volumes[key] = replace(host.volumes[key], **changes)  # type: ignore[arg-type]


def guest(name: str, **more: object) -> DomainSpec:
    values = {"vcpus": 1, "memory_mib": 64, "accelerator": Accelerator.TCG, "cpu_model": "qemu64", **more}
    return DomainSpec(uuid4(), name, "", **values)  # type: ignore[arg-type]


def volume(name: str) -> VolumeFacts:
    return VolumeFacts(name, f"/pool/{name}", "qcow2", 1, 1)


def test_nothing_where_all_is_well(world: World, host: MemoryHost) -> None:
    assert audit() == []


Lie = Callable[[World, MemoryHost], object]
LIES: dict[Kind, list[Lie]] = {
    Kind.UNDEFINED_OUTSIDE: [lambda world, host: host.domains.pop(world.machines[WEB].pk)],
    Kind.DEFINITION_CHANGED: [
        lambda world, host: change(host, world.machines[WEB].pk, vcpus=3),
        lambda world, host: change(host, world.machines[WEB].pk, memory_mib=8),
        lambda world, host: change(host, world.machines[WEB].pk, disks=()),
        lambda world, host: change(host, world.machines[WEB].pk, cdroms=()),
        lambda world, host: change(host, world.machines[WEB].pk, nics=()),
    ],
    Kind.DISK_MISSING: [
        lambda world, host: host.volumes.pop(("berth", world.machines[WEB].boot_volume.layer.file_name)),
        lambda world, host: host.volumes.pop(("berth", world.machines[WEB].seed_volume)),
        lambda world, host: host.volumes.pop(("berth", world.image.file_name)),
    ],
    Kind.DISK_CHANGED: [
        lambda world, host: change_disk(world, host, format="raw"),
        lambda world, host: change_disk(world, host, capacity_bytes=512),
    ],
    Kind.DISK_LARGER: [lambda world, host: change_disk(world, host, capacity_bytes=3 << 30)],
    Kind.ADDRESS_MISSING: [
        lambda world, host: host.dhcp_hosts["berth"].pop(world.machines[WEB].nics.get().mac),
        lambda world, host: host.dhcp_hosts["berth"].update({world.machines[WEB].nics.get().mac: "10.75.9.9"}),
    ],
    Kind.DOMAIN_WITHOUT_VM: [
        lambda world, host: host.domains.update({uuid4(): (guest("berth-lost"), PowerState.STOPPED)}),
        lambda world, host: host.domains.update({uuid4(): (guest("renamed", owner="acme"), PowerState.STOPPED)}),
    ],
    Kind.VOLUME_WITHOUT_OWNER: [lambda world, host: host.volumes.update({("berth", "lost"): volume("lost")})],
    Kind.UNFINISHED_VOLUME: [
        lambda world, host: host.unfinished.add(("berth", f"{uuid4()}.qcow2")),
        lambda world, host: host.unfinished.add(("berth", f"image-{'0' * 31}1.qcow2")),
    ],
    Kind.ADDRESS_WITHOUT_OWNER: [
        lambda world, host: host.dhcp_hosts["berth"].update({"52:54:00:00:00:99": "10.75.9.9"})
    ],
    Kind.CLAIM_WITHOUT_VM: [
        lambda world, host: claim(world.acme.pk, uuid4()),
        lambda world, host: claim(world.host.pk, uuid4()),
    ],
    Kind.CLAIM_WRONG: [
        lambda world, host: Claim.objects.filter(holder_id=world.machines[WEB].pk, resource="vms").delete(),
        lambda world, host: Claim.objects.filter(
            holder_id=world.machines[WEB].pk, account=world.host.pk, resource="vcpus"
        ).update(amount=5),
        lambda world, host: claim(world.beta.pk, world.machines[WEB].pk),
    ],
    Kind.VM_WITHOUT_OPERATION: [
        lambda world, host: rows(world, WEB).update(lifecycle="building"),
        lambda world, host: rows(world, WEB).update(lifecycle="deleting"),
    ],
    Kind.OPERATION_STUCK: [lambda world, host: operations(world).update(state="stuck")],
    Kind.OPERATION_ABANDONED: [
        lambda world, host: operations(world).update(created_at=long_ago()),
        lambda world, host: operations(world).update(created_at=long_ago(), state="running", lease_until=long_ago()),
        lambda world, host: operations(world).update(created_at=long_ago(), state="unwinding", not_before=long_ago()),
    ],
    Kind.LAYER_UNNEEDED: [
        lambda world, host: Layer.objects.create(pool=world.host.default_pool, size_gib=1),
        lambda world, host: host.volumes.update({("berth", name := unneeded_file(world)): volume(name)}),
    ],
    Kind.POOL_UNAVAILABLE: [lambda world, host: host.pools.clear()],
    Kind.NETWORK_UNAVAILABLE: [lambda world, host: host.networks.clear()],
    Kind.IMAGE_FILE_WITHOUT_IMAGE: [lambda world, host: forgotten_file()],
    Kind.INTAKE_WITHOUT_OWNER: [lambda world, host: forgotten_import()],
    Kind.IMAGE_WITHOUT_OPERATION: [lambda world, host: world.own_image(state="pending")],
    Kind.HOST_UNREAD: [lambda world, host: host.fail_next("inventory", errors.Unreachable("it is off"))],
}


def unneeded_file(world: World) -> str:
    return Layer.objects.create(pool=world.host.default_pool, size_gib=1).file_name


def forgotten_file() -> None:
    path = Path(settings.IMAGE_DIR) / f"image-{'a' * 32}.qcow2"
    path.touch()
    os.utime(path, (0, 0))


def forgotten_import() -> None:
    id = uuid4()
    intake.prepare(id)
    os.utime(intake.directory(id), (0, 0))


def claim(account: UUID, holder: UUID) -> Claim:
    return Claim.objects.create(account=Account.objects.get(pk=account), holder_id=holder, resource="vcpus", amount=1)


def rows(world: World, name: str):
    return VM.objects.unscoped("test").filter(pk=world.machines[name].pk)


def operations(world: World):
    return Operation.objects.unscoped("test").filter(target_id=world.machines["busy"].pk)


def long_ago():
    return timezone.now() - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("kind", "lie"),
    [pytest.param(kind, lie, id=f"{kind}-{i}") for kind, all in LIES.items() for i, lie in enumerate(all)],
)
def test_each_lie_is_found_once(world: World, host: MemoryHost, kind: Kind, lie: Lie) -> None:
    lie(world, host)
    assert only(kind).detail


def test_every_kind_has_its_test() -> None:
    tested_below = {Kind.DUPLICATE_DOMAIN, Kind.DUPLICATE_ADDRESS, Kind.FOREIGN_DOMAIN, Kind.RUNNING_CHANGED}
    of_the_inbox = {Kind.STARTED_OUTSIDE, Kind.STOPPED_OUTSIDE}
    of_meters = {Kind.METERED_WRONG, Kind.METERED_WITHOUT_RESOURCE}  # tests/billing/test_metering.py
    assert set(LIES) | tested_below | of_the_inbox | of_meters == set(Kind)


def test_what_was_given_to_a_running_machine_alone(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = driver_for(world.host)
    found = driver.inventory(["berth"], "berth")
    domains = tuple(
        replace(domain, running_outline=domain.outline | {"disk vdb /etc/hostname as raw"})
        if domain.uuid == world.machines[WEB].pk
        else domain
        for domain in found.domains
    )
    monkeypatch.setattr(driver, "inventory", lambda pools, network: replace(found, domains=domains))
    assert only(Kind.RUNNING_CHANGED).detail == "of web as it runs, disk vdb /etc/hostname as raw was added"


@pytest.mark.parametrize(("capacity", "size"), [(3 << 30, {"disk_gib": 3}), ((3 << 30) + 512, None)])
def test_a_disk_that_is_larger_than_its_row(
    world: World, host: MemoryHost, capacity: int, size: dict[str, int] | None
) -> None:
    """As after a resize of the time since an older backup; whole GiB can be taken over."""
    change_disk(world, host, capacity_bytes=capacity)
    finding = only(Kind.DISK_LARGER)
    assert (finding.vm_id, finding.evidence["size"]) == (world.machines[WEB].pk, size)


def test_two_guests_with_one_address(world: World, host: MemoryHost) -> None:
    """As after an older backup was restored, when a new machine got what one made since runs on with."""
    nic = world.machines[WEB].nics.get()
    twin = guest("somebody-elses", nics=(NicSpec("berth", nic.mac.upper(), nic.ip),))
    host.domains[twin.uuid] = (twin, PowerState.RUNNING)
    finding = only(Kind.DUPLICATE_ADDRESS)
    assert (finding.object, finding.vm_id) == (nic.mac, world.machines[WEB].pk)
    assert finding.detail.startswith("somebody-elses (running) and web (running)")
    host.domains.pop(world.machines[WEB].pk)
    assert kinds() == ["undefined_outside"], "what others do among themselves is not Berth's matter"


def test_uploads_are_judged_but_for_what_operations_may_be_bringing(world: World, host: MemoryHost) -> None:
    """One clone that takes hours hides nothing else of its host."""
    busy, lost = world.machines["busy"], f"{uuid4()}.qcow2"
    operations(world).update(lane=str(world.host.pk))
    theirs = (busy.boot_volume.layer.file_name, busy.seed_volume, world.image.file_name)
    for name in (*theirs, lost):
        host.volumes.pop(("berth", name), None)
        host.unfinished.add(("berth", name))
    assert {finding.object for finding in audit() if finding.kind == Kind.UNFINISHED_VOLUME} == {lost}
    operations(world).update(state="failed", finished_at=long_ago())
    assert {finding.object for finding in audit() if finding.kind == Kind.UNFINISHED_VOLUME} == {*theirs, lost}


def test_a_domain_on_two_hosts(world: World, host: MemoryHost) -> None:
    two = make_host("two", uri=f"memory://{uuid4()}")
    driver_for(two).ensure_pool("berth", Path("/pool"))
    driver_for(two).ensure_network("berth", ["10.76.0.0/16"])
    memory.host(two.uri).domains[world.machines[WEB].pk] = host.domains[world.machines[WEB].pk]
    finding = only(Kind.DUPLICATE_DOMAIN)
    assert (finding.host, finding.vm_id) == ("two", world.machines[WEB].pk)


def test_what_belongs_to_others_is_no_finding(world: World, host: MemoryHost) -> None:
    elsewhere = guest("berth-of-another-installation", disks=(DiskSpec("their-pool", "x", "vda"),))
    for spec in (guest("somebody-elses"), elsewhere):
        host.domains[spec.uuid] = (spec, PowerState.RUNNING)
    host.volumes["their-pool", "x"] = volume("x")
    for name in (f"berth-copy-{uuid4()}", f"berth-absorb-{uuid4()}", "berth-preflight-0123abcd"):
        helper = guest(name, disks=(DiskSpec("their-pool", "x", "vda"),))
        host.domains[helper.uuid] = (helper, PowerState.PAUSED)
    assert audit() == []
    (kind,) = {str(found.kind) for found in compare.findings(*_read(world))}
    assert kind == "foreign_domain"
    told = {found.object for found in compare.findings(*_read(world))}
    assert told == {"somebody-elses", "berth-of-another-installation"}, "what is gone in a moment is no card"


def _read(world: World) -> tuple[of_rows.HostRow, Inventory, of_rows.Rows]:
    found = of_rows.load(of_rows.note())
    return found.hosts[0], driver_for(world.host).inventory(["berth"], "berth"), found


def test_what_is_kept_for_later_is_no_finding(world: World, host: MemoryHost) -> None:
    ip = "10.75.7.7"
    host.dhcp_hosts["berth"][mac_for(world.host.cluster_id, ip)] = ip
    host.volumes["berth", "image-before"] = volume("image-before")
    host.volumes["berth", "clone"] = replace(volume("clone"), backing="image-before")
    assert [finding.object for finding in audit()] == ["clone"], "the image under a disk has an owner: the disk"


def test_what_an_operation_works_on_is_no_finding(world: World, host: MemoryHost) -> None:
    busy = world.machines["busy"]
    host.domains.pop(busy.pk)
    host.volumes.pop(("berth", busy.boot_volume.layer.file_name))
    host.dhcp_hosts["berth"].pop(busy.nics.get().mac)
    Claim.objects.filter(holder_id=busy.pk).update(amount=7)
    rows(world, "busy").update(lifecycle="building")
    assert audit() == []
    operations(world).update(state="failed", finished_at=long_ago())
    assert sorted(set(kinds())) == ["claim_wrong", "vm_without_operation"]


def test_what_ends_while_the_hosts_are_read_is_no_finding(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine is deleted between the reading of its host and that of the rows."""
    load, busy = of_rows.load, world.machines["busy"]

    def delete_first(before: of_rows.Before) -> of_rows.Rows:
        operations(world).update(state="succeeded", finished_at=timezone.now())
        forget_machine(busy.pk)
        return load(before)

    monkeypatch.setattr(of_rows, "load", delete_first)
    assert audit() == []
    monkeypatch.undo()
    Operation.objects.unscoped("test").update(finished_at=long_ago())
    assert sorted(kinds()) == ["domain_without_vm", *2 * ["volume_without_owner"]]


def test_of_a_host_that_cannot_be_read_nothing_else_is_said(world: World, host: MemoryHost) -> None:
    host.domains.clear()
    host.fail_next("inventory", errors.Timeout("no answer"))
    finding = only(Kind.HOST_UNREAD)
    assert (finding.host, finding.detail) == ("one", "no answer")


def test_a_host_that_answers_nonsense_hides_no_other(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = make_host("two", uri=f"memory://{uuid4()}")
    monkeypatch.setattr(driver_for(two), "inventory", lambda pools, network: int("nonsense"))
    host.domains.pop(world.machines[WEB].pk)
    assert sorted(kinds()) == ["host_unread", "undefined_outside"]


def test_a_host_whose_answer_cannot_be_compared_hides_no_other(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, findings = make_host("two", uri=f"memory://{uuid4()}"), compare.findings
    monkeypatch.setattr(
        compare, "findings", lambda row, *more: int("nonsense") if row.id == two.pk else findings(row, *more)
    )
    host.domains.pop(world.machines[WEB].pk)
    assert sorted(kinds()) == ["host_unread", "undefined_outside"]


def test_a_failed_delete_may_have_left_anything(world: World, host: MemoryHost) -> None:
    host.domains.pop(world.machines[WEB].pk)
    rows(world, WEB).update(lifecycle="error")
    assert audit() == []


def test_a_host_that_was_never_checked_needs_no_pool(world: World, host: MemoryHost) -> None:
    make_host("new", uri=f"memory://{uuid4()}", checked_at=None)
    assert audit() == []


def test_the_command_says_that_all_is_well(world: World, host: MemoryHost) -> None:
    out = io.StringIO()
    call_command("audit", stdout=out)
    assert out.getvalue() == "All hosts have what the database says.\n"


def test_the_command_lists_and_fails(world: World, host: MemoryHost) -> None:
    host.domains.pop(world.machines[WEB].pk)
    for arguments in ([], ["--json"]):
        out = io.StringIO()
        with pytest.raises(SystemExit) as end:
            call_command("audit", *arguments, stdout=out)
        assert end.value.code == 1
    (finding,) = json.loads(out.getvalue())
    assert finding["kind"] == "undefined_outside"
    assert finding["host"] == "one"
    assert finding["object"] == f"berth-{world.machines[WEB].pk}"
    assert set(finding) == {"kind", "host", "object", "detail"}


def test_it_takes_no_more_queries_for_more_machines(
    world: World, host: MemoryHost, django_assert_max_num_queries: Callable[..., object]
) -> None:
    for number in range(5):
        put(world.vm(f"more-{number}"), world.host)
    with django_assert_max_num_queries(50):  # type: ignore[attr-defined]
        assert audit() == []
