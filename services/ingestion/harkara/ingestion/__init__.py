"""HTTP API, Meta's webhooks, the normaliser and the run emitter."""
