"""What is trained, stage by stage: the networks, what they learn from, and their losses."""
