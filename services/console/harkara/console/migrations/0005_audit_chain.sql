-- Each partition of the audit log is a chain: a record's hash covers the record before. Records from before this have none.
ALTER TABLE audit
    ADD COLUMN chain int,
    ADD COLUMN link bigint,
    ADD COLUMN hash text;
CREATE UNIQUE INDEX audit_by_link ON audit (chain, link);

-- Where each chain ends: the number of its records and the hash of the last.
CREATE TABLE audit_heads (
    chain int PRIMARY KEY,
    link  bigint NOT NULL,
    hash  text NOT NULL
);
