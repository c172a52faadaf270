"""Tables of the campus service and functions on them; every function takes the transaction first."""
