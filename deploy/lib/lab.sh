# ./run lab: libvirt hosts on this machine, as hosts of the portal, to try many hosts with. Needs root.

lab_settings() {
    export LAB_ID=${BERTH_LAB_ID:-$(cksum <<<"$BERTH_DATA $BERTH_INSTANCE" | awk '{printf "b%04x", $1 % 65536}')}
    export LAB=/var/tmp/berth-$LAB_ID
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
    local number
    is_ready >/dev/null 2>&1 || die "The portal is not running." "Start it first: ./run."
    for number in $(seq "$1"); do
        lab start-host "$number" || die "Host $number of the lab did not start."
        printf '%s=%s\n' "lab-$number" "$(lab sock "$number")"
    done >"$BERTH_DATA/lab.hosts"
    manage lab add $(cat "$BERTH_DATA/lab.hosts") --shared "$LAB/shared" || die "The hosts could not be added." "./run doctor looks for the cause."
    rm -f "$BERTH_DATA/lab.hosts"
    echo "Each has a network, storage and a libvirt of its own; all see $LAB/shared."
    echo "./run lab kill 1 is its power loss, ./run lab start 1 brings it back, ./run lab down removes all."
}

lab_one() {
    local what=$1 number=${2:-}
    [[ $number =~ ^[1-9][0-9]?$ && -d $LAB/h$number ]] || die "There is no host ${number:-without a number} in the lab." "./run lab status lists them."
    case $what in
        kill) lab kill-host "$number" && echo "lab-$number has lost its power, and its guests with it. ./run lab start $number brings it back." ;;
        start) lab start-host "$number" && echo "lab-$number runs." ;;
        cut) lab cut "$number" && echo "The network link of lab-$number is down; ./run lab heal $number mends it." ;;
        heal) lab heal "$number" && echo "The network link of lab-$number is up." ;;
    esac
}

lab_status() {
    [ -d "$LAB" ] || { echo "There is no lab. ./run lab 2 starts two hosts."; return; }
    local host number
    for host in "$LAB"/h*; do
        number=${host##*/h}
        if as_root kill -0 "$(cat "$host/pid" 2>/dev/null || echo none)" 2>/dev/null; then echo "lab-$number  runs   $(lab sock "$number")"; else echo "lab-$number  is off"; fi
    done
}

# Machines first, which needs their hosts; then the rows; then all that lies on this machine.
lab_down() {
    [ -d "$LAB" ] || { echo "There is no lab."; return; }
    local host
    for host in "$LAB"/h*; do lab start-host "${host##*/h}" || true; done
    manage lab remove || die "The lab stays as it is." "Delete what is on its hosts, and run it again."
    lab down
    echo "The lab is gone, with all that was on its hosts."
}

# For ./run reset, which has wiped the hosts: what is left of them.
lab_forget() {
    lab_settings
    [ ! -d "$LAB" ] || lab down
}
