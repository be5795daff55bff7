"""Reads of what tenants own. Lists cost the same number of queries however long they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Case, Count, Max, Model, Q, QuerySet, When
from django.utils import timezone

from hosts import metrics
from portal.core import text
from portal.core.errors import Invalid, NotFound
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each, in_the_way
from portal.tenancy import gate
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms import intake
from vms import resolutions as of_drift
from vms.models import (
    VM,
    Drift,
    DriftState,
    Flavor,
    Image,
    ImageState,
    ImageUpload,
    Schedule,
    ScheduleRun,
    Visibility,
    VmUsage,
)
from vms.resolutions import Resolution
from vms.states import ALLOWED, Action, Facts, Verdict, verdicts

M = TypeVar("M", bound=Model)
# By an administrator: it is the provider's, or was made public.
_VOUCHED_FOR = Q(tenant=None) | Q(visibility=Visibility.PUBLIC)
OFFERED = Q(is_active=True, state=ImageState.READY)
STATUSES = ("building", "running", "paused", "stopped", "error", "deleting")
PERMISSION_OF = {Action.CONSOLE: Permission.VM_CONSOLE, Action.MIGRATE: Permission.HOST_WRITE}


def vms(
    actor: Actor, *, tenant: Tenant | None = None, search: str = "", status: str = "", binned: bool = False
) -> QuerySet[VM]:
    """Newest first, with all that a row shows: those in the bin, or all others."""
    rows = VM.objects.for_actor(actor).select_related("tenant", "flavor", "image", "host").prefetch_related("nics")
    rows = rows.filter(binned_at__isnull=not binned)
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    if search:
        rows = rows.filter(Q(name__icontains=search) | Q(nics__ip__startswith=search)).distinct()
    return rows.filter(_with_status(status)) if status else rows


def vm(actor: Actor, id: UUID | str, permission: Permission = Permission.VM_READ) -> VM:
    return gate.get(VM, actor, permission, id, related=("tenant", "flavor", "image", "host"))


def status_counts(actor: Actor, tenant: Tenant) -> dict[str, int]:
    """How many machines of the tenant are in each status that any is in, without the bin. One query."""
    rows = VM.objects.for_actor(actor).filter(tenant=tenant, binned_at=None).order_by()
    counts: dict[str, int] = {}
    for lifecycle, power, missing, count in rows.values_list("lifecycle", "observed_power", "is_missing").annotate(
        count=Count("pk")
    ):
        status = VM(lifecycle=lifecycle, observed_power=power, is_missing=missing).status
        counts[status] = counts.get(status, 0) + count
    return counts


def in_bin(actor: Actor, tenant: Tenant) -> int:
    """How many machines of the tenant lie in the bin."""
    return vms(actor, tenant=tenant, binned=True).count()


def latest_of(actor: Actor, tenant: Tenant) -> VM | None:
    """The machine this actor made last in the tenant: what they chose then, they likely choose again."""
    return VM.objects.for_actor(actor).filter(tenant=tenant, created_by=actor.label).first()


def taken_names(actor: Actor, tenant: Tenant, names: Iterable[str]) -> set[str]:
    """Which of these names machines of the tenant have."""
    rows = VM.objects.for_actor(actor).filter(tenant=tenant, binned_at=None, name__in=list(names))
    return set(rows.values_list("name", flat=True))


def actions(actor: Actor, vm: VM, operation: Operation | None) -> Mapping[Action, Verdict]:
    """What this actor may do with this machine now, and why not."""
    facts = Facts(
        vm.status,
        busy_with=in_the_way(operation),
        is_only_read=operation is not None and operation.only_reads,
        is_protected=vm.is_protected,
        is_binned=vm.is_binned,
        has_host_failed=vm.host.has_failed,
        has_lease=vm.expires_at is not None,
        is_lease_over=vm.is_lease_over,
    )
    return {action: _with_role(actor, vm, action, verdict) for action, verdict in verdicts(facts).items()}


def _with_role(actor: Actor, vm: VM, action: Action, verdict: Verdict) -> Verdict:
    permission = PERMISSION_OF.get(action, Permission.VM_WRITE)
    if actor.can(permission, vm.tenant_id):
        return verdict
    return Verdict(False, actor.why_not(permission, vm.tenant_id))


def drift(actor: Actor, *, state: str = "", host: str = "") -> QuerySet[Drift]:
    """Newest first, with all that a card shows; of one host by its name."""
    actor.require(Permission.HOST_READ)
    rows = Drift.objects.for_actor(actor).select_related("host", "vm__tenant")
    if host:
        rows = rows.filter(host__name=host)
    return rows.filter(state=state) if state else rows


def one_drift(actor: Actor, id: UUID | str, permission: Permission = Permission.HOST_READ) -> Drift:
    return gate.get(Drift, actor, permission, id, related=("host", "vm__tenant"))


def open_drift(actor: Actor) -> int:
    """How many wait for an administrator."""
    return drift(actor, state=DriftState.OPEN).count()


def busy_with(cards: Iterable[Drift]) -> dict[UUID, Operation]:
    """What works on each of them or on its machine now, by id of the drift."""
    cards = list(cards)
    found = active_on_each({target for drift in cards for target in (drift.pk, drift.vm_id) if target is not None})
    working = {drift.pk: found.get(drift.pk) or found.get(drift.vm_id or drift.pk) for drift in cards}
    return {id: operation for id, operation in working.items() if operation is not None}


def resolutions(actor: Actor, drift: Drift, operation: Operation | None) -> Mapping[Resolution, Verdict]:
    """What this actor may do about it now, and why not."""
    if not actor.can(Permission.HOST_WRITE):
        refusal = Verdict(False, actor.why_not(Permission.HOST_WRITE))
        return dict.fromkeys(Resolution, refusal)
    busy = operation.title if operation else ""
    return of_drift.verdicts(of_drift.Facts(drift.kind, drift.state, drift.evidence, busy_with=busy))


def schedules(actor: Actor, *, tenant: Tenant | None = None, vm_id: UUID | None = None) -> QuerySet[Schedule]:
    """Newest first, with all that a row shows."""
    rows = Schedule.objects.for_actor(actor).select_related("tenant", "vm").order_by("-created_at", "-id")
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    return rows.filter(vm_id=vm_id) if vm_id is not None else rows


def schedule(actor: Actor, id: UUID | str, permission: Permission = Permission.VM_READ) -> Schedule:
    return gate.get(Schedule, actor, permission, id, related=("tenant", "vm"))


def may_schedule(actor: Actor, tenant_id: UUID) -> Verdict:
    is_allowed = actor.can(Permission.VM_WRITE, tenant_id)
    return Verdict(is_allowed, "" if is_allowed else actor.why_not(Permission.VM_WRITE, tenant_id))


def last_runs(schedule_ids: Collection[UUID]) -> dict[UUID, ScheduleRun]:
    """The latest of each, by id of schedule. One query."""
    latest = ScheduleRun.objects.filter(schedule_id__in=schedule_ids).values("schedule_id")
    ids = latest.annotate(latest=Max("pk")).order_by().values("latest")
    return {run.schedule_id: run for run in ScheduleRun.objects.filter(pk__in=ids)}


def images(actor: Actor, tenant: Tenant | None = None) -> QuerySet[Image]:
    """Of one's own all, of others what machines can be made of; what a tenant may use, or the actor sees."""
    rows = Image.objects.for_actor(actor)
    if tenant is not None:
        rows = rows.available_to(tenant)
    if actor.is_provider and tenant is None:
        return rows
    own = Q(tenant=tenant) if tenant is not None else Q(tenant_id__in=actor.tenants_with(Permission.IMAGE_READ))
    return rows.filter(own | OFFERED)


