"""The servers as plain processes on this machine, detached, from the binaries that `make stack` builds."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from otel_llmon.errors import reason
from otel_llmon.stack import LISTENING, READY, Stack, StackError, State, check_folder, files, other_options, wait

BINARIES = {
    "alertmanager": "alertmanager",
    "prometheus": "prometheus",
    "jaeger": "jaeger",
    "loki": "loki",
    "collector": "otelcol-llmon",
}
TARGETS = {
    "alertmanager": "LLMON_ALERTMANAGER_PORT",
    "collector": "LLMON_COLLECTOR_METRICS_PORT",
    "jaeger": "LLMON_JAEGER_METRICS_PORT",
    "loki": "LLMON_LOKI_PORT",
    "prometheus": "LLMON_PROMETHEUS_PORT",
}
"""What Prometheus scrapes: a file each in `collector-config/prometheus/targets/`."""

PASSED_ON = ("PATH", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")


def binaries(environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Return the binaries that are found, by server: in LLMON_STACK_DIR or the cache folder, else on the PATH."""
    cache = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(environ.get("LLMON_STACK_DIR") or Path(cache) / "otel-llmon" / "stack") / "bin"
    found = {}
    for server, name in BINARIES.items():
        path = shutil.which(name, path=f"{folder}{os.pathsep}{environ.get('PATH', '')}")
        if path:
            found[server] = Path(path)
    return found


def up(
    stack: Stack,
    webhook: str | None = None,
    told: Callable[[str, float], None] = lambda _server, _seconds: None,
    environ: Mapping[str, str] = os.environ,
    patience: float = 60.0,
) -> State:
    """Start what does not run yet and wait until it works; `told` hears of each server and the seconds it took.

    Alerts are posted to `webhook`. Raises StackError, after stopping what it started, when a server cannot be started.
    """
    found = binaries(environ)
    missing = [BINARIES[server] for server in READY if server not in found]
    if missing:
        raise StackError(f"{', '.join(missing)}: not found, build them with 'make stack' or set LLMON_STACK_DIR")
    if "," in str(stack.data):
        raise StackError(f"{stack.data}: Loki takes the comma for the end of a path, give another folder with --data")
    with _alone(stack.data):
        state = State.load(stack.data)
        if state is None or not running(state):
            state = State("native", stack)
            _check_host(stack.host)
            _configure(stack, webhook)
        elif state.stack != stack or not _posts_to(stack, webhook):
            raise other_options(stack)
        wanted = [server for server in READY if process(state, server) is None]
        _check_ports(stack, wanted)
        said = {server: _size(_log(stack, server)) for server in wanted}
        try:
            for server in wanted:
                state.processes[server] = _start(server, found[server], stack, environ)
                state.save()
            for server in wanted:
                told(server, _wait(server, state, patience, said[server]))
        except BaseException:
            _end([one for server in wanted if (one := process(state, server))])
            state.processes = {server: noted for server, noted in state.processes.items() if server not in wanted}
            state.save() if state.processes else state.forget()
            raise
        return state


def down(state: State) -> list[str]:
    """End what was started, the Collector first, so that it can still hand on; return the servers that ran."""
    with _alone(state.stack.data):
        return _down(State.load(state.stack.data) or state)


def _down(state: State) -> list[str]:
    found = {server: one for server in reversed(READY) if (one := process(state, server))}
    _end([one for server, one in found.items() if server == "collector"])
    _end([one for server, one in found.items() if server != "collector"])
    state.forget()
    return list(found)


def running(state: State) -> dict[str, int]:
    """Return the process id of each server that was started and still runs."""
    return {server: found.pid for server in state.processes if (found := process(state, server))}


def process(state: State, server: str) -> psutil.Process | None:
    """Return the process that was started for a server, None when it has ended."""
    pid, started = state.processes.get(server, (0, 0.0))
    if not pid:
        return None
    try:
        found = psutil.Process(pid)
        same = abs(found.create_time() - started) < 1 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return found if same else None


