"""What only a real host shows: daemons that hang, connections that break, guests that do not run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from hosts.driver import errors, open_driver
from hosts.driver.kvm.driver import KvmDriver
from hosts.driver.kvm.probe import boot_disk
from hosts.driver.types import Accelerator, DomainSpec, NicSpec, PowerState
from tests.driver.guests import guest, read, wait_for_echo
from tests.driver.rig import NETWORK, POOL, Rig
from tests.lab.fixtures import LabHost
from vms.audit import names

MIB = 1 << 20
CLI_HLT = boot_disk(bytes.fromhex("faf4"))  # runs, and then never does anything again


@pytest.fixture
def rig(kvm_rig: Rig) -> Rig:
    return kvm_rig


@pytest.fixture
def running(rig: Rig, echo_image: Path) -> DomainSpec:
    rig.driver.upload(POOL, "image", echo_image, "qcow2")
    spec = guest("image")
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    return spec


def wait_until(is_so: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def hanging(host: LabHost) -> Iterator[None]:
    pid = host.libvirtd_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


# -- a daemon that hangs -----------------------------------------------------------------------------------------


def test_an_open_connection_to_a_hung_daemon_times_out_and_recovers(rig: Rig, lab_host: LabHost) -> None:
    rig.driver.list_domains()
    with hanging(lab_host), at_most(12), pytest.raises(errors.Timeout):
        rig.driver.list_domains()
    with at_most(5):
        assert rig.driver.list_domains() == []


def test_opening_a_connection_to_a_hung_daemon_times_out_and_recovers(rig: Rig, lab_host: LabHost) -> None:
    fresh, outcomes, before = open_driver(rig.uri), [], set(threading.enumerate())

    def ask() -> None:
        try:
            fresh.list_domains()
        except errors.DriverError as error:
            outcomes.append(type(error))

    with hanging(lab_host), at_most(12):
        callers = [threading.Thread(target=ask) for _ in range(3)]
        for caller in callers:
            caller.start()
        time.sleep(1)
        begun = set(threading.enumerate()) - before
        assert [thread.name for thread in begun].count("libvirt-open") == 1  # one opens for all
        for caller in callers:
            caller.join()
    assert outcomes == [errors.Timeout] * 3
    with at_most(5):
        assert fresh.list_domains() == []
    fresh.close()


def test_keepalive_ends_what_was_left_behind(rig: Rig, lab_host: LabHost) -> None:
    """A hung host costs no thread for good, and whoever watches it learns of it."""
    lost = threading.Event()
    rig.driver.watch(lambda event: None, lost.set)
    with hanging(lab_host):
        with pytest.raises(errors.Timeout):
            rig.driver.list_domains()
        assert lost.wait(15)
        until = time.monotonic() + 15
        while any(thread.name == "libvirt-call" for thread in threading.enumerate()) and time.monotonic() < until:
            time.sleep(0.2)
        assert not [thread for thread in threading.enumerate() if thread.name == "libvirt-call"]


# -- a daemon that dies, a host that loses power -----------------------------------------------------------------


def test_power_loss(rig: Rig, running: DomainSpec, lab_host: LabHost) -> None:
    lost = threading.Event()
    rig.driver.watch(lambda event: None, lost.set)
    serial = rig.driver.open_serial(running.uuid)
    lab_host.kill()
    try:
        assert lost.wait(5)
        assert read(serial, 1) == b""
        with at_most(12), pytest.raises(errors.Unreachable):
            rig.driver.list_domains()
    finally:
        lab_host.start()
    state = rig.driver.state(running.uuid)
    assert state is not None
    assert state.power is PowerState.STOPPED
    rig.driver.start(running.uuid)


def test_nobody_there(tmp_path: Path) -> None:
    with at_most(5), pytest.raises(errors.Unreachable):
        open_driver(f"qemu+unix:///system?socket={tmp_path}/none").facts()


# -- processes ---------------------------------------------------------------------------------------------------


def run_python(program: str) -> str:
    """In a process of its own; what it printed."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_driver_made_before_a_fork_is_used_on_both_sides(rig: Rig) -> None:
    program = f"""
import os
from hosts.driver import open_driver
driver = open_driver({rig.uri!r})
child = os.fork()
domains = driver.list_domains()
if child:
    assert os.waitpid(child, 0)[1] == 0
print(domains, flush=True)
"""
    assert run_python(program) == "[]\n[]\n"