def offered_images(actor: Actor, tenant: Tenant) -> QuerySet[Image]:
    """What the tenant's machines can be made of."""
    return images(actor, tenant).filter(OFFERED)


def all_images(actor: Actor) -> QuerySet[Image]:
    """Of all tenants: the provider's list."""
    actor.require(Permission.HOST_READ)
    return Image.objects.for_actor(actor).select_related("tenant")


def all_flavors(actor: Actor) -> QuerySet[Flavor]:
    """Retired ones as well: the provider's list."""
    actor.require(Permission.HOST_READ)
    return Flavor.objects.all()


def image(actor: Actor, tenant: Tenant, slug_or_id: object, field: str | None = None) -> Image:
    """One that a machine of the tenant can be made of.

    A slug is that of one's own or of a public one: what others share goes by id, or it could take another's place.
    The nearest is meant, offered or not: none steps in for one that is deprecated.
    """
    rows = Image.objects.for_actor(actor).available_to(tenant)
    if not text.is_id(slug_or_id):
        rows = rows.filter(Q(tenant=tenant) | _VOUCHED_FOR)
    found = _image(rows, slug_or_id, [tenant.pk])
    if found is None:
        raise unknown("image", field)
    if not found.is_offered:
        why = "its file is not there yet" if found.is_active else f"it is deprecated. {found.deprecation}".strip()
        raise Invalid(f"No machine can be made of {found.name}: {why}", code="image_not_offered", field=field)
    return found


