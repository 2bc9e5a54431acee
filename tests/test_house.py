"""The house's own rules that no linter knows: one name for one class, short files, a small root."""

import ast
from collections import defaultdict
from pathlib import Path

import harness

HARNESS = Path(harness.__file__).parent
SHARED = {"Options"}
"""One a command: what its file declares of the command line."""
LONGEST, PUBLIC = 400, 8


def test_a_class_name_stands_for_one_class():
    places = defaultdict(list)
    for path in HARNESS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name not in SHARED:
                places[node.name].append(f"{path.relative_to(HARNESS)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_file_is_longer_than_a_reader_keeps_in_mind():
    lengths = {
        str(path.relative_to(HARNESS.parent)): len(path.read_text("utf-8").splitlines())
        for room in (HARNESS, HARNESS.parent / "models")
        for path in room.rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_the_root_holds_public_words_alone():
    modules = sorted(path.stem for path in HARNESS.glob("*.py") if path.stem != "__init__")
    assert len(modules) <= PUBLIC, modules
