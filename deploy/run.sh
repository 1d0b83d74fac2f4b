#!/bin/sh
# `make run`: the shop in the background, perfmon in front; both end together.
set -eu

mkdir -p .run
sed "s/127\.0\.0\.1:8080/127.0.0.1:$SHOP_PORT/" deploy/run.yml >.run/perfmon.yml
"$BIN/perfmon" simulate shop --port "$SHOP_PORT" >.run/shop.log 2>&1 &
shop=$!
trap 'kill "$shop" 2>/dev/null || true' EXIT
sleep 1
kill -0 "$shop" 2>/dev/null || { cat .run/shop.log >&2; exit 1; }

cat <<TEXT

  perfmon watches the shop, this machine and itself.

    page      http://$LISTEN/
    metrics   http://$LISTEN/metrics
    the shop  http://127.0.0.1:$SHOP_PORT/

  Ctrl-C ends both.

TEXT
"$BIN/perfmon" serve --config.file .run/perfmon.yml --web.listen-address "$LISTEN"
