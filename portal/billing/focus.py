"""Charges in the columns of FOCUS, the FinOps Open Cost and Usage Specification, versions 1.2 and 1.4.

https://focus.finops.org. A period of charge is half-open and in whole seconds; own columns begin with `x_`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from portal.billing.charges import Charge
from portal.billing.meters import UNITS, WORDS, Meter
from portal.billing.months import Month
from portal.events.export import harmless

Row = Mapping[str, Any]
_COMMON = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice"),
    *("EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingQuantity"),
    *("PricingUnit", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName"),
    *("ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId"),
)
_OWN = ("x_Grade", "x_MachineId")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "focus-1.2": (*_COMMON, "ProviderName", "PublisherName", *_OWN),
    "focus-1.4": (*_COMMON, "HostProviderName", "ServiceProviderName", *_OWN),
}
_COMPUTE = ("Compute", "Virtual Machines", "Virtual machines")
_STORAGE = ("Storage", "Block Storage", "Block storage")
_SERVICES: Mapping[str, tuple[str, str, str]] = {
    Meter.VCPU: _COMPUTE,
    Meter.VCPU_OFF: _COMPUTE,
    Meter.MEMORY: _COMPUTE,
    Meter.MEMORY_OFF: _COMPUTE,
    Meter.ADDRESS: ("Networking", "Network Infrastructure", "Addresses"),
    Meter.DISK: _STORAGE,
    Meter.SNAPSHOT: _STORAGE,
    Meter.BIN: _STORAGE,
    Meter.IMAGE: ("Storage", "Other (Storage)", "Images"),
    Meter.BACKUP: ("Storage", "Backup Storage", "Backups"),
}
_BY_HAND = ("Other", "Other (Other)", "Credits and adjustments")


def rows(lines: Iterable[Charge], names: Mapping[Any, str], issuer: str) -> Iterator[Row]:
    """`names` are those of tenants by id, `issuer` is who charges them."""
    return (_row(line, names.get(line.tenant_id), issuer) for line in lines)


def _row(line: Charge, tenant: str | None, issuer: str) -> Row:
    month, is_use = Month.of(line.since), bool(line.meter)
    category, subcategory, service = _SERVICES.get(line.meter, _BY_HAND)
    cost, price, quantity = number(line.cost), number(line.unit_price), number(line.quantity)
    unit = UNITS[line.meter].name if is_use else None
    return {
        "BilledCost": cost,
        "BillingAccountId": str(line.tenant_id),
        "BillingAccountName": tenant,
        "BillingCurrency": line.currency,
        "BillingPeriodEnd": moment(month.until),
        "BillingPeriodStart": moment(month.since),
        "ChargeCategory": line.category,
        "ChargeClass": None,
        "ChargeDescription": line.description,
        "ChargeFrequency": "Usage-Based" if is_use else "One-Time",
        "ChargePeriodEnd": moment(line.until, is_end=True),
        "ChargePeriodStart": moment(line.since),
        "ConsumedQuantity": quantity if is_use else None,
        "ConsumedUnit": unit,
        "ContractedCost": cost,
        "ContractedUnitPrice": price if is_use else None,
        "EffectiveCost": cost,
        "HostProviderName": issuer,
        "InvoiceIssuerName": issuer,
        "ListCost": cost,
        "ListUnitPrice": price if is_use else None,
        "PricingCategory": "Standard" if is_use else None,
        "PricingQuantity": quantity if is_use else None,
        "PricingUnit": unit,
        "ProviderName": issuer,
        "PublisherName": issuer,
        "ResourceId": str(line.resource_id) if line.resource_id else None,
        "ResourceName": line.resource_name or None,
        "ResourceType": line.resource_type or None,
        "ServiceCategory": category,
        "ServiceName": service,
        "ServiceProviderName": issuer,
        "ServiceSubcategory": subcategory,
        "SkuId": "/".join(filter(None, (line.meter, line.grade))) or None,
        "SkuMeter": WORDS[line.meter] if is_use else None,
        "SkuPriceId": line.price_id or None,
        "x_Grade": line.grade or None,
        "x_MachineId": str(line.machine_id) if line.machine_id else None,
    }


def moment(value: datetime, is_end: bool = False) -> str:
    """ISO 8601 in whole seconds of UTC; an end that is none is the next one."""
    if is_end and value.microsecond:
        value += timedelta(seconds=1)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"


def number(value: Decimal) -> str:
    """Without an exponent, and without what says nothing: 0.25, 3, 0."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def json_lines(found: Iterable[Row], columns: tuple[str, ...]) -> Iterator[str]:
    """Numbers are JSON's, with all of their digits."""
    for row in found:
        members = (f"{json.dumps(name)}: {_json(name, row[name])}" for name in columns)
        yield f"{{{', '.join(members)}}}\n"


def _json(name: str, value: Any) -> str:
    is_number = value is not None and name.endswith(("Cost", "Price", "Quantity"))
    return str(value) if is_number else json.dumps(value, ensure_ascii=False)


def comma_separated(found: Iterable[Row], columns: tuple[str, ...]) -> Iterator[str]:
    """RFC 4180, with the names of the columns first. What a spreadsheet would take for a formula is text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in found:
        yield _emptied(buffer)
        writer.writerow([_cell(name, row[name]) for name in columns])
    yield _emptied(buffer)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return str(value) if name.endswith(("Cost", "Price", "Quantity")) else harmless(value)


def _emptied(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


Lines = Callable[[Iterable[Row], tuple[str, ...]], Iterator[str]]
MEDIA_TYPES: Mapping[str, Lines] = {"text/csv": comma_separated, "application/jsonl": json_lines}
