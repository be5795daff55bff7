"""What a driver's error means for an operation."""

from __future__ import annotations

from hosts.driver import errors
from portal.operations.workflow import PlaceLost, StepFailed, TransientError

# Words for tenants: no host names, paths or libvirt text (those are in the worker's log).
_WORDS = {
    "host_unreachable": "the host does not answer",
    "host_not_trusted": "the host does not answer",
    "host_timeout": "the host did not answer in time",
    "host_failed": "Its host has failed.",
    "resource_busy": "the machine is busy on its host",
    "no_space": "The storage of the host is full.",
    "no_slot": "The machine has no slot left for another disk. Stop it, start it, and try again.",
    "no_memory": "The host has not enough free memory to start the machine.",
    "not_on_host": "The machine or its disk is missing on the host.",
    "already_on_host": "Something else on the host has that name.",
    "invalid_definition": "The host refused the machine's definition.",
    "superseded": "A later change of the machine is on its host already.",
    "invalid_state": "The machine is not in a state in which that can be done.",
    "unsupported_by_host": "This host cannot do that.",
    "checkpoint_lost": "What changed since the last backup is not known any more.",
    "host_error": "The host could not do it.",
}


def translate(error: Exception) -> Exception | None:
    """For `Workflow.translate`: a driver's error in the engine's terms."""
    if not isinstance(error, errors.DriverError):
        return None
    words = _WORDS[error.code]
    if error.transient:
        return TransientError(words, is_lane_down=isinstance(error, errors.Unreachable | errors.Timeout))
    if isinstance(error, errors.HostFailed):
        return PlaceLost(error.code, words)
    return StepFailed(error.code, words)
