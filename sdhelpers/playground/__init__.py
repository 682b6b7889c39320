"""The playground: sliders, previews, a history, and settings kept in its pictures."""
