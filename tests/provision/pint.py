"""The checks of cloudflare's pint that need no running Prometheus, for rules and dashboards: what is wrong, in words.

Labels are reckoned through an expression, from those that the catalogue gives each metric: so vectors that can never
match, and templates of labels that the alert does not have, are found. Names stand for pint's (docs/checks).
"""

import re
from collections.abc import Iterator

import promql_parser as pp
from promql_parser import MatchOp

from perfmon import kinds
from perfmon.metrics import BLACKBOX_FAMILIES, PERF_TEST_FAMILIES, PROBE_FAMILIES, SAMPLER_FAMILIES, SELF_FAMILIES

SCRAPE_S = 15.0
PLACE = {"job", "instance"}
OF_COUNTERS = {"rate", "increase", "irate", "resets"}
COUNTERS_AS_THEY_ARE = {
    "absent",
    "absent_over_time",
    "timestamp",
    "last_over_time",
    "max_over_time",
    "present_over_time",
}
ANY = frozenset({"*"})  # labels that nobody can know


def problems(expr, recorded=None, *, alert=False) -> list[str]:
    """What pint would say of an expression. `recorded`: expressions by the name under which they are recorded."""
    look = Look(recorded or {})
    node = pp.parse(expr)
    found = list(look.walk(node, "", alert=alert))
    if alert and not _compares(node):
        found.append("alerts/comparison: it holds always, for nothing is compared")
    return found


def labels(expr, recorded=None) -> frozenset[str]:
    """Those that its series can have; `*` among them when others may be."""
    return Look(recorded or {}).labels(pp.parse(expr))


class Look:
    """One look at an expression."""

    def __init__(self, recorded):
        self.recorded = recorded
        self.families = kinds.catalogue()
        self.subjects = _subjects()

    # ------------------------------------------------------------ what is wrong

    def walk(self, node, function, *, alert) -> Iterator[str]:
        if isinstance(node, pp.VectorSelector):
            yield from self._selector(node, function)
        elif isinstance(node, pp.MatrixSelector):
            yield from self._range(node, function)
            yield from self.walk(node.vector_selector, function, alert=alert)
        elif isinstance(node, pp.Call):
            for argument in node.args:
                yield from self.walk(argument, node.func.name, alert=alert)
        else:
            if isinstance(node, pp.AggregateExpr) and alert and str(node.op) in ("topk", "bottomk"):
                yield f"promql/fragile: {node.op} in an alert changes its labels from one evaluation to the next"
            if isinstance(node, pp.BinaryExpr):
                yield from self._match(node)
            for child in _children(node):
                yield from self.walk(child, function, alert=alert)

    def _selector(self, node, function):
        family = self.family(node.name)
        if (
            family is None
            and node.name not in self.recorded
            and node.name not in ("up", "ALERTS", "scrape_samples_scraped")
        ):
            yield f"promql/series: {node.name} is exported by nobody"
        if family is not None and family.type == "counter" and function not in OF_COUNTERS | COUNTERS_AS_THEY_ARE:
            yield f"promql/counter: {node.name} is a counter, and taken as it is"
        if family is not None and function in OF_COUNTERS and family.type == "gauge":
            yield f"promql/rate: {function} of {node.name}, which is a gauge"
        known = self.labels(node)
        for matcher in node.matchers.matchers:
            if "*" not in known and matcher.name not in known:
                yield f"promql/series: {node.name} has no label {matcher.name}"
            yield from _pattern(matcher)

    def _range(self, node, function):
        seconds = node.range.total_seconds()
        if function in ("rate", "increase", "irate", "changes", "deriv") and seconds < 4 * SCRAPE_S:
            yield f"promql/rate: a range of {seconds:g} s holds less than four scrapes"
        if function in ("rate", "increase") and node.vector_selector.name in self.recorded:
            yield f"promql/rate: {function} of {node.vector_selector.name}, which is recorded of a rate already"

    def _match(self, node):
        left, right = (self.labels(side) for side in (node.lhs, node.rhs))
        many = node.modifier is not None and str(node.op) not in ("and", "unless", "or") and _is_many(node)
        if many or not (_is_vector(node.lhs) and _is_vector(node.rhs)) or str(node.op) == "or" or "*" in left | right:
            return
        matching = getattr(node.modifier, "matching", None)
        named = set(matching.labels) if matching else set()
        on = matching is not None and matching.type == pp.LabelModifierType.Include
        one, other = (((side & named) if on else side - named) for side in (left, right))
        if on and not named <= left & right:
            yield f"promql/vector_matching: on {sorted(named - left & right)}, which one side has not"
        if not on and one != other:
            yield f"promql/vector_matching: {sorted(one ^ other)} is on one side only, so nothing ever matches"

    # ------------------------------------------------------------ labels

    def family(self, name):
        stem = re.sub(r"_(bucket|sum|count)$", "", name)
        found = self.families.get(name)
        return found or (self.families.get(stem) if stem != name else None)

    def labels(self, node) -> frozenset[str]:
        if isinstance(node, pp.VectorSelector):
            return self._of_name(node)
        if isinstance(node, pp.MatrixSelector):
            return self.labels(node.vector_selector)
        if isinstance(node, pp.Call):
            return self._of_call(node)
        if isinstance(node, pp.AggregateExpr):
            return self._of_aggregation(node)
        if isinstance(node, pp.BinaryExpr):
            return self._of_binary(node)
        return frozenset().union(*(self.labels(child) for child in _children(node)))

    def _of_name(self, node):
        if node.name in self.recorded:
            return self.labels(pp.parse(self.recorded[node.name]))
        family = self.family(node.name)
        if family is None:
            return frozenset(PLACE) if node.name in ("up", "scrape_samples_scraped") else ANY
        own = {"le"} if node.name.endswith("_bucket") else set()
        return frozenset(PLACE | self.subjects[family.name] | set(family.labels) | own)

    def _of_call(self, node):
        known = frozenset().union(*(self.labels(argument) for argument in node.args))
        if node.func.name in ("absent", "vector", "time", "scalar"):
            given = node.args[0].matchers.matchers if node.func.name == "absent" else []
            return frozenset(one.name for one in given if one.op == MatchOp.Equal)
        return known - {"le"} if node.func.name == "histogram_quantile" else known

    def _of_aggregation(self, node):
        known, modifier = self.labels(node.expr), node.modifier
        if modifier is None:
            return known if str(node.op) in ("topk", "bottomk") else frozenset()
        named = frozenset(modifier.labels)
        by = modifier.type == pp.AggModifierType.By
        return (named if "*" in known else known & named) if by else known - named

    def _of_binary(self, node):
        left, right = self.labels(node.lhs), self.labels(node.rhs)
        if not _is_vector(node.lhs) or str(node.op) == "or":
            return left | right
        matching = getattr(node.modifier, "matching", None)
        if not _is_vector(node.rhs) or matching is None or str(node.op) in ("and", "unless"):
            return left
        if _is_many(node):
            return left
        named = frozenset(matching.labels)
        on = matching.type == pp.LabelModifierType.Include
        return left & named if on else left - named


