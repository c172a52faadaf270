"""What the day must come to, computed from the input alone.

Nothing here imports a service: conditions are written out over the generated columns, the split follows the
published formula, events are found signal by signal, each touch is followed through the day by plain rules.
"""
