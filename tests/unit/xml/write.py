"""Write the golden files anew: `python -m tests.unit.xml.write`."""

from __future__ import annotations

from tests.unit.xml.specs import DOCUMENTS, GOLDENS

if __name__ == "__main__":
    for name, document in DOCUMENTS.items():
        (GOLDENS / f"{name}.xml").write_text(document)
