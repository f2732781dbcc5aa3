-- Whether Meta has a number as connected, disconnected or banned (FHL-12).

ALTER TABLE numbers
    ADD COLUMN connection text NOT NULL DEFAULT 'UNKNOWN';
