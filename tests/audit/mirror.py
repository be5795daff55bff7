"""A host in memory that has exactly what the rows say."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from hosts.connections import driver_for
from hosts.driver import memory
from hosts.driver.memory import MemoryHost
from hosts.models import Host, StoragePool
from hosts.workflows.tokens import token_in
from tests.world import World, make_host
from vms.design import domain_spec
from vms.models import VM, Power


def mirrored(world: World) -> MemoryHost:
    """The world's host, now in memory."""
    world.host.uri = f"memory://{uuid4()}"
    world.host.save()
    driver = driver_for(world.host)
    for pool in world.host.storage_pools.all():
        driver.ensure_pool(pool.name, Path(pool.path))
    driver.ensure_network("berth", [world.host.network_cidr])
    driver.upload("berth", world.image.file_name, b"QFI\xfb" + bytes(28), "qcow2")
    for vm in VM.objects.unscoped("test").prefetch_related("volumes__layer__pool", "nics"):
        put(vm, world.host)
    return memory.host(world.host.uri)


def put(vm: VM, host: Host) -> None:
    """What a create leaves, in the state that the row has."""
    driver = driver_for(host)
    for volume in vm.volumes.all():
        layer = volume.layer
        if layer.image_id:
            driver.ensure_overlay(layer.pool.name, layer.file_name, vm.image.file_name, layer.size_bytes)
        else:
            driver.ensure_volume(layer.pool.name, layer.file_name, layer.size_bytes)
    driver.upload("berth", vm.seed_volume, b"seed", "raw")
    for nic in vm.nics.all():
        driver.ensure_dhcp_host("berth", nic.mac, nic.ip)
    driver.define(domain_spec(vm, host, 1))
    if vm.desired_power != Power.STOPPED:
        driver.start(vm.pk)
    if vm.desired_power == Power.PAUSED:
        driver.suspend(vm.pk)


def beside(world: World, name: str = "two", *, is_shared: bool = True) -> Host:
    """A second host in memory, in the cluster of the world's, which is mirrored; it may see the same storage."""
    other = make_host(name, uri=f"memory://{uuid4()}")
    one, two = memory.host(world.host.uri), memory.host(other.uri)
    if is_shared:
        two.volumes, two.contents, two.unfinished = one.volumes, one.contents, one.unfinished
    driver_for(other).ensure_pool("berth", Path(other.pool_path))
    driver_for(other).ensure_network("berth", [other.network_cidr])
    for host in (world.host, other):
        pool = host.default_pool
        StoragePool.objects.filter(pk=pool.pk).update(storage_id=token_in(driver_for(host), pool))
    return other
