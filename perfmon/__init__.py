"""Watches services for performance and proves it under load."""

__all__ = ["__version__"]

__version__ = "0.1.0"
