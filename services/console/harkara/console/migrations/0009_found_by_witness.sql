-- Apart from the column: its lock keeps readers out, and these may take minutes.
CREATE INDEX message_events_witness ON message_events (witness) WHERE witness IS NOT NULL;
CREATE INDEX message_events_unwitnessed ON message_events (event_id) WHERE witness IS NULL AND event ? 'decision';

-- The newest policy of each service: one that is taken up again without a change between is no news.
CREATE INDEX audit_policies ON audit (actor, at DESC) WHERE action = 'policy_applied';
