from hosts.models.host import Host, HostState
from hosts.models.storage import PoolKind, StorageClass, StoragePool
from hosts.models.target import BackupTarget, TargetReach

__all__ = ["BackupTarget", "Host", "HostState", "PoolKind", "StorageClass", "StoragePool", "TargetReach"]
