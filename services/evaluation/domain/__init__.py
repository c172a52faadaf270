"""Rules of evaluation: pure and synchronous."""
