"""Emptying hosts, one or each of a cluster in turn."""
