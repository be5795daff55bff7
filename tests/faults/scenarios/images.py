"""What is done with images. No host has a part in an import: its faults are the portal's own."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

from tests.faults.scenarios.base import Scenario
from tests.imaging import samples
from tests.stack import wait_until


class Import(Scenario):
    """Of a file that was sent."""

    kind = "image.import"
    seconds = 20

    def prepare(self) -> None:
        file = self.stack.data / f"sent-{secrets.token_hex(4)}"
        samples.converted("vmdk")(file)
        data = file.read_bytes()
        file.unlink()
        self.used = self._used()
        body = {"name": f"i-{secrets.token_hex(4)}", "format": "vmdk", "size_bytes": len(data)}
        answer = self.stack.api("POST", "/uploads", body)
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]
        headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert self.stack.api("PATCH", f"/uploads/{self.id}", data=data, headers=headers).status_code == 204

    def request(self) -> dict[str, Any]:
        return dict(self.stack.accepted("POST", f"/uploads/{self.id}/actions/finish", {})["operation"])

    def effect(self) -> bool:
        """The image and its file, or nothing at all; what was sent is gone in any case."""
        wait_until(lambda: not (self.stack.data / "intake" / self.id).exists(), 10, "the end of what was sent")
        answer = self.stack.api("GET", f"/images/{self.id}")
        if answer.status_code == 404:
            assert self._used() == self.used
            return False
        image = answer.json()
        assert image["state"] == "ready"
        assert hashlib.sha256(self._file(image).read_bytes()).hexdigest() == image["sha256"]
        return True

    def clean_up(self) -> None:
        if self.stack.api("GET", f"/images/{self.id}").status_code == 200:
            self.stack.succeeded("DELETE", f"/images/{self.id}")
        assert self._used() == self.used

    def _file(self, image: dict[str, Any]) -> Path:
        return self.stack.data / "images" / f"image-{image['sha256'][:32]}.qcow2"

    def _used(self) -> int:
        return int(self.stack.get("/quotas/demo")["used"]["image_mib"])


SCENARIOS = (Import,)
