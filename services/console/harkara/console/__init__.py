"""The read side: Postgres, query API, operator page, live events."""
