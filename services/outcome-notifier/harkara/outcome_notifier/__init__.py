"""What became of each message, told to its producer."""
