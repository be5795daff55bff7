"""Usage, prices and charges."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.pagination import limit_of, linked
from portal.api.references import tenant_in
from portal.api.serializers import Choice, Id, Input, Moment, Text
from portal.api.views import ApiView
from portal.billing import focus, selectors, services, usage
from portal.billing.charges import Charge, rounded
from portal.billing.meters import UNITS, microseconds, quantity
from portal.billing.models import Category, Interval, Price
from portal.billing.months import Month, months_of
from portal.core import clocks
from portal.core.connection import snapshot
from portal.core.errors import Invalid
from portal.tenancy import selectors as tenancy
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

PIECE = 64 * 1024
LONGEST_NUMBER = 40
METERS = [str(meter) for meter in UNITS]


class UsageFilter(Input):
    tenant = Text(required=False, help_text="Slug or id; all that you see, unless given.")
    resource = Id(required=False, help_text="The id of what was used: a machine, a volume, an image…")
    machine = Id(required=False, help_text="A machine with its disks, snapshots and backups, by its id.")
    meter = Choice(METERS, required=False)

    def get_fields(self) -> dict[str, Any]:
        return {
            **super().get_fields(),
            "from": Moment(required=False, help_text="From this time on; the beginning of this month unless given."),
            "to": Moment(required=False, help_text="Before this time; now unless given."),
        }


class ChargeFilter(UsageFilter):
    format = Choice([*focus.COLUMNS], required=False, help_text="All of it at once in these columns, as Accept says.")

    def get_fields(self) -> dict[str, Any]:
        words = "Months are charged as a whole: the first moment of one, in UTC. This month unless given."
        moments = {name: Moment(required=False, help_text=words) for name in ("from", "to")}
        return {**super().get_fields(), **moments}


class UsageOut(serializers.Serializer[Any]):
    """An interval, cut to the period. Context: `period`."""

    id = serializers.UUIDField()
    tenant = serializers.CharField(source="tenant.slug")
    resource = serializers.UUIDField(source="resource_id")
    resource_type = serializers.CharField()
    resource_name = serializers.CharField(help_text="As it was then.")
    machine = serializers.UUIDField(source="machine_id", allow_null=True)
    meter = serializers.CharField()
    grade = serializers.CharField(help_text="Service class or storage class, where the meter has such.")
    amount = serializers.IntegerField(help_text="What was held all the time: vCPUs, MiB, GiB or addresses.")
    unit = serializers.SerializerMethodField()
    quantity = serializers.SerializerMethodField(help_text="In the unit, with ten decimals, as text.")
    opened_by = serializers.IntegerField(source="opened_by_id", allow_null=True, help_text="The event that began it.")
    closed_by = serializers.IntegerField(source="closed_by_id", allow_null=True, help_text="The event that ended it.")

    def get_fields(self) -> dict[str, Any]:
        return {
            **super().get_fields(),
            "from": serializers.SerializerMethodField(),
            "to": serializers.SerializerMethodField(),
        }

    def get_from(self, row: Interval) -> datetime:
        return usage.cut(row.since, row.until, self.context["period"])[0]

    def get_to(self, row: Interval) -> datetime:
        return usage.cut(row.since, row.until, self.context["period"])[1]

    def get_unit(self, row: Interval) -> str:
        return UNITS[row.meter].name

    def get_quantity(self, row: Interval) -> str:
        begin, end = usage.cut(row.since, row.until, self.context["period"])
        return focus.number(rounded(quantity(row.meter, row.amount * microseconds(end - begin))))


class Usages(ApiView):
    permissions = {"GET": Permission.BILLING_READ}

    @extend_schema(parameters=[UsageFilter], responses=UsageOut(many=True))
    def get(self, request: Request) -> Response:
        """What was used, by intervals in which nothing changed. What is held still is used up to now."""
        wanted, since, until = _wanted(self, self.query(UsageFilter))
        now = clocks.database_now()
        since, until = since or Month.of(now).since, min(until or now, now)
        if since > until:
            raise Invalid("It must end after it begins.", field="to")
        rows = self.page(selectors.intervals(self.actor, wanted, since, until))
        return self.listed(UsageOut(rows, many=True, context={"period": (since, until)}).data)


class ChargeOut(serializers.Serializer[Any]):
    """Context: `slugs`, those of tenants by id."""

    tenant = serializers.SerializerMethodField()
    category = serializers.CharField(help_text="Usage, Credit or Adjustment.")
    description = serializers.CharField()
    resource = serializers.UUIDField(source="resource_id", allow_null=True)
    resource_type = serializers.CharField()
    resource_name = serializers.CharField()
    machine = serializers.UUIDField(source="machine_id", allow_null=True)
    meter = serializers.CharField()
    grade = serializers.CharField()
    unit = serializers.SerializerMethodField()
    quantity = serializers.SerializerMethodField()
    unit_price = serializers.SerializerMethodField()
    price = serializers.CharField(source="price_id", help_text="The id of the price, as price books have it.")
    cost = serializers.SerializerMethodField(help_text="With ten decimals, as text; only sums are rounded further.")
    currency = serializers.CharField()

    def get_fields(self) -> dict[str, Any]:
        return {
            **super().get_fields(),
            "from": serializers.DateTimeField(source="since"),
            "to": serializers.DateTimeField(source="until"),
        }

    def get_tenant(self, line: Charge) -> str:
        return str(self.context["slugs"][line.tenant_id])

    def get_unit(self, line: Charge) -> str:
        return UNITS[line.meter].name if line.meter else ""

    def get_quantity(self, line: Charge) -> str:
        return focus.number(line.quantity)

    def get_unit_price(self, line: Charge) -> str:
        return focus.number(line.unit_price)

    def get_cost(self, line: Charge) -> str:
        return focus.number(line.cost)


class _AnyType(BaseContentNegotiation):
    """The view looks at Accept itself where it exports."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        if "format" in request.query_params:
            return renderers[0], renderers[0].media_type
        return DefaultContentNegotiation().select_renderer(request, renderers, format_suffix)


