"""docs/conformance.md has each case once, and the tests that it names are there and mention the case."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "conformance.md"
KINDS = dict(line.split() for line in (TESTS / "conformance_cases.txt").read_text().splitlines())
ROW = re.compile(r"\| ([A-Z]\d\d) \| ([CSZ]) \| .* \| ([^|]+) \| ([^|]+) \|")
NAMED = re.compile(r"`([a-z0-9_]+\.py)::(test_[a-z0-9_]+)`")
NOT_SHOWN = re.compile(r"(no|not yet): .+|issue \d")


def rows():
    """(case, kind, what perfmon does, what shows it), in the page's order."""
    return [match.groups() for line in PAGE.read_text().splitlines() if (match := ROW.fullmatch(line))]


@cache
def texts_in(file):
    """Name of a test to its text: decorators, body, and the tables of its file that it names."""
    (path,) = TESTS.rglob(file)
    source = path.read_text()
    tree = ast.parse(source)
    tables = {
        target.id: ast.get_source_segment(source, node)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return {
        node.name: "\n".join([_text(source, node), *(tables[name] for name in _names(node) if name in tables)])
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def _text(source, node):
    parts = [*node.decorator_list, node]
    return "\n".join(ast.get_source_segment(source, part) for part in parts)


def _names(node):
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def mentions(text, case):
    """`D13`, `d13a`, `test_d13_d14_...`, but neither `ID13` nor `D130`."""
    return re.search(rf"(?<![a-z0-9\\]){case}(?![0-9])", text, re.IGNORECASE) is not None


def test_each_case_stands_there_once_with_its_kind():
    assert list(KINDS.items()) == [(case, kind) for case, kind, *_ in rows()]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_case_is_shown_by_tests_that_are_about_it_or_says_why_not(row):
    case, _, _, shown = row
    named = NAMED.findall(shown)

    assert named or NOT_SHOWN.fullmatch(shown), shown
    assert [] == [f"{file}::{test}" for file, test in named if not mentions(texts_in(file).get(test, ""), case)]


def test_what_must_be_shown_is_shown_unless_it_is_another_issues():
    missing = {case for case, kind, _, shown in rows() if kind in "CS" and not NAMED.search(shown)}
    later = {case for case, _, _, shown in rows() if re.fullmatch(r"issue \d", shown)}

    assert set() == missing - later


def test_two_thirds_at_least_of_what_others_fail_is_shown():
    hard = [NAMED.search(shown) is not None for _, kind, _, shown in rows() if kind == "Z"]

    assert 2 * len(hard) <= 3 * sum(hard)


def test_the_page_counts_what_it_shows():
    shown = {kind: sum(1 for _, of, _, how in rows() if of == kind and NAMED.search(how)) for kind in "CSZ"}
    counted = {kind: list(KINDS.values()).count(kind) for kind in "CSZ"}
    summary = ", ".join(f"{shown[kind]} of {counted[kind]} {kind}" for kind in "CSZ")

    assert f"Shown by tests: {summary}." in PAGE.read_text()
