#!/bin/sh
# $1: how many versions are installed after this, 1 at first.
set -e

unit=sluicegate.service

systemd-sysusers sluicegate.conf

# Made here, not shipped: they hold what is this machine's own, and an upgrade has no business with them.
if [ ! -e /etc/sluicegate/environment ]; then
    install -m 0640 -g sluicegate /dev/null /etc/sluicegate/environment
    cat > /etc/sluicegate/environment <<'ENVIRONMENT'
# Variables of the service, one NAME=value a line, in force with `systemctl restart sluicegate`.
# ANTHROPIC_API_KEY=sk-ant-…
# OPENAI_API_KEY=sk-…
ENVIRONMENT
fi
# Empty, it lets nobody in; `sluicegate key` keeps owner and mode.
if [ ! -e /etc/sluicegate/keys.toml ]; then
    install -m 0640 -g sluicegate /dev/null /etc/sluicegate/keys.toml
fi

# As the distribution's presets say, and whatever the administrator has made of that later on.
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset $unit sluicegate.socket >/dev/null 2>&1 || true
fi
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null 2>&1 || true
    if [ "$1" -gt 1 ] && systemctl --quiet is-active $unit; then
        # An upgrade hands the listening sockets over, and the old process ends what it has begun: no connection is
        # lost. What is new in the unit itself is in force with the next restart.
        systemctl kill --signal=USR2 --kill-whom=main $unit || true
    fi
fi
