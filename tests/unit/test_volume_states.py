"""Which actions a volume's state allows, and the words for those it does not."""

import pytest

from vms.volume_states import Facts, VolumeAction, verdict


@pytest.mark.parametrize("action", [VolumeAction.DETACH, VolumeAction.MOVE])
def test_a_volume_on_which_others_stand_is_told_of_clones_too(action: VolumeAction) -> None:
    facts = Facts(vm_name="web", vm_status="running", has_snapshots=True)
    assert "Snapshots or linked clones of the machine" in verdict(action, facts).reason
    assert verdict(VolumeAction.GROW, facts).allowed
