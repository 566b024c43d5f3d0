"""The machine, the process and the container, asked of Prometheus, beside what others say of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from servers import until
from sink import free_port
from test_cgroup import SECOND

from otel_llmon.observers.lease import Lease
from otel_llmon.stack import files, native

MIB = 1 << 20
FAST = {"OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_LLMON_OBSERVER_INTERVAL": "0.25"}
WORK = """
    import gc, json, os, socket, sys, threading, time
    import psutil
    import otel_llmon as llmon

    handle = llmon.configure(
        "machine", observers=["host", "process", "process.connections", "host.interfaces", "host.cpus"]
    )
    assert handle.flush(10)
    time.sleep(1.1)  # a window that begins here
    assert handle.flush(10)
    me, cpu, began = psutil.Process(), psutil.cpu_times(), time.monotonic()
    used = time.process_time()
    while time.process_time() - used < 0.7 or time.monotonic() - began < 1.2:
        sum(range(1000))
    used = time.process_time() - used
    seconds = time.monotonic() - began
    with open("file", "wb") as file:
        file.write(os.urandom(32 << 20))
        file.flush()
        os.fsync(file.fileno())
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as one, server.accept()[0] as other:
            sending = threading.Thread(target=one.sendall, args=(bytes(8 << 20),))
            sending.start()
            left = 8 << 20
            while left:
                left -= len(other.recv(1 << 20))
            sending.join()
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(50)]
    end = threading.Event()
    for _ in range(5):
        threading.Thread(target=end.wait, daemon=True).start()
    gc.collect()
    then = psutil.cpu_times()
    assert handle.flush(10)
    files = me.num_fds() - 1
    now = llmon.snapshot()  # opens those of what is not observed
    truth = {
        "idle": (then.idle + then.iowait - cpu.idle - cpu.iowait) / (sum(then[:8]) - sum(cpu[:8])),
        "threads": me.num_threads(),
        "rss": me.memory_info().rss,
        "files": files,
        "collections": gc.get_stats()[2]["collections"],
        "total": me.cpu_times().user + me.cpu_times().system,
        "snapshot": [now.process.usage.memory, now.host.memory.limit, now.host.memory.usage["free"]],
    }
    print(json.dumps(truth), flush=True)
    os._exit(0)  # without a last report, which would say something newer
"""


@pytest.fixture(scope="module")
def machine(stack, tmp_path_factory):
    """A program that worked and reported three times; what it saw by itself, and a question to Prometheus."""
    from processes import Program

    program = Program(tmp_path_factory.mktemp("machine"), "")
    done = program(WORK, timeout=90, **stack.environ, OTEL_METRIC_EXPORT_INTERVAL="600000")
    assert done.returncode == 0, done.stderr

    def ask(expr: str) -> float:
        return until(lambda: stack.prometheus.query(expr.replace("{", '{service_name="machine",')).series)[0].value

    until(lambda: ask('llmon_process_connections{network_connection_state="listen"}') == 50)
    return ask, json.loads(done.stdout)


def grown(counter: str) -> str:
    """By how much a counter grew between the program's reports."""
    return f"max(max_over_time({counter}[10m]) - min_over_time({counter}[10m]))"


@pytest.mark.row("C7")
def test_cpu_use_is_what_psutil_saw(machine):
    """Over the time of the program's work, to which ours adds an export's; the process's seconds are the kernel's."""
    ask, truth = machine
    idle = ask('avg(sum by (cpu_logical_number) (system_cpu_utilization_ratio{cpu_mode=~"idle|iowait"}))')
    assert idle == pytest.approx(truth["idle"], abs=0.1)
    assert ask("sum(process_cpu_time_seconds_total{})") == pytest.approx(truth["total"], abs=0.1)


@pytest.mark.row("C8", "C9")
def test_there_are_as_many_cpus_as_nproc_says(machine):
    """By count, and one by one."""
    ask, _ = machine
    assert ask("system_cpu_logical_count{}") == os.cpu_count()
    assert ask('count(system_cpu_time_seconds_total{cpu_mode="user"})') == os.cpu_count()


@pytest.mark.row("C10")
def test_the_load_average_is_near_the_kernels(machine):
    """That of 15 minutes, which changes slowly."""
    ask, _ = machine
    found = ask('llmon_system_load_average{llmon_window="15m"}')
    assert found == pytest.approx(os.getloadavg()[2], abs=0.5)


