#!/bin/sh
# Installs packages of Debian's, without starting a service of theirs: `tests/apt-install.sh PACKAGE...`.
set -eu

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
echo "installing $*"
$as_root apt-get update -qq
# No services of the packages' own: tests and benches start theirs, on free ports.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee /usr/sbin/policy-rc.d >/dev/null
    $as_root chmod +x /usr/sbin/policy-rc.d
    trap '$as_root rm -f /usr/sbin/policy-rc.d' EXIT
fi
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
