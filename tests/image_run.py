"""Runs the image that tests/image_test.sh built, in the namespaces that this finds itself in, and looks what it does.

python3 image_run.py BUILDAH-INSPECT.json ROOT - needs nothing but the standard library, and root. What is shown: the image's
own user, command, health check and environment; a root that cannot be written; metrics; an end in order.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

CONFIG = """
probes: [{name: itself, interval: 1s, targets: ["http://127.0.0.1:10737/-/healthy"]}]
samplers: [{name: own, interval: 1s, process: {groups: [{name: perfmon, self: true}]}}]
state: {path: /var/lib/perfmon/perfmon.sqlite3}
"""


def mounted(root):
    """A read-only root with what `docker run --read-only --tmpfs /tmp -v perfmon:/var/lib/perfmon -v ...` puts into it."""

    def mount(*arguments):
        subprocess.run(["mount", *arguments], check=True)

    (root / "etc/perfmon").mkdir(exist_ok=True)
    (root / "etc/perfmon/perfmon.yml").write_text(CONFIG)
    owner = (root / "var/lib/perfmon").stat()
    mount("--make-rprivate", "/")
    mount("--bind", str(root), str(root))
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("--bind", "/dev", f"{root}/dev")
    mount("-t", "tmpfs", "-o", "size=16m,mode=1777,noexec", "tmpfs", f"{root}/tmp")
    volume = f"size=16m,uid={owner.st_uid},gid={owner.st_gid},mode={owner.st_mode & 0o777:o}"
    mount("-t", "tmpfs", "-o", volume, "tmpfs", f"{root}/var/lib/perfmon")
    mount("-o", "remount,ro,bind", str(root))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def inside(root, config, command):
    """A command as the image's user, without any capability."""
    user, _, group = config["User"].partition(":")
    dropped = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    workdir = f'cd {config["WorkingDir"]} && exec "$@"'
    return ["chroot", root, "/usr/bin/setpriv", *dropped, "/bin/sh", "-c", workdir, "sh", *command]


def main(file, root):
    config = json.loads(Path(file).read_text())["OCIv1"]["config"]
    docker = json.loads(Path(file).read_text())["Docker"]["config"]
    env = dict(variable.split("=", 1) for variable in config["Env"])
    mounted(Path(root))

    def run(*command):
        return subprocess.run(
            inside(root, config, command), capture_output=True, text=True, check=False, env=env, timeout=60
        )

    print("user", config["User"], "runs", *config["Entrypoint"], *config["Cmd"])
    assert "65532:65532" == config["User"]
    process = subprocess.Popen(inside(root, config, [*config["Entrypoint"], *config["Cmd"]]), env=env)
    try:
        check = docker["Healthcheck"]["Test"]
        assert "CMD" == check[0]
        deadline = time.monotonic() + 60
        while (ran := run(*check[1:])).returncode:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, ran.stderr
            time.sleep(0.2)
        print("health check:", ran.stdout.strip())
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "\nUid:\t65532\t65532\t65532\t65532\n" in status, status
        assert "\nCapBnd:\t0000000000000000\n" in status, status
        for path in ("/here", "/opt/perfmon/here", "/etc/perfmon/here"):
            refused = run("touch", path)
            assert refused.returncode, f"{path} can be written"
        print("root:", refused.stderr.strip().rpartition(": ")[2].lower())
        page = run("python", "-c", READ).stdout
        assert "\nperfmon_build_info{" in page
        assert "\nprobe_success{" in page
        print("metrics:", len(page.splitlines()), "lines")
        listed = run("perfmon", "assets", "list").stdout
        assert "deploy/systemd/perfmon.service" in listed
    finally:
        process.terminate()
        code = process.wait(30)
    assert 0 == code, code
    assert Path(root, "var/lib/perfmon/perfmon.sqlite3").stat().st_uid == 65532
    print("ended in order, state kept")


READ = """
import time, urllib.request
while True:
    page = urllib.request.urlopen("http://127.0.0.1:10737/metrics").read().decode()
    if "probe_success{" in page:
        break
    time.sleep(0.2)
print(page)
"""

if __name__ == "__main__":
    os.umask(0o022)
    main(*sys.argv[1:])
