"""Schedules over the API: what is refused, and what is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.events.models import Event
from tests.world import Caller, World
from vms.models import Schedule

Api = Callable[..., Caller]
BODY = {"kind": "snapshot", "every": "daily", "at": "03:00", "zone": "Europe/Berlin", "keep": {"last": 3, "daily": 7}}


def create(world: World, call: Api, **more: Any) -> Any:
    body = {name: value for name, value in {**BODY, **more}.items() if value is not ...}
    return call("member").post(f"vms/{world.machines['web'].pk}/schedules", body)


def test_it_is_shown_as_it_was_asked_for(world: World, call: Api) -> None:
    answer = create(world, call)
    assert answer.status_code == 201
    shown = call("viewer").get(answer["Location"]).json()
    assert {name: shown[name] for name in ("kind", "every", "at", "zone", "weekday", "active", "last")} == {
        **{"kind": "snapshot", "every": "daily", "at": "03:00", "zone": "Europe/Berlin"},
        **{"weekday": None, "active": True, "last": None},
    }
    assert shown["keep"] == {"last": 3, "hourly": 0, "daily": 7, "weekly": 0, "monthly": 0}
    assert shown["next_at"]
    assert shown["actions"]["change"] == {"allowed": False, "reason": shown["actions"]["change"]["reason"]}
    assert Event.objects.unscoped("test").filter(kind="schedule.created").count() == 1


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"every": "* * * * * *"}, "every"),
        ({"every": "99 * * * *"}, "every"),
        ({"every": "secondly"}, "every"),
        ({"every": 1}, "every"),
        ({"kind": "everything"}, "kind"),
        ({"zone": "Mars/X"}, "zone"),
        ({"zone": "../../etc/localtime"}, "zone"),
        ({"zone": "localtime"}, "zone"),
        ({"zone": ""}, "zone"),
        ({"at": "24:00"}, "at"),
        ({"at": "3:00"}, "at"),
        ({"at": "03:00:01"}, "at"),
        ({"at": "０３:00"}, "at"),
        ({"at": 3}, "at"),
        ({"keep": {}}, "keep"),
        ({"keep": {"last": 0}}, "keep"),
        ({"keep": {"last": -1}}, "keep.last"),
        ({"keep": {"last": 1001}}, "keep.last"),
        ({"keep": {"last": "3"}}, "keep.last"),
        ({"keep": {"yearly": 3}}, "keep.yearly"),
        ({"keep": ...}, "keep"),
        ({"weekday": "monday"}, "weekday"),
        ({"every": "weekly"}, "weekday"),
        ({"every": "weekly", "weekday": "someday"}, "weekday"),
        ({"target": "nas"}, "target"),
        ({"until": "18:00"}, "until"),
        ({"kind": "power"}, "until"),
        ({"kind": "power", "until": "18:00"}, "keep"),
        ({"kind": "power", "until": "03:00", "keep": ...}, "until"),
        ({"kind": "power", "until": "6 pm", "keep": ...}, "until"),
        ({"kind": "power", "until": "18:00", "keep": ..., "every": "hourly"}, "every"),
        ({"kind": "backup"}, "target"),
        ({"kind": "backup", "target": "nowhere"}, "target"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_nonsense(world: World, call: Api, more: dict[str, Any], field: str) -> None:
    answer = create(world, call, **more)
    assert answer.status_code == 400, answer.content
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert not Schedule.objects.unscoped("test").exists()


def test_backups_go_to_the_default_target_where_none_is_named(world: World, call: Api) -> None:
    tape, nas = world.target("tape"), world.target()
    path = create(world, call, kind="backup")["Location"]
    assert Schedule.objects.unscoped("test").get().target == tape.pk
    assert call("member").patch(path, {"target": "nas"}).status_code == 200
    assert call("member").patch(path, {"at": "04:00"}).status_code == 200
    assert Schedule.objects.unscoped("test").get().target == nas.pk


def test_office_hours(world: World, call: Api) -> None:
    answer = create(world, call, kind="power", every="workdays", at="08:00", until="18:00", keep=...)
    assert answer.status_code == 201, answer.content
    assert {name: answer.json()[name] for name in ("kind", "every", "at", "until", "target")} == {
        **{"kind": "power", "every": "workdays", "at": "08:00", "until": "18:00", "target": None}
    }
    later = call("member").patch(answer["Location"], {"until": "17:00"})
    assert (later.status_code, later.json()["until"]) == (200, "17:00")


def test_it_is_changed_in_part(world: World, call: Api) -> None:
    path = create(world, call)["Location"]
    answer = call("member").patch(path, {"every": "weekly", "weekday": "sunday"}).json()
    assert (answer["every"], answer["weekday"], answer["zone"]) == ("weekly", "sunday", "Europe/Berlin")
    paused = call("member").patch(path, {"active": False}).json()
    assert (paused["active"], paused["next_at"]) == (False, None)


def test_a_machine_has_few(world: World, call: Api) -> None:
    for _ in range(20):
        assert create(world, call).status_code == 201
    assert create(world, call).json()["code"] == "too_many"


def test_what_it_does_to_others_lists(world: World, call: Api) -> None:
    create(world, call)
    assert [each["kind"] for each in call("member").get("schedules").json()["results"]] == ["snapshot"]
    assert call("foreign").get("schedules").json()["results"] == []
