"""What the forms of all pages share. They check shape; every rule is the service's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django import forms
from django.contrib import messages
from django.http import HttpRequest

from portal.core.errors import DomainError
from portal.web.once import refused


def _is_for_the_form(error: DomainError) -> bool:
    """What may not be seen or done is a page of its own."""
    return error.status not in (403, 404)


@contextmanager
def refusals_in(form: forms.Form) -> Iterator[None]:
    """A use case's refusal becomes the error of the field it names, or of the form."""
    try:
        yield
    except DomainError as error:
        if not _is_for_the_form(error):
            raise
        error.remember()
        form.add_error(error.field if error.field in form.fields else None, error.detail)


@contextmanager
def refusals_as_notice(request: HttpRequest) -> Iterator[None]:
    """For buttons without fields: the refusal is said on the next page."""
    try:
        yield
    except DomainError as error:
        if not _is_for_the_form(error):
            raise
        error.remember()
        refused(request)
        messages.error(request, error.detail)


def status_of(form: forms.Form) -> int:
    """The HTTP status of a page with this form: 422 where it came back with errors."""
    return 422 if form.is_bound and form.errors else 200


def text_query(request: HttpRequest, name: str, longest: int = 100) -> str:
    """A search word from the address, as the database can take it."""
    return request.GET.get(name, "").replace("\x00", "").strip()[:longest]
