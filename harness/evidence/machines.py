"""Kinds of machine in the records: what may share a figure of time, and what must say otherwise.

A run's key knows a CPU by product and instruction set, and generations of one product can differ by
a factor of two in speed; the record's `cpu` names the generation where the system told it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.records.schema import Record


def kind(record: Record) -> str:
    """The GPU's product, or the CPU's product, instruction set and generation."""
    machine = record.hardware
    unknown = ", generation not recorded" if machine.cpu == machine.device_class else ""
    return machine.gpu or machine.cpu + unknown


def kinds(records: Iterable[Record]) -> list[str]:
    """The distinct kinds, the one of most records first, then by name."""
    counts: dict[str, int] = {}
    for record in records:
        counts[kind(record)] = counts.get(kind(record), 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def of_chain(record: Record, by_key: Mapping[str, Record]) -> list[str]:
    """The kinds of a run and of those that it went on from: its seconds count theirs too."""
    chain = [record]
    while parent := by_key.get(chain[-1].parent or ""):
        chain.append(parent)
    return kinds(chain)
