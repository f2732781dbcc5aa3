"""The wire: topics, envelopes, events and the lifecycle join."""
