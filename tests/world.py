"""A small world: two tenants, the people in them, the provider's staff, and what there is to run.

    acme    owner, member, viewer; machines `web` (running), `cold` (stopped), `paused`, and `busy` with an operation
    beta    foreign, its owner; a machine that is called `web` as well
    staff   admin, auditor

The host is a row that is ready and has room; nothing answers behind it, and no worker runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from hosts.models import BackupTarget, Cluster, FenceAgent, Host, StorageClass, StoragePool, TargetReach
from hosts.services.clusters import default_cluster
from hosts.services.pools import add_default_pool
from portal.accounts import tokens
from portal.accounts.models import ApiToken, ProviderRole, SshKey, User
from portal.accounts.services import add_key
from portal.billing.models import Budget, PriceBook
from portal.billing.services import NewPrice, create_book
from portal.events import feed_order
from portal.events.models import FeedEntry
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.quotas.models import IncreaseRequest
from portal.tenancy.gate import SYSTEM, actor_for
from portal.tenancy.models import Invitation, Tenant
from portal.tenancy.roles import Role
from portal.tenancy.services import create_tenant, set_member
from portal.webhooks.models import Delivery, Webhook
from vms import intake
from vms.addresses import give_address
from vms.models import (
    VM,
    AffinityGroup,
    Backup,
    BackupDisk,
    Drift,
    Flavor,
    Image,
    ImageCopy,
    ImageUpload,
    Layer,
    Lifecycle,
    Plan,
    Power,
    Schedule,
    Snapshot,
    SnapshotDisk,
    Volume,
)
from vms.planning import services as planning
from vms.states import Action
from vms.workflows.create import forget_machine
from vms.workflows.power import WORKFLOWS

GIB = 1024**3
PASSWORD = "correct horse battery"
PEOPLE = ("owner", "member", "viewer", "foreign", "admin", "auditor")
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILnhB6cmz7dz6OlUnNsjzcIvqMBhbJHmGYnZR5Vsq32+ me@laptop"


class Caller:
    """The API as a program calls it. Answers are Django's test responses; `json()` reads problem+json as well."""

    def __init__(self, token: str = "") -> None:
        self._client = Client(raise_request_exception=False)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """`body` is JSON's value, or bytes that go out as they are."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        content_type = headers.pop("content_type", "application/json")
        all_headers = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        path = path if path.startswith("/") else f"/api/v1/{path}"
        return self._client.generic(method, path, raw, content_type=content_type, headers=all_headers)

    def get(self, path: str, **headers: str) -> Any:
        return self.request("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.request("POST", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.request("PUT", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.request("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.request("DELETE", path, **headers)


@dataclass
class World:
    people: dict[str, User]
    acme: Tenant
    beta: Tenant
    host: Host
    flavor: Flavor
    large: Flavor
    image: Image
    machines: dict[str, VM] = field(default_factory=dict)

    # -- people ------------------------------------------------------------------------------------------------------

    def token(self, person: str, *, scopes: list[str] | None = None, **more: Any) -> tuple[ApiToken, str]:
        """A token of theirs, with all of their rights unless scopes are given, and its text."""
        scopes = ["*"] if scopes is None else scopes
        return tokens.issue(user=self.people[person], name="test", scopes=scopes, **more)

    def caller(self, person: str = "", **token: Any) -> Caller:
        return Caller(self.token(person, **token)[1] if person else "")

    def suspended(self) -> Tenant:
        """Acme, from now on."""
        self.acme.suspended_at, self.acme.suspended_for = timezone.now(), "unpaid"
        self.acme.save()
        return self.acme

    def closed(self, days: int = 30) -> Tenant:
        """Acme, from now on; its end is so many days away."""
        self.acme.closed_at, self.acme.purge_at = timezone.now(), timezone.now() + timedelta(days=days)
        self.acme.save()
        return self.acme

    def session(self, person: str) -> UserSession:
        """A browser in which they are signed in."""
        store = SessionStore()
        user = self.people[person]
        store.update({SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0]})
        store[HASH_SESSION_KEY] = user.get_session_auth_hash()
        store.create()
        return UserSession.objects.create(user=user, ip="192.0.2.1", session_key=store.session_key, user_agent="Opera")

    def invitation(self, role: str = "member", **more: Any) -> Invitation:
        """Into acme, by its owner."""
        values = {"email": "new@example.org", "expires_at": timezone.now() + timedelta(days=7), **more}
        return Invitation.objects.create(tenant=self.acme, role=role, invited_by=self.people["owner"], **values)

    def request(self, **more: Any) -> IncreaseRequest:
        """Of acme's, for 40 vCPUs in the next ten days; it waits, and there is one only."""
        if found := IncreaseRequest.objects.unscoped("test").filter(tenant=self.acme, state="pending").first():
            return found
        values = {"wanted": {"vcpus": 40}, "reason": "Black Friday", "asked_by": "member"}
        values |= {"ends_at": timezone.now() + timedelta(days=10), **more}
        return IncreaseRequest.objects.create(tenant=self.acme, **values)

    def key_of(self, person: str) -> SshKey:
        return SshKey.objects.filter(user=self.people[person]).first() or add_key(
            user=self.people[person], public_key=SSH_KEY
        )

    # -- machines ----------------------------------------------------------------------------------------------------

    @transaction.atomic
    def vm(self, name: str, *, tenant: Tenant | None = None, power: Power = Power.RUNNING, **more: Any) -> VM:
        """A machine that was built, with its disk and its address; it holds what it takes."""
        image = more.pop("image", self.image)
        vm = VM(
            tenant=tenant or self.acme,
            name=name,
            flavor=self.flavor,
            image=image,
            host=self.host,
            vcpus=self.flavor.vcpus,
            memory_mib=self.flavor.memory_mib,
            disk_gib=self.flavor.disk_gib,
            desired_power=power,
            observed_power=power,
            observed_since=timezone.now(),
            created_by="owner",
            **{"lifecycle": Lifecycle.READY, **more},
        )
        vm.save(force_insert=True)
        layer = Layer.objects.create(pool=self.host.default_pool, image=image, size_gib=vm.disk_gib)
        boot = {"name": "boot", "target": "vda", "is_boot": True}
        Volume.objects.create(tenant=vm.tenant, vm=vm, layer=layer, size_gib=vm.disk_gib, **boot)
        give_address(vm)
        ledger.hold(vm.tenant_id, vm.pk, {"vms": 1, **vm.wanted}, {})
        ledger.hold(self.host.pk, vm.pk, vm.wanted, {})
        return vm

    def binned(self, name: str = "old", **more: Any) -> VM:
        """A machine that its owner deleted an hour ago, and that ran until then."""
        hour = timedelta(hours=1)
        times = {"binned_at": timezone.now() - hour, "purge_at": timezone.now() + 23 * hour}
        vm = self.vm(name, lifecycle=Lifecycle.DELETING, **times, **more)
        VM.objects.unscoped("test").filter(pk=vm.pk).update(observed_power=Power.STOPPED)
        return vm

    def leased(self, name: str = "web", days: float = 10, **more: Any) -> VM:
        """That machine, whose lease ends in so many days."""
        vm = self.machines[name]
        values = {"expires_at": timezone.now() + timedelta(days=days), **more}
        VM.objects.unscoped("test").filter(pk=vm.pk).update(**values)
        vm.refresh_from_db()
        return vm

    def plan(self, action: str = "vm.create", target: str = "", **body: Any) -> Plan:
        """The owner's, of a new machine unless told otherwise."""
        new = {"name": "planned", "image": "tiny", "flavor": "small", "tenant": "acme"}
        actor = actor_for(self.people["owner"])
        return planning.plan(actor=actor, action=action, target=target, body=body or new)

    def schedule(self, name: str = "web", **more: Any) -> Schedule:
        """Daily snapshots at 03:00 UTC, of which three are kept."""
        vm, due_at = self.machines[name], timezone.now() + timedelta(hours=5)
        values = {"kind": "snapshot", "every": "daily", "at": time(3), "keep_last": 3, "created_by": "owner", **more}
        return Schedule.objects.create(tenant=vm.tenant, vm=vm, due_at=due_at, next_at=due_at, **values)

    @transaction.atomic
    def volume(self, name: str = "data", *, vm: VM | None = None, size_gib: int = 2) -> Volume:
        """One of acme's, attached where a machine is named; the same one for the same name."""
        rows = Volume.objects.unscoped("test").filter(name=name, tenant=self.acme)
        if found := rows.first():
            return found
        layer = Layer.objects.create(pool=self.host.default_pool, size_gib=size_gib)
        target = f"vd{'abcdefgh'[vm.volumes.count()]}" if vm else ""
        volume = Volume(tenant=self.acme, name=name, layer=layer, size_gib=size_gib, vm=vm, target=target)
        volume.save(force_insert=True)
        for account in (self.acme.pk, self.host.pk):
            ledger.hold(account, volume.pk, volume.wanted, {})
        return volume

    def pool(self, name: str = "fast", **limits: int) -> StoragePool:
        """A pool of the host beside its default one, in a class of its own with the same name."""
        storage_class = StorageClass.objects.get_or_create(slug=name, defaults={"name": name.capitalize(), **limits})[0]
        size = {"capacity_bytes": 512 * GIB, "available_bytes": 512 * GIB, "checked_at": timezone.now()}
        values = {"storage_class": storage_class, "path": f"/srv/{name}", **size}
        return StoragePool.objects.get_or_create(host=self.host, name=name, defaults=values)[0]

    @transaction.atomic
    def operation(self, vm: VM) -> Operation:
        """A reboot that was accepted and waits for a worker."""
        return operations.submit(WORKFLOWS[Action.REBOOT], actor=SYSTEM, target=vm, title=f"Reboot {vm.name}")

    @transaction.atomic
    @transaction.atomic
    def neighbour(self) -> Host:
        """Another host of the cluster; the same one each time."""
        return Host.objects.filter(name="two").first() or make_host("two")

    def snapshot(self, name: str = "fresh", machine: str = "web", **more: Any) -> Snapshot:
        """One of a machine, which writes to a layer of its own since."""
        vm = self.machines[machine]
        found = Snapshot.objects.unscoped("test").filter(vm=vm, name=name).first()
        if found is not None:
            return found
        vm.refresh_from_db(from_queryset=VM.objects.unscoped("test"))
        values = {"power": vm.observed_power, "vcpus": vm.vcpus, "memory_mib": vm.memory_mib, "state": "ready"}
        values |= {"tenant": vm.tenant, "parent": vm.current_snapshot, "size_gib": 1, "created_by": "owner"}
        made = Snapshot.objects.create(vm=vm, name=name, taken_at=timezone.now(), **{**values, **more})
        for volume in Volume.objects.unscoped("test").filter(vm=vm).select_related("layer__pool"):
            SnapshotDisk.objects.create(snapshot=made, volume=volume, layer=volume.layer, size_gib=volume.size_gib)
            pool, parent = volume.layer.pool, volume.layer
            volume.layer = Layer.objects.create(pool=pool, parent=parent, size_gib=volume.size_gib)
            volume.save(update_fields=["layer"])
        VM.objects.unscoped("test").filter(pk=vm.pk).update(current_snapshot=made)
        ledger.hold(vm.tenant_id, made.pk, made.wanted, {})
        ledger.hold(vm.host_id, made.pk, {"disk_gib": 1}, {})
        return made

    def own_image(self, **more: Any) -> Image:
        """Of acme's own, which nobody else sees and no machine stands on."""
        found = Image.objects.unscoped("test").filter(slug="own").first()
        if found is None:
            found = make_image("own", self.acme, **{"sha256": "1" * 64, **more})
            ledger.hold(self.acme.pk, found.pk, found.wanted, {})
        return found

    def copy(self) -> ImageCopy:
        """Of acme's own image, on the host."""
        values = {"size_bytes": 40 * 1024**2, "used_at": timezone.now()}
        sha256 = self.own_image().sha256
        return ImageCopy.objects.get_or_create(pool=self.host.default_pool, sha256=sha256, defaults=values)[0]

    def upload(self, rest: str = "the rest") -> ImageUpload:
        """A file of acme's, of which so much is still to be sent."""
        sent = b"the start"
        upload = ImageUpload.objects.create(
            tenant=self.acme,
            name="sent",
            format="raw",
            size_bytes=len(sent) + len(rest),
            created_by="owner",
            expires_at=timezone.now() + timedelta(hours=1),
        )
        with intake.writing(upload.pk) as file:
            file.write(sent)
        return upload

    def group(self, name: str = "quorum", policy: str = "apart", *members: str) -> AffinityGroup:
        """Of acme's, with these of its machines."""
        group = AffinityGroup.objects.unscoped("test").get_or_create(
            name=name, tenant=self.acme, defaults={"policy": policy}
        )[0]
        group.members.set([self.machines[member] for member in members])
        return group

    def other_host(self, name: str = "spare") -> Host:
        """One without machines."""
        return Host.objects.filter(name=name).first() or make_host(name)

    def silent_host(self, **more: Any) -> Host:
        """One that does not answer, with a fence agent."""
        found = Host.objects.filter(name="silent").first() or make_host("silent", seen_at=None, **more)
        FenceAgent.objects.get_or_create(host=found, defaults={"agent": "fence_lab", "options": {"plug": "lab/1"}})
        return found

    def cluster(self, slug: str = "empty", **more: Any) -> Cluster:
        """One without hosts."""
        return Cluster.objects.get_or_create(slug=slug, defaults={"name": slug.capitalize(), **more})[0]

    def target(self, slug: str = "nas") -> BackupTarget:
        """A backup target that the host reaches."""
        values = {"name": slug.upper(), "path": f"/srv/{slug}", "is_default": not BackupTarget.objects.exists()}
        target, _ = BackupTarget.objects.get_or_create(slug=slug, defaults=values)
        seen = {"is_reached": True, "capacity_bytes": 100 * GIB, "available_bytes": 60 * GIB}
        TargetReach.objects.get_or_create(
            target=target, host=self.host, defaults={**seen, "checked_at": timezone.now()}
        )
        return target

    @transaction.atomic
    def backup(self, name: str = "web", parent: Backup | None = None, **more: Any) -> Backup:
        """A complete backup of a machine, of what changed since `parent` where there is one; it holds what it takes."""
        vm = self.machines[name]
        values = {
            "tenant": vm.tenant,
            "vm": vm,
            "source_id": vm.pk,
            "vm_name": vm.name,
            "target": self.target(),
            "parent": parent,
            "kind": "incremental" if parent else "full",
            "state": "ready",
            "consistency": "crash",
            "counts_changes": True,
            "size_mib": 40,
            "bytes_read": 40 * 1024**2,
            "taken_at": timezone.now(),
            "image": vm.image,
            "flavor": vm.flavor,
            "machine": {"vcpus": 1, "memory_mib": 128, "ssh_keys": [], "user_data": ""},
            "created_by": "owner",
        }
        backup = Backup(**{**values, **more})
        backup.save(force_insert=True)
        below = parent.disks.get() if parent else None
        boot = {"target": "vda", "name": "boot", "is_boot": True, "size_gib": 1, "volume_id": vm.boot_volume.pk}
        BackupDisk.objects.create(backup=backup, parent=below, size_bytes=40 * 1024**2, sha256="0" * 64, **boot)
        ledger.hold(vm.tenant_id, backup.pk, backup.wanted, {})
        return backup

    def prices(self) -> PriceBook:
        """Acme's own, which begin in some centuries."""
        found = PriceBook.objects.unscoped("test").filter(tenant=self.acme).first()
        if found is not None:
            return found
        since = datetime(2999, 1, 1, tzinfo=UTC)
        prices = [NewPrice("vcpu", Decimal("0.01"))]
        return create_book(actor=SYSTEM, name="Acme", currency="EUR", tenant=self.acme, since=since, prices=prices)

    def budget(self) -> Budget:
        """Of acme's: 100 EUR a month."""
        values = {"amount": 100, "currency": "EUR"}
        return Budget.objects.unscoped("test").get_or_create(tenant=self.acme, defaults=values)[0]

    def webhook(self, **more: Any) -> Webhook:
        """Of acme's; the same one for the same address."""
        end = feed_order.give_places()
        values = {"name": "billing", "created_by": "owner", "cursor": end, "sent": end, **more}
        key = {"tenant": values.pop("tenant", self.acme), "url": values.pop("url", "https://hooks.example.org/berth")}
        return Webhook.objects.unscoped("test").get_or_create(**key, defaults=values)[0]

    def delivery(self) -> Delivery:
        """Of that webhook: an event that it did not take."""
        webhook = self.webhook()
        entry = FeedEntry.objects.unscoped("test").filter(tenant=self.acme).exclude(sequence=None).earliest("sequence")
        values = {"sequence": entry.sequence, "previous": 0, "state": "failed", "at": timezone.now()}
        values |= {"status": 500, "detail": "It answered 500.", "milliseconds": 12}
        return Delivery.objects.get_or_create(webhook=webhook, event=entry.event, defaults=values)[0]

    def drift(self, **more: Any) -> Drift:
        """A machine that was started by hand, seen a minute ago and still so."""
        vm = self.machines["cold"]
        values = {
            "host": self.host,
            "kind": "started_outside",
            "object": vm.domain_name,
            "vm": vm,
            "detail": f"{vm.name} is running: it was started on the host",
            "evidence": {"is": {"power": "running"}, "should": {"power": "stopped"}},
            "first_seen": timezone.now(),
            "last_seen": timezone.now(),
        }
        values = {**values, **more}
        key = {name: values.pop(name) for name in ("host", "kind", "object")}
        return Drift.objects.unscoped("test").get_or_create(**key, defaults=values)[0]


