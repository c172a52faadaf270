"""The machinery of the hot paths: flags, queue, offers, leases, caps. No SQL, no wire."""
