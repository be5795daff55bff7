"""The host's own view, by virsh: what tests compare the portal's words with."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

TOKEN = "berth-storage"  # by which hosts recognise a pool: hosts.reach, which scripts without Django cannot import


class Host:
    """`inside` is the command prefix that enters the host's network."""

    def __init__(self, uri: str, pool_path: Path, netns: str) -> None:
        self.uri = uri
        self.pool_path = pool_path
        self.inside = ["ip", "netns", "exec", netns]

    def virsh(self, *arguments: str) -> str:
        done = subprocess.run(["virsh", "-q", "-c", self.uri, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def is_up(self) -> bool:
        return subprocess.run(["virsh", "-c", self.uri, "uri"], capture_output=True, timeout=60).returncode == 0

    def state(self, vm_id: str) -> str:
        return self.virsh("domstate", vm_id)

    def name(self, vm_id: str) -> str:
        return self.virsh("domname", vm_id)

    def xml(self, vm_id: str) -> ElementTree.Element:
        return ElementTree.fromstring(self.virsh("dumpxml", vm_id, "--inactive"))

    def domains(self) -> set[str]:
        return set(self.virsh("list", "--all", "--uuid").split())

    def running(self) -> set[str]:
        return set(self.virsh("list", "--state-running", "--uuid").split())

    def copiers(self) -> list[str]:
        """The domains that copy disks at the moment."""
        return [name for name in self.virsh("list", "--all", "--name").split() if name.startswith("berth-copy-")]

    def helpers(self) -> list[str]:
        """The domains that copy or merge disks at the moment."""
        names = self.virsh("list", "--all", "--name").split()
        return [name for name in names if name.startswith(("berth-copy-", "berth-merge-", "berth-absorb-"))]

    def backing(self, volume: str) -> str:
        """What a volume of the default pool stands on; "" for nothing."""
        self.virsh("pool-refresh", "berth")
        path = ElementTree.fromstring(self.virsh("vol-dumpxml", volume, "berth")).findtext("backingStore/path", "")
        return Path(path).name

    def root_volume(self, vm_id: str) -> str:
        source = self.xml(vm_id).find("devices/disk[@device='disk']/source")
        if source is None:
            return ""
        return source.get("volume") or Path(source.get("file", "")).name  # by its path while it is being merged

    def chain(self, vm_id: str) -> list[str]:
        """The files of its boot disk from the top down, the image left out."""
        name, found = self.root_volume(vm_id), []
        while name and not name.startswith("image-"):
            found.append(name)
            name = self.backing(name)
        return found

    def disks(self, vm_id: str) -> dict[str, str]:
        """The volumes of its definition by target, those of its drives too."""
        found = {}
        for disk in self.xml(vm_id).iterfind("devices/disk"):
            target, source = disk.find("target"), disk.find("source")
            assert target is not None
            assert source is not None
            found[target.get("dev", "")] = source.get("volume", "")
        return found

    def leases(self, network: str) -> str:
        return self.virsh("net-dhcp-leases", network)

    def volumes(self) -> set[str]:
        return {path.name for path in self.pool_path.iterdir()}

    def volumes_of_machines(self) -> set[str]:
        """All but images, and the token by which hosts recognise a pool."""
        return {name for name in self.volumes() if not name.startswith("image-")} - {TOKEN}

    def volumes_of_defined_domains(self) -> set[str]:
        sources = [source for vm_id in self.domains() for source in self.xml(vm_id).findall("devices/disk/source")]
        return {source.get("volume", "") for source in sources}

    def traces_of(self, vm_id: str) -> list[str]:
        """Everything on the host that names the machine: domain, volumes, address."""
        volumes = [name for name in self.volumes() if vm_id in name]
        network = self.virsh("net-dumpxml", "berth")
        return [name for name in (*volumes, *(self.domains() & {vm_id}), *([vm_id] if vm_id in network else []))]


def qemu_io(disk: Path, command: str) -> bool:
    """Whether it went well; of a read with a pattern, whether the pattern is there."""
    done = subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, disk], capture_output=True, text=True)
    return done.returncode == 0 and "failed" not in done.stdout
