from vms.workflows import (
    adopt,
    clean_up,
    clone,
    create,
    delete,
    image_delete,
    image_evict,
    image_import,
    power,
    repair,
    resize,
    volumes,
)

__all__ = [
    "adopt",
    "clean_up",
    "clone",
    "create",
    "delete",
    "image_delete",
    "image_evict",
    "image_import",
    "power",
    "repair",
    "resize",
    "volumes",
]