def test_a_child_of_a_connected_process_is_told_and_does_no_harm(rig: Rig) -> None:
    program = f"""
import os, threading
from hosts.driver import open_driver
driver, lost = open_driver({rig.uri!r}), threading.Event()
driver.watch(print, lost.set)
child = os.fork()
if not child:
    try:
        driver.list_domains()
    except RuntimeError as error:
        print(error, flush=True)
    raise SystemExit
assert os.waitpid(child, 0)[1] == 0
print(driver.list_domains(), lost.wait(1))
"""
    assert run_python(program).splitlines() == [
        "libvirt was in use when this process was forked, and cannot be used here: fork before",
        "[] False",
    ]


def test_nothing_is_printed_and_a_process_ends_by_itself(rig: Rig) -> None:
    """libvirt prints errors by itself, and threads in it could hold up the end of a process."""
    program = (
        "import sys, uuid; from hosts.driver import open_driver\n"
        f"driver = open_driver({rig.uri!r}); driver.watch(print, print); print(driver.state(uuid.uuid4()))\n"
    )
    assert run_python(program) == "None\n"


# -- accelerators ------------------------------------------------------------------------------------------------


def test_a_guest_that_does_not_run_is_found_out_and_removed(rig: Rig) -> None:
    assert isinstance(rig.driver, KvmDriver)
    verdict = rig.driver.probe_with(CLI_HLT, Accelerator.TCG, POOL, 2)
    assert not verdict.usable
    assert verdict.detail == "the guest did not run within 2 s although it started"
    assert 2 <= verdict.seconds < 20
    assert rig.other.list_domains() == []
    assert rig.other.list_volumes(POOL) == []


def test_a_probe_that_is_killed_leaves_no_guest_and_a_disk_that_is_known_as_its_own(rig: Rig) -> None:
    program = (
        "from hosts.driver import open_driver; from hosts.driver.types import Accelerator\n"
        "from tests.driver.test_kvm import CLI_HLT\n"
        f"open_driver({rig.uri!r}).probe_with(CLI_HLT, Accelerator.TCG, {POOL!r}, 60)\n"
    )
    probe = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: [domain.power for domain in rig.other.list_domains()] == [PowerState.RUNNING])
    finally:
        probe.kill()
        probe.wait()
    wait_until(lambda: rig.other.list_domains() == [])
    (volume,) = rig.other.list_volumes(POOL)
    assert names.is_ours(volume.name)


def test_the_verdict_on_kvm_comes_in_time(rig: Rig) -> None:
    """Whatever it is on this machine: KVM may be missing, hang or work."""
    with at_most(60):
        verdict = rig.driver.probe_accelerator(Accelerator.KVM, POOL, 8)
    assert verdict.usable == (verdict.detail == "")
    assert verdict.usable <= (Accelerator.KVM in rig.driver.facts().accelerators)
    assert rig.other.list_domains() == []
    assert rig.other.list_volumes(POOL) == []


# -- serial port -------------------------------------------------------------------------------------------------


def test_a_second_serial_connection_takes_over(rig: Rig, running: DomainSpec) -> None:
    first = rig.driver.open_serial(running.uuid)
    wait_for_echo(first)
    with rig.other.open_serial(running.uuid) as second:
        wait_for_echo(second)
        assert read(first, 1) == b""
    first.close()


def test_the_serial_connection_ends_with_the_guest(rig: Rig, running: DomainSpec) -> None:
    with rig.driver.open_serial(running.uuid) as serial:
        wait_for_echo(serial)
        rig.driver.destroy(running.uuid)
        assert read(serial, 1) == b""


def test_closing_serial_connections_leaves_nothing_open(rig: Rig, running: DomainSpec, lab_host: LabHost) -> None:
    def files() -> int:
        return len(list(Path(f"/proc/{lab_host.libvirtd_pid}/fd").iterdir()))

    rig.driver.open_serial(running.uuid).close()
    time.sleep(1)
    before, own, threads = files(), len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(20):
        rig.driver.open_serial(running.uuid).close()
    few = 5  # that the daemon, or another test's thread, has open for a moment
    wait_until(lambda: files() < before + few)
    wait_until(lambda: len(os.listdir("/proc/self/fd")) < own + few)
    wait_until(lambda: threading.active_count() < threads + few)


