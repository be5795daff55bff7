"""How a host's power is cut from outside."""

from __future__ import annotations

from django.db import models

from hosts.models.host import Host


class Standing(models.TextChoices):
    """What its host has shown of an agent (hosts.fence_trust)."""

    UNKNOWN = "unknown", "Not tested while the host answered"
    RIGHT = "right", "It said that the host is on while the host answered"
    WRONG = "wrong", "It said that the host is off while the host answered"


class FenceAgent(models.Model):
    """A host's agent, and what it is told (hosts.fencing).

    `agent` names one of the programs that the installation allows, never a command; `password` is sealed. `power` is
    what its last test said, "" where it could not tell, and `problem` why, or why that is no proof. `standing` is that
    of the program, options and password with the fingerprint `standing_of` (hosts.fencing), and of no other.
    """

    host = models.OneToOneField(Host, primary_key=True, on_delete=models.CASCADE, related_name="fence_agent")
    agent = models.CharField(max_length=63)
    options = models.JSONField(default=dict)
    password = models.TextField(blank=True)
    power = models.CharField(max_length=3, blank=True)
    problem = models.CharField(max_length=300, blank=True)
    tested_at = models.DateTimeField(null=True)
    standing = models.CharField(max_length=7, choices=Standing.choices, default=Standing.UNKNOWN)
    standing_of = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return self.agent

    @property
    def works(self) -> bool:
        """By its last test it can tell whether the host is off, and its word is a proof."""
        return self.standing == Standing.RIGHT and bool(self.power) and not self.problem
