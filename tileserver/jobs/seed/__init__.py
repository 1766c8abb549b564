"""`orthosharp seed`: tiles rendered ahead of time, into an archive, a folder or a bucket."""
