"""What a large upload takes of memory: of the web process while it comes, of the worker while it becomes an image.

    .venv/bin/python -m tests.bench.upload [--mib 2048] [--way pieces|form]

Memory is the proportional set size of a part and all its children, tools among them, ten times a second. `idle` is
before the first byte, after a small upload has warmed everything up. Prints one JSON object, in MiB and seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.lab.fixtures import Lab
from tests.stack import Stack, running
from tests.tiny import build_tiny

MIB = 1 << 20
PIECE_MIB = 64
WATCHED = ("web", "worker")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--way", choices=("pieces", "form"), default="pieces")
    wanted = parser.parse_args()
    lab = Lab()
    try:
        with tempfile.TemporaryDirectory() as data:
            host = lab.up(1)[0]
            stack = Stack(Path(data), host.uri, host.directory / "pool", build_tiny())
            with running(stack):
                print(json.dumps(measure(stack, wanted.mib, wanted.way), indent=2))
    finally:
        lab.down()


def measure(stack: Stack, mib: int, way: str) -> dict[str, Any]:
    send = in_pieces if way == "pieces" else as_form
    finish(stack, send(stack, "warm", 8))
    time.sleep(2)
    idle = {part: memory(stack, part) for part in WATCHED}
    with peaks(stack) as sending:
        began = time.monotonic()
        operation = send(stack, "large", mib)
        took = time.monotonic() - began
    with peaks(stack) as importing:
        finished = finish(stack, operation)
    return {
        "mib": mib,
        "way": way,
        "sent_seconds": round(took, 1),
        "imported_seconds": round(finished, 1),
        "idle": rounded(idle),
        "above_idle_while_sent": rounded({part: sending[part] - idle[part] for part in WATCHED}),
        "above_idle_while_imported": rounded({part: importing[part] - idle[part] for part in WATCHED}),
    }


def content(first: int, count: int) -> Iterator[bytes]:
    """MiB that nothing can compress or share."""
    block = bytearray(os.urandom(MIB))
    for number in range(first, first + count):
        block[:8] = number.to_bytes(8, "big")
        yield bytes(block)


def in_pieces(stack: Stack, name: str, mib: int) -> dict[str, Any]:
    body = {"name": name, "format": "raw", "size_bytes": mib * MIB}
    id = stack.api("POST", "/uploads", body).json()["id"]
    for at in range(0, mib, PIECE_MIB):
        headers = {"Upload-Offset": str(at * MIB), "Content-Type": "application/offset+octet-stream"}
        data = content(at, min(PIECE_MIB, mib - at))
        assert stack.api("PATCH", f"/uploads/{id}", data=data, headers=headers).status_code == 204
    return dict(stack.accepted("POST", f"/uploads/{id}/actions/finish", {})["operation"])


def as_form(stack: Stack, name: str, mib: int) -> dict[str, Any]:
    edge = '--edge\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    head = "".join(f"{edge.format(key, '')}{value}\r\n" for key, value in (("name", name), ("format", "raw")))
    head += edge.format("file", '; filename="x"')
    tail = b"\r\n--edge--\r\n"

    class Form:
        """Iterated as it is sent, with a length, as a browser does it."""

        def __len__(self) -> int:
            return len(head) + mib * MIB + len(tail)

        def __iter__(self) -> Iterator[bytes]:
            yield head.encode()
            yield from content(0, mib)
            yield tail

    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    answer = stack.api("POST", "/images", data=Form(), headers=headers)
    assert answer.status_code == 202, answer.text
    return dict(answer.json()["operation"])


def finish(stack: Stack, operation: dict[str, Any]) -> float:
    began = time.monotonic()
    ended = stack.finished(operation, seconds=900)
    assert ended["status"] == "succeeded", ended
    return time.monotonic() - began


@contextmanager
def peaks(stack: Stack) -> Iterator[dict[str, float]]:
    """The most that each part had while the block lasted."""
    most, over = dict.fromkeys(WATCHED, 0.0), threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            for part in WATCHED:
                most[part] = max(most[part], memory(stack, part))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def memory(stack: Stack, part: str) -> float:
    """MiB of the part and of all that stem from it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, look = set(), [stack.parts[part].pid]
    while look:
        pid = look.pop()
        found.add(pid)
        look += [child for child, parent in parents.items() if parent == pid and child not in found]
    return sum(pss_kib(pid) for pid in found) / 1024


def pss_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in values.items()}


if __name__ == "__main__":
    main()
