"""Names to begin with: easy to say, easy to tell apart."""

from __future__ import annotations

import secrets

_FIRST = """
able amber apt arctic bold brave bright brisk calm clear clever coral cosy crisp deft eager early fair fleet fresh
gentle glad golden grand hardy jolly keen kind light lively loyal lucid lucky mellow merry mild neat nimble noble
patient plain polar prime proud quick quiet rapid ready robust rosy sage sharp silver sleek smart snowy solid spry
steady still sunny swift tidy trim true upbeat vivid warm wise witty
"""
_SECOND = """
alder badger beacon birch bison brook cedar comet crane crow dune eagle egret elm ember falcon fern finch fjord fox
gull harbor hare hawk heron ibex island jetty kestrel lagoon larch lark lynx maple marlin marten meadow mole moss
newt oak orca osprey otter owl panda pebble pike pine plover puffin quail raven reef robin seal sparrow spruce
stork swan tern thrush tide trout vole wharf willow wren
"""
CANDIDATES = 8


def candidates() -> list[str]:
    """A few names of two words, such as calm-otter; the last one has a number, which hardly anybody has taken."""
    first, second = _FIRST.split(), _SECOND.split()
    names = [f"{secrets.choice(first)}-{secrets.choice(second)}" for _ in range(CANDIDATES)]
    return [*names, f"{names[0]}-{secrets.randbelow(9000) + 1000}"]
