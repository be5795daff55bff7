"""Consoles in the page: a ticket, a handshake, and a bridge between a WebSocket and the machine's own socket."""
