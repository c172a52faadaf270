"""Rules of the campus service: pure and synchronous."""
