"""Runs `perfmon ARGUMENTS...` as systemd would: under the system calls and socket families that a unit allows.

python sandbox.py UNIT perfmon's arguments... - there is no systemd here that would start the unit, but the kernel's
part of its sandbox can be had without it: a seccomp filter by libseccomp, no new privileges, and no memory that is
both written and executed.
"""

import ctypes
import errno
import socket
import subprocess
import sys
from pathlib import Path

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
EQUAL = 4  # SCMP_CMP_EQ
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def settings(unit, name):
    """All values of a setting, in order."""
    lines = Path(unit).read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def calls(group):
    """The names in one of systemd's groups, those in it included."""
    printed = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    found = set()
    for word in printed.stdout.split("\n")[1:]:
        name = word.strip()
        if name.startswith("@"):
            found |= calls(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def allowed(unit):
    names = calls("@default")
    for value in settings(unit, "SystemCallFilter"):
        for group in value.lstrip("~").split():
            names = names - calls(group) if value.startswith("~") else names | calls(group)
    return names


def enter(unit):
    """From here on the unit's rules hold."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(REFUSE)))
    [families] = settings(unit, "RestrictAddressFamilies")
    for name in allowed(unit):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # of other machines
        if name == "socket":
            for family in families.split():
                rule = Comparison(0, EQUAL, getattr(socket, family), 0)
                check(seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 1, ctypes.byref(rule)))
        else:
            check(seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 0, None))
    assert ["yes"] == settings(unit, "MemoryDenyWriteExecute")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) and ctypes.get_errno() != errno.EINVAL:
        raise OSError(ctypes.get_errno(), "prctl")  # EINVAL: a kernel before 6.3, where systemd does it by seccomp
    check(seccomp.seccomp_load(context))


def check(code):
    if code:
        raise OSError(-code, "libseccomp")


if __name__ == "__main__":
    enter(sys.argv[1])
    from perfmon.cli import run

    sys.exit(run(sys.argv[2:]))
