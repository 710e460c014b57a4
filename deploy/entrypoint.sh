#!/bin/sh
# Runs a lockstep command. NAME_FILE names a file that holds the value of NAME, so that a secret
# never stands in a container's configuration.
set -eu

for name in LOCKSTEP_DATABASE_URL LOCKSTEP_STORE_API_KEY PGPASSWORD; do
    eval "file=\${${name}_FILE:-}"
    [ -n "$file" ] || continue
    if [ ! -r "$file" ]; then
        echo "${name}_FILE names '$file', which user $(id -u) cannot read." >&2
        exit 1
    fi
    export "$name=$(cat "$file")"
    unset "${name}_FILE"
done

exec lockstep "$@"
