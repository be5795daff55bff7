"""A client of server-sent events, small enough to open hundreds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from django.conf import settings

from tests.live.site import Site


class Stream:
    """One open stream; `status` and `headers` are those of the answer, `place` is the id of its latest message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.place = ""

    @classmethod
    async def open(cls, site: Site, session_key: str, since: str = "", **headers: str) -> Stream:
        stream = cls(*await asyncio.open_connection("127.0.0.1", site.port))
        query = f"?since={since}" if since else ""
        lines = [f"GET /live/{query} HTTP/1.1", f"Host: 127.0.0.1:{site.port}", "Accept: text/event-stream"]
        if session_key:
            lines.append(f"Cookie: {settings.SESSION_COOKIE_NAME}={session_key}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        stream._writer.write("\r\n".join([*lines, "", ""]).encode())
        await stream._read_head()
        return stream

    async def _read_head(self) -> None:
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 20)).decode().split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}

    async def line(self, seconds: float) -> str:
        """The next line that is not empty; "" when the server closed. TimeoutError where nothing comes."""
        async with asyncio.timeout(seconds):
            while text := await self._reader.readline():
                words = text.decode().strip()
                if words in ("0", ""):
                    continue
                if all(c in "0123456789abcdefABCDEF" for c in words):  # the length of a chunk (RFC 9112)
                    continue
                return words
        return ""

    async def topics(self, seconds: float) -> list[str]:
        """The next message's topics, if it has any; TimeoutError where none comes."""
        async with asyncio.timeout(seconds):
            while not (found := await self.message(seconds)):
                pass
        return found

    async def message(self, seconds: float) -> list[str]:
        """The topics of the next message, which may be none; notes its id as a browser does."""
        place = ""
        while line := await self.line(seconds):
            if line.startswith("id:"):
                place = line.removeprefix("id:").strip()
            if line.startswith("data:"):
                self.place = place or self.place
                content: dict[str, Any] = json.loads(line.removeprefix("data:"))
                assert list(content) == ["topics"]
                return list(content["topics"])
        raise ConnectionError("the stream was closed")

    async def ended(self, seconds: float) -> bool:
        """Whether the server closes the stream within that time."""
        try:
            async with asyncio.timeout(seconds):
                while await self.line(seconds):
                    pass
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()
