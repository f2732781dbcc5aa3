-- What a person may ask for: what was said of consent, under which names they are known, and which messages are theirs.
CREATE TABLE consent_events (
    event_id   text NOT NULL,
    person_key text NOT NULL,
    standing   text NOT NULL,
    purpose    text,
    source     text NOT NULL,
    at         timestamptz NOT NULL,
    until      timestamptz,
    proof      text NOT NULL,
    origin     text NOT NULL,
    language   text,
    actor      text NOT NULL,
    PRIMARY KEY (person_key, event_id)
);
CREATE INDEX consent_events_erased ON consent_events (person_key, at) WHERE standing = 'erased';

CREATE TABLE person_names (
    person_key text NOT NULL,
    alias_key  text NOT NULL,
    kind       text NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (person_key, alias_key, kind)
);
CREATE INDEX person_names_by_alias ON person_names (alias_key);

CREATE INDEX messages_by_person ON messages (person_key, message_id) WHERE person_key IS NOT NULL;
CREATE INDEX message_events_reached ON message_events ((event ->> 'reached_key')) WHERE message_id IS NULL;

-- Messages to somebody who was erased: what comes of them later is kept without the person too.
CREATE TABLE erased_messages (
    message_id text PRIMARY KEY
);

-- Whom an audit record may be about, and the salts of the fields that say so: without them what stands there is a hash.
ALTER TABLE audit
    ADD COLUMN persons text[] NOT NULL DEFAULT '{}',
    ADD COLUMN salts   jsonb;
UPDATE audit SET persons = found.persons
    FROM (SELECT audit_id, array_agg(DISTINCT word.hit[1]) AS persons FROM audit,
          regexp_matches(subject || ' ' || details::text, '(?<![0-9a-f])([0-9a-f]{32})(?![0-9a-f])', 'g') AS word(hit)
          GROUP BY audit_id) AS found
    WHERE found.audit_id = audit.audit_id;
CREATE INDEX audit_by_person ON audit USING gin (persons);
