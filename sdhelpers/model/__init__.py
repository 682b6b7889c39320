"""Which model, and its five parts, loaded: `loading` is the door, the rest is behind it."""
