"""From POST to running, against the same steps done directly with libvirt-python, in one run.

    .venv/bin/python -m tests.bench.provision [--rounds 10]

The floor: overlay, seed volume, DHCP host, define, start, over one open connection, with nothing around it.
Ours: the same through the API, from sending the POST to the operation's end as the database has it.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import libvirt

from tests.lab.fixtures import Lab
from tests.stack import Stack, running
from tests.tiny import build_tiny

POOL, NETWORK = "berth", "berth"


@dataclass
class Timing:
    """Milliseconds of one create: the answer to the POST, and until it runs."""

    answer: float
    running: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    lab = Lab()
    try:
        with tempfile.TemporaryDirectory() as data:
            host = lab.up(1)[0]
            stack = Stack(Path(data), host.uri, host.directory / "pool", build_tiny())
            with running(stack):
                print(json.dumps(measure(stack, rounds), indent=2))
    finally:
        lab.down()


def measure(stack: Stack, rounds: int) -> dict[str, object]:
    stack.delete(stack.create())  # the image is on the host, everything is warm
    floor = Floor(stack.libvirt_uri, stack)
    ours, direct = [], []
    for _ in range(rounds):  # in turn, so that a slow spell of the machine hits both
        direct.append(floor.create())
        ours.append(create(stack))
    return report(ours, direct)


def create(stack: Stack) -> Timing:
    """One create through the API; the machine is deleted before the next."""
    token = stack.token()
    began = time.perf_counter()
    sent = time.time()
    body = {"name": f"b-{uuid4().hex[:8]}", "image": "tiny", "flavor": "nano", "tenant": "demo"}
    accepted = stack.accepted("POST", "/vms", body, token=token)
    answered = (time.perf_counter() - began) * 1000
    operation = stack.finished(accepted["operation"])
    assert operation["status"] == "succeeded", operation
    ended = datetime.fromisoformat(operation["finished_at"]).timestamp()
    stack.delete(accepted["vm"])
    return Timing(answered, (ended - sent) * 1000)


class Floor:
    """The same machine by libvirt alone. Its XML is one the portal made, so both define the same."""

    def __init__(self, uri: str, stack: Stack) -> None:
        self.connection = libvirt.open(uri)
        self.pool = self.connection.storagePoolLookupByName(POOL)
        self.network = self.connection.networkLookupByName(NETWORK)
        vm = stack.create()
        domain = self.connection.lookupByUUIDString(vm["id"])
        self.xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        root = ElementTree.fromstring(self.xml)
        self.disk, self.seed = (source.get("volume", "") for source in root.findall("devices/disk/source"))
        self.disk_xml = self.pool.storageVolLookupByName(self.disk).XMLDesc()
        seed = self.pool.storageVolLookupByName(self.seed)
        self.seed_bytes = Path(seed.path()).read_bytes()
        stack.delete(vm)

    def create(self) -> float:
        """Milliseconds until it runs; it is removed before the next."""
        name, uuid, mac = (
            f"floor-{uuid4().hex[:8]}",
            str(uuid4()),
            "52:54:00:" + ":".join(f"{b:02x}" for b in uuid4().bytes[:3]),
        )
        began = time.perf_counter()
        disk = self._overlay(f"{name}.qcow2")
        seed = self._seed(f"{name}.iso")
        host = f"<host mac='{mac}' ip='{self._address()}'/>"
        flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
        section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
        self.network.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, section, -1, host, flags)
        domain = self.connection.defineXMLFlags(self._domain(name, uuid, mac), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        domain.create()
        took = (time.perf_counter() - began) * 1000
        domain.destroy()
        domain.undefine()
        self.network.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, section, -1, host, flags)
        disk.delete()
        seed.delete()
        return took

    def _overlay(self, name: str) -> libvirt.virStorageVol:
        root = ElementTree.fromstring(self.disk_xml)
        root.find("name").text = name  # type: ignore[union-attr]
        for tag in ("key", "physical", "allocation"):
            if (element := root.find(tag)) is not None:
                root.remove(element)
        root.find("target").clear()  # type: ignore[union-attr]
        ElementTree.SubElement(root.find("target"), "format", type="qcow2")  # type: ignore[arg-type]
        return self.pool.createXML(ElementTree.tostring(root, encoding="unicode"))

    def _seed(self, name: str) -> libvirt.virStorageVol:
        size = len(self.seed_bytes)
        volume = self.pool.createXML(f"<volume><name>{name}</name><capacity>{size}</capacity></volume>")
        stream = self.connection.newStream()
        volume.upload(stream, 0, size)
        stream.sendAll(lambda _, count, state: _take(state, count), bytearray(self.seed_bytes))
        stream.finish()
        return volume

    def _address(self) -> str:
        root = ElementTree.fromstring(self.network.XMLDesc())
        return root.find("ip").get("address", "").rsplit(".", 1)[0] + ".200"  # type: ignore[union-attr]

    def _domain(self, name: str, uuid: str, mac: str) -> str:
        root = ElementTree.fromstring(self.xml)
        root.find("name").text, root.find("uuid").text = name, uuid  # type: ignore[union-attr]
        sources = root.findall("devices/disk/source")
        sources[0].set("volume", f"{name}.qcow2")
        sources[1].set("volume", f"{name}.iso")
        root.find("devices/interface/mac").set("address", mac)  # type: ignore[union-attr]
        if (parameter := root.find("devices/interface/filterref/parameter[@name='IP']")) is not None:
            parameter.set("value", self._address())
        return ElementTree.tostring(root, encoding="unicode")


def _take(state: bytearray, count: int) -> bytes:
    chunk = bytes(state[:count])
    del state[:count]
    return chunk


def report(ours: Sequence[Timing], direct: Sequence[float]) -> dict[str, object]:
    running_ms = [timing.running for timing in ours]
    answers = [timing.answer for timing in ours]
    median: Callable[[Sequence[float]], float] = statistics.median
    return {
        "rounds": len(ours),
        "floor_ms": {"median": round(median(direct)), "max": round(max(direct))},
        "post_to_running_ms": {"median": round(median(running_ms)), "max": round(max(running_ms))},
        "ratio": round(median(running_ms) / median(direct), 2),
        "goal": 1.15,
        "answer_ms": {"median": round(median(answers), 1), "max": round(max(answers), 1)},
    }


if __name__ == "__main__":
    main()
