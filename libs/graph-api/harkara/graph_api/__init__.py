"""Everything that knows Meta's HTTP: send body, client, outcomes, error policy, signature."""
