-- Decisions of the policy by their time, to be made again under another one.
CREATE INDEX message_events_decided ON message_events (at, source, event_id)
    WHERE event ? 'decision' AND message_id IS NOT NULL;
