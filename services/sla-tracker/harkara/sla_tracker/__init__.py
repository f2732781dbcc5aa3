"""Per run: expected, delivered, on time."""
