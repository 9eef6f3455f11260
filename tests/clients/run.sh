#!/usr/bin/env bash
# Runs the gateway against the real client SDKs: tests/clients/run.sh [part of a test's name]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=target/clients-venv
requirements=tests/clients/requirements.txt
if ! cmp -s "$requirements" "$venv/installed.txt"; then
    mkdir -p target
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$venv/installed.txt"
fi
exec "$venv/bin/python" -u tests/clients/test_sdks.py "$@"
