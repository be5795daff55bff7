"""Errors as RFC 9457 problem+json: one shape, whoever refused."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import UnreadablePostError
from drf_standardized_errors.formatter import flatten_errors
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import serializers
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.response import Response

from portal.api.parsers import TooLarge
from portal.core.errors import DomainError
from portal.web.actor import request_id

MEDIA_TYPE = "application/problem+json"
_CODES = {"error": "internal_error", "parse_error": "malformed"}


class Refused(APIException):
    """A use case's refusal on its way through the framework."""

    def __init__(self, refusal: DomainError) -> None:
        super().__init__(refusal.detail, refusal.code)
        self.status_code = refusal.status
        self.refusal = refusal


class Unavailable(APIException):
    status_code = 503
    default_detail = "The database does not answer; try again in a moment."
    default_code = "unavailable"
    wait = 2


class ProblemHandler(ExceptionHandler):
    def convert_known_exceptions(self, exc: Exception) -> Exception:
        if isinstance(exc, DomainError):
            exc.remember()
            return Refused(exc)
        if isinstance(exc, RequestDataTooBig):
            return TooLarge()
        if isinstance(exc, UnreadablePostError | SuspiciousOperation):
            return ParseError("The request could not be read.")
        if isinstance(exc, OperationalError):
            return Unavailable()
        return super().convert_known_exceptions(exc)

    def should_not_handle(self, exc: Exception) -> bool:
        return False

    def format_exception(self, exc: APIException) -> dict[str, Any]:
        if isinstance(exc, Refused):
            return of_refusal(exc.refusal)
        if isinstance(exc, ValidationError):
            return _of_validation(exc)
        code = getattr(exc.detail, "code", "invalid")
        detail = "Something went wrong inside Berth; its log says what." if exc.status_code == 500 else str(exc.detail)
        return problem(exc.status_code, _CODES.get(code, code), detail)

    def get_response(self, exc: APIException, data: dict[str, Any]) -> Response:
        response = super().get_response(exc, data)
        response.content_type = MEDIA_TYPE
        return response


def exception_handler(error: Exception, context: Any) -> Response | None:
    return ProblemHandler(error, context).run()


def problem(
    status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None, extra: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """`errors` are `{"field", "code", "detail"}`; `extra` are members of this kind of problem."""
    return {
        **extra,
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": f"urn:berth:request:{quote(request_id())}",
        "code": code,
        "errors": errors or [],
    }


def of_refusal(refusal: DomainError) -> dict[str, Any]:
    """A refusal as the problem that it would be as an answer of its own."""
    errors = []
    if refusal.field:
        errors = [{"field": refusal.field, "code": refusal.code, "detail": refusal.detail}]
    return problem(refusal.status, refusal.code, refusal.detail, errors, refusal.extra)


def _of_validation(exc: ValidationError) -> dict[str, Any]:
    errors = [
        {"field": found.attr or "", "code": found.code, "detail": found.detail} for found in flatten_errors(exc.detail)
    ]
    codes = {error["code"] for error in errors}
    return problem(400, codes.pop() if len(codes) == 1 else "invalid", _summary(errors), errors)


def _summary(errors: list[dict[str, str]]) -> str:
    return " ".join(f"{error['field']}: {error['detail']}" if error["field"] else error["detail"] for error in errors)


class FieldErrorSerializer(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="The field of the body or the query, with dots into lists and objects.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """An error (RFC 9457). Programs look at `code`, and at `errors` by field; further members depend on the code."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField(help_text="Names the request; the log has it under the same id.")
    code = serializers.CharField()
    errors = FieldErrorSerializer(many=True)  # type: ignore[assignment]  # the framework has a property of that name
