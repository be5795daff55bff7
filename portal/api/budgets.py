"""Budgets: what a tenant means to spend in a month."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.billing import Amount
from portal.api.serializers import Choice, Input, Integer
from portal.api.views import ApiView
from portal.billing import budgets
from portal.billing.models import Budget
from portal.billing.models.budget import Action, Basis
from portal.quotas import blocks
from portal.tenancy import selectors as tenancy
from portal.tenancy.roles import Permission


class ThresholdIn(Input):
    percent = Integer(min_value=1, max_value=budgets.HIGHEST_PERCENT)
    of = Choice(Basis.values, help_text="What is spent so far, or what the month comes to if all stays as it is.")
    action = Choice(Action.values, help_text="block: nothing new, nothing grows. stop: that, and machines are stopped.")


class BudgetIn(Input):
    amount = Amount(decimal_places=2, help_text="For a calendar month in UTC, in the currency of your prices.")
    thresholds = serializers.ListField(child=ThresholdIn(), max_length=budgets.MOST_THRESHOLDS)


class ThresholdOut(serializers.Serializer[Any]):
    percent = serializers.IntegerField()
    of = serializers.CharField()
    action = serializers.CharField()
    is_reached = serializers.BooleanField()


class BudgetOut(serializers.Serializer[Any]):
    tenant = serializers.CharField(help_text="Slug.")
    amount = serializers.CharField()
    currency = serializers.CharField()
    month = serializers.CharField()
    spent = serializers.CharField()
    forecast = serializers.CharField(help_text="By the end of the month, if all stays as it is.")
    thresholds = ThresholdOut(many=True)
    blocked = serializers.CharField(allow_null=True, help_text="Why nothing new can be made, where that is so.")


class BudgetDetail(ApiView):
    permissions = {
        "GET": Permission.BILLING_READ,
        "PUT": Permission.BUDGET_WRITE,
        "DELETE": Permission.BUDGET_WRITE,
    }

    @extend_schema(responses=BudgetOut)
    def get(self, request: Request, tenant: str) -> Response:
        """What the tenant means to spend in a month, and where it stands. 404 where no budget is set."""
        found = tenancy.tenant(self.actor, tenant, Permission.BILLING_READ)
        return Response(_shown(budgets.budget_of(self.actor, found), found.slug))

    @extend_schema(request=BudgetIn, responses=BudgetOut)
    def put(self, request: Request, tenant: str) -> Response:
        """Set it. A higher one lifts a block at once; one below what is spent acts at once."""
        found = tenancy.tenant(self.actor, tenant, Permission.BUDGET_WRITE)
        budget = budgets.set_budget(actor=self.actor, tenant=found, **self.body(BudgetIn))
        return Response(_shown(budget, found.slug))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, tenant: str) -> Response:
        """Have none: what it blocked is free again."""
        budgets.remove_budget(actor=self.actor, tenant=tenancy.tenant(self.actor, tenant, Permission.BUDGET_WRITE))
        return Response(status=204)


def _shown(budget: Budget, slug: str) -> dict[str, Any]:
    now, block = budgets.standing(budget.tenant_id, budget.currency), blocks.of(budget.tenant_id)
    reached = budgets.passed(budget.amount, budget.thresholds, now)
    return {
        "tenant": slug,
        "amount": str(budget.amount),
        "currency": budget.currency,
        "month": str(now.month),
        "spent": str(now.spent),
        "forecast": str(now.forecast),
        "thresholds": [{**each, "is_reached": each in reached} for each in budget.thresholds],
        "blocked": block.reason if block else None,
    }