def _subjects():
    """By family: the labels of what it is about. Verdicts of rules have those of any series."""
    about = {family.name: {"probe", "target", "module"} for family in PROBE_FAMILIES}
    about |= {family.name: {"sampler"} for family in SAMPLER_FAMILIES}
    about |= {family.name: set() for family in (*SELF_FAMILIES, *BLACKBOX_FAMILIES)}
    about |= {family.name: {"test", "scenario", "name"} for family in PERF_TEST_FAMILIES}
    for folder, own in (("probes", {"probe", "target", "module"}), ("samplers", {"sampler"})):
        for kind in kinds.names(folder):
            about |= {family.name: own for family in getattr(kinds.load(folder, kind), "FAMILIES", ())}
    for kind in kinds.names("conditions"):
        about |= {family.name: set(ANY) for family in getattr(kinds.load("conditions", kind), "FAMILIES", ())}
    return about


def _is_many(node):
    return node.modifier.card != pp.VectorMatchCardinality.OneToOne


def _is_vector(node):
    if isinstance(node, pp.ParenExpr):
        return _is_vector(node.expr)
    if isinstance(node, pp.BinaryExpr):
        return _is_vector(node.lhs) or _is_vector(node.rhs)
    if isinstance(node, pp.UnaryExpr):
        return _is_vector(node.expr)
    scalar_call = isinstance(node, pp.Call) and node.func.name in ("time", "scalar", "pi")
    return not (scalar_call or isinstance(node, pp.NumberLiteral | pp.StringLiteral))


def _compares(node):
    """Whether each way to fire has a comparison; `absent` is one by itself."""
    if isinstance(node, pp.ParenExpr):
        return _compares(node.expr)
    if isinstance(node, pp.Call):
        return node.func.name in ("absent", "absent_over_time")
    if isinstance(node, pp.BinaryExpr):
        op = str(node.op)
        if op in ("==", "!=", ">", "<", ">=", "<="):
            return True
        sides = [_compares(node.lhs), _compares(node.rhs)]
        return all(sides) if op == "or" else sides[0] if op == "unless" else any(sides)
    return isinstance(node, pp.AggregateExpr) and _compares(node.expr)


def _pattern(matcher):
    if matcher.op not in (MatchOp.Re, MatchOp.NotRe):
        if matcher.name == "le" and re.fullmatch(r"\d+", matcher.value):
            yield f'promql/regexp: le="{matcher.value}" is le="{matcher.value}.0" from Prometheus 3 on'
        return
    if not re.search(r"[.*+?|()\[\]{}\\^$]", matcher.value):
        yield f'promql/regexp: {matcher.name}=~"{matcher.value}" is no pattern'
    if matcher.value.startswith("^") or matcher.value.endswith("$"):
        yield f'promql/regexp: {matcher.name}=~"{matcher.value}" is anchored anyway'


def _children(node):
    return [child for name in ("expr", "lhs", "rhs", "param") if (child := getattr(node, name, None)) is not None]