class Charges(ApiView):
    permissions = {"GET": Permission.BILLING_READ}
    content_negotiation_class = _AnyType

    @extend_schema(
        parameters=[ChargeFilter],
        responses={
            (200, "application/json"): ChargeOut(many=True),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR),
            (200, "application/jsonl"): OpenApiResponse(OpenApiTypes.STR),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        """What is charged: each resource's use of a meter at one price, and what was added by hand.

        With `format` all of it in the columns of FOCUS: text/csv, or application/jsonl where Accept says so.
        """
        query = self.query(ChargeFilter)
        columns = query.pop("format", None)
        wanted, since, until = _wanted(self, query)
        this = Month.of(clocks.database_now())
        first = since or this.since
        months = list(months_of(first, until or max(this, Month.of(first)).until))
        lines = selectors.charges(self.actor, wanted, months)
        rows = selectors.tenants(self.actor, wanted.tenant)
        if columns is None:
            return self._page(lines, dict(rows.values_list("pk", "slug")))
        return _exported(lines, dict(rows.values_list("pk", "name")), columns, request.headers.get("Accept", ""))

    def _page(self, lines: Iterable[Charge], slugs: dict[UUID, str]) -> Response:
        """By place: lines stand in one order, that of the tenants, months and resources."""
        query = self.request.query_params
        size, first = limit_of(query.get("limit")), _place(query.get("cursor", ""), self.request.path)
        found, more = [], False
        for place, line in enumerate(lines):
            if place >= first + size:
                more = True
                break
            if place >= first:
                found.append(line)
        cursor = signing.dumps(first + size, salt=_salt(self.request.path)) if more else ""
        return linked(self.request, ChargeOut(found, many=True, context={"slugs": slugs}).data, cursor)


def _place(cursor: str, path: str) -> int:
    try:
        return int(signing.loads(cursor, salt=_salt(path))) if cursor else 0
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise Invalid(
            "This is no cursor of this list; start again without one.", code="invalid_cursor", field="cursor"
        ) from error


def _salt(path: str) -> str:
    return f"portal.api.billing:{path}"


def _exported(lines: Iterable[Charge], names: dict[UUID, str], version: str, accept: str) -> StreamingHttpResponse:
    """Written to a file first: of one moment, in constant memory, and no connection waits for a slow reader."""
    media_type = next((each for each in focus.MEDIA_TYPES if each in accept), "text/csv")
    file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115  the answer closes it
    with snapshot():
        found = focus.rows(lines, names, settings.PROVIDER_NAME)
        file.writelines(focus.MEDIA_TYPES[media_type](found, focus.COLUMNS[version]))
    file.seek(0)
    response = StreamingHttpResponse(_pieces(file), content_type=f"{media_type}; charset=utf-8")
    name = f"charges-{version}.{'csv' if media_type == 'text/csv' else 'jsonl'}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def _pieces(file: IO[str]) -> AsyncIterator[str]:
    with file:
        while piece := file.read(PIECE):
            yield piece


def _wanted(view: ApiView, query: dict[str, Any]) -> tuple[selectors.Filter, datetime | None, datetime | None]:
    tenant = tenant_in(view.actor, query.pop("tenant", None), Permission.BILLING_READ)
    names = {"resource": "resource_id", "machine": "machine_id", "meter": "meter"}
    own = {names[name]: value for name, value in query.items() if name in names}
    return selectors.Filter(tenant=tenant, **own), query.get("from"), query.get("to")


# -- prices ----------------------------------------------------------------------------------------------------------


class Amount(serializers.DecimalField):
    """A decimal number as text, so that no digit is lost."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_digits": 20, "decimal_places": 10, **kwargs})

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or len(data) > LONGEST_NUMBER or not data.isascii():
            self.fail("invalid")
        return super().to_internal_value(data)


class PriceIn(Input):
    meter = Choice(METERS)
    grade = Text(required=False, max_length=63, allow_blank=True, help_text="Service class or storage class; any.")
    above = Amount(required=False, min_value=0, help_text="From so many units a month on; what is before is free.")
    unit_price = Amount(min_value=0)


class PriceBookIn(Input):
    name = Text(max_length=100)
    tenant = Text(required=False, help_text="Slug or id; for everybody unless given.")
    currency = Text(max_length=3, help_text="ISO 4217.")
    since = Moment()
    until = Moment(required=False)
    prices = serializers.ListField(child=PriceIn(), min_length=1, max_length=services.MOST_PRICES)


class PriceOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    meter = serializers.CharField()
    grade = serializers.CharField()
    unit = serializers.SerializerMethodField()
    above = serializers.SerializerMethodField()
    unit_price = serializers.SerializerMethodField()

    def get_unit(self, price: Price) -> str:
        return UNITS[price.meter].name

    def get_above(self, price: Price) -> str:
        return focus.number(price.above)

    def get_unit_price(self, price: Price) -> str:
        return focus.number(price.unit_price)


class PriceBookOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    tenant = serializers.SlugRelatedField(slug_field="slug", read_only=True, allow_null=True)  # type: ignore[var-annotated]
    currency = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True)
    prices = PriceOut(many=True)


class EndIn(Input):
    until = Moment()


class Prices(ApiView):
    permissions = {"GET": Permission.BILLING_READ, "POST": Permission.BILLING_WRITE}

    @extend_schema(responses=PriceBookOut(many=True))
    def get(self, request: Request) -> Response:
        """Price books for everybody and for your tenants, newest first."""
        self.query()
        return self.listed(PriceBookOut(self.page(selectors.books(self.actor)), many=True).data)

    @extend_schema(request=PriceBookIn, responses={201: PriceBookOut})
    def post(self, request: Request) -> Response:
        """A new price book. The one that was valid until further notice ends where it begins. For administrators."""
        self.actor.require(Permission.BILLING_WRITE)
        body = self.body(PriceBookIn)
        body["prices"] = [services.NewPrice(**price) for price in body["prices"]]
        body["tenant"] = tenant_in(self.actor, body.get("tenant"), Permission.BILLING_WRITE)
        book = services.create_book(actor=self.actor, **body)
        return self.created(PriceBookOut(book).data, f"/api/v1/prices/{book.pk}")


class PriceDetail(ApiView):
    permissions = {"GET": Permission.BILLING_READ, "DELETE": Permission.BILLING_WRITE}

    @extend_schema(responses=PriceBookOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One price book."""
        return Response(PriceBookOut(selectors.book(self.actor, id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """One whose time has not begun. For administrators."""
        services.delete_book(actor=self.actor, book=selectors.book(self.actor, id, Permission.BILLING_WRITE))
        return Response(status=204)


class PriceEnd(ApiView):
    permissions = {"POST": Permission.BILLING_WRITE}

    @extend_schema(request=EndIn, responses=PriceBookOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Let it end in the future. For administrators."""
        book = selectors.book(self.actor, id, Permission.BILLING_WRITE)
        return Response(PriceBookOut(services.end_book(actor=self.actor, book=book, **self.body(EndIn))).data)


# -- months ----------------------------------------------------------------------------------------------------------


class MonthIn(Input):
    month = Text(max_length=7, help_text="Such as 2026-11.")


class AdjustmentIn(MonthIn):
    category = Choice([Category.CREDIT.value, Category.ADJUSTMENT.value])
    amount = Amount(decimal_places=2, help_text="A credit is taken off; an adjustment may be below 0.")
    currency = Text(max_length=3)
    description = Text(max_length=200)


class AdjustmentOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    month = serializers.DateTimeField(source="since", format="%Y-%m")
    category = serializers.CharField()
    amount = serializers.CharField()
    currency = serializers.CharField()
    description = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class PeriodOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    month = serializers.DateTimeField(source="since", format="%Y-%m")
    totals = serializers.DictField(child=serializers.CharField(), help_text="By currency, in its smallest unit.")
    closed_by = serializers.CharField()
    closed_at = serializers.DateTimeField(source="created_at")


class Adjustments(ApiView):
    permissions = {"GET": Permission.BILLING_READ, "POST": Permission.BILLING_WRITE}

    @extend_schema(responses=AdjustmentOut(many=True))
    def get(self, request: Request, tenant: str) -> Response:
        """What was added to the tenant's months by hand, newest first."""
        self.query()
        rows = self.page(selectors.adjustments(self.actor, _tenant(self, tenant, Permission.BILLING_READ)))
        return self.listed(AdjustmentOut(rows, many=True).data)

    @extend_schema(request=AdjustmentIn, responses={201: AdjustmentOut})
    def post(self, request: Request, tenant: str) -> Response:
        """Add a credit or an adjustment to a month that is not closed. For administrators."""
        found, body = _tenant(self, tenant, Permission.BILLING_WRITE), self.body(AdjustmentIn)
        month = Month.named(body.pop("month"))
        return self.created(AdjustmentOut(services.adjust(actor=self.actor, tenant=found, month=month, **body)).data)


class Periods(ApiView):
    permissions = {"GET": Permission.BILLING_READ, "POST": Permission.BILLING_WRITE}

    @extend_schema(responses=PeriodOut(many=True))
    def get(self, request: Request, tenant: str) -> Response:
        """The tenant's months that are closed, newest first."""
        self.query()
        rows = self.page(selectors.periods(self.actor, _tenant(self, tenant, Permission.BILLING_READ)))
        return self.listed(PeriodOut(rows, many=True).data)

    @extend_schema(request=MonthIn, responses={201: PeriodOut})
    def post(self, request: Request, tenant: str) -> Response:
        """Close a month that is over: its charges are as they are from then on. For administrators."""
        found, body = _tenant(self, tenant, Permission.BILLING_WRITE), self.body(MonthIn)
        month = Month.named(body["month"])
        return self.created(PeriodOut(services.close_period(actor=self.actor, tenant=found, month=month)).data)


def _tenant(view: ApiView, tenant: str, permission: Permission) -> Tenant:
    return tenancy.tenant(view.actor, tenant, permission)
