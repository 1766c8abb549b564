"""Work on a whole photograph that takes hours, survives a stop, and goes on."""
