"""`python -m perfmon` is the console script."""

from perfmon.cli import main

main()
