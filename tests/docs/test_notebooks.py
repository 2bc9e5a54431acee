"""The notebooks run, and draw."""

from __future__ import annotations

import ast

import pytest

from harness.code.provenance import ROOT

BOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.docs
@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_a_notebook_runs_where_it_lies(book, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(book, as_version=4)
    client = NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": book.parent}}
    )  # fmt: skip
    client.execute()
    given = [set(out.get("data", {})) for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in kinds for kinds in given)
    assert any("text/html" in kinds for kinds in given)


def test_the_headline_is_drawn_in_ten_lines():
    import json

    (book,) = [book for book in BOOKS if book.stem == "headline"]
    cells = json.loads(book.read_text("utf-8"))["cells"]
    code = "".join(next(c["source"] for c in cells if c["cell_type"] == "code"))
    assert len(code.splitlines()) <= 10
    ast.parse(code)
    assert all(not cell.get("outputs") for cell in cells)
