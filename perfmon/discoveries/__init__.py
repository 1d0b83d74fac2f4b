"""Kinds of discovery, a file each: where targets that come and go are looked up.

A source is opened once, when the configuration is taken, and looked at again and again:

    def open(config: Config, network: Network, clock: Clock) -> Finder

    class Finder:
        async def find(self) -> Listing    all targets that there are now, in Prometheus' form

`open` asks nobody and never fails. `find` ends by itself (a deadline of its own, bounded memory), is never called twice
at a time, and may be cancelled. What it awaits must not block the event loop: files are read in `perfmon.threads`.
Three cases, each told apart:

- The source answers: its targets, none at all included. A single target or group that makes no sense is told in
  `Listing.refused`, and the others count.
- A part of it does not (one of several files): its last targets are among the others, and `Listing.broken` says why.
- Nothing can be learned: `find` raises LookupError with a sentence that shows no secret, and the targets known last go
  on. (Its subclasses KeyError and IndexError are defects, as is anything else that it raises.)

A target's labels are exported as they are but for those that begin with `__`, which tell perfmon how to probe it
(`perfmon.config.discovered` lists them). References (`${env:...}`) in them are plain text: who lists targets may not
read this machine's secrets.

Each file exports

    Config      a frozen msgspec Struct with `forbid_unknown_fields=True`
    open        the function
    refresh_s   `refresh_s(config, interval_s) -> float`, how often to look, given how often the targets are probed
    check       optional: `check(config) -> Iterable[tuple[path, message]]`, mistakes that types cannot express
    within      optional: `within(config, folder) -> Config`, with paths that count from the configuration's folder

Kinds import no other kind; what they share lies below them, in `perfmon.target_groups`.
"""
