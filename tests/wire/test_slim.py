"""ccxt without the exchanges nobody asked for is the same ccxt."""

import json
import subprocess
import sys

TELL = """
import json
from ccxt.async_support.binanceusdm import binanceusdm
from ccxt.base import errors
import ccxt, ccxt.async_support, sys
one = binanceusdm({"apiKey": "a", "secret": "b"})
told = one.describe()
names = {code: kind.__name__ for table in told["exceptions"].values() if isinstance(table, dict)
         for code, kind in table.items() if isinstance(kind, type)}
print(json.dumps({
    "bases": [base.__qualname__ for base in type(one).__mro__],
    "urls": told["urls"]["api"], "errors": names, "signed": one.hmac(b"a", b"b", __import__("hashlib").sha256),
    "class": ccxt.async_support.binanceusdm is binanceusdm, "error": ccxt.NetworkError is errors.NetworkError,
    "exchanges": len([m for m in sys.modules if m.startswith("ccxt.async_support.") and m.count(".") == 2]),
}))
"""


def told(first: str) -> dict[str, object]:
    """What a process says of ccxt after a first line of its own."""
    done = subprocess.run([sys.executable, "-c", first + TELL], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_slim_ccxt_is_the_whole_one_without_the_other_exchanges() -> None:
    whole, slim = told(""), told("import trader.exchange\n")
    assert int(str(whole.pop("exchanges"))) > 80
    assert int(str(slim.pop("exchanges"))) < 5
    assert slim == whole
    assert slim["class"] is True


def test_another_exchange_can_still_be_asked_for() -> None:
    found = told("import trader.exchange, ccxt.async_support as c; assert c.okx.__name__ == 'okx'; c.bybit({})\n")
    assert found["error"] is True


def test_a_ccxt_laid_out_differently_is_imported_as_it_is() -> None:
    first = (
        "import importlib.util as u, sys\n"
        "home = u.find_spec('trader').submodule_search_locations[0]\n"
        "spec = u.spec_from_file_location('slim', home + '/exchange/slim.py')\n"
        "slim = u.module_from_spec(spec); spec.loader.exec_module(slim)\n"
        "slim._ERRORS = 'ccxt.base.moved'\n"
        "assert slim.install() is False\n"
        "assert 'ccxt' not in sys.modules\n"
    )
    found = told(first)
    assert int(str(found["exchanges"])) > 80
