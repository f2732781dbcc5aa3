-- Which audit record witnesses an event's decision: its hash covers it. Decisions of before have none.
ALTER TABLE message_events ADD COLUMN witness text;
