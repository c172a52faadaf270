"""Touchpoints: queues, contact policy, the touch ledger, adapters and decisions."""
