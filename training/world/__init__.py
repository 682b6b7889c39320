"""What is painted: a small world of sprites, its scenes and their captions."""
