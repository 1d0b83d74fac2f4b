"""Kinds of probes, a file each: what one run against one target does.

A probe is a function:

    async def probe(target: Target, config: Config, trace: Trace) -> Failure | None

It answers `None` when the target did what `config` demands, or the `Failure` that says why not. A target's fault is
never an exception; what a probe raises is a defect of its own. While it runs it writes into `trace`: phases as they
end, facts by keys made with `fact_key` once, at import. `perfmon.measure` sets the deadline and cancels what overruns
it, but a probe knows `trace.deadline` and ends by itself, with the phase in which time ran out.

Each file exports

    Config      a frozen msgspec Struct with `forbid_unknown_fields=True`
    FAMILIES    the metric families that only this kind has, a tuple of `Family`
    probe       the function
    check       optional: `check(config) -> Iterable[tuple[path, message]]`, mistakes that types cannot express

Kinds import no other kind; what they share lies below them, in `perfmon.network`.
"""
