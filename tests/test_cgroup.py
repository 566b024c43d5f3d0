"""The container's CPU and memory beside their limits: recorded trees of both versions, and a real group."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

from otel_llmon.errors import NoDataError
from otel_llmon.observers import cgroup
from otel_llmon.observers.hierarchy import branch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")

SECOND = {
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
    "sys/fs/cgroup/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/cpu.stat": (
        "usage_usec 2000000\nuser_usec 1500000\nsystem_usec 500000\n"
        "nr_periods 31\nnr_throttled 15\nthrottled_usec 750000\n"
    ),
    "sys/fs/cgroup/memory.current": "400000000\n",
    "sys/fs/cgroup/memory.max": "536870912\n",
    "sys/fs/cgroup/memory.peak": "500000000\n",
    "sys/fs/cgroup/memory.stat": "anon 1\nfile 2\ninactive_file 100000000\n",
    "sys/fs/cgroup/memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n",
    "sys/fs/cgroup/cpu.pressure": (
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=125000\n"
    ),
    "sys/fs/cgroup/cgroup.events": "populated 1\nfrozen 0\n",
    "sys/fs/cgroup/memory.pressure": (
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n"
    ),
}
DOCKER = "/docker/0a1b"
FIRST = {
    "proc/self/cgroup": f"5:memory:{DOCKER}\n3:cpu,cpuacct:{DOCKER}\n1:name=systemd:{DOCKER}\n",
    "proc/self/mountinfo": (
        f"31 30 0:27 {DOCKER} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        f"32 30 0:28 {DOCKER} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    ),
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 31\nnr_throttled 15\nthrottled_time 750000000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpuacct.usage": "2000000000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpuacct.stat": "user 150\nsystem 50\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "400000000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
    "sys/fs/cgroup/memory/memory.max_usage_in_bytes": "500000000\n",
    "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100000000\n",
    "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
}
USAGE = {"2": "sys/fs/cgroup/cpu.stat", "1": "sys/fs/cgroup/cpu,cpuacct/cpuacct.usage"}


@pytest.fixture(params=["1", "2"])
def version(request):
    """Both versions of control groups."""
    return request.param


@pytest.fixture
def tree(tmp_path, version):
    """Write a container's tree, changed as asked, and return its root."""

    def write(changed: dict[str, str | None] | None = None) -> str:
        for name, text in ((SECOND if version == "2" else FIRST) | (changed or {})).items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                file.unlink(missing_ok=True)
            else:
                file.write_text(text)
        return str(tmp_path)

    return write


def said(group) -> dict[tuple, float]:
    """What a group tells now, by name and the values of its attributes."""
    return {(row.name, *attributes.values()): value for row, value, attributes in group()}


def test_the_whole_of_half_a_core_is_one(tree, version, tmp_path):
    """0.5 s of CPU in a second, of a limit of half a core: 1.0, and not 0.25 of two cores."""
    now = [0.0]
    group = cgroup.watch_cpu(tree(), clock=lambda: now[0])
    assert "llmon.container.cpu.utilization" not in {key[0] for key in said(group)}, "nothing is measured yet"
    now[0] += 10
    usage = tmp_path / USAGE[version]
    usage.write_text(usage.read_text().replace("2000000", "7000000", 1))
    assert said(group) == {
        ("container.cpu.time", "user"): 1.5,
        ("container.cpu.time", "system"): 0.5,
        ("llmon.container.cpu.limit",): 0.5,
        ("llmon.container.cpu.utilization",): 1.0,
        ("llmon.container.cpu.periods",): 31,
        ("llmon.container.cpu.throttled_periods",): 15,
        ("llmon.container.cpu.throttled_time",): 0.75,
    }


@pytest.mark.row("C23")
def test_memory_beside_its_limit(tree):
    """Use, working set, limit, peak, and who was killed."""
    assert said(cgroup.watch_memory(tree())) == {
        ("container.memory.usage",): 400_000_000,
        ("container.memory.working_set",): 300_000_000,
        ("llmon.container.memory.limit",): 512 << 20,
        ("llmon.container.memory.utilization",): 300_000_000 / (512 << 20),
        ("llmon.container.memory.peak",): 500_000_000,
        ("llmon.container.memory.oom_kills",): 1,
    }


