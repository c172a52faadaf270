"""Rules of touches: pure and synchronous, the time is passed in."""
