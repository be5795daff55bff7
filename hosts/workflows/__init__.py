from hosts.workflows import pools, preflight

__all__ = ["pools", "preflight"]
