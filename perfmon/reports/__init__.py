"""Kinds of reports, one file each: what is written of a test. Pure.

Each file exports

    FILE      the name of its file in the run's folder
    render    `render(report) -> str`
"""
