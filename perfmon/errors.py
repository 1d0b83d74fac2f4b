"""Everything perfmon raises on purpose.

    PerfmonError                     exit 1
    ├── ConfigError                  exit 104   one or many mistakes in files a user wrote
    ├── UsageError                   exit 104   flags or arguments that make no sense together
    ├── ThresholdFailed              exit 99    a threshold or gate was not met
    ├── Interrupted                  exit 105   a person or a signal ended the work early
    ├── ReceiverError
    │   ├── PassingError             exit 1     worth another try: timeouts, 5xx, connection refused
    │   └── PermanentError           exit 1     trying again cannot help: 4xx, bad address
    ├── StoreError                   exit 1     the state file cannot be read or written
    └── ProfileError                 exit 1     a process cannot be profiled; it goes on as before

A failure of a *target* is none of these: it is data (`perfmon.model.Failure`).
"""

from collections.abc import Sequence

import msgspec

EXIT_FINE = 0
EXIT_DEFECT = 1
EXIT_INVALID_RUN = 97
EXIT_REGRESSION = 98
EXIT_THRESHOLD = 99
EXIT_CONFIG = 104
EXIT_INTERRUPTED = 105


class PerfmonError(Exception):
    """Base of all errors that carry a sentence for a person and an exit code."""

    exit_code = EXIT_DEFECT


class UsageError(PerfmonError):
    """Flags or arguments that make no sense together."""

    exit_code = EXIT_CONFIG


class Problem(msgspec.Struct, frozen=True, order=True):
    """One mistake in a file: where it is, what stood there, what was expected."""

    file: str
    line: int  # from 1; 0 when the file as a whole is meant
    path: str  # "probes[2].interval", "" for the whole file
    message: str  # lower case, names what stood there and what was expected

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(PerfmonError):
    """All mistakes found in one reading of the configuration, in the order of their lines."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ThresholdFailed(PerfmonError):
    """A threshold or gate was not met."""

    exit_code = EXIT_THRESHOLD


class Interrupted(PerfmonError):
    """A person or a signal ended the work early."""

    exit_code = EXIT_INTERRUPTED


class ReceiverError(PerfmonError):
    """A receiver did not take a notification."""


class PassingError(ReceiverError):
    """Worth another try: a timeout, a refused connection, a 5xx, a 429."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class PermanentError(ReceiverError):
    """Trying again cannot help: a 4xx, an address that cannot be."""


class StoreError(PerfmonError):
    """The state file cannot be read or written."""


class ProfileError(PerfmonError):
    """A process cannot be profiled, or not to the end; it goes on as before."""
