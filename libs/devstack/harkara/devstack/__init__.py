"""Embedded Kafka (real, JVM), embedded Postgres (real) and the process supervisor."""
