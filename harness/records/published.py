"""The JSON schema of a record, as it is published: `python -m harness.records.published FILE`.

Its version is the record's: a schema of another `schema_version` is another file beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

from harness.files import write_atomically
from harness.records.schema import Record

VERSION: int = get_args(Record.model_fields["schema_version"].annotation)[0]
NAME = f"record-{VERSION}.json"
"""The file's name, below docs/schema/ and below the site's schema/."""


def schema() -> dict[str, Any]:
    """In JSON Schema's draft 2020-12, with what each field means."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": NAME,
        **Record.model_json_schema(mode="validation"),
        "title": f"smol-harness record, version {VERSION}",
    }


def text() -> str:
    """As the file holds it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_atomically(Path(sys.argv[1]), text())
