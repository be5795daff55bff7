"""What is done with images. No host has a part in an import: its faults are the portal's own."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

from tests.faults.scenarios.base import LARGE, Scenario
from tests.imaging import samples
from tests.stack import wait_until


class ImageScenario(Scenario):
    def send(self) -> str:
        """A file that only has to be finished; the id that its image will have."""
        file = self.stack.data / f"sent-{secrets.token_hex(4)}"
        samples.converted("vmdk")(file)
        data = file.read_bytes()
        file.unlink()
        body = {"name": f"i-{secrets.token_hex(4)}", "format": "vmdk", "size_bytes": len(data)}
        answer = self.stack.api("POST", "/uploads", body)
        assert answer.status_code == 201, answer.text
        id = str(answer.json()["id"])
        headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert self.stack.api("PATCH", f"/uploads/{id}", data=data, headers=headers).status_code == 204
        return id

    def new_image(self) -> str:
        id = self.send()
        self.stack.succeeded("POST", f"/uploads/{id}/actions/finish", {})
        return id

    def image(self, id: str) -> dict[str, Any] | None:
        answer = self.stack.api("GET", f"/images/{id}", user="admin")
        assert answer.status_code in (200, 404), answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    def is_whole(self, id: str) -> bool:
        """The image with its file, or nothing at all; what was on its way is gone in any case."""
        wait_until(lambda: not (self.stack.data / "intake" / id).exists(), 10, "the end of what was on its way")
        image = self.image(id)
        if image is None:
            return False
        assert image["state"] == "ready"
        assert hashlib.sha256(self.file(image).read_bytes()).hexdigest() == image["sha256"]
        return True

    def file(self, image: dict[str, Any]) -> Path:
        return self.stack.data / "images" / f"image-{image['sha256'][:32]}.qcow2"

    def delete_image(self, id: str) -> None:
        if self.image(id) is not None:
            self.stack.succeeded("DELETE", f"/images/{id}")

    def used(self) -> int:
        return int(self.stack.get("/quotas/demo")["used"]["image_mib"])


class Import(ImageScenario):
    """Of a file that was sent."""

    kind = "image.import"
    seconds = 20

    def prepare(self) -> None:
        self.before = self.used()
        self.id = self.send()

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", f"/uploads/{self.id}/actions/finish", {})["operation"])

    def effect(self) -> bool:
        is_there = self.is_whole(self.id)
        assert is_there or self.used() == self.before
        return is_there

    def clean_up(self) -> None:
        self.delete_image(self.id)
        assert self.used() == self.before


class Publish(ImageScenario):
    """Of a machine that is off, or one that runs. It is as it was, and nothing of the copy is left on its host."""

    kind = "image.publish"
    variants = {"running": (("freeze", "copy", "bring"), None)}
    seconds = 40

    def prepare(self) -> None:
        self.before = self.used()
        self.vm_id = self.new_vm()
        if self.variant != "running":
            self.act(self.vm_id, "force-off")

    def request(self) -> dict[str, Any]:
        body = {"name": f"i-{secrets.token_hex(4)}"}
        accepted = self.stack.accepted("POST", f"/vms/{self.vm_id}/actions/publish", body)
        self.id = str(accepted["image"]["id"])
        return dict(accepted["operation"])

    def effect(self) -> bool:
        assert self.host.copiers() == []
        assert f"{self.id}.qcow2" not in self.host.volumes()
        return self.is_whole(self.id)

    def check(self, operation: dict[str, Any]) -> None:
        super().check(operation)
        if self.variant == "running":
            self.status_becomes(self.vm_id, "running")
            self.act(self.vm_id, "force-off")
        self.act(self.vm_id, "start")  # nothing holds it any more

    def clean_up(self) -> None:
        self.delete_image(self.id)
        self.delete(self.vm_id)
        assert self.used() == self.before


class Delete(ImageScenario):
    """Of one that lies on a host as well."""

    kind = "image.delete"

    def prepare(self) -> None:
        self.before = self.used()
        self.id = self.new_image()
        self.path = self.file(self.image(self.id) or {})
        body = {"name": f"f-{secrets.token_hex(4)}", "image": self.id, "flavor": LARGE, "tenant": "demo"}
        self.delete(str(self.stack.succeeded("POST", "/vms", body)["vm"]["id"]))
        assert self.path.name in self.host.volumes()

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("DELETE", f"/images/{self.id}")["operation"])

    def effect(self) -> bool:
        """A host that was away keeps its copy until that is evicted."""
        is_gone = not self.is_whole(self.id)
        assert self.path.exists() != is_gone
        assert self.used() == self.before or not is_gone
        return is_gone

    def clean_up(self) -> None:
        self.delete_image(self.id)


class Evict(ImageScenario):
    """From a host where nobody stands on it."""

    kind = "image.evict"

    def prepare(self) -> None:
        self.id = self.new_image()
        self.path = self.file(self.image(self.id) or {})
        body = {"name": f"f-{secrets.token_hex(4)}", "image": self.id, "flavor": LARGE, "tenant": "demo"}
        self.delete(str(self.stack.succeeded("POST", "/vms", body)["vm"]["id"]))
        (self.copy,) = self.copies()

    def copies(self) -> list[str]:
        return [copy["id"] for copy in (self.image(self.id) or {})["copies"]]

    def request(self) -> dict[str, Any]:
        path, body = f"/images/{self.id}/actions/evict", {"copy": self.copy}
        return dict(self.stack.accepted("POST", path, body, user="admin")["operation"])

    def effect(self) -> bool:
        is_gone = self.path.name not in self.host.volumes()
        assert (self.copies() == []) == is_gone
        return is_gone

    def clean_up(self) -> None:
        self.delete_image(self.id)


SCENARIOS = (Import, Publish, Delete, Evict)
