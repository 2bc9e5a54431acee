"""What the columns of a folder that others prepared say: the one place that knows them.

A column may say which tokens are learnt, and one that is passed over without a word changes what
is learnt without a word. So each is used, known to be harmless, or refused. May not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.data.batches import IGNORED, Split
from harness.errors import RequestError

LABELS = "labels"
MASKS = (
    "attention_mask", "assistant_masks", "assistant_mask", "assistant_tokens_mask",
    "completion_mask", "loss_mask", "target_mask",
)  # fmt: skip
"""0 at a token that is no target: padding, or what others than the assistant say."""
BORDERS = "where documents begin; train.document_mask finds that in the end-of-text tokens"
HARMLESS = {
    "special_tokens_mask": "which ids are special, as the tokenizer says too",
    "token_type_ids": "segments, for models that embed them",
    "overflow_to_sample_mapping": "which document a row was cut from",
    **dict.fromkeys(("position_ids", "documents", "seq_lengths", "seq_idx"), BORDERS),
    **dict.fromkeys(("length", "lengths", "num_tokens", "n_tokens"), "how long a row is"),
    **dict.fromkeys(("id", "idx", "index", "__index_level_0__"), "a row's number"),
}
"""Column -> why no token is learnt more or less for it."""
_WORDS = ("string", "large_string", "string_view", "null")
_PADS_BEFORE = "attention_mask"


def check(split: Split) -> None:
    """Raises RequestError for a column whose meaning is not known. Text describes its row."""
    known = {"input_ids", LABELS, *MASKS, *HARMLESS}
    unknown = sorted(name for name in split.names - known if not _describes(split, name))
    if unknown:
        raise RequestError(
            f"{split.folder} has a column '{unknown[0]}', which may say what is learnt and is not "
            f"known here: leave it out (remove_columns), or give its meaning as '{LABELS}', "
            f"{IGNORED} where there is no target"
        )


def _describes(split: Split, name: str) -> bool:
    """Whether it is words about the row: text, or objects and lists of it."""
    return all(part in _WORDS for part in _leaves(split.kind(name)))


def _leaves(kind: Any) -> list[str]:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return [leaf for i in range(kind.num_fields) for leaf in _leaves(kind.field(i).type)]
    if pa.types.is_nested(kind) and hasattr(kind, "value_type"):
        return _leaves(kind.value_type)
    if pa.types.is_dictionary(kind):
        return _leaves(kind.value_type)
    return [str(kind)]


def same(first: Split, *others: Split) -> None:
    """Raises RequestError where one part says which tokens are learnt and another does not: their
    losses would be of different tokens."""
    says = {LABELS, *MASKS}
    for other in others:
        for name in sorted((first.names ^ other.names) & says):
            has, lacks = (first, other) if name in first.names else (other, first)
            raise RequestError(
                f"{has.folder} has a column '{name}', and {lacks.folder} has not: both sides must "
                "say alike what is a target"
            )


def has_targets(split: Split) -> bool:
    """Whether any column says which tokens are targets; else all of them are."""
    return not split.names.isdisjoint({LABELS, *MASKS})


def labels(split: Split, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """(len(rows), seq_len): each token where it is a target, else IGNORED; by its label, where
    there are labels, and by every mask.

    Raises RequestError for a column of another shape, a label that is not its token, and padding
    that stands before the text.
    """
    found = tokens
    for name in sorted(split.names & {LABELS, *MASKS}):
        values = split.take(name, rows)
        if values.shape != tokens.shape:
            raise RequestError(
                f"{split.folder}: '{name}' have {values.shape[1]} tokens a row, 'input_ids' "
                f"{tokens.shape[1]}"
            )
        if name == LABELS:
            if (values != tokens)[values != IGNORED].any():
                raise RequestError(_wrong_labels(split, tokens, values, int(rows[0])))
            found = np.where(values == IGNORED, IGNORED, found)
            continue
        if name == _PADS_BEFORE and ((values[:, :-1] == 0) & (values[:, 1:] != 0)).any():
            raise RequestError(
                f"{split.folder}: '{name}' is 0 before a token where it is not; the text would "
                "see its padding, so pad on the right (padding_side='right')"
            )
        if (values < 0).any() or (name != _PADS_BEFORE and (values > 1).any()):
            odd = values[(values < 0) | (values > 1)][0]  # attention's may count packed documents
            raise RequestError(
                f"{split.folder}: '{name}' holds {odd}; a mask is 1 where there is a target, else 0"
            )
        found = np.where(values == 0, IGNORED, found)
    return found


def _wrong_labels(split: Split, tokens: np.ndarray, labels: np.ndarray, first: int) -> str:
    ahead = labels[:, :-1]
    if (ahead == tokens[:, 1:])[ahead != IGNORED].all():
        return (
            f"{split.folder}: 'labels' are shifted by one token already; they must stand at the "
            f"token itself, as transformers' do ({IGNORED} where there is no target)"
        )
    row, column = np.argwhere((labels != IGNORED) & (labels != tokens))[0]
    return (
        f"{split.folder}: row {first + row} has label {labels[row, column]} at token "
        f"{tokens[row, column]} (position {column}); a label is its token, or {IGNORED}"
    )


def describe(splits: Iterable[Split]) -> dict[str, str]:
    """For the preparation: which masks decide on targets; empty where none does."""
    used = sorted(set().union(*(split.names for split in splits)) & set(MASKS))
    return {"targets": f"no target where {' or '.join(used)} is 0"} if used else {}
