"""ccxt without the exchanges nobody asked for.

Importing any module of ccxt runs `ccxt/__init__.py`, which imports more than a hundred exchanges: a third of the
daemon's memory for classes that are never used. Its packages are put in place here as PEP 562 modules that import a
name when it is asked for, so that the one exchange we use brings only its own base classes; what is executed of ccxt is
unchanged. Where ccxt is laid out differently some day, everything is undone and ccxt is imported as it is.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = "ccxt"
_ASYNC = "ccxt.async_support"
_ERRORS = "ccxt.base.errors"
_OURS = "binanceusdm"


def install() -> bool:
    """Put ccxt's packages in place, unless ccxt is imported already; tell whether they now are ours."""
    if _PACKAGE in sys.modules:
        return getattr(sys.modules[_PACKAGE], "__slim__", False)
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return False
    root = Path(spec.origin).parent
    for name, folder in ((_PACKAGE, root), (_ASYNC, root / "async_support")):
        sys.modules[name] = _package(name, folder)
    try:
        importlib.import_module(_ERRORS)
        importlib.import_module(f"{_ASYNC}.{_OURS}")
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
        return False
    # a package has the class under the name of its module, as ccxt's own does
    setattr(sys.modules[_ASYNC], _OURS, getattr(sys.modules[f"{_ASYNC}.{_OURS}"], _OURS))
    return True


def _package(name: str, folder: Path) -> ModuleType:
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    package.__file__ = str(folder / "__init__.py")
    package.__spec__ = importlib.util.spec_from_file_location(
        name, package.__file__, submodule_search_locations=[str(folder)]
    )
    package.__slim__ = True  # type: ignore[attr-defined]

    def find(attribute: str) -> Any:
        """Import what is asked for: an error, the base class, a package, or the class of an exchange."""
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        errors = sys.modules.get(_ERRORS)
        if hasattr(errors, attribute):
            return getattr(errors, attribute)
        where = "base.exchange" if attribute == "Exchange" else attribute
        try:
            module = importlib.import_module(f"{name}.{where}")
        except ModuleNotFoundError:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from None
        found = getattr(module, attribute, module)
        setattr(package, attribute, found)
        return found

    package.__getattr__ = find  # type: ignore[method-assign]
    return package
