#!/bin/sh
# Makes the JSON Schemas that tests/provision/test_dashboards.py holds dashboards against, from Grafana's own types.
# Run by hand when Grafana's image in docker-compose.yml moves: sh tests/provision/schema/make.sh
# Needs node and npm. What it writes is committed, so that tests need neither.
set -eu

GRAFANA=13.2.3 # @grafana/schema (Apache-2.0) is released with Grafana, under its number
GENERATOR=2.9.0

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --silent "@grafana/schema@$GRAFANA" "ts-json-schema-generator@$GENERATOR"
types=node_modules/@grafana/schema/dist/types/raw

schema() { # TYPE FILE
	npx ts-json-schema-generator --no-type-check --type "$1" --path "$2" 2>/dev/null
}

schema Dashboard "$types/dashboard/x/types.gen.d.ts" >"$here/dashboard.json"
for kind in bargauge heatmap stat statetimeline table timeseries; do
	file=$types/composable/$kind/panelcfg/x/types.gen.d.ts
	schema Options "$file" >"$here/$kind.options.json"
	if grep -q '^export interface FieldConfig' "$file"; then
		schema FieldConfig "$file" >"$here/$kind.custom.json"
	fi
done
