#!/bin/sh
# `make image-test`, as root: builds deploy/Dockerfile by buildah and runs what came of it as its own configuration says:
# by its user, on a read-only root, in namespaces of its own. No container engine is needed.
#
# Where the base image cannot be pulled a stand-in takes its name: Debian with its own Python, made by debootstrap. It shows that
# the Dockerfile builds and that the image runs; not what the real base has. IMAGE_BASE=pull takes the real one.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
work=${IMAGE_TEST_DIR:-$here/.run/image}
base=$(sed -n 's/^FROM \(python:[^ ]*\).*/\1/p' "$here/deploy/Dockerfile" | sort -u)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$work"

need() {
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "image-test needs $program: apt-get install buildah debootstrap" >&2; exit 1; }
    done
}

images() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }

stand_in() {
    [ -e "$work/base/done" ] || {
        rm -rf "$work/base"
        debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1 ||
            { tail -5 "$work/debootstrap.log" >&2; exit 1; }
        rm -f "$work"/base/usr/lib/python3*/EXTERNALLY-MANAGED # the real base lets pip install
        touch "$work/base/done"
    }
    container=$(images from scratch)
    images copy -q "$container" "$work/base" /
    # This machine's authorities: some reach the index through a proxy of their own.
    images copy -q "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
    images config --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    images commit -q --rm "$container" "docker.io/library/$base" >/dev/null
}

# The arguments after the context go to buildah.
build_and_run() {
    context=$1; shift
    images bud $pull --format docker --isolation chroot --layers=false --force-rm -t perfmon:image-test -f "$context/deploy/Dockerfile" "$@" "$context" >"$work/build.log" 2>&1 ||
        { tail -20 "$work/build.log" >&2; exit 1; }
    container=$(images from --pull-never perfmon:image-test)
    trap 'images rm "$container" >/dev/null' EXIT
    images inspect "$container" >"$work/image.json"
    unshare --mount --net --pid --fork --mount-proc python3 "$here/tests/image_run.py" "$work/image.json" "$(images mount "$container")"
    images umount "$container" >/dev/null
    images rm "$container" >/dev/null
    trap - EXIT
    images rmi --prune >/dev/null # what has lost its name to this one
}

need buildah unshare setpriv ip
pull=--pull-never
if [ "${IMAGE_BASE:-}" = pull ]; then
    pull=--pull
elif ! images inspect --type image "docker.io/library/$base" >/dev/null 2>&1; then
    need debootstrap
    echo "making a stand-in for $base ..."
    stand_in
fi

echo "of this checkout:"
build_and_run "$here"

echo "of a release, from what \`perfmon assets export\` writes (the release being a wheel of this checkout):"
rm -rf "$work/dist" "$work/exported"
"$here/.venv/bin/python" -m hatchling build -t wheel -d "$work/dist" >/dev/null 2>&1
"$here/.venv/bin/perfmon" assets export "$work/exported" --only compose >/dev/null 2>&1
echo 'find-links = ["/dist"]' >"$work/uv.toml"
build_and_run "$work/exported" --volume "$work/dist:/dist:ro" --volume "$work/uv.toml:/etc/uv/uv.toml:ro"
