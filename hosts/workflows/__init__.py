from hosts.workflows import preflight

__all__ = ["preflight"]
