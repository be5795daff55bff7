from vms.workflows import adopt, clean_up, create, delete, power, repair, resize

__all__ = ["adopt", "clean_up", "create", "delete", "power", "repair", "resize"]
