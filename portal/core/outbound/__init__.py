"""Connections to servers that somebody else chose: public ones only, and to the address that was looked at."""