def test_where_there_is_no_limit_there_is_no_utilization(tree):
    """Absent, not 0 and not that of the machine."""
    unlimited = {
        "sys/fs/cgroup/cpu.max": "max 100000\n",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/memory.peak": None,
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.max_usage_in_bytes": None,
    }
    now = [0.0]
    root = tree(unlimited)
    processor, memory = cgroup.watch_cpu(root, clock=lambda: now[0]), cgroup.watch_memory(root)
    said(processor)
    now[0] += 10
    told = {key[0] for key in (*said(processor), *said(memory))}
    assert not {name for name in told if name.endswith((".limit", ".utilization", ".peak"))}
    assert {"container.cpu.time", "container.memory.usage"} <= told
    assert not cgroup.limited(root)
    assert cgroup.cpus(root) == len(os.sched_getaffinity(0))


def test_a_limit_that_is_changed_in_place_is_followed(tree, version, tmp_path):
    """An orchestrator may do that while the program runs."""
    group = cgroup.watch_memory(tree())
    assert said(group)["llmon.container.memory.limit",] == 512 << 20
    name = "sys/fs/cgroup/memory.max" if version == "2" else "sys/fs/cgroup/memory/memory.limit_in_bytes"
    (tmp_path / name).write_text(f"{1 << 30}\n")
    assert said(group)["llmon.container.memory.limit",] == 1 << 30


def test_processes_share_what_their_quota_allows(tree):
    """`process.cpu.utilization` is of half a core here."""
    root = tree()
    assert cgroup.limited(root)
    assert cgroup.cpus(root) == 0.5


def test_pressure_is_of_version_2(tree, version):
    """Seconds that tasks waited, by resource; in version 1 nothing."""
    group = cgroup.watch_pressure(tree())
    if version == "1":
        with pytest.raises(NoDataError, match="no control groups for pressure"):
            group()
    else:
        assert said(group) == {
            ("llmon.container.pressure", "cpu", "some"): 2.5,
            ("llmon.container.pressure", "cpu", "full"): 0.125,
            ("llmon.container.pressure", "memory", "some"): 0.5,
            ("llmon.container.pressure", "memory", "full"): 0.25,
        }


@pytest.mark.parametrize("version", ["2"], indirect=True)
def test_what_the_kernel_writes_0_for_at_the_top_is_no_pressure(tree):
    """Of a whole machine nobody can say that all its tasks wait for a CPU."""
    told = said(cgroup.watch_pressure(tree({"sys/fs/cgroup/cgroup.events": None})))
    assert ("llmon.container.pressure", "cpu", "full") not in told
    assert ("llmon.container.pressure", "memory", "full") in told


NESTED = {
    "proc/self/cgroup": "0::/system.slice/train.service/inner\n",
    "sys/fs/cgroup/cpu.max": None,
    "sys/fs/cgroup/system.slice/cpu.max": "300000 100000\n",
    "sys/fs/cgroup/system.slice/train.service/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/system.slice/train.service/cpu.stat": "usage_usec 9000000\nuser_usec 1\nsystem_usec 1\n",
    "sys/fs/cgroup/system.slice/train.service/inner/cpu.max": "max 100000\n",
    "sys/fs/cgroup/system.slice/train.service/inner/cpu.stat": "usage_usec 1000000\nuser_usec 1\nsystem_usec 1\n",
}


@pytest.mark.parametrize("version", ["2"], indirect=True)
def test_a_limit_further_up_is_met_by_the_use_up_there(tree, tmp_path):
    """Neighbours in the same limited group use it up as well."""
    now = [0.0]
    group = cgroup.watch_cpu(tree(NESTED), clock=lambda: now[0])
    said(group)
    now[0] += 10
    service = tmp_path / "sys/fs/cgroup/system.slice/train.service/cpu.stat"
    service.write_text("usage_usec 11500000\nuser_usec 1\nsystem_usec 1\n")
    ours = said(group)
    assert ours["llmon.container.cpu.limit",] == 0.5
    assert ours["llmon.container.cpu.utilization",] == 0.5


