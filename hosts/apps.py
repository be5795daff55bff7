from django.apps import AppConfig


class HostsConfig(AppConfig):
    name = "hosts"

    def ready(self) -> None:
        from hosts import health as of_hosts
        from hosts import workflows  # noqa: F401  registers the kinds of operation
        from portal.core import health

        health.checks["hosts"] = of_hosts.hosts
        health.collectors["hosts"] = of_hosts.metrics
