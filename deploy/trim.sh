#!/bin/sh
# Take out of an installed trader what only tests or compiles, every exchange of ccxt but the one that is used, and pip.
#
#   deploy/trim.sh PREFIX      such as /opt/trader, for an image
set -eu

cd "$1"/lib/python3.*/site-packages
rm -rf torch/include ccxt/pro ccxt/prediction
find . -depth -type d \( -name test -o -name tests \) -exec rm -rf {} +
for folder in ccxt ccxt/async_support ccxt/abstract; do
	find "$folder" "$folder/__pycache__" -maxdepth 1 -type f ! -name '__init__*' ! -name 'binance*' -delete
done
# what is left is whole for what is done with it: trading, and training a network
"$1/bin/python" -c 'import sys; from trader.exchange.slim import install; sys.exit(not install())'
"$1/bin/python" -c 'import torch; w = torch.ones(2, requires_grad=True); (w * w).sum().backward(); torch.optim.Adam([w]).step()'
"$1/bin/python" -m pip uninstall --yes pip
# bytecode is made once, because a container's root is read-only
"$1/bin/python" -m compileall -q trader