def apart(tmp_path: Path, cpu: str, cpuacct: str) -> str:
    """Write version 1 with the two controllers apart, a group `job` of half a core in either; return the root."""
    files = {
        "proc/self/cgroup": f"2:cpuacct:{cpuacct}\n1:cpu:{cpu}\n",
        "proc/self/mountinfo": "".join(
            f"{number} 30 0:{number} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
            for number, name in ((32, "cpu"), (33, "cpuacct"))
        ),
        "sys/fs/cgroup/cpu/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
        "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu/job/cpu.stat": "nr_periods 31\nnr_throttled 15\nthrottled_time 750000000\n",
        "sys/fs/cgroup/cpuacct/cpuacct.usage": "9000000000\n",
        "sys/fs/cgroup/cpuacct/cpuacct.stat": "user 600\nsystem 300\n",
        "sys/fs/cgroup/cpuacct/job/cpuacct.usage": "2000000000\n",
        "sys/fs/cgroup/cpuacct/job/cpuacct.stat": "user 150\nsystem 50\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return str(tmp_path)


def test_a_limit_is_found_where_cpu_time_is_counted_in_another_group(tmp_path):
    """What the machine uses is no use of this group: the limit is told, how much of it is used is not known."""
    now = [0.0]
    root = apart(tmp_path, "/job", "/")
    group = cgroup.watch_cpu(root, clock=lambda: now[0])
    said(group)
    now[0] += 10
    assert said(group) == {
        ("llmon.container.cpu.limit",): 0.5,
        ("llmon.container.cpu.periods",): 31,
        ("llmon.container.cpu.throttled_periods",): 15,
        ("llmon.container.cpu.throttled_time",): 0.75,
    }
    assert cgroup.limited(root)
    assert cgroup.cpus(root) == 0.5


def test_cpu_time_is_told_where_only_it_is_counted_in_a_group(tmp_path):
    """Of that group, and not of the machine."""
    root = apart(tmp_path, "/", "/job")
    assert {key: value for key, value in said(cgroup.watch_cpu(root)).items() if "time" in key[0]} == {
        ("container.cpu.time", "user"): 1.5,
        ("container.cpu.time", "system"): 0.5,
        ("llmon.container.cpu.throttled_time",): 0.0,
    }


def test_controllers_apart_with_the_same_group_are_one(tmp_path):
    """Half a core, of which all is used."""
    now = [0.0]
    group = cgroup.watch_cpu(apart(tmp_path, "/job", "/job"), clock=lambda: now[0])
    said(group)
    now[0] += 10
    (tmp_path / "sys/fs/cgroup/cpuacct/job/cpuacct.usage").write_text("7000000000\n")
    assert said(group)["llmon.container.cpu.utilization",] == 1.0


@pytest.mark.parametrize(
    ("path", "top", "folder"),
    [
        ("/", "/", ""),
        ("/a/b", "/", "a/b"),
        ("/docker/0a", "/docker/0a", ""),
        ("/docker/0a/inner", "/docker/0a", "inner"),
        ("/../0b", "/", ""),
        ("/gone", "/", ""),
        ("/docker/0abc", "/docker/0a", ""),
    ],
)
def test_the_group_of_a_process_is_found(tmp_path, path, top, folder):
    """In a container the path may be the host's, or lead out of what is mounted there."""
    for name in ("a/b", "inner", "0b"):
        (tmp_path / "sys/fs/cgroup" / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"0::{path}\n")
    (tmp_path / "proc/self/mountinfo").write_text(f"30 20 0:26 {top} /sys/fs/cgroup rw - cgroup2 cgroup rw\n")
    found = branch("memory", str(tmp_path))
    assert found.folders[0] == tmp_path / "sys/fs/cgroup" / folder
    assert found.folders[-1] == tmp_path / "sys/fs/cgroup"


@pytest.mark.parametrize("name", [b"caf\xe9", b"a\x0cb", b"a\xe2\x80\xa8b"])
def test_a_mount_point_may_hold_any_bytes(tmp_path, tree, name):
    """Somebody's stick whose name is no UTF-8, or what Python takes for the end of a line, ends no program's start."""
    root, mounts = tree(), tmp_path / "proc/self/mountinfo"
    mounts.write_bytes(b"29 20 0:25 / /mnt/" + name + b" rw - tmpfs none rw\n" + mounts.read_bytes())
    assert cgroup.limited(root)
    assert cgroup.watch_memory(root).read().limit == 512 << 20


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("proc/self/mountinfo", b"30 20 - cgroup2\n- cgroup cgroup cpu\n\n"),
        ("proc/self/cgroup", b"0\n:\nnonsense\n"),
        ("sys/fs/cgroup/cpu.max", b"50000 0\n"),
        ("sys/fs/cgroup/cpu.max", b"9" * 400 + b" 1\n"),
        ("sys/fs/cgroup/cpu.max", b"\xe9 \xe9\n"),
    ],
)
def test_what_makes_no_sense_is_no_limit(tmp_path, file, text):
    """It is asked where `auto` is made out, which no program's start may fail on."""
    for name in ("proc/self/cgroup", "proc/self/mountinfo", file):
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if name == file else SECOND[name].encode())
    assert not cgroup.limited(str(tmp_path))


