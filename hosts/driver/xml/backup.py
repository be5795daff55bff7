"""Backups and checkpoints: https://libvirt.org/formatbackup.html, https://libvirt.org/formatcheckpoint.html"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, fromstring

from hosts.driver.types import BackupSpec, Consistency
from hosts.driver.xml.element import child, render


def backup_xml(spec: BackupSpec, paths: Mapping[str, str]) -> str:
    """QEMU writes by itself ("push") into the files in `paths` (by target), which are there."""
    root = Element("domainbackup", {"mode": "push"})
    disks = child(root, "disks")
    for disk in spec.disks:
        what = {"backupmode": "incremental", "incremental": spec.since} if disk.parent else {"backupmode": "full"}
        element = child(disks, "disk", name=disk.target, type="file", **what)
        child(element, "driver", type="qcow2")
        child(element, "target", file=paths[disk.target])
    return render(root)


def checkpoint_xml(spec: BackupSpec, consistency: Consistency) -> str:
    """Its description keeps how the guest was, for whoever asks after the one that began it has died."""
    root = Element("domaincheckpoint")
    child(root, "name", spec.checkpoint)
    child(root, "description", consistency.value)
    disks = child(root, "disks")
    for disk in spec.disks:
        child(disks, "disk", name=disk.target, checkpoint="bitmap")
    return render(root)


def written_volumes(xml: str) -> frozenset[str]:
    """The names of the files that a running backup writes."""
    targets = fromstring(xml).iterfind("disks/disk/target")  # noqa: S314  libvirtd wrote it
    return frozenset(PurePosixPath(target.get("file", "")).name for target in targets)


def consistency_of(xml: str) -> Consistency:
    """What a checkpoint's description says; one that says nothing promises nothing."""
    words = fromstring(xml).findtext("description")  # noqa: S314
    return Consistency(words) if words in set(Consistency) else Consistency.CRASH


def has_agent(xml: str) -> bool:
    """Whether something in the running guest has opened the agent's channel."""
    channels = fromstring(xml).iterfind("devices/channel/target[@name='org.qemu.guest_agent.0']")  # noqa: S314
    return any(target.get("state") == "connected" for target in channels)
