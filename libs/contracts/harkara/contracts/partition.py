"""Which partition a home has: the same for every topic of the message path, whoever writes."""

from __future__ import annotations

from functools import lru_cache

_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 (seed 0x9747b28c), as Java's client, aiokafka and librdkafka's murmur2_random have it."""
    length, m = len(data), 0x5BD1E995
    h = (0x9747B28C ^ length) & _MASK
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & _MASK
        k = (k ^ (k >> 24)) * m & _MASK
        h = (h * m & _MASK) ^ k
    tail = data[length - length % 4 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & _MASK
    h = (h ^ (h >> 13)) * m & _MASK
    return (h ^ (h >> 15)) & _MASK


@lru_cache(maxsize=65536)  # homes and persons seen lately; a miss costs 4 microseconds
def partition_for(key: str, partitions: int) -> int:
    """The partition of a home (or of a person, run or portfolio, for the topics partitioned by those)."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
