"""What can go wrong at a hypervisor, in our own words.

`transient` tells the engine whether the same call may succeed later without anybody changing anything.
`code` becomes the problem code a tenant sees; the text is for logs and admins.
"""


class DriverError(Exception):
    """Something the hypervisor refused or failed to do."""

    code = "host_error"
    transient = False


class Unreachable(DriverError):
    """The host's daemon cannot be connected to, or the connection broke."""

    code = "host_unreachable"
    transient = True


class NotTrusted(Unreachable):
    """The host is not who we think it is, or does not let us in; the text says which, and what to do."""

    code = "host_not_trusted"


class Timeout(DriverError):
    """The call did not return within its deadline; its effect is unknown."""

    code = "host_timeout"
    transient = True


class HostFailed(DriverError):
    """The host was fenced off; nothing is asked of it."""

    code = "host_failed"


class Busy(DriverError):
    """Another job holds the domain or the volume."""

    code = "resource_busy"
    transient = True


class NotFound(DriverError):
    """No such domain, volume, pool or network."""

    code = "not_on_host"


class AlreadyExists(DriverError):
    """The name or the id is taken by something that is not ours to reuse."""

    code = "already_on_host"


class NoSpace(DriverError):
    """The storage pool is full."""

    code = "no_space"


class NoMemory(DriverError):
    """The host has not enough memory to start the domain."""

    code = "no_memory"


class NoSlot(DriverError):
    """The running domain has no slot left to plug a device into; it has some again when it was off."""

    code = "no_slot"


class Invalid(DriverError):
    """The hypervisor refused the definition."""

    code = "invalid_definition"


class Superseded(DriverError):
    """A later attempt has defined the domain already; whoever comes with an older one was overtaken."""

    code = "superseded"


class InvalidState(DriverError):
    """The domain is not in a state in which the call makes sense (e.g. pause of a stopped domain)."""

    code = "invalid_state"


class CannotMerge(InvalidState):
    """Two layers cannot become one as things are: the domain runs on another branch of their tree."""


class Unsupported(DriverError):
    """This host cannot do that."""

    code = "unsupported_by_host"


class CheckpointLost(DriverError):
    """What changed since the last backup is not known any more; the text says why. A full backup is possible."""

    code = "checkpoint_lost"