def forget_machines(machines: QuerySet[VM]) -> None:
    """Machines that are gone as after a delete, with all that they held."""
    for id in list(machines.values_list("pk", flat=True)):
        forget_machine(id)


def make_world() -> World:
    people = {name: User.objects.create_user(name, password=PASSWORD) for name in PEOPLE}
    for name, role in (("admin", ProviderRole.ADMIN), ("auditor", ProviderRole.AUDITOR)):
        people[name].provider_role = role
        people[name].save()
    acme, beta = (create_tenant(actor=SYSTEM, name=name.capitalize(), slug=name) for name in ("acme", "beta"))
    acme.external_id = "crm:1"
    acme.save(update_fields=["external_id"])
    for tenant, name, role in (
        (acme, "owner", Role.OWNER),
        (acme, "member", Role.MEMBER),
        (acme, "viewer", Role.VIEWER),
        (beta, "foreign", Role.OWNER),
    ):
        set_member(actor=SYSTEM, tenant=tenant, username=name, role=role)
    world = World(people, acme, beta, make_host(), *_flavors(), make_image())
    _machines(world)
    return world


def make_host(name: str = "one", **more: Any) -> Host:
    """A host that is ready: 64 CPUs, 512 GiB of memory, 4 TiB of disk, a network of 65,000 addresses."""
    values = {
        "uri": f"qemu+ssh://{name}/system",
        "pool_name": "berth",
        "pool_path": "/var/lib/libvirt/images/berth",
        "network_name": "berth",
        "hostname": f"{name}.example",
        "cpus": 64,
        "memory_mib": 512 * 1024,
        "accelerator": "qemu",
        "pools": [{"name": "berth", "capacity_bytes": 4096 * GIB, "free_bytes": 4096 * GIB}],
        "network_cidr": "10.75.0.0/16",
        "checked_at": timezone.now(),
        "seen_at": timezone.now(),
    }
    values = {**values, **more}
    host = Host.objects.create(name=name, **{"cluster": default_cluster(), **values})
    Cluster.objects.filter(pk=host.cluster_id, network_cidr="").update(network_cidr=host.network_cidr)
    ledger.open_account(host.pk)
    pool = add_default_pool(host)
    size = values["pools"][0]["capacity_bytes"] if values["pools"] else 0
    StoragePool.objects.filter(pk=pool.pk).update(capacity_bytes=size, available_bytes=size, checked_at=timezone.now())
    return host


def make_image(slug: str = "tiny", tenant: Tenant | None = None, **more: Any) -> Image:
    values = {
        "visibility": "private" if tenant else "public",
        "os": "Linux",
        "default_user": "tiny",
        "size_bytes": 40 * 1024**2,
        "virtual_size_bytes": 256 * 1024**2,
        "sha256": "0" * 64,
    }
    return Image.objects.create(slug=slug, name=slug, tenant=tenant, **{**values, **more})


def _flavors() -> tuple[Flavor, Flavor]:
    small = Flavor.objects.create(slug="small", name="Small", vcpus=1, memory_mib=128, disk_gib=1)
    return small, Flavor.objects.create(slug="large", name="Large", vcpus=2, memory_mib=256, disk_gib=2)


def _machines(world: World) -> None:
    world.machines = {
        "web": world.vm("web", user_data="#cloud-config\npassword: canary-of-user-data"),
        "cold": world.vm("cold", power=Power.STOPPED),
        "paused": world.vm("paused", power=Power.PAUSED),
        "busy": world.vm("busy"),
        "foreign": world.vm("web", tenant=world.beta),
    }
    world.operation(world.machines["busy"])
