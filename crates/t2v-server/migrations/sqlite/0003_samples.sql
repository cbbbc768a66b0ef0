-- How many pictures a job makes; of a video 1.
ALTER TABLE jobs ADD COLUMN samples INTEGER NOT NULL DEFAULT 1;
