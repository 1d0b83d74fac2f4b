"""Imports go down only, kinds know no kinds, and nothing heavy is loaded before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "perfmon"

# From the top to the bottom; a module may import from its own line and from those below it.
LAYERS = (
    ("cli", "__main__", "commands"),
    ("monitor", "provision", "perftest"),
    ("config", "measure", "logs", "waterfall", "explanation", "watched"),
    ("probes", "samplers", "conditions", "receivers", "simulators", "discoveries", "executors", "reports"),
    ("telling",),
    ("answer",),
    (
        "network",
        "trace",
        "patterns",
        "post",
        "admission",
        "procfs",
        "annotation",
        "selection",
        "maintenance",
        "target_groups",
        "threads",
        "printed",
        "program",
        "leak",
        "cgroupfs",
        "cgroup_usage",
        "containers",
        "process_table",
        "process_life",
        "profile",
        "scrape",
        "prometheus_text",
    ),
    ("secret",),
    ("kinds",),
    (
        "model",
        "errors",
        "units",
        "clock",
        "stats",
        "shift",
        "histogram",
        "threshold",
        "promql",
        "short_form",
        "metrics",
        "steps",
        "template",
        *("offer", "shapes", "scenario", "run", "chart"),
    ),
    ("instrument",),
)
KINDS = ("probes", "samplers", "conditions", "receivers", "simulators", "discoveries", "executors", "reports")
HEAVY = (
    "numpy",
    "matplotlib",
    "grafana_foundation_sdk",
    "starlette",
    "uvicorn",
    "pycurl",
    "apscheduler",
    "requests",
    "psutil",
    "memray",
    "dns",
)


def modules():
    return sorted(path.relative_to(ROOT.parent).with_suffix("") for path in ROOT.rglob("*.py"))


def name_of(path):
    parts = path.parts[:-1] if path.name == "__init__" else path.parts
    return ".".join(parts)


def imports(path):
    """Names of perfmon's own modules that a file imports, at its top or inside of a function."""
    source = (ROOT.parent / path).with_suffix(".py").read_text()
    tree, found = ast.parse(source), set()
    if name_of(path) == "perfmon":  # it says to type checkers alone what it loads only when somebody asks for it
        tree.body = [node for node in tree.body if not ast.unparse(node).startswith("if TYPE_CHECKING:")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("perfmon.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "perfmon":
            known = {name_of(module) for module in modules()}
            deeper = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (deeper & known) or {node.module}
    return found


def part(name):
    """perfmon.monitor.alert -> monitor"""
    return name.split(".")[1] if "." in name else ""


def layer(name):
    return next((number for number, parts in enumerate(LAYERS) if part(name) in parts), None)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_down_only(path):
    name = name_of(path)
    if name == "perfmon":
        assert set() == imports(path)
        return
    assert layer(name) is not None, f"{name} stands on no layer"
    upward = {other for other in imports(path) - {"perfmon"} if layer(other) < layer(name)}

    assert set() == upward


@pytest.mark.parametrize("path", [path for path in modules() if path.parts[1] in KINDS], ids=name_of)
def test_kinds_do_not_know_each_other(path):
    siblings = {other for other in imports(path) if part(other) in KINDS and other != name_of(path)}
    own_package = f"perfmon.{path.parts[1]}"

    assert siblings <= {own_package}


@pytest.mark.parametrize("one", ["monitor", "provision", "perftest"])
def test_machinery_side_by_side_stays_apart(one):
    others = {"monitor", "provision", "perftest"} - {one}
    for path in modules():
        if path.parts[1:2] == (one,):
            assert not {other for other in imports(path) if part(other) in others}, name_of(path)


def test_there_are_no_cycles():
    graph = {name_of(path): imports(path) - {name_of(path)} for path in modules()}
    done: set[str] = set()

    def visit(name, above):
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, [*above, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def loaded_by(*arguments):
    """The modules that a command line imports."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "perfmon", *arguments], capture_output=True, text=True, check=False
    )
    return {
        line.rpartition("|")[2].strip().split(".")[0] for line in ended.stderr.splitlines() if "import time:" in line
    }


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("check", "--help")])
def test_help_loads_nothing_heavy(arguments):
    assert set() == loaded_by(*arguments) & set(HEAVY)
