"""Leases: until when machines are there."""
