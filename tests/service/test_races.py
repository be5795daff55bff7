"""Forty clients want three places at once: exactly three get one. On SQLite and on PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.fixtures import LabHost
from tests.postgres import postgres  # noqa: F401  the fixture
from tests.stack import Stack, running

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]
CLIENTS, PLACES = 40, 3


@pytest.fixture
def stack_on_postgres(
    lab_host: LabHost,
    tiny_image: Path,
    postgres: str,  # noqa: F811
    tmp_path: Path,
) -> Iterator[Stack]:
    pool = lab_host.directory / "pool-pg"
    portal = Stack(tmp_path, lab_host.uri, pool, tiny_image, database_url=postgres, instance="berth-pg")
    with running(portal):
        yield portal


def forty_for_three(stack: Stack) -> None:
    stack.api("POST", "/tenants", {"name": "Race", "slug": "race"}, user="admin")
    limits = {"vms": PLACES, "vcpus": 100, "memory_mib": 100_000, "disk_gib": 1000}
    assert stack.api("PUT", "/quotas/race", limits, user="admin").status_code == 200
    token = stack.token("admin", "--tenant", "race")

    def create(number: int) -> tuple[int, str, dict[str, object]]:
        body = {"name": f"r-{number}", "image": "tiny", "flavor": "nano", "tenant": "race"}
        answer = stack.api("POST", "/vms", body, token=token)
        return answer.status_code, str(answer.json().get("code", "")), answer.json()

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(create, range(CLIENTS)))
    accepted = [body["operation"]["id"] for status, _, body in answers if status == 202]  # type: ignore[index]
    ends = [stack.get(f"/operations/{id}", user="admin") for id in accepted]
    assert Counter(answer[:2] for answer in answers) == {
        (202, ""): PLACES,
        (409, "quota_exceeded"): CLIENTS - PLACES,
    }, ends
    refusal = next(body for status, _, body in answers if status == 409)
    assert (refusal["resource"], refusal["limit"], refusal["used"], refusal["requested"]) == ("vms", PLACES, PLACES, 1)
    for status, _, body in answers:
        if status == 202:
            assert stack.finished(body["operation"], token=token)["status"] == "succeeded"  # type: ignore[arg-type]
            stack.succeeded("DELETE", f"/vms/{body['vm']['id']}?purge=true", token=token)  # type: ignore[index]
    assert not any(stack.get("/quotas/race", user="admin")["used"].values())


def test_on_sqlite(stack: Stack) -> None:
    forty_for_three(stack)


def test_on_postgresql(stack_on_postgres: Stack) -> None:
    forty_for_three(stack_on_postgres)
    stack_on_postgres.manage("audit")  # fails where it finds anything
