"""How a host's power is cut from outside."""

from __future__ import annotations

from django.db import models

from hosts.models.host import Host


class FenceAgent(models.Model):
    """A host's agent, and what it is told (hosts.fencing).

    `agent` names one of the programs that the installation allows, never a command; `password` is sealed. `power` is
    what its last test said, "" where it could not tell, and `problem` why.
    """

    host = models.OneToOneField(Host, primary_key=True, on_delete=models.CASCADE, related_name="fence_agent")
    agent = models.CharField(max_length=63)
    options = models.JSONField(default=dict)
    password = models.TextField(blank=True)
    power = models.CharField(max_length=3, blank=True)
    problem = models.CharField(max_length=300, blank=True)
    tested_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.agent
