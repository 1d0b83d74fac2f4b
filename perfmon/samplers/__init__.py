"""Kinds of samplers, a file each: what one reading of resources finds.

A sampler is opened once and read many times:

    def open(config: Config, clock: Clock) -> Reader

    class Reader:
        missing: str                       what the last reading sought and did not find, in words; "" when all is there
        def sample(self) -> list[Sample]   one reading
        def to_profile(self, metric: str, labels: Labels) -> Order | None
                                           optional: the process to look into when this series (by its own labels)
                                           leaks; None unless the config gives leave. Called in the event loop's
                                           thread, maybe during a `sample`

`open` reads nothing and never fails. `sample` runs in a worker thread, at most once at a time for one reader; it may
keep what it knows between readings (pids, last counters), and frees everything it opened before it returns. It answers
with samples of the families in `FAMILIES`, labelled with their own labels only: the sampler's name and the user's
labels are added by those who export them.

What cannot be read is absent, never 0. Three cases, each told apart:

- A part is not there (one of several groups has no process; a list had to be cut short): the other samples are
  returned and `missing` says which part. The reading did not fail.
- Nothing at all is there (no such folder as `procfs`): `sample` raises LookupError with the sentence. It is the
  target's state, not our defect; the next reading tries again. (Its subclasses KeyError and IndexError are defects.)
- A file is there and cannot be read (permission denied): its samples are absent, and the kind's own
  `..._read_errors_total` counts it. The reading did not fail.

Anything else that `sample` raises is a defect of ours. Each file exports

    Config      a frozen msgspec Struct with `forbid_unknown_fields=True`
    FAMILIES    the metric families that only this kind has, a tuple of `Family`
    open        the function
    check       optional: `check(config) -> Iterable[tuple[path, message]]`, mistakes that types cannot express
    thresholds  optional: `thresholds(config) -> Mapping[str, Short]`, the words that `thresholds:` may name
    ANY_LABELS  optional: True when its series bring labels that only a reading shows, beside those of `FAMILIES`
    LIFE        optional: the family whose value (when it began, or a number) differs in each life of what is watched,
                with the labels of the series that begin anew with it
    CEILINGS    optional: family -> the family of the same labels that tells what it cannot pass

Counters go up only, for as long as the reader lives; after a restart of perfmon they begin anew, as counters may.
Kinds import no other kind; what they share lies below them, in `perfmon.procfs`.
"""