@pytest.mark.row("C11", "C12")
def test_memory_is_what_free_says(machine):
    """Bytes; swap is absent where there is none."""
    ask, _ = machine
    header, line, _ = subprocess.check_output(["free", "-b", "-w"], text=True).splitlines()
    free = dict(zip(header.split(), map(int, line.split()[1:]), strict=True))
    assert ask("system_memory_limit_bytes{}") == free["total"]
    assert ask("system_memory_linux_available_bytes{}") == pytest.approx(free["available"], abs=free["total"] * 0.1)
    assert ask("sum(system_memory_usage_bytes{}) - scalar(system_memory_limit_bytes{})") == 0
    swap = psutil.swap_memory()
    assert ask("sum(system_paging_usage_bytes{}) or vector(0)") == swap.total


@pytest.mark.row("C13")
@pytest.mark.skipif(not shutil.which("df"), reason="no `df` here")
def test_filesystems_are_what_df_says(machine):
    """Used, free and share of the root."""
    ask, _ = machine
    line = subprocess.check_output(["df", "-B1", "--output=used,avail,pcent", "/"], text=True).splitlines()[1]
    used, free, percent = line.split()
    root = 'system_filesystem_mountpoint="/"'
    near = 1 << 29
    assert ask(f'system_filesystem_usage_bytes{{{root},system_filesystem_state="used"}}') == pytest.approx(
        int(used), abs=near
    )
    assert ask(f'system_filesystem_usage_bytes{{{root},system_filesystem_state="free"}}') == pytest.approx(
        int(free), abs=near
    )
    share = ask(f"system_filesystem_utilization_ratio{{{root}}}")
    assert share == pytest.approx(int(percent.strip("%")) / 100, abs=0.02)


@pytest.mark.row("C14")
def test_disk_bytes_grow_by_what_was_written(machine):
    """32 MiB, and what others wrote meanwhile."""
    ask, _ = machine
    assert ask(grown('system_disk_io_bytes_total{disk_io_direction="write"}')) >= 32 * MIB
    assert ask(grown('process_disk_io_bytes_total{disk_io_direction="write"}')) == pytest.approx(32 * MIB, rel=0.1)


@pytest.mark.row("C15", "C16")
def test_network_bytes_grow_by_what_was_sent(machine):
    """8 MiB over loopback, and what its neighbours sent there; packets, errors and drops by interface."""
    ask, _ = machine
    for direction in ("receive", "transmit"):
        where = f'{{network_interface_name="lo",network_io_direction="{direction}"}}'
        assert ask(grown(f"system_network_io_bytes_total{where}")) >= 8 * MIB
        assert ask(grown(f"system_network_packet_count_total{where}")) >= 8 * MIB / 65536
    names = psutil.net_io_counters(pernic=True)
    for metric in ("system_network_errors_total", "system_network_packet_dropped_total"):
        assert ask(f'count({metric}{{network_io_direction="receive"}})') == len(names)


@pytest.mark.row("C17")
def test_fifty_sockets_are_fifty_more(machine):
    """Of this program only."""
    ask, _ = machine
    assert ask('llmon_process_connections{network_connection_state="listen"}') == 50


@pytest.mark.row("C21")
def test_threads_files_switches_and_collections(machine):
    """As psutil and the interpreter counted them."""
    ask, truth = machine
    assert ask("process_thread_count{}") == pytest.approx(truth["threads"], abs=1), "a flush has one of its own"
    assert ask("process_unix_file_descriptor_count{}") == truth["files"]
    assert ask('cpython_gc_collections_total{cpython_gc_generation="2"}') == truth["collections"]
    assert ask("sum(process_context_switches_total{})") > 0
    assert ask("process_memory_usage_bytes{}") == pytest.approx(truth["rss"], rel=0.05)


@pytest.mark.row("C2")
def test_a_snapshot_is_what_prometheus_has(machine):
    """The same numbers, read in the process."""
    ask, truth = machine
    found = [
        ask("process_memory_usage_bytes{}"),
        ask("system_memory_limit_bytes{}"),
        ask('system_memory_usage_bytes{system_memory_state="free"}'),
    ]
    assert found == truth["snapshot"]


