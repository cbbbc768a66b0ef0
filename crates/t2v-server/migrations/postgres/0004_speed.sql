-- How much of the exactness a job gives for its speed: what is measured of one speed tells the time of others only roughly.
ALTER TABLE jobs ADD COLUMN speed TEXT NOT NULL DEFAULT 'exact';
