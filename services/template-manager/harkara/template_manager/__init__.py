"""What is known of each message template, from Meta's list, its webhooks and what calls were refused for."""
