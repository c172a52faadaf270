"""Rules of audiences: pure, synchronous, knowing neither wire nor tables."""
