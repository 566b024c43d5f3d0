"""How fast and how warm the CPUs are, where the machine shows it; most virtual ones do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Told
from otel_llmon.observers.reading import LINUX, Group, psutil
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import HW_ID, HW_NAME, HW_TYPE
from otel_llmon.semconv.hardware import HW_TEMPERATURE

CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "acpitz")


@dataclass(frozen=True, slots=True)
class Sensors:
    """Hertz of all CPUs on average, None where they are not shown, and degrees Celsius by sensor."""

    frequency: float | None
    temperature: Mapping[str, float]


def watch(sys: str = "/sys", *, linux: bool = LINUX) -> Group[Sensors]:
    """Return the group of the sensors."""

    def read() -> Sensors:
        found = Sensors(_frequency(sys), _temperature(sys)) if linux else _foreign()
        if found.frequency is None and not found.temperature:
            raise NoDataError("this machine shows no CPU frequency and no temperature")
        return found

    return Group((rows.CPU_FREQUENCY, HW_TEMPERATURE), read, _tell)


def _number(file: Path) -> float | None:
    with suppress(OSError, ValueError):  # a sensor may be there and not answer
        return float(file.read_text())
    return None


def _frequency(sys: str) -> float | None:
    files = Path(sys, "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    found = [kilohertz * 1000 for file in files if (kilohertz := _number(file)) is not None]
    return sum(found) / len(found) if found else None


def _temperature(sys: str) -> dict[str, float]:
    found = {}
    for chip in sorted(Path(sys, "class/hwmon").glob("hwmon*")):
        name = _text(chip / "name")
        for file in sorted(chip.glob("temp*_input")) if name in CPU_CHIPS else ():
            label = _text(file.with_name(file.name.replace("_input", "_label"))) or file.name.removesuffix("_input")
            if (thousandths := _number(file)) is not None:
                found[f"{chip.name} {label}"] = thousandths / 1000
    return found


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text().strip()
    return ""


def _foreign() -> Sensors:
    source = psutil()
    speed = source.cpu_freq() if hasattr(source, "cpu_freq") else None
    return Sensors(speed.current * 1e6 if speed else None, {})


def _tell(sensors: Sensors) -> Iterator[Told]:
    if sensors.frequency is not None:
        yield rows.CPU_FREQUENCY, sensors.frequency, {}
    for name, degrees in sensors.temperature.items():
        yield HW_TEMPERATURE, degrees, {HW_ID: name, HW_NAME: name, HW_TYPE: "cpu"}
