"""Images over the API: who sees one, what may be said of it, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.events.models import Event
from tests.world import Caller, World, make_image
from vms.models import VM, Image, ImageShare, ImageState

Call = Callable[..., Caller]


def slugs(answer: Any) -> set[str]:
    return {image["slug"] for image in answer.json()["results"]}


class TestWhoSees:
    def test_private_shared_and_public(self, world: World, call: Call) -> None:
        own = world.own_image()
        path = f"images/{own.pk}"
        assert slugs(call("owner").get("images")) == {"tiny", "own"}
        assert slugs(call("foreign").get("images")) == {"tiny"}
        assert call("foreign").get(path).status_code == 404
        shared = call("owner").patch(path, {"shared_with": ["beta"]}).json()
        assert (shared["visibility"], shared["shared_with"]) == ("shared", ["beta"])
        seen = call("foreign").get(path).json()
        assert (seen["tenant"], seen["shared_with"], seen["created_by"]) == ("acme", [], "")
        assert not seen["actions"]["change"]["allowed"]
        assert seen["actions"]["create-vm"]["allowed"]
        assert call("foreign").patch(path, {"name": "mine"}).status_code == 403
        assert call("foreign").delete(path).status_code == 403
        assert call("owner").patch(path, {"shared_with": []}).json()["visibility"] == "private"
        assert call("foreign").get(path).status_code == 404
        assert call("owner").patch(path, {"public": True}).status_code == 403
        assert call("admin").patch(path, {"public": True}).json()["visibility"] == "public"
        assert slugs(call("foreign").get("images")) == {"tiny", "own"}
        assert call("owner").patch(path, {"shared_with": ["beta"]}).json()["code"] == "wrong_state"

    def test_only_owners_share(self, world: World, call: Call) -> None:
        path = f"images/{world.own_image().pk}"
        assert call("member").patch(path, {"shared_with": ["beta"]}).status_code == 403
        assert ImageShare.objects.count() == 0

    @pytest.mark.parametrize("tenants", [["nobody"], ["beta", "nobody"], ["../x"], [""]])
    def test_sharing_with_nobody_is_told(self, world: World, call: Call, tenants: list[str]) -> None:
        answer = call("owner").patch(f"images/{world.own_image().pk}", {"shared_with": tenants})
        assert answer.status_code == 400
        assert ImageShare.objects.count() == 0

    def test_the_provider_s_own_is_not_shared(self, world: World, call: Call) -> None:
        assert call("admin").patch("images/tiny", {"shared_with": ["beta"]}).json()["code"] == "wrong_state"

    def test_a_name_means_one_s_own_first(self, world: World, call: Call) -> None:
        theirs, own = make_image("same", world.beta, visibility="public"), make_image("same", world.acme)
        assert call("owner").get("images/same").json()["id"] == str(own.pk)
        assert call("foreign").get("images/same").json()["id"] == str(theirs.pk)

    def test_a_machine_of_it_is_made_where_it_may_be_used(self, world: World, call: Call) -> None:
        wanted = {"name": "new", "image": str(world.own_image().pk), "flavor": "small", "tenant": "beta"}
        assert call("admin").post("vms", wanted).json()["errors"][0]["field"] == "image"
        assert call("admin").post("vms", {**wanted, "tenant": "acme"}).status_code == 202
        assert call("owner").patch(f"images/{wanted['image']}", {"shared_with": ["beta"]}).status_code == 200
        assert call("foreign").post("vms", wanted).status_code == 202

    def test_what_others_share_takes_nobody_s_place(self, world: World, call: Call) -> None:
        """By no slug, whether the public one is offered any more or not, and by nobody's id."""
        evil = make_image("debian-12", world.beta, sha256="2" * 64)
        assert call("foreign").patch(f"images/{evil.pk}", {"shared_with": ["acme"]}).status_code == 200
        wanted = {"name": "new", "image": "debian-12", "flavor": "small", "tenant": "acme"}
        assert call("member").post("vms", wanted).json()["errors"][0]["code"] == "unknown_reference"
        assert call("member").get("images/debian-12").status_code == 404
        good = make_image("debian-12", None, sha256="3" * 64, visibility="public")
        assert call("member").get("images/debian-12").json()["id"] == str(good.pk)
        assert call("admin").patch(f"images/{good.pk}", {"active": False}).status_code == 200
        assert call("member").post("vms", wanted).json()["code"] == "image_not_offered"
        Image.objects.unscoped("test").filter(pk=evil.pk).update(slug=str(world.image.pk))
        assert call("member").get(f"images/{world.image.pk}").json()["slug"] == "tiny"
        assert call("member").post("vms", {**wanted, "image": str(evil.pk)}).status_code == 202

    def test_no_slug_looks_like_an_id(self, world: World, call: Call) -> None:
        body = {"name": "x", "format": "raw", "tenant": "beta", "slug": str(world.image.pk), "size_bytes": 512}
        assert call("foreign").post("uploads", body).json()["errors"][0]["field"] == "slug"
        renamed = call("member").patch(f"vms/{world.machines['web'].pk}", {"name": str(world.image.pk)})
        assert renamed.json()["errors"][0]["field"] == "name"


