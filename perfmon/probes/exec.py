"""Run a program, and judge its exit code and what it printed.

Phases: `connect` is its start, `processing` its run. Which program runs is the config file's to say: of a target, or a
`hostname` of `/probe`, the program gets at most arguments, and never one that could be taken for an option.
"""

import os
import re
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from perfmon.metrics import Family
from perfmon.model import Failure, Reason, Target, fact_key
from perfmon.patterns import compile_pattern, problem
from perfmon.printed import Number, nagios_numbers, prometheus_numbers
from perfmon.program import Ended, Program, run
from perfmon.secret import hidden, quoted_or_masked, without
from perfmon.trace import Trace
from perfmon.units import Bytes, format_bytes, format_duration, quoted

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run, with what around it, and how it must end."""

    command: Annotated[list[str], msgspec.Meta(min_length=1)]  # The program and its arguments.
    env: dict[str, str] = {}  # The program's environment, secrets by reference.
    env_pass: list[str] = []  # Variables of perfmon's own environment to pass on, where they are set.
    working_directory: str = ""  # Where it runs. Without it, where perfmon does.
    stdin: str = ""  # What it can read.
    output: Literal["text", "prometheus", "nagios"] = "text"  # Where numbers stand in what it prints.
    output_limit: Annotated[Bytes, msgspec.Meta(ge=1, le=1 << 20)] = 65_536.0  # The most it may print.

    valid_exit_codes: list[int] = []  # Exit codes that are fine. Without any, 0.
    fail_if_output_matches_regexp: list[str] = []  # Fail when one of these (RE2) is found in its stdout.
    fail_if_output_not_matches_regexp: list[str] = []  # Fail when one of these (RE2) is not found in it.


FAMILIES = (
    Family("perfmon_exec_exit_code", "gauge", "How the program ended; -15 when a signal, here SIGTERM, ended it."),
    Family("perfmon_exec_output_bytes", "gauge", "What the program printed, up to the limit.", (), "bytes"),
    Family("perfmon_exec_value", "gauge", "Numbers that the program printed, with their own labels.", ("name",)),
    Family("perfmon_exec_values_ignored", "gauge", "Numbers that it printed and that are too many to export."),
)

MOST_VALUES = 100  # numbers of a run that are exported
_GRACE_SHARE, _GRACE_S = 0.1, 1.0  # of its time for a program to heed SIGTERM, and the most of it
_SHOWN = 200  # characters of what it printed
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TARGET, _HOSTNAME = "{target}", "{hostname}"
_STARTERS = frozenset(
    ("busybox", "chroot", "doas", "env", "ionice", "nice", "nohup", "setsid", "stdbuf", "sudo", "timeout", "xargs")
)
_HAND_ON = frozenset(("flock", "runuser", "su"))
_WITH_VALUE = frozenset(("-o", "-O", "-W", "-X"))  # options of sh and Python whose value is no script
_INTERPRETERS = re.compile(r"(ba|da|k|z|a|fi)?sh|python[0-9.]*|perl|ruby|node|php|lua")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[^\x00-\x1f\x7f]*")
_NAGIOS_STATES = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from _bad_command(config)
    yield from _bad_env(config)
    if config.working_directory and not Path(config.working_directory).is_dir():
        yield "working_directory", f"no such folder: {quoted(config.working_directory)}"
    for index, code in enumerate(config.valid_exit_codes):
        if not 0 <= code <= 255:
            yield f"valid_exit_codes[{index}]", f"expected an exit code of 0 to 255, got {code}"
    for field in ("fail_if_output_matches_regexp", "fail_if_output_not_matches_regexp"):
        for index, text in enumerate(getattr(config, field)):
            if message := problem(text):
                yield f"{field}[{index}]", message


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be given to a program."""
    return _objection("the target", address)


def _bad_command(config: Config) -> Iterator[tuple[str, str]]:
    name = config.command[0]
    if _TARGET in name or _HOSTNAME in name:
        yield "command[0]", "the program must be named here, so that no target can choose it"
    elif "/" in name and not name.startswith("/"):
        yield "command[0]", f"expected an absolute path, or a name to be found in PATH, got {quoted_or_masked(name)}"
    elif not shutil.which(name, path=_env(config).get("PATH", "")):
        yield "command[0]", f"no program {quoted_or_masked(name)} that could be run"
    for index, argument in enumerate(config.command):
        if "\0" in argument:
            yield f"command[{index}]", "a text without the character NUL is expected"
    for index in sorted(set(_scripts(config.command))):
        if _TARGET in config.command[index] or _HOSTNAME in config.command[index]:
            hint = """give it as an argument: [sh, -c, 'ping "$1"', sh, "{target}"]"""
            yield f"command[{index}]", f"the target would be a part of the script, and could say anything; {hint}"


