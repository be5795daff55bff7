"""Backup and restore of one installation: database, secrets and, where asked for, image files.

`python -m portal.backup create|restore|finish`, as `./run backup` and `./run restore` call it.
"""
