"""The list of requirements and its proofs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import requirements_doc

KNOWN = {"EVT-29": "draw an area", "EVT-30": "find the stations inside", "AUD-01": "tag library"}


def tree(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "tests" / "event"
    folder.mkdir(parents=True)
    (folder / "test_area.py").write_text(text)
    return tmp_path


def test_the_document_is_current() -> None:
    known = requirements_doc.requirements()
    found = requirements_doc.collect(requirements_doc.ROOT, known)
    assert found.problems == []
    assert requirements_doc.DOCUMENT.read_text() == requirements_doc.render(known, found.proofs), (
        "docs/requirements.md is not current: make requirements-doc"
    )


def test_every_requirement_is_listed_once() -> None:
    lines = requirements_doc.LIST.read_text().splitlines()[1:]
    assert len(lines) == len(requirements_doc.requirements()) == 368


def test_functions_and_methods_prove_what_their_docstrings_name(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        'def test_polygon():\n    """Inside (EVT-29, EVT-30)."""\n'
        'class TestTags:\n    async def test_tag(self):\n        """AUD-01."""\n'
        'def helper():\n    """EVT-29"""\n',
    )
    found = requirements_doc.collect(root, KNOWN)
    assert found.problems == []
    assert found.proofs == {
        "EVT-29": ["tests/event/test_area.py::test_polygon"],
        "EVT-30": ["tests/event/test_area.py::test_polygon"],
        "AUD-01": ["tests/event/test_area.py::TestTags::test_tag"],
    }
    text = requirements_doc.render({**KNOWN, "RES-01": "a | b"}, found.proofs)
    assert "| EVT-30 | find the stations inside | [`test_polygon`](../tests/event/test_area.py) |" in text
    assert "| RES-01 | a \\| b | not proven yet |" in text
    assert "| all | 4 | 3 | 1 |" in text


@pytest.mark.parametrize(
    ("docstring", "problem"),
    [
        ("AUD-01 EVT-29 EVT-30 EVT-31", "names 4 requirements, at most 3"),
        ("EVT-99", "EVT-99 is no requirement"),
        ("EVT-29..31", "not a range"),
        ("EVT-29 to EVT-30", "not a range"),
    ],
)
def test_claims_that_prove_nothing_are_refused(tmp_path: Path, docstring: str, problem: str) -> None:
    root = tree(tmp_path, f'def test_all():\n    """{docstring}"""\n')
    assert problem in " ".join(requirements_doc.collect(root, KNOWN).problems)
