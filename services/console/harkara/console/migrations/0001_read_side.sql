-- The read side: a function of the topics. Every table can be emptied and filled again by reading them from the start.
-- Persons appear only as pseudonyms (person_key); there is no phone number and no text anywhere in this database.

CREATE TABLE messages (
    message_id      text PRIMARY KEY,
    home            text NOT NULL,
    status          text NOT NULL,
    attempt         bigint NOT NULL,
    at              timestamptz NOT NULL,
    wamid           text,
    phone_number_id text,
    error_code      bigint,
    reason          jsonb,
    run_id          text,
    producer        text,
    person_key      text,
    category        text,
    received_at     timestamptz,
    attempts        jsonb NOT NULL,
    first_seen      jsonb NOT NULL,
    duplicate       boolean NOT NULL,
    anomalies       text[] NOT NULL,
    version         bigint NOT NULL
);
CREATE INDEX messages_by_home ON messages (home, at);
CREATE INDEX messages_by_number ON messages (phone_number_id, at) WHERE phone_number_id IS NOT NULL;
CREATE INDEX messages_by_run ON messages (run_id, status, message_id) WHERE run_id IS NOT NULL;
CREATE INDEX messages_by_wamid ON messages (wamid) WHERE wamid IS NOT NULL;

CREATE TABLE message_events (
    source     text NOT NULL,
    event_id   text NOT NULL,
    message_id text,
    wamid      text,
    home       text NOT NULL,
    at         timestamptz NOT NULL,
    event      jsonb NOT NULL,
    PRIMARY KEY (source, event_id)
);
CREATE INDEX message_events_by_message ON message_events (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX message_events_without_message ON message_events (wamid) WHERE message_id IS NULL;

CREATE TABLE runs (
    run_id        text PRIMARY KEY,
    name          text NOT NULL,
    producer      text NOT NULL,
    expected      bigint NOT NULL,
    homes         jsonb NOT NULL,
    audience_hash text NOT NULL,
    deadline      timestamptz,
    created_at    timestamptz NOT NULL
);
CREATE INDEX runs_by_age ON runs (created_at DESC, run_id);

CREATE TABLE run_progress (
    run_id     text NOT NULL,
    partition  bigint NOT NULL,
    version    bigint NOT NULL,
    counts     jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, partition)
);

CREATE TABLE sla_events (
    source          text NOT NULL,
    event_id        text NOT NULL,
    run_id          text NOT NULL,
    kind            text NOT NULL,
    expected        bigint NOT NULL,
    delivered       bigint NOT NULL,
    on_time         bigint NOT NULL,
    ended           bigint NOT NULL,
    percent_on_time double precision NOT NULL,
    deadline        timestamptz,
    at              timestamptz NOT NULL,
    PRIMARY KEY (source, event_id)
);
CREATE INDEX sla_events_by_run ON sla_events (run_id);

CREATE TABLE numbers (
    phone_number_id text PRIMARY KEY,
    home            text NOT NULL,
    version         bigint NOT NULL,
    verdict         text NOT NULL,
    availability    text NOT NULL,
    quality         text NOT NULL,
    until           timestamptz,
    latched         boolean NOT NULL,
    reason          jsonb,
    by              text NOT NULL,
    updated_at      timestamptz NOT NULL
);

CREATE TABLE number_events (
    source          text NOT NULL,
    event_id        text NOT NULL,
    phone_number_id text NOT NULL,
    home            text NOT NULL,
    kind            text NOT NULL,
    at              timestamptz NOT NULL,
    event           jsonb NOT NULL,
    PRIMARY KEY (source, event_id)
);
CREATE INDEX number_events_by_number ON number_events (phone_number_id, at DESC);

CREATE TABLE queues (
    phone_number_id  text PRIMARY KEY,
    home             text NOT NULL,
    queued           bigint NOT NULL,
    scheduled        bigint NOT NULL,
    held             bigint NOT NULL,
    in_flight        bigint NOT NULL,
    in_doubt         bigint NOT NULL,
    sent_last_minute bigint NOT NULL,
    sent_today       bigint NOT NULL,
    oldest_queued_at timestamptz,
    verdict          text NOT NULL,
    updated_at       timestamptz NOT NULL
);

CREATE TABLE audit (
    audit_id text PRIMARY KEY,
    actor    text NOT NULL,
    action   text NOT NULL,
    subject  text NOT NULL,
    at       timestamptz NOT NULL,
    details  jsonb NOT NULL
);
CREATE INDEX audit_by_subject ON audit (subject, at DESC);

-- Records that some service could not process: where they are and why. Their bytes may be personal data and stay in Kafka.
CREATE TABLE dead_letters (
    topic       text NOT NULL,
    partition   bigint NOT NULL,
    "offset"    bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    origin      text NOT NULL,
    loop        text NOT NULL,
    reason      text NOT NULL,
    message_id  text,
    key_hash    text,
    PRIMARY KEY (topic, partition, "offset")
);
CREATE INDEX dead_letters_by_age ON dead_letters (topic, recorded_at DESC);
