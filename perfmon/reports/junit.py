"""A test for a build server: JUnit's XML with a case for each threshold, and the figures in its words."""

import xml.etree.ElementTree as ET

from perfmon import telling
from perfmon.clock import iso
from perfmon.run import Judged, Report, Run
from perfmon.units import printable

__all__ = ["FILE", "render"]

FILE = "junit.xml"


def render(report: Report) -> str:
    """An invalid run is an error in each case, since nothing can be said of the target."""
    run = report.run
    invalid = run.generator.verdict == "INVALID"
    counts = {
        "tests": str(len(report.judged)),
        "failures": str(0 if invalid else sum(not one.passed for one in report.judged)),
        "errors": str(len(report.judged) if invalid else 0),
        "skipped": "0",
        "time": f"{run.took_s:.3f}",
    }
    root = ET.Element("testsuites", {"name": "perfmon", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _clean(run.scenario.name), "timestamp": iso(run.began), **counts})
    for one in report.judged:
        _case(suite, run, one, invalid=invalid)
    ET.SubElement(suite, "system-out").text = _clean(telling.headline(report))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, run: Run, one: Judged, *, invalid: bool) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {"classname": _clean(run.scenario.name), "name": str(one.demand), "time": f"{run.took_s:.3f}"},
    )
    if invalid:
        ET.SubElement(case, "error", {"type": "invalid", "message": _clean(run.generator.why)})
    elif not one.passed:
        ET.SubElement(case, "failure", {"type": one.verdict.level, "message": _clean(one.verdict.why)})
    else:
        ET.SubElement(case, "system-out").text = _clean(one.verdict.why)


def _clean(text: str) -> str:
    """Without what no XML can hold."""
    return printable(text).replace("\ufffe", "?").replace("\uffff", "?").encode("utf-8", "replace").decode()
