"""The errors and warnings a user can catch, by name.

Every error is a subclass of `CaminitoError` and of the builtin one would expect (`ValueError`, `OSError`, ...).
"""

from caminito._errors import *  # noqa: F403
from caminito._errors import __all__ as __all__
