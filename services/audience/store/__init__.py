"""Tables of the audience service and the functions that read and write them; `tx` comes first."""
