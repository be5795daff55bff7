# libvirt: started by hand where no systemd does it; used as the distribution ships it.

libvirt_answers() {
    timeout 10 virsh --quiet -c "$BERTH_LIBVIRT_URI" version >/dev/null
}

has_systemd() {
    [ -d /run/systemd/system ]
}

# A URI that names another machine or socket is for its owner to start; Berth then waits and says so on its pages.
is_own_libvirt() {
    [ "$BERTH_LIBVIRT_URI" = qemu:///system ]
}

# As udev does it, where there is no udev. While the probing root may open /dev/kvm and QEMU's user may not, libvirt
# holds what it found out about QEMU for outdated and probes again at each call: defining a guest then takes a minute.
share_kvm() {
    [ -c /dev/kvm ] && getent group kvm >/dev/null || return 0
    [ "$(stat -c %G /dev/kvm)" != kvm ] && [[ $(stat -c %a /dev/kvm) != *[67] ]] || return 0
    echo "/dev/kvm was for root only; it is for the group kvm now"
    as_root chgrp kvm /dev/kvm
    as_root chmod 660 /dev/kvm
}

start_libvirt() {
    if ! is_own_libvirt; then
        libvirt_answers || echo "$BERTH_LIBVIRT_URI does not answer now; Berth goes on asking."
        return 0
    fi
    share_kvm
    libvirt_answers && return 0
    if has_systemd; then
        as_root systemctl start libvirtd
    else
        as_root virtlogd --daemon || echo "virtlogd runs already"
        as_root libvirtd --daemon
    fi
    for _ in $(seq 50); do
        libvirt_answers && return 0
        sleep 0.2
    done
    return 1
}

# Without root, libvirt's socket is for its group; a new member counts from the next login on, `sg` from now on.
join_libvirt_group() {
    [ "$EUID" -ne 0 ] && is_own_libvirt || return 0
    id -nG | grep -qw libvirt && return 0
    id -nG "$USER" | grep -qw libvirt || sudo usermod -aG libvirt "$USER"
    exec sg libvirt -c "$(printf '%q ' "$ROOT/run")"
}