def test_a_reader_that_stops_reading_holds_up_nobody(rig: Rig, running: DomainSpec) -> None:
    with rig.driver.open_serial(running.uuid) as serial:
        wait_for_echo(serial)
        serial.settimeout(1)
        with pytest.raises(TimeoutError):  # what the guest cannot take yet is held up here
            serial.sendall(b"x" * 64 * MIB)
        with at_most(5):
            rig.driver.list_domains()
            with rig.driver.open_display(running.uuid) as display:
                assert read(display, 12).startswith(b"RFB 003")


# -- uploads -----------------------------------------------------------------------------------------------------


def test_an_upload_whose_process_was_killed_is_not_there_and_is_done_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"""
import time
from hosts.driver import open_driver
def hold(fraction):
    print(fraction, flush=True)
    time.sleep(60)
open_driver({rig.uri!r}).upload({POOL!r}, "image", b"x" * 3_000_000, "raw", hold)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as uploading:
        assert uploading.stdout is not None
        assert uploading.stdout.read(2) == b"0."
        uploading.kill()
    assert rig.driver.volume(POOL, "image") is None
    with pytest.raises(errors.Busy):  # by the file's time it may still be alive
        rig.driver.upload(POOL, "image", b"y" * MIB, "raw")
    monkeypatch.setattr("hosts.driver.kvm.upload.STALE_SECONDS", 0.0)
    assert rig.driver.upload(POOL, "image", b"y" * MIB, "raw").capacity_bytes == MIB
    assert [volume.name for volume in rig.driver.list_volumes(POOL)] == ["image"]


def test_an_overtaken_upload_does_not_call_itself_done(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosts.driver.kvm.upload.STALE_SECONDS", 0.0)

    def overtake(fraction: float) -> None:
        if fraction < 0.5:
            rig.other.upload(POOL, "image", b"y" * MIB, "raw")

    with pytest.raises(errors.DriverError):
        rig.driver.upload(POOL, "image", b"x" * 3 * MIB, "raw", overtake)
    volume = rig.driver.volume(POOL, "image")
    assert volume is not None
    assert Path(volume.path).read_bytes() == b"y" * MIB


def test_of_uploads_at_once_one_wins_and_the_others_wait_for_it(rig: Rig) -> None:
    """As when a new image is first used by several machines: nobody fails, and nobody removes what another writes."""

    def upload(letter: bytes) -> str:
        driver = open_driver(rig.uri)
        try:
            driver.upload(POOL, "image", letter * 3 * MIB, "raw")
        except errors.Busy:
            return "busy"
        finally:
            driver.close()
        return "done"

    for _ in range(5):
        with ThreadPoolExecutor(6) as pool:
            ends = list(pool.map(upload, [bytes([65 + i]) for i in range(6)]))
        assert set(ends) <= {"done", "busy"}
        assert rig.driver.volume(POOL, "image") is not None or "done" not in ends
    assert rig.driver.inventory([POOL], NETWORK).pools[POOL].unfinished == ()


def test_an_upload_takes_constant_memory_and_arrives_whole(rig: Rig, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(MIB) * 96)
    before = resident_bytes()
    largest: list[int] = []
    made = rig.driver.upload(POOL, "image", source, "raw", lambda fraction: largest.append(resident_bytes()))
    assert subprocess.run(["cmp", source, made.path]).returncode == 0
    assert max(largest) - before < 48 * MIB


def test_a_pool_leaves_no_empty_directory(kvm_rig: Rig) -> None:
    path = Path(kvm_rig.driver.facts().pools[0].path)
    kvm_rig.driver.delete_pool(POOL)
    assert not path.exists()
    kvm_rig.driver.ensure_pool(POOL, path)
    kvm_rig.driver.upload(POOL, "kept", b"x" * 4096, "raw")
    kvm_rig.driver.delete_pool(POOL)
    assert (path / "kept").read_bytes() == b"x" * 4096
    kvm_rig.driver.ensure_pool(POOL, path)


@contextmanager
def small_pool(rig: Rig, lab_host: LabHost, size: str) -> Iterator[str]:
    """The name of a pool that is soon full."""
    small = lab_host.directory / "small"
    small.mkdir(exist_ok=True)
    enter = ["nsenter", "--mount", f"--target={lab_host.libvirtd_pid}"]
    subprocess.run([*enter, "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small], check=True)
    try:
        rig.driver.ensure_pool("small", small)
        yield "small"
    finally:
        rig.driver.delete_pool("small")
        subprocess.run([*enter, "umount", small], check=True)


def test_a_full_pool_is_told(rig: Rig, lab_host: LabHost) -> None:
    with small_pool(rig, lab_host, "2m") as pool:
        for _ in range(40):  # of fifty such uploads, libvirt by itself calls one a success
            with pytest.raises(errors.NoSpace):
                rig.driver.upload(pool, "image", b"x" * 4 * MIB, "raw")
            assert rig.driver.volume(pool, "image") is None


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# -- guests ------------------------------------------------------------------------------------------------------


def test_more_memory_than_the_host_has(rig: Rig) -> None:
    spec = guest(memory_mib=64 << 20)
    rig.driver.define(spec)
    with pytest.raises(errors.NoMemory):
        rig.driver.start(spec.uuid)


def test_a_guest_killed_from_outside_is_seen(rig: Rig, running: DomainSpec) -> None:
    events: SimpleQueue[str] = SimpleQueue()
    stop = rig.driver.watch(lambda event: events.put(event.reason), lambda: None)
    found = subprocess.run(["pgrep", "-f", f"guest={running.name}"], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    assert events.get(timeout=5) in ("failed", "crashed")
    assert rig.driver.wait_for(running.uuid, [PowerState.STOPPED, PowerState.CRASHED], 5)
    stop()


def test_a_file_whose_name_is_no_text_hinders_nobody(rig: Rig, lab_host: LabHost) -> None:
    (lab_host.directory / "pool").joinpath(os.fsdecode(b"caf\xe9.img")).write_bytes(b"x")
    rig.driver.upload(POOL, "image", b"x" * MIB, "raw")
    assert [volume.name for volume in rig.driver.inventory([POOL], NETWORK).pools[POOL].volumes or ()] == ["image"]
    assert [volume.name for volume in rig.driver.list_volumes(POOL)] == ["image"]
    rig.driver.delete_volume(POOL, "image")
    (lab_host.directory / "pool").joinpath(os.fsdecode(b"caf\xe9.img")).unlink()


def test_one_that_was_renamed_by_hand_is_defined_under_its_own_name(rig: Rig) -> None:
    spec = guest()
    rig.driver.define(spec)
    subprocess.run(["virsh", "-q", "-c", rig.uri, "domrename", spec.name, "mine-now"], check=True)
    rig.driver.define(spec)
    (domain,) = rig.other.inventory([POOL], NETWORK).domains
    assert domain.name == spec.name


def test_a_network_that_is_off_is_told(rig: Rig) -> None:
    assert rig.driver.inventory([POOL], NETWORK).dhcp_hosts == {}
    subprocess.run(["virsh", "-q", "-c", rig.uri, "net-destroy", NETWORK], check=True)
    assert rig.driver.inventory([POOL], NETWORK).dhcp_hosts is None


def test_a_filtered_guest_has_rules_on_the_host(rig: Rig, lab_host: LabHost) -> None:
    mac = "52:54:00:aa:bb:cc"
    spec = guest(nics=(NicSpec(NETWORK, mac, "10.143.7.77"),))
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    rules = ["nsenter", f"--net=/run/netns/{lab_host.netns}", "ebtables", "-t", "nat", "-L"]
    assert "10.143.7.77" in subprocess.run(rules, capture_output=True, text=True, check=True).stdout


def test_displays_over_the_network_are_refused_without_a_try(lab_host: LabHost) -> None:
    far = open_driver(lab_host.tcp_uri)
    assert far.facts().hostname == "h1"
    with pytest.raises(errors.Unsupported):
        far.open_display(guest().uuid)
    far.close()
