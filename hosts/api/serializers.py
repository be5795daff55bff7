"""Hosts as the API takes and shows them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from hosts import service_class
from hosts.access import LONGEST
from hosts.checklist import Verdict, checks
from hosts.fencing import OPTIONS
from hosts.models import AccessKind, FenceAgent, Host, HostState
from portal.api.operations import OperationOut
from portal.api.serializers import Input, Integer, Text


class Pem(Text):
    """Text of several lines, as it is in a file."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=LONGEST, required=False, allow_blank=True, default="", **kwargs)


class Labels(serializers.ListField):
    """Words for what some machines ask of their host."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=Text(max_length=63), max_length=100, **kwargs)


class AccessIn(Input):
    """An SSH key with the host's own keys, or a CA with a client certificate and its key; nothing: neither.

    The private key is stored encrypted, and never shown again.
    """

    ssh_key = Pem(help_text="qemu+ssh: a private key without a passphrase, as ssh-keygen writes it.")
    host_keys = Pem(help_text="qemu+ssh: the host's public keys, one a line, such as ssh-keyscan prints them.")
    ca_certificate = Pem(help_text="qemu+tls: of the CA that has issued the host's certificate; PEM.")
    client_certificate = Pem(help_text="qemu+tls: what Berth shows the host; PEM.")
    client_key = Pem(help_text="qemu+tls: its private key; PEM.")


class HostIn(AccessIn):
    name = Text(max_length=63)
    uri = Text(help_text="A libvirt URI, such as qemu:///system or qemu+ssh://root@host/system.")
    cluster = Text(max_length=63, required=False, help_text="Slug; left out: default.")
    labels = Labels(required=False)


class Ratio(serializers.DecimalField):
    """A number with two decimals."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=5, decimal_places=2, coerce_to_string=False, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if not str(data).isascii():  # digits of other scripts are no way to write one
            self.fail("invalid")
        return super().to_internal_value(data)


class PolicyIn(Input):
    """What is left out stays as it is."""

    cpu_ratio = Ratio(required=False, help_text="vCPUs given out per logical CPU.")
    memory_ratio = Ratio(required=False, help_text="Memory given out per memory.")
    memory_reserved_mib = Integer(required=False, help_text="Kept for the host itself.")
    labels = Labels(required=False)
    cluster = Text(max_length=63, required=False, help_text="Slug. Only an empty host changes it, and is checked then.")
    peer_uri = Text(
        max_length=300,
        required=False,
        allow_blank=True,
        help_text="How other hosts reach its libvirtd to hand machines over; empty: as Berth does.",
    )
    dedicated_cpus = Integer(required=False, help_text="For dedicated machines alone; changed on an empty host only.")


class PolicyOut(serializers.Serializer[Any]):
    cpu_ratio = serializers.FloatField()
    memory_ratio = serializers.FloatField()
    memory_reserved_mib = serializers.IntegerField()
    dedicated_cpus = serializers.IntegerField()


class AmountsOut(serializers.Serializer[Any]):
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()


class CheckOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    ok = serializers.BooleanField(source="is_ok", help_text="It does not stand in the way.")
    verdict = serializers.ChoiceField(choices=[str(each) for each in Verdict])
    detail = serializers.CharField(help_text="What was found.")
    advice = serializers.CharField(help_text="What to do; empty where nothing is to be done.")


class AccessOut(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=AccessKind.values)
    fingerprint = serializers.CharField(help_text="Of what the host is shown.")
    host_fingerprints = serializers.ListField(
        child=serializers.CharField(), help_text="What the host is known by: its keys, or the CAs of its certificate."
    )
    expires_at = serializers.DateTimeField(allow_null=True, help_text="Of the client certificate.")


