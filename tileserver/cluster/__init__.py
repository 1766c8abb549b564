"""The server and the jobs on several machines, by Ray: the extra `ray`, which only this room imports."""
