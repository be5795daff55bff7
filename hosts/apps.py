from django.apps import AppConfig


class HostsConfig(AppConfig):
    name = "hosts"

    def ready(self) -> None:
        from hosts import health as of_hosts
        from hosts import (
            observe,
            overcommit,
            pool_watch,
            suspicion,
            usage,
            workflows,  # noqa: F401  registers the kinds of operation
        )
        from hosts.selectors import names_of_hosts
        from hosts.services.hosts import forget_what_they_have
        from hosts.web import signs
        from portal.backup import settle
        from portal.core import health
        from portal.core.outbound import ours
        from portal.quotas import capacity
        from portal.web import navigation

        observe.sample_listeners.append(usage.record)
        observe.round_listeners.append(pool_watch.TokenRounds().turn)
        observe.watches.append(suspicion.watch)
        settle.listeners.append(forget_what_they_have)
        capacity.sources.append(overcommit.sellable)
        ours.names_of.append(names_of_hosts)
        health.checks["hosts"] = of_hosts.hosts
        health.collectors["hosts"] = of_hosts.metrics
        navigation.signs.append(signs.failed_hosts)
