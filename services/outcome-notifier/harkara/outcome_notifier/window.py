"""Which records have been read and which are done, where they are not done in order: what may be committed. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


@dataclass
class _Partition:
    """`open`: offsets read and not done, in their order (a dict keeps it). `next`: after the last that was read."""

    next: int
    open: dict[int, None] = field(default_factory=dict)
    told: int = -1

    @property
    def position(self) -> int:
        return next(iter(self.open), self.next)


class Window(Generic[P]):
    """The records between what is committed and what was read. Everything before a partition's position is done."""

    def __init__(self) -> None:
        self._partitions: dict[P, _Partition] = {}

    def __len__(self) -> int:
        return sum(len(each.open) for each in self._partitions.values())

    def add(self, partition: P, offset: int) -> bool:
        """A record was read; False where it is known already (it was fetched again)."""
        known = self._partitions.setdefault(partition, _Partition(offset))
        if offset < known.next:
            return False
        known.open[offset] = None
        known.next = offset + 1
        return True

    def done(self, partition: P, offset: int) -> None:
        """Nothing more is to be done for the record. One of a forgotten partition is passed over."""
        if partition in self._partitions:
            self._partitions[partition].open.pop(offset, None)

    def positions(self) -> dict[P, int]:
        """What may be committed and was not yet, by partition: the offset before which everything is done."""
        found = {}
        for partition, each in self._partitions.items():
            if each.position > each.told:
                found[partition] = each.told = each.position
        return found

    def forget(self, partitions: Iterable[P] | None = None) -> None:
        """They have gone to another instance, or are read anew; None: all."""
        for partition in list(self._partitions) if partitions is None else partitions:
            self._partitions.pop(partition, None)
