"""Preflight: what a host is, and which accelerator really runs a guest there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from hosts.connections import fenced_driver
from hosts.driver.errors import NotTrusted
from hosts.driver.types import Accelerator, PoolFacts
from hosts.errors import translate
from hosts.models import Cluster, Host
from hosts.workflows import pools as of_pools
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission

# Emulation needs seconds to reach a boot sector; an accelerator that needs longer than this hangs.
PROBE_DEADLINE_SECONDS = {Accelerator.KVM: 8.0, Accelerator.TCG: 30.0}


def _host(context: StepContext) -> Host:
    return Host.objects.select_related("cluster").get(pk=context.operation.target_id)


def read_facts(context: StepContext) -> Output:
    facts = fenced_driver(_host(context), context.check).facts()
    _know(context, facts.uuid)
    values = asdict(facts)
    values["firmwares"] = [str(firmware) for firmware in facts.firmwares]
    values["cpu_models"] = {str(accelerator): models for accelerator, models in facts.cpu_models.items()}
    values["accelerators"] = [str(accelerator) for accelerator in facts.accelerators]
    return {"facts": values}


def _know(context: StepContext, libvirt_id: str) -> None:
    """Whoever empties a host that has two rows would end what the other one has there."""
    try:
        with transaction.atomic():
            Host.objects.filter(pk=context.operation.target_id).update(libvirt_id=libvirt_id)
    except IntegrityError as error:
        other = Host.objects.filter(libvirt_id=libvirt_id).first()
        raise StepFailed(
            "same_host",
            f"libvirt there has the UUID of the host {other or 'that was just added'}. If it is the same one under "
            "another URI, remove it; if it is not, set host_uuid in its libvirtd.conf.",
        ) from error


def prepare_pool(context: StepContext) -> Output:
    host = _host(context)
    driver = fenced_driver(host, context.check)
    driver.ensure_pool(host.pool_name, Path(host.pool_path))
    errors = of_pools.define_others(driver, host)
    tokens, troubles = of_pools.tokens_of(driver, host, without=errors)
    pools = [asdict(pool) for pool in driver.facts().pools]
    return {"pools": pools, "pool_errors": errors | troubles, "tokens": tokens}


def prepare_network(context: StepContext) -> Output:
    """The network of its cluster, which the first host chooses. One that an empty host has from elsewhere makes way."""
    host = _host(context)
    driver, wanted = fenced_driver(host, context.check), host.cluster.network_cidr
    cidr = driver.ensure_network(host.network_name, [wanted] if wanted else settings.NETWORK_CANDIDATES)
    if not wanted:
        Cluster.objects.filter(pk=host.cluster_id, network_cidr="").update(network_cidr=cidr)
        wanted = Cluster.objects.get(pk=host.cluster_id).network_cidr
    if cidr != wanted and not ledger.used(host.pk):
        driver.delete_network(host.network_name)
        cidr = driver.ensure_network(host.network_name, [wanted])
    if cidr != wanted:
        raise StepFailed(
            "other_network",
            f"Its network {host.network_name} is {cidr}, and that of its cluster {host.cluster.slug} is {wanted}. "
            "Empty the host and check it again, or put it into another cluster.",
        )
    return {"cidr": cidr}


def try_accelerators(context: StepContext) -> Output:
    """KVM first: it is the one to use wherever it really works."""
    host, verdicts = _host(context), []
    offered = [Accelerator(value) for value in context.outputs["facts"]["accelerators"]]
    for index, accelerator in enumerate(a for a in Accelerator if a in offered):
        context.progress(index / len(offered), f"Booting a trivial guest with {accelerator.name}")
        verdict = fenced_driver(host, context.check).probe_accelerator(
            accelerator, host.pool_name, PROBE_DEADLINE_SECONDS[accelerator]
        )
        verdicts.append({**asdict(verdict), "accelerator": str(accelerator)})
    return {"verdicts": verdicts}


def store(operation: Operation, outputs: Mapping[str, Any]) -> None:
    facts, verdicts, now = outputs["facts"], outputs["verdicts"], timezone.now()
    usable = [verdict["accelerator"] for verdict in verdicts if verdict["usable"]]
    accelerator, trouble = _chosen(Host.objects.get(pk=operation.target_id), usable)
    Host.objects.filter(pk=operation.target_id).update(
        hostname=facts["hostname"],
        cpu_model=facts["cpu_model"],
        cpus=facts["cpus"],
        memory_mib=facts["memory_mib"],
        libvirt_version=facts["libvirt_version"],
        qemu_version=facts["qemu_version"],
        firmwares=facts.get("firmwares", []),  # one that an older version read has none, nor what follows
        huge_pages_mib=facts.get("huge_pages_mib", 0),
        cpu_models=facts.get("cpu_models", {}).get(accelerator, []),
        controls=next((each.get("controls", {}) for each in verdicts if each["accelerator"] == accelerator), {}),
        verdicts=verdicts,
        accelerator=accelerator,
        pools=outputs["pools"],
        network_cidr=outputs["cidr"],
        checked_at=now,
        seen_at=now,
        last_error=trouble,
    )
    seen = [PoolFacts(**pool) for pool in outputs["pools"]]
    host = Host.objects.get(pk=operation.target_id)
    of_pools.note(host, seen, outputs.get("pool_errors"), outputs.get("tokens"))


def _chosen(host: Host, usable: Sequence[str]) -> tuple[str, str]:
    """The accelerator, and what is wrong with it. Machines that stand on one are not moved to a lesser one unasked."""
    if host.accelerator and host.accelerator not in usable and ledger.used(host.pk):
        name = Accelerator(host.accelerator).name
        return host.accelerator, f"{name} did not run the trivial guest this time; it stays, for machines stand on it."
    return (usable[0], "") if usable else ("", "No accelerator ran the trivial guest.")


def translated(error: Exception) -> Exception | None:
    """As elsewhere; but who is adding a host is told at once that it does not let Berth in, and why."""
    if isinstance(error, NotTrusted):
        return StepFailed(error.code, str(error))
    return translate(error)


def note_failure(operation: Operation) -> None:
    error = operation.error or {}
    Host.objects.filter(pk=operation.target_id).update(last_error=str(error.get("detail", ""))[:300])


PREFLIGHT = register(
    Workflow(
        kind="host.preflight",
        doing="checking",
        done="checked",
        permission=Permission.HOST_WRITE,
        steps=(
            Step("facts", "Reading versions, CPU and memory", read_facts),
            Step("pool", "Preparing the storage pool", prepare_pool),
            Step("network", "Preparing the network", prepare_network),
            Step("accelerators", "Booting a trivial guest with each accelerator", try_accelerators, weight=5),
        ),
        succeeded=store,
        unwound=note_failure,
        translate=translated,
        deadline=timedelta(minutes=30),
    )
)
