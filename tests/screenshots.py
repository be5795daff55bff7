"""The pictures of the documentation, made by `scripts/screenshots` from a portal that really runs."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.lab.fixtures import Lab
from tests.stack import ROOT, Stack, running, wait_until
from tests.tiny import build_tiny

IMAGES = ROOT / "docs" / "images"
PAGES = {
    "vm-list": ("demo", "/t/demo/vms/"),
    "vm-create": ("demo", "/t/demo/vms/create/"),
    "vm-detail": ("demo", "/t/demo/vms/{vm}/"),
    "vm-console": ("demo", "/t/demo/vms/{vm}/console/"),
    "vm-snapshots": ("demo", "/t/demo/vms/{vm}/disks/"),
    "vm-backups": ("demo", "/t/demo/vms/{vm}/backups/"),
    "vm-bin": ("demo", "/t/demo/vms/bin/"),
    "vm-schedules": ("demo", "/t/demo/vms/{vm}/schedules/"),
    "backup-targets": ("admin", "/provider/backup-targets/"),
    "volume-detail": ("demo", "/t/demo/volumes/{volume}/"),
    "storage": ("admin", "/provider/storage/"),
    "image-list": ("demo", "/t/demo/images/"),
    "image-detail": ("demo", "/t/demo/images/{image}/"),
    "clusters": ("admin", "/provider/clusters/"),
    "host": ("admin", "/provider/hosts/local/"),
    "drift": ("admin", "/provider/drift/"),
    "audit": ("admin", "/provider/audit/?kind=vm"),
}


def main() -> None:
    lab = Lab()
    try:
        with tempfile.TemporaryDirectory() as data:
            host = lab.up(1)[0]
            stack = Stack(Path(data), host.uri, host.directory / "pool", build_tiny())
            with running(stack):
                vms = [stack.create(name) for name in ("calm-otter", "web-1", "build-agent")]
                stack.succeeded("POST", f"/vms/{vms[2]['id']}/actions/force-off", {})
                virsh(host.uri, "setvcpus", vms[1]["id"], "2", "--config", "--maximum")
                virsh(host.uri, "destroy", vms[1]["id"])
                wait_until(lambda: len(stack.get("/drift", user="admin")["results"]) == 2, 90, "both cards of drift")
                back_up(stack, vms[0], host.directory / "backups")
                image = new_image(stack, vms[2])
                set_up_schedules(stack, vms[0])
                take_snapshots(stack, vms[0])
                stack.succeeded("DELETE", f"/vms/{stack.create('old-web')['id']}")
                body = {"name": "projects", "size_gib": 20, "tenant": "demo", "vm": vms[0]["id"]}
                volume = stack.succeeded("POST", "/volumes", body)["volume"]
                take(stack, {"vm": vms[0]["id"], "image": image, "volume": volume["id"]})
    finally:
        lab.down()


def back_up(stack: Stack, vm: dict[str, Any], path: Path) -> None:
    """Twice, and the first one verified."""
    body = {"slug": "nas", "name": "Backup storage", "path": str(path)}
    stack.succeeded("POST", "/backup-targets", body, user="admin")
    made = [stack.succeeded("POST", f"/vms/{vm['id']}/backups", {})["backup"]["id"] for _ in range(2)]
    stack.succeeded("POST", f"/backups/{made[0]}/actions/verify")


def take_snapshots(stack: Stack, vm: dict[str, Any]) -> None:
    """A tree with a branch: what came after the second one was returned from."""
    path, made = f"/vms/{vm['id']}/snapshots", []
    for body in (
        {"name": "clean install", "description": "Before anything was changed"},
        {"name": "configured", "memory": True},
        {"name": "upgrade tried"},
    ):
        made.append(stack.succeeded("POST", path, body)["snapshot"]["id"])
    stack.succeeded("POST", f"/snapshots/{made[1]}/actions/revert", {"safety": True})
    stack.succeeded("POST", path, {"name": "upgrade done"})


def set_up_schedules(stack: Stack, vm: dict[str, Any]) -> None:
    zone = "Europe/Berlin"
    for body in (
        {"kind": "snapshot", "every": "hourly", "at": "00:15", "keep": {"hourly": 24}},
        {"kind": "backup", "every": "daily", "at": "03:00", "keep": {"daily": 7, "weekly": 4}, "target": "nas"},
    ):
        answer = stack.api("POST", f"/vms/{vm['id']}/schedules", {"zone": zone, **body})
        assert answer.status_code == 201, answer.text


def new_image(stack: Stack, vm: dict[str, Any]) -> str:
    """Published, and used by a machine."""
    body = {"name": "Build agent", "description": "With compilers and our certificates"}
    accepted = stack.succeeded("POST", f"/vms/{vm['id']}/actions/publish", body)
    stack.create("build-2", image=accepted["image"]["id"])
    return str(accepted["image"]["id"])


def virsh(uri: str, *arguments: str) -> None:
    """By hand, so that there is drift to be seen."""
    subprocess.run(["virsh", "-q", "-c", uri, *arguments], check=True)


def take(stack: Stack, ids: dict[str, str]) -> None:
    """`ids` are what the addresses name."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        pages = {
            user: signed_in(browser.new_page(viewport={"width": 1280, "height": 800}), stack, user)
            for user in stack.logins
        }
        for name, (user, address) in PAGES.items():
            page = pages[user]
            page.goto(stack.url + address.format(**ids))
            page.wait_for_timeout(8_000 if name == "vm-console" else 500)
            page.screenshot(path=IMAGES / f"{name}.png")
        upload(pages["demo"], stack)
        browser.close()


def upload(page: Page, stack: Stack) -> None:
    """While a file is being sent, which a slow network takes care of."""
    file = stack.data / "debian-12.raw"
    with file.open("wb") as disk:
        disk.truncate(3 * 1024**3)
    slow = page.context.new_cdp_session(page)
    rates = {"offline": False, "latency": 5, "downloadThroughput": -1, "uploadThroughput": 40 * 1024**2}
    slow.send("Network.enable")
    slow.send("Network.emulateNetworkConditions", rates)
    page.goto(f"{stack.url}/t/demo/images/add/")
    page.locator("#id_file").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_timeout(12_000)
    page.screenshot(path=IMAGES / "image-upload.png")


def signed_in(page: Page, stack: Stack, user: str) -> Page:
    page.goto(stack.url)
    page.locator("input[name=login]").fill(user)
    page.locator("input[name=password]").fill(stack.logins[user])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_load_state()
    return page


if __name__ == "__main__":
    main()
