"""The services of the platform. Importing this package makes the generated contracts importable."""

import sys
from pathlib import Path

# Generated protobuf code is built, never committed (`make proto`); its folder is an import root of its own.
GENERATED = Path(__file__).resolve().parent.parent / "build" / "gen"
if GENERATED.is_dir() and str(GENERATED) not in sys.path:
    sys.path.insert(0, str(GENERATED))
