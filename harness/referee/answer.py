"""An outcome as one JSON object and as lines; the words that loops and people read."""

from __future__ import annotations

import shlex
from typing import Any

from harness.referee.case import Outcome
from harness.referee.judging import Judgement


def as_object(outcome: Outcome) -> dict[str, Any]:
    """The answer as a program reads it. Every field is always there; what is not known is null."""
    asked = outcome.asked
    candidates = [_candidate(outcome, arm.name) for arm in asked.arms[1:]]
    first = candidates[0]["decision"] if len(candidates) == 1 else None
    foresight = outcome.foresight
    return {
        "schema": 1,
        "name": asked.name,
        "decision": first,
        "metric": outcome.metric,
        "better": outcome.way,
        "seeds": list(asked.frozen_seeds),
        "baseline": _arm(outcome, asked.arms[0].name),
        "candidates": candidates,
        "detectable": foresight.detectable if foresight else None,
        "detectable_from": foresight.basis if foresight else None,
        "runs": {"started": outcome.ran, "reused": outcome.reused},
        "outdated": outcome.outdated,
        "exit": outcome.exit_code(),
    }


def _arm(outcome: Outcome, name: str) -> dict[str, Any]:
    arm = next(a for a in outcome.asked.arms if a.name == name)
    metric = outcome.metric
    values = {
        str(r.seed): r.reported.get(metric) if metric else None
        for r in outcome.records[name]
        if r.repeat == 0 and r.seed in outcome.asked.frozen_seeds
    }
    return {
        "arm": name,
        "digest": arm.digest,
        "values": values,
        "failed": [{"seed": r.seed, "reason": fault} for r, fault in outcome.faults[name]],
        "notes": outcome.notes[name],
    }


def _candidate(outcome: Outcome, name: str) -> dict[str, Any]:
    judged = outcome.judgements[name]
    difference, verdict = judged.difference, judged.verdict
    known = verdict.kind != "not comparable"
    return {
        **_arm(outcome, name),
        "decision": judged.decision,
        "more_pairs": judged.more,
        "verdict": verdict.kind,
        "reason": verdict.reason,
        "preliminary": verdict.preliminary,
        "pairs": verdict.pairs,
        "difference": difference.mean if known else None,
        "interval": list(difference.interval) if known and difference.interval else None,
        "level": verdict.level if known else None,
        "detectable": verdict.detectable if known else None,
        "next": _next(outcome, judged),
    }


def _next(outcome: Outcome, judged: Judgement) -> str | None:
    """Options under which more pairs are a new question, asked of seeds that nobody has seen."""
    if judged.more is None:
        return None
    return f"--seeds {judged.more} --first-seed {outcome.next_seed}"


def as_lines(outcome: Outcome) -> list[str]:
    """The answer as a person reads it: a line or two a candidate."""
    lines = []
    for arm in outcome.asked.arms:
        notes = outcome.notes[arm.name]
        judged = outcome.judgements.get(arm.name)
        if judged is not None:
            lines.append(f"{arm.name}: {sentence(outcome, judged)}")
            if options := _next(outcome, judged):
                lines.append(f"  a new answer takes new seeds: {options}")
        elif notes:
            lines.append(f"{arm.name}:")
        lines += [f"  {note}" for note in notes]
    return lines


def sentence(outcome: Outcome, judged: Judgement) -> str:
    """Decision, verdict and difference."""
    difference, verdict = judged.difference, judged.verdict
    if verdict.kind == "not comparable" or difference.mean is None or difference.half is None:
        return f"{judged.decision}; {verdict.text}"
    text = (
        f"{judged.decision}; {verdict.text}: {outcome.metric} {difference.mean:+.4g} "
        f"± {difference.half:.2g} ({difference.n} pairs, {outcome.way} is better)"
    )
    if verdict.kind == "no detectable difference" and verdict.detectable is not None:
        text += f"; {verdict.detectable:.2g} would have been found in 80 % of cases"
    return text


def command(outcome: Outcome) -> str:
    """What asks the question again, the arms' folders by their names."""
    asked = outcome.asked
    if asked.recipe is not None and asked.scale is not None:
        return shlex.join(["smol", "run", asked.recipe, "--scale", asked.scale])
    parts = ["smol", "referee", *(arm.name for arm in asked.arms)]
    parts += ["--command", asked.arms[0].command, "--format", asked.format]
    parts += ["--seeds", str(asked.seeds)]
    if asked.first_seed:
        parts += ["--first-seed", str(asked.first_seed)]
    if outcome.metric is not None and outcome.way is not None:
        parts += ["--metric", outcome.metric, f"--{outcome.way}"]
    return shlex.join(parts)
