"""Telling other programs what happened: signed messages by Standard Webhooks (https://www.standardwebhooks.com)."""
