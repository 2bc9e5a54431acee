"""From the user's words to what a plan needs: scale, device, profile, evidence. No torch."""

from __future__ import annotations

import contextlib
import json
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

from harness.code import behaviour, provenance
from harness.errors import RequestError, nearest
from harness.evidence import precision, query
from harness.files import read_regular
from harness.launch import terminal
from harness.machine import devices, hardware
from harness.machine.hardware import Peak
from harness.machine.prices import price_of
from harness.plan import profiles
from harness.plan.auto import Evidence
from harness.plan.campaign import Target, device_named
from harness.plan.profiles import Profile
from harness.plan.runs import Run
from harness.recipe import Scale
from harness.records.schema import Record, one_command

CONFIG_BYTES = 1_000_000
"""The most that a configuration file may have."""


def read_scale(text: str) -> Scale:
    """The scale of that name. Raises RequestError for an unknown one."""
    for known in get_args(Scale):
        if text == known:
            return known
    raise RequestError(f"no scale '{text}'{nearest(text, get_args(Scale))}")


def read_device(text: str) -> str:
    """The kind of the device asked for, by its name or that of its card, or the best that is
    present; where a better one is there and cannot be used, a note says why.

    Raises RequestError for an unknown or an absent one.
    """
    if text not in (devices.AUTO, *devices.devices()) and (peak := _card(text)) is not None:
        if not _is_here(text):
            raise RequestError(f"--device {text}, but this machine has {_best()}")
        return peak.device
    device = devices.chosen(text)
    if text == devices.AUTO:
        _note(device.name)
    return device.name


def _card(text: str) -> Peak | None:
    """The card of hardware.toml that a name means, if any."""
    with contextlib.suppress(RequestError):
        return device_named(text)
    return None


def _best() -> str:
    """The best device here, and why it is not a better one of which there is a sign."""
    device = devices.chosen(devices.AUTO)
    return "; ".join([device.product(), *devices.passed_over(device)])


@cache
def _note(taken: str) -> None:
    """Once: a run on a CPU beside a card that is paid for must not go unnoticed."""
    for why in devices.passed_over(devices.of(taken)):
        terminal.note(f"--device auto takes the {taken}, since {why}")


def read_overrides(file: Path | None, sets: list[str]) -> dict[str, Any]:
    """Dotted fields and their values, of a TOML file and of `--set`, which goes before it.

    Raises RequestError for a file that is none, or a pair without `=`.
    """
    pairs: list[str] = []
    if file is not None:
        try:
            pairs = _pairs(tomllib.loads(read_regular(file, CONFIG_BYTES).decode("utf-8")))
        except OSError as error:
            raise RequestError(f"--config {file}: {error.strerror}") from None
        except ValueError as error:  # of TOML, and of text that is not UTF-8
            raise RequestError(f"--config {file} is not TOML: {error}") from None
    return parse_overrides([*pairs, *sets])


def _pairs(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A table's fields as `--set` takes them."""
    found: list[str] = []
    for name, value in table.items():
        if isinstance(value, dict):
            found += _pairs(value, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}={json.dumps(value, default=str)}")
    return found


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """`["optim.muon_lr=0.02"]` -> `{"optim.muon_lr": 0.02}`.

    A value is read as JSON, else as text. Whole numbers stand for floats where the field is one.
    Raises RequestError for a pair without `=`.
    """
    changes: dict[str, Any] = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals or not path.strip():
            raise RequestError(f"--set takes field=value, not '{pair}'")
        try:
            value = json.loads(text)
        except ValueError:
            value = text.strip()
        changes[path.strip()] = _tuples(value)
    return changes


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def target(text: str, results: Path, only_with: str | None = None) -> Target:
    """This machine's device, by its kind or its name, or any of hardware.toml for what starts
    nothing.

    `only_with` is the option without which a device that is not here is refused; None takes it.
    Raises RequestError for an unknown device.
    """
    if text in (devices.AUTO, *devices.devices()) or _is_here(text):
        if text == devices.AUTO:
            _note(devices.chosen(text).name)
        device = devices.chosen(text if text in devices.devices() else devices.AUTO)
        kind, product = device.name, device.product()
        peak = hardware.peak_of(product)
        price = price_of(peak.name, results=results) if peak else None
        name = peak.name if peak else product
        return Target(name, kind, peak, price, hardware.cores(), product)
    peak = device_named(text)
    if only_with is not None:
        raise RequestError(f"--device {text} is for {only_with}; this machine has {_best()}")
    return Target(peak.name, peak.device, peak, price_of(peak.name, results=results))


def _is_here(text: str) -> bool:
    """Whether the card of hardware.toml that a name means is this machine's."""
    here = hardware.peak_of(devices.chosen(devices.AUTO).product())
    return here is not None and here.name == device_named(text).name


def device_profile(device: str) -> Profile:
    """How updates are cut on this machine's device."""
    gpu = devices.of(device).gpu()
    return profiles.of(gpu[1] if gpu else None)


def this_code(manifest_digest: query.Manifests) -> query.Current:
    """What a run must agree with to be finished: this code and software, and the data that
    `manifest_digest` tells of each specification."""
    return query.Current(
        provenance.source_digest(),
        provenance.software_set(provenance.software()),
        manifest_digest,
        cache(behaviour.of_code),
    )


def evidence(
    records: Sequence[Record], scale: Scale, device_class: str, here: str | None
) -> Evidence:
    """What was timed at this scale on a device of this class, for fields that say `auto`."""
    from harness.evidence import launches

    return Evidence(
        compile_lines=lambda: launches.lines_of(records, scale, device_class),
        kernel_ratios=lambda: launches.kernel_ratios(records, scale, device_class),
        native=lambda: precision.of_machine(here) if here else precision.unasked(),
    )


def as_command(words: Sequence[str]) -> str:
    """The words as one line to paste, as a record keeps it.

    Raises RequestError for words that no record could carry: now, and not when it is written.
    """
    text = shlex.join(words)
    try:
        return one_command(text)
    except ValueError as error:
        raise RequestError(f"{text!r} could not stand in a record: {error}") from None


def default_jobs(device: str, runs: Sequence[Run]) -> int:
    """As many runs at a time as the device holds at their threads."""
    threads = max(run.config.train.threads * run.world_size for run in runs)
    return devices.of(device).at_once(threads, hardware.cores())
