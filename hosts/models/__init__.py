from hosts.models.host import Host, HostState

__all__ = ["Host", "HostState"]
