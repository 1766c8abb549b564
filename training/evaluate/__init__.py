"""`orthosharp-train evaluate`: a network scored beside others on the validation chips."""
