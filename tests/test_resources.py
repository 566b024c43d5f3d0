"""The machine and this process, beside what others say of them: psutil, `df`, `free`, /proc read in another way."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
from processes import until

from otel_llmon import observers, snapshot
from otel_llmon.errors import NoDataError, SettingsError
from otel_llmon.observers import attach, host, process, snapshots, sockets
from otel_llmon.observers.host import cpu, disks, filesystems, memory, network, sensors
from otel_llmon.observers.patience import Patient
from otel_llmon.observers.reading import File, Group, Window
from otel_llmon.observers.sources import everything, sources

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def sampler():
    """The sampler, with nothing attached before and after."""
    observers.detach_all()
    yield observers.sampler
    observers.detach_all()
    observers.sampler.beat = 10.0


def said(group: Group) -> dict[tuple, float]:
    """What a group tells now, by name and the values of its attributes."""
    return {(row.name, *attributes.values()): value for row, value, attributes in group()}


def read() -> None:
    """Have every observer read once, now."""
    assert observers.read_now(20)


def tree(root: Path, files: dict[str, str]) -> str:
    """Write a tree of files as a kernel shows it, and return its place."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


# CPU


@pytest.mark.row("C7", "C9")
def test_cpu_time_and_counts_are_what_psutil_says():
    """Within what the machine does between the two readings."""
    before, ours, after = psutil.cpu_times(), said(cpu.watch()), psutil.cpu_times()
    for mode in ("user", "nice", "system", "idle", "iowait", "steal"):
        low, high = getattr(before, mode) - 0.05, getattr(after, mode) + 0.05  # iowait may step back by a tick
        assert low <= ours["system.cpu.time", mode] <= high
    interrupt = before.irq + before.softirq
    assert interrupt - 0.05 <= ours["system.cpu.time", "interrupt"] <= after.irq + after.softirq + 0.05
    assert ours["system.cpu.logical.count",] == psutil.cpu_count() == os.cpu_count()
    assert ours.get(("system.cpu.physical.count",)) == psutil.cpu_count(logical=False)


def test_the_first_utilization_is_of_all_the_time_since_the_machine_started():
    """It is right, and never a zero that was not measured."""
    ours = said(cpu.watch())
    times = psutil.cpu_times()
    whole = sum(times[:8])
    assert ours["system.cpu.utilization", "idle"] == pytest.approx(times.idle / whole, abs=0.01)
    assert sum(value for (name, *_), value in ours.items() if name == "system.cpu.utilization") == pytest.approx(1)


@pytest.mark.row("C7")
def test_utilization_is_of_the_time_between_two_readings(tmp_path):
    """3 of 10 seconds in user code is 0.3, though the machine did something else before."""
    clock = [0.0]
    stat = "cpu {} 0 {} 0 0 0 0 0 0 0\nintr 1\n"
    proc = tree(tmp_path, {"stat": stat.format(100_000, 0)})
    group = cpu.watch(proc, linux=True, clock=lambda: clock[0])
    assert said(group)["system.cpu.utilization", "user"] == 1
    clock[0] += 10
    (tmp_path / "stat").write_text(stat.format(100_300, 700))
    assert said(group)["system.cpu.utilization", "user"] == pytest.approx(0.3)
    assert said(group)["system.cpu.utilization", "user"] == pytest.approx(0.3), "no time has passed: the same window"
    clock[0] += 10
    (tmp_path / "stat").write_text(stat.format(100_300, 1_700))
    assert said(group)["system.cpu.utilization", "user"] == 0, "nothing of it was user code, and that was measured"


def test_a_window_takes_no_harm_from_readings_that_follow_each_other_at_once():
    """Ten readings in a tenth of a second do not make ten windows of one tick."""
    now = [0.0]
    window = Window(1, lambda: now[0], began=-100.0)
    assert window.since([50.0]) == (100.0, [50.0])
    for _ in range(10):
        now[0] += 0.01
        assert window.since([50.0])[0] > 100
    now[0] = 2.0
    assert window.since([51.0]) == (2.0, [1.0])
    assert window.since([40.0]) == (2.0, [0.0]), "what went back was not used"


