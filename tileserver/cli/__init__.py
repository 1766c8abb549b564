"""The commands: they parse options, call the packages below, and report."""
