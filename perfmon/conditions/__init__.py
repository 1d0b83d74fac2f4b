"""Kinds of conditions, one file each: `evaluate(window, config) -> Verdict`, pure.

Each file exports

    Config      a frozen msgspec Struct; where a file's form differs, `Written` is its type and `parse(raw)` reads it
    span_s      `span_s(config)`: how far back a window must reach
    evaluate    the function

and, where they mean something,

    problem     `problem(config, series_type, unit)`: why it makes no sense for such a series, in words
    for_s       `for_s(config)`: how long it must be broken before somebody is told, in place of the rule's `for`
    severities  `severities(config)`: the levels that it names itself
    every_s     `every_s(config)`: how often to judge. Without it that is done at each point, on raw points; with it
                apart from the points, on a past that is summarised where it is long, kept over restarts, and cut
                where what is watched began anew
    count_spans `count_spans(config)`: spans over which runs and failures are counted for it (`Window.counts`)
    counters    `counters(config)`: metric and select of the counters whose sum a window has as its `requests`, or None
    beside      `beside(config)`: the other series that a window brings along, each with `metric`, `select`, and the
                `setting` that asks for it
    looks_back_s
                `looks_back_s(config)`: how far back a point bears on the verdict, where that is not `span_s`
    written     `written(config)`: the settings in the form of a file; without it they are shown as they are
    promql      `promql(config, source, severity)`: where it is broken, as an expression for Prometheus' rules
                (`perfmon.promql`); ValueError says why it cannot be said. A kind without it cannot be said at all
    FAMILIES    the gauges that its verdicts carry as `facts`
"""