@pytest.mark.row("C8")
def test_each_cpu_stands_in_the_place_of_all_together():
    """As many as there are, and together what the total says."""
    whole, each = said(cpu.watch()), said(cpu.watch_each())
    numbers = {key[2] for key in each if key[0] == "system.cpu.time"}
    assert numbers == set(range(psutil.cpu_count()))
    total = sum(each["system.cpu.time", "user", number] for number in numbers)
    assert total == pytest.approx(whole["system.cpu.time", "user"], rel=0.01)
    assert set(sources(["host", "host.cpus"])) >= {"host.cpus", "host.memory"}
    assert "host.cpu" not in sources(["host", "host.cpus"]), "both would add up to twice as much"


@pytest.mark.row("C10")
def test_the_load_average_is_the_kernels():
    """It changes every 5 s: one of two readings around ours is the same."""
    before, ours, after = os.getloadavg(), said(cpu.watch_load()), os.getloadavg()
    for index, window in enumerate(("1m", "5m", "15m")):
        found = ours["llmon.system.load_average", window]
        assert found == pytest.approx(before[index], abs=0.011) or found == pytest.approx(after[index], abs=0.011)


# memory


@pytest.mark.row("C11")
@pytest.mark.skipif(not shutil.which("free"), reason="no `free` here")
def test_memory_is_what_free_says():
    """Bytes; the states add up to all there is."""
    header, line, _ = subprocess.check_output(["free", "-b", "-w"], text=True).splitlines()
    free = dict(zip(header.split(), map(int, line.split()[1:]), strict=True))
    ours = said(memory.watch())
    near = pytest.approx
    assert ours["system.memory.limit",] == free["total"]
    assert ours["system.memory.usage", "free"] == near(free["free"], abs=1 << 27)
    assert ours["system.memory.linux.available",] == near(free["available"], abs=1 << 27)
    assert ours["system.memory.usage", "buffers"] == near(free["buffers"], abs=1 << 24)
    assert ours["system.memory.usage", "cached"] == near(free["cache"], abs=1 << 27)
    states = [value for (name, *_), value in ours.items() if name == "system.memory.usage"]
    assert sum(states) == free["total"]
    assert ours["system.memory.utilization", "free"] == ours["system.memory.usage", "free"] / free["total"]


MEMINFO = """MemTotal:       16000000 kB
MemFree:         4000000 kB
MemAvailable:    9000000 kB
Buffers:          500000 kB
Cached:          3000000 kB
SwapCached:            0 kB
SwapTotal:       {total} kB
SwapFree:        {free} kB
Shmem:             10000 kB
SReclaimable:     500000 kB
"""


@pytest.mark.row("C12")
def test_swap_is_told_where_there_is_some(tmp_path):
    """None is no zero: without swap there is no series. Here and now, it is what psutil says."""
    proc = tree(tmp_path, {"meminfo": MEMINFO.format(total=8_000_000, free=6_000_000)})
    ours = said(memory.watch(proc, linux=True))
    assert ours["system.paging.usage", "used"] == 2_000_000 * 1024
    assert ours["system.paging.utilization", "used"] == 0.25
    assert ours["system.memory.usage", "used"] == 8_000_000 * 1024
    proc = tree(tmp_path, {"meminfo": MEMINFO.format(total=0, free=0)})
    assert not [key for key in said(memory.watch(proc, linux=True)) if "paging" in key[0]]
    swap = psutil.swap_memory()
    here = said(memory.watch())
    assert here.get(("system.paging.usage", "free"), 0) == pytest.approx(swap.free, abs=1 << 24)


# disks and filesystems


