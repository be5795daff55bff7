"""UUID version 7."""

import time
from uuid import RFC_4122

from portal.core.ids import uuid7


def test_version_and_variant() -> None:
    value = uuid7()
    assert value.version == 7
    assert value.variant == RFC_4122


def test_ids_sort_by_the_time_of_their_making() -> None:
    first = uuid7()
    time.sleep(0.002)
    assert first < uuid7()


def test_ids_differ() -> None:
    assert len({uuid7() for _ in range(1000)}) == 1000
