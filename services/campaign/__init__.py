"""Plans, approves and launches campaigns; turns targets and matches into pages of touches."""
