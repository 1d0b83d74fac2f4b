"""Status codes as people write them: 404, "200-299", "2xx", or several of these in one text."""

import re
from collections.abc import Iterable, Sequence

from perfmon.units import quoted

__all__ = ["check", "parse", "shown"]

_LOWEST, _HIGHEST = 100, 599
_RANGE = re.compile(r"([0-9]{3})(?:\s*-\s*([0-9]{3}))?")
_CLASS = re.compile(r"([1-5])[xX]{2}")


def parse(written: Iterable[int | str]) -> frozenset[int]:
    """All codes that are meant; ValueError with a sentence."""
    return frozenset(code for item in written for code in _codes(item))


def check(path: str, written: Sequence[int | str]) -> Iterable[tuple[str, str]]:
    """What is wrong with the items of a setting, as (path, message)."""
    for index, item in enumerate(written):
        try:
            _codes(item)
        except ValueError as error:
            yield f"{path}[{index}]", str(error)


def shown(codes: Iterable[int]) -> str:
    """Codes for a message: `200-299, 404`."""
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _codes(item: int | str) -> list[int]:
    if isinstance(item, int):
        if not _LOWEST <= item <= _HIGHEST:
            raise ValueError(f"expected a status code of {_LOWEST} to {_HIGHEST}, got {item}")
        return [item]
    return [code for part in item.split(",") for code in _range(part.strip(), item)]


def _range(part: str, item: str) -> range:
    if found := _CLASS.fullmatch(part):
        low = 100 * int(found[1])
        return range(low, low + 100)
    found = _RANGE.fullmatch(part)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not _LOWEST <= low <= high <= _HIGHEST:
        raise ValueError(
            f"expected status codes of {_LOWEST} to {_HIGHEST} such as 404, 200-299 or 2xx, got {quoted(item)}"
        )
    return range(low, high + 1)
