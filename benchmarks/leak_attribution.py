"""Does memray name the call that leaks? Four real leaky releases, each in a process that does other work as well.

    python benchmarks/leak_attribution.py FOLDER [NAME...]

FOLDER holds one folder for each, made beforehand: uv pip install --target FOLDER/numpy numpy==2.4.0, and so on. As
root or with the right to trace; needs gdb. Takes a minute each.
"""

import subprocess
import sys
import time
from pathlib import Path

from perfmon.clock import SystemClock
from perfmon.procfs import Procfs
from perfmon.profile.attribution import Plan, attribute
from perfmon.units import format_quantity

PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
{imports}
def leaking():
    {operation}
def work():
    return [str(number) for number in range(20)]
while True:
    leaking()
    work()
    time.sleep(0.002)
"""
LEAKS = {  # release: what it is loaded by, what leaks
    "numpy==2.4.0": ("import numpy", "numpy.eye(10, dtype=numpy.complex128)"),
    "protobuf==4.22.1": ("from google.protobuf.type_pb2 import Type", "Type().source_context.ByteSize()"),
    "ujson==5.11.0": (
        "import ujson, contextlib",
        "with contextlib.suppress(ValueError): ujson.loads('[' + '1' * 60 + ']')",
    ),
    "multidict==6.6.3": (
        "import multidict",
        "d = multidict.MultiDict(); d['key'] = '1'; d.popall('key'); d['key'] = '2'; del d['key']",
    ),
}


def first_site(folder, release):
    name = release.partition("=")[0]
    imports, operation = LEAKS[release]
    program = PROGRAM.format(imports=imports, operation=operation)
    target = subprocess.Popen([sys.executable, "-c", program, folder / name], stderr=subprocess.DEVNULL)
    try:
        time.sleep(2)
        found = attribute(target.pid, Plan(), graph=None, procfs=Procfs(), clock=SystemClock(), tell=lambda _: None)
        assert target.poll() is None, "the target has not borne it"
    finally:
        target.kill()
        target.wait()
    return found.sites[0]


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    print(f"{'release':<18} {'blocks/s':>9} {'bytes/s':>12}  first place, and whether it is the call that leaks")
    for release in LEAKS:
        if not names or release.partition("=")[0] in names:
            site = first_site(folder, release)
            right = any(frame.function == "leaking" for frame in site.stack)
            rate = format_quantity(site.size_bytes, "bytes", brief=True)
            print(f"{release:<18} {site.blocks:9.0f} {rate:>12}  {site.stack[0].function}  {right}", flush=True)


if __name__ == "__main__":
    main()
