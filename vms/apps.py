from django.apps import AppConfig


class VmsConfig(AppConfig):
    name = "vms"

    def ready(self) -> None:
        from hosts import map as of_map
        from hosts import observe, spare, suspicion
        from hosts.web import machines
        from portal.core import health
        from portal.web import navigation
        from portal.web.presenters import operation as operation_pages
        from vms import drift_health, metered, moves, observed, selectors, takeover, usage, workflows  # noqa: F401  registers the kinds of operation
        from vms import health as of_vms
        from vms.maintenance import roll  # registers its kind, and the drain's
        from vms.reconcile.turn import Reconciler
        from vms.scheduling import backups, power  # noqa: F401  registers what schedules do
        from vms.services import failover, snapshots  # noqa: F401  registers what schedules can make
        from vms.web import host_machines, rolls

        observe.event_listeners.append(observed.take_event)
        observe.reading_listeners.append(observed.take_reading)
        observe.sample_listeners.append(usage.take_sample)
        observe.round_listeners.append(Reconciler().turn)
        of_map.movers.append(moves.under_way)
        spare.of_each = takeover.spares
        machines.of = host_machines.of_host
        suspicion.suspected_listeners.append(failover.begin)
        suspicion.returned_listeners.append(failover.take_back)
        health.collectors["vms"] = of_vms.metrics
        health.collectors["drift"] = drift_health.metrics
        navigation.badges["drift-list"] = selectors.open_drift
        operation_pages.parts_of[roll.ROLL.kind] = rolls.parts
