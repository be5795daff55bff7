from hosts.workflows import check_target, pools, preflight

__all__ = ["check_target", "pools", "preflight"]
