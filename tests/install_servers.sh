#!/bin/sh
# Installs the servers that tests marked `servers` run against. Without root it installs nothing:
# those tests are then skipped with the reason, and fail where CI=true.
set -eu

packages="prometheus prometheus-alertmanager prometheus-blackbox-exporter nginx-light chromium chromium-driver
    postgresql mariadb-server redis-server gdb systemd libseccomp2"
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed, and no root to install them:$missing (tests that need them are skipped)" >&2
    exit 0
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# The packages start their servers on install; the tests start their own, on ports of their own.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.perfmon && chmod +x /usr/sbin/policy-rc.d.perfmon
[ -e /usr/sbin/policy-rc.d ] || { mv /usr/sbin/policy-rc.d.perfmon /usr/sbin/policy-rc.d; ours=1; }
trap 'rm -f /usr/sbin/policy-rc.d.perfmon; [ -z "${ours:-}" ] || rm -f /usr/sbin/policy-rc.d' EXIT
apt-get update -qq
# shellcheck disable=SC2086  # a list of names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
