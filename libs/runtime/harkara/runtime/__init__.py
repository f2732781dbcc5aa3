"""The shell written once: Kafka clients, the at-least-once loop, Faust, replicas, telemetry, health."""
