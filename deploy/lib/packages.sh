# Packages of the distribution: Debian 12 and 13, Ubuntu 24.04.

HOST_PACKAGES=(libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils ovmf dnsmasq-base iptables iproute2)
PYTHON_PACKAGES=(python3 python3-venv python3-dev gcc pkg-config libvirt-dev ca-certificates)
IMAGE_PACKAGES=(cpio dosfstools e2fsprogs fakeroot fdisk kmod mtools syslinux syslinux-common xz-utils zstd)
TEST_PACKAGES=(chromium postgresql redis-server redis-tools openssh-client openssh-server nftables ebtables dnsmasq-base procps)

check_distribution() {
    [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || die "Berth sets itself up on Linux on x86-64 only."
    command -v apt-get >/dev/null || die "Berth sets itself up on Debian 12, Debian 13 and Ubuntu 24.04." \
        "Elsewhere, use docker-compose.yml."
    [ "$EUID" -eq 0 ] || command -v sudo >/dev/null || die "This needs root for packages and libvirt." "Install sudo or run it as root."
}

has_package() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# missing_packages NAME...: those that are not installed, one a line.
missing_packages() {
    local name
    for name in "$@"; do
        has_package "$name" || echo "$name"
    done
}

wanted_packages() {
    printf '%s\n' "${HOST_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}" "${IMAGE_PACKAGES[@]}"
    [ -z "${BERTH_OWN_REDIS:-}" ] || command -v redis-server >/dev/null || command -v valkey-server >/dev/null ||
        echo redis-server
}

# install_packages NAME...: only what is missing; recommended packages stay away.
install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "missing: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "${missing[@]}"
}

install_wanted_packages() {
    local wanted
    mapfile -t wanted < <(wanted_packages)
    install_packages "${wanted[@]}"
}
