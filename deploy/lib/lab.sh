# ./run lab: libvirt hosts on this machine, as hosts of the portal, to try many hosts with. Needs root.

lab_settings() {
    export LAB_ID=${BERTH_LAB_ID:-$(cksum <<<"$BERTH_DATA $BERTH_INSTANCE" | awk '{printf "b%04x", $1 % 65536}')}
    export LAB=/var/tmp/berth-$LAB_ID
    FENCE_LAB=${BERTH_FENCE_AGENTS:-/etc/berth/fence-agents}/fence_lab
}

lab() { as_root env LAB="$LAB" LAB_ID="$LAB_ID" "$ROOT/deploy/lab/lab" "$@"; }

command_lab() {
    needs_setup
    lab_settings
    case ${1:-} in
        "" | status) lab_status ;;
        0 | down) lab_down ;;
        [1-9] | 1[0-6]) lab_up "$1" ;;
        kill | start | cut | heal) lab_one "$@" ;;
        *) die "./run lab N starts N hosts, 1 to 16." "Beside that: lab kill N, lab start N, lab cut N, lab heal N, lab down, lab status." ;;
    esac
}

lab_up() {
    local number name hosts=() peers=() plugs=()
    is_ready >/dev/null 2>&1 || die "The portal is not running." "Start it first: ./run."
    lab_agent || die "The lab's fence agent could not be put into ${FENCE_LAB%/*}."
    for number in $(seq "$1"); do
        lab start-host "$number" || die "Host $number of the lab did not start."
        name=lab-$number
        hosts+=("$name=$(lab sock "$number")") peers+=("$name=$(lab uri "$number")") plugs+=("$name=$LAB_ID/$number")
    done
    # /var/lib/libvirt is another directory on each host of a lab.
    manage lab add "${hosts[@]}" --peers "${peers[@]}" --plugs "${plugs[@]}" \
        --own "/var/lib/libvirt/images/$BERTH_INSTANCE" --shared "$LAB/shared" ||
        die "The hosts could not be added." "./run doctor looks for the cause."
    cat <<END
Machines of the storage class lab-shared move between them and outlive their host; others have their disks on it alone.

  ./run lab kill 1     power loss of lab-1; ./run lab start 1 switches it on again
  ./run lab cut 1      nobody reaches lab-1, while its guests run on; ./run lab heal 1 mends that
  ./run lab status     which hosts run, and their addresses
  ./run lab down       removes all of them, with what is on them
END
}

# A program of root's, which calls that of this checkout, whoever owns it: so hosts.fencing takes it.
lab_agent() {
    is_own_agent && return
    as_root mkdir -p "${FENCE_LAB%/*}" &&
        printf '#!/usr/bin/env bash\nexec %q\n' "$ROOT/deploy/lab/fence_lab" | as_root install -m 755 /dev/stdin "$FENCE_LAB"
}

# An owner's own link to it, say.
is_own_agent() { [ "$FENCE_LAB" -ef "$ROOT/deploy/lab/fence_lab" ]; }

# Others on this machine may use it as well.
lab_agent_away() {
    is_own_agent || compgen -G '/var/tmp/berth-*/h*' >/dev/null || as_root rm -f "$FENCE_LAB"
}

lab_one() {
    local what=$1 number=${2:-}
    [[ $number =~ ^[1-9][0-9]?$ && -d $LAB/h$number ]] || die "There is no host ${number:-without a number} in the lab." "./run lab status lists them."
    case $what in
        kill)
            lab kill-host "$number" && echo "lab-$number has lost its power, and its guests with it. ./run lab start $number brings it back."
            ;;
        start)
            lab start-host "$number" && echo "lab-$number runs. If it has failed over, Berth clears and cordons it: uncordon it on its page."
            ;;
        cut)
            lab cut "$number" && echo "Nobody reaches lab-$number any more; its guests run on. ./run lab heal $number mends that."
            ;;
        heal)
            lab heal "$number" && echo "lab-$number can be reached."
            ;;
    esac
}

lab_status() {
    [ -d "$LAB" ] || { echo "There is no lab. ./run lab 3 starts three hosts."; return; }
    local host number
    for host in "$LAB"/h*; do
        number=${host##*/h}
        printf '%-7s %-4s %s  %s\n' "lab-$number" "$(lab power "$number")" "$(lab uri "$number")" "$(lab sock "$number")"
    done
}

# So that what lies on them can be removed.
lab_wake() {
    local host number
    for host in "$LAB"/h*; do
        [ -d "$host" ] || continue
        number=${host##*/h}
        { lab start-host "$number" && lab heal "$number"; } || true
    done
}

# Machines first, which needs their hosts; then the rows; then all that lies on this machine.
lab_down() {
    [ -d "$LAB" ] || { echo "There is no lab."; return; }
    lab_wake
    manage lab remove || die "The lab stays as it is." "Delete what is on its hosts, and run it again."
    lab_forget
    echo "The lab is gone, with all that was on its hosts and in $LAB/shared."
}

# What is left of them on this machine.
lab_forget() {
    [ ! -d "$LAB" ] || { lab down && lab_agent_away; }
}
