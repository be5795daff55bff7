from vms.workflows import adopt, clean_up, clone, create, delete, power, repair, resize

__all__ = ["adopt", "clean_up", "clone", "create", "delete", "power", "repair", "resize"]
