# The commands beside `./run` itself.

command_help() {
    cat <<'END'
./run                  set up and start everything; harmless to repeat
./run stop             stop the portal; virtual machines keep running
./run status           what runs, since when
./run logs [PART]      follow the logs: all of them, or web, worker, beat, observer, redis, setup
./run doctor           look for trouble and say what to do about it
./run audit [--json]   compare the database with the hosts and list what is wrong
./run backup [FILE] [--encrypt] [--with-images]
                       database and secrets into one file, while the portal runs; var/backups by default
./run restore FILE [--force]
                       put a backup in place; with --force in place of what is there, which is kept
./run token USER [--tenant SLUG] [--scope SCOPE ...] [--days N]
                       print a new API token; it lasts 90 days
./run lab N            N libvirt hosts on this machine, as hosts of the portal, which fail over; it prints how to
                       kill, cut and start one
./run reset [--yes]    delete everything: machines, disks, accounts, data
END
}

needs_setup() {
    [ -x "$PYTHON" ] || die "Berth is not set up yet." "Run ./run first."
}

command_stop() {
    needs_setup
    "$PYTHON" deploy/supervisor.py stop || die "Some parts did not stop." "./run status shows which."
    echo "Berth is stopped. Virtual machines keep running; ./run starts it again."
}

command_status() {
    needs_setup
    "$PYTHON" deploy/supervisor.py status
    say_address_if_ready
}

say_address_if_ready() {
    if is_ready >/dev/null 2>&1; then
        say_address
    else
        echo "$LOCAL_URL does not answer as ready; ./run doctor looks for the cause."
        return 1
    fi
}

command_logs() {
    local files=("$BERTH_DATA"/log/*.log)
    [ $# -eq 0 ] || files=("$BERTH_DATA/log/$1.log")
    [ -f "${files[0]}" ] || die "There is no log of '${1:-}'." "There are: $(cd "$BERTH_DATA/log" && ls -x)"
    exec tail -n 50 -F "${files[@]}"
}

command_doctor() {
    needs_setup
    manage doctor "$@"
}

command_audit() {
    needs_setup
    manage audit "$@"
}

# Paths are meant from where the caller stands.
backup_tool() {
    (cd "$CALLED_FROM" && PYTHONPATH=$ROOT exec "$PYTHON" -m portal.backup "$@")
}

command_backup() {
    needs_setup
    backup_tool create "$@"
}

# Also on a machine that has nothing yet.
command_restore() {
    if [ ! -x "$PYTHON" ]; then
        STEPS=2
        check_distribution
        step "Installing packages" "Check the machine's apt sources and network." install_wanted_packages
        step "Preparing Python" "Check that the machine reaches pypi.org." install_requirements requirements.txt
    fi
    backup_tool restore "$@"
}

command_token() {
    needs_setup
    manage token "$@"
}

# First what lies on the hosts, then the rows that know of it. LEFT is what stays there, in words.
wipe_database() {
    manage migrate --check >/dev/null 2>&1 || return 0
    LEFT=$(manage wipe_hosts --lab "$LAB") || die "The hosts could not be cleaned; nothing was deleted." "./run doctor looks for the cause."
    case ${DATABASE_URL:-} in
        "") ;; # the file in the data directory goes with it
        sqlite:///*) rm -f "${DATABASE_URL#sqlite:///}" "${DATABASE_URL#sqlite:///}-journal" ;; # its log refuses deletes
        *) manage flush --no-input ;;
    esac
}

command_reset() {
    lab_settings
    if [ "${1:-}" != --yes ]; then
        echo "This deletes all machines, disks, images and accounts of the instance $BERTH_INSTANCE, on its hosts and in"
        echo "$BERTH_DATA; only the backups there, downloads in cache, and backups of machines in their targets stay."
        [ ! -d "$LAB" ] || echo "The lab goes as a whole, with backups that lie in $LAB."
        read -r -p "Type reset to go on: " answer || true
        [ "${answer:-}" = reset ] || die "Nothing was changed." "Without a terminal: ./run reset --yes."
    fi
    LEFT=
    if [ -x "$PYTHON" ]; then
        "$PYTHON" deploy/supervisor.py stop
        lab_wake
        wipe_database
    fi
    lab_forget
    # By name: the directory may hold what is not ours. Downloads in cache/ stay, and so do backups/.
    (cd "$BERTH_DATA" && rm -rf berth.sqlite3* secret-key* first-login.* started last-start.env images static log beat-schedule* \
        redis.sock supervisor.* restored.env* restore.* backup.lock backup.partial parts.lock)
    if [ -n "$LEFT" ]; then
        printf '%s\n' "$LEFT" "All that the instance $BERTH_INSTANCE knew of is deleted; the above stays on its host."
    else
        echo "Everything of the instance $BERTH_INSTANCE is deleted. ./run sets it up anew."
    fi
}
