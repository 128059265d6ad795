#!/bin/sh
# Makes what compose.yaml has for secrets, at random: make-secrets.sh [DIRECTORY] (beside this script: secrets). What is
# there already stays, but for what follows from the rest: the ACL of Redis and the token of Prometheus, for a year each
# time.
set -eu

# Containers read the files as users of their own; who may not enter the directory gets at none of them.
directory="${1:-$(dirname "$0")/secrets}"
umask 022
mkdir -p "$directory"
chmod 700 "$directory"
cd "$directory"

make() { # FILE COMMAND...
    file="$1"
    shift
    [ -s "$file" ] || "$@" | tr -d '\n' >"$file"
}

make auth_secret openssl rand -base64 48
make http_api_key openssl rand -hex 24
make grafana_password openssl rand -hex 12
[ -s mqtt_passwords ] || printf 'server:%s\n' "$(openssl rand -hex 24)" >mqtt_passwords
make mqtt_url sed -n 's|^server:\(.*\)|mqtt://server:\1@mosquitto:1883|p' mqtt_passwords
make redis_url printf 'redis://valtronics:%s@redis:6379' "$(openssl rand -hex 24)"

digest="$(sed 's|.*//valtronics:\(.*\)@.*|\1|' redis_url | tr -d '\n' | openssl dgst -sha256 -r | cut -d ' ' -f 1)"
cat >redis_acl <<ACL
user default off
user health on nopass -@all +ping
user valtronics on #$digest ~{valtronics}:* &{valtronics}:* -@all +@connection +@pubsub +@scripting +@stream +@string +info +time
ACL

# Prometheus may read the figures, and do nothing else (`valtronics-fast token --sub prometheus --monitor`).
# HMAC (RFC 2104) is done by hand, since openssl wants the key on its command line, which all users of a machine see.
key() {
    if [ "$(wc -c <auth_secret)" -gt 64 ]; then openssl dgst -sha256 -binary auth_secret; else cat auth_secret; fi
    head -c 64 /dev/zero
}
padded_key() {
    for byte in $(key | head -c 64 | od -An -v -t u1); do
        # shellcheck disable=SC2059 # the format is the byte
        printf "\\$(printf %03o "$((byte ^ $1))")"
    done
}
hash() { openssl dgst -sha256 -binary; }
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
expiry="$(($(date +%s) + 365 * 24 * 3600))"
claims="{\"sub\":\"prometheus\",\"exp\":$expiry,\"channels\":[],\"devices\":[],\"monitor\":true}"
unsigned="$(printf '{"alg":"HS256","typ":"JWT"}' | base64url).$(printf %s "$claims" | base64url)"
signature="$({ padded_key 92; { padded_key 54; printf %s "$unsigned"; } | hash; } | hash | base64url)"
printf '%s.%s' "$unsigned" "$signature" >prometheus_token