class HostOut(serializers.Serializer[Any]):
    """A host. What stands from `hostname` on was seen on it, at `seen_at`."""

    # Context: `claimed`, by id of host.
    id = serializers.UUIDField()
    name = serializers.CharField()
    uri = serializers.CharField()
    peer_uri = serializers.CharField(help_text="How other hosts reach it to hand machines over; empty: by `uri`.")
    access = AccessOut(allow_null=True, help_text="What it is reached with; null: what Berth's user has.")
    cluster = serializers.CharField(source="cluster.slug")
    labels = serializers.ListField(child=serializers.CharField())
    state = serializers.ChoiceField(choices=HostState.values)
    health = serializers.ChoiceField(choices=["pending", "ready", "unreachable", "unusable"])
    policy = PolicyOut(source="*")
    capacity = AmountsOut(help_text="What may be claimed, by the policy in force.")
    claimed = serializers.SerializerMethodField(help_text="What machines hold of it.")
    hostname = serializers.CharField()
    cpu_model = serializers.CharField()
    cpu_models = serializers.ListField(
        child=serializers.CharField(), help_text="What it can show guests: of these a cluster's baseline is chosen."
    )
    cpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    libvirt_version = serializers.CharField()
    qemu_version = serializers.CharField()
    accelerator = serializers.CharField(help_text="kvm, qemu (emulation, slow), or empty where nothing runs guests.")
    firmwares = serializers.ListField(child=serializers.CharField(), help_text="bios, and uefi where it has OVMF.")
    service_classes = serializers.SerializerMethodField(
        help_text="By class why its promises cannot be kept here; empty where they can."
    )
    verdicts = serializers.ListField(child=serializers.DictField(), help_text="How each accelerator did.")
    pools = serializers.ListField(child=serializers.DictField())
    network_cidr = serializers.CharField()
    checked_at = serializers.DateTimeField(allow_null=True)
    seen_at = serializers.DateTimeField(allow_null=True)
    last_error = serializers.CharField()
    suspected_at = serializers.DateTimeField(
        allow_null=True, help_text="Since when it seems to have failed, by more than one sign."
    )
    suspicion = serializers.CharField(help_text="By which signs, or why its silence is not taken for a failure.")
    failed_at = serializers.DateTimeField(allow_null=True, help_text="When it was certain that its power was off.")
    checks = serializers.SerializerMethodField(help_text="What a host must have, as its last check found it.")
    created_at = serializers.DateTimeField()

    def get_service_classes(self, host: Host) -> dict[str, str]:
        return {str(each): reason for each, reason in service_class.kept_by(host).items()}

    @extend_schema_field(CheckOut(many=True))
    def get_checks(self, host: Host) -> list[dict[str, Any]]:
        return [dict(CheckOut(check).data) for check in checks(host)]

    def get_claimed(self, host: Host) -> dict[str, int]:
        found = self.context["claimed"].get(host.pk, {})
        return {name: found.get(name, 0) for name in ("vcpus", "memory_mib", "disk_gib")}


class FenceAgentIn(Input):
    """How its power is cut. What is left out has no value, but for the password, which stays where
    address, user and encryption do."""

    agent = Text(max_length=63, help_text="One of the programs that the installation allows, such as fence_ipmilan.")
    options = serializers.DictField(
        child=Text(max_length=253, allow_blank=True), required=False, help_text=f"Of these: {', '.join(OPTIONS)}."
    )
    password = Text(max_length=128, required=False, allow_blank=True, help_text="Empty: none. It is never shown.")


class FenceAgentOut(serializers.Serializer[Any]):
    agent = serializers.CharField()
    options = serializers.DictField(child=serializers.CharField())
    has_password = serializers.SerializerMethodField()
    power = serializers.ChoiceField(choices=["on", "off", ""], help_text="As its last test said; empty: unknown.")
    problem = serializers.CharField(help_text="Why its last test did not go well, or is no proof; empty: it is.")
    tested_at = serializers.DateTimeField(allow_null=True)

    def get_has_password(self, agent: FenceAgent) -> bool:
        return bool(agent.password)


class HostAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    host = HostOut()
