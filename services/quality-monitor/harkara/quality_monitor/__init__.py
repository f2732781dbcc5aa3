"""Each number's health and quality as a compacted topic."""
