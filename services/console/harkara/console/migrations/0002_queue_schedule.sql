-- What a lane tells of its queue's order and pace, from which positions and times are worked out when somebody asks.

ALTER TABLE queues
    ADD COLUMN by_priority jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN flows       jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN "first"     jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN pace        jsonb,
    ADD COLUMN daily_limit bigint,
    ADD COLUMN daily_used  bigint NOT NULL DEFAULT 0;
