"""Logging: structlog events with fields, one line per change of state, to stderr."""

import contextlib
import io
import logging
import sys
from typing import Literal, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer

__all__ = ["configure"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Libraries that log through the standard library; what they say below this is their own business.
_LIBRARIES_LEVEL = logging.WARNING


def configure(
    *, level: Literal["debug", "info", "warning", "error"], form: Literal["console", "json"], libraries: bool = True
) -> None:
    """Send everything to stderr, as lines for a person or as JSON, one object a line.

    Without `libraries`, the standard library's logging is left as it is.
    """
    stderr = cast("TextIO", _Unfailing())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.typing.Processor]
    if form == "json":
        tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        last = [tracebacks, structlog.processors.JSONRenderer()]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=0,
                sort_keys=False,
                # Never with local variables: among them are passwords that were about to be sent.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stderr),
        cache_logger_on_first_use=False,
    )
    if libraries:
        _take_in_libraries(stderr, shared, last)


def _take_in_libraries(
    stderr: TextIO, shared: list[structlog.typing.Processor], last: list[structlog.typing.Processor]
) -> None:
    handler = logging.StreamHandler(stderr)
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_without_record, *last])
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=_LIBRARIES_LEVEL, force=True)


class _Unfailing(io.TextIOBase):
    """stderr, where a line can be lost: its reader may go away, its disk may fill up, and the watching goes on."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):  # there is nobody left to tell
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):  # as above
            sys.stderr.flush()


def _without_record(
    logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, name, event)
