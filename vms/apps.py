from django.apps import AppConfig


class VmsConfig(AppConfig):
    name = "vms"

    def ready(self) -> None:
        from hosts import observe
        from portal.core import health
        from vms import health as of_vms
        from vms import observed, workflows  # noqa: F401  registers the kinds of operation

        observe.event_listeners.append(observed.take_event)
        observe.reading_listeners.append(observed.take_reading)
        health.collectors["vms"] = of_vms.metrics
