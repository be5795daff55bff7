"""What an audit can find. Everything here is shown to administrators only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID


class Kind(StrEnum):
    # of a host as a whole
    HOST_UNREAD = "host_unread"
    POOL_UNAVAILABLE = "pool_unavailable"
    NETWORK_UNAVAILABLE = "network_unavailable"
    # a machine whose power is not as its owner wants it; for the inbox only, an audit looks once
    STARTED_OUTSIDE = "started_outside"
    STOPPED_OUTSIDE = "stopped_outside"
    # a machine that is not on its host as it should be
    UNDEFINED_OUTSIDE = "undefined_outside"
    DEFINITION_CHANGED = "definition_changed"
    RUNNING_CHANGED = "running_changed"
    DISK_MISSING = "disk_missing"
    DISK_CHANGED = "disk_changed"
    DISK_LARGER = "disk_larger"
    ADDRESS_MISSING = "address_missing"
    # what nobody here knows
    DOMAIN_WITHOUT_VM = "domain_without_vm"
    FOREIGN_DOMAIN = "foreign_domain"
    DUPLICATE_DOMAIN = "duplicate_domain"
    DUPLICATE_ADDRESS = "duplicate_address"
    VOLUME_WITHOUT_OWNER = "volume_without_owner"
    UNFINISHED_VOLUME = "unfinished_volume"
    ADDRESS_WITHOUT_OWNER = "address_without_owner"
    # the books
    CLAIM_WITHOUT_VM = "claim_without_vm"
    CLAIM_WRONG = "claim_wrong"
    METERED_WRONG = "metered_wrong"
    METERED_WITHOUT_RESOURCE = "metered_without_resource"
    VM_WITHOUT_OPERATION = "vm_without_operation"
    OPERATION_ABANDONED = "operation_abandoned"
    OPERATION_STUCK = "operation_stuck"
    # a file that nothing needs, which the clock is to remove; for an audit only, as those of the image store
    LAYER_UNNEEDED = "layer_unneeded"
    # the image store; for an audit only
    IMAGE_FILE_WITHOUT_IMAGE = "image_file_without_image"
    IMAGE_WITHOUT_OPERATION = "image_without_operation"
    INTAKE_WITHOUT_OWNER = "intake_without_owner"


@dataclass(frozen=True, slots=True)
class Finding:
    """`host` is a host's name, "" where none is concerned; `object` names the thing as its host or the database does.

    `host_id` and `vm_id` are for who acts on it; `evidence` has what "is" and what "should" be, in JSON's types, and
    what a resolution needs to know.
    """

    kind: Kind
    host: str
    object: str
    detail: str
    host_id: UUID | None = None
    vm_id: UUID | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
