# Settings: the environment first, then .env, then those of the last start, then what suits one machine.
# Everything that is started inherits them.
REMEMBERED=(BERTH_PORT BERTH_HOST BERTH_INSTANCE BERTH_LIBVIRT_URI)

load_settings() {
    [ ! -f "$ROOT/.env" ] || read_env_file "$ROOT/.env"
    BERTH_DATA=${BERTH_DATA:-$ROOT/var}
    [ ! -f "$BERTH_DATA/last-start.env" ] || read_env_file "$BERTH_DATA/last-start.env"
    export BERTH_PORT=${BERTH_PORT:-8000} BERTH_HOST=${BERTH_HOST:-127.0.0.1}
    export BERTH_INSTANCE=${BERTH_INSTANCE:-berth} BERTH_LIBVIRT_URI=${BERTH_LIBVIRT_URI:-qemu:///system}
    [[ $BERTH_PORT =~ ^[1-9][0-9]{0,4}$ && $BERTH_PORT -le 65535 ]] || die "BERTH_PORT is '$BERTH_PORT', which is no port."
    [ -d "$BERTH_DATA" ] || mkdir -p -m 700 "$BERTH_DATA" # sessions and password hashes lie there
    mkdir -p "$BERTH_DATA/log"
    BERTH_DATA=$(cd "$BERTH_DATA" && pwd)
    export BERTH_DATA
    SETUP_LOG=$BERTH_DATA/log/setup.log
    TINY=$BERTH_DATA/images/tiny.qcow2
    PYTHON=$ROOT/.venv/bin/python
    choose_broker
    choose_address
}

# Lines NAME=VALUE are data, never code; what the environment says already stays.
read_env_file() {
    local name value
    while IFS='=' read -r name value; do
        name=${name#export }
        [[ $name =~ ^[A-Z][A-Z0-9_]*$ ]] || continue
        [ -z "${!name+set}" ] || continue
        [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]] && value=${BASH_REMATCH[1]}
        export "$name=$value"
    done <"$1"
}

# So that a later `./run status` without the same environment speaks of the same portal.
remember_settings() {
    local name
    for name in "${REMEMBERED[@]}"; do printf '%s=%s\n' "$name" "${!name}"; done >"$BERTH_DATA/last-start.env"
}

# Without REDIS_URL the supervisor runs a broker of our own, on a socket that only we can open.
choose_broker() {
    [ -z "${REDIS_URL:-}" ] || return 0
    export REDIS_URL=unix://$BERTH_DATA/redis.sock BERTH_OWN_REDIS=1
}

choose_address() {
    local host=$BERTH_HOST
    [[ $host != 0.0.0.0 && $host != :: ]] || host=127.0.0.1
    LOCAL_URL=http://$host:$BERTH_PORT
    export BERTH_PUBLIC_URL=${BERTH_PUBLIC_URL:-$LOCAL_URL}
}
