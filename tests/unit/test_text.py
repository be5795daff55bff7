"""Names from outside."""

import pytest

from portal.core import text
from portal.core.errors import Invalid

BAD_HOSTNAMES = [
    "",
    " ",
    "a" * 64,
    "-a",
    "a-",
    "a_b",
    "a..b",
    "Web",
    "localhost",
    "1",
    "a\n",
    "a\x00b",
    "../x",
    "аdmin",
    "adm\u200bin",
    "{{7*7}}",
]


@pytest.mark.parametrize("name", BAD_HOSTNAMES)
def test_bad_hostnames_are_refused_at_their_field(name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        text.hostname(name)
    assert refusal.value.field == "name"


@pytest.mark.parametrize("name", ["a", "web-1", "1a", "a" * 63])
def test_good_hostnames_pass(name: str) -> None:
    assert text.hostname(name) == name


@pytest.mark.parametrize("value", ["", "  ", "a" * 101, "a\x00", "a\u202eb", "a\nb", "\ud800"])
def test_bad_labels_are_refused(value: str) -> None:
    with pytest.raises(Invalid):
        text.label(value)


def test_labels_are_normalised() -> None:
    assert text.label(" Cafe\u0301 ") == "Café"


def test_long_words_are_cut_at_a_word_and_say_so() -> None:
    assert text.shortened("one two three", 13) == "one two three"
    assert text.shortened("one two three", 10) == "one two…"
    assert text.shortened("x" * 20, 10) == f"{'x' * 9}…"
    assert text.is_beginning("one two…", "one two three")
    assert not text.is_beginning("one two", "one two three")
    assert not text.is_beginning("two…", "one two three")
