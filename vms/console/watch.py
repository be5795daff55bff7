"""What may end a console that is open: asked again and again."""

from __future__ import annotations

from vms.console.closing import DELETED, MOVED, RIGHT_LOST, STOPPED, TAKEN_OVER, Closing
from vms.console.handshake import Admission, user_of
from vms.models import VM, ConsoleTicket
from vms.services import console


def reason_to_close(admission: Admission) -> Closing | None:
    """None while the user may go on."""
    ticket = admission.ticket
    vm = VM.objects.unscoped("the ticket's own").filter(pk=ticket.vm_id).first()
    if vm is None or vm.status == "deleting":
        return DELETED
    if not console.still_allowed(ticket) or not _still_signed_in(admission):
        return RIGHT_LOST
    if vm.status not in ("running", "paused"):
        return STOPPED
    if vm.host_id != ticket.vm.host_id:
        return MOVED
    return TAKEN_OVER if taken_over(ticket) else None


def taken_over(ticket: ConsoleTicket) -> bool:
    """A machine has one serial port: whoever opened it last has it."""
    if ticket.kind != "serial":
        return False
    return ConsoleTicket.objects.filter(vm_id=ticket.vm_id, kind="serial", used_at__gt=ticket.used_at).exists()


def _still_signed_in(admission: Admission) -> bool:
    return not admission.session_key or user_of(admission.session_key) == admission.ticket.user
