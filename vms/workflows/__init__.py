from vms.workflows import create, delete, power, resize

__all__ = ["create", "delete", "power", "resize"]
