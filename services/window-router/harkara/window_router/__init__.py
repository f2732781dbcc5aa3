"""Session or template, which numbers, in what order."""
