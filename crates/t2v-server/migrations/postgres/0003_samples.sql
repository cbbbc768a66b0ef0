-- How many pictures a job makes; of a video 1.
ALTER TABLE jobs ADD COLUMN samples BIGINT NOT NULL DEFAULT 1;
