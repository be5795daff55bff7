"""libvirt's errors in our words: one table by code, and one by text for what libvirt only tells in words."""

from __future__ import annotations

import libvirt

from hosts.driver import errors

_BY_CODE: dict[int, type[errors.DriverError]] = {
    libvirt.VIR_ERR_NO_DOMAIN: errors.NotFound,
    libvirt.VIR_ERR_NO_NETWORK: errors.NotFound,
    libvirt.VIR_ERR_NO_STORAGE_POOL: errors.NotFound,
    libvirt.VIR_ERR_NO_STORAGE_VOL: errors.NotFound,
    libvirt.VIR_ERR_NO_NWFILTER: errors.NotFound,
    libvirt.VIR_ERR_DOM_EXIST: errors.AlreadyExists,
    libvirt.VIR_ERR_NETWORK_EXIST: errors.AlreadyExists,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: errors.AlreadyExists,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: errors.Busy,  # another job holds the domain's lock
    libvirt.VIR_ERR_RESOURCE_BUSY: errors.Busy,
    libvirt.VIR_ERR_OPERATION_INVALID: errors.InvalidState,
    libvirt.VIR_ERR_XML_ERROR: errors.Invalid,
    libvirt.VIR_ERR_XML_DETAIL: errors.Invalid,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: errors.Invalid,
    libvirt.VIR_ERR_INVALID_ARG: errors.Invalid,
    libvirt.VIR_ERR_INVALID_MAC: errors.Invalid,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: errors.Unsupported,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE: errors.Unsupported,
    libvirt.VIR_ERR_NO_SUPPORT: errors.Unsupported,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: errors.Unsupported,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: errors.Unsupported,
    libvirt.VIR_ERR_NO_MEMORY: errors.NoMemory,
    libvirt.VIR_ERR_NO_CONNECT: errors.Unreachable,
    libvirt.VIR_ERR_INVALID_CONN: errors.Unreachable,
    libvirt.VIR_ERR_RPC: errors.Unreachable,
    libvirt.VIR_ERR_SSH: errors.Unreachable,
    libvirt.VIR_ERR_LIBSSH: errors.Unreachable,
    libvirt.VIR_ERR_GNUTLS_ERROR: errors.Unreachable,
    libvirt.VIR_ERR_AUTH_FAILED: errors.Unreachable,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: errors.Unreachable,
    libvirt.VIR_ERR_UNKNOWN_HOST: errors.Unreachable,
}

# Looked at first: these come under general codes such as "internal error".
_BY_TEXT: tuple[tuple[str, type[errors.DriverError]], ...] = (
    ("No space left on device", errors.NoSpace),
    ("Disk quota exceeded", errors.NoSpace),
    ("Cannot allocate memory", errors.NoMemory),
    ("No more available PCI slots", errors.NoSlot),
    ("already exists with uuid", errors.AlreadyExists),
    ('Failed to get "write" lock', errors.Busy),
    ('Failed to get shared "write" lock', errors.Busy),
    ("is locked by lock file", errors.Busy),
    ("asynchronous jobs running", errors.Busy),
    ("being built", errors.Busy),
    # rules of a daemon that died while it made them, for a name of an interface; the next try has another name
    ("Chain already exists", errors.Busy),
    ("binding 'vnet", errors.Busy),
)

# Of a connection that is not made: who is who. ssh and TLS both tell it in words alone.
_NOT_TRUSTED = (
    (
        "Host key verification failed",
        "It showed another SSH host key than the one that was given for it. If it was set up anew, give its new key; "
        "otherwise somebody may be in between.",
    ),
    (
        "Permission denied (",
        "It does not take the SSH key for that user. Add the public key to that user's authorized_keys on the host.",
    ),
    (
        "Failed to verify peer's certificate",
        "Its certificate is not of the CA that was given for it, or is for another name than the one in the URI.",
    ),
    (
        "Unable to read TLS confirmation",
        "It refused the client certificate. Let its libvirtd know the CA that has issued that (ca_file), and the name "
        "in it (tls_allowed_dn_list).",
    ),
    (
        "failed validation against",
        "The client certificate is over, or is not one for clients of this CA.",
    ),
)

_SILENT_SSH = "Cannot recv data: : "  # which says nothing of a host that does not answer


def unopened(error: libvirt.libvirtError) -> errors.Unreachable:
    """Why a connection was not made."""
    text = str(error)
    if words := next((words for part, words in _NOT_TRUSTED if part in text), ""):
        return errors.NotTrusted(words)
    return errors.Unreachable("ssh did not reach the host" if _SILENT_SSH in text else text)


def translate(error: libvirt.libvirtError) -> errors.DriverError:
    """Our error for libvirt's, with its text."""
    text = str(error)
    if error.get_error_domain() == libvirt.VIR_FROM_RPC:
        return errors.Unreachable(text)
    for part, kind in _BY_TEXT:
        if part in text:
            return kind(text)
    if error.get_error_code() is None:  # it fails without a word while it clears up after something else
        return errors.Busy(text)
    return _BY_CODE.get(error.get_error_code() or 0, errors.DriverError)(text)
