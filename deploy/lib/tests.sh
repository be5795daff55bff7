# `./test`: what the tests need on a bare machine, and the checks that come before pytest.

# Tests stand on their own data and services; what a person set for `./run` must not reach them.
load_test_settings() {
    unset DATABASE_URL REDIS_URL BERTH_PORT BERTH_HOST BERTH_INSTANCE BERTH_LIBVIRT_URI BERTH_PUBLIC_URL
    export BERTH_DATA=$ROOT/var/test
    PYTHON=$ROOT/.venv/bin/python
    SETUP_LOG=$BERTH_DATA/log/setup.log
    mkdir -p "$BERTH_DATA/log"
}

set_up_tests() {
    STEPS=3
    check_distribution
    step "Installing packages" "Check the machine's apt sources and network." install_packages \
        "${HOST_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}" "${IMAGE_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
    step "Preparing Python" "Check that the machine reaches pypi.org." install_requirements requirements.txt requirements-dev.txt
    step "Building the starter image" "See the lines above." build_test_image
}

# Built once and built again when its recipe has changed, so that the tests meet the image of this very code.
build_test_image() {
    local image=$ROOT/var/test-cache/tiny.qcow2 recipe
    recipe=$(find deploy/tiny -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
    [ -s "$image" ] && [ "$(cat "$image.recipe" 2>/dev/null)" = "$recipe" ] && return 0
    deploy/tiny/build "$image" "$BERTH_DATA/cache"
    echo "$recipe" >"$image.recipe"
}

# What pytest gets beside the arguments, a word a line. Without any, two processes share the tests, most of which wait for
# something (tests/conftest.py says what stays together). The long tests run alone, the matrix on several portals at once;
# in order, for cells of one kind share a machine.
options_of_pytest() {
    local argument
    (($#)) || printf '%s\n' -n 2 --dist loadfile --no-loadscope-reorder
    for argument in "$@"; do
        case $argument in
            --faults) printf '%s\n' tests/faults -p no:randomly -n "${BERTH_TEST_PORTALS:-3}" ;;
            --soak) printf '%s\n' tests/soak tests/faults/test_history.py -s ;;
        esac
    done
}

check_code() {
    local bin=$ROOT/.venv/bin
    announce "ruff" "$bin/ruff" check .
    announce "format" "$bin/ruff" format --check .
    announce "types" "$bin/mypy" portal hosts vms deploy
    announce "layers" "$bin/lint-imports"
    announce "migrations" "$PYTHON" manage.py makemigrations --check --dry-run
}

# announce NAME COMMAND...: a check whose output is worth showing as it is.
announce() {
    printf -- '-- %s\n' "$1"
    shift
    "$@" || die "This check failed: $*"
}
