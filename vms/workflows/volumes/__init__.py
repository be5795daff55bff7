"""What is done to volumes on hosts."""

from vms.workflows.volumes import attach, create, grow, move

__all__ = ["attach", "create", "grow", "move"]
