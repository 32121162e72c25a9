#!/bin/sh
# Installs ejabberd from the system's packages, where it is missing: `bench/install-ejabberd.sh`. Without
# it the bench leaves its row out, so a system without apt-get is no failure.
set -eu

ls /usr/lib/*/ejabberd-*/ebin/ejabberd.app >/dev/null 2>&1 && exit 0
if ! command -v apt-get >/dev/null; then
    echo "there is no apt-get here: ejabberd will not stand beside Skein" >&2
    exit 0
fi
units=ejabberd.service
command -v epmd >/dev/null || units="$units epmd.service epmd.socket"
"$(dirname "$0")/../tests/apt-install.sh" ejabberd

# Not with the next start of this machine either, nor what came with it.
command -v systemctl >/dev/null || exit 0
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
# shellcheck disable=SC2086
$as_root systemctl --quiet disable $units
