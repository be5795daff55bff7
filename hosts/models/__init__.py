from hosts.models.host import Host, HostState
from hosts.models.storage import PoolKind, StorageClass, StoragePool

__all__ = ["Host", "HostState", "PoolKind", "StorageClass", "StoragePool"]