@pytest.mark.row("C13")
@pytest.mark.skipif(not shutil.which("df"), reason="no `df` here")
def test_filesystems_are_what_df_says():
    """Used, free and the share that `df` prints, for the root."""
    line = subprocess.check_output(["df", "-B1", "--output=source,used,avail,pcent", "/"], text=True).splitlines()[1]
    _, used, free, percent = line.split()
    ours = said(filesystems.watch())
    of_root = {key[:2]: value for key, value in ours.items() if key[3] == "/"}
    assert of_root["system.filesystem.usage", "used"] == pytest.approx(int(used), abs=1 << 28)
    assert of_root["system.filesystem.usage", "free"] == pytest.approx(int(free), abs=1 << 28)
    assert of_root["system.filesystem.utilization", "used"] == pytest.approx(int(percent.strip("%")) / 100, abs=0.011)


def test_filesystems_are_those_on_disks_each_once(tmp_path):
    """A container's bind mounts, network filesystems and what is full by nature are left out."""
    (tmp_path / "data set").mkdir()
    (tmp_path / "data set/below").mkdir()
    (tmp_path / "hosts").touch()
    mounts = f"""overlay / overlay rw 0 0
proc /proc proc rw 0 0
/dev/sda1 {tmp_path}/hosts ext4 rw 0 0
/dev/sdb1 {tmp_path}/data\\040set/below xfs rw 0 0
/dev/sdb1 {tmp_path}/data\\040set xfs rw 0 0
/dev/loop3 {tmp_path} squashfs ro 0 0
server:/home {tmp_path} nfs4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/sdc1 /mnt/ends\u2028here vfat rw 0 0
"""
    assert filesystems.local(mounts) == [("overlay", "/", "overlay"), ("/dev/sdb1", f"{tmp_path}/data set", "xfs")]


def test_a_filesystem_that_vanished_costs_itself(tmp_path):
    """The root is still told."""
    gone = tmp_path / "gone"
    gone.mkdir()
    proc = tree(tmp_path / "proc", {"self/mounts": f"/dev/a / ext4 rw 0 0\n/dev/b {gone} ext4 rw 0 0\n"})
    group = filesystems.watch(proc)
    assert {key[3] for key in said(group)} == {"/", str(gone)}
    gone.rmdir()
    assert {key[3] for key in said(group)} == {"/"}


@pytest.mark.row("C14")
@linux
def test_disk_bytes_grow_by_what_is_written(tmp_path):
    """32 MiB that are forced out to the disk; psutil counts the same."""
    if os.statvfs(tmp_path).f_fsid == os.statvfs("/dev/shm").f_fsid:
        pytest.skip("the folder of tests is in memory")
    group = disks.watch()
    before = said(group)
    theirs = psutil.disk_io_counters()
    with (tmp_path / "file").open("wb") as file:
        file.write(os.urandom(32 << 20))
        file.flush()
        os.fsync(file.fileno())
    grown = said(group)["system.disk.io", "write"] - before["system.disk.io", "write"]
    assert grown >= 32 << 20
    assert grown == pytest.approx(psutil.disk_io_counters().write_bytes - theirs.write_bytes, abs=64 << 20)


DISKSTATS = """   7       0 loop0 11 0 8 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 259       0 nvme0n1 100 5 2000 40 50 5 4000 60 0 1500 100
 259       1 nvme0n1p1 90 5 1900 40 50 5 4000 60 0 1400 100
 253       0 dm-0 80 0 1800 40 50 0 4000 60 0 1300 100
"""


def test_what_is_part_of_a_disk_is_not_counted_again(tmp_path):
    """Partitions, loops and what is stacked upon a disk are in its numbers."""
    proc = tree(tmp_path / "proc", {"diskstats": DISKSTATS})
    sys_ = tree(tmp_path / "sys", {"block/nvme0n1/device/model": "x", "block/dm-0/size": "1", "block/loop0/size": "1"})
    ours = said(disks.watch(proc, sys_, linux=True))
    assert ours["system.disk.io", "read"] == 2000 * 512
    each = said(disks.watch_each(proc, sys_, linux=True))
    assert each["system.disk.operations", "write", "nvme0n1"] == 50
    assert each["system.disk.io_time", "nvme0n1"] == 1.5
    assert {key[-1] for key in each} == {"nvme0n1"}
    (tmp_path / "sys/block/nvme0n1/device/model").unlink()
    (tmp_path / "sys/block/nvme0n1/device").rmdir()
    assert {key[-1] for key in said(disks.watch_each(proc, sys_, linux=True))} == {"nvme0n1", "dm-0"}


