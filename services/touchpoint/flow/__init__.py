"""What happens to touches: intake, lease, receipt, offer, reply, sweep. Called by api, messages, jobs."""
