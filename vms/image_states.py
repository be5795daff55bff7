"""What may be done with an image, and why not: one pure function for service, API and button."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vms.models import ImageState, Visibility
from vms.states import ALLOWED, Verdict


class ImageAction(StrEnum):
    """CREATE a machine of it; CHANGE its properties; SHARE it with tenants, or no longer; PUBLISH it to everybody."""

    CREATE = "create-vm"
    CHANGE = "change"
    SHARE = "share"
    PUBLISH = "publish"
    DEPRECATE = "deprecate"
    OFFER = "offer"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """All that decides. `used_by` says who stands in the way of its end, "" where nobody does."""

    state: str
    visibility: str
    is_active: bool
    is_owned: bool
    busy_with: str = ""
    used_by: str = ""


_BESIDE_OTHERS = frozenset({ImageAction.CHANGE, ImageAction.DEPRECATE, ImageAction.OFFER, ImageAction.SHARE})
_NEEDS_FILE = frozenset({ImageAction.CREATE, ImageAction.SHARE, ImageAction.PUBLISH})


def verdict(action: ImageAction, facts: ImageFacts) -> Verdict:
    if facts.state == ImageState.DELETING:
        return Verdict(False, "It is being deleted.")
    if facts.busy_with and action not in _BESIDE_OTHERS and action is not ImageAction.CREATE:
        return Verdict(False, f"“{facts.busy_with}” is still under way.")
    if facts.state == ImageState.PENDING and action in _NEEDS_FILE | {ImageAction.DELETE}:
        return Verdict(False, "Wait until its file is there.")
    refusal = _REFUSALS[action](facts) if action in _REFUSALS else ""
    return Verdict(False, refusal) if refusal else ALLOWED


def _no_create(facts: ImageFacts) -> str:
    return "" if facts.is_active else "It is deprecated: no new machines are made of it."


def _no_share(facts: ImageFacts) -> str:
    if not facts.is_owned:
        return "It is the provider's own: it is public, or nobody's."
    return "Everybody sees it already." if facts.visibility == Visibility.PUBLIC else ""


def _no_deprecation(facts: ImageFacts) -> str:
    return "" if facts.is_active else "It is deprecated already."


def _no_offer(facts: ImageFacts) -> str:
    return "It is offered already." if facts.is_active else ""


def _no_delete(facts: ImageFacts) -> str:
    return facts.used_by


_REFUSALS = {
    ImageAction.CREATE: _no_create,
    ImageAction.SHARE: _no_share,
    ImageAction.DEPRECATE: _no_deprecation,
    ImageAction.OFFER: _no_offer,
    ImageAction.DELETE: _no_delete,
}


def verdicts(facts: ImageFacts) -> Mapping[ImageAction, Verdict]:
    return {action: verdict(action, facts) for action in ImageAction}
