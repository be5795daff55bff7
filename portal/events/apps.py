from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "portal.events"
    label = "events"

    def ready(self) -> None:
        from portal.core import health
        from portal.events.health import metrics

        health.collectors["live"] = metrics