def test_a_machine_without_control_groups_says_so(tmp_path):
    """No data is no failure."""
    with pytest.raises(NoDataError, match="no control groups"):
        cgroup.watch_memory(str(tmp_path))()
    assert not cgroup.limited(str(tmp_path))
    assert cgroup.cpus(str(tmp_path)) == len(os.sched_getaffinity(0))


MACHINE = {"proc/2/comm": "kthreadd\n", "proc/self/mounts": "/dev/sda1 / ext4 rw 0 0\n", "proc/self/cgroup": "0::/\n"}


@pytest.mark.parametrize(
    ("files", "environ", "contained"),
    [
        (MACHINE, {}, False),
        (MACHINE | {".dockerenv": ""}, {}, False),  # a virtual machine whose image was a container's
        (MACHINE | {"proc/self/cgroup": "0::/system.slice/docker.service\n"}, {}, False),
        (MACHINE | {"proc/self/cgroup": f"4:memory:{DOCKER}\n"}, {}, True),
        (MACHINE | {"proc/self/cgroup": "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope\n"}, {}, True),
        (MACHINE, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        (MACHINE | {".dockerenv": "", "proc/2/comm": "sh\n"}, {}, True),
        (MACHINE | {"run/.containerenv": "", "proc/self/mounts": "overlay / overlay rw 0 0\n"}, {}, True),
        (MACHINE | {"proc/2/comm": "sh\n", "proc/self/mounts": "overlay / overlay rw 0 0\n"}, {}, True),
        ({}, {}, False),
    ],
)
def test_what_is_a_container(tmp_path, files, environ, contained):
    """An engine's mark, its name in the control groups, or a root and processes of its own."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup.contained(str(tmp_path), environ) is contained


# a real one

BUSY = """
    import sys, threading, time
    from otel_llmon.observers import cgroup, process

    for file in sys.argv[1:]:
        open(file, "w").write("0")
    end = time.monotonic() + 30
    threading.Thread(target=lambda: [None for _ in iter(lambda: time.monotonic() < end, False)], daemon=True).start()
    ours, mine = cgroup.watch_cpu(), process.watch()
    ours.read()
    mine.read()
    began, used = time.monotonic(), time.process_time()
    time.sleep(3)
    print((time.process_time() - used) / (time.monotonic() - began) / 0.5)
    print(ours.read().utilization, ours.last.limit, ours.last.throttled_periods, ours.last.throttled_time)
    print(sum(mine.read().cpu_utilization.values()))
"""


@pytest.fixture
def half_a_core():
    """The files that take a process into a real group with half a core; gone afterwards."""
    name = f"otel-llmon-{uuid.uuid4().hex[:8]}"
    made: list[Path] = []
    try:
        first = branch("cpu")
        kinds = ("cpu", "cpuacct") if first.version == 1 else ("cpu",)
        folders = {kind: branch(kind).folders[0] / name for kind in kinds}
        for folder in dict.fromkeys(folders.values()):
            folder.mkdir()
            made.append(folder)
        if first.version == 1:
            (folders["cpu"] / "cpu.cfs_quota_us").write_text("50000")
        else:
            (folders["cpu"] / "cpu.max").write_text("50000 100000")
    except (OSError, NoDataError) as exc:
        for folder in made:
            folder.rmdir()
        pytest.skip(f"this machine lets nobody make a control group: {exc}")
    yield [str(folder / "cgroup.procs") for folder in made]
    for folder in made:
        folder.rmdir()


@pytest.mark.slow
def test_a_real_process_at_the_whole_of_half_a_core_says_one(half_a_core):
    """Whatever the machine has beside it, and the kernel throttles it meanwhile."""
    command = [sys.executable, "-c", textwrap.dedent(BUSY), *half_a_core]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    truth, of_group, of_process = done.stdout.splitlines()  # of a busy machine it does not get all that it may
    utilization, limit, periods, seconds = map(float, of_group.split())
    assert limit == 0.5
    assert utilization == pytest.approx(float(truth), abs=0.15)
    assert 0.5 < utilization < 1.15
    assert periods > 5
    assert seconds > 0.1
    assert float(of_process) == pytest.approx(float(truth), abs=0.2)