@pytest.mark.row("C1", "C28")
def test_readings_come_at_their_interval_and_stay_there(machine, stack):
    """Each report is a point of its series, for as long as Prometheus keeps them."""
    ask, _ = machine
    assert ask("count_over_time(system_memory_limit_bytes{}[10m])") >= 3
    now = time.time()
    found = stack.prometheus.query_range(
        'system_memory_limit_bytes{service_name="machine"}', start=now - 120, end=now, step=1
    )
    assert len(found.series[0].points) >= 2


@pytest.mark.row("C30")
def test_what_telemetry_costs_is_told_and_is_less_than_a_hundredth_of_a_core(stack, program):
    """Ten times as often as usual, for that is what can be waited for: less than ten times as much."""
    source = "import time, otel_llmon as l; h = l.configure('costs'); time.sleep(12); h.flush(10)"
    done = program(
        source,
        **stack.environ,
        OTEL_LLMON_OBSERVER_INTERVAL="1",
        OTEL_METRIC_EXPORT_INTERVAL="1000",
    )
    assert done.returncode == 0, done.stderr
    spent = 'llmon_self_cpu_time_seconds_total{service_name="costs"}'
    parts = until(lambda: stack.prometheus.query(spent).series)
    assert {one.labels["llmon_source"] for one in parts} == {"observers", "metrics"}
    assert all(one.value > 0 for one in parts)
    rate = until(lambda: stack.prometheus.query(f"sum(rate({spent}[30s]))").series)[0].value
    assert rate / 10 < 0.01


@pytest.mark.row("C20")
def test_a_restart_is_one_instance_more(stack, program):
    """Its uptime begins again; where instances keep their name, as in a container, `resets()` counts it."""
    source = "import time, otel_llmon as l; h = l.configure('restarted'); time.sleep({}); h.flush(10)"
    started = 'count(count_over_time(process_uptime_seconds{service_name="restarted"}[5m]))'
    program(source.format(4), **stack.environ)
    until(lambda: stack.prometheus.query(started).series[0].value == 1)
    program(source.format(0), **stack.environ)
    until(lambda: stack.prometheus.query(started).series[0].value == 2)
    uptimes = [one.value for one in stack.prometheus.query('process_uptime_seconds{service_name="restarted"}').series]
    assert min(uptimes) + 1 < max(uptimes)


@pytest.mark.row("C29")
def test_a_group_that_is_off_has_no_series(stack, program):
    """By one variable."""
    source = "import otel_llmon as l; l.configure('partly')"
    program(source, **stack.environ, OTEL_LLMON_OBSERVERS="host.memory,process.gc")

    def names() -> set[str]:
        return set(stack.prometheus.label_values("__name__", '{service_name="partly"}'))

    until(lambda: {"system_memory_limit_bytes", "cpython_gc_collections_total"} <= names())
    resources = {name for name in names() if name.startswith(("system_", "process_", "cpython_"))}
    assert {name.rsplit("_", 1)[0] for name in resources} <= {
        "system_memory_limit", "system_memory_usage", "system_memory_utilization", "system_memory_linux_available",
        "system_paging_usage", "system_paging_utilization", "cpython_gc_collections", "cpython_gc_collected_objects",
        "cpython_gc_uncollectable_objects",
    }  # fmt: skip


@pytest.mark.row("C31")
def test_what_cannot_be_read_is_counted_and_the_program_lives(stack, program):
    """A file of /proc that says nonsense: the others are there, and no zero in its place."""
    done = program(
        """
        import pathlib
        import otel_llmon as llmon
        from otel_llmon.observers import host
        from otel_llmon.observers.host import memory

        pathlib.Path("meminfo").write_text("nonsense")
        host.GROUPS = {**host.GROUPS, "memory": lambda: memory.watch(".", linux=True)}
        llmon.configure("broken").flush(10)
        print("alive")
        """,
        **stack.environ,
    )
    assert done.stdout == "alive\n"
    counted = 'llmon_self_errors_total{service_name="broken",llmon_source="host.memory"}'
    assert until(lambda: stack.prometheus.query(counted).series)[0].value >= 1
    assert stack.prometheus.query('system_cpu_logical_count{service_name="broken"}').series
    assert not stack.prometheus.query('system_memory_limit_bytes{service_name="broken"}').series
    assert done.stderr.count("observer host.memory fails") == 1


