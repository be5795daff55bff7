"""The commands behind `./run backup`, `./run restore` and what `./run` does after an interrupted restore."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from portal.backup.create import create
from portal.backup.errors import Refused
from portal.backup.manifest import Manifest
from portal.backup.restore import finish, restore


def main(arguments: list[str]) -> int:
    given = _parser().parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    try:
        if given.command == "create":
            print(create(given.file, encrypt=given.encrypt, with_images=given.with_images))
        elif given.command == "restore":
            _tell(restore(given.file, force=given.force))
        elif finish():
            print("A restore was interrupted; it is finished now.")
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


def _tell(manifest: Manifest) -> None:
    print(f"Restored the backup of {manifest.created_at} (Berth {manifest.version}). ./run starts the portal.")
    if "settings.env" in manifest.files:
        print("The settings it had are in restored.env in the data directory; copy to .env what still holds.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    backup = commands.add_parser("create")
    backup.add_argument("file", nargs="?", type=Path, help="where to; var/backups by default")
    backup.add_argument("--encrypt", action="store_true", help="with a passphrase (BERTH_BACKUP_PASSPHRASE, or asked)")
    backup.add_argument("--with-images", action="store_true", help="also the images' files")
    back = commands.add_parser("restore")
    back.add_argument("file", type=Path)
    back.add_argument("--force", action="store_true", help="replace an installation that is there; it is kept beside")
    commands.add_parser("finish")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
