"""How anything trains: settings and options, the loop, and a run that survives a kill."""
