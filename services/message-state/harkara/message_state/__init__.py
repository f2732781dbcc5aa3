"""Each message's current state as a compacted topic."""
