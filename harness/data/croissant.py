"""A prepared folder in the words of Croissant, MLCommons' description of data sets for machine
learning (version 1.0, docs.mlcommons.org/croissant), as data hubs and loaders read it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from harness.data.batches import read_split
from harness.data.manifest import Prepared

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "arrayShape": "cr:arrayShape",
    "column": "cr:column",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "isArray": "cr:isArray",
    "recordSet": "cr:recordSet",
    "source": "cr:source",
}
"""The prefixes and the terms of Croissant that a description of ours uses."""
ARROW = "application/vnd.apache.arrow.stream"
MEANS = {
    "input_ids": "Tokens of a packed row, by the tokenizer beside it.",
    "documents": "The document that each token belongs to, counted over the split.",
    "labels": "The token where it is to be learnt, -100 where it is only read.",
}


def describe(prepared: Prepared) -> dict[str, Any]:
    """The description, as JSON-LD: every Arrow file with its digest, and a record set a split whose
    fields are its columns, `(seq_len,)` integers each."""
    files = _files(prepared.folder)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"prepared-{prepared.manifest.digest[:16]}",
        "description": _said(prepared),
        "version": f"{prepared.manifest.schema_version}.0.0",
        "distribution": list(files.values()),
        "recordSet": [
            _record_set(prepared.folder, split, [f for f in files if f.split("/")[1] == split])
            for split in sorted({name.split("/")[1] for name in files})
        ],
    }


def _said(prepared: Prepared) -> str:
    manifest = prepared.manifest
    sources = ", ".join(
        f"{s.name} ({s.kind}, {100 * s.achieved_share:.1f} % of the training tokens)"
        for s in manifest.sources
    )
    return (
        f"{manifest.train_tokens:,} training and {manifest.val_tokens:,} validation tokens in rows "
        f"of {manifest.seq_len}, from {sources}; tokenizer {manifest.tokenizer_digest[:16]}."
    )


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    """The Arrow files by their place in the folder."""
    found = {}
    for path in sorted((folder / "dataset").glob("*/*.arrow")):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[name] = {
            "@type": "cr:FileObject",
            "@id": name,
            "name": path.name,
            "contentUrl": name,
            "contentSize": f"{path.stat().st_size} B",
            "encodingFormat": ARROW,
            "sha256": digest,
        }
    return found


def _record_set(folder: Path, split: str, files: list[str]) -> dict[str, Any]:
    """A split's columns. Croissant names one file a field: the first, where there are several."""
    read = read_split(folder, split)
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"{read.rows:,} rows in {len(files)} files.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{split}/{column}",
                "name": column,
                "description": MEANS.get(column, "A column of the folder that was prepared."),
                "dataType": "sc:Integer",
                "isArray": True,
                "arrayShape": f"{read.seq_len}",
                "source": {"fileObject": {"@id": files[0]}, "extract": {"column": column}},
            }
            for column in sorted(read.names)
        ],
    }
