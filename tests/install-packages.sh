#!/bin/sh
# Installs the Debian packages of the real programs that the tests start, where they are missing; with the argument
# "clang", Clang and its libFuzzer.
# Needs root or sudo; without them it says what is missing and fails.
set -eu

missing=""
for pair in mosquitto:mosquitto mosquitto_pub:mosquitto-clients node:nodejs redis-server:redis-server \
    redis-sentinel:redis-sentinel redis-cli:redis-tools nats-server:nats-server nginx:nginx prometheus:prometheus \
    promtool:prometheus docker-compose:docker-compose systemd-analyze:systemd strace:strace openssl:openssl curl:curl \
    chromium:chromium; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
[ -d /usr/share/nodejs/ws ] || missing="$missing node-ws"
[ -f /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"
if [ "${1:-}" = clang ]; then
    missing=""
    fuzzer="$(clang -print-file-name="libclang_rt.fuzzer_no_main-$(uname -m).a" 2>/dev/null || true)"
    [ -f "$fuzzer" ] || missing="clang libclang-rt-dev"
fi
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
    run=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    run="sudo"
else
    echo "The tests need these Debian packages; install them and run this again:$missing" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "The tests need these programs (names of Debian packages):$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # both are lists of words
$run apt-get update -qq
# shellcheck disable=SC2086
$run apt-get install -y -qq --no-install-recommends $missing >/dev/null