class TestProperties:
    def test_they_are_changed_and_logged(self, world: World, call: Call) -> None:
        wanted = {"name": "Golden", "os": "Debian 12", "default_user": "debian", "firmware": "uefi", "min_disk_gib": 3}
        changed = call("member").patch(f"images/{world.own_image().pk}", {**wanted, "cloud_init": False}).json()
        assert {name: changed[name] for name in wanted} == wanted
        assert changed["cloud_init"] is False
        event = Event.objects.unscoped("test").get(kind="image.changed")
        assert event.data["after"]["firmware"] == "uefi"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", "a\nb"),
            ("name", "a\u202eb"),
            ("default_user", "root; rm -rf /"),
            ("default_user", "$(id)"),
            ("default_user", "-oProxyCommand"),
            ("firmware", "coreboot"),
            ("min_disk_gib", 0),
            ("min_disk_gib", 2**31),
            ("min_memory_mib", -1),
            ("min_memory_mib", True),
            ("os", "x" * 61),
            ("deprecation", "a\u202eb"),
            ("sha256", "0" * 64),
            ("size_bytes", 1),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, world: World, call: Call, field: str, value: Any) -> None:
        answer = call("owner").patch(f"images/{world.own_image().pk}", {field: value})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == field

    def test_a_disk_is_never_smaller_than_what_is_in_it(self, world: World, call: Call) -> None:
        image = make_image("big", world.acme, virtual_size_bytes=2 * 1024**3 - 5)
        assert call("owner").get(f"images/{image.pk}").json()["min_disk_gib"] == 2
        wanted = {"name": "new", "image": "big", "flavor": "small", "tenant": "acme"}
        assert call("owner").post("vms", wanted).json()["code"] == "flavor_too_small"
        assert call("owner").post("vms", {**wanted, "flavor": "large"}).status_code == 202

    def test_uefi_wants_a_host_that_has_it(self, world: World, call: Call) -> None:
        make_image("modern", world.acme, firmware="uefi")
        wanted = {"name": "new", "image": "modern", "flavor": "small", "tenant": "acme"}
        refused = call("owner").post("vms", wanted).json()
        assert (refused["code"], "UEFI" in refused["detail"]) == ("no_capacity", True)
        world.host.firmwares = ["bios", "uefi"]
        world.host.save()
        id = call("owner").post("vms", wanted).json()["vm"]["id"]
        assert VM.objects.unscoped("test").get(pk=id).firmware == "uefi"

    def test_a_machine_keeps_the_firmware_it_was_made_with(self, world: World, call: Call) -> None:
        image = world.own_image()
        vm = world.vm("stays", image=image)
        call("owner").patch(f"images/{image.pk}", {"firmware": "uefi"})
        vm.refresh_from_db()
        assert vm.firmware == "bios"


class TestDeprecation:
    def test_nothing_new_is_made_of_it(self, world: World, call: Call) -> None:
        path = f"images/{world.own_image().pk}"
        shown = call("member").patch(path, {"active": False, "deprecation": "Take tiny."}).json()
        assert (shown["active"], shown["deprecation"]) == (False, "Take tiny.")
        refused = call("owner").post("vms", {"name": "new", "image": "own", "flavor": "small", "tenant": "acme"}).json()
        assert (refused["code"], "Take tiny." in refused["detail"]) == ("image_not_offered", True)
        assert slugs(call("owner").get("images")) == {"tiny", "own"}  # one's own, to offer it again
        assert call("member").patch(path, {"active": True}).json()["deprecation"] == ""

    def test_others_see_it_no_more(self, world: World, call: Call) -> None:
        call("admin").patch("images/tiny", {"active": False})
        assert slugs(call("foreign").get("images")) == set()


