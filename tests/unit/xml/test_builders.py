"""Definitions are what the golden files say, valid for libvirt, and leave out nothing of a spec.

After a wanted change: `python -m tests.unit.xml.write`, and read the difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any
from uuid import UUID
from xml.etree.ElementTree import fromstring

import libvirt
import pytest

from hosts.driver.types import Accelerator, CdromSpec, DiskLimits, DiskSpec, DomainSpec, Firmware, NicSpec, Tuning
from hosts.driver.xml import parse
from hosts.driver.xml.domain import NAMESPACE, domain_xml
from hosts.driver.xml.network import bridge_name
from hosts.driver.xml.pool import pool_spec_xml
from hosts.driver.xml.tuning import cpu_list
from tests.unit.xml.specs import DOCUMENTS, FULL, GOLDENS, POOLS, SMALLEST

OTHER_VALUES: dict[type, dict[str, Any]] = {
    DomainSpec: {
        "uuid": UUID(int=1),
        "accelerator": Accelerator.TCG,
        "machine": "pc-q35-7.2",
        "firmware": Firmware.UEFI,
        "disks": (),
        "cdroms": (),
        "nics": (),
        "tuning": Tuning(),
    },
    DiskSpec: {"limits": DiskLimits(write_iops=1)},
    CdromSpec: {},
    NicSpec: {"ip": None},
    Tuning: {"pins": (), "cpus": (), "is_memory_locked": False, "has_huge_pages": False},
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_golden(name: str) -> None:
    assert DOCUMENTS[name] == (GOLDENS / f"{name}.xml").read_text()


def test_each_golden_file_is_used() -> None:
    assert {path.stem for path in GOLDENS.glob("*.xml")} == set(DOCUMENTS)


def changed(spec: Any, name: str) -> Any:
    """The spec with another value in one field."""
    value = getattr(spec, name)
    if name in OTHER_VALUES[type(spec)]:
        other = OTHER_VALUES[type(spec)][name]
    elif isinstance(value, str):
        other = value + "x"
    elif isinstance(value, int):
        other = value + 1
    else:
        raise AssertionError(f"name another value for {type(spec).__name__}.{name} here")
    assert other != value
    return dataclasses.replace(spec, **{name: other})


def variants() -> Iterator[Any]:
    """FULL with each field of each spec in it changed, one at a time."""
    for field in dataclasses.fields(FULL):
        yield pytest.param(changed(FULL, field.name), id=f"DomainSpec.{field.name}")
    for group in ("disks", "cdroms", "nics"):
        first, *others = getattr(FULL, group)
        for field in dataclasses.fields(first):
            spec = dataclasses.replace(FULL, **{group: (changed(first, field.name), *others)})
            yield pytest.param(spec, id=f"{type(first).__name__}.{field.name}")
    for field in dataclasses.fields(FULL.tuning):
        spec = dataclasses.replace(FULL, tuning=changed(FULL.tuning, field.name))
        yield pytest.param(spec, id=f"Tuning.{field.name}")


@pytest.mark.parametrize("spec", list(variants()))
def test_each_field_of_a_spec_is_in_the_xml(spec: DomainSpec) -> None:
    assert domain_xml(spec) != domain_xml(FULL)


@pytest.mark.parametrize(
    ("cpus", "words"), [((), ""), ((3,), "3"), ((0, 1, 2), "0-2"), ((5, 0, 1, 7, 6, 1), "0-1,5-7")]
)
def test_lists_of_cpus(cpus: tuple[int, ...], words: str) -> None:
    assert cpu_list(cpus) == words


def test_words_of_users_stay_words() -> None:
    root = fromstring(domain_xml(FULL))
    assert root.findtext("title") == '</title><devices/> & "quoted" <!-- größer -->'
    assert root.findtext(f"metadata/{{{NAMESPACE}}}vm/{{{NAMESPACE}}}owner") == FULL.owner
    assert len(root.findall("devices")) == 1


@pytest.mark.parametrize("title", ["", "\n", "\ud800", "\x00", "\ufffe", "a" * 300, "]]>", "&#0;"])
def test_any_title_is_taken_by_libvirt(title: str) -> None:
    define(domain_xml(dataclasses.replace(SMALLEST, title=title)))


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.startswith("domain-")])
def test_libvirt_takes_the_domain(name: str) -> None:
    define(DOCUMENTS[name])


def test_libvirt_refuses_what_its_schema_does_not_know() -> None:
    """So that the tests above can fail."""
    with pytest.raises(libvirt.libvirtError, match="schema"):
        define(DOCUMENTS["domain-full"].replace("<acpi />", "<acpy />"))


def test_libvirt_takes_pool_volumes_and_network() -> None:
    connection = libvirt.open("test:///default")
    pool = connection.storagePoolDefineXML(DOCUMENTS["pool"], libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE)
    pool.create()
    for name in ("volume-raw", "volume-overlay"):
        pool.createXML(DOCUMENTS[name]).delete()  # the test driver of libvirt 9.0 cannot validate these
    connection.networkDefineXMLFlags(DOCUMENTS["network"], libvirt.VIR_NETWORK_DEFINE_VALIDATE).undefine()
    pool.destroy()
    pool.undefine()


@pytest.mark.parametrize("name", POOLS)
def test_libvirt_takes_the_pool(name: str) -> None:
    """By its schema: to start one needs a server or a volume group."""
    connection = libvirt.open("test:///default")
    pool = connection.storagePoolDefineXML(DOCUMENTS[name], libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE)
    try:
        assert parse.pool(pool.XMLDesc()) == parse.pool(DOCUMENTS[name])
    finally:
        pool.undefine()


def test_pools_differ_by_what_they_stand_on() -> None:
    for spec in POOLS.values():
        other = dataclasses.replace(spec, source="other")
        assert parse.pool(pool_spec_xml(spec)) != parse.pool(pool_spec_xml(other))


def define(xml: str) -> None:
    """In libvirt's test driver, which lives in this process; it knows one type of domain, so that is put in."""
    kinds = (accelerator.value for accelerator in Accelerator)
    for kind in kinds:
        xml = xml.replace(f'type="{kind}">', 'type="test">', 1)
    connection = libvirt.open("test:///default")
    connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()


@pytest.mark.parametrize("network", ["berth", "a" * 12, "a" * 13, "with-dash", "größe", "x" * 200, "../../etc"])
def test_bridge_names_fit_the_kernel_and_differ(network: str) -> None:
    name = bridge_name(network)
    assert len(name) <= 15
    assert name.isascii()
    assert "/" not in name
    assert name != bridge_name(network + "2")
