#!/bin/sh
# Makes the passwords that docker-compose.yml names, each once: what is there stays as it is.
#   sh deploy/make-secrets.sh [FOLDER]
set -eu

folder=${1:-"$(dirname "$0")/secrets"}
mkdir -p "$folder"
# The folder keeps others out. The files are mounted one by one, for users of other numbers.
chmod 700 "$folder"
for name in postgres_password grafana_password; do
    [ -s "$folder/$name" ] && continue
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
    chmod 644 "$folder/$name"
    echo "made $folder/$name"
done
