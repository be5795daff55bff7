from hosts.models.access import AccessKind, HostAccess
from hosts.models.cluster import DEFAULT_CLUSTER, Cluster, Convergence, Failover, Spread, TenantCluster
from hosts.models.fence import FenceAgent, Standing
from hosts.models.host import Host, HostState
from hosts.models.placement import Placement
from hosts.models.storage import PoolKind, StorageClass, StoragePool
from hosts.models.target import BackupTarget, TargetReach
from hosts.models.usage import HostUsage

__all__ = [
    "DEFAULT_CLUSTER",
    "AccessKind",
    "BackupTarget",
    "Cluster",
    "Convergence",
    "Failover",
    "FenceAgent",
    "Host",
    "HostAccess",
    "HostState",
    "HostUsage",
    "Placement",
    "PoolKind",
    "Spread",
    "Standing",
    "StorageClass",
    "StoragePool",
    "TargetReach",
    "TenantCluster",
]
