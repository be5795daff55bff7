# What people see: numbered steps with their time, and on a failure the end of the log and what to do.

STEP=0
STEPS=0

# die WHAT [WHAT_TO_DO]
die() {
    printf '\n%s\n' "$1" >&2
    [ $# -lt 2 ] || printf '%s\n' "$2" >&2
    exit 1
}

# step TITLE HINT COMMAND...: runs it with its output in the setup log; the time is shown when it has ended.
step() {
    local title=$1 hint=$2 started=$SECONDS from code
    shift 2
    STEP=$((STEP + 1))
    printf '[%d/%d] %s … ' "$STEP" "$STEPS" "$title"
    printf '\n== %s: %s\n' "$(date -u +%FT%TZ)" "$title" >>"$SETUP_LOG"
    from=$(wc -l <"$SETUP_LOG")
    # Not inside an `if`: bash would let the command go on after its first failure there.
    set +e
    (set -e; "$@") </dev/null >>"$SETUP_LOG" 2>&1
    code=$?
    set -e
    if [ $code -ne 0 ]; then
        printf 'failed\n\n'
        tail -n "+$((from + 1))" "$SETUP_LOG" | tail -n 20 | sed 's/^/    /'
        die "$title failed; all of it is in $SETUP_LOG." "$hint"
    fi
    printf '%d s\n' $((SECONDS - started))
}

as_root() {
    if [ "$EUID" -eq 0 ]; then "$@"; else sudo "$@"; fi
}
