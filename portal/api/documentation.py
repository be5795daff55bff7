"""The schema and a page to read and try it, both for everybody."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.api import schema


@login_not_required
@require_safe
def schema_document(request: HttpRequest) -> JsonResponse:
    return JsonResponse(schema.document(), json_dumps_params={"ensure_ascii": False})


@login_not_required
@require_safe
def schema_page(request: HttpRequest) -> HttpResponse:
    return render(request, "api/docs.html")
