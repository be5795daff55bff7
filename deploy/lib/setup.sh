# `./run`: from a bare machine to the sign-in page, in steps that change nothing when they were done before.

command_start() {
    if is_up; then
        say_address
        echo "Berth runs already; ./run status shows its parts."
        return
    fi
    STEPS=9
    check_distribution
    step "Installing packages" "Check the machine's apt sources and network, then run ./run again." install_wanted_packages
    join_libvirt_group
    build_tiny >>"$BERTH_DATA/log/tiny.log" 2>&1 &
    local builder=$!
    step "Preparing Python" "Check that the machine reaches pypi.org, then run ./run again." install_requirements requirements.txt
    step "Starting libvirt" "See /var/log/libvirt, and try: virsh -c $BERTH_LIBVIRT_URI version" start_libvirt
    step "Building the starter image" "See $BERTH_DATA/log/tiny.log." wait_for_builder "$builder"
    step "Preparing the database" "See the lines above; DATABASE_URL says which database is meant." prepare_database
    step "Collecting static files" "See the lines above." manage collectstatic --noinput
    step "Starting services" "See $BERTH_DATA/log; ./run doctor looks for the cause." start_services
    step "Making logins, sizes and the local host" "See the lines above." manage seed
    step "Waiting until it is ready" "./run doctor looks for the cause; ./run logs shows what the parts say." wait_until_ready
    code_stamp >"$BERTH_DATA/started"
    say_welcome
}

# Up means: this very code was set up, its supervisor runs, libvirt answers and the portal says that it is ready.
is_up() {
    [ -x "$PYTHON" ] && [ "$(cat "$BERTH_DATA/started" 2>/dev/null)" = "$(code_stamp)" ] &&
        "$PYTHON" deploy/supervisor.py status >/dev/null 2>&1 && libvirt_answers 2>/dev/null && is_ready >/dev/null 2>&1
}

# A digest of everything that the running processes were started from, their settings included.
code_stamp() {
    {
        find manage.py requirements.txt portal hosts vms templates static deploy -type f ! -name '*.pyc' -print0 2>/dev/null |
            LC_ALL=C sort -z | xargs -0 sha256sum
        env | grep -E '^(BERTH_|DATABASE_URL=|REDIS_URL=)' | LC_ALL=C sort
    } | sha256sum
}

prepare_database() {
    backup_tool finish
    manage migrate --noinput
}

build_tiny() {
    [ -s "$TINY" ] || deploy/tiny/build "$TINY" "$BERTH_DATA/cache"
}

# The builder is the caller's child, so that only its file tells how it ended.
wait_for_builder() {
    while kill -0 "$1" 2>/dev/null; do sleep 0.2; done
    [ -s "$TINY" ] || { cat "$BERTH_DATA/log/tiny.log"; return 1; }
}

start_services() {
    "$PYTHON" deploy/supervisor.py stop
    check_port
    remember_settings
    "$PYTHON" deploy/supervisor.py start
}

check_port() {
    local holder
    holder=$(ss -Hltnp "sport = :$BERTH_PORT")
    [ -z "$holder" ] || { echo "Port $BERTH_PORT is taken: $holder"; echo "Set another: BERTH_PORT=8080 ./run"; return 1; }
}

# is_ready: /readyz says yes. The answer goes to stdout.
is_ready() {
    "$PYTHON" - "$LOCAL_URL/readyz" <<'END'
import sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        print(answer.read().decode())
except urllib.error.HTTPError as error:
    sys.exit(f"{error.code} {error.read().decode()[:2000]}")
except OSError as error:
    sys.exit(str(error))
END
}

wait_until_ready() {
    local deadline=$((SECONDS + 90))
    until is_ready; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.5
    done
}

say_address() {
    printf '\n  Berth is ready: %s\n\n' "$BERTH_PUBLIC_URL"
}

say_welcome() {
    say_address
    say_logins
    cat <<END
  Next: sign in as demo and create a machine from the image tiny; it runs within seconds.
  ./run status shows the parts, ./run doctor looks for trouble, ./run stop ends it (machines keep running).

END
}

# The passwords are shown once; afterwards only where they are kept.
say_logins() {
    local file=$BERTH_DATA/first-login.json shown=$BERTH_DATA/first-login.shown
    [ -f "$file" ] || return 0
    if [ ! -e "$shown" ] || [ "$file" -nt "$shown" ]; then
        "$PYTHON" -c 'import json, sys
for name, password in json.load(open(sys.argv[1])).items(): print(f"  {name:<8}{password}")' "$file"
        touch "$shown"
        printf '\n  These passwords are shown once and kept in %s.\n' "$file"
    else
        printf '  The first passwords are kept in %s.\n' "$file"
    fi
}
