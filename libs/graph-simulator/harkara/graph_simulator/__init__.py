"""A strict, fault-injecting fake of Meta's Graph API: signed webhooks, and a ledger of what it accepted."""
