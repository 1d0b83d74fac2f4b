"""The console script, and `python -m perfmon`: quiet when it is interrupted before the command line is even loaded."""

import sys

__all__ = ["main"]

_INTERRUPTED = 105  # perfmon.errors.EXIT_INTERRUPTED, whose module may not have been loaded by then


def main() -> None:
    """Load the command line, and run it."""
    try:
        from perfmon import cli  # noqa: PLC0415 - here, so that Ctrl-C meanwhile shows nobody a traceback
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    cli.main()


if __name__ == "__main__":
    main()
