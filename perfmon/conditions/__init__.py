"""Kinds of conditions, one file each: `evaluate(window, config) -> Verdict`, pure."""