class TestEnd:
    def test_not_while_it_is_used_and_whom_it_names(self, world: World, call: Call) -> None:
        image = world.own_image(visibility="public")
        world.vm("mine", image=image)
        world.vm("theirs-secret", image=image, tenant=world.beta)
        refused = call("owner").delete(f"images/{image.pk}")
        assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
        assert "mine and 1 machine of others stand on it" in refused.json()["detail"]
        assert (len(refused.json()["vms"]), refused.json()["others"]) == (1, 1)
        assert "theirs-secret" not in refused.content.decode()
        shown = call("owner").get(f"images/{image.pk}").json()
        assert (shown["uses"], [user["name"] for user in shown["users"]]) == (2, ["mine"])
        assert {user["name"] for user in call("admin").get(f"images/{image.pk}").json()["users"]} == {
            "mine",
            "theirs-secret",
        }

    def test_it_is_an_operation_and_nothing_is_made_of_it_meanwhile(self, world: World, call: Call) -> None:
        path = f"images/{world.own_image().pk}"
        accepted = call("owner").delete(path)
        assert accepted.status_code == 202
        assert accepted.json()["image"]["state"] == ImageState.DELETING
        assert call("owner").delete(path).status_code == 409
        assert call("owner").patch(path, {"name": "late"}).status_code == 409
        wanted = {"name": "new", "image": "own", "flavor": "small", "tenant": "acme"}
        assert call("owner").post("vms", wanted).status_code == 400

    def test_not_before_its_file_is_there(self, world: World, call: Call) -> None:
        image = world.own_image(state=ImageState.PENDING)
        assert call("owner").delete(f"images/{image.pk}").json()["code"] == "wrong_state"


class TestCopies:
    def test_only_the_provider_s_staff_see_them(self, world: World, call: Call) -> None:
        world.copy()
        path = f"images/{world.own_image().pk}"
        assert call("owner").get(path).json()["copies"] == []
        (copy,) = call("auditor").get(path).json()["copies"]
        assert (copy["host"], copy["verified_at"]) == ("one", None)

    def test_one_in_use_is_not_evicted(self, world: World, call: Call) -> None:
        copy, image = world.copy(), world.own_image()
        world.vm("stands", image=image)
        answer = call("admin").post(f"images/{image.pk}/actions/evict", {"copy": str(copy.pk)})
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
        copy.refresh_from_db()
        assert copy.evicting_at is None

    def test_one_of_another_image_is_not_this_one_s(self, world: World, call: Call) -> None:
        answer = call("admin").post("images/tiny/actions/evict", {"copy": str(world.copy().pk)})
        assert answer.json()["errors"][0]["field"] == "copy"


def test_lists_take_the_same_number_of_queries(world: World, call: Call, django_assert_max_num_queries: Any) -> None:
    for number in range(5):
        make_image(f"own-{number}", world.acme)
    owner = call("owner")
    with django_assert_max_num_queries(12) as few:
        owner.get("images")
    for number in range(5, 30):
        image = make_image(f"own-{number}", world.acme)
        world.vm(f"vm-{number}", image=image)
    assert Image.objects.unscoped("test").count() > 30
    with django_assert_max_num_queries(len(few)):
        owner.get("images?limit=100")


def test_none_steps_in_for_a_deprecated_public_image(world: World, call: Call) -> None:
    """Another tenant's public image has the same slug."""
    make_image("tiny", world.beta, sha256="2" * 64, visibility="public")
    assert call("admin").patch(f"images/{world.image.pk}", {"active": False}).status_code == 200
    wanted = {"name": "q-2", "image": world.image.slug, "flavor": "small", "tenant": "acme"}
    answer = call("member").post("vms", wanted)
    assert (answer.status_code, answer.json()["code"]) == (400, "image_not_offered")
