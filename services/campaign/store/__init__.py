"""Tables of the campaign service; every function takes the transaction first."""
