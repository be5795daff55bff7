"""Who gets what at each address: the authorization matrix, as data for tests/test_matrix.py.

Keys are routes as the URLconf spells them, without the anchors. A route that is not here fails the tests, and so does
a method that a view has and its line lacks. Statuses stand in the order of PERSONAS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from portal.tenancy.invitations import text_of
from tests.keys import ssh_access
from tests.world import SSH_KEY, World

# `scopeless` is the owner's program with a token for nothing.
PERSONAS = ("anonymous", "scopeless", "viewer", "member", "owner", "foreign", "admin", "auditor")
# Routes below these must stand in the matrix. Pages of the UI come next: add "" and their lines.
COVERED = ("api/v1/",)


NEW_IMAGE = {"name": "Debian 12", "format": "qcow2", "tenant": "acme"}
HOOK = "https://hooks.example.org/berth?key=canary"
BUDGET = {"amount": "100.00", "thresholds": [{"percent": 80, "of": "spent", "action": "notify"}]}
NOBODY = "018f0000-0000-7000-8000-00000000dead"


@dataclass(frozen=True)
class Call:
    """A valid call: its statuses by persona, its body, and headers that it needs."""

    statuses: tuple[int, ...]
    body: Callable[[World], dict[str, Any] | bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """`path` fills the route in with what belongs to acme, or to its owner."""

    path: Callable[[World], str]
    methods: Mapping[str, Call]


def _call(statuses: str, body: Callable[[World], dict[str, Any] | bytes] | None = None, **headers: str) -> Call:
    found = tuple(int(status) for status in statuses.split())
    if len(found) != len(PERSONAS):
        raise ValueError(f"one status for each of {PERSONAS}: {statuses}")
    return Call(found, body, headers)


def who_may(call: Call) -> str:
    """The first of owner, admin and member whose call it is."""
    return next(person for person in ("owner", "admin", "member") if call.statuses[PERSONAS.index(person)] < 300)


def _nothing(world: World) -> dict[str, Any]:
    return {}


#                     an  sl  vi  me  ow  fo  ad  au
EVERYBODY = _call("   200 200 200 200 200 200 200 200")
SIGNED_IN = _call("   401 403 200 200 200 200 200 200")
ACME_READS = _call("  401 403 200 200 200 404 200 200")
OWNER_READS = _call(" 401 403 403 403 200 404 200 200")
STAFF_READS = _call(" 401 403 403 403 403 403 200 200")

_MEMBERS = "401 403 403 {0} {0} 404 {0} 403"
_OWNERS = " 401 403 403 403 {0} 404 {0} 403"
_ADMINS = " 401 403 403 403 403 403 {0} 403"
_ADMINS_IN_ACME = "401 403 403 403 403 404 {0} 403"
_DRIFT = "401 403 404 404 404 404 {0} 403"
_OWN = "    401 403 {0} {0} {0} {0} {0} {0}"
_ONLY_OWNERS_OWN = "401 403 404 404 {0} 404 404 404"


def _new(world: World) -> dict[str, Any]:
    return {"name": "new", "image": "tiny", "flavor": "small", "tenant": "acme"}


def _machine(name: str, tail: str = "") -> Callable[[World], str]:
    return lambda world: f"/api/v1/vms/{world.machines[name].pk}{tail}"


def _at(path: str) -> Callable[[World], str]:
    return lambda world: f"/api/v1/{path}"


def _silent(tail: str, **facts: Any) -> Callable[[World], str]:
    return lambda world: f"/api/v1/hosts/{world.silent_host(**facts).name}/{tail}"


def _drift(tail: str = "", **facts: Any) -> Callable[[World], str]:
    return lambda world: f"/api/v1/drift/{world.drift(**facts).pk}{tail}"


def _volume(tail: str = "", attached_to: str = "") -> Callable[[World], str]:
    def path(world: World) -> str:
        volume = world.volume(attached_to or "free", vm=world.machines[attached_to] if attached_to else None)
        return f"/api/v1/volumes/{volume.pk}{tail}"

    return path


def _to_fast(world: World) -> dict[str, Any]:
    return {"storage_class": world.pool().storage_class.slug}


def _backup(tail: str = "") -> Callable[[World], str]:
    return lambda world: f"/api/v1/backups/{world.backup().pk}{tail}"


def _target(tail: str = "") -> Callable[[World], str]:
    return lambda world: f"/api/v1/backup-targets/{world.target().slug}{tail}"


def _group(tail: str = "", *members: str) -> Callable[[World], str]:
    return lambda world: f"/api/v1/affinity-groups/{world.group('quorum', 'apart', *members).pk}{tail}"


def _snapshot(tail: str = "") -> Callable[[World], str]:
    return lambda world: f"/api/v1/snapshots/{world.snapshot().pk}{tail}"


def _webhook(tail: str = "") -> Callable[[World], str]:
    return lambda world: f"/api/v1/webhooks/{world.webhook().pk}{tail}"


def _action(name: str, machine: str, body: Callable[[World], dict[str, Any]] = _nothing) -> Route:
    return Route(_machine(machine, f"/actions/{name}"), {"POST": _call(_MEMBERS.format(202), body)})


# The pieces of an upload: bytes as they are, told apart by their offset; the log tells when all of them are there.
PIECES = ("api/v1/uploads/<uuid:id>", "PATCH")
# It changes nothing of what it is about; the log tells when one is applied.
PLANS = ("api/v1/plans", "POST")
ROUTES: dict[str, Route] = {
    # -- machines
    "api/v1/vms": Route(
        _at("vms"),
        {
            "GET": SIGNED_IN,
            # another's tenant is an unknown one; a viewer may create nowhere
            "POST": _call(
                "401 403 403 202 202 400 202 403",
                _new,
            ),
        },
    ),
    "api/v1/vms/bulk": Route(
        _at("vms/bulk"),
        {
            "POST": _call(
                "401 403 403 200 200 200 200 403",
                lambda world: {"action": "stop", "vms": [str(world.machines["web"].pk)]},
            )
        },
    ),
    "api/v1/vms/<uuid:id>": Route(
        _machine("web"),
        {
            "GET": ACME_READS,
            "PATCH": _call(_MEMBERS.format(200), lambda world: {"name": "renamed", "protected": True}),
            "DELETE": _call(_MEMBERS.format(202)),
        },
    ),
    "api/v1/vms/<uuid:id>/actions/start": _action("start", "cold"),
    "api/v1/vms/<uuid:id>/actions/stop": _action("stop", "web"),
    "api/v1/vms/<uuid:id>/actions/reboot": _action("reboot", "web"),
    "api/v1/vms/<uuid:id>/actions/force-off": _action("force-off", "web"),
    "api/v1/vms/<uuid:id>/actions/pause": _action("pause", "web"),
    "api/v1/vms/<uuid:id>/actions/resume": _action("resume", "paused"),
    "api/v1/vms/<uuid:id>/actions/restore": Route(
        lambda world: f"/api/v1/vms/{world.binned().pk}/actions/restore",
        {"POST": _call(_MEMBERS.format(202), _nothing)},
    ),
    "api/v1/vms/<uuid:id>/actions/purge": Route(
        lambda world: f"/api/v1/vms/{world.binned().pk}/actions/purge", {"POST": _call(_MEMBERS.format(202), _nothing)}
    ),
    "api/v1/vms/<uuid:id>/actions/extend": Route(
        lambda world: f"/api/v1/vms/{world.leased('web').pk}/actions/extend",
        {"POST": _call(_MEMBERS.format(200), _nothing)},
    ),
    "api/v1/tenants/<slug:tenant>/lease-policy": Route(
        _at("tenants/acme/lease-policy"),
        {
            "GET": ACME_READS,
            "PUT": _call(_ADMINS_IN_ACME.format(200), lambda world: {"demand": "demanded", "longest_days": 30}),
        },
    ),
    "api/v1/vms/<uuid:id>/actions/resize": _action("resize", "cold", lambda world: {"flavor": "large"}),
    "api/v1/vms/<uuid:id>/actions/clone": _action("clone", "cold", lambda world: {"name": "copy"}),
    "api/v1/vms/<uuid:id>/actions/migrate": Route(
        _machine("web", "/actions/migrate"),
        {"POST": _call(_ADMINS_IN_ACME.format(202), lambda world: {"host": world.neighbour().name})},
    ),
    "api/v1/vms/<uuid:id>/migration": Route(
        _machine("web", "/migration"), {"GET": _call("401 403 403 403 403 404 200 200")}
    ),
    "api/v1/vms/<uuid:id>/actions/publish": _action("publish", "cold", lambda world: {"name": "Golden"}),
    "api/v1/vms/<uuid:id>/schedules": Route(
        _machine("web", "/schedules"),
        {
            "GET": ACME_READS,
            "POST": _call(
                _MEMBERS.format(201),
                lambda world: {"kind": "snapshot", "every": "daily", "at": "03:00", "keep": {"last": 3}},
            ),
        },
    ),
    "api/v1/schedules": Route(_at("schedules"), {"GET": SIGNED_IN}),
    "api/v1/schedules/<uuid:id>": Route(
        lambda world: f"/api/v1/schedules/{world.schedule().pk}",
        {
            "GET": ACME_READS,
            "PATCH": _call(_MEMBERS.format(200), lambda world: {"active": False}),
            "DELETE": _call(_MEMBERS.format(204)),
        },
    ),
    "api/v1/schedules/<uuid:id>/runs": Route(
        lambda world: f"/api/v1/schedules/{world.schedule().pk}/runs", {"GET": ACME_READS}
    ),
    "api/v1/vms/<uuid:id>/console": Route(
        _machine("web", "/console"), {"POST": _call(_MEMBERS.format(201), lambda world: {"kind": "serial"})}
    ),
    "api/v1/vms/<uuid:id>/user-data": Route(
        _machine("web", "/user-data"), {"GET": _call("401 403 403 200 200 404 403 403")}
    ),
    # -- plans
    "api/v1/plans": Route(
        _at("plans"),
        {"POST": _call("401 403 403 201 201 400 201 403", lambda world: {"action": "vm.create", "body": _new(world)})},
    ),
    "api/v1/plans/<uuid:id>": Route(
        lambda world: f"/api/v1/plans/{world.plan().pk}", {"GET": _call(_ONLY_OWNERS_OWN.format(200))}
    ),
    "api/v1/plans/<uuid:id>/actions/apply": Route(
        lambda world: f"/api/v1/plans/{world.plan().pk}/actions/apply",
        {"POST": _call(_ONLY_OWNERS_OWN.format(202), _nothing)},
    ),
    # -- volumes
    "api/v1/volumes": Route(
        _at("volumes"),
        {
            "GET": SIGNED_IN,
            "POST": _call(
                "401 403 403 202 202 400 202 403", lambda world: {"name": "new", "size_gib": 1, "tenant": "acme"}
            ),
        },
    ),
    "api/v1/volumes/<uuid:id>": Route(
        _volume(),
        {
            "GET": ACME_READS,
            "PATCH": _call(_MEMBERS.format(200), lambda world: {"name": "renamed"}),
            "DELETE": _call(_MEMBERS.format(202)),
        },
    ),
    "api/v1/volumes/<uuid:id>/actions/attach": Route(
        _volume("/actions/attach"), {"POST": _call(_MEMBERS.format(202), lambda world: {"vm": "web"})}
    ),
    "api/v1/volumes/<uuid:id>/actions/detach": Route(
        _volume("/actions/detach", "web"), {"POST": _call(_MEMBERS.format(202), _nothing)}
    ),
    "api/v1/volumes/<uuid:id>/actions/grow": Route(
        _volume("/actions/grow", "web"), {"POST": _call(_MEMBERS.format(202), lambda world: {"size_gib": 5})}
    ),
    "api/v1/volumes/<uuid:id>/actions/move": Route(
        _volume("/actions/move", "web"), {"POST": _call(_MEMBERS.format(202), _to_fast)}
    ),
    "api/v1/storage-classes": Route(
        _at("storage-classes"),
        {"GET": SIGNED_IN, "POST": _call(_ADMINS.format(201), lambda world: {"slug": "new", "name": "New"})},
    ),
    "api/v1/storage-classes/<slug:storage_class>": Route(
        _at("storage-classes/standard"),
        {"GET": SIGNED_IN, "PATCH": _call(_ADMINS.format(200), lambda world: {"name": "Plain"})},
    ),
    "api/v1/vms/<uuid:id>/snapshots": Route(
        _machine("web", "/snapshots"),
        {"GET": ACME_READS, "POST": _call(_MEMBERS.format(202), lambda world: {"name": "before", "memory": True})},
    ),
    "api/v1/snapshots": Route(_at("snapshots"), {"GET": SIGNED_IN}),
    "api/v1/snapshots/<uuid:id>": Route(
        _snapshot(),
        {
            "GET": ACME_READS,
            "PATCH": _call(_MEMBERS.format(200), lambda world: {"name": "renamed"}),
            "DELETE": _call(_MEMBERS.format(202)),
        },
    ),
    "api/v1/snapshots/<uuid:id>/actions/revert": Route(
        _snapshot("/actions/revert"), {"POST": _call(_MEMBERS.format(202), lambda world: {"safety": True})}
    ),
    "api/v1/vms/<uuid:id>/placements": Route(
        _machine("web", "/placements"), {"GET": _call("401 403 403 403 403 404 200 200")}
    ),
    "api/v1/affinity-groups": Route(
        _at("affinity-groups"),
        {
            "GET": SIGNED_IN,
            "POST": _call(
                "401 403 403 201 201 400 201 403", lambda world: {"name": "new", "policy": "apart", "tenant": "acme"}
            ),
        },
    ),
    "api/v1/affinity-groups/<uuid:id>": Route(_group(), {"GET": ACME_READS, "DELETE": _call(_MEMBERS.format(204))}),
    "api/v1/affinity-groups/<uuid:id>/actions/add": Route(
        _group("/actions/add"),
        {"POST": _call(_MEMBERS.format(200), lambda world: {"vm": str(world.machines["web"].pk)})},
    ),
    "api/v1/affinity-groups/<uuid:id>/actions/remove": Route(
        _group("/actions/remove", "web"),
        {"POST": _call(_MEMBERS.format(200), lambda world: {"vm": str(world.machines["web"].pk)})},
    ),
    # -- what they are made of
    "api/v1/images": Route(
        _at("images"),
        {
            "GET": SIGNED_IN,
            "POST": _call(
                "401 403 403 202 202 400 202 403",
                lambda world: {**NEW_IMAGE, "url": "https://example.org/debian.qcow2"},
            ),
        },
    ),
    "api/v1/images/<slug:image>": Route(
        lambda world: f"/api/v1/images/{world.own_image().pk}",
        {
            "GET": ACME_READS,
            "PATCH": _call(_MEMBERS.format(200), lambda world: {"os": "Debian 12", "active": False}),
            "DELETE": _call(_MEMBERS.format(202)),
        },
    ),
    "api/v1/images/<slug:image>/actions/evict": Route(
        lambda world: f"/api/v1/images/{world.own_image().pk}/actions/evict",
        {"POST": _call(_ADMINS.format(202), lambda world: {"copy": str(world.copy().pk)})},
    ),
    "api/v1/uploads": Route(
        _at("uploads"),
        {
            "GET": SIGNED_IN,
            "POST": _call("401 403 403 201 201 400 201 403", lambda world: {**NEW_IMAGE, "size_bytes": 1024}),
        },
    ),
    "api/v1/uploads/<uuid:id>": Route(
        lambda world: f"/api/v1/uploads/{world.upload().pk}",
        {
            "GET": ACME_READS,
            "PATCH": _call(
                _MEMBERS.format(204),
                lambda world: b"",  # the disk forgets nothing that a test undoes
                content_type="application/offset+octet-stream",
                Upload_Offset="9",
            ),
            "DELETE": _call(_MEMBERS.format(204)),
        },
    ),
    "api/v1/uploads/<uuid:id>/actions/finish": Route(
        lambda world: f"/api/v1/uploads/{world.upload(rest='').pk}/actions/finish",
        {"POST": _call(_MEMBERS.format(202), _nothing)},
    ),
    "api/v1/flavors": Route(
        _at("flavors"),
        {
            "GET": SIGNED_IN,
            "POST": _call(
                _ADMINS.format(201),
                lambda world: {"slug": "huge", "name": "Huge", "vcpus": 8, "memory_mib": 4096, "disk_gib": 40},
            ),
        },
    ),
    "api/v1/flavors/<slug:flavor>": Route(
        _at("flavors/small"),
        {"GET": SIGNED_IN, "PATCH": _call(_ADMINS.format(200), lambda world: {"active": False})},
    ),
    "api/v1/flavors/<slug:flavor>/guarantee": Route(_at("flavors/small/guarantee"), {"GET": SIGNED_IN}),
    "api/v1/vms/<uuid:id>/guarantee": Route(_machine("web", "/guarantee"), {"GET": ACME_READS}),
    "api/v1/vms/<uuid:id>/metrics": Route(_machine("web", "/metrics?span=day"), {"GET": ACME_READS}),
    "api/v1/hosts/<slug:host>/metrics": Route(_at("hosts/one/metrics"), {"GET": STAFF_READS}),
    "api/v1/networks": Route(_at("networks"), {"GET": SIGNED_IN}),
    "api/v1/networks/<slug:network>": Route(_at("networks/default"), {"GET": SIGNED_IN}),
    # -- backups
    "api/v1/vms/<uuid:id>/backups": Route(
        lambda world: f"/api/v1/vms/{world.target() and world.machines['web'].pk}/backups",
        {"POST": _call(_MEMBERS.format(202), lambda world: {"target": "nas"})},
    ),
    "api/v1/backups": Route(_at("backups"), {"GET": SIGNED_IN}),
    "api/v1/backups/<uuid:id>": Route(_backup(), {"GET": ACME_READS, "DELETE": _call(_MEMBERS.format(202))}),
    "api/v1/backups/<uuid:id>/actions/verify": Route(
        _backup("/actions/verify"), {"POST": _call(_MEMBERS.format(202), _nothing)}
    ),
    "api/v1/backups/<uuid:id>/actions/restore": Route(
        _backup("/actions/restore"), {"POST": _call(_MEMBERS.format(202), lambda world: {"name": "again"})}
    ),
    "api/v1/backup-targets": Route(
        _at("backup-targets"),
        {
            "GET": SIGNED_IN,
            "POST": _call(_ADMINS.format(202), lambda world: {"slug": "tape", "path": "/srv/tape"}),
        },
    ),
    "api/v1/backup-targets/<slug:target>": Route(
        _target(),
        {
            "GET": SIGNED_IN,
            "PATCH": _call(_ADMINS.format(200), lambda world: {"active": False}),
            "DELETE": _call(_ADMINS.format(204)),
        },
    ),
    "api/v1/backup-targets/<slug:target>/actions/check": Route(
        _target("/actions/check"), {"POST": _call(_ADMINS.format(202), _nothing)}
    ),
    # -- operations and events
    "api/v1/operations": Route(_at("operations"), {"GET": SIGNED_IN}),
    "api/v1/operations/<uuid:id>": Route(lambda world: f"/api/v1/operations/{_busy(world)}", {"GET": ACME_READS}),
    "api/v1/operations/<uuid:id>/actions/cancel": Route(
        lambda world: f"/api/v1/operations/{_busy(world)}/actions/cancel",
        {"POST": _call(_MEMBERS.format(202), _nothing)},
    ),
    "api/v1/operations/<uuid:id>/actions/retry": Route(
        lambda world: f"/api/v1/operations/{_stuck(world)}/actions/retry",
        {"POST": _call(_ADMINS_IN_ACME.format(202), _nothing)},
    ),
    "api/v1/operations/<uuid:id>/actions/unwind": Route(
        lambda world: f"/api/v1/operations/{_stuck(world)}/actions/unwind",
        {"POST": _call(_ADMINS_IN_ACME.format(202), _nothing)},
    ),
    "api/v1/events": Route(_at("events"), {"GET": SIGNED_IN}),
    # -- usage and money
    "api/v1/usage": Route(_at("usage"), {"GET": SIGNED_IN}),
    "api/v1/budgets/<slug:tenant>": Route(
        lambda world: f"/api/v1/budgets/{world.budget().tenant.slug}",
        {
            "GET": ACME_READS,
            "PUT": _call(_OWNERS.format(200), lambda world: BUDGET),
            "DELETE": _call(_OWNERS.format(204)),
        },
    ),
    "api/v1/charges": Route(_at("charges"), {"GET": SIGNED_IN}),
    "api/v1/prices": Route(
        _at("prices"),
        {
            "GET": SIGNED_IN,
            "POST": _call(
                _ADMINS.format(201),
                lambda world: {
                    "name": "Prices",
                    "currency": "EUR",
                    "since": "2026-01-01T00:00:00Z",
                    "prices": [{"meter": "vcpu", "unit_price": "0.01"}],
                },
            ),
        },
    ),
    "api/v1/prices/<uuid:id>": Route(
        lambda world: f"/api/v1/prices/{world.prices().pk}",
        {"GET": ACME_READS, "DELETE": _call(_ADMINS_IN_ACME.format(204))},
    ),
    "api/v1/prices/<uuid:id>/actions/end": Route(
        lambda world: f"/api/v1/prices/{world.prices().pk}/actions/end",
        {"POST": _call(_ADMINS_IN_ACME.format(200), lambda world: {"until": "2999-02-01T00:00:00Z"})},
    ),
    "api/v1/tenants/<slug:tenant>/adjustments": Route(
        _at("tenants/acme/adjustments"),
        {
            "GET": ACME_READS,
            "POST": _call(
                _ADMINS_IN_ACME.format(201),
                lambda world: {
                    "month": "2026-01",
                    "category": "Credit",
                    "amount": "5.00",
                    "currency": "EUR",
                    "description": "For the outage",
                },
            ),
        },
    ),
    "api/v1/tenants/<slug:tenant>/periods": Route(
        _at("tenants/acme/periods"),
        {"GET": ACME_READS, "POST": _call(_ADMINS_IN_ACME.format(201), lambda world: {"month": "2026-01"})},
    ),
    # -- tenants
    "api/v1/webhooks": Route(
        _at("webhooks"),
        {
            "GET": _call("401 403 403 403 200 200 200 200"),
            "POST": _call("401 403 403 403 201 400 201 403", lambda world: {"url": HOOK, "tenant": "acme"}),
        },
    ),
    "api/v1/webhooks/<uuid:id>": Route(
        _webhook(),
        {
            "GET": OWNER_READS,
            "PATCH": _call(_OWNERS.format(200), lambda world: {"kinds": ["vm"]}),
            "DELETE": _call(_OWNERS.format(204)),
        },
    ),
    "api/v1/webhooks/<uuid:id>/actions/enable": Route(
        lambda world: f"/api/v1/webhooks/{world.webhook(disabled_at=timezone.now()).pk}/actions/enable",
        {"POST": _call(_OWNERS.format(200), _nothing)},
    ),
    **{
        f"api/v1/webhooks/<uuid:id>/actions/{action}": Route(
            _webhook(f"/actions/{action}"), {"POST": _call(_OWNERS.format(200), body)}
        )
        for action, body in {
            "disable": _nothing,
            "rotate": _nothing,
            "test": _nothing,
            "replay": lambda world: {"after": 0},
        }.items()
    },
    "api/v1/webhooks/<uuid:id>/deliveries": Route(_webhook("/deliveries"), {"GET": OWNER_READS}),
    "api/v1/webhooks/<uuid:id>/deliveries/<uuid:delivery>/actions/resend": Route(
        lambda world: f"/api/v1/webhooks/{world.webhook().pk}/deliveries/{world.delivery().pk}/actions/resend",
        {"POST": _call(_OWNERS.format(200), _nothing)},
    ),
    "api/v1/tenants/by-external-id/(?P<external_id>[A-Za-z0-9._:@-]{1,100})": Route(
        _at("tenants/by-external-id/crm:1"),
        {
            "GET": _call("401 403 404 404 404 404 200 200"),
            "PUT": _call(_ADMINS.format(200), lambda world: {"name": "Acme Inc.", "quota": {"vms": 3}}),
        },
    ),
    "api/v1/tenants": Route(
        _at("tenants"),
        {"GET": SIGNED_IN, "POST": _call(_ADMINS.format(201), lambda world: {"name": "Gamma", "slug": "gamma"})},
    ),
    "api/v1/tenants/<slug:tenant>": Route(
        _at("tenants/acme"),
        {"GET": ACME_READS, "PATCH": _call(_OWNERS.format(200), lambda world: {"name": "Acme Inc."})},
    ),
    "api/v1/tenants/<slug:tenant>/members": Route(_at("tenants/acme/members"), {"GET": ACME_READS}),
    r"api/v1/tenants/(?P<tenant>[-\w]+)/members/(?P<username>[\w.@+-]{1,150})": Route(
        _at("tenants/acme/members/viewer"),
        {
            "PUT": _call(_OWNERS.format(200), lambda world: {"role": "member"}),
            "DELETE": _call(_OWNERS.format(204)),
        },
    ),
    "api/v1/tenants/<slug:tenant>/invitations": Route(
        _at("tenants/acme/invitations"),
        {
            "GET": _call(_OWNERS.format(200)),
            "POST": _call(_OWNERS.format(201), lambda world: {"email": "new@example.org", "role": "viewer"}),
        },
    ),
    "api/v1/tenants/<slug:tenant>/invitations/<uuid:id>": Route(
        lambda world: f"/api/v1/tenants/acme/invitations/{world.invitation().pk}",
        {"DELETE": _call(_OWNERS.format(204))},
    ),
    "api/v1/tenants/<slug:tenant>/actions/suspend": Route(
        _at("tenants/acme/actions/suspend"),
        {"POST": _call(_ADMINS_IN_ACME.format(200), lambda world: {"reason": "unpaid"})},
    ),
    "api/v1/tenants/<slug:tenant>/actions/resume": Route(
        lambda world: f"/api/v1/tenants/{world.suspended().slug}/actions/resume",
        {"POST": _call(_ADMINS_IN_ACME.format(200), _nothing)},
    ),
    "api/v1/tenants/<slug:tenant>/actions/close": Route(
        _at("tenants/acme/actions/close"), {"POST": _call(_OWNERS.format(200), lambda world: {"confirmation": "acme"})}
    ),
    # one that is closed is there for the staff alone
    "api/v1/tenants/<slug:tenant>/actions/reopen": Route(
        lambda world: f"/api/v1/tenants/{world.closed().slug}/actions/reopen",
        {"POST": _call("401 403 404 404 404 404 200 403", _nothing)},
    ),
    "api/v1/tenants/<slug:tenant>/export": Route(
        _at("tenants/acme/export"), {"GET": _call("401 403 403 403 200 404 200 403")}
    ),
    # nobody else's membership is touched; the last owner stays
    "api/v1/tenants/<slug:tenant>/actions/leave": Route(
        _at("tenants/acme/actions/leave"), {"POST": _call("401 403 204 204 409 404 409 409", _nothing)}
    ),
    "api/v1/tenants/<slug:tenant>/actions/transfer": Route(
        _at("tenants/acme/actions/transfer"),
        {"POST": _call("401 403 403 403 200 404 409 403", lambda world: {"username": "member"})},
    ),
    # those who belong to it already need none
    "api/v1/invitations/actions/accept": Route(
        _at("invitations/actions/accept"),
        {"POST": _call("401 403 409 409 409 201 201 201", lambda world: {"token": text_of(world.invitation())})},
    ),
    "api/v1/quotas/<slug:tenant>/requests": Route(
        _at("quotas/acme/requests"),
        {"POST": _call(_MEMBERS.format(201), lambda world: {"wanted": {"vcpus": 40}, "reason": "Black Friday"})},
    ),
    "api/v1/quota-requests": Route(_at("quota-requests"), {"GET": SIGNED_IN}),
    "api/v1/quota-requests/<uuid:id>": Route(
        lambda world: f"/api/v1/quota-requests/{world.request().pk}", {"GET": ACME_READS}
    ),
    "api/v1/quota-requests/<uuid:id>/actions/approve": Route(
        lambda world: f"/api/v1/quota-requests/{world.request().pk}/actions/approve",
        {"POST": _call(_ADMINS_IN_ACME.format(200), _nothing)},
    ),
    "api/v1/quota-requests/<uuid:id>/actions/refuse": Route(
        lambda world: f"/api/v1/quota-requests/{world.request().pk}/actions/refuse",
        {"POST": _call(_ADMINS_IN_ACME.format(200), lambda world: {"answer": "Not this year."})},
    ),
    "api/v1/quota-requests/<uuid:id>/actions/withdraw": Route(
        lambda world: f"/api/v1/quota-requests/{world.request().pk}/actions/withdraw",
        {"POST": _call(_MEMBERS.format(200), _nothing)},
    ),
    "api/v1/quota-rule": Route(
        _at("quota-rule"),
        {
            "GET": STAFF_READS,
            "PUT": _call(_ADMINS.format(200), lambda world: {"is_active": True, "percent": 50, "days": 30}),
        },
    ),
    "api/v1/quotas": Route(_at("quotas"), {"GET": SIGNED_IN}),
    "api/v1/quotas/<slug:tenant>": Route(
        _at("quotas/acme"),
        {
            "GET": ACME_READS,
            "PUT": _call(
                _ADMINS_IN_ACME.format(200),
                lambda world: {"vms": 20, "vcpus": 40, "memory_mib": 65536, "disk_gib": None},
            ),
        },
    ),
    # -- hosts: the provider's, and not to be seen by others
    "api/v1/hosts": Route(
        _at("hosts"),
        {
            "GET": STAFF_READS,
            "POST": _call(_ADMINS.format(202), lambda world: {"name": "two", "uri": "qemu+ssh://two/system"}),
        },
    ),
    "api/v1/clusters": Route(
        _at("clusters"),
        {"GET": STAFF_READS, "POST": _call(_ADMINS.format(201), lambda world: {"slug": "east", "spread": "pack"})},
    ),
    "api/v1/clusters/<slug:cluster>": Route(
        lambda world: f"/api/v1/clusters/{world.cluster().slug}",
        {
            "GET": STAFF_READS,
            "PATCH": _call(_ADMINS.format(200), lambda world: {"failure_reserve": 1}),
            "DELETE": _call(_ADMINS.format(204)),
        },
    ),
    "api/v1/refused-placements": Route(_at("refused-placements"), {"GET": STAFF_READS}),
    "api/v1/tenants/<slug:tenant>/clusters": Route(
        _at("tenants/acme/clusters"),
        {"GET": STAFF_READS, "PUT": _call(_ADMINS.format(200), lambda world: {"clusters": ["default"]})},
    ),
    "api/v1/hosts/<slug:host>": Route(
        lambda world: f"/api/v1/hosts/{world.other_host().name}",
        {
            "GET": STAFF_READS,
            "DELETE": _call(_ADMINS.format(204)),
            "PATCH": _call(
                _ADMINS.format(200),
                lambda world: {"cpu_ratio": 4, "memory_ratio": 1.5, "memory_reserved_mib": 2048},
            ),
        },
    ),
    "api/v1/hosts/<slug:host>/access": Route(
        lambda world: f"/api/v1/hosts/{world.other_host().name}/access",
        {"PUT": _call(_ADMINS.format(200), lambda world: ssh_access())},
    ),
    "api/v1/hosts/<slug:host>/actions/cordon": Route(
        _at("hosts/one/actions/cordon"), {"POST": _call(_ADMINS.format(200), _nothing)}
    ),
    "api/v1/hosts/<slug:host>/actions/uncordon": Route(
        _at("hosts/one/actions/uncordon"), {"POST": _call(_ADMINS.format(200), _nothing)}
    ),
    "api/v1/hosts/<slug:host>/actions/check": Route(
        _at("hosts/one/actions/check"), {"POST": _call(_ADMINS.format(202), _nothing)}
    ),
    "api/v1/hosts/<slug:host>/actions/fence": Route(
        _silent("actions/fence"), {"POST": _call(_ADMINS.format(202), _nothing)}
    ),
    "api/v1/hosts/<slug:host>/actions/confirm-off": Route(
        _silent("actions/confirm-off"), {"POST": _call(_ADMINS.format(202), lambda world: {"name": "silent"})}
    ),
    "api/v1/hosts/<slug:host>/actions/write-off": Route(
        _silent("actions/write-off", state="failed"),
        {"POST": _call(_ADMINS.format(200), lambda world: {"name": "silent"})},
    ),
    "api/v1/hosts/<slug:host>/actions/clear": Route(
        _silent("actions/clear", state="failed"), {"POST": _call(_ADMINS.format(202), _nothing)}
    ),
    "api/v1/hosts/<slug:host>/stranded": Route(_at("hosts/one/stranded"), {"GET": STAFF_READS}),
    "api/v1/hosts/<slug:host>/fence-agent": Route(
        _silent("fence-agent"),
        {
            "GET": STAFF_READS,
            "PUT": _call(_ADMINS.format(200), lambda world: {"agent": "fence_lab", "options": {"plug": "lab/1"}}),
            "DELETE": _call(_ADMINS.format(204)),
        },
    ),
    "api/v1/hosts/<slug:host>/drain-plan": Route(_at("hosts/one/drain-plan"), {"GET": STAFF_READS}),
    "api/v1/hosts/<slug:host>/actions/drain": Route(
        _at("hosts/one/actions/drain"), {"POST": _call(_ADMINS.format(202), lambda world: {"concurrency": 3})}
    ),
    "api/v1/clusters/<slug:cluster>/roll-plan": Route(_at("clusters/default/roll-plan"), {"GET": STAFF_READS}),
    "api/v1/clusters/<slug:cluster>/actions/roll": Route(
        lambda world: f"/api/v1/clusters/{world.neighbour().cluster.slug}/actions/roll",
        {"POST": _call(_ADMINS.format(202), _nothing)},
    ),
    "api/v1/hosts/<slug:host>/pools": Route(
        _at("hosts/one/pools"),
        {
            "GET": STAFF_READS,
            "POST": _call(
                _ADMINS.format(202), lambda world: {"name": "new", "storage_class": "standard", "path": "/srv/new"}
            ),
        },
    ),
    "api/v1/hosts/<slug:host>/pools/<slug:pool>": Route(
        lambda world: f"/api/v1/hosts/one/pools/{world.pool().name}",
        {"GET": STAFF_READS, "DELETE": _call(_ADMINS.format(202))},
    ),
    # -- drift: what others may not see looks as if it did not exist
    "api/v1/drift": Route(_at("drift"), {"GET": STAFF_READS}),
    "api/v1/drift/<uuid:id>": Route(_drift(), {"GET": _call("401 403 404 404 404 404 200 200")}),
    "api/v1/drift/<uuid:id>/actions/adopt": Route(
        _drift("/actions/adopt"), {"POST": _call(_DRIFT.format(202), _nothing)}
    ),
    "api/v1/drift/<uuid:id>/actions/restore": Route(
        _drift("/actions/restore"), {"POST": _call(_DRIFT.format(202), _nothing)}
    ),
    "api/v1/drift/<uuid:id>/actions/clean-up": Route(
        _drift("/actions/clean-up", kind="claim_without_vm", evidence={"holder": NOBODY}, host=None, vm=None),
        {"POST": _call(_DRIFT.format(202), _nothing)},
    ),
    "api/v1/drift/<uuid:id>/actions/ignore": Route(
        _drift("/actions/ignore"), {"POST": _call(_DRIFT.format(200), _nothing)}
    ),
    "api/v1/drift/<uuid:id>/actions/reopen": Route(
        _drift("/actions/reopen", state="ignored"), {"POST": _call(_DRIFT.format(200), _nothing)}
    ),
    # -- one's own
    "api/v1/tokens": Route(
        _at("tokens"),
        {
            "GET": SIGNED_IN,
            "POST": _call(_OWN.format(201), lambda world: {"name": "backup", "scopes": ["vm:read"]}),
        },
    ),
    "api/v1/tokens/<uuid:id>": Route(
        lambda world: f"/api/v1/tokens/{world.token('owner')[0].pk}", {"DELETE": _call(_ONLY_OWNERS_OWN.format(204))}
    ),
    "api/v1/ssh-keys": Route(
        _at("ssh-keys"),
        {"GET": SIGNED_IN, "POST": _call(_OWN.format(201), lambda world: {"public_key": SSH_KEY, "name": "laptop"})},
    ),
    "api/v1/ssh-keys/<uuid:id>": Route(
        lambda world: f"/api/v1/ssh-keys/{world.key_of('owner').pk}", {"DELETE": _call(_ONLY_OWNERS_OWN.format(204))}
    ),
    # -- the API itself
    "api/v1/schema": Route(_at("schema"), {"GET": EVERYBODY}),
    "api/v1/docs": Route(_at("docs"), {"GET": EVERYBODY}),
    # everything else: nothing is there, for whoever may know
    "api/v1/": Route(_at("no-such-thing"), {"GET": _call("401 404 404 404 404 404 404 404")}),
}


def _stuck(world: World) -> str:
    from portal.operations.models import Operation

    id = _busy(world)
    Operation.objects.unscoped("test").filter(pk=id).update(state="stuck")
    return id


def _busy(world: World) -> str:
    from portal.operations.services import active_on

    operation = active_on("vm", world.machines["busy"].pk)
    assert operation is not None
    return str(operation.pk)
