"""Clears or refuses every send intent."""
