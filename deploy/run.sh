#!/bin/sh
# `make run`: the shop and perfmon, until Ctrl-C or until the terminal is closed; neither outlives this script.
set -eu

children=""
trap 'kill $children 2>/dev/null || true; wait' EXIT
trap 'exit 0' HUP INT TERM

other_ports() {
  echo "Other ports: SHOP_PORT=9000 LISTEN=127.0.0.1:9001 make run" >&2
  exit 1
}

mkdir -p .run
sed "s/127\.0\.0\.1:8080/127.0.0.1:$SHOP_PORT/" deploy/run.yml >.run/perfmon.yml
"$BIN/perfmon" simulate shop --port "$SHOP_PORT" >.run/shop.log 2>&1 &
children=$!
sleep 1
kill -0 "$children" 2>/dev/null || { cat .run/shop.log >&2; other_ports; }

cat <<TEXT

  perfmon watches the shop, this machine and itself.

    page      http://$LISTEN/
    metrics   http://$LISTEN/metrics
    the shop  http://127.0.0.1:$SHOP_PORT/

  Ctrl-C ends both.

TEXT
# In the background, because a shell that waits for what is in its foreground hears no signal.
"$BIN/perfmon" serve --config.file .run/perfmon.yml --web.listen-address "$LISTEN" &
children="$children $!"
wait $! || { test $? = 104 && other_ports; exit 1; }