def test_a_machine_without_disks_says_nothing(tmp_path):
    """Loop devices alone are none."""
    proc = tree(tmp_path, {"diskstats": DISKSTATS.splitlines(keepends=True)[0], "sys/block/loop0/size": "1"})
    with pytest.raises(NoDataError, match="no disks"):
        disks.watch(proc, f"{proc}/sys", linux=True)()


# network


@pytest.mark.row("C15", "C16")
@linux
def test_network_bytes_grow_by_what_is_sent():
    """8 MiB over loopback come and go there, and through no other interface."""
    group = network.watch_each()
    before = said(group)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
        server.accept()[0] as other,
    ):
        sending = threading.Thread(target=one.sendall, args=(bytes(8 << 20),))
        sending.start()
        left = 8 << 20
        while left:
            left -= len(other.recv(1 << 20))
        sending.join()
    after, theirs = said(group), psutil.net_io_counters(pernic=True)["lo"]
    for direction, counted in (("receive", theirs.bytes_recv), ("transmit", theirs.bytes_sent)):
        grown = after["system.network.io", direction, "lo"] - before["system.network.io", direction, "lo"]
        assert 8 << 20 <= grown <= (8 << 20) * 4
        assert after["system.network.io", direction, "lo"] <= counted
    assert after["system.network.packet.count", "receive", "lo"] <= theirs.packets_recv
    assert after["system.network.errors", "receive", "lo"] <= theirs.errin
    assert after["system.network.packet.dropped", "receive", "lo"] <= theirs.dropin


NET = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier
    lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0
  eth0: 100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0
docker0:  70 7 0 0 0 0 0 0 70 7 0 0 0 0 0 0
"""


def test_a_bridge_is_not_counted_again(tmp_path):
    """Totals are those of hardware; in a container, which has none, all but loopback."""
    proc = tree(tmp_path, {"net/dev": NET})
    ours = said(network.watch(proc, tree(tmp_path / "sys", {"class/net/eth0/device/vendor": ""}), linux=True))
    assert ours["system.network.io", "receive"] == 100
    assert ours["system.network.errors", "transmit"] == 3
    assert ours["system.network.packet.dropped", "transmit"] == 4
    assert said(network.watch(proc, str(tmp_path / "none"), linux=True))["system.network.io", "transmit"] == 270


@pytest.mark.row("C17")
def test_fifty_sockets_are_fifty_more():
    """Of this process only; psutil counts the same, and so does the machine's count, by as many."""
    group, everybody = sockets.watch_own(), sockets.watch_all()
    key = ("llmon.process.connections", "listen", "tcp")
    before, machine = said(group).get(key, 0), said(everybody).get(("system.network.connection.count", *key[1:]), 0)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listening = sum(one.status == psutil.CONN_LISTEN for one in psutil.Process().net_connections("tcp"))
        assert said(group)[key] == before + 50 == listening
        assert said(everybody)["system.network.connection.count", "listen", "tcp"] >= machine + 40, "others come and go"
    assert said(group).get(key, 0) == before
    assert not {"host.connections", "process.connections"} & set(sources(["host", "process"])), "on request only"


# sensors


SENSORS = {
    "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000\n",
    "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000\n",
    "class/hwmon/hwmon0/name": "nvme\n",
    "class/hwmon/hwmon0/temp1_input": "99000\n",
    "class/hwmon/hwmon1/name": "coretemp\n",
    "class/hwmon/hwmon1/temp1_input": "41500\n",
    "class/hwmon/hwmon1/temp1_label": "Package id 0\n",
    "class/hwmon/hwmon1/temp2_input": "",
}


