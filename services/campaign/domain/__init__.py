"""Rules of campaigns: pure, synchronous, without database or wire."""
