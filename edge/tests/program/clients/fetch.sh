#!/usr/bin/env bash
# Fetches the clients that the tests let talk to the gateway, into target/clients: paho-mqtt from
# PyPI and MQTT.js from npm, at the versions named here. Does nothing when they are there already.
# Exit code 3: the programs that fetch them (python3 with pip, npm) are not installed.
set -euo pipefail
cd "$(dirname "$0")"
folder=$(cd ../../../.. && pwd)/target/clients
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9

for program in python3 npm; do
  command -v "$program" >/dev/null || { echo "$program is not installed"; exit 3; }
done
python3 -m pip --version >/dev/null 2>&1 || { echo "python3 has no pip"; exit 3; }

stamp=$(cat requirements.txt package.json package-lock.json | sha256sum)
[ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ] && exit 0
rm -rf "$folder/python" "$folder/node"
python3 -m pip install --quiet --root-user-action ignore --no-deps --target "$folder/python" -r requirements.txt
mkdir "$folder/node"
cp package.json package-lock.json "$folder/node"
(cd "$folder/node" && npm ci --silent --no-audit --no-fund --ignore-scripts)
echo "$stamp" >"$folder/stamp"
