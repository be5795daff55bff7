from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "portal.operations"
    label = "operations"

    def ready(self) -> None:
        from portal.core import health
        from portal.operations.health import metrics, worker

        health.checks["worker"] = worker
        health.collectors["operations"] = metrics
