"""`python -m tf_persist_keras`."""

import sys

from .cli import main

sys.exit(main())
