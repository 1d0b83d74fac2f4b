"""Watches services for performance and proves it under load."""
