from portal.billing.models.budget import Budget, BudgetCrossing
from portal.billing.models.charge import Adjustment, Category, Charged, Period
from portal.billing.models.interval import Immutable, Interval
from portal.billing.models.price import Price, PriceBook

__all__ = [
    "Adjustment",
    "Budget",
    "BudgetCrossing",
    "Category",
    "Charged",
    "Immutable",
    "Interval",
    "Period",
    "Price",
    "PriceBook",
]
