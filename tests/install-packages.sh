#!/bin/sh
# Installs the servers that the tests run, where they are missing: `tests/install-packages.sh`.
# PostgreSQL 15 or later, Redis 7 or later, libfaketime, which turns one process's clock, and what makes
# networks of namespaces: ip, nft, conntrack and ethtool.
set -eu

missing=
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
command -v redis-server >/dev/null && command -v redis-cli >/dev/null || missing="$missing redis-server"
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
# Programs of root's, which are not on everybody's path.
PATH="$PATH:/usr/sbin:/sbin"
command -v ip >/dev/null || missing="$missing iproute2"
command -v nft >/dev/null || missing="$missing nftables"
command -v conntrack >/dev/null || missing="$missing conntrack"
command -v ethtool >/dev/null || missing="$missing ethtool"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "the tests need PostgreSQL 15, Redis 7, libfaketime, iproute2, nftables, conntrack and ethtool: install them by hand" >&2
    echo "(there is no apt-get here; missing:$missing)" >&2
    exit 1
fi
# shellcheck disable=SC2086
exec "$(dirname "$0")/apt-install.sh" $missing