def any_image(actor: Actor, slug_or_id: object, permission: Permission = Permission.IMAGE_READ) -> Image:
    """One that the actor sees; of those with one slug their own comes first, then the provider's. See `image`."""
    actor.require_scope(permission)
    rows = images(actor).select_related("tenant")
    if not actor.is_provider and not text.is_id(slug_or_id):
        rows = rows.filter(Q(tenant__in=list(actor.memberships)) | _VOUCHED_FOR)
    found = _image(rows, slug_or_id, actor.memberships)
    if found is None:
        raise unknown("image")
    actor.require(permission, found.tenant_id)
    return found


def _image(rows: QuerySet[Image], slug_or_id: object, own: Iterable[UUID]) -> Image | None:
    nearness = Case(When(tenant_id__in=list(own), then=0), When(tenant=None, then=1), default=2)
    return _by_slug_or_id(rows.order_by(nearness, "created_at", "id"), slug_or_id)


def uploads(actor: Actor, tenant: Tenant | None = None) -> QuerySet[ImageUpload]:
    """Newest first, those that have ended as well, for a day."""
    rows = ImageUpload.objects.for_actor(actor).select_related("tenant")
    return rows.filter(tenant=tenant) if tenant is not None else rows


def upload_actions(actor: Actor, upload: ImageUpload) -> Mapping[str, Verdict]:
    """What this actor may do with it now, and why not."""
    if not actor.can(Permission.IMAGE_WRITE, upload.tenant_id):
        refusal = Verdict(False, actor.why_not(Permission.IMAGE_WRITE, upload.tenant_id))
        return dict.fromkeys(("send", "finish", "delete"), refusal)
    if upload.finished_at is not None:
        return dict.fromkeys(("send", "finish", "delete"), Verdict(False, "It was finished already."))
    is_whole = intake.received(upload.pk) == upload.size_bytes
    send = Verdict(False, "All of it is there.") if is_whole else ALLOWED
    finish = ALLOWED if is_whole else Verdict(False, "Some of it is still to be sent.")
    return {"send": send, "finish": finish, "delete": ALLOWED}


def upload(actor: Actor, id: UUID | str) -> ImageUpload:
    return gate.get(ImageUpload, actor, Permission.IMAGE_READ, id, related=("tenant",))


def any_flavor(actor: Actor, slug_or_id: object, permission: Permission = Permission.FLAVOR_READ) -> Flavor:
    """One that can be chosen; for who may change flavors, retired ones as well."""
    found = _by_slug_or_id(Flavor.objects.all() if actor.can(Permission.FLAVOR_WRITE) else flavors(), slug_or_id)
    if found is None:
        raise unknown("flavor")
    actor.require(permission)
    return found


def flavors() -> QuerySet[Flavor]:
    return Flavor.objects.filter(is_active=True)


def flavor(slug_or_id: object, field: str | None = None) -> Flavor:
    found = _by_slug_or_id(flavors(), slug_or_id)
    if found is None:
        raise unknown("flavor", field)
    return found


def _by_slug_or_id(rows: QuerySet[M], slug_or_id: object) -> M | None:
    """What looks like an id is one, whatever slugs there are."""
    wanted = str(slug_or_id)
    return rows.filter(pk=UUID(wanted)).first() if text.is_id(wanted) else rows.filter(slug=wanted).first()


def used_by(vm: VM, span: str) -> dict[str, Any]:
    """What the machine used until now, as hosts.metrics.series says it."""
    return metrics.series(VmUsage.objects.filter(vm=vm), span, vm.vcpus, timezone.now())


def unknown(what: str, field: str | None = None) -> Invalid | NotFound:
    """In a body it is that field's error; as an address it is a 404."""
    words = f"There is no such {what}."
    return Invalid(words, code="unknown_reference", field=field) if field else NotFound(words)


def _with_status(status: str) -> Q:
    if status not in STATUSES:
        raise Invalid(f"Use one of: {', '.join(STATUSES)}.", field="status")
    if status == "error":
        return Q(lifecycle="error") | Q(lifecycle="ready", is_missing=True)
    if status in ("building", "deleting"):
        return Q(lifecycle=status)
    return Q(lifecycle="ready", observed_power=status, is_missing=False)