@pytest.mark.row("C22")
def test_frequency_and_temperature_where_the_machine_shows_them(tmp_path):
    """A sensor that does not answer is absent, and a machine without any says nothing."""
    ours = said(sensors.watch(tree(tmp_path, SENSORS), linux=True))
    name = "hwmon1 Package id 0"
    assert ours == {("system.cpu.frequency",): 2.5e9, ("hw.temperature", name, name, "cpu"): 41.5}
    with pytest.raises(NoDataError, match="no CPU frequency"):
        sensors.watch(str(tmp_path / "none"), linux=True)()


# this process


@pytest.mark.row("C21")
def test_the_process_is_what_psutil_says():
    """Memory, threads, files, CPU, context switches, faults and disk of this very process."""
    me = psutil.Process()
    group = process.watch()
    said(group)  # its files are open from here on
    before, switches, disk = me.cpu_times(), me.num_ctx_switches(), me.io_counters()
    ours = said(group)
    after, disk_after = me.cpu_times(), me.io_counters()
    assert before.user - 0.02 <= ours["process.cpu.time", "user"] <= after.user + 0.02
    assert before.system - 0.02 <= ours["process.cpu.time", "system"] <= after.system + 0.02
    assert ours["process.memory.usage",] == pytest.approx(me.memory_info().rss, rel=0.05)
    assert ours["process.memory.virtual",] == pytest.approx(me.memory_info().vms, rel=0.05)
    assert ours["process.thread.count",] == me.num_threads() == len(list(Path("/proc/self/task").iterdir()))
    assert ours["process.unix.file_descriptor.count",] == me.num_fds() - 1, "it counts the one that it lists them by"
    assert ours["process.uptime",] == pytest.approx(time.time() - me.create_time(), abs=1)
    for kind in ("voluntary", "involuntary"):
        assert ours["process.context_switches", kind] >= getattr(switches, kind)
    assert disk.write_bytes <= ours["process.disk.io", "write"] <= disk_after.write_bytes
    assert ours["process.paging.faults", "minor"] > 0


@pytest.mark.row("C21")
def test_threads_files_and_collections_are_counted_one_by_one(tmp_path):
    """Three threads more, four files more, two collections more."""
    group, collector = process.watch(), process.watch_collector()
    before, collected = said(group), said(collector)
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    with contextlib.ExitStack() as stack:
        for number in range(4):
            stack.enter_context((tmp_path / str(number)).open("w"))
        after = said(group)
    end.set()
    for thread in threads:
        thread.join()
    assert after["process.thread.count",] == before["process.thread.count",] + 3
    assert after["process.unix.file_descriptor.count",] == before["process.unix.file_descriptor.count",] + 4
    gc.collect()
    gc.collect()
    assert said(collector)["cpython.gc.collections", 2] == collected["cpython.gc.collections", 2] + 2
    assert said(collector)["cpython.gc.collected_objects", 0] == gc.get_stats()[0]["collected"]


def test_process_utilization_is_of_the_cpus_that_it_may_use():
    """One busy second on half a CPU would be 2: what the kernel allows is the whole."""
    now = [time.monotonic()]
    group = process.watch(clock=lambda: now[0], cpus=lambda: 0.5)
    said(group)
    used = time.process_time()
    while time.process_time() - used < 0.3:
        pass
    now[0] += 1.0
    ours = said(group)
    assert 0.55 <= ours["process.cpu.utilization", "user"] + ours["process.cpu.utilization", "system"] <= 0.75


def test_the_first_utilization_of_a_process_is_since_it_started(program):
    """A program that was busy all its life says so in its first reading."""
    done = program("""
        import time
        from otel_llmon.observers import process
        while time.process_time() < 0.6:
            pass
        usage = process.watch(cpus=lambda: 1.0).read()
        print(sum(usage.cpu_utilization.values()), time.process_time() / usage.uptime)
    """)
    ours, theirs = map(float, done.stdout.split())
    assert ours == pytest.approx(theirs, rel=0.1)
    assert ours > 0


