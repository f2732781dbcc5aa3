"""A client that cannot reach Kafka leaves nothing open behind it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from harkara.runtime.kafka import start_consumer, start_producer
from harkara.runtime.settings import KafkaSettings, ServiceSettings


@pytest.mark.parametrize("start", [start_producer, start_consumer])
async def test_one_that_does_not_start_is_closed(start: Any) -> None:
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
    settings = ServiceSettings(service="test", http_port=0, kafka=KafkaSettings(bootstrap="127.0.0.1:1"))
    with pytest.raises(KafkaConnectionError):
        await start(settings)
    gc.collect()
    assert said == [], "aiokafka tells of each client that was not closed"
