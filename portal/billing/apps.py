from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "portal.billing"
    label = "billing"

    def ready(self) -> None:
        from portal.billing import metering
        from portal.events import log

        log.listeners.append(metering.take_causes)