def _scripts(command: Sequence[str]) -> Iterator[int]:
    """Where a script may stand, or its file: a target within one would be read as a part of it, `localhost; reboot`.

    These are all words behind an interpreter, up to the first that is no option, also where another program starts
    it; and what `su` and its like hand to a shell.
    """
    name = Path(command[0]).name
    if name in _HAND_ON:
        yield from (index + 1 for index, word in enumerate(command[:-1]) if word in ("-c", "--command"))
    interpreters = (index for index, word in enumerate(command) if _INTERPRETERS.fullmatch(Path(word).name))
    first = next(interpreters, len(command))
    if first and name not in _STARTERS | _HAND_ON:
        return
    for index in range(first + 1, len(command)):
        yield index
        if not command[index].startswith("-") and command[index - 1] not in _WITH_VALUE:
            return


def _bad_env(config: Config) -> Iterator[tuple[str, str]]:
    for name, value in config.env.items():
        if not _NAME.fullmatch(name) or name.startswith("PERFMON_"):
            yield f"env.{name}", f"expected the name of a variable, PERFMON_ not at its beginning, got {quoted(name)}"
        if "\0" in value:
            yield f"env.{name}", "a text without the character NUL is expected"
    for index, name in enumerate(config.env_pass):
        if not _NAME.fullmatch(name):
            yield f"env_pass[{index}]", f"expected the name of a variable, got {quoted(name)}"
        if name in config.env:
            yield f"env_pass[{index}]", f"{quoted(name)} stands in env too, expected it in one of them"


