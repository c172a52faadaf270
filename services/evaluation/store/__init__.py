"""Tables of evaluation and functions on them; every function takes the transaction first."""
