-- What a run was chosen by, what the policy was expected to say of it, and whether it is a rehearsal.

ALTER TABLE runs
    ADD COLUMN filters        jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN left_out       bigint NOT NULL DEFAULT 0,
    ADD COLUMN verdicts       jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN verdict_hash   text,
    ADD COLUMN policy_version text,
    ADD COLUMN dry_run        boolean NOT NULL DEFAULT false;