def _objection(what: str, text: str) -> str | None:
    """Why a text from outside is no argument: one that begins with a dash would be an option."""
    if text.startswith("-"):
        return f'{what} begins with "-", and the program would take it for an option'
    return None if _PLAIN.fullmatch(text) else f"{what} holds a control character"


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the program ends in time, with an exit code and an output that are fine."""
    refused = _objection("the target", target.address) or _objection("the hostname", target.hostname)
    if refused:
        return Failure(reason="permission", phase="", message=refused)
    env = _env(config)
    trace.begin("connect")
    try:
        ended = await _run(target, config, env, trace)
    except OSError as error:
        message = f"{_program(config)} cannot be started: {(error.strerror or str(error)).lower()}"
        reason: Reason = "permission" if isinstance(error, PermissionError) else "unreachable"
        return Failure(reason=reason, phase="connect", message=message)
    finally:
        trace.end()
    _write_facts(ended, config, trace)
    secrets = _passed_on(config, env)
    if trace.steps is not None:
        _tell_demands(ended, config, secrets, trace)
    return without(secrets, _judge(ended, config, trace))


async def _run(target: Target, config: Config, env: Mapping[str, str], trace: Trace) -> Ended:
    left_s = trace.remaining()
    patience_s = left_s - min(_GRACE_S, left_s * _GRACE_SHARE)
    program = Program(
        arguments=[_filled(argument, target) for argument in config.command],
        env={
            **env,
            "PERFMON_TIMEOUT_SECONDS": f"{patience_s:.3f}",
            "PERFMON_DEADLINE": f"{trace.clock.wall() + patience_s:.3f}",
        },
        directory=config.working_directory,
        stdin=config.stdin.encode(),
        limit_bytes=int(config.output_limit),
    )
    trace.note("starting", program=_program(config), arguments=len(program.arguments) - 1)
    return await run(
        program,
        clock=trace.clock,
        patience=trace.clock.monotonic() + patience_s,
        deadline=trace.deadline,
        on_start=lambda: trace.begin("processing"),
    )


def _filled(argument: str, target: Target) -> str:
    """In one pass: a target that says `{hostname}` means nothing by it."""
    values = {_TARGET: target.address, _HOSTNAME: target.hostname}
    return re.sub(r"\{target\}|\{hostname\}", lambda found: values[found[0]], argument)


def _env(config: Config) -> dict[str, str]:
    passed = {name: os.environ[name] for name in config.env_pass if name in os.environ}
    return {"PATH": _PATH} | passed | config.env


def _program(config: Config) -> str:
    return quoted_or_masked(config.command[0])


# ---------------------------------------------------------------- the verdict


def _judge(ended: Ended, config: Config, trace: Trace) -> Failure | None:
    found = _cut(ended, config, trace) or _wrong_exit(ended, config) or _wrong_output(ended, config)
    if found is None:
        return None
    reason, message = found
    said = {"stdout": _text(ended.stdout)[:_SHOWN], "stderr": _text(ended.stderr)[:_SHOWN]}
    evidence = {name: text for name, text in said.items() if text}
    if ended.exit_code is not None and not ended.cut:
        evidence = {"exit_code": str(ended.exit_code)} | evidence
    return Failure(reason=reason, phase="processing", message=message, evidence=evidence)


def _tell_demands(ended: Ended, config: Config, secrets: Sequence[str], trace: Trace) -> None:
    """What the program printed and all that is demanded of it, for the explanation."""
    for name, printed in (("stdout", ended.stdout), ("stderr", ended.stderr)):
        if printed:
            trace.said("target", f"{name}: {without(secrets, _text(printed)[:_SHOWN])}")
    codes = " or ".join(map(str, config.valid_exit_codes or [0]))
    got = ended.cut or ended.exit_code
    trace.demand("exit code", expected=codes, got=got, met=not ended.cut and _wrong_exit(ended, config) is None)
    for texts, must_match in (
        (config.fail_if_output_matches_regexp, False),
        (config.fail_if_output_not_matches_regexp, True),
    ):
        for text in texts:
            found = compile_pattern(text).search(ended.stdout) is not None
            expected = f"{'matches' if must_match else 'does not match'} {quoted_or_masked(text)}"
            trace.demand("output", expected=expected, got="a match" if found else "no match", met=found == must_match)


_Found = tuple[Reason, str] | None


def _cut(ended: Ended, config: Config, trace: Trace) -> _Found:
    if ended.cut == "timeout":
        took = format_duration(trace.phases.get("processing", 0.0), brief=True)
        return "timeout", f"{_program(config)} had not ended after {took}"
    if ended.cut == "too_large":
        return "too_large", f"{_program(config)} printed more than {format_bytes(config.output_limit)}"
    return None


def _wrong_exit(ended: Ended, config: Config) -> _Found:
    code, valid = ended.exit_code, config.valid_exit_codes or [0]
    if code in valid:
        return None
    expected = f"expected {' or '.join(map(str, valid))}"
    if code is not None and code < 0:
        return "status", f"{_program(config)} was ended by {_signal(-code)}, {expected}"
    if config.output == "nagios":
        said = next(iter(_text(ended.stdout).partition("|")[0].strip().splitlines()), "")
        return "status", f"{_NAGIOS_STATES.get(code or 0, 'no state of Nagios')} (exit code {code}): {said[:_SHOWN]}"
    return "status", f"{_program(config)} ended with exit code {code}, {expected}"


def _wrong_output(ended: Ended, config: Config) -> _Found:
    for texts, must_match in (
        (config.fail_if_output_matches_regexp, False),
        (config.fail_if_output_not_matches_regexp, True),
    ):
        for text in texts:
            if (compile_pattern(text).search(ended.stdout) is not None) != must_match:
                return "body", f"output {'does not match' if must_match else 'matches'} {quoted_or_masked(text)}"
    return None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _passed_on(config: Config, env: Mapping[str, str]) -> tuple[str, ...]:
    """What must not be shown, should the program print it; what the module says is hidden in any case."""
    return hidden({name: env[name] for name in config.env_pass if name in env})


# ---------------------------------------------------------------- facts


def _write_facts(ended: Ended, config: Config, trace: Trace) -> None:
    """All that it said, also before it failed."""
    if ended.exit_code is not None:
        trace.facts["perfmon_exec_exit_code"] = float(ended.exit_code)
    trace.facts["perfmon_exec_output_bytes"] = float(len(ended.stdout) + len(ended.stderr))
    read = {"prometheus": prometheus_numbers, "nagios": nagios_numbers}.get(config.output)
    if read is None:
        return
    values = {key: number.value for number in read(_text(ended.stdout)) if (key := _key(number))}
    for key, value in list(values.items())[:MOST_VALUES]:
        trace.heard(key, value)
    trace.facts["perfmon_exec_values_ignored"] = float(max(0, len(values) - MOST_VALUES))


def _key(number: Number) -> str:
    """The key of its gauge; its own label `name` gives way, and those that the page may have to invent are refused."""
    if any(name.startswith(("__", "exported_")) for name in number.labels):
        return ""
    own = {"label_name" if name == "name" else name: number.labels[name] for name in sorted(number.labels)}
    return fact_key("perfmon_exec_value", **{"name": number.name} | own)