@pytest.mark.row("C20")
def test_uptime_starts_again_with_the_process(program):
    """By the kernel's clock: nobody's setting of the time changes it."""
    source = """
        import time
        time.time = lambda: 0.0
        from otel_llmon.observers import process
        print(process.watch().read().uptime)
    """
    began = time.monotonic()
    first, second = (float(program(source).stdout) for _ in range(2))
    assert 0 < first < time.monotonic() - began + 0.1
    assert 0 < second < time.monotonic() - began - first + 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_observes_itself():
    """What it takes over from its parent is the observer, not the process that is observed."""
    observe = process.watch()
    list(observe())
    child = os.fork()
    if not child:
        mine = said(observe)
        me = psutil.Process(os.getpid())
        own = mine["process.uptime",] < 5 and mine["process.cpu.time", "user"] <= me.cpu_times().user + 0.02
        os._exit(0 if own and mine["process.memory.usage",] <= me.memory_info().rss * 1.1 else 1)
    assert os.waitpid(child, 0)[1] == 0


@linux
def test_files_of_proc_are_opened_again_in_a_forked_child():
    """What the parent opened under /proc/self tells of the parent for ever."""
    file = File("/proc/self/stat")
    assert int(file.read().split()[0]) == os.getpid()
    child = os.fork()
    if not child:
        os._exit(0 if int(file.read().split()[0]) == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0


@linux
def test_a_program_that_closes_every_descriptor_is_read_on(program):
    """As one does that makes a daemon of itself; what it opens then has the numbers of ours."""
    done = program("""
        import os
        from otel_llmon.observers import host, process
        groups = [host.GROUPS[name]() for name in host.USUAL] + [process.watch()]
        first = [list(group()) for group in groups]
        os.closerange(3, 200)
        for _ in range(20):
            os.open("/dev/null", os.O_RDONLY)
        again = [list(group()) for group in groups]
        print([len(readings) for readings in first] == [len(readings) for readings in again], len(first[-1]) > 10)
    """)
    assert done.stdout.split() == ["True", "True"], done.stderr


# elsewhere than on Linux


@pytest.mark.parametrize(
    "pair",
    [
        (cpu.watch, {"system.cpu.time", "system.cpu.logical.count"}),
        (cpu.watch_each, {"system.cpu.time"}),
        (memory.watch, {"system.memory.limit"}),
        (disks.watch, {"system.disk.io"}),
        (network.watch_each, {"system.network.io"}),
        (process.watch, {"process.memory.virtual", "process.thread.count", "process.cpu.time"}),
        (cpu.watch_load, {"llmon.system.load_average"}),
        (filesystems.watch, {"system.filesystem.usage"}),
        (sockets.watch_own, {"llmon.process.connections"}),
    ],
    ids=lambda pair: f"{pair[0].__module__}.{pair[0].__name__}",
)
def test_psutil_says_the_same_where_there_is_no_proc(pair):
    """The same series, and values as near as the time between two readings."""
    watch, names = pair
    with socket.create_server(("127.0.0.1", 0)):
        ours, theirs = said(watch(linux=True)), said(watch(linux=False))
    for key in ours:
        if key[0] in names and key in theirs:
            assert theirs[key] == pytest.approx(ours[key], rel=0.05, abs=2)
    assert names <= {key[0] for key in ours.keys() & theirs.keys()}


# settings, snapshots


@pytest.mark.row("C29")
def test_groups_are_named_one_by_one(recorder, sampler):
    """What is not named is not read, and vanishes from what is exported."""
    attach("host.memory", "process.gc", every=3600)
    read()
    names = {name for name in recorder.points() if name.startswith(("system.", "process.", "cpython."))}
    assert names <= {row.name for row in (*memory.watch().rows, *process.watch_collector().rows)}
    assert {"system.memory.limit", "cpython.gc.collections"} <= names


def test_a_group_that_is_not_known_is_an_error_that_names_the_others():
    """The caller can put it right."""
    with pytest.raises(SettingsError, match=r"observer host.gpu: expected one of host.cpu, host.load, "):
        attach("host.gpu")
    with pytest.raises(SettingsError, match=r"observer efficiency.cpu: expected efficiency"):
        attach("efficiency.cpu")


@pytest.mark.row("C31")
def test_what_cannot_be_read_costs_its_group_and_is_counted(recorder, sampler, tmp_path, caplog, monkeypatch):
    """A broken file of /proc: no series of it, one line, the others as before; when it is whole again, so are they."""
    broken = tree(tmp_path, {"meminfo": "nonsense"})
    monkeypatch.setattr(host, "GROUPS", {**host.GROUPS, "memory": lambda: memory.watch(broken, linux=True)})
    attach("host", every=3600)
    read()
    read()
    points = recorder.points()
    assert "system.memory.limit" not in points
    assert {"system.cpu.time", "system.disk.io"} <= set(points)
    assert recorder.value("llmon.self.errors", {"llmon.source": "host.memory"}) >= 2
    assert len(re.findall(r"observer host\.memory fails", caplog.text)) == 1
    tree(tmp_path, {"meminfo": MEMINFO.format(total=0, free=0)})
    read()
    assert recorder.value("system.memory.limit") == 16_000_000 * 1024


@pytest.mark.row("C2", "C27")
def test_a_snapshot_is_what_is_exported(recorder, sampler):
    """Frozen, and number by number the same."""
    attach("host", "process", every=3600)
    read()
    now = snapshot()
    points = recorder.points()
    said = {name: {tuple(point.attributes.values()): point.value for point in found} for name, found in points.items()}
    assert said["system.cpu.time"] == {(mode,): value for mode, value in now.host.cpu.time.items()}
    assert said["system.cpu.utilization"] == {(mode,): value for mode, value in now.host.cpu.utilization.items()}
    assert said["system.memory.usage"] == {(state,): size for state, size in now.host.memory.usage.items()}
    assert said["system.memory.limit"] == {(): now.host.memory.limit}
    assert said["system.disk.io"] == {("read",): now.host.disk.read, ("write",): now.host.disk.written}
    assert said["system.network.io"]["receive",] == now.host.network.receive.bytes
    assert said["process.memory.usage"] == {(): now.process.usage.memory}
    assert said["process.cpu.time"] == {(mode,): value for mode, value in now.process.usage.cpu_time.items()}
    assert snapshot("host") == now.host
    with pytest.raises(AttributeError):
        now.host.memory.limit = 1


def test_a_snapshot_needs_nothing_attached(sampler):
    """It is read then and there; what is not here is None."""
    now = snapshot()
    assert now.host.memory.limit == psutil.virtual_memory().total
    assert now.process.usage.threads >= 1
    assert 0 <= now.host.cpu.busy <= 1
    assert now.host.cpus == ()
    assert now.gpu is None
    assert snapshot("gpu") is None
    attach("gpu")
    assert snapshot().gpu is None
    with pytest.raises(SettingsError, match=r"snapshot\('hosts'\): expected one of"):
        snapshot("hosts")
    with pytest.raises(SettingsError, match=r"snapshot\(\['host'\]\): expected one of"):
        snapshot(["host"])


def test_a_snapshot_reads_what_is_not_attached_beside_what_is(recorder, sampler):
    """Attaching one group takes no other from a snapshot, and a group that stands in for another takes none either."""
    attach("host.memory", "host.cpus", every=3600)
    read()
    now = snapshot()
    assert recorder.value("system.memory.usage", {"system.memory.state": "used"}) == now.host.memory.usage["used"]
    assert 0 <= now.host.cpu.busy <= 1
    assert len(now.host.cpus) == os.cpu_count()


def test_a_snapshot_may_be_taken_while_gauges_are_made(sampler, monkeypatch):
    """What is attached grows amid its look at it."""

    class Growing(str):
        __slots__ = ()

        def partition(self, sep):
            sampler.sources[f"gauge {len(sampler.sources)}"] = source
            return super().partition(sep)

    attach("host.memory")
    source = sampler.sources.pop("host.memory")
    monkeypatch.setattr(sampler, "sources", {Growing("host.memory"): source})
    assert snapshot().host.memory.limit == psutil.virtual_memory().total
    assert len(sampler.sources) > 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_amid_a_snapshot_takes_its_own(sampler, monkeypatch):
    """A thread of its parent's, which it does not have, was reading."""
    parent, reading, go = os.getpid(), threading.Event(), threading.Event()

    def stuck():
        if os.getpid() == parent:
            reading.set()
            go.wait(60)
        return 1

    monkeypatch.setattr(host, "GROUPS", {**host.GROUPS, "memory": lambda: Group((), stuck, lambda _: ())})
    snapshots._own.clear()
    other = threading.Thread(target=snapshot, args=("host",))
    other.start()
    assert reading.wait(20)
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(0 if snapshot("host").memory == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    go.set()
    other.join()
    snapshots._own.clear()


def test_what_hangs_is_waited_for_once(monkeypatch):
    """Whoever comes later need not wait, and is answered again when it answers."""
    monkeypatch.setattr(observers, "PATIENCE", 0.01)
    go, calls = threading.Event(), []

    def hangs():
        calls.append(threading.get_ident())
        go.wait(60)
        return len(calls)

    ask = Patient(hangs, lambda: 0.0)
    for _ in range(2):
        with pytest.raises(NoDataError, match=r"no answer for 0\.01 s"):
            ask()
    assert len(calls) == 1
    go.set()
    monkeypatch.setattr(observers, "PATIENCE", 20)
    assert ask() in (1, 2)
    assert threading.get_ident() not in calls


@pytest.mark.row("C1")
def test_reading_needs_one_thread_and_none_of_its_own_for_each(sampler):
    """Every group of every observer is read by the one that is there."""
    before = threading.active_count()
    attach(*(name for name in everything() if name != "efficiency"), every=3600)
    read()
    assert threading.active_count() <= before + 1


def test_auto_is_what_fits_the_place(monkeypatch, tmp_path):
    """What a container sees of the machine is not its own to report; without a driver nothing is said of GPUs."""
    from otel_llmon.observers import cgroup
    from otel_llmon.observers import sources as names

    def auto(*more, contained=False, limited=False, driver=False):
        monkeypatch.setattr(cgroup, "contained", lambda: contained)
        monkeypatch.setattr(cgroup, "limited", lambda: limited)
        monkeypatch.setattr(names, "DRIVERS", ("/no/driver", str(tmp_path)) if driver else ("/no/driver",))
        return {name.partition(".")[0] for name in sources(["auto", *more])}

    assert auto() == {"host", "process"}
    assert auto(limited=True) == {"host", "cgroup", "process"}
    assert auto(contained=True) == {"cgroup", "process"}
    assert auto("host", contained=True) == {"host", "cgroup", "process"}
    assert auto(driver=True) == {"host", "process", "gpu"}


def test_values_move_as_the_machine_does():
    """Half a second of work is seen in the next window, of the machine and of the process."""
    machine, mine = cpu.watch(), process.watch(cpus=lambda: 1.0)
    said(machine), said(mine)
    began, used = time.monotonic(), time.process_time()
    until(lambda: time.process_time() - used > 0.5 and time.monotonic() - began > 1)
    ours = sum(mine.read().cpu_utilization.values())
    theirs = (time.process_time() - used) / (time.monotonic() - began)
    assert ours == pytest.approx(theirs, rel=0.15)
    assert said(machine)["system.cpu.utilization", "idle"] < 1 - theirs / (2 * psutil.cpu_count())


def test_where_proc_is_closed_metrics_leave_all_the_same(program, sink):
    """What says when the process and the machine began cannot be read: counters date from our own start then."""
    source = """
        import psutil, otel_llmon
        from otel_llmon import phase

        def closed(*_, **__):
            raise psutil.AccessDenied(1)

        handle = otel_llmon.configure("app")
        psutil.boot_time = psutil.Process.create_time = closed
        with phase("work"):
            pass
        handle.flush(5)
    """
    done = program(textwrap.dedent(source), OTEL_LLMON_OBSERVERS="host")
    assert (done.returncode, done.stderr) == (0, "")
    assert sink.totals("llmon.phase.duration") == 1
    assert sink.totals("system.cpu.time") > 0
