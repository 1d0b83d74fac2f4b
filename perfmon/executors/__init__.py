"""Kinds of executors, one file each: what a test offers to its target, as data. Pure.

Each file exports

    Config    a frozen msgspec Struct with `forbid_unknown_fields=True`
    offer     `offer(config) -> Offer`: arrivals at a rate (`Open`) or users who come again (`Closed`)
    check     optional: `check(config) -> Iterable[tuple[path, message]]`, mistakes that types cannot express

The engine runs whatever is offered; it knows no executor by its name.
"""
