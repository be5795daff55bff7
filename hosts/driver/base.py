"""The Protocol between Berth and a hypervisor host.

Held by `kvm.KvmDriver` (libvirt) and `memory.MemoryDriver` (for fast tests) alike; tests/driver runs one suite
over both.

Every call has a deadline in seconds that holds even when the daemon hangs: it then raises `Timeout` and the
connection is thrown away. Every call may raise `Unreachable`. Calls named `ensure_*` and `delete_*` are idempotent:
they look before they leap, so a step that is run twice leaves the same state as one that is run once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

from .types import (
    Accelerator,
    AcceleratorVerdict,
    Arrival,
    BackupFacts,
    BackupSpec,
    CopyFacts,
    DiskLimits,
    DiskSpec,
    DomainEvent,
    DomainSpec,
    DomainState,
    FreshLayer,
    HostFacts,
    HostStats,
    Inventory,
    Journey,
    Lease,
    Merge,
    MergeFacts,
    MigrationFacts,
    PoolFacts,
    PoolSpec,
    PowerState,
    VolumeFacts,
)

Progress = Callable[[float], None]
"""Called with a fraction between 0 and 1 during long calls; it may raise to stop the call."""
Take = Callable[[bytes], object]
"""Called with each piece of what is read, in order; it may raise to stop the call."""


class Driver(Protocol):
    """One host."""

    # -- the host ------------------------------------------------------------------------------------------------

    def facts(self) -> HostFacts:
        """Versions, CPU, memory, accelerators offered (not proven) and pools."""

    def probe_accelerator(self, accelerator: Accelerator, pool: str, deadline: float) -> AcceleratorVerdict:
        """Boot a trivial guest and wait until it has said that it runs. Leaves nothing behind, also after a hang."""

    def ensure_pool(self, name: str, path: Path) -> PoolFacts:
        """A started, autostarted directory pool at `path`, which is made where missing."""

    def define_pool(self, spec: PoolSpec) -> PoolFacts:
        """A started, autostarted pool of any kind; only directories are made where missing.

        AlreadyExists where the name is that of another pool. Whatever the host lacks for it (a server, a volume group,
        a driver of libvirt's) is a DriverError with the host's words.
        """

    def ensure_network(self, name: str, candidates: Sequence[str]) -> str:
        """A started, autostarted NAT network with DHCP for static hosts, on the first free one of the candidate CIDRs.

        Returns the CIDR the network has (that of an existing one, if it exists).
        """

    def inventory(self, pools: Sequence[str], network: str) -> Inventory:
        """Everything there is, looked at anew: also what was changed on the host's disk behind the daemon's back."""

    def stats(self) -> HostStats:
        """Counters of the host and of all guests that are on, read at once; two readings tell what happened between."""

    def delete_pool(self, name: str) -> None:
        """Remove the pool, and its directory where that is empty; files stay. No effect where it is gone."""

    def delete_network(self, name: str) -> None:
        """Stop and remove the network; no effect where it is gone."""

    # -- volumes -------------------------------------------------------------------------------------------------

    def list_volumes(self, pool: str) -> list[VolumeFacts]: ...

    def refresh_pool(self, pool: str) -> None:
        """Look anew at what lies in it, where another host may have made or removed volumes."""

    def volume(self, pool: str, name: str) -> VolumeFacts | None:
        """The volume, or None where there is no such volume."""

    def ensure_overlay(self, pool: str, name: str, backing: str, capacity_bytes: int) -> VolumeFacts:
        """A qcow2 overlay on a qcow2 volume of the same pool. AlreadyExists if the name has another backing file."""

    def ensure_volume(self, pool: str, name: str, capacity_bytes: int) -> VolumeFacts:
        """An empty qcow2 volume; AlreadyExists if the name is that of an overlay or of another format."""

    def upload(
        self,
        pool: str,
        name: str,
        source: Path | bytes,
        fmt: str,
        progress: Progress | None = None,
        *,
        replace: bool = True,
    ) -> VolumeFacts:
        """Write a whole volume of format `fmt` ("raw" or "qcow2"), replacing one that is there.

        With `replace` False a whole one stays, for others may stand on it, and this call is Busy.

        Until the last byte is written and counted there is no such volume for `volume`, `list_volumes` and
        `ensure_overlay`, also when this call is killed on the way. Busy while somebody else uploads the same name.
        """

    def download(self, pool: str, name: str, take: Take, progress: Progress | None = None) -> int:
        """Give `take` all bytes of a whole volume's file that nobody writes to; how many they were, or an error."""

    def copy_volume(
        self, job: UUID, attempt: int, pool: str, source: str, name: str, *, into: str | None = None
    ) -> CopyFacts:
        """Begin to copy a qcow2 volume that nobody writes to, with all that it stands on, or tell how far that is.

        The new volume `name` lies in the pool `into`, where one is named, and otherwise in that of its source.

        The host goes on by itself, whatever becomes of the caller, who asks again with the same `job` until it is
        complete. Until then there is no volume `name` for `volume` and `list_volumes`. A copy that the host lost, with
        its power or alone, begins anew at the next call; one that failed is NoSpace or a DriverError, and is gone.
        AlreadyExists where `name` is there, and is no qcow2 volume of at least the source's size that stands on
        nothing. InvalidState where a pool is not active. Busy while another caller begins it; a later `attempt`, the
        operation's fencing number, takes over from one that died there.
        """

    def end_copy(self, job: UUID) -> None:
        """Stop a copy that is under way; its volume stays unfinished. No effect where there is none."""

    def grow_volume(self, pool: str, name: str, capacity_bytes: int) -> None:
        """Make a volume of a stopped domain larger; no effect where it is that large already. Never shrinks."""

    def delete_volume(self, pool: str, name: str) -> None:
        """Remove the volume; no effect where it is gone."""

    # -- layers --------------------------------------------------------------------------------------------------

    def freeze(
        self,
        uuid: UUID,
        layers: Sequence[FreshLayer],
        *,
        quiesce: bool = False,
        memory: str | None = None,
        progress: Progress | None = None,
    ) -> bool:
        """Let a running or paused domain write to fresh layers from now on, all at one moment; no effect once it does.

        With `quiesce` the guest's agent, if there is one that answers, makes file systems consistent first; returns
        whether it did, False too where the freeze was done by an earlier call. `memory` names a raw volume in the
        first layer's pool into which the guest's memory of that moment is written; it stands still meanwhile.
        InvalidState where it is off. Busy while an earlier call is still at it.
        """

    def end_freeze(self, uuid: UUID) -> None:
        """End a freeze by an earlier call that still writes down the guest's memory: it goes on with the disks it had.

        No effect where none is under way, nor on one that is past that and was done. Busy where it has not ended yet.
        """

    def restore(self, uuid: UUID, pool: str, memory: str) -> None:
        """Start a domain that is off, as it is defined now, from the memory that `freeze` has written.

        No effect where it runs. Unsupported or Invalid where that memory is not one of such a domain.
        """

    def merge(self, job: UUID, merge: Merge, *, may_switch: bool) -> MergeFacts:
        """Begin to make one volume of two, or tell how far that is; live on the running domain, beside it else.

        The host goes on by itself; ask again with the same `job` until `kept` says which of both volumes remains. The
        other one is the caller's to delete. What has merged the wrong way round because the host lost power
        meanwhile is merged again. The guest is not switched to another file before `may_switch`: by then the caller has
        written down that this may happen, as only that tells afterwards which file has its last bytes.
        CannotMerge where the domain that runs has no way to; NoSpace.
        """

    def end_merge(self, job: UUID, merge: Merge, *, may_switch: bool) -> str | None:
        """Stop a merge that is under way: both volumes stay, and `layer` is of no use for itself any more.

        Which volume remains, where it was done by now. `may_switch`: whether a call of `merge` had that.
        """

    # -- network -------------------------------------------------------------------------------------------------

    def ensure_dhcp_host(self, network: str, mac: str, ip: str) -> None:
        """The guest with this MAC gets this IPv4 address by DHCP, and no other guest does."""

    def delete_dhcp_host(self, network: str, mac: str) -> None: ...

    def leases(self, network: str) -> list[Lease]: ...

    # -- domains -------------------------------------------------------------------------------------------------

    def list_domains(self) -> list[DomainState]:
        """All domains of the host in one bulk call."""

    def state(self, uuid: UUID) -> DomainState | None:
        """The domain's state, or None where it is not defined."""

    def define(self, spec: DomainSpec) -> None:
        """Define, or redefine with the same UUID; validated by libvirt's schema.

        Superseded where the definition that is there was made by a later `attempt`.
        """

    def undefine(self, uuid: UUID) -> None:
        """Remove the definition and all that libvirt keeps beside it; no effect where it is gone. The domain is off."""

    def start(self, uuid: UUID) -> None:
        """No effect where it runs already."""

    def shutdown(self, uuid: UUID) -> None:
        """Ask the guest by ACPI to power off; returns at once. No effect where it is off."""

    def reboot(self, uuid: UUID) -> None:
        """Restart the guest; InvalidState where it is off."""

    def destroy(self, uuid: UUID) -> None:
        """Cut the power; no effect where it is off or gone."""

    def suspend(self, uuid: UUID) -> None: ...

    def resume(self, uuid: UUID) -> None: ...

    def wait_for(self, uuid: UUID, wanted: Iterable[PowerState], deadline: float) -> PowerState:
        """Wait until the domain is in one of the wanted states; Timeout when it is not by then."""

    # -- disks of a domain that runs ---------------------------------------------------------------------------------
    # What the next start takes is `define`'s alone.

    def attach_disk(self, uuid: UUID, disk: DiskSpec) -> None:
        """Give it to the guest; no effect where it has it, or where the domain is off. Busy while another one has it.

        AlreadyExists where the guest has another volume at that target.
        """

    def detach_disk(self, uuid: UUID, disk: DiskSpec) -> bool:
        """Ask the guest to let go of it, and wait a few seconds; whether it has. True where it does not have it.

        A guest that does not listen keeps it, and may let go later; asking again is right.
        """

    def grow_disk(self, uuid: UUID, disk: DiskSpec, capacity_bytes: int) -> None:
        """Make a disk larger under the guest, which sees it at once; no effect where it is that large already.

        InvalidState where the domain does not run with it.
        """

    def limit_disk(self, uuid: UUID, target: str, limits: DiskLimits) -> None:
        """Hold the running guest to these limits from now on; no effect where it has no such disk, or is off."""

    def move_disk(self, spec: DomainSpec, target: str) -> CopyFacts:
        """Begin to move a disk of a running domain to another volume, or tell how far that is.

        `spec` is the domain as it is to be afterwards: its disk `target` is the new volume, which is made here, in full
        and standing on nothing. The host goes on by itself, and the guest on its old volume, until a call finds both
        the same, switches, and defines `spec`. InvalidState where the domain does not run: what was copied so far then
        is unfinished, and `copy_volume` makes it anew. NoSpace or a DriverError where the copy failed.
        """

    def end_move(self, uuid: UUID, disk: DiskSpec) -> bool:
        """Stop a move to the volume `disk`, which is removed; True, and no effect, where the domain is on it by now."""

    # -- migration -----------------------------------------------------------------------------------------------

    def migrate(self, spec: DomainSpec, journey: Journey, prepare: Callable[[], None]) -> MigrationFacts:
        """Begin to move a domain from here to another host, or tell how far that is.

        `spec` is the domain as it is to be there; `prepare` is called before it is begun, for what it needs there. Both
        hosts go on by themselves, whatever becomes of the caller, who asks again until it is complete. Where it fails
        the guest runs on here. InvalidState where the domain is off, and should not be. Superseded where a later
        attempt has begun it. Busy while another job works on the domain.
        """

    def end_migration(self, uuid: UUID) -> bool:
        """Stop it where it is under way. False while it goes on all the same: it is about to end, or past return."""

    def stay(self, uuid: UUID) -> None:
        """After one that is over, and has not brought it to the other host: it is here as it was before it was begun.

        No effect where it is gone, or was never begun.
        """

    def arrival(self, uuid: UUID) -> Arrival | None:
        """What the migration here has cost; None where that is not known (any more)."""

    # -- backups -------------------------------------------------------------------------------------------------

    def back_up(self, uuid: UUID, spec: BackupSpec) -> BackupFacts:
        """Begin to copy a domain's disks, all as of one instant, or tell how far that is.

        The host goes on by itself; whoever asks again with the same spec is told. Until all is there, its volumes are
        unfinished. A guest with an agent is frozen for the instant of the beginning, and thawed whatever becomes of the
        caller. A domain that is off is started for it, paused, and powered off at the end.
        CheckpointLost where a disk has a parent and its changes are not known; nothing was begun then. Busy while
        another job works on the domain. One that failed is NoSpace or a DriverError, and is gone with its volumes.
        """

    def end_backup(self, uuid: UUID, spec: BackupSpec) -> None:
        """Stop it where it is under way, and remove its volumes and its checkpoint; no effect where all that is gone.

        A guest is thawed, a domain that was started for it powered off.
        """

    def thaw(self, uuid: UUID) -> None:
        """Let a guest write that was left frozen; no effect on others, and where no agent answers."""

    def checkpoints(self, uuid: UUID) -> frozenset[str]:
        """The names of the domain's checkpoints; none where it is gone."""

    def absorb(self, job: UUID, pool: str, name: str, base: str) -> CopyFacts:
        """Begin to give a qcow2 volume all that it reads from those below it, down to `base` ("" for all of them).

        Or tell how far that is: complete, it stands on `base`. What it reads as stays the same at each instant.
        """

    def end_absorb(self, job: UUID) -> None:
        """Stop that; the volume stays whole. No effect where it is not under way."""

    # -- streams and events --------------------------------------------------------------------------------------

    def open_display(self, uuid: UUID) -> socket.socket:
        """A connected socket that speaks RFB with the running domain's display."""

    def open_serial(self, uuid: UUID) -> socket.socket:
        """A connected socket with the raw bytes of the running domain's first serial port; takes over from others."""

    def watch(self, on_event: Callable[[DomainEvent], None], on_lost: Callable[[], None]) -> Callable[[], None]:
        """Call `on_event` (from another thread) at each lifecycle change; `on_lost` once when the connection breaks.

        Returns a function that stops watching.
        """

    def close(self) -> None: ...
