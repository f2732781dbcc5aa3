"""The `harkara` command."""
