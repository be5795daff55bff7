"""Blocking work of consoles, off the event loop and in two pools: a host that hangs delays no check of rights."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")
_asking = ThreadPoolExecutor(4, thread_name_prefix="console-ask")
_opening = ThreadPoolExecutor(16, thread_name_prefix="console-open")


async def ask(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A short question to the database."""
    return await asyncio.get_running_loop().run_in_executor(_asking, lambda: _clean(function, *args, **kwargs))


def begin_opening(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    """A call to a host; the thread goes on to its own deadline even where nobody waits for it any more."""
    return asyncio.get_running_loop().run_in_executor(_opening, lambda: _clean(function, *args, **kwargs))


def _clean(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    finally:
        close_old_connections()
