"""What stands in the broker is only a bell: nothing that rings it harms a worker."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.stack import Stack

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]
NO_MESSAGES = (b"garbage", b"null", b"[1, 2, 3]", b"{}", b"\xff\xfe\x00", b'"text"')


def test_what_is_no_message_is_dropped(stack: Stack) -> None:
    worker = stack.parts["worker"]
    with Redis(unix_socket_path=f"{stack.data}/redis.sock") as redis:
        for message in NO_MESSAGES:
            redis.lpush("celery", message)
    vm = stack.create()
    stack.delete(vm)
    assert worker.poll() is None
    assert stack.parts["worker"] is worker
