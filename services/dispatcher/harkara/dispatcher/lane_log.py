"""A lane's Kafka: its transactional producer and the reading of its journal. Blocking calls, for a thread.

Client rules (measured, see the design): any error that is not plainly the application's throws the producer away; the
order on taking a lane is InitTransactions, then the journal, then the committed offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from harkara.contracts.topics import DISPATCH_JOURNAL, LARGEST_RECORD_BYTES
from harkara.dispatcher.glance import glanced, whole
from harkara.dispatcher.journal import EMITTED, Entry, decoded, encoded
from harkara.dispatcher.settings import Settings

TRANSACTION_TIMEOUT_MS = 5000  # below the session timeout: a dead owner's transaction ends before its lanes move
LINGER_MS = 1000
"""Longer than a commit's entries take to be handed over; the commit itself waits for none of it. So they leave in one
request. For the answer to some that left before the others a thread would wait that never sleeps (ADR 21), and take the
broker's time where both share a machine."""
CALL_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0  # without any progress: a lane of a million records is read in far less
READ_AHEAD_KILOBYTES = 16_384  # four fetches; memory that was used once stays with the process
FULL_BACKOFF_MS = 5  # how long the reading rests when that much waits; librdkafka's second would be most of a recovery
BATCH_RECORDS = 500  # half a megabyte: it is still in the processor's cache when it is decoded
MARK_WITHIN_RECORDS = 5000  # a round writes at most some 1,500, and each with something emitted has a mark

_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
_NO_MEMBER = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
}


class Fenced(Exception):
    """Another process has taken this lane: its state here is worthless from now on."""


class Broken(Exception):
    """A commit's fate is unknown or it failed: the producer is thrown away and the lane is taken anew."""


class LaneLog:
    """One lane's producer and journal."""

    def __init__(self, settings: Settings, partition: int) -> None:
        self._settings = settings
        self._partition = partition
        self._topic = settings.kafka.topic(DISPATCH_JOURNAL)
        self._producer: Producer | None = None

    def open(self) -> None:
        """Fence whoever had the lane, and wait until its last transaction has ended. Raises Broken."""
        self._producer = Producer(self._options())
        try:
            self._producer.init_transactions(CALL_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise Broken(_named(error)) from error

    def read(self) -> Iterator[Entry]:
        """Every committed entry, oldest first. Raises Broken where the broker stays silent."""
        return map(whole, self.glances())

    def glances(self) -> Iterator[Entry]:
        """As `read`, but orders are `glanced`."""
        return chain.from_iterable(map(_glanced, self._batches()))

    def emitted(self) -> int:
        """The newest mark of what has been emitted, looked for among the newest records; 0 where it is not there.

        A mark rides with nearly every commit, and compaction leaves only the newest: without knowing it first, all
        that is read would have to be kept until it comes.
        """
        seq = 0
        for record in chain.from_iterable(self._batches(newest=MARK_WITHIN_RECORDS)):
            if record.key() == EMITTED.encode() and record.value() is not None:
                data = decoded(EMITTED.encode(), record.value()).data
                seq = seq if data is None else max(seq, data["seq"])
        return seq

    def _batches(self, newest: int | None = None) -> Iterator[list[Message]]:
        """The records from the beginning, or about the `newest` many, some at a time."""
        consumer = Consumer(
            self._settings.kafka.librdkafka_options()
            | {
                "group.id": self._settings.kafka.group("dispatcher-journal"),  # never committed; librdkafka wants one
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": LARGEST_RECORD_BYTES,
                "fetch.queue.backoff.ms": FULL_BACKOFF_MS,
                "fetch.wait.max.ms": 10,  # the end of the log is told by an empty answer, for which a broker waits
                "queued.max.messages.kbytes": READ_AHEAD_KILOBYTES,
            }
        )
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, self._partition), timeout=10.0)
            if low == high:
                return
            first = low if newest is None else max(low, high - newest)
            consumer.assign([TopicPartition(self._topic, self._partition, first)])
            yield from self._until_end(consumer)
        except KafkaException as error:
            raise Broken(_named(error)) from error
        finally:
            consumer.close()

    def _until_end(self, consumer: Consumer) -> Iterator[list[Message]]:
        waited = 0.0
        while waited < READ_TIMEOUT_SECONDS:
            batch = consumer.consume(BATCH_RECORDS, timeout=0.05)
            waited = 0.0 if batch else waited + 0.05
            error = next((error for error in map(Message.error, batch) if error is not None), None)
            if error is None:
                yield batch
            elif error.code() == KafkaError._PARTITION_EOF:
                yield [record for record in batch if record.error() is None]
                return
            else:
                raise Broken(error.name())
        raise Broken("the journal could not be read to its end")

    def commit(self, entries: Sequence[Entry], offsets: Sequence[TopicPartition], member: object) -> None:
        """One transaction: these entries and these intake offsets, or none of them. Raises Fenced or Broken."""
        producer = self._producer
        if producer is None:
            raise Broken("closed")
        try:
            producer.begin_transaction()
            for entry in entries:
                self._produce(producer, entry.key, encoded(entry))
            if offsets:
                producer.send_offsets_to_transaction(list(offsets), member, CALL_TIMEOUT_SECONDS)
            producer.commit_transaction(CALL_TIMEOUT_SECONDS)
        except (KafkaException, BufferError) as error:
            self.close()
            code, name = _cause(producer, error)
            if code in _FENCED or code in _NO_MEMBER:
                raise Fenced(name) from error
            raise Broken(name) from error

    def close(self) -> None:
        """Forget the producer. What it had not committed is aborted by the next owner's InitTransactions."""
        self._producer = None

    def _produce(self, producer: Producer, key: str, value: bytes | None) -> None:
        try:
            producer.produce(self._topic, value, key, self._partition)
        except BufferError:
            producer.poll(1.0)  # the queue is full: let some of it be acknowledged
            producer.produce(self._topic, value, key, self._partition)

    def _options(self) -> dict[str, object]:
        settings = self._settings
        name = settings.kafka.group(f"dispatcher-{settings.cluster}-{self._partition}")
        return settings.kafka.librdkafka_options() | {
            "transactional.id": name,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            "retry.backoff.ms": 5,  # the default, 100, shows as 120 ms tails of a commit
            "linger.ms": LINGER_MS,
            "message.max.bytes": LARGEST_RECORD_BYTES,
            "client.id": f"dispatcher-{settings.instance}-{self._partition}",
            "log_level": 3,
        }


def _glanced(batch: Iterable[Message]) -> list[Entry]:
    return [glanced(record.key() or b"", record.value()) for record in batch]


def _cause(producer: Producer, error: BaseException) -> tuple[int | None, str]:
    """Kafka's code, if any, and its name. To whoever produces librdkafka says only that an error was fatal; asked for
    the transaction, it says which."""
    if isinstance(error, KafkaException) and error.args[0].code() == KafkaError._FATAL:
        try:
            producer.abort_transaction(CALL_TIMEOUT_SECONDS)
        except KafkaException as fatal:
            return fatal.args[0].code(), _named(fatal)
    return error.args[0].code() if isinstance(error, KafkaException) else None, _named(error)


def _named(error: BaseException) -> str:
    cause = error.args[0] if error.args else None
    return str(cause.name()) if isinstance(cause, KafkaError) else type(error).__name__
