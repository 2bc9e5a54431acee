"""The README of an exported model, and its `.eval_results`, as the Hub reads them.

It says of one model what its own record and evaluations hold, and nothing of other arms. Written
with `huggingface_hub`'s own types; nothing here reaches a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData
from huggingface_hub import eval_result_entries_to_yaml as as_entries

from harness.records.evaluation import Evaluation
from harness.records.schema import Record
from harness.report.metadata import TAGS, datasets

OWNER = "smol-harness"
"""Stands before the name of a text that is no data set of the Hub."""
VALIDATION = "validation"


def write(
    folder: Path,
    name: str,
    record: Record | None,
    scored: Sequence[Evaluation],
    files: Sequence[str],
    at: str,
) -> None:
    """Write README.md, and `.eval_results/` where something was measured, into an exported folder.

    `name` is the model's; `record` its run's, None of a model that is no run of ours; `scored`
    its evaluations; `files` what stands beside the safetensors; `at` the repository or folder that
    it can be loaded from.
    """
    (folder / "README.md").write_text(readme(name, record, scored, files, at), "utf-8")
    entries = _entries(record, scored)
    if entries:
        place = folder / ".eval_results"
        place.mkdir()
        text = yaml.safe_dump(as_entries(entries), sort_keys=False, allow_unicode=True)
        (place / f"{OWNER}.yaml").write_text(text, "utf-8")


def readme(
    name: str,
    record: Record | None,
    scored: Sequence[Evaluation],
    files: Sequence[str],
    at: str,
) -> str:
    """The whole page, its front matter included."""
    results = [
        EvalResult(
            task_type="text-generation", dataset_type=entry.dataset_id,
            dataset_name=entry.dataset_id.partition("/")[2], metric_type=entry.task_id,
            metric_name=entry.task_id.replace("_", " "), metric_value=entry.value,
        )
        for entry in _entries(record, scored)
    ]  # fmt: skip
    data = ModelCardData(
        license="apache-2.0" if record else None,
        language=["en"],
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[*TAGS, *(["gguf"] if any(file.endswith(".gguf") for file in files) else [])],
        datasets=datasets(record) or None if record else None,
        model_name=name.replace("/", "-") if results else None,
        eval_results=results or None,
    )
    parts = [f"---\n{data.to_yaml()}\n---\n\n# {name}", _about(record)]
    if results:
        rows = [
            f"| {one.dataset_name} | {one.metric_name} | {one.metric_value} |" for one in results
        ]
        parts += [
            "## Measured",
            "| text | metric | value |\n| --- | --- | --- |\n" + "\n".join(rows),
        ]
    parts += [
        "## Use",
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'model = AutoModelForCausalLM.from_pretrained("{at}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{at}")\n```',
    ]
    if files:
        parts.append("Beside it: " + ", ".join(f"`{file}`" for file in files) + " (llama.cpp).")
    parts += [
        "## Limits",
        "A small model that was trained to be compared, not to be relied on: what it says may be "
        "wrong, and repeats the errors and biases of its training text.",
    ]
    return "\n\n".join(parts) + "\n"


def _about(record: Record | None) -> str:
    if record is None:
        return "Exported by smol-harness from weights that are no run of its own."
    text = (
        f"The arm `{record.arm}` of the recipe `{record.recipe}` at {record.scale} scale, seed "
        f"{record.seed}, stage `{record.stage}`: {record.total_parameters:,} parameters "
        f"({record.active_parameters:,} active), {record.tokens_done:,} training tokens on "
        f"{record.hardware.device_class}. Trained by smol-harness; its record has the key "
        f"`{record.key}`."
    )
    return f"{text}\n\n```bash\n{record.command}\n```"


def _entries(record: Record | None, scored: Sequence[Evaluation]) -> list[EvalResultEntry]:
    """Of the run's end on its own validation text, and of every evaluation."""
    found = []
    if record is not None and record.ends:
        end = record.ends[0]
        values = {"loss": end.val_loss, "bits_per_byte": end.bits_per_byte}
        note = f"nats a token; {record.recipe}'s held-out documents, at horizon {end.horizon}"
        found += [
            EvalResultEntry(
                dataset_id=f"{OWNER}/{VALIDATION}", task_id=metric, value=round(value, 5),
                date=record.created, notes=note if metric == "loss" else note.partition("; ")[2],
            )
            for metric, value in values.items()
            if value is not None
        ]  # fmt: skip
    for one in scored:
        if found and one.text == VALIDATION:
            continue  # the same text again
        span = one.interval and f"95 % interval {one.interval[0]:.4f} to {one.interval[1]:.4f}"
        found.append(
            EvalResultEntry(
                dataset_id=f"{OWNER}/{one.text}", task_id="bits_per_byte",
                value=round(one.bits_per_byte, 5), date=one.created,
                notes=f"{one.documents} documents" + (f"; {span}" if span else ""),
            )
        )  # fmt: skip
    return found