@contextmanager
def _alone(data: Path, patience: float = 90.0) -> Iterator[None]:
    """Keep others from starting or ending servers there meanwhile; the lock ends with this process, however it ends."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    check_folder(data)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data / "stack.lock").open("w")
    except OSError as exc:
        raise StackError(f"{data}: {reason(exc)}, give another folder with --data") from None
    end = time.monotonic() + patience
    with lock:
        while True:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StackError(f"{data}: another 'llmon stack' is at work there, wait for it or end it") from None
                time.sleep(0.1)
        yield


def _check_host(host: str) -> None:
    try:
        with socket.socket() as trial:
            trial.bind((host, 0))
    except OSError as exc:
        raise StackError(
            f"--host {host}: {(exc.strerror or str(exc)).lower()}; give an address of this machine"
        ) from None


def _posts_to(stack: Stack, webhook: str | None) -> bool:
    """Whether Alertmanager was started to post there; without a wish, whatever it does is right."""
    address = stack.data / "config" / "alertmanager" / "webhook_url"
    return webhook is None or (address.exists() and address.read_text() == webhook)


def _check_ports(stack: Stack, servers: Collection[str]) -> None:
    for server in servers:
        for name in LISTENING[server]:
            with socket.socket() as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    trial.bind((stack.host, stack.ports[name]))
                except OSError as exc:
                    way_out = f"stop what listens there, or set {name} to a free port"
                    raise StackError(f"{stack.at(name)} for {server}: {reason(exc)}; {way_out}") from None


def _configure(stack: Stack, webhook: str | None) -> None:
    """Copy the shipped files into the data folder; Prometheus and Alertmanager read addresses from files there."""
    config = stack.data / "config"
    address = config / "alertmanager" / "webhook_url"
    try:
        stack.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(config, ignore_errors=True)
        shutil.copytree(files() / "collector-config", config, ignore=shutil.ignore_patterns("build"))
        (stack.data / "logs").mkdir(exist_ok=True)
        for target, port in TARGETS.items():
            (config / "prometheus" / "targets" / f"{target}.yml").write_text(f'- targets: ["{stack.at(port)}"]\n')
        if webhook:
            address.touch(mode=0o600)
            address.write_text(webhook)
            routes = address.with_name("webhook.yml")
            routes.write_text(routes.read_text().replace("/etc/otel-llmon/alertmanager/webhook_url", str(address)))
    except OSError as exc:
        raise StackError(f"{stack.data}: {reason(exc)}, give another folder with --data") from None


def _arguments(server: str, stack: Stack) -> list[str]:
    config = stack.data / "config"
    match server:
        case "alertmanager":
            told = (config / "alertmanager" / "webhook_url").exists()
            return [
                f"--config.file={config}/alertmanager/{'webhook' if told else 'alertmanager'}.yml",
                f"--storage.path={stack.data}/alertmanager",
                f"--web.listen-address={stack.at('LLMON_ALERTMANAGER_PORT')}",
                "--cluster.listen-address=",
            ]
        case "prometheus":
            return [
                f"--config.file={config}/prometheus/prometheus.yml",
                f"--storage.tsdb.path={stack.data}/prometheus",
                f"--web.listen-address={stack.at('LLMON_PROMETHEUS_PORT')}",
                "--web.enable-otlp-receiver",
                "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion",
            ]
        case "jaeger":
            return [f"--config=file:{config}/jaeger/jaeger.yaml"]  # without the scheme it takes a colon for one
        case "loki":
            return [f"-config.file={config}/loki/loki.yaml", "-config.expand-env=true"]
    return [f"--config=file:{config}/{name}.yaml" for name in ("collector", *stack.extras)]


def _start(server: str, binary: Path, stack: Stack, environ: Mapping[str, str]) -> tuple[int, float]:
    """Start it in a session of its own: Ctrl-C in this terminal is not meant for it, and it outlives this process."""
    log = _log(stack, server)
    pid = os.posix_spawn(
        binary,
        [str(binary), *_arguments(server, stack)],
        _environment(stack, environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return pid, psutil.Process(pid).create_time()


def _environment(stack: Stack, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the servers see: our places, the user's LLMON_* for everything else, and little beside it."""
    passed = {name: value for name, value in environ.items() if name in PASSED_ON or name.startswith("LLMON_")}
    return {
        "GOMEMLIMIT": environ.get("GOMEMLIMIT", "1GiB"),
        **passed,
        "HOME": str(stack.data),
        "OTEL_TRACES_SAMPLER": "always_off",  # Jaeger would trace itself, into the Collector
        "LLMON_DATA": str(stack.data),
        "LLMON_LISTEN": stack.host,
        "LLMON_LOKI_INSTANCE": stack.host,
        "LLMON_PROMETHEUS": stack.at("LLMON_PROMETHEUS_PORT"),
        "LLMON_LOKI": stack.at("LLMON_LOKI_PORT"),
        "LLMON_JAEGER_OTLP": stack.at("LLMON_JAEGER_OTLP_PORT"),
        **{name: str(port) for name, port in stack.ports.items()},
    }


def _wait(server: str, state: State, patience: float, said: int) -> float:
    def alive() -> bool:
        return process(state, server) is not None

    works, took = wait(state.stack.ready_url(server), patience, 0.1, alive=alive)
    if not works:
        log = _log(state.stack, server)
        why = "ended" if took <= patience else f"is not ready after {took:.0f} s"
        raise StackError(f"{server} {why}: {_last_words(log, said)} (more in {log})")
    return took


def _log(stack: Stack, server: str) -> Path:
    return stack.data / "logs" / f"{server}.log"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _last_words(log: Path, since: int) -> str:
    """Return the last error, with the lines that it announces, of those written after the first `since` bytes."""
    written = log.read_bytes()[since:].decode(errors="replace")
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    telling = max((at for at, line in enumerate(lines) if "rror" in line), default=len(lines) - 1)
    words = lines[telling : telling + 1]
    for line in lines[telling + 1 :] if lines else ():
        if not words[-1].endswith(":"):
            break
        words.append(line)
    return " ".join(words)[-300:] or "it said nothing"


def _end(processes: Collection[psutil.Process]) -> None:
    """SIGTERM, on which every server flushes; then, if that does not help, SIGKILL."""
    for running in processes:
        with suppress(psutil.NoSuchProcess):
            running.send_signal(signal.SIGCONT)  # one that was paused hears nothing
            running.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=20)
    for running in stubborn:
        running.kill()
    psutil.wait_procs(stubborn, timeout=5)