@pytest.mark.row("C32")
def test_of_four_workers_one_reports_the_machine(stack, program):
    """The others report themselves; when it is killed, another one takes over."""
    source = "import time; import otel_llmon as l; l.configure('workers'); print('up', flush=True); time.sleep(90)"
    begun = [program.start(program.command(source), **stack.environ, **FAST) for _ in range(4)]

    def fresh(metric: str) -> set[str]:
        found = stack.prometheus.query(f'timestamp({metric}{{service_name="workers"}}) > time() - 10').series
        return {series.labels["instance"] for series in found}

    try:
        until(lambda: len(fresh("process_memory_usage_bytes")) == 4)
        [first] = until(lambda: fresh("system_memory_limit_bytes"))
        assert len(stack.prometheus.query('system_memory_limit_bytes{service_name="workers"}').series) == 1
        lease = Lease.of(stack.environ, "host.memory")
        holder = next(each for each in begun if _holds(each.pid, lease.path))
        holder.send_signal(signal.SIGKILL)
        until(lambda: len(fresh("system_memory_limit_bytes") - {first}) == 1)
    finally:
        for each in begun:
            each.kill()
            each.communicate()


def _holds(pid: int, path: Path) -> bool:
    """Whether the kernel says that this process holds a lock on a file."""
    inode = path.stat().st_ino
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(line[1] == "FLOCK" and int(line[4]) == pid and int(line[5].split(":")[2]) == inode for line in lines)


@pytest.mark.row("C23")
def test_the_limit_of_a_container_of_512_mib(stack, program):
    """As the kernel shows it to a process in one; and how much of it is in use."""
    for name, text in SECOND.items():
        program.write(name, text)
    program(
        """
        import os
        import otel_llmon as llmon
        from otel_llmon.observers import cgroup

        watch = cgroup.watch_memory
        cgroup.GROUPS = {**cgroup.GROUPS, "memory": lambda: watch(os.getcwd())}
        llmon.configure("contained", observers=["cgroup.memory", "process"]).flush(10)
        """,
        **stack.environ,
    )
    limit = 'llmon_container_memory_limit_bytes{service_name="contained"}'
    assert until(lambda: stack.prometheus.query(limit).series)[0].value == 512 * MIB
    used = 'llmon_container_memory_utilization_ratio{service_name="contained"}'
    assert stack.prometheus.query(used).series[0].value == pytest.approx(300_000_000 / (512 * MIB))


KEPT = """
exporters:
  file: {{path: {folder}/kept.json, flush_interval: 100ms}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
    logs: {{receivers: [otlp], exporters: [file]}}
    metrics: {{exporters: [file]}}
    metrics/host: {{exporters: [file]}}
"""


@pytest.mark.row("C32", "C33")
def test_beside_the_agent_the_machine_is_reported_by_the_agent_alone(program, tmp_path):
    """What programs send of `system.*` is left out there, and the rest of theirs comes through, into a file of JSON."""
    (tmp_path / "kept.yaml").write_text(KEPT.format(folder=tmp_path))
    ports = [str(free_port()) for _ in range(3)]
    environ = dict(
        zip(("LLMON_OTLP_HTTP_PORT", "LLMON_OTLP_GRPC_PORT", "LLMON_COLLECTOR_HEALTH_PORT"), ports, strict=True)
    )
    config = [f"--config={files() / 'collector-config/agent.yaml'}", f"--config={tmp_path / 'kept.yaml'}"]
    with program.start(
        [str(native.binaries()["collector"]), *config],
        **environ,
        LLMON_DATA=str(tmp_path),
        LLMON_SCRAPE_INTERVAL="1s",
    ) as agent:
        try:
            until(lambda: psutil.Process(agent.pid).net_connections())
            source = "import otel_llmon as l; h = l.configure('beside'); import sys; sys.exit(not h.flush(10))"
            sent = until(
                lambda: not program(source, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{ports[0]}").returncode
            )
            assert sent

            def reported() -> dict[str, set[str]]:
                found: dict[str, set[str]] = {"host": set(), "beside": set()}
                for line in (tmp_path / "kept.json").read_text().splitlines():
                    for resource in json.loads(line).get("resourceMetrics", ()):
                        keys = {each["key"] for each in resource["resource"].get("attributes", ())}
                        who = "beside" if "service.name" in keys else "host"
                        found[who] |= {one["name"] for scope in resource["scopeMetrics"] for one in scope["metrics"]}
                return found

            until(
                lambda: "system.memory.usage" in reported()["host"] and "process.memory.usage" in reported()["beside"]
            )
            assert not {name for name in reported()["beside"] if name.startswith(("system.", "llmon.system."))}
        finally:
            agent.terminate()
            agent.communicate()
