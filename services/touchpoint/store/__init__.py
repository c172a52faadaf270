"""Tables of the touchpoint service and the functions that read and write them; each takes `tx` first."""
