"""Keeping hosts and database of one mind: what differs becomes a drift, and hosts that come back get their machines."""
