"""python -m molaugerino"""

import sys

from molaugerino.cli.main import main

sys.exit(main())
