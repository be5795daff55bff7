# The virtual environment: made by the distribution's Python, filled from locked and hashed requirements.

# install_requirements LOCK...: does nothing where these very locks were installed before.
install_requirements() {
    local lock stamp=$ROOT/.venv/installed.sha256
    if [ ! -x "$PYTHON" ]; then
        /usr/bin/python3 -m venv "$ROOT/.venv"
    fi
    for lock in "$@"; do
        if ! grep -qsF "$(sha256sum "$lock")" "$stamp"; then
            "$PYTHON" -m pip install --disable-pip-version-check --no-input --require-hashes -r "$lock"
            echo "$(grep -vsF " $lock" "$stamp")"$'\n'"$(sha256sum "$lock")" >"$stamp.partial"
            mv "$stamp.partial" "$stamp"
        fi
    done
}

manage() {
    "$PYTHON" "$ROOT/manage.py" "$@"
}
