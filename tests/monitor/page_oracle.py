"""Reads a metrics page with prometheus-client's parsers, and insists on what they let pass."""

from itertools import groupby

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text


def series(page, *, openmetrics=False):
    """{(name, {(label, value)}): number} of all samples; a series that stands there twice is an error."""
    parse = parse_openmetrics if openmetrics else parse_text
    found = {}
    for family in parse(page.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} stands there twice"
            found[key] = sample.value
    return found


def families(page):
    """Names in the order of the page; each has one HELP and one TYPE, and all its samples right after them."""
    names = []
    lines = page.decode().removesuffix("# EOF\n").split("\n")[:-1]
    for is_header, group in groupby(lines, key=lambda line: line.startswith("#")):
        if is_header:
            *childless, last = _headers(list(group))
            assert [] == childless, f"{childless} have no samples"
            names.append(last)
        else:
            assert all(line.startswith(names[-1]) for line in group)
    assert len(set(names)) == len(names)
    return names


def _headers(lines):
    words = [line.split(" ", 3)[1:3] for line in lines]
    names = [name for word, name in words if word == "HELP"]
    assert names == [name for word, name in words if word == "TYPE"]
    assert {name for word, name in words} == set(names)
    return names


def key(name, **labels):
    return name, frozenset(labels.items())
