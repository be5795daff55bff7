"""docs/api.md names every address and method of the schema, and every field of the create body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
METHODS = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE)\b")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    from portal.api.schema import document

    return document()


def rows(title: str) -> list[list[str]]:
    """The cells of the first table after these words."""
    table = PAGE[PAGE.index(title) :].split("\n|---", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def expanded(address: str) -> Iterator[str]:
    """`/x/{a, b}` stands for two addresses; `{id}` and the like for whatever is there."""
    if choice := re.search(r"\{(\w[\w-]*(?:, [\w-]+)+)\}", address):
        for word in choice[1].split(", "):
            yield from expanded(address.replace(choice[0], word, 1))
    else:
        yield re.sub(r"\{\w+\}", "{}", address)


def test_every_address_and_method_is_in_the_table(schema: dict[str, Any]) -> None:
    told = {
        (address, method)
        for cells in rows("## Addresses")
        for written in re.findall(r"`(/[^`]+)`", cells[0])
        for address in expanded(written)
        for method in METHODS.findall(cells[1])
    }
    there = {
        (re.sub(r"\{\w+\}", "{}", path.removeprefix("/api/v1")), method.upper())
        for path, item in schema["paths"].items()
        for method in item
    }
    assert len(told) > 40, "the table was not read"
    assert told == there


def test_the_create_body_is_told_whole(schema: dict[str, Any]) -> None:
    told = {name for cells in rows("The whole body of `POST /vms`") for name in re.findall(r"`(\w+)`", cells[0])}
    name = schema["paths"]["/api/v1/vms"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert told == set(schema["components"]["schemas"][name.rpartition("/")[2]]["properties"])
