"""The card's front matter, as the Hugging Face Hub reads it: through `huggingface_hub`'s own types.

`huggingface_hub.repocard_data` alone is imported, which is light; nothing here reaches a network.
May not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from huggingface_hub.repocard_data import EvalResult, ModelCardData

from harness.evidence.sections import Section
from harness.records.evaluation import Evaluation
from harness.report.views.loss import LOSS_DIGITS
from harness.stats.inference import t_interval

NAME = "smol-harness"
TAGS = ["pytorch", "smollm2", "mixture-of-experts", "muon", "comparison"]
TASK = "text-generation"


def front_matter(
    found: Sequence[Section], scored: Sequence[Evaluation], datasets: Iterable[str]
) -> str:
    """The block of YAML at the top of the card, fences included."""
    results = [*_of_sections(found), *_of_evaluations(scored)]
    data = ModelCardData(
        license="apache-2.0",
        language=["en", "code"],
        library_name=NAME,
        pipeline_tag=TASK,
        tags=TAGS,
        datasets=sorted(set(datasets)) or None,
        model_name=NAME if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _of_sections(found: Sequence[Section]) -> list[EvalResult]:
    """Each arm's mean validation loss and bits per byte at the question's horizon."""
    results = []
    for section in found:
        question = section.group.question
        if "comparison" not in question.views:
            continue
        for arm in question.arms:
            rows = section.group.reached(arm, question.at)
            for metric, column in (("loss", "val_loss"), ("bits_per_byte", "bits_per_byte")):
                values = [v for end in rows if (v := getattr(end, column)) is not None]
                mean = t_interval(values).mean
                if mean is not None:
                    results.append(
                        EvalResult(
                            task_type=TASK,
                            dataset_type="validation",
                            dataset_name=f"held-out text of {section.name}",
                            dataset_config=section.name,
                            dataset_split="validation",
                            metric_type=metric,
                            metric_name=f"{arm}: {column}@{question.at}, {len(rows)} seeds",
                            metric_value=round(mean, LOSS_DIGITS),
                        )
                    )
    return results


def _of_evaluations(scored: Sequence[Evaluation]) -> list[EvalResult]:
    """The reference rows' bits per byte."""
    return [
        EvalResult(
            task_type=TASK,
            dataset_type="text",
            dataset_name=one.text,
            dataset_config=one.text_digest[:8],
            dataset_split="test",
            metric_type="bits_per_byte",
            metric_name=f"{one.subject.name}: bits_per_byte, context {one.context}",
            metric_value=round(one.bits_per_byte, LOSS_DIGITS),
        )
        for one in scored
    ]
