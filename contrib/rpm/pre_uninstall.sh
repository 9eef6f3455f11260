#!/bin/sh
# $1: how many versions are left after this. An upgrade stops nothing: see post_install.sh.
set -e

if [ "$1" -eq 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now sluicegate.socket sluicegate.service >/dev/null 2>&1 || true
    else
        systemctl --no-reload disable sluicegate.socket sluicegate.service >/dev/null 2>&1 || true
    fi
fi
