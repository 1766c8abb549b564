"""The commands: parse options, call the rooms below, report."""
