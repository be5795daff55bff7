"""Reads about images: who uses them, who sees them, where copies of them lie, and what may be done with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, QuerySet

from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms.image_states import ImageAction, ImageFacts, verdicts
from vms.models import VM, Backup, Image, ImageCopy, Layer
from vms.states import Verdict

MOST_NAMED = 10


@dataclass(frozen=True)
class Users:
    """The machines made of an image: some of those that the actor sees, how many these are, and how many others.

    `has_disks`: a disk stands on it, be it of a machine or of none; `has_backups`: a restore of one would need it.
    """

    named: list[VM]
    visible: int
    others: int
    has_disks: bool
    has_backups: bool = False

    @property
    def words(self) -> str:
        """`web, db and 3 machines of others stand on it.`; "" where none does."""
        names = [f"{vm.name} (in the bin)" if vm.binned_at else vm.name for vm in self.named]
        if self.visible > len(names):
            names.append(_machines(self.visible - len(names), "more"))
        if self.others:
            names.append(_machines(self.others, "of others" if names else "that you do not see"))
        if not names:
            return self._words_of_things
        many = len(names) > 1 or self.visible + self.others > 1
        *first, last = names
        return f"{', '.join(first)}{' and ' if first else ''}{last} {'stand' if many else 'stands'} on it."

    @property
    def _words_of_things(self) -> str:
        if self.has_disks:
            return "Disks stand on it."
        return "Backups of machines made of it need it." if self.has_backups else ""


def _machines(count: int, which: str) -> str:
    return f"{count} machine{'s' if count > 1 else ''} {which}"


def users(actor: Actor, image: Image) -> Users:
    """Five queries."""
    total = VM.objects.unscoped("only counted").filter(image=image).count()
    own = VM.objects.for_actor(actor).filter(image=image)
    visible = own.count()
    named = list(own.select_related("tenant").order_by("name")[:MOST_NAMED])
    backups = Backup.objects.unscoped("only counted").filter(image=image)
    return Users(
        named, visible, total - visible, Layer.objects.filter(image=image).exists(), has_backups=backups.exists()
    )


def use_counts(images: Iterable[Image]) -> Mapping[UUID, int]:
    """How many machines were made of each. One query."""
    rows = VM.objects.unscoped("only counted").filter(image__in=[image.pk for image in images]).order_by()
    return dict(rows.values_list("image_id").annotate(count=Count("pk")))


def used_by_words(count: int) -> str:
    """For lists, where nobody is named."""
    if not count:
        return ""
    return "A machine stands on it." if count == 1 else f"{count} machines stand on it."


def is_insider(actor: Actor, image: Image) -> bool:
    """Whether it is the actor's tenant's, or the actor the provider's: others learn nothing of who does what there."""
    return actor.is_provider or image.tenant_id in actor.memberships


def copies(actor: Actor, image: Image) -> QuerySet[ImageCopy]:
    """Where its file lies; hosts are the provider's."""
    actor.require(Permission.HOST_READ)
    return ImageCopy.objects.filter(sha256=image.sha256).exclude(sha256="").select_related("pool__host")


def actions(
    actor: Actor, image: Image, operation: Operation | None, used_by: str, tenant_id: UUID | None = None
) -> Mapping[ImageAction, Verdict]:
    """What this actor may do with it now, and why not. `tenant_id` is whose machine is to be made of it."""
    facts = ImageFacts(
        state=image.state,
        visibility=image.visibility,
        is_active=image.is_active,
        is_owned=image.tenant_id is not None,
        busy_with=operation.title if operation else "",
        used_by=used_by,
    )
    found = verdicts(facts)
    return {action: _with_role(actor, image, action, tenant_id) or verdict for action, verdict in found.items()}


def _with_role(actor: Actor, image: Image, action: ImageAction, tenant_id: UUID | None) -> Verdict | None:
    """The refusal, where the actor's role is what stands in the way."""
    if action is ImageAction.CREATE:
        return _may_create(actor, tenant_id)
    permission = Permission.IMAGE_SHARE if action is ImageAction.SHARE else Permission.IMAGE_WRITE
    owner = None if action is ImageAction.PUBLISH else image.tenant_id
    if actor.can(permission, owner):
        return None
    if action is not ImageAction.PUBLISH and image.tenant_id and image.tenant_id not in actor.memberships:
        return Verdict(False, "It belongs to another tenant.")
    return Verdict(False, actor.why_not(permission, owner))


def _may_create(actor: Actor, tenant_id: UUID | None) -> Verdict | None:
    tenants = [tenant_id] if tenant_id else [None, *actor.memberships]
    if any(actor.can(Permission.VM_WRITE, each) for each in tenants):
        return None
    return Verdict(False, actor.why_not(Permission.VM_WRITE, tenants[-1]))
