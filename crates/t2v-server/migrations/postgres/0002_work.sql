-- What a job has to compute, so that the times of jobs of other sizes can be told from it; 0: not known.
ALTER TABLE jobs ADD COLUMN work BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN output_type TEXT NOT NULL DEFAULT 'mp4';
-- A name that leads to the output once it is there.
ALTER TABLE jobs ADD COLUMN link TEXT;
CREATE UNIQUE INDEX jobs_link ON jobs (link);
CREATE INDEX jobs_ended ON jobs (finished_at);
-- What an owner has in the queue is counted at each submission.
CREATE INDEX jobs_open ON jobs (owner) WHERE state IN ('queued', 'running');
