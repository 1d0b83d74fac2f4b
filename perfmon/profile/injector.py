"""Run memray's `attach` or `detach`, and end in order whatever happens.

    python -m perfmon.profile.injector LIMIT_S attach ...

memray lets gdb set breakpoints in the target and waits for one to be hit. A gdb that ends by SIGTERM or SIGKILL leaves
them where they are, and the target dies of SIGTRAP when it next allocates: measured, and it is how a service manager
that stops perfmon's whole control group would end somebody else's service. Only SIGINT makes gdb take them out again.

So this process stands between. It outlives a perfmon that is killed, bears a time limit of its own, and blocks the
signals that mean an end: gdb inherits that, and is sent SIGINT in their place.
"""

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable

EXIT_INTERRUPTED = 75  # the time was over, or a signal came; memray's own codes are 0, 1 and 2

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_ASK_EACH_S = 3.0  # gdb needs far less to stop the target once more, take its breakpoints out and let go
_ASK_TIMES = 4  # one that is just being started does not hear the first


def main() -> int:
    """Run memray with the arguments after the time limit in seconds; must lead a process group of its own."""
    limit_s, arguments = float(sys.argv[1]), sys.argv[2:]
    # A gdb that crashes would leave a core of 90 MB wherever perfmon was started.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    # Not ignored, which gdb would inherit. And no KeyboardInterrupt: `subprocess` would kill gdb a moment after it.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    run = _memray()
    watch = _Watch(limit_s)
    threading.Thread(target=watch.wait, daemon=True).start()
    code = run(arguments)
    return EXIT_INTERRUPTED if watch.interrupted and code else code


class _Watch:
    """Sees to it that gdb ends in time."""

    def __init__(self, limit_s: float) -> None:
        self.interrupted = False
        self._limit_s = limit_s

    def wait(self) -> None:
        signal.sigtimedwait(_ENDING, self._limit_s)
        self.interrupted = True
        for _ in range(_ASK_TIMES):
            os.killpg(0, signal.SIGINT)
            signal.sigtimedwait((), _ASK_EACH_S)
        # gdb has gone, or cannot be helped; what still waits is memray, for a target that does not answer.
        os._exit(EXIT_INTERRUPTED)


def _memray() -> Callable[[list[str]], int]:
    """Its command line; to load it takes a while, in which no gdb is there to be interrupted."""
    from memray import commands  # noqa: PLC0415 - the signals come first
    from memray.commands import attach  # noqa: PLC0415 - as above

    # The timer that ends the tracking must not keep a program alive that is done: Python waits for other threads.
    attach.PAYLOAD = attach.PAYLOAD.replace("thread.daemon = False", "thread.daemon = True")
    return commands.main


if __name__ == "__main__":
    sys.exit(main())
