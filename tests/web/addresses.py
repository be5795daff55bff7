"""Who gets what at each page: the authorization matrix of the browser's side, by the names of the addresses.

A page that is not here fails tests/web/test_access.py. Statuses stand in the order of PERSONAS; 302 for `anonymous` is
the way to the sign-in page. A POST that was accepted answers 302 as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone

from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.tenancy.invitations import text_of
from portal.tenancy.models import Membership
from tests.keys import ssh_access
from tests.world import SSH_KEY, World

HOOK = "https://hooks.example.org/other"
PERSONAS = ("anonymous", "viewer", "member", "owner", "foreign", "admin", "auditor")


@dataclass(frozen=True)
class Page:
    """`args` fill the address in with what belongs to acme; `posts` has what is sent, with the statuses."""

    args: Callable[[World], list[Any]] = lambda world: []
    get: str = ""
    posts: Mapping[str, tuple[str, Callable[[World], dict[str, Any]]]] = field(default_factory=dict)

    def url(self, name: str, world: World) -> str:
        return reverse(name, args=self.args(world))


#              an  vi  me  ow  fo  ad  au
SIGNED_IN = "  302 200 200 200 200 200 200"
ACME_READS = " 302 200 200 200 404 200 200"
ACME_WRITES = "302 403 200 200 404 200 403"
STAFF = "      302 403 403 403 403 200 200"
ADMINS = "     302 403 403 403 403 200 403"
PLANS = "      302 403 200 200 404 200 403"
MEMBERS_DO = " 302 403 302 302 404 302 403"
OWNERS_DO = "  302 403 403 302 404 302 403"
ADMINS_DO = "  302 403 403 403 403 302 403"
ADMINS_IN = "  302 403 403 403 404 302 403"
MAKE_OWN = "   302 201 201 201 201 201 201"
EVERYBODY = "  302 302 302 302 302 302 302"
OWN = "        302 404 404 302 404 404 404"


CLUSTER = {"spread": "pack", "failure_reserve": "1", "failover": "automatic", "failover_after": "60"}


def acme(world: World) -> list[Any]:
    return ["acme"]


def machine(name: str, *tail: str) -> Callable[[World], list[Any]]:
    return lambda world: ["acme", world.machines[name].pk, *tail]


def schedule(world: World) -> list[Any]:
    made = world.schedule()
    return ["acme", made.vm_id, made.pk]


def webhook(*tail: str) -> Callable[[World], list[Any]]:
    return lambda world: [world.webhook().pk, *tail]


def sent(world: World) -> list[Any]:
    return [world.webhook().pk, world.delivery().pk]


def binned(world: World) -> list[Any]:
    return ["acme", world.binned().pk]


def busy(world: World) -> list[Any]:
    operation = active_on("vm", world.machines["busy"].pk)
    assert operation is not None
    return [operation.pk]


def stuck(world: World) -> list[Any]:
    (id,) = busy(world)
    Operation.objects.unscoped("test").filter(pk=id).update(state="stuck")
    return [id]


def snapshot(world: World) -> list[Any]:
    return ["acme", world.snapshot().pk]


def backup(world: World) -> list[Any]:
    return ["acme", world.backup().pk]


def backed_up(world: World) -> list[Any]:
    return ["acme", world.backup().vm_id]


def target(world: World) -> list[Any]:
    return [world.target().slug]


def removable(world: World) -> list[Any]:
    return ["acme", Membership.objects.get(tenant=world.acme, user=world.people["viewer"]).pk]


IMAGE_PROPERTIES = {"name": "own", "os": "Debian 12", "firmware": "uefi", "min_memory_mib": "128", "min_disk_gib": "2"}


def own_image(world: World) -> list[Any]:
    return ["acme", world.own_image().pk]


def send(statuses: str, **body: Any) -> dict[str, tuple[str, Callable[[World], dict[str, Any]]]]:
    return {"": (statuses, lambda world: body)}


def volume_posts() -> dict[str, tuple[str, Callable[[World], dict[str, Any]]]]:
    return {
        "rename": (MEMBERS_DO, lambda world: {"intent": "rename", "name": "renamed"}),
        "grow": (MEMBERS_DO, lambda world: {"intent": "grow", "size_gib": 9}),
        "attach": (MEMBERS_DO, lambda world: {"intent": "attach", "vm": str(world.machines["web"].pk)}),
        "move": (MEMBERS_DO, lambda world: {"intent": "move", "storage_class": world.pool().storage_class.slug}),
        "delete": (MEMBERS_DO, lambda world: {"intent": "delete", "confirmation": "free"}),
    }


def in_twenty_days() -> str:
    return (timezone.now() + timedelta(days=20)).date().isoformat()


def leased(world: World) -> list[Any]:
    return ["acme", world.leased("web").pk]


def settings_posts() -> dict[str, tuple[str, Callable[[World], dict[str, Any]]]]:
    return {
        "rename": (MEMBERS_DO, lambda world: {"intent": "rename", "name": "renamed"}),
        "resize": (MEMBERS_DO, lambda world: {"intent": "resize", "flavor": str(world.large.pk)}),
        "clone": (MEMBERS_DO, lambda world: {"intent": "clone", "name": "copy", "mode": "full"}),
        "publish": (MEMBERS_DO, lambda world: {"intent": "publish", "name": "Golden"}),
        "protect": (MEMBERS_DO, lambda world: {"intent": "protect", "protected": "on"}),
        "lease": (MEMBERS_DO, lambda world: {"intent": "lease", "expires_at": in_twenty_days()}),
        "delete": (MEMBERS_DO, lambda world: {"intent": "delete", "confirmation": "cold"}),
    }


def create_body(world: World) -> dict[str, Any]:
    return {"name": "new", "image": str(world.image.pk), "flavor": str(world.flavor.pk)}


def stop_web(world: World) -> dict[str, Any]:
    return {"action": "stop", "vm": [str(world.machines["web"].pk)]}


PAGES: dict[str, Page] = {
    # a tenant's
    "home": Page(get="302 302 302 302 302 302 302"),
    "overview": Page(acme, ACME_READS),
    "activity": Page(acme, ACME_READS),
    "quota-meters": Page(acme, ACME_READS),
    "usage": Page(acme, ACME_READS),
    "group-list": Page(acme, ACME_READS, send(MEMBERS_DO, name="quorum", policy="apart")),
    "group-change": Page(
        lambda world: ["acme", world.group().pk],
        posts={
            "add": (MEMBERS_DO, lambda world: {"add": str(world.machines["web"].pk)}),
            "remove": (MEMBERS_DO, lambda world: {"remove": str(world.machines["web"].pk)}),
            "delete": (MEMBERS_DO, lambda world: {"delete": "yes"}),
        },
    ),
    "image-list": Page(acme, ACME_READS),
    "image-add": Page(
        acme,
        ACME_WRITES,
        send(MEMBERS_DO, url="https://images.example.org/debian.qcow2", name="debian", format="qcow2"),
    ),
    "image-detail": Page(
        own_image,
        ACME_READS,
        {
            "change": (MEMBERS_DO, lambda world: {"intent": "change", **IMAGE_PROPERTIES}),
            "share": (OWNERS_DO, lambda world: {"intent": "share", "tenants": "beta"}),
            "publish": ("302 403 403 403 404 302 403", lambda world: {"intent": "publish"}),
            "deprecate": (MEMBERS_DO, lambda world: {"intent": "deprecate", "deprecation": "Take tiny."}),
            "delete": (MEMBERS_DO, lambda world: {"intent": "delete", "confirmation": "own"}),
        },
    ),
    "image-row": Page(own_image, "302 200 200 200 404 200 200"),
    "image-header": Page(own_image, ACME_READS),
    "image-evict": Page(
        own_image, posts={"": ("302 403 403 403 403 302 403", lambda world: {"copy": str(world.copy().pk)})}
    ),
    "member-list": Page(
        acme,
        ACME_READS,
        {
            "add": (OWNERS_DO, lambda world: {"username": "foreign", "role": "viewer"}),
            "invite": (OWNERS_DO, lambda world: {"intent": "invite", "email": "new@example.org", "role": "member"}),
        },
    ),
    "member-leave": Page(acme, posts=send("302 302 302 302 404 302 302")),
    "member-sign-in": Page(acme, posts=send(OWNERS_DO, demanded="no")),
    "member-hand-over": Page(acme, posts=send(OWNERS_DO, username="member")),
    "invitation-revoke": Page(lambda world: ["acme", world.invitation().pk], posts=send(OWNERS_DO)),
    "invitation": Page(
        lambda world: [text_of(world.invitation())],
        "200 200 200 200 200 200 200",
        {
            "accept": ("422 422 422 422 302 302 302", lambda world: {}),
            "join": (
                "302 422 422 422 302 302 302",
                lambda world: {"username": "newcomer", "password": "correct horse battery staple"},
            ),
        },
    ),
    "quota": Page(acme, ACME_READS, send(MEMBERS_DO, vcpus="40", reason="Black Friday")),
    "quota-withdraw": Page(lambda world: ["acme", world.request().pk], posts=send(MEMBERS_DO)),
    "webhook-list": Page(
        acme,
        get="302 403 403 200 404 200 200",
        posts={"add": ("302 403 403 201 404 201 403", lambda world: {"url": HOOK})},
    ),
    "provider-webhooks": Page(get=STAFF, posts={"add": ("302 403 403 403 403 201 403", lambda world: {"url": HOOK})}),
    "webhook-detail": Page(webhook(), get="302 403 403 200 404 200 200"),
    "webhook-change": Page(
        webhook(), get="302 403 403 200 404 200 403", posts={"change": (OWNERS_DO, lambda world: {"url": HOOK})}
    ),
    "webhook-rotate": Page(
        webhook(), posts={"rotate": ("302 403 403 201 404 201 403", lambda world: {"overlap_hours": "24"})}
    ),
    "webhook-replay": Page(webhook(), posts={"replay": (OWNERS_DO, lambda world: {"after": "0"})}),
    "webhook-act": Page(webhook("test"), posts={"test": (OWNERS_DO, lambda world: {})}),
    "webhook-delete": Page(webhook(), posts={"delete": (OWNERS_DO, lambda world: {})}),
    "webhook-resend": Page(sent, posts={"resend": (OWNERS_DO, lambda world: {})}),
    "member-remove": Page(removable, posts=send(OWNERS_DO)),
    "vm-list": Page(acme, ACME_READS),
    "vm-create": Page(acme, ACME_WRITES, {"": (MEMBERS_DO, create_body)}),
    "vm-create-plan": Page(acme, posts={"": (PLANS, create_body)}),
    "vm-bulk": Page(acme, ACME_READS, {"": (MEMBERS_DO, stop_web)}),
    "vm-schedules": Page(
        machine("web"),
        ACME_READS,
        send(MEMBERS_DO, kind="snapshot", every="daily", at="03:00", zone="UTC", keep_last="3"),
    ),
    "vm-schedule-change": Page(schedule, posts=send(MEMBERS_DO, intent="pause")),
    "vm-bin": Page(acme, ACME_READS),
    "vm-bin-rows": Page(acme, ACME_READS),
    "vm-restore": Page(binned, ACME_WRITES, send(MEMBERS_DO)),
    "vm-purge": Page(binned, posts=send(MEMBERS_DO)),
    "vm-detail": Page(machine("web"), ACME_READS),
    "vm-extend": Page(leased, posts=send(MEMBERS_DO)),
    "vm-row": Page(machine("web"), ACME_READS),
    "vm-header": Page(machine("web"), ACME_READS),
    "vm-metrics": Page(machine("web"), ACME_READS),
    "vm-metrics-data": Page(machine("web"), ACME_READS),
    "vm-migrate": Page(
        machine("web"),
        "302 403 403 403 404 200 403",
        {"": (ADMINS_IN, lambda world: {"host": world.neighbour().name})},
    ),
    "size-list": Page(acme, ACME_READS),
    "vm-disks": Page(
        machine("web"),
        ACME_READS,
        {"": (MEMBERS_DO, lambda world: {"volume": str(world.volume("free").pk)})},
    ),
    "vm-disk-rows": Page(machine("web"), ACME_READS),
    "vm-snapshot-rows": Page(machine("web"), ACME_READS),
    "vm-snapshot-take": Page(machine("web"), posts=send(MEMBERS_DO, name="now")),
    "snapshot-detail": Page(
        snapshot,
        ACME_READS,
        {
            "revert": (MEMBERS_DO, lambda world: {"intent": "revert", "safety": "on"}),
            "describe": (MEMBERS_DO, lambda world: {"intent": "describe", "name": "renamed", "description": "why"}),
            "delete": (MEMBERS_DO, lambda world: {"intent": "delete"}),
        },
    ),
    "snapshot-header": Page(snapshot, ACME_READS),
    "volume-list": Page(acme, ACME_READS),
    "volume-create": Page(
        acme,
        ACME_WRITES,
        {"": (MEMBERS_DO, lambda world: {"name": "new", "size_gib": 1, "storage_class": "standard", "vm": ""})},
    ),
    "volume-detail": Page(lambda world: ["acme", world.volume("free").pk], ACME_READS, volume_posts()),
    "volume-header": Page(lambda world: ["acme", world.volume("free").pk], ACME_READS),
    "storage": Page(get=STAFF, posts=send(ADMINS_DO, name="New", slug="new")),
    "storage-class": Page(lambda world: [world.pool().storage_class.slug], posts=send(ADMINS_DO, active="no")),
    "storage-pool-add": Page(
        get=ADMINS,
        posts=send(ADMINS_DO, host="one", name="new", storage_class="standard", kind="dir", path="/srv/new"),
    ),
    "storage-pool-remove": Page(lambda world: [world.pool().pk], posts=send(ADMINS_DO)),
    "vm-backups": Page(backed_up, ACME_READS, {"": (MEMBERS_DO, lambda world: {"target": "nas"})}),
    "backup-list": Page(acme, ACME_READS),
    "backup-restore": Page(
        backup,
        ACME_WRITES,
        {
            "new": (MEMBERS_DO, lambda world: {"where": "new", "name": "again"}),
            "same": (MEMBERS_DO, lambda world: {"where": "same", "confirmation": "web"}),
        },
    ),
    "backup-verify": Page(backup, posts=send(MEMBERS_DO)),
    "backup-delete": Page(backup, posts=send(MEMBERS_DO)),
    "vm-activity": Page(machine("web"), ACME_READS),
    "vm-settings": Page(machine("cold"), ACME_READS, settings_posts()),
    "vm-plan": Page(machine("cold"), posts=send(PLANS, intent="clone", name="copy", mode="full")),
    "vm-action": Page(machine("web", "stop"), posts=send(MEMBERS_DO)),
    "vm-console": Page(machine("web"), "302 403 200 200 404 200 403"),
    "vm-console-ticket": Page(machine("web"), posts=send("302 403 200 200 404 200 403", kind="serial")),
    # operations
    "operation-indicator": Page(get=SIGNED_IN),
    "operation-detail": Page(busy, ACME_READS),
    "operation-fragment": Page(busy, ACME_READS),
    "operation-cancel": Page(busy, posts=send(MEMBERS_DO)),
    "operation-retry": Page(stuck, posts=send("302 403 403 403 404 302 403")),
    "operation-unwind": Page(stuck, posts=send("302 403 403 403 404 302 403")),
    # one's own
    "ssh-keys": Page(get=SIGNED_IN, posts=send(EVERYBODY, public_key=SSH_KEY)),
    "ssh-key-remove": Page(lambda world: [world.key_of("owner").pk], posts=send(OWN)),
    "api-tokens": Page(get=SIGNED_IN, posts=send(MAKE_OWN, name="backup", rights="read", days="30")),
    "api-token-revoke": Page(lambda world: [world.token("owner")[0].pk], posts=send(OWN)),
    "sessions": Page(get=SIGNED_IN, posts=send(EVERYBODY)),
    "session-end": Page(lambda world: [world.session("owner").pk], posts=send(OWN)),
    # the provider's
    "host-list": Page(get=STAFF),
    "host-add": Page(get=ADMINS, posts=send(ADMINS_DO, name="two", uri="qemu+ssh://two/system")),
    "host-detail": Page(
        lambda world: ["one"], STAFF, send(ADMINS_DO, cpu_ratio="4", memory_ratio="1.5", memory_reserved_mib="2048")
    ),
    "host-metrics": Page(lambda world: ["one"], STAFF),
    "host-fragment": Page(lambda world: ["one"], STAFF),
    "host-access": Page(lambda world: [world.other_host().name], ADMINS, posts=send(ADMINS_DO, **ssh_access())),
    "host-check": Page(lambda world: ["one"], posts=send(ADMINS_DO)),
    "host-state": Page(lambda world: ["one"], posts=send(ADMINS_DO, state="cordoned")),
    "host-drain": Page(lambda world: ["one"], STAFF, send(ADMINS_DO, concurrency="2")),
    "cluster-roll": Page(lambda world: [world.neighbour().cluster.slug], STAFF, send(ADMINS_DO, concurrency="2")),
    "host-remove": Page(lambda world: [world.other_host().name], posts=send(ADMINS_DO)),
    "host-fence-agent": Page(
        lambda world: [world.silent_host().name], ADMINS, send(ADMINS_DO, agent="fence_lab", plug="lab/1")
    ),
    "host-fence-agent-remove": Page(lambda world: [world.silent_host().name], posts=send(ADMINS_DO)),
    "host-failover": Page(lambda world: [world.silent_host().name], STAFF),
    "host-fence": Page(lambda world: [world.silent_host().name], posts=send(ADMINS_DO)),
    "host-confirm-off": Page(lambda world: [world.silent_host().name], posts=send(ADMINS_DO, confirmation="silent")),
    "host-write-off": Page(
        lambda world: [world.silent_host(state="failed").name], posts=send(ADMINS_DO, confirmation="silent")
    ),
    "host-clear": Page(lambda world: [world.silent_host(state="failed").name], posts=send(ADMINS_DO)),
    "cluster-list": Page(get=STAFF),
    "cluster-refusals": Page(get=STAFF),
    "cluster-add": Page(get=ADMINS, posts=send(ADMINS_DO, **CLUSTER, name="East", slug="east")),
    "cluster-change": Page(
        lambda world: [world.cluster().slug],
        ADMINS,
        send(ADMINS_DO, **CLUSTER, name="Empty"),
    ),
    "cluster-remove": Page(lambda world: [world.cluster().slug], posts=send(ADMINS_DO)),
    "target-list": Page(get=STAFF),
    "target-add": Page(get=ADMINS, posts=send(ADMINS_DO, name="Tape", slug="tape", path="/srv/tape")),
    "target-check": Page(target, posts=send(ADMINS_DO)),
    "target-change": Page(target, posts=send(ADMINS_DO, active="no")),
    "target-remove": Page(target, posts=send(ADMINS_DO)),
    "drift-list": Page(get=STAFF),
    "drift-cards": Page(get=STAFF),
    "drift-resolve": Page(lambda world: [world.drift().pk, "ignore"], posts=send("302 404 404 404 404 302 403")),
    "provider-operations": Page(get=STAFF),
    "provider-audit": Page(get=STAFF),
    "provider-audit-export": Page(get=STAFF),
    "provider-quota-requests": Page(get=STAFF, posts=send(ADMINS_DO, is_active="on", percent="50", days="30")),
    "provider-quota-request": Page(
        lambda world: [world.request().pk],
        "302 403 403 403 404 200 200",
        {
            "approve": (ADMINS_IN, lambda world: {"intent": "approve"}),
            "refuse": (ADMINS_IN, lambda world: {"intent": "refuse", "answer": "Not this year."}),
        },
    ),
    "provider-tenants": Page(get=STAFF),
    "provider-tenant-create": Page(get=ADMINS, posts=send(ADMINS_DO, name="Gamma", slug="gamma")),
    "provider-prices": Page(get=STAFF),
    "provider-price-add": Page(
        get=ADMINS,
        posts=send(ADMINS_DO, name="Prices", currency="EUR", since="2999-01-01", vcpu="0.01", more="backup>100 0.001"),
    ),
    "provider-price-delete": Page(lambda world: [world.prices().pk], posts=send(ADMINS_IN)),
    "provider-tenant-billing": Page(
        acme,
        "302 403 403 403 404 200 200",
        send(ADMINS_IN, month="2026-01", category="Credit", amount="5", currency="EUR", description="For the outage"),
    ),
    "provider-tenant-close-month": Page(acme, posts=send(ADMINS_IN, month="2026-01")),
    "provider-tenant": Page(acme, "302 403 403 403 404 200 200", send(ADMINS_IN, vms="5", vcpus="", disk_gib="9")),
    "provider-tenant-clusters": Page(acme, "302 403 403 403 404 200 403", send(ADMINS_IN, clusters="default")),
    "provider-tenant-leases": Page(
        acme,
        "302 403 403 403 404 200 403",
        send(ADMINS_IN, demand="demanded", longest_days="", warn_days="7", off_days="3"),
    ),
    "provider-tenant-state": Page(
        acme,
        posts={
            "suspend": (ADMINS_IN, lambda world: {"intent": "suspend", "reason": "unpaid", "stop_machines": "on"}),
            "close": (ADMINS_IN, lambda world: {"intent": "close", "confirmation": "acme"}),
        },
    ),
    "provider-tenant-export": Page(acme, "302 403 403 200 404 200 403"),
    "provider-users": Page(get=STAFF),
    "provider-sign-in": Page(posts=send(ADMINS_DO, demanded="no")),
    "provider-user-create": Page(get=ADMINS, posts=send("302 403 403 403 403 201 403", username="newcomer")),
    "provider-user-change": Page(
        lambda world: [world.people["foreign"].pk],
        posts={
            "role": (ADMINS_DO, lambda world: {"provider_role": "auditor"}),
            "active": (ADMINS_DO, lambda world: {"active": "no"}),
        },
    ),
    "provider-images": Page(get=STAFF),
    "provider-image-offer": Page(lambda world: [world.image.pk], posts=send(ADMINS_DO, active="no")),
    "provider-flavors": Page(
        get=STAFF,
        posts=send(
            ADMINS_DO,
            name="Huge",
            slug="huge",
            vcpus="8",
            memory_mib="4096",
            disk_gib="40",
            service_class="burstable",
            cpu_ceiling="50",
        ),
    ),
    "provider-flavor-class": Page(
        lambda world: [world.flavor.pk], ADMINS, send(ADMINS_DO, service_class="guaranteed", cpu_floor="60")
    ),
    "provider-flavor-offer": Page(lambda world: [world.flavor.pk], posts=send(ADMINS_DO, active="no")),
}
