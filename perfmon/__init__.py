"""Watches services for performance and proves it under load."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfmon.monitor.embedded import Monitor

__all__ = ["Monitor", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """What is public is loaded when it is asked for: importing perfmon does nothing."""
    if name == "Monitor":
        import importlib  # noqa: PLC0415 - as above

        return importlib.import_module("perfmon.monitor.embedded").Monitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
