"""The schema is valid OpenAPI 3.1, names every route, and can be read without signing in."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.matrix import ROUTES

# Neither the documents about the API nor the catch-all are parts of it.
BESIDE = {"api/v1/schema", "api/v1/docs", "api/v1/"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    from portal.api.schema import document

    return document()


def test_it_validates(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(schema).iter_errors()) == []


def test_everybody_may_read_it(schema: dict[str, Any]) -> None:
    answer = Client().get("/api/v1/schema")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer.json()["paths"].keys() == schema["paths"].keys()


def test_it_has_every_route_and_method(schema: dict[str, Any]) -> None:
    named = {
        (re.sub(r"\{\w+\}", "{}", path), method.upper()) for path, item in schema["paths"].items() for method in item
    }
    routed = {
        ("/" + re.sub(r"<\w+:\w+>|\(\?P<[^)]*\)", "{}", route), method)
        for route, entry in ROUTES.items()
        if route not in BESIDE
        for method in entry.methods
    }
    assert named == routed


def test_every_operation_tells_of_problems(schema: dict[str, Any]) -> None:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            for status in ("400", "401", "403", "404"):
                assert "application/problem+json" in operation["responses"][status]["content"], (path, method)
            assert operation["description"], (path, method)


def test_every_group_has_a_name(schema: dict[str, Any]) -> None:
    used = {tag for item in schema["paths"].values() for operation in item.values() for tag in operation["tags"]}
    assert used == {tag["name"] for tag in schema["tags"]}
    assert all(tag["description"] for tag in schema["tags"])


# Its requests say where they go on.
KEYLESS = {("/api/v1/uploads/{id}", "patch")}


def test_changing_calls_take_a_key(schema: dict[str, Any]) -> None:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            headers = {each["name"] for each in operation.get("parameters", []) if each["in"] == "header"}
            takes_one = method != "get" and (path, method) not in KEYLESS
            assert ("Idempotency-Key" in headers) == takes_one, (path, method)


def test_bodies_take_no_unknown_fields(schema: dict[str, Any]) -> None:
    for item in schema["paths"].values():
        for operation in item.values():
            if body := operation.get("requestBody"):
                for content in [each for kind, each in body["content"].items() if "offset" not in kind]:
                    name = content["schema"]["$ref"].rpartition("/")[2]
                    assert schema["components"]["schemas"][name]["additionalProperties"] is False


def test_the_page_is_offline_and_has_nothing_inline() -> None:
    answer = Client().get("/api/v1/docs")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert all(re.search(r"\bsrc=", tag) for tag in re.findall(r"<script[^>]*>", page))
    assert "<style" not in page
    assert " style=" not in page
    assert "unsafe" not in answer["Content-Security-Policy"]
