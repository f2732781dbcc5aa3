"""A lane's Kafka: its transactional producer and the reading of its journal. Blocking calls, for a thread.

Client rules (measured, see the design): any error that is not plainly the application's throws the producer away; the
order on taking a lane is InitTransactions, then the journal, then the committed offsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from harkara.contracts.envelope import Headers
from harkara.contracts.topics import DISPATCH_JOURNAL, LARGEST_RECORD_BYTES
from harkara.dispatcher.journal import Entry, decoded, encoded
from harkara.dispatcher.settings import Settings

TRANSACTION_TIMEOUT_MS = 5000  # below the session timeout: a dead owner's transaction ends before its lanes move
CALL_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0  # without any progress: a lane of a million records is read in far less

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
        consumer = Consumer(
            self._settings.kafka.librdkafka_options()
            | {
                "group.id": self._settings.kafka.group("dispatcher-journal"),  # never committed; librdkafka wants one
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": LARGEST_RECORD_BYTES,
            }
        )
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, self._partition), timeout=10.0)
            if low == high:
                return
            consumer.assign([TopicPartition(self._topic, self._partition, low)])
            yield from self._until_end(consumer)
        except KafkaException as error:
            raise Broken(_named(error)) from error
        finally:
            consumer.close()

    def _until_end(self, consumer: Consumer) -> Iterator[Entry]:
        waited = 0.0
        while waited < READ_TIMEOUT_SECONDS:
            batch = consumer.consume(5000, timeout=0.05)
            waited = 0.0 if batch else waited + 0.05
            for record in batch:
                error = record.error()
                if error is None:
                    yield decoded(record.key() or b"", record.value())
                elif error.code() == KafkaError._PARTITION_EOF:
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
                value, headers = encoded(entry)
                self._produce(producer, entry.key, value, headers)
            if offsets:
                producer.send_offsets_to_transaction(list(offsets), member, CALL_TIMEOUT_SECONDS)
            producer.commit_transaction(CALL_TIMEOUT_SECONDS)
        except (KafkaException, BufferError) as error:
            self.close()
            code = error.args[0].code() if isinstance(error, KafkaException) else None
            if code in _FENCED or code in _NO_MEMBER:
                raise Fenced(_named(error)) from error
            raise Broken(_named(error)) from error

    def close(self) -> None:
        """Forget the producer. What it had not committed is aborted by the next owner's InitTransactions."""
        self._producer = None

    def _produce(self, producer: Producer, key: str, value: bytes | None, headers: Headers) -> None:
        try:
            producer.produce(self._topic, value, key, self._partition, headers=[*headers])
        except BufferError:
            producer.poll(1.0)  # the queue is full: let some of it be acknowledged
            producer.produce(self._topic, value, key, self._partition, headers=[*headers])

    def _options(self) -> dict[str, object]:
        settings = self._settings
        name = settings.kafka.group(f"dispatcher-{settings.cluster}-{self._partition}")
        return settings.kafka.librdkafka_options() | {
            "transactional.id": name,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            "retry.backoff.ms": 5,  # the default, 100, shows as 120 ms tails of a commit
            "linger.ms": 0,
            "message.max.bytes": LARGEST_RECORD_BYTES,
            "client.id": f"dispatcher-{settings.instance}-{self._partition}",
            "log_level": 3,
        }


def _named(error: BaseException) -> str:
    cause = error.args[0] if error.args else None
    return str(cause.name()) if isinstance(cause, KafkaError) else type(error).__name__
