"""Which codings of a body an `Accept-Encoding` lets a server choose (RFC 9110, section 12.5.3)."""

__all__ = ["accepts"]


def accepts(value: str, coding: str) -> bool:
    """Whether a server may answer in `coding`; an entry by name counts more than `*`."""
    weights = dict(_weighted(entry) for entry in value.split(",") if entry.strip())
    if coding in weights:
        return weights[coding] > 0
    default = 1.0 if coding == "identity" else 0.0  # which need not be named
    return weights.get("*", default) > 0


def _weighted(entry: str) -> tuple[str, float]:
    name, _, parameters = entry.partition(";")
    key, _, text = parameters.partition("=")
    try:
        weight = float(text) if key.strip().lower() == "q" else 1.0
    except ValueError:
        weight = 1.0
    return name.strip().lower(), weight
